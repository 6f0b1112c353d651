/* Tables for people: aligned columns, cut to the terminal's width. Rows are gathered and printed page by page; a later
 * page keeps the widths of those before it, so a table of any length needs little memory. */
#pragma once

#include "buf.h"

#define TABLE_COLUMNS_MAX 12

struct table_column {
	const char *title;
	bool right;              /* numbers: aligned to the right */
};

struct table {
	const struct table_column *columns; /* borrowed */
	size_t column_count;
	size_t widths[TABLE_COLUMNS_MAX];
	struct buf cells;        /* NUL-terminated cells of the rows that were not printed yet */
	size_t cell_count;
	bool headed;             /* the titles were printed */
};

void table_init(struct table *table, const struct table_column *columns, size_t count);
/* The next cell, from left to right, row by row. Is escaped by the caller. */
void table_cell(struct table *table, const char *text);
void table_cell_uint(struct table *table, uint64_t number);
/* Print what was gathered, under the titles the first time. */
void table_flush(struct table *table);
void table_deinit(struct table *table);
