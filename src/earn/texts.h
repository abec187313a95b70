/*
 * texts.h
 *		A hash table of texts, each with a number: members of a batch, keys of rows.
 */
#ifndef LOYALTY_TEXTS_H
#define LOYALTY_TEXTS_H

#include "common/hashfn.h"

#include "ledger/post.h"

typedef struct NumberedText
{
	text	   *key;
	uint32		hash;
	char		status;
	int			number;
} NumberedText;

#define SH_PREFIX			texts
#define SH_ELEMENT_TYPE		NumberedText
#define SH_KEY_TYPE			text *
#define SH_KEY				key
#define SH_HASH_KEY(tb, k)	hash_bytes((const unsigned char *) VARDATA_ANY(k), VARSIZE_ANY_EXHDR(k))
#define SH_EQUAL(tb, a, b)	same_text(a, b)
#define SH_STORE_HASH
#define SH_GET_HASH(tb, a)	(a)->hash
#define SH_SCOPE			static inline
#define SH_DECLARE
#define SH_DEFINE
#include "lib/simplehash.h"

#endif							/* LOYALTY_TEXTS_H */
