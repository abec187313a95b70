/*
 * balance.c
 *		What a member can spend, now and at any other time.
 *
 * The account's totals hold from the moment they were written until a lot or
 * a hold of it begins or ends; outside that the lots and the holds or, for the
 * past, the entries are asked.
 */
#include "postgres.h"

#include "access/nbtree.h"
#include "access/xact.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "nodes/value.h"
#include "parser/parse_func.h"
#include "utils/snapmgr.h"

#include "base/errors.h"
#include "ledger/reserve.h"

PG_FUNCTION_INFO_V1(loyalty_balance);

/* The first row of an index scan on equal keys, into table->slot. */
static bool
look_up(Table *table, const char *index, int nkeys, const TableKey *keys)
{
	TableScan	scan;
	bool		found;

	table_scan_begin(&scan, table, index, GetActiveSnapshot(), nkeys, keys);
	found = table_scan_next(&scan);
	if (found)
		ExecMaterializeSlot(table->slot);
	table_scan_end(&scan);
	return found;
}

/* What the lots' rows have as held although its hold is over by then, of lots in the list. */
static Points
held_no_more(int64 account_id, TimestampTz at, const List *lots)
{
	Table		hold;
	TableScan	scan;
	TableKey	keys[2] = {
		{BTEqualStrategyNumber, Int64GetDatum(account_id)},
		{BTLessEqualStrategyNumber, TimestampTzGetDatum(at)}
	};
	Points		sum = 0;

	table_open_for_read(&hold, "hold", HOLD_NATTS);
	table_scan_begin(&scan, &hold, "hold_open_idx", GetActiveSnapshot(), 2, keys);
	while (table_scan_next(&scan))
	{
		Datum	   *values = hold.slot->tts_values - 1;

		slot_getallattrs(hold.slot);
		if (list_member_int(lots, DatumGetInt32(values[HOLD_LOT])))
			sum = points_add(sum, DatumGetPoints(values[HOLD_POINTS]) - DatumGetPoints(values[HOLD_CAPTURED]) -
							 DatumGetPoints(values[HOLD_OWED]));
	}
	table_scan_end(&scan);
	table_finish(&hold);
	return sum;
}

static Points
balance_from_lots(int64 account_id, TimestampTz at, TimestampTz clock_end)
{
	Table		lot;
	TableScan	scan;
	TableKey	keys[3] = {
		{BTEqualStrategyNumber, Int64GetDatum(account_id)},
		{BTEqualStrategyNumber, BoolGetDatum(true)},
		{BTGreaterStrategyNumber, TimestampTzGetDatum(at)}
	};
	Points		sum = 0;
	List	   *held = NIL;

	table_open_for_read(&lot, "lot", LOT_NATTS);
	table_scan_begin(&scan, &lot, "lot_pkey", GetActiveSnapshot(), 3, keys);
	while (table_scan_next(&scan))
	{
		Datum	   *values = lot.slot->tts_values - 1;

		slot_getallattrs(lot.slot);
		if (DatumGetTimestampTz(values[LOT_VALID_FROM]) > at ||
			(DatumGetTimestampTz(values[LOT_EXPIRES_AT]) == LOT_ON_CLOCK && clock_end <= at))
			continue;
		sum = points_add(sum, DatumGetPoints(values[LOT_REMAINING]) - DatumGetPoints(values[LOT_HELD]));
		if (DatumGetPoints(values[LOT_HELD]) > 0)
			held = lappend_int(held, DatumGetInt32(values[LOT_NO]));
	}
	table_scan_end(&scan);
	table_finish(&lot);
	return held == NIL ? sum : points_add(sum, held_no_more(account_id, at, held));
}

/* From what the entries had done to each lot by then.  The right to balance() is the right to it. */
static Points
balance_from_entries(int64 account_id, TimestampTz at)
{
	Oid			types[] = {INT8OID, TIMESTAMPTZOID, TIMESTAMPTZOID};
	Oid			then = LookupFuncName(list_make2(makeString("loyalty"), makeString("_balance_then")), 3, types, false);

	return DatumGetPoints(OidFunctionCall3(then, Int64GetDatum(account_id), TimestampTzGetDatum(at),
										   TimestampTzGetDatum(DT_NOEND)));
}

/* balance(program, member, at, currency) */
Datum
loyalty_balance(PG_FUNCTION_ARGS)
{
	const Program *program;
	const Currency *currency;
	TimestampTz at;
	Table		table;
	TableKey	keys[2];
	Datum	   *values;
	int64		account_id;
	TimestampTz as_of;
	Points		live;
	Points		debt;
	Points		held;
	TimestampTz next_change;
	TimestampTz clock_end;

	if (PG_ARGISNULL(0) || PG_ARGISNULL(1) || PG_ARGISNULL(2))
		PG_RETURN_NULL();
	program = program_of_member(PG_GETARG_TEXT_PP(0), PG_GETARG_TEXT_PP(1));
	at = PG_GETARG_TIMESTAMPTZ(2);
	if (at == DT_NOEND)
		at--;					/* points that never end are there to the end */
	currency = program_currency(program, PG_ARGISNULL(3) ? NULL : PG_GETARG_TEXT_PP(3));

	table_open_for_read(&table, "account", ACCOUNT_NATTS);
	keys[0] = (TableKey) {BTEqualStrategyNumber, Int32GetDatum(currency->currency_id)};
	keys[1] = (TableKey) {BTEqualStrategyNumber, PG_GETARG_DATUM(1)};
	if (!look_up(&table, "account_key", 2, keys))
	{
		table_finish(&table);
		table_open_for_read(&table, "member", MEMBER_NATTS);
		keys[0].value = Int32GetDatum(program->program_id);
		if (!look_up(&table, "member_key", 2, keys))
			refuse_unknown_member(program);
		table_finish(&table);
		PG_RETURN_POINTS(0);
	}
	slot_getallattrs(table.slot);
	values = table.slot->tts_values - 1;
	account_id = DatumGetInt64(values[ACCOUNT_ID]);
	as_of = DatumGetTimestampTz(values[ACCOUNT_AS_OF]);
	next_change = DatumGetTimestampTz(values[ACCOUNT_NEXT_CHANGE]);
	live = DatumGetPoints(values[ACCOUNT_LIVE]);
	held = DatumGetPoints(values[ACCOUNT_HELD]);
	debt = DatumGetPoints(values[ACCOUNT_DEBT]);
	clock_end = table.slot->tts_isnull[ACCOUNT_CLOCK_END - 1] ? DT_NOBEGIN :
		DatumGetTimestampTz(values[ACCOUNT_CLOCK_END]);
	table_finish(&table);

	/* now() is when this transaction began; what others did since is there, and is what redeem() meets. */
	if (at >= GetCurrentTransactionStartTimestamp() && at < as_of)
		at = as_of;
	if (at < as_of)
		PG_RETURN_POINTS(balance_from_entries(account_id, at));
	if (at < next_change)
		PG_RETURN_POINTS(live - held - debt);
	PG_RETURN_POINTS(points_sub(balance_from_lots(account_id, at, clock_end), debt));
}
