/*
 * activity.c
 *		Which customers were active when.
 */
#include "postgres.h"

#include "libpq/pqformat.h"
#include "miscadmin.h"
#include "port/pg_bitutils.h"
#include "utils/memutils.h"

#include "base/compat.h"
#include "metrics/activity.h"

#define FIRST_CAPACITY	8
#define BLOCK_PERIODS	64

#define ST_SORT sort_values
#define ST_ELEMENT_TYPE int64
#define ST_COMPARE(a, b) (*(a) < *(b) ? -1 : *(a) > *(b) ? 1 : 0)
#define ST_SCOPE static
#define ST_DEFINE
#include "lib/sort_template.h"

Activity *
activity_create(MemoryContext context, Oid customer, Oid collation, bool has_instants)
{
	Activity   *activity = MemoryContextAllocZero(context, sizeof(Activity));

	activity->customers = keyset_create(context, customer, collation);
	activity->has_instants = has_instants;
	activity->capacity = FIRST_CAPACITY;
	activity->blocks = MemoryContextAlloc(context, FIRST_CAPACITY * sizeof(ActivityBlock));
	return activity;
}

/* A block in front of the customer's others. */
static ActivityBlock *
add_block(Activity *activity, KeyEntry *customer, uint32 number)
{
	ActivityBlock *block;

	if (activity->size == activity->capacity)
	{
		if (activity->capacity > PG_UINT32_MAX / 2)
			ereport(ERROR,
					(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
					 errmsg("too many active periods in one group"),
					 errhint("Use longer periods.")));
		activity->capacity *= 2;
		activity->blocks = repalloc_huge(activity->blocks,
										 (Size) activity->capacity * sizeof(ActivityBlock));
	}
	block = &activity->blocks[activity->size++];
	block->number = number;
	block->next = customer->tag;
	customer->tag = activity->size;
	return block;
}

static void
set_bits(Activity *activity, KeyEntry *customer, uint32 number, uint64 bits)
{
	ActivityBlock *block = NULL;

	for (uint32 at = customer->tag; at != 0; at = block->next)
	{
		block = &activity->blocks[at - 1];
		if (block->number == number)
		{
			activity->count += pg_popcount64(bits & ~block->u.bits);
			block->u.bits |= bits;
			return;
		}
	}
	block = add_block(activity, customer, number);
	block->u.bits = bits;
	activity->count += pg_popcount64(bits);
}

/* Not distinct yet: that is for activity_read(). */
static void
add_instant(Activity *activity, KeyEntry *customer, int64 instant)
{
	if (customer->tag == 0 || activity->blocks[customer->tag - 1].u.instant != instant)
		add_block(activity, customer, 0)->u.instant = instant;
}

static KeyEntry *
find_customer(Activity *activity, Datum customer)
{
	bool		found;
	uint32		number = keyset_add(activity->customers, 0, customer, &found);

	return &activity->customers->entries[number];
}

static inline void
set_period(Activity *activity, KeyEntry *customer, uint32 period)
{
	set_bits(activity, customer, period / BLOCK_PERIODS, UINT64CONST(1) << (period % BLOCK_PERIODS));
}

void
activity_flush(Activity *activity)
{
	uint32		numbers[KEYSET_BATCH];
	KeyEntry   *entries;

	if (activity->npending == 0)
		return;
	keyset_add_batch(activity->customers, activity->customer, activity->npending, numbers);
	entries = activity->customers->entries;
	for (int i = 0; i < activity->npending; i++)
	{
		if (entries[numbers[i]].tag != 0)
			__builtin_prefetch(&activity->blocks[entries[numbers[i]].tag - 1]);
	}
	for (int i = 0; i < activity->npending; i++)
		set_period(activity, &entries[numbers[i]], activity->period[i]);
	activity->npending = 0;
}

void
activity_add_period(Activity *activity, Datum customer, uint32 period)
{
	Assert(!activity->has_instants);
	if (!activity->customers->typbyval)
	{
		set_period(activity, find_customer(activity, customer), period);
		return;
	}
	activity->customer[activity->npending] = customer;
	activity->period[activity->npending] = period;
	if (++activity->npending == KEYSET_BATCH)
		activity_flush(activity);
}

void
activity_add_instant(Activity *activity, Datum customer, int64 instant)
{
	Assert(activity->has_instants);
	add_instant(activity, find_customer(activity, customer), instant);
}

void
activity_add_all(Activity *activity, Activity *other)
{
	Assert(activity->has_instants == other->has_instants);
	activity_flush(activity);
	activity_flush(other);
	for (uint32 i = 0; i < other->customers->size; i++)
	{
		const KeyEntry *theirs = &other->customers->entries[i];
		KeyEntry   *ours = find_customer(activity, theirs->key);

		CHECK_FOR_INTERRUPTS();
		for (uint32 at = theirs->tag; at != 0; at = other->blocks[at - 1].next)
		{
			const ActivityBlock *block = &other->blocks[at - 1];

			if (activity->has_instants)
				add_instant(activity, ours, block->u.instant);
			else
				set_bits(activity, ours, block->number, block->u.bits);
		}
	}
}

static void
add_value(ActivityList *list, int64 value)
{
	if (list->size == list->capacity)
	{
		list->capacity = Max(2 * list->capacity, BLOCK_PERIODS);
		if (list->values == NULL)
			list->values = palloc(list->capacity * sizeof(int64));
		else
			list->values = repalloc_huge(list->values, (Size) list->capacity * sizeof(int64));
	}
	list->values[list->size++] = value;
}

void
activity_read(const Activity *activity, uint32 customer, ActivityList *list)
{
	bool		sorted = true;
	uint32		kept = 0;

	list->size = 0;
	for (uint32 at = activity->customers->entries[customer].tag; at != 0;
		 at = activity->blocks[at - 1].next)
	{
		const ActivityBlock *block = &activity->blocks[at - 1];

		/* Of one block the bits come in order. */
		if (list->size > 0)
			sorted = false;
		if (activity->has_instants)
			add_value(list, block->u.instant);
		else
		{
			for (uint64 bits = block->u.bits; bits != 0; bits &= bits - 1)
				add_value(list, (int64) block->number * BLOCK_PERIODS + pg_rightmost_one_pos64(bits));
		}
	}

	if (!sorted)
		sort_values(list->values, list->size);
	for (uint32 i = 0; i < list->size; i++)
	{
		if (kept == 0 || list->values[i] != list->values[kept - 1])
			list->values[kept++] = list->values[i];
	}
	list->size = kept;
}

/* The entries' tags are indexes of blocks, and stay so: the blocks are sent in their order. */
void
activity_send(StringInfo buf, Activity *activity)
{
	activity_flush(activity);
	keyset_send(buf, activity->customers);
	pq_sendbyte(buf, activity->has_instants);
	pq_sendint64(buf, activity->count);
	pq_sendint32(buf, activity->size);
	pq_sendbytes(buf, (const char *) activity->blocks, (Size) activity->size * sizeof(ActivityBlock));
}

/* In the current context. */
Activity *
activity_recv(StringInfo buf)
{
	Activity   *activity = palloc0(sizeof(Activity));
	Size		bytes;

	activity->customers = keyset_recv(buf);
	activity->has_instants = pq_getmsgbyte(buf) != 0;
	activity->count = pq_getmsgint64(buf);
	activity->size = activity->capacity = pq_getmsgint(buf, 4);
	bytes = (Size) activity->size * sizeof(ActivityBlock);
	activity->blocks = MemoryContextAllocHuge(CurrentMemoryContext, bytes);
	memcpy(activity->blocks, pq_getmsgbytes(buf, bytes), bytes);
	return activity;
}
