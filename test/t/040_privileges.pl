# Who may do what: nobody moves or reads points without a grant, the grants of
# docs/operations.md are enough and give no more, and nothing that a user plants in a
# schema gets in the way of what runs with the owner's rights.
use strict;
use warnings;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('privileges');
$node->init;
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
	my $out = as($role, $sql);
	ok($out eq $expected && $error eq '', $name) or diag("got: $out\n$error");
}

sub refused
{
	my ($role, $sql, $name) = @_;
	as($role, $sql);
	like($error, qr/ERROR:  42501:/, $name);
}

$node->safe_psql('postgres', q{
	CREATE EXTENSION loyalty;
	CREATE ROLE plain; CREATE ROLE shop_app; CREATE ROLE till; CREATE ROLE reporting; CREATE ROLE mallory;
	CREATE TABLE orders (id int PRIMARY KEY, customer text, total numeric, refunded numeric NOT NULL DEFAULT 0);
	SELECT loyalty.create_program('club', ladder => 'bronze:0, gold:100', validity => '1 year');
	SELECT loyalty.add_rule('club', 'base', points_per => 1);
	SELECT loyalty.attach('orders', 'club', 'customer', 'total', refunded => 'refunded');
	INSERT INTO orders VALUES (1, 'anna', 50);
	GRANT INSERT, UPDATE, SELECT, DELETE ON orders TO shop_app, till, mallory;
});

# Nobody in particular
allowed('plain', q{SELECT loyalty.points '1.5' OPERATOR(loyalty.+) loyalty.points '2'}, '3.5', 'anybody may reckon with points');
allowed('plain', q{SELECT loyalty.nps(s) FROM (VALUES (10), (10), (5), (8)) v (s)}, '25', 'and with scores');
allowed('plain', q{SELECT loyalty.average_transaction_value(s) > 7 FROM (VALUES (10), (10), (5), (8)) v (s)}, 't',
	'and with orders');
for my $call ("redeem('club', 'anna', 1)", "giveback(100000001)", "adjust('club', 'anna', 1, 'me')", "balance('club', 'anna')",
	"enrol('club', 'plain')", "create_program('mine')", "add_rule('club', 'mine', 1)", "change_rule('club', 'base', 9)",
	"end_rule('club', 'base')", "set_ladder('club', 'x:0')", "tier_progress('club', 'anna')", "attach('orders', 'club', 'customer')",
	"detach('orders', 'club')", "backfill('orders', 'club')", "retry_deferred('orders', 'club')", "_balance_then(1, now())",
	"_expire_accounts('{1}', now())", "_enrol(1, '{x}', now())")
{
	refused('plain', "SELECT loyalty.$call", "without a grant: not $call");
}
refused('plain', 'CALL loyalty.expire()', 'without a grant: not expire');
refused('plain', 'CALL loyalty.review_tiers()', 'without a grant: not review_tiers');
my @relations = split /\n/, $node->safe_psql('postgres', q{
	SELECT relname FROM pg_class WHERE relnamespace = 'loyalty'::regnamespace AND relkind IN ('r', 'p', 'v', 'm') ORDER BY 1});
cmp_ok(scalar @relations, '>', 10, 'there are tables and views');
refused('plain', "SELECT * FROM loyalty.$_", "without a grant: $_ is not read") for @relations;

# Writing orders needs no right on points at all.
allowed('shop_app', q{INSERT INTO orders VALUES (2, 'ben', 120); UPDATE orders SET refunded = 10 WHERE id = 2;
	INSERT INTO orders VALUES (3, 'ben', 7); DELETE FROM orders WHERE id = 3}, '', 'who may write orders earns, without any grant here');
is($node->safe_psql('postgres', q{SELECT member, available, tier FROM loyalty.balances ORDER BY 1}), "anna|50|bronze\nben|110|gold",
	'and the points are booked');
refused('shop_app', q{SELECT loyalty.balance('club', 'ben')}, 'but can\'t ask for them');
refused('shop_app', q{INSERT INTO loyalty.entry SELECT * FROM loyalty.entry}, 'nor write the ledger');

# The grants of docs/operations.md, as they are there.
my $page = slurp_file($ENV{TESTDIR} . '/operations.md');
my ($grants) = $page =~ /<!-- grants -->\n+```sql\n(.*?)```/s;
ok($grants, 'the page has grants');
$node->safe_psql('postgres', $grants);
allowed('till', q{INSERT INTO orders VALUES (4, 'carl', 30);
	SELECT loyalty.redeem('club', 'carl', 10, request_id => 'r1'); SELECT loyalty.balance('club', 'carl');
	SELECT loyalty.giveback(300000002); SELECT loyalty.balance('club', 'carl'); SELECT tier FROM loyalty.tier_progress('club', 'carl');
	SELECT loyalty.enrol('club', 'dora') > 0}, "300000002\n20\n300000003\n30\nbronze\nt", 'an application earns, spends, gives back and asks');
refused('till', "SELECT loyalty.$_", "an application has no right to $_")
	for "adjust('club', 'anna', 1000, 'me')", "create_program('mine')", "add_rule('club', 'mine', 1)", "_balance_then(1, now())";
refused('till', "SELECT * FROM loyalty.$_", "nor to read $_") for @relations;

allowed('reporting', q{SELECT available FROM loyalty.balances WHERE member = 'ben'; SELECT count(*) > 0 FROM loyalty.entries;
	SELECT count(*) > 0 FROM loyalty.lots; SELECT count(*) > 0 FROM loyalty.tier_history;
	SELECT sum(orders) FROM loyalty.kpi_daily; SELECT revenue FROM loyalty.member_360 WHERE member = 'ben'; SELECT count(*) FROM loyalty.churn_risk},
	"110\nt\nt\nt\n3\n110\n0", 'reports read the views');
refused('reporting', "SELECT * FROM loyalty.$_", "but not $_")
	for grep { !/^(balances|entries|lots|tier_history|kpi_daily|kpi_monthly|cohort_retention|member_360|tier_distribution|points_liability|campaign_results|clv_by_member|churn_risk)$/ } @relations;
refused('reporting', "SELECT loyalty.$_", "reports can't $_") for "liability('club', 1)", "redeem('club', 'ben', 1)", "enrol('club', 'x')";

# What a user plants in schemas of the search path. Whatever is planted raises an error, so
# it would be noticed; run with the owner's rights it could do anything.
$node->safe_psql('postgres', 'GRANT CREATE ON SCHEMA public TO mallory');
$node->safe_psql('postgres', q{CREATE SCHEMA mallory AUTHORIZATION mallory});
$node->safe_psql('postgres', $grants =~ s/\btill\b/mallory/gr);
my $planted = '';
for my $schema ('mallory', 'public')
{
	$planted .= "CREATE FUNCTION $schema.now() RETURNS timestamptz LANGUAGE plpgsql AS 'BEGIN RAISE EXCEPTION \$\$planted\$\$; END';\n";
	$planted .= "CREATE FUNCTION $schema.format(text, VARIADIC text[]) RETURNS text LANGUAGE plpgsql AS 'BEGIN RAISE EXCEPTION \$\$planted\$\$; END';\n";
	$planted .= "CREATE FUNCTION $schema.unnest(text[]) RETURNS SETOF text LANGUAGE plpgsql AS 'BEGIN RAISE EXCEPTION \$\$planted\$\$; END';\n";
	$planted .= "CREATE FUNCTION $schema.unnest(bigint[]) RETURNS SETOF bigint LANGUAGE plpgsql AS 'BEGIN RAISE EXCEPTION \$\$planted\$\$; END';\n";
	$planted .= "CREATE FUNCTION $schema.array_upper(bigint[], int) RETURNS int LANGUAGE plpgsql AS 'BEGIN RAISE EXCEPTION \$\$planted\$\$; END';\n";
	for my $type ('text', 'int', 'bigint', 'timestamptz', 'oid', 'name', 'boolean', 'numeric')
	{
		$planted .= "CREATE FUNCTION $schema.bad($type, $type) RETURNS boolean LANGUAGE plpgsql AS 'BEGIN RAISE EXCEPTION \$\$planted\$\$; END';\n";
		$planted .= "CREATE OPERATOR $schema.$_ (LEFTARG = $type, RIGHTARG = $type, FUNCTION = $schema.bad);\n" for '=', '<>', '<', '>', '<=', '>=';
	}
}
as('mallory', $planted);
is($error, '', 'mallory plants functions and operators');
my $path = 'SET search_path = mallory, public, pg_catalog;';
my $temp = join '', map { "CREATE TEMP TABLE $_ (x int);" }
	qw(account entry lot allocation program currency member rule source source_table request tier_change pg_class pg_inherits pg_timezone_names);
as('mallory', "$path SELECT 'a'::text = 'a'::text");
like($error, qr/planted/, 'and would be caught by them');
allowed('mallory', qq{$temp $path
	INSERT INTO orders VALUES (10, 'mia', 200), (11, 'mia', 50);
	UPDATE orders SET refunded = 20 WHERE id OPERATOR(pg_catalog.=) 10;
	SELECT loyalty.redeem('club', 'mia', 30, request_id => 'm1');
	SELECT loyalty.giveback(500000004, 5);
	SELECT loyalty.enrol('club', 'max') OPERATOR(pg_catalog.>) 0;
	SELECT tier, metric FROM loyalty.tier_progress('club', 'mia');
	SELECT loyalty.balance('club', 'mia'), loyalty.balance('club', 'mia', pg_catalog.now() OPERATOR(pg_catalog.+) interval '2 years');
	CREATE TABLE mallory.parted (id int, at date) PARTITION BY RANGE (at);
	CREATE TABLE mallory.part PARTITION OF mallory.parted FOR VALUES FROM ('2020-01-01') TO ('2021-01-01');
	DROP TABLE mallory.parted}, "500000004\n500000005\nt\ngold|230\n205|0",
	'nothing planted is met on the way to the ledger');
$node->safe_psql('postgres', qq{$path CREATE TABLE sales (id int PRIMARY KEY, customer text, total numeric);
	SELECT loyalty.create_program('other', 'Europe/Berlin', ladder => 'a:0, b:10');
	SELECT loyalty.add_rule('other', 'base', points_per => 1); SELECT loyalty.change_rule('other', 'base', 2);
	INSERT INTO sales VALUES (1, 'mia', 20);
	SELECT loyalty.attach('sales', 'other', 'customer', 'total'); SELECT loyalty.backfill('sales', 'other');
	SELECT loyalty.set_ladder('other', 'a:0, b:30, c:40'); SELECT loyalty.detach('sales', 'other')});
for my $job ('CALL loyalty.expire()', 'CALL loyalty.review_tiers()', 'CALL loyalty.refresh_clv_by_member()')
{
	my ($status) = $node->psql('postgres', "$path\n$job", stderr => \$error);
	ok($status == 0, "nor by $job") or diag($error);
}
is(join(' ', sort $error =~ /WARNING:  clv_fit of family mbgnbd: [^\n]*\nDETAIL:  The program is "(\w+)"\./g), 'club other', 'a model of few customers is warned of by its program')
	or diag($error);
is($node->safe_psql('postgres', q{SELECT member, available, tier FROM loyalty.balances WHERE program = 'club' ORDER BY 1}),
	"anna|50|bronze\nben|110|gold\ncarl|30|bronze\ndora|0|bronze\nmax|0|bronze\nmia|205|gold", 'and the books are right');

done_testing();
