/*
 * chain.h
 *		The hash chain of an account's entries.
 */
#ifndef LOYALTY_CHAIN_H
#define LOYALTY_CHAIN_H

#include "ledger/post.h"

#define CHAIN_HASH_LEN	32
#define CHAIN_VERSION	1

extern void chain_sha256(const uint8 *data, int len, uint8 *hash);

/* The canonical bytes of an entry, good until the next call. */
extern const uint8 *chain_bytes(int64 account_id, const Entry *entry, const text *kind,
								TimestampTz recorded_at, const uint8 *previous, int *len);

/*
 * Writes the hash of entry after the entry whose hash is previous (all zeros
 * before the first).  docs/audit.md gives the bytes one by one.  The kind is
 * hashed as it is stored, so that any word can be, and entry->kind is not read.
 */
extern void chain_hash(int64 account_id, const Entry *entry, const text *kind,
					   TimestampTz recorded_at, const uint8 *previous, uint8 *hash);

#endif							/* LOYALTY_CHAIN_H */
