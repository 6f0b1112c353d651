/* A queue's counts and the window of its next ready jobs. */
#include "queue.h"

#include <assert.h>

uint64_t queue_unfinished(const struct queue *q)
{
	return q->count[JOB_HELD] + q->count[JOB_DELAYED] + q->count[JOB_BLOCKED] + q->count[JOB_READY] + q->count[JOB_RUNNING];
}

void queue_count_step(struct queue *q, enum job_state from, enum job_state to, enum outcome outcome)
{
	uint64_t *total = outcome == OUTCOME_SUCCEEDED ? &q->succeeded : &q->failed;

	if (from != JOB_STATE_MAX) {
		assert(q->count[from] > 0);
		q->count[from]--;
	}
	if (to != JOB_STATE_MAX)
		q->count[to]++;
	if (to == JOB_DONE)
		++*total;
	else if (from == JOB_DONE && to != JOB_STATE_MAX) {
		/* A retried job ends again; one that is removed has ended for good, and its total stays. */
		assert(*total > 0);
		--*total;
	}
}

static bool is_behind(int32_t priority, uint64_t id, int32_t other_priority, uint64_t other_id)
{
	return priority != other_priority ? priority < other_priority : id > other_id;
}

/* A read that is under way will not show @job, which lies behind the window's end. */
static void note_missed(struct queue *q, const struct job *job)
{
	if (!q->refilling || (q->refill_stale && is_behind(job->priority, job->id, q->stale_priority, q->stale_id)))
		return;
	q->refill_stale = true;
	q->stale_priority = job->priority;
	q->stale_id = job->id;
}

bool queue_may_take(const struct queue *q, int32_t priority, uint64_t id)
{
	return !q->refill_stale || !is_behind(priority, id, q->stale_priority, q->stale_id);
}

struct job *queue_window_insert(struct queue *q, struct job *job)
{
	struct list *at = q->window.prev;
	struct job *last = list_last(&q->window, struct job, link);

	assert(job->state == JOB_READY && job->claim == CLAIM_NONE && list_is_empty(&job->link));
	if (!q->window_complete && (!last || job_is_before(last, job))) {
		/* It lies among those that the store will bring; a read that is under way may have been too early to see it. */
		note_missed(q, job);
		return job;
	}
	/* New jobs usually belong at the end: look for the place from there. */
	while (at != &q->window && job_is_before(job, list_entry(at, struct job, link)))
		at = at->prev;
	list_prepend(at, &job->link);
	if (++q->window_len <= QUEUE_WINDOW_MAX)
		return NULL;
	last = list_last(&q->window, struct job, link);
	queue_window_remove(q, last);
	q->window_complete = false;
	note_missed(q, last);
	return last;
}

void queue_window_remove(struct queue *q, struct job *job)
{
	assert(q->window_len > 0 && !list_is_empty(&job->link));
	list_remove(&job->link);
	q->window_len--;
}

struct job *queue_head(const struct queue *q)
{
	return list_first(&q->window, struct job, link);
}

bool queue_wants_refill(const struct queue *q)
{
	return !q->window_complete && !q->refilling && q->window_len < QUEUE_WINDOW_LOW;
}
