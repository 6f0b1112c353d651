/* Tables for people: aligned columns. On a terminal they are coloured, and fit its width: columns that matter less are left out, then
 * the line is cut, with an ellipsis. In a pipe they are whole and plain. Rows are gathered and printed page by page; a later page keeps
 * the widths of those before it, so a table of any length needs little memory. */
#pragma once

#include "buf.h"

#define TABLE_COLUMNS_MAX 16

/* What decides about a cell's colour. */
enum table_look {
	LOOK_PLAIN,
	LOOK_WORD,               /* a state or outcome, by its meaning; "(n)" behind it belongs to it */
	LOOK_COUNT,              /* nothing is dim */
	LOOK_ACTIVE,             /* the same, and something is active */
	LOOK_BAD,                /* the same, and something is bad */
};

struct table_column {
	const char *title;
	bool right;              /* numbers: aligned to the right */
	enum table_look look;
	unsigned drop;           /* where the table is too wide, the columns 1, 2, ... are left out, one after the other; 0 = never */
	size_t least;            /* the last column: it is cut down to this before a column is left out for it; 0 = not cut */
};

struct table {
	const struct table_column *columns; /* borrowed */
	size_t column_count;
	bool colour;
	size_t width;            /* columns of a line; SIZE_MAX = no limit */
	size_t widths[TABLE_COLUMNS_MAX];
	bool left_out[TABLE_COLUMNS_MAX];
	struct buf cells;        /* NUL-terminated cells of the rows that were not printed yet */
	size_t cell_count;
	bool headed;             /* the titles were printed: what is left out stays so */
};

/* @when: what --color said, NULL = nothing. */
void table_init(struct table *table, const struct table_column *columns, size_t count, const char *when);
/* The next cell, from left to right, row by row. Is escaped by the caller. */
void table_cell(struct table *table, const char *text);
void table_cell_uint(struct table *table, uint64_t number);
/* Print what was gathered, under the titles the first time. */
void table_flush(struct table *table);
void table_deinit(struct table *table);
