/* The supervisor's connection to the daemon: dials until there is one, says HELLO, hears WELCOME, passes frames on.
 * What they mean is main.c's. */
#pragma once

#include <stdbool.h>
#include <uv.h>

#include "buf.h"
#include "worker_proto.h"

struct link_events {
	/* From now on link_send() reaches somebody. */
	void (*on_welcome)(void *context);
	/* @frame: whole, header included; borrowed for the call. */
	void (*on_message)(enum message_type type, struct slice frame, void *context);
	/* After a welcome only; the link redials by itself. */
	void (*on_gone)(void *context);
};

struct link {
	uv_loop_t *loop;                  /* borrowed */
	const struct link_events *events; /* borrowed */
	void *context;
	struct link_connection *connection; /* NULL while there is no daemon */
	struct buf out;                   /* not yet given to libuv */
	bool is_welcome;
	uv_timer_t redial_timer;
	uint64_t redial_ms;               /* how long to wait before the next attempt */
};

/* cwd must be state_dir. Cannot fail: without a daemon it dials again and again. */
void link_start(struct link *l, uv_loop_t *loop, const struct link_events *events, void *context);
void link_stop(struct link *l);   /* closes the handles; no callback comes after it */
void link_deinit(struct link *l); /* after the loop has ended */

/* Dropped when there is no daemon: whoever needs to know asks again, or is told at the next welcome. */
void link_send(struct link *l, enum message_type type, const void *body, size_t body_len, struct slice tail);
