/* The clients' connections: bytes in, requests out, replies out in order. One request is a struct call; whoever handles it
 * finishes it at once or later, and its reply leaves when all replies before it have left and the commit it depends on is on
 * disk. Knows no command. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "buf.h"
#include "list.h"
#include "resp.h"
#include "store.h"

#define CONN_CALLS_MAX 1024           /* unanswered requests of one connection (doc/protocol.md, "Framing") */
#define CONN_HEAVY_CALLS_MAX 16       /* of those, such as may have a reply of a mebibyte */
#define CONN_BYTES_MAX (1u << 20)     /* of unanswered requests, of requests not yet looked at, of replies not yet taken */

struct commands;
struct conn;
struct conns;

/* Who is at the other end, as the kernel said at connect. */
struct peer {
	uid_t uid;
	pid_t pid;
	const char *user;             /* name of @uid; lives as long as the daemon */
	bool admin;
};

/* One request on its way to its reply. Freed by the connection layer only. */
struct call {
	struct list link;             /* in conn->calls, in the order of the requests; alone when @conn is NULL */
	struct conn *conn;            /* NULL: the connection is gone; finish the call all the same, into nothing */
	struct conns *conns;
	struct commands *commands;    /* for the handlers, not used here */
	struct buf reply;             /* empty: it is @integer (see call_integer()) */
	int64_t integer;
	uint64_t ticket;              /* set by call_finish(): the reply leaves when this is committed */
	size_t request_bytes;
	bool done;
	bool from_memory;             /* the reply depends on nothing stored: it leaves at once */
	bool heavy;
	void *context;                /* the handler's; given to free() with the call */
	/* The connection has gone: stop waiting, and finish the call as soon as nothing of it is under way; may be NULL. */
	void (*on_abort)(struct call *call);
};

struct conns_events {
	/* One whole request; @argc >= 1, @argv is valid during the call only. false: not yet; the same request comes again after
	 * a call of this connection was finished. */
	bool (*on_request)(struct call *call, const struct slice *argv, uint32_t argc, void *context);
	void (*on_closed)(void *context);  /* a connection is gone: there is room for another */
	void (*on_drained)(void *context); /* see conns_drain() */
	void *context;
};

int conns_new(uv_loop_t *loop, struct store *store, const struct conns_events *events, struct conns **ret_conns);
/* What a request may hold; also for connections that are open. */
void conns_set_limits(struct conns *cs, uint64_t arguments, uint64_t request_bytes);
size_t conns_count(const struct conns *cs);
size_t conns_blocked_count(const struct conns *cs);
/* Take no further request; on_drained, once, from the loop, when every call is finished. */
void conns_drain(struct conns *cs);
/* The store is closed, all is on disk: write what is finished as far as the peers take it at once, close everything, free @cs. */
void conns_stop(struct conns *cs);

/* Keep the connection of this request open until the process is gone: a descriptor that nobody closes. Its peer sees the end when all
 * locks are free. */
void call_hold_until_exit(struct call *call);

/* Serve a connected socket. 0, or -errno: then the caller closes @fd. */
int conn_start(struct conns *cs, int fd, const struct peer *peer);
uint64_t conn_id(const struct conn *conn);
const struct peer *conn_peer(const struct conn *conn);
/* Close it once all replies up to now have left. */
void conn_close_after_replies(struct conn *conn);
/* Later requests of the connection wait until this call is finished. */
void call_block(struct call *call);
/* Its reply may be large: see CONN_HEAVY_CALLS_MAX. */
void call_set_heavy(struct call *call);
/* SUBMIT: the id that LAST stands for. */
void call_submit_begin(struct call *call);
void call_submit_end(struct call *call, uint64_t job_id); /* 0 = it gave none */
bool conn_last_is_known(const struct conn *conn);         /* no SUBMIT is unanswered */
uint64_t conn_last_id(const struct conn *conn);           /* 0 = none was given */

/* The reply is complete: exactly once for each call, whose memory is not to be touched afterwards. */
void call_finish(struct call *call);
/* The reply is this alone; and finish. */
void call_ok(struct call *call);
void call_integer(struct call *call, int64_t value);
void call_error(struct call *call, const char *code, const char *format, ...) PRINTF_LIKE(3, 4);
/* -ENOMEM, -ESHUTDOWN and the other errors that every command may meet. */
void call_fail(struct call *call, int error);
