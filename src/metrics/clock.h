/*
 * clock.h
 *		How an instant becomes the number of a unit of time: a day, week, month or
 *		hour of some time zone.
 *
 * Several days are counted from Monday 2000-01-03, months from January, lengths of
 * clock time from 2000-01-03 00:00 UTC, unless the clock has an origin of its own.
 * The zone is part of the clock and never the session's; a clock with the zone ""
 * takes times as they are written.
 *
 * Clocks belong to the fn_mcxt of the function that made them, and hang on its
 * fn_extra: they outlive all states of an aggregate.
 */
#ifndef LOYALTY_CLOCK_H
#define LOYALTY_CLOCK_H

#include "datatype/timestamp.h"
#include "fmgr.h"
#include "pgtime.h"
#include "utils/date.h"

/* Monday 2000-01-03 */
#define CLOCK_ORIGIN		(2 * USECS_PER_DAY)

#define ZONE_SPANS			8

/* A stretch of time with one offset from UTC: [from, until). */
typedef struct ZoneSpan
{
	TimestampTz from;
	TimestampTz until;
	int64		offset;
} ZoneSpan;

typedef struct Clock
{
	struct Clock *next;
	Interval	unit;
	char		zone[TZ_STRLEN_MAX + 1];	/* "" if times are local already */
	pg_tz	   *tz;				/* NULL if the offset never changes */
	int64		offset;			/* then: of local time from UTC */
	ZoneSpan	spans[ZONE_SPANS];	/* else: those met last */
	int			nspans;
	int			next_span;
	Timestamp	origin;			/* local time; DT_NOBEGIN for the one above */
	int64		start;			/* the origin, as clock_unit() needs it for this kind of unit: ... */
	int64		shift;			/* ... days and clock time; months and the microseconds into them */
	TimestampTz as_of;			/* for the caller: met last, and its unit */
	int64		as_of_unit;
} Clock;

static inline int64
floor_div(int64 a, int64 b)
{
	int64		quotient = a / b;

	return quotient - (a % b < 0);
}

static inline bool
clock_same_unit(const Clock *clock, const Interval *unit)
{
	return clock->unit.time == unit->time && clock->unit.day == unit->day &&
		clock->unit.month == unit->month;
}

static inline bool
clock_same(const Clock *a, const Clock *b)
{
	return a == b ||
		(clock_same_unit(a, &b->unit) && a->origin == b->origin && strcmp(a->zone, b->zone) == 0);
}

/* The clock of this unit and zone, from those the function has met before. */
extern Clock *clock_find(FmgrInfo *flinfo, const Interval *unit, const char *zone);

/* A new one, of an origin; nobody's list has it.  Throws for what is no unit, zone or origin. */
extern Clock *clock_make(MemoryContext context, const Interval *unit, const char *zone,
						 Timestamp origin);

/* The number of the unit that holds t. */
extern int64 clock_unit(Clock *clock, TimestampTz t);

/* When a unit begins, in local time. */
extern Timestamp clock_unit_start(Clock *clock, int64 unit);

extern Timestamp clock_local(Clock *clock, TimestampTz t);

/* A date's beginning, infinite ones stay so.  Throws for what no timestamp can be. */
extern Timestamp clock_midnight(DateADT date);

/* How many whole units lie between two instants, if they are counted from the first. */
extern int64 clock_units_since(Clock *clock, TimestampTz first, TimestampTz t);

#endif							/* LOYALTY_CLOCK_H */
