/*
 * program.c
 *		Programs, currencies and members as the engine reads them.
 *
 * Programs and currencies are few and are kept per session (base/config);
 * members are many and are always looked up.
 */
#include "postgres.h"

#include "access/nbtree.h"
#include "access/xact.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/date.h"
#include "utils/datum.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

#include "base/compat.h"
#include "base/config.h"
#include "base/errors.h"
#include "ledger/post.h"
#include "ledger/program.h"

PG_FUNCTION_INFO_V1(loyalty_program_check_access);
PG_FUNCTION_INFO_V1(loyalty_program_refuse_confined);
PG_FUNCTION_INFO_V1(loyalty_program_sees_program);
PG_FUNCTION_INFO_V1(loyalty_program_sees_account);
PG_FUNCTION_INFO_V1(loyalty_program_my_members);
PG_FUNCTION_INFO_V1(loyalty_program_act_for);
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
	CURRENCY_CONFIRM,
	CURRENCY_ACTIVITY,
	CURRENCY_CHANGED_AT,
	CURRENCY_NATTS = CURRENCY_CHANGED_AT
};

enum
{
	CONFINEMENT_ROLE = 1,
	CONFINEMENT_PROGRAM,
	CONFINEMENT_MEMBER,
	CONFINEMENT_NATTS = CONFINEMENT_MEMBER
};

/* A role that may act in this program, or for this member, and in or for no other that no row of it has. */
typedef struct Confinement
{
	Oid			role;
	int32		program_id;
	int64		member_id;		/* 0: the whole program */
} Confinement;

static ConfigCache cache;
static Program *programs;
static int	nprograms;
static Currency *currencies;
static int	ncurrencies;
static Confinement *confinements;
static int	nconfinements;

/*
 * The program and the member that the transaction acts for, as two numbers; or
 * empty.  A parameter, because parallel workers have it too and the end of a
 * transaction resets it; nobody but a superuser can set or reset it himself.
 */
static char *acting_for = NULL;

void
program_init(void)
{
	DefineCustomStringVariable("loyalty.acting_for", "The member whom the transaction acts for; see loyalty.act_for().", NULL,
							   &acting_for, "", PGC_SUSET,
							   GUC_NO_SHOW_ALL | GUC_NO_RESET_ALL | GUC_NOT_IN_SAMPLE | GUC_DISALLOW_IN_FILE,
							   NULL, NULL, NULL);
}

static bool
acts_for(int32 *program_id, int64 *member_id)
{
	if (acting_for == NULL || *acting_for == '\0')
		return false;

	/* What can't be read is nobody. */
	if (sscanf(acting_for, "%d " INT64_FORMAT, program_id, member_id) != 2)
		*program_id = *member_id = -1;
	return true;
}

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

static int
read_activity(ArrayType *kinds)
{
	static const char *const words[] = {"earn", "redeem", "transfer", NULL};
	Datum	   *elements;
	int			n;
	int			activity = 0;

	deconstruct_array(kinds, TEXTOID, -1, false, TYPALIGN_INT, &elements, NULL, &n);
	for (int i = 0; i < n; i++)
		activity |= 1 << config_word(elements[i], words);
	return activity;
}

static void
read_currency(void *row, TupleTableSlot *slot)
{
	Currency   *currency = row;
	static const char *const roundings[] = {"day", "month", "quarter", "half_year", "year", NULL};
	static const ValidityRounding months[] = {ROUND_DAY, ROUND_MONTH, ROUND_QUARTER, ROUND_HALF_YEAR, ROUND_YEAR};
	static const char *const debts[] = {"forgive", "negative", "block", NULL};
	char	   *rounding;
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
	rounding = TextDatumGetCString(values[CURRENCY_ROUNDING]);
	if (rounding[0] >= '0' && rounding[0] <= '9')
	{
		currency->rounding = ROUND_DATE;
		currency->date = atoi(rounding) * 100 + atoi(rounding + 3);
	}
	else
		currency->rounding = months[config_word(values[CURRENCY_ROUNDING], roundings)];
	currency->pending = copy_interval(slot, CURRENCY_PENDING);
	currency->pending_counts = DatumGetBool(values[CURRENCY_PENDING_COUNTS]);
	currency->debt = config_word(values[CURRENCY_DEBT], debts);
	currency->confirm = DatumGetBool(values[CURRENCY_CONFIRM]);
	currency->may_wait = currency->confirm || DatumGetTimestampTz(values[CURRENCY_CHANGED_AT]) != DT_NOBEGIN;
	if (!slot->tts_isnull[CURRENCY_ACTIVITY - 1])
		currency->activity = read_activity(DatumGetArrayTypeP(values[CURRENCY_ACTIVITY]));
}

static void
read_confinement(void *row, TupleTableSlot *slot)
{
	Confinement *confinement = row;
	bool		isnull;

	confinement->role = DatumGetObjectId(slot_getattr(slot, CONFINEMENT_ROLE, &isnull));
	confinement->program_id = DatumGetInt32(slot_getattr(slot, CONFINEMENT_PROGRAM, &isnull));
	confinement->member_id = DatumGetInt64(slot_getattr(slot, CONFINEMENT_MEMBER, &isnull));
}

static void
refresh(void)
{
	static bool borrowed = false;
	uint64		as_of = config_generation();
	MemoryContext old;
	Snapshot	snapshot;

	/* Within a parallel query there is its own snapshot only, and what that shows is good for it alone. */
	if (borrowed && !IsInParallelMode())
		cache.generation = 0;
	borrowed = false;
	if (!config_cache_renew(&cache, "programs"))
		return;

	/* Watched before they are read, or a commit in between would never be heard of. */
	config_watch(loyalty_relation("program"));
	config_watch(loyalty_relation("currency"));
	config_watch(loyalty_relation("confinement"));
	borrowed = IsInParallelMode();
	snapshot = RegisterSnapshot(borrowed ? GetActiveSnapshot() : GetLatestSnapshot());
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

static bool
read_member(Table *member, int64 member_id)
{
	TableScan	scan;
	TableKey	key = {BTEqualStrategyNumber, Int64GetDatum(member_id)};
	bool		found;

	table_open_for_read(member, "member", MEMBER_NATTS);
	table_scan_begin(&scan, member, "member_pkey", GetActiveSnapshot(), 1, &key);
	found = table_scan_next(&scan);
	if (found)
	{
		ExecMaterializeSlot(member->slot);
		slot_getallattrs(member->slot);
	}
	table_scan_end(&scan);
	return found;
}

static bool
member_has_key(int64 member_id, const text *key)
{
	Table		member;
	bool		same = false;

	if (read_member(&member, member_id))
	{
		text	   *its = DatumGetTextPP(member.slot->tts_values[MEMBER_KEY - 1]);

		same = VARSIZE_ANY_EXHDR(its) == VARSIZE_ANY_EXHDR(key) &&
			memcmp(VARDATA_ANY(its), VARDATA_ANY(key), VARSIZE_ANY_EXHDR(key)) == 0;
	}
	table_finish(&member);
	return same;
}

/*
 * Whether the role may act in the program; with a member, by id or by key, for
 * that one.  Program 0, which there is none of: in all.  A role that is confined
 * to nobody, and to nothing else, may act for somebody whom the transaction acts for.
 */
static bool
may_act(Oid role, int32 program_id, int64 member_id, const text *key, bool somebody)
{
	bool		confined = false;
	bool		to_nobody = false;

	for (int i = 0; i < nconfinements; i++)
	{
		const Confinement *confinement = &confinements[i];

		if (!compat_acts_as(role, confinement->role))
			continue;
		if (confinement->program_id == 0)
		{
			to_nobody = true;
			continue;
		}
		confined = true;
		if (program_id == 0 || confinement->program_id != program_id)
			continue;
		if (confinement->member_id == 0 || confinement->member_id == member_id ||
			(key != NULL && member_has_key(confinement->member_id, key)))
			return true;
	}
	return !confined && (!to_nobody || somebody);
}

/*
 * Neither SET ROLE nor a function that runs as its owner leads out: who logged
 * in, who was set, and who calls must each be free to act there.  One who is
 * choosing whom the transaction acts for may be confined to nobody.
 */
static bool
all_may_act(int32 program_id, int64 member_id, const text *key, bool choosing, Oid *who)
{
	const Oid	roles[] = {GetSessionUserId(), GetOuterUserId(), GetUserId()};
	int32		his_program;
	int64		him;
	bool		acting = acts_for(&his_program, &him);

	refresh();
	if (acting && (program_id != his_program ||
				   (member_id != him && (key == NULL || !member_has_key(him, key)))))
	{
		*who = GetOuterUserId();
		return false;
	}
	for (int i = 0; nconfinements > 0 && i < (int) lengthof(roles); i++)
		/* Most often all three are the same one. */
		if ((i == 0 || roles[i] != roles[i - 1]) && !may_act(roles[i], program_id, member_id, key, acting || choosing))
		{
			*who = roles[i];
			return false;
		}
	return true;
}

static void
check_access(int32 program_id, const text *key, bool choosing)
{
	Oid			role;
	int32		his_program;
	int64		him;
	bool		to_members = acts_for(&his_program, &him);

	if (all_may_act(program_id, 0, key, choosing, &role))
		return;
	for (int i = 0; i < nconfinements; i++)
		to_members |= confinements[i].member_id != 0 && compat_acts_as(role, confinements[i].role);
	ereport(ERROR,
			(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
			 errmsg(to_members ? "role \"%s\" is confined to its own points" : "role \"%s\" is confined to other programs",
					GetUserNameFromId(role, false)),
			 to_members ? errdetail("The call is about a member whom it may not act for, or about more than one.") :
			 errdetail("The call is about a program that it may not act in, or about all programs."),
			 to_members ? errhint("loyalty.confine_member() and loyalty.act_for() say for whom it may act; views loyalty.my_entries and the like show it.") :
			 errhint("loyalty.confine() says in which programs a role may act.")));
}

bool
somebody_confined(void)
{
	int32		his_program;
	int64		him;

	refresh();
	return nconfinements > 0 || acts_for(&his_program, &him);
}

void
program_check_access(int32 program_id)
{
	check_access(program_id, NULL, false);
}

/* _check_access(program_id, member); 0, which no program has: whatever spans them all */
Datum
loyalty_program_check_access(PG_FUNCTION_ARGS)
{
	if (!PG_ARGISNULL(0))
		check_access(PG_GETARG_INT32(0), PG_ARGISNULL(1) ? NULL : PG_GETARG_TEXT_PP(1), false);
	PG_RETURN_VOID();
}

/* _refuse_confined(): true, or an error. */
Datum
loyalty_program_refuse_confined(PG_FUNCTION_ARGS)
{
	check_access(0, NULL, false);
	PG_RETURN_BOOL(true);
}

/* _sees_program(program_id) */
Datum
loyalty_program_sees_program(PG_FUNCTION_ARGS)
{
	Oid			role;

	PG_RETURN_BOOL(all_may_act(PG_GETARG_INT32(0), 0, NULL, false, &role));
}

/* _sees_account(account_id): one that is not there, or whose member or currency is not, is nobody's. */
Datum
loyalty_program_sees_account(PG_FUNCTION_ARGS)
{
	Table		account;
	TableScan	scan;
	TableKey	key = {BTEqualStrategyNumber, PG_GETARG_DATUM(0)};
	int32		currency_id = 0;
	int64		member_id = 0;
	int32		program_id = 0;
	Oid			role;
	bool		isnull;

	if (all_may_act(0, 0, NULL, false, &role))
		PG_RETURN_BOOL(true);
	table_open_for_read(&account, "account", ACCOUNT_NATTS);
	table_scan_begin(&scan, &account, "account_pkey", GetActiveSnapshot(), 1, &key);
	if (table_scan_next(&scan))
	{
		member_id = DatumGetInt64(slot_getattr(account.slot, ACCOUNT_MEMBER, &isnull));
		currency_id = DatumGetInt32(slot_getattr(account.slot, ACCOUNT_CURRENCY, &isnull));
	}
	table_scan_end(&scan);
	table_finish(&account);
	for (int i = 0; i < ncurrencies; i++)
		if (currencies[i].currency_id == currency_id && currencies[i].program != NULL)
			program_id = currencies[i].program->program_id;
	PG_RETURN_BOOL(all_may_act(program_id, member_id, NULL, false, &role));
}

static void
tell_member(ReturnSetInfo *result, int32 program_id, int64 member_id)
{
	Table		member;

	if (read_member(&member, member_id))
		for (int i = 0; i < nprograms; i++)
			if (programs[i].program_id == program_id)
			{
				Datum		values[2] = {CStringGetTextDatum(programs[i].code), member.slot->tts_values[MEMBER_KEY - 1]};
				bool		nulls[2] = {false, false};

				tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
			}
	table_finish(&member);
}

/*
 * _my_members(OUT program text, OUT member text): whom the transaction acts for,
 * or else the members that whoever asks is confined to; nobody, where there are none.
 */
Datum
loyalty_program_my_members(PG_FUNCTION_ARGS)
{
	const Oid	roles[] = {GetSessionUserId(), GetOuterUserId(), GetUserId()};
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	const Confinement *known;
	int			nknown;
	int32		his_program;
	int64		him;
	Oid			role;

	InitMaterializedSRF(fcinfo, 0);
	refresh();
	if (acts_for(&his_program, &him))
	{
		if (all_may_act(his_program, him, NULL, false, &role))
			tell_member(result, his_program, him);
		return (Datum) 0;
	}

	/* What is asked below may bring newer ones; these stay readable. */
	known = confinements;
	nknown = nconfinements;
	for (int i = 0; i < nknown; i++)
	{
		const Confinement *own = &known[i];
		bool		mine = false;
		bool		told = false;

		if (own->member_id == 0)
			continue;
		for (int j = 0; j < (int) lengthof(roles); j++)
			mine |= compat_acts_as(roles[j], own->role);

		/* By two roles the member is still one. */
		for (int j = 0; j < i; j++)
			told |= known[j].member_id == own->member_id;
		if (mine && !told && all_may_act(own->program_id, own->member_id, NULL, false, &role))
			tell_member(result, own->program_id, own->member_id);
	}
	return (Datum) 0;
}

/* LY001 */
static const Program *
find_program(const text *code)
{
	refresh();
	for (int i = 0; i < nprograms; i++)
		if (strlen(programs[i].code) == VARSIZE_ANY_EXHDR(code) &&
			memcmp(programs[i].code, VARDATA_ANY(code), VARSIZE_ANY_EXHDR(code)) == 0)
			return &programs[i];
	ereport(ERROR,
			(errcode(ERRCODE_LY_UNKNOWN_PROGRAM),
			 errmsg("program \"%s\" does not exist", text_to_cstring(code)),
			 errdetail("No program has this code."),
			 errhint("Create it with loyalty.create_program().")));
}

const Program *
program_by_code(const text *code)
{
	const Program *program = find_program(code);

	check_access(program->program_id, NULL, false);
	return program;
}

const Program *
program_of_member(const text *code, const text *key)
{
	const Program *program = find_program(code);

	check_access(program->program_id, key, false);
	return program;
}

/* act_for(program, member): to the transaction's end, and never for another one */
Datum
loyalty_program_act_for(PG_FUNCTION_ARGS)
{
	const Program *program;
	Table		member;
	TableScan	scan;
	TableKey	keys[2];
	char	   *value;
	bool		isnull;

	/* A caller who has nobody must not go on as if somebody were set. */
	if (PG_ARGISNULL(0) || PG_ARGISNULL(1))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("%s must not be NULL", PG_ARGISNULL(0) ? "program" : "member"),
				 errdetail("The transaction would not be confined."),
				 errhint("Give the member that the application has authenticated.")));
	program = find_program(PG_GETARG_TEXT_PP(0));
	keys[0] = (TableKey) {BTEqualStrategyNumber, Int32GetDatum(program->program_id)};
	keys[1] = (TableKey) {BTEqualStrategyNumber, PG_GETARG_DATUM(1)};
	check_access(program->program_id, PG_GETARG_TEXT_PP(1), true);
	table_open_for_read(&member, "member", MEMBER_NATTS);
	table_scan_begin(&scan, &member, "member_key", GetActiveSnapshot(), 2, keys);
	if (!table_scan_next(&scan))
		refuse_unknown_member(program);
	value = psprintf("%d " INT64_FORMAT, program->program_id,
					 DatumGetInt64(slot_getattr(member.slot, MEMBER_ID, &isnull)));
	table_scan_end(&scan);
	table_finish(&member);
	(void) set_config_option("loyalty.acting_for", value, PGC_SUSET, PGC_S_SESSION, GUC_ACTION_LOCAL, true, 0, false);
	PG_RETURN_VOID();
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
