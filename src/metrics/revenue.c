/*
 * revenue.c
 *		Net and gross revenue retention: what the customers of one period are worth
 *		in a later one, and what it was made of.
 *
 * A row is a customer with the revenue of both periods.  Those with none at the start
 * are new and stay out of both rates.  For the others
 *
 *		end = start + expansion - contraction - churned
 *
 * where churned is the start revenue of those with none at the end.  Money is numeric
 * and exact: the sums are core's own accumulators, built by numeric_avg_accum() and
 * read by numeric_sum(), which are called with our fcinfo's context.  They live in the
 * aggregate's memory, as the state does.
 */
#include "postgres.h"

#include "common/int.h"
#include "libpq/pqformat.h"
#include "utils/builtins.h"
#include "utils/numeric.h"

#include "base/compat.h"
#include "base/errors.h"
#include "metrics/aggregate.h"
#include "metrics/numeric.h"
#include "metrics/summary.h"

#define SUMMARY_TYPE		"revenue_summary"
#define SUMMARY_VERSION		1
#define STATE_VERSION		1

enum
{
	CUSTOMERS,					/* with revenue at the start */
	RETAINED,					/* and at the end */
	ACQUIRED,					/* with revenue at the end only */
	NCOUNTS
};

enum
{
	START,
	EXPANSION,
	CONTRACTION,
	CHURNED,
	NEW_REVENUE,
	NAMOUNTS
};

static const char *const count_names[NCOUNTS] = {"customers", "retained", "new_customers"};
static const char *const amount_names[NAMOUNTS] = {
	"start", "expansion", "contraction", "churned", "new_revenue"
};

typedef struct RevenueSummary
{
	SummaryHeader header;
	int64		count[NCOUNTS];
	char		amounts[FLEXIBLE_ARRAY_MEMBER]; /* numerics without trailing zeros, one after the other */
} RevenueSummary;

typedef struct RevenueState
{
	int64		count[NCOUNTS];
	void	   *sum[NAMOUNTS];	/* core's; NULL if nothing was added */
} RevenueState;

PG_FUNCTION_INFO_V1(loyalty_revenue_in);
PG_FUNCTION_INFO_V1(loyalty_revenue_out);
PG_FUNCTION_INFO_V1(loyalty_revenue_recv);
PG_FUNCTION_INFO_V1(loyalty_revenue_send);
PG_FUNCTION_INFO_V1(loyalty_revenue_accum);
PG_FUNCTION_INFO_V1(loyalty_revenue_accum_summary);
PG_FUNCTION_INFO_V1(loyalty_revenue_combine);
PG_FUNCTION_INFO_V1(loyalty_revenue_serialize);
PG_FUNCTION_INFO_V1(loyalty_revenue_deserialize);
PG_FUNCTION_INFO_V1(loyalty_revenue_final);
PG_FUNCTION_INFO_V1(loyalty_revenue_final_net);
PG_FUNCTION_INFO_V1(loyalty_revenue_final_gross);
PG_FUNCTION_INFO_V1(loyalty_revenue_customers);
PG_FUNCTION_INFO_V1(loyalty_revenue_retained);
PG_FUNCTION_INFO_V1(loyalty_revenue_new_customers);
PG_FUNCTION_INFO_V1(loyalty_revenue_start);
PG_FUNCTION_INFO_V1(loyalty_revenue_end);
PG_FUNCTION_INFO_V1(loyalty_revenue_expansion);
PG_FUNCTION_INFO_V1(loyalty_revenue_contraction);
PG_FUNCTION_INFO_V1(loyalty_revenue_churned);
PG_FUNCTION_INFO_V1(loyalty_revenue_new);
PG_FUNCTION_INFO_V1(loyalty_revenue_net);
PG_FUNCTION_INFO_V1(loyalty_revenue_gross);
PG_FUNCTION_INFO_V1(loyalty_revenue_net_churn);
PG_FUNCTION_INFO_V1(loyalty_revenue_gross_churn);
PG_FUNCTION_INFO_V1(loyalty_revenue_logo);


static inline int
sign(Numeric number)
{
	return compare(number, int64_to_numeric(0));
}


/* ----- the value ----- */

static RevenueSummary *
get_summary(FunctionCallInfo fcinfo, int argno)
{
	RevenueSummary *summary = (RevenueSummary *) PG_DETOAST_DATUM(PG_GETARG_DATUM(argno));

	summary_check_version(&summary->header, SUMMARY_VERSION, SUMMARY_TYPE);
	return summary;
}

static Numeric
amount_of(const RevenueSummary *summary, int which)
{
	const char *p = summary->amounts;

	while (which-- > 0)
		p += INTALIGN(VARSIZE(p));
	return (Numeric) p;
}

/* The one validator: every summary comes from here. */
static RevenueSummary *
make_summary(const int64 *count, Numeric *amount, Node *escontext)
{
	RevenueSummary *summary;
	const char *detail = NULL;
	Size		size = offsetof(RevenueSummary, amounts);
	char	   *p;

	for (int i = 0; i < NCOUNTS && detail == NULL; i++)
	{
		if (count[i] < 0)
			detail = "A count must not be negative.";
	}
	for (int i = 0; i < NAMOUNTS && detail == NULL; i++)
	{
		if (!is_finite(amount[i]) || sign(amount[i]) < 0)
			detail = "An amount must be finite and not negative.";
	}
	if (detail != NULL)
		;
	else if (count[RETAINED] > count[CUSTOMERS])
		detail = "The customers retained are some of those at the start.";
	else if ((count[CUSTOMERS] > 0) != (sign(amount[START]) > 0) ||
			 (count[ACQUIRED] > 0) != (sign(amount[NEW_REVENUE]) > 0) ||
			 (count[RETAINED] < count[CUSTOMERS]) != (sign(amount[CHURNED]) > 0))
		detail = "Customers of a kind are there if, and only if, there is revenue of that kind.";
	else if (count[RETAINED] == 0 &&
			 (sign(amount[EXPANSION]) > 0 || sign(amount[CONTRACTION]) > 0 ||
			  compare(amount[CHURNED], amount[START]) != 0))
		detail = "Where nobody is retained all revenue is churned.";
	else if (count[RETAINED] > 0 &&
			 compare(add(amount[CONTRACTION], amount[CHURNED]), amount[START]) >= 0)
		detail = "Less can't be left than nothing.";
	if (detail != NULL)
		ereturn(escontext, NULL,
				(errcode(ERRCODE_LY_INVALID_METRIC),
				 errmsg("invalid %s", SUMMARY_TYPE),
				 errdetail("%s", detail)));

	/* One form for one value: 1.50 is 1.5. */
	for (int i = 0; i < NAMOUNTS; i++)
	{
		amount[i] = DatumGetNumeric(DirectFunctionCall1(numeric_trim_scale,
														NumericGetDatum(amount[i])));
		size += INTALIGN(VARSIZE(amount[i]));
	}
	summary = summary_alloc(size, SUMMARY_VERSION);
	memcpy(summary->count, count, sizeof(summary->count));
	p = summary->amounts;
	for (int i = 0; i < NAMOUNTS; i++)
	{
		memcpy(p, amount[i], VARSIZE(amount[i]));
		p += INTALIGN(VARSIZE(amount[i]));
	}
	return summary;
}

/* numeric_in with our error context; NULL after a soft error. */
static Numeric
read_amount(char *text, Node *escontext)
{
	Datum		amount;

	return summary_read_value(numeric_in, text, escontext, &amount) ? DatumGetNumeric(amount) : NULL;
}

Datum
loyalty_revenue_in(PG_FUNCTION_ARGS)
{
	Node	   *escontext = fcinfo->context;
	SummaryField fields[NCOUNTS + NAMOUNTS];
	int64		count[NCOUNTS];
	Numeric		amount[NAMOUNTS];

	for (int i = 0; i < NCOUNTS + NAMOUNTS; i++)
		fields[i] = (SummaryField)
	{
		.name = i < NCOUNTS ? count_names[i] : amount_names[i - NCOUNTS],.required = true
	};
	if (!summary_parse(PG_GETARG_CSTRING(0), SUMMARY_TYPE, fields, lengthof(fields), escontext))
		PG_RETURN_NULL();
	for (int i = 0; i < NCOUNTS; i++)
	{
		if (!summary_read_count(&fields[i], SUMMARY_TYPE, &count[i], escontext))
			PG_RETURN_NULL();
	}
	for (int i = 0; i < NAMOUNTS; i++)
	{
		amount[i] = read_amount(fields[NCOUNTS + i].value, escontext);
		if (amount[i] == NULL)
			PG_RETURN_NULL();
	}
	PG_RETURN_POINTER(make_summary(count, amount, escontext));
}

Datum
loyalty_revenue_out(PG_FUNCTION_ARGS)
{
	RevenueSummary *summary = get_summary(fcinfo, 0);
	StringInfoData buf;

	initStringInfo(&buf);
	for (int i = 0; i < NCOUNTS; i++)
		summary_put_count(&buf, count_names[i], summary->count[i]);
	for (int i = 0; i < NAMOUNTS; i++)
		summary_put(&buf, amount_names[i],
					DatumGetCString(DirectFunctionCall1(numeric_out,
														NumericGetDatum(amount_of(summary, i)))));
	PG_RETURN_CSTRING(summary_finish(&buf));
}

Datum
loyalty_revenue_recv(PG_FUNCTION_ARGS)
{
	StringInfo	buf = (StringInfo) PG_GETARG_POINTER(0);
	int64		count[NCOUNTS];
	Numeric		amount[NAMOUNTS];

	(void) summary_begin_recv(buf, SUMMARY_VERSION, SUMMARY_TYPE);
	for (int i = 0; i < NCOUNTS; i++)
		count[i] = pq_getmsgint64(buf);
	for (int i = 0; i < NAMOUNTS; i++)
		amount[i] = DatumGetNumeric(DirectFunctionCall3(numeric_recv, PointerGetDatum(buf),
														ObjectIdGetDatum(InvalidOid),
														Int32GetDatum(-1)));
	PG_RETURN_POINTER(make_summary(count, amount, NULL));
}

Datum
loyalty_revenue_send(PG_FUNCTION_ARGS)
{
	RevenueSummary *summary = get_summary(fcinfo, 0);
	StringInfoData buf;

	summary_begin_send(&buf, SUMMARY_VERSION);
	for (int i = 0; i < NCOUNTS; i++)
		pq_sendint64(&buf, summary->count[i]);
	for (int i = 0; i < NAMOUNTS; i++)
	{
		bytea	   *amount = DatumGetByteaP(DirectFunctionCall1(numeric_send,
																NumericGetDatum(amount_of(summary, i))));

		pq_sendbytes(&buf, VARDATA(amount), VARSIZE(amount) - VARHDRSZ);
	}
	PG_RETURN_BYTEA_P(pq_endtypsend(&buf));
}


/* ----- aggregation ----- */

/* One of core's aggregate support functions, in our aggregate's context. */
static Datum
call_core(FunctionCallInfo fcinfo, PGFunction function, int nargs, Datum first, bool first_is_null,
		  Datum second)
{
	LOCAL_FCINFO(call, 2);

	InitFunctionCallInfoData(*call, NULL, nargs, InvalidOid, fcinfo->context, NULL);
	call->args[0].value = first;
	call->args[0].isnull = first_is_null;
	call->args[1].value = second;
	call->args[1].isnull = false;
	return function(call);
}

static void
add_amount(FunctionCallInfo fcinfo, RevenueState *state, int which, Numeric amount)
{
	state->sum[which] = DatumGetPointer(call_core(fcinfo, numeric_avg_accum, 2,
												  PointerGetDatum(state->sum[which]),
												  state->sum[which] == NULL,
												  NumericGetDatum(amount)));
}

static RevenueState *
get_state(FunctionCallInfo fcinfo)
{
	MemoryContext context = aggregate_context(fcinfo);

	if (!PG_ARGISNULL(0))
		return (RevenueState *) PG_GETARG_POINTER(0);
	return MemoryContextAllocZero(context, sizeof(RevenueState));
}

/* revenue_retention_agg(start amount, end amount): of one customer; NULL is no revenue. */
Datum
loyalty_revenue_accum(PG_FUNCTION_ARGS)
{
	Numeric		start = PG_ARGISNULL(1) ? NULL : PG_GETARG_NUMERIC(1);
	Numeric		end = PG_ARGISNULL(2) ? NULL : PG_GETARG_NUMERIC(2);
	RevenueState *state;
	int			order;

	if (start == NULL && end == NULL)
		return aggregate_unchanged(fcinfo);
	if ((start != NULL && (!is_finite(start) || sign(start) < 0)) ||
		(end != NULL && (!is_finite(end) || sign(end) < 0)))
		ereport(ERROR,
				(errcode(ERRCODE_LY_INVALID_METRIC),
				 errmsg("the revenue of a customer must be finite and not negative"),
				 errhint("Where returns exceed purchases take greatest(sum, 0), or a longer period.")));

	state = get_state(fcinfo);
	if (start == NULL || sign(start) == 0)
	{
		if (end != NULL && sign(end) > 0)
		{
			state->count[ACQUIRED]++;
			add_amount(fcinfo, state, NEW_REVENUE, end);
		}
		PG_RETURN_POINTER(state);
	}

	state->count[CUSTOMERS]++;
	add_amount(fcinfo, state, START, start);
	if (end == NULL || sign(end) == 0)
	{
		add_amount(fcinfo, state, CHURNED, start);
		PG_RETURN_POINTER(state);
	}
	state->count[RETAINED]++;
	order = compare(end, start);
	if (order > 0)
		add_amount(fcinfo, state, EXPANSION, subtract(end, start));
	else if (order < 0)
		add_amount(fcinfo, state, CONTRACTION, subtract(start, end));
	PG_RETURN_POINTER(state);
}

/* rollup(revenue_summary) */
Datum
loyalty_revenue_accum_summary(PG_FUNCTION_ARGS)
{
	RevenueState *state;
	RevenueSummary *summary;

	if (PG_ARGISNULL(1))
		return aggregate_unchanged(fcinfo);
	state = get_state(fcinfo);
	summary = get_summary(fcinfo, 1);
	for (int i = 0; i < NCOUNTS; i++)
	{
		if (pg_add_s64_overflow(state->count[i], summary->count[i], &state->count[i]))
			summary_overflow(SUMMARY_TYPE);
	}
	for (int i = 0; i < NAMOUNTS; i++)
		add_amount(fcinfo, state, i, amount_of(summary, i));
	PG_RETURN_POINTER(state);
}

Datum
loyalty_revenue_combine(PG_FUNCTION_ARGS)
{
	RevenueState *state;
	RevenueState *other;

	(void) aggregate_context(fcinfo);
	if (PG_ARGISNULL(1))
		return aggregate_unchanged(fcinfo);
	state = get_state(fcinfo);
	other = (RevenueState *) PG_GETARG_POINTER(1);
	for (int i = 0; i < NCOUNTS; i++)
	{
		if (pg_add_s64_overflow(state->count[i], other->count[i], &state->count[i]))
			summary_overflow(SUMMARY_TYPE);
	}
	for (int i = 0; i < NAMOUNTS; i++)
	{
		if (other->sum[i] != NULL)
			state->sum[i] = DatumGetPointer(call_core(fcinfo, numeric_avg_combine, 2,
													  PointerGetDatum(state->sum[i]),
													  state->sum[i] == NULL,
													  PointerGetDatum(other->sum[i])));
	}
	PG_RETURN_POINTER(state);
}

Datum
loyalty_revenue_serialize(PG_FUNCTION_ARGS)
{
	RevenueState *state = aggregate_state(fcinfo);
	StringInfoData buf;

	aggregate_begin_send(&buf, STATE_VERSION);
	for (int i = 0; i < NCOUNTS; i++)
		pq_sendint64(&buf, state->count[i]);
	for (int i = 0; i < NAMOUNTS; i++)
	{
		bytea	   *sum;

		pq_sendbyte(&buf, state->sum[i] != NULL);
		if (state->sum[i] == NULL)
			continue;
		sum = DatumGetByteaPP(call_core(fcinfo, numeric_avg_serialize, 1,
										PointerGetDatum(state->sum[i]), false, (Datum) 0));
		pq_sendint32(&buf, VARSIZE_ANY_EXHDR(sum));
		pq_sendbytes(&buf, VARDATA_ANY(sum), VARSIZE_ANY_EXHDR(sum));
	}
	PG_RETURN_BYTEA_P(pq_endtypsend(&buf));
}

/* In the caller's short-lived context; combine takes what it needs. */
Datum
loyalty_revenue_deserialize(PG_FUNCTION_ARGS)
{
	RevenueState *state = palloc0(sizeof(RevenueState));
	StringInfoData buf;

	(void) aggregate_context(fcinfo);
	aggregate_begin_recv(fcinfo, &buf, STATE_VERSION);
	for (int i = 0; i < NCOUNTS; i++)
		state->count[i] = pq_getmsgint64(&buf);
	for (int i = 0; i < NAMOUNTS; i++)
	{
		int			size;
		bytea	   *sum;

		if (pq_getmsgbyte(&buf) == 0)
			continue;
		size = (int) pq_getmsgint(&buf, 4);
		sum = palloc(VARHDRSZ + size);
		SET_VARSIZE(sum, VARHDRSZ + size);
		memcpy(VARDATA(sum), pq_getmsgbytes(&buf, size), size);
		state->sum[i] = DatumGetPointer(call_core(fcinfo, numeric_avg_deserialize, 2,
												  PointerGetDatum(sum), false, (Datum) 0));
	}
	pq_getmsgend(&buf);
	PG_RETURN_POINTER(state);
}

static RevenueSummary *
summary_of_state(FunctionCallInfo fcinfo, RevenueState *state)
{
	Numeric		amount[NAMOUNTS];

	for (int i = 0; i < NAMOUNTS; i++)
	{
		if (state->sum[i] == NULL)
			amount[i] = int64_to_numeric(0);
		else
			amount[i] = DatumGetNumeric(call_core(fcinfo, numeric_sum, 1,
												  PointerGetDatum(state->sum[i]), false, (Datum) 0));
	}
	return make_summary(state->count, amount, NULL);
}

/* end = start + expansion - contraction - churned */
static Numeric
end_revenue(const RevenueSummary *summary)
{
	return subtract(add(amount_of(summary, START), amount_of(summary, EXPANSION)),
					add(amount_of(summary, CONTRACTION), amount_of(summary, CHURNED)));
}

static Numeric
lost_revenue(const RevenueSummary *summary)
{
	return add(amount_of(summary, CONTRACTION), amount_of(summary, CHURNED));
}

/* A share of the start revenue; NULL if there was none. */
static Datum
share_of_start(FunctionCallInfo fcinfo, const RevenueSummary *summary, Numeric amount)
{
	Numeric		start = amount_of(summary, START);
	double		denominator;

	if (sign(start) == 0)
		PG_RETURN_NULL();
	denominator = DatumGetFloat8(DirectFunctionCall1(numeric_float8, NumericGetDatum(start)));
	PG_RETURN_FLOAT8(DatumGetFloat8(DirectFunctionCall1(numeric_float8, NumericGetDatum(amount))) /
					 denominator);
}

Datum
loyalty_revenue_final(PG_FUNCTION_ARGS)
{
	(void) aggregate_context(fcinfo);
	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();
	PG_RETURN_POINTER(summary_of_state(fcinfo, (RevenueState *) PG_GETARG_POINTER(0)));
}

static Datum
net_retention(FunctionCallInfo fcinfo, const RevenueSummary *summary)
{
	return share_of_start(fcinfo, summary, end_revenue(summary));
}

static Datum
gross_retention(FunctionCallInfo fcinfo, const RevenueSummary *summary)
{
	return share_of_start(fcinfo, summary,
						  subtract(amount_of(summary, START), lost_revenue(summary)));
}

Datum
loyalty_revenue_final_net(PG_FUNCTION_ARGS)
{
	(void) aggregate_context(fcinfo);
	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();
	return net_retention(fcinfo, summary_of_state(fcinfo, (RevenueState *) PG_GETARG_POINTER(0)));
}

Datum
loyalty_revenue_final_gross(PG_FUNCTION_ARGS)
{
	(void) aggregate_context(fcinfo);
	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();
	return gross_retention(fcinfo, summary_of_state(fcinfo, (RevenueState *) PG_GETARG_POINTER(0)));
}


/* ----- reading ----- */

Datum
loyalty_revenue_customers(PG_FUNCTION_ARGS)
{
	PG_RETURN_INT64(get_summary(fcinfo, 0)->count[CUSTOMERS]);
}

Datum
loyalty_revenue_retained(PG_FUNCTION_ARGS)
{
	PG_RETURN_INT64(get_summary(fcinfo, 0)->count[RETAINED]);
}

Datum
loyalty_revenue_new_customers(PG_FUNCTION_ARGS)
{
	PG_RETURN_INT64(get_summary(fcinfo, 0)->count[ACQUIRED]);
}

/* A value within a value: uplus is core's copy of a numeric. */
static Datum
return_amount(FunctionCallInfo fcinfo, int which)
{
	return DirectFunctionCall1(numeric_uplus,
							   NumericGetDatum(amount_of(get_summary(fcinfo, 0), which)));
}

Datum
loyalty_revenue_start(PG_FUNCTION_ARGS)
{
	return return_amount(fcinfo, START);
}

Datum
loyalty_revenue_end(PG_FUNCTION_ARGS)
{
	PG_RETURN_NUMERIC(end_revenue(get_summary(fcinfo, 0)));
}

Datum
loyalty_revenue_expansion(PG_FUNCTION_ARGS)
{
	return return_amount(fcinfo, EXPANSION);
}

Datum
loyalty_revenue_contraction(PG_FUNCTION_ARGS)
{
	return return_amount(fcinfo, CONTRACTION);
}

Datum
loyalty_revenue_churned(PG_FUNCTION_ARGS)
{
	return return_amount(fcinfo, CHURNED);
}

Datum
loyalty_revenue_new(PG_FUNCTION_ARGS)
{
	return return_amount(fcinfo, NEW_REVENUE);
}

Datum
loyalty_revenue_net(PG_FUNCTION_ARGS)
{
	return net_retention(fcinfo, get_summary(fcinfo, 0));
}

Datum
loyalty_revenue_gross(PG_FUNCTION_ARGS)
{
	return gross_retention(fcinfo, get_summary(fcinfo, 0));
}

/* 1 - net retention, and so below 0 where expansion is more than what was lost. */
Datum
loyalty_revenue_net_churn(PG_FUNCTION_ARGS)
{
	RevenueSummary *summary = get_summary(fcinfo, 0);

	return share_of_start(fcinfo, summary,
						  subtract(lost_revenue(summary), amount_of(summary, EXPANSION)));
}

Datum
loyalty_revenue_gross_churn(PG_FUNCTION_ARGS)
{
	RevenueSummary *summary = get_summary(fcinfo, 0);

	return share_of_start(fcinfo, summary, lost_revenue(summary));
}

Datum
loyalty_revenue_logo(PG_FUNCTION_ARGS)
{
	RevenueSummary *summary = get_summary(fcinfo, 0);

	if (summary->count[CUSTOMERS] == 0)
		PG_RETURN_NULL();
	PG_RETURN_FLOAT8((double) summary->count[RETAINED] / (double) summary->count[CUSTOMERS]);
}
