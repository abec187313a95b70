/*
 * sum.h
 *		Compensated sums of doubles (Neumaier 1974): what each addition rounds
 *		away is kept beside the sum, so that the total depends on the order of
 *		the rows, and on how workers share them, only in its last bit or so.
 */
#ifndef LOYALTY_SUM_H
#define LOYALTY_SUM_H

#include <math.h>

typedef struct Sum
{
	double		high;
	double		low;			/* what high has lost */
} Sum;

static inline void
sum_add(Sum *sum, double value)
{
	double		total = sum->high + value;

	if (fabs(sum->high) >= fabs(value))
		sum->low += (sum->high - total) + value;
	else
		sum->low += (value - total) + sum->high;
	sum->high = total;
}

static inline void
sum_add_sum(Sum *sum, Sum other)
{
	sum_add(sum, other.high);
	sum->low += other.low;
}

static inline double
sum_total(Sum sum)
{
	return sum.high + sum.low;
}

#endif							/* LOYALTY_SUM_H */
