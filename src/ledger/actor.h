/*
 * actor.h
 *		Who books an entry.
 */
#ifndef LOYALTY_ACTOR_H
#define LOYALTY_ACTOR_H

#include "ledger/post.h"

/* The number of who is at work: of the session's user and of the role that is set. */
extern int32 actor_now(Post *post);

/* Columns of loyalty.actor */
enum
{
	ACTOR_ID = 1, ACTOR_SESSION_USER, ACTOR_CURRENT_USER,
	ACTOR_NATTS = ACTOR_CURRENT_USER
};

#endif							/* LOYALTY_ACTOR_H */
