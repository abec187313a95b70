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
 * other within one statement each.  An account that was merged into another
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
#include "utils/builtins.h"
#include "utils/date.h"
#include "utils/datum.h"
#include "utils/memutils.h"
#include "utils/resowner.h"
#include "utils/snapmgr.h"

#include "base/array.h"
#include "base/errors.h"
#include "base/owner.h"
#include "ledger/actor.h"
#include "ledger/chain.h"
#include "ledger/merged.h"
#include "ledger/post.h"
#include "ledger/reserve.h"

void		(*post_review_hook) (Account *account) = NULL;
void		(*post_store_hook) (Account *account) = NULL;

static const char *const kind_names[ENTRY_KINDS] = {
	[ENTRY_EARN] = "earn",
	[ENTRY_REVERSE] = "reverse",
	[ENTRY_REDEEM] = "redeem",
	[ENTRY_GIVEBACK] = "giveback",
	[ENTRY_EXPIRE] = "expire",
	[ENTRY_ADJUST] = "adjust",
	[ENTRY_REKEY] = "rekey",
	[ENTRY_HOLD] = "hold",
	[ENTRY_TRANSFER] = "transfer",
	[ENTRY_CONFIRM] = "confirm",
	[ENTRY_EXTEND] = "extend",
	[ENTRY_MERGE] = "merge",
	[ENTRY_FORFEIT] = "forfeit",
};

static const int activity_of[ENTRY_KINDS] = {
	[ENTRY_EARN] = ACTIVITY_EARN,
	[ENTRY_REDEEM] = ACTIVITY_REDEEM,
	[ENTRY_TRANSFER] = ACTIVITY_TRANSFER,
};

const char *
entry_kind_name(EntryKind kind)
{
	return kind_names[kind];
}

EntryKind
entry_kind_of(Datum name)
{
	const text *word = DatumGetTextPP(name);
	EntryKind	kind = 0;

	while (kind < ENTRY_KINDS && (strlen(kind_names[kind]) != VARSIZE_ANY_EXHDR(word) ||
								  memcmp(kind_names[kind], VARDATA_ANY(word), VARSIZE_ANY_EXHDR(word)) != 0))
		kind++;
	return kind;
}

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

void
post_end(Post *post)
{
	flush(post);
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
	CommandCounterIncrement();
}

static void
conflict(void)
{
	ereport(ERROR,
			(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
			 errmsg("could not serialize access due to concurrent update")));
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
		conflict();
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
		conflict();
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
 *		Reading an account and its lots
 * ---------------------------------------------------------------- */

static bool
find_row(Post *post, int64 account_id, ItemPointer hint)
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

	if (!find_row(post, account_id, NULL))
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

static void
refuse_missing(int64 account_id)
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
		if (!find_row(post, account_id, NULL))
			refuse_missing(account_id);
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

static Account *
read_account(Post *post, TupleTableSlot *slot)
{
	Account    *account = palloc0(sizeof(Account));
	Datum	   *values = slot->tts_values - 1;
	bool	   *nulls = slot->tts_isnull - 1;

	slot_getallattrs(slot);
	account->post = post;
	account->account_id = DatumGetInt64(values[ACCOUNT_ID]);
	account->member_id = DatumGetInt64(values[ACCOUNT_MEMBER]);
	account->currency = currency_by_id(DatumGetInt32(values[ACCOUNT_CURRENCY]));
	account->last_entry = DatumGetInt32(values[ACCOUNT_ENTRIES]);
	account->last_lot = account->stored_lots = DatumGetInt32(values[ACCOUNT_LOTS]);
	account->posted = DatumGetPoints(values[ACCOUNT_POSTED]);
	account->live = DatumGetPoints(values[ACCOUNT_LIVE]);
	account->pending = DatumGetPoints(values[ACCOUNT_PENDING]);
	account->held = DatumGetPoints(values[ACCOUNT_HELD]);
	account->debt = DatumGetPoints(values[ACCOUNT_DEBT]);
	account->earned = DatumGetPoints(values[ACCOUNT_EARNED]);
	account->redeemed = DatumGetPoints(values[ACCOUNT_REDEEMED]);
	account->expired = DatumGetPoints(values[ACCOUNT_EXPIRED]);
	account->as_of = DatumGetTimestampTz(values[ACCOUNT_AS_OF]);
	account->next_change = DatumGetTimestampTz(values[ACCOUNT_NEXT_CHANGE]);
	account->clock_end = nulls[ACCOUNT_CLOCK_END] ? DT_NOBEGIN : DatumGetTimestampTz(values[ACCOUNT_CLOCK_END]);
	if (!nulls[ACCOUNT_TIER])
		account->tier = datumCopy(values[ACCOUNT_TIER], false, -1);
	if (!nulls[ACCOUNT_TIER_SINCE])
		account->tier_since = DatumGetTimestampTz(values[ACCOUNT_TIER_SINCE]);
	account->has_tier_until = !nulls[ACCOUNT_TIER_UNTIL];
	if (account->has_tier_until)
		account->tier_until = DatumGetTimestampTz(values[ACCOUNT_TIER_UNTIL]);
	if (!nulls[ACCOUNT_HEAD])
	{
		bytea	   *head = DatumGetByteaPP(values[ACCOUNT_HEAD]);

		memcpy(account->head, VARDATA_ANY(head), Min(VARSIZE_ANY_EXHDR(head), CHAIN_HASH_LEN));
	}
	account->key = DatumGetTextPCopy(values[ACCOUNT_KEY]);
	account->state = DatumGetInt32(values[ACCOUNT_STATE]);
	account->merged_into = nulls[ACCOUNT_MERGED_INTO] ? 0 : DatumGetInt64(values[ACCOUNT_MERGED_INTO]);
	ItemPointerCopy(&slot->tts_tid, &account->tid);
	return account;
}

static Lot *
add_lot(Account *account)
{
	Lot		   *lot = palloc0(sizeof(Lot));

	account->lots = array_grow(account->lots, account->nlots, &account->lots_room, sizeof(Lot *));
	account->lots[account->nlots++] = lot;
	return lot;
}

static Lot *
known_lot(Account *account, int32 lot_no)
{
	for (int i = 0; i < account->nlots; i++)
		if (account->lots[i]->lot_no == lot_no)
			return account->lots[i];
	return NULL;
}

static Lot *
read_new_lot(Account *account, TupleTableSlot *slot)
{
	Datum	   *values = slot->tts_values - 1;
	Lot		   *lot = add_lot(account);

	slot_getallattrs(slot);
	lot->lot_no = DatumGetInt32(values[LOT_NO]);
	lot->open = DatumGetBool(values[LOT_OPEN]);
	lot->dates.issued = DatumGetDateADT(values[LOT_ISSUED]);
	lot->dates.valid_from = DatumGetTimestampTz(values[LOT_VALID_FROM]);
	lot->dates.expires_at = DatumGetTimestampTz(values[LOT_EXPIRES_AT]);
	lot->on_clock = lot->dates.expires_at == LOT_ON_CLOCK;
	if (lot->on_clock)
		lot->dates.expires_at = account->clock_end;
	lot->earned_at = DatumGetTimestampTz(values[LOT_EARNED_AT]);
	lot->credited = DatumGetPoints(values[LOT_CREDITED]);
	lot->remaining = DatumGetPoints(values[LOT_REMAINING]);
	lot->held = DatumGetPoints(values[LOT_HELD]);
	lot->expired = DatumGetPoints(values[LOT_EXPIRED]);
	lot->waived = DatumGetPoints(values[LOT_WAIVED]);
	ItemPointerCopy(&slot->tts_tid, &lot->tid);
	return lot;
}

/* The lot of the row in slot: the one read before, or a new reading. */
static Lot *
read_lot(Account *account, TupleTableSlot *slot)
{
	bool		isnull;
	Lot		   *lot = known_lot(account, DatumGetInt32(slot_getattr(slot, LOT_NO, &isnull)));

	return lot != NULL ? lot : read_new_lot(account, slot);
}

/* Open lots of the account from an end on, or at exactly that end, in the order they pay. */
static TableScan *
scan_open_lots(Account *account, StrategyNumber strategy, TimestampTz expires_at)
{
	Post	   *post = account->post;
	TableKey	keys[3] = {
		{BTEqualStrategyNumber, Int64GetDatum(account->account_id)},
		{BTEqualStrategyNumber, BoolGetDatum(true)},
		{strategy, TimestampTzGetDatum(expires_at)}
	};

	post_table(post, &post->lot, "lot", LOT_NATTS);
	if (post->lot_open.scan != NULL && post->lot_open.keys[2].sk_strategy != strategy)
		table_scan_end(&post->lot_open);
	table_scan_probe(&post->lot_open, &post->lot, "lot_pkey", post->snapshot, 3, keys);
	return &post->lot_open;
}

void
account_read_open(Account *account)
{
	TableScan  *scan;

	if (account->all_open)
		return;
	scan = scan_open_lots(account, BTGreaterEqualStrategyNumber, DT_NOBEGIN);
	while (table_scan_next(scan))
		read_lot(account, account->post->lot.slot);
	account->all_open = true;
}

void
account_read_lots(Account *account)
{
	Post	   *post = account->post;
	TableScan	scan;
	TableKey	key = {BTEqualStrategyNumber, Int64GetDatum(account->account_id)};

	table_scan_begin(&scan, post_table(post, &post->lot, "lot", LOT_NATTS), "lot_pkey", post->snapshot, 1, &key);
	while (table_scan_next(&scan))
		read_lot(account, post->lot.slot);
	table_scan_end(&scan);
	account->all_open = true;
}

bool
lot_alive(const Lot *lot, TimestampTz at)
{
	return lot->dates.valid_from <= at && at < lot->dates.expires_at;
}

void
account_open_live(Account *account, TimestampTz at, LotCursor *cursor)
{
	Post	   *post = account->post;
	TableKey	keys[3] = {
		{BTEqualStrategyNumber, Int64GetDatum(account->account_id)},
		{BTEqualStrategyNumber, BoolGetDatum(true)},
		{BTGreaterStrategyNumber, TimestampTzGetDatum(at)}
	};

	memset(cursor, 0, sizeof(*cursor));
	cursor->account = account;
	cursor->at = at;
	cursor->first = account->nlots == 0;

	/* The index has lots of a clock last, whenever that ends. */
	if (account->clock_end != DT_NOBEGIN)
	{
		cursor->sorted = account_open_lots(account, lots_by_end, &cursor->nsorted);
		return;
	}
	post_table(post, &post->lot, "lot", LOT_NATTS);
	table_scan_begin(&cursor->scan, &post->lot, "lot_pkey", post->snapshot, 3, keys);
}

Lot *
account_next_live(LotCursor *cursor)
{
	Account    *account = cursor->account;

	for (;;)
	{
		TupleTableSlot *slot = account->post->lot.slot;
		Lot		   *lot;

		CHECK_FOR_INTERRUPTS();
		if (cursor->sorted != NULL)
		{
			if (cursor->next == cursor->nsorted)
				return NULL;
			lot = cursor->sorted[cursor->next++];
		}
		else
		{
			if (!table_scan_next(&cursor->scan))
				return NULL;
			lot = cursor->first ? read_new_lot(account, slot) : read_lot(account, slot);
		}
		if (lot_alive(lot, cursor->at) && lot->remaining > lot->held)
			return lot;
	}
}

void
account_close_live(LotCursor *cursor)
{
	if (cursor->sorted == NULL)
		table_scan_end(&cursor->scan);
}

Points
account_read_live(Account *account, TimestampTz at, Points wanted, Lot ***live, int *count)
{
	LotCursor	cursor;
	Lot		   *lot;
	Points		found = 0;
	int			room = 0;

	*live = NULL;
	*count = 0;
	account_open_live(account, at, &cursor);
	while (found < wanted && (lot = account_next_live(&cursor)) != NULL)
	{
		*live = array_grow(*live, *count, &room, sizeof(Lot *));
		(*live)[(*count)++] = lot;
		found = points_add(found, lot->remaining - lot->held);
	}
	account_close_live(&cursor);
	return found;
}

Lot *
account_lot(Account *account, int32 lot_no)
{
	Post	   *post = account->post;
	Lot		   *lot = known_lot(account, lot_no);
	TableKey	keys[2] = {
		{BTEqualStrategyNumber, Int64GetDatum(account->account_id)},
		{BTEqualStrategyNumber, Int32GetDatum(lot_no), LOT_KEY_NO}
	};

	if (lot != NULL)
		return lot;
	post_table(post, &post->lot, "lot", LOT_NATTS);
	table_scan_probe(&post->lot_by_no, &post->lot, "lot_pkey", post->snapshot, 2, keys);
	if (!table_scan_next(&post->lot_by_no))
		ereport(ERROR,
				(errcode(ERRCODE_LY_LEDGER_DAMAGED),
				 errmsg("lot %d of account " INT64_FORMAT " is not there", lot_no, account->account_id),
				 errhint("Something other than the ledger's functions writes it; run SELECT * FROM loyalty.verify().")));
	return read_lot(account, post->lot.slot);
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

static bool
same_dates(const Lot *lot, const LotDates *dates)
{
	return (lot->on_clock ? LOT_ON_CLOCK : lot->dates.expires_at) == dates->expires_at &&
		lot->dates.valid_from == dates->valid_from &&
		lot->dates.issued == dates->issued;
}

/*
 * An award joins a lot that is open and not dead, or that this visit opened:
 * whom a late award dies with must not hang on whether the expiry job came by.
 * One that is to be confirmed stays by itself.
 */
static bool
takes_award(const Account *account, const Lot *lot, const LotDates *dates)
{
	return same_dates(lot, dates) && lot->open && dates->valid_from != DT_NOEND &&
		(lot->fresh || lot->dates.expires_at > account->as_of);
}

/*
 * The end of a lot by the clock.  Any credit starts a clock that does not run;
 * what is too late even for a new one ended when that would have.
 */
static LotDates
dates_by_clock(Account *account, const LotDates *dates)
{
	LotDates	result = *dates;

	if (account->clock_end <= account->as_of)
	{
		if (dates->own_end > account->as_of)
			account_set_clock(account, dates->own_end);
		else
			result.expires_at = dates->own_end;
	}
	return result;
}

/* The lot of those dates that takes awards, or a new one. */
static Lot *
lot_for(Account *account, const LotDates *dates, TimestampTz earned_at)
{
	Lot		   *lot = account->last_used;
	LotDates	by_clock;

	if (dates->expires_at == LOT_ON_CLOCK)
	{
		by_clock = dates_by_clock(account, dates);
		dates = &by_clock;
	}
	if (lot != NULL && takes_award(account, lot, dates))
		return lot;
	for (int i = 0; i < account->nlots; i++)
		if (takes_award(account, account->lots[i], dates))
			return account->last_used = account->lots[i];

	if (account->stored_lots > 0 && !account->all_open && dates->expires_at > account->as_of &&
		dates->valid_from != DT_NOEND)
	{
		TableScan  *scan = scan_open_lots(account, BTEqualStrategyNumber, dates->expires_at);

		while (table_scan_next(scan))
		{
			lot = read_lot(account, account->post->lot.slot);
			if (takes_award(account, lot, dates))
				return account->last_used = lot;
		}
	}

	lot = add_lot(account);
	lot->lot_no = ++account->last_lot;
	lot->dates = *dates;
	lot->on_clock = dates->expires_at == LOT_ON_CLOCK;
	if (lot->on_clock)
		lot->dates.expires_at = account->clock_end;
	lot->earned_at = earned_at;
	lot->fresh = true;
	return account->last_used = lot;
}

/* ----------------------------------------------------------------
 *		Movements
 * ---------------------------------------------------------------- */

/* Moves points into (or, negative, out of) a lot, and the account's totals with it. */
static void
move(Account *account, Lot *lot, Points points)
{
	lot->remaining = points_add(lot->remaining, points);
	lot->open = lot->remaining > 0;
	lot->changed = true;
	if (lot->dates.expires_at <= account->as_of)
		return;
	account->next_change = Min(account->next_change, lot->dates.expires_at);
	if (lot->dates.valid_from > account->as_of)
	{
		account->pending = points_add(account->pending, points);
		account->next_change = Min(account->next_change, lot->dates.valid_from);
	}
	else
		account->live = points_add(account->live, points);
}

/* Brings the totals to a time, if a lot or a hold began or ended since. */
void
account_roll_forward(Account *account, TimestampTz time)
{
	if (time <= account->as_of)
		return;
	account->as_of = time;
	if (account->as_of < account->next_change)
		return;

	account_read_open(account);
	account->next_change = DT_NOEND;
	reserve_roll_forward(account);
	account->live = account->pending = account->held = 0;
	for (int i = 0; i < account->nlots; i++)
	{
		Lot		   *lot = account->lots[i];

		if (lot->dates.expires_at <= account->as_of)
			continue;
		account->next_change = Min(account->next_change, lot->dates.expires_at);
		if (lot->dates.valid_from > account->as_of)
		{
			account->pending += lot->remaining;
			account->next_change = Min(account->next_change, lot->dates.valid_from);
		}
		else
		{
			account->live += lot->remaining;
			account->held += lot->held;
		}
	}
}

Account *
account_dependent(Account *root, int64 account_id)
{
	Post	   *post = root->post;
	Account    *account;
	Account    *parent;

	check_stack_depth();
	if (account_id == root->account_id)
		return root->state == ACCOUNT_MERGED ? NULL : root;
	for (int i = 0; i < root->ndependents; i++)
		if (root->dependents[i]->account_id == account_id)
			return root->dependents[i];

	if (!find_row(post, account_id, NULL))
		refuse_missing(account_id);
	account = read_account(post, post->account.slot);
	parent = account->merged_into == 0 ? NULL : account_dependent(root, account->merged_into);
	if (parent == NULL)
		return NULL;
	account->parent = parent;
	account->clock_end = parent->clock_end;
	account_roll_forward(account, parent->as_of);
	root->dependents = root->ndependents == 0 ? palloc(sizeof(Account *) * 4) :
		root->ndependents % 4 == 0 ? repalloc(root->dependents, sizeof(Account *) * (root->ndependents + 4)) :
		root->dependents;
	return root->dependents[root->ndependents++] = account;
}

void
refuse_gone(const Account *account)
{
	if (account->state == ACCOUNT_MERGED)
		ereport(ERROR,
				(errcode(ERRCODE_LY_MEMBER_MERGED),
				 errmsg("the member was merged into another"),
				 errdetail("The points are there."),
				 errhint("Name the member that loyalty.members shows in merged_into.")));
	if (account->state == ACCOUNT_CLOSED)
		ereport(ERROR,
				(errcode(ERRCODE_LY_MEMBER_CLOSED),
				 errmsg("the member is closed"),
				 errdetail("No points are earned, spent or received any more."),
				 errhint("loyalty.reopen_member() makes the member one again.")));
}

Account *
account_root(Account *account)
{
	while (account->parent != NULL)
		account = account->parent;
	return account;
}

bool
account_is_closed(Account *account)
{
	return account_root(account)->state == ACCOUNT_CLOSED;
}

/* ----------------------------------------------------------------
 *		The clock
 *
 * Points that end by activity end all at once, a time after the last entry of
 * certain kinds.  When that will be is kept with the account, so that an entry
 * changes no lot; such a lot's own end is LOT_ON_CLOCK until the clock has run
 * out and its end is booked, or another clock starts.
 *
 * Accounts that were merged into one have its clock, and get it as they are
 * read; what their rows say of it is as of when they were written.
 * ---------------------------------------------------------------- */

/*
 * Every lot of a clock that ran out ended with it, those too that something may yet be given back to,
 * and those of who was merged into this one: they are to get nothing that comes to live by the next.
 */
static void
end_lots_of_clock(Account *account)
{
	Account    *root = account_root(account);
	int64	   *merged;
	int			n;

	if (account->stored_lots > 0)
		account_read_lots(account);
	for (int i = 0; i < account->nlots; i++)
	{
		Lot		   *lot = account->lots[i];

		lot->changed |= lot->on_clock;
		account->changed |= lot->on_clock;
		lot->on_clock = false;
	}
	n = merged_accounts(account, &merged);
	for (int i = 0; i < n; i++)
	{
		Account    *dependent = account_dependent(root, merged[i]);

		if (dependent != NULL)
			end_lots_of_clock(dependent);
	}
}

static void
move_clock(Account *account, TimestampTz end)
{
	account->clock_end = end;
	for (int i = 0; i < account->nlots; i++)
		if (account->lots[i]->on_clock)
			account->lots[i]->dates.expires_at = end;
	for (int i = 0; i < account->ndependents; i++)
		move_clock(account->dependents[i], end);
}

/* Of an account that was merged it is that of who has its points. */
void
account_set_clock(Account *account, TimestampTz end)
{
	Account    *root = account_root(account);

	if (root->clock_end != DT_NOBEGIN && root->clock_end <= root->as_of)
		end_lots_of_clock(root);
	move_clock(root, end);
	root->changed = true;
}

void
account_join_clock(Account *account, Account *into)
{
	if (account->clock_end > account->as_of)
	{
		if (account->clock_end > into->clock_end)
			account_set_clock(into, account->clock_end);
	}
	else if (account->clock_end != DT_NOBEGIN)
		end_lots_of_clock(account);
	move_clock(account, into->clock_end);
}

/* It is never set back, and what came late does not bring the dead to life. */
static void
restart_clock(Account *account, TimestampTz event_time)
{
	TimestampTz end = clock_end(account->currency, event_time);

	if (end > account->as_of && end > account->clock_end)
		account_set_clock(account, end);
}

static Entry *
add_entry(Account *account, EntryKind kind, TimestampTz event_time)
{
	Entry	   *entry;

	account->entries = array_grow(account->entries, account->nentries, &account->entries_room, sizeof(Entry));
	if (account->last_entry + 1 >= ENTRIES_PER_ACCOUNT)
		ereport(ERROR,
				(errcode(ERRCODE_LY_ACCOUNT_FULL),
				 errmsg("account " INT64_FORMAT " has no entry number left", account->account_id),
				 errdetail("An account holds " INT64_FORMAT " entries.", ENTRIES_PER_ACCOUNT - 1),
				 errhint("Spread what it collects over several members.")));
	entry = &account->entries[account->nentries++];
	memset(entry, 0, sizeof(*entry));
	entry->entry_no = ++account->last_entry;
	entry->kind = kind;
	entry->event_time = event_time;
	account->changed = true;
	return entry;
}

Entry *
account_entry(Account *account, EntryKind kind, TimestampTz event_time)
{
	if ((account->currency->activity & activity_of[kind]) != 0)
		restart_clock(account, event_time);
	return add_entry(account, kind, event_time);
}

Entry *
account_correction(Account *account)
{
	return add_entry(account, ENTRY_EARN, account->post->now);
}

void
account_shift_metric(Account *account, TimestampTz from, TimestampTz to, Points points, Points spend, int visits)
{
	account->shifts = account->nshifts == 0 ? palloc(sizeof(MetricShift)) :
		repalloc(account->shifts, sizeof(MetricShift) * (account->nshifts + 1));
	account->shifts[account->nshifts++] = (MetricShift) {from, to, points, spend, visits};
	account->changed = true;
}

Allocation *
account_allocate(Account *account, const Entry *entry, int32 lot_no, Points points)
{
	Allocation *allocation = palloc0(sizeof(Allocation));
	Allocation *last = account->nallocations ? account->allocations[account->nallocations - 1] : NULL;

	account->allocations = array_grow(account->allocations, account->nallocations, &account->allocations_room,
									  sizeof(Allocation *));
	account->allocations[account->nallocations++] = allocation;
	allocation->entry_no = entry->entry_no;
	allocation->allocation_no = last && last->entry_no == entry->entry_no ? last->allocation_no + 1 : 1;
	allocation->lot_no = lot_no;
	allocation->points = points;
	allocation->fresh = true;
	return allocation;
}

/* Points into (or, negative, out of) an entry, and the account's totals that one of its kind is part of. */
static void
book(Account *account, Entry *entry, Points points)
{
	entry->points = points_add(entry->points, points);
	account->posted = points_add(account->posted, points);
	switch (entry->kind)
	{
		case ENTRY_EARN:
		case ENTRY_REVERSE:
			account->earned = points_add(account->earned, points);
			break;
		case ENTRY_REDEEM:
		case ENTRY_GIVEBACK:
			account->redeemed = points_sub(account->redeemed, points);
			break;
		case ENTRY_EXPIRE:
		case ENTRY_FORFEIT:
			account->expired = points_sub(account->expired, points);
			break;
		default:
			break;
	}
}

/*
 * A credit repays the debt before it reaches a lot.  The entry says which lot
 * took all of it, or its allocations say who took what.
 */
static Points
repay(Account *account, Entry *entry, Points points)
{
	Points		repaid = Min(points, account->debt);

	book(account, entry, points);
	if (repaid > 0)
	{
		account->debt -= repaid;
		account_allocate(account, entry, DEBT_LOT, repaid);
	}
	return points - repaid;
}

void
account_credit_lot(Account *account, Entry *entry, Points points, Lot *lot)
{
	Points		rest = repay(account, entry, points);

	if (rest == 0)
		return;
	if (rest == points && entry->kind != ENTRY_GIVEBACK && entry->kind != ENTRY_TRANSFER &&
		entry->kind != ENTRY_MERGE)
		entry->lot_no = lot->lot_no;
	else
		account_allocate(account, entry, lot->lot_no, rest);
	lot->credited = points_add(lot->credited, rest);
	move(account, lot, rest);
}

Lot *
account_credit(Account *account, Entry *entry, Points points, const LotDates *dates)
{
	Lot		   *lot = NULL;

	/* No lot for what the debt swallows whole. */
	if (points > account->debt)
	{
		lot = lot_for(account, dates, entry->event_time);
		account_credit_lot(account, entry, points, lot);
	}
	else if (points > 0)
		(void) repay(account, entry, points);
	return lot;
}

void
account_debit_lot(Account *account, Entry *entry, Points points, Lot *lot)
{
	book(account, entry, -points);
	account_allocate(account, entry, lot->lot_no, -points);
	move(account, lot, -points);
}

void
account_empty_lot(Account *account, Entry *entry, Points points, Lot *lot)
{
	entry->lot_no = lot->lot_no;
	book(account, entry, -points);
	move(account, lot, -points);
}

void
account_return_dead(Account *account, Entry *entry, Points points, Lot *lot)
{
	book(account, entry, points);
	account_allocate(account, entry, lot->lot_no, points);
	lot->credited = points_add(lot->credited, points);
	move(account, lot, points);
}

/* Books the end of what is left in a lot, dated when it ended. */
void
account_expire_lot(Account *account, Lot *lot)
{
	Entry	   *entry = account_entry(account, ENTRY_EXPIRE, lot->dates.expires_at);
	Points		points = lot->remaining - lot->held;

	/* What was never confirmed was never earned. */
	if (lot->dates.valid_from == DT_NOEND)
	{
		entry->unconfirmed = points;
		entry->metric_time = lot->earned_at;
	}
	lot->on_clock = false;
	lot->expired = points_add(lot->expired, points);
	account_empty_lot(account, entry, points, lot);
}

/* More debt, or less. */
void
account_change_debt(Account *account, Entry *entry, Points more)
{
	account->debt = points_add(account->debt, more);
	book(account, entry, -more);
	account_allocate(account, entry, DEBT_LOT, -more);
}

int
lots_by_end(const void *a, const void *b)
{
	const Lot  *x = *(Lot *const *) a;
	const Lot  *y = *(Lot *const *) b;

	if (x->dates.expires_at != y->dates.expires_at)
		return x->dates.expires_at < y->dates.expires_at ? -1 : 1;
	if (x->earned_at != y->earned_at)
		return x->earned_at < y->earned_at ? -1 : 1;
	return x->lot_no < y->lot_no ? -1 : x->lot_no > y->lot_no;
}

Lot **
account_open_lots(Account *account, int (*order) (const void *, const void *), int *n)
{
	Lot		  **lots;

	account_read_open(account);
	*n = account->nlots;
	lots = palloc(sizeof(Lot *) * Max(*n, 1));
	if (*n > 0)
		memcpy(lots, account->lots, sizeof(Lot *) * *n);
	qsort(lots, *n, sizeof(Lot *), order);
	return lots;
}

/*
 * Books a lot's end if it is past: what a reversal does next must not hang on
 * whether the expiry job came by before it.
 */
Lot *
account_settle_lot(Account *account, int32 lot_no)
{
	Lot		   *lot = account_lot(account, lot_no);

	if (lot->dates.expires_at <= account->as_of && lot->remaining > lot->held)
		account_expire_lot(account, lot);
	return lot;
}

/* What is left of all lots ends now; of those that are dead already it ended when they died. */
void
account_forfeit(Account *account)
{
	Entry	   *entry = NULL;
	int			n;
	Lot		  **lots = account_open_lots(account, lots_by_end, &n);

	for (int i = 0; i < n; i++)
		(void) account_settle_lot(account, lots[i]->lot_no);

	/* What was never confirmed was never earned: by itself, as when it expires. */
	for (int waiting = 1; waiting >= 0; waiting--)
		for (int i = 0; i < n; i++)
		{
			Points		points = lots[i]->remaining - lots[i]->held;

			if (points == 0 || (lots[i]->dates.valid_from == DT_NOEND) != waiting)
				continue;
			if (entry == NULL || waiting)
				entry = account_entry(account, ENTRY_FORFEIT, account->post->now);
			if (waiting)
			{
				entry->unconfirmed = points;
				entry->metric_time = lots[i]->earned_at;
			}
			lots[i]->expired = points_add(lots[i]->expired, points);
			account_debit_lot(account, entry, points, lots[i]);
			if (waiting)
				entry = NULL;
		}
	pfree(lots);
}

/*
 * Takes earned points back: from the award's own (settled) lot, then from other
 * live lots by soonest end, then by the currency's debt policy.  What of the own
 * lot had expired is not taken again; entry->forgiven holds what was let off.
 */
void
account_take_back(Account *account, Entry *entry, Points points, Lot *own)
{
	Points		left = points;
	Points		part;

	if (own != NULL)
	{
		part = Min(left, own->remaining - own->held);
		if (part == left)
		{
			account_empty_lot(account, entry, part, own);
			return;
		}
		if (part > 0)
		{
			account_debit_lot(account, entry, part, own);
			left -= part;
		}
		part = Min(left, own->expired - own->waived);
		if (part > 0)
		{
			own->waived += part;
			own->changed = true;
			entry->forgiven = points_add(entry->forgiven, part);
			if (own->dates.valid_from == DT_NOEND)
				entry->unconfirmed -= part;
			left -= part;
		}
		if (left > 0 && account->parent != NULL)
		{
			part = merged_waive(account, own, left, true);
			entry->forgiven = points_add(entry->forgiven, part);
			left -= part;
		}
	}

	if (left > 0)
	{
		int			n;
		Lot		  **lots = account_open_lots(account, lots_by_end, &n);

		for (int i = 0; i < n && left > 0; i++)
		{
			if (lots[i] == own || !lot_alive(lots[i], account->as_of))
				continue;
			part = Min(left, lots[i]->remaining - lots[i]->held);
			if (part > 0)
			{
				account_debit_lot(account, entry, part, lots[i]);
				left -= part;
			}
		}
		pfree(lots);
	}

	if (left > 0)
	{
		if (account->currency->debt == DEBT_FORGIVE)
		{
			entry->forgiven = points_add(entry->forgiven, left);
			if (own != NULL && own->held > 0 && lot_alive(own, account->as_of))
				reserve_owe(account, own, left);
		}
		else
			account_change_debt(account, entry, left);
	}
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
	values[LOT_ISSUED] = DateADTGetDatum(lot->dates.issued);
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
	table_queue_row(&post->entry, slot);
}

/* The account row first, since its update is the lock; false: start the visit again. */
static bool
store_visit(Account *account)
{
	Post	   *post = account->post;
	uint8	  (*hashes)[CHAIN_HASH_LEN] = palloc(Max(account->nentries, 1) * CHAIN_HASH_LEN);
	const uint8 *previous = account->head;

	if (account->nentries > 0 && post->actor_id == 0)
		post->actor_id = actor_now(post);
	for (int i = 0; i < account->nentries; i++)
	{
		Entry	   *entry = &account->entries[i];

		entry->actor_id = post->actor_id;
		chain_hash(account->account_id, entry, kind_text(entry->kind), post->now, previous, hashes[i]);
		previous = hashes[i];
	}
	if (account->nentries > 0)
		memcpy(account->head, previous, CHAIN_HASH_LEN);

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
		account_forfeit(account);
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
		if (table_lock_row(&post->account, tid, post->snapshot))
			return true;
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
		if (!find_row(post, account_id, hint))
			refuse_missing(account_id);
		account = read_account(post, post->account.slot);
		account_roll_forward(account, post->now);
		work(account, arg);
		if (account->state != ACCOUNT_OPEN || account->ndependents > 0)
			end_work(account);
		review(account);
		Assert(!(post->reading && account->changed));
		if (!account->changed || store_visit(account))
		{
			store_dependents(account);
			break;
		}

		/* Somebody else was first.  Wait for our turn, and look again. */
		new_snapshot(post);
		hint = NULL;
		if (lock_root(post, account_id, account->dependents, account->ndependents, &tid))
		{
			new_snapshot(post);
			hint = &tid;
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
	MemoryContext context = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;
	bool		all;

	if (n == 1)
		return table_lock_row(&post->account, &roots[0].tid, post->snapshot);

	/* A row in the slot is pinned for whoever is the owner then. */
	ExecClearTuple(post->account.slot);
	BeginInternalSubTransaction(NULL);
	PG_TRY();
	{
		all = lock_each(post, roots, n);
		ExecClearTuple(post->account.slot);
		if (all)
			ReleaseCurrentSubTransaction();
		else
			RollbackAndReleaseCurrentSubTransaction();
		MemoryContextSwitchTo(context);
		CurrentResourceOwner = owner;
	}
	PG_CATCH();
	{
		ErrorData  *error;

		MemoryContextSwitchTo(context);
		error = CopyErrorData();
		FlushErrorState();
		RollbackAndReleaseCurrentSubTransaction();
		MemoryContextSwitchTo(context);
		CurrentResourceOwner = owner;
		ReThrowError(error);
	}
	PG_END_TRY();
	return all;
}

void
post_lock_roots(Post *post, const int64 *accounts, int n)
{
	Root	   *roots = palloc(sizeof(Root) * Max(n, 1));
	bool		locked = n == 0;

	while (!locked)
	{
		int			nroots = 0;

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
	pfree(roots);
	post_restart(post);
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
		if (!find_row(post, ids[i], locked[i] ? &tids[i] : NULL))
			refuse_missing(ids[i]);
		accounts[i] = read_account(post, post->account.slot);

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
