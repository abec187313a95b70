/*
 * pool.h
 *		Redemptions that several accounts paid.
 *
 * Such a redemption is an entry of each account that paid, and one row of
 * pool_payment for each lot, in the order in which they paid.  It goes by the
 * id of its first entry, that of the lowest account; line of all its entries
 * is that id, the pool and the member who redeemed: "id/pool_id/member_id".
 */
#ifndef LOYALTY_POOL_H
#define LOYALTY_POOL_H

#include "ledger/post.h"

/* What one lot paid: an allocation of an entry of its account. */
typedef struct Payment
{
	int64		account_id;
	int32		entry_no;
	int32		allocation_no;
} Payment;

/* Those of the redemption of that id, in the order in which they paid; their number, 0 if that is no such redemption. */
extern int	pool_payments(Post *post, int64 account_id, int32 entry_no, Payment **payments);

/* Columns of loyalty.pool_payment */
enum
{
	PAYMENT_ACCOUNT = 1, PAYMENT_ENTRY, PAYMENT_NO, PAYMENT_PAYER, PAYMENT_PAYER_ENTRY, PAYMENT_ALLOCATION,
	PAYMENT_NATTS = PAYMENT_ALLOCATION
};

#endif							/* LOYALTY_POOL_H */
