/*
 * tier.c
 *		The ladder and tier types.
 *
 * A ladder is 1 to 1000 steps with unique names and strictly rising thresholds
 * of zero points or more.  A tier is one step by rank and name; it keeps no
 * threshold and no reference to a ladder, so it stays readable when the ladder
 * changes, and the functions that take both look the tier up by its name.
 *
 * Every value is made by ladder_build() or tier_build(), whichever way it
 * comes in (text, binary, C), so what they check holds for all.  The bytes of
 * a value are a function of what it says: equal means equal bytes.  Names are
 * compared byte by byte, whatever the collation, as enum labels are.
 *
 * Memory: results are palloc'd in the caller's context.
 */
#include "postgres.h"

#include "base/compat.h"
#include "funcapi.h"
#include "libpq/pqformat.h"
#include "utils/builtins.h"

#include "values/tier.h"

#define LADDER_MAX_STEPS	1000
#define TIER_NAME_MAXLEN	63	/* bytes */

#define LADDER_WIRE_VERSION	1
#define TIER_WIRE_VERSION	1

/*
 * The thresholds stand together, since a search reads only them.  After them
 * follow, for each step, where its name ends (uint16), then all the names.
 */
struct Ladder
{
	int32		vl_len_;
	int32		nsteps;
	Points		thresholds[FLEXIBLE_ARRAY_MEMBER];
};

StaticAssertDecl(LADDER_MAX_STEPS * TIER_NAME_MAXLEN <= PG_UINT16_MAX,
				 "where the last name ends fits its field");

/* A name inside something else: not terminated, not owned. */
typedef struct TierName
{
	const char *str;
	int			len;
} TierName;

typedef struct LadderStep
{
	TierName	name;
	Points		threshold;
} LadderStep;

/* A tier as it is looked at; stored it is the rank (int32), then the name. */
typedef struct TierView
{
	int32		rank;
	TierName	name;
} TierView;

/*
 * Names
 */

static inline bool
is_blank(char c)
{
	return c == ' ' || (c >= '\t' && c <= '\r');
}

static TierName
trimmed(const char *str, int len)
{
	TierName	name = {str, len};

	while (name.len > 0 && is_blank(name.str[name.len - 1]))
		name.len--;
	while (name.len > 0 && is_blank(name.str[0]))
	{
		name.str++;
		name.len--;
	}
	return name;
}

static int
name_cmp(TierName a, TierName b)
{
	int			order = memcmp(a.str, b.str, Min(a.len, b.len));

	return order != 0 ? order : a.len - b.len;
}

static bool
name_equal(TierName a, TierName b)
{
	return a.len == b.len && memcmp(a.str, b.str, a.len) == 0;
}

static bool
name_check(TierName name, Node *escontext)
{
	TierName	core = trimmed(name.str, name.len);

	if (name.len == 0)
		ereturn(escontext, false,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("tier name must not be empty")));
	if (name.len > TIER_NAME_MAXLEN)
		ereturn(escontext, false,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("tier name is too long"),
				 errdetail("It has %d bytes; at most %d are allowed.",
						   name.len, TIER_NAME_MAXLEN)));
	if (core.len != name.len)
		ereturn(escontext, false,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("tier name must not begin or end with a blank")));
	for (int i = 0; i < name.len; i++)
	{
		unsigned char c = name.str[i];

		if (c == ':' || c == ',' || c < ' ' || c == 0x7F)
			ereturn(escontext, false,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("tier name must not contain a colon, a comma or a control character")));
	}
	return true;
}

/*
 * Tiers
 */

static Datum
tier_build(int rank, TierName name, Node *escontext)
{
	Size		size = VARHDRSZ + sizeof(int32) + name.len;
	int32		stored_rank = rank;
	char	   *tier;

	if (rank < 1 || rank > LADDER_MAX_STEPS)
		ereturn(escontext, (Datum) 0,
				(errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
				 errmsg("tier rank must be between 1 and %d", LADDER_MAX_STEPS)));
	if (!name_check(name, escontext))
		return (Datum) 0;

	tier = palloc(size);
	SET_VARSIZE(tier, size);
	memcpy(VARDATA(tier), &stored_rank, sizeof(stored_rank));
	memcpy(VARDATA(tier) + sizeof(stored_rank), name.str, name.len);
	return PointerGetDatum(tier);
}

Datum
tier_make(int rank, const char *name)
{
	TierName	whole = {name, strlen(name)};

	return tier_build(rank, whole, NULL);
}

/* Points into the argument, or into a detoasted copy of it. */
static TierView
tier_view(Datum datum)
{
	struct varlena *tier = PG_DETOAST_DATUM_PACKED(datum);
	TierView	view;

	/* a short header leaves the rank unaligned */
	memcpy(&view.rank, VARDATA_ANY(tier), sizeof(view.rank));
	view.name.str = VARDATA_ANY(tier) + sizeof(view.rank);
	view.name.len = VARSIZE_ANY_EXHDR(tier) - sizeof(view.rank);
	return view;
}

#define PG_GETARG_TIER_VIEW(n)	tier_view(PG_GETARG_DATUM(n))

PG_FUNCTION_INFO_V1(loyalty_tier_in);
Datum
loyalty_tier_in(PG_FUNCTION_ARGS)
{
	char	   *str = PG_GETARG_CSTRING(0);
	char	   *colon = strchr(str, ':');
	TierName	digits;
	int			rank = 0;

	if (colon != NULL)
		digits = trimmed(str, colon - str);
	if (colon == NULL || digits.len == 0)
		goto malformed;
	for (int i = 0; i < digits.len; i++)
	{
		if (digits.str[i] < '0' || digits.str[i] > '9')
			goto malformed;
		/* one beyond the greatest stands for all of them */
		rank = Min(rank * 10 + (digits.str[i] - '0'), LADDER_MAX_STEPS + 1);
	}
	return tier_build(rank, trimmed(colon + 1, strlen(colon + 1)), fcinfo->context);

malformed:
	ereturn(fcinfo->context, (Datum) 0,
			(errcode(ERRCODE_INVALID_TEXT_REPRESENTATION),
			 errmsg("invalid input syntax for type %s: \"%s\"", "tier", str),
			 errdetail("A tier is written rank:name.")));
}

PG_FUNCTION_INFO_V1(loyalty_tier_out);
Datum
loyalty_tier_out(PG_FUNCTION_ARGS)
{
	TierView	tier = PG_GETARG_TIER_VIEW(0);

	PG_RETURN_CSTRING(psprintf("%d:%.*s", tier.rank, tier.name.len, tier.name.str));
}

PG_FUNCTION_INFO_V1(loyalty_tier_recv);
Datum
loyalty_tier_recv(PG_FUNCTION_ARGS)
{
	StringInfo	buf = (StringInfo) PG_GETARG_POINTER(0);
	int			rank;

	if (pq_getmsgbyte(buf) != TIER_WIRE_VERSION)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_BINARY_REPRESENTATION),
				 errmsg("unsupported version of binary tier")));
	rank = (int32) pq_getmsgint(buf, sizeof(int32));
	return tier_make(rank, pq_getmsgstring(buf));
}

PG_FUNCTION_INFO_V1(loyalty_tier_send);
Datum
loyalty_tier_send(PG_FUNCTION_ARGS)
{
	TierView	tier = PG_GETARG_TIER_VIEW(0);
	StringInfoData buf;

	pq_begintypsend(&buf);
	pq_sendbyte(&buf, TIER_WIRE_VERSION);
	pq_sendint32(&buf, tier.rank);
	pq_sendstring(&buf, pnstrdup(tier.name.str, tier.name.len));
	PG_RETURN_BYTEA_P(pq_endtypsend(&buf));
}

PG_FUNCTION_INFO_V1(loyalty_tier_rank);
Datum
loyalty_tier_rank(PG_FUNCTION_ARGS)
{
	PG_RETURN_INT32(PG_GETARG_TIER_VIEW(0).rank);
}

PG_FUNCTION_INFO_V1(loyalty_tier_name);
Datum
loyalty_tier_name(PG_FUNCTION_ARGS)
{
	TierName	name = PG_GETARG_TIER_VIEW(0).name;

	PG_RETURN_TEXT_P(cstring_to_text_with_len(name.str, name.len));
}

int
tier_rank_of(Datum tier)
{
	return tier_view(PointerGetDatum(PG_DETOAST_DATUM_PACKED(tier))).rank;
}

char *
tier_name_of(Datum tier)
{
	TierName	name = tier_view(PointerGetDatum(PG_DETOAST_DATUM_PACKED(tier))).name;

	return pnstrdup(name.str, name.len);
}

/* By rank, then by name, so that the order agrees with equality. */
static int
tier_cmp(FunctionCallInfo fcinfo)
{
	struct varlena *a = PG_GETARG_VARLENA_PP(0);
	struct varlena *b = PG_GETARG_VARLENA_PP(1);
	TierView	left = tier_view(PointerGetDatum(a));
	TierView	right = tier_view(PointerGetDatum(b));
	int			order;

	if (left.rank != right.rank)
		order = left.rank < right.rank ? -1 : 1;
	else
		order = name_cmp(left.name, right.name);

	PG_FREE_IF_COPY(a, 0);
	PG_FREE_IF_COPY(b, 1);
	return order;
}

/*
 * Ladders
 */

static inline const uint16 *
ladder_name_ends(const Ladder *ladder)
{
	return (const uint16 *) &ladder->thresholds[ladder->nsteps];
}

/* Steps count from 0 here, as the arrays do. */
static TierName
step_name(const Ladder *ladder, int step)
{
	const uint16 *ends = ladder_name_ends(ladder);
	const char *names = (const char *) (ends + ladder->nsteps);
	int			start = step > 0 ? ends[step - 1] : 0;
	TierName	name = {names + start, ends[step] - start};

	return name;
}

/* Asked before the steps are read, so that they are never too many to hold. */
static bool
ladder_check_size(int nsteps, Node *escontext)
{
	if (nsteps < 1 || nsteps > LADDER_MAX_STEPS)
		ereturn(escontext, false,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("a ladder must have between 1 and %d steps", LADDER_MAX_STEPS),
				 errdetail("It has %d.", nsteps)));
	return true;
}

static Ladder *
ladder_build(const LadderStep *steps, int nsteps, Node *escontext)
{
	Ladder	   *ladder;
	uint16	   *ends;
	char	   *names;
	int			names_len = 0;
	Size		size;

	Assert(nsteps >= 1 && nsteps <= LADDER_MAX_STEPS);

	for (int i = 0; i < nsteps; i++)
	{
		char		threshold[POINTS_MAXLEN];

		if (!name_check(steps[i].name, escontext))
			return NULL;
		for (int j = 0; j < i; j++)
		{
			if (name_equal(steps[i].name, steps[j].name))
				ereturn(escontext, NULL,
						(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						 errmsg("tier names of a ladder must be unique"),
						 errdetail("Steps %d and %d are both named \"%.*s\".",
								   j + 1, i + 1, steps[i].name.len, steps[i].name.str)));
		}

		points_print(steps[i].threshold, threshold);
		if (steps[i].threshold < 0)
			ereturn(escontext, NULL,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("threshold of a tier must not be negative"),
					 errdetail("Step %d, \"%.*s\", has the threshold %s.",
							   i + 1, steps[i].name.len, steps[i].name.str, threshold)));
		if (i > 0 && steps[i].threshold <= steps[i - 1].threshold)
			ereturn(escontext, NULL,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("thresholds of a ladder must rise from step to step"),
					 errdetail("Step %d, \"%.*s\", has the threshold %s, which is not above that of the step before it.",
							   i + 1, steps[i].name.len, steps[i].name.str, threshold)));
		names_len += steps[i].name.len;
	}

	size = offsetof(Ladder, thresholds) + nsteps * (sizeof(Points) + sizeof(uint16)) + names_len;
	ladder = palloc(size);
	SET_VARSIZE(ladder, size);
	ladder->nsteps = nsteps;
	ends = (uint16 *) ladder_name_ends(ladder);
	names = (char *) (ends + nsteps);
	names_len = 0;
	for (int i = 0; i < nsteps; i++)
	{
		ladder->thresholds[i] = steps[i].threshold;
		memcpy(names + names_len, steps[i].name.str, steps[i].name.len);
		names_len += steps[i].name.len;
		ends[i] = names_len;
	}
	return ladder;
}

int
ladder_size(const Ladder *ladder)
{
	return ladder->nsteps;
}

int
ladder_rank_for(const Ladder *ladder, Points points)
{
	int			low = 0;
	int			high = ladder->nsteps;

	/* all steps below low are reached, none from high on is */
	while (low < high)
	{
		int			middle = low + (high - low) / 2;

		if (ladder->thresholds[middle] <= points)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

Points
ladder_threshold(const Ladder *ladder, int rank)
{
	Assert(rank >= 1 && rank <= ladder->nsteps);
	return ladder->thresholds[rank - 1];
}

const char *
ladder_name(const Ladder *ladder, int rank)
{
	TierName	name;

	Assert(rank >= 1 && rank <= ladder->nsteps);
	name = step_name(ladder, rank - 1);
	return pnstrdup(name.str, name.len);
}

static int
ladder_find(const Ladder *ladder, TierName name)
{
	for (int i = 0; i < ladder->nsteps; i++)
	{
		if (name_equal(step_name(ladder, i), name))
			return i + 1;
	}
	return 0;
}

int
ladder_rank_of(const Ladder *ladder, const char *name)
{
	TierName	whole = {name, strlen(name)};

	return ladder_find(ladder, whole);
}

static Datum
ladder_tier(const Ladder *ladder, int rank)
{
	return tier_build(rank, step_name(ladder, rank - 1), NULL);
}

PG_FUNCTION_INFO_V1(loyalty_ladder_in);
Datum
loyalty_ladder_in(PG_FUNCTION_ARGS)
{
	char	   *str = PG_GETARG_CSTRING(0);
	char	   *text = pstrdup(str);	/* cut into steps in place */
	int			nsteps = 1;
	LadderStep *steps;
	Ladder	   *ladder;

	for (char *c = str; *c != '\0'; c++)
		nsteps += (*c == ',');
	if (!ladder_check_size(nsteps, fcinfo->context))
		return (Datum) 0;
	steps = palloc(nsteps * sizeof(LadderStep));

	for (int i = 0; i < nsteps; i++)
	{
		char	   *next = text + strcspn(text, ",") + 1;
		char	   *colon;
		PointsStatus status;

		next[-1] = '\0';
		colon = strchr(text, ':');
		if (colon == NULL)
			ereturn(fcinfo->context, (Datum) 0,
					(errcode(ERRCODE_INVALID_TEXT_REPRESENTATION),
					 errmsg("invalid input syntax for type %s: \"%s\"", "ladder", str),
					 errdetail("Step %d is not of the form name:threshold.", i + 1)));
		if (!points_parse(colon + 1, &status, &steps[i].threshold))
			ereturn(fcinfo->context, (Datum) 0,
					(errcode(ERRCODE_INVALID_TEXT_REPRESENTATION),
					 errmsg("invalid input syntax for type %s: \"%s\"", "ladder", str),
					 errdetail("The threshold of step %d is not a number of points.", i + 1)));
		if (status != POINTS_OK)
			ereturn(fcinfo->context, (Datum) 0,
					(errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
					 errmsg("threshold of step %d is out of range for type %s", i + 1, "points"),
					 status == POINTS_TOO_FINE ?
					 errdetail("It has more than %d decimals.", POINTS_DECIMALS) : 0));
		steps[i].name = trimmed(text, colon - text);
		text = next;
	}

	ladder = ladder_build(steps, nsteps, fcinfo->context);
	if (ladder == NULL)
		return (Datum) 0;
	PG_RETURN_POINTER(ladder);
}

PG_FUNCTION_INFO_V1(loyalty_ladder_out);
Datum
loyalty_ladder_out(PG_FUNCTION_ARGS)
{
	Ladder	   *ladder = PG_GETARG_LADDER_P(0);
	StringInfoData buf;

	initStringInfo(&buf);
	for (int i = 0; i < ladder->nsteps; i++)
	{
		TierName	name = step_name(ladder, i);
		char		threshold[POINTS_MAXLEN];

		points_print(ladder->thresholds[i], threshold);
		appendStringInfo(&buf, "%s%.*s:%s", i > 0 ? ", " : "", name.len, name.str, threshold);
	}
	PG_RETURN_CSTRING(buf.data);
}

PG_FUNCTION_INFO_V1(loyalty_ladder_recv);
Datum
loyalty_ladder_recv(PG_FUNCTION_ARGS)
{
	StringInfo	buf = (StringInfo) PG_GETARG_POINTER(0);
	int			nsteps;
	LadderStep *steps;

	if (pq_getmsgbyte(buf) != LADDER_WIRE_VERSION)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_BINARY_REPRESENTATION),
				 errmsg("unsupported version of binary ladder")));
	nsteps = pq_getmsgint(buf, sizeof(uint16));
	ladder_check_size(nsteps, NULL);
	steps = palloc(nsteps * sizeof(LadderStep));
	for (int i = 0; i < nsteps; i++)
	{
		steps[i].threshold = pq_getmsgint64(buf);
		steps[i].name.str = pq_getmsgstring(buf);
		steps[i].name.len = strlen(steps[i].name.str);
	}
	PG_RETURN_POINTER(ladder_build(steps, nsteps, NULL));
}

PG_FUNCTION_INFO_V1(loyalty_ladder_send);
Datum
loyalty_ladder_send(PG_FUNCTION_ARGS)
{
	Ladder	   *ladder = PG_GETARG_LADDER_P(0);
	StringInfoData buf;

	pq_begintypsend(&buf);
	pq_sendbyte(&buf, LADDER_WIRE_VERSION);
	pq_sendint16(&buf, ladder->nsteps);
	for (int i = 0; i < ladder->nsteps; i++)
	{
		TierName	name = step_name(ladder, i);

		pq_sendint64(&buf, ladder->thresholds[i]);
		pq_sendstring(&buf, pnstrdup(name.str, name.len));
	}
	PG_RETURN_BYTEA_P(pq_endtypsend(&buf));
}

PG_FUNCTION_INFO_V1(loyalty_ladder_tier_for);
Datum
loyalty_ladder_tier_for(PG_FUNCTION_ARGS)
{
	Ladder	   *ladder = PG_GETARG_LADDER_P(0);
	int			rank = ladder_rank_for(ladder, PG_GETARG_POINTS(1));

	if (rank == 0)
		PG_RETURN_NULL();
	return ladder_tier(ladder, rank);
}

static int
ladder_rank_of_tier(const Ladder *ladder, TierView tier)
{
	int			rank = ladder_find(ladder, tier.name);

	if (rank == 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("tier \"%.*s\" is not a step of the ladder", tier.name.len, tier.name.str)));
	return rank;
}

/* A member without a tier stands below the first one. */
PG_FUNCTION_INFO_V1(loyalty_ladder_next_tier);
Datum
loyalty_ladder_next_tier(PG_FUNCTION_ARGS)
{
	Ladder	   *ladder;
	int			rank = 0;

	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();
	ladder = PG_GETARG_LADDER_P(0);
	if (!PG_ARGISNULL(1))
		rank = ladder_rank_of_tier(ladder, PG_GETARG_TIER_VIEW(1));
	if (rank == ladder->nsteps)
		PG_RETURN_NULL();
	return ladder_tier(ladder, rank + 1);
}

PG_FUNCTION_INFO_V1(loyalty_ladder_threshold);
Datum
loyalty_ladder_threshold(PG_FUNCTION_ARGS)
{
	Ladder	   *ladder = PG_GETARG_LADDER_P(0);

	PG_RETURN_POINTS(ladder_threshold(ladder, ladder_rank_of_tier(ladder, PG_GETARG_TIER_VIEW(1))));
}

PG_FUNCTION_INFO_V1(loyalty_ladder_tiers);
Datum
loyalty_ladder_tiers(PG_FUNCTION_ARGS)
{
	Ladder	   *ladder = PG_GETARG_LADDER_P(0);
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;

	InitMaterializedSRF(fcinfo, 0);
	for (int i = 0; i < ladder->nsteps; i++)
	{
		TierName	name = step_name(ladder, i);
		Datum		values[3];
		bool		nulls[3] = {false, false, false};

		values[0] = Int32GetDatum(i + 1);
		values[1] = PointerGetDatum(cstring_to_text_with_len(name.str, name.len));
		values[2] = PointsGetDatum(ladder->thresholds[i]);
		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
	}
	return (Datum) 0;
}

/*
 * Step by step, threshold before name; a ladder that another one continues
 * comes first.  It means nothing but lets ladders be sorted and grouped.
 */
static int
ladder_cmp(FunctionCallInfo fcinfo)
{
	Ladder	   *a = PG_GETARG_LADDER_P(0);
	Ladder	   *b = PG_GETARG_LADDER_P(1);
	int			order = 0;

	for (int i = 0; order == 0 && i < Min(a->nsteps, b->nsteps); i++)
	{
		if (a->thresholds[i] != b->thresholds[i])
			order = a->thresholds[i] < b->thresholds[i] ? -1 : 1;
		else
			order = name_cmp(step_name(a, i), step_name(b, i));
	}
	if (order == 0)
		order = a->nsteps - b->nsteps;

	PG_FREE_IF_COPY(a, 0);
	PG_FREE_IF_COPY(b, 1);
	return order;
}

/*
 * The order as SQL sees it.  Equality and hash are core's own for bytes, see
 * tier.sql.
 */
#define COMPARISON(type, verb, test) \
	PG_FUNCTION_INFO_V1(loyalty_##type##_##verb); \
	Datum \
	loyalty_##type##_##verb(PG_FUNCTION_ARGS) \
	{ \
		PG_RETURN_BOOL(type##_cmp(fcinfo) test 0); \
	}

COMPARISON(tier, lt, <)
COMPARISON(tier, le, <=)
COMPARISON(tier, gt, >)
COMPARISON(tier, ge, >=)
COMPARISON(ladder, lt, <)
COMPARISON(ladder, le, <=)
COMPARISON(ladder, gt, >)
COMPARISON(ladder, ge, >=)

PG_FUNCTION_INFO_V1(loyalty_tier_cmp);
Datum
loyalty_tier_cmp(PG_FUNCTION_ARGS)
{
	PG_RETURN_INT32(tier_cmp(fcinfo));
}

PG_FUNCTION_INFO_V1(loyalty_ladder_cmp);
Datum
loyalty_ladder_cmp(PG_FUNCTION_ARGS)
{
	PG_RETURN_INT32(ladder_cmp(fcinfo));
}
