/*
 * clv_fit.c
 *		The aggregate that fits a clv_model to customers.
 *
 * The state keeps a row for each customer, and collapses equal ones into one
 * with a count when there are many, before it is sent, and before the fit.
 * Collapsed rows are sorted, so that a fit does not depend on the order in
 * which, or the worker through which, they came.  The state lives in the
 * aggregate's memory context.
 *
 * Long work polls for interrupts, and unwinds before one is served.
 */
#include "postgres.h"

#include <math.h>

#include "libpq/pqformat.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

#include "base/compat.h"
#include "base/errors.h"
#include "metrics/aggregate.h"
#include "models/clv.h"

#define STATE_VERSION		2
#define DEFAULT_FAMILY		FAMILY_MBGNBD
#define FIRST_CAPACITY		32

/* From so many rows on (40 megabytes) room is made by collapsing before more is taken. */
#define COLLAPSE_FROM		(1024 * 1024)

typedef struct RowSet
{
	FitRow	   *row;
	size_t		n;
	size_t		capacity;
} RowSet;

typedef struct FitState
{
	ProcessFamily family;
	bool		spend;			/* fit the spend as well */
	int64		left_out;		/* repeat buyers without a positive spend */
	RowSet		purchases;		/* without monetary */
	RowSet		spends;			/* without recency and age */
} FitState;

PG_FUNCTION_INFO_V1(loyalty_clv_accum);
PG_FUNCTION_INFO_V1(loyalty_clv_combine);
PG_FUNCTION_INFO_V1(loyalty_clv_serialize);
PG_FUNCTION_INFO_V1(loyalty_clv_deserialize);
PG_FUNCTION_INFO_V1(loyalty_clv_final);
PG_FUNCTION_INFO_V1(loyalty_clv_final_quietly);
PG_FUNCTION_INFO_V1(loyalty_clv_warn);


/* ----- rows with counts ----- */

static int
interrupt_pending(void *arg)
{
	return INTERRUPTS_PENDING_CONDITION();
}

/* Not every interrupt ends the query; one that may not be served now can wait. */
static FitPoll
poll_again(void)
{
	CHECK_FOR_INTERRUPTS();
	return INTERRUPTS_PENDING_CONDITION() ? NULL : interrupt_pending;
}

static void
collapse(RowSet *set, ProcessFamily family)
{
	MathStatus	status;

	if (set->n == 0)
		return;
	status = collapse_rows(set->row, &set->n, interrupt_pending, NULL);
	while (status == MATH_INTERRUPTED)
		status = collapse_rows(set->row, &set->n, poll_again(), NULL);
	if (status != MATH_OK)
		math_error(status, family, "clv_fit");
}

static void
make_room(RowSet *set, ProcessFamily family, MemoryContext context)
{
	if (set->n >= COLLAPSE_FROM)
		collapse(set, family);
	if (set->n <= set->capacity / 2 && set->capacity > 0)
		return;
	if (set->capacity > PG_INT32_MAX / 4)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("too many distinct customers to fit a model")));
	set->capacity = Max(2 * set->capacity, FIRST_CAPACITY);
	if (set->row == NULL)
		set->row = MemoryContextAlloc(context, set->capacity * sizeof(FitRow));
	else
		set->row = repalloc_huge(set->row, set->capacity * sizeof(FitRow));
}

static inline void
add_row(RowSet *set, ProcessFamily family, MemoryContext context, FitRow row)
{
	if (set->n == set->capacity)
		make_room(set, family, context);
	set->row[set->n++] = row;
}


static void
add_rows(RowSet *set, ProcessFamily family, MemoryContext context, const RowSet *other)
{
	for (size_t i = 0; i < other->n; i++)
	{
		CHECK_FOR_INTERRUPTS();
		add_row(set, family, context, other->row[i]);
	}
}


/* ----- the aggregate ----- */

static ProcessFamily
family_from_name(const char *name)
{
	ProcessFamily family = family_by_name(name);

	if (family == FAMILY_NONE)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("unknown model family \"%s\"", name),
				 errhint("There are bgnbd, mbgnbd, pareto_nbd, bgbb, sbg and gamma_gamma.")));
	return family;
}

static FitState *
make_state(MemoryContext context, ProcessFamily family, bool spend)
{
	FitState   *state = MemoryContextAllocZero(context, sizeof(FitState));

	state->family = family;
	state->spend = spend;
	return state;
}

static void
mixed_arguments(void)
{
	ereport(ERROR,
			(errcode(ERRCODE_LY_INVALID_METRIC),
			 errmsg("family and spend must be the same for all rows of a clv_fit")));
}

/* clv_fit(rfm [, family [, spend]]) */
Datum
loyalty_clv_accum(PG_FUNCTION_ARGS)
{
	MemoryContext context = aggregate_context(fcinfo);
	FitState   *state = PG_ARGISNULL(0) ? NULL : (FitState *) PG_GETARG_POINTER(0);
	text	   *family = NULL;
	bool		spend = false;
	History		history;
	MathStatus	status;

	for (int i = 2; i < PG_NARGS(); i++)
	{
		if (PG_ARGISNULL(i))
			ereport(ERROR,
					(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
					 errmsg("%s of clv_fit must not be null", i == 2 ? "family" : "spend")));
	}
	if (PG_ARGISNULL(1))
		return aggregate_unchanged(fcinfo);
	if (PG_NARGS() > 2)
		family = PG_GETARG_TEXT_PP(2);
	if (PG_NARGS() > 3)
		spend = PG_GETARG_BOOL(3);

	if (state == NULL)
		state = make_state(context,
						   family ? family_from_name(text_to_cstring(family)) : DEFAULT_FAMILY, spend);
	else if (family != NULL)
	{
		const char *name = family_name(state->family);
		Size		length = strlen(name);

		if (VARSIZE_ANY_EXHDR(family) != length ||
			memcmp(VARDATA_ANY(family), name, length) != 0 || spend != state->spend)
			mixed_arguments();
	}

	history = rfm_history(rfm_get_arg(fcinfo, 1));
	if (!is_spend_family(state->family))
	{
		status = history_check(state->family, &history);
		if (status != MATH_OK)
			math_error(status, state->family, "clv_fit");
		add_row(&state->purchases, state->family, context,
				(FitRow) {{history.frequency, history.recency, history.age, 0.0}, 1.0});
	}
	if (state->spend || is_spend_family(state->family))
	{
		if (history.frequency > 0.0 && history.monetary > 0.0)
			add_row(&state->spends, state->family, context,
					(FitRow) {{history.frequency, 0.0, 0.0, history.monetary}, 1.0});
		else if (history.frequency > 0.0)
			state->left_out++;
	}
	PG_RETURN_POINTER(state);
}

Datum
loyalty_clv_combine(PG_FUNCTION_ARGS)
{
	MemoryContext context = aggregate_context(fcinfo);
	FitState   *state;
	FitState   *other;

	if (PG_ARGISNULL(1))
		return aggregate_unchanged(fcinfo);
	other = (FitState *) PG_GETARG_POINTER(1);
	if (PG_ARGISNULL(0))
		state = make_state(context, other->family, other->spend);
	else
		state = (FitState *) PG_GETARG_POINTER(0);
	if (state->family != other->family || state->spend != other->spend)
		mixed_arguments();

	state->left_out += other->left_out;
	add_rows(&state->purchases, state->family, context, &other->purchases);
	add_rows(&state->spends, state->family, context, &other->spends);
	PG_RETURN_POINTER(state);
}

static void
send_rows(StringInfo buf, RowSet *set, ProcessFamily family)
{
	collapse(set, family);
	pq_sendint64(buf, set->n);
	for (size_t i = 0; i < set->n; i++)
	{
		const FitRow *row = &set->row[i];

		CHECK_FOR_INTERRUPTS();
		pq_sendfloat8(buf, row->history.frequency);
		pq_sendfloat8(buf, row->history.recency);
		pq_sendfloat8(buf, row->history.age);
		pq_sendfloat8(buf, row->history.monetary);
		pq_sendfloat8(buf, row->count);
	}
}

static void
recv_rows(StringInfo buf, RowSet *set, ProcessFamily family)
{
	int64		n = pq_getmsgint64(buf);

	for (int64 i = 0; i < n; i++)
	{
		FitRow		row;

		CHECK_FOR_INTERRUPTS();
		row.history.frequency = pq_getmsgfloat8(buf);
		row.history.recency = pq_getmsgfloat8(buf);
		row.history.age = pq_getmsgfloat8(buf);
		row.history.monetary = pq_getmsgfloat8(buf);
		row.count = pq_getmsgfloat8(buf);
		add_row(set, family, CurrentMemoryContext, row);
	}
}

/* May collapse the state's rows, which changes nothing that it means. */
Datum
loyalty_clv_serialize(PG_FUNCTION_ARGS)
{
	FitState   *state;
	StringInfoData buf;

	(void) aggregate_context(fcinfo);
	state = (FitState *) PG_GETARG_POINTER(0);
	aggregate_begin_send(&buf, STATE_VERSION);
	pq_sendbyte(&buf, state->family);
	pq_sendbyte(&buf, state->spend);
	pq_sendint64(&buf, state->left_out);
	send_rows(&buf, &state->purchases, state->family);
	send_rows(&buf, &state->spends, state->family);
	PG_RETURN_BYTEA_P(pq_endtypsend(&buf));
}

/* The result lives in the caller's short-lived context; combine copies it. */
Datum
loyalty_clv_deserialize(PG_FUNCTION_ARGS)
{
	StringInfoData buf;
	FitState   *state;
	int			family;
	bool		spend;

	(void) aggregate_context(fcinfo);
	aggregate_begin_recv(fcinfo, &buf, STATE_VERSION);
	family = pq_getmsgbyte(&buf);
	spend = pq_getmsgbyte(&buf) != 0;
	if (family == FAMILY_NONE || family > FAMILY_LAST)
		elog(ERROR, "unexpected family in a serialized clv_fit state");
	state = make_state(CurrentMemoryContext, family, spend);
	state->left_out = pq_getmsgint64(&buf);
	recv_rows(&buf, &state->purchases, family);
	recv_rows(&buf, &state->spends, family);
	pq_getmsgend(&buf);
	PG_RETURN_POINTER(state);
}

/* The fit of one process to the rows, which it collapses. */
static void
fit_part(RowSet *set, ProcessFamily family, ModelPart *part)
{
	Fit			fit;
	MathStatus	status;

	collapse(set, family);
	status = process_fit(family, set->row, set->n, interrupt_pending, NULL, &fit);
	while (status == MATH_INTERRUPTED)
		status = process_fit(family, set->row, set->n, poll_again(), NULL, &fit);
	if (status != MATH_OK)
		math_error(status, family, "clv_fit");

	part->family = family;
	part->customers = (int64) fit.customers;
	part->log_likelihood = fit.log_likelihood + 0.0;
	part->warnings = fit.warnings;
	for (int i = 0; i < family_parameter_count(family); i++)
	{
		part->parameter[i] = fit.process.parameter[i];
		part->standard_error[i] = isfinite(fit.standard_error[i]) ? fit.standard_error[i] : 0.0;
	}
}

/* program: whose customers they are; NULL: nobody said. */
static void
warn_of_fit(const ClvModel *model, const char *program)
{
	const char *texts[CLV_WARNING_COUNT];
	int			n = clv_list_warnings(model, texts);
	StringInfoData buf;

	if (n == 0)
		return;
	initStringInfo(&buf);
	for (int i = 0; i < n; i++)
		appendStringInfo(&buf, "%s%s", i == 0 ? "" : "; ", texts[i]);
	ereport(WARNING,
			(errcode(ERRCODE_WARNING),
			 errmsg("clv_fit of family %s: %s", family_name(clv_main_part(model)->family), buf.data),
			 program ? errdetail("The program is \"%s\".", program) : 0));
}

/* Collapses the state's rows, which changes nothing that it means.  NULL: nothing could be fitted. */
static ClvModel *
fit_state(FitState *state)
{
	ClvModel   *model = clv_alloc();

	if (state->purchases.n > 0)
		fit_part(&state->purchases, state->family, &model->purchase);
	if (state->spends.n > 0)
	{
		fit_part(&state->spends, FAMILY_GAMMA_GAMMA, &model->spend);
		if (state->left_out > 0)
			model->spend.warnings |= FIT_ROWS_LEFT_OUT;
	}
	else if (is_spend_family(state->family))
	{
		ereport(WARNING,
				(errcode(ERRCODE_WARNING),
				 errmsg("clv_fit of family %s: no repeat buyer has a positive monetary value",
						family_name(state->family))));
		return NULL;
	}
	else if (state->spend)
		model->purchase.warnings |= FIT_NO_SPEND;
	return model;
}

static Datum
final(FunctionCallInfo fcinfo, bool warns)
{
	ClvModel   *model = NULL;

	(void) aggregate_context(fcinfo);
	if (!PG_ARGISNULL(0))
		model = fit_state((FitState *) PG_GETARG_POINTER(0));
	if (model == NULL)
		PG_RETURN_NULL();
	if (warns)
		warn_of_fit(model, NULL);
	PG_RETURN_POINTER(model);
}

Datum
loyalty_clv_final(PG_FUNCTION_ARGS)
{
	return final(fcinfo, true);
}

/* An aggregate does not know of which group it is: who does may warn. */
Datum
loyalty_clv_final_quietly(PG_FUNCTION_ARGS)
{
	return final(fcinfo, false);
}

Datum
loyalty_clv_warn(PG_FUNCTION_ARGS)
{
	warn_of_fit(clv_get_arg(fcinfo, 0), text_to_cstring(PG_GETARG_TEXT_PP(1)));
	PG_RETURN_DATUM(PG_GETARG_DATUM(0));
}
