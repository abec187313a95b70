/*
 * trigger.c
 *		The trigger of attached tables, and the passes over what is in them.
 *
 * A statement fires the statement triggers of the table it names and of no
 * other, with transition tables that hold the rows of every table under it in
 * that table's row type.  So each table of a tree carries the triggers, and
 * each row is seen by one of them.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/pg_inherits.h"
#include "commands/trigger.h"
#include "executor/executor.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/tuplestore.h"
#include "utils/typcache.h"

#include "base/errors.h"
#include "earn/accrual.h"

PG_FUNCTION_INFO_V1(loyalty_accrual_trigger);
PG_FUNCTION_INFO_V1(loyalty_accrual_backfill);
PG_FUNCTION_INFO_V1(loyalty_accrual_retry);

#define CURSOR_ROWS		1000

/* ----------------------------------------------------------------
 *		Statements within a statement
 * ---------------------------------------------------------------- */

/*
 * What a statement runs on its way, another trigger or a function it calls, may
 * change the same table, and the AFTER triggers of that inner statement fire
 * first.  When the outer statement's turn comes, the images it hands over are
 * out of date: the inner one may have changed, moved or deleted the rows since,
 * or have deleted others before.  So what the table holds by then decides, and
 * rows that are new to the outer statement may have been booked by the inner.
 * The inner one leaves rows alone that nothing is booked for: they are the
 * outer one's to book, unless it can't find them by their key any more.
 *
 * Statements are known by the command that their snapshot was taken at: it
 * grows through a transaction, and an inner statement's is above the outer's.
 */
typedef struct Seen
{
	int32		source_id;
	CommandId	latest;
} Seen;

static FullTransactionId seen_in;
static Seen *seen;
static int	nseen;
static int	seen_room;

static Seen *
last_seen(int32 source_id)
{
	FullTransactionId current = GetTopFullTransactionIdIfAny();

	if (!FullTransactionIdEquals(seen_in, current))
	{
		seen_in = current;
		nseen = 0;
	}
	for (int i = 0; i < nseen; i++)
		if (seen[i].source_id == source_id)
			return &seen[i];
	return NULL;
}

/* True if a statement that began later changed rows of the source before this one. */
static bool
overtaken(int32 source_id, CommandId command)
{
	Seen	   *last = last_seen(source_id);

	return last != NULL && last->latest > command;
}

static void
note_seen(int32 source_id, CommandId command)
{
	Seen	   *last = last_seen(source_id);

	if (last != NULL)
	{
		last->latest = Max(last->latest, command);
		return;
	}
	if (nseen == seen_room)
	{
		seen_room = seen_room ? seen_room * 2 : 8;
		seen = seen ? repalloc(seen, sizeof(Seen) * seen_room) :
			MemoryContextAlloc(TopMemoryContext, sizeof(Seen) * seen_room);
	}
	seen[nseen++] = (Seen) {source_id, command};
}

/* Reads rows as they are now, by their keys, as the table's owner would. */
typedef struct Finder
{
	Source	   *source;
	Oid			owner;
	SPIPlanPtr	plan;
	TupleTableSlot *slot;
	const SourceColumns *columns;	/* of the slot */
} Finder;

static void
become_owner(const Finder *finder, Oid *user, int *context)
{
	GetUserIdAndSecContext(user, context);
	SetUserIdAndSecContext(finder->owner,
						   *context | SECURITY_LOCAL_USERID_CHANGE | SECURITY_NOFORCE_RLS);
}

static void
prepare(Finder *finder, const SourceColumns *columns, TupleDesc desc)
{
	StringInfoData sql;
	Oid			types[SOURCE_KEYS_MAX];
	Oid			user;
	int			context;

	initStringInfo(&sql);
	appendStringInfo(&sql, "SELECT * FROM %s WHERE",
					 quote_qualified_identifier(get_namespace_name(get_rel_namespace(finder->source->relid)),
												get_rel_name(finder->source->relid)));
	for (int i = 0; i < columns->nkey; i++)
	{
		Form_pg_attribute att = TupleDescAttr(desc, columns->key[i].attnum - 1);
		Oid			equal;

		types[i] = getBaseType(att->atttypid);
		equal = lookup_type_cache(types[i], TYPECACHE_EQ_OPR)->eq_opr;
		if (!OidIsValid(equal))
			ereport(ERROR,
					(errcode(ERRCODE_UNDEFINED_FUNCTION),
					 errmsg("could not identify an equality operator for type %s", format_type_be(types[i])),
					 errdetail("Column \"%s\" is of the key by which an attached table's rows are found.",
							   NameStr(att->attname)),
					 errhint("Attach the table with a key of other types.")));
		appendStringInfo(&sql, "%s %s OPERATOR(%s.%s) $%d", i > 0 ? " AND" : "",
						 quote_identifier(NameStr(att->attname)),
						 quote_identifier(get_namespace_name(get_func_namespace(get_opcode(equal)))),
						 get_opname(equal), i + 1);
	}

	become_owner(finder, &user, &context);
	finder->plan = SPI_prepare(sql.data, columns->nkey, types);
	SetUserIdAndSecContext(user, context);
	if (finder->plan == NULL)
		elog(ERROR, "could not prepare \"%s\": %s", sql.data, SPI_result_code_string(SPI_result));
}

/* The row of that image's key as it is now, in finder->slot. */
static bool
find_now(Finder *finder, const SourceColumns *columns, TupleTableSlot *image)
{
	Datum		values[SOURCE_KEYS_MAX];
	Oid			user;
	int			context;
	int			result;

	for (int i = 0; i < columns->nkey; i++)
	{
		bool		isnull;

		values[i] = slot_getattr(image, columns->key[i].attnum, &isnull);
		if (isnull)
			return false;
	}
	if (finder->plan == NULL)
		prepare(finder, columns, image->tts_tupleDescriptor);
	become_owner(finder, &user, &context);
	result = SPI_execute_plan(finder->plan, values, NULL, false, 1);
	SetUserIdAndSecContext(user, context);
	if (result != SPI_OK_SELECT)
		elog(ERROR, "could not read an attached table: %s", SPI_result_code_string(result));
	if (SPI_processed == 0)
	{
		SPI_freetuptable(SPI_tuptable);
		return false;
	}
	if (finder->slot == NULL)
	{
		finder->slot = MakeSingleTupleTableSlot(CreateTupleDescCopy(SPI_tuptable->tupdesc), &TTSOpsHeapTuple);
		finder->columns = source_columns(finder->source, InvalidOid, finder->slot->tts_tupleDescriptor);
	}
	ExecStoreHeapTuple(heap_copytuple(SPI_tuptable->vals[0]), finder->slot, true);
	SPI_freetuptable(SPI_tuptable);
	return true;
}

static int
by_text(const void *a, const void *b)
{
	const text *x = *(text *const *) a;
	const text *y = *(text *const *) b;
	int			result = memcmp(VARDATA_ANY(x), VARDATA_ANY(y), Min(VARSIZE_ANY_EXHDR(x), VARSIZE_ANY_EXHDR(y)));

	return result != 0 ? result : (int) VARSIZE_ANY_EXHDR(x) - (int) VARSIZE_ANY_EXHDR(y);
}

/*
 * What an inner statement booked by a key is taken to be the row's that the
 * outer one finds there.  Where rows exchanged keys that would be another's.
 */
static void
refuse_exchanged_keys(const SourceColumns *columns, Tuplestorestate *old_rows, Tuplestorestate *new_rows,
					  TupleTableSlot *before, TupleTableSlot *after)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "loyalty keys", ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);
	Arena		arena = {context};
	int64		nrows = tuplestore_tuple_count(new_rows);
	text	  **left = palloc_extended(sizeof(text *) * nrows, MCXT_ALLOC_HUGE);
	text	  **taken = palloc_extended(sizeof(text *) * nrows, MCXT_ALLOC_HUGE);
	int64		n = 0;

	while (tuplestore_gettupleslot(old_rows, true, false, before) &&
		   tuplestore_gettupleslot(new_rows, true, false, after))
	{
		left[n] = source_key(columns, before, &arena);
		taken[n] = source_key(columns, after, &arena);
		/* Keys that can be NULL identify nothing. */
		n += left[n] != NULL && taken[n] != NULL && by_text(&left[n], &taken[n]) != 0;
	}
	qsort(taken, n, sizeof(text *), by_text);
	for (int64 i = 0; i < n; i++)
		if (bsearch(&left[i], taken, n, sizeof(text *), by_text) != NULL)
			ereport(ERROR,
					(errcode(ERRCODE_LY_KEYS_EXCHANGED),
					 errmsg("rows of an attached table exchanged keys while their triggers changed the table"),
					 errdetail("It can't be told which row a change was meant for."),
					 errhint("Change the keys in a statement that runs no such trigger.")));
	tuplestore_rescan(old_rows);
	tuplestore_rescan(new_rows);
	MemoryContextSwitchTo(old);
	MemoryContextDelete(context);
}

/* ----------------------------------------------------------------
 *		The trigger
 * ---------------------------------------------------------------- */

/* finder is NULL where the images can be trusted. */
static void
add_change(Accrual *accrual, Finder *finder, const SourceColumns *columns,
		   TupleTableSlot *before, TupleTableSlot *after)
{
	const SourceColumns *after_columns = columns;

	CHECK_FOR_INTERRUPTS();
	if (finder != NULL)
	{
		/* A row that is not where the statement put it may have been put back. */
		bool		found = find_now(finder, columns, after ? after : before) ||
			(before != NULL && after != NULL && find_now(finder, columns, before));

		after = found ? finder->slot : NULL;
		after_columns = finder->columns;
	}
	if (before != NULL)
		accrual_add(accrual, CHANGE_ROW, columns, before, after_columns, after);
	else if (after != NULL)
		accrual_add(accrual, CHANGE_NEW, NULL, NULL, after_columns, after);
}

/*
 * The executor stores each updated row's old version and then its new one, so
 * the nth of one table goes with the nth of the other, whatever became of the
 * key.  Where a BEFORE trigger of a partition swallowed a moved row there are
 * fewer new ones, and nothing tells which: then nothing can be paired, and
 * what is gone is gone.
 */
static void
add_all(Accrual *accrual, Finder *finder, const SourceColumns *columns,
		Tuplestorestate *old_rows, Tuplestorestate *new_rows, TupleDesc desc)
{
	TupleTableSlot *before = MakeSingleTupleTableSlot(desc, &TTSOpsMinimalTuple);
	TupleTableSlot *after = MakeSingleTupleTableSlot(desc, &TTSOpsMinimalTuple);

	if (old_rows != NULL)
		tuplestore_rescan(old_rows);
	if (new_rows != NULL)
		tuplestore_rescan(new_rows);
	if (old_rows != NULL && new_rows != NULL &&
		tuplestore_tuple_count(old_rows) == tuplestore_tuple_count(new_rows))
	{
		if (finder != NULL)
			refuse_exchanged_keys(columns, old_rows, new_rows, before, after);
		while (tuplestore_gettupleslot(old_rows, true, false, before) &&
			   tuplestore_gettupleslot(new_rows, true, false, after))
			add_change(accrual, finder, columns, before, after);
	}
	else
	{
		while (old_rows != NULL && tuplestore_gettupleslot(old_rows, true, false, before))
			add_change(accrual, finder, columns, before, NULL);
		while (new_rows != NULL && tuplestore_gettupleslot(new_rows, true, false, after))
			add_change(accrual, finder, columns, NULL, after);
	}
	ExecDropSingleTupleTableSlot(before);
	ExecDropSingleTupleTableSlot(after);
}

Datum
loyalty_accrual_trigger(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = (TriggerData *) fcinfo->context;
	Source	   *source;
	const SourceColumns *columns;
	Accrual    *accrual;
	CommandId	command;
	CommandId	began;
	Oid			relid;
	Finder		finder = {0};
	Finder	   *needed = NULL;

	if (!CALLED_AS_TRIGGER(fcinfo) || !TRIGGER_FIRED_AFTER(trigger->tg_event) ||
		trigger->tg_trigger->tgnargs != 1)
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("function \"accrue\" is for the triggers that loyalty.attach() makes")));

	/* Most statements that touch no row end here. */
	if (TRIGGER_FIRED_FOR_STATEMENT(trigger->tg_event) &&
		(trigger->tg_oldtable == NULL || tuplestore_tuple_count(trigger->tg_oldtable) == 0) &&
		(trigger->tg_newtable == NULL || tuplestore_tuple_count(trigger->tg_newtable) == 0))
		return PointerGetDatum(NULL);

	source = source_by_id(pg_strtoint32(trigger->tg_trigger->tgargs[0]));
	relid = RelationGetRelid(trigger->tg_relation);

	/*
	 * Only a registered table earns: anybody may write a trigger that calls
	 * this function.  A detached one, or a former partition, is at rest.
	 */
	if (source == NULL || source->detached || !source_covers(source, relid))
		return PointerGetDatum(NULL);

	columns = source_columns(source, relid, RelationGetDescr(trigger->tg_relation));
	command = began = GetActiveSnapshot()->curcid;
	if (overtaken(source->source_id, command))
	{
		needed = &finder;
		finder.source = source;
		finder.owner = RelationGetForm(trigger->tg_relation)->relowner;
		began = GetCurrentCommandId(false);
	}
	accrual = accrual_begin(source, began, needed != NULL);
	if (DatumGetInt32(DirectFunctionCall1(pg_trigger_depth, (Datum) 0)) > 1)
		accrual_within_trigger(accrual);
	if (needed != NULL)
		SPI_connect();
	if (TRIGGER_FIRED_FOR_ROW(trigger->tg_event))
		add_change(accrual, needed, columns,
				   TRIGGER_FIRED_BY_INSERT(trigger->tg_event) ? NULL : trigger->tg_trigslot,
				   TRIGGER_FIRED_BY_INSERT(trigger->tg_event) ? trigger->tg_trigslot :
				   TRIGGER_FIRED_BY_UPDATE(trigger->tg_event) ? trigger->tg_newslot : NULL);
	else
		add_all(accrual, needed, columns, trigger->tg_oldtable, trigger->tg_newtable,
				RelationGetDescr(trigger->tg_relation));
	if (needed != NULL)
		SPI_finish();
	if (accrual_has_changes(accrual))
		note_seen(source->source_id, command);
	accrual_end(accrual);
	return PointerGetDatum(NULL);
}

/* ----------------------------------------------------------------
 *		Passes over a table
 * ---------------------------------------------------------------- */

/*
 * The table's rows, read with the caller's own rights.  Writers wait until the
 * transaction ends, those of its partitions and children too: a row must not
 * change between its reading and its booking.  And it must not have changed
 * before: rows are read as they are, whatever the transaction's snapshot shows.
 * (What was booked for them since that snapshot is a serialization failure.)
 */
static Portal
open_rows(const Source *source)
{
	StringInfoData sql;
	Portal		portal;
	SPIPlanPtr	plan;

	LockRelationOid(source->relid, ShareLock);
	list_free(find_all_inheritors(source->relid, ShareLock, NULL));
	CommandCounterIncrement();
	initStringInfo(&sql);
	appendStringInfo(&sql, "SELECT * FROM %s",
					 quote_qualified_identifier(get_namespace_name(get_rel_namespace(source->relid)),
												get_rel_name(source->relid)));
	plan = SPI_prepare(sql.data, 0, NULL);
	if (plan == NULL)
		elog(ERROR, "could not prepare \"%s\": %s", sql.data, SPI_result_code_string(SPI_result));
	PushActiveSnapshot(GetLatestSnapshot());
	portal = SPI_cursor_open(NULL, plan, NULL, NULL, true);
	PopActiveSnapshot();
	pfree(sql.data);
	return portal;
}

static int64
pass_over(Oid relid, const text *program_code, bool only_deferred)
{
	const Program *program = program_by_code(program_code);
	Source	   *source = source_find(relid, program->program_id);
	MemoryContext context = CurrentMemoryContext;
	Accrual    *accrual = accrual_begin(source, GetCurrentCommandId(false), false);
	TupleTableSlot *slot = NULL;
	Portal		portal;

	SPI_connect();
	portal = open_rows(source);
	MemoryContextSwitchTo(context);
	if (only_deferred)
		accrual_only_deferred(accrual);
	for (;;)
	{
		SPI_cursor_fetch(portal, true, CURSOR_ROWS);
		if (SPI_processed == 0)
			break;
		MemoryContextSwitchTo(context);
		if (slot == NULL)
			slot = MakeSingleTupleTableSlot(CreateTupleDescCopy(SPI_tuptable->tupdesc), &TTSOpsHeapTuple);
		for (uint64 i = 0; i < SPI_processed; i++)
		{
			CHECK_FOR_INTERRUPTS();
			ExecStoreHeapTuple(SPI_tuptable->vals[i], slot, false);
			accrual_add(accrual, only_deferred ? CHANGE_STATE : CHANGE_FIRST, NULL, NULL,
						source_columns(source, InvalidOid, slot->tts_tupleDescriptor), slot);
		}
		ExecClearTuple(slot);
		SPI_freetuptable(SPI_tuptable);
	}
	SPI_cursor_close(portal);
	SPI_finish();
	return accrual_end(accrual);
}

Datum
loyalty_accrual_backfill(PG_FUNCTION_ARGS)
{
	PG_RETURN_INT64(pass_over(PG_GETARG_OID(0), PG_GETARG_TEXT_PP(1), false));
}

Datum
loyalty_accrual_retry(PG_FUNCTION_ARGS)
{
	PG_RETURN_INT64(pass_over(PG_GETARG_OID(0), PG_GETARG_TEXT_PP(1), true));
}
