/*
 * compat.h
 *		The one place for differences between servers 15 to 18.
 */
#ifndef LOYALTY_COMPAT_H
#define LOYALTY_COMPAT_H

#if PG_VERSION_NUM < 150000
#error "loyalty needs PostgreSQL 15 or later"
#endif

#if PG_VERSION_NUM >= 160000
#include "varatt.h"
#include "nodes/miscnodes.h"
#else
/* Soft errors arrived with 16: before it they are thrown. */
#define ereturn(context, dummy_value, ...) \
	do { \
		(void) (context); \
		ereport(ERROR, __VA_ARGS__); \
		return dummy_value; \
	} while (0)
#define errsave(context, ...) \
	do { \
		(void) (context); \
		ereport(ERROR, __VA_ARGS__); \
	} while (0)
#define SOFT_ERROR_OCCURRED(context)	((void) (context), false)
#endif

#endif							/* LOYALTY_COMPAT_H */
