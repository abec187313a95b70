# pg_upgrade from an older server: the same books, and they go on.
#
# Needs the older server's programs and the extension built for it: OLD_SERVER=/usr/lib/postgresql/15
# OLD_DEST=/its/destdir. make test-servers provides both where it runs on 17.
use strict;
use warnings;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Catalogue;

plan skip_all => 'no older server: OLD_SERVER is not set' if !$ENV{OLD_SERVER};

# pg_upgrade makes members of types that come with a table or another type, too.
my $objects = q{
	SELECT pg_describe_object(classid, objid, 0) FROM pg_depend WHERE refclassid = 'pg_extension'::regclass
		AND refobjid = (SELECT oid FROM pg_extension WHERE extname = 'loyalty') AND deptype = 'e'
		AND NOT (classid = 'pg_type'::regclass AND objid IN (SELECT oid FROM pg_type WHERE typrelid <> 0 OR typcategory = 'A'))};

my $old = PostgreSQL::Test::Cluster->new('old', install_path => $ENV{OLD_SERVER});
$old->init(extra => [ '--locale=C.UTF-8', '--encoding=UTF8' ]);
my ($version) = $ENV{OLD_SERVER} =~ /(\d+)$/;
$old->append_conf('postgresql.conf',
	"extension_destdir = '$ENV{OLD_DEST}'\ndynamic_library_path = '$ENV{OLD_DEST}$ENV{OLD_SERVER}/lib:\$libdir'");
$old->start;
$old->safe_psql('postgres', 'CREATE DATABASE shop');
$old->safe_psql('shop', 'CREATE EXTENSION loyalty');
$old->safe_psql('shop', slurp_file('t/shop.sql'));
like($old->safe_psql('shop', 'SHOW server_version'), qr/^$version\./, "the old server is $version");
my $books = data($old, 'shop');
my $there = lines($old, 'shop', $objects);
$old->stop;

my $new = PostgreSQL::Test::Cluster->new('new');
$new->init(extra => [ '--locale=C.UTF-8', '--encoding=UTF8' ]);
my $bin = $new->config_data('--bindir');
chdir $PostgreSQL::Test::Utils::tmp_check or die;
command_ok([ "$bin/pg_upgrade", '--no-sync', '-d', $old->data_dir, '-D', $new->data_dir, '-b', "$ENV{OLD_SERVER}/bin", '-B', $bin,
		'-s', $new->host, '-p', $old->port, '-P', $new->port ], 'pg_upgrade');
chdir '..' or die;
$new->start;
isnt($new->safe_psql('shop', 'SHOW server_version') =~ s/\..*//r, $version, 'the new server is another');

same(data($new, 'shop'), $books, 'the same rows, and sequences that go on');
same(lines($new, 'shop', $objects), $there, 'the same objects');
is($new->safe_psql('shop', 'SELECT * FROM loyalty.verify()'), '', 'the books hold');

my $bob = $new->safe_psql('shop', q{SELECT loyalty.balance('club', 'bob')});
is($new->safe_psql('shop', q{
	SELECT loyalty.redeem('club', 'ann', 30, request_id => 'redeem-1') = entry_id FROM loyalty.entries WHERE event = 'redeem-1'}), 't',
	'a request is known still');
$new->safe_psql('shop', q{
	INSERT INTO shop.orders VALUES ('B-1', 'bob', now(), 30, 0, 'paid');
	CREATE TABLE shop.receipts_3 PARTITION OF shop.receipts FOR VALUES IN (3);
	INSERT INTO shop.receipts VALUES (3, 1, 'bob', 7, CURRENT_DATE + 7);
	SELECT loyalty.redeem('club', 'bob', 5);
	SELECT loyalty.checkpoint();
	CALL loyalty.expire(); CALL loyalty.review_tiers()});
is($new->safe_psql('shop', q{SELECT loyalty.balance('club', 'bob')}), $bob + 2 * 30 + 2 * 7 - 5, 'orders earn, by two points each now, and points are spent');
is($new->safe_psql('shop', q{
	SELECT bool_and(loyalty.verify_proof(loyalty.proof(e.entry_id, c.number), c.root))
	FROM loyalty.checkpoints c, loyalty.entries e WHERE e.event = 'A-1'}), 't', 'old roots prove old entries');
is($new->safe_psql('shop', 'SELECT * FROM loyalty.verify()'), '', 'and the books hold');
$new->stop;
done_testing();
