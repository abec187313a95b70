/*
 * program.h
 *		Programs, currencies and members as the engine reads them.
 */
#ifndef LOYALTY_PROGRAM_H
#define LOYALTY_PROGRAM_H

#include "pgtime.h"
#include "utils/date.h"
#include "utils/timestamp.h"

#include "base/table.h"
#include "values/points.h"
#include "values/tier.h"

typedef enum ValidityRounding
{
	ROUND_DAY = 0,
	ROUND_MONTH = 1,			/* the values are months of the year's division */
	ROUND_QUARTER = 3,
	ROUND_HALF_YEAR = 6,
	ROUND_YEAR = 12,
	ROUND_DATE = 13				/* of the year */
} ValidityRounding;

typedef enum DebtPolicy
{
	DEBT_FORGIVE,
	DEBT_NEGATIVE,
	DEBT_BLOCK
} DebtPolicy;

/* What restarts the clock by which a member's points end, as bits; none: they end by dates of their own. */
enum
{
	ACTIVITY_EARN = 1,
	ACTIVITY_REDEEM = 2,
	ACTIVITY_TRANSFER = 4
};

typedef enum TierMetric
{
	TIER_BY_POINTS,
	TIER_BY_SPEND,
	TIER_BY_VISITS
} TierMetric;

typedef enum TierWindow
{
	TIER_LIFETIME,
	TIER_CALENDAR,
	TIER_ANNIVERSARY,
	TIER_ROLLING
} TierWindow;

typedef enum TierDown
{
	TIER_REQUALIFY,
	TIER_ONE_STEP,
	TIER_NEVER
} TierDown;

typedef struct Program
{
	int32		program_id;
	char	   *code;
	pg_tz	   *tz;
	Ladder	   *ladder;			/* NULL: no tiers */
	TierMetric	tier_metric;
	TierWindow	tier_window;
	Interval	tier_period;
	TierDown	tier_down;
	Interval	tier_grace;
} Program;

typedef struct Currency
{
	int32		currency_id;
	const Program *program;
	char	   *code;
	bool		is_default;
	int			decimals;
	Points		unit;			/* the smallest award: 10^-decimals */
	Interval   *validity;		/* NULL: never expires */
	ValidityRounding rounding;
	int			date;			/* of ROUND_DATE: month * 100 + day */
	Interval   *pending;		/* NULL: live at once */
	bool		pending_counts; /* to the tier */
	DebtPolicy	debt;
	bool		confirm;		/* awards can't be spent until they are confirmed */
	bool		may_wait;		/* some may be there that wait: it does so, or may have before it was changed */
	int			activity;
} Currency;

extern const Program *program_by_code(const text *code);	/* LY001; 42501 */

/*
 * The same for what concerns that member alone: a role that is confined to
 * members may do it for its own, and nothing that asks for the program only.
 */
extern const Program *program_of_member(const text *code, const text *key);

/* Refuses a role that is confined to other programs (42501).  For what users name by another thing than its program. */
extern void program_check_access(int32 program_id);

extern void program_init(void);

/* Whether any role is: without one there is nothing to check. */
extern bool somebody_confined(void);

/* LY002 */
extern _Noreturn void refuse_unknown_member(const Program *program);
extern const Program *program_by_id(int32 program_id);
extern const Currency *currency_by_id(int32 currency_id);

/* The currency of that code, the default one for NULL; LY003. */
extern const Currency *program_currency(const Program *program, const text *code);

/* Columns of loyalty.member */
enum
{
	MEMBER_ID = 1,
	MEMBER_PROGRAM,
	MEMBER_KEY,
	MEMBER_ENROLLED_AT,
	MEMBER_NATTS = MEMBER_ENROLLED_AT
};

extern TimestampTz member_enrolled_at(int64 member_id);

/* When a lot lives, and the month it is issued in. */
typedef struct LotDates
{
	TimestampTz valid_from;		/* -infinity: from the start; infinity: once confirmed */
	TimestampTz expires_at;		/* infinity: never; LOT_ON_CLOCK */
	DateADT		issued;			/* first day of the month, in the program's zone */
	TimestampTz own_end;		/* for LOT_ON_CLOCK: of a clock that starts with them */
} LotDates;

/* Stands for the end of lots that end when the account's clock does: the last finite moment. */
#define LOT_ON_CLOCK	(END_TIMESTAMP - 1)

extern void lot_dates(const Currency *currency, TimestampTz event_time, LotDates *dates);

/* When a clock ends that starts then. */
extern TimestampTz clock_end(const Currency *currency, TimestampTz start);

/* As extensions write an end: in UTC and as wide as any other, so that texts sort as times do. */
extern char *end_print(TimestampTz end);
extern bool end_scan(const char *text, TimestampTz *end);	/* of what begins with one; false: it does not */

/* The instant of a local midnight, and a local date moved by an interval's months and days. */
extern TimestampTz local_midnight(const Program *program, int julian_day);
extern int	local_day(const Program *program, TimestampTz instant);
extern int	day_plus(int julian_day, const Interval *interval, int sign);

/* As the server's own timestamptz + interval, but the session's time zone has no say. */
extern TimestampTz timestamptz_plus(const Program *program, TimestampTz instant, const Interval *interval);

#endif							/* LOYALTY_PROGRAM_H */
