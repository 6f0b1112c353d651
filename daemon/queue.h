/* A named order of jobs: its counts, and the window of its next ready jobs that memory holds. Knows no loop, no clock, no store.
 *
 * The window is the front part of the queue's start order: sorted, without gaps. When window_complete is false, the store has further
 * ready jobs behind its last one. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "config.h"
#include "job.h"
#include "list.h"
#include "rate.h"

#define QUEUE_WINDOW_MAX 512 /* ready jobs in memory, for each queue */
#define QUEUE_WINDOW_LOW 128 /* below this the window is refilled */

struct queue {
	struct list link;            /* in dispatch->queues */
	struct pool *pool;           /* borrowed: serves this queue; NULL = none */
	const struct config_queue *config; /* borrowed from the current configuration; NULL = no longer in it */
	uint32_t id;
	char name[NAME_BYTES_MAX + 1];
	bool paused;
	uint64_t count[JOB_STATE_MAX]; /* as clients see it: claimed ahead is ready; JOB_DONE = finished and kept */
	uint64_t succeeded, failed;
	struct rate submitted_rate, finished_rate;
	uint64_t zero_commit;        /* number of the commit at which unfinished was last 0 */
	uint64_t zero_ticket;        /* while that commit is under way: its ticket, else 0 */

	struct list window;          /* of struct job, by start order */
	size_t window_len;
	bool window_complete;
	bool refilling;              /* a read of further ready jobs is under way ... */
	bool refill_stale;           /* ... and it was too early to see a job, or one fell out of the window: ... */
	int32_t stale_priority;      /* ... its result is good only up to the first of these */
	uint64_t stale_id;
};

uint64_t queue_unfinished(const struct queue *q); /* held + delayed + blocked + ready + running */
/* The counts follow one step of a job; @from JOB_STATE_MAX: it is new; @to JOB_STATE_MAX: it is removed. @outcome: of JOB_DONE on either side. */
void queue_count_step(struct queue *q, enum job_state from, enum job_state to, enum outcome outcome);
/* Put a ready job that nobody has into the window, if that is where it belongs; one that falls out at the end stays ready
 * in the store only. Returns the job that fell out (may be @job itself) or NULL: the caller may drop it from memory. */
struct job *queue_window_insert(struct queue *q, struct job *job);
/* Unlink a job of the window. */
void queue_window_remove(struct queue *q, struct job *job);
struct job *queue_head(const struct queue *q);   /* next to start, or NULL */
/* May a row that was just read follow the window's last job? Not behind a job that the read has missed. */
bool queue_may_take(const struct queue *q, int32_t priority, uint64_t id);
bool queue_wants_refill(const struct queue *q);
