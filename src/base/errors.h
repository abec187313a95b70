/*
 * errors.h
 *		The extension's own SQLSTATE class, LY.  docs/errors.md says when each
 *		is raised and what to do about it.
 *
 * Arithmetic and syntax errors of the value types use PostgreSQL's own codes
 * (22003, 22P02, ...), as any other type would.
 */
#ifndef LOYALTY_ERRORS_H
#define LOYALTY_ERRORS_H

#define LY_STATE(a, b, c)	MAKE_SQLSTATE('L', 'Y', a, b, c)

/* LY0xx: something named does not exist, or exists already */
#define ERRCODE_LY_UNKNOWN_PROGRAM		LY_STATE('0', '0', '1')
#define ERRCODE_LY_UNKNOWN_MEMBER		LY_STATE('0', '0', '2')
#define ERRCODE_LY_UNKNOWN_CURRENCY		LY_STATE('0', '0', '3')
#define ERRCODE_LY_UNKNOWN_ENTRY		LY_STATE('0', '0', '4')
#define ERRCODE_LY_UNKNOWN_RULE			LY_STATE('0', '0', '5')
#define ERRCODE_LY_UNKNOWN_SOURCE		LY_STATE('0', '0', '6')
#define ERRCODE_LY_DUPLICATE			LY_STATE('0', '0', '9')
#define ERRCODE_LY_UNKNOWN_CHECKPOINT	LY_STATE('0', '1', '0')
#define ERRCODE_LY_ARCHIVED				LY_STATE('0', '2', '0')
#define ERRCODE_LY_UNKNOWN_POOL			LY_STATE('0', '3', '0')

/* LY1xx: configuration that can't mean anything */
#define ERRCODE_LY_INVALID_PROGRAM		LY_STATE('1', '0', '1')
#define ERRCODE_LY_INVALID_RULE			LY_STATE('1', '0', '2')
#define ERRCODE_LY_INVALID_SOURCE		LY_STATE('1', '0', '3')
#define ERRCODE_LY_ALREADY_ATTACHED		LY_STATE('1', '0', '4')
#define ERRCODE_LY_INVALID_POOL			LY_STATE('1', '1', '0')

/* LY2xx: an event that can't be rated */
#define ERRCODE_LY_INVALID_AMOUNT		LY_STATE('2', '0', '1')
#define ERRCODE_LY_INVALID_EVENT		LY_STATE('2', '0', '2')
#define ERRCODE_LY_REFUND_BEYOND_EVENT	LY_STATE('2', '0', '3')
#define ERRCODE_LY_TRUNCATE_REFUSED		LY_STATE('2', '0', '4')
#define ERRCODE_LY_KEYS_EXCHANGED		LY_STATE('2', '0', '5')

/* LY3xx: a movement the ledger refuses */
#define ERRCODE_LY_INSUFFICIENT_POINTS	LY_STATE('3', '0', '1')
#define ERRCODE_LY_ACCOUNT_BLOCKED		LY_STATE('3', '0', '2')
#define ERRCODE_LY_GIVEBACK_BEYOND		LY_STATE('3', '0', '3')
#define ERRCODE_LY_INVALID_POINTS		LY_STATE('3', '0', '4')
#define ERRCODE_LY_REQUEST_REUSED		LY_STATE('3', '0', '5')
#define ERRCODE_LY_INVALID_TIME			LY_STATE('3', '0', '6')
#define ERRCODE_LY_ACCOUNT_FULL			LY_STATE('3', '0', '7')
#define ERRCODE_LY_CAPTURE_BEYOND		LY_STATE('3', '0', '8')
#define ERRCODE_LY_HOLD_EXPIRED			LY_STATE('3', '0', '9')
#define ERRCODE_LY_HOLD_RELEASED		LY_STATE('3', '1', '0')
#define ERRCODE_LY_TRANSFER_TO_SELF		LY_STATE('3', '1', '1')
#define ERRCODE_LY_EMPTY_REQUEST		LY_STATE('3', '1', '2')
#define ERRCODE_LY_NOT_PENDING			LY_STATE('3', '2', '1')
#define ERRCODE_LY_AWARD_REVERSED		LY_STATE('3', '2', '2')
#define ERRCODE_LY_AWARD_EXPIRED		LY_STATE('3', '2', '3')
#define ERRCODE_LY_NOT_LONGER			LY_STATE('3', '2', '4')
#define ERRCODE_LY_LOT_ENDED			LY_STATE('3', '2', '5')
#define ERRCODE_LY_MEMBER_MERGED		LY_STATE('3', '4', '0')
#define ERRCODE_LY_MEMBER_CLOSED		LY_STATE('3', '4', '1')
#define ERRCODE_LY_MERGE_WITH_SELF		LY_STATE('3', '4', '2')
#define ERRCODE_LY_POINTS_HELD			LY_STATE('3', '4', '3')
#define ERRCODE_LY_POINTS_LEFT			LY_STATE('3', '4', '4')
#define ERRCODE_LY_MEMBER_NOT_MERGED	LY_STATE('3', '4', '5')
#define ERRCODE_LY_MEMBER_NOT_CLOSED	LY_STATE('3', '4', '6')
#define ERRCODE_LY_POOL_CLOSED			LY_STATE('3', '6', '0')
#define ERRCODE_LY_NOT_IN_POOL			LY_STATE('3', '6', '1')
#define ERRCODE_LY_POOL_FORBIDDEN		LY_STATE('3', '6', '2')
#define ERRCODE_LY_IN_ANOTHER_POOL		LY_STATE('3', '6', '3')

/* LY4xx: somebody reaches past the engine's functions */
#define ERRCODE_LY_LEDGER_GUARDED		LY_STATE('4', '0', '1')
#define ERRCODE_LY_FOREIGN_TRIGGER		LY_STATE('4', '0', '2')
#define ERRCODE_LY_LEDGER_DAMAGED		LY_STATE('4', '0', '3')

/* LY5xx: a metric asked of data it is not defined for */
#define ERRCODE_LY_INVALID_SCORE		LY_STATE('5', '0', '1')
#define ERRCODE_LY_INVALID_METRIC		LY_STATE('5', '0', '2')

#endif							/* LOYALTY_ERRORS_H */
