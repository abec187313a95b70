/*
 * config.h
 *		When what a session knows of programs, rules and sources is out of date.
 */
#ifndef LOYALTY_CONFIG_H
#define LOYALTY_CONFIG_H

#include "executor/tuptable.h"
#include "utils/palloc.h"
#include "utils/snapshot.h"

/*
 * A number that grows whenever a configuration table, or the definition of
 * any table this session asked about, may have changed.
 */
extern uint64 config_generation(void);
extern void config_watch(Oid relid);

/* A cache that is rebuilt when its generation is old. */
typedef struct ConfigCache
{
	MemoryContext context;
	uint64		generation;
} ConfigCache;

/*
 * True when the cache must be filled anew, in cache->context.  What it held
 * stays readable until the transaction ends, so pointers into it are good for
 * the statement that took them.
 */
extern bool config_cache_renew(ConfigCache *cache, const char *name);

/* Its content is whole now: the next renew() keeps it. */
extern void config_cache_filled(ConfigCache *cache, uint64 generation);

/*
 * All rows of a configuration table, which is watched from now on, each of
 * row_size bytes that start out as zero; in the current context.  Tables that
 * must agree are watched first and read by one snapshot; NULL: the latest.
 */
typedef void (*ConfigReader) (void *row, TupleTableSlot *slot);
extern int	config_read_table(const char *name, int natts, Snapshot snapshot,
							  Size row_size, ConfigReader reader, void **rows);

/* The place in a NULL-ended list of a word that a CHECK constraint allows. */
extern int	config_word(Datum value, const char *const *words);

#endif							/* LOYALTY_CONFIG_H */
