/*
 * keyset.h
 *		The distinct customers, or orders, that an aggregate has met.
 *
 * A set of values of any hashable type, by the type's own hash function and
 * equality and the call's collation.  Entries are numbered from 0 in the order
 * of arrival and carry a tag for the caller, 0 at first.  A key may be scoped:
 * order 7 of one customer is not order 7 of another.  The scope is a number
 * too, that of the customer in another set.
 *
 * Everything lives in the context given to keyset_create, keys that are not
 * passed by value are copied there.  32 to 64 bytes an entry, and such a copy.
 */
#ifndef LOYALTY_KEYSET_H
#define LOYALTY_KEYSET_H

#include "fmgr.h"
#include "lib/stringinfo.h"

typedef struct KeyEntry
{
	Datum		key;
	uint32		hash;
	uint32		scope;
	uint32		tag;
} KeyEntry;

typedef struct KeySet
{
	MemoryContext context;
	Oid			type;
	Oid			collation;
	int16		typlen;
	bool		typbyval;
	bool		is_integer;		/* int4 or int8: compared without a call */
	FmgrInfo	hash_function;
	FmgrInfo	equal_function;

	uint32		size;			/* entries in use */
	uint32		capacity;
	KeyEntry   *entries;		/* in order of arrival */
	uint32	   *slots;			/* twice the capacity: number + 1, or 0; NULL if only to be read */
} KeySet;

extern KeySet *keyset_create(MemoryContext context, Oid type, Oid collation);

/* The number of the entry; *found says whether it was there already. */
extern uint32 keyset_add(KeySet *set, uint32 scope, Datum key, bool *found);

/*
 * The same for many keys of scope 0, whose type must be passed by value.  In a set
 * that is larger than the processor's caches a look-up is waiting for memory; those
 * of one call wait together.
 */
#define KEYSET_BATCH	64

extern void keyset_add_batch(KeySet *set, const Datum *keys, int n, uint32 *numbers);

/* For a set of texts: the numbers of its entries in the order of their bytes, as collation "C" has it. */
extern int32 *keyset_order_texts(const KeySet *set);

/*
 * For serialized aggregate states, between the processes of one query.  The set
 * received can be read, not added to.
 */
extern void keyset_send(StringInfo buf, const KeySet *set);
extern KeySet *keyset_recv(StringInfo buf);

#endif							/* LOYALTY_KEYSET_H */
