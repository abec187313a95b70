# A storm through cancelled statements, timeouts, a killed backend, a killed server and the
# promotion of a standby: after each nothing answered is lost, nothing else is there but what was
# on its way, and the books are those of one client who did the same one after the other.
use strict;
use warnings;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Storm;

my $node = PostgreSQL::Test::Cluster->new('faults');
$node->init(allows_streaming => 1);
$node->append_conf('postgresql.conf', "max_connections = 40\nrestart_after_crash = on\nlog_lock_waits = off");
$node->start;

my $seed = $ENV{STORM_SEED} // time % 100000;
note "seed $seed";
my $storm = Storm->new(clients => 10, members => 30, seed => $seed, weight => { bulk => 6 });
$storm->set_up($node);

# Cancelled, timed out, the same while it waits for a lock; and what came after it in its transaction.
my $stopped = qr/^(57014|55P03|25P02)$/;

# Whoever is at work is cancelled wherever it is.
$storm->connect($node);
$storm->run(
	meanwhile => sub {
		my $c = Storm::pick(grep { $_->{asked} } @{ $storm->{sessions} });
		kill 'INT', $c->{pid} if $c;
	},
	done => sub { $storm->since('57014') >= 100 && $storm->since('all') >= 300 });
$storm->holds($node, $stopped, 'cancelled');

# Each waits as long, and works as long, as it has patience: some have none.
$storm->mark;
$storm->connect($node, sub {
	my ($n) = @_;
	return '-c lock_timeout=' . (1, 1, 5, 0, 0)[ $n % 5 ] . ' -c statement_timeout=' . (0, 0, 0, 2, 10)[ $n % 5 ];
});
$storm->run(done => sub { $storm->since('55P03') >= 30 && $storm->since('57014') >= 30 && $storm->since('all') >= 500 });
$storm->holds($node, $stopped, 'out of time');

# A backend is killed: the server drops the others and recovers.
my $killed;
$storm->mark;
$storm->connect($node);
$storm->run(meanwhile => sub {
	return if $killed || $storm->since('all') < 500;
	$killed = (grep { $_->{asked} } @{ $storm->{sessions} })[0] // return;
	kill 'KILL', $killed->{pid};
});
Storm::came_back($node) or die 'the server did not come back';
$storm->holds($node, $stopped, 'a killed backend');

# The postmaster is killed, and those it leaves end by themselves.
sub kill_server
{
	my ($what) = @_;
	$storm->mark;
	$storm->connect($what);
	my $gone;
	$storm->run(meanwhile => sub {
		return if $gone || $storm->since('all') < 500;
		$gone = 1;
		$what->kill9;
	});
}
foreach my $time ('once', 'twice')
{
	kill_server($node);
	ok(Storm::start_again($node), "killed $time: the server starts again");
	$storm->holds($node, $stopped, "a server killed $time");
}

# A standby that is waited for has all that was answered. The primary is lost, and life goes on there.
$node->backup('base');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($node, 'base', has_streaming => 1);
$standby->start;
$node->safe_psql('postgres', "ALTER SYSTEM SET synchronous_standby_names = 'standby'");
$node->reload;
$node->poll_query_until('postgres', q{SELECT EXISTS (SELECT FROM pg_stat_replication WHERE sync_state = 'sync')}) or die 'no standby';
kill_server($node);
$node = $standby;
$node->promote;
$storm->holds($node, $stopped, 'a promoted standby');
$node->safe_psql('postgres', "ALTER SYSTEM SET synchronous_standby_names = ''");
$node->reload;
$node->poll_query_until('postgres', q{SELECT current_setting('synchronous_standby_names') = ''});
$storm->mark;
$storm->connect($node);
$storm->run(done => sub { $storm->since('all') >= 300 });
$storm->holds($node, $stopped, 'its life thereafter');

$node->stop;
done_testing();
