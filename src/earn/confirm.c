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
 * An award of a merged member waits with the member, and its points go on from
 * there like those of any award (ledger/merged).
 *
 * Lines of one event by a rule that counts by events share a lot, and are
 * confirmed together, by a pair for each line.
 */
#include "postgres.h"

#include "access/nbtree.h"
#include "utils/builtins.h"

#include "base/array.h"
#include "base/errors.h"
#include "ledger/request.h"

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
	int32		lot_no;
	Share	   *shares;
	int			nshares;
	int			shares_room;
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

/* The award that the entry made, or carried on under another key; LY004, LY020. */
static void
read_award(Account *account, Confirmation *confirmation)
{
	Post	   *post = account->post;
	TupleTableSlot *slot = post_entry(post, account->account_id, confirmation->entry_no, false);
	Datum	   *values;
	bool	   *nulls;
	EntryKind	kind;
	int32		made_by;

	/* What waits is never archived, what was confirmed or taken back is. */
	if (slot == NULL && post_has_archive(post))
		slot = post_entry(post, account->account_id, confirmation->entry_no, true);
	if (slot == NULL)
	{
		if (confirmation->entry_no <= account->last_entry)
			post_refuse_discarded(post, account->account_id, DT_NOBEGIN);
		refuse_unknown(confirmation->entry_id, "No entry has such an id.");
	}
	values = slot->tts_values - 1;
	nulls = slot->tts_isnull - 1;
	kind = entry_kind_of(values[ENTRY_KIND]);
	if (kind != ENTRY_EARN && !(kind == ENTRY_REKEY && DatumGetPoints(values[ENTRY_POINTS]) > 0))
		refuse_unknown(confirmation->entry_id, "Only what an event earned waits to be confirmed.");
	confirmation->source_id = DatumGetInt32(values[ENTRY_SOURCE]);
	confirmation->rule_id = DatumGetInt32(values[ENTRY_RULE]);
	confirmation->event = copy_text(slot_text(slot, ENTRY_EVENT));
	confirmation->lot_no = nulls[ENTRY_LOT] ? 0 : DatumGetInt32(values[ENTRY_LOT]);
	made_by = nulls[ENTRY_REVERSES] ? confirmation->entry_no : DatumGetInt32(values[ENTRY_REVERSES]);
	if (confirmation->lot_no == 0)
		confirmation->lot_no = post_allocated_lot(post, account->account_id, made_by);
}

/* What the entry in the slot did to the lot. */
static Points
effect_on_lot(Account *account, TupleTableSlot *slot, int32 lot_no)
{
	Datum	   *values = slot->tts_values - 1;
	bool	   *nulls = slot->tts_isnull - 1;
	TableScan	scan;
	Table	   *allocation;
	Points		sum = 0;

	if (!nulls[ENTRY_LOT])
		return DatumGetInt32(values[ENTRY_LOT]) == lot_no ? DatumGetPoints(values[ENTRY_POINTS]) : 0;
	allocation = post_scan_allocations(account->post, &scan, account->account_id, DatumGetInt32(values[ENTRY_NO]), false);
	while (table_scan_next(&scan))
	{
		Datum	   *allocated = allocation->slot->tts_values - 1;

		slot_getallattrs(allocation->slot);
		if (DatumGetInt32(allocated[ALLOCATION_LOT]) == lot_no)
			sum = points_add(sum, DatumGetPoints(allocated[ALLOCATION_POINTS]));
	}
	table_scan_end(&scan);
	return sum;
}

static Share *
share_of(Confirmation *confirmation, const text *event, const text *line)
{
	Share	   *share;

	for (int i = 0; i < confirmation->nshares; i++)
		if (same_text(confirmation->shares[i].event, event) && same_text(confirmation->shares[i].line, line))
			return &confirmation->shares[i];
	confirmation->shares = array_grow(confirmation->shares, confirmation->nshares, &confirmation->shares_room, sizeof(Share));
	share = &confirmation->shares[confirmation->nshares++];
	*share = (Share) {copy_text(event), copy_text(line), 0};
	return share;
}

static void
add_entry(Account *account, Confirmation *confirmation, TupleTableSlot *slot)
{
	Datum	   *values = slot->tts_values - 1;
	bool	   *nulls = slot->tts_isnull - 1;
	const text *event;
	const text *line;
	EntryKind	kind;
	Points		points;
	Share	   *share;

	slot_getallattrs(slot);
	if (nulls[ENTRY_SOURCE] || DatumGetInt32(values[ENTRY_SOURCE]) != confirmation->source_id ||
		nulls[ENTRY_RULE] || DatumGetInt32(values[ENTRY_RULE]) != confirmation->rule_id)
		return;
	kind = entry_kind_of(values[ENTRY_KIND]);
	points = DatumGetPoints(values[ENTRY_POINTS]);
	event = slot_text(slot, ENTRY_EVENT);
	line = slot_text(slot, ENTRY_LINE);
	confirmation->rekeyed |= kind == ENTRY_REKEY;
	if (kind == ENTRY_CONFIRM && points < 0 && confirmation->answer == 0 && !nulls[ENTRY_LOT] &&
		DatumGetInt32(values[ENTRY_LOT]) == confirmation->lot_no)
		confirmation->answer = DatumGetInt32(values[ENTRY_NO]) + 1;

	/* What repaid a debt in part says no lot as its key changes: all that is there goes along. */
	if (kind == ENTRY_REKEY && nulls[ENTRY_LOT])
	{
		share = share_of(confirmation, event, line);
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

	/* All of an account's entries may be asked, of which few are of the award. */
	points = effect_on_lot(account, slot, confirmation->lot_no);
	if (points == 0)
		return;
	share = share_of(confirmation, event, line);
	share->points = points_add(share->points, points);
}

static void
add_entries(Account *account, Confirmation *confirmation, Table *table, const char *index)
{
	TableScan	scan;
	TableKey	key = {BTEqualStrategyNumber, Int64GetDatum(account->account_id)};

	table_scan_begin(&scan, table, index, account->post->snapshot, 1, &key);
	while (table_scan_next(&scan))
		add_entry(account, confirmation, table->slot);
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
	confirmation->nshares = confirmation->shares_room = 0;
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

	dates = dates_of_lot(lot);
	dates.valid_from = DT_NOBEGIN;
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
	int64		account_id;

	require_argument(fcinfo, 0, "entry");
	confirmation.entry_id = PG_GETARG_INT64(0);
	confirmation.reason = ARG_TEXT_OR_NULL(1);

	post_begin(&post);
	if (post_entry_currency(&post, confirmation.entry_id, &account_id, &confirmation.entry_no, NULL) == NULL)
		refuse_unknown(confirmation.entry_id, "No entry has such an id.");
	post_account_wherever(&post, account_id, confirm_work, &confirmation);
	post_end(&post);
	PG_RETURN_INT64(ENTRY_ID(account_id, confirmation.answer));
}
