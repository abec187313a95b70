# Any two operations that can meet on one account, in either order, at each isolation level, with
# the first committed or rolled back while the second is under way: what they are answered and what
# the books say is as if one had come after the other. That is, of each pair the oracle of the
# property test works out both orders, and one of them must be what happened; or the second gets
# 40001, at the levels that promise no more, nothing of it is there, and repeated it goes through.
# The same for a second who has no patience: 55P03, and nothing of it is there.
#
#   PAIRS="hold redeem" make test TESTS=pairs		only pairs of these
use strict;
use warnings;
use IO::Select;
use List::Util qw(first);
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Oracle;
use Session;
use Storm;

use constant POINT => 10000;

# The operations; a new one is added here, and nowhere else. sql and op say the same to SQL and to
# the oracle, given the members' suffix, the session's number and what the setup left: account ids,
# the redemption, the hold. Each meets all, and itself: those with a request id send it twice at once.
my $club = 'club/points';
my %operation = (
	accrue => {
		sql => sub { my ($k, $s) = @_; return "INSERT INTO orders VALUES ('$k-9$s', 'a$k', 20, 0, '2001-05-01 12:00+00')" },
		op => sub { my ($k, $s) = @_; return { do => 'insert', table => 'orders', conflict => '', rows => [ order("$k-9$s", "a$k", 20, 2001) ] } } },
	refund => {
		sql => sub { return "UPDATE orders SET refunded = 50 WHERE id = '$_[0]-2'" },
		op => sub { return { do => 'update', table => 'orders', ids => ["$_[0]-2"], set => { refunded => 50 * POINT } } } },
	delete => {
		sql => sub { return "DELETE FROM orders WHERE id = '$_[0]-3'" },
		op => sub { return { do => 'delete', table => 'orders', ids => ["$_[0]-3"] } } },
	move => {
		sql => sub { return "UPDATE orders SET member = 'b$_[0]' WHERE id = '$_[0]-4'" },
		op => sub { return { do => 'update', table => 'orders', ids => ["$_[0]-4"], set => { member => "b$_[0]" } } } },
	redeem => call('redeem', 'a', points => 70),
	redeem_once => call('redeem', 'a', points => 70, request => 'once'),
	giveback => call('giveback', undef, of => 'redemption'),
	giveback_once => call('giveback', undef, of => 'redemption', points => 20, request => 'back'),
	hold => call('hold', 'a', points => 60, ttl => '1 day'),
	hold_once => call('hold', 'a', points => 50, ttl => '1 day', request => 'once'),
	capture => call('capture', undef, of => 'hold', points => 25),
	capture_once => call('capture', undef, of => 'hold', request => 'captured'),
	release => call('release', undef, of => 'hold'),
	transfer => call('transfer', 'a', to => 'b', points => 80),
	transfer_once => call('transfer', 'a', to => 'b', points => 30, request => 'gift'),
	receive => call('transfer', 'b', to => 'a', points => 35),
	adjust => call('adjust', 'a', points => -85, reason => 'a mistake'),
	adjust_once => call('adjust', 'a', points => 15, reason => 'an apology', request => 'sorry'),
	expire => {
		sql => sub { my ($k, $s, $had) = @_; return "SELECT loyalty._expire_accounts(ARRAY[$had->{a}, $had->{b}], now()) IS NULL" },
		op => sub { return { do => 'expire', members => [ "a$_[0]", "b$_[0]" ] } } },
	tiers => {
		sql => sub { my ($k, $s, $had) = @_; return "SELECT loyalty._review_tiers(ARRAY[$had->{a}, $had->{b}])" },
		op => sub { return { do => 'nothing' } } },
	checkpoint => {
		sql => sub { return 'SELECT FROM loyalty.checkpoint()' },
		op => sub { return { do => 'nothing' } } });

# A function of the engine, called for a member or for what the setup left.
sub call
{
	my ($do, $who, %o) = @_;
	my $points = defined $o{points} ? "'$o{points}'" : 'NULL';
	return {
		sql => sub {
			my ($k, $s, $had) = @_;
			my @rest = map { defined $_->[1] ? "$_->[0] => '$_->[1]'" : () } [ request_id => $o{request} && "$o{request}-$k" ], [ reason => $o{reason} ];
			my @arguments = $o{of} ? ($had->{ $o{of} }, $do eq 'release' ? () : "points => $points")
			  : ("'club'", "'$who$k'", $o{to} ? "'$o{to}$k'" : (), $points, $o{ttl} ? "'$o{ttl}'" : ());
			my $answer = $do eq 'release' ? "(loyalty.release($arguments[0])::numeric * 10000)::bigint" : "loyalty.$do(" . join(', ', @arguments, @rest) . ')';
			return "SELECT 'R|' || $answer";
		},
		op => sub {
			my ($k, $s, $had) = @_;
			return { do => $do, currency => $club, reason => $o{reason}, request => $o{request} && "$o{request}-$k",
				defined $o{points} ? (points => $o{points} * POINT) : (), $o{ttl} ? (ttl => $o{ttl}) : (),
				$o{of} ? (entry => $had->{ $o{of} }) : (member => "$who$k"), $o{to} ? (to => "$o{to}$k") : () };
		} };
}

sub order
{
	my ($id, $member, $amount, $year) = @_;
	return { id => $id, member => $member, amount => $amount * POINT, refunded => 0, at => Storm::spring($year) };
}

my @names = $ENV{PAIRS} ? split ' ', $ENV{PAIRS} : sort keys %operation;
my @schedules;
foreach my $level ('READ COMMITTED', 'REPEATABLE READ', 'SERIALIZABLE')
{
	foreach my $first (@names)
	{
		foreach my $second (@names)
		{
			my %pair = (level => $level, first => $first, second => $second);
			push @schedules, { %pair, k => @schedules + 1, end => 'COMMIT' };
			push @schedules, { %pair, k => @schedules + 1, end => 'ROLLBACK' };
			push @schedules, { %pair, k => @schedules + 1, end => 'COMMIT', impatient => 1 } if $level eq 'READ COMMITTED';
		}
	}
}

my $node = PostgreSQL::Test::Cluster->new('pairs');
$node->init;
$node->append_conf('postgresql.conf', 'log_lock_waits = off');
$node->start;

# Each schedule has two members of its own. Of a's points 50 are long dead, 190 live, of which 30 are
# redeemed, 40 held; b has 40. All are gold for a time that is over.
my $n = @schedules;
$node->safe_psql('postgres', <<SQL);
CREATE EXTENSION loyalty;
SELECT loyalty.create_program('club', ladder => 'bronze:0, silver:1000, gold:5000', tier_window => 'calendar', debt => 'negative',
	validity => '100 years', validity_rounding => 'year');
SELECT loyalty.add_rule('club', 'base', points_per => 1);
CREATE TABLE orders (id text PRIMARY KEY, member text, amount numeric NOT NULL, refunded numeric NOT NULL DEFAULT 0, at timestamptz NOT NULL);
SELECT loyalty.attach('orders', 'club', 'member', 'amount', 'at', refunded => 'refunded');
INSERT INTO orders SELECT k || '-' || o.no, o.who || k, o.amount, 0, o.at::timestamptz FROM generate_series(1, $n) k, (VALUES
	(1, 'a', 50, '1900-05-01 12:00+00'), (2, 'a', 100, '2001-05-01 12:00+00'), (3, 'a', 60, '2002-05-01 12:00+00'),
	(4, 'a', 30, '2002-05-01 12:00+00'), (5, 'b', 40, '2001-05-01 12:00+00')) o (no, who, amount, at);
CREATE TABLE had AS SELECT k, loyalty.redeem('club', 'a' || k, 30) AS redemption, loyalty.hold('club', 'a' || k, 40, '1 day') AS hold
FROM generate_series(1, $n) k;
BEGIN;
SET LOCAL session_replication_role = replica;
UPDATE loyalty.account SET tier = '3:gold', tier_since = '2018-01-01 00:00+00', tier_until = '2020-01-01 00:00+00';
COMMIT;
ANALYZE;
SQL
my ($now) = $node->safe_psql('postgres', 'SELECT (extract(epoch FROM now()) * 1000000)::bigint');
my %had;
foreach (split /\n/, $node->safe_psql('postgres', q{
	SELECT k, redemption, hold, a.account_id, b.account_id FROM had
	JOIN loyalty.account a ON a.member_key = 'a' || k JOIN loyalty.account b ON b.member_key = 'b' || k}))
{
	my ($k, @values) = split /\|/;
	@{ $had{$k} }{qw(redemption hold a b)} = @values;
}

# ---------------------------------------------------------------- what may come of it

my $oracle = Oracle->new({
	currencies => { $club => { program => 'club', unit => POINT, debt => 'negative' } },
	rules => [ { program => 'club', currency => $club, from => Oracle::ALWAYS, to => Oracle::NEVER, per => 1000, rounding => 'floor',
			unit => POINT, reversal => 'proportional' } ],
	sources => [ { table => 'orders', program => 'club', name => 'orders/club', kind => 'purchase', amount => 1, refunded => 1 } ] });
$oracle->{dates}{"$club " . Storm::spring($_)} = Storm::dates(Storm::spring($_)) foreach 1900, 2001, 2002;
$oracle->{dates}{"$club $now"} = Storm::dates($now);
$oracle->{dates}{"grace $club 1 day $now"} = { to => $now + Storm::DAY };

sub set_up
{
	my ($k) = @_;
	my $world = Oracle::empty_world();
	$oracle->perform($world, { do => 'insert', table => 'orders', conflict => '', rows => [
		order("$k-1", "a$k", 50, 1900), order("$k-2", "a$k", 100, 2001), order("$k-3", "a$k", 60, 2002), order("$k-4", "a$k", 30, 2002),
		order("$k-5", "b$k", 40, 2001) ] }, $now);
	$oracle->perform($world, { do => 'redeem', currency => $club, member => "a$k", points => 30 * POINT }, $now, $had{$k}{redemption});
	$oracle->perform($world, { do => 'hold', currency => $club, member => "a$k", points => 40 * POINT, ttl => '1 day' }, $now, $had{$k}{hold});
	return $world;
}

# What an operation answers on a world, and the world after it. entries are those of all operations so far.
sub perform
{
	my ($from, $op, $id) = @_;
	my $world = Oracle::branch($from);
	my $answer = eval {
		if ($op->{do} eq 'expire')
		{
			foreach my $key (map { "$club/$_" } @{ $op->{members} })
			{
				my $account = Oracle::visit($world, $key, $now);
				Oracle::settle($world, $key, $account, $_) foreach @{ $account->{lots} };
			}
			return '';
		}
		return '' if $op->{do} eq 'nothing';
		return $oracle->perform($world, $op, $now, $id);
	};
	if (my $error = $@)
	{
		die $error if !ref $error;
		return ("$error->{state}", Oracle::branch($from), []);
	}
	$answer = '' if $op->{do} =~ /^(insert|update|delete)$/;
	return ($answer, $world, $world->{log});
}

sub books
{
	my ($k, $world, @entries) = @_;
	my @lines;
	foreach my $key (map { "$club/$_$k" } 'a', 'b')
	{
		my $account = $world->{accounts}{$key};
		my $held = 0;
		$held += Oracle::rest($_) foreach grep { !defined $_->{released} } values %{ $account->{holds} };
		push @lines, join ' ', $key, Storm::available($account, $now), $held, $account->{debt};
		push @lines, map { Storm::entry_line($_) } grep { $_->{account} eq $key } @entries;
	}
	return join "\n", @lines;
}

# ---------------------------------------------------------------- what comes of it

my $control = Session->new($node->connstr('postgres'));
my @sessions = map { Session->new($node->connstr('postgres')) } 1, 2;
my @pids = map { ($_->ask('SELECT pg_backend_pid();'))[0] } @sessions;
my $select = IO::Select->new($sessions[1]{out});

sub read_answer
{
	my ($lines) = @_;
	my ($error) = map { /ERROR:  (\w{5}):/ } @$lines;
	my ($answer) = map { /^R\|(.*)$/ } @$lines;
	return $error // $answer // '';
}

sub answer_of
{
	my ($session, @sql) = @_;
	my $lines;
	$session->send(@sql);
	1 until $lines = $session->read_more;
	return read_answer($lines);
}

foreach my $one (@schedules)
{
	my ($k, $level) = @$one{qw(k level)};
	my ($sql1, $sql2) = ($operation{ $one->{first} }{sql}->($k, 1, $had{$k}), $operation{ $one->{second} }{sql}->($k, 2, $had{$k}));
	answer_of($sessions[0], "BEGIN ISOLATION LEVEL $level;");
	$one->{answer1} = answer_of($sessions[0], "$sql1;");
	answer_of($sessions[1], "BEGIN ISOLATION LEVEL $level; SELECT 1;", $one->{impatient} ? 'SET LOCAL lock_timeout = 1;' : ());
	$sessions[1]->send("$sql2;");

	# As isolationtester does: until it is done, or waits for the first.
	my $lines;
	until ($lines)
	{
		if ($select->can_read(0.002)) { $lines = $sessions[1]->read_more }
		elsif (!$one->{impatient} && ($control->ask("SELECT pg_isolation_test_session_is_blocked($pids[1], '{$pids[0]}');"))[0] eq 't')
		{
			$one->{waited} = 1;
			last;
		}
	}
	answer_of($sessions[0], "$one->{end};");
	1 until $lines //= $sessions[1]->read_more;
	$one->{answer2} = read_answer($lines);
	$one->{failed} = $one->{answer2} =~ /^(40001|55P03)$/ ? $1 : '';
	my $end = answer_of($sessions[1], 'COMMIT;');
	$one->{failed} ||= $end if $end;
	$one->{answer2} = answer_of($sessions[1], "$sql2;") if $one->{failed};
}
$_->end foreach $control, @sessions;

# ---------------------------------------------------------------- whether it may

my (%books, %entries, %tiers);
foreach (split /\n/, $node->safe_psql('postgres', q{
	SELECT substr(member, 2), program || '/' || currency || '/' || member, (available * 10000)::bigint, (held * 10000)::bigint,
		(debt * 10000)::bigint, tier FROM loyalty.balances ORDER BY member}))
{
	my ($k, $key, $available, $held, $debt, $tier) = split /\|/;
	push @{ $books{$k} }, [ $key, "$key $available $held $debt" ];
	$tiers{$key} = $tier;
}
foreach (split /\n/, $node->safe_psql('postgres', q{
	SELECT concat_ws('|', 'club/points/' || a.member_key, e.kind, (e.points::numeric * 10000)::bigint, coalesce((e.forgiven::numeric * 10000)::bigint, 0),
		(SELECT string_agg(f.lot || ':' || f.points, ' ' ORDER BY f.lot COLLATE "C") FROM (
			SELECT CASE f.lot_no WHEN 0 THEN 'debt' ELSE -9000000000000000000 || '..' || (extract(epoch FROM l.expires_at) * 1000000)::bigint END AS lot,
				sum(f.points::numeric * 10000)::bigint AS points
			FROM loyalty._effect f LEFT JOIN loyalty.lot l USING (account_id, lot_no)
			WHERE f.account_id = e.account_id AND f.entry_no = e.entry_no GROUP BY 1 HAVING sum(f.points::numeric) <> 0) f))
	FROM loyalty.entry e JOIN loyalty.account a USING (account_id) ORDER BY e.account_id, e.entry_no}))
{
	my %entry;
	@entry{qw(account kind points forgiven effects)} = split /\|/;
	$entry{effects} //= '';
	push @{ $entries{ $entry{account} } }, Storm::entry_line(\%entry);
}

# Those the setup made are before all others.
my (%bad, %good, $waited, $gave_way, $impatient);
$waited = $gave_way = $impatient = 0;
foreach my $one (@schedules)
{
	my $k = $one->{k};
	my @op = map { $operation{ $one->{ $_->[0] } }{op}->($k, $_->[1], $had{$k}) } [ first => 1 ], [ second => 2 ];
	my $start = set_up($k);
	my @before = @{ $start->{log} };
	my @id = map { $one->{"answer$_"} } 1, 2;

	# Either order; without the first, if that was rolled back. Its answer was given before.
	my @possible;
	my ($first, $after_first, $log_first) = perform($start, $op[0], $id[0]);
	if ($one->{end} eq 'COMMIT')
	{
		my ($second, $after, $log) = perform($after_first, $op[1], $id[1]);
		push @possible, [ $first, $second, books($k, $after, @before, @$log_first, @$log) ];
	}
	my ($second, $after_second, $log_second) = perform($start, $op[1], $id[1]);
	if ($one->{end} eq 'ROLLBACK')
	{
		push @possible, [ $first, $second, books($k, $after_second, @before, @$log_second) ];
	}
	elsif (!$one->{failed})
	{
		my ($late, $after, $log) = perform($after_second, $op[0], $id[0]);
		push @possible, [ $late, $second, books($k, $after, @before, @$log_second, @$log) ];
	}
	my $is = join "\n", map { ($_->[1], @{ $entries{ $_->[0] } // [] }) } @{ $books{$k} };
	my $name = "$one->{level}: $one->{first}, $one->{second}, $one->{end}" . ($one->{impatient} ? ', no patience' : '');
	my @why;
	push @why, join "\n", "answered '$id[0]' and '$id[1]' ($one->{failed}), with", $is, map { "which is not '$_->[0]' and '$_->[1]' with\n$_->[2]" } @possible
	  if !grep { $_->[0] eq $id[0] && $_->[1] eq $id[1] && $_->[2] eq $is } @possible;

	# Nobody gives way but to one who committed, at the levels for it, or who has no patience.
	my $may_fail = $one->{impatient} ? '55P03' : $one->{end} eq 'COMMIT' && $one->{level} ne 'READ COMMITTED' ? '40001' : '';
	push @why, "failed with $one->{failed}" if $one->{failed} && $one->{failed} ne $may_fail;
	push @why, 'gave way to a checkpoint, or one to it'
	  if $one->{failed} eq '40001' && $one->{level} ne 'SERIALIZABLE'
	  && ($one->{first} eq 'checkpoint') != ($one->{second} eq 'checkpoint');

	# Its time was over: reviewed it is bronze, and that once.
	push @why, 'it is gold still' if $one->{second} eq 'tiers' && $tiers{"$club/a$k"} ne 'bronze';
	if (@why) { $bad{$name} = join "\n", @why }
	$waited++ if $one->{waited};
	$gave_way++ if $one->{failed} eq '40001';
	$impatient++ if $one->{failed} eq '55P03';
}
note scalar(@schedules), " schedules, $waited waited, $gave_way gave way to another, $impatient had no patience";
my @worst = (sort keys %bad)[ 0 .. (keys %bad > 8 ? 7 : keys(%bad) - 1) ];
is(join("\n\n", map { "$_: $bad{$_}" } @worst), '', 'all are as if one had come after the other' . (%bad ? ', but ' . keys %bad : ''));
SKIP:
{
	skip 'these may never meet', 3 if $ENV{PAIRS};
	cmp_ok($waited, '>', $n / 2, 'most of them did meet');
	cmp_ok($gave_way, '>', $n / 7, 'and at the higher levels gave way');
	cmp_ok($impatient, '>', @names**2 / 2, 'or had no patience');
}
is($node->safe_psql('postgres', q{SELECT count(*) FROM loyalty.tier_history WHERE (from_tier, to_tier) IS DISTINCT FROM ('gold', 'bronze') OR change_no > 1}),
	0, 'every tier was lowered once');
unlike(slurp_file($node->logfile), qr/deadlock detected/, 'nobody met a deadlock');
is($node->safe_psql('postgres', 'SELECT * FROM loyalty.verify()'), '', 'the books hold');
$node->stop;
done_testing();
