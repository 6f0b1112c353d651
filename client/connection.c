/* The connection to the daemon. A non-blocking socket and poll(), so that a large reply can be read while a large
 * request is still being written, and so that time-outs and the caller's interrupt descriptor work everywhere. */
#include "connection.h"

#include <assert.h>
#include <inttypes.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "resp.h"
#include "value.h"

#define CONNECT_MS_DEFAULT 10000
#define RECONNECT_MS_DEFAULT 60000
#define WAITING_MS 1000                 /* a loss that lasts longer is worth a word */
#define BACKOFF_FIRST_MS 20
#define BACKOFF_MAX_MS 1000
#define READ_BYTES 65536

/* --- Errors --- */

int connection_fail(struct jobpool *c, int error, const char *format, ...)
{
	va_list args;

	c->error = (struct jobpool_error){ .error = error };
	va_start(args, format);
	vsnprintf(c->error.message, sizeof(c->error.message), format, args);
	va_end(args);
	return error;
}

int connection_bad_reply(struct jobpool *c, const char *command)
{
	return connection_fail(
		c, -EPROTO, "%s answers %s in a way that this client does not know; is it a jobpoold of this version?",
		c->options.socket_path, command);
}

static const struct {
	const char *code;
	int error;
} error_codes[] = {
	{ "ERR", -EREMOTEIO },       { "SYNTAX", -EINVAL },      { "NOTFOUND", -ENOENT },   { "WRONGTYPE", -EMEDIUMTYPE },
	{ "FULL", -ENOBUFS },        { "CLOSED", -ESHUTDOWN },   { "ALREADY", -EEXIST },    { "DENIED", -EACCES },
	{ "LIMIT", -E2BIG },         { "NOSPACE", -ENOSPC },     { "UNAVAILABLE", -EHOSTDOWN },
	{ "NOPROTO", -EPROTONOSUPPORT },
};

int error_parse(const struct jobpool_value *reply, struct jobpool_error *error)
{
	size_t code_len = strcspn(reply->bytes, " ");
	const char *message = reply->bytes + code_len;

	*error = (struct jobpool_error){ .error = -EREMOTEIO };
	snprintf(error->code, sizeof(error->code), "%.*s", (int)MIN(code_len, sizeof(error->code) - 1), reply->bytes);
	snprintf(error->message, sizeof(error->message), "%s", *message == ' ' ? message + 1 : message);
	for (size_t i = 0; i < ARRAY_SIZE(error_codes); i++)
		if (strcmp(error_codes[i].code, error->code) == 0)
			error->error = error_codes[i].error;
	return error->error;
}

/* --- Requests --- */

void request_begin(struct buf *out, size_t words)
{
	resp_array(out, (uint32_t)words);
}

void request_text(struct buf *out, const char *text)
{
	resp_bulk(out, slice_of(text));
}

char *number_text(uint64_t number, char text[NUMBER_TEXT_BYTES])
{
	text[uint_print(number, text)] = '\0';
	return text;
}

void request_uint(struct buf *out, uint64_t number)
{
	char text[NUMBER_TEXT_BYTES];

	request_text(out, number_text(number, text));
}

void request_ms(struct buf *out, int64_t ms)
{
	if (ms < 0)
		request_text(out, "-1");
	else
		request_uint(out, (uint64_t)ms);
}

int64_t deadline_after(int64_t timeout_ms)
{
	return timeout_ms < 0 ? -1 : (int64_t)now_monotonic_ms() + timeout_ms;
}

int64_t deadline_left(int64_t deadline_ms)
{
	int64_t now = (int64_t)now_monotonic_ms();

	if (deadline_ms < 0)
		return -1;
	return deadline_ms > now ? deadline_ms - now : 0;
}

/* --- Open and close --- */

/* The descriptor of a new connection, or -errno. */
static int dial(const char *path, uid_t *ret_peer_uid)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	struct ucred peer;
	socklen_t peer_len = sizeof(peer);
	int r, fd;

	if (strlen(path) >= sizeof(address.sun_path))
		return -ENAMETOOLONG;
	memcpy(address.sun_path, path, strlen(path) + 1);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	/* Not blocking: a full backlog is told as EAGAIN, and the waiting is ours. */
	if (connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0 ||
	    getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &peer_len) < 0) {
		r = -errno;
		close_fd(&fd);
		return r;
	}
	*ret_peer_uid = peer.uid;
	return fd;
}

static int connection_dial(struct jobpool *c)
{
	int fd = dial(c->options.socket_path, &c->peer_uid);

	if (fd < 0)
		return connection_fail(c, fd, "cannot connect to %s: %s", c->options.socket_path, strerror(-fd));
	c->reader = value_reader_new();
	if (!c->reader) {
		close_fd(&fd);
		return connection_fail(c, -ENOMEM, "out of memory");
	}
	c->fd = fd;
	c->environment_id = 0;
	return 0;
}

void connection_drop(struct jobpool *c)
{
	close_fd(&c->fd);
	if (c->reader)
		redisReaderFree(c->reader);
	c->reader = NULL;
	buf_clear(&c->out);
	c->expected = 0;
	if (!c->lost_ms) {
		c->lost_ms = now_monotonic_ms();
		c->backoff_ms = BACKOFF_FIRST_MS;
		c->told_waiting = false;
	}
}

/* Sleep, unless the caller interrupts: 0 or -EINTR. */
static int connection_pause(struct jobpool *c, uint64_t ms)
{
	struct pollfd wait = { .fd = c->options.interrupt_fd > 0 ? c->options.interrupt_fd : -1, .events = POLLIN };

	return poll(&wait, 1, (int)ms) > 0 ? connection_fail(c, -EINTR, "interrupted") : 0;
}

int jobpool_open(const struct jobpool_options *options, struct jobpool **ret_jobpool, struct jobpool_error *ret_error)
{
	struct jobpool_error no_memory = { .error = -ENOMEM, .message = "out of memory" };
	struct jobpool *c = calloc(1, sizeof(*c));
	char *path = strdup(options->socket_path);
	uint64_t end_ms, backoff_ms = BACKOFF_FIRST_MS;
	int r;

	if (!c || !path) {
		free(c);
		free(path);
		if (ret_error)
			*ret_error = no_memory;
		return -ENOMEM;
	}
	c->fd = -1;
	c->options = *options;
	c->options.socket_path = path;
	if (!c->options.connect_ms)
		c->options.connect_ms = CONNECT_MS_DEFAULT;
	if (!c->options.reconnect_ms)
		c->options.reconnect_ms = RECONNECT_MS_DEFAULT;
	end_ms = now_monotonic_ms() + c->options.connect_ms;
	while ((r = connection_dial(c)) == -EAGAIN && now_monotonic_ms() < end_ms) {
		r = connection_pause(c, backoff_ms);
		if (r < 0)
			break;
		backoff_ms = MIN(backoff_ms * 2, BACKOFF_MAX_MS);
	}
	if (r < 0) {
		if (ret_error)
			*ret_error = c->error;
		jobpool_close(c);
		return r;
	}
	*ret_jobpool = c;
	return 0;
}

void jobpool_close(struct jobpool *c)
{
	if (!c)
		return;
	connection_drop(c);
	buf_free(&c->out);
	buf_free(&c->environment);
	free((char *)c->options.socket_path);
	free(c);
}

const struct jobpool_error *jobpool_error(const struct jobpool *c)
{
	return &c->error;
}

const char *jobpool_socket_path(const struct jobpool *c)
{
	return c->options.socket_path;
}

uid_t jobpool_peer_uid(const struct jobpool *c)
{
	return c->peer_uid;
}

/* --- Lost, and back --- */

static bool is_loss(int r)
{
	return r == -ECONNRESET || r == -EHOSTDOWN;
}

/* Worth another attempt: the daemon is being restarted, or very busy. */
static bool may_come_back(int r)
{
	return r == -EAGAIN || r == -ECONNREFUSED || r == -ENOENT || r == -ECONNRESET || r == -EINTR;
}

int connection_restore(struct jobpool *c, int r)
{
	return connection_restore_until(c, r, -1);
}

int connection_restore_until(struct jobpool *c, int r, int64_t deadline_ms)
{
	struct jobpool_error cause = c->error;

	if (!is_loss(r))
		return r;
	connection_drop(c); /* UNAVAILABLE came over a connection that is still there */
	for (;;) {
		uint64_t lost_for_ms = now_monotonic_ms() - c->lost_ms, pause_ms = c->backoff_ms;
		int64_t left_ms = deadline_left(deadline_ms);

		if (left_ms == 0)
			return connection_fail(c, -ETIMEDOUT, "timed out; the daemon at %s is away", c->options.socket_path);
		if (left_ms > 0)
			pause_ms = MIN(pause_ms, (uint64_t)left_ms);
		if (lost_for_ms >= c->options.reconnect_ms)
			return connection_fail(c, -ECONNRESET,
					       "%s; the daemon at %s did not come back within %" PRIu64 " s",
					       cause.message, c->options.socket_path, c->options.reconnect_ms / 1000);
		if (lost_for_ms >= WAITING_MS && !c->told_waiting) {
			c->told_waiting = true;
			if (c->options.on_waiting)
				c->options.on_waiting(c->options.socket_path, c->options.context);
		}
		if (connection_pause(c, MIN(pause_ms, c->options.reconnect_ms - lost_for_ms)) < 0)
			return -EINTR;
		c->backoff_ms = MIN(c->backoff_ms * 2, BACKOFF_MAX_MS);
		r = connection_dial(c);
		if (r == 0 || !may_come_back(r))
			return r;
	}
}

int connection_require(struct jobpool *c)
{
	if (c->fd >= 0)
		return 0;
	if (!c->lost_ms)
		c->lost_ms = now_monotonic_ms();
	return connection_restore(c, connection_fail(c, -ECONNRESET, "the connection is closed"));
}

static int connection_lost(struct jobpool *c, const char *what)
{
	connection_drop(c);
	return connection_fail(c, -ECONNRESET, "the connection to %s was lost (%s)", c->options.socket_path, what);
}

/* --- Bytes out, replies in --- */

static int connection_write(struct jobpool *c)
{
	while (c->out.len) {
		ssize_t n = send(c->fd, c->out.data, c->out.len, MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			return 0;
		if (n < 0 && errno == EPIPE)
			return 0; /* an error reply may still be there to be read: the end of file tells */
		if (n < 0)
			return connection_lost(c, strerror(errno));
		buf_consume(&c->out, (size_t)n);
	}
	return 0;
}

static int connection_read(struct jobpool *c)
{
	char bytes[READ_BYTES];
	ssize_t n = read(c->fd, bytes, sizeof(bytes));

	if (n < 0 && (errno == EINTR || errno == EAGAIN))
		return 0;
	if (n <= 0)
		return connection_lost(c, n < 0 ? strerror(errno) : "closed by the daemon");
	if (redisReaderFeed(c->reader, bytes, (size_t)n) != REDIS_OK) {
		connection_drop(c);
		return connection_fail(c, -ENOMEM, "out of memory");
	}
	return 0;
}

/* How long poll() may wait: until on_interval is due, which is called when it is. */
static int connection_interval(struct jobpool *c)
{
	uint64_t now_ms = now_monotonic_ms();

	if (!c->on_interval)
		return -1;
	if (now_ms >= c->interval_due_ms) {
		c->on_interval(c->interval_context);
		now_ms = now_monotonic_ms();
		c->interval_due_ms = now_ms + c->interval_ms;
	}
	return (int)(c->interval_due_ms - now_ms);
}

/* Wait until something can be read or written, and do it; or until the interval is over. */
static int connection_turn(struct jobpool *c)
{
	struct pollfd fds[2] = {
		{ .fd = c->fd, .events = POLLIN },
		{ .fd = c->options.interrupt_fd > 0 ? c->options.interrupt_fd : -1, .events = POLLIN },
	};
	int r = connection_write(c);

	if (r < 0)
		return r;
	if (c->out.len)
		fds[0].events |= POLLOUT;
	if (poll(fds, ARRAY_SIZE(fds), connection_interval(c)) < 0)
		return errno == EINTR ? 0 : connection_lost(c, strerror(errno));
	if (fds[0].revents & ~POLLOUT)
		return connection_read(c);
	if (fds[1].revents)
		return connection_fail(c, -EINTR, "interrupted");
	return 0;
}

void connection_expect(struct jobpool *c)
{
	c->expected++;
}

void connection_push(struct jobpool *c)
{
	ssize_t n = c->out.len && !c->out.failed ? send(c->fd, c->out.data, c->out.len, MSG_NOSIGNAL) : 0;

	if (n > 0)
		buf_consume(&c->out, (size_t)n);
}

/* The next reply, also one that is an error. */
static int connection_receive(struct jobpool *c, struct jobpool_value **ret_value)
{
	void *reply = NULL;
	int r;

	if (c->fd < 0)
		return connection_lost(c, "it is closed");
	assert(c->expected > 0);
	for (;;) {
		if (redisReaderGetReply(c->reader, &reply) != REDIS_OK) {
			connection_fail(c, -EPROTO, "%s does not speak RESP (%s): is it a jobpoold?",
					c->options.socket_path, c->reader->errstr);
			connection_drop(c);
			return -EPROTO;
		}
		if (reply)
			break;
		r = connection_turn(c);
		if (r < 0)
			return r;
	}
	c->expected--;
	*ret_value = reply;
	return 0;
}

int connection_take(struct jobpool *c, struct jobpool_value **ret_value)
{
	struct jobpool_value *value = NULL;
	int r = connection_receive(c, &value);

	if (r < 0)
		return r;
	if (value->type == JOBPOOL_ERROR) {
		r = error_parse(value, &c->error);
		jobpool_value_free(value);
		if (!is_loss(r))
			c->lost_ms = 0;
		return r;
	}
	c->lost_ms = 0;
	if (ret_value)
		*ret_value = value;
	else
		jobpool_value_free(value);
	return 0;
}

int connection_ask(struct jobpool *c, struct jobpool_value **ret_value)
{
	if (c->out.failed) {
		buf_clear(&c->out); /* nothing of it was sent: this connection sends only in connection_turn() */
		return connection_fail(c, -ENOMEM, "out of memory");
	}
	connection_expect(c);
	return connection_take(c, ret_value);
}

int connection_ask_words(struct jobpool *c, bool repeat, const char *const *words, size_t count,
			 struct jobpool_value **ret_value)
{
	int r = connection_require(c);

	while (r == 0) {
		request_begin(&c->out, count);
		for (size_t i = 0; i < count; i++)
			request_text(&c->out, words[i]);
		r = connection_ask(c, ret_value);
		if (r == 0 || !repeat)
			break;
		r = connection_restore(c, r);
	}
	return r;
}

int jobpool_call(struct jobpool *c, const char *const *words, size_t count, struct jobpool_value **ret_value)
{
	return connection_ask_words(c, false, words, count, ret_value);
}
