/*
 * points.h
 *		Exact fixed-point numbers with four decimals, in 64 bits.
 *
 * Points are the count of ten-thousandths.  No operation rounds or wraps: it
 * is exact or it is an error.
 */
#ifndef LOYALTY_POINTS_H
#define LOYALTY_POINTS_H

#include "common/int.h"
#include "fmgr.h"
#include "utils/numeric.h"

typedef int64 Points;

#define POINTS_DECIMALS		4
#define POINTS_SCALE		INT64CONST(10000)
#define POINTS_MAX			PG_INT64_MAX
#define POINTS_MIN			PG_INT64_MIN
#define POINTS_MAXLEN		24	/* sign, digits, point, terminator */

#define DatumGetPoints(d)		((Points) DatumGetInt64(d))
#define PointsGetDatum(p)		Int64GetDatum(p)
#define PG_GETARG_POINTS(n)		DatumGetPoints(PG_GETARG_DATUM(n))
#define PG_RETURN_POINTS(p)		return PointsGetDatum(p)

/* Why a number is not a Points value. */
typedef enum PointsStatus
{
	POINTS_OK,
	POINTS_NOT_FINITE,			/* NaN or an infinity */
	POINTS_TOO_FINE,			/* more than four decimals */
	POINTS_OUT_OF_RANGE
} PointsStatus;

/* Never throws; *result is set only on POINTS_OK. */
extern PointsStatus points_from_numeric(Numeric number, Points *result);
extern PointsStatus points_from_int64(int64 number, Points *result);
extern Numeric points_to_numeric(Points points);

/*
 * Reads the text form.  False when it is not one; else *status says whether it
 * is a Points value, and *result is set only on POINTS_OK.
 */
extern bool points_parse(const char *str, PointsStatus *status, Points *result);

/* Writes the shortest exact text into buf (POINTS_MAXLEN bytes) and returns its length. */
extern int	points_print(Points points, char *buf);

/* 22003, as core's own integer types say it. */
extern _Noreturn void points_overflow(void);

static inline Points
points_add(Points a, Points b)
{
	Points		sum;

	if (unlikely(pg_add_s64_overflow(a, b, &sum)))
		points_overflow();
	return sum;
}

static inline Points
points_sub(Points a, Points b)
{
	Points		difference;

	if (unlikely(pg_sub_s64_overflow(a, b, &difference)))
		points_overflow();
	return difference;
}

#endif							/* LOYALTY_POINTS_H */
