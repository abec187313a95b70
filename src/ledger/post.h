/*
 * post.h
 *		The one door by which a balance changes.
 *
 * A session (Post) visits accounts in ascending order of their ids.  At each
 * visit the caller's work function reads the account and asks for movements;
 * it may run again from scratch if another transaction got in between, so it
 * must have no effect but through the calls of ledger/account.  The account row is
 * updated once a visit, and that update is the lock: lots and entries of an
 * account are written only by a transaction that has updated its row.
 */
#ifndef LOYALTY_POST_H
#define LOYALTY_POST_H

#include "ledger/account.h"

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
	bool		holds;			/* a visit has locked its account */
	bool		given_up;		/* by the work of a visit, of which nothing is written then */
};

extern void post_begin(Post *post);
extern void post_end(Post *post);

/* Ends a session whose writes its subtransaction is about to undo, or that wrote nothing. */
extern void post_abandon(Post *post);

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

/* The row of an account into post->account.slot; hint may be NULL.  False: it is not there, which is then refused. */
extern bool post_find_row(Post *post, int64 account_id, ItemPointer hint);
extern void post_refuse_missing(int64 account_id);

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

/*
 * Locks the accounts in whose visits these are written, in the order of ids; they may be visited in any
 * order then.  Answers how many they are; *ids, if wanted, is who they are, in that order.
 */
extern int	post_lock_roots(Post *post, const int64 *accounts, int n, int64 **ids);

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
	LOT_ACCOUNT = 1, LOT_NO, LOT_OPEN, LOT_BY_ACTIVITY, LOT_EXTENDED, LOT_ISSUED, LOT_OPENED_BY,
	LOT_VALID_FROM, LOT_EXPIRES_AT, LOT_EARNED_AT, LOT_CREDITED, LOT_REMAINING, LOT_HELD, LOT_EXPIRED,
	LOT_WAIVED,
	LOT_NATTS = LOT_WAIVED,
	LOT_KEY_NO = 5				/* in lot_pkey */
};
enum
{
	ENTRY_ACCOUNT = 1, ENTRY_NO, ENTRY_LOT, ENTRY_POINTS, ENTRY_EVENT_TIME, ENTRY_RECORDED_AT,
	ENTRY_BASE, ENTRY_REFUNDED, ENTRY_FORGIVEN, ENTRY_SOURCE, ENTRY_RULE, ENTRY_REVERSES,
	ENTRY_ACTOR, ENTRY_KIND, ENTRY_EVENT, ENTRY_LINE, ENTRY_REASON, ENTRY_HASH,
	ENTRY_CLOCK_END, ENTRY_CLOCK_ENDED,
	ENTRY_NATTS = ENTRY_CLOCK_ENDED
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
	ANCHOR_LOT_WAIVED,
	ANCHOR_LOT_NATTS = ANCHOR_LOT_WAIVED
};
enum
{
	REQUEST_PROGRAM = 1, REQUEST_ID, REQUEST_ACCOUNT, REQUEST_ENTRY, REQUEST_CONTENT, REQUEST_RECORDED_AT,
	REQUEST_NATTS = REQUEST_RECORDED_AT
};

#endif							/* LOYALTY_POST_H */
