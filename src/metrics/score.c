/*
 * score.c
 *		RFM scores and segments.
 *
 * rfm_score() is a window function like cume_dist(), but counts in whole
 * numbers: ceil(5 * 0.6) is not left to rounding.
 */
#include "postgres.h"

#include <math.h>

#include "catalog/pg_type_d.h"
#include "funcapi.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "windowapi.h"

#include "base/errors.h"

#define MAX_BUCKETS		1000
#define MAX_SEGMENT_SCORE	5

PG_FUNCTION_INFO_V1(loyalty_score_window);
PG_FUNCTION_INFO_V1(loyalty_score_threshold);
PG_FUNCTION_INFO_V1(loyalty_score_segment);
PG_FUNCTION_INFO_V1(loyalty_score_segments);

/*
 * The usual names, made to cover each pair of scores exactly once.  fm is the
 * mean of the scores of frequency and money.
 */
typedef struct Segment
{
	const char *name;
	int			r_low;
	int			r_high;
	int			fm_low;
	int			fm_high;
} Segment;

static const Segment segments[] = {
	{"Champions", 4, 5, 4, 5},
	{"Loyal", 4, 5, 3, 3},
	{"Loyal", 3, 3, 4, 5},
	{"Potential loyalist", 4, 5, 2, 2},
	{"New", 5, 5, 1, 1},
	{"Promising", 4, 4, 1, 1},
	{"Need attention", 3, 3, 3, 3},
	{"About to sleep", 3, 3, 1, 2},
	{"Cannot lose", 1, 1, 4, 5},
	{"At risk", 2, 2, 3, 5},
	{"At risk", 1, 1, 3, 3},
	{"Hibernating", 2, 2, 1, 2},
	{"Lost", 1, 1, 1, 2}
};

/* Kept in the partition's memory. */
typedef struct ScoreState
{
	int64		reached;		/* rows up to the last peer of the current one */
} ScoreState;

static int32
get_buckets(WindowObject window, bool *isnull)
{
	int32		buckets = DatumGetInt32(WinGetFuncArgCurrent(window, 0, isnull));

	if (!*isnull && (buckets < 1 || buckets > MAX_BUCKETS))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("the number of scores must be from 1 to %d", MAX_BUCKETS)));
	return buckets;
}

/* ceil(buckets * cume_dist()): peers share the score of the last of them. */
static int32
score_with_ties(WindowObject window, int32 buckets)
{
	ScoreState *state = WinGetPartitionLocalMemory(window, sizeof(ScoreState));
	int64		row = WinGetCurrentPosition(window);
	int64		rows = WinGetPartitionRowCount(window);

	if (row >= state->reached)
	{
		state->reached = row + 1;
		while (state->reached < rows &&
			   WinRowsArePeers(window, state->reached - 1, state->reached))
			state->reached++;
	}
	WinSetMarkPosition(window, row);

	/* floor((buckets * reached + rows - 1) / rows), without the product's overflow */
	return (int32) (state->reached / rows * buckets +
					(state->reached % rows * buckets + rows - 1) / rows);
}

/* ntile(buckets): parts of equal size, the first ones larger by a row if need be. */
static int32
score_by_ntile(WindowObject window, int32 buckets)
{
	int64		row = WinGetCurrentPosition(window);
	int64		rows = WinGetPartitionRowCount(window);
	int64		size = rows / buckets;
	int64		larger = rows % buckets;

	WinSetMarkPosition(window, row);
	if (row < larger * (size + 1))
		return (int32) (row / (size + 1)) + 1;
	return (int32) ((row - larger * (size + 1)) / size + larger) + 1;
}

/* rfm_score(buckets, method) */
Datum
loyalty_score_window(PG_FUNCTION_ARGS)
{
	WindowObject window = PG_WINDOW_OBJECT();
	bool		isnull;
	int32		buckets = get_buckets(window, &isnull);
	Datum		name;
	char	   *method;

	if (isnull)
		PG_RETURN_NULL();
	name = WinGetFuncArgCurrent(window, 1, &isnull);
	if (isnull)
		PG_RETURN_NULL();
	method = text_to_cstring(DatumGetTextPP(name));
	if (strcmp(method, "ties") == 0)
		PG_RETURN_INT32(score_with_ties(window, buckets));
	if (strcmp(method, "ntile") == 0)
		PG_RETURN_INT32(score_by_ntile(window, buckets));
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("unknown method \"%s\"", method),
			 errhint("The methods are \"ties\" (equal values get equal scores) and \"ntile\" (parts of equal size).")));
	PG_RETURN_NULL();			/* keep compiler quiet */
}

/*
 * rfm_threshold_score(value, thresholds): 1 and one more for each threshold that
 * is reached, from below if they rise, from above if they fall.
 */
Datum
loyalty_score_threshold(PG_FUNCTION_ARGS)
{
	double		value = PG_GETARG_FLOAT8(0);
	ArrayType  *array = PG_GETARG_ARRAYTYPE_P(1);
	Datum	   *thresholds;
	int			n;
	double		before = 0.0;
	bool		falling;
	int32		score = 1;

	if (ARR_NDIM(array) > 1 || array_contains_nulls(array))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("thresholds must be a list of numbers")));
	if (isnan(value))
		ereport(ERROR,
				(errcode(ERRCODE_LY_INVALID_METRIC),
				 errmsg("a value to be scored must not be NaN")));
	deconstruct_array(array, FLOAT8OID, sizeof(float8), FLOAT8PASSBYVAL, TYPALIGN_DOUBLE,
					  &thresholds, NULL, &n);
	falling = n > 1 && DatumGetFloat8(thresholds[1]) < DatumGetFloat8(thresholds[0]);
	for (int i = 0; i < n; i++)
	{
		double		threshold = DatumGetFloat8(thresholds[i]);

		if (isnan(threshold) ||
			(i > 0 && !(falling ? threshold < before : threshold > before)))
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("thresholds must rise or fall all the way"),
					 errhint("Those that rise are reached from below, those that fall from above: '{2,4,7,10}', '{365,180,90,30}'.")));
		score += falling ? value <= threshold : value >= threshold;
		before = threshold;
	}
	PG_RETURN_INT32(score);
}

/* rfm_segment(r, f, m): of scores from 1 to 5 */
Datum
loyalty_score_segment(PG_FUNCTION_ARGS)
{
	int32		score[3];
	int32		fm;

	for (int i = 0; i < 3; i++)
	{
		score[i] = PG_GETARG_INT32(i);
		if (score[i] < 1 || score[i] > MAX_SEGMENT_SCORE)
			ereport(ERROR,
					(errcode(ERRCODE_LY_INVALID_SCORE),
					 errmsg("score %d is not on the scale from 1 to %d", score[i], MAX_SEGMENT_SCORE),
					 errdetail("The segments are defined for scores from 1 to %d.", MAX_SEGMENT_SCORE),
					 errhint("For other scales keep the segments in a table of your own.")));
	}
	fm = (score[1] + score[2] + 1) / 2;
	for (int i = 0; i < (int) lengthof(segments); i++)
	{
		const Segment *s = &segments[i];

		if (score[0] >= s->r_low && score[0] <= s->r_high && fm >= s->fm_low && fm <= s->fm_high)
			PG_RETURN_TEXT_P(cstring_to_text(s->name));
	}
	elog(ERROR, "no segment for scores %d, %d", score[0], fm);
	PG_RETURN_NULL();
}

/* rfm_segments(): the rectangles above, to start a table of one's own from */
Datum
loyalty_score_segments(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;

	InitMaterializedSRF(fcinfo, 0);
	for (int i = 0; i < (int) lengthof(segments); i++)
	{
		Datum		values[5];
		bool		nulls[5] = {false};

		values[0] = PointerGetDatum(cstring_to_text(segments[i].name));
		values[1] = Int32GetDatum(segments[i].r_low);
		values[2] = Int32GetDatum(segments[i].r_high);
		values[3] = Int32GetDatum(segments[i].fm_low);
		values[4] = Int32GetDatum(segments[i].fm_high);
		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
	}
	return (Datum) 0;
}
