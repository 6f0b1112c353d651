/* A blocking connection to a server on a unix socket, and as much of its replies as a load generator must understand:
 * where a line or a RESP reply ends. Failures end the tool. */
#pragma once

#include "buf.h"

struct wire {
	int fd;
	struct buf in;
	size_t at;      /* bytes of @in already handed out */
	size_t scanned; /* of the reply that is being read: bytes understood, beyond @at */
	size_t open;    /* and values that it still lacks; 0 = at the start of a reply */
};

void wire_open(struct wire *w, const char *path);
void wire_send(struct wire *w, const void *data, size_t len);
/* Read once, blocking. Strings handed out before are gone. */
void wire_fill(struct wire *w);
/* The next line without its end, as a string, or NULL: it is not here yet. Valid until the next wire_fill(). */
char *wire_line(struct wire *w);
/* The first line of the next reply, once the reply is here as a whole, or NULL. Valid until the next wire_fill(). */
char *wire_reply(struct wire *w);
/* The same, waiting for it. */
char *wire_await_line(struct wire *w);
char *wire_await_reply(struct wire *w);

/* A RESP request of @count words, appended to @out; and one that submits the command to the queue "default". */
void wire_request(struct buf *out, const char *const *words, size_t count);
void wire_submission(struct buf *out, char *const *command, size_t count);
