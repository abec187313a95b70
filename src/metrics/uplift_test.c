/*
 * uplift_test.c
 *		What a controlled test shows: tests and intervals of an uplift_summary.
 *
 * Everything compares one arm with the control.  A result that the data do not
 * define is NULL: the whole row if one of the two arms has no rows, else the
 * single columns.
 */
#include "postgres.h"

#include <float.h>
#include <math.h>

#include "catalog/pg_type_d.h"
#include "funcapi.h"
#include "utils/array.h"
#include "utils/builtins.h"

#include "base/errors.h"
#include "metrics/normal.h"
#include "metrics/uplift.h"
#include "models/special.h"

PG_FUNCTION_INFO_V1(loyalty_uplift_welch);
PG_FUNCTION_INFO_V1(loyalty_uplift_proportions);
PG_FUNCTION_INFO_V1(loyalty_uplift_cuped);
PG_FUNCTION_INFO_V1(loyalty_uplift_relative);
PG_FUNCTION_INFO_V1(loyalty_uplift_incremental);
PG_FUNCTION_INFO_V1(loyalty_uplift_sequential);
PG_FUNCTION_INFO_V1(loyalty_uplift_roi);
PG_FUNCTION_INFO_V1(loyalty_uplift_summary_roi);
PG_FUNCTION_INFO_V1(loyalty_uplift_loyal);
PG_FUNCTION_INFO_V1(loyalty_uplift_sample_ratio);
PG_FUNCTION_INFO_V1(loyalty_uplift_sample_ratios);

/* What is known of the mean of one arm. */
typedef struct Sample
{
	double		n;
	double		mean;
	double		variance;		/* divisor n - 1; NaN if n is 1 */
} Sample;

typedef struct Contrast
{
	Sample		arm;
	Sample		control;
	double		theta;			/* of CUPED */
} Contrast;

/* Columns of a result, set in their order. */
typedef struct Row
{
	Datum		values[12];
	bool		nulls[12];
	int			n;
} Row;

static inline void
row_add_datum(Row *row, Datum value)
{
	row->nulls[row->n] = false;
	row->values[row->n++] = value;
}

/* NaN is what the data do not define, and infinity what no float8 holds. */
static void
row_add(Row *row, double value)
{
	if (isinf(value))
		ereport(ERROR,
				(errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
				 errmsg("value out of range: overflow")));
	row->nulls[row->n] = isnan(value);
	row->values[row->n++] = Float8GetDatum(value);
}

static Datum
row_finish(Row *row, FunctionCallInfo fcinfo)
{
	TupleDesc	tupdesc;

	if (get_call_result_type(fcinfo, NULL, &tupdesc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	Assert(tupdesc->natts == row->n);
	return HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(tupdesc), row->values, row->nulls));
}

/* The two arms that the arguments argno and argno + 1 name; false if one has no rows. */
static bool
get_arms(FunctionCallInfo fcinfo, int argno, const UpliftArm **arm, const UpliftArm **control)
{
	UpliftSummary *summary = uplift_get_arg(fcinfo, 0);

	*arm = uplift_find_arm(summary, fcinfo, argno);
	*control = uplift_find_arm(summary, fcinfo, argno + 1);
	return *arm != NULL && *control != NULL;
}

static Sample
sample_of(const Moments *m)
{
	double		n = (double) m->n;

	return (Sample) {n, moments_mean(m), m->n > 1 ? sum_total(m->squares) / (n - 1.0) : NAN};
}


/* ----- CUPED ----- */

static inline double
covariate_mean(const UpliftArm *arm)
{
	return sum_total(arm->covariate) / (double) arm->paired.n;
}

/* The variance of outcome - theta covariate: a square, whatever rounding says. */
static Sample
adjusted_sample(const UpliftArm *arm, double theta, double center)
{
	Sample		sample = sample_of(&arm->paired);
	double		degrees = sample.n - 1.0;

	sample.mean -= theta * (covariate_mean(arm) - center);
	sample.variance += theta * ((theta * sum_total(arm->covariate_squares) -
								 2.0 * sum_total(arm->products)) / degrees);
	if (sample.variance < 0.0)
		sample.variance = 0.0;
	return sample;
}

/*
 * Deng, Xu, Kohavi & Walker (2013), with theta = cov(X, Y) / var(X) of the two
 * arms' rows as one sample; 0 if the covariate is the same in all.  False if an
 * arm has no row with a covariate.
 */
static bool
adjusted_contrast(const UpliftArm *arm, const UpliftArm *control, Contrast *c)
{
	double		n1 = (double) arm->paired.n;
	double		n2 = (double) control->paired.n;
	double		weight;
	double		gap;
	double		squares;
	double		products;
	double		center;

	if (arm->paired.n == 0 || control->paired.n == 0)
		return false;
	weight = n1 / (n1 + n2) * n2;
	gap = covariate_mean(arm) - covariate_mean(control);
	squares = sum_total(arm->covariate_squares) + sum_total(control->covariate_squares) +
		weight * gap * gap;
	products = sum_total(arm->products) + sum_total(control->products) +
		weight * gap * (moments_mean(&arm->paired) - moments_mean(&control->paired));
	center = covariate_mean(control) + n1 / (n1 + n2) * gap;

	c->theta = squares > 0.0 ? products / squares : 0.0;
	c->arm = adjusted_sample(arm, c->theta, center);
	c->control = adjusted_sample(control, c->theta, center);
	return true;
}

/*
 * From the arguments: arms argno and argno + 1, and whether adjusted argno + 2.
 * False if there are no rows to compare.
 */
static bool
get_contrast(FunctionCallInfo fcinfo, int argno, Contrast *c)
{
	const UpliftArm *arm;
	const UpliftArm *control;
	Moments		m;

	if (!get_arms(fcinfo, argno, &arm, &control))
		return false;
	if (PG_GETARG_BOOL(argno + 2))
		return adjusted_contrast(arm, control, c);
	m = uplift_outcomes(arm);
	c->arm = sample_of(&m);
	m = uplift_outcomes(control);
	c->control = sample_of(&m);
	return true;
}


/* ----- Welch's test ----- */

static inline double
difference(const Contrast *c)
{
	return c->arm.mean - c->control.mean;
}

/* NaN if an arm has a single row. */
static double
standard_error(const Contrast *c)
{
	return sqrt(c->arm.variance / c->arm.n + c->control.variance / c->control.n);
}

/* Satterthwaite's; NaN if there is no variance at all. */
static double
degrees_of_freedom(const Contrast *c)
{
	double		a = c->arm.variance / c->arm.n;
	double		b = c->control.variance / c->control.n;
	double		share = a / (a + b);
	double		rest = b / (a + b);

	return 1.0 / (share * share / (c->arm.n - 1.0) + rest * rest / (c->control.n - 1.0));
}

/* Half the width of the interval of the difference; 0 if nothing varies, NaN if nobody knows. */
static double
half_width(const Contrast *c, double confidence)
{
	double		se = standard_error(c);

	if (!(se > 0.0))
		return se;
	return se * student_t_two_sided_t(confidence, degrees_of_freedom(c));
}

/* difference, standard_error, t, df, p_value, low, high */
static void
row_add_welch(Row *row, const Contrast *c, double confidence)
{
	double		d = difference(c);
	double		se = standard_error(c);
	double		df = degrees_of_freedom(c);
	double		t = se > 0.0 ? d / se : NAN;
	double		half = half_width(c, confidence);

	row_add(row, d);
	row_add(row, se);
	row_add(row, t);
	row_add(row, df);
	row_add(row, isnan(t) ? NAN : student_t_two_sided_p(t, df));
	row_add(row, d - half);
	row_add(row, d + half);
}

Datum
loyalty_uplift_welch(PG_FUNCTION_ARGS)
{
	const UpliftArm *arm;
	const UpliftArm *control;
	double		confidence = summary_confidence(fcinfo, 1);
	Moments		m;
	Contrast	c;
	Row			row = {0};

	if (!get_arms(fcinfo, 2, &arm, &control))
		PG_RETURN_NULL();
	m = uplift_outcomes(arm);
	c.arm = sample_of(&m);
	m = uplift_outcomes(control);
	c.control = sample_of(&m);
	row_add_welch(&row, &c, confidence);
	return row_finish(&row, fcinfo);
}

/* Welch's test of the adjusted outcomes; theta; by what share the difference's variance fell */
Datum
loyalty_uplift_cuped(PG_FUNCTION_ARGS)
{
	const UpliftArm *arm;
	const UpliftArm *control;
	double		confidence = summary_confidence(fcinfo, 1);
	Contrast	c;
	Contrast	plain;
	double		se;
	double		plain_se;
	Row			row = {0};

	if (!get_arms(fcinfo, 2, &arm, &control) || !adjusted_contrast(arm, control, &c))
		PG_RETURN_NULL();
	plain.arm = sample_of(&arm->paired);
	plain.control = sample_of(&control->paired);
	se = standard_error(&c);
	plain_se = standard_error(&plain);

	row_add_welch(&row, &c, confidence);
	row_add(&row, c.theta);
	row_add(&row, plain_se > 0.0 ? 1.0 - (se / plain_se) * (se / plain_se) : NAN);
	return row_finish(&row, fcinfo);
}


/* ----- relative lift, increments, return on investment ----- */

/*
 * The difference over the control's mean.  Its standard error is by the delta
 * method, var(m_t) / m_c^2 + m_t^2 var(m_c) / m_c^4, the interval normal.
 */
Datum
loyalty_uplift_relative(PG_FUNCTION_ARGS)
{
	double		z = normal_two_sided_z(summary_confidence(fcinfo, 1));
	Contrast	c;
	double		lift;
	double		ratio;
	double		se;
	Row			row = {0};

	if (!get_contrast(fcinfo, 2, &c) || c.control.mean == 0.0)
		PG_RETURN_NULL();
	lift = difference(&c) / c.control.mean;
	ratio = c.arm.mean / c.control.mean;
	se = sqrt(c.arm.variance / c.arm.n + ratio * ratio * (c.control.variance / c.control.n)) /
		fabs(c.control.mean);
	row_add(&row, lift);
	row_add(&row, se);
	row_add(&row, lift - z * se);
	row_add(&row, lift + z * se);
	return row_finish(&row, fcinfo);
}

Datum
loyalty_uplift_incremental(PG_FUNCTION_ARGS)
{
	double		confidence = summary_confidence(fcinfo, 1);
	Contrast	c;
	double		half;
	Row			row = {0};

	if (!get_contrast(fcinfo, 2, &c))
		PG_RETURN_NULL();
	half = half_width(&c, confidence);
	row_add(&row, c.arm.n * difference(&c));
	row_add(&row, c.arm.n * (difference(&c) - half));
	row_add(&row, c.arm.n * (difference(&c) + half));
	return row_finish(&row, fcinfo);
}

static double
get_cost(FunctionCallInfo fcinfo, int argno)
{
	double		cost = PG_GETARG_FLOAT8(argno);

	if (!(cost >= 0.0) || isinf(cost))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("cost must be finite and not negative")));
	return cost;
}

static double
get_margin(FunctionCallInfo fcinfo, int argno)
{
	double		margin = PG_GETARG_FLOAT8(argno);

	if (!(margin <= 1.0) || isinf(margin))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("margin must be a fraction, at most 1"),
				 errhint("Give 0.3 for 30 %%.")));
	return margin;
}

/* NaN without a cost */
static inline double
return_on(double revenue, double margin, double cost)
{
	return cost > 0.0 ? (revenue * margin - cost) / cost : NAN;
}

Datum
loyalty_uplift_roi(PG_FUNCTION_ARGS)
{
	double		revenue = PG_GETARG_FLOAT8(0);
	double		cost = get_cost(fcinfo, 1);
	double		margin = get_margin(fcinfo, 2);
	double		roi;

	if (!isfinite(revenue))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("incremental revenue must be finite")));
	roi = return_on(revenue, margin, cost);
	if (isnan(roi))
		PG_RETURN_NULL();
	if (isinf(roi))
		ereport(ERROR,
				(errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
				 errmsg("value out of range: overflow")));
	PG_RETURN_FLOAT8(roi);
}

/* program_roi(summary, cost, margin, confidence, arm, control, adjusted) */
Datum
loyalty_uplift_summary_roi(PG_FUNCTION_ARGS)
{
	double		cost = get_cost(fcinfo, 1);
	double		margin = get_margin(fcinfo, 2);
	double		confidence = summary_confidence(fcinfo, 3);
	Contrast	c;
	double		half;
	double		low;
	double		high;
	Row			row = {0};

	if (!get_contrast(fcinfo, 4, &c))
		PG_RETURN_NULL();
	half = half_width(&c, confidence);
	low = return_on(c.arm.n * (difference(&c) - half), margin, cost);
	high = return_on(c.arm.n * (difference(&c) + half), margin, cost);
	row_add(&row, c.arm.n * difference(&c));
	row_add(&row, return_on(c.arm.n * difference(&c), margin, cost));
	row_add(&row, Min(low, high));	/* a negative margin turns them round */
	row_add(&row, Max(low, high));
	return row_finish(&row, fcinfo);
}


/* ----- two proportions ----- */

typedef struct Proportions
{
	int64		members;		/* of the arm, */
	int64		conversions;	/* and how many of its outcomes are 1 */
	double		n_arm;			/* the same as doubles */
	double		n_control;
	double		yes_arm;
	double		yes_control;
} Proportions;

static int64
conversions(const UpliftArm *arm, const Moments *all)
{
	if (arm->others != 0)
		ereport(ERROR,
				(errcode(ERRCODE_LY_INVALID_METRIC),
				 errmsg("proportions need outcomes that are 0 or 1"),
				 errdetail("In " INT64_FORMAT " of " INT64_FORMAT " rows of arm \"%s\" the outcome is neither.",
						   arm->others, all->n, arm->name),
				 errhint("Use welch_test for other outcomes.")));
	return uplift_conversions(all);
}

static bool
get_proportions(FunctionCallInfo fcinfo, int argno, Proportions *p)
{
	const UpliftArm *arm;
	const UpliftArm *control;
	Moments		m;

	if (!get_arms(fcinfo, argno, &arm, &control))
		return false;
	m = uplift_outcomes(arm);
	p->members = m.n;
	p->conversions = conversions(arm, &m);
	p->n_arm = (double) p->members;
	p->yes_arm = (double) p->conversions;
	m = uplift_outcomes(control);
	p->n_control = (double) m.n;
	p->yes_control = (double) conversions(control, &m);
	return true;
}

static inline double
proportions_difference(const Proportions *p)
{
	return p->yes_arm / p->n_arm - p->yes_control / p->n_control;
}

/* p (1 - p) / n */
static inline double
proportion_variance(double yes, double n)
{
	return yes / n * ((n - yes) / n) / n;
}

static double
unpooled_error(const Proportions *p)
{
	return sqrt(proportion_variance(p->yes_arm, p->n_arm) +
				proportion_variance(p->yes_control, p->n_control));
}

/* What the control's proportion would have made of the arm's rows is taken off. */
static inline double
incremental_conversions(const Proportions *p)
{
	return p->yes_arm - p->yes_control / p->n_control * p->n_arm;
}

/* z and p with the pooled standard error, as under the null; the interval with the unpooled one */
Datum
loyalty_uplift_proportions(PG_FUNCTION_ARGS)
{
	double		quantile = normal_two_sided_z(summary_confidence(fcinfo, 1));
	Proportions p;
	double		d;
	double		se;
	double		yes;
	double		n;
	double		pooled;
	double		z;
	Row			row = {0};

	if (!get_proportions(fcinfo, 2, &p))
		PG_RETURN_NULL();
	d = proportions_difference(&p);
	se = unpooled_error(&p);
	yes = p.yes_arm + p.yes_control;
	n = p.n_arm + p.n_control;
	pooled = sqrt(yes / n * ((n - yes) / n) * (1.0 / p.n_arm + 1.0 / p.n_control));
	z = pooled > 0.0 ? d / pooled : NAN;

	row_add(&row, d);
	row_add(&row, se);
	row_add(&row, z);
	row_add(&row, isnan(z) ? NAN : normal_two_sided_p(z));
	row_add(&row, d - quantile * se);
	row_add(&row, d + quantile * se);
	row_add(&row, incremental_conversions(&p));
	return row_finish(&row, fcinfo);
}

/* members and loyal ones of the arm, how many would be loyal anyway, the rest with its interval */
Datum
loyalty_uplift_loyal(PG_FUNCTION_ARGS)
{
	double		quantile = normal_two_sided_z(summary_confidence(fcinfo, 1));
	Proportions p;
	double		half;
	Row			row = {0};

	if (!get_proportions(fcinfo, 2, &p))
		PG_RETURN_NULL();
	half = quantile * unpooled_error(&p) * p.n_arm;
	row_add_datum(&row, Int64GetDatum(p.members));
	row_add_datum(&row, Int64GetDatum(p.conversions));
	row_add(&row, p.yes_control / p.n_control * p.n_arm);
	row_add(&row, incremental_conversions(&p));
	row_add(&row, incremental_conversions(&p) - half);
	row_add(&row, incremental_conversions(&p) + half);
	return row_finish(&row, fcinfo);
}


/* ----- looking again and again ----- */

/*
 * The asymptotic confidence sequence of Waudby-Smith, Arbour, Sinha, Kennedy &
 * Ramdas (2024), theorem 2.2: Robbins' normal mixture.  With n rows seen, the
 * normal quantile is replaced by
 *
 *		sqrt(2 (n rho^2 + 1) / (n rho^2) ln(sqrt(n rho^2 + 1) / alpha)),
 *
 * and rho is chosen to make that about as small as can be at the planned n (ibid.,
 * appendix B.2).  The p value is one over the mixture's likelihood ratio, as in
 * Johari, Koomen, Pekelis & Walsh (2022), and below alpha exactly when the
 * interval leaves 0 out.
 */
Datum
loyalty_uplift_sequential(PG_FUNCTION_ARGS)
{
	int64		planned = PG_GETARG_INT64(1);
	double		alpha = 1.0 - summary_confidence(fcinfo, 2);
	Contrast	c;
	double		rho2;
	double		v;
	double		d;
	double		se;
	double		half;
	double		t;
	Row			row = {0};

	if (planned < 1)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("planned must be at least 1"),
				 errhint("Give the number of members, all arms together, at which the interval shall be the narrowest.")));
	if (!get_contrast(fcinfo, 3, &c))
		PG_RETURN_NULL();

	rho2 = (log1p(-2.0 * log(alpha)) - 2.0 * log(alpha)) / (double) planned;
	v = rho2 * (c.arm.n + c.control.n);
	d = difference(&c);
	se = standard_error(&c);
	half = se * sqrt(2.0 * (v + 1.0) / v * (0.5 * log1p(v) - log(alpha)));
	t = se > 0.0 ? d / se : NAN;

	row_add(&row, d);
	row_add(&row, se);
	row_add(&row, isnan(t) ? NAN : fmin(1.0, exp(0.5 * log1p(v) - 0.5 * t * t * v / (v + 1.0))));
	row_add(&row, d - half);
	row_add(&row, d + half);
	return row_finish(&row, fcinfo);
}


/* ----- were the members shared out as planned? ----- */

/* Pearson's test: chi_square, df, p_value.  The arms are those of the plan. */
static Datum
return_chi_square(FunctionCallInfo fcinfo, char *const *arms, const double *shares, int n)
{
	UpliftSummary *summary = uplift_get_arg(fcinfo, 0);
	double		members[UPLIFT_MAX_ARMS] = {0.0};
	double		all = 0.0;
	double		weights = 0.0;
	double		chi_square = 0.0;
	Row			row = {0};

	for (int64 j = 0; j < summary->narms; j++)
	{
		const UpliftArm *arm = &summary->arm[j];
		int			i = 0;

		while (i < n && strcmp(arms[i], arm->name) != 0)
			i++;
		if (i == n)
			ereport(ERROR,
					(errcode(ERRCODE_LY_INVALID_METRIC),
					 errmsg("arm \"%s\" has no planned share", arm->name),
					 errhint("Give the names and the shares of all arms of the test.")));
		members[i] = (double) arm->alone.n + (double) arm->paired.n;
		all += members[i];
	}
	if (all == 0.0)
		PG_RETURN_NULL();
	for (int i = 0; i < n; i++)
		weights += shares[i];
	for (int i = 0; i < n; i++)
	{
		double		expected = shares[i] / weights * all;

		chi_square += (members[i] - expected) / expected * (members[i] - expected);
	}
	row_add(&row, chi_square);
	row_add_datum(&row, Int32GetDatum(n - 1));
	row_add(&row, chi_square_tail(chi_square, n - 1));
	return row_finish(&row, fcinfo);
}

static double
get_share(double share)
{
	if (!(share > 0.0) || isinf(share))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("a planned share must be positive and finite")));
	return share;
}

/* sample_ratio_test(summary, arms, shares) */
Datum
loyalty_uplift_sample_ratios(PG_FUNCTION_ARGS)
{
	Datum	   *names;
	Datum	   *numbers;
	bool	   *no_name;
	bool	   *no_number;
	int			n;
	int			m;
	char	   *arms[UPLIFT_MAX_ARMS];
	double		shares[UPLIFT_MAX_ARMS];

	deconstruct_array(PG_GETARG_ARRAYTYPE_P(1), TEXTOID, -1, false, TYPALIGN_INT,
					  &names, &no_name, &n);
	deconstruct_array(PG_GETARG_ARRAYTYPE_P(2), FLOAT8OID, sizeof(float8), FLOAT8PASSBYVAL,
					  TYPALIGN_DOUBLE, &numbers, &no_number, &m);
	if (n != m || n < 2 || n > UPLIFT_MAX_ARMS)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("there must be a planned share for each arm, and 2 to %d arms", UPLIFT_MAX_ARMS)));
	for (int i = 0; i < n; i++)
	{
		if (no_name[i] || no_number[i])
			ereport(ERROR,
					(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
					 errmsg("arms and shares must not be NULL")));
		arms[i] = TextDatumGetCString(names[i]);
		shares[i] = get_share(DatumGetFloat8(numbers[i]));
		for (int j = 0; j < i; j++)
		{
			if (strcmp(arms[i], arms[j]) == 0)
				ereport(ERROR,
						(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						 errmsg("arm \"%s\" is given twice", arms[i])));
		}
	}
	return return_chi_square(fcinfo, arms, shares, n);
}

/* sample_ratio_test(summary, share of the treated) */
Datum
loyalty_uplift_sample_ratio(PG_FUNCTION_ARGS)
{
	double		share = PG_GETARG_FLOAT8(1);
	char		control[] = UPLIFT_CONTROL;
	char		treated[] = UPLIFT_TREATED;
	char	   *const arms[] = {control, treated};
	double		shares[] = {1.0 - share, share};

	if (!(share > 0.0 && share < 1.0))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("the planned share must lie between 0 and 1"),
				 errhint("Give 0.9 where 90 %% of the members were to be treated.")));
	return return_chi_square(fcinfo, arms, shares, 2);
}
