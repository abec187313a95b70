# Many clients at once, each with whatever a shop does, on few members so that they meet; and
# the proof that one client, doing the same one after the other, would have got every answer that
# they got and made every entry that they made.
#
# A client notes what it asked and what it was answered. Each transaction that writes draws a ticket
# before it commits, when it has locked all that it touches: for what meets, tickets are
# in the order of the commits. The oracle of the property test replays them in that order: it has
# not a line of the engine. So whatever stops the server, one can tell: nothing answered may be lost
# (its ticket is there), nothing else may be there but what was on its way.
#
# Orders are of a spring day of their year and live for a century: those of 1900 to 1903 are dead,
# all others alive, whenever this runs.
package Storm;

use strict;
use warnings;
use IO::Select;
use List::Util qw(first);
use Oracle;
use Session;
use Test::More;
use Time::HiRes qw(time);
use Time::Local qw(timegm);

use constant { DAY => 86400 * 1000000, DEAD => 1900, ALIVE => 2001 };

# Program, what it gives for a unit of money, and what becomes of points taken back that are spent.
my %programs = (club => { per => 1, debt => 'negative' }, store => { per => 2, debt => 'forgive' });
my @ladder = ([ bronze => 0 ], [ silver => 2000 ], [ gold => 10000 ]);

# What clients do, and how often. Those at the end are jobs: they answer nothing, and commit by
# themselves. A kind that is added needs a line here, one in new_op() and one in sql_of(); what it
# means is the oracle's to say.
my %weight = (insert => 22, bulk => 3, refund => 10, refund_many => 3, reprice => 4, move => 4, delete => 3,
	redeem => 18, giveback => 10, hold => 9, capture => 10, release => 7, transfer => 9, adjust => 4, repeat => 4, balance => 8,
	expire => 2, review_tiers => 1, checkpoint => 1);
my %job = (expire => 'CALL loyalty.expire(batch => 10)', review_tiers => 'CALL loyalty.review_tiers(batch => 10)',
	checkpoint => 'SELECT number FROM loyalty.checkpoint()');

# clients, members, seed; weight: those of %weight that are to be others.
sub new
{
	my ($class, %o) = @_;
	my %mine = (%weight, %{ $o{weight} // {} });
	my $self = bless { clients => 8, members => 50, seed => 1, answers => [], count => {}, mark => {}, recent => {}, orders => [], next => {}, %o,
		deck => [ map { ($_) x $mine{$_} } sort keys %mine ] }, $class;
	srand $self->{seed};
	return $self;
}

sub set_up
{
	my ($self, $node) = @_;
	my $ladder = join ', ', map { "$_->[0]:$_->[1]" } @ladder;
	$node->safe_psql('postgres', join "\n", 'CREATE EXTENSION loyalty;',
		(map {
			"SELECT loyalty.create_program('$_', ladder => '$ladder', debt => '$programs{$_}{debt}', validity => '100 years', validity_rounding => 'year');
			SELECT loyalty.add_rule('$_', 'base', points_per => $programs{$_}{per});"
		} sort keys %programs),
		'CREATE TABLE orders (id text PRIMARY KEY, member text, amount numeric(14,2) NOT NULL, refunded numeric(14,2) NOT NULL DEFAULT 0, at timestamptz NOT NULL);',
		(map { "SELECT loyalty.attach('orders', '$_', 'member', 'amount', 'at', refunded => 'refunded');" } sort keys %programs),
		"SELECT loyalty.enrol(p, 'm' || n) FROM unnest(ARRAY['club', 'store']) p, generate_series(1, $self->{members}) n;",
		'CREATE SEQUENCE ticket;',
		"CREATE TABLE done (ticket bigint PRIMARY KEY DEFAULT nextval('ticket'), client int NOT NULL, n int NOT NULL,
			xid xid8 NOT NULL DEFAULT pg_current_xact_id(), now timestamptz NOT NULL DEFAULT now(),
			ids text DEFAULT current_setting('storm.ids', true));");
}

# ---------------------------------------------------------------- what clients ask

sub pick { return $_[ int rand @_ ] }
sub between { return $_[0] + int rand($_[1] - $_[0] + 1) }
sub number { return sprintf '%s%d.%04d', $_[0] < 0 ? '-' : '', abs($_[0]) / 10000, abs($_[0]) % 10000 }
sub quoted { return defined $_[0] ? "'$_[0]'" : 'NULL' }

sub spring { return timegm(0, 0, 12, 1, 4, $_[0]) * 1000000 }

sub member { return 'm' . between(1, $_[0]{members}) }

sub new_order
{
	my ($self, $id) = @_;
	push @{ $self->{orders} }, $id;
	return { id => $id, member => rand() < 0.02 ? undef : rand() < 0.03 ? 'new' . between(1, 500) : $self->member,
		amount => between(1, 10000) * 100, refunded => 0, at => spring(rand() < 0.04 ? between(DEAD, DEAD + 3) : between(ALIVE, ALIVE + 19)) };
}

# One of those that came up last, so that clients meet.
sub recent
{
	my ($self, $of) = @_;
	my $list = $self->{recent}{$of} // return undef;
	return $list->[ -1 - int rand(@$list < 25 ? @$list : 25) ];
}

# Operations as the oracle knows them.
sub new_op
{
	my ($self, $client, $n) = @_;
	my $do = pick(@{ $self->{deck} });
	my %op = (do => $do, table => 'orders', currency => pick('club/points', 'store/points'), member => $self->member, reason => undef,
		rand() < 0.3 ? (request => "r$client-$n") : ());
	my $id = "c$client-$n";

	return { do => $do, job => $job{$do} } if $job{$do};
	return { %op, do => 'insert', conflict => '', rows => [ $self->new_order($id) ] } if $do eq 'insert';
	return { %op, do => 'insert', conflict => '', rows => [ map { $self->new_order("$id-$_") } 1 .. 20 ] } if $do eq 'bulk';
	if ($do =~ /^(refund|refund_many|reprice|move|delete)$/)
	{
		return { %op, do => 'insert', conflict => '', rows => [ $self->new_order($id) ] } if !@{ $self->{orders} };
		my @ids = map { pick(@{ $self->{orders} }) } 1 .. ($do eq 'refund_many' ? 15 : 1);
		my %seen;
		@ids = sort grep { !$seen{$_}++ } @ids;
		my $set = $do eq 'reprice' ? { amount => between(0, 10000) * 100, refunded => 0 } : $do eq 'move' ? { member => $self->member } : { share => between(0, 100) };
		return { %op, do => $do eq 'delete' ? 'delete' : 'update', ids => \@ids, set => $set };
	}
	if ($do =~ /^(giveback|capture|release)$/)
	{
		my $entry = $self->recent($do eq 'giveback' ? 'redeem' : 'hold');
		return { %op, entry => $entry, points => rand() < 0.5 ? between(1, 20) * 10000 : undef } if defined $entry;
		return { %op, do => 'redeem', points => 10000 };
	}
	return { %{ $self->recent('request') } } if $do eq 'repeat' && $self->{recent}{request};
	$op{points} = between(1, 300) * 10000;
	$op{do} = 'redeem' if $do eq 'repeat';
	if ($do eq 'hold') { $op{ttl} = '1 day' }
	elsif ($do eq 'transfer') { $op{to} = first { $_ ne $op{member} } map { $self->member } 1 .. 99 }
	elsif ($do eq 'adjust')
	{
		$op{points} = between(-100, 300) * 10000 || 10000;
		$op{reason} = 'because';
	}
	elsif ($do eq 'balance') { $op{at} = [undef] }
	return \%op;
}

sub sql_of
{
	my ($op) = @_;
	my $do = $op->{do};
	if ($do eq 'insert')
	{
		return 'INSERT INTO orders (id, member, amount, refunded, at) VALUES ' . join(', ', map {
			sprintf "(%s, %s, %s, %s, to_timestamp(%d))", quoted($_->{id}), quoted($_->{member}), number($_->{amount}), number($_->{refunded}), $_->{at} / 1000000
		} @{ $op->{rows} }) . " RETURNING 'R|' || id";
	}
	if ($do =~ /^(update|delete)$/)
	{
		# Rows are locked in one order, as those who write several at once have to with any table. An order
		# that another client has but now written may not be seen yet: those that were are noted.
		my $returning = "RETURNING 'R|' || o.id || left(set_config('storm.ids', concat_ws(',', nullif(current_setting('storm.ids', true), ''), o.id), true), 0)";
		my $picked = 'WITH picked AS (SELECT id FROM orders WHERE id IN (' . join(', ', map { quoted($_) } @{ $op->{ids} }) . ') ORDER BY id FOR UPDATE)';
		return "$picked DELETE FROM orders o USING picked WHERE o.id = picked.id $returning" if $do eq 'delete';
		my $set = $op->{set};
		return "$picked UPDATE orders o SET " . join(', ', map {
			$_ eq 'share' ? "refunded = floor(amount * $set->{share}) / 100" : "$_ = " . ($_ eq 'member' ? quoted($set->{$_}) : number($set->{$_}))
		} sort keys %$set) . " FROM picked WHERE o.id = picked.id $returning";
	}
	my ($program, $currency) = split m{/}, $op->{currency};
	my $points = 'points => ' . (defined $op->{points} ? quoted(number($op->{points})) : 'NULL');
	my $rest = 'request_id => ' . quoted($op->{request}) . ', reason => ' . quoted($op->{reason});
	return "SELECT 'R|' || (loyalty.balance('$program', '$op->{member}')::numeric * 10000)::bigint" if $do eq 'balance';
	return "SELECT 'R|' || (loyalty.release($op->{entry})::numeric * 10000)::bigint" if $do eq 'release';
	return "SELECT 'R|' || loyalty.$do($op->{entry}, $points, $rest)" if $do =~ /^(giveback|capture)$/;
	return "SELECT 'R|' || loyalty.hold('$program', '$op->{member}', $points, ttl => '$op->{ttl}', $rest)" if $do eq 'hold';
	return "SELECT 'R|' || loyalty.transfer('$program', '$op->{member}', '$op->{to}', $points, $rest)" if $do eq 'transfer';
	return "SELECT 'R|' || loyalty.$do('$program', '$op->{member}', $points, $rest)";
}

# ---------------------------------------------------------------- clients

# One in four goes by a snapshot, one in eight is serializable.
sub level { return $_[0] % 8 == 6 ? 'SERIALIZABLE' : $_[0] % 4 == 3 ? 'REPEATABLE READ' : 'READ COMMITTED' }

sub send_next
{
	my ($self, $c) = @_;
	my $number = $c->{number};
	my $n = ++$self->{next}{$number};
	my $op = $self->new_op($number, $n);
	$c->{asked} = { client => $number, n => $n, op => $op, low => $c->{high}, level => level($number) };
	push @{ $self->{answers} }, $c->{asked};
	my @sql = $op->{job} ? ($op->{job}) : (join ' \\; ', "BEGIN ISOLATION LEVEL " . level($number), sql_of($op),
		$op->{do} eq 'balance' ? () : "INSERT INTO done (client, n) VALUES ($number, $n) RETURNING 'T|' || ticket", 'COMMIT');
	# Errors after the warning are none of the operation.
	$c->{session}->send((map { "$_;" } @sql), '\\warn K', "ROLLBACK \\; SELECT 'E|' || last_value FROM ticket;");
}

sub read_answer
{
	my ($self, $c, $lines) = @_;
	my $asked = $c->{asked};
	my ($op, $over, @answer) = $asked->{op};
	foreach (@$lines)
	{
		if (/^R\|(.*)$/) { push @answer, $1 }
		elsif (/^T\|(\d+)$/) { $asked->{ticket} = $1 }
		elsif (/^E\|(\d+)$/) { $asked->{high} = $c->{high} = $1 }
		elsif (/^K$/) { $over = 1 }
		elsif (!$over && /^(?:psql:.*?)?(?:ERROR|FATAL):  (\w{5}): (.*)$/) { $asked->{error} //= { state => $1, message => $2 } }
		elsif (/^DETAIL:  (-?\d+(?:\.\d+)?)/ && $asked->{error}) { $asked->{error}{number} //= sprintf '%.0f', $1 * 10000 }
	}
	# The server went: no answer.
	return 0 if $asked->{error} && $asked->{error}{state} =~ /^57P/ && delete $asked->{error};
	delete $c->{asked};

	# Whoever was stopped even there may have seen anything since.
	$asked->{high} //= Oracle::NEVER;
	$asked->{answered} = 1;
	$self->{count}{$_}++ foreach $asked->{error} ? $asked->{error}{state} : ('all', $op->{do});
	return 1 if $asked->{error};
	$asked->{answer} = join ',', sort @answer;
	my $of = $op->{do} eq 'capture' ? 'redeem' : $op->{do};
	push @{ $self->{recent}{$of} }, @answer if $of =~ /^(redeem|hold)$/;
	push @{ $self->{recent}{request} }, $op if defined $op->{request} && defined $op->{points};
	return 1;
}

# Opens the sessions; options says for a client's number with which settings.
sub connect
{
	my ($self, $node, $options) = @_;
	$self->{lives}++;
	$self->{sessions} = [ map {
		my $session = Session->new($node->connstr('postgres'), $options ? $options->($_) : '');
		my ($high, $pid) = $session->ask('SELECT last_value FROM ticket;', 'SELECT pg_backend_pid();');
		{ session => $session, number => $_, high => $high, pid => $pid }
	} 1 .. $self->{clients} ];
}

# Keeps all clients busy until done() is true or their server is gone, then waits for what is on
# its way. Between answers it calls meanwhile().
sub run
{
	my ($self, %o) = @_;
	my $select = IO::Select->new;
	my (%of, $stopping);
	my $deadline = time + 600;
	foreach my $c (@{ $self->{sessions} })
	{
		$of{ fileno $c->{session}{out} } = $c;
		$select->add($c->{session}{out});
		$self->send_next($c);
	}
	while ($select->count)
	{
		die "the storm does not end\n" if time > $deadline;
		foreach my $out ($select->can_read(1))
		{
			my $c = $of{ fileno $out };
			my $lines = eval { $c->{session}->read_more };
			next if !$lines && $@ eq '';
			if (!$lines || !$self->read_answer($c, $lines) || $stopping) { $select->remove($out) }
			elsif (!eval { local $SIG{PIPE} = sub { die "gone\n" }; $self->send_next($c); 1 }) { $select->remove($out) }
		}
		$o{meanwhile}->($self) if $o{meanwhile};
		$stopping ||= $o{done}->($self) if $o{done};
	}
	foreach my $c (@{ $self->{sessions} })
	{
		delete $c->{asked};
		local $SIG{PIPE} = 'IGNORE';
		$c->{session}->end;
	}
}

# How many operations of each kind were done, and how many ended in each error.
sub counts { return { %{ $_[0]{count} } } }

# For so long, and until every kind of operation was done so often.
sub enough
{
	my ($seconds, $often) = @_;
	my $until = time + $seconds;
	my $next = $until;
	return sub {
		my ($self) = @_;
		return 0 if time < $next;
		$next = time + 0.5;
		my $count = $self->counts;
		return !grep { ($count->{$_} // 0) < $often } qw(insert update delete redeem giveback hold capture release transfer adjust balance), keys %job;
	};
}

# How often something came up since the last mark.
sub mark { $_[0]{mark} = $_[0]->counts }
sub since { return ($_[0]{count}{ $_[1] } // 0) - ($_[0]{mark}{ $_[1] } // 0) }

# Starts a server that went down without a word: those of its processes that are left may take a while.
sub start_again
{
	my ($node) = @_;
	for (1 .. 60)
	{
		$node->stop('fast', fail_ok => 1);
		return 1 if $node->start(fail_ok => 1);
	}
	return 0;
}

# Asserts that so far nothing went wrong but what may: errors beside refusals match excused.
sub holds
{
	my ($self, $node, $excused, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my $count = $self->counts;
	note "$name: ", join ', ', map { "$_ $count->{$_}" } sort keys %$count;
	is(join(' ', grep { !/^LY3(01|03|08|10)$/ && $_ ne '40001' && $_ !~ $excused } grep { /^[0-9A-Z]{5}$/ } sort keys %$count), '',
		"$name: nothing is refused but for want of points, to older snapshots, and for what is done to it");
	is(join("\n", $self->replay($node, excused => $excused)), '',
		"$name: one client after the other would have got the same answers, and left the same books");
	is($node->safe_psql('postgres', 'SELECT * FROM loyalty.verify()'), '', "$name: the books hold");
}

# ---------------------------------------------------------------- the replay

sub us
{
	my ($time) = @_;
	return "CASE $time WHEN 'infinity' THEN @{[Oracle::NEVER]} WHEN '-infinity' THEN @{[Oracle::ALWAYS]}"
	  . " ELSE (extract(epoch FROM $time) * 1000000)::bigint END";
}

# When points live that are given for a moment: to the end of the hundredth year after it.
sub dates
{
	my ($at) = @_;
	my @t = gmtime int($at / 1000000);
	my $month = timegm(0, 0, 0, 1, $t[4], $t[5] + 1900);
	return { from => Oracle::ALWAYS, to => timegm(0, 0, 0, 1, 0, $t[5] + 2001) * 1000000, issued => $month / 86400 };
}

sub show
{
	my ($asked) = @_;
	return "client $asked->{client}, number $asked->{n}, $asked->{level}: " . ($asked->{op}{job} // sql_of($asked->{op}))
	  . '  => ' . ($asked->{error} ? "$asked->{error}{state} $asked->{error}{message}" : $asked->{answer} // 'no answer');
}

sub entry_line
{
	my ($entry) = @_;
	my %effects;
	if (ref $entry->{effects})
	{
		$effects{ $_->[0] } += $_->[1] foreach @{ $entry->{effects} };
		return join ' ', @$entry{qw(account kind points forgiven)}, map { $effects{$_} ? "$_:$effects{$_}" : () } sort keys %effects;
	}
	return join ' ', @$entry{qw(account kind points forgiven)}, grep { $_ ne '' } $entry->{effects};
}

sub available
{
	my ($account, $now) = @_;
	my $sum = -$account->{debt};
	$sum += Oracle::free($account, $_) foreach grep { Oracle::alive($_, $now) } @{ $account->{lots} };
	return $sum;
}

# A person is erased: a member and those merged into it have keys that say nothing from now on. What
# it did before stands in the log, and is the new key's after the note of it there.
sub erase
{
	my ($oracle, $world, $op, $now) = @_;
	my ($program, $member) = @$op{qw(program member)};
	Oracle::refuse('LY002') if !$world->{members}{"$program/$member"};
	Oracle::refuse('LY340') if defined $world->{merged}{"$program/$member"};
	$oracle->perform($world, { %$op, do => 'close' }, $now) if !$world->{closed}{"$program/$member"};
	my @person = $member;
	my %merged = %{ $world->{merged} };
	for (my $i = 0; $i < @person; $i++)
	{
		push @person, map { m{^\Q$program\E/(.*)} && $merged{$_} eq $person[$i] ? $1 : () } sort keys %merged;
	}
	my %fresh = map { $_ => "erased-$_" } @person;
	my %renamed;
	foreach my $old (@person)
	{
		my ($from, $to) = map { "$program/$_" } $old, $fresh{$old};
		foreach my $of (qw(members merged closed))
		{
			$world->{$of}{$to} = delete $world->{$of}{$from} if exists $world->{$of}{$from};
		}
		foreach my $currency ($oracle->currencies_of($program))
		{
			my ($key, $new) = map { "$currency/$_" } $old, $fresh{$old};
			$renamed{$key} = $new;
			foreach my $of (qw(accounts mine))
			{
				$world->{$of}{$new} = delete $world->{$of}{$key} if exists $world->{$of}{$key};
			}
			$oracle->{ids}{$new} = $oracle->{ids}{$key};
		}
	}
	foreach my $of (qw(redemptions holds))
	{
		foreach (values %{ $world->{$of} }) { $_ = $renamed{$_} if exists $renamed{$_} }
	}
	foreach my $into (values %{ $world->{merged} }) { $into = $fresh{$into} if exists $fresh{$into} }
	foreach my $pool (values %{ $world->{pools} })
	{
		$pool = { map { ($fresh{$_} // $_) => $pool->{$_} } keys %$pool };
	}
	foreach my $redemption (values %{ $world->{pooled} })
	{
		$redemption = { %$redemption, paid => [ map { { %$_, payer => $fresh{ $_->{payer} } // $_->{payer} } } @{ $redemption->{paid} } ] }
		  if $redemption->{currency} =~ m{^\Q$program\E/};
	}
	push @{ $world->{log} }, { renamed => \%renamed };
	return '';
}

sub new_model
{
	my ($self) = @_;
	my $world = Oracle::empty_world();
	foreach my $program (keys %programs)
	{
		$world->{members}{"$program/m$_"} = 1 foreach 1 .. $self->{members};
	}
	return { world => $world, fact => {}, queue => {}, has_ticket => {}, ticket => 0, entries => 0, answers => 0,
		oracle => Oracle->new({
			currencies => { map { ("$_/points" => { program => $_, unit => 10000, debt => $programs{$_}{debt} }) } keys %programs },
			rules => [ map { { program => $_, currency => "$_/points", from => Oracle::ALWAYS, to => Oracle::NEVER, per => 1000 * $programs{$_}{per},
					rounding => 'floor', unit => 10000, reversal => 'proportional' } } sort keys %programs ],
			sources => [ map { { table => 'orders', program => $_, name => "orders/$_", kind => 'purchase', amount => 1, refunded => 1 } } sort keys %programs ] }) };
}

# The first things in which the ledger is not what one client would have made of it; none if it is.
# Goes on where the last replay ended, and stops after so many faults. excused: a pattern of SQLSTATEs that may end a transaction
# beside refusals.
sub replay
{
	my ($self, $node, %o) = @_;
	my $excused = $o{excused} // qr/^$/;
	my $model = $self->{model} //= $self->new_model;
	my ($oracle, $world, $fact) = @$model{qw(oracle world fact)};
	my @faults;
	my $ask = sub { return split /\n/, $node->safe_psql('postgres', $_[0]) };

	# What the ledger has.
	my %of_xid;
	my %last = map { (split /\|/) } $ask->('SELECT account_id, entries FROM loyalty.account');
	foreach ($ask->(<<SQL))
SELECT concat_ws('|', p.code || '/' || c.code || '/' || m.member, e.account_id * 100000000 + e.entry_no, e.xmin::text,
	@{[us('e.recorded_at')]}, e.kind, (e.points::numeric * 10000)::bigint, coalesce((e.forgiven::numeric * 10000)::bigint, 0),
	(SELECT string_agg(f.lot || ':' || f.points, ' ' ORDER BY f.lot COLLATE "C") FROM (
		SELECT CASE f.lot_no WHEN 0 THEN 'debt' ELSE f.lot_no::text END AS lot,
			sum(f.points::numeric * 10000)::bigint AS points
		FROM loyalty._effect f
		WHERE f.account_id = e.account_id AND f.entry_no = e.entry_no GROUP BY 1 HAVING sum(f.points::numeric) <> 0) f))
FROM loyalty.entry e JOIN loyalty.account a USING (account_id) JOIN loyalty.currency c USING (currency_id)
JOIN loyalty.program p USING (program_id) JOIN loyalty.member m USING (member_id)
LEFT JOIN unnest(ARRAY[@{[join ', ', 0, keys %{ $model->{last} }]}]::bigint[], ARRAY[@{[join ', ', 0, values %{ $model->{last} }]}]) old (account_id, entry_no) USING (account_id)
WHERE e.entry_no > coalesce(old.entry_no, 0)
ORDER BY e.account_id, e.entry_no
SQL
	{
		my %entry;
		@entry{qw(account id xid now kind points forgiven effects)} = split /\|/;
		$entry{effects} //= '';
		push @{ $model->{queue}{ $entry{account} } }, \%entry;
		push @{ $of_xid{ $entry{xid} } }, \%entry;
	}

	$model->{last} = \%last;

	# Who was answered has a ticket, and who has one was answered, or was on the way.
	my %asked = map { ("$_->{client} $_->{n}" => $_) } @{ $self->{answers} };
	my @order;
	foreach ($ask->("SELECT ticket, client, n, xid::text::numeric % 4294967296, @{[us('now')]}, ids FROM done WHERE ticket > $model->{ticket} ORDER BY ticket"))
	{
		my ($ticket, $client, $n, $xid, $now, $ids) = split /\|/;
		my $asked = $asked{"$client $n"};
		push @faults, "ticket $ticket is nobody's" if !$asked;
		next if !$asked;
		push @faults, 'there although it failed: ' . show($asked) if $asked->{error};
		$model->{has_ticket}{"$client $n"} = 1;
		$model->{ticket} = $ticket;
		push @order, { ticket => $ticket, xid => $xid, now => $now, asked => $asked, ids => [ split /,/, $ids // '' ] };
	}
	my @unanswered;
	foreach (@{ $self->{answers} })
	{
		push @unanswered, $_ if !$_->{answered};
		next if !$_->{answered} || $_->{op}{job} || $_->{op}{do} eq 'balance' || $_->{error};
		push @faults, 'answered, and lost: ' . show($_) if !$model->{has_ticket}{"$_->{client} $_->{n}"};
	}
	my %on_the_way;
	$on_the_way{ $_->{client} }++ foreach @unanswered;
	push @faults, "client $_ left $on_the_way{$_} unanswered" foreach grep { $on_the_way{$_} > $self->{lives} } sort keys %on_the_way;

	# One after the other.
	my $expire = sub {
		my ($key, $until) = @_;
		my $entries = $model->{queue}{$key} // return;
		while (@$entries && (!defined $until || $entries->[0]{xid} != $until))
		{
			my $entry = shift @$entries;
			my ($lot) = $entry->{effects} =~ /^(.*):/;
			push @faults, 'nobody asked for: ' . entry_line($entry) . " (entry $entry->{id})"
			  if $entry->{kind} ne 'expire' || !Oracle::expire($world, $key, $entry->{now}, { lot => $lot // '', points => $entry->{points} });
		}
	};
	my $record = sub {
		my ($name, $ticket, $value) = @_;
		push @{ $fact->{$name} //= $name =~ /^available/ ? [ [ 0, 0 ] ] : [] }, [ $ticket, $value ];
	};

	foreach my $step (@order)
	{
		last if @faults > ($o{faults} // 20);
		my ($asked, $ticket, $now) = @$step{qw(asked ticket now)};
		my $op = $asked->{op}{ids} ? { %{ $asked->{op} }, ids => $step->{ids} } : $asked->{op};
		my @booked = @{ $of_xid{ $step->{xid} } // [] };
		my %touched = map { $_->{account} => 1 } @booked;
		$expire->($_, $step->{xid}) foreach sort keys %touched;
		foreach my $at (map({ $_->{at} // () } @{ $op->{rows} // [] }), $op->{do} eq 'adjust' ? $now : ())
		{
			$oracle->{dates}{"$_/points $at"} //= dates($at) foreach keys %programs;
		}
		$oracle->{dates}{"grace $op->{currency} 1 day $now"} = { to => $now + DAY } if $op->{do} eq 'hold';

		my $known = $world->{holds}{ $op->{entry} // '' };
		my $answer = $asked->{answer} // ($op->{do} =~ /^(insert|update|delete)$/ ? undef
			: $op->{do} eq 'release' ? undef : @booked ? $booked[0]{id} : undef);
		$world->{log} = [];
		my $result = $op->{do} eq 'release' && $known && !$world->{accounts}{$known}{holds}{ $op->{entry} } ? 0
		  : eval { $oracle->perform($world, $op, $now, $answer) };
		if (my $error = $@)
		{
			die $error if !ref $error;
			$result = "refused with $error->{state}";
		}
		push @faults, "one client would have got $result: " . show($asked) if defined $asked->{answer} && ($result // '') ne $asked->{answer};

		my @expected = map { entry_line($_) } @{ $world->{log} };
		my @found = map { entry_line($_) } @booked;
		my %by;
		push @{ $by{ (split / /)[0] }[0] }, $_ foreach @expected;
		push @{ $by{ (split / /)[0] }[1] }, $_ foreach @found;
		foreach my $key (sort keys %by)
		{
			my ($should, $is) = map { join '; ', @{ $_ // [] } } @{ $by{$key} }[ 0, 1 ];
			push @faults, "one client would have booked\n    $should\nand not\n    $is\n  by " . show($asked) if $should ne $is;
		}
		foreach my $key (keys %touched)
		{
			my $entries = $model->{queue}{$key};
			shift @$entries while @$entries && $entries->[0]{xid} == $step->{xid};
		}

		# What could be seen from now on, until the next ticket of the same account.
		$touched{$known} = 1 if $known;
		foreach my $key (keys %touched)
		{
			my $account = Oracle::account($world, $key);
			$record->("available $key", $ticket, available($account, $now));
			foreach my $id (grep { Oracle::rest($account->{holds}{$_}) == 0 || defined $account->{holds}{$_}{released} } keys %{ $account->{holds} })
			{
				$record->("rest $id", $ticket, Oracle::rest($account->{holds}{$id}) ? 'released' : 0);
				delete $account->{holds}{$id};
			}
		}
		my $id = $op->{do} =~ /^(redeem|hold)$/ ? $answer : $op->{entry};
		if (defined $id && ($known || $op->{do} eq 'hold'))
		{
			my $hold = $world->{accounts}{ $known || $world->{holds}{$id} }{holds}{$id};
			$record->("rest $id", $ticket, Oracle::rest($hold)) if $hold;
		}
		foreach my $redemption ($op->{do} eq 'giveback' ? $id : $op->{do} =~ /^(redeem|capture)$/ ? $answer : ())
		{
			my $left = 0;
			$left += $_->{points} - $_->{returned} foreach @{ $world->{accounts}{ $world->{redemptions}{$redemption} }{paid}{$redemption} };
			$record->("left $redemption", $ticket, $left);
		}
	}
	return @faults if @faults;
	$expire->($_) foreach sort keys %{ $model->{queue} };

	# Answers of those that wrote nothing are true of a moment between their question and their
	# answer; the last ticket drawn before the question may not have been committed by then.
	my $seen = sub {
		my ($name, $asked) = @_;
		my @moments = @{ $fact->{$name} // [ [ 0, 0 ] ] };
		my $first = 0;
		$first++ while $first < $#moments && $moments[ $first + 1 ][0] <= $asked->{low};
		$first-- if $first > 0;
		return map { $_->[1] } grep { $_->[0] <= $asked->{high} } @moments[ $first .. $#moments ];
	};
	my $first = $model->{answers};
	$model->{answers} = @{ $self->{answers} };
	foreach my $asked (grep { $_->{answered} } @{ $self->{answers} }[ $first .. $#{ $self->{answers} } ])
	{
		my ($op, $error) = @$asked{qw(op error)};
		my (@possible, $said);
		if (!$error)
		{
			next if $op->{do} ne 'balance';
			$said = $asked->{answer};
			@possible = $seen->("available $op->{currency}/$op->{member}", $asked);
		}
		elsif ($error->{state} =~ $excused || ($error->{state} eq '40001' && $asked->{level} ne 'READ COMMITTED')) { next }
		elsif ($error->{state} eq 'LY301' && defined $op->{points})
		{
			$said = abs($op->{points}) - $error->{number};
			@possible = grep { $_ < abs $op->{points} } $seen->("available $op->{currency}/$op->{member}", $asked);
		}
		elsif ($error->{state} eq 'LY303' && $op->{do} eq 'giveback')
		{
			$said = $error->{number};
			@possible = grep { $_ == 0 || defined $op->{points} && $_ < $op->{points} } $seen->("left $op->{entry}", $asked);
		}
		elsif ($error->{state} =~ /^LY3(08|10)$/ && $op->{do} eq 'capture')
		{
			$said = $error->{state} eq 'LY310' ? 'released' : $error->{number};
			@possible = grep { $_ eq 'released' || $_ == 0 || defined $op->{points} && $_ < $op->{points} } $seen->("rest $op->{entry}", $asked);
		}
		push @faults, 'was never so: ' . show($asked) . ($said // '') . ' of ' . join ' ', @possible
		  if !defined $said || !grep { $_ eq $said } @possible;
	}

	# And what all of it comes to.
	my %total;
	foreach my $key (sort keys %{ $world->{accounts} })
	{
		my ($account, $now) = ($world->{accounts}{$key}, time * 1000000);
		my %t = map { $_ => $account->{total}{$_} // 0 } qw(earn reverse redeem giveback expire);
		my $held = 0;
		$held += Oracle::rest($_) foreach values %{ $account->{holds} };
		$total{$key} = join '|', $key, available($account, $now), $held, $account->{debt}, $t{earn} + $t{reverse}, -$t{redeem} - $t{giveback}, -$t{expire};
	}
	my %there = map { (split /\|/)[0] => $_ } $ask->(q{
		SELECT program || '/' || currency || '/' || member, (available * 10000)::bigint, (held * 10000)::bigint, (debt * 10000)::bigint,
			(earned * 10000)::bigint, (redeemed * 10000)::bigint, (expired * 10000)::bigint FROM loyalty.balances});
	foreach my $key (sort keys %{ { %total, %there } })
	{
		my $nothing = "$key|0|0|0|0|0|0";
		my ($should, $is) = ($total{$key} // $nothing, $there{$key} // $nothing);
		push @faults, "balances: $should, and not $is" if $should ne $is;
	}
	my %row = map { (split /\|/)[0] => $_ } $ask->("SELECT id, member, (amount * 10000)::bigint, (refunded * 10000)::bigint, " . us('at') . ' FROM orders');
	foreach my $key (sort keys %{ { map({ s{^orders/}{}r => 1 } keys %{ $world->{rows} }), %row } })
	{
		my $row = $world->{rows}{"orders/$key"};
		my $should = $row ? join '|', $key, $row->{member} // '', @$row{qw(amount refunded at)} : 'nothing';
		push @faults, "orders: $should, and not " . ($row{$key} // 'nothing') if $should ne ($row{$key} // 'nothing');
	}
	return @faults;
}

1;
