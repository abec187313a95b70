# An outsider with an export, the published roots, docs/audit.md and docs/checkpoint.md
# recomputes every hash, total and root: the verifier in tools/, which shares nothing with
# the extension, agrees with it and finds every change.
use strict;
use warnings;
use Books;
use Cwd qw(getcwd);
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

plan skip_all => 'no python3' if system('python3 -c "" 2>/dev/null') != 0;

my $node = PostgreSQL::Test::Cluster->new('export');
$node->init;
$node->start;
$node->safe_psql('postgres', <<'SQL');
CREATE EXTENSION loyalty;
SELECT loyalty.create_program('shop', validity => '1 year', decimals => 2);
SELECT loyalty.create_program('strict', debt => 'negative');
SELECT loyalty.add_rule(p, 'base', points_per => 1) FROM unnest(ARRAY['shop', 'strict']) p;
CREATE TABLE orders (id text, line int, who text, amount numeric, refunded numeric NOT NULL DEFAULT 0, at timestamptz, PRIMARY KEY (id, line));
SELECT loyalty.attach('orders', p, 'who', 'amount', 'at', refunded => 'refunded', event => 'id') FROM unnest(ARRAY['shop', 'strict']) p;
INSERT INTO orders VALUES ('A "1"', 1, 'ann', 12.34, 0, '1999-12-31 23:59:59.5+00'), ('B,2', 1, 'ann', 100, 0, now()),
	('B,2', 2, 'bob', 50, 0, now() - interval '10 days'), ('', 1, 'eve', 7, 0, now()), (E'a\nline\\N', 1, 'Zoë', 8, 0, now()),
	('ünï', 1, 'Zoë', 0, 0, now());
SQL
$node->safe_psql('postgres', $_) for
	q{CALL loyalty.expire('shop')},
	q{SELECT loyalty.redeem(p, 'ann', 90, 'till-1', 'lunch') FROM unnest(ARRAY['shop', 'strict']) p},
	q{SELECT loyalty.giveback((SELECT entry_id FROM loyalty.entries WHERE kind = 'redeem' AND program = 'shop'), '10.5')},
	q{UPDATE orders SET refunded = amount / 2},
	q{SELECT loyalty.checkpoint()},
	q{UPDATE orders SET id = 'C3' WHERE id = ''},
	q{SELECT loyalty.adjust('shop', 'eve', '-0.5', E'a "reason",\nof two lines')},
	q{DELETE FROM orders WHERE who = 'bob'},
	q{SELECT loyalty.enrol('shop', 'new')},
	q{SELECT loyalty.checkpoint()},
	q{SELECT loyalty.checkpoint()};

is($node->safe_psql('postgres', 'SELECT * FROM loyalty.verify()'), '', 'the books hold');
is($node->safe_psql('postgres', 'SELECT count(DISTINCT kind) FROM loyalty.entry'), 8, 'they have entries of every kind');

my $tools = getcwd() . '/tools';
my $folder = PostgreSQL::Test::Utils::tempdir;

# A new export, in that subfolder, of a database.
sub export
{
	my ($name, $database) = (@_, 'postgres');
	my $to = "$folder/$name";
	my $text = '';
	mkdir $to or die $!;
	IPC::Run::run([ 'psql', '-Xq', '-d', $node->connstr($database), '-f', "$tools/export.sql" ], '>', \$text, '2>&1', init => sub { chdir $to or die $! })
		or die $text;
	return $to;
}

# The exit code of a program of tools, and what it prints.
sub python
{
	my ($program, @arguments) = @_;
	my $text = '';
	my $good = IPC::Run::run([ 'python3', "$tools/$program.py", @arguments ], '>', \$text, '2>&1');
	return ($good ? 0 : 1, $text);
}

sub written
{
	my ($file, $content) = @_;
	open my $to, '>:raw', $file or die $!;
	print $to $content;
	close $to;
	return $file;
}

# What the file of an export is when changed; the export is as it was after that.
sub changed
{
	my ($file, $content) = @_;
	my $good = slurp_file($file);
	written($file, $content);
	my @answer = python('verify_export', $file =~ s,/[^/]*$,,r);
	written($file, $good);
	return @answer;
}

cmp_ok(scalar(my @lines = split /\n/, slurp_file("$tools/verify_export.py")), '<=', 60, 'the verifier is short');

# What was published is the root that is notified, here of the last one.
my $heard = $node->safe_psql('postgres', 'LISTEN loyalty_checkpoint; SELECT number, root FROM loyalty.checkpoint()');
my ($last, $bytes, $payload) = $heard =~ /^(\d+)\|\\x(\w+)\n.*"loyalty_checkpoint" with payload "([^"]*)"/s;
is($payload, "$last $bytes", 'a checkpoint is notified: its number and its root');
is($last, 4, 'the fourth');
my @roots = split /\n/, $node->safe_psql('postgres', q{SELECT encode(root, 'hex') FROM loyalty.checkpoints ORDER BY number});
is($roots[3], $bytes, 'which the view shows, too');

my $good = export('good');
my ($status, $output) = python('verify_export', $good);
is($status, 0, 'the export agrees');
is($output, '', 'and nothing is said');
($status, $output) = python('verify_export', $good, @roots);
is("$status$output", '0', 'it agrees with the published roots');
($status, $output) = python('verify_export', $good, $roots[3]);
is("$status$output", '0', 'and with the last, which vouches for all');
my $other = $roots[0] =~ tr/0-9a-f/1-9a-f0/r;
($status, $output) = python('verify_export', $good, $other, @roots);
is("$status$output", "1$other is the root of no checkpoint\n", 'another that was published is found missing');

# Each column of a row, and bytes everywhere.
my ($damage, $complaint) = ('', '');
ok(IPC::Run::run([ 'python3', 't/damage.py', $good ], '>', \$damage, '2>', \$complaint), 'it is damaged in many ways') or diag $complaint;
my %columns;
foreach (split /\n/, $damage)
{
	my ($table, $column, @rest) = split /\|/;
	if ($column eq 'bytes')
	{
		cmp_ok($rest[0], '>', 50, "$table: many bytes are tried");
		is($rest[1], '[]', '... and each change is found');
		next;
	}
	$columns{$table}++;
	my ($first, $second, $said) = @rest;
	my $expected = $column eq 'account_id' ? qr/^account \d+: /
		: $table eq 'entry' ? qr/^account $first: entry $second is not there, not as it was hashed, or not what a checkpoint saw$/
		: $table eq 'account' ? qr/^account $first: its row is not there, or not what its \d+ entries come to: \[.*\]$/
		: $table eq 'checkpoint' ? qr/^checkpoint \d has not the root of what it saw$/
		: $column eq 'head' ? qr/^account $second: entry \d+ is not there, not as it was hashed, or not what a checkpoint saw$/
		: qr/^(account|checkpoint) \d+/;
	like($said, $expected, "$table.$column changed is found");
}
is(join(' ', map { "$_ $columns{$_}" } sort keys %columns), 'account 7 checkpoint 3 checkpoint_head 4 entry 20', 'all columns are tried, and bytes that move to another');
($status, $output) = python('verify_export', $good, @roots);
is("$status$output", '0', 'all is as it was after that');

# Rows gone, doubled or swapped; files cut, or of another kind.
sub rows
{
	my ($file) = @_;
	my $text = slurp_file($file);
	my ($at, @rows) = (19);
	while ((my $fields = unpack 's>', substr $text, $at, 2) != -1)
	{
		my $from = $at;
		$at += 2;
		foreach (1 .. $fields)
		{
			my $size = unpack 'l>', substr $text, $at, 4;
			$at += 4 + ($size < 0 ? 0 : $size);
		}
		push @rows, substr $text, $from, $at - $from;
	}
	return @rows;
}
my ($begin, $end) = (substr(slurp_file("$good/entry"), 0, 19), pack 's>', -1);
foreach my $table (qw(entry account checkpoint checkpoint_head))
{
	my @rows = rows("$good/$table");
	is(join('', $begin, @rows, $end), slurp_file("$good/$table"), "$table: rows are told apart");
	my %without = (
		'the first gone' => [ @rows[ 1 .. $#rows ] ], 'the last gone' => [ @rows[ 0 .. $#rows - 1 ] ],
		'one twice' => [ @rows[ 0, 0 .. $#rows ] ], 'two swapped' => [ @rows[ 1, 0, 2 .. $#rows ] ], 'none left' => []);
	foreach my $what (sort keys %without)
	{
		# What is gone without a trace: a checkpoint at the end, which only its published root contradicts.
		next if $table eq 'checkpoint' && $what =~ /last|none/;
		($status, $output) = changed("$good/$table", join '', $begin, @{ $without{$what} }, $end);
		is($status, 1, "$table: $what is found");
		unlike($output, qr/Traceback/, '... and said in words');
	}
	($status, $output) = changed("$good/$table", substr slurp_file("$good/$table"), 0, -9);
	is($status, 1, "$table: cut is found");
	like($output, qr/^the export is damaged, or not what it should be: /m, '... and said');
}
my @checkpoints = rows("$good/checkpoint");
my $keep = slurp_file("$good/checkpoint");
written("$good/checkpoint", join '', $begin, @checkpoints[ 0 .. 2 ], $end);
($status, $output) = python('verify_export', $good, @roots);
is("$status$output", "1$roots[3] is the root of no checkpoint\n", 'a published checkpoint that is gone is found');
written("$good/checkpoint", $keep);
($status, $output) = changed("$good/entry", "account_id,entry_no\n1,1\n");
like($output, qr,^the export is damaged\, or not what it should be: .*/entry is not in binary COPY format$,m, 'another format is named');
($status, $output) = python('verify_export', "$folder/none");
like($output, qr/^the export is damaged, or not what it should be: .*No such file/, 'so is a file that is not there');
like((python('verify_export'))[1], qr/folder/, 'or a folder that is not named');

# Every entry that has a checkpoint is proved to the outsider who has nothing but roots.
my @proofs = split /\n/, $node->safe_psql('postgres', q{
	SELECT e.account_id, e.entry_no, loyalty.proof(e.account_id * 100000000 + e.entry_no) FROM loyalty.entry e ORDER BY 1, 2});
my $proved = 0;
foreach (@proofs)
{
	my ($id, $no, $proof) = split /\|/;
	($status, $output) = python('verify_more', 'proof', written("$folder/proof", $proof), @roots);
	$proved++ if $status == 0 && $output eq '';
}
is($proved, scalar @proofs, 'each entry is proved to be under a published root');
my $proof = (split /\|/, $proofs[0])[2];
($status, $output) = python('verify_more', 'proof', written("$folder/proof", $proof), $roots[0]);
is("$status$output", "1entry 1 of account 1 would be under the root $roots[3], which was not published\n", 'not under one that is not');
my ($missed, $tried) = ('', 0);
for (my $at = 2; $at < length $proof; $at += 61)
{
	my $changed = $proof;
	substr($changed, $at, 1) =~ tr/0-9a-f/1-9a-f0/;
	($status, $output) = python('verify_more', 'proof', written("$folder/proof", $changed), @roots);
	$missed .= " $at" if !$status || $output =~ /Traceback/;
	$tried++;
}
is($missed, '', "each of $tried changed digits of a proof is found");
like((python('verify_more'))[1], qr/^ +python3 verify_more.py proof FILE/m, 'it says how it is called');

# What can be spent follows from an export, too: now, in twenty days and in three years.
$node->safe_psql('postgres', 'CREATE DATABASE small');
$node->safe_psql('small', $_) for q{
	CREATE EXTENSION loyalty;
	SELECT loyalty.create_program('club', debt => 'negative'), loyalty.create_program('later', validity => '1 year', pending => '10 days');
	SELECT loyalty.add_rule(p, 'base', points_per => 1) FROM unnest(ARRAY['club', 'later']) p;
	CREATE TABLE buys (id int PRIMARY KEY, who text, amount numeric);
	CREATE TABLE stays (LIKE buys INCLUDING ALL);
	SELECT loyalty.attach('buys', 'club', 'who', 'amount'), loyalty.attach('stays', 'later', 'who', 'amount')},
	q{SELECT loyalty.enrol('club', 'ann'); SELECT loyalty.adjust('club', 'ann', 100, 'x')},
	q{INSERT INTO buys VALUES (1, 'cid', 50); SELECT loyalty.redeem('club', 'cid', 50); DELETE FROM buys},
	q{INSERT INTO stays VALUES (1, 'bob', '40.5')},
	q{SELECT loyalty.capture(loyalty.hold('club', 'ann', 30, '1 day'), 10)},
	q{SELECT loyalty.release(loyalty.hold('club', 'ann', 5, '1 day'))},
	q{SELECT loyalty.extend('later', 'bob', '2899-12-30')},
	q{SELECT loyalty.create_program('live', validity => '30 days', activity => '{redeem}'), loyalty.enrol('live', 'dee'), loyalty.adjust('live', 'dee', 25, 'x')},
	q{SELECT loyalty.redeem('live', 'dee', 5)},
	q{CREATE TABLE gifts (LIKE buys INCLUDING ALL); SELECT loyalty.create_program('mild'), loyalty.add_rule('mild', 'base', points_per => 1), loyalty.attach('gifts', 'mild', 'who', 'amount')},
	q{INSERT INTO gifts VALUES (1, 'fay', 40); SELECT loyalty.hold('mild', 'fay', 30, '1 day'); DELETE FROM gifts};
my $small = export('small', 'small');
sub in_days { my @t = gmtime(time + $_[0] * 86400); return sprintf '%d-%02d-%02dT12:00:00+00:00', $t[5] + 1900, $t[4] + 1, $t[3] }
($status, $output) = python('verify_export', $small);
is("$status$output", '0', 'a small history agrees');
($status, $output) = python('verify_more', 'balances', $small);
is("$status$output", "0account 1: 70 available, 0 pending, 20 held, 0 debt\naccount 2: -50 available, 0 pending, 0 held, 50 debt\n"
	. "account 3: 0 available, 40 pending, 0 held, 0 debt\naccount 4: 20 available, 0 pending, 0 held, 0 debt\naccount 5: 0 available, 0 pending, 30 held, 0 debt\n",
	'what each has: 100 less the 30 that were held, of which 10 were captured; a debt of 50; 40 that are pending; 20 that end by activity; 30 held of 40 that were undone');
($status, $output) = python('verify_more', 'balances', $small, in_days(20));
is("$status$output", "0account 1: 90 available, 0 pending, 0 held, 0 debt\naccount 2: -50 available, 0 pending, 0 held, 50 debt\n"
	. "account 3: 40 available, 0 pending, 0 held, 0 debt\naccount 4: 20 available, 0 pending, 0 held, 0 debt\naccount 5: 0 available, 0 pending, 30 held, 0 debt\n", 'in twenty days a hold is over, or owes what it kept, and nothing is pending');
($status, $output) = python('verify_more', 'balances', $small, in_days(1100));
is("$status$output", "0account 1: 90 available, 0 pending, 0 held, 0 debt\naccount 2: -50 available, 0 pending, 0 held, 50 debt\n"
	. "account 3: 40 available, 0 pending, 0 held, 0 debt\naccount 4: 0 available, 0 pending, 0 held, 0 debt\naccount 5: 0 available, 0 pending, 30 held, 0 debt\n", 'in three years what ended after one lives on, extended, and what ended by activity is gone');
($status, $output) = python('verify_more', 'balances', $small, '2900-01-01T00:00:00+00:00');
is("$status$output", "0account 1: 90 available, 0 pending, 0 held, 0 debt\naccount 2: -50 available, 0 pending, 0 held, 50 debt\n"
	. "account 3: 0 available, 0 pending, 0 held, 0 debt\naccount 4: 0 available, 0 pending, 0 held, 0 debt\naccount 5: 0 available, 0 pending, 30 held, 0 debt\n", 'and at last is gone');
($status, $output) = python('verify_more', 'balances', $small, '2020-01-01T00:00:00+00:00');
is("$status$output", '1' . join('', map { "account $_: entry 1 was booked after that moment\n" } 1 .. 5),
	'of the past it says nothing');
# Somebody reads no more, as head does: that is no damage.
my $closed = 'import os, subprocess, sys; r, w = os.pipe(); os.close(r); p = subprocess.run(sys.argv[1:], stdout=w, stderr=subprocess.PIPE); print(p.returncode, p.stderr)';
ok(IPC::Run::run([ 'python3', '-c', $closed, 'python3', "$tools/verify_more.py", 'balances', $small ], '>', \$output), 'its output goes where nobody reads');
is($output, "1 b''\n", 'and it ends without a word');
foreach my $case (['lot', 0, 1, "account 1: by its lots and what is posted there are -0.0001 points, its entries come to 0\naccount 1: lot 1 has 90.0001 points, its entries come to 90\n"],
	['lot', 0, 15, "account 1: lot 1 does not begin and end when its entries say\n"],
	['lot', 3, 15, "account 4: lot 1 does not begin and end when its entries say\n"],
	['hold', 0, 1, "account 1: what entry 2 holds of lot 1 is not what the entries say\n"],
	['hold', 1, 1, "account 5: what entry 2 holds of lot 1 is not what the entries say\n"],
	['hold', 0, 13, "account 1: what entry 2 holds of lot 1 is not what the entries say\n"])
{
	my ($table, $at, $back, $said) = @$case;
	my $keep = slurp_file("$small/$table");
	my @rows = rows("$small/$table");
	# The last bit of what is left in a lot, or is owed of a hold; of its end, or of what was captured.
	substr($rows[$at], -$back, 1) ^= "\x01";
	written("$small/$table", join '', $begin, @rows, $end);
	($status, $output) = python('verify_more', 'balances', $small);
	is($status . $output =~ s/^account \d: \S+ available.*\n//mgr, "1$said", "a bit changed in $table is found");
	written("$small/$table", $keep);
}
ok(IPC::Run::run([ 'python3', 't/damage.py', $small, 'balances' ], '>', \$damage, '2>', \$complaint), 'what is left of lots and holds is damaged') or diag $complaint;
like($damage, qr/^$_\|\d{2,}\|\[\]$/m, "$_: each changed byte is found") foreach qw(lot hold);

# Two who were one: the order of one moved the clock of both, and when the other's own would have run out they come apart.
$node->safe_psql('postgres', 'CREATE DATABASE one');
$node->safe_psql('one', $_) for q{
	CREATE EXTENSION loyalty;
	SELECT loyalty.create_program('p', validity => '2 months', activity => '{earn,redeem}'), loyalty.add_rule('p', 'base', points_per => 1);
	CREATE TABLE sale (id int PRIMARY KEY, who text, amount numeric, at timestamptz);
	SELECT loyalty.attach('sale', 'p', 'who', 'amount', 'at')},
	q{INSERT INTO sale VALUES (1, 'ann', 10, now() - interval '50 days'), (2, 'bob', 5, now() - interval '50 days')},
	q{SELECT loyalty.merge_members('p', 'ann', 'bob')},
	q{INSERT INTO sale VALUES (3, 'bob', 7, now())},
	Books::pass_time('20 days'),
	q{SELECT loyalty.unmerge_member('p', 'ann')};
is($node->safe_psql('one', 'SELECT * FROM loyalty.verify()'), '', 'the books of two who were one hold');
($status, $output) = python('verify_more', 'balances', export('one', 'one'));
is("$status$output", "0account 1: 10 available, 0 pending, 0 held, 0 debt\naccount 2: 12 available, 0 pending, 0 held, 0 debt\n", 'and what each has follows');

# One again: the old key's order moves the clock, which runs out; the other's starts another, for both.
$node->safe_psql('one', $_) for q{SELECT loyalty.merge_members('p', 'ann', 'bob')},
	q{INSERT INTO sale VALUES (4, 'ann', 4, now())},
	Books::pass_time('100 days'),
	q{INSERT INTO sale VALUES (5, 'bob', 8, now())};
is($node->safe_psql('one', q{SELECT string_agg(kind, ' ' ORDER BY account_id) FILTER (WHERE clock_ended IS NOT NULL) FROM loyalty.entry}), 'clock earn', 'each account says that its points ended');
is($node->safe_psql('one', 'SELECT * FROM loyalty.verify()'), '', 'their books hold');
($status, $output) = python('verify_more', 'balances', export('again', 'one'));
is("$status$output", "0account 1: 0 available, 0 pending, 0 held, 0 debt\naccount 2: 8 available, 0 pending, 0 held, 0 debt\n", 'the dead are dead');
$node->safe_psql('one', $_) for q{SELECT loyalty.unmerge_member('p', 'ann')}, q{INSERT INTO sale VALUES (6, 'ann', 3, now())};
is($node->safe_psql('one', 'SELECT * FROM loyalty.verify()'), '', 'they hold when both came apart');
my $apart = export('apart', 'one');
($status, $output) = python('verify_more', 'balances', $apart);
is("$status$output", "0account 1: 3 available, 0 pending, 0 held, 0 debt\naccount 2: 8 available, 0 pending, 0 held, 0 debt\n", 'and each has its own');
ok(IPC::Run::run([ 'python3', 't/damage.py', $apart, 'balances' ], '>', \$damage, '2>', \$complaint), 'what is left of their lots is damaged') or diag $complaint;
like($damage, qr/^lot\|\d{2,}\|\[\]$/m, 'each changed byte is found');

# Of the larger history, too: what the view says.
($status, $output) = python('verify_more', 'balances', $good);
is("$status$output", '0' . $node->safe_psql('postgres', q{
	SELECT string_agg(format(E'account %s: %s available, %s pending, %s held, %s debt\n', a.account_id, b.available, b.pending, b.held, b.debt), '' ORDER BY a.account_id)
	FROM loyalty.balances b JOIN loyalty.program p ON p.code = b.program JOIN loyalty.currency c ON c.program_id = p.program_id AND c.code = b.currency
	JOIN loyalty.account a ON a.currency_id = c.currency_id AND a.member_key = b.member}), 'what each has, as the view balances says');

# A history that an insider rewrote with all hashes: only the roots contradict it.
my $victim = $node->safe_psql('postgres', "SELECT min(account_id) FROM loyalty.entry WHERE kind = 'reverse'");
$node->safe_psql('postgres', <<"SQL");
SET session_replication_role = replica;
SET search_path = loyalty, public;
UPDATE entry SET event = 'forged' WHERE (account_id, entry_no) = ($victim, 1);
DO \$\$
DECLARE
	e record;
	last bytea;
BEGIN
	FOR e IN SELECT * FROM entry LEFT JOIN _hashed_effect USING (account_id, entry_no) WHERE account_id = $victim ORDER BY entry_no LOOP
		last := _entry_hash(last, e.account_id, e.entry_no, e.lot_no, e.points, e.event_time, e.recorded_at, e.actor_id, e.base, e.refunded, e.forgiven,
			e.source_id, e.rule_id, e.reverses, e.kind, e.event, e.line, e.effects);
		UPDATE entry SET hash = last WHERE account_id = $victim AND entry_no = e.entry_no;
		UPDATE checkpoint_head SET head = last WHERE account_id = $victim AND entries = e.entry_no;
	END LOOP;
	UPDATE account SET head = last WHERE account_id = $victim;
END \$\$;
DO \$\$
DECLARE
	c checkpoint;
	before bytea;
BEGIN
	FOR c IN SELECT * FROM checkpoint ORDER BY number LOOP
		c.previous := before;
		c.changes := (SELECT coalesce(_tree_root(account_id, entries, head ORDER BY account_id), sha256('')) FROM checkpoint_head WHERE number = c.number);
		c.tree := (SELECT _tree_root(account_id, entries, head ORDER BY account_id) FROM (
			SELECT DISTINCT ON (account_id) * FROM checkpoint_head WHERE number <= c.number ORDER BY account_id, entries DESC) l);
		before := _checkpoint_root(c.number, c.previous, c.taken_at, c.accounts, c.entries, c.tree, c.changes);
		UPDATE checkpoint SET previous = c.previous, changes = c.changes, tree = c.tree, root = before WHERE number = c.number;
	END LOOP;
END \$\$;
SQL
my $forged = export('forged');
($status, $output) = python('verify_export', $forged);
is("$status$output", '0', 'a history rewritten with its checkpoints agrees with itself');
($status, $output) = python('verify_export', $forged, @roots);
is($output, join('', map { "$_ is the root of no checkpoint\n" } @roots), 'and not with what was published');

$node->stop;
done_testing();
