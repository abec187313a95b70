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

#include "access/table.h"
#include "access/xact.h"
#include "catalog/pg_inherits.h"
#include "commands/trigger.h"
#include "executor/executor.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/tuplestore.h"

#include "base/errors.h"
#include "earn/accrual.h"

PG_FUNCTION_INFO_V1(loyalty_accrual_trigger);
PG_FUNCTION_INFO_V1(loyalty_accrual_backfill);
PG_FUNCTION_INFO_V1(loyalty_accrual_retry);

#define CURSOR_ROWS		1000

/* ----------------------------------------------------------------
 *		The trigger
 * ---------------------------------------------------------------- */

static void
add_all(Accrual *accrual, ChangeKind kind, Tuplestorestate *rows, bool gone,
		const SourceColumns *columns, TupleTableSlot *slot)
{
	tuplestore_rescan(rows);
	while (tuplestore_gettupleslot(rows, true, false, slot))
	{
		CHECK_FOR_INTERRUPTS();
		if (gone)
			accrual_add(accrual, kind, columns, slot, NULL, NULL);
		else
			accrual_add(accrual, kind, NULL, NULL, columns, slot);
	}
}

/*
 * The executor stores each updated row's old version and then its new one, so
 * the nth of one table goes with the nth of the other, whatever became of the
 * key.  Where a BEFORE trigger of a partition swallowed a moved row there are
 * fewer new ones, and nothing tells which: then nothing can be paired, and
 * what is gone is gone.
 */
static void
add_pairs(Accrual *accrual, TriggerData *trigger, const SourceColumns *columns,
		  TupleTableSlot *before, TupleTableSlot *after)
{
	if (tuplestore_tuple_count(trigger->tg_oldtable) != tuplestore_tuple_count(trigger->tg_newtable))
	{
		add_all(accrual, CHANGE_ROW, trigger->tg_oldtable, true, columns, before);
		add_all(accrual, CHANGE_NEW, trigger->tg_newtable, false, columns, after);
		return;
	}
	tuplestore_rescan(trigger->tg_oldtable);
	tuplestore_rescan(trigger->tg_newtable);
	while (tuplestore_gettupleslot(trigger->tg_oldtable, true, false, before) &&
		   tuplestore_gettupleslot(trigger->tg_newtable, true, false, after))
	{
		CHECK_FOR_INTERRUPTS();
		accrual_add(accrual, CHANGE_ROW, columns, before, columns, after);
	}
}

Datum
loyalty_accrual_trigger(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = (TriggerData *) fcinfo->context;
	Source	   *source;
	const SourceColumns *columns;
	Accrual    *accrual;
	TupleTableSlot *before;
	TupleTableSlot *after;
	Oid			relid;

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
	accrual = accrual_begin(source);
	if (TRIGGER_FIRED_FOR_ROW(trigger->tg_event))
	{
		before = TRIGGER_FIRED_BY_INSERT(trigger->tg_event) ? NULL : trigger->tg_trigslot;
		after = TRIGGER_FIRED_BY_INSERT(trigger->tg_event) ? trigger->tg_trigslot :
			TRIGGER_FIRED_BY_UPDATE(trigger->tg_event) ? trigger->tg_newslot : NULL;
		accrual_add(accrual, before == NULL ? CHANGE_NEW : CHANGE_ROW, columns, before, columns, after);
	}
	else
	{
		TupleDesc	desc = RelationGetDescr(trigger->tg_relation);

		before = trigger->tg_oldtable ? MakeSingleTupleTableSlot(desc, &TTSOpsMinimalTuple) : NULL;
		after = trigger->tg_newtable ? MakeSingleTupleTableSlot(desc, &TTSOpsMinimalTuple) : NULL;
		if (TRIGGER_FIRED_BY_INSERT(trigger->tg_event))
			add_all(accrual, CHANGE_NEW, trigger->tg_newtable, false, columns, after);
		else if (TRIGGER_FIRED_BY_DELETE(trigger->tg_event))
			add_all(accrual, CHANGE_ROW, trigger->tg_oldtable, true, columns, before);
		else
			add_pairs(accrual, trigger, columns, before, after);
		if (before != NULL)
			ExecDropSingleTupleTableSlot(before);
		if (after != NULL)
			ExecDropSingleTupleTableSlot(after);
	}
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
	Accrual    *accrual = accrual_begin(source);
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
