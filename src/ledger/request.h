/*
 * request.h
 *		Calls that an application may repeat.
 */
#ifndef LOYALTY_REQUEST_H
#define LOYALTY_REQUEST_H

#include "fmgr.h"

#include "ledger/post.h"

typedef struct Request
{
	int32		program_id;
	text	   *id;				/* NULL: the caller gave none */
	const char *content;		/* all that makes the call what it is */
} Request;

/*
 * To be asked inside a visit, so that two sessions with one id come one after
 * the other.  The first answer (an entry's id), or 0 if there is none yet;
 * LY305 when the id was used for something else.
 */
extern int64 request_answer(Post *post, const Request *request);

/* Keeps the answer, for ever. */
extern void request_keep(Post *post, const Request *request, int64 account_id, int32 entry_no);

/* Ends the session with the answer that was given before or, if that is 0, with the entry, which is kept. */
extern int64 request_finish(Post *post, const Request *request, int64 answer, int64 account_id, int32 entry_no);

/* The last part of a request's content: no reason is not the same as an empty one. */
extern char *reason_content(const text *reason);

#define ARG_TEXT_OR_NULL(n)	(PG_ARGISNULL(n) ? NULL : PG_GETARG_TEXT_PP(n))

/* 22004 for a NULL that means nothing. */
extern void require_argument(FunctionCallInfo fcinfo, int n, const char *name);

#endif							/* LOYALTY_REQUEST_H */
