/*
 * reserve.c
 *		Points of lots that a hold keeps from everybody else.
 *
 * A hold has one row for each lot it touched.  What it keeps is part of
 * lot.held until the row is closed: when all of it is captured, when it is
 * released, or by the first visit after its end.  Until that visit the stored
 * lot.held is too high, so whoever reads without a visit (balance(), the
 * views, the choice of accounts to expire) compares ends_at with the time;
 * account.next_change is never later than the end of an open hold, so that
 * they know when to look.
 *
 * Where what can't be taken back is forgiven, an order may be undone while its
 * points are held.  They are owed then: whoever reads takes them as held beyond
 * the hold's end, and the visit that closes the hold takes them back, dated when
 * it ended.  Of several holds of a lot those that end first owe.
 *
 * Like lots, holds are written only under the account's lock, and live in the
 * memory of the visit.
 */
#include "postgres.h"

#include "access/nbtree.h"
#include "executor/tuptable.h"

#include "base/array.h"
#include "ledger/reserve.h"

void		(*reserve_let_off_hook) (Account *account, const Lot **lots, int n, Points *let_off) = NULL;
void		(*reserve_take_owed_hook) (Account *account, Lot *lot, Points points, TimestampTz at) = NULL;

static Table *
hold_table(Account *account)
{
	return post_table(account->post, &account->post->hold, "hold", HOLD_NATTS);
}

static Hold *
add_hold(Account *account)
{
	Hold	   *hold = palloc0(sizeof(Hold));

	account->holds = array_grow(account->holds, account->nholds, &account->holds_room, sizeof(Hold *));
	return account->holds[account->nholds++] = hold;
}

/* The hold of the row in slot: the one read before, or a new reading. */
static Hold *
read_hold(Account *account, TupleTableSlot *slot)
{
	Datum	   *values = slot->tts_values - 1;
	bool	   *nulls = slot->tts_isnull - 1;
	int32		hold_no;
	int32		lot_no;
	Hold	   *hold;

	slot_getallattrs(slot);
	hold_no = DatumGetInt32(values[HOLD_NO]);
	lot_no = DatumGetInt32(values[HOLD_LOT]);
	for (int i = 0; i < account->nholds; i++)
		if (account->holds[i]->hold_no == hold_no && account->holds[i]->lot->lot_no == lot_no)
			return account->holds[i];

	hold = add_hold(account);
	hold->hold_no = hold_no;
	hold->open = DatumGetBool(values[HOLD_OPEN]);
	hold->points = DatumGetPoints(values[HOLD_POINTS]);
	hold->captured = DatumGetPoints(values[HOLD_CAPTURED]);
	hold->owed = hold->owed_before = DatumGetPoints(values[HOLD_OWED]);
	hold->ends_at = DatumGetTimestampTz(values[HOLD_ENDS_AT]);
	hold->released = !nulls[HOLD_RELEASED_AT];
	hold->released_at = hold->released ? DatumGetTimestampTz(values[HOLD_RELEASED_AT]) : 0;
	ItemPointerCopy(&slot->tts_tid, &hold->tid);
	hold->lot = account_lot(account, lot_no);
	return hold;
}

/* Into what is held of a lot or, negative, out of it.  Of dead lots the account counts nothing. */
static void
keep(Account *account, Lot *lot, Points points)
{
	lot->held = points_add(lot->held, points);
	lot->changed = true;
	if (lot_alive(lot, account->as_of))
		account->held = points_add(account->held, points);
}

/* What is owed of it is taken, unless it has died: then it is not taken again. */
static void
close_hold(Account *account, Hold *hold, Points owed, TimestampTz at)
{
	hold->open = false;
	hold->owed = 0;
	hold->changed = true;
	keep(account, hold->lot, -(hold->points - hold->captured));
	if (owed > 0 && hold->lot->dates.expires_at > at && !account->post->reading)
		reserve_take_owed_hook(account, hold->lot, owed, at);
}

static int
by_ends_at(const void *a, const void *b)
{
	const Hold *x = *(Hold *const *) a;
	const Hold *y = *(Hold *const *) b;

	if (x->ends_at != y->ends_at)
		return x->ends_at < y->ends_at ? -1 : 1;
	if (x->hold_no != y->hold_no)
		return x->hold_no < y->hold_no ? -1 : 1;
	return lots_by_end(&x->lot, &y->lot);
}

/* Open holds of the lot, or (NULL) of all lots, those that end first before others. */
static int
open_holds(Account *account, const Lot *lot, Hold ***holds)
{
	TableScan	scan;
	TableKey	key = {BTEqualStrategyNumber, Int64GetDatum(account->account_id)};
	int			n = 0;

	table_scan_begin(&scan, hold_table(account), "hold_open_idx", account->post->snapshot, 1, &key);
	while (table_scan_next(&scan))
		(void) read_hold(account, account->post->hold.slot);
	table_scan_end(&scan);

	/* Those that this visit made are among the known ones, too. */
	*holds = palloc(sizeof(Hold *) * Max(account->nholds, 1));
	for (int i = 0; i < account->nholds; i++)
		if (account->holds[i]->open && (lot == NULL || account->holds[i]->lot == lot))
			(*holds)[n++] = account->holds[i];
	qsort(*holds, n, sizeof(Hold *), by_ends_at);
	return n;
}

Points
reserve_owe(Account *account, Lot *lot, Points points)
{
	Hold	  **holds;
	int			n = open_holds(account, lot, &holds);

	for (int i = 0; i < n && points > 0; i++)
	{
		Points		part = Min(points, holds[i]->points - holds[i]->captured - holds[i]->owed);

		holds[i]->owed += part;
		holds[i]->changed |= part > 0;
		points -= part;
	}
	return points;
}

/* Takes it off those that end last, but for one of them. */
static void
owe_less(Hold **holds, int n, const Lot *lot, Points points, const Hold *but)
{
	for (int i = n - 1; i >= 0 && points > 0; i--)
	{
		Points		part = holds[i]->lot == lot && holds[i] != but ? Min(points, holds[i]->owed) : 0;

		holds[i]->owed -= part;
		holds[i]->changed |= part > 0;
		points -= part;
	}
}

static Points
owed_of(Hold **holds, int n, const Lot *lot)
{
	Points		sum = 0;

	for (int i = 0; i < n; i++)
		if (holds[i]->lot == lot)
			sum += holds[i]->owed;
	return sum;
}

void
reserve_review(Account *account)
{
	Hold	  **holds;
	int			n = open_holds(account, NULL, &holds);
	const Lot **lots = palloc(sizeof(Lot *) * Max(n, 1));
	Points	   *let_off = palloc(sizeof(Points) * Max(n, 1));
	int			nlots = 0;

	for (int i = 0; i < n; i++)
	{
		int			known = 0;

		while (known < nlots && lots[known] != holds[i]->lot)
			known++;
		if (holds[i]->owed > 0 && known == nlots)
			lots[nlots++] = holds[i]->lot;
	}
	if (nlots > 0)
		reserve_let_off_hook(account, lots, nlots, let_off);
	for (int i = 0; i < nlots; i++)
		owe_less(holds, n, lots[i], owed_of(holds, n, lots[i]) - let_off[i], NULL);
}

void
reserve_lot(Account *account, const Entry *entry, Lot *lot, Points points, TimestampTz ends_at)
{
	Hold	   *hold = add_hold(account);

	hold->hold_no = entry->entry_no;
	hold->lot = lot;
	hold->points = points;
	hold->ends_at = ends_at;
	hold->fresh = true;

	/* Another transaction that began later may have been first: then it can be over by now. */
	hold->open = ends_at > account->as_of;
	if (!hold->open)
		return;
	keep(account, lot, points);
	account->next_change = Min(account->next_change, ends_at);
}

void
reserve_order(Hold **holds, int count)
{
	if (count > 1)
		qsort(holds, count, sizeof(Hold *), by_ends_at);
}

void
reserve_read(Account *account, int32 hold_no, Hold ***holds, int *count)
{
	TableScan	scan;
	TableKey	keys[2] = {
		{BTEqualStrategyNumber, Int64GetDatum(account->account_id)},
		{BTEqualStrategyNumber, Int32GetDatum(hold_no)}
	};
	int			room = 0;

	*holds = NULL;
	*count = 0;
	table_scan_begin(&scan, hold_table(account), "hold_pkey", account->post->snapshot, 2, keys);
	while (table_scan_next(&scan))
	{
		*holds = array_grow(*holds, *count, &room, sizeof(Hold *));
		(*holds)[(*count)++] = read_hold(account, account->post->hold.slot);
	}
	table_scan_end(&scan);
}

void
reserve_capture(Account *account, Entry *entry, Hold *hold, Points points)
{
	Points		beyond;

	keep(account, hold->lot, -points);
	hold->captured += points;
	hold->open = hold->captured < hold->points;
	hold->changed = true;
	account_debit_lot(account, entry, points, hold->lot);

	/* What was owed of them is so of what others hold. */
	beyond = hold->owed - (hold->points - hold->captured);
	if (beyond > 0)
	{
		hold->owed -= beyond;
		(void) reserve_owe(account, hold->lot, beyond);
	}
}

void
reserve_release(Account *account, Hold *hold)
{
	if (hold->open)
	{
		Hold	  **holds;
		int			n = open_holds(account, hold->lot, &holds);
		Points		owed = Min(owed_of(holds, n, hold->lot), hold->points - hold->captured);

		/* What others owe goes first from what is free first. */
		owe_less(holds, n, hold->lot, owed - hold->owed, hold);
		close_hold(account, hold, owed, account->post->now);
	}
	hold->released = true;
	hold->released_at = account->post->now;
	hold->changed = true;
}

void
reserve_roll_forward(Account *account)
{
	Hold	  **holds;
	int			n;
	bool		any = false;

	for (int i = 0; i < account->nlots; i++)
		any |= account->lots[i]->held > 0;
	if (!any)
		return;

	n = open_holds(account, NULL, &holds);
	for (int i = 0; i < n; i++)
		if (holds[i]->ends_at <= account->as_of)
			close_hold(account, holds[i], holds[i]->owed, holds[i]->ends_at);
		else
			account->next_change = Min(account->next_change, holds[i]->ends_at);
}

static int
by_numbers(const void *a, const void *b)
{
	const Hold *x = *(Hold *const *) a;
	const Hold *y = *(Hold *const *) b;

	if (x->hold_no != y->hold_no)
		return x->hold_no < y->hold_no ? -1 : 1;
	return x->lot->lot_no < y->lot->lot_no ? -1 : x->lot->lot_no > y->lot->lot_no;
}

void
reserve_effects(const Account *account, int32 hold_no, Effects *effects)
{
	/* reserve_book_owed() has put them in order. */
	for (int i = 0; i < account->nholds; i++)
		if (account->holds[i]->hold_no == hold_no)
			effects_add_held(effects, account->holds[i]->ends_at, account->holds[i]->lot->lot_no, account->holds[i]->points);
}

void
reserve_book_owed(Account *account)
{
	if (account->nholds > 1)
		qsort(account->holds, account->nholds, sizeof(Hold *), by_numbers);
	for (int i = 0; i < account->nholds; i++)
	{
		const Hold *hold = account->holds[i];

		if (hold->owed != hold->owed_before)
			account_waive(account, hold->lot, hold->owed)->reverses = hold->hold_no;
	}
}

static void
store_hold(Account *account, Hold *hold)
{
	Table	   *table = hold_table(account);
	TupleTableSlot *slot = hold->fresh ? table_new_row(table) : table_changed_row(table);
	Datum	   *values = slot->tts_values - 1;
	bool	   *nulls = slot->tts_isnull - 1;

	values[HOLD_ACCOUNT] = Int64GetDatum(account->account_id);
	values[HOLD_NO] = Int32GetDatum(hold->hold_no);
	values[HOLD_LOT] = Int32GetDatum(hold->lot->lot_no);
	values[HOLD_OPEN] = BoolGetDatum(hold->open);
	values[HOLD_POINTS] = PointsGetDatum(hold->points);
	values[HOLD_CAPTURED] = PointsGetDatum(hold->captured);
	values[HOLD_ENDS_AT] = TimestampTzGetDatum(hold->ends_at);
	values[HOLD_RELEASED_AT] = TimestampTzGetDatum(hold->released_at);
	nulls[HOLD_RELEASED_AT] = !hold->released;
	values[HOLD_OWED] = PointsGetDatum(hold->owed);
	if (hold->fresh)
		table_queue_row(table, slot);
	else
	{
		ExecStoreVirtualTuple(slot);
		if (!table_replace_row(table, &hold->tid, slot, account->post->snapshot))
			elog(ERROR, "hold %d of account " INT64_FORMAT " changed under the account's lock",
				 hold->hold_no, account->account_id);
	}
}

void
reserve_store(Account *account)
{
	for (int i = 0; i < account->nholds; i++)
		if (account->holds[i]->changed || account->holds[i]->fresh)
			store_hold(account, account->holds[i]);
}
