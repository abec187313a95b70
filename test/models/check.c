/*
 * check.c
 *		The mathematics of the models, tested without a server.
 *
 * test/models/run compiles and runs it:
 *
 * 1. Every value of the oracle, to 1e-11 relative.
 * 2. The likelihood that the fit sums (over groups, with integrals shared by
 *	  rows) against the one of single customers, and its gradient against
 *	  differences of the latter.
 * 3. No NaN, and no infinity, for any parameters that are accepted.
 * 4. Degenerate data: every fit ends, with finite parameters and a warning.
 * 5. The distributions of tests, to 1e-12 relative where they are not beyond
 *	  the tail's 1e-30.
 *
 * Prints one line a part, and their count at last; exits with 1 if any failed.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "models/math.h"
#include "models/special.h"

static int	failures = 0;

/* xorshift64*: the same numbers everywhere */
static unsigned long long state = 88172645463325252ULL;

static double
uniform(double lo, double hi)
{
	state ^= state >> 12;
	state ^= state << 25;
	state ^= state >> 27;
	return lo + (hi - lo) * ((double) ((state * 2685821657736338717ULL) >> 11) / 9007199254740992.0);
}

static double
log_uniform(double lo, double hi)
{
	return exp(uniform(log(lo), log(hi)));
}

static void
describe(const Process *process, const History *h)
{
	printf("  %s(%.17g, %.17g, %.17g, %.17g) x=%.17g t_x=%.17g T=%.17g m=%.17g\n",
		   family_name(process->family), process->parameter[0], process->parameter[1],
		   process->parameter[2], process->parameter[3],
		   h->frequency, h->recency, h->age, h->monetary);
}

static int
read_list(char *text, double *list)
{
	int			n = 0;

	for (char *word = strtok(text, ","); word; word = strtok(NULL, ","))
		list[n++] = atof(word);
	return n;
}

static MathStatus
evaluate(const Process *process, const char *fn, const double *arg, double *value)
{
	History		h = {arg[0], arg[1], arg[2], NAN};

	if (process->family == FAMILY_GAMMA_GAMMA)
		h = (History) {arg[0], arg[0] > 0 ? 1.0 : 0.0, 2.0, arg[1]};
	if (strcmp(fn, "log_likelihood") == 0)
		return process_log_likelihood(process, &h, value);
	if (strcmp(fn, "p_alive") == 0)
		return process_p_alive(process, &h, value);
	if (strcmp(fn, "expected_purchases") == 0)
		return process_expected_purchases(process, &h, arg[3], value);
	if (strcmp(fn, "expected_new") == 0)
		return process_expected_new(process, arg[0], value);
	if (strcmp(fn, "probability") == 0)
		return process_probability(process, arg[0], arg[1], value);
	if (strcmp(fn, "dert") == 0)
		return process_residual(process, &h, arg[3], value);
	if (strcmp(fn, "survival") == 0)
		return process_survival(process, arg[0], value);
	if (strcmp(fn, "retention") == 0)
		return process_retention(process, arg[0], value);
	if (strcmp(fn, "expected_spend") == 0)
		return process_expected_spend(process, &h, value);
	return MATH_NOT_OFFERED;
}

static void
check_oracle(const char *path)
{
	FILE	   *file = fopen(path, "r");
	char		line[1024];
	double		worst = 0.0;
	int			n = 0;

	if (!file)
	{
		perror(path);
		exit(1);
	}
	while (fgets(line, sizeof(line), file))
	{
		char		family[32];
		char		parameters[256];
		char		fn[32];
		char		args[256];
		double		expected;
		double		value = NAN;
		double		arg[4] = {0};
		double		error;
		Process		process = {0};

		if (sscanf(line, "%31s\t{%255[^}]}\t%31s\t{%255[^}]}\t%lf",
				   family, parameters, fn, args, &expected) != 5)
			continue;
		n++;
		process.family = family_by_name(family);
		read_list(parameters, process.parameter);
		read_list(args, arg);
		if (evaluate(&process, fn, arg, &value) != MATH_OK)
			value = NAN;
		error = fabs(value - expected);
		if (strcmp(fn, "log_likelihood") == 0)
			error /= fmax(1.0, fabs(expected));
		else if (expected != 0.0)
			error /= fabs(expected);
		if (!(error <= 1e-11))
		{
			failures++;
			printf("oracle: got %.17g, error %.3g, in %s", value, error, line);
		}
		worst = fmax(worst, error);
	}
	fclose(file);
	if (n < 5000)
	{
		failures++;
		printf("oracle: only %d values read\n", n);
	}
	printf("oracle: %d values, worst error %.1e\n", n, worst);
}

/* A process and a history it can produce, within the given spread. */
static void
draw_process(ProcessFamily family, double lo, double hi, Process *process)
{
	memset(process, 0, sizeof(*process));
	process->family = family;
	for (int i = 0; i < family_parameter_count(family); i++)
		process->parameter[i] = log_uniform(lo, hi);
}

static void
draw_history(ProcessFamily family, double longest, double most, History *h)
{
	h->age = uniform(0.0, 1.0) < 0.05 ? 0.0 : log_uniform(longest * 1e-4, longest);
	h->frequency = uniform(0.0, 1.0) < 0.4 ? 0.0 : floor(log_uniform(1.0, most));
	h->recency = h->age * (uniform(0.0, 1.0) < 0.5 ? uniform(0.0, 1.0)
						   : 1.0 - log_uniform(1e-9, 0.5));
	h->monetary = NAN;
	if (family == FAMILY_BGBB || family == FAMILY_SBG)
	{
		h->age = floor(fmin(h->age, 1000.0));
		h->recency = floor(fmin(h->recency, h->age));
		h->frequency = family == FAMILY_SBG ? h->recency : fmin(h->frequency, h->recency);
		if (h->frequency == 0.0)
			h->recency = 0.0;
	}
	if (family == FAMILY_GAMMA_GAMMA)
	{
		h->frequency = fmax(1.0, h->frequency);
		h->monetary = log_uniform(0.01, 1000.0);
	}
	if (h->frequency == 0.0)
		h->recency = 0.0;
}

static int
compare_rows(const void *a, const void *b)
{
	return fit_row_compare(a, b);
}

static double
summed(const Process *process, const FitRow *row, int n)
{
	double		sum = 0.0;
	double		customers = 0.0;

	for (int i = 0; i < n; i++)
	{
		double		value = NAN;

		process_log_likelihood(process, &row[i].history, &value);
		sum += row[i].count * value;
		customers += row[i].count;
	}
	return sum / customers;
}

static void
check_gradient(void)
{
	double		worst_value = 0.0;
	double		worst_slope = 0.0;
	int			n = 0;

	for (int draw = 0; draw < 1200; draw++)
	{
		ProcessFamily family = 1 + draw % FAMILY_LAST;
		Process		process;
		FitRow		row[40];
		double		mean;
		double		direct;
		double		gradient[MAX_PARAMETERS];
		double		error;
		int			rows = draw % 3 == 0 ? 1 : 40;

		draw_process(family, 0.02, 300.0, &process);
		for (int i = 0; i < rows; i++)
		{
			draw_history(family, 500.0, 60.0, &row[i].history);
			row[i].count = floor(uniform(1.0, 9.0));
		}
		qsort(row, rows, sizeof(FitRow), compare_rows);
		if (process_objective(&process, row, rows, &mean, gradient) != MATH_OK)
			mean = NAN;
		direct = summed(&process, row, rows);
		error = fabs(mean - direct) / fmax(1.0, fabs(direct));
		worst_value = fmax(worst_value, error);
		n++;
		if (!(error < 1e-11))
		{
			failures++;
			printf("gradient: mean %.17g, row by row %.17g\n", mean, direct);
			describe(&process, &row[0].history);
		}

		for (int i = 0; i < family_parameter_count(family); i++)
		{
			/* Richardson's extrapolation of central differences */
			double		difference[2];

			for (int k = 0; k < 2; k++)
			{
				double		step = k == 0 ? 2e-3 : 1e-3;
				Process		above = process;
				Process		below = process;

				above.parameter[i] *= exp(step);
				below.parameter[i] *= exp(-step);
				difference[k] = (summed(&above, row, rows) - summed(&below, row, rows)) / (2.0 * step);
			}
			direct = (4.0 * difference[1] - difference[0]) / 3.0;
			error = fabs(gradient[i] - direct) / fmax(1.0, fabs(mean));
			worst_slope = fmax(worst_slope, error);
			if (!(error < 1e-9))
			{
				failures++;
				printf("gradient: slope %d is %.17g, by differences %.17g\n", i, gradient[i], direct);
				describe(&process, &row[0].history);
			}
		}
	}
	printf("gradient: %d data sets, worst error of the mean %.1e, of a slope %.1e\n",
		   n, worst_value, worst_slope);
}

static void
check_finite(void)
{
	static const char *const fn[] = {"log_likelihood", "p_alive", "expected_purchases",
	"expected_new", "probability", "dert", "survival", "retention", "expected_spend"};
	int			n = 0;

	for (int draw = 0; draw < 15000; draw++)
	{
		ProcessFamily family = 1 + draw % FAMILY_LAST;
		Process		process;
		History		h;
		double		spread = draw % 7 == 0 ? 1e15 : draw % 2 ? 1e3 : 1e6;

		draw_process(family, 1.0 / spread, spread, &process);
		draw_history(family, 1e5, draw % 5 == 0 ? 1e6 : 1e3, &h);
		for (size_t f = 0; f < sizeof(fn) / sizeof(fn[0]); f++)
		{
			double		time = log_uniform(1e-3, 1e5);
			double		arg[4] = {h.frequency, h.recency, h.age, time};
			double		value = 0.0;
			MathStatus	status;

			if (family == FAMILY_BGBB || family == FAMILY_SBG)
				arg[3] = strcmp(fn[f], "dert") == 0 ? time : floor(fmin(time, 1000.0));
			if (family == FAMILY_GAMMA_GAMMA)
				arg[1] = h.monetary;
			if (strcmp(fn[f], "expected_new") == 0 || strcmp(fn[f], "survival") == 0)
				arg[0] = arg[3];
			if (strcmp(fn[f], "retention") == 0)
				arg[0] = fmax(1.0, arg[3]);
			if (strcmp(fn[f], "probability") == 0)
			{
				arg[0] = floor(log_uniform(0.5, 500.0));
				arg[1] = arg[3];
			}
			status = evaluate(&process, fn[f], arg, &value);
			n += status == MATH_OK;
			if (status == MATH_NOT_OFFERED || status == MATH_UNDEFINED)
				continue;
			if (status != MATH_OK || !isfinite(value) ||
				(strcmp(fn[f], "log_likelihood") != 0 && value < 0.0) ||
				((strcmp(fn[f], "p_alive") == 0 || strcmp(fn[f], "probability") == 0 ||
				  strcmp(fn[f], "survival") == 0) && value > 1.0 + 1e-9))
			{
				failures++;
				printf("finite: %s, status %d, %.17g for %.17g %.17g %.17g %.17g\n", fn[f], status,
					   value, arg[0], arg[1], arg[2], arg[3]);
				describe(&process, &h);
			}
		}
	}
	printf("finite: %d values\n", n);
}

static int
count_polls(void *arg)
{
	return ++*(long *) arg > 200 * 1000 * 1000;
}

static int
stop_at_once(void *arg)
{
	return 1;
}

static void
fit_degenerate(const char *name, ProcessFamily family, FitRow *row, int n)
{
	Fit			fit;
	long		polls = 0;
	MathStatus	status;
	bool		good;
	double		value;

	for (int i = 0; i < n; i++)
		if (family == FAMILY_GAMMA_GAMMA && !(row[i].history.monetary > 0.0))
			return;
		else if (history_check(family, &row[i].history) != MATH_OK)
			return;
	qsort(row, n, sizeof(FitRow), compare_rows);
	status = process_fit(family, row, n, count_polls, &polls, &fit);
	good = status == MATH_OK && process_check(&fit.process) && isfinite(fit.log_likelihood)
		&& fit.warnings != 0;
	for (int i = 0; good && i < family_parameter_count(family); i++)
		good = isnan(fit.standard_error[i]) || isfinite(fit.standard_error[i]);
	for (int i = 0; good && i < n && family != FAMILY_GAMMA_GAMMA; i++)
	{
		good = process_p_alive(&fit.process, &row[i].history, &value) == MATH_OK
			&& value >= 0.0 && value <= 1.0
			&& process_expected_purchases(&fit.process, &row[i].history, 10.0, &value) == MATH_OK
			&& isfinite(value) && value >= 0.0;
	}
	if (!good)
	{
		failures++;
		printf("degenerate: %s: status %d, log-likelihood %g, warnings %x\n", name, status,
			   fit.log_likelihood, fit.warnings);
		describe(&fit.process, &row[0].history);
	}
	/* the discrete ones poll by work done, and have hardly any here */
	if (family != FAMILY_BGBB && family != FAMILY_SBG && !(fit.warnings & FIT_NO_EXPOSURE)
		&& process_fit(family, row, n, stop_at_once, NULL, &fit) != MATH_INTERRUPTED)
	{
		failures++;
		printf("degenerate: %s: did not stop when asked to\n", name);
	}
}

static void
check_degenerate(void)
{
	int			n = 0;

	for (ProcessFamily family = 1; family <= FAMILY_LAST; family++)
	{
		for (int kind = 0; kind < 9; kind++)
		{
			static const char *const name[] = {
				"nobody bought again", "nobody was watched", "one customer",
				"one customer who never bought again", "all the same", "all bought last day",
				"enormous frequencies", "one in a million bought", "equal spend"
			};
			FitRow		row[30];
			int			rows = kind == 2 || kind == 3 ? 1 : 30;

			for (int i = 0; i < rows; i++)
			{
				double		x = 1.0 + i % 4;
				double		T = 20.0 + i;
				History		h = {x, family == FAMILY_SBG ? x : x + 3.0, T, 10.0 + i};

				switch (kind)
				{
					case 0:
					case 3:
						h = (History) {0.0, 0.0, T, NAN};
						break;
					case 1:
						h = (History) {0.0, 0.0, 0.0, NAN};
						break;
					case 4:
						h = (History) {3.0, family == FAMILY_SBG ? 3.0 : 17.0, 20.0, 12.5};
						break;
					case 5:
						h.recency = T;
						h.frequency = T;
						break;
					case 6:
						h = (History) {1e6 + i, T, T, 12.5};
						break;
					case 7:
						if (i > 0)
							h = (History) {0.0, 0.0, T, NAN};
						break;
					case 8:
						h.monetary = 10.0;
						break;
				}
				row[i].history = h;
				row[i].count = kind == 7 && i > 0 ? 1e6 : 1.0;
			}
			/* these say something of purchases, or of spend */
			if (kind == 8 && family != FAMILY_GAMMA_GAMMA)
				continue;
			if (family == FAMILY_GAMMA_GAMMA && kind != 8 && kind != 2 && kind != 4)
				continue;
			if (family == FAMILY_SBG && (kind == 0 || kind == 7))
				continue;
			fit_degenerate(name[kind], family, row, rows);
			n++;
		}
	}
	printf("degenerate: %d fits\n", n);
}

static double
distribution(const char *fn, const double *arg)
{
	if (strcmp(fn, "student_t_two_sided_p") == 0)
		return student_t_two_sided_p(arg[0], arg[1]);
	if (strcmp(fn, "student_t_two_sided_t") == 0)
		return student_t_two_sided_t(arg[0], arg[1]);
	if (strcmp(fn, "student_t_power") == 0)
		return student_t_power(arg[0], arg[1], arg[2]);
	if (strcmp(fn, "chi_square_tail") == 0)
		return chi_square_tail(arg[0], (int) arg[1]);
	return NAN;
}

/* A tail's logarithm is rounded as the argument of exp(): what is lost grows with it. */
static void
check_distributions(void)
{
	const char *path = "test/models/distributions.txt";
	FILE	   *file = fopen(path, "r");
	char		line[1024];
	double		worst = 0.0;
	int			n = 0;

	if (!file)
	{
		perror(path);
		exit(1);
	}
	while (fgets(line, sizeof(line), file))
	{
		char		fn[32];
		char		args[256];
		double		expected;
		double		value;
		double		arg[4] = {0};
		double		error;

		if (sscanf(line, "%31s\t{%255[^}]}\t%lf", fn, args, &expected) != 3)
			continue;
		n++;
		read_list(args, arg);
		value = distribution(fn, arg);
		error = fabs(value - expected);
		if (expected > 1e-300)
			error /= expected;
		if (!(error <= (expected < 1e-30 && expected > 1e-300 ? 1e-11 : 1e-12)))
		{
			failures++;
			printf("distributions: got %.17g, error %.3g, in %s", value, error, line);
		}
		worst = fmax(worst, error);
	}
	fclose(file);
	if (n < 300)
	{
		failures++;
		printf("distributions: only %d values read\n", n);
	}
	printf("distributions: %d values, worst error %.2g\n", n, worst);
}

/* The path of the oracle, for a part that takes none. */
static const char *oracle_path = "test/models/oracle.sql";

static void
check_oracle_file(void)
{
	check_oracle(oracle_path);
}

int
main(int argc, char **argv)
{
	void		(*const part[]) (void) = {
		check_oracle_file, check_gradient, check_finite, check_degenerate, check_distributions
	};
	int			parts = sizeof(part) / sizeof(part[0]);
	int			bad = 0;

	if (argc > 1)
		oracle_path = argv[1];
	for (int i = 0; i < parts; i++)
	{
		failures = 0;
		part[i] ();
		bad += failures > 0;
	}
	printf("%d passed, %d failed\n", parts - bad, bad);
	return bad != 0;
}
