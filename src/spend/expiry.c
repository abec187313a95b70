/*
 * expiry.c
 *		Booking the end of lots that have died, and giving others a later one.
 *
 * Whether points can be spent never hangs on the booking: it only writes down,
 * dated when they died, what the comparison of times has said since.
 *
 * A lot's end is moved by an entry of no points which says the end that was and
 * the one that is, and so is that of the account's clock, for all lots that end
 * with it.  Ends only ever move away, and what is dead stays dead.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/date.h"
#include "utils/datetime.h"

#include "base/array.h"
#include "base/errors.h"
#include "spend/spend.h"

PG_FUNCTION_INFO_V1(loyalty_expiry_book);
PG_FUNCTION_INFO_V1(loyalty_expiry_extend);

/* An account to look through, in a visit of the one that has its points: what waits to be confirmed stays when they go. */
typedef struct Due
{
	int64		root;			/* first: see post_compare_ids() */
	int64		account_id;
} Due;

typedef struct Expiry
{
	TimestampTz as_of;
	const Due  *due;			/* of one visit */
	int			ndue;
	int64		booked;			/* lots, of one run of it */
} Expiry;

static void
book_ends(Account *root, void *arg)
{
	Expiry	   *expiry = arg;

	expiry->booked = 0;
	for (int i = 0; i < expiry->ndue; i++)
	{
		Account    *account = account_dependent(root, expiry->due[i].account_id);

		/* It was merged, or taken apart, since it was chosen: the next run comes by. */
		if (account == NULL)
			continue;
		account_read_open(account);
		for (int j = 0; j < account->nlots; j++)
		{
			Lot		   *lot = account->lots[j];

			if (lot->dates.expires_at <= Min(expiry->as_of, account->as_of) && lot->remaining > lot->held)
			{
				account_expire_lot(account, lot);
				expiry->booked++;
			}
		}
	}
}

/* _expire_accounts(accounts bigint[], as_of): ascending ids, no NULLs */
Datum
loyalty_expiry_book(PG_FUNCTION_ARGS)
{
	Expiry		expiry = {PG_GETARG_TIMESTAMPTZ(1)};
	int			n;
	const int64 *ids = array_int64s(PG_GETARG_ARRAYTYPE_P(0), &n);
	Due		   *due = palloc(sizeof(Due) * Max(n, 1));
	Post		post;
	int64		booked = 0;

	post_begin(&post);
	for (int i = 0; i < n; i++)
	{
		ItemPointerData tid;

		post_check_access(&post, ids[i]);
		due[i] = (Due) {post_root(&post, ids[i], &tid), ids[i]};
	}
	qsort(due, n, sizeof(Due), post_compare_ids);
	for (int i = 0; i < n; i += expiry.ndue)
	{
		expiry.due = &due[i];
		for (expiry.ndue = 1; i + expiry.ndue < n && due[i + expiry.ndue].root == due[i].root; expiry.ndue++)
			;
		post_account(&post, due[i].root, NULL, book_ends, &expiry);
		booked += expiry.booked;
	}
	post_end(&post);
	PG_RETURN_INT64(booked);
}

/* ----------------------------------------------------------------
 *		Later ends
 * ---------------------------------------------------------------- */

typedef struct Extension
{
	Request		request;
	TimestampTz end;
	int32		lot_no;			/* 0: of all that end earlier */
	text	   *reason;
	int64		answer;
	int32		entry_no;		/* the first of them; 0: none yet */
} Extension;

static void
log_extension(Account *account, Extension *extension, int32 lot_no, TimestampTz before)
{
	Entry	   *entry = account_entry(account, ENTRY_EXTEND, account->post->now);

	entry->lot_no = lot_no;
	entry->line = cstring_to_text(psprintf("%s %s", end_print(before), end_print(extension->end)));
	entry->reason = extension->reason;
	if (extension->entry_no != 0)
		return;
	entry->event = extension->request.id;
	extension->entry_no = entry->entry_no;
}

static void
extend_lot(Account *account, Extension *extension, Lot *lot)
{
	TimestampTz before = lot->dates.expires_at;

	if (before <= account->as_of || before >= extension->end)
		return;
	log_extension(account, extension, lot->on_clock ? 0 : lot->lot_no, before);
	if (lot->on_clock)
		account_set_clock(account, extension->end);
	else
	{
		lot->dates.expires_at = extension->end;
		lot->extended = true;
		lot->changed = true;
	}
}

static void
refuse_ended(const Lot *lot)
{
	ereport(ERROR,
			(errcode(ERRCODE_LY_LOT_ENDED),
			 errmsg("lot %d has ended", lot->lot_no),
			 errdetail("It ended at %s.", timestamptz_to_str(lot->dates.expires_at)),
			 errhint("What is dead stays dead: give other points by loyalty.adjust().")));
}

static void
extend_work(Account *account, void *arg)
{
	Extension  *extension = arg;
	TimestampTz last = DT_NOBEGIN;

	extension->entry_no = 0;
	extension->answer = request_answer(account->post, &extension->request);
	if (extension->answer != 0)
		return;
	refuse_gone(account);
	if (extension->lot_no != 0)
	{
		Lot		   *lot;

		if (extension->lot_no < 0 || extension->lot_no > account->last_lot)
			ereport(ERROR,
					(errcode(ERRCODE_LY_UNKNOWN_ENTRY),
					 errmsg("lot %d does not exist", extension->lot_no),
					 errdetail("The member's lots of this currency are numbered to %d.", account->last_lot),
					 errhint("The view loyalty.lots has the numbers.")));
		lot = account_lot(account, extension->lot_no);
		last = lot->dates.expires_at;
		if (last <= account->as_of)
			refuse_ended(lot);
		extend_lot(account, extension, lot);
	}
	else
	{
		account_read_open(account);
		for (int i = 0; i < account->nlots; i++)
		{
			Lot		   *lot = account->lots[i];

			if (!lot->open)
				continue;
			last = Max(last, lot->dates.expires_at);
			extend_lot(account, extension, lot);
		}
	}
	if (extension->entry_no == 0)
		ereport(ERROR,
				(errcode(ERRCODE_LY_NOT_LONGER),
				 errmsg("no points would live longer"),
				 last <= account->as_of ? errdetail("There are none that are alive or pending.") :
				 errdetail("They are to end at %s, and the last of them ends at %s.",
						   pstrdup(timestamptz_to_str(extension->end)), pstrdup(timestamptz_to_str(last))),
				 errhint("An end can be moved away, never nearer; the view loyalty.lots has the ends.")));
}

/* extend(program, member, until, lot, request_id, reason, currency) */
Datum
loyalty_expiry_extend(PG_FUNCTION_ARGS)
{
	Extension	extension = {{0}};
	const Currency *currency;
	DateADT		until;
	Post		post;
	ItemPointerData tid;
	int64		account_id;

	require_argument(fcinfo, 0, "program");
	require_argument(fcinfo, 1, "member");
	require_argument(fcinfo, 2, "until");
	currency = program_currency(program_by_code(PG_GETARG_TEXT_PP(0)), ARG_TEXT_OR_NULL(6));
	until = PG_GETARG_DATEADT(2);
	if (DATE_IS_NOBEGIN(until) ||
		(!DATE_IS_NOEND(until) && until > date2j(9999, 12, 30) - POSTGRES_EPOCH_JDATE))
		ereport(ERROR,
				(errcode(ERRCODE_LY_INVALID_TIME),
				 errmsg("points can't live until then"),
				 errdetail("The last day that can be named is 9999-12-30."),
				 errhint("Use infinity for points that never end.")));
	extension.end = DATE_IS_NOEND(until) ? DT_NOEND :
		local_midnight(currency->program, until + POSTGRES_EPOCH_JDATE + 1);
	if (!PG_ARGISNULL(3))
	{
		extension.lot_no = PG_GETARG_INT32(3);
		if (extension.lot_no == 0)
			extension.lot_no = -1;
	}
	extension.request.id = ARG_TEXT_OR_NULL(4);
	extension.reason = ARG_TEXT_OR_NULL(5);

	post_begin(&post);
	account_id = spend_account(&post, currency, PG_GETARG_TEXT_PP(1), &tid);
	extension.request.program_id = currency->program->program_id;
	if (extension.request.id != NULL)
		extension.request.content = psprintf("extend 0 account " INT64_FORMAT " until %s lot %d%s", account_id,
											 end_print(extension.end), extension.lot_no, reason_content(extension.reason));
	post_account(&post, account_id, &tid, extend_work, &extension);
	PG_RETURN_INT64(request_finish(&post, &extension.request, extension.answer, account_id, extension.entry_no));
}
