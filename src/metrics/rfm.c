/*
 * rfm.c
 *		The type rfm and the aggregate that makes it from purchases.
 *
 * Purchases in one unit of time are one.  Rows may come in any order and
 * through any worker, so the state keeps the distinct units until the end.  It
 * keeps them as "so many units before as_of", which fits 32 bits and makes the
 * final step a minimum and a maximum.  Of the money only two sums are needed:
 * that of the first unit seen so far, and that of all others; when an earlier
 * unit turns up, the old first one joins the others.
 *
 * The list of units is an append-only buffer, sorted and made distinct when it
 * is full; it grows only if that leaves it more than half full.  So memory
 * follows the distinct units, not the rows, and input in time order never needs
 * a sort.  Up to INLINE_UNITS lie in the state itself: a state is one chunk of
 * 128 bytes for nearly every customer.
 *
 * A state and its buffer belong to the aggregate's memory context.  Clocks, one
 * for each (unit, time zone) met, belong to the transition function's FmgrInfo,
 * which outlives all states.
 */
#include "postgres.h"

#include <math.h>

#include "miscadmin.h"
#include "pgtime.h"
#include "utils/builtins.h"
#include "utils/datetime.h"
#include "utils/float.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "base/compat.h"
#include "base/errors.h"
#include "metrics/aggregate.h"
#include "metrics/clock.h"
#include "metrics/rfm.h"
#include "metrics/sum.h"

#define INLINE_UNITS		14
#define STATE_VERSION		1

typedef struct RfmState
{
	const Clock *clock;
	TimestampTz as_of;
	Sum			first_spend;	/* of the unit "first" */
	Sum			rest_spend;		/* of all later ones */
	uint32		first;			/* the earliest unit: the largest of all */
	int32		nunits;
	int32		capacity;
	bool		in_order;		/* units are strictly descending: time order */
	bool		first_known;	/* first_spend has at least one amount */
	bool		rest_known;
	uint32	   *units;			/* in units before as_of */
	uint32		inline_units[INLINE_UNITS];
} RfmState;

StaticAssertDecl(sizeof(RfmState) <= 128, "a small state should be one small chunk");

PG_FUNCTION_INFO_V1(loyalty_rfm_in);
PG_FUNCTION_INFO_V1(loyalty_rfm_out);
PG_FUNCTION_INFO_V1(loyalty_rfm_recv);
PG_FUNCTION_INFO_V1(loyalty_rfm_send);
PG_FUNCTION_INFO_V1(loyalty_rfm_make);
PG_FUNCTION_INFO_V1(loyalty_rfm_frequency);
PG_FUNCTION_INFO_V1(loyalty_rfm_recency);
PG_FUNCTION_INFO_V1(loyalty_rfm_age);
PG_FUNCTION_INFO_V1(loyalty_rfm_monetary);
PG_FUNCTION_INFO_V1(loyalty_rfm_accum);
PG_FUNCTION_INFO_V1(loyalty_rfm_accum_local);
PG_FUNCTION_INFO_V1(loyalty_rfm_accum_date);
PG_FUNCTION_INFO_V1(loyalty_rfm_combine);
PG_FUNCTION_INFO_V1(loyalty_rfm_serialize);
PG_FUNCTION_INFO_V1(loyalty_rfm_deserialize);
PG_FUNCTION_INFO_V1(loyalty_rfm_final);

/* units are counted backwards, so time order is descending */
#define ST_SORT sort_units
#define ST_ELEMENT_TYPE uint32
#define ST_COMPARE(a, b) (*(a) < *(b) ? 1 : *(a) > *(b) ? -1 : 0)
#define ST_SCOPE static
#define ST_DEFINE
#include "lib/sort_template.h"


/* ----- the value ----- */

/* The one validator: every rfm comes from here. */
static Rfm *
make_rfm(int64 frequency, float8 recency, float8 age, float8 monetary, bool has_monetary,
		 Node *escontext)
{
	Rfm		   *rfm;
	const char *detail = NULL;

	if (frequency < 0)
		detail = "The frequency must not be negative.";
	else if (!isfinite(recency) || !isfinite(age) || (has_monetary && !isfinite(monetary)))
		detail = "All numbers must be finite.";
	else if (recency < 0.0)
		detail = "The recency must not be negative.";
	else if (recency > age)
		detail = "The recency, from first to last purchase, must not exceed the age.";
	else if ((frequency == 0) != (recency == 0.0))
		detail = "The recency is 0 if, and only if, there is no repeat purchase.";
	else if (frequency == 0 && has_monetary && monetary != 0.0)
		detail = "Without a repeat purchase there is no mean spend of them.";
	if (detail != NULL)
		ereturn(escontext, NULL,
				(errcode(ERRCODE_LY_INVALID_METRIC),
				 errmsg("invalid rfm"),
				 errdetail("%s", detail)));

	/* Other packages write 0 for the mean of no purchases. */
	if (frequency == 0)
		has_monetary = false;

	rfm = summary_alloc(sizeof(Rfm), RFM_VERSION);
	rfm->frequency = frequency;
	rfm->recency = recency + 0.0;	/* no negative zero: equal values, equal bytes */
	rfm->age = age + 0.0;
	if (has_monetary)
	{
		rfm->header.flags |= RFM_HAS_MONETARY;
		rfm->monetary = monetary + 0.0;
	}
	return rfm;
}

Datum
loyalty_rfm_in(PG_FUNCTION_ARGS)
{
	Node	   *escontext = fcinfo->context;
	SummaryField fields[] = {
		{.name = "frequency",.required = true},
		{.name = "recency",.required = true},
		{.name = "age",.required = true},
		{.name = "monetary"}
	};
	int64		frequency;
	float8		recency;
	float8		age;
	float8		monetary = 0.0;

	if (!summary_parse(PG_GETARG_CSTRING(0), RFM_TYPE, fields, lengthof(fields), escontext) ||
		!summary_read_count(&fields[0], RFM_TYPE, &frequency, escontext) ||
		!summary_read_float8(&fields[1], RFM_TYPE, &recency, escontext) ||
		!summary_read_float8(&fields[2], RFM_TYPE, &age, escontext) ||
		(fields[3].value != NULL &&
		 !summary_read_float8(&fields[3], RFM_TYPE, &monetary, escontext)))
		PG_RETURN_NULL();
	PG_RETURN_POINTER(make_rfm(frequency, recency, age, monetary, fields[3].value != NULL,
							   escontext));
}

Datum
loyalty_rfm_out(PG_FUNCTION_ARGS)
{
	Rfm		   *rfm = rfm_get_arg(fcinfo, 0);
	StringInfoData buf;

	initStringInfo(&buf);
	summary_put_count(&buf, "frequency", rfm->frequency);
	summary_put_float8(&buf, "recency", rfm->recency);
	summary_put_float8(&buf, "age", rfm->age);
	if (rfm_has_monetary(rfm))
		summary_put_float8(&buf, "monetary", rfm->monetary);
	PG_RETURN_CSTRING(summary_finish(&buf));
}

Datum
loyalty_rfm_recv(PG_FUNCTION_ARGS)
{
	StringInfo	buf = (StringInfo) PG_GETARG_POINTER(0);
	int			flags;
	int64		frequency;
	float8		recency;
	float8		age;
	float8		monetary = 0.0;

	(void) summary_begin_recv(buf, RFM_VERSION, RFM_TYPE);
	flags = pq_getmsgbyte(buf);
	if ((flags & ~RFM_HAS_MONETARY) != 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_BINARY_REPRESENTATION),
				 errmsg("invalid flags in external \"%s\" value", RFM_TYPE)));
	frequency = pq_getmsgint64(buf);
	recency = pq_getmsgfloat8(buf);
	age = pq_getmsgfloat8(buf);
	if ((flags & RFM_HAS_MONETARY) != 0)
		monetary = pq_getmsgfloat8(buf);
	PG_RETURN_POINTER(make_rfm(frequency, recency, age, monetary,
							   (flags & RFM_HAS_MONETARY) != 0, NULL));
}

Datum
loyalty_rfm_send(PG_FUNCTION_ARGS)
{
	Rfm		   *rfm = rfm_get_arg(fcinfo, 0);
	StringInfoData buf;

	summary_begin_send(&buf, RFM_VERSION);
	pq_sendbyte(&buf, rfm->header.flags);
	pq_sendint64(&buf, rfm->frequency);
	pq_sendfloat8(&buf, rfm->recency);
	pq_sendfloat8(&buf, rfm->age);
	if (rfm_has_monetary(rfm))
		pq_sendfloat8(&buf, rfm->monetary);
	PG_RETURN_BYTEA_P(pq_endtypsend(&buf));
}

/* rfm(frequency, recency, age, monetary): only the last may be NULL */
Datum
loyalty_rfm_make(PG_FUNCTION_ARGS)
{
	if (PG_ARGISNULL(0) || PG_ARGISNULL(1) || PG_ARGISNULL(2))
		PG_RETURN_NULL();
	PG_RETURN_POINTER(make_rfm(PG_GETARG_INT64(0), PG_GETARG_FLOAT8(1), PG_GETARG_FLOAT8(2),
							   PG_ARGISNULL(3) ? 0.0 : PG_GETARG_FLOAT8(3), !PG_ARGISNULL(3),
							   NULL));
}

Datum
loyalty_rfm_frequency(PG_FUNCTION_ARGS)
{
	PG_RETURN_INT64(rfm_get_arg(fcinfo, 0)->frequency);
}

Datum
loyalty_rfm_recency(PG_FUNCTION_ARGS)
{
	PG_RETURN_FLOAT8(rfm_get_arg(fcinfo, 0)->recency);
}

Datum
loyalty_rfm_age(PG_FUNCTION_ARGS)
{
	PG_RETURN_FLOAT8(rfm_get_arg(fcinfo, 0)->age);
}

Datum
loyalty_rfm_monetary(PG_FUNCTION_ARGS)
{
	Rfm		   *rfm = rfm_get_arg(fcinfo, 0);

	if (!rfm_has_monetary(rfm))
		PG_RETURN_NULL();
	PG_RETURN_FLOAT8(rfm->monetary);
}


/* ----- the state ----- */

/* Sorted in time order, each unit once. */
static void
compact_units(RfmState *state)
{
	int32		kept = 1;

	if (state->in_order)
		return;

	sort_units(state->units, state->nunits);
	for (int32 i = 1; i < state->nunits; i++)
	{
		if (state->units[i] != state->units[kept - 1])
			state->units[kept++] = state->units[i];
	}
	state->nunits = kept;
	state->in_order = true;
}

static void
make_room(RfmState *state)
{
	compact_units(state);
	if (state->nunits <= state->capacity / 2)
		return;

	if (state->capacity > (int32) (MaxAllocSize / sizeof(uint32) / 2))
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("too many different units of time in one group"),
				 errhint("Use a longer unit.")));

	if (state->units == state->inline_units)
	{
		state->capacity = 2 * INLINE_UNITS + 4; /* a power of two */
		state->units = MemoryContextAlloc(GetMemoryChunkContext(state),
										  state->capacity * sizeof(uint32));
		memcpy(state->units, state->inline_units, state->nunits * sizeof(uint32));
	}
	else
	{
		state->capacity *= 2;
		state->units = repalloc(state->units, state->capacity * sizeof(uint32));
	}
}

static inline void
add_unit(RfmState *state, uint32 unit)
{
	if (state->nunits > 0)
	{
		if (state->units[state->nunits - 1] == unit)
			return;
		if (state->nunits == state->capacity)
			make_room(state);
		if (state->units[state->nunits - 1] <= unit)
			state->in_order = false;
	}
	state->units[state->nunits++] = unit;
}

/* Spend in a unit: of the first, of a later one, or of what is the first from now on. */
static inline void
add_spend(RfmState *state, uint32 unit, Sum spend, bool known)
{
	if (unit > state->first)
	{
		sum_add_sum(&state->rest_spend, state->first_spend);
		state->rest_known |= state->first_known;
		state->first = unit;
		state->first_spend = spend;
		state->first_known = known;
	}
	else if (unit == state->first)
	{
		sum_add_sum(&state->first_spend, spend);
		state->first_known |= known;
	}
	else
	{
		sum_add_sum(&state->rest_spend, spend);
		state->rest_known |= known;
	}
}

/* A state without purchases; the caller adds at least one. */
static RfmState *
make_state(MemoryContext context, const Clock *clock, TimestampTz as_of)
{
	RfmState   *state = MemoryContextAllocZero(context, sizeof(RfmState));

	state->clock = clock;
	state->as_of = as_of;
	state->capacity = INLINE_UNITS;
	state->in_order = true;
	state->units = state->inline_units;
	return state;
}

static void
mixed_arguments(void)
{
	ereport(ERROR,
			(errcode(ERRCODE_LY_INVALID_METRIC),
			 errmsg("as_of, unit and time zone must be the same for all rows of a group"),
			 errhint("Give constants, not columns.")));
}


/* ----- aggregation ----- */

static bool
is_missing(FunctionCallInfo fcinfo)
{
	/* All but the amount: without it a purchase is still a purchase. */
	return PG_ARGISNULL(1) || PG_ARGISNULL(3) ||
		(PG_NARGS() > 4 && PG_ARGISNULL(4)) ||
		(PG_NARGS() > 5 && PG_ARGISNULL(5));
}

/*
 * Arguments: state, at, amount, as_of [, unit [, time zone]].  The wrappers
 * below have read the times.
 */
static Datum
accum(FunctionCallInfo fcinfo, TimestampTz at, TimestampTz as_of, bool is_local)
{
	static const Interval one_day = {.day = 1};
	const Interval *unit = PG_NARGS() > 4 ? PG_GETARG_INTERVAL_P(4) : &one_day;
	Clock	   *clock = fcinfo->flinfo->fn_extra;
	RfmState   *state = PG_ARGISNULL(0) ? NULL : (RfmState *) PG_GETARG_POINTER(0);
	Sum			spend = {0};
	int64		ago;

	/*
	 * Of many groups the next one's state is in no cache, and waiting for it
	 * would be half of the work: both its lines come while the unit is found.
	 */
	if (state != NULL)
	{
		__builtin_prefetch(state);
		__builtin_prefetch(&state->inline_units[INLINE_UNITS - 1]);
	}

	if (TIMESTAMP_NOT_FINITE(as_of))
		ereport(ERROR,
				(errcode(ERRCODE_LY_INVALID_METRIC),
				 errmsg("as_of must be finite"),
				 errhint("Give the moment up to which the data go, such as now().")));
	if (at > as_of)
		return aggregate_unchanged(fcinfo);
	if (TIMESTAMP_NOT_FINITE(at))
		ereport(ERROR,
				(errcode(ERRCODE_LY_INVALID_METRIC),
				 errmsg("the time of a purchase must be finite"),
				 errhint("Leave such rows out with FILTER or WHERE.")));

	if (PG_NARGS() > 5)
	{
		char		zone[TZ_STRLEN_MAX + 1];

		text_to_cstring_buffer(PG_GETARG_TEXT_PP(5), zone, sizeof(zone));
		if (zone[0] == '\0')
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("time zone \"%s\" not recognized", zone),
					 errhint("See pg_timezone_names.")));
		clock = clock_find(fcinfo->flinfo, unit, zone);
	}
	else if (clock == NULL || !clock_same_unit(clock, unit))
		clock = clock_find(fcinfo->flinfo, unit, is_local ? "" : "UTC");

	if (unlikely(clock->as_of != as_of))
	{
		clock->as_of_unit = clock_unit(clock, as_of);
		clock->as_of = as_of;
	}

	/* Clocks that were put back over midnight can make it -1. */
	ago = Max(clock->as_of_unit - clock_unit(clock, at), 0);
	if (unlikely(ago > PG_UINT32_MAX))
		ereport(ERROR,
				(errcode(ERRCODE_LY_INVALID_METRIC),
				 errmsg("more than %u units between purchase and as_of", PG_UINT32_MAX),
				 errhint("Use a longer unit.")));

	if (!PG_ARGISNULL(2))
	{
		spend.high = PG_GETARG_FLOAT8(2);
		if (unlikely(!isfinite(spend.high)))
			ereport(ERROR,
					(errcode(ERRCODE_LY_INVALID_METRIC),
					 errmsg("the amount of a purchase must be finite"),
					 errhint("Leave such rows out with FILTER or WHERE.")));
	}

	if (state == NULL)
		state = make_state(aggregate_context(fcinfo), clock, as_of);
	else if (unlikely(state->clock != clock || state->as_of != as_of))
		mixed_arguments();
	add_spend(state, (uint32) ago, spend, !PG_ARGISNULL(2));
	add_unit(state, (uint32) ago);
	PG_RETURN_POINTER(state);
}

Datum
loyalty_rfm_accum(PG_FUNCTION_ARGS)
{
	if (is_missing(fcinfo))
		return aggregate_unchanged(fcinfo);
	return accum(fcinfo, PG_GETARG_TIMESTAMPTZ(1), PG_GETARG_TIMESTAMPTZ(3), false);
}

/* Times without zone are counted as they are written. */
Datum
loyalty_rfm_accum_local(PG_FUNCTION_ARGS)
{
	if (is_missing(fcinfo))
		return aggregate_unchanged(fcinfo);
	return accum(fcinfo, PG_GETARG_TIMESTAMP(1), PG_GETARG_TIMESTAMP(3), true);
}

Datum
loyalty_rfm_accum_date(PG_FUNCTION_ARGS)
{
	if (is_missing(fcinfo))
		return aggregate_unchanged(fcinfo);
	return accum(fcinfo, clock_midnight(PG_GETARG_DATEADT(1)), clock_midnight(PG_GETARG_DATEADT(3)), true);
}

Datum
loyalty_rfm_combine(PG_FUNCTION_ARGS)
{
	RfmState   *state;
	RfmState   *other;
	MemoryContext context = aggregate_context(fcinfo);

	if (PG_ARGISNULL(1))
		return aggregate_unchanged(fcinfo);

	other = (RfmState *) PG_GETARG_POINTER(1);
	if (PG_ARGISNULL(0))
		state = make_state(context, other->clock, other->as_of);
	else
	{
		state = (RfmState *) PG_GETARG_POINTER(0);
		if (!clock_same(state->clock, other->clock) || state->as_of != other->as_of)
			mixed_arguments();
	}

	add_spend(state, other->first, other->first_spend, other->first_known);
	sum_add_sum(&state->rest_spend, other->rest_spend);
	state->rest_known |= other->rest_known;
	for (int32 i = 0; i < other->nunits; i++)
	{
		CHECK_FOR_INTERRUPTS();
		add_unit(state, other->units[i]);
	}
	PG_RETURN_POINTER(state);
}

Datum
loyalty_rfm_serialize(PG_FUNCTION_ARGS)
{
	RfmState   *state;
	const Clock *clock;
	StringInfoData buf;

	(void) aggregate_context(fcinfo);

	state = (RfmState *) PG_GETARG_POINTER(0);
	clock = state->clock;
	compact_units(state);

	aggregate_begin_send(&buf, STATE_VERSION);
	pq_sendint64(&buf, clock->unit.time);
	pq_sendint32(&buf, clock->unit.day);
	pq_sendint32(&buf, clock->unit.month);
	pq_sendint32(&buf, strlen(clock->zone));
	pq_sendbytes(&buf, clock->zone, strlen(clock->zone));
	pq_sendint64(&buf, state->as_of);
	pq_sendfloat8(&buf, state->first_spend.high);
	pq_sendfloat8(&buf, state->first_spend.low);
	pq_sendfloat8(&buf, state->rest_spend.high);
	pq_sendfloat8(&buf, state->rest_spend.low);
	pq_sendbyte(&buf, state->first_known);
	pq_sendbyte(&buf, state->rest_known);
	pq_sendint32(&buf, state->nunits);
	for (int32 i = 0; i < state->nunits; i++)
		pq_sendint32(&buf, state->units[i]);
	PG_RETURN_BYTEA_P(pq_endtypsend(&buf));
}

/* The result lives in the caller's short-lived context; combine copies it. */
Datum
loyalty_rfm_deserialize(PG_FUNCTION_ARGS)
{
	StringInfoData buf;
	Interval	unit;
	char		zone[TZ_STRLEN_MAX + 1];
	int			zone_length;
	RfmState   *state;
	Clock	   *clock;
	int32		nunits;

	(void) aggregate_context(fcinfo);

	aggregate_begin_recv(fcinfo, &buf, STATE_VERSION);
	unit.time = pq_getmsgint64(&buf);
	unit.day = (int32) pq_getmsgint(&buf, 4);
	unit.month = (int32) pq_getmsgint(&buf, 4);
	zone_length = (int) pq_getmsgint(&buf, 4);
	if (zone_length < 0 || zone_length > TZ_STRLEN_MAX)
		elog(ERROR, "invalid time zone in a serialized rfm state");
	memcpy(zone, pq_getmsgbytes(&buf, zone_length), zone_length);
	zone[zone_length] = '\0';
	clock = clock_find(fcinfo->flinfo, &unit, zone);

	state = make_state(CurrentMemoryContext, clock, pq_getmsgint64(&buf));
	state->first_spend.high = pq_getmsgfloat8(&buf);
	state->first_spend.low = pq_getmsgfloat8(&buf);
	state->rest_spend.high = pq_getmsgfloat8(&buf);
	state->rest_spend.low = pq_getmsgfloat8(&buf);
	state->first_known = pq_getmsgbyte(&buf) != 0;
	state->rest_known = pq_getmsgbyte(&buf) != 0;
	nunits = (int32) pq_getmsgint(&buf, 4);
	for (int32 i = 0; i < nunits; i++)
		add_unit(state, pq_getmsgint(&buf, 4));
	if (state->nunits == 0)
		elog(ERROR, "empty serialized rfm state");
	state->first = state->units[0];
	pq_getmsgend(&buf);
	PG_RETURN_POINTER(state);
}

/* May put the state's units in order, which changes nothing that it means. */
Datum
loyalty_rfm_final(PG_FUNCTION_ARGS)
{
	RfmState   *state;
	int64		frequency;
	uint32		recency;
	float8		monetary = 0.0;
	bool		has_monetary;

	(void) aggregate_context(fcinfo);
	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();

	state = (RfmState *) PG_GETARG_POINTER(0);
	compact_units(state);
	frequency = state->nunits - 1;
	recency = state->units[0] - state->units[state->nunits - 1];

	has_monetary = frequency > 0 && state->rest_known;
	if (has_monetary)
	{
		monetary = sum_total(state->rest_spend) / frequency;
		if (!isfinite(monetary))
			float_overflow_error();
	}
	PG_RETURN_POINTER(make_rfm(frequency, recency, state->units[0], monetary, has_monetary, NULL));
}
