/*
 * chain.c
 *		The hash chain of an account's entries.
 *
 * Each entry's hash covers its own canonical bytes and the hash before it, so
 * that no entry can be changed, left out, put in or moved without every later
 * hash of the account changing.  With it is hashed what it did to lots: which it
 * took from or gave to, when those that it opened begin and were to end and in
 * which month they were issued, when those end that end by activity, what it
 * held.  Free text (reason) is left out: it may name a person, and must be erasable.
 *
 * The server's own interface to SHA-256 looks the algorithm up anew for each
 * hash and ties its state to a resource owner.  OpenSSL 3 takes longer over
 * that look-up than over a short message, so where the server has OpenSSL it is
 * asked directly, with an algorithm and a state that last as long as the
 * backend.
 */
#include "postgres.h"

/* A server may have been built with it on another machine. */
#if defined(USE_OPENSSL) && __has_include(<openssl/evp.h>)
#define ASK_OPENSSL
#include <openssl/evp.h>
#else
#include "common/cryptohash.h"
#endif

#include "port/pg_bswap.h"
#include "utils/memutils.h"

#include "ledger/chain.h"

static void
add(ByteBuffer *bytes, const void *data, int len)
{
	if (bytes->len + len > bytes->room)
	{
		Size		room = Max(((Size) bytes->len + len) * 2, 512);

		bytes->data = bytes->data == NULL ? MemoryContextAlloc(TopMemoryContext, room) : repalloc(bytes->data, room);
		bytes->room = room;
	}
	memcpy(bytes->data + bytes->len, data, len);
	bytes->len += len;
}

static void
add_int32(ByteBuffer *bytes, int32 value)
{
	uint32		wire = pg_hton32((uint32) value);

	add(bytes, &wire, sizeof(wire));
}

static void
add_int64(ByteBuffer *bytes, int64 value)
{
	uint64		wire = pg_hton64((uint64) value);

	add(bytes, &wire, sizeof(wire));
}

/* Length first, so that no two texts can be read as two others. */
static void
add_text(ByteBuffer *bytes, const text *value)
{
	add_int32(bytes, VARSIZE_ANY_EXHDR(value));
	add(bytes, VARDATA_ANY(value), VARSIZE_ANY_EXHDR(value));
}

/* ----------------------------------------------------------------
 *		Effects
 * ---------------------------------------------------------------- */

void
effects_begin(Effects *effects)
{
	effects->bytes.len = 0;
	effects->allocations = 0;
}

/* Answers whether it was not there yet. */
static bool
set_flag(Effects *effects, uint8 flag)
{
	static const uint8 none = 0;

	if (effects->bytes.len == 0)
		add(&effects->bytes, &none, 1);
	if (effects->bytes.data[0] & flag)
		return false;
	effects->bytes.data[0] |= flag;
	return true;
}

void
effects_add_allocation(Effects *effects, int32 lot_no, Points points)
{
	uint32		count = pg_hton32((uint32) ++effects->allocations);

	if (set_flag(effects, EFFECT_ALLOCATIONS))
		add(&effects->bytes, &count, sizeof(count));
	else
		memcpy(effects->bytes.data + 1, &count, sizeof(count));
	add_int32(&effects->bytes, lot_no);
	add_int64(&effects->bytes, points);
}

void
effects_set_clock(Effects *effects, TimestampTz end)
{
	set_flag(effects, EFFECT_CLOCK);
	add_int64(&effects->bytes, end);
}

void
effects_set_ended(Effects *effects, TimestampTz ended)
{
	set_flag(effects, EFFECT_ENDED);
	add_int64(&effects->bytes, ended);
}

void
effects_add_lot(Effects *effects, TimestampTz valid_from, TimestampTz expires_at, DateADT issued)
{
	uint8		later = valid_from != DT_NOBEGIN;

	set_flag(effects, EFFECT_LOTS);
	add(&effects->bytes, &later, 1);
	if (later)
		add_int64(&effects->bytes, valid_from);
	add_int64(&effects->bytes, expires_at);
	add_int32(&effects->bytes, issued);
}

void
effects_add_held(Effects *effects, TimestampTz ends_at, int32 lot_no, Points points)
{
	if (set_flag(effects, EFFECT_HOLD))
		add_int64(&effects->bytes, ends_at);
	add_int32(&effects->bytes, lot_no);
	add_int64(&effects->bytes, points);
}

/* ----------------------------------------------------------------
 *		Entries
 * ---------------------------------------------------------------- */

const uint8 *
chain_bytes(int64 account_id, const Entry *entry, const text *kind, TimestampTz recorded_at,
			const uint8 *effects, int length, const uint8 *previous, int *len)
{
	static ByteBuffer bytes;
	const int64 amounts[] = {entry->base, entry->refunded, entry->forgiven};
	const int32 references[] = {entry->lot_no, entry->source_id, entry->rule_id, entry->reverses};
	const text *const texts[] = {entry->event, entry->line};
	uint8		version = CHAIN_VERSION;
	uint8		kind_len = (uint8) VARSIZE_ANY_EXHDR(kind);
	uint8		present[2];

	bytes.len = 0;
	add(&bytes, &version, 1);
	add(&bytes, previous, CHAIN_HASH_LEN);
	add_int64(&bytes, account_id);
	add_int32(&bytes, entry->entry_no);
	add_int64(&bytes, entry->points);
	add_int64(&bytes, entry->event_time);
	add_int64(&bytes, recorded_at);
	add_int32(&bytes, entry->actor_id);
	add(&bytes, &kind_len, 1);
	add(&bytes, VARDATA_ANY(kind), VARSIZE_ANY_EXHDR(kind));

	/* Then which of the optional fields there are, and those alone. */
	present[0] = present[1] = 0;
	for (int i = 0; i < (int) lengthof(amounts); i++)
		present[0] |= (amounts[i] != 0) << i;
	for (int i = 0; i < (int) lengthof(references); i++)
		present[0] |= (references[i] != 0) << (i + 3);
	for (int i = 0; i < (int) lengthof(texts); i++)
		present[1] |= (texts[i] != NULL) << i;
	if (length > 0)
		present[1] |= effects[0];
	add(&bytes, present, 2);
	for (int i = 0; i < (int) lengthof(amounts); i++)
		if (amounts[i] != 0)
			add_int64(&bytes, amounts[i]);
	for (int i = 0; i < (int) lengthof(references); i++)
		if (references[i] != 0)
			add_int32(&bytes, references[i]);
	for (int i = 0; i < (int) lengthof(texts); i++)
		if (texts[i] != NULL)
			add_text(&bytes, texts[i]);
	if (length > 0)
		add(&bytes, effects + 1, length - 1);

	*len = bytes.len;
	return bytes.data;
}

#ifdef ASK_OPENSSL

void
chain_sha256(const uint8 *data, int len, uint8 *hash)
{
	static EVP_MD_CTX *state;

	if (state == NULL)
	{
		EVP_MD_CTX *fresh = EVP_MD_CTX_new();

		if (fresh == NULL || !EVP_DigestInit_ex(fresh, EVP_sha256(), NULL))
			elog(ERROR, "could not compute SHA-256");
		state = fresh;
	}
	/* Named no algorithm, it starts again with the one it has. */
	if (!EVP_DigestInit_ex(state, NULL, NULL) ||
		!EVP_DigestUpdate(state, data, len) ||
		!EVP_DigestFinal_ex(state, hash, NULL))
		elog(ERROR, "could not compute SHA-256");
}

#else

void
chain_sha256(const uint8 *data, int len, uint8 *hash)
{
	pg_cryptohash_ctx *sha = pg_cryptohash_create(PG_SHA256);

	if (sha == NULL ||
		pg_cryptohash_init(sha) < 0 ||
		pg_cryptohash_update(sha, data, len) < 0 ||
		pg_cryptohash_final(sha, hash, CHAIN_HASH_LEN) < 0)
		elog(ERROR, "could not compute SHA-256");
	pg_cryptohash_free(sha);
}

#endif

void
chain_hash(int64 account_id, const Entry *entry, const text *kind, TimestampTz recorded_at,
		   const Effects *effects, const uint8 *previous, uint8 *hash)
{
#ifdef LOYALTY_UNCHAINED
	/* To measure what it costs. */
	memset(hash, 0, CHAIN_HASH_LEN);
#else
	int			len;
	const uint8 *data = chain_bytes(account_id, entry, kind, recorded_at, effects->bytes.data, effects->bytes.len,
									previous, &len);

	chain_sha256(data, len, hash);
#endif
}
