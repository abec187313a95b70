/*
 * account.c
 *		An account in a visit: what is read of it, and the movements that are asked of it.
 *
 * Lots are read as far as they are needed, at the session's snapshot, at which
 * the account's row is current.
 *
 * Memory: all of it lives in post->context, until the visit ends or begins again.
 */
#include "postgres.h"

#include "access/nbtree.h"
#include "miscadmin.h"
#include "utils/date.h"
#include "utils/datum.h"

#include "base/array.h"
#include "base/errors.h"
#include "ledger/chain.h"
#include "ledger/merged.h"
#include "ledger/post.h"
#include "ledger/reserve.h"

static const char *const kind_names[ENTRY_KINDS] = {
	[ENTRY_EARN] = "earn",
	[ENTRY_REVERSE] = "reverse",
	[ENTRY_REDEEM] = "redeem",
	[ENTRY_GIVEBACK] = "giveback",
	[ENTRY_EXPIRE] = "expire",
	[ENTRY_ADJUST] = "adjust",
	[ENTRY_REKEY] = "rekey",
	[ENTRY_HOLD] = "hold",
	[ENTRY_TRANSFER] = "transfer",
	[ENTRY_CONFIRM] = "confirm",
	[ENTRY_EXTEND] = "extend",
	[ENTRY_MERGE] = "merge",
	[ENTRY_FORFEIT] = "forfeit",
	[ENTRY_RELEASE] = "release",
	[ENTRY_WAIVE] = "waive",
	[ENTRY_CLOCK] = "clock",
};

static const int activity_of[ENTRY_KINDS] = {
	[ENTRY_EARN] = ACTIVITY_EARN,
	[ENTRY_REDEEM] = ACTIVITY_REDEEM,
	[ENTRY_TRANSFER] = ACTIVITY_TRANSFER,
};

const char *
entry_kind_name(EntryKind kind)
{
	return kind_names[kind];
}

EntryKind
entry_kind_of(Datum name)
{
	const text *word = DatumGetTextPP(name);
	EntryKind	kind = 0;

	while (kind < ENTRY_KINDS && (strlen(kind_names[kind]) != VARSIZE_ANY_EXHDR(word) ||
								  memcmp(kind_names[kind], VARDATA_ANY(word), VARSIZE_ANY_EXHDR(word)) != 0))
		kind++;
	return kind;
}

/* ----------------------------------------------------------------
 *		Reading an account and its lots
 * ---------------------------------------------------------------- */

Account *
account_read(Post *post, TupleTableSlot *slot)
{
	Account    *account = palloc0(sizeof(Account));
	Datum	   *values = slot->tts_values - 1;
	bool	   *nulls = slot->tts_isnull - 1;

	slot_getallattrs(slot);
	account->post = post;
	account->reopened = 1;
	account->account_id = DatumGetInt64(values[ACCOUNT_ID]);
	account->member_id = DatumGetInt64(values[ACCOUNT_MEMBER]);
	account->currency = currency_by_id(DatumGetInt32(values[ACCOUNT_CURRENCY]));
	account->last_entry = DatumGetInt32(values[ACCOUNT_ENTRIES]);
	account->last_lot = account->stored_lots = DatumGetInt32(values[ACCOUNT_LOTS]);
	account->posted = DatumGetPoints(values[ACCOUNT_POSTED]);
	account->live = DatumGetPoints(values[ACCOUNT_LIVE]);
	account->pending = DatumGetPoints(values[ACCOUNT_PENDING]);
	account->held = DatumGetPoints(values[ACCOUNT_HELD]);
	account->debt = DatumGetPoints(values[ACCOUNT_DEBT]);
	account->earned = DatumGetPoints(values[ACCOUNT_EARNED]);
	account->redeemed = DatumGetPoints(values[ACCOUNT_REDEEMED]);
	account->expired = DatumGetPoints(values[ACCOUNT_EXPIRED]);
	account->as_of = DatumGetTimestampTz(values[ACCOUNT_AS_OF]);
	account->next_change = DatumGetTimestampTz(values[ACCOUNT_NEXT_CHANGE]);
	account->clock_end = nulls[ACCOUNT_CLOCK_END] ? DT_NOBEGIN : DatumGetTimestampTz(values[ACCOUNT_CLOCK_END]);
	account->clock_before = account->clock_end;
	account->clock_since = account->clock_ended = DT_NOBEGIN;
	if (!nulls[ACCOUNT_TIER])
		account->tier = datumCopy(values[ACCOUNT_TIER], false, -1);
	if (!nulls[ACCOUNT_TIER_SINCE])
		account->tier_since = DatumGetTimestampTz(values[ACCOUNT_TIER_SINCE]);
	account->has_tier_until = !nulls[ACCOUNT_TIER_UNTIL];
	if (account->has_tier_until)
		account->tier_until = DatumGetTimestampTz(values[ACCOUNT_TIER_UNTIL]);
	if (!nulls[ACCOUNT_HEAD])
	{
		bytea	   *head = DatumGetByteaPP(values[ACCOUNT_HEAD]);

		memcpy(account->head, VARDATA_ANY(head), Min(VARSIZE_ANY_EXHDR(head), CHAIN_HASH_LEN));
	}
	account->key = DatumGetTextPCopy(values[ACCOUNT_KEY]);
	account->state = DatumGetInt32(values[ACCOUNT_STATE]);
	account->merged_into = nulls[ACCOUNT_MERGED_INTO] ? 0 : DatumGetInt64(values[ACCOUNT_MERGED_INTO]);
	ItemPointerCopy(&slot->tts_tid, &account->tid);
	return account;
}

static Lot *
add_lot(Account *account)
{
	Lot		   *lot = palloc0(sizeof(Lot));

	account->lots = array_grow(account->lots, account->nlots, &account->lots_room, sizeof(Lot *));
	account->lots[account->nlots++] = lot;
	return lot;
}

static Lot *
known_lot(Account *account, int32 lot_no)
{
	for (int i = 0; i < account->nlots; i++)
		if (account->lots[i]->lot_no == lot_no)
			return account->lots[i];
	return NULL;
}

static Lot *
read_new_lot(Account *account, TupleTableSlot *slot)
{
	Datum	   *values = slot->tts_values - 1;
	Lot		   *lot = add_lot(account);

	slot_getallattrs(slot);
	lot->lot_no = DatumGetInt32(values[LOT_NO]);
	lot->open = DatumGetBool(values[LOT_OPEN]);
	lot->by_activity = DatumGetBool(values[LOT_BY_ACTIVITY]);
	lot->extended = DatumGetBool(values[LOT_EXTENDED]);
	lot->dates.issued = DatumGetDateADT(values[LOT_ISSUED]);
	lot->opened_by = DatumGetInt32(values[LOT_OPENED_BY]);
	lot->dates.valid_from = DatumGetTimestampTz(values[LOT_VALID_FROM]);
	lot->dates.expires_at = DatumGetTimestampTz(values[LOT_EXPIRES_AT]);
	lot->on_clock = lot->dates.expires_at == LOT_ON_CLOCK;
	if (lot->on_clock)
		lot->dates.expires_at = account->clock_end;
	lot->earned_at = DatumGetTimestampTz(values[LOT_EARNED_AT]);
	lot->credited = DatumGetPoints(values[LOT_CREDITED]);
	lot->remaining = DatumGetPoints(values[LOT_REMAINING]);
	lot->held = DatumGetPoints(values[LOT_HELD]);
	lot->expired = DatumGetPoints(values[LOT_EXPIRED]);
	lot->waived = lot->waived_before = DatumGetPoints(values[LOT_WAIVED]);
	ItemPointerCopy(&slot->tts_tid, &lot->tid);
	return lot;
}

/* The lot of the row in slot: the one read before, or a new reading. */
static Lot *
read_lot(Account *account, TupleTableSlot *slot)
{
	bool		isnull;
	Lot		   *lot = known_lot(account, DatumGetInt32(slot_getattr(slot, LOT_NO, &isnull)));

	return lot != NULL ? lot : read_new_lot(account, slot);
}

/* Open lots of the account from an end on, or at exactly that end, in the order they pay. */
static TableScan *
scan_open_lots(Account *account, StrategyNumber strategy, TimestampTz expires_at)
{
	Post	   *post = account->post;
	TableKey	keys[3] = {
		{BTEqualStrategyNumber, Int64GetDatum(account->account_id)},
		{BTEqualStrategyNumber, BoolGetDatum(true)},
		{strategy, TimestampTzGetDatum(expires_at)}
	};

	post_table(post, &post->lot, "lot", LOT_NATTS);
	if (post->lot_open.scan != NULL && post->lot_open.keys[2].sk_strategy != strategy)
		table_scan_end(&post->lot_open);
	table_scan_probe(&post->lot_open, &post->lot, "lot_pkey", post->snapshot, 3, keys);
	return &post->lot_open;
}

void
account_read_open(Account *account)
{
	TableScan  *scan;

	if (account->all_open)
		return;
	scan = scan_open_lots(account, BTGreaterEqualStrategyNumber, DT_NOBEGIN);
	while (table_scan_next(scan))
		read_lot(account, account->post->lot.slot);
	account->all_open = true;
}

void
account_read_lots(Account *account)
{
	Post	   *post = account->post;
	TableScan	scan;
	TableKey	key = {BTEqualStrategyNumber, Int64GetDatum(account->account_id)};

	table_scan_begin(&scan, post_table(post, &post->lot, "lot", LOT_NATTS), "lot_pkey", post->snapshot, 1, &key);
	while (table_scan_next(&scan))
		read_lot(account, post->lot.slot);
	table_scan_end(&scan);
	account->all_open = true;
}

bool
lot_alive(const Lot *lot, TimestampTz at)
{
	return lot->dates.valid_from <= at && at < lot->dates.expires_at;
}

void
account_open_live(Account *account, TimestampTz at, LotCursor *cursor)
{
	Post	   *post = account->post;
	TableKey	keys[3] = {
		{BTEqualStrategyNumber, Int64GetDatum(account->account_id)},
		{BTEqualStrategyNumber, BoolGetDatum(true)},
		{BTGreaterStrategyNumber, TimestampTzGetDatum(at)}
	};

	memset(cursor, 0, sizeof(*cursor));
	cursor->account = account;
	cursor->at = at;
	cursor->first = account->nlots == 0;

	/* The index has lots of a clock last, whenever that ends. */
	if (account->clock_end != DT_NOBEGIN)
	{
		cursor->sorted = account_open_lots(account, lots_by_end, &cursor->nsorted);
		return;
	}
	post_table(post, &post->lot, "lot", LOT_NATTS);
	table_scan_begin(&cursor->scan, &post->lot, "lot_pkey", post->snapshot, 3, keys);
}

Lot *
account_next_live(LotCursor *cursor)
{
	Account    *account = cursor->account;

	for (;;)
	{
		TupleTableSlot *slot = account->post->lot.slot;
		Lot		   *lot;

		CHECK_FOR_INTERRUPTS();
		if (cursor->sorted != NULL)
		{
			if (cursor->next == cursor->nsorted)
				return NULL;
			lot = cursor->sorted[cursor->next++];
		}
		else
		{
			if (!table_scan_next(&cursor->scan))
				return NULL;
			lot = cursor->first ? read_new_lot(account, slot) : read_lot(account, slot);
		}
		if (lot_alive(lot, cursor->at) && lot->remaining > lot->held)
			return lot;
	}
}

void
account_close_live(LotCursor *cursor)
{
	if (cursor->sorted == NULL)
		table_scan_end(&cursor->scan);
}

Points
account_read_live(Account *account, TimestampTz at, Points wanted, Lot ***live, int *count)
{
	LotCursor	cursor;
	Lot		   *lot;
	Points		found = 0;
	int			room = 0;

	*live = NULL;
	*count = 0;
	account_open_live(account, at, &cursor);
	while (found < wanted && (lot = account_next_live(&cursor)) != NULL)
	{
		*live = array_grow(*live, *count, &room, sizeof(Lot *));
		(*live)[(*count)++] = lot;
		found = points_add(found, lot->remaining - lot->held);
	}
	account_close_live(&cursor);
	return found;
}

Lot *
account_lot(Account *account, int32 lot_no)
{
	Post	   *post = account->post;
	Lot		   *lot = known_lot(account, lot_no);
	TableKey	keys[2] = {
		{BTEqualStrategyNumber, Int64GetDatum(account->account_id)},
		{BTEqualStrategyNumber, Int32GetDatum(lot_no), LOT_KEY_NO}
	};

	if (lot != NULL)
		return lot;
	post_table(post, &post->lot, "lot", LOT_NATTS);
	table_scan_probe(&post->lot_by_no, &post->lot, "lot_pkey", post->snapshot, 2, keys);
	if (!table_scan_next(&post->lot_by_no))
		ereport(ERROR,
				(errcode(ERRCODE_LY_LEDGER_DAMAGED),
				 errmsg("lot %d of account " INT64_FORMAT " is not there", lot_no, account->account_id),
				 errhint("Something other than the ledger's functions writes it; run SELECT * FROM loyalty.verify().")));
	return read_lot(account, post->lot.slot);
}

static bool
same_dates(const Lot *lot, const LotDates *dates)
{
	return (lot->on_clock ? LOT_ON_CLOCK : lot->dates.expires_at) == dates->expires_at &&
		lot->dates.valid_from == dates->valid_from &&
		lot->dates.issued == dates->issued;
}

/*
 * An award joins a lot that is open and not dead, or that this visit opened:
 * whom a late award dies with must not hang on whether the expiry job came by.
 * One that is to be confirmed stays by itself.
 */
static bool
takes_award(const Account *account, const Lot *lot, const LotDates *dates)
{
	return same_dates(lot, dates) && lot->open && dates->valid_from != DT_NOEND &&
		(lot->fresh || lot->dates.expires_at > account->as_of);
}

/*
 * The end of a lot by the clock.  Any credit starts a clock that does not run;
 * what is too late even for a new one, or for what this visit started it with,
 * ended when that would have.
 */
static LotDates
dates_by_clock(Account *account, const LotDates *dates)
{
	LotDates	result = *dates;

	if (account->clock_end <= account->as_of)
	{
		if (dates->own_end > account->as_of)
			account_set_clock(account, dates->own_end);
		else
			result.expires_at = dates->own_end;
	}
	else if (dates->own_end <= account_root(account)->clock_since)
		result.expires_at = dates->own_end;
	return result;
}

/* Of two lots the one that pays first; NULL: none yet. */
static Lot *
paying_first(Lot *first, Lot *lot)
{
	return first == NULL || lots_by_end(&lot, &first) < 0 ? lot : first;
}

/*
 * The lot of those dates that takes awards, or a new one of the entry's.  Of
 * several it is the one that pays first, whatever was read before.
 */
static Lot *
lot_for(Account *account, const LotDates *dates, const Entry *entry)
{
	Lot		   *lot = account->last_used;
	Lot		   *first = NULL;
	LotDates	by_clock;

	if (dates->expires_at == LOT_ON_CLOCK)
	{
		by_clock = dates_by_clock(account, dates);
		dates = &by_clock;
	}
	if (lot != NULL && takes_award(account, lot, dates))
		return lot;
	for (int i = 0; i < account->nlots; i++)
	{
		lot = account->lots[i];
		if (!takes_award(account, lot, dates))
			continue;
		if (lot->first_since == account->reopened)
			return account->last_used = lot;
		first = paying_first(first, lot);
	}

	if (account->stored_lots > 0 && !account->all_open && dates->expires_at > account->as_of &&
		dates->valid_from != DT_NOEND)
	{
		TableScan  *scan = scan_open_lots(account, BTEqualStrategyNumber, dates->expires_at);

		while (table_scan_next(scan))
		{
			lot = read_lot(account, account->post->lot.slot);
			if (!takes_award(account, lot, dates))
				continue;
			first = paying_first(first, lot);
			break;
		}
	}
	if (first != NULL)
	{
		first->first_since = account->reopened;
		return account->last_used = first;
	}

	lot = add_lot(account);
	lot->lot_no = ++account->last_lot;
	lot->dates = *dates;
	lot->on_clock = lot->by_activity = dates->expires_at == LOT_ON_CLOCK;
	if (lot->on_clock)
		lot->dates.expires_at = account->clock_end;
	lot->opened_by = entry->entry_no;
	lot->earned_at = entry->event_time;
	lot->first_since = account->reopened;
	lot->fresh = true;
	return account->last_used = lot;
}

/* ----------------------------------------------------------------
 *		Movements
 * ---------------------------------------------------------------- */

/* Moves points into (or, negative, out of) a lot, and the account's totals with it. */
static void
move(Account *account, Lot *lot, Points points)
{
	if (!lot->open && (lot->changed || !lot->fresh))
	{
		/* It may pay before the one that took awards until now. */
		account->reopened++;
		account->last_used = NULL;
	}
	lot->remaining = points_add(lot->remaining, points);
	lot->open = lot->remaining > 0;
	lot->changed = true;
	if (lot->dates.expires_at <= account->as_of)
		return;
	account->next_change = Min(account->next_change, lot->dates.expires_at);
	if (lot->dates.valid_from > account->as_of)
	{
		account->pending = points_add(account->pending, points);
		account->next_change = Min(account->next_change, lot->dates.valid_from);
	}
	else
		account->live = points_add(account->live, points);
}

/* Brings the totals to a time, if a lot or a hold began or ended since. */
void
account_roll_forward(Account *account, TimestampTz time)
{
	if (time <= account->as_of)
		return;
	account->as_of = time;
	if (account->as_of < account->next_change)
		return;

	account_read_open(account);
	account->next_change = DT_NOEND;
	reserve_roll_forward(account);
	account->live = account->pending = account->held = 0;
	for (int i = 0; i < account->nlots; i++)
	{
		Lot		   *lot = account->lots[i];

		if (lot->dates.expires_at <= account->as_of)
			continue;
		account->next_change = Min(account->next_change, lot->dates.expires_at);
		if (lot->dates.valid_from > account->as_of)
		{
			account->pending += lot->remaining;
			account->next_change = Min(account->next_change, lot->dates.valid_from);
		}
		else
		{
			account->live += lot->remaining;
			account->held += lot->held;
		}
	}
}

Account *
account_dependent(Account *root, int64 account_id)
{
	Post	   *post = root->post;
	Account    *account;
	Account    *parent;

	check_stack_depth();
	if (account_id == root->account_id)
		return root->state == ACCOUNT_MERGED ? NULL : root;
	for (int i = 0; i < root->ndependents; i++)
		if (root->dependents[i]->account_id == account_id)
			return root->dependents[i];

	if (!post_find_row(post, account_id, NULL))
		post_refuse_missing(account_id);
	account = account_read(post, post->account.slot);
	parent = account->merged_into == 0 ? NULL : account_dependent(root, account->merged_into);
	if (parent == NULL)
		return NULL;
	account->parent = parent;
	account->clock_end = parent->clock_end;
	account_roll_forward(account, parent->as_of);
	root->dependents = root->ndependents == 0 ? palloc(sizeof(Account *) * 4) :
		root->ndependents % 4 == 0 ? repalloc(root->dependents, sizeof(Account *) * (root->ndependents + 4)) :
		root->dependents;
	return root->dependents[root->ndependents++] = account;
}

void
refuse_gone(const Account *account)
{
	if (account->state == ACCOUNT_MERGED)
		ereport(ERROR,
				(errcode(ERRCODE_LY_MEMBER_MERGED),
				 errmsg("the member was merged into another"),
				 errdetail("The points are there."),
				 errhint("Name the member that loyalty.members shows in merged_into.")));
	if (account->state == ACCOUNT_CLOSED)
		ereport(ERROR,
				(errcode(ERRCODE_LY_MEMBER_CLOSED),
				 errmsg("the member is closed"),
				 errdetail("No points are earned, spent or received any more."),
				 errhint("loyalty.reopen_member() makes the member one again.")));
}

Account *
account_root(Account *account)
{
	while (account->parent != NULL)
		account = account->parent;
	return account;
}

bool
account_is_below(const Account *account, const Account *other)
{
	while (account != NULL && account != other)
		account = account->parent;
	return account != NULL;
}

bool
account_is_closed(Account *account)
{
	return account_root(account)->state == ACCOUNT_CLOSED;
}

/* ----------------------------------------------------------------
 *		The clock
 *
 * Points that end by activity end all at once, a time after the last entry of
 * certain kinds.  When that will be is kept with the account, so that an entry
 * changes no lot; such a lot's own end is LOT_ON_CLOCK until the clock has run
 * out and its end is booked, or another clock starts.
 *
 * Accounts that were merged into one have its clock, and get it as they are
 * read.  Their rows say of it what it was when they were written, but for those
 * with points that wait to be confirmed: these are written when it moves.
 *
 * Whenever a row is written whose clock moved, or a lot that a clock ended, an
 * entry of the account says so, if need be one of kind clock: what an account
 * has follows from its own entries, whoever it is one with.
 * ---------------------------------------------------------------- */

/* The only way off a clock, which the account's entries say. */
static void
leave_clock(Account *account, Lot *lot)
{
	if (!lot->on_clock)
		return;
	lot->on_clock = false;
	lot->changed = account->changed = true;
	account->clock_ended = account->clock_end;
}

static void
end_lots(Account *account, void *arg)
{
	if (account->stored_lots > 0)
		account_read_lots(account);
	for (int i = 0; i < account->nlots; i++)
		leave_clock(account, account->lots[i]);
}

/*
 * Every lot of a clock that ran out ended with it, those too that something may yet be given back to,
 * and those of who was merged into this one: they are to get nothing that comes to live by the next.
 */
static void
end_lots_of_clock(Account *account)
{
	merged_each(account, end_lots, NULL);
}

static void
move_clock(Account *account, TimestampTz end)
{
	if (account->parent != NULL && account->pending > 0 && account->clock_end != end)
		account->changed = true;
	account->clock_end = end;
	for (int i = 0; i < account->nlots; i++)
		if (account->lots[i]->on_clock)
			account->lots[i]->dates.expires_at = end;
	for (int i = 0; i < account->ndependents; i++)
		move_clock(account->dependents[i], end);
}

/* Of an account that was merged it is that of who has its points. */
void
account_set_clock(Account *account, TimestampTz end)
{
	Account    *root = account_root(account);

	merged_read(root);
	if (root->clock_end != DT_NOBEGIN && root->clock_end <= root->as_of)
		end_lots_of_clock(root);
	move_clock(root, end);
	root->changed = true;
}

void
account_start_clock(Account *account, TimestampTz since, TimestampTz end)
{
	account_set_clock(account, end);
	account_root(account)->clock_since = since;
}

void
account_join_clock(Account *account, Account *into)
{
	if (account->clock_end > account->as_of)
	{
		if (account->clock_end > into->clock_end)
			account_set_clock(into, account->clock_end);
	}
	else if (account->clock_end != DT_NOBEGIN)
		end_lots_of_clock(account);
	move_clock(account, into->clock_end);
}

/* It is never set back, and what came late does not bring the dead to life. */
static void
restart_clock(Account *account, TimestampTz event_time)
{
	TimestampTz end = clock_end(account->currency, event_time);

	if (end > account->as_of && end > account->clock_end)
		account_set_clock(account, end);
}

static Entry *
add_entry(Account *account, EntryKind kind, TimestampTz event_time)
{
	Entry	   *entry;

	account->entries = array_grow(account->entries, account->nentries, &account->entries_room, sizeof(Entry));
	if (account->last_entry + 1 >= ENTRIES_PER_ACCOUNT)
		ereport(ERROR,
				(errcode(ERRCODE_LY_ACCOUNT_FULL),
				 errmsg("account " INT64_FORMAT " has no entry number left", account->account_id),
				 errdetail("An account holds " INT64_FORMAT " entries.", ENTRIES_PER_ACCOUNT - 1),
				 errhint("Spread what it collects over several members.")));
	entry = &account->entries[account->nentries++];
	memset(entry, 0, sizeof(*entry));
	entry->entry_no = ++account->last_entry;
	entry->kind = kind;
	entry->event_time = event_time;
	account->changed = true;
	return entry;
}

Entry *
account_entry(Account *account, EntryKind kind, TimestampTz event_time)
{
	if ((account->currency->activity & activity_of[kind]) != 0)
		restart_clock(account, event_time);
	return add_entry(account, kind, event_time);
}

Entry *
account_correction(Account *account)
{
	return add_entry(account, ENTRY_EARN, account->post->now);
}

Entry *
account_waive(Account *account, const Lot *lot, Points points)
{
	Entry	   *entry = add_entry(account, ENTRY_WAIVE, account->post->now);

	entry->lot_no = lot->lot_no;
	entry->base = points;
	return entry;
}

void
account_shift_metric(Account *account, TimestampTz from, TimestampTz to, Points points, Points spend, int visits)
{
	account->shifts = account->nshifts == 0 ? palloc(sizeof(MetricShift)) :
		repalloc(account->shifts, sizeof(MetricShift) * (account->nshifts + 1));
	account->shifts[account->nshifts++] = (MetricShift) {from, to, points, spend, visits};
	account->changed = true;
}

Allocation *
account_allocate(Account *account, const Entry *entry, int32 lot_no, Points points)
{
	Allocation *allocation = palloc0(sizeof(Allocation));
	Allocation *last = account->nallocations ? account->allocations[account->nallocations - 1] : NULL;

	account->allocations = array_grow(account->allocations, account->nallocations, &account->allocations_room,
									  sizeof(Allocation *));
	account->allocations[account->nallocations++] = allocation;
	allocation->entry_no = entry->entry_no;
	allocation->allocation_no = last && last->entry_no == entry->entry_no ? last->allocation_no + 1 : 1;
	allocation->lot_no = lot_no;
	allocation->points = points;
	allocation->fresh = true;
	return allocation;
}

/* Points into (or, negative, out of) an entry, and the account's totals that one of its kind is part of. */
static void
book(Account *account, Entry *entry, Points points)
{
	entry->points = points_add(entry->points, points);
	account->posted = points_add(account->posted, points);
	switch (entry->kind)
	{
		case ENTRY_EARN:
		case ENTRY_REVERSE:
			account->earned = points_add(account->earned, points);
			break;
		case ENTRY_REDEEM:
		case ENTRY_GIVEBACK:
			account->redeemed = points_sub(account->redeemed, points);
			break;
		case ENTRY_EXPIRE:
		case ENTRY_FORFEIT:
			account->expired = points_sub(account->expired, points);
			break;
		default:
			break;
	}
}

/*
 * A credit repays the debt before it reaches a lot.  The entry says which lot
 * took all of it, or its allocations say who took what.
 */
static Points
repay(Account *account, Entry *entry, Points points)
{
	Points		repaid = Min(points, account->debt);

	book(account, entry, points);
	if (repaid > 0)
	{
		account->debt -= repaid;
		account_allocate(account, entry, DEBT_LOT, repaid);
	}
	return points - repaid;
}

void
account_credit_lot(Account *account, Entry *entry, Points points, Lot *lot)
{
	Points		rest = repay(account, entry, points);

	if (rest == 0)
		return;
	if (rest == points && entry->kind != ENTRY_GIVEBACK && entry->kind != ENTRY_TRANSFER &&
		entry->kind != ENTRY_MERGE)
		entry->lot_no = lot->lot_no;
	else
		account_allocate(account, entry, lot->lot_no, rest);
	lot->credited = points_add(lot->credited, rest);
	move(account, lot, rest);
}

Lot *
account_credit(Account *account, Entry *entry, Points points, const LotDates *dates)
{
	Lot		   *lot = NULL;

	/* No lot for what the debt swallows whole. */
	if (points > account->debt)
	{
		lot = lot_for(account, dates, entry);
		account_credit_lot(account, entry, points, lot);
	}
	else if (points > 0)
		(void) repay(account, entry, points);
	return lot;
}

void
account_debit_lot(Account *account, Entry *entry, Points points, Lot *lot)
{
	book(account, entry, -points);
	account_allocate(account, entry, lot->lot_no, -points);
	move(account, lot, -points);
}

void
account_empty_lot(Account *account, Entry *entry, Points points, Lot *lot)
{
	entry->lot_no = lot->lot_no;
	book(account, entry, -points);
	move(account, lot, -points);
}

void
account_return_dead(Account *account, Entry *entry, Points points, Lot *lot)
{
	book(account, entry, points);
	account_allocate(account, entry, lot->lot_no, points);
	lot->credited = points_add(lot->credited, points);
	move(account, lot, points);
}

/* Books the end of what is left in a lot, dated when it ended. */
void
account_expire_lot(Account *account, Lot *lot)
{
	Entry	   *entry = account_entry(account, ENTRY_EXPIRE, lot->dates.expires_at);
	Points		points = lot->remaining - lot->held;

	/* What was never confirmed was never earned. */
	if (lot->dates.valid_from == DT_NOEND)
	{
		entry->unconfirmed = points;
		entry->metric_time = lot->earned_at;
	}
	leave_clock(account, lot);
	lot->expired = points_add(lot->expired, points);
	account_empty_lot(account, entry, points, lot);
}

/* More debt, or less. */
void
account_change_debt(Account *account, Entry *entry, Points more)
{
	account->debt = points_add(account->debt, more);
	book(account, entry, -more);
	account_allocate(account, entry, DEBT_LOT, -more);
}

int
lots_by_end(const void *a, const void *b)
{
	const Lot  *x = *(Lot *const *) a;
	const Lot  *y = *(Lot *const *) b;

	if (x->dates.expires_at != y->dates.expires_at)
		return x->dates.expires_at < y->dates.expires_at ? -1 : 1;
	if (x->earned_at != y->earned_at)
		return x->earned_at < y->earned_at ? -1 : 1;
	return x->lot_no < y->lot_no ? -1 : x->lot_no > y->lot_no;
}

Lot **
account_open_lots(Account *account, int (*order) (const void *, const void *), int *n)
{
	Lot		  **lots;

	account_read_open(account);
	*n = account->nlots;
	lots = palloc(sizeof(Lot *) * Max(*n, 1));
	if (*n > 0)
		memcpy(lots, account->lots, sizeof(Lot *) * *n);
	qsort(lots, *n, sizeof(Lot *), order);
	return lots;
}

/*
 * Books a lot's end if it is past: what a reversal does next must not hang on
 * whether the expiry job came by before it.
 */
Lot *
account_settle_lot(Account *account, int32 lot_no)
{
	Lot		   *lot = account_lot(account, lot_no);

	if (lot->dates.expires_at <= account->as_of && lot->remaining > lot->held)
		account_expire_lot(account, lot);
	return lot;
}

/* What is left of all lots ends now; of those that are dead already it ended when they died. */
void
account_forfeit(Account *account)
{
	Entry	   *entry = NULL;
	int			n;
	Lot		  **lots = account_open_lots(account, lots_by_end, &n);

	for (int i = 0; i < n; i++)
		(void) account_settle_lot(account, lots[i]->lot_no);

	/* What was never confirmed was never earned: by itself, as when it expires. */
	for (int waiting = 1; waiting >= 0; waiting--)
		for (int i = 0; i < n; i++)
		{
			Points		points = lots[i]->remaining - lots[i]->held;

			if (points == 0 || (lots[i]->dates.valid_from == DT_NOEND) != waiting)
				continue;
			if (entry == NULL || waiting)
				entry = account_entry(account, ENTRY_FORFEIT, account->post->now);
			if (waiting)
			{
				entry->unconfirmed = points;
				entry->metric_time = lots[i]->earned_at;
			}
			lots[i]->expired = points_add(lots[i]->expired, points);
			account_debit_lot(account, entry, points, lots[i]);
			if (waiting)
				entry = NULL;
		}
	pfree(lots);
}

/*
 * Takes earned points back: from the award's own (settled) lot, then from other
 * live lots by soonest end, then by the currency's debt policy.  What of the own
 * lot had expired is not taken again; entry->forgiven holds what was let off.
 */
void
account_take_back(Account *account, Entry *entry, Points points, Lot *own)
{
	Points		left = points;
	Points		part;

	if (own != NULL)
	{
		part = Min(left, own->remaining - own->held);
		if (part == left)
		{
			account_empty_lot(account, entry, part, own);
			return;
		}
		if (part > 0)
		{
			account_debit_lot(account, entry, part, own);
			left -= part;
		}
		part = Min(left, own->expired - own->waived);
		if (part > 0)
		{
			own->waived += part;
			own->changed = true;
			entry->forgiven = points_add(entry->forgiven, part);
			if (own->dates.valid_from == DT_NOEND)
				entry->unconfirmed -= part;
			left -= part;
		}
		if (left > 0 && account->parent != NULL)
		{
			part = merged_waive(account, own, left, true);
			entry->forgiven = points_add(entry->forgiven, part);
			left -= part;
		}
	}

	if (left > 0)
	{
		int			n;
		Lot		  **lots = account_open_lots(account, lots_by_end, &n);

		for (int i = 0; i < n && left > 0; i++)
		{
			if (lots[i] == own || !lot_alive(lots[i], account->as_of))
				continue;
			part = Min(left, lots[i]->remaining - lots[i]->held);
			if (part > 0)
			{
				account_debit_lot(account, entry, part, lots[i]);
				left -= part;
			}
		}
		pfree(lots);
	}

	if (left > 0)
	{
		if (account->currency->debt == DEBT_FORGIVE)
		{
			entry->forgiven = points_add(entry->forgiven, left);
			if (own != NULL && account->parent != NULL)
				merged_owe(account, own, left);
			else if (own != NULL && own->held > 0 && lot_alive(own, account->as_of))
				(void) reserve_owe(account, own, left);
		}
		else
			account_change_debt(account, entry, left);
	}
}
