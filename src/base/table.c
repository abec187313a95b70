/*
 * table.c
 *		Reading and writing the extension's own tables below the executor.
 *
 * Rows are written through the table access method and ExecInsertIndexTuples,
 * in batches, as COPY does it.  What users may add to our tables is honoured
 * (indexes, CHECK and NOT NULL constraints, foreign keys that point at us) or
 * refused when the table is opened (triggers, rules, forced row security,
 * columns): nothing is passed over in silence.
 *
 * Memory: what lives until table_finish() is kept in the context the table was
 * opened in (for writing: the session's), whatever the caller's is by then.
 */
#include "postgres.h"

#include "access/heapam.h"
#include "access/nbtree.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/index.h"
#include "catalog/namespace.h"
#include "catalog/pg_am_d.h"
#include "commands/trigger.h"
#include "executor/executor.h"
#include "miscadmin.h"
#include "optimizer/optimizer.h"
#include "storage/bufmgr.h"
#include "storage/bufpage.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"

#include "base/array.h"
#include "base/compat.h"
#include "base/errors.h"
#include "base/table.h"

#define QUEUE_ROWS	1000
#define QUEUE_BYTES	(256 * 1024)
#define BULK_ROWS	100			/* from there on a ring of buffers is worth its making */
#define ROOM_FOR_UPDATE	512		/* bytes free on a page that is not pruned yet */

Oid
loyalty_namespace(void)
{
	return get_namespace_oid("loyalty", false);
}

Oid
loyalty_relation(const char *name)
{
	Oid			relid = get_relname_relid(name, loyalty_namespace());

	if (!OidIsValid(relid))
		elog(ERROR, "relation loyalty.%s does not exist", name);
	return relid;
}

/*
 * What is kept of a table between statements: parsing and compiling its
 * constraints and its indexes' predicates anew would cost a small statement
 * more than writing its rows, looking up how its keys compare as much as a probe.
 */
typedef struct KeptKey
{
	AttrNumber	column;
	StrategyNumber strategy;
	FmgrInfo	compare;
} KeptKey;

typedef struct KeptIndex
{
	Oid			relid;
	NameData	name;
	int			nkeys;
	KeptKey		keys[2 * TABLE_KEYS_MAX];	/* those that scans have asked for */
} KeptIndex;

typedef struct Kept
{
	MemoryContext context;		/* that it is in itself */
	ExprState **checks;
	int			nindexes;
	KeptIndex  *indexes;
	IndexInfo **infos;
	bool		plain;			/* its indexes are btrees that are checked at once: they can be kept */
} Kept;

/*
 * A relcache invalidation of the table, which any change of its definition
 * sends, makes it be built anew at the next opening.
 */
typedef struct KnownTable
{
	const char *name;			/* a literal */
	Oid			relid;
	uint64		news;			/* counted */
	uint64		known_news;		/* those that kept was built after */
	Kept	   *kept;
	struct KnownTable *next;
} KnownTable;

static KnownTable *known_tables = NULL;

static void
relation_changed(Datum arg, Oid relid)
{
	for (KnownTable *known = known_tables; known != NULL; known = known->next)
		if (relid == InvalidOid || relid == known->relid)
			known->news++;
}

/*
 * Direct writes fire no trigger, so one that would have had something to do
 * must not be there.  Our own guards and the referenced side of a foreign key
 * (we never change a key) have nothing to do.
 */
static void
refuse_what_would_be_skipped(Relation rel)
{
	TriggerDesc *triggers = rel->trigdesc;
	const char *what = NULL;

	if (rel->rd_rel->relkind != RELKIND_RELATION)
		what = "is not a plain table";
	else if (rel->rd_rules != NULL)
		what = "has a rule";
	else if (rel->rd_rel->relforcerowsecurity)
		what = "forces row level security on its owner";

	for (int i = 0; what == NULL && triggers != NULL && i < triggers->numtriggers; i++)
	{
		Trigger    *trigger = &triggers->triggers[i];

		if (RI_FKey_trigger_type(trigger->tgfoid) == RI_TRIGGER_PK ||
			trigger->tgenabled == TRIGGER_DISABLED ||
			get_func_namespace(trigger->tgfoid) == RelationGetNamespace(rel))
			continue;
		what = psprintf("has a trigger of its own, \"%s\"", trigger->tgname);
	}

	if (what != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_LY_FOREIGN_TRIGGER),
				 errmsg("table \"%s\" %s", RelationGetRelationName(rel), what),
				 errdetail("The ledger writes its tables below the executor, where this would be passed over."),
				 errhint("Remove it. To react to points, put the trigger on your own table or read the ledger's views.")));
}

static void
check_columns(Relation rel, int natts)
{
	if (RelationGetNumberOfAttributes(rel) != natts)
		ereport(ERROR,
				(errcode(ERRCODE_LY_FOREIGN_TRIGGER),
				 errmsg("table \"%s\" does not have the columns that this library knows",
						RelationGetRelationName(rel)),
				 errhint("Run ALTER EXTENSION loyalty UPDATE; keep columns of your own in a table of your own.")));
}

static Kept *
build_kept(Relation rel, int natts)
{
	TupleConstr *constr = rel->rd_att->constr;
	MemoryContext context;
	MemoryContext old;
	Kept	   *kept;
	List	   *indexes;
	ListCell   *cell;

	check_columns(rel, natts);
	refuse_what_would_be_skipped(rel);

	context = AllocSetContextCreate(CurrentMemoryContext, "loyalty table", ALLOCSET_SMALL_SIZES);
	old = MemoryContextSwitchTo(context);
	kept = palloc0(sizeof(Kept));
	kept->context = context;
	if (constr != NULL && constr->num_check > 0)
	{
		kept->checks = palloc(sizeof(ExprState *) * constr->num_check);
		for (int i = 0; i < constr->num_check; i++)
			kept->checks[i] = ExecInitExpr(expression_planner(stringToNode(constr->check[i].ccbin)), NULL);
	}

	indexes = RelationGetIndexList(rel);
	kept->indexes = palloc0(sizeof(KeptIndex) * Max(list_length(indexes), 1));
	kept->infos = palloc(sizeof(IndexInfo *) * Max(list_length(indexes), 1));
	kept->plain = true;
	foreach(cell, indexes)
	{
		Relation	index = index_open(lfirst_oid(cell), RowExclusiveLock);
		IndexInfo  *info = BuildIndexInfo(index);

		if (info->ii_Predicate != NIL)
			info->ii_PredicateState = ExecInitQual((List *) expression_planner((Expr *) info->ii_Predicate), NULL);
		if (info->ii_Expressions != NIL)
			info->ii_ExpressionsState = ExecInitExprList((List *) expression_planner((Expr *) info->ii_Expressions), NULL);
		if (index->rd_rel->relam != BTREE_AM_OID || !index->rd_index->indimmediate)
			kept->plain = false;
		kept->indexes[kept->nindexes].relid = lfirst_oid(cell);
		kept->indexes[kept->nindexes].name = index->rd_rel->relname;
		kept->infos[kept->nindexes++] = info;
		index_close(index, NoLock);
	}
	list_free(indexes);
	MemoryContextSwitchTo(old);
	MemoryContextSetParent(context, CacheMemoryContext);
	return kept;
}

static Relation
open_kept(const char *name, int natts, Kept **result)
{
	KnownTable *known = known_tables;
	Relation	rel;

	while (known != NULL && strcmp(known->name, name) != 0)
		known = known->next;
	if (known == NULL)
	{
		if (known_tables == NULL)
			CacheRegisterRelcacheCallback(relation_changed, (Datum) 0);
		known = MemoryContextAllocZero(CacheMemoryContext, sizeof(KnownTable));
		known->name = name;
		known->news = 1;
		known->next = known_tables;
		known_tables = known;
	}
	if (known->news != known->known_news)
		known->relid = loyalty_relation(name);

	/* Taking the lock may bring news of the table. */
	rel = try_table_open(known->relid, RowExclusiveLock);
	if (rel == NULL)
	{
		known->relid = loyalty_relation(name);
		rel = table_open(known->relid, RowExclusiveLock);
		known->news++;
	}
	if (known->news != known->known_news)
	{
		uint64		news = known->news; /* more may come while it is built */
		Kept	   *kept = build_kept(rel, natts);

		/* Somebody may still be at work with the old one. */
		if (known->kept != NULL)
			MemoryContextSetParent(known->kept->context, TopTransactionContext);
		known->kept = kept;
		known->known_news = news;
	}
	*result = known->kept;
	return rel;
}

void
table_open_for_write(Table *table, const char *name, int natts, EState *estate)
{
	MemoryContext old = MemoryContextSwitchTo(estate->es_query_cxt);

	memset(table, 0, sizeof(*table));
	table->context = estate->es_query_cxt;
	table->rel = open_kept(name, natts, &table->kept);
	table->estate = estate;
	/* Like the catalogues' writers: there are no triggers to copy. */
	table->info = makeNode(ResultRelInfo);
	table->info->ri_RelationDesc = table->rel;
	table->info->compat_check_exprs = table->kept->checks;
	if (table->kept->plain)
	{
		/* Each is opened at its first use: most updates are to no index. */
		table->info->ri_NumIndices = table->kept->nindexes;
		table->info->ri_IndexRelationInfo = table->kept->infos;
		table->info->ri_IndexRelationDescs = palloc0(sizeof(Relation) * Max(table->kept->nindexes, 1));
	}
	else
		ExecOpenIndices(table->info, false);
	table->slot = table_slot_create(table->rel, NULL);
	MemoryContextSwitchTo(old);
}

static Relation
open_index(Table *table, int i)
{
	Relation   *index = &table->info->ri_IndexRelationDescs[i];

	if (*index == NULL)
		*index = index_open(table->kept->indexes[i].relid, RowExclusiveLock);
	return *index;
}

void
table_open_for_read(Table *table, const char *name, int natts)
{
	memset(table, 0, sizeof(*table));
	table->context = CurrentMemoryContext;
	table->rel = table_open(loyalty_relation(name), AccessShareLock);
	check_columns(table->rel, natts);
	table->slot = table_slot_create(table->rel, NULL);
}

void
table_finish(Table *table)
{
	if (table->rel == NULL)
		return;
	if (table->info != NULL)
	{
		table_flush(table);
		for (int i = 0; i < table->made; i++)
			ExecDropSingleTupleTableSlot(table->queue[i]);
		if (table->bulk != NULL)
		{
			FreeBulkInsertState(table->bulk);
			table_finish_bulk_insert(table->rel, 0);
		}
		/* The locks stay, as the table's does: letting them go costs as much as taking them. */
		for (int i = 0; i < table->info->ri_NumIndices; i++)
			if (table->info->ri_IndexRelationDescs[i] != NULL)
				index_close(table->info->ri_IndexRelationDescs[i], NoLock);
	}
	ExecDropSingleTupleTableSlot(table->slot);
	if (table->changed != NULL)
		ExecDropSingleTupleTableSlot(table->changed);
	table_close(table->rel, NoLock);
	table->rel = NULL;
}

TupleTableSlot *
table_new_row(Table *table)
{
	MemoryContext old = MemoryContextSwitchTo(table->context);
	TupleTableSlot *slot;

	if (table->queued == table->made)
	{
		table->queue = array_grow(table->queue, table->made, &table->room, sizeof(TupleTableSlot *));
		table->queue[table->made++] = table_slot_create(table->rel, NULL);
	}
	MemoryContextSwitchTo(old);
	slot = table->queue[table->queued];
	ExecClearTuple(slot);
	memset(slot->tts_isnull, false, slot->tts_tupleDescriptor->natts * sizeof(bool));
	return slot;
}

void
table_queue_row(Table *table, TupleTableSlot *slot)
{
	ExecStoreVirtualTuple(slot);
	if (table->rel->rd_att->constr)
		ExecConstraints(table->info, slot, table->estate);

	/* The caller's memory may be gone before the flush: the slot takes its own copy. */
	ExecMaterializeSlot(slot);
	slot->tts_tableOid = RelationGetRelid(table->rel);
	table->queued++;
	table->queued_bytes += ((HeapTupleTableSlot *) slot)->tuple->t_len;
	if (table->queued == QUEUE_ROWS || table->queued_bytes > QUEUE_BYTES)
		table_flush(table);
}

/* The queued rows into one index, so that its pages stay at hand. */
static void
insert_into_index(Table *table, int number)
{
	Relation	index = open_index(table, number);
	IndexInfo  *info = table->info->ri_IndexRelationInfo[number];
	ExprContext *context = GetPerTupleExprContext(table->estate);
	IndexUniqueCheck unique = index->rd_index->indisunique ? UNIQUE_CHECK_YES : UNIQUE_CHECK_NO;
	Datum		values[INDEX_MAX_KEYS];
	bool		nulls[INDEX_MAX_KEYS];
	MemoryContext old;

	if (!info->ii_ReadyForInserts)
		return;
	old = MemoryContextSwitchTo(GetPerTupleMemoryContext(table->estate));
	for (int i = 0; i < table->queued; i++)
	{
		TupleTableSlot *slot = table->queue[i];

		context->ecxt_scantuple = slot;
		if (info->ii_PredicateState != NULL && !ExecQual(info->ii_PredicateState, context))
			continue;
		FormIndexDatum(info, slot, table->estate, values, nulls);
		index_insert(index, values, nulls, &slot->tts_tid, table->rel, unique, false, info);
		MemoryContextReset(GetPerTupleMemoryContext(table->estate));
	}
	MemoryContextSwitchTo(old);
}

void
table_flush(Table *table)
{
	MemoryContext old;

	if (table->queued == 0)
		return;

	old = MemoryContextSwitchTo(table->context);
	if (table->queued >= BULK_ROWS && table->bulk == NULL)
		table->bulk = GetBulkInsertState();
	MemoryContextSwitchTo(GetPerTupleMemoryContext(table->estate));
	if (table->queued == 1)
		table_tuple_insert(table->rel, table->queue[0], GetCurrentCommandId(true), 0, NULL);
	else
		table_multi_insert(table->rel, table->queue, table->queued,
						   GetCurrentCommandId(true), 0, table->bulk);
	MemoryContextSwitchTo(old);

	if (table->kept->plain)
		for (int i = 0; i < table->kept->nindexes; i++)
			insert_into_index(table, i);
	else
		for (int i = 0; i < table->queued; i++)
			list_free(compat_insert_index_tuples(table->info, table->queue[i], table->estate, false));

	ResetPerTupleExprContext(table->estate);
	table->queued = 0;
	table->queued_bytes = 0;
}

TupleTableSlot *
table_changed_row(Table *table)
{
	MemoryContext old = MemoryContextSwitchTo(table->context);

	if (table->changed == NULL)
		table->changed = table_slot_create(table->rel, NULL);
	MemoryContextSwitchTo(old);
	ExecClearTuple(table->changed);
	memset(table->changed->tts_isnull, false,
		   table->changed->tts_tupleDescriptor->natts * sizeof(bool));
	return table->changed;
}

void
table_conflict(void)
{
	ereport(ERROR,
			(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
			 errmsg("could not serialize access due to concurrent update")));
}

bool
table_replace_row(Table *table, ItemPointer tid, TupleTableSlot *slot, Snapshot snapshot)
{
	TM_FailureData failure;
	TM_Result	result;
	LockTupleMode mode;
	compat_update_indexes update_indexes;

	if (table->rel->rd_att->constr)
		ExecConstraints(table->info, slot, table->estate);
	slot->tts_tableOid = RelationGetRelid(table->rel);

	result = table_tuple_update(table->rel, tid, slot, GetCurrentCommandId(true),
								snapshot, InvalidSnapshot, true,
								&failure, &mode, &update_indexes);
	switch (result)
	{
		case TM_Ok:
			break;
		case TM_Updated:
			if (IsolationUsesXactSnapshot())
				table_conflict();
			return false;
		default:
			ereport(ERROR,
					(errcode(ERRCODE_LY_LEDGER_DAMAGED),
					 errmsg("a row of table \"%s\" changed under the account's lock",
							RelationGetRelationName(table->rel)),
					 errhint("Something other than the ledger's functions writes it; run SELECT * FROM loyalty.verify().")));
	}

	if (update_indexes)
	{
		for (int i = 0; i < table->info->ri_NumIndices; i++)
			(void) open_index(table, i);
		list_free(compat_insert_index_tuples_for_update(table->info, slot, table->estate, update_indexes));
	}
	ResetPerTupleExprContext(table->estate);
	return true;
}

bool
table_lock_row(Table *table, ItemPointer tid, Snapshot snapshot)
{
	TM_FailureData failure;

	switch (table_tuple_lock(table->rel, tid, snapshot, table->slot, GetCurrentCommandId(true),
							 LockTupleNoKeyExclusive, LockWaitBlock, 0, &failure))
	{
		case TM_Ok:
			return true;
		case TM_Updated:
			if (IsolationUsesXactSnapshot())
				table_conflict();
			ItemPointerCopy(&failure.ctid, tid);
			ExecClearTuple(table->slot);
			return false;
		default:
			ereport(ERROR,
					(errcode(ERRCODE_LY_LEDGER_DAMAGED),
					 errmsg("a row of table \"%s\" was deleted while it was waited for",
							RelationGetRelationName(table->rel)),
					 errhint("Something other than the ledger's functions writes it; run SELECT * FROM loyalty.verify().")));
			return false;
	}
}

bool
table_fetch_row(Table *table, ItemPointer tid, Snapshot snapshot)
{
	if (table_tuple_fetch_row_version(table->rel, tid, snapshot, table->slot))
		return true;
	ExecClearTuple(table->slot);
	return false;
}

/* The number of a table's index, -1 if that is not at hand. */
static int
index_number(const Table *table, const char *name)
{
	if (table->kept != NULL && table->kept->plain)
		for (int i = 0; i < table->kept->nindexes; i++)
			if (strcmp(NameStr(table->kept->indexes[i].name), name) == 0)
				return i;
	return -1;
}

static Relation
open_by_name(Table *table, const char *name)
{
	Oid			relid = get_relname_relid(name, RelationGetNamespace(table->rel));

	if (!OidIsValid(relid))
		ereport(ERROR,
				(errcode(ERRCODE_LY_LEDGER_DAMAGED),
				 errmsg("index \"loyalty.%s\" does not exist", name),
				 errhint("Restore the index from the extension's install script.")));
	return index_open(relid, AccessShareLock);
}

static void
look_up_compare(Relation index, AttrNumber column, StrategyNumber strategy, FmgrInfo *compare, MemoryContext context)
{
	Oid			type = index->rd_opcintype[column - 1];
	Oid			op = get_opfamily_member(index->rd_opfamily[column - 1], type, type, strategy);

	fmgr_info_cxt(get_opcode(op), compare, context);
}

/* The comparison of a column, looked up once for as long as the table is kept. */
static FmgrInfo *
kept_compare(Kept *kept, KeptIndex *index, Relation rel, AttrNumber column, StrategyNumber strategy)
{
	KeptKey    *key;

	for (int i = 0; i < index->nkeys; i++)
		if (index->keys[i].column == column && index->keys[i].strategy == strategy)
			return &index->keys[i].compare;
	if (index->nkeys == lengthof(index->keys))
		index->nkeys = 0;
	key = &index->keys[index->nkeys];
	key->column = column;
	key->strategy = strategy;
	look_up_compare(rel, column, strategy, &key->compare, kept->context);
	index->nkeys++;
	return &key->compare;
}

void
table_scan_begin(TableScan *scan, Table *table, const char *index,
				 Snapshot snapshot, int nkeys, const TableKey *keys)
{
	MemoryContext old = MemoryContextSwitchTo(table->context);
	int			number = index_number(table, index);

	scan->table = table;
	scan->own_index = number < 0;
	scan->index = number < 0 ? open_by_name(table, index) : open_index(table, number);
	for (int i = 0; i < nkeys; i++)
	{
		AttrNumber	column = keys[i].column ? keys[i].column : i + 1;
		FmgrInfo	looked_up;
		FmgrInfo   *compare = &looked_up;

		if (number < 0)
			look_up_compare(scan->index, column, keys[i].strategy, compare, table->context);
		else
			compare = kept_compare(table->kept, &table->kept->indexes[number], scan->index, column, keys[i].strategy);
		ScanKeyEntryInitializeWithInfo(&scan->keys[i], 0, column, keys[i].strategy, InvalidOid,
									   scan->index->rd_indcollation[column - 1], compare, keys[i].value);
	}
	scan->scan = compat_index_beginscan(table->rel, scan->index, snapshot, nkeys);
	index_rescan(scan->scan, scan->keys, nkeys, NULL, 0);
	MemoryContextSwitchTo(old);
}

/* An index scan allocates while it runs what it needs to its end: not in the caller's memory. */
void
table_scan_again(TableScan *scan, const TableKey *keys)
{
	MemoryContext old = MemoryContextSwitchTo(scan->table->context);

	for (int i = 0; i < scan->scan->numberOfKeys; i++)
		scan->keys[i].sk_argument = keys[i].value;
	index_rescan(scan->scan, scan->keys, scan->scan->numberOfKeys, NULL, 0);
	MemoryContextSwitchTo(old);
}

void
table_scan_probe(TableScan *scan, Table *table, const char *index,
				 Snapshot snapshot, int nkeys, const TableKey *keys)
{
	if (scan->scan != NULL)
		table_scan_again(scan, keys);
	else
		table_scan_begin(scan, table, index, snapshot, nkeys, keys);
}

/*
 * The row of an index entry, as the heap's own fetch has it but for when the
 * page is pruned: our pages are kept with room for updates, and core would
 * prune at each visit as soon as that room is touched.
 */
static bool
fetch_heap_row(TableScan *scan, ItemPointerData tid)
{
	Relation	rel = scan->table->rel;
	TupleTableSlot *slot = scan->table->slot;
	HeapTuple	tuple = &((BufferHeapTupleTableSlot *) slot)->base.tupdata;
	Buffer		buffer = ReadBuffer(rel, ItemPointerGetBlockNumber(&tid));
	bool		all_dead = false;
	bool		found;

	if (PageGetHeapFreeSpace(BufferGetPage(buffer)) < ROOM_FOR_UPDATE)
		heap_page_prune_opt(rel, buffer);
	LockBuffer(buffer, BUFFER_LOCK_SHARE);
	found = heap_hot_search_buffer(&tid, rel, buffer, scan->scan->xs_snapshot, tuple, &all_dead, true);
	LockBuffer(buffer, BUFFER_LOCK_UNLOCK);
	if (found)
	{
		tuple->t_tableOid = RelationGetRelid(rel);
		ExecStorePinnedBufferHeapTuple(tuple, slot, buffer);
		return true;
	}
	ReleaseBuffer(buffer);
	if (!scan->scan->xactStartedInRecovery)
		scan->scan->kill_prior_tuple = all_dead;
	return false;
}

/* The index may remember things (which of its tuples are dead) until the scan ends. */
bool
table_scan_next(TableScan *scan)
{
	MemoryContext old = MemoryContextSwitchTo(scan->table->context);
	bool		found = false;

	/* Here, so that no loop over rows can forget it. */
	CHECK_FOR_INTERRUPTS();
	if (scan->table->rel->rd_tableam == GetHeapamTableAmRoutine())
	{
		ItemPointer tid;

		while (!found && (tid = index_getnext_tid(scan->scan, ForwardScanDirection)) != NULL)
			found = fetch_heap_row(scan, *tid);
	}
	else
		found = index_getnext_slot(scan->scan, ForwardScanDirection, scan->table->slot);

	/* A row that the snapshot does not show may have been looked at in the slot. */
	if (!found)
		ExecClearTuple(scan->table->slot);
	MemoryContextSwitchTo(old);
	return found;
}

void
table_scan_end(TableScan *scan)
{
	index_endscan(scan->scan);
	scan->scan = NULL;
	if (scan->own_index)
		index_close(scan->index, NoLock);
}
