/*
 * likelihood.c
 *		The mean log-likelihood of many customers and its gradient in
 *		log-parameters, for the fit.
 *
 * A fit asks for it some dozens of times over the same rows, so what depends
 * on one coordinate of a row only is computed once per distinct value: gamma
 * functions per frequency, logarithms per time, and for Pareto/NBD the
 * integral over the time of death per (frequency, time).  What is left for a
 * row is one exponential and one logarithm.
 *
 * Rows come sorted by frequency and make one group per frequency.  Sums run
 * over blocks of rows, and the blocks are added with compensation, so that
 * the gradient of a million customers keeps its last digits.
 *
 * Memory is malloc'd and belongs to the Likelihood; nothing here jumps away.
 */
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "models/likelihood.h"
#include "models/rows.h"
#include "models/special.h"

/* Rows summed plainly between two compensated additions, and two polls. */
#define BLOCK_ROWS		1024

/* A customer's likelihood is multiplied so often, and no more. */
#define MANY			8.0

/* What is below this share of a sum can't change it. */
#define NEGLIGIBLE		1e-18

typedef struct Group
{
	double		x;				/* frequency */
	double		customers;
	size_t		first_row;
	size_t		end_row;
	size_t		first_time;		/* Pareto/NBD: into group_time */
	size_t		end_time;
} Group;

/*
 * The integral of f(y) = (alpha+y)^-(r+x) (beta+y)^-(s+1) from a time t to the
 * group's last time, and the four that its gradient needs, each over
 * w(t) = (alpha+t)^-(r+x) (beta+t)^-s.
 */
typedef struct DeathIntegrals
{
	double		plain;			/* f */
	double		log_alpha;		/* f ln((alpha+y) / (alpha+t)) */
	double		log_beta;		/* f ln((beta+y) / (beta+t)) */
	double		share_alpha;	/* f y / (alpha+y) */
	double		share_beta;		/* f y / (beta+y) */
} DeathIntegrals;

struct Likelihood
{
	ProcessFamily family;
	FitPoll		poll;
	void	   *poll_arg;
	double		customers;

	size_t		rows;
	double	   *count;
	History    *history;		/* BG/BB, sBG, Gamma-Gamma */
	double	   *log_money;		/* Gamma-Gamma: ln of the total spend */
	uint32_t   *age;			/* continuous time: index into time, or for */
	uint32_t   *recency;		/* Pareto/NBD into the group's part of group_time */

	size_t		groups;
	Group	   *group;

	size_t		times;
	double	   *time;			/* distinct, ascending */
	double	   *log_alpha;		/* ln(1 + t / alpha) */
	double	   *share_alpha;	/* t / (alpha + t) */
	double	   *log_beta;
	double	   *share_beta;

	uint32_t   *group_time;		/* the times of each group, ascending */
	DeathIntegrals *death;		/* one per time of the largest group */
};

/* A sum with a running correction (Neumaier 1974). */
typedef struct Sum
{
	double		sum;
	double		correction;
} Sum;

static void
add(Sum *total, double term)
{
	double		sum = total->sum + term;

	if (fabs(total->sum) >= fabs(term))
		total->correction += (total->sum - sum) + term;
	else
		total->correction += (term - sum) + total->sum;
	total->sum = sum;
}

/* ln L and its derivatives in the logarithms of the parameters. */
typedef struct Totals
{
	Sum			log_likelihood;
	Sum			slope[MAX_PARAMETERS];
} Totals;

static void
add_totals(Totals *totals, double log_likelihood, const double *slope, int n)
{
	add(&totals->log_likelihood, log_likelihood);
	for (int i = 0; i < n; i++)
		add(&totals->slope[i], slope[i]);
}

static bool
asked_to_stop(const Likelihood *l)
{
	return l->poll != NULL && l->poll(l->poll_arg) != 0;
}

/*
 * ---------------------------------------------------------------------------
 * Laying out
 * ---------------------------------------------------------------------------
 */

/* The distinct times, and each row's place among them. */
static MathStatus
lay_out_times(Likelihood *l, const FitRow *rows, size_t stride, double scale)
{
	Dictionary	times = {0};
	MathStatus	status = MATH_NO_MEMORY;

	l->age = malloc(l->rows * sizeof(uint32_t));
	l->recency = malloc(l->rows * sizeof(uint32_t));
	if (!l->age || !l->recency)
		goto done;
	for (size_t i = 0; i < l->rows; i++)
	{
		const History *h = &rows[i * stride].history;

		if (i % BLOCK_ROWS == 0 && asked_to_stop(l))
		{
			status = MATH_INTERRUPTED;
			goto done;
		}
		if (!dictionary_number(&times, h->age, &l->age[i]) ||
			!dictionary_number(&times, h->recency, &l->recency[i]))
			goto done;
	}
	status = dictionary_sort(&times, l->poll, l->poll_arg);
	if (status != MATH_OK)
		goto done;
	for (size_t i = 0; i < l->rows; i++)
	{
		l->age[i] = times.rank[l->age[i]];
		l->recency[i] = times.rank[l->recency[i]];
	}
	l->times = times.n;
	l->time = malloc(l->times * sizeof(double));
	l->log_alpha = malloc(l->times * sizeof(double));
	l->share_alpha = malloc(l->times * sizeof(double));
	l->log_beta = malloc(l->times * sizeof(double));
	l->share_beta = malloc(l->times * sizeof(double));
	if (!l->time || !l->log_alpha || !l->share_alpha || !l->log_beta || !l->share_beta)
		status = MATH_NO_MEMORY;
	else
		for (size_t i = 0; i < l->times; i++)
			l->time[i] = times.value[i] / scale;

done:
	dictionary_free(&times);
	return status;
}

/*
 * For each group its own ascending list of times.  All uses of a time are
 * brought together by a counting sort and handed out to the groups in the
 * order of time, so that the lists come out sorted.
 */
static MathStatus
lay_out_group_times(Likelihood *l)
{
	size_t	   *place = calloc(l->times + 1, sizeof(size_t));
	size_t	   *use = malloc(2 * l->rows * sizeof(size_t));
	uint32_t   *group_of = malloc(l->rows * sizeof(uint32_t));
	size_t		longest = 0;
	MathStatus	status = MATH_NO_MEMORY;

	l->group_time = malloc(2 * l->rows * sizeof(uint32_t));
	if (!place || !use || !group_of || !l->group_time)
		goto done;

	for (size_t g = 0; g < l->groups; g++)
	{
		l->group[g].first_time = l->group[g].end_time = 2 * l->group[g].first_row;
		for (size_t i = l->group[g].first_row; i < l->group[g].end_row; i++)
			group_of[i] = (uint32_t) g;
	}

	/* a use is the row's number doubled, odd for its recency */
	for (size_t i = 0; i < l->rows; i++)
	{
		place[l->age[i] + 1]++;
		place[l->recency[i] + 1]++;
	}
	for (size_t t = 0; t < l->times; t++)
		place[t + 1] += place[t];
	for (size_t i = 0; i < l->rows; i++)
	{
		use[place[l->age[i]]++] = 2 * i;
		use[place[l->recency[i]]++] = 2 * i + 1;
	}

	for (size_t u = 0; u < 2 * l->rows; u++)
	{
		size_t		row = use[u] / 2;
		uint32_t   *index = use[u] % 2 ? &l->recency[row] : &l->age[row];
		Group	   *group = &l->group[group_of[row]];

		if (group->end_time == group->first_time ||
			l->group_time[group->end_time - 1] != *index)
			l->group_time[group->end_time++] = *index;
		*index = (uint32_t) (group->end_time - 1 - group->first_time);
	}
	for (size_t g = 0; g < l->groups; g++)
	{
		size_t		length = l->group[g].end_time - l->group[g].first_time;

		if (length > longest)
			longest = length;
	}
	l->death = malloc(longest * sizeof(DeathIntegrals));
	if (l->death)
		status = MATH_OK;

done:
	free(place);
	free(use);
	free(group_of);
	return status;
}

/* The rows as they are, for families without times to share. */
static MathStatus
lay_out_histories(Likelihood *l, const FitRow *rows, size_t stride, double scale)
{
	l->history = malloc(l->rows * sizeof(History));
	if (!l->history)
		return MATH_NO_MEMORY;
	for (size_t i = 0; i < l->rows; i++)
		l->history[i] = rows[i * stride].history;
	if (l->family != FAMILY_GAMMA_GAMMA)
		return MATH_OK;

	l->log_money = malloc(l->rows * sizeof(double));
	if (!l->log_money)
		return MATH_NO_MEMORY;
	for (size_t i = 0; i < l->rows; i++)
	{
		l->history[i].monetary /= scale;
		l->log_money[i] = log(l->history[i].frequency * l->history[i].monetary);
	}
	return MATH_OK;
}

static MathStatus
lay_out(Likelihood *l, const FitRow *rows, size_t n, size_t stride, double scale)
{
	MathStatus	status;

	l->rows = (n + stride - 1) / stride;
	if (l->rows > UINT32_MAX / 2)
		return MATH_NO_MEMORY;
	l->count = malloc(l->rows * sizeof(double));
	if (!l->count)
		return MATH_NO_MEMORY;

	for (size_t i = 0; i < l->rows; i++)
	{
		double		x = rows[i * stride].history.frequency;

		l->count[i] = rows[i * stride].count;
		l->customers += l->count[i];
		if (i == 0 || x != rows[(i - 1) * stride].history.frequency)
			l->groups++;
	}
	l->group = calloc(l->groups, sizeof(Group));
	if (!l->group)
		return MATH_NO_MEMORY;
	for (size_t i = 0, g = 0; i < l->rows; i++)
	{
		double		x = rows[i * stride].history.frequency;

		if (i > 0 && x != l->group[g].x)
			g++;
		if (l->group[g].end_row == 0)
		{
			l->group[g].x = x;
			l->group[g].first_row = i;
		}
		l->group[g].end_row = i + 1;
		l->group[g].customers += l->count[i];
	}

	switch (l->family)
	{
		case FAMILY_GAMMA_GAMMA:
		case FAMILY_BGBB:
		case FAMILY_SBG:
			return lay_out_histories(l, rows, stride, scale);
		case FAMILY_PARETO_NBD:
			status = lay_out_times(l, rows, stride, scale);
			return status == MATH_OK ? lay_out_group_times(l) : status;
		default:
			return lay_out_times(l, rows, stride, scale);
	}
}

MathStatus
likelihood_open(ProcessFamily family, const FitRow *rows, size_t n, size_t stride, double scale,
				FitPoll poll, void *poll_arg, Likelihood **result)
{
	Likelihood *l = calloc(1, sizeof(Likelihood));
	MathStatus	status = MATH_NO_MEMORY;

	if (l)
	{
		l->family = family;
		l->poll = poll;
		l->poll_arg = poll_arg;
		status = lay_out(l, rows, n, stride, scale);
		if (status != MATH_OK)
			likelihood_close(l);
	}
	if (status == MATH_OK)
		*result = l;
	return status;
}

void
likelihood_close(Likelihood *l)
{
	free(l->count);
	free(l->history);
	free(l->log_money);
	free(l->age);
	free(l->recency);
	free(l->group);
	free(l->time);
	free(l->log_alpha);
	free(l->share_alpha);
	free(l->log_beta);
	free(l->share_beta);
	free(l->group_time);
	free(l->death);
	free(l);
}

static void
tabulate_times(Likelihood *l, double parameter, double *log_table, double *share_table)
{
	for (size_t i = 0; i < l->times; i++)
	{
		log_table[i] = log1p(l->time[i] / parameter);
		share_table[i] = l->time[i] / (parameter + l->time[i]);
	}
}

/*
 * ---------------------------------------------------------------------------
 * BG/NBD and MBG/NBD
 *
 * With q the log-odds of dead to alive and w = 1 / (1 + e^-q), a row gives
 *
 *	ln L = ln (r)_x + ln (b)_k - ln (a+b)_k - r ln(1 + T/alpha)
 *		   - x ln(alpha + T) + ln(1 + e^q),
 *	q = ln a - ln(b+k-1) + (r+x) ln((alpha+T) / (alpha+t_x)),
 *
 * where k, the coins survived, is x for BG/NBD (no q when x = 0) and x + 1
 * for MBG/NBD.
 * ---------------------------------------------------------------------------
 */
static MathStatus
bg_totals(Likelihood *l, const double *parameter, Totals *totals)
{
	double		r = parameter[0];
	double		alpha = parameter[1];
	double		a = parameter[2];
	double		b = parameter[3];

	tabulate_times(l, alpha, l->log_alpha, l->share_alpha);
	for (const Group *g = l->group; g < l->group + l->groups; g++)
	{
		double		x = g->x;
		double		shape = r + x;
		double		coins = l->family == FAMILY_MBGNBD ? x + 1.0 : x;
		double		psi_r = digamma_rising(r, x);
		double		psi_b = digamma_rising(b, coins);
		double		psi_ab = digamma_rising(a + b, coins);
		double		front = log_rising(r, x) + log_rising(b, coins)
			- log_rising(a + b, coins) - x * log(alpha);
		double		log_odds = coins > 0.0 ? log(a) - log(b + (coins - 1.0)) : -HUGE_VAL;

		for (size_t start = g->first_row; start < g->end_row; start += BLOCK_ROWS)
		{
			size_t		end = start + BLOCK_ROWS < g->end_row ? start + BLOCK_ROWS : g->end_row;
			double		n = 0.0;
			double		sum_log = 0.0;	/* of ln(1 + T/alpha) */
			double		sum_share = 0.0;	/* of T / (alpha+T) */
			double		sum_either = 0.0;	/* of ln(1 + e^q), with ... */
			double		either = 1.0;	/* ... its logarithm */
			double		dead = 0.0;		/* of w */
			double		dead_gap = 0.0; /* of w ln((alpha+T) / (alpha+t_x)) */
			double		dead_share = 0.0;	/* of w (T/(alpha+T) - t_x/(alpha+t_x)) */
			double		slope[4];

			if (asked_to_stop(l))
				return MATH_INTERRUPTED;
			for (size_t i = start; i < end; i++)
			{
				double		count = l->count[i];
				double		log_age = l->log_alpha[l->age[i]];
				double		share_age = l->share_alpha[l->age[i]];

				n += count;
				sum_log += count * log_age;
				sum_share += count * share_age;
				if (coins > 0.0)
				{
					double		gap = log_age - l->log_alpha[l->recency[i]];
					double		q = log_odds + shape * gap;
					double		small = exp(-fabs(q));
					double		w = count * (q > 0.0 ? 1.0 : small) / (1.0 + small);

					if (q > 0.0)
						sum_either += count * q;
					/* logarithms that are only added up: one of the product will do */
					if (count > MANY)
						sum_either += count * log1p(small);
					else
						for (double i = 0.0; i < count; i++)
							either *= 1.0 + small;
					if (either > 1e200)
					{
						sum_either += log(either);
						either = 1.0;
					}
					dead += w;
					dead_gap += w * gap;
					dead_share += w * (share_age - l->share_alpha[l->recency[i]]);
				}
			}
			slope[0] = r * (n * psi_r - sum_log + dead_gap);
			slope[1] = shape * (sum_share - dead_share) - n * x;
			slope[2] = dead - n * a * psi_ab;
			slope[3] = n * b * (psi_b - psi_ab);
			if (coins > 0.0)
				slope[3] -= dead * b / (b + (coins - 1.0));
			add_totals(totals, n * front - shape * sum_log + sum_either + log(either),
					   slope, 4);
		}
	}
	return MATH_OK;
}

/*
 * ---------------------------------------------------------------------------
 * Pareto/NBD
 *
 *	L = Gamma(r+x)/Gamma(r) alpha^r beta^s { w(T) + s * integral of f, t_x..T }
 *
 * with w and f as at DeathIntegrals.  The integral is what remains after t_x
 * less what remains after T, and no digit is lost by that subtraction: s times
 * the latter is below w(T).  So the integrals of a group are built once, from
 * its last time backwards, instead of row by row.
 * ---------------------------------------------------------------------------
 */

typedef struct ParetoGroup
{
	double		shape;			/* r + x */
	double		alpha;
	double		s;
	double		beta;
} ParetoGroup;

static void
add_wide_panel(const ParetoGroup *p, double from, double lo, double hi, DeathIntegrals *sum)
{
	double		half = 0.5 * (hi - lo);
	double		middle = 0.5 * (hi + lo);

	for (int i = -6; i < 6; i++)
	{
		int			k = i < 0 ? -i - 1 : i;
		double		y = middle + (i < 0 ? -half : half) * gauss12_node[k];
		double		log_alpha = log1p((y - from) / (p->alpha + from));
		double		log_beta = log1p((y - from) / (p->beta + from));
		double		f = half * gauss12_weight[k]
			* exp(-p->shape * log_alpha - p->s * log_beta) / (p->beta + y);

		sum->plain += f;
		sum->log_alpha += f * log_alpha;
		sum->log_beta += f * log_beta;
		sum->share_alpha += f * y / (p->alpha + y);
		sum->share_beta += f * y / (p->beta + y);
	}
}

/* Gauss-Legendre on [0, 1] for narrow panels */
static const double node2[2] = {0.21132486540518711775, 0.78867513459481288225};
static const double weight2[2] = {0.5, 0.5};
static const double node4[4] = {
	0.06943184420297371239, 0.33000947820757186760,
	0.66999052179242813240, 0.93056815579702628761
};
static const double weight4[4] = {
	0.17392742256872692869, 0.32607257743127307131,
	0.32607257743127307131, 0.17392742256872692869
};

/*
 * Between neighbouring times f hardly bends.  Few nodes do, and so do short
 * series, worked side by side: ln(1 + u) = 2 artanh(u / (2 + u)) for u up to
 * 0.05, and so many terms of e^-u.
 */
static inline void
add_narrow_panel(const ParetoGroup *p, double from, double to, int nodes, const double *node,
				 const double *node_weight, int terms, DeathIntegrals *sum)
{
	static const double inverse_factorial[13] = {
		1.0, 1.0, 1.0 / 2, 1.0 / 6, 1.0 / 24, 1.0 / 120, 1.0 / 720, 1.0 / 5040,
		1.0 / 40320, 1.0 / 362880, 1.0 / 3628800, 1.0 / 39916800, 1.0 / 479001600
	};
	double		width = to - from;
	double		log_alpha[4];
	double		log_beta[4];
	double		falls[4];
	double		falling[4] = {0.0, 0.0, 0.0, 0.0};

	for (int i = 0; i < nodes; i++)
	{
		double		step = width * node[i];
		double		a = step / (2.0 * (p->alpha + from) + step);
		double		b = step / (2.0 * (p->beta + from) + step);
		double		aa = a * a;
		double		bb = b * b;

		log_alpha[i] = 2.0 * a * (1.0 + aa * (1.0 / 3 + aa * (1.0 / 5
											 + aa * (1.0 / 7 + aa * (1.0 / 9)))));
		log_beta[i] = 2.0 * b * (1.0 + bb * (1.0 / 3 + bb * (1.0 / 5
											+ bb * (1.0 / 7 + bb * (1.0 / 9)))));
		falls[i] = p->shape * log_alpha[i] + p->s * log_beta[i];
	}
	for (int term = terms; term >= 0; term--)
		for (int i = 0; i < nodes; i++)
			falling[i] = inverse_factorial[term] - falls[i] * falling[i];
	for (int i = 0; i < nodes; i++)
	{
		double		y = from + width * node[i];
		double		over_beta = 1.0 / (p->beta + y);
		double		f = width * node_weight[i] * falling[i] * over_beta;

		sum->plain += f;
		sum->log_alpha += f * log_alpha[i];
		sum->log_beta += f * log_beta[i];
		sum->share_alpha += f * y / (p->alpha + y);
		sum->share_beta += f * y * over_beta;
	}
}

/*
 * The integrals from one time to another, over w(from).  A panel is no wider
 * than its distance to the nearer pole, and than six times the length over
 * which f falls by a factor e.
 */
static void
integrate_death(const ParetoGroup *p, double from, double to, DeathIntegrals *sum)
{
	double		pole = fmin(p->alpha, p->beta);
	double		lo = from;

	memset(sum, 0, sizeof(*sum));
	while (lo < to)
	{
		double		distance = pole + lo;
		double		fall = p->shape * distance / (p->alpha + lo)
			+ (p->s + 1.0) * distance / (p->beta + lo);
		double		hi = fmin(to, lo + distance * fmin(1.0, 6.0 / fall));
		double		width = (hi - lo) / distance;
		double		bend = width * fmax(1.0, fall);
		double		before = sum->plain;

		if (lo > from || width > 0.05 || bend > 0.3)
			add_wide_panel(p, from, lo, hi, sum);
		else if (bend > 1e-3)
			add_narrow_panel(p, lo, hi, 4, node4, weight4, 12, sum);
		else
			add_narrow_panel(p, lo, hi, 2, node2, weight2, 4, sum);
		if (sum->plain - before <= NEGLIGIBLE * sum->plain)
			break;
		lo = hi;
	}
}

static MathStatus
integrate_deaths(Likelihood *l, const Group *g, const ParetoGroup *p)
{
	size_t		n = g->end_time - g->first_time;
	const uint32_t *at = l->group_time + g->first_time;

	memset(&l->death[n - 1], 0, sizeof(DeathIntegrals));
	for (size_t i = n - 1; i-- > 0;)
	{
		const DeathIntegrals *rest = &l->death[i + 1];
		DeathIntegrals *d = &l->death[i];
		double		log_alpha = l->log_alpha[at[i + 1]] - l->log_alpha[at[i]];
		double		log_beta = l->log_beta[at[i + 1]] - l->log_beta[at[i]];
		double		ratio = exp(-p->shape * log_alpha - p->s * log_beta);

		if (i % BLOCK_ROWS == 0 && asked_to_stop(l))
			return MATH_INTERRUPTED;
		integrate_death(p, l->time[at[i]], l->time[at[i + 1]], d);
		d->plain += ratio * rest->plain;
		d->log_alpha += ratio * (rest->log_alpha + log_alpha * rest->plain);
		d->log_beta += ratio * (rest->log_beta + log_beta * rest->plain);
		d->share_alpha += ratio * rest->share_alpha;
		d->share_beta += ratio * rest->share_beta;
	}
	return MATH_OK;
}

static MathStatus
pareto_totals(Likelihood *l, const double *parameter, Totals *totals)
{
	double		r = parameter[0];
	double		alpha = parameter[1];
	double		s = parameter[2];
	double		beta = parameter[3];

	tabulate_times(l, alpha, l->log_alpha, l->share_alpha);
	tabulate_times(l, beta, l->log_beta, l->share_beta);
	for (const Group *g = l->group; g < l->group + l->groups; g++)
	{
		double		x = g->x;
		ParetoGroup p = {r + x, alpha, s, beta};
		const uint32_t *at = l->group_time + g->first_time;
		double		psi_r = digamma_rising(r, x);
		double		front = log_rising(r, x) - x * log(alpha);
		MathStatus	status = integrate_deaths(l, g, &p);

		if (status != MATH_OK)
			return status;
		for (size_t start = g->first_row; start < g->end_row; start += BLOCK_ROWS)
		{
			size_t		end = start + BLOCK_ROWS < g->end_row ? start + BLOCK_ROWS : g->end_row;
			double		value = 0.0;
			double		slope[4] = {0.0, 0.0, 0.0, 0.0};

			if (asked_to_stop(l))
				return MATH_INTERRUPTED;
			for (size_t i = start; i < end; i++)
			{
				double		count = l->count[i];
				uint32_t	T = at[l->age[i]];
				uint32_t	t_x = at[l->recency[i]];
				const DeathIntegrals *after_age = &l->death[l->age[i]];
				const DeathIntegrals *after_recency = &l->death[l->recency[i]];
				double		gap_alpha = l->log_alpha[T] - l->log_alpha[t_x];
				double		gap_beta = l->log_beta[T] - l->log_beta[t_x];

				/* all over w(t_x) from here on */
				double		alive = exp(-p.shape * gap_alpha - s * gap_beta);
				double		still = alive * (1.0 - s * after_age->plain);
				double		died = after_recency->plain - alive * after_age->plain;
				double		whole = still + s * after_recency->plain;

				value += count * (front - p.shape * l->log_alpha[t_x]
								  - s * l->log_beta[t_x] + log(whole));
				count /= whole;
				slope[0] += count * (whole * (psi_r - l->log_alpha[t_x]) - gap_alpha * still
									 - s * (after_recency->log_alpha
											- alive * after_age->log_alpha));
				slope[1] += count * (p.shape * (alive * l->share_alpha[T]
												+ s * (after_recency->share_alpha
													   - alive * after_age->share_alpha))
									 - whole * x);
				slope[2] += count * (died - whole * l->log_beta[t_x] - gap_beta * still
									 - s * (after_recency->log_beta
											- alive * after_age->log_beta));
				slope[3] += count * (alive * l->share_beta[T] - died
									 + (s + 1.0) * (after_recency->share_beta
													- alive * after_age->share_beta));
			}
			slope[0] *= r;
			slope[2] *= s;
			slope[3] *= s;
			add_totals(totals, value, slope, 4);
		}
	}
	return MATH_OK;
}

/*
 * ---------------------------------------------------------------------------
 * BG/BB: process.c's bgbb_terms() with derivatives carried along.
 * ---------------------------------------------------------------------------
 */
static MathStatus
bgbb_totals(Likelihood *l, const double *parameter, Totals *totals)
{
	double		alpha = parameter[0];
	double		beta = parameter[1];
	double		gamma = parameter[2];
	double		delta = parameter[3];
	double		work = 0.0;

	for (size_t row = 0; row < l->rows; row++)
	{
		double		x = l->history[row].frequency;
		double		t_x = l->history[row].recency;
		double		gap = l->history[row].age - t_x;
		double		count = l->count[row];
		double		failed = beta + t_x - x;
		double		tried = alpha + beta + t_x;
		double		lived = delta + t_x;
		double		product = 1.0;
		double		whole = 0.0;
		double		product_slope[4] = {0.0, 0.0, 0.0, 0.0};	/* of ln product */
		double		whole_slope[4] = {0.0, 0.0, 0.0, 0.0};
		double		front = log_rising(alpha, x) + log_rising(beta, t_x - x)
			- log_rising(alpha + beta, t_x) + log_rising(delta, t_x)
			- log_rising(gamma + delta, t_x);
		double		psi_tried = digamma_rising(alpha + beta, t_x);
		double		psi_lived = digamma_rising(gamma + delta, t_x);
		double		slope[4];

		work += 16.0 + gap;
		if (work > 1e5)
		{
			work = 0.0;
			if (asked_to_stop(l))
				return MATH_INTERRUPTED;
		}
		for (double i = 0.0; i < gap; i++)
		{
			double		both = gamma + lived + i;
			double		dies = product * gamma / both;

			whole += dies;
			whole_slope[0] += dies * product_slope[0];
			whole_slope[1] += dies * product_slope[1];
			whole_slope[2] += dies * (product_slope[2] + 1.0 / gamma - 1.0 / both);
			whole_slope[3] += dies * (product_slope[3] - 1.0 / both);

			product *= (failed + i) / (tried + i) * ((lived + i) / both);
			product_slope[0] -= 1.0 / (tried + i);
			product_slope[1] += 1.0 / (failed + i) - 1.0 / (tried + i);
			product_slope[2] -= 1.0 / both;
			product_slope[3] += 1.0 / (lived + i) - 1.0 / both;
		}
		whole += product;
		for (int i = 0; i < 4; i++)
			slope[i] = (whole_slope[i] + product * product_slope[i]) / whole;
		slope[0] += digamma_rising(alpha, x) - psi_tried;
		slope[1] += digamma_rising(beta, t_x - x) - psi_tried;
		slope[2] -= psi_lived;
		slope[3] += digamma_rising(delta, t_x) - psi_lived;
		for (int i = 0; i < 4; i++)
			slope[i] *= count * parameter[i];
		add_totals(totals, count * (front + log(whole)), slope, 4);
	}
	return MATH_OK;
}

static MathStatus
sbg_totals(Likelihood *l, const double *parameter, Totals *totals)
{
	double		alpha = parameter[0];
	double		beta = parameter[1];

	for (size_t row = 0; row < l->rows; row++)
	{
		double		x = l->history[row].frequency;
		double		count = l->count[row];
		double		psi_both = digamma_rising(alpha + beta, x);
		double		value = log_rising(beta, x) - log_rising(alpha + beta, x);
		double		slope[2] = {-psi_both, digamma_rising(beta, x) - psi_both};

		if (row % BLOCK_ROWS == 0 && asked_to_stop(l))
			return MATH_INTERRUPTED;
		if (x < l->history[row].age)
		{
			double		both = alpha + beta + x;

			value += log(alpha / both);
			slope[0] += 1.0 / alpha - 1.0 / both;
			slope[1] -= 1.0 / both;
		}
		slope[0] *= count * alpha;
		slope[1] *= count * beta;
		add_totals(totals, count * value, slope, 2);
	}
	return MATH_OK;
}

/*
 * ---------------------------------------------------------------------------
 * Gamma-Gamma.  With S = x m the customer's total, and over = ln(1 + S/v):
 *
 *	ln L = -ln B(px, q) - ln m - px (over + ln v - ln S) - q over.
 * ---------------------------------------------------------------------------
 */
static MathStatus
gamma_gamma_totals(Likelihood *l, const double *parameter, Totals *totals)
{
	double		p = parameter[0];
	double		q = parameter[1];
	double		v = parameter[2];
	double		log_v = log(v);

	for (const Group *g = l->group; g < l->group + l->groups; g++)
	{
		double		px = p * g->x;
		double		log_x = log(g->x);
		double		front = -log_beta(px, q);
		double		psi_p = digamma_rising(px, q);
		double		psi_q = digamma_rising(q, px);

		for (size_t start = g->first_row; start < g->end_row; start += BLOCK_ROWS)
		{
			size_t		end = start + BLOCK_ROWS < g->end_row ? start + BLOCK_ROWS : g->end_row;
			double		n = 0.0;
			double		sum_log = 0.0;	/* of ln m */
			double		sum_over = 0.0;
			double		sum_under = 0.0;	/* of ln(1 + v/S) */
			double		sum_share = 0.0;	/* of S / (v + S) */
			double		slope[3];

			if (asked_to_stop(l))
				return MATH_INTERRUPTED;
			for (size_t i = start; i < end; i++)
			{
				double		count = l->count[i];
				double		total = g->x * l->history[i].monetary;
				double		over = log1p(total / v);

				n += count;
				sum_log += count * (l->log_money[i] - log_x);
				sum_over += count * over;
				sum_under += count * (over + log_v - l->log_money[i]);
				sum_share += count * total / (v + total);
			}
			slope[0] = px * (n * psi_p - sum_under);
			slope[1] = q * (n * psi_q - sum_over);
			slope[2] = q * sum_share - px * (n - sum_share);
			add_totals(totals, n * front - sum_log - px * sum_under - q * sum_over, slope, 3);
		}
	}
	return MATH_OK;
}

MathStatus
likelihood_objective(void *likelihood, const double *log_parameters, double *value,
					 double *gradient)
{
	Likelihood *l = likelihood;
	int			n = family_parameter_count(l->family);
	double		parameter[MAX_PARAMETERS];
	Totals		totals = {0};
	MathStatus	status = MATH_NOT_OFFERED;

	for (int i = 0; i < n; i++)
		parameter[i] = exp(log_parameters[i]);
	switch (l->family)
	{
		case FAMILY_BGNBD:
		case FAMILY_MBGNBD:
			status = bg_totals(l, parameter, &totals);
			break;
		case FAMILY_PARETO_NBD:
			status = pareto_totals(l, parameter, &totals);
			break;
		case FAMILY_BGBB:
			status = bgbb_totals(l, parameter, &totals);
			break;
		case FAMILY_SBG:
			status = sbg_totals(l, parameter, &totals);
			break;
		case FAMILY_GAMMA_GAMMA:
			status = gamma_gamma_totals(l, parameter, &totals);
			break;
		case FAMILY_NONE:
			break;
	}
	if (status != MATH_OK)
		return status;
	*value = -(totals.log_likelihood.sum + totals.log_likelihood.correction) / l->customers;
	for (int i = 0; i < n; i++)
		gradient[i] = -(totals.slope[i].sum + totals.slope[i].correction) / l->customers;
	return MATH_OK;
}
