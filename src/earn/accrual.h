/*
 * accrual.h
 *		From changed rows of a source to movements of points.
 */
#ifndef LOYALTY_ACCRUAL_H
#define LOYALTY_ACCRUAL_H

#include "earn/source.h"
#include "ledger/post.h"

/* What is known to have happened to a row. */
typedef enum ChangeKind
{
	CHANGE_NEW,					/* it was not there before */
	CHANGE_ROW,					/* it was `before` and is `after`, or is gone (no after) */
	CHANGE_FIRST,				/* it is `after`; accrue it unless that was done before */
	CHANGE_STATE				/* it is `after` (or gone: only before's key and member count) */
} ChangeKind;

typedef struct Accrual Accrual;

/*
 * Entries of this transaction's command `began` and later ones are taken to be
 * of the same statement: what a row had before it was booked earlier.  An
 * accrual that settles counts on new rows that are not: see trigger.c.
 */
extern Accrual *accrual_begin(Source *source, CommandId began, bool settles);

/* The statement is a trigger's: rows that nothing is booked for may be an outer statement's. */
extern void accrual_within_trigger(Accrual *accrual);

/*
 * Only rows noted in the queue of deferred ones are taken from here on, and
 * they leave it: what can't be booked again is noted anew.
 */
extern void accrual_only_deferred(Accrual *accrual);

/* Images are copied; a refused one fails the statement or goes to the queue, as the source says. */
extern void accrual_add(Accrual *accrual, ChangeKind kind,
						const SourceColumns *before_columns, TupleTableSlot *before,
						const SourceColumns *after_columns, TupleTableSlot *after);

/* Whether anything that was added may move points. */
extern bool accrual_has_changes(const Accrual *accrual);

/* Books all that was added; answers how many rows had something booked. */
extern int64 accrual_end(Accrual *accrual);

#endif							/* LOYALTY_ACCRUAL_H */
