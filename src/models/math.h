/*
 * math.h
 *		The mathematics of customer lifetime value: what each stochastic
 *		process says of one customer, and how it is fitted to many.
 *
 * Plain C and libm: no server header, no longjmp, no global state.  Outcomes
 * are return codes, and a result is set only with MATH_OK.  For a process
 * that passes process_check() and a history that passes history_check() no
 * result is NaN.
 *
 * Notation of the papers: a customer made x repeat purchases (frequency), the
 * last at t_x (recency), and was watched until T (age), all counted from the
 * first purchase; m (monetary) is the mean spend of the repeat purchases.
 *
 * Sources, cited by these letters in the code:
 *	 SMC   Schmittlein, Morrison & Colombo (1987), Management Science 33(1)
 *	 FHL   Fader, Hardie & Lee (2005), Marketing Science 24(2): BG/NBD
 *	 FHLb  Fader, Hardie & Lee (2005), J. of Marketing Research 42(4): DERT
 *	 BJP   Batislam, Denizel & Filiztekin (2007), IJRM 24(3): MBG/NBD
 *	 FHS   Fader, Hardie & Shang (2010), Marketing Science 29(6): BG/BB
 *	 FH07  Fader & Hardie (2007), J. of Interactive Marketing 21(1): sBG
 *	 FH10  Fader & Hardie (2010), Marketing Science 29(1): sBG, DERL
 *	 FH13  Fader & Hardie (2013), note 025, brucehardie.com: Gamma-Gamma
 */
#ifndef LOYALTY_MATH_H
#define LOYALTY_MATH_H

#include <stdbool.h>
#include <stddef.h>

typedef enum MathStatus
{
	MATH_OK = 0,
	MATH_UNDEFINED,				/* no such number, as a mean spend with q <= 1 */
	MATH_NOT_OFFERED,			/* the process has no such quantity */
	MATH_BAD_HISTORY,			/* not a history that the process can produce */
	MATH_BAD_TIME,				/* a time that the process does not have */
	MATH_BAD_COUNT,				/* not a number of purchases */
	MATH_BAD_RATE,				/* a discount rate that is not positive */
	MATH_TOO_LONG,				/* more opportunities than MAX_OPPORTUNITIES */
	MATH_INTERRUPTED,			/* the poll asked to stop */
	MATH_NO_MEMORY
} MathStatus;

/* The numbers are stored in clv_model values: add, never renumber. */
typedef enum ProcessFamily
{
	FAMILY_NONE = 0,
	FAMILY_BGNBD = 1,
	FAMILY_MBGNBD = 2,
	FAMILY_PARETO_NBD = 3,
	FAMILY_BGBB = 4,
	FAMILY_SBG = 5,
	FAMILY_GAMMA_GAMMA = 6
} ProcessFamily;

#define FAMILY_LAST			FAMILY_GAMMA_GAMMA
#define MAX_PARAMETERS		4

/* Parameters outside these bounds are refused: no data speak for them. */
#define PARAMETER_MIN		1e-15
#define PARAMETER_MAX		1e15

/* BG/BB and sBG count opportunities one by one. */
#define MAX_OPPORTUNITIES	1000000

typedef struct Process
{
	ProcessFamily family;
	double		parameter[MAX_PARAMETERS];
} Process;

typedef struct History
{
	double		frequency;
	double		recency;
	double		age;
	double		monetary;		/* NaN when there is none */
} History;

extern const char *family_name(ProcessFamily family);
extern ProcessFamily family_by_name(const char *name);	/* or FAMILY_NONE */
extern int	family_parameter_count(ProcessFamily family);
extern const char *family_parameter_name(ProcessFamily family, int index);

extern bool process_check(const Process *process);
extern MathStatus history_check(ProcessFamily family, const History *history);

/*
 * What a process says of one customer.  Each checks the history.
 */
extern MathStatus process_log_likelihood(const Process *process, const History *history,
										 double *result);

/* For BG/BB: alive at the next opportunity; for sBG: still under contract. */
extern MathStatus process_p_alive(const Process *process, const History *history,
								  double *result);

/*
 * Repeat purchases expected of a customer who is so alive: the sum over i of
 * weight[i] times those in (T, T + t[i]].  The times ascend, and there are at
 * most TIMES_AT_ONCE.  When the last purchase was does not matter.
 */
#define TIMES_AT_ONCE		60

extern MathStatus process_expected_alive(const Process *process, const History *history,
										 int n, const double *t, const double *weight,
										 double *result);

/* The product of the two, for one time. */
extern MathStatus process_expected_purchases(const Process *process, const History *history,
											 double t, double *result);

/*
 * Discounted expected purchases from T on, without end.  The rate is
 * continuous for Pareto/NBD, and a period's effective rate for BG/BB and sBG.
 */
extern MathStatus process_residual(const Process *process, const History *history,
								   double rate, double *result);

/* Mean spend per purchase, given what the customer spent. */
extern MathStatus process_expected_spend(const Process *process, const History *history,
										 double *result);

/* What a process says of a customer just acquired. */
extern MathStatus process_expected_new(const Process *process, double t, double *result);
extern MathStatus process_probability(const Process *process, double n, double t,
									  double *result);
extern MathStatus process_survival(const Process *process, double t, double *result);
extern MathStatus process_retention(const Process *process, double t, double *result);

/*
 * Fitting.  A row is a history and how many customers have it.
 */
typedef struct FitRow
{
	History		history;
	double		count;
} FitRow;

/* Why a fit should be read with care.  Stored: add, never renumber. */
enum FitWarning
{
	FIT_NOT_CONVERGED = 1 << 0,
	FIT_AT_BOUND = 1 << 1,		/* a parameter ran away */
	FIT_NO_DROPOUT = 1 << 2,	/* the data hardly show how customers leave */
	FIT_SINGULAR = 1 << 3,		/* no standard errors: the surface is flat */
	FIT_NO_MEAN_SPEND = 1 << 4, /* q <= 1 */
	FIT_NO_PURCHASES = 1 << 5,	/* nobody bought again */
	FIT_ROWS_LEFT_OUT = 1 << 6, /* repeat buyers without a positive spend */
	FIT_NO_EXPOSURE = 1 << 7,	/* nobody was watched for any time */
	FIT_NO_SPEND = 1 << 8		/* spend was asked for, and there is none to fit */
};
#define FIT_WARNINGS_ALL	((1 << 9) - 1)

typedef struct Fit
{
	Process		process;
	double		standard_error[MAX_PARAMETERS]; /* NaN when there are none */
	double		log_likelihood;
	double		customers;
	unsigned	warnings;
} Fit;

/* Nonzero asks the fit to stop; it then unwinds and returns MATH_INTERRUPTED. */
typedef int (*FitPoll) (void *arg);

/* The order rows must be in: the result then depends on nothing else. */
static inline int
fit_row_compare(const FitRow *a, const FitRow *b)
{
	if (a->history.frequency != b->history.frequency)
		return a->history.frequency < b->history.frequency ? -1 : 1;
	if (a->history.age != b->history.age)
		return a->history.age < b->history.age ? -1 : 1;
	if (a->history.recency != b->history.recency)
		return a->history.recency < b->history.recency ? -1 : 1;
	if (a->history.monetary != b->history.monetary)
		return a->history.monetary < b->history.monetary ? -1 : 1;
	return 0;
}

/*
 * Puts rows in that order and makes one of equal ones, with the sum of their
 * counts; n becomes smaller.  No number in them is negative or NaN.
 */
extern MathStatus collapse_rows(FitRow *rows, size_t *n, FitPoll poll, void *poll_arg);

/*
 * Maximum likelihood over sorted rows (at least one), each of which passed
 * history_check().  The log-likelihood is on the data's own scale.
 */
extern MathStatus process_fit(ProcessFamily family, const FitRow *rows, size_t n,
							  FitPoll poll, void *poll_arg, Fit *fit);

/*
 * The mean log-likelihood of rows and its gradient in log-parameters, as the
 * fit computes it; for tests.
 */
extern MathStatus process_objective(const Process *process, const FitRow *rows, size_t n,
									double *mean, double *gradient);

#endif							/* LOYALTY_MATH_H */
