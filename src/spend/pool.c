/*
 * pool.c
 *		Redeeming from a pool: the points of several accounts, as if of one.
 *
 * The lots of all accounts that may be taken from pay soonest end first, ties
 * by the earlier award, then by the lower account.  They are merged from a
 * walk along each account's index of open lots: the cost hangs on the accounts
 * and on the lots touched, not on the lots owned.  The one walk finds whether
 * there is enough and which lots pay.
 *
 * Locks: the pool's row, so that nobody joins, leaves or is given another
 * permission meanwhile, then the accounts in ascending order.
 */
#include "postgres.h"

#include "access/nbtree.h"
#include "lib/pairingheap.h"
#include "utils/builtins.h"
#include "utils/numeric.h"

#include "base/array.h"
#include "base/errors.h"
#include "spend/pool.h"
#include "spend/spend.h"

PG_FUNCTION_INFO_V1(loyalty_pool_redeem);

/* Columns of loyalty.pool and loyalty.pool_member */
enum
{
	POOL_ID = 1, POOL_PROGRAM, POOL_CURRENCY, POOL_CODE, POOL_CREATED_AT, POOL_CLOSED_AT, POOL_CHANGES,
	POOL_NATTS = POOL_CHANGES
};
enum
{
	POOL_MEMBER_POOL = 1, POOL_MEMBER_ACCOUNT, POOL_MEMBER_NO, POOL_MEMBER_REDEEMS, POOL_MEMBER_SHARE, POOL_MEMBER_KEEP,
	POOL_MEMBER_JOINED_AT, POOL_MEMBER_LEFT_AT,
	POOL_MEMBER_NATTS = POOL_MEMBER_LEFT_AT
};

/* An account of the pool, and what others of it may take at once. */
typedef struct Lender
{
	int64		account_id;
	Numeric		share;
	Points		keep;
} Lender;

typedef struct Redemption
{
	Request		request;
	Table	   *payment;
	int32		pool_id;
	int64		member_id;		/* who redeems */
	int64		account_id;		/* that member's */
	Points		points;
	text	   *reason;
	Lender	   *lenders;		/* by account, the redeeming member's among them */
	int			nlenders;
	int64	   *merged;			/* of the pool, but their points are elsewhere */
	int			nmerged;
	int64		answer;
	int64		first_account;
	int32		first_entry;
} Redemption;

/* An account while it pays: the lot it would pay with next, and what it may pay still. */
typedef struct Payer
{
	pairingheap_node node;
	Account    *account;
	LotCursor	cursor;
	Lot		   *next;
	Points		limit;
	Entry	   *entry;			/* NULL: it has paid nothing */
	int			allocations;
} Payer;

typedef struct Portion
{
	Payer	   *payer;
	Lot		   *lot;
	Points		points;
} Portion;

/* ----------------------------------------------------------------
 *		Who pays what
 * ---------------------------------------------------------------- */

/* What of its points a member lends, no finer than the currency. */
static Points
lent(const Account *account, const Lender *lender, Points spendable)
{
	Datum		part = DirectFunctionCall2(numeric_mul, NumericGetDatum(lender->share),
										   NumericGetDatum(int64_to_numeric(spendable / account->currency->unit)));
	Points		share = DatumGetInt64(DirectFunctionCall1(numeric_int8, DirectFunctionCall1(numeric_floor, part)));

	return Min(share * account->currency->unit, spendable - lender->keep);
}

static Points
limit(const Redemption *redemption, const Account *account, const Lender *lender)
{
	Points		spendable = account->live - account->held - account->debt;

	if (account->account_id != redemption->account_id)
	{
		if (account->currency->debt == DEBT_BLOCK && account->debt > 0)
			return 0;
		if (spendable > 0)
			spendable = lent(account, lender, spendable);
	}
	return Max(spendable, 0);
}

/* The heap's first is who pays first. */
static int
compare_payers(const pairingheap_node *a, const pairingheap_node *b, void *arg)
{
	const Payer *x = pairingheap_const_container(Payer, node, a);
	const Payer *y = pairingheap_const_container(Payer, node, b);

	if (x->next->dates.expires_at != y->next->dates.expires_at)
		return x->next->dates.expires_at < y->next->dates.expires_at ? 1 : -1;
	if (x->next->earned_at != y->next->earned_at)
		return x->next->earned_at < y->next->earned_at ? 1 : -1;
	return x->account->account_id < y->account->account_id ? 1 : -1;
}

/* What each lot pays, in that order; LY301 when there is not enough. */
static Portion *
collect(Payer *payers, int n, Points points, int *count)
{
	pairingheap *heap = pairingheap_allocate(compare_payers, NULL);
	int			room = 0;
	Portion	   *portions = NULL;
	Points		missing = points;

	*count = 0;
	for (int i = 0; i < n; i++)
	{
		Payer	   *payer = &payers[i];

		if (payer->limit == 0)
			continue;
		account_open_live(payer->account, payer->account->as_of, &payer->cursor);
		payer->next = account_next_live(&payer->cursor);
		if (payer->next != NULL)
			pairingheap_add(heap, &payer->node);
		else
			account_close_live(&payer->cursor);
	}
	while (missing > 0 && !pairingheap_is_empty(heap))
	{
		Payer	   *payer = pairingheap_container(Payer, node, pairingheap_remove_first(heap));
		Points		part = Min(Min(missing, payer->limit), payer->next->remaining - payer->next->held);

		portions = array_grow(portions, *count, &room, sizeof(Portion));
		portions[(*count)++] = (Portion) {payer, payer->next, part};
		payer->limit -= part;
		missing -= part;
		payer->next = payer->limit > 0 && missing > 0 ? account_next_live(&payer->cursor) : NULL;
		if (payer->next != NULL)
			pairingheap_add(heap, &payer->node);
		else
			account_close_live(&payer->cursor);
	}
	if (missing > 0)
	{
		char		text[POINTS_MAXLEN];

		points_print(missing, text);
		ereport(ERROR,
				(errcode(ERRCODE_LY_INSUFFICIENT_POINTS),
				 errmsg("not enough points"),
				 errdetail("%s points are missing.", text),
				 errhint("See loyalty.pool_balance() for what a member can redeem from a pool now.")));
	}
	while (!pairingheap_is_empty(heap))
		account_close_live(&pairingheap_container(Payer, node, pairingheap_remove_first(heap))->cursor);
	pairingheap_free(heap);
	return portions;
}

static void
keep_payment(const Redemption *redemption, int payment_no, Payer *payer)
{
	TupleTableSlot *slot = table_new_row(redemption->payment);
	Datum	   *values = slot->tts_values - 1;

	values[PAYMENT_ACCOUNT] = Int64GetDatum(redemption->first_account);
	values[PAYMENT_ENTRY] = Int32GetDatum(redemption->first_entry);
	values[PAYMENT_NO] = Int32GetDatum(payment_no);
	values[PAYMENT_PAYER] = Int64GetDatum(payer->account->account_id);
	values[PAYMENT_PAYER_ENTRY] = Int32GetDatum(payer->entry->entry_no);
	values[PAYMENT_ALLOCATION] = Int32GetDatum(++payer->allocations);
	table_queue_row(redemption->payment, slot);
}

static void
redeem_work(Account **accounts, int n, void *arg)
{
	Redemption *redemption = arg;
	Payer	   *payers = palloc0(sizeof(Payer) * n);
	Portion	   *portions;
	int			count;
	text	   *line = NULL;

	/* A call with the same id that is no redemption from this pool did not wait for the pool. */
	(void) request_answer(accounts[0]->post, &redemption->request);
	for (int i = 0; i < n; i++)
	{
		if (accounts[i]->account_id == redemption->account_id)
		{
			refuse_gone(accounts[i]);
			refuse_blocked(accounts[i]);
		}
		payers[i].account = accounts[i];
		payers[i].limit = accounts[i]->state == ACCOUNT_MERGED ? 0 :
			limit(redemption, accounts[i], &redemption->lenders[i]);
	}
	portions = collect(payers, n, redemption->points, &count);

	/* The first entry gives the redemption its id, so who pays must be known before it is made. */
	for (int i = 0; i < count; i++)
		portions[i].payer->allocations = 1;
	for (int i = 0; i < n; i++)
	{
		Payer	   *payer = &payers[i];

		if (payer->allocations == 0)
			continue;
		payer->allocations = 0;
		payer->entry = account_entry(payer->account, ENTRY_REDEEM, payer->account->post->now);
		if (line == NULL)
		{
			redemption->first_account = payer->account->account_id;
			redemption->first_entry = payer->entry->entry_no;
			payer->entry->event = redemption->request.id;
			line = cstring_to_text(psprintf(INT64_FORMAT "/%d/" INT64_FORMAT,
											ENTRY_ID(redemption->first_account, redemption->first_entry),
											redemption->pool_id, redemption->member_id));
		}
		payer->entry->line = line;
		payer->entry->reason = redemption->reason;
	}
	for (int i = 0; i < count; i++)
	{
		account_debit_lot(portions[i].payer->account, portions[i].payer->entry, portions[i].points, portions[i].lot);
		keep_payment(redemption, i + 1, portions[i].payer);
	}
}

int
pool_payments(Post *post, int64 account_id, int32 entry_no, Payment **payments)
{
	Table		table;
	TableScan	scan;
	TableKey	keys[2] = {
		{BTEqualStrategyNumber, Int64GetDatum(account_id)},
		{BTEqualStrategyNumber, Int32GetDatum(entry_no)}
	};
	int			n = 0;
	int			room = 0;

	*payments = NULL;
	table_open_for_read(&table, "pool_payment", PAYMENT_NATTS);
	table_scan_begin(&scan, &table, "pool_payment_pkey", post->snapshot, 2, keys);
	while (table_scan_next(&scan))
	{
		Datum	   *values = table.slot->tts_values - 1;

		slot_getallattrs(table.slot);
		*payments = array_grow(*payments, n, &room, sizeof(Payment));
		(*payments)[n++] = (Payment) {
			DatumGetInt64(values[PAYMENT_PAYER]), DatumGetInt32(values[PAYMENT_PAYER_ENTRY]),
			DatumGetInt32(values[PAYMENT_ALLOCATION])
		};
	}
	table_scan_end(&scan);
	table_finish(&table);
	return n;
}

/* ----------------------------------------------------------------
 *		The pool
 * ---------------------------------------------------------------- */

/* The pool of that code, its row in table->slot. */
static const Currency *
find_pool(Post *post, Table *table, const Program *program, const text *code, int32 *pool_id)
{
	TableScan	scan;
	TableKey	keys[2] = {
		{BTEqualStrategyNumber, Int32GetDatum(program->program_id)},
		{BTEqualStrategyNumber, PointerGetDatum(code)}
	};
	bool		found;
	const Currency *currency = NULL;
	bool		isnull;

	table_scan_begin(&scan, table, "pool_key", post->snapshot, 2, keys);
	found = table_scan_next(&scan);
	if (found)
	{
		*pool_id = DatumGetInt32(slot_getattr(table->slot, POOL_ID, &isnull));
		currency = currency_by_id(DatumGetInt32(slot_getattr(table->slot, POOL_CURRENCY, &isnull)));
	}
	table_scan_end(&scan);
	if (!found)
		ereport(ERROR,
				(errcode(ERRCODE_LY_UNKNOWN_POOL),
				 errmsg("program \"%s\" has no pool \"%s\"", program->code, text_to_cstring(code)),
				 errdetail("No pool of the program has this code."),
				 errhint("Create it with loyalty.create_pool().")));
	return currency;
}

/*
 * Nothing of the pool changes from here on.  A snapshot from before a change
 * is told by the row's new version.
 */
static void
lock_pool(Post *post, Table *table, bool *closed)
{
	ItemPointerData tid = table->slot->tts_tid;

	while (!table_lock_row(table, &tid, post->snapshot))
		;
	*closed = !slot_attisnull(table->slot, POOL_CLOSED_AT);
	post_renew(post);
}

/* The redeeming member must be there and be allowed to; of the others, those who lend something. */
static void
read_members(Post *post, Redemption *redemption)
{
	Table		table;
	TableScan	scan;
	TableKey	key = {BTEqualStrategyNumber, Int32GetDatum(redemption->pool_id)};
	int			room = 0;
	int			merged_room = 0;
	bool		there = false;
	bool		redeems = false;

	redemption->lenders = NULL;
	redemption->merged = NULL;
	redemption->nlenders = redemption->nmerged = 0;
	table_open_for_read(&table, "pool_member", POOL_MEMBER_NATTS);
	table_scan_begin(&scan, &table, "pool_member_now_idx", post->snapshot, 1, &key);
	while (table_scan_next(&scan))
	{
		Datum	   *values = table.slot->tts_values - 1;
		Lender		lender;
		ItemPointerData tid;

		slot_getallattrs(table.slot);
		lender.account_id = DatumGetInt64(values[POOL_MEMBER_ACCOUNT]);
		lender.share = DatumGetNumericCopy(values[POOL_MEMBER_SHARE]);
		lender.keep = DatumGetPoints(values[POOL_MEMBER_KEEP]);
		if (lender.account_id == redemption->account_id)
		{
			there = true;
			redeems = DatumGetBool(values[POOL_MEMBER_REDEEMS]);
		}
		else if (DatumGetBool(DirectFunctionCall2(numeric_eq, NumericGetDatum(lender.share), NumericGetDatum(int64_to_numeric(0)))))
			continue;
		/* One that was merged has nothing, and is written under another's lock: it is not waited for. */
		else if (post_root(post, lender.account_id, &tid) != lender.account_id)
		{
			redemption->merged = array_grow(redemption->merged, redemption->nmerged, &merged_room, sizeof(int64));
			redemption->merged[redemption->nmerged++] = lender.account_id;
			continue;
		}
		redemption->lenders = array_grow(redemption->lenders, redemption->nlenders, &room, sizeof(Lender));
		redemption->lenders[redemption->nlenders++] = lender;
	}
	table_scan_end(&scan);
	table_finish(&table);

	if (!there)
		ereport(ERROR,
				(errcode(ERRCODE_LY_NOT_IN_POOL),
				 errmsg("the member is not in the pool"),
				 errdetail("Only its members redeem from a pool, and none who has left it."),
				 errhint("See loyalty.pool_members; loyalty.join_pool() takes a member in.")));
	if (!redeems)
		ereport(ERROR,
				(errcode(ERRCODE_LY_POOL_FORBIDDEN),
				 errmsg("the member may not redeem from the pool"),
				 errdetail("The member is in it without the permission to redeem."),
				 errhint("loyalty.join_pool() with redeems => true gives it.")));
}

/*
 * Whether one who was merged is still so is settled by the locks of those who have the points, as what
 * they have is.  All are taken in the order of ids, before any that others may wait for.
 */
static void
lock_for_merged(Post *post, Redemption *redemption)
{
	int			n = redemption->nlenders + redemption->nmerged;
	int64	   *ids = palloc(sizeof(int64) * n);

	for (int i = 0; i < redemption->nlenders; i++)
		ids[i] = redemption->lenders[i].account_id;
	memcpy(ids + redemption->nlenders, redemption->merged, sizeof(int64) * redemption->nmerged);
	(void) post_lock_roots(post, ids, n, NULL);
	read_members(post, redemption);
}

/* redeem_pool(program, pool, member, points, request_id, reason) */
Datum
loyalty_pool_redeem(PG_FUNCTION_ARGS)
{
	Redemption	redemption = {{0}};
	const Program *program;
	const Currency *currency;
	const text *key;
	Post		post;
	Table		pool;
	Table		payment;
	ItemPointerData tid;
	bool		closed;

	require_argument(fcinfo, 0, "program");
	require_argument(fcinfo, 1, "pool");
	require_argument(fcinfo, 2, "member");
	require_argument(fcinfo, 3, "points");
	program = program_by_code(PG_GETARG_TEXT_PP(0));
	key = PG_GETARG_TEXT_PP(2);
	redemption.points = PG_GETARG_POINTS(3);
	redemption.request.id = ARG_TEXT_OR_NULL(4);
	redemption.reason = ARG_TEXT_OR_NULL(5);

	post_begin(&post);
	table_open_for_write(&pool, "pool", POOL_NATTS, post.estate);
	currency = find_pool(&post, &pool, program, PG_GETARG_TEXT_PP(1), &redemption.pool_id);
	check_points(currency, redemption.points);
	redemption.member_id = post_find_member(&post, program->program_id, key);
	if (redemption.member_id == 0)
		refuse_unknown_member(program);
	redemption.account_id = post_find_account(&post, currency->currency_id, key, &tid);
	lock_pool(&post, &pool, &closed);

	/* Before all that may have changed since the first answer. */
	redemption.request.program_id = program->program_id;
	if (redemption.request.id != NULL)
	{
		char		text[POINTS_MAXLEN];

		points_print(-redemption.points, text);
		redemption.request.content = psprintf("redeem %s pool %d member " INT64_FORMAT "%s", text, redemption.pool_id,
											  redemption.member_id, reason_content(redemption.reason));
	}
	redemption.answer = request_answer(&post, &redemption.request);
	if (redemption.answer == 0)
	{
		int64	   *ids;

		if (closed)
			ereport(ERROR,
					(errcode(ERRCODE_LY_POOL_CLOSED),
					 errmsg("the pool is closed"),
					 errdetail("Everybody left it when it was closed."),
					 errhint("Points can still be given back; for new redemptions create another pool.")));
		read_members(&post, &redemption);
		if (redemption.nmerged > 0)
			lock_for_merged(&post, &redemption);
		ids = palloc(sizeof(int64) * redemption.nlenders);
		for (int i = 0; i < redemption.nlenders; i++)
			ids[i] = redemption.lenders[i].account_id;
		table_open_for_write(&payment, "pool_payment", PAYMENT_NATTS, post.estate);
		redemption.payment = &payment;
		post_several(&post, ids, redemption.nlenders, redeem_work, &redemption);
		table_finish(&payment);
		redemption.answer = ENTRY_ID(redemption.first_account, redemption.first_entry);
		request_keep(&post, &redemption.request, redemption.first_account, redemption.first_entry);
	}
	table_finish(&pool);
	post_end(&post);
	PG_RETURN_INT64(redemption.answer);
}
