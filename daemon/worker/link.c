/* A unix stream socket, dialled by the short name below the current directory (design section 12). */
#include "link.h"

#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>

#define BACKOFF_FIRST_MS 10u
#define BACKOFF_LAST_MS 1000u
#define READ_BYTES 16384u

void link_init(struct link *l, uint64_t now_ms)
{
	*l = (struct link){ .fd = -1, .backoff_ms = BACKOFF_FIRST_MS, .redial_at_ms = now_ms, .down_since_ms = now_ms };
}

static void put_off(struct link *l, uint64_t now_ms)
{
	l->redial_at_ms = now_ms + l->backoff_ms;
	l->backoff_ms = MIN(2 * l->backoff_ms, BACKOFF_LAST_MS);
}

static int connect_socket(void)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX, .sun_path = WORKER_SOCKET_NAME };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0)
		return -errno;
	/* A unix socket connects at once or not at all; a full backlog (EAGAIN) is one more reason to come again. */
	if (connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0) {
		int r = -errno;
		close_fd(&fd);
		return r;
	}
	return fd;
}

int link_dial(struct link *l, const struct message_hello *hello, uint64_t now_ms)
{
	int fd = connect_socket();

	if (fd < 0) {
		put_off(l, now_ms);
		return fd;
	}
	l->fd = fd;
	l->state = LINK_GREETED;
	link_send(l, MESSAGE_HELLO, hello, sizeof(*hello), NULL, 0);
	return 0;
}

void link_set_up(struct link *l)
{
	l->state = LINK_UP;
	l->backoff_ms = BACKOFF_FIRST_MS;
}

void link_set_refused(struct link *l)
{
	l->broken = true;
	l->backoff_ms = BACKOFF_LAST_MS;
}

void link_close(struct link *l, uint64_t now_ms)
{
	close_fd(&l->fd);
	buf_free(&l->in);
	buf_free(&l->out);
	if (l->state == LINK_UP)
		l->down_since_ms = now_ms;
	l->state = LINK_DOWN;
	l->broken = false;
	put_off(l, now_ms);
}

int link_receive(struct link *l, link_on_frame on_frame, void *context)
{
	struct message_header header;
	size_t used = 0;
	ssize_t n;

	char *room = buf_reserve(&l->in, READ_BYTES);
	if (!room)
		return -ENOMEM;
	n = recv(l->fd, room, l->in.cap - l->in.len, 0);
	if (n < 0)
		return errno == EAGAIN || errno == EINTR ? 0 : -errno;
	if (n == 0)
		return -EPIPE;
	l->in.len += (size_t)n;

	while (!l->broken && (n = message_peek(l->in.data + used, l->in.len - used, &header)) > 0) {
		on_frame(context, &header, (struct slice){ l->in.data + used, (size_t)n });
		used += (size_t)n;
	}
	if (n < 0)
		return (int)n;
	buf_consume(&l->in, used);
	if (!l->in.len)
		buf_clear(&l->in); /* gives back the memory of a large RUN */
	return 0;
}

void link_flush(struct link *l)
{
	size_t sent = 0;

	while (!l->out.failed && sent < l->out.len) {
		ssize_t n = send(l->fd, l->out.data + sent, l->out.len - sent, MSG_NOSIGNAL);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno != EAGAIN)
			l->broken = true;
		if (n < 0)
			break;
		sent += (size_t)n;
	}
	/* Out of memory: part of a message is no message. A new connection's HELLO names the marks, so nothing is lost. */
	if (l->out.failed)
		l->broken = true;
	buf_consume(&l->out, sent);
	if (!l->out.len)
		buf_clear(&l->out);
}

void link_send(struct link *l, enum message_type type, const void *body, size_t body_len, const struct slice *tails,
	       size_t tail_count)
{
	if (l->state == LINK_DOWN || l->broken)
		return;
	message_append(&l->out, type, 0, body, body_len, tails, tail_count);
	link_flush(l);
}

short link_poll_events(const struct link *l)
{
	return l->out.len ? POLLIN | POLLOUT : POLLIN;
}
