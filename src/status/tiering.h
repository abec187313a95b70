/*
 * tiering.h
 *		Tiers: up in the transaction that earns them, down only at a period's end.
 */
#ifndef LOYALTY_TIERING_H
#define LOYALTY_TIERING_H

/* Takes part in the ledger's visits from here on. */
extern void tiering_init(void);

#endif							/* LOYALTY_TIERING_H */
