/*
 * giveback.c
 *		Returning redeemed points to the very lots that paid.
 *
 * The last lot that paid is the first to get back; no lot gets back more than
 * it paid, and none is given a longer life by it unless the caller grants one.
 *
 * Where what can't be taken back is forgiven: a purchase undone while its points
 * were spent, or held, let them off.  When they come back, or the hold ends, that
 * is made up for.  Which purchase it was is known from the entries alone, so these
 * are read; points let off are few, and points given back fewer.
 *
 * A redemption from a pool is given back to all accounts that paid it, as one:
 * the last lot that paid, whosesoever, is the first to get back.
 */
#include "postgres.h"

#include "access/nbtree.h"
#include "lib/qunique.h"
#include "utils/builtins.h"

#include "base/array.h"
#include "base/errors.h"
#include "earn/rule.h"
#include "ledger/merged.h"
#include "ledger/reserve.h"
#include "spend/pool.h"
#include "spend/spend.h"

PG_FUNCTION_INFO_V1(loyalty_giveback);

typedef struct Giveback
{
	Request		request;
	int32		redeem_no;
	bool		all;
	Points		points;
	Interval   *grace;
	text	   *reason;
	int64		answer;
	int32		entry_no;
	text	   *line;			/* of a redemption that several accounts paid */

	/* of such a one */
	int64		account_id;		/* of the entry that is the answer */
	const Payment *payments;
	int			npayments;
	const int64 *payers;		/* their accounts, by ids */
	int			npayers;
} Giveback;

/*
 * The allocations of a redemption, in the order they paid, in account->allocations.
 * Its line: it has one when other accounts may have paid as well.
 */
static text *
read_redemption(Account *account, int32 entry_no)
{
	Post	   *post = account->post;
	TableScan	scan;
	Table	   *table;
	bool		archived = false;
	TupleTableSlot *slot = post_entry(post, account->account_id, entry_no, false);
	text	   *line;

	if (slot == NULL && post_has_archive(post))
	{
		slot = post_entry(post, account->account_id, entry_no, true);
		archived = slot != NULL;
	}
	if (slot == NULL && entry_no <= account->last_entry)
		post_refuse_discarded(post, account->account_id, DT_NOBEGIN);
	if (slot == NULL || entry_kind_of(slot->tts_values[ENTRY_KIND - 1]) != ENTRY_REDEEM)
		ereport(ERROR,
				(errcode(ERRCODE_LY_UNKNOWN_ENTRY),
				 errmsg("entry " INT64_FORMAT " is not a redemption", ENTRY_ID(account->account_id, entry_no)),
				 errdetail("Only redeemed points can be given back."),
				 errhint("Use the id that loyalty.redeem() answered.")));
	line = copy_text(slot_text(slot, ENTRY_LINE));

	table = post_scan_allocations(post, &scan, account->account_id, entry_no, archived);
	while (table_scan_next(&scan))
	{
		Datum	   *values = table->slot->tts_values - 1;
		Allocation *allocation;
		Entry		paid = {.entry_no = entry_no};

		slot_getallattrs(table->slot);
		allocation = account_allocate(account, &paid, DatumGetInt32(values[ALLOCATION_LOT]),
									  DatumGetPoints(values[ALLOCATION_POINTS]));
		allocation->allocation_no = DatumGetInt32(values[ALLOCATION_NO]);
		allocation->returned = DatumGetPoints(values[ALLOCATION_RETURNED]);
		allocation->fresh = false;
		allocation->archived = archived;
		ItemPointerCopy(&table->slot->tts_tid, &allocation->tid);
	}
	table_scan_end(&scan);
	return line;
}

/* ----------------------------------------------------------------
 *		What undone purchases let off
 * ---------------------------------------------------------------- */

/* Of one award: of points of the lot that is its own, the latest that it was credited to. */
typedef struct LetOff
{
	int32		source_id;
	int32		rule_id;
	text	   *event;
	text	   *line;
	int32		lot_no;
	Points		forgiven;
} LetOff;

typedef struct LetOffs
{
	LetOff	   *awards;			/* by event, line and rule */
	int			n;
	int			room;
} LetOffs;

static int
compare_text(const text *a, const text *b)
{
	int			order;

	if (a == NULL || b == NULL)
		return (a != NULL) - (b != NULL);
	order = memcmp(VARDATA_ANY(a), VARDATA_ANY(b), Min(VARSIZE_ANY_EXHDR(a), VARSIZE_ANY_EXHDR(b)));
	return order != 0 ? order : (int) VARSIZE_ANY_EXHDR(a) - (int) VARSIZE_ANY_EXHDR(b);
}

static int
compare_awards(const void *x, const void *y)
{
	const LetOff *a = x;
	const LetOff *b = y;
	int			order = compare_text(a->event, b->event);

	if (order == 0)
		order = compare_text(a->line, b->line);
	if (order == 0)
		order = (a->rule_id > b->rule_id) - (a->rule_id < b->rule_id);
	if (order == 0)
		order = (a->source_id > b->source_id) - (a->source_id < b->source_id);
	return order;
}

/* The award that the entry in the slot is of; false: of none. Its texts are the slot's. */
static bool
read_award(TupleTableSlot *slot, LetOff *award)
{
	Datum	   *values = slot->tts_values - 1;
	bool	   *nulls = slot->tts_isnull - 1;

	slot_getallattrs(slot);
	if (nulls[ENTRY_SOURCE] || nulls[ENTRY_RULE] || nulls[ENTRY_EVENT])
		return false;
	memset(award, 0, sizeof(*award));
	award->source_id = DatumGetInt32(values[ENTRY_SOURCE]);
	award->rule_id = DatumGetInt32(values[ENTRY_RULE]);
	award->event = slot_text(slot, ENTRY_EVENT);
	award->line = slot_text(slot, ENTRY_LINE);
	return true;
}

static void
note_award(LetOffs *found, LetOff award)
{
	if (rule_by_id(award.rule_id)->reversal == REVERSAL_NEVER)
		return;
	found->awards = array_grow(found->awards, found->n, &found->room, sizeof(LetOff));
	award.event = copy_text(award.event);
	award.line = copy_text(award.line);
	found->awards[found->n++] = award;
}

/* That of an entry of this visit; its texts are the entry's. */
static bool
award_of(const Entry *entry, LetOff *award)
{
	if (entry->source_id == 0 || entry->rule_id == 0 || entry->event == NULL)
		return false;
	*award = (LetOff) {entry->source_id, entry->rule_id, entry->event, entry->line};
	return true;
}

static void
note_awards(Account *account, Table *table, const char *index, LetOffs *found)
{
	TableScan	scan;
	TableKey	key = {BTEqualStrategyNumber, Int64GetDatum(account->account_id)};

	table_scan_begin(&scan, table, index, account->post->snapshot, 1, &key);
	while (table_scan_next(&scan))
	{
		LetOff		award;
		bool		isnull;

		(void) slot_getattr(table->slot, ENTRY_FORGIVEN, &isnull);
		if (!isnull && read_award(table->slot, &award))
			note_award(found, award);
	}
	table_scan_end(&scan);
}

/* Awards of which something was ever let off, but for those that are never taken back. */
static void
find_awards(Account *account, LetOffs *found)
{
	Post	   *post = account->post;
	int			n = 0;

	if (post_has_archive(post))
		note_awards(account, &post->archived_entry, "archived_entry_pkey", found);
	note_awards(account, post_table(post, &post->entry, "entry", ENTRY_NATTS), "entry_pkey", found);
	for (int i = 0; i < account->nentries; i++)
	{
		LetOff		award;

		if (account->entries[i].forgiven != 0 && award_of(&account->entries[i], &award))
			note_award(found, award);
	}

	if (found->n > 1)
		qsort(found->awards, found->n, sizeof(LetOff), compare_awards);
	for (int i = 0; i < found->n; i++)
		if (i == 0 || compare_awards(&found->awards[i], &found->awards[n - 1]) != 0)
			found->awards[n++] = found->awards[i];
	found->n = n;
}

/* A key used again names a new award; what the old one was let off stays so. */
static void
add_to_award(LetOff *sum, int32 lot_no, Points forgiven)
{
	if (lot_no != 0 && lot_no != sum->lot_no)
	{
		sum->lot_no = lot_no;
		sum->forgiven = 0;
	}
	sum->forgiven = points_add(sum->forgiven, forgiven);
}

/* The lot that an entry of this visit credited. */
static int32
credited_lot(const Account *account, const Entry *entry)
{
	if (entry->points <= 0 || entry->lot_no != 0)
		return entry->points <= 0 ? 0 : entry->lot_no;
	for (int i = 0; i < account->nallocations; i++)
		if (account->allocations[i]->entry_no == entry->entry_no && account->allocations[i]->lot_no != DEBT_LOT)
			return account->allocations[i]->lot_no;
	return 0;
}

static void
add_let_offs(Account *account, Table *table, const char *index, LetOffs *found)
{
	Post	   *post = account->post;
	TableScan	scan;
	TableKey	key = {BTEqualStrategyNumber, Int64GetDatum(account->account_id)};

	table_scan_begin(&scan, table, index, post->snapshot, 1, &key);
	while (table_scan_next(&scan))
	{
		Datum	   *values = table->slot->tts_values - 1;
		bool	   *nulls = table->slot->tts_isnull - 1;
		LetOff		award;
		LetOff	   *sum;
		int32		lot_no = 0;

		if (!read_award(table->slot, &award))
			continue;
		sum = bsearch(&award, found->awards, found->n, sizeof(LetOff), compare_awards);
		if (sum == NULL)
			continue;
		if (DatumGetPoints(values[ENTRY_POINTS]) > 0)
			lot_no = nulls[ENTRY_LOT] ?
				post_allocated_lot(post, account->account_id,
								   DatumGetInt32(values[nulls[ENTRY_REVERSES] ? ENTRY_NO : ENTRY_REVERSES])) :
				DatumGetInt32(values[ENTRY_LOT]);
		add_to_award(sum, lot_no, nulls[ENTRY_FORGIVEN] ? 0 : DatumGetPoints(values[ENTRY_FORGIVEN]));
	}
	table_scan_end(&scan);
}

/* What awards whose own lot it is were let off since it was spent; what had died is not owed. */
static Points
let_off_of(const LetOffs *found, const Lot *lot)
{
	Points		owed = -lot->waived;

	for (int i = 0; i < found->n; i++)
		if (found->awards[i].lot_no == lot->lot_no)
			owed = points_add(owed, found->awards[i].forgiven);
	return owed;
}

/* How much of each is let off still, of which lot; archived entries come first, those of this visit last. */
static void
sum_up(Account *account, LetOffs *found)
{
	Post	   *post = account->post;

	if (post_has_archive(post))
		add_let_offs(account, &post->archived_entry, "archived_entry_pkey", found);
	add_let_offs(account, post_table(post, &post->entry, "entry", ENTRY_NATTS), "entry_pkey", found);
	for (int i = 0; i < account->nentries; i++)
	{
		const Entry *entry = &account->entries[i];
		LetOff		award;
		LetOff	   *sum = !award_of(entry, &award) ? NULL :
			bsearch(&award, found->awards, found->n, sizeof(LetOff), compare_awards);

		if (sum != NULL)
			add_to_award(sum, credited_lot(account, entry), entry->forgiven);
	}
}

/* Of points in a lot, so many go to an award that was let off as many. */
static void
make_up_award(Account *account, LetOff *award, Lot *lot, Points points, TimestampTz at)
{
	Entry	   *entry = account_entry(account, ENTRY_REVERSE, at);

	entry->source_id = award->source_id;
	entry->rule_id = award->rule_id;
	entry->event = award->event;
	entry->line = award->line;
	account_take_back(account, entry, points, lot);
	entry->forgiven -= points;
	award->forgiven -= points;
}

/* Takes so many of points that came back to a lot, or instead of it to another, as far as awards of the lot were let off. */
static Points
make_up(Account *account, LetOffs *found, const Lot *paid, Lot *into, Points points, TimestampTz at)
{
	Points		made_up = 0;

	for (int i = 0; i < found->n && made_up < points; i++)
	{
		LetOff	   *award = &found->awards[i];
		Points		part = Min(points - made_up, award->forgiven);

		if (award->lot_no != paid->lot_no || part <= 0)
			continue;
		make_up_award(account, award, into, part, at);
		made_up += part;
	}
	return made_up;
}

/* ----------------------------------------------------------------
 *		What they are owed when points come back, or free
 * ---------------------------------------------------------------- */

/* What came back alive of a lot that paid, or came free of one that was held. */
typedef struct Returned
{
	Lot		   *paid;
	Lot		   *into;
	Points		points;
} Returned;

/* An account of a person, and what its purchases were let off. */
typedef struct Purchases
{
	Account    *account;
	LetOffs		let_offs;
} Purchases;

typedef struct Person
{
	Purchases  *accounts;		/* each before those merged into it, these by id */
	int			n;
	int			room;
} Person;

static void
add_account(Account *account, void *arg)
{
	Person	   *person = arg;
	Purchases  *purchases;

	person->accounts = array_grow(person->accounts, person->n, &person->room, sizeof(Purchases));
	purchases = &person->accounts[person->n++];
	*purchases = (Purchases) {account};
	find_awards(account, &purchases->let_offs);
	if (purchases->let_offs.n > 0)
		sum_up(account, &purchases->let_offs);
}

/* The person whose points are in the visit of this account. */
static void
read_person(Account *account, Person *person)
{
	memset(person, 0, sizeof(*person));
	merged_each(account_root(account), add_account, person);
	for (int i = 0; i < person->n && person->n > 1; i++)
		account_read_lots(person->accounts[i].account);
}

/*
 * What all of a person's purchases were let off of points of a lot's dates since those were spent or
 * held.  They may have died in another account than the one that earned them, so only all together tell.
 */
static Points
let_off_together(const Person *person, const Lot *lot)
{
	Points		owed = 0;

	if (person->n == 1)
		return Max(let_off_of(&person->accounts[0].let_offs, lot), 0);
	for (int i = 0; i < person->n; i++)
	{
		const Purchases *purchases = &person->accounts[i];
		Account    *account = purchases->account;

		for (int j = 0; j < account->nlots; j++)
			if (merged_same_dates(account, account->lots[j], lot))
				owed = points_add(owed, let_off_of(&purchases->let_offs, account->lots[j]));
	}
	return Max(owed, 0);
}

/*
 * Purchases of who was merged into the account that gets its points back, which were spent there, are
 * known by the dates of the lot that paid; what they are owed goes to them to be taken.
 */
static void
make_up_merged(Purchases *purchases, Returned *back, Points points, TimestampTz at)
{
	Account    *account = purchases->account;

	for (int i = 0; i < purchases->let_offs.n && points > 0; i++)
	{
		LetOff	   *award = &purchases->let_offs.awards[i];
		Lot		   *own = award->lot_no == 0 ? NULL : account_lot(account, award->lot_no);
		Points		part = Min(points, award->forgiven);

		if (own == NULL || part <= 0 || !merged_same_dates(account, own, back->paid))
			continue;
		make_up_award(account, award, merged_fetch(account, part, back->into, own, at), part, at);
		points -= part;
		back->points -= part;
	}
}

/* Points that came back, or that no hold keeps any more, go to the purchases that they were let off to. */
static void
make_up_returned(Account *account, Returned *returned, int nreturned, TimestampTz at)
{
	Person		person;

	read_person(account, &person);
	for (int i = 0; i < person.n; i++)
	{
		Purchases  *purchases = &person.accounts[i];

		for (int j = 0; j < nreturned && account_is_below(purchases->account, account); j++)
		{
			Returned   *back = &returned[j];
			Points		points = Min(back->points, let_off_together(&person, back->paid));

			if (purchases->account == account)
				back->points -= make_up(account, &purchases->let_offs, back->paid, back->into, points, at);
			else
				make_up_merged(purchases, back, points, at);
		}
	}
}

static void
let_off(Account *account, const Lot **lots, int n, Points *let_off)
{
	Person		person;

	read_person(account, &person);
	for (int i = 0; i < n; i++)
		let_off[i] = let_off_together(&person, lots[i]);
}

static void
take_owed(Account *account, Lot *lot, Points points, TimestampTz at)
{
	Returned	back = {lot, lot, points};

	make_up_returned(account, &back, 1, at);
}

void
giveback_init(void)
{
	reserve_let_off_hook = let_off;
	reserve_take_owed_hook = take_owed;
}

/* ----------------------------------------------------------------
 *		Giving back
 * ---------------------------------------------------------------- */

/* What of an allocation was not given back yet. */
static Points
left_of(const Allocation *paid)
{
	return -paid->points - paid->returned;
}

/* How much comes back of what is left to give back. */
static Points
points_to_return(const Giveback *giveback, const Currency *currency, Points returnable)
{
	Points		points = giveback->all ? returnable : giveback->points;

	if (points > returnable || points == 0)
	{
		char		text[POINTS_MAXLEN];

		points_print(returnable, text);
		ereport(ERROR,
				(errcode(ERRCODE_LY_GIVEBACK_BEYOND),
				 errmsg("more would be given back than was redeemed"),
				 errdetail("%s points of this redemption are left to give back.", text),
				 errhint("Leave the points out to give back all that is left.")));
	}
	if (!giveback->all)
		check_points(currency, points);
	return points;
}

/* Gives back parts[i] of the i-th allocation read of the redemption, the last first; the new entry's number. */
static int32
return_parts(Account *account, const Giveback *giveback, int32 redeem_no, const Points *parts, int npaid, text *event)
{
	int32	   *dead = palloc(sizeof(int32) * Max(npaid, 1));
	int			ndead = 0;
	Returned   *returned = palloc(sizeof(Returned) * Max(npaid, 1));
	int			nreturned = 0;
	Entry	   *entry = account_entry(account, ENTRY_GIVEBACK, account->post->now);
	int32		entry_no = entry->entry_no;

	entry->reverses = redeem_no;
	entry->reason = giveback->reason;
	entry->line = giveback->line;
	entry->event = event;
	for (int i = npaid - 1; i >= 0; i--)
	{
		Allocation *paid = account->allocations[i];
		Points		part = parts[i];
		Points		rest = part - Min(part, account->debt);
		Lot		   *lot;

		if (part == 0)
			continue;
		lot = account_lot(account, paid->lot_no);
		paid->returned = points_add(paid->returned, part);
		if (lot->dates.expires_at > account->as_of)
		{
			account_credit_lot(account, entry, part, lot);
			returned[nreturned++] = (Returned) {lot, lot, rest};
		}
		else if (giveback->grace != NULL)
		{
			LotDates	dates = lot->dates;

			dates.expires_at = timestamptz_plus(account->currency->program,
												account->post->now, giveback->grace);
			account_credit(account, entry, part, &dates);
			returned[nreturned++] = (Returned) {lot, account->last_used, rest};
		}
		else
		{
			account_return_dead(account, entry, part, lot);
			dead[ndead++] = lot->lot_no;
		}
	}

	if (account->currency->debt == DEBT_FORGIVE && nreturned > 0)
		make_up_returned(account, returned, nreturned, account->post->now);

	/* What died meanwhile comes back dead. */
	for (int i = 0; i < ndead; i++)
		account_settle_lot(account, dead[i]);
	return entry_no;
}

static void
give_back(Account *account, void *arg)
{
	Giveback   *giveback = arg;
	Points		returnable = 0;
	Points		left;
	Points	   *parts;
	int			npaid;

	giveback->answer = request_answer(account->post, &giveback->request);
	if (giveback->answer != 0)
		return;

	giveback->line = read_redemption(account, giveback->redeem_no);
	if (giveback->line != NULL)
		return;
	npaid = account->nallocations;
	parts = palloc0(sizeof(Points) * Max(npaid, 1));
	for (int i = 0; i < npaid; i++)
		returnable += left_of(account->allocations[i]);
	left = points_to_return(giveback, account->currency, returnable);
	for (int i = npaid - 1; i >= 0 && left > 0; i--)
	{
		parts[i] = Min(left, left_of(account->allocations[i]));
		left -= parts[i];
	}
	giveback->entry_no = return_parts(account, giveback, giveback->redeem_no, parts, npaid, giveback->request.id);
}

/* ----------------------------------------------------------------
 *		What several accounts paid
 * ---------------------------------------------------------------- */

/* One of the accounts, and what it gets. */
typedef struct Receiver
{
	Account    *account;
	int32		redeem_no;
	int			npaid;
	Points	   *parts;
	bool		receives;
} Receiver;

static Receiver *
receiver_of(Receiver *receivers, int n, const Payment *payment)
{
	for (int i = 0; i < n; i++)
		if (receivers[i].account->account_id == payment->account_id &&
			payment->allocation_no >= 1 && payment->allocation_no <= receivers[i].npaid)
			return &receivers[i];
	ereport(ERROR,
			(errcode(ERRCODE_LY_LEDGER_DAMAGED),
			 errmsg("allocation %d of entry " INT64_FORMAT " is not there", payment->allocation_no,
					ENTRY_ID(payment->account_id, payment->entry_no)),
			 errhint("Something other than the ledger's functions writes it; run SELECT * FROM loyalty.verify().")));
}

/* The account that paid, in the visit of whichever has its points now. */
static Account *
find_payer(Account **roots, int n, int64 account_id)
{
	for (int i = 0; i < n; i++)
	{
		Account    *account = account_dependent(roots[i], account_id);

		if (account != NULL)
			return account;
	}
	elog(ERROR, "account " INT64_FORMAT " is in no visit, though all are locked", account_id);
}

static void
give_back_pool(Account **roots, int nroots, void *arg)
{
	Giveback   *giveback = arg;
	int			n = giveback->npayers;
	Receiver   *receivers = palloc0(sizeof(Receiver) * n);
	Points		returnable = 0;
	Points		left;

	giveback->answer = request_answer(roots[0]->post, &giveback->request);
	if (giveback->answer != 0)
		return;

	for (int i = 0; i < n; i++)
	{
		Receiver   *receiver = &receivers[i];
		Account    *account = find_payer(roots, nroots, giveback->payers[i]);

		receiver->account = account;
		for (int p = 0; receiver->redeem_no == 0; p++)
			if (giveback->payments[p].account_id == account->account_id)
				receiver->redeem_no = giveback->payments[p].entry_no;
		giveback->line = read_redemption(account, receiver->redeem_no);
		receiver->npaid = account->nallocations;
		receiver->parts = palloc0(sizeof(Points) * Max(receiver->npaid, 1));
		for (int p = 0; p < receiver->npaid; p++)
			returnable += left_of(account->allocations[p]);
	}
	left = points_to_return(giveback, roots[0]->currency, returnable);
	for (int i = giveback->npayments - 1; i >= 0 && left > 0; i--)
	{
		const Payment *payment = &giveback->payments[i];
		Receiver   *receiver = receiver_of(receivers, n, payment);
		int			at = payment->allocation_no - 1;
		Points		part = Min(left, left_of(receiver->account->allocations[at]));

		receiver->parts[at] = part;
		receiver->receives |= part > 0;
		left -= part;
	}
	for (int i = 0; i < n; i++)
	{
		Receiver   *receiver = &receivers[i];
		bool		first = giveback->entry_no == 0;
		int32		entry_no;

		if (!receiver->receives)
			continue;
		entry_no = return_parts(receiver->account, giveback, receiver->redeem_no, receiver->parts, receiver->npaid,
								first ? giveback->request.id : NULL);
		if (first)
		{
			giveback->entry_no = entry_no;
			giveback->account_id = receiver->account->account_id;
		}
	}
}

/* The accounts that paid the redemption, by their ids; LY004 for a part of one. */
static void
read_payments(Post *post, Giveback *giveback, int64 account_id)
{
	Payment    *payments;
	int64	   *ids;

	giveback->npayments = pool_payments(post, account_id, giveback->redeem_no, &payments);
	giveback->payments = payments;
	if (giveback->npayments == 0)
		ereport(ERROR,
				(errcode(ERRCODE_LY_UNKNOWN_ENTRY),
				 errmsg("entry " INT64_FORMAT " is a part of a redemption from a pool",
						ENTRY_ID(account_id, giveback->redeem_no)),
				 errdetail("Several accounts may have paid; each gets back its own, the last lot that paid first."),
				 errhint("Use the id that loyalty.redeem_pool() answered; loyalty.pool_redemptions has it.")));
	ids = palloc(sizeof(int64) * giveback->npayments);
	for (int i = 0; i < giveback->npayments; i++)
		ids[i] = payments[i].account_id;
	qsort(ids, giveback->npayments, sizeof(int64), post_compare_ids);
	giveback->npayers = qunique(ids, giveback->npayments, sizeof(int64), post_compare_ids);
	giveback->payers = ids;
}

/* giveback(entry_id, points, request_id, reason, grace) */
Datum
loyalty_giveback(PG_FUNCTION_ARGS)
{
	Giveback	giveback = {{0}};
	Post		post;
	int64		account_id;
	const Currency *currency;

	require_argument(fcinfo, 0, "entry_id");
	giveback.all = PG_ARGISNULL(1);
	giveback.points = giveback.all ? 0 : PG_GETARG_POINTS(1);
	giveback.request.id = ARG_TEXT_OR_NULL(2);
	giveback.reason = ARG_TEXT_OR_NULL(3);
	giveback.grace = PG_ARGISNULL(4) ? NULL : PG_GETARG_INTERVAL_P(4);
	if (giveback.grace != NULL &&
		(giveback.grace->month < 0 || giveback.grace->day < 0 || giveback.grace->time < 0 ||
		 giveback.grace->month + giveback.grace->day + giveback.grace->time == 0))
		ereport(ERROR,
				(errcode(ERRCODE_LY_INVALID_TIME),
				 errmsg("the grace must be longer than nothing"),
				 errdetail("It counts from now, and no part of it may be negative."),
				 errhint("Leave it out to give expired points back expired.")));

	post_begin(&post);
	currency = post_entry_currency(&post, PG_GETARG_INT64(0), &account_id, &giveback.redeem_no, NULL);
	if (currency == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_LY_UNKNOWN_ENTRY),
				 errmsg("entry " INT64_FORMAT " does not exist", PG_GETARG_INT64(0)),
				 errdetail("No entry has such an id."),
				 errhint("Use the id that loyalty.redeem() answered.")));
	if (!giveback.all)
		check_points(currency, giveback.points);
	giveback.request.program_id = currency->program->program_id;
	if (giveback.request.id != NULL)
	{
		char		text[POINTS_MAXLEN];
		char	   *grace = "";

		points_print(giveback.points, text);
		if (giveback.grace != NULL)
			grace = psprintf(" grace %d %d " INT64_FORMAT, giveback.grace->month, giveback.grace->day,
							 giveback.grace->time);
		giveback.request.content = psprintf("giveback %s entry " INT64_FORMAT "%s%s",
											giveback.all ? "all" : text, PG_GETARG_INT64(0), grace,
											reason_content(giveback.reason));
	}
	post_account_wherever(&post, account_id, give_back, &giveback);
	if (giveback.answer == 0 && giveback.line != NULL)
	{
		int64	   *roots;
		int			n;

		/* Begun again, since none of its accounts is to be visited before all are locked. */
		post_end(&post);
		post_begin(&post);
		read_payments(&post, &giveback, account_id);
		n = post_lock_roots(&post, giveback.payers, giveback.npayers, &roots);
		post_several(&post, roots, n, give_back_pool, &giveback);
		account_id = giveback.account_id;
	}
	PG_RETURN_INT64(request_finish(&post, &giveback.request, giveback.answer, account_id, giveback.entry_no));
}
