/*
 * rows.h
 *		Numbers for the distinct values among many doubles.
 */
#ifndef LOYALTY_ROWS_H
#define LOYALTY_ROWS_H

#include <stdint.h>

#include "models/math.h"

/* All zero at first; its memory is malloc'd and its own. */
typedef struct Dictionary
{
	uint32_t	n;
	uint32_t	capacity;
	double	   *value;			/* in the order of their first coming, ascending in the end */
	uint32_t   *rank;			/* then: which in that order is the one that came so-many-th */
	uint32_t   *slot;			/* number of a value + 1, or 0: open addressing */
	int			log_slots;		/* there are twice the capacity */
} Dictionary;

/* Sets how many other values came before this one first did; false without memory. */
extern bool dictionary_number(Dictionary *dictionary, double value, uint32_t *number);

/* No values come any more: puts them in order, and sets their ranks. */
extern MathStatus dictionary_sort(Dictionary *dictionary, FitPoll poll, void *poll_arg);

extern void dictionary_free(Dictionary *dictionary);

#endif							/* LOYALTY_ROWS_H */
