/*
 * transfer.c
 *		Moving points from one member to another.
 *
 * Soonest end first, as in redeem(), and every point keeps its dates: nobody's
 * points live longer for having been given away.  One entry takes, one gives;
 * each names the other, and both accounts are locked before either is read.
 */
#include "postgres.h"

#include "utils/builtins.h"

#include "base/errors.h"
#include "spend/spend.h"

PG_FUNCTION_INFO_V1(loyalty_transfer);

typedef struct Transfer
{
	Request		request;
	Points		points;
	text	   *reason;
	int64		answer;
	int32		entry_no;
} Transfer;

static text *
entry_id_text(const Account *account, const Entry *entry)
{
	return cstring_to_text(psprintf(INT64_FORMAT, ENTRY_ID(account->account_id, entry->entry_no)));
}

static void
transfer_work(Account *from, Account *to, void *arg)
{
	Transfer   *transfer = arg;
	Points		left = transfer->points;
	Entry	   *taken;
	Entry	   *given;
	Lot		  **lots;
	int			count;

	transfer->answer = request_answer(from->post, &transfer->request);
	if (transfer->answer != 0)
		return;
	refuse_gone(from);
	refuse_gone(to);
	refuse_blocked(from);

	/* A lot must be alive by the clocks of both, or it would be given dead. */
	count = spendable_lots(from, Max(from->as_of, to->as_of), left, &lots);
	taken = account_entry(from, ENTRY_TRANSFER, from->post->now);
	given = account_entry(to, ENTRY_TRANSFER, to->post->now);
	taken->line = entry_id_text(to, given);
	given->line = entry_id_text(from, taken);
	taken->reason = given->reason = transfer->reason;
	taken->event = transfer->request.id;
	transfer->entry_no = taken->entry_no;
	for (int i = 0; i < count && left > 0; i++)
	{
		Points		part = Min(left, lots[i]->remaining - lots[i]->held);

		account_debit_lot(from, taken, part, lots[i]);
		account_credit(to, given, part, &lots[i]->dates);
		left -= part;
	}
}

/* transfer(program, from_member, to_member, points, request_id, reason, currency) */
Datum
loyalty_transfer(PG_FUNCTION_ARGS)
{
	Transfer	transfer = {{0}};
	const Currency *currency;
	Post		post;
	ItemPointerData tid;
	const text *keys[2];
	int64		accounts[2];

	require_argument(fcinfo, 0, "program");
	require_argument(fcinfo, 1, "from_member");
	require_argument(fcinfo, 2, "to_member");
	require_argument(fcinfo, 3, "points");
	currency = program_currency(program_by_code(PG_GETARG_TEXT_PP(0)), ARG_TEXT_OR_NULL(6));
	transfer.points = PG_GETARG_POINTS(3);
	check_points(currency, transfer.points);
	transfer.request.id = ARG_TEXT_OR_NULL(4);
	transfer.reason = ARG_TEXT_OR_NULL(5);

	post_begin(&post);
	keys[0] = PG_GETARG_TEXT_PP(1);
	keys[1] = PG_GETARG_TEXT_PP(2);
	spend_accounts(&post, currency, keys, 2, accounts, &tid);
	if (accounts[0] == accounts[1])
		ereport(ERROR,
				(errcode(ERRCODE_LY_TRANSFER_TO_SELF),
				 errmsg("points can't be transferred to the member who has them"),
				 errdetail("Both keys are of one member."),
				 errhint("Give the member who is to get the points.")));
	transfer.request.program_id = currency->program->program_id;
	if (transfer.request.id != NULL)
	{
		char		text[POINTS_MAXLEN];

		points_print(-transfer.points, text);
		transfer.request.content = psprintf("transfer %s account " INT64_FORMAT " to account " INT64_FORMAT "%s",
											text, accounts[0], accounts[1], reason_content(transfer.reason));
	}
	post_pair(&post, accounts[0], accounts[1], transfer_work, &transfer);
	PG_RETURN_INT64(request_finish(&post, &transfer.request, transfer.answer, accounts[0], transfer.entry_no));
}
