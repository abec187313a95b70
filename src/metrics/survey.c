/*
 * survey.c
 *		Net Promoter Score: the summary of 0-10 answers to "how likely are you
 *		to recommend us", its intervals, and the test of two of them.
 *
 * The state of nps() and nps_agg() is the summary itself, in the aggregate's
 * memory, changed in place; the executor made it from the aggregate's INITCOND.
 * Inside, a score is the mean of a variable that is 1 for a promoter, 0 for a
 * passive and -1 for a detractor; what SQL sees is 100 times that.
 *
 * The counts and their sum fit in an int64: checked wherever a summary is made
 * or two are added (counts.c).  Counting rows one by one can't get there.
 */
#include "postgres.h"

#include <math.h>

#include "common/int.h"
#include "funcapi.h"
#include "utils/builtins.h"

#include "base/compat.h"
#include "base/errors.h"
#include "metrics/counts.h"
#include "metrics/normal.h"

#define NPS_SCALE		100.0
#define NPS_MAX_SCORE	10

typedef enum NpsClass
{
	NPS_PROMOTER,
	NPS_PASSIVE,
	NPS_DETRACTOR
} NpsClass;

typedef Counts NpsSummary;		/* count[] by NpsClass */

/* Reichheld (2003): 9-10 promote, 7-8 are passive, 0-6 detract. */
static const uint8 class_of[NPS_MAX_SCORE + 1] = {
	NPS_DETRACTOR, NPS_DETRACTOR, NPS_DETRACTOR, NPS_DETRACTOR,
	NPS_DETRACTOR, NPS_DETRACTOR, NPS_DETRACTOR,
	NPS_PASSIVE, NPS_PASSIVE,
	NPS_PROMOTER, NPS_PROMOTER
};

static bool check_summary(const int64 *count, Node *escontext);

static const CountsType nps_type = {
	"nps_summary", 1, {"promoters", "passives", "detractors"}, check_summary
};

typedef enum NpsMethod
{
	NPS_WALD,
	NPS_ADJUSTED_WALD,
	NPS_SCORE
} NpsMethod;

/* Mean of the {-1,0,1} variable, its variance (divisor n), and n. */
typedef struct Moments
{
	double		mean;
	double		variance;
	double		n;
} Moments;

PG_FUNCTION_INFO_V1(loyalty_survey_in);
PG_FUNCTION_INFO_V1(loyalty_survey_out);
PG_FUNCTION_INFO_V1(loyalty_survey_recv);
PG_FUNCTION_INFO_V1(loyalty_survey_send);
PG_FUNCTION_INFO_V1(loyalty_survey_make);
PG_FUNCTION_INFO_V1(loyalty_survey_accum);
PG_FUNCTION_INFO_V1(loyalty_survey_accum_inv);
PG_FUNCTION_INFO_V1(loyalty_survey_combine);
PG_FUNCTION_INFO_V1(loyalty_survey_combine_inv);
PG_FUNCTION_INFO_V1(loyalty_survey_final);
PG_FUNCTION_INFO_V1(loyalty_survey_promoters);
PG_FUNCTION_INFO_V1(loyalty_survey_passives);
PG_FUNCTION_INFO_V1(loyalty_survey_detractors);
PG_FUNCTION_INFO_V1(loyalty_survey_responses);
PG_FUNCTION_INFO_V1(loyalty_survey_nps);
PG_FUNCTION_INFO_V1(loyalty_survey_standard_error);
PG_FUNCTION_INFO_V1(loyalty_survey_margin);
PG_FUNCTION_INFO_V1(loyalty_survey_interval);
PG_FUNCTION_INFO_V1(loyalty_survey_test);


/* ----- the value ----- */

static NpsSummary *
get_summary(FunctionCallInfo fcinfo, int argno)
{
	return counts_get_arg(fcinfo, argno, &nps_type);
}

static inline int64
responses(const NpsSummary *summary)
{
	return summary->count[NPS_PROMOTER] + summary->count[NPS_PASSIVE] +
		summary->count[NPS_DETRACTOR];
}

static bool
check_summary(const int64 *count, Node *escontext)
{
	int64		total;

	if (pg_add_s64_overflow(count[NPS_PROMOTER], count[NPS_PASSIVE], &total) ||
		pg_add_s64_overflow(total, count[NPS_DETRACTOR], &total))
		ereturn(escontext, false,
				(errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
				 errmsg("%s out of range", nps_type.name),
				 errdetail("The number of responses must fit in a bigint.")));
	return true;
}

Datum
loyalty_survey_in(PG_FUNCTION_ARGS)
{
	return counts_in(fcinfo, &nps_type);
}

Datum
loyalty_survey_out(PG_FUNCTION_ARGS)
{
	return counts_out(fcinfo, &nps_type);
}

Datum
loyalty_survey_recv(PG_FUNCTION_ARGS)
{
	return counts_recv(fcinfo, &nps_type);
}

Datum
loyalty_survey_send(PG_FUNCTION_ARGS)
{
	return counts_send(fcinfo, &nps_type);
}

Datum
loyalty_survey_make(PG_FUNCTION_ARGS)
{
	return counts_from_args(fcinfo, &nps_type);
}


/* ----- aggregation ----- */

/* What is rare: a direct call from SQL, and a score off the scale. */
static pg_noinline Datum
accum_directly(FunctionCallInfo fcinfo, int64 step)
{
	int32		score = PG_GETARG_INT32(1);
	NpsSummary *state;

	if (score < 0 || score > NPS_MAX_SCORE)
		ereport(ERROR,
				(errcode(ERRCODE_LY_INVALID_SCORE),
				 errmsg("score %d is not on the scale from 0 to %d", score, NPS_MAX_SCORE),
				 errdetail("The Net Promoter Score is defined for whole answers from 0 to %d only.",
						   NPS_MAX_SCORE),
				 errhint("Leave other rows out with FILTER (WHERE ...), or pass NULL for no answer.")));

	state = counts_make(&nps_type, get_summary(fcinfo, 0)->count, NULL);
	state->count[class_of[score]] += step;
	PG_RETURN_POINTER(counts_make(&nps_type, state->count, NULL));
}

/*
 * Once per row, so nothing here but the count: strict, so no NULL arrives; the
 * state's own pointer goes back, so the executor does not copy it; and what is
 * rare is one tail call, so this needs no stack frame.
 */
static inline Datum
accum(FunctionCallInfo fcinfo, int64 step)
{
	NpsSummary *state = (NpsSummary *) PG_GETARG_POINTER(0);
	int32		score = PG_GETARG_INT32(1);

	if (unlikely((uint32) score > NPS_MAX_SCORE || !summary_owns_state(fcinfo)))
		return accum_directly(fcinfo, step);

	state->count[class_of[score]] += step;
	PG_RETURN_POINTER(state);
}

Datum
loyalty_survey_accum(PG_FUNCTION_ARGS)
{
	return accum(fcinfo, 1);
}

Datum
loyalty_survey_accum_inv(PG_FUNCTION_ARGS)
{
	return accum(fcinfo, -1);
}

Datum
loyalty_survey_combine(PG_FUNCTION_ARGS)
{
	return counts_add(fcinfo, &nps_type);
}

Datum
loyalty_survey_combine_inv(PG_FUNCTION_ARGS)
{
	return counts_subtract(fcinfo, &nps_type);
}

Datum
loyalty_survey_final(PG_FUNCTION_ARGS)
{
	return counts_final(fcinfo, &nps_type);
}


/* ----- accessors ----- */

Datum
loyalty_survey_promoters(PG_FUNCTION_ARGS)
{
	return counts_field(fcinfo, &nps_type, NPS_PROMOTER);
}

Datum
loyalty_survey_passives(PG_FUNCTION_ARGS)
{
	return counts_field(fcinfo, &nps_type, NPS_PASSIVE);
}

Datum
loyalty_survey_detractors(PG_FUNCTION_ARGS)
{
	return counts_field(fcinfo, &nps_type, NPS_DETRACTOR);
}

Datum
loyalty_survey_responses(PG_FUNCTION_ARGS)
{
	PG_RETURN_INT64(responses(get_summary(fcinfo, 0)));
}

/* Also the final function of nps(integer). */
Datum
loyalty_survey_nps(PG_FUNCTION_ARGS)
{
	NpsSummary *summary = get_summary(fcinfo, 0);
	int64		n = responses(summary);

	if (n == 0)
		PG_RETURN_NULL();
	PG_RETURN_FLOAT8(NPS_SCALE *
					 (double) (summary->count[NPS_PROMOTER] - summary->count[NPS_DETRACTOR]) /
					 (double) n);
}


/* ----- intervals and the test ----- */

static NpsMethod
get_method(FunctionCallInfo fcinfo, int argno)
{
	char	   *name = text_to_cstring(PG_GETARG_TEXT_PP(argno));

	if (strcmp(name, "wald") == 0)
		return NPS_WALD;
	if (strcmp(name, "adjusted_wald") == 0)
		return NPS_ADJUSTED_WALD;
	if (strcmp(name, "score") == 0)
		return NPS_SCORE;
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("unknown method \"%s\"", name),
			 errhint("The methods are \"adjusted_wald\", \"wald\" and \"score\".")));
	return NPS_WALD;			/* keep compiler quiet */
}

/* The normal quantile that belongs to a confidence level. */
static double
get_quantile(FunctionCallInfo fcinfo, int argno)
{
	double		confidence = PG_GETARG_FLOAT8(argno);

	if (!(confidence > 0.0 && confidence < 1.0))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("confidence must lie between 0 and 1"),
				 errhint("Give 0.95 for 95 %%.")));
	return normal_two_sided_z(confidence);
}

/*
 * The adjustment (Rocks 2016; Lewis & Sauro 2021) adds three imaginary answers:
 * 3/4 of a promoter, 3/4 of a detractor and the rest passive.
 */
static Moments
moments_of(const NpsSummary *summary, NpsMethod method)
{
	double		extra = method == NPS_ADJUSTED_WALD ? 0.75 : 0.0;
	double		promoters = summary->count[NPS_PROMOTER] + extra;
	double		passives = summary->count[NPS_PASSIVE] + 2.0 * extra;
	double		detractors = summary->count[NPS_DETRACTOR] + extra;
	Moments		m;

	m.n = promoters + passives + detractors;
	m.mean = (promoters - detractors) / m.n;

	/* (P+D)/n - mean^2 as a sum of squares, which does not cancel when almost all agree. */
	m.variance = (promoters * (1.0 - m.mean) * (1.0 - m.mean) +
				  passives * m.mean * m.mean +
				  detractors * (1.0 + m.mean) * (1.0 + m.mean)) / m.n;
	return m;
}

static inline double
standard_error(Moments m)
{
	return sqrt(m.variance / m.n);
}

/*
 * How far the observed mean lies above theta, less z standard errors, where the
 * standard error is the one that theta itself implies.  For it the share of
 * detractors is estimated given theta: the larger root of
 * 2n q^2 + ((2n-P+D) theta - D - P) q - D theta (1-theta) = 0.
 */
static double
score_excess(const NpsSummary *summary, double theta, double z)
{
	double		p = summary->count[NPS_PROMOTER];
	double		d = summary->count[NPS_DETRACTOR];
	double		n = responses(summary);
	double		a = 2.0 * n;
	double		b = (2.0 * n - p + d) * theta - d - p;
	double		c = -d * theta * (1.0 - theta);
	double		root = sqrt(Max(b * b - 4.0 * a * c, 0.0));
	double		q;
	double		variance;

	/* Of the two ways to write the root, the one that does not cancel. */
	if (b <= 0.0)
		q = (root - b) / (2.0 * a);
	else
		q = -2.0 * c / (b + root);
	q = Max(q, Max(0.0, -theta));	/* a share, and so is that of the promoters, q + theta */

	variance = Max(2.0 * q + theta * (1.0 - theta), 0.0);
	return p - d - n * theta - z * sqrt(n * variance);
}

/*
 * The theta at which the score test just rejects: between the observed mean and
 * the end of the scale the excess changes its sign once.  A positive z gives the
 * lower limit, a negative one the upper.
 */
static double
score_limit(const NpsSummary *summary, double z)
{
	double		observed = moments_of(summary, NPS_SCORE).mean;
	double		low = z > 0.0 ? -1.0 : observed;
	double		high = z > 0.0 ? observed : 1.0;

	for (;;)
	{
		double		middle = low + (high - low) / 2.0;

		if (middle <= low || middle >= high)
			return z > 0.0 ? low : high;
		if (score_excess(summary, middle, z) > 0.0)
			low = middle;
		else
			high = middle;
	}
}

/* False if there were no responses. */
static bool
interval_of(FunctionCallInfo fcinfo, double *low, double *high)
{
	NpsSummary *summary = get_summary(fcinfo, 0);
	double		z = get_quantile(fcinfo, 1);
	NpsMethod	method = get_method(fcinfo, 2);

	if (responses(summary) == 0)
		return false;

	if (method == NPS_SCORE)
	{
		*low = score_limit(summary, z);
		*high = score_limit(summary, -z);
	}
	else
	{
		Moments		m = moments_of(summary, method);
		double		half = z * standard_error(m);

		*low = m.mean - half;
		*high = m.mean + half;
	}
	*low *= NPS_SCALE;
	*high *= NPS_SCALE;
	return true;
}

static Datum
return_row(FunctionCallInfo fcinfo, Datum *values, bool *nulls)
{
	TupleDesc	tupdesc;

	if (get_call_result_type(fcinfo, NULL, &tupdesc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	return HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(tupdesc), values, nulls));
}

Datum
loyalty_survey_standard_error(PG_FUNCTION_ARGS)
{
	NpsSummary *summary = get_summary(fcinfo, 0);

	if (responses(summary) == 0)
		PG_RETURN_NULL();
	PG_RETURN_FLOAT8(NPS_SCALE * standard_error(moments_of(summary, NPS_WALD)));
}

Datum
loyalty_survey_margin(PG_FUNCTION_ARGS)
{
	double		low;
	double		high;

	if (!interval_of(fcinfo, &low, &high))
		PG_RETURN_NULL();
	PG_RETURN_FLOAT8((high - low) / 2.0);
}

Datum
loyalty_survey_interval(PG_FUNCTION_ARGS)
{
	double		low;
	double		high;
	Datum		values[2];
	bool		nulls[2] = {false, false};

	if (!interval_of(fcinfo, &low, &high))
		PG_RETURN_NULL();
	values[0] = Float8GetDatum(low);
	values[1] = Float8GetDatum(high);
	return return_row(fcinfo, values, nulls);
}

/* Two independent groups: z = (mean1 - mean2) / sqrt(v1/n1 + v2/n2), signed. */
Datum
loyalty_survey_test(PG_FUNCTION_ARGS)
{
	NpsSummary *first = get_summary(fcinfo, 0);
	NpsSummary *second = get_summary(fcinfo, 1);
	double		quantile = get_quantile(fcinfo, 2);
	NpsMethod	method = get_method(fcinfo, 3);
	Moments		a;
	Moments		b;
	double		difference;
	double		se;
	Datum		values[6];
	bool		nulls[6] = {false};

	if (method == NPS_SCORE)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("the score method is not defined for two groups"),
				 errhint("Use \"adjusted_wald\" or \"wald\".")));
	if (responses(first) == 0 || responses(second) == 0)
		PG_RETURN_NULL();

	a = moments_of(first, method);
	b = moments_of(second, method);
	difference = NPS_SCALE * (a.mean - b.mean);
	se = NPS_SCALE * sqrt(a.variance / a.n + b.variance / b.n);

	values[0] = Float8GetDatum(difference);
	values[1] = Float8GetDatum(se);
	if (se > 0.0)
	{
		values[2] = Float8GetDatum(difference / se);
		values[3] = Float8GetDatum(normal_two_sided_p(difference / se));
	}
	else
		nulls[2] = nulls[3] = true;
	values[4] = Float8GetDatum(difference - quantile * se);
	values[5] = Float8GetDatum(difference + quantile * se);
	return return_row(fcinfo, values, nulls);
}
