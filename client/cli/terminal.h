/* What may be done on a terminal: its width, colour, and one live line. In a pipe none of it happens. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "util.h"

/* Columns a line on @fd may have: $COLUMNS, or what the terminal says. SIZE_MAX when it is no terminal, or does not say: programs and
 * pagers want all. */
size_t terminal_width(int fd);
/* Whether stdout gets colours. @when: "always", "never"; "auto" or NULL: on a terminal that has them, and without NO_COLOR. */
bool terminal_has_colour(const char *when);

/* --- The live line: on stderr, below all that is printed, redrawn in place --- */

#define LIVE_BYTES 256

struct live_line {
	char text[LIVE_BYTES];
	size_t len, width;      /* @width: columns that are left */
	bool full;
};

/* Whether there can be one: stderr is a terminal that can move its cursor. What is printed on stdout is kept back from now on
 * until the line is drawn anew or cleared, since both may be the same terminal. */
bool live_begin(void);
/* A new line, with nothing in it. */
void live_line_init(struct live_line *line);
/* The next part, behind a comma. One that does not fit is left out, with all that follow. */
void live_line_add(struct live_line *line, const char *format, ...) PRINTF_LIKE(2, 3);
void live_show(const struct live_line *line);
/* Take it away and let out what was printed meanwhile. To be called before anything is written to stderr; also when there is none. */
void live_clear(void);
