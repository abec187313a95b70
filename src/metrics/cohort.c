/*
 * cohort.c
 *		Cohort retention: one pass over (customer, time), one matrix.
 *
 * A customer's cohort is the period of the first activity, and what he does is told
 * in periods since then: 0 < k1 < k2 < ...  The summary counts, for each cohort, the
 * customers that went from period i straight to period j, with nothing in between;
 * those who entered are the pair (0,0).  From these pairs follow all the ways to
 * count who came back, for a customer is active somewhere in [a, b] if, and only if,
 * he has exactly one step from before a to a period in [a, b]:
 *
 *		on k				the steps that end in k
 *		on or after k		the steps from before k to k or beyond
 *		within 1..k			the first steps, from 0, that end in k or before
 *		bracket [a, b]		the steps from before a into [a, b]
 *
 * The same pairs are the times from one activity to the next.  They are counts, so
 * summaries of different customers add up.
 *
 * Right censoring.  A period counts if it was over when the data end.  Customers of a
 * cohort who are watched for the same number of whole periods are one group of cells;
 * where periods are the calendar's that is the whole cohort, where they are counted
 * from each customer's own first activity there are two or so.  A cell of the matrix
 * has the groups that were watched long enough, in the numerator as in the denominator.
 *
 * The state holds, for each customer, a bitmap of periods (activity.h), counted
 * backwards from as_of so that they are small numbers; or, where periods start at the
 * first activity, which only the last row may bring, the instants.  The state, its
 * store and the rule in it belong to the aggregate's memory context.
 */
#include "postgres.h"

#include "catalog/pg_type_d.h"
#include "common/int.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/datetime.h"
#include "utils/memutils.h"
#include "utils/rangetypes.h"
#include "utils/timestamp.h"
#include "utils/typcache.h"

#include "base/compat.h"
#include "base/errors.h"
#include "metrics/activity.h"
#include "metrics/aggregate.h"
#include "metrics/clock.h"
#include "metrics/summary.h"
#include "metrics/survival.h"

#define SUMMARY_TYPE		"cohort_summary"
#define SUMMARY_VERSION		1
#define STATE_VERSION		1

/* SummaryHeader.flags */
#define FROM_FIRST			0x01	/* periods are counted from the first activity */
#define BY_DATE				0x02	/* as_of is a day, and over */
#define ALL_FLAGS			0x03

/* So that a matrix has a size one can think of: 114 years of hours. */
#define MAX_PERIODS			1000000

/* Customers of one cohort, watched for so many periods, that went from one to another. */
typedef struct Cell
{
	Timestamp	cohort;			/* its start, in the local time of the rule's zone */
	uint32		watched;		/* whole periods, the one of the cohort included */
	uint32		from;
	uint32		to;
	uint32		unused;			/* zero: values are compared as bytes */
	int64		count;
} Cell;

typedef struct CohortSummary
{
	SummaryHeader header;
	TimestampTz as_of;			/* a local Timestamp if the zone is "" */
	Interval	period;
	Timestamp	origin;			/* local; DT_NOBEGIN for the calendar's own */
	int32		ncells;
	int32		unused;
	Cell		cells[FLEXIBLE_ARRAY_MEMBER];	/* ascending, each once */
	/* the zone follows, with its \0 */
} CohortSummary;

/* What says which period an instant is in, and which are over. */
typedef struct Rule
{
	struct Rule *next;			/* of those that the function has met */
	uint8		flags;
	TimestampTz as_of;
	TimestampTz until;			/* the first instant that was not watched */
	int64		as_of_unit;
	int64		until_unit;		/* the first calendar period that is not over */
	Clock	   *clock;

	/* As they came, to see at once that the next row's are the same. */
	Interval	period;
	bytea	   *zone;
	bytea	   *origin;
} Rule;

typedef struct CohortState
{
	Rule	   *rule;
	Activity   *activity;
} CohortState;

PG_FUNCTION_INFO_V1(loyalty_cohort_in);
PG_FUNCTION_INFO_V1(loyalty_cohort_out);
PG_FUNCTION_INFO_V1(loyalty_cohort_recv);
PG_FUNCTION_INFO_V1(loyalty_cohort_send);
PG_FUNCTION_INFO_V1(loyalty_cohort_add);
PG_FUNCTION_INFO_V1(loyalty_cohort_subtract);
PG_FUNCTION_INFO_V1(loyalty_cohort_customers);
PG_FUNCTION_INFO_V1(loyalty_cohort_matrix);
PG_FUNCTION_INFO_V1(loyalty_cohort_time_to_next);
PG_FUNCTION_INFO_V1(loyalty_cohort_accum);
PG_FUNCTION_INFO_V1(loyalty_cohort_accum_local);
PG_FUNCTION_INFO_V1(loyalty_cohort_accum_date);
PG_FUNCTION_INFO_V1(loyalty_cohort_combine);
PG_FUNCTION_INFO_V1(loyalty_cohort_serialize);
PG_FUNCTION_INFO_V1(loyalty_cohort_deserialize);
PG_FUNCTION_INFO_V1(loyalty_cohort_final);

static inline int
compare_groups(const Cell *a, const Cell *b)
{
	if (a->cohort != b->cohort)
		return a->cohort < b->cohort ? -1 : 1;
	if (a->watched != b->watched)
		return a->watched < b->watched ? -1 : 1;
	return 0;
}

static inline int
compare_cells(const Cell *a, const Cell *b)
{
	int			order = compare_groups(a, b);

	if (order != 0)
		return order;
	if (a->from != b->from)
		return a->from < b->from ? -1 : 1;
	if (a->to != b->to)
		return a->to < b->to ? -1 : 1;
	return 0;
}

#define ST_SORT sort_cells
#define ST_ELEMENT_TYPE Cell
#define ST_COMPARE(a, b) compare_cells(a, b)
#define ST_SCOPE static
#define ST_CHECK_FOR_INTERRUPTS
#define ST_DEFINE
#include "lib/sort_template.h"

/* The same cells, by where the steps end: inside one group. */
#define ST_SORT sort_by_end
#define ST_ELEMENT_TYPE Cell
#define ST_COMPARE(a, b) ((a)->to < (b)->to ? -1 : (a)->to > (b)->to ? 1 : 0)
#define ST_SCOPE static
#define ST_CHECK_FOR_INTERRUPTS
#define ST_DEFINE
#include "lib/sort_template.h"

/* The table of cells while customers are counted; "cohort" is a unit's number there. */
typedef struct CountedCell
{
	Cell		cell;
	char		status;
} CountedCell;

static inline uint32
hash_cell(const Cell *cell)
{
	/* Small numbers, all of them: multiplied (Knuth) the upper half has seen every bit. */
	uint64		hash = ((uint64) cell->cohort * MAX_PERIODS + cell->watched) * UINT64CONST(0x9E3779B97F4A7C15);

	hash = ((hash ^ (hash >> 32)) + (((uint64) cell->from << 32) | cell->to)) * UINT64CONST(0x9E3779B97F4A7C15);
	return (uint32) (hash >> 32);
}

#define SH_PREFIX cells
#define SH_ELEMENT_TYPE CountedCell
#define SH_KEY_TYPE Cell
#define SH_KEY cell
#define SH_HASH_KEY(table, key) hash_cell(&(key))
#define SH_EQUAL(table, a, b) (compare_cells(&(a), &(b)) == 0)
#define SH_SCOPE static inline
#define SH_DECLARE
#define SH_DEFINE
#include "lib/simplehash.h"


/* ----- the value ----- */

static inline const char *
zone_of(const CohortSummary *summary)
{
	return (const char *) &summary->cells[summary->ncells];
}

static CohortSummary *
get_summary(FunctionCallInfo fcinfo, int argno)
{
	CohortSummary *summary = (CohortSummary *) PG_DETOAST_DATUM(PG_GETARG_DATUM(argno));

	summary_check_version(&summary->header, SUMMARY_VERSION, SUMMARY_TYPE);
	return summary;
}

/* The cells from start on that are of one group; at least one. */
static int32
group_size(const CohortSummary *summary, int32 start)
{
	int32		size = 1;

	while (start + size < summary->ncells &&
		   compare_groups(&summary->cells[start], &summary->cells[start + size]) == 0)
		size++;
	return size;
}

/*
 * Nobody leaves a period who did not come there.  The cells are sorted, and sums of
 * the counts are known to fit.
 */
static bool
check_steps(const Cell *cells, int32 n)
{
	Cell	   *by_end = palloc_extended(n * sizeof(Cell), MCXT_ALLOC_HUGE);
	int32		in = 0;
	bool		valid = true;

	memcpy(by_end, cells, n * sizeof(Cell));
	sort_by_end(by_end, n);
	for (int32 i = 0; i < n && valid;)
	{
		uint32		period = cells[i].from;
		int64		left = 0;
		int64		came = 0;

		for (; i < n && cells[i].from == period; i++)
		{
			if (cells[i].to > 0)
				left += cells[i].count;
		}
		while (in < n && by_end[in].to < period)
			in++;
		for (; in < n && by_end[in].to == period; in++)
			came += by_end[in].count;
		valid = left <= came;
	}
	pfree(by_end);
	return valid;
}

/* The one validator; the cells are in order and distinct if the caller says so. */
static CohortSummary *
make_summary(uint8 flags, TimestampTz as_of, const Interval *period, Timestamp origin,
			 const char *zone, Cell *cells, Size ncells, Node *escontext)
{
	CohortSummary *summary;
	const char *detail = NULL;
	int64		total = 0;

	if (ncells > (MaxAllocSize - sizeof(CohortSummary) - TZ_STRLEN_MAX) / sizeof(Cell))
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("too many cells in one %s", SUMMARY_TYPE),
				 errhint("Use longer periods.")));

	if (TIMESTAMP_NOT_FINITE(as_of))
		detail = "The time as_of must be finite.";
	else if ((period->month != 0) + (period->day != 0) + (period->time != 0) != 1 ||
			 period->month < 0 || period->day < 0 || period->time < 0)
		detail = "The period must be a positive number of months, or of days, or a clock time.";
	else if ((flags & BY_DATE) && as_of % USECS_PER_DAY != 0)
		detail = "A day as as_of has no time.";
	else if ((flags & FROM_FIRST) && origin != DT_NOBEGIN)
		detail = "Periods are counted from one origin.";
	else if (origin == DT_NOEND)
		detail = "The origin must be finite.";
	for (Size i = 0; i < ncells && detail == NULL; i++)
	{
		const Cell *cell = &cells[i];
		bool		first = i == 0 || compare_groups(&cells[i - 1], cell) != 0;

		CHECK_FOR_INTERRUPTS();
		if (TIMESTAMP_NOT_FINITE(cell->cohort))
			detail = "The start of a cohort must be finite.";
		else if (cell->count <= 0)
			detail = "A count must be above 0.";
		else if (i > 0 && compare_cells(&cells[i - 1], cell) >= 0)
			detail = "The cells must be in order, and each but once.";
		else if (first != (cell->from == 0 && cell->to == 0))
			detail = "Each cohort starts with the customers in it, 0-0.";
		else if (!first && cell->from >= cell->to)
			detail = "A step must lead to a later period.";
		else if (cell->watched > MAX_PERIODS || cell->to > MAX_PERIODS)
			detail = "A cohort has at most 1000000 periods.";
		else if (pg_add_s64_overflow(total, cell->count, &total))
			ereturn(escontext, NULL,
					(errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
					 errmsg("%s out of range", SUMMARY_TYPE)));
	}

	if (detail == NULL)
	{
		summary = summary_alloc(offsetof(CohortSummary, cells) + ncells * sizeof(Cell) +
								strlen(zone) + 1, SUMMARY_VERSION);
		summary->header.flags = flags;
		summary->as_of = as_of;
		summary->period = *period;
		summary->origin = origin;
		summary->ncells = (int32) ncells;
		memcpy(summary->cells, cells, ncells * sizeof(Cell));
		strcpy((char *) zone_of(summary), zone);

		for (int32 start = 0, n; start < summary->ncells && detail == NULL; start += n)
		{
			n = group_size(summary, start);
			if (!check_steps(&summary->cells[start], n))
				detail = "More customers leave a period than came to it.";
		}
		if (detail == NULL)
			return summary;
	}

	ereturn(escontext, NULL,
			(errcode(ERRCODE_LY_INVALID_METRIC),
			 errmsg("invalid %s", SUMMARY_TYPE),
			 errdetail("%s", detail)));
}


/* ----- text and binary ----- */

/* ISO 8601, whatever the session's style; of a zoned rule in UTC, with its offset. */
static char *
time_text(Timestamp time, bool with_offset, bool only_date)
{
	struct pg_tm tm;
	fsec_t		fsec;
	char		text[MAXDATELEN + 1];
	char	   *blank;

	if (timestamp2tm(time, NULL, &tm, &fsec, NULL, NULL) != 0)
		ereport(ERROR,
				(errcode(ERRCODE_DATETIME_VALUE_OUT_OF_RANGE),
				 errmsg("timestamp out of range")));
	if (only_date)
		EncodeDateOnly(&tm, USE_XSD_DATES, text);
	else
	{
		tm.tm_isdst = 0;		/* of UTC, so that the offset is printed */
		EncodeDateTime(&tm, fsec, with_offset, 0, NULL, USE_XSD_DATES, text);
	}

	/* " BC"; blanks are between the cells. */
	blank = strchr(text, ' ');
	if (blank != NULL)
		memmove(blank, blank + 1, strlen(blank));
	return pstrdup(text);
}

/* "1 months", "7 days", "3600000000 us": independent of IntervalStyle. */
static char *
period_text(const Interval *period)
{
	if (period->month > 0)
		return psprintf("%d months", period->month);
	if (period->day > 0)
		return psprintf("%d days", period->day);
	return psprintf(INT64_FORMAT " us", period->time);
}

static bool
read_period(const char *text, Interval *period)
{
	char	   *unit;
	int64		number;

	errno = 0;
	number = strtoi64(text, &unit, 10);
	if (errno != 0 || unit == text)
		return false;
	memset(period, 0, sizeof(Interval));
	if (strcmp(unit, " us") == 0)
		period->time = number;
	else if (number < 0 || number > PG_INT32_MAX)
		return false;
	else if (strcmp(unit, " months") == 0)
		period->month = (int32) number;
	else if (strcmp(unit, " days") == 0)
		period->day = (int32) number;
	else
		return false;
	return true;
}

/* One cell, "0-3=12"; strtou64 would take signs and blanks. */
static bool
read_number(char **text, uint64 max, uint64 *result)
{
	char	   *p = *text;

	*result = 0;
	while (*p >= '0' && *p <= '9')
	{
		unsigned	digit = *p++ - '0';

		if (*result > (max - digit) / 10)
			return false;
		*result = *result * 10 + digit;
	}
	if (p == *text)
		return false;
	*text = p;
	return true;
}

#define syntax_error(text, ...) \
	ereturn(escontext, false, \
			(errcode(ERRCODE_INVALID_TEXT_REPRESENTATION), \
			 errmsg("invalid input syntax for type %s: \"%s\"", SUMMARY_TYPE, text), \
			 errdetail(__VA_ARGS__)))

/* "2024-01-01T00:00:00/3 0-0=10 0-1=4 ...": a start, the periods watched, and its cells. */
static bool
read_cells(char *text, Cell **cells, Size *ncells, Node *escontext)
{
	Size		capacity = 16;
	Cell		group = {0};
	bool		in_group = false;
	char	   *rest;

	*ncells = 0;
	*cells = palloc(capacity * sizeof(Cell));
	for (char *token = strtok_r(text, " ", &rest); token != NULL; token = strtok_r(NULL, " ", &rest))
	{
		char	   *slash = strchr(token, '/');
		char	   *p = token;
		uint64		from;
		uint64		to;
		uint64		count;

		CHECK_FOR_INTERRUPTS();
		if (slash != NULL)
		{
			Datum		start;
			uint64		watched;

			p = slash + 1;
			if (!read_number(&p, PG_UINT32_MAX, &watched) || *p != '\0')
				syntax_error(token, "A cohort is written as its start, a slash and the number of periods.");
			*slash = '\0';
			if (!summary_read_value(timestamp_in, token, escontext, &start))
				return false;
			group.cohort = DatumGetTimestamp(start);
			group.watched = (uint32) watched;
			in_group = true;
			continue;
		}

		if (!in_group ||
			!read_number(&p, PG_UINT32_MAX, &from) || *p++ != '-' ||
			!read_number(&p, PG_UINT32_MAX, &to) || *p++ != '=' ||
			!read_number(&p, PG_INT64_MAX, &count) || *p != '\0')
			syntax_error(token, "The cells of a cohort are written as from-to=customers.");
		if (*ncells == capacity)
		{
			capacity *= 2;
			*cells = repalloc_huge(*cells, capacity * sizeof(Cell));
		}
		group.from = (uint32) from;
		group.to = (uint32) to;
		group.count = (int64) count;
		(*cells)[(*ncells)++] = group;
	}
	return true;
}

/* Of a time zone's name, so that it can be one of the fields of the text. */
static bool
has_only_name_characters(const char *zone)
{
	for (const char *p = zone; *p != '\0'; p++)
	{
		if (*p <= ' ' || *p > '~' || strchr(",():", *p) != NULL)
			return false;
	}
	return strlen(zone) <= TZ_STRLEN_MAX;
}

Datum
loyalty_cohort_in(PG_FUNCTION_ARGS)
{
	Node	   *escontext = fcinfo->context;
	SummaryField fields[] = {
		{.name = "as_of",.required = true},
		{.name = "period",.required = true},
		{.name = "time_zone"},
		{.name = "origin",.required = true},
		{.name = "cells",.required = true}
	};
	const char *zone;
	uint8		flags = 0;
	Datum		as_of;
	Datum		origin = TimestampGetDatum(DT_NOBEGIN);
	Interval	period;
	Cell	   *cells;
	Size		ncells;

	if (!summary_parse(PG_GETARG_CSTRING(0), SUMMARY_TYPE, fields, lengthof(fields), escontext))
		PG_RETURN_NULL();
	zone = fields[2].value == NULL ? "" : fields[2].value;
	if (fields[2].value == NULL && strchr(fields[0].value, 'T') == NULL)
		flags |= BY_DATE;
	if (!summary_read_value(zone[0] == '\0' ? timestamp_in : timestamptz_in, fields[0].value, escontext, &as_of))
		PG_RETURN_NULL();
	if (!read_period(fields[1].value, &period))
		ereturn(escontext, (Datum) 0,
				(errcode(ERRCODE_INVALID_TEXT_REPRESENTATION),
				 errmsg("invalid input syntax for type %s: \"%s\"", SUMMARY_TYPE, fields[1].value),
				 errdetail("The period is written as a number of months, days or us (microseconds).")));
	if (strcmp(fields[3].value, "first") == 0)
		flags |= FROM_FIRST;
	else if (strcmp(fields[3].value, "calendar") != 0 &&
			 !summary_read_value(timestamp_in, fields[3].value, escontext, &origin))
		PG_RETURN_NULL();
	if (!has_only_name_characters(zone))
		ereturn(escontext, (Datum) 0,
				(errcode(ERRCODE_INVALID_TEXT_REPRESENTATION),
				 errmsg("invalid input syntax for type %s: \"%s\"", SUMMARY_TYPE, zone),
				 errdetail("This can't be the name of a time zone.")));
	if (!read_cells(fields[4].value, &cells, &ncells, escontext))
		PG_RETURN_NULL();
	PG_RETURN_POINTER(make_summary(flags, DatumGetTimestampTz(as_of), &period,
								   DatumGetTimestamp(origin), zone, cells, ncells, escontext));
}

Datum
loyalty_cohort_out(PG_FUNCTION_ARGS)
{
	CohortSummary *summary = get_summary(fcinfo, 0);
	bool		has_zone = zone_of(summary)[0] != '\0';
	StringInfoData buf;

	initStringInfo(&buf);
	summary_put(&buf, "as_of", time_text(summary->as_of, has_zone, summary->header.flags & BY_DATE));
	summary_put(&buf, "period", period_text(&summary->period));
	if (has_zone)
		summary_put(&buf, "time_zone", zone_of(summary));
	summary_put(&buf, "origin", summary->header.flags & FROM_FIRST ? "first" :
				summary->origin == DT_NOBEGIN ? "calendar" : time_text(summary->origin, false, false));
	summary_put(&buf, "cells", "");
	for (int32 i = 0; i < summary->ncells; i++)
	{
		const Cell *cell = &summary->cells[i];

		CHECK_FOR_INTERRUPTS();
		if (cell->to == 0)
			appendStringInfo(&buf, "%s%s/%u", i == 0 ? "" : " ",
							 time_text(cell->cohort, false, false), cell->watched);
		appendStringInfo(&buf, " %u-%u=" INT64_FORMAT, cell->from, cell->to, cell->count);
	}
	PG_RETURN_CSTRING(summary_finish(&buf));
}

Datum
loyalty_cohort_recv(PG_FUNCTION_ARGS)
{
	StringInfo	buf = (StringInfo) PG_GETARG_POINTER(0);
	uint8		flags;
	TimestampTz as_of;
	Interval	period;
	Timestamp	origin;
	const char *zone;
	int			length;
	Size		ncells;
	Cell	   *cells;

	(void) summary_begin_recv(buf, SUMMARY_VERSION, SUMMARY_TYPE);
	flags = (uint8) pq_getmsgbyte(buf);
	as_of = pq_getmsgint64(buf);
	period.time = pq_getmsgint64(buf);
	period.day = (int32) pq_getmsgint(buf, 4);
	period.month = (int32) pq_getmsgint(buf, 4);
	origin = pq_getmsgint64(buf);
	length = (int) pq_getmsgint(buf, 4);
	zone = length < 0 ? "" : pq_getmsgtext(buf, length, &length);
	ncells = pq_getmsgint(buf, 4);
	if ((flags & ~ALL_FLAGS) != 0 || !has_only_name_characters(zone) ||
		((flags & BY_DATE) && zone[0] != '\0') ||
		!IS_VALID_TIMESTAMP(as_of) || (origin != DT_NOBEGIN && !IS_VALID_TIMESTAMP(origin)) ||
		ncells > (Size) (buf->len - buf->cursor) / 28)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_BINARY_REPRESENTATION),
				 errmsg("invalid binary form of type %s", SUMMARY_TYPE)));

	cells = palloc0(Max(ncells, 1) * sizeof(Cell));
	for (Size i = 0; i < ncells; i++)
	{
		cells[i].cohort = pq_getmsgint64(buf);
		cells[i].watched = pq_getmsgint(buf, 4);
		cells[i].from = pq_getmsgint(buf, 4);
		cells[i].to = pq_getmsgint(buf, 4);
		cells[i].count = pq_getmsgint64(buf);
		if (!IS_VALID_TIMESTAMP(cells[i].cohort))
			ereport(ERROR,
					(errcode(ERRCODE_DATETIME_VALUE_OUT_OF_RANGE),
					 errmsg("timestamp out of range")));
	}
	PG_RETURN_POINTER(make_summary(flags, as_of, &period, origin, zone, cells, ncells, NULL));
}

Datum
loyalty_cohort_send(PG_FUNCTION_ARGS)
{
	CohortSummary *summary = get_summary(fcinfo, 0);
	StringInfoData buf;

	summary_begin_send(&buf, SUMMARY_VERSION);
	pq_sendbyte(&buf, summary->header.flags);
	pq_sendint64(&buf, summary->as_of);
	pq_sendint64(&buf, summary->period.time);
	pq_sendint32(&buf, summary->period.day);
	pq_sendint32(&buf, summary->period.month);
	pq_sendint64(&buf, summary->origin);
	pq_sendint32(&buf, strlen(zone_of(summary)));
	pq_sendbytes(&buf, zone_of(summary), strlen(zone_of(summary)));	/* ASCII */
	pq_sendint32(&buf, summary->ncells);
	for (int32 i = 0; i < summary->ncells; i++)
	{
		pq_sendint64(&buf, summary->cells[i].cohort);
		pq_sendint32(&buf, summary->cells[i].watched);
		pq_sendint32(&buf, summary->cells[i].from);
		pq_sendint32(&buf, summary->cells[i].to);
		pq_sendint64(&buf, summary->cells[i].count);
	}
	PG_RETURN_BYTEA_P(pq_endtypsend(&buf));
}


/* ----- reading ----- */

Datum
loyalty_cohort_customers(PG_FUNCTION_ARGS)
{
	CohortSummary *summary = get_summary(fcinfo, 0);
	int64		customers = 0;

	for (int32 i = 0; i < summary->ncells; i++)
	{
		if (summary->cells[i].to == 0)
			customers += summary->cells[i].count;
	}
	PG_RETURN_INT64(customers);
}

static void
check_same_rule(const CohortSummary *a, const CohortSummary *b)
{
	if (a->header.flags != b->header.flags || a->as_of != b->as_of || a->origin != b->origin ||
		memcmp(&a->period, &b->period, sizeof(Interval)) != 0 ||
		strcmp(zone_of(a), zone_of(b)) != 0)
		ereport(ERROR,
				(errcode(ERRCODE_LY_INVALID_METRIC),
				 errmsg("cohorts of different rules can't be added"),
				 errdetail("The summaries differ in as_of, period, time zone or origin."),
				 errhint("Make all summaries with the same arguments.")));
}

/* Two parts that share no customers: both are sorted, so are the sums. */
Datum
loyalty_cohort_add(PG_FUNCTION_ARGS)
{
	CohortSummary *a = get_summary(fcinfo, 0);
	CohortSummary *b = get_summary(fcinfo, 1);
	Cell	   *cells;
	Size		n = 0;
	int32		i = 0;
	int32		j = 0;

	check_same_rule(a, b);
	cells = palloc_extended(((Size) a->ncells + b->ncells + 1) * sizeof(Cell), MCXT_ALLOC_HUGE);
	while (i < a->ncells || j < b->ncells)
	{
		int			order = i == a->ncells ? 1 : j == b->ncells ? -1 :
			compare_cells(&a->cells[i], &b->cells[j]);

		cells[n] = order <= 0 ? a->cells[i++] : b->cells[j++];
		if (order == 0 &&
			pg_add_s64_overflow(cells[n].count, b->cells[j++].count, &cells[n].count))
			summary_overflow(SUMMARY_TYPE);
		n++;
	}
	PG_RETURN_POINTER(make_summary(a->header.flags, a->as_of, &a->period, a->origin, zone_of(a),
								   cells, n, NULL));
}

/* For windows: what leaves the frame was added before. */
Datum
loyalty_cohort_subtract(PG_FUNCTION_ARGS)
{
	CohortSummary *a = get_summary(fcinfo, 0);
	CohortSummary *b = get_summary(fcinfo, 1);
	Cell	   *cells;
	Size		n = 0;
	int32		j = 0;

	check_same_rule(a, b);
	cells = palloc_extended(((Size) a->ncells + 1) * sizeof(Cell), MCXT_ALLOC_HUGE);
	for (int32 i = 0; i < a->ncells; i++)
	{
		cells[n] = a->cells[i];
		if (j < b->ncells && compare_cells(&cells[n], &b->cells[j]) == 0)
			cells[n].count -= b->cells[j++].count;
		if (cells[n].count < 0)
			summary_not_added(SUMMARY_TYPE);
		if (cells[n].count > 0)
			n++;
	}
	if (j < b->ncells)
		summary_not_added(SUMMARY_TYPE);
	PG_RETURN_POINTER(make_summary(a->header.flags, a->as_of, &a->period, a->origin, zone_of(a),
								   cells, n, NULL));
}

typedef enum Mode
{
	ON_PERIOD,
	ON_OR_AFTER,
	WITHIN,
	BRACKET
} MatrixMode;

static MatrixMode
read_mode(text *name)
{
	char	   *mode = text_to_cstring(name);

	if (strcmp(mode, "on") == 0)
		return ON_PERIOD;
	if (strcmp(mode, "on_or_after") == 0)
		return ON_OR_AFTER;
	if (strcmp(mode, "within") == 0)
		return WITHIN;
	if (strcmp(mode, "bracket") == 0)
		return BRACKET;
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("unknown mode \"%s\"", mode),
			 errhint("The modes are \"on\", \"on_or_after\", \"within\" and \"bracket\".")));
	return ON_PERIOD;			/* keep compiler quiet */
}

/* Both ends are in; last is PG_INT32_MAX if there is none. */
typedef struct Bracket
{
	int32		first;
	int32		last;
} Bracket;

static Bracket *
read_brackets(ArrayType *array, int *n)
{
	Datum	   *elements;
	bool	   *nulls;
	Bracket    *brackets;
	TypeCacheEntry *type = lookup_type_cache(INT4RANGEOID, TYPECACHE_RANGE_INFO);

	deconstruct_array(array, INT4RANGEOID, -1, false, TYPALIGN_INT, &elements, &nulls, n);
	brackets = palloc(Max(*n, 1) * sizeof(Bracket));
	for (int i = 0; i < *n; i++)
	{
		RangeBound	lower;
		RangeBound	upper;
		bool		empty = true;

		if (!nulls[i])
			range_deserialize(type, DatumGetRangeTypeP(elements[i]), &lower, &upper, &empty);
		if (empty || lower.infinite || DatumGetInt32(lower.val) < 0)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("a bracket must be a range of periods from 0 up"),
					 errhint("Write int4range(1, 3, '[]') for the periods 1 to 3, and '[3,)' for 3 and all after it.")));

		/* A discrete range is kept as [lower, upper). */
		brackets[i].first = DatumGetInt32(lower.val);
		brackets[i].last = upper.infinite ? PG_INT32_MAX : DatumGetInt32(upper.val) - 1;
	}
	return brackets;
}

static void
put_row(ReturnSetInfo *rsinfo, Timestamp cohort, int32 period, int64 customers, int64 retained)
{
	Datum		values[5];
	bool		nulls[5] = {false};

	values[0] = TimestampGetDatum(cohort);
	values[1] = Int32GetDatum(period);
	values[2] = Int64GetDatum(customers);
	values[3] = Int64GetDatum(retained);
	values[4] = Float8GetDatum((double) retained / (double) customers);
	tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
}

/* The periods of a group that are told of: the cohort's own always, for it is 100 %. */
static inline uint32
told(const Cell *cell)
{
	return Max(cell->watched, 1);
}

/*
 * One cohort, all periods.  Each cell adds its count to a stretch of periods, so the
 * arrays hold differences and are summed up while they are read.
 */
static void
put_cohort(ReturnSetInfo *rsinfo, const Cell *cells, int32 n, MatrixMode mode, int64 *customers,
		   int64 *retained)
{
	uint32		periods = told(&cells[n - 1]);	/* the groups are in ascending order */
	int64		watched = 0;
	int64		back = 0;

	memset(customers, 0, (periods + 1) * sizeof(int64));
	memset(retained, 0, (periods + 1) * sizeof(int64));
	for (int32 i = 0; i < n; i++)
	{
		const Cell *cell = &cells[i];
		uint32		end = told(cell);
		uint32		first;
		uint32		last;

		CHECK_FOR_INTERRUPTS();
		if (cell->to == 0)
		{
			customers[0] += cell->count;
			customers[end] -= cell->count;
			retained[0] += cell->count;
			retained[1] -= cell->count;
			continue;
		}
		if (mode == WITHIN && cell->from > 0)
			continue;
		first = mode == ON_OR_AFTER ? cell->from + 1 : cell->to;
		last = mode == WITHIN ? end - 1 : Min(cell->to, end - 1);
		if (first <= last)
		{
			retained[first] += cell->count;
			retained[last + 1] -= cell->count;
		}
	}
	for (uint32 period = 0; period < periods; period++)
	{
		CHECK_FOR_INTERRUPTS();
		watched += customers[period];
		back += retained[period];
		put_row(rsinfo, cells[0].cohort, period, watched, back);
	}
}

static void
put_bracket(ReturnSetInfo *rsinfo, const Cell *cells, int32 n, Bracket bracket)
{
	uint32		first = bracket.first;
	uint32		last = bracket.last;

	/* Without an end, the first period must be over: as in "on or after". */
	uint32		needed = bracket.last == PG_INT32_MAX ? first : last;
	int64		customers = 0;
	int64		retained = 0;

	for (int32 i = 0; i < n; i++)
	{
		const Cell *cell = &cells[i];

		if (needed >= told(cell))
			continue;
		if (cell->to == 0)
		{
			customers += cell->count;
			if (first == 0)
				retained += cell->count;
		}
		else if (cell->from < first && cell->to >= first && cell->to <= last)
			retained += cell->count;
	}
	if (customers > 0)
		put_row(rsinfo, cells[0].cohort, bracket.first, customers, retained);
}

/* cohort_matrix(summary, mode, brackets) */
Datum
loyalty_cohort_matrix(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	CohortSummary *summary;
	MatrixMode	mode;
	Bracket    *brackets = NULL;
	int			nbrackets = 0;
	int64	   *customers = NULL;
	int64	   *retained = NULL;
	uint32		periods = 0;

	InitMaterializedSRF(fcinfo, 0);
	if (PG_ARGISNULL(0) || PG_ARGISNULL(1))
		return (Datum) 0;
	summary = get_summary(fcinfo, 0);
	mode = read_mode(PG_GETARG_TEXT_PP(1));
	if ((mode == BRACKET) == PG_ARGISNULL(2))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg(mode == BRACKET ? "the mode \"bracket\" needs brackets" :
						"brackets are for the mode \"bracket\" only"),
				 errhint("For example cohort_matrix(s, 'bracket', '{\"[1,3]\",\"[4,6]\"}').")));
	if (mode == BRACKET)
		brackets = read_brackets(PG_GETARG_ARRAYTYPE_P(2), &nbrackets);
	else
	{
		for (int32 i = 0; i < summary->ncells; i++)
			periods = Max(periods, told(&summary->cells[i]));
		customers = palloc((periods + 1) * sizeof(int64));
		retained = palloc((periods + 1) * sizeof(int64));
	}

	for (int32 start = 0, n; start < summary->ncells; start += n)
	{
		n = 1;
		while (start + n < summary->ncells &&
			   summary->cells[start + n].cohort == summary->cells[start].cohort)
			n++;
		if (mode != BRACKET)
			put_cohort(rsinfo, &summary->cells[start], n, mode, customers, retained);
		for (int i = 0; i < nbrackets; i++)
			put_bracket(rsinfo, &summary->cells[start], n, brackets[i]);
	}
	return (Datum) 0;
}

/*
 * Each activity and the time to the next, or for which none was seen, in periods.
 * What falls into a period that is not over does not count: those who were not seen
 * in it yet may still come.
 */
Datum
loyalty_cohort_time_to_next(PG_FUNCTION_ARGS)
{
	CohortSummary *summary = get_summary(fcinfo, 0);
	bool		only_first = PG_GETARG_BOOL(1);
	SurvivalPoint *points;
	Size		npoints = 0;

	points = palloc_extended((3 * (Size) summary->ncells + 1) * sizeof(SurvivalPoint),
							 MCXT_ALLOC_HUGE);
	for (int32 i = 0; i < summary->ncells; i++)
	{
		const Cell *cell = &summary->cells[i];
		int64		watched = cell->watched;

		CHECK_FOR_INTERRUPTS();

		/* Who comes to a period waits there until the end, ... */
		if (cell->to < watched && !(only_first && cell->to > 0))
			points[npoints++] = (SurvivalPoint)
		{
			.time = watched - 1 - cell->to,.censored = cell->count
		};

		/* ... but for those who go on. */
		if (cell->to == 0 || cell->from >= watched || (only_first && cell->from > 0))
			continue;
		if (cell->to < watched)
		{
			points[npoints++] = (SurvivalPoint)
			{
				.time = watched - 1 - cell->from,.censored = -cell->count
			};
			points[npoints++] = (SurvivalPoint)
			{
				.time = cell->to - cell->from,.events = cell->count
			};
		}
	}
	if (npoints == 0)
		PG_RETURN_NULL();
	PG_RETURN_POINTER(survival_make(points, npoints, NULL));
}


/* ----- the rule ----- */

/* "2024-01-07" or "2024-01-07 04:00[:00]": local time, read the same in every session. */
static bool
parse_origin(const char *text, Timestamp *origin)
{
	static const char *const shapes[] = {
		"####-##-##", "####-##-## ##:##", "####-##-## ##:##:##"
	};
	int			fields[6] = {0, 0, 0, 0, 0, 0};
	int			field = 0;
	int			shape;

	for (shape = 0; shape < (int) lengthof(shapes); shape++)
	{
		if (strlen(text) == strlen(shapes[shape]))
			break;
	}
	if (shape == (int) lengthof(shapes))
		return false;
	for (const char *p = text, *s = shapes[shape]; *p != '\0'; p++, s++)
	{
		if (*s == '#' && *p >= '0' && *p <= '9')
			fields[field] = fields[field] * 10 + (*p - '0');
		else if (*s == *p || (*s == ' ' && *p == 'T'))
			field++;
		else
			return false;
	}
	if (fields[0] < 1 || fields[1] < 1 || fields[1] > MONTHS_PER_YEAR || fields[2] < 1 ||
		fields[2] > day_tab[isleap(fields[0])][fields[1] - 1] ||
		fields[3] >= HOURS_PER_DAY || fields[4] >= MINS_PER_HOUR || fields[5] >= SECS_PER_MINUTE)
		return false;
	*origin = (date2j(fields[0], fields[1], fields[2]) - POSTGRES_EPOCH_JDATE) * USECS_PER_DAY +
		((fields[3] * MINS_PER_HOUR + fields[4]) * SECS_PER_MINUTE + fields[5]) * USECS_PER_SEC;
	return true;
}

/* In the given context; the strings are taken as they are. */
static Rule *
make_rule(MemoryContext context, uint8 flags, TimestampTz as_of, const Interval *period,
		  const char *zone, Timestamp origin)
{
	Rule	   *rule = MemoryContextAllocZero(context, sizeof(Rule));

	rule->flags = flags;
	rule->as_of = as_of;
	rule->until = as_of + (flags & BY_DATE ? USECS_PER_DAY : 1);
	rule->clock = clock_make(context, period, zone, origin);
	rule->as_of_unit = clock_unit(rule->clock, as_of);
	rule->until_unit = clock_unit(rule->clock, rule->until);
	return rule;
}

static bytea *
copy_bytes(MemoryContext context, const text *value)
{
	Size		size = VARSIZE_ANY_EXHDR(value);
	bytea	   *copy = MemoryContextAlloc(context, VARHDRSZ + size);

	SET_VARSIZE(copy, VARHDRSZ + size);
	memcpy(VARDATA(copy), VARDATA_ANY(value), size);
	return copy;
}

static inline bool
same_bytes(const bytea *kept, const text *value)
{
	if (value == NULL || kept == NULL)
		return value == NULL && kept == NULL;
	return VARSIZE_ANY_EXHDR(value) == VARSIZE(kept) - VARHDRSZ &&
		memcmp(VARDATA(kept), VARDATA_ANY(value), VARSIZE(kept) - VARHDRSZ) == 0;
}

/*
 * The rule of this row: that of the last one, as a rule.  Where groups have rules of
 * their own, the others met so far are looked through, and the one that is found
 * comes to the front.
 */
static Rule *
get_rule(FunctionCallInfo fcinfo, TimestampTz as_of, uint8 flags, bool is_local)
{
	static const Interval one_month = {.month = 1};
	int			origin_arg = is_local ? 5 : 6;
	const Interval *period = PG_NARGS() > 4 ? PG_GETARG_INTERVAL_P(4) : &one_month;
	const text *zone = !is_local && PG_NARGS() > 5 ? PG_GETARG_TEXT_PP(5) : NULL;
	const text *origin = PG_NARGS() > origin_arg ? PG_GETARG_TEXT_PP(origin_arg) : NULL;
	MemoryContext context = fcinfo->flinfo->fn_mcxt;
	Rule	  **rules = (Rule **) &fcinfo->flinfo->fn_extra;
	Rule	   *rule;
	char	   *zone_name = is_local ? "" : "UTC";
	Timestamp	start = DT_NOBEGIN;

	for (Rule **link = rules; (rule = *link) != NULL; link = &rule->next)
	{
		if (rule->as_of == as_of && memcmp(&rule->period, period, sizeof(Interval)) == 0 &&
			same_bytes(rule->zone, zone) && same_bytes(rule->origin, origin))
		{
			if (unlikely(link != rules))
			{
				*link = rule->next;
				rule->next = *rules;
				*rules = rule;
			}
			return rule;
		}
	}

	if (TIMESTAMP_NOT_FINITE(as_of))
		ereport(ERROR,
				(errcode(ERRCODE_LY_INVALID_METRIC),
				 errmsg("as_of must be finite"),
				 errhint("Give the moment up to which the data go, such as now().")));
	if (zone != NULL)
	{
		zone_name = text_to_cstring(zone);
		if (zone_name[0] == '\0' || !has_only_name_characters(zone_name))
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("time zone \"%s\" not recognized", zone_name),
					 errhint("Use a name from pg_timezone_names, such as \"Europe/Paris\".")));
	}
	if (origin != NULL)
	{
		char	   *name = text_to_cstring(origin);

		if (strcmp(name, "first") == 0)
			flags |= FROM_FIRST;
		else if (strcmp(name, "calendar") != 0 && !parse_origin(name, &start))
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("unknown origin \"%s\"", name),
					 errhint("It is \"calendar\", \"first\", or the local time from which periods are counted, written as 2024-01-07 or 2024-01-07 04:00.")));
	}

	rule = make_rule(context, flags, as_of, period, zone_name, start);
	rule->period = *period;
	rule->zone = zone == NULL ? NULL : copy_bytes(context, zone);
	rule->origin = origin == NULL ? NULL : copy_bytes(context, origin);
	rule->next = *rules;
	*rules = rule;
	return rule;
}

static inline bool
same_rule(const Rule *a, const Rule *b)
{
	return a == b ||
		(a->flags == b->flags && a->as_of == b->as_of && clock_same(a->clock, b->clock));
}

static void
mixed_arguments(void)
{
	ereport(ERROR,
			(errcode(ERRCODE_LY_INVALID_METRIC),
			 errmsg("as_of, period, time zone and origin must be the same for all rows of a group"),
			 errhint("Give constants, not columns.")));
}


/* ----- cohort_agg(customer, at, as_of [, period [, time zone]] [, origin]) ----- */

static CohortState *
make_state(MemoryContext context, Rule *rule, Oid customer, Oid collation)
{
	CohortState *state = MemoryContextAlloc(context, sizeof(CohortState));

	state->rule = rule;
	state->activity = activity_create(context, customer, collation, rule->flags & FROM_FIRST);
	return state;
}

static void
too_many_periods(void)
{
	ereport(ERROR,
			(errcode(ERRCODE_LY_INVALID_METRIC),
			 errmsg("more than %d periods between an activity and as_of", MAX_PERIODS),
			 errhint("Use a longer period.")));
}

static inline bool
is_missing(FunctionCallInfo fcinfo)
{
	for (int i = 1; i < PG_NARGS(); i++)
	{
		if (PG_ARGISNULL(i))
			return true;
	}
	return false;
}

/* The wrappers below have read the times. */
static Datum
accum(FunctionCallInfo fcinfo, TimestampTz at, TimestampTz as_of, uint8 flags, bool is_local)
{
	Rule	   *rule = get_rule(fcinfo, as_of, flags, is_local);
	CohortState *state;

	if (at > as_of)
		return aggregate_unchanged(fcinfo);
	if (TIMESTAMP_NOT_FINITE(at))
		ereport(ERROR,
				(errcode(ERRCODE_LY_INVALID_METRIC),
				 errmsg("the time of an activity must be finite"),
				 errhint("Leave such rows out with FILTER or WHERE.")));

	if (PG_ARGISNULL(0))
		state = make_state(aggregate_context(fcinfo), rule, aggregate_argument_type(fcinfo, 1),
						   PG_GET_COLLATION());
	else
	{
		state = (CohortState *) PG_GETARG_POINTER(0);
		if (unlikely(!same_rule(state->rule, rule)))
			mixed_arguments();
	}

	if (rule->flags & FROM_FIRST)
		activity_add_instant(state->activity, PG_GETARG_DATUM(1), at);
	else
	{
		/* Clocks that were put back over midnight can make it -1. */
		int64		ago = Max(rule->as_of_unit - clock_unit(rule->clock, at), 0);

		if (unlikely(ago >= MAX_PERIODS))
			too_many_periods();
		activity_add_period(state->activity, PG_GETARG_DATUM(1), (uint32) ago);
	}
	PG_RETURN_POINTER(state);
}

Datum
loyalty_cohort_accum(PG_FUNCTION_ARGS)
{
	if (is_missing(fcinfo))
		return aggregate_unchanged(fcinfo);
	return accum(fcinfo, PG_GETARG_TIMESTAMPTZ(2), PG_GETARG_TIMESTAMPTZ(3), 0, false);
}

/* Times without zone are counted as they are written. */
Datum
loyalty_cohort_accum_local(PG_FUNCTION_ARGS)
{
	if (is_missing(fcinfo))
		return aggregate_unchanged(fcinfo);
	return accum(fcinfo, PG_GETARG_TIMESTAMP(2), PG_GETARG_TIMESTAMP(3), 0, true);
}

/* A day is over at its end: as_of the last of a month, the month is complete. */
Datum
loyalty_cohort_accum_date(PG_FUNCTION_ARGS)
{
	if (is_missing(fcinfo))
		return aggregate_unchanged(fcinfo);
	return accum(fcinfo, clock_midnight(PG_GETARG_DATEADT(2)), clock_midnight(PG_GETARG_DATEADT(3)),
				 BY_DATE, true);
}

Datum
loyalty_cohort_combine(PG_FUNCTION_ARGS)
{
	MemoryContext context = aggregate_context(fcinfo);
	CohortState *state;
	CohortState *other;

	if (PG_ARGISNULL(1))
		return aggregate_unchanged(fcinfo);

	other = (CohortState *) PG_GETARG_POINTER(1);
	if (PG_ARGISNULL(0))
		state = make_state(context,
						   make_rule(context, other->rule->flags, other->rule->as_of,
									 &other->rule->clock->unit, other->rule->clock->zone,
									 other->rule->clock->origin),
						   other->activity->customers->type,
						   other->activity->customers->collation);
	else
	{
		state = (CohortState *) PG_GETARG_POINTER(0);
		if (!same_rule(state->rule, other->rule))
			mixed_arguments();
	}
	activity_add_all(state->activity, other->activity);
	PG_RETURN_POINTER(state);
}

Datum
loyalty_cohort_serialize(PG_FUNCTION_ARGS)
{
	CohortState *state = aggregate_state(fcinfo);
	const Clock *clock;
	StringInfoData buf;

	clock = state->rule->clock;

	aggregate_begin_send(&buf, STATE_VERSION);
	pq_sendbyte(&buf, state->rule->flags);
	pq_sendint64(&buf, state->rule->as_of);
	pq_sendbytes(&buf, (const char *) &clock->unit, sizeof(Interval));
	pq_sendint64(&buf, clock->origin);
	pq_sendbytes(&buf, clock->zone, sizeof(clock->zone));
	activity_send(&buf, state->activity);
	PG_RETURN_BYTEA_P(pq_endtypsend(&buf));
}

/* In the caller's short-lived context; combine takes what it needs. */
Datum
loyalty_cohort_deserialize(PG_FUNCTION_ARGS)
{
	CohortState *state = palloc(sizeof(CohortState));
	StringInfoData buf;
	uint8		flags;
	TimestampTz as_of;
	Interval	period;
	Timestamp	origin;
	char		zone[TZ_STRLEN_MAX + 1];

	(void) aggregate_context(fcinfo);
	aggregate_begin_recv(fcinfo, &buf, STATE_VERSION);
	flags = (uint8) pq_getmsgbyte(&buf);
	as_of = pq_getmsgint64(&buf);
	memcpy(&period, pq_getmsgbytes(&buf, sizeof(Interval)), sizeof(Interval));
	origin = pq_getmsgint64(&buf);
	memcpy(zone, pq_getmsgbytes(&buf, sizeof(zone)), sizeof(zone));
	state->rule = make_rule(CurrentMemoryContext, flags, as_of, &period, zone, origin);
	state->activity = activity_recv(&buf);
	pq_getmsgend(&buf);
	PG_RETURN_POINTER(state);
}

static inline void
count_step(cells_hash *cells, int64 cohort, uint32 watched, uint32 from, uint32 to)
{
	Cell		key = {.cohort = cohort,.watched = watched,.from = from,.to = to};
	bool		found;
	CountedCell *counted = cells_insert(cells, key, &found);

	counted->cell.count++;
}

/* A customer's steps.  The cohort is told by its unit for now. */
static void
count_customer(cells_hash *cells, const Rule *rule, const ActivityList *list)
{
	int64		cohort;
	int64		watched;
	uint32		from = 0;

	if (rule->flags & FROM_FIRST)
	{
		cohort = clock_unit(rule->clock, list->values[0]);
		watched = clock_units_since(rule->clock, list->values[0], rule->until);
		if (watched >= MAX_PERIODS)
			too_many_periods();
		count_step(cells, cohort, (uint32) watched, 0, 0);
		for (uint32 i = 1; i < list->size; i++)
		{
			int64		to = clock_units_since(rule->clock, list->values[0], list->values[i]);

			if (to > from)
			{
				count_step(cells, cohort, (uint32) watched, from, (uint32) to);
				from = (uint32) to;
			}
		}
	}
	else
	{
		/* Periods before as_of: the last of the list is the first in time. */
		int64		first = list->values[list->size - 1];

		cohort = rule->as_of_unit - first;
		watched = rule->until_unit - cohort;
		count_step(cells, cohort, (uint32) watched, 0, 0);
		for (int64 i = (int64) list->size - 2; i >= 0; i--)
		{
			uint32		to = (uint32) (first - list->values[i]);

			count_step(cells, cohort, (uint32) watched, from, to);
			from = to;
		}
	}
}

/* Reads the state, and leaves its meaning as it was. */
Datum
loyalty_cohort_final(PG_FUNCTION_ARGS)
{
	CohortState *state = aggregate_state(fcinfo);
	Rule	   *rule;
	cells_hash *table;
	cells_iterator iterator;
	CountedCell *counted;
	Cell	   *cells;
	Size		ncells = 0;
	ActivityList list = {0};
	CohortSummary *summary;

	if (state == NULL)
		PG_RETURN_NULL();
	rule = state->rule;

	activity_flush(state->activity);
	table = cells_create(CurrentMemoryContext, 1024, NULL);
	for (uint32 i = 0; i < state->activity->customers->size; i++)
	{
		CHECK_FOR_INTERRUPTS();
		activity_read(state->activity, i, &list);
		count_customer(table, rule, &list);
	}

	cells = palloc_extended(table->members * sizeof(Cell), MCXT_ALLOC_HUGE);
	cells_start_iterate(table, &iterator);
	while ((counted = cells_iterate(table, &iterator)) != NULL)
	{
		cells[ncells] = counted->cell;
		cells[ncells].cohort = clock_unit_start(rule->clock, counted->cell.cohort);
		ncells++;
	}
	cells_destroy(table);
	sort_cells(cells, ncells);

	summary = make_summary(rule->flags, rule->as_of, &rule->clock->unit, rule->clock->origin,
						   rule->clock->zone, cells, ncells, NULL);
	pfree(cells);
	if (list.values != NULL)
		pfree(list.values);
	PG_RETURN_POINTER(summary);
}
