/*
 * activity.h
 *		Which customers were active when: what cohorts and stickiness are counted from.
 *
 * A store knows its customers (a KeySet) and, for each, either the numbered periods
 * with any activity, as 64-bit maps of 64 periods each, or the instants themselves.
 * The first takes 16 bytes for a customer and 64 periods, the second 16 bytes for
 * each instant.  A customer's blocks hang on the tag of the KeyEntry, the one written
 * last in front: input in time order finds its block at once.
 *
 * Everything lives in the context given to activity_create.
 */
#ifndef LOYALTY_ACTIVITY_H
#define LOYALTY_ACTIVITY_H

#include "metrics/keyset.h"

typedef struct ActivityBlock
{
	union
	{
		uint64		bits;		/* of the periods 64 * number ... */
		int64		instant;
	}			u;
	uint32		number;
	uint32		next;			/* index + 1, or 0 */
} ActivityBlock;

typedef struct Activity
{
	KeySet	   *customers;
	bool		has_instants;
	uint32		size;
	uint32		capacity;
	ActivityBlock *blocks;
	int64		count;			/* distinct (customer, period) */

	/* Rows not yet looked up, if the customers are passed by value. */
	int			npending;
	Datum		customer[KEYSET_BATCH];
	uint32		period[KEYSET_BATCH];
} Activity;

/* What activity_read fills, to be used again for the next customer. */
typedef struct ActivityList
{
	uint32		size;
	uint32		capacity;
	int64	   *values;
} ActivityList;

extern Activity *activity_create(MemoryContext context, Oid customer, Oid collation,
								 bool has_instants);

extern void activity_add_period(Activity *activity, Datum customer, uint32 period);
extern void activity_add_instant(Activity *activity, Datum customer, int64 instant);

/* To be called before anything in the store is read. */
extern void activity_flush(Activity *activity);

/* Adds what the other, of the same kind, holds. */
extern void activity_add_all(Activity *activity, Activity *other);

/* A customer's periods or instants, ascending and each once.  The list's memory is the current context's. */
extern void activity_read(const Activity *activity, uint32 customer, ActivityList *list);

/* Between the processes of one query; what is received can be read, not added to. */
extern void activity_send(StringInfo buf, Activity *activity);
extern Activity *activity_recv(StringInfo buf);

#endif							/* LOYALTY_ACTIVITY_H */
