/* All workers of all pools: who calls on worker.sock, who is alive, who is dead and proven so. Ties the policy of the pools to the
 * supervisor. What a worker's attempts mean is dispatch's business. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "list.h"
#include "pool.h"
#include "supervisor.h"
#include "worker.h"
#include "worker_file.h"

struct workers_events {
	/* It has called, for the first time or again: what its marks say. Comes before on_idle. */
	void (*on_hello)(struct worker *w, const struct mark marks[MARKS_PER_WORKER], void *context);
	/* It has become able to take a job. */
	void (*on_idle)(struct worker *w, void *context);
	/* An attempt ended. @output: inline output of stdout and stderr, borrowed. */
	void (*on_ended)(struct worker *w, const struct message_ended *ended, const struct slice output[2], void *context);
	/* What was sent ahead under this token has not begun, and never will. */
	void (*on_returned)(struct worker *w, const uint8_t token[TOKEN_BYTES], void *context);
	/* It is dead, nothing that it started is left, and all that it said has been heard: record what its marks say, then call workers_bury(). */
	void (*on_dead)(struct worker *w, const struct mark marks[MARKS_PER_WORKER], void *context);
	/* The supervisor has become ready, or is gone. */
	void (*on_supervisor)(void *context);
	void (*on_stopped)(void *context);
	void *context;
};

struct workers;

/**
 * @pools: of struct pool, borrowed; must outlive the workers
 * @epoch: this daemon's; ids of new workers are made from it
 * @socket_path: the client socket, for JOBPOOL_SOCKET; borrowed
 */
int workers_new(uv_loop_t *loop, struct list *pools, uint64_t epoch, const char *socket_path, const struct workers_events *events,
		struct workers **ret_workers);
/* Bind state_dir/worker.sock (cwd is state_dir), find or start the supervisor. 0 or -errno. */
int workers_start(struct workers *ws, const struct supervisor_settings *supervisor);
void workers_free(struct workers *ws);   /* after on_stopped, or when workers_start() was never called */

struct worker *workers_find(const struct workers *ws, uint64_t id);
/* A worker of before our start, known by its file: @file_fd becomes its own. NULL = out of memory. */
struct worker *workers_adopt(struct workers *ws, struct pool *pool, const struct worker_file_header *header, int file_fd);
/* An adopted worker whose lock was found free. @empty: what it started is proven gone; else the supervisor's row decides. */
void workers_found_dead(struct workers *ws, struct worker *w, bool empty);
/* The state of a worker may have changed: idle list, on_idle. */
void workers_update(struct workers *ws, struct worker *w);
/* Start and retire what the pools want. */
void workers_tick(struct workers *ws);
/* SIGKILL a worker that hangs. */
void workers_kill(struct workers *ws, struct worker *w);
/* All that a dead worker left is recorded: its file goes, its slot is free. @w is freed. */
void workers_bury(struct workers *ws, struct worker *w);
/* Tell every worker to leave when its job has ended, and start none. */
void workers_retire_all(struct workers *ws);
/* The supervisor is to end all workers and itself. false: there is none. */
bool workers_quit(struct workers *ws);
bool workers_have_supervisor(const struct workers *ws); /* connected and ready */
bool workers_expect_supervisor(const struct workers *ws); /* not connected or not ready, but started by us */
/* One is dead, and its connection has not told its end yet: on_dead follows. */
bool workers_are_dying(const struct workers *ws);
/* Leave workers and supervisor alone, close everything; on_stopped follows. */
void workers_stop(struct workers *ws);
