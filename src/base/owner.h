/*
 * owner.h
 *		Statements that the engine runs as the extension's owner.
 */
#ifndef LOYALTY_OWNER_H
#define LOYALTY_OWNER_H

#include "executor/spi.h"

/* A prepared statement that is kept for the session; zero it first. */
typedef struct OwnerPlan
{
	SPIPlanPtr	plan;
} OwnerPlan;

/*
 * Runs a statement whose every name is qualified.  Its result is dropped; use
 * SPI directly where one is wanted.
 */
extern void owner_execute(OwnerPlan *plan, const char *sql, int nargs, Oid *types, Datum *values);

#endif							/* LOYALTY_OWNER_H */
