/*
 * rows.c
 *		Collapsing equal rows before a fit.
 *
 * A million customers have a few hundred distinct frequencies and days.  So
 * each coordinate of a row is replaced by its rank among the distinct values,
 * found by hashing, and the ranks, which are short, are sorted bytewise: some
 * five passes over the rows, where a sort by comparison takes twenty.
 *
 * Memory is malloc'd and freed here; nothing here jumps away.
 */
#include <stdlib.h>
#include <string.h>

#include "models/rows.h"

#define FIRST_CAPACITY	64

/* Rows between two polls. */
#define BLOCK_ROWS		4096

#define PREFETCH		16

typedef struct SortItem
{
	uint64_t	key;
	uint32_t	number;
} SortItem;

static bool
stops(size_t i, FitPoll poll, void *poll_arg)
{
	return i % BLOCK_ROWS == 0 && poll != NULL && poll(poll_arg) != 0;
}

/*
 * Stable radix sort between two arrays; *items is the one with the result, and
 * *spare the other.  Bytes that are the same in all keys take no pass.
 */
static MathStatus
sort_items(SortItem **items, SortItem **spare, size_t n, FitPoll poll, void *poll_arg)
{
	size_t		count[8][256] = {{0}};

	for (size_t i = 0; i < n; i++)
		for (int byte = 0; byte < 8; byte++)
			count[byte][((*items)[i].key >> (8 * byte)) & 255]++;

	for (int byte = 0; byte < 8; byte++)
	{
		const SortItem *from = *items;
		SortItem   *to = *spare;
		size_t	   *place = count[byte];
		size_t		at = 0;

		if (place[(from[0].key >> (8 * byte)) & 255] == n)
			continue;
		for (int digit = 0; digit < 256; digit++)
		{
			size_t		these = place[digit];

			place[digit] = at;
			at += these;
		}
		for (size_t i = 0; i < n; i++)
		{
			if (stops(i, poll, poll_arg))
				return MATH_INTERRUPTED;
			to[place[(from[i].key >> (8 * byte)) & 255]++] = from[i];
		}
		*spare = *items;
		*items = to;
	}
	return MATH_OK;
}

static uint64_t
bits_of(double value)
{
	uint64_t	bits;

	memcpy(&bits, &value, sizeof(bits));
	return bits;
}

/* Whole numbers differ in their high bits, which a product has in its own. */
static inline uint32_t
first_slot(const Dictionary *d, double value)
{
	return (uint32_t) ((bits_of(value) * UINT64_C(0x9e3779b97f4a7c15)) >> (64 - d->log_slots));
}

static bool
grow(Dictionary *d)
{
	uint32_t	capacity = d->capacity ? 2 * d->capacity : FIRST_CAPACITY;
	double	   *value = realloc(d->value, capacity * sizeof(double));
	uint32_t   *slot = calloc(2 * (size_t) capacity, sizeof(uint32_t));
	uint32_t	mask = 2 * capacity - 1;

	if (value)
		d->value = value;
	if (!value || !slot)
	{
		free(slot);
		return false;
	}
	free(d->slot);
	d->slot = slot;
	d->capacity = capacity;
	for (d->log_slots = 1; 1u << d->log_slots <= mask;)
		d->log_slots++;
	for (uint32_t i = 0; i < d->n; i++)
	{
		uint32_t	at = first_slot(d, d->value[i]);

		while (slot[at] != 0)
			at = (at + 1) & mask;
		slot[at] = i + 1;
	}
	return true;
}

bool
dictionary_number(Dictionary *d, double value, uint32_t *number)
{
	uint32_t	at;

	if (d->n == d->capacity && !grow(d))
		return false;
	for (at = first_slot(d, value); d->slot[at] != 0; at = (at + 1) & (2 * d->capacity - 1))
		if (d->value[d->slot[at] - 1] == value)
		{
			*number = d->slot[at] - 1;
			return true;
		}
	d->value[d->n] = value;
	d->slot[at] = d->n + 1;
	*number = d->n++;
	return true;
}

MathStatus
dictionary_sort(Dictionary *d, FitPoll poll, void *poll_arg)
{
	SortItem   *items = malloc(2 * (size_t) d->n * sizeof(SortItem));
	SortItem   *both = items;
	SortItem   *spare = items + d->n;
	MathStatus	status = MATH_NO_MEMORY;

	d->rank = malloc(d->n * sizeof(uint32_t));
	if (items && d->rank)
	{
		/* the values are not negative: their order is that of their bits */
		for (uint32_t i = 0; i < d->n; i++)
			items[i] = (SortItem) {bits_of(d->value[i]), i};
		status = sort_items(&items, &spare, d->n, poll, poll_arg);
	}
	if (status == MATH_OK)
		for (uint32_t i = 0; i < d->n; i++)
		{
			memcpy(&d->value[i], &items[i].key, sizeof(double));
			d->rank[items[i].number] = i;
		}
	free(both);
	return status;
}

void
dictionary_free(Dictionary *d)
{
	free(d->value);
	free(d->rank);
	free(d->slot);
}

/* A key of two numbers, the former of which comes first in the order. */
static inline uint64_t
pair(uint32_t high, uint32_t low)
{
	return (uint64_t) high << 32 | low;
}

static inline uint64_t
pair_of_ranks(const Dictionary *high, const Dictionary *low, uint64_t numbers)
{
	return pair(high->rank[numbers >> 32], low->rank[numbers & UINT32_MAX]);
}

MathStatus
collapse_rows(FitRow *rows, size_t *n_rows, FitPoll poll, void *poll_arg)
{
	size_t		n = *n_rows;
	size_t		kept = 0;
	SortItem   *items = malloc(2 * n * sizeof(SortItem));
	SortItem   *both = items;
	SortItem   *spare = items + n;
	uint64_t   *leading = malloc(n * sizeof(uint64_t));
	FitRow	   *result = malloc(n * sizeof(FitRow));
	Dictionary	frequency = {0};
	Dictionary	age = {0};
	Dictionary	recency = {0};
	Dictionary	monetary = {0};
	MathStatus	status = MATH_NO_MEMORY;

	if (!items || !leading || !result || n > UINT32_MAX / 4)
		goto done;
	for (size_t i = 0; i < n; i++)
	{
		const History *h = &rows[i].history;
		uint32_t	number[4];

		if (stops(i, poll, poll_arg))
		{
			status = MATH_INTERRUPTED;
			goto done;
		}
		if (!dictionary_number(&frequency, h->frequency, &number[0]) ||
			!dictionary_number(&age, h->age, &number[1]) ||
			!dictionary_number(&recency, h->recency, &number[2]) ||
			!dictionary_number(&monetary, h->monetary, &number[3]))
			goto done;
		leading[i] = pair(number[0], number[1]);
		items[i] = (SortItem) {pair(number[2], number[3]), (uint32_t) i};
	}
	if ((status = dictionary_sort(&frequency, poll, poll_arg)) != MATH_OK ||
		(status = dictionary_sort(&age, poll, poll_arg)) != MATH_OK ||
		(status = dictionary_sort(&recency, poll, poll_arg)) != MATH_OK ||
		(status = dictionary_sort(&monetary, poll, poll_arg)) != MATH_OK)
		goto done;

	/* by the later coordinates first: the sort is stable */
	for (size_t i = 0; i < n; i++)
		items[i].key = pair_of_ranks(&recency, &monetary, items[i].key);
	status = sort_items(&items, &spare, n, poll, poll_arg);
	if (status != MATH_OK)
		goto done;
	for (size_t i = 0; i < n; i++)
		items[i].key = pair_of_ranks(&frequency, &age, leading[items[i].number]);
	status = sort_items(&items, &spare, n, poll, poll_arg);
	if (status != MATH_OK)
		goto done;

	for (size_t i = 0; i < n; i++)
	{
		const FitRow *row = &rows[items[i].number];

		/* the rows are far apart */
		if (i + PREFETCH < n)
			__builtin_prefetch(&rows[items[i + PREFETCH].number]);
		if (kept > 0 && fit_row_compare(&result[kept - 1], row) == 0)
			result[kept - 1].count += row->count;
		else
			result[kept++] = *row;
	}
	memcpy(rows, result, kept * sizeof(FitRow));
	*n_rows = kept;

done:
	free(both);
	free(leading);
	free(result);
	dictionary_free(&frequency);
	dictionary_free(&age);
	dictionary_free(&recency);
	dictionary_free(&monetary);
	return status;
}
