/*
 * merged.h
 *		Accounts that were merged into another, and the way of their points.
 */
#ifndef LOYALTY_MERGED_H
#define LOYALTY_MERGED_H

#include "ledger/post.h"

/* Into its parent, with an entry on either side though there be nothing to pass on; *entry_no is the account's. */
extern void merged_begin(Account *account, text *request_id, text *reason, int32 *entry_no);

/* Back from its parent what came and is still there; the account stands by itself again. */
extern void merged_end(Account *account, text *request_id, text *reason, int32 *entry_no);

/* To its parent what it has, or owes, but for what waits to be confirmed. */
extern void merged_pass_on(Account *account);

/*
 * Brings back what account_take_back() is about to take of a merged account, from the award's own
 * dates first; own may be NULL.  To be called before the entry that takes it is made.
 */
extern void merged_recall(Account *account, Points points, Lot *own);

/*
 * Brings back points of the dates of a lot where they are, as of a time; the lot that they come to,
 * which is own if its dates are those.
 */
extern Lot *merged_fetch(Account *account, Points points, const Lot *like, Lot *own, TimestampTz at);

/* How much of an own lot's points, up to so many, died where they are now; really: and is let off for it. */
extern Points merged_waive(Account *account, const Lot *own, Points points, bool really);

/* Points let off are owed by the holds that keep points of the own lot's dates where they are now. */
extern void merged_owe(Account *account, const Lot *own, Points points);

/* Of points let off for having died where they are now, so many are owed again. */
extern void merged_owe_again(Account *account, const Lot *own, Points points);

/* Works at an account and all merged into it, by whatever way: each before those merged into it, these by id. */
extern void merged_each(Account *account, AccountWork work, void *arg);

/* Reads all accounts merged into this one, by whatever way, into the visit. */
extern void merged_read(Account *account);

/* Whether two lots of a visit are of equal dates: points of such are the same to the ledger. Those that wait are never. */
extern bool merged_same_dates(const Account *account, const Lot *a, const Lot *b);

#endif							/* LOYALTY_MERGED_H */
