/*
 * uplift.h
 *		The summary of a controlled test: its arms' counts and moments.
 */
#ifndef LOYALTY_UPLIFT_H
#define LOYALTY_UPLIFT_H

#include "metrics/sum.h"
#include "metrics/summary.h"

/*
 * A name is at most UPLIFT_NAME - 1 bytes.  So many arms still fit in a page,
 * as the value of a type with STORAGE plain must.
 */
#define UPLIFT_NAME			64
#define UPLIFT_MAX_ARMS		32

/* What the arms of a boolean are called. */
#define UPLIFT_CONTROL		"control"
#define UPLIFT_TREATED		"treated"

/* Count, sum, and sum of the squares about the mean. */
typedef struct Moments
{
	int64		n;
	Sum			sum;
	Sum			squares;
} Moments;

/*
 * Rows with a covariate are kept apart from those without: either kind costs
 * one update a row, and what concerns all rows is put together when it is read.
 */
typedef struct UpliftArm
{
	char		name[UPLIFT_NAME];	/* filled up with zeros */
	int64		others;			/* outcomes that are neither 0 nor 1 */
	Moments		alone;			/* outcomes of the rows without a covariate */
	Moments		paired;			/* of those with one */
	Sum			covariate;		/* the covariate's sum, squares and products */
	Sum			covariate_squares;
	Sum			products;
} UpliftArm;

typedef struct UpliftSummary
{
	SummaryHeader header;
	int64		narms;
	UpliftArm	arm[FLEXIBLE_ARRAY_MEMBER]; /* by name, none empty */
} UpliftSummary;

/* The argument, in place: the type's storage is plain. */
extern UpliftSummary *uplift_get_arg(FunctionCallInfo fcinfo, int argno);

/* The arm that a text argument names; NULL if it has no rows. */
extern const UpliftArm *uplift_find_arm(const UpliftSummary *summary, FunctionCallInfo fcinfo,
										int argno);

/* to and from together (Chan, Golub & LeVeque 1983) */
extern void moments_merge(Moments *to, const Moments *from);

static inline double
moments_mean(const Moments *m)
{
	return sum_total(m->sum) / (double) m->n;
}

/* All outcomes of an arm. */
static inline Moments
uplift_outcomes(const UpliftArm *arm)
{
	Moments		all = arm->paired;

	moments_merge(&all, &arm->alone);
	return all;
}

/* How many of outcomes that are all 0 or 1 are 1; a double may round a huge count up. */
static inline int64
uplift_conversions(const Moments *all)
{
	double		conversions = sum_total(all->sum);

	return conversions >= (double) all->n ? all->n : (int64) conversions;
}

#endif							/* LOYALTY_UPLIFT_H */
