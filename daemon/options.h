/* NAME value pairs of a request, parsed by a table. Pure: no clock, no loop, no daemon. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "util.h"

#define OPTIONS_MAX 64 /* rows of one table */

struct option_row;

/* Read @value into @field. 0, or -EINVAL: the value is not what @row->value says. */
typedef int (*option_parser)(const struct option_row *row, struct slice value, void *field);

struct option_row {
	const char *name;             /* upper case */
	const char *value;            /* what is allowed, for people; shown by COMMAND DOCS and in errors */
	option_parser parse;
	size_t offset;                /* of the field in the struct that the table fills */
	int64_t min, max;             /* for the parsers that look at them */
};

struct option_table {
	const struct option_row *rows;
	size_t count;
};

#define OPTION_TABLE(array) { (array), ARRAY_SIZE(array) }

/**
 * Parse pairs up to the end, or up to the word @end.
 *
 * @end:      NULL = none
 * @into:     the struct with the table's fields; those of options that are not named are left alone
 * @ret_used: words taken, @end not among them
 * @error:    a line for the peer
 *
 * Returns 0 or -EINVAL (unknown, twice, without a value, or a bad value).
 */
int options_parse(const struct option_table *table, const struct slice *words, size_t count, const char *end, void *into,
		  size_t *ret_used, char error[256]);

/* Parsers: what the field is. */
int option_duration(const struct option_row *row, struct slice value, void *field); /* uint64_t, milliseconds */
int option_size(const struct option_row *row, struct slice value, void *field);     /* uint64_t, bytes */
int option_int(const struct option_row *row, struct slice value, void *field);      /* int64_t, min..max */
int option_octal(const struct option_row *row, struct slice value, void *field);    /* uint32_t, 0..0777 */
int option_bytes(const struct option_row *row, struct slice value, void *field);    /* struct slice of min..max bytes, borrowed */

/* Bytes for a message: cut, what cannot be printed as '?'. Returns @text. */
char *option_show(struct slice value, char text[48]);
