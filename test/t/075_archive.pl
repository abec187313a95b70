# Closed years leave the ledger: in batches, stopped and gone on with, exported, discarded and
# brought back; and an outsider proves the exports with and without the rest.
use strict;
use warnings;
use Books;
use Cwd qw(getcwd);
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('archive');
$node->init;
$node->start;
$node->safe_psql('postgres', <<'SQL');
CREATE EXTENSION loyalty;
SELECT loyalty.create_program('shop', validity => '3 years');
SELECT loyalty.create_program('cafe');
SELECT loyalty.add_rule(p, 'base', points_per => 1) FROM unnest(ARRAY['shop', 'cafe']) p;
CREATE TABLE orders (id int PRIMARY KEY, who text, amount int, refunded int NOT NULL DEFAULT 0, at timestamptz NOT NULL);
CREATE TABLE cups (id int PRIMARY KEY, who text, amount int);
SELECT loyalty.attach('orders', 'shop', 'who', 'amount', 'at', refunded => 'refunded');
SELECT loyalty.attach('cups', 'cafe', 'who', 'amount');
INSERT INTO orders (id, who, amount, at) SELECT i, 'm' || i % 25, 10, now() - interval '1 day' * i FROM generate_series(1, 100) i;
INSERT INTO cups SELECT i, 'm' || i % 5, 2 FROM generate_series(1, 20) i;
SQL

sub value { return $node->safe_psql('postgres', $_[0]); }
sub holds
{
	my ($name) = @_;
	is(value('SELECT * FROM loyalty.verify() UNION ALL SELECT * FROM loyalty.verify_archive()'), '', "$name: the books hold");
	return;
}
sub refused
{
	my ($sql, $state, $name) = @_;
	my ($status, $out, $err) = $node->psql('postgres', $sql, extra_params => ['-v', 'VERBOSITY=verbose']);
	like($err, qr/ERROR:  $state:/, $name);
	return;
}

refused('CALL loyalty.archive(now())', 'LY010', 'nothing goes that no checkpoint saw');
value('SELECT loyalty.checkpoint()');
value(q{SELECT loyalty.redeem('shop', 'm' || i, 15, 'till-' || i) FROM generate_series(0, 24) i});
my $cut = value('SELECT now()');
value('SELECT loyalty.checkpoint()');
value('UPDATE orders SET refunded = 1 WHERE id = 3');

# The first checkpoint saw four entries of each, the second also the redemption, before the cut.
my $first = value('SELECT min(taken_at) FROM loyalty.checkpoints');
value("CALL loyalty.archive('$first', 'shop')");
is(value('SELECT count(*), count(DISTINCT account_id) FROM loyalty.archived_entry'), '100|25', 'what was there when the first checkpoint was taken');
is(value(q{SELECT count(*) FROM loyalty.entry}), 25 + 1 + 20, 'the rest stays, and the other program');
holds('a first year');

# Held up by a lock: what was done stays done, and the next call goes on.
my $session = $node->background_psql('postgres');
$session->query_safe('BEGIN');
$session->query_safe(q{SELECT loyalty.redeem('shop', 'm9', 1)});
my ($status, $out, $err) = $node->psql('postgres', "SET lock_timeout = '200ms'; CALL loyalty.archive('$cut', batch => 3)");
like($err, qr/lock timeout/, 'an account that is being written holds a run up');
my $done = value('SELECT count(*) FROM loyalty.archived_entry') - 100;
cmp_ok($done, '>', 0, 'the batches before it are done');
cmp_ok($done, '<', 25, 'those after it are not');
holds('half way');
$session->query_safe('COMMIT');
$session->quit;
value("CALL loyalty.archive('$cut', batch => 3)");
is(value('SELECT count(*) FROM loyalty.archived_entry'), 100 + 25 + 20, 'called again it finishes');
is(value('SELECT count(*) FROM loyalty.entry'), 2, 'what was not seen by a checkpoint stays');
is(value(q{SELECT string_agg(format('%s %s %s', program, accounts, accounts_here), ', ' ORDER BY before, program) FROM loyalty.archives}),
	'shop 25 25, cafe 5 5, shop 25 25', 'each run is told of');
is(value("SELECT loyalty.balance('shop', 'm9', '$cut')"), 40 - 15, 'the balance at the cut');
holds('a second year');

# Killed in the middle of it, nothing is lost or there twice.
value('SELECT loyalty.checkpoint()');
$node->safe_psql('postgres', <<'SQL');
BEGIN;
SELECT loyalty._archive_accounts(accounts, entries, now() + interval '1 day') FROM loyalty._archivable_accounts(NULL, now() + interval '1 day', 0, 100);
CHECKPOINT;
SQL
$node->stop('immediate');
$node->start;
is(value('SELECT count(*) FROM loyalty.entry'), 2, 'what did not commit did not go');
holds('after a crash');

# ---------------------------------------------------------------- exports

my $tools = getcwd() . '/tools';
my $folder = PostgreSQL::Test::Utils::tempdir;
my $has_python = system('python3 -c "" 2>/dev/null') == 0;

# What an outsider finds in an export of now.
sub outsider
{
	my ($name, $program, @mode) = @_;
	my ($to, $text) = ("$folder/$name", '');
	if (!-d $to)
	{
		mkdir $to or die $!;
		IPC::Run::run([ 'psql', '-Xq', '-d', $node->connstr('postgres'), '-f', "$tools/export.sql" ], '>', \$text, '2>&1', init => sub { chdir $to or die $! })
			or die $text;
	}
	my $roots = value(q{SELECT string_agg(encode(root, 'hex'), ' ') FROM loyalty.checkpoints});
	my $good = IPC::Run::run([ 'python3', "$tools/$program", @mode, $to, split / /, $roots ], '>', \$text, '2>&1');
	return ($good ? 0 : 1) . " $text";
}

SKIP:
{
	skip 'no python3', 2 if !$has_python;
	is(outsider('archived', 'verify_export.py'), '0 ', 'an outsider proves the ledger and its archive');
	is(outsider('archived', 'verify_more.py', 'anchors'), '0 ', 'nothing begins at an anchor yet');
}

# ---------------------------------------------------------------- let go, and brought back

# Of an archived award, and of one without a time, a correction stays that looks like an award: 5 and 1 more.
value('UPDATE orders SET amount = 15 WHERE id = 5; UPDATE cups SET amount = 3 WHERE id = 5');
# Of another the cancellation stays.
value(<<'SQL');
SELECT loyalty.create_program('tour');
SELECT loyalty.add_rule('tour', 'base', points_per => 1);
CREATE TABLE trips (id int PRIMARY KEY, who text, amount int, status text NOT NULL, at timestamptz NOT NULL);
SELECT loyalty.attach('trips', 'tour', 'who', 'amount', 'at', status => 'status', earning => '{paid}');
INSERT INTO trips SELECT i, 'm1', 10, 'paid', now() - interval '1 day' FROM generate_series(1, 2) i;
SELECT loyalty.checkpoint();
SQL
value("CALL loyalty.archive(now(), 'tour')");
value("UPDATE trips SET status = 'cancelled' WHERE id = 1");

my $proof = value('SELECT loyalty.proof(100000005)');
my $root = value('SELECT root FROM loyalty.checkpoints ORDER BY number DESC LIMIT 1');
my $copy = PostgreSQL::Test::Utils::tempdir;
value("COPY loyalty.archived_entry TO '$copy/entry'; COPY loyalty.archived_allocation TO '$copy/allocation'");
refused('BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT loyalty.discard_archive()', '0A000', 'nothing is let go that a snapshot may not show');
is(value('SELECT loyalty.discard_archive()'), 145 + 2, 'what is let go is counted');
is(value(q{SELECT pg_relation_size('loyalty.archived_entry') + pg_relation_size('loyalty.archived_allocation')}), 0, 'its space is free at once');
holds('without it');
SKIP:
{
	skip 'no python3', 6 if !$has_python;
	is(outsider('archived', 'verify_export.py'), '1 ' . value(q{SELECT encode(root, 'hex') || E' is the root of no checkpoint\n' FROM loyalty.checkpoints ORDER BY number DESC LIMIT 1}),
		'the export of before proves all up to then');
	is(outsider('rest', 'verify_export.py'), "1 the export begins after entries that were discarded with an archive: use verify_more.py anchors\n",
		'the rest alone is not said to be forged');
	is(outsider('rest', 'verify_more.py', 'anchors'), '0 ', 'it is proved from its anchors on');
	my $anchors = slurp_file("$folder/rest/anchor");
	open my $none, '>:raw', "$folder/rest/anchor" or die $!;
	print $none substr($anchors, 0, 19) . pack 's>', -1;
	close $none;
	like(outsider('rest', 'verify_export.py'), qr/^1 account 1: /, 'without anchors it does not begin where it should');
	foreach my $case ([ 'hash', -4 ], [ 'sum', -41 ])
	{
		my ($what, $from_end) = @$case;
		my $changed = $anchors;
		substr($changed, $from_end, 1) ^= "\1";
		open my $to, '>:raw', "$folder/rest/anchor" or die $!;
		print $to $changed;
		close $to;
		like(outsider('rest', 'verify_more.py', 'anchors'), qr/^1 account \d+: /, "another $what of an anchor is found");
	}
}
is(value("SELECT loyalty.verify_proof('$proof', '$root')"), 't', 'a proof stays good');
refused('SELECT loyalty.proof(100000005)', 'LY020', 'another is not made');
refused("SELECT loyalty.balance('shop', 'm9', '$cut'::timestamptz - interval '1 day')", 'LY020', 'nor a balance of then');
is(value("SELECT loyalty.balance('shop', 'm9', '$cut')"), 25, 'at the cut there is one');
refused('UPDATE orders SET refunded = 2 WHERE id = 3', 'LY020', 'a row of which a part is gone is not refunded');
refused('DELETE FROM cups WHERE id = 3', 'LY020', 'nor one without a time');
refused('UPDATE orders SET amount = 16 WHERE id = 5', 'LY020', 'nor is one corrected of which a correction stayed');
refused('DELETE FROM cups WHERE id = 5', 'LY020', 'nor deleted, without a time');
refused("UPDATE trips SET status = 'paid' WHERE id = 1", 'LY020', 'nor does one earn again of which the cancellation stayed');
value("INSERT INTO trips VALUES (3, 'm1', 10, 'paid', now()), (4, 'm1', 10, 'cancelled', now() - interval '9 days')");
value("UPDATE trips SET status = 'cancelled' WHERE id = 3; UPDATE trips SET amount = 1 WHERE id = 4; UPDATE trips SET status = 'paid' WHERE id = 3");
is(value("SELECT loyalty.balance('tour', 'm1')"), 10 + 10, 'what is new does');
is(value(q{SELECT loyalty.balance('shop', 'm5') || ' ' || loyalty.balance('cafe', 'm0')}), (40 - 15 + 5) . ' ' . (8 + 1), 'so they have what they had');
value("INSERT INTO orders (id, who, amount, at) VALUES (101, 'm5', 10, now()); UPDATE orders SET amount = 15 WHERE id = 101; UPDATE orders SET refunded = 6 WHERE id = 101");
is(value("SELECT loyalty.balance('shop', 'm5')"), 40 - 15 + 5 + 9, 'what is new is corrected');
value("INSERT INTO cups VALUES (21, 'm0', 2); UPDATE cups SET amount = 4 WHERE id = 21; DELETE FROM cups WHERE id = 21");
is(value("SELECT loyalty.balance('cafe', 'm0')"), 8 + 1, 'without a time, too');
is(value("SELECT loyalty.redeem('shop', 'm0', 15, 'till-0') % 100000000"), 5, 'requests have their answers');
value("COPY loyalty.archived_entry FROM '$copy/entry'; COPY loyalty.archived_allocation FROM '$copy/allocation'");
holds('brought back');
is(value("SELECT loyalty.verify_proof(loyalty.proof(100000005), '$root')"), 't', 'proofs are made again');
value('UPDATE orders SET refunded = 2 WHERE id = 3; DELETE FROM cups WHERE id = 3');
is(value("SELECT loyalty.balance('shop', 'm3') || ' ' || loyalty.balance('cafe', 'm3')"), (40 - 15 - 2) . ' ' . (8 - 2), 'and refunds');
value("UPDATE trips SET status = 'paid' WHERE id = 1");
is(value("SELECT loyalty.balance('tour', 'm1')"), 10 + 10 + 10, 'and earns again');

# A correction of what is archived is the first that is here of it: 10 + 5, and all of it gone.
value('UPDATE orders SET amount = 15 WHERE id = 4');
value('DELETE FROM orders WHERE id = 4');
is(value("SELECT loyalty.balance('shop', 'm4')"), 40 - 15 - 10, 'an award that grew is taken back whole');
holds('and at the end');

# Of a member whose merge was discarded, others moved the clock all the same. Hashes and checkpoints are of other times then.
$node->safe_psql('postgres', 'CREATE DATABASE one');
$node->safe_psql('one', $_) for q{
	CREATE EXTENSION loyalty;
	SELECT loyalty.create_program('p', validity => '30 days', activity => '{earn}'), loyalty.add_rule('p', 'base', points_per => 1);
	CREATE TABLE sale (id int PRIMARY KEY, who text, amount numeric, at timestamptz);
	SELECT loyalty.attach('sale', 'p', 'who', 'amount', 'at')},
	q{INSERT INTO sale VALUES (1, 'ann', 10, now()), (2, 'bob', 5, now())},
	q{SELECT loyalty.merge_members('p', 'ann', 'bob')},
	'SELECT loyalty.checkpoint()', q{CALL loyalty.archive(now(), 'p')}, 'SELECT loyalty.discard_archive()',
	Books::pass_time('20 days'),
	q{INSERT INTO sale VALUES (3, 'ann', 0, now())},
	q{SELECT loyalty.extend('p', 'bob', (now() + interval '45 days')::date)},
	Books::pass_time('70 days'),
	q{INSERT INTO sale VALUES (4, 'bob', 8, now())};
is($node->safe_psql('one', q{SELECT string_agg(a.member_key || ' ' || e.kind, ', ' ORDER BY a.member_key) FROM loyalty.entry e JOIN loyalty.account a USING (account_id) WHERE e.clock_ended IS NOT NULL}),
	'ann clock, bob earn', 'both say that their points ended');
is($node->safe_psql('one', q{SELECT problem FROM loyalty.verify() WHERE problem ~ 'clock|lots ended'}), '', 'which is nothing to tell');

# What had ended when it was discarded is known to have.
$node->safe_psql('one', $_) for q{INSERT INTO sale VALUES (5, 'cat', 10, now())}, Books::pass_time('40 days'), q{INSERT INTO sale VALUES (6, 'cat', 20, now())},
	'SELECT loyalty.checkpoint()', q{CALL loyalty.archive(now(), 'p')}, 'SELECT loyalty.discard_archive()',
	q{SELECT loyalty.extend('p', 'cat', (now() + interval '60 days')::date)};
is($node->safe_psql('one', q{SELECT loyalty.balance('p', 'cat'), loyalty.balance_as_known('p', 'cat', now(), now()), loyalty.balance_as_known('p', 'cat', now() + interval '50 days', now())}),
	'20|20|20', 'the dead are not known to live, though another clock runs');

$node->stop;
done_testing();
