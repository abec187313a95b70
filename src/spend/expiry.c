/*
 * expiry.c
 *		Booking the end of lots that have died.
 *
 * Whether points can be spent never hangs on this: it only writes down, dated
 * when they died, what the comparison of times has said since.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/array.h"

#include "spend/spend.h"

PG_FUNCTION_INFO_V1(loyalty_expiry_book);

typedef struct Expiry
{
	TimestampTz as_of;
	int64		booked;			/* lots, of one run of the visit */
} Expiry;

static void
book_ends(Account *account, void *arg)
{
	Expiry	   *expiry = arg;

	expiry->booked = 0;

	/* What it had has gone to another since it was chosen. */
	if (account->state == ACCOUNT_MERGED)
		return;
	account_read_open(account);
	for (int i = 0; i < account->nlots; i++)
	{
		Lot		   *lot = account->lots[i];

		if (lot->dates.expires_at <= Min(expiry->as_of, account->as_of) && lot->remaining > lot->held)
		{
			account_expire_lot(account, lot);
			expiry->booked++;
		}
	}
}

/* _expire_accounts(accounts bigint[], as_of): ascending ids, no NULLs */
Datum
loyalty_expiry_book(PG_FUNCTION_ARGS)
{
	Expiry		expiry = {PG_GETARG_TIMESTAMPTZ(1), 0};
	Datum	   *ids;
	int			n;
	Post		post;
	int64		booked = 0;

	deconstruct_array(PG_GETARG_ARRAYTYPE_P(0), INT8OID, sizeof(int64), FLOAT8PASSBYVAL, TYPALIGN_DOUBLE,
					  &ids, NULL, &n);
	post_begin(&post);
	for (int i = 0; i < n; i++)
	{
		post_check_access(&post, DatumGetInt64(ids[i]));
		post_account(&post, DatumGetInt64(ids[i]), NULL, book_ends, &expiry);
		booked += expiry.booked;
	}
	post_end(&post);
	PG_RETURN_INT64(booked);
}
