/*
 * clv_fit.c
 *		The aggregate that fits a clv_model to customers.
 *
 * The state collapses equal customers into one row with a count; it lives in
 * the aggregate's memory context.  The final function copies and sorts the
 * rows, so that a fit does not depend on the order in which, or the worker
 * through which, they came.
 *
 * A fit polls for interrupts, and unwinds before one is served.
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

#define STATE_VERSION		1
#define DEFAULT_FAMILY		FAMILY_MBGNBD
#define FIRST_CAPACITY		32

/* Distinct rows with counts, in the order of their first coming. */
typedef struct CountedRow
{
	float8		key[3];
	int64		count;
} CountedRow;

typedef struct RowSet
{
	CountedRow *row;
	uint32		nrows;
	uint32		capacity;
	uint32	   *slot;			/* number of a row + 1, or 0: open addressing */
	uint32		mask;			/* slots - 1; there are twice the capacity */
} RowSet;

typedef struct FitState
{
	ProcessFamily family;
	bool		spend;			/* fit the spend as well */
	int64		left_out;		/* repeat buyers without a positive spend */
	RowSet		purchases;		/* frequency, recency, age */
	RowSet		spends;			/* frequency, monetary */
} FitState;

PG_FUNCTION_INFO_V1(loyalty_clv_accum);
PG_FUNCTION_INFO_V1(loyalty_clv_combine);
PG_FUNCTION_INFO_V1(loyalty_clv_serialize);
PG_FUNCTION_INFO_V1(loyalty_clv_deserialize);
PG_FUNCTION_INFO_V1(loyalty_clv_final);


/* ----- counted rows ----- */

/* The finishing step of MurmurHash3: whole numbers differ in their high bits only. */
static inline uint64
mix_bits(uint64 bits)
{
	bits ^= bits >> 33;
	bits *= UINT64CONST(0xff51afd7ed558ccd);
	bits ^= bits >> 33;
	bits *= UINT64CONST(0xc4ceb9fe1a85ec53);
	bits ^= bits >> 33;
	return bits;
}

static uint64
hash_key(const float8 *key)
{
	uint64		hash = 0;

	for (int i = 0; i < 3; i++)
	{
		uint64		bits;

		memcpy(&bits, &key[i], sizeof(bits));
		hash = mix_bits(hash ^ bits);
	}
	return hash;
}

/* Room for the rows, and slots for twice as many; old slots are made anew. */
static void
grow_rows(RowSet *set, MemoryContext context, uint32 capacity)
{
	Size		slots = 2 * (Size) capacity;

	if (set->row == NULL)
		set->row = MemoryContextAllocHuge(context, capacity * sizeof(CountedRow));
	else
		set->row = repalloc_huge(set->row, capacity * sizeof(CountedRow));
	if (set->slot != NULL)
		pfree(set->slot);
	set->slot = MemoryContextAllocExtended(context, slots * sizeof(uint32),
										   MCXT_ALLOC_HUGE | MCXT_ALLOC_ZERO);
	set->capacity = capacity;
	set->mask = slots - 1;

	for (uint32 i = 0; i < set->nrows; i++)
	{
		uint32		at = hash_key(set->row[i].key) & set->mask;

		CHECK_FOR_INTERRUPTS();
		while (set->slot[at] != 0)
			at = (at + 1) & set->mask;
		set->slot[at] = i + 1;
	}
}

static void
add_rows(RowSet *set, MemoryContext context, const float8 *key, int64 count)
{
	uint32		at;
	CountedRow *row;

	if (set->nrows == set->capacity)
	{
		if (set->capacity > PG_UINT32_MAX / 4)
			ereport(ERROR,
					(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
					 errmsg("too many distinct customers to fit a model")));
		grow_rows(set, context, Max(2 * set->capacity, FIRST_CAPACITY));
	}
	for (at = hash_key(key) & set->mask; set->slot[at] != 0; at = (at + 1) & set->mask)
	{
		row = &set->row[set->slot[at] - 1];
		if (memcmp(row->key, key, sizeof(row->key)) == 0)
		{
			row->count += count;
			return;
		}
	}
	row = &set->row[set->nrows++];
	memcpy(row->key, key, sizeof(row->key));
	row->count = count;
	set->slot[at] = set->nrows;
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
		float8		key[3] = {history.frequency, history.recency, history.age};

		status = history_check(state->family, &history);
		if (status != MATH_OK)
			math_error(status, state->family, "clv_fit");
		add_rows(&state->purchases, context, key, 1);
	}
	if (state->spend || is_spend_family(state->family))
	{
		float8		key[3] = {history.frequency, history.monetary, 0.0};

		if (history.frequency > 0.0 && history.monetary > 0.0)
			add_rows(&state->spends, context, key, 1);
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
	for (uint32 i = 0; i < other->purchases.nrows; i++)
	{
		CHECK_FOR_INTERRUPTS();
		add_rows(&state->purchases, context, other->purchases.row[i].key,
				 other->purchases.row[i].count);
	}
	for (uint32 i = 0; i < other->spends.nrows; i++)
	{
		CHECK_FOR_INTERRUPTS();
		add_rows(&state->spends, context, other->spends.row[i].key, other->spends.row[i].count);
	}
	PG_RETURN_POINTER(state);
}

static void
send_rows(StringInfo buf, const RowSet *set)
{
	pq_sendint32(buf, set->nrows);
	for (uint32 i = 0; i < set->nrows; i++)
	{
		CHECK_FOR_INTERRUPTS();
		for (int k = 0; k < 3; k++)
			pq_sendfloat8(buf, set->row[i].key[k]);
		pq_sendint64(buf, set->row[i].count);
	}
}

static void
recv_rows(StringInfo buf, RowSet *set, MemoryContext context)
{
	uint32		n = pq_getmsgint(buf, 4);

	for (uint32 i = 0; i < n; i++)
	{
		float8		key[3];

		CHECK_FOR_INTERRUPTS();
		for (int k = 0; k < 3; k++)
			key[k] = pq_getmsgfloat8(buf);
		add_rows(set, context, key, pq_getmsgint64(buf));
	}
}

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
	send_rows(&buf, &state->purchases);
	send_rows(&buf, &state->spends);
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
	recv_rows(&buf, &state->purchases, CurrentMemoryContext);
	recv_rows(&buf, &state->spends, CurrentMemoryContext);
	pq_getmsgend(&buf);
	PG_RETURN_POINTER(state);
}

/* A third of a large fit's time went into core's qsort, which calls its comparison. */
#define ST_SORT sort_fit_rows
#define ST_ELEMENT_TYPE FitRow
#define ST_COMPARE(a, b) fit_row_compare(a, b)
#define ST_CHECK_FOR_INTERRUPTS
#define ST_SCOPE static
#define ST_DEFINE
#include "lib/sort_template.h"

static int
interrupt_pending(void *arg)
{
	return INTERRUPTS_PENDING_CONDITION();
}

/* The fit of one process to the rows, which are left as they are. */
static void
fit_part(const RowSet *set, ProcessFamily family, ModelPart *part)
{
	FitRow	   *rows = palloc_extended(set->nrows * sizeof(FitRow), MCXT_ALLOC_HUGE);
	Fit			fit;
	MathStatus	status;

	for (uint32 i = 0; i < set->nrows; i++)
	{
		const float8 *key = set->row[i].key;

		rows[i].count = (float8) set->row[i].count;
		if (is_spend_family(family))
			rows[i].history = (History) {key[0], 0.0, 0.0, key[1]};
		else
			rows[i].history = (History) {key[0], key[1], key[2], 0.0};
	}
	sort_fit_rows(rows, set->nrows);

	status = process_fit(family, rows, set->nrows, interrupt_pending, NULL, &fit);
	while (status == MATH_INTERRUPTED)
	{
		/* Not every interrupt ends the query; one that may not be served now can wait. */
		CHECK_FOR_INTERRUPTS();
		status = process_fit(family, rows, set->nrows,
							 INTERRUPTS_PENDING_CONDITION() ? NULL : interrupt_pending, NULL, &fit);
	}
	pfree(rows);
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

static void
warn_of_fit(const ClvModel *model)
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
			 errmsg("clv_fit of family %s: %s", family_name(clv_main_part(model)->family), buf.data)));
}

Datum
loyalty_clv_final(PG_FUNCTION_ARGS)
{
	FitState   *state;
	ClvModel   *model;

	(void) aggregate_context(fcinfo);
	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();
	state = (FitState *) PG_GETARG_POINTER(0);

	model = clv_alloc();
	if (state->purchases.nrows > 0)
		fit_part(&state->purchases, state->family, &model->purchase);
	if (state->spends.nrows > 0)
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
		PG_RETURN_NULL();
	}
	else if (state->spend)
		model->purchase.warnings |= FIT_NO_SPEND;
	warn_of_fit(model);
	PG_RETURN_POINTER(model);
}
