/* The supervisor's connection to the daemon. One that breaks, or cannot keep up, is dropped with all that was queued:
 * nothing is lost by it, since the next WELCOME is answered with the whole table. */
#include "link.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "log.h"

#define REDIAL_FIRST_MS 10
#define REDIAL_LAST_MS 1000
#define READ_BYTES 4096
#define OUT_BYTES_MAX (1u << 20) /* of a daemon that does not read; the whole table is a fifth of it */

/* Lives until its handle is closed, hence apart from the link. */
struct link_connection {
	struct link *link;  /* NULL once it is dropped */
	uv_pipe_t pipe;
	uv_write_t write;
	struct buf writing; /* with libuv; one write at a time */
	bool is_writing;
	struct buf in;
};

static void on_redial(uv_timer_t *timer);

static void redial_later(struct link *l)
{
	uv_timer_start(&l->redial_timer, on_redial, l->redial_ms, 0);
	l->redial_ms = MIN(l->redial_ms * 2, REDIAL_LAST_MS);
}

static void on_connection_closed(uv_handle_t *handle)
{
	struct link_connection *c = handle->data;

	buf_free(&c->writing);
	buf_free(&c->in);
	free(c);
}

/* Everything is in its new state before anybody is told (a log line wants to know whether there is a daemon). */
static void drop_connection(struct link *l)
{
	struct link_connection *c = l->connection;
	bool was_welcome = l->is_welcome;

	l->connection = NULL;
	l->is_welcome = false;
	buf_clear(&l->out);
	c->link = NULL;
	uv_close((uv_handle_t *)&c->pipe, on_connection_closed);
	redial_later(l);
	if (was_welcome)
		l->events->on_gone(l->context);
}

static void drop_because(struct link *l, int error, const char *what)
{
	drop_connection(l);
	log_errno(error, "dropped the connection to the daemon: %s; dialling again", what);
}

static void flush(struct link *l);

static void on_written(uv_write_t *write, int status)
{
	struct link_connection *c = write->data;

	c->is_writing = false;
	buf_clear(&c->writing);
	if (!c->link)
		return;
	if (status < 0)
		drop_connection(c->link);
	else
		flush(c->link);
}

static void flush(struct link *l)
{
	struct link_connection *c = l->connection;
	struct buf empty;
	uv_buf_t piece;
	int r;

	if (l->out.failed)
		return drop_because(l, -ENOMEM, "no memory for messages");
	if (l->out.len > OUT_BYTES_MAX)
		return drop_because(l, -ENOBUFS, "it does not read what we send");
	if (c->is_writing || l->out.len == 0)
		return;
	/* At once where it can be, so that our last rows leave although we end behind them. */
	piece = uv_buf_init(l->out.data, (unsigned)l->out.len);
	r = uv_try_write((uv_stream_t *)&c->pipe, &piece, 1);
	if (r < 0 && r != UV_EAGAIN)
		return drop_because(l, r, "cannot write");
	buf_consume(&l->out, (size_t)MAX(r, 0));
	if (l->out.len == 0)
		return;
	empty = c->writing;
	c->writing = l->out;
	l->out = empty;
	piece = uv_buf_init(c->writing.data, (unsigned)c->writing.len);
	c->write.data = c;
	c->is_writing = true;
	r = uv_write(&c->write, (uv_stream_t *)&c->pipe, &piece, 1, on_written);
	if (r < 0) {
		c->is_writing = false;
		drop_because(l, r, "cannot write");
	}
}

void link_send(struct link *l, enum message_type type, const void *body, size_t body_len, struct slice tail)
{
	if (!l->connection)
		return;
	message_append(&l->out, type, 0, body, body_len, &tail, tail.len ? 1 : 0);
	flush(l);
}

static int on_welcome(struct link *l, struct slice frame)
{
	struct message_welcome welcome;
	int r = message_body(frame, &welcome, sizeof(welcome), NULL);

	if (r < 0 || l->is_welcome)
		return -EBADMSG;
	if (welcome.version < WORKER_PROTO_VERSION_MIN || welcome.version > WORKER_PROTO_VERSION_MAX)
		return -EPROTONOSUPPORT;
	l->is_welcome = true;
	l->redial_ms = REDIAL_FIRST_MS;
	l->events->on_welcome(l->context);
	return 0;
}

static int take_frame(struct link *l, enum message_type type, struct slice frame)
{
	if (type == MESSAGE_WELCOME)
		return on_welcome(l, frame);
	if (!l->is_welcome)
		return -EBADMSG;
	l->events->on_message(type, frame, l->context);
	return 0;
}

/* A callback may drop or stop the connection: c->link is looked at after each. */
static void take_frames(struct link_connection *c)
{
	size_t taken = 0;

	while (c->link) {
		struct message_header header;
		ssize_t n = message_peek(c->in.data + taken, c->in.len - taken, &header);

		if (n == 0)
			break;
		if (n > 0) {
			struct slice frame = { c->in.data + taken, (size_t)n };

			taken += (size_t)n;
			n = take_frame(c->link, header.type, frame);
		}
		if (n < 0 && c->link)
			drop_because(c->link, (int)n, "it does not speak our protocol");
	}
	buf_consume(&c->in, taken);
}

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *ret_piece)
{
	struct link_connection *c = handle->data;

	(void)suggested;
	*ret_piece = uv_buf_init(buf_reserve(&c->in, READ_BYTES), READ_BYTES);
	if (!ret_piece->base)
		ret_piece->len = 0;
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *piece)
{
	struct link_connection *c = stream->data;

	(void)piece;
	if (n < 0) {
		drop_connection(c->link);
		return;
	}
	c->in.len += (size_t)n;
	take_frames(c);
}

/* By hand: libuv cuts long paths, and waits where the backlog is full. The
 * name is short, and a local connect is done or refused at once. */
static int dial(void)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX, .sun_path = WORKER_SOCKET_NAME };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), r;

	if (fd < 0)
		return -errno;
	if (connect(fd, (const struct sockaddr *)&address, sizeof(address)) == 0)
		return fd;
	r = -errno;
	close(fd);
	return r;
}

static void say_hello(struct link *l)
{
	struct message_hello hello = {
		.version_min = WORKER_PROTO_VERSION_MIN,
		.version_max = WORKER_PROTO_VERSION_MAX,
		.role = ROLE_SUPERVISOR,
		.pid = getpid(),
	};

	link_send(l, MESSAGE_HELLO, &hello, sizeof(hello), (struct slice){ NULL, 0 });
}

static void on_redial(uv_timer_t *timer)
{
	struct link *l = timer->data;
	int r, fd = dial();
	struct link_connection *c = fd < 0 ? NULL : calloc(1, sizeof(*c));

	if (!c) {
		close_fd(&fd);
		redial_later(l);
		return;
	}
	uv_pipe_init(l->loop, &c->pipe, 0);
	c->pipe.data = c;
	c->link = l;
	l->connection = c;
	r = uv_pipe_open(&c->pipe, fd);
	if (r < 0)
		close_fd(&fd);
	else
		r = uv_read_start((uv_stream_t *)&c->pipe, on_alloc, on_read);
	if (r < 0)
		drop_because(l, r, "cannot read");
	else
		say_hello(l);
}

void link_start(struct link *l, uv_loop_t *loop, const struct link_events *events, void *context)
{
	*l = (struct link){ .loop = loop, .events = events, .context = context, .redial_ms = REDIAL_FIRST_MS };
	uv_timer_init(loop, &l->redial_timer);
	l->redial_timer.data = l;
	uv_timer_start(&l->redial_timer, on_redial, 0, 0);
}

void link_stop(struct link *l)
{
	if (l->connection) {
		l->connection->link = NULL;
		uv_close((uv_handle_t *)&l->connection->pipe, on_connection_closed);
		l->connection = NULL;
		l->is_welcome = false;
	}
	uv_close((uv_handle_t *)&l->redial_timer, NULL);
}

void link_deinit(struct link *l)
{
	buf_free(&l->out);
}
