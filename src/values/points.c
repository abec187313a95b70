/*
 * points.c
 *		The points type: exact fixed point with four decimals, in 64 bits.
 *
 * A value is the count of ten-thousandths.  It is stored, compared, hashed,
 * sent and received as that count, so everything that does not depend on the
 * scale is core's own int8 function under another name (see points.sql), and
 * only what does depend on it is here.
 *
 * Invariant: no function rounds or wraps.  A result that is not a points value
 * is an error.  The quotient and the average are of type numeric and carry as
 * many digits as numeric's own division gives them.
 *
 * Memory: results are palloc'd in the caller's context; an aggregate's state
 * lives in the aggregate's.
 */
#include "postgres.h"

#include <ctype.h>

#include "base/compat.h"
#include "libpq/pqformat.h"
#include "port/pg_bswap.h"
#include "utils/builtins.h"

#include "values/points.h"

/* Greatest magnitudes: |POINTS_MIN| is one more than POINTS_MAX. */
#define MAX_POSITIVE	((uint64) POINTS_MAX)
#define MAX_NEGATIVE	((uint64) POINTS_MAX + 1)

/* numeric's public wire format, as numeric_send() writes it */
#define WIRE_HEADER		4		/* ndigits, weight, sign, dscale: uint16 each */
#define WIRE_POS		0x0000
#define WIRE_NEG		0x4000
#define WIRE_BASE		10000

StaticAssertDecl(WIRE_BASE == POINTS_SCALE,
				 "a base-10000 digit of numeric is four decimals of points");

void
points_overflow(void)
{
	ereport(ERROR,
			(errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
			 errmsg("points out of range"),
			 errdetail("They go from -922337203685477.5808 to 922337203685477.5807.")));
}

static inline bool
points_from_magnitude(uint64 magnitude, bool negative, Points *result)
{
	if (magnitude > (negative ? MAX_NEGATIVE : MAX_POSITIVE))
		return false;
	*result = negative ? (Points) (UINT64CONST(0) - magnitude) : (Points) magnitude;
	return true;
}

/*
 * The wire format is the one public view of a numeric's digits, and it suits:
 * they are in base 10000, so that the one after the decimal point is exactly
 * our four decimals.  Reading them costs no more than core's own cast to
 * bigint does, and less than printing and parsing.
 */
PointsStatus
points_from_numeric(Numeric number, Points *result)
{
	bytea	   *wire = DatumGetByteaPP(DirectFunctionCall1(numeric_send, NumericGetDatum(number)));
	const char *fields = VARDATA_ANY(wire);
	PointsStatus status = POINTS_OK;
	uint64		magnitude = 0;
	uint16		header[WIRE_HEADER];
	int			ndigits;
	int			exponent;		/* of the next digit, in powers of 10000 points */

	memcpy(header, fields, sizeof(header));
	ndigits = pg_ntoh16(header[0]);
	exponent = (int16) pg_ntoh16(header[1]) + 1;
	fields += sizeof(header);

	if (pg_ntoh16(header[2]) != WIRE_POS && pg_ntoh16(header[2]) != WIRE_NEG)
		status = POINTS_NOT_FINITE;

	for (int i = 0; i < ndigits && status == POINTS_OK; i++, exponent--)
	{
		uint16		digit;

		memcpy(&digit, fields + i * sizeof(digit), sizeof(digit));
		digit = pg_ntoh16(digit);
		if (exponent < 0)
		{
			if (digit != 0)
				status = POINTS_TOO_FINE;
		}
		else if (pg_mul_u64_overflow(magnitude, WIRE_BASE, &magnitude) ||
				 pg_add_u64_overflow(magnitude, digit, &magnitude))
			status = POINTS_OUT_OF_RANGE;
	}

	/* trailing zero digits are not sent */
	for (; exponent >= 0 && magnitude != 0 && status == POINTS_OK; exponent--)
	{
		if (pg_mul_u64_overflow(magnitude, WIRE_BASE, &magnitude))
			status = POINTS_OUT_OF_RANGE;
	}

	if (status == POINTS_OK &&
		!points_from_magnitude(magnitude, pg_ntoh16(header[2]) == WIRE_NEG, result))
		status = POINTS_OUT_OF_RANGE;

	pfree(wire);
	return status;
}

PointsStatus
points_from_int64(int64 number, Points *result)
{
	Points		points;

	if (pg_mul_s64_overflow(number, POINTS_SCALE, &points))
		return POINTS_OUT_OF_RANGE;
	*result = points;
	return POINTS_OK;
}

/* Shows as many decimals as the value has, as the text form does. */
Numeric
points_to_numeric(Points points)
{
	int			decimals = POINTS_DECIMALS;

	if (points % POINTS_SCALE == 0)
		return int64_to_numeric(points / POINTS_SCALE);
	while (points % 10 == 0)
	{
		points /= 10;
		decimals--;
	}
	return int64_div_fast_to_numeric(points, decimals);
}

int
points_print(Points points, char *buf)
{
	uint64		magnitude = points < 0 ? UINT64CONST(0) - (uint64) points : (uint64) points;
	unsigned	fraction = magnitude % POINTS_SCALE;
	char	   *end = buf;

	if (points < 0)
		*end++ = '-';
	end += pg_ulltoa_n(magnitude / POINTS_SCALE, end);
	if (fraction != 0)
	{
		*end++ = '.';
		for (unsigned place = POINTS_SCALE / 10; fraction != 0; place /= 10)
		{
			*end++ = '0' + fraction / place;
			fraction %= place;
		}
	}
	*end = '\0';
	return end - buf;
}

/*
 * [blanks] [sign] digits [. digits] [blanks], with a digit on at least one
 * side of the point.
 */
bool
points_parse(const char *str, PointsStatus *status, Points *result)
{
	const char *ptr = str;
	uint64		magnitude = 0;
	bool		negative = false;
	bool		overflow = false;
	bool		too_fine = false;
	bool		any_digit = false;
	int			decimals = 0;

	while (isspace((unsigned char) *ptr))
		ptr++;
	if (*ptr == '-' || *ptr == '+')
		negative = (*ptr++ == '-');

	for (; isdigit((unsigned char) *ptr); ptr++)
	{
		any_digit = true;
		overflow |= pg_mul_u64_overflow(magnitude, 10, &magnitude);
		overflow |= pg_add_u64_overflow(magnitude, *ptr - '0', &magnitude);
	}
	if (*ptr == '.')
	{
		for (ptr++; isdigit((unsigned char) *ptr); ptr++)
		{
			any_digit = true;
			if (decimals == POINTS_DECIMALS)
			{
				too_fine |= (*ptr != '0');
				continue;
			}
			overflow |= pg_mul_u64_overflow(magnitude, 10, &magnitude);
			overflow |= pg_add_u64_overflow(magnitude, *ptr - '0', &magnitude);
			decimals++;
		}
	}
	while (isspace((unsigned char) *ptr))
		ptr++;
	if (!any_digit || *ptr != '\0')
		return false;

	for (; decimals < POINTS_DECIMALS; decimals++)
		overflow |= pg_mul_u64_overflow(magnitude, 10, &magnitude);

	if (overflow || !points_from_magnitude(magnitude, negative, result))
		*status = POINTS_OUT_OF_RANGE;
	else if (too_fine)
		*status = POINTS_TOO_FINE;
	else
		*status = POINTS_OK;
	return true;
}

PG_FUNCTION_INFO_V1(loyalty_points_in);
Datum
loyalty_points_in(PG_FUNCTION_ARGS)
{
	char	   *str = PG_GETARG_CSTRING(0);
	PointsStatus status;
	Points		result = 0;

	if (!points_parse(str, &status, &result))
		ereturn(fcinfo->context, (Datum) 0,
				(errcode(ERRCODE_INVALID_TEXT_REPRESENTATION),
				 errmsg("invalid input syntax for type %s: \"%s\"", "points", str)));
	if (status == POINTS_OUT_OF_RANGE)
		ereturn(fcinfo->context, (Datum) 0,
				(errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
				 errmsg("value \"%s\" is out of range for type %s", str, "points"),
				 errdetail("They go from -922337203685477.5808 to 922337203685477.5807.")));
	if (status == POINTS_TOO_FINE)
		ereturn(fcinfo->context, (Datum) 0,
				(errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
				 errmsg("value \"%s\" has more than %d decimals", str, POINTS_DECIMALS),
				 errdetail("Points are never rounded silently.")));
	PG_RETURN_POINTS(result);
}

PG_FUNCTION_INFO_V1(loyalty_points_out);
Datum
loyalty_points_out(PG_FUNCTION_ARGS)
{
	char	   *str = palloc(POINTS_MAXLEN);

	points_print(PG_GETARG_POINTS(0), str);
	PG_RETURN_CSTRING(str);
}

/* The text of a points value is a JSON number as it stands. */
PG_FUNCTION_INFO_V1(loyalty_points_to_json);
Datum
loyalty_points_to_json(PG_FUNCTION_ARGS)
{
	char		str[POINTS_MAXLEN];
	int			len = points_print(PG_GETARG_POINTS(0), str);

	PG_RETURN_TEXT_P(cstring_to_text_with_len(str, len));
}

/*
 * Casts
 */

PG_FUNCTION_INFO_V1(loyalty_points_from_int2);
Datum
loyalty_points_from_int2(PG_FUNCTION_ARGS)
{
	PG_RETURN_POINTS(PG_GETARG_INT16(0) * POINTS_SCALE);
}

PG_FUNCTION_INFO_V1(loyalty_points_from_int4);
Datum
loyalty_points_from_int4(PG_FUNCTION_ARGS)
{
	PG_RETURN_POINTS(PG_GETARG_INT32(0) * POINTS_SCALE);
}

PG_FUNCTION_INFO_V1(loyalty_points_from_int8);
Datum
loyalty_points_from_int8(PG_FUNCTION_ARGS)
{
	Points		result;

	if (points_from_int64(PG_GETARG_INT64(0), &result) != POINTS_OK)
		points_overflow();
	PG_RETURN_POINTS(result);
}

PG_FUNCTION_INFO_V1(loyalty_points_from_numeric);
Datum
loyalty_points_from_numeric(PG_FUNCTION_ARGS)
{
	Points		result = 0;

	switch (points_from_numeric(PG_GETARG_NUMERIC(0), &result))
	{
		case POINTS_OK:
			break;
		case POINTS_NOT_FINITE:
			ereport(ERROR,
					(errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
					 errmsg("cannot convert NaN or infinity to points")));
			break;
		case POINTS_TOO_FINE:
			ereport(ERROR,
					(errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
					 errmsg("number has more than %d decimals", POINTS_DECIMALS),
					 errdetail("Points are never rounded silently."),
					 errhint("Round it as you mean it, for example with floor(n) or round(n, %d).",
							 POINTS_DECIMALS)));
			break;
		case POINTS_OUT_OF_RANGE:
			points_overflow();
			break;
	}
	PG_RETURN_POINTS(result);
}

PG_FUNCTION_INFO_V1(loyalty_points_to_numeric);
Datum
loyalty_points_to_numeric(PG_FUNCTION_ARGS)
{
	PG_RETURN_NUMERIC(points_to_numeric(PG_GETARG_POINTS(0)));
}

PG_FUNCTION_INFO_V1(loyalty_points_to_int8);
Datum
loyalty_points_to_int8(PG_FUNCTION_ARGS)
{
	Points		points = PG_GETARG_POINTS(0);

	if (points % POINTS_SCALE != 0)
		ereport(ERROR,
				(errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
				 errmsg("points are not a whole number"),
				 errdetail("Points are never rounded silently."),
				 errhint("Round them as you mean it, for example with floor(p) or round(p).")));
	PG_RETURN_INT64(points / POINTS_SCALE);
}

/*
 * Arithmetic
 */

PG_FUNCTION_INFO_V1(loyalty_points_add);
Datum
loyalty_points_add(PG_FUNCTION_ARGS)
{
	PG_RETURN_POINTS(points_add(PG_GETARG_POINTS(0), PG_GETARG_POINTS(1)));
}

PG_FUNCTION_INFO_V1(loyalty_points_sub);
Datum
loyalty_points_sub(PG_FUNCTION_ARGS)
{
	PG_RETURN_POINTS(points_sub(PG_GETARG_POINTS(0), PG_GETARG_POINTS(1)));
}

static Points
points_mul(Points points, int64 factor)
{
	Points		product;

	if (unlikely(pg_mul_s64_overflow(points, factor, &product)))
		points_overflow();
	return product;
}

PG_FUNCTION_INFO_V1(loyalty_points_mul_int8);
Datum
loyalty_points_mul_int8(PG_FUNCTION_ARGS)
{
	PG_RETURN_POINTS(points_mul(PG_GETARG_POINTS(0), PG_GETARG_INT64(1)));
}

PG_FUNCTION_INFO_V1(loyalty_points_int8_mul);
Datum
loyalty_points_int8_mul(PG_FUNCTION_ARGS)
{
	PG_RETURN_POINTS(points_mul(PG_GETARG_POINTS(1), PG_GETARG_INT64(0)));
}

/* As if both were numeric, so that it is the same number whoever divides. */
PG_FUNCTION_INFO_V1(loyalty_points_div);
Datum
loyalty_points_div(PG_FUNCTION_ARGS)
{
	return DirectFunctionCall2(numeric_div,
							   NumericGetDatum(points_to_numeric(PG_GETARG_POINTS(0))),
							   NumericGetDatum(points_to_numeric(PG_GETARG_POINTS(1))));
}

PG_FUNCTION_INFO_V1(loyalty_points_neg);
Datum
loyalty_points_neg(PG_FUNCTION_ARGS)
{
	PG_RETURN_POINTS(points_sub(0, PG_GETARG_POINTS(0)));
}

PG_FUNCTION_INFO_V1(loyalty_points_abs);
Datum
loyalty_points_abs(PG_FUNCTION_ARGS)
{
	Points		points = PG_GETARG_POINTS(0);

	PG_RETURN_POINTS(points < 0 ? points_sub(0, points) : points);
}

/*
 * sum and avg
 *
 * The total is a 128-bit two's complement number in two words: no number of
 * rows can overflow it, it needs no compiler's 128-bit type, and adding and
 * taking away are exact inverses, which is what moving windows need.
 */
typedef struct PointsTotal
{
	int64		count;			/* of values that are not NULL */
	int64		high;
	uint64		low;
} PointsTotal;

#define TOTAL_WIRE_VERSION	1

static void
total_add(PointsTotal *total, int64 high, uint64 low)
{
	total->low += low;
	total->high = (int64) ((uint64) total->high + (uint64) high + (total->low < low));
}

static void
total_sub(PointsTotal *total, int64 high, uint64 low)
{
	bool		borrow = total->low < low;

	total->low -= low;
	total->high = (int64) ((uint64) total->high - (uint64) high - borrow);
}

/* The high word of a 64-bit number is its sign. */
static inline int64
sign_word(Points points)
{
	return points < 0 ? -1 : 0;
}

static bool
total_fits(const PointsTotal *total)
{
	return total->high == sign_word((Points) total->low);
}

static Numeric
total_to_numeric(const PointsTotal *total)
{
	Datum		word = NumericGetDatum(int64_to_numeric(INT64CONST(1) << 32));
	Datum		sum;

	if (total_fits(total))
		return points_to_numeric((Points) total->low);

	/* high * 2^64 + low, by Horner in words of 32 bits, then to points */
	sum = NumericGetDatum(int64_to_numeric(total->high));
	for (int shift = 32; shift >= 0; shift -= 32)
	{
		int64		bits = (total->low >> shift) & UINT64CONST(0xFFFFFFFF);

		sum = DirectFunctionCall2(numeric_add,
								  DirectFunctionCall2(numeric_mul, sum, word),
								  NumericGetDatum(int64_to_numeric(bits)));
	}
	return DatumGetNumeric(DirectFunctionCall2(numeric_mul, sum,
											   NumericGetDatum(int64_div_fast_to_numeric(1, POINTS_DECIMALS))));
}

static MemoryContext
aggregate_context(FunctionCallInfo fcinfo)
{
	MemoryContext context;

	if (!AggCheckCallContext(fcinfo, &context))
		elog(ERROR, "aggregate support function called in non-aggregate context");
	return context;
}

static PointsTotal *
total_argument(FunctionCallInfo fcinfo, int n)
{
	return PG_ARGISNULL(n) ? NULL : (PointsTotal *) PG_GETARG_POINTER(n);
}

PG_FUNCTION_INFO_V1(loyalty_points_accum);
Datum
loyalty_points_accum(PG_FUNCTION_ARGS)
{
	MemoryContext context = aggregate_context(fcinfo);
	PointsTotal *total = total_argument(fcinfo, 0);

	if (total == NULL)
		total = MemoryContextAllocZero(context, sizeof(PointsTotal));
	if (!PG_ARGISNULL(1))
	{
		Points		points = PG_GETARG_POINTS(1);

		total_add(total, sign_word(points), (uint64) points);
		total->count++;
	}
	PG_RETURN_POINTER(total);
}

PG_FUNCTION_INFO_V1(loyalty_points_accum_inv);
Datum
loyalty_points_accum_inv(PG_FUNCTION_ARGS)
{
	PointsTotal *total = total_argument(fcinfo, 0);

	(void) aggregate_context(fcinfo);
	if (total == NULL)
		elog(ERROR, "points_accum_inv called with NULL state");
	if (!PG_ARGISNULL(1))
	{
		Points		points = PG_GETARG_POINTS(1);

		total_sub(total, sign_word(points), (uint64) points);
		total->count--;
	}
	PG_RETURN_POINTER(total);
}

PG_FUNCTION_INFO_V1(loyalty_points_combine);
Datum
loyalty_points_combine(PG_FUNCTION_ARGS)
{
	MemoryContext context = aggregate_context(fcinfo);
	PointsTotal *total = total_argument(fcinfo, 0);
	PointsTotal *other = total_argument(fcinfo, 1);

	if (total == NULL)
		total = MemoryContextAllocZero(context, sizeof(PointsTotal));
	if (other != NULL)
	{
		total_add(total, other->high, other->low);
		total->count += other->count;
	}
	PG_RETURN_POINTER(total);
}

PG_FUNCTION_INFO_V1(loyalty_points_serialize);
Datum
loyalty_points_serialize(PG_FUNCTION_ARGS)
{
	PointsTotal *total = (PointsTotal *) PG_GETARG_POINTER(0);
	StringInfoData buf;

	(void) aggregate_context(fcinfo);
	pq_begintypsend(&buf);
	pq_sendbyte(&buf, TOTAL_WIRE_VERSION);
	pq_sendint64(&buf, total->count);
	pq_sendint64(&buf, total->high);
	pq_sendint64(&buf, total->low);
	PG_RETURN_BYTEA_P(pq_endtypsend(&buf));
}

PG_FUNCTION_INFO_V1(loyalty_points_deserialize);
Datum
loyalty_points_deserialize(PG_FUNCTION_ARGS)
{
	bytea	   *bytes = PG_GETARG_BYTEA_PP(0);
	PointsTotal *total = palloc(sizeof(PointsTotal));
	StringInfoData buf;

	(void) aggregate_context(fcinfo);
	initStringInfo(&buf);
	appendBinaryStringInfo(&buf, VARDATA_ANY(bytes), VARSIZE_ANY_EXHDR(bytes));
	if (pq_getmsgbyte(&buf) != TOTAL_WIRE_VERSION)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_BINARY_REPRESENTATION),
				 errmsg("unsupported version of a points total")));
	total->count = pq_getmsgint64(&buf);
	total->high = pq_getmsgint64(&buf);
	total->low = pq_getmsgint64(&buf);
	pq_getmsgend(&buf);
	pfree(buf.data);
	PG_RETURN_POINTER(total);
}

PG_FUNCTION_INFO_V1(loyalty_points_sum);
Datum
loyalty_points_sum(PG_FUNCTION_ARGS)
{
	PointsTotal *total = total_argument(fcinfo, 0);

	(void) aggregate_context(fcinfo);
	if (total == NULL || total->count == 0)
		PG_RETURN_NULL();
	if (!total_fits(total))
		points_overflow();
	PG_RETURN_POINTS((Points) total->low);
}

PG_FUNCTION_INFO_V1(loyalty_points_avg);
Datum
loyalty_points_avg(PG_FUNCTION_ARGS)
{
	PointsTotal *total = total_argument(fcinfo, 0);

	(void) aggregate_context(fcinfo);
	if (total == NULL || total->count == 0)
		PG_RETURN_NULL();
	return DirectFunctionCall2(numeric_div,
							   NumericGetDatum(total_to_numeric(total)),
							   NumericGetDatum(int64_to_numeric(total->count)));
}
