/*
 * process.c
 *		What each process says of one customer: likelihood, P(alive), expected
 *		purchases and spend, probability mass, discounted residual value.
 *
 * Everything is computed from positive sums and logarithms, in forms that
 * neither overflow for frequent buyers nor divide 0 by 0 where a closed form
 * of the papers does (a = 1, s = 1, gamma = 1).  math.h lists the sources.
 */
#include <math.h>
#include <string.h>

#include "models/math.h"
#include "models/special.h"

/*
 * ---------------------------------------------------------------------------
 * Families
 * ---------------------------------------------------------------------------
 */

static const struct
{
	const char *name;
	int			parameters;
	const char *parameter[MAX_PARAMETERS];
}			families[FAMILY_LAST + 1] = {
	[FAMILY_NONE] = {"", 0, {NULL}},
	[FAMILY_BGNBD] = {"bgnbd", 4, {"r", "alpha", "a", "b"}},
	[FAMILY_MBGNBD] = {"mbgnbd", 4, {"r", "alpha", "a", "b"}},
	[FAMILY_PARETO_NBD] = {"pareto_nbd", 4, {"r", "alpha", "s", "beta"}},
	[FAMILY_BGBB] = {"bgbb", 4, {"alpha", "beta", "gamma", "delta"}},
	[FAMILY_SBG] = {"sbg", 2, {"alpha", "beta"}},
	[FAMILY_GAMMA_GAMMA] = {"gamma_gamma", 3, {"p", "q", "v"}},
};

const char *
family_name(ProcessFamily family)
{
	return families[family].name;
}

ProcessFamily
family_by_name(const char *name)
{
	for (int family = 1; family <= FAMILY_LAST; family++)
		if (strcmp(families[family].name, name) == 0)
			return (ProcessFamily) family;
	return FAMILY_NONE;
}

int
family_parameter_count(ProcessFamily family)
{
	return families[family].parameters;
}

const char *
family_parameter_name(ProcessFamily family, int index)
{
	return families[family].parameter[index];
}

bool
process_check(const Process *process)
{
	if (process->family <= FAMILY_NONE || process->family > FAMILY_LAST)
		return false;
	for (int i = 0; i < families[process->family].parameters; i++)
	{
		double		p = process->parameter[i];

		if (!(p >= PARAMETER_MIN && p <= PARAMETER_MAX))	/* catches NaN */
			return false;
	}
	return true;
}

static bool
is_count(double v)
{
	return v >= 0.0 && v <= 9007199254740992.0 && v == floor(v);
}

MathStatus
history_check(ProcessFamily family, const History *h)
{
	if (!is_count(h->frequency) || !isfinite(h->age) ||
		!(h->recency >= 0.0 && h->recency <= h->age))
		return MATH_BAD_HISTORY;
	if (h->frequency == 0.0 && h->recency != 0.0)
		return MATH_BAD_HISTORY;

	/* Discrete processes have one chance to buy a period. */
	if (family == FAMILY_BGBB || family == FAMILY_SBG)
	{
		if (!is_count(h->recency) || !is_count(h->age) || h->frequency > h->recency)
			return MATH_BAD_HISTORY;
		if (h->frequency > 0.0 && h->recency == 0.0)
			return MATH_BAD_HISTORY;
		if (h->age > MAX_OPPORTUNITIES)
			return MATH_TOO_LONG;
	}

	/* A contract is renewed every period until it is not. */
	if (family == FAMILY_SBG && h->frequency != h->recency)
		return MATH_BAD_HISTORY;
	return MATH_OK;
}

/*
 * ---------------------------------------------------------------------------
 * The negative binomial, which counts purchases while a customer lives:
 * P(N = n) with rate Gamma(r, alpha) in a time t, z = t / (alpha + t).
 * ---------------------------------------------------------------------------
 */

/* ln of Gamma(r + n) / (Gamma(r) n!) */
static double
log_nbd_coefficient(double r, double n)
{
	if (n < r)
		return log_rising(r, n) - log_gamma(n + 1.0);
	if (r >= 1.0)
		return log_rising(n + 1.0, r - 1.0) - log_gamma(r);
	return -log_rising(n + r, 1.0 - r) - log_gamma(r);
}

static double
log_nbd_mass(double r, double alpha, double n, double t)
{
	double		log_mass = log_nbd_coefficient(r, n) - r * log1p(t / alpha);

	if (n > 0.0)
		log_mass -= n * log1p(alpha / t);
	return log_mass;
}

/* P(N >= n) */
static double
nbd_tail(double r, double alpha, double n, double t)
{
	if (n <= 0.0)
		return 1.0;
	return beta_inc(n, r, t / (alpha + t), alpha / (alpha + t));
}

/*
 * ---------------------------------------------------------------------------
 * BG/NBD and MBG/NBD: after each purchase (MBG: after the first one too) the
 * customer leaves with a probability p that is Beta(a, b) over customers.
 * ---------------------------------------------------------------------------
 */

/* How many coins a customer who made x repeat purchases and lives has survived. */
static double
bg_coins(const Process *process, double x)
{
	return process->family == FAMILY_MBGNBD ? x + 1.0 : x;
}

/* ln of the odds of dead to alive: the ratio of the two terms in FHL (3), BJP (7). */
static double
bg_log_odds_dead(const Process *process, const History *h)
{
	double		r = process->parameter[0];
	double		alpha = process->parameter[1];
	double		a = process->parameter[2];
	double		b = process->parameter[3];
	double		coins = bg_coins(process, h->frequency);

	if (coins == 0.0)
		return -HUGE_VAL;		/* BG/NBD: nobody leaves before a repeat purchase */
	return log(a) - log(b + (coins - 1.0))
		+ (r + h->frequency) * log1p((h->age - h->recency) / (alpha + h->recency));
}

static double
bg_p_alive(const Process *process, const History *h)
{
	double		coins = bg_coins(process, h->frequency);
	double		exponent;

	if (coins == 0.0)
		return 1.0;
	exponent = (process->parameter[0] + h->frequency)
		* log1p((h->age - h->recency) / (process->parameter[1] + h->recency));
	if (exponent > 600.0)
		return exp(-bg_log_odds_dead(process, h));
	return 1.0 / (1.0 + process->parameter[2] / (process->parameter[3] + (coins - 1.0))
				  * exp(exponent));
}

/* FHL (3), BJP (7) */
static double
bg_log_likelihood(const Process *process, const History *h)
{
	double		r = process->parameter[0];
	double		alpha = process->parameter[1];
	double		a = process->parameter[2];
	double		b = process->parameter[3];
	double		x = h->frequency;
	double		coins = bg_coins(process, x);

	return log_rising(r, x) + log_rising(b, coins) - log_rising(a + b, coins)
		- r * log1p(h->age / alpha) - (x > 0.0 ? x * log(alpha + h->age) : 0.0)
		+ log1p_exp(bg_log_odds_dead(process, h));
}

/*
 * The purchases that a living customer is expected to make in t, where the
 * posterior is rate ~ Gamma(shape, scale) and p ~ Beta(a, b):
 *
 *		E = E[ (1 - (1 + p tau)^-shape) / p ],	tau = t / scale,
 *
 * which the papers write with 2F1 and a division by a - 1.
 */
typedef struct BgPosterior
{
	double		shape;
	double		scale;
	double		a;
	double		b;
} BgPosterior;

/*
 * As if N purchases were made by an immortal, N negative binomial, of which
 * the j-th still happens with probability (b)_i / (a + b)_i, i = j - 1 coins:
 * E = sum over n of P(N = n) sum over i < n of (b)_i / (a + b)_i.
 */
static double
bg_expected_by_count(const BgPosterior *post, double t, double first)
{
	double		z = t / (post->scale + t);
	double		survival = 1.0;
	double		purchases = 0.0;
	double		mass;
	double		sum = 0.0;
	double		n = 0.0;

	for (; n < first; n++)
	{
		purchases += survival;
		survival *= (post->b + n) / (post->a + post->b + n);
	}
	mass = exp(log_nbd_mass(post->shape, post->scale, first, t));
	for (;; n++)
	{
		double		ratio = (post->shape + n) / (n + 1.0) * z;

		sum += mass * purchases;
		if (ratio < 1.0 && mass * purchases <= 1e-17 * sum * (1.0 - ratio) && n > 0.0)
			return sum;
		if (mass == 0.0 && ratio < 1.0)
			return sum;
		mass *= ratio;
		purchases += survival;
		survival *= (post->b + n) / (post->a + post->b + n);
	}
}

typedef struct BgIntegrand
{
	double		shape;
	double		a;
	double		b;
	double		tau;
	double		log_norm;
} BgIntegrand;

/* In v = logit(p), where both ends of the Beta density are smooth. */
static double
bg_integrand(double v, const void *arg)
{
	const BgIntegrand *g = arg;
	double		log_p = -log1p_exp(-v);
	double		log_density = g->a * log_p - g->b * log1p_exp(v) - g->log_norm;
	double		p = exp(log_p);

	if ((g->shape + 1.0) * p * g->tau < 1e-15)
		return exp(log_density) * g->shape * g->tau;
	return exp(log_density - log_p) * -expm1(-g->shape * log1p(p * g->tau));
}

static double
bg_expected_by_quadrature(const BgPosterior *post, double t)
{
	BgIntegrand g = {post->shape, post->a, post->b, t / post->scale,
	log_beta(post->a, post->b)};

	return integrate_unimodal(bg_integrand, &g, -HUGE_VAL, HUGE_VAL,
							  log(post->a / post->b), 1.0 / (1.0 + post->a + post->b));
}

/* For any parameters, but slower than the series below. */
static double
bg_expected_surely(const BgPosterior *post, double t)
{
	double		tau = t / post->scale;
	double		mean = post->shape * tau;
	double		deviation = sqrt(mean * (1.0 + tau));

	if (mean + 12.0 * deviation + 40.0 * (1.0 + tau) < 5000.0)
		return bg_expected_by_count(post, t, floor(fmax(0.0, mean - 12.0 * deviation)));
	return bg_expected_by_quadrature(post, t);
}

#define BG_SERIES_MAX	256

/* From here on log(1 + x) and exp(x) - 1 are as good as log1p and expm1 to 1e-15, and three times as fast. */
#define NOT_SMALL		0.1

/* Times taken at once: twelve sums and their z fit the registers of any machine. */
#define BG_SERIES_TIMES 12

/* The sum over j of coefficient[j] z^(j+1), for all z side by side. */
static void
bg_sum_series(int terms, const double *coefficient, const double *z, double *result)
{
	double		sum[BG_SERIES_TIMES] = {0.0};

	for (int j = terms - 1; j >= 0; j--)
		for (int i = 0; i < BG_SERIES_TIMES; i++)
			sum[i] = (sum[i] + coefficient[j]) * z[i];
	memcpy(result, sum, sizeof(sum));
}

/*
 * The closed form of FHL (10) after Euler's transform, with the powers that
 * cancel cancelled:
 *
 *	E = c D - e^(-k l) sum over j >= 1 of A_j z^j,
 *	A_j = (c - shape)_j (a)_{j-1} / ((c + 1)_{j-1} j!),
 *	c = a + b - 1, k = a - 1, l = ln(1 + tau), z = tau / (1 + tau),
 *	D = (1 - e^(-k l)) / k, which is l at a = 1.
 *
 * The A_j are the same for all times.  Where the difference would lose more
 * than three digits, or the series is long, the sure way is taken instead.
 */
static void
bg_expected_alive(const BgPosterior *post, int n, const double *t, double *result)
{
	double		coefficient[BG_SERIES_MAX];
	double		z[BG_SERIES_TIMES] = {0.0};
	double		sum[BG_SERIES_TIMES];	/* of A_j z^j */
	double		size[BG_SERIES_TIMES];	/* of |A_j z^j| */
	double		c = post->a + post->b - 1.0;
	double		k = post->a - 1.0;
	double		c_over_k = c / k;	/* not used for k = 0 */
	double		from = c - post->shape;
	double		term = from;
	double		power;
	double		last_sum = 0.0;
	double		last_size = 0.0;
	int			terms = 0;
	bool		series;

	for (int i = 0; i < n; i++)
		z[i] = t[i] / (post->scale + t[i]);
	power = z[n - 1];
	series = fabs(from) * -log1p(-power) < 50.0;

	/* the last time, which is the longest, tells how many terms there are */
	while (series)
	{
		double		j = terms + 1.0;
		double		addend = term * power;

		coefficient[terms++] = term;
		last_sum += addend;
		last_size += fabs(addend);
		if (fabs(addend) <= 1e-15 * last_size && (from + j) * z[n - 1] < j + 1.0)
			break;
		if (terms == BG_SERIES_MAX)
			series = false;
		term *= (from + j) * (post->a + j - 1.0) / ((c + j) * (j + 1.0));
		power *= z[n - 1];
	}
	if (series && n > 1)
	{
		bg_sum_series(terms, coefficient, z, sum);
		memcpy(size, sum, sizeof(sum));
		if (from < 0.0)
		{
			for (int j = 0; j < terms; j++)
				coefficient[j] = fabs(coefficient[j]);
			bg_sum_series(terms, coefficient, z, size);
		}
	}
	sum[n - 1] = last_sum;
	size[n - 1] = last_size;

	for (int i = 0; i < n; i++)
	{
		double		tau = t[i] / post->scale;
		double		length = tau < NOT_SMALL ? log1p(tau) : log(1.0 + tau);
		double		fallen = fabs(k * length) < NOT_SMALL ? -expm1(-k * length) : 1.0 - exp(-k * length);
		double		decay = fallen < 0.9 ? 1.0 - fallen : exp(-k * length);
		double		direct;

		if (t[i] == 0.0)
		{
			result[i] = 0.0;
			continue;
		}
		if (fabs(k) * length > 1e-8)
			direct = c_over_k * fallen;
		else
			direct = c * decay_integral(k, length);
		result[i] = direct - decay * sum[i];
		if (!series || !(result[i] > 1e-3 * (fabs(direct) + decay * size[i])))
			result[i] = bg_expected_surely(post, t[i]);
	}
}

typedef struct BgSurvival
{
	double		r;
	double		tau;
	double		a;
	double		b;
	double		log_norm;
} BgSurvival;

/* In v = logit(p), as above. */
static double
bg_survival_integrand(double v, const void *arg)
{
	const BgSurvival *g = arg;
	double		log_p = -log1p_exp(-v);

	return exp(g->a * log_p - g->b * log1p_exp(v) - g->log_norm
			   - g->r * log1p(exp(log_p) * g->tau));
}

/*
 * The share of new customers who are alive at t.  Of one with rate lambda and
 * probability p the purchases after which they would leave are a Poisson process of
 * rate lambda p, so that it is the mean of (1 + p tau)^-r over p, tau = t / alpha; for
 * MBG/NBD times 1 - p, for the coin at time 0.
 */
static double
bg_survival(const Process *process, double t)
{
	double		coins = bg_coins(process, 0.0);
	double		a = process->parameter[2];
	double		b = process->parameter[3] + coins;
	BgSurvival	g = {process->parameter[0], t / process->parameter[1], a, b, 0.0};
	double		first = coins == 0.0 ? 1.0 : process->parameter[3] / (a + process->parameter[3]);
	double		square;
	double		linear;
	double		root;
	double		mode;

	if (t == 0.0)
		return first;
	g.log_norm = log_beta(a, b);

	/* The mode in v is at the root in (0, 1) of a + linear p - square p^2. */
	square = (a + b - g.r) * g.tau;
	linear = (a - g.r) * g.tau - a - b;
	root = sqrt(linear * linear + 4.0 * a * square);
	if (linear > 0.0)
		mode = (linear + root) / (2.0 * square);
	else
		mode = 2.0 * a / (root - linear);
	mode = fmin(fmax(mode, 1e-300), 1.0 - 1e-16);
	return first * fmin(1.0, integrate_unimodal(bg_survival_integrand, &g, -HUGE_VAL, HUGE_VAL,
												log(mode) - log1p(-mode), 1.0 / (1.0 + a + b)));
}

/* P(X(t) = n): FHL (8), and the same argument with one coin more for MBG/NBD. */
static double
bg_probability(const Process *process, double n, double t)
{
	double		r = process->parameter[0];
	double		alpha = process->parameter[1];
	double		a = process->parameter[2];
	double		b = process->parameter[3];
	double		coins = bg_coins(process, n);
	double		log_survived = log_rising(b, coins) - log_rising(a + b, coins);
	double		probability = exp(log_survived + log_nbd_mass(r, alpha, n, t));

	/* The last of the coins ended it, whatever was to come. */
	if (coins > 0.0)
		probability += exp(log_survived) * a / (b + (coins - 1.0)) * nbd_tail(r, alpha, n, t);
	return probability;
}

/*
 * ---------------------------------------------------------------------------
 * Pareto/NBD: the lifetime is exponential with a rate that is Gamma(s, beta)
 * over customers.
 * ---------------------------------------------------------------------------
 */

/*
 * For each of two times t the likelihood that the customer died at any time
 * after it, over the likelihood that they are alive at t:
 *
 *	s * integral over y > t of (alpha+y)^-(r+x) (beta+y)^-(s+1) dy
 *	  / ((alpha+t)^-(r+x) (beta+t)^-s)
 *
 * It is between 0 and 1.  By Euler's transform of the 2F1 in FHLb (A1), (A2)
 * the powers are gone.
 */
static void
pareto_death_after(const Process *process, double x, const double *t, double *death)
{
	double		r = process->parameter[0];
	double		alpha = process->parameter[1];
	double		s = process->parameter[2];
	double		beta = process->parameter[3];
	double		c = r + s + x + 1.0;
	double		far = fmax(alpha, beta);
	double		near = fmin(alpha, beta);
	double		z[2];
	double		complement[2];

	for (int i = 0; i < 2; i++)
	{
		z[i] = (far - near) / (far + t[i]);
		complement[i] = (near + t[i]) / (far + t[i]);
	}
	hyp2f1_one_pair(alpha >= beta ? r + x : s + 1.0, c, z, complement, death);
	for (int i = 0; i < 2; i++)
		death[i] *= s / (c - 1.0) * (alpha >= beta ? 1.0 : complement[i]);
}

/*
 * ln of: alive at T over alive at t_x; and of the whole likelihood over the
 * same.  With D(t) the share above, the dead are D(t_x) - e^alive D(T), so
 * that the whole, e^alive (1 - D(T)) + D(t_x), is a sum of positive terms.
 */
static void
pareto_terms(const Process *process, const History *h, double *log_alive, double *log_whole)
{
	double		r = process->parameter[0];
	double		alpha = process->parameter[1];
	double		s = process->parameter[2];
	double		beta = process->parameter[3];
	double		x = h->frequency;
	double		gap = h->age - h->recency;
	double		death[2];

	pareto_death_after(process, x, (const double[]) {h->recency, h->age}, death);
	*log_alive = -(r + x) * log1p(gap / (alpha + h->recency))
		- s * log1p(gap / (beta + h->recency));
	*log_whole = log(exp(*log_alive) * (1.0 - death[1]) + death[0]);
}

/* SMC, in the form of FHLb (A3) */
static double
pareto_log_likelihood(const Process *process, const History *h)
{
	double		r = process->parameter[0];
	double		alpha = process->parameter[1];
	double		s = process->parameter[2];
	double		beta = process->parameter[3];
	double		x = h->frequency;
	double		log_alive;
	double		log_whole;

	pareto_terms(process, h, &log_alive, &log_whole);
	return log_rising(r, x) - r * log1p(h->recency / alpha)
		- (x > 0.0 ? x * log(alpha + h->recency) : 0.0)
		- s * log1p(h->recency / beta) + log_whole;
}

static double
pareto_p_alive(const Process *process, const History *h)
{
	double		log_alive;
	double		log_whole;

	pareto_terms(process, h, &log_alive, &log_whole);
	return fmin(1.0, exp(log_alive - log_whole));
}

typedef struct ParetoMassArgs
{
	const Process *process;
	double		n;
	double		log_coefficient;
} ParetoMassArgs;

/* P(N(u) = n) times the density of a lifetime u, in v = ln u */
static double
pareto_mass_integrand(double v, const void *arg)
{
	const ParetoMassArgs *m = arg;
	double		r = m->process->parameter[0];
	double		alpha = m->process->parameter[1];
	double		s = m->process->parameter[2];
	double		beta = m->process->parameter[3];
	double		u = exp(v);
	double		exponent = m->log_coefficient - r * log1p(u / alpha)
		+ v - (s + 1.0) * log1p(u / beta);

	if (m->n > 0.0)
		exponent -= m->n * log1p(alpha / u);
	return exp(exponent) * (s / beta);
}

/*
 * P(X(t) = n) = P(N(t) = n) P(alive at t) + what those who died before t made.
 */
static double
pareto_probability(const Process *process, double n, double t)
{
	double		r = process->parameter[0];
	double		alpha = process->parameter[1];
	double		s = process->parameter[2];
	double		beta = process->parameter[3];
	ParetoMassArgs m = {process, n, log_nbd_coefficient(r, n)};
	double		alive;
	double		linear;
	double		root;
	double		mode;

	if (t == 0.0)
		return n == 0.0 ? 1.0 : 0.0;
	alive = exp(log_nbd_mass(r, alpha, n, t) - s * log1p(t / beta));

	/*
	 * The integrand's mode in u is the positive root of the quadratic
	 * (r+s) u^2 + ((r-1) beta + (s-n) alpha) u - (n+1) alpha beta.
	 */
	linear = (r - 1.0) * beta + (s - n) * alpha;
	root = sqrt(linear * linear + 4.0 * (r + s) * (n + 1.0) * alpha * beta);
	if (linear > 0.0)
		mode = 2.0 * (n + 1.0) * alpha * beta / (root + linear);
	else
		mode = (root - linear) / (2.0 * (r + s));
	return alive + integrate_unimodal(pareto_mass_integrand, &m, -HUGE_VAL, log(t),
									  log(mode), 1.0 / (1.0 + n + r + s));
}

/*
 * ---------------------------------------------------------------------------
 * BG/BB: at each opportunity a living customer buys with probability p, which
 * is Beta(alpha, beta), and dies before it with theta, Beta(gamma, delta).
 * ---------------------------------------------------------------------------
 */

/*
 * The likelihood of FHS (5) is front * (alive + dead), where front belongs to
 * the opportunities up to t_x.  Each further opportunity without a purchase
 * multiplies by a ratio, so that nothing under- or overflows.
 */
static void
bgbb_terms(const Process *process, const History *h, double *alive, double *dead)
{
	double		beta = process->parameter[1] + h->recency - h->frequency;
	double		alpha_beta = process->parameter[0] + process->parameter[1] + h->recency;
	double		gamma = process->parameter[2];
	double		delta = process->parameter[3] + h->recency;
	double		gap = h->age - h->recency;
	double		product = 1.0;
	double		sum = 0.0;

	for (double i = 0.0; i < gap; i++)
	{
		sum += product * gamma / (gamma + delta + i);
		product *= (beta + i) / (alpha_beta + i) * ((delta + i) / (gamma + delta + i));
	}
	*alive = product;
	*dead = sum;
}

static double
bgbb_log_likelihood(const Process *process, const History *h)
{
	const double *p = process->parameter;
	double		alive;
	double		dead;

	bgbb_terms(process, h, &alive, &dead);
	return log_rising(p[0], h->frequency) + log_rising(p[1], h->recency - h->frequency)
		- log_rising(p[0] + p[1], h->recency)
		+ log_rising(p[3], h->recency) - log_rising(p[2] + p[3], h->recency)
		+ log(alive + dead);
}

/* FHS (11): alive at opportunity n + 1 */
static double
bgbb_p_alive(const Process *process, const History *h)
{
	double		gamma = process->parameter[2];
	double		delta = process->parameter[3] + h->age;
	double		alive;
	double		dead;

	bgbb_terms(process, h, &alive, &dead);
	return alive / (alive + dead) * (delta / (gamma + delta));
}

/* The mean of p for one who bought x times in n opportunities and lives. */
static double
bgbb_mean_p(const Process *process, const History *h)
{
	return (process->parameter[0] + h->frequency)
		/ (process->parameter[0] + process->parameter[1] + h->age);
}

/*
 * The sum over i = 0..t-1 of (b)_i / (a + b)_i: of t periods those that a
 * beta-geometric customer, who is there for the first, is expected to see.
 */
static void
beta_geometric_periods(double a, double b, int n, const double *t, double *result)
{
	double		survival = 1.0;
	double		periods = 0.0;
	double		at = 0.0;

	for (int i = 0; i < n; i++)
	{
		for (; at < t[i]; at++)
		{
			periods += survival;
			survival *= (b + at) / (a + b + at);
		}
		result[i] = periods;
	}
}

/* P(X(n) = x): FHS (7) */
static double
bgbb_probability(const Process *process, double x, double n)
{
	double		alpha = process->parameter[0];
	double		beta = process->parameter[1];
	double		gamma = process->parameter[2];
	double		delta = process->parameter[3];
	double		log_front;
	double		ratio = 1.0;
	double		sum = 0.0;

	if (x > n)
		return 0.0;

	/* to have bought at each of the first x opportunities, and lived */
	log_front = log_rising(alpha, x) - log_rising(alpha + beta, x)
		+ log_rising(delta, x) - log_rising(gamma + delta, x);
	for (double i = x; i < n; i++)
	{
		sum += ratio * gamma / (gamma + delta + i);
		ratio *= (i + 1.0) / (i + 1.0 - x) * ((beta + i - x) / (alpha + beta + i))
			* ((delta + i) / (gamma + delta + i));
		if (ratio > 1e200)		/* binomial coefficients outgrow a double */
		{
			log_front += log(ratio);
			sum /= ratio;
			ratio = 1.0;
		}
	}
	return exp(log_front + log(sum + ratio));
}

/*
 * ---------------------------------------------------------------------------
 * sBG: at each renewal a customer leaves with probability theta, which is
 * Beta(alpha, beta).  The history's frequency is the renewals made, its age
 * the renewals that were due: fewer made than due is a customer who left.
 * ---------------------------------------------------------------------------
 */

static bool
sbg_left(const History *h)
{
	return h->frequency < h->age;
}

/* ln S(t): FH07 (6) */
static double
sbg_log_survival(const Process *process, double t)
{
	double		alpha = process->parameter[0];
	double		beta = process->parameter[1];

	return log_rising(beta, t) - log_rising(alpha + beta, t);
}

/* FH07 (5), (6) */
static double
sbg_log_likelihood(const Process *process, const History *h)
{
	double		alpha = process->parameter[0];
	double		beta = process->parameter[1];
	double		log_survival = sbg_log_survival(process, h->frequency);

	if (sbg_left(h))
		log_survival += log(alpha / (alpha + beta + h->frequency));
	return log_survival;
}

/*
 * ---------------------------------------------------------------------------
 * Gamma-Gamma: spends are Gamma(p, nu), nu is Gamma(q, v) over customers.
 * ---------------------------------------------------------------------------
 */

/* FH13 (1a) */
static double
gamma_gamma_log_likelihood(const Process *process, const History *h)
{
	double		p = process->parameter[0];
	double		q = process->parameter[1];
	double		v = process->parameter[2];
	double		total = h->frequency * h->monetary;

	return -log_beta(p * h->frequency, q) - log(h->monetary)
		- p * h->frequency * log1p(v / total) - q * log1p(total / v);
}

/*
 * ---------------------------------------------------------------------------
 * The public face.
 * ---------------------------------------------------------------------------
 */

MathStatus
process_log_likelihood(const Process *process, const History *history, double *result)
{
	MathStatus	status = history_check(process->family, history);

	if (status != MATH_OK)
		return status;
	switch (process->family)
	{
		case FAMILY_BGNBD:
		case FAMILY_MBGNBD:
			*result = bg_log_likelihood(process, history);
			return MATH_OK;
		case FAMILY_PARETO_NBD:
			*result = pareto_log_likelihood(process, history);
			return MATH_OK;
		case FAMILY_BGBB:
			*result = bgbb_log_likelihood(process, history);
			return MATH_OK;
		case FAMILY_SBG:
			*result = sbg_log_likelihood(process, history);
			return MATH_OK;
		case FAMILY_GAMMA_GAMMA:
			if (!(history->frequency > 0.0 && history->monetary > 0.0))
				return MATH_UNDEFINED;	/* it says nothing of spend */
			*result = gamma_gamma_log_likelihood(process, history);
			return MATH_OK;
		case FAMILY_NONE:
			break;
	}
	return MATH_NOT_OFFERED;
}

MathStatus
process_p_alive(const Process *process, const History *history, double *result)
{
	MathStatus	status = history_check(process->family, history);

	if (status != MATH_OK)
		return status;
	switch (process->family)
	{
		case FAMILY_BGNBD:
		case FAMILY_MBGNBD:
			*result = bg_p_alive(process, history);
			return MATH_OK;
		case FAMILY_PARETO_NBD:
			*result = pareto_p_alive(process, history);
			return MATH_OK;
		case FAMILY_BGBB:
			*result = bgbb_p_alive(process, history);
			return MATH_OK;
		case FAMILY_SBG:
			*result = sbg_left(history) ? 0.0 : 1.0;
			return MATH_OK;
		case FAMILY_GAMMA_GAMMA:
		case FAMILY_NONE:
			break;
	}
	return MATH_NOT_OFFERED;
}

/* A time that the process knows: for the discrete ones a number of periods. */
static MathStatus
check_time(ProcessFamily family, double t)
{
	if (!(t >= 0.0 && isfinite(t)))
		return MATH_BAD_TIME;
	if (family == FAMILY_BGBB || family == FAMILY_SBG)
	{
		if (t != floor(t))
			return MATH_BAD_TIME;
		if (t > MAX_OPPORTUNITIES)
			return MATH_TOO_LONG;
	}
	return MATH_OK;
}

MathStatus
process_expected_alive(const Process *process, const History *history,
					   int n, const double *t, const double *weight, double *result)
{
	const double *p = process->parameter;
	double		x = history->frequency;
	double		age = history->age;
	double		purchases[TIMES_AT_ONCE];
	double		factor = 1.0;
	double		sum = 0.0;
	MathStatus	status = history_check(process->family, history);

	for (int i = 0; i < n && status == MATH_OK; i++)
		status = check_time(process->family, t[i]);
	if (status != MATH_OK)
		return status;

	switch (process->family)
	{
		case FAMILY_BGNBD:
		case FAMILY_MBGNBD:
			{
				BgPosterior post = {p[0] + x, p[1] + age, p[2], p[3] + bg_coins(process, x)};

				for (int i = 0; i < n; i += BG_SERIES_TIMES)
					bg_expected_alive(&post, n - i < BG_SERIES_TIMES ? n - i : BG_SERIES_TIMES,
									  t + i, purchases + i);
				break;
			}
		case FAMILY_PARETO_NBD:
			/* FHLb (A4), with the limit at s = 1 */
			factor = (p[0] + x) / (p[1] + age) * (p[3] + age);
			for (int i = 0; i < n; i++)
				purchases[i] = decay_integral(p[2] - 1.0, log1p(t[i] / (p[3] + age)));
			break;
		case FAMILY_BGBB:
			/* FHS (13) without its division by gamma - 1; the first is the next opportunity */
			factor = bgbb_mean_p(process, history);
			beta_geometric_periods(p[2], p[3] + age + 1.0, n, t, purchases);
			break;
		case FAMILY_SBG:
			factor = (p[1] + age) / (p[0] + p[1] + age);
			beta_geometric_periods(p[0], p[1] + age + 1.0, n, t, purchases);
			break;
		default:
			return MATH_NOT_OFFERED;
	}
	for (int i = 0; i < n; i++)
		sum += weight[i] * purchases[i];
	*result = factor * sum;
	return MATH_OK;
}

MathStatus
process_expected_purchases(const Process *process, const History *history,
						   double t, double *result)
{
	static const double once = 1.0;
	double		alive;
	MathStatus	status = process_p_alive(process, history, &alive);

	if (status == MATH_OK)
		status = process_expected_alive(process, history, 1, &t, &once, result);
	if (status == MATH_OK)
		*result *= alive;
	return status;
}

MathStatus
process_expected_new(const Process *process, double t, double *result)
{
	const History newcomer = {0.0, 0.0, 0.0, NAN};

	return process_expected_purchases(process, &newcomer, t, result);
}

MathStatus
process_residual(const Process *process, const History *history, double rate, double *result)
{
	const double *p = process->parameter;
	double		x = history->frequency;
	MathStatus	status = history_check(process->family, history);

	if (status != MATH_OK)
		return status;
	if (!(rate > 0.0 && isfinite(rate)))
		return MATH_BAD_RATE;

	switch (process->family)
	{
		case FAMILY_PARETO_NBD:
			{
				/* FHLb (2): delta^(s-1) Psi(s, s; y) = e^y E_s(y) (beta + T)^(1-s) */
				double		scale = p[3] + history->age;

				*result = pareto_p_alive(process, history) * (p[0] + x) / (p[1] + history->age)
					* scale * expint_scaled(p[2], rate * scale);
				return MATH_OK;
			}
		case FAMILY_BGBB:
			{
				/* FHS (14) */
				double		delta = p[3] + history->age + 1.0;

				*result = bgbb_p_alive(process, history) * bgbb_mean_p(process, history)
					/ (1.0 + rate)
					* hyp2f1_one(delta, p[2] + delta, 1.0 / (1.0 + rate), rate / (1.0 + rate));
				return MATH_OK;
			}
		case FAMILY_SBG:
			{
				/* FH10 (7): the renewal that is due now is paid now */
				double		beta = p[1] + x;

				*result = sbg_left(history) ? 0.0 : beta / (p[0] + beta)
					* hyp2f1_one(beta + 1.0, p[0] + beta + 1.0,
								 1.0 / (1.0 + rate), rate / (1.0 + rate));
				return MATH_OK;
			}
		default:
			return MATH_NOT_OFFERED;
	}
}

/* FH13 (5); without repeat purchases it is the mean over all customers */
MathStatus
process_expected_spend(const Process *process, const History *history, double *result)
{
	double		p = process->parameter[0];
	double		q = process->parameter[1];
	double		v = process->parameter[2];
	double		x = history->frequency;
	double		spent = 0.0;

	if (process->family != FAMILY_GAMMA_GAMMA)
		return MATH_NOT_OFFERED;
	if (!is_count(x))
		return MATH_BAD_HISTORY;
	if (x > 0.0)
	{
		if (!(history->monetary >= 0.0 && isfinite(history->monetary)))
			return MATH_UNDEFINED;
		spent = x * history->monetary;
	}
	if (p * x + q <= 1.0)
		return MATH_UNDEFINED;
	*result = p * (v + spent) / (p * x + (q - 1.0));
	return MATH_OK;
}

/* P(X(t) = n) for a customer just acquired; the last digit may not reach past 1. */
MathStatus
process_probability(const Process *process, double n, double t, double *result)
{
	MathStatus	status = check_time(process->family, t);

	if (status != MATH_OK)
		return status;
	if (!is_count(n))
		return MATH_BAD_COUNT;
	switch (process->family)
	{
		case FAMILY_BGNBD:
		case FAMILY_MBGNBD:
			if (t == 0.0)
				*result = n == 0.0 ? 1.0 : 0.0;
			else
				*result = fmin(1.0, bg_probability(process, n, t));
			return MATH_OK;
		case FAMILY_PARETO_NBD:
			*result = fmin(1.0, pareto_probability(process, n, t));
			return MATH_OK;
		case FAMILY_BGBB:
			*result = fmin(1.0, bgbb_probability(process, n, t));
			return MATH_OK;
		case FAMILY_SBG:
			{
				/* renewed n times in t periods */
				History		h = {n, n, t, NAN};

				*result = n > t ? 0.0 : exp(sbg_log_likelihood(process, &h));
				return MATH_OK;
			}
		default:
			return MATH_NOT_OFFERED;
	}
}

/* Of customers just acquired, the share that is left at t (sBG: after t renewals). */
MathStatus
process_survival(const Process *process, double t, double *result)
{
	const double *p = process->parameter;
	MathStatus	status = check_time(process->family, t);

	if (status != MATH_OK)
		return status;
	switch (process->family)
	{
		case FAMILY_BGNBD:
		case FAMILY_MBGNBD:
			*result = bg_survival(process, t);
			return MATH_OK;
		case FAMILY_PARETO_NBD:
			*result = exp(-p[2] * log1p(t / p[3]));
			return MATH_OK;
		case FAMILY_BGBB:
			*result = exp(log_rising(p[3], t) - log_rising(p[2] + p[3], t));
			return MATH_OK;
		case FAMILY_SBG:
			*result = exp(sbg_log_survival(process, t));
			return MATH_OK;
		default:
			return MATH_NOT_OFFERED;
	}
}

/* Of those who survived t - 1 renewals, the share that survives the next: FH07 (8) */
MathStatus
process_retention(const Process *process, double t, double *result)
{
	MathStatus	status = check_time(process->family, t);

	if (process->family != FAMILY_SBG)
		return MATH_NOT_OFFERED;
	if (status == MATH_OK && t < 1.0)
		status = MATH_BAD_TIME;
	if (status == MATH_OK)
		*result = (process->parameter[1] + t - 1.0)
			/ (process->parameter[0] + process->parameter[1] + t - 1.0);
	return status;
}
