/*
 * hold.c
 *		Reserving points for a time: hold, capture and release.
 *
 * A hold takes the lots that redeem() would take and leaves the points in
 * them.  It is an entry of no points, so that it has a number, a place in the
 * chain and an answer to its request; a capture is a redemption that names it,
 * a release an entry of no points that does.  A hold that is past its end is
 * over whether anything was written or not.
 */
#include "postgres.h"

#include "base/errors.h"
#include "ledger/reserve.h"
#include "spend/spend.h"

PG_FUNCTION_INFO_V1(loyalty_hold);
PG_FUNCTION_INFO_V1(loyalty_hold_capture);
PG_FUNCTION_INFO_V1(loyalty_hold_release);

typedef struct Holding
{
	Request		request;
	int32		hold_no;
	bool		all;
	Points		points;
	TimestampTz ends_at;
	text	   *reason;
	int64		answer;
	int32		entry_no;
} Holding;

static void
hold_work(Account *account, void *arg)
{
	Holding    *holding = arg;
	Entry	   *entry;
	Lot		  **lots;
	int			count;
	Points		left = holding->points;

	holding->answer = request_answer(account->post, &holding->request);
	if (holding->answer != 0)
		return;
	refuse_gone(account);
	refuse_blocked(account);
	count = spendable_lots(account, account->as_of, left, &lots);

	entry = account_entry(account, ENTRY_HOLD, account->post->now);
	entry->base = left;
	entry->reason = holding->reason;
	entry->event = holding->request.id;
	holding->entry_no = entry->entry_no;
	for (int i = 0; i < count && left > 0; i++)
	{
		Points		part = Min(left, lots[i]->remaining - lots[i]->held);

		reserve_lot(account, entry, lots[i], part, holding->ends_at);
		left -= part;
	}
}

/* hold(program, member, points, ttl, request_id, reason, currency) */
Datum
loyalty_hold(PG_FUNCTION_ARGS)
{
	Holding		holding = {{0}};
	const Currency *currency;
	Interval   *ttl;
	Post		post;
	ItemPointerData tid;
	int64		account_id;

	require_argument(fcinfo, 0, "program");
	require_argument(fcinfo, 1, "member");
	require_argument(fcinfo, 2, "points");
	require_argument(fcinfo, 3, "ttl");
	currency = program_currency(program_of_member(PG_GETARG_TEXT_PP(0), PG_GETARG_TEXT_PP(1)), ARG_TEXT_OR_NULL(6));
	holding.points = PG_GETARG_POINTS(2);
	check_points(currency, holding.points);
	ttl = PG_GETARG_INTERVAL_P(3);
	if (ttl->month < 0 || ttl->day < 0 || ttl->time < 0 ||
		(ttl->month == 0 && ttl->day == 0 && ttl->time == 0))
		ereport(ERROR,
				(errcode(ERRCODE_LY_INVALID_TIME),
				 errmsg("a hold must last longer than nothing"),
				 errdetail("Its time counts from now, and no part of it may be negative."),
				 errhint("Give the time by which the points will be captured or not needed, such as '15 minutes'.")));
	holding.request.id = ARG_TEXT_OR_NULL(4);
	holding.reason = ARG_TEXT_OR_NULL(5);

	post_begin(&post);
	holding.ends_at = timestamptz_plus(currency->program, post.now, ttl);
	account_id = spend_account(&post, currency, PG_GETARG_TEXT_PP(1), &tid);
	holding.request.program_id = currency->program->program_id;
	if (holding.request.id != NULL)
	{
		char		text[POINTS_MAXLEN];

		points_print(holding.points, text);
		holding.request.content = psprintf("hold %s account " INT64_FORMAT " ttl %d %d " INT64_FORMAT "%s",
										   text, account_id, ttl->month, ttl->day, ttl->time,
										   reason_content(holding.reason));
	}
	post_account(&post, account_id, &tid, hold_work, &holding);
	PG_RETURN_INT64(request_finish(&post, &holding.request, holding.answer, account_id, holding.entry_no));
}

static _Noreturn void
refuse_unknown(int64 hold_id)
{
	ereport(ERROR,
			(errcode(ERRCODE_LY_UNKNOWN_ENTRY),
			 errmsg("hold " INT64_FORMAT " does not exist", hold_id),
			 errdetail("No hold has such an id."),
			 errhint("Use the id that loyalty.hold() answered.")));
}

/*
 * What a hold kept of each lot; LY004.  Answers how much is left; *rest is a
 * lot that some of it is left of, and all of those were released, or end, alike.
 */
static Points
read_holds(Account *account, int32 hold_no, Hold ***holds, int *count, const Hold **rest)
{
	Points		left = 0;

	*rest = NULL;
	reserve_read(account, hold_no, holds, count);
	if (*count == 0)
		refuse_unknown(ENTRY_ID(account->account_id, hold_no));
	for (int i = 0; i < *count; i++)
	{
		const Hold *hold = (*holds)[i];

		left += hold->points - hold->captured;
		if (hold->captured < hold->points)
			*rest = hold;
	}
	return left;
}

static void
capture_work(Account *account, void *arg)
{
	Holding    *holding = arg;
	Hold	  **holds;
	int			count;
	const Hold *rest;
	Points		available;
	Points		left;
	Entry	   *entry;

	holding->answer = request_answer(account->post, &holding->request);
	if (holding->answer != 0)
		return;
	available = read_holds(account, holding->hold_no, &holds, &count, &rest);
	left = holding->all ? available : holding->points;

	if (rest != NULL && rest->released)
		ereport(ERROR,
				(errcode(ERRCODE_LY_HOLD_RELEASED),
				 errmsg("the hold was released"),
				 errdetail("It was released at %s.", timestamptz_to_str(rest->released_at)),
				 errhint("Hold the points again, or redeem them.")));
	if (rest != NULL && rest->ends_at <= account->as_of)
		ereport(ERROR,
				(errcode(ERRCODE_LY_HOLD_EXPIRED),
				 errmsg("the hold has expired"),
				 errdetail("It ended at %s.", timestamptz_to_str(rest->ends_at)),
				 errhint("Hold the points again, or redeem them; a longer time for the hold keeps them longer.")));
	if (left > available || left == 0)
	{
		char		text[POINTS_MAXLEN];

		points_print(available, text);
		ereport(ERROR,
				(errcode(ERRCODE_LY_CAPTURE_BEYOND),
				 errmsg("more would be captured than is held"),
				 errdetail("%s points of this hold are left to capture.", text),
				 errhint("Leave the points out to capture all that is left.")));
	}

	entry = account_entry(account, ENTRY_REDEEM, account->post->now);
	reserve_order(holds, count);
	entry->reverses = holding->hold_no;
	entry->reason = holding->reason;
	entry->event = holding->request.id;
	holding->entry_no = entry->entry_no;
	for (int i = 0; i < count && left > 0; i++)
	{
		Points		part = Min(left, holds[i]->points - holds[i]->captured);

		if (part == 0)
			continue;
		reserve_capture(account, entry, holds[i], part);
		left -= part;
	}
}

/* capture(hold_id, points, request_id, reason) */
Datum
loyalty_hold_capture(PG_FUNCTION_ARGS)
{
	Holding		holding = {{0}};
	Post		post;
	const Currency *currency;
	ItemPointerData tid;
	int64		hold_id;
	int64		account_id;

	require_argument(fcinfo, 0, "hold_id");
	hold_id = PG_GETARG_INT64(0);
	holding.all = PG_ARGISNULL(1);
	holding.points = holding.all ? 0 : PG_GETARG_POINTS(1);
	holding.request.id = ARG_TEXT_OR_NULL(2);
	holding.reason = ARG_TEXT_OR_NULL(3);

	post_begin(&post);
	currency = post_entry_currency(&post, hold_id, &account_id, &holding.hold_no, &tid);
	if (currency == NULL)
		refuse_unknown(hold_id);
	if (!holding.all)
		check_points(currency, holding.points);
	holding.request.program_id = currency->program->program_id;
	if (holding.request.id != NULL)
	{
		char		text[POINTS_MAXLEN];

		points_print(holding.points, text);
		holding.request.content = psprintf("capture %s hold " INT64_FORMAT "%s", holding.all ? "all" : text,
										   hold_id, reason_content(holding.reason));
	}
	post_account(&post, account_id, &tid, capture_work, &holding);
	PG_RETURN_INT64(request_finish(&post, &holding.request, holding.answer, account_id, holding.entry_no));
}

static void
release_work(Account *account, void *arg)
{
	Holding    *holding = arg;
	Hold	  **holds;
	int			count;
	const Hold *rest;

	/* A hold that is over, however it ended, has nothing left to release. */
	holding->points = 0;
	(void) read_holds(account, holding->hold_no, &holds, &count, &rest);
	if (rest == NULL || !rest->open)
		return;
	account_entry(account, ENTRY_RELEASE, account->post->now)->reverses = holding->hold_no;
	reserve_order(holds, count);
	for (int i = 0; i < count; i++)
	{
		if (!holds[i]->open)
			continue;
		holding->points += holds[i]->points - holds[i]->captured;
		reserve_release(account, holds[i]);

		/* What died meanwhile is released dead. */
		(void) account_settle_lot(account, holds[i]->lot->lot_no);
	}
}

/* release(hold_id) */
Datum
loyalty_hold_release(PG_FUNCTION_ARGS)
{
	Holding		holding = {{0}};
	Post		post;
	ItemPointerData tid;
	int64		account_id;

	require_argument(fcinfo, 0, "hold_id");
	post_begin(&post);
	if (post_entry_currency(&post, PG_GETARG_INT64(0), &account_id, &holding.hold_no, &tid) == NULL)
		refuse_unknown(PG_GETARG_INT64(0));
	post_account(&post, account_id, &tid, release_work, &holding);
	post_end(&post);
	PG_RETURN_POINTS(holding.points);
}
