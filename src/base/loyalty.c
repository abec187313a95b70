/*
 * loyalty.c
 *		The module's magic block and start.
 */
#include "postgres.h"

#include "fmgr.h"

PG_MODULE_MAGIC;
