/*
 * recommend.c
 *		What was bought together: baskets of items, and the nearest neighbours of each
 *		item by the baskets they share.
 *
 * basket_summary holds the baskets themselves, as numbers of items: four bytes for each
 * item of each basket.  Pairs are not stored.  They are counted when asked for, an item
 * at a time: all baskets with the item are gone through, and one counter for each other
 * item tells how often it was met (the row-wise product of a sparse matrix with its
 * transpose; Gustavson 1978).  So memory follows the lines that came in, however many
 * pairs they make, and shrinkage, support and the largest basket are chosen by who asks.
 *
 * Summaries are canonical: items ascend by their bytes, the items of a basket ascend,
 * baskets ascend as sequences of numbers.  The result depends neither on the order of the
 * rows nor on the workers.
 *
 * The state of the aggregates lives in the aggregate's memory context; its baskets are
 * in the order of arrival, and so are its items, the tag of which is the last basket
 * (counted from 1) that had them.
 */
#include "postgres.h"

#include <math.h>

#include "catalog/pg_collation_d.h"
#include "catalog/pg_type_d.h"
#include "funcapi.h"
#include "libpq/pqformat.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/numeric.h"

#include "base/compat.h"
#include "base/errors.h"
#include "metrics/aggregate.h"
#include "metrics/keyset.h"
#include "metrics/summary.h"

#define SUMMARY_TYPE		"basket_summary"
#define SUMMARY_VERSION		1
#define STATE_VERSION		1
#define FIRST_CAPACITY		64

/* Decimals of similarity and lift. */
#define DECIMALS			12

typedef struct BasketSummary
{
	SummaryHeader header;
	int32		nitems;
	int32		nbaskets;
	int32		nlines;
	int32		unused;			/* zero: values are compared as bytes */

	/*
	 * Where the text of each item ends; the end of each basket among the lines; the
	 * lines, which are numbers of items from 0; the texts.
	 */
	int32		data[FLEXIBLE_ARRAY_MEMBER];
} BasketSummary;

/* The parts of a summary. */
typedef struct Baskets
{
	int32		nitems;
	int32		nbaskets;
	const int32 *text_end;
	const int32 *basket_end;
	const int32 *line;
	const char *texts;
} Baskets;

typedef struct BasketState
{
	KeySet	   *items;			/* texts */
	Size		text_bytes;
	int32	   *basket_end;
	Size		nbaskets;
	Size		basket_capacity;
	int32	   *line;
	Size		nlines;
	Size		line_capacity;
} BasketState;

typedef struct Neighbour
{
	float8		similarity;
	int32		item;
	int32		together;
} Neighbour;

PG_FUNCTION_INFO_V1(loyalty_recommend_in);
PG_FUNCTION_INFO_V1(loyalty_recommend_out);
PG_FUNCTION_INFO_V1(loyalty_recommend_recv);
PG_FUNCTION_INFO_V1(loyalty_recommend_send);
PG_FUNCTION_INFO_V1(loyalty_recommend_accum);
PG_FUNCTION_INFO_V1(loyalty_recommend_accum_summary);
PG_FUNCTION_INFO_V1(loyalty_recommend_combine);
PG_FUNCTION_INFO_V1(loyalty_recommend_serialize);
PG_FUNCTION_INFO_V1(loyalty_recommend_deserialize);
PG_FUNCTION_INFO_V1(loyalty_recommend_final);
PG_FUNCTION_INFO_V1(loyalty_recommend_baskets);
PG_FUNCTION_INFO_V1(loyalty_recommend_similarity);


/* ----- the state ----- */

static BasketState *
make_state(MemoryContext context)
{
	BasketState *state = MemoryContextAllocZero(context, sizeof(BasketState));

	state->items = keyset_create(context, TEXTOID, C_COLLATION_OID);
	return state;
}

/*
 * A summary is one value, and so is its text: an item of a basket takes its number and a
 * blank there, or four bytes here.
 */
static void
check_size(const BasketState *state)
{
	Size		line_size = 2;
	Size		size;

	for (uint32 n = state->items->size; n >= 10; n /= 10)
		line_size++;
	size = sizeof(BasketSummary) + 2 * state->text_bytes + 32 * (Size) state->items->size +
		sizeof(int32) * state->nbaskets + Max(line_size, sizeof(int32)) * state->nlines;
	if (size > MaxAllocSize)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("too many baskets for one %s", SUMMARY_TYPE),
				 errdetail("There are %zu, with %zu lines of %u items.",
						   state->nbaskets, state->nlines, state->items->size),
				 errhint("Take a shorter time, or item_similarity() of the table itself.")));
}

static int32 *
grown(KeySet *items, int32 *array, Size needed, Size *capacity)
{
	if (needed <= *capacity)
		return array;
	*capacity = Max(Max(2 * *capacity, needed), FIRST_CAPACITY);
	if (array == NULL)
		return MemoryContextAllocHuge(items->context, *capacity * sizeof(int32));
	return repalloc_huge(array, *capacity * sizeof(int32));
}

static uint32
add_item(BasketState *state, Datum item, bool *found)
{
	uint32		number = keyset_add(state->items, 0, item, found);

	if (!*found)
		state->text_bytes += VARSIZE_ANY_EXHDR(DatumGetPointer(state->items->entries[number].key));
	return number;
}

/* Into the basket that is not ended yet.  False: it is in there. */
static inline bool
add_line(BasketState *state, uint32 item)
{
	KeyEntry   *entry = &state->items->entries[item];

	if (entry->tag == state->nbaskets + 1)
		return false;
	entry->tag = state->nbaskets + 1;
	state->line = grown(state->items, state->line, state->nlines + 1, &state->line_capacity);
	state->line[state->nlines++] = (int32) item;
	return true;
}

static inline Size
open_lines(const BasketState *state)
{
	return state->nlines - (state->nbaskets == 0 ? 0 : state->basket_end[state->nbaskets - 1]);
}

/* A basket of nothing is none. */
static void
end_basket(BasketState *state)
{
	if (open_lines(state) == 0)
		return;
	state->basket_end = grown(state->items, state->basket_end, state->nbaskets + 1,
							  &state->basket_capacity);
	state->nbaskets++;
	check_size(state);
	state->basket_end[state->nbaskets - 1] = (int32) state->nlines;
}

/* Baskets of items that have other numbers here. */
static void
add_baskets(BasketState *state, const uint32 *number, Size nbaskets, const int32 *basket_end,
			const int32 *line)
{
	int32		i = 0;

	for (Size b = 0; b < nbaskets; b++)
	{
		CHECK_FOR_INTERRUPTS();
		for (; i < basket_end[b]; i++)
			(void) add_line(state, number[line[i]]);
		end_basket(state);
	}
}


/* ----- the summary ----- */

static BasketSummary *
get_summary(FunctionCallInfo fcinfo, int argno, Baskets *baskets)
{
	BasketSummary *summary = (BasketSummary *) PG_DETOAST_DATUM(PG_GETARG_DATUM(argno));

	summary_check_version(&summary->header, SUMMARY_VERSION, SUMMARY_TYPE);
	baskets->nitems = summary->nitems;
	baskets->nbaskets = summary->nbaskets;
	baskets->text_end = summary->data;
	baskets->basket_end = baskets->text_end + summary->nitems;
	baskets->line = baskets->basket_end + summary->nbaskets;
	baskets->texts = (const char *) (baskets->line + summary->nlines);
	return summary;
}

static inline text *
item_text(const Baskets *baskets, int32 item)
{
	int32		start = item == 0 ? 0 : baskets->text_end[item - 1];

	return cstring_to_text_with_len(baskets->texts + start, baskets->text_end[item] - start);
}

static int
compare_numbers(const void *a, const void *b)
{
	int32		x = *(const int32 *) a;
	int32		y = *(const int32 *) b;

	return (x > y) - (x < y);
}

/* A basket while it is put into its place. */
typedef struct Span
{
	const int32 *line;
	int32		length;
} Span;

static int
compare_spans(const void *a, const void *b, void *arg)
{
	const Span *x = a;
	const Span *y = b;
	int32		n = Min(x->length, y->length);

	for (int32 i = 0; i < n; i++)
	{
		if (x->line[i] != y->line[i])
			return x->line[i] < y->line[i] ? -1 : 1;
	}
	return (x->length > y->length) - (x->length < y->length);
}

/* The one door: what the state has, in order.  The state stays as it was. */
static BasketSummary *
make_summary(const BasketState *state)
{
	int32		nitems = (int32) state->items->size;
	int32		nbaskets = (int32) state->nbaskets;
	int32		nlines = (int32) state->nlines;
	const KeyEntry *entries = state->items->entries;
	BasketSummary *summary;
	int32	   *item = keyset_order_texts(state->items);
	int32	   *rank = palloc(nitems * sizeof(int32));
	int32	   *line = palloc(nlines * sizeof(int32));
	Span	   *span = MemoryContextAllocHuge(CurrentMemoryContext, nbaskets * sizeof(Span));
	int32	   *at;
	char	   *text;
	int32		end = 0;

	for (int32 i = 0; i < nitems; i++)
		rank[item[i]] = i;

	for (int32 b = 0, i = 0; b < nbaskets; b++)
	{
		CHECK_FOR_INTERRUPTS();
		span[b].line = &line[i];
		span[b].length = state->basket_end[b] - i;
		for (; i < state->basket_end[b]; i++)
			line[i] = rank[state->line[i]];
		qsort(unconstify(int32 *, span[b].line), span[b].length, sizeof(int32), compare_numbers);
	}
	qsort_interruptible(span, nbaskets, sizeof(Span), compare_spans, NULL);

	summary = summary_alloc(offsetof(BasketSummary, data) +
							((Size) nitems + nbaskets + nlines) * sizeof(int32) + state->text_bytes,
							SUMMARY_VERSION);
	summary->nitems = nitems;
	summary->nbaskets = nbaskets;
	summary->nlines = nlines;
	at = summary->data;
	text = (char *) (at + nitems + nbaskets + nlines);
	for (int32 i = 0; i < nitems; i++)
	{
		const void *key = DatumGetPointer(entries[item[i]].key);

		memcpy(text + end, VARDATA_ANY(key), VARSIZE_ANY_EXHDR(key));
		end += VARSIZE_ANY_EXHDR(key);
		*at++ = end;
	}
	end = 0;
	for (int32 b = 0; b < nbaskets; b++)
	{
		end += span[b].length;
		*at++ = end;
	}
	for (int32 b = 0; b < nbaskets; b++)
	{
		memcpy(at, span[b].line, span[b].length * sizeof(int32));
		at += span[b].length;
	}
	pfree(item);
	pfree(rank);
	pfree(line);
	pfree(span);
	return summary;
}


/* ----- input and output ----- */

/* What a value that comes from outside can have wrong, as a sentence; NULL if nothing. */
static const char *
read_item(BasketState *state, const char *text, int length)
{
	bool		found;

	(void) add_item(state, PointerGetDatum(cstring_to_text_with_len(text, length)), &found);
	return found ? "An item is named twice." : NULL;
}

static const char *
read_line(BasketState *state, int64 item)
{
	if (item < 0 || item >= state->items->size)
		return "A basket has the number of no item.";
	return add_line(state, (uint32) item) ? NULL : "An item is twice in a basket.";
}

static const char *
read_basket_end(BasketState *state)
{
	if (open_lines(state) == 0)
		return "A basket is empty.";
	end_basket(state);
	return NULL;
}

static const char *
read_end(const BasketState *state)
{
	for (uint32 i = 0; i < state->items->size; i++)
	{
		if (state->items->entries[i].tag == 0)
			return "An item is in no basket.";
	}
	return state->nbaskets == 0 ? "There must be at least one basket." : NULL;
}

static inline const char *
skip_blanks(const char *p)
{
	while (*p == ' ')
		p++;
	return p;
}

/* ("cake","milk","tea"|1 2|2 3): items, and two baskets of their numbers, from 1 */
Datum
loyalty_recommend_in(PG_FUNCTION_ARGS)
{
	const char *text = PG_GETARG_CSTRING(0);
	Node	   *escontext = fcinfo->context;
	BasketState *state = make_state(CurrentMemoryContext);
	const char *p = skip_blanks(text);
	const char *detail = NULL;
	StringInfoData item;

	initStringInfo(&item);
	if (*p != '(')
		goto syntax;
	do
	{
		p = skip_blanks(p + 1);
		if (*p++ != '"')
			goto syntax;
		resetStringInfo(&item);
		for (; *p != '"'; p++)
		{
			if (*p == '\\')
				p++;
			if (*p == '\0')
				goto syntax;
			appendStringInfoCharMacro(&item, *p);
		}
		if ((detail = read_item(state, item.data, item.len)) != NULL)
			goto invalid;
		p = skip_blanks(p + 1);
	} while (*p == ',');
	while (*p == '|')
	{
		for (p = skip_blanks(p + 1); *p >= '0' && *p <= '9'; p = skip_blanks(p))
		{
			char	   *end;
			int64		number;

			/* beyond its range it is the greatest, which is the number of no item either */
			number = strtoi64(p, &end, 10);
			if ((detail = read_line(state, number - 1)) != NULL)
				goto invalid;
			p = end;
		}
		if (*p != '|' && *p != ')')
			goto syntax;
		if ((detail = read_basket_end(state)) != NULL)
			goto invalid;
		CHECK_FOR_INTERRUPTS();
	}
	if (*p != ')' || *skip_blanks(p + 1) != '\0')
		goto syntax;
	if ((detail = read_end(state)) != NULL)
		goto invalid;
	PG_RETURN_POINTER(make_summary(state));

syntax:
	ereturn(escontext, (Datum) 0,
			(errcode(ERRCODE_INVALID_TEXT_REPRESENTATION),
			 errmsg("invalid input syntax for type %s", SUMMARY_TYPE),
			 errdetail("It must be written as (\"item\",...|numbers of items|...).")));
invalid:
	ereturn(escontext, (Datum) 0,
			(errcode(ERRCODE_LY_INVALID_METRIC),
			 errmsg("invalid %s", SUMMARY_TYPE),
			 errdetail("%s", detail)));
}

Datum
loyalty_recommend_out(PG_FUNCTION_ARGS)
{
	Baskets		baskets;
	StringInfoData buf;
	int32		start = 0;

	(void) get_summary(fcinfo, 0, &baskets);
	initStringInfo(&buf);
	for (int32 i = 0; i < baskets.nitems; i++)
	{
		appendStringInfoString(&buf, i == 0 ? "(\"" : ",\"");
		for (const char *p = baskets.texts + start; p < baskets.texts + baskets.text_end[i]; p++)
		{
			if (*p == '"' || *p == '\\')
				appendStringInfoCharMacro(&buf, '\\');
			appendStringInfoCharMacro(&buf, *p);
		}
		start = baskets.text_end[i];
		appendStringInfoCharMacro(&buf, '"');
	}
	for (int32 b = 0, i = 0; b < baskets.nbaskets; b++)
	{
		char		separator = '|';

		CHECK_FOR_INTERRUPTS();
		for (; i < baskets.basket_end[b]; i++)
		{
			char		digits[12];

			pg_ltoa(baskets.line[i] + 1, digits);
			appendStringInfoCharMacro(&buf, separator);
			appendStringInfoString(&buf, digits);
			separator = ' ';
		}
	}
	PG_RETURN_CSTRING(summary_finish(&buf));
}

Datum
loyalty_recommend_recv(PG_FUNCTION_ARGS)
{
	StringInfo	buf = (StringInfo) PG_GETARG_POINTER(0);
	BasketState *state = make_state(CurrentMemoryContext);
	const char *detail = NULL;
	int			n;

	(void) summary_begin_recv(buf, SUMMARY_VERSION, SUMMARY_TYPE);
	n = pq_getmsgint(buf, 4);
	for (int i = 0; i < n && detail == NULL; i++)
	{
		int			length;
		char	   *item;

		CHECK_FOR_INTERRUPTS();
		length = pq_getmsgint(buf, 4);
		item = pq_getmsgtext(buf, length, &length);
		detail = read_item(state, item, length);
		pfree(item);
	}
	n = pq_getmsgint(buf, 4);
	for (int b = 0; b < n && detail == NULL; b++)
	{
		int			lines = pq_getmsgint(buf, 4);

		CHECK_FOR_INTERRUPTS();
		for (int i = 0; i < lines && detail == NULL; i++)
			detail = read_line(state, (int32) pq_getmsgint(buf, 4));
		if (detail == NULL)
			detail = read_basket_end(state);
	}
	if (detail == NULL)
		detail = read_end(state);
	if (detail != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_LY_INVALID_METRIC),
				 errmsg("invalid %s", SUMMARY_TYPE),
				 errdetail("%s", detail)));
	PG_RETURN_POINTER(make_summary(state));
}

Datum
loyalty_recommend_send(PG_FUNCTION_ARGS)
{
	Baskets		baskets;
	StringInfoData buf;

	(void) get_summary(fcinfo, 0, &baskets);
	summary_begin_send(&buf, SUMMARY_VERSION);
	pq_sendint32(&buf, baskets.nitems);
	for (int32 i = 0, start = 0; i < baskets.nitems; i++)
	{
		compat_sendcountedtext(&buf, baskets.texts + start, baskets.text_end[i] - start);
		start = baskets.text_end[i];
	}
	pq_sendint32(&buf, baskets.nbaskets);
	for (int32 b = 0, i = 0; b < baskets.nbaskets; b++)
	{
		CHECK_FOR_INTERRUPTS();
		pq_sendint32(&buf, baskets.basket_end[b] - i);
		for (; i < baskets.basket_end[b]; i++)
			pq_sendint32(&buf, baskets.line[i]);
	}
	PG_RETURN_BYTEA_P(pq_endtypsend(&buf));
}


/* ----- the aggregates ----- */

static BasketState *
get_state(FunctionCallInfo fcinfo)
{
	MemoryContext context = aggregate_context(fcinfo);

	return PG_ARGISNULL(0) ? make_state(context) : (BasketState *) PG_GETARG_POINTER(0);
}

/* basket_agg(items): a row is a basket */
Datum
loyalty_recommend_accum(PG_FUNCTION_ARGS)
{
	BasketState *state;
	Datum	   *items;
	bool	   *nulls;
	int			n;

	if (PG_ARGISNULL(1))
		return aggregate_unchanged(fcinfo);
	deconstruct_array(PG_GETARG_ARRAYTYPE_P(1), TEXTOID, -1, false, TYPALIGN_INT, &items, &nulls, &n);
	state = get_state(fcinfo);
	for (int i = 0; i < n; i++)
	{
		bool		found;

		if (!nulls[i])
			(void) add_line(state, add_item(state, items[i], &found));
	}
	end_basket(state);
	PG_RETURN_POINTER(state);
}

/* rollup(basket_summary) */
Datum
loyalty_recommend_accum_summary(PG_FUNCTION_ARGS)
{
	BasketState *state;
	Baskets		baskets;
	uint32	   *number;

	if (PG_ARGISNULL(1))
		return aggregate_unchanged(fcinfo);
	(void) get_summary(fcinfo, 1, &baskets);
	state = get_state(fcinfo);
	number = palloc(baskets.nitems * sizeof(uint32));
	for (int32 i = 0; i < baskets.nitems; i++)
	{
		text	   *item = item_text(&baskets, i);
		bool		found;

		CHECK_FOR_INTERRUPTS();
		number[i] = add_item(state, PointerGetDatum(item), &found);
		pfree(item);
	}
	add_baskets(state, number, baskets.nbaskets, baskets.basket_end, baskets.line);
	PG_RETURN_POINTER(state);
}

Datum
loyalty_recommend_combine(PG_FUNCTION_ARGS)
{
	BasketState *state;
	const BasketState *other;
	uint32	   *number;

	if (PG_ARGISNULL(1))
		return aggregate_unchanged(fcinfo);
	state = get_state(fcinfo);
	other = (const BasketState *) PG_GETARG_POINTER(1);
	number = palloc_extended(Max(other->items->size, 1) * sizeof(uint32), MCXT_ALLOC_HUGE);
	for (uint32 i = 0; i < other->items->size; i++)
	{
		bool		found;

		CHECK_FOR_INTERRUPTS();
		number[i] = add_item(state, other->items->entries[i].key, &found);
	}
	add_baskets(state, number, other->nbaskets, other->basket_end, other->line);
	pfree(number);
	PG_RETURN_POINTER(state);
}

Datum
loyalty_recommend_serialize(PG_FUNCTION_ARGS)
{
	BasketState *state;
	StringInfoData buf;

	(void) aggregate_context(fcinfo);
	state = (BasketState *) PG_GETARG_POINTER(0);
	aggregate_begin_send(&buf, STATE_VERSION);
	keyset_send(&buf, state->items);
	pq_sendint32(&buf, (uint32) state->nbaskets);
	pq_sendint32(&buf, (uint32) state->nlines);
	if (state->nbaskets > 0)
	{
		pq_sendbytes(&buf, (const char *) state->basket_end, state->nbaskets * sizeof(int32));
		pq_sendbytes(&buf, (const char *) state->line, state->nlines * sizeof(int32));
	}
	PG_RETURN_BYTEA_P(pq_endtypsend(&buf));
}

/* Only to be read: by combine. */
Datum
loyalty_recommend_deserialize(PG_FUNCTION_ARGS)
{
	BasketState *state;
	StringInfoData buf;

	(void) aggregate_context(fcinfo);
	aggregate_begin_recv(fcinfo, &buf, STATE_VERSION);
	state = palloc0(sizeof(BasketState));
	state->items = keyset_recv(&buf);
	state->nbaskets = pq_getmsgint(&buf, 4);
	state->nlines = pq_getmsgint(&buf, 4);
	if (state->nbaskets > 0)
	{
		state->basket_end = palloc(state->nbaskets * sizeof(int32));
		pq_copymsgbytes(&buf, (char *) state->basket_end, state->nbaskets * sizeof(int32));
		state->line = palloc(state->nlines * sizeof(int32));
		pq_copymsgbytes(&buf, (char *) state->line, state->nlines * sizeof(int32));
	}
	pq_getmsgend(&buf);
	PG_RETURN_POINTER(state);
}

Datum
loyalty_recommend_final(PG_FUNCTION_ARGS)
{
	BasketState *state;

	(void) aggregate_context(fcinfo);
	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();
	state = (BasketState *) PG_GETARG_POINTER(0);
	if (state->nbaskets == 0)
		PG_RETURN_NULL();
	PG_RETURN_POINTER(make_summary(state));
}

Datum
loyalty_recommend_baskets(PG_FUNCTION_ARGS)
{
	Baskets		baskets;

	(void) get_summary(fcinfo, 0, &baskets);
	PG_RETURN_INT64(baskets.nbaskets);
}


/* ----- neighbours ----- */

/* Is a farther than b?  Of equals the one with the later name is. */
static inline bool
is_farther(const Neighbour *a, const Neighbour *b)
{
	if (a->similarity != b->similarity)
		return a->similarity < b->similarity;
	return a->item > b->item;
}

static int
compare_neighbours(const void *a, const void *b)
{
	if (is_farther(a, b))
		return 1;
	return is_farther(b, a) ? -1 : 0;
}

/* Among the nearest, a heap with the farthest of them on top. */
static void
keep_nearest(Neighbour *heap, int *n, int most, Neighbour neighbour)
{
	int			i;

	if (*n < most)
	{
		/* up from the end */
		for (i = (*n)++; i > 0 && is_farther(&neighbour, &heap[(i - 1) / 2]); i = (i - 1) / 2)
			heap[i] = heap[(i - 1) / 2];
	}
	else
	{
		if (is_farther(&neighbour, &heap[0]))
			return;
		/* down from the top, which goes */
		for (i = 0;;)
		{
			int			child = 2 * i + 1;

			if (child >= most)
				break;
			if (child + 1 < most && is_farther(&heap[child + 1], &heap[child]))
				child++;
			if (!is_farther(&heap[child], &neighbour))
				break;
			heap[i] = heap[child];
			i = child;
		}
	}
	heap[i] = neighbour;
}

static Datum
rounded(float8 value)
{
	return DirectFunctionCall2(numeric_round, DirectFunctionCall1(float8_numeric, Float8GetDatum(value)),
							   Int32GetDatum(DECIMALS));
}

static const char *
argument_text(FunctionCallInfo fcinfo, int argno)
{
	return PG_ARGISNULL(argno) ? "NULL" : psprintf("%d", PG_GETARG_INT32(argno));
}

/* similar_items(summary, shrinkage, neighbours, min_together, max_basket) */
Datum
loyalty_recommend_similarity(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	Baskets		baskets;
	float8		shrinkage = -1.0;
	int32		most;
	int32		support;
	int32		max_basket;
	int32		nitems;
	int32		kept = 0;
	int32	   *count;
	int32	   *end;
	int32	   *basket;
	int32	   *together;
	int32	   *met;
	Neighbour  *nearest;
	MemoryContext scratch;
	MemoryContext outer;

	if (!PG_ARGISNULL(1))
		shrinkage = DatumGetFloat8(DirectFunctionCall1(numeric_float8, PG_GETARG_DATUM(1)));
	if (!(shrinkage >= 0) || isinf(shrinkage) ||
		PG_ARGISNULL(2) || PG_GETARG_INT32(2) < 1 ||
		PG_ARGISNULL(3) || PG_GETARG_INT32(3) < 1 ||
		PG_ARGISNULL(4) || PG_GETARG_INT32(4) < 2)
		ereport(ERROR,
				(errcode(ERRCODE_LY_INVALID_METRIC),
				 errmsg("items can't be compared in this way"),
				 errdetail("Shrinkage is %s, neighbours %s, min_together %s, max_basket %s.",
						   PG_ARGISNULL(1) ? "NULL" :
						   DatumGetCString(DirectFunctionCall1(numeric_out, PG_GETARG_DATUM(1))),
						   argument_text(fcinfo, 2), argument_text(fcinfo, 3),
						   argument_text(fcinfo, 4)),
				 errhint("Shrinkage is 0 or more, neighbours and min_together are at least 1, a basket has at least 2 items.")));

	InitMaterializedSRF(fcinfo, 0);
	if (PG_ARGISNULL(0))
		return (Datum) 0;
	(void) get_summary(fcinfo, 0, &baskets);
	nitems = baskets.nitems;
	most = Min(PG_GETARG_INT32(2), nitems);
	support = PG_GETARG_INT32(3);
	max_basket = PG_GETARG_INT32(4);

	/* The baskets of each item: how many, where they end in the list, the list. */
	count = palloc0(nitems * sizeof(int32));
	end = palloc(nitems * sizeof(int32));
	for (int32 b = 0, i = 0; b < baskets.nbaskets; i = baskets.basket_end[b++])
	{
		CHECK_FOR_INTERRUPTS();
		if (baskets.basket_end[b] - i > max_basket)
			continue;
		kept++;
		for (int32 l = i; l < baskets.basket_end[b]; l++)
			count[baskets.line[l]]++;
	}
	for (int32 i = 0, n = 0; i < nitems; n += count[i++])
		end[i] = n;				/* for now its beginning, which moves on to the end */
	basket = palloc(((Size) baskets.basket_end[baskets.nbaskets - 1]) * sizeof(int32));
	for (int32 b = 0, i = 0; b < baskets.nbaskets; i = baskets.basket_end[b++])
	{
		CHECK_FOR_INTERRUPTS();
		if (baskets.basket_end[b] - i > max_basket)
			continue;
		for (int32 l = i; l < baskets.basket_end[b]; l++)
			basket[end[baskets.line[l]]++] = b;
	}

	together = palloc0(nitems * sizeof(int32));
	met = palloc(nitems * sizeof(int32));
	nearest = palloc_extended(most * sizeof(Neighbour), MCXT_ALLOC_HUGE);
	scratch = AllocSetContextCreate(CurrentMemoryContext, "neighbours of an item", ALLOCSET_SMALL_SIZES);
	outer = MemoryContextSwitchTo(scratch);
	for (int32 item = 0; item < nitems; item++)
	{
		int32		nmet = 0;
		int			n = 0;
		Datum		values[5];
		bool		nulls[5] = {false};

		for (int32 k = end[item] - count[item]; k < end[item]; k++)
		{
			int32		b = basket[k];

			CHECK_FOR_INTERRUPTS();
			for (int32 l = b == 0 ? 0 : baskets.basket_end[b - 1]; l < baskets.basket_end[b]; l++)
			{
				int32		other = baskets.line[l];

				if (together[other]++ == 0)
					met[nmet++] = other;
			}
		}
		for (int32 m = 0; m < nmet; m++)
		{
			Neighbour	neighbour;
			float8		shared = together[met[m]];

			neighbour.item = met[m];
			neighbour.together = together[met[m]];
			together[met[m]] = 0;
			if (neighbour.item == item || neighbour.together < support)
				continue;
			/* the cosine, times what shrinkage leaves of it, rounded as SQL does it */
			neighbour.similarity = shared / sqrt((float8) count[item] * (float8) count[neighbour.item]) *
				shared / (shared + shrinkage);
			keep_nearest(nearest, &n, most, neighbour);
		}
		if (n == 0)
			continue;
		qsort(nearest, n, sizeof(Neighbour), compare_neighbours);
		values[0] = PointerGetDatum(item_text(&baskets, item));
		for (int i = 0; i < n; i++)
		{
			float8		expected = (float8) count[item] * (float8) count[nearest[i].item];

			values[1] = PointerGetDatum(item_text(&baskets, nearest[i].item));
			values[2] = Int64GetDatum(nearest[i].together);
			values[3] = rounded(nearest[i].similarity);
			values[4] = rounded(nearest[i].together / expected * kept);
			tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
		}
		MemoryContextReset(scratch);
	}
	MemoryContextSwitchTo(outer);
	MemoryContextDelete(scratch);
	return (Datum) 0;
}
