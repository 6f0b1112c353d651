/* The one growable byte buffer. A zeroed struct is an empty buffer. Failure to grow is remembered in @failed, so that
 * an encoder appends without checks and looks once at the end. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "util.h"

struct buf {
	char *data;       /* @len bytes, not NUL-terminated; NULL while nothing was ever stored */
	size_t len, cap;
	bool failed;      /* out of memory once: the content is not to be used; buf_clear() forgets it */
};

/* Room for @more bytes behind @len; returns where they go, or NULL (and @failed is set). buf->len is not moved. */
char *buf_reserve(struct buf *b, size_t more);
/* 0, or -ENOMEM with @failed set and the content unchanged. */
int buf_append(struct buf *b, const void *data, size_t len);
int buf_append_text(struct buf *b, const char *text);
int buf_printf(struct buf *b, const char *format, ...) PRINTF_LIKE(2, 3);
/* Drop the first @n bytes, n <= len. */
void buf_consume(struct buf *b, size_t n);
/* Empty, memory kept (given back when it had grown beyond 64 KiB). */
void buf_clear(struct buf *b);
/* Empty, memory given back; the struct may be used again. */
void buf_free(struct buf *b);
/* The content becomes the caller's to free(); the buffer is empty. NULL when it was empty. */
char *buf_take(struct buf *b, size_t *ret_len);
