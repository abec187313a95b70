/*
 * optimise.c
 *		BFGS in a box, for smooth functions of up to four variables.
 *
 * It is meant for log-parameters and a mean log-likelihood: all variables and
 * the function are of order one.  It stops at a gradient of 1e-7 or when the
 * function changes by less than 1e-13 of itself: beyond that is the noise of
 * the sums, in which a line search can burn thousands of evaluations.
 */
#include <float.h>
#include <math.h>
#include <string.h>

#include "models/optimise.h"

#define GRADIENT_GOAL	1e-7
#define CHANGE_GOAL		1e-13
#define MAX_ITERATIONS	500
#define MAX_TRIALS		40
#define LONGEST_STEP	2.0		/* in one variable */

#define ARMIJO			1e-4
#define CURVATURE		0.9

void
identity_matrix(int n, Matrix matrix)
{
	memset(matrix, 0, sizeof(Matrix));
	for (int i = 0; i < n; i++)
		matrix[i][i] = 1.0;
}

static double
dot(int n, const double *a, const double *b)
{
	double		sum = 0.0;

	for (int i = 0; i < n; i++)
		sum += a[i] * b[i];
	return sum;
}

/* At a face of the box, with the function falling outwards. */
static bool
is_held(double x, double slope, double bound)
{
	return (x >= bound && slope < 0.0) || (x <= -bound && slope > 0.0);
}

/*
 * Note which variables are held.  For one that newly is, the metric becomes
 * the inverse Hessian of the others alone; one that is let go starts afresh.
 */
static void
note_held(int n, double bound, Minimum *at, bool *held)
{
	for (int k = 0; k < n; k++)
	{
		bool		now = is_held(at->x[k], at->gradient[k], bound);

		if (now && !held[k])
		{
			double		own = at->metric[k][k];

			for (int i = 0; i < n; i++)
				for (int j = 0; j < n; j++)
					if (i != k && j != k)
						at->metric[i][j] -= at->metric[i][k] * at->metric[k][j] / own;
			for (int i = 0; i < n; i++)
				at->metric[i][k] = at->metric[k][i] = i == k ? 1.0 : 0.0;
		}
		held[k] = now;
	}
}

static double
free_gradient(int n, const Minimum *at, const bool *held)
{
	double		largest = 0.0;

	for (int i = 0; i < n; i++)
		if (!held[i])
			largest = fmax(largest, fabs(at->gradient[i]));
	return largest;
}

/* A direction of descent among the variables that are not held. */
static void
descent(int n, Minimum *at, const bool *held, double *direction)
{
	double		longest = 0.0;

	for (int attempt = 0; attempt < 2; attempt++)
	{
		for (int i = 0; i < n; i++)
		{
			direction[i] = 0.0;
			for (int j = 0; j < n; j++)
				if (!held[i] && !held[j])
					direction[i] -= at->metric[i][j] * at->gradient[j];
		}
		if (dot(n, direction, at->gradient) < 0.0)
			break;
		identity_matrix(n, at->metric);
	}
	for (int i = 0; i < n; i++)
		longest = fmax(longest, fabs(direction[i]));
	if (longest > LONGEST_STEP)
		for (int i = 0; i < n; i++)
			direction[i] *= LONGEST_STEP / longest;
}

static void
update_metric(int n, Minimum *at, const double *step, const double *change)
{
	double		curvature = dot(n, step, change);
	double		product[MAX_PARAMETERS];
	double		scale;

	if (curvature <= 1e-12 * sqrt(dot(n, step, step) * dot(n, change, change)))
		return;
	for (int i = 0; i < n; i++)
		product[i] = dot(n, at->metric[i], change);
	scale = (1.0 + dot(n, change, product) / curvature) / curvature;
	for (int i = 0; i < n; i++)
		for (int j = 0; j < n; j++)
			at->metric[i][j] += scale * step[i] * step[j]
				- (product[i] * step[j] + step[i] * product[j]) / curvature;
}

/*
 * Find a step along the direction (bent at the box) that meets the weak Wolfe
 * conditions, by doubling and interpolation.  *next is the best point seen;
 * *improved tells whether it is any better than *at.
 */
static MathStatus
line_search(Objective objective, void *context, int n, double bound, const Minimum *at,
			const double *direction, Minimum *next, bool *improved)
{
	double		slope = dot(n, direction, at->gradient);
	double		lo = 0.0;
	double		hi = HUGE_VAL;
	double		size = 1.0;

	*improved = false;
	for (int trial = 0; trial < MAX_TRIALS; trial++)
	{
		Minimum		here;
		double		step[MAX_PARAMETERS];
		double		predicted;
		MathStatus	status;
		bool		bent = false;

		for (int i = 0; i < n; i++)
		{
			double		x = at->x[i] + size * direction[i];

			here.x[i] = fmin(fmax(x, -bound), bound);
			bent |= here.x[i] != x;
			step[i] = here.x[i] - at->x[i];
		}
		status = objective(context, here.x, &here.value, here.gradient);
		if (status != MATH_OK)
			return status;

		predicted = dot(n, step, at->gradient);
		if (here.value < at->value && (!*improved || here.value < next->value))
		{
			memcpy(next->x, here.x, sizeof(here.x));
			memcpy(next->gradient, here.gradient, sizeof(here.gradient));
			next->value = here.value;
			*improved = true;
		}
		if (!(here.value <= at->value + ARMIJO * predicted))
		{
			/* too far: the minimum of the parabola through what is known */
			double		rise = here.value - at->value - slope * size;
			double		guess = rise > 0.0 ? -0.5 * slope * size * size / rise : 0.5 * size;

			hi = size;
			size = fmin(fmax(guess, lo + 0.1 * (hi - lo)), lo + 0.5 * (hi - lo));
		}
		else if (!bent && dot(n, direction, here.gradient) < CURVATURE * slope)
		{
			lo = size;
			size = hi < HUGE_VAL ? 0.5 * (lo + hi) : 2.0 * size;
		}
		else
			return MATH_OK;
		if (hi - lo < 1e-12 * hi || size > 16.0)
			return MATH_OK;
		/* the function can't resolve a smaller step */
		if (fabs(slope) * size < DBL_EPSILON * fabs(at->value))
			return MATH_OK;
	}
	return MATH_OK;
}

MathStatus
minimise(Objective objective, void *context, int n, double bound, Minimum *at)
{
	bool		fresh = true;
	bool		held[MAX_PARAMETERS] = {false};
	int			still = 0;
	MathStatus	status = objective(context, at->x, &at->value, at->gradient);

	at->converged = false;
	for (int iteration = 0; status == MATH_OK && iteration < MAX_ITERATIONS; iteration++)
	{
		Minimum		next;
		double		direction[MAX_PARAMETERS];
		double		step[MAX_PARAMETERS];
		double		change[MAX_PARAMETERS];
		double		fall;
		bool		improved;

		note_held(n, bound, at, held);
		if (free_gradient(n, at, held) < GRADIENT_GOAL || still == 2)
		{
			at->converged = true;
			break;
		}
		descent(n, at, held, direction);
		status = line_search(objective, context, n, bound, at, direction, &next, &improved);
		if (status != MATH_OK)
			break;
		if (!improved)
		{
			/* nothing lower along this line; along the gradient, once */
			if (fresh)
			{
				at->converged = free_gradient(n, at, held) < 1e3 * GRADIENT_GOAL;
				break;
			}
			identity_matrix(n, at->metric);
			fresh = true;
			continue;
		}
		for (int i = 0; i < n; i++)
		{
			step[i] = next.x[i] - at->x[i];
			change[i] = held[i] ? 0.0 : next.gradient[i] - at->gradient[i];
		}
		fall = at->value - next.value;
		still = fall <= CHANGE_GOAL * fabs(next.value) ? still + 1 : 0;
		memcpy(at->x, next.x, sizeof(at->x));
		memcpy(at->gradient, next.gradient, sizeof(at->gradient));
		at->value = next.value;
		update_metric(n, at, step, change);
		fresh = false;
	}
	return status;
}

MathStatus
hessian(Objective objective, void *context, int n, const double *x, Matrix result)
{
	const double step = 1e-4;
	double		ignored;

	for (int i = 0; i < n; i++)
	{
		double		above[MAX_PARAMETERS];
		double		below[MAX_PARAMETERS];
		double		moved[MAX_PARAMETERS];
		MathStatus	status;

		memcpy(moved, x, n * sizeof(double));
		moved[i] = x[i] + step;
		status = objective(context, moved, &ignored, above);
		if (status != MATH_OK)
			return status;
		moved[i] = x[i] - step;
		status = objective(context, moved, &ignored, below);
		if (status != MATH_OK)
			return status;
		for (int j = 0; j < n; j++)
			result[i][j] = (above[j] - below[j]) / (2.0 * step);
	}
	for (int i = 0; i < n; i++)
		for (int j = 0; j < i; j++)
			result[i][j] = result[j][i] = 0.5 * (result[i][j] + result[j][i]);
	return MATH_OK;
}

/*
 * Cholesky of the matrix scaled to a unit diagonal, so that "clearly" has a
 * meaning: what is smaller than the noise of the differences is no curvature.
 */
bool
invert_positive(int n, const Matrix matrix, Matrix inverse)
{
	Matrix		root;
	double		scale[MAX_PARAMETERS];

	for (int i = 0; i < n; i++)
	{
		if (!(matrix[i][i] > 1e-12))
			return false;
		scale[i] = 1.0 / sqrt(matrix[i][i]);
	}
	for (int i = 0; i < n; i++)
		for (int j = 0; j <= i; j++)
		{
			double		sum = matrix[i][j] * scale[i] * scale[j];

			for (int k = 0; k < j; k++)
				sum -= root[i][k] * root[j][k];
			if (i != j)
				root[i][j] = sum / root[j][j];
			else if (sum > 1e-9)
				root[i][i] = sqrt(sum);
			else
				return false;
		}

	/* column by column, forward and back */
	for (int column = 0; column < n; column++)
	{
		double		y[MAX_PARAMETERS];

		for (int i = 0; i < n; i++)
		{
			y[i] = i == column ? 1.0 : 0.0;
			for (int k = 0; k < i; k++)
				y[i] -= root[i][k] * y[k];
			y[i] /= root[i][i];
		}
		for (int i = n - 1; i >= 0; i--)
		{
			for (int k = i + 1; k < n; k++)
				y[i] -= root[k][i] * y[k];
			y[i] /= root[i][i];
			inverse[i][column] = y[i] * scale[i] * scale[column];
		}
	}
	return true;
}
