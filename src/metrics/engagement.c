/*
 * engagement.c
 *		How much members do: stickiness (DAU/MAU), and an engagement score against a
 *		frozen baseline.
 *
 * Stickiness.  The state holds each member's days as a bitmap (activity.h); its
 * summary is three counts, which add up over parts that share no members.
 *
 * Score.  Members are described by components, such as visits, orders and reviews.
 * The baseline is fitted once, by an aggregate over all members, and then kept: it
 * has evenly spaced quantiles of each component, the first the least and the last the
 * largest value.  A score reads nothing but it, so it does not move when other
 * members change.  The state of the aggregate holds all values, in the aggregate's
 * memory context; the final function sorts them in place.
 */
#include "postgres.h"

#include <math.h>

#include "catalog/pg_type_d.h"
#include "common/int.h"
#include "libpq/pqformat.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/date.h"
#include "utils/float.h"
#include "utils/memutils.h"
#include "utils/rangetypes.h"
#include "utils/timestamp.h"
#include "utils/typcache.h"

#include "base/compat.h"
#include "base/errors.h"
#include "metrics/activity.h"
#include "metrics/aggregate.h"
#include "metrics/clock.h"
#include "metrics/counts.h"

#define STATE_VERSION	1

/* Of stickiness_summary: members, their active days, and the days on which they could be. */
enum
{
	MEMBERS,
	ACTIVE_DAYS,
	POSSIBLE_DAYS,
	STICKINESS_COUNTS
};

static bool check_stickiness(const int64 *count, Node *escontext);

static const CountsType stickiness_type = {
	"stickiness_summary", 1, {"members", "active_days", "possible_days"}, check_stickiness
};

typedef struct StickinessState
{
	DateADT		first;			/* day of the period */
	DateADT		end;			/* and the day after it */
	Activity   *activity;
} StickinessState;

/* What a call takes its days from, kept in fn_extra from row to row. */
typedef struct StickinessCall
{
	RangeType  *range;			/* a copy of what was taken apart */
	DateADT		first;
	DateADT		end;
	text	   *zone;			/* likewise; NULL for UTC */
	Clock	   *clock;
} StickinessCall;

#define BASELINE_TYPE		"engagement_baseline"
#define BASELINE_VERSION	1

#define FITTED_POINTS		101		/* quantiles of a fitted component: per cents */
#define MAX_COMPONENTS		1000
#define CAP_SHARE			0.05	/* of the method "capped", at either end */

typedef struct Baseline
{
	SummaryHeader header;
	int64		members;		/* 0 if made by hand */
	int32		ncomponents;
	int32		npoints;		/* at least 2 */
	double		quantile[FLEXIBLE_ARRAY_MEMBER];	/* npoints of each component, ascending */
} Baseline;

typedef struct Component
{
	int64		size;
	int64		capacity;
	double	   *values;
} Component;

typedef struct BaselineState
{
	MemoryContext context;
	int64		members;
	int32		ncomponents;
	Component  *components;
} BaselineState;

PG_FUNCTION_INFO_V1(loyalty_engagement_stickiness_in);
PG_FUNCTION_INFO_V1(loyalty_engagement_stickiness_out);
PG_FUNCTION_INFO_V1(loyalty_engagement_stickiness_recv);
PG_FUNCTION_INFO_V1(loyalty_engagement_stickiness_send);
PG_FUNCTION_INFO_V1(loyalty_engagement_stickiness_make);
PG_FUNCTION_INFO_V1(loyalty_engagement_stickiness_add);
PG_FUNCTION_INFO_V1(loyalty_engagement_stickiness_subtract);
PG_FUNCTION_INFO_V1(loyalty_engagement_stickiness_rollup);
PG_FUNCTION_INFO_V1(loyalty_engagement_members);
PG_FUNCTION_INFO_V1(loyalty_engagement_active_days);
PG_FUNCTION_INFO_V1(loyalty_engagement_possible_days);
PG_FUNCTION_INFO_V1(loyalty_engagement_daily_active);
PG_FUNCTION_INFO_V1(loyalty_engagement_stickiness);
PG_FUNCTION_INFO_V1(loyalty_engagement_accum);
PG_FUNCTION_INFO_V1(loyalty_engagement_accum_local);
PG_FUNCTION_INFO_V1(loyalty_engagement_accum_date);
PG_FUNCTION_INFO_V1(loyalty_engagement_combine);
PG_FUNCTION_INFO_V1(loyalty_engagement_serialize);
PG_FUNCTION_INFO_V1(loyalty_engagement_deserialize);
PG_FUNCTION_INFO_V1(loyalty_engagement_final);
PG_FUNCTION_INFO_V1(loyalty_engagement_final_rate);

PG_FUNCTION_INFO_V1(loyalty_engagement_baseline_in);
PG_FUNCTION_INFO_V1(loyalty_engagement_baseline_out);
PG_FUNCTION_INFO_V1(loyalty_engagement_baseline_recv);
PG_FUNCTION_INFO_V1(loyalty_engagement_baseline_send);
PG_FUNCTION_INFO_V1(loyalty_engagement_baseline_make);
PG_FUNCTION_INFO_V1(loyalty_engagement_baseline_accum);
PG_FUNCTION_INFO_V1(loyalty_engagement_baseline_combine);
PG_FUNCTION_INFO_V1(loyalty_engagement_baseline_serialize);
PG_FUNCTION_INFO_V1(loyalty_engagement_baseline_deserialize);
PG_FUNCTION_INFO_V1(loyalty_engagement_baseline_final);
PG_FUNCTION_INFO_V1(loyalty_engagement_baseline_members);
PG_FUNCTION_INFO_V1(loyalty_engagement_baseline_components);
PG_FUNCTION_INFO_V1(loyalty_engagement_baseline_quantile);
PG_FUNCTION_INFO_V1(loyalty_engagement_score);

#define ST_SORT sort_values
#define ST_ELEMENT_TYPE double
#define ST_COMPARE(a, b) (*(a) < *(b) ? -1 : *(a) > *(b) ? 1 : 0)
#define ST_SCOPE static
#define ST_CHECK_FOR_INTERRUPTS
#define ST_DEFINE
#include "lib/sort_template.h"


/* ----- stickiness_summary ----- */

static bool
check_stickiness(const int64 *count, Node *escontext)
{
	if (count[ACTIVE_DAYS] < count[MEMBERS] || count[ACTIVE_DAYS] > count[POSSIBLE_DAYS] ||
		(count[MEMBERS] == 0 && count[POSSIBLE_DAYS] > 0))
		ereturn(escontext, false,
				(errcode(ERRCODE_LY_INVALID_METRIC),
				 errmsg("invalid %s", stickiness_type.name),
				 errdetail("A member is active on a day at least, and on no more days than there are.")));
	return true;
}

Datum
loyalty_engagement_stickiness_in(PG_FUNCTION_ARGS)
{
	return counts_in(fcinfo, &stickiness_type);
}

Datum
loyalty_engagement_stickiness_out(PG_FUNCTION_ARGS)
{
	return counts_out(fcinfo, &stickiness_type);
}

Datum
loyalty_engagement_stickiness_recv(PG_FUNCTION_ARGS)
{
	return counts_recv(fcinfo, &stickiness_type);
}

Datum
loyalty_engagement_stickiness_send(PG_FUNCTION_ARGS)
{
	return counts_send(fcinfo, &stickiness_type);
}

Datum
loyalty_engagement_stickiness_make(PG_FUNCTION_ARGS)
{
	return counts_from_args(fcinfo, &stickiness_type);
}

Datum
loyalty_engagement_stickiness_add(PG_FUNCTION_ARGS)
{
	return counts_add(fcinfo, &stickiness_type);
}

Datum
loyalty_engagement_stickiness_subtract(PG_FUNCTION_ARGS)
{
	return counts_subtract(fcinfo, &stickiness_type);
}

Datum
loyalty_engagement_stickiness_rollup(PG_FUNCTION_ARGS)
{
	return counts_final(fcinfo, &stickiness_type);
}

Datum
loyalty_engagement_members(PG_FUNCTION_ARGS)
{
	return counts_field(fcinfo, &stickiness_type, MEMBERS);
}

Datum
loyalty_engagement_active_days(PG_FUNCTION_ARGS)
{
	return counts_field(fcinfo, &stickiness_type, ACTIVE_DAYS);
}

Datum
loyalty_engagement_possible_days(PG_FUNCTION_ARGS)
{
	return counts_field(fcinfo, &stickiness_type, POSSIBLE_DAYS);
}

/* The mean number of members on a day of the period: active days / days. */
Datum
loyalty_engagement_daily_active(PG_FUNCTION_ARGS)
{
	Counts	   *counts = counts_get_arg(fcinfo, 0, &stickiness_type);

	if (counts->count[POSSIBLE_DAYS] == 0)
		PG_RETURN_NULL();
	PG_RETURN_FLOAT8((double) counts->count[MEMBERS] * (double) counts->count[ACTIVE_DAYS] /
					 (double) counts->count[POSSIBLE_DAYS]);
}

Datum
loyalty_engagement_stickiness(PG_FUNCTION_ARGS)
{
	Counts	   *counts = counts_get_arg(fcinfo, 0, &stickiness_type);

	return counts_ratio(fcinfo, counts->count[ACTIVE_DAYS], counts->count[POSSIBLE_DAYS]);
}


/* ----- stickiness_agg(member, at, period [, time zone]) ----- */

static void
read_period(StickinessCall *call, RangeType *range, MemoryContext context)
{
	RangeBound	lower;
	RangeBound	upper;
	bool		empty;

	range_deserialize(lookup_type_cache(RangeTypeGetOid(range), TYPECACHE_RANGE_INFO), range,
					  &lower, &upper, &empty);
	if (empty || lower.infinite || upper.infinite ||
		DATE_NOT_FINITE(DatumGetDateADT(lower.val)) || DATE_NOT_FINITE(DatumGetDateADT(upper.val)))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("the period must have a first and a last day"),
				 errhint("Write a range such as '[2024-01-01,2024-02-01)'.")));

	/* A range of dates is kept as [lower, upper). */
	call->first = DatumGetDateADT(lower.val);
	call->end = DatumGetDateADT(upper.val);
	if (call->range != NULL)
		pfree(call->range);
	call->range = MemoryContextAlloc(context, VARSIZE(range));
	memcpy(call->range, range, VARSIZE(range));
}

static void
read_zone(StickinessCall *call, text *zone, MemoryContext context)
{
	static const Interval one_day = {.day = 1};
	char	   *name = zone == NULL ? "UTC" : text_to_cstring(zone);

	if (name[0] == '\0')
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("time zone \"%s\" not recognized", name),
				 errhint("See pg_timezone_names.")));
	call->clock = clock_make(context, &one_day, name, DT_NOBEGIN);
	if (call->zone != NULL)
		pfree(call->zone);
	call->zone = NULL;
	if (zone != NULL)
	{
		Size		size = VARSIZE_ANY_EXHDR(zone);

		call->zone = MemoryContextAlloc(context, VARHDRSZ + size);
		SET_VARSIZE(call->zone, VARHDRSZ + size);
		memcpy(VARDATA(call->zone), VARDATA_ANY(zone), size);
	}
}

static StickinessCall *
get_call(FunctionCallInfo fcinfo)
{
	StickinessCall *call = fcinfo->flinfo->fn_extra;
	MemoryContext context = fcinfo->flinfo->fn_mcxt;
	RangeType  *range = PG_GETARG_RANGE_P(3);
	text	   *zone = PG_NARGS() > 4 ? PG_GETARG_TEXT_PP(4) : NULL;

	if (call == NULL)
		call = fcinfo->flinfo->fn_extra = MemoryContextAllocZero(context, sizeof(StickinessCall));
	if (call->range == NULL || VARSIZE(call->range) != VARSIZE(range) ||
		memcmp(call->range, range, VARSIZE(range)) != 0)
		read_period(call, range, context);
	if (call->clock == NULL ||
		(zone != NULL && (VARSIZE_ANY_EXHDR(call->zone) != VARSIZE_ANY_EXHDR(zone) ||
						  memcmp(VARDATA_ANY(call->zone), VARDATA_ANY(zone), VARSIZE_ANY_EXHDR(zone)) != 0)))
		read_zone(call, zone, context);
	return call;
}

static StickinessState *
make_stickiness(MemoryContext context, DateADT first, DateADT end, Oid member, Oid collation)
{
	StickinessState *state = MemoryContextAlloc(context, sizeof(StickinessState));

	state->first = first;
	state->end = end;
	state->activity = activity_create(context, member, collation, false);
	return state;
}

static void
mixed_periods(void)
{
	ereport(ERROR,
			(errcode(ERRCODE_LY_INVALID_METRIC),
			 errmsg("the period must be the same for all rows of a group"),
			 errhint("Give a constant, not a column.")));
}

static bool
is_missing(FunctionCallInfo fcinfo)
{
	for (int i = 1; i < PG_NARGS(); i++)
	{
		if (PG_ARGISNULL(i))
			return true;
	}
	return false;
}

/* A member was active on a local day, counted as dates are. */
static Datum
accum(FunctionCallInfo fcinfo, const StickinessCall *call, int64 day)
{
	StickinessState *state;

	if (day < call->first || day >= call->end)
		return aggregate_unchanged(fcinfo);
	if (PG_ARGISNULL(0))
		state = make_stickiness(aggregate_context(fcinfo), call->first, call->end,
								aggregate_argument_type(fcinfo, 1), PG_GET_COLLATION());
	else
	{
		state = (StickinessState *) PG_GETARG_POINTER(0);
		if (state->first != call->first || state->end != call->end)
			mixed_periods();
	}
	activity_add_period(state->activity, PG_GETARG_DATUM(1), (uint32) (day - call->first));
	PG_RETURN_POINTER(state);
}

Datum
loyalty_engagement_accum(PG_FUNCTION_ARGS)
{
	StickinessCall *call;
	TimestampTz at;

	if (is_missing(fcinfo))
		return aggregate_unchanged(fcinfo);
	call = get_call(fcinfo);
	at = PG_GETARG_TIMESTAMPTZ(2);
	if (TIMESTAMP_NOT_FINITE(at))
		return aggregate_unchanged(fcinfo);
	return accum(fcinfo, call, floor_div(clock_local(call->clock, at), USECS_PER_DAY));
}

Datum
loyalty_engagement_accum_local(PG_FUNCTION_ARGS)
{
	StickinessCall *call;
	Timestamp	at;

	if (is_missing(fcinfo))
		return aggregate_unchanged(fcinfo);
	call = get_call(fcinfo);
	at = PG_GETARG_TIMESTAMP(2);
	if (TIMESTAMP_NOT_FINITE(at))
		return aggregate_unchanged(fcinfo);
	return accum(fcinfo, call, floor_div(at, USECS_PER_DAY));
}

Datum
loyalty_engagement_accum_date(PG_FUNCTION_ARGS)
{
	if (is_missing(fcinfo))
		return aggregate_unchanged(fcinfo);
	return accum(fcinfo, get_call(fcinfo), PG_GETARG_DATEADT(2));
}

Datum
loyalty_engagement_combine(PG_FUNCTION_ARGS)
{
	MemoryContext context = aggregate_context(fcinfo);
	StickinessState *state;
	StickinessState *other;

	if (PG_ARGISNULL(1))
		return aggregate_unchanged(fcinfo);
	other = (StickinessState *) PG_GETARG_POINTER(1);
	if (PG_ARGISNULL(0))
		state = make_stickiness(context, other->first, other->end, other->activity->customers->type,
								other->activity->customers->collation);
	else
	{
		state = (StickinessState *) PG_GETARG_POINTER(0);
		if (state->first != other->first || state->end != other->end)
			mixed_periods();
	}
	activity_add_all(state->activity, other->activity);
	PG_RETURN_POINTER(state);
}

Datum
loyalty_engagement_serialize(PG_FUNCTION_ARGS)
{
	StickinessState *state = aggregate_state(fcinfo);
	StringInfoData buf;

	aggregate_begin_send(&buf, STATE_VERSION);
	pq_sendint32(&buf, state->first);
	pq_sendint32(&buf, state->end);
	activity_send(&buf, state->activity);
	PG_RETURN_BYTEA_P(pq_endtypsend(&buf));
}

/* In the caller's short-lived context; combine takes what it needs. */
Datum
loyalty_engagement_deserialize(PG_FUNCTION_ARGS)
{
	StickinessState *state = palloc(sizeof(StickinessState));
	StringInfoData buf;

	(void) aggregate_context(fcinfo);
	aggregate_begin_recv(fcinfo, &buf, STATE_VERSION);
	state->first = (DateADT) pq_getmsgint(&buf, 4);
	state->end = (DateADT) pq_getmsgint(&buf, 4);
	state->activity = activity_recv(&buf);
	pq_getmsgend(&buf);
	PG_RETURN_POINTER(state);
}

/* The counts of a state, which is flushed and otherwise left alone. */
static void
count_days(StickinessState *state, int64 *count)
{
	activity_flush(state->activity);
	count[MEMBERS] = state->activity->customers->size;
	count[ACTIVE_DAYS] = state->activity->count;
	count[POSSIBLE_DAYS] = count[MEMBERS] * ((int64) state->end - state->first);
}

Datum
loyalty_engagement_final(PG_FUNCTION_ARGS)
{
	int64		count[STICKINESS_COUNTS];

	(void) aggregate_context(fcinfo);
	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();
	count_days((StickinessState *) PG_GETARG_POINTER(0), count);
	PG_RETURN_POINTER(counts_make(&stickiness_type, count, NULL));
}

Datum
loyalty_engagement_final_rate(PG_FUNCTION_ARGS)
{
	int64		count[STICKINESS_COUNTS];

	(void) aggregate_context(fcinfo);
	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();
	count_days((StickinessState *) PG_GETARG_POINTER(0), count);
	return counts_ratio(fcinfo, count[ACTIVE_DAYS], count[POSSIBLE_DAYS]);
}


/* ----- engagement_baseline ----- */

static Baseline *
get_baseline(FunctionCallInfo fcinfo, int argno)
{
	Baseline   *baseline = (Baseline *) PG_DETOAST_DATUM(PG_GETARG_DATUM(argno));

	summary_check_version(&baseline->header, BASELINE_VERSION, BASELINE_TYPE);
	return baseline;
}

/* The one validator */
static Baseline *
make_baseline(int64 members, int64 ncomponents, int64 npoints, const double *quantile,
			  Node *escontext)
{
	Baseline   *baseline;
	const char *detail = NULL;
	Size		size;

	if (members < 0)
		detail = "The number of members must not be negative.";
	else if (ncomponents < 1 || ncomponents > MAX_COMPONENTS)
		detail = "There must be from 1 to 1000 components.";
	else if (npoints < 2 || npoints > FITTED_POINTS)
		detail = "A component must have from 2 to 101 quantiles.";
	for (int64 i = 0; detail == NULL && i < ncomponents * npoints; i++)
	{
		if (!isfinite(quantile[i]))
			detail = "All quantiles must be finite.";
		else if (i % npoints > 0 && quantile[i] < quantile[i - 1])
			detail = "The quantiles of a component must not descend.";
	}
	if (detail != NULL)
		ereturn(escontext, NULL,
				(errcode(ERRCODE_LY_INVALID_METRIC),
				 errmsg("invalid %s", BASELINE_TYPE),
				 errdetail("%s", detail)));

	size = ncomponents * npoints * sizeof(double);
	baseline = summary_alloc(offsetof(Baseline, quantile) + size, BASELINE_VERSION);
	baseline->members = members;
	baseline->ncomponents = (int32) ncomponents;
	baseline->npoints = (int32) npoints;
	for (int64 i = 0; i < ncomponents * npoints; i++)
		baseline->quantile[i] = quantile[i] + 0.0;	/* no negative zero: equal values, equal bytes */
	return baseline;
}

/* Text: "(members:3,quantiles:0 5 10;1 2 4)": components between semicolons. */
Datum
loyalty_engagement_baseline_in(PG_FUNCTION_ARGS)
{
	Node	   *escontext = fcinfo->context;
	SummaryField fields[] = {
		{.name = "members",.required = true},
		{.name = "quantiles",.required = true}
	};
	int64		members;
	int64		ncomponents = 0;
	int64		npoints = 0;
	int64		n = 0;
	double	   *quantile;
	char	   *rest;

	if (!summary_parse(PG_GETARG_CSTRING(0), BASELINE_TYPE, fields, lengthof(fields), escontext) ||
		!summary_read_count(&fields[0], BASELINE_TYPE, &members, escontext))
		PG_RETURN_NULL();
	quantile = palloc((strlen(fields[1].value) / 2 + 1) * sizeof(double));
	for (char *component = strtok_r(fields[1].value, ";", &rest); component != NULL;
		 component = strtok_r(NULL, ";", &rest))
	{
		int64		before = n;
		char	   *more;

		for (char *number = strtok_r(component, " ", &more); number != NULL;
			 number = strtok_r(NULL, " ", &more))
		{
			SummaryField field = {.name = "quantiles",.value = number};

			if (!summary_read_float8(&field, BASELINE_TYPE, &quantile[n++], escontext))
				PG_RETURN_NULL();
		}
		if (ncomponents++ == 0)
			npoints = n;
		else if (n - before != npoints)
			ereturn(escontext, (Datum) 0,
					(errcode(ERRCODE_INVALID_TEXT_REPRESENTATION),
					 errmsg("invalid input syntax for type %s: \"%s\"", BASELINE_TYPE,
							PG_GETARG_CSTRING(0)),
					 errdetail("All components must have the same number of quantiles.")));
	}
	PG_RETURN_POINTER(make_baseline(members, ncomponents, npoints, quantile, escontext));
}

Datum
loyalty_engagement_baseline_out(PG_FUNCTION_ARGS)
{
	Baseline   *baseline = get_baseline(fcinfo, 0);
	StringInfoData buf;

	initStringInfo(&buf);
	summary_put_count(&buf, "members", baseline->members);
	summary_put(&buf, "quantiles", "");
	for (int32 i = 0; i < baseline->ncomponents * baseline->npoints; i++)
		appendStringInfo(&buf, "%s%s", i == 0 ? "" : i % baseline->npoints == 0 ? ";" : " ",
						 summary_float8_text(baseline->quantile[i]));
	PG_RETURN_CSTRING(summary_finish(&buf));
}

Datum
loyalty_engagement_baseline_recv(PG_FUNCTION_ARGS)
{
	StringInfo	buf = (StringInfo) PG_GETARG_POINTER(0);
	int64		members;
	int32		ncomponents;
	int32		npoints;
	double	   *quantile;

	(void) summary_begin_recv(buf, BASELINE_VERSION, BASELINE_TYPE);
	members = pq_getmsgint64(buf);
	ncomponents = (int32) pq_getmsgint(buf, 4);
	npoints = (int32) pq_getmsgint(buf, 4);
	if (ncomponents < 0 || ncomponents > MAX_COMPONENTS || npoints < 0 || npoints > FITTED_POINTS)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_BINARY_REPRESENTATION),
				 errmsg("invalid binary form of type %s", BASELINE_TYPE)));
	quantile = palloc(Max(ncomponents * npoints, 1) * sizeof(double));
	for (int32 i = 0; i < ncomponents * npoints; i++)
		quantile[i] = pq_getmsgfloat8(buf);
	PG_RETURN_POINTER(make_baseline(members, ncomponents, npoints, quantile, NULL));
}

Datum
loyalty_engagement_baseline_send(PG_FUNCTION_ARGS)
{
	Baseline   *baseline = get_baseline(fcinfo, 0);
	StringInfoData buf;

	summary_begin_send(&buf, BASELINE_VERSION);
	pq_sendint64(&buf, baseline->members);
	pq_sendint32(&buf, baseline->ncomponents);
	pq_sendint32(&buf, baseline->npoints);
	for (int32 i = 0; i < baseline->ncomponents * baseline->npoints; i++)
		pq_sendfloat8(&buf, baseline->quantile[i]);
	PG_RETURN_BYTEA_P(pq_endtypsend(&buf));
}

/* The elements of a list of numbers; a NULL among them is NaN, which is no other's value here. */
static double *
read_numbers(ArrayType *array, int *n)
{
	Datum	   *elements;
	bool	   *nulls;
	double	   *numbers;

	if (ARR_NDIM(array) > 1)
		ereport(ERROR,
				(errcode(ERRCODE_ARRAY_SUBSCRIPT_ERROR),
				 errmsg("a list of numbers must have one dimension")));
	deconstruct_array(array, FLOAT8OID, sizeof(float8), FLOAT8PASSBYVAL, TYPALIGN_DOUBLE,
					  &elements, &nulls, n);
	numbers = palloc(Max(*n, 1) * sizeof(double));
	for (int i = 0; i < *n; i++)
	{
		if (nulls[i])
		{
			numbers[i] = get_float8_nan();
			continue;
		}
		numbers[i] = DatumGetFloat8(elements[i]);
		if (!isfinite(numbers[i]))
			ereport(ERROR,
					(errcode(ERRCODE_LY_INVALID_METRIC),
					 errmsg("components, bounds and weights must be finite")));
	}
	pfree(elements);
	pfree(nulls);
	return numbers;
}

static void
different_lengths(int wanted, int given)
{
	ereport(ERROR,
			(errcode(ERRCODE_LY_INVALID_METRIC),
			 errmsg("the lists must have the same length"),
			 errdetail("There are %d components and a list of %d.", wanted, given)));
}

/* engagement_baseline(low, high): bounds that somebody decided on. */
Datum
loyalty_engagement_baseline_make(PG_FUNCTION_ARGS)
{
	int			nlow;
	int			nhigh;
	double	   *low = read_numbers(PG_GETARG_ARRAYTYPE_P(0), &nlow);
	double	   *high = read_numbers(PG_GETARG_ARRAYTYPE_P(1), &nhigh);
	double	   *quantile;

	if (nlow != nhigh)
		different_lengths(nlow, nhigh);
	quantile = palloc(Max(nlow, 1) * 2 * sizeof(double));
	for (int i = 0; i < nlow; i++)
	{
		quantile[2 * i] = low[i];
		quantile[2 * i + 1] = high[i];
	}
	PG_RETURN_POINTER(make_baseline(0, nlow, 2, quantile, NULL));
}


/* ----- engagement_baseline_agg(components) ----- */

static BaselineState *
make_baseline_state(MemoryContext context, int ncomponents)
{
	BaselineState *state = MemoryContextAllocZero(context, sizeof(BaselineState));

	state->context = context;
	state->ncomponents = ncomponents;
	state->components = MemoryContextAllocZero(context, ncomponents * sizeof(Component));
	return state;
}

static void
add_values(BaselineState *state, int component, const double *values, int64 n)
{
	Component  *c = &state->components[component];

	if (c->size + n > c->capacity)
	{
		c->capacity = Max(Max(2 * c->capacity, 64), c->size + n);
		if (c->values == NULL)
			c->values = MemoryContextAllocHuge(state->context, c->capacity * sizeof(double));
		else
			c->values = repalloc_huge(c->values, c->capacity * sizeof(double));
	}
	memcpy(c->values + c->size, values, n * sizeof(double));
	c->size += n;
}

Datum
loyalty_engagement_baseline_accum(PG_FUNCTION_ARGS)
{
	BaselineState *state;
	ArrayType  *array;
	double	   *values;
	int			n;

	if (PG_ARGISNULL(1))
		return aggregate_unchanged(fcinfo);
	array = PG_GETARG_ARRAYTYPE_P(1);
	values = read_numbers(array, &n);
	if (n < 1 || n > MAX_COMPONENTS)
		ereport(ERROR,
				(errcode(ERRCODE_LY_INVALID_METRIC),
				 errmsg("there must be from 1 to %d components", MAX_COMPONENTS)));
	if (PG_ARGISNULL(0))
		state = make_baseline_state(aggregate_context(fcinfo), n);
	else
		state = (BaselineState *) PG_GETARG_POINTER(0);
	if (n != state->ncomponents)
		different_lengths(state->ncomponents, n);

	/* Who has no value of a component says nothing about it. */
	for (int i = 0; i < n; i++)
	{
		if (!isnan(values[i]))
			add_values(state, i, &values[i], 1);
	}
	state->members++;
	pfree(values);
	PG_RETURN_POINTER(state);
}

Datum
loyalty_engagement_baseline_combine(PG_FUNCTION_ARGS)
{
	MemoryContext context = aggregate_context(fcinfo);
	BaselineState *state;
	BaselineState *other;

	if (PG_ARGISNULL(1))
		return aggregate_unchanged(fcinfo);
	other = (BaselineState *) PG_GETARG_POINTER(1);
	state = PG_ARGISNULL(0) ? make_baseline_state(context, other->ncomponents) :
		(BaselineState *) PG_GETARG_POINTER(0);
	if (state->ncomponents != other->ncomponents)
		different_lengths(state->ncomponents, other->ncomponents);
	for (int i = 0; i < other->ncomponents; i++)
	{
		if (other->components[i].size > 0)
			add_values(state, i, other->components[i].values, other->components[i].size);
	}
	state->members += other->members;
	PG_RETURN_POINTER(state);
}

Datum
loyalty_engagement_baseline_serialize(PG_FUNCTION_ARGS)
{
	BaselineState *state = aggregate_state(fcinfo);
	StringInfoData buf;

	aggregate_begin_send(&buf, STATE_VERSION);
	pq_sendint64(&buf, state->members);
	pq_sendint32(&buf, state->ncomponents);
	for (int i = 0; i < state->ncomponents; i++)
	{
		Size		bytes = state->components[i].size * sizeof(double);

		pq_sendint64(&buf, state->components[i].size);
		if (bytes >= MaxAllocSize)
			ereport(ERROR,
					(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
					 errmsg("too many members for one parallel worker"),
					 errhint("Fit the baseline to a sample of the members.")));
		pq_sendbytes(&buf, (const char *) state->components[i].values, bytes);
	}
	PG_RETURN_BYTEA_P(pq_endtypsend(&buf));
}

/* In the caller's short-lived context; combine takes what it needs. */
Datum
loyalty_engagement_baseline_deserialize(PG_FUNCTION_ARGS)
{
	BaselineState *state;
	StringInfoData buf;
	int64		members;

	(void) aggregate_context(fcinfo);
	aggregate_begin_recv(fcinfo, &buf, STATE_VERSION);
	members = pq_getmsgint64(&buf);
	state = make_baseline_state(CurrentMemoryContext, (int) pq_getmsgint(&buf, 4));
	state->members = members;
	for (int i = 0; i < state->ncomponents; i++)
	{
		int64		n = pq_getmsgint64(&buf);

		if (n > 0)
		{
			/* The bytes of a message lie anywhere. */
			double	   *values = MemoryContextAllocHuge(CurrentMemoryContext, n * sizeof(double));

			memcpy(values, pq_getmsgbytes(&buf, n * sizeof(double)), n * sizeof(double));
			add_values(state, i, values, n);
			pfree(values);
		}
	}
	pq_getmsgend(&buf);
	PG_RETURN_POINTER(state);
}

/* The value at a share from 0 to 1 of sorted ones, linear between two (as percentile_cont). */
static double
value_at(const double *sorted, int64 n, double share)
{
	double		position = share * (n - 1);
	int64		below = (int64) floor(position);
	double		part = position - below;

	if (below + 1 >= n)
		return sorted[n - 1];
	if (part == 0.0 || sorted[below] == sorted[below + 1])
		return sorted[below];
	return sorted[below] * (1.0 - part) + sorted[below + 1] * part;
}

/* Sorts the state's values, which changes nothing that it means. */
Datum
loyalty_engagement_baseline_final(PG_FUNCTION_ARGS)
{
	BaselineState *state = aggregate_state(fcinfo);
	double	   *quantile;

	if (state == NULL)
		PG_RETURN_NULL();
	quantile = palloc(state->ncomponents * FITTED_POINTS * sizeof(double));
	for (int i = 0; i < state->ncomponents; i++)
	{
		Component  *c = &state->components[i];
		double	   *points = &quantile[i * FITTED_POINTS];

		if (c->size == 0)
			ereport(ERROR,
					(errcode(ERRCODE_LY_INVALID_METRIC),
					 errmsg("component %d has no values", i + 1),
					 errhint("Give 0 where a member did nothing.")));
		sort_values(c->values, c->size);
		for (int j = 0; j < FITTED_POINTS; j++)
		{
			points[j] = value_at(c->values, c->size, j / (double) (FITTED_POINTS - 1));

			/* Two roundings may cross. */
			if (j > 0)
				points[j] = Max(points[j], points[j - 1]);
		}
	}
	PG_RETURN_POINTER(make_baseline(state->members, state->ncomponents, FITTED_POINTS, quantile,
									NULL));
}


/* ----- reading a baseline ----- */

Datum
loyalty_engagement_baseline_members(PG_FUNCTION_ARGS)
{
	PG_RETURN_INT64(get_baseline(fcinfo, 0)->members);
}

Datum
loyalty_engagement_baseline_components(PG_FUNCTION_ARGS)
{
	PG_RETURN_INT32(get_baseline(fcinfo, 0)->ncomponents);
}

Datum
loyalty_engagement_baseline_quantile(PG_FUNCTION_ARGS)
{
	Baseline   *baseline = get_baseline(fcinfo, 0);
	int32		component = PG_GETARG_INT32(1);
	double		share = PG_GETARG_FLOAT8(2);

	if (component < 1 || component > baseline->ncomponents)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("there is no component %d", component),
				 errdetail("The components are numbered from 1 to %d.", baseline->ncomponents)));
	if (!(share >= 0.0 && share <= 1.0))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("the share must lie between 0 and 1"),
				 errhint("Give 0.5 for the median.")));
	PG_RETURN_FLOAT8(value_at(&baseline->quantile[(component - 1) * baseline->npoints],
							  baseline->npoints, share));
}

typedef enum ScoreMethod
{
	MINMAX,
	CAPPED,
	PERCENTILE
} ScoreMethod;

static ScoreMethod
read_method(text *name)
{
	char	   *method = text_to_cstring(name);

	if (strcmp(method, "minmax") == 0)
		return MINMAX;
	if (strcmp(method, "capped") == 0)
		return CAPPED;
	if (strcmp(method, "percentile") == 0)
		return PERCENTILE;
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("unknown method \"%s\"", method),
			 errhint("The methods are \"minmax\", \"capped\" and \"percentile\".")));
	return MINMAX;				/* keep compiler quiet */
}

/* 0 at low and below, 1 at high and above; between two that are equal nothing is known: 1/2. */
static double
scale_between(double low, double high, double value)
{
	if (low == high)
		return value < low ? 0.0 : value > high ? 1.0 : 0.5;
	if (value <= low)
		return 0.0;
	if (value >= high)
		return 1.0;

	/* Halved, since the difference of two doubles may not be one. */
	return (value / 2.0 - low / 2.0) / (high / 2.0 - low / 2.0);
}

/* The share of the baseline below the value; of those equal to it, half. */
static double
percentile_of(const double *points, int npoints, double value)
{
	int			below = 0;		/* points less than the value */
	int			not_above;

	if (value < points[0])
		return 0.0;
	if (value > points[npoints - 1])
		return 1.0;
	while (below < npoints && points[below] < value)
		below++;
	not_above = below;
	while (not_above < npoints && points[not_above] == value)
		not_above++;
	if (not_above > below)
		return (below + not_above - 1) / 2.0 / (npoints - 1);
	return (below - 1 + scale_between(points[below - 1], points[below], value)) / (npoints - 1);
}

/* engagement_score(baseline, components, weights, method) */
Datum
loyalty_engagement_score(PG_FUNCTION_ARGS)
{
	const double slack = 1e-9;	/* for weights such as 1/3 */
	Baseline   *baseline;
	double	   *values;
	double	   *weights = NULL;
	ScoreMethod method;
	double		total = 0.0;
	double		score = 0.0;
	int			n;

	if (PG_ARGISNULL(0) || PG_ARGISNULL(1) || PG_ARGISNULL(3))
		PG_RETURN_NULL();
	baseline = get_baseline(fcinfo, 0);
	values = read_numbers(PG_GETARG_ARRAYTYPE_P(1), &n);
	method = read_method(PG_GETARG_TEXT_PP(3));
	if (n != baseline->ncomponents)
		different_lengths(baseline->ncomponents, n);
	if (!PG_ARGISNULL(2))
	{
		weights = read_numbers(PG_GETARG_ARRAYTYPE_P(2), &n);
		if (n != baseline->ncomponents)
			different_lengths(baseline->ncomponents, n);
		for (int i = 0; i < n; i++)
		{
			if (!(weights[i] >= 0.0))
				ereport(ERROR,
						(errcode(ERRCODE_LY_INVALID_METRIC),
						 errmsg("a weight must not be NULL or negative"),
						 errhint("Give one for each component, which add up to 1.")));
			total += weights[i];
		}
		if (fabs(total - 1.0) > slack)
			ereport(ERROR,
					(errcode(ERRCODE_LY_INVALID_METRIC),
					 errmsg("the weights must add up to 1"),
					 errdetail("They add up to %.15g.", total)));
	}

	for (int i = 0; i < n; i++)
	{
		const double *points = &baseline->quantile[i * baseline->npoints];
		int			npoints = baseline->npoints;
		double		scaled;

		if (isnan(values[i]))
			PG_RETURN_NULL();
		if (method == PERCENTILE)
			scaled = percentile_of(points, npoints, values[i]);
		else if (method == CAPPED)
			scaled = scale_between(value_at(points, npoints, CAP_SHARE),
								   value_at(points, npoints, 1.0 - CAP_SHARE), values[i]);
		else
			scaled = scale_between(points[0], points[npoints - 1], values[i]);
		score += scaled * (weights == NULL ? 1.0 / n : weights[i]);
	}
	PG_RETURN_FLOAT8(Min(100.0 * score, 100.0));
}
