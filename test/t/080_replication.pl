# Logical replication, both ways round: a table that a subscription fills earns, the first copy
# and the apply worker's changes alike, and the ledger's own tables can be sent on to a server
# that only reports.
use strict;
use warnings;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my ($shop, $crm, $report) = map { PostgreSQL::Test::Cluster->new($_) } qw(shop crm report);
foreach ($shop, $crm, $report)
{
	$_->init(allows_streaming => 'logical');
	$_->start;
}

my $tables = q{
	CREATE TABLE orders (id int PRIMARY KEY, customer text, total numeric(12,2) NOT NULL,
		refunded numeric(12,2) NOT NULL DEFAULT 0, status text NOT NULL DEFAULT 'paid');
	CREATE TABLE stays (id int, customer text, total numeric(12,2) NOT NULL, year int NOT NULL, PRIMARY KEY (id, year));
	CREATE TABLE visits (id int PRIMARY KEY, customer text, total numeric(12,2) NOT NULL);
};
$shop->safe_psql('postgres', "$tables CREATE PUBLICATION sales FOR TABLE orders, stays, visits");

# What is there when the subscription begins.
$shop->safe_psql('postgres', q{INSERT INTO orders VALUES (1, 'ann', 10.90, 0, 'paid'), (2, 'bob', 20, 0, 'paid'), (3, 'bob', 7, 0, 'cart')});

# The subscriber may lay the table out as it likes: other columns, another order, partitions.
$crm->safe_psql('postgres', $tables =~ s{CREATE TABLE stays .*}{}r . q{
	CREATE TABLE stays (year int NOT NULL, note text DEFAULT 'none', total numeric(12,2) NOT NULL, customer text, id int,
		PRIMARY KEY (id, year)) PARTITION BY RANGE (year);
	CREATE TABLE stays_2024 PARTITION OF stays FOR VALUES FROM (2024) TO (2025);
	CREATE EXTENSION loyalty;
	SELECT loyalty.create_program('club', debt => 'negative', ladder => 'bronze:0, silver:100');
	SELECT loyalty.add_rule('club', 'base', points_per => 1);
	SELECT loyalty.attach('orders', 'club', 'customer', 'total', refunded => 'refunded', status => 'status',
		earning => '{paid}', for_each => 'row');
	SELECT loyalty.attach('stays', 'club', 'customer', 'total', for_each => 'row', on_error => 'defer');
	SELECT loyalty.attach('visits', 'club', 'customer', 'total');
	CREATE TABLE stays_2025 PARTITION OF stays FOR VALUES FROM (2025) TO (2026);
});
$crm->safe_psql('postgres', "CREATE SUBSCRIPTION sales CONNECTION '" . $shop->connstr . " dbname=postgres' PUBLICATION sales");
$crm->wait_for_subscription_sync($shop, 'sales');

my $balances = q{SELECT string_agg(concat_ws(' ', member, available, tier), ', ' ORDER BY member) FROM loyalty.balances};

# What the subscriber's members have once a change of the shop's tables has arrived.
sub after
{
	my ($change, $expected, $name) = @_;
	$shop->safe_psql('postgres', $change);
	$shop->wait_for_catchup('sales');
	is($crm->safe_psql('postgres', $balances), $expected, $name);
}

is($crm->safe_psql('postgres', $balances), 'ann 10 bronze, bob 20 bronze', 'the first copy earns, but a row that does not earn');

after(q{INSERT INTO orders VALUES (4, 'ann', 95.50), (5, 'cem', 7), (6, NULL, 50)},
	'ann 105 silver, bob 20 bronze, cem 7 bronze', 'inserted rows earn, but a guest\'s');
after(q{UPDATE orders SET total = 30 WHERE id = 2},
	'ann 105 silver, bob 30 bronze, cem 7 bronze', 'a higher amount earns the difference');
# 95 * 47.75 / 95.5 = 47.5 of the 95 points: 47 are taken.
after(q{UPDATE orders SET refunded = 47.75 WHERE id = 4},
	'ann 58 bronze, bob 30 bronze, cem 7 bronze', 'a refund takes its share, and the tier');
after(q{UPDATE orders SET status = 'paid' WHERE id = 3; UPDATE orders SET status = 'void' WHERE id = 1},
	'ann 48 bronze, bob 37 bronze, cem 7 bronze', 'a row comes to earn, another ceases to');
after(q{UPDATE orders SET customer = 'cem' WHERE id = 2},
	'ann 48 bronze, bob 7 bronze, cem 37 bronze', 'another member gets the points');
after(q{UPDATE orders SET id = 20 WHERE id = 2; UPDATE orders SET total = 31 WHERE id = 20},
	'ann 48 bronze, bob 7 bronze, cem 38 bronze', 'a row is known by its new key');
$crm->safe_psql('postgres', q{SELECT loyalty.redeem('club', 'cem', 38)});
after(q{DELETE FROM orders WHERE id = 20},
	'ann 48 bronze, bob 7 bronze, cem -31 bronze', 'a deleted row\'s points are owed if they were spent');
after(q{INSERT INTO orders VALUES (7, 'cem', 31)},
	'ann 48 bronze, bob 7 bronze, cem 0 bronze', 'and earned again');

# 1,000 rows of 2, raised to 3; those from 600 on, 500 of them, deleted again.
my $rest = 'ann 48 bronze, bob 7 bronze, cem 0 bronze, dan 1500 silver';
after(q{
	BEGIN;
	INSERT INTO orders SELECT n, 'dan', 2 FROM generate_series(100, 1099) n;
	SAVEPOINT here;
	INSERT INTO orders VALUES (2000, 'eve', 100);
	ROLLBACK TO here;
	UPDATE orders SET total = 3 WHERE customer = 'dan';
	DELETE FROM orders WHERE id BETWEEN 600 AND 1099;
	COMMIT},
	$rest, 'many changes of many rows in one transaction, but not those it took back');
after(q{BEGIN; INSERT INTO orders VALUES (2000, 'eve', 5); DELETE FROM orders WHERE id = 4; ROLLBACK},
	$rest, 'nothing of a transaction that was rolled back');

after(q{INSERT INTO stays VALUES (1, 'fay', 40, 2024), (2, 'fay', 2, 2025)}, "$rest, fay 42 bronze",
	'partitions of the subscriber earn, one that was made later too');
after(q{UPDATE stays SET year = 2025, total = 41 WHERE id = 1}, "$rest, fay 43 bronze", 'a row that moves to another partition');
after(q{DELETE FROM stays WHERE id = 2}, "$rest, fay 41 bronze", 'and one that goes');

$crm->safe_psql('postgres', q{INSERT INTO orders VALUES (-1, 'gus', 4), (-2, 'gus', 5); DELETE FROM orders WHERE id = -2});
$rest = "$rest, fay 41 bronze, gus 4 bronze";
is($crm->safe_psql('postgres', $balances), $rest, 'rows written on the subscriber itself earn once');


# Where errors are deferred, a row that can't be rated does not stop the worker.
after(q{INSERT INTO stays VALUES (8, 'hal', -1, 2024), (9, 'hal', 2, 2024)}, "$rest, hal 2 bronze", 'the row beside one that can\'t be rated earns');
is($crm->safe_psql('postgres', 'SELECT event, state FROM loyalty.deferred'), '8,2024|LY201', 'which is noted');
$rest = "$rest, hal 2 bronze";
after(q{UPDATE stays SET total = 4 WHERE id = 8}, $rest, 'corrected, it waits');
is($crm->safe_psql('postgres', q{SELECT loyalty.retry_deferred('stays', 'club')}), 1, 'for retry_deferred()');
$rest =~ s/hal 2/hal 6/;
is($crm->safe_psql('postgres', $balances), $rest, 'and earns');

# Attached for each statement, what arrives waits for backfill().
after(q{INSERT INTO visits VALUES (1, 'bob', 8), (2, 'hal', 9); UPDATE visits SET total = 10 WHERE id = 2},
	$rest, 'for each statement: what is replicated earns nothing');
is($crm->safe_psql('postgres', q{SELECT loyalty.backfill('visits', 'club')}), 2, 'until backfill() picks it up');
$rest = $rest =~ s/bob 7/bob 15/r =~ s/hal 6/hal 16/r;
is($crm->safe_psql('postgres', $balances), $rest, 'as it is by then');

is($crm->safe_psql('postgres', 'SELECT * FROM loyalty.verify()'), '', 'the books hold');

# The ledger's tables on a server that reports, where the attached tables are but empty.
$crm->safe_psql('postgres', 'CREATE PUBLICATION books FOR TABLE '
	. join ', ', map { "loyalty.$_" } qw(program currency source rule member member_change account actor entry lot allocation hold request
	pool pool_member pool_payment tier_change));
$report->safe_psql('postgres', "$tables CREATE EXTENSION loyalty");
$report->safe_psql('postgres', "CREATE SUBSCRIPTION books CONNECTION '" . $crm->connstr . " dbname=postgres' PUBLICATION books");
$report->wait_for_subscription_sync($crm, 'books');
my $entries = q{SELECT md5(string_agg(e::text, E'\n' ORDER BY entry_id)), count(*) FROM loyalty.entries e};
is($report->safe_psql('postgres', $balances), $rest, 'the reporting server shows the balances');
is($report->safe_psql('postgres', $entries), $crm->safe_psql('postgres', $entries), 'and the entries');
$shop->safe_psql('postgres', q{INSERT INTO stays VALUES (3, 'ivy', 3, 2024); DELETE FROM stays WHERE id = 1});
$shop->wait_for_catchup('sales');
$crm->safe_psql('postgres', q{SELECT loyalty.redeem('club', 'ivy', 1); SELECT loyalty.adjust('club', 'gus', 5, 'goodwill')});
$crm->wait_for_catchup('books');
$rest = $rest =~ s/fay 41/fay 0/r =~ s/gus 4/gus 9/r . ', ivy 2 bronze';
is($report->safe_psql('postgres', $balances), $rest, 'what happens arrives there');
is($report->safe_psql('postgres', $entries), $crm->safe_psql('postgres', $entries), 'with its entries');
is($report->safe_psql('postgres', 'SELECT * FROM loyalty.verify() WHERE account IS NOT NULL'), '', 'and every account can be verified there');

# Holds, pools, merges and closings are there with what proves them.
$crm->safe_psql('postgres', q{
	SELECT loyalty.capture(loyalty.hold('club', 'hal', 6, '1 day'), 2);
	SELECT loyalty.create_pool('club', 'home'), loyalty.join_pool('club', 'home', 'gus'), loyalty.join_pool('club', 'home', 'ivy');
	SELECT loyalty.redeem_pool('club', 'home', 'ivy', 10);
	SELECT loyalty.merge_members('club', 'fay', 'bob');
	SELECT loyalty.enrol('club', 'kay'); SELECT loyalty.close_member('club', 'kay', 'left')});
$crm->wait_for_catchup('books');
for my $view ('balances', 'holds', 'members', 'pool_members', 'pool_redemptions')
{
	my $rows = "SELECT r FROM loyalty.$view r ORDER BY r::text";
	is($report->safe_psql('postgres', $rows), $crm->safe_psql('postgres', $rows), "$view are the same");
}
is($report->safe_psql('postgres', q{SELECT available, held FROM loyalty.balances WHERE member = 'hal'}), '10|4', 'hal has 16 less 6, of which 4 are held still');
is($report->safe_psql('postgres', q{SELECT string_agg(member || ' ' || state, ', ' ORDER BY member) FROM loyalty.members WHERE state <> 'open'}),
	'fay merged, kay closed', 'who is merged and who is closed is known there');
is($report->safe_psql('postgres', 'SELECT * FROM loyalty.verify() WHERE account IS NOT NULL'), '', 'and all of that can be verified there');

$report->safe_psql('postgres', 'DROP SUBSCRIPTION books');
$crm->safe_psql('postgres', 'DROP SUBSCRIPTION sales');
$_->stop foreach $report, $crm, $shop;
done_testing();
