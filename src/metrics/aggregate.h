/*
 * aggregate.h
 *		What aggregates with a state of type internal do alike.
 */
#ifndef LOYALTY_AGGREGATE_H
#define LOYALTY_AGGREGATE_H

#include "fmgr.h"
#include "libpq/pqformat.h"

/* Where the state lives.  Also the guard of functions that only an aggregate may call. */
static inline MemoryContext
aggregate_context(FunctionCallInfo fcinfo)
{
	MemoryContext context;

	if (!AggCheckCallContext(fcinfo, &context))
		elog(ERROR, "aggregate function called in non-aggregate context");
	return context;
}

/* What a function on the state alone is given; NULL: the aggregate had no row. */
static inline void *
aggregate_state(FunctionCallInfo fcinfo)
{
	(void) aggregate_context(fcinfo);
	return PG_ARGISNULL(0) ? NULL : PG_GETARG_POINTER(0);
}

/* The result for a row that is skipped: the state as it came, NULL at first. */
static inline Datum
aggregate_unchanged(FunctionCallInfo fcinfo)
{
	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();
	PG_RETURN_DATUM(PG_GETARG_DATUM(0));
}

/* What a "any" argument is in this call. */
static inline Oid
aggregate_argument_type(FunctionCallInfo fcinfo, int argno)
{
	Oid			type = get_fn_expr_argtype(fcinfo->flinfo, argno);

	if (!OidIsValid(type))
		elog(ERROR, "could not determine the type of argument %d", argno);
	return type;
}

/*
 * Serialized states go from process to process within one query; the version
 * is checked all the same, for a node of another release may take part.
 */
static inline void
aggregate_begin_send(StringInfo buf, uint8 version)
{
	pq_begintypsend(buf);
	pq_sendbyte(buf, version);
}

/* Of the state in the first argument; the bytes stay where they are. */
static inline void
aggregate_begin_recv(FunctionCallInfo fcinfo, StringInfo buf, uint8 version)
{
	bytea	   *bytes = PG_GETARG_BYTEA_PP(0);

	buf->data = VARDATA_ANY(bytes);
	buf->len = VARSIZE_ANY_EXHDR(bytes);
	buf->maxlen = buf->len;
	buf->cursor = 0;
	if (pq_getmsgbyte(buf) != version)
		elog(ERROR, "unexpected version of a serialized aggregate state");
}

#endif							/* LOYALTY_AGGREGATE_H */
