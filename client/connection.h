/* The connection to the daemon: bytes out and in with time-outs, pipelining, reconnecting. Internal to libjobpool.
 *
 * A function of the API encodes its request with request_...(), calls connection_ask() or sends several and takes their
 * replies in order with connection_receive(). What may be repeated asks in a loop around connection_restore(). */
#pragma once

#include <hiredis/read.h>

#include "buf.h"
#include "jobpool.h"

struct jobpool {
	struct jobpool_options options; /* socket_path is owned */
	struct jobpool_error error;
	uid_t peer_uid;
	int fd;                         /* -1 while the connection is lost */
	redisReader *reader;            /* owned; new with each connection */
	struct buf out;                 /* requests that were not sent yet */
	uint64_t expected;              /* replies to come */
	uint64_t lost_ms;               /* monotonic time of the loss; 0 = the last thing heard was an answer */
	uint64_t backoff_ms;            /* before the next attempt to reconnect */
	bool told_waiting;              /* on_waiting was called for this loss */
	void (*on_interval)(void *context); /* while replies are waited for; NULL = nobody wants to know */
	void *interval_context;
	uint64_t interval_ms, interval_due_ms;
	struct buf environment;         /* encoded ENVIRONMENT request; empty = none */
	uint64_t environment_id;        /* what it was answered with on this connection; 0 = not sent */
	uint64_t environment_ms;        /* when */
	uint8_t key_session[16];        /* of the keys that we make (spec_request.c) */
	uint64_t key_count;             /* how many of them were made; 0 = there is no session yet */
	pid_t key_pid;                  /* whose session it is: a child makes its own */
};

/* Encode into @out: a request of @words words in all; its words. Failures are kept in out->failed. */
void request_begin(struct buf *out, size_t words);
void request_text(struct buf *out, const char *text);
void request_uint(struct buf *out, uint64_t number);
void request_ms(struct buf *out, int64_t ms);   /* -1 = no limit */

/* One request was appended to c->out: expect its reply. */
void connection_expect(struct jobpool *c);
/* Send what the socket takes now. A loss is not noticed here: the next connection_take() tells it. */
void connection_push(struct jobpool *c);

/**
 * Send what is to be sent and take the next reply. @ret_value may be NULL.
 *
 * Returns 0; the errno of a reply that is an error, with c->error; -EINTR: nothing is lost, take it again. -ECONNRESET,
 * -EPROTO, -ENOMEM: the connection is closed, replies to come are lost, c->error says why (its code is empty).
 */
int connection_take(struct jobpool *c, struct jobpool_value **ret_value);
/* The request in c->out, or -ENOMEM if it did not fit there, then connection_take(). */
int connection_ask(struct jobpool *c, struct jobpool_value **ret_value);
/* A whole request of C strings; with @repeat it is asked again after a loss. */
int connection_ask_words(struct jobpool *c, bool repeat, const char *const *words, size_t count,
			 struct jobpool_value **ret_value);
#define ASK(c, repeat, ret_value, ...)                                                                                 \
	connection_ask_words(c, repeat, (const char *const[]){ __VA_ARGS__ },                                          \
			     sizeof((const char *const[]){ __VA_ARGS__ }) / sizeof(char *), ret_value)

#define NUMBER_TEXT_BYTES 24
/* Decimal, for the words of a request. Returns @text. */
char *number_text(uint64_t number, char text[NUMBER_TEXT_BYTES]);

/**
 * After a failure: if the daemon is gone or going, connect again, with bounded back-off.
 *
 * @r: what failed
 *
 * Returns 0 when the request is to be sent again; else what to return: @r itself (c->error is kept), -ECONNRESET when
 * the daemon did not come back within reconnect_ms, -EINTR.
 */
int connection_restore(struct jobpool *c, int r);
/* The same for a call with a time-out: -ETIMEDOUT when it passes before the daemon is back. */
int connection_restore_until(struct jobpool *c, int r, int64_t deadline_ms);

/* Close it; replies to come are forgotten. The next call connects again. */
void connection_drop(struct jobpool *c);
/* Make the connection if it was lost. */
int connection_require(struct jobpool *c);

/* Put words into c->error; returns @error. */
int connection_fail(struct jobpool *c, int error, const char *format, ...) PRINTF_LIKE(3, 4);
/* The reply has not the shape that doc/protocol.md gives it. */
int connection_bad_reply(struct jobpool *c, const char *command);
/* Take apart "CODE message" into @error; returns its errno. */
int error_parse(const struct jobpool_value *reply, struct jobpool_error *error);

/* Milliseconds left until @deadline_ms (monotonic, -1 = none), in the protocol's form. */
int64_t deadline_left(int64_t deadline_ms);
int64_t deadline_after(int64_t timeout_ms);
