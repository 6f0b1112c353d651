/* Lines, read with our own buffer: stdio cannot tell whether the next line would block. */
#include "lines.h"

#include <poll.h>

#define READ_BYTES 65536

static int lines_read(struct lines *lines)
{
	char *to;
	ssize_t n;

	buf_consume(&lines->data, lines->at);
	lines->searched -= lines->at;
	lines->at = 0;
	to = buf_reserve(&lines->data, READ_BYTES + 1); /* one more: a last line gets its NUL there */
	if (!to)
		return -ENOMEM;
	do
		n = read(lines->fd, to, READ_BYTES);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	lines->data.len += (size_t)n;
	lines->ended = n == 0;
	return 0;
}

static bool has_input(const struct lines *lines)
{
	struct pollfd wait = { .fd = lines->fd, .events = POLLIN };

	return poll(&wait, 1, 0) != 0; /* an error is for read() to tell */
}

static int give(struct lines *lines, size_t len, struct slice *ret_line)
{
	char *line = lines->data.data + lines->at;
	size_t end = MIN(lines->at + len + 1, lines->data.len);

	line[len] = '\0';
	*ret_line = (struct slice){ line, len };
	lines->taken += end - lines->at;
	lines->at = end;
	lines->searched = lines->at;
	return LINES_LINE;
}

int lines_next(struct lines *lines, bool block, struct slice *ret_line)
{
	for (;;) {
		size_t len = lines->data.len;
		char *newline = len > lines->searched
					? memchr(lines->data.data + lines->searched, '\n', len - lines->searched)
					: NULL;
		int r;

		if (newline)
			return give(lines, (size_t)(newline - (lines->data.data + lines->at)), ret_line);
		lines->searched = len;
		if (lines->ended)
			return len > lines->at ? give(lines, len - lines->at, ret_line) : LINES_END;
		if (!block && !has_input(lines))
			return LINES_WAIT;
		r = lines_read(lines);
		if (r < 0)
			return r;
	}
}

void lines_deinit(struct lines *lines)
{
	buf_free(&lines->data);
}
