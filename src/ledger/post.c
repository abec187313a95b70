/*
 * post.c
 *		The one door by which a balance changes.
 *
 * Locking: a visit reads the account at the session's snapshot, works out
 * what to write, and updates the account row.  If that update finds a newer
 * version, it locks the row, takes a new snapshot and starts the visit again.
 * What a version says of whose account it is holds once that very version is
 * locked; if it is superseded while it is waited for, nothing is, and we look
 * again.
 * Lots change only together with their account's row, so lots read at the
 * snapshot at which the row was current are current too.  Accounts are
 * visited in ascending order everywhere, so two sessions can't wait for each
 * other within one statement each.  Work that finds that it should have come to
 * an account before gives up: its visit writes nothing, and who began the
 * session begins again.  An account that was merged into another
 * has no visits of its own: it is read and written in those of the account that
 * has its points, under that one's lock (ledger/merged).
 *
 * Memory: an Account and all it holds live in post->context, which is reset
 * before each visit (and each repeat of one); queued rows are copies.
 */
#include "postgres.h"

#include "access/nbtree.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/pg_type.h"
#include "executor/executor.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/date.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

#include "base/array.h"
#include "base/errors.h"
#include "base/owner.h"
#include "base/subtransaction.h"
#include "ledger/actor.h"
#include "ledger/chain.h"
#include "ledger/merged.h"
#include "ledger/post.h"
#include "ledger/reserve.h"

void		(*post_review_hook) (Account *account) = NULL;
void		(*post_store_hook) (Account *account) = NULL;

/* ----------------------------------------------------------------
 *		The session
 * ---------------------------------------------------------------- */

static void
take_snapshot(Post *post)
{
	PushActiveSnapshot(GetTransactionSnapshot());
	post->snapshot = GetActiveSnapshot();
	post->latest = IsolationUsesXactSnapshot() ? RegisterSnapshot(GetLatestSnapshot()) : NULL;
}

static void
drop_snapshot(Post *post)
{
	if (post->latest != NULL)
		UnregisterSnapshot(post->latest);
	PopActiveSnapshot();
}

static void
close_scans(Post *post)
{
	TableScan  *scans[] = {&post->member_by_key, &post->account_by_id, &post->account_by_key, &post->lot_open,
	&post->lot_by_no, &post->entry_by_event, &post->archived_by_event};

	for (int i = 0; i < (int) lengthof(scans); i++)
		if (scans[i]->scan != NULL)
			table_scan_end(scans[i]);
}

static void
new_snapshot(Post *post)
{
	close_scans(post);
	drop_snapshot(post);
	take_snapshot(post);
}

void
post_renew(Post *post)
{
	CommandCounterIncrement();
	new_snapshot(post);
}

static void
flush(Post *post)
{
	if (post->lot.rel != NULL)
		table_flush(&post->lot);
	if (post->allocation.rel != NULL)
		table_flush(&post->allocation);
	if (post->hold.rel != NULL)
		table_flush(&post->hold);
	if (post->entry.rel != NULL)
		table_flush(&post->entry);
	if (post->progress.rel != NULL)
		table_flush(&post->progress);
	if (post->tier_change.rel != NULL)
		table_flush(&post->tier_change);
}

/* The rows that flush() would have written. */
static void
drop_queues(Post *post)
{
	Table	   *tables[] = {&post->lot, &post->allocation, &post->hold, &post->entry, &post->progress, &post->tier_change};

	for (int i = 0; i < (int) lengthof(tables); i++)
		tables[i]->queued = 0;
}

void
post_restart(Post *post)
{
	flush(post);
	post_renew(post);
	post->last_account = 0;
}

static Table *
open_for_reading(Post *post, Table *table, const char *name, int natts)
{
	if (table->rel == NULL)
	{
		MemoryContext old = MemoryContextSwitchTo(post->estate->es_query_cxt);

		table_open_for_read(table, name, natts);
		MemoryContextSwitchTo(old);
	}
	return table;
}

Table *
post_table(Post *post, Table *table, const char *name, int natts)
{
	if (post->reading)
		(void) open_for_reading(post, table, name, natts);
	else if (table->rel == NULL)
		table_open_for_write(table, name, natts, post->estate);
	return table;
}

static void
begin(Post *post, bool reading)
{
	memset(post, 0, sizeof(*post));
	post->now = GetCurrentTransactionStartTimestamp();
	post->reading = reading;
	if (reading)
	{
		PushActiveSnapshot(GetActiveSnapshot());
		post->snapshot = GetActiveSnapshot();
	}
	else
	{
		/* Below the executor nobody else asks. */
		PreventCommandIfReadOnly("a posting of points");
		PreventCommandIfParallelMode("a posting of points");

		/* What this transaction wrote so far is to be seen and built upon. */
		CommandCounterIncrement();
		take_snapshot(post);
	}
	post->estate = CreateExecutorState();
	post_table(post, &post->account, "account", ACCOUNT_NATTS);
	post->context = AllocSetContextCreate(CurrentMemoryContext, "loyalty account",
										  ALLOCSET_DEFAULT_SIZES);
}

void
post_begin(Post *post)
{
	begin(post, false);
}

void
post_begin_reading(Post *post)
{
	begin(post, true);
}

static void
end(Post *post)
{
	close_scans(post);
	table_finish(&post->tier_change);
	table_finish(&post->progress);
	table_finish(&post->request);
	table_finish(&post->hold);
	table_finish(&post->anchor);
	table_finish(&post->archived_allocation);
	table_finish(&post->archived_entry);
	table_finish(&post->allocation);
	table_finish(&post->entry);
	table_finish(&post->lot);
	table_finish(&post->account);
	table_finish(&post->member);
	FreeExecutorState(post->estate);
	MemoryContextDelete(post->context);
	drop_snapshot(post);
}

void
post_end(Post *post)
{
	flush(post);
	end(post);
	CommandCounterIncrement();
}

void
post_abandon(Post *post)
{
	drop_queues(post);
	end(post);
}

/* For a row that the snapshot does not show: it may have come since. */
static void
refuse_if_there_now(Post *post, Table *table, const char *index, const TableKey *keys)
{
	TableScan	scan;

	if (post->latest == NULL)
		return;
	table_scan_begin(&scan, table, index, post->latest, 2, keys);
	if (table_scan_next(&scan))
		table_conflict();
	table_scan_end(&scan);
}

int64
post_find_member(Post *post, int32 program_id, const text *key)
{
	TableKey	keys[2] = {
		{BTEqualStrategyNumber, Int32GetDatum(program_id)},
		{BTEqualStrategyNumber, PointerGetDatum(key)}
	};
	bool		isnull;

	if (post->member.rel == NULL)
		table_open_for_read(&post->member, "member", MEMBER_NATTS);
	table_scan_probe(&post->member_by_key, &post->member, "member_key", post->snapshot, 2, keys);

	if (!table_scan_next(&post->member_by_key))
	{
		refuse_if_there_now(post, &post->member, "member_key", keys);
		return 0;
	}
	return DatumGetInt64(slot_getattr(post->member.slot, MEMBER_ID, &isnull));
}

void
post_enrol(int32 program_id, const text **keys, int n)
{
	static OwnerPlan plan;
	Datum	   *elements = palloc(sizeof(Datum) * n);
	Datum		args[3];

	for (int i = 0; i < n; i++)
		elements[i] = PointerGetDatum(keys[i]);
	args[0] = Int32GetDatum(program_id);
	args[1] = PointerGetDatum(construct_array(elements, n, TEXTOID, -1, false, TYPALIGN_INT));
	args[2] = TimestampTzGetDatum(GetCurrentTransactionStartTimestamp());
	owner_execute(&plan, "SELECT loyalty._enrol($1, $2, $3)", 3,
				  (Oid[]) {INT4OID, TEXTARRAYOID, TIMESTAMPTZOID}, args);
}

void
post_open_accounts(int32 currency_id, const int64 *members, int n)
{
	static OwnerPlan plan;
	Datum	   *elements = palloc(sizeof(Datum) * n);
	Datum		args[2];

	for (int i = 0; i < n; i++)
		elements[i] = Int64GetDatum(members[i]);
	args[0] = Int32GetDatum(currency_id);
	args[1] = PointerGetDatum(construct_array(elements, n, INT8OID, sizeof(int64), FLOAT8PASSBYVAL, TYPALIGN_DOUBLE));
	owner_execute(&plan, "SELECT loyalty._open_accounts($1, $2)", 2,
				  (Oid[]) {INT4OID, INT8ARRAYOID}, args);
}

/*
 * What a row has is decided under the row's lock, or the table's (a backfill),
 * which the transaction's snapshot may be older than: entries are looked for
 * as of now, and one that the snapshot does not show is a conflict.
 */
void
post_entries_of(Post *post, int64 account_id, const text *event)
{
	TableKey	keys[2] = {
		{BTEqualStrategyNumber, Int64GetDatum(account_id)},
		{BTEqualStrategyNumber, PointerGetDatum(event)}
	};

	post_table(post, &post->entry, "entry", ENTRY_NATTS);
	table_scan_probe(&post->entry_by_event, &post->entry, "entry_event_idx",
					 post->latest ? post->latest : post->snapshot, 2, keys);
	post->in_archive = false;
}

/* Most ledgers have none: the file's length tells. */
bool
post_has_archive(Post *post)
{
	return RelationGetNumberOfBlocks(open_for_reading(post, &post->archived_entry, "archived_entry", ENTRY_NATTS)->rel) > 0;
}

/* Goes on in the archive with what was looked for; false: nothing is there. */
static bool
enter_archive(Post *post)
{
	TableKey	keys[2];

	if (post->in_archive)
		return true;
	if (!post_has_archive(post))
		return false;
	for (int i = 0; i < 2; i++)
		keys[i] = (TableKey) {BTEqualStrategyNumber, post->entry_by_event.keys[i].sk_argument};
	table_scan_probe(&post->archived_by_event, &post->archived_entry, "archived_entry_event_idx",
					 post->latest ? post->latest : post->snapshot, 2, keys);
	post->in_archive = true;
	return true;
}

TupleTableSlot *
post_next_entry(Post *post)
{
	Table	   *table = &post->entry;

	if (post->in_archive || !table_scan_next(&post->entry_by_event))
	{
		table = &post->archived_entry;
		if (!enter_archive(post) || !table_scan_next(&post->archived_by_event))
			return NULL;
	}
	if (post->latest != NULL &&
		!table_tuple_satisfies_snapshot(table->rel, table->slot, post->snapshot))
		table_conflict();
	return table->slot;
}

TupleTableSlot *
post_entry(Post *post, int64 account_id, int32 entry_no, bool archived)
{
	Table	   *table = archived ? post_table(post, &post->archived_entry, "archived_entry", ENTRY_NATTS) :
		post_table(post, &post->entry, "entry", ENTRY_NATTS);
	TableScan	scan;
	TableKey	keys[2] = {
		{BTEqualStrategyNumber, Int64GetDatum(account_id)},
		{BTEqualStrategyNumber, Int32GetDatum(entry_no)}
	};
	bool		found;

	table_scan_begin(&scan, table, archived ? "archived_entry_pkey" : "entry_pkey", post->snapshot, 2, keys);
	found = table_scan_next(&scan);
	table_scan_end(&scan);
	if (!found)
		return NULL;
	slot_getallattrs(table->slot);
	return table->slot;
}

Table *
post_scan_allocations(Post *post, TableScan *scan, int64 account_id, int32 entry_no, bool archived)
{
	Table	   *table = archived ?
		post_table(post, &post->archived_allocation, "archived_allocation", ALLOCATION_NATTS) :
		post_table(post, &post->allocation, "allocation", ALLOCATION_NATTS);
	TableKey	keys[2] = {
		{BTEqualStrategyNumber, Int64GetDatum(account_id)},
		{BTEqualStrategyNumber, Int32GetDatum(entry_no)}
	};

	table_scan_begin(scan, table, archived ? "archived_allocation_pkey" : "allocation_pkey", post->snapshot, 2, keys);
	return table;
}

void
post_refuse_discarded(Post *post, int64 account_id, TimestampTz time)
{
	Table	   *table = open_for_reading(post, &post->anchor, "anchor", ANCHOR_NATTS);
	TableScan	scan;
	TableKey	key = {BTEqualStrategyNumber, Int64GetDatum(account_id)};

	if (RelationGetNumberOfBlocks(table->rel) == 0)
		return;
	table_scan_begin(&scan, table, "anchor_pkey", post->snapshot, 1, &key);
	while (table_scan_next(&scan))
	{
		Datum	   *values = table->slot->tts_values - 1;

		/* With its last entry all that the anchor is of is there, or gone. */
		slot_getallattrs(table->slot);
		if (time < DatumGetTimestampTz(values[ANCHOR_BEFORE]) &&
			!(post_has_archive(post) && post_entry(post, account_id, DatumGetInt32(values[ANCHOR_ENTRIES]), true)))
			ereport(ERROR,
					(errcode(ERRCODE_LY_ARCHIVED),
					 errmsg("what it is about is archived"),
					 errdetail("Entries of account " INT64_FORMAT " up to number %d were discarded with the archive.",
							   account_id, DatumGetInt32(values[ANCHOR_ENTRIES])),
					 errhint("Book what is due with loyalty.adjust(), or bring the archive back: see docs/archive.md.")));
	}
	table_scan_end(&scan);
}

int64
post_find_account(Post *post, int32 currency_id, const text *key, ItemPointer tid)
{
	TableKey	keys[2] = {
		{BTEqualStrategyNumber, Int32GetDatum(currency_id)},
		{BTEqualStrategyNumber, PointerGetDatum(key)}
	};
	bool		isnull;

	table_scan_probe(&post->account_by_key, &post->account, "account_key", post->snapshot, 2, keys);

	if (!table_scan_next(&post->account_by_key))
	{
		refuse_if_there_now(post, &post->account, "account_key", keys);
		return 0;
	}
	ItemPointerCopy(&post->account.slot->tts_tid, tid);
	return DatumGetInt64(slot_getattr(post->account.slot, ACCOUNT_ID, &isnull));
}

/* Of columns that are never NULL and before all that vary in size: no more than a comparison. */
bool
post_found_merged(Post *post)
{
	bool		isnull;

	return DatumGetInt32(slot_getattr(post->account.slot, ACCOUNT_STATE, &isnull)) == ACCOUNT_MERGED;
}

/* ----------------------------------------------------------------
 *		Finding an account
 * ---------------------------------------------------------------- */

bool
post_find_row(Post *post, int64 account_id, ItemPointer hint)
{
	TableKey	key = {BTEqualStrategyNumber, Int64GetDatum(account_id)};
	bool		isnull;

	/* Often it has just been found; a newer version would show when it is updated. */
	if (hint != NULL && !TTS_EMPTY(post->account.slot) &&
		ItemPointerEquals(hint, &post->account.slot->tts_tid))
		return true;
	if (hint != NULL && ItemPointerIsValid(hint) &&
		table_fetch_row(&post->account, hint, post->snapshot) &&
		DatumGetInt64(slot_getattr(post->account.slot, ACCOUNT_ID, &isnull)) == account_id)
		return true;

	table_scan_probe(&post->account_by_id, &post->account, "account_pkey", post->snapshot, 1, &key);
	return table_scan_next(&post->account_by_id);
}

const Currency *
post_account_currency(Post *post, int64 account_id)
{
	bool		isnull;

	if (!post_find_row(post, account_id, NULL))
		return NULL;
	return currency_by_id(DatumGetInt32(slot_getattr(post->account.slot, ACCOUNT_CURRENCY, &isnull)));
}

const Currency *
post_entry_currency(Post *post, int64 entry_id, int64 *account_id, int32 *entry_no, ItemPointer tid)
{
	const Currency *currency;

	*account_id = entry_id / ENTRIES_PER_ACCOUNT;
	*entry_no = (int32) (entry_id % ENTRIES_PER_ACCOUNT);
	if (entry_id <= 0 || *entry_no == 0)
		return NULL;
	currency = post_account_currency(post, *account_id);
	if (currency == NULL)
		return NULL;
	program_check_access(currency->program->program_id);
	if (tid != NULL)
		ItemPointerCopy(&post->account.slot->tts_tid, tid);
	return currency;
}

void
post_refuse_missing(int64 account_id)
{
	ereport(ERROR,
			(errcode(ERRCODE_LY_LEDGER_DAMAGED),
			 errmsg("account " INT64_FORMAT " is not there", account_id),
			 errhint("Something other than the ledger's functions writes it; run SELECT * FROM loyalty.verify().")));
}

int64
post_root(Post *post, int64 account_id, ItemPointer tid)
{
	for (;;)
	{
		int64		into;
		bool		isnull;

		CHECK_FOR_INTERRUPTS();
		if (!post_find_row(post, account_id, NULL))
			post_refuse_missing(account_id);
		into = DatumGetInt64(slot_getattr(post->account.slot, ACCOUNT_MERGED_INTO, &isnull));
		if (isnull)
			break;
		account_id = into;
	}
	ItemPointerCopy(&post->account.slot->tts_tid, tid);
	return account_id;
}

void
post_check_access(Post *post, int64 account_id)
{
	const Currency *currency = somebody_confined() ? post_account_currency(post, account_id) : NULL;

	if (currency != NULL)
		program_check_access(currency->program->program_id);
}

static int32
allocated_lot(Post *post, int64 account_id, int32 entry_no, bool archived)
{
	TableScan	scan;
	Table	   *table = post_scan_allocations(post, &scan, account_id, entry_no, archived);
	int32		lot_no = 0;
	bool		isnull;

	while (lot_no == 0 && table_scan_next(&scan))
		lot_no = DatumGetInt32(slot_getattr(table->slot, ALLOCATION_LOT, &isnull));
	table_scan_end(&scan);
	return lot_no;
}

int32
post_allocated_lot(Post *post, int64 account_id, int32 entry_no)
{
	int32		lot_no = allocated_lot(post, account_id, entry_no, false);

	return lot_no == 0 && post_has_archive(post) ? allocated_lot(post, account_id, entry_no, true) : lot_no;
}

/* ----------------------------------------------------------------
 *		Writing a visit
 * ---------------------------------------------------------------- */

static bool
store_account(Account *account)
{
	Table	   *table = &account->post->account;
	TupleTableSlot *slot = table_changed_row(table);
	Datum	   *values = slot->tts_values - 1;
	bool	   *nulls = slot->tts_isnull - 1;
	bytea	   *head = palloc(VARHDRSZ + CHAIN_HASH_LEN);

	SET_VARSIZE(head, VARHDRSZ + CHAIN_HASH_LEN);
	memcpy(VARDATA(head), account->head, CHAIN_HASH_LEN);

	values[ACCOUNT_ID] = Int64GetDatum(account->account_id);
	values[ACCOUNT_MEMBER] = Int64GetDatum(account->member_id);
	values[ACCOUNT_CURRENCY] = Int32GetDatum(account->currency->currency_id);
	values[ACCOUNT_ENTRIES] = Int32GetDatum(account->last_entry);
	values[ACCOUNT_LOTS] = Int32GetDatum(account->last_lot);
	values[ACCOUNT_POSTED] = PointsGetDatum(account->posted);
	values[ACCOUNT_LIVE] = PointsGetDatum(account->live);
	values[ACCOUNT_PENDING] = PointsGetDatum(account->pending);
	values[ACCOUNT_HELD] = PointsGetDatum(account->held);
	values[ACCOUNT_DEBT] = PointsGetDatum(account->debt);
	values[ACCOUNT_EARNED] = PointsGetDatum(account->earned);
	values[ACCOUNT_REDEEMED] = PointsGetDatum(account->redeemed);
	values[ACCOUNT_EXPIRED] = PointsGetDatum(account->expired);
	values[ACCOUNT_AS_OF] = TimestampTzGetDatum(account->as_of);
	values[ACCOUNT_NEXT_CHANGE] = TimestampTzGetDatum(account->next_change);
	values[ACCOUNT_TIER] = account->tier;
	nulls[ACCOUNT_TIER] = account->tier == 0;
	values[ACCOUNT_TIER_SINCE] = TimestampTzGetDatum(account->tier_since);
	nulls[ACCOUNT_TIER_SINCE] = account->tier == 0;
	values[ACCOUNT_TIER_UNTIL] = TimestampTzGetDatum(account->tier_until);
	nulls[ACCOUNT_TIER_UNTIL] = !account->has_tier_until;
	values[ACCOUNT_HEAD] = PointerGetDatum(head);
	nulls[ACCOUNT_HEAD] = account->last_entry == 0;
	values[ACCOUNT_KEY] = PointerGetDatum(account->key);
	values[ACCOUNT_CLOCK_END] = TimestampTzGetDatum(account->clock_end);
	nulls[ACCOUNT_CLOCK_END] = account->clock_end == DT_NOBEGIN;
	values[ACCOUNT_STATE] = Int32GetDatum(account->state);
	values[ACCOUNT_MERGED_INTO] = Int64GetDatum(account->merged_into);
	nulls[ACCOUNT_MERGED_INTO] = account->merged_into == 0;
	ExecStoreVirtualTuple(slot);
	return table_replace_row(table, &account->tid, slot, account->post->snapshot);
}

static void
store_lot(Account *account, Lot *lot)
{
	Table	   *table = &account->post->lot;
	TupleTableSlot *slot = lot->fresh ? table_new_row(table) : table_changed_row(table);
	Datum	   *values = slot->tts_values - 1;

	values[LOT_ACCOUNT] = Int64GetDatum(account->account_id);
	values[LOT_NO] = Int32GetDatum(lot->lot_no);
	values[LOT_OPEN] = BoolGetDatum(lot->open);
	values[LOT_BY_ACTIVITY] = BoolGetDatum(lot->by_activity);
	values[LOT_EXTENDED] = BoolGetDatum(lot->extended);
	values[LOT_ISSUED] = DateADTGetDatum(lot->dates.issued);
	values[LOT_OPENED_BY] = Int32GetDatum(lot->opened_by);
	values[LOT_VALID_FROM] = TimestampTzGetDatum(lot->dates.valid_from);
	values[LOT_EXPIRES_AT] = TimestampTzGetDatum(lot->on_clock ? LOT_ON_CLOCK : lot->dates.expires_at);
	values[LOT_EARNED_AT] = TimestampTzGetDatum(lot->earned_at);
	values[LOT_CREDITED] = PointsGetDatum(lot->credited);
	values[LOT_REMAINING] = PointsGetDatum(lot->remaining);
	values[LOT_HELD] = PointsGetDatum(lot->held);
	values[LOT_EXPIRED] = PointsGetDatum(lot->expired);
	values[LOT_WAIVED] = PointsGetDatum(lot->waived);
	if (lot->fresh)
		table_queue_row(table, slot);
	else
	{
		ExecStoreVirtualTuple(slot);
		if (!table_replace_row(table, &lot->tid, slot, account->post->snapshot))
			elog(ERROR, "lot %d of account " INT64_FORMAT " changed under the account's lock",
				 lot->lot_no, account->account_id);
	}
}

static void
store_allocation(Account *account, Allocation *allocation)
{
	Table	   *table = allocation->archived ? &account->post->archived_allocation : &account->post->allocation;
	TupleTableSlot *slot = allocation->fresh ? table_new_row(table) : table_changed_row(table);
	Datum	   *values = slot->tts_values - 1;

	values[ALLOCATION_ACCOUNT] = Int64GetDatum(account->account_id);
	values[ALLOCATION_ENTRY] = Int32GetDatum(allocation->entry_no);
	values[ALLOCATION_NO] = Int32GetDatum(allocation->allocation_no);
	values[ALLOCATION_LOT] = Int32GetDatum(allocation->lot_no);
	values[ALLOCATION_POINTS] = PointsGetDatum(allocation->points);
	values[ALLOCATION_RETURNED] = PointsGetDatum(allocation->returned);
	if (allocation->fresh)
		table_queue_row(table, slot);
	else
	{
		ExecStoreVirtualTuple(slot);
		if (!table_replace_row(table, &allocation->tid, slot, account->post->snapshot))
			elog(ERROR, "allocation %d of entry %d changed under the account's lock",
				 allocation->allocation_no, allocation->entry_no);
	}
}

/* The kind's name as a datum, made once. */
static const text *
kind_text(EntryKind kind)
{
	static text *kinds[ENTRY_KINDS];

	if (kinds[kind] == NULL)
	{
		MemoryContext old = MemoryContextSwitchTo(TopMemoryContext);

		kinds[kind] = cstring_to_text(entry_kind_name(kind));
		MemoryContextSwitchTo(old);
	}
	return kinds[kind];
}

/* The first entry of a visit says so, so that lots that live by the new clock are not older than who does. */
static bool
says_clock(const Account *account, const Entry *entry)
{
	return entry == account->entries && account->clock_end != account->clock_before;
}

static bool
says_ended(const Account *account, const Entry *entry)
{
	return entry == account->entries && account->clock_ended != DT_NOBEGIN;
}

static void
store_entry(Account *account, const Entry *entry, const uint8 *hash)
{
	Post	   *post = account->post;
	TupleTableSlot *slot = table_new_row(&post->entry);
	Datum	   *values = slot->tts_values - 1;
	bool	   *nulls = slot->tts_isnull - 1;
	struct
	{
		int32		header;
		uint8		bytes[CHAIN_HASH_LEN];
	}			stored;

	SET_VARSIZE(&stored, sizeof(stored));
	memcpy(stored.bytes, hash, CHAIN_HASH_LEN);

#define OPTIONAL(column, datum, present) \
	(values[column] = (datum), nulls[column] = !(present))

	values[ENTRY_ACCOUNT] = Int64GetDatum(account->account_id);
	values[ENTRY_NO] = Int32GetDatum(entry->entry_no);
	OPTIONAL(ENTRY_LOT, Int32GetDatum(entry->lot_no), entry->lot_no != 0);
	values[ENTRY_POINTS] = PointsGetDatum(entry->points);
	values[ENTRY_EVENT_TIME] = TimestampTzGetDatum(entry->event_time);
	values[ENTRY_RECORDED_AT] = TimestampTzGetDatum(post->now);
	OPTIONAL(ENTRY_BASE, PointsGetDatum(entry->base), entry->base != 0);
	OPTIONAL(ENTRY_REFUNDED, PointsGetDatum(entry->refunded), entry->refunded != 0);
	OPTIONAL(ENTRY_FORGIVEN, PointsGetDatum(entry->forgiven), entry->forgiven != 0);
	OPTIONAL(ENTRY_SOURCE, Int32GetDatum(entry->source_id), entry->source_id != 0);
	OPTIONAL(ENTRY_RULE, Int32GetDatum(entry->rule_id), entry->rule_id != 0);
	OPTIONAL(ENTRY_REVERSES, Int32GetDatum(entry->reverses), entry->reverses != 0);
	values[ENTRY_ACTOR] = Int32GetDatum(entry->actor_id);
	values[ENTRY_KIND] = PointerGetDatum(kind_text(entry->kind));
	OPTIONAL(ENTRY_EVENT, PointerGetDatum(entry->event), entry->event != NULL);
	OPTIONAL(ENTRY_LINE, PointerGetDatum(entry->line), entry->line != NULL);
	OPTIONAL(ENTRY_REASON, PointerGetDatum(entry->reason), entry->reason != NULL);
	values[ENTRY_HASH] = PointerGetDatum(&stored);
	OPTIONAL(ENTRY_CLOCK_END, TimestampTzGetDatum(account->clock_end), says_clock(account, entry));
	OPTIONAL(ENTRY_CLOCK_ENDED, TimestampTzGetDatum(account->clock_ended), says_ended(account, entry));
	table_queue_row(&post->entry, slot);
}

/*
 * Hashes the entries of the visit.  New allocations and lots are in the order
 * of the entries that made them.
 */
static void
hash_entries(Account *account, uint8 (*hashes)[CHAIN_HASH_LEN])
{
	static Effects effects;
	Post	   *post = account->post;
	const uint8 *previous = account->head;
	int			allocation = 0;
	int			lot = 0;

	if (post->actor_id == 0)
		post->actor_id = actor_now(post);

	for (int i = 0; i < account->nentries; i++)
	{
		Entry	   *entry = &account->entries[i];

		effects_begin(&effects);
		for (; allocation < account->nallocations; allocation++)
		{
			const Allocation *next = account->allocations[allocation];

			if (!next->fresh)
				continue;
			if (next->entry_no != entry->entry_no)
				break;
			effects_add_allocation(&effects, next->lot_no, next->points);
		}
		if (says_clock(account, entry))
			effects_set_clock(&effects, account->clock_end);
		if (says_ended(account, entry))
			effects_set_ended(&effects, account->clock_ended);
		for (; lot < account->nlots; lot++)
		{
			const Lot  *next = account->lots[lot];

			if (!next->fresh)
				continue;
			if (next->opened_by != entry->entry_no)
				break;
			effects_add_lot(&effects, next->dates.valid_from, next->by_activity ? LOT_ON_CLOCK : next->dates.expires_at,
							next->dates.issued);
		}
		if (entry->kind == ENTRY_HOLD)
			reserve_effects(account, entry->entry_no, &effects);

		entry->actor_id = post->actor_id;
		chain_hash(account->account_id, entry, kind_text(entry->kind), post->now, &effects, previous, hashes[i]);
		previous = hashes[i];
	}
	if (allocation < account->nallocations || lot < account->nlots)
		elog(ERROR, "entries of account " INT64_FORMAT " did something out of their order", account->account_id);
	memcpy(account->head, previous, CHAIN_HASH_LEN);
}

static int
by_number(const void *a, const void *b)
{
	const Lot  *x = *(Lot *const *) a;
	const Lot  *y = *(Lot *const *) b;

	return x->lot_no < y->lot_no ? -1 : x->lot_no > y->lot_no;
}

/* An entry for each lot, and each part of a hold, of which refunds are let off more or less than before. */
static void
book_waived(Account *account)
{
	const Lot **lots = NULL;
	int			room = 0;
	int			n = 0;

	for (int i = 0; i < account->nlots; i++)
		if (account->lots[i]->waived != account->lots[i]->waived_before)
		{
			lots = array_grow(lots, n, &room, sizeof(Lot *));
			lots[n++] = account->lots[i];
		}
	if (n > 1)
		qsort(lots, n, sizeof(Lot *), by_number);
	for (int i = 0; i < n; i++)
		(void) account_waive(account, lots[i], lots[i]->waived);
	reserve_book_owed(account);
}

/* The account row first, since its update is the lock; false: start the visit again. */
static bool
store_visit(Account *account)
{
	Post	   *post = account->post;
	uint8	  (*hashes)[CHAIN_HASH_LEN];

	book_waived(account);
	if (account->nentries == 0 && (says_clock(account, account->entries) || says_ended(account, account->entries)))
		(void) account_entry(account, ENTRY_CLOCK, account->post->now);
	hashes = palloc(Max(account->nentries, 1) * CHAIN_HASH_LEN);
	if (account->nentries > 0)
		hash_entries(account, hashes);

	if (!store_account(account))
		return false;

	if (account->nlots > 0)
		post_table(post, &post->lot, "lot", LOT_NATTS);
	for (int i = 0; i < account->nlots; i++)
		if (account->lots[i]->changed)
			store_lot(account, account->lots[i]);
	if (account->nallocations > 0)
		post_table(post, &post->allocation, "allocation", ALLOCATION_NATTS);
	for (int i = 0; i < account->nallocations; i++)
		store_allocation(account, account->allocations[i]);
	reserve_store(account);
	if (account->nentries > 0)
		post_table(post, &post->entry, "entry", ENTRY_NATTS);
	for (int i = 0; i < account->nentries; i++)
		store_entry(account, &account->entries[i], hashes[i]);
	if (post_store_hook != NULL)
		post_store_hook(account);
	return true;
}

/* At the end of a visit's work. */
static void
review(Account *account)
{
	if (account->held > 0 && account->changed && account->currency->debt == DEBT_FORGIVE)
		reserve_review(account);
	if (post_review_hook != NULL)
		post_review_hook(account);
}

/* What the work left to be done, and the accounts that go with this one. */
static void
end_work(Account *account)
{
	for (int i = account->ndependents - 1; i >= 0; i--)
		if (account->dependents[i]->parent != NULL)
			merged_pass_on(account->dependents[i]);
	if (account->state == ACCOUNT_CLOSED && account->changed)
	{
		account_forfeit(account);
		for (int i = 0; i < account->ndependents; i++)
			if (account->dependents[i]->parent != NULL)
				account_forfeit(account->dependents[i]);
	}
	for (int i = 0; i < account->ndependents; i++)
		account->changed |= account->dependents[i]->changed;
	if (account->state == ACCOUNT_MERGED && account->parent == NULL && account->changed)
		elog(ERROR, "account " INT64_FORMAT " was merged and changes by itself", account->account_id);
}

/* An account that was merged is written under the lock of the one that has its points. */
static void
store_dependents(Account *account)
{
	for (int i = 0; i < account->ndependents; i++)
		if (account->dependents[i]->changed && !store_visit(account->dependents[i]))
			elog(ERROR, "account " INT64_FORMAT " changed under the lock of the one it was merged into",
				 account->dependents[i]->account_id);
}

/*
 * Locks an account if it was not merged, and these are still written in its visits.  False: it is
 * not locked.  Whoever has the points of one that was merged has its row too, and may wait for us.
 */
static bool
lock_root(Post *post, int64 root, Account *const *dependents, int ndependents, ItemPointer tid)
{
	for (;;)
	{
		for (int i = 0; i < ndependents; i++)
			if (post_root(post, dependents[i]->account_id, tid) != root)
				return false;
		if (post_root(post, root, tid) != root)
			return false;
		do
		{
			if (table_lock_row(&post->account, tid, post->snapshot))
				return true;

			/* The next version says by itself whether it is one that was merged. */
			if (!table_fetch_row(&post->account, tid, SnapshotAny))
				post_refuse_missing(root);
		} while (ndependents == 0 && !post_found_merged(post));
		new_snapshot(post);
	}
}

void
post_account(Post *post, int64 account_id, ItemPointer hint, AccountWork work, void *arg)
{
	MemoryContext old = CurrentMemoryContext;
	ItemPointerData tid;

	/* A second visit builds on what the first one wrote. */
	if (account_id == post->last_account)
	{
		flush(post);
		CommandCounterIncrement();
		new_snapshot(post);
		hint = NULL;
	}
	else if (account_id < post->last_account)
		elog(ERROR, "accounts must be visited in ascending order");
	post->last_account = account_id;

	for (;;)
	{
		Account    *account;

		CHECK_FOR_INTERRUPTS();
		MemoryContextReset(post->context);
		MemoryContextSwitchTo(post->context);
		if (!post_find_row(post, account_id, hint))
			post_refuse_missing(account_id);
		account = account_read(post, post->account.slot);
		account_roll_forward(account, post->now);
		work(account, arg);
		if (post->given_up)
			break;
		if (!post->reading && (account->state != ACCOUNT_OPEN || account->ndependents > 0))
			end_work(account);
		review(account);
		Assert(!(post->reading && account->changed));
		if (!account->changed || store_visit(account))
		{
			store_dependents(account);
			post->holds |= account->changed;
			break;
		}

		/* Somebody else was first.  Wait for our turn, and look again. */
		new_snapshot(post);
		hint = NULL;
		if (lock_root(post, account_id, account->dependents, account->ndependents, &tid))
		{
			new_snapshot(post);
			hint = &tid;
			post->holds = true;
		}
	}
	MemoryContextSwitchTo(old);
}

typedef struct Wherever
{
	int64		account_id;
	AccountWork work;
	void	   *arg;
	bool		moved;			/* to the visits of another account, meanwhile */
} Wherever;

static void
work_wherever(Account *account, void *arg)
{
	Wherever   *wherever = arg;
	Account    *found = account_dependent(account, wherever->account_id);

	wherever->moved = found == NULL;
	if (found != NULL)
		wherever->work(found, wherever->arg);
}

void
post_account_wherever(Post *post, int64 account_id, AccountWork work, void *arg)
{
	Wherever	wherever = {account_id, work, arg};

	do
	{
		ItemPointerData tid;
		int64		root;

		if (wherever.moved)
			post_restart(post);
		root = post_root(post, account_id, &tid);
		post_account(post, root, &tid, work_wherever, &wherever);
	} while (wherever.moved);
}

int
post_compare_ids(const void *a, const void *b)
{
	int64		x = *(const int64 *) a;
	int64		y = *(const int64 *) b;

	return x < y ? -1 : x > y;
}

typedef struct Root
{
	int64		account_id;		/* first: see post_compare_ids() */
	ItemPointerData tid;
	bool		has_points;		/* of another that is asked for: only this version tells */
} Root;

/* False: one was merged, or may have been taken apart; those before it are locked. */
static bool
lock_each(Post *post, Root *roots, int n)
{
	for (int i = 0; i < n; i++)
	{
		while (!table_lock_row(&post->account, &roots[i].tid, post->snapshot))
			if (roots[i].has_points)
				return false;
		if (post_found_merged(post))
			return false;
	}
	return true;
}

/*
 * All of them, or none: in the place of one that was merged or taken apart comes another, whose id
 * may be below those that were locked.  Only the end of a subtransaction lets go of rows.
 */
static bool
lock_all(Post *post, Root *roots, int n)
{
	Subtransaction subtransaction;
	bool		all;

	if (n == 1)
		return table_lock_row(&post->account, &roots[0].tid, post->snapshot);

	/* A row in the slot is pinned for whoever is the owner then. */
	ExecClearTuple(post->account.slot);
	subtransaction_begin(&subtransaction);
	PG_TRY();
	{
		all = lock_each(post, roots, n);
		ExecClearTuple(post->account.slot);
		subtransaction_end(&subtransaction, all);
	}
	PG_CATCH();
	{
		ReThrowError(subtransaction_fail(&subtransaction));
	}
	PG_END_TRY();
	return all;
}

int
post_lock_roots(Post *post, const int64 *accounts, int n, int64 **ids)
{
	Root	   *roots = palloc(sizeof(Root) * Max(n, 1));
	int			nroots = 0;
	bool		locked = n == 0;

	while (!locked)
	{
		nroots = 0;
		for (int i = 0; i < n; i++)
		{
			roots[i].account_id = post_root(post, accounts[i], &roots[i].tid);
			roots[i].has_points = roots[i].account_id != accounts[i];
		}
		qsort(roots, n, sizeof(Root), post_compare_ids);
		for (int i = 0; i < n; i++)
			if (nroots > 0 && roots[nroots - 1].account_id == roots[i].account_id)
				roots[nroots - 1].has_points |= roots[i].has_points;
			else
				roots[nroots++] = roots[i];
		locked = lock_all(post, roots, nroots);
		if (!locked)
			new_snapshot(post);
	}
	if (ids != NULL)
	{
		*ids = palloc(sizeof(int64) * Max(nroots, 1));
		for (int i = 0; i < nroots; i++)
			(*ids)[i] = roots[i].account_id;
	}
	pfree(roots);
	post_restart(post);
	return nroots;
}

void
post_several(Post *post, const int64 *ids, int n, SeveralWork work, void *arg)
{
	MemoryContext old = CurrentMemoryContext;
	ItemPointerData *tids = palloc(sizeof(ItemPointerData) * n);
	bool	   *locked = palloc(sizeof(bool) * n);
	Account   **accounts;

	/* What one gets hangs on what another has, so none is looked at before all are ours. */
	for (int i = 0; i < n; i++)
	{
		CHECK_FOR_INTERRUPTS();
		if (ids[i] <= post->last_account)
			elog(ERROR, "accounts must be visited in ascending order");
		post->last_account = ids[i];
		locked[i] = lock_root(post, ids[i], NULL, 0, &tids[i]);
	}
	new_snapshot(post);

	MemoryContextReset(post->context);
	MemoryContextSwitchTo(post->context);
	accounts = palloc(sizeof(Account *) * n);
	for (int i = 0; i < n; i++)
	{
		if (!post_find_row(post, ids[i], locked[i] ? &tids[i] : NULL))
			post_refuse_missing(ids[i]);
		accounts[i] = account_read(post, post->account.slot);

		/* It may have been taken apart since: it is what it was when its turn came. */
		if (!locked[i])
			accounts[i]->state = ACCOUNT_MERGED;
		account_roll_forward(accounts[i], post->now);
	}
	work(accounts, n, arg);
	for (int i = 0; i < n; i++)
	{
		if (accounts[i]->state == ACCOUNT_CLOSED || accounts[i]->ndependents > 0)
			end_work(accounts[i]);
		review(accounts[i]);
		if (accounts[i]->changed && !(locked[i] && store_visit(accounts[i])))
			elog(ERROR, "account " INT64_FORMAT " changed although it is %s", ids[i], locked[i] ? "locked" : "merged");
		store_dependents(accounts[i]);
	}
	MemoryContextSwitchTo(old);
	pfree(locked);
	pfree(tids);
}

typedef struct Pair
{
	PairWork	work;
	void	   *arg;
	bool		turned;
} Pair;

static void
pair_work(Account **accounts, int n, void *arg)
{
	Pair	   *pair = arg;

	pair->work(accounts[pair->turned], accounts[!pair->turned], pair->arg);
}

void
post_pair(Post *post, int64 a, int64 b, PairWork work, void *arg)
{
	Pair		pair = {work, arg, a > b};

	post_several(post, (int64[]) {Min(a, b), Max(a, b)}, 2, pair_work, &pair);
}
