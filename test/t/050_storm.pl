# Many clients at once on few members: nobody deadlocks, nobody fails but for what the business or
# the isolation level refuses, and one client alone would have got the same answers.
#
#   STORM=60 make test TESTS=storm		for so many seconds, with 16 clients
use strict;
use warnings;
use IPC::Run;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Storm;

my $node = PostgreSQL::Test::Cluster->new('storm');
$node->init;
$node->append_conf('postgresql.conf', "max_connections = 40\nlog_lock_waits = off");
$node->start;

my $seed = $ENV{STORM_SEED} // time % 100000;
note "seed $seed";
my $storm = Storm->new(clients => 16, members => 27, all => 1, seed => $seed);
$storm->set_up($node);
$storm->connect($node);

# A dump is made while they are at it.
my $bin = $node->config_data('--bindir');
my $archive = "$PostgreSQL::Test::Utils::tmp_check/storm";
my ($dump, $said);
$storm->run(
	done => Storm::enough($ENV{STORM} // 8, 10),
	meanwhile => sub {
		$dump //= IPC::Run::start([ "$bin/pg_dump", '-Fc', '-f', $archive, '-d', $node->connstr('postgres') ], '2>', \$said)
		  if $storm->since('all') >= 500;
	});
ok($dump->finish, 'dumped meanwhile');

$storm->holds($node, qr/^$/, 'storm');
unlike(slurp_file($node->logfile), qr/deadlock detected|(?:FATAL|PANIC): /, 'the server met no deadlock');

# That such a replay finds what is wrong: one redemption of some hundreds was of a point more.
{
	my @redeemed = grep { $_->{op}{do} eq 'redeem' && $_->{answered} && !$_->{error} && !defined $_->{op}{request} } @{ $storm->{answers} };
	my $one = $redeemed[ @redeemed < 400 ? @redeemed / 2 : 200 ];
	local $one->{op}{points} = $one->{op}{points} + 10000;
	local $storm->{model};
	my ($fault) = $storm->replay($node, faults => 0);
	like($fault, qr/one client would have booked.*by client $one->{client}, number $one->{n},/s, 'a wrong entry is found');
}

# Closed years are moved away beneath them. This is not replayed: an archived entry is its mover's,
# and no more that of the transaction that made it.
my $began = time;
$storm->deal(archive => 12, checkpoint => 6);
$storm->connect($node);
$storm->mark;
$storm->run(done => sub { time > $began + 2 && $storm->since('archive') >= 8 && $storm->since('all') > 500 });
note 'archived ', $node->safe_psql('postgres', 'SELECT count(*) FROM loyalty.archived_entry'), ' entries beneath ', $storm->since('all'), ' operations';
is($storm->unexpected(qr/^$/), '', 'archiving refuses nothing to anybody');
is($node->safe_psql('postgres', 'SELECT * FROM loyalty.verify() UNION ALL SELECT * FROM loyalty.verify_archive()'), '', 'the books and the archive hold');
unlike(slurp_file($node->logfile), qr/deadlock detected|(?:FATAL|PANIC): /, 'there is no deadlock with it');

# What an order has earned, by its row alone: the points of its total, less their refunded share,
# down to whole points; with whom it is now, and with nobody else. div() is exact. What is let
# off for having died, or having been spent, is not taken. Not of those, s, who were closed for a time.
my $astray = q{
	WITH owed AS (
		SELECT p.program, o.id AS event, o.member,
			CASE WHEN amount = 0 THEN 0 ELSE floor(amount * per) - div(floor(amount * per) * refunded, amount) END AS points
		FROM orders o, (VALUES ('club', 1), ('store', 2)) p (program, per) WHERE member !~ '^s'),
	booked AS (
		SELECT program, event, member, sum(points::numeric - coalesce(forgiven::numeric, 0)) AS points FROM loyalty.entries
		WHERE kind IN ('earn', 'reverse') AND program <> 'hotel' AND member !~ '^s' GROUP BY program, event, member)
	SELECT program, event, member, owed.points, booked.points FROM owed FULL JOIN booked USING (program, event, member)
	WHERE owed.points IS DISTINCT FROM booked.points AND NOT (owed.points IS NULL AND booked.points = 0)
	LIMIT 5};
is($node->safe_psql('postgres', $astray), '', 'every order has earned what its row says');
is($node->safe_psql('postgres', q{
	WITH m AS (
		SELECT program, member, sum(points::numeric - coalesce(forgiven::numeric, 0)) AS earned
		FROM loyalty.entries WHERE kind IN ('earn', 'reverse') GROUP BY program, member)
	SELECT program, member, b.tier, m.earned FROM loyalty.balances b LEFT JOIN m USING (program, member)
	WHERE b.program <> 'hotel' AND b.member !~ '^[jse]' AND b.tier::text <> CASE WHEN m.earned >= 10000 THEN 'gold' WHEN m.earned >= 2000 THEN 'silver' ELSE 'bronze' END
	LIMIT 5}), '', 'and tiers are by what was earned');

$node->safe_psql('postgres', 'CALL loyalty.expire()');
is($node->safe_psql('postgres', q{
	SELECT count(*) FROM loyalty.lot WHERE expires_at <= now() AND remaining > held}), 0, 'nothing dead is left alive');
is($node->safe_psql('postgres', 'SELECT * FROM loyalty.verify()'), '', 'and the books still hold');

# Twenty who give away the same 100 points at once, while another keeps them: one gift goes through.
$node->safe_psql('postgres', q{SELECT loyalty.enrol('club', 'giver'), loyalty.adjust('club', 'giver', 100, 'to give')});
my $holder = Session->new($node->connstr('postgres'));
$holder->ask(q{BEGIN; SELECT FROM loyalty.account WHERE member_key = 'giver' FOR UPDATE;});
my @givers = map { Session->new($node->connstr('postgres')) } 1 .. 20;
$givers[ $_ - 1 ]->send("SELECT 'given ' || loyalty.transfer('club', 'giver', 'm$_', 100);") foreach 1 .. 20;
$node->poll_query_until('postgres', q{SELECT count(*) = 20 FROM pg_stat_activity WHERE query ~ 'transfer' AND wait_event_type = 'Lock'}) or die 'they do not meet';
$holder->ask('COMMIT;');
my %ended;
foreach my $giver (@givers)
{
	my $lines = join ' ', @{ $giver->answer };
	$ended{ $lines =~ /given \d+/ ? 'given' : $lines =~ /ERROR:  (\w+):/ ? $1 : $lines }++;
	$giver->end;
}
$holder->end;
is(join(', ', map { "$ended{$_} $_" } sort keys %ended), '19 LY301, 1 given', 'of twenty gifts of the same points one is made');
is($node->safe_psql('postgres', q{SELECT loyalty.balance('club', 'giver'), count(*) FROM loyalty.verify()}), '0|0', 'and they are gone once');

# What was dumped meanwhile is one moment of it.
$node->safe_psql('postgres', 'CREATE DATABASE copy');
command_ok([ "$bin/pg_restore", '--exit-on-error', '-d', $node->connstr('copy'), $archive ], 'the dump is restored');
is($node->safe_psql('copy', 'SELECT * FROM loyalty.verify()'), '', 'its books hold');
is($node->safe_psql('copy', $astray), '', 'and every order in it has earned what its row says');
$node->safe_psql('copy', q{INSERT INTO orders VALUES ('after', 'after', 10, 0, now()); SELECT loyalty.redeem('club', 'after', 1)});
is($node->safe_psql('copy', q{SELECT loyalty.balance('club', 'after'), loyalty.balance('store', 'after'), count(*) FROM loyalty.verify()}), '9|20|0',
	'its life goes on');

$node->stop;
done_testing();
