/*
 * confirm.c
 *		Making awards live that wait to be confirmed.
 *
 * Such an award has a lot of its own, which begins never (valid_from is
 * infinity) and ends when its points would have ended anyway.  A confirmation
 * takes what is left of it out and puts it into a lot that is live, by two
 * entries which name the award: the one that takes names in "reverses" which
 * entry was confirmed, the next gives.  So the ledger alone says when what
 * became live, nothing that was booked changes, and whoever looks for the
 * award's own lot finds the one it is in by now.
 *
 * Lines of one event by a rule that counts by events share a lot, and are
 * confirmed together, by a pair for each line.
 */
#include "postgres.h"

#include "access/nbtree.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/builtins.h"

#include "base/errors.h"
#include "ledger/post.h"

PG_FUNCTION_INFO_V1(loyalty_confirm);

/* What is in the lot by a key: a row's, whose key may have changed since. */
typedef struct Share
{
	text	   *event;
	text	   *line;
	Points		points;
} Share;

typedef struct Confirmation
{
	int64		entry_id;
	int32		entry_no;
	text	   *reason;
	/* of one run of the work function */
	int32		source_id;
	int32		rule_id;
	text	   *event;
	int32		made_by;		/* the entry that gave the points, under whatever key */
	int32		lot_no;
	Share	   *shares;
	int			nshares;
	Points		carried;		/* by a change of key that says no lot */
	bool		rekeyed;
	int32		answer;			/* the entry that gives; 0: not confirmed yet */
} Confirmation;

static _Noreturn void
refuse_unknown(int64 entry_id, const char *detail)
{
	ereport(ERROR,
			(errcode(ERRCODE_LY_UNKNOWN_ENTRY),
			 errmsg("entry " INT64_FORMAT " is not an award", entry_id),
			 errdetail("%s", detail),
			 errhint("Use the id of an entry of kind earn; the view loyalty.entries has it.")));
}

static EntryKind
kind_of(TupleTableSlot *slot)
{
	static const EntryKind kinds[] = {ENTRY_EARN, ENTRY_REKEY, ENTRY_CONFIRM};
	bool		isnull;
	char	   *name = TextDatumGetCString(slot_getattr(slot, ENTRY_KIND, &isnull));

	for (int i = 0; i < (int) lengthof(kinds); i++)
		if (strcmp(name, entry_kind_name(kinds[i])) == 0)
			return kinds[i];
	return ENTRY_KINDS;
}

static text *
copy_text(TupleTableSlot *slot, int column)
{
	bool		isnull;
	Datum		value = slot_getattr(slot, column, &isnull);

	return isnull ? NULL : DatumGetTextPCopy(value);
}

/* False: the entry is not in this table. */
static bool
read_award_from(Account *account, Table *table, const char *index, Confirmation *confirmation)
{
	TableScan	scan;
	TableKey	keys[2] = {
		{BTEqualStrategyNumber, Int64GetDatum(account->account_id)},
		{BTEqualStrategyNumber, Int32GetDatum(confirmation->entry_no)}
	};
	bool		found;

	table_scan_begin(&scan, table, index, account->post->snapshot, 2, keys);
	found = table_scan_next(&scan);
	if (found)
	{
		Datum	   *values = table->slot->tts_values - 1;
		bool	   *nulls = table->slot->tts_isnull - 1;
		EntryKind	kind;

		slot_getallattrs(table->slot);
		kind = kind_of(table->slot);
		if (kind != ENTRY_EARN && !(kind == ENTRY_REKEY && DatumGetPoints(values[ENTRY_POINTS]) > 0))
			refuse_unknown(confirmation->entry_id, "Only what an event earned waits to be confirmed.");
		confirmation->source_id = DatumGetInt32(values[ENTRY_SOURCE]);
		confirmation->rule_id = DatumGetInt32(values[ENTRY_RULE]);
		confirmation->event = copy_text(table->slot, ENTRY_EVENT);
		confirmation->lot_no = nulls[ENTRY_LOT] ? 0 : DatumGetInt32(values[ENTRY_LOT]);
		confirmation->made_by = nulls[ENTRY_REVERSES] ? confirmation->entry_no : DatumGetInt32(values[ENTRY_REVERSES]);
	}
	table_scan_end(&scan);
	return found;
}

/* The award that the entry made, or carried on under another key; LY004, LY020. */
static void
read_award(Account *account, Confirmation *confirmation)
{
	Post	   *post = account->post;

	/* What waits is never archived, what was confirmed or taken back is. */
	if (!read_award_from(account, post_table(post, &post->entry, "entry", ENTRY_NATTS), "entry_pkey", confirmation) &&
		!(post_has_archive(post) &&
		  read_award_from(account, &post->archived_entry, "archived_entry_pkey", confirmation)))
	{
		if (confirmation->entry_no <= account->last_entry)
			post_refuse_discarded(post, account->account_id, DT_NOBEGIN);
		refuse_unknown(confirmation->entry_id, "No entry has such an id.");
	}
	if (confirmation->lot_no == 0)
		confirmation->lot_no = post_allocated_lot(post, account->account_id, confirmation->made_by);
}

/* What the entry in the slot did to the lot. */
static Points
effect_on_lot(Account *account, TupleTableSlot *slot, int32 lot_no)
{
	Post	   *post = account->post;
	Datum	   *values = slot->tts_values - 1;
	TableScan	scan;
	TableKey	keys[2];
	Points		sum = 0;

	if (!(slot->tts_isnull - 1)[ENTRY_LOT])
		return DatumGetInt32(values[ENTRY_LOT]) == lot_no ? DatumGetPoints(values[ENTRY_POINTS]) : 0;
	keys[0] = (TableKey) {BTEqualStrategyNumber, Int64GetDatum(account->account_id)};
	keys[1] = (TableKey) {BTEqualStrategyNumber, values[ENTRY_NO]};
	table_scan_begin(&scan, post_table(post, &post->allocation, "allocation", ALLOCATION_NATTS),
					 "allocation_pkey", post->snapshot, 2, keys);
	while (table_scan_next(&scan))
	{
		Datum	   *allocated = post->allocation.slot->tts_values - 1;

		slot_getallattrs(post->allocation.slot);
		if (DatumGetInt32(allocated[ALLOCATION_LOT]) == lot_no)
			sum = points_add(sum, DatumGetPoints(allocated[ALLOCATION_POINTS]));
	}
	table_scan_end(&scan);
	return sum;
}

static Share *
share_of(Confirmation *confirmation, text *event, text *line)
{
	Share	   *share;

	for (int i = 0; i < confirmation->nshares; i++)
		if (same_text(confirmation->shares[i].event, event) && same_text(confirmation->shares[i].line, line))
			return &confirmation->shares[i];
	confirmation->shares = confirmation->nshares == 0 ? palloc(sizeof(Share) * 4) :
		confirmation->nshares % 4 == 0 ?
		repalloc(confirmation->shares, sizeof(Share) * (confirmation->nshares + 4)) : confirmation->shares;
	share = &confirmation->shares[confirmation->nshares++];
	*share = (Share) {event, line, 0};
	return share;
}

static void
add_entry(Account *account, Confirmation *confirmation, TupleTableSlot *slot)
{
	Datum	   *values = slot->tts_values - 1;
	bool	   *nulls = slot->tts_isnull - 1;
	EntryKind	kind;
	Points		points;
	Share	   *share;

	slot_getallattrs(slot);
	if (nulls[ENTRY_SOURCE] || DatumGetInt32(values[ENTRY_SOURCE]) != confirmation->source_id ||
		nulls[ENTRY_RULE] || DatumGetInt32(values[ENTRY_RULE]) != confirmation->rule_id)
		return;
	kind = kind_of(slot);
	points = DatumGetPoints(values[ENTRY_POINTS]);
	share = share_of(confirmation, copy_text(slot, ENTRY_EVENT), copy_text(slot, ENTRY_LINE));
	confirmation->rekeyed |= kind == ENTRY_REKEY;
	if (kind == ENTRY_CONFIRM && points < 0 && confirmation->answer == 0 && !nulls[ENTRY_LOT] &&
		DatumGetInt32(values[ENTRY_LOT]) == confirmation->lot_no)
		confirmation->answer = DatumGetInt32(values[ENTRY_NO]) + 1;

	/* What repaid a debt in part says no lot as its key changes: all that is there goes along. */
	if (kind == ENTRY_REKEY && nulls[ENTRY_LOT])
	{
		if (points < 0)
		{
			confirmation->carried = share->points;
			share->points = 0;
		}
		else
		{
			share->points = points_add(share->points, confirmation->carried);
			confirmation->carried = 0;
		}
		return;
	}
	share->points = points_add(share->points, effect_on_lot(account, slot, confirmation->lot_no));
}

static void
add_entries(Account *account, Confirmation *confirmation, Table *table, const char *index)
{
	TableScan	scan;
	TableKey	key = {BTEqualStrategyNumber, Int64GetDatum(account->account_id)};

	table_scan_begin(&scan, table, index, account->post->snapshot, 1, &key);
	while (table_scan_next(&scan))
	{
		CHECK_FOR_INTERRUPTS();
		add_entry(account, confirmation, table->slot);
	}
	table_scan_end(&scan);
}

/* By which keys the lot's points are booked, and whether it was confirmed before. */
static void
read_shares(Account *account, Confirmation *confirmation)
{
	Post	   *post = account->post;
	TupleTableSlot *slot;

	post_entries_of(post, account->account_id, confirmation->event);
	while ((slot = post_next_entry(post)) != NULL)
		add_entry(account, confirmation, slot);
	if (!confirmation->rekeyed)
		return;

	/* Under which key it goes on only all entries tell. */
	confirmation->nshares = 0;
	confirmation->carried = 0;
	if (post_has_archive(post))
		add_entries(account, confirmation, &post->archived_entry, "archived_entry_pkey");
	add_entries(account, confirmation, &post->entry, "entry_pkey");
}

static Entry *
confirmation_entry(Account *account, const Confirmation *confirmation, const Share *share)
{
	Entry	   *entry = account_entry(account, ENTRY_CONFIRM, account->post->now);

	entry->source_id = confirmation->source_id;
	entry->rule_id = confirmation->rule_id;
	entry->event = share->event;
	entry->line = share->line;
	entry->reason = confirmation->reason;
	return entry;
}

static void
confirm_work(Account *account, void *arg)
{
	Confirmation *confirmation = arg;
	Lot		   *lot;
	Points		left;
	LotDates	dates;

	confirmation->shares = NULL;
	confirmation->nshares = 0;
	confirmation->carried = 0;
	confirmation->rekeyed = false;
	confirmation->answer = 0;
	read_award(account, confirmation);
	lot = confirmation->lot_no == 0 ? NULL : account_lot(account, confirmation->lot_no);
	if (lot == NULL || lot->dates.valid_from != DT_NOEND)
		ereport(ERROR,
				(errcode(ERRCODE_LY_NOT_PENDING),
				 errmsg("entry " INT64_FORMAT " does not wait to be confirmed", confirmation->entry_id),
				 errdetail("%s", lot == NULL ? "It gave no points to a lot." :
						   "Its points can be spent, or will be at a time that is known."),
				 errhint("Awards wait if their currency says confirm => true when they are made.")));

	read_shares(account, confirmation);
	if (lot->remaining == 0 && confirmation->answer != 0)
		return;
	if (lot->dates.expires_at <= account->as_of && (lot->remaining > 0 || lot->expired > 0))
		ereport(ERROR,
				(errcode(ERRCODE_LY_AWARD_EXPIRED),
				 errmsg("the points ended before they were confirmed"),
				 errdetail("They ended at %s.", timestamptz_to_str(lot->dates.expires_at)),
				 errhint("Confirm in time, or give others by loyalty.adjust().")));
	if (lot->remaining == 0)
		ereport(ERROR,
				(errcode(ERRCODE_LY_AWARD_REVERSED),
				 errmsg("nothing is left to be confirmed"),
				 errdetail("What entry " INT64_FORMAT " gave was taken back.", confirmation->entry_id),
				 errhint("Nothing is to be done: the event earns no points any more.")));

	dates = lot->dates;
	dates.valid_from = DT_NOBEGIN;
	if (lot->on_clock)
	{
		dates.own_end = dates.expires_at;
		dates.expires_at = LOT_ON_CLOCK;
	}
	confirmation->answer = 0;
	left = lot->remaining;
	for (int i = 0; i < confirmation->nshares && left > 0; i++)
	{
		const Share *share = &confirmation->shares[i];
		Points		part = Min(share->points, left);
		Entry	   *entry;

		if (part <= 0)
			continue;
		entry = confirmation_entry(account, confirmation, share);
		entry->reverses = confirmation->entry_no;
		account_empty_lot(account, entry, part, lot);
		entry = confirmation_entry(account, confirmation, share);
		account_credit(account, entry, part, &dates);
		if (confirmation->answer == 0)
			confirmation->answer = entry->entry_no;
		left -= part;
	}
	if (left > 0)
		ereport(ERROR,
				(errcode(ERRCODE_LY_LEDGER_DAMAGED),
				 errmsg("lot %d of account " INT64_FORMAT " has points that no award gave", lot->lot_no,
						account->account_id),
				 errhint("Something other than the ledger's functions writes it; run SELECT * FROM loyalty.verify().")));
}

/* confirm(entry, reason) */
Datum
loyalty_confirm(PG_FUNCTION_ARGS)
{
	Confirmation confirmation = {0};
	Post		post;
	const Currency *currency;
	ItemPointerData tid;
	int64		account_id;

	if (PG_ARGISNULL(0))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("entry must not be NULL"),
				 errdetail("The call can't mean anything without it."),
				 errhint("Only arguments with a default may be left out.")));
	confirmation.entry_id = PG_GETARG_INT64(0);
	confirmation.entry_no = (int32) (confirmation.entry_id % ENTRIES_PER_ACCOUNT);
	confirmation.reason = PG_ARGISNULL(1) ? NULL : PG_GETARG_TEXT_PP(1);
	account_id = confirmation.entry_id / ENTRIES_PER_ACCOUNT;

	post_begin(&post);
	currency = confirmation.entry_id <= 0 || confirmation.entry_no == 0 ? NULL :
		post_account_currency(&post, account_id);
	if (currency == NULL)
		refuse_unknown(confirmation.entry_id, "No entry has such an id.");
	program_check_access(currency->program->program_id);
	ItemPointerCopy(&post.account.slot->tts_tid, &tid);
	post_account(&post, account_id, &tid, confirm_work, &confirmation);
	post_end(&post);
	PG_RETURN_INT64(ENTRY_ID(account_id, confirmation.answer));
}
