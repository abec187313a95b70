/*
 * tally.c
 *		Summaries that are a few counts and a few sums: I/O, checks, addition.
 */
#include "postgres.h"

#include <math.h>

#include "common/int.h"
#include "libpq/pqformat.h"
#include "utils/float.h"

#include "base/compat.h"
#include "base/errors.h"
#include "metrics/tally.h"

Tally *
tally_get_arg(FunctionCallInfo fcinfo, int argno, const TallyType *type)
{
	Tally	   *tally = (Tally *) PG_GETARG_POINTER(argno);

	summary_check_version(&tally->header, type->version, type->name);
	return tally;
}

static Tally *
copy_tally(const Tally *tally)
{
	Tally	   *copy = palloc(sizeof(Tally));

	memcpy(copy, tally, sizeof(Tally));
	return copy;
}

Tally *
tally_get_state(FunctionCallInfo fcinfo, const TallyType *type)
{
	Tally	   *tally = tally_get_arg(fcinfo, 0, type);

	return summary_owns_state(fcinfo) ? tally : copy_tally(tally);
}

/* What each sum comes to: no two zeros, since values are compared as bytes. */
static void
fold_sums(Tally *tally)
{
	for (int i = 0; i < TALLY_FIELDS; i++)
		tally->sum[i] = (Sum) {sum_total(tally->sum[i]) + 0.0, 0.0};
}

static const char *
contradiction(const TallyType *type, const Tally *tally)
{
	for (int i = 0; i < type->ncounts; i++)
	{
		if (tally->count[i] < 0)
			return "A count must not be negative.";
	}
	for (int i = 0; i < type->nsums; i++)
	{
		if (!isfinite(tally->sum[i].high))
			return "Sums must be finite.";
		if (tally->count[0] == 0 && tally->sum[i].high != 0.0)
			return "The sum of no rows is 0.";
	}
	return type->contradiction(tally);
}

/* False after a soft error. */
static bool
check_tally(const TallyType *type, Tally *tally, Node *escontext)
{
	const char *detail;

	fold_sums(tally);
	detail = contradiction(type, tally);
	if (detail != NULL)
		ereturn(escontext, false,
				(errcode(ERRCODE_LY_INVALID_METRIC),
				 errmsg("invalid %s", type->name),
				 errdetail("%s", detail)));
	return true;
}

Datum
tally_in(FunctionCallInfo fcinfo, const TallyType *type)
{
	Node	   *escontext = fcinfo->context;
	Tally	   *tally = summary_alloc(sizeof(Tally), type->version);
	SummaryField fields[2 * TALLY_FIELDS];

	for (int i = 0; i < type->ncounts; i++)
		fields[i] = (SummaryField) {.name = type->counts[i], .required = true};
	for (int i = 0; i < type->nsums; i++)
		fields[type->ncounts + i] = (SummaryField) {.name = type->sums[i], .required = true};

	if (!summary_parse(PG_GETARG_CSTRING(0), type->name, fields, type->ncounts + type->nsums,
					   escontext))
		PG_RETURN_NULL();
	for (int i = 0; i < type->ncounts; i++)
	{
		if (!summary_read_count(&fields[i], type->name, &tally->count[i], escontext))
			PG_RETURN_NULL();
	}
	for (int i = 0; i < type->nsums; i++)
	{
		if (!summary_read_float8(&fields[type->ncounts + i], type->name, &tally->sum[i].high,
								 escontext))
			PG_RETURN_NULL();
	}
	if (!check_tally(type, tally, escontext))
		PG_RETURN_NULL();
	PG_RETURN_POINTER(tally);
}

Datum
tally_out(FunctionCallInfo fcinfo, const TallyType *type)
{
	Tally	   *tally = tally_get_arg(fcinfo, 0, type);
	StringInfoData buf;

	initStringInfo(&buf);
	for (int i = 0; i < type->ncounts; i++)
		summary_put_count(&buf, type->counts[i], tally->count[i]);
	for (int i = 0; i < type->nsums; i++)
		summary_put_float8(&buf, type->sums[i], sum_total(tally->sum[i]) + 0.0);
	PG_RETURN_CSTRING(summary_finish(&buf));
}

Datum
tally_recv(FunctionCallInfo fcinfo, const TallyType *type)
{
	StringInfo	buf = (StringInfo) PG_GETARG_POINTER(0);
	Tally	   *tally = summary_alloc(sizeof(Tally), type->version);

	(void) summary_begin_recv(buf, type->version, type->name);
	for (int i = 0; i < type->ncounts; i++)
		tally->count[i] = pq_getmsgint64(buf);
	for (int i = 0; i < type->nsums; i++)
		tally->sum[i].high = pq_getmsgfloat8(buf);
	(void) check_tally(type, tally, NULL);
	PG_RETURN_POINTER(tally);
}

Datum
tally_send(FunctionCallInfo fcinfo, const TallyType *type)
{
	Tally	   *tally = tally_get_arg(fcinfo, 0, type);
	StringInfoData buf;

	summary_begin_send(&buf, type->version);
	for (int i = 0; i < type->ncounts; i++)
		pq_sendint64(&buf, tally->count[i]);
	for (int i = 0; i < type->nsums; i++)
		pq_sendfloat8(&buf, sum_total(tally->sum[i]) + 0.0);
	PG_RETURN_BYTEA_P(pq_endtypsend(&buf));
}

Datum
tally_add(FunctionCallInfo fcinfo, const TallyType *type)
{
	Tally	   *state = tally_get_state(fcinfo, type);
	Tally	   *other = tally_get_arg(fcinfo, 1, type);

	for (int i = 0; i < type->ncounts; i++)
	{
		if (pg_add_s64_overflow(state->count[i], other->count[i], &state->count[i]))
			summary_overflow(type->name);
	}
	for (int i = 0; i < type->nsums; i++)
		sum_add_sum(&state->sum[i], other->sum[i]);
	PG_RETURN_POINTER(state);
}

Datum
tally_final(FunctionCallInfo fcinfo, const TallyType *type)
{
	Tally	   *tally = tally_get_arg(fcinfo, 0, type);

	if (tally->count[0] == 0)
		PG_RETURN_NULL();
	tally = copy_tally(tally);
	fold_sums(tally);
	for (int i = 0; i < type->nsums; i++)
	{
		if (!isfinite(tally->sum[i].high))
			summary_overflow(type->name);
	}
	PG_RETURN_POINTER(tally);
}

Datum
tally_count(FunctionCallInfo fcinfo, const TallyType *type, int field)
{
	PG_RETURN_INT64(tally_get_arg(fcinfo, 0, type)->count[field]);
}

Datum
tally_sum(FunctionCallInfo fcinfo, const TallyType *type, int field)
{
	PG_RETURN_FLOAT8(sum_total(tally_get_arg(fcinfo, 0, type)->sum[field]));
}

Datum
tally_ratio(FunctionCallInfo fcinfo, double a, double b)
{
	double		ratio = a / b;

	if (b == 0.0)
		PG_RETURN_NULL();
	if (!isfinite(ratio))
		float_overflow_error();
	PG_RETURN_FLOAT8(ratio);
}
