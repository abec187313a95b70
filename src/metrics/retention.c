/*
 * retention.c
 *		Repeat purchase rate, the retention of one period's customers in another,
 *		and how many come back after a quiet time, from rows that are orders; and
 *		the churn of several periods from that of each.
 *
 * The first three count distinct customers, so a state holds a set of them; what the
 * summary needs is kept up to date beside it, and the final step only reads it.
 * The state belongs to the aggregate's memory context.  Its size grows with the
 * distinct customers (and orders, where these have a key), not with the rows.
 */
#include "postgres.h"

#include <math.h>

#include "catalog/pg_type_d.h"
#include "miscadmin.h"
#include "utils/date.h"
#include "utils/memutils.h"
#include "utils/rangetypes.h"
#include "utils/timestamp.h"
#include "utils/typcache.h"

#include "base/compat.h"
#include "base/errors.h"
#include "metrics/aggregate.h"
#include "metrics/counts.h"
#include "metrics/keyset.h"

#define STATE_VERSION	1

/* All summaries have three. */
#define RETENTION_COUNTS	3

static bool check_repeat(const int64 *count, Node *escontext);
static bool check_retention(const int64 *count, Node *escontext);
static bool check_reactivation(const int64 *count, Node *escontext);

enum
{
	CUSTOMERS,
	REPEAT_CUSTOMERS,
	ORDERS
};

static const CountsType repeat_type = {
	"repeat_summary", 1, {"customers", "repeat_customers", "orders"}, check_repeat
};

enum
{
	AT_START,
	RETAINED,
	AT_END
};

static const CountsType retention_type = {
	"retention_summary", 1, {"start", "retained", "end"}, check_retention
};

enum
{
	DORMANT,
	REACTIVATED,
	ACTIVE
};

static const CountsType reactivation_type = {
	"reactivation_summary", 1, {"dormant", "reactivated", "active"}, check_reactivation
};

/* A customer's tag: orders, of which only "one" and "more" matter. */
#define ONE_ORDER		1
#define MORE_ORDERS		2

typedef struct RepeatState
{
	KeySet	   *customers;
	KeySet	   *orders;			/* (customer, order key); NULL if each row is an order */
	int64		count[RETENTION_COUNTS];
} RepeatState;

/* A customer's tag: the periods with an order. */
#define IN_START		0x01
#define IN_END			0x02

/* The same for reactivation: before the quiet time, in it, and when it was over. */
#define WAS_CUSTOMER	0x01
#define NOT_QUIET		0x02
#define CAME_BACK		0x04

typedef struct RetentionState
{
	KeySet	   *customers;
	int64		count[RETENTION_COUNTS];
} RetentionState;

/* The bounds of a period, as int64 days or microseconds. */
typedef struct Period
{
	RangeType  *range;			/* a copy of what was taken apart */
	bool		empty;
	bool		has_lower;
	bool		has_upper;
	bool		lower_inclusive;
	bool		upper_inclusive;
	bool		is_date;
	int64		lower;
	int64		upper;
} Period;

/* Kept from row to row in fn_extra: a call has the same two periods, as a rule. */
typedef struct Periods
{
	Period		start;
	Period		end;
} Periods;

PG_FUNCTION_INFO_V1(loyalty_retention_repeat_in);
PG_FUNCTION_INFO_V1(loyalty_retention_repeat_out);
PG_FUNCTION_INFO_V1(loyalty_retention_repeat_recv);
PG_FUNCTION_INFO_V1(loyalty_retention_repeat_send);
PG_FUNCTION_INFO_V1(loyalty_retention_repeat_make);
PG_FUNCTION_INFO_V1(loyalty_retention_repeat_add);
PG_FUNCTION_INFO_V1(loyalty_retention_repeat_subtract);
PG_FUNCTION_INFO_V1(loyalty_retention_repeat_rollup);
PG_FUNCTION_INFO_V1(loyalty_retention_customers);
PG_FUNCTION_INFO_V1(loyalty_retention_repeat_customers);
PG_FUNCTION_INFO_V1(loyalty_retention_orders);
PG_FUNCTION_INFO_V1(loyalty_retention_repeat_rate);
PG_FUNCTION_INFO_V1(loyalty_retention_frequency);
PG_FUNCTION_INFO_V1(loyalty_retention_repeat_accum);
PG_FUNCTION_INFO_V1(loyalty_retention_repeat_combine);
PG_FUNCTION_INFO_V1(loyalty_retention_repeat_serialize);
PG_FUNCTION_INFO_V1(loyalty_retention_repeat_deserialize);
PG_FUNCTION_INFO_V1(loyalty_retention_repeat_final);
PG_FUNCTION_INFO_V1(loyalty_retention_repeat_final_rate);
PG_FUNCTION_INFO_V1(loyalty_retention_repeat_final_frequency);

PG_FUNCTION_INFO_V1(loyalty_retention_reactivation_in);
PG_FUNCTION_INFO_V1(loyalty_retention_reactivation_out);
PG_FUNCTION_INFO_V1(loyalty_retention_reactivation_recv);
PG_FUNCTION_INFO_V1(loyalty_retention_reactivation_send);
PG_FUNCTION_INFO_V1(loyalty_retention_reactivation_make);
PG_FUNCTION_INFO_V1(loyalty_retention_reactivation_add);
PG_FUNCTION_INFO_V1(loyalty_retention_reactivation_subtract);
PG_FUNCTION_INFO_V1(loyalty_retention_reactivation_rollup);
PG_FUNCTION_INFO_V1(loyalty_retention_reactivation_accum);
PG_FUNCTION_INFO_V1(loyalty_retention_reactivation_combine);
PG_FUNCTION_INFO_V1(loyalty_retention_reactivation_final);
PG_FUNCTION_INFO_V1(loyalty_retention_reactivation_final_rate);
PG_FUNCTION_INFO_V1(loyalty_retention_dormant);
PG_FUNCTION_INFO_V1(loyalty_retention_reactivated);
PG_FUNCTION_INFO_V1(loyalty_retention_active);
PG_FUNCTION_INFO_V1(loyalty_retention_reactivation_rate);
PG_FUNCTION_INFO_V1(loyalty_retention_compound);
PG_FUNCTION_INFO_V1(loyalty_retention_compound_accum);
PG_FUNCTION_INFO_V1(loyalty_retention_compound_combine);
PG_FUNCTION_INFO_V1(loyalty_retention_compound_final);

PG_FUNCTION_INFO_V1(loyalty_retention_in);
PG_FUNCTION_INFO_V1(loyalty_retention_out);
PG_FUNCTION_INFO_V1(loyalty_retention_recv);
PG_FUNCTION_INFO_V1(loyalty_retention_send);
PG_FUNCTION_INFO_V1(loyalty_retention_make);
PG_FUNCTION_INFO_V1(loyalty_retention_add);
PG_FUNCTION_INFO_V1(loyalty_retention_subtract);
PG_FUNCTION_INFO_V1(loyalty_retention_rollup);
PG_FUNCTION_INFO_V1(loyalty_retention_start);
PG_FUNCTION_INFO_V1(loyalty_retention_retained);
PG_FUNCTION_INFO_V1(loyalty_retention_end);
PG_FUNCTION_INFO_V1(loyalty_retention_lost);
PG_FUNCTION_INFO_V1(loyalty_retention_new);
PG_FUNCTION_INFO_V1(loyalty_retention_rate);
PG_FUNCTION_INFO_V1(loyalty_retention_churn);
PG_FUNCTION_INFO_V1(loyalty_retention_classical_rate);
PG_FUNCTION_INFO_V1(loyalty_retention_classical_churn);
PG_FUNCTION_INFO_V1(loyalty_retention_accum);
PG_FUNCTION_INFO_V1(loyalty_retention_combine);
PG_FUNCTION_INFO_V1(loyalty_retention_serialize);
PG_FUNCTION_INFO_V1(loyalty_retention_deserialize);
PG_FUNCTION_INFO_V1(loyalty_retention_final);
PG_FUNCTION_INFO_V1(loyalty_retention_final_rate);
PG_FUNCTION_INFO_V1(loyalty_retention_final_churn);


/* ----- what both aggregates need ----- */

static void
send_counts(StringInfo buf, const int64 *count)
{
	for (int i = 0; i < RETENTION_COUNTS; i++)
		pq_sendint64(buf, count[i]);
}

static void
recv_counts(StringInfo buf, int64 *count)
{
	for (int i = 0; i < RETENTION_COUNTS; i++)
		count[i] = pq_getmsgint64(buf);
}


/* ----- repeat_summary ----- */

static bool
check_repeat(const int64 *count, Node *escontext)
{
	const char *detail = NULL;

	if (count[REPEAT_CUSTOMERS] > count[CUSTOMERS])
		detail = "There can't be more repeat customers than customers.";
	else if (count[ORDERS] - count[CUSTOMERS] < count[REPEAT_CUSTOMERS])
		detail = "Each customer has an order, and each repeat customer two.";
	else if (count[REPEAT_CUSTOMERS] == 0 && count[ORDERS] > count[CUSTOMERS])
		detail = "With more orders than customers, there are repeat customers.";
	if (detail != NULL)
		ereturn(escontext, false,
				(errcode(ERRCODE_LY_INVALID_METRIC),
				 errmsg("invalid %s", repeat_type.name),
				 errdetail("%s", detail)));
	return true;
}

Datum
loyalty_retention_repeat_in(PG_FUNCTION_ARGS)
{
	return counts_in(fcinfo, &repeat_type);
}

Datum
loyalty_retention_repeat_out(PG_FUNCTION_ARGS)
{
	return counts_out(fcinfo, &repeat_type);
}

Datum
loyalty_retention_repeat_recv(PG_FUNCTION_ARGS)
{
	return counts_recv(fcinfo, &repeat_type);
}

Datum
loyalty_retention_repeat_send(PG_FUNCTION_ARGS)
{
	return counts_send(fcinfo, &repeat_type);
}

Datum
loyalty_retention_repeat_make(PG_FUNCTION_ARGS)
{
	return counts_from_args(fcinfo, &repeat_type);
}

Datum
loyalty_retention_repeat_add(PG_FUNCTION_ARGS)
{
	return counts_add(fcinfo, &repeat_type);
}

Datum
loyalty_retention_repeat_subtract(PG_FUNCTION_ARGS)
{
	return counts_subtract(fcinfo, &repeat_type);
}

Datum
loyalty_retention_repeat_rollup(PG_FUNCTION_ARGS)
{
	return counts_final(fcinfo, &repeat_type);
}

Datum
loyalty_retention_customers(PG_FUNCTION_ARGS)
{
	return counts_field(fcinfo, &repeat_type, CUSTOMERS);
}

Datum
loyalty_retention_repeat_customers(PG_FUNCTION_ARGS)
{
	return counts_field(fcinfo, &repeat_type, REPEAT_CUSTOMERS);
}

Datum
loyalty_retention_orders(PG_FUNCTION_ARGS)
{
	return counts_field(fcinfo, &repeat_type, ORDERS);
}

Datum
loyalty_retention_repeat_rate(PG_FUNCTION_ARGS)
{
	Counts	   *counts = counts_get_arg(fcinfo, 0, &repeat_type);

	return counts_ratio(fcinfo, counts->count[REPEAT_CUSTOMERS], counts->count[CUSTOMERS]);
}

Datum
loyalty_retention_frequency(PG_FUNCTION_ARGS)
{
	Counts	   *counts = counts_get_arg(fcinfo, 0, &repeat_type);

	return counts_ratio(fcinfo, counts->count[ORDERS], counts->count[CUSTOMERS]);
}


/* ----- repeat_agg(customer [, order key]) ----- */

static RepeatState *
make_repeat_state(MemoryContext context, Oid customer, Oid order, Oid collation)
{
	RepeatState *state = MemoryContextAllocZero(context, sizeof(RepeatState));

	state->customers = keyset_create(context, customer, collation);
	if (OidIsValid(order))
		state->orders = keyset_create(context, order, collation);
	return state;
}

/* One more order of a customer, or more: the tags say no more than that. */
static void
count_orders(RepeatState *state, uint32 customer, uint32 tag)
{
	KeyEntry   *entry = &state->customers->entries[customer];

	if (entry->tag == 0)
		state->count[CUSTOMERS]++;
	if (entry->tag < MORE_ORDERS && entry->tag + tag >= MORE_ORDERS)
		state->count[REPEAT_CUSTOMERS]++;
	entry->tag = Min(entry->tag + tag, MORE_ORDERS);
}

Datum
loyalty_retention_repeat_accum(PG_FUNCTION_ARGS)
{
	bool		has_key = PG_NARGS() > 2;
	RepeatState *state;
	uint32		customer;
	bool		found;

	if (PG_ARGISNULL(1) || (has_key && PG_ARGISNULL(2)))
		return aggregate_unchanged(fcinfo);

	if (PG_ARGISNULL(0))
		state = make_repeat_state(aggregate_context(fcinfo), aggregate_argument_type(fcinfo, 1),
								  has_key ? aggregate_argument_type(fcinfo, 2) : InvalidOid,
								  PG_GET_COLLATION());
	else
		state = (RepeatState *) PG_GETARG_POINTER(0);

	customer = keyset_add(state->customers, 0, PG_GETARG_DATUM(1), &found);
	if (has_key)
	{
		(void) keyset_add(state->orders, customer, PG_GETARG_DATUM(2), &found);
		if (found)
			PG_RETURN_POINTER(state);
	}
	state->count[ORDERS]++;
	count_orders(state, customer, ONE_ORDER);
	PG_RETURN_POINTER(state);
}

Datum
loyalty_retention_repeat_combine(PG_FUNCTION_ARGS)
{
	MemoryContext context = aggregate_context(fcinfo);
	RepeatState *state;
	RepeatState *other;
	uint32	   *number;
	bool		found;

	if (PG_ARGISNULL(1))
		return aggregate_unchanged(fcinfo);

	other = (RepeatState *) PG_GETARG_POINTER(1);
	if (PG_ARGISNULL(0))
		state = make_repeat_state(context, other->customers->type,
								  other->orders ? other->orders->type : InvalidOid,
								  other->customers->collation);
	else
		state = (RepeatState *) PG_GETARG_POINTER(0);

	/* Where the other's customers are here. */
	number = palloc_extended((Size) other->customers->size * sizeof(uint32) + 1, MCXT_ALLOC_HUGE);
	for (uint32 i = 0; i < other->customers->size; i++)
	{
		CHECK_FOR_INTERRUPTS();
		number[i] = keyset_add(state->customers, 0, other->customers->entries[i].key, &found);
		if (other->orders == NULL)
			count_orders(state, number[i], other->customers->entries[i].tag);
	}

	if (other->orders == NULL)
		state->count[ORDERS] += other->count[ORDERS];
	else
	{
		for (uint32 i = 0; i < other->orders->size; i++)
		{
			KeyEntry   *order = &other->orders->entries[i];

			CHECK_FOR_INTERRUPTS();
			(void) keyset_add(state->orders, number[order->scope], order->key, &found);
			if (!found)
			{
				state->count[ORDERS]++;
				count_orders(state, number[order->scope], ONE_ORDER);
			}
		}
	}
	pfree(number);
	PG_RETURN_POINTER(state);
}

Datum
loyalty_retention_repeat_serialize(PG_FUNCTION_ARGS)
{
	RepeatState *state = aggregate_state(fcinfo);
	StringInfoData buf;

	aggregate_begin_send(&buf, STATE_VERSION);
	send_counts(&buf, state->count);
	keyset_send(&buf, state->customers);
	pq_sendbyte(&buf, state->orders != NULL);
	if (state->orders != NULL)
		keyset_send(&buf, state->orders);
	PG_RETURN_BYTEA_P(pq_endtypsend(&buf));
}

/* In the caller's short-lived context; combine takes what it needs. */
Datum
loyalty_retention_repeat_deserialize(PG_FUNCTION_ARGS)
{
	RepeatState *state;
	StringInfoData buf;

	(void) aggregate_context(fcinfo);
	aggregate_begin_recv(fcinfo, &buf, STATE_VERSION);

	state = palloc0(sizeof(RepeatState));
	recv_counts(&buf, state->count);
	state->customers = keyset_recv(&buf);
	if (pq_getmsgbyte(&buf) != 0)
		state->orders = keyset_recv(&buf);
	pq_getmsgend(&buf);
	PG_RETURN_POINTER(state);
}

Datum
loyalty_retention_repeat_final(PG_FUNCTION_ARGS)
{
	(void) aggregate_context(fcinfo);
	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();
	PG_RETURN_POINTER(counts_make(&repeat_type,
								  ((RepeatState *) PG_GETARG_POINTER(0))->count, NULL));
}

Datum
loyalty_retention_repeat_final_rate(PG_FUNCTION_ARGS)
{
	RepeatState *state = aggregate_state(fcinfo);

	if (state == NULL)
		PG_RETURN_NULL();
	return counts_ratio(fcinfo, state->count[REPEAT_CUSTOMERS], state->count[CUSTOMERS]);
}

Datum
loyalty_retention_repeat_final_frequency(PG_FUNCTION_ARGS)
{
	RepeatState *state = aggregate_state(fcinfo);

	if (state == NULL)
		PG_RETURN_NULL();
	return counts_ratio(fcinfo, state->count[ORDERS], state->count[CUSTOMERS]);
}


/* ----- retention_summary ----- */

static bool
check_retention(const int64 *count, Node *escontext)
{
	if (count[RETAINED] > count[AT_START] || count[RETAINED] > count[AT_END])
		ereturn(escontext, false,
				(errcode(ERRCODE_LY_INVALID_METRIC),
				 errmsg("invalid %s", retention_type.name),
				 errdetail("The customers retained are among those at the start and among those at the end.")));
	return true;
}

Datum
loyalty_retention_in(PG_FUNCTION_ARGS)
{
	return counts_in(fcinfo, &retention_type);
}

Datum
loyalty_retention_out(PG_FUNCTION_ARGS)
{
	return counts_out(fcinfo, &retention_type);
}

Datum
loyalty_retention_recv(PG_FUNCTION_ARGS)
{
	return counts_recv(fcinfo, &retention_type);
}

Datum
loyalty_retention_send(PG_FUNCTION_ARGS)
{
	return counts_send(fcinfo, &retention_type);
}

Datum
loyalty_retention_make(PG_FUNCTION_ARGS)
{
	return counts_from_args(fcinfo, &retention_type);
}

Datum
loyalty_retention_add(PG_FUNCTION_ARGS)
{
	return counts_add(fcinfo, &retention_type);
}

Datum
loyalty_retention_subtract(PG_FUNCTION_ARGS)
{
	return counts_subtract(fcinfo, &retention_type);
}

Datum
loyalty_retention_rollup(PG_FUNCTION_ARGS)
{
	return counts_final(fcinfo, &retention_type);
}

Datum
loyalty_retention_start(PG_FUNCTION_ARGS)
{
	return counts_field(fcinfo, &retention_type, AT_START);
}

Datum
loyalty_retention_retained(PG_FUNCTION_ARGS)
{
	return counts_field(fcinfo, &retention_type, RETAINED);
}

Datum
loyalty_retention_end(PG_FUNCTION_ARGS)
{
	return counts_field(fcinfo, &retention_type, AT_END);
}

Datum
loyalty_retention_lost(PG_FUNCTION_ARGS)
{
	Counts	   *counts = counts_get_arg(fcinfo, 0, &retention_type);

	PG_RETURN_INT64(counts->count[AT_START] - counts->count[RETAINED]);
}

Datum
loyalty_retention_new(PG_FUNCTION_ARGS)
{
	Counts	   *counts = counts_get_arg(fcinfo, 0, &retention_type);

	PG_RETURN_INT64(counts->count[AT_END] - counts->count[RETAINED]);
}

Datum
loyalty_retention_rate(PG_FUNCTION_ARGS)
{
	Counts	   *counts = counts_get_arg(fcinfo, 0, &retention_type);

	return counts_ratio(fcinfo, counts->count[RETAINED], counts->count[AT_START]);
}

/* The lost over the start: 1 - retention, without the rounding of the difference. */
Datum
loyalty_retention_churn(PG_FUNCTION_ARGS)
{
	Counts	   *counts = counts_get_arg(fcinfo, 0, &retention_type);

	return counts_ratio(fcinfo, counts->count[AT_START] - counts->count[RETAINED],
						counts->count[AT_START]);
}

/*
 * From published counts: S at the start, E at the end, of whom N are new.  The
 * retained are E - N; contradictions are reported as for any summary.
 */
static int64
classical_retained(FunctionCallInfo fcinfo)
{
	int64		start = PG_GETARG_INT64(0);
	int64		end = PG_GETARG_INT64(1);
	int64		acquired = PG_GETARG_INT64(2);

	if (start < 0 || acquired < 0 || acquired > end || end - acquired > start)
		ereport(ERROR,
				(errcode(ERRCODE_LY_INVALID_METRIC),
				 errmsg("the customers at the end, less the new ones, must be some of those at the start"),
				 errhint("Count as new only those customers that are still there at the end.")));
	return end - acquired;
}

Datum
loyalty_retention_classical_rate(PG_FUNCTION_ARGS)
{
	return counts_ratio(fcinfo, classical_retained(fcinfo), PG_GETARG_INT64(0));
}

Datum
loyalty_retention_classical_churn(PG_FUNCTION_ARGS)
{
	return counts_ratio(fcinfo, PG_GETARG_INT64(0) - classical_retained(fcinfo),
						PG_GETARG_INT64(0));
}


/* ----- retention_agg(customer, at, start period, end period) ----- */

static int64
bound_value(const Period *period, const RangeBound *bound)
{
	if (bound->infinite)
		return 0;
	return period->is_date ? DatumGetDateADT(bound->val) : DatumGetTimestamp(bound->val);
}

static void
read_period(Period *period, RangeType *range, MemoryContext context)
{
	TypeCacheEntry *type = lookup_type_cache(RangeTypeGetOid(range), TYPECACHE_RANGE_INFO);
	RangeBound	lower;
	RangeBound	upper;

	range_deserialize(type, range, &lower, &upper, &period->empty);
	period->is_date = type->rngelemtype->type_id == DATEOID;
	period->has_lower = !lower.infinite;
	period->has_upper = !upper.infinite;
	period->lower_inclusive = lower.inclusive;
	period->upper_inclusive = upper.inclusive;
	if (!period->empty)
	{
		period->lower = bound_value(period, &lower);
		period->upper = bound_value(period, &upper);
	}

	if (period->range != NULL)
		pfree(period->range);
	period->range = MemoryContextAlloc(context, VARSIZE(range));
	memcpy(period->range, range, VARSIZE(range));
}

static inline bool
same_period(const Period *period, const RangeType *range)
{
	return period->range != NULL && VARSIZE(period->range) == VARSIZE(range) &&
		memcmp(period->range, range, VARSIZE(range)) == 0;
}

static Periods *
get_periods(FunctionCallInfo fcinfo)
{
	RangeType  *start = PG_GETARG_RANGE_P(3);
	RangeType  *end = PG_GETARG_RANGE_P(4);
	Periods    *periods = fcinfo->flinfo->fn_extra;
	MemoryContext context = fcinfo->flinfo->fn_mcxt;
	const Period *s;
	const Period *e;

	if (periods == NULL)
		periods = fcinfo->flinfo->fn_extra = MemoryContextAllocZero(context, sizeof(Periods));
	if (likely(same_period(&periods->start, start) && same_period(&periods->end, end)))
		return periods;

	read_period(&periods->start, start, context);
	read_period(&periods->end, end, context);

	s = &periods->start;
	e = &periods->end;
	if (!s->empty && !e->empty &&
		(!s->has_upper || !e->has_lower || s->upper > e->lower ||
		 (s->upper == e->lower && s->upper_inclusive && e->lower_inclusive)))
		ereport(ERROR,
				(errcode(ERRCODE_LY_INVALID_METRIC),
				 errmsg("the end period must begin after the start period has ended"),
				 errhint("Write ranges without their upper bound, such as '[2011-01-01,2011-02-01)'.")));
	return periods;
}

static inline bool
in_period(const Period *period, int64 at)
{
	if (period->empty)
		return false;
	if (period->has_lower &&
		(period->lower_inclusive ? at < period->lower : at <= period->lower))
		return false;
	if (period->has_upper &&
		(period->upper_inclusive ? at > period->upper : at >= period->upper))
		return false;
	return true;
}

static RetentionState *
make_retention_state(MemoryContext context, Oid customer, Oid collation)
{
	RetentionState *state = MemoryContextAllocZero(context, sizeof(RetentionState));

	state->customers = keyset_create(context, customer, collation);
	return state;
}

/* A customer with an order in these periods. */
static void
mark_customer(RetentionState *state, Datum customer, uint32 tag)
{
	bool		found;
	uint32		number = keyset_add(state->customers, 0, customer, &found);
	KeyEntry   *entry = &state->customers->entries[number];
	uint32		news = tag & ~entry->tag;

	if (news == 0)
		return;
	entry->tag |= news;
	if (news & IN_START)
		state->count[AT_START]++;
	if (news & IN_END)
		state->count[AT_END]++;
	if (entry->tag == (IN_START | IN_END))
		state->count[RETAINED]++;
}

/* For all three types of time: the periods know which one it is. */
Datum
loyalty_retention_accum(PG_FUNCTION_ARGS)
{
	RetentionState *state;
	Periods    *periods;
	int64		at;
	uint32		tag = 0;

	if (PG_ARGISNULL(1) || PG_ARGISNULL(2) || PG_ARGISNULL(3) || PG_ARGISNULL(4))
		return aggregate_unchanged(fcinfo);

	periods = get_periods(fcinfo);
	at = periods->start.is_date ? PG_GETARG_DATEADT(2) : PG_GETARG_TIMESTAMP(2);
	if (in_period(&periods->start, at))
		tag |= IN_START;
	if (in_period(&periods->end, at))
		tag |= IN_END;
	if (tag == 0)
		return aggregate_unchanged(fcinfo);

	if (PG_ARGISNULL(0))
		state = make_retention_state(aggregate_context(fcinfo), aggregate_argument_type(fcinfo, 1),
									 PG_GET_COLLATION());
	else
		state = (RetentionState *) PG_GETARG_POINTER(0);
	mark_customer(state, PG_GETARG_DATUM(1), tag);
	PG_RETURN_POINTER(state);
}

Datum
loyalty_retention_combine(PG_FUNCTION_ARGS)
{
	MemoryContext context = aggregate_context(fcinfo);
	RetentionState *state;
	KeySet	   *others;

	if (PG_ARGISNULL(1))
		return aggregate_unchanged(fcinfo);

	others = ((RetentionState *) PG_GETARG_POINTER(1))->customers;
	if (PG_ARGISNULL(0))
		state = make_retention_state(context, others->type, others->collation);
	else
		state = (RetentionState *) PG_GETARG_POINTER(0);

	for (uint32 i = 0; i < others->size; i++)
	{
		CHECK_FOR_INTERRUPTS();
		mark_customer(state, others->entries[i].key, others->entries[i].tag);
	}
	PG_RETURN_POINTER(state);
}

Datum
loyalty_retention_serialize(PG_FUNCTION_ARGS)
{
	RetentionState *state = aggregate_state(fcinfo);
	StringInfoData buf;

	aggregate_begin_send(&buf, STATE_VERSION);
	send_counts(&buf, state->count);
	keyset_send(&buf, state->customers);
	PG_RETURN_BYTEA_P(pq_endtypsend(&buf));
}

Datum
loyalty_retention_deserialize(PG_FUNCTION_ARGS)
{
	RetentionState *state;
	StringInfoData buf;

	(void) aggregate_context(fcinfo);
	aggregate_begin_recv(fcinfo, &buf, STATE_VERSION);

	state = palloc0(sizeof(RetentionState));
	recv_counts(&buf, state->count);
	state->customers = keyset_recv(&buf);
	pq_getmsgend(&buf);
	PG_RETURN_POINTER(state);
}

Datum
loyalty_retention_final(PG_FUNCTION_ARGS)
{
	(void) aggregate_context(fcinfo);
	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();
	PG_RETURN_POINTER(counts_make(&retention_type,
								  ((RetentionState *) PG_GETARG_POINTER(0))->count, NULL));
}

Datum
loyalty_retention_final_rate(PG_FUNCTION_ARGS)
{
	RetentionState *state = aggregate_state(fcinfo);

	if (state == NULL)
		PG_RETURN_NULL();
	return counts_ratio(fcinfo, state->count[RETAINED], state->count[AT_START]);
}

Datum
loyalty_retention_final_churn(PG_FUNCTION_ARGS)
{
	RetentionState *state = aggregate_state(fcinfo);

	if (state == NULL)
		PG_RETURN_NULL();
	return counts_ratio(fcinfo, state->count[AT_START] - state->count[RETAINED],
						state->count[AT_START]);
}


/* ----- reactivation_agg(customer, at, quiet period, return period) ----- */

static bool
check_reactivation(const int64 *count, Node *escontext)
{
	if (count[REACTIVATED] > count[DORMANT] || count[REACTIVATED] > count[ACTIVE])
		ereturn(escontext, false,
				(errcode(ERRCODE_LY_INVALID_METRIC),
				 errmsg("invalid %s", reactivation_type.name),
				 errdetail("The customers reactivated are among the dormant and among the active ones.")));
	return true;
}

Datum
loyalty_retention_reactivation_in(PG_FUNCTION_ARGS)
{
	return counts_in(fcinfo, &reactivation_type);
}

Datum
loyalty_retention_reactivation_out(PG_FUNCTION_ARGS)
{
	return counts_out(fcinfo, &reactivation_type);
}

Datum
loyalty_retention_reactivation_recv(PG_FUNCTION_ARGS)
{
	return counts_recv(fcinfo, &reactivation_type);
}

Datum
loyalty_retention_reactivation_send(PG_FUNCTION_ARGS)
{
	return counts_send(fcinfo, &reactivation_type);
}

Datum
loyalty_retention_reactivation_make(PG_FUNCTION_ARGS)
{
	return counts_from_args(fcinfo, &reactivation_type);
}

Datum
loyalty_retention_reactivation_add(PG_FUNCTION_ARGS)
{
	return counts_add(fcinfo, &reactivation_type);
}

Datum
loyalty_retention_reactivation_subtract(PG_FUNCTION_ARGS)
{
	return counts_subtract(fcinfo, &reactivation_type);
}

Datum
loyalty_retention_reactivation_rollup(PG_FUNCTION_ARGS)
{
	return counts_final(fcinfo, &reactivation_type);
}

Datum
loyalty_retention_dormant(PG_FUNCTION_ARGS)
{
	return counts_field(fcinfo, &reactivation_type, DORMANT);
}

Datum
loyalty_retention_reactivated(PG_FUNCTION_ARGS)
{
	return counts_field(fcinfo, &reactivation_type, REACTIVATED);
}

Datum
loyalty_retention_active(PG_FUNCTION_ARGS)
{
	return counts_field(fcinfo, &reactivation_type, ACTIVE);
}

Datum
loyalty_retention_reactivation_rate(PG_FUNCTION_ARGS)
{
	Counts	   *counts = counts_get_arg(fcinfo, 0, &reactivation_type);

	return counts_ratio(fcinfo, counts->count[REACTIVATED], counts->count[DORMANT]);
}

static inline bool
before_period(const Period *period, int64 at)
{
	return period->has_lower &&
		(period->lower_inclusive ? at < period->lower : at <= period->lower);
}

/*
 * Quiet is all the time from the start of the quiet period to that of the return: an
 * order in a gap between the two is no return, but the customer was not dormant.
 */
Datum
loyalty_retention_reactivation_accum(PG_FUNCTION_ARGS)
{
	RetentionState *state;
	Periods    *periods;
	int64		at;
	uint32		tag;
	uint32		number;
	bool		found;

	if (PG_ARGISNULL(1) || PG_ARGISNULL(2) || PG_ARGISNULL(3) || PG_ARGISNULL(4))
		return aggregate_unchanged(fcinfo);

	periods = get_periods(fcinfo);
	if (periods->start.empty || periods->end.empty)
		return aggregate_unchanged(fcinfo);
	at = periods->start.is_date ? PG_GETARG_DATEADT(2) : PG_GETARG_TIMESTAMP(2);
	if (before_period(&periods->start, at))
		tag = WAS_CUSTOMER;
	else if (before_period(&periods->end, at))
		tag = NOT_QUIET;
	else if (in_period(&periods->end, at))
		tag = CAME_BACK;
	else
		return aggregate_unchanged(fcinfo);

	if (PG_ARGISNULL(0))
		state = make_retention_state(aggregate_context(fcinfo), aggregate_argument_type(fcinfo, 1),
									 PG_GET_COLLATION());
	else
		state = (RetentionState *) PG_GETARG_POINTER(0);
	number = keyset_add(state->customers, 0, PG_GETARG_DATUM(1), &found);
	state->customers->entries[number].tag |= tag;
	PG_RETURN_POINTER(state);
}

Datum
loyalty_retention_reactivation_combine(PG_FUNCTION_ARGS)
{
	MemoryContext context = aggregate_context(fcinfo);
	RetentionState *state;
	KeySet	   *others;

	if (PG_ARGISNULL(1))
		return aggregate_unchanged(fcinfo);

	others = ((RetentionState *) PG_GETARG_POINTER(1))->customers;
	if (PG_ARGISNULL(0))
		state = make_retention_state(context, others->type, others->collation);
	else
		state = (RetentionState *) PG_GETARG_POINTER(0);

	for (uint32 i = 0; i < others->size; i++)
	{
		bool		found;
		uint32		number = keyset_add(state->customers, 0, others->entries[i].key, &found);

		CHECK_FOR_INTERRUPTS();
		state->customers->entries[number].tag |= others->entries[i].tag;
	}
	PG_RETURN_POINTER(state);
}

/* A later row may end what looked like a quiet time, so it is all counted at the end. */
static void
count_reactivation(const RetentionState *state, int64 *count)
{
	memset(count, 0, RETENTION_COUNTS * sizeof(int64));
	for (uint32 i = 0; i < state->customers->size; i++)
	{
		uint32		tag = state->customers->entries[i].tag;

		CHECK_FOR_INTERRUPTS();
		if (tag & CAME_BACK)
			count[ACTIVE]++;
		if ((tag & (WAS_CUSTOMER | NOT_QUIET)) == WAS_CUSTOMER)
		{
			count[DORMANT]++;
			if (tag & CAME_BACK)
				count[REACTIVATED]++;
		}
	}
}

Datum
loyalty_retention_reactivation_final(PG_FUNCTION_ARGS)
{
	int64		count[RETENTION_COUNTS];

	(void) aggregate_context(fcinfo);
	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();
	count_reactivation((RetentionState *) PG_GETARG_POINTER(0), count);
	PG_RETURN_POINTER(counts_make(&reactivation_type, count, NULL));
}

Datum
loyalty_retention_reactivation_final_rate(PG_FUNCTION_ARGS)
{
	int64		count[RETENTION_COUNTS];

	(void) aggregate_context(fcinfo);
	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();
	count_reactivation((RetentionState *) PG_GETARG_POINTER(0), count);
	return counts_ratio(fcinfo, count[REACTIVATED], count[DORMANT]);
}


/* ----- compound_churn ----- */

static float8
check_churn(float8 churn)
{
	if (!(churn >= 0.0 && churn <= 1.0))
		ereport(ERROR,
				(errcode(ERRCODE_LY_INVALID_METRIC),
				 errmsg("churn must lie between 0 and 1"),
				 errhint("Give 0.05 for 5 %%.")));
	return churn;
}

/* What a churn becomes over so many periods, or parts of one: 1 - (1 - c)^n. */
Datum
loyalty_retention_compound(PG_FUNCTION_ARGS)
{
	float8		churn = check_churn(PG_GETARG_FLOAT8(0));
	float8		periods = PG_GETARG_FLOAT8(1);

	if (!isfinite(periods) || periods < 0.0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("the number of periods must be finite and not negative")));

	/* Nobody is lost in no time, even where all are in any. */
	if (periods == 0.0)
		PG_RETURN_FLOAT8(0.0);
	PG_RETURN_FLOAT8(-expm1(periods * log1p(-churn)) + 0.0);
}

/*
 * The aggregate: 1 - (1 - c1) (1 - c2) ...  The state is the logarithm of the product,
 * which keeps all the digits of a small churn and reaches -infinity where one is 1.
 */
Datum
loyalty_retention_compound_accum(PG_FUNCTION_ARGS)
{
	float8		state = PG_ARGISNULL(0) ? 0.0 : PG_GETARG_FLOAT8(0);

	if (PG_ARGISNULL(1))
		return aggregate_unchanged(fcinfo);
	PG_RETURN_FLOAT8(state + log1p(-check_churn(PG_GETARG_FLOAT8(1))));
}

Datum
loyalty_retention_compound_combine(PG_FUNCTION_ARGS)
{
	PG_RETURN_FLOAT8(PG_GETARG_FLOAT8(0) + PG_GETARG_FLOAT8(1));
}

Datum
loyalty_retention_compound_final(PG_FUNCTION_ARGS)
{
	PG_RETURN_FLOAT8(-expm1(PG_GETARG_FLOAT8(0)) + 0.0);
}
