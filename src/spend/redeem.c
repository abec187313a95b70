/*
 * redeem.c
 *		Spending points: redeem and adjust.
 *
 * Lots pay soonest end first, ties by the earlier award.  The walk along the
 * index that finds whether there is enough also finds which lots pay, and ends
 * as soon as there is: the cost hangs on the lots touched, not on those owned.
 */
#include "postgres.h"

#include "utils/builtins.h"

#include "base/errors.h"
#include "spend/spend.h"

PG_FUNCTION_INFO_V1(loyalty_redeem);
PG_FUNCTION_INFO_V1(loyalty_redeem_adjust);

typedef struct Spending
{
	Request		request;
	EntryKind	kind;
	Points		points;
	text	   *reason;
	int64		answer;			/* given before, or 0 */
	int32		entry_no;
} Spending;

void
check_points(const Currency *currency, Points points)
{
	if (points <= 0)
		ereport(ERROR,
				(errcode(ERRCODE_LY_INVALID_POINTS),
				 errmsg("points to move must be above zero"),
				 errdetail("A movement says its direction by its name, not by a sign."),
				 errhint("Use loyalty.giveback() or loyalty.adjust() for the other direction.")));
	if (points % currency->unit != 0)
		ereport(ERROR,
				(errcode(ERRCODE_LY_INVALID_POINTS),
				 errmsg("points are finer than currency \"%s\"", currency->code),
				 errdetail("The currency has %d decimals.", currency->decimals),
				 errhint("Round them first.")));
}

void
spend_accounts(Post *post, const Currency *currency, const text **keys, int n, int64 *accounts, ItemPointer tid)
{
	int64	   *missing = palloc(sizeof(int64) * n);
	int			nmissing = 0;

	for (int i = 0; i < n; i++)
	{
		accounts[i] = post_find_account(post, currency->currency_id, keys[i], tid);
		if (accounts[i] != 0)
			continue;
		missing[nmissing] = post_find_member(post, currency->program->program_id, keys[i]);
		if (missing[nmissing++] == 0)
			refuse_unknown_member(currency->program);
	}
	if (nmissing == 0)
		return;

	/* All at once, so that everybody opens them in one order. */
	post_open_accounts(currency->currency_id, missing, nmissing);
	post_renew(post);
	for (int i = 0; i < n; i++)
	{
		accounts[i] = post_find_account(post, currency->currency_id, keys[i], tid);

		/* The member was erased meanwhile. */
		if (accounts[i] == 0)
			refuse_unknown_member(currency->program);
	}
}

int64
spend_account(Post *post, const Currency *currency, const text *key, ItemPointer tid)
{
	int64		account_id;

	spend_accounts(post, currency, &key, 1, &account_id, tid);
	return account_id;
}

void
refuse_blocked(const Account *account)
{
	if (account->currency->debt == DEBT_BLOCK && account->debt > 0)
		ereport(ERROR,
				(errcode(ERRCODE_LY_ACCOUNT_BLOCKED),
				 errmsg("redeeming is blocked by a debt"),
				 errdetail("Points that were taken back had been spent already."),
				 errhint("New points repay the debt; loyalty.balances shows it.")));
}

int
spendable_lots(Account *account, TimestampTz at, Points points, Lot ***lots)
{
	int			count;
	Points		wanted = points_add(points, account->debt);
	Points		found = account_read_live(account, at, wanted, lots, &count);
	char		text[POINTS_MAXLEN];

	if (found >= wanted)
		return count;
	points_print(wanted - found, text);
	ereport(ERROR,
			(errcode(ERRCODE_LY_INSUFFICIENT_POINTS),
			 errmsg("not enough points"),
			 errdetail("%s points are missing.", text),
			 errhint("See loyalty.balance() for what can be spent now.")));
}

/* Takes the points from live lots in the order they pay. */
static void
spend(Account *account, Entry *entry, Points points)
{
	Lot		  **lots;
	int			count = spendable_lots(account, account->as_of, points, &lots);
	Points		left = points;

	for (int i = 0; i < count && left > 0; i++)
	{
		Points		part = Min(left, lots[i]->remaining - lots[i]->held);

		account_debit_lot(account, entry, part, lots[i]);
		left -= part;
	}
}

static void
spend_work(Account *account, void *arg)
{
	Spending   *spending = arg;
	Entry	   *entry;

	spending->answer = request_answer(account->post, &spending->request);
	if (spending->answer != 0)
		return;
	refuse_gone(account);
	if (spending->kind == ENTRY_REDEEM)
		refuse_blocked(account);

	if (spending->points > 0)
	{
		LotDates	dates;

		lot_dates(account->currency, account->post->now, &dates);

		/* The hand that gives them confirms them. */
		if (dates.valid_from == DT_NOEND)
			dates.valid_from = DT_NOBEGIN;
		entry = account_entry(account, spending->kind, account->post->now);
		account_credit(account, entry, spending->points, &dates);
	}
	else
	{
		entry = account_entry(account, spending->kind, account->post->now);
		spend(account, entry, -spending->points);
	}
	entry->reason = spending->reason;
	entry->event = spending->request.id;
	spending->entry_no = entry->entry_no;
}

static int64
run(const Currency *currency, const text *member, Spending *spending)
{
	Post		post;
	ItemPointerData tid;
	int64		account_id;

	post_begin(&post);
	account_id = spend_account(&post, currency, member, &tid);
	spending->request.program_id = currency->program->program_id;
	if (spending->request.id != NULL)
	{
		char		text[POINTS_MAXLEN];

		points_print(spending->points, text);
		spending->request.content = psprintf("%s %s account " INT64_FORMAT "%s",
											 entry_kind_name(spending->kind), text, account_id,
											 reason_content(spending->reason));
	}
	post_account(&post, account_id, &tid, spend_work, spending);
	return request_finish(&post, &spending->request, spending->answer, account_id, spending->entry_no);
}

/* redeem(program, member, points, request_id, reason, currency) */
Datum
loyalty_redeem(PG_FUNCTION_ARGS)
{
	Spending	spending = {.kind = ENTRY_REDEEM};
	const Currency *currency;

	require_argument(fcinfo, 0, "program");
	require_argument(fcinfo, 1, "member");
	require_argument(fcinfo, 2, "points");
	currency = program_currency(program_of_member(PG_GETARG_TEXT_PP(0), PG_GETARG_TEXT_PP(1)), ARG_TEXT_OR_NULL(5));
	check_points(currency, PG_GETARG_POINTS(2));
	spending.points = -PG_GETARG_POINTS(2);
	spending.request.id = ARG_TEXT_OR_NULL(3);
	spending.reason = ARG_TEXT_OR_NULL(4);
	PG_RETURN_INT64(run(currency, PG_GETARG_TEXT_PP(1), &spending));
}

/* adjust(program, member, points, reason, request_id, currency) */
Datum
loyalty_redeem_adjust(PG_FUNCTION_ARGS)
{
	Spending	spending = {.kind = ENTRY_ADJUST};
	const Currency *currency;
	Points		points;

	require_argument(fcinfo, 0, "program");
	require_argument(fcinfo, 1, "member");
	require_argument(fcinfo, 2, "points");
	currency = program_currency(program_by_code(PG_GETARG_TEXT_PP(0)), ARG_TEXT_OR_NULL(5));
	points = PG_GETARG_POINTS(2);
	if (points == POINTS_MIN)
		points_overflow();
	if (points == 0)
		ereport(ERROR,
				(errcode(ERRCODE_LY_INVALID_POINTS),
				 errmsg("an adjustment must give or take points"),
				 errdetail("It is of 0 points."),
				 errhint("Points above zero are given, those below zero are taken.")));
	check_points(currency, points < 0 ? -points : points);
	if (PG_ARGISNULL(3) || VARSIZE_ANY_EXHDR(PG_GETARG_TEXT_PP(3)) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_LY_INVALID_POINTS),
				 errmsg("an adjustment needs a reason"),
				 errdetail("It is the only entry that nothing else explains."),
				 errhint("Say why the points are given or taken.")));
	spending.points = points;
	spending.reason = PG_GETARG_TEXT_PP(3);
	spending.request.id = ARG_TEXT_OR_NULL(4);
	PG_RETURN_INT64(run(currency, PG_GETARG_TEXT_PP(1), &spending));
}
