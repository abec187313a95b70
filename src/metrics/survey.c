/*
 * survey.c
 *		Net Promoter Score: the summary of 0-10 answers to "how likely are you
 *		to recommend us", its intervals, and the test of two of them; plain and
 *		weighted.
 *
 * The state of nps() and nps_agg() is the summary itself, in the aggregate's
 * memory, changed in place; the executor made it from the aggregate's INITCOND.
 * Inside, a score is the mean of a variable that is 1 for a promoter, 0 for a
 * passive and -1 for a detractor; what SQL sees is 100 times that.
 *
 * The counts and their sum fit in an int64: checked wherever a summary is made
 * or two are added (counts.c).  Counting rows one by one can't get there.
 *
 * With weights, n is Kish's effective number of answers, (sum w)^2 / sum w^2: what
 * weighting costs in precision.  All formulas then take the weighted shares of n.
 */
#include "postgres.h"

#include <math.h>

#include "common/int.h"
#include "funcapi.h"
#include "libpq/pqformat.h"
#include "utils/builtins.h"

#include "base/compat.h"
#include "base/errors.h"
#include "metrics/counts.h"
#include "metrics/normal.h"
#include "metrics/sum.h"

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

#define WEIGHTED_TYPE		"weighted_nps_summary"
#define WEIGHTED_VERSION	1

/* Only states have a low part in their sums; the final function adds it in. */
typedef struct WeightedNps
{
	SummaryHeader header;
	int64		responses;
	Sum			weight[3];		/* by NpsClass */
	Sum			squares;
} WeightedNps;

/* How many answers there are of each kind: whole numbers, or weighted shares of an effective n. */
typedef struct Answers
{
	double		promoters;
	double		passives;
	double		detractors;
	double		n;
} Answers;

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

PG_FUNCTION_INFO_V1(loyalty_survey_weighted_in);
PG_FUNCTION_INFO_V1(loyalty_survey_weighted_out);
PG_FUNCTION_INFO_V1(loyalty_survey_weighted_recv);
PG_FUNCTION_INFO_V1(loyalty_survey_weighted_send);
PG_FUNCTION_INFO_V1(loyalty_survey_weighted_accum);
PG_FUNCTION_INFO_V1(loyalty_survey_weighted_combine);
PG_FUNCTION_INFO_V1(loyalty_survey_weighted_final);
PG_FUNCTION_INFO_V1(loyalty_survey_weighted_promoters);
PG_FUNCTION_INFO_V1(loyalty_survey_weighted_passives);
PG_FUNCTION_INFO_V1(loyalty_survey_weighted_detractors);
PG_FUNCTION_INFO_V1(loyalty_survey_weighted_responses);
PG_FUNCTION_INFO_V1(loyalty_survey_weighted_effective);
PG_FUNCTION_INFO_V1(loyalty_survey_weighted_nps);
PG_FUNCTION_INFO_V1(loyalty_survey_weighted_standard_error);
PG_FUNCTION_INFO_V1(loyalty_survey_weighted_margin);
PG_FUNCTION_INFO_V1(loyalty_survey_weighted_interval);
PG_FUNCTION_INFO_V1(loyalty_survey_weighted_test);


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

static void
check_score(int32 score)
{
	if (score < 0 || score > NPS_MAX_SCORE)
		ereport(ERROR,
				(errcode(ERRCODE_LY_INVALID_SCORE),
				 errmsg("score %d is not on the scale from 0 to %d", score, NPS_MAX_SCORE),
				 errdetail("The Net Promoter Score is defined for whole answers from 0 to %d only.",
						   NPS_MAX_SCORE),
				 errhint("Leave other rows out with FILTER (WHERE ...), or pass NULL for no answer.")));
}

/* What is rare: a direct call from SQL, and a score off the scale. */
static pg_noinline Datum
accum_directly(FunctionCallInfo fcinfo, int64 step)
{
	int32		score = PG_GETARG_INT32(1);
	NpsSummary *state;

	check_score(score);

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
	return normal_two_sided_z(summary_confidence(fcinfo, argno));
}

static Answers
answers_of(const NpsSummary *summary)
{
	return (Answers)
	{
		.promoters = summary->count[NPS_PROMOTER],
			.passives = summary->count[NPS_PASSIVE],
			.detractors = summary->count[NPS_DETRACTOR],
			.n = responses(summary)
	};
}

/*
 * The adjustment (Rocks 2016; Lewis & Sauro 2021) adds three imaginary answers:
 * 3/4 of a promoter, 3/4 of a detractor and the rest passive.
 */
static Moments
moments_of(Answers answers, NpsMethod method)
{
	double		extra = method == NPS_ADJUSTED_WALD ? 0.75 : 0.0;
	double		promoters = answers.promoters + extra;
	double		passives = answers.passives + 2.0 * extra;
	double		detractors = answers.detractors + extra;
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
score_excess(Answers answers, double theta, double z)
{
	double		p = answers.promoters;
	double		d = answers.detractors;
	double		n = answers.n;
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
score_limit(Answers answers, double z)
{
	double		observed = moments_of(answers, NPS_SCORE).mean;
	double		low = z > 0.0 ? -1.0 : observed;
	double		high = z > 0.0 ? observed : 1.0;

	for (;;)
	{
		double		middle = low + (high - low) / 2.0;

		if (middle <= low || middle >= high)
			return z > 0.0 ? low : high;
		if (score_excess(answers, middle, z) > 0.0)
			low = middle;
		else
			high = middle;
	}
}

/* Of (summary, confidence, method), the summary's answers being these; false if there are none. */
static bool
interval_of(FunctionCallInfo fcinfo, Answers answers, double *low, double *high)
{
	double		z = get_quantile(fcinfo, 1);
	NpsMethod	method = get_method(fcinfo, 2);

	if (answers.n == 0.0)
		return false;

	if (method == NPS_SCORE)
	{
		*low = score_limit(answers, z);
		*high = score_limit(answers, -z);
	}
	else
	{
		Moments		m = moments_of(answers, method);
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

static Datum
return_standard_error(FunctionCallInfo fcinfo, Answers answers)
{
	if (answers.n == 0.0)
		PG_RETURN_NULL();
	PG_RETURN_FLOAT8(NPS_SCALE * standard_error(moments_of(answers, NPS_WALD)));
}

static Datum
return_margin(FunctionCallInfo fcinfo, Answers answers)
{
	double		low;
	double		high;

	if (!interval_of(fcinfo, answers, &low, &high))
		PG_RETURN_NULL();
	PG_RETURN_FLOAT8((high - low) / 2.0);
}

static Datum
return_interval(FunctionCallInfo fcinfo, Answers answers)
{
	double		low;
	double		high;
	Datum		values[2];
	bool		nulls[2] = {false, false};

	if (!interval_of(fcinfo, answers, &low, &high))
		PG_RETURN_NULL();
	values[0] = Float8GetDatum(low);
	values[1] = Float8GetDatum(high);
	return return_row(fcinfo, values, nulls);
}

/* Two independent groups: z = (mean1 - mean2) / sqrt(v1/n1 + v2/n2), signed. */
static Datum
return_test(FunctionCallInfo fcinfo, Answers first, Answers second)
{
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
	if (first.n == 0.0 || second.n == 0.0)
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

Datum
loyalty_survey_standard_error(PG_FUNCTION_ARGS)
{
	return return_standard_error(fcinfo, answers_of(get_summary(fcinfo, 0)));
}

Datum
loyalty_survey_margin(PG_FUNCTION_ARGS)
{
	return return_margin(fcinfo, answers_of(get_summary(fcinfo, 0)));
}

Datum
loyalty_survey_interval(PG_FUNCTION_ARGS)
{
	return return_interval(fcinfo, answers_of(get_summary(fcinfo, 0)));
}

Datum
loyalty_survey_test(PG_FUNCTION_ARGS)
{
	return return_test(fcinfo, answers_of(get_summary(fcinfo, 0)),
					   answers_of(get_summary(fcinfo, 1)));
}


/* ----- weighted answers ----- */

static WeightedNps *
get_weighted(FunctionCallInfo fcinfo, int argno)
{
	WeightedNps *summary = (WeightedNps *) PG_GETARG_POINTER(argno);

	summary_check_version(&summary->header, WEIGHTED_VERSION, WEIGHTED_TYPE);
	return summary;
}

static double
total_weight(const WeightedNps *summary)
{
	Sum			total = summary->weight[NPS_PROMOTER];

	sum_add_sum(&total, summary->weight[NPS_PASSIVE]);
	sum_add_sum(&total, summary->weight[NPS_DETRACTOR]);
	return sum_total(total);
}

/* Kish (1965): as many answers of equal weight would be as precise. */
static double
effective_n(const WeightedNps *summary)
{
	double		total = total_weight(summary);

	return summary->responses == 0 ? 0.0 : total * (total / sum_total(summary->squares));
}

static Answers
weighted_answers(const WeightedNps *summary)
{
	Answers		answers = {0};

	answers.n = effective_n(summary);
	if (answers.n > 0.0)
	{
		double		scale = answers.n / total_weight(summary);

		answers.promoters = scale * sum_total(summary->weight[NPS_PROMOTER]);
		answers.passives = scale * sum_total(summary->weight[NPS_PASSIVE]);
		answers.detractors = scale * sum_total(summary->weight[NPS_DETRACTOR]);
	}
	return answers;
}

/* The one validator: n answers, their sums of weights by class and the sum of their squares. */
static WeightedNps *
make_weighted(int64 n, const double *weight, double squares, Node *escontext)
{
	const double slack = 1e-9;	/* for sums that were rounded */
	double		total = weight[NPS_PROMOTER] + weight[NPS_PASSIVE] + weight[NPS_DETRACTOR];
	const char *detail = NULL;
	WeightedNps *summary;

	if (n < 0)
		detail = "The number of responses must not be negative.";
	else if (!isfinite(total) || !isfinite(total * total) || !isfinite(squares))
		ereturn(escontext, NULL,
				(errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
				 errmsg("%s out of range", WEIGHTED_TYPE),
				 errdetail("The square of the sum of all weights must fit in a double.")));
	else if (weight[NPS_PROMOTER] < 0.0 || weight[NPS_PASSIVE] < 0.0 || weight[NPS_DETRACTOR] < 0.0)
		detail = "A weight must not be negative.";
	else if (n == 0 ? total != 0.0 || squares != 0.0 : total <= 0.0 || squares <= 0.0)
		detail = "There are weights if, and only if, there are responses.";
	else if (squares > total * total * (1.0 + slack) ||
			 total * total > squares * n * (1.0 + slack))
		detail = "No weights have this sum and this sum of squares.";
	if (detail != NULL)
		ereturn(escontext, NULL,
				(errcode(ERRCODE_LY_INVALID_METRIC),
				 errmsg("invalid %s", WEIGHTED_TYPE),
				 errdetail("%s", detail)));

	summary = summary_alloc(sizeof(WeightedNps), WEIGHTED_VERSION);
	summary->responses = n;
	for (int i = 0; i < 3; i++)
		summary->weight[i].high = weight[i] + 0.0;
	summary->squares.high = squares + 0.0;
	return summary;
}

Datum
loyalty_survey_weighted_in(PG_FUNCTION_ARGS)
{
	Node	   *escontext = fcinfo->context;
	SummaryField fields[] = {
		{.name = "promoters",.required = true},
		{.name = "passives",.required = true},
		{.name = "detractors",.required = true},
		{.name = "squares",.required = true},
		{.name = "responses",.required = true}
	};
	double		weight[3];
	double		squares;
	int64		n;

	if (!summary_parse(PG_GETARG_CSTRING(0), WEIGHTED_TYPE, fields, lengthof(fields), escontext) ||
		!summary_read_float8(&fields[0], WEIGHTED_TYPE, &weight[NPS_PROMOTER], escontext) ||
		!summary_read_float8(&fields[1], WEIGHTED_TYPE, &weight[NPS_PASSIVE], escontext) ||
		!summary_read_float8(&fields[2], WEIGHTED_TYPE, &weight[NPS_DETRACTOR], escontext) ||
		!summary_read_float8(&fields[3], WEIGHTED_TYPE, &squares, escontext) ||
		!summary_read_count(&fields[4], WEIGHTED_TYPE, &n, escontext))
		PG_RETURN_NULL();
	PG_RETURN_POINTER(make_weighted(n, weight, squares, escontext));
}

Datum
loyalty_survey_weighted_out(PG_FUNCTION_ARGS)
{
	WeightedNps *summary = get_weighted(fcinfo, 0);
	StringInfoData buf;

	initStringInfo(&buf);
	summary_put_float8(&buf, "promoters", sum_total(summary->weight[NPS_PROMOTER]));
	summary_put_float8(&buf, "passives", sum_total(summary->weight[NPS_PASSIVE]));
	summary_put_float8(&buf, "detractors", sum_total(summary->weight[NPS_DETRACTOR]));
	summary_put_float8(&buf, "squares", sum_total(summary->squares));
	summary_put_count(&buf, "responses", summary->responses);
	PG_RETURN_CSTRING(summary_finish(&buf));
}

Datum
loyalty_survey_weighted_recv(PG_FUNCTION_ARGS)
{
	StringInfo	buf = (StringInfo) PG_GETARG_POINTER(0);
	double		weight[3];
	double		squares;
	int64		n;

	(void) summary_begin_recv(buf, WEIGHTED_VERSION, WEIGHTED_TYPE);
	for (int i = 0; i < 3; i++)
		weight[i] = pq_getmsgfloat8(buf);
	squares = pq_getmsgfloat8(buf);
	n = pq_getmsgint64(buf);
	PG_RETURN_POINTER(make_weighted(n, weight, squares, NULL));
}

Datum
loyalty_survey_weighted_send(PG_FUNCTION_ARGS)
{
	WeightedNps *summary = get_weighted(fcinfo, 0);
	StringInfoData buf;

	summary_begin_send(&buf, WEIGHTED_VERSION);
	for (int i = 0; i < 3; i++)
		pq_sendfloat8(&buf, sum_total(summary->weight[i]));
	pq_sendfloat8(&buf, sum_total(summary->squares));
	pq_sendint64(&buf, summary->responses);
	PG_RETURN_BYTEA_P(pq_endtypsend(&buf));
}

/* The state to write to: the executor's own, or a copy of what SQL passed. */
static WeightedNps *
get_weighted_state(FunctionCallInfo fcinfo)
{
	WeightedNps *state = get_weighted(fcinfo, 0);
	WeightedNps *copy;

	if (summary_owns_state(fcinfo))
		return state;
	copy = palloc(sizeof(WeightedNps));
	memcpy(copy, state, sizeof(WeightedNps));
	return copy;
}

/* An answer of weight 0 stands for nobody: as if it had not been given. */
Datum
loyalty_survey_weighted_accum(PG_FUNCTION_ARGS)
{
	WeightedNps *state = get_weighted_state(fcinfo);
	int32		score = PG_GETARG_INT32(1);
	double		weight = PG_GETARG_FLOAT8(2);

	check_score(score);
	if (!isfinite(weight) || weight < 0.0)
		ereport(ERROR,
				(errcode(ERRCODE_LY_INVALID_METRIC),
				 errmsg("the weight of an answer must be finite and not negative"),
				 errhint("A weight says for how many customers an answer stands.")));
	if (weight > 0.0)
	{
		state->responses++;
		sum_add(&state->weight[class_of[score]], weight);
		sum_add(&state->squares, weight * weight);
	}
	PG_RETURN_POINTER(state);
}

Datum
loyalty_survey_weighted_combine(PG_FUNCTION_ARGS)
{
	WeightedNps *state = get_weighted_state(fcinfo);
	WeightedNps *other = get_weighted(fcinfo, 1);

	if (pg_add_s64_overflow(state->responses, other->responses, &state->responses))
		summary_overflow(WEIGHTED_TYPE);
	for (int i = 0; i < 3; i++)
		sum_add_sum(&state->weight[i], other->weight[i]);
	sum_add_sum(&state->squares, other->squares);
	PG_RETURN_POINTER(state);
}

Datum
loyalty_survey_weighted_final(PG_FUNCTION_ARGS)
{
	WeightedNps *state = get_weighted(fcinfo, 0);
	double		weight[3];

	if (state->responses == 0)
		PG_RETURN_NULL();
	for (int i = 0; i < 3; i++)
		weight[i] = sum_total(state->weight[i]);
	PG_RETURN_POINTER(make_weighted(state->responses, weight, sum_total(state->squares), NULL));
}

Datum
loyalty_survey_weighted_promoters(PG_FUNCTION_ARGS)
{
	PG_RETURN_FLOAT8(sum_total(get_weighted(fcinfo, 0)->weight[NPS_PROMOTER]));
}

Datum
loyalty_survey_weighted_passives(PG_FUNCTION_ARGS)
{
	PG_RETURN_FLOAT8(sum_total(get_weighted(fcinfo, 0)->weight[NPS_PASSIVE]));
}

Datum
loyalty_survey_weighted_detractors(PG_FUNCTION_ARGS)
{
	PG_RETURN_FLOAT8(sum_total(get_weighted(fcinfo, 0)->weight[NPS_DETRACTOR]));
}

Datum
loyalty_survey_weighted_responses(PG_FUNCTION_ARGS)
{
	PG_RETURN_INT64(get_weighted(fcinfo, 0)->responses);
}

Datum
loyalty_survey_weighted_effective(PG_FUNCTION_ARGS)
{
	PG_RETURN_FLOAT8(effective_n(get_weighted(fcinfo, 0)));
}

/* Also the final function of nps(integer, float8): its state may have any weights. */
Datum
loyalty_survey_weighted_nps(PG_FUNCTION_ARGS)
{
	WeightedNps *summary = get_weighted(fcinfo, 0);
	double		total = total_weight(summary);
	Sum			difference = summary->weight[NPS_PROMOTER];

	if (summary->responses == 0)
		PG_RETURN_NULL();
	if (!isfinite(total))
		summary_overflow(WEIGHTED_TYPE);
	sum_add(&difference, -summary->weight[NPS_DETRACTOR].high);
	sum_add(&difference, -summary->weight[NPS_DETRACTOR].low);
	PG_RETURN_FLOAT8(NPS_SCALE * (sum_total(difference) / total));
}

Datum
loyalty_survey_weighted_standard_error(PG_FUNCTION_ARGS)
{
	return return_standard_error(fcinfo, weighted_answers(get_weighted(fcinfo, 0)));
}

Datum
loyalty_survey_weighted_margin(PG_FUNCTION_ARGS)
{
	return return_margin(fcinfo, weighted_answers(get_weighted(fcinfo, 0)));
}

Datum
loyalty_survey_weighted_interval(PG_FUNCTION_ARGS)
{
	return return_interval(fcinfo, weighted_answers(get_weighted(fcinfo, 0)));
}

Datum
loyalty_survey_weighted_test(PG_FUNCTION_ARGS)
{
	return return_test(fcinfo, weighted_answers(get_weighted(fcinfo, 0)),
					   weighted_answers(get_weighted(fcinfo, 1)));
}
