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

/* Grows, and is kept for the next use. */
typedef struct ByteBuffer
{
	uint8	   *data;
	int			len;
	int			room;
} ByteBuffer;

/*
 * What an entry does to lots, as it is hashed: a byte of flags, then what they
 * say.  First its allocations in their order, then the end of the account's clock,
 * if that moved, and when lots ended with it, if some did, then the lots that it
 * opens by number, or those it holds points of.  Nothing at all: no bytes.
 */
typedef struct Effects
{
	ByteBuffer	bytes;
	int			allocations;
} Effects;

#define EFFECT_ALLOCATIONS	0x04
#define EFFECT_CLOCK		0x08
#define EFFECT_ENDED		0x10
#define EFFECT_LOTS			0x20
#define EFFECT_HOLD			0x40
#define EFFECT_FLAGS		(EFFECT_ALLOCATIONS | EFFECT_CLOCK | EFFECT_ENDED | EFFECT_LOTS | EFFECT_HOLD)

extern void effects_begin(Effects *effects);
extern void effects_add_allocation(Effects *effects, int32 lot_no, Points points);
extern void effects_set_clock(Effects *effects, TimestampTz end);
extern void effects_set_ended(Effects *effects, TimestampTz ended);

/* expires_at as the entry made it, LOT_ON_CLOCK too. */
extern void effects_add_lot(Effects *effects, TimestampTz valid_from, TimestampTz expires_at, DateADT issued);
extern void effects_add_held(Effects *effects, TimestampTz ends_at, int32 lot_no, Points points);

/*
 * The canonical bytes of an entry, good until the next call; effects are
 * length bytes, of which the first is flags.
 */
extern const uint8 *chain_bytes(int64 account_id, const Entry *entry, const text *kind, TimestampTz recorded_at,
								const uint8 *effects, int length, const uint8 *previous, int *len);

/*
 * Writes the hash of entry after the entry whose hash is previous (all zeros
 * before the first).  docs/audit.md gives the bytes one by one.  The kind is
 * hashed as it is stored, so that any word can be, and entry->kind is not read.
 */
extern void chain_hash(int64 account_id, const Entry *entry, const text *kind, TimestampTz recorded_at,
					   const Effects *effects, const uint8 *previous, uint8 *hash);

#endif							/* LOYALTY_CHAIN_H */
