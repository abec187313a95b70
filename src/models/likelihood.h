/*
 * likelihood.h
 *		The mean log-likelihood of many customers and its gradient.
 */
#ifndef LOYALTY_LIKELIHOOD_H
#define LOYALTY_LIKELIHOOD_H

#include "models/math.h"

/* Rows laid out for evaluation; its memory is malloc'd and its own. */
typedef struct Likelihood Likelihood;

/*
 * Takes every stride-th of the sorted rows, times (for Gamma-Gamma: money)
 * divided by scale.  The rows are copied.
 */
extern MathStatus likelihood_open(ProcessFamily family, const FitRow *rows, size_t n,
								  size_t stride, double scale,
								  FitPoll poll, void *poll_arg, Likelihood **result);
extern void likelihood_close(Likelihood *likelihood);

/*
 * The negative mean log-likelihood at the logarithms of the parameters, and
 * its gradient in them: an Objective.
 */
extern MathStatus likelihood_objective(void *likelihood, const double *log_parameters,
									   double *value, double *gradient);

#endif							/* LOYALTY_LIKELIHOOD_H */
