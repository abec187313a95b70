/*
 * membership.c
 *		Two members who are one person, and members who are members no more.
 *
 * A member has an account of each currency from here on, all of them merged or
 * closed together; SQL opens them and names them here, the first currency's
 * first.  All accounts whose state changes are locked in the order of their ids
 * before any is read.
 */
#include "postgres.h"

#include "access/nbtree.h"
#include "catalog/pg_type.h"
#include "utils/builtins.h"

#include "base/array.h"
#include "base/errors.h"
#include "ledger/merged.h"
#include "ledger/request.h"
#include "status/tiering.h"

PG_FUNCTION_INFO_V1(loyalty_membership_merge);
PG_FUNCTION_INFO_V1(loyalty_membership_unmerge);
PG_FUNCTION_INFO_V1(loyalty_membership_close);
PG_FUNCTION_INFO_V1(loyalty_membership_reopen);
PG_FUNCTION_INFO_V1(loyalty_membership_erase);

typedef struct Change
{
	Request		request;
	bool		first;			/* of the member's accounts: that which answers */
	bool		forfeit;
	int64		account_id;
	int32		entry_no;
	int64		answer;
	text	   *reason;
	text	   *key;
} Change;

/* What a hold keeps would be lost to who holds it. */
static void
refuse_held(Account *account)
{
	account_read_open(account);
	for (int i = 0; i < account->nlots; i++)
		if (account->lots[i]->held > 0)
			ereport(ERROR,
					(errcode(ERRCODE_LY_POINTS_HELD),
					 errmsg("points of the member are held"),
					 errdetail("A hold is open."),
					 errhint("Capture or release it first, or wait for its end; loyalty.holds shows it.")));
}

/* ----------------------------------------------------------------
 *		Merging, and undoing it
 * ---------------------------------------------------------------- */

static void
merge_work(Account *from, Account *into, void *arg)
{
	Change	   *change = arg;
	TimestampTz now = Max(from->as_of, into->as_of);

	if (change->first)
		change->answer = request_answer(from->post, &change->request);
	if (change->answer != 0)
		return;
	refuse_gone(from);
	refuse_gone(into);

	/* One clock for both, or a lot could be passed on alive that is dead there. */
	account_roll_forward(from, now);
	account_roll_forward(into, now);
	refuse_held(from);

	/* While it is a root: what waits there does not count for the tier, and lives by the clock. */
	merged_read(from);
	account_join_clock(from, into);
	from->state = ACCOUNT_MERGED;
	from->merged_into = into->account_id;
	from->parent = into;
	merged_begin(from, change->first ? change->request.id : NULL, change->reason, &change->entry_no);
	tiering_join(from);
}

/* _merge(from bigint[], into bigint[], program_id, request_id, reason): the entry, NULL if it had been done before */
Datum
loyalty_membership_merge(PG_FUNCTION_ARGS)
{
	Change		change = {{0}};
	Post		post;
	int			n;
	int			ninto;
	const int64 *from = array_int64s(PG_GETARG_ARRAYTYPE_P(0), &n);
	const int64 *into = array_int64s(PG_GETARG_ARRAYTYPE_P(1), &ninto);
	int64	   *both = palloc(sizeof(int64) * 2 * Max(n, 1));
	int32		entry_no = 0;

	if (n == 0 || n != ninto)
		elog(ERROR, "the two members do not have accounts of the same currencies");
	change.request.program_id = PG_GETARG_INT32(2);
	change.request.id = ARG_TEXT_OR_NULL(3);
	change.reason = ARG_TEXT_OR_NULL(4);
	change.request.content = psprintf("merge account " INT64_FORMAT " into account " INT64_FORMAT "%s",
									  from[0], into[0], reason_content(change.reason));
	memcpy(both, from, sizeof(int64) * n);
	memcpy(both + n, into, sizeof(int64) * n);

	post_begin(&post);
	(void) post_lock_roots(&post, both, 2 * n, NULL);
	for (int i = 0; i < n && change.answer == 0; i++)
	{
		change.first = i == 0;
		post_pair(&post, from[i], into[i], merge_work, &change);
		if (i == 0)
			entry_no = change.entry_no;
		post_restart(&post);
	}
	if (change.answer == 0)
		request_keep(&post, &change.request, from[0], entry_no);
	post_end(&post);
	PG_RETURN_INT64(change.answer != 0 ? -change.answer : ENTRY_ID(from[0], entry_no));
}

static void
unmerge_work(Account *account, void *arg)
{
	Change	   *change = arg;
	Account    *root = account_root(account);

	if (change->first)
		change->answer = request_answer(account->post, &change->request);
	if (change->answer != 0)
		return;
	if (account->state != ACCOUNT_MERGED)
		ereport(ERROR,
				(errcode(ERRCODE_LY_MEMBER_NOT_MERGED),
				 errmsg("the member is not merged into another"),
				 errdetail("Nothing is there to be undone."),
				 errhint("Name the member that was merged, not the one that has the points; loyalty.members shows both.")));
	tiering_leave(account);
	merged_end(account, change->first ? change->request.id : NULL, change->reason, &change->entry_no);
	tiering_resume(root);
	tiering_resume(account);
}

/* _unmerge(accounts bigint[], program_id, request_id, reason) */
Datum
loyalty_membership_unmerge(PG_FUNCTION_ARGS)
{
	Change		change = {{0}};
	Post		post;
	int			n;
	const int64 *accounts = array_int64s(PG_GETARG_ARRAYTYPE_P(0), &n);
	int32		entry_no = 0;

	if (n == 0)
		elog(ERROR, "the member has no account");
	change.request.program_id = PG_GETARG_INT32(1);
	change.request.id = ARG_TEXT_OR_NULL(2);
	change.reason = ARG_TEXT_OR_NULL(3);
	change.request.content = psprintf("unmerge account " INT64_FORMAT "%s", accounts[0], reason_content(change.reason));

	post_begin(&post);
	(void) post_lock_roots(&post, accounts, n, NULL);
	for (int i = 0; i < n && change.answer == 0; i++)
	{
		change.first = i == 0;
		post_account_wherever(&post, accounts[i], unmerge_work, &change);
		if (i == 0)
			entry_no = change.entry_no;
		post_restart(&post);
	}
	if (change.answer == 0)
		request_keep(&post, &change.request, accounts[0], entry_no);
	post_end(&post);
	PG_RETURN_INT64(change.answer != 0 ? -change.answer : ENTRY_ID(accounts[0], entry_no));
}

/* ----------------------------------------------------------------
 *		Closing and reopening
 * ---------------------------------------------------------------- */

static void
close_work(Account *account, void *arg)
{
	Change	   *change = arg;
	Points		left;

	refuse_gone(account);
	refuse_held(account);
	merged_read(account);
	left = points_add(account->live, account->pending);
	for (int i = 0; i < account->ndependents; i++)
		left = points_add(left, account->dependents[i]->pending);
	if (left > 0 && !change->forfeit)
	{
		char		text[POINTS_MAXLEN];

		points_print(left, text);
		ereport(ERROR,
				(errcode(ERRCODE_LY_POINTS_LEFT),
				 errmsg("the member still has points"),
				 errdetail("%s points of currency \"%s\" are left.", text, account->currency->code),
				 errhint("Redeem or transfer them first, or close with forfeit => true.")));
	}

	/* The end of the visit takes what is left. */
	account->state = ACCOUNT_CLOSED;
	account->changed = true;
}

static void
reopen_work(Account *account, void *arg)
{
	if (account->state == ACCOUNT_MERGED)
		refuse_gone(account);
	if (account->state != ACCOUNT_CLOSED)
		ereport(ERROR,
				(errcode(ERRCODE_LY_MEMBER_NOT_CLOSED),
				 errmsg("the member is not closed"),
				 errdetail("Nothing is there to be reopened."),
				 errhint("loyalty.members shows who is.")));
	account->state = ACCOUNT_OPEN;
	account->changed = true;
	tiering_resume(account);
}

static void
visit_each(ArrayType *copy, AccountWork work, Change *change)
{
	Post		post;
	int			n;
	int64	   *accounts = array_int64s(copy, &n);

	qsort(accounts, n, sizeof(int64), post_compare_ids);
	post_begin(&post);
	(void) post_lock_roots(&post, accounts, n, NULL);
	for (int i = 0; i < n; i++)
		post_account(&post, accounts[i], NULL, work, change);
	post_end(&post);
}

/* _close(accounts bigint[], forfeit) */
Datum
loyalty_membership_close(PG_FUNCTION_ARGS)
{
	Change		change = {.forfeit = PG_GETARG_BOOL(1)};

	visit_each(PG_GETARG_ARRAYTYPE_P_COPY(0), close_work, &change);
	PG_RETURN_VOID();
}

/* _reopen(accounts bigint[]) */
Datum
loyalty_membership_reopen(PG_FUNCTION_ARGS)
{
	Change		change = {{0}};

	visit_each(PG_GETARG_ARRAYTYPE_P_COPY(0), reopen_work, &change);
	PG_RETURN_VOID();
}

/* ----------------------------------------------------------------
 *		Erasing
 * ---------------------------------------------------------------- */

static void
rename_work(Account *account, void *arg)
{
	account->key = ((Change *) arg)->key;
	account->changed = true;
}

/* A copy of the row in table->slot, to be changed. */
static TupleTableSlot *
copy_row(Table *table, ItemPointer tid)
{
	TupleTableSlot *slot = table_changed_row(table);

	slot_getallattrs(table->slot);
	memcpy(slot->tts_values, table->slot->tts_values, sizeof(Datum) * slot->tts_tupleDescriptor->natts);
	memcpy(slot->tts_isnull, table->slot->tts_isnull, sizeof(bool) * slot->tts_tupleDescriptor->natts);
	ItemPointerCopy(&table->slot->tts_tid, tid);
	return slot;
}

static void
replace_row(Post *post, Table *table, ItemPointer tid, TupleTableSlot *slot)
{
	ExecStoreVirtualTuple(slot);
	if (!table_replace_row(table, tid, slot, post->snapshot))
		elog(ERROR, "a row of table \"%s\" changed although its account is locked",
			 RelationGetRelationName(table->rel));
}

static void
rename_member(Post *post, int64 member_id, text *key)
{
	Table		table;
	TableScan	scan;
	TableKey	find = {BTEqualStrategyNumber, Int64GetDatum(member_id)};

	table_open_for_write(&table, "member", MEMBER_NATTS, post->estate);
	table_scan_begin(&scan, &table, "member_pkey", post->snapshot, 1, &find);
	if (table_scan_next(&scan))
	{
		ItemPointerData tid;
		TupleTableSlot *slot = copy_row(&table, &tid);

		slot->tts_values[MEMBER_KEY - 1] = PointerGetDatum(key);
		replace_row(post, &table, &tid, slot);
	}
	table_scan_end(&scan);
	table_finish(&table);
}

/* A request says what it was for in words of ours, and then the caller's reason. */
static void
erase_request(Post *post, int32 program_id, Datum request_id)
{
	Table	   *table = post_table(post, &post->request, "request", REQUEST_NATTS);
	TableScan	scan;
	TableKey	keys[2] = {
		{BTEqualStrategyNumber, Int32GetDatum(program_id)},
		{BTEqualStrategyNumber, request_id}
	};

	table_scan_begin(&scan, table, "request_pkey", post->snapshot, 2, keys);
	if (table_scan_next(&scan))
	{
		ItemPointerData tid;
		TupleTableSlot *slot = copy_row(table, &tid);
		char	   *content = TextDatumGetCString(slot->tts_values[REQUEST_CONTENT - 1]);
		char	   *reason = strstr(content, " reason ");

		if (reason != NULL)
		{
			*reason = '\0';
			slot->tts_values[REQUEST_CONTENT - 1] = CStringGetTextDatum(content);
			ExecStoreVirtualTuple(slot);

			/* If not, who is on the other side was erased meanwhile. */
			(void) table_replace_row(table, &tid, slot, post->snapshot);
		}
	}
	table_scan_end(&scan);
}

/* The other side of a transfer gave the same reason, and its request; so did who else paid from a pool.  Only these rows are touched, which nothing else changes. */
static void
erase_other_side(Post *post, Table *table, const char *index, int64 entry_id, int32 program_id)
{
	TableScan	scan;
	TableKey	keys[2] = {
		{BTEqualStrategyNumber, Int64GetDatum(entry_id / ENTRIES_PER_ACCOUNT)},
		{BTEqualStrategyNumber, Int32GetDatum((int32) (entry_id % ENTRIES_PER_ACCOUNT))}
	};

	table_scan_begin(&scan, table, index, post->snapshot, 2, keys);
	if (table_scan_next(&scan))
	{
		ItemPointerData tid;
		TupleTableSlot *slot = copy_row(table, &tid);

		if (!slot->tts_isnull[ENTRY_REASON - 1])
		{
			if (!slot->tts_isnull[ENTRY_EVENT - 1])
				erase_request(post, program_id, slot->tts_values[ENTRY_EVENT - 1]);
			slot->tts_isnull[ENTRY_REASON - 1] = true;
			ExecStoreVirtualTuple(slot);

			/* If not, the other one was erased meanwhile. */
			(void) table_replace_row(table, &tid, slot, post->snapshot);
		}
	}
	table_scan_end(&scan);
}

static void
erase_reasons(Post *post, Table *archived_entry, bool archived, int64 account_id, int32 program_id)
{
	Table	   *entry = post_table(post, &post->entry, "entry", ENTRY_NATTS);
	Table	   *table = archived ? archived_entry : entry;
	TableScan	scan;
	TableKey	key = {BTEqualStrategyNumber, Int64GetDatum(account_id)};
	int64	   *others = NULL;
	int			n = 0;
	int			room = 0;

	/* Rows replaced on the way are not seen again: the snapshot is older than they are. */
	table_scan_begin(&scan, table, archived ? "archived_entry_pkey" : "entry_pkey", post->snapshot, 1, &key);
	while (table_scan_next(&scan))
	{
		ItemPointerData tid;
		Datum	   *values = table->slot->tts_values - 1;
		bool	   *nulls = table->slot->tts_isnull - 1;

		slot_getallattrs(table->slot);
		if (nulls[ENTRY_SOURCE] && !nulls[ENTRY_EVENT])
			erase_request(post, program_id, values[ENTRY_EVENT]);
		if (!nulls[ENTRY_REASON])
		{
			TupleTableSlot *slot = copy_row(table, &tid);
			EntryKind	kind = entry_kind_of(values[ENTRY_KIND]);

			if (kind == ENTRY_TRANSFER || kind == ENTRY_MERGE)
			{
				others = array_grow(others, n, &room, sizeof(int64));
				others[n++] = pg_strtoint64(TextDatumGetCString(values[ENTRY_LINE]));
			}
			slot->tts_isnull[ENTRY_REASON - 1] = true;
			replace_row(post, table, &tid, slot);
		}
	}
	table_scan_end(&scan);
	for (int i = 0; i < n; i++)
	{
		erase_other_side(post, entry, "entry_pkey", others[i], program_id);
		erase_other_side(post, archived_entry, "archived_entry_pkey", others[i], program_id);
	}
}

/* _erase(members bigint[], keys text[], accounts bigint[], account_keys text[], program_id, paid_by_others bigint[]) */
Datum
loyalty_membership_erase(PG_FUNCTION_ARGS)
{
	Change		change = {{0}};
	Post		post;
	int			nmembers;
	int			naccounts;
	int			nkeys;
	const int64 *members = array_int64s(PG_GETARG_ARRAYTYPE_P(0), &nmembers);
	const int64 *accounts = array_int64s(PG_GETARG_ARRAYTYPE_P(2), &naccounts);
	Datum	   *keys;
	Datum	   *account_keys;
	int			nothers;
	const int64 *others = array_int64s(PG_GETARG_ARRAYTYPE_P(5), &nothers);
	Table		archived_entry;
	int32		program_id = PG_GETARG_INT32(4);

	deconstruct_array(PG_GETARG_ARRAYTYPE_P(1), TEXTOID, -1, false, TYPALIGN_INT, &keys, NULL, &nkeys);
	if (nkeys != nmembers)
		elog(ERROR, "expected a key for each member");
	deconstruct_array(PG_GETARG_ARRAYTYPE_P(3), TEXTOID, -1, false, TYPALIGN_INT, &account_keys, NULL, &nkeys);
	if (nkeys != naccounts)
		elog(ERROR, "expected a key for each account");

	post_begin(&post);
	(void) post_lock_roots(&post, accounts, naccounts, NULL);
	for (int i = 0; i < naccounts; i++)
	{
		change.key = DatumGetTextPP(account_keys[i]);
		post_account_wherever(&post, accounts[i], rename_work, &change);
		post_restart(&post);
	}
	table_open_for_write(&archived_entry, "archived_entry", ENTRY_NATTS, post.estate);
	for (int i = 0; i < naccounts; i++)
	{
		erase_reasons(&post, &archived_entry, false, accounts[i], program_id);
		erase_reasons(&post, &archived_entry, true, accounts[i], program_id);
		post_restart(&post);	/* what the other side of a pair has done */
	}
	for (int i = 0; i < nothers; i++)
	{
		erase_other_side(&post, post_table(&post, &post.entry, "entry", ENTRY_NATTS), "entry_pkey", others[i], program_id);
		erase_other_side(&post, &archived_entry, "archived_entry_pkey", others[i], program_id);
	}
	table_finish(&archived_entry);
	for (int i = 0; i < nmembers; i++)
		rename_member(&post, members[i], DatumGetTextPP(keys[i]));
	post_end(&post);
	PG_RETURN_VOID();
}
