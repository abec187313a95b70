/*
 * rfm.h
 *		One customer's recency, frequency and monetary value, as the models of
 *		repeat buying take them.
 *
 * frequency: units of time with a purchase after the first such unit; recency:
 * from the first purchase to the last; age: from the first purchase to the day
 * of observation; monetary: mean spend of the repeat units.
 */
#ifndef LOYALTY_RFM_H
#define LOYALTY_RFM_H

#include "metrics/summary.h"

#define RFM_TYPE			"rfm"
#define RFM_VERSION			1

#define RFM_HAS_MONETARY	0x01	/* header.flags */

typedef struct Rfm
{
	SummaryHeader header;
	int64		frequency;
	float8		recency;
	float8		age;
	float8		monetary;		/* 0 without RFM_HAS_MONETARY */
} Rfm;

static inline bool
rfm_has_monetary(const Rfm *rfm)
{
	return (rfm->header.flags & RFM_HAS_MONETARY) != 0;
}

/* The argument, which is in place: the type's storage is plain. */
static inline Rfm *
rfm_get_arg(FunctionCallInfo fcinfo, int argno)
{
	Rfm		   *rfm = (Rfm *) PG_GETARG_POINTER(argno);

	summary_check_version(&rfm->header, RFM_VERSION, RFM_TYPE);
	return rfm;
}

#endif							/* LOYALTY_RFM_H */
