/*
 * checkpoint.c
 *		Merkle trees over the heads of all accounts, and proofs under their roots.
 *
 * A tree's leaves are the accounts in the order of their ids.  Leaves and
 * nodes are hashed as RFC 6962, section 2.1, does it: each with a first byte
 * of its own, so that none can be taken for the other, and without doubling
 * the last of an odd number.  A checkpoint's root is the hash of its content,
 * its tree's root and the root before it among that.  docs/checkpoint.md
 * gives all bytes one by one.
 *
 * The aggregates build a tree in one pass in memory that does not depend on
 * the number of leaves: only the roots of the complete trees to the left are
 * kept.
 *
 * What reads a proof trusts nothing in it, and reads no table: a proof is
 * checked with the bytes alone.
 *
 * Memory: a tree lives in its aggregate's context; of a proof, what is read
 * points into the proof.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "funcapi.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "port/pg_bswap.h"
#include "utils/builtins.h"

#include "base/compat.h"
#include "ledger/chain.h"
#include "ledger/checkpoint.h"

PG_FUNCTION_INFO_V1(loyalty_checkpoint_add);
PG_FUNCTION_INFO_V1(loyalty_checkpoint_root);
PG_FUNCTION_INFO_V1(loyalty_checkpoint_path);
PG_FUNCTION_INFO_V1(loyalty_checkpoint_verify);
PG_FUNCTION_INFO_V1(loyalty_checkpoint_proven);

/* First bytes of what is hashed. Entries begin with CHAIN_VERSION and are longer than a node. */
#define TAG_LEAF		0
#define TAG_NODE		1
#define TAG_CHECKPOINT	2

#define PROOF_VERSION	1
#define LEVELS			64

#define LEAF_LEN		(1 + sizeof(int64) + sizeof(int32) + CHAIN_HASH_LEN)
#define CHECKPOINT_LEN	(1 + sizeof(int32) + CHAIN_HASH_LEN + 3 * sizeof(int64) + 2 * CHAIN_HASH_LEN)

typedef struct Leaf
{
	int64		account_id;
	int32		entries;
	uint8		head[CHAIN_HASH_LEN];	/* zeros without an entry */
} Leaf;

/* The root of a complete tree of 2^height leaves. */
typedef struct Subtree
{
	int			height;
	uint8		hash[CHAIN_HASH_LEN];
} Subtree;

typedef struct Tree
{
	int64		leaves;			/* hashed so far */
	Subtree		subtrees[LEVELS];	/* of falling height, from the left */
	int			nsubtrees;

	/* the path to one leaf */
	bool		wants_path;
	int64		wanted;			/* its account */
	int64		index;			/* of the leaf; -1: not seen yet */
	int			within;			/* the subtree that has it */
	uint8		path[LEVELS][CHAIN_HASH_LEN];
	int			npath;
} Tree;

/* ----------------------------------------------------------------
 *		What is hashed
 * ---------------------------------------------------------------- */

static uint8 *
put(uint8 *to, const void *data, int len)
{
	memcpy(to, data, len);
	return to + len;
}

static uint8 *
put_int32(uint8 *to, int32 value)
{
	uint32		wire = pg_hton32((uint32) value);

	return put(to, &wire, sizeof(wire));
}

static uint8 *
put_int64(uint8 *to, int64 value)
{
	uint64		wire = pg_hton64((uint64) value);

	return put(to, &wire, sizeof(wire));
}

static void
hash_leaf(const Leaf *leaf, uint8 *hash)
{
	uint8		data[LEAF_LEN] = {TAG_LEAF};

	put(put_int32(put_int64(data + 1, leaf->account_id), leaf->entries), leaf->head, CHAIN_HASH_LEN);
	chain_sha256(data, sizeof(data), hash);
}

/* hash may be one of the two. */
static void
hash_node(const uint8 *left, const uint8 *right, uint8 *hash)
{
	uint8		data[1 + 2 * CHAIN_HASH_LEN] = {TAG_NODE};

	put(put(data + 1, left, CHAIN_HASH_LEN), right, CHAIN_HASH_LEN);
	chain_sha256(data, sizeof(data), hash);
}

/* ----------------------------------------------------------------
 *		Building a tree
 * ---------------------------------------------------------------- */

/* The last two subtrees become one; on the way the sibling of the wanted leaf's side is noted. */
static void
merge_last(Tree *tree)
{
	Subtree    *left = &tree->subtrees[tree->nsubtrees - 2];
	Subtree    *right = &tree->subtrees[tree->nsubtrees - 1];

	if (tree->index >= 0 && tree->within >= tree->nsubtrees - 2)
	{
		bool		on_left = tree->within == tree->nsubtrees - 2;

		memcpy(tree->path[tree->npath++], on_left ? right->hash : left->hash, CHAIN_HASH_LEN);
		tree->within = tree->nsubtrees - 2;
	}
	hash_node(left->hash, right->hash, left->hash);
	left->height++;
	tree->nsubtrees--;
}

static void
add_leaf(Tree *tree, const Leaf *leaf)
{
	Subtree    *added = &tree->subtrees[tree->nsubtrees++];

	added->height = 0;
	hash_leaf(leaf, added->hash);
	if (tree->wants_path && tree->index < 0 && leaf->account_id == tree->wanted)
	{
		tree->index = tree->leaves;
		tree->within = tree->nsubtrees - 1;
	}
	tree->leaves++;
	while (tree->nsubtrees > 1 &&
		   tree->subtrees[tree->nsubtrees - 2].height == tree->subtrees[tree->nsubtrees - 1].height)
		merge_last(tree);
}

/* Nothing can be added after it. */
static void
finish_tree(Tree *tree, uint8 *root)
{
	while (tree->nsubtrees > 1)
		merge_last(tree);
	if (tree->nsubtrees == 1)
		memcpy(root, tree->subtrees[0].hash, CHAIN_HASH_LEN);
	else
		chain_sha256((const uint8 *) "", 0, root);	/* of no leaves: the hash of nothing */
}

/* _tree_root(account_id, entries, head ORDER BY account_id), _tree_path(…, wanted ORDER BY account_id) */
Datum
loyalty_checkpoint_add(PG_FUNCTION_ARGS)
{
	MemoryContext context;
	Tree	   *tree;
	Leaf		leaf = {0};

	if (!AggCheckCallContext(fcinfo, &context))
		elog(ERROR, "called outside of an aggregate");
	if (PG_ARGISNULL(1) || PG_ARGISNULL(2))
		elog(ERROR, "a leaf needs an account and its entries");
	if (PG_ARGISNULL(0))
	{
		tree = MemoryContextAllocZero(context, sizeof(Tree));
		tree->index = -1;
		tree->wants_path = PG_NARGS() > 4 && !PG_ARGISNULL(4);
		if (tree->wants_path)
			tree->wanted = PG_GETARG_INT64(4);
	}
	else
		tree = (Tree *) PG_GETARG_POINTER(0);

	leaf.account_id = PG_GETARG_INT64(1);
	leaf.entries = PG_GETARG_INT32(2);
	if (!PG_ARGISNULL(3))
	{
		bytea	   *head = PG_GETARG_BYTEA_PP(3);

		memcpy(leaf.head, VARDATA_ANY(head), Min(VARSIZE_ANY_EXHDR(head), CHAIN_HASH_LEN));
	}
	add_leaf(tree, &leaf);
	PG_RETURN_POINTER(tree);
}

/* No row: the tree of no accounts. */
static Tree *
given_tree(FunctionCallInfo fcinfo)
{
	Tree	   *tree;

	if (!AggCheckCallContext(fcinfo, NULL))
		elog(ERROR, "called outside of an aggregate");
	if (!PG_ARGISNULL(0))
		return (Tree *) PG_GETARG_POINTER(0);
	tree = palloc0(sizeof(Tree));
	tree->index = -1;
	return tree;
}

Datum
loyalty_checkpoint_root(PG_FUNCTION_ARGS)
{
	bytea	   *result = palloc(VARHDRSZ + CHAIN_HASH_LEN);

	SET_VARSIZE(result, VARHDRSZ + CHAIN_HASH_LEN);
	finish_tree(given_tree(fcinfo), (uint8 *) VARDATA(result));
	PG_RETURN_BYTEA_P(result);
}

/* As it is in a proof: the leaf's index, the number of hashes, the hashes from the leaf up. */
Datum
loyalty_checkpoint_path(PG_FUNCTION_ARGS)
{
	Tree	   *tree = given_tree(fcinfo);
	uint8		root[CHAIN_HASH_LEN];
	bytea	   *result;
	uint8	   *to;
	uint8		n;

	finish_tree(tree, root);
	if (tree->index < 0)
		PG_RETURN_NULL();
	n = tree->npath;
	result = palloc(VARHDRSZ + sizeof(int64) + 1 + n * CHAIN_HASH_LEN);
	SET_VARSIZE(result, VARHDRSZ + sizeof(int64) + 1 + n * CHAIN_HASH_LEN);
	to = put(put_int64((uint8 *) VARDATA(result), tree->index), &n, 1);
	put(to, tree->path, n * CHAIN_HASH_LEN);
	PG_RETURN_BYTEA_P(result);
}

/* ----------------------------------------------------------------
 *		Reading a proof
 * ---------------------------------------------------------------- */

/* Past its end zeros are read, a hash at most at once, and failed says so. */
typedef struct Reader
{
	const uint8 *at;
	const uint8 *end;
	bool		failed;
} Reader;

typedef struct Bytes
{
	const uint8 *data;
	int32		len;
} Bytes;

static const uint8 *
take(Reader *reader, int64 len)
{
	static const uint8 nothing[CHAIN_HASH_LEN];
	const uint8 *data = reader->at;

	if (reader->failed || len < 0 || len > reader->end - reader->at)
	{
		reader->failed = true;
		return nothing;
	}
	reader->at += len;
	return data;
}

static uint8
take_byte(Reader *reader)
{
	return *take(reader, 1);
}

static int32
take_int32(Reader *reader)
{
	uint32		wire;

	memcpy(&wire, take(reader, sizeof(wire)), sizeof(wire));
	return (int32) pg_ntoh32(wire);
}

static int64
take_int64(Reader *reader)
{
	uint64		wire;

	memcpy(&wire, take(reader, sizeof(wire)), sizeof(wire));
	return (int64) pg_ntoh64(wire);
}

static Bytes
take_sized(Reader *reader, int32 len)
{
	Bytes		bytes = {take(reader, len), len};

	if (reader->failed)
		bytes.len = 0;
	return bytes;
}

static Bytes
take_bytes(Reader *reader)
{
	return take_sized(reader, take_int32(reader));
}

/* With its length in a byte. */
static Bytes
take_word(Reader *reader)
{
	return take_sized(reader, take_byte(reader));
}

/* What a proof says, and the root that follows from it. */
typedef struct Proof
{
	int64		account_id;
	Entry		entry;
	TimestampTz recorded_at;
	Bytes		kind;
	Bytes		event;			/* data NULL: none */
	Bytes		line;
	int32		number;			/* of the checkpoint whose tree has the account */
	int32		last_number;	/* of the one whose root follows */
	TimestampTz taken_at;		/* that one's */
	uint8		root[CHAIN_HASH_LEN];
} Proof;

/* What an entry did to lots, as flags say. */
static void
skip_effects(Reader *reader, uint8 flags)
{
	if (flags & EFFECT_ALLOCATIONS)
		take(reader, (int64) take_int32(reader) * (int64) (sizeof(int32) + sizeof(int64)));
	if (flags & EFFECT_CLOCK)
		take(reader, sizeof(int64));
	if (flags & EFFECT_ENDED)
		take(reader, sizeof(int64));
	while ((flags & EFFECT_LOTS) && !reader->failed && reader->at < reader->end)
		take(reader, sizeof(int64) * (1 + (take_byte(reader) != 0)) + sizeof(int32));
	if (flags & EFFECT_HOLD)
		take(reader, sizeof(int64));
	while ((flags & EFFECT_HOLD) && !reader->failed && reader->at < reader->end)
		take(reader, sizeof(int32) + sizeof(int64));
}

/* An entry's canonical bytes, of which the hash before was left out. */
static bool
read_entry(Proof *proof, Bytes bytes)
{
	Reader		reader = {bytes.data, bytes.data + bytes.len};
	Entry	   *entry = &proof->entry;
	uint8		numbers;
	uint8		texts;

	if (take_byte(&reader) != CHAIN_VERSION)
		return false;
	proof->account_id = take_int64(&reader);
	entry->entry_no = take_int32(&reader);
	entry->points = take_int64(&reader);
	entry->event_time = take_int64(&reader);
	proof->recorded_at = take_int64(&reader);
	entry->actor_id = take_int32(&reader);
	proof->kind = take_word(&reader);
	numbers = take_byte(&reader);
	texts = take_byte(&reader);
	if ((numbers & 0x80) != 0 || (texts & ~(3 | EFFECT_FLAGS)) != 0 || (texts & EFFECT_LOTS && texts & EFFECT_HOLD))
		return false;
#define TAKE(bit, take)	((numbers & (1 << (bit))) != 0 ? take(&reader) : 0)
	entry->base = TAKE(0, take_int64);
	entry->refunded = TAKE(1, take_int64);
	entry->forgiven = TAKE(2, take_int64);
	entry->lot_no = TAKE(3, take_int32);
	entry->source_id = TAKE(4, take_int32);
	entry->rule_id = TAKE(5, take_int32);
	entry->reverses = TAKE(6, take_int32);
	if (texts & 1)
		proof->event = take_bytes(&reader);
	if (texts & 2)
		proof->line = take_bytes(&reader);
	skip_effects(&reader, texts);
	return !reader.failed && reader.at == reader.end;
}

/* The entry, then all of its account that follow, up to the head that the leaf has. */
static bool
read_chain(Reader *reader, Proof *proof, Leaf *leaf)
{
	int32		n = take_int32(reader);

	if (n < 1)
		return false;
	memcpy(leaf->head, take(reader, CHAIN_HASH_LEN), CHAIN_HASH_LEN);
	for (int32 i = 0; i < n; i++)
	{
		Proof		scratch = {0};
		Proof	   *at = i == 0 ? proof : &scratch;
		Bytes		bytes = take_bytes(reader);
		uint8	   *data;

		CHECK_FOR_INTERRUPTS();
		if (reader->failed || !read_entry(at, bytes))
			return false;
		if (i > 0 && (at->account_id != leaf->account_id || at->entry.entry_no != leaf->entries + 1))
			return false;
		data = palloc(bytes.len + CHAIN_HASH_LEN);
		put(put(put(data, bytes.data, 1), leaf->head, CHAIN_HASH_LEN), bytes.data + 1, bytes.len - 1);
		chain_sha256(data, bytes.len + CHAIN_HASH_LEN, leaf->head);
		pfree(data);
		leaf->account_id = at->account_id;
		leaf->entries = at->entry.entry_no;
	}
	return true;
}

/* RFC 9162, section 2.1.3.2; the tree's size is read later and checked there. */
static bool
climb(uint64 index, uint64 size, const uint8 *path, int npath, uint8 *hash)
{
	uint64		last = size - 1;

	if (size == 0 || index >= size)
		return false;
	for (int i = 0; i < npath; i++, path += CHAIN_HASH_LEN)
	{
		if (last == 0)
			return false;
		if ((index & 1) || index == last)
		{
			hash_node(path, hash, hash);
			while (!(index & 1) && index != 0)
			{
				index >>= 1;
				last >>= 1;
			}
		}
		else
			hash_node(hash, path, hash);
		index >>= 1;
		last >>= 1;
	}
	return last == 0;
}

/* The checkpoint that has the account in its tree, and those that build on it. */
static bool
read_checkpoints(Reader *reader, const Leaf *leaf, Proof *proof)
{
	int64		index = take_int64(reader);
	int			npath = take_byte(reader);
	const uint8 *path = take(reader, npath * CHAIN_HASH_LEN);
	uint8		tree[CHAIN_HASH_LEN];
	int32		following = 0;

	if (reader->failed)
		return false;
	proof->number = take_int32(reader);
	memcpy(proof->root, take(reader, CHAIN_HASH_LEN), CHAIN_HASH_LEN);
	if (proof->number < 1)
		return false;
	for (int32 i = 0; i <= following; i++)
	{
		uint8		data[CHECKPOINT_LEN] = {TAG_CHECKPOINT};
		uint8	   *to = put(put_int32(data + 1, proof->number + i), proof->root, CHAIN_HASH_LEN);
		int64		accounts;

		CHECK_FOR_INTERRUPTS();
		proof->taken_at = take_int64(reader);
		accounts = take_int64(reader);
		to = put_int64(put_int64(to, proof->taken_at), accounts);
		to = put_int64(to, take_int64(reader));
		if (i == 0)
		{
			hash_leaf(leaf, tree);
			if (!climb(index, accounts, path, npath, tree))
				return false;
		}
		else
			memcpy(tree, take(reader, CHAIN_HASH_LEN), CHAIN_HASH_LEN);
		put(put(to, tree, CHAIN_HASH_LEN), take(reader, CHAIN_HASH_LEN), CHAIN_HASH_LEN);
		chain_sha256(data, sizeof(data), proof->root);
		if (i == 0)
			following = take_int32(reader);
		if (reader->failed || following < 0 || following > PG_INT32_MAX - proof->number)
			return false;
	}
	proof->last_number = proof->number + following;
	return true;
}

/* False: it proves nothing, whatever the root. */
static bool
read_proof(const bytea *given, Proof *proof)
{
	Reader		reader = {(const uint8 *) VARDATA_ANY(given)};
	Leaf		leaf;

	memset(proof, 0, sizeof(*proof));
	reader.end = reader.at + VARSIZE_ANY_EXHDR(given);
	return take_byte(&reader) == PROOF_VERSION &&
		read_chain(&reader, proof, &leaf) &&
		read_checkpoints(&reader, &leaf, proof) &&
		reader.at == reader.end;
}

/* verify_proof(proof bytea, root bytea) */
Datum
loyalty_checkpoint_verify(PG_FUNCTION_ARGS)
{
	bytea	   *given = PG_GETARG_BYTEA_PP(0);
	bytea	   *root = PG_GETARG_BYTEA_PP(1);
	Proof		proof;

	PG_RETURN_BOOL(VARSIZE_ANY_EXHDR(root) == CHAIN_HASH_LEN &&
				   read_proof(given, &proof) &&
				   memcmp(proof.root, VARDATA_ANY(root), CHAIN_HASH_LEN) == 0);
}

/* The texts come from another database, perhaps of another encoding. */
static Datum
text_datum(Bytes bytes)
{
	pg_verifymbstr((const char *) bytes.data, bytes.len, false);
	return PointerGetDatum(cstring_to_text_with_len((const char *) bytes.data, bytes.len));
}

/* proven(proof bytea): one row, or none where the proof is none */
Datum
loyalty_checkpoint_proven(PG_FUNCTION_ARGS)
{
	Proof		proof;
	const Entry *entry = &proof.entry;
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	Datum		values[20];
	bool		nulls[20] = {0};
	bytea	   *root;
	int			n = 0;

	InitMaterializedSRF(fcinfo, 0);
	if (result->setDesc->natts != (int) lengthof(values))
		elog(ERROR, "a proof does not have the columns that this library knows");
	if (!read_proof(PG_GETARG_BYTEA_PP(0), &proof))
		return (Datum) 0;

	root = palloc(VARHDRSZ + CHAIN_HASH_LEN);
	SET_VARSIZE(root, VARHDRSZ + CHAIN_HASH_LEN);
	memcpy(VARDATA(root), proof.root, CHAIN_HASH_LEN);

	values[n++] = PointerGetDatum(root);
	values[n++] = Int32GetDatum(proof.last_number);
	values[n++] = TimestampTzGetDatum(proof.taken_at);
	values[n++] = Int32GetDatum(proof.number);
	values[n++] = Int64GetDatum(proof.account_id);
	values[n++] = Int32GetDatum(entry->entry_no);
	values[n++] = text_datum(proof.kind);
	values[n++] = PointsGetDatum(entry->points);
	values[n++] = TimestampTzGetDatum(entry->event_time);
	values[n++] = TimestampTzGetDatum(proof.recorded_at);
	values[n++] = Int32GetDatum(entry->actor_id);
	/* From here on a zero means none. */
	values[n++] = PointsGetDatum(entry->base);
	values[n++] = PointsGetDatum(entry->refunded);
	values[n++] = PointsGetDatum(entry->forgiven);
	values[n++] = Int32GetDatum(entry->lot_no);
	values[n++] = Int32GetDatum(entry->source_id);
	values[n++] = Int32GetDatum(entry->rule_id);
	values[n++] = Int32GetDatum(entry->reverses);
	values[n++] = proof.event.data != NULL ? text_datum(proof.event) : (Datum) 0;
	values[n++] = proof.line.data != NULL ? text_datum(proof.line) : (Datum) 0;
	for (int i = 11; i < n; i++)
		nulls[i] = values[i] == 0;
	Assert(n == (int) lengthof(values));
	tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
	return (Datum) 0;
}
