/* Claims: an attempt is committed before any worker has it. When a job is next and a worker idle, the worker is reserved for it while its
 * attempt goes to the disk; a few more are claimed ahead (see pool_on_commit()), so that a free worker never waits for the disk. */
#include <assert.h>
#include <inttypes.h>

#include "dispatch_private.h"

#define RECALL_MS 10u         /* what was sent ahead and has waited so long behind another job is asked back */
#define CLAIM_STALE_MS 1000u /* a claim that no worker has taken for so long is given back */

/* Among those claimed without a worker, be the claim on disk already or on its way there: in the order in which they are to start. */
static void add_claimed(struct job *job)
{
	struct list *claimed = &job->claim_pool->claimed, *at = claimed->prev;

	while (at != claimed && job_is_before(job, list_entry(at, struct job, link)))
		at = at->prev;
	list_prepend(at, &job->link);
	job->claim_pool->claimed_len++;
}

static void reserve(struct dispatch *d, struct job *job, struct worker *w)
{
	job->worker = w;
	w->job = job;
	w->reserved = true;
	workers_update(d->workers, w);
}

/* The worker that was reserved for a claim is free again. */
static void unreserve(struct dispatch *d, struct job *job)
{
	struct worker *w = job->worker;

	if (!w || !w->reserved || w->job != job)
		return;
	w->job = NULL;
	w->reserved = false;
	job->worker = NULL;
	workers_update(d->workers, w);
}

void dispatch_lose_reservation(struct dispatch *d, struct job *job)
{
	unreserve(d, job);
	add_claimed(job);
}

void dispatch_forget_claim(struct dispatch *d, struct job *job)
{
	assert(job->claim == CLAIM_POSTED || job->claim == CLAIM_COMMITTED);
	dispatch_unlink(job);
	job->claim = CLAIM_NONE;
	job->attempt--;
	unreserve(d, job);
	environments_release(&d->environments, job->environment);
	job->environment = NULL;
}
/* ---- claim and hand over ---- */

static struct job *next_job(struct dispatch *d, const struct pool *pool)
{
	struct job *best = NULL, *head;
	struct queue *queue;

	list_for_each(queue, &d->queues, link) {
		head = queue->pool == pool && !queue->paused ? queue_head(queue) : NULL;
		if (head && (!best || job_is_before(head, best)))
			best = head;
	}
	return best;
}

/* The worker has it from here on, or a message on its way there. */
static void hand_over(struct dispatch *d, struct job *job, struct worker *w)
{
	struct run_parts run = {
		.job_id = job->id, .attempt = job->attempt, .token = job->token, .queue = slice_of(job->queue->name), .spec = job->spec,
		.environment = job->environment ? job->environment->block : (struct slice){ 0 },
	};

	job->worker = w;
	job->claim = CLAIM_GIVEN;
	job->given_ms = uv_now(d->loop);
	worker_send_run(w, d->epoch, &run);
	environments_release(&d->environments, job->environment);
	job->environment = NULL;
	w->pool->given++;
	d->started++;
	dispatch_step(d, job, JOB_RUNNING, OUTCOME_NONE);
}

static void give(struct dispatch *d, struct job *job, struct worker *w)
{
	w->job = job;
	w->reserved = false;
	workers_update(d->workers, w);
	dispatch_watch(d, w);
	hand_over(d, job, w);
}

/* The job ahead turned out to be a long one, or we stop: others may have it, or later. */
void dispatch_recall(struct dispatch *d, uint64_t waited_ms)
{
	struct pool *pool;
	struct worker *w;

	list_for_each(pool, &d->pools, link)
		list_for_each(w, &pool->workers, link)
			if (w->next && !w->recalled && uv_now(d->loop) - w->next->given_ms >= waited_ms) {
				w->recalled = true;
				w->quick = 0;
				worker_send_recall(w, d->epoch, w->next->token);
			}
}

static void on_recall_timer(uv_timer_t *timer)
{
	struct dispatch *d = timer->data;
	struct pool *pool;
	struct worker *w;

	dispatch_recall(d, RECALL_MS);
	list_for_each(pool, &d->pools, link)
		list_for_each(w, &pool->workers, link)
			if (w->next)
				return;
	uv_timer_stop(timer);
}

static void send_ahead(struct dispatch *d, struct job *job, struct worker *w)
{
	dispatch_unlink(job);
	w->next = job;
	w->recalled = false;
	hand_over(d, job, w);
	if (!uv_is_active((uv_handle_t *)&d->recall_timer))
		uv_timer_start(&d->recall_timer, on_recall_timer, RECALL_MS, RECALL_MS);
}

static void take_claim_results(struct dispatch *d, struct job *job, struct store_request *request)
{
	if (!job->spec.data) {
		job->spec = request->u.start.spec;
		request->u.start.spec = (struct slice){ 0 };
	}
	if (job->environment_id && !job->environment) {
		job->environment = environments_put(&d->environments, job->environment_id, request->u.start.environment);
		request->u.start.environment = (struct slice){ 0 };
	}
}

static void on_claim_timer(uv_timer_t *timer)
{
	struct dispatch *d = timer->data;
	bool waiting = false;
	struct pool *pool;
	struct job *job;

	list_for_each(pool, &d->pools, link) {
		if (list_is_empty(&pool->claimed))
			continue;
		if (pool_claims_are_stale(pool))
			while ((job = list_first(&pool->claimed, struct job, link)))
				dispatch_unclaim(d, job);
		waiting |= !list_is_empty(&pool->claimed);
	}
	if (!waiting)
		uv_timer_stop(timer);
}

static void watch_claims(struct dispatch *d)
{
	if (!uv_is_active((uv_handle_t *)&d->claim_timer))
		uv_timer_start(&d->claim_timer, on_claim_timer, CLAIM_STALE_MS, CLAIM_STALE_MS);
}

static bool is_usable(const struct worker *w)
{
	return w->connection && !w->leaving && !w->died;
}

static void on_claimed(struct store_request *request)
{
	struct job *job = request->context;
	struct dispatch *d = request->context2;
	struct pool *pool = job->claim_pool;
	bool current = job->claim == CLAIM_POSTED && memcmp(job->token, request->u.start.token, TOKEN_BYTES) == 0;

	if (current && request->status < 0) {
		dispatch_forget_claim(d, job); /* it is not in the store: a duplicate, or removed */
		dispatch_erase(d, job);
	} else if (current) {
		take_claim_results(d, job, request);
		if (job->worker && !is_usable(job->worker)) {
			dispatch_lose_reservation(d, job);
		}
		if (job->worker) {
			give(d, job, job->worker);
		} else {
			job->claim = CLAIM_COMMITTED;
			watch_claims(d);
			if (job->queue->paused || d->stopping)
				dispatch_unclaim(d, job);
		}
	}
	dispatch_stored(d, job);
	dispatch_run(d, pool);
}

static void take_token(struct dispatch *d, uint8_t ret_token[TOKEN_BYTES])
{
	if (!d->tokens_left) {
		random_fill(d->tokens, sizeof(d->tokens));
		d->tokens_left = TOKENS_KEPT;
	}
	memcpy(ret_token, d->tokens[--d->tokens_left], TOKEN_BYTES);
}

/* Commit the attempt; @w is reserved for it, or NULL: claimed ahead. */
static bool claim(struct dispatch *d, struct job *job, struct worker *w)
{
	struct store_request *request = dispatch_request(d, job, STORE_START_ATTEMPT, on_claimed);

	if (!request)
		return false;
	queue_window_remove(job->queue, job);
	job->claim = CLAIM_POSTED;
	job->claim_pool = job->queue->pool;
	job->attempt++;
	take_token(d, job->token);
	if (w)
		reserve(d, job, w);
	else
		add_claimed(job);
	job->environment = job->environment_id ? environments_find(&d->environments, job->environment_id) : NULL;
	request->u.start.job_id = job->id;
	request->u.start.number = job->attempt;
	request->u.start.worker_id = w ? w->id : 0;
	memcpy(request->u.start.token, job->token, TOKEN_BYTES);
	request->u.start.want_spec = !job->spec.data && !job->insert;
	request->u.start.want_environment = job->environment ? 0 : job->environment_id;
	store_post(d->store, request);
	return true;
}

static struct job *first_claimed(const struct pool *pool)
{
	return list_first(&pool->claimed, struct job, link);
}

/* Workers of very short jobs spend their time waiting for the next one, which is on disk already: so they get it before. */
static void send_all_ahead(struct dispatch *d, struct pool *pool)
{
	struct job *ahead = first_claimed(pool), *head;
	struct worker *w;

	if (!ahead || !list_is_empty(&pool->idle))
		return;
	list_for_each(w, &pool->workers, link) {
		if (!pool_may_send_ahead(w))
			continue;
		head = next_job(d, pool);
		ahead = first_claimed(pool);
		if (!ahead || ahead->claim != CLAIM_COMMITTED || (head && job_is_before(head, ahead)))
			return;
		send_ahead(d, ahead, w);
	}
}

/* A claim that is still on its way to the disk keeps its turn: the worker waits for it, as for a claim of its own. */
static void take_claimed(struct dispatch *d, struct job *job, struct worker *w)
{
	dispatch_unlink(job);
	if (job->claim == CLAIM_COMMITTED)
		give(d, job, w);
	else
		reserve(d, job, w);
}

void dispatch_run(struct dispatch *d, struct pool *pool)
{
	struct worker *w;
	struct queue *queue;
	struct job *job, *ahead;

	if (!d->serving || d->stopping)
		return;
	while ((w = list_first(&pool->idle, struct worker, idle_link))) {
		job = next_job(d, pool);
		ahead = first_claimed(pool);
		if (ahead && (!job || job_is_before(ahead, job))) {
			take_claimed(d, ahead, w);
		} else if (!job || !claim(d, job, w)) {
			break;
		}
	}
	send_all_ahead(d, pool);
	while (pool->claimed_len < pool->claim_budget && (job = next_job(d, pool)))
		if (!claim(d, job, NULL))
			break;
	list_for_each(queue, &d->queues, link)
		if (queue->pool == pool)
			dispatch_refill(d, queue);
}

static bool is_held_up(const struct worker *w)
{
	return w->reserved || (w->connection && !w->job && w->unrecorded >= MARKS_PER_WORKER);
}

bool dispatch_may_pause(const struct dispatch *d)
{
	bool enough = false;
	struct worker *w;
	struct pool *pool;
	struct job *ahead;

	list_for_each(pool, &d->pools, link) {
		ahead = first_claimed(pool);
		enough |= ahead && ahead->claim == CLAIM_COMMITTED;
		list_for_each(w, &pool->workers, link) {
			enough |= w->next != NULL;
			if (is_held_up(w))
				return false;
		}
	}
	return enough && !d->stopping;
}

void dispatch_run_all(struct dispatch *d)
{
	struct pool *pool;

	list_for_each(pool, &d->pools, link)
		dispatch_run(d, pool);
}

static void on_unstarted(struct store_request *request)
{
	struct job *job = request->context;
	struct dispatch *d = request->context2;

	if (request->status < 0)
		dispatch_erase(d, job);
	dispatch_stored(d, job);
}

void dispatch_post_unstart(struct dispatch *d, struct job *job, uint32_t number)
{
	struct store_request *request = dispatch_request(d, job, STORE_UNSTART_ATTEMPT, on_unstarted);

	if (!request)
		return; /* the attempt stays open in the store; the next start finds that it never started */
	request->u.unstart.job_id = job->id;
	request->u.unstart.number = number;
	request->u.unstart.to = job->cancelling ? JOB_DONE : JOB_READY;
	request->u.unstart.outcome = job->cancelling ? OUTCOME_CANCELLED : OUTCOME_NONE;
	if (job->cancelling && job->cancelled_by)
		request->u.unstart.cancelled_by = (struct slice){ strdup(job->cancelled_by), strlen(job->cancelled_by) };
	memcpy(request->u.unstart.token, job->token, TOKEN_BYTES);
	store_post(d->store, request);
}

void dispatch_unclaim(struct dispatch *d, struct job *job)
{
	dispatch_post_unstart(d, job, job->attempt);
	dispatch_forget_claim(d, job);
	dispatch_enqueue(d, job);
}
