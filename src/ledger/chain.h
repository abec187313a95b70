/*
 * chain.h
 *		The hash chain of an account's entries.
 */
#ifndef LOYALTY_CHAIN_H
#define LOYALTY_CHAIN_H

#include "common/cryptohash.h"

#include "ledger/post.h"

#define CHAIN_HASH_LEN	32

/*
 * Writes the hash of entry after the entry whose hash is previous (all zeros
 * before the first).  docs/audit.md gives the bytes one by one.
 */
extern void chain_hash(pg_cryptohash_ctx *sha, int64 account_id, const Entry *entry, TimestampTz recorded_at,
					   const uint8 *previous, uint8 *hash);

#endif							/* LOYALTY_CHAIN_H */
