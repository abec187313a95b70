/*
 * array.h
 *		Arrays that grow, and arrays that SQL hands over.
 */
#ifndef LOYALTY_ARRAY_H
#define LOYALTY_ARRAY_H

#include "catalog/pg_type_d.h"
#include "utils/array.h"
#include "utils/memutils.h"

/*
 * Room for one more element beside n: the array itself, or a larger one.  It
 * begins as NULL and goes on in the context in which it began.
 */
static inline void *
array_grow(void *array, int n, int *room, Size size)
{
	if (n < *room)
		return array;
	*room = *room == 0 ? 8 : *room * 2;
	return array == NULL ? palloc(size * *room) : repalloc_huge(array, size * *room);
}

static inline void *
array_elements(ArrayType *array, int *n)
{
	Size		offset = ARR_HASNULL(array) ? (Size) array->dataoffset : ARR_OVERHEAD_NONULLS(ARR_NDIM(array));

	if (array_contains_nulls(array))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("null array element not allowed in this context")));
	*n = ArrayGetNItems(ARR_NDIM(array), ARR_DIMS(array));
	return (char *) array + offset;
}

/* The elements of an int8[] or int4[], where they are in it: not to be written to unless it is a copy. */
static inline int64 *
array_int64s(ArrayType *array, int *n)
{
	Assert(ARR_ELEMTYPE(array) == INT8OID);
	return array_elements(array, n);
}

static inline int32 *
array_int32s(ArrayType *array, int *n)
{
	Assert(ARR_ELEMTYPE(array) == INT4OID);
	return array_elements(array, n);
}

#endif							/* LOYALTY_ARRAY_H */
