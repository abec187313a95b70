/*
 * actor.c
 *		Who books an entry: the session's user and the role that is set.
 *
 * The role is the one in force outside of all functions: neither a SECURITY
 * DEFINER function nor a foreign key's cascade, which run as somebody else,
 * hides who called them.
 *
 * An actor is looked up once and kept while its roles keep their names and the
 * transaction that looked does not abort.  One that is not there is made
 * without looking out for others who make the same: a unique key would let
 * sessions wait for each other that hold accounts, and with those that hold
 * their own rows they could deadlock.  So two may make the same, and both
 * numbers mean the same.
 *
 * Nothing of it is read at the transaction's snapshot: at SERIALIZABLE two
 * sessions that make different actors would otherwise be in each other's way.
 */
#include "postgres.h"

#include "access/nbtree.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "commands/sequence.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/inval.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"

#include "base/config.h"
#include "ledger/actor.h"

typedef struct Known
{
	int32		actor_id;		/* 0: nobody */
	Oid			session_user;
	Oid			current_user;
	uint64		generation;		/* of the table's definition */
	bool		of_transaction; /* its row may be gone if this transaction, or a part of it, aborts */
} Known;

static Known known;

static void
role_changed(Datum arg, int cacheid, uint32 hashvalue)
{
	known.actor_id = 0;
}

static void
transaction_ends(XactEvent event, void *arg)
{
	/* A prepared one may abort when we don't look. */
	if (known.of_transaction && (event == XACT_EVENT_ABORT || event == XACT_EVENT_PREPARE))
		known.actor_id = 0;
	if (event == XACT_EVENT_ABORT || event == XACT_EVENT_PREPARE || event == XACT_EVENT_COMMIT)
		known.of_transaction = false;
}

static void
subtransaction_ends(SubXactEvent event, SubTransactionId id, SubTransactionId parent, void *arg)
{
	if (known.of_transaction && event == SUBXACT_EVENT_ABORT_SUB)
		known.actor_id = 0;
}

static Datum
role_name(Oid role)
{
	char	   *name = GetUserNameFromId(role, true);

	/* One that is dropped goes on until it logs out. */
	return CStringGetTextDatum(name ? name : psprintf("%u", role));
}

static int32
find_actor(Post *post, Datum session_user, Datum current_user)
{
	Table		table;
	TableScan	scan;
	TableKey	keys[2] = {
		{BTEqualStrategyNumber, session_user},
		{BTEqualStrategyNumber, current_user}
	};
	int32		actor_id = 0;
	bool		isnull;

	table_open_for_read(&table, "actor", ACTOR_NATTS);
	table_scan_begin(&scan, &table, "actor_names_idx", SnapshotSelf, 2, keys);

	/* What the transaction can't see it had better not name. */
	while (actor_id == 0 && table_scan_next(&scan))
		if (table_tuple_satisfies_snapshot(table.rel, table.slot, post->snapshot))
			actor_id = DatumGetInt32(slot_getattr(table.slot, ACTOR_ID, &isnull));
	table_scan_end(&scan);
	table_finish(&table);
	return actor_id;
}

static int32
make_actor(Post *post, Datum session_user, Datum current_user)
{
	Table		table;
	TupleTableSlot *slot;
	int32		actor_id = (int32) nextval_internal(loyalty_relation("actor_actor_id_seq"), false);

	table_open_for_write(&table, "actor", ACTOR_NATTS, post->estate);
	slot = table_new_row(&table);
	slot->tts_values[ACTOR_ID - 1] = Int32GetDatum(actor_id);
	slot->tts_values[ACTOR_SESSION_USER - 1] = session_user;
	slot->tts_values[ACTOR_CURRENT_USER - 1] = current_user;
	table_queue_row(&table, slot);
	table_finish(&table);
	return actor_id;
}

int32
actor_now(Post *post)
{
	static bool registered = false;
	Oid			session_user = GetSessionUserId();
	Oid			current_user = GetOuterUserId();
	Datum		names[2];
	int32		actor_id;

	if (known.actor_id != 0 && known.session_user == session_user && known.current_user == current_user &&
		known.generation == config_generation())
		return known.actor_id;

	if (!registered)
	{
		CacheRegisterSyscacheCallback(AUTHOID, role_changed, (Datum) 0);
		RegisterXactCallback(transaction_ends, NULL);
		RegisterSubXactCallback(subtransaction_ends, NULL);
		registered = true;
	}
	known.actor_id = 0;
	config_watch(loyalty_relation("actor"));
	known.generation = config_generation();
	known.session_user = session_user;
	known.current_user = current_user;
	known.of_transaction = true;

	names[0] = role_name(session_user);
	names[1] = role_name(current_user);
	actor_id = find_actor(post, names[0], names[1]);
	if (actor_id == 0)
		actor_id = make_actor(post, names[0], names[1]);
	return known.actor_id = actor_id;
}
