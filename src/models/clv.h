/*
 * clv.h
 *		The value clv_model: a process of purchases, a process of spend, or both.
 *
 * A part made by hand has customers = 0, and neither a likelihood nor standard
 * errors.  Equal models have equal bytes: what is absent is zero.
 */
#ifndef LOYALTY_CLV_H
#define LOYALTY_CLV_H

#include "metrics/rfm.h"
#include "metrics/summary.h"
#include "models/math.h"

#define CLV_TYPE			"clv_model"
#define CLV_VERSION			1

typedef struct ModelPart
{
	uint8		family;			/* ProcessFamily; FAMILY_NONE if the part is missing */
	uint8		unused[3];
	uint32		warnings;		/* enum FitWarning */
	int64		customers;		/* 0 if made by hand */
	float8		log_likelihood;
	float8		parameter[MAX_PARAMETERS];
	float8		standard_error[MAX_PARAMETERS]; /* 0 if there is none */
} ModelPart;

typedef struct ClvModel
{
	SummaryHeader header;
	ModelPart	purchase;
	ModelPart	spend;
} ClvModel;

static inline bool
is_spend_family(ProcessFamily family)
{
	return family == FAMILY_GAMMA_GAMMA;
}

extern ClvModel *clv_alloc(void);
extern ClvModel *clv_get_arg(FunctionCallInfo fcinfo, int argno);

/* What a reader of the whole speaks of: the purchases, if there are any. */
extern const ModelPart *clv_main_part(const ClvModel *model);

/* The texts of the warnings of a model's fit; their number is returned. */
#define CLV_WARNING_COUNT	9
extern int	clv_list_warnings(const ClvModel *model, const char **texts);

extern History rfm_history(const Rfm *rfm);

/* Throws what a status other than MATH_OK means. */
extern void math_error(MathStatus status, ProcessFamily family, const char *what);

#endif							/* LOYALTY_CLV_H */
