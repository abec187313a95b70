/*
 * audit.c
 *		Reading the books from each account's first entry to its last.
 *
 * A walk reads a range of accounts: entries, allocations and what checkpoints
 * saw of each account, side by side in the order of their keys.  It answers
 * two things: which entries can't be as they are (number, hash, form,
 * allocations, or not as a checkpoint saw them), and what the entries of each
 * lot and each account come to.  SQL holds these sums against the rows that the
 * engine keeps (sql/ledger/audit.sql).
 *
 * Of the engine only the canonical bytes (chain.c) are used: what an entry
 * does to lots and totals is said here a second time, so that a fault of the
 * posting code does not hide itself.  A walk never fails on what it finds: sums
 * stay at the end of their range, and what is wrong is told.
 *
 * Of several entries of an account that have the same kind of fault the first
 * is told.
 *
 * Memory: what is known of an account lives until the next one; what is read
 * of an entry, until the next entry.
 */
#include "postgres.h"

#include "access/nbtree.h"
#include "catalog/pg_type.h"
#include "common/cryptohash.h"
#include "common/hashfn.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

#include "base/compat.h"
#include "ledger/chain.h"
#include "ledger/checkpoint.h"

PG_FUNCTION_INFO_V1(loyalty_audit_bytes);
PG_FUNCTION_INFO_V1(loyalty_audit_hash);
PG_FUNCTION_INFO_V1(loyalty_audit_walk);

/* Columns of what a walk answers */
enum
{
	WALK_ACCOUNT, WALK_LOT, WALK_ENTRY, WALK_PROBLEM, WALK_POINTS, WALK_CREDITED, WALK_REDEEMED,
	WALK_EXPIRED, WALK_AT, WALK_ENDED_AT, WALK_ENDED_BY, WALK_CURRENCY, WALK_HEAD, WALK_CHECKPOINT,
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
	FAULT_CHECKPOINT
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
	bool		pair;			/* names its other side in line */
	bool		lot;			/* of one lot, without allocations */
} Form;

static const Form forms[ENTRY_KINDS] = {
	[ENTRY_EARN] = {.least = 1, .most = 1, .nothing = true, .award = true},
	[ENTRY_REVERSE] = {.least = -1, .most = -1, .nothing = true, .award = true},
	[ENTRY_REDEEM] = {.least = -1, .most = -1, .captures = true},
	[ENTRY_GIVEBACK] = {.least = 1, .most = 1, .reverses = true},
	[ENTRY_EXPIRE] = {.least = -1, .most = -1, .lot = true},
	[ENTRY_ADJUST] = {.least = -1, .most = 1},
	[ENTRY_REKEY] = {.least = -1, .most = 1, .nothing = true, .award = true},
	[ENTRY_HOLD] = {.nothing = true, .holds = true},
	[ENTRY_TRANSFER] = {.least = -1, .most = 1, .pair = true},
	[ENTRY_MERGE] = {.least = -1, .most = 1, .nothing = true, .pair = true, .captures = true},
	[ENTRY_FORFEIT] = {.least = -1, .most = -1},
};

/* What entries and allocations did to a lot. */
typedef struct LotSum
{
	int32		lot_no;
	char		status;
	Points		points;
	Points		credited;
	Points		expired;
	int32		opened_by;		/* the first entry that touched it */
	TimestampTz opened_at;		/* and that entry's time */
	int32		ended_by;		/* the first entry that booked its end; 0: none */
	TimestampTz ended_at;
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

/* A table of which each row belongs to an entry, read in the order of the entries. */
typedef struct Cursor
{
	Table		table;
	TableScan	scan;
	bool		there;			/* there is a row in table.slot */
	int64		account_id;
	int32		entry_no;
} Cursor;

typedef struct Walk
{
	ReturnSetInfo *result;
	int64		last;
	int32	   *sources;		/* those there are, ascending */
	int			nsources;
	int32	   *rules;
	int32	   *rule_currencies;
	int			nrules;
	int32	   *actors;
	int			nactors;
	Cursor		entry;
	Cursor		allocation;
	Cursor		checkpoint;
	pg_cryptohash_ctx *sha;
	MemoryContext context;		/* of the walk */
	MemoryContext scratch;		/* of an entry */
	lots_hash  *lots;

	/* of the account */
	int64		account_id;
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
	walk->entry_no = 0;
	memset(walk->head, 0, CHAIN_HASH_LEN);
	walk->told = 0;
	walk->points = walk->earned = walk->redeemed = walk->expired = 0;
	walk->recorded_at = DT_NOBEGIN;
	walk->currency_id = 0;
	walk->checkpoint_no = 0;
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

static void
end_account(Walk *walk)
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
		values[WALK_AT] = TimestampTzGetDatum(lot->opened_at);
		values[WALK_ENDED_AT] = TimestampTzGetDatum(lot->ended_at);
		values[WALK_ENDED_BY] = Int32GetDatum(lot->ended_by);
		nulls[WALK_ENDED_AT] = nulls[WALK_ENDED_BY] = lot->ended_by == 0;
		answer(walk, values, nulls);
	}

	SET_VARSIZE(&head, sizeof(head));
	memcpy(head.bytes, walk->head, CHAIN_HASH_LEN);
	memset(nulls, false, sizeof(nulls));
	nulls[WALK_LOT] = nulls[WALK_PROBLEM] = nulls[WALK_ENDED_AT] = nulls[WALK_ENDED_BY] = true;
	values[WALK_CHECKPOINT] = Int32GetDatum(walk->checkpoint_no);
	nulls[WALK_CHECKPOINT] = walk->checkpoint_no == 0;
	values[WALK_ENTRY] = Int32GetDatum(walk->entry_no);
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

static void
add_to_lot(Walk *walk, int32 lot_no, const Entry *entry, Points points)
{
	bool		found;
	LotSum	   *lot = lots_insert(walk->lots, lot_no, &found);

	if (!found)
	{
		char		status = lot->status;

		memset(lot, 0, sizeof(*lot));
		lot->status = status;
		lot->lot_no = lot_no;
		lot->opened_by = entry->entry_no;
		lot->opened_at = entry->event_time;
	}
	add_to(&lot->points, points);

	/* What changes its key goes out and comes in again: no credit. */
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
advance(Walk *walk, Cursor *cursor, int account_column, int entry_column)
{
	bool		isnull;

	cursor->there = table_scan_next(&cursor->scan);
	if (!cursor->there)
		return;
	slot_getallattrs(cursor->table.slot);
	cursor->account_id = DatumGetInt64(slot_getattr(cursor->table.slot, account_column, &isnull));
	cursor->entry_no = DatumGetInt32(slot_getattr(cursor->table.slot, entry_column, &isnull));
	cursor->there = cursor->account_id <= walk->last;
}

static void
next_entry(Walk *walk)
{
	advance(walk, &walk->entry, ENTRY_ACCOUNT, ENTRY_NO);
}

static void
next_allocation(Walk *walk)
{
	advance(walk, &walk->allocation, ALLOCATION_ACCOUNT, ALLOCATION_ENTRY);
}

static void
next_checkpoint(Walk *walk)
{
	advance(walk, &walk->checkpoint, CHECKPOINT_HEAD_ACCOUNT, CHECKPOINT_HEAD_ENTRIES);
}

static void
begin_cursor(Walk *walk, Cursor *cursor, const char *name, const char *index, int natts, int64 first)
{
	TableKey	key = {BTGreaterEqualStrategyNumber, Int64GetDatum(first)};

	table_open_for_read(&cursor->table, name, natts);
	table_scan_begin(&cursor->scan, &cursor->table, index, GetActiveSnapshot(), 1, &key);
}

static void
end_cursor(Cursor *cursor)
{
	table_scan_end(&cursor->scan);
	table_finish(&cursor->table);
}

static EntryKind
kind_of(const text *name)
{
	for (int kind = 0; kind < ENTRY_KINDS; kind++)
	{
		const char *known = entry_kind_name(kind);

		if (strlen(known) == VARSIZE_ANY_EXHDR(name) && memcmp(known, VARDATA_ANY(name), strlen(known)) == 0)
			return kind;
	}
	return ENTRY_KINDS;
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
	else if (entry->source_id != 0 || entry->rule_id != 0 || (entry->line != NULL && !form->pair) ||
			 (entry->base != 0 && !form->holds) || entry->refunded != 0 || entry->forgiven != 0)
		return "has what only awards have";
	if (form->holds && entry->base <= 0)
		return "does not say what it reserves";
	if (form->pair && entry->line == NULL)
		return "does not name its other side";
	if (entry->kind != ENTRY_REKEY && !form->captures && (entry->reverses != 0) != form->reverses)
		return form->reverses ? "does not name the entry it reverses" : "names an entry it reverses";
	if (entry->reverses < 0 || entry->reverses >= entry->entry_no)
		return "reverses an entry that is not before it";
	if (form->lot && entry->lot_no == 0)
		return "does not name its lot";
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

static void
check_hash(Walk *walk, const Entry *entry, const text *kind, TimestampTz recorded_at, const bytea *stored)
{
	uint8		hash[CHAIN_HASH_LEN];
	int			len = VARSIZE_ANY_EXHDR(stored);

	if (!(walk->told & (1 << FAULT_HASH)))
	{
		chain_hash(walk->sha, walk->account_id, entry, kind, recorded_at, walk->head, hash);
		if (len != CHAIN_HASH_LEN || memcmp(hash, VARDATA_ANY(stored), CHAIN_HASH_LEN) != 0)
			tell(walk, FAULT_HASH, entry->entry_no,
				 "the hash is not that of the entry's content and the hash before it");
	}
	memset(walk->head, 0, CHAIN_HASH_LEN);
	memcpy(walk->head, VARDATA_ANY(stored), Min(len, CHAIN_HASH_LEN));
}

/* The allocations of an entry, and of entries before it that are not there; NULL: of the account's rest. */
static void
read_allocations(Walk *walk, const Entry *entry)
{
	Cursor	   *cursor = &walk->allocation;
	Points		sum = 0;
	int			n = 0;

	while (cursor->there && cursor->account_id == walk->account_id &&
		   (entry == NULL || cursor->entry_no <= entry->entry_no))
	{
		Datum	   *values = cursor->table.slot->tts_values - 1;

		CHECK_FOR_INTERRUPTS();
		if (entry == NULL || cursor->entry_no < entry->entry_no)
			tell(walk, FAULT_ORPHAN, cursor->entry_no, "allocations name an entry that is not there");
		else
		{
			Points		points = DatumGetPoints(values[ALLOCATION_POINTS]);

			if (DatumGetInt32(values[ALLOCATION_NO]) != ++n)
				tell(walk, FAULT_ALLOCATION_NUMBER, entry->entry_no, psprintf("allocation %d is not there", n));
			add_to(&sum, points);
			add_to_lot(walk, DatumGetInt32(values[ALLOCATION_LOT]), entry, points);
		}
		next_allocation(walk);
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

	while (cursor->there && cursor->account_id == walk->account_id &&
		   (entry == NULL || cursor->entry_no <= entry->entry_no))
	{
		Datum	   *values = cursor->table.slot->tts_values - 1;
		bool		seen = !(cursor->table.slot->tts_isnull - 1)[CHECKPOINT_HEAD_HEAD];
		int32		number = DatumGetInt32(values[CHECKPOINT_HEAD_NUMBER]);

		CHECK_FOR_INTERRUPTS();
		walk->checkpoint_no = Max(walk->checkpoint_no, number);
		if (cursor->entry_no == 0)
		{
			if (seen)
				tell(walk, FAULT_CHECKPOINT, 0, psprintf("checkpoint %d saw a head of no entry", number));
		}
		else if (entry == NULL || cursor->entry_no < entry->entry_no)
			tell(walk, FAULT_CHECKPOINT, cursor->entry_no,
				 psprintf("checkpoint %d saw the entry, it is not there", number));
		else
		{
			bytea	   *head = seen ? DatumGetByteaPP(values[CHECKPOINT_HEAD_HEAD]) : NULL;

			if (!seen || VARSIZE_ANY_EXHDR(head) != CHAIN_HASH_LEN ||
				memcmp(VARDATA_ANY(head), walk->head, CHAIN_HASH_LEN) != 0)
				tell(walk, FAULT_CHECKPOINT, entry->entry_no,
					 psprintf("checkpoint %d saw another hash of the entry", number));
		}
		next_checkpoint(walk);
	}
}

static void
check_entry(Walk *walk)
{
	Datum	   *values = walk->entry.table.slot->tts_values - 1;
	bool	   *nulls = walk->entry.table.slot->tts_isnull - 1;
	Entry		entry = {0};
	text	   *kind = nulls[ENTRY_KIND] ? cstring_to_text("") : DatumGetTextPP(values[ENTRY_KIND]);
	bytea	   *hash = nulls[ENTRY_HASH] ? (bytea *) cstring_to_text("") : DatumGetByteaPP(values[ENTRY_HASH]);
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
	entry.kind = kind_of(kind);
	entry.event = nulls[ENTRY_EVENT] ? NULL : DatumGetTextPP(values[ENTRY_EVENT]);
	entry.line = nulls[ENTRY_LINE] ? NULL : DatumGetTextPP(values[ENTRY_LINE]);

	check_number(walk, entry.entry_no);
	check_hash(walk, &entry, kind, recorded_at, hash);
	check_checkpoints(walk, &entry);
	check_form(walk, &entry, kind, nulls);
	add_to_account(walk, &entry, recorded_at);
	if (entry.lot_no != 0)
		add_to_lot(walk, entry.lot_no, &entry, entry.points);
	read_allocations(walk, &entry);
	walk->entry_no = entry.entry_no;
}

/* ----------------------------------------------------------------
 *		The functions
 * ---------------------------------------------------------------- */

static int32 *
read_ids(ArrayType *array, int *n)
{
	Datum	   *elements;
	int32	   *ids;

	deconstruct_array(array, INT4OID, sizeof(int32), true, TYPALIGN_INT, &elements, NULL, n);
	ids = palloc(sizeof(int32) * Max(*n, 1));
	for (int i = 0; i < *n; i++)
		ids[i] = DatumGetInt32(elements[i]);
	return ids;
}

/* The least account of which any table has a row; false: there is none left. */
static bool
next_account(const Walk *walk, int64 *account_id)
{
	const Cursor *cursors[] = {&walk->entry, &walk->allocation, &walk->checkpoint};
	bool		found = false;

	for (int i = 0; i < (int) lengthof(cursors); i++)
		if (cursors[i]->there && (!found || cursors[i]->account_id < *account_id))
		{
			*account_id = cursors[i]->account_id;
			found = true;
		}
	return found;
}

/*
 * _walk(first bigint, last bigint, sources int[], rules int[], rule_currencies int[], actors int[]):
 * ids that there are, ascending, and each rule's currency beside it.
 */
Datum
loyalty_audit_walk(PG_FUNCTION_ARGS)
{
	MemoryContext old = CurrentMemoryContext;
	Walk		walk = {0};
	int64		first = PG_GETARG_INT64(0);
	int			ncurrencies;
	int64		account_id = 0;

	InitMaterializedSRF(fcinfo, 0);
	walk.result = (ReturnSetInfo *) fcinfo->resultinfo;
	if (walk.result->setDesc->natts != WALK_NATTS)
		elog(ERROR, "the walk does not have the columns that this library knows");
	walk.last = PG_GETARG_INT64(1);
	walk.sources = read_ids(PG_GETARG_ARRAYTYPE_P(2), &walk.nsources);
	walk.rules = read_ids(PG_GETARG_ARRAYTYPE_P(3), &walk.nrules);
	walk.rule_currencies = read_ids(PG_GETARG_ARRAYTYPE_P(4), &ncurrencies);
	if (ncurrencies != walk.nrules)
		elog(ERROR, "expected a currency for each rule");
	walk.actors = read_ids(PG_GETARG_ARRAYTYPE_P(5), &walk.nactors);
	walk.context = CurrentMemoryContext;
	walk.scratch = AllocSetContextCreate(CurrentMemoryContext, "loyalty audit", ALLOCSET_DEFAULT_SIZES);
	walk.sha = chain_begin();

	begin_cursor(&walk, &walk.entry, "entry", "entry_pkey", ENTRY_NATTS, first);
	begin_cursor(&walk, &walk.allocation, "allocation", "allocation_pkey", ALLOCATION_NATTS, first);
	begin_cursor(&walk, &walk.checkpoint, "checkpoint_head", "checkpoint_head_pkey", CHECKPOINT_HEAD_NATTS, first);
	next_entry(&walk);
	next_allocation(&walk);
	next_checkpoint(&walk);
	while (next_account(&walk, &account_id))
	{
		begin_account(&walk, account_id);
		MemoryContextSwitchTo(walk.scratch);
		while (walk.entry.there && walk.entry.account_id == walk.account_id)
		{
			CHECK_FOR_INTERRUPTS();
			check_entry(&walk);
			MemoryContextReset(walk.scratch);
			next_entry(&walk);
		}
		read_allocations(&walk, NULL);
		check_checkpoints(&walk, NULL);
		end_account(&walk);
		MemoryContextSwitchTo(old);
	}
	end_cursor(&walk.checkpoint);
	end_cursor(&walk.allocation);
	end_cursor(&walk.entry);
	pg_cryptohash_free(walk.sha);
	return (Datum) 0;
}

/*
 * The canonical bytes of an entry given as (previous, account_id, entry_no, lot_no, points, event_time,
 * recorded_at, actor_id, base, refunded, forgiven, source_id, rule_id, reverses, kind, event, line); NULL where one
 * is missing that every entry has.
 */
static const uint8 *
bytes_of_arguments(FunctionCallInfo fcinfo, int *len)
{
	static const int required[] = {1, 2, 4, 5, 6, 7, 14};
	uint8		previous[CHAIN_HASH_LEN] = {0};
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

	return chain_bytes(PG_GETARG_INT64(1), &entry, PG_GETARG_TEXT_PP(14), PG_GETARG_TIMESTAMPTZ(6), previous, len);
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
	pg_cryptohash_ctx *sha;

	if (data == NULL)
		PG_RETURN_NULL();
	sha = chain_begin();
	chain_sha256(sha, data, len, hash);
	pg_cryptohash_free(sha);
	PG_RETURN_BYTEA_P(make_bytea(hash, CHAIN_HASH_LEN));
}
