/*
 * table.h
 *		Reading and writing the extension's own tables below the executor.
 */
#ifndef LOYALTY_TABLE_H
#define LOYALTY_TABLE_H

#include "access/genam.h"
#include "access/skey.h"
#include "executor/tuptable.h"
#include "nodes/execnodes.h"
#include "utils/rel.h"
#include "utils/snapshot.h"

#define TABLE_KEYS_MAX	4

/* A column of a key: compared by the index's own equality or by another strategy of its btree. */
typedef struct TableKey
{
	StrategyNumber strategy;
	Datum		value;
	AttrNumber	column;			/* of the index; 0: its next */
} TableKey;

typedef struct Table
{
	Relation	rel;
	struct Kept *kept;			/* NULL when opened for reading */
	ResultRelInfo *info;		/* likewise */
	EState	   *estate;			/* shared by the tables of one session */
	MemoryContext context;		/* of all that lives until table_finish() */
	TupleTableSlot *slot;		/* rows read */
	TupleTableSlot *changed;	/* a row's next version */
	/* rows not written yet */
	TupleTableSlot **queue;
	int			queued;
	int			made;			/* slots that exist in queue */
	int			room;
	Size		queued_bytes;
	struct BulkInsertStateData *bulk;
} Table;

extern Oid	loyalty_namespace(void);
extern Oid	loyalty_relation(const char *name);

extern void table_open_for_write(Table *table, const char *name, int natts, EState *estate);
extern void table_open_for_read(Table *table, const char *name, int natts);
extern void table_finish(Table *table);

/*
 * Rows to insert: fill the slot's values and nulls, then queue it.  Queued
 * rows are written in batches, at the latest by table_flush().
 */
extern TupleTableSlot *table_new_row(Table *table);
extern void table_queue_row(Table *table, TupleTableSlot *slot);
extern void table_flush(Table *table);

/* An empty slot for table_replace_row(). */
extern TupleTableSlot *table_changed_row(Table *table);

/*
 * Replaces the version at *tid by slot, waiting for a concurrent writer of
 * the row.  False: that writer committed a newer version.
 */
extern bool table_replace_row(Table *table, ItemPointer tid, TupleTableSlot *slot,
							  Snapshot snapshot);

/* Refuses (40001) to build on a row that is newer than the transaction's snapshot. */
extern void table_conflict(void);

/*
 * Locks the version at *tid, waiting for whoever has the row, and reads it into table->slot.  False:
 * that one committed a newer version, to which *tid goes on, and nothing is locked.
 */
extern bool table_lock_row(Table *table, ItemPointer tid, Snapshot snapshot);

extern bool table_fetch_row(Table *table, ItemPointer tid, Snapshot snapshot);

/* An index scan in key order over rows visible to snapshot. */
typedef struct TableScan
{
	Table	   *table;
	Relation	index;
	bool		own_index;		/* opened by the scan */
	IndexScanDesc scan;			/* NULL: ended */
	ScanKeyData keys[TABLE_KEYS_MAX];
} TableScan;

extern void table_scan_begin(TableScan *scan, Table *table, const char *index,
							 Snapshot snapshot, int nkeys, const TableKey *keys);
extern void table_scan_again(TableScan *scan, const TableKey *keys);

/* One that stays open for the next probe: begun if it is zeroed or ended, else again. */
extern void table_scan_probe(TableScan *scan, Table *table, const char *index,
							 Snapshot snapshot, int nkeys, const TableKey *keys);
extern bool table_scan_next(TableScan *scan);	/* into table->slot */
extern void table_scan_end(TableScan *scan);

#endif							/* LOYALTY_TABLE_H */
