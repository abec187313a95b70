/*
 * audit.c
 *		Reading the books from each account's first entry to its last.
 *
 * A walk reads a range of accounts: lots, entries, allocations, holds and what
 * checkpoints saw of each account, side by side in the order of their keys.
 * It answers two things: which entries can't be as they are (number, hash, form,
 * allocations, or not as a checkpoint saw them), and of each account whose rows
 * are not what the entries come to, these sums.  Of an account that agrees there
 * is nothing to answer; SQL holds the sums of the others against their rows and
 * says what is wrong (sql/ledger/audit.sql).  Accounts with open holds, which are
 * few, are left to SQL, too.
 *
 * Of the engine only the canonical bytes (chain.c) are used: what an entry
 * does to lots and totals is said here a second time, so that a fault of the
 * posting code does not hide itself.  A walk never fails on what it finds: sums
 * stay at the end of their range, and what is wrong is told.
 *
 * Of several entries of an account that have the same kind of fault the first
 * is told.
 *
 * Of an account that has archived entries the walk begins where the last
 * anchor ends, with what the anchors stand for.  A second walk reads the
 * archive, and holds each piece of it against its anchor.
 *
 * A walk of some currencies reads of other accounts no more than tells where
 * they begin, so that rows of no account are met.
 *
 * Memory: what is known of an account lives until the next one; what is read
 * of an entry, until the next entry.
 */
#include "postgres.h"

#include "access/nbtree.h"
#include "common/hashfn.h"
#include "funcapi.h"
#include "utils/builtins.h"
#include "utils/date.h"
#include "utils/datetime.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

#include "base/array.h"
#include "base/compat.h"
#include "ledger/chain.h"
#include "ledger/checkpoint.h"
#include "ledger/reserve.h"

PG_FUNCTION_INFO_V1(loyalty_audit_bytes);
PG_FUNCTION_INFO_V1(loyalty_audit_hash);
PG_FUNCTION_INFO_V1(loyalty_audit_walk);
PG_FUNCTION_INFO_V1(loyalty_audit_walk_archive);

/* Columns of what a walk answers */
enum
{
	WALK_ACCOUNT, WALK_LOT, WALK_ENTRY, WALK_PROBLEM, WALK_POINTS, WALK_CREDITED, WALK_REDEEMED,
	WALK_EXPIRED, WALK_WAIVED, WALK_AT, WALK_ENDED_AT, WALK_ENDED_BY, WALK_CURRENCY, WALK_HEAD, WALK_CHECKPOINT,
	WALK_NATTS
};

/* Kinds of faults, each told once an account. */
typedef enum Fault
{
	FAULT_NUMBER,
	FAULT_HASH,
	FAULT_KIND,
	FAULT_FORM,
	FAULT_SOURCE,
	FAULT_ACTOR,
	FAULT_RULE,
	FAULT_CURRENCY,
	FAULT_SUM,
	FAULT_ALLOCATION_NUMBER,
	FAULT_ORPHAN,
	FAULT_END,
	FAULT_CHECKPOINT,
	FAULT_ANCHOR,
	FAULT_EXTENSION
} Fault;

/* What an entry of a kind looks like. */
typedef struct Form
{
	int			least;			/* signs of its points */
	int			most;
	bool		nothing;		/* or none */
	bool		award;			/* names source, rule and event */
	bool		reverses;		/* names an earlier entry */
	bool		captures;		/* may name one: the hold captured, the merge undone */
	bool		holds;			/* says in base what it reserves */
	bool		lets_off;		/* says there what refunds are let off, be it nothing */
	bool		pair;			/* names its other side in line */
	bool		ends;			/* says in line which end it moves, and where to */
	bool		part;			/* may name there what it is a part of */
	bool		lot;			/* of one lot, without allocations */
	bool		clock;			/* says where the clock moved, or what it ended */
} Form;

static const Form forms[ENTRY_KINDS] = {
	[ENTRY_EARN] = {.least = 1, .most = 1, .nothing = true, .award = true},
	[ENTRY_REVERSE] = {.least = -1, .most = -1, .nothing = true, .award = true},
	[ENTRY_REDEEM] = {.least = -1, .most = -1, .captures = true, .part = true},
	[ENTRY_GIVEBACK] = {.least = 1, .most = 1, .reverses = true, .part = true},
	[ENTRY_EXPIRE] = {.least = -1, .most = -1, .lot = true},
	[ENTRY_ADJUST] = {.least = -1, .most = 1},
	[ENTRY_REKEY] = {.least = -1, .most = 1, .nothing = true, .award = true},
	[ENTRY_HOLD] = {.nothing = true, .holds = true},
	[ENTRY_TRANSFER] = {.least = -1, .most = 1, .pair = true},
	[ENTRY_CONFIRM] = {.least = -1, .most = 1, .award = true, .captures = true},
	[ENTRY_EXTEND] = {.nothing = true, .ends = true},
	[ENTRY_MERGE] = {.least = -1, .most = 1, .nothing = true, .pair = true, .captures = true},
	[ENTRY_FORFEIT] = {.least = -1, .most = -1},
	[ENTRY_RELEASE] = {.nothing = true, .reverses = true},
	[ENTRY_WAIVE] = {.nothing = true, .lot = true, .lets_off = true, .captures = true},
	[ENTRY_CLOCK] = {.nothing = true, .clock = true},
};

/* What entries and allocations did to a lot. */
typedef struct LotSum
{
	int32		lot_no;
	char		status;
	Points		points;
	Points		credited;
	Points		expired;
	Points		waived;			/* as it was said last */
	bool		waives;			/* it was */
	int32		opened_by;		/* the first entry that touched it */
	TimestampTz opened_at;		/* and that entry's time */
	int32		ended_by;		/* the first entry that booked its end; 0: none */
	TimestampTz ended_at;
	bool		met;			/* its row was there */
} LotSum;

#define SH_PREFIX			lots
#define SH_ELEMENT_TYPE		LotSum
#define SH_KEY_TYPE			int32
#define SH_KEY				lot_no
#define SH_HASH_KEY(tb, k)	murmurhash32((uint32) (k))
#define SH_EQUAL(tb, a, b)	((a) == (b))
#define SH_SCOPE			static inline
#define SH_DECLARE
#define SH_DEFINE
#include "lib/simplehash.h"

#define LOTS_KEPT	1024		/* a table grown beyond it is not kept for the next account */

/* A lot's row. */
typedef struct LotRow
{
	int32		lot_no;
	bool		open;
	bool		by_activity;
	bool		extended;
	DateADT		issued;
	int32		opened_by;
	TimestampTz valid_from;
	TimestampTz expires_at;
	TimestampTz first_end;		/* before it was extended */
	bool		first_known;	/* else no extension was found yet */
	TimestampTz earned_at;
	Points		credited;
	Points		remaining;
	Points		held;
	Points		expired;
	Points		waived;
} LotRow;

/* A table of which each row belongs to an entry, read in the order of the entries. */
typedef struct Cursor
{
	Table		table;
	TableScan	scan;
	AttrNumber	account_column;
	AttrNumber	entry_column;	/* 0: none */
	bool		there;			/* there is a row in table.slot */
	int64		account_id;
	int32		entry_no;
} Cursor;

typedef struct Walk
{
	ReturnSetInfo *result;
	int64		last;
	const int32 *sources;		/* those there are, ascending */
	int			nsources;
	const int32 *rules;
	const int32 *rule_currencies;
	int			nrules;
	const int32 *actors;
	int			nactors;
	const int32 *currencies;		/* of the accounts to walk; NULL: all */
	int			ncurrencies;
	TimestampTz discarded;		/* of what was archived up to then nothing need be there */
	Cursor		account;
	Cursor		entry;
	Cursor		allocation;
	Cursor		lot;
	Cursor		hold;
	Cursor		checkpoint;
	Cursor		anchor;
	Cursor		anchor_lot;
	bool		archived;		/* it is the archive that is walked */
	Table		extensions[2];	/* the archive's entries and the ledger's, opened when there are any */
	MemoryContext context;		/* of the walk */
	MemoryContext scratch;		/* of an entry */
	lots_hash  *lots;
	LotRow	   *rows;			/* of the account, by number */
	int			rows_room;

	/* of the account */
	int			nrows;
	int			opened;			/* of the rows, those of entries before */
	bool		holding;		/* it has open holds */
	int64		account_id;
	bool		has_entries;	/* or allocations */
	int32		entry_no;		/* of the entry before */
	uint8		head[CHAIN_HASH_LEN];
	uint32		told;			/* faults, as bits */
	Points		points;
	Points		earned;
	Points		redeemed;
	Points		expired;
	TimestampTz recorded_at;	/* the latest */
	int32		currency_id;	/* of its rules; 0: none yet */
	int32		checkpoint_no;	/* the last that saw it; 0: none */
} Walk;

/* ----------------------------------------------------------------
 *		What a walk answers
 * ---------------------------------------------------------------- */

static void
answer(Walk *walk, const Datum *values, const bool *nulls)
{
	tuplestore_putvalues(walk->result->setResult, walk->result->setDesc,
						 unconstify(Datum *, values), unconstify(bool *, nulls));
}

static void
tell(Walk *walk, Fault fault, int32 entry_no, const char *problem)
{
	Datum		values[WALK_NATTS] = {0};
	bool		nulls[WALK_NATTS];

	if (walk->told & (1 << fault))
		return;
	walk->told |= 1 << fault;
	memset(nulls, true, sizeof(nulls));
	values[WALK_ACCOUNT] = Int64GetDatum(walk->account_id);
	values[WALK_ENTRY] = Int32GetDatum(entry_no);
	values[WALK_PROBLEM] = CStringGetTextDatum(problem);
	nulls[WALK_ACCOUNT] = nulls[WALK_ENTRY] = nulls[WALK_PROBLEM] = false;
	answer(walk, values, nulls);
}

static void
begin_account(Walk *walk, int64 account_id)
{
	walk->account_id = account_id;
	walk->has_entries = false;
	walk->entry_no = 0;
	memset(walk->head, 0, CHAIN_HASH_LEN);
	walk->told = 0;
	walk->points = walk->earned = walk->redeemed = walk->expired = 0;
	walk->recorded_at = DT_NOBEGIN;
	walk->currency_id = 0;
	walk->checkpoint_no = 0;
	walk->nrows = walk->opened = 0;
	walk->holding = false;
	if (walk->lots != NULL && walk->lots->size > LOTS_KEPT)
	{
		lots_destroy(walk->lots);
		walk->lots = NULL;
	}
	if (walk->lots == NULL)
		walk->lots = lots_create(walk->context, 16, NULL);
	else
		lots_reset(walk->lots);
}

/* Told of an account whose rows do not agree. */
static void
answer_sums(Walk *walk)
{
	Datum		values[WALK_NATTS] = {0};
	bool		nulls[WALK_NATTS] = {0};
	struct
	{
		int32		header;
		uint8		bytes[CHAIN_HASH_LEN];
	}			head;
	lots_iterator iterator;
	LotSum	   *lot;

	values[WALK_ACCOUNT] = Int64GetDatum(walk->account_id);
	nulls[WALK_PROBLEM] = true;

	nulls[WALK_REDEEMED] = nulls[WALK_CURRENCY] = nulls[WALK_HEAD] = nulls[WALK_CHECKPOINT] = true;
	lots_start_iterate(walk->lots, &iterator);
	while ((lot = lots_iterate(walk->lots, &iterator)) != NULL)
	{
		values[WALK_LOT] = Int32GetDatum(lot->lot_no);
		values[WALK_ENTRY] = Int32GetDatum(lot->opened_by);
		values[WALK_POINTS] = PointsGetDatum(lot->points);
		values[WALK_CREDITED] = PointsGetDatum(lot->credited);
		values[WALK_EXPIRED] = PointsGetDatum(lot->expired);
		values[WALK_WAIVED] = PointsGetDatum(lot->waived);
		values[WALK_AT] = TimestampTzGetDatum(lot->opened_at);
		values[WALK_ENDED_AT] = TimestampTzGetDatum(lot->ended_at);
		values[WALK_ENDED_BY] = Int32GetDatum(lot->ended_by);
		nulls[WALK_ENDED_AT] = nulls[WALK_ENDED_BY] = lot->ended_by == 0;
		answer(walk, values, nulls);
	}

	SET_VARSIZE(&head, sizeof(head));
	memcpy(head.bytes, walk->head, CHAIN_HASH_LEN);
	memset(nulls, false, sizeof(nulls));
	nulls[WALK_LOT] = nulls[WALK_PROBLEM] = nulls[WALK_WAIVED] = nulls[WALK_ENDED_AT] = nulls[WALK_ENDED_BY] = true;
	values[WALK_CHECKPOINT] = Int32GetDatum(walk->checkpoint_no);
	nulls[WALK_CHECKPOINT] = walk->checkpoint_no == 0;
	values[WALK_ENTRY] = Int32GetDatum(walk->entry_no);
	nulls[WALK_ENTRY] = !walk->has_entries;
	values[WALK_POINTS] = PointsGetDatum(walk->points);
	values[WALK_CREDITED] = PointsGetDatum(walk->earned);
	values[WALK_REDEEMED] = PointsGetDatum(walk->redeemed);
	values[WALK_EXPIRED] = PointsGetDatum(walk->expired);
	values[WALK_AT] = TimestampTzGetDatum(walk->recorded_at);
	values[WALK_CURRENCY] = Int32GetDatum(walk->currency_id);
	nulls[WALK_CURRENCY] = walk->currency_id == 0;
	values[WALK_HEAD] = PointerGetDatum(&head);
	nulls[WALK_HEAD] = walk->entry_no == 0;
	answer(walk, values, nulls);
}

/* ----------------------------------------------------------------
 *		Sums
 * ---------------------------------------------------------------- */

static void
add_to(Points *sum, Points points)
{
	if (pg_add_s64_overflow(*sum, points, sum))
		*sum = points < 0 ? POINTS_MIN : POINTS_MAX;
}

static void
subtract_from(Points *sum, Points points)
{
	if (pg_sub_s64_overflow(*sum, points, sum))
		*sum = points < 0 ? POINTS_MAX : POINTS_MIN;
}

/* kind is ENTRY_KINDS when it is unknown. */
static void
add_to_account(Walk *walk, const Entry *entry, TimestampTz recorded_at)
{
	add_to(&walk->points, entry->points);
	if (entry->kind == ENTRY_EARN || entry->kind == ENTRY_REVERSE)
		add_to(&walk->earned, entry->points);
	if (entry->kind == ENTRY_REDEEM || entry->kind == ENTRY_GIVEBACK)
		subtract_from(&walk->redeemed, entry->points);
	if (entry->kind == ENTRY_EXPIRE || entry->kind == ENTRY_FORFEIT)
		subtract_from(&walk->expired, entry->points);
	walk->recorded_at = Max(walk->recorded_at, recorded_at);
}

/* The lot's sum, begun if it is the first that is heard of it. */
static LotSum *
lot_sum(Walk *walk, int32 lot_no, int32 opened_by, TimestampTz opened_at)
{
	bool		found;
	LotSum	   *lot = lots_insert(walk->lots, lot_no, &found);

	if (!found)
		*lot = (LotSum) {.lot_no = lot_no, .status = lot->status, .opened_by = opened_by, .opened_at = opened_at};
	return lot;
}

static void
add_to_lot(Walk *walk, int32 lot_no, const Entry *entry, Points points)
{
	LotSum	   *lot = lot_sum(walk, lot_no, entry->entry_no, entry->event_time);

	add_to(&lot->points, points);
	if (entry->kind == ENTRY_WAIVE && entry->reverses == 0)
	{
		lot->waived = entry->base;
		lot->waives = true;
	}

	/* What changes its key goes out of its lot and comes in again: no credit. */
	if (points > 0 && entry->kind != ENTRY_REKEY)
		add_to(&lot->credited, points);
	if (entry->kind != ENTRY_EXPIRE && entry->kind != ENTRY_FORFEIT)
		return;
	subtract_from(&lot->expired, points);

	/* What is forfeited may end before its lot does. */
	if (entry->kind == ENTRY_FORFEIT)
		return;
	if (lot->ended_by == 0)
	{
		lot->ended_by = entry->entry_no;
		lot->ended_at = entry->event_time;
	}
	else if (lot->ended_at != entry->event_time)
		tell(walk, FAULT_END, entry->entry_no,
			 psprintf("the end of lot %d is booked at another time than by entry %d before", lot_no, lot->ended_by));
}

/* ----------------------------------------------------------------
 *		Rows
 * ---------------------------------------------------------------- */

static void
advance(const Walk *walk, Cursor *cursor)
{
	bool		isnull;

	cursor->there = table_scan_next(&cursor->scan);
	if (!cursor->there)
		return;
	slot_getallattrs(cursor->table.slot);
	cursor->account_id = DatumGetInt64(slot_getattr(cursor->table.slot, cursor->account_column, &isnull));
	if (cursor->entry_column != 0)
		cursor->entry_no = DatumGetInt32(slot_getattr(cursor->table.slot, cursor->entry_column, &isnull));
	cursor->there = cursor->account_id <= walk->last;
}

/* From the account on. */
static void
move_to(const Walk *walk, Cursor *cursor, int64 account_id)
{
	TableKey	key = {BTGreaterEqualStrategyNumber, Int64GetDatum(account_id)};

	table_scan_again(&cursor->scan, &key);
	advance(walk, cursor);
}

static void
begin_cursor(const Walk *walk, Cursor *cursor, const char *name, const char *index, int natts,
			 AttrNumber account_column, AttrNumber entry_column, int64 first)
{
	TableKey	key = {BTGreaterEqualStrategyNumber, Int64GetDatum(first)};

	cursor->account_column = account_column;
	cursor->entry_column = entry_column;
	table_open_for_read(&cursor->table, name, natts);
	table_scan_begin(&cursor->scan, &cursor->table, index, GetActiveSnapshot(), 1, &key);
	advance(walk, cursor);
}

static void
end_cursor(Cursor *cursor)
{
	table_scan_end(&cursor->scan);
	table_finish(&cursor->table);
}

static bool
of_account(const Walk *walk, const Cursor *cursor)
{
	return cursor->there && cursor->account_id == walk->account_id;
}

/* ----------------------------------------------------------------
 *		Lots
 *
 * Read before the entries, whose hashes cover when the lots that they open
 * begin, and were to end.
 * ---------------------------------------------------------------- */

static int
by_number(const void *a, const void *b)
{
	const LotRow *x = a;
	const LotRow *y = b;

	return x->lot_no < y->lot_no ? -1 : x->lot_no > y->lot_no;
}

static LotRow *
find_row(Walk *walk, int32 lot_no)
{
	LotRow		key = {.lot_no = lot_no};

	return walk->nrows == 0 ? NULL : bsearch(&key, walk->rows, walk->nrows, sizeof(LotRow), by_number);
}

/* Of the lots that say that their end was moved: from where at first. */
static void
read_extensions(Walk *walk)
{
	static const char *const names[] = {"archived_entry", "entry"};
	TableKey	key = {BTEqualStrategyNumber, Int64GetDatum(walk->account_id)};

	for (int i = 0; i < (int) lengthof(names); i++)
	{
		Table	   *table = &walk->extensions[i];
		TableScan	scan;

		if (table->rel == NULL)
		{
			MemoryContext old = MemoryContextSwitchTo(walk->context);

			table_open_for_read(table, names[i], ENTRY_NATTS);
			MemoryContextSwitchTo(old);
		}
		table_scan_begin(&scan, table, psprintf("%s_pkey", names[i]), GetActiveSnapshot(), 1, &key);
		while (table_scan_next(&scan))
		{
			Datum	   *values = table->slot->tts_values - 1;
			bool	   *nulls = table->slot->tts_isnull - 1;
			text	   *line;
			LotRow	   *row;

			slot_getallattrs(table->slot);
			line = slot_text(table->slot, ENTRY_LINE);
			if (line == NULL || nulls[ENTRY_KIND] || entry_kind_of(values[ENTRY_KIND]) != ENTRY_EXTEND)
				continue;
			row = find_row(walk, DatumGetInt32(values[ENTRY_LOT]));
			if (row != NULL && row->extended && !row->first_known)
				row->first_known = end_scan(text_to_cstring(line), &row->first_end);
		}
		table_scan_end(&scan);
	}
}

static void
read_lots(Walk *walk)
{
	bool		extended = false;

	for (; of_account(walk, &walk->lot); advance(walk, &walk->lot))
	{
		Datum	   *values = walk->lot.table.slot->tts_values - 1;
		LotRow	   *row;

		walk->rows = array_grow(walk->rows, walk->nrows, &walk->rows_room, sizeof(LotRow));
		row = &walk->rows[walk->nrows++];
		row->lot_no = DatumGetInt32(values[LOT_NO]);
		row->open = DatumGetBool(values[LOT_OPEN]);
		row->by_activity = DatumGetBool(values[LOT_BY_ACTIVITY]);
		row->extended = DatumGetBool(values[LOT_EXTENDED]);
		row->issued = DatumGetDateADT(values[LOT_ISSUED]);
		row->opened_by = DatumGetInt32(values[LOT_OPENED_BY]);
		row->valid_from = DatumGetTimestampTz(values[LOT_VALID_FROM]);
		row->expires_at = DatumGetTimestampTz(values[LOT_EXPIRES_AT]);
		row->first_end = row->by_activity ? LOT_ON_CLOCK : row->expires_at;
		row->first_known = false;
		row->earned_at = DatumGetTimestampTz(values[LOT_EARNED_AT]);
		row->credited = DatumGetPoints(values[LOT_CREDITED]);
		row->remaining = DatumGetPoints(values[LOT_REMAINING]);
		row->held = DatumGetPoints(values[LOT_HELD]);
		row->expired = DatumGetPoints(values[LOT_EXPIRED]);
		row->waived = DatumGetPoints(values[LOT_WAIVED]);
		extended |= row->extended;
	}
	if (walk->nrows > 1)
		qsort(walk->rows, walk->nrows, sizeof(LotRow), by_number);
	if (extended)
		read_extensions(walk);
}

/* ----------------------------------------------------------------
 *		An entry
 * ---------------------------------------------------------------- */

static int
find_id(const int32 *ids, int n, int32 id)
{
	int			low = 0;
	int			high = n - 1;

	while (low <= high)
	{
		int			middle = low + (high - low) / 2;

		if (ids[middle] == id)
			return middle;
		if (ids[middle] < id)
			low = middle + 1;
		else
			high = middle - 1;
	}
	return -1;
}

static const char *
wrong_form(const Form *form, const Entry *entry, const bool *nulls)
{
	int			sign = (entry->points > 0) - (entry->points < 0);
	static const int optional[] = {ENTRY_LOT, ENTRY_BASE, ENTRY_REFUNDED, ENTRY_FORGIVEN, ENTRY_SOURCE, ENTRY_RULE,
	ENTRY_REVERSES};
	const int64 stored[] = {entry->lot_no, entry->base, entry->refunded, entry->forgiven, entry->source_id,
	entry->rule_id, entry->reverses};

	/* The hash can't tell these two apart. */
	for (int i = 0; i < (int) lengthof(optional); i++)
		if (stored[i] == 0 && !nulls[optional[i]])
			return "has a zero where the ledger writes NULL";
	if (sign == 0 ? !form->nothing : sign < form->least || sign > form->most)
		return sign > 0 ? "gives points" : sign < 0 ? "takes points" : "moves nothing";
	if (form->award)
	{
		if (entry->source_id == 0 || entry->rule_id == 0 || entry->event == NULL)
			return "does not name its source, rule and event";
	}
	else if (entry->source_id != 0 || entry->rule_id != 0 || (entry->line != NULL && !form->pair && !form->ends && !form->part) ||
			 (entry->base != 0 && !form->holds && !form->lets_off) || entry->refunded != 0 || entry->forgiven != 0)
		return "has what only awards have";
	if (form->holds && entry->base <= 0)
		return "does not say what it reserves";
	if (form->lets_off && entry->base < 0)
		return "lets off less than nothing";
	if (form->pair && entry->line == NULL)
		return "does not name its other side";
	if (form->ends && entry->line == NULL)
		return "does not say which end it moves";
	if (entry->kind != ENTRY_REKEY && !form->captures && (entry->reverses != 0) != form->reverses)
		return form->reverses ? "does not name the entry it reverses" : "names an entry it reverses";
	if (entry->reverses < 0 || entry->reverses >= entry->entry_no)
		return "reverses an entry that is not before it";
	if (form->lot && entry->lot_no == 0)
		return "does not name its lot";
	if (form->clock && nulls[ENTRY_CLOCK_END] && nulls[ENTRY_CLOCK_ENDED])
		return "says nothing of the clock";
	return NULL;
}

static void
check_form(Walk *walk, const Entry *entry, const text *kind, const bool *nulls)
{
	const char *wrong;
	int			at;

	if (entry->kind == ENTRY_KINDS)
	{
		tell(walk, FAULT_KIND, entry->entry_no,
			 psprintf("entries of kind \"%s\" are unknown", text_to_cstring(kind)));
		return;
	}
	wrong = wrong_form(&forms[entry->kind], entry, nulls);
	if (wrong != NULL)
		tell(walk, FAULT_FORM, entry->entry_no,
			 psprintf("an entry of kind %s %s", entry_kind_name(entry->kind), wrong));

	if (entry->source_id != 0 && find_id(walk->sources, walk->nsources, entry->source_id) < 0)
		tell(walk, FAULT_SOURCE, entry->entry_no, psprintf("source %d is not there", entry->source_id));
	if (find_id(walk->actors, walk->nactors, entry->actor_id) < 0)
		tell(walk, FAULT_ACTOR, entry->entry_no, psprintf("actor %d is not there", entry->actor_id));
	if (entry->rule_id == 0)
		return;
	at = find_id(walk->rules, walk->nrules, entry->rule_id);
	if (at < 0)
		tell(walk, FAULT_RULE, entry->entry_no, psprintf("rule version %d is not there", entry->rule_id));
	else if (walk->currency_id == 0)
		walk->currency_id = walk->rule_currencies[at];
	else if (walk->currency_id != walk->rule_currencies[at])
		tell(walk, FAULT_CURRENCY, entry->entry_no,
			 psprintf("rule version %d gives another currency than the rules before", entry->rule_id));
}

static void
check_number(Walk *walk, int32 entry_no)
{
	int32		due = walk->entry_no + 1;

	if (entry_no == due)
		return;
	if (entry_no < due)
		tell(walk, FAULT_NUMBER, entry_no, psprintf("entry number %d is out of place", entry_no));
	else if (entry_no == due + 1)
		tell(walk, FAULT_NUMBER, due, psprintf("entry number %d is not there", due));
	else
		tell(walk, FAULT_NUMBER, due, psprintf("entry numbers %d to %d are not there", due, entry_no - 1));
}

/* A hash that damage took away is one of no bytes. */
static bytea *
bytes_or_none(Datum value, bool isnull)
{
	return isnull ? (bytea *) cstring_to_text("") : DatumGetByteaPP(value);
}

/* Whether a hash as it is stored is the head so far. */
static bool
is_head(const Walk *walk, const bytea *stored)
{
	return VARSIZE_ANY_EXHDR(stored) == CHAIN_HASH_LEN && memcmp(VARDATA_ANY(stored), walk->head, CHAIN_HASH_LEN) == 0;
}

/* It is taken over as it is stored: of entries that follow each other one wrong hash is told once. */
static void
set_head(Walk *walk, const bytea *stored)
{
	memset(walk->head, 0, CHAIN_HASH_LEN);
	memcpy(walk->head, VARDATA_ANY(stored), Min(VARSIZE_ANY_EXHDR(stored), CHAIN_HASH_LEN));
}

static void
check_hash(Walk *walk, const Entry *entry, const text *kind, TimestampTz recorded_at, const Effects *effects,
		   const bytea *stored)
{
	if (!(walk->told & (1 << FAULT_HASH)))
	{
		uint8		hash[CHAIN_HASH_LEN];

		chain_hash(walk->account_id, entry, kind, recorded_at, effects, walk->head, hash);
		memcpy(walk->head, hash, CHAIN_HASH_LEN);
		if (!is_head(walk, stored))
			tell(walk, FAULT_HASH, entry->entry_no,
				 "the hash is not that of the entry's content and the hash before it");
	}
	set_head(walk, stored);
}

/* The allocations of an entry, and of entries before it that are not there; NULL: of the account's rest. */
static void
read_allocations(Walk *walk, const Entry *entry, Effects *effects)
{
	Cursor	   *cursor = &walk->allocation;
	Points		sum = 0;
	int			n = 0;

	while (of_account(walk, cursor) &&
		   (entry == NULL || cursor->entry_no <= entry->entry_no))
	{
		Datum	   *values = cursor->table.slot->tts_values - 1;

		walk->has_entries = true;
		if (entry == NULL || cursor->entry_no < entry->entry_no)
			tell(walk, FAULT_ORPHAN, cursor->entry_no, "allocations name an entry that is not there");
		else
		{
			Points		points = DatumGetPoints(values[ALLOCATION_POINTS]);

			if (DatumGetInt32(values[ALLOCATION_NO]) != ++n)
				tell(walk, FAULT_ALLOCATION_NUMBER, entry->entry_no, psprintf("allocation %d is not there", n));
			add_to(&sum, points);
			effects_add_allocation(effects, DatumGetInt32(values[ALLOCATION_LOT]), points);
			add_to_lot(walk, DatumGetInt32(values[ALLOCATION_LOT]), entry, points);
		}
		advance(walk, cursor);
	}

	if (entry == NULL)
		return;
	if (entry->lot_no != 0 && n > 0)
		tell(walk, FAULT_SUM, entry->entry_no, "the entry has a lot and allocations as well");

	/* A change of key moves nothing; its pairs are compared elsewhere. */
	else if (entry->lot_no == 0 && sum != entry->points && entry->kind != ENTRY_REKEY)
		tell(walk, FAULT_SUM, entry->entry_no, "the allocations do not add up to the entry's points");
}

/*
 * What checkpoints saw of the account at entries up to this one, whose hash is
 * walk->head; NULL: at any entries of the account.
 */
static void
check_checkpoints(Walk *walk, const Entry *entry)
{
	Cursor	   *cursor = &walk->checkpoint;

	while (of_account(walk, cursor) &&
		   (entry == NULL || cursor->entry_no <= entry->entry_no))
	{
		Datum	   *values = cursor->table.slot->tts_values - 1;
		bool		seen = !(cursor->table.slot->tts_isnull - 1)[CHECKPOINT_HEAD_HEAD];
		int32		number = DatumGetInt32(values[CHECKPOINT_HEAD_NUMBER]);

		walk->checkpoint_no = Max(walk->checkpoint_no, number);
		if (cursor->entry_no == 0)
		{
			if (seen)
				tell(walk, FAULT_CHECKPOINT, 0, psprintf("checkpoint %d saw a head of no entry", number));
		}
		else if (entry == NULL || cursor->entry_no < entry->entry_no)
			tell(walk, FAULT_CHECKPOINT, cursor->entry_no,
				 psprintf("checkpoint %d saw the entry, it is not there", number));
		else if (!seen || !is_head(walk, DatumGetByteaPP(values[CHECKPOINT_HEAD_HEAD])))
			tell(walk, FAULT_CHECKPOINT, entry->entry_no,
				 psprintf("checkpoint %d saw another hash of the entry", number));
		advance(walk, cursor);
	}
}

/* What an entry holds of lots, and what those before it do that are not there; NULL: of the account's rest. */
static void
read_holds(Walk *walk, const Entry *entry, Effects *effects)
{
	Cursor	   *cursor = &walk->hold;

	while (of_account(walk, cursor) && (entry == NULL || cursor->entry_no <= entry->entry_no))
	{
		Datum	   *values = cursor->table.slot->tts_values - 1;

		walk->holding |= DatumGetBool(values[HOLD_OPEN]);
		if (entry != NULL && cursor->entry_no == entry->entry_no)
			effects_add_held(effects, DatumGetTimestampTz(values[HOLD_ENDS_AT]), DatumGetInt32(values[HOLD_LOT]),
							 DatumGetPoints(values[HOLD_POINTS]));
		advance(walk, cursor);
	}
}

/* The lots that say that they are the entry's. */
static void
read_opened(Walk *walk, const Entry *entry, Effects *effects)
{
	for (; walk->opened < walk->nrows && walk->rows[walk->opened].opened_by <= entry->entry_no; walk->opened++)
	{
		const LotRow *row = &walk->rows[walk->opened];

		if (row->opened_by < entry->entry_no)
			continue;
		if (row->extended && !row->first_known)
			tell(walk, FAULT_EXTENSION, entry->entry_no,
				 psprintf("lot %d says that its end was moved, no entry does", row->lot_no));
		effects_add_lot(effects, row->valid_from, row->first_end, row->issued);
	}
}

static void
check_entry(Walk *walk)
{
	static Effects effects;
	Datum	   *values = walk->entry.table.slot->tts_values - 1;
	bool	   *nulls = walk->entry.table.slot->tts_isnull - 1;
	Entry		entry = {0};
	text	   *kind = nulls[ENTRY_KIND] ? cstring_to_text("") : DatumGetTextPP(values[ENTRY_KIND]);
	bytea	   *hash = bytes_or_none(values[ENTRY_HASH], nulls[ENTRY_HASH]);
	TimestampTz recorded_at = DatumGetTimestampTz(values[ENTRY_RECORDED_AT]);

	/* An absent column is read as zero. */
	entry.entry_no = walk->entry.entry_no;
	entry.lot_no = DatumGetInt32(values[ENTRY_LOT]);
	entry.points = DatumGetPoints(values[ENTRY_POINTS]);
	entry.event_time = DatumGetTimestampTz(values[ENTRY_EVENT_TIME]);
	entry.base = DatumGetPoints(values[ENTRY_BASE]);
	entry.refunded = DatumGetPoints(values[ENTRY_REFUNDED]);
	entry.forgiven = DatumGetPoints(values[ENTRY_FORGIVEN]);
	entry.source_id = DatumGetInt32(values[ENTRY_SOURCE]);
	entry.rule_id = DatumGetInt32(values[ENTRY_RULE]);
	entry.reverses = DatumGetInt32(values[ENTRY_REVERSES]);
	entry.actor_id = DatumGetInt32(values[ENTRY_ACTOR]);
	entry.kind = entry_kind_of(PointerGetDatum(kind));
	entry.event = slot_text(walk->entry.table.slot, ENTRY_EVENT);
	entry.line = slot_text(walk->entry.table.slot, ENTRY_LINE);

	effects_begin(&effects);
	if (entry.lot_no != 0)
		add_to_lot(walk, entry.lot_no, &entry, entry.points);
	read_allocations(walk, &entry, &effects);
	if (!nulls[ENTRY_CLOCK_END])
		effects_set_clock(&effects, DatumGetTimestampTz(values[ENTRY_CLOCK_END]));
	if (!nulls[ENTRY_CLOCK_ENDED])
		effects_set_ended(&effects, DatumGetTimestampTz(values[ENTRY_CLOCK_ENDED]));
	read_opened(walk, &entry, &effects);
	read_holds(walk, &entry, &effects);
	check_number(walk, entry.entry_no);
	check_hash(walk, &entry, kind, recorded_at, &effects, hash);
	check_checkpoints(walk, &entry);
	check_form(walk, &entry, kind, nulls);
	if (entry.kind == ENTRY_EXTEND && entry.lot_no != 0)
	{
		const LotRow *row = find_row(walk, entry.lot_no);

		if (row != NULL && !row->extended)
			tell(walk, FAULT_EXTENSION, entry.entry_no,
				 psprintf("it moves the end of lot %d, which says that nothing did", entry.lot_no));
	}
	add_to_account(walk, &entry, recorded_at);
	walk->entry_no = entry.entry_no;
	walk->has_entries = true;
}

/* ----------------------------------------------------------------
 *		Anchors
 * ---------------------------------------------------------------- */

/* Takes over what the anchors of the account stand for: its entries come after them. */
static void
begin_after_anchors(Walk *walk)
{
	Cursor	   *anchor = &walk->anchor;
	Cursor	   *checkpoint = &walk->checkpoint;

	while (of_account(walk, anchor))
	{
		Datum	   *values = anchor->table.slot->tts_values - 1;
		bool	   *nulls = anchor->table.slot->tts_isnull - 1;
		bool		proved = false;

		walk->has_entries = true;
		walk->entry_no = anchor->entry_no;
		set_head(walk, bytes_or_none(values[ANCHOR_HASH], nulls[ANCHOR_HASH]));
		add_to(&walk->points, DatumGetPoints(values[ANCHOR_POINTS]));
		add_to(&walk->earned, DatumGetPoints(values[ANCHOR_EARNED]));
		add_to(&walk->redeemed, DatumGetPoints(values[ANCHOR_REDEEMED]));
		add_to(&walk->expired, DatumGetPoints(values[ANCHOR_EXPIRED]));
		walk->recorded_at = Max(walk->recorded_at, DatumGetTimestampTz(values[ANCHOR_RECORDED_AT]));

		/* Its end is a leaf of a checkpoint's tree; other heads before it are the archive's. */
		while (of_account(walk, checkpoint) && checkpoint->entry_no <= anchor->entry_no)
		{
			Datum	   *saw = checkpoint->table.slot->tts_values - 1;
			bool	   *blind = checkpoint->table.slot->tts_isnull - 1;

			walk->checkpoint_no = Max(walk->checkpoint_no, DatumGetInt32(saw[CHECKPOINT_HEAD_NUMBER]));
			if (checkpoint->entry_no == anchor->entry_no)
				proved = !blind[CHECKPOINT_HEAD_HEAD] && is_head(walk, DatumGetByteaPP(saw[CHECKPOINT_HEAD_HEAD]));
			advance(walk, checkpoint);
		}
		if (!proved)
			tell(walk, FAULT_ANCHOR, anchor->entry_no, "it ends the archive, and no checkpoint saw the hash that its anchor has");
		advance(walk, anchor);
	}
	while (of_account(walk, &walk->anchor_lot))
	{
		Datum	   *values = walk->anchor_lot.table.slot->tts_values - 1;
		bool	   *nulls = walk->anchor_lot.table.slot->tts_isnull - 1;
		LotSum	   *lot = lot_sum(walk, DatumGetInt32(values[ANCHOR_LOT_NO]),
								  DatumGetInt32(values[ANCHOR_LOT_OPENED_BY]),
								  DatumGetTimestampTz(values[ANCHOR_LOT_OPENED_AT]));

		add_to(&lot->points, DatumGetPoints(values[ANCHOR_LOT_POINTS]));
		add_to(&lot->credited, DatumGetPoints(values[ANCHOR_LOT_CREDITED]));
		add_to(&lot->expired, DatumGetPoints(values[ANCHOR_LOT_EXPIRED]));
		if (!nulls[ANCHOR_LOT_WAIVED])
			lot->waived = DatumGetPoints(values[ANCHOR_LOT_WAIVED]);
		if (lot->ended_by == 0 && !nulls[ANCHOR_LOT_ENDED_BY])
		{
			lot->ended_by = DatumGetInt32(values[ANCHOR_LOT_ENDED_BY]);
			lot->ended_at = DatumGetTimestampTz(values[ANCHOR_LOT_ENDED_AT]);
		}
		advance(walk, &walk->anchor_lot);
	}
}

/* ----------------------------------------------------------------
 *		Rows of lots and of the account
 * ---------------------------------------------------------------- */

static bool
at_an_end(Points sum)
{
	return sum == POINTS_MIN || sum == POINTS_MAX;
}

/* Whether a lot is what its entries come to. */
static bool
lot_agrees(const Walk *walk, const LotRow *row, TimestampTz as_of)
{
	LotSum	   *sum = lots_lookup(walk->lots, row->lot_no);
	int			year;
	int			month;
	int			day;

	if (sum == NULL || sum->lot_no == DEBT_LOT || sum->met)
		return false;
	sum->met = true;
	j2date(row->issued + POSTGRES_EPOCH_JDATE, &year, &month, &day);
	return row->remaining == sum->points && row->credited == sum->credited && row->expired == sum->expired &&
		row->waived == sum->waived &&
		!at_an_end(sum->points) && !at_an_end(sum->credited) && !at_an_end(sum->expired) &&
		row->remaining >= 0 && row->held >= 0 && row->held <= row->remaining &&
		row->waived >= 0 && row->waived <= row->expired &&
		row->open == (row->remaining > 0) &&
		(sum->ended_by == 0 || sum->ended_at == row->expires_at) &&
		(row->by_activity ? row->expires_at == LOT_ON_CLOCK || row->expires_at <= as_of : row->expires_at != LOT_ON_CLOCK) &&
		row->opened_by == sum->opened_by && row->earned_at == sum->opened_at && day == 1;
}

/*
 * Whether all rows of the account are what its entries come to: no less strict
 * than what _verify_accounts() says of it.
 */
static bool
account_agrees(Walk *walk)
{
	bool		agrees = of_account(walk, &walk->account) && !walk->holding;
	Datum	   *values = walk->account.table.slot->tts_values - 1;
	bool	   *nulls = walk->account.table.slot->tts_isnull - 1;
	TimestampTz as_of = agrees ? DatumGetTimestampTz(values[ACCOUNT_AS_OF]) : 0;
	TimestampTz next_change = DT_NOEND;
	Points		live = 0;
	Points		pending = 0;
	Points		dead = 0;
	Points		posted;
	const LotSum *debt = lots_lookup(walk->lots, DEBT_LOT);

	for (int i = 0; i < walk->nrows && agrees; i++)
	{
		const LotRow *row = &walk->rows[i];
		TimestampTz expires_at = row->expires_at;

		agrees = lot_agrees(walk, row, as_of) && row->held == 0;
		if (agrees && expires_at == LOT_ON_CLOCK)
		{
			agrees = !nulls[ACCOUNT_CLOCK_END];
			expires_at = agrees ? DatumGetTimestampTz(values[ACCOUNT_CLOCK_END]) : expires_at;
		}
		if (expires_at <= as_of)
			add_to(&dead, row->remaining);
		else if (row->valid_from > as_of)
			add_to(&pending, row->remaining);
		else
			add_to(&live, row->remaining);
		if (row->remaining > 0 && expires_at > as_of)
			next_change = Min(next_change, row->valid_from > as_of ? Min(row->valid_from, expires_at) : expires_at);
	}
	if (!agrees)
		return false;

	if (nulls[ACCOUNT_HEAD] ? walk->entry_no != 0 :
		walk->entry_no == 0 || !is_head(walk, DatumGetByteaPP(values[ACCOUNT_HEAD])))
		return false;
	posted = live;
	add_to(&posted, pending);
	add_to(&posted, dead);
	subtract_from(&posted, DatumGetPoints(values[ACCOUNT_DEBT]));
	return (walk->currency_id == 0 || walk->currency_id == DatumGetInt32(values[ACCOUNT_CURRENCY])) &&
		DatumGetInt32(values[ACCOUNT_ENTRIES]) == walk->entry_no &&
		DatumGetInt32(values[ACCOUNT_LOTS]) == walk->nrows &&
		walk->nrows == (walk->nrows == 0 ? 0 : walk->rows[walk->nrows - 1].lot_no) &&
		walk->nrows == (int32) walk->lots->members - (debt != NULL) &&
		DatumGetPoints(values[ACCOUNT_POSTED]) == walk->points && walk->points == posted &&
		DatumGetPoints(values[ACCOUNT_DEBT]) == (debt != NULL ? -debt->points : 0) &&
		DatumGetPoints(values[ACCOUNT_EARNED]) == walk->earned &&
		DatumGetPoints(values[ACCOUNT_REDEEMED]) == walk->redeemed &&
		DatumGetPoints(values[ACCOUNT_EXPIRED]) == walk->expired &&
		DatumGetPoints(values[ACCOUNT_LIVE]) == live &&
		DatumGetPoints(values[ACCOUNT_PENDING]) == pending &&
		DatumGetPoints(values[ACCOUNT_HELD]) == 0 &&
		!at_an_end(walk->points) && !at_an_end(posted) && !at_an_end(walk->earned) &&
		!at_an_end(walk->redeemed) && !at_an_end(walk->expired) &&
		!at_an_end(live) && !at_an_end(pending) && !at_an_end(dead) &&
		as_of >= walk->recorded_at &&
		DatumGetTimestampTz(values[ACCOUNT_NEXT_CHANGE]) > as_of &&
		DatumGetTimestampTz(values[ACCOUNT_NEXT_CHANGE]) <= next_change;
}

/* ----------------------------------------------------------------
 *		The functions
 * ---------------------------------------------------------------- */

#define CURSORS		8

/* All of them, those first whose rows say in both walks which accounts there are. */
static Cursor *
cursor_of(Walk *walk, int n)
{
	Cursor	   *cursors[CURSORS] = {&walk->account, &walk->entry, &walk->allocation, &walk->checkpoint, &walk->anchor,
		&walk->anchor_lot, &walk->lot, &walk->hold
	};

	return cursors[n];
}

/* Lots and holds are not the archive's: they are looked for where an account has an anchor. */
static int
leading_cursors(const Walk *walk)
{
	return walk->archived ? CURSORS - 2 : CURSORS;
}

/* The least account of which any table has a row; false: there is none left. */
static bool
next_account(Walk *walk, int64 *account_id)
{
	bool		found = false;

	for (int i = 0; i < leading_cursors(walk); i++)
	{
		const Cursor *cursor = cursor_of(walk, i);

		if (cursor->there && (!found || cursor->account_id < *account_id))
		{
			*account_id = cursor->account_id;
			found = true;
		}
	}
	return found;
}

/* An account that is there, and is of a currency that is not asked for. */
static bool
is_left_out(const Walk *walk, int64 account_id)
{
	const Datum *values = walk->account.table.slot->tts_values - 1;

	return walk->currencies != NULL && walk->account.there && walk->account.account_id == account_id &&
		find_id(walk->currencies, walk->ncurrencies, DatumGetInt32(values[ACCOUNT_CURRENCY])) < 0;
}

static void
leave_out(Walk *walk, int64 account_id)
{
	for (int i = 0; i < leading_cursors(walk); i++)
	{
		Cursor	   *cursor = cursor_of(walk, i);

		if (!cursor->there || cursor->account_id != account_id)
			continue;
		if (account_id == walk->last)
			cursor->there = false;
		else if (cursor == &walk->account)
			advance(walk, cursor);
		else
			move_to(walk, cursor, account_id + 1);
	}
}

/* What both walks are given: see loyalty_audit_walk(). */
static void
begin_walk(FunctionCallInfo fcinfo, Walk *walk, bool archived)
{
	int64		first;
	int			ncurrencies;

	for (int i = 0; i < 6; i++)
		if (PG_ARGISNULL(i))
			elog(ERROR, "argument %d of a walk is missing", i + 1);
	memset(walk, 0, sizeof(*walk));
	first = PG_GETARG_INT64(0);
	InitMaterializedSRF(fcinfo, 0);
	walk->result = (ReturnSetInfo *) fcinfo->resultinfo;
	if (walk->result->setDesc->natts != WALK_NATTS)
		elog(ERROR, "the walk does not have the columns that this library knows");
	walk->last = PG_GETARG_INT64(1);
	walk->sources = array_int32s(PG_GETARG_ARRAYTYPE_P(2), &walk->nsources);
	walk->rules = array_int32s(PG_GETARG_ARRAYTYPE_P(3), &walk->nrules);
	walk->rule_currencies = array_int32s(PG_GETARG_ARRAYTYPE_P(4), &ncurrencies);
	if (ncurrencies != walk->nrules)
		elog(ERROR, "expected a currency for each rule");
	walk->actors = array_int32s(PG_GETARG_ARRAYTYPE_P(5), &walk->nactors);
	if (!PG_ARGISNULL(6))
		walk->currencies = array_int32s(PG_GETARG_ARRAYTYPE_P(6), &walk->ncurrencies);
	walk->archived = archived;
	walk->context = CurrentMemoryContext;
	walk->rows = palloc(sizeof(LotRow));
	walk->rows_room = 1;
	walk->scratch = AllocSetContextCreate(CurrentMemoryContext, "loyalty audit", ALLOCSET_DEFAULT_SIZES);

	begin_cursor(walk, &walk->account, "account", "account_pkey", ACCOUNT_NATTS, ACCOUNT_ID, 0, first);
	begin_cursor(walk, &walk->entry, archived ? "archived_entry" : "entry",
				 archived ? "archived_entry_pkey" : "entry_pkey", ENTRY_NATTS, ENTRY_ACCOUNT, ENTRY_NO, first);
	begin_cursor(walk, &walk->allocation, archived ? "archived_allocation" : "allocation",
				 archived ? "archived_allocation_pkey" : "allocation_pkey", ALLOCATION_NATTS,
				 ALLOCATION_ACCOUNT, ALLOCATION_ENTRY, first);
	begin_cursor(walk, &walk->checkpoint, "checkpoint_head", "checkpoint_head_pkey", CHECKPOINT_HEAD_NATTS,
				 CHECKPOINT_HEAD_ACCOUNT, CHECKPOINT_HEAD_ENTRIES, first);
	begin_cursor(walk, &walk->anchor, "anchor", "anchor_pkey", ANCHOR_NATTS, ANCHOR_ACCOUNT, ANCHOR_ENTRIES, first);
	begin_cursor(walk, &walk->anchor_lot, "anchor_lot", "anchor_lot_pkey", ANCHOR_LOT_NATTS,
				 ANCHOR_LOT_ACCOUNT, ANCHOR_LOT_ENTRIES, first);
	begin_cursor(walk, &walk->lot, "lot", "lot_pkey", LOT_NATTS, LOT_ACCOUNT, 0, first);
	begin_cursor(walk, &walk->hold, "hold", "hold_pkey", HOLD_NATTS, HOLD_ACCOUNT, HOLD_NO, first);
}

/* The account's entries up to a number, in the scratch context. */
static void
check_entries(Walk *walk, int32 last)
{
	while (of_account(walk, &walk->entry) && walk->entry.entry_no <= last)
	{
		check_entry(walk);
		MemoryContextReset(walk->scratch);
		advance(walk, &walk->entry);
	}
}

/* Account by account; what is read of one lives until the next. */
static void
walk_accounts(Walk *walk, void (*walk_account) (Walk *walk))
{
	int64		account_id = 0;

	while (next_account(walk, &account_id))
	{
		MemoryContext old;

		if (is_left_out(walk, account_id))
		{
			leave_out(walk, account_id);
			continue;
		}
		begin_account(walk, account_id);
		old = MemoryContextSwitchTo(walk->scratch);
		walk_account(walk);
		MemoryContextSwitchTo(old);
		MemoryContextReset(walk->scratch);
	}
	for (int i = 0; i < CURSORS; i++)
		end_cursor(cursor_of(walk, i));
	for (int i = 0; i < (int) lengthof(walk->extensions); i++)
		if (walk->extensions[i].rel != NULL)
			table_finish(&walk->extensions[i]);
}

static void
walk_ledger(Walk *walk)
{
	begin_after_anchors(walk);
	read_lots(walk);
	check_entries(walk, PG_INT32_MAX);
	read_allocations(walk, NULL, NULL);
	read_holds(walk, NULL, NULL);
	check_checkpoints(walk, NULL);
	if (!account_agrees(walk))
		answer_sums(walk);
	if (of_account(walk, &walk->account))
		advance(walk, &walk->account);
}

/*
 * _walk(first bigint, last bigint, sources int[], rules int[], rule_currencies int[], actors int[],
 * currencies int[]):
 * ids that there are, ascending, and each rule's currency beside it; of the accounts' currencies
 * those to walk, ascending, NULL for all.
 */
Datum
loyalty_audit_walk(PG_FUNCTION_ARGS)
{
	Walk		walk;

	begin_walk(fcinfo, &walk, false);
	walk_accounts(&walk, walk_ledger);
	return (Datum) 0;
}

/* ----------------------------------------------------------------
 *		The archive
 * ---------------------------------------------------------------- */

/* A piece begins with nothing, after an entry of that number and hash. */
static void
begin_piece(Walk *walk, int32 entry_no, const uint8 *head)
{
	walk->entry_no = entry_no;
	memcpy(walk->head, head, CHAIN_HASH_LEN);
	walk->points = walk->earned = walk->redeemed = walk->expired = 0;
	walk->recorded_at = DT_NOBEGIN;
	lots_reset(walk->lots);
}

/* Whether the lots of an anchor, which are read to their end, are what the piece did to lots. */
static bool
lots_agree(Walk *walk, int32 entries)
{
	Cursor	   *cursor = &walk->anchor_lot;
	bool		agree = true;
	uint32		n = 0;

	while (of_account(walk, cursor) && cursor->entry_no <= entries)
	{
		Datum	   *values = cursor->table.slot->tts_values - 1;
		bool	   *nulls = cursor->table.slot->tts_isnull - 1;
		const LotSum *sum = lots_lookup(walk->lots, DatumGetInt32(values[ANCHOR_LOT_NO]));

		n++;
		agree = agree && cursor->entry_no == entries && sum != NULL &&
			DatumGetPoints(values[ANCHOR_LOT_POINTS]) == sum->points &&
			DatumGetPoints(values[ANCHOR_LOT_CREDITED]) == sum->credited &&
			DatumGetPoints(values[ANCHOR_LOT_EXPIRED]) == sum->expired &&
			(nulls[ANCHOR_LOT_WAIVED] ? !sum->waives : sum->waives && DatumGetPoints(values[ANCHOR_LOT_WAIVED]) == sum->waived) &&
			DatumGetInt32(values[ANCHOR_LOT_OPENED_BY]) == sum->opened_by &&
			DatumGetTimestampTz(values[ANCHOR_LOT_OPENED_AT]) == sum->opened_at &&
			(nulls[ANCHOR_LOT_ENDED_BY] ? sum->ended_by == 0 :
			 DatumGetInt32(values[ANCHOR_LOT_ENDED_BY]) == sum->ended_by &&
			 !nulls[ANCHOR_LOT_ENDED_AT] && DatumGetTimestampTz(values[ANCHOR_LOT_ENDED_AT]) == sum->ended_at);
		advance(walk, cursor);
	}
	return agree && n == walk->lots->members;
}

static void
skip_to(Walk *walk, Cursor *cursor, int32 entry_no)
{
	while (of_account(walk, cursor) && cursor->entry_no <= entry_no)
		advance(walk, cursor);
}

static void
walk_archive(Walk *walk)
{
	uint8		head[CHAIN_HASH_LEN] = {0};
	int32		last = 0;

	if (of_account(walk, &walk->anchor))
	{
		move_to(walk, &walk->lot, walk->account_id);
		move_to(walk, &walk->hold, walk->account_id);
		read_lots(walk);
	}
	while (of_account(walk, &walk->anchor))
	{
		Datum	   *values = walk->anchor.table.slot->tts_values - 1;
		bool	   *nulls = walk->anchor.table.slot->tts_isnull - 1;
		int32		entries = walk->anchor.entry_no;

		begin_piece(walk, last, head);
		if (of_account(walk, &walk->entry) && walk->entry.entry_no <= entries)
		{
			check_entries(walk, entries);
			if (walk->entry_no != entries)
				tell(walk, FAULT_NUMBER, walk->entry_no + 1,
					 psprintf("archived entries %d to %d are not there", walk->entry_no + 1, entries));
			else if (!is_head(walk, bytes_or_none(values[ANCHOR_HASH], nulls[ANCHOR_HASH])) ||
					 DatumGetPoints(values[ANCHOR_POINTS]) != walk->points ||
					 DatumGetPoints(values[ANCHOR_EARNED]) != walk->earned ||
					 DatumGetPoints(values[ANCHOR_REDEEMED]) != walk->redeemed ||
					 DatumGetPoints(values[ANCHOR_EXPIRED]) != walk->expired ||
					 DatumGetTimestampTz(values[ANCHOR_RECORDED_AT]) != walk->recorded_at ||
					 !lots_agree(walk, entries))
				tell(walk, FAULT_ANCHOR, entries, "archived entries do not come to what their anchor says");
		}
		else if (DatumGetTimestampTz(values[ANCHOR_ARCHIVED_AT]) > walk->discarded)
			tell(walk, FAULT_NUMBER, last + 1,
				 psprintf("archived entries %d to %d are not there", last + 1, entries));
		skip_to(walk, &walk->anchor_lot, entries);
		skip_to(walk, &walk->checkpoint, entries);

		set_head(walk, bytes_or_none(values[ANCHOR_HASH], nulls[ANCHOR_HASH]));
		memcpy(head, walk->head, CHAIN_HASH_LEN);
		last = entries;
		advance(walk, &walk->anchor);
	}
	if (of_account(walk, &walk->entry))
		tell(walk, FAULT_ANCHOR, walk->entry.entry_no, "the archived entry is beyond any anchor");
	if (of_account(walk, &walk->anchor_lot))
		tell(walk, FAULT_ANCHOR, walk->anchor_lot.entry_no, "the anchor is not there, its lots are");
	read_allocations(walk, NULL, NULL);
	skip_to(walk, &walk->entry, PG_INT32_MAX);
	skip_to(walk, &walk->anchor_lot, PG_INT32_MAX);
	skip_to(walk, &walk->checkpoint, PG_INT32_MAX);
	skip_to(walk, &walk->account, PG_INT32_MAX);
}

/*
 * _walk_archive(first bigint, last bigint, sources int[], rules int[], rule_currencies int[], actors int[],
 * currencies int[], discarded timestamptz): as _walk(), of the archive; of what was archived up to discarded nothing
 * need be there, NULL: everything has to.
 */
Datum
loyalty_audit_walk_archive(PG_FUNCTION_ARGS)
{
	Walk		walk;

	begin_walk(fcinfo, &walk, true);
	walk.discarded = PG_ARGISNULL(7) ? DT_NOBEGIN : PG_GETARG_TIMESTAMPTZ(7);
	walk_accounts(&walk, walk_archive);
	return (Datum) 0;
}

/*
 * The canonical bytes of an entry given as (previous, account_id, entry_no, lot_no, points, event_time,
 * recorded_at, actor_id, base, refunded, forgiven, source_id, rule_id, reverses, kind, event, line, effects); NULL
 * where one is missing that every entry has.
 */
static const uint8 *
bytes_of_arguments(FunctionCallInfo fcinfo, int *len)
{
	static const int required[] = {1, 2, 4, 5, 6, 7, 14};
	uint8		previous[CHAIN_HASH_LEN] = {0};
	bytea	   *effects = PG_ARGISNULL(17) ? NULL : PG_GETARG_BYTEA_PP(17);
	Entry		entry = {0};

	for (int i = 0; i < (int) lengthof(required); i++)
		if (PG_ARGISNULL(required[i]))
			return NULL;
	if (!PG_ARGISNULL(0))
	{
		bytea	   *given = PG_GETARG_BYTEA_PP(0);

		if (VARSIZE_ANY_EXHDR(given) != CHAIN_HASH_LEN)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("the hash before must have %d bytes", CHAIN_HASH_LEN),
					 errhint("Use NULL before an account's first entry.")));
		memcpy(previous, VARDATA_ANY(given), CHAIN_HASH_LEN);
	}

#define OPTIONAL(n, get)	(PG_ARGISNULL(n) ? 0 : get(n))
	entry.entry_no = PG_GETARG_INT32(2);
	entry.lot_no = OPTIONAL(3, PG_GETARG_INT32);
	entry.points = PG_GETARG_POINTS(4);
	entry.event_time = PG_GETARG_TIMESTAMPTZ(5);
	entry.actor_id = PG_GETARG_INT32(7);
	entry.base = OPTIONAL(8, PG_GETARG_POINTS);
	entry.refunded = OPTIONAL(9, PG_GETARG_POINTS);
	entry.forgiven = OPTIONAL(10, PG_GETARG_POINTS);
	entry.source_id = OPTIONAL(11, PG_GETARG_INT32);
	entry.rule_id = OPTIONAL(12, PG_GETARG_INT32);
	entry.reverses = OPTIONAL(13, PG_GETARG_INT32);
	entry.event = PG_ARGISNULL(15) ? NULL : PG_GETARG_TEXT_PP(15);
	entry.line = PG_ARGISNULL(16) ? NULL : PG_GETARG_TEXT_PP(16);

	return chain_bytes(PG_GETARG_INT64(1), &entry, PG_GETARG_TEXT_PP(14), PG_GETARG_TIMESTAMPTZ(6),
					   effects == NULL ? NULL : (const uint8 *) VARDATA_ANY(effects),
					   effects == NULL ? 0 : VARSIZE_ANY_EXHDR(effects), previous, len);
}

static bytea *
make_bytea(const uint8 *data, int len)
{
	bytea	   *result = palloc(VARHDRSZ + len);

	SET_VARSIZE(result, VARHDRSZ + len);
	memcpy(VARDATA(result), data, len);
	return result;
}

Datum
loyalty_audit_bytes(PG_FUNCTION_ARGS)
{
	int			len;
	const uint8 *data = bytes_of_arguments(fcinfo, &len);

	if (data == NULL)
		PG_RETURN_NULL();
	PG_RETURN_BYTEA_P(make_bytea(data, len));
}

Datum
loyalty_audit_hash(PG_FUNCTION_ARGS)
{
	int			len;
	const uint8 *data = bytes_of_arguments(fcinfo, &len);
	uint8		hash[CHAIN_HASH_LEN];

	if (data == NULL)
		PG_RETURN_NULL();
	chain_sha256(data, len, hash);
	PG_RETURN_BYTEA_P(make_bytea(hash, CHAIN_HASH_LEN));
}
