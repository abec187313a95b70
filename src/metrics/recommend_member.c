/*
 * recommend_member.c
 *		What each of many members may want next: a table of neighbours, read once, is asked
 *		for one member after another.
 *
 * The aggregate packs the table (item, other, similarity) into bytes: items in the order of
 * their bytes, and for each of them the rows it begins.  The bytes live within one query
 * and are never stored, so they carry no version; but whoever likes can hand others in, so
 * each number is checked where it is used.  Similarities are integers, in units of 1e-12,
 * and so sums do not depend on the order of the rows.
 *
 * What a call counts is kept with the call's FmgrInfo, for the next member; only what was
 * touched is cleared.
 */
#include "postgres.h"

#include "catalog/pg_collation_d.h"
#include "catalog/pg_type_d.h"
#include "common/int.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

#include "base/compat.h"
#include "base/errors.h"
#include "metrics/aggregate.h"
#include "metrics/keyset.h"

#define FIRST_CAPACITY		64

typedef struct Row
{
	int64		similarity;
	int32		item;
	int32		other;
} Row;

typedef struct NeighbourState
{
	KeySet	   *items;
	Row		   *row;
	Size		nrows;
	Size		capacity;
	Size		text_bytes;
} NeighbourState;

/*
 * Then follow the rows, as Row; the end of the text and of the rows of each item, int32
 * each; the texts.
 */
typedef struct Head
{
	int32		nitems;
	int32		nrows;
	int32		text_bytes;
	int32		unused;
} Head;

typedef struct Neighbours
{
	Head		head;
	const char *rows;			/* bytes have no alignment */
	const char *text_end;
	const char *row_end;
	const char *texts;
} Neighbours;

/* What speaks for an item. */
typedef struct Score
{
	int64		sum;
	int64		most;			/* the greatest part of it, and whose it is */
	int32		because;
	bool		met;
	bool		had;
} Score;

typedef struct Counter
{
	int32		nitems;
	Score	   *score;			/* cleared between the calls */
	int32	   *touched;
	int32		ntouched;
} Counter;

typedef struct Choice
{
	int64		sum;
	int32		item;
} Choice;

PG_FUNCTION_INFO_V1(loyalty_recommend_neighbours_accum);
PG_FUNCTION_INFO_V1(loyalty_recommend_neighbours_final);
PG_FUNCTION_INFO_V1(loyalty_recommend_member);


/* ----- the table of neighbours ----- */

static int32
add_item(NeighbourState *state, Datum item)
{
	bool		found;
	uint32		number = keyset_add(state->items, 0, item, &found);

	if (!found)
		state->text_bytes += VARSIZE_ANY_EXHDR(DatumGetPointer(state->items->entries[number].key));
	return (int32) number;
}

static Size
packed_size(const NeighbourState *state)
{
	return VARHDRSZ + sizeof(Head) + state->nrows * sizeof(Row) +
		2 * sizeof(int32) * (Size) state->items->size + state->text_bytes;
}

/* _neighbours_agg(item, other, similarity) */
Datum
loyalty_recommend_neighbours_accum(PG_FUNCTION_ARGS)
{
	MemoryContext context = aggregate_context(fcinfo);
	NeighbourState *state;
	Row		   *row;

	if (PG_ARGISNULL(1) || PG_ARGISNULL(2) || PG_ARGISNULL(3))
		return aggregate_unchanged(fcinfo);
	if (PG_ARGISNULL(0))
	{
		state = MemoryContextAllocZero(context, sizeof(NeighbourState));
		state->items = keyset_create(context, TEXTOID, C_COLLATION_OID);
		state->capacity = FIRST_CAPACITY;
		state->row = MemoryContextAlloc(context, FIRST_CAPACITY * sizeof(Row));
	}
	else
		state = (NeighbourState *) PG_GETARG_POINTER(0);

	if (state->nrows == state->capacity)
	{
		state->capacity *= 2;
		state->row = repalloc_huge(state->row, state->capacity * sizeof(Row));
	}
	row = &state->row[state->nrows++];
	row->item = add_item(state, PG_GETARG_DATUM(1));
	row->other = add_item(state, PG_GETARG_DATUM(2));
	row->similarity = PG_GETARG_INT64(3);
	if (packed_size(state) > MaxAllocSize)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("too many neighbours"),
				 errdetail("There are more than %zu.", state->nrows - 1),
				 errhint("Keep fewer for each item, or recommend for one member at a time.")));
	PG_RETURN_POINTER(state);
}

/* By counting: the ends of the items' rows are needed anyway. */
Datum
loyalty_recommend_neighbours_final(PG_FUNCTION_ARGS)
{
	NeighbourState *state;
	int32		nitems;
	int32	   *item;
	int32	   *rank;
	int32	   *end;
	Head		head = {0};
	bytea	   *result;
	char	   *rows;
	char	   *text_end;
	char	   *row_end;
	char	   *texts;
	int32		n = 0;

	(void) aggregate_context(fcinfo);
	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();
	state = (NeighbourState *) PG_GETARG_POINTER(0);
	nitems = (int32) state->items->size;
	item = keyset_order_texts(state->items);
	rank = palloc(nitems * sizeof(int32));
	end = palloc0(nitems * sizeof(int32));
	for (int32 i = 0; i < nitems; i++)
		rank[item[i]] = i;

	head.nitems = nitems;
	head.nrows = (int32) state->nrows;
	head.text_bytes = (int32) state->text_bytes;
	result = palloc(packed_size(state));
	SET_VARSIZE(result, packed_size(state));
	memcpy(VARDATA(result), &head, sizeof(head));
	rows = VARDATA(result) + sizeof(head);
	text_end = rows + state->nrows * sizeof(Row);
	row_end = text_end + nitems * sizeof(int32);
	texts = row_end + nitems * sizeof(int32);

	for (Size r = 0; r < state->nrows; r++)
		end[rank[state->row[r].item]]++;
	for (int32 i = 0; i < nitems; i++)
	{
		const void *key = DatumGetPointer(state->items->entries[item[i]].key);
		int32		count = end[i];

		end[i] = n;				/* where its rows begin: it moves on to their end */
		n += count;
		memcpy(texts, VARDATA_ANY(key), VARSIZE_ANY_EXHDR(key));
		texts += VARSIZE_ANY_EXHDR(key);
		count = (int32) (texts - row_end - nitems * sizeof(int32));
		memcpy(text_end + i * sizeof(int32), &count, sizeof(int32));
	}
	for (Size r = 0; r < state->nrows; r++)
	{
		Row			row = state->row[r];

		CHECK_FOR_INTERRUPTS();
		row.item = rank[row.item];
		row.other = rank[row.other];
		memcpy(rows + end[row.item]++ * sizeof(Row), &row, sizeof(Row));
	}
	memcpy(row_end, end, nitems * sizeof(int32));
	PG_RETURN_BYTEA_P(result);
}


/* ----- a member ----- */

#define not_neighbours()	elog(ERROR, "not a table of neighbours")

static void
open_neighbours(bytea *bytes, Neighbours *neighbours)
{
	const char *at = VARDATA_ANY(bytes);
	Size		size = VARSIZE_ANY_EXHDR(bytes);
	Head	   *head = &neighbours->head;

	if (size < sizeof(Head))
		not_neighbours();
	memcpy(head, at, sizeof(Head));
	if (head->nitems < 0 || head->nrows < 0 || head->text_bytes < 0 ||
		size != sizeof(Head) + head->nrows * sizeof(Row) + 2 * sizeof(int32) * (Size) head->nitems +
		head->text_bytes)
		not_neighbours();
	neighbours->rows = at + sizeof(Head);
	neighbours->text_end = neighbours->rows + head->nrows * sizeof(Row);
	neighbours->row_end = neighbours->text_end + head->nitems * sizeof(int32);
	neighbours->texts = neighbours->row_end + head->nitems * sizeof(int32);
}

/* What belongs to an item, by the ends of all: [*start, *end), within the limit. */
static inline void
get_range(const char *ends, int32 item, int32 limit, int32 *start, int32 *end)
{
	*start = 0;
	if (item > 0)
		memcpy(start, ends + (item - 1) * sizeof(int32), sizeof(int32));
	memcpy(end, ends + item * sizeof(int32), sizeof(int32));
	if (*start < 0 || *end < *start || *end > limit)
		not_neighbours();
}

static text *
item_text(const Neighbours *neighbours, int32 item)
{
	int32		start;
	int32		end;

	get_range(neighbours->text_end, item, neighbours->head.text_bytes, &start, &end);
	return cstring_to_text_with_len(neighbours->texts + start, end - start);
}

/* -1: none of that name */
static int32
find_item(const Neighbours *neighbours, const char *name, int length)
{
	int32		low = 0;
	int32		high = neighbours->head.nitems - 1;

	while (low <= high)
	{
		int32		middle = low + (high - low) / 2;
		int32		start;
		int32		end;
		int			order;

		get_range(neighbours->text_end, middle, neighbours->head.text_bytes, &start, &end);
		order = memcmp(name, neighbours->texts + start, Min(length, end - start));
		if (order == 0)
			order = (length > end - start) - (length < end - start);
		if (order == 0)
			return middle;
		if (order < 0)
			high = middle - 1;
		else
			low = middle + 1;
	}
	return -1;
}

static Counter *
get_counter(FmgrInfo *flinfo, int32 nitems)
{
	Counter    *counter = flinfo->fn_extra;

	if (counter == NULL)
		counter = flinfo->fn_extra = MemoryContextAllocZero(flinfo->fn_mcxt, sizeof(Counter));
	/* an error may have left the last call's */
	for (int32 i = 0; i < counter->ntouched; i++)
		counter->score[counter->touched[i]] = (Score) {0};
	counter->ntouched = 0;
	if (nitems > counter->nitems)
	{
		if (counter->score != NULL)
		{
			pfree(counter->score);
			pfree(counter->touched);
			counter->nitems = 0;
			counter->score = NULL;
		}
		counter->score = MemoryContextAllocExtended(flinfo->fn_mcxt, nitems * sizeof(Score),
													MCXT_ALLOC_HUGE | MCXT_ALLOC_ZERO);
		counter->touched = MemoryContextAllocHuge(flinfo->fn_mcxt, nitems * sizeof(int32));
		counter->nitems = nitems;
	}
	return counter;
}

static inline Score *
touch(Counter *counter, int32 item)
{
	Score	   *score = &counter->score[item];

	if (!score->met && !score->had)
		counter->touched[counter->ntouched++] = item;
	return score;
}

static int
compare_choices(const void *a, const void *b)
{
	const Choice *x = a;
	const Choice *y = b;

	if (x->sum != y->sum)
		return x->sum > y->sum ? -1 : 1;
	return (x->item > y->item) - (x->item < y->item);
}

/* _recommend(neighbours, had, n) */
Datum
loyalty_recommend_member(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	Neighbours	neighbours;
	Counter    *counter;
	Choice	   *choice;
	Datum	   *items;
	bool	   *nulls;
	int			nhad;
	int			nchoices = 0;
	int32		most = PG_GETARG_INT32(2);

	InitMaterializedSRF(fcinfo, 0);
	open_neighbours(PG_GETARG_BYTEA_PP(0), &neighbours);
	deconstruct_array(PG_GETARG_ARRAYTYPE_P(1), TEXTOID, -1, false, TYPALIGN_INT, &items, &nulls, &nhad);
	counter = get_counter(fcinfo->flinfo, neighbours.head.nitems);

	for (int h = 0; h < nhad; h++)
	{
		const void *name = DatumGetPointer(items[h]);
		int32		item;
		int32		start;
		int32		end;

		CHECK_FOR_INTERRUPTS();
		if (nulls[h])
			continue;
		item = find_item(&neighbours, VARDATA_ANY(name), VARSIZE_ANY_EXHDR(name));
		if (item < 0 || counter->score[item].had)
			continue;
		touch(counter, item)->had = true;
		get_range(neighbours.row_end, item, neighbours.head.nrows, &start, &end);
		for (int32 r = start; r < end; r++)
		{
			Row			row;
			Score	   *score;

			memcpy(&row, neighbours.rows + r * sizeof(Row), sizeof(Row));
			if (row.other < 0 || row.other >= neighbours.head.nitems)
				not_neighbours();
			score = touch(counter, row.other);
			if (pg_add_s64_overflow(score->sum, row.similarity, &score->sum))
				ereport(ERROR,
						(errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
						 errmsg("sum of similarities out of range")));
			/* of equals the one with the earlier name */
			if (!score->met || row.similarity > score->most ||
				(row.similarity == score->most && item < score->because))
			{
				score->most = row.similarity;
				score->because = item;
			}
			score->met = true;
		}
	}

	choice = palloc_extended(Max(counter->ntouched, 1) * sizeof(Choice), MCXT_ALLOC_HUGE);
	for (int32 t = 0; t < counter->ntouched; t++)
	{
		int32		item = counter->touched[t];

		if (counter->score[item].had)
			continue;
		choice[nchoices].sum = counter->score[item].sum;
		choice[nchoices++].item = item;
	}
	qsort(choice, nchoices, sizeof(Choice), compare_choices);
	for (int i = 0; i < Min(nchoices, most); i++)
	{
		Datum		values[4];
		bool		isnull[4] = {false};

		values[0] = Int32GetDatum(i + 1);
		values[1] = PointerGetDatum(item_text(&neighbours, choice[i].item));
		values[2] = Int64GetDatum(choice[i].sum);
		values[3] = PointerGetDatum(item_text(&neighbours, counter->score[choice[i].item].because));
		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, isnull);
	}
	return (Datum) 0;
}
