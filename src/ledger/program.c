/*
 * program.c
 *		Programs, currencies and members as the engine reads them.
 *
 * Programs and currencies are few and are kept per session (base/config);
 * members are many and are always looked up.
 */
#include "postgres.h"

#include "access/nbtree.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/date.h"
#include "utils/datum.h"
#include "utils/memutils.h"

#include "base/config.h"
#include "base/errors.h"
#include "ledger/program.h"

PG_FUNCTION_INFO_V1(loyalty_program_check_access);
PG_FUNCTION_INFO_V1(loyalty_program_is_time_zone);

/* Columns of loyalty.program, loyalty.currency and loyalty.confinement */
enum
{
	PROGRAM_ID = 1,
	PROGRAM_CODE,
	PROGRAM_TIME_ZONE,
	PROGRAM_LADDER,
	PROGRAM_TIER_METRIC,
	PROGRAM_TIER_WINDOW,
	PROGRAM_TIER_PERIOD,
	PROGRAM_TIER_DOWN,
	PROGRAM_TIER_GRACE,
	PROGRAM_CREATED_AT,
	PROGRAM_NATTS = PROGRAM_CREATED_AT
};

enum
{
	CURRENCY_ID = 1,
	CURRENCY_PROGRAM,
	CURRENCY_CODE,
	CURRENCY_IS_DEFAULT,
	CURRENCY_DECIMALS,
	CURRENCY_VALIDITY,
	CURRENCY_ROUNDING,
	CURRENCY_PENDING,
	CURRENCY_PENDING_COUNTS,
	CURRENCY_DEBT,
	CURRENCY_NATTS = CURRENCY_DEBT
};

enum
{
	CONFINEMENT_ROLE = 1,
	CONFINEMENT_PROGRAM,
	CONFINEMENT_NATTS = CONFINEMENT_PROGRAM
};

/* A role that may act in this program, and in no other that no row of it has. */
typedef struct Confinement
{
	Oid			role;
	int32		program_id;
} Confinement;

static ConfigCache cache;
static Program *programs;
static int	nprograms;
static Currency *currencies;
static int	ncurrencies;
static Confinement *confinements;
static int	nconfinements;

static Interval *
copy_interval(TupleTableSlot *slot, int attnum)
{
	bool		isnull;
	Datum		value = slot_getattr(slot, attnum, &isnull);
	Interval   *copy;

	if (isnull)
		return NULL;
	copy = palloc(sizeof(Interval));
	*copy = *DatumGetIntervalP(value);
	return copy;
}

static void
read_program(void *row, TupleTableSlot *slot)
{
	Program    *program = row;
	static const char *const metrics[] = {"points", "spend", "visits", NULL};
	static const char *const windows[] = {"lifetime", "calendar", "anniversary", "rolling", NULL};
	static const char *const downs[] = {"requalify", "one_step", "never", NULL};
	Datum	   *values = slot->tts_values - 1;
	char	   *zone;

	slot_getallattrs(slot);
	zone = TextDatumGetCString(values[PROGRAM_TIME_ZONE]);
	program->program_id = DatumGetInt32(values[PROGRAM_ID]);
	program->code = TextDatumGetCString(values[PROGRAM_CODE]);
	program->tz = pg_tzset(zone);
	if (program->tz == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_LY_INVALID_PROGRAM),
				 errmsg("the server does not know time zone \"%s\" of program \"%s\"", zone, program->code),
				 errhint("Install the server's time zone data; points expire by it.")));
	program->ladder = slot->tts_isnull[PROGRAM_LADDER - 1] ? NULL :
		(Ladder *) PG_DETOAST_DATUM_COPY(values[PROGRAM_LADDER]);
	program->tier_metric = config_word(values[PROGRAM_TIER_METRIC], metrics);
	program->tier_window = config_word(values[PROGRAM_TIER_WINDOW], windows);
	program->tier_period = *DatumGetIntervalP(values[PROGRAM_TIER_PERIOD]);
	program->tier_down = config_word(values[PROGRAM_TIER_DOWN], downs);
	program->tier_grace = *DatumGetIntervalP(values[PROGRAM_TIER_GRACE]);
}

static void
read_currency(void *row, TupleTableSlot *slot)
{
	Currency   *currency = row;
	static const char *const roundings[] = {"day", "month", "quarter", "half_year", "year", NULL};
	static const ValidityRounding months[] = {ROUND_DAY, ROUND_MONTH, ROUND_QUARTER, ROUND_HALF_YEAR, ROUND_YEAR};
	static const char *const debts[] = {"forgive", "negative", "block", NULL};
	Datum	   *values = slot->tts_values - 1;

	slot_getallattrs(slot);
	currency->currency_id = DatumGetInt32(values[CURRENCY_ID]);
	for (int i = 0; i < nprograms; i++)
		if (programs[i].program_id == DatumGetInt32(values[CURRENCY_PROGRAM]))
			currency->program = &programs[i];
	currency->code = TextDatumGetCString(values[CURRENCY_CODE]);
	currency->is_default = DatumGetBool(values[CURRENCY_IS_DEFAULT]);
	currency->decimals = DatumGetInt32(values[CURRENCY_DECIMALS]);
	currency->unit = POINTS_SCALE;
	for (int i = 0; i < currency->decimals; i++)
		currency->unit /= 10;
	currency->validity = copy_interval(slot, CURRENCY_VALIDITY);
	currency->rounding = months[config_word(values[CURRENCY_ROUNDING], roundings)];
	currency->pending = copy_interval(slot, CURRENCY_PENDING);
	currency->pending_counts = DatumGetBool(values[CURRENCY_PENDING_COUNTS]);
	currency->debt = config_word(values[CURRENCY_DEBT], debts);
}

static void
read_confinement(void *row, TupleTableSlot *slot)
{
	Confinement *confinement = row;
	bool		isnull;

	confinement->role = DatumGetObjectId(slot_getattr(slot, CONFINEMENT_ROLE, &isnull));
	confinement->program_id = DatumGetInt32(slot_getattr(slot, CONFINEMENT_PROGRAM, &isnull));
}

static void
refresh(void)
{
	uint64		as_of = config_generation();
	MemoryContext old;
	Snapshot	snapshot;

	if (!config_cache_renew(&cache, "programs"))
		return;

	/* Watched before they are read, or a commit in between would never be heard of. */
	config_watch(loyalty_relation("program"));
	config_watch(loyalty_relation("currency"));
	config_watch(loyalty_relation("confinement"));
	snapshot = RegisterSnapshot(GetLatestSnapshot());
	old = MemoryContextSwitchTo(cache.context);
	nprograms = config_read_table("program", PROGRAM_NATTS, snapshot,
								  sizeof(Program), read_program, (void **) &programs);
	ncurrencies = config_read_table("currency", CURRENCY_NATTS, snapshot,
									sizeof(Currency), read_currency, (void **) &currencies);
	nconfinements = config_read_table("confinement", CONFINEMENT_NATTS, snapshot,
									  sizeof(Confinement), read_confinement, (void **) &confinements);
	MemoryContextSwitchTo(old);
	UnregisterSnapshot(snapshot);
	config_cache_filled(&cache, as_of);
}

static void
check_role(Oid role, int32 program_id)
{
	bool		confined = false;

	for (int i = 0; i < nconfinements; i++)
	{
		if (!is_member_of_role_nosuper(role, confinements[i].role))
			continue;
		if (confinements[i].program_id == program_id)
			return;
		confined = true;
	}
	if (confined)
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("role \"%s\" is confined to other programs", GetUserNameFromId(role, false)),
				 errhint("loyalty.confine() says in which programs a role may act.")));
}

/*
 * Neither SET ROLE nor a function that runs as its owner leads out: who logged
 * in, who was set, and who calls must each be free to act there.
 */
void
program_check_access(int32 program_id)
{
	refresh();
	if (nconfinements == 0)
		return;
	check_role(GetSessionUserId(), program_id);
	check_role(GetOuterUserId(), program_id);
	check_role(GetUserId(), program_id);
}

/* _check_access(program_id); 0, which no program has: whatever spans them all */
Datum
loyalty_program_check_access(PG_FUNCTION_ARGS)
{
	program_check_access(PG_GETARG_INT32(0));
	PG_RETURN_VOID();
}

const Program *
program_by_code(const text *code)
{
	refresh();
	for (int i = 0; i < nprograms; i++)
		if (strlen(programs[i].code) == VARSIZE_ANY_EXHDR(code) &&
			memcmp(programs[i].code, VARDATA_ANY(code), VARSIZE_ANY_EXHDR(code)) == 0)
		{
			program_check_access(programs[i].program_id);
			return &programs[i];
		}

	ereport(ERROR,
			(errcode(ERRCODE_LY_UNKNOWN_PROGRAM),
			 errmsg("program \"%s\" does not exist", text_to_cstring(code)),
			 errdetail("No program has this code."),
			 errhint("Create it with loyalty.create_program().")));
}

const Program *
program_by_id(int32 program_id)
{
	refresh();
	for (int i = 0; i < nprograms; i++)
		if (programs[i].program_id == program_id)
			return &programs[i];
	elog(ERROR, "program %d does not exist", program_id);
}

const Currency *
currency_by_id(int32 currency_id)
{
	refresh();
	for (int i = 0; i < ncurrencies; i++)
		if (currencies[i].currency_id == currency_id)
			return &currencies[i];
	elog(ERROR, "currency %d does not exist", currency_id);
}

const Currency *
program_currency(const Program *program, const text *code)
{
	int32		program_id = program->program_id;

	refresh();
	for (int i = 0; i < ncurrencies; i++)
	{
		const Currency *currency = &currencies[i];

		if (currency->program->program_id != program_id)
			continue;
		if (code == NULL ? currency->is_default :
			strlen(currency->code) == VARSIZE_ANY_EXHDR(code) &&
			memcmp(currency->code, VARDATA_ANY(code), VARSIZE_ANY_EXHDR(code)) == 0)
			return currency;
	}
	ereport(ERROR,
			(errcode(ERRCODE_LY_UNKNOWN_CURRENCY),
			 errmsg("program \"%s\" has no such currency", program->code),
			 code == NULL ? 0 : errdetail("It was asked for \"%s\".", text_to_cstring(code)),
			 errhint("Add it with loyalty.create_currency(), or leave the currency out to mean the program's first.")));
}

void
refuse_unknown_member(const Program *program)
{
	ereport(ERROR,
			(errcode(ERRCODE_LY_UNKNOWN_MEMBER),
			 errmsg("no such member in program \"%s\"", program->code),
			 errdetail("Nobody is enrolled under that key."),
			 errhint("Enrol the member with loyalty.enrol(); keys are compared byte by byte.")));
}

TimestampTz
member_enrolled_at(int64 member_id)
{
	Table		member;
	TableScan	scan;
	TableKey	key = {BTEqualStrategyNumber, Int64GetDatum(member_id)};
	Snapshot	snapshot = RegisterSnapshot(GetLatestSnapshot());
	TimestampTz result;
	bool		isnull;

	table_open_for_read(&member, "member", MEMBER_NATTS);
	table_scan_begin(&scan, &member, "member_pkey", snapshot, 1, &key);
	if (!table_scan_next(&scan))
		elog(ERROR, "member " INT64_FORMAT " does not exist", member_id);
	result = DatumGetTimestampTz(slot_getattr(member.slot, MEMBER_ENROLLED_AT, &isnull));
	table_scan_end(&scan);
	table_finish(&member);
	UnregisterSnapshot(snapshot);
	return result;
}

/*
 * _is_time_zone(text): whether it names a zone of the time zone database, as pg_timezone_names
 * would list it, found by loading that one.  The server takes POSIX rules as well, which always
 * have a digit and are known by their upper case; names of the database in capitals and
 * digits look the same, but are few and for ever.
 */
Datum
loyalty_program_is_time_zone(PG_FUNCTION_ARGS)
{
	static const char *const like_rules[] = {"GMT0", "GMT+0", "GMT-0", "EST5EDT", "CST6CDT", "MST7MDT", "PST8PDT"};
	char	   *name = text_to_cstring(PG_GETARG_TEXT_PP(0));
	pg_tz	   *tz = pg_tzset(name);
	const char *canonical;

	if (tz == NULL || !pg_tz_acceptable(tz))
		PG_RETURN_BOOL(false);
	canonical = pg_get_timezone_name(tz);
	for (char *c = name; *c != '\0'; c++)
		*c = pg_toupper((unsigned char) *c);
	if (strcmp(canonical, name) != 0 || strpbrk(name, "0123456789") == NULL)
		PG_RETURN_BOOL(true);
	for (int i = 0; i < (int) lengthof(like_rules); i++)
		if (strcmp(canonical, like_rules[i]) == 0)
			PG_RETURN_BOOL(true);
	PG_RETURN_BOOL(false);
}
