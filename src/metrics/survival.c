/*
 * survival.c
 *		How long memberships last: the Kaplan-Meier estimate with Greenwood's variance.
 *
 * A summary is the table of durations, each with the number that ended there and the
 * number that was last seen there.  It is exact, adds up, and grows with the distinct
 * durations, not with the rows.  The state of the aggregate holds the same table
 * unsorted: an append-only buffer that is sorted and merged when it is full and grows
 * only if that leaves it more than half full.  It belongs to the aggregate's context.
 *
 * Of those who end and those who are last seen at the same duration, the end comes
 * first: the censored are at risk at it.
 */
#include "postgres.h"

#include <math.h>

#include "common/int.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/date.h"
#include "utils/memutils.h"

#include "base/compat.h"
#include "base/errors.h"
#include "metrics/aggregate.h"
#include "metrics/normal.h"
#include "metrics/survival.h"

#define SUMMARY_TYPE		"survival_summary"
#define SUMMARY_VERSION		1
#define STATE_VERSION		1
#define FIRST_CAPACITY		16

typedef struct SurvivalState
{
	MemoryContext context;
	int64		capacity;
	int64		size;
	SurvivalPoint *points;
} SurvivalState;

PG_FUNCTION_INFO_V1(loyalty_survival_in);
PG_FUNCTION_INFO_V1(loyalty_survival_out);
PG_FUNCTION_INFO_V1(loyalty_survival_recv);
PG_FUNCTION_INFO_V1(loyalty_survival_send);
PG_FUNCTION_INFO_V1(loyalty_survival_accum);
PG_FUNCTION_INFO_V1(loyalty_survival_accum_date);
PG_FUNCTION_INFO_V1(loyalty_survival_accum_summary);
PG_FUNCTION_INFO_V1(loyalty_survival_combine);
PG_FUNCTION_INFO_V1(loyalty_survival_serialize);
PG_FUNCTION_INFO_V1(loyalty_survival_deserialize);
PG_FUNCTION_INFO_V1(loyalty_survival_final);
PG_FUNCTION_INFO_V1(loyalty_survival_subjects);
PG_FUNCTION_INFO_V1(loyalty_survival_events);
PG_FUNCTION_INFO_V1(loyalty_survival_at);
PG_FUNCTION_INFO_V1(loyalty_survival_quantile);
PG_FUNCTION_INFO_V1(loyalty_survival_mean);
PG_FUNCTION_INFO_V1(loyalty_survival_curve);

#define ST_SORT sort_points
#define ST_ELEMENT_TYPE SurvivalPoint
#define ST_COMPARE(a, b) ((a)->time < (b)->time ? -1 : (a)->time > (b)->time ? 1 : 0)
#define ST_SCOPE static
#define ST_CHECK_FOR_INTERRUPTS
#define ST_DEFINE
#include "lib/sort_template.h"


/* ----- the value ----- */

/*
 * Sorts, and makes one point of those of one time; the number that is left.  Points
 * of nobody go.  False in *fits if a count does not fit.
 */
static Size
merge_points(SurvivalPoint *points, Size n, bool *fits)
{
	Size		kept = 0;

	*fits = true;
	sort_points(points, n);
	for (Size i = 0; i < n;)
	{
		SurvivalPoint sum = points[i++];

		while (i < n && points[i].time == sum.time)
		{
			if (pg_add_s64_overflow(sum.events, points[i].events, &sum.events) ||
				pg_add_s64_overflow(sum.censored, points[i].censored, &sum.censored))
				*fits = false;
			i++;
		}
		if (sum.events != 0 || sum.censored != 0)
			points[kept++] = sum;
	}
	return kept;
}

SurvivalSummary *
survival_make(SurvivalPoint *points, Size npoints, Node *escontext)
{
	SurvivalSummary *summary;
	const char *detail = NULL;
	bool		fits;
	int64		total = 0;

	for (Size i = 0; i < npoints && detail == NULL; i++)
	{
		if (!isfinite(points[i].time) || points[i].time < 0.0)
			detail = "A duration must be finite and not negative.";
		points[i].time += 0.0;	/* no negative zero: equal values, equal bytes */
	}

	npoints = merge_points(points, npoints, &fits);
	for (Size i = 0; i < npoints && detail == NULL && fits; i++)
	{
		if (points[i].events < 0 || points[i].censored < 0)
			detail = "A count must not be negative.";
		else if (pg_add_s64_overflow(total, points[i].events, &total) ||
				 pg_add_s64_overflow(total, points[i].censored, &total))
			fits = false;
	}
	if (detail != NULL)
		ereturn(escontext, NULL,
				(errcode(ERRCODE_LY_INVALID_METRIC),
				 errmsg("invalid %s", SUMMARY_TYPE),
				 errdetail("%s", detail)));
	if (!fits)
		ereturn(escontext, NULL,
				(errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
				 errmsg("%s out of range", SUMMARY_TYPE)));
	if (npoints > (MaxAllocSize - sizeof(SurvivalSummary)) / sizeof(SurvivalPoint))
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("too many different durations in one %s", SUMMARY_TYPE),
				 errhint("Round the durations to days.")));

	summary = summary_alloc(offsetof(SurvivalSummary, points) + npoints * sizeof(SurvivalPoint),
							SUMMARY_VERSION);
	summary->npoints = (int32) npoints;
	memcpy(summary->points, points, npoints * sizeof(SurvivalPoint));
	return summary;
}

static SurvivalSummary *
get_summary(FunctionCallInfo fcinfo, int argno)
{
	SurvivalSummary *summary = (SurvivalSummary *) PG_DETOAST_DATUM(PG_GETARG_DATUM(argno));

	summary_check_version(&summary->header, SUMMARY_VERSION, SUMMARY_TYPE);
	return summary;
}

/* Text: "(points:12=3/1 24=0/2)", a duration, the ends and the censored at it. */
Datum
loyalty_survival_in(PG_FUNCTION_ARGS)
{
	Node	   *escontext = fcinfo->context;
	SummaryField fields[] = {{.name = "points",.required = true}};
	SurvivalPoint *points;
	Size		capacity = FIRST_CAPACITY;
	Size		n = 0;
	char	   *rest;

	if (!summary_parse(PG_GETARG_CSTRING(0), SUMMARY_TYPE, fields, lengthof(fields), escontext))
		PG_RETURN_NULL();
	points = palloc(capacity * sizeof(SurvivalPoint));
	for (char *token = strtok_r(fields[0].value, " ", &rest); token != NULL;
		 token = strtok_r(NULL, " ", &rest))
	{
		char	   *equals = strchr(token, '=');
		char	   *slash = equals == NULL ? NULL : strchr(equals, '/');
		SummaryField time = {.name = "duration",.value = token};
		SummaryField events = {.name = "events"};
		SummaryField censored = {.name = "censored"};

		CHECK_FOR_INTERRUPTS();
		if (slash == NULL)
			ereturn(escontext, (Datum) 0,
					(errcode(ERRCODE_INVALID_TEXT_REPRESENTATION),
					 errmsg("invalid input syntax for type %s: \"%s\"", SUMMARY_TYPE, token),
					 errdetail("A point is written as duration=events/censored.")));
		*equals = *slash = '\0';
		events.value = equals + 1;
		censored.value = slash + 1;
		if (n == capacity)
		{
			capacity *= 2;
			points = repalloc_huge(points, capacity * sizeof(SurvivalPoint));
		}
		if (!summary_read_float8(&time, SUMMARY_TYPE, &points[n].time, escontext) ||
			!summary_read_count(&events, SUMMARY_TYPE, &points[n].events, escontext) ||
			!summary_read_count(&censored, SUMMARY_TYPE, &points[n].censored, escontext))
			PG_RETURN_NULL();
		n++;
	}
	PG_RETURN_POINTER(survival_make(points, n, escontext));
}

Datum
loyalty_survival_out(PG_FUNCTION_ARGS)
{
	SurvivalSummary *summary = get_summary(fcinfo, 0);
	StringInfoData buf;

	initStringInfo(&buf);
	summary_put(&buf, "points", "");
	for (int32 i = 0; i < summary->npoints; i++)
	{
		const SurvivalPoint *point = &summary->points[i];

		appendStringInfo(&buf, "%s%s=" INT64_FORMAT "/" INT64_FORMAT, i == 0 ? "" : " ",
						 summary_float8_text(point->time), point->events, point->censored);
	}
	PG_RETURN_CSTRING(summary_finish(&buf));
}

static void
send_points(StringInfo buf, const SurvivalPoint *points, int64 n)
{
	pq_sendint64(buf, n);
	for (int64 i = 0; i < n; i++)
	{
		pq_sendfloat8(buf, points[i].time);
		pq_sendint64(buf, points[i].events);
		pq_sendint64(buf, points[i].censored);
	}
}

static SurvivalPoint *
recv_points(StringInfo buf, int64 *n)
{
	SurvivalPoint *points;

	*n = pq_getmsgint64(buf);
	if (*n < 0 || *n > (buf->len - buf->cursor) / (int) sizeof(SurvivalPoint))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_BINARY_REPRESENTATION),
				 errmsg("invalid binary form of type %s", SUMMARY_TYPE)));
	points = palloc_extended((*n + 1) * sizeof(SurvivalPoint), MCXT_ALLOC_HUGE);
	for (int64 i = 0; i < *n; i++)
	{
		points[i].time = pq_getmsgfloat8(buf);
		points[i].events = pq_getmsgint64(buf);
		points[i].censored = pq_getmsgint64(buf);
	}
	return points;
}

Datum
loyalty_survival_recv(PG_FUNCTION_ARGS)
{
	StringInfo	buf = (StringInfo) PG_GETARG_POINTER(0);
	SurvivalPoint *points;
	int64		n;

	(void) summary_begin_recv(buf, SUMMARY_VERSION, SUMMARY_TYPE);
	points = recv_points(buf, &n);
	PG_RETURN_POINTER(survival_make(points, n, NULL));
}

Datum
loyalty_survival_send(PG_FUNCTION_ARGS)
{
	SurvivalSummary *summary = get_summary(fcinfo, 0);
	StringInfoData buf;

	summary_begin_send(&buf, SUMMARY_VERSION);
	send_points(&buf, summary->points, summary->npoints);
	PG_RETURN_BYTEA_P(pq_endtypsend(&buf));
}


/* ----- aggregation ----- */

static SurvivalState *
get_state(FunctionCallInfo fcinfo)
{
	MemoryContext context;
	SurvivalState *state;

	if (!PG_ARGISNULL(0))
		return (SurvivalState *) PG_GETARG_POINTER(0);
	context = aggregate_context(fcinfo);
	state = MemoryContextAllocZero(context, sizeof(SurvivalState));
	state->context = context;
	state->capacity = FIRST_CAPACITY;
	state->points = MemoryContextAlloc(context, FIRST_CAPACITY * sizeof(SurvivalPoint));
	return state;
}

static void
compact(SurvivalState *state)
{
	bool		fits;

	state->size = merge_points(state->points, state->size, &fits);
	if (!fits)
		summary_overflow(SUMMARY_TYPE);
}

static void
add_point(SurvivalState *state, SurvivalPoint point)
{
	if (state->size == state->capacity)
	{
		compact(state);
		if (state->size > state->capacity / 2)
		{
			state->capacity *= 2;
			state->points = repalloc_huge(state->points, state->capacity * sizeof(SurvivalPoint));
		}
	}
	state->points[state->size++] = point;
}

static void
add_duration(SurvivalState *state, float8 duration, bool ended)
{
	if (!isfinite(duration) || duration < 0.0)
		ereport(ERROR,
				(errcode(ERRCODE_LY_INVALID_METRIC),
				 errmsg("a duration must be finite and not negative"),
				 errhint("Leave such rows out with FILTER or WHERE.")));
	add_point(state, (SurvivalPoint)
			  {
				  .time = duration + 0.0,.events = ended,.censored = !ended
			  });
}

/* survival_agg(duration, ended) */
Datum
loyalty_survival_accum(PG_FUNCTION_ARGS)
{
	SurvivalState *state;

	if (PG_ARGISNULL(1) || PG_ARGISNULL(2))
		return aggregate_unchanged(fcinfo);
	state = get_state(fcinfo);
	add_duration(state, PG_GETARG_FLOAT8(1), PG_GETARG_BOOL(2));
	PG_RETURN_POINTER(state);
}

/* survival_agg(started, ended, as_of), in days; who has not ended is NULL or ends later. */
Datum
loyalty_survival_accum_date(PG_FUNCTION_ARGS)
{
	SurvivalState *state;
	DateADT		started;
	DateADT		as_of;
	DateADT		last;
	bool		ended;

	if (PG_ARGISNULL(1) || PG_ARGISNULL(3))
		return aggregate_unchanged(fcinfo);
	started = PG_GETARG_DATEADT(1);
	as_of = PG_GETARG_DATEADT(3);
	if (DATE_NOT_FINITE(as_of))
		ereport(ERROR,
				(errcode(ERRCODE_LY_INVALID_METRIC),
				 errmsg("as_of must be finite"),
				 errhint("Give the day up to which the data go, such as current_date.")));
	if (started > as_of)
		return aggregate_unchanged(fcinfo);
	ended = !PG_ARGISNULL(2) && PG_GETARG_DATEADT(2) <= as_of;
	last = ended ? PG_GETARG_DATEADT(2) : as_of;
	if (DATE_NOT_FINITE(started) || last < started)
		ereport(ERROR,
				(errcode(ERRCODE_LY_INVALID_METRIC),
				 errmsg("a membership must start at a finite time and end after it"),
				 errhint("Look for rows that end before they start.")));
	state = get_state(fcinfo);
	add_duration(state, (float8) last - (float8) started, ended);
	PG_RETURN_POINTER(state);
}

/* rollup(survival_summary) */
Datum
loyalty_survival_accum_summary(PG_FUNCTION_ARGS)
{
	SurvivalState *state;
	SurvivalSummary *summary;

	if (PG_ARGISNULL(1))
		return aggregate_unchanged(fcinfo);
	state = get_state(fcinfo);
	summary = get_summary(fcinfo, 1);
	for (int32 i = 0; i < summary->npoints; i++)
		add_point(state, summary->points[i]);
	PG_RETURN_POINTER(state);
}

Datum
loyalty_survival_combine(PG_FUNCTION_ARGS)
{
	SurvivalState *state;
	SurvivalState *other;

	(void) aggregate_context(fcinfo);
	if (PG_ARGISNULL(1))
		return aggregate_unchanged(fcinfo);
	state = get_state(fcinfo);
	other = (SurvivalState *) PG_GETARG_POINTER(1);
	for (int64 i = 0; i < other->size; i++)
		add_point(state, other->points[i]);
	PG_RETURN_POINTER(state);
}

Datum
loyalty_survival_serialize(PG_FUNCTION_ARGS)
{
	SurvivalState *state = aggregate_state(fcinfo);
	StringInfoData buf;

	compact(state);
	aggregate_begin_send(&buf, STATE_VERSION);
	send_points(&buf, state->points, state->size);
	PG_RETURN_BYTEA_P(pq_endtypsend(&buf));
}

/* In the caller's short-lived context; combine takes what it needs. */
Datum
loyalty_survival_deserialize(PG_FUNCTION_ARGS)
{
	SurvivalState *state = palloc0(sizeof(SurvivalState));
	StringInfoData buf;

	(void) aggregate_context(fcinfo);
	aggregate_begin_recv(fcinfo, &buf, STATE_VERSION);
	state->points = recv_points(&buf, &state->size);
	pq_getmsgend(&buf);
	PG_RETURN_POINTER(state);
}

/* Puts the state's points in order, which changes nothing that it means. */
Datum
loyalty_survival_final(PG_FUNCTION_ARGS)
{
	SurvivalState *state = aggregate_state(fcinfo);

	if (state == NULL)
		PG_RETURN_NULL();
	compact(state);
	PG_RETURN_POINTER(survival_make(state->points, state->size, NULL));
}


/* ----- reading ----- */

static int64
count_subjects(const SurvivalSummary *summary)
{
	int64		subjects = 0;

	for (int32 i = 0; i < summary->npoints; i++)
		subjects += summary->points[i].events + summary->points[i].censored;
	return subjects;
}

Datum
loyalty_survival_subjects(PG_FUNCTION_ARGS)
{
	PG_RETURN_INT64(count_subjects(get_summary(fcinfo, 0)));
}

Datum
loyalty_survival_events(PG_FUNCTION_ARGS)
{
	SurvivalSummary *summary = get_summary(fcinfo, 0);
	int64		events = 0;

	for (int32 i = 0; i < summary->npoints; i++)
		events += summary->points[i].events;
	PG_RETURN_INT64(events);
}

/*
 * The estimate while it goes along the durations (Kaplan & Meier 1958): S is the
 * product of 1 - d/n, and Greenwood's sum (1926) is that of d / (n (n - d)).
 */
typedef struct Estimate
{
	int64		at_risk;
	double		survival;
	double		greenwood;
} Estimate;

static Estimate
start_estimate(const SurvivalSummary *summary)
{
	return (Estimate)
	{
		.at_risk = count_subjects(summary),.survival = 1.0
	};
}

/* Up to and with a point; at_risk is then that of the next. */
static void
pass_point(Estimate *estimate, const SurvivalPoint *point)
{
	double		n = (double) estimate->at_risk;
	double		d = (double) point->events;

	if (point->events == estimate->at_risk)
		estimate->survival = 0.0;
	else if (point->events > 0)
	{
		estimate->survival *= (n - d) / n;
		estimate->greenwood += d / (n * (n - d));
	}
	estimate->at_risk -= point->events + point->censored;
}

/* S(t): the share that lasts longer than t.  Unknown after the last duration, if somebody was left. */
Datum
loyalty_survival_at(PG_FUNCTION_ARGS)
{
	SurvivalSummary *summary = get_summary(fcinfo, 0);
	double		time = PG_GETARG_FLOAT8(1);
	Estimate	estimate = start_estimate(summary);

	if (isnan(time) || time < 0.0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("a duration must not be negative")));
	if (summary->npoints == 0)
		PG_RETURN_NULL();
	for (int32 i = 0; i < summary->npoints && summary->points[i].time <= time; i++)
		pass_point(&estimate, &summary->points[i]);
	if (estimate.survival > 0.0 && time > summary->points[summary->npoints - 1].time)
		PG_RETURN_NULL();
	PG_RETURN_FLOAT8(estimate.survival);
}

/* The first duration at which no more than 1 - share is left; NULL if it was not reached. */
Datum
loyalty_survival_quantile(PG_FUNCTION_ARGS)
{
	SurvivalSummary *summary = get_summary(fcinfo, 0);
	double		share = PG_GETARG_FLOAT8(1);
	Estimate	estimate = start_estimate(summary);

	if (!(share > 0.0 && share < 1.0))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("the share must lie between 0 and 1"),
				 errhint("Give 0.5 for the median.")));
	for (int32 i = 0; i < summary->npoints; i++)
	{
		pass_point(&estimate, &summary->points[i]);

		/* A product that should be just the share may miss it by a rounding or two. */
		if (estimate.survival <= (1.0 - share) * (1.0 + 1e-12))
			PG_RETURN_FLOAT8(summary->points[i].time);
	}
	PG_RETURN_NULL();
}

/* The area under S up to a horizon; NULL if the horizon is beyond what S is known for. */
Datum
loyalty_survival_mean(PG_FUNCTION_ARGS)
{
	SurvivalSummary *summary = get_summary(fcinfo, 0);
	double		horizon = PG_GETARG_FLOAT8(1);
	Estimate	estimate = start_estimate(summary);
	double		from = 0.0;
	double		area = 0.0;

	if (isnan(horizon) || horizon < 0.0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("a duration must not be negative")));
	if (summary->npoints == 0)
		PG_RETURN_NULL();
	for (int32 i = 0; i < summary->npoints && summary->points[i].time <= horizon; i++)
	{
		area += estimate.survival * (summary->points[i].time - from);
		from = summary->points[i].time;
		pass_point(&estimate, &summary->points[i]);
	}
	if (estimate.survival > 0.0)
	{
		if (horizon > summary->points[summary->npoints - 1].time)
			PG_RETURN_NULL();
		area += estimate.survival * (horizon - from);
	}
	PG_RETURN_FLOAT8(area);
}

typedef enum Transform
{
	PLAIN,
	LOGARITHM,
	LOG_LOG
} Transform;

static Transform
read_transform(text *name)
{
	char	   *transform = text_to_cstring(name);

	if (strcmp(transform, "plain") == 0)
		return PLAIN;
	if (strcmp(transform, "log") == 0)
		return LOGARITHM;
	if (strcmp(transform, "log_log") == 0)
		return LOG_LOG;
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("unknown method \"%s\"", transform),
			 errhint("The methods are \"plain\", \"log\" and \"log_log\".")));
	return PLAIN;				/* keep compiler quiet */
}

/* Where S is 1 the standard error is 0, and so is the interval; where S is 0 there is none. */
static void
get_interval(const Estimate *estimate, Transform transform, double z, double *low, double *high)
{
	double		s = estimate->survival;
	double		error = sqrt(estimate->greenwood);	/* of log S */
	double		width;

	if (s == 1.0)
	{
		*low = *high = 1.0;
		return;
	}
	switch (transform)
	{
		case PLAIN:
			*low = s - z * s * error;
			*high = s + z * s * error;
			break;
		case LOGARITHM:
			*low = s * exp(-z * error);
			*high = s * exp(z * error);
			break;
		case LOG_LOG:
			width = exp(z * error / -log(s));
			*low = pow(s, width);
			*high = pow(s, 1.0 / width);
			break;
	}
	*low = Max(*low, 0.0);
	*high = Min(*high, 1.0);
}

/* survival_curve(summary, confidence, method) */
Datum
loyalty_survival_curve(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	SurvivalSummary *summary = get_summary(fcinfo, 0);
	Transform	transform = read_transform(PG_GETARG_TEXT_PP(2));
	Estimate	estimate = start_estimate(summary);
	double		z = normal_two_sided_z(summary_confidence(fcinfo, 1));

	InitMaterializedSRF(fcinfo, 0);
	for (int32 i = 0; i < summary->npoints; i++)
	{
		const SurvivalPoint *point = &summary->points[i];
		Datum		values[8];
		bool		nulls[8] = {false};

		CHECK_FOR_INTERRUPTS();
		values[0] = Float8GetDatum(point->time);
		values[1] = Int64GetDatum(estimate.at_risk);
		values[2] = Int64GetDatum(point->events);
		values[3] = Int64GetDatum(point->censored);
		pass_point(&estimate, point);
		values[4] = Float8GetDatum(estimate.survival);
		if (estimate.survival > 0.0)
		{
			double		low;
			double		high;

			get_interval(&estimate, transform, z, &low, &high);
			values[5] = Float8GetDatum(estimate.survival * sqrt(estimate.greenwood));
			values[6] = Float8GetDatum(low);
			values[7] = Float8GetDatum(high);
		}
		else
			nulls[5] = nulls[6] = nulls[7] = true;
		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
	}
	return (Datum) 0;
}
