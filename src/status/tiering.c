/*
 * tiering.c
 *		Tiers: up in the transaction that earns them, down only at a period's end.
 *
 * Each visit of the ledger adds what its entries did to the metric to a bucket
 * of the account: one for ever (lifetime), one a period (calendar,
 * anniversary) or one a day (rolling), by when the event was, however late it
 * is booked.  The metric of a window is the sum of its buckets, so a late row
 * and a refund count where the purchase was.  Spending points touches none.
 *
 * The work is done in the ledger's visits: read before the account is written,
 * written after it, under the lock that its update is.
 */
#include "postgres.h"

#include "access/nbtree.h"
#include "utils/builtins.h"
#include "utils/datetime.h"

#include "base/array.h"
#include "ledger/merged.h"
#include "status/tiering.h"

PG_FUNCTION_INFO_V1(loyalty_tiering_review);
PG_FUNCTION_INFO_V1(loyalty_tiering_metric);
PG_FUNCTION_INFO_V1(loyalty_tiering_bucket);

enum
{
	PROGRESS_ACCOUNT = 1, PROGRESS_BUCKET, PROGRESS_METRIC,
	PROGRESS_NATTS = PROGRESS_METRIC
};
enum
{
	CHANGE_ACCOUNT = 1, CHANGE_NO, CHANGE_AT, CHANGE_RECORDED_AT, CHANGE_FROM, CHANGE_TO, CHANGE_REASON,
	CHANGE_METRIC,
	CHANGE_NATTS = CHANGE_METRIC
};

/* What a visit adds to one bucket. */
typedef struct Bucket
{
	TimestampTz start;
	Points		metric;			/* with what was there before */
	bool		there;
	ItemPointerData tid;
} Bucket;

typedef struct TierChange
{
	Datum		from;			/* 0: none */
	Datum		to;
	TimestampTz at;
	const char *reason;
	Points		metric;
} TierChange;

/* What a visit does to an account's standing; kept in account->status until it is stored. */
typedef struct Standing
{
	Bucket	   *buckets;
	int			nbuckets;
	TierChange *changes;
	int			nchanges;
	bool		lowered;		/* something that counted was taken back */
	bool		confirmed;		/* something that had not counted does now */
	TimestampTz enrolled_at;	/* asked for once */
	bool		knows_enrolment;
	Account    *joins;			/* one that is merged into this in this visit */
} Standing;

/* [from, to) of one period; -infinity and infinity for a lifetime. */
typedef struct Window
{
	TimestampTz from;
	TimestampTz to;
} Window;

/* ----------------------------------------------------------------
 *		Windows and buckets
 * ---------------------------------------------------------------- */

static int
months_of(const Program *program)
{
	return program->tier_period.month;
}

/* The day the period of that day begins. */
static int
period_start(Account *account, Standing *standing, int day)
{
	const Program *program = account->currency->program;
	Interval	step = {0};
	int			year;
	int			month;
	int			mday;
	int			first;
	int			n;

	j2date(day, &year, &month, &mday);
	if (program->tier_window == TIER_CALENDAR)
		return date2j(year, (month - 1) / months_of(program) * months_of(program) + 1, 1);

	/* Anniversaries of the enrolment; before it there is only the first period. */
	if (!standing->knows_enrolment)
		standing->enrolled_at = member_enrolled_at(account->member_id);
	standing->knows_enrolment = true;
	first = local_day(program, standing->enrolled_at);
	if (day < first)
		return first;
	{
		int			first_year;
		int			first_month;
		int			first_mday;

		j2date(first, &first_year, &first_month, &first_mday);
		n = ((year - first_year) * 12 + month - first_month) / months_of(program);
	}
	step.month = n * months_of(program);
	while (n > 0 && day_plus(first, &step, 1) > day)
		step.month = --n * months_of(program);
	return day_plus(first, &step, 1);
}

static int
period_after(Account *account, Standing *standing, int start)
{
	const Program *program = account->currency->program;
	Interval	step = {.month = months_of(program)};

	if (program->tier_window == TIER_CALENDAR)
		return day_plus(start, &step, 1);
	/* By way of a day well inside, since anniversaries of the 31st move about. */
	return period_start(account, standing, day_plus(start, &step, 1) + 3);
}

static TimestampTz
bucket_of(Account *account, Standing *standing, TimestampTz time)
{
	const Program *program = account->currency->program;

	switch (program->tier_window)
	{
		case TIER_LIFETIME:
			return DT_NOBEGIN;
		case TIER_ROLLING:
			return local_midnight(program, local_day(program, time));
		default:
			return local_midnight(program, period_start(account, standing, local_day(program, time)));
	}
}

static Window
window_at(Account *account, Standing *standing, TimestampTz time)
{
	const Program *program = account->currency->program;
	Window		window = {DT_NOBEGIN, DT_NOEND};
	int			day;

	if (program->tier_window == TIER_LIFETIME)
		return window;
	day = local_day(program, time);
	if (program->tier_window == TIER_ROLLING)
	{
		window.from = local_midnight(program, day_plus(day, &program->tier_period, -1) + 1);
		window.to = local_midnight(program, day + 1);
	}
	else
	{
		int			start = period_start(account, standing, day);

		window.from = local_midnight(program, start);
		window.to = local_midnight(program, period_after(account, standing, start));
	}
	return window;
}

/* Until when a tier reached at that time is kept: the end of the next period, and grace. */
static bool
kept_until(Account *account, Standing *standing, TimestampTz time, TimestampTz *until)
{
	const Program *program = account->currency->program;

	switch (program->tier_window)
	{
		case TIER_LIFETIME:
			return false;
		case TIER_ROLLING:
			*until = local_midnight(program, day_plus(local_day(program, time), &program->tier_period, 1) + 1);
			break;
		default:
			{
				int			start = period_start(account, standing, local_day(program, time));

				start = period_after(account, standing, start);
				*until = local_midnight(program, period_after(account, standing, start));
			}
	}
	*until = timestamptz_plus(program, *until, &program->tier_grace);
	return true;
}

static Standing *
standing_of(Account *account)
{
	if (account->status == NULL)
		account->status = palloc0(sizeof(Standing));
	return account->status;
}

/* Where what a member did at a time counts for one that it was merged into, as count() has it. */
static TimestampTz
counts_at(Account *account, const Account *root, TimestampTz time)
{
	for (; account != root; account = account->parent)
		time = bucket_of(account, standing_of(account), time);
	return time;
}

/* What of an account, itself or merged into it, can't be spent yet. */
static Points
pending_of(Account *its, const Account *account, Window window)
{
	Points		sum = 0;

	account_read_open(its);
	for (int i = 0; i < its->nlots; i++)
	{
		const Lot  *lot = its->lots[i];
		TimestampTz time;

		if (lot->dates.valid_from <= its->as_of || lot->remaining == 0)
			continue;
		time = counts_at(its, account, lot->earned_at);
		if (time >= window.from && time < window.to)
			sum = points_add(sum, lot->remaining);
	}
	return sum;
}

static Points
pending_below(const Account *visited, const Account *account, Window window)
{
	Points		sum = 0;

	for (int i = 0; i < visited->ndependents; i++)
		if (visited->dependents[i] != account && account_is_below(visited->dependents[i], account))
			sum = points_add(sum, pending_of(visited->dependents[i], account, window));
	return sum;
}

/* The points of a window that can't be spent yet; those of merged members that wait are where they were earned. */
static Points
pending_in(Account *account, const Standing *standing, Window window)
{
	Account    *joins = standing->joins;
	Points		sum;

	if (!account->currency->may_wait && account->currency->program->tier_window == TIER_LIFETIME)
		return account->pending;
	sum = pending_of(account, account, window);
	if (!account->currency->may_wait)
		return sum;
	merged_read(account);
	sum = points_add(sum, pending_below(account_root(account), account, window));
	if (joins != NULL)
		sum = points_add(sum, points_add(pending_of(joins, account, window), pending_below(joins, account, window)));
	return sum;
}

/* The sum of the buckets in a window, with what this visit adds. */
static Points
metric_in(Account *account, const Standing *standing, Window window)
{
	Post	   *post = account->post;
	Table	   *table = post_table(post, &post->progress, "tier_progress_bucket", PROGRESS_NATTS);
	TableScan	scan;
	TableKey	keys[2] = {
		{BTEqualStrategyNumber, Int64GetDatum(account->account_id)},
		{BTGreaterEqualStrategyNumber, TimestampTzGetDatum(window.from)}
	};
	Points		sum = 0;

	table_scan_begin(&scan, table, "tier_progress_bucket_pkey", post->snapshot, 2, keys);
	while (table_scan_next(&scan))
	{
		Datum	   *values = table->slot->tts_values - 1;
		TimestampTz start;
		bool		newer = false;

		slot_getallattrs(table->slot);
		start = DatumGetTimestampTz(values[PROGRESS_BUCKET]);
		if (start >= window.to)
			break;
		for (int i = 0; i < standing->nbuckets; i++)
			newer |= standing->buckets[i].start == start;
		if (!newer)
			sum = points_add(sum, DatumGetPoints(values[PROGRESS_METRIC]));
	}
	table_scan_end(&scan);
	for (int i = 0; i < standing->nbuckets; i++)
		if (standing->buckets[i].start >= window.from && standing->buckets[i].start < window.to)
			sum = points_add(sum, standing->buckets[i].metric);

	/* Points that are not confirmed yet count only where the currency says so. */
	if (account->currency->program->tier_metric == TIER_BY_POINTS && !account->currency->pending_counts &&
		(account->pending > 0 || account->currency->may_wait))
		sum = Max(points_sub(sum, pending_in(account, standing, window)), 0);
	return sum;
}

static Bucket *
find_bucket(Account *account, Standing *standing, TimestampTz start)
{
	Post	   *post = account->post;
	Table	   *table = post_table(post, &post->progress, "tier_progress_bucket", PROGRESS_NATTS);
	TableScan	scan;
	TableKey	keys[2] = {
		{BTEqualStrategyNumber, Int64GetDatum(account->account_id)},
		{BTEqualStrategyNumber, TimestampTzGetDatum(start)}
	};
	Bucket	   *bucket;

	for (int i = standing->nbuckets - 1; i >= 0; i--)
		if (standing->buckets[i].start == start)
			return &standing->buckets[i];

	standing->buckets = standing->nbuckets == 0 ? palloc(sizeof(Bucket) * 8) :
		standing->nbuckets % 8 == 0 ? repalloc(standing->buckets, sizeof(Bucket) * (standing->nbuckets + 8)) :
		standing->buckets;
	bucket = &standing->buckets[standing->nbuckets++];
	memset(bucket, 0, sizeof(*bucket));
	bucket->start = start;
	table_scan_begin(&scan, table, "tier_progress_bucket_pkey", post->snapshot, 2, keys);
	if (table_scan_next(&scan))
	{
		bool		isnull;

		bucket->there = true;
		bucket->metric = DatumGetPoints(slot_getattr(table->slot, PROGRESS_METRIC, &isnull));
		ItemPointerCopy(&table->slot->tts_tid, &bucket->tid);
	}
	table_scan_end(&scan);
	return bucket;
}

/* In the program's metric. */
static Points
metric_of(const Program *program, Points points, Points spend, int visits)
{
	switch (program->tier_metric)
	{
		case TIER_BY_POINTS:
			return points;
		case TIER_BY_SPEND:
			return spend;
		case TIER_BY_VISITS:
			return visits * POINTS_SCALE;
	}
	return 0;
}

/*
 * What a member who was merged does counts for who has the points as well: by where it counts
 * for the first, so that the bucket alone says what to take off again when they come apart.
 */
static void
count(Account *account, Standing *standing, TimestampTz time, Points metric)
{
	Bucket	   *bucket;

	if (metric == 0)
		return;
	standing->lowered |= metric < 0;
	bucket = find_bucket(account, standing, bucket_of(account, standing, time));
	bucket->metric = points_add(bucket->metric, metric);
	if (account->parent != NULL)
		count(account->parent, standing_of(account->parent), bucket->start, metric);
}

static void
count_entries(Account *account, Standing *standing)
{
	const Program *program = account->currency->program;

	for (int i = 0; i < account->nentries; i++)
	{
		const Entry *entry = &account->entries[i];
		Points		points = 0;

		/* What a reversal let off, since it was spent or expired, was earned no more than the rest. */
		if (entry->kind == ENTRY_EARN || entry->kind == ENTRY_REVERSE)
			points = points_sub(entry->points, entry->forgiven);
		if (!account->currency->pending_counts)
			points = points_sub(points, entry->unconfirmed);
		if (entry->kind == ENTRY_CONFIRM)
			standing_of(account_root(account))->confirmed = true;
		count(account, standing, entry->metric_time ? entry->metric_time : entry->event_time,
			  metric_of(program, points, entry->spend, entry->visits));
	}
	for (int i = 0; i < account->nshifts; i++)
	{
		const MetricShift *shift = &account->shifts[i];
		Points		metric = metric_of(program, shift->points, shift->spend, shift->visits);

		count(account, standing, shift->from, -metric);
		count(account, standing, shift->to, metric);
	}
}

/* ----------------------------------------------------------------
 *		Deciding
 * ---------------------------------------------------------------- */

/* The rank of the account's tier in today's ladder, by name: ladders may grow in between. */
static int
current_rank(const Account *account)
{
	if (account->tier == 0)
		return 0;
	return ladder_rank_of(account->currency->program->ladder, tier_name_of(account->tier));
}

static void
change_tier(Account *account, Standing *standing, int rank, TimestampTz at, const char *reason, Points metric)
{
	TierChange *change;

	standing->changes = standing->nchanges == 0 ? palloc(sizeof(TierChange)) :
		repalloc(standing->changes, sizeof(TierChange) * (standing->nchanges + 1));
	change = &standing->changes[standing->nchanges++];
	change->from = account->tier;
	change->to = rank == 0 ? 0 : tier_make(rank, ladder_name(account->currency->program->ladder, rank));
	change->at = at;
	change->reason = reason;
	change->metric = metric;
	account->tier = change->to;
	account->tier_since = at;
	account->changed = true;
}

static void
keep_tier(Account *account, Standing *standing, TimestampTz from)
{
	/* What nothing reaches already can't be lost. */
	account->has_tier_until = current_rank(account) > ladder_rank_for(account->currency->program->ladder, 0) &&
		kept_until(account, standing, from, &account->tier_until);
	account->changed = true;
}

/*
 * What the member held when the period began, less what a review took since:
 * a purchase taken back can't lower it below that.
 */
static int
rank_before(Account *account, TimestampTz since)
{
	const Ladder *ladder = account->currency->program->ladder;
	Post	   *post = account->post;
	Table	   *table = post_table(post, &post->tier_change, "tier_change", CHANGE_NATTS);
	TableScan	scan;
	TableKey	key = {BTEqualStrategyNumber, Int64GetDatum(account->account_id)};
	int			rank = current_rank(account);
	bool		found = false;

	table_scan_begin(&scan, table, "tier_change_pkey", post->snapshot, 1, &key);
	while (table_scan_next(&scan))
	{
		bool	   *nulls = table->slot->tts_isnull - 1;
		Datum	   *values = table->slot->tts_values - 1;
		int			to;

		slot_getallattrs(table->slot);
		/* A tier whose time was over as the period began was not held in it. */
		if (DatumGetTimestampTz(values[CHANGE_AT]) <= since)
			continue;
		if (!found)
			rank = nulls[CHANGE_FROM] ? 0 : ladder_rank_of(ladder, tier_name_of(values[CHANGE_FROM]));
		found = true;
		to = nulls[CHANGE_TO] ? 0 : ladder_rank_of(ladder, tier_name_of(values[CHANGE_TO]));
		/* A step that is gone says nothing about those that are there. */
		if (to == 0 && !nulls[CHANGE_TO])
			continue;
		if (to < rank)
			rank = to;
	}
	table_scan_end(&scan);
	return rank;
}

/*
 * The rank that the period before this one reached, which is kept to the end of this one.
 * Most had it in time; what is booked late, or can be spent late, reaches it late.
 */
static int
rank_of_last(Account *account, Standing *standing, Window window, Window *last, Points *metric)
{
	const Program *program = account->currency->program;

	if (program->tier_window != TIER_CALENDAR && program->tier_window != TIER_ANNIVERSARY)
		return 0;
	*last = window_at(account, standing, timestamptz_plus(program, window.from, &(Interval) {.day = -1}));
	if (last->from >= window.from)
		return 0;				/* none is before the first anniversary's */
	*metric = metric_in(account, standing, *last);
	return ladder_rank_for(program->ladder, *metric);
}

/* before: the ladder that the program had until now, when it gets another one. */
static void
decide(Account *account, Standing *standing, bool reviewing, const Ladder *before)
{
	const Program *program = account->currency->program;
	const Ladder *ladder = program->ladder;
	TimestampTz now = account->as_of;
	Window		window = window_at(account, standing, now);
	Points		metric = metric_in(account, standing, window);
	int			rank = ladder_rank_for(ladder, metric);
	int			current = current_rank(account);
	bool		renamed = account->tier != 0 && (current == 0 || reviewing) &&
		current != tier_rank_of(account->tier);
	bool		late = false;
	Window		last = window;
	Points		last_metric = 0;
	int			last_rank = 0;

	/* The ladder changed under it: the same step may have another rank, or be gone. */
	if (renamed)
	{
		TimestampTz since = account->tier_since;
		int			carried = current;

		/* What asked for as much as the step that is gone. */
		if (carried == 0 && before != NULL)
		{
			int			old = ladder_rank_of(before, tier_name_of(account->tier));

			carried = old == 0 ? 0 : ladder_rank_for(ladder, ladder_threshold(before, old));
		}
		change_tier(account, standing, current == 0 ? Max(carried, rank) : current, now, "ladder", metric);
		if (current == 0 && rank >= carried)
			keep_tier(account, standing, now);
		else
			account->tier_since = since;
		current = current_rank(account);
	}

	for (int i = 0; i < standing->nbuckets; i++)
		late |= standing->buckets[i].start < window.from;
	if (reviewing || late || standing->lowered || standing->confirmed)
		last_rank = rank_of_last(account, standing, window, &last, &last_metric);
	if (Max(rank, last_rank) > current)
	{
		change_tier(account, standing, Max(rank, last_rank), now, reviewing ? "review" : "earned",
					last_rank > rank ? last_metric : metric);
		keep_tier(account, standing, last_rank > rank ? last.from : now);
		return;
	}

	/* The ladder may ask something now for what was free. */
	if (reviewing && !account->has_tier_until && current > ladder_rank_for(ladder, 0) &&
		program->tier_window != TIER_LIFETIME)
		keep_tier(account, standing, now);

	/* Periods that ended: what was done in each decides what is kept after it. */
	while (account->has_tier_until && account->tier_until <= now)
	{
		TimestampTz end = account->tier_until;
		TimestampTz day = timestamptz_plus(program, end, &(Interval) {.day = -1});
		Window		ended = window_at(account, standing, day);
		Points		done;
		int			earned;

		/* The grace lies in the next periods already: the last one is that whose end and grace are over. */
		if (program->tier_window == TIER_CALENDAR || program->tier_window == TIER_ANNIVERSARY)
			while (timestamptz_plus(program, ended.to, &program->tier_grace) > end)
			{
				Window		earlier = window_at(account, standing,
												timestamptz_plus(program, ended.from, &(Interval) {.day = -1}));

				/* None is before the first anniversary's. */
				if (earlier.from >= ended.from)
					break;
				ended = earlier;
			}
		done = metric_in(account, standing, ended);
		earned = Max(ladder_rank_for(ladder, done), rank);
		current = current_rank(account);
		if (program->tier_down == TIER_ONE_STEP)
			earned = Max(earned, current - 1);
		if (earned < current && program->tier_down != TIER_NEVER)
			change_tier(account, standing, earned, end, "review", done);
		keep_tier(account, standing, program->tier_window == TIER_ROLLING ? day : ended.from);
		if (account->has_tier_until && account->tier_until <= end)
			keep_tier(account, standing, end);
	}

	/* Purchases taken back: what only they had reached is lost again. */
	current = current_rank(account);
	if (standing->lowered && rank < current && program->tier_down != TIER_NEVER &&
		account->tier_since >= window.from)
	{
		int			left = Max(Max(rank, last_rank), Min(rank_before(account, window.from), current));

		if (left < current)
		{
			change_tier(account, standing, left, now, "reversed", metric);
			keep_tier(account, standing, left == last_rank && left > rank ? last.from : now);
		}
	}
}

/* ----------------------------------------------------------------
 *		In the ledger's visits
 * ---------------------------------------------------------------- */

static void
review(Account *account)
{
	Standing   *standing;

	if (account->currency->program->ladder == NULL || !account->currency->is_default)
		return;
	if (account->status != NULL || account->state == ACCOUNT_MERGED)
		return;
	for (int i = 0; i < account->ndependents; i++)
		count_entries(account->dependents[i], standing_of(account->dependents[i]));
	if (account->nentries == 0 && account->nshifts == 0 && account->status == NULL)
		return;
	standing = standing_of(account);
	count_entries(account, standing);
	if (standing->nbuckets == 0 && !standing->confirmed && !(account->has_tier_until && account->tier_until <= account->as_of))
		return;
	decide(account, standing, false, NULL);
}

/* All that the one's buckets have, to its parent's and on from there; sign -1: off them. */
static void
count_buckets(Account *account, int sign)
{
	Post	   *post = account->post;
	Table	   *table = post_table(post, &post->progress, "tier_progress_bucket", PROGRESS_NATTS);
	TableScan	scan;
	TableKey	key = {BTEqualStrategyNumber, Int64GetDatum(account->account_id)};
	Bucket	   *buckets = NULL;
	int			n = 0;

	table_scan_begin(&scan, table, "tier_progress_bucket_pkey", post->snapshot, 1, &key);
	while (table_scan_next(&scan))
	{
		Datum	   *values = table->slot->tts_values - 1;

		slot_getallattrs(table->slot);
		buckets = n == 0 ? palloc(sizeof(Bucket) * 64) :
			n % 64 == 0 ? repalloc(buckets, sizeof(Bucket) * (n + 64)) : buckets;
		buckets[n].start = DatumGetTimestampTz(values[PROGRESS_BUCKET]);
		buckets[n++].metric = DatumGetPoints(values[PROGRESS_METRIC]);
	}
	table_scan_end(&scan);
	for (int i = 0; i < n; i++)
		count(account->parent, standing_of(account->parent), buckets[i].start, sign * buckets[i].metric);
}

/* What the member did counts for the other from now on; who had the higher tier brings it along. */
void
tiering_join(Account *account)
{
	Account    *into = account->parent;
	Standing   *standing;

	if (into->currency->program->ladder == NULL || !into->currency->is_default)
		return;
	standing = standing_of(into);
	standing->joins = account;
	count_buckets(account, 1);
	if (current_rank(account) > current_rank(into))
	{
		change_tier(into, standing, current_rank(account), into->as_of, "merged",
					metric_in(into, standing, window_at(into, standing, into->as_of)));
		into->has_tier_until = account->has_tier_until;
		into->tier_until = account->tier_until;
	}
	decide(into, standing, false, NULL);
}

/* Before they come apart: what the member did counts for the others no more. */
void
tiering_leave(Account *account)
{
	if (account->currency->program->ladder != NULL && account->currency->is_default)
		count_buckets(account, -1);
}

/* After they came apart, and after a time in which tiers rested. */
void
tiering_resume(Account *account)
{
	if (account->currency->program->ladder != NULL && account->currency->is_default)
		decide(account, standing_of(account), true, NULL);
}

static void
store_bucket(Account *account, const Bucket *bucket)
{
	Post	   *post = account->post;
	TupleTableSlot *slot = bucket->there ? table_changed_row(&post->progress) : table_new_row(&post->progress);
	Datum	   *values = slot->tts_values - 1;

	values[PROGRESS_ACCOUNT] = Int64GetDatum(account->account_id);
	values[PROGRESS_BUCKET] = TimestampTzGetDatum(bucket->start);
	values[PROGRESS_METRIC] = PointsGetDatum(bucket->metric);
	if (bucket->there)
	{
		ItemPointerData tid = bucket->tid;

		ExecStoreVirtualTuple(slot);
		if (!table_replace_row(&post->progress, &tid, slot, post->snapshot))
			elog(ERROR, "tier progress of account " INT64_FORMAT " changed under the account's lock",
				 account->account_id);
	}
	else
		table_queue_row(&post->progress, slot);
}

static int
last_change_no(Account *account)
{
	Post	   *post = account->post;
	Table	   *table = post_table(post, &post->tier_change, "tier_change", CHANGE_NATTS);
	TableScan	scan;
	TableKey	key = {BTEqualStrategyNumber, Int64GetDatum(account->account_id)};
	int			last = 0;
	bool		isnull;

	table_scan_begin(&scan, table, "tier_change_pkey", post->snapshot, 1, &key);
	while (table_scan_next(&scan))
		last = DatumGetInt32(slot_getattr(table->slot, CHANGE_NO, &isnull));
	table_scan_end(&scan);
	return last;
}

static void
store_change(Account *account, const TierChange *change, int change_no)
{
	Table	   *table = &account->post->tier_change;
	TupleTableSlot *slot = table_new_row(table);
	Datum	   *values = slot->tts_values - 1;
	bool	   *nulls = slot->tts_isnull - 1;

	values[CHANGE_ACCOUNT] = Int64GetDatum(account->account_id);
	values[CHANGE_NO] = Int32GetDatum(change_no);
	values[CHANGE_AT] = TimestampTzGetDatum(change->at);
	values[CHANGE_RECORDED_AT] = TimestampTzGetDatum(account->post->now);
	values[CHANGE_FROM] = change->from;
	nulls[CHANGE_FROM] = change->from == 0;
	values[CHANGE_TO] = change->to;
	nulls[CHANGE_TO] = change->to == 0;
	values[CHANGE_REASON] = CStringGetTextDatum(change->reason);
	values[CHANGE_METRIC] = PointsGetDatum(change->metric);
	table_queue_row(table, slot);
}

static void
store(Account *account)
{
	Standing   *standing = account->status;
	int			change_no;

	if (standing == NULL)
		return;
	for (int i = 0; i < standing->nbuckets; i++)
		store_bucket(account, &standing->buckets[i]);
	if (standing->nchanges == 0)
		return;
	change_no = last_change_no(account);
	for (int i = 0; i < standing->nchanges; i++)
		store_change(account, &standing->changes[i], ++change_no);
}

void
tiering_init(void)
{
	post_review_hook = review;
	post_store_hook = store;
}

/* ----------------------------------------------------------------
 *		Functions
 * ---------------------------------------------------------------- */

static void
review_work(Account *account, void *arg)
{
	Standing   *standing;

	/* The tier of one who is no member of its own rests. */
	if (account->currency->program->ladder == NULL || !account->currency->is_default ||
		account->state != ACCOUNT_OPEN)
		return;
	standing = account->status = palloc0(sizeof(Standing));
	decide(account, standing, true, arg);
}

/* _review_tiers(accounts bigint[], before ladder): ascending ids, no NULLs */
Datum
loyalty_tiering_review(PG_FUNCTION_ARGS)
{
	Ladder	   *before = PG_ARGISNULL(1) ? NULL : PG_GETARG_LADDER_P(1);
	const int64 *ids;
	int			n;
	Post		post;

	if (PG_ARGISNULL(0))
		PG_RETURN_VOID();
	ids = array_int64s(PG_GETARG_ARRAYTYPE_P(0), &n);
	post_begin(&post);
	for (int i = 0; i < n; i++)
	{
		post_check_access(&post, ids[i]);
		post_account(&post, ids[i], NULL, review_work, before);
	}
	post_end(&post);
	PG_RETURN_VOID();
}

typedef struct MetricAsked
{
	TimestampTz at;
	Points		metric;
} MetricAsked;

static void
metric_work(Account *account, void *arg)
{
	MetricAsked *asked = arg;
	Standing	standing = {0};

	if (account->currency->program->ladder != NULL && account->currency->is_default)
		asked->metric = metric_in(account, &standing, window_at(account, &standing, asked->at));
}

/* _tier_metric(account bigint, at timestamptz) */
Datum
loyalty_tiering_metric(PG_FUNCTION_ARGS)
{
	MetricAsked asked = {PG_GETARG_TIMESTAMPTZ(1), 0};
	Post		post;

	post_begin_reading(&post);
	post_account(&post, PG_GETARG_INT64(0), NULL, metric_work, &asked);
	post_end(&post);
	PG_RETURN_POINTS(asked.metric);
}

/* _tier_bucket(currency int, enrolled_at, at): where what a member did at a time counts */
Datum
loyalty_tiering_bucket(PG_FUNCTION_ARGS)
{
	Account		account = {.currency = currency_by_id(PG_GETARG_INT32(0))};
	Standing	standing = {.enrolled_at = PG_GETARG_TIMESTAMPTZ(1), .knows_enrolment = true};

	PG_RETURN_TIMESTAMPTZ(bucket_of(&account, &standing, PG_GETARG_TIMESTAMPTZ(2)));
}
