/*
 * wallet.c
 *		Share of wallet, measured, and as the Wallet Allocation Rule estimates it
 *		from ranks.
 */
#include "postgres.h"

#include <math.h>

#include "catalog/pg_type_d.h"
#include "miscadmin.h"
#include "utils/array.h"

#include "base/errors.h"
#include "metrics/tally.h"

enum
{
	OWN,
	CATEGORY,
	SHARES
};

static const char *wallet_contradiction(const Tally *tally);

static const TallyType wallet_type = {
	"wallet_summary", 1, 1, {"members"}, 3, {"own", "category", "shares"}, wallet_contradiction
};

PG_FUNCTION_INFO_V1(loyalty_wallet_in);
PG_FUNCTION_INFO_V1(loyalty_wallet_out);
PG_FUNCTION_INFO_V1(loyalty_wallet_recv);
PG_FUNCTION_INFO_V1(loyalty_wallet_send);
PG_FUNCTION_INFO_V1(loyalty_wallet_accum);
PG_FUNCTION_INFO_V1(loyalty_wallet_combine);
PG_FUNCTION_INFO_V1(loyalty_wallet_final);
PG_FUNCTION_INFO_V1(loyalty_wallet_members);
PG_FUNCTION_INFO_V1(loyalty_wallet_own);
PG_FUNCTION_INFO_V1(loyalty_wallet_category);
PG_FUNCTION_INFO_V1(loyalty_wallet_share);
PG_FUNCTION_INFO_V1(loyalty_wallet_mean_share);
PG_FUNCTION_INFO_V1(loyalty_wallet_allocation);
PG_FUNCTION_INFO_V1(loyalty_wallet_allocations);

/* Sums of what was in order may be off by their rounding. */
#define SLACK	(1.0 + 1e-9)

static const char *
wallet_contradiction(const Tally *tally)
{
	if (tally->sum[OWN].high < 0.0 || tally->sum[OWN].high > tally->sum[CATEGORY].high * SLACK)
		return "The own spend must lie between 0 and the category's.";
	if (tally->sum[SHARES].high < 0.0 ||
		tally->sum[SHARES].high > (double) tally->count[0] * SLACK)
		return "The sum of the shares must lie between 0 and the number of members.";
	if (tally->count[0] > 0 && tally->sum[CATEGORY].high == 0.0)
		return "Members have a category spend above 0.";
	return NULL;
}

Datum
loyalty_wallet_in(PG_FUNCTION_ARGS)
{
	return tally_in(fcinfo, &wallet_type);
}

Datum
loyalty_wallet_out(PG_FUNCTION_ARGS)
{
	return tally_out(fcinfo, &wallet_type);
}

Datum
loyalty_wallet_recv(PG_FUNCTION_ARGS)
{
	return tally_recv(fcinfo, &wallet_type);
}

Datum
loyalty_wallet_send(PG_FUNCTION_ARGS)
{
	return tally_send(fcinfo, &wallet_type);
}

/* A member who spends nothing in the category has no wallet to take a share of. */
Datum
loyalty_wallet_accum(PG_FUNCTION_ARGS)
{
	double		own = PG_GETARG_FLOAT8(1);
	double		category = PG_GETARG_FLOAT8(2);
	Tally	   *state;

	if (unlikely(!(own >= 0.0 && own <= category) || isinf(category)))
		ereport(ERROR,
				(errcode(ERRCODE_LY_INVALID_METRIC),
				 errmsg("the own spend must lie between 0 and the category's"),
				 errdetail("The category's spend is all that a member spends in it, what is spent here included, and finite."),
				 errhint("Leave other rows out with FILTER (WHERE ...), or pass NULL.")));
	state = tally_get_state(fcinfo, &wallet_type);
	if (category > 0.0)
	{
		state->count[0]++;
		sum_add(&state->sum[OWN], own);
		sum_add(&state->sum[CATEGORY], category);
		sum_add(&state->sum[SHARES], own / category);
	}
	PG_RETURN_POINTER(state);
}

Datum
loyalty_wallet_combine(PG_FUNCTION_ARGS)
{
	return tally_add(fcinfo, &wallet_type);
}

Datum
loyalty_wallet_final(PG_FUNCTION_ARGS)
{
	return tally_final(fcinfo, &wallet_type);
}

Datum
loyalty_wallet_members(PG_FUNCTION_ARGS)
{
	return tally_count(fcinfo, &wallet_type, 0);
}

Datum
loyalty_wallet_own(PG_FUNCTION_ARGS)
{
	return tally_sum(fcinfo, &wallet_type, OWN);
}

Datum
loyalty_wallet_category(PG_FUNCTION_ARGS)
{
	return tally_sum(fcinfo, &wallet_type, CATEGORY);
}

/* Also the final function of share_of_wallet(own, category). */
Datum
loyalty_wallet_share(PG_FUNCTION_ARGS)
{
	Tally	   *tally = tally_get_arg(fcinfo, 0, &wallet_type);

	return tally_ratio(fcinfo, sum_total(tally->sum[OWN]), sum_total(tally->sum[CATEGORY]));
}

Datum
loyalty_wallet_mean_share(PG_FUNCTION_ARGS)
{
	Tally	   *tally = tally_get_arg(fcinfo, 0, &wallet_type);

	return tally_ratio(fcinfo, sum_total(tally->sum[SHARES]), (double) tally->count[0]);
}


/* ----- the Wallet Allocation Rule (Keiningham, Aksoy, Williams & Buoye 2015) ----- */

static inline double
allocation(double rank, double brands)
{
	return (1.0 - rank / (brands + 1.0)) * (2.0 / brands);
}

/* wallet_allocation(rank, brands) */
Datum
loyalty_wallet_allocation(PG_FUNCTION_ARGS)
{
	double		rank = PG_GETARG_FLOAT8(0);
	int32		brands = PG_GETARG_INT32(1);

	if (brands < 1 || !(rank >= 1.0 && rank <= (double) brands))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("the rank must lie between 1 and the number of brands"),
				 errdetail("It is the rank among the brands that the customer uses, 1 for the best; ties have their mean rank.")));
	PG_RETURN_FLOAT8(allocation(rank, (double) brands));
}

/* wallet_allocation(ratings): the brands' shares, NULL for those not rated */
Datum
loyalty_wallet_allocations(PG_FUNCTION_ARGS)
{
	ArrayType  *array = PG_GETARG_ARRAYTYPE_P(0);
	Datum	   *ratings;
	Datum	   *shares;
	bool	   *unused;
	int			n;
	int			brands = 0;

	if (ARR_NDIM(array) > 1)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("ratings must be a list of numbers")));
	deconstruct_array(array, FLOAT8OID, sizeof(float8), FLOAT8PASSBYVAL, TYPALIGN_DOUBLE,
					  &ratings, &unused, &n);
	for (int i = 0; i < n; i++)
	{
		if (unused[i])
			continue;
		if (isnan(DatumGetFloat8(ratings[i])))
			ereport(ERROR,
					(errcode(ERRCODE_LY_INVALID_METRIC),
					 errmsg("a rating must not be NaN")));
		brands++;
	}

	shares = palloc0(n * sizeof(Datum) + 1);
	for (int i = 0; i < n; i++)
	{
		int			better = 0;
		int			equal = 0;

		CHECK_FOR_INTERRUPTS();
		if (unused[i])
			continue;
		for (int j = 0; j < n; j++)
		{
			if (unused[j])
				continue;
			better += DatumGetFloat8(ratings[j]) > DatumGetFloat8(ratings[i]);
			equal += DatumGetFloat8(ratings[j]) == DatumGetFloat8(ratings[i]);
		}
		/* the mean of ranks better + 1 to better + equal */
		shares[i] = Float8GetDatum(allocation(better + 0.5 * (equal + 1), brands));
	}
	PG_RETURN_ARRAYTYPE_P(construct_md_array(shares, unused, ARR_NDIM(array), ARR_DIMS(array),
											 ARR_LBOUND(array), FLOAT8OID, sizeof(float8),
											 FLOAT8PASSBYVAL, TYPALIGN_DOUBLE));
}
