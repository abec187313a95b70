/*
 * source.c
 *		Attached tables, and what the engine reads of their rows.
 *
 * Columns are kept by name and looked up in each table of a tree by itself:
 * partitions may order them differently, and a dump may bring them back in
 * another order.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_inherits.h"
#include "catalog/pg_type.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/date.h"
#include "utils/datetime.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"

#include "base/config.h"
#include "base/errors.h"
#include "earn/source.h"

enum
{
	SOURCE_ID = 1, SOURCE_RELATION, SOURCE_PROGRAM, SOURCE_KIND, SOURCE_KEY, SOURCE_MEMBER, SOURCE_AMOUNT,
	SOURCE_REFUNDED, SOURCE_EVENT_TIME, SOURCE_STATUS, SOURCE_EARNING, SOURCE_EVENT, SOURCE_FOR_EACH,
	SOURCE_ON_ERROR, SOURCE_ATTACHED_AT, SOURCE_DETACHED_AT,
	SOURCE_NATTS = SOURCE_DETACHED_AT
};

#define ARENA_BLOCK		(64 * 1024)

static ConfigCache cache;
static Source *sources;
static int	nsources;

void *
arena_alloc(Arena *arena, Size size)
{
	char	   *result;

	size = MAXALIGN(size);
	if (arena->used + size > arena->size)
	{
		arena->size = Max(size, arena->total == 0 ? 1024 : ARENA_BLOCK);
		arena->block = MemoryContextAlloc(arena->context, arena->size);
		arena->used = 0;
		arena->total += arena->size;
	}
	result = arena->block + arena->used;
	arena->used += size;
	return result;
}

/* A text of those bytes; short ones get the short header that they have on disk. */
static text *
arena_text(Arena *arena, const char *data, int len)
{
	text	   *result;

	if (len + VARHDRSZ_SHORT <= VARATT_SHORT_MAX)
	{
		result = arena_alloc(arena, len + VARHDRSZ_SHORT);
		SET_VARSIZE_SHORT(result, len + VARHDRSZ_SHORT);
	}
	else
	{
		result = arena_alloc(arena, len + VARHDRSZ);
		SET_VARSIZE(result, len + VARHDRSZ);
	}
	memcpy(VARDATA_ANY(result), data, len);
	return result;
}

/* ----------------------------------------------------------------
 *		Configuration
 * ---------------------------------------------------------------- */

static char *
name_or_null(TupleTableSlot *slot, int attnum)
{
	return slot->tts_isnull[attnum - 1] ? NULL :
		pstrdup(NameStr(*DatumGetName(slot->tts_values[attnum - 1])));
}

static void
read_source(void *row, TupleTableSlot *slot)
{
	Source	   *source = row;
	Datum	   *values = slot->tts_values - 1;
	Datum	   *elements;
	int			n;

	slot_getallattrs(slot);
	source->source_id = DatumGetInt32(values[SOURCE_ID]);
	source->relid = DatumGetObjectId(values[SOURCE_RELATION]);
	source->program_id = DatumGetInt32(values[SOURCE_PROGRAM]);
	source->kind = TextDatumGetCString(values[SOURCE_KIND]);
	source->member = name_or_null(slot, SOURCE_MEMBER);
	source->amount = name_or_null(slot, SOURCE_AMOUNT);
	source->refunded = name_or_null(slot, SOURCE_REFUNDED);
	source->event_time = name_or_null(slot, SOURCE_EVENT_TIME);
	source->status = name_or_null(slot, SOURCE_STATUS);
	source->event = name_or_null(slot, SOURCE_EVENT);
	deconstruct_array(DatumGetArrayTypeP(values[SOURCE_KEY]), NAMEOID, NAMEDATALEN, false, TYPALIGN_CHAR,
					  &elements, NULL, &n);
	if (n > SOURCE_KEYS_MAX)
		elog(ERROR, "a source has at most %d key columns", SOURCE_KEYS_MAX);
	for (source->nkey = 0; source->nkey < n; source->nkey++)
		source->key[source->nkey] = pstrdup(NameStr(*DatumGetName(elements[source->nkey])));
	if (!slot->tts_isnull[SOURCE_EARNING - 1])
	{
		deconstruct_array(DatumGetArrayTypeP(values[SOURCE_EARNING]), TEXTOID, -1, false, TYPALIGN_INT,
						  &elements, NULL, &n);
		source->earning = palloc(sizeof(char *) * n);
		for (source->nearning = 0; source->nearning < n; source->nearning++)
			source->earning[source->nearning] = TextDatumGetCString(elements[source->nearning]);
	}
	source->defer = strcmp(TextDatumGetCString(values[SOURCE_ON_ERROR]), "defer") == 0;
	source->detached = !slot->tts_isnull[SOURCE_DETACHED_AT - 1];
}

static void
refresh(void)
{
	uint64		as_of = config_generation();
	MemoryContext old;

	if (!config_cache_renew(&cache, "sources"))
		return;
	old = MemoryContextSwitchTo(cache.context);
	nsources = config_read_table("source", SOURCE_NATTS, NULL, sizeof(Source), read_source, (void **) &sources);
	MemoryContextSwitchTo(old);
	config_cache_filled(&cache, as_of);
}

Source *
source_by_id(int32 source_id)
{
	refresh();
	for (int i = 0; i < nsources; i++)
		if (sources[i].source_id == source_id)
			return &sources[i];
	return NULL;
}

Source *
source_find(Oid relid, int32 program_id)
{
	refresh();
	for (int i = 0; i < nsources; i++)
		if (sources[i].relid == relid && sources[i].program_id == program_id && !sources[i].detached)
			return &sources[i];
	ereport(ERROR,
			(errcode(ERRCODE_LY_UNKNOWN_SOURCE),
			 errmsg("table \"%s\" is not attached to program \"%s\"",
					get_rel_name(relid), program_by_id(program_id)->code),
			 errdetail("No source of that table and program is in force."),
			 errhint("Attach it with loyalty.attach(); of a tree of tables, name the one that was attached.")));
}

bool
source_covers(const Source *source, Oid relid)
{
	return relid == source->relid ||
		typeInheritsFrom(get_rel_type_id(relid), get_rel_type_id(source->relid));
}

/* ----------------------------------------------------------------
 *		Columns
 * ---------------------------------------------------------------- */

static AttrNumber
find_column(TupleDesc desc, const char *name, Oid *type)
{
	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(desc, i);

		if (!att->attisdropped && strcmp(NameStr(att->attname), name) == 0)
		{
			*type = getBaseType(att->atttypid);
			return att->attnum;
		}
	}
	ereport(ERROR,
			(errcode(ERRCODE_LY_INVALID_SOURCE),
			 errmsg("column \"%s\" of an attached table is gone", name),
			 errdetail("The table was attached with this column."),
			 errhint("Give it back its name, or loyalty.detach() the table and attach it anew.")));
}

/* Types, and types made of others, whose text is not the same under all settings. */
static bool
hangs_on_settings(Oid type)
{
	char		category;
	bool		preferred;

	get_type_category_preferred(type, &category, &preferred);
	switch (category)
	{
		case TYPCATEGORY_ARRAY:
		case TYPCATEGORY_COMPOSITE:
		case TYPCATEGORY_RANGE:
		case TYPCATEGORY_DATETIME:
		case TYPCATEGORY_TIMESPAN:
			return true;
		default:
			return type == FLOAT4OID || type == FLOAT8OID || type == MONEYOID || type == BYTEAOID;
	}
}

static void
find_text(TupleDesc desc, const char *name, ColumnText *column)
{
	Oid			output;
	bool		varlena;

	if (name == NULL)
		return;
	column->attnum = find_column(desc, name, &column->type);
	column->hangs_on_settings = hangs_on_settings(column->type);
	getTypeOutputInfo(column->type, &output, &varlena);
	fmgr_info_cxt(output, &column->output, cache.context);
}

static void
refuse_type(const char *name, Oid type)
{
	ereport(ERROR,
			(errcode(ERRCODE_LY_INVALID_SOURCE),
			 errmsg("column \"%s\" of an attached table has a type that can't be used", name),
			 errdetail("Its type is %s now.", format_type_be(type)),
			 errhint("Give it back its type, or loyalty.detach() the table and attach it anew.")));
}

static void
find_number(TupleDesc desc, const char *name, ColumnNumber *column)
{
	if (name == NULL)
		return;
	column->attnum = find_column(desc, name, &column->type);
	if (column->type != INT2OID && column->type != INT4OID && column->type != INT8OID &&
		column->type != NUMERICOID)
		refuse_type(name, column->type);
}

static void
find_time(TupleDesc desc, const char *name, ColumnNumber *column)
{
	if (name == NULL)
		return;
	column->attnum = find_column(desc, name, &column->type);
	if (column->type != TIMESTAMPTZOID && column->type != TIMESTAMPOID && column->type != DATEOID)
		refuse_type(name, column->type);
}

const SourceColumns *
source_columns(Source *source, Oid relid, TupleDesc desc)
{
	SourceColumns *columns;

	for (columns = source->columns; columns != NULL; columns = columns->next)
		if (columns->relid == relid)
			return columns;

	/* A change of the table's definition shall make us look again. */
	config_watch(OidIsValid(relid) ? relid : source->relid);
	columns = MemoryContextAllocZero(cache.context, sizeof(SourceColumns));
	columns->relid = relid;
	find_text(desc, source->member, &columns->member);
	find_text(desc, source->status, &columns->status);
	find_text(desc, source->event, &columns->event);
	for (int i = 0; i < source->nkey; i++)
		find_text(desc, source->key[i], &columns->key[i]);
	columns->nkey = source->nkey;
	find_number(desc, source->amount, &columns->amount);
	find_number(desc, source->refunded, &columns->refunded);
	find_time(desc, source->event_time, &columns->event_time);
	columns->next = source->columns;
	source->columns = columns;
	return columns;
}

/* ----------------------------------------------------------------
 *		Rows
 * ---------------------------------------------------------------- */

#define TEXT_BUFFER		(MAXDATELEN + 1)

static void
encode_timestamp(Timestamp value, bool with_zone, char *buf)
{
	struct pg_tm tm;
	fsec_t		fsec;

	if (TIMESTAMP_NOT_FINITE(value))
		EncodeSpecialTimestamp(value, buf);
	else if (timestamp2tm(value, NULL, &tm, &fsec, NULL, NULL) == 0)
	{
		tm.tm_isdst = 0;		/* or the zone, UTC, is left out */
		EncodeDateTime(&tm, fsec, with_zone, 0, NULL, USE_ISO_DATES, buf);
	}
	else
		ereport(ERROR,
				(errcode(ERRCODE_DATETIME_VALUE_OUT_OF_RANGE),
				 errmsg("timestamp out of range")));
}

static void
encode_date(DateADT value, char *buf)
{
	struct pg_tm tm;

	if (DATE_NOT_FINITE(value))
		EncodeSpecialDate(value, buf);
	else
	{
		j2date(value + POSTGRES_EPOCH_JDATE, &tm.tm_year, &tm.tm_mon, &tm.tm_mday);
		EncodeDateOnly(&tm, USE_ISO_DATES, buf);
	}
}

/* By the type's own function, under settings that are the same in every session. */
static char *
plain_text(const ColumnText *column, Datum value)
{
	static const char *const settings[][2] = {
		{"DateStyle", "ISO"}, {"IntervalStyle", "postgres"}, {"TimeZone", "UTC"},
		{"extra_float_digits", "1"}, {"bytea_output", "hex"}, {"lc_monetary", "C"}
	};
	int			level;
	char	   *result;

	if (!column->hangs_on_settings)
		return OutputFunctionCall((FmgrInfo *) &column->output, value);

	level = NewGUCNestLevel();
	for (size_t i = 0; i < lengthof(settings); i++)
		(void) set_config_option(settings[i][0], settings[i][1], PGC_USERSET, PGC_S_SESSION,
								 GUC_ACTION_SAVE, true, 0, false);
	result = OutputFunctionCall((FmgrInfo *) &column->output, value);
	AtEOXact_GUC(true, level);
	return result;
}

/*
 * The value's text; buf (TEXT_BUFFER bytes) serves for short ones. NULL: it is
 * NULL. The text is what a row is known by in the ledger, so it is the same
 * whatever the session's settings are.
 */
static const char *
read_text(const ColumnText *column, TupleTableSlot *slot, char *buf, int *len)
{
	bool		isnull;
	Datum		value = slot_getattr(slot, column->attnum, &isnull);
	const char *result;

	if (isnull)
		return NULL;
	switch (column->type)
	{
		case INT2OID:
			*len = pg_itoa(DatumGetInt16(value), buf);
			return buf;
		case INT4OID:
			*len = pg_ltoa(DatumGetInt32(value), buf);
			return buf;
		case INT8OID:
			*len = pg_lltoa(DatumGetInt64(value), buf);
			return buf;
		case TEXTOID:
		case VARCHAROID:
		case BPCHAROID:
			{
				text	   *packed = DatumGetTextPP(value);

				result = VARDATA_ANY(packed);
				*len = VARSIZE_ANY_EXHDR(packed);
				/* Padding of char(n) is no part of the value. */
				while (column->type == BPCHAROID && *len > 0 && result[*len - 1] == ' ')
					(*len)--;
				return result;
			}
		case TIMESTAMPTZOID:
		case TIMESTAMPOID:
			encode_timestamp(DatumGetTimestamp(value), column->type == TIMESTAMPTZOID, buf);
			*len = strlen(buf);
			return buf;
		case DATEOID:
			encode_date(DatumGetDateADT(value), buf);
			*len = strlen(buf);
			return buf;
		default:
			result = plain_text(column, value);
			*len = strlen(result);
			return result;
	}
}

text *
source_key(const SourceColumns *columns, TupleTableSlot *slot, Arena *arena)
{
	char		number[TEXT_BUFFER];
	const char *part;
	int			len;
	StringInfoData joined;

	if (columns->nkey == 1)
	{
		part = read_text(&columns->key[0], slot, number, &len);
		return part ? arena_text(arena, part, len) : NULL;
	}

	/* Parts are joined by commas; those in a part are escaped, so two keys never look alike. */
	initStringInfo(&joined);
	for (int i = 0; i < columns->nkey; i++)
	{
		part = read_text(&columns->key[i], slot, number, &len);
		if (part == NULL)
			return NULL;
		if (i > 0)
			appendStringInfoChar(&joined, ',');
		for (int c = 0; c < len; c++)
		{
			if (part[c] == ',' || part[c] == '\\')
				appendStringInfoChar(&joined, '\\');
			appendStringInfoChar(&joined, part[c]);
		}
	}
	return arena_text(arena, joined.data, joined.len);
}

static PointsStatus
read_number(const ColumnNumber *column, TupleTableSlot *slot, Points *result)
{
	bool		isnull;
	Datum		value = slot_getattr(slot, column->attnum, &isnull);

	*result = 0;
	if (isnull)
		return POINTS_OK;
	switch (column->type)
	{
		case INT2OID:
			return points_from_int64(DatumGetInt16(value), result);
		case INT4OID:
			return points_from_int64(DatumGetInt32(value), result);
		case INT8OID:
			return points_from_int64(DatumGetInt64(value), result);
		case NUMERICOID:
			return points_from_numeric(DatumGetNumeric(value), result);
	}
	elog(ERROR, "unexpected type %u of an amount", column->type);
}

static TimestampTz
read_time(const Source *source, const ColumnNumber *column, TupleTableSlot *slot)
{
	bool		isnull;
	Datum		value = slot_getattr(slot, column->attnum, &isnull);
	Timestamp	local;
	int			overflow = 0;
	struct pg_tm tm;
	fsec_t		fsec;
	int			tz;
	TimestampTz result;

	if (isnull)
		return GetCurrentTransactionStartTimestamp();
	switch (column->type)
	{
		case TIMESTAMPTZOID:
			return DatumGetTimestampTz(value);
		case TIMESTAMPOID:
			local = DatumGetTimestamp(value);
			break;
		case DATEOID:
			local = date2timestamp_opt_overflow(DatumGetDateADT(value), &overflow);
			if (overflow != 0)
				return DT_NOEND;
			break;
		default:
			elog(ERROR, "unexpected type %u of an event's time", column->type);
	}

	/* A time without zone is meant as the program's members read their clocks. */
	if (TIMESTAMP_NOT_FINITE(local))
		return local;
	if (timestamp2tm(local, NULL, &tm, &fsec, NULL, NULL) != 0)
		return DT_NOEND;
	tz = DetermineTimeZoneOffset(&tm, program_by_id(source->program_id)->tz);
	if (tm2timestamp(&tm, fsec, &tz, &result) != 0)
		return DT_NOEND;
	return result;
}

static bool
read_amount(const ColumnNumber *column, TupleTableSlot *slot, Points *amount, const char *message, Refusal *refusal)
{
	PointsStatus status = read_number(column, slot, amount);

	if (status == POINTS_OK && *amount >= 0)
		return true;
	refusal->state = ERRCODE_LY_INVALID_AMOUNT;
	refusal->message = message;
	switch (status)
	{
		case POINTS_NOT_FINITE:
			refusal->detail = "It is not a finite number.";
			break;
		case POINTS_TOO_FINE:
			refusal->detail = "It has more than four decimals.";
			break;
		case POINTS_OUT_OF_RANGE:
			refusal->detail = "It is beyond 922337203685477.5807.";
			break;
		case POINTS_OK:
			refusal->detail = "It is negative.";
			break;
	}
	refusal->hint = "Amounts are from 0 up, with at most four decimals; book a return in the refunded column of the row it returns.";
	return false;
}

bool
image_read(const Source *source, const SourceColumns *columns, TupleTableSlot *slot,
		   bool guests_too, Arena *arena, Image *image, Refusal *refusal)
{
	char		number[TEXT_BUFFER];
	const char *part;
	int			len;

	memset(image, 0, sizeof(*image));
	image->member_no = -1;

	part = read_text(&columns->member, slot, number, &len);
	if (part == NULL && !guests_too)
		return true;			/* a guest earns nothing */
	if (part != NULL)
		image->member = arena_text(arena, part, len);

	image->line = source_key(columns, slot, arena);
	if (columns->event.attnum != 0 && image->line != NULL)
	{
		part = read_text(&columns->event, slot, number, &len);
		image->event = part ? arena_text(arena, part, len) : NULL;
	}
	if (image->event == NULL)
	{
		image->event = image->line;
		image->line = NULL;
	}

	if (image->member == NULL)
		return true;

	/* Without a key nothing was booked for the row, nor can be: as good as a guest's. */
	if (image->event == NULL)
		image->member = NULL;

	image->earning = true;
	if (columns->status.attnum != 0)
	{
		image->earning = false;
		part = read_text(&columns->status, slot, number, &len);
		for (int i = 0; part != NULL && i < source->nearning && !image->earning; i++)
			image->earning = (int) strlen(source->earning[i]) == len &&
				memcmp(source->earning[i], part, len) == 0;
	}
	image->time = columns->event_time.attnum != 0 ?
		read_time(source, &columns->event_time, slot) : GetCurrentTransactionStartTimestamp();

	/* A row that earns nothing may hold anything. */
	if (!image->earning)
		return true;

	if (image->event == NULL)
	{
		*refusal = (Refusal) {ERRCODE_LY_INVALID_EVENT, "the key of an event is NULL",
		"Points are tied to the row by its key.", "Attach the table with key columns that are NOT NULL."};
		return false;
	}
	if (VARSIZE_ANY_EXHDR(image->member) == 0)
	{
		*refusal = (Refusal) {ERRCODE_LY_INVALID_EVENT, "the member of an event is empty",
		"An empty text names nobody.", "Use NULL for a guest."};
		return false;
	}
	if (TIMESTAMP_NOT_FINITE(image->time))
	{
		*refusal = (Refusal) {ERRCODE_LY_INVALID_EVENT, "the time of an event must be finite",
		"It is infinite or out of range, so no expiry can be reckoned from it.", "Record when the event happened."};
		return false;
	}

	if (columns->amount.attnum == 0)
		image->amount = POINTS_SCALE;
	else if (!read_amount(&columns->amount, slot, &image->amount, "the amount of an event can't be used", refusal))
		return false;
	if (columns->refunded.attnum != 0)
	{
		if (!read_amount(&columns->refunded, slot, &image->refunded,
						 "the refunded amount of an event can't be used", refusal))
			return false;
		if (image->refunded > image->amount)
		{
			*refusal = (Refusal) {ERRCODE_LY_REFUND_BEYOND_EVENT, "more is refunded than the event's amount",
			"What is refunded is a part of the amount, counted from the start.",
			"Set the refunded column to the total refunded so far."};
			return false;
		}
	}
	return true;
}

/* ----------------------------------------------------------------
 *		Refused rows
 * ---------------------------------------------------------------- */

#define QUOTED_BYTES	100		/* at most, of each key or value in an error */

static void
append_cut(StringInfo to, const char *data, int len)
{
	int			kept = pg_mbcliplen(data, len, QUOTED_BYTES);

	appendBinaryStringInfo(to, data, kept);
	if (kept < len)
		appendStringInfoString(to, "...");
}

static void
append_key(StringInfo to, const char *what, const char *key, int len)
{
	appendStringInfo(to, "%s \"", what);
	append_cut(to, key, len);
	appendStringInfoChar(to, '"');
}

char *
image_name(const Image *image)
{
	StringInfoData name;

	initStringInfo(&name);
	append_key(&name, "event", VARDATA_ANY(image->event), VARSIZE_ANY_EXHDR(image->event));
	if (image->line != NULL)
		append_key(&name, ", line", VARDATA_ANY(image->line), VARSIZE_ANY_EXHDR(image->line));
	return name.data;
}

/* A column, if it is named, and what the row has in it. */
static void
append_column(StringInfo to, const char *name, const ColumnNumber *column, TupleTableSlot *slot)
{
	bool		isnull;
	Datum		value;
	Oid			output;
	bool		varlena;
	char	   *text;

	if (column->attnum == 0)
		return;
	appendStringInfo(to, ", %s ", name);
	value = slot_getattr(slot, column->attnum, &isnull);
	if (isnull)
	{
		appendStringInfoString(to, "NULL");
		return;
	}
	getTypeOutputInfo(column->type, &output, &varlena);
	text = OidOutputFunctionCall(output, value);
	append_cut(to, text, strlen(text));
}

void
refuse(const Refusal *refusal, const Source *source, const SourceColumns *columns, TupleTableSlot *slot,
	   const Image *image)
{
	StringInfoData row;
	char		number[TEXT_BUFFER];
	const char *member;
	int			len;

	initStringInfo(&row);
	if (image->event != NULL)
		appendStringInfoString(&row, image_name(image));
	else if ((member = read_text(&columns->member, slot, number, &len)) != NULL)
		append_key(&row, "member", member, len);
	append_column(&row, source->amount, &columns->amount, slot);
	append_column(&row, source->refunded, &columns->refunded, slot);
	append_column(&row, source->event_time, &columns->event_time, slot);
	ereport(ERROR,
			(errcode(refusal->state),
			 errmsg("%s", refusal->message),
			 errdetail("%s The row is of %s.", refusal->detail, row.data),
			 errhint("%s", refusal->hint)));
}
