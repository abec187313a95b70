/*
 * optimise.h
 *		Minimising a smooth function of up to four variables in a box.
 */
#ifndef LOYALTY_OPTIMISE_H
#define LOYALTY_OPTIMISE_H

#include "models/math.h"

typedef double Matrix[MAX_PARAMETERS][MAX_PARAMETERS];

/* Sets the value and gradient at x; anything but MATH_OK stops the search. */
typedef MathStatus (*Objective) (void *context, const double *x, double *value,
								 double *gradient);

typedef struct Minimum
{
	double		x[MAX_PARAMETERS];
	double		value;
	double		gradient[MAX_PARAMETERS];
	Matrix		metric;			/* an approximate inverse Hessian */
	bool		converged;
} Minimum;

/*
 * BFGS from *at, whose x and metric are set, within |x[i]| <= bound.
 */
extern MathStatus minimise(Objective objective, void *context, int n, double bound,
						   Minimum *at);

/* The Hessian at x by central differences of the gradient. */
extern MathStatus hessian(Objective objective, void *context, int n, const double *x,
						  Matrix result);

/* Inverts a symmetric matrix; false if it is not clearly positive definite. */
extern bool invert_positive(int n, const Matrix matrix, Matrix inverse);

extern void identity_matrix(int n, Matrix matrix);

#endif							/* LOYALTY_OPTIMISE_H */
