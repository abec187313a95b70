/*
 * uplift_plan.c
 *		Before a controlled test: its power, how many members it needs, and who
 *		goes into which arm.
 *
 * Assignment is a pure function of the two texts and stays the same for ever:
 * docs/uplift.md promises its bytes.
 */
#include "postgres.h"

#include <math.h>

#include "catalog/pg_type_d.h"
#include "funcapi.h"
#include "mb/pg_wchar.h"
#include "port/pg_bswap.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"

#include "base/errors.h"
#include "metrics/normal.h"
#include "metrics/summary.h"
#include "models/special.h"

/* What needs more members than these is not a test. */
#define MOST_MEMBERS		1e15

PG_FUNCTION_INFO_V1(loyalty_uplift_means_power);
PG_FUNCTION_INFO_V1(loyalty_uplift_means_needed);
PG_FUNCTION_INFO_V1(loyalty_uplift_proportions_power);
PG_FUNCTION_INFO_V1(loyalty_uplift_proportions_needed);
PG_FUNCTION_INFO_V1(loyalty_uplift_holdout);
PG_FUNCTION_INFO_V1(loyalty_uplift_assign);


/* ----- power ----- */

/* The power of a two-sided test with n1 and n2 members; they need not be whole. */
typedef double (*PowerFunction) (const double *effect, double n1, double n2, double confidence);

/* effect: difference and standard deviation.  Student's test, the variances taken as equal. */
static double
means_power(const double *effect, double n1, double n2, double confidence)
{
	double		df = n1 + n2 - 2.0;
	double		noncentrality = effect[0] / effect[1] * sqrt(n1 / (n1 + n2) * n2);

	return student_t_power(student_t_two_sided_t(confidence, df), df, noncentrality);
}

static inline double
normal_below(double z)
{
	return 0.5 * erfc(-z * M_SQRT1_2);
}

/* effect: the control's proportion and the treated one's.  The z test with the pooled error. */
static double
proportions_power(const double *effect, double n_control, double n_treated, double confidence)
{
	double		p1 = effect[0];
	double		p2 = effect[1];
	double		pooled = (n_control * p1 + n_treated * p2) / (n_control + n_treated);
	double		limit = normal_two_sided_z(confidence) *
		sqrt(pooled * (1.0 - pooled) * (1.0 / n_control + 1.0 / n_treated));
	double		se = sqrt(p1 * (1.0 - p1) / n_control + p2 * (1.0 - p2) / n_treated);
	double		d = fabs(p2 - p1);

	if (se == 0.0)				/* 0 against 1: seen whenever it is beyond the limit */
		return d > limit ? 1.0 : 0.0;
	return normal_below((d - limit) / se) + normal_below((-d - limit) / se);
}

static double
get_fraction(FunctionCallInfo fcinfo, int argno, const char *name, const char *hint)
{
	double		value = PG_GETARG_FLOAT8(argno);

	if (!(value > 0.0 && value < 1.0))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("%s must lie between 0 and 1", name),
				 errhint("%s", hint)));
	return value;
}

static double
get_members(FunctionCallInfo fcinfo, int argno)
{
	int64		n = PG_GETARG_INT64(argno);

	if (n < 2 || n > (int64) MOST_MEMBERS)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("an arm must have at least 2 members"),
				 errdetail("There may be up to 10^15.")));
	return (double) n;
}

static void
get_means(FunctionCallInfo fcinfo, double *effect)
{
	effect[0] = PG_GETARG_FLOAT8(0);
	effect[1] = PG_GETARG_FLOAT8(1);
	if (!isfinite(effect[0]) || !(effect[1] > 0.0) || isinf(effect[1]))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("difference must be finite, and the standard deviation positive")));
}

static void
get_proportions(FunctionCallInfo fcinfo, double *effect)
{
	for (int i = 0; i < 2; i++)
	{
		effect[i] = PG_GETARG_FLOAT8(i);
		if (!(effect[i] >= 0.0 && effect[i] <= 1.0))
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("a proportion must lie between 0 and 1"),
					 errhint("Give 0.04 for 4 %%.")));
	}
}

Datum
loyalty_uplift_means_power(PG_FUNCTION_ARGS)
{
	double		effect[2];

	get_means(fcinfo, effect);
	PG_RETURN_FLOAT8(means_power(effect, get_members(fcinfo, 2), get_members(fcinfo, 3),
								 summary_confidence(fcinfo, 4)));
}

Datum
loyalty_uplift_proportions_power(PG_FUNCTION_ARGS)
{
	double		effect[2];

	get_proportions(fcinfo, effect);
	PG_RETURN_FLOAT8(proportions_power(effect, get_members(fcinfo, 2), get_members(fcinfo, 3),
									   summary_confidence(fcinfo, 4)));
}

/* A hair off, so that a whole number is not rounded up for its last bit. */
static inline Datum
whole_members(double n)
{
	return Int64GetDatum((int64) ceil(n * (1.0 - 1e-9)));
}

/*
 * The number of members at which the power is reached, by bisection of its
 * logarithm: the power rises with it.
 */
static Datum
return_needed(FunctionCallInfo fcinfo, PowerFunction power, const double *effect)
{
	double		goal = get_fraction(fcinfo, 2, "power", "Give 0.8 for 80 %.");
	double		confidence = summary_confidence(fcinfo, 3);
	double		share = get_fraction(fcinfo, 4, "the share of the treated", "Give 0.9 for 90 %.");
	double		low = log(2.0 / Min(share, 1.0 - share));
	double		high = log(MOST_MEMBERS);
	TupleDesc	tupdesc;
	Datum		values[2];
	bool		nulls[2] = {false, false};

	if (low > high ||
		power(effect, (1.0 - share) * MOST_MEMBERS, share * MOST_MEMBERS, confidence) < goal)
		ereport(ERROR,
				(errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
				 errmsg("more than 10^15 members would be needed"),
				 errhint("The difference is too small to be found.")));
	if (power(effect, (1.0 - share) * exp(low), share * exp(low), confidence) >= goal)
		high = low;
	while (high - low > 1e-13)
	{
		double		middle = 0.5 * (low + high);

		if (power(effect, (1.0 - share) * exp(middle), share * exp(middle), confidence) < goal)
			low = middle;
		else
			high = middle;
	}

	if (get_call_result_type(fcinfo, NULL, &tupdesc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	values[0] = whole_members((1.0 - share) * exp(high));
	values[1] = whole_members(share * exp(high));
	return HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(tupdesc), values, nulls));
}

static void
refuse_no_difference(void)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("no number of members shows a difference of 0")));
}

/* means_needed_n(difference, sd, power, confidence, share) */
Datum
loyalty_uplift_means_needed(PG_FUNCTION_ARGS)
{
	double		effect[2];

	get_means(fcinfo, effect);
	if (effect[0] == 0.0)
		refuse_no_difference();
	return return_needed(fcinfo, means_power, effect);
}

/* proportions_needed_n(control, treated, power, confidence, share) */
Datum
loyalty_uplift_proportions_needed(PG_FUNCTION_ARGS)
{
	double		effect[2];

	get_proportions(fcinfo, effect);
	if (effect[0] == effect[1])
		refuse_no_difference();
	return return_needed(fcinfo, proportions_power, effect);
}


/* ----- assignment ----- */

/*
 * Where on [0, 1) the key falls in this experiment: the first 53 bits of
 * SHA-256(experiment, a zero byte, key), both in UTF-8 whatever the database's
 * encoding.  No text holds a zero byte, so no two pairs share their bytes.
 */
static double
place(text *key, text *experiment)
{
	int			experiment_length = VARSIZE_ANY_EXHDR(experiment);
	int			key_length = VARSIZE_ANY_EXHDR(key);
	char	   *experiment_utf8 = pg_server_to_any(VARDATA_ANY(experiment), experiment_length, PG_UTF8);
	char	   *key_utf8 = pg_server_to_any(VARDATA_ANY(key), key_length, PG_UTF8);
	bytea	   *bytes;
	bytea	   *digest;
	uint64		first;

	if (experiment_utf8 != VARDATA_ANY(experiment))
		experiment_length = strlen(experiment_utf8);
	if (key_utf8 != VARDATA_ANY(key))
		key_length = strlen(key_utf8);
	bytes = palloc(VARHDRSZ + experiment_length + 1 + key_length);
	SET_VARSIZE(bytes, VARHDRSZ + experiment_length + 1 + key_length);
	memcpy(VARDATA(bytes), experiment_utf8, experiment_length);
	VARDATA(bytes)[experiment_length] = '\0';
	memcpy(VARDATA(bytes) + experiment_length + 1, key_utf8, key_length);

	digest = DatumGetByteaPP(DirectFunctionCall1(sha256_bytea, PointerGetDatum(bytes)));
	memcpy(&first, VARDATA_ANY(digest), sizeof(first));
	return ldexp((double) (pg_ntoh64(first) >> 11), -53);
}

Datum
loyalty_uplift_holdout(PG_FUNCTION_ARGS)
{
	double		share = PG_GETARG_FLOAT8(2);

	if (!(share >= 0.0 && share <= 1.0))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("share must lie between 0 and 1"),
				 errhint("Give 0.1 to hold out 10 %%.")));
	PG_RETURN_BOOL(place(PG_GETARG_TEXT_PP(0), PG_GETARG_TEXT_PP(1)) < share);
}

/* assign_arm(key, experiment, arms, weights): the weights may be NULL, for equal ones */
Datum
loyalty_uplift_assign(PG_FUNCTION_ARGS)
{
	Datum	   *arms;
	Datum	   *weights = NULL;
	bool	   *no_arm;
	bool	   *no_weight;
	int			n;
	int			m;
	double		total = 0.0;
	double		passed = 0.0;
	double		at;
	int			last = -1;

	if (PG_ARGISNULL(0) || PG_ARGISNULL(1) || PG_ARGISNULL(2))
		PG_RETURN_NULL();
	deconstruct_array(PG_GETARG_ARRAYTYPE_P(2), TEXTOID, -1, false, TYPALIGN_INT,
					  &arms, &no_arm, &n);
	m = n;
	if (!PG_ARGISNULL(3))
		deconstruct_array(PG_GETARG_ARRAYTYPE_P(3), FLOAT8OID, sizeof(float8), FLOAT8PASSBYVAL,
						  TYPALIGN_DOUBLE, &weights, &no_weight, &m);
	if (n < 1 || n != m)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("there must be a weight for each arm, and at least one arm")));
	for (int i = 0; i < n; i++)
	{
		double		weight;

		if (no_arm[i] || (weights != NULL && no_weight[i]))
			ereport(ERROR,
					(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
					 errmsg("arms and weights must not be NULL")));
		weight = weights == NULL ? 1.0 : DatumGetFloat8(weights[i]);
		if (!(weight >= 0.0) || isinf(weight))
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("a weight must be finite and not negative")));
		total += weight;
		if (weight > 0.0)
			last = i;
	}
	if (last < 0 || isinf(total))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("the weights must add up to a positive, finite number")));

	/* The last arm takes what rounding may leave over. */
	at = place(PG_GETARG_TEXT_PP(0), PG_GETARG_TEXT_PP(1)) * total;
	for (int i = 0; i < last; i++)
	{
		passed += weights == NULL ? 1.0 : DatumGetFloat8(weights[i]);
		if (at < passed)
			PG_RETURN_DATUM(arms[i]);
	}
	PG_RETURN_DATUM(arms[last]);
}
