/*
 * reserve.h
 *		Points of lots that a hold keeps from everybody else.
 */
#ifndef LOYALTY_RESERVE_H
#define LOYALTY_RESERVE_H

#include "ledger/chain.h"

/* What one hold keeps of one lot.  It counts in lot->held while it is open. */
typedef struct Hold
{
	int32		hold_no;		/* the entry that made it */
	Lot		   *lot;
	bool		open;
	Points		points;
	Points		captured;
	Points		owed;			/* of what is left: to be taken back when the hold ends, see reserve_owe() */
	Points		owed_before;	/* as it was read */
	TimestampTz ends_at;
	TimestampTz released_at;
	bool		released;
	ItemPointerData tid;
	bool		changed;
	bool		fresh;
} Hold;

/* Keeps free points of a lot for the hold that the entry makes. */
extern void reserve_lot(Account *account, const Entry *entry, Lot *lot, Points points, TimestampTz ends_at);

/* All that a hold keeps, or kept. */
extern void reserve_read(Account *account, int32 hold_no, Hold ***holds, int *count);

/* In the order in which the lots pay; it may be another when a clock has moved. */
extern void reserve_order(Hold **holds, int count);

/* Takes held points out of their lot. */
extern void reserve_capture(Account *account, Entry *entry, Hold *hold, Points points);

/* Gives back what is left; the hold is over. */
extern void reserve_release(Account *account, Hold *hold);

/* For post.c: ends the holds that are past their end, and tells next_change of the others. */
extern void reserve_roll_forward(Account *account);

/*
 * A refund found points of the award's own lot held, and let them off: when they
 * come free, they are taken then.  Of as many as there are; answers how many are left.
 */
extern Points reserve_owe(Account *account, Lot *lot, Points points);

/* At a visit's end: no more is owed of a lot than its awards are let off. */
extern void reserve_review(Account *account);

/* By the room that knows of awards: what those of each lot are let off, and taking some of it from the lot's free points. */
extern void (*reserve_let_off_hook) (Account *account, const Lot **lots, int n, Points *let_off);
extern void (*reserve_take_owed_hook) (Account *account, Lot *lot, Points points, TimestampTz at);
extern void reserve_store(Account *account);

/* For post.c: an entry for each part of a hold that owes more or less than before. */
extern void reserve_book_owed(Account *account);

/* For post.c: what a hold that this visit made keeps of each lot, as it is hashed. */
extern void reserve_effects(const Account *account, int32 hold_no, Effects *effects);

/* Columns of loyalty.hold */
enum
{
	HOLD_ACCOUNT = 1, HOLD_NO, HOLD_LOT, HOLD_OPEN, HOLD_POINTS, HOLD_CAPTURED, HOLD_ENDS_AT, HOLD_RELEASED_AT,
	HOLD_OWED,
	HOLD_NATTS = HOLD_OWED
};

#endif							/* LOYALTY_RESERVE_H */
