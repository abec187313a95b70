/*
 * loyalty.c
 *		The module's magic block and start.
 */
#include "postgres.h"

#include "fmgr.h"

#include "ledger/program.h"
#include "spend/spend.h"
#include "status/tiering.h"

PG_MODULE_MAGIC;

PGDLLEXPORT void _PG_init(void);

void
_PG_init(void)
{
	program_init();
	giveback_init();
	tiering_init();
}
