/*
 * post.h
 *		The one door by which a balance changes.
 *
 * A session (Post) visits accounts in ascending order of their ids.  At each
 * visit the caller's work function reads the account and asks for movements;
 * it may run again from scratch if another transaction got in between, so it
 * must have no effect but through the calls below.  The account row is
 * updated once a visit, and that update is the lock: lots and entries of an
 * account are written only by a transaction that has updated its row.
 */
#ifndef LOYALTY_POST_H
#define LOYALTY_POST_H

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
	ENTRY_KINDS
} EntryKind;

/* Zero and NULL mean "none" and are stored as NULL, but for points. */
typedef struct Entry
{
	int32		entry_no;
	int32		lot_no;			/* all points went to or from this lot; 0: see the allocations */
	Points		points;
	TimestampTz event_time;
	Points		base;			/* what the points were reckoned from; what a hold reserves */
	Points		refunded;
	Points		forgiven;		/* what a reversal could not or must not take */
	int32		source_id;
	int32		rule_id;
	int32		reverses;		/* the entry that a giveback undoes or a confirmation makes live; the hold captured; the merge undone */
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
	TimestampTz earned_at;
	Points		credited;
	Points		remaining;
	Points		held;
	Points		expired;
	Points		waived;			/* of expired: reversals let off because the points had died */
	ItemPointerData tid;		/* invalid: not in the table yet */
	bool		changed;
	bool		fresh;
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

	ItemPointerData tid;
	bool		changed;
	Lot		  **lots;			/* those read or made so far */
	int			nlots;
	int			lots_room;
	Lot		   *last_used;
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

/* What counts towards the tier moves to another time with the event it came from; not stored. */
extern void account_shift_metric(Account *account, TimestampTz from, TimestampTz to,
								 Points points, Points spend, int visits);

typedef void (*AccountWork) (Account *account, void *arg);

struct Post
{
	TimestampTz now;			/* the transaction's start: recorded_at of its entries */
	bool		reading;		/* nothing is written */
	int32		actor_id;		/* who it is for, once something is booked */
	Snapshot	snapshot;
	Snapshot	latest;			/* NULL: snapshot is */
	EState	   *estate;
	Table		member;
	Table		account;
	Table		lot;
	Table		entry;
	Table		allocation;
	Table		archived_entry;
	Table		archived_allocation;
	Table		anchor;
	Table		hold;
	Table		request;
	Table		progress;		/* the status wing's */
	Table		tier_change;
	/* Open from their first use until the snapshot changes. */
	TableScan	member_by_key;
	TableScan	account_by_id;
	TableScan	account_by_key;
	TableScan	lot_open;
	TableScan	lot_by_no;
	TableScan	entry_by_event;
	TableScan	archived_by_event;
	bool		in_archive;		/* entries of an event come from there now */
	MemoryContext context;		/* of one visit */
	int64		last_account;
};

extern void post_begin(Post *post);
extern void post_end(Post *post);

/* A session whose visits change nothing: at the query's snapshot, and on a standby too. */
extern void post_begin_reading(Post *post);

/* Goes on with a snapshot that sees what was written, and committed by others, since. */
extern void post_renew(Post *post);

/* The member's id, 0 when nobody of that key is enrolled. */
extern int64 post_find_member(Post *post, int32 program_id, const text *key);

/* Enrols and opens accounts: what is there already stays. Call post_renew() after it. */
extern void post_enrol(int32 program_id, const text **keys, int n);
extern void post_open_accounts(int32 currency_id, const int64 *members, int n);

/* The entries of an event of the account, archived ones too, in no order, one by one; NULL after the last. */
extern void post_entries_of(Post *post, int64 account_id, const text *event);
extern TupleTableSlot *post_next_entry(Post *post);

/* There are archived entries: they are in post->archived_entry, open. */
extern bool post_has_archive(Post *post);

/* Refuses when what happened at that time may be among entries of the account that are no longer there. */
extern void post_refuse_discarded(Post *post, int64 account_id, TimestampTz time);

/* The row of an entry, in the ledger or in the archive; NULL: it is not there. */
extern TupleTableSlot *post_entry(Post *post, int64 account_id, int32 entry_no, bool archived);

/* Begins to read the allocations of an entry, in their order, from there; rows come into the table's slot. */
extern Table *post_scan_allocations(Post *post, TableScan *scan, int64 account_id, int32 entry_no, bool archived);

/* The lot that the allocations of an entry name; 0: none. */
extern int32 post_allocated_lot(Post *post, int64 account_id, int32 entry_no);

/* The account of the member of that key, 0 when there is none yet; *tid is a hint for post_account(). */
extern int64 post_find_account(Post *post, int32 currency_id, const text *key, ItemPointer tid);

/* The currency of an account; NULL: there is no such account. */
extern const Currency *post_account_currency(Post *post, int64 account_id);

/*
 * Of an id that applications gave for an entry: the account and its currency; NULL: it can't be one.
 * Refuses as post_check_access(); *tid, if wanted, is a hint for post_account().
 */
extern const Currency *post_entry_currency(Post *post, int64 entry_id, int64 *account_id, int32 *entry_no,
										   ItemPointer tid);

/* Whether the account that post_find_account() has just found was merged into another. */
extern bool post_found_merged(Post *post);

/*
 * The account in whose visits this one is written: itself, or the last of those it was merged into.
 * *tid is a hint for post_account().
 */
extern int64 post_root(Post *post, int64 account_id, ItemPointer tid);

/* Locks the accounts in whose visits these are written, in the order of ids; they may be visited in any order then. */
extern void post_lock_roots(Post *post, const int64 *accounts, int n);

/* Begins again with the accounts of lower ids, seeing what was written, and committed by others, since. */
extern void post_restart(Post *post);

/* Refuses a role that is confined to other programs than the account's (42501). */
extern void post_check_access(Post *post, int64 account_id);

/* A table of the session, opened at its first use. */
extern Table *post_table(Post *post, Table *table, const char *name, int natts);

/* One visit.  hint may be NULL. */
extern void post_account(Post *post, int64 account_id, ItemPointer hint, AccountWork work, void *arg);

/*
 * One visit of several accounts of one currency, given in ascending order, all
 * locked in it before the work sees any, but for those merged: the work must not
 * change them.  The work is called once.
 */
typedef void (*SeveralWork) (Account **accounts, int n, void *arg);
extern void post_several(Post *post, const int64 *ids, int n, SeveralWork work, void *arg);

/* The same of two, in any order. */
typedef void (*PairWork) (Account *a, Account *b, void *arg);
extern void post_pair(Post *post, int64 a, int64 b, PairWork work, void *arg);

/* One visit of the account, or of the one that has its points with this as a dependent. */
extern void post_account_wherever(Post *post, int64 account_id, AccountWork work, void *arg);

/* For qsort() of account ids: the order in which they are visited. */
extern int	post_compare_ids(const void *a, const void *b);

/* A column of a row that was deformed, NULL for NULL; it lives no longer than the row. */
static inline text *
slot_text(const TupleTableSlot *slot, AttrNumber column)
{
	return slot->tts_isnull[column - 1] ? NULL : DatumGetTextPP(slot->tts_values[column - 1]);
}

static inline text *
copy_text(const text *from)
{
	return from == NULL ? NULL : DatumGetTextPCopy(PointerGetDatum(from));
}

/* Of an event's and a line's keys; NULL is like NULL. */
static inline bool
same_text(const text *a, const text *b)
{
	if (a == NULL || b == NULL)
		return a == b;
	return VARSIZE_ANY_EXHDR(a) == VARSIZE_ANY_EXHDR(b) &&
		memcmp(VARDATA_ANY(a), VARDATA_ANY(b), VARSIZE_ANY_EXHDR(a)) == 0;
}

/* What a work function may call. */
extern Entry *account_entry(Account *account, EntryKind kind, TimestampTz event_time);
extern Entry *account_correction(Account *account);	/* of an award, upwards: no activity of the member's */
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

/* Whether the one who has the account's points is a member no more. */
extern bool account_is_closed(Account *account);

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

extern const char *entry_kind_name(EntryKind kind);
extern EntryKind entry_kind_of(Datum name);	/* ENTRY_KINDS: of none */

/*
 * The status wing keeps tiers by these: one is called at the end of each
 * visit's work, and may change the account's tier; the other when the account
 * is written, and may write rows that go with it.
 */
extern void (*post_review_hook) (Account *account);
extern void (*post_store_hook) (Account *account);

/* Columns of the ledger's tables */
enum
{
	ACCOUNT_ID = 1, ACCOUNT_MEMBER, ACCOUNT_CURRENCY, ACCOUNT_ENTRIES, ACCOUNT_LOTS, ACCOUNT_STATE,
	ACCOUNT_POSTED, ACCOUNT_LIVE, ACCOUNT_PENDING, ACCOUNT_HELD, ACCOUNT_DEBT,
	ACCOUNT_EARNED, ACCOUNT_REDEEMED, ACCOUNT_EXPIRED, ACCOUNT_AS_OF, ACCOUNT_NEXT_CHANGE,
	ACCOUNT_TIER, ACCOUNT_TIER_SINCE, ACCOUNT_TIER_UNTIL, ACCOUNT_HEAD, ACCOUNT_KEY, ACCOUNT_CLOCK_END,
	ACCOUNT_MERGED_INTO,
	ACCOUNT_NATTS = ACCOUNT_MERGED_INTO
};
enum
{
	LOT_ACCOUNT = 1, LOT_NO, LOT_OPEN, LOT_ISSUED, LOT_VALID_FROM, LOT_EXPIRES_AT, LOT_EARNED_AT,
	LOT_CREDITED, LOT_REMAINING, LOT_HELD, LOT_EXPIRED, LOT_WAIVED,
	LOT_NATTS = LOT_WAIVED,
	LOT_KEY_NO = 5				/* in lot_pkey */
};
enum
{
	ENTRY_ACCOUNT = 1, ENTRY_NO, ENTRY_LOT, ENTRY_POINTS, ENTRY_EVENT_TIME, ENTRY_RECORDED_AT,
	ENTRY_BASE, ENTRY_REFUNDED, ENTRY_FORGIVEN, ENTRY_SOURCE, ENTRY_RULE, ENTRY_REVERSES,
	ENTRY_ACTOR, ENTRY_KIND, ENTRY_EVENT, ENTRY_LINE, ENTRY_REASON, ENTRY_HASH,
	ENTRY_NATTS = ENTRY_HASH
};
enum
{
	ALLOCATION_ACCOUNT = 1, ALLOCATION_ENTRY, ALLOCATION_NO, ALLOCATION_LOT, ALLOCATION_POINTS,
	ALLOCATION_RETURNED,
	ALLOCATION_NATTS = ALLOCATION_RETURNED
};
enum
{
	ANCHOR_ACCOUNT = 1, ANCHOR_ENTRIES, ANCHOR_BEFORE, ANCHOR_ARCHIVED_AT, ANCHOR_POINTS, ANCHOR_EARNED,
	ANCHOR_REDEEMED, ANCHOR_EXPIRED, ANCHOR_RECORDED_AT, ANCHOR_HASH,
	ANCHOR_NATTS = ANCHOR_HASH
};
enum
{
	ANCHOR_LOT_ACCOUNT = 1, ANCHOR_LOT_ENTRIES, ANCHOR_LOT_NO, ANCHOR_LOT_POINTS, ANCHOR_LOT_CREDITED,
	ANCHOR_LOT_EXPIRED, ANCHOR_LOT_OPENED_BY, ANCHOR_LOT_OPENED_AT, ANCHOR_LOT_ENDED_BY, ANCHOR_LOT_ENDED_AT,
	ANCHOR_LOT_NATTS = ANCHOR_LOT_ENDED_AT
};
enum
{
	REQUEST_PROGRAM = 1, REQUEST_ID, REQUEST_ACCOUNT, REQUEST_ENTRY, REQUEST_CONTENT, REQUEST_RECORDED_AT,
	REQUEST_NATTS = REQUEST_RECORDED_AT
};

#endif							/* LOYALTY_POST_H */
