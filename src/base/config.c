/*
 * config.c
 *		When what a session knows of programs, rules and sources is out of date.
 *
 * A statement trigger on each configuration table sends a relcache
 * invalidation with the commit, so that every session hears of it by the
 * server's own means; a session's caches compare generations.
 */
#include "postgres.h"

#include "access/tableam.h"
#include "access/xact.h"
#include "commands/trigger.h"
#include "fmgr.h"
#include "utils/builtins.h"
#include "utils/hsearch.h"
#include "utils/inval.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "base/array.h"
#include "base/config.h"
#include "base/errors.h"
#include "base/table.h"

PG_FUNCTION_INFO_V1(loyalty_configuration_changed);
PG_FUNCTION_INFO_V1(loyalty_guard);

static uint64 generation = 1;
static HTAB *watched = NULL;

static void
relation_changed(Datum arg, Oid relid)
{
	if (relid == InvalidOid || hash_search(watched, &relid, HASH_FIND, NULL) != NULL)
		generation++;
}

void
config_watch(Oid relid)
{
	if (watched == NULL)
	{
		HASHCTL		control = {.keysize = sizeof(Oid), .entrysize = sizeof(Oid)};

		watched = hash_create("loyalty watched relations", 64, &control, HASH_ELEM | HASH_BLOBS);
		CacheRegisterRelcacheCallback(relation_changed, (Datum) 0);
	}
	hash_search(watched, &relid, HASH_ENTER, NULL);
}

uint64
config_generation(void)
{
	return generation;
}

bool
config_cache_renew(ConfigCache *cache, const char *name)
{
	if (cache->context != NULL && cache->generation == generation)
		return false;

	if (cache->context != NULL)
		MemoryContextSetParent(cache->context, TopTransactionContext);
	cache->context = AllocSetContextCreate(CacheMemoryContext, "loyalty configuration",
										   ALLOCSET_SMALL_SIZES);
	MemoryContextSetIdentifier(cache->context, name);
	cache->generation = 0;
	return true;
}

void
config_cache_filled(ConfigCache *cache, uint64 as_of)
{
	cache->generation = as_of;
}

int
config_read_table(const char *name, int natts, Snapshot snapshot,
				  Size row_size, ConfigReader reader, void **rows)
{
	Table		table;
	TableScanDesc scan;
	char	   *array = NULL;
	int			room = 0;
	int			n = 0;

	/* Watched before it is read, or a commit in between would never be heard of. */
	table_open_for_read(&table, name, natts);
	config_watch(RelationGetRelid(table.rel));
	snapshot = RegisterSnapshot(snapshot ? snapshot : GetLatestSnapshot());
	scan = table_beginscan(table.rel, snapshot, 0, NULL);
	while (table_scan_getnextslot(scan, ForwardScanDirection, table.slot))
	{
		array = array_grow(array, n, &room, row_size);
		memset(array + row_size * n, 0, row_size);
		reader(array + row_size * n++, table.slot);
	}
	table_endscan(scan);
	table_finish(&table);
	UnregisterSnapshot(snapshot);
	*rows = array;
	return n;
}

int
config_word(Datum value, const char *const *words)
{
	char	   *word = TextDatumGetCString(value);

	for (int i = 0; words[i] != NULL; i++)
		if (strcmp(word, words[i]) == 0)
			return i;
	elog(ERROR, "unknown configuration word \"%s\"", word);
}

Datum
loyalty_configuration_changed(PG_FUNCTION_ARGS)
{
	if (!CALLED_AS_TRIGGER(fcinfo))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("function \"_configuration_changed\" was not called as a trigger")));
	CacheInvalidateRelcache(((TriggerData *) fcinfo->context)->tg_relation);
	return PointerGetDatum(NULL);
}

Datum
loyalty_guard(PG_FUNCTION_ARGS)
{
	const char *name = "?";

	if (CALLED_AS_TRIGGER(fcinfo))
		name = RelationGetRelationName(((TriggerData *) fcinfo->context)->tg_relation);
	ereport(ERROR,
			(errcode(ERRCODE_LY_LEDGER_GUARDED),
			 errmsg("table \"%s\" changes only through the ledger's functions", name),
			 errdetail("A line of the ledger is never changed or removed."),
			 errhint("Book the opposite with loyalty.adjust(), loyalty.giveback() or a change of the order row.")));
	return PointerGetDatum(NULL);
}
