# A dump restored into a new database has the same books, and goes on counting where
# they ended.
use strict;
use warnings;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Catalogue;

my $node = PostgreSQL::Test::Cluster->new('dump');
$node->init;
$node->start;
$node->safe_psql('postgres', 'CREATE DATABASE shop');
$node->safe_psql('shop', 'CREATE EXTENSION loyalty');

# A table of the extension is dumped only if it is marked for that, and an identity
# sequence that is not would count from 1 again.
none(
	lines($node, 'shop', q{
		SELECT c.oid::regclass FROM pg_class c
		JOIN pg_depend d ON d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e'
		JOIN pg_extension e ON e.oid = d.refobjid AND e.extname = 'loyalty'
		WHERE c.relkind IN ('r', 'p', 'S') AND c.relpersistence = 'p'
			AND NOT COALESCE(c.oid = ANY (e.extconfig), false)}),
	'every table and sequence is marked to be dumped');

# A year in a shop's life, with a bit of all that the ledger can hold.
$node->safe_psql('shop', slurp_file('t/shop.sql'));

my $books = data($node, 'shop');
my $shop = lines($node, 'shop', 'SELECT o::text FROM shop.orders o');
cmp_ok(scalar(@$shop), '>', 0, 'the shop has orders');
my @empty = grep {
	my $table = $_;
	!grep { index($_, "$table ") == 0 } @$books
} @{ lines($node, 'shop', q{
	SELECT r::regclass FROM pg_extension, unnest(extconfig) r JOIN pg_class c ON c.oid = r
	WHERE extname = 'loyalty' AND c.relkind = 'r'}) };
none(\@empty, 'no table of the extension is empty, so each is tested');

my $bin = $node->config_data('--bindir');
my $dump = "$PostgreSQL::Test::Utils::tmp_check/shop";
my @formats = ('plain', 'custom', 'directory', 'shuffled', 'halves', 'sections');
foreach my $format (@formats)
{
	my @from = ('-h', $node->host, '-p', $node->port);
	$node->safe_psql('postgres', "CREATE DATABASE $format");
	my @to = (@from, '-d', $format);
	my $psql = sub { command_ok([ "$bin/psql", '-Xq', '-v', 'ON_ERROR_STOP=1', @to, '-f', $_[0] ], "restored from $_[0]" =~ s{ /.*/}{ }r) };
	if ($format eq 'plain')
	{
		command_ok([ "$bin/pg_dump", @from, '-f', "$dump.sql", 'shop' ], 'dumped as SQL');
		$psql->("$dump.sql");
	}
	elsif ($format eq 'custom' || $format eq 'directory')
	{
		my @jobs = $format eq 'directory' ? ('-j', 2) : ();
		command_ok([ "$bin/pg_dump", @from, '-F', substr($format, 0, 1), @jobs, '-f', "$dump.$format", 'shop' ], "dumped as $format");
		command_ok([ "$bin/pg_restore", '--exit-on-error', @jobs, @to, "$dump.$format" ], "restored from $format");
	}
	elsif ($format eq 'shuffled')
	{
		# An order that a parallel restore may come to: data in reverse, and the primary keys of the
		# shop's tables before the last of the ledger's data.
		my ($archive) = run_command([ "$bin/pg_restore", '-l', "$dump.custom" ]);
		my @items = grep { /^\d/ } split /\n/, $archive;
		my $post = qr/ (CONSTRAINT|INDEX|INDEX ATTACH|TRIGGER) /;
		my @data = reverse grep { / TABLE DATA / } @items;
		my ($late) = grep { / source_table / } @data;
		append_to_file("$dump.list", join "\n",
			(grep { !/ TABLE DATA / && !/$post/ } @items),
			(grep { $_ ne $late } @data),
			(grep { /$post/ && !/ TRIGGER / } @items),
			$late, (grep { / TRIGGER / } @items), '');
		command_ok([ "$bin/pg_restore", '--exit-on-error', '-L', "$dump.list", @to, "$dump.custom" ], 'restored in another order');
	}
	elsif ($format eq 'halves')
	{
		# The triggers are there before the data, and must not fire for it.
		command_ok([ "$bin/pg_dump", @from, '--schema-only', '-f', "$dump.schema.sql", 'shop' ], 'the schema is dumped');
		command_ok([ "$bin/pg_dump", @from, '--data-only', '--disable-triggers', '-f', "$dump.data.sql", 'shop' ], 'the data are dumped');
		$psql->("$dump.schema.sql");
		$psql->("$dump.data.sql");
	}
	else
	{
		command_ok([ "$bin/pg_restore", '--exit-on-error', "--section=$_", @to, "$dump.custom" ], "section $_ is restored")
			foreach qw(pre-data data post-data);
	}

	same(data($node, $format), $books, "$format: the same rows, and sequences that go on");
	same(lines($node, $format, 'SELECT o::text FROM shop.orders o'),
		$shop, "$format: the same orders");
	same(members($node, $format), members($node, 'shop'), "$format: the same objects and privileges");
	is($node->safe_psql($format, 'SELECT * FROM loyalty.verify()'), '', "$format: the books hold");
}

# Life goes on, and in each of them alike: the triggers are back on all tables of a tree, a new
# partition gets them and one that is detached loses them, a known request is known.
my $next_day = q{
	INSERT INTO shop.orders VALUES ('B-1', 'ann', '2025-01-01 09:00+00', 10.00, 0, 'paid'),
		('B-2', 'cem', '2025-01-01 10:00+00', 30.00, 0, 'paid');
	UPDATE shop.orders SET refunded = 600 WHERE order_no = 'A-4';
	CREATE TABLE shop.receipts_3 PARTITION OF shop.receipts FOR VALUES IN (3);
	INSERT INTO shop.receipts VALUES (2, 3, 'dan', 5, '2025-01-01'), (3, 1, 'cem', 6, '2025-01-01');
	INSERT INTO shop.receipts_3 VALUES (3, 2, 'cem', 7, '2025-01-01');
	UPDATE shop.receipts SET till = 3, no = 3 WHERE (till, no) = (2, 2);
	ALTER TABLE shop.receipts DETACH PARTITION shop.receipts_1;
	DELETE FROM shop.receipts_1;
	SELECT loyalty.redeem('club', 'ann', 30, request_id => 'redeem-1'), loyalty.redeem('club', 'bob', 5);
	SELECT number, accounts, entries FROM loyalty.checkpoint();
	SELECT c.number, count(*), bool_and(loyalty.verify_proof(loyalty.proof(e.entry_id, c.number), c.root))
		FROM loyalty.checkpoints c, loyalty.entries e WHERE e.event = 'A-1' GROUP BY c.number ORDER BY c.number;
};
my $answer = $node->safe_psql('shop', $next_day);
my $balances = lines($node, 'shop', 'SELECT b::text FROM loyalty.balances b');
foreach my $format (@formats)
{
	is($node->safe_psql($format, $next_day), $answer, "$format: the same entries are next");
	same(lines($node, $format, 'SELECT b::text FROM loyalty.balances b'), $balances, "$format: with the same balances");
	is($node->safe_psql($format, 'SELECT * FROM loyalty.verify()'), '', "$format: and the books hold");
}

$node->stop;
done_testing();
