/* Everybody who waits for something: for jobs (WAIT, FOLLOW), for queues to be idle (JOIN), each with a time-out. It carries
 * the news; what they mean is the waiter's matter. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "list.h"

struct queue;
struct waiter;
struct waiters;
struct watch;

#define WAIT_FOREVER (-1)

enum waiter_event {
	WAITER_JOB_STARTED,
	WAITER_JOB_RETRIED,   /* an attempt ended, and there will be another */
	WAITER_JOB_DONE,      /* final, or removed */
	WAITER_QUEUE_IDLE,
	WAITER_TIMEOUT,
	WAITER_STOPPED,       /* the daemon stops: nothing more will come */
};

/* One who waits; embedded in the caller's memory. Zeroed, then waiter_init(). */
struct waiter {
	struct list link;             /* in waiters->timed (by deadline) or waiters->untimed */
	struct list join_link;        /* in waiters->joins, or nowhere */
	struct waiters *waiters;
	uint64_t deadline_ms;         /* loop time */
	struct watch *watches;        /* owned: one for each job */
	size_t watch_count;
	/* May call waiter_remove() on itself. @job_id: of the job events. @queue: of WAITER_QUEUE_IDLE. */
	void (*on_event)(struct waiter *waiter, enum waiter_event event, uint64_t job_id, struct queue *queue);
};

int waiters_new(uv_loop_t *loop, struct waiters **ret_waiters);
/* All are told WAITER_STOPPED; frees @ws once the loop has closed its timer. NULL is fine. */
void waiters_stop(struct waiters *ws);

/**
 * Begin to wait.
 *
 * @timeout_ms: WAIT_FOREVER, or >= 0; then WAITER_TIMEOUT comes once from the loop
 * @ids:        jobs to hear of, in any order, duplicates allowed
 * @queues:     hear of every queue that becomes idle
 *
 * Returns 0 or -ENOMEM: then nothing is registered.
 */
int waiter_add(struct waiters *ws, struct waiter *w, int64_t timeout_ms, const uint64_t *ids, size_t count, bool queues);
/* Any number of times, also for a zeroed one that was never added. */
void waiter_remove(struct waiter *w);

void waiters_notify_job(struct waiters *ws, enum waiter_event event, uint64_t job_id);
void waiters_notify_idle(struct waiters *ws, struct queue *queue);
