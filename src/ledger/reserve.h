/*
 * reserve.h
 *		Points of lots that a hold keeps from everybody else.
 */
#ifndef LOYALTY_RESERVE_H
#define LOYALTY_RESERVE_H

#include "ledger/post.h"

/* What one hold keeps of one lot.  It counts in lot->held while it is open. */
typedef struct Hold
{
	int32		hold_no;		/* the entry that made it */
	Lot		   *lot;
	bool		open;
	Points		points;
	Points		captured;
	TimestampTz ends_at;
	TimestampTz released_at;
	bool		released;
	ItemPointerData tid;
	bool		changed;
	bool		fresh;
} Hold;

/* Keeps free points of a lot for the hold that the entry makes. */
extern void reserve_lot(Account *account, const Entry *entry, Lot *lot, Points points, TimestampTz ends_at);

/* All that a hold keeps, or kept, in the order in which its lots pay. */
extern void reserve_read(Account *account, int32 hold_no, Hold ***holds, int *count);

/* Takes held points out of their lot. */
extern void reserve_capture(Account *account, Entry *entry, Hold *hold, Points points);

/* Gives back what is left; the hold is over. */
extern void reserve_release(Account *account, Hold *hold);

/* For post.c: ends the holds that are past their end, and tells next_change of the others. */
extern void reserve_roll_forward(Account *account);
extern void reserve_store(Account *account);

/* Columns of loyalty.hold */
enum
{
	HOLD_ACCOUNT = 1, HOLD_NO, HOLD_LOT, HOLD_OPEN, HOLD_POINTS, HOLD_CAPTURED, HOLD_ENDS_AT, HOLD_RELEASED_AT,
	HOLD_NATTS = HOLD_RELEASED_AT
};

#endif							/* LOYALTY_RESERVE_H */
