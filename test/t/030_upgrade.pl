# An installation that was upgraded is, object by object, the one that was made fresh,
# whichever version it came from.
#
# sql/upgrades holds both: the install script of every earlier release and the steps
# between neighbours.
use strict;
use warnings;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Catalogue;

my $node = PostgreSQL::Test::Cluster->new('upgrade');
$node->init;
$node->start;

$node->safe_psql('postgres', 'CREATE DATABASE fresh');
$node->safe_psql('fresh', 'CREATE EXTENSION loyalty');
my $earlier = lines($node, 'fresh', q{
	SELECT source FROM pg_extension_update_paths('loyalty') p JOIN pg_extension e ON p.target = e.extversion
	WHERE extname = 'loyalty' AND path IS NOT NULL});
plan skip_all => 'no earlier version yet' if !@$earlier;

my $fresh = members($node, 'fresh');

foreach my $version (@$earlier)
{
	my $db = "from_$version";
	$node->safe_psql('postgres', qq{CREATE DATABASE "$db"});
	$node->safe_psql($db, qq{CREATE EXTENSION loyalty VERSION '$version'});
	$node->safe_psql($db, 'ALTER EXTENSION loyalty UPDATE');
	same(members($node, $db), $fresh, "upgraded from $version");
}

$node->stop;
done_testing();
