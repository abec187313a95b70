# What the ledger must say, reckoned from first principles: slow, obvious, and without a
# line of the engine.
#
# A world is the state of all accounts, order rows and request ids between two
# transactions. Worlds are never changed: a transaction works on a branch, which copies
# an account when it first touches it. So every earlier state stays there to be asked.
#
# Points are integers of a ten-thousandth, times integers of a microsecond since 1970.
package Oracle;

use strict;
use warnings;
use integer;
use Storable qw(dclone);

use constant NEVER => 9000000000000000000;
use constant ALWAYS => -NEVER();

my $statements = 0;		# so far, over all worlds
my $oracle;				# of the history at hand

sub new
{
	my ($class, $config) = @_;
	return $oracle = bless { config => $config, dates => {} }, $class;
}

# ---------------------------------------------------------------- worlds

sub empty_world
{
	return { accounts => {}, rows => {}, requests => {}, members => {}, redemptions => {}, holds => {}, merged => {}, closed => {}, erased => {}, pools => {}, pooled => {}, gone => {}, mine => {}, log => [] };
}

sub branch
{
	my ($world) = @_;
	my %branch = map { $_ => { %{ $world->{$_} } } } qw(accounts rows requests members redemptions holds merged closed erased pools pooled gone);
	return { %branch, mine => {}, log => [] };
}

# An account of "program/currency/member", to be changed.
sub account
{
	my ($world, $key) = @_;
	$world->{touched}{$key} = 1;
	if (!$world->{mine}{$key}++)
	{
		my $before = $world->{accounts}{$key};
		$world->{accounts}{$key} = $before ? dclone($before)
		  : { lots => [], debt => 0, now => ALWAYS, clock => ALWAYS, confirmed => {}, awards => {}, effects => [], paid => {}, holds => {}, total => {} };
	}
	return $world->{accounts}{$key};
}

# The same at a transaction's time; an account's clock never goes back.
sub visit
{
	my ($world, $key, $now) = @_;
	my $account = account($world, $key);
	return $account if $now <= $account->{now};
	$account->{now} = $now;
	$_->{on_clock} = 0 foreach grep { $_->{to} <= $now } @{ $account->{lots} };

	# What is owed of a hold that is over goes back as of its end, unless it died before.
	foreach my $hold (in_order_of_ending(grep { !defined $_->{released} && $_->{to} <= $now } values %{ $account->{holds} }))
	{
		foreach my $part (grep { $_->{owed} } parts_of($account, $hold))
		{
			my $owed = $part->{owed};
			my $lot = lot($account, $part->{lot});
			$part->{owed} = 0;
			$oracle->make_up_held($world, $key, $account, $hold->{to}, $lot, $owed) if $lot->{to} > $hold->{to};
		}
	}
	return $account;
}

# All times of a world moved into the past.
sub aged
{
	my ($world, $span) = @_;
	my $branch = branch($world);
	my $move = sub { abs($_[0]) == NEVER ? $_[0] : $_[0] - $span };
	foreach my $key (keys %{ $branch->{accounts} })
	{
		my $account = account($branch, $key);
		$account->{$_} = $move->($account->{$_}) foreach qw(now clock);
		$_->[0] = $move->($_->[0]) foreach @{ $account->{effects} };
		foreach my $hold (values %{ $account->{holds} })
		{
			$hold->{$_} = $move->($hold->{$_}) foreach grep { defined $hold->{$_} } qw(from to released);
			$_->[0] = $move->($_->[0]) foreach @{ $hold->{taken} };
		}
		foreach my $lot (@{ $account->{lots} })
		{
			$lot->{$_} = $move->($lot->{$_}) foreach qw(from to earned);
			$lot->{issued} -= $span / 86400000000;
		}
	}
	foreach my $row (values %{ $branch->{rows} })
	{
		$row = { %$row, at => $move->($row->{at}) };
	}
	foreach my $gone (values %{ $branch->{gone} })
	{
		$gone = { %$gone, before => $move->($gone->{before}) };
	}
	return $branch;
}

# ---------------------------------------------------------------- who is who

# What each look of an operation for its members overlooks: who was erased meanwhile, how often. Who
# found an account before its member was erased, and waited for that, finds it closed.
our @looks;

# A key that is enrolled anew after its member was erased is somebody else: the first of a key
# goes by it, the next by key~1. Everything but the operations themselves calls members so.
sub who
{
	my ($world, $program, $key) = @_;
	return $key if !defined $key;
	my $overlooked = @looks ? $looks[0]{erased}{"$program/$key"} : undef;
	my $before = ($world->{erased}{"$program/$key"} // 0) - ($overlooked // 0);
	return $before > 0 ? "$key~$before" : $key;
}

sub was_erased
{
	my ($world, $program, $name) = @_;
	my ($key, $before) = split /~/, $name;
	return ($world->{erased}{"$program/$key"} // 0) > ($before // 0);
}

# An operation with its members called so.
sub known_as
{
	my ($world, $op) = @_;
	my $program = $op->{program} // ($op->{currency} // '') =~ s{/.*}{}r;
	return { %$op, map { $_ => who($world, $program, $op->{$_}) } grep { defined $op->{$_} } qw(member to) };
}

# ---------------------------------------------------------------- refusals

# A refusal is thrown as the SQLSTATE, with the number that the detail must name.
sub refuse
{
	my ($state, $number) = @_;
	die { state => $state, number => $number };
}

# ---------------------------------------------------------------- what was discarded with the archive

# Whether the ledger refused the operation at hand for that.
our $told_gone;

# Of an account its entries up to the last, all from before a moment, are nowhere. From then on an
# operation does what it would do with them, or is refused. What was over by then is forgotten: a row of
# which nothing stood is rated anew. Of an award whose credit is gone it is not known which lot took it.
sub discard
{
	my ($self, $world, $key, $last, $before, @entries) = @_;
	my $account = account($world, $key);
	my $earlier = ($world->{gone}{$key} // { last => 0 })->{last};
	$world->{gone}{$key} = { last => $last, before => $before };
	@entries = grep { $_->{no} > $earlier } @entries;
	foreach my $entry (grep { $_->{pooled} ne '' && $_->{kind} eq 'redeem' && $_->{no} <= $last } @entries)
	{
		my $redemption = $world->{pooled}{ $entry->{pooled} };
		$world->{pooled}{ $entry->{pooled} } = { %$redemption, gone => { %{ $redemption->{gone} // {} }, name_in($key) => 1 } };
	}
	my (%of, %lot);
	foreach my $entry (grep { $_->{award} ne '' } @entries)
	{
		push @{ $of{ $entry->{award} } }, $entry;
		next if $entry->{no} <= $last;
		my ($made) = grep { $_->{no} == ($entry->{reverses} || $entry->{no}) && $_->{no} > $last } @entries;
		($lot{ $entry->{no} }) = map { $_ && $_->{effects} =~ /(?:^| )(\d+):\d/ ? $1 : () } $entry, $made;
	}
	foreach my $name (keys %of)
	{
		my ($source, $row, $rule, $version) = split / /, $name;
		my $awards = $account->{awards}{"$source/$row"};
		my ($award) = grep {
			my $its = $self->{config}{rules}[ $_->{rule} ];
			$its->{name} eq $rule && $its->{version} == $version
		} @{ $awards // [] };
		my @gone = grep { $_->{no} <= $last } @{ $of{$name} };
		next if !$award || !@gone;

		my @here = grep { $_->{no} > $last } @{ $of{$name} };
		my %sum;
		foreach my $entry (@gone) { $sum{$_} += $entry->{$_} foreach qw(points forgiven base) }
		if ($sum{points} != $sum{forgiven} || $sum{base} != 0) { $award->{gone} = @here ? 'a part' : 'all' }
		elsif (!$award->{gone}) { $award->{$_} -= $sum{$_} foreach qw(points forgiven) }
		@$award{qw(own let_off)} = (undef, 0);
		foreach my $entry (@here)
		{
			my $into = $entry->{points} > 0 ? $lot{ $entry->{no} } : undef;
			@$award{qw(own let_off)} = ($into, 0) if $into && $into != ($award->{own} // 0);
			$award->{let_off} += $entry->{forgiven};
		}
		next if @here || $award->{gone};
		@$awards = grep { $_ != $award } @$awards;
		delete $account->{awards}{"$source/$row"} if !@$awards;
	}
}

# What is gone of a row must be known to change it. One that is from before may be refused as well,
# since the ledger can't tell that nothing was booked for it.
sub refuse_gone_row
{
	my ($world, $key, $awards, @images) = @_;
	my $gone = $world->{gone}{$key};
	refuse('LY020') if grep { $_->{gone} } @{ $awards // [] };
	refuse('LY020') if $told_gone && $gone && grep { $_->{at} < $gone->{before} } @images;
}

# ---------------------------------------------------------------- rating

sub round_to
{
	my ($mode, $numerator, $denominator, $unit) = @_;
	$denominator *= $unit;
	my $quotient = $numerator / $denominator;
	my $rest = $numerator - $quotient * $denominator;
	$quotient++
	  if ($mode eq 'ceil' && $rest > 0)
	  || ($mode eq 'half_up' && 2 * $rest >= $denominator)
	  || ($mode eq 'half_even'
		&& (2 * $rest > $denominator || (2 * $rest == $denominator && $quotient % 2 == 1)));
	return $quotient * $unit;
}

# The points a rule gives for an amount of which a part was refunded.
sub rate
{
	my ($rule, $amount, $refunded) = @_;
	my $earned = defined $rule->{bonus} ? $rule->{bonus}
	  : round_to($rule->{rounding}, $amount * $rule->{per}, 1000, $rule->{unit});
	return $earned if $refunded == 0 || $rule->{reversal} eq 'never';
	return 0 if $refunded == $amount;
	return $earned if $rule->{reversal} eq 'all_or_nothing';
	my $taken = round_to($rule->{rounding}, $earned * $refunded, $amount, $rule->{unit});
	return $taken > $earned ? 0 : $earned - $taken;
}

# The numbers of the rules that rate an event of that time.
sub rules_in_force
{
	my ($self, $source, $at) = @_;
	my $rules = $self->{config}{rules};
	return grep {
		my $rule = $rules->[$_];
		$rule->{program} eq $source->{program}
		  && (!defined $rule->{kind} || $rule->{kind} eq $source->{kind})
		  && $rule->{from} <= $at && $at < $rule->{to}
	} 0 .. $#$rules;
}

# Whether anything of a row's awards stands: a row of which nothing does is rated anew.
sub stands
{
	my ($awards) = @_;
	return scalar grep { $_->{base} != 0 } @{ $awards // [] };
}

# Nothing is left of them, not even of a bonus.
sub is_over
{
	my ($awards) = @_;
	return !grep { $_->{base} != 0 || $_->{points} != $_->{forgiven} } @{ $awards // [] };
}

# ---------------------------------------------------------------- lots

# When points live that are given for a moment: asked of the server beforehand.
sub dates
{
	my ($self, $currency, $at) = @_;
	return $self->{dates}{"$currency $at"} // die "no dates of $currency at $at\n";
}

sub alive
{
	my ($lot, $at) = @_;
	return $lot->{from} <= $at && $at < $lot->{to};
}

sub lot
{
	my ($account, $no) = @_;
	return $no ? $account->{lots}[ $no - 1 ] : undef;
}

sub holds_at
{
	my ($hold, $at) = @_;
	return $hold->{from} <= $at && $at < $hold->{to} && !(defined $hold->{released} && $hold->{released} <= $at);
}

# What of a lot is held, by the account's clock or at a later time: what holds that are not
# over have not captured yet.
sub held
{
	my ($account, $lot, $at) = @_;
	$at = $account->{now} if !defined $at || $at < $account->{now};
	my $sum = 0;
	foreach my $hold (values %{ $account->{holds} })
	{
		# What is owed is nobody's, even when the hold is over.
		my $open = holds_at($hold, $at);
		$sum += $open ? $_->{points} - $_->{captured} : $_->{owed} foreach grep { $_->{lot} == $lot->{no} } @{ $hold->{parts} };
	}
	return $sum;
}

# ---------------------------------------------------------------- what holds owe to refunds

sub in_order_of_ending
{
	return sort { $a->{to} <=> $b->{to} || $a->{id} <=> $b->{id} } @_;
}

# What open holds keep of a lot, those that end first before others.
sub parts_in
{
	my ($account, $lot) = @_;
	return map { grep { $_->{lot} == $lot->{no} } @{ $_->{parts} } }
	  in_order_of_ending(grep { holds_at($_, $account->{now}) } values %{ $account->{holds} });
}

# Answers how many of the points nobody owes.
sub owe
{
	my ($account, $lot, $points) = @_;
	foreach my $part (parts_in($account, $lot))
	{
		my $room = $part->{points} - $part->{captured} - $part->{owed};
		$room = $points if $room > $points;
		$part->{owed} += $room;
		$points -= $room;
	}
	return $points;
}

# What an order was let off of its own lot is owed by who holds it: of a merged member's, lots of those dates where its points are.
sub owe_held
{
	my ($world, $key, $own, $points) = @_;
	my $root = root($world, $key);
	my $account = account($world, $root);
	my @lots = $root eq $key ? $own : in_order_of_paying(grep { alike($_, $own) && alive($_, $account->{now}) } @{ $account->{lots} });
	$points = owe($account, $_, $points) foreach @lots;
}

sub owe_less
{
	my ($points, @parts) = @_;
	foreach my $part (reverse @parts)
	{
		my $less = $points < $part->{owed} ? $points : $part->{owed};
		next if $less <= 0;
		$part->{owed} -= $less;
		$points -= $less;
	}
}

# No more is owed of a lot than the awards that it is of were let off.
sub review
{
	my ($self, $world, $key) = @_;
	my $account = account($world, $key);
	return if $self->{config}{currencies}{ currency_of($key) }{debt} ne 'forgive';
	return if !grep { alive($_, $account->{now}) && held($account, $_) } @{ $account->{lots} };
	foreach my $lot (@{ $account->{lots} })
	{
		my @parts = parts_in($account, $lot);
		my $owed = 0;
		$owed += $_->{owed} foreach @parts;
		next if !$owed;
		owe_less($owed - $self->let_off_together($world, $key, $lot), @parts);
	}
}

sub awards_of
{
	my ($self, $account, $lot) = @_;
	my @awards;
	my @rows = grep {
		grep { ($_->{own} // 0) == $lot->{no} } @{ $account->{awards}{$_} }
	} keys %{ $account->{awards} };
	foreach my $row (sort { $a =~ s{.*/}{}r cmp $b =~ s{.*/}{}r } @rows)
	{
		push @awards, grep { ($_->{own} // 0) == $lot->{no} && $self->{config}{rules}[ $_->{rule} ]{reversal} ne 'never' }
		  sort { $a->{rule} <=> $b->{rule} } @{ $account->{awards}{$row} };
	}
	return @awards;
}

# Since it was spent or held, not since it had died.
sub let_off
{
	my ($self, $account, $lot) = @_;
	my $sum = -$lot->{waived};
	$sum += $_->{let_off} foreach $self->awards_of($account, $lot);
	return $sum;
}

sub free
{
	my ($account, $lot) = @_;
	return $lot->{remaining} - held($account, $lot);
}

sub in_order_of_paying
{
	return sort { $a->{to} <=> $b->{to} || $a->{earned} <=> $b->{earned} || $a->{no} <=> $b->{no} } @_;
}

sub entry
{
	my ($world, $key, $kind, $time) = @_;
	my $entry = { account => $key, kind => $kind, time => $time, points => 0, forgiven => 0, effects => [] };
	push @{ $world->{log} }, $entry;
	return $entry;
}

# Points into a lot or out of it; no lot stands for the debt.
sub move
{
	my ($account, $entry, $lot, $points) = @_;
	$entry->{points} += $points;
	$account->{total}{ $entry->{kind} } += $points;
	push @{ $entry->{effects} }, [ $lot ? $lot->{no} : 'debt', $points ];
	push @{ $account->{effects} }, [ $entry->{time}, $lot ? $lot->{no} : 0, $points, $entry->{kind} ];
	if ($lot) { $lot->{remaining} += $points }
	else { $account->{debt} -= $points }
}

# Points that live by activity all end together, those of all keys of a person. A clock that ran
# out is over, and so are its lots; another moves the end of those that are on it.
sub set_clock
{
	my ($world, $key, $end) = @_;
	my $now = account($world, root($world, $key))->{now};
	foreach my $account (map { account($world, $_) } keys_of_person($world, $key))
	{
		foreach my $lot (grep { $_->{on_clock} } @{ $account->{lots} })
		{
			if ($lot->{to} > $now) { $lot->{to} = $end }
			else { $lot->{on_clock} = 0 }
		}
		$account->{clock} = $end;
	}
}

sub activity
{
	my ($self, $world, $key, $kind, $at) = @_;
	my $currency = currency_of($key);
	return if !grep { $_ eq $kind } @{ $self->{config}{currencies}{$currency}{activity} // [] };
	my $end = $self->dates($currency, $at)->{to};
	my $account = account($world, $key);
	set_clock($world, $key, $end) if $end > $account->{now} && $end > $account->{clock};
}

# A lot that is dead is booked to be so before it plays a part in anything else: what
# happens must not hang on whether the expiry job came by.
sub settle
{
	my ($world, $key, $account, $lot) = @_;
	my $rest = free($account, $lot);
	return if $rest == 0 || $lot->{to} > $account->{now};
	move($account, entry($world, $key, 'expire', $lot->{to}), $lot, -$rest);
	$lot->{expired} += $rest;
}

# Debt first, then into the given lot.
sub credit_lot
{
	my ($account, $entry, $lot, $points) = @_;
	my $repaid = $points < $account->{debt} ? $points : $account->{debt};
	move($account, $entry, undef, $repaid) if $repaid > 0;
	move($account, $entry, $lot, $points - $repaid) if $points > $repaid;
	return $points > $repaid;
}

# Debt first, then into the open lot of those dates, or a new one. A dead lot is closed
# to awards, but for those of the statement that opened it. Answers the lot's number.
sub credit
{
	my ($world, $account, $entry, $dates, $earned, $points) = @_;
	if ($points <= $account->{debt})
	{
		credit_lot($account, $entry, undef, $points);
		return undef;
	}
	my $on_clock = $dates->{activity} ? 1 : 0;
	if ($on_clock)
	{
		# Any credit starts a clock if none runs; if even that would have run out, the points end alone.
		set_clock($world, $entry->{account}, $dates->{to}) if $account->{clock} <= $account->{now} && $dates->{to} > $account->{now};
		if ($account->{clock} <= $account->{now} || $dates->{to} <= ($world->{since} // ALWAYS)) { $on_clock = 0 }
		else { $dates = { %$dates, to => $account->{clock} } }
	}
	my ($lot) = in_order_of_paying(
		grep {
			$_->{from} != NEVER && $_->{on_clock} == $on_clock
			  && $_->{from} == $dates->{from} && $_->{to} == $dates->{to} && $_->{issued} == $dates->{issued}
			  && $_->{remaining} > 0
			  && ($_->{to} > $account->{now} || $_->{opened_by} eq $world->{statement})
		} @{ $account->{lots} });
	if (!$lot)
	{
		$lot = { no => @{ $account->{lots} } + 1, earned => $earned, remaining => 0, expired => 0, waived => 0,
			opened_by => $world->{statement}, on_clock => $on_clock, map { $_ => $dates->{$_} } qw(from to issued) };
		push @{ $account->{lots} }, $lot;
	}
	credit_lot($account, $entry, $lot, $points);
	return $lot->{no};
}

# Earned points are taken back: from their own lot; not again what of it had expired; from
# other live lots; the rest is let off or becomes a debt.
sub take_back
{
	my ($self, $world, $account, $entry, $own, $points) = @_;
	my $from = sub {
		my ($lot) = @_;
		my $free = free($account, $lot);
		my $part = $points < $free ? $points : $free;
		return if $part <= 0;
		move($account, $entry, $lot, -$part);
		$points -= $part;
	};
	if ($own)
	{
		$from->($own);
		my $died = $own->{expired} - $own->{waived};
		$died = $points if $died > $points;
		$own->{waived} += $died;
		$entry->{forgiven} += $died;
		$points -= $died;
		$died = $points > 0 ? waive_above($world, $entry->{account}, $own, $points, 1) : 0;
		$entry->{forgiven} += $died;
		$points -= $died;
	}
	foreach my $lot (in_order_of_paying(@{ $account->{lots} }))
	{
		$from->($lot) if alive($lot, $account->{now});
	}
	return if $points == 0;
	if ($self->{config}{currencies}{ currency_of($entry->{account}) }{debt} eq 'forgive')
	{
		$entry->{forgiven} += $points;
		owe_held($world, $entry->{account}, $own, $points) if $own && alive($own, $account->{now});
	}
	else
	{
		move($account, $entry, undef, -$points);
	}
}

sub currency_of
{
	my ($key) = @_;
	return $key =~ s{/[^/]*$}{}r;
}

# ---------------------------------------------------------------- merged and closed members

# The account that has a merged one's points, perhaps passing them on.
sub parent
{
	my ($world, $key) = @_;
	my ($program, $currency, $member) = split m{/}, $key;
	my $into = $world->{merged}{"$program/$member"} // return undef;
	return "$program/$currency/$into";
}

sub root
{
	my ($world, $key) = @_;
	while (defined(my $parent = parent($world, $key))) { $key = $parent }
	return $key;
}

# All accounts of one currency that have one clock: where the points are, and those merged into it.
sub keys_of_person
{
	my ($world, $key) = @_;
	my $root = root($world, $key);
	my ($program, $currency) = split m{/}, $key;
	my @merged = map { m{^\Q$program\E/(.*)} ? "$program/$currency/$1" : () } keys %{ $world->{merged} };
	return ($root, grep { root($world, $_) eq $root } @merged);
}

sub member_of
{
	my ($key) = @_;
	my ($program, $currency, $member) = split m{/}, $key;
	return "$program/$member";
}

sub name_in
{
	my ($key) = @_;
	return $key =~ s{.*/}{}r;
}

sub refuse_gone
{
	my ($world, $key) = @_;
	refuse('LY340') if defined $world->{merged}{ member_of($key) };
	refuse('LY341') if $world->{closed}{ member_of($key) };
}

# An account and those on the way to its points, which have one clock; noted, parents first.
sub join_visit
{
	my ($world, $key, $now, $joined) = @_;
	my $parent = parent($world, $key);
	return visit($world, $key, $now) if !defined $parent;
	my $above = join_visit($world, $parent, $now, $joined);
	my $account = visit($world, $key, $above->{now});
	push @$joined, $key if !grep { $_ eq $key } @$joined;
	return $account;
}

# What an account has that was merged, or owes, is its parent's, but for what waits; and a closed one has nothing.
sub end_visit
{
	my ($self, $world, $root, $now, $joined) = @_;
	$self->pass_on($world, $_, $now) foreach reverse @$joined;
	return if !$world->{closed}{ member_of($root) };
	forfeit($world, $_, $now) foreach $root, grep { $_ ne $root && $world->{accounts}{$_} && grep { $_->{remaining} } @{ $world->{accounts}{$_}{lots} } } keys_of_person($world, $root);
}

sub forfeit
{
	my ($world, $key, $now) = @_;
	my $account = join_visit($world, $key, $now, []);
	settle($world, $key, $account, $_) foreach in_order_of_paying(@{ $account->{lots} });
	my $all;
	my @left = grep { free($account, $_) } in_order_of_paying(@{ $account->{lots} });
	foreach my $lot ((grep { $_->{from} == NEVER } @left), (grep { $_->{from} != NEVER } @left))
	{
		# What waits to be confirmed by itself, as it would have ended.
		my $entry = $lot->{from} == NEVER ? entry($world, $key, 'forfeit', $now) : ($all //= entry($world, $key, 'forfeit', $now));
		my $points = free($account, $lot);
		move($account, $entry, $lot, -$points);
		$lot->{expired} += $points;
	}
}

# Live lots by their end, then those that wait.
sub in_order_of_use
{
	my @lots = in_order_of_paying(@_);
	return ((grep { $_->{from} == ALWAYS } @lots), (grep { $_->{from} != ALWAYS } @lots));
}

# Awards that wait are each by itself.
sub alike
{
	my ($lot, $dates) = @_;
	return $lot->{from} != NEVER && !grep { $lot->{$_} != $dates->{$_} } qw(from to issued on_clock);
}

sub dates_of
{
	my ($lot) = @_;
	return { map({ $_ => $lot->{$_} } qw(from to issued on_clock)), activity => $lot->{on_clock} };
}

# A way between an account and its parent; what it did to each lot of the account is kept until they come apart.
sub way
{
	my ($world, $key, $now, $do) = @_;
	my ($account, $parent) = map { account($world, $_) } $key, parent($world, $key);
	my $before = @{ $account->{effects} };
	$do->($account, entry($world, $key, 'merge', $now), $parent, entry($world, parent($world, $key), 'merge', $now));
	$account->{gone}{ $_->[1] } -= $_->[2] foreach @{ $account->{effects} }[ $before .. $#{ $account->{effects} } ];
}

sub pass_on
{
	my ($self, $world, $key, $now) = @_;
	my $account = account($world, $key);
	my @lots = grep { $_->{from} != NEVER } in_order_of_use(@{ $account->{lots} });
	settle($world, $key, $account, $_) foreach @lots;
	@lots = grep { $_->{remaining} } @lots;
	return if !@lots && !$account->{debt};
	way($world, $key, $now, sub {
		my ($from, $out, $to, $in) = @_;
		foreach my $lot (@lots)
		{
			my $points = $lot->{remaining};
			move($from, $out, $lot, -$points);
			credit($world, $to, $in, dates_of($lot), $now, $points);
		}
		my $left = $from->{debt};
		return if !$left;
		move($from, $out, undef, $left);
		foreach my $lot (grep { alive($_, $to->{now}) } in_order_of_use(@{ $to->{lots} }))
		{
			my $free = free($to, $lot);
			my $part = $left < $free ? $left : $free;
			move($to, $in, $lot, -$part) if $part > 0;
			$left -= $part;
		}
		move($to, $in, undef, -$left) if $left > 0;
	});
}

# What the parent could give back at a time of these dates and, if any will do, of others.
sub returnable
{
	my ($account, $lot, $dates, $any, $at) = @_;
	return 0 if $lot->{to} <= ($at // $account->{now});
	return free($account, $lot) if ($dates && alike($lot, $dates)) || ($any && alive($lot, $account->{now}));
	return 0;
}

sub bring_back
{
	my ($self, $world, $key, $now, $points, $dates, $own, $any, $at) = @_;
	my $parent_key = parent($world, $key);
	$self->bring_back($world, $parent_key, $now, $points, $dates, undef, $any, $at) if defined parent($world, $parent_key);
	my $parent = account($world, $parent_key);
	my @lots = grep { returnable($parent, $_, $dates, $any, $at) } in_order_of_use(@{ $parent->{lots} });
	return if !@lots;
	way($world, $key, $now, sub {
		my ($to, $in, $from, $out) = @_;
		foreach my $lot ((grep { $dates && alike($_, $dates) } @lots), (grep { !$dates || !alike($_, $dates) } @lots))
		{
			my $part = returnable($from, $lot, $dates, $any, $at);
			$part = $points if $part > $points;
			next if $part == 0;
			move($from, $out, $lot, -$part);
			if ($own && $dates && alike($lot, $dates)) { credit_lot($to, $in, $own, $part) }
			else { credit($world, $to, $in, dates_of($lot), $now, $part) }
			$points -= $part;
		}
	});
}

# What had died where it went is let off.
sub waive_above
{
	my ($world, $key, $own, $points, $really) = @_;
	my $waived = 0;
	while (defined($key = parent($world, $key)))
	{
		my $account = account($world, $key);
		foreach my $lot (in_order_of_paying(grep { alike($_, $own) } @{ $account->{lots} }))
		{
			last if $waived == $points;
			settle($world, $key, $account, $lot);
			my $part = $lot->{expired} - $lot->{waived};
			$part = $points - $waived if $part > $points - $waived;
			$waived += $part;
			$lot->{waived} += $part if $really;
		}
	}
	return $waived;
}

sub owe_above
{
	my ($world, $key, $own, $points) = @_;
	while (defined($key = parent($world, $key)))
	{
		foreach my $lot (in_order_of_paying(grep { alike($_, $own) } @{ account($world, $key)->{lots} }))
		{
			my $part = $points < $lot->{waived} ? $points : $lot->{waived};
			next if $part <= 0;
			$lot->{waived} -= $part;
			$points -= $part;
		}
	}
}

# Before a reversal takes points, those that it will take come back.
sub recall
{
	my ($self, $world, $key, $now, $points, $own) = @_;
	return if !defined parent($world, $key);
	my $account = account($world, $key);
	foreach my $lot (@{ $account->{lots} })
	{
		$points -= free($account, $lot) if ($own && $lot == $own) || alive($lot, $account->{now});
	}
	if ($own)
	{
		$points -= $own->{expired} - $own->{waived};
		$points -= waive_above($world, $key, $own, $points, 0) if $points > 0;
	}
	$self->bring_back($world, $key, $now, $points, $own ? dates_of($own) : undef, $own, 1) if $points > 0;
}

sub currencies_of
{
	my ($self, $program) = @_;
	return grep { $self->{config}{currencies}{$_}{program} eq $program } sort keys %{ $self->{config}{currencies} };
}

sub refuse_held
{
	my ($self, $world, $program, $member) = @_;
	foreach my $account (map { account($world, "$_/$member") } $self->currencies_of($program))
	{
		refuse('LY343') if grep { held($account, $_) } @{ $account->{lots} };
	}
}

sub merge
{
	my ($self, $world, $op, $now, $answer) = @_;
	my ($program, $from, $into) = @$op{qw(program member to)};
	refuse('LY002') if grep { !$world->{members}{"$program/$_"} } $from, $into;
	refuse('LY342') if $from eq $into;
	my $content = join ' ', 'merge', $from, $into, $op->{reason} // '';
	my $before = answered($world, $program, $op->{request}, $content);
	return $before if defined $before;
	refuse_gone($world, "$program//$_") foreach $from, $into;
	foreach my $currency ($self->currencies_of($program))
	{
		my ($a, $b) = map { visit($world, "$currency/$_", $now) } $from, $into;
		$_->{now} = $a->{now} > $b->{now} ? $a->{now} : $b->{now} foreach $a, $b;
	}
	$self->refuse_held($world, $program, $from);
	foreach my $currency ($self->currencies_of($program))
	{
		# From now on both live by the later clock of the two.
		my ($clock) = sort { $b <=> $a } map { account($world, "$currency/$_")->{clock} } $from, $into;
		set_clock($world, "$currency/$_", $clock) foreach $from, $into;
	}
	$world->{merged}{"$program/$from"} = $into;
	foreach my $key (map { "$_/$from" } $self->currencies_of($program))
	{
		delete account($world, $key)->{gone};
		$world->{statement} = ++$statements;
		$self->pass_on($world, $key, $now);
	}
	keep($world, $program, $op, $content, $answer, $op->{member}, $op->{to});
	return $answer;
}

sub unmerge
{
	my ($self, $world, $op, $now, $answer) = @_;
	my ($program, $member) = @$op{qw(program member)};
	refuse('LY002') if !$world->{members}{"$program/$member"};
	my $content = join ' ', 'unmerge', $member, $op->{reason} // '';
	my $before = answered($world, $program, $op->{request}, $content);
	return $before if defined $before;
	my $above = $world->{merged}{"$program/$member"} // refuse('LY345');
	refuse('LY341') if was_erased($world, $program, $member);
	refuse('LY020') if grep { $world->{gone}{"$_/$member"} } $self->currencies_of($program);
	foreach my $key (map { "$_/$member" } $self->currencies_of($program))
	{
		my $account = join_visit($world, $key, $now, []);
		my $parent_key = parent($world, $key);
		my $parent = account($world, $parent_key);
		my $passed = defined parent($world, $parent_key);
		my %gone = %{ $account->{gone} // {} };
		my $owed = -(delete $gone{0} // 0);
		my $borrowed = 0;
		$borrowed -= $_ foreach grep { $_ < 0 } values %gone;
		$world->{statement} = ++$statements;
		my @due;
		foreach my $lot (in_order_of_paying(grep { ($gone{ $_->{no} } // 0) > 0 } @{ $account->{lots} }))
		{
			my $points = $gone{ $lot->{no} };
			my $part = $borrowed < $points ? $borrowed : $points;
			$borrowed -= $part;
			push @due, [ $lot, $points - $part ];
		}
		foreach (@due)
		{
			$self->bring_back($world, $parent_key, $now, $_->[1], dates_of($_->[0]), undef, 0) if $passed && $_->[1];
		}
		$self->bring_debt_back($world, $parent_key, $now, $owed - $parent->{debt}) if $passed && $owed > $parent->{debt};
		way($world, $key, $now, sub {
			my ($to, $in, $from, $out) = @_;
			foreach (@due)
			{
				my ($own, $left) = @$_;
				foreach my $lot (in_order_of_use(@{ $from->{lots} }))
				{
					my $part = returnable($from, $lot, dates_of($own), 0);
					$part = $left if $part > $left;
					next if $part <= 0;
					move($from, $out, $lot, -$part);
					credit_lot($to, $in, $own, $part);
					$left -= $part;
				}
			}
			$owed = $from->{debt} if $owed > $from->{debt};
			return if $owed <= 0;
			move($from, $out, undef, $owed);
			move($to, $in, undef, -$owed);
		});
		# What passed through and was not wanted goes on; a closed one keeps nothing.
		my @joined;
		join_visit($world, $parent_key, $now, \@joined);
		$self->end_visit($world, root($world, $parent_key), $now, \@joined);
	}
	delete $world->{merged}{"$program/$member"};
	keep($world, $program, $op, $content, $answer, $member, $above);
	return $answer;
}

sub bring_debt_back
{
	my ($self, $world, $key, $now, $points) = @_;
	my $parent_key = parent($world, $key);
	my $parent = account($world, $parent_key);
	$self->bring_debt_back($world, $parent_key, $now, $points - $parent->{debt})
	  if defined parent($world, $parent_key) && $points > $parent->{debt};
	$points = $parent->{debt} if $points > $parent->{debt};
	return if $points == 0;
	way($world, $key, $now, sub {
		my ($to, $in, $from, $out) = @_;
		move($from, $out, undef, $points);
		move($to, $in, undef, -$points);
	});
}

sub close_or_reopen
{
	my ($self, $world, $op, $now) = @_;
	my ($program, $member) = @$op{qw(program member)};
	refuse('LY002') if !$world->{members}{"$program/$member"};
	if ($op->{do} eq 'reopen')
	{
		refuse('LY340') if defined $world->{merged}{"$program/$member"};
		refuse('LY341') if was_erased($world, $program, $member);
		refuse('LY346') if !$world->{closed}{"$program/$member"};
		delete $world->{closed}{"$program/$member"};
		visit($world, "$_/$member", $now) foreach $self->currencies_of($program);
		return '';
	}
	refuse_gone($world, "$program//$member");
	visit($world, "$_/$member", $now) foreach $self->currencies_of($program);
	$self->refuse_held($world, $program, $member);
	$world->{closed}{"$program/$member"} = 1;
	$self->end_visit($world, "$_/$member", $now, []) foreach $self->currencies_of($program);
	return '';
}

# Of a person nothing is known afterwards but the entries: not the keys, not the reasons. Answers
# the member's number, which is the ledger's to choose.
sub erase
{
	my ($self, $world, $op, $now, $answer) = @_;
	my ($program, $member) = @$op{qw(program member)};
	refuse('LY002') if !$world->{members}{"$program/$member"};
	$self->close_or_reopen($world, { %$op, do => 'close' }, $now) if !$world->{closed}{"$program/$member"};
	my %person = ($member => 1);
	foreach my $name (map { m{^\Q$program\E/(.*)} ? $1 : () } keys %{ $world->{merged} })
	{
		$person{$name} = 1 if root($world, "$program//$name") eq "$program//$member";
	}
	foreach my $currency ($self->currencies_of($program))
	{
		foreach my $name ($self->by_id($currency, keys %person))
		{
			my @joined;
			join_visit($world, "$currency/$name", $now, \@joined);
			$self->end_visit($world, "$currency/$member", $now, \@joined);
		}
	}
	foreach my $name (keys %person)
	{
		$world->{erased}{ "$program/" . $name =~ s/~.*//r }++ if !was_erased($world, $program, $name);
	}
	foreach my $request (grep { m{^\Q$program\E/} } keys %{ $world->{requests} })
	{
		my $kept = $world->{requests}{$request};
		next if $kept->{reason} eq '' || !grep { $person{$_} } @{ $kept->{about} };
		$world->{requests}{$request} = { %$kept, reason => '', content => substr($kept->{content}, 0, -length $kept->{reason}) };
	}
	return $self->{members}{"$program/$member"} // $answer;
}

# ---------------------------------------------------------------- changed rows

# What a program sees of a row.
sub image
{
	my ($source, $row) = @_;
	return undef if !$row || !defined $row->{member};
	return {
		member => $row->{member},
		key => $row->{id},
		at => $row->{at},
		earning => !$source->{status} || $row->{status} eq 'paid',
		amount => $source->{amount} ? $row->{amount} : 10000,
		refunded => $source->{refunded} ? $row->{refunded} : 0
	};
}

sub check_image
{
	my ($image) = @_;
	return if !$image || !$image->{earning};
	refuse('LY201') if $image->{amount} < 0 || $image->{refunded} < 0;
	refuse('LY203') if $image->{refunded} > $image->{amount};
}

sub same
{
	my ($before, $after) = @_;
	return 0 if !$before || !$after;
	return 0 if grep { $before->{$_} ne $after->{$_} } qw(member key earning);
	return !$after->{earning} || !grep { $before->{$_} != $after->{$_} } qw(amount refunded at);
}

# One statement on an attached table: pairs of what a row was and what it is. Everything
# that gives comes before everything that takes.
sub statement
{
	my ($self, $world, $source, $now, $first, @changes) = @_;
	my %tasks;

	$world->{statement} = ++$statements;
	foreach my $change (@changes)
	{
		check_image(image($source, $change->[1]));
	}
	foreach my $n (0 .. $#changes)
	{
		my ($before, $after) = map { image($source, $_) } @{ $changes[$n] };
		$_->{member} = who($world, $source->{program}, $_->{member}) foreach grep { $_ } $before, $after;
		next if !$before && !$after;
		next if same($before, $after);
		$world->{members}{"$source->{program}/$after->{member}"} = 1 if $after;

		foreach my $currency (grep { $self->{config}{currencies}{$_}{program} eq $source->{program} }
			sort keys %{ $self->{config}{currencies} })
		{
			my $had = $before ? $world->{accounts}{"$currency/$before->{member}"} : undef;
			my $booked = $had ? $had->{awards}{"$source->{name}/$before->{key}"} : undef;
			my $add = sub {
				my ($do, $image, %more) = @_;
				push @{ $tasks{"$currency/$image->{member}"} },
				  { do => $do, image => $image, at => $image->{at}, n => $n, before => $before, %more };
			};
			# Nothing was booked for it, since it did not earn: by its status, or by no rule; or what was had no amount.
			my $begins = $before && $after && $after->{earning}
			  && (!$before->{earning} || ($booked && $before->{amount} == 0)
				|| ($before->{at} != $after->{at}
					&& !grep { $self->{config}{rules}[$_]{currency} eq $currency } $self->rules_in_force($source, $before->{at})));
			refuse_gone_row($world, "$currency/$before->{member}", $booked, grep { $_ } $before, $after) if $before;
			if ($first)
			{
				my $account = $world->{accounts}{"$currency/$after->{member}"};
				my $awards = $account ? $account->{awards}{"$source->{name}/$after->{key}"} : undef;
				refuse_gone_row($world, "$currency/$after->{member}", $awards, $after)
				  if $after->{earning} && !$world->{closed}{ member_of(root($world, "$currency/$after->{member}")) } && !grep { ($_->{gone} // '') ne 'all' } @{ $awards // [] };
				$add->('award', $after) if $after->{earning} && !$awards;
			}
			elsif (!$before)
			{
				$add->('award', $after) if $after->{earning};
			}
			elsif ($after && $before->{member} eq $after->{member})
			{
				if ($booked) { $add->('change', $after, begins => $begins) }
				elsif ($begins) { $add->('award', $after) }
			}
			else
			{
				$add->('leave', $before, moved => $after && $after->{earning}) if $booked;
				if ($after && $after->{earning})
				{
					if (stands($booked) && $before->{at} == $after->{at})
					{
						$add->('award', $after, rules => [
							sort { $a <=> $b } map { $_->{rule} } grep { $_->{base} != 0 } @$booked ]);
					}
					elsif (!is_over($booked) || $begins) { $add->('award', $after) }
				}
			}
		}
	}
	# Those merged into one another together, who has the points first.
	my %visits;
	push @{ $visits{ root($world, $_) } }, $_ foreach keys %tasks;
	foreach my $root (sort keys %visits)
	{
		my (@joined, @reversals);
		foreach my $key (sort { ($b eq $root) <=> ($a eq $root) || ($self->{ids}{$a} // 0) <=> ($self->{ids}{$b} // 0) } @{ $visits{$root} })
		{
			join_visit($world, $key, $now, \@joined);
			$self->start_clock($world, $source, $root, map { my $of = $_; map { [ $of, $_ ] } @{ $tasks{$of} } } @{ $visits{$root} }) if !defined $world->{since};
			push @reversals, $self->work_off($world, $source, $now, $key,
				sort { $a->{at} <=> $b->{at} || $a->{n} <=> $b->{n} } @{ $tasks{$key} });
		}
		if (@reversals)
		{
			$self->pass_on($world, $_, $now) foreach reverse @joined;
		}
		$self->reverse_award($world, $now, @$_) foreach @reversals;
		$self->end_visit($world, $root, $now, \@joined);
		delete $world->{since};
	}
}

# Awards that come together start a clock that does not run together: each keeps alive what had not ended when it came.
sub start_clock
{
	my ($self, $world, $source, $root, @tasks) = @_;
	my $account = account($world, $root);
	my ($since, $clock);

	$world->{since} = ALWAYS;
	return if $world->{closed}{ member_of($root) } || $account->{clock} > $account->{now}
	  || !grep { $_ eq 'earn' } @{ $self->{config}{currencies}{ currency_of($root) }{activity} // [] };
	foreach my $task (sort { $b->[1]{at} <=> $a->[1]{at} || $b->[1]{n} <=> $a->[1]{n} } @tasks)
	{
		my ($key, $its) = @$task;
		next if $its->{do} ne 'award';
		my @rules = $its->{rules} ? @{ $its->{rules} } : $self->rules_in_force($source, $its->{at});
		next if !grep { $self->{config}{rules}[$_]{currency} eq currency_of($key) } @rules;
		my $end = $self->dates(currency_of($key), $its->{at})->{to};
		last if $end <= ($since // $account->{now});
		$clock //= $end;
		$since = $its->{at} < $account->{now} ? $its->{at} : $account->{now};
	}
	return if !defined $since;
	set_clock($world, $root, $clock);
	$world->{since} = $since;
}

sub work_off
{
	my ($self, $world, $source, $now, $key, @tasks) = @_;
	my $account = account($world, $key);
	my $currency = currency_of($key);
	my $closed = $world->{closed}{ member_of(root($world, $key)) };
	my @reversals;

	my $award = sub {
		my ($image, @rules) = @_;
		foreach my $number (@rules)
		{
			my $rule = $self->{config}{rules}[$number];
			next if $rule->{currency} ne $currency;
			my $points = rate($rule, $image->{amount}, $image->{refunded});
			$self->activity($world, $key, 'earn', $image->{at});
			my $entry = entry($world, $key, 'earn', $image->{at});
			my $own = $points > 0
			  ? credit($world, $account, $entry, $self->dates($currency, $image->{at}), $image->{at}, $points)
			  : undef;
			my $awards = $account->{awards}{"$source->{name}/$image->{key}"} //= [];

			# The row may have been this account's before, and gone.
			my ($award) = grep { $_->{rule} == $number } @$awards;
			push @$awards, $award = { rule => $number, points => 0, forgiven => 0, let_off => 0 } if !$award;
			$award->{points} += $points;
			$award->{base} = $image->{amount};
			$award->{let_off} = 0 if $own && $own != ($award->{own} // 0);
			$award->{own} = $own if $own;
		}
	};

	foreach my $task (@tasks)
	{
		my $image = $task->{image};
		if ($task->{do} eq 'award')
		{
			next if $closed;
			$award->($image, $task->{rules} ? @{ $task->{rules} } : $self->rules_in_force($source, $image->{at}));
			next;
		}

		# A new key carries on what was booked under the old one.
		my $booked = delete $account->{awards}{"$source->{name}/$task->{before}{key}"};
		$account->{awards}{"$source->{name}/$image->{key}"} = $booked;
		if ($task->{before}{key} ne $image->{key})
		{
			$_->{let_off} = $_->{forgiven} foreach @$booked;
		}

		# Of a row that did earn, but where nobody is a member any more, nothing stands either.
		my $earning = $task->{do} eq 'change' && $image->{earning};
		next if $earning && is_over($booked) && !$task->{begins};
		my $redated = $earning && ($task->{before}{at} != $image->{at} || !stands($booked));
		my @in_force = $redated ? $self->rules_in_force($source, $image->{at}) : ();
		my @fresh = grep {
			my $number = $_;
			!grep { $_->{rule} == $number } @$booked
		} @in_force;
		foreach my $award (sort { $a->{rule} <=> $b->{rule} } @$booked)
		{
			my $rule = $self->{config}{rules}[ $award->{rule} ];
			my $earns = $earning
			  && ($redated ? grep { $_ == $award->{rule} } @in_force : $award->{base} != 0);
			$award->{base} = $earns ? $image->{amount} : 0;
			my $due = $earns ? rate($rule, $image->{amount}, $image->{refunded}) : 0;

			# What was let off before is neither taken again nor given back.
			my $stands = $award->{points} - $award->{forgiven};
			if ($due < $stands)
			{
				# A bonus that is never taken back is let off, unless it goes to another account.
				if (!$earning && $rule->{reversal} eq 'never' && !$task->{moved})
				{
					entry($world, $key, 'reverse', $now)->{forgiven} = $stands;
					$award->{forgiven} += $stands;
					next;
				}
				push @reversals, [ $key, $award, $stands - $due ];
				next;
			}
			my $forgiven = $due < $award->{points} ? $award->{points} - $due : 0;
			my $own = $due > $award->{points} || $forgiven < $award->{forgiven} ? lot($account, $award->{own}) : undef;
			settle($world, $key, $account, $own) if $own;

			# What had died and is owed again will have died again.
			if ($own && $rule->{reversal} ne 'never')
			{
				my $again = $award->{forgiven} - $forgiven;
				my $part = $again < $own->{waived} ? $again : $own->{waived};
				$own->{waived} -= $part if $again > 0;
				owe_above($world, $key, $own, $again - $part) if $again > 0;
			}
			my $entry = entry($world, $key, 'earn', $now);
			$entry->{forgiven} = $forgiven - $award->{forgiven};
			$award->{let_off} += $entry->{forgiven};
			$award->{forgiven} = $forgiven;
			my $more = $due - $award->{points};
			next if $more <= 0;
			if ($own)
			{
				credit_lot($account, $entry, $own, $more);
			}
			else
			{
				$award->{own} = credit($world, $account, $entry, $self->dates($currency, $image->{at}), $now, $more);
			}
			$award->{points} = $due;
		}
		$award->($image, @fresh);
	}

	return @reversals;
}

sub reverse_award
{
	my ($self, $world, $now, $key, $award, $points) = @_;
	my $account = account($world, $key);
	my $own = lot($account, $award->{own});
	settle($world, $key, $account, $own) if $own;
	$self->recall($world, $key, $now, $points, $own);
	my $entry = entry($world, $key, 'reverse', $now);
	$self->take_back($world, $account, $entry, $own, $points);
	$award->{points} += $entry->{points};
	$award->{forgiven} += $entry->{forgiven};
	$award->{let_off} += $entry->{forgiven};
}

# A change of rows of a table, which several programs may watch.
sub change_rows
{
	my ($self, $world, $table, $now, @changes) = @_;
	foreach my $source (grep { $_->{table} eq $table } @{ $self->{config}{sources} })
	{
		$self->statement($world, $source, $now, 0, @changes) if @changes;
	}
	foreach (@changes)
	{
		my ($before, $after) = @$_;
		delete $world->{rows}{"$table/$before->{id}"} if $before;
		$world->{rows}{"$table/$after->{id}"} = $after if $after;
	}
}

# ---------------------------------------------------------------- spending

sub check_points
{
	my ($self, $currency, $points) = @_;
	refuse('LY304') if $points <= 0 || $points % $self->{config}{currencies}{$currency}{unit};
}

# The answer that an id was given before.
sub answered
{
	my ($world, $program, $id, $content) = @_;
	return undef if !defined $id;
	my $before = $world->{requests}{"$program/$id"} // return undef;
	refuse('LY305') if $before->{content} ne $content;
	return $before->{answer};
}

# Such an answer, and whom it is about: the reason that was given goes with them.
sub keep
{
	my ($world, $program, $op, $content, $answer, @about) = @_;
	return if !defined $op->{request};
	$world->{requests}{"$program/$op->{request}"} = { content => $content, answer => $answer, reason => $op->{reason} // '', about => \@about };
}

# How much of each lot pays, in that order: [lot, points].
sub payments
{
	my ($account, $points, $at) = @_;
	my @payments;
	my @lots = in_order_of_paying(grep { alive($_, $at) } @{ $account->{lots} });
	my $missing = $points + $account->{debt};
	$missing -= free($account, $_) foreach @lots;
	refuse('LY301', $missing) if $missing > 0;
	foreach my $lot (@lots)
	{
		my $free = free($account, $lot);
		my $part = $points < $free ? $points : $free;
		push @payments, [ $lot, $part ] if $part > 0;
		$points -= $part;
	}
	return @payments;
}

sub refuse_blocked
{
	my ($self, $account, $currency) = @_;
	refuse('LY302') if $account->{debt} > 0 && $self->{config}{currencies}{$currency}{debt} eq 'block';
}

sub spend
{
	my ($self, $world, $op, $now, $answer) = @_;
	my $currency = $op->{currency};
	my $program = $self->{config}{currencies}{$currency}{program};
	my $key = "$currency/$op->{member}";
	my $points = $op->{points} eq 'all' ? $self->balance($world, $currency, $op->{member}, $now, $now) : $op->{points};

	$self->check_points($currency, abs($points) == $points || $op->{do} eq 'redeem' ? $points : -$points);
	refuse('LY002') if !$world->{members}{"$program/$op->{member}"};
	my $content = join ' ', $op->{do}, $key, $points, $op->{reason} // '';
	my $before = answered($world, $program, $op->{request}, $content);
	return $before if defined $before;

	refuse_gone($world, $key);
	my $account = visit($world, $key, $now);
	$self->refuse_blocked($account, $currency) if $op->{do} eq 'redeem';
	$self->activity($world, $key, $op->{do}, $now);
	my $entry = entry($world, $key, $op->{do}, $now);
	$entry->{id} = $answer;
	if ($op->{do} eq 'adjust' && $points > 0)
	{
		$world->{statement} = ++$statements;
		my $dates = $self->dates($currency, $now);

		# The hand that gives them confirms them.
		$dates = { %$dates, from => ALWAYS } if $dates->{from} == NEVER;
		credit($world, $account, $entry, $dates, $now, $points);
	}
	else
	{
		foreach (payments($account, abs $points, $account->{now}))
		{
			my ($lot, $part) = @$_;
			move($account, $entry, $lot, -$part);
			push @{ $account->{paid}{$answer} }, { lot => $lot->{no}, points => $part, returned => 0 }
			  if $op->{do} eq 'redeem';
		}
		$world->{redemptions}{$answer} = $key if $op->{do} eq 'redeem';
	}
	keep($world, $program, $op, $content, $answer, $op->{member});
	return $answer;
}

sub give_back
{
	my ($self, $world, $op, $now, $answer) = @_;
	return $self->give_back_pool($world, $op, $now, $answer) if $world->{pooled}{ $op->{entry} };
	my $key = $world->{redemptions}{ $op->{entry} } // refuse('LY004');
	my $currency = currency_of($key);
	my $program = $self->{config}{currencies}{$currency}{program};

	$self->check_points($currency, $op->{points}) if defined $op->{points};
	my $content = join ' ', 'giveback', $op->{entry}, $op->{points} // 'all', $op->{grace} // 'none', $op->{reason} // '';
	my $before = answered($world, $program, $op->{request}, $content);
	return $before if defined $before;

	refuse('LY020') if $world->{gone}{$key} && $op->{entry} % 100000000 <= $world->{gone}{$key}{last};
	my @joined;
	my $account = join_visit($world, $key, $now, \@joined);
	my $paid = $account->{paid}{ $op->{entry} };
	my $left = 0;
	$left += $_->{points} - $_->{returned} foreach @$paid;
	my $points = $op->{points} // $left;
	refuse('LY303', $left) if $points > $left || $points == 0;

	$world->{statement} = ++$statements;
	my $entry = entry($world, $key, 'giveback', $now);
	$entry->{id} = $answer;
	my @parts;
	foreach my $payment (reverse @$paid)
	{
		my $part = $payment->{points} - $payment->{returned};
		$part = $points if $part > $points;
		next if $part == 0;
		$payment->{returned} += $part;
		$points -= $part;
		push @parts, [ $payment->{lot}, $part ];
	}
	$self->into_lots($world, $key, $account, $entry, $now, $op->{grace}, \@joined, @parts);
	$self->end_visit($world, root($world, $key), $now, \@joined);
	keep($world, $program, $op, $content, $answer, name_in($key));
	return $answer;
}

# Points of a redemption come back to the lots of an account: [number, points], in that order.
sub into_lots
{
	my ($self, $world, $key, $account, $entry, $now, $grace, $joined, @parts) = @_;
	my $currency = currency_of($key);
	my (@dead, @returned);
	foreach (@parts)
	{
		my ($no, $part) = @$_;
		my $lot = lot($account, $no);
		if ($lot->{to} > $account->{now})
		{
			credit_lot($account, $entry, $lot, $part);
			push @returned, [ $lot, $lot, $part ];
		}
		elsif (defined $grace)
		{
			my $to = $self->dates("grace $currency $grace", $now);
			my $into = credit($world, $account, $entry, { from => $lot->{from}, issued => $lot->{issued}, to => $to->{to} }, $now, $part);
			push @returned, [ $lot, lot($account, $into), $part ];
		}
		else
		{
			move($account, $entry, $lot, $part);
			push @dead, $lot;
		}
	}
	if ($self->{config}{currencies}{$currency}{debt} eq 'forgive')
	{
		$self->make_up_returned($world, $key, $account, $now, $joined, @returned);
	}
	settle($world, $key, $account, $_) foreach @dead;
}

# Points of undone purchases that were let off since they had been spent, and come back, are
# taken then; not those let off since they had died. By the purchases' keys. Answers how many.
sub make_up
{
	my ($self, $world, $key, $account, $now, $paid, $into, $points) = @_;
	my $taken = 0;
	foreach my $award ($self->awards_of($account, $paid))
	{
		my $part = $points - $taken < $award->{let_off} ? $points - $taken : $award->{let_off};
		next if $part <= 0;
		make_up_award($world, $key, $account, $now, $award, $into, $part);
		$taken += $part;
	}
	return $taken;
}

# First of the account's own purchases.
sub make_up_returned
{
	my ($self, $world, $key, $account, $at, $joined, @returned) = @_;
	join_visit($world, $_, $account->{now}, $joined) foreach keys_of_person($world, $key);
	foreach my $back (@returned)
	{
		my ($paid, $into, $points) = @$back;
		my $owed = $self->let_off_together($world, $key, $paid);
		$back->[2] -= $self->make_up($world, $key, $account, $at, $paid, $into, $points < $owed ? $points : $owed);
	}
	$self->make_up_merged($world, $key, $at, @returned);
}

# What a hold owed.
sub make_up_held
{
	my ($self, $world, $key, $account, $at, $lot, $points) = @_;
	$self->make_up_returned($world, $key, $account, $at, [], [ $lot, $lot, $points ]);
}

sub make_up_award
{
	my ($world, $key, $account, $now, $award, $lot, $points) = @_;
	my $entry = entry($world, $key, 'reverse', $now);
	move($account, $entry, $lot, -$points);
	$entry->{forgiven} = -$points;
	$award->{$_} -= $points foreach qw(points forgiven let_off);
}

# What all purchases of a person were let off of points of those dates since those were spent or held: where
# they died need not be where they were earned.
sub let_off_together
{
	my ($self, $world, $key, $paid) = @_;
	my @keys = keys_of_person($world, $key);
	my $sum = @keys == 1 ? $self->let_off(account($world, $key), $paid) : 0;
	foreach my $account (map { account($world, $_) } @keys > 1 ? @keys : ())
	{
		$sum += $self->let_off($account, $_) foreach grep { alike($_, $paid) } @{ $account->{lots} };
	}
	return $sum > 0 ? $sum : 0;
}

# Also of purchases of those who were merged into this one, of lots of equal dates: what came back goes there.
sub make_up_merged
{
	my ($self, $world, $key, $now, @returned) = @_;
	my ($program, $currency, $member) = split m{/}, $key;
	my @merged = map { "$program/$currency/$_" } map { m{^\Q$program\E/(.*)} ? $1 : () } grep { $world->{merged}{$_} eq $member } keys %{ $world->{merged} };
	foreach my $from (sort { ($self->{ids}{$a} // 0) <=> ($self->{ids}{$b} // 0) } @merged)
	{
		my $account = account($world, $from);
		my @awards = map { sort { $a->{rule} <=> $b->{rule} } @{ $account->{awards}{$_} } }
		  sort { $a =~ s{.*/}{}r cmp $b =~ s{.*/}{}r } keys %{ $account->{awards} };
		foreach my $back (@returned)
		{
			my ($paid, $into) = @$back;
			foreach my $award (grep { $_->{own} && $self->{config}{rules}[ $_->{rule} ]{reversal} ne 'never' && alike($paid, lot($account, $_->{own})) } @awards)
			{
				my ($part) = sort { $a <=> $b } $back->[2], $award->{let_off}, $self->let_off_together($world, $key, $paid);
				next if $part <= 0;
				my $lot = lot($account, $award->{own});
				my $alive = alike($lot, $into);
				$self->bring_back($world, $from, $now, $part, dates_of($into), $alive ? $lot : undef, 0, $now);
				($lot) = grep { alike($_, $into) && $_->{remaining} } @{ $account->{lots} } if !$alive;
				make_up_award($world, $from, $account, $now, $award, $lot, $part);
				$back->[2] -= $part;
			}
		}
		$self->make_up_merged($world, $from, $now, @returned);
	}
}

# Reserves points of the lots that a redemption would take.
sub hold
{
	my ($self, $world, $op, $now, $answer) = @_;
	my $currency = $op->{currency};
	my $program = $self->{config}{currencies}{$currency}{program};
	my $key = "$currency/$op->{member}";
	my $points = $op->{points} eq 'all' ? $self->balance($world, $currency, $op->{member}, $now, $now) : $op->{points};

	$self->check_points($currency, $points);
	refuse('LY002') if !$world->{members}{"$program/$op->{member}"};
	my $content = join ' ', 'hold', $key, $points, $op->{ttl}, $op->{reason} // '';
	my $before = answered($world, $program, $op->{request}, $content);
	return $before if defined $before;

	refuse_gone($world, $key);
	my $account = visit($world, $key, $now);
	$self->refuse_blocked($account, $currency);
	my @parts = map { { lot => $_->[0]{no}, points => $_->[1], captured => 0, owed => 0 } } payments($account, $points, $account->{now});
	my $entry = entry($world, $key, 'hold', $now);
	$entry->{id} = $answer;
	$account->{holds}{$answer} = { id => $answer =~ /^\d+$/ ? $answer : Oracle::NEVER, from => $now, to => $self->dates("grace $currency $op->{ttl}", $now)->{to}, parts => \@parts, taken => [] };
	$world->{holds}{$answer} = $key;
	keep($world, $program, $op, $content, $answer, $op->{member});
	return $answer;
}

sub rest
{
	my ($hold) = @_;
	my $rest = 0;
	$rest += $_->{points} - $_->{captured} foreach @{ $hold->{parts} };
	return $rest;
}

# Its parts, in the order in which their lots pay.
sub parts_of
{
	my ($account, $hold) = @_;
	my %part = map { $_->{lot} => $_ } @{ $hold->{parts} };
	return map { $part{ $_->{no} } } in_order_of_paying(map { lot($account, $_) } keys %part);
}

sub capture
{
	my ($self, $world, $op, $now, $answer) = @_;
	my $key = $world->{holds}{ $op->{entry} } // refuse('LY004');
	my $currency = currency_of($key);
	my $program = $self->{config}{currencies}{$currency}{program};

	$self->check_points($currency, $op->{points}) if defined $op->{points};
	my $content = join ' ', 'capture', $op->{entry}, $op->{points} // 'all', $op->{reason} // '';
	my $before = answered($world, $program, $op->{request}, $content);
	return $before if defined $before;

	my $account = visit($world, $key, $now);
	my $hold = $account->{holds}{ $op->{entry} };
	my $rest = rest($hold);
	my $points = $op->{points} // $rest;
	refuse('LY310') if $rest > 0 && defined $hold->{released};
	refuse('LY309') if $rest > 0 && $hold->{to} <= $account->{now};
	refuse('LY308', $rest) if $points > $rest || $points == 0;

	$self->activity($world, $key, 'redeem', $now);
	my $entry = entry($world, $key, 'redeem', $now);
	$entry->{id} = $answer;
	foreach my $part (parts_of($account, $hold))
	{
		my $taken = $part->{points} - $part->{captured};
		$taken = $points if $taken > $points;
		next if $taken == 0;
		$points -= $taken;
		$part->{captured} += $taken;
		push @{ $hold->{taken} }, [ $now, $part->{lot}, $taken ];
		push @{ $account->{paid}{$answer} }, { lot => $part->{lot}, points => $taken, returned => 0 };
		move($account, $entry, lot($account, $part->{lot}), -$taken);

		# What was owed of it is so of what others hold.
		my $beyond = $part->{owed} - ($part->{points} - $part->{captured});
		next if $beyond <= 0;
		$part->{owed} -= $beyond;
		owe($account, lot($account, $part->{lot}), $beyond);
	}
	$world->{redemptions}{$answer} = $key;
	keep($world, $program, $op, $content, $answer, name_in($key));
	return $answer;
}

# Answers the points that it set free.
sub release
{
	my ($self, $world, $op, $now) = @_;
	my $key = $world->{holds}{ $op->{entry} } // refuse('LY004');
	my $account = visit($world, $key, $now);
	my $hold = $account->{holds}{ $op->{entry} };
	my $rest = rest($hold);
	return 0 if $rest == 0 || defined $hold->{released} || $hold->{to} <= $account->{now};
	my @open = grep { $_->{captured} < $_->{points} } parts_of($account, $hold);
	$hold->{released} = $now;
	entry($world, $key, 'release', $now);
	foreach my $part (@open)
	{
		my $lot = lot($account, $part->{lot});
		my @others = parts_in($account, $lot);
		my $owed = $part->{owed};
		$owed += $_->{owed} foreach @others;
		my $free = $part->{points} - $part->{captured};
		$owed = $free if $owed > $free;
		owe_less($owed - $part->{owed}, @others);
		$part->{owed} = 0;
		$self->make_up_held($world, $key, $account, $now, $lot, $owed) if $owed && $lot->{to} > $now;
		settle($world, $key, $account, $lot);
	}
	return $rest;
}

# Points change hands and keep their dates.
sub transfer
{
	my ($self, $world, $op, $now, $answer) = @_;
	my $currency = $op->{currency};
	my $program = $self->{config}{currencies}{$currency}{program};
	my ($from_key, $to_key) = map { "$currency/$_" } @$op{qw(member to)};
	my $points = $op->{points} eq 'all' ? $self->balance($world, $currency, $op->{member}, $now, $now) : $op->{points};

	$self->check_points($currency, $points);
	refuse('LY002') if grep { !$world->{members}{"$program/$_"} } @$op{qw(member to)};
	refuse('LY311') if $from_key eq $to_key;
	my $content = join ' ', 'transfer', $from_key, $to_key, $points, $op->{reason} // '';
	my $before = answered($world, $program, $op->{request}, $content);
	return $before if defined $before;

	refuse_gone($world, $_) foreach $from_key, $to_key;
	my ($from, $to) = map { visit($world, $_, $now) } $from_key, $to_key;
	$self->refuse_blocked($from, $currency);
	my @payments = payments($from, $points, $from->{now} > $to->{now} ? $from->{now} : $to->{now});
	$self->activity($world, $_, 'transfer', $now) foreach $from_key, $to_key;
	my ($taken, $given) = map { entry($world, $_, 'transfer', $now) } $from_key, $to_key;
	$world->{statement} = ++$statements;
	foreach (@payments)
	{
		my ($lot, $part) = @$_;
		move($from, $taken, $lot, -$part);
		credit($world, $to, $given, { map { $_ => $lot->{$_} } qw(from to issued) }, $now, $part);
	}
	keep($world, $program, $op, $content, $answer, @$op{qw(member to)});
	return $answer;
}

# What is left of an award that waits begins to live; it ends as it was to.
sub confirm
{
	my ($self, $world, $op, $now, $answer) = @_;
	my ($key, $no) = @$op{qw(account lot)};
	refuse('LY020') if $world->{gone}{$key} && $op->{entry} % 100000000 <= $world->{gone}{$key}{last};
	my @joined;
	my $account = join_visit($world, $key, $now, \@joined);
	my $lot = lot($account, $no);
	refuse('LY321') if $lot->{from} != NEVER;
	return $account->{confirmed}{$no} if $lot->{remaining} == 0 && $account->{confirmed}{$no};
	refuse('LY323') if $lot->{to} <= $now && ($lot->{remaining} || $lot->{expired});
	refuse('LY322') if $lot->{remaining} == 0;

	my $points = $lot->{remaining};
	my ($award) = grep { ($_->{own} // 0) == $no } map { @$_ } values %{ $account->{awards} };
	$world->{statement} = ++$statements;
	move($account, entry($world, $key, 'confirm', $now), $lot, -$points);
	my $entry = entry($world, $key, 'confirm', $now);
	$entry->{id} = $answer;
	my $own = credit($world, $account, $entry,
		{ from => ALWAYS, to => $lot->{to}, issued => $lot->{issued}, activity => $lot->{on_clock} }, $now, $points);
	@$award{qw(own let_off)} = ($own, 0) if $award && $own;
	$self->end_visit($world, root($world, $key), $now, \@joined);
	return $account->{confirmed}{$no} = $answer;
}

# Ends move away, never nearer, and the dead stay dead.
sub extend
{
	my ($self, $world, $op, $now, $answer) = @_;
	my $currency = $op->{currency};
	my $program = $self->{config}{currencies}{$currency}{program};
	my $key = "$currency/$op->{member}";

	refuse('LY002') if !$world->{members}{"$program/$op->{member}"};
	my $content = join ' ', 'extend', $key, $op->{until}, $op->{lot} // 'all', $op->{reason} // '';
	my $before = answered($world, $program, $op->{request}, $content);
	return $before if defined $before;

	refuse_gone($world, $key);
	my $account = visit($world, $key, $now);
	my $end = $self->{dates}{"until $currency $op->{until}"}{to};
	my @lots = grep { $_->{remaining} } @{ $account->{lots} };
	if (defined $op->{lot})
	{
		@lots = lot($account, $op->{lot}) // refuse('LY004');
		refuse('LY325') if $lots[0]{to} <= $account->{now};
	}
	my $extended;
	foreach my $lot (grep { $_->{to} > $account->{now} } @lots)
	{
		next if $lot->{to} >= $end;
		my $entry = entry($world, $key, 'extend', $now);
		$entry->{id} = $answer if !$extended++;
		if ($lot->{on_clock}) { set_clock($world, $key, $end) }
		else { $lot->{to} = $end }
	}
	refuse('LY324') if !$extended;
	keep($world, $program, $op, $content, $answer, $op->{member});
	return $answer;
}

# ---------------------------------------------------------------- pools

# How much a member of a pool may spend of an account at a time, its own or another's.
sub payable
{
	my ($self, $world, $pool, $currency, $member, $payer, $at) = @_;
	my $account = $world->{accounts}{"$currency/$payer"} // return 0;
	my $free = -$account->{debt};
	$free += $_->{remaining} - held($account, $_, $at) foreach grep { alive($_, $at) } @{ $account->{lots} };
	return 0 if $free <= 0;
	return $free if $payer eq $member;
	my $may = $world->{pools}{$pool}{$payer};
	my ($unit, $debt) = @{ $self->{config}{currencies}{$currency} }{qw(unit debt)};
	return 0 if $debt eq 'block' && $account->{debt} > 0;
	my $share = $free / $unit * $may->{share} / 10000 * $unit;
	$share = $free - $may->{keep} if $share > $free - $may->{keep};
	return $share > 0 ? $share : 0;
}

# The time by an account's clock, which does not move for having been looked at.
sub clock
{
	my ($world, $currency, $member, $now) = @_;
	my $account = $world->{accounts}{"$currency/$member"};
	return $account && $account->{now} > $now ? $account->{now} : $now;
}

sub pool_balance
{
	my ($self, $world, $pool, $currency, $member, $now) = @_;
	my $own = $world->{accounts}{"$currency/$member"};
	return 0 if !$world->{pools}{$pool}{$member}{redeems};
	return 0 if defined $world->{merged}{ member_of("$currency/$member") } || $world->{closed}{ member_of("$currency/$member") };
	return 0 if $own && $own->{debt} > 0 && $self->{config}{currencies}{$currency}{debt} eq 'block';
	my $sum = 0;
	$sum += $self->payable($world, $pool, $currency, $member, $_, clock($world, $currency, $_, $now)) foreach keys %{ $world->{pools}{$pool} };
	return $sum;
}

# Accounts in the order of their ids; those that nothing is known of, by their members.
sub by_id
{
	my ($self, $currency, @members) = @_;
	my %id = map { $_ => $self->{ids}{"$currency/$_"} // 0 } @members;
	return sort { $id{$a} <=> $id{$b} || $a cmp $b } @members;
}

# All the pool's lots in one row.
sub redeem_pool
{
	my ($self, $world, $op, $now, $answer) = @_;
	my ($pool, $currency, $member, $points) = @$op{qw(pool currency member points)};
	my $program = $self->{config}{currencies}{$currency}{program};
	$self->check_points($currency, $points);
	refuse('LY002') if !$world->{members}{"$program/$member"};
	my $content = join ' ', 'pool', $pool, $member, $points, $op->{reason} // '';
	my $before = answered($world, $program, $op->{request}, $content);
	return $before if defined $before;
	my $inside = $world->{pools}{$pool};
	refuse('LY361') if !$inside->{$member};
	refuse('LY362') if !$inside->{$member}{redeems};
	refuse_gone($world, "$currency/$member");
	my $own = $world->{accounts}{"$currency/$member"};
	$self->refuse_blocked($own, $currency) if $own;

	my (%limit, %place, @lots);
	$place{$_} = keys %place foreach $self->by_id($currency, keys %$inside);
	foreach my $payer (keys %$inside)
	{
		my $account = $world->{accounts}{"$currency/$payer"} // next;
		my $at = clock($world, $currency, $payer, $now);
		$limit{$payer} = $self->payable($world, $pool, $currency, $member, $payer, $at);
		push @lots, map { { payer => $payer, lot => $_, free => $_->{remaining} - held($account, $_, $at) } } grep { alive($_, $at) } @{ $account->{lots} };
	}
	my (@paid, %payers);
	foreach (sort { $a->{lot}{to} <=> $b->{lot}{to} || $a->{lot}{earned} <=> $b->{lot}{earned} || $place{ $a->{payer} } <=> $place{ $b->{payer} } || $a->{lot}{no} <=> $b->{lot}{no} } @lots)
	{
		my $payer = $_->{payer};
		my ($part) = sort { $a <=> $b } $points, $_->{free}, $limit{$payer};
		next if $part <= 0;
		push @paid, { payer => $payer, lot => $_->{lot}{no}, points => $part, returned => 0 };
		$points -= $part;
		$limit{$payer} -= $part;
		$payers{$payer} = 1;
	}
	refuse('LY301', $points) if $points > 0;
	my @payers = $self->by_id($currency, keys %payers);
	foreach my $payer (@payers)
	{
		my $key = "$currency/$payer";
		my $account = visit($world, $key, $now);
		my $entry = entry($world, $key, 'redeem', $now);
		$entry->{pooled} = $answer;
		$self->activity($world, $key, 'redeem', $now);
		move($account, $entry, lot($account, $_->{lot}), -$_->{points}) foreach grep { $_->{payer} eq $payer } @paid;
	}
	$world->{pooled}{$answer} = { currency => $currency, paid => \@paid };
	keep($world, $program, $op, $content, $answer, $member, $payers[0]);
	return $answer;
}

sub give_back_pool
{
	my ($self, $world, $op, $now, $answer) = @_;
	my $redemption = $world->{pooled}{ $op->{entry} };
	my $currency = $redemption->{currency};
	my $program = $self->{config}{currencies}{$currency}{program};

	$self->check_points($currency, $op->{points}) if defined $op->{points};
	my $content = join ' ', 'giveback', $op->{entry}, $op->{points} // 'all', $op->{grace} // 'none', $op->{reason} // '';
	my $before = answered($world, $program, $op->{request}, $content);
	return $before if defined $before;

	my @paid = map { {%$_} } @{ $redemption->{paid} };

	# Looked for by the first who paid, then by all of them in order.
	my $gone = $redemption->{gone} // {};
	my @payers = $self->by_id($currency, keys %{ { map { $_->{payer} => 1 } @paid } });
	refuse('LY020') if $gone->{ $payers[0] };
	refuse('LY020') if grep { $gone->{$_} } @payers;
	my $left = 0;
	$left += $_->{points} - $_->{returned} foreach @paid;
	my $points = $op->{points} // $left;
	refuse('LY303', $left) if $points > $left || $points == 0;
	my %parts;
	foreach my $payment (reverse @paid)
	{
		my $part = $payment->{points} - $payment->{returned};
		$part = $points if $part > $points;
		next if $part == 0;
		$payment->{returned} += $part;
		$points -= $part;
		push @{ $parts{ $payment->{payer} } }, [ $payment->{lot}, $part ];
	}
	$world->{statement} = ++$statements;
	my %joined;
	foreach my $payer ($self->by_id($currency, keys %parts))
	{
		my $key = "$currency/$payer";
		my $joined = $joined{ root($world, $key) } //= [];
		my $account = join_visit($world, $key, $now, $joined);
		my $entry = entry($world, $key, 'giveback', $now);
		$entry->{pooled} = $op->{entry};
		$self->into_lots($world, $key, $account, $entry, $now, $op->{grace}, $joined, @{ $parts{$payer} });
	}
	$self->end_visit($world, $_, $now, $joined{$_}) foreach sort keys %joined;
	$world->{pooled}{ $op->{entry} } = { %$redemption, paid => \@paid };
	keep($world, $program, $op, $content, $answer, map { $_->{payer} } @paid);
	return $answer;
}

# Who is in it, with what permissions.
sub change_pool
{
	my ($world, $op) = @_;
	my %inside = %{ $world->{pools}{ $op->{pool} } };
	my ($program) = split m{/}, $op->{currency};
	refuse('LY002') if !$world->{members}{"$program/$op->{member}"};
	refuse('LY361') if $op->{do} eq 'leave' && !$inside{ $op->{member} };
	refuse_gone($world, "$op->{currency}/$op->{member}") if $op->{do} eq 'join';
	delete $inside{ $op->{member} };
	$inside{ $op->{member} } = $op->{permissions} if $op->{do} eq 'join';
	$world->{pools}{ $op->{pool} } = \%inside;
	return '';
}

# What could be spent at a moment: what had happened by then to lots alive then. From now
# on that is all that is there, though its transaction may have begun a little later.
sub balance
{
	my ($self, $world, $currency, $member, $at, $now) = @_;
	my $program = $self->{config}{currencies}{$currency}{program};
	refuse('LY002') if !$world->{members}{"$program/$member"};
	my $account = $world->{accounts}{"$currency/$member"} // return 0;
	my $gone = $world->{gone}{"$currency/$member"};
	refuse('LY020') if $gone && $at < $gone->{before};
	my $sum = 0;
	$at = $account->{now} if $at >= $now && $at < $account->{now};
	foreach (@{ $account->{effects} })
	{
		my ($time, $lot, $points) = @$_;
		$sum += $points if $time <= $at && ($lot == 0 || alive(lot($account, $lot), $at));
	}
	foreach my $hold (grep { holds_at($_, $at) } values %{ $account->{holds} })
	{
		foreach (map({ [ $_->{lot}, -$_->{points} ] } @{ $hold->{parts} }),
			map({ [ $_->[1], $_->[2] ] } grep { $_->[0] <= $at } @{ $hold->{taken} }))
		{
			my ($lot, $points) = @$_;
			$sum += $points if alive(lot($account, $lot), $at);
		}
	}
	foreach my $hold (grep { $_->{to} <= $at } values %{ $account->{holds} })
	{
		$sum -= $_->{owed} foreach grep { alive(lot($account, $_->{lot}), $at) } @{ $hold->{parts} };
	}
	return $sum;
}

# A statement's opening and closing balance, and what each kind comes to between them: each
# effect from when it and the lot have begun, until the lot ends. Kinds may have another name.
sub period
{
	my ($self, $world, $key, $from, $to, $now, $other) = @_;
	my ($program, $member) = (split(m{/}, $key))[ 0, 2 ];
	my $account = $world->{accounts}{$key} // { effects => [], holds => {} };
	my %sum = (opening => 0, closing => 0);
	my $movement = sub {
		my ($at, $kind, $points) = @_;
		$sum{opening} += $points if $at < $from;
		$sum{closing} += $points if $at < $to;
		$sum{$kind} += $points if $at >= $from && $at < $to;
	};
	my $effect = sub {
		my ($time, $no, $points, $kind) = @_;
		my $lot = lot($account, $no) // { from => ALWAYS, to => NEVER };
		my $begins = $time > $lot->{from} ? $time : $lot->{from};
		return if $begins >= $lot->{to};
		$movement->($begins, $kind, $points);
		$movement->($lot->{to}, 'expire', -$points) if $lot->{to} < NEVER;
	};
	$effect->(@$_[ 0 .. 2 ], $other && $_->[3] ne 'expire' ? $other : $_->[3]) foreach @{ $account->{effects} };
	foreach my $hold (values %{ $account->{holds} })
	{
		my $end = defined $hold->{released} && $hold->{released} < $hold->{to} ? $hold->{released} : $hold->{to};
		foreach my $part (@{ $hold->{parts} })
		{
			$effect->($hold->{from}, $part->{lot}, -$part->{points}, 'hold');
			$effect->($end, $part->{lot}, $part->{points} - $part->{captured} - $part->{owed}, 'release');
		}
		$effect->($_->[0], $_->[1], $_->[2], 'release') foreach @{ $hold->{taken} };
	}
	return %sum;
}

# How many of an account's entries can be in the archive by a moment: at least, if a hold that is
# over still counts as open since nobody came by, and at most. All before a moment, and up to a number that a checkpoint saw.
sub archivable
{
	my ($self, $world, $key, $before, $entries, @seen) = @_;
	my $account = $world->{accounts}{$key} // return (0, 0);
	my %waits = map { $_->{no} => 1 } grep { $_->{from} == NEVER && $_->{remaining} } @{ $account->{lots} };
	my @stay;
	foreach my $entry (@$entries)
	{
		my $late = $entry->{event_time} >= $before || $entry->{now} >= $before;
		push @stay, $entry->{no} if $late || grep { $waits{$_} } split /,/, $entry->{lots};
		next if $entry->{kind} ne 'redeem' || !$late;
		push @stay, $entry->{reverses} if $entry->{reverses};
	}
	my @may_stay = @stay;
	foreach my $hold (grep { rest($_) } values %{ $account->{holds} })
	{
		my $no = $hold->{id} % 100000000;
		my $end = $hold->{released} // $hold->{to};
		push @stay, $no if $end >= $before;
		push @may_stay, $no if $end >= $before || !defined $hold->{released};
	}
	my @numbers;
	foreach my $stays (\@may_stay, \@stay)
	{
		my ($first) = sort { $a <=> $b } @$stays, 2147483647;
		my ($last) = sort { $b <=> $a } 0, grep { $_ < $first } @seen;
		push @numbers, $last;
	}
	return @numbers;
}

# ---------------------------------------------------------------- operations

# Performs one operation on a world and answers what it must answer; refusals are thrown.
# A new entry's id is the ledger's to choose: it comes as $answer.
sub perform
{
	my ($self, $world, @op) = @_;
	$world->{touched} = {};
	my $result = $self->perform_one($world, @op);
	$self->review($world, $_) foreach sort keys %{ $world->{touched} };
	return $result;
}

sub perform_one
{
	my ($self, $world, $op, $now, $answer) = @_;
	$answer //= 'new';
	$op = known_as($world, $op);
	my $do = $op->{do};
	my $table = $op->{table};

	if ($do eq 'insert')
	{
		my @changes;
		foreach my $row (@{ $op->{rows} })
		{
			my $there = $world->{rows}{"$table/$row->{id}"};
			if (!$there) { push @changes, [ undef, $row ] }
			elsif ($op->{conflict} eq 'update')
			{
				push @changes, [ $there, { %$there, map { $_ => $row->{$_} } @{ $op->{columns} } } ];
			}
		}

		# The triggers of an upsert: all updates, then all inserts.
		my @updates = grep { $_->[0] } @changes;
		my @inserts = grep { !$_->[0] } @changes;
		$self->change_rows($world, $table, $now, @updates) if @updates;
		local @looks = @looks[ 1 .. $#looks ] if @looks > 1;
		$self->change_rows($world, $table, $now, @inserts) if @inserts;
		return join ',', sort map { $_->[1]{id} } @changes;
	}
	if ($do eq 'update' || $do eq 'delete')
	{
		my @before = grep { defined } map { $world->{rows}{"$table/$_"} } @{ $op->{ids} };
		my @changes = map { [ $_, $do eq 'update' ? changed($_, $op->{set}) : undef ] } @before;
		$self->change_rows($world, $table, $now, @changes);
		return join ',', sort map { ($_->[1] // $_->[0])->{id} } @changes;
	}
	if ($do eq 'backfill')
	{
		my ($source) = grep { $_->{table} eq $table && $_->{program} eq $op->{program} } @{ $self->{config}{sources} };
		my @rows = map { $world->{rows}{$_} } sort grep { m{^\Q$table\E/} } keys %{ $world->{rows} };
		$self->statement($world, $source, $now, 1, map { [ undef, $_ ] } @rows);
		return '';
	}
	return $self->spend($world, $op, $now, $answer) if $do eq 'redeem' || $do eq 'adjust';
	return $self->give_back($world, $op, $now, $answer) if $do eq 'giveback';
	return $self->hold($world, $op, $now, $answer) if $do eq 'hold';
	return $self->capture($world, $op, $now, $answer) if $do eq 'capture';
	return $self->release($world, $op, $now) if $do eq 'release';
	return $self->transfer($world, $op, $now, $answer) if $do eq 'transfer';
	return $self->merge($world, $op, $now, $answer) if $do eq 'merge';
	return $self->unmerge($world, $op, $now, $answer) if $do eq 'unmerge';
	return $self->close_or_reopen($world, $op, $now) if $do eq 'close' || $do eq 'reopen';
	return $self->erase($world, $op, $now, $answer) if $do eq 'erase';
	return $self->confirm($world, $op, $now, $answer) if $do eq 'confirm';
	return $self->extend($world, $op, $now, $answer) if $do eq 'extend';
	return $self->redeem_pool($world, $op, $now, $answer) if $do eq 'pool_redeem';
	return change_pool($world, $op) if $do =~ /^(join|leave)$/;
	if ($do eq 'balance')
	{
		return join ',', map { $self->balance($world, $op->{currency}, $op->{member}, $_ // $now, $now) } @{ $op->{at} };
	}
	die "unknown operation $do\n";
}

# Columns are set to values, or (refunded, as a share in percent) to a part of the amount.
sub changed
{
	my ($row, $set) = @_;
	my %row = (%$row, %$set);
	if (defined(my $share = delete $row{share}))
	{
		my $cents = $row{amount} / 100;
		$row{refunded} = round_to('floor', $cents * $share, 100, 1) * 100;
	}
	$row{id} = $row->{id} . $set->{suffix} if defined $set->{suffix};
	delete $row{suffix};
	return \%row;
}

# Booking of a dead lot's end by the expiry job, as the ledger shows it: true if it was due.
sub expire
{
	my ($world, $key, $now, $expected) = @_;
	my $account = join_visit($world, $key, $now, []);
	foreach my $lot (grep { $_->{no} eq $expected->{lot} } @{ $account->{lots} })
	{
		my $rest = free($account, $lot);
		next if $lot->{to} > $now || $rest != -$expected->{points};
		move($account, entry($world, $key, 'expire', $lot->{to}), $lot, -$rest);
		$lot->{expired} += $rest;
		return 1;
	}
	return 0;
}

1;
