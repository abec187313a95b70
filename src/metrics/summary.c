/*
 * summary.c
 *		Text, binary and comparison of the metrics' typed summaries.
 *
 * Everything is allocated in the caller's memory context.
 */
#include "postgres.h"

#include <math.h>

#include "common/hashfn.h"
#include "common/shortest_dec.h"
#include "libpq/pqformat.h"
#include "utils/builtins.h"

#include "base/compat.h"
#include "base/errors.h"
#include "metrics/summary.h"

PG_FUNCTION_INFO_V1(loyalty_summary_eq);
PG_FUNCTION_INFO_V1(loyalty_summary_ne);
PG_FUNCTION_INFO_V1(loyalty_summary_hash);
PG_FUNCTION_INFO_V1(loyalty_summary_hash_extended);

void *
summary_alloc(Size size, uint8 version)
{
	SummaryHeader *header = palloc0(size);

	SET_VARSIZE(header, size);
	header->version = version;
	return header;
}

void
summary_check_version(const SummaryHeader *header, uint8 newest, const char *type)
{
	if (unlikely(header->version == 0 || header->version > newest))
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("version %d of type %s is not known to this release",
						header->version, type),
				 errhint("The value was written by a later release of the extension.")));
}


/* ----- text ----- */

static bool
is_space(char c)
{
	return c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\v' || c == '\f';
}

/* A copy of [start, end) without the blanks around it. */
static char *
trimmed(const char *start, const char *end)
{
	while (start < end && is_space(*start))
		start++;
	while (start < end && is_space(end[-1]))
		end--;
	return pnstrdup(start, end - start);
}

#define syntax_error(type, text, ...) \
	ereturn(escontext, false, \
			(errcode(ERRCODE_INVALID_TEXT_REPRESENTATION), \
			 errmsg("invalid input syntax for type %s: \"%s\"", type, text), \
			 errdetail(__VA_ARGS__)))

bool
summary_parse(const char *text, const char *type,
			  SummaryField *fields, int nfields, Node *escontext)
{
	const char *p = text;

	for (int i = 0; i < nfields; i++)
		fields[i].value = NULL;

	while (is_space(*p))
		p++;
	if (*p++ != '(')
		syntax_error(type, text, "It must start with \"(\".");

	for (;;)
	{
		const char *end = p + strcspn(p, ",)");
		const char *colon = memchr(p, ':', end - p);
		SummaryField *field = NULL;
		char	   *name;

		if (*end == '\0')
			syntax_error(type, text, "It must end with \")\".");
		if (colon == NULL)
			syntax_error(type, text, "Each field must be written as name:value.");

		name = trimmed(p, colon);
		for (int i = 0; i < nfields; i++)
		{
			if (strcmp(fields[i].name, name) == 0)
				field = &fields[i];
		}
		if (field == NULL)
			syntax_error(type, text, "The field \"%s\" is not known.", name);
		if (field->value != NULL)
			syntax_error(type, text, "The field \"%s\" is given twice.", name);
		field->value = trimmed(colon + 1, end);

		p = end + 1;
		if (*end == ')')
			break;
	}

	while (is_space(*p))
		p++;
	if (*p != '\0')
		syntax_error(type, text, "There is text after the closing \")\".");

	for (int i = 0; i < nfields; i++)
	{
		if (fields[i].required && fields[i].value == NULL)
			syntax_error(type, text, "The field \"%s\" is missing.", fields[i].name);
	}
	return true;
}

/* A count is an integer from 0 up. */
bool
summary_read_count(const SummaryField *field, const char *type,
				   int64 *result, Node *escontext)
{
	char	   *end;

	errno = 0;
	*result = strtoi64(field->value, &end, 10);
	if (end == field->value || *end != '\0')
		syntax_error(type, field->value, "The field \"%s\" must be an integer.", field->name);
	if (errno == ERANGE)
		ereturn(escontext, false,
				(errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
				 errmsg("value \"%s\" is out of range for field \"%s\" of type %s",
						field->value, field->name, type)));
	return true;
}

bool
summary_read_float8(const SummaryField *field, const char *type,
					float8 *result, Node *escontext)
{
	char	   *end;

	errno = 0;
	*result = strtod(field->value, &end);
	if (end == field->value || *end != '\0')
		syntax_error(type, field->value, "The field \"%s\" must be a number.", field->name);

	/* An underflow to a denormal also says ERANGE, and is no error. */
	if (errno == ERANGE && (*result == 0.0 || isinf(*result)))
		ereturn(escontext, false,
				(errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
				 errmsg("value \"%s\" is out of range for field \"%s\" of type %s",
						field->value, field->name, type)));
	return true;
}

void
summary_put(StringInfo buf, const char *name, const char *value)
{
	appendStringInfo(buf, "%c%s:%s", buf->len == 0 ? '(' : ',', name, value);
}

void
summary_put_count(StringInfo buf, const char *name, int64 value)
{
	char		digits[MAXINT8LEN + 1];

	pg_lltoa(value, digits);
	summary_put(buf, name, digits);
}

bool
summary_read_value(PGFunction input, char *text, Node *escontext, Datum *result)
{
	LOCAL_FCINFO(call, 3);

	InitFunctionCallInfoData(*call, NULL, 3, InvalidOid, escontext, NULL);
	call->args[0].value = CStringGetDatum(text);
	call->args[0].isnull = false;
	call->args[1].value = ObjectIdGetDatum(InvalidOid);
	call->args[1].isnull = false;
	call->args[2].value = Int32GetDatum(-1);
	call->args[2].isnull = false;
	*result = input(call);
	return !SOFT_ERROR_OCCURRED(escontext);
}

char *
summary_float8_text(float8 value)
{
	char	   *digits = palloc(DOUBLE_SHORTEST_DECIMAL_LEN);

	double_to_shortest_decimal_buf(value, digits);
	return digits;
}

void
summary_put_float8(StringInfo buf, const char *name, float8 value)
{
	summary_put(buf, name, summary_float8_text(value));
}

char *
summary_finish(StringInfo buf)
{
	appendStringInfoChar(buf, ')');
	return buf->data;
}


/* ----- binary ----- */

void
summary_begin_send(StringInfo buf, uint8 version)
{
	pq_begintypsend(buf);
	pq_sendbyte(buf, version);
}

uint8
summary_begin_recv(StringInfo buf, uint8 newest, const char *type)
{
	int			version = pq_getmsgbyte(buf);

	if (version == 0 || version > newest)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_BINARY_REPRESENTATION),
				 errmsg("version %d of type %s is not known to this release", version, type)));
	return (uint8) version;
}


/* ----- comparison, for types of which equal values have equal bytes ----- */

static bool
summary_equal(FunctionCallInfo fcinfo)
{
	struct varlena *a = PG_GETARG_VARLENA_PP(0);
	struct varlena *b = PG_GETARG_VARLENA_PP(1);

	return VARSIZE_ANY_EXHDR(a) == VARSIZE_ANY_EXHDR(b) &&
		memcmp(VARDATA_ANY(a), VARDATA_ANY(b), VARSIZE_ANY_EXHDR(a)) == 0;
}

Datum
loyalty_summary_eq(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(summary_equal(fcinfo));
}

Datum
loyalty_summary_ne(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(!summary_equal(fcinfo));
}

Datum
loyalty_summary_hash(PG_FUNCTION_ARGS)
{
	struct varlena *value = PG_GETARG_VARLENA_PP(0);

	return hash_any((unsigned char *) VARDATA_ANY(value), VARSIZE_ANY_EXHDR(value));
}

Datum
loyalty_summary_hash_extended(PG_FUNCTION_ARGS)
{
	struct varlena *value = PG_GETARG_VARLENA_PP(0);

	return hash_any_extended((unsigned char *) VARDATA_ANY(value), VARSIZE_ANY_EXHDR(value),
							 PG_GETARG_INT64(1));
}

/* ----- reading ----- */

double
summary_confidence(FunctionCallInfo fcinfo, int argno)
{
	double		confidence = PG_GETARG_FLOAT8(argno);

	if (!(confidence > 0.0 && confidence < 1.0))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("confidence must lie between 0 and 1"),
				 errhint("Give 0.95 for 95 %%.")));
	return confidence;
}
