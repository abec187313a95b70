/*
 * account.h
 *		An account in a visit: what is read of it, and the movements that are asked of it.
 *
 * Nothing is written here: ledger/post does that when the visit's work is done.
 */
#ifndef LOYALTY_ACCOUNT_H
#define LOYALTY_ACCOUNT_H

#include "base/table.h"
#include "ledger/program.h"

/* The id applications see: readable, and no index is needed to resolve it. */
#define ENTRIES_PER_ACCOUNT		INT64CONST(100000000)
#define ENTRY_ID(account_id, entry_no)	((account_id) * ENTRIES_PER_ACCOUNT + (entry_no))

#define DEBT_LOT	0			/* the lot number that stands for the account's debt */

typedef enum EntryKind
{
	ENTRY_EARN,
	ENTRY_REVERSE,
	ENTRY_REDEEM,
	ENTRY_GIVEBACK,
	ENTRY_EXPIRE,
	ENTRY_ADJUST,
	ENTRY_REKEY,
	ENTRY_HOLD,
	ENTRY_TRANSFER,
	ENTRY_CONFIRM,
	ENTRY_EXTEND,
	ENTRY_MERGE,
	ENTRY_FORFEIT,
	ENTRY_RELEASE,
	ENTRY_WAIVE,
	ENTRY_CLOCK,
	ENTRY_KINDS
} EntryKind;

/* Zero and NULL mean "none" and are stored as NULL, but for points. */
typedef struct Entry
{
	int32		entry_no;
	int32		lot_no;			/* all points went to or from this lot; 0: see the allocations */
	Points		points;
	TimestampTz event_time;
	Points		base;			/* what the points were reckoned from; what a hold reserves; what refunds are let off */
	Points		refunded;
	Points		forgiven;		/* what a reversal could not or must not take */
	int32		source_id;
	int32		rule_id;
	int32		reverses;		/* the entry that a giveback undoes or a confirmation makes live; the hold captured, released or owing; the merge undone */
	int32		actor_id;		/* filled in when it is stored */
	EntryKind	kind;
	/* For the tier's metric; not stored. */
	TimestampTz metric_time;	/* when the event was, however late it is booked; 0: event_time */
	Points		spend;
	int			visits;
	Points		unconfirmed;	/* what ended before it was confirmed, or ended so and is let off now (below zero) */
	text	   *event;
	text	   *line;			/* of an event; the other side of a transfer or merge; the ends of an extension;
								 * what a pool's payment is a part of */
	text	   *reason;
} Entry;

typedef struct Lot
{
	int32		lot_no;
	bool		open;
	LotDates	dates;
	bool		on_clock;		/* ends with the account's clock, and dates.expires_at is when that does */
	bool		by_activity;	/* came to end with a clock, be that over or not */
	bool		extended;		/* its own end was moved */
	int32		opened_by;		/* the entry whose hash covers its dates */
	TimestampTz earned_at;
	Points		credited;
	Points		remaining;
	Points		held;
	Points		expired;
	Points		waived;			/* of expired: reversals let off because the points had died */
	Points		waived_before;	/* as it was read */
	ItemPointerData tid;		/* invalid: not in the table yet */
	bool		changed;
	bool		fresh;
	int			first_since;	/* found to be the first of its dates when as many lots had been reopened */
} Lot;

typedef struct Allocation
{
	int32		entry_no;
	int32		allocation_no;
	int32		lot_no;
	Points		points;
	Points		returned;
	ItemPointerData tid;
	bool		fresh;
	bool		archived;		/* its row is in the archive */
} Allocation;

typedef struct MetricShift
{
	TimestampTz from;
	TimestampTz to;
	Points		points;
	Points		spend;
	int			visits;
} MetricShift;

typedef struct Post Post;

/* Whose member is still one: in loyalty.account.state. */
typedef enum AccountState
{
	ACCOUNT_OPEN,
	ACCOUNT_MERGED,				/* into another, which has its points */
	ACCOUNT_CLOSED
} AccountState;

typedef struct Account
{
	Post	   *post;
	int64		account_id;
	int64		member_id;
	const text *key;			/* the member's */
	const Currency *currency;
	int32		last_entry;
	int32		last_lot;
	int32		stored_lots;	/* last_lot as it was read */
	Points		posted;
	Points		live;			/* of lots alive at as_of, held ones included */
	Points		pending;
	Points		held;
	Points		debt;
	Points		earned;
	Points		redeemed;
	Points		expired;
	TimestampTz as_of;
	TimestampTz next_change;
	TimestampTz clock_end;		/* -infinity: there never was a clock */
	TimestampTz clock_before;	/* as it was read, and as the account's entries say so far */
	TimestampTz clock_ended;	/* lots that lived by the clock ended then, and this visit books it; -infinity: none did */
	TimestampTz clock_since;	/* what had ended by then is not of the clock that this visit started; -infinity: it started none */
	Datum		tier;			/* 0: none */
	TimestampTz tier_since;
	TimestampTz tier_until;		/* 0: none */
	bool		has_tier_until;
	uint8		head[32];
	AccountState state;
	int64		merged_into;	/* 0: none */

	/* See merged.h. */
	struct Account *parent;		/* in a visit of the account that has its points: the next on the way there */
	struct Account **dependents;	/* read in this visit, parents before their own */
	int			ndependents;
	bool		dependents_read;	/* all that were merged into it are among them */

	ItemPointerData tid;
	bool		changed;
	Lot		  **lots;			/* those read or made so far */
	int			nlots;
	int			lots_room;
	Lot		   *last_used;
	int			reopened;		/* lots, by this visit, and one */
	bool		all_open;		/* every open lot is among them */
	Entry	   *entries;
	int			nentries;
	int			entries_room;
	Allocation **allocations;
	int			nallocations;
	int			allocations_room;
	struct Hold **holds;		/* see reserve.h; those read or made so far */
	int			nholds;
	int			holds_room;
	MetricShift *shifts;
	int			nshifts;
	struct Standing *status;	/* the status wing's */
} Account;

extern const char *entry_kind_name(EntryKind kind);
extern EntryKind entry_kind_of(Datum name);	/* ENTRY_KINDS: of none */

/* For post.c: the account of a row. */
extern Account *account_read(Post *post, TupleTableSlot *slot);

/* What a work function may call. */
extern Entry *account_entry(Account *account, EntryKind kind, TimestampTz event_time);
extern Entry *account_correction(Account *account);	/* of an award, upwards: no activity of the member's */
extern Entry *account_waive(Account *account, const Lot *lot, Points points);	/* so much refunds are let off from now on */
extern Lot *account_credit(Account *account, Entry *entry, Points points, const LotDates *dates);	/* NULL: a debt took all */
extern void account_credit_lot(Account *account, Entry *entry, Points points, Lot *lot);
extern Lot *account_settle_lot(Account *account, int32 lot_no);
extern void account_take_back(Account *account, Entry *entry, Points points, Lot *own);
extern void account_debit_lot(Account *account, Entry *entry, Points points, Lot *lot);
extern void account_empty_lot(Account *account, Entry *entry, Points points, Lot *lot);	/* an entry that touches no other */
extern void account_expire_lot(Account *account, Lot *lot);
extern void account_forfeit(Account *account);
extern void account_change_debt(Account *account, Entry *entry, Points more);
extern void account_roll_forward(Account *account, TimestampTz time);

/* Reads every lot, used ones too. */
extern void account_read_lots(Account *account);

/* An account merged, by whatever way, into the one visited; NULL: it is not any more. */
extern Account *account_dependent(Account *root, int64 account_id);

/* LY340, LY341: whoever's account this was has none of their own any more. */
extern void refuse_gone(const Account *account);

/* The account that has the points: it, or the one it was merged into at last. */
extern Account *account_root(Account *account);

/* Whether it is the other, or was merged into it by whatever way. */
extern bool account_is_below(const Account *account, const Account *other);

/* Whether the one who has the account's points is a member no more. */
extern bool account_is_closed(Account *account);

/* Starts a clock that is kept running from that time on; what had ended before stays dead. */
extern void account_start_clock(Account *account, TimestampTz since, TimestampTz end);

/* The clock ends then; lots of one that ran out before stay dead. */
extern void account_set_clock(Account *account, TimestampTz end);

/* For one that is about to be merged into the other: from then on both live by the later clock of the two. */
extern void account_join_clock(Account *account, Account *into);

/* For qsort() of Lot *: the order in which they pay. */
extern int	lots_by_end(const void *a, const void *b);
extern bool lot_alive(const Lot *lot, TimestampTz at);

/* For points that go on to another lot and keep their dates, and the clock by which they live. */
static inline LotDates
dates_of_lot(const Lot *lot)
{
	LotDates	dates = lot->dates;

	if (lot->on_clock)
	{
		dates.own_end = dates.expires_at;
		dates.expires_at = LOT_ON_CLOCK;
	}
	return dates;
}

/* The open lots, and whichever others were read, in an order; the caller's to free. */
extern Lot **account_open_lots(Account *account, int (*order) (const void *, const void *), int *n);

/* Into a lot that is dead: it repays no debt. */
extern void account_return_dead(Account *account, Entry *entry, Points points, Lot *lot);
extern Lot *account_lot(Account *account, int32 lot_no);

/*
 * Lots alive at the time that have free points, in the order they pay, until
 * those reach wanted; answers the free points.
 */
extern Points account_read_live(Account *account, TimestampTz at, Points wanted, Lot ***live, int *count);
extern void account_read_open(Account *account);

/* The same one by one, beside those of other accounts, and nothing else meanwhile; to be closed before the visit ends. */
typedef struct LotCursor
{
	Account    *account;
	TimestampTz at;
	bool		first;			/* to read lots of the account: it meets none that is known */
	TableScan	scan;
	Lot		  **sorted;			/* instead of the scan, of an account with a clock */
	int			nsorted;
	int			next;
} LotCursor;

extern void account_open_live(Account *account, TimestampTz at, LotCursor *cursor);
extern Lot *account_next_live(LotCursor *cursor);	/* NULL: that was all */
extern void account_close_live(LotCursor *cursor);
extern Allocation *account_allocate(Account *account, const Entry *entry, int32 lot_no, Points points);

/* What counts towards the tier moves to another time with the event it came from; not stored. */
extern void account_shift_metric(Account *account, TimestampTz from, TimestampTz to,
								 Points points, Points spend, int visits);

#endif							/* LOYALTY_ACCOUNT_H */
