/*
 * summary.h
 *		What the typed summaries of the metrics have in common.
 *
 * A summary is a varlena that starts with SummaryHeader, so a later release can
 * add fields at its end under a new version and still read the old values.  Its
 * text is a list of named fields, "(promoters:10,passives:3,detractors:2)", in
 * any order on input: fields that a later release adds are optional there.  Its
 * binary form starts with the version byte.
 *
 * The types are declared STORAGE plain where the summary is an aggregate's
 * state: such a datum is never toasted nor given a short header, wherever it
 * was kept, and can be read in place.
 */
#ifndef LOYALTY_SUMMARY_H
#define LOYALTY_SUMMARY_H

#include "fmgr.h"
#include "lib/stringinfo.h"
#include "nodes/execnodes.h"

typedef struct SummaryHeader
{
	int32		vl_len_;		/* varlena header (do not touch directly!) */
	uint8		version;
	uint8		flags;			/* the type's own */
	uint16		unused;			/* zero: values are compared as bytes */
} SummaryHeader;

/* Zeroed memory with the header filled in. */
extern void *summary_alloc(Size size, uint8 version);

/* Throws unless the value was written by a release this one can read. */
extern void summary_check_version(const SummaryHeader *header, uint8 newest, const char *type);

/* ----- text ----- */

typedef struct SummaryField
{
	const char *name;
	bool		required;
	char	   *value;			/* found by summary_parse; NULL if absent */
} SummaryField;

/*
 * These report through escontext where the server has soft errors and return
 * false.
 */
extern bool summary_parse(const char *text, const char *type,
						  SummaryField *fields, int nfields, Node *escontext);
extern bool summary_read_count(const SummaryField *field, const char *type,
							   int64 *result, Node *escontext);
extern bool summary_read_float8(const SummaryField *field, const char *type,
								float8 *result, Node *escontext);

/* Another type's input function, with our error context.  False after a soft error. */
extern bool summary_read_value(PGFunction input, char *text, Node *escontext, Datum *result);

/* The shortest text that reads back as the same number, whatever extra_float_digits says. */
extern char *summary_float8_text(float8 value);

extern void summary_put(StringInfo buf, const char *name, const char *value);
extern void summary_put_count(StringInfo buf, const char *name, int64 value);
extern void summary_put_float8(StringInfo buf, const char *name, float8 value);
extern char *summary_finish(StringInfo buf);

/* ----- binary ----- */

extern void summary_begin_send(StringInfo buf, uint8 version);
extern uint8 summary_begin_recv(StringInfo buf, uint8 newest, const char *type);

/* ----- reading ----- */

/* An accessor's argument that says how sure its interval is to be. */
extern double summary_confidence(FunctionCallInfo fcinfo, int argno);

/* ----- counts ----- */

/* Only who calls an inverse transition function by hand meets it. */
#define summary_not_added(type) \
	ereport(ERROR, \
			(errcode(ERRCODE_LY_INVALID_METRIC), \
			 errmsg("%s to subtract is not part of the other", type)))

#define summary_overflow(type) \
	ereport(ERROR, \
			(errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE), \
			 errmsg("%s out of range", type)))

/*
 * May the first argument be changed in place?  True in an aggregate's own
 * support functions: their first argument is the state that the executor keeps.
 * Called straight from SQL it may be a constant or lie in a table's page.
 * This is AggCheckCallContext() without the call, for it is asked for each row.
 */
static inline bool
summary_owns_state(FunctionCallInfo fcinfo)
{
	return fcinfo->context != NULL &&
		(IsA(fcinfo->context, AggState) || IsA(fcinfo->context, WindowAggState));
}

#endif							/* LOYALTY_SUMMARY_H */
