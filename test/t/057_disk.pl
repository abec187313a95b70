# A disk that is full: first that of the tables, then that of the log. What does not fit is refused
# or stops the server, whole; with room again all goes on, and what was answered is there.
#
# make test gives it two small disks, SMALL_DISK/tables and SMALL_DISK/log, where it may mount them.
use strict;
use warnings;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Storm;

my $disk = $ENV{SMALL_DISK};
plan skip_all => 'no small disk: a tmpfs can be mounted by root alone, where mounting is allowed' if !$disk;

# Takes what is left of a disk, and gives it back.
sub fill
{
	my ($of) = @_;
	open my $file, '>', "$disk/$of/filler" or die "$disk/$of: $!";
	1 while syswrite $file, "\0" x 4096;
	close $file;
}
sub make_room { unlink "$disk/$_[0]/filler" or die "$disk/$_[0]/filler: $!" }

my $node = PostgreSQL::Test::Cluster->new('disk');
$node->init(extra => [ '--waldir', "$disk/log/wal", '--wal-segsize', '1' ]);
$node->append_conf('postgresql.conf', "max_connections = 30\nmax_wal_size = 1GB\nmin_wal_size = 2MB\ncheckpoint_timeout = 1h\nrestart_after_crash = off\nlog_lock_waits = off");
$node->start;
mkdir "$disk/tables/small" or die "$disk/tables: $!";
$node->safe_psql('postgres', "CREATE TABLESPACE small LOCATION '$disk/tables/small'");
$node->safe_psql('postgres', "ALTER DATABASE postgres SET default_tablespace = small");

my $seed = $ENV{STORM_SEED} // time % 100000;
note "seed $seed";
my $storm = Storm->new(clients => 6, members => 30, seed => $seed, weight => { bulk => 10 });
$storm->set_up($node);
is($node->safe_psql('postgres', q{SELECT spcname FROM pg_class c JOIN pg_tablespace t ON t.oid = c.reltablespace WHERE c.oid = 'loyalty.entry'::regclass}),
	'small', 'the ledger is on the small disk');

my $no_room = qr/^53100$/;

# Orders and postings that need another page fail, each whole, until there is room again.
$storm->connect($node);
my $full = 0;
$storm->run(
	meanwhile => sub {
		if (!$full && $storm->since('all') >= 300)
		{
			$full = 1;
			fill('tables');
		}
		elsif ($full == 1 && $storm->since('53100') >= 20)
		{
			$full = 2;
			make_room('tables');
			$storm->mark;
		}
	},
	done => sub { $full == 2 && $storm->since('all') >= 300 });
$storm->holds($node, $no_room, 'no room for tables');

# A commit that can't be written stops the server.
$storm->mark;
$storm->connect($node);
$full = 0;
$storm->run(meanwhile => sub { if (!$full && $storm->since('all') >= 200) { $full = 1; fill('log') } });
like(slurp_file($node->logfile), qr/PANIC: .*No space left on device/, 'the server stopped for want of room');
make_room('log');
ok(Storm::start_again($node), 'with room it starts again');
$storm->holds($node, $no_room, 'no room for the log');
$storm->mark;
$storm->connect($node);
$storm->run(done => sub { $storm->since('all') >= 200 });
$storm->holds($node, $no_room, 'room again');
$node->stop;
done_testing();
