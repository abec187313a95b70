/*
 * clock.c
 *		How an instant becomes the number of a unit of time.
 */
#include "postgres.h"

#include "common/int.h"
#include "utils/datetime.h"
#include "utils/timestamp.h"

#include "base/compat.h"
#include "metrics/clock.h"

/* A month that starts later than this does not start in February. */
#define LAST_START_OF_MONTH	28

static void
out_of_range(void)
{
	ereport(ERROR,
			(errcode(ERRCODE_DATETIME_VALUE_OUT_OF_RANGE),
			 errmsg("timestamp out of range")));
}

/* Months since January of the year 0, and the time since that month began. */
static int64
month_of(Timestamp local, int64 *rest)
{
	int64		day = floor_div(local, USECS_PER_DAY);
	int			year;
	int			month;
	int			mday;

	j2date((int) (day + POSTGRES_EPOCH_JDATE), &year, &month, &mday);
	if (rest != NULL)
		*rest = (mday - 1) * USECS_PER_DAY + (local - day * USECS_PER_DAY);
	return year * INT64CONST(12) + month - 1;
}

/* The first moment of a month so counted. */
static Timestamp
month_start(int64 month)
{
	int64		year = floor_div(month, 12);

	if (year < -4713 || year > 300000)
		out_of_range();
	return (date2j((int) year, (int) (month - year * 12) + 1, 1) - POSTGRES_EPOCH_JDATE) *
		USECS_PER_DAY;
}

/* What local time is ahead of UTC at t, in a zone where that changes. */
static int64
zone_offset(Clock *clock, TimestampTz t)
{
	const int64 epoch = (POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * (int64) SECS_PER_DAY;
	pg_time_t	second = floor_div(t, USECS_PER_SEC) + epoch;
	TimestampTz from = (second - epoch) * USECS_PER_SEC;
	TimestampTz until;
	ZoneSpan   *span;
	long		before;
	long		after;
	int			before_is_dst;
	int			after_is_dst;
	pg_time_t	boundary;

	for (int i = 0; i < clock->nspans; i++)
	{
		span = &clock->spans[i];
		if (t >= span->from && t < span->until)
			return span->offset;
	}

	switch (pg_next_dst_boundary(&second, &before, &before_is_dst, &boundary,
								 &after, &after_is_dst, clock->tz))
	{
		case 1:
			until = (boundary - epoch) * USECS_PER_SEC;
			break;
		case 0:
			until = DT_NOEND;
			break;
		default:
			return 0;			/* out of the zone's range: as core has it */
	}

	/* An earlier time in a stretch that is known from a later one widens it. */
	for (int i = 0; i < clock->nspans; i++)
	{
		span = &clock->spans[i];
		if (span->until == until)
		{
			span->from = from;
			return span->offset;
		}
	}

	span = &clock->spans[clock->next_span];
	clock->next_span = (clock->next_span + 1) % ZONE_SPANS;
	clock->nspans = Min(clock->nspans + 1, ZONE_SPANS);
	span->from = from;
	span->until = until;
	span->offset = before * USECS_PER_SEC;
	return span->offset;
}

Timestamp
clock_local(Clock *clock, TimestampTz t)
{
	return t + (clock->tz == NULL ? clock->offset : zone_offset(clock, t));
}

/* The instant of a local time; where there are two or none, the one that core takes. */
static TimestampTz
from_local(Clock *clock, Timestamp local)
{
	struct pg_tm tm;
	fsec_t		fsec;

	if (clock->tz == NULL)
		return local - clock->offset;
	if (timestamp2tm(local, NULL, &tm, &fsec, NULL, NULL) != 0)
		out_of_range();
	return local + DetermineTimeZoneOffset(&tm, clock->tz) * USECS_PER_SEC;
}

Clock *
clock_make(MemoryContext context, const Interval *unit, const char *zone, Timestamp origin)
{
	Clock	   *clock;
	pg_tz	   *tz = NULL;
	long		fixed = 0;

	if ((unit->month != 0) + (unit->day != 0) + (unit->time != 0) != 1 ||
		unit->month < 0 || unit->day < 0 || unit->time < 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("unit must be a positive number of months, or of days, or a clock time"),
				 errhint("For example '1 day', '1 week', '1 month' or '1 hour'.")));

	if (zone[0] != '\0')
	{
		tz = pg_tzset(zone);
		if (tz == NULL)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("time zone \"%s\" not recognized", zone),
					 errhint("See pg_timezone_names.")));
		if (pg_get_timezone_offset(tz, &fixed))
			tz = NULL;
	}

	clock = MemoryContextAllocZero(context, sizeof(Clock));
	clock->unit = *unit;
	strlcpy(clock->zone, zone, sizeof(clock->zone));
	clock->tz = tz;
	clock->offset = fixed * USECS_PER_SEC;
	clock->origin = origin;
	clock->as_of = DT_NOBEGIN;	/* none: as_of is always finite */

	if (origin == DT_NOBEGIN)
		clock->start = unit->month > 0 ? 0 : CLOCK_ORIGIN;
	else if (unit->month > 0)
	{
		clock->start = month_of(origin, &clock->shift);
		if (clock->shift >= LAST_START_OF_MONTH * USECS_PER_DAY)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("months can't be counted from the %dth day", (int) (clock->shift / USECS_PER_DAY) + 1),
					 errdetail("Not every month has that day."),
					 errhint("Use an origin on one of the days 1 to %d.", LAST_START_OF_MONTH)));
	}
	else
		clock->start = unit->time > 0 ? from_local(clock, origin) : origin;
	return clock;
}

Clock *
clock_find(FmgrInfo *flinfo, const Interval *unit, const char *zone)
{
	Clock	   *clock;

	for (clock = flinfo->fn_extra; clock != NULL; clock = clock->next)
	{
		if (clock_same_unit(clock, unit) && strcmp(clock->zone, zone) == 0)
			return clock;
	}

	clock = clock_make(flinfo->fn_mcxt, unit, zone, DT_NOBEGIN);
	clock->next = flinfo->fn_extra;
	flinfo->fn_extra = clock;
	return clock;
}

static inline int64
since(const Clock *clock, int64 t)
{
	int64		difference;

	if (unlikely(pg_sub_s64_overflow(t, clock->start, &difference)))
		out_of_range();
	return difference;
}

int64
clock_unit(Clock *clock, TimestampTz t)
{
	int64		local;

	if (clock->unit.time > 0)
		return floor_div(since(clock, t), clock->unit.time);

	local = clock_local(clock, t);
	if (clock->unit.day > 0)
	{
		int64		days = floor_div(since(clock, local), USECS_PER_DAY);

		return clock->unit.day == 1 ? days : floor_div(days, clock->unit.day);
	}
	return floor_div(month_of(local - clock->shift, NULL) - clock->start, clock->unit.month);
}

Timestamp
clock_unit_start(Clock *clock, int64 unit)
{
	int64		length;
	Timestamp	start;

	if (clock->unit.month > 0)
		return month_start(unit * clock->unit.month + clock->start) + clock->shift;

	length = clock->unit.day > 0 ? clock->unit.day * USECS_PER_DAY : clock->unit.time;
	if (pg_mul_s64_overflow(unit, length, &start) ||
		pg_add_s64_overflow(start, clock->start, &start))
		out_of_range();
	return clock->unit.time > 0 ? clock_local(clock, start) : start;
}

/*
 * In local time, so that a day after 12:00 is the next 12:00 whatever the clock
 * was put to in between, and a month after the 31st the last of a shorter month.
 */
int64
clock_units_since(Clock *clock, TimestampTz first, TimestampTz t)
{
	Timestamp	from;
	Timestamp	to;
	int64		from_rest;
	int64		to_rest;
	int64		from_month;
	int64		months;

	if (t <= first)
		return 0;
	if (clock->unit.time > 0)
		return (t - first) / clock->unit.time;

	from = clock_local(clock, first);
	to = clock_local(clock, t);
	if (to <= from)				/* the clock was put back */
		return 0;
	if (clock->unit.day > 0)
		return (to - from) / (clock->unit.day * USECS_PER_DAY);

	from_month = month_of(from, &from_rest);
	months = month_of(to, &to_rest) - from_month;
	if (to_rest < from_rest)
	{
		/* The 31st of January and one month is the last of February. */
		int64		length = month_start(from_month + months + 1) - month_start(from_month + months);
		int64		time = from_rest % USECS_PER_DAY;

		if (to_rest < Min(from_rest, length - USECS_PER_DAY + time))
			months--;
	}
	return months / clock->unit.month;
}

Timestamp
clock_midnight(DateADT date)
{
	if (DATE_IS_NOBEGIN(date))
		return DT_NOBEGIN;
	if (DATE_IS_NOEND(date))
		return DT_NOEND;
	if (date >= TIMESTAMP_END_JULIAN - POSTGRES_EPOCH_JDATE)
		ereport(ERROR,
				(errcode(ERRCODE_DATETIME_VALUE_OUT_OF_RANGE),
				 errmsg("date out of range for timestamp")));
	return date * USECS_PER_DAY;
}
