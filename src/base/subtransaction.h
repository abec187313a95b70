/*
 * subtransaction.h
 *		Work that can be undone while its transaction goes on.
 */
#ifndef LOYALTY_SUBTRANSACTION_H
#define LOYALTY_SUBTRANSACTION_H

#include "utils/palloc.h"
#include "utils/resowner.h"

/* What is in force again once it has ended. */
typedef struct Subtransaction
{
	MemoryContext context;
	ResourceOwner owner;
} Subtransaction;

extern void subtransaction_begin(Subtransaction *subtransaction);

/* Keeps what was done in it, or undoes it. */
extern void subtransaction_end(Subtransaction *subtransaction, bool keep);

/* In a PG_CATCH(): undoes what was done in it; the error is the caller's, to throw on or to free. */
extern ErrorData *subtransaction_fail(Subtransaction *subtransaction);

#endif							/* LOYALTY_SUBTRANSACTION_H */
