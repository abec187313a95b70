/*
 * owner.c
 *		Statements that the engine runs as the extension's owner.
 *
 * A trigger runs as whoever inserts the order, who has no rights on the
 * ledger.  The identity is changed for the one statement and comes back with
 * it, or with the transaction's abort.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_class.h"
#include "miscadmin.h"
#include "utils/syscache.h"

#include "base/owner.h"
#include "base/table.h"

static Oid
ledger_owner(void)
{
	HeapTuple	tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(loyalty_relation("account")));
	Oid			owner = ((Form_pg_class) GETSTRUCT(tuple))->relowner;

	ReleaseSysCache(tuple);
	return owner;
}

void
owner_execute(OwnerPlan *plan, const char *sql, int nargs, Oid *types, Datum *values)
{
	Oid			user;
	int			context;
	int			result;

	GetUserIdAndSecContext(&user, &context);
	SetUserIdAndSecContext(ledger_owner(), context | SECURITY_LOCAL_USERID_CHANGE);
	SPI_connect();
	if (plan->plan == NULL || !SPI_plan_is_valid(plan->plan))
	{
		if (plan->plan != NULL)
			SPI_freeplan(plan->plan);
		plan->plan = SPI_prepare(sql, nargs, types);
		if (plan->plan == NULL)
			elog(ERROR, "could not prepare \"%s\": %s", sql, SPI_result_code_string(SPI_result));
		SPI_keepplan(plan->plan);
	}
	result = SPI_execute_plan(plan->plan, values, NULL, false, 0);
	if (result < 0)
		elog(ERROR, "could not run \"%s\": %s", sql, SPI_result_code_string(result));
	SPI_finish();
	SetUserIdAndSecContext(user, context);
}
