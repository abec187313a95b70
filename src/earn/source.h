/*
 * source.h
 *		Attached tables, and what the engine reads of their rows.
 */
#ifndef LOYALTY_SOURCE_H
#define LOYALTY_SOURCE_H

#include "executor/tuptable.h"
#include "fmgr.h"

#include "ledger/program.h"

#define SOURCE_KEYS_MAX		INDEX_MAX_KEYS

/* How a column's value becomes text, without a function call where it can. */
typedef struct ColumnText
{
	AttrNumber	attnum;			/* 0: no such column is named */
	Oid			type;			/* below domains */
	bool		hangs_on_settings;	/* the output function's text does */
	FmgrInfo	output;
} ColumnText;

typedef struct ColumnNumber
{
	AttrNumber	attnum;
	Oid			type;
} ColumnNumber;

/* Where the columns are in one table of the source's tree, or in a query's result. */
typedef struct SourceColumns
{
	Oid			relid;
	ColumnText	member;
	ColumnText	status;
	ColumnText	event;
	ColumnText	key[SOURCE_KEYS_MAX];
	int			nkey;
	ColumnNumber amount;
	ColumnNumber refunded;
	ColumnNumber event_time;
	struct SourceColumns *next;
} SourceColumns;

typedef struct Source
{
	int32		source_id;
	Oid			relid;
	int32		program_id;
	char	   *kind;
	char	   *member;
	char	   *amount;			/* NULL: each row counts as 1 */
	char	   *refunded;
	char	   *event_time;		/* NULL: the transaction's start */
	char	   *status;
	char	  **earning;
	int			nearning;
	char	   *event;			/* NULL: each row is an event of its own */
	char	   *key[SOURCE_KEYS_MAX];
	int			nkey;
	bool		defer;
	bool		detached;
	SourceColumns *columns;		/* of the tables asked for so far */
} Source;

/* What rating needs to know of one version of a row. */
typedef struct Image
{
	text	   *member;			/* NULL: a guest, or a row without a key */
	int			member_no;		/* its place among a batch's members */
	bool		earning;
	bool		refused;		/* it could not be rated */
	bool		gone;			/* nothing of the row is known but its key, and when it was */
	Points		amount;
	Points		refunded;
	TimestampTz time;
	text	   *event;
	text	   *line;			/* NULL when a row is an event of its own */
} Image;

/* Why a row can't be rated; which row it is, and what is in it, is made out when that is raised. */
typedef struct Refusal
{
	int			state;
	const char *message;
	const char *detail;
	const char *hint;
} Refusal;

/* Memory for many small texts that die together. */
typedef struct Arena
{
	MemoryContext context;
	char	   *block;
	Size		used;
	Size		size;
	Size		total;
} Arena;

extern void *arena_alloc(Arena *arena, Size size);

extern Source *source_by_id(int32 source_id);	/* NULL: there is none */
extern Source *source_find(Oid relid, int32 program_id);	/* LY006 */

/* True when relid is the source's table or is under it. */
extern bool source_covers(const Source *source, Oid relid);

/* relid is InvalidOid for the result of SELECT * from the source's table. */
extern const SourceColumns *source_columns(Source *source, Oid relid, TupleDesc desc);

/*
 * False: the row can't be rated, and why.  Its member, event and line are set
 * all the same, if it has a key; a guest's event and line only when asked for.
 */
extern bool image_read(const Source *source, const SourceColumns *columns, TupleTableSlot *slot,
					   bool guests_too, Arena *arena, Image *image, Refusal *refusal);

/* The text of a row's key; NULL: a part of it is. */
extern text *source_key(const SourceColumns *columns, TupleTableSlot *slot, Arena *arena);

/* For an error's detail: a row's event and line, as entries have them, but cut where they are long. */
extern char *image_name(const Image *image);

extern _Noreturn void refuse(const Refusal *refusal, const Source *source, const SourceColumns *columns,
							 TupleTableSlot *slot, const Image *image);

#endif							/* LOYALTY_SOURCE_H */
