/*
 * rule.c
 *		Rating: what an event earns by the rules in force when it happened.
 *
 * Pure arithmetic over compiled rules; nothing is read from a table but the
 * rules themselves, once after each change of them.  All amounts are integers
 * and products are taken in 128 bits, so a result is exact before it is
 * rounded, once, to the currency's unit.
 */
#include "postgres.h"

#include "fmgr.h"
#include "utils/builtins.h"
#include "utils/rangetypes.h"
#include "utils/typcache.h"

#include "base/config.h"
#include "base/errors.h"
#include "earn/rule.h"

#define FACTOR_SCALE	INT64CONST(1000000000)

enum
{
	RULE_ID = 1, RULE_PROGRAM, RULE_CURRENCY, RULE_NAME, RULE_VERSION, RULE_KIND, RULE_POINTS_PER,
	RULE_BONUS, RULE_ROUNDING, RULE_STAGE, RULE_REVERSAL, RULE_VALID, RULE_CREATED_AT,
	RULE_NATTS = RULE_CREATED_AT
};

static ConfigCache cache;
static Rule *rules;
static int	nrules;
static const Rule **found;		/* room for the answer of rules_for() */

/* A bound as the first moment that is inside, or the first that is outside; infinities stay. */
static TimestampTz
moment(const RangeBound *bound, bool beyond)
{
	TimestampTz at;

	if (bound->infinite)
		return bound->lower ? DT_NOBEGIN : DT_NOEND;
	at = DatumGetTimestampTz(bound->val);
	return beyond && !TIMESTAMP_NOT_FINITE(at) ? at + 1 : at;
}

static void
read_rule(void *row, TupleTableSlot *slot)
{
	Rule	   *rule = row;
	static const char *const roundings[] = {"floor", "ceil", "half_up", "half_even", NULL};
	static const char *const stages[] = {"line", "event", NULL};
	static const char *const reversals[] = {"proportional", "all_or_nothing", "never", NULL};
	Datum	   *values = slot->tts_values - 1;
	bool	   *nulls = slot->tts_isnull - 1;
	RangeType  *valid;
	RangeBound	lower;
	RangeBound	upper;
	bool		empty;

	slot_getallattrs(slot);
	rule->rule_id = DatumGetInt32(values[RULE_ID]);
	rule->program_id = DatumGetInt32(values[RULE_PROGRAM]);
	rule->currency = currency_by_id(DatumGetInt32(values[RULE_CURRENCY]));
	rule->kind = nulls[RULE_KIND] ? NULL : TextDatumGetCString(values[RULE_KIND]);
	if (!nulls[RULE_POINTS_PER])
		rule->factor = DatumGetInt64(DirectFunctionCall1(numeric_int8,
														 DirectFunctionCall2(numeric_mul, values[RULE_POINTS_PER],
																			 NumericGetDatum(int64_to_numeric(FACTOR_SCALE)))));
	if (!nulls[RULE_BONUS])
		rule->bonus = DatumGetPoints(values[RULE_BONUS]);
	rule->rounding = config_word(values[RULE_ROUNDING], roundings);
	rule->by_event = config_word(values[RULE_STAGE], stages) == 1;
	rule->reversal = config_word(values[RULE_REVERSAL], reversals);

	valid = DatumGetRangeTypeP(values[RULE_VALID]);
	range_deserialize(lookup_type_cache(RangeTypeGetOid(valid), TYPECACHE_RANGE_INFO),
					  valid, &lower, &upper, &empty);
	rule->valid_from = moment(&lower, !lower.inclusive);
	rule->valid_to = moment(&upper, upper.inclusive);
	if (empty)
		rule->valid_to = rule->valid_from = DT_NOBEGIN;
}

static int
by_id(const void *a, const void *b)
{
	return ((const Rule *) a)->rule_id - ((const Rule *) b)->rule_id;
}

static void
refresh(void)
{
	uint64		as_of = config_generation();
	MemoryContext old;

	if (!config_cache_renew(&cache, "rules"))
		return;
	old = MemoryContextSwitchTo(cache.context);
	nrules = config_read_table("rule", RULE_NATTS, NULL, sizeof(Rule), read_rule, (void **) &rules);
	if (nrules > 1)
		qsort(rules, nrules, sizeof(Rule), by_id);
	found = palloc(sizeof(Rule *) * Max(nrules, 1));
	MemoryContextSwitchTo(old);
	config_cache_filled(&cache, as_of);
}

int
rules_for(int32 program_id, const RatedEvent *event, const Rule ***matches)
{
	int			n = 0;

	refresh();
	for (int i = 0; i < nrules; i++)
	{
		const Rule *rule = &rules[i];

		if (rule->program_id == program_id &&
			rule->valid_from <= event->event_time && event->event_time < rule->valid_to &&
			(rule->kind == NULL || strcmp(rule->kind, event->kind) == 0))
			found[n++] = rule;
	}
	*matches = found;
	return n;
}

int
rule_currencies(int32 program_id, const Currency ***currencies)
{
	int			n = 0;

	refresh();
	*currencies = palloc(sizeof(Currency *) * (nrules + 1));
	(*currencies)[n++] = program_currency(program_by_id(program_id), NULL);
	for (int i = 0; i < nrules; i++)
	{
		bool		known = rules[i].program_id != program_id;

		for (int c = 0; c < n && !known; c++)
			known = (*currencies)[c]->currency_id == rules[i].currency->currency_id;
		if (!known)
			(*currencies)[n++] = rules[i].currency;
	}
	return n;
}

const Rule *
rule_by_id(int32 rule_id)
{
	refresh();
	for (int i = 0; i < nrules; i++)
		if (rules[i].rule_id == rule_id)
			return &rules[i];
	ereport(ERROR,
			(errcode(ERRCODE_LY_LEDGER_DAMAGED),
			 errmsg("rule version %d is not there", rule_id),
			 errdetail("Entries of the ledger name it."),
			 errhint("Restore the row of loyalty.rule.")));
}

/* numerator / denominator, rounded to a multiple of unit; nothing here is negative.  False: it is too much. */
static bool
divide(const Rule *rule, int128 numerator, int128 denominator, Points *result)
{
	Points		unit = rule->currency->unit;
	int128		quotient;
	int128		rest;
	bool		up = false;

	denominator *= unit;
	quotient = numerator / denominator;
	rest = numerator - quotient * denominator;
	switch (rule->rounding)
	{
		case RULE_FLOOR:
			break;
		case RULE_CEIL:
			up = rest > 0;
			break;
		case RULE_HALF_UP:
			up = rest * 2 >= denominator;
			break;
		case RULE_HALF_EVEN:
			up = rest * 2 > denominator || (rest * 2 == denominator && (quotient & 1) != 0);
			break;
	}
	quotient += up;
	if (quotient > POINTS_MAX / unit)
		return false;
	*result = (Points) quotient * unit;
	return true;
}

bool
rule_points(const Rule *rule, Points base, Points refunded, Points *points)
{
	Points		earned = rule->bonus;
	Points		taken = 0;

	if (rule->factor != 0 && !divide(rule, (int128) base * rule->factor, FACTOR_SCALE, &earned))
		return false;

	if (refunded > 0)
	{
		switch (rule->reversal)
		{
			case REVERSAL_PROPORTIONAL:
				if (refunded >= base)
					taken = earned;
				else if (!divide(rule, (int128) earned * refunded, base, &taken))
					return false;
				break;
			case REVERSAL_ALL_OR_NOTHING:
				taken = refunded >= base ? earned : 0;
				break;
			case REVERSAL_NEVER:
				break;
		}
	}
	*points = earned - Min(taken, earned);
	return true;
}
