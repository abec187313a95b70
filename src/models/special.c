/*
 * special.c
 *		Special functions and quadrature that the customer models stand on.
 *
 * No allocation, no global state, no server header.  References: DLMF is the
 * NIST Digital Library of Mathematical Functions.
 */
#include <float.h>
#include <math.h>
#include <stdbool.h>

#include "metrics/normal.h"
#include "models/special.h"

/* The asymptotic series below are good to the last bit from here on. */
#define ASYMPTOTIC_FROM		10.0

#define LOG_SQRT_2PI		0.91893853320467274178

/* Two numbers, computed with side by side. */
typedef double Two __attribute__((vector_size(2 * sizeof(double))));

/* What is below this share of a sum can't change it. */
#define NEGLIGIBLE			1e-17

const double gauss12_node[6] = {
	0.12523340851146891547, 0.36783149899818019375, 0.58731795428661744730,
	0.76990267419430468704, 0.90411725637047485668, 0.98156063424671925069
};
const double gauss12_weight[6] = {
	0.24914704581340278500, 0.23349253653835480876, 0.20316742672306592175,
	0.16007832854334622633, 0.10693932599531843096, 0.04717533638651182719
};

/*
 * ln Gamma(x) less its leading terms (x - 1/2) ln x - x + ln sqrt(2 pi), for
 * x >= ASYMPTOTIC_FROM (DLMF 5.11.1).
 */
static double
stirling_correction(double x)
{
	double		y = 1.0 / (x * x);

	return (1.0 / 12 - y * (1.0 / 360 - y * (1.0 / 1260 - y * (1.0 / 1680
			- y * (1.0 / 1188 - y * (691.0 / 360360 - y / 156)))))) / x;
}

/* psi(x) - ln x, for x >= ASYMPTOTIC_FROM (DLMF 5.11.2). */
static double
digamma_correction(double x)
{
	double		y = 1.0 / (x * x);

	return -0.5 / x - y * (1.0 / 12 - y * (1.0 / 120 - y * (1.0 / 252
			- y * (1.0 / 240 - y * (1.0 / 132 - y * (691.0 / 32760 - y / 12))))));
}

double
log_gamma(double x)
{
	double		product = 1.0;

	while (x < ASYMPTOTIC_FROM)
		product *= x++;
	return (x - 0.5) * log(x) - x + LOG_SQRT_2PI + stirling_correction(x) - log(product);
}

double
digamma(double x)
{
	double		sum = 0.0;

	while (x < ASYMPTOTIC_FROM)
		sum += 1.0 / x++;
	return log(x) + digamma_correction(x) - sum;
}

/*
 * Few factors are multiplied out.  For more, both ends are moved up to where
 * Stirling's series holds, and the two leading terms are subtracted by hand.
 */
double
log_rising(double a, double n)
{
	double		product = 1.0;

	if (n <= 0.0)
		return 0.0;
	if (n <= 16.0 && n == floor(n) && a < 1e15)
	{
		for (double i = 0.0; i < n; i++)
			product *= a + i;
		return log(product);
	}
	for (; a < ASYMPTOTIC_FROM; a++)
		product *= a / (a + n);
	return (a - 0.5) * log1p(n / a) + n * (log(a + n) - 1.0)
		+ (stirling_correction(a + n) - stirling_correction(a)) + log(product);
}

double
digamma_rising(double a, double n)
{
	double		sum = 0.0;

	if (n <= 0.0)
		return 0.0;
	if (n <= 16.0 && n == floor(n))
	{
		for (double i = 0.0; i < n; i++)
			sum += 1.0 / (a + i);
		return sum;
	}
	for (; a < ASYMPTOTIC_FROM; a++)
		sum += n / (a * (a + n));
	return log1p(n / a) + (digamma_correction(a + n) - digamma_correction(a)) + sum;
}

double
log_beta(double a, double b)
{
	double		small = fmin(a, b);

	return log_gamma(small) - log_rising(fmax(a, b), small);
}

double
log1p_exp(double q)
{
	return fmax(q, 0.0) + log1p(exp(-fabs(q)));
}

double
decay_integral(double k, double length)
{
	double		exponent = k * length;

	if (fabs(exponent) < 1e-8)
		return length * (1.0 - 0.5 * exponent);
	return -expm1(-exponent) / k;
}

static double
gauss12(Integrand f, const void *arg, double lo, double hi)
{
	double		half = 0.5 * (hi - lo);
	double		middle = 0.5 * (hi + lo);
	double		sum = 0.0;

	for (int i = 0; i < 6; i++)
	{
		double		step = half * gauss12_node[i];

		sum += gauss12_weight[i] * (f(middle - step, arg) + f(middle + step, arg));
	}
	return half * sum;
}

/*
 * Halve the panel until both halves agree with the whole, or the budget of
 * halvings is spent: for extreme arguments the integrand's own rounding is
 * coarser than the goal, and no halving would reach it.
 */
static double
refine(Integrand f, const void *arg, double lo, double hi, double whole, double total, int *budget)
{
	double		middle = 0.5 * (lo + hi);
	double		left = gauss12(f, arg, lo, middle);
	double		right = gauss12(f, arg, middle, hi);

	if (--*budget <= 0 || fabs(left + right - whole) <= 1e-14 * (total + left + right))
		return left + right;
	left = refine(f, arg, lo, middle, left, total, budget);
	return left + refine(f, arg, middle, hi, right, total + left, budget);
}

/*
 * Panels that double in width go out from the mode on both sides, until one
 * adds nothing.
 */
double
integrate_unimodal(Integrand f, const void *arg, double lo, double hi, double mode, double scale)
{
	double		total = 0.0;

	mode = fmin(fmax(mode, lo), hi);
	for (int side = -1; side <= 1; side += 2)
	{
		double		edge = mode;
		double		width = scale;

		while (side < 0 ? edge > lo : edge < hi)
		{
			double		next = side < 0 ? fmax(edge - width, lo) : fmin(edge + width, hi);
			double		panel_lo = fmin(edge, next);
			double		panel_hi = fmax(edge, next);
			double		panel;
			int			budget = 100;

			panel = refine(f, arg, panel_lo, panel_hi,
						   gauss12(f, arg, panel_lo, panel_hi), total, &budget);
			total += panel;
			if (panel <= NEGLIGIBLE * total)
				break;
			edge = next;
			width *= 2.0;
		}
	}
	return total;
}

/* Where z is small the power series is the quickest. */
static double
hyp2f1_one_series(double b, double c, double z)
{
	double		term = 1.0;
	double		sum = 1.0;

	for (double n = 0.0; term > NEGLIGIBLE * sum; n++)
	{
		term *= (b + n) / (c + n) * z;
		sum += term;
	}
	return sum;
}

/*
 * Gauss's continued fraction (DLMF 15.7.5 with a = 0 there), whose coefficients are all
 * positive, so that it converges by the factor ((1 - sqrt(1-z)) / (1 + sqrt(1-z))) a
 * step.  By the recurrence of its convergents A/B, which waits for no division but that
 * of the coefficients.  Both shrink, two steps by 1 - z at most, and are scaled up again.
 *
 * For two z side by side: one alone would leave a processor waiting for the step before.
 */
static void
hyp2f1_one_fractions(double b, double c, Two z, double *result)
{
	Two			a_before = {1.0, 1.0};
	Two			a_now = 1.0 - b / c * z;
	Two			b_before = a_before;
	Two			b_now = a_before;
	Two			f = b_now / a_now;

	for (int i = 1; i < 10000; i++)
	{
		double		m = i;
		double		low = c + 2.0 * m - 2.0;
		Two			shared = z / (low * (low + 1.0) * (low + 2.0));
		Two			even = m * (c - b + m - 1.0) * (low + 2.0) * shared;
		Two			odd = (b + m) * (c + m - 1.0) * low * shared;

		a_before = a_now - even * a_before;
		b_before = b_now - even * b_before;
		a_now = a_before - odd * a_now;
		b_now = b_before - odd * b_now;

		if (i % 2 == 0)
		{
			Two			last = f;

			f = b_now / a_now;
			if (fabs(f[0] - last[0]) <= 2.3e-16 * f[0] && fabs(f[1] - last[1]) <= 2.3e-16 * f[1])
				break;
			if (a_now[0] < 1e-200 || a_now[1] < 1e-200)
			{
				/* of each its own, for they drift apart */
				Two			scale = {a_now[0] < 1e-200 ? 1e200 : 1.0, a_now[1] < 1e-200 ? 1e200 : 1.0};

				a_before *= scale;
				a_now *= scale;
				b_before *= scale;
				b_now *= scale;
			}
		}
	}
	result[0] = f[0];
	result[1] = f[1];
}

typedef struct Hyp2f1Args
{
	double		b;
	double		c;
	double		z;
	double		complement;
} Hyp2f1Args;

static double
hyp2f1_one_integrand(double v, const void *arg)
{
	const Hyp2f1Args *h = arg;

	return exp(-(h->c - 1.0) * v - h->b * log(h->complement + h->z * exp(-v)));
}

/*
 * Close to z = 1: Euler's integral (DLMF 15.6.1) with u = 1 - e^-v, which
 * spreads the crowded end of the range evenly.
 */
static double
hyp2f1_one_integral(double b, double c, double z, double complement)
{
	Hyp2f1Args	h = {b, c, z, complement};
	double		mode = 0.0;

	if (b > c - 1.0)
		mode = log(z * (b - (c - 1.0)) / ((c - 1.0) * complement));
	return (c - 1.0) * integrate_unimodal(hyp2f1_one_integrand, &h, 0.0, HUGE_VAL,
										  mode, 1.0 / (b + c));
}

static bool
suits_fraction(double c, double z, double complement)
{
	return z > 0.1 && c > 1.5 && complement > 1e-3;
}

double
hyp2f1_one(double b, double c, double z, double complement)
{
	double		both[2];

	if (z <= 0.1 || (z <= 0.5 && c <= 1.5))
		return hyp2f1_one_series(b, c, z);
	if (c <= 1.5)				/* DLMF 15.5.16: what follows wants c > 1 */
		return 1.0 + b / c * z * hyp2f1_one(b + 1.0, c + 1.0, z, complement);
	if (!suits_fraction(c, z, complement))
		return hyp2f1_one_integral(b, c, z, complement);
	hyp2f1_one_fractions(b, c, (Two) {z, z}, both);
	return both[0];
}

void
hyp2f1_one_pair(double b, double c, const double *z, const double *complement, double *result)
{
	if (suits_fraction(c, z[0], complement[0]) && suits_fraction(c, z[1], complement[1]))
		hyp2f1_one_fractions(b, c, (Two) {z[0], z[1]}, result);
	else
		for (int k = 0; k < 2; k++)
			result[k] = hyp2f1_one(b, c, z[k], complement[k]);
}

typedef struct ExpintArgs
{
	double		s;
	double		y;
} ExpintArgs;

static double
expint_integrand(double v, const void *arg)
{
	const ExpintArgs *e = arg;

	return exp(-e->y * expm1(v) - (e->s - 1.0) * v);
}

/* The continued fraction DLMF 8.19.17 in its contracted form, by Lentz's method. */
static double
expint_fraction(double s, double y)
{
	double		b = y + s;
	double		c = HUGE_VAL;
	double		d = 1.0 / b;
	double		f = d;

	for (double n = 1.0; n < 1000.0; n++)
	{
		double		a = -n * (s + n - 1.0);
		double		delta;

		b += 2.0;
		d = 1.0 / (a * d + b);
		c = b + a / c;
		delta = c * d;
		f *= delta;
		if (fabs(delta - 1.0) < 1e-16)
			break;
	}
	return f;
}

/*
 * The integral of e^(-y t) (1 + t)^-s over t > 0: for small y by quadrature in
 * ln(1 + t), which has no trouble with whole s as the series in y has.
 */
double
expint_scaled(double s, double y)
{
	ExpintArgs	e = {s, y};

	if (y >= 1.0)
		return expint_fraction(s, y);
	return integrate_unimodal(expint_integrand, &e, 0.0, HUGE_VAL,
							  s < 1.0 ? log((1.0 - s) / y) : 0.0, 1.0 / (1.0 + s));
}

/* The continued fraction DLMF 8.17.22, good while x is below the mean. */
static double
beta_inc_fraction(double a, double b, double x)
{
	double		c = 1.0;
	double		d = 1.0 / (1.0 - (a + b) * x / (a + 1.0));
	double		f = d;

	for (double m = 1.0; m < 100000.0; m++)
	{
		double		even = m * (b - m) * x / ((a + 2.0 * m - 1.0) * (a + 2.0 * m));
		double		odd = -(a + m) * (a + b + m) * x / ((a + 2.0 * m) * (a + 2.0 * m + 1.0));
		double		delta;

		d = 1.0 / (1.0 + even * d);
		c = 1.0 + even / c;
		f *= c * d;
		d = 1.0 / (1.0 + odd * d);
		c = 1.0 + odd / c;
		delta = c * d;
		f *= delta;
		if (fabs(delta - 1.0) < 1e-16)
			break;
	}
	return f;
}

double
beta_inc(double a, double b, double x, double complement)
{
	double		log_x;
	double		log_complement;
	double		front;

	if (x <= 0.0)
		return 0.0;
	if (complement <= 0.0)
		return 1.0;
	log_x = x < 0.5 ? log(x) : log1p(-complement);
	log_complement = complement < 0.5 ? log(complement) : log1p(-x);
	front = exp(a * log_x + b * log_complement - log_beta(a, b));
	if (x < (a + 1.0) / (a + b + 2.0))
		return front * beta_inc_fraction(a, b, x) / a;
	return 1.0 - front * beta_inc_fraction(b, a, complement) / b;
}

typedef struct StudentArgs
{
	double		df;
	double		log_front;
} StudentArgs;

static double
student_t_density(double t, const void *arg)
{
	const StudentArgs *s = arg;

	return exp(s->log_front - 0.5 * (s->df + 1.0) * log1p(t * t / s->df));
}

static StudentArgs
student_t_args(double df)
{
	return (StudentArgs) {df, -log_beta(0.5 * df, 0.5) - 0.5 * log(df)};
}

/*
 * P(|T| >= t), or P(|T| <= t), by quadrature: of the incomplete beta function
 * too few digits would be left for millions of degrees of freedom.
 */
static double
student_t_share(double t, const StudentArgs *s, bool central)
{
	double		start = central ? 0.0 : t;

	/* the scale is about that of the density's decline at its start, density / -slope */
	return 2.0 * integrate_unimodal(student_t_density, s, start, central ? t : HUGE_VAL, start,
									(s->df + start * start) / ((s->df + 1.0) * (1.0 + start)));
}

double
student_t_two_sided_p(double t, double df)
{
	StudentArgs s = student_t_args(df);

	t = fabs(t);
	return t < 0.5 ? 1.0 - student_t_share(t, &s, true) : student_t_share(t, &s, false);
}

/*
 * Newton's method for the logarithm of the smaller of the two probabilities as
 * a function of ln t.  That is concave, and so steps at most once past its goal.
 */
double
student_t_two_sided_t(double confidence, double df)
{
	bool		central = confidence < 0.5;
	double		goal = central ? confidence : 1.0 - confidence;
	double		t = normal_two_sided_z(confidence);
	StudentArgs s = student_t_args(df);

	for (int step = 0; step < 100; step++)
	{
		double		p = student_t_share(t, &s, central);
		double		slope = (central ? 2.0 : -2.0) * t * student_t_density(t, &s) / p;
		double		change = log(goal / p) / slope;

		t *= exp(change);
		if (fabs(change) < 1e-14)
			break;
	}
	return t;
}

typedef struct PowerArgs
{
	double		t;
	double		df;
	double		noncentrality;
	double		log_front;
} PowerArgs;

/*
 * With T = (Z + noncentrality) / S, S^2 df being chi-square: the density of S at
 * 1 + d times P(Z > t S - noncentrality).
 */
static double
student_t_power_integrand(double d, const void *arg)
{
	const PowerArgs *p = arg;
	double		z = p->t * (1.0 + d) - p->noncentrality;

	if (d <= -1.0)
		return 0.0;
	return 0.5 * erfc(z * M_SQRT1_2) *
		exp(p->log_front + p->df * (log1p(d) - d - 0.5 * d * d) - log1p(d));
}

static double
student_t_upper_tail(double t, double df, double noncentrality)
{
	double		half = 0.5 * df;
	PowerArgs	p = {.t = t, .df = df, .noncentrality = noncentrality};

	/* ln 2 + half ln half - half - ln Gamma(half) */
	p.log_front = M_LN2 + 0.5 * log(half) - LOG_SQRT_2PI;
	if (half >= ASYMPTOTIC_FROM)
		p.log_front -= stirling_correction(half);
	else
		p.log_front += (half - 0.5) * log(half) - half + LOG_SQRT_2PI - log_gamma(half);
	return integrate_unimodal(student_t_power_integrand, &p, -1.0, HUGE_VAL,
							  sqrt(fmax(df - 1.0, 0.0) / df) - 1.0, 1.0 / sqrt(2.0 * df));
}

double
student_t_power(double t, double df, double noncentrality)
{
	return fmin(student_t_upper_tail(t, df, noncentrality) +
				student_t_upper_tail(t, df, -noncentrality), 1.0);
}

/* A finite sum for whole degrees of freedom (DLMF 8.4.6, 8.4.10, 8.8.9), all of it positive. */
double
chi_square_tail(double x, int df)
{
	double		half = 0.5 * x;
	double		odd = df % 2 == 0 ? 0.0 : 0.5;
	double		term = df % 2 == 0 ? 1.0 : 2.0 * sqrt(half / M_PI);
	double		sum = 0.0;

	if (df > 64)
	{
		/* the terms outgrow a double before e^-half makes them small */
		for (int k = 0; k < df / 2; k++)
			sum += exp((k + odd) * log(half) - half - log_gamma(k + odd + 1.0));
		return half == 0.0 ? 1.0 : fmin(1.0, sum + (df % 2 == 0 ? 0.0 : erfc(sqrt(half))));
	}
	if (half > 1000.0)			/* no double holds the result */
		return 0.0;
	for (int k = 0; k < df / 2; k++)
	{
		if (k > 0)
			term *= half / (k + odd);
		sum += term;
	}
	return exp(-half) * sum + (df % 2 == 0 ? 0.0 : erfc(sqrt(half)));
}
