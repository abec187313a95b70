/*
 * kpi.c
 *		What the views for BI tools read of an account: its orders, and what happened
 *		in each day or month, from one pass over its entries.
 *
 * The aggregate keeps the entries of one account; its final function puts those of
 * one order together and returns orders and movements as bytes, which the two
 * functions below turn into rows.  The bytes live within one query and are never
 * stored, so they carry no version.
 *
 * Memory follows the entries of one account, about 100 bytes each; twenty million are
 * more than a result can hold.
 */
#include "postgres.h"

#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/date.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "base/compat.h"
#include "metrics/aggregate.h"
#include "metrics/clock.h"
#include "values/points.h"

#define FIRST_CAPACITY	8

/* An entry that a row of an attached table earned. */
typedef struct Earning
{
	int32		source_id;
	int32		rule_id;		/* 0: none */
	int64		event;			/* offset of its text in the state's texts, -1: none */
	int64		line;
	int32		event_length;
	int32		line_length;
	TimestampTz at;
	Points		points;
	Points		base;			/* 0 if there is none */
	Points		refunded;
	bool		has_base;
	bool		priced;			/* base is money */
} Earning;

typedef enum MoveKind
{
	MOVE_ISSUE,
	MOVE_REDEEM,
	MOVE_GIVEBACK,
	MOVE_EXPIRE
} MoveKind;

typedef struct Move
{
	TimestampTz at;
	Points		points;
	int64		kind;			/* MoveKind */
} Move;

/* Attached rows of one event of one source that earned. */
typedef struct Order
{
	TimestampTz at;
	Points		amount;
	Points		refunded;
} Order;

typedef struct HistoryState
{
	Earning    *earning;
	int			nearnings;
	int			earning_capacity;
	Move	   *move;
	int			nmoves;
	int			move_capacity;
	char	   *text;
	Size		text_length;
	Size		text_capacity;
} HistoryState;

/* The aggregate's result: this, orders, movements. */
typedef struct HistoryHead
{
	int32		norders;
	int32		nmoves;
} HistoryHead;

/* What happened in a unit of time. */
typedef struct Period
{
	int64		unit;
	int64		orders;
	int64		redemptions;
	Points		revenue;
	Points		refunded;
	Points		issued;
	Points		redeemed;
	Points		expired;
} Period;

PG_FUNCTION_INFO_V1(loyalty_kpi_history_accum);
PG_FUNCTION_INFO_V1(loyalty_kpi_history_final);
PG_FUNCTION_INFO_V1(loyalty_kpi_history_orders);
PG_FUNCTION_INFO_V1(loyalty_kpi_history_periods);


/* ----- the aggregate ----- */

/* Room for one more, or for as many more characters. */
static void *
grown(MemoryContext context, void *array, Size size, Size needed, Size *capacity)
{
	if (needed <= *capacity)
		return array;
	*capacity = Max(Max(2 * *capacity, needed), FIRST_CAPACITY);
	if (array == NULL)
		return MemoryContextAllocHuge(context, *capacity * size);
	return repalloc_huge(array, *capacity * size);
}

static int64
keep_text(HistoryState *state, MemoryContext context, FunctionCallInfo fcinfo, int argno, int32 *length)
{
	text	   *value;
	int64		offset;

	*length = 0;
	if (PG_ARGISNULL(argno))
		return -1;
	value = PG_GETARG_TEXT_PP(argno);
	*length = (int32) VARSIZE_ANY_EXHDR(value);
	if (*length == 0)
		return 0;
	state->text = grown(context, state->text, 1, state->text_length + *length, &state->text_capacity);
	memcpy(state->text + state->text_length, VARDATA_ANY(value), *length);
	offset = (int64) state->text_length;
	state->text_length += *length;
	return offset;
}

static inline bool
text_is(const text *value, const char *word)
{
	Size		length = strlen(word);

	return VARSIZE_ANY_EXHDR(value) == length && memcmp(VARDATA_ANY(value), word, length) == 0;
}

static MoveKind
move_kind(const text *kind)
{
	if (text_is(kind, "redeem"))
		return MOVE_REDEEM;
	if (text_is(kind, "giveback"))
		return MOVE_GIVEBACK;
	if (text_is(kind, "expire") || text_is(kind, "forfeit"))
		return MOVE_EXPIRE;
	return MOVE_ISSUE;
}

/* _history_agg(source_id, event, line, rule_id, kind, event_time, points, base, refunded, priced) */
Datum
loyalty_kpi_history_accum(PG_FUNCTION_ARGS)
{
	MemoryContext context = aggregate_context(fcinfo);
	HistoryState *state;
	Size		capacity;
	Move	   *move;

	if (PG_ARGISNULL(5) || PG_ARGISNULL(6) || PG_ARGISNULL(7))
		return aggregate_unchanged(fcinfo);
	state = PG_ARGISNULL(0) ? MemoryContextAllocZero(context, sizeof(HistoryState)) :
		(HistoryState *) PG_GETARG_POINTER(0);

	capacity = state->move_capacity;
	state->move = grown(context, state->move, sizeof(Move), (Size) state->nmoves + 1, &capacity);
	state->move_capacity = (int) capacity;
	move = &state->move[state->nmoves++];
	move->at = PG_GETARG_TIMESTAMPTZ(6);
	move->points = PG_GETARG_POINTS(7);
	move->kind = move_kind(PG_GETARG_TEXT_PP(5));

	if (!PG_ARGISNULL(1))
	{
		Earning    *earning;

		capacity = state->earning_capacity;
		state->earning = grown(context, state->earning, sizeof(Earning), (Size) state->nearnings + 1, &capacity);
		state->earning_capacity = (int) capacity;
		earning = &state->earning[state->nearnings++];
		earning->source_id = PG_GETARG_INT32(1);
		earning->event = keep_text(state, context, fcinfo, 2, &earning->event_length);
		earning->line = keep_text(state, context, fcinfo, 3, &earning->line_length);
		earning->rule_id = PG_ARGISNULL(4) ? 0 : PG_GETARG_INT32(4);
		earning->at = move->at;
		earning->points = move->points;
		earning->has_base = !PG_ARGISNULL(8);
		earning->base = earning->has_base ? PG_GETARG_POINTS(8) : 0;
		earning->refunded = PG_ARGISNULL(9) ? 0 : PG_GETARG_POINTS(9);
		earning->priced = !PG_ARGISNULL(10) && PG_GETARG_BOOL(10);
	}
	PG_RETURN_POINTER(state);
}

/* Any order will do that brings equal texts together; none comes first. */
static inline int
compare_texts(const char *texts, int64 a, int32 a_length, int64 b, int32 b_length)
{
	if ((a < 0) != (b < 0))
		return a < 0 ? -1 : 1;
	if (a_length != b_length)
		return a_length < b_length ? -1 : 1;
	return a_length == 0 ? 0 : memcmp(texts + a, texts + b, a_length);
}

static int
compare_orders(const Earning *a, const Earning *b, const char *texts)
{
	if (a->source_id != b->source_id)
		return a->source_id < b->source_id ? -1 : 1;
	return compare_texts(texts, a->event, a->event_length, b->event, b->event_length);
}

static int
compare_earnings(const void *x, const void *y, void *texts)
{
	const Earning *a = x;
	const Earning *b = y;
	int			order = compare_orders(a, b, texts);

	if (order == 0)
		order = compare_texts(texts, a->line, a->line_length, b->line, b->line_length);
	if (order == 0 && a->rule_id != b->rule_id)
		order = a->rule_id < b->rule_id ? -1 : 1;
	return order;
}

/* One line of an order, as the rules that rated it have it. */
typedef struct Line
{
	Points		amount;
	Points		refunded;
	Points		points;
	bool		has_amount;
} Line;

/*
 * Each rule that rated a line carries its amount, so the highest is taken.  What was
 * deleted, and what a status took back, has nothing left; what was refunded has.
 */
static int
find_orders(HistoryState *state, Order *orders)
{
	int			norders = 0;

	if (state->nearnings > 1)
		qsort_interruptible(state->earning, state->nearnings, sizeof(Earning), compare_earnings,
							state->text);
	for (int i = 0; i < state->nearnings;)
	{
		const Earning *first = &state->earning[i];
		Order		order = {.at = DT_NOEND};
		bool		found = false;

		CHECK_FOR_INTERRUPTS();
		while (i < state->nearnings && compare_orders(first, &state->earning[i], state->text) == 0)
		{
			const Earning *line_first = &state->earning[i];
			TimestampTz at = DT_NOEND;
			Line		line = {0};
			bool		first_rule = true;

			/* all entries of a rule for this line make one sum */
			while (i < state->nearnings &&
				   compare_orders(first, &state->earning[i], state->text) == 0 &&
				   compare_texts(state->text, line_first->line, line_first->line_length,
								 state->earning[i].line, state->earning[i].line_length) == 0)
			{
				int32		rule_id = state->earning[i].rule_id;
				Line		sum = {0};

				for (; i < state->nearnings && state->earning[i].rule_id == rule_id &&
					 compare_orders(first, &state->earning[i], state->text) == 0 &&
					 compare_texts(state->text, line_first->line, line_first->line_length,
								   state->earning[i].line, state->earning[i].line_length) == 0; i++)
				{
					const Earning *e = &state->earning[i];

					sum.amount = points_add(sum.amount, e->base);
					sum.refunded = points_add(sum.refunded, e->refunded);
					sum.points = points_add(sum.points, e->points);
					sum.has_amount |= e->has_base;
					at = Min(at, e->at);
				}
				line.amount = first_rule ? sum.amount : Max(line.amount, sum.amount);
				line.refunded = first_rule ? sum.refunded : Max(line.refunded, sum.refunded);
				line.points = first_rule ? sum.points : Max(line.points, sum.points);
				line.has_amount |= sum.has_amount;
				first_rule = false;
			}
			if (line.amount > 0 || (!line.has_amount && line.points > 0))
			{
				order.at = Min(order.at, at);
				if (line_first->priced)
				{
					order.amount = points_add(order.amount, line.amount);
					order.refunded = points_add(order.refunded, line.refunded);
				}
				found = true;
			}
		}
		if (found)
			orders[norders++] = order;
	}
	return norders;
}

Datum
loyalty_kpi_history_final(PG_FUNCTION_ARGS)
{
	HistoryState *state = aggregate_state(fcinfo);
	HistoryHead head;
	Size		moves_size;
	bytea	   *result;
	char	   *at;

	if (state == NULL)
		PG_RETURN_NULL();

	moves_size = state->nmoves * sizeof(Move);
	result = palloc(VARHDRSZ + sizeof(head) + state->nearnings * sizeof(Order) + moves_size);
	at = VARDATA(result) + sizeof(head);

	/* The orders, of which there are at most as many as entries, and then what moved. */
	{
		Order	   *orders = palloc(Max(state->nearnings, 1) * sizeof(Order));

		head.norders = find_orders(state, orders);
		head.nmoves = state->nmoves;
		memcpy(at, orders, head.norders * sizeof(Order));
		pfree(orders);
	}
	memcpy(VARDATA(result), &head, sizeof(head));
	at += head.norders * sizeof(Order);
	memcpy(at, state->move, moves_size);
	SET_VARSIZE(result, at + moves_size - (char *) result);
	PG_RETURN_BYTEA_P(result);
}


/* ----- its rows ----- */

/* The parts of what the aggregate returned, in memory of their own: bytes have no alignment. */
static void
open_history(bytea *history, HistoryHead *head, Order **orders, Move **moves)
{
	const char *at = VARDATA_ANY(history);
	Size		size = VARSIZE_ANY_EXHDR(history);

	if (size < sizeof(*head))
		elog(ERROR, "not the history of an account");
	memcpy(head, at, sizeof(*head));
	if (head->norders < 0 || head->nmoves < 0 ||
		size != sizeof(*head) + head->norders * sizeof(Order) + head->nmoves * sizeof(Move))
		elog(ERROR, "not the history of an account");
	at += sizeof(*head);
	*orders = palloc(head->norders * sizeof(Order) + 1);
	memcpy(*orders, at, head->norders * sizeof(Order));
	at += head->norders * sizeof(Order);
	*moves = palloc(head->nmoves * sizeof(Move) + 1);
	memcpy(*moves, at, head->nmoves * sizeof(Move));
}

/* _history_orders(history) */
Datum
loyalty_kpi_history_orders(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	HistoryHead head;
	Order	   *orders;
	Move	   *moves;

	open_history(PG_GETARG_BYTEA_PP(0), &head, &orders, &moves);
	InitMaterializedSRF(fcinfo, 0);
	for (int i = 0; i < head.norders; i++)
	{
		Datum		values[3];
		bool		nulls[3] = {false};

		values[0] = TimestampTzGetDatum(orders[i].at);
		values[1] = PointsGetDatum(orders[i].amount);
		values[2] = PointsGetDatum(orders[i].refunded);
		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
	}
	return (Datum) 0;
}

static int
compare_periods(const void *a, const void *b, void *arg)
{
	int64		x = ((const Period *) a)->unit;
	int64		y = ((const Period *) b)->unit;

	return (x > y) - (x < y);
}

/* _history_periods(history, unit, time_zone) */
Datum
loyalty_kpi_history_periods(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	char	   *zone = text_to_cstring(PG_GETARG_TEXT_PP(2));
	Clock	   *clock = clock_find(fcinfo->flinfo, PG_GETARG_INTERVAL_P(1), zone);
	HistoryHead head;
	Order	   *orders;
	Move	   *moves;
	Period	   *period;
	int			n = 0;
	int64		last_active = PG_INT64_MIN;

	open_history(PG_GETARG_BYTEA_PP(0), &head, &orders, &moves);
	period = palloc0(((Size) head.norders + head.nmoves) * sizeof(Period) + 1);
	for (int i = 0; i < head.norders; i++, n++)
	{
		period[n].unit = clock_unit(clock, orders[i].at);
		period[n].orders = 1;
		period[n].revenue = points_sub(orders[i].amount, orders[i].refunded);
		period[n].refunded = orders[i].refunded;
	}
	for (int i = 0; i < head.nmoves; i++, n++)
	{
		Points		points = moves[i].points;

		period[n].unit = clock_unit(clock, moves[i].at);
		switch ((MoveKind) moves[i].kind)
		{
			case MOVE_ISSUE:
				period[n].issued = points;
				break;
			case MOVE_REDEEM:
				period[n].redemptions = 1;
				/* FALLTHROUGH */
			case MOVE_GIVEBACK:
				period[n].redeemed = points_sub(0, points);
				break;
			case MOVE_EXPIRE:
				period[n].expired = points_sub(0, points);
				break;
		}
	}
	qsort_interruptible(period, n, sizeof(Period), compare_periods, NULL);

	InitMaterializedSRF(fcinfo, 0);
	for (int i = 0; i < n;)
	{
		Period		sum = period[i++];
		Datum		values[9];
		bool		nulls[9] = {false};

		CHECK_FOR_INTERRUPTS();
		for (; i < n && period[i].unit == sum.unit; i++)
		{
			sum.orders += period[i].orders;
			sum.redemptions += period[i].redemptions;
			sum.revenue = points_add(sum.revenue, period[i].revenue);
			sum.refunded = points_add(sum.refunded, period[i].refunded);
			sum.issued = points_add(sum.issued, period[i].issued);
			sum.redeemed = points_add(sum.redeemed, period[i].redeemed);
			sum.expired = points_add(sum.expired, period[i].expired);
		}
		values[0] = DateADTGetDatum((DateADT) floor_div(clock_unit_start(clock, sum.unit), USECS_PER_DAY));
		values[1] = Int64GetDatum(sum.orders);
		values[2] = BoolGetDatum(sum.orders > 0 && last_active == sum.unit - 1);
		values[3] = PointsGetDatum(sum.revenue);
		values[4] = PointsGetDatum(sum.refunded);
		values[5] = PointsGetDatum(sum.issued);
		values[6] = PointsGetDatum(sum.redeemed);
		values[7] = PointsGetDatum(sum.expired);
		values[8] = Int64GetDatum(sum.redemptions);
		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
		if (sum.orders > 0)
			last_active = sum.unit;
	}
	return (Datum) 0;
}
