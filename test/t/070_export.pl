# An outsider with an export and docs/audit.md recomputes every hash and total: the verifier
# in tools/, which shares nothing with the extension, agrees with it and finds every change.
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
	q{UPDATE orders SET id = 'C3' WHERE id = ''},
	q{SELECT loyalty.adjust('shop', 'eve', '-0.5', E'a "reason",\nof two lines')},
	q{DELETE FROM orders WHERE who = 'bob'},
	q{SELECT loyalty.enrol('shop', 'new')};

my $folder = PostgreSQL::Test::Utils::tempdir;
my ($entry, $account) = ("$folder/entry.csv", "$folder/account.csv");
$node->safe_psql('postgres', <<"SQL");
BEGIN ISOLATION LEVEL REPEATABLE READ;
SET TimeZone = 'UTC'; SET DateStyle = 'ISO'; SET client_encoding = 'UTF8';
\\copy (SELECT * FROM loyalty.entry ORDER BY account_id, entry_no) TO '$entry' CSV HEADER
\\copy loyalty.account TO '$account' CSV HEADER
SQL
is($node->safe_psql('postgres', 'SELECT * FROM loyalty.verify()'), '', 'the books hold');
is($node->safe_psql('postgres', 'SELECT count(DISTINCT kind) FROM loyalty.entry'), 7, 'they have entries of every kind');
my $accounts = $node->safe_psql('postgres', 'SELECT count(*) FROM loyalty.account');

sub verifier
{
	my ($entries, $heads) = @_;
	my ($out, $err) = ('', '');
	my $ok = IPC::Run::run([ 'python3', 'tools/verify_export.py', $entries, $heads ], '>', \$out, '2>', \$err);
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
	($status) = verifier(written("$folder/changed.csv", $changed), $account);
	$missed .= " $at ($byte)" if !$status;
	$tried++;
}
is($missed, '', "each of $tried changed bytes is found");

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

$node->stop;
done_testing();
