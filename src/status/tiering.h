/*
 * tiering.h
 *		Tiers: up in the transaction that earns them, down only at a period's end.
 */
#ifndef LOYALTY_TIERING_H
#define LOYALTY_TIERING_H

#include "ledger/post.h"

/* Takes part in the ledger's visits from here on. */
extern void tiering_init(void);

/* In a visit that merges an account into its parent, or ends that: before, and for each side after. */
extern void tiering_join(Account *account);
extern void tiering_leave(Account *account);
extern void tiering_resume(Account *account);

#endif							/* LOYALTY_TIERING_H */
