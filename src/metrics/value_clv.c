/*
 * value_clv.c
 *		Customer lifetime value under contract: so much a period, a constant
 *		retention, a discount.
 *
 * Fader & Hardie (2012), note 024, brucehardie.com, for the three cases.
 */
#include "postgres.h"

#include <math.h>

#include "utils/builtins.h"
#include "utils/float.h"

PG_FUNCTION_INFO_V1(loyalty_value_contractual_clv);
PG_FUNCTION_INFO_V1(loyalty_value_discounted_clv);
PG_FUNCTION_INFO_V1(loyalty_value_period_discount);

typedef struct Contract
{
	double		margin;
	double		retention;
	double		discount;
	double		first;			/* what the first payment that counts is worth, per unit of margin */
	double		gap;			/* 1 - retention / (1 + discount) */
} Contract;

/* From the arguments: margin is the first, the others where they are said to be. */
static Contract
get_contract(FunctionCallInfo fcinfo, int retention, int discount, int timing)
{
	Contract	c;
	char	   *name = text_to_cstring(PG_GETARG_TEXT_PP(timing));

	c.margin = PG_GETARG_FLOAT8(0);
	c.retention = PG_GETARG_FLOAT8(retention);
	c.discount = PG_GETARG_FLOAT8(discount);
	if (!isfinite(c.margin))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("the margin of a period must be finite")));
	if (!(c.retention >= 0.0 && c.retention <= 1.0))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("retention must lie between 0 and 1"),
				 errhint("Give 0.8 where 80 %% renew.")));
	if (!(c.discount >= 0.0) || isinf(c.discount))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("discount must be finite and not negative"),
				 errhint("Give 0.01 for 1 %% a period.")));

	c.gap = (c.discount + (1.0 - c.retention)) / (1.0 + c.discount);
	if (strcmp(name, "begin") == 0)
		c.first = 1.0;
	else if (strcmp(name, "residual") == 0)
		c.first = c.retention / (1.0 + c.discount);
	else if (strcmp(name, "end") == 0)
		c.first = 1.0 / (1.0 + c.discount);
	else
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("unknown timing \"%s\"", name),
				 errhint("It is \"begin\" (paid when a period begins), \"residual\" (the same without the payment due now) or \"end\" (paid when a period ends).")));
	return c;
}

static Datum
return_value(double value)
{
	if (isinf(value))
		float_overflow_error();
	PG_RETURN_FLOAT8(value);
}

/* contractual_clv(margin, retention, discount, timing): a geometric series without end */
Datum
loyalty_value_contractual_clv(PG_FUNCTION_ARGS)
{
	Contract	c = get_contract(fcinfo, 1, 2, 3);

	if (c.gap <= 0.0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("a customer who never leaves, undiscounted, has no finite value"),
				 errhint("Give a discount, or use discounted_clv with a number of periods.")));
	return return_value(c.margin * c.first / c.gap);
}

/* discounted_clv(margin, periods, retention, discount, timing): the same over so many periods */
Datum
loyalty_value_discounted_clv(PG_FUNCTION_ARGS)
{
	int32		periods = PG_GETARG_INT32(1);
	Contract	c = get_contract(fcinfo, 2, 3, 4);
	double		payments;

	if (periods < 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("periods must not be negative")));
	if (c.gap <= 0.0 || periods == 0)
		payments = periods;
	else
		payments = -expm1(periods * log1p(-c.gap)) / c.gap;
	return return_value(c.margin * c.first * payments);
}

/* period_discount(annual, periods per year): (1 + D)^(1/n) - 1 */
Datum
loyalty_value_period_discount(PG_FUNCTION_ARGS)
{
	double		annual = PG_GETARG_FLOAT8(0);
	double		periods = PG_GETARG_FLOAT8(1);

	if (!(annual >= 0.0) || isinf(annual) || !(periods > 0.0) || isinf(periods))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("the annual discount must be finite and not negative, and the periods per year positive")));
	return return_value(expm1(log1p(annual) / periods));
}
