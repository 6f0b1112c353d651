#include "wire.h"

#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "measure.h"
#include "resp.h"

#define READ_BYTES (256 * 1024)

void wire_open(struct wire *w, const char *path)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };

	if (strlen(path) >= sizeof(address.sun_path))
		give_up("%s is too long for a socket", path);
	strcpy(address.sun_path, path);
	*w = (struct wire){ .fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0) };
	if (w->fd < 0 || connect(w->fd, (struct sockaddr *)&address, sizeof(address)) < 0)
		give_up("cannot connect to %s: %s", path, strerror(errno));
}

void wire_send(struct wire *w, const void *data, size_t len)
{
	int r = write_all(w->fd, data, len);

	if (r < 0)
		give_up("cannot send: %s", strerror(-r));
}

void wire_fill(struct wire *w)
{
	char *to;
	ssize_t n;

	buf_consume(&w->in, w->at);
	w->at = 0;
	to = buf_reserve(&w->in, READ_BYTES);
	n = to ? read(w->fd, to, READ_BYTES) : -1;
	if (n <= 0)
		give_up("cannot receive: %s", n ? strerror(errno) : "the server closed the connection");
	w->in.len += (size_t)n;
}

/* Where the line that begins at @from ends (its LF), or NULL. */
static char *line_end(const struct wire *w, size_t from)
{
	return from < w->in.len ? memchr(w->in.data + from, '\n', w->in.len - from) : NULL;
}

/* Make a string of the line from @from to its LF at @end. */
static char *cut(struct wire *w, size_t from, char *end)
{
	*end = '\0';
	if (end > w->in.data + from && end[-1] == '\r')
		end[-1] = '\0';
	return w->in.data + from;
}

char *wire_line(struct wire *w)
{
	size_t from = w->at;
	char *end = line_end(w, from);

	if (!end)
		return NULL;
	w->at = (size_t)(end + 1 - w->in.data);
	return cut(w, from, end);
}

/* Count the line at @line as one value of the reply; returns the bytes of payload that follow it. */
static size_t open_value(struct wire *w, const char *line)
{
	long number = strtol(line + 1, NULL, 10);

	w->open--;
	if (*line == '*' && number > 0)
		w->open += (size_t)number;
	return *line == '$' && number >= 0 ? (size_t)number + 2 : 0;
}

char *wire_reply(struct wire *w)
{
	size_t from = w->at, next;
	char *end;

	if (!w->scanned)
		w->open = 1;
	while (w->open) {
		end = line_end(w, from + w->scanned);
		if (!end)
			return NULL;
		next = (size_t)(end + 1 - w->in.data);
		/* A payload that is not here yet is skipped ahead: the next line is looked for behind it. */
		w->scanned = next + open_value(w, w->in.data + from + w->scanned) - from;
	}
	if (from + w->scanned > w->in.len)
		return NULL;
	w->at = from + w->scanned;
	w->scanned = 0;
	return cut(w, from, line_end(w, from));
}

char *wire_await_line(struct wire *w)
{
	char *line;

	while (!(line = wire_line(w)))
		wire_fill(w);
	return line;
}

char *wire_await_reply(struct wire *w)
{
	char *reply;

	while (!(reply = wire_reply(w)))
		wire_fill(w);
	return reply;
}

void wire_request(struct buf *out, const char *const *words, size_t count)
{
	resp_array(out, (uint32_t)count);
	for (size_t i = 0; i < count; i++)
		resp_text(out, words[i]);
	if (out->failed)
		give_up("out of memory");
}

void wire_submission(struct buf *out, char *const *command, size_t count)
{
	static const char *const head[] = { "SUBMIT", "default", "CMD" };

	resp_array(out, (uint32_t)(ARRAY_SIZE(head) + count));
	for (size_t i = 0; i < ARRAY_SIZE(head); i++)
		resp_text(out, head[i]);
	for (size_t i = 0; i < count; i++)
		resp_text(out, command[i]);
	if (out->failed)
		give_up("out of memory");
}
