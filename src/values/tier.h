/*
 * tier.h
 *		A ladder is an ordered list of named thresholds; a tier is one of its
 *		steps, by rank (from 1) and name.
 */
#ifndef LOYALTY_TIER_H
#define LOYALTY_TIER_H

#include "fmgr.h"

#include "values/points.h"

typedef struct Ladder Ladder;	/* a varlena; its layout is tier.c's own */

#define DatumGetLadderP(d)		((Ladder *) PG_DETOAST_DATUM(d))
#define PG_GETARG_LADDER_P(n)	DatumGetLadderP(PG_GETARG_DATUM(n))

extern int	ladder_size(const Ladder *ladder);

/* The highest rank whose threshold is reached; 0 when even the lowest is not. */
extern int	ladder_rank_for(const Ladder *ladder, Points points);

/* Ranks count from 1 to ladder_size(). */
extern Points ladder_threshold(const Ladder *ladder, int rank);
extern const char *ladder_name(const Ladder *ladder, int rank);	/* palloc'd */
extern int	ladder_rank_of(const Ladder *ladder, const char *name); /* 0: no such step */

/* A tier value (varlena) of that rank and name. */
extern Datum tier_make(int rank, const char *name);

extern int	tier_rank_of(Datum tier);
extern char *tier_name_of(Datum tier);	/* palloc'd */

#endif							/* LOYALTY_TIER_H */
