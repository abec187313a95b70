/*
 * merged.c
 *		Accounts that were merged into another, and the way of their points.
 *
 * A merged account keeps its entries and goes on getting those of its own
 * orders, so that each order's are in one chain whatever is merged or taken
 * apart when.  Its points are in the account it was merged into, its parent:
 * whatever comes in is passed on at the end of the visit, and what a reversal
 * is about to take is brought back for it.  Each way is a pair of entries of
 * kind merge, one in either chain, that name each other and sum to zero.
 *
 * Points keep their dates on the way, and points of equal dates are the same to
 * the ledger.  So which points are whose is told by their dates: where an
 * account and its parent had points of equal dates and some were spent, those
 * left count as the merged account's as far as they can be.
 *
 * Awards that wait to be confirmed are not told apart by their dates, so they
 * wait where they were earned, and go on when they are confirmed.
 *
 * Those that live by activity live by one clock, that of who has the points
 * (ledger/post), so a lot of a merged account that is on the clock is like one
 * of its parent's that is; when the clock runs out both end.
 *
 * The parent may have been merged itself: points pass through.  All of them are
 * read and written in visits of the last one, under its lock.
 */
#include "postgres.h"

#include "access/nbtree.h"
#include "utils/builtins.h"

#include "base/array.h"
#include "ledger/merged.h"
#include "ledger/reserve.h"

/* Both sides of a way. */
typedef struct Way
{
	Entry	   *out;
	Entry	   *in;
} Way;

static text *
entry_id_text(const Account *account, const Entry *entry)
{
	return cstring_to_text(psprintf(INT64_FORMAT, ENTRY_ID(account->account_id, entry->entry_no)));
}

static Way
begin_way(Account *from, Account *to, TimestampTz at)
{
	Way			way;

	way.out = account_entry(from, ENTRY_MERGE, at);
	way.in = account_entry(to, ENTRY_MERGE, at);
	way.out->line = entry_id_text(to, way.in);
	way.in->line = entry_id_text(from, way.out);
	return way;
}

/* Into the lot of its dates, or into one that is known to have them. */
static void
carry(Account *from, Account *to, const Way *way, Lot *lot, Points points, Lot *into)
{
	LotDates	dates = dates_of_lot(lot);

	account_debit_lot(from, way->out, points, lot);
	if (into != NULL)
		account_credit_lot(to, way->in, points, into);
	else
		account_credit(to, way->in, points, &dates);
}

/* Lots that can be spent first, soonest end first; then those that are pending. */
static int
lots_by_use(const void *a, const void *b)
{
	const Lot  *x = *(Lot *const *) a;
	const Lot  *y = *(Lot *const *) b;
	bool		x_waits = x->dates.valid_from != DT_NOBEGIN;
	bool		y_waits = y->dates.valid_from != DT_NOBEGIN;

	if (x_waits != y_waits)
		return x_waits - y_waits;
	return lots_by_end(a, b);
}

/* A debt is settled with what the parent can spend, soonest end first; the rest it owes. */
static void
carry_debt(Account *from, Account *to, const Way *way)
{
	Points		left = from->debt;
	Lot		  **lots;
	int			n;

	if (left == 0)
		return;
	account_change_debt(from, way->out, -left);
	lots = account_open_lots(to, lots_by_use, &n);
	for (int i = 0; i < n && left > 0; i++)
	{
		Points		part = lot_alive(lots[i], to->as_of) ? Min(left, lots[i]->remaining - lots[i]->held) : 0;

		if (part > 0)
			account_debit_lot(to, way->in, part, lots[i]);
		left -= part;
	}
	if (left > 0)
		account_change_debt(to, way->in, left);
}

/* Whether anything of it is to be passed on; if it died, that is booked. */
static bool
goes_on(Account *account, const Lot *lot)
{
	return lot->dates.valid_from != DT_NOEND && account_settle_lot(account, lot->lot_no)->remaining > 0;
}

/* Without entries if there was nothing, and it was not to be done all the same. */
static Way
pass_on(Account *account, bool always)
{
	Account    *to = account->parent;
	int			n;
	Lot		  **lots = account_open_lots(account, lots_by_use, &n);
	int			going = 0;
	Way			way = {NULL, NULL};

	for (int i = 0; i < n; i++)
		if (goes_on(account, lots[i]))
			lots[going++] = lots[i];
	if (going == 0 && account->debt == 0 && !always)
		return way;

	way = begin_way(account, to, account->post->now);
	for (int i = 0; i < going; i++)
		carry(account, to, &way, lots[i], lots[i]->remaining, NULL);
	carry_debt(account, to, &way);
	return way;
}

void
merged_pass_on(Account *account)
{
	(void) pass_on(account, false);
}

void
merged_begin(Account *account, text *request_id, text *reason, int32 *entry_no)
{
	Way			way = pass_on(account, true);

	way.out->event = request_id;
	way.out->reason = way.in->reason = reason;
	*entry_no = way.out->entry_no;
}

static int
merged_accounts(Account *account, int64 **accounts)
{
	Post	   *post = account->post;
	TableScan	scan;
	TableKey	key = {BTEqualStrategyNumber, Int64GetDatum(account->account_id)};
	int			n = 0;
	int			room = 0;

	*accounts = NULL;
	table_scan_begin(&scan, &post->account, "account_merged_idx", post->snapshot, 1, &key);
	while (table_scan_next(&scan))
	{
		bool		isnull;

		*accounts = array_grow(*accounts, n, &room, sizeof(int64));
		(*accounts)[n++] = DatumGetInt64(slot_getattr(post->account.slot, ACCOUNT_ID, &isnull));
	}
	table_scan_end(&scan);
	if (n > 1)
		qsort(*accounts, n, sizeof(int64), post_compare_ids);
	return n;
}

void
merged_each(Account *account, AccountWork work, void *arg)
{
	int64	   *merged;
	int			n;

	work(account, arg);
	n = merged_accounts(account, &merged);
	for (int i = 0; i < n; i++)
	{
		Account    *dependent = account_dependent(account_root(account), merged[i]);

		/* Its row may say so still when this visit takes it apart. */
		if (dependent != NULL && dependent->parent != NULL)
			merged_each(dependent, work, arg);
	}
}

static void
note_read(Account *account, void *arg)
{
	account->dependents_read = true;
}

void
merged_read(Account *account)
{
	if (!account->dependents_read)
		merged_each(account, note_read, NULL);
}

/* ----------------------------------------------------------------
 *		Back
 * ---------------------------------------------------------------- */

/* Once both are dead it is nothing which of them the clock ended, and whether that is booked. */
bool
merged_same_dates(const Account *account, const Lot *a, const Lot *b)
{
	return a->dates.expires_at == b->dates.expires_at && a->dates.valid_from == b->dates.valid_from &&
		a->dates.issued == b->dates.issued && a->dates.valid_from != DT_NOEND &&
		(a->on_clock == b->on_clock || a->dates.expires_at <= account->as_of);
}

/* What the parent could give back at a time of points like those; any: and of others that can be spent. */
static Points
returnable(Account *from, const Lot *lot, const Lot *like, bool any, TimestampTz at)
{
	if (lot->dates.expires_at <= at)
		return 0;
	if ((like != NULL && merged_same_dates(from, lot, like)) || (any && lot_alive(lot, from->as_of)))
		return lot->remaining - lot->held;
	return 0;
}

/*
 * Points like those from the parent, then, if any will do, of others; as many as there are.  The time
 * is the visit's, or before it.
 */
static void
bring_back(Account *account, Points points, const Lot *like, Lot *own, bool any, TimestampTz at)
{
	Account    *from = account->parent;
	Lot		  **lots;
	int			n;
	Points		there = 0;
	Way			way;

	if (from->parent != NULL)
		bring_back(from, points, like, NULL, any, at);
	lots = account_open_lots(from, lots_by_use, &n);
	for (int i = 0; i < n; i++)
		there = points_add(there, returnable(from, lots[i], like, any, at));
	points = Min(points, there);
	if (points == 0)
		return;

	way = begin_way(from, account, Min(at, account->post->now));
	for (int others = 0; others <= 1 && points > 0; others++)
		for (int i = 0; i < n && points > 0; i++)
		{
			bool		its_own = like != NULL && merged_same_dates(from, lots[i], like);
			Points		part = Min(points, returnable(from, lots[i], like, any, at));

			if (part == 0 || its_own == others)
				continue;
			carry(from, account, &way, lots[i], part, its_own ? own : NULL);
			points -= part;
		}
}

void
merged_recall(Account *account, Points points, Lot *own)
{
	if (account->parent == NULL)
		return;
	account_read_open(account);
	for (int i = 0; i < account->nlots; i++)
		if (account->lots[i] == own || lot_alive(account->lots[i], account->as_of))
			points -= account->lots[i]->remaining - account->lots[i]->held;
	if (own != NULL)
	{
		points -= own->expired - own->waived;
		if (points > 0)
			points -= merged_waive(account, own, points, false);
	}
	if (points > 0)
		bring_back(account, points, own, own, true, account->as_of);
}

Lot *
merged_fetch(Account *account, Points points, const Lot *like, Lot *own, TimestampTz at)
{
	if (!merged_same_dates(account, own, like))
		own = NULL;
	bring_back(account, points, like, own, false, at);
	return own ? own : account->last_used;
}

/* All lots, used ones too: what is done to some of equal dates must not hang on what was read before. */
static Lot **
lots_in_order(Account *account, int *n)
{
	account_read_lots(account);
	return account_open_lots(account, lots_by_end, n);
}

Points
merged_waive(Account *account, const Lot *own, Points points, bool really)
{
	Points		waived = 0;

	for (Account *at = account->parent; at != NULL; at = at->parent)
	{
		int			n;
		Lot		  **lots = lots_in_order(at, &n);

		for (int i = 0; i < n && waived < points; i++)
		{
			Lot		   *lot = lots[i];
			Points		part;

			if (!merged_same_dates(at, lot, own))
				continue;
			(void) account_settle_lot(at, lot->lot_no);
			part = Min(points - waived, lot->expired - lot->waived);
			waived += part;
			if (really && part > 0)
			{
				lot->waived += part;
				lot->changed = true;
				at->changed = true;
			}
		}
	}
	return waived;
}

void
merged_owe(Account *account, const Lot *own, Points points)
{
	Account    *root = account_root(account);
	int			n;
	Lot		  **lots = account_open_lots(root, lots_by_end, &n);

	for (int i = 0; i < n && points > 0; i++)
		if (lots[i]->held > 0 && lot_alive(lots[i], root->as_of) && merged_same_dates(root, lots[i], own))
			points = reserve_owe(root, lots[i], points);
}

void
merged_owe_again(Account *account, const Lot *own, Points points)
{
	for (Account *at = account->parent; at != NULL; at = at->parent)
	{
		int			n;
		Lot		  **lots = lots_in_order(at, &n);

		for (int i = 0; i < n && points > 0; i++)
		{
			Lot		   *lot = lots[i];
			Points		part = merged_same_dates(at, lot, own) ? Min(points, lot->waived) : 0;

			if (part == 0)
				continue;
			lot->waived -= part;
			lot->changed = true;
			at->changed = true;
			points -= part;
		}
	}
}

/* ----------------------------------------------------------------
 *		The end of a merge
 * ---------------------------------------------------------------- */

/* Of one lot, or (lot 0) of the debt: what went, less what came back. */
typedef struct Gone
{
	int32		lot_no;
	Points		points;
	Lot		   *lot;
} Gone;

typedef struct Merge
{
	int32		entry_no;		/* that began it, */
	int32		parent_no;		/* and its other side */
	int32	   *entries;		/* of all ways to and fro */
	int			nentries;
	int			entries_room;
	int32		last_archived;	/* of the account's entries */
	Gone	   *gone;
	int			n;
	int			room;
} Merge;

static void
add_gone(Merge *merge, int32 lot_no, Points points)
{
	for (int i = 0; i < merge->n; i++)
		if (merge->gone[i].lot_no == lot_no)
		{
			merge->gone[i].points = points_add(merge->gone[i].points, points);
			return;
		}
	merge->gone = array_grow(merge->gone, merge->n, &merge->room, sizeof(Gone));
	merge->gone[merge->n++] = (Gone) {lot_no, points, NULL};
}

static void
add_allocations(Account *account, Merge *merge, int32 entry_no)
{
	TableScan	scan;
	Table	   *table = post_scan_allocations(account->post, &scan, account->account_id, entry_no,
											  entry_no <= merge->last_archived);

	while (table_scan_next(&scan))
	{
		Datum	   *values = table->slot->tts_values - 1;

		slot_getallattrs(table->slot);
		add_gone(merge, DatumGetInt32(values[ALLOCATION_LOT]), -DatumGetPoints(values[ALLOCATION_POINTS]));
	}
	table_scan_end(&scan);
}

/* Looks for the ways to and from the parent in a table of entries. */
static void
find_ways(Account *account, Merge *merge, Table *table, const char *index)
{
	TableScan	scan;
	TableKey	key = {BTEqualStrategyNumber, Int64GetDatum(account->account_id)};

	table_scan_begin(&scan, table, index, account->post->snapshot, 1, &key);
	while (table_scan_next(&scan))
	{
		Datum	   *values = table->slot->tts_values - 1;
		bool	   *nulls = table->slot->tts_isnull - 1;
		int64		other;

		slot_getallattrs(table->slot);
		if (entry_kind_of(values[ENTRY_KIND]) != ENTRY_MERGE)
			continue;
		other = pg_strtoint64(TextDatumGetCString(values[ENTRY_LINE]));
		if (other / ENTRIES_PER_ACCOUNT != account->parent->account_id)
			continue;

		/* One that names another ended an earlier merge into the same. */
		if (!nulls[ENTRY_REVERSES])
		{
			merge->entry_no = 0;
			merge->nentries = 0;
			continue;
		}
		if (merge->entry_no == 0)
		{
			merge->entry_no = DatumGetInt32(values[ENTRY_NO]);
			merge->parent_no = (int32) (other % ENTRIES_PER_ACCOUNT);
		}
		merge->entries = array_grow(merge->entries, merge->nentries, &merge->entries_room, sizeof(int32));
		merge->entries[merge->nentries++] = DatumGetInt32(values[ENTRY_NO]);
	}
	table_scan_end(&scan);
}

/* Reads what went to the parent since it is the parent; LY020 if some of the account's entries are nowhere. */
static void
read_merge(Account *account, Merge *merge)
{
	Post	   *post = account->post;

	memset(merge, 0, sizeof(*merge));
	post_refuse_discarded(post, account->account_id, DT_NOBEGIN);
	if (post_has_archive(post))
	{
		find_ways(account, merge, &post->archived_entry, "archived_entry_pkey");
		merge->last_archived = merge->nentries > 0 ? merge->entries[merge->nentries - 1] : 0;
	}
	find_ways(account, merge, post_table(post, &post->entry, "entry", ENTRY_NATTS), "entry_pkey");
	for (int i = 0; i < merge->nentries; i++)
		add_allocations(account, merge, merge->entries[i]);
}

static int
gone_by_end(const void *a, const void *b)
{
	return lots_by_end(&((const Gone *) a)->lot, &((const Gone *) b)->lot);
}

/*
 * What is to come back of each lot, soonest end first; *owed is for the debt.  Where a reversal
 * took points of the parent's own, as many stay there, of those that end first.
 */
static void
settle_gone(Account *account, Merge *merge, Points *owed)
{
	Points		borrowed = 0;
	int			n = 0;

	*owed = 0;
	for (int i = 0; i < merge->n; i++)
	{
		Gone	   *gone = &merge->gone[i];

		if (gone->lot_no == DEBT_LOT)
			*owed = Max(-gone->points, 0);
		else if (gone->points < 0)
			borrowed = points_add(borrowed, -gone->points);
		else if (gone->points > 0)
		{
			gone->lot = account_lot(account, gone->lot_no);
			merge->gone[n++] = *gone;
		}
	}
	merge->n = n;
	if (n > 1)
		qsort(merge->gone, n, sizeof(Gone), gone_by_end);
	for (int i = 0; i < n; i++)
	{
		Points		part = Min(borrowed, merge->gone[i].points);

		merge->gone[i].points -= part;
		borrowed -= part;
	}
}

/* A debt that went and is not repaid, from the parent's parents to the parent. */
static void
bring_debt_back(Account *account, Points points)
{
	Account    *from = account->parent;
	Way			way;

	if (from->parent != NULL && points > from->debt)
		bring_debt_back(from, points - from->debt);
	points = Min(points, from->debt);
	if (points == 0)
		return;
	way = begin_way(from, account, account->post->now);
	account_change_debt(from, way.out, -points);
	account_change_debt(account, way.in, points);
}

void
merged_end(Account *account, text *request_id, text *reason, int32 *entry_no)
{
	Account    *from = account->parent;
	Merge		merge;
	Points		owed;
	Way			way;
	Lot		  **lots;
	int			n;

	read_merge(account, &merge);
	settle_gone(account, &merge, &owed);

	/* First to the parent, if it was merged itself. */
	for (int i = 0; i < merge.n && from->parent != NULL; i++)
		if (merge.gone[i].points > 0)
			bring_back(from, merge.gone[i].points, merge.gone[i].lot, NULL, false, from->as_of);
	if (from->parent != NULL && owed > from->debt)
		bring_debt_back(from, owed - from->debt);

	way = begin_way(from, account, account->post->now);
	way.in->reverses = merge.entry_no;
	way.out->reverses = merge.parent_no;
	way.in->event = request_id;
	way.in->reason = way.out->reason = reason;
	lots = account_open_lots(from, lots_by_use, &n);
	for (int i = 0; i < merge.n; i++)
	{
		Points		left = merge.gone[i].points;
		Lot		   *own = merge.gone[i].lot;

		for (int j = 0; j < n && left > 0; j++)
		{
			Points		part = Min(left, returnable(from, lots[j], own, false, from->as_of));

			if (part > 0)
				carry(from, account, &way, lots[j], part, own);
			left -= part;
		}
	}
	owed = Min(owed, from->debt);
	if (owed > 0)
	{
		account_change_debt(from, way.out, -owed);
		account_change_debt(account, way.in, owed);
	}
	account->state = ACCOUNT_OPEN;
	account->merged_into = 0;
	account->parent = NULL;
	*entry_no = way.in->entry_no;
}
