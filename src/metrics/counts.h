/*
 * counts.h
 *		Summaries that are a few counts: nps_summary, repeat_summary,
 *		retention_summary and others.
 *
 * All that such a type needs is the same but for its names and its rule of what
 * counts go together.  The functions below are the bodies of the SQL-callable
 * ones; they take the type's CountsType.
 */
#ifndef LOYALTY_COUNTS_H
#define LOYALTY_COUNTS_H

#include "metrics/summary.h"

#define COUNTS_MAX			4

typedef struct Counts
{
	SummaryHeader header;
	int64		count[FLEXIBLE_ARRAY_MEMBER];
} Counts;

typedef struct CountsType
{
	const char *name;
	uint8		version;
	const char *fields[COUNTS_MAX + 1];	/* up to a NULL */

	/* No count is negative here.  Reports through escontext, and is false, if they contradict. */
	bool		(*check) (const int64 *count, Node *escontext);
} CountsType;

/* The one door: checks, then a new value; NULL after a soft error. */
extern Counts *counts_make(const CountsType *type, const int64 *count, Node *escontext);

/* The argument, in place: the types' storage is plain. */
extern Counts *counts_get_arg(FunctionCallInfo fcinfo, int argno, const CountsType *type);

extern Datum counts_in(FunctionCallInfo fcinfo, const CountsType *type);
extern Datum counts_out(FunctionCallInfo fcinfo, const CountsType *type);
extern Datum counts_recv(FunctionCallInfo fcinfo, const CountsType *type);
extern Datum counts_send(FunctionCallInfo fcinfo, const CountsType *type);

/* The constructor from as many bigints. */
extern Datum counts_from_args(FunctionCallInfo fcinfo, const CountsType *type);

/*
 * State and summary are one type: adding a summary to the state serves rollup()
 * and parallel workers, taking one away moving frames.  Final is a copy, for a
 * window's state goes on changing, and NULL if nothing was counted.
 */
extern Datum counts_add(FunctionCallInfo fcinfo, const CountsType *type);
extern Datum counts_subtract(FunctionCallInfo fcinfo, const CountsType *type);
extern Datum counts_final(FunctionCallInfo fcinfo, const CountsType *type);

extern Datum counts_field(FunctionCallInfo fcinfo, const CountsType *type, int field);

/* a / b as float8, NULL if b is 0 */
extern Datum counts_ratio(FunctionCallInfo fcinfo, int64 a, int64 b);

#endif							/* LOYALTY_COUNTS_H */
