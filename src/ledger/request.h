/*
 * request.h
 *		Calls that an application may repeat.
 */
#ifndef LOYALTY_REQUEST_H
#define LOYALTY_REQUEST_H

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

#endif							/* LOYALTY_REQUEST_H */
