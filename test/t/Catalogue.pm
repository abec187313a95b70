# What a database holds, as lists of lines that two databases can be compared by:
# the extension's own objects, the rows of its tables, and what is not built in.
# No line has an OID in it, since two equal installations differ in those.
package Catalogue;

use strict;
use warnings;
use Exporter 'import';
use Test::More;

our @EXPORT = qw(members data outside_objects lines none same);

# The answer of a query as a sorted list of lines. Where a value may have line ends
# in it the query has to escape them.
sub lines
{
	my ($node, $db, $sql) = @_;
	return [ sort split /\n/, $node->safe_psql($db, $sql) ];
}

# Asserts that a list is empty, and shows all of it when it is not.
sub none
{
	my ($list, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	is(join("\n", @$list), '', $name);
}

# Asserts that two lists of lines are the same, and shows every line that is not.
sub same
{
	my ($got, $expected, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my %count;
	$count{$_}++ foreach @$got;
	$count{$_}-- foreach @$expected;
	none([ map { ($count{$_} > 0 ? '+ ' : '- ') . $_ } grep { $count{$_} } sort keys %count ], $name);
}

# Every object that belongs to the extension, each with all that a later
# CREATE OR REPLACE or ALTER may have left different from a fresh installation.
sub members
{
	my ($node, $db) = @_;
	return lines($node, $db, q{
		SET search_path = pg_catalog;
		WITH
		extension AS (
			SELECT oid FROM pg_extension WHERE extname = 'loyalty'
		),
		-- What the extension owns, with what hangs on that: columns, constraints,
		-- indexes, triggers, policies, rules, defaults.
		owned(classid, objid) AS (
			SELECT d.classid, d.objid FROM pg_depend d, extension e
			WHERE d.refclassid = 'pg_extension'::regclass AND d.refobjid = e.oid AND d.deptype = 'e'
		),
		relation AS (
			SELECT c.*, c.oid::regclass::text AS name FROM pg_class c
			WHERE EXISTS (SELECT FROM owned o WHERE o.classid = 'pg_class'::regclass AND o.objid = c.oid)
				OR EXISTS (
					SELECT FROM pg_index i, owned o
					WHERE i.indexrelid = c.oid AND o.classid = 'pg_class'::regclass AND o.objid = i.indrelid)
		),
		line(kind, name, what) AS (
			SELECT 'member', pg_describe_object(classid, objid, 0), NULL FROM owned

			UNION ALL
			SELECT 'extension', extname, concat_ws(' ',
				extnamespace::regnamespace, extrelocatable,
				(SELECT array_agg(r::regclass::text || '/' || COALESCE(c, '') ORDER BY r::regclass::text)
				 FROM unnest(extconfig, extcondition) u(r, c)))
			FROM pg_extension WHERE extname = 'loyalty'

			UNION ALL
			SELECT 'function', p.oid::regprocedure::text, concat_ws(' ',
				CASE WHEN p.prokind <> 'a' THEN pg_get_functiondef(p.oid) END,
				'arguments', pg_get_function_arguments(p.oid),
				'result', pg_get_function_result(p.oid),
				'kind', p.prokind, p.provolatile, p.proparallel, p.prosecdef, p.proleakproof,
				p.proisstrict, p.proretset, p.procost, p.prorows,
				'language', (SELECT lanname FROM pg_language l WHERE l.oid = p.prolang),
				'support', p.prosupport, 'source', p.prosrc, p.probin, p.proconfig,
				'owner', p.proowner::regrole, 'acl', (SELECT array_agg(i::text ORDER BY i::text) FROM unnest(p.proacl) i))
			FROM pg_proc p JOIN owned o ON o.classid = 'pg_proc'::regclass AND o.objid = p.oid

			UNION ALL
			SELECT 'aggregate', a.aggfnoid::regprocedure::text, concat_ws(' ',
				a.aggkind, a.aggnumdirectargs,
				a.aggtransfn, a.aggfinalfn, a.aggcombinefn, a.aggserialfn, a.aggdeserialfn,
				a.aggmtransfn, a.aggminvtransfn, a.aggmfinalfn,
				a.aggfinalextra, a.aggmfinalextra, a.aggfinalmodify, a.aggmfinalmodify,
				a.aggsortop::regoperator, a.aggtranstype::regtype, a.aggtransspace,
				a.aggmtranstype::regtype, a.aggmtransspace, 'from', a.agginitval, a.aggminitval)
			FROM pg_aggregate a JOIN owned o ON o.classid = 'pg_proc'::regclass AND o.objid = a.aggfnoid

			UNION ALL
			SELECT 'type', t.oid::regtype::text, concat_ws(' ',
				t.typlen, t.typbyval, t.typtype, t.typcategory, t.typispreferred, t.typdelim,
				t.typinput, t.typoutput, t.typreceive, t.typsend, t.typmodin, t.typmodout, t.typanalyze,
				t.typsubscript, t.typelem::regtype, t.typalign, t.typstorage, t.typnotnull,
				t.typbasetype::regtype, t.typtypmod, t.typndims, t.typcollation::regcollation, t.typdefault,
				'acl', (SELECT array_agg(i::text ORDER BY i::text) FROM unnest(t.typacl) i),
				(SELECT array_agg(enumlabel ORDER BY enumsortorder) FROM pg_enum WHERE enumtypid = t.oid))
			FROM pg_type t JOIN owned o ON o.classid = 'pg_type'::regclass AND o.objid = t.oid

			UNION ALL
			SELECT 'operator', p.oid::regoperator::text, concat_ws(' ',
				p.oprkind, p.oprcanmerge, p.oprcanhash, p.oprresult::regtype,
				p.oprcom::regoperator, p.oprnegate::regoperator, p.oprcode, p.oprrest, p.oprjoin)
			FROM pg_operator p JOIN owned o ON o.classid = 'pg_operator'::regclass AND o.objid = p.oid

			UNION ALL
			SELECT 'operator class', c.opcname, concat_ws(' ',
				(SELECT amname FROM pg_am WHERE oid = c.opcmethod), c.opcnamespace::regnamespace,
				(SELECT opfname FROM pg_opfamily WHERE oid = c.opcfamily),
				c.opcintype::regtype, c.opcdefault, c.opckeytype::regtype)
			FROM pg_opclass c JOIN owned o ON o.classid = 'pg_opclass'::regclass AND o.objid = c.oid

			UNION ALL
			SELECT 'operator of family', f.opfname, concat_ws(' ',
				m.amopstrategy, m.amoppurpose, m.amopopr::regoperator,
				(SELECT opfname FROM pg_opfamily WHERE oid = m.amopsortfamily))
			FROM pg_amop m JOIN pg_opfamily f ON f.oid = m.amopfamily
			JOIN owned o ON o.classid = 'pg_opfamily'::regclass AND o.objid = f.oid

			UNION ALL
			SELECT 'function of family', f.opfname, concat_ws(' ',
				m.amproclefttype::regtype, m.amprocrighttype::regtype, m.amprocnum, m.amproc::regprocedure)
			FROM pg_amproc m JOIN pg_opfamily f ON f.oid = m.amprocfamily
			JOIN owned o ON o.classid = 'pg_opfamily'::regclass AND o.objid = f.oid

			UNION ALL
			SELECT 'cast', format('%s as %s', c.castsource::regtype, c.casttarget::regtype), concat_ws(' ',
				c.castfunc::regprocedure, c.castcontext, c.castmethod)
			FROM pg_cast c JOIN owned o ON o.classid = 'pg_cast'::regclass AND o.objid = c.oid

			UNION ALL
			SELECT 'relation', name, concat_ws(' ',
				relkind, relpersistence, relrowsecurity, relforcerowsecurity, relreplident, reloptions,
				relowner::regrole, (SELECT amname FROM pg_am WHERE oid = relam),
				'acl', (SELECT array_agg(i::text ORDER BY i::text) FROM unnest(relacl) i),
				pg_get_partkeydef(oid), pg_get_expr(relpartbound, oid),
				CASE relkind WHEN 'v' THEN pg_get_viewdef(oid) WHEN 'm' THEN pg_get_viewdef(oid)
					WHEN 'i' THEN pg_get_indexdef(oid) END)
			FROM relation

			UNION ALL
			SELECT 'sequence', r.name, concat_ws(' ',
				s.seqtypid::regtype, s.seqstart, s.seqincrement, s.seqmax, s.seqmin, s.seqcache, s.seqcycle)
			FROM pg_sequence s JOIN relation r ON r.oid = s.seqrelid

			-- The order of columns counts: a row's text and COPY depend on it.
			UNION ALL
			SELECT 'column', r.name || '.' || a.attname, concat_ws(' ',
				(SELECT count(*) FROM pg_attribute b
				 WHERE b.attrelid = a.attrelid AND b.attnum > 0 AND b.attnum <= a.attnum AND NOT b.attisdropped),
				format_type(a.atttypid, a.atttypmod), a.attnotnull, a.attidentity, a.attgenerated,
				a.attstorage, a.attstattarget, a.attcollation::regcollation,
				-- PostgreSQL 15.20 stamps each column with the moment it was made.
				(SELECT array_agg(o ORDER BY o) FROM unnest(a.attoptions) o WHERE o !~ '^pg_attver='),
				'acl', (SELECT array_agg(i::text ORDER BY i::text) FROM unnest(a.attacl) i),
				'default', (SELECT pg_get_expr(adbin, adrelid) FROM pg_attrdef
							WHERE adrelid = a.attrelid AND adnum = a.attnum))
			FROM pg_attribute a JOIN relation r ON r.oid = a.attrelid
			WHERE a.attnum > 0 AND NOT a.attisdropped

			UNION ALL
			SELECT 'constraint', COALESCE(r.name, c.contypid::regtype::text) || '.' || c.conname,
				concat_ws(' ', pg_get_constraintdef(c.oid), c.convalidated)
			FROM pg_constraint c LEFT JOIN relation r ON r.oid = c.conrelid
			WHERE r.oid IS NOT NULL
				OR EXISTS (SELECT FROM owned o WHERE o.classid = 'pg_type'::regclass AND o.objid = c.contypid)

			UNION ALL
			SELECT 'trigger', r.name || '.' || t.tgname, concat_ws(' ', pg_get_triggerdef(t.oid), t.tgenabled)
			FROM pg_trigger t JOIN relation r ON r.oid = t.tgrelid WHERE NOT t.tgisinternal

			UNION ALL
			SELECT 'event trigger', t.evtname, concat_ws(' ', t.evtevent, t.evtfoid::regprocedure, t.evtenabled, t.evttags)
			FROM pg_event_trigger t JOIN owned o ON o.classid = 'pg_event_trigger'::regclass AND o.objid = t.oid

			UNION ALL
			SELECT 'policy', r.name || '.' || p.polname, concat_ws(' ',
				p.polcmd, p.polpermissive, p.polroles::regrole[],
				pg_get_expr(p.polqual, p.polrelid), 'check', pg_get_expr(p.polwithcheck, p.polrelid))
			FROM pg_policy p JOIN relation r ON r.oid = p.polrelid

			UNION ALL
			SELECT 'rule', r.name || '.' || w.rulename, concat_ws(' ', pg_get_ruledef(w.oid), w.ev_enabled)
			FROM pg_rewrite w JOIN relation r ON r.oid = w.ev_class

			UNION ALL
			SELECT 'comment', pg_describe_object(d.classoid, d.objoid, d.objsubid), d.description
			FROM pg_description d
			WHERE EXISTS (SELECT FROM owned o WHERE o.classid = d.classoid AND o.objid = d.objoid)
				OR (d.classoid = 'pg_class'::regclass AND d.objoid IN (SELECT oid FROM relation))

			UNION ALL
			SELECT 'initial privileges', pg_describe_object(i.classoid, i.objoid, i.objsubid), i.initprivs::text
			FROM pg_init_privs i
			WHERE EXISTS (SELECT FROM owned o WHERE o.classid = i.classoid AND o.objid = i.objoid)
		)
		SELECT replace(replace(concat_ws(' ', kind, name || ':', what), E'\n', '\n'), E'\r', '\r')
		FROM line
	});
}

# The rows of all tables that the extension marks for a dump, as far as it marks them,
# and where its sequences stand.
sub data
{
	my ($node, $db) = @_;
	my @found;

	my $tables = lines($node, $db, q{
		SELECT c.relkind, r::regclass, condition
		FROM pg_extension, unnest(extconfig, extcondition) AS u(r, condition) JOIN pg_class c ON c.oid = r
		WHERE extname = 'loyalty'
	});
	foreach (@$tables)
	{
		my ($kind, $name, $condition) = split /\|/, $_, 3;
		if ($kind eq 'S')
		{
			# What the next value will be.
			push @found, map { "$name next $_" } @{ lines($node, $db, qq{
				SELECT CASE WHEN is_called THEN last_value + seqincrement ELSE last_value END
				FROM $name, pg_sequence WHERE seqrelid = '$name'::regclass}) };
		}
		else
		{
			push @found, map { "$name $_" } @{ lines($node, $db, qq{
				SELECT replace(t::text, E'\\n', '\\n') FROM $name t $condition}) };
		}
	}
	return \@found;
}

# All objects of the database that the server was not born with.
sub outside_objects
{
	my ($node, $db) = @_;
	my @catalogues = qw(pg_namespace pg_class pg_type pg_proc pg_operator pg_opclass pg_opfamily
	  pg_cast pg_trigger pg_event_trigger pg_policy pg_rewrite pg_constraint pg_language
	  pg_extension pg_default_acl pg_collation pg_conversion pg_foreign_data_wrapper pg_publication
	  pg_authid);
	my $union = join ' UNION ALL ', map {
		"SELECT pg_describe_object('$_'::regclass, oid, 0), oid FROM $_"
	} @catalogues;
	return lines($node, $db, qq{
		SELECT * FROM (
			SELECT replace(o.what, E'\\n', ' ') AS line FROM ($union) AS o(what, oid) WHERE oid >= 16384
			UNION ALL SELECT 'comment ' || description FROM pg_description WHERE objoid >= 16384
			UNION ALL SELECT 'initial privileges of ' || pg_describe_object(classoid, objoid, objsubid) FROM pg_init_privs WHERE objoid >= 16384
		) AS l WHERE line !~ '(pg_toast|pg_temp)'
	});
}

1;
