/* The table of workers: one row for each that was asked for, from START until FORGET. Owns the worker processes, reaps
 * them, and proves that nothing of a dead one is left. Knows no daemon: news go out through one callback. */
#pragma once

#include <stdbool.h>
#include <uv.h>

#include "list.h"
#include "spawn.h"
#include "tree.h"
#include "worker_proto.h"

#define TABLE_ROWS_MAX 4096

/* A row is new or has changed; borrowed for the call. */
typedef void (*table_row_cb)(const struct message_row *row, void *context);

struct table {
	uv_loop_t *loop;          /* borrowed */
	struct spawn spawn;
	struct tree tree;
	struct list rows;
	size_t row_count;
	table_row_cb on_row;
	void *context;
	bool closed;              /* no worker is started any more */
	uv_signal_t sigchld;      /* notices children that nobody asked for */
	uv_timer_t pass_timer;    /* runs while there is something to kill, or to prove */
	uint64_t passes_since_ms; /* loop time of the last reason for passes */
	bool is_raised;           /* runs at real-time priority */
	bool has_complained;      /* about a pass that failed, once a run of passes */
};

/* @state_fd: as for spawn_init(). 0; -errno: nothing is held, no handle is open. */
int table_start(struct table *t, uv_loop_t *loop, int state_fd, table_row_cb on_row, void *context);
void table_stop(struct table *t);    /* closes the handles; no callback comes after it. No worker may be alive. */
void table_deinit(struct table *t);  /* after the loop has ended */

/* True when a child exists that is none of ours. -errno. */
int table_has_stranger(struct table *t);

/* Every failure becomes a row: empty, with start_error. An id that is in the table is logged and left as it is. */
void table_add(struct table *t, const struct message_start *start);
void table_kill(struct table *t, uint64_t worker_id);   /* SIGKILL; what is not alive is left as it is */
void table_forget(struct table *t, uint64_t worker_id); /* only when empty */
void table_close(struct table *t, int signal);          /* start no more; @signal to every living worker */
bool table_is_ended(const struct table *t);             /* all rows are empty */
void table_for_each(const struct table *t, table_row_cb visit, void *context);
