/* Lines of a file or pipe, of any length, without blocking before the caller had a word. */
#pragma once

#include "buf.h"

struct lines {
	int fd;                 /* borrowed */
	struct buf data;
	size_t at;              /* data before it was given out */
	size_t searched;        /* no newline between @at and this */
	uint64_t taken;         /* bytes given out, newlines too */
	bool ended;
};

enum lines_result { LINES_LINE, LINES_WAIT, LINES_END };

/**
 * The next line without its newline; a last one without newline counts too.
 *
 * @block:    wait for input; else LINES_WAIT tells that there is none yet
 * @ret_line: NUL-terminated in place, valid until the next call
 *
 * Returns enum lines_result, or -errno.
 */
int lines_next(struct lines *lines, bool block, struct slice *ret_line);
void lines_deinit(struct lines *lines);
