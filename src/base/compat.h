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

/* What table_tuple_update() says of the indexes: a flag in 15, three-valued from 16. */
#if PG_VERSION_NUM >= 160000
#define compat_update_indexes	TU_UpdateIndexes
#define compat_insert_index_tuples(info, slot, estate, update) \
	ExecInsertIndexTuples(info, slot, estate, update, false, NULL, NIL, false)
#define compat_insert_index_tuples_for_update(info, slot, estate, which) \
	ExecInsertIndexTuples(info, slot, estate, true, false, NULL, NIL, (which) == TU_Summarizing)
#else
#define compat_update_indexes	bool
#define compat_insert_index_tuples(info, slot, estate, update) \
	ExecInsertIndexTuples(info, slot, estate, update, false, NULL, NIL)
#define compat_insert_index_tuples_for_update(info, slot, estate, which) \
	ExecInsertIndexTuples(info, slot, estate, true, false, NULL, NIL)
#endif

/* Where a relation's compiled CHECK constraints are kept. */
#if PG_VERSION_NUM >= 180000
#define compat_check_exprs	ri_CheckConstraintExprs
#else
#define compat_check_exprs	ri_ConstraintExprs
#endif

#if PG_VERSION_NUM >= 170000
#define compat_sendcountedtext(buf, str, len)	pq_sendcountedtext(buf, str, len)
#else
#define compat_sendcountedtext(buf, str, len)	pq_sendcountedtext(buf, str, len, false)
#endif

#if PG_VERSION_NUM >= 180000
#define compat_index_beginscan(heap, index, snapshot, nkeys) \
	index_beginscan(heap, index, snapshot, NULL, nkeys, 0)
#else
#define compat_index_beginscan(heap, index, snapshot, nkeys) \
	index_beginscan(heap, index, snapshot, nkeys, 0)
#endif

/*
 * Whether a role has another's rights or may take them on.  From 16 on there are
 * members that may do neither: whoever makes a role can grant it, and no more.
 */
#if PG_VERSION_NUM >= 160000
#define compat_acts_as(member, role) \
	(is_member_of_role_nosuper(member, role) && \
	 (has_privs_of_role(member, role) || member_can_set_role(member, role)))
#else
#define compat_acts_as(member, role)	is_member_of_role_nosuper(member, role)
#endif

#endif							/* LOYALTY_COMPAT_H */
