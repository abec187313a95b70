/*
 * counts.c
 *		Summaries that are a few counts: I/O, checks, addition.
 */
#include "postgres.h"

#include "common/int.h"
#include "libpq/pqformat.h"

#include "base/compat.h"
#include "base/errors.h"
#include "metrics/counts.h"

static int
number_of(const CountsType *type)
{
	int			n = 0;

	while (type->fields[n] != NULL)
		n++;
	return n;
}

static bool
check_counts(const CountsType *type, const int64 *count, Node *escontext)
{
	for (int i = 0; type->fields[i] != NULL; i++)
	{
		if (count[i] < 0)
			ereturn(escontext, false,
					(errcode(ERRCODE_LY_INVALID_METRIC),
					 errmsg("invalid %s", type->name),
					 errdetail("The count \"%s\" is negative: " INT64_FORMAT ".",
							   type->fields[i], count[i])));
	}
	return type->check(count, escontext);
}

Counts *
counts_make(const CountsType *type, const int64 *count, Node *escontext)
{
	Size		size = number_of(type) * sizeof(int64);
	Counts	   *counts;

	if (!check_counts(type, count, escontext))
		return NULL;
	counts = summary_alloc(offsetof(Counts, count) + size, type->version);
	memcpy(counts->count, count, size);
	return counts;
}

Counts *
counts_get_arg(FunctionCallInfo fcinfo, int argno, const CountsType *type)
{
	Counts	   *counts = (Counts *) PG_GETARG_POINTER(argno);

	summary_check_version(&counts->header, type->version, type->name);
	return counts;
}

Datum
counts_in(FunctionCallInfo fcinfo, const CountsType *type)
{
	Node	   *escontext = fcinfo->context;
	SummaryField fields[COUNTS_MAX];
	int64		count[COUNTS_MAX];

	for (int i = 0; type->fields[i] != NULL; i++)
		fields[i] = (SummaryField) {.name = type->fields[i], .required = true};

	if (!summary_parse(PG_GETARG_CSTRING(0), type->name, fields, number_of(type), escontext))
		PG_RETURN_NULL();
	for (int i = 0; type->fields[i] != NULL; i++)
	{
		if (!summary_read_count(&fields[i], type->name, &count[i], escontext))
			PG_RETURN_NULL();
	}
	PG_RETURN_POINTER(counts_make(type, count, escontext));
}

Datum
counts_out(FunctionCallInfo fcinfo, const CountsType *type)
{
	Counts	   *counts = counts_get_arg(fcinfo, 0, type);
	StringInfoData buf;

	initStringInfo(&buf);
	for (int i = 0; type->fields[i] != NULL; i++)
		summary_put_count(&buf, type->fields[i], counts->count[i]);
	PG_RETURN_CSTRING(summary_finish(&buf));
}

Datum
counts_recv(FunctionCallInfo fcinfo, const CountsType *type)
{
	StringInfo	buf = (StringInfo) PG_GETARG_POINTER(0);
	int64		count[COUNTS_MAX];

	(void) summary_begin_recv(buf, type->version, type->name);
	for (int i = 0; type->fields[i] != NULL; i++)
		count[i] = pq_getmsgint64(buf);
	PG_RETURN_POINTER(counts_make(type, count, NULL));
}

Datum
counts_send(FunctionCallInfo fcinfo, const CountsType *type)
{
	Counts	   *counts = counts_get_arg(fcinfo, 0, type);
	StringInfoData buf;

	summary_begin_send(&buf, type->version);
	for (int i = 0; type->fields[i] != NULL; i++)
		pq_sendint64(&buf, counts->count[i]);
	PG_RETURN_BYTEA_P(pq_endtypsend(&buf));
}

Datum
counts_from_args(FunctionCallInfo fcinfo, const CountsType *type)
{
	int64		count[COUNTS_MAX];

	for (int i = 0; type->fields[i] != NULL; i++)
		count[i] = PG_GETARG_INT64(i);
	PG_RETURN_POINTER(counts_make(type, count, NULL));
}

/* The state to write to: the executor's own, or a copy of what SQL passed. */
static Counts *
get_state(FunctionCallInfo fcinfo, const CountsType *type)
{
	Counts	   *counts = counts_get_arg(fcinfo, 0, type);

	return summary_owns_state(fcinfo) ? counts : counts_make(type, counts->count, NULL);
}

Datum
counts_add(FunctionCallInfo fcinfo, const CountsType *type)
{
	Counts	   *state = get_state(fcinfo, type);
	Counts	   *other = counts_get_arg(fcinfo, 1, type);

	for (int i = 0; type->fields[i] != NULL; i++)
	{
		if (pg_add_s64_overflow(state->count[i], other->count[i], &state->count[i]))
			summary_overflow(type->name);
	}
	(void) check_counts(type, state->count, NULL);
	PG_RETURN_POINTER(state);
}

Datum
counts_subtract(FunctionCallInfo fcinfo, const CountsType *type)
{
	Counts	   *state = get_state(fcinfo, type);
	Counts	   *other = counts_get_arg(fcinfo, 1, type);

	for (int i = 0; type->fields[i] != NULL; i++)
		state->count[i] -= other->count[i];
	(void) check_counts(type, state->count, NULL);
	PG_RETURN_POINTER(state);
}

Datum
counts_final(FunctionCallInfo fcinfo, const CountsType *type)
{
	Counts	   *state = counts_get_arg(fcinfo, 0, type);

	for (int i = 0; type->fields[i] != NULL; i++)
	{
		if (state->count[i] != 0)
			PG_RETURN_POINTER(counts_make(type, state->count, NULL));
	}
	PG_RETURN_NULL();
}

Datum
counts_field(FunctionCallInfo fcinfo, const CountsType *type, int field)
{
	PG_RETURN_INT64(counts_get_arg(fcinfo, 0, type)->count[field]);
}

Datum
counts_ratio(FunctionCallInfo fcinfo, int64 a, int64 b)
{
	if (b == 0)
		PG_RETURN_NULL();
	PG_RETURN_FLOAT8((double) a / (double) b);
}
