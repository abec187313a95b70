/*
 * fit.c
 *		Maximum likelihood for every process: starts, scale, standard errors and
 *		the warnings of degenerate data.
 *
 * The search runs in log-parameters, on the mean log-likelihood, with times
 * divided by the longest age and money by its mean: every variable is then of
 * order one, whatever the unit.  Data without information drive a parameter to
 * 0 or infinity; the box around the search stops it there, at a point that is
 * as good as any further one, and a warning says so.
 */
#include <math.h>
#include <string.h>

#include "models/likelihood.h"
#include "models/math.h"
#include "models/optimise.h"

#define STARTS			2

/* Log-parameters stay within this distance of 0. */
#define BOX				12.0

/* A log-parameter less certain than this is not known at all. */
#define VAGUE			10.0

/* With more rows than this the starts are tried on a sample of about as many. */
#define SAMPLE_ROWS		20000

/* Where customers can't be told from ones who never leave. */
#define LITTLE_DROPOUT	1e-3
#define LONG_LIFE		1e4

#define NO_STANDARD_ERRORS \
	(FIT_NOT_CONVERGED | FIT_AT_BOUND | FIT_NO_DROPOUT | FIT_SINGULAR | \
	 FIT_NO_PURCHASES | FIT_NO_EXPOSURE)

typedef struct Overview
{
	double		customers;
	double		purchases;
	double		exposure;		/* sum of ages */
	double		longest;		/* age */
	double		mean_money;
} Overview;

static Overview
look_over(ProcessFamily family, const FitRow *rows, size_t n)
{
	Overview	o = {0};

	for (size_t i = 0; i < n; i++)
	{
		double		count = rows[i].count;

		o.customers += count;
		o.purchases += count * rows[i].history.frequency;
		o.exposure += count * rows[i].history.age;
		o.longest = fmax(o.longest, rows[i].history.age);
		if (family == FAMILY_GAMMA_GAMMA)
			o.mean_money += (rows[i].history.monetary - o.mean_money) * count / o.customers;
	}
	return o;
}

static bool
is_continuous(ProcessFamily family)
{
	return family == FAMILY_BGNBD || family == FAMILY_MBGNBD || family == FAMILY_PARETO_NBD;
}

/* What times (or money) are divided by. */
static double
fit_scale(ProcessFamily family, const Overview *o)
{
	double		scale = 1.0;

	if (is_continuous(family))
		scale = o->longest;
	else if (family == FAMILY_GAMMA_GAMMA)
		scale = o->mean_money;
	return scale > 0.0 ? scale : 1.0;
}

/* Which of the parameters is in that unit: an index, or two. */
static bool
is_scaled(ProcessFamily family, int index)
{
	switch (family)
	{
		case FAMILY_BGNBD:
		case FAMILY_MBGNBD:
			return index == 1;
		case FAMILY_PARETO_NBD:
			return index == 1 || index == 3;
		case FAMILY_GAMMA_GAMMA:
			return index == 2;
		default:
			return false;
	}
}

/*
 * Two points from which to climb: differing and undecided customers, or
 * similar ones who stay.  Both have about the data's mean rate (or spend).
 */
static void
start_point(ProcessFamily family, int start, const Overview *o, double scale, double *x)
{
	static const double shape[STARTS][FAMILY_LAST + 1][MAX_PARAMETERS] = {
		{
			[FAMILY_BGNBD] = {0.5, 0.5, 0.5, 1.5},
			[FAMILY_MBGNBD] = {0.5, 0.5, 0.5, 1.5},
			[FAMILY_PARETO_NBD] = {0.5, 0.5, 0.5, 0.3},
			[FAMILY_BGBB] = {1.0, 1.0, 0.5, 2.0},
			[FAMILY_SBG] = {0.7, 2.0},
			[FAMILY_GAMMA_GAMMA] = {4.0, 4.0, 0.75},
		},
		{
			[FAMILY_BGNBD] = {2.0, 2.0, 1.5, 6.0},
			[FAMILY_MBGNBD] = {2.0, 2.0, 1.5, 6.0},
			[FAMILY_PARETO_NBD] = {2.0, 2.0, 1.5, 2.0},
			[FAMILY_BGBB] = {0.5, 2.0, 1.5, 10.0},
			[FAMILY_SBG] = {3.0, 10.0},
			[FAMILY_GAMMA_GAMMA] = {1.5, 2.0, 0.67},
		},
	};
	int			n = family_parameter_count(family);

	for (int i = 0; i < n; i++)
		x[i] = log(shape[start][family][i]);
	if (is_continuous(family) && o->purchases > 0.0)
		x[1] += log(o->exposure / scale / o->purchases);
	for (int i = 0; i < n; i++)
		x[i] = fmin(fmax(x[i], -BOX + 1.0), BOX - 1.0);
}

/* Climb from each start; keep the highest. */
static MathStatus
best_of_starts(ProcessFamily family, const Overview *o, double scale, Likelihood *likelihood,
			   Minimum *best)
{
	int			n = family_parameter_count(family);

	for (int start = 0; start < STARTS; start++)
	{
		Minimum		found;
		MathStatus	status;

		start_point(family, start, o, scale, found.x);
		identity_matrix(n, found.metric);
		status = minimise(likelihood_objective, likelihood, n, BOX, &found);
		if (status != MATH_OK)
			return status;
		if (start == 0 || found.value < best->value)
			*best = found;
	}
	return MATH_OK;
}

static bool
shows_no_dropout(ProcessFamily family, const double *x)
{
	switch (family)
	{
		case FAMILY_BGNBD:
		case FAMILY_MBGNBD:
			return 1.0 / (1.0 + exp(x[3] - x[2])) < LITTLE_DROPOUT;
		case FAMILY_PARETO_NBD:
			return exp(x[2]) < LITTLE_DROPOUT || exp(x[3]) > LONG_LIFE;
		case FAMILY_BGBB:
			return 1.0 / (1.0 + exp(x[3] - x[2])) < LITTLE_DROPOUT;
		case FAMILY_SBG:
			return 1.0 / (1.0 + exp(x[1] - x[0])) < LITTLE_DROPOUT;
		default:
			return false;
	}
}

/*
 * With the Hessian in hand, one Newton step takes the gradient from the goal
 * of the search to the noise; it is kept only when it helps.
 */
static MathStatus
newton_step(Likelihood *likelihood, int n, const Matrix inverse, Minimum *at)
{
	Minimum		next = *at;
	double		before = 0.0;
	double		after = 0.0;
	MathStatus	status;

	for (int i = 0; i < n; i++)
	{
		double		step = 0.0;

		for (int j = 0; j < n; j++)
			step -= inverse[i][j] * at->gradient[j];
		if (fabs(step) > 0.1)
			return MATH_OK;
		next.x[i] = fmin(fmax(at->x[i] + step, -BOX), BOX);
	}
	status = likelihood_objective(likelihood, next.x, &next.value, next.gradient);
	if (status != MATH_OK)
		return status;
	for (int i = 0; i < n; i++)
	{
		before = fmax(before, fabs(at->gradient[i]));
		after = fmax(after, fabs(next.gradient[i]));
	}
	if (after < before && next.value <= at->value + 1e-13 * fabs(at->value))
		*at = next;
	return MATH_OK;
}

/* The maximum over all rows, its curvature and what to warn of. */
static MathStatus
climb(ProcessFamily family, const FitRow *rows, size_t n_rows, const Overview *o, double scale,
	  FitPoll poll, void *poll_arg, Minimum *at, Matrix covariance, unsigned *warnings)
{
	int			n = family_parameter_count(family);
	Likelihood *likelihood;
	Matrix		curvature;
	MathStatus	status;
	bool		sampled = n_rows > SAMPLE_ROWS;

	if (sampled)
	{
		status = likelihood_open(family, rows, n_rows, n_rows / SAMPLE_ROWS + 1, scale,
								 poll, poll_arg, &likelihood);
		if (status != MATH_OK)
			return status;
		status = best_of_starts(family, o, scale, likelihood, at);
		likelihood_close(likelihood);
		if (status != MATH_OK)
			return status;
	}

	status = likelihood_open(family, rows, n_rows, 1, scale, poll, poll_arg, &likelihood);
	if (status != MATH_OK)
		return status;
	if (sampled)
		status = minimise(likelihood_objective, likelihood, n, BOX, at);
	else
		status = best_of_starts(family, o, scale, likelihood, at);
	if (status != MATH_OK)
		goto done;

	if (!at->converged)
		*warnings |= FIT_NOT_CONVERGED;
	for (int i = 0; i < n; i++)
		if (fabs(at->x[i]) > BOX - 1e-6)
			*warnings |= FIT_AT_BOUND;
	if (*warnings & FIT_AT_BOUND)
		goto done;

	status = hessian(likelihood_objective, likelihood, n, at->x, curvature);
	if (status != MATH_OK)
		goto done;
	if (!invert_positive(n, curvature, covariance))
	{
		*warnings |= FIT_SINGULAR;
		goto done;
	}
	status = newton_step(likelihood, n, covariance, at);
	for (int i = 0; i < n; i++)
		if (covariance[i][i] > VAGUE * VAGUE * o->customers)
			*warnings |= FIT_SINGULAR;

done:
	likelihood_close(likelihood);
	return status;
}

MathStatus
process_fit(ProcessFamily family, const FitRow *rows, size_t n_rows,
			FitPoll poll, void *poll_arg, Fit *fit)
{
	int			n = family_parameter_count(family);
	Overview	o = look_over(family, rows, n_rows);
	double		scale = fit_scale(family, &o);
	Minimum		at;
	Matrix		covariance;
	unsigned	warnings = 0;
	double		log_likelihood = 0.0;

	if (family != FAMILY_GAMMA_GAMMA && o.purchases == 0.0)
		warnings |= FIT_NO_PURCHASES;
	if (family != FAMILY_GAMMA_GAMMA && o.longest == 0.0)
	{
		/* the likelihood is 1 for every parameter: any will do */
		warnings |= FIT_NO_EXPOSURE;
		start_point(family, 0, &o, scale, at.x);
	}
	else
	{
		MathStatus	status = climb(family, rows, n_rows, &o, scale, poll, poll_arg,
								   &at, covariance, &warnings);

		if (status != MATH_OK)
			return status;
		log_likelihood = -at.value * o.customers;
		if (shows_no_dropout(family, at.x))
			warnings |= FIT_NO_DROPOUT;
	}

	/* A density is per unit of its variable: once per purchase, or per mean spend. */
	if (is_continuous(family))
		log_likelihood -= o.purchases * log(scale);
	else if (family == FAMILY_GAMMA_GAMMA)
		log_likelihood -= o.customers * log(scale);

	memset(fit, 0, sizeof(*fit));
	fit->process.family = family;
	for (int i = 0; i < n; i++)
	{
		double		value = exp(at.x[i]) * (is_scaled(family, i) ? scale : 1.0);

		/* only in an absurd unit is it outside */
		fit->process.parameter[i] = fmin(fmax(value, PARAMETER_MIN), PARAMETER_MAX);
	}
	if (family == FAMILY_GAMMA_GAMMA && fit->process.parameter[1] <= 1.0)
		warnings |= FIT_NO_MEAN_SPEND;
	for (int i = 0; i < n; i++)
		fit->standard_error[i] = warnings & NO_STANDARD_ERRORS ? NAN :
			fit->process.parameter[i] * sqrt(covariance[i][i] / o.customers);
	fit->log_likelihood = log_likelihood;
	fit->customers = o.customers;
	fit->warnings = warnings;
	return MATH_OK;
}

MathStatus
process_objective(const Process *process, const FitRow *rows, size_t n_rows,
				  double *mean, double *gradient)
{
	int			n = family_parameter_count(process->family);
	double		x[MAX_PARAMETERS];
	Likelihood *likelihood;
	MathStatus	status = likelihood_open(process->family, rows, n_rows, 1, 1.0, NULL, NULL,
										 &likelihood);

	if (status != MATH_OK)
		return status;
	for (int i = 0; i < n; i++)
		x[i] = log(process->parameter[i]);
	status = likelihood_objective(likelihood, x, mean, gradient);
	likelihood_close(likelihood);
	*mean = -*mean;
	for (int i = 0; i < n; i++)
		gradient[i] = -gradient[i];
	return status;
}
