# A hot standby answers what the primary does, refuses what would write, and once promoted
# goes on where the primary stopped.
use strict;
use warnings;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $primary = PostgreSQL::Test::Cluster->new('primary');
$primary->init(allows_streaming => 1);
$primary->start;
$primary->backup('base');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($primary, 'base', has_streaming => 1);
$standby->start;

# After the standby began, so that the extension itself comes by the stream.
$primary->safe_psql('postgres', <<'SQL');
CREATE EXTENSION loyalty;
SELECT loyalty.create_program('club', ladder => 'bronze:0, silver:100, gold:500', validity => '2 years');
SELECT loyalty.create_program('year', ladder => 'bronze:0, silver:100', tier_window => 'calendar', pending => '7 days');
SELECT loyalty.create_program('since', ladder => 'bronze:0, silver:100', tier_window => 'anniversary');
SELECT loyalty.create_program('last', ladder => 'bronze:0, silver:100', tier_window => 'rolling');
SELECT loyalty.add_rule(p, 'base', points_per => 1) FROM unnest(ARRAY['club', 'year', 'since', 'last']) p;
CREATE TABLE orders (id int PRIMARY KEY, customer text, total int, refunded int NOT NULL DEFAULT 0, at timestamptz NOT NULL DEFAULT now());
SELECT loyalty.attach('orders', p, 'customer', 'total', 'at', refunded => 'refunded') FROM unnest(ARRAY['club', 'year', 'since', 'last']) p;
-- A thousand years old: dead in the club, of a period long past elsewhere.
INSERT INTO orders VALUES (1, 'ann', 70, 0, '1023-05-01 12:00+00');
INSERT INTO orders (id, customer, total) VALUES (2, 'ann', 90), (3, 'bob', 600);
UPDATE orders SET refunded = 150 WHERE id = 3;
CREATE TABLE answer (score int);
INSERT INTO answer VALUES (10), (9), (9), (8), (3);
SQL
my $paid = $primary->safe_psql('postgres', q{SELECT loyalty.redeem('club', 'ann', 40, 'till-1')});
$primary->safe_psql('postgres', qq{SELECT loyalty.giveback($paid, 15)});
$primary->wait_for_catchup($standby);

# What is known by hand: 90 of ann's live, less 40, and 15 back; 600 less 150 of bob's.
is($standby->safe_psql('postgres', q{SELECT loyalty.balance('club', 'ann'), loyalty.balance('club', 'bob')}), '65|450', 'balances');
is($standby->safe_psql('postgres', q{SELECT loyalty.balance('club', 'ann', '1024-01-01 00:00+00'), loyalty.balance('club', 'bob', 'infinity')}), '70|0',
	'of the past and of the future');
# A lifetime counts what has died; in a year's window ann's 90 are pending, and so are bob's 450.
my %progress = (club => "silver|2|160|gold|340|silver|2|450|gold|50", year => 'bronze|1|0|silver|100|bronze|1|0|silver|100',
	last => 'bronze|1|90|silver|10|silver|2|450||');
is($standby->safe_psql('postgres', qq{
	SELECT a.tier, a.tier_rank, a.metric, a.next_tier, a.missing, b.tier, b.tier_rank, b.metric, b.next_tier, b.missing
	FROM loyalty.tier_progress('$_', 'ann') a, loyalty.tier_progress('$_', 'bob') b}), $progress{$_}, "progress in $_")
	foreach sort keys %progress;
is($standby->safe_psql('postgres', q{SELECT loyalty.nps(score), loyalty.nps(loyalty.nps_agg(score)) FROM answer}), '40|40', '3 of 5 promote, 1 detracts');
is($standby->safe_psql('postgres', 'SELECT * FROM loyalty.verify()'), '', 'the books hold');

# All else: as the primary says.
sub the_same
{
	my ($what, $sql) = @_;
	my $there = $primary->safe_psql('postgres', $sql);
	isnt($there, '', "$what: the primary has an answer");
	is($standby->safe_psql('postgres', $sql), $there, "$what: the standby has the same");
}
the_same($_, "SELECT * FROM loyalty.$_ t ORDER BY t::text") foreach qw(balances entries lots tier_history);
the_same("progress in $_", "SELECT * FROM loyalty.tier_progress('$_', 'ann') UNION ALL SELECT * FROM loyalty.tier_progress('$_', 'bob')")
	foreach qw(club year since last);
the_same('heads', 'SELECT account_id, entries, head FROM loyalty.account ORDER BY 1');
the_same('a transaction that only reads', q{BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY;
	SELECT loyalty.balance('club', 'ann'), (SELECT metric FROM loyalty.tier_progress('club', 'ann')); COMMIT});

# Writing is refused for what it is.
foreach my $sql (q{SELECT loyalty.redeem('club', 'ann', 1)}, q{SELECT loyalty.giveback(} . $paid . q{)}, q{SELECT loyalty.adjust('club', 'ann', 1, 'no')},
	q{SELECT loyalty.hold('club', 'ann', 1, '1 hour')}, q{SELECT loyalty.transfer('club', 'ann', 'bob', 1)}, q{SELECT loyalty.redeem_pool('club', 'home', 'ann', 1)}, q{SELECT loyalty.create_pool('club', 'home')}, q{SELECT loyalty.enrol('club', 'cid')}, q{INSERT INTO orders (id, customer, total) VALUES (4, 'ann', 1)}, q{CALL loyalty.expire()},
	q{CALL loyalty.review_tiers()}, q{SELECT loyalty.set_ladder('club', 'bronze:0')})
{
	my ($status, $out, $err) = $standby->psql('postgres', "\\set VERBOSITY verbose\n$sql");
	like($err, qr/ERROR:  25006/, "refused: $sql");
}

# The primary is lost.
$primary->stop('immediate');
$standby->promote;
is($standby->safe_psql('postgres', 'SELECT * FROM loyalty.verify()'), '', 'promoted: the books hold');
is($standby->safe_psql('postgres', q{SELECT loyalty.redeem('club', 'ann', 40, 'till-1')}), $paid, 'a request is known still');
$standby->safe_psql('postgres', q{
	INSERT INTO orders (id, customer, total) VALUES (4, 'ann', 400), (5, 'cid', 5);
	UPDATE orders SET refunded = 600 WHERE id = 3});
$standby->safe_psql('postgres', qq{SELECT loyalty.giveback($paid)});
$standby->safe_psql('postgres', q{CALL loyalty.expire(); CALL loyalty.review_tiers()});
is($standby->safe_psql('postgres', q{SELECT member, available, expired, tier FROM loyalty.balances WHERE program = 'club' ORDER BY 1}),
	"ann|490|70|gold\nbob|0|0|bronze\ncid|5|0|bronze", 'life goes on');
is($standby->safe_psql('postgres', 'SELECT * FROM loyalty.verify()'), '', 'and the books hold');

$standby->stop;
done_testing();
