/* The clients' connections. Replies are gathered and written once per turn of the loop, just before it sleeps: a thousand
 * pipelined requests cost one write. A connection in `fresh` has something to look at in this turn; one in `uncommitted` waits
 * for the disk and is looked at again after a commit. */
#include "conn.h"

#include <assert.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>

#include "log.h"

#define READ_BYTES 65536
#define INPUT_KEPT_BYTES 4096 /* an idle connection keeps no more memory than this for its input */

struct conn {
	struct list link;             /* in conns->all */
	struct list turn_link;        /* in conns->fresh, conns->uncommitted, or nowhere */
	struct conns *conns;
	uint64_t id;
	struct peer peer;
	uv_pipe_t pipe;
	uv_write_t write;
	struct resp_parser parser;
	struct buf in;                /* bytes not yet understood, from in_used on */
	size_t in_used;
	struct buf out, writing;      /* replies that may leave; those that libuv is writing */
	struct list calls;            /* of struct call: unanswered, in order */
	uint32_t call_count, heavy_count;
	size_t call_bytes;
	struct call *blocked;         /* in calls: later requests wait for it */
	uint64_t last_id;
	uint32_t submits_open;
	bool reading, writing_now, closing;
	bool postponed;               /* the next request was told "not yet" */
	bool ending;                  /* no further request; close when all is written */
};

struct conns {
	uv_loop_t *loop;
	struct store *store;          /* NULL once it is closed: everything is committed */
	struct conns_events events;
	struct resp_limits limits;
	struct list all, fresh, uncommitted;
	size_t count;
	size_t open_calls;            /* not finished, also those whose connection is gone */
	uint64_t next_id, looked_at;  /* looked_at: store_committed() when `uncommitted` was last gone through */
	uv_prepare_t prepare;         /* the end of a turn */
	uv_idle_t idle;               /* active: there is more to do, do not sleep */
	size_t open_handles;          /* those two, and one for each connection */
	bool draining, drained, stopping;
	char read_area[READ_BYTES];   /* every read goes here first, so that idle connections hold no memory */
};

static void noop(uv_idle_t *idle) { (void)idle; }

static void conn_touch(struct conn *conn)
{
	if (conn->closing)
		return;
	list_remove(&conn->turn_link);
	list_append(&conn->conns->fresh, &conn->turn_link);
	/* It may be added while the turn ends, after which the loop would sleep. */
	uv_idle_start(&conn->conns->idle, noop);
}

/* --- calls --- */

static struct call *call_new(struct conn *conn, size_t request_bytes)
{
	struct call *call = calloc(1, sizeof(*call));

	if (!call)
		return NULL;
	call->conn = conn;
	call->conns = conn->conns;
	call->request_bytes = request_bytes;
	list_append(&conn->calls, &call->link);
	conn->call_count++;
	conn->call_bytes += request_bytes;
	conn->conns->open_calls++;
	return call;
}

/* Out of its connection, which may go on without it. */
static void call_detach(struct call *call)
{
	struct conn *conn = call->conn;

	list_remove(&call->link);
	conn->call_count--;
	conn->call_bytes -= call->request_bytes;
	conn->heavy_count -= call->heavy;
	if (conn->blocked == call)
		conn->blocked = NULL;
	call->conn = NULL;
}

static void call_free(struct call *call)
{
	if (call->conn)
		call_detach(call);
	buf_free(&call->reply);
	free(call->context);
	free(call);
}

/* A request that was told "not yet" leaves no trace. */
static void call_take_back(struct call *call)
{
	call->conns->open_calls--;
	call_free(call);
}

void call_finish(struct call *call)
{
	struct conn *conn = call->conn;
	struct store *store = call->conns->store;

	assert(!call->done);
	call->done = true;
	call->conns->open_calls--;
	if (!conn) {
		call_free(call);
		return;
	}
	call->ticket = call->from_memory || !store ? 0 : store_posted(store);
	if (call->reply.failed) {
		buf_free(&call->reply);
		resp_error(&call->reply, "ERR", "out of memory for the reply");
	}
	if (conn->blocked == call)
		conn->blocked = NULL;
	conn_touch(conn);
}

void call_ok(struct call *call)
{
	buf_clear(&call->reply);
	resp_simple(&call->reply, "OK");
	call_finish(call);
}

void call_integer(struct call *call, int64_t value)
{
	buf_free(&call->reply); /* most replies are a number: it needs no memory of its own */
	call->integer = value;
	call_finish(call);
}

void call_error(struct call *call, const char *code, const char *format, ...)
{
	char message[512];
	va_list args;

	va_start(args, format);
	vsnprintf(message, sizeof(message), format, args);
	va_end(args);
	buf_clear(&call->reply);
	resp_error(&call->reply, code, "%s", message);
	call_finish(call);
}

void call_fail(struct call *call, int error)
{
	switch (error) {
	case -ESHUTDOWN:
		call_error(call, "UNAVAILABLE", "the daemon is stopping; ask again when it is back");
		return;
	case -ENOSPC:
	case -EDQUOT:
		call_error(call, "NOSPACE", "the disk of the state directory is full: nothing was stored");
		return;
	case -ENOMEM:
		call_error(call, "ERR", "the daemon is out of memory: nothing was changed");
		return;
	default:
		call_error(call, "ERR", "internal error: %s", strerror(-error));
	}
}

void call_block(struct call *call)
{
	if (call->conn)
		call->conn->blocked = call;
}

void call_set_heavy(struct call *call)
{
	if (!call->conn)
		return;
	call->heavy = true;
	call->conn->heavy_count++;
}

void call_submit_begin(struct call *call)
{
	if (call->conn)
		call->conn->submits_open++;
}

void call_submit_end(struct call *call, uint64_t job_id)
{
	if (!call->conn)
		return;
	call->conn->submits_open--;
	if (job_id)
		call->conn->last_id = job_id;
}

/* --- closing --- */

static void conns_put(struct conns *cs)
{
	if (--cs->open_handles == 0)
		free(cs);
}

static void on_conn_closed(uv_handle_t *handle)
{
	struct conn *conn = handle->data;
	struct conns *cs = conn->conns;

	resp_parser_deinit(&conn->parser);
	buf_free(&conn->in);
	buf_free(&conn->out);
	buf_free(&conn->writing);
	list_remove(&conn->link);
	free(conn);
	cs->count--;
	if (!cs->stopping)
		cs->events.on_closed(cs->events.context);
	conns_put(cs);
}

static void conn_stop(struct conn *conn)
{
	struct call *call;

	if (conn->closing)
		return;
	conn->closing = true;
	list_remove(&conn->turn_link);
	while ((call = list_first(&conn->calls, struct call, link))) {
		call_detach(call);
		if (call->done)
			call_free(call);
		else if (call->on_abort)
			call->on_abort(call);
	}
	uv_close((uv_handle_t *)&conn->pipe, on_conn_closed);
}

void conn_close_after_replies(struct conn *conn)
{
	conn->ending = true;
	conn_touch(conn);
}

/* --- replies out --- */

static bool reply_may_leave(const struct conn *conn, const struct call *call)
{
	return call->done && (!conn->conns->store || call->ticket <= store_committed(conn->conns->store));
}

static void on_written(uv_write_t *write, int status)
{
	struct conn *conn = write->data;

	conn->writing_now = false;
	buf_clear(&conn->writing);
	if (status < 0)
		conn_stop(conn);
	else
		conn_touch(conn);
}

/* What the kernel does not take at once libuv writes later, from a buffer of its own, while `out` gathers on. */
static int conn_write(struct conn *conn)
{
	uv_stream_t *stream = (uv_stream_t *)&conn->pipe;
	uv_buf_t b;
	int n;

	if (!conn->out.len || conn->writing_now)
		return 0;
	b = uv_buf_init(conn->out.data, (unsigned)conn->out.len);
	n = uv_try_write(stream, &b, 1);
	if (n < 0 && n != UV_EAGAIN)
		return n;
	if (n > 0)
		buf_consume(&conn->out, (size_t)n);
	if (!conn->out.len) {
		buf_clear(&conn->out);
		return 0;
	}
	struct buf empty = conn->writing;
	conn->writing = conn->out;
	conn->out = empty;
	conn->writing_now = true;
	conn->write.data = conn;
	b = uv_buf_init(conn->writing.data, (unsigned)conn->writing.len);
	return uv_write(&conn->write, stream, &b, 1, on_written);
}

/* A peer that does not read gets no further replies into memory either. */
static bool replies_are_piled_up(const struct conn *conn)
{
	return conn->out.len + conn->writing.len >= CONN_BYTES_MAX;
}

static void conn_flush(struct conn *conn)
{
	struct call *call;

	while (!replies_are_piled_up(conn) && (call = list_first(&conn->calls, struct call, link)) && reply_may_leave(conn, call)) {
		if (call->reply.len)
			buf_append(&conn->out, call->reply.data, call->reply.len);
		else
			resp_integer(&conn->out, call->integer);
		call_free(call);
	}
	if (conn->out.failed || conn_write(conn) < 0)
		conn_stop(conn);
	else if (conn->ending && list_is_empty(&conn->calls) && !conn->out.len && !conn->writing_now)
		conn_stop(conn);
}

/* --- requests in --- */

static bool conn_may_execute(const struct conn *conn)
{
	if (conn->closing || conn->ending || conn->blocked || conn->conns->draining)
		return false;
	if (conn->postponed && conn->submits_open)
		return false;
	return conn->call_count < CONN_CALLS_MAX && conn->call_bytes < CONN_BYTES_MAX && conn->heavy_count < CONN_HEAVY_CALLS_MAX &&
	       !replies_are_piled_up(conn);
}

static void lose_framing(struct conn *conn)
{
	struct call *call = call_new(conn, 0);

	conn->ending = true;
	if (!call) {
		conn_stop(conn);
		return;
	}
	call->from_memory = true;
	buf_append(&call->reply, "-", 1);
	buf_append_text(&call->reply, conn->parser.error);
	buf_append_text(&call->reply, "\r\n");
	call_finish(call);
}

/* One request, if there is a whole one. */
static bool conn_execute_one(struct conn *conn)
{
	struct conns *cs = conn->conns;
	struct call *call;
	size_t used;

	switch (resp_parse(&conn->parser, conn->in.data + conn->in_used, conn->in.len - conn->in_used, &used)) {
	case RESP_MORE:
		return false;
	case RESP_ERROR:
		lose_framing(conn);
		return false;
	case RESP_REQUEST:
		break;
	}
	if (!conn->parser.argc) { /* an empty array: nothing asked, nothing answered (as Redis does) */
		conn->in_used += used;
		return true;
	}
	call = call_new(conn, used);
	if (!call) {
		conn_stop(conn);
		return false;
	}
	conn->postponed = !cs->events.on_request(call, conn->parser.argv, conn->parser.argc, cs->events.context);
	if (conn->postponed) {
		call_take_back(call);
		return false;
	}
	conn->in_used += used;
	return true;
}

static void alloc_read(uv_handle_t *handle, size_t suggested, uv_buf_t *ret_buf)
{
	struct conn *conn = handle->data;

	(void)suggested;
	*ret_buf = uv_buf_init(conn->conns->read_area, READ_BYTES);
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *b);

/* A blocked connection is read on up to a limit, so that the peer's death is noticed. */
static void conn_set_reading(struct conn *conn)
{
	bool want = !conn->closing && !conn->ending && (conn_may_execute(conn) || conn->in.len - conn->in_used < CONN_BYTES_MAX);

	if (want && !conn->reading)
		uv_read_start((uv_stream_t *)&conn->pipe, alloc_read, on_read);
	else if (!want && conn->reading && !conn->closing)
		uv_read_stop((uv_stream_t *)&conn->pipe);
	conn->reading = want;
}

/* As many requests as are there and allowed. */
static void conn_execute(struct conn *conn)
{
	while (conn->in_used < conn->in.len && conn_may_execute(conn) && conn_execute_one(conn))
		;
	if (conn->closing)
		return;
	buf_consume(&conn->in, conn->in_used);
	conn->in_used = 0;
	if (!conn->in.len && conn->in.cap > INPUT_KEPT_BYTES && !conn->submits_open) /* while many come, it is needed again at once */
		buf_free(&conn->in);
	conn_set_reading(conn);
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *b)
{
	struct conn *conn = stream->data;

	if (n < 0 || (n > 0 && buf_append(&conn->in, b->base, (size_t)n) < 0))
		conn_stop(conn);
	else if (n > 0)
		conn_execute(conn);
}

/* --- the end of a turn --- */

static void conn_turn(struct conn *conn)
{
	struct conns *cs = conn->conns;
	struct call *call;

	list_remove(&conn->turn_link);
	conn_flush(conn);
	if (conn->closing)
		return;
	conn_execute(conn); /* a reply that has left may make room, or end a blocking call */
	if (conn->closing || !list_is_empty(&conn->turn_link))
		return;
	call = list_first(&conn->calls, struct call, link);
	if (call && call->done && !reply_may_leave(conn, call))
		list_append(&cs->uncommitted, &conn->turn_link);
}

static void on_turn_end(uv_prepare_t *prepare)
{
	struct conns *cs = prepare->data;
	struct list now;
	struct conn *conn;

	uv_idle_stop(&cs->idle);
	if (!cs->store || store_committed(cs->store) != cs->looked_at) {
		list_splice(&cs->fresh, &cs->uncommitted);
		cs->looked_at = cs->store ? store_committed(cs->store) : UINT64_MAX;
	}
	/* Each once: what becomes fresh meanwhile has its turn after the others' reads. */
	list_init(&now);
	list_splice(&now, &cs->fresh);
	while ((conn = list_first(&now, struct conn, turn_link)))
		conn_turn(conn);
	if (cs->draining && !cs->drained && !cs->open_calls) {
		cs->drained = true;
		cs->events.on_drained(cs->events.context);
	}
}

/* --- the set --- */

int conns_new(uv_loop_t *loop, struct store *store, const struct conns_events *events, struct conns **ret_conns)
{
	struct conns *cs = calloc(1, sizeof(*cs));

	if (!cs)
		return -ENOMEM;
	cs->loop = loop;
	cs->store = store;
	cs->events = *events;
	list_init(&cs->all);
	list_init(&cs->fresh);
	list_init(&cs->uncommitted);
	uv_prepare_init(loop, &cs->prepare);
	uv_idle_init(loop, &cs->idle);
	cs->prepare.data = cs->idle.data = cs;
	cs->open_handles = 2;
	uv_prepare_start(&cs->prepare, on_turn_end);
	*ret_conns = cs;
	return 0;
}

void conns_set_limits(struct conns *cs, uint64_t arguments, uint64_t request_bytes)
{
	cs->limits.arguments_max = (uint32_t)MIN(arguments, UINT32_MAX);
	cs->limits.request_bytes_max = request_bytes;
}

size_t conns_count(const struct conns *cs) { return cs->count; }

size_t conns_blocked_count(const struct conns *cs)
{
	struct conn *conn;
	size_t n = 0;

	list_for_each(conn, &cs->all, link)
		n += conn->blocked != NULL;
	return n;
}

void conns_drain(struct conns *cs)
{
	cs->draining = true;
	uv_idle_start(&cs->idle, noop);
}

static void on_handle_closed(uv_handle_t *handle) { conns_put(handle->data); }

void conns_stop(struct conns *cs)
{
	struct conn *conn, *next;

	assert(!cs->stopping);
	cs->stopping = true;
	cs->draining = true;
	cs->store = NULL;
	list_for_each_safe(conn, next, &cs->all, link) {
		if (!conn->closing)
			conn_flush(conn);
		conn_stop(conn);
	}
	uv_close((uv_handle_t *)&cs->prepare, on_handle_closed);
	uv_close((uv_handle_t *)&cs->idle, on_handle_closed);
}

void call_hold_until_exit(struct call *call)
{
	int fd;

	if (call->conn && uv_fileno((uv_handle_t *)&call->conn->pipe, &fd) == 0)
		(void)fcntl(fd, F_DUPFD_CLOEXEC, 0);
}

int conn_start(struct conns *cs, int fd, const struct peer *peer)
{
	struct conn *conn = calloc(1, sizeof(*conn));
	int r;

	if (!conn)
		return -ENOMEM;
	r = uv_pipe_init(cs->loop, &conn->pipe, 0);
	assert(r == 0); /* it opens nothing */
	list_init(&conn->link);
	list_init(&conn->turn_link);
	list_init(&conn->calls);
	conn->conns = cs;
	conn->id = ++cs->next_id;
	conn->peer = *peer;
	conn->parser.limits = &cs->limits;
	conn->pipe.data = conn;
	list_append(&cs->all, &conn->link);
	cs->count++;
	cs->open_handles++;
	r = uv_pipe_open(&conn->pipe, fd);
	if (r < 0) {
		conn_stop(conn);
		return r;
	}
	conn_set_reading(conn);
	return 0;
}

uint64_t conn_id(const struct conn *conn) { return conn->id; }
const struct peer *conn_peer(const struct conn *conn) { return &conn->peer; }
bool conn_last_is_known(const struct conn *conn) { return !conn->submits_open; }
uint64_t conn_last_id(const struct conn *conn) { return conn->last_id; }
