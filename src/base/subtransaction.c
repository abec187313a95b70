/*
 * subtransaction.c
 *		Work that can be undone while its transaction goes on.
 *
 * Whoever throws an error on ends the subtransaction before: one who catches it
 * further out ends only a subtransaction of his own.
 */
#include "postgres.h"

#include "access/xact.h"

#include "base/subtransaction.h"

void
subtransaction_begin(Subtransaction *subtransaction)
{
	subtransaction->context = CurrentMemoryContext;
	subtransaction->owner = CurrentResourceOwner;
	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(subtransaction->context);
}

void
subtransaction_end(Subtransaction *subtransaction, bool keep)
{
	if (keep)
		ReleaseCurrentSubTransaction();
	else
		RollbackAndReleaseCurrentSubTransaction();
	MemoryContextSwitchTo(subtransaction->context);
	CurrentResourceOwner = subtransaction->owner;
}

ErrorData *
subtransaction_fail(Subtransaction *subtransaction)
{
	ErrorData  *error;

	MemoryContextSwitchTo(subtransaction->context);
	error = CopyErrorData();
	FlushErrorState();
	subtransaction_end(subtransaction, false);
	return error;
}
