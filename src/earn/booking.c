/*
 * booking.c
 *		What is booked for a row of a source, and the visits that book what it is due.
 *
 * What a changed row owes is never reckoned from the change alone: the points
 * booked for it so far are read from the ledger, what it should have by the
 * rules recorded for it is reckoned anew, and the difference is booked.
 *
 * Memory: all that a visit makes goes with it (ledger/post), but for what is
 * left behind in the Booking.
 */
#include "postgres.h"

#include "access/sysattr.h"
#include "access/xact.h"
#include "miscadmin.h"
#include "port/pg_bitutils.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

#include "base/array.h"
#include "base/errors.h"
#include "earn/booking.h"
#include "earn/rule.h"
#include "earn/texts.h"
#include "ledger/merged.h"

/* ----------------------------------------------------------------
 *		What is booked for a row
 * ---------------------------------------------------------------- */

static Booked *
booked_of_rule(Booked **booked, int *n, int32 rule_id)
{
	for (int i = 0; i < *n; i++)
		if ((*booked)[i].rule_id == rule_id)
			return &(*booked)[i];
	*booked = *n == 0 ? palloc(sizeof(Booked) * 4) :
		*n % 4 == 0 ? repalloc(*booked, sizeof(Booked) * (*n + 4)) : *booked;
	memset(&(*booked)[*n], 0, sizeof(Booked));
	(*booked)[*n].rule_id = rule_id;
	return &(*booked)[(*n)++];
}

static int
by_rule(const void *a, const void *b)
{
	return ((const Booked *) a)->rule_id - ((const Booked *) b)->rule_id;
}

/* Written since the statement began: other rows', that came by this row's key. */
static bool
booked_just_now(const Booking *booking, TupleTableSlot *slot)
{
	bool		isnull;
	TransactionId writer = DatumGetTransactionId(slot_getsysattr(slot, MinTransactionIdAttributeNumber, &isnull));

	return TransactionIdIsCurrentTransactionId(writer) &&
		DatumGetCommandId(slot_getsysattr(slot, MinCommandIdAttributeNumber, &isnull)) >= booking->began;
}

int
booked_load(const Booking *booking, Post *post, int64 account_id, const Image *image, bool whole_event,
			Booked **booked)
{
	TupleTableSlot *slot;
	int			n = 0;

	*booked = NULL;
	post_entries_of(post, account_id, image->event);
	while ((slot = post_next_entry(post)) != NULL)
	{
		Datum	   *values = slot->tts_values - 1;
		bool	   *nulls = slot->tts_isnull - 1;
		Booked	   *sum;
		int32		entry_no;
		int32		award;

		slot_getallattrs(slot);
		if (nulls[ENTRY_SOURCE] || DatumGetInt32(values[ENTRY_SOURCE]) != booking->source->source_id ||
			nulls[ENTRY_RULE])
			continue;
		if (whole_event ? nulls[ENTRY_LINE] :
			!same_text(image->line, slot_text(slot, ENTRY_LINE)) ||
			booked_just_now(booking, slot))
			continue;
		sum = booked_of_rule(booked, &n, DatumGetInt32(values[ENTRY_RULE]));
		sum->points = points_add(sum->points, DatumGetPoints(values[ENTRY_POINTS]));
		if (!nulls[ENTRY_BASE])
			sum->base = points_add(sum->base, DatumGetPoints(values[ENTRY_BASE]));
		if (!nulls[ENTRY_REFUNDED])
			sum->refunded = points_add(sum->refunded, DatumGetPoints(values[ENTRY_REFUNDED]));
		if (!nulls[ENTRY_FORGIVEN])
			sum->forgiven = points_add(sum->forgiven, DatumGetPoints(values[ENTRY_FORGIVEN]));

		entry_no = DatumGetInt32(values[ENTRY_NO]);
		if (sum->first_entry == 0 || entry_no < sum->first_entry)
		{
			sum->first_entry = entry_no;
			sum->time = DatumGetTimestampTz(values[ENTRY_EVENT_TIME]);
			sum->whole = entry_kind_of(values[ENTRY_KIND]) != ENTRY_REVERSE;
		}
		if (DatumGetPoints(values[ENTRY_POINTS]) <= 0)
			continue;
		/* A change of key carries on an award made under another. */
		award = nulls[ENTRY_REVERSES] ? entry_no : DatumGetInt32(values[ENTRY_REVERSES]);
		if (nulls[ENTRY_LOT] && entry_no > sum->split_entry)
		{
			sum->split_entry = entry_no;
			sum->split_award = award;
		}
		else if (!nulls[ENTRY_LOT] && entry_no > sum->lot_entry)
		{
			sum->lot_entry = entry_no;
			sum->lot_award = award;
			sum->lot_no = DatumGetInt32(values[ENTRY_LOT]);
		}
	}
	if (n > 1)
		qsort(*booked, n, sizeof(Booked), by_rule);
	return n;
}

/* All entries of an award together add what its row was, or nothing if it did not earn, or not by that rule. */
static bool
adds_up(const Booked *booked, const Image *was)
{
	return (booked->base == 0 && booked->refunded == 0) ||
		(was->earning && booked->base == was->amount && booked->refunded == was->refunded);
}

void
booked_refuse_discarded(const Booking *booking, Post *post, int64 account_id, const Image *image, bool was,
						 const Booked *booked, int nbooked)
{
	TimestampTz time = DT_NOEND;

	if (nbooked == 0 && (image->earning || image->gone))
		time = booking->source->event_time == NULL ? DT_NOBEGIN : image->time;
	for (int i = 0; i < nbooked; i++)
	{
		if (was && !adds_up(&booked[i], image))
			time = DT_NOBEGIN;
		else if (image->earning)
			time = Min(time, booked[i].whole ? booked[i].time : DT_NOBEGIN);
	}
	post_refuse_discarded(post, account_id, time);
}

/* The lot that a row's points are in; NULL: none took any. */
static Lot *
own_lot(Account *account, const Booked *booked)
{
	int32		lot_no = 0;

	if (booked->split_entry > booked->lot_entry)
		lot_no = post_allocated_lot(account->post, account->account_id, booked->split_award);
	if (lot_no == 0)
		lot_no = booked->lot_no;
	return lot_no == 0 ? NULL : account_settle_lot(account, lot_no);
}

/* ----------------------------------------------------------------
 *		What a row comes to; if it is too much, which row
 * ---------------------------------------------------------------- */

static Points
due_points(const Rule *rule, const Image *image, Points base, Points refunded)
{
	Points		points;

	if (!rule_points(rule, base, refunded, &points))
	{
		char		amount[POINTS_MAXLEN];

		points_print(base, amount);
		ereport(ERROR,
				(errcode(ERRCODE_LY_INVALID_AMOUNT),
				 errmsg("an event would earn more points than can be counted"),
				 errdetail("The most is 922337203685477.5807. The row is of %s, rated amount %s.",
						   image_name(image), amount),
				 errhint("Correct the event's amount, or let the rule give fewer points.")));
	}
	return points;
}

/* With the row's, those of all lines of its event. */
static Points
event_amount(const Image *image, Points others, Points amount)
{
	Points		sum;

	if (pg_add_s64_overflow(others, amount, &sum))
		ereport(ERROR,
				(errcode(ERRCODE_LY_INVALID_AMOUNT),
				 errmsg("the amounts of an event come to more than can be counted"),
				 errdetail("The most is 922337203685477.5807. The row is of %s.", image_name(image)),
				 errhint("Correct the amounts of the event's rows.")));
	return sum;
}

/* ----------------------------------------------------------------
 *		A visit
 * ---------------------------------------------------------------- */

/* A reversal that waits until the visit's credits are in, so that they can pay for it. */
typedef struct Reversal
{
	Account    *account;
	const Rule *rule;
	const Task *task;
	const Image *image;
	Booked		booked;
	Points		points;
	Points		base;
	Points		refunded;
	int			visits;
	Points		spend;
} Reversal;

/* What book_difference() is to bring a row to, by one rule. */
typedef struct Aim
{
	bool		earning;
	bool		moved;			/* to another account or another rule's time */
	bool		counted;		/* by this rule's entries the tier's metric counted the row, */
	bool		counts;			/* and by these it is to count it */
} Aim;

typedef struct Visit
{
	Booking    *booking;
	Post	   *post;
	Task	   *tasks;
	int			ntasks;
	/* of one run of the work function */
	Reversal   *reversals;
	int			nreversals;
	int			reversals_room;
	const text *event;			/* whose sums are in group */
	Booked	   *group;
	int			ngroup;
	texts_hash *met;			/* keys of the rows brought to their state */
	int			nstrays;		/* there were before it */
	const Image *dated;			/* the row whose points are reckoned with */
} Visit;

/* Of a row whose time is near the ends of what can be counted, and whose points would begin or end beyond. */
static void
tell_dated_row(void *arg)
{
	const Image *image = ((const Visit *) arg)->dated;

	if (image == NULL || geterrcode() != ERRCODE_DATETIME_VALUE_OUT_OF_RANGE)
		return;
	errdetail("Points of an event at %s would begin or end beyond what can be counted. The row is of %s.",
			  timestamptz_to_str(image->time), image_name(image));
	errhint("Record when the event happened.");
}

/* What was spent: a row of a source without amounts counts as 1 for the rules, and as no money. */
static Points
money(const Visit *visit, Points base, Points refunded)
{
	return visit->booking->source->amount == NULL ? 0 : base - refunded;
}

static void
describe(Entry *entry, const Visit *visit, const Rule *rule, const Image *image, Points base, Points refunded)
{
	entry->source_id = visit->booking->source->source_id;
	entry->rule_id = rule->rule_id;
	entry->base = base;
	entry->refunded = refunded;
	entry->event = image->event;
	entry->line = image->line;
	entry->metric_time = image->time;
}

/*
 * The sums of an event by one rule, with what this visit booked so far.  The
 * lines of an event mostly follow each other, so the last one is kept.
 */
static Booked *
group_sums(Visit *visit, Account *account, const Rule *rule, const Image *image)
{
	const text *event = image->event;

	if (visit->event == NULL || !same_text(visit->event, event))
	{
		visit->ngroup = booked_load(visit->booking, account->post, account->account_id, image, true, &visit->group);
		/* Without times a line that is new can't be told from one that is old. */
		if (visit->ngroup > 0 || visit->booking->source->event_time != NULL)
			booked_refuse_discarded(visit->booking, account->post, account->account_id, image, false,
									visit->group, visit->ngroup);
		visit->event = event;
		for (int i = 0; i < account->nentries; i++)
		{
			Entry	   *entry = &account->entries[i];

			if (entry->rule_id != 0 && entry->line != NULL && same_text(entry->event, event))
			{
				Booked	   *sum = booked_of_rule(&visit->group, &visit->ngroup, entry->rule_id);

				sum->points += entry->points;
				sum->base += entry->base;
				sum->refunded += entry->refunded;
				sum->forgiven += entry->forgiven;
				if (entry->points > 0 && entry->lot_no != 0)
				{
					sum->lot_no = entry->lot_no;
					sum->lot_entry = sum->lot_award = entry->entry_no;
				}
			}
		}
	}
	return booked_of_rule(&visit->group, &visit->ngroup, rule->rule_id);
}

/*
 * Rates a row by rules that nothing is booked for; rules: those to use, NULL
 * for the ones in force.  The tier's metric counts it if no other entry does.
 */
static void
award(Visit *visit, Account *account, const Image *image, const int32 *rules, int nrules, bool counts)
{
	const Source *source = visit->booking->source;
	RatedEvent	event = {source->kind, image->time, image->amount, image->refunded};
	const Rule **matches = NULL;
	LotDates	dates;
	bool		dated = false;

	if (rules == NULL)
		nrules = rules_for(source->program_id, &event, &matches);
	for (int i = 0; i < nrules; i++)
	{
		const Rule *rule = rules ? rule_by_id(rules[i]) : matches[i];
		Booked	   *group = NULL;
		Lot		   *own = NULL;
		Entry	   *entry;
		Points		points;

		if (rule->currency->currency_id != account->currency->currency_id)
			continue;
		if (rule->by_event && image->line != NULL)
		{
			/* The event's award after this line, less its award before it. */
			group = group_sums(visit, account, rule, image);
			group->base = event_amount(image, group->base, image->amount);
			group->refunded = event_amount(image, group->refunded, image->refunded);
			points = points_sub(due_points(rule, image, group->base, group->refunded),
								points_sub(group->points, group->forgiven));
			/* A line that comes refunded may leave the event with less; what is to be confirmed is so at once. */
			if (points < 0 || account->currency->confirm)
				own = own_lot(account, group);
		}
		else
			points = due_points(rule, image, image->amount, image->refunded);

		if (points < 0)
			merged_recall(account, -points, own);

		/* Even nothing is booked: it says by which rule a later change is to be rated. */
		entry = points < 0 ? account_entry(account, ENTRY_REVERSE, account->post->now) :
			account_entry(account, ENTRY_EARN, image->time);
		describe(entry, visit, rule, image, image->amount, image->refunded);
		if (counts)
		{
			entry->visits = 1;
			entry->spend = money(visit, image->amount, image->refunded);
			counts = false;
		}
		if (points > 0)
		{
			if (!dated)
				lot_dates(account->currency, image->time, &dates);
			dated = true;
			if (own != NULL && own->dates.valid_from == DT_NOEND && own->dates.expires_at > account->as_of)
				account_credit_lot(account, entry, points, own);
			else
				own = account_credit(account, entry, points, &dates);
			if (group != NULL && own != NULL)
			{
				group->lot_no = own->lot_no;
				group->lot_entry = group->lot_award = entry->entry_no;
			}
		}
		else if (points < 0)
			account_take_back(account, entry, -points, own);
		if (group != NULL)
		{
			group->points += entry->points;
			group->forgiven += entry->forgiven;
		}
	}
}

static void
queue_reversal(Visit *visit, const Reversal *reversal)
{
	visit->reversals = array_grow(visit->reversals, visit->nreversals, &visit->reversals_room, sizeof(Reversal));
	visit->reversals[visit->nreversals++] = *reversal;
}

TimestampTz
booked_time(const Booking *booking, const Image *image, const Booked *booked)
{
	return booking->source->event_time != NULL || booked->first_entry == 0 ? image->time : booked->time;
}

static void
describe_reversal(Entry *entry, const Visit *visit, const Reversal *reversal)
{
	describe(entry, visit, reversal->rule, reversal->image, reversal->base, reversal->refunded);
	entry->metric_time = booked_time(visit->booking, reversal->image, &reversal->booked);
	entry->visits = reversal->visits;
	entry->spend = reversal->spend;
}

static Entry *
reverse(Visit *visit, const Reversal *reversal)
{
	Account    *account = reversal->account;
	/* The lot first: booking its end makes an entry of its own, and so does what is brought back to it. */
	Lot		   *own = own_lot(account, &reversal->booked);
	Entry	   *entry;

	merged_recall(account, reversal->points, own);
	entry = account_entry(account, ENTRY_REVERSE, account->post->now);
	describe_reversal(entry, visit, reversal);
	account_take_back(account, entry, reversal->points, own);
	return entry;
}

/*
 * Books what is missing between what is booked for a row by one rule and what
 * should be.  Points that an earlier reversal let off (forgiven) are neither
 * taken again nor given back.  A row that is moved takes along even what is
 * never reversed.
 */
static void
book_difference(Visit *visit, Account *account, const Task *task, const Image *image,
				const Rule *rule, const Booked *booked, const Aim *aim)
{
	bool		earning = aim->earning;
	Points		base = earning ? image->amount : 0;
	Points		refunded = earning ? image->refunded : 0;
	Booked		sums = *booked;
	Booked	   *group = NULL;
	Points		target;
	Points		forgiven;
	Reversal	change = {account, rule, task, image, *booked};
	Lot		   *own = NULL;
	Points		again = 0;
	LotDates	dates;
	Entry	   *entry;

	change.base = base - booked->base;
	change.refunded = refunded - booked->refunded;
	if (aim->counts)
	{
		change.spend += money(visit, base, refunded);
		change.visits++;
	}
	if (aim->counted)
	{
		change.spend -= money(visit, booked->base, booked->refunded);
		change.visits--;
	}
	if (rule->by_event && image->line != NULL)
	{
		group = group_sums(visit, account, rule, image);
		group->base = event_amount(image, group->base, change.base);
		group->refunded = event_amount(image, group->refunded, change.refunded);
		sums = *group;
		base = sums.base;
		refunded = sums.refunded;
		earning = earning || base > 0;
	}
	target = earning ? due_points(rule, image, base, refunded) : 0;

	if (target < sums.points - sums.forgiven)
	{
		change.points = sums.points - sums.forgiven - target;
		if (!earning && !aim->moved && rule->reversal == REVERSAL_NEVER)
		{
			entry = account_entry(account, ENTRY_REVERSE, account->post->now);
			describe_reversal(entry, visit, &change);
			entry->forgiven = change.points;
			if (group != NULL)
				group->forgiven += entry->forgiven;
			return;
		}
		if (group == NULL)
		{
			queue_reversal(visit, &change);
			return;
		}
		entry = reverse(visit, &change);
		group->points += entry->points;
		group->forgiven += entry->forgiven;
		return;
	}

	/* Between what is booked and what was let off of it: that much less is let off. */
	if (target <= sums.points && sums.points - target == sums.forgiven &&
		change.base == 0 && change.refunded == 0 && change.visits == 0)
		return;

	forgiven = Max(sums.points - target, 0);
	if (target > sums.points || forgiven < sums.forgiven)
		own = own_lot(account, booked);
	/* Owed again though it had died: to be let off again if it is taken back once more. */
	if (own != NULL && forgiven < sums.forgiven && rule->reversal != REVERSAL_NEVER)
	{
		again = Min(own->waived, sums.forgiven - forgiven);
		own->waived -= again;
		own->changed |= again > 0;
		merged_owe_again(account, own, sums.forgiven - forgiven - again);
	}
	entry = account_correction(account);
	describe_reversal(entry, visit, &change);
	if (again > 0 && own->dates.valid_from == DT_NOEND)
		entry->unconfirmed = again;
	entry->forgiven = forgiven - sums.forgiven;
	if (target > sums.points && own != NULL)
		account_credit_lot(account, entry, target - sums.points, own);
	else if (target > sums.points)
	{
		lot_dates(account->currency, booked_time(visit->booking, image, booked), &dates);
		account_credit(account, entry, target - sums.points, &dates);
	}
	if (group != NULL)
	{
		group->points += entry->points;
		group->forgiven += entry->forgiven;
	}
}

/* A row's key changed: what is booked for it goes on under the new one, in the same lot. */
static void
rekey(Visit *visit, Account *account, const Task *task, Booked *booked, int nbooked)
{
	const Image *before = task->change->before;

	for (int i = 0; i < nbooked; i++)
	{
		const Rule *rule = rule_by_id(booked[i].rule_id);
		bool		split = booked[i].split_entry > booked[i].lot_entry;
		Entry	   *entry;

		if (rule->currency->currency_id != account->currency->currency_id)
			continue;
		entry = account_entry(account, ENTRY_REKEY, account->post->now);
		describe(entry, visit, rule, before, -booked[i].base, -booked[i].refunded);
		entry->lot_no = split ? 0 : booked[i].lot_no;
		entry->points = -booked[i].points;
		entry->forgiven = -booked[i].forgiven;
		entry = account_entry(account, ENTRY_REKEY, account->post->now);
		describe(entry, visit, rule, task->image, booked[i].base, booked[i].refunded);
		entry->lot_no = split ? 0 : booked[i].lot_no;
		entry->points = booked[i].points;
		entry->forgiven = booked[i].forgiven;
		entry->reverses = split ? booked[i].split_award : booked[i].lot_award;
	}
	visit->event = NULL;

	/* What is left of the event that a line was of may be worth less, or more, without it. */
	if (before->line == NULL || (task->image->line != NULL && same_text(before->event, task->image->event)))
		return;
	for (int i = 0; i < nbooked; i++)
	{
		const Rule *rule = rule_by_id(booked[i].rule_id);
		Booked		rest = booked[i];

		if (!rule->by_event || rule->currency->currency_id != account->currency->currency_id)
			continue;
		rest.points = rest.base = rest.refunded = rest.forgiven = 0;
		book_difference(visit, account, task, before, rule, &rest, &(Aim) {0});
	}
}

bool
booking_begins(const Booking *booking, const Currency *currency, const Image *before, const Image *after,
			   int nbooked)
{
	RatedEvent	event = {booking->source->kind, before->time, before->amount, before->refunded};
	const Rule **matches;
	int			n;

	if (!before->earning ||
		(nbooked > 0 && (before->amount == 0 || before->refused || booking->settles)) ||
		(booking->within_trigger && !same_key(before, after)))
		return true;
	if (before->time == after->time)
		return false;
	n = rules_for(booking->source->program_id, &event, &matches);
	for (int i = 0; i < n; i++)
		if (matches[i]->currency->currency_id == currency->currency_id)
			return false;
	return true;
}

/* By a rule that is recorded for a row but not for its present time, nothing is left. */
static bool
is_active(const Booked *booked)
{
	return booked->base != 0 || booked->points != booked->forgiven;
}

/* And what an inner statement booked for the row under its new key. */
static int
add_booked(Visit *visit, Account *account, const Image *image, Booked **booked, int nbooked)
{
	Booked	   *more;
	int			nmore = booked_load(visit->booking, account->post, account->account_id, image, false, &more);

	for (int i = 0; i < nmore; i++)
	{
		Booked	   *sum = booked_of_rule(booked, &nbooked, more[i].rule_id);

		more[i].points = points_add(more[i].points, sum->points);
		more[i].base = points_add(more[i].base, sum->base);
		more[i].refunded = points_add(more[i].refunded, sum->refunded);
		more[i].forgiven = points_add(more[i].forgiven, sum->forgiven);
		*sum = more[i];
	}
	if (nbooked > 1)
		qsort(*booked, nbooked, sizeof(Booked), by_rule);
	return nbooked;
}

bool
booked_any_active(const Booked *booked, int nbooked)
{
	for (int i = 0; i < nbooked; i++)
		if (is_active(&booked[i]))
			return true;
	return false;
}

bool
booked_has_base(const Booked *booked, int nbooked)
{
	for (int i = 0; i < nbooked; i++)
		if (booked[i].base != 0)
			return true;
	return false;
}

/*
 * Where a deferred constraint, or a key that is none, lets two rows of a key
 * meet in one statement, the first has all that is booked for it.
 */
static bool
first_of_key(Visit *visit, Account *account, const Image *image)
{
	bool		found;

	if (visit->ntasks == 1)
		return true;
	if (visit->met == NULL)
		visit->met = texts_create(account->post->context, visit->ntasks, NULL);
	texts_insert(visit->met, row_key(image->event, image->line), &found);
	return !found;
}

/*
 * A row that was redated, or that comes to earn (again), is brought under the
 * rules in force at its time, else it keeps those recorded.
 */
static void
bring_to_state(Visit *visit, Account *account, const Task *task, bool redated)
{
	const Source *source = visit->booking->source;
	const Image *image = task->image;
	const Image *before = task->change ? task->change->before : NULL;
	const Image *known = before ? before : image;
	bool		earning = task->role != ROLE_LEAVE && task->role != ROLE_MOVE && image->earning;
	RatedEvent	event = {source->kind, image->time, image->amount, image->refunded};
	Booked	   *booked = NULL;
	int			nbooked = !first_of_key(visit, account, known) ? 0 :
		booked_load(visit->booking, account->post, account->account_id, known, false, &booked);
	const Rule **matches;
	int			nmatches;
	int32	   *fresh;
	int			nfresh = 0;
	bool	   *in_force;
	bool		was_earning = task->role == ROLE_CHANGE ? before->earning :
		(task->role == ROLE_LEAVE || task->role == ROLE_MOVE) && image->earning;
	int			counted = -1;
	int			counts = -1;

	booked_refuse_discarded(visit->booking, account->post, account->account_id, known,
							task->role == ROLE_CHANGE || task->role == ROLE_LEAVE || task->role == ROLE_MOVE,
							booked, nbooked);
	if (task->role == ROLE_CHANGE && !same_key(before, image))
	{
		if (nbooked > 0)
			rekey(visit, account, task, booked, nbooked);
		if (visit->booking->settles)
			nbooked = add_booked(visit, account, image, &booked, nbooked);
	}
	for (int i = nbooked - 1; i >= 0; i--)
		if (booked[i].base != 0)
			counted = i;
	/* What has no amount counts all the same. */
	if (counted < 0 && nbooked > 0 &&
		(task->role == ROLE_STATE ? booked_any_active(booked, nbooked) : was_earning && known->amount == 0))
		counted = 0;
	if (!booked_any_active(booked, nbooked))
	{
		if (earning ? task->role == ROLE_CHANGE &&
			!booking_begins(visit->booking, account->currency, before, image, nbooked) : counted < 0)
			return;
		if (nbooked == 0)
		{
			if (!account_is_closed(account))
				award(visit, account, image, NULL, 0, true);
			return;
		}
	}

	/* What it did for the tier goes along to its new time. */
	if (task->role == ROLE_CHANGE && counted >= 0 && source->event_time != NULL && before->time != image->time)
		for (int i = 0; i < nbooked; i++)
			account_shift_metric(account, before->time, image->time, booked[i].points - booked[i].forgiven,
								 i == counted ? booked[i].base - booked[i].refunded : 0, i == counted);

	/* Where no column says when it happened, that can't have changed. */
	redated = earning && source->event_time != NULL && (redated || !booked_has_base(booked, nbooked));
	nmatches = redated ? rules_for(source->program_id, &event, &matches) : 0;
	fresh = palloc(sizeof(int32) * Max(nmatches, 1));
	for (int i = 0; i < nmatches; i++)
	{
		bool		recorded = false;

		for (int j = 0; j < nbooked && !recorded; j++)
			recorded = booked[j].rule_id == matches[i]->rule_id;
		if (!recorded)
			fresh[nfresh++] = matches[i]->rule_id;
	}

	in_force = palloc0(sizeof(bool) * nbooked);
	for (int i = 0; i < nbooked; i++)
	{
		in_force[i] = !redated && (booked[i].base != 0 || source->event_time == NULL);
		for (int j = 0; j < nmatches && !in_force[i]; j++)
			in_force[i] = matches[j]->rule_id == booked[i].rule_id;
		if (earning && in_force[i] && counts < 0)
			counts = i;
	}
	for (int i = 0; i < nbooked; i++)
	{
		Aim			aim = {earning && in_force[i], task->role == ROLE_MOVE || redated, i == counted, i == counts};

		book_difference(visit, account, task, image, rule_by_id(booked[i].rule_id), &booked[i], &aim);
	}
	if (nfresh > 0)
		award(visit, account, image, fresh, nfresh, counts < 0);
}

static void
note_booked(Booking *booking, uint32 row)
{
	if (row / 8 >= booking->booked_room)
	{
		uint32		room = Max(booking->booked_room * 2, row / 8 + 64);

		booking->booked = booking->booked ?
			repalloc_huge(booking->booked, room) : MemoryContextAllocHuge(booking->context, room);
		memset(booking->booked + booking->booked_room, 0, room - booking->booked_room);
		booking->booked_room = room;
	}
	booking->booked[row / 8] |= 1 << row % 8;
}

int64
booking_rows(const Booking *booking)
{
	return booking->booked ? pg_popcount((char *) booking->booked, booking->booked_room) : 0;
}

void
booking_forget(Booking *booking, uint32 from)
{
	for (uint32 byte = from / 8; byte < booking->booked_room; byte++)
		booking->booked[byte] &= byte == from / 8 ? (1 << from % 8) - 1 : 0;
}

/* Whether an earlier statement, seen too late, left something booked for what looks new. */
static bool
is_booked(Visit *visit, Account *account, const Task *task)
{
	Booked	   *booked;
	int			nbooked = booked_load(visit->booking, account->post, account->account_id, task->image, false, &booked);

	return booked_any_active(booked, nbooked);
}

/* The memory of a visit goes with it, and it may begin again. */
static void
note_stray(Booking *booking, const Task *task)
{
	MemoryContext old = MemoryContextSwitchTo(booking->context);

	booking->strays = array_grow(booking->strays, booking->nstrays, &booking->strays_room, sizeof(Task));
	MemoryContextSwitchTo(old);
	booking->strays[booking->nstrays++] = *task;
}

static void
award_or_settle(Visit *visit, Account *account, const Task *task, const int32 *rules, int nrules)
{
	if (is_booked(visit, account, task))
	{
		Task		state = *task;

		state.role = ROLE_STATE;
		state.change = NULL;
		bring_to_state(visit, account, &state, rules == NULL);
	}
	else if (!account_is_closed(account))
		award(visit, account, task->image, rules, nrules, true);
}

/* Whether a task is of a row that nothing is booked for, and that a rule gives something, be it nothing. */
static bool
is_new_award(Visit *visit, Account *account, const Task *task)
{
	const Source *source = visit->booking->source;
	const Image *image = task->image;
	RatedEvent	event = {source->kind, image->time, image->amount, image->refunded};
	const Rule **matches = NULL;
	const int32 *rules = task->role == ROLE_JOIN ? task->change->rules : NULL;
	int			n = rules ? task->change->nrules : 0;
	Booked	   *booked;

	if (!image->earning || task->role == ROLE_LEAVE || task->role == ROLE_MOVE)
		return false;
	if (task->role == ROLE_CHANGE &&
		(!booking_begins(visit->booking, account->currency, task->change->before, image, 0) ||
		 booked_load(visit->booking, account->post, account->account_id, task->change->before, false, &booked) > 0))
		return false;

	if (task->role == ROLE_FIRST &&
		booked_load(visit->booking, account->post, account->account_id, image, false, &booked) > 0)
		return false;

	/* Whatever is new is booked only if an earlier statement was seen too late. */
	if ((task->role == ROLE_SETTLE || task->role == ROLE_STATE || visit->booking->settles) && is_booked(visit, account, task))
		return false;
	if (rules == NULL)
		n = rules_for(source->program_id, &event, &matches);
	for (int i = 0; i < n; i++)
		if ((rules ? rule_by_id(rules[i]) : matches[i])->currency->currency_id == account->currency->currency_id)
			return true;
	return false;
}

/* Of the accounts merged into the one visited that there are tasks of, the next by id; 0: none. */
static int64
next_via(const Visit *visit, int64 last)
{
	int64		next = 0;

	for (int i = 0; i < visit->ntasks; i++)
		if (visit->tasks[i].via > last && (next == 0 || visit->tasks[i].via < next))
			next = visit->tasks[i].via;
	return next;
}

/*
 * Rows of long ago and of today may come together, as in a backfill.  Where no
 * clock runs they start it together: each keeps those before it alive that had
 * not ended when it came.
 */
static void
start_clock(Visit *visit, Account *root)
{
	TimestampTz since = root->as_of;
	TimestampTz end = DT_NOBEGIN;

	if ((root->currency->activity & ACTIVITY_EARN) == 0 || root->clock_end > root->as_of || account_is_closed(root))
		return;

	/* Points are passed on in the order in which accounts were read, which is not to hang on times. */
	for (int64 via = 0; (via = next_via(visit, via)) != 0;)
		(void) account_dependent(root, via);
	for (int i = visit->ntasks - 1; i >= 0; i--)
	{
		const Task *task = &visit->tasks[i];
		Account    *account = task->via == 0 ? root : account_dependent(root, task->via);
		TimestampTz lives_to;

		CHECK_FOR_INTERRUPTS();
		if (account == NULL || !is_new_award(visit, account, task))
			continue;
		visit->dated = task->image;
		lives_to = clock_end(root->currency, task->image->time);
		if (lives_to <= since)
			break;
		if (end == DT_NOBEGIN)
			end = lives_to;
		since = Min(task->image->time, since);
	}
	if (end != DT_NOBEGIN)
		account_start_clock(root, since, end);
}

/* The tasks of one account, which is the one visited or was merged into it; NULL: it is neither any more. */
static void
visit_via(Visit *visit, Account *account, int64 via)
{
	/* A row of one who is no member any more earns nothing; what others earned before goes on. */
	bool		closed = account != NULL && account_is_closed(account);

	/* Writing the row settles who was first, the one who reopens it or this. */
	if (closed)
		account_root(account)->changed = true;

	visit->event = NULL;
	visit->met = NULL;
	for (int i = 0; i < visit->ntasks; i++)
	{
		const Task *task = &visit->tasks[i];
		int			nentries;
		int			nreversals = visit->nreversals;
		Booked	   *booked;

		CHECK_FOR_INTERRUPTS();
		if (task->via != via)
			continue;
		if (account == NULL)
		{
			if (visit->booking->gives_up)
			{
				visit->post->given_up = true;
				return;
			}
			note_stray(visit->booking, task);
			continue;
		}
		nentries = account->nentries;
		visit->dated = task->image;
		switch (task->role)
		{
			case ROLE_NEW:
				if (!closed)
					award(visit, account, task->image, NULL, 0, true);
				break;
			case ROLE_SETTLE:
				award_or_settle(visit, account, task, NULL, 0);
				break;
			case ROLE_FIRST:
				if (!closed && booked_load(visit->booking, account->post, account->account_id, task->image, false,
										   &booked) == 0)
				{
					booked_refuse_discarded(visit->booking, account->post, account->account_id, task->image, false, NULL, 0);
					award(visit, account, task->image, NULL, 0, true);
					visit->event = NULL;
				}
				break;
			case ROLE_JOIN:
				if (visit->booking->settles)
					award_or_settle(visit, account, task, task->change->rules, task->change->nrules);
				else if (!closed)
					award(visit, account, task->image, task->change->rules, task->change->nrules, true);
				break;
			case ROLE_STATE:
			case ROLE_CHANGE:
			case ROLE_LEAVE:
			case ROLE_MOVE:
				bring_to_state(visit, account, task, task->role == ROLE_STATE ||
							   (task->role == ROLE_CHANGE && was_redated(task->change->before, task->image)));
				break;
		}
		if (account->nentries > nentries || visit->nreversals > nreversals)
			note_booked(visit->booking, task->row);
	}
}

static void
visit_account(Account *account, void *arg)
{
	Visit	   *visit = arg;
	Booking    *booking = visit->booking;

	visit->reversals = NULL;
	visit->nreversals = visit->reversals_room = 0;
	visit->dated = NULL;
	booking->nstrays = visit->nstrays;
	if (account->state != ACCOUNT_MERGED)
		start_clock(visit, account);
	visit_via(visit, account->state == ACCOUNT_MERGED ? NULL : account, 0);

	/* Those merged into it, in the order of their ids. */
	for (int64 via = 0; !visit->post->given_up && (via = next_via(visit, via)) != 0;)
		visit_via(visit, account_dependent(account, via), via);
	if (visit->post->given_up)
		return;
	if (account->ndependents > 0 && visit->nreversals > 0)
		for (int i = account->ndependents - 1; i >= 0; i--)
			merged_pass_on(account->dependents[i]);
	for (int i = 0; i < visit->nreversals; i++)
		(void) reverse(visit, &visit->reversals[i]);
}

bool
booking_visit(Booking *booking, Post *post, Task *tasks, int ntasks)
{
	Visit		visit = {booking, post, tasks, ntasks, .nstrays = booking->nstrays};
	ErrorContextCallback callback = {error_context_stack, tell_dated_row, &visit};

	error_context_stack = &callback;
	post_account(post, tasks[0].account_id, &tasks[0].hint, visit_account, &visit);
	error_context_stack = callback.previous;
	return !post->given_up;
}
