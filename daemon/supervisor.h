/* The connection to the supervisor: start and kill out, its table of workers in. Starts the supervisor itself where it is asked to, and
 * again whenever none runs. Knows no pools. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/resource.h>
#include <uv.h>

#include "link.h"
#include "worker_proto.h"

struct supervisor_events {
	void (*on_row)(const struct message_row *row, void *context);
	void (*on_rows_end)(void *context);      /* the table is complete: what it does not name, the supervisor does not have */
	void (*on_lost)(void *context);          /* the connection is gone */
	void (*on_stopped)(void *context);       /* after supervisor_stop(): all handles are closed */
	void *context;
};

struct supervisor;

struct supervisor_settings {
	bool spawn;          /* start jobpool-supervisor when none holds state_dir/supervisor.lock; else wait for one to call */
	rlim_t descriptors;  /* soft limit it gets, and the jobs after it: ours from before we raised it */
};

/* cwd is state_dir. */
int supervisor_new(uv_loop_t *loop, const struct supervisor_settings *settings, const struct supervisor_events *events, struct supervisor **ret_supervisor);
void supervisor_free(struct supervisor *s);      /* after on_stopped */
/* Connected, and its whole table has been heard: workers may be started. */
bool supervisor_is_ready(const struct supervisor *s);
/* Not ready yet, but we start one ourselves, so it will be. */
bool supervisor_is_coming(const struct supervisor *s);
/* Take over a connection that said HELLO as supervisor. 0; -EACCES when it is not the process that holds the lock. */
int supervisor_take_link(struct supervisor *s, struct link *link, const struct message_hello *hello, uint64_t epoch);

void supervisor_send_start(struct supervisor *s, uint64_t worker_id, const char *pool, uint32_t slot, const char *socket_path);
void supervisor_send_kill(struct supervisor *s, uint64_t worker_id);
void supervisor_send_forget(struct supervisor *s, uint64_t worker_id);
/* It kills all workers and their trees, sends their last rows and ends; on_lost follows. None is started after it. */
void supervisor_send_quit(struct supervisor *s);
/* Leave it alone from now on, close everything; any number of times. */
void supervisor_stop(struct supervisor *s);
