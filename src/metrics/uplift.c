/*
 * uplift.c
 *		The summary of a controlled test: type, aggregates, rollup.
 *
 * The state of uplift_agg() is the summary itself, in the aggregate's memory,
 * changed in place; only a new arm makes a new one, which the executor copies.
 *
 * Sums of squares are about the mean, updated as by Youngs & Cramer (1971) and
 * put together as by Chan, Golub & LeVeque (1983); every sum is compensated, so
 * that workers may share the rows as they like.  The state keeps what each sum
 * has lost beside it, a finished value only the total.
 */
#include "postgres.h"

#include <math.h>

#include "common/int.h"
#include "funcapi.h"
#include "libpq/pqformat.h"
#include "utils/builtins.h"

#include "base/compat.h"
#include "base/errors.h"
#include "metrics/uplift.h"

#define SUMMARY_TYPE		"uplift_summary"
#define SUMMARY_VERSION		1

/* Flag: arm[0] is the control and arm[1] the treated, and there is no other. */
#define UPLIFT_IS_PAIR		1

#define SUMMARY_SIZE(narms)	(offsetof(UpliftSummary, arm) + (narms) * sizeof(UpliftArm))

PG_FUNCTION_INFO_V1(loyalty_uplift_in);
PG_FUNCTION_INFO_V1(loyalty_uplift_out);
PG_FUNCTION_INFO_V1(loyalty_uplift_recv);
PG_FUNCTION_INFO_V1(loyalty_uplift_send);
PG_FUNCTION_INFO_V1(loyalty_uplift_make);
PG_FUNCTION_INFO_V1(loyalty_uplift_make_conversions);
PG_FUNCTION_INFO_V1(loyalty_uplift_accum);
PG_FUNCTION_INFO_V1(loyalty_uplift_accum_covariate);
PG_FUNCTION_INFO_V1(loyalty_uplift_accum_arm);
PG_FUNCTION_INFO_V1(loyalty_uplift_accum_arm_covariate);
PG_FUNCTION_INFO_V1(loyalty_uplift_combine);
PG_FUNCTION_INFO_V1(loyalty_uplift_final);
PG_FUNCTION_INFO_V1(loyalty_uplift_arms);


/* ----- moments ----- */

/*
 * n value - sum, where the two may be large and lie close together: the product
 * is not rounded.
 */
static inline double
sum_gap(double n, double value, Sum sum)
{
	return fma(n, value, -sum.high) - sum.low;
}

static inline void
moments_add(Moments *m, double value)
{
	double		n = (double) ++m->n;
	double		gap;

	sum_add(&m->sum, value);
	if (n == 1.0)
		return;
	gap = sum_gap(n, value, m->sum);
	sum_add(&m->squares, gap * gap / (n * (n - 1.0)));
}

static inline void
add_pair(UpliftArm *arm, double outcome, double covariate)
{
	double		n = (double) ++arm->paired.n;
	double		weight;
	double		gap;
	double		covariate_gap;

	sum_add(&arm->paired.sum, outcome);
	sum_add(&arm->covariate, covariate);
	if (n == 1.0)
		return;
	weight = 1.0 / (n * (n - 1.0));
	gap = sum_gap(n, outcome, arm->paired.sum);
	covariate_gap = sum_gap(n, covariate, arm->covariate);
	sum_add(&arm->paired.squares, gap * gap * weight);
	sum_add(&arm->covariate_squares, covariate_gap * covariate_gap * weight);
	sum_add(&arm->products, gap * covariate_gap * weight);
}

/* What the distance of two parts' means adds: n1 n2 / (n1 + n2) times its square. */
static inline double
merge_weight(int64 n1, int64 n2)
{
	return (double) n1 / ((double) n1 + (double) n2) * (double) n2;
}

/* The difference of two means, to the last digits of the difference. */
static double
mean_gap(Sum a, int64 a_n, Sum b, int64 b_n)
{
	double		a_mean = a.high / (double) a_n;
	double		b_mean = b.high / (double) b_n;
	double		a_rest = fma(-a_mean, (double) a_n, a.high) + a.low;
	double		b_rest = fma(-b_mean, (double) b_n, b.high) + b.low;

	return (a_mean - b_mean) + (a_rest / (double) a_n - b_rest / (double) b_n);
}

void
moments_merge(Moments *to, const Moments *from)
{
	if (to->n > 0 && from->n > 0)
	{
		double		gap = mean_gap(to->sum, to->n, from->sum, from->n);

		sum_add(&to->squares, merge_weight(to->n, from->n) * gap * gap);
	}
	sum_add_sum(&to->squares, from->squares);
	sum_add_sum(&to->sum, from->sum);
	if (pg_add_s64_overflow(to->n, from->n, &to->n))
		summary_overflow(SUMMARY_TYPE);
}

static void
merge_arm(UpliftArm *to, const UpliftArm *from)
{
	if (to->paired.n > 0 && from->paired.n > 0)
	{
		double		weight = merge_weight(to->paired.n, from->paired.n);
		double		gap = mean_gap(to->paired.sum, to->paired.n,
							   from->paired.sum, from->paired.n);
		double		covariate_gap = mean_gap(to->covariate, to->paired.n,
											 from->covariate, from->paired.n);

		sum_add(&to->covariate_squares, weight * covariate_gap * covariate_gap);
		sum_add(&to->products, weight * gap * covariate_gap);
	}
	sum_add_sum(&to->covariate, from->covariate);
	sum_add_sum(&to->covariate_squares, from->covariate_squares);
	sum_add_sum(&to->products, from->products);
	moments_merge(&to->paired, &from->paired);
	moments_merge(&to->alone, &from->alone);
	if (pg_add_s64_overflow(to->others, from->others, &to->others))
		summary_overflow(SUMMARY_TYPE);
}


/* ----- the value ----- */

UpliftSummary *
uplift_get_arg(FunctionCallInfo fcinfo, int argno)
{
	UpliftSummary *summary = (UpliftSummary *) PG_GETARG_POINTER(argno);

	summary_check_version(&summary->header, SUMMARY_VERSION, SUMMARY_TYPE);
	return summary;
}

static UpliftSummary *
make_empty(int64 narms)
{
	UpliftSummary *summary = summary_alloc(SUMMARY_SIZE(narms), SUMMARY_VERSION);

	summary->narms = narms;
	return summary;
}

static UpliftSummary *
copy_summary(const UpliftSummary *summary)
{
	UpliftSummary *copy = palloc(VARSIZE(summary));

	memcpy(copy, summary, VARSIZE(summary));
	return copy;
}

static void
set_flags(UpliftSummary *summary)
{
	summary->header.flags =
		summary->narms == 2 &&
		strcmp(summary->arm[0].name, UPLIFT_CONTROL) == 0 &&
		strcmp(summary->arm[1].name, UPLIFT_TREATED) == 0 ? UPLIFT_IS_PAIR : 0;
}

static inline UpliftArm *
find_arm(UpliftSummary *summary, const char *name, int length)
{
	if (length >= UPLIFT_NAME)
		return NULL;
	for (int64 i = 0; i < summary->narms; i++)
	{
		UpliftArm  *arm = &summary->arm[i];

		if (memcmp(arm->name, name, length) == 0 && arm->name[length] == '\0')
			return arm;
	}
	return NULL;
}

const UpliftArm *
uplift_find_arm(const UpliftSummary *summary, FunctionCallInfo fcinfo, int argno)
{
	text	   *name = PG_GETARG_TEXT_PP(argno);

	return find_arm((UpliftSummary *) summary, VARDATA_ANY(name), VARSIZE_ANY_EXHDR(name));
}

static bool
check_name(const char *name, int length, Node *escontext)
{
	if (length == 0)
		ereturn(escontext, false,
				(errcode(ERRCODE_LY_INVALID_METRIC),
				 errmsg("an arm must have a name")));
	if (length >= UPLIFT_NAME)
		ereturn(escontext, false,
				(errcode(ERRCODE_LY_INVALID_METRIC),
				 errmsg("the name of an arm is too long"),
				 errdetail("It has %d bytes; %d are possible.", length, UPLIFT_NAME - 1)));
	return true;
}

/* A copy of the summary with one arm more, still empty, in its place by name. */
static UpliftSummary *
add_arm(const UpliftSummary *summary, const char *name, int length, UpliftArm **added)
{
	UpliftSummary *grown;
	int64		place = 0;

	(void) check_name(name, length, NULL);
	if (summary->narms >= UPLIFT_MAX_ARMS)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("too many arms"),
				 errdetail("A controlled test may have %d.", UPLIFT_MAX_ARMS),
				 errhint("Pass the arm of the test, not the member.")));

	grown = make_empty(summary->narms + 1);
	memcpy(grown->arm[summary->narms].name, name, length);
	while (place < summary->narms &&
		   strcmp(summary->arm[place].name, grown->arm[summary->narms].name) < 0)
		place++;
	memcpy(&grown->arm[0], &summary->arm[0], place * sizeof(UpliftArm));
	memcpy(&grown->arm[place + 1], &summary->arm[place],
		   (summary->narms - place) * sizeof(UpliftArm));
	memset(&grown->arm[place], 0, sizeof(UpliftArm));
	memcpy(grown->arm[place].name, name, length);
	set_flags(grown);
	*added = &grown->arm[place];
	return grown;
}

/* What a sum comes to: no two zeros, since values are compared as bytes. */
static inline void
fold(Sum *sum)
{
	sum->high = sum_total(*sum) + 0.0;
	sum->low = 0.0;
}

static void
fold_arm(UpliftArm *arm)
{
	fold(&arm->alone.sum);
	fold(&arm->alone.squares);
	fold(&arm->paired.sum);
	fold(&arm->paired.squares);
	fold(&arm->covariate);
	fold(&arm->covariate_squares);
	fold(&arm->products);
}

static bool
finite_moments(const Moments *m)
{
	return isfinite(m->sum.high) && isfinite(m->squares.high);
}

/* Of a folded arm: finite inputs may add up to what is not. */
static bool
finite_arm(const UpliftArm *arm)
{
	return finite_moments(&arm->alone) && finite_moments(&arm->paired) &&
		isfinite(arm->covariate.high) && isfinite(arm->covariate_squares.high) &&
		isfinite(arm->products.high);
}

static bool
plausible(int64 n, double sum, double squares)
{
	return squares >= 0.0 && (n > 0 || sum == 0.0) && (n > 1 || squares == 0.0);
}

/* What is wrong with a folded arm that came from outside; NULL if nothing is. */
static const char *
contradiction(const UpliftArm *arm)
{
	double		sum = arm->alone.sum.high + arm->paired.sum.high;
	int64		n;

	if (arm->alone.n < 0 || arm->paired.n < 0 || arm->others < 0)
		return "A count must not be negative.";
	if (pg_add_s64_overflow(arm->alone.n, arm->paired.n, &n))
		return "The number of rows must fit in a bigint.";
	if (arm->others > n)
		return "There can't be more outcomes other than 0 and 1 than rows.";
	if (!finite_arm(arm))
		return "Sums must be finite.";
	if (!plausible(arm->alone.n, arm->alone.sum.high, arm->alone.squares.high) ||
		!plausible(arm->paired.n, arm->paired.sum.high, arm->paired.squares.high) ||
		!plausible(arm->paired.n, arm->covariate.high, arm->covariate_squares.high))
		return "A sum of squares is not negative, and 0 of less than two rows; a sum is 0 of none.";
	if (fabs(arm->products.high) >
		sqrt(arm->paired.squares.high) * sqrt(arm->covariate_squares.high) * (1.0 + 1e-9))
		return "The products are more than the squares allow.";
	if (arm->others == 0 && !(sum >= 0.0 && sum <= (double) n && sum == floor(sum)))
		return "The sum of outcomes that are all 0 or 1 is a count of the rows.";
	return NULL;
}

static bool
check_arm(UpliftArm *arm, Node *escontext)
{
	const char *detail = contradiction(arm);

	if (detail != NULL)
		ereturn(escontext, false,
				(errcode(ERRCODE_LY_INVALID_METRIC),
				 errmsg("invalid %s", SUMMARY_TYPE),
				 errdetail("%s", detail)));
	return true;
}

static int
compare_arms(const void *a, const void *b)
{
	return strcmp(((const UpliftArm *) a)->name, ((const UpliftArm *) b)->name);
}

/*
 * The one door for values from outside: folds, checks, sorts, and drops arms
 * without rows.  The arms' names are checked already.  NULL after a soft error.
 */
static UpliftSummary *
make_summary(UpliftArm *arm, int narms, Node *escontext)
{
	UpliftSummary *summary;
	int			kept = 0;

	for (int i = 0; i < narms; i++)
	{
		fold_arm(&arm[i]);
		if (!check_arm(&arm[i], escontext))
			return NULL;
	}
	qsort(arm, narms, sizeof(UpliftArm), compare_arms);
	for (int i = 1; i < narms; i++)
	{
		if (compare_arms(&arm[i - 1], &arm[i]) == 0)
			ereturn(escontext, NULL,
					(errcode(ERRCODE_LY_INVALID_METRIC),
					 errmsg("invalid %s", SUMMARY_TYPE),
					 errdetail("An arm is given twice.")));
	}

	summary = make_empty(narms);
	for (int i = 0; i < narms; i++)
	{
		if (arm[i].alone.n + arm[i].paired.n > 0)
			summary->arm[kept++] = arm[i];
	}
	SET_VARSIZE(summary, SUMMARY_SIZE(kept));
	summary->narms = kept;
	set_flags(summary);
	return summary;
}


/* ----- text ----- */

enum
{
	FIELD_ARM,
	FIELD_OTHERS,
	FIELD_N,
	FIELD_SUM,
	FIELD_SQUARES,
	FIELD_PAIRS,
	FIELD_PAIR_SUM,
	FIELD_PAIR_SQUARES,
	FIELD_COVARIATE_SUM,
	FIELD_COVARIATE_SQUARES,
	FIELD_PRODUCTS,
	FIELDS
};

static const char *const field_name[FIELDS] = {
	"arm", "others", "n", "sum", "squares", "pairs", "pair_sum", "pair_squares",
	"covariate_sum", "covariate_squares", "products"
};

/* A name is any text: what would end it or be trimmed is written as %XX. */
static char *
encode_name(const char *name)
{
	StringInfoData buf;

	initStringInfo(&buf);
	for (const char *p = name; *p != '\0'; p++)
	{
		if (strchr("%,():", *p) != NULL || (unsigned char) *p < ' ' ||
			(*p == ' ' && (p == name || p[1] == '\0')))
			appendStringInfo(&buf, "%%%02X", (unsigned char) *p);
		else
			appendStringInfoChar(&buf, *p);
	}
	return buf.data;
}

static int
hex_digit(char c)
{
	const char *digits = "0123456789ABCDEF";
	const char *p = c == '\0' ? NULL : strchr(digits, pg_toupper((unsigned char) c));

	return p == NULL ? -1 : (int) (p - digits);
}

/* Into the arm.  Only ASCII may be written as %XX, so the text stays valid in its encoding. */
static bool
decode_name(const char *text, UpliftArm *arm, Node *escontext)
{
	StringInfoData buf;

	initStringInfo(&buf);
	for (const char *p = text; *p != '\0'; p++)
	{
		int			high;
		int			low;

		if (*p != '%')
		{
			appendStringInfoChar(&buf, *p);
			continue;
		}
		high = hex_digit(p[1]);
		low = high < 0 ? -1 : hex_digit(p[2]);
		if (low < 0 || high > 7 || (high == 0 && low == 0))
			ereturn(escontext, false,
					(errcode(ERRCODE_INVALID_TEXT_REPRESENTATION),
					 errmsg("invalid input syntax for type %s: \"%s\"", SUMMARY_TYPE, text),
					 errdetail("In an arm's name, %% must be followed by the two hexadecimal digits of an ASCII character.")));
		appendStringInfoChar(&buf, (char) (high << 4 | low));
		p += 2;
	}
	if (!check_name(buf.data, buf.len, escontext))
		return false;
	memcpy(arm->name, buf.data, buf.len);
	return true;
}

/* One "(arm:…)" of the text. */
static bool
read_arm(const char *text, UpliftArm *arm, Node *escontext)
{
	SummaryField fields[FIELDS];
	struct
	{
		int			field;
		int64	   *value;
	}			counts[] = {
		{FIELD_OTHERS, &arm->others},
		{FIELD_N, &arm->alone.n},
		{FIELD_PAIRS, &arm->paired.n}
	};
	struct
	{
		int			field;
		double	   *value;
	}			sums[] = {
		{FIELD_SUM, &arm->alone.sum.high},
		{FIELD_SQUARES, &arm->alone.squares.high},
		{FIELD_PAIR_SUM, &arm->paired.sum.high},
		{FIELD_PAIR_SQUARES, &arm->paired.squares.high},
		{FIELD_COVARIATE_SUM, &arm->covariate.high},
		{FIELD_COVARIATE_SQUARES, &arm->covariate_squares.high},
		{FIELD_PRODUCTS, &arm->products.high}
	};

	memset(arm, 0, sizeof(*arm));
	for (int i = 0; i < FIELDS; i++)
		fields[i] = (SummaryField) {.name = field_name[i], .required = i == FIELD_ARM};
	if (!summary_parse(text, SUMMARY_TYPE, fields, FIELDS, escontext) ||
		!decode_name(fields[FIELD_ARM].value, arm, escontext))
		return false;
	for (int i = 0; i < (int) lengthof(counts); i++)
	{
		if (fields[counts[i].field].value != NULL &&
			!summary_read_count(&fields[counts[i].field], SUMMARY_TYPE, counts[i].value, escontext))
			return false;
	}
	for (int i = 0; i < (int) lengthof(sums); i++)
	{
		if (fields[sums[i].field].value != NULL &&
			!summary_read_float8(&fields[sums[i].field], SUMMARY_TYPE, sums[i].value, escontext))
			return false;
	}
	return true;
}

/* "(arm:a,…)(arm:b,…)", or "()" without any */
Datum
loyalty_uplift_in(PG_FUNCTION_ARGS)
{
	const char *p = PG_GETARG_CSTRING(0);
	Node	   *escontext = fcinfo->context;
	UpliftArm  *arms = palloc(UPLIFT_MAX_ARMS * sizeof(UpliftArm));
	int			narms = 0;

	if (strcmp(p, "()") == 0)
		PG_RETURN_POINTER(make_empty(0));
	do
	{
		const char *close = strchr(p, ')');
		const char *end = close == NULL ? p + strlen(p) : close + 1;

		while (*end == ' ')
			end++;
		if (narms == UPLIFT_MAX_ARMS)
			ereturn(escontext, (Datum) 0,
					(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
					 errmsg("too many arms"),
					 errdetail("A controlled test may have %d.", UPLIFT_MAX_ARMS)));
		if (!read_arm(pnstrdup(p, end - p), &arms[narms++], escontext))
			PG_RETURN_NULL();
		p = end;
	} while (*p != '\0');
	PG_RETURN_POINTER(make_summary(arms, narms, escontext));
}

static void
put_sum(StringInfo buf, int field, Sum sum)
{
	summary_put_float8(buf, field_name[field], sum_total(sum) + 0.0);
}

Datum
loyalty_uplift_out(PG_FUNCTION_ARGS)
{
	UpliftSummary *summary = uplift_get_arg(fcinfo, 0);
	StringInfoData buf;

	initStringInfo(&buf);
	for (int64 i = 0; i < summary->narms; i++)
	{
		const UpliftArm *arm = &summary->arm[i];
		StringInfoData part;

		initStringInfo(&part);
		summary_put(&part, field_name[FIELD_ARM], encode_name(arm->name));
		if (arm->others != 0)
			summary_put_count(&part, field_name[FIELD_OTHERS], arm->others);
		if (arm->alone.n != 0)
		{
			summary_put_count(&part, field_name[FIELD_N], arm->alone.n);
			put_sum(&part, FIELD_SUM, arm->alone.sum);
			put_sum(&part, FIELD_SQUARES, arm->alone.squares);
		}
		if (arm->paired.n != 0)
		{
			summary_put_count(&part, field_name[FIELD_PAIRS], arm->paired.n);
			put_sum(&part, FIELD_PAIR_SUM, arm->paired.sum);
			put_sum(&part, FIELD_PAIR_SQUARES, arm->paired.squares);
			put_sum(&part, FIELD_COVARIATE_SUM, arm->covariate);
			put_sum(&part, FIELD_COVARIATE_SQUARES, arm->covariate_squares);
			put_sum(&part, FIELD_PRODUCTS, arm->products);
		}
		appendStringInfoString(&buf, summary_finish(&part));
	}
	if (summary->narms == 0)
		appendStringInfoString(&buf, "()");
	PG_RETURN_CSTRING(buf.data);
}


/* ----- binary ----- */

static void
send_moments(StringInfo buf, const Moments *m)
{
	pq_sendint64(buf, m->n);
	pq_sendfloat8(buf, sum_total(m->sum) + 0.0);
	pq_sendfloat8(buf, sum_total(m->squares) + 0.0);
}

static void
recv_moments(StringInfo buf, Moments *m)
{
	m->n = pq_getmsgint64(buf);
	m->sum.high = pq_getmsgfloat8(buf);
	m->squares.high = pq_getmsgfloat8(buf);
}

Datum
loyalty_uplift_send(PG_FUNCTION_ARGS)
{
	UpliftSummary *summary = uplift_get_arg(fcinfo, 0);
	StringInfoData buf;

	summary_begin_send(&buf, SUMMARY_VERSION);
	pq_sendint16(&buf, (uint16) summary->narms);
	for (int64 i = 0; i < summary->narms; i++)
	{
		const UpliftArm *arm = &summary->arm[i];

		compat_sendcountedtext(&buf, arm->name, strlen(arm->name));
		pq_sendint64(&buf, arm->others);
		send_moments(&buf, &arm->alone);
		send_moments(&buf, &arm->paired);
		pq_sendfloat8(&buf, sum_total(arm->covariate) + 0.0);
		pq_sendfloat8(&buf, sum_total(arm->covariate_squares) + 0.0);
		pq_sendfloat8(&buf, sum_total(arm->products) + 0.0);
	}
	PG_RETURN_BYTEA_P(pq_endtypsend(&buf));
}

Datum
loyalty_uplift_recv(PG_FUNCTION_ARGS)
{
	StringInfo	buf = (StringInfo) PG_GETARG_POINTER(0);
	UpliftArm  *arms;
	int			narms;

	(void) summary_begin_recv(buf, SUMMARY_VERSION, SUMMARY_TYPE);
	narms = pq_getmsgint(buf, 2);
	if (narms > UPLIFT_MAX_ARMS)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("too many arms"),
				 errdetail("A controlled test may have %d.", UPLIFT_MAX_ARMS)));
	arms = palloc0(UPLIFT_MAX_ARMS * sizeof(UpliftArm));
	for (int i = 0; i < narms; i++)
	{
		int			length = pq_getmsgint(buf, 4);
		char	   *name = pq_getmsgtext(buf, length, &length);

		(void) check_name(name, length, NULL);
		memcpy(arms[i].name, name, length);
		arms[i].others = pq_getmsgint64(buf);
		recv_moments(buf, &arms[i].alone);
		recv_moments(buf, &arms[i].paired);
		arms[i].covariate.high = pq_getmsgfloat8(buf);
		arms[i].covariate_squares.high = pq_getmsgfloat8(buf);
		arms[i].products.high = pq_getmsgfloat8(buf);
	}
	PG_RETURN_POINTER(make_summary(arms, narms, NULL));
}


/* ----- made from known values ----- */

static void
name_arm(UpliftArm *arm, text *name)
{
	memset(arm, 0, sizeof(*arm));
	(void) check_name(VARDATA_ANY(name), VARSIZE_ANY_EXHDR(name), NULL);
	memcpy(arm->name, VARDATA_ANY(name), VARSIZE_ANY_EXHDR(name));
}

/* uplift_summary(arm, n, mean, variance): the variance with divisor n - 1 */
Datum
loyalty_uplift_make(PG_FUNCTION_ARGS)
{
	UpliftArm	arm;

	name_arm(&arm, PG_GETARG_TEXT_PP(0));
	arm.alone.n = PG_GETARG_INT64(1);
	arm.others = arm.alone.n;
	if (arm.alone.n > 0)
	{
		arm.alone.sum.high = PG_GETARG_FLOAT8(2) * (double) arm.alone.n;
		arm.alone.squares.high = PG_GETARG_FLOAT8(3) * (double) (arm.alone.n - 1);
	}
	PG_RETURN_POINTER(make_summary(&arm, 1, NULL));
}

/* uplift_summary(arm, n, conversions): outcomes of 0 and 1 */
Datum
loyalty_uplift_make_conversions(PG_FUNCTION_ARGS)
{
	UpliftArm	arm;
	double		n = (double) PG_GETARG_INT64(1);
	double		conversions = (double) PG_GETARG_INT64(2);

	name_arm(&arm, PG_GETARG_TEXT_PP(0));
	arm.alone.n = PG_GETARG_INT64(1);
	arm.alone.sum.high = conversions;
	if (n > 0.0 && conversions <= n)
		arm.alone.squares.high = conversions * ((n - conversions) / n);
	PG_RETURN_POINTER(make_summary(&arm, 1, NULL));
}


/* ----- aggregation ----- */

static pg_noinline void
refuse_value(const char *what)
{
	ereport(ERROR,
			(errcode(ERRCODE_LY_INVALID_METRIC),
			 errmsg("%s must be finite", what),
			 errhint("Leave other rows out with FILTER (WHERE ...), or pass NULL.")));
}

/* The arm to write to, and in *state the summary it is part of. */
static pg_noinline UpliftArm *
get_arm(FunctionCallInfo fcinfo, UpliftSummary **state, const char *name, int length)
{
	UpliftSummary *summary = uplift_get_arg(fcinfo, 0);
	UpliftArm  *arm;

	if (!summary_owns_state(fcinfo))
		summary = copy_summary(summary);
	arm = find_arm(summary, name, length);
	if (arm == NULL)
		summary = add_arm(summary, name, length, &arm);
	*state = summary;
	return arm;
}

static inline UpliftArm *
get_boolean_arm(FunctionCallInfo fcinfo, UpliftSummary **state)
{
	bool		treated = PG_GETARG_BOOL(1);

	*state = (UpliftSummary *) PG_GETARG_POINTER(0);
	if (likely(((*state)->header.flags & UPLIFT_IS_PAIR) && summary_owns_state(fcinfo)))
		return &(*state)->arm[treated];
	return get_arm(fcinfo, state, treated ? UPLIFT_TREATED : UPLIFT_CONTROL,
				   treated ? strlen(UPLIFT_TREATED) : strlen(UPLIFT_CONTROL));
}

static inline UpliftArm *
get_text_arm(FunctionCallInfo fcinfo, UpliftSummary **state)
{
	text	   *name = PG_GETARG_TEXT_PP(1);

	return get_arm(fcinfo, state, VARDATA_ANY(name), VARSIZE_ANY_EXHDR(name));
}

typedef UpliftArm *(*ArmGetter) (FunctionCallInfo fcinfo, UpliftSummary **state);

static inline Datum
accum(FunctionCallInfo fcinfo, ArmGetter get)
{
	double		outcome = PG_GETARG_FLOAT8(2);
	UpliftSummary *state;
	UpliftArm  *arm;

	if (unlikely(!isfinite(outcome)))
		refuse_value("the outcome");
	arm = get(fcinfo, &state);
	arm->others += outcome != 0.0 && outcome != 1.0;
	moments_add(&arm->alone, outcome);
	PG_RETURN_POINTER(state);
}

/* Not strict: a row may lack the covariate. */
static inline Datum
accum_covariate(FunctionCallInfo fcinfo, ArmGetter get)
{
	double		outcome;
	double		covariate;
	UpliftSummary *state;
	UpliftArm  *arm;

	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();
	if (PG_ARGISNULL(1) || PG_ARGISNULL(2))
		PG_RETURN_DATUM(PG_GETARG_DATUM(0));
	if (PG_ARGISNULL(3))
		return accum(fcinfo, get);

	outcome = PG_GETARG_FLOAT8(2);
	covariate = PG_GETARG_FLOAT8(3);
	if (unlikely(!isfinite(outcome)))
		refuse_value("the outcome");
	if (unlikely(!isfinite(covariate)))
		refuse_value("the covariate");
	arm = get(fcinfo, &state);
	arm->others += outcome != 0.0 && outcome != 1.0;
	add_pair(arm, outcome, covariate);
	PG_RETURN_POINTER(state);
}

Datum
loyalty_uplift_accum(PG_FUNCTION_ARGS)
{
	return accum(fcinfo, get_boolean_arm);
}

Datum
loyalty_uplift_accum_covariate(PG_FUNCTION_ARGS)
{
	return accum_covariate(fcinfo, get_boolean_arm);
}

Datum
loyalty_uplift_accum_arm(PG_FUNCTION_ARGS)
{
	return accum(fcinfo, get_text_arm);
}

Datum
loyalty_uplift_accum_arm_covariate(PG_FUNCTION_ARGS)
{
	return accum_covariate(fcinfo, get_text_arm);
}

/* For parallel workers and rollup(). */
Datum
loyalty_uplift_combine(PG_FUNCTION_ARGS)
{
	UpliftSummary *state = uplift_get_arg(fcinfo, 0);
	UpliftSummary *other = uplift_get_arg(fcinfo, 1);

	if (!summary_owns_state(fcinfo))
		state = copy_summary(state);
	for (int64 i = 0; i < other->narms; i++)
	{
		const UpliftArm *from = &other->arm[i];
		UpliftArm  *to = find_arm(state, from->name, strlen(from->name));

		if (to == NULL)
			state = add_arm(state, from->name, strlen(from->name), &to);
		merge_arm(to, from);
	}
	PG_RETURN_POINTER(state);
}

/* A copy, for a window's state goes on changing; NULL if there were no rows. */
Datum
loyalty_uplift_final(PG_FUNCTION_ARGS)
{
	UpliftSummary *state = uplift_get_arg(fcinfo, 0);

	if (state->narms == 0)
		PG_RETURN_NULL();
	state = copy_summary(state);
	for (int64 i = 0; i < state->narms; i++)
	{
		fold_arm(&state->arm[i]);
		if (!finite_arm(&state->arm[i]))
			summary_overflow(SUMMARY_TYPE);
	}
	PG_RETURN_POINTER(state);
}


/* ----- the arms as rows ----- */

/* value, or NULL where it is not known */
static inline void
set_float8(Datum *values, bool *nulls, int column, bool known, double value)
{
	values[column] = Float8GetDatum(value);
	nulls[column] = !known;
}

Datum
loyalty_uplift_arms(PG_FUNCTION_ARGS)
{
	UpliftSummary *summary = uplift_get_arg(fcinfo, 0);
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;

	InitMaterializedSRF(fcinfo, 0);
	for (int64 i = 0; i < summary->narms; i++)
	{
		const UpliftArm *arm = &summary->arm[i];
		Moments		all = uplift_outcomes(arm);
		double		squares = sum_total(all.squares);
		double		degrees = (double) (all.n - 1);
		int64		covered = arm->paired.n;
		double		covariate_squares = sum_total(arm->covariate_squares);
		double		scale = sqrt(sum_total(arm->paired.squares)) * sqrt(covariate_squares);
		Datum		values[10];
		bool		nulls[10] = {false};

		values[0] = PointerGetDatum(cstring_to_text(arm->name));
		values[1] = Int64GetDatum(all.n);
		set_float8(values, nulls, 2, true, moments_mean(&all));
		set_float8(values, nulls, 3, all.n > 1, squares / degrees);
		set_float8(values, nulls, 4, all.n > 1, sqrt(squares / degrees / (double) all.n));
		values[5] = Int64GetDatum(arm->others == 0 ? uplift_conversions(&all) : 0);
		nulls[5] = arm->others != 0;
		values[6] = Int64GetDatum(covered);
		set_float8(values, nulls, 7, covered > 0, sum_total(arm->covariate) / (double) covered);
		set_float8(values, nulls, 8, covered > 1, covariate_squares / (double) (covered - 1));
		set_float8(values, nulls, 9, scale > 0.0, sum_total(arm->products) / scale);
		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
	}
	return (Datum) 0;
}
