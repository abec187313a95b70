/*
 * tally.h
 *		Summaries that are a few counts and a few sums of doubles:
 *		wallet_summary, upsell_summary.
 *
 * The state of such an aggregate is the summary itself, changed in place.  Its
 * sums are compensated; a finished value holds their totals only.  The functions
 * below are the bodies of the SQL-callable ones; they take the type's TallyType.
 */
#ifndef LOYALTY_TALLY_H
#define LOYALTY_TALLY_H

#include "metrics/sum.h"
#include "metrics/summary.h"

#define TALLY_FIELDS	3

typedef struct Tally
{
	SummaryHeader header;
	int64		count[TALLY_FIELDS];	/* the first one is of the rows */
	Sum			sum[TALLY_FIELDS];
} Tally;

typedef struct TallyType
{
	const char *name;
	uint8		version;
	int			ncounts;
	const char *counts[TALLY_FIELDS];
	int			nsums;
	const char *sums[TALLY_FIELDS];

	/*
	 * No count is negative here, and no sum infinite or NaN.  What is wrong with
	 * them all the same, as a sentence; NULL if nothing is.
	 */
	const char *(*contradiction) (const Tally *tally);
} TallyType;

/* The argument, in place: the types' storage is plain. */
extern Tally *tally_get_arg(FunctionCallInfo fcinfo, int argno, const TallyType *type);

/* The state to write to: the executor's own, or a copy of what SQL passed. */
extern Tally *tally_get_state(FunctionCallInfo fcinfo, const TallyType *type);

extern Datum tally_in(FunctionCallInfo fcinfo, const TallyType *type);
extern Datum tally_out(FunctionCallInfo fcinfo, const TallyType *type);
extern Datum tally_recv(FunctionCallInfo fcinfo, const TallyType *type);
extern Datum tally_send(FunctionCallInfo fcinfo, const TallyType *type);

/* For parallel workers and rollup(). */
extern Datum tally_add(FunctionCallInfo fcinfo, const TallyType *type);

/* A copy; NULL if there were no rows. */
extern Datum tally_final(FunctionCallInfo fcinfo, const TallyType *type);

extern Datum tally_count(FunctionCallInfo fcinfo, const TallyType *type, int field);
extern Datum tally_sum(FunctionCallInfo fcinfo, const TallyType *type, int field);

/* a / b as float8, NULL if b is 0 */
extern Datum tally_ratio(FunctionCallInfo fcinfo, double a, double b);

#endif							/* LOYALTY_TALLY_H */
