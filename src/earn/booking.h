/*
 * booking.h
 *		What is booked for a row of a source, and the visits that book what it is due.
 */
#ifndef LOYALTY_BOOKING_H
#define LOYALTY_BOOKING_H

#include "earn/source.h"
#include "ledger/post.h"

typedef enum Role
{
	ROLE_NEW,					/* rate it */
	ROLE_FIRST,					/* rate it unless it was booked before */
	ROLE_SETTLE,				/* rate it, or book what is missing if an inner statement did */
	ROLE_STATE,					/* book what is missing to what it should have */
	ROLE_CHANGE,				/* the same, of a row that was there before */
	ROLE_LEAVE,					/* it is gone */
	ROLE_MOVE,					/* it went to another account */
	ROLE_JOIN					/* it came from another account, with the rules it had there */
} Role;

/* What only changed rows have. */
typedef struct Change
{
	Image	   *before;			/* of a row that was there */
	int			nrules;			/* for ROLE_JOIN: rules recorded where it was */
	int32		rules[FLEXIBLE_ARRAY_MEMBER];
} Change;

typedef struct Task
{
	int64		account_id;		/* to visit */
	int64		via;			/* a merged account, in the visit of the one that has its points; 0: the account itself */
	TimestampTz time;
	uint32		row;
	Role		role;
	Image	   *image;			/* for ROLE_LEAVE and ROLE_MOVE as it was, else as it is */
	Change	   *change;			/* NULL for ROLE_NEW, ROLE_FIRST and ROLE_SETTLE */
	ItemPointerData hint;
} Task;

/* What visits must know of their statement, and what they leave behind. */
typedef struct Booking
{
	const Source *source;
	CommandId	began;			/* see accrual_begin() */
	bool		settles;		/* rows that are new here may have been booked already */
	bool		within_trigger;
	bool		gives_up;		/* at the first stray, and the session with it, for all to be begun again */
	MemoryContext context;		/* of what is left behind: */
	uint8	   *booked;			/* a bit for each row: something was booked for it */
	uint32		booked_room;	/* bytes */
	Task	   *strays;			/* of accounts that were merged, or came apart, since they were found */
	int			nstrays;
	int			strays_room;
} Booking;

/* Books what tasks of one account and of those merged into it are due.  False: it gave up. */
extern bool booking_visit(Booking *booking, Post *post, Task *tasks, int ntasks);

/* How many rows had something booked. */
extern int64 booking_rows(const Booking *booking);

/* Nothing was, of rows from that number on. */
extern void booking_forget(Booking *booking, uint32 from);

/* What is booked for a row by one rule. */
typedef struct Booked
{
	int32		rule_id;
	Points		points;
	Points		base;
	Points		refunded;
	Points		forgiven;
	int32		first_entry;
	TimestampTz time;			/* of the event, as it was booked first */
	bool		whole;			/* the first entry there is could be the first there was */
	/* The lot of the latest credit is the award's own: a key used again names a new award. */
	int32		lot_no;
	int32		lot_entry;		/* the credit that names it, */
	int32		lot_award;		/* and the entry that made the award, under this key or another */
	int32		split_entry;	/* the latest credit that repaid a debt, */
	int32		split_award;	/* and the entry whose allocations say which lot took the rest */
} Booked;

/* Of the row itself, or of all lines of its event: an array by rule, and how many there are. */
extern int	booked_load(const Booking *booking, Post *post, int64 account_id, const Image *image, bool whole_event,
						Booked **booked);

extern bool booked_any_active(const Booked *booked, int nbooked);
extern bool booked_has_base(const Booked *booked, int nbooked);

/* A row that does not say when it happened did so when it was first booked. */
extern TimestampTz booked_time(const Booking *booking, const Image *image, const Booked *booked);

/*
 * A row is not brought to what it is due from a part of what was booked for it:
 * refuses if more may have been discarded with the archive.  Of a row that is
 * said to have been so (not of a whole event) the sums tell as well: the first entry
 * that stayed may be a correction, which looks like an award.
 */
extern void booked_refuse_discarded(const Booking *booking, Post *post, int64 account_id, const Image *image, bool was,
									const Booked *booked, int nbooked);

/*
 * A row that earns now and that nothing is booked for, but perhaps what was
 * taken back again: whether it earned nothing by what it was, for its status,
 * its amount or want of a rule at its time.  If it should have earned, it did
 * so before it was attached, or waits in the queue, or an outer statement will
 * book it; but that would not find it under another key.
 */
extern bool booking_begins(const Booking *booking, const Currency *currency, const Image *before, const Image *after,
						   int nbooked);

static inline bool
same_key(const Image *a, const Image *b)
{
	return same_text(a->event, b->event) && same_text(a->line, b->line);
}

/* While a row could not be rated, nobody knows what times it had. */
static inline bool
was_redated(const Image *before, const Image *after)
{
	return before->time != after->time || before->refused;
}

/* What tells most rows of a source apart. */
static inline text *
row_key(text *event, text *line)
{
	return line ? line : event;
}

#endif							/* LOYALTY_BOOKING_H */
