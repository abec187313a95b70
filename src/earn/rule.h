/*
 * rule.h
 *		Rating: what an event earns by the rules in force when it happened.
 */
#ifndef LOYALTY_RULE_H
#define LOYALTY_RULE_H

#include "ledger/program.h"

typedef enum RuleRounding
{
	RULE_FLOOR,
	RULE_CEIL,
	RULE_HALF_UP,
	RULE_HALF_EVEN
} RuleRounding;

typedef enum RuleReversal
{
	REVERSAL_PROPORTIONAL,
	REVERSAL_ALL_OR_NOTHING,
	REVERSAL_NEVER
} RuleReversal;

/* One version of a rule, compiled. */
typedef struct Rule
{
	int32		rule_id;
	int32		program_id;
	const Currency *currency;
	char	   *kind;			/* NULL: any */
	int64		factor;			/* points per unit, in billionths; 0: a bonus */
	Points		bonus;
	RuleRounding rounding;
	bool		by_event;		/* rounds once an event, not once a line */
	RuleReversal reversal;
	TimestampTz valid_from;		/* inclusive, exclusive */
	TimestampTz valid_to;
} Rule;

/* What the rating function sees of an event. */
typedef struct RatedEvent
{
	const char *kind;
	TimestampTz event_time;
	Points		base;
	Points		refunded;
} RatedEvent;

/*
 * Which rules rate the event, in order of their ids: a pure function of its
 * arguments.  Answers how many; *matches points to as many rules.
 */
extern int	rules_for(int32 program_id, const RatedEvent *event, const Rule ***matches);
extern const Rule *rule_by_id(int32 rule_id);

/* The currencies the program's rules give or gave, its default one first. */
extern int	rule_currencies(int32 program_id, const Currency ***currencies);

/* The points a rule gives for that base, less what is refunded of it.  False: they are beyond what can be counted. */
extern bool rule_points(const Rule *rule, Points base, Points refunded, Points *points);

#endif							/* LOYALTY_RULE_H */
