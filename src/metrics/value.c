/*
 * value.c
 *		What orders are worth: average transaction value, purchase frequency and
 *		the simple formula of customer lifetime value.
 *
 * Money is numeric and exact.  The sum is core's own: its accumulator is built
 * by numeric_avg_accum() and read by numeric_sum(), which are called with our
 * call's context and so work in the same aggregate memory.
 *
 * A row with a negative amount is a return: it lowers the revenue and is not an
 * order.  order_summary is not a transition state but what comes out, so it may
 * be toasted like any other value.
 */
#include "postgres.h"

#include "catalog/pg_type_d.h"
#include "common/hashfn.h"
#include "common/int.h"
#include "libpq/pqformat.h"
#include "miscadmin.h"
#include "parser/parse_coerce.h"
#include "utils/builtins.h"
#include "utils/datetime.h"
#include "utils/float.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/numeric.h"
#include "utils/timestamp.h"

#include "base/compat.h"
#include "base/errors.h"
#include "metrics/aggregate.h"
#include "metrics/counts.h"
#include "metrics/keyset.h"
#include "metrics/numeric.h"

#define SUMMARY_TYPE		"order_summary"
#define SUMMARY_VERSION		1
#define STATE_VERSION		1

/* 365.25 days, and a twelfth of them */
#define USECS_PER_YEAR		INT64CONST(31557600000000)
#define USECS_PER_MONTH		(USECS_PER_YEAR / MONTHS_PER_YEAR)

typedef struct OrderSummary
{
	SummaryHeader header;
	int64		orders;
	int64		customers;
	TimestampTz first;			/* of the orders; 0 if there are none */
	TimestampTz last;
	char		revenue[FLEXIBLE_ARRAY_MEMBER]; /* a numeric */
} OrderSummary;

typedef struct ValueState
{
	KeySet	   *customers;		/* NULL where they are not asked for */
	KeySet	   *orders;			/* NULL if each row is an order */
	int64		norders;
	TimestampTz first;
	TimestampTz last;
	void	   *revenue;		/* core's accumulator */
	Numeric		years;			/* of simple_clv() only */
	Numeric		margin;
} ValueState;

/* Kept from row to row in fn_extra: how this call's amounts become numeric. */
typedef struct AmountReader
{
	bool		is_numeric;
	FmgrInfo	cast;
	Datum		zero;
} AmountReader;

PG_FUNCTION_INFO_V1(loyalty_value_in);
PG_FUNCTION_INFO_V1(loyalty_value_out);
PG_FUNCTION_INFO_V1(loyalty_value_recv);
PG_FUNCTION_INFO_V1(loyalty_value_send);
PG_FUNCTION_INFO_V1(loyalty_value_make);
PG_FUNCTION_INFO_V1(loyalty_value_eq);
PG_FUNCTION_INFO_V1(loyalty_value_ne);
PG_FUNCTION_INFO_V1(loyalty_value_hash);
PG_FUNCTION_INFO_V1(loyalty_value_hash_extended);
PG_FUNCTION_INFO_V1(loyalty_value_add);
PG_FUNCTION_INFO_V1(loyalty_value_orders);
PG_FUNCTION_INFO_V1(loyalty_value_customers);
PG_FUNCTION_INFO_V1(loyalty_value_revenue);
PG_FUNCTION_INFO_V1(loyalty_value_first);
PG_FUNCTION_INFO_V1(loyalty_value_last);
PG_FUNCTION_INFO_V1(loyalty_value_average);
PG_FUNCTION_INFO_V1(loyalty_value_frequency);
PG_FUNCTION_INFO_V1(loyalty_value_per_customer);
PG_FUNCTION_INFO_V1(loyalty_value_per_year);
PG_FUNCTION_INFO_V1(loyalty_value_clv);
PG_FUNCTION_INFO_V1(loyalty_value_simple_clv);
PG_FUNCTION_INFO_V1(loyalty_value_simple_clv_float8);
PG_FUNCTION_INFO_V1(loyalty_value_accum);
PG_FUNCTION_INFO_V1(loyalty_value_accum_clv);
PG_FUNCTION_INFO_V1(loyalty_value_accum_amount);
PG_FUNCTION_INFO_V1(loyalty_value_combine);
PG_FUNCTION_INFO_V1(loyalty_value_serialize);
PG_FUNCTION_INFO_V1(loyalty_value_deserialize);
PG_FUNCTION_INFO_V1(loyalty_value_final);
PG_FUNCTION_INFO_V1(loyalty_value_final_average);
PG_FUNCTION_INFO_V1(loyalty_value_final_clv);


/* ----- the value ----- */

static OrderSummary *
get_summary(FunctionCallInfo fcinfo, int argno)
{
	OrderSummary *summary = (OrderSummary *) PG_DETOAST_DATUM(PG_GETARG_DATUM(argno));

	summary_check_version(&summary->header, SUMMARY_VERSION, SUMMARY_TYPE);
	return summary;
}

static inline Numeric
revenue_of(const OrderSummary *summary)
{
	return (Numeric) summary->revenue;
}

/* The one validator: every summary comes from here.  Without orders there are no times. */
static OrderSummary *
make_summary(int64 orders, int64 customers, Numeric revenue,
			 const TimestampTz *first, const TimestampTz *last, Node *escontext)
{
	OrderSummary *summary;
	const char *detail = NULL;

	if (orders < 0 || customers < 0)
		detail = "A count must not be negative.";
	else if (customers > orders)
		detail = "There can't be more customers than orders.";
	else if (orders > 0 && customers == 0)
		detail = "Orders have a customer.";
	else if (!is_finite(revenue))
		detail = "The revenue must be finite.";
	else if ((first != NULL) != (orders > 0) || (last != NULL) != (orders > 0))
		detail = "The times of the first and the last order are given if, and only if, there are orders.";
	else if (first != NULL && (TIMESTAMP_NOT_FINITE(*first) || TIMESTAMP_NOT_FINITE(*last)))
		detail = "Times must be finite.";
	else if (first != NULL && *first > *last)
		detail = "The last order can't be before the first.";
	if (detail != NULL)
		ereturn(escontext, NULL,
				(errcode(ERRCODE_LY_INVALID_METRIC),
				 errmsg("invalid %s", SUMMARY_TYPE),
				 errdetail("%s", detail)));

	summary = summary_alloc(offsetof(OrderSummary, revenue) + VARSIZE(revenue), SUMMARY_VERSION);
	summary->orders = orders;
	summary->customers = customers;
	if (first != NULL)
	{
		summary->first = *first;
		summary->last = *last;
	}
	memcpy(summary->revenue, revenue, VARSIZE(revenue));
	return summary;
}

Datum
loyalty_value_in(PG_FUNCTION_ARGS)
{
	Node	   *escontext = fcinfo->context;
	SummaryField fields[] = {
		{.name = "orders",.required = true},
		{.name = "customers",.required = true},
		{.name = "revenue",.required = true},
		{.name = "first"},
		{.name = "last"}
	};
	int64		orders;
	int64		customers;
	Datum		revenue;
	TimestampTz times[2];
	bool		given[2];

	if (!summary_parse(PG_GETARG_CSTRING(0), SUMMARY_TYPE, fields, lengthof(fields), escontext) ||
		!summary_read_count(&fields[0], SUMMARY_TYPE, &orders, escontext) ||
		!summary_read_count(&fields[1], SUMMARY_TYPE, &customers, escontext) ||
		!summary_read_value(numeric_in, fields[2].value, escontext, &revenue))
		PG_RETURN_NULL();
	for (int i = 0; i < 2; i++)
	{
		Datum		time;

		given[i] = fields[3 + i].value != NULL;
		if (!given[i])
			continue;
		if (!summary_read_value(timestamptz_in, fields[3 + i].value, escontext, &time))
			PG_RETURN_NULL();
		times[i] = DatumGetTimestampTz(time);
	}
	PG_RETURN_POINTER(make_summary(orders, customers, DatumGetNumeric(revenue),
								   given[0] ? &times[0] : NULL, given[1] ? &times[1] : NULL,
								   escontext));
}

/* In UTC and ISO 8601, whatever the session's zone and style. */
static void
put_time(StringInfo buf, const char *name, TimestampTz time)
{
	struct pg_tm tm;
	fsec_t		fsec;
	char		text[MAXDATELEN + 1];

	if (timestamp2tm(time, NULL, &tm, &fsec, NULL, NULL) != 0)
		ereport(ERROR,
				(errcode(ERRCODE_DATETIME_VALUE_OUT_OF_RANGE),
				 errmsg("timestamp out of range")));
	tm.tm_isdst = 0;			/* of UTC, so that the offset is printed */
	EncodeDateTime(&tm, fsec, true, 0, NULL, USE_XSD_DATES, text);
	summary_put(buf, name, text);
}

Datum
loyalty_value_out(PG_FUNCTION_ARGS)
{
	OrderSummary *summary = get_summary(fcinfo, 0);
	StringInfoData buf;

	initStringInfo(&buf);
	summary_put_count(&buf, "orders", summary->orders);
	summary_put_count(&buf, "customers", summary->customers);
	summary_put(&buf, "revenue",
				DatumGetCString(DirectFunctionCall1(numeric_out,
													NumericGetDatum(revenue_of(summary)))));
	if (summary->orders > 0)
	{
		put_time(&buf, "first", summary->first);
		put_time(&buf, "last", summary->last);
	}
	PG_RETURN_CSTRING(summary_finish(&buf));
}

Datum
loyalty_value_recv(PG_FUNCTION_ARGS)
{
	StringInfo	buf = (StringInfo) PG_GETARG_POINTER(0);
	int64		orders;
	int64		customers;
	TimestampTz first;
	TimestampTz last;
	Numeric		revenue;

	(void) summary_begin_recv(buf, SUMMARY_VERSION, SUMMARY_TYPE);
	orders = pq_getmsgint64(buf);
	customers = pq_getmsgint64(buf);
	first = pq_getmsgint64(buf);
	last = pq_getmsgint64(buf);
	if (!IS_VALID_TIMESTAMP(first) || !IS_VALID_TIMESTAMP(last))
		ereport(ERROR,
				(errcode(ERRCODE_DATETIME_VALUE_OUT_OF_RANGE),
				 errmsg("timestamp out of range")));
	revenue = DatumGetNumeric(DirectFunctionCall3(numeric_recv, PointerGetDatum(buf),
												  ObjectIdGetDatum(InvalidOid), Int32GetDatum(-1)));
	PG_RETURN_POINTER(make_summary(orders, customers, revenue,
								   orders > 0 ? &first : NULL, orders > 0 ? &last : NULL, NULL));
}

Datum
loyalty_value_send(PG_FUNCTION_ARGS)
{
	OrderSummary *summary = get_summary(fcinfo, 0);
	StringInfoData buf;
	bytea	   *revenue;

	summary_begin_send(&buf, SUMMARY_VERSION);
	pq_sendint64(&buf, summary->orders);
	pq_sendint64(&buf, summary->customers);
	pq_sendint64(&buf, summary->first);
	pq_sendint64(&buf, summary->last);
	revenue = DatumGetByteaP(DirectFunctionCall1(numeric_send,
												 NumericGetDatum(revenue_of(summary))));
	pq_sendbytes(&buf, VARDATA(revenue), VARSIZE(revenue) - VARHDRSZ);
	PG_RETURN_BYTEA_P(pq_endtypsend(&buf));
}

/* order_summary(orders, customers, revenue, first, last): the times may be NULL */
Datum
loyalty_value_make(PG_FUNCTION_ARGS)
{
	TimestampTz first;
	TimestampTz last;

	if (PG_ARGISNULL(0) || PG_ARGISNULL(1) || PG_ARGISNULL(2))
		PG_RETURN_NULL();
	if (!PG_ARGISNULL(3))
		first = PG_GETARG_TIMESTAMPTZ(3);
	if (!PG_ARGISNULL(4))
		last = PG_GETARG_TIMESTAMPTZ(4);
	PG_RETURN_POINTER(make_summary(PG_GETARG_INT64(0), PG_GETARG_INT64(1), PG_GETARG_NUMERIC(2),
								   PG_ARGISNULL(3) ? NULL : &first,
								   PG_ARGISNULL(4) ? NULL : &last, NULL));
}

/* 1.0 and 1.00 are one revenue, so the bytes won't do. */
static bool
same_summary(FunctionCallInfo fcinfo)
{
	OrderSummary *a = get_summary(fcinfo, 0);
	OrderSummary *b = get_summary(fcinfo, 1);

	return a->orders == b->orders && a->customers == b->customers &&
		a->first == b->first && a->last == b->last &&
		compare(revenue_of(a), revenue_of(b)) == 0;
}

Datum
loyalty_value_eq(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(same_summary(fcinfo));
}

Datum
loyalty_value_ne(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(!same_summary(fcinfo));
}

Datum
loyalty_value_hash(PG_FUNCTION_ARGS)
{
	OrderSummary *summary = get_summary(fcinfo, 0);
	uint32		counts = hash_bytes((unsigned char *) &summary->orders,
									offsetof(OrderSummary, revenue) - offsetof(OrderSummary, orders));
	uint32		revenue = DatumGetUInt32(DirectFunctionCall1(hash_numeric,
															 NumericGetDatum(revenue_of(summary))));

	PG_RETURN_INT32((int32) hash_combine(counts, revenue));
}

Datum
loyalty_value_hash_extended(PG_FUNCTION_ARGS)
{
	OrderSummary *summary = get_summary(fcinfo, 0);
	int64		seed = PG_GETARG_INT64(1);
	uint64		counts = hash_bytes_extended((unsigned char *) &summary->orders,
											 offsetof(OrderSummary, revenue) - offsetof(OrderSummary, orders),
											 seed);
	uint64		revenue = DatumGetUInt64(DirectFunctionCall2(hash_numeric_extended,
															 NumericGetDatum(revenue_of(summary)),
															 Int64GetDatum(seed)));

	PG_RETURN_INT64((int64) hash_combine64(counts, revenue));
}

/* For rollup() and its workers: a new value, since revenues differ in size. */
Datum
loyalty_value_add(PG_FUNCTION_ARGS)
{
	OrderSummary *a = get_summary(fcinfo, 0);
	OrderSummary *b = get_summary(fcinfo, 1);
	int64		orders;
	int64		customers;
	TimestampTz first;
	TimestampTz last;
	Datum		revenue;

	if (pg_add_s64_overflow(a->orders, b->orders, &orders) ||
		pg_add_s64_overflow(a->customers, b->customers, &customers))
		summary_overflow(SUMMARY_TYPE);
	revenue = DirectFunctionCall2(numeric_add, NumericGetDatum(revenue_of(a)),
								  NumericGetDatum(revenue_of(b)));
	if (a->orders == 0 || b->orders == 0)
	{
		first = a->orders == 0 ? b->first : a->first;
		last = a->orders == 0 ? b->last : a->last;
	}
	else
	{
		first = Min(a->first, b->first);
		last = Max(a->last, b->last);
	}
	PG_RETURN_POINTER(make_summary(orders, customers, DatumGetNumeric(revenue),
								   orders > 0 ? &first : NULL, orders > 0 ? &last : NULL, NULL));
}


/* ----- accessors ----- */

Datum
loyalty_value_orders(PG_FUNCTION_ARGS)
{
	PG_RETURN_INT64(get_summary(fcinfo, 0)->orders);
}

Datum
loyalty_value_customers(PG_FUNCTION_ARGS)
{
	PG_RETURN_INT64(get_summary(fcinfo, 0)->customers);
}

Datum
loyalty_value_revenue(PG_FUNCTION_ARGS)
{
	/* A value within a value: uplus is core's copy of a numeric. */
	return DirectFunctionCall1(numeric_uplus, NumericGetDatum(revenue_of(get_summary(fcinfo, 0))));
}

Datum
loyalty_value_first(PG_FUNCTION_ARGS)
{
	OrderSummary *summary = get_summary(fcinfo, 0);

	if (summary->orders == 0)
		PG_RETURN_NULL();
	PG_RETURN_TIMESTAMPTZ(summary->first);
}

Datum
loyalty_value_last(PG_FUNCTION_ARGS)
{
	OrderSummary *summary = get_summary(fcinfo, 0);

	if (summary->orders == 0)
		PG_RETURN_NULL();
	PG_RETURN_TIMESTAMPTZ(summary->last);
}

Datum
loyalty_value_average(PG_FUNCTION_ARGS)
{
	OrderSummary *summary = get_summary(fcinfo, 0);

	if (summary->orders == 0)
		PG_RETURN_NULL();
	PG_RETURN_NUMERIC(divide(revenue_of(summary), int64_to_numeric(summary->orders)));
}

Datum
loyalty_value_frequency(PG_FUNCTION_ARGS)
{
	OrderSummary *summary = get_summary(fcinfo, 0);

	return counts_ratio(fcinfo, summary->orders, summary->customers);
}

Datum
loyalty_value_per_customer(PG_FUNCTION_ARGS)
{
	OrderSummary *summary = get_summary(fcinfo, 0);

	if (summary->customers == 0)
		PG_RETURN_NULL();
	PG_RETURN_NUMERIC(divide(revenue_of(summary), int64_to_numeric(summary->customers)));
}


/* ----- the simple formula ----- */

/*
 * For how long the customers were watched, in microseconds; 0 if nobody can
 * tell.  A year is 365.25 days, a month a twelfth of it.
 */
static int64
observed_time(FunctionCallInfo fcinfo, int argno, const OrderSummary *summary)
{
	Interval   *observed;
	int64		months;
	int64		days;
	int64		time;

	if (PG_ARGISNULL(argno))
		return summary->last - summary->first;

	observed = PG_GETARG_INTERVAL_P(argno);
	if (pg_mul_s64_overflow(observed->month, USECS_PER_MONTH, &months) ||
		pg_mul_s64_overflow(observed->day, USECS_PER_DAY, &days) ||
		pg_add_s64_overflow(months, days, &time) ||
		pg_add_s64_overflow(time, observed->time, &time))
		ereport(ERROR,
				(errcode(ERRCODE_DATETIME_VALUE_OUT_OF_RANGE),
				 errmsg("interval out of range")));
	if (time <= 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("the observed time must be positive")));
	return time;
}

static void
check_years(Numeric years)
{
	if (!is_finite(years) || compare(years, int64_to_numeric(0)) < 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("years must be finite and not negative")));
}

static void
bad_margin(void)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("margin must be a fraction, at most 1"),
			 errhint("Give 0.3 for 30 %%.")));
}

static void
check_margin(Numeric margin)
{
	if (!is_finite(margin) || compare(margin, int64_to_numeric(1)) > 0)
		bad_margin();
}

/* numerator x year / (customers x observed): a yearly figure for each customer */
static Numeric
yearly(Numeric numerator, int64 customers, int64 observed)
{
	return divide(multiply(numerator, int64_to_numeric(USECS_PER_YEAR)),
				  multiply(int64_to_numeric(customers), int64_to_numeric(observed)));
}

/* orders_per_year(summary, observed) */
Datum
loyalty_value_per_year(PG_FUNCTION_ARGS)
{
	OrderSummary *summary;
	int64		observed;

	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();
	summary = get_summary(fcinfo, 0);
	observed = observed_time(fcinfo, 1, summary);
	if (summary->customers == 0 || observed == 0)
		PG_RETURN_NULL();
	PG_RETURN_NUMERIC(yearly(int64_to_numeric(summary->orders), summary->customers, observed));
}

/*
 * simple_clv(summary, years, margin, observed).  Average order x orders per
 * year x years x margin: the number of orders cancels out.
 */
Datum
loyalty_value_clv(PG_FUNCTION_ARGS)
{
	OrderSummary *summary;
	Numeric		years;
	Numeric		margin;
	int64		observed;

	if (PG_ARGISNULL(0) || PG_ARGISNULL(1) || PG_ARGISNULL(2))
		PG_RETURN_NULL();
	summary = get_summary(fcinfo, 0);
	years = PG_GETARG_NUMERIC(1);
	margin = PG_GETARG_NUMERIC(2);
	check_years(years);
	check_margin(margin);
	observed = observed_time(fcinfo, 3, summary);
	if (summary->customers == 0 || observed == 0)
		PG_RETURN_NULL();
	PG_RETURN_NUMERIC(yearly(multiply(multiply(revenue_of(summary), years), margin),
							 summary->customers, observed));
}

static void
bad_rate(void)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("average order and orders per year must be finite, and the latter not negative")));
}

/* simple_clv(average order, orders per year, years, margin) */
Datum
loyalty_value_simple_clv(PG_FUNCTION_ARGS)
{
	Numeric		average = PG_GETARG_NUMERIC(0);
	Numeric		per_year = PG_GETARG_NUMERIC(1);
	Numeric		years = PG_GETARG_NUMERIC(2);
	Numeric		margin = PG_GETARG_NUMERIC(3);

	if (!is_finite(average) || !is_finite(per_year) || compare(per_year, int64_to_numeric(0)) < 0)
		bad_rate();
	check_years(years);
	check_margin(margin);
	PG_RETURN_NUMERIC(multiply(multiply(multiply(average, per_year), years), margin));
}

Datum
loyalty_value_simple_clv_float8(PG_FUNCTION_ARGS)
{
	float8		average = PG_GETARG_FLOAT8(0);
	float8		per_year = PG_GETARG_FLOAT8(1);
	float8		years = PG_GETARG_FLOAT8(2);
	float8		margin = PG_GETARG_FLOAT8(3);
	float8		value;

	if (!isfinite(average) || !isfinite(per_year) || per_year < 0.0)
		bad_rate();
	if (!isfinite(years) || years < 0.0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("years must be finite and not negative")));
	if (!isfinite(margin) || margin > 1.0)
		bad_margin();
	value = average * per_year * years * margin;
	if (isinf(value))
		float_overflow_error();
	PG_RETURN_FLOAT8(value);
}


/* ----- aggregation ----- */

/* One of core's aggregate support functions, in our aggregate's context. */
static Datum
call_core(FunctionCallInfo fcinfo, PGFunction function, int nargs, void *state,
		  Datum value, bool value_is_null)
{
	LOCAL_FCINFO(call, 2);

	InitFunctionCallInfoData(*call, NULL, nargs, InvalidOid, fcinfo->context, NULL);
	call->args[0].value = PointerGetDatum(state);
	call->args[0].isnull = state == NULL;
	call->args[1].value = value;
	call->args[1].isnull = value_is_null;
	return function(call);
}

static AmountReader *
make_amount_reader(FunctionCallInfo fcinfo, int argno)
{
	MemoryContext context = fcinfo->flinfo->fn_mcxt;
	AmountReader *reader = MemoryContextAllocZero(context, sizeof(AmountReader));
	Oid			type = getBaseType(aggregate_argument_type(fcinfo, argno));
	Oid			function = InvalidOid;
	MemoryContext old;

	if (type == NUMERICOID)
		reader->is_numeric = true;
	else if (find_coercion_pathway(NUMERICOID, type, COERCION_EXPLICIT,
								   &function) == COERCION_PATH_FUNC &&
			 get_func_nargs(function) == 1)
		fmgr_info_cxt(function, &reader->cast, context);
	else
		ereport(ERROR,
				(errcode(ERRCODE_DATATYPE_MISMATCH),
				 errmsg("type %s cannot be an amount", format_type_be(type)),
				 errhint("Cast it to numeric.")));

	old = MemoryContextSwitchTo(context);
	reader->zero = NumericGetDatum(int64_to_numeric(0));
	MemoryContextSwitchTo(old);
	return reader;
}

/* The amount in this argument, and whether it is a return. */
static Datum
read_amount(FunctionCallInfo fcinfo, int argno, bool *is_return)
{
	AmountReader *reader = fcinfo->flinfo->fn_extra;
	Datum		amount = PG_GETARG_DATUM(argno);

	if (reader == NULL)
		reader = fcinfo->flinfo->fn_extra = make_amount_reader(fcinfo, argno);

	if (reader->is_numeric)
		amount = NumericGetDatum(DatumGetNumeric(amount));	/* detoasted */
	else
		amount = FunctionCall1(&reader->cast, amount);
	if (!is_finite(DatumGetNumeric(amount)))
		ereport(ERROR,
				(errcode(ERRCODE_LY_INVALID_METRIC),
				 errmsg("the amount of an order must be finite"),
				 errhint("Leave such rows out with FILTER or WHERE.")));
	*is_return = DatumGetBool(DirectFunctionCall2(numeric_lt, amount, reader->zero));
	return amount;
}

static ValueState *
make_state(MemoryContext context, Oid customer, Oid order, Oid collation)
{
	ValueState *state = MemoryContextAllocZero(context, sizeof(ValueState));

	if (OidIsValid(customer))
		state->customers = keyset_create(context, customer, collation);
	if (OidIsValid(order))
		state->orders = keyset_create(context, order, collation);
	return state;
}

static Numeric
copy_numeric(MemoryContext context, Numeric number)
{
	Numeric		copy = MemoryContextAlloc(context, VARSIZE(number));

	memcpy(copy, number, VARSIZE(number));
	return copy;
}

/* Once an order is known not to be a return, nor one that was seen before. */
static void
count_orders(ValueState *state, int64 norders, TimestampTz first, TimestampTz last)
{
	if (norders == 0)
		return;
	if (state->norders == 0)
	{
		state->first = first;
		state->last = last;
	}
	else
	{
		state->first = Min(state->first, first);
		state->last = Max(state->last, last);
	}
	state->norders += norders;
}

/*
 * Any of the aggregates' rows.  Arguments that an aggregate has not got are 0;
 * none that it has is NULL here.
 */
static ValueState *
accum(FunctionCallInfo fcinfo, int customer, int amount, int at, int key)
{
	MemoryContext context = aggregate_context(fcinfo);
	TimestampTz time = at > 0 ? PG_GETARG_TIMESTAMPTZ(at) : 0;
	ValueState *state;
	Datum		value;
	bool		is_return;
	uint32		number = 0;
	bool		found = false;

	if (PG_ARGISNULL(0))
		state = make_state(context,
						   customer > 0 ? aggregate_argument_type(fcinfo, customer) : InvalidOid,
						   key > 0 ? aggregate_argument_type(fcinfo, key) : InvalidOid,
						   PG_GET_COLLATION());
	else
		state = (ValueState *) PG_GETARG_POINTER(0);

	value = read_amount(fcinfo, amount, &is_return);
	state->revenue = DatumGetPointer(call_core(fcinfo, numeric_avg_accum, 2, state->revenue,
											   value, false));
	if (is_return)
		return state;

	if (TIMESTAMP_NOT_FINITE(time))
		ereport(ERROR,
				(errcode(ERRCODE_LY_INVALID_METRIC),
				 errmsg("the time of an order must be finite"),
				 errhint("Leave such rows out with FILTER or WHERE.")));
	if (state->customers != NULL)
		number = keyset_add(state->customers, 0, PG_GETARG_DATUM(customer), &found);
	if (state->orders != NULL)
	{
		(void) keyset_add(state->orders, number, PG_GETARG_DATUM(key), &found);

		/* A later line of a known order may still widen the time. */
		if (found)
		{
			state->first = Min(state->first, time);
			state->last = Max(state->last, time);
			return state;
		}
	}
	count_orders(state, 1, time, time);
	return state;
}

static bool
has_null(FunctionCallInfo fcinfo)
{
	for (int i = 1; i < PG_NARGS(); i++)
	{
		if (PG_ARGISNULL(i))
			return true;
	}
	return false;
}

/* order_agg(customer, amount, at [, order key]) */
Datum
loyalty_value_accum(PG_FUNCTION_ARGS)
{
	if (has_null(fcinfo))
		return aggregate_unchanged(fcinfo);
	PG_RETURN_POINTER(accum(fcinfo, 1, 2, 3, PG_NARGS() > 4 ? 4 : 0));
}

/* average_transaction_value(amount [, order key]) */
Datum
loyalty_value_accum_amount(PG_FUNCTION_ARGS)
{
	if (has_null(fcinfo))
		return aggregate_unchanged(fcinfo);
	PG_RETURN_POINTER(accum(fcinfo, 0, 1, 0, PG_NARGS() > 2 ? 2 : 0));
}

/* simple_clv(customer, amount, at, years [, margin]) */
Datum
loyalty_value_accum_clv(PG_FUNCTION_ARGS)
{
	ValueState *state;
	Numeric		years;
	Numeric		margin;

	if (has_null(fcinfo))
		return aggregate_unchanged(fcinfo);

	state = accum(fcinfo, 1, 2, 3, 0);
	years = PG_GETARG_NUMERIC(4);
	margin = PG_NARGS() > 5 ? PG_GETARG_NUMERIC(5) : NULL;
	if (state->years == NULL)
	{
		MemoryContext context = aggregate_context(fcinfo);

		check_years(years);
		state->years = copy_numeric(context, years);
		if (margin != NULL)
		{
			check_margin(margin);
			state->margin = copy_numeric(context, margin);
		}
	}
	else if (compare(state->years, years) != 0 ||
			 (margin != NULL && compare(state->margin, margin) != 0))
		ereport(ERROR,
				(errcode(ERRCODE_LY_INVALID_METRIC),
				 errmsg("years and margin must be the same for all rows of a group"),
				 errhint("Give constants, not columns.")));
	PG_RETURN_POINTER(state);
}

Datum
loyalty_value_combine(PG_FUNCTION_ARGS)
{
	MemoryContext context = aggregate_context(fcinfo);
	ValueState *state;
	ValueState *other;
	uint32	   *number = NULL;
	bool		found;

	if (PG_ARGISNULL(1))
		return aggregate_unchanged(fcinfo);

	other = (ValueState *) PG_GETARG_POINTER(1);
	if (PG_ARGISNULL(0))
	{
		KeySet	   *any = other->customers ? other->customers : other->orders;

		state = make_state(context,
						   other->customers ? other->customers->type : InvalidOid,
						   other->orders ? other->orders->type : InvalidOid,
						   any ? any->collation : InvalidOid);
		if (other->years != NULL)
			state->years = copy_numeric(context, other->years);
		if (other->margin != NULL)
			state->margin = copy_numeric(context, other->margin);
	}
	else
		state = (ValueState *) PG_GETARG_POINTER(0);

	state->revenue = DatumGetPointer(call_core(fcinfo, numeric_avg_combine, 2, state->revenue,
											   PointerGetDatum(other->revenue),
											   other->revenue == NULL));

	/* Where the other's customers are here. */
	if (other->customers != NULL)
	{
		number = palloc_extended((Size) other->customers->size * sizeof(uint32) + 1,
								 MCXT_ALLOC_HUGE);
		for (uint32 i = 0; i < other->customers->size; i++)
		{
			CHECK_FOR_INTERRUPTS();
			number[i] = keyset_add(state->customers, 0, other->customers->entries[i].key, &found);
		}
	}

	if (other->orders == NULL)
		count_orders(state, other->norders, other->first, other->last);
	else
	{
		int64		added = 0;

		for (uint32 i = 0; i < other->orders->size; i++)
		{
			KeyEntry   *order = &other->orders->entries[i];

			CHECK_FOR_INTERRUPTS();
			(void) keyset_add(state->orders, number ? number[order->scope] : 0, order->key, &found);
			if (!found)
				added++;
		}
		if (other->norders > 0)
		{
			/* Of the other's orders some may be known here: their times count all the same. */
			count_orders(state, other->norders, other->first, other->last);
			state->norders += added - other->norders;
		}
	}
	PG_RETURN_POINTER(state);
}

static void
send_numeric(StringInfo buf, Numeric number)
{
	pq_sendint32(buf, number == NULL ? 0 : VARSIZE(number));
	if (number != NULL)
		pq_sendbytes(buf, (const char *) number, VARSIZE(number));
}

static Numeric
recv_numeric(StringInfo buf)
{
	Size		size = pq_getmsgint(buf, 4);
	Numeric		number;

	if (size == 0)
		return NULL;
	number = palloc(size);
	memcpy(number, pq_getmsgbytes(buf, size), size);
	return number;
}

Datum
loyalty_value_serialize(PG_FUNCTION_ARGS)
{
	ValueState *state = aggregate_state(fcinfo);
	StringInfoData buf;
	bytea	   *revenue;

	aggregate_begin_send(&buf, STATE_VERSION);
	pq_sendint64(&buf, state->norders);
	pq_sendint64(&buf, state->first);
	pq_sendint64(&buf, state->last);
	send_numeric(&buf, state->years);
	send_numeric(&buf, state->margin);
	revenue = DatumGetByteaP(call_core(fcinfo, numeric_avg_serialize, 1, state->revenue,
									   (Datum) 0, true));
	pq_sendint32(&buf, VARSIZE(revenue));
	pq_sendbytes(&buf, (const char *) revenue, VARSIZE(revenue));
	pq_sendbyte(&buf, state->customers != NULL);
	if (state->customers != NULL)
		keyset_send(&buf, state->customers);
	pq_sendbyte(&buf, state->orders != NULL);
	if (state->orders != NULL)
		keyset_send(&buf, state->orders);
	PG_RETURN_BYTEA_P(pq_endtypsend(&buf));
}

/* In the caller's short-lived context; combine takes what it needs. */
Datum
loyalty_value_deserialize(PG_FUNCTION_ARGS)
{
	StringInfoData buf;
	ValueState *state;
	Size		size;
	bytea	   *revenue;

	(void) aggregate_context(fcinfo);
	aggregate_begin_recv(fcinfo, &buf, STATE_VERSION);

	state = palloc0(sizeof(ValueState));
	state->norders = pq_getmsgint64(&buf);
	state->first = pq_getmsgint64(&buf);
	state->last = pq_getmsgint64(&buf);
	state->years = recv_numeric(&buf);
	state->margin = recv_numeric(&buf);
	size = pq_getmsgint(&buf, 4);
	revenue = palloc(size);
	memcpy(revenue, pq_getmsgbytes(&buf, size), size);
	state->revenue = DatumGetPointer(call_core(fcinfo, numeric_avg_deserialize, 2, revenue,
											   (Datum) 0, true));
	if (pq_getmsgbyte(&buf) != 0)
		state->customers = keyset_recv(&buf);
	if (pq_getmsgbyte(&buf) != 0)
		state->orders = keyset_recv(&buf);
	pq_getmsgend(&buf);
	PG_RETURN_POINTER(state);
}

static Numeric
total_revenue(FunctionCallInfo fcinfo, const ValueState *state)
{
	return DatumGetNumeric(call_core(fcinfo, numeric_sum, 1, state->revenue, (Datum) 0, true));
}

Datum
loyalty_value_final(PG_FUNCTION_ARGS)
{
	ValueState *state = aggregate_state(fcinfo);

	if (state == NULL)
		PG_RETURN_NULL();
	PG_RETURN_POINTER(make_summary(state->norders, state->customers->size,
								   total_revenue(fcinfo, state),
								   state->norders > 0 ? &state->first : NULL,
								   state->norders > 0 ? &state->last : NULL, NULL));
}

Datum
loyalty_value_final_average(PG_FUNCTION_ARGS)
{
	ValueState *state = aggregate_state(fcinfo);

	if (state == NULL)
		PG_RETURN_NULL();
	if (state->norders == 0)
		PG_RETURN_NULL();
	PG_RETURN_NUMERIC(divide(total_revenue(fcinfo, state), int64_to_numeric(state->norders)));
}

Datum
loyalty_value_final_clv(PG_FUNCTION_ARGS)
{
	ValueState *state = aggregate_state(fcinfo);
	Numeric		value;

	if (state == NULL)
		PG_RETURN_NULL();
	if (state->norders == 0 || state->first == state->last)
		PG_RETURN_NULL();
	value = multiply(total_revenue(fcinfo, state), state->years);
	if (state->margin != NULL)
		value = multiply(value, state->margin);
	PG_RETURN_NUMERIC(yearly(value, state->customers->size, state->last - state->first));
}
