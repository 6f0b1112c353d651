/* The growable buffer. Grows by doubling, so that appending costs the same per byte however it is cut up. */
#include "buf.h"

#include <stdarg.h>
#include <stdio.h>

#define CAP_FIRST 256
#define CAP_KEPT_MAX 65536

static int buf_fail(struct buf *b)
{
	b->failed = true;
	return -ENOMEM;
}

char *buf_reserve(struct buf *b, size_t more)
{
	size_t needed, cap = b->cap ? b->cap : CAP_FIRST;
	char *data;

	/* Once something is missing in the middle, nothing may follow it. */
	if (b->failed || __builtin_add_overflow(b->len, more, &needed) || needed > PTRDIFF_MAX) {
		buf_fail(b);
		return NULL;
	}
	while (cap < needed)
		cap = cap > PTRDIFF_MAX / 2 ? PTRDIFF_MAX : cap * 2;
	if (cap != b->cap) {
		data = realloc(b->data, cap);
		if (!data) {
			buf_fail(b);
			return NULL;
		}
		b->data = data;
		b->cap = cap;
	}
	return b->data + b->len;
}

int buf_append(struct buf *b, const void *data, size_t len)
{
	char *to;

	if (!len)
		return b->failed ? -ENOMEM : 0;
	to = buf_reserve(b, len);
	if (!to)
		return -ENOMEM;
	memcpy(to, data, len);
	b->len += len;
	return 0;
}

int buf_append_text(struct buf *b, const char *text)
{
	return buf_append(b, text, strlen(text));
}

int buf_printf(struct buf *b, const char *format, ...)
{
	va_list args;
	char *to;
	int len;

	va_start(args, format);
	len = vsnprintf(NULL, 0, format, args);
	va_end(args);
	if (len < 0)
		return buf_fail(b);
	to = buf_reserve(b, (size_t)len + 1);
	if (!to)
		return -ENOMEM;
	va_start(args, format);
	vsnprintf(to, (size_t)len + 1, format, args);
	va_end(args);
	b->len += (size_t)len;
	return 0;
}

void buf_consume(struct buf *b, size_t n)
{
	b->len -= n;
	if (b->len && n)
		memmove(b->data, b->data + n, b->len);
}

void buf_clear(struct buf *b)
{
	if (b->cap > CAP_KEPT_MAX)
		buf_free(b);
	b->len = 0;
	b->failed = false;
}

void buf_free(struct buf *b)
{
	free(b->data);
	*b = (struct buf){ 0 };
}

char *buf_take(struct buf *b, size_t *ret_len)
{
	char *data = NULL;
	size_t len = 0;

	if (b->len && !b->failed) {
		data = b->data;
		len = b->len;
		b->data = NULL;
	}
	buf_free(b);
	if (ret_len)
		*ret_len = len;
	return data;
}
