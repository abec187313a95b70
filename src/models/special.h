/*
 * special.h
 *		Special functions and quadrature that the customer models stand on.
 *
 * Plain C and libm.  Every function is finite for the arguments it is
 * documented for, and accurate to about 1e-13 relative unless it says less.
 */
#ifndef LOYALTY_SPECIAL_H
#define LOYALTY_SPECIAL_H

/* ln Gamma(x), x > 0 (absolute accuracy near its zeros 1 and 2). */
extern double log_gamma(double x);

/* psi(x) = d ln Gamma(x) / dx, x > 0. */
extern double digamma(double x);

/* ln Gamma(a + n) - ln Gamma(a), a > 0, n >= 0: no cancellation for large a. */
extern double log_rising(double a, double n);

/* psi(a + n) - psi(a), a > 0, n >= 0. */
extern double digamma_rising(double a, double n);

/* ln B(a, b), a and b > 0. */
extern double log_beta(double a, double b);

/* ln(1 + e^q). */
extern double log1p_exp(double q);

/* The integral of e^(-k u) over 0 <= u <= length, for any sign of k. */
extern double decay_integral(double k, double length);

/*
 * 2F1(1, b; c; z) with c > b > 0 and 0 <= z < 1.  The complement 1 - z is an
 * argument of its own because callers know it exactly where z rounds to 1.
 */
extern double hyp2f1_one(double b, double c, double z, double complement);

/* The same for two z at once. */
extern void hyp2f1_one_pair(double b, double c, const double *z, const double *complement,
							double *result);

/* e^y E_s(y), the scaled exponential integral of real order s > 0, y > 0. */
extern double expint_scaled(double s, double y);

/* I_x(a, b), the regularised incomplete beta function; complement = 1 - x. */
extern double beta_inc(double a, double b, double x, double complement);

/*
 * Student's t with df > 0 degrees of freedom: P(|T| >= |t|), and the t with
 * P(|T| <= t) = confidence, 0 < confidence < 1.
 */
extern double student_t_two_sided_p(double t, double df);
extern double student_t_two_sided_t(double confidence, double df);

/* P(|T| >= t) of the noncentral t: the power of a t test.  df >= 1, t >= 0. */
extern double student_t_power(double t, double df, double noncentrality);

/* P(X >= x) of the chi-square with df = 1, 2, ... degrees of freedom, x >= 0. */
extern double chi_square_tail(double x, int df);

typedef double (*Integrand) (double v, const void *arg);

/*
 * The integral over (lo, hi) of a positive function that rises to its mode
 * and falls after it, no narrower there than about scale.
 */
extern double integrate_unimodal(Integrand f, const void *arg, double lo, double hi,
								 double mode, double scale);

/* The 12-point Gauss-Legendre rule on [-1, 1]: the positive half of its nodes. */
extern const double gauss12_node[6];
extern const double gauss12_weight[6];

#endif							/* LOYALTY_SPECIAL_H */
