# An outsider with an export, the published roots, docs/audit.md and docs/checkpoint.md
# recomputes every hash, total and root: the verifier in tools/, which shares nothing with
# the extension, agrees with it and finds every change.
use strict;
use warnings;
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

my $folder = PostgreSQL::Test::Utils::tempdir;
my ($entry, $account) = ("$folder/entry.csv", "$folder/account.csv");
my ($checkpoint, $head) = ("$folder/checkpoint.csv", "$folder/checkpoint_head.csv");
$node->safe_psql('postgres', <<"SQL");
BEGIN ISOLATION LEVEL REPEATABLE READ;
SET TimeZone = 'UTC'; SET DateStyle = 'ISO'; SET client_encoding = 'UTF8';
\\copy (SELECT * FROM loyalty.entry ORDER BY account_id, entry_no) TO '$entry' CSV HEADER
\\copy loyalty.account TO '$account' CSV HEADER
\\copy (SELECT * FROM loyalty.checkpoint ORDER BY number) TO '$checkpoint' CSV HEADER
\\copy (SELECT * FROM loyalty.checkpoint_head ORDER BY number, account_id) TO '$head' CSV HEADER
SQL
is($node->safe_psql('postgres', 'SELECT * FROM loyalty.verify()'), '', 'the books hold');
is($node->safe_psql('postgres', 'SELECT count(DISTINCT kind) FROM loyalty.entry'), 7, 'they have entries of every kind');
my $accounts = $node->safe_psql('postgres', 'SELECT count(*) FROM loyalty.account');

sub verifier
{
	my @files = @_;
	my ($out, $err) = ('', '');
	my $ok = IPC::Run::run([ 'python3', 'tools/verify_export.py', @files ], '>', \$out, '2>', \$err);
	return ($ok ? 0 : 1, $out . $err);
}

# A file of that content.
sub written
{
	my ($file, $csv) = @_;
	open my $to, '>', $file or die $!;
	print $to $csv;
	close $to;
	return $file;
}

my ($status, $output) = verifier($entry, $account);
is($status, 0, 'the export agrees');
is($output, "$accounts accounts, 0 with a problem\n", 'and is said to');

# Each column of an entry in turn, but the reason, which may be erased.
my @columns = split /,/, (split /\n/, slurp_file($entry))[0];
my @victim = split /\|/, $node->safe_psql('postgres', q{
	SELECT account_id, entry_no FROM loyalty.entry WHERE kind = 'reverse' AND points < 0 AND line IS NOT NULL ORDER BY 1, 2 LIMIT 1});
foreach my $column (@columns)
{
	my $new = $column =~ /_time|_at$/ ? "$column + interval '1 microsecond'"
		: $column eq 'hash' ? 'set_byte(hash, 7, get_byte(hash, 7) # 1)'
		: $column =~ /^(kind|event|line|reason)$/ ? "coalesce($column, '') || 'x'"
		: $column =~ /^(points|base|refunded|forgiven)$/ ? "coalesce($column, 0) - '0.0001'" : "coalesce($column, 0) + 1";
	my $list = join ', ', map { $_ eq $column ? "CASE WHEN (account_id, entry_no) = ($victim[0], $victim[1]) THEN $new ELSE $column END AS $column" : $_ } @columns;
	$node->safe_psql('postgres', <<"SQL");
SET TimeZone = 'UTC'; SET DateStyle = 'ISO'; SET search_path = loyalty, public;
\\copy (SELECT $list FROM loyalty.entry ORDER BY 1, 2) TO '$folder/changed.csv' CSV HEADER
SQL
	($status, $output) = verifier("$folder/changed.csv", $account);
	if ($column eq 'reason')
	{
		is($status, 0, 'the reason can be erased');
		next;
	}
	is($status, 1, "$column changed is found");
	like($output, qr/^account $victim[0]: entry $victim[1] is not there, or not as it was hashed$/m, "$column: in the right entry")
		if $column !~ /^(account_id|entry_no)$/;
}

# One byte of the file, anywhere in the entries' lines outside of the reason.
my $csv = slurp_file($entry);
my $line = (grep { /,reverse,/ } split /\n/, $csv)[0];
my $from = index($csv, $line);
my ($missed, $tried) = ('', 0);
for (my $at = 0; $at < length $line; $at += 7)
{
	my $changed = $csv;
	my $byte = substr $line, $at, 1;
	substr $changed, $from + $at, 1, $byte eq '7' ? '8' : $byte =~ /\d/ ? '7' : chr(ord($byte) ^ 1);
	($status, $output) = verifier(written("$folder/changed.csv", $changed), $account);
	$missed .= " $at ($byte)" if !$status || $output =~ /Traceback/;
	$tried++;
}
is($missed, '', "each of $tried changed bytes is found, and said in words");

# What is no export at all.
foreach my $case (
	[ qr/^account $victim[0]: entry $victim[1] is not there, or not as it was hashed$/m, "$line", $line =~ s/,(\d{4})-/,x$1-/r ],
	[ qr/^the export can't be read: .* has \d+ fields where its header has \d+: /, ",$columns[-1]", ",$columns[-1],more" ],
	[ qr/^the export has no column 'entry_no'$/, 'entry_no', 'number' ])
{
	my ($said, $good, $bad) = @$case;
	($status, $output) = verifier(written("$folder/changed.csv", $csv =~ s/\Q$good\E/$bad/r), $account);
	is($status, 1, "$said: found");
	like($output, $said, '... and said');
}
like((verifier($entry))[1], qr/^ +python3 verify_export.py entry.csv account.csv$/m, 'one file is too few: it says how it is called');
like((verifier($entry, "$folder/none"))[1], qr/^the export can't be read: .*No such file/, 'nor is one that is not there');

# Lines gone, doubled or swapped.
my @lines = split /^/, $csv;
my %without = (
	'the first entry gone' => [ @lines[ 0, 2 .. $#lines ] ],
	'the last entry gone' => [ @lines[ 0 .. $#lines - 1 ] ],
	'an entry twice' => [ @lines[ 0, 1, 1 .. $#lines ] ],
	'two swapped' => [ @lines[ 0, 2, 1, 3 .. $#lines ] ],
	'no entry left' => [ $lines[0] ]);
foreach my $what (sort keys %without)
{
	($status) = verifier(written("$folder/changed.csv", join('', @{ $without{$what} })), $account);
	is($status, 1, "$what is found");
}
foreach my $column (qw(entries posted earned redeemed expired head))
{
	my @names = split /,/, (split /\n/, slurp_file($account))[0];
	my $new = $column eq 'head' ? 'sha256(head)' : $column eq 'entries' ? 'entries + 1' : "$column + '0.01'";
	my $list = join ', ', map { $_ eq $column ? "$new AS $column" : $_ } @names;
	$node->safe_psql('postgres', <<"SQL");
SET search_path = loyalty, public;
\\copy (SELECT $list FROM loyalty.account WHERE account_id = $victim[0]) TO '$folder/changed.csv' CSV HEADER
SQL
	($status, $output) = verifier($entry, "$folder/changed.csv");
	like($output, qr/^account $victim[0]: (?!entry)/m, "$column of an account changed is found");
}

# Checkpoints: what was published is the root that is notified, here of the last one.
my $heard = $node->safe_psql('postgres', 'LISTEN loyalty_checkpoint; SELECT number, root FROM loyalty.checkpoint()');
my ($last, $bytes, $payload) = $heard =~ /^(\d+)\|\\x(\w+)\n.*"loyalty_checkpoint" with payload "([^"]*)"/s;
is($payload, "$last $bytes", 'a checkpoint is notified: its number and its root');
is($last, 4, 'the fourth');
$node->safe_psql('postgres', <<"SQL");
SET TimeZone = 'UTC'; SET DateStyle = 'ISO';
\\copy (SELECT * FROM loyalty.checkpoint ORDER BY number) TO '$checkpoint' CSV HEADER
\\copy (SELECT * FROM loyalty.checkpoint_head ORDER BY number, account_id) TO '$head' CSV HEADER
SQL
my $roots = written("$folder/roots.txt",
	$node->safe_psql('postgres', q{SELECT number || ' ' || encode(root, 'hex') FROM loyalty.checkpoints WHERE number < 4 ORDER BY 1}) . "\n$payload\n");
($status, $output) = verifier($entry, $account, $checkpoint, $head, $roots);
is($status, 0, 'the export agrees with the published roots');
is($output, "$accounts accounts, 0 with a problem\n", 'and is said to');

# Every entry that has a checkpoint is proved to the outsider.
my @proofs = split /\n/, $node->safe_psql('postgres', q{
	SELECT e.account_id, e.entry_no, loyalty.proof(e.account_id * 100000000 + e.entry_no) FROM loyalty.entry e ORDER BY 1, 2});
my $proved = 0;
foreach (@proofs)
{
	my ($id, $no, $proof) = split /\|/;
	($status, $output) = verifier('--proof', written("$folder/proof.txt", $proof), $roots);
	$proved++ if $status == 0 && $output eq "entry $no of account $id is under the root of checkpoint 4\n";
}
is($proved, scalar @proofs, 'each entry is proved to be under the last root');
my $proof = (split /\|/, $proofs[0])[2];
($missed, $tried) = ('', 0);
for (my $at = 2; $at < length $proof; $at += 13)
{
	my $changed = $proof;
	substr($changed, $at, 1) =~ tr/0-9a-f/1-9a-f0/;
	($status) = verifier('--proof', written("$folder/proof.txt", $changed), $roots);
	$missed .= " $at" if !$status;
	$tried++;
}
is($missed, '', "each of $tried changed digits of a proof is found");

# Each column of what checkpoints are and saw.
foreach my $table (qw(checkpoint checkpoint_head))
{
	my $columns = $node->safe_psql('postgres', "SELECT string_agg(attname, ' ' ORDER BY attnum) FROM pg_attribute WHERE attrelid = 'loyalty.$table'::regclass AND attnum > 0");
	foreach my $column (split / /, $columns)
	{
		my $new = $column eq 'taken_at' ? "$column + interval '1 microsecond'" : $column =~ /^(tree|changes|previous|root|head)$/ ? "sha256($column)" : "$column + 1";
		my $list = join ', ', map { $_ eq $column ? "CASE number WHEN 2 THEN $new ELSE $_ END AS $_" : $_ } split / /, $columns;
		$node->safe_psql('postgres', <<"SQL");
SET TimeZone = 'UTC'; SET DateStyle = 'ISO';
\\copy (SELECT $list FROM loyalty.$table ORDER BY 1, 2) TO '$folder/changed.csv' CSV HEADER
SQL
		my @files = $table eq 'checkpoint' ? ("$folder/changed.csv", $head) : ($checkpoint, "$folder/changed.csv");
		($status) = verifier($entry, $account, @files);
		is($status, 1, "$column of a $table changed is found");
	}
}
my @published = split /^/, slurp_file($roots);
($status, $output) = verifier($entry, $account, $checkpoint, $head, written("$folder/changed.txt", $published[2] =~ s/^3/1/r));
is($output, "another root was published of checkpoint 1\n$accounts accounts, 0 with a problem\n", 'a root that was not published is found');
($status, $output) = verifier($entry, $account, $checkpoint, $head, written("$folder/changed.txt", $published[3] =~ s/^4/5/r));
is($output, "checkpoint 5 was published and is not there\n$accounts accounts, 0 with a problem\n", 'one that is gone is found');

# A history that an insider rewrote with all hashes: only the roots contradict it.
$node->safe_psql('postgres', <<"SQL");
SET session_replication_role = replica;
SET search_path = loyalty, public;
UPDATE entry SET event = 'forged' WHERE (account_id, entry_no) = ($victim[0], 1);
DO \$\$
DECLARE
	e entry;
	last bytea;
BEGIN
	FOR e IN SELECT * FROM entry WHERE account_id = $victim[0] ORDER BY entry_no LOOP
		last := _entry_hash(last, e.account_id, e.entry_no, e.lot_no, e.points, e.event_time, e.recorded_at, e.actor_id, e.base, e.refunded, e.forgiven,
			e.source_id, e.rule_id, e.reverses, e.kind, e.event, e.line);
		UPDATE entry SET hash = last WHERE account_id = $victim[0] AND entry_no = e.entry_no;
		UPDATE checkpoint_head SET head = last WHERE account_id = $victim[0] AND entries = e.entry_no;
	END LOOP;
	UPDATE account SET head = last WHERE account_id = $victim[0];
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
SET TimeZone = 'UTC'; SET DateStyle = 'ISO'; SET client_encoding = 'UTF8';
\\copy (SELECT * FROM entry ORDER BY account_id, entry_no) TO '$entry' CSV HEADER
\\copy account TO '$account' CSV HEADER
\\copy (SELECT * FROM checkpoint ORDER BY number) TO '$checkpoint' CSV HEADER
\\copy (SELECT * FROM checkpoint_head ORDER BY number, account_id) TO '$head' CSV HEADER
SQL
($status, $output) = verifier($entry, $account, $checkpoint, $head);
is($status, 0, 'a history rewritten with its checkpoints agrees with itself');
($status, $output) = verifier($entry, $account, $checkpoint, $head, $roots);
is($output, join('', map { "another root was published of checkpoint $_\n" } 1 .. 4) . "$accounts accounts, 0 with a problem\n",
	'and not with what was published');

$node->stop;
done_testing();
