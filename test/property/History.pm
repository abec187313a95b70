# Random histories: programs with their rules, and what several sessions do to them. The
# same seed makes the same history; what two sessions do at the same time may still come
# in either order.
package History;

use strict;
use warnings;
use List::Util qw(shuffle sum);

use constant DAY => 86400 * 1000000;

# One of a list, or of a list of weight => thing.
sub pick { return @_ ? $_[ int rand @_ ] : undef }

sub weighted
{
	my @pairs = @_;
	my $total = sum(map { $pairs[ 2 * $_ ] } 0 .. $#pairs / 2);
	my $at = rand $total;
	while (@pairs)
	{
		my ($weight, $thing) = splice @pairs, 0, 2;
		return $thing if ($at -= $weight) < 0;
	}
}

sub chance { return rand() < $_[0] }

sub between { my ($low, $high) = @_; return $low + int rand($high - $low + 1) }

# Configuration ------------------------------------------------------------

sub currency
{
	my ($program, $code) = @_;
	my $decimals = weighted(5 => 0, 2 => 2, 1 => 1, 1 => 4);
	my $validity = weighted(2 => undef, 2 => '1 year', 2 => '30 days', 2 => '6 months', 1 => '1 month', 1 => '36 hours');
	my $pending = weighted(5 => undef, 1 => '300 milliseconds', 1 => '20 hours',
		($validity // '') eq '36 hours' ? () : (2 => '14 days'));
	my $confirm = !$pending && chance(0.25);
	return {
		program => $program,
		code => $code,
		confirm => $confirm,
		activity => $validity && chance(0.3) ? pick([qw(earn)], [qw(earn redeem)], [qw(redeem transfer)], [qw(earn redeem transfer)]) : undef,
		decimals => $decimals,
		unit => 10**(4 - $decimals),
		validity => $validity,
		rounding => weighted(4 => 'day', 2 => 'month', 1 => 'quarter', 1 => 'half_year', 1 => 'year', 1 => '03-31', 1 => '12-31'),
		pending => $pending,
		debt => pick(qw(forgive negative block))
	};
}

sub rule
{
	my ($name, $currency, $unit) = @_;
	my $per = weighted(4 => 1000, 2 => 500, 2 => 100, 1 => 2500, 1 => 333, 1 => 3000);
	my $bonus = chance(0.3) ? pick(5, 25, 100) * 10000 : undef;
	return {
		name => $name,
		version => 1,
		currency => $currency,
		unit => $unit,
		kind => weighted(2 => undef, 3 => 'purchase', 1 => 'visit'),
		(defined $bonus ? (bonus => $bonus) : (per => $per)),
		rounding => weighted(3 => 'floor', 1 => 'ceil', 1 => 'half_up', 1 => 'half_even'),
		reversal => defined $bonus ? pick(qw(proportional all_or_nothing never)) : 'proportional',
		# Days from the history's start; a rule's second version follows on its first.
		start => weighted(3 => undef, 1 => between(-900, -20)),
		change => chance(0.3) ? between(-19, -2) : undef
	};
}

sub configuration
{
	my (%config) = @_;
	foreach my $n (1 .. between(2, 3))
	{
		my $program = "$config{name}_p$n";
		push @{ $config{programs} },
		  { code => $program, time_zone => pick('UTC', 'Europe/Berlin', 'America/New_York', 'Asia/Kolkata', 'Pacific/Auckland') };
		my @currencies = map { currency($program, $_) } 'points', chance(0.3) ? 'miles' : ();
		foreach my $currency (@currencies)
		{
			$config{currencies}{"$program/$currency->{code}"} = $currency;
			foreach my $r (1 .. between(1, 2))
			{
				my $rule = rule("$currency->{code}$r", "$program/$currency->{code}", $currency->{unit});
				push @{ $config{rules} }, { %$rule, program => $program };
			}
		}
		push @{ $config{sources} },
		  { table => 'orders', program => $program, kind => 'purchase', amount => 1, refunded => 1, status => 1 };
		push @{ $config{sources} }, { table => 'visits', program => $program, kind => 'visit' } if chance(0.6);
	}
	$config{members} = [ map { "m$_" } 1 .. between(3, 6) ];

	# The last one comes unheard of.
	my @known = @{ $config{members} }[ 0 .. $#{ $config{members} } - 1 ];
	foreach my $program (@{ $config{programs} })
	{
		push @{ $config{enrolled} }, map { [ $program->{code}, $_ ] } @known;
	}
	foreach my $currency (sort keys %{ $config{currencies} })
	{
		next if chance(0.3);
		my @inside = grep { chance(0.8) } @known;
		push @{ $config{pools} }, { name => "$currency/home", currency => $currency, code => "home_$config{currencies}{$currency}{code}", members => \@inside,
			first => { map { $_ => permissions($config{currencies}{$currency}) } @inside } }
		  if @inside;
	}
	return \%config;
}

# What a member of a pool may, and lends: the share in ten-thousandths.
sub permissions
{
	my ($currency) = @_;
	return { redeems => chance(0.9) ? 1 : 0, share => weighted(6 => 10000, 2 => 5000, 1 => 3333, 1 => 0),
		keep => weighted(3 => 0, 1 => $currency->{unit} * between(1, 20 * 10000 / $currency->{unit})) };
}

# Operations ---------------------------------------------------------------

sub new
{
	my ($class, $seed, $scale) = @_;
	srand $seed;
	my $self = bless { seed => $seed, next_row => 0, requests => [] }, $class;
	$self->{sessions} = between(3, 5);
	$self->{at_once} = chance(0.7);

	# Transactions of one statement can't deadlock. Two statements can, as anywhere; so can
	# the rows of two UPDATEs, and the two halves of an upsert.
	$self->{single} = chance(0.5);
	$self->{config} = configuration(name => "h$seed");
	$self->{config}{before_attach} = [ map { $self->row('orders') } 1 .. between(0, 4) ];
	$self->{rows} = [ map { $_->{id} } @{ $self->{config}{before_attach} } ];

	# Something to spend.
	push @{ $self->{phases} }, { age => 0, sessions => [ map { [] } 1 .. $self->{sessions} ] };
	foreach my $currency (sort keys %{ $self->{config}{currencies} })
	{
		foreach my $member (@{ $self->{config}{members} })
		{
			next if chance(0.3);
			my $give = { do => 'adjust', currency => $currency, member => $member,
				points => 10000 * between(1, 100), request => undef, reason => 'welcome' };
			push @{ pick(@{ $self->{phases}[0]{sessions} }) }, { isolation => 'READ COMMITTED', ops => [$give] };
		}
	}
	foreach my $phase (1 .. between(2, 4))
	{
		my @made;
		my @sessions;
		foreach (1 .. $self->{sessions})
		{
			my @mine;
			push @sessions, [ map { $self->transactions(\@mine) } 1 .. between(5, int(12 * $scale)) ];
			push @made, @mine;
		}
		push @{ $self->{phases} }, { sessions => \@sessions, age => weighted(3 => 0, 2 => 1, 1 => 10, 2 => 31, 1 => 200, 1 => 400),
			archive => weighted(5 => undef, 2 => { ago => 0 }, 1 => { ago => DAY / 2 }, 1 => { ago => 20 * DAY }, 1 => { ago => 100 * DAY }) };
		$_->{checkpoint} = chance(0.8), $_->{batch} = pick(2, 100), $_->{discard} = chance(0.6) foreach $self->{phases}[-1]{archive} // ();

		# What a session made in this phase, all may meet in the next.
		push @{ $self->{rows} }, @made;
	}
	return $self;
}

sub amount
{
	return 10000 * weighted(1 => 0, 6 => between(1, 300), 1 => between(1000, 5000)) + (chance(0.5) ? 100 * between(0, 99) : 0);
}

# When an event was: in days before the history's start, and with a time of its own so
# that no two are the same.
sub time_of_event
{
	my ($self) = @_;
	return -between(1, 200) * 1000 - ++$self->{next_moment} if chance(0.1);
	my $days = weighted(4 => 0, 4 => between(1, 60), 3 => between(60, 800), 1 => between(800, 1500));
	return -$days * DAY - between(1, 20 * 3600) * 1000000 - ++$self->{next_moment};
}

sub row
{
	my ($self, $table) = @_;
	my $amount = amount();
	my $id = substr($table, 0, 1) . ++$self->{next_row};
	my $member = chance(0.06) ? undef : pick(@{ $self->{config}{members} });
	$self->{member_of}{$id} = $member;
	return {
		id => $id,
		member => $member,
		moment => $self->time_of_event,
		status => $table eq 'visits' || chance(0.85) ? 'paid' : pick('draft', 'cancelled'),
		amount => $amount,
		refunded => 0
	};
}

sub request
{
	my ($self) = @_;
	return undef if chance(0.6);
	return 'r' . between(1, 12);
}

sub some_rows
{
	my ($self, $mine, $n) = @_;
	my @known = (@{ $self->{rows} }, @$mine);
	my %rows = map { $_ => 1 } map { @known ? pick(@known) : () } 1 .. $n;
	return [ sort keys %rows ];
}

sub change
{
	my ($self) = @_;
	my $do = weighted(
		6 => 'amount', 8 => 'refund', 7 => 'status', 5 => 'member', 3 => 'time', 3 => 'key', 3 => 'several', 1 => 'wrong');
	return { amount => amount(), refunded => 0 } if $do eq 'amount';
	return { share => weighted(1 => 0, 4 => between(1, 99), 2 => 100) } if $do eq 'refund';
	return { status => pick(qw(paid paid cancelled draft)) } if $do eq 'status';
	return { member => chance(0.1) ? undef : pick(@{ $self->{config}{members} }) } if $do eq 'member';
	return { moment => $self->time_of_event } if $do eq 'time';
	return { suffix => 'k' . ++$self->{next_row} } if $do eq 'key';
	return { refunded => 900000000 } if $do eq 'wrong';
	return {
		amount => amount(), refunded => 0,
		(chance(0.5) ? (member => pick(@{ $self->{config}{members} })) : ()),
		(chance(0.5) ? (status => pick('paid', 'cancelled')) : ()),
		(chance(0.3) ? (moment => $self->time_of_event) : ()),
		(chance(0.3) ? (suffix => 'k' . ++$self->{next_row}) : ())
	};
}

# At READ COMMITTED an UPDATE that waits for a row to vanish does not see another come
# with its key. So no row has both happen to it at once.
sub may_vanish
{
	my ($self, $id) = @_;
	return !$self->{at_once} || $id =~ /^.\d*[13579](k|$)/;
}

sub adjustment
{
	my ($self, $currency) = @_;
	my $unit = $self->{config}{currencies}{$currency}{unit};
	my $points = $unit * between(1, 80 * 10000 / $unit);
	return { do => 'adjust', currency => $currency, member => pick(@{ $self->{config}{members} }),
		points => chance(0.5) ? $points : -$points, request => $self->request, reason => 'goodwill' };
}

sub hold
{
	my ($self, $currency) = @_;
	my $unit = $self->{config}{currencies}{$currency}{unit};
	return { do => 'hold', currency => $currency, member => chance(0.03) ? 'nobody' : pick(@{ $self->{config}{members} }),
		points => weighted(50 => $unit * between(1, 60 * 10000 / $unit), 5 => 10000 * between(100, 600), 1 => 0),
		ttl => weighted(4 => '10 minutes', 3 => '20 days', 2 => '300 milliseconds', 2 => '1 year'),
		request => $self->request, reason => pick(undef, 'basket') };
}

sub operation
{
	my ($self, $mine) = @_;
	my $do = weighted(
		14 => 'insert', 8 => 'insert_many', 22 => 'update', 6 => 'delete',
		($self->{single} ? () : (4 => 'upsert', 4 => 'update_many')),
		20 => 'redeem', 12 => 'giveback', 7 => 'adjust', 2 => 'backfill',
		12 => 'hold', 14 => 'capture', 5 => 'release', 10 => 'transfer', 3 => 'extend',
		4 => 'merge', 5 => 'unmerge', 1 => 'close', 3 => 'reopen', 1 => 'erase',
		(grep({ $_->{confirm} } values %{ $self->{config}{currencies} }) ? (25 => 'confirm') : ()),
		($self->{config}{pools} ? (18 => 'pool_redeem', 2 => 'join', 1 => 'leave') : ()));
	my $config = $self->{config};
	my $table = chance(0.85) || !grep({ $_->{table} eq 'visits' } @{ $config->{sources} }) ? 'orders' : 'visits';
	my ($currency) = pick(sort keys %{ $config->{currencies} });
	my $unit = $config->{currencies}{$currency}{unit};

	if ($do =~ /^insert|upsert/)
	{
		my @rows = map { $self->row($table) } 1 .. ($do eq 'insert' ? 1 : between(2, 7));
		my $conflict = $do eq 'upsert' && $table eq 'orders' ? 'update' : '';

		# What DO NOTHING finds may be gone by the time it commits.
		$conflict = 'nothing' if $conflict && !$self->{at_once} && chance(0.5);
		if ($conflict)
		{
			my %known = map { $_ => 1 } grep { /^o/ && !$self->may_vanish($_) } @{ $self->some_rows($mine, 2) };
			my @known = sort keys %known;
			$rows[$_]{id} = $known[$_] foreach grep { $_ < @rows } 0 .. $#known;
		}
		push @$mine, map { $_->{id} } @rows;
		$rows[-1]{amount} = -10000 if chance(0.02);
		return { do => 'insert', table => $table, rows => \@rows, conflict => $conflict, columns => [qw(amount refunded status member)] };
	}
	if ($do =~ /update|delete/)
	{
		my $ids = $self->some_rows($mine, $do eq 'update_many' ? between(2, 6) : 1);
		my $of = @$ids && $ids->[0] =~ /^v/ ? 'visits' : 'orders';
		my $letter = substr $of, 0, 1;
		my $op = { do => $do eq 'delete' ? 'delete' : 'update', table => $of, ids => [ grep { /^$letter/ } @$ids ] };
		if ($do ne 'delete')
		{
			do { $op->{set} = $self->change } until $do eq 'update' || !defined($op->{set}{moment} // $op->{set}{suffix});
		}
		@{ $op->{ids} } = grep { $self->may_vanish($_) } @{ $op->{ids} } if $do eq 'delete' || $op->{set}{suffix};
		return $op;
	}
	if ($do eq 'redeem')
	{
		return { do => 'redeem', currency => $currency, member => chance(0.03) ? 'nobody' : pick(@{ $config->{members} }),
			points => weighted(30 => $unit * between(1, 3 * 10000 / $unit), 40 => $unit * between(1, 100 * 10000 / $unit),
				20 => 10000 * between(100, 600), ($self->{at_once} ? () : (30 => 'all')), 1 => 0, 1 => $unit / 2),
			request => $self->request, reason => pick(undef, 'coffee') };
	}
	if ($do eq 'adjust')
	{
		return $self->adjustment($currency);
	}
	if ($do eq 'giveback')
	{
		# Which redemption is said as a number, to be resolved among those there are by then.
		return { do => 'giveback', of => rand(), instead => $self->adjustment($currency), points => chance(0.6) ? $unit * between(1, 30 * 10000 / $unit) : undef,
			request => $self->request, reason => undef,
			grace => weighted(5 => undef, 1 => '10 days', 1 => '400 milliseconds') };
	}
	# Which award is said as a number, too.
	return { do => 'confirm', of => rand(), instead => $self->adjustment($currency) } if $do eq 'confirm';
	if ($do eq 'extend')
	{
		return { do => 'extend', currency => $currency, member => chance(0.03) ? 'nobody' : pick(@{ $config->{members} }),
			until => weighted(4 => between(1, 60), 2 => between(60, 500), 1 => -between(1, 60)),
			lot => weighted(3 => undef, 2 => between(1, 4)), request => $self->request, reason => pick(undef, 'flood') };
	}
	return $self->hold($currency) if $do eq 'hold';
	if ($do eq 'capture' || $do eq 'release')
	{
		return { do => $do, of => rand(), instead => $self->hold($currency),
			($do eq 'capture' ? (points => chance(0.5) ? $unit * between(1, 30 * 10000 / $unit) : undef,
				request => $self->request, reason => undef) : ()) };
	}
	if ($do eq 'transfer')
	{
		return { do => 'transfer', currency => $currency, member => pick(@{ $config->{members} }),
			to => chance(0.03) ? 'nobody' : pick(@{ $config->{members} }),
			points => weighted(50 => $unit * between(1, 60 * 10000 / $unit), 5 => 10000 * between(100, 600), 1 => $unit / 2,
				($self->{at_once} ? () : (10 => 'all'))),
			request => $self->request, reason => pick(undef, 'gift') };
	}
	if ($do =~ /^(merge|unmerge|close|reopen|erase)$/)
	{
		# What is undone mostly was done.
		my $done = $self->{ $do eq 'unmerge' ? 'merges' : 'closures' } //= [];
		my ($program, $member) = (pick(map { $_->{code} } @{ $config->{programs} }), chance(0.03) ? 'nobody' : pick(@{ $config->{members} }));
		($program, $member) = @{ pick(@$done) } if $do =~ /^(unmerge|reopen)$/ && @$done && chance(0.9);
		push @{ $self->{ $do eq 'merge' ? 'merges' : 'closures' } }, [ $program, $member ] if $do =~ /^(merge|close|erase)$/;
		return { do => $do, program => $program, member => $member,
			($do eq 'merge' ? (to => pick(@{ $config->{members} })) : ()),
			($do =~ /merge/ ? (request => $self->request, reason => pick(undef, 'twins')) : ()) };
	}
	if ($do =~ /^(pool_redeem|join|leave)$/)
	{
		my $pool = pick(@{ $config->{pools} });
		my $its = $config->{currencies}{ $pool->{currency} };
		my %op = (do => $do, pool => $pool->{name}, code => $pool->{code}, currency => $pool->{currency}, member => pick(@{ $pool->{members} }));
		return { %op, permissions => permissions($its) } if $do eq 'join';
		return \%op if $do eq 'leave';
		return { %op, member => weighted(1 => 'nobody', 2 => pick(@{ $config->{members} }), 30 => $op{member}),
			points => weighted(50 => $its->{unit} * between(1, 150 * 10000 / $its->{unit}), 10 => 10000 * between(100, 600), 1 => 0),
			request => $self->request, reason => pick(undef, 'trip') };
	}
	my $source = pick(@{ $config->{sources} });
	return { do => 'backfill', table => $source->{table}, program => $source->{program} };
}

# A member spends everything, then an order goes back: a debt, or points let off. Then it
# spends again, which the debt may forbid, or some of what it spent is given back. Or it
# holds everything, and what is let off is owed until the hold ends.
sub squeeze
{
	my ($self) = @_;
	my $row = pick(grep { $self->{member_of}{$_} } @{ $self->{rows} }) // return ();
	my @currencies = sort keys %{ $self->{config}{currencies} };
	my $spend = sub {
		my ($points) = @_;
		return map { { isolation => 'READ COMMITTED', ops => [ { do => 'redeem', currency => $_,
			member => $self->{member_of}{$row}, points => $points, request => undef, reason => undef } ] } } @currencies;
	};
	my $undo = { do => 'update', table => $row =~ /^v/ ? 'visits' : 'orders', ids => [$row], set => { share => 100 } };
	$undo = { %$undo, do => 'delete' } if $row =~ /^v/ || chance(0.3);
	if (chance(0.4))
	{
		my @holds = map { { isolation => 'READ COMMITTED', ops => [ { %{ $self->hold($_) }, member => $self->{member_of}{$row},
			points => 'all', ttl => weighted(3 => '10 minutes', 1 => '300 milliseconds', 2 => '20 days'), request => undef } ] } } @currencies;
		my @ends = map { { isolation => 'READ COMMITTED', ops => [ { do => pick('capture', 'release', 'release'), of => (7 + rand()) / 8, instead => $self->hold($currencies[0]),
			points => chance(0.7) ? 20000 : undef, request => undef, reason => undef } ] } } 1 .. 3;
		return @holds, { isolation => 'READ COMMITTED', ops => [$undo] }, @ends;
	}
	my @then = chance(0.5) ? $spend->(10000) : map { { isolation => 'READ COMMITTED', ops => [ { do => 'giveback', of => (7 + rand()) / 8,
		points => undef, request => undef, reason => undef, grace => weighted(3 => undef, 1 => '10 days') } ] } } 1 .. 4;
	return $spend->('all'), { isolation => 'READ COMMITTED', ops => [$undo] }, @then;
}

# A member, perhaps of several keys, is erased; then there are its orders, what it redeemed, alone
# or with others, what it was asked before, and somebody new with its key.
sub farewell
{
	my ($self, $mine) = @_;
	my $config = $self->{config};
	my $currency = pick(sort keys %{ $config->{currencies} });
	my ($unit, $program) = @{ $config->{currencies}{$currency} }{qw(unit program)};
	my ($member, $other) = shuffle @{ $config->{members} };
	my ($pool) = grep { $_->{currency} eq $currency } @{ $config->{pools} // [] };
	my %of = (currency => $currency, reason => 'to remember', request => 'farewell ' . ++$self->{next_row}, points => $unit);
	my $paid = !$pool || chance(0.5) ? { %of, do => chance(0.5) ? 'redeem' : 'transfer', member => $other, to => $member }
	  : { %of, do => 'pool_redeem', pool => $pool->{name}, code => $pool->{code}, member => $member, points => 10000 * between(1, 60) };
	$paid->{member} = $member if $paid->{do} eq 'redeem';
	my @orders = map { { %{ $self->row('orders') }, member => $member, status => 'paid' } } 1 .. 3;
	push @$mine, map { $_->{id} } @orders;
	my $insert = sub { return { do => 'insert', table => 'orders', conflict => '', rows => [@_], columns => [] } };
	my @ops = ($insert->(@orders[ 0, 1 ]), chance(0.4) ? { do => 'merge', program => $program, member => $other, to => $member, request => undef, reason => 'twins' } : (),
		$paid, { do => 'erase', program => $program, member => $member },
		shuffle(
			{ do => 'update', table => 'orders', ids => [ $orders[0]{id} ], set => { share => between(1, 100) } },
			{ do => 'update', table => 'orders', ids => [ $orders[1]{id} ], set => { member => $other } },
			map({ { do => 'giveback', of => (3 + rand()) / 4, instead => $self->adjustment($currency), points => undef, request => undef, reason => undef, grace => pick(undef, '10 days') } } 1 .. 2),
			$paid, { %$paid, reason => undef }, $insert->($orders[2]),
			($pool ? { do => 'join', pool => $pool->{name}, code => $pool->{code}, currency => $currency, member => $member, permissions => permissions($config->{currencies}{$currency}) } : ())));
	return map { { isolation => 'READ COMMITTED', ops => [ { %$_ } ] } } @ops;
}

# Two are one for a while where points end by activity, to this phase's end or beyond it: orders of either key,
# late ones of the same months, refunds, what is spent and comes back.
sub twins
{
	my ($self, $mine) = @_;
	my $config = $self->{config};
	my $currency = pick(grep { $config->{currencies}{$_}{activity} } sort keys %{ $config->{currencies} }) // return ();
	my ($unit, $program) = @{ $config->{currencies}{$currency} }{qw(unit program)};
	my ($member, $other) = shuffle @{ $config->{members} };
	my @orders = map { { %{ $self->row('orders') }, member => $_, status => 'paid' } } $member, $other, map { pick($member, $other) } 1 .. 4;
	$orders[ 2 + $_ ]{moment} = $orders[$_]{moment} - 1000 * between(1, 500) foreach 0, 1;
	push @$mine, map { $_->{id} } @orders;
	push @{ $self->{merges} }, [ $program, $member ];
	my $insert = sub { return { do => 'insert', table => 'orders', conflict => '', rows => [@_], columns => [] } };
	my %apart = (program => $program, member => $member, request => undef, reason => undef);
	my @ops = ($insert->(@orders[ 0, 1 ]), { %apart, do => 'merge', to => $other },
		shuffle(
			map({ $insert->($_) } @orders[ 2 .. 4 ]),
			{ do => 'redeem', currency => $currency, member => $other, points => $unit * between(1, 20 * 10000 / $unit), request => undef, reason => undef },
			{ do => 'update', table => 'orders', ids => [ $orders[0]{id} ], set => { share => between(1, 100) } },
			{ do => 'update', table => 'orders', ids => [ $orders[1]{id} ], set => { member => $member } },
			{ do => 'giveback', of => (7 + rand()) / 8, instead => $self->adjustment($currency), points => undef, request => undef, reason => undef, grace => undef }),
		(chance(0.5) ? { %apart, do => 'unmerge' } : ()), $insert->($orders[5]));
	return map { { isolation => 'READ COMMITTED', ops => [ { %$_ } ] } } @ops;
}

# Who is somebody else as well holds all points of both; an order of the one is refunded, and the hold ends.
sub promised
{
	my ($self, $mine) = @_;
	my $config = $self->{config};
	my $currency = pick(grep { $config->{currencies}{$_}{debt} eq 'forgive' && !$config->{currencies}{$_}{confirm} } sort keys %{ $config->{currencies} }) // return ();
	my ($member, $other) = shuffle @{ $config->{members} };
	my @orders = map { { %{ $self->row('orders') }, member => $_, status => 'paid' } } $member, $other;
	my %both = (program => $config->{currencies}{$currency}{program}, member => $member, request => undef, reason => undef);
	push @$mine, map { $_->{id} } @orders;
	push @{ $self->{merges} }, [ $both{program}, $member ];
	my $refund = sub { return { do => 'update', table => 'orders', ids => [ $orders[0]{id} ], set => { share => $_[0] } } };
	my @ops = ({ do => 'insert', table => 'orders', conflict => '', rows => \@orders, columns => [] }, { %both, do => 'merge', to => $other },
		{ %{ $self->hold($currency) }, member => $other, points => 'all', ttl => weighted(3 => '10 minutes', 1 => '300 milliseconds', 2 => '20 days'), request => undef },
		$refund->(pick(100, between(1, 100))), (chance(0.2) ? $refund->(between(0, 50)) : ()), (chance(0.2) ? { %both, do => 'unmerge' } : ()),
		map { { do => $_, of => (31 + rand()) / 32, instead => $self->hold($currency), points => chance(0.7) ? 20000 : undef, request => undef, reason => undef } }
		  pick('capture', 'release'), 'release');
	return map { { isolation => 'READ COMMITTED', ops => [ { %$_ } ] } } @ops;
}

# Mostly one.
sub transactions
{
	my ($self, $mine) = @_;
	return $self->squeeze if !$self->{at_once} && chance(0.1);
	return $self->farewell($mine) if chance(0.01);
	return $self->twins($mine) if chance(0.02);
	return $self->promised($mine) if !$self->{at_once} && chance(0.05);
	return $self->transaction($mine);
}

sub transaction
{
	my ($self, $mine) = @_;
	my @members = @{ $self->{config}{members} };
	my %transaction = (isolation => weighted(7 => 'READ COMMITTED', 2 => 'REPEATABLE READ', 1 => 'SERIALIZABLE'));

	if (chance(0.12))
	{
		my ($currency) = pick(sort keys %{ $self->{config}{currencies} });
		$transaction{ops} = [ { do => 'balance', currency => $currency, member => pick(@members, 'nobody'),
			at => [ undef, map { DAY * weighted(3 => -between(1, 60), 2 => -between(60, 1500), 2 => between(1, 60), 1 => between(60, 500)) } 1 .. 2 ] } ];
	}
	elsif (chance(0.015))
	{
		my $program = pick(map { $_->{code} } @{ $self->{config}{programs} });
		return { ops => [ { do => 'archive', program => $program, batch => pick(1, 3, 100), checkpoint => chance(0.8) } ] };
	}
	elsif (chance(0.05))
	{
		my $program = pick(undef, map { $_->{code} } @{ $self->{config}{programs} });
		return { ops => [ { do => 'expire', program => $program, ago => pick(0, 0, DAY, 40 * DAY) , batch => pick(1, 3, 1000) } ] };
	}
	else
	{
		# Locks are kept for a moment, so that sessions meet.
		$transaction{linger} = chance(0.15);
		foreach (1 .. ($self->{single} ? 1 : weighted(6 => 1, 1 => 2, 1 => 3)))
		{
			my $op = $self->operation($mine);

			# A pass over a table locks it and must not come after anything else.
			redo if $op->{do} eq 'backfill' && $transaction{ops};
			push @{ $transaction{ops} }, $op;
			last if $op->{do} eq 'backfill';
		}
		my $ops = $transaction{ops};
		$transaction{undo} = $#$ops if @$ops > 1 && chance(0.25);	# to a savepoint before the last
		$transaction{end} = 'ROLLBACK' if chance(0.05);
		$transaction{prepared} = 1 if !$transaction{end} && chance(0.03);
	}
	return \%transaction;
}

1;
