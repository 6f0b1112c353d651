/* Tables for people. */
#include "table.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/ioctl.h>

#define GAP 2
#define WIDTH_LEAST 40

/* Columns that the text takes: code points, as the escaping left nothing but text. */
static size_t text_width(const char *text)
{
	size_t width = 0;

	for (; *text; text++)
		width += (*text & 0xc0) != 0x80;
	return width;
}

/* How many columns a line may have; SIZE_MAX when stdout is no terminal: programs and pagers want all. */
static size_t line_width(void)
{
	struct winsize size;

	if (!isatty(STDOUT_FILENO) || ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) < 0 || !size.ws_col)
		return SIZE_MAX;
	return MAX((size_t)size.ws_col, (size_t)WIDTH_LEAST);
}

void table_init(struct table *table, const struct table_column *columns, size_t count)
{
	assert(count <= TABLE_COLUMNS_MAX);
	*table = (struct table){ .columns = columns, .column_count = count };
	for (size_t i = 0; i < count; i++)
		table->widths[i] = strlen(columns[i].title);
}

void table_deinit(struct table *table)
{
	buf_free(&table->cells);
}

void table_cell(struct table *table, const char *text)
{
	size_t *width = &table->widths[table->cell_count++ % table->column_count];

	*width = MAX(*width, text_width(text));
	buf_append(&table->cells, text, strlen(text) + 1);
}

void table_cell_uint(struct table *table, uint64_t number)
{
	char text[24];

	snprintf(text, sizeof(text), "%" PRIu64, number);
	table_cell(table, text);
}

/* Bytes of the first @columns columns of @text. */
static size_t cut_bytes(const char *text, size_t columns)
{
	size_t i = 0;

	for (; text[i]; i++)
		if ((text[i] & 0xc0) != 0x80 && columns-- == 0)
			break;
	return i;
}

static void print_cell(const struct table *table, size_t column, const char *text, size_t *left)
{
	bool last = column + 1 == table->column_count;
	size_t width = text_width(text), pad = width < table->widths[column] ? table->widths[column] - width : 0;

	if (table->columns[column].right)
		printf("%*s", (int)MIN(pad, *left), "");
	printf("%.*s", (int)cut_bytes(text, *left), text);
	if (!last && !table->columns[column].right)
		printf("%*s", (int)pad, "");
	if (!last)
		printf("%*s", GAP, "");
	*left -= MIN(*left, MAX(width, table->widths[column]) + GAP);
}

void table_flush(struct table *table)
{
	size_t width = line_width(), left = width;
	const char *cell = table->cells.data;

	assert(table->column_count > 0);
	if (!table->headed)
		for (size_t i = 0; i < table->column_count; i++)
			print_cell(table, i, table->columns[i].title, &left);
	if (!table->headed)
		putchar('\n');
	table->headed = true;
	for (size_t i = 0; !table->cells.failed && i < table->cell_count; i++, cell += strlen(cell) + 1) {
		size_t column = i % table->column_count;

		if (column == 0)
			left = width;
		print_cell(table, column, cell, &left);
		if (column + 1 == table->column_count)
			putchar('\n');
	}
	buf_clear(&table->cells);
	table->cell_count = 0;
}
