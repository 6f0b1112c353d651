/* Tables for people. */
#include "table.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>

#include "terminal.h"
#include "text.h"

#define GAP 2
#define WIDTH_LEAST 40 /* narrower terminals wrap the lines: less would tell nothing */
#define ELLIPSIS "…"

/* --- Colours --- */

enum colour { COLOUR_NONE, COLOUR_TITLE, COLOUR_GOOD, COLOUR_BAD, COLOUR_ACTIVE, COLOUR_NOTE, COLOUR_DIM };

static const char *const colour_codes[] = {
	[COLOUR_NONE] = "", [COLOUR_TITLE] = "1", [COLOUR_GOOD] = "32", [COLOUR_BAD] = "31", [COLOUR_ACTIVE] = "36",
	[COLOUR_NOTE] = "33", [COLOUR_DIM] = "2",
};

/* States of jobs, outcomes, states of workers and breakers; what is not here has no colour. */
static const struct {
	const char *word;
	enum colour colour;
} words[] = {
	{ "succeeded", COLOUR_GOOD },  { "failed", COLOUR_BAD },     { "signaled", COLOUR_BAD },  { "timeout", COLOUR_BAD },
	{ "oom", COLOUR_BAD },         { "unstartable", COLOUR_BAD }, { "lost", COLOUR_BAD },     { "running", COLOUR_ACTIVE },
	{ "busy", COLOUR_ACTIVE },     { "open", COLOUR_BAD },       { "dead", COLOUR_BAD },      { "stuck", COLOUR_BAD },
	{ "starting", COLOUR_NOTE },   { "leaving", COLOUR_NOTE },   { "yes", COLOUR_NOTE },      { "held", COLOUR_DIM },
	{ "delayed", COLOUR_DIM },     { "blocked", COLOUR_DIM },    { "done", COLOUR_DIM },      { "cancelled", COLOUR_DIM },
	{ "expired", COLOUR_DIM },     { "skipped", COLOUR_DIM },    { "idle", COLOUR_DIM },      { "closed", COLOUR_DIM },
	{ "no", COLOUR_DIM },          { "-", COLOUR_DIM },
};

static enum colour word_colour(const char *text)
{
	size_t len = strcspn(text, "(");

	for (size_t i = 0; i < ARRAY_SIZE(words); i++)
		if (strncmp(words[i].word, text, len) == 0 && !words[i].word[len])
			return words[i].colour;
	return COLOUR_NONE;
}

static enum colour cell_colour(enum table_look look, const char *text)
{
	bool nothing = strcmp(text, "0") == 0 || strcmp(text, "-") == 0;

	if (look == LOOK_PLAIN)
		return COLOUR_NONE;
	if (look == LOOK_WORD)
		return word_colour(text);
	if (nothing)
		return COLOUR_DIM;
	return look == LOOK_ACTIVE ? COLOUR_ACTIVE : look == LOOK_BAD ? COLOUR_BAD : COLOUR_NONE;
}

/* --- Gathering --- */

void table_init(struct table *table, const struct table_column *columns, size_t count, const char *when)
{
	assert(count > 0 && count <= TABLE_COLUMNS_MAX);
	*table = (struct table){ .columns = columns, .column_count = count, .colour = terminal_has_colour(when) };
	table->width = MAX(terminal_width(STDOUT_FILENO), (size_t)WIDTH_LEAST);
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

/* --- Printing --- */

/* How wide the lines are at least: the last column may be cut. */
static size_t width_needed(const struct table *table)
{
	size_t sum = 0;

	for (size_t i = 0; i < table->column_count; i++) {
		size_t least = table->columns[i].least;

		if (!table->left_out[i])
			sum += (least ? MIN(least, table->widths[i]) : table->widths[i]) + GAP;
	}
	return sum - GAP;
}

static void leave_out(struct table *table)
{
	for (unsigned drop = 1; drop <= table->column_count && width_needed(table) > table->width; drop++)
		for (size_t i = 0; i < table->column_count; i++)
			table->left_out[i] |= table->columns[i].drop == drop;
}

static bool is_last(const struct table *table, size_t column)
{
	while (++column < table->column_count)
		if (!table->left_out[column])
			return false;
	return true;
}

static void print_blanks(size_t count, size_t *left)
{
	count = MIN(count, *left);
	printf("%*s", (int)count, "");
	*left -= count;
}

/* @left: columns that the line may still have. */
static void print_text(const struct table *table, const char *text, enum colour colour, size_t *left)
{
	size_t width = text_width(text), bytes = strlen(text);
	bool cut = width > *left, coloured = table->colour && colour != COLOUR_NONE && *left;

	if (cut)
		bytes = text_cut(text, MAX(*left, 1) - 1);
	if (coloured)
		printf("\033[%sm", colour_codes[colour]);
	printf("%.*s%s", (int)bytes, text, cut && *left ? ELLIPSIS : "");
	if (coloured)
		printf("\033[0m");
	*left -= cut ? *left : width;
}

static void print_cell(const struct table *table, size_t column, const char *text, enum colour colour, size_t *left)
{
	size_t width = text_width(text), pad = width < table->widths[column] ? table->widths[column] - width : 0;
	bool right = table->columns[column].right, last = is_last(table, column);

	if (table->left_out[column])
		return;
	if (right)
		print_blanks(pad, left);
	print_text(table, text, colour, left);
	if (!last)
		print_blanks(GAP + (right ? 0 : pad), left);
}

static void print_titles(const struct table *table)
{
	size_t left = table->width;

	for (size_t i = 0; i < table->column_count; i++)
		print_cell(table, i, table->columns[i].title, COLOUR_TITLE, &left);
	putchar('\n');
}

void table_flush(struct table *table)
{
	const char *cell = table->cells.data;
	size_t left = 0;

	if (!table->headed) {
		leave_out(table);
		print_titles(table);
	}
	table->headed = true;
	for (size_t i = 0; !table->cells.failed && i < table->cell_count; i++, cell += strlen(cell) + 1) {
		size_t column = i % table->column_count;

		if (column == 0)
			left = table->width;
		print_cell(table, column, cell, cell_colour(table->columns[column].look, cell), &left);
		if (column + 1 == table->column_count)
			putchar('\n');
	}
	buf_clear(&table->cells);
	table->cell_count = 0;
}
