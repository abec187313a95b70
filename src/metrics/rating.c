/*
 * rating.c
 *		The surveys beside NPS: customer satisfaction (CSAT), customer effort (CES)
 *		in its two readings, and the Customer Loyalty Index (CLI).
 *
 * CSAT and CES are counts and sums of whole answers, so their summaries are exact
 * (counts.c) and serve as state, in moving frames too.  An index of the CLI is a
 * fraction; its summary holds the mean and the sum of squares about it, combined as
 * Chan, Golub & LeVeque (1983) do, which does not cancel.
 */
#include "postgres.h"

#include <math.h>

#include "common/int.h"
#include "funcapi.h"
#include "libpq/pqformat.h"

#include "base/compat.h"
#include "base/errors.h"
#include "metrics/counts.h"
#include "metrics/normal.h"

#define PERCENT			100.0

/* Of csat_summary */
enum
{
	SATISFIED,
	UNSATISFIED
};

#define CSAT_FROM		4		/* on the scale of 1 to 5 */
#define CSAT_MAX		5

/* Of the summaries of effort: answers, their sum, that of their squares, and the easy ones. */
enum
{
	RESPONSES,
	TOTAL,
	SQUARES,
	EASY
};

/* A scale from 1, and which answers on it say "easy". */
typedef struct EffortType
{
	CountsType	counts;
	int32		max;
	int32		easy_from;
	int32		easy_to;
} EffortType;

static bool check_csat(const int64 *count, Node *escontext);
static bool check_ces1(const int64 *count, Node *escontext);
static bool check_ces2(const int64 *count, Node *escontext);

static const CountsType csat_type = {
	"csat_summary", 1, {"satisfied", "unsatisfied"}, check_csat
};

/* Dixon, Freeman & Toman (2010): "how much effort", 1 very low to 5 very high. */
static const EffortType ces1_type = {
	{"ces1_summary", 1, {"responses", "total", "squares", "easy"}, check_ces1}, 5, 1, 2
};

/* CES 2.0 (2013): "made it easy", 1 strongly disagree to 7 strongly agree. */
static const EffortType ces2_type = {
	{"ces2_summary", 1, {"responses", "total", "squares", "easy"}, check_ces2}, 7, 5, 7
};

#define CLI_TYPE		"cli_summary"
#define CLI_VERSION		1

typedef struct CliSummary
{
	SummaryHeader header;
	int64		customers;
	double		mean;			/* of their indices */
	double		squares;		/* sum of the squared distances from it */
} CliSummary;

PG_FUNCTION_INFO_V1(loyalty_survey_csat_in);
PG_FUNCTION_INFO_V1(loyalty_survey_csat_out);
PG_FUNCTION_INFO_V1(loyalty_survey_csat_recv);
PG_FUNCTION_INFO_V1(loyalty_survey_csat_send);
PG_FUNCTION_INFO_V1(loyalty_survey_csat_make);
PG_FUNCTION_INFO_V1(loyalty_survey_csat_accum);
PG_FUNCTION_INFO_V1(loyalty_survey_csat_accum_inv);
PG_FUNCTION_INFO_V1(loyalty_survey_csat_combine);
PG_FUNCTION_INFO_V1(loyalty_survey_csat_combine_inv);
PG_FUNCTION_INFO_V1(loyalty_survey_csat_final);
PG_FUNCTION_INFO_V1(loyalty_survey_csat);
PG_FUNCTION_INFO_V1(loyalty_survey_csat_satisfied);
PG_FUNCTION_INFO_V1(loyalty_survey_csat_responses);
PG_FUNCTION_INFO_V1(loyalty_survey_csat_interval);

PG_FUNCTION_INFO_V1(loyalty_survey_cli_index);
PG_FUNCTION_INFO_V1(loyalty_survey_cli_in);
PG_FUNCTION_INFO_V1(loyalty_survey_cli_out);
PG_FUNCTION_INFO_V1(loyalty_survey_cli_recv);
PG_FUNCTION_INFO_V1(loyalty_survey_cli_send);
PG_FUNCTION_INFO_V1(loyalty_survey_cli_accum);
PG_FUNCTION_INFO_V1(loyalty_survey_cli_combine);
PG_FUNCTION_INFO_V1(loyalty_survey_cli_final);
PG_FUNCTION_INFO_V1(loyalty_survey_cli);
PG_FUNCTION_INFO_V1(loyalty_survey_cli_customers);
PG_FUNCTION_INFO_V1(loyalty_survey_cli_standard_error);


/* ----- shared ----- */

static void
off_scale(int32 answer, int32 from, int32 to)
{
	ereport(ERROR,
			(errcode(ERRCODE_LY_INVALID_SCORE),
			 errmsg("score %d is not on the scale from %d to %d", answer, from, to),
			 errhint("Leave other rows out with FILTER (WHERE ...), or pass NULL for no answer.")));
}

/*
 * The share of "hits" among n, in per cent, by Wilson (1927): the shares that a test
 * with their own standard error would not reject.
 */
static Datum
wilson_interval(FunctionCallInfo fcinfo, int64 hits, int64 n)
{
	double		confidence = summary_confidence(fcinfo, 1);
	TupleDesc	tupdesc;
	Datum		values[2];
	bool		nulls[2] = {false, false};
	double		z;
	double		share;
	double		centre;
	double		half;
	double		scale;

	if (n == 0)
		PG_RETURN_NULL();
	if (get_call_result_type(fcinfo, NULL, &tupdesc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");

	z = normal_two_sided_z(confidence);
	share = (double) hits / (double) n;
	scale = PERCENT / (1.0 + z * z / n);
	centre = share + z * z / (2.0 * n);
	half = z * sqrt((share * (1.0 - share) + z * z / (4.0 * n)) / n);

	/* At the ends of the scale the limit is just there, whatever was rounded. */
	values[0] = Float8GetDatum(hits == 0 ? 0.0 : Max(scale * (centre - half), 0.0));
	values[1] = Float8GetDatum(hits == n ? PERCENT : Min(scale * (centre + half), PERCENT));
	return HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(tupdesc), values, nulls));
}

/* The state to write to: the executor's own, or a copy of what SQL passed. */
static Counts *
get_state(FunctionCallInfo fcinfo, const CountsType *type)
{
	Counts	   *state = counts_get_arg(fcinfo, 0, type);

	return summary_owns_state(fcinfo) ? state : counts_make(type, state->count, NULL);
}


/* ----- CSAT ----- */

static bool
check_csat(const int64 *count, Node *escontext)
{
	int64		total;

	if (pg_add_s64_overflow(count[SATISFIED], count[UNSATISFIED], &total))
		ereturn(escontext, false,
				(errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
				 errmsg("%s out of range", csat_type.name)));
	return true;
}

Datum
loyalty_survey_csat_in(PG_FUNCTION_ARGS)
{
	return counts_in(fcinfo, &csat_type);
}

Datum
loyalty_survey_csat_out(PG_FUNCTION_ARGS)
{
	return counts_out(fcinfo, &csat_type);
}

Datum
loyalty_survey_csat_recv(PG_FUNCTION_ARGS)
{
	return counts_recv(fcinfo, &csat_type);
}

Datum
loyalty_survey_csat_send(PG_FUNCTION_ARGS)
{
	return counts_send(fcinfo, &csat_type);
}

Datum
loyalty_survey_csat_make(PG_FUNCTION_ARGS)
{
	return counts_from_args(fcinfo, &csat_type);
}

/* csat_agg(score [, satisfied_from, scale_max]) */
static Datum
csat_accum(FunctionCallInfo fcinfo, int64 step)
{
	Counts	   *state = get_state(fcinfo, &csat_type);
	int32		score = PG_GETARG_INT32(1);
	int32		from = PG_NARGS() > 2 ? PG_GETARG_INT32(2) : CSAT_FROM;
	int32		max = PG_NARGS() > 2 ? PG_GETARG_INT32(3) : CSAT_MAX;

	if (unlikely(from <= 1 || from > max))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("satisfied answers must start above 1 and not above the end of the scale"),
				 errdetail("They are to start at %d, on a scale from 1 to %d.", from, max),
				 errhint("Give 9, 10 for the two highest answers from 1 to 10.")));
	if (unlikely(score < 1 || score > max))
		off_scale(score, 1, max);
	state->count[score >= from ? SATISFIED : UNSATISFIED] += step;
	PG_RETURN_POINTER(state);
}

Datum
loyalty_survey_csat_accum(PG_FUNCTION_ARGS)
{
	return csat_accum(fcinfo, 1);
}

Datum
loyalty_survey_csat_accum_inv(PG_FUNCTION_ARGS)
{
	return csat_accum(fcinfo, -1);
}

Datum
loyalty_survey_csat_combine(PG_FUNCTION_ARGS)
{
	return counts_add(fcinfo, &csat_type);
}

Datum
loyalty_survey_csat_combine_inv(PG_FUNCTION_ARGS)
{
	return counts_subtract(fcinfo, &csat_type);
}

Datum
loyalty_survey_csat_final(PG_FUNCTION_ARGS)
{
	return counts_final(fcinfo, &csat_type);
}

static inline int64
csat_responses(const Counts *counts)
{
	return counts->count[SATISFIED] + counts->count[UNSATISFIED];
}

Datum
loyalty_survey_csat(PG_FUNCTION_ARGS)
{
	Counts	   *counts = counts_get_arg(fcinfo, 0, &csat_type);
	int64		n = csat_responses(counts);

	if (n == 0)
		PG_RETURN_NULL();
	PG_RETURN_FLOAT8(PERCENT * (double) counts->count[SATISFIED] / (double) n);
}

Datum
loyalty_survey_csat_satisfied(PG_FUNCTION_ARGS)
{
	return counts_field(fcinfo, &csat_type, SATISFIED);
}

Datum
loyalty_survey_csat_responses(PG_FUNCTION_ARGS)
{
	PG_RETURN_INT64(csat_responses(counts_get_arg(fcinfo, 0, &csat_type)));
}

Datum
loyalty_survey_csat_interval(PG_FUNCTION_ARGS)
{
	Counts	   *counts = counts_get_arg(fcinfo, 0, &csat_type);

	return wilson_interval(fcinfo, counts->count[SATISFIED], csat_responses(counts));
}


/* ----- CES ----- */

/* Sums that no n answers from 1 to max have are refused. */
static bool
check_effort(const EffortType *type, const int64 *count, Node *escontext)
{
	int64		n = count[RESPONSES];
	int64		most;
	const char *detail = NULL;

	if (pg_mul_s64_overflow(n, (int64) type->max * type->max, &most))
		ereturn(escontext, false,
				(errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
				 errmsg("%s out of range", type->counts.name)));
	if (count[EASY] > n)
		detail = "There are more easy answers than answers.";
	else if (count[TOTAL] < n || count[TOTAL] > n * type->max ||
			 count[SQUARES] > most || count[SQUARES] < count[TOTAL] ||
			 (int128) count[TOTAL] * count[TOTAL] > (int128) n * count[SQUARES])
		detail = "No answers on the scale have this sum and this sum of squares.";
	if (detail != NULL)
		ereturn(escontext, false,
				(errcode(ERRCODE_LY_INVALID_METRIC),
				 errmsg("invalid %s", type->counts.name),
				 errdetail("%s", detail)));
	return true;
}

static bool
check_ces1(const int64 *count, Node *escontext)
{
	return check_effort(&ces1_type, count, escontext);
}

static bool
check_ces2(const int64 *count, Node *escontext)
{
	return check_effort(&ces2_type, count, escontext);
}

static Datum
effort_accum(FunctionCallInfo fcinfo, const EffortType *type, int64 step)
{
	Counts	   *state = get_state(fcinfo, &type->counts);
	int32		score = PG_GETARG_INT32(1);

	if (unlikely(score < 1 || score > type->max))
		off_scale(score, 1, type->max);
	state->count[RESPONSES] += step;
	state->count[TOTAL] += step * score;
	state->count[SQUARES] += step * score * score;
	if (score >= type->easy_from && score <= type->easy_to)
		state->count[EASY] += step;
	PG_RETURN_POINTER(state);
}

static Datum
effort_mean(FunctionCallInfo fcinfo, const EffortType *type)
{
	Counts	   *counts = counts_get_arg(fcinfo, 0, &type->counts);

	return counts_ratio(fcinfo, counts->count[TOTAL], counts->count[RESPONSES]);
}

/* Of the mean: sqrt(s^2 / n), the variance with divisor n - 1, its numerator exact. */
static Datum
effort_standard_error(FunctionCallInfo fcinfo, const EffortType *type)
{
	Counts	   *counts = counts_get_arg(fcinfo, 0, &type->counts);
	int128		n = counts->count[RESPONSES];
	int128		total = counts->count[TOTAL];
	double		spread;

	if (n < 2)
		PG_RETURN_NULL();
	spread = (double) (n * counts->count[SQUARES] - total * total);
	PG_RETURN_FLOAT8(sqrt(spread / (double) n / (double) n / (double) (n - 1)));
}

static Datum
effort_easy(FunctionCallInfo fcinfo, const EffortType *type)
{
	Counts	   *counts = counts_get_arg(fcinfo, 0, &type->counts);

	if (counts->count[RESPONSES] == 0)
		PG_RETURN_NULL();
	PG_RETURN_FLOAT8(PERCENT * (double) counts->count[EASY] / (double) counts->count[RESPONSES]);
}

static Datum
effort_interval(FunctionCallInfo fcinfo, const EffortType *type)
{
	Counts	   *counts = counts_get_arg(fcinfo, 0, &type->counts);

	return wilson_interval(fcinfo, counts->count[EASY], counts->count[RESPONSES]);
}

/* The two readings differ in their scale alone, so do their functions. */
#define EFFORT_FUNCTION(name, call) \
	PG_FUNCTION_INFO_V1(name); \
	Datum \
	name(PG_FUNCTION_ARGS) \
	{ \
		return call; \
	}

#define EFFORT_FUNCTIONS(ces, type) \
	EFFORT_FUNCTION(loyalty_survey_##ces##_in, counts_in(fcinfo, &type.counts)) \
	EFFORT_FUNCTION(loyalty_survey_##ces##_out, counts_out(fcinfo, &type.counts)) \
	EFFORT_FUNCTION(loyalty_survey_##ces##_recv, counts_recv(fcinfo, &type.counts)) \
	EFFORT_FUNCTION(loyalty_survey_##ces##_send, counts_send(fcinfo, &type.counts)) \
	EFFORT_FUNCTION(loyalty_survey_##ces##_accum, effort_accum(fcinfo, &type, 1)) \
	EFFORT_FUNCTION(loyalty_survey_##ces##_accum_inv, effort_accum(fcinfo, &type, -1)) \
	EFFORT_FUNCTION(loyalty_survey_##ces##_combine, counts_add(fcinfo, &type.counts)) \
	EFFORT_FUNCTION(loyalty_survey_##ces##_combine_inv, counts_subtract(fcinfo, &type.counts)) \
	EFFORT_FUNCTION(loyalty_survey_##ces##_final, counts_final(fcinfo, &type.counts)) \
	EFFORT_FUNCTION(loyalty_survey_##ces, effort_mean(fcinfo, &type)) \
	EFFORT_FUNCTION(loyalty_survey_##ces##_responses, counts_field(fcinfo, &type.counts, RESPONSES)) \
	EFFORT_FUNCTION(loyalty_survey_##ces##_standard_error, effort_standard_error(fcinfo, &type)) \
	EFFORT_FUNCTION(loyalty_survey_##ces##_easy, effort_easy(fcinfo, &type)) \
	EFFORT_FUNCTION(loyalty_survey_##ces##_interval, effort_interval(fcinfo, &type))

EFFORT_FUNCTIONS(ces1, ces1_type)
EFFORT_FUNCTIONS(ces2, ces2_type)


/* ----- CLI ----- */

/*
 * One customer's three answers, from argument "first" on, and after them the best and
 * the worst answer of the scale, which may run either way: 100 for three times the
 * best, 0 for three times the worst.
 */
static double
loyalty_index(FunctionCallInfo fcinfo, int first)
{
	bool		has_scale = PG_NARGS() > first + 3;
	int64		best = has_scale ? PG_GETARG_INT32(first + 3) : 1;
	int64		worst = has_scale ? PG_GETARG_INT32(first + 4) : 6;
	int64		sum = 0;

	if (best == worst)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("the best and the worst answer must differ"),
				 errhint("Give 1, 6 if 1 is \"definitely yes\", and 10, 0 if 10 is.")));
	for (int i = 0; i < 3; i++)
	{
		int32		answer = PG_GETARG_INT32(first + i);

		if (answer < Min(best, worst) || answer > Max(best, worst))
			off_scale(answer, (int32) Min(best, worst), (int32) Max(best, worst));
		sum += best > worst ? answer - worst : worst - answer;
	}
	return PERCENT * (double) sum / (3.0 * (double) (best > worst ? best - worst : worst - best));
}

Datum
loyalty_survey_cli_index(PG_FUNCTION_ARGS)
{
	PG_RETURN_FLOAT8(loyalty_index(fcinfo, 0));
}

static CliSummary *
get_cli(FunctionCallInfo fcinfo, int argno)
{
	CliSummary *summary = (CliSummary *) PG_GETARG_POINTER(argno);

	summary_check_version(&summary->header, CLI_VERSION, CLI_TYPE);
	return summary;
}

/* The one validator */
static CliSummary *
make_cli(int64 customers, double mean, double squares, Node *escontext)
{
	const double slack = 1e-9;	/* for sums that were rounded */
	const char *detail = NULL;
	CliSummary *summary;

	if (customers < 0)
		detail = "The number of customers must not be negative.";
	else if (!(mean >= 0.0 && mean <= PERCENT * (1.0 + slack)))
		detail = "The mean must lie between 0 and 100.";
	else if (!(squares >= 0.0 &&
			   squares <= (double) customers * mean * (PERCENT - mean) * (1.0 + slack) + slack))
		detail = "No indices have this mean and these squares.";
	else if (customers < 2 && (squares != 0.0 || (customers == 0 && mean != 0.0)))
		detail = "One customer has no spread, and none has no mean.";
	if (detail != NULL)
		ereturn(escontext, NULL,
				(errcode(ERRCODE_LY_INVALID_METRIC),
				 errmsg("invalid %s", CLI_TYPE),
				 errdetail("%s", detail)));

	summary = summary_alloc(sizeof(CliSummary), CLI_VERSION);
	summary->customers = customers;
	summary->mean = mean + 0.0;
	summary->squares = squares + 0.0;
	return summary;
}

Datum
loyalty_survey_cli_in(PG_FUNCTION_ARGS)
{
	Node	   *escontext = fcinfo->context;
	SummaryField fields[] = {
		{.name = "customers",.required = true},
		{.name = "mean",.required = true},
		{.name = "squares",.required = true}
	};
	int64		customers;
	double		mean;
	double		squares;

	if (!summary_parse(PG_GETARG_CSTRING(0), CLI_TYPE, fields, lengthof(fields), escontext) ||
		!summary_read_count(&fields[0], CLI_TYPE, &customers, escontext) ||
		!summary_read_float8(&fields[1], CLI_TYPE, &mean, escontext) ||
		!summary_read_float8(&fields[2], CLI_TYPE, &squares, escontext))
		PG_RETURN_NULL();
	PG_RETURN_POINTER(make_cli(customers, mean, squares, escontext));
}

Datum
loyalty_survey_cli_out(PG_FUNCTION_ARGS)
{
	CliSummary *summary = get_cli(fcinfo, 0);
	StringInfoData buf;

	initStringInfo(&buf);
	summary_put_count(&buf, "customers", summary->customers);
	summary_put_float8(&buf, "mean", summary->mean);
	summary_put_float8(&buf, "squares", summary->squares);
	PG_RETURN_CSTRING(summary_finish(&buf));
}

Datum
loyalty_survey_cli_recv(PG_FUNCTION_ARGS)
{
	StringInfo	buf = (StringInfo) PG_GETARG_POINTER(0);
	int64		customers;
	double		mean;
	double		squares;

	(void) summary_begin_recv(buf, CLI_VERSION, CLI_TYPE);
	customers = pq_getmsgint64(buf);
	mean = pq_getmsgfloat8(buf);
	squares = pq_getmsgfloat8(buf);
	PG_RETURN_POINTER(make_cli(customers, mean, squares, NULL));
}

Datum
loyalty_survey_cli_send(PG_FUNCTION_ARGS)
{
	CliSummary *summary = get_cli(fcinfo, 0);
	StringInfoData buf;

	summary_begin_send(&buf, CLI_VERSION);
	pq_sendint64(&buf, summary->customers);
	pq_sendfloat8(&buf, summary->mean);
	pq_sendfloat8(&buf, summary->squares);
	PG_RETURN_BYTEA_P(pq_endtypsend(&buf));
}

static Datum
add_cli(FunctionCallInfo fcinfo, int64 customers, double mean, double squares)
{
	CliSummary *state = get_cli(fcinfo, 0);
	double		n = (double) state->customers + (double) customers;
	double		distance = mean - state->mean;

	if (customers == 0)
		PG_RETURN_POINTER(state);
	if (!summary_owns_state(fcinfo))
		state = make_cli(state->customers, state->mean, state->squares, NULL);
	state->squares += squares +
		distance * distance * ((double) state->customers * ((double) customers / n));
	state->mean += distance * ((double) customers / n);
	if (pg_add_s64_overflow(state->customers, customers, &state->customers))
		summary_overflow(CLI_TYPE);
	PG_RETURN_POINTER(state);
}

Datum
loyalty_survey_cli_accum(PG_FUNCTION_ARGS)
{
	return add_cli(fcinfo, 1, loyalty_index(fcinfo, 1), 0.0);
}

Datum
loyalty_survey_cli_combine(PG_FUNCTION_ARGS)
{
	CliSummary *other = get_cli(fcinfo, 1);

	return add_cli(fcinfo, other->customers, other->mean, other->squares);
}

/* A copy: a window's state goes on changing. */
Datum
loyalty_survey_cli_final(PG_FUNCTION_ARGS)
{
	CliSummary *state = get_cli(fcinfo, 0);

	if (state->customers == 0)
		PG_RETURN_NULL();
	PG_RETURN_POINTER(make_cli(state->customers, state->mean, state->squares, NULL));
}

Datum
loyalty_survey_cli(PG_FUNCTION_ARGS)
{
	CliSummary *summary = get_cli(fcinfo, 0);

	if (summary->customers == 0)
		PG_RETURN_NULL();
	PG_RETURN_FLOAT8(summary->mean);
}

Datum
loyalty_survey_cli_customers(PG_FUNCTION_ARGS)
{
	PG_RETURN_INT64(get_cli(fcinfo, 0)->customers);
}

Datum
loyalty_survey_cli_standard_error(PG_FUNCTION_ARGS)
{
	CliSummary *summary = get_cli(fcinfo, 0);
	double		n = (double) summary->customers;

	if (summary->customers < 2)
		PG_RETURN_NULL();
	PG_RETURN_FLOAT8(sqrt(summary->squares / (n - 1.0) / n));
}
