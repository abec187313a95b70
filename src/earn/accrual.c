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
 * What a row is due is worked out in visits of its accounts: see earn/booking.
 *
 * A task whose points went to another account between its making and its visit,
 * by a merge or the end of one, is a stray.  Where what was done so far can be
 * undone it is, and the rows are looked up anew, so that accounts are had in
 * order; a batch of several members is a subtransaction for that.  What can't
 * be undone, or not cheaply, visits its strays last.
 */
#include "postgres.h"

#include "access/nbtree.h"
#include "access/xact.h"
#include "catalog/pg_operator_d.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/tuplesort.h"

#include "base/array.h"
#include "base/errors.h"
#include "base/owner.h"
#include "base/subtransaction.h"
#include "earn/accrual.h"
#include "earn/booking.h"
#include "earn/rule.h"
#include "earn/texts.h"

#define BATCH_BYTES		(80 * 1024 * 1024)
#define SORT_MEMORY_KB	(32 * 1024)
#define VISIT_TASKS		10000	/* at most, so that a visit's memory is bounded too */
#define TRIES			5		/* at a batch, whatever merges come in between */
#define SUBTRANSACTIONS	32		/* of a transaction: with more than 64 others' snapshots overflow */

/* Columns of loyalty.deferred */
enum
{
	DEFERRED_SOURCE = 1, DEFERRED_EVENT, DEFERRED_LINE, DEFERRED_MEMBER, DEFERRED_STATE, DEFERRED_MESSAGE,
	DEFERRED_AT, DEFERRED_TIME,
	DEFERRED_NATTS = DEFERRED_TIME
};

/* A row as it was collected: its members are not resolved yet. */
typedef struct Row
{
	ChangeKind	kind;
	Image	   *before;
	Image	   *after;
} Row;

/* A member's account of one of the program's currencies. */
typedef struct Known
{
	int64		account_id;
	int64		root;			/* account_id, or the account that it was merged into, however often */
	ItemPointerData tid;
	bool		wanted;
} Known;

struct Accrual
{
	Source	   *source;
	Booking		booking;
	MemoryContext context;		/* of the accrual */
	MemoryContext batch;		/* of the rows not worked off yet */
	Arena		arena;
	Row		   *rows;
	int			nrows;
	int			rows_room;
	texts_hash *members;
	text	  **keys;			/* by member number */
	int			nmembers;
	int			members_room;
	const Currency **currencies;	/* that the program's rules give, the default first */
	int			ncurrencies;
	bool		has_changes;
	uint32		row;			/* over all batches */
	int			tries;			/* left */
	bool		in_subtransaction;
	Tuplesortstate *sort;		/* more than a batch */
	TupleDesc	sort_desc;
	Post		post;
	texts_hash *only;			/* keys of deferred rows, with their places in noted; NULL: take every row */
	struct Noted **noted;
	int			nnoted;
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
	accrual->booking = (Booking) {source, began, settles, .context = CurrentMemoryContext};
	accrual->ncurrencies = rule_currencies(source->program_id, &accrual->currencies);
	accrual->batch = AllocSetContextCreate(CurrentMemoryContext, "loyalty rows", ALLOCSET_DEFAULT_SIZES);
	begin_batch(accrual);
	return accrual;
}

void
accrual_within_trigger(Accrual *accrual)
{
	accrual->booking.within_trigger = true;
}

/* One text and number for each member of the batch. */
static void
note_member(Accrual *accrual, Image *image)
{
	NumberedText *member;
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
			accrual->members = texts_create(accrual->batch, 256, NULL);
			for (int i = 0; i < accrual->nmembers; i++)
				texts_insert(accrual->members, accrual->keys[i], &found)->number = i;
		}
		member = texts_insert(accrual->members, image->member, &found);
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
	Datum		args[7];

	if (image == NULL || image->member == NULL)
		return;
	args[0] = Int32GetDatum(source->source_id);
	args[1] = PointerGetDatum(image->event);
	args[2] = queued_line(image);
	args[3] = PointerGetDatum(image->member);
	args[4] = CStringGetTextDatum(unpack_sql_state(state));
	args[5] = CStringGetTextDatum(message);
	args[6] = TimestampTzGetDatum(image->time);
	owner_execute(&plan,
				  "INSERT INTO loyalty.deferred (source_id, event, line, member, state, message, deferred_at, event_time)"
				  " VALUES ($1, $2, $3, $4, $5, $6, pg_catalog.now(), CASE WHEN pg_catalog.isfinite($7) THEN $7 END)"
				  " ON CONFLICT (source_id, event, line, member) DO UPDATE"
				  " SET state = EXCLUDED.state, message = EXCLUDED.message, event_time = LEAST(deferred.event_time, EXCLUDED.event_time)", 7,
				  (Oid[]) {INT4OID, TEXTOID, TEXTOID, TEXTOID, TEXTOID, TEXTOID, TIMESTAMPTZOID}, args);
}

/* A row of the queue. */
typedef struct Noted
{
	text	   *event;
	text	   *line;
	text	   *member;
	TimestampTz time;			/* of what may be booked for it */
	bool		seen;			/* the row is there and is that member's */
	int			next;			/* of the same row, noted with another member; -1: none */
} Noted;

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
				  "INSERT INTO loyalty.deferred (source_id, event, line, member, state, message, deferred_at, event_time)"
				  " SELECT source_id, $4, $5, $6, state, message, deferred_at, event_time FROM loyalty.deferred"
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

	accrual->only = texts_create(accrual->context, 64, NULL);
	table_open_for_read(&table, "deferred", DEFERRED_NATTS);
	table_scan_begin(&scan, &table, "deferred_pkey", snapshot, 1, &key);
	while (table_scan_next(&scan))
	{
		Datum	   *values = table.slot->tts_values - 1;
		Noted	   *noted = palloc0(sizeof(Noted));
		NumberedText *first;
		bool		found;

		slot_getallattrs(table.slot);
		noted->event = DatumGetTextPCopy(values[DEFERRED_EVENT]);
		if (VARSIZE_ANY_EXHDR(DatumGetTextPP(values[DEFERRED_LINE])) > 0)
			noted->line = DatumGetTextPCopy(values[DEFERRED_LINE]);
		noted->member = DatumGetTextPCopy(values[DEFERRED_MEMBER]);
		noted->time = table.slot->tts_isnull[DEFERRED_TIME - 1] ? GetCurrentTransactionStartTimestamp() :
			DatumGetTimestampTz(values[DEFERRED_TIME]);
		accrual->noted = array_grow(accrual->noted, accrual->nnoted, &room, sizeof(Noted *));
		first = texts_insert(accrual->only, row_key(noted->event, noted->line), &found);
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
	NumberedText *first = key ? texts_lookup(accrual->only, key) : NULL;

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
		row.before->time = noted->time;
		row.before->gone = true;
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
			refuse(&refusal, accrual->source, after_columns, after, row.after);
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
		Role		start = accrual->booking.settles || (before != NULL && after != NULL && same_key(before, after)) ?
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
							booked_load(&accrual->booking, &accrual->post, from->account_id, before, false, &booked);
						bool		timeless = accrual->source->event_time == NULL;
						bool		begins = is_member && after->earning &&
							(booked_any_active(booked, nbooked) ||
							 booking_begins(&accrual->booking, accrual->currencies[c], before, after, nbooked));

						if (from->account_id != 0)
							booked_refuse_discarded(&accrual->booking, &accrual->post, from->account_id, before, true,
													booked, nbooked);
						if (nbooked > 0)
							add_task(tasks, from, number, leave, before, NULL);
						if (begins && (timeless ? nbooked > 0 : same_time && booked_has_base(booked, nbooked)))
						{
							Change	   *change = make_change(accrual, before, nbooked);

							change->nrules = 0;
							for (int b = 0; b < nbooked; b++)
								if (timeless || booked[b].base != 0)
									change->rules[change->nrules++] = booked[b].rule_id;
							after->time = booked_time(&accrual->booking, after, &booked[0]);
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

/* In the order of accounts, with which others' statements agree.  False: a visit gave up. */
static bool
visit_all(Accrual *accrual, Task *tasks, int n)
{
	if (n > 1)
		sort_tasks(tasks, n);
	for (int i = 0, end; i < n; i = end)
	{
		for (end = i + 1; end < n && end - i < VISIT_TASKS && tasks[end].account_id == tasks[i].account_id; end++)
			;
		accrual->booking.gives_up = accrual->tries > 1 && (accrual->in_subtransaction || !accrual->post.holds);
		if (!booking_visit(&accrual->booking, &accrual->post, &tasks[i], end - i))
			return false;
	}
	return true;
}

/* Out of order, so two statements that do this and met one merge may each wait for the other. */
static void
visit_strays(Accrual *accrual)
{
	accrual->tries = 0;
	while (accrual->booking.nstrays > 0)
	{
		int			n = accrual->booking.nstrays;
		Task	   *tasks = palloc_extended(sizeof(Task) * n, MCXT_ALLOC_HUGE);

		memcpy(tasks, accrual->booking.strays, sizeof(Task) * n);
		accrual->booking.nstrays = 0;
		post_restart(&accrual->post);
		for (int i = 0; i < n; i++)
		{
			int64		account_id = tasks[i].via ? tasks[i].via : tasks[i].account_id;

			tasks[i].account_id = post_root(&accrual->post, account_id, &tasks[i].hint);
			tasks[i].via = tasks[i].account_id == account_id ? 0 : account_id;
		}
		(void) visit_all(accrual, tasks, n);
		pfree(tasks);
	}
}

/* All in memory, from one batch.  False: a visit gave up. */
static bool
try_to_work_off(Accrual *accrual, Row *rows, int n)
{
	Tasks		tasks;
	bool		done;

	post_begin(&accrual->post);
	accrual->booking.nstrays = 0;
	make_tasks(accrual, rows, n, &tasks);
	done = visit_all(accrual, tasks.tasks, tasks.n);
	if (done)
		visit_strays(accrual);
	pfree(tasks.tasks);
	if (done)
		post_end(&accrual->post);
	else
		post_abandon(&accrual->post);
	return done;
}

/* As if these rows, from that number on, had not been worked at. */
static void
forget(Accrual *accrual, Row *rows, int n, uint32 row)
{
	accrual->row = row;
	booking_forget(&accrual->booking, row);

	/* make_tasks() may have told when a row happened that does not say so itself. */
	if (accrual->source->event_time == NULL)
		for (int i = 0; i < n; i++)
			if (rows[i].after != NULL)
				rows[i].after->time = GetCurrentTransactionStartTimestamp();
}

/* Keeps what was done if it was done; *error is left alone if there is none. */
static bool
try_in_subtransaction(Accrual *accrual, Row *rows, int n, ErrorData **error)
{
	Subtransaction subtransaction;
	bool		done;

	subtransaction_begin(&subtransaction);
	PG_TRY();
	{
		done = try_to_work_off(accrual, rows, n);
		subtransaction_end(&subtransaction, done);
	}
	PG_CATCH();
	{
		*error = subtransaction_fail(&subtransaction);
		done = false;
	}
	PG_END_TRY();
	return done;
}

/* Begins again what gave up.  NULL, or the error that undid it, the caller's to throw on or to free. */
static ErrorData *
work_off_in_subtransaction(Accrual *accrual, Row *rows, int n)
{
	uint32		row = accrual->row;
	ErrorData  *error = NULL;

	accrual->in_subtransaction = true;
	accrual->tries = TRIES;
	while (!try_in_subtransaction(accrual, rows, n, &error))
	{
		forget(accrual, rows, n, row);
		if (error != NULL)
			break;
		accrual->tries--;
	}
	accrual->in_subtransaction = false;
	return error;
}

/*
 * A merge has all accounts of the member at once, so rows of one member meet it before they hold any;
 * above READ COMMITTED it is a conflict.  A transaction of very many statements has accounts out of order as it is.
 */
static bool
needs_subtransaction(const Accrual *accrual)
{
	static FullTransactionId begun_in;
	static int	begun;

	if (accrual->nmembers < 2 || IsolationUsesXactSnapshot())
		return false;
	if (!FullTransactionIdEquals(begun_in, GetTopFullTransactionId()))
	{
		begun_in = GetTopFullTransactionId();
		begun = 0;
	}
	return begun++ < SUBTRANSACTIONS;
}

static void
work_off(Accrual *accrual, Row *rows, int n)
{
	if (needs_subtransaction(accrual))
	{
		ErrorData  *error = work_off_in_subtransaction(accrual, rows, n);

		if (error != NULL)
			ReThrowError(error);
	}
	else
	{
		uint32		row = accrual->row;

		for (accrual->tries = TRIES; !try_to_work_off(accrual, rows, n); accrual->tries--)
			forget(accrual, rows, n, row);
	}
}

/*
 * For a source that defers: what can't be booked is left out, found by halving,
 * and noted.  Each try is a subtransaction.
 */
static void
work_off_deferring(Accrual *accrual, int first, int n)
{
	ErrorData  *error;
	int			class;

	if (n == 0)
		return;
	error = work_off_in_subtransaction(accrual, &accrual->rows[first], n);
	if (error == NULL)
		return;

	/* Retries, cancels and a lack of resources are the whole statement's to deal with. */
	class = ERRCODE_TO_CATEGORY(error->sqlerrcode);
	if (class == ERRCODE_TO_CATEGORY(ERRCODE_TRANSACTION_ROLLBACK) ||
		class == ERRCODE_TO_CATEGORY(ERRCODE_OPERATOR_INTERVENTION) ||
		class == ERRCODE_TO_CATEGORY(ERRCODE_INSUFFICIENT_RESOURCES) ||
		class == ERRCODE_TO_CATEGORY(ERRCODE_LOCK_NOT_AVAILABLE) ||
		class == ERRCODE_TO_CATEGORY(ERRCODE_INTERNAL_ERROR))
		ReThrowError(error);
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
	bool		gone;
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
		flat.gone = image->gone;
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
	image->gone = flat.gone;
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
			booking_visit(&accrual->booking, &accrual->post, tasks, n);
			n = 0;
			if (arena.total > BATCH_BYTES / 8 && accrual->booking.nstrays == 0)
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
	return booking_rows(&accrual->booking);
}
