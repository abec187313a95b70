/*
 * request.c
 *		Calls that an application may repeat: the same id with the same content
 *		answers the same, with other content it is an error.
 */
#include "postgres.h"

#include "access/nbtree.h"
#include "utils/builtins.h"

#include "base/errors.h"
#include "ledger/request.h"

static void
reused(const Request *request)
{
	ereport(ERROR,
			(errcode(ERRCODE_LY_REQUEST_REUSED),
			 errmsg("request id \"%s\" was used for something else", text_to_cstring(request->id)),
			 errdetail("A request id stands for one call and all of its arguments."),
			 errhint("Repeat a call with its own id; make a new id for a new call.")));
}

int64
request_answer(Post *post, const Request *request)
{
	Table	   *table;
	TableScan	scan;
	TableKey	keys[2] = {
		{BTEqualStrategyNumber, Int32GetDatum(request->program_id)},
		{BTEqualStrategyNumber, PointerGetDatum(request->id)}
	};
	int64		answer = 0;

	if (request->id == NULL)
		return 0;
	if (VARSIZE_ANY_EXHDR(request->id) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_LY_EMPTY_REQUEST),
				 errmsg("the request id is empty"),
				 errdetail("All calls without an id of their own would pass for one."),
				 errhint("Give each call an id of its own, or NULL if it is never repeated.")));
	table = post_table(post, &post->request, "request", REQUEST_NATTS);
	table_scan_begin(&scan, table, "request_pkey", post->snapshot, 2, keys);
	if (table_scan_next(&scan))
	{
		Datum	   *values = table->slot->tts_values - 1;

		slot_getallattrs(table->slot);
		if (strcmp(TextDatumGetCString(values[REQUEST_CONTENT]), request->content) != 0)
			reused(request);
		answer = ENTRY_ID(DatumGetInt64(values[REQUEST_ACCOUNT]), DatumGetInt32(values[REQUEST_ENTRY]));
	}
	table_scan_end(&scan);
	return answer;
}

void
request_keep(Post *post, const Request *request, int64 account_id, int32 entry_no)
{
	MemoryContext context = CurrentMemoryContext;
	Table	   *table;
	TupleTableSlot *slot;
	Datum	   *values;

	if (request->id == NULL)
		return;
	table = post_table(post, &post->request, "request", REQUEST_NATTS);
	slot = table_new_row(table);
	values = slot->tts_values - 1;
	values[REQUEST_PROGRAM] = Int32GetDatum(request->program_id);
	values[REQUEST_ID] = PointerGetDatum(request->id);
	values[REQUEST_ACCOUNT] = Int64GetDatum(account_id);
	values[REQUEST_ENTRY] = Int32GetDatum(entry_no);
	values[REQUEST_CONTENT] = CStringGetTextDatum(request->content);
	values[REQUEST_RECORDED_AT] = TimestampTzGetDatum(post->now);

	/* Of two calls for one account the second sees the first; for two accounts the index decides. */
	PG_TRY();
	{
		table_queue_row(table, slot);
		table_flush(table);
	}
	PG_CATCH();
	{
		ErrorData  *error;

		MemoryContextSwitchTo(context);
		error = CopyErrorData();
		if (error->sqlerrcode != ERRCODE_UNIQUE_VIOLATION)
			PG_RE_THROW();
		FlushErrorState();
		reused(request);
	}
	PG_END_TRY();
}

int64
request_finish(Post *post, const Request *request, int64 answer, int64 account_id, int32 entry_no)
{
	if (answer == 0)
	{
		request_keep(post, request, account_id, entry_no);
		answer = ENTRY_ID(account_id, entry_no);
	}
	post_end(post);
	return answer;
}

void
require_argument(FunctionCallInfo fcinfo, int n, const char *name)
{
	if (PG_ARGISNULL(n))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("%s must not be NULL", name),
				 errdetail("The call can't mean anything without it."),
				 errhint("Only arguments with a default may be left out.")));
}

char *
reason_content(const text *reason)
{
	return reason == NULL ? "" : psprintf(" reason %s", text_to_cstring(reason));
}
