# Installing into a fresh database and dropping again: what comes, who may use it,
# whether it is explained, and that nothing stays.
use strict;
use warnings;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Catalogue;

# Volatile functions that everybody may execute, each with the reason.
my %open_to_all = ();

my $node = PostgreSQL::Test::Cluster->new('install');
$node->init;
$node->start;

my $before = outside_objects($node, 'postgres');
my $roles = lines($node, 'postgres', 'SELECT rolname FROM pg_roles');

$node->safe_psql('postgres', 'CREATE EXTENSION loyalty');

my $version = $node->safe_psql('postgres', q{SELECT extversion FROM pg_extension WHERE extname = 'loyalty'});
like(slurp_file('loyalty.control'), qr/^default_version = '\Q$version\E'$/m, 'the version is the control file\'s');
is(scalar(() = slurp_file('META.json') =~ /"version": "\Q$version\E"/g), 2, 'and the one of META.json');

is($node->safe_psql('postgres', q{SELECT extnamespace::regnamespace FROM pg_extension WHERE extname = 'loyalty'}),
	'loyalty', 'its schema is loyalty');

none(
	lines($node, 'postgres', q{
		SELECT pg_describe_object(classid, objid, 0) FROM pg_depend d
		JOIN pg_extension e ON e.oid = d.refobjid AND e.extname = 'loyalty'
		CROSS JOIN pg_identify_object(classid, objid, 0) AS o
		WHERE refclassid = 'pg_extension'::regclass AND deptype = 'e' AND o.schema <> 'loyalty'}),
	'all it brings is in its schema');

# Explained. Functions that SQL calls through something else speak through that: what
# implements a type, an operator, a cast, an aggregate, an index or a trigger. Other
# internal ones have a name that begins with an underscore.
none(
	lines($node, 'postgres', q{
		WITH member(classid, oid) AS (
			SELECT d.classid, d.objid FROM pg_depend d JOIN pg_extension e ON e.oid = d.refobjid
			WHERE d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e' AND e.extname = 'loyalty'
		),
		implementation(oid) AS (
			SELECT f FROM pg_aggregate, unnest(ARRAY[aggtransfn, aggfinalfn, aggcombinefn, aggserialfn,
				aggdeserialfn, aggmtransfn, aggminvtransfn, aggmfinalfn]::oid[]) f
			UNION ALL SELECT f FROM pg_type, unnest(ARRAY[typinput, typoutput, typreceive, typsend,
				typmodin, typmodout, typanalyze, typsubscript]::oid[]) f
			UNION ALL SELECT oprcode FROM pg_operator
			UNION ALL SELECT castfunc FROM pg_cast
			UNION ALL SELECT amproc FROM pg_amproc
			UNION ALL SELECT prosupport FROM pg_proc
			UNION ALL SELECT oid FROM pg_proc WHERE prorettype IN ('trigger'::regtype, 'event_trigger'::regtype)
		)
		SELECT pg_describe_object(m.classid, m.oid, 0)
		FROM member m
		LEFT JOIN pg_proc p ON m.classid = 'pg_proc'::regclass AND p.oid = m.oid
			AND p.proname !~ '^_' AND p.oid NOT IN (SELECT oid FROM implementation)
		LEFT JOIN pg_type t ON m.classid = 'pg_type'::regclass AND t.oid = m.oid
			AND t.typcategory <> 'A' AND NOT EXISTS (SELECT FROM pg_class WHERE reltype = t.oid AND relkind <> 'c')
		LEFT JOIN pg_class c ON m.classid = 'pg_class'::regclass AND c.oid = m.oid
			AND c.relkind IN ('r', 'p', 'v', 'm', 'f')
		WHERE COALESCE(p.oid, t.oid, c.oid) IS NOT NULL
			AND NOT EXISTS (
				SELECT FROM pg_description d
				WHERE d.classoid = m.classid AND d.objoid = m.oid AND d.objsubid = 0 AND d.description <> '')}),
	'every function, procedure, aggregate, type, table and view has a comment');
none(
	lines($node, 'postgres', q{
		SELECT format('%s.%s', c.oid::regclass, a.attname)
		FROM pg_class c
		JOIN pg_depend d ON d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e'
		JOIN pg_extension e ON e.oid = d.refobjid AND e.extname = 'loyalty'
		JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
		WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f', 'c') AND c.relname !~ '^_'
			AND COALESCE(col_description(c.oid, a.attnum), '') = ''}),
	'every column of a table or view has one, too');

# Closed. Whoever is granted nothing reads no member's data and moves no points: a
# function that writes is volatile, so none of those is everybody's.
none(
	lines($node, 'postgres', q{
		SELECT c.oid::regclass, a.privilege_type FROM pg_class c
		JOIN pg_depend d ON d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e'
		JOIN pg_extension e ON e.oid = d.refobjid AND e.extname = 'loyalty',
		aclexplode(c.relacl) a WHERE a.grantee = 0}),
	'PUBLIC has no privilege on a table, view or sequence');

my $writers = lines($node, 'postgres', q{
	SELECT p.oid::regprocedure FROM pg_proc p
	JOIN pg_depend d ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e'
	JOIN pg_extension e ON e.oid = d.refobjid AND e.extname = 'loyalty',
	aclexplode(COALESCE(p.proacl, acldefault('f', p.proowner))) a
	WHERE a.grantee = 0 AND p.provolatile = 'v'});
none([ grep { !$open_to_all{$_} } @$writers ], 'PUBLIC may execute no volatile function');

none(
	lines($node, 'postgres', q{
		SELECT p.oid::regprocedure FROM pg_proc p
		JOIN pg_depend d ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e'
		JOIN pg_extension e ON e.oid = d.refobjid AND e.extname = 'loyalty'
		WHERE p.prosecdef AND NOT COALESCE(
			'search_path=pg_catalog, loyalty, pg_temp' = ANY (p.proconfig), false)}),
	'every security definer function pins its search_path');

# Gone. The schema stays, with who may use it, as with every extension whose control file
# names one; roles, being the whole server's, stay too.
$node->safe_psql('postgres', 'DROP EXTENSION loyalty');
my $created_roles = lines($node, 'postgres', 'SELECT rolname FROM pg_roles');
my %may_stay = map { $_ => 1 } 'schema loyalty', 'initial privileges of schema loyalty', map { "role $_" } @$created_roles;
my %was_there = map { $_ => 1 } @$before;
none([ grep { !$was_there{$_} && !$may_stay{$_} } @{ outside_objects($node, 'postgres') } ],
	'DROP EXTENSION leaves nothing behind');
none([ grep { my $role = $_; !grep { $_ eq $role } @$roles } grep { !/^loyalty_/ } @$created_roles ],
	'and no role but its own');

# What is left must not be in the way of the next installation.
$node->safe_psql('postgres', 'CREATE EXTENSION loyalty');
pass('it installs again');

$node->stop;
done_testing();
