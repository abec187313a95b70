# The roles that create_roles() makes: what each can and can't do. And what a user plants in
# every schema that he can write (functions, operators, types, tables, casts, all named as the
# server's own or the extension's): nothing that runs with the owner's rights meets any of it.
use strict;
use warnings;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Catalogue;

my $node = PostgreSQL::Test::Cluster->new('roles');
$node->init;
$node->append_conf('postgresql.conf', "track_functions = 'all'");
$node->start;

# In a session of that role; answers its output, and its error in $error.
my $error;
sub as
{
	my ($role, $sql) = @_;
	my $out = '';
	$error = '';
	$node->psql('postgres', "SET SESSION AUTHORIZATION $role; $sql",
		stdout => \$out, stderr => \$error, extra_params => ['-v', 'VERBOSITY=verbose']);
	return $out;
}

sub allowed
{
	my ($role, $sql, $expected, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my $out = as($role, $sql);
	ok($out eq $expected && $error eq '', $name) or diag("got: $out\n$error");
}

sub refused
{
	my ($role, $sql, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	as($role, $sql);
	like($error, qr/ERROR:  42501:/, $name);
}

# ---------------------------------------------------------------- the roles

$node->safe_psql('postgres', 'CREATE EXTENSION loyalty');
my $roles = q{SELECT rolname, rolcanlogin, rolsuper, rolcreaterole, rolcreatedb, rolreplication, rolbypassrls FROM pg_roles WHERE rolname ~ '^loyalty_' ORDER BY 1};
is($node->safe_psql('postgres', $roles), '', 'CREATE EXTENSION makes no role');
$node->safe_psql('postgres', 'CREATE ROLE plain; CREATE ROLE maker CREATEROLE');
refused('plain', 'SELECT loyalty.create_roles()', 'not everybody makes them');
refused('maker', 'SELECT loyalty.create_roles()', 'nor who may make roles');
$node->safe_psql('postgres', 'SELECT loyalty.create_roles()');
is($node->safe_psql('postgres', $roles), join("\n", map { "loyalty_$_|f|f|f|f|f|f" } qw(admin app member report)), 'create_roles() makes four that can do nothing else');

# What each has, as rows of role and object.
sub grants
{
	return lines($node, 'postgres', q{
		SELECT a.grantee::regrole, p.oid::regprocedure::text, a.privilege_type FROM pg_proc p, aclexplode(p.proacl) a WHERE a.grantee::regrole::text ~ '^loyalty_'
		UNION ALL SELECT a.grantee::regrole, c.oid::regclass::text, a.privilege_type FROM pg_class c, aclexplode(c.relacl) a WHERE a.grantee::regrole::text ~ '^loyalty_'
		UNION ALL SELECT a.grantee::regrole, nspname, a.privilege_type FROM pg_namespace, aclexplode(nspacl) a WHERE a.grantee::regrole::text ~ '^loyalty_'});
}
my $granted = grants();
$node->safe_psql('postgres', 'SELECT loyalty.create_roles()');
same(grants(), $granted, 'called again it changes nothing');
$node->safe_psql('postgres', q{GRANT EXECUTE ON FUNCTION loyalty.adjust TO loyalty_app; GRANT SELECT ON loyalty.entry TO loyalty_app;
	GRANT INSERT ON loyalty.entry TO loyalty_admin; REVOKE EXECUTE ON FUNCTION loyalty.redeem FROM loyalty_app; SELECT loyalty.create_roles()});
same(grants(), $granted, 'and puts right what was granted or revoked meanwhile');

# By name, of what there is: whoever adds a function decides here who gets it.
my %functions = (
	loyalty_app => [qw(create_pool join_pool leave_pool close_pool redeem_pool pool_balance redeem giveback hold capture release transfer confirm balance statement tier_progress enrol act_for)],
	loyalty_member => [qw(balance statement tier_progress)],
	loyalty_report => [qw(pool_balance balance balance_as_known statement tier_progress verify verify_archive proof points_development breakage ultimate_redemption_rate
		liability liability_journal deferred_revenue deferred_revenue_journal)]);
foreach my $role (sort keys %functions)
{
	same(lines($node, 'postgres', qq{
			SELECT DISTINCT p.proname FROM pg_proc p, aclexplode(p.proacl) a WHERE a.grantee = '$role'::regrole}),
		lines($node, 'postgres', "SELECT DISTINCT proname FROM pg_proc WHERE pronamespace = 'loyalty'::regnamespace AND proname IN ('" . join("', '", @{ $functions{$role} }) . "')"),
		"$role has these functions and no other");
}
same(lines($node, 'postgres', q{SELECT c.relname, a.privilege_type FROM pg_class c, aclexplode(c.relacl) a WHERE a.grantee = 'loyalty_report'::regrole}),
	lines($node, 'postgres', q{SELECT relname, 'SELECT' FROM pg_class WHERE relnamespace = 'loyalty'::regnamespace AND relkind = 'v' AND relname !~ '^(_|my_)'}),
	'loyalty_report reads the views and nothing else');
same(lines($node, 'postgres', q{SELECT c.relname, a.privilege_type FROM pg_class c, aclexplode(c.relacl) a WHERE a.grantee = 'loyalty_member'::regrole}),
	[ map { "my_$_|SELECT" } qw(balances entries holds lots tier_history) ], 'loyalty_member reads its own');
none(lines($node, 'postgres', q{SELECT c.relname FROM pg_class c, aclexplode(c.relacl) a WHERE a.grantee = 'loyalty_app'::regrole}), 'loyalty_app reads no table or view');
same(lines($node, 'postgres', q{SELECT DISTINCT a.privilege_type FROM pg_class c, aclexplode(c.relacl) a WHERE a.grantee = 'loyalty_admin'::regrole}), ['SELECT'],
	'loyalty_admin reads, and writes no table');
none(lines($node, 'postgres', q{SELECT c.relname FROM pg_class c, aclexplode(c.relacl) a WHERE a.grantee::regrole::text ~ '^loyalty_' AND (c.relkind = 'm' OR c.relname ~ '^_')}),
	'nobody has what can\'t be confined');

# ---------------------------------------------------------------- what they can and can't do

$node->safe_psql('postgres', q{
	CREATE ROLE till; CREATE ROLE desk; CREATE ROLE bi;
	GRANT loyalty_app TO till; GRANT loyalty_admin TO desk; GRANT loyalty_report TO bi;
	GRANT CREATE ON SCHEMA public TO desk;
});
allowed('desk', q{
	CREATE TABLE public.orders (id int PRIMARY KEY, customer text, total numeric, refunded numeric NOT NULL DEFAULT 0);
	GRANT INSERT, UPDATE ON public.orders TO till;
	INSERT INTO public.orders VALUES (1, 'anna', 50);
	SELECT loyalty.create_program('club', ladder => 'bronze:0, gold:100', validity => '1 year');
	SELECT loyalty.create_currency('club', 'miles');
	SELECT loyalty.add_rule('club', 'base', points_per => 2), loyalty.change_rule('club', 'base', 1);
	SELECT loyalty.attach('orders', 'club', 'customer', 'total', refunded => 'refunded', on_error => 'defer');
	SELECT loyalty.backfill('orders', 'club'), loyalty.retry_deferred('orders', 'club');
	SELECT loyalty.set_ladder('club', 'bronze:0, gold:120');
	SELECT loyalty.adjust('club', 'anna', 5, 'sorry');
	CALL loyalty.expire('club'); CALL loyalty.expire(); CALL loyalty.review_tiers('club'); CALL loyalty.review_tiers();
	SELECT number, entries FROM loyalty.checkpoint();
	CALL loyalty.archive('2020-01-01'); CALL loyalty.archive('2020-01-01', 'club');
	SELECT count(*) FROM loyalty.rule; SELECT count(*) FROM loyalty.deferred; SELECT count(*) FROM loyalty.entry;
	SELECT count(*) FROM loyalty.verify()},
	"1\n2\n1|2\n1\n1|0\n\n100000002\n1|2\n2\n0\n2\n0", 'the administrator runs all of it');
refused('desk', $_, "but not: $_") for 'UPDATE loyalty.entry SET points = 1', "INSERT INTO loyalty.program (code) VALUES ('x')", 'DELETE FROM loyalty.account',
	'SELECT loyalty.create_roles()', q{SELECT loyalty._enrol(1, '{x}', now())}, q{SELECT loyalty._balance_then(1, now())}, 'CREATE TABLE loyalty.mine (x int)';
allowed('till', q{
	INSERT INTO public.orders VALUES (2, 'ben', 120);
	SELECT loyalty.redeem('club', 'ben', 20, request_id => 'r1'), loyalty.giveback(200000002, 5), loyalty.enrol('club', 'carl');
	SELECT loyalty.balance('club', 'ben'), loyalty.balance('club', 'ben', now() - interval '1 year'), loyalty.balance('club', 'ben', now() + interval '3 years');
	SELECT tier FROM loyalty.tier_progress('club', 'ben');
	SELECT kind, balance FROM loyalty.statement('club', 'ben', '-infinity', now() + interval '1 day') WHERE kind = 'closing'},
	"200000002|200000003|3\n105|0|0\ngold\nclosing|105", 'the application spends, gives back, enrols and asks');
allowed('till', q{
	SELECT loyalty.create_pool('club', 'home'); SELECT loyalty.join_pool('club', 'home', 'ben'), loyalty.join_pool('club', 'home', 'carl', keep => 1);
	SELECT loyalty.pool_balance('club', 'home'), loyalty.pool_balance('club', 'home', '2120-01-01', 'carl');
	SELECT loyalty.giveback(loyalty.redeem_pool('club', 'home', 'carl', 5)); SELECT loyalty.leave_pool('club', 'home', 'carl'), loyalty.close_pool('club', 'home')},
	"1\n|\n105|0\n200000005\n|", 'it keeps pools, redeems from them and gives back');
my @administration = ("adjust('club', 'anna', 1000, 'me')", "create_program('mine')", "create_currency('club', 'mine')", "add_rule('club', 'mine', 1)",
	"change_rule('club', 'base', 9)", "end_rule('club', 'base')", "set_ladder('club', 'x:0')", "attach('orders', 'club', 'customer')",
	"merge_members('club', 'anna', 'ben')", "unmerge_member('club', 'anna')", "close_member('club', 'anna')", "reopen_member('club', 'anna')", "erase_member('club', 'anna')",
	"detach('orders', 'club')", "backfill('orders', 'club')", "retry_deferred('orders', 'club')", "checkpoint()", "create_roles()",
	'discard_archive()', "_archive_accounts('{1}', '{1}', now())", "_move_to_archive('{1}', '{1}')",
	"_expire_accounts('{1}', now())", "_balance_then(1, now())", "_register_source('orders', 'club', 'customer', NULL, NULL, 'x', NULL, NULL, NULL, NULL, NULL, 'row', 'fail')");
my @relations = split /\n/, $node->safe_psql('postgres', q{
	SELECT relname FROM pg_class WHERE relnamespace = 'loyalty'::regnamespace AND relkind IN ('r', 'p', 'v', 'm') ORDER BY 1});
for my $role ('till', 'bi')
{
	refused($role, "SELECT loyalty.$_", "$role: not $_") for @administration;
	refused($role, "CALL loyalty.$_", "$role: not $_") for 'expire()', 'review_tiers()', q{archive('2020-01-01')};
}
refused('till', "SELECT loyalty.$_", "till: not $_") for 'verify()', 'verify_archive()', 'proof(100000001)', "liability('club', 1)", "breakage('club')", "balance_as_known('club', 'anna', now(), now())";
refused('till', "SELECT * FROM loyalty.$_", "till does not read $_") for @relations;
allowed('bi', q{
	SELECT member, available FROM loyalty.balances ORDER BY 1; SELECT count(*) FROM loyalty.entries; SELECT count(*) FROM loyalty.lots;
	SELECT count(*) FROM loyalty.tier_history; SELECT number, accounts FROM loyalty.checkpoints;
	SELECT loyalty.balance('club', 'ben'), loyalty.balance('club', 'ben', '2020-01-01'), loyalty.balance_as_known('club', 'ben', now(), '2020-01-01');
	SELECT sum(points) FROM loyalty.statement('club', 'ben', '-infinity', now() + interval '1 day');
	SELECT loyalty.verify_proof(loyalty.proof(100000001), root) FROM loyalty.checkpoints; SELECT count(*) FROM loyalty.verify();
	SELECT sum(points), sum(points) = (SELECT sum(points) FROM loyalty.points_liability WHERE currency = 'points') FROM loyalty.liability('club', 1);
	SELECT count(*) >= 0 FROM loyalty.breakage('club'), loyalty.points_development('club'), loyalty.liability_journal('club', '2020-01-01', 1),
		loyalty.deferred_revenue('club', 1), loyalty.deferred_revenue_journal('club', '2020-01-01', 1);
	SELECT loyalty.ultimate_redemption_rate('club') >= 0; SELECT count(*) FROM loyalty.clv_by_member; SELECT count(*) FROM loyalty.churn_risk},
	"anna|55\nben|105\ncarl|0\n7\n2\n1\n1|1\n105|0|0\n105\nt\n0\n160|t\nt\nt\n0\n0", 'reports read views, statements, proofs and what the points cost');
refused('bi', "SELECT loyalty.$_", "bi: not $_") for "create_pool('club', 'x')", "join_pool('club', 'home', 'ben')", "leave_pool('club', 'home', 'ben')", "close_pool('club', 'home')",
	"redeem_pool('club', 'home', 'ben', 1)", "redeem('club', 'ben', 1)", 'giveback(200000002)', "enrol('club', 'x')";
refused('bi', "SELECT * FROM loyalty.$_", "bi does not read $_") for grep { !/^(archives|balances|campaign_results|checkpoints|churn_risk|clv_by_member|cohort_retention|entries|holds|kpi_daily|kpi_monthly|lots|member_360|members|points_liability|pools|pool_members|pool_redemptions|tier_distribution|tier_history)$/ } @relations;

# ---------------------------------------------------------------- what a user plants

# mallory may do whatever the administrator may, and writes schemas mallory, public and pg_temp.
$node->safe_psql('postgres', q{
	CREATE ROLE mallory; GRANT loyalty_admin TO mallory; CREATE SCHEMA mallory AUTHORIZATION mallory; GRANT CREATE ON SCHEMA public TO mallory;
	GRANT INSERT, UPDATE, DELETE, SELECT, TRIGGER ON public.orders TO mallory;
});
refused('mallory', 'CREATE FUNCTION loyalty.planted() RETURNS int LANGUAGE sql AS $$SELECT 1$$', 'nobody plants in schema loyalty');

# Every function and operator of the server and of the extension that plpgsql can stand in for; it
# raises an error wherever it is called. Then types and tables of the same names.
my $plant = q{
	SET search_path = pg_catalog;
	CREATE FUNCTION mallory.planted() RETURNS boolean LANGUAGE plpgsql AS 'BEGIN RAISE EXCEPTION $$planted, as %$$, current_user; END';
	CREATE TEMP TABLE grown (kind text, schema text);
	DO $plant$
	DECLARE
		f record;
		o record;
		t record;
		target text;
		body constant text := 'BEGIN PERFORM mallory.planted(); END';
	BEGIN
		FOREACH target IN ARRAY ARRAY['mallory', 'public'] LOOP
			FOR f IN
				SELECT p.proname AS name, pg_get_function_identity_arguments(p.oid) AS args, pg_get_function_result(p.oid) AS result
				FROM pg_proc p WHERE p.pronamespace IN ('pg_catalog'::regnamespace, 'loyalty'::regnamespace) AND p.prokind <> 'p'
				UNION ALL
				-- What takes anything, for what it is given.
				SELECT v.name, v.args, v.result FROM (VALUES ('format', 'text, text', 'text'), ('format', 'text, text, text', 'text'), ('format', 'text, VARIADIC text[]', 'text'),
					('format', 'text, integer', 'text'), ('format', 'text, integer, text', 'text'), ('format', 'text, bigint', 'text'), ('format', 'text, regclass', 'text'),
					('format', 'text, regclass, text', 'text'), ('format', 'text, name, regclass', 'text'), ('concat_ws', 'text, VARIADIC text[]', 'text'), ('count', '', 'bigint'),
					('count', 'bigint', 'bigint'), ('count', 'integer', 'bigint'), ('unnest', 'text[]', 'SETOF text'), ('unnest', 'bigint[]', 'SETOF bigint'),
					('unnest', 'int2vector', 'SETOF smallint'), ('array_agg', 'bigint', 'bigint[]'), ('array_agg', 'name', 'name[]'), ('array_agg', 'integer', 'integer[]'),
					('cardinality', 'text[]', 'integer'), ('cardinality', 'name[]', 'integer'), ('array_upper', 'bigint[], integer', 'integer'),
					('array_position', 'text[], text', 'integer'), ('array_position', 'name[], name', 'integer'), ('array_remove', 'text[], text', 'text[]'),
					('lead', 'integer', 'integer'), ('lag', 'bytea', 'bytea'), ('row_number', '', 'bigint'), ('min', 'timestamptz', 'timestamptz'), ('isempty', 'tstzrange', 'boolean'),
					('lower', 'tstzrange', 'timestamptz'), ('upper', 'tstzrange', 'timestamptz')) v (name, args, result)
			LOOP
				BEGIN
					EXECUTE format('CREATE FUNCTION %I.%I(%s) RETURNS %s LANGUAGE plpgsql AS %L', target, f.name, f.args, f.result, body);
					INSERT INTO pg_temp.grown VALUES ('function', target);
				EXCEPTION WHEN OTHERS THEN
				END;
			END LOOP;
			FOR o IN
				SELECT p.oid, p.oprname AS name, nullif(p.oprleft, 0)::regtype AS lefttype, p.oprright::regtype AS righttype, p.oprresult::regtype AS result
				FROM pg_operator p WHERE p.oprnamespace IN ('pg_catalog'::regnamespace, 'loyalty'::regnamespace)
			LOOP
				BEGIN
					EXECUTE format('CREATE FUNCTION %I.planted_%s(%s) RETURNS %s LANGUAGE plpgsql AS %L', target, o.oid, concat_ws(', ', o.lefttype, o.righttype), o.result, body);
					EXECUTE format('CREATE OPERATOR %I.%s (%s RIGHTARG = %s, FUNCTION = %1$I.planted_%5$s)', target, o.name, 'LEFTARG = ' || o.lefttype::text || ',', o.righttype, o.oid);
					INSERT INTO pg_temp.grown VALUES ('operator', target);
				EXCEPTION WHEN OTHERS THEN
				END;
			END LOOP;
			FOR o IN
				SELECT n.name, y.type FROM unnest(ARRAY['text', 'name', 'bigint', 'integer']) y (type), unnest(ARRAY['=', '<>', '||', '&&', '@>']) n (name)
			LOOP
				BEGIN
					EXECUTE format('CREATE FUNCTION %I.planted_array(%s[], %2$s[]) RETURNS boolean LANGUAGE plpgsql AS %L', target, o.type, body);
				EXCEPTION WHEN duplicate_function THEN
				END;
				EXECUTE format('CREATE OPERATOR %I.%s (LEFTARG = %s[], RIGHTARG = %3$s[], FUNCTION = %1$I.planted_array)', target, o.name, o.type);
			END LOOP;
			-- Not before all of these: their arguments are of the types that are shadowed now.
			FOR t IN SELECT typname AS name FROM pg_type WHERE typnamespace IN ('pg_catalog'::regnamespace, 'loyalty'::regnamespace) AND typtype IN ('b', 'r') AND typelem = 0
			LOOP
				BEGIN
					EXECUTE format('CREATE DOMAIN %I.%I AS pg_catalog.int4 CHECK (mallory.planted())', target, t.name);
					INSERT INTO pg_temp.grown VALUES ('type', target);
				EXCEPTION WHEN OTHERS THEN
				END;
			END LOOP;
			FOR t IN SELECT relname AS name FROM pg_class WHERE relnamespace IN ('pg_catalog'::regnamespace, 'loyalty'::regnamespace) AND relkind IN ('r', 'v')
			LOOP
				BEGIN
					EXECUTE format('CREATE TABLE %I.%I (planted pg_catalog.int4)', target, t.name);
					INSERT INTO pg_temp.grown VALUES ('table', target);
				EXCEPTION WHEN OTHERS THEN
				END;
			END LOOP;
		END LOOP;
	END $plant$;
	SELECT schema, kind, count(*) >= CASE kind WHEN 'function' THEN 2000 WHEN 'operator' THEN 700 WHEN 'type' THEN 60 ELSE 100 END
	FROM pg_temp.grown GROUP BY 1, 2 ORDER BY 1, 2;
};
allowed('mallory', $plant, join("\n", map { my $schema = $_; map { "$schema|$_|t" } qw(function operator table type) } qw(mallory public)), 'mallory plants thousands');

# Casts need a type of his own; what casts is called as mallory and as nobody else.
as('mallory', q{
	SET search_path = pg_catalog;
	CREATE TYPE mallory.key AS (v pg_catalog.text);
	CREATE FUNCTION mallory.key_text(k mallory.key) RETURNS pg_catalog.text LANGUAGE plpgsql AS
		'BEGIN IF current_user OPERATOR(pg_catalog.<>) $$mallory$$ THEN PERFORM mallory.planted(); END IF; RETURN k.v; END';
	CREATE CAST (mallory.key AS pg_catalog.text) WITH FUNCTION mallory.key_text(mallory.key) AS IMPLICIT;
	CREATE FUNCTION mallory.to_key(pg_catalog.text) RETURNS mallory.key LANGUAGE plpgsql AS 'BEGIN PERFORM mallory.planted(); END';
	CREATE FUNCTION mallory.to_key(pg_catalog.int4) RETURNS mallory.key LANGUAGE plpgsql AS 'BEGIN PERFORM mallory.planted(); END';
	CREATE FUNCTION mallory.to_key(pg_catalog.numeric) RETURNS mallory.key LANGUAGE plpgsql AS 'BEGIN PERFORM mallory.planted(); END';
	CREATE FUNCTION mallory.to_key(loyalty.points) RETURNS mallory.key LANGUAGE plpgsql AS 'BEGIN PERFORM mallory.planted(); END';
	CREATE CAST (pg_catalog.text AS mallory.key) WITH FUNCTION mallory.to_key(pg_catalog.text) AS IMPLICIT;
	CREATE CAST (pg_catalog.int4 AS mallory.key) WITH FUNCTION mallory.to_key(pg_catalog.int4) AS IMPLICIT;
	CREATE CAST (pg_catalog.numeric AS mallory.key) WITH FUNCTION mallory.to_key(pg_catalog.numeric) AS IMPLICIT;
	CREATE CAST (loyalty.points AS mallory.key) WITH FUNCTION mallory.to_key(loyalty.points) AS IMPLICIT;
	-- A key whose check tells who reckons with it.
	CREATE FUNCTION mallory.mine(v pg_catalog.text) RETURNS boolean LANGUAGE plpgsql AS
		'BEGIN IF current_user OPERATOR(pg_catalog.<>) $$mallory$$ THEN PERFORM mallory.planted(); END IF; RETURN true; END';
	CREATE DOMAIN mallory.member_key AS pg_catalog.text CHECK (mallory.mine(VALUE));
});
is($error, '', 'and casts');

# From here on it counts who is called.
$node->safe_psql('postgres', 'SELECT pg_stat_reset()');

# The same in pg_temp, for each session; it comes before all else there unless a path says otherwise.
my $hostile = q{
	SET search_path = pg_catalog, pg_temp;
	DO $$
	DECLARE
		t record;
	BEGIN
		FOR t IN SELECT relname AS name FROM pg_class WHERE relnamespace = 'loyalty'::regnamespace AND relkind IN ('r', 'v')
				UNION SELECT unnest(ARRAY['pg_class', 'pg_inherits', 'pg_trigger', 'pg_attribute', 'pg_index', 'pg_type', 'pg_event_trigger', 'pg_timezone_names', 'pg_roles']) LOOP
			EXECUTE format('CREATE TABLE pg_temp.%I (planted int)', t.name);
		END LOOP;
		FOR t IN SELECT typname AS name FROM pg_type WHERE typnamespace IN ('pg_catalog'::regnamespace, 'loyalty'::regnamespace)
				AND typname IN ('text', 'name', 'regclass', 'regtype', 'oid', 'bytea', 'date', 'jsonb', 'jsonpath', 'tstzrange', 'interval', 'numeric', 'float8', 'regrole', 'regprocedure', 'regnamespace', 'points', 'tier', 'ladder', 'timestamptz', 'int4', 'int8', 'bool') LOOP
			EXECUTE format('CREATE DOMAIN pg_temp.%I AS pg_catalog.int4 CHECK (mallory.planted())', t.name);
		END LOOP;
	END $$;
	SET search_path = mallory, public, pg_catalog;
};
for my $call (q{SELECT 1 + 1}, q{SELECT now()}, q{SELECT upper('x')}, q{SELECT 'a'::pg_catalog.text = 'b'::pg_catalog.text}, q{SELECT CAST(1 AS mallory.text)})
{
	as('mallory', "$hostile $call");
	like($error, qr/planted, as mallory/, "whoever is not careful is caught: $call");
}

# By a user with the administrator's rights, among them all that he can have fired by his own tables.
# The calls themselves avoid what is planted.
allowed('mallory', qq{$hostile
	INSERT INTO public.orders VALUES (10, 'mia', 200), (11, 'mia', 50);
	UPDATE public.orders SET refunded = 20 WHERE id OPERATOR(pg_catalog.=) 10;
	DELETE FROM public.orders WHERE id OPERATOR(pg_catalog.=) 11;
	SELECT loyalty.redeem('club', 'mia', 30, request_id => 'm1');
	SELECT loyalty.giveback(400000005, 5, grace => '1 day');
	SELECT loyalty.redeem('club', ROW('mia')::mallory.key, 1);
	SELECT loyalty.adjust('club', 'mia', 4, 'sorry');
	SELECT loyalty.enrol('club', 'max') IS NOT NULL;
	SELECT loyalty.create_pool('club', 'trap') IS NOT NULL, loyalty.join_pool('club', 'trap', 'mia', true, 0.5, 1), loyalty.join_pool('club', 'trap', 'max', true, 1, 1),
		loyalty.join_pool('club', 'trap', 'max', true, 1, 2);
	SELECT loyalty.giveback(loyalty.redeem_pool('club', 'trap', 'max', 3)) IS NOT NULL, loyalty.pool_balance('club', 'trap'), loyalty.pool_balance('club', 'trap', '2020-01-01', NULL);
	SELECT loyalty.leave_pool('club', 'trap', 'max'), loyalty.close_pool('club', 'trap');
	SELECT tier, metric FROM loyalty.tier_progress('club', 'mia');
	SELECT loyalty.balance('club', 'mia'), loyalty.balance('club', 'mia', '2020-01-01'), loyalty.balance('club', 'mia', '2120-01-01'),
		loyalty.balance_as_known('club', 'mia', '2120-01-01', 'infinity');
	SELECT kind, balance FROM loyalty.statement('club', 'mia', '-infinity', 'infinity') LIMIT 1;
	SELECT loyalty.create_program('other', 'Europe/Berlin', ladder => 'a:0, b:10'), loyalty.create_currency('other', 'miles');
	SELECT loyalty.change_currency('other', 'miles', validity => '1 year');
	SELECT loyalty.add_rule('other', 'base', points_per => 1), loyalty.change_rule('other', 'base', 2);
	SELECT loyalty.set_ladder('other', 'a:0, b:30, c:40'), loyalty.end_rule('other', 'base', '2100-01-01');
	SELECT number, accounts FROM loyalty.checkpoint();
	SELECT loyalty.verify_proof(loyalty.proof(400000001), root) FROM loyalty.checkpoints WHERE number OPERATOR(pg_catalog.=) 2;
	SELECT v.* FROM loyalty.verify() v;
	CALL loyalty.expire(); CALL loyalty.expire('club'); CALL loyalty.review_tiers(); CALL loyalty.review_tiers('other');
	CALL loyalty.archive('2020-01-01'); CALL loyalty.archive('2020-01-01', 'club')},
	"400000005\n400000006\n400000007\n400000008\nt\nt|||\nt|158|0\n|\ngold|180\n158|0|0|0\nopening|0\n2|4\n\n3|4\n|\n2|5\nt", 'with the administrator\'s rights nothing planted is met');
my $tree = 'mallory."a ""b"" %s $$; SELECT"';
allowed('mallory', qq{$hostile
	CREATE TABLE $tree (id int, who mallory.member_key, amount int, status mallory.member_key, PRIMARY KEY (id)) PARTITION BY LIST (id);
	CREATE TABLE mallory.one PARTITION OF $tree FOR VALUES IN (1);
	INSERT INTO $tree VALUES (1, 'moe', 7, 'paid');
	SELECT loyalty.attach('$tree', 'club', 'who', 'amount', status => 'status', earning => '{paid}', on_error => 'defer') IS NOT NULL;
	SELECT loyalty.create_program('bare') IS NOT NULL, loyalty.add_rule('bare', 'base', points_per => 1) IS NOT NULL,
		loyalty.attach('$tree', 'bare', 'who', 'amount', on_error => 'defer') IS NOT NULL;
	SELECT loyalty.backfill('$tree', 'club'), loyalty.backfill('$tree', 'bare');
	CREATE TABLE mallory."two %I" PARTITION OF $tree FOR VALUES IN (2, 3);
	INSERT INTO $tree VALUES (2, 'moe', 8, 'paid'), (3, '', 1, 'paid');
	UPDATE $tree SET who = 'noe' WHERE id OPERATOR(pg_catalog.=) 2;
	SELECT loyalty.retry_deferred('$tree', 'club');
	DELETE FROM $tree WHERE id OPERATOR(pg_catalog.=) 3;
	SELECT loyalty.balance('club', 'moe'), loyalty.balance('club', 'noe');
	SELECT loyalty.set_ladder('bare', 'a:0, b:8');
	SELECT tier, metric FROM loyalty.tier_progress('bare', 'noe');
	ALTER TABLE $tree DETACH PARTITION mallory."two %I";
	DROP TABLE mallory."two %I";
	SELECT loyalty.detach('$tree', 'club'), loyalty.detach('$tree', 'bare');
	DROP TABLE $tree},
	"t\nt|t|t\n1|1\n0\n7|8\n\nb|8\n|", 'nor by way of tables of his own');

allowed('mallory', qq{$hostile
	SELECT loyalty.create_program('people') IS NOT NULL, loyalty.enrol('people', 'one') IS NOT NULL, loyalty.enrol('people', 'two') IS NOT NULL;
	SELECT loyalty.adjust('people', 'one', 5, 'x') IS NOT NULL;
	SELECT loyalty.merge_members('people', 'one', 'two') IS NOT NULL;
	SELECT loyalty.create_currency('people', 'late') IS NOT NULL;
	SELECT loyalty.balance('people', 'two');
	SELECT loyalty.unmerge_member('people', 'one') IS NOT NULL;
	SELECT loyalty.close_member('people', 'one', 'x', true);
	SELECT loyalty.reopen_member('people', 'one');
	SELECT loyalty.erase_member('people', 'one') IS NOT NULL},
	"t|t|t\nt\nt\nt\n5\nt\n\n\nt", 'nor when members are merged, closed and erased');

# By a superuser who does not mind his path: the jobs, and each internal function by itself.
my ($status, $out, $err) = $node->psql('postgres', qq{$hostile
	CALL loyalty.expire(); CALL loyalty.review_tiers();
	SELECT loyalty.checkpoint() IS NOT NULL, loyalty.create_roles();
	SELECT v.* FROM loyalty.verify('club') v;
	SELECT FROM loyalty.points_development('club'), loyalty.liability('club', 1), loyalty.liability_journal('club', current_date, 1, 'cape_cod'),
		loyalty.deferred_revenue('club', 1, 1, 'chain_ladder'), loyalty.deferred_revenue_journal('club', current_date, 1);
	SELECT FROM loyalty.breakage('club') b, loyalty.ultimate_redemption_rate('club') u;
	SET client_min_messages = error; CALL loyalty.refresh_clv_by_member(); RESET client_min_messages;
	SELECT loyalty._enrol(1, '{zoe}', '2024-01-01');
	SELECT loyalty._open_accounts(1, pg_catalog.array_agg(m.member_id)) FROM loyalty.member m WHERE m.member OPERATOR(pg_catalog.=) 'zoe';
	SELECT loyalty._balance_then(4, '2120-01-01', 'infinity'), loyalty._expiring_accounts('club', '2120-01-01', 0, 1), loyalty._tiers_to_review('club', 0, 1);
	SELECT loyalty._note_tables(1), loyalty._noted_tables(1);
	BEGIN; SELECT loyalty._archive_accounts(accounts, entries, '2120-01-01') FROM loyalty._archivable_accounts(NULL, '2120-01-01', 0, 9);
	SELECT v.* FROM loyalty.verify_archive() v; SELECT loyalty.discard_archive(); SELECT v.* FROM loyalty.verify() v; ROLLBACK;
	SELECT loyalty.confine('pg_monitor', 'club'), loyalty.confine_member('pg_monitor', 'club', 'mia'), loyalty.unconfine('pg_monitor', 'club');
	SELECT loyalty._unregister_source('public.orders', 'club');
	SELECT loyalty._register_source('public.orders', 'club', 'customer', 'total', NULL, 'purchase', NULL, NULL, 'refunded', NULL, NULL, 'statement', 'defer');
	SELECT loyalty.backfill('public.orders', 'club'), loyalty.retry_deferred('public.orders', 'club');
});
is($status . $err, '0', 'nor by a superuser');
my $uncalled = q{
	SELECT p.oid::regprocedure FROM pg_proc p LEFT JOIN pg_stat_user_functions s ON s.funcid = p.oid
	WHERE p.pronamespace = 'loyalty'::regnamespace AND p.prosecdef AND COALESCE(s.calls, 0) = 0};
# A session's counts come when it has ended.
$node->poll_query_until('postgres', "SELECT NOT EXISTS ($uncalled)");
none(lines($node, 'postgres', $uncalled),
	'and every function that runs with the owner\'s rights was called');
# ---------------------------------------------------------------- roles confined to programs

sub closed
{
	my ($role, $sql, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	as($role, $sql);
	like($error, qr/ERROR:  42501: role "\w+" is confined to other programs/, $name);
}
$node->safe_psql('postgres', q{
	SELECT loyalty.create_program('cafe', ladder => 'a:0'), loyalty.create_program('kiosk'), loyalty.add_rule('cafe', 'base', points_per => 2);
	CREATE TABLE public.sale (id int PRIMARY KEY, customer text, total numeric);
	SELECT loyalty.attach('sale', 'club', 'customer', 'total'), loyalty.attach('sale', 'cafe', 'customer', 'total');
	CREATE ROLE clerk; GRANT loyalty_app TO clerk; GRANT INSERT ON public.sale TO clerk;
	CREATE ROLE junior; GRANT clerk TO junior;
	SELECT loyalty.adjust('cafe', m, 100, 'x') FROM (SELECT 'pia' FROM loyalty.enrol('cafe', 'pia')) p (m);
	SELECT loyalty.redeem('cafe', 'pia', 10, request_id => 'pia');
	SELECT loyalty.adjust('cafe', m, 100, 'x') FROM (SELECT 'quy' FROM loyalty.enrol('cafe', 'quy')) p (m);
	SELECT loyalty.hold('cafe', 'quy', 10, '1 day');
	SELECT loyalty.create_pool('cafe', 'home'), loyalty.join_pool('cafe', 'home', 'quy');
	SELECT loyalty.redeem_pool('cafe', 'home', 'quy', 1, 'quy');
	GRANT EXECUTE ON FUNCTION loyalty.proof, loyalty.verify TO clerk;
	CREATE FUNCTION public.wrapped(program text) RETURNS loyalty.points LANGUAGE sql SECURITY DEFINER RETURN loyalty.balance(program, 'pia');
	CREATE FUNCTION public.lent(program text) RETURNS loyalty.points LANGUAGE sql SECURITY DEFINER RETURN loyalty.balance(program, 'pia');
	ALTER FUNCTION public.lent OWNER TO clerk;
});
my $spent = $node->safe_psql('postgres', q{SELECT entry_id FROM loyalty.entries WHERE program = 'cafe' AND kind = 'redeem' AND member = 'pia'});
my $pooled = $node->safe_psql('postgres', q{SELECT redemption_id FROM loyalty.pool_redemptions WHERE program = 'cafe'});
my $held = $node->safe_psql('postgres', 'SELECT hold_id FROM loyalty.holds');
allowed('clerk', q{SELECT loyalty.balance('cafe', 'pia')}, '90', 'a role that is not confined acts in every program');
refused('clerk', q{SELECT loyalty.confine('clerk', 'club')}, 'and does not confine itself');
allowed('desk', q{SELECT loyalty.confine('clerk', 'club'), loyalty.confine('clerk', 'club')}, '|', 'the administrator confines it');
allowed('clerk', q{INSERT INTO public.sale VALUES (1, 'ron', 30), (2, 'pia', 5)}, '', 'what it sells earns in all programs');
allowed('clerk', q{SELECT loyalty.redeem('club', 'ron', 10) IS NOT NULL, loyalty.enrol('club', 'sue') IS NOT NULL; SELECT loyalty.balance('club', 'ron');
	SELECT max(balance) FROM loyalty.statement('club', 'ron', '-infinity', '2100-01-01'); SELECT tier FROM loyalty.tier_progress('club', 'ron');
	SELECT count(*) FROM loyalty.verify('club')}, "t|t\n20\n30\nbronze\n0", 'it acts in its program');
closed('clerk', "SELECT * FROM loyalty.$_", "it does not: $_") for "redeem('cafe', 'pia', 1)", "balance('cafe', 'pia')", "balance('cafe', 'pia', '2020-01-01')", "enrol('cafe', 'tom')",
	"statement('cafe', 'pia', '-infinity', now())", "tier_progress('cafe', 'pia')", "giveback($spent)", "proof($spent)",
	"hold('cafe', 'pia', 1, '1 day')", "create_pool('cafe', 'mine')", "join_pool('cafe', 'home', 'quy')", "leave_pool('cafe', 'home', 'pia')", "close_pool('cafe', 'home')",
	"redeem_pool('cafe', 'home', 'pia', 1)", "pool_balance('cafe', 'home')", "giveback($pooled)", "capture($held)", "release($held)", "transfer('cafe', 'pia', 'quy', 1)", "confirm($spent)", "verify('cafe')", 'verify()';
closed('clerk', "SET ROLE loyalty_app; SELECT loyalty.balance('cafe', 'pia')", 'nor as another role that it may be');
closed('clerk', "SELECT public.wrapped('cafe')", 'nor by a function that runs as another');
closed('till', "SELECT public.lent('cafe')", 'who is not confined does not by a function that runs as it');
closed('junior', "SELECT loyalty.balance('cafe', 'pia')", 'nor do its members');
closed('postgres', "SET ROLE clerk; SELECT loyalty.balance('cafe', 'pia')", 'nor who becomes it');
allowed('till', q{SELECT loyalty.balance('cafe', 'pia'), loyalty.balance('club', 'ron')}, '100|20', 'others do');
allowed('postgres', q{SELECT loyalty.balance('cafe', 'pia')}, '100', 'superusers do');
allowed('postgres', q{SET ROLE clerk; SELECT loyalty.balance('club', 'ron'); RESET ROLE; SELECT loyalty.confine('clerk', 'cafe'); SET ROLE clerk;
	SELECT loyalty.balance('cafe', 'pia'), loyalty.balance('club', 'ron')}, "20\n\n100|20", 'a second program, in a session that knew of one');
closed('clerk', q{SELECT loyalty.balance('kiosk', 'pia')}, 'and not a third');
allowed('desk', q{SELECT loyalty.unconfine('clerk', 'cafe')}, '', 'taken back');
closed('clerk', q{SELECT loyalty.balance('cafe', 'pia')}, 'it is closed again');
$node->safe_psql('postgres', q{GRANT loyalty_admin TO clerk});
closed('clerk', "SELECT loyalty.$_", "a confined administrator: not $_") for "unconfine('clerk')", "confine('till', 'club')", 'checkpoint()', "create_program('mine')",
	"adjust('cafe', 'pia', 1, 'x')", "add_rule('cafe', 'more', 1)", "merge_members('cafe', 'pia', 'quy')", "unmerge_member('cafe', 'pia')",
	"close_member('cafe', 'pia')", "reopen_member('cafe', 'pia')", "erase_member('cafe', 'pia')",
	"extend('cafe', 'pia', '2900-01-01')", "change_currency('cafe', debt => 'block')";
allowed('postgres', q{SELECT loyalty.unconfine('clerk'); SET ROLE clerk; SELECT loyalty.balance('cafe', 'pia')}, "\n100", 'with none left it is free');
as('desk', "SELECT loyalty.confine(4711::oid::regrole, 'club')");
like($error, qr/ERROR:  42704: role 4711 does not exist/, 'one that is not there can\'t be confined');
as('desk', "SELECT loyalty.confine('clerk', 'shoe')");
like($error, qr/ERROR:  LY001:/, 'nor to a program that is not there');
as('desk', "SELECT loyalty.confine('clerk', NULL)");
like($error, qr/ERROR:  LY001:/, 'nor to none');

is($node->safe_psql('postgres', 'SELECT * FROM loyalty.verify()'), '', 'the books hold');

$node->stop;
done_testing();
