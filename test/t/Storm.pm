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
use Time::HiRes qw(time usleep);
use Time::Local qw(timegm);

use constant { DAY => 86400 * 1000000, DEAD => 1900, ALIVE => 2001 };

# Program, what it gives for a unit of money, and what becomes of points taken back that are spent. In
# the last awards wait to be confirmed, and nobody is merged.
my %programs = (club => { table => 'orders', per => 1, debt => 'negative' }, store => { table => 'orders', per => 2, debt => 'forgive' },
	hotel => { table => 'stays', per => 1, debt => 'negative', confirm => 1 });
my @shops = grep { !$programs{$_}{confirm} } sort keys %programs;


# Beside members m are those of pools, p, three of each, in the order of their accounts; j, who are
# merged and taken apart; s, who are closed and reopened; e, who are erased, one after the other. Orders
# of several members name no j: with a merge they may lock in different orders, which is documented.
use constant { POOLED => 9, JOINED => 6, CLOSED => 4, ERASED => 1000 };

my @ladder = ([ bronze => 0 ], [ silver => 2000 ], [ gold => 10000 ]);

# What clients do, and how often. Those at the end are jobs: they answer nothing, and commit by
# themselves. A kind that is added needs a line here, one in new_op() and one in sql_of(); what it
# means is the oracle's to say.
my %weight = (insert => 22, bulk => 3, refund => 10, refund_many => 3, reprice => 4, move => 4, delete => 3,
	redeem => 18, giveback => 10, hold => 9, capture => 10, release => 7, transfer => 9, adjust => 4, repeat => 4, balance => 8,
	expire => 2, review_tiers => 1, checkpoint => 1);
# What only who asks for all does.
my %also = (extend => 3, stay => 8, shorten => 3, confirm => 7, pool_redeem => 8, pool_back => 4, join => 2, leave => 1,
	merge => 3, unmerge => 3, close => 1, reopen => 3, erase => 1);
my %job = (archive => 'CALL loyalty.archive(now(), batch => 10)', expire => 'CALL loyalty.expire(batch => 10)', review_tiers => 'CALL loyalty.review_tiers(batch => 10)',
	checkpoint => 'SELECT number FROM loyalty.checkpoint()');

# clients, members, seed; all: also what is in %also, and who it is about; weight: those of %weight that are to be others.
sub new
{
	my ($class, %o) = @_;
	my $self = bless { clients => 8, members => 50, seed => 1, answers => [], count => {}, mark => {}, recent => {}, seen => 1, orders => [], orders_js => [], stays => [],
		erased => 0, next => {}, %o }, $class;
	srand $self->{seed};
	$self->deal;
	return $self;
}

# From now on so often.
sub deal
{
	my ($self, %weights) = @_;
	my %mine = (%weight, $self->{all} ? %also : (), %{ $self->{weight} // {} }, %weights);
	$self->{deck} = [ map { ($_) x $mine{$_} } sort keys %mine ];
}

sub all_members
{
	my ($self) = @_;
	return ((map { "j$_" } 1 .. JOINED), (map { "p$_" } 1 .. POOLED), (map { "s$_" } 1 .. CLOSED), (map { "m$_" } 1 .. $self->{members}), (map { "e$_" } 1 .. ERASED))
	  if $self->{all};
	return map { "m$_" } 1 .. $self->{members};
}

# A member's pool, which there is in each shop.
sub pool_of { return 'home' . int(($_[0] =~ s/^p//r + 2) / 3) }
sub pool_members { my ($n) = $_[0] =~ /(\d+)$/; return map { "p$_" } 3 * $n - 2 .. 3 * $n }

sub set_up
{
	my ($self, $node) = @_;
	my $ladder = join ', ', map { "$_->[0]:$_->[1]" } @ladder;
	$node->safe_psql('postgres', join "\n", 'CREATE EXTENSION loyalty;',
		(map {
			"SELECT loyalty.create_program('$_', ladder => '$ladder', debt => '$programs{$_}{debt}', validity => '100 years', validity_rounding => 'year', confirm => @{[ $programs{$_}{confirm} ? 'true' : 'false' ]});
			SELECT loyalty.add_rule('$_', 'base', points_per => $programs{$_}{per});"
		} sort keys %programs),
		(map { "CREATE TABLE $_ (id text PRIMARY KEY, member text, amount numeric(14,2) NOT NULL, refunded numeric(14,2) NOT NULL DEFAULT 0, at timestamptz NOT NULL);" } 'orders', 'stays'),
		(map { "SELECT loyalty.attach('$programs{$_}{table}', '$_', 'member', 'amount', 'at', refunded => 'refunded');" } sort keys %programs),
		"SELECT loyalty.enrol(p, m) FROM unnest(ARRAY['club', 'store', 'hotel']) p, unnest('{" . join(',', $self->all_members) . "}'::text[]) WITH ORDINALITY m (m, n) ORDER BY p, n;",
		($self->{all} ? map { my $program = $_; (map({ "SELECT loyalty.create_pool('$program', 'home$_');" } 1 .. POOLED / 3),
			map({ "SELECT loyalty.join_pool('$program', '" . pool_of($_) . "', '$_');" } map { "p$_" } 1 .. POOLED)) } @shops : ()),
		'SELECT number FROM loyalty.checkpoint();',
		'CREATE SEQUENCE ticket;',
		# An order statement of several members writes in a subtransaction.
		'CREATE INDEX ON loyalty.entry (recorded_at);',
		"CREATE FUNCTION own_xids() RETURNS text LANGUAGE sql AS \$\$
			SELECT string_agg(DISTINCT xmin::text, ',') FROM loyalty.entry
			WHERE recorded_at = now() AND pg_xact_status(xmin::text::xid8) = 'in progress' \$\$;",
		"CREATE TABLE done (ticket bigint PRIMARY KEY DEFAULT nextval('ticket'), client int NOT NULL, n int NOT NULL,
			xid xid8 NOT NULL DEFAULT pg_current_xact_id(), xids text DEFAULT own_xids(), now timestamptz NOT NULL DEFAULT now(),
			ids text DEFAULT current_setting('storm.ids', true));");
}

# ---------------------------------------------------------------- what clients ask

sub pick { return $_[ int rand @_ ] }
sub between { return $_[0] + int rand($_[1] - $_[0] + 1) }
sub number { return sprintf '%s%d.%04d', $_[0] < 0 ? '-' : '', abs($_[0]) / 10000, abs($_[0]) % 10000 }
sub quoted { return defined $_[0] ? "'$_[0]'" : 'NULL' }

sub spring { return timegm(0, 0, 12, 1, 4, $_[0]) * 1000000 }

# Of any of those groups; alone, most are of the first.
sub member
{
	my ($self, $groups) = @_;
	my $group = $self->{all} && rand() < 0.25 ? pick(split //, $groups // 'm') : 'm';
	return 'e' . ($self->{erased} + between(1, $self->{erased} < ERASED - 3 ? 3 : 1)) if $group eq 'e';
	return $group . between(1, { p => POOLED, j => JOINED, s => CLOSED }->{$group} // $self->{members});
}

sub new_order
{
	my ($self, $id, $groups) = @_;
	my $member = rand() < 0.02 ? undef : rand() < 0.03 ? 'new' . between(1, 500) : $self->member($groups);
	push @{ $self->{ ($member // '') =~ /^[js]/ ? 'orders_js' : 'orders' } }, $id;
	return { id => $id, member => $member,
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
	my $program = $self->{all} && rand() < 0.1 ? 'hotel' : pick(@shops);
	my %op = (do => $do, table => 'orders', program => $program, currency => "$program/points", member => $self->member('mpjse'), reason => undef,
		rand() < 0.3 ? (request => "r$client-$n") : ());
	my $id = "c$client-$n";

	return { do => $do, job => $job{$do} } if $job{$do};
	return { %op, do => 'insert', conflict => '', rows => [ $self->new_order($id, 'mpjs') ] } if $do eq 'insert';
	return { %op, do => 'insert', conflict => '', rows => [ map { $self->new_order("$id-$_", 'mps') } 1 .. 20 ] } if $do eq 'bulk';
	if ($do =~ /^(refund|refund_many|reprice|move|delete)$/)
	{
		return { %op, do => 'insert', conflict => '', rows => [ $self->new_order($id) ] } if !@{ $self->{orders} };
		# Of whom may be closed when it moves, an order has earned nothing.
		my $orders = $do !~ /^(refund_many|move)$/ && @{ $self->{orders_js} } && rand() < 0.06 ? $self->{orders_js} : $self->{orders};
		my @ids = map { pick(@$orders) } 1 .. ($do eq 'refund_many' ? 15 : 1);
		my %seen;
		@ids = sort grep { !$seen{$_}++ } @ids;
		my $set = $do eq 'reprice' ? { amount => between(0, 10000) * 100, refunded => 0 } : $do eq 'move' ? { member => $self->member('mp') } : { share => between(0, 100) };
		return { %op, do => $do eq 'delete' ? 'delete' : 'update', ids => \@ids, set => $set };
	}
	if ($do =~ /^(giveback|capture|release)$/)
	{
		my $entry = $self->recent($do eq 'giveback' ? 'redeem' : 'hold');
		return { %op, entry => $entry, points => rand() < 0.5 ? between(1, 20) * 10000 : undef } if defined $entry;
		return { %op, do => 'redeem', points => 10000 };
	}
	if ($do eq 'stay')
	{
		my $row = { id => $id, member => $self->member, amount => between(100, 10000) * 100, refunded => 0, at => spring(between(ALIVE, ALIVE + 19)) };
		push @{ $self->{stays} }, [ $id, $row->{member} ];
		return { %op, do => 'insert', table => 'stays', conflict => '', rows => [$row] };
	}
	if ($do =~ /^(shorten|confirm)$/ && @{ $self->{stays} })
	{
		my ($stay, $member) = @{ $self->{stays}[ -1 - int rand(@{ $self->{stays} } < 40 ? @{ $self->{stays} } : 40) ] };
		return { %op, program => 'hotel', currency => 'hotel/points', member => $member, stay => $stay } if $do eq 'confirm';
		return { %op, do => 'update', table => 'stays', ids => [$stay], set => { share => between(0, 100) } };
	}
	my $shop = pick(@shops);
	my %in_shop = (%op, program => $shop, currency => "$shop/points");
	if ($do =~ /^(pool_redeem|join|leave)$/)
	{
		my $member = 'p' . between(1, POOLED);
		return { %in_shop, member => $member, pool => pool_of($member), points => between(1, 300) * 10000,
			permissions => { redeems => rand() < 0.9 ? 1 : 0, share => pick(10000, 10000, 5000, 0), keep => pick(0, 500000) } };
	}
	if ($do eq 'pool_back')
	{
		my $entry = $self->recent('pool_redeem');
		return { %in_shop, do => 'giveback', entry => $entry, points => rand() < 0.5 ? between(1, 20) * 10000 : undef } if defined $entry;
		return { %op, do => 'redeem', points => 10000 };
	}
	if ($do =~ /^(merge|unmerge)$/)
	{
		my $one = between(1, JOINED);
		my $other = first { $_ != $one } map { between(1, JOINED) } 1 .. 99;
		return { %in_shop, member => "j$one", to => "j$other" };
	}
	return { %in_shop, member => 's' . between(1, CLOSED) } if $do =~ /^(close|reopen)$/;
	return { %in_shop, member => 'e' . ($self->{erased} + between(1, 2)) } if $do eq 'erase' && $self->{erased} < ERASED - 3;
	return { %op, member => $self->member('mpjs'), until => between(2110, 2150) . '-01-01' } if $do eq 'extend';
	return { %{ $self->recent('request') } } if $do eq 'repeat' && $self->{recent}{request};
	$op{points} = between(1, 300) * 10000;
	$op{do} = 'redeem' if $do =~ /^(repeat|shorten|confirm|erase)$/;
	if ($do eq 'hold') { @op{qw(ttl member)} = ('1 day', $self->member('mp')) }
	elsif ($do eq 'transfer')
	{
		$op{member} = $self->member('mpse');
		$op{to} = first { $_ ne $op{member} } map { $self->member('mpse') } 1 .. 99;
	}
	elsif ($do eq 'adjust')
	{
		# Who is erased has no reasons any more: the entry would be another transaction's.
		$op{member} = $self->member('mpjs');
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
		return "INSERT INTO $op->{table} (id, member, amount, refunded, at) VALUES " . join(', ', map {
			sprintf "(%s, %s, %s, %s, to_timestamp(%d))", quoted($_->{id}), quoted($_->{member}), number($_->{amount}), number($_->{refunded}), $_->{at} / 1000000
		} @{ $op->{rows} }) . " RETURNING 'R|' || id";
	}
	if ($do =~ /^(update|delete)$/)
	{
		# Rows are locked in one order, as those who write several at once have to with any table. An order
		# that another client has but now written may not be seen yet: those that were are noted.
		my $returning = "RETURNING 'R|' || o.id || left(set_config('storm.ids', concat_ws(',', nullif(current_setting('storm.ids', true), ''), o.id), true), 0)";
		my $picked = 'WITH picked AS (SELECT id FROM ' . $op->{table} . ' WHERE id IN (' . join(', ', map { quoted($_) } @{ $op->{ids} }) . ') ORDER BY id FOR UPDATE)';
		return "$picked DELETE FROM $op->{table} o USING picked WHERE o.id = picked.id $returning" if $do eq 'delete';
		my $set = $op->{set};
		return "$picked UPDATE $op->{table} o SET " . join(', ', map {
			$_ eq 'share' ? "refunded = floor(amount * $set->{share}) / 100" : "$_ = " . ($_ eq 'member' ? quoted($set->{$_}) : number($set->{$_}))
		} sort keys %$set) . " FROM picked WHERE o.id = picked.id $returning";
	}
	my ($program, $currency) = split m{/}, $op->{currency};
	my $points = 'points => ' . (defined $op->{points} ? quoted(number($op->{points})) : 'NULL');
	my $rest = 'request_id => ' . quoted($op->{request}) . ', reason => ' . quoted($op->{reason});
	if ($do eq 'confirm')
	{
		return "SELECT 'R|' || loyalty.confirm(e.id) FROM (SELECT e.account_id * 100000000 + e.entry_no AS id FROM loyalty.entry e JOIN loyalty.account a USING (account_id)"
		  . " JOIN loyalty.currency c USING (currency_id) JOIN loyalty.program p USING (program_id)"
		  . " WHERE p.code = 'hotel' AND a.member_key = '$op->{member}' AND e.event = '$op->{stay}' AND e.kind = 'earn' ORDER BY e.entry_no LIMIT 1) e";
	}
	return "SELECT 'R|' || loyalty.redeem_pool('$program', '$op->{pool}', '$op->{member}', $points, $rest)" if $do eq 'pool_redeem';
	if ($do eq 'join')
	{
		my $may = $op->{permissions};
		return "SELECT 'R|' || left(loyalty.join_pool('$program', '$op->{pool}', '$op->{member}', " . ($may->{redeems} ? 'true' : 'false')
		  . ", $may->{share} / 10000.0, '@{[number($may->{keep})]}')::text, 0)";
	}
	return "SELECT 'R|' || left(loyalty.leave_pool('$program', '$op->{pool}', '$op->{member}')::text, 0)" if $do eq 'leave';
	return "SELECT 'R|' || loyalty.merge_members('$program', '$op->{member}', '$op->{to}', $rest)" if $do eq 'merge';
	return "SELECT 'R|' || loyalty.unmerge_member('$program', '$op->{member}', $rest)" if $do eq 'unmerge';
	return "SELECT 'R|' || left(loyalty.close_member('$program', '$op->{member}', forfeit => true)::text, 0)" if $do eq 'close';
	return "SELECT 'R|' || left(loyalty.reopen_member('$program', '$op->{member}')::text, 0)" if $do eq 'reopen';
	return "SELECT 'R|' || set_config('storm.ids', loyalty.erase_member('$program', '$op->{member}')::text, true)" if $do eq 'erase';
	return "SELECT 'R|' || loyalty.extend('$program', '$op->{member}', date '$op->{until}', $rest)" if $do eq 'extend';
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
		elsif (/^E\|(\d+)$/)
		{
			$asked->{high} = $c->{high} = $1;
			$self->{seen} = $1 if $1 > $self->{seen};
		}
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
	push @{ $self->{recent}{$of} }, @answer if $of =~ /^(redeem|hold|pool_redeem)$/;
	push @{ $self->{recent}{request} }, $op if defined $op->{request} && (defined $op->{points} || $op->{do} =~ /^(extend|merge|unmerge)$/);
	$self->{erased}++ if $op->{do} eq 'erase';
	return 1;
}

# Opens the sessions; options says for a client's number with which settings.
sub connect
{
	my ($self, $node, $options) = @_;

	# A server that went down may hand out tickets again that were seen, and never got to its log.
	$node->safe_psql('postgres', "SELECT setval('ticket', greatest(last_value, $self->{seen})) FROM ticket") if $self->{lives}++;
	$self->{sessions} = [ map {
		my $session = Session->new($node->connstr('postgres'), $options ? $options->($_) : '');
		my ($high, $pid);
		until (defined $pid)
		{
			($high, $pid) = eval { $session->ask('SELECT last_value FROM ticket;', 'SELECT pg_backend_pid();') };
			# The client's own timeout may be short for a busy machine.
			die $@ if !defined $pid && $@ !~ /57014/;
		}
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
		return !grep { ($count->{$_} // 0) < $often } qw(insert update delete redeem giveback hold capture release transfer adjust balance),
		  $self->{all} ? qw(extend confirm pool_redeem join leave merge unmerge close reopen erase) : (), grep { $_ ne 'archive' } keys %job;
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

# Whether a server that recovers takes clients again. One that is refused may be gone before it is
# told its query, which poll_query_until() dies of.
sub came_back
{
	my ($node) = @_;
	for (1 .. 1800)
	{
		return 1 if system('pg_isready', '-q', '-h', $node->host, '-p', $node->port) == 0;
		usleep(100_000);
	}
	return 0;
}

# The errors that came up beside refusals, 40001, and what is excused.
sub unexpected
{
	my ($self, $excused) = @_;
	return join ' ', grep { !/^LY(002|3(01|03|08|10|2[124]|4[0156]|6[12]))$/ && $_ ne '40001' && $_ !~ $excused } grep { /^[0-9A-Z]{5}$/ } sort keys %{ $self->counts };
}

# Asserts that so far nothing went wrong but what may: errors beside refusals match excused.
sub holds
{
	my ($self, $node, $excused, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my $count = $self->counts;
	note "$name: ", join ', ', map { "$_ $count->{$_}" } sort keys %$count;
	is($self->unexpected($excused), '',
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

sub end_of_day
{
	my ($year, $month, $day) = split /-/, $_[0];
	return timegm(0, 0, 0, $day, $month - 1, $year) * 1000000 + DAY;
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

sub new_model
{
	my ($self) = @_;
	my $world = Oracle::empty_world();
	my %fact;
	foreach my $program (keys %programs)
	{
		$world->{members}{"$program/$_"} = 1 foreach $self->all_members;
	}
	foreach my $program ($self->{all} ? @shops : ())
	{
		foreach my $member (map { "p$_" } 1 .. POOLED)
		{
			my $pool = "$program/" . pool_of($member);
			$world->{pools}{$pool}{$member} = { redeems => 1, share => 10000, keep => 0 };
			$fact{"inside $pool $member"} = [ [ 0, 'redeems' ] ];
		}
	}
	return { world => $world, fact => \%fact, key => {}, queue => {}, has_ticket => {}, ticket => 0, entries => 0, answers => 0,
		oracle => Oracle->new({
			currencies => { map { ("$_/points" => { program => $_, code => 'points', confirm => $programs{$_}{confirm}, unit => 10000, debt => $programs{$_}{debt} }) } keys %programs },
			rules => [ map { { program => $_, currency => "$_/points", from => Oracle::ALWAYS, to => Oracle::NEVER, per => 1000 * $programs{$_}{per},
					rounding => 'floor', unit => 10000, reversal => 'proportional' } } sort keys %programs ],
			sources => [ map { { table => $programs{$_}{table}, program => $_, name => "$programs{$_}{table}/$_", kind => 'purchase', amount => 1, refunded => 1 } } sort keys %programs ] }) };
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
	my (@new, %last, %member_of);
	foreach ($ask->('SELECT a.account_id, a.entries, a.member_id, p.code || \'/\' || c.code, m.member FROM loyalty.account a
		JOIN loyalty.currency c USING (currency_id) JOIN loyalty.program p USING (program_id) JOIN loyalty.member m USING (member_id)'))
	{
		my ($id, $entries, $member_id, $currency, $member) = split /\|/;
		$last{$id} = $entries;
		push @{ $member_of{$member_id} }, [ $id, $currency ];
		$model->{key}{$id} //= "$currency/$member" if $member !~ /^erased:/;
	}
	foreach ($ask->(<<SQL))
SELECT concat_ws('|', e.account_id, e.account_id * 100000000 + e.entry_no, e.xmin::text,
	@{[us('e.recorded_at')]}, e.kind, (e.points::numeric * 10000)::bigint, coalesce((e.forgiven::numeric * 10000)::bigint, 0),
	(SELECT string_agg(f.lot || ':' || f.points, ' ' ORDER BY f.lot COLLATE "C") FROM (
		SELECT CASE f.lot_no WHEN 0 THEN 'debt' ELSE f.lot_no::text END AS lot,
			sum(f.points::numeric * 10000)::bigint AS points
		FROM loyalty._effect f
		WHERE f.account_id = e.account_id AND f.entry_no = e.entry_no GROUP BY 1 HAVING sum(f.points::numeric) <> 0) f))
FROM loyalty.entry e
LEFT JOIN unnest(ARRAY[@{[join ', ', 0, keys %{ $model->{last} }]}]::bigint[], ARRAY[@{[join ', ', 0, values %{ $model->{last} }]}]) old (account_id, entry_no) USING (account_id)
-- These move no points: what they say is held against lots, holds and clocks by verify().
WHERE e.entry_no > coalesce(old.entry_no, 0) AND e.kind NOT IN ('waive', 'clock')
ORDER BY e.account_id, e.entry_no
SQL
	{
		my %entry;
		@entry{qw(account_id id xid now kind points forgiven effects)} = split /\|/;
		$entry{effects} //= '';
		push @{ $model->{queue}{ $entry{account_id} } }, \%entry;
		push @new, \%entry;
	}

	$model->{last} = \%last;

	# Who was answered has a ticket, and who has one was answered, or was on the way.
	my %asked = map { ("$_->{client} $_->{n}" => $_) } @{ $self->{answers} };
	my (@order, %top);
	foreach ($ask->("SELECT ticket, client, n, xid::text::numeric % 4294967296, xids, @{[us('now')]}, ids FROM done WHERE ticket > $model->{ticket} ORDER BY ticket"))
	{
		my ($ticket, $client, $n, $xid, $xids, $now, $ids) = split /\|/;
		my $asked = $asked{"$client $n"};
		$top{$_} = $xid foreach split /,/, $xids;
		push @faults, "ticket $ticket is nobody's" if !$asked;
		next if !$asked;
		push @faults, 'there although it failed: ' . show($asked) if $asked->{error};
		$model->{has_ticket}{"$client $n"} = 1;
		$model->{ticket} = $ticket;

		# Who was erased has no name in the ledger that was asked for.
		foreach ($asked->{op}{do} eq 'erase' ? @{ $member_of{$ids} } : ())
		{
			my ($account_id, $currency) = @$_;
			$model->{key}{$account_id} //= "$currency/$asked->{op}{member}";
		}
		push @order, { ticket => $ticket, xid => $xid, now => $now, asked => $asked, ids => [ split /,/, $ids // '' ] };
	}
	my %of_xid;
	foreach (@new)
	{
		$_->{xid} = $top{ $_->{xid} } // $_->{xid};
		push @{ $of_xid{ $_->{xid} } }, $_;
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
	my %by_ticket = map { $_->{xid} => 1 } @order;
	my $key_of = $model->{key};
	$oracle->{ids}{ $key_of->{$_} } = $_ foreach keys %$key_of;
	my $expire = sub {
		my ($account_id, $stop) = @_;
		my $entries = $model->{queue}{$account_id} // return;
		my $key = $key_of->{$account_id};
		while (@$entries && !$stop->($entries->[0]))
		{
			my $entry = shift @$entries;
			my ($lot) = $entry->{effects} =~ /^(.*):/;
			$entry->{account} = $key;
			push @faults, 'nobody asked for: ' . entry_line($entry) . " (entry $entry->{id})"
			  if $entry->{kind} ne 'expire' || !Oracle::expire($world, $key, $entry->{now}, { lot => $lot // '', points => $entry->{points} });
		}
	};
	my $record = sub {
		my ($name, $ticket, $value) = @_;
		push @{ $fact->{$name} //= $name =~ /^(available|state|pool|ends)/ ? [ [ 0, 0 ] ] : [] }, [ $ticket, $value ];
	};

	foreach my $step (@order)
	{
		last if @faults > ($o{faults} // 20);
		my ($asked, $ticket, $now) = @$step{qw(asked ticket now)};
		my $op = { %{ $asked->{op} }, $asked->{op}{ids} ? (ids => $step->{ids}) : (), $asked->{op}{pool} ? (pool => "$asked->{op}{program}/$asked->{op}{pool}") : () };
		my @booked = @{ $of_xid{ $step->{xid} } // [] };
		my %accounts = map { $_->{account_id} => 1 } @booked;
		$expire->($_, sub { $_[0]{xid} == $step->{xid} }) foreach sort keys %accounts;

		# Who finds nothing left books nothing: what the job had booked came before.
		$expire->($oracle->{ids}{"$op->{currency}/$op->{member}"} // 0, sub { $_[0]{kind} ne 'expire' || $by_ticket{ $_[0]{xid} } })
		  if $op->{do} =~ /^(close|erase)$/ && !@booked;
		$_->{account} = $key_of->{ $_->{account_id} } foreach @booked;
		my %touched = map { $_->{account} => 1 } @booked;
		foreach my $at (map({ $_->{at} // () } @{ $op->{rows} // [] }), $op->{do} eq 'adjust' ? $now : ())
		{
			$oracle->{dates}{"$_/points $at"} //= { %{ dates($at) }, $programs{$_}{confirm} ? (from => Oracle::NEVER) : () } foreach keys %programs;
		}
		$oracle->{dates}{"until $op->{currency} $op->{until}"} = { to => end_of_day($op->{until}) } if $op->{do} eq 'extend';
		$oracle->{dates}{"grace $op->{currency} 1 day $now"} = { to => $now + DAY } if $op->{do} eq 'hold';

		my $known = $world->{holds}{ $op->{entry} // '' };
		my $answer = $asked->{answer} // ($op->{do} =~ /^(insert|update|delete)$/ ? undef
			: $op->{do} eq 'release' ? undef : @booked ? $booked[ $op->{do} eq 'confirm' ? -1 : 0 ]{id} : undef);
		$world->{log} = [];
		@$op{qw(account lot)} = ("$op->{currency}/$op->{member}", $model->{waits}{ $op->{stay} }) if $op->{do} eq 'confirm';
		$@ = ''; # an earlier eval's, if there is none below
		my $result = $op->{do} eq 'confirm' && !@booked && ($asked->{answer} // '') eq '' ? ''
		  : $op->{do} eq 'release' && $known && !$world->{accounts}{$known}{holds}{ $op->{entry} } ? 0
		  : eval { $oracle->perform($world, $op, $now, $answer) };
		if (my $error = $@)
		{
			die $error if !ref $error;
			$result = "refused with $error->{state}";
		}
		push @faults, "one client would have got $result: " . show($asked) if defined $asked->{answer} && ($result // '') ne $asked->{answer};

		# A merge has a pair of entries though there be nothing to pass on.
		my @expected = grep { !/ merge 0 0$/ } map { entry_line($_) } @{ $world->{log} };
		my @found = grep { !/ merge 0 0$/ } map { entry_line($_) } @booked;
		my %by;
		push @{ $by{ (split / /)[0] }[0] }, $_ foreach @expected;
		push @{ $by{ (split / /)[0] }[1] }, $_ foreach @found;
		foreach my $key (sort keys %by)
		{
			my ($should, $is) = map { join '; ', @{ $_ // [] } } @{ $by{$key} }[ 0, 1 ];
			push @faults, "one client would have booked\n    $should\nand not\n    $is\n  by " . show($asked) if $should ne $is;
		}
		foreach my $account_id (keys %accounts)
		{
			my $entries = $model->{queue}{$account_id};
			shift @$entries while @$entries && $entries->[0]{xid} == $step->{xid};
		}

		# Stays of which an award waits, by its lot.
		foreach my $row ($op->{table} && $op->{table} eq 'stays' && $op->{do} eq 'insert' ? @{ $op->{rows} } : ())
		{
			my $awards = defined $row->{member} ? $world->{accounts}{"hotel/points/$row->{member}"}{awards}{"stays/hotel/$row->{id}"} : undef;
			$model->{waits}{ $row->{id} } = $awards->[0]{own} if $awards;
			push @{ $model->{stays_of}{"hotel/points/$row->{member}"} }, $row->{id} if $awards;
		}

		# What could be seen from now on, until the next ticket of the same account.
		$touched{$known} = 1 if $known;
		if ($op->{do} =~ /^(merge|unmerge|close|reopen|erase)$/)
		{
			my $who = "$op->{program}/$op->{member}";
			$record->("state $who", $ticket, $op->{do} eq 'erase' ? 'erased' : defined $world->{merged}{$who} ? 'merged' : $world->{closed}{$who} ? 'closed' : 0);
		}
		my %pools = $op->{do} =~ /^(join|leave)$/ ? ($op->{pool} => $op->{currency}) : ();
		foreach my $key (grep { m{/p\d+$} } keys %touched)
		{
			my ($program, $currency, $member) = split m{/}, $key;
			$pools{ "$program/" . pool_of($member) } = "$program/$currency" if !$programs{$program}{confirm};
		}
		foreach my $pool (keys %pools)
		{
			foreach my $member (pool_members($pool))
			{
				my $may = $world->{pools}{$pool}{$member};
				$record->("inside $pool $member", $ticket, !$may ? 0 : $may->{redeems} ? 'redeems' : 'lends');
				$record->("pool $pool $member", $ticket, $may ? $oracle->pool_balance($world, $pool, $pools{$pool}, $member, $now) : 0);
			}
		}
		foreach my $key (keys %touched)
		{
			my $account = Oracle::account($world, $key);
			$record->("available $key", $ticket, available($account, $now));
			if ($self->{all})
			{
				my ($end) = sort { $a <=> $b } map { $_->{to} } grep { $_->{remaining} && $_->{to} > $now } @{ $account->{lots} };
				$record->("ends $key", $ticket, $end // Oracle::NEVER);
				foreach my $stay (@{ $model->{stays_of}{$key} // [] })
				{
					my $no = $model->{waits}{$stay};
					my $waits = $no ? $account->{lots}[ $no - 1 ]{remaining} : 'nothing';
					my $before = $fact->{"waits $stay"};
					$record->("waits $stay", $ticket, $waits) if !$before || $before->[-1][1] ne $waits;
				}
			}
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
		# One that was repeated, and whose answer got lost, booked nothing: what it would have been told is known.
		foreach my $redemption ($op->{do} eq 'giveback' ? $id : $op->{do} =~ /^(redeem|capture|pool_redeem)$/ ? $answer // $result : ())
		{
			my $left = 0;
			my $pooled = $world->{pooled}{$redemption};
			$left += $_->{points} - $_->{returned} foreach @{ $pooled ? $pooled->{paid} : $world->{accounts}{ $world->{redemptions}{$redemption} }{paid}{$redemption} };
			$record->("left $redemption", $ticket, $left);
		}
	}
	return @faults if @faults;
	$expire->($_, sub { 0 }) foreach sort keys %{ $model->{queue} };

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
			@possible = grep { $_ < abs $op->{points} } $seen->($op->{do} eq 'pool_redeem' ? "pool $op->{program}/$op->{pool} $op->{member}" : "available $op->{currency}/$op->{member}", $asked);
		}
		elsif (my ($so) = grep { $error->{state} eq $_->[0] } [ LY002 => 'erased' ], [ LY340 => 'merged' ], [ LY341 => 'closed|erased' ], [ LY345 => '0|closed' ], [ LY346 => '0|merged' ])
		{
			$said = 1;
			@possible = map { /^(?:$so->[1])$/ ? 1 : 0 } map { $seen->("state $op->{program}/$_", $asked) } grep { defined } @$op{qw(member to)};
		}
		elsif (my ($not) = grep { $error->{state} eq $_->[0] } [ LY361 => '0' ], [ LY362 => 'lends' ])
		{
			$said = $not->[1];
			@possible = $seen->("inside $op->{program}/$op->{pool} $op->{member}", $asked);
		}
		elsif ($error->{state} eq 'LY324')
		{
			my $end = end_of_day($op->{until});
			$said = 1;
			@possible = map { $_ >= $end || $_ == 0 ? 1 : 0 } $seen->("ends $op->{currency}/$op->{member}", $asked);
		}
		elsif ($error->{state} =~ /^LY32[12]$/)
		{
			$said = $error->{state} eq 'LY322' ? 0 : 'nothing';
			@possible = $seen->("waits $op->{stay}", $asked);
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
		my %t = map { $_ => $account->{total}{$_} // 0 } qw(earn reverse redeem giveback expire forfeit);
		my $held = 0;
		$held += Oracle::rest($_) foreach values %{ $account->{holds} };
		$total{$key} = join '|', $key, available($account, $now), $held, $account->{debt}, $t{earn} + $t{reverse}, -$t{redeem} - $t{giveback}, -$t{expire} - $t{forfeit};
	}
	my %there;
	foreach ($ask->(q{
		SELECT a.account_id, (b.available * 10000)::bigint, (b.held * 10000)::bigint, (b.debt * 10000)::bigint,
			(b.earned * 10000)::bigint, (b.redeemed * 10000)::bigint, (b.expired * 10000)::bigint
		FROM loyalty.balances b JOIN loyalty.program p ON p.code = b.program JOIN loyalty.currency c ON c.program_id = p.program_id AND c.code = b.currency
		JOIN loyalty.account a ON a.currency_id = c.currency_id AND a.member_key = b.member}))
	{
		my ($id, $rest) = /^(\d+)\|(.*)$/;
		$there{ $key_of->{$id} } = "$key_of->{$id}|$rest";
	}
	foreach my $key (sort keys %{ { %total, %there } })
	{
		my $nothing = "$key|0|0|0|0|0|0";
		my ($should, $is) = ($total{$key} // $nothing, $there{$key} // $nothing);
		push @faults, "balances: $should, and not $is" if $should ne $is;
	}
	my %row = map { (split /\|/)[0] => $_ } map { $ask->("SELECT '$_/' || id, member, (amount * 10000)::bigint, (refunded * 10000)::bigint, " . us('at') . " FROM $_") } 'orders', 'stays';
	foreach my $key (sort keys %{ { map({ ($_ => 1) } keys %{ $world->{rows} }), %row } })
	{
		my $row = $world->{rows}{$key};
		my $should = $row ? join '|', $key, $row->{member} // '', @$row{qw(amount refunded at)} : 'nothing';
		push @faults, "orders: $should, and not " . ($row{$key} // 'nothing') if $should ne ($row{$key} // 'nothing');
	}
	return @faults;
}

1;
