/*
 * keyset.c
 *		The distinct customers, or orders, that an aggregate has met.
 *
 * The entries are a dense array; a table of their numbers, open addressing with
 * linear probing and never more than half full, finds them by hash.  Sending
 * the entries in the order of arrival keeps the receiver's table free of the
 * clusters that a copy in hash order makes.
 */
#include "postgres.h"

#include "catalog/pg_type_d.h"
#include "common/hashfn.h"
#include "libpq/pqformat.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/typcache.h"

#include "base/compat.h"
#include "metrics/keyset.h"

#define FIRST_CAPACITY	8

static KeySet *
make_set(MemoryContext context, Oid type, Oid collation)
{
	KeySet	   *set = MemoryContextAllocZero(context, sizeof(KeySet));
	Oid			base = getBaseType(type);

	set->context = context;
	set->type = type;
	set->collation = collation;
	set->is_integer = base == INT4OID || base == INT8OID;
	get_typlenbyval(type, &set->typlen, &set->typbyval);
	return set;
}

KeySet *
keyset_create(MemoryContext context, Oid type, Oid collation)
{
	KeySet	   *set = make_set(context, type, collation);

	/* The type cache can't know what is in an anonymous row, ROW(...); its functions can. */
	if (type == RECORDOID)
	{
		fmgr_info_cxt(F_HASH_RECORD, &set->hash_function, context);
		fmgr_info_cxt(F_RECORD_EQ, &set->equal_function, context);
	}
	else
	{
		TypeCacheEntry *entry = lookup_type_cache(type, TYPECACHE_HASH_PROC_FINFO |
												  TYPECACHE_EQ_OPR_FINFO);

		if (!OidIsValid(entry->hash_proc_finfo.fn_oid) ||
			!OidIsValid(entry->eq_opr_finfo.fn_oid))
			ereport(ERROR,
					(errcode(ERRCODE_UNDEFINED_FUNCTION),
					 errmsg("could not identify a hash function for type %s",
							format_type_be(type)),
					 errhint("Cast it to a type with a default hash operator class, such as text.")));
		fmgr_info_copy(&set->hash_function, &entry->hash_proc_finfo, context);
		fmgr_info_copy(&set->equal_function, &entry->eq_opr_finfo, context);
	}

	set->capacity = FIRST_CAPACITY;
	set->entries = MemoryContextAlloc(context, FIRST_CAPACITY * sizeof(KeyEntry));
	set->slots = MemoryContextAllocZero(context, 2 * FIRST_CAPACITY * sizeof(uint32));
	return set;
}

static inline uint32
hash_key(KeySet *set, uint32 scope, Datum key)
{
	uint32		hash;

	if (set->is_integer)
	{
		/* By value, so that it does not matter whether int8 is passed by value. */
		uint64		value = set->typlen == sizeof(int64) ?
			(uint64) DatumGetInt64(key) : (uint64) DatumGetInt32(key);

		/* Multiplicative (Knuth): the upper half has seen all the bits. */
		hash = (uint32) ((value * UINT64CONST(0x9E3779B97F4A7C15)) >> 32);
	}
	else
		hash = DatumGetUInt32(FunctionCall1Coll(&set->hash_function, set->collation, key));
	return hash_combine(hash, murmurhash32(scope));
}

static inline bool
same_key(KeySet *set, Datum a, Datum b)
{
	if (set->is_integer)
		return set->typlen == sizeof(int64) ?
			DatumGetInt64(a) == DatumGetInt64(b) : DatumGetInt32(a) == DatumGetInt32(b);
	return DatumGetBool(FunctionCall2Coll(&set->equal_function, set->collation, a, b));
}

static void
grow(KeySet *set)
{
	uint32		mask;

	if (set->capacity > PG_UINT32_MAX / 4)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("too many distinct values in one group")));

	set->capacity *= 2;
	set->entries = repalloc_huge(set->entries, set->capacity * sizeof(KeyEntry));
	pfree(set->slots);
	set->slots = MemoryContextAllocHuge(set->context, 2 * (Size) set->capacity * sizeof(uint32));
	memset(set->slots, 0, 2 * (Size) set->capacity * sizeof(uint32));

	mask = 2 * set->capacity - 1;
	for (uint32 number = 0; number < set->size; number++)
	{
		uint32		slot = set->entries[number].hash & mask;

		CHECK_FOR_INTERRUPTS();
		while (set->slots[slot] != 0)
			slot = (slot + 1) & mask;
		set->slots[slot] = number + 1;
	}
}

static Datum
copy_key(KeySet *set, Datum key)
{
	MemoryContext old = MemoryContextSwitchTo(set->context);

	key = datumCopy(key, set->typbyval, set->typlen);
	MemoryContextSwitchTo(old);
	return key;
}

static uint32
add_key(KeySet *set, uint32 scope, Datum key, uint32 hash, bool *found)
{
	uint32		mask;
	uint32		slot;
	KeyEntry   *entry;

	Assert(set->slots != NULL);

	if (set->size == set->capacity)
		grow(set);

	mask = 2 * set->capacity - 1;
	for (slot = hash & mask; set->slots[slot] != 0; slot = (slot + 1) & mask)
	{
		uint32		number = set->slots[slot] - 1;

		entry = &set->entries[number];
		if (entry->hash == hash && entry->scope == scope && same_key(set, entry->key, key))
		{
			*found = true;
			return number;
		}
	}

	entry = &set->entries[set->size];
	entry->key = copy_key(set, key);
	entry->hash = hash;
	entry->scope = scope;
	entry->tag = 0;
	set->slots[slot] = ++set->size;
	*found = false;
	return set->size - 1;
}

uint32
keyset_add(KeySet *set, uint32 scope, Datum key, bool *found)
{
	/* A compressed or out-of-line value is unpacked once, not at each comparison. */
	if (set->typlen == -1)
		key = PointerGetDatum(PG_DETOAST_DATUM_PACKED(key));
	return add_key(set, scope, key, hash_key(set, scope, key), found);
}

/* First the slots of all are asked for, then the entries that these name. */
void
keyset_add_batch(KeySet *set, const Datum *keys, int n, uint32 *numbers)
{
	uint32		hashes[KEYSET_BATCH];
	uint32		mask = 2 * set->capacity - 1;
	bool		found;

	Assert(set->typbyval && n <= KEYSET_BATCH);
	for (int i = 0; i < n; i++)
	{
		hashes[i] = hash_key(set, 0, keys[i]);
		__builtin_prefetch(&set->slots[hashes[i] & mask]);
	}
	for (int i = 0; i < n; i++)
	{
		uint32		number = set->slots[hashes[i] & mask];

		if (number != 0)
			__builtin_prefetch(&set->entries[number - 1]);
	}
	for (int i = 0; i < n; i++)
		numbers[i] = add_key(set, 0, keys[i], hashes[i], &found);
}

static int
compare_texts(const void *a, const void *b, void *arg)
{
	const KeyEntry *entries = arg;
	const void *x = DatumGetPointer(entries[*(const int32 *) a].key);
	const void *y = DatumGetPointer(entries[*(const int32 *) b].key);
	int			x_length = VARSIZE_ANY_EXHDR(x);
	int			y_length = VARSIZE_ANY_EXHDR(y);
	int			order = memcmp(VARDATA_ANY(x), VARDATA_ANY(y), Min(x_length, y_length));

	return order != 0 ? order : (x_length > y_length) - (x_length < y_length);
}

int32 *
keyset_order_texts(const KeySet *set)
{
	int32	   *number = palloc_extended((Size) set->size * sizeof(int32) + 1, MCXT_ALLOC_HUGE);

	for (uint32 i = 0; i < set->size; i++)
		number[i] = (int32) i;
	qsort_interruptible(number, set->size, sizeof(int32), compare_texts, set->entries);
	return number;
}

void
keyset_send(StringInfo buf, const KeySet *set)
{
	pq_sendint32(buf, set->type);
	pq_sendint32(buf, set->collation);
	pq_sendint32(buf, set->size);
	for (uint32 number = 0; number < set->size; number++)
	{
		const KeyEntry *entry = &set->entries[number];

		CHECK_FOR_INTERRUPTS();
		pq_sendint32(buf, entry->scope);
		pq_sendint32(buf, entry->tag);
		if (set->typbyval)
			pq_sendbytes(buf, (const char *) &entry->key, sizeof(Datum));
		else
		{
			Size		size = datumGetSize(entry->key, false, set->typlen);

			pq_sendint32(buf, size);
			pq_sendbytes(buf, DatumGetPointer(entry->key), size);
		}
	}
}

/* In the current context. */
KeySet *
keyset_recv(StringInfo buf)
{
	Oid			type = pq_getmsgint(buf, 4);
	Oid			collation = pq_getmsgint(buf, 4);
	KeySet	   *set = make_set(CurrentMemoryContext, type, collation);

	set->size = set->capacity = pq_getmsgint(buf, 4);
	set->entries = MemoryContextAllocHuge(set->context, (Size) set->size * sizeof(KeyEntry));
	for (uint32 number = 0; number < set->size; number++)
	{
		KeyEntry   *entry = &set->entries[number];

		CHECK_FOR_INTERRUPTS();
		entry->hash = 0;
		entry->scope = pq_getmsgint(buf, 4);
		entry->tag = pq_getmsgint(buf, 4);
		if (set->typbyval)
			memcpy(&entry->key, pq_getmsgbytes(buf, sizeof(Datum)), sizeof(Datum));
		else
		{
			Size		size = pq_getmsgint(buf, 4);
			char	   *copy = palloc(size);

			memcpy(copy, pq_getmsgbytes(buf, size), size);
			entry->key = PointerGetDatum(copy);
		}
	}
	return set;
}
