/*
 * clv.c
 *		The type clv_model and its readers.
 *
 * math.h computes and reports by return code; this file turns the codes into
 * errors.  All results are allocated in the caller's memory context; models
 * and rfm arguments are read in place.
 */
#include "postgres.h"

#include <math.h>

#include "catalog/pg_type.h"
#include "common/shortest_dec.h"
#include "funcapi.h"
#include "libpq/pqformat.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/float.h"
#include "utils/jsonb.h"
#include "utils/numeric.h"

#include "base/compat.h"
#include "base/errors.h"
#include "models/clv.h"
#include "models/special.h"

/* A finite-horizon CLV is a sum over at most so many steps. */
#define MAX_STEPS			100000

/* A memo starts so small and stops so large that it costs nothing to ask once, and stays in a processor's cache. */
#define MEMO_FIRST			4
#define MEMO_LAST			14

PG_FUNCTION_INFO_V1(loyalty_clv_in);
PG_FUNCTION_INFO_V1(loyalty_clv_out);
PG_FUNCTION_INFO_V1(loyalty_clv_recv);
PG_FUNCTION_INFO_V1(loyalty_clv_send);
PG_FUNCTION_INFO_V1(loyalty_clv_bgnbd);
PG_FUNCTION_INFO_V1(loyalty_clv_mbgnbd);
PG_FUNCTION_INFO_V1(loyalty_clv_pareto_nbd);
PG_FUNCTION_INFO_V1(loyalty_clv_bgbb);
PG_FUNCTION_INFO_V1(loyalty_clv_sbg);
PG_FUNCTION_INFO_V1(loyalty_clv_gamma_gamma);
PG_FUNCTION_INFO_V1(loyalty_clv_with_spend);
PG_FUNCTION_INFO_V1(loyalty_clv_purchase_process);
PG_FUNCTION_INFO_V1(loyalty_clv_spend_process);
PG_FUNCTION_INFO_V1(loyalty_clv_family);
PG_FUNCTION_INFO_V1(loyalty_clv_parameters);
PG_FUNCTION_INFO_V1(loyalty_clv_standard_errors);
PG_FUNCTION_INFO_V1(loyalty_clv_warnings);
PG_FUNCTION_INFO_V1(loyalty_clv_customers);
PG_FUNCTION_INFO_V1(loyalty_clv_log_likelihood);
PG_FUNCTION_INFO_V1(loyalty_clv_likelihood_ratio);
PG_FUNCTION_INFO_V1(loyalty_clv_log_likelihood_of);
PG_FUNCTION_INFO_V1(loyalty_clv_p_alive);
PG_FUNCTION_INFO_V1(loyalty_clv_expected_purchases);
PG_FUNCTION_INFO_V1(loyalty_clv_expected_purchases_new);
PG_FUNCTION_INFO_V1(loyalty_clv_purchase_probability);
PG_FUNCTION_INFO_V1(loyalty_clv_expected_spend);
PG_FUNCTION_INFO_V1(loyalty_clv_expected_value);
PG_FUNCTION_INFO_V1(loyalty_clv_clv);
PG_FUNCTION_INFO_V1(loyalty_clv_dert);
PG_FUNCTION_INFO_V1(loyalty_clv_survival);
PG_FUNCTION_INFO_V1(loyalty_clv_retention);


/* ----- the value ----- */

ClvModel *
clv_get_arg(FunctionCallInfo fcinfo, int argno)
{
	ClvModel   *model = (ClvModel *) PG_GETARG_POINTER(argno);

	summary_check_version(&model->header, CLV_VERSION, CLV_TYPE);
	return model;
}

ClvModel *
clv_alloc(void)
{
	return summary_alloc(sizeof(ClvModel), CLV_VERSION);
}

static Process
part_process(const ModelPart *part)
{
	Process		process;

	process.family = part->family;
	memcpy(process.parameter, part->parameter, sizeof(process.parameter));
	return process;
}

static bool
same_process(const Process *a, const Process *b)
{
	return a->family == b->family &&
		memcmp(a->parameter, b->parameter, sizeof(a->parameter)) == 0;
}

/* The one validator: every part comes through here.  False after a soft error. */
static bool
check_part(const ModelPart *part, Node *escontext)
{
	Process		process = part_process(part);
	int			n = family_parameter_count(part->family);
	int			known = 0;

	if (part->family == FAMILY_NONE)
		return true;
	if (!process_check(&process))
		ereturn(escontext, false,
				(errcode(ERRCODE_LY_INVALID_METRIC),
				 errmsg("parameter of %s is out of range", family_name(part->family)),
				 errdetail("Parameters are between %g and %g.", PARAMETER_MIN, PARAMETER_MAX)));
	for (int i = 0; i < n; i++)
	{
		if (!isfinite(part->standard_error[i]) || part->standard_error[i] < 0.0)
			ereturn(escontext, false,
					(errcode(ERRCODE_LY_INVALID_METRIC),
					 errmsg("standard error of %s is out of range", family_name(part->family))));
		known += part->standard_error[i] > 0.0;
	}
	if (part->customers < 0 || (part->warnings & ~(uint32) FIT_WARNINGS_ALL) != 0 ||
		!isfinite(part->log_likelihood) || (known != 0 && known != n))
		ereturn(escontext, false,
				(errcode(ERRCODE_LY_INVALID_METRIC),
				 errmsg("invalid fit of %s", family_name(part->family))));
	return true;
}

/* The part of a model that the family belongs to. */
static ModelPart *
part_of(ClvModel *model, ProcessFamily family)
{
	return is_spend_family(family) ? &model->spend : &model->purchase;
}

/*
 * Text.  Parameters keep their names of the papers, which no two families in
 * one model share; "se_" before one is its standard error.
 */

static const char *const parameter_names[] = {
	"r", "alpha", "a", "b", "s", "beta", "gamma", "delta", "p", "q", "v"
};

enum
{
	FIELD_PROCESS,
	FIELD_CUSTOMERS,
	FIELD_LOG_LIKELIHOOD,
	FIELD_WARNINGS,
	FIELDS_OF_PART,
	FIELD_PARAMETER = 2 * FIELDS_OF_PART,
	FIELD_STANDARD_ERROR = FIELD_PARAMETER + lengthof(parameter_names),
	FIELD_COUNT = FIELD_STANDARD_ERROR + lengthof(parameter_names)
};

static const char *const part_fields[2][FIELDS_OF_PART] = {
	{"process", "customers", "log_likelihood", "warnings"},
	{"spend", "spend_customers", "spend_log_likelihood", "spend_warnings"},
};

static void
put_part(StringInfo buf, const ModelPart *part, const char *const *names)
{
	if (part->family == FAMILY_NONE)
		return;
	summary_put(buf, names[FIELD_PROCESS], family_name(part->family));
	for (int i = 0; i < family_parameter_count(part->family); i++)
		summary_put_float8(buf, family_parameter_name(part->family, i), part->parameter[i]);
	if (part->customers == 0)
		return;
	summary_put_count(buf, names[FIELD_CUSTOMERS], part->customers);
	summary_put_float8(buf, names[FIELD_LOG_LIKELIHOOD], part->log_likelihood);
	for (int i = 0; i < family_parameter_count(part->family); i++)
	{
		if (part->standard_error[i] > 0.0)
			summary_put_float8(buf, psprintf("se_%s", family_parameter_name(part->family, i)),
							   part->standard_error[i]);
	}
	if (part->warnings != 0)
		summary_put_count(buf, names[FIELD_WARNINGS], part->warnings);
}

Datum
loyalty_clv_out(PG_FUNCTION_ARGS)
{
	ClvModel   *model = clv_get_arg(fcinfo, 0);
	StringInfoData buf;

	initStringInfo(&buf);
	put_part(&buf, &model->purchase, part_fields[0]);
	put_part(&buf, &model->spend, part_fields[1]);
	PG_RETURN_CSTRING(summary_finish(&buf));
}

/* Reads a field and marks it as used. */
static bool
take_float8(SummaryField *field, float8 *result, Node *escontext)
{
	if (!summary_read_float8(field, CLV_TYPE, result, escontext))
		return false;
	field->value = NULL;
	return true;
}

static bool
take_count(SummaryField *field, int64 *result, Node *escontext)
{
	if (!summary_read_count(field, CLV_TYPE, result, escontext))
		return false;
	field->value = NULL;
	return true;
}

static bool
read_part(SummaryField *fields, int which, ModelPart *part, Node *escontext)
{
	SummaryField *own = fields + which * FIELDS_OF_PART;
	int64		warnings = 0;

	if (own[FIELD_PROCESS].value == NULL)
		return true;
	part->family = family_by_name(own[FIELD_PROCESS].value);
	if (part->family == FAMILY_NONE || is_spend_family(part->family) != (which == 1))
		ereturn(escontext, false,
				(errcode(ERRCODE_INVALID_TEXT_REPRESENTATION),
				 errmsg("invalid input syntax for type %s: \"%s\"", CLV_TYPE,
						own[FIELD_PROCESS].value),
				 errdetail("It is not a %s.", which == 1 ? "process of spend" : "process of purchases")));
	own[FIELD_PROCESS].value = NULL;

	for (int i = 0; i < family_parameter_count(part->family); i++)
	{
		for (int k = 0; k < (int) lengthof(parameter_names); k++)
		{
			if (strcmp(parameter_names[k], family_parameter_name(part->family, i)) != 0)
				continue;
			if (fields[FIELD_PARAMETER + k].value == NULL)
				ereturn(escontext, false,
						(errcode(ERRCODE_INVALID_TEXT_REPRESENTATION),
						 errmsg("invalid input syntax for type %s", CLV_TYPE),
						 errdetail("The field \"%s\" is missing.", parameter_names[k])));
			if (!take_float8(&fields[FIELD_PARAMETER + k], &part->parameter[i], escontext))
				return false;
			if (own[FIELD_CUSTOMERS].value != NULL &&
				fields[FIELD_STANDARD_ERROR + k].value != NULL &&
				!take_float8(&fields[FIELD_STANDARD_ERROR + k], &part->standard_error[i],
							 escontext))
				return false;
		}
	}
	if (own[FIELD_CUSTOMERS].value != NULL)
	{
		if (own[FIELD_LOG_LIKELIHOOD].value == NULL)
			ereturn(escontext, false,
					(errcode(ERRCODE_INVALID_TEXT_REPRESENTATION),
					 errmsg("invalid input syntax for type %s", CLV_TYPE),
					 errdetail("The field \"%s\" is missing.", own[FIELD_LOG_LIKELIHOOD].name)));
		if (!take_count(&own[FIELD_CUSTOMERS], &part->customers, escontext) ||
			!take_float8(&own[FIELD_LOG_LIKELIHOOD], &part->log_likelihood, escontext) ||
			(own[FIELD_WARNINGS].value != NULL &&
			 !take_count(&own[FIELD_WARNINGS], &warnings, escontext)))
			return false;
		if (part->customers == 0 || warnings < 0 || warnings > FIT_WARNINGS_ALL)
			ereturn(escontext, false,
					(errcode(ERRCODE_LY_INVALID_METRIC),
					 errmsg("invalid fit of %s", family_name(part->family))));
		part->warnings = (uint32) warnings;
		/* no negative zero: equal values, equal bytes */
		part->log_likelihood += 0.0;
		for (int i = 0; i < MAX_PARAMETERS; i++)
			part->standard_error[i] += 0.0;
	}
	return check_part(part, escontext);
}

Datum
loyalty_clv_in(PG_FUNCTION_ARGS)
{
	char	   *text = PG_GETARG_CSTRING(0);
	Node	   *escontext = fcinfo->context;
	SummaryField fields[FIELD_COUNT] = {0};
	ClvModel   *model;

	for (int i = 0; i < FIELDS_OF_PART; i++)
	{
		fields[i].name = part_fields[0][i];
		fields[FIELDS_OF_PART + i].name = part_fields[1][i];
	}
	for (int i = 0; i < (int) lengthof(parameter_names); i++)
	{
		fields[FIELD_PARAMETER + i].name = parameter_names[i];
		fields[FIELD_STANDARD_ERROR + i].name = psprintf("se_%s", parameter_names[i]);
	}
	if (!summary_parse(text, CLV_TYPE, fields, lengthof(fields), escontext))
		PG_RETURN_NULL();

	model = clv_alloc();
	if (!read_part(fields, 0, &model->purchase, escontext) ||
		!read_part(fields, 1, &model->spend, escontext))
		PG_RETURN_NULL();
	for (int i = 0; i < (int) lengthof(fields); i++)
	{
		if (fields[i].value != NULL)
			ereturn(escontext, (Datum) 0,
					(errcode(ERRCODE_INVALID_TEXT_REPRESENTATION),
					 errmsg("invalid input syntax for type %s: \"%s\"", CLV_TYPE, text),
					 errdetail("The field \"%s\" belongs to no process here.", fields[i].name)));
	}
	if (model->purchase.family == FAMILY_NONE && model->spend.family == FAMILY_NONE)
		ereturn(escontext, (Datum) 0,
				(errcode(ERRCODE_INVALID_TEXT_REPRESENTATION),
				 errmsg("invalid input syntax for type %s: \"%s\"", CLV_TYPE, text),
				 errdetail("It names no process.")));
	PG_RETURN_POINTER(model);
}

static void
send_part(StringInfo buf, const ModelPart *part)
{
	int			n = family_parameter_count(part->family);

	pq_sendbyte(buf, part->family);
	if (part->family == FAMILY_NONE)
		return;
	for (int i = 0; i < n; i++)
		pq_sendfloat8(buf, part->parameter[i]);
	pq_sendint64(buf, part->customers);
	if (part->customers == 0)
		return;
	pq_sendfloat8(buf, part->log_likelihood);
	pq_sendint32(buf, part->warnings);
	for (int i = 0; i < n; i++)
		pq_sendfloat8(buf, part->standard_error[i]);
}

static void
recv_part(StringInfo buf, ModelPart *part, bool spend)
{
	int			family = pq_getmsgbyte(buf);
	int			n;

	if (family == FAMILY_NONE)
		return;
	if (family > FAMILY_LAST || is_spend_family(family) != spend)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_BINARY_REPRESENTATION),
				 errmsg("invalid family in external \"%s\" value", CLV_TYPE)));
	part->family = family;
	n = family_parameter_count(family);
	for (int i = 0; i < n; i++)
		part->parameter[i] = pq_getmsgfloat8(buf);
	part->customers = pq_getmsgint64(buf);
	if (part->customers != 0)
	{
		part->log_likelihood = pq_getmsgfloat8(buf) + 0.0;
		part->warnings = pq_getmsgint(buf, 4);
		for (int i = 0; i < n; i++)
			part->standard_error[i] = pq_getmsgfloat8(buf) + 0.0;
	}
	(void) check_part(part, NULL);
}

Datum
loyalty_clv_recv(PG_FUNCTION_ARGS)
{
	StringInfo	buf = (StringInfo) PG_GETARG_POINTER(0);
	ClvModel   *model = clv_alloc();

	(void) summary_begin_recv(buf, CLV_VERSION, CLV_TYPE);
	recv_part(buf, &model->purchase, false);
	recv_part(buf, &model->spend, true);
	if (model->purchase.family == FAMILY_NONE && model->spend.family == FAMILY_NONE)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_BINARY_REPRESENTATION),
				 errmsg("no process in external \"%s\" value", CLV_TYPE)));
	PG_RETURN_POINTER(model);
}

Datum
loyalty_clv_send(PG_FUNCTION_ARGS)
{
	ClvModel   *model = clv_get_arg(fcinfo, 0);
	StringInfoData buf;

	summary_begin_send(&buf, CLV_VERSION);
	send_part(&buf, &model->purchase);
	send_part(&buf, &model->spend);
	PG_RETURN_BYTEA_P(pq_endtypsend(&buf));
}


/* ----- made by hand ----- */

static Datum
make_model(FunctionCallInfo fcinfo, ProcessFamily family)
{
	ClvModel   *model = clv_alloc();
	ModelPart  *part = part_of(model, family);

	part->family = family;
	for (int i = 0; i < family_parameter_count(family); i++)
		part->parameter[i] = PG_GETARG_FLOAT8(i);
	(void) check_part(part, NULL);
	PG_RETURN_POINTER(model);
}

Datum
loyalty_clv_bgnbd(PG_FUNCTION_ARGS)
{
	return make_model(fcinfo, FAMILY_BGNBD);
}

Datum
loyalty_clv_mbgnbd(PG_FUNCTION_ARGS)
{
	return make_model(fcinfo, FAMILY_MBGNBD);
}

Datum
loyalty_clv_pareto_nbd(PG_FUNCTION_ARGS)
{
	return make_model(fcinfo, FAMILY_PARETO_NBD);
}

Datum
loyalty_clv_bgbb(PG_FUNCTION_ARGS)
{
	return make_model(fcinfo, FAMILY_BGBB);
}

Datum
loyalty_clv_sbg(PG_FUNCTION_ARGS)
{
	return make_model(fcinfo, FAMILY_SBG);
}

Datum
loyalty_clv_gamma_gamma(PG_FUNCTION_ARGS)
{
	return make_model(fcinfo, FAMILY_GAMMA_GAMMA);
}

/* The purchases of the first, the spend of the second. */
Datum
loyalty_clv_with_spend(PG_FUNCTION_ARGS)
{
	ClvModel   *purchase = clv_get_arg(fcinfo, 0);
	ClvModel   *spend = clv_get_arg(fcinfo, 1);
	ClvModel   *model = clv_alloc();

	if (purchase->purchase.family == FAMILY_NONE)
		ereport(ERROR,
				(errcode(ERRCODE_LY_INVALID_METRIC),
				 errmsg("first clv_model has no process of purchases")));
	if (spend->spend.family == FAMILY_NONE)
		ereport(ERROR,
				(errcode(ERRCODE_LY_INVALID_METRIC),
				 errmsg("second clv_model has no process of spend")));
	model->purchase = purchase->purchase;
	model->spend = spend->spend;
	PG_RETURN_POINTER(model);
}


/* ----- what a model is ----- */

static Datum
single_part(FunctionCallInfo fcinfo, bool spend)
{
	ClvModel   *model = clv_get_arg(fcinfo, 0);
	const ModelPart *part = spend ? &model->spend : &model->purchase;
	ClvModel   *result;

	if (part->family == FAMILY_NONE)
		PG_RETURN_NULL();
	result = clv_alloc();
	*part_of(result, part->family) = *part;
	PG_RETURN_POINTER(result);
}

Datum
loyalty_clv_purchase_process(PG_FUNCTION_ARGS)
{
	return single_part(fcinfo, false);
}

Datum
loyalty_clv_spend_process(PG_FUNCTION_ARGS)
{
	return single_part(fcinfo, true);
}

const ModelPart *
clv_main_part(const ClvModel *model)
{
	return model->purchase.family != FAMILY_NONE ? &model->purchase : &model->spend;
}

Datum
loyalty_clv_family(PG_FUNCTION_ARGS)
{
	PG_RETURN_TEXT_P(cstring_to_text(family_name(clv_main_part(clv_get_arg(fcinfo, 0))->family)));
}

/* A numeric with all the digits of the float8, where a cast would keep 15. */
static Numeric
exact_numeric(float8 value)
{
	char		digits[DOUBLE_SHORTEST_DECIMAL_LEN];

	double_to_shortest_decimal_buf(value, digits);
	return DatumGetNumeric(DirectFunctionCall3(numeric_in, CStringGetDatum(digits),
											   ObjectIdGetDatum(InvalidOid),
											   Int32GetDatum(-1)));
}

static void
push_numbers(JsonbParseState **state, const ModelPart *part, const float8 *number)
{
	for (int i = 0; i < family_parameter_count(part->family); i++)
	{
		JsonbValue	key;
		JsonbValue	value;

		key.type = jbvString;
		key.val.string.val = unconstify(char *, family_parameter_name(part->family, i));
		key.val.string.len = strlen(key.val.string.val);
		(void) pushJsonbValue(state, WJB_KEY, &key);

		/* a parameter or standard error is never 0, so 0 is none */
		if (number[i] == 0.0)
			value.type = jbvNull;
		else
		{
			value.type = jbvNumeric;
			value.val.numeric = exact_numeric(number[i]);
		}
		(void) pushJsonbValue(state, WJB_VALUE, &value);
	}
}

Datum
loyalty_clv_parameters(PG_FUNCTION_ARGS)
{
	ClvModel   *model = clv_get_arg(fcinfo, 0);
	JsonbParseState *state = NULL;

	(void) pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
	push_numbers(&state, &model->purchase, model->purchase.parameter);
	push_numbers(&state, &model->spend, model->spend.parameter);
	PG_RETURN_JSONB_P(JsonbValueToJsonb(pushJsonbValue(&state, WJB_END_OBJECT, NULL)));
}

Datum
loyalty_clv_standard_errors(PG_FUNCTION_ARGS)
{
	ClvModel   *model = clv_get_arg(fcinfo, 0);
	JsonbParseState *state = NULL;

	/* all of a part are known, or none */
	if (model->purchase.standard_error[0] == 0.0 && model->spend.standard_error[0] == 0.0)
		PG_RETURN_NULL();
	(void) pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
	push_numbers(&state, &model->purchase, model->purchase.standard_error);
	push_numbers(&state, &model->spend, model->spend.standard_error);
	PG_RETURN_JSONB_P(JsonbValueToJsonb(pushJsonbValue(&state, WJB_END_OBJECT, NULL)));
}

static const struct
{
	uint32		flag;
	const char *text;
}			warning_texts[] = {
	{FIT_NO_EXPOSURE, "no customer was observed for any time"},
	{FIT_NO_PURCHASES, "no customer bought again"},
	{FIT_NO_DROPOUT, "the data hardly show whether, or how, customers leave"},
	{FIT_AT_BOUND, "a parameter ran to the edge of the search"},
	{FIT_SINGULAR, "the likelihood is flat: no standard errors"},
	{FIT_NOT_CONVERGED, "the search did not converge"},
	{FIT_NO_SPEND, "no repeat buyer has a positive monetary value: no process of spend"},
	{FIT_ROWS_LEFT_OUT, "repeat buyers without a positive monetary value were left out"},
	{FIT_NO_MEAN_SPEND, "q is at most 1: the mean spend does not exist"},
};

StaticAssertDecl(lengthof(warning_texts) == CLV_WARNING_COUNT, "clv.h has another count");

int
clv_list_warnings(const ClvModel *model, const char **texts)
{
	uint32		flags = model->purchase.warnings | model->spend.warnings;
	int			n = 0;

	for (int i = 0; i < (int) lengthof(warning_texts); i++)
	{
		/* say of which process it is when it may be either */
		if ((flags & warning_texts[i].flag) == 0)
			continue;
		if ((model->purchase.warnings & warning_texts[i].flag) == 0 &&
			(warning_texts[i].flag & (FIT_AT_BOUND | FIT_SINGULAR | FIT_NOT_CONVERGED)) != 0)
			texts[n++] = psprintf("spend: %s", warning_texts[i].text);
		else
			texts[n++] = warning_texts[i].text;
	}
	return n;
}

Datum
loyalty_clv_warnings(PG_FUNCTION_ARGS)
{
	const char *texts[CLV_WARNING_COUNT];
	Datum		elements[CLV_WARNING_COUNT];
	int			n = clv_list_warnings(clv_get_arg(fcinfo, 0), texts);

	for (int i = 0; i < n; i++)
		elements[i] = CStringGetTextDatum(texts[i]);
	PG_RETURN_ARRAYTYPE_P(construct_array(elements, n, TEXTOID, -1, false, TYPALIGN_INT));
}

Datum
loyalty_clv_customers(PG_FUNCTION_ARGS)
{
	const ModelPart *part = clv_main_part(clv_get_arg(fcinfo, 0));

	if (part->customers == 0)
		PG_RETURN_NULL();
	PG_RETURN_INT64(part->customers);
}

Datum
loyalty_clv_log_likelihood(PG_FUNCTION_ARGS)
{
	const ModelPart *part = clv_main_part(clv_get_arg(fcinfo, 0));

	if (part->customers == 0)
		PG_RETURN_NULL();
	PG_RETURN_FLOAT8(part->log_likelihood);
}

/*
 * likelihood_ratio(pooled, segments): whether segments differ.  Twice what their own
 * fits gain over the one of all customers is chi-square if they don't.
 */
Datum
loyalty_clv_likelihood_ratio(PG_FUNCTION_ARGS)
{
	const ModelPart *pooled = clv_main_part(clv_get_arg(fcinfo, 0));
	ArrayType  *array = PG_GETARG_ARRAYTYPE_P(1);
	ArrayIterator iterator = array_create_iterator(array, 0, NULL);
	Datum		element;
	bool		isnull;
	int64		segments = 0;
	int64		customers = 0;
	int64		degrees;
	float8		gain = -pooled->log_likelihood;
	TupleDesc	tupdesc;
	Datum		values[3];
	bool		nulls[3] = {false};

	while (array_iterate(iterator, &element, &isnull))
	{
		const ClvModel *model;
		const ModelPart *part;

		if (isnull)
			continue;
		model = (const ClvModel *) PG_DETOAST_DATUM(element);
		summary_check_version(&model->header, CLV_VERSION, CLV_TYPE);
		part = clv_main_part(model);
		if (part->family != pooled->family)
			ereport(ERROR,
					(errcode(ERRCODE_LY_INVALID_METRIC),
					 errmsg("models of families %s and %s can't be compared by their likelihoods",
							family_name(pooled->family), family_name(part->family)),
					 errhint("Fit the segments, and all customers, by the same family.")));
		if (part->customers == 0 || pooled->customers == 0)
			ereport(ERROR,
					(errcode(ERRCODE_LY_INVALID_METRIC),
					 errmsg("a model that was not fitted has no likelihood"),
					 errhint("Use the results of clv_fit().")));
		segments++;
		customers += part->customers;
		gain += part->log_likelihood;
	}
	if (segments < 2)
		ereport(ERROR,
				(errcode(ERRCODE_LY_INVALID_METRIC),
				 errmsg("there must be at least two segments")));
	if (customers != pooled->customers)
		ereport(ERROR,
				(errcode(ERRCODE_LY_INVALID_METRIC),
				 errmsg("the segments are not those of the model of all customers"),
				 errdetail("It was fitted to %lld customers, they to %lld.",
						   (long long) pooled->customers, (long long) customers)));
	degrees = (segments - 1) * family_parameter_count(pooled->family);
	if (degrees > PG_INT32_MAX)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("too many segments")));

	if (get_call_result_type(fcinfo, NULL, &tupdesc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	/* each segment is free to do no worse, but for where its search ended */
	gain = Max(gain, 0.0);
	values[0] = Float8GetDatum(2.0 * gain);
	values[1] = Int32GetDatum((int32) degrees);
	values[2] = Float8GetDatum(chi_square_tail(2.0 * gain, (int) degrees));
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(tupdesc), values, nulls)));
}


/* ----- what it says ----- */

History
rfm_history(const Rfm *rfm)
{
	History		history;

	history.frequency = (float8) rfm->frequency;
	history.recency = rfm->recency;
	history.age = rfm->age;
	history.monetary = rfm_has_monetary(rfm) ? rfm->monetary : get_float8_nan();
	return history;
}

void
math_error(MathStatus status, ProcessFamily family, const char *what)
{
	bool		discrete = family == FAMILY_BGBB || family == FAMILY_SBG;

	switch (status)
	{
		case MATH_NOT_OFFERED:
			ereport(ERROR,
					(errcode(ERRCODE_LY_INVALID_METRIC),
					 errmsg("%s is not defined for a model of family %s", what, family_name(family))));
			break;
		case MATH_BAD_HISTORY:
			ereport(ERROR,
					(errcode(ERRCODE_LY_INVALID_METRIC),
					 errmsg("rfm is not a history of family %s", family_name(family)),
					 family == FAMILY_SBG ?
					 errdetail("It counts renewals: frequency = recency, the renewals made, and age, those due, are whole numbers.") :
					 discrete ?
					 errdetail("It counts opportunities: recency and age are whole numbers, and frequency is at most recency.") :
					 errdetail("The frequency is beyond what a float8 counts exactly.")));
			break;
		case MATH_TOO_LONG:
			ereport(ERROR,
					(errcode(ERRCODE_LY_INVALID_METRIC),
					 errmsg("too many periods for family %s", family_name(family)),
					 errdetail("It goes up to %d.", MAX_OPPORTUNITIES)));
			break;
		case MATH_BAD_TIME:
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("invalid time for %s", what),
					 discrete ?
					 errdetail("Family %s counts periods: a whole number, %s.", family_name(family),
							   strcmp(what, "retention") == 0 ? "from 1" : "from 0") :
					 errdetail("It must be finite and not negative.")));
			break;
		case MATH_BAD_COUNT:
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("number of purchases must not be negative")));
			break;
		case MATH_BAD_RATE:
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("discount must be finite and greater than 0")));
			break;
		case MATH_NO_MEMORY:
			ereport(ERROR,
					(errcode(ERRCODE_OUT_OF_MEMORY),
					 errmsg("out of memory"),
					 errdetail("Failed while fitting a model of family %s.", family_name(family))));
			break;
		case MATH_OK:
		case MATH_UNDEFINED:
		case MATH_INTERRUPTED:
			break;
	}
	elog(ERROR, "unexpected status %d of %s", (int) status, what);
}

/* The purchase process, which what is asked needs. */
static Process
purchase_process(const ClvModel *model, const char *what)
{
	if (model->purchase.family == FAMILY_NONE)
		math_error(MATH_NOT_OFFERED, model->spend.family, what);
	return part_process(&model->purchase);
}

static Process
spend_process(const ClvModel *model)
{
	if (model->spend.family == FAMILY_NONE)
		ereport(ERROR,
				(errcode(ERRCODE_LY_INVALID_METRIC),
				 errmsg("clv_model has no process of spend"),
				 errhint("Fit one with clv_fit(rfm, family, true), or add one with with_spend().")));
	return part_process(&model->spend);
}

/* Returns the number, or NULL where there is none. */
static Datum
answer(FunctionCallInfo fcinfo, MathStatus status, ProcessFamily family, const char *what,
	   float8 value)
{
	if (status == MATH_UNDEFINED)
		PG_RETURN_NULL();
	if (status != MATH_OK)
		math_error(status, family, what);
	if (isinf(value))
		float_overflow_error();
	PG_RETURN_FLOAT8(value);
}

Datum
loyalty_clv_log_likelihood_of(PG_FUNCTION_ARGS)
{
	ClvModel   *model = clv_get_arg(fcinfo, 0);
	History		history = rfm_history(rfm_get_arg(fcinfo, 1));
	Process		process = part_process(clv_main_part(model));
	float8		value = 0.0;
	MathStatus	status = process_log_likelihood(&process, &history, &value);

	return answer(fcinfo, status, process.family, "log_likelihood", value);
}

/*
 * P(alive) is part of every other answer, and who asks for one mostly asks for
 * others of the same customer: the last one is kept.
 */
static MathStatus
p_alive(const Process *process, const History *history, float8 *result)
{
	static Process last_process;
	static History last_history;
	static float8 last_result;

	if (history->frequency != last_history.frequency || history->recency != last_history.recency ||
		history->age != last_history.age || !same_process(process, &last_process))
	{
		MathStatus	status;

		last_process.family = FAMILY_NONE;
		status = process_p_alive(process, history, &last_result);
		if (status != MATH_OK)
			return status;
		last_process = *process;
		last_history = *history;
	}
	*result = last_result;
	return MATH_OK;
}

/*
 * What is expected of the living depends on frequency and age only, which many
 * customers share when time is in whole days.  So each call in a query keeps
 * what it has worked out for one model and question, in a table where newer
 * values replace older ones.
 */
typedef struct MemoEntry
{
	float8		frequency;
	float8		age;
	float8		value;
} MemoEntry;

typedef struct Memo
{
	Process		process;
	float8		question[3];	/* t; or horizon, step and discount */
	int			log_size;
	Size		misses;			/* since the table got its size */
	MemoEntry  *entry;
} Memo;

/* The function's memo, emptied if it is of something else, enlarged if it is often missed. */
static Memo *
memo_for(FunctionCallInfo fcinfo, const Process *process, const float8 *question)
{
	FmgrInfo   *flinfo = fcinfo->flinfo;
	Memo	   *memo = flinfo->fn_extra;
	MemoEntry  *entry;
	int			log_size = MEMO_FIRST;

	if (memo == NULL)
		memo = flinfo->fn_extra = MemoryContextAllocZero(flinfo->fn_mcxt, sizeof(Memo));
	if (same_process(process, &memo->process) &&
		memcmp(memo->question, question, sizeof(memo->question)) == 0)
	{
		if (memo->log_size == MEMO_LAST || memo->misses >> memo->log_size < 2)
			return memo;
		log_size = memo->log_size + 1;
	}

	entry = MemoryContextAlloc(flinfo->fn_mcxt, sizeof(MemoEntry) << log_size);
	for (int i = 0; i < 1 << log_size; i++)
		entry[i].frequency = get_float8_nan();
	if (memo->entry != NULL)
		pfree(memo->entry);
	memo->process = *process;
	memcpy(memo->question, question, sizeof(memo->question));
	memo->log_size = log_size;
	memo->misses = 0;
	memo->entry = entry;
	return memo;
}

static MemoEntry *
memo_entry(Memo *memo, const History *history)
{
	uint64		frequency;
	uint64		age;

	/* whole numbers differ in their high bits, which a product has in its own */
	memcpy(&frequency, &history->frequency, sizeof(frequency));
	memcpy(&age, &history->age, sizeof(age));
	return memo->entry + ((frequency * UINT64CONST(0x9e3779b97f4a7c15) ^
						   age * UINT64CONST(0xc2b2ae3d27d4eb4f)) >> (64 - memo->log_size));
}

/* Weighted purchases in some times from now on.  Without a memo if they are not all of the question. */
static MathStatus
expected_purchases(const Process *process, const History *history, int n, const float8 *t,
				   const float8 *weight, Memo *memo, float8 *result)
{
	History		shared = *history;
	float8		factor;
	MemoEntry  *entry;
	MathStatus	status = p_alive(process, history, &factor);

	if (status != MATH_OK)
		return status;
	if (process->family == FAMILY_PARETO_NBD)
	{
		/* in proportion to r + x: what one who never bought again does is enough to know */
		factor *= (process->parameter[0] + history->frequency) / process->parameter[0];
		shared.frequency = shared.recency = 0.0;
	}

	entry = memo ? memo_entry(memo, &shared) : NULL;
	if (entry != NULL && entry->frequency == shared.frequency && entry->age == shared.age)
		*result = entry->value;
	else
	{
		status = process_expected_alive(process, &shared, n, t, weight, result);
		if (status != MATH_OK)
			return status;
		if (entry != NULL)
		{
			*entry = (MemoEntry) {shared.frequency, shared.age, *result};
			memo->misses++;
		}
	}
	*result *= factor;
	return MATH_OK;
}

static MathStatus
expected_purchases_until(FunctionCallInfo fcinfo, const Process *process, const History *history,
						 float8 t, float8 *result)
{
	static const float8 once = 1.0;
	const float8 question[3] = {t};

	return expected_purchases(process, history, 1, &t, &once,
							  memo_for(fcinfo, process, question), result);
}

Datum
loyalty_clv_p_alive(PG_FUNCTION_ARGS)
{
	ClvModel   *model = clv_get_arg(fcinfo, 0);
	History		history = rfm_history(rfm_get_arg(fcinfo, 1));
	Process		process = purchase_process(model, "p_alive");
	float8		value = 0.0;
	MathStatus	status = p_alive(&process, &history, &value);

	return answer(fcinfo, status, process.family, "p_alive", value);
}

Datum
loyalty_clv_expected_purchases(PG_FUNCTION_ARGS)
{
	ClvModel   *model = clv_get_arg(fcinfo, 0);
	History		history = rfm_history(rfm_get_arg(fcinfo, 1));
	Process		process = purchase_process(model, "expected_purchases");
	float8		value = 0.0;
	MathStatus	status = expected_purchases_until(fcinfo, &process, &history,
												  PG_GETARG_FLOAT8(2), &value);

	return answer(fcinfo, status, process.family, "expected_purchases", value);
}

Datum
loyalty_clv_expected_purchases_new(PG_FUNCTION_ARGS)
{
	ClvModel   *model = clv_get_arg(fcinfo, 0);
	Process		process = purchase_process(model, "expected_purchases");
	float8		value = 0.0;
	MathStatus	status = process_expected_new(&process, PG_GETARG_FLOAT8(1), &value);

	return answer(fcinfo, status, process.family, "expected_purchases", value);
}

Datum
loyalty_clv_purchase_probability(PG_FUNCTION_ARGS)
{
	ClvModel   *model = clv_get_arg(fcinfo, 0);
	Process		process = purchase_process(model, "purchase_probability");
	float8		value = 0.0;
	MathStatus	status = process_probability(&process, (float8) PG_GETARG_INT64(1),
											 PG_GETARG_FLOAT8(2), &value);

	return answer(fcinfo, status, process.family, "purchase_probability", value);
}

Datum
loyalty_clv_expected_spend(PG_FUNCTION_ARGS)
{
	ClvModel   *model = clv_get_arg(fcinfo, 0);
	History		history = rfm_history(rfm_get_arg(fcinfo, 1));
	Process		process = spend_process(model);
	float8		value = 0.0;
	MathStatus	status = process_expected_spend(&process, &history, &value);

	return answer(fcinfo, status, process.family, "expected_spend", value);
}

Datum
loyalty_clv_expected_value(PG_FUNCTION_ARGS)
{
	ClvModel   *model = clv_get_arg(fcinfo, 0);
	History		history = rfm_history(rfm_get_arg(fcinfo, 1));
	Process		purchase = purchase_process(model, "expected_value");
	Process		spend = spend_process(model);
	float8		purchases = 0.0;
	float8		each = 0.0;
	MathStatus	status = expected_purchases_until(fcinfo, &purchase, &history,
												  PG_GETARG_FLOAT8(2), &purchases);

	if (status != MATH_OK)
		math_error(status, purchase.family, "expected_value");
	status = process_expected_spend(&spend, &history, &each);
	return answer(fcinfo, status, spend.family, "expected_value", purchases * each);
}

/*
 * Discounted expected purchases of the steps to the horizon, the last of which
 * it may cut short; purchases of a step count at its end.  Purchases to the end
 * of a step are in all later ones too, so that their weight is by how much the
 * discount grows until the next.
 */
static float8
discounted_purchases(FunctionCallInfo fcinfo, const Process *process, const History *history,
					 float8 horizon, float8 step, float8 discount)
{
	const float8 question[3] = {horizon, step, discount};
	float8		steps = ceil(horizon / step - 1e-9);
	float8		sum = 0.0;
	float8		factor = 1.0;
	float8		each_step = 1.0 / (1.0 + discount);
	Memo	   *memo = NULL;

	if (steps > MAX_STEPS)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("horizon has too many steps"),
				 errdetail("There can be %d.", MAX_STEPS)));
	if (steps <= TIMES_AT_ONCE)
		memo = memo_for(fcinfo, process, question);
	for (int first = 0; first < (int) steps; first += TIMES_AT_ONCE)
	{
		int			n = Min(TIMES_AT_ONCE, (int) steps - first);
		float8		t[TIMES_AT_ONCE];
		float8		weight[TIMES_AT_ONCE];
		float8		purchases = 0.0;
		MathStatus	status;

		CHECK_FOR_INTERRUPTS();
		for (int i = 0; i < n; i++)
		{
			bool		last = first + i + 1 >= (int) steps;

			t[i] = last ? horizon : step * (first + i + 1);
			factor *= each_step;
			weight[i] = last ? factor : factor * (discount * each_step);
		}
		status = expected_purchases(process, history, n, t, weight, memo, &purchases);
		if (status != MATH_OK)
			math_error(status, process->family, "clv");
		sum += purchases;
	}
	return sum;
}

Datum
loyalty_clv_clv(PG_FUNCTION_ARGS)
{
	ClvModel   *model = clv_get_arg(fcinfo, 0);
	History		history = rfm_history(rfm_get_arg(fcinfo, 1));
	float8		horizon = PG_GETARG_FLOAT8(2);
	float8		step = PG_GETARG_FLOAT8(3);
	float8		discount = PG_GETARG_FLOAT8(4);
	float8		margin = PG_GETARG_FLOAT8(5);
	Process		process = purchase_process(model, "clv");
	float8		each = 1.0;

	if (!(horizon >= 0.0 && isfinite(horizon)))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("horizon must be finite and not negative")));
	if (!(step > 0.0 && isfinite(step)))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("step must be finite and greater than 0")));
	if (!(discount >= 0.0 && isfinite(discount)))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("discount must be finite and not negative")));
	if (!isfinite(margin))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("margin must be finite")));

	/* A contract pays its margin a period; a purchase is worth what is spent. */
	if (process.family != FAMILY_SBG || model->spend.family != FAMILY_NONE)
	{
		Process		spend = spend_process(model);
		MathStatus	status = process_expected_spend(&spend, &history, &each);

		if (status != MATH_OK)
			return answer(fcinfo, status, spend.family, "clv", 0.0);
	}
	return answer(fcinfo, MATH_OK, process.family, "clv",
				  margin * each * discounted_purchases(fcinfo, &process, &history,
														  horizon, step, discount));
}

Datum
loyalty_clv_dert(PG_FUNCTION_ARGS)
{
	ClvModel   *model = clv_get_arg(fcinfo, 0);
	History		history = rfm_history(rfm_get_arg(fcinfo, 1));
	Process		process = purchase_process(model, "dert");
	float8		value = 0.0;
	MathStatus	status = process_residual(&process, &history, PG_GETARG_FLOAT8(2), &value);

	return answer(fcinfo, status, process.family, "dert", value);
}

Datum
loyalty_clv_survival(PG_FUNCTION_ARGS)
{
	ClvModel   *model = clv_get_arg(fcinfo, 0);
	Process		process = purchase_process(model, "survival");
	float8		value = 0.0;
	MathStatus	status = process_survival(&process, PG_GETARG_FLOAT8(1), &value);

	return answer(fcinfo, status, process.family, "survival", value);
}

Datum
loyalty_clv_retention(PG_FUNCTION_ARGS)
{
	ClvModel   *model = clv_get_arg(fcinfo, 0);
	Process		process = purchase_process(model, "retention");
	float8		value = 0.0;
	MathStatus	status = process_retention(&process, PG_GETARG_FLOAT8(1), &value);

	return answer(fcinfo, status, process.family, "retention", value);
}
