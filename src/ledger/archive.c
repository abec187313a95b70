/*
 * archive.c
 *		Moving an account's oldest entries out of the ledger.
 *
 * Entries and their allocations go, as they are, into tables of the same
 * columns.  The account is visited for it, so that whoever else is about to
 * write it waits, or looks again: rows go under the lock that they came under.
 * Which entries may go, and what is kept in their place, is said in
 * sql/ledger/archive.sql.
 */
#include "postgres.h"

#include "access/nbtree.h"
#include "access/tableam.h"
#include "access/xact.h"

#include "base/array.h"
#include "base/errors.h"
#include "ledger/post.h"

PG_FUNCTION_INFO_V1(loyalty_archive_move);

static void
lock_account(Account *account, void *arg)
{
	account->changed = true;
}

static void
take_row(Table *from, Table *to)
{
	TupleTableSlot *row = from->slot;
	TupleTableSlot *copy = table_new_row(to);
	TM_FailureData failure;

	slot_getallattrs(row);
	memcpy(copy->tts_values, row->tts_values, sizeof(Datum) * row->tts_tupleDescriptor->natts);
	memcpy(copy->tts_isnull, row->tts_isnull, sizeof(bool) * row->tts_tupleDescriptor->natts);
	table_queue_row(to, copy);
	if (table_tuple_delete(from->rel, &row->tts_tid, GetCurrentCommandId(true), GetActiveSnapshot(),
						   InvalidSnapshot, true, &failure, false) != TM_Ok)
		ereport(ERROR,
				(errcode(ERRCODE_LY_LEDGER_DAMAGED),
				 errmsg("a row of table \"%s\" changed under the account's lock",
						RelationGetRelationName(from->rel)),
				 errhint("Something other than the ledger's functions writes it; run SELECT * FROM loyalty.verify().")));
}

/* The account's rows of entries up to the last. */
static int64
take_rows(Post *post, Table *from, const char *index, Table *to, int64 account_id, int32 last)
{
	TableScan	scan;
	TableKey	keys[2] = {
		{BTEqualStrategyNumber, Int64GetDatum(account_id)},
		{BTLessEqualStrategyNumber, Int32GetDatum(last)}
	};
	int64		taken = 0;

	table_scan_begin(&scan, from, index, post->snapshot, 2, keys);
	while (table_scan_next(&scan))
	{
		take_row(from, to);
		taken++;
	}
	table_scan_end(&scan);
	return taken;
}

/* _move_to_archive(accounts bigint[], entries int[]): ascending ids, and the last entry of each to go; how many went */
Datum
loyalty_archive_move(PG_FUNCTION_ARGS)
{
	int			n;
	int			nlasts;
	const int64 *accounts = array_int64s(PG_GETARG_ARRAYTYPE_P(0), &n);
	const int32 *lasts = array_int32s(PG_GETARG_ARRAYTYPE_P(1), &nlasts);
	Post		post;
	Table		entry;
	Table		allocation;
	Table		archived_entry;
	Table		archived_allocation;
	int64		taken = 0;

	if (n != nlasts)
		elog(ERROR, "expected a last entry for each account");

	post_begin(&post);
	table_open_for_write(&entry, "entry", ENTRY_NATTS, post.estate);
	table_open_for_write(&allocation, "allocation", ALLOCATION_NATTS, post.estate);
	table_open_for_write(&archived_entry, "archived_entry", ENTRY_NATTS, post.estate);
	table_open_for_write(&archived_allocation, "archived_allocation", ALLOCATION_NATTS, post.estate);
	(void) post_lock_roots(&post, accounts, n, NULL);
	for (int i = 0; i < n; i++)
	{
		post_account_wherever(&post, accounts[i], lock_account, NULL);
		taken += take_rows(&post, &entry, "entry_pkey", &archived_entry, accounts[i], lasts[i]);
		(void) take_rows(&post, &allocation, "allocation_pkey", &archived_allocation, accounts[i], lasts[i]);

		/* Another of the same person may come by what this one's purchases were let off. */
		table_flush(&archived_entry);
		table_flush(&archived_allocation);
		post_restart(&post);
	}
	table_finish(&archived_allocation);
	table_finish(&archived_entry);
	table_finish(&allocation);
	table_finish(&entry);
	post_end(&post);
	PG_RETURN_INT64(taken);
}
