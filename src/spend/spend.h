/*
 * spend.h
 *		What the functions that move a member's points have in common.
 */
#ifndef LOYALTY_SPEND_H
#define LOYALTY_SPEND_H

#include "ledger/request.h"

/* LY304 unless the points are above zero and no finer than the currency. */
extern void check_points(const Currency *currency, Points points);

/* Members' accounts of a currency, opened if need be; *tid is a hint for the last; LY002 for a stranger. */
extern void spend_accounts(Post *post, const Currency *currency, const text **keys, int n, int64 *accounts,
						   ItemPointer tid);
extern int64 spend_account(Post *post, const Currency *currency, const text *key, ItemPointer tid);

/* LY302 where the currency blocks spending until a debt is repaid. */
extern void refuse_blocked(const Account *account);

/* The lots that pay at that time, and their number; LY301 when there is not enough beside a debt. */
extern int	spendable_lots(Account *account, TimestampTz at, Points points, Lot ***lots);

/* What undone purchases let off, for holds that keep some of it. */
extern void giveback_init(void);

#endif							/* LOYALTY_SPEND_H */
