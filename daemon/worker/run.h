/* One attempt from RUN to its outcome: start, limits, the end of its tree, the end of its output.
 *
 *   IDLE -> RUNNING -> ENDING -> DRAINING -> IDLE
 *             |  the job's process is reaped: its tree is ended (most often it is empty, and nothing is left to do)
 *             |                    the tree is proven empty: the rest of the output
 *             '--> IDLE  at once when it could not be started
 *
 * Knows nothing of the daemon: the outcome goes to @on_ended. */
#pragma once

#include <sys/resource.h>

#include "launch.h"
#include "marks.h"
#include "output.h"
#include "tmpdir.h"
#include "tree.h"

enum run_state { RUN_IDLE, RUN_RUNNING, RUN_ENDING, RUN_DRAINING };

struct run {
	/* Borrowed, for the whole life of the worker. */
	const struct launcher *launcher;
	struct marks *marks;
	struct output *output;
	struct tmpdir *tmpdir;
	struct tree *tree;
	bool (*supervisor_is_gone)(void *context);
	void (*on_ended)(void *context, unsigned mark, pid_t pid, struct attempt_end *end);
	void *context;

	enum run_state state;
	unsigned mark;            /* its mark; valid unless RUN_IDLE, as all below */
	pid_t pid;                /* a child not yet reaped while RUN_RUNNING */
	uint64_t grace_ms;
	uint64_t timeout_at_ms;   /* UINT64_MAX: none, or over */
	uint64_t kill_at_ms;      /* SIGKILL is due; UINT64_MAX: no */
	uint64_t step_at_ms;      /* RUN_ENDING: next kill pass; RUN_DRAINING: the last moment for a holder outside of the tree */
	uint64_t ending_since_ms;
	bool timed_out;
	bool kill_delivered;      /* SIGKILL was asked for by MESSAGE_SIGNAL */
	uint8_t cancel_reason;    /* enum cancel_reason, 0 = not cancelled */
	int wait_status;
	struct rusage usage;      /* of strays that were reaped while it ran; with the job's own from its end on */
	uint64_t started_us;      /* monotonic */
	struct attempt_end end;   /* filled in as things become known */
};

/* @queue, @spec, @environment: the tails of the message. What cannot be started is either no business of ours any more (0,
 * nothing happens), or ends as unstartable. -errno: the worker file cannot be written, so nothing may be started again. */
int run_start(struct run *r, const struct message_run *message, uint64_t epoch, struct slice queue, struct slice spec,
	      struct slice environment, uint64_t now_ms);
/* SIGCHLD came. */
void run_reap(struct run *r, uint64_t now_ms);
/* Is it the attempt with this token that is at hand? */
bool run_has_token(const struct run *r, const uint8_t token[TOKEN_BYTES]);
/* @grace_ms: as in struct message_cancel. Nothing happens to a job that has ended. */
void run_cancel(struct run *r, enum cancel_reason reason, uint64_t grace_ms, uint64_t now_ms);
void run_signal(struct run *r, int signal);
/* The next moment at which run_tick() has something to do; UINT64_MAX: none. */
uint64_t run_deadline(const struct run *r);
void run_tick(struct run *r, uint64_t now_ms);
/* After the pipes were read: the rest of the output may be complete. */
void run_check_output(struct run *r, uint64_t now_ms);
