/*
 * giveback.c
 *		Returning redeemed points to the very lots that paid.
 *
 * The last lot that paid is the first to get back; no lot gets back more than
 * it paid, and none is given a longer life by it unless the caller grants one.
 */
#include "postgres.h"

#include "access/nbtree.h"
#include "utils/builtins.h"

#include "base/errors.h"
#include "spend/spend.h"

PG_FUNCTION_INFO_V1(loyalty_giveback);

typedef struct Giveback
{
	Request		request;
	int32		redeem_no;
	bool		all;
	Points		points;
	Interval   *grace;
	text	   *reason;
	int64		answer;
	int32		entry_no;
} Giveback;

int64
split_entry_id(int64 entry_id, int32 *entry_no)
{
	*entry_no = (int32) (entry_id % ENTRIES_PER_ACCOUNT);
	if (entry_id <= 0 || *entry_no == 0)
		ereport(ERROR,
				(errcode(ERRCODE_LY_UNKNOWN_ENTRY),
				 errmsg("entry " INT64_FORMAT " does not exist", entry_id),
				 errdetail("No entry has such an id."),
				 errhint("Use the id that loyalty.redeem() answered.")));
	return entry_id / ENTRIES_PER_ACCOUNT;
}

/* The allocations of a redemption, in the order they paid, in account->allocations. */
static void
read_redemption(Account *account, int32 entry_no)
{
	Post	   *post = account->post;
	TableScan	scan;
	TableKey	keys[2] = {
		{BTEqualStrategyNumber, Int64GetDatum(account->account_id)},
		{BTEqualStrategyNumber, Int32GetDatum(entry_no)}
	};
	Table	   *table = post_table(post, &post->entry, "entry", ENTRY_NATTS);
	bool		redeemed = false;

	table_scan_begin(&scan, table, "entry_pkey", post->snapshot, 2, keys);
	if (table_scan_next(&scan))
	{
		bool		isnull;
		Datum		kind = slot_getattr(table->slot, ENTRY_KIND, &isnull);

		redeemed = strcmp(TextDatumGetCString(kind), entry_kind_name(ENTRY_REDEEM)) == 0;
	}
	table_scan_end(&scan);
	if (!redeemed)
		ereport(ERROR,
				(errcode(ERRCODE_LY_UNKNOWN_ENTRY),
				 errmsg("entry " INT64_FORMAT " is not a redemption", ENTRY_ID(account->account_id, entry_no)),
				 errdetail("Only redeemed points can be given back."),
				 errhint("Use the id that loyalty.redeem() answered.")));

	table = post_table(post, &post->allocation, "allocation", ALLOCATION_NATTS);
	table_scan_begin(&scan, table, "allocation_pkey", post->snapshot, 2, keys);
	while (table_scan_next(&scan))
	{
		Datum	   *values = table->slot->tts_values - 1;
		Allocation *allocation;
		Entry		paid = {.entry_no = entry_no};

		slot_getallattrs(table->slot);
		allocation = account_allocate(account, &paid, DatumGetInt32(values[ALLOCATION_LOT]),
									  DatumGetPoints(values[ALLOCATION_POINTS]));
		allocation->allocation_no = DatumGetInt32(values[ALLOCATION_NO]);
		allocation->returned = DatumGetPoints(values[ALLOCATION_RETURNED]);
		allocation->fresh = false;
		ItemPointerCopy(&table->slot->tts_tid, &allocation->tid);
	}
	table_scan_end(&scan);
}

static void
give_back(Account *account, void *arg)
{
	Giveback   *giveback = arg;
	Points		returnable = 0;
	Points		left;
	int			npaid;
	int32	   *dead;
	int			ndead = 0;
	Entry	   *entry;

	giveback->answer = request_answer(account->post, &giveback->request);
	if (giveback->answer != 0)
		return;

	read_redemption(account, giveback->redeem_no);
	npaid = account->nallocations;
	for (int i = 0; i < npaid; i++)
		returnable += -account->allocations[i]->points - account->allocations[i]->returned;
	left = giveback->all ? returnable : giveback->points;
	if (left > returnable || left == 0)
	{
		char		text[POINTS_MAXLEN];

		points_print(returnable, text);
		ereport(ERROR,
				(errcode(ERRCODE_LY_GIVEBACK_BEYOND),
				 errmsg("more would be given back than was redeemed"),
				 errdetail("%s points of this redemption are left to give back.", text),
				 errhint("Leave the points out to give back all that is left.")));
	}
	if (!giveback->all)
		check_points(account->currency, left);

	entry = account_entry(account, ENTRY_GIVEBACK, account->post->now);
	entry->reverses = giveback->redeem_no;
	entry->reason = giveback->reason;
	entry->event = giveback->request.id;
	giveback->entry_no = entry->entry_no;
	dead = palloc(sizeof(int32) * Max(npaid, 1));
	for (int i = npaid - 1; i >= 0 && left > 0; i--)
	{
		Allocation *paid = account->allocations[i];
		Points		part = Min(left, -paid->points - paid->returned);
		Lot		   *lot;

		if (part == 0)
			continue;
		lot = account_lot(account, paid->lot_no);
		paid->returned = points_add(paid->returned, part);
		left -= part;
		if (lot->dates.expires_at > account->as_of)
			account_credit_lot(account, entry, part, lot);
		else if (giveback->grace != NULL)
		{
			LotDates	dates = lot->dates;

			dates.expires_at = timestamptz_plus(account->currency->program,
												account->post->now, giveback->grace);
			account_credit(account, entry, part, &dates);
		}
		else
		{
			account_return_dead(account, entry, part, lot);
			dead[ndead++] = lot->lot_no;
		}
	}

	/* What died meanwhile comes back dead. */
	for (int i = 0; i < ndead; i++)
		account_settle_lot(account, dead[i]);
}

/* giveback(entry_id, points, request_id, reason, grace) */
Datum
loyalty_giveback(PG_FUNCTION_ARGS)
{
	Giveback	giveback = {{0}};
	Post		post;
	int64		account_id;
	const Currency *currency;

	require_argument(fcinfo, 0, "entry_id");
	account_id = split_entry_id(PG_GETARG_INT64(0), &giveback.redeem_no);
	giveback.all = PG_ARGISNULL(1);
	giveback.points = giveback.all ? 0 : PG_GETARG_POINTS(1);
	giveback.request.id = ARG_TEXT_OR_NULL(2);
	giveback.reason = ARG_TEXT_OR_NULL(3);
	giveback.grace = PG_ARGISNULL(4) ? NULL : PG_GETARG_INTERVAL_P(4);
	if (giveback.grace != NULL &&
		(giveback.grace->month < 0 || giveback.grace->day < 0 || giveback.grace->time < 0 ||
		 giveback.grace->month + giveback.grace->day + giveback.grace->time == 0))
		ereport(ERROR,
				(errcode(ERRCODE_LY_INVALID_TIME),
				 errmsg("the grace must be longer than nothing"),
				 errdetail("It counts from now, and no part of it may be negative."),
				 errhint("Leave it out to give expired points back expired.")));

	post_begin(&post);
	currency = post_account_currency(&post, account_id);
	if (currency == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_LY_UNKNOWN_ENTRY),
				 errmsg("entry " INT64_FORMAT " does not exist", PG_GETARG_INT64(0)),
				 errdetail("No entry has such an id."),
				 errhint("Use the id that loyalty.redeem() answered.")));
	program_check_access(currency->program->program_id);
	if (!giveback.all)
		check_points(currency, giveback.points);
	giveback.request.program_id = currency->program->program_id;
	if (giveback.request.id != NULL)
	{
		char		text[POINTS_MAXLEN];
		char	   *grace = "";

		points_print(giveback.points, text);
		if (giveback.grace != NULL)
			grace = psprintf(" grace %d %d " INT64_FORMAT, giveback.grace->month, giveback.grace->day,
							 giveback.grace->time);
		giveback.request.content = psprintf("giveback %s entry " INT64_FORMAT "%s%s",
											giveback.all ? "all" : text, PG_GETARG_INT64(0), grace,
											reason_content(giveback.reason));
	}
	post_account(&post, account_id, NULL, give_back, &giveback);
	if (giveback.answer == 0)
		request_keep(&post, &giveback.request, account_id, giveback.entry_no);
	post_end(&post);
	PG_RETURN_INT64(giveback.answer != 0 ? giveback.answer : ENTRY_ID(account_id, giveback.entry_no));
}
