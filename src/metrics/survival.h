/*
 * survival.h
 *		survival_summary: how long something lasted, and how often the end was not seen.
 */
#ifndef LOYALTY_SURVIVAL_H
#define LOYALTY_SURVIVAL_H

#include "metrics/summary.h"

/* What happened at one duration: those that ended, and those that were still there. */
typedef struct SurvivalPoint
{
	float8		time;
	int64		events;
	int64		censored;
} SurvivalPoint;

typedef struct SurvivalSummary
{
	SummaryHeader header;
	int32		npoints;
	int32		unused;			/* zero: values are compared as bytes */
	SurvivalPoint points[FLEXIBLE_ARRAY_MEMBER];	/* by time, ascending, each once */
} SurvivalSummary;

/* From points in any order, which are sorted and merged in place.  NULL after a soft error. */
extern SurvivalSummary *survival_make(SurvivalPoint *points, Size npoints, Node *escontext);

#endif							/* LOYALTY_SURVIVAL_H */
