/*
 * calendar.c
 *		Days in the program's time zone: when points start, end and were issued.
 *
 * Points end on a local midnight: the one after the day on which the validity
 * runs out, or after the month, quarter, half-year or year of that day, or after
 * a date of the year.  Months clamp: 31 January and one month is the last of
 * February.
 */
#include "postgres.h"

#include "datatype/timestamp.h"
#include "miscadmin.h"
#include "utils/date.h"
#include "utils/datetime.h"

#include "base/errors.h"
#include "ledger/program.h"

static void
out_of_range(void)
{
	ereport(ERROR,
			(errcode(ERRCODE_DATETIME_VALUE_OUT_OF_RANGE),
			 errmsg("timestamp out of range")));
}

static void
to_local(const Program *program, TimestampTz instant, struct pg_tm *tm, fsec_t *fsec)
{
	int			tz;

	if (timestamp2tm(instant, &tz, tm, fsec, NULL, program->tz) != 0)
		out_of_range();
}

static TimestampTz
from_local(const Program *program, int julian_day, TimeOffset time)
{
	struct pg_tm tm = {0};
	fsec_t		fsec;
	int			tz;
	TimestampTz instant;

	j2date(julian_day, &tm.tm_year, &tm.tm_mon, &tm.tm_mday);
	dt2time(time, &tm.tm_hour, &tm.tm_min, &tm.tm_sec, &fsec);
	tz = DetermineTimeZoneOffset(&tm, program->tz);
	if (tm2timestamp(&tm, fsec, &tz, &instant) != 0)
		out_of_range();
	return instant;
}

static TimeOffset
time_of_day(const struct pg_tm *tm, fsec_t fsec)
{
	return ((tm->tm_hour * MINS_PER_HOUR + tm->tm_min) * (int64) SECS_PER_MINUTE + tm->tm_sec) *
		USECS_PER_SEC + fsec;
}

TimestampTz
local_midnight(const Program *program, int julian_day)
{
	TimestampTz midnight = from_local(program, julian_day, 0);
	struct pg_tm tm;
	fsec_t		fsec;

	/* Where the clock goes back at midnight there are two: the day begins at the first. */
	to_local(program, midnight - 1, &tm, &fsec);
	if (date2j(tm.tm_year, tm.tm_mon, tm.tm_mday) == julian_day)
		midnight -= time_of_day(&tm, fsec) + 1;
	return midnight;
}

int
local_day(const Program *program, TimestampTz instant)
{
	struct pg_tm tm;
	fsec_t		fsec;

	to_local(program, instant, &tm, &fsec);
	return date2j(tm.tm_year, tm.tm_mon, tm.tm_mday);
}

int
day_plus(int julian_day, const Interval *interval, int sign)
{
	int			year;
	int			month;
	int			day;
	int			months;

	j2date(julian_day, &year, &month, &day);
	months = year * 12 + (month - 1) + sign * interval->month;
	if (months < 0 || months >= 300000 * 12)
		out_of_range();
	year = months / 12;
	month = months % 12 + 1;
	day = Min(day, day_tab[isleap(year)][month - 1]);
	return date2j(year, month, day) + sign * interval->day;
}

TimestampTz
timestamptz_plus(const Program *program, TimestampTz instant, const Interval *interval)
{
	struct pg_tm tm;
	fsec_t		fsec;
	TimeOffset	time;
	int			day;

	to_local(program, instant, &tm, &fsec);
	time = time_of_day(&tm, fsec);
	day = day_plus(date2j(tm.tm_year, tm.tm_mon, tm.tm_mday), interval, 1);
	return from_local(program, day, time) + interval->time;
}

/* The first day after the month (quarter, ...) that the day falls into. */
static int
after_period(int julian_day, int months)
{
	int			year;
	int			month;
	int			day;

	j2date(julian_day, &year, &month, &day);
	month = ((month - 1) / months + 1) * months + 1;
	if (month > 12)
	{
		month -= 12;
		year++;
	}
	return date2j(year, month, 1);
}

/* The first day after the next date of the year, 29 February being the 28th where there is none. */
static int
after_date(int julian_day, int date)
{
	int			year;
	int			month;
	int			day;

	j2date(julian_day, &year, &month, &day);
	for (;; year++)
	{
		int			last = day_tab[isleap(year)][date / 100 - 1];
		int			end = date2j(year, date / 100, Min(date % 100, last));

		if (end >= julian_day)
			return end + 1;
	}
}

static void
compute(const Currency *currency, TimestampTz event_time, LotDates *dates, int *day)
{
	const Program *program = currency->program;
	struct pg_tm tm;
	fsec_t		fsec;
	TimeOffset	time;

	if (TIMESTAMP_NOT_FINITE(event_time))
		ereport(ERROR,
				(errcode(ERRCODE_LY_INVALID_EVENT),
				 errmsg("the time of an event must be finite"),
				 errdetail("It is infinite, so no expiry can be reckoned from it."),
				 errhint("Record when the event happened.")));

	to_local(program, event_time, &tm, &fsec);
	*day = date2j(tm.tm_year, tm.tm_mon, tm.tm_mday);
	time = time_of_day(&tm, fsec);
	dates->issued = date2j(tm.tm_year, tm.tm_mon, 1) - POSTGRES_EPOCH_JDATE;

	if (currency->validity == NULL && currency->rounding != ROUND_DATE)
		dates->expires_at = DT_NOEND;
	else
	{
		int			last = *day;

		if (currency->validity != NULL)
		{
			/* Hours may be taken away from days. */
			time += currency->validity->time;
			last = day_plus(last, currency->validity, 1) + time / USECS_PER_DAY - (time % USECS_PER_DAY < 0);
		}
		dates->expires_at = local_midnight(program, currency->rounding == ROUND_DAY ? last + 1 :
										   currency->rounding == ROUND_DATE ? after_date(last, currency->date) :
										   after_period(last, currency->rounding));
	}

	dates->valid_from = currency->pending == NULL ? DT_NOBEGIN :
		timestamptz_plus(program, event_time, currency->pending);
}

/*
 * Events of one local day share their dates unless the policy counts hours,
 * so a few days are remembered: a million rows ask for a year's worth of days.
 */
#define DAYS_KEPT	1024

static void
own_dates(const Currency *currency, TimestampTz event_time, LotDates *dates)
{
	static struct
	{
		int32		currency_id;
		pg_tz	   *tz;
		Interval	validity;
		ValidityRounding rounding;
		int			date;
		TimestampTz from;
		TimestampTz to;
		LotDates	dates;
	}			kept[DAYS_KEPT];
	uint64		slot = (uint64) (event_time / USECS_PER_DAY) % DAYS_KEPT;
	Interval	validity = {0};
	int			day;

	if (currency->pending != NULL || (currency->validity != NULL && currency->validity->time != 0))
	{
		compute(currency, event_time, dates, &day);
		return;
	}

	if (currency->validity != NULL)
		validity = *currency->validity;
	if (kept[slot].from <= event_time && event_time < kept[slot].to &&
		kept[slot].currency_id == currency->currency_id && kept[slot].tz == currency->program->tz &&
		kept[slot].rounding == currency->rounding && kept[slot].date == currency->date &&
		memcmp(&kept[slot].validity, &validity, sizeof(Interval)) == 0)
	{
		*dates = kept[slot].dates;
		return;
	}

	compute(currency, event_time, dates, &day);
	kept[slot].currency_id = currency->currency_id;
	kept[slot].tz = currency->program->tz;
	kept[slot].validity = validity;
	kept[slot].rounding = currency->rounding;
	kept[slot].date = currency->date;
	kept[slot].from = local_midnight(currency->program, day);
	kept[slot].to = local_midnight(currency->program, day + 1);
	kept[slot].dates = *dates;
}

void
lot_dates(const Currency *currency, TimestampTz event_time, LotDates *dates)
{
	own_dates(currency, event_time, dates);
	dates->own_end = dates->expires_at;
	if (currency->activity != 0)
		dates->expires_at = LOT_ON_CLOCK;
	if (currency->confirm)
		dates->valid_from = DT_NOEND;
}

TimestampTz
clock_end(const Currency *currency, TimestampTz start)
{
	LotDates	dates;

	own_dates(currency, start, &dates);
	return dates.expires_at;
}

char *
end_print(TimestampTz end)
{
	struct pg_tm tm;
	fsec_t		fsec;

	if (end == DT_NOEND)
		return "infinity";
	if (timestamp2tm(end, NULL, &tm, &fsec, NULL, NULL) != 0)
		out_of_range();
	return psprintf("%04d-%02d-%02dT%02d:%02d:%02d.%06dZ", tm.tm_year, tm.tm_mon, tm.tm_mday,
					tm.tm_hour, tm.tm_min, tm.tm_sec, fsec);
}

bool
end_scan(const char *text, TimestampTz *end)
{
	struct pg_tm tm = {0};
	int			fsec;
	char	   *printed;

	if (sscanf(text, "%d-%d-%dT%d:%d:%d.%6dZ", &tm.tm_year, &tm.tm_mon, &tm.tm_mday,
			   &tm.tm_hour, &tm.tm_min, &tm.tm_sec, &fsec) == 7)
	{
		if (tm2timestamp(&tm, fsec, NULL, end) != 0)
			return false;
	}
	else
		*end = DT_NOEND;
	printed = end_print(*end);
	return strncmp(text, printed, strlen(printed)) == 0;
}
