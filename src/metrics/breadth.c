/*
 * breadth.c
 *		Cross-sell and up-sell: from how many categories customers buy, and how
 *		many buy dearer than before.
 *
 * breadth_summary is a histogram: customers by their number of categories.  The
 * aggregate's state holds the sets of customers and of (customer, category); the
 * customer's tag is the number of categories.
 */
#include "postgres.h"

#include <math.h>

#include "common/int.h"
#include "funcapi.h"
#include "libpq/pqformat.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

#include "base/compat.h"
#include "base/errors.h"
#include "metrics/aggregate.h"
#include "metrics/keyset.h"
#include "metrics/tally.h"

#define BREADTH_TYPE		"breadth_summary"
#define BREADTH_VERSION		1
#define STATE_VERSION		1

typedef struct BreadthBin
{
	int64		categories;
	int64		customers;
} BreadthBin;

typedef struct BreadthSummary
{
	SummaryHeader header;
	BreadthBin	bin[FLEXIBLE_ARRAY_MEMBER]; /* by rising categories, none of them empty */
} BreadthSummary;

typedef struct BreadthState
{
	KeySet	   *customers;
	KeySet	   *pairs;
} BreadthState;

enum
{
	MEMBERS,
	RAISED,
	LOWERED
};

enum
{
	BEFORE,
	AFTER,
	GAINED
};

static const char *upsell_contradiction(const Tally *tally);

static const TallyType upsell_type = {
	"upsell_summary", 1, 3, {"members", "raised", "lowered"}, 3, {"before", "after", "gained"},
	upsell_contradiction
};

PG_FUNCTION_INFO_V1(loyalty_breadth_in);
PG_FUNCTION_INFO_V1(loyalty_breadth_out);
PG_FUNCTION_INFO_V1(loyalty_breadth_recv);
PG_FUNCTION_INFO_V1(loyalty_breadth_send);
PG_FUNCTION_INFO_V1(loyalty_breadth_add);
PG_FUNCTION_INFO_V1(loyalty_breadth_subtract);
PG_FUNCTION_INFO_V1(loyalty_breadth_accum);
PG_FUNCTION_INFO_V1(loyalty_breadth_combine);
PG_FUNCTION_INFO_V1(loyalty_breadth_serialize);
PG_FUNCTION_INFO_V1(loyalty_breadth_deserialize);
PG_FUNCTION_INFO_V1(loyalty_breadth_final);
PG_FUNCTION_INFO_V1(loyalty_breadth_final_mean);
PG_FUNCTION_INFO_V1(loyalty_breadth_customers);
PG_FUNCTION_INFO_V1(loyalty_breadth_mean);
PG_FUNCTION_INFO_V1(loyalty_breadth_median);
PG_FUNCTION_INFO_V1(loyalty_breadth_share);
PG_FUNCTION_INFO_V1(loyalty_breadth_distribution);
PG_FUNCTION_INFO_V1(loyalty_upsell_in);
PG_FUNCTION_INFO_V1(loyalty_upsell_out);
PG_FUNCTION_INFO_V1(loyalty_upsell_recv);
PG_FUNCTION_INFO_V1(loyalty_upsell_send);
PG_FUNCTION_INFO_V1(loyalty_upsell_accum);
PG_FUNCTION_INFO_V1(loyalty_upsell_combine);
PG_FUNCTION_INFO_V1(loyalty_upsell_final);
PG_FUNCTION_INFO_V1(loyalty_upsell_members);
PG_FUNCTION_INFO_V1(loyalty_upsell_raised);
PG_FUNCTION_INFO_V1(loyalty_upsell_lowered);
PG_FUNCTION_INFO_V1(loyalty_upsell_rate);
PG_FUNCTION_INFO_V1(loyalty_upsell_gain);


/* ----- the histogram ----- */

static BreadthSummary *
get_breadth(FunctionCallInfo fcinfo, int argno)
{
	BreadthSummary *summary = (BreadthSummary *) PG_DETOAST_DATUM(PG_GETARG_DATUM(argno));

	summary_check_version(&summary->header, BREADTH_VERSION, BREADTH_TYPE);
	return summary;
}

static inline int
bins(const BreadthSummary *summary)
{
	return (VARSIZE(summary) - offsetof(BreadthSummary, bin)) / sizeof(BreadthBin);
}

/*
 * The one door: sorted bins of positive numbers, whose customers fit in a
 * bigint together.  NULL after a soft error.
 */
static BreadthSummary *
make_breadth(const BreadthBin *bin, int n, Node *escontext)
{
	BreadthSummary *summary;
	int64		customers = 0;

	for (int i = 0; i < n; i++)
	{
		const char *detail = NULL;

		if (bin[i].categories < 1 || bin[i].customers < 1)
			detail = "Categories and customers are positive.";
		else if (i > 0 && bin[i].categories <= bin[i - 1].categories)
			detail = "The numbers of categories must rise.";
		if (detail != NULL)
			ereturn(escontext, NULL,
					(errcode(ERRCODE_LY_INVALID_METRIC),
					 errmsg("invalid %s", BREADTH_TYPE),
					 errdetail("%s", detail)));
		if (pg_add_s64_overflow(customers, bin[i].customers, &customers))
			ereturn(escontext, NULL,
					(errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
					 errmsg("%s out of range", BREADTH_TYPE)));
	}
	if (n == 0)
		ereturn(escontext, NULL,
				(errcode(ERRCODE_LY_INVALID_METRIC),
				 errmsg("invalid %s", BREADTH_TYPE),
				 errdetail("There must be at least one customer.")));
	summary = summary_alloc(offsetof(BreadthSummary, bin) + n * sizeof(BreadthBin), BREADTH_VERSION);
	memcpy(summary->bin, bin, n * sizeof(BreadthBin));
	return summary;
}

static const char *
skip_blanks(const char *p)
{
	while (*p == ' ')
		p++;
	return p;
}

/* "(1:3,2:5)": three customers with one category, five with two */
Datum
loyalty_breadth_in(PG_FUNCTION_ARGS)
{
	const char *text = PG_GETARG_CSTRING(0);
	Node	   *escontext = fcinfo->context;
	const char *p = skip_blanks(text);
	BreadthBin *bin = palloc((strlen(text) / 2 + 1) * sizeof(BreadthBin));
	int			n = 0;

	do
	{
		char	   *end;

		/* the "(" or "," before it */
		if (*p != (n == 0 ? '(' : ','))
			goto syntax;
		errno = 0;
		bin[n].categories = strtoi64(p + 1, &end, 10);
		if (end == p + 1 || *skip_blanks(end) != ':')
			goto syntax;
		p = skip_blanks(end) + 1;
		bin[n].customers = strtoi64(p, &end, 10);
		if (end == p)
			goto syntax;
		if (errno == ERANGE)
			ereturn(escontext, (Datum) 0,
					(errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
					 errmsg("%s out of range", BREADTH_TYPE)));
		p = skip_blanks(end);
		n++;
	} while (*p != ')');
	if (*skip_blanks(p + 1) != '\0')
		goto syntax;
	PG_RETURN_POINTER(make_breadth(bin, n, escontext));

syntax:
	ereturn(escontext, (Datum) 0,
			(errcode(ERRCODE_INVALID_TEXT_REPRESENTATION),
			 errmsg("invalid input syntax for type %s: \"%s\"", BREADTH_TYPE, text),
			 errdetail("It must be written as (categories:customers,...).")));
}

Datum
loyalty_breadth_out(PG_FUNCTION_ARGS)
{
	BreadthSummary *summary = get_breadth(fcinfo, 0);
	StringInfoData buf;

	initStringInfo(&buf);
	for (int i = 0; i < bins(summary); i++)
		appendStringInfo(&buf, "%c" INT64_FORMAT ":" INT64_FORMAT, i == 0 ? '(' : ',',
						 summary->bin[i].categories, summary->bin[i].customers);
	PG_RETURN_CSTRING(summary_finish(&buf));
}

Datum
loyalty_breadth_recv(PG_FUNCTION_ARGS)
{
	StringInfo	buf = (StringInfo) PG_GETARG_POINTER(0);
	BreadthBin *bin;
	int			n;

	(void) summary_begin_recv(buf, BREADTH_VERSION, BREADTH_TYPE);
	n = pq_getmsgint(buf, 4);
	if (n < 0 || (buf->len - buf->cursor) / (int) sizeof(BreadthBin) < n)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_BINARY_REPRESENTATION),
				 errmsg("insufficient data left in message")));
	bin = palloc(n * sizeof(BreadthBin) + 1);
	for (int i = 0; i < n; i++)
	{
		bin[i].categories = pq_getmsgint64(buf);
		bin[i].customers = pq_getmsgint64(buf);
	}
	PG_RETURN_POINTER(make_breadth(bin, n, NULL));
}

Datum
loyalty_breadth_send(PG_FUNCTION_ARGS)
{
	BreadthSummary *summary = get_breadth(fcinfo, 0);
	StringInfoData buf;

	summary_begin_send(&buf, BREADTH_VERSION);
	pq_sendint32(&buf, bins(summary));
	for (int i = 0; i < bins(summary); i++)
	{
		pq_sendint64(&buf, summary->bin[i].categories);
		pq_sendint64(&buf, summary->bin[i].customers);
	}
	PG_RETURN_BYTEA_P(pq_endtypsend(&buf));
}

/* For rollup() and its workers: two sorted lists become one. */
Datum
loyalty_breadth_add(PG_FUNCTION_ARGS)
{
	BreadthSummary *a = get_breadth(fcinfo, 0);
	BreadthSummary *b = get_breadth(fcinfo, 1);
	BreadthBin *bin = palloc((bins(a) + bins(b)) * sizeof(BreadthBin));
	int			i = 0;
	int			j = 0;
	int			n = 0;

	while (i < bins(a) || j < bins(b))
	{
		if (j == bins(b) || (i < bins(a) && a->bin[i].categories < b->bin[j].categories))
			bin[n++] = a->bin[i++];
		else if (i == bins(a) || b->bin[j].categories < a->bin[i].categories)
			bin[n++] = b->bin[j++];
		else
		{
			bin[n] = a->bin[i++];
			if (pg_add_s64_overflow(bin[n].customers, b->bin[j++].customers, &bin[n].customers))
				summary_overflow(BREADTH_TYPE);
			n++;
		}
	}
	PG_RETURN_POINTER(make_breadth(bin, n, NULL));
}

/* For windows: what leaves the frame was added before. */
Datum
loyalty_breadth_subtract(PG_FUNCTION_ARGS)
{
	BreadthSummary *a = get_breadth(fcinfo, 0);
	BreadthSummary *b = get_breadth(fcinfo, 1);
	BreadthBin *bin = palloc((bins(a) + 1) * sizeof(BreadthBin));
	int			j = 0;
	int			n = 0;

	for (int i = 0; i < bins(a); i++)
	{
		bin[n] = a->bin[i];
		if (j < bins(b) && b->bin[j].categories == bin[n].categories)
			bin[n].customers -= b->bin[j++].customers;
		if (bin[n].customers < 0)
			summary_not_added(BREADTH_TYPE);
		if (bin[n].customers > 0)
			n++;
	}
	if (j < bins(b))
		summary_not_added(BREADTH_TYPE);
	PG_RETURN_POINTER(make_breadth(bin, n, NULL));
}


/* ----- aggregation ----- */

static BreadthState *
make_state(MemoryContext context, Oid customer, Oid category, Oid collation)
{
	BreadthState *state = MemoryContextAllocZero(context, sizeof(BreadthState));

	state->customers = keyset_create(context, customer, collation);
	state->pairs = keyset_create(context, category, collation);
	return state;
}

static void
add_pair(BreadthState *state, uint32 customer, Datum category)
{
	bool		found;

	(void) keyset_add(state->pairs, customer, category, &found);
	if (!found)
		state->customers->entries[customer].tag++;
}

/* breadth_agg(customer, category) */
Datum
loyalty_breadth_accum(PG_FUNCTION_ARGS)
{
	BreadthState *state;
	bool		found;

	if (PG_ARGISNULL(1) || PG_ARGISNULL(2))
		return aggregate_unchanged(fcinfo);
	if (PG_ARGISNULL(0))
		state = make_state(aggregate_context(fcinfo), aggregate_argument_type(fcinfo, 1),
						   aggregate_argument_type(fcinfo, 2), PG_GET_COLLATION());
	else
		state = (BreadthState *) PG_GETARG_POINTER(0);
	add_pair(state, keyset_add(state->customers, 0, PG_GETARG_DATUM(1), &found), PG_GETARG_DATUM(2));
	PG_RETURN_POINTER(state);
}

Datum
loyalty_breadth_combine(PG_FUNCTION_ARGS)
{
	MemoryContext context = aggregate_context(fcinfo);
	BreadthState *state;
	BreadthState *other;
	uint32	   *number;
	bool		found;

	if (PG_ARGISNULL(1))
		return aggregate_unchanged(fcinfo);

	other = (BreadthState *) PG_GETARG_POINTER(1);
	if (PG_ARGISNULL(0))
		state = make_state(context, other->customers->type, other->pairs->type,
						   other->customers->collation);
	else
		state = (BreadthState *) PG_GETARG_POINTER(0);

	/* Where the other's customers are here. */
	number = palloc_extended((Size) other->customers->size * sizeof(uint32) + 1, MCXT_ALLOC_HUGE);
	for (uint32 i = 0; i < other->customers->size; i++)
	{
		CHECK_FOR_INTERRUPTS();
		number[i] = keyset_add(state->customers, 0, other->customers->entries[i].key, &found);
	}
	for (uint32 i = 0; i < other->pairs->size; i++)
	{
		KeyEntry   *pair = &other->pairs->entries[i];

		CHECK_FOR_INTERRUPTS();
		add_pair(state, number[pair->scope], pair->key);
	}
	pfree(number);
	PG_RETURN_POINTER(state);
}

Datum
loyalty_breadth_serialize(PG_FUNCTION_ARGS)
{
	BreadthState *state = aggregate_state(fcinfo);
	StringInfoData buf;

	aggregate_begin_send(&buf, STATE_VERSION);
	keyset_send(&buf, state->customers);
	keyset_send(&buf, state->pairs);
	PG_RETURN_BYTEA_P(pq_endtypsend(&buf));
}

/* In the caller's short-lived context; combine takes what it needs. */
Datum
loyalty_breadth_deserialize(PG_FUNCTION_ARGS)
{
	BreadthState *state;
	StringInfoData buf;

	(void) aggregate_context(fcinfo);
	aggregate_begin_recv(fcinfo, &buf, STATE_VERSION);

	state = palloc0(sizeof(BreadthState));
	state->customers = keyset_recv(&buf);
	state->pairs = keyset_recv(&buf);
	pq_getmsgend(&buf);
	PG_RETURN_POINTER(state);
}

static int
compare_tags(const void *a, const void *b)
{
	uint32		x = *(const uint32 *) a;
	uint32		y = *(const uint32 *) b;

	return (x > y) - (x < y);
}

Datum
loyalty_breadth_final(PG_FUNCTION_ARGS)
{
	BreadthState *state = aggregate_state(fcinfo);
	uint32	   *tags;
	uint32		size;
	BreadthBin *bin;
	int			n = 0;

	if (state == NULL)
		PG_RETURN_NULL();

	size = state->customers->size;
	tags = palloc_extended((Size) size * sizeof(uint32), MCXT_ALLOC_HUGE);
	for (uint32 i = 0; i < size; i++)
		tags[i] = state->customers->entries[i].tag;
	qsort(tags, size, sizeof(uint32), compare_tags);

	for (uint32 i = 0; i < size; i++)
		n += i == 0 || tags[i] != tags[i - 1];
	bin = palloc(n * sizeof(BreadthBin));
	n = 0;
	for (uint32 i = 0; i < size; i++)
	{
		if (i == 0 || tags[i] != tags[i - 1])
			bin[n++] = (BreadthBin) {tags[i], 0};
		bin[n - 1].customers++;
	}
	PG_RETURN_POINTER(make_breadth(bin, n, NULL));
}

Datum
loyalty_breadth_final_mean(PG_FUNCTION_ARGS)
{
	BreadthState *state = aggregate_state(fcinfo);

	if (state == NULL)
		PG_RETURN_NULL();
	PG_RETURN_FLOAT8((double) state->pairs->size / (double) state->customers->size);
}


/* ----- accessors ----- */

static int64
all_customers(const BreadthSummary *summary)
{
	int64		customers = 0;

	for (int i = 0; i < bins(summary); i++)
		customers += summary->bin[i].customers;
	return customers;
}

Datum
loyalty_breadth_customers(PG_FUNCTION_ARGS)
{
	PG_RETURN_INT64(all_customers(get_breadth(fcinfo, 0)));
}

Datum
loyalty_breadth_mean(PG_FUNCTION_ARGS)
{
	BreadthSummary *summary = get_breadth(fcinfo, 0);
	double		pairs = 0.0;

	for (int i = 0; i < bins(summary); i++)
		pairs += (double) summary->bin[i].categories * (double) summary->bin[i].customers;
	PG_RETURN_FLOAT8(pairs / (double) all_customers(summary));
}

/* The categories of the customer of this number, counted from 0 by categories. */
static int64
categories_at(const BreadthSummary *summary, int64 number)
{
	int			i = 0;

	while (number >= summary->bin[i].customers)
		number -= summary->bin[i++].customers;
	return summary->bin[i].categories;
}

/* Of an even number of customers the mean of the two in the middle. */
Datum
loyalty_breadth_median(PG_FUNCTION_ARGS)
{
	BreadthSummary *summary = get_breadth(fcinfo, 0);
	int64		customers = all_customers(summary);

	PG_RETURN_FLOAT8(0.5 * ((double) categories_at(summary, (customers - 1) / 2) +
							(double) categories_at(summary, customers / 2)));
}

/* multi_category_share(summary, at least) */
Datum
loyalty_breadth_share(PG_FUNCTION_ARGS)
{
	BreadthSummary *summary = get_breadth(fcinfo, 0);
	int32		at_least = PG_GETARG_INT32(1);
	int64		customers = 0;

	if (at_least < 1)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("at_least must be positive")));
	for (int i = 0; i < bins(summary); i++)
	{
		if (summary->bin[i].categories >= at_least)
			customers += summary->bin[i].customers;
	}
	PG_RETURN_FLOAT8((double) customers / (double) all_customers(summary));
}

Datum
loyalty_breadth_distribution(PG_FUNCTION_ARGS)
{
	BreadthSummary *summary = get_breadth(fcinfo, 0);
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;

	InitMaterializedSRF(fcinfo, 0);
	for (int i = 0; i < bins(summary); i++)
	{
		Datum		values[2] = {
			Int64GetDatum(summary->bin[i].categories), Int64GetDatum(summary->bin[i].customers)
		};
		bool		nulls[2] = {false, false};

		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
	}
	return (Datum) 0;
}


/* ----- up-sell ----- */

static const char *
upsell_contradiction(const Tally *tally)
{
	int64		changed;

	if (pg_add_s64_overflow(tally->count[RAISED], tally->count[LOWERED], &changed) ||
		changed > tally->count[MEMBERS])
		return "There can't be more members who changed than members.";
	if (tally->sum[BEFORE].high < 0.0 || tally->sum[AFTER].high < 0.0 || tally->sum[GAINED].high < 0.0)
		return "Sums must not be negative.";
	if (tally->count[RAISED] == 0 && tally->sum[GAINED].high != 0.0)
		return "There is no gain if nobody raised.";
	return NULL;
}

Datum
loyalty_upsell_in(PG_FUNCTION_ARGS)
{
	return tally_in(fcinfo, &upsell_type);
}

Datum
loyalty_upsell_out(PG_FUNCTION_ARGS)
{
	return tally_out(fcinfo, &upsell_type);
}

Datum
loyalty_upsell_recv(PG_FUNCTION_ARGS)
{
	return tally_recv(fcinfo, &upsell_type);
}

Datum
loyalty_upsell_send(PG_FUNCTION_ARGS)
{
	return tally_send(fcinfo, &upsell_type);
}

/* upsell_agg(before, after) */
Datum
loyalty_upsell_accum(PG_FUNCTION_ARGS)
{
	double		before = PG_GETARG_FLOAT8(1);
	double		after = PG_GETARG_FLOAT8(2);
	Tally	   *state;

	if (unlikely(!(before >= 0.0 && after >= 0.0) || isinf(before) || isinf(after)))
		ereport(ERROR,
				(errcode(ERRCODE_LY_INVALID_METRIC),
				 errmsg("values before and after must be finite and not negative"),
				 errhint("Leave other rows out with FILTER (WHERE ...), or pass NULL.")));
	state = tally_get_state(fcinfo, &upsell_type);
	state->count[MEMBERS]++;
	state->count[RAISED] += after > before;
	state->count[LOWERED] += after < before;
	sum_add(&state->sum[BEFORE], before);
	sum_add(&state->sum[AFTER], after);
	if (after > before)
		sum_add(&state->sum[GAINED], after - before);
	PG_RETURN_POINTER(state);
}

Datum
loyalty_upsell_combine(PG_FUNCTION_ARGS)
{
	return tally_add(fcinfo, &upsell_type);
}

Datum
loyalty_upsell_final(PG_FUNCTION_ARGS)
{
	return tally_final(fcinfo, &upsell_type);
}

Datum
loyalty_upsell_members(PG_FUNCTION_ARGS)
{
	return tally_count(fcinfo, &upsell_type, MEMBERS);
}

Datum
loyalty_upsell_raised(PG_FUNCTION_ARGS)
{
	return tally_count(fcinfo, &upsell_type, RAISED);
}

Datum
loyalty_upsell_lowered(PG_FUNCTION_ARGS)
{
	return tally_count(fcinfo, &upsell_type, LOWERED);
}

/* Also the final function of upsell_rate(before, after). */
Datum
loyalty_upsell_rate(PG_FUNCTION_ARGS)
{
	Tally	   *tally = tally_get_arg(fcinfo, 0, &upsell_type);

	return tally_ratio(fcinfo, (double) tally->count[RAISED], (double) tally->count[MEMBERS]);
}

Datum
loyalty_upsell_gain(PG_FUNCTION_ARGS)
{
	Tally	   *tally = tally_get_arg(fcinfo, 0, &upsell_type);

	return tally_ratio(fcinfo, sum_total(tally->sum[GAINED]), sum_total(tally->sum[BEFORE]));
}
