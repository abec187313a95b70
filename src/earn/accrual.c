/*
 * accrual.c
 *		From changed rows of a source to movements of points.
 *
 * Rows are collected in batches.  A batch's members are looked up (and
 * enrolled) together, its rows become tasks, one an account, and the tasks are
 * worked off in the order of account, event time and row.  A statement that
 * fits in memory is one batch, sorted in place; a larger one goes through
 * tuplesort, so memory is bounded however many rows a COPY brings.
 *
 * What a changed row owes is never reckoned from the change alone: the points
 * booked for it so far are read from the ledger, what it should have by the
 * rules recorded for it is reckoned anew, and the difference is booked.
 */
#include "postgres.h"

#include "access/nbtree.h"
#include "access/xact.h"
#include "catalog/pg_operator_d.h"
#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "miscadmin.h"
#include "port/pg_bitutils.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/tuplesort.h"

#include "base/array.h"
#include "base/errors.h"
#include "base/owner.h"
#include "earn/accrual.h"
#include "earn/rule.h"
#include "ledger/merged.h"

#define BATCH_BYTES		(96 * 1024 * 1024)
#define SORT_MEMORY_KB	(32 * 1024)
#define VISIT_TASKS		10000	/* at most, so that a visit's memory is bounded too */

typedef enum Role
{
	ROLE_NEW,					/* rate it */
	ROLE_FIRST,					/* rate it unless it was booked before */
	ROLE_SETTLE,				/* rate it, or book what is missing if an inner statement did */
	ROLE_STATE,					/* book what is missing to what it should have */
	ROLE_CHANGE,				/* the same, of a row that was there before */
	ROLE_LEAVE,					/* it is gone */
	ROLE_MOVE,					/* it went to another account */
	ROLE_JOIN					/* it came from another account, with the rules it had there */
} Role;

/* What only changed rows have. */
typedef struct Change
{
	Image	   *before;			/* of a row that was there */
	int			nrules;			/* for ROLE_JOIN: rules recorded where it was */
	int32		rules[FLEXIBLE_ARRAY_MEMBER];
} Change;

/* Columns of loyalty.deferred */
enum
{
	DEFERRED_SOURCE = 1, DEFERRED_EVENT, DEFERRED_LINE, DEFERRED_MEMBER, DEFERRED_STATE, DEFERRED_MESSAGE,
	DEFERRED_AT,
	DEFERRED_NATTS = DEFERRED_AT
};

typedef struct Task
{
	int64		account_id;		/* to visit */
	int64		via;			/* a merged account, in the visit of the one that has its points; 0: the account itself */
	TimestampTz time;
	uint32		row;
	Role		role;
	Image	   *image;			/* for ROLE_LEAVE and ROLE_MOVE as it was, else as it is */
	Change	   *change;			/* NULL for ROLE_NEW, ROLE_FIRST and ROLE_SETTLE */
	ItemPointerData hint;
} Task;

/* A row as it was collected: its members are not resolved yet. */
typedef struct Row
{
	ChangeKind	kind;
	Image	   *before;
	Image	   *after;
} Row;

typedef struct Member
{
	text	   *key;
	uint32		hash;
	char		status;
	int			number;
} Member;

/* A member's account of one of the program's currencies. */
typedef struct Known
{
	int64		account_id;
	int64		root;			/* account_id, or the account that it was merged into, however often */
	ItemPointerData tid;
	bool		wanted;
} Known;

#define SH_PREFIX			members
#define SH_ELEMENT_TYPE		Member
#define SH_KEY_TYPE			text *
#define SH_KEY				key
#define SH_HASH_KEY(tb, k)	hash_bytes((const unsigned char *) VARDATA_ANY(k), VARSIZE_ANY_EXHDR(k))
#define SH_EQUAL(tb, a, b)	(VARSIZE_ANY_EXHDR(a) == VARSIZE_ANY_EXHDR(b) && \
							 memcmp(VARDATA_ANY(a), VARDATA_ANY(b), VARSIZE_ANY_EXHDR(a)) == 0)
#define SH_STORE_HASH
#define SH_GET_HASH(tb, a)	(a)->hash
#define SH_SCOPE			static inline
#define SH_DECLARE
#define SH_DEFINE
#include "lib/simplehash.h"

struct Accrual
{
	Source	   *source;
	MemoryContext context;		/* of the accrual */
	MemoryContext batch;		/* of the rows not worked off yet */
	Arena		arena;
	Row		   *rows;
	int			nrows;
	int			rows_room;
	members_hash *members;
	text	  **keys;			/* by member number */
	int			nmembers;
	int			members_room;
	const Currency **currencies;	/* that the program's rules give, the default first */
	int			ncurrencies;
	CommandId	began;
	bool		settles;		/* rows that are new here may have been booked already */
	bool		within_trigger;
	bool		has_changes;
	uint32		row;			/* over all batches */
	Tuplesortstate *sort;		/* more than a batch */
	TupleDesc	sort_desc;
	Post		post;
	uint8	   *booked;			/* a bit for each row: something was booked for it */
	uint32		booked_room;	/* bytes */
	members_hash *only;			/* keys of deferred rows, with their places in noted; NULL: take every row */
	struct Noted **noted;
	int			nnoted;
	Task	   *strays;			/* of accounts that were merged, or came apart, since they were found */
	int			nstrays;
	int			strays_room;
	bool		queue_known;	/* whether any row of the source is deferred: */
	bool		queue_empty;
};

/* ----------------------------------------------------------------
 *		Collecting
 * ---------------------------------------------------------------- */

static void spill_batch(Accrual *accrual);
static void work_off_deferring(Accrual *accrual, int first, int n);

static void
begin_batch(Accrual *accrual)
{
	MemoryContextReset(accrual->batch);
	memset(&accrual->arena, 0, sizeof(accrual->arena));
	accrual->arena.context = accrual->batch;
	accrual->rows = NULL;
	accrual->nrows = accrual->rows_room = 0;
	accrual->members = NULL;
	accrual->keys = NULL;
	accrual->nmembers = accrual->members_room = 0;
}

Accrual *
accrual_begin(Source *source, CommandId began, bool settles)
{
	Accrual    *accrual = palloc0(sizeof(Accrual));

	accrual->source = source;
	accrual->context = CurrentMemoryContext;
	accrual->began = began;
	accrual->settles = settles;
	accrual->ncurrencies = rule_currencies(source->program_id, &accrual->currencies);
	accrual->batch = AllocSetContextCreate(CurrentMemoryContext, "loyalty rows", ALLOCSET_DEFAULT_SIZES);
	begin_batch(accrual);
	return accrual;
}

void
accrual_within_trigger(Accrual *accrual)
{
	accrual->within_trigger = true;
}

/* One text and number for each member of the batch. */
static void
note_member(Accrual *accrual, Image *image)
{
	Member	   *member;
	bool		found;

	if (image->member == NULL)
		return;

	/* Most statements bring a row or two: no hash table for them. */
	if (accrual->members == NULL && accrual->nmembers < 4)
	{
		for (int i = 0; i < accrual->nmembers; i++)
			if (same_text(accrual->keys[i], image->member))
			{
				image->member_no = i;
				return;
			}
	}
	else
	{
		if (accrual->members == NULL)
		{
			accrual->members = members_create(accrual->batch, 256, NULL);
			for (int i = 0; i < accrual->nmembers; i++)
				members_insert(accrual->members, accrual->keys[i], &found)->number = i;
		}
		member = members_insert(accrual->members, image->member, &found);
		if (found)
		{
			image->member = member->key;
			image->member_no = member->number;
			return;
		}
		member->number = accrual->nmembers;
	}

	accrual->keys = array_grow(accrual->keys, accrual->nmembers, &accrual->members_room, sizeof(text *));
	accrual->keys[accrual->nmembers] = image->member;
	image->member_no = accrual->nmembers++;
}

static bool
same_key(const Image *a, const Image *b)
{
	return same_text(a->event, b->event) && same_text(a->line, b->line);
}

/* While a row could not be rated, nobody knows what times it had. */
static bool
was_redated(const Image *before, const Image *after)
{
	return before->time != after->time || before->refused;
}

/* Nothing that points hang on differs. */
static bool
same_for_points(const Image *a, const Image *b)
{
	if (!same_text(a->member, b->member) || a->earning != b->earning)
		return false;
	if (a->member == NULL)
		return true;
	return same_key(a, b) &&
		(!a->earning || (a->amount == b->amount && a->refunded == b->refunded && a->time == b->time));
}

/* In the queue a row without a line has an empty one, since it is of the key. */
static Datum
queued_line(const Image *image)
{
	return image->line ? PointerGetDatum(image->line) : CStringGetTextDatum("");
}

/* Notes a row whose points could not be booked; one noted before is noted anew. */
static void
defer(const Source *source, const Image *image, int state, const char *message)
{
	static OwnerPlan plan;
	Datum		args[6];

	if (image == NULL || image->member == NULL)
		return;
	args[0] = Int32GetDatum(source->source_id);
	args[1] = PointerGetDatum(image->event);
	args[2] = queued_line(image);
	args[3] = PointerGetDatum(image->member);
	args[4] = CStringGetTextDatum(unpack_sql_state(state));
	args[5] = CStringGetTextDatum(message);
	owner_execute(&plan,
				  "INSERT INTO loyalty.deferred (source_id, event, line, member, state, message, deferred_at)"
				  " VALUES ($1, $2, $3, $4, $5, $6, pg_catalog.now())"
				  " ON CONFLICT (source_id, event, line, member) DO UPDATE"
				  " SET state = EXCLUDED.state, message = EXCLUDED.message", 6,
				  (Oid[]) {INT4OID, TEXTOID, TEXTOID, TEXTOID, TEXTOID, TEXTOID}, args);
}

/* A row of the queue. */
typedef struct Noted
{
	text	   *event;
	text	   *line;
	text	   *member;
	bool		seen;			/* the row is there and is that member's */
	int			next;			/* of the same row, noted with another member; -1: none */
} Noted;

static text *
row_key(text *event, text *line)
{
	return line ? line : event;
}

static bool
queue_is_empty(Accrual *accrual)
{
	if (!accrual->queue_known)
	{
		Snapshot	snapshot = RegisterSnapshot(GetLatestSnapshot());
		TableKey	key = {BTEqualStrategyNumber, Int32GetDatum(accrual->source->source_id)};
		Table		table;
		TableScan	scan;

		table_open_for_read(&table, "deferred", DEFERRED_NATTS);
		table_scan_begin(&scan, &table, "deferred_pkey", snapshot, 1, &key);
		accrual->queue_empty = !table_scan_next(&scan);
		accrual->queue_known = true;
		table_scan_end(&scan);
		table_finish(&table);
		UnregisterSnapshot(snapshot);
	}
	return accrual->queue_empty;
}

/* A row that waits in the queue waits there under its new key, too. */
static void
follow_key(Accrual *accrual, const Image *before, const Image *after)
{
	static OwnerPlan plan;
	Datum		args[6];

	if (before->member == NULL || after->member == NULL ||
		same_key(before, after) || queue_is_empty(accrual))
		return;
	args[0] = Int32GetDatum(accrual->source->source_id);
	args[1] = PointerGetDatum(before->event);
	args[2] = queued_line(before);
	args[3] = PointerGetDatum(after->event);
	args[4] = queued_line(after);
	args[5] = PointerGetDatum(after->member);
	owner_execute(&plan,
				  "INSERT INTO loyalty.deferred (source_id, event, line, member, state, message, deferred_at)"
				  " SELECT source_id, $4, $5, $6, state, message, deferred_at FROM loyalty.deferred"
				  " WHERE source_id OPERATOR(pg_catalog.=) $1 AND event OPERATOR(pg_catalog.=) $2"
				  " AND line OPERATOR(pg_catalog.=) $3"
				  " ORDER BY deferred_at LIMIT 1"
				  " ON CONFLICT (source_id, event, line, member) DO NOTHING", 6,
				  (Oid[]) {INT4OID, TEXTOID, TEXTOID, TEXTOID, TEXTOID, TEXTOID}, args);
}

void
accrual_only_deferred(Accrual *accrual)
{
	MemoryContext old = MemoryContextSwitchTo(accrual->context);
	Snapshot	snapshot = RegisterSnapshot(GetLatestSnapshot());
	static OwnerPlan plan;
	Datum		source_id = Int32GetDatum(accrual->source->source_id);
	TableKey	key = {BTEqualStrategyNumber, source_id};
	Table		table;
	TableScan	scan;
	int			room = 0;

	accrual->only = members_create(accrual->context, 64, NULL);
	table_open_for_read(&table, "deferred", DEFERRED_NATTS);
	table_scan_begin(&scan, &table, "deferred_pkey", snapshot, 1, &key);
	while (table_scan_next(&scan))
	{
		Datum	   *values = table.slot->tts_values - 1;
		Noted	   *noted = palloc0(sizeof(Noted));
		Member	   *first;
		bool		found;

		slot_getallattrs(table.slot);
		noted->event = DatumGetTextPCopy(values[DEFERRED_EVENT]);
		if (VARSIZE_ANY_EXHDR(DatumGetTextPP(values[DEFERRED_LINE])) > 0)
			noted->line = DatumGetTextPCopy(values[DEFERRED_LINE]);
		noted->member = DatumGetTextPCopy(values[DEFERRED_MEMBER]);
		accrual->noted = array_grow(accrual->noted, accrual->nnoted, &room, sizeof(Noted *));
		first = members_insert(accrual->only, row_key(noted->event, noted->line), &found);
		noted->next = found ? first->number : -1;
		first->number = accrual->nnoted;
		accrual->noted[accrual->nnoted++] = noted;
	}
	table_scan_end(&scan);
	table_finish(&table);
	UnregisterSnapshot(snapshot);
	owner_execute(&plan, "DELETE FROM loyalty.deferred WHERE source_id OPERATOR(pg_catalog.=) $1", 1,
				  (Oid[]) {INT4OID}, &source_id);
	MemoryContextSwitchTo(old);
}

/* False: the row is not in the queue. */
static bool
was_deferred(Accrual *accrual, const Image *image)
{
	text	   *key = row_key(image->event, image->line);
	Member	   *first = key ? members_lookup(accrual->only, key) : NULL;

	if (first == NULL)
		return false;
	for (int i = first->number; i >= 0; i = accrual->noted[i]->next)
	{
		Noted	   *noted = accrual->noted[i];

		if (same_text(noted->event, image->event) && same_text(noted->line, image->line) &&
			same_text(noted->member, image->member))
			noted->seen = true;
	}
	return true;
}

static void add_row(Accrual *accrual, const Row *row);

/* Those that are gone, or another member's by now, shall have nothing where they were noted. */
static void
add_gone_ones(Accrual *accrual)
{
	for (int i = 0; i < accrual->nnoted; i++)
	{
		Noted	   *noted = accrual->noted[i];
		Row			row = {CHANGE_STATE};

		if (noted->seen)
			continue;
		row.before = arena_alloc(&accrual->arena, sizeof(Image));
		memset(row.before, 0, sizeof(Image));
		row.before->member = noted->member;
		row.before->event = noted->event;
		row.before->line = noted->line;
		row.before->time = GetCurrentTransactionStartTimestamp();
		add_row(accrual, &row);
	}
}

void
accrual_add(Accrual *accrual, ChangeKind kind,
			const SourceColumns *before_columns, TupleTableSlot *before,
			const SourceColumns *after_columns, TupleTableSlot *after)
{
	MemoryContext old = MemoryContextSwitchTo(accrual->batch);
	Row			row = {kind};
	Refusal		refusal;
	bool		fine = true;

	if (before != NULL)
	{
		/* What it earned was rated when it was new; a value refused then was deferred then. */
		row.before = arena_alloc(&accrual->arena, sizeof(Image));
		row.before->refused = !image_read(accrual->source, before_columns, before, after != NULL,
										  &accrual->arena, row.before, &refusal);
	}
	if (after != NULL)
	{
		row.after = arena_alloc(&accrual->arena, sizeof(Image));
		fine = image_read(accrual->source, after_columns, after, false, &accrual->arena, row.after, &refusal);
	}
	MemoryContextSwitchTo(old);

	if (accrual->source->defer && kind == CHANGE_ROW && row.after != NULL)
		follow_key(accrual, row.before, row.after);
	if (!fine && !(accrual->only != NULL && !was_deferred(accrual, row.after)))
	{
		if (!accrual->source->defer || row.after->event == NULL)
			refuse(&refusal);
		defer(accrual->source, row.before, refusal.state, refusal.message);
		defer(accrual->source, row.after, refusal.state, refusal.message);
		accrual->has_changes = true;
		return;
	}
	if (accrual->only != NULL && (row.after->member == NULL || !was_deferred(accrual, row.after)))
		return;
	if ((row.before == NULL || row.before->member == NULL) && (row.after == NULL || row.after->member == NULL))
		return;
	if (kind == CHANGE_ROW && row.after != NULL && same_for_points(row.before, row.after))
		return;
	accrual->has_changes = true;
	add_row(accrual, &row);
}

bool
accrual_has_changes(const Accrual *accrual)
{
	return accrual->has_changes;
}

static void
add_row(Accrual *accrual, const Row *row)
{
	MemoryContext old = MemoryContextSwitchTo(accrual->batch);

	if (row->before != NULL)
		note_member(accrual, row->before);
	if (row->after != NULL)
		note_member(accrual, row->after);
	accrual->rows = array_grow(accrual->rows, accrual->nrows, &accrual->rows_room, sizeof(Row));
	accrual->rows[accrual->nrows++] = *row;
	MemoryContextSwitchTo(old);

	if (accrual->arena.total > BATCH_BYTES)
	{
		if (accrual->source->defer)
			work_off_deferring(accrual, 0, accrual->nrows);
		else
			spill_batch(accrual);
		begin_batch(accrual);
	}
}

/* ----------------------------------------------------------------
 *		What is booked for a row
 * ---------------------------------------------------------------- */

/* By one rule. */
typedef struct Booked
{
	int32		rule_id;
	Points		points;
	Points		base;
	Points		refunded;
	Points		forgiven;
	int32		first_entry;
	TimestampTz time;			/* of the event, as it was booked first */
	bool		whole;			/* the first entry there is could be the first there was */
	/* The lot of the latest credit is the award's own: a key used again names a new award. */
	int32		lot_no;
	int32		lot_entry;		/* the credit that names it, */
	int32		lot_award;		/* and the entry that made the award, under this key or another */
	int32		split_entry;	/* the latest credit that repaid a debt, */
	int32		split_award;	/* and the entry whose allocations say which lot took the rest */
} Booked;

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

/* Written since the accrual began: other rows', that came by this row's key. */
static bool
booked_just_now(const Accrual *accrual, TupleTableSlot *slot)
{
	bool		isnull;
	TransactionId writer = DatumGetTransactionId(slot_getsysattr(slot, MinTransactionIdAttributeNumber, &isnull));

	return TransactionIdIsCurrentTransactionId(writer) &&
		DatumGetCommandId(slot_getsysattr(slot, MinCommandIdAttributeNumber, &isnull)) >= accrual->began;
}

/* Of the row itself, or of all lines of its event. */
static int
load_booked(const Accrual *accrual, Post *post, int64 account_id, const Image *image, bool whole_event,
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
		if (nulls[ENTRY_SOURCE] || DatumGetInt32(values[ENTRY_SOURCE]) != accrual->source->source_id ||
			nulls[ENTRY_RULE])
			continue;
		if (whole_event ? nulls[ENTRY_LINE] :
			!same_text(image->line, slot_text(slot, ENTRY_LINE)) ||
			booked_just_now(accrual, slot))
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

/*
 * A row is not brought to what it is due from a part of what was booked for it:
 * refuses if more may have been discarded with the archive.  Of a row that is
 * said to have been so (not of a whole event) the sums tell as well: the first entry
 * that stayed may be a correction, which looks like an award.
 */
static void
refuse_discarded(const Accrual *accrual, Post *post, int64 account_id, const Image *image, bool was,
				 const Booked *booked, int nbooked)
{
	TimestampTz time = DT_NOEND;

	if (nbooked == 0 && image->earning)
		time = accrual->source->event_time == NULL ? DT_NOBEGIN : image->time;
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
	Accrual    *accrual;
	Task	   *tasks;
	int			ntasks;
	/* of one run of the work function */
	Reversal   *reversals;
	int			nreversals;
	int			reversals_room;
	const text *event;			/* whose sums are in group */
	Booked	   *group;
	int			ngroup;
	members_hash *met;			/* keys of the rows brought to their state */
	int			nstrays;		/* there were before it */
} Visit;

static void
describe(Entry *entry, const Visit *visit, const Rule *rule, const Image *image, Points base, Points refunded)
{
	entry->source_id = visit->accrual->source->source_id;
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
		visit->ngroup = load_booked(visit->accrual, account->post, account->account_id, image, true, &visit->group);
		/* Without times a line that is new can't be told from one that is old. */
		if (visit->ngroup > 0 || visit->accrual->source->event_time != NULL)
			refuse_discarded(visit->accrual, account->post, account->account_id, image, false, visit->group, visit->ngroup);
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
	const Source *source = visit->accrual->source;
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
			group->base = points_add(group->base, image->amount);
			group->refunded = points_add(group->refunded, image->refunded);
			points = points_sub(rule_points(rule, group->base, group->refunded),
								points_sub(group->points, group->forgiven));
			/* A line that comes refunded may leave the event with less; what is to be confirmed is so at once. */
			if (points < 0 || account->currency->confirm)
				own = own_lot(account, group);
		}
		else
			points = rule_points(rule, image->amount, image->refunded);

		if (points < 0)
			merged_recall(account, -points, own);

		/* Even nothing is booked: it says by which rule a later change is to be rated. */
		entry = points < 0 ? account_entry(account, ENTRY_REVERSE, account->post->now) :
			account_entry(account, ENTRY_EARN, image->time);
		describe(entry, visit, rule, image, image->amount, image->refunded);
		if (counts)
		{
			entry->visits = 1;
			entry->spend = image->amount - image->refunded;
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

/* A row that does not say when it happened did so when it was first booked. */
static TimestampTz
time_of_award(const Source *source, const Image *image, const Booked *booked)
{
	return source->event_time != NULL || booked->first_entry == 0 ? image->time : booked->time;
}

static void
describe_reversal(Entry *entry, const Visit *visit, const Reversal *reversal)
{
	describe(entry, visit, reversal->rule, reversal->image, reversal->base, reversal->refunded);
	entry->metric_time = time_of_award(visit->accrual->source, reversal->image, &reversal->booked);
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
		change.spend += base - refunded;
		change.visits++;
	}
	if (aim->counted)
	{
		change.spend -= booked->base - booked->refunded;
		change.visits--;
	}
	if (rule->by_event && image->line != NULL)
	{
		group = group_sums(visit, account, rule, image);
		group->base = points_add(group->base, change.base);
		group->refunded = points_add(group->refunded, change.refunded);
		sums = *group;
		base = sums.base;
		refunded = sums.refunded;
		earning = earning || base > 0;
	}
	target = earning ? rule_points(rule, base, refunded) : 0;

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
		lot_dates(account->currency, time_of_award(visit->accrual->source, image, booked), &dates);
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

/*
 * A row that earns now and that nothing is booked for, but perhaps what was
 * taken back again: whether it earned nothing by what it was, for its status,
 * its amount or want of a rule at its time.  If it should have earned, it did
 * so before it was attached, or waits in the queue, or an outer statement will
 * book it; but that would not find it under another key.
 */
static bool
begins_to_earn(const Accrual *accrual, const Currency *currency, const Image *before, const Image *after,
			   int nbooked)
{
	RatedEvent	event = {accrual->source->kind, before->time, before->amount, before->refunded};
	const Rule **matches;
	int			n;

	if (!before->earning ||
		(nbooked > 0 && (before->amount == 0 || before->refused || accrual->settles)) ||
		(accrual->within_trigger && !same_key(before, after)))
		return true;
	if (before->time == after->time)
		return false;
	n = rules_for(accrual->source->program_id, &event, &matches);
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
	int			nmore = load_booked(visit->accrual, account->post, account->account_id, image, false, &more);

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

static bool
any_active(const Booked *booked, int nbooked)
{
	for (int i = 0; i < nbooked; i++)
		if (is_active(&booked[i]))
			return true;
	return false;
}

static bool
has_base(const Booked *booked, int nbooked)
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
		visit->met = members_create(account->post->context, visit->ntasks, NULL);
	members_insert(visit->met, row_key(image->event, image->line), &found);
	return !found;
}

/*
 * A row that was redated, or that comes to earn (again), is brought under the
 * rules in force at its time, else it keeps those recorded.
 */
static void
bring_to_state(Visit *visit, Account *account, const Task *task, bool redated)
{
	const Source *source = visit->accrual->source;
	const Image *image = task->image;
	const Image *before = task->change ? task->change->before : NULL;
	const Image *known = before ? before : image;
	bool		earning = task->role != ROLE_LEAVE && task->role != ROLE_MOVE && image->earning;
	RatedEvent	event = {source->kind, image->time, image->amount, image->refunded};
	Booked	   *booked = NULL;
	int			nbooked = !first_of_key(visit, account, known) ? 0 :
		load_booked(visit->accrual, account->post, account->account_id, known, false, &booked);
	const Rule **matches;
	int			nmatches;
	int32	   *fresh;
	int			nfresh = 0;
	bool	   *in_force;
	bool		was_earning = task->role == ROLE_CHANGE ? before->earning :
		(task->role == ROLE_LEAVE || task->role == ROLE_MOVE) && image->earning;
	int			counted = -1;
	int			counts = -1;

	refuse_discarded(visit->accrual, account->post, account->account_id, known,
					 task->role == ROLE_CHANGE || task->role == ROLE_LEAVE || task->role == ROLE_MOVE, booked, nbooked);
	if (task->role == ROLE_CHANGE && !same_key(before, image))
	{
		if (nbooked > 0)
			rekey(visit, account, task, booked, nbooked);
		if (visit->accrual->settles)
			nbooked = add_booked(visit, account, image, &booked, nbooked);
	}
	for (int i = nbooked - 1; i >= 0; i--)
		if (booked[i].base != 0)
			counted = i;
	/* What has no amount counts all the same. */
	if (counted < 0 && nbooked > 0 &&
		(task->role == ROLE_STATE ? any_active(booked, nbooked) : was_earning && known->amount == 0))
		counted = 0;
	if (!any_active(booked, nbooked))
	{
		if (earning ? task->role == ROLE_CHANGE &&
			!begins_to_earn(visit->accrual, account->currency, before, image, nbooked) : counted < 0)
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
	redated = earning && source->event_time != NULL && (redated || !has_base(booked, nbooked));
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
note_booked(Accrual *accrual, uint32 row)
{
	if (row / 8 >= accrual->booked_room)
	{
		uint32		room = Max(accrual->booked_room * 2, row / 8 + 64);

		accrual->booked = accrual->booked ?
			repalloc_huge(accrual->booked, room) : MemoryContextAllocHuge(accrual->context, room);
		memset(accrual->booked + accrual->booked_room, 0, room - accrual->booked_room);
		accrual->booked_room = room;
	}
	accrual->booked[row / 8] |= 1 << row % 8;
}

/* Rows are numbered anew from there. */
static void
forget_booked(Accrual *accrual, uint32 from)
{
	accrual->row = from;
	for (uint32 byte = from / 8; byte < accrual->booked_room; byte++)
		accrual->booked[byte] &= byte == from / 8 ? (1 << from % 8) - 1 : 0;
}

/* Whether an earlier statement, seen too late, left something booked for what looks new. */
static bool
is_booked(Visit *visit, Account *account, const Task *task)
{
	Booked	   *booked;
	int			nbooked = load_booked(visit->accrual, account->post, account->account_id, task->image, false, &booked);

	return any_active(booked, nbooked);
}

/* The memory of a visit goes with it, and it may begin again. */
static void
note_stray(Accrual *accrual, const Task *task)
{
	MemoryContext old = MemoryContextSwitchTo(accrual->context);

	accrual->strays = array_grow(accrual->strays, accrual->nstrays, &accrual->strays_room, sizeof(Task));
	MemoryContextSwitchTo(old);
	accrual->strays[accrual->nstrays++] = *task;
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
			note_stray(visit->accrual, task);
			continue;
		}
		nentries = account->nentries;
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
				if (!closed && load_booked(visit->accrual, account->post, account->account_id, task->image, false,
										   &booked) == 0)
				{
					refuse_discarded(visit->accrual, account->post, account->account_id, task->image, false, NULL, 0);
					award(visit, account, task->image, NULL, 0, true);
					visit->event = NULL;
				}
				break;
			case ROLE_JOIN:
				if (visit->accrual->settles)
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
			note_booked(visit->accrual, task->row);
	}
}

static void
visit_account(Account *account, void *arg)
{
	Visit	   *visit = arg;
	Accrual    *accrual = visit->accrual;
	int64		last = 0;

	visit->reversals = NULL;
	visit->nreversals = visit->reversals_room = 0;
	accrual->nstrays = visit->nstrays;
	visit_via(visit, account->state == ACCOUNT_MERGED ? NULL : account, 0);

	/* Those merged into it, in the order of their ids. */
	for (;;)
	{
		int64		next = 0;

		for (int i = 0; i < visit->ntasks; i++)
			if (visit->tasks[i].via > last && (next == 0 || visit->tasks[i].via < next))
				next = visit->tasks[i].via;
		if (next == 0)
			break;
		visit_via(visit, account_dependent(account, next), next);
		last = next;
	}
	if (account->ndependents > 0 && visit->nreversals > 0)
		for (int i = account->ndependents - 1; i >= 0; i--)
			merged_pass_on(account->dependents[i]);
	for (int i = 0; i < visit->nreversals; i++)
		(void) reverse(visit, &visit->reversals[i]);
}

/* ----------------------------------------------------------------
 *		From rows to tasks
 * ---------------------------------------------------------------- */

static int
by_key(const void *a, const void *b, void *arg)
{
	text	  **keys = ((Accrual *) arg)->keys;
	const text *x = keys[*(const int *) a];
	const text *y = keys[*(const int *) b];
	int			common = Min(VARSIZE_ANY_EXHDR(x), VARSIZE_ANY_EXHDR(y));
	int			result = memcmp(VARDATA_ANY(x), VARDATA_ANY(y), common);

	return result != 0 ? result : (int) VARSIZE_ANY_EXHDR(x) - (int) VARSIZE_ANY_EXHDR(y);
}

static void
want_accounts(Accrual *accrual, const Row *row, Known *known)
{
	const Image *image = row->after;
	RatedEvent	event = {accrual->source->kind, image->time, image->amount, image->refunded};
	const Rule **matches;
	int			n;

	known[0].wanted = true;
	if (accrual->ncurrencies == 1)
		return;
	n = image->earning ? rules_for(accrual->source->program_id, &event, &matches) : 0;
	for (int c = 1; c < accrual->ncurrencies; c++)
	{
		/* An award that moves to another member may be of any currency. */
		if (row->kind == CHANGE_ROW)
			known[c].wanted = true;
		for (int i = 0; i < n; i++)
			if (matches[i]->currency->currency_id == accrual->currencies[c]->currency_id)
				known[c].wanted = true;
	}
}

static void
find_account(Accrual *accrual, Known *known, int32 currency_id, const text *key)
{
	known->account_id = known->root = post_find_account(&accrual->post, currency_id, key, &known->tid);
	if (known->account_id != 0 && post_found_merged(&accrual->post))
		known->root = post_root(&accrual->post, known->account_id, &known->tid);
}

/* Opens the accounts that are wanted and not there, of the members in order, enrolling those who are new. */
static void
open_accounts(Accrual *accrual, Known *known, const int *order, int norder)
{
	Post	   *post = &accrual->post;
	int32		program_id = accrual->source->program_id;
	int			ncurrencies = accrual->ncurrencies;
	int64	   *ids = palloc_extended(sizeof(int64) * accrual->nmembers, MCXT_ALLOC_HUGE | MCXT_ALLOC_ZERO);
	int		   *lacking = palloc(sizeof(int) * norder);
	const text **unknown = palloc(sizeof(text *) * norder);
	int64	   *opened = palloc(sizeof(int64) * norder);
	int			nlacking = 0;
	int			nunknown = 0;

	for (int i = 0; i < norder; i++)
	{
		Known	   *accounts = &known[order[i] * ncurrencies];
		bool		lacks = false;

		for (int c = 0; c < ncurrencies; c++)
			lacks |= accounts[c].wanted && accounts[c].account_id == 0;
		if (!lacks)
			continue;
		CHECK_FOR_INTERRUPTS();
		lacking[nlacking++] = order[i];
		ids[order[i]] = post_find_member(post, program_id, accrual->keys[order[i]]);
		if (ids[order[i]] == 0)
			unknown[nunknown++] = accrual->keys[order[i]];
	}
	if (nunknown > 0)
	{
		post_enrol(program_id, unknown, nunknown);
		post_renew(post);
		for (int i = 0; i < nlacking; i++)
			if (ids[lacking[i]] == 0)
				ids[lacking[i]] = post_find_member(post, program_id, accrual->keys[lacking[i]]);
	}

	for (int c = 0; c < ncurrencies; c++)
	{
		int32		currency_id = accrual->currencies[c]->currency_id;
		int			nopened = 0;

		for (int i = 0; i < nlacking; i++)
			if (known[lacking[i] * ncurrencies + c].wanted && known[lacking[i] * ncurrencies + c].account_id == 0)
				opened[nopened++] = ids[lacking[i]];
		if (nopened == 0)
			continue;
		post_open_accounts(currency_id, opened, nopened);
		post_renew(post);
		for (int i = 0; i < nlacking; i++)
		{
			Known	   *account = &known[lacking[i] * ncurrencies + c];

			if (account->wanted && account->account_id == 0)
				find_account(accrual, account, currency_id, accrual->keys[lacking[i]]);
		}
	}
	pfree(ids);
	pfree(lacking);
	pfree(unknown);
	pfree(opened);
}

/*
 * The accounts of the rows' members: known[member * ncurrencies + currency].
 * Those of a row as it is are opened if need be, those of what it was are not.
 */
static Known *
find_accounts(Accrual *accrual, const Row *rows, int n)
{
	int			ncurrencies = accrual->ncurrencies;
	Known	   *known = palloc_extended(sizeof(Known) * accrual->nmembers * ncurrencies,
									   MCXT_ALLOC_HUGE | MCXT_ALLOC_ZERO);
	bool	   *needed = palloc0(sizeof(bool) * accrual->nmembers);
	int		   *order = palloc(sizeof(int) * accrual->nmembers);
	int			norder = 0;
	bool		lacking = false;

	for (int i = 0; i < n; i++)
	{
		const Row  *row = &rows[i];

		if (row->before != NULL && row->before->member != NULL)
			needed[row->before->member_no] = true;
		if (row->after != NULL && row->after->member != NULL && VARSIZE_ANY_EXHDR(row->after->member) > 0)
		{
			needed[row->after->member_no] = true;
			want_accounts(accrual, row, &known[row->after->member_no * ncurrencies]);
		}
	}
	for (int i = 0; i < accrual->nmembers; i++)
		if (needed[i])
			order[norder++] = i;

	/* In key order the index is walked from one end to the other. */
	if (norder > 8)
		qsort_arg(order, norder, sizeof(int), by_key, accrual);
	for (int c = 0; c < ncurrencies; c++)
		for (int i = 0; i < norder; i++)
		{
			Known	   *account = &known[order[i] * ncurrencies + c];

			CHECK_FOR_INTERRUPTS();
			find_account(accrual, account, accrual->currencies[c]->currency_id, accrual->keys[order[i]]);
			lacking |= account->wanted && account->account_id == 0;
		}
	if (lacking)
		open_accounts(accrual, known, order, norder);
	pfree(needed);
	pfree(order);
	return known;
}

typedef struct Tasks
{
	Task	   *tasks;
	int			n;
	int			room;
} Tasks;

static void
add_task(Tasks *tasks, const Known *known, uint32 row, Role role, Image *image, Change *change)
{
	Task	   *task;

	if (known->account_id == 0)
		return;
	if (tasks->n == tasks->room)
	{
		tasks->room *= 2;
		tasks->tasks = repalloc_huge(tasks->tasks, sizeof(Task) * tasks->room);
	}
	task = &tasks->tasks[tasks->n++];
	task->account_id = known->root;
	task->via = known->root == known->account_id ? 0 : known->account_id;
	task->hint = known->tid;
	task->time = image->time;
	task->row = row;
	task->role = role;
	task->image = image;
	task->change = change;
}

static Change *
make_change(Accrual *accrual, Image *before, int nrules)
{
	Change	   *change = arena_alloc(&accrual->arena, offsetof(Change, rules) + sizeof(int32) * nrules);

	change->before = before;
	change->nrules = nrules;
	return change;
}

static void
make_tasks(Accrual *accrual, Row *rows, int n, Tasks *tasks)
{
	int			ncurrencies = accrual->ncurrencies;
	Known	   *known = find_accounts(accrual, rows, n);

	tasks->n = 0;
	tasks->room = Max(n, 1);
	tasks->tasks = palloc_extended(sizeof(Task) * tasks->room, MCXT_ALLOC_HUGE);
	for (int i = 0; i < n; i++)
	{
		Image	   *before = rows[i].before;
		Image	   *after = rows[i].after;
		uint32		number = accrual->row++;
		bool		was_member = before != NULL && before->member != NULL;
		bool		is_member = after != NULL && after->member != NULL;
		bool		same_member = was_member && is_member && before->member_no == after->member_no;
		bool		same_time = was_member && is_member && !was_redated(before, after);
		/* Under a key that it had before, an inner statement may have booked it; another may be another row's. */
		Role		start = accrual->settles || (before != NULL && after != NULL && same_key(before, after)) ?
			ROLE_SETTLE : ROLE_NEW;
		Role		leave = is_member && after->earning ? ROLE_MOVE : ROLE_LEAVE;

		for (int c = 0; c < ncurrencies; c++)
		{
			Known	   *from = was_member ? &known[before->member_no * ncurrencies + c] : NULL;
			Known	   *to = is_member ? &known[after->member_no * ncurrencies + c] : NULL;

			switch (rows[i].kind)
			{
				case CHANGE_NEW:
				case CHANGE_FIRST:
					if (after->earning)
						add_task(tasks, to, number, rows[i].kind == CHANGE_NEW ? start : ROLE_FIRST, after, NULL);
					break;
				case CHANGE_STATE:
					if (was_member && !same_member)
						add_task(tasks, from, number, leave, before, NULL);
					if (is_member)
						add_task(tasks, to, number, ROLE_STATE, after, NULL);
					break;
				case CHANGE_ROW:
					if (same_member)
						add_task(tasks, to, number, ROLE_CHANGE, after, make_change(accrual, before, 0));
					else if (!was_member)
					{
						if (after->earning)
							add_task(tasks, to, number, start, after, NULL);
					}
					else
					{
						Booked	   *booked = NULL;
						int			nbooked = from->account_id == 0 ? 0 :
							load_booked(accrual, &accrual->post, from->account_id, before, false, &booked);
						bool		timeless = accrual->source->event_time == NULL;
						bool		begins = is_member && after->earning &&
							(any_active(booked, nbooked) ||
							 begins_to_earn(accrual, accrual->currencies[c], before, after, nbooked));

						if (from->account_id != 0)
							refuse_discarded(accrual, &accrual->post, from->account_id, before, true, booked, nbooked);
						if (nbooked > 0)
							add_task(tasks, from, number, leave, before, NULL);
						if (begins && (timeless ? nbooked > 0 : same_time && has_base(booked, nbooked)))
						{
							Change	   *change = make_change(accrual, before, nbooked);

							change->nrules = 0;
							for (int b = 0; b < nbooked; b++)
								if (timeless || booked[b].base != 0)
									change->rules[change->nrules++] = booked[b].rule_id;
							after->time = time_of_award(accrual->source, after, &booked[0]);
							add_task(tasks, to, number, ROLE_JOIN, after, change);
						}
						else if (begins)
							add_task(tasks, to, number, start, after, NULL);
					}
					break;
			}
		}
	}
	pfree(known);
}

/* ----------------------------------------------------------------
 *		Working off
 * ---------------------------------------------------------------- */

static inline int
compare_tasks(const Task *a, const Task *b)
{
	if (a->account_id != b->account_id)
		return a->account_id < b->account_id ? -1 : 1;
	if (a->time != b->time)
		return a->time < b->time ? -1 : 1;
	return a->row < b->row ? -1 : a->row > b->row;
}

#define ST_SORT sort_tasks
#define ST_ELEMENT_TYPE Task
#define ST_COMPARE(a, b) compare_tasks(a, b)
#define ST_SCOPE static
#define ST_DEFINE
#include "lib/sort_template.h"

static void
visit_tasks(Accrual *accrual, Task *tasks, int n)
{
	Visit		visit = {accrual, tasks, n, .nstrays = accrual->nstrays};

	post_account(&accrual->post, tasks[0].account_id, &tasks[0].hint, visit_account, &visit);
}

/* In the order of accounts, with which others' statements agree. */
static void
visit_all(Accrual *accrual, Task *tasks, int n)
{
	if (n > 1)
		sort_tasks(tasks, n);
	for (int i = 0, end; i < n; i = end)
	{
		for (end = i + 1; end < n && end - i < VISIT_TASKS && tasks[end].account_id == tasks[i].account_id; end++)
			;
		visit_tasks(accrual, &tasks[i], end - i);
	}
}

/*
 * What a merge, or the end of one, led astray since the accounts were found.  They are visited
 * out of order, so two statements of many members that met one merge may each wait for the other.
 */
static void
visit_strays(Accrual *accrual)
{
	while (accrual->nstrays > 0)
	{
		int			n = accrual->nstrays;
		Task	   *tasks = palloc_extended(sizeof(Task) * n, MCXT_ALLOC_HUGE);

		memcpy(tasks, accrual->strays, sizeof(Task) * n);
		accrual->nstrays = 0;
		post_restart(&accrual->post);
		for (int i = 0; i < n; i++)
		{
			int64		account_id = tasks[i].via ? tasks[i].via : tasks[i].account_id;

			tasks[i].account_id = post_root(&accrual->post, account_id, &tasks[i].hint);
			tasks[i].via = tasks[i].account_id == account_id ? 0 : account_id;
		}
		visit_all(accrual, tasks, n);
		pfree(tasks);
	}
}

/* All in memory, from one batch. */
static void
work_off(Accrual *accrual, Row *rows, int n)
{
	Tasks		tasks;

	post_begin(&accrual->post);
	accrual->nstrays = 0;
	make_tasks(accrual, rows, n, &tasks);
	visit_all(accrual, tasks.tasks, tasks.n);
	visit_strays(accrual);
	pfree(tasks.tasks);
	post_end(&accrual->post);
}

/*
 * For a source that defers: what can't be booked is left out, found by halving,
 * and noted.  Each try is a subtransaction.
 */
static void
work_off_deferring(Accrual *accrual, int first, int n)
{
	MemoryContext context = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;
	uint32		row = accrual->row;

	if (n == 0)
		return;
	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(context);
	PG_TRY();
	{
		work_off(accrual, &accrual->rows[first], n);
		ReleaseCurrentSubTransaction();
		MemoryContextSwitchTo(context);
		CurrentResourceOwner = owner;
	}
	PG_CATCH();
	{
		ErrorData  *error;
		int			class;

		MemoryContextSwitchTo(context);
		error = CopyErrorData();
		class = ERRCODE_TO_CATEGORY(error->sqlerrcode);

		/* Retries, cancels and a lack of resources are the whole statement's to deal with. */
		if (class == ERRCODE_TO_CATEGORY(ERRCODE_TRANSACTION_ROLLBACK) ||
			class == ERRCODE_TO_CATEGORY(ERRCODE_OPERATOR_INTERVENTION) ||
			class == ERRCODE_TO_CATEGORY(ERRCODE_INSUFFICIENT_RESOURCES) ||
			class == ERRCODE_TO_CATEGORY(ERRCODE_LOCK_NOT_AVAILABLE) ||
			class == ERRCODE_TO_CATEGORY(ERRCODE_INTERNAL_ERROR))
			PG_RE_THROW();
		FlushErrorState();
		RollbackAndReleaseCurrentSubTransaction();
		MemoryContextSwitchTo(context);
		CurrentResourceOwner = owner;
		forget_booked(accrual, row);
		if (n == 1)
		{
			/* Where it was, too, or a change of member would leave points behind. */
			defer(accrual->source, accrual->rows[first].before, error->sqlerrcode, error->message);
			defer(accrual->source, accrual->rows[first].after, error->sqlerrcode, error->message);
		}
		else
		{
			work_off_deferring(accrual, first, n / 2);
			work_off_deferring(accrual, first + n / 2, n - n / 2);
		}
		FreeErrorData(error);
	}
	PG_END_TRY();
}

/* ----------------------------------------------------------------
 *		More rows than a batch
 * ---------------------------------------------------------------- */

/* A task as tuplesort carries it: account, time and row to sort by, and the rest as bytes. */
enum
{
	SORT_ACCOUNT = 1, SORT_TIME, SORT_ROW, SORT_REST,
	SORT_NATTS = SORT_REST
};

typedef struct FlatImage
{
	bool		there;
	bool		earning;
	bool		refused;
	Points		amount;
	Points		refunded;
	TimestampTz time;
	int32		event_size;		/* of the texts that follow, headers included; 0: NULL */
	int32		line_size;
} FlatImage;

static void
flatten_image(StringInfo to, const Image *image)
{
	FlatImage	flat = {0};

	if (image != NULL)
	{
		flat.there = true;
		flat.earning = image->earning;
		flat.refused = image->refused;
		flat.amount = image->amount;
		flat.refunded = image->refunded;
		flat.time = image->time;
		flat.event_size = image->event ? VARSIZE_ANY(image->event) : 0;
		flat.line_size = image->line ? VARSIZE_ANY(image->line) : 0;
	}
	appendBinaryStringInfo(to, (char *) &flat, sizeof(flat));
	if (flat.event_size > 0)
		appendBinaryStringInfo(to, (char *) image->event, flat.event_size);
	if (flat.line_size > 0)
		appendBinaryStringInfo(to, (char *) image->line, flat.line_size);
}

static text *
unflatten_text(Arena *arena, const char **from, int32 size)
{
	text	   *result;

	if (size == 0)
		return NULL;
	result = arena_alloc(arena, size);
	memcpy(result, *from, size);
	*from += size;
	return result;
}

static Image *
unflatten_image(Arena *arena, const char **from)
{
	FlatImage	flat;
	Image	   *image;

	memcpy(&flat, *from, sizeof(flat));
	*from += sizeof(flat);
	if (!flat.there)
		return NULL;
	image = arena_alloc(arena, sizeof(Image));
	memset(image, 0, sizeof(*image));
	image->earning = flat.earning;
	image->refused = flat.refused;
	image->amount = flat.amount;
	image->refunded = flat.refunded;
	image->time = flat.time;
	image->event = unflatten_text(arena, from, flat.event_size);
	image->line = unflatten_text(arena, from, flat.line_size);
	return image;
}

static void
begin_sort(Accrual *accrual)
{
	MemoryContext old = MemoryContextSwitchTo(accrual->context);
	AttrNumber	keys[] = {SORT_ACCOUNT, SORT_TIME, SORT_ROW};
	Oid			operators[] = {Int8LessOperator, Int8LessOperator, Int8LessOperator};
	Oid			collations[] = {InvalidOid, InvalidOid, InvalidOid};
	bool		nulls_first[] = {false, false, false};

	accrual->sort_desc = CreateTemplateTupleDesc(SORT_NATTS);
	TupleDescInitEntry(accrual->sort_desc, SORT_ACCOUNT, "account", INT8OID, -1, 0);
	TupleDescInitEntry(accrual->sort_desc, SORT_TIME, "time", INT8OID, -1, 0);
	TupleDescInitEntry(accrual->sort_desc, SORT_ROW, "row", INT8OID, -1, 0);
	TupleDescInitEntry(accrual->sort_desc, SORT_REST, "rest", BYTEAOID, -1, 0);
	accrual->sort = tuplesort_begin_heap(accrual->sort_desc, 3, keys, operators, collations, nulls_first,
										 SORT_MEMORY_KB, NULL, TUPLESORT_NONE);
	MemoryContextSwitchTo(old);
}

static void
spill_batch(Accrual *accrual)
{
	MemoryContext old = MemoryContextSwitchTo(accrual->batch);
	Tasks		tasks;
	StringInfoData rest;
	TupleTableSlot *slot;

	if (accrual->sort == NULL)
		begin_sort(accrual);
	post_begin(&accrual->post);
	make_tasks(accrual, accrual->rows, accrual->nrows, &tasks);
	post_end(&accrual->post);

	initStringInfo(&rest);
	slot = MakeSingleTupleTableSlot(accrual->sort_desc, &TTSOpsVirtual);
	for (int i = 0; i < tasks.n; i++)
	{
		Task	   *task = &tasks.tasks[i];
		int32		nrules = task->change ? task->change->nrules : -1;

		resetStringInfo(&rest);
		appendStringInfoSpaces(&rest, VARHDRSZ);
		appendBinaryStringInfo(&rest, (char *) &task->role, sizeof(task->role));
		appendBinaryStringInfo(&rest, (char *) &task->hint, sizeof(task->hint));
		appendBinaryStringInfo(&rest, (char *) &task->via, sizeof(task->via));
		flatten_image(&rest, task->image);
		appendBinaryStringInfo(&rest, (char *) &nrules, sizeof(nrules));
		if (nrules >= 0)
		{
			flatten_image(&rest, task->change->before);
			appendBinaryStringInfo(&rest, (char *) task->change->rules, sizeof(int32) * nrules);
		}
		SET_VARSIZE(rest.data, rest.len);

		ExecClearTuple(slot);
		memset(slot->tts_isnull, false, sizeof(bool) * SORT_NATTS);
		slot->tts_values[SORT_ACCOUNT - 1] = Int64GetDatum(task->account_id);
		slot->tts_values[SORT_TIME - 1] = Int64GetDatum(task->time);
		slot->tts_values[SORT_ROW - 1] = Int64GetDatum((int64) task->row);
		slot->tts_values[SORT_REST - 1] = PointerGetDatum(rest.data);
		ExecStoreVirtualTuple(slot);
		tuplesort_puttupleslot(accrual->sort, slot);
	}
	ExecDropSingleTupleTableSlot(slot);
	MemoryContextSwitchTo(old);
}

static void
read_sorted(Arena *arena, TupleTableSlot *slot, Task *task)
{
	const char *from;
	int32		nrules;

	slot_getallattrs(slot);
	task->account_id = DatumGetInt64(slot->tts_values[SORT_ACCOUNT - 1]);
	task->time = DatumGetInt64(slot->tts_values[SORT_TIME - 1]);
	task->row = (uint32) DatumGetInt64(slot->tts_values[SORT_ROW - 1]);
	from = VARDATA_ANY(DatumGetPointer(slot->tts_values[SORT_REST - 1]));
	memcpy(&task->role, from, sizeof(task->role));
	from += sizeof(task->role);
	memcpy(&task->hint, from, sizeof(task->hint));
	from += sizeof(task->hint);
	memcpy(&task->via, from, sizeof(task->via));
	from += sizeof(task->via);
	task->image = unflatten_image(arena, &from);
	memcpy(&nrules, from, sizeof(nrules));
	from += sizeof(nrules);
	task->change = NULL;
	if (nrules >= 0)
	{
		task->change = arena_alloc(arena, offsetof(Change, rules) + sizeof(int32) * nrules);
		task->change->before = unflatten_image(arena, &from);
		task->change->nrules = nrules;
		memcpy(task->change->rules, from, sizeof(int32) * nrules);
	}
}

static void
work_off_sorted(Accrual *accrual)
{
	TupleTableSlot *slot = MakeSingleTupleTableSlot(accrual->sort_desc, &TTSOpsMinimalTuple);
	Task	   *tasks = palloc(sizeof(Task) * VISIT_TASKS);
	int			n = 0;
	MemoryContext texts = AllocSetContextCreate(CurrentMemoryContext, "loyalty tasks", ALLOCSET_DEFAULT_SIZES);
	Arena		arena = {texts};

	tuplesort_performsort(accrual->sort);
	post_begin(&accrual->post);
	for (;;)
	{
		bool		more = tuplesort_gettupleslot(accrual->sort, true, false, slot, NULL);
		bool		isnull;

		if (n > 0 && (!more || n == VISIT_TASKS ||
					  DatumGetInt64(slot_getattr(slot, SORT_ACCOUNT, &isnull)) != tasks[0].account_id))
		{
			visit_tasks(accrual, tasks, n);
			n = 0;
			if (arena.total > BATCH_BYTES / 8 && accrual->nstrays == 0)
			{
				MemoryContextReset(texts);
				memset(&arena, 0, sizeof(arena));
				arena.context = texts;
			}
		}
		if (!more)
			break;
		read_sorted(&arena, slot, &tasks[n++]);
	}
	visit_strays(accrual);
	post_end(&accrual->post);
	ExecDropSingleTupleTableSlot(slot);
	tuplesort_end(accrual->sort);
	accrual->sort = NULL;
	MemoryContextDelete(texts);
}

int64
accrual_end(Accrual *accrual)
{
	MemoryContext old = MemoryContextSwitchTo(accrual->batch);

	add_gone_ones(accrual);
	if (accrual->source->defer)
		work_off_deferring(accrual, 0, accrual->nrows);
	else if (accrual->sort != NULL)
	{
		spill_batch(accrual);
		begin_batch(accrual);
		work_off_sorted(accrual);
	}
	else if (accrual->nrows > 0)
		work_off(accrual, accrual->rows, accrual->nrows);
	MemoryContextSwitchTo(old);
	MemoryContextDelete(accrual->batch);
	return accrual->booked ? pg_popcount((char *) accrual->booked, accrual->booked_room) : 0;
}
