/* A job's life: submit, wait for its turn, claim, hand over, end, and perhaps again. Decides; what is decided is posted to the store
 * before anybody can see it, and told to nobody before it is on disk (see dispatch.h).
 *
 *     submit -> window -> claim (START posted) -> [claimed ahead] -> give (RUN) -> ENDED -> END posted -> recorded
 */
#include "dispatch.h"

#include <assert.h>
#include <inttypes.h>

#include "backoff.h"
#include "dispatch_private.h"
#include "log.h"
#include "recover.h"
#include "spec.h"

#define SPEC_KEPT_BYTES 1024u     /* a spec of a job in the window is kept in memory up to this; longer ones are read again */
#define CLAIM_STALE_MS 1000u      /* a claim that no worker has taken for so long is given back */
#define HAND_OVER_MS 10000u       /* not started so long after it was handed over, or so late with its report: it hangs */
#define HANG_LOOK_MS 5000u
#define DUE_ROWS_MAX 100u

/* ---- jobs in memory ---- */

struct job *dispatch_find_job(const struct dispatch *d, uint64_t id)
{
	struct job *job;

	HASH_FIND(by_id, d->jobs, &id, sizeof(id), job);
	return job;
}

static struct job *add_job(struct dispatch *d, uint64_t id, struct queue *queue)
{
	struct job *job = job_new(id, queue);

	if (job)
		HASH_ADD(by_id, d->jobs, id, sizeof(job->id), job);
	return job;
}

struct job *dispatch_job_from_row(struct dispatch *d, const struct job_row *row)
{
	struct queue *queue = dispatch_queue_by_id(d, row->queue_id);
	struct job *job = queue ? add_job(d, row->id, queue) : NULL;

	if (!job)
		return NULL;
	job->priority = row->priority;
	job->state = row->state; /* where it is, not a step */
	job->outcome = row->outcome;
	job->on_lost = row->on_lost;
	job->cancelling = row->cancelling;
	job->attempt = row->attempt.number;
	job->max_attempts = row->max_attempts;
	job->retries = row->retries;
	job->environment_id = row->environment_id;
	job->due_ms = row->due_ms;
	job->cancelled_by = row->cancelled_by.data ? slice_dup(row->cancelled_by) : NULL;
	memcpy(job->token, row->attempt.token, TOKEN_BYTES);
	return job;
}

static void drop_spec(struct job *job)
{
	free((char *)job->spec.data);
	job->spec = (struct slice){ 0 };
}

void dispatch_settle(struct dispatch *d, struct job *job)
{
	bool in_use = job->pending || job->references || job->readers || !list_is_empty(&job->link) || job->claim != CLAIM_NONE;

	if (in_use || (job->state == JOB_RUNNING && !job->dead))
		return;
	environments_release(&d->environments, job->environment);
	HASH_DELETE(by_id, d->jobs, job);
	job_free(job);
}

struct store_request *dispatch_request(struct dispatch *d, struct job *job, enum store_op op, store_done on_done)
{
	struct store_request *request = store_request_new(op, on_done, job);

	if (!request) {
		log_errno(-ENOMEM, "cannot change job %" PRIu64, job->id);
		return NULL;
	}
	request->context2 = d;
	job->pending++;
	return request;
}

void dispatch_stored(struct dispatch *d, struct job *job)
{
	assert(job->pending > 0);
	job->pending--;
	dispatch_settle(d, job);
}

/* ---- steps ---- */

/* Into the window when it belongs there; a job that falls out of it goes from memory when nothing else holds it. */
static void enqueue(struct dispatch *d, struct job *job)
{
	struct job *out = queue_window_insert(job->queue, job);

	if (out && out != job)
		dispatch_settle(d, out);
	if (job->spec.len > SPEC_KEPT_BYTES)
		drop_spec(job);
}

static void note_idle_queue(struct dispatch *d, struct queue *queue)
{
	if (queue_unfinished(queue))
		return;
	queue->zero_ticket = store_posted(d->store);
	if (d->events.on_queue_idle)
		d->events.on_queue_idle(queue, d->events.context);
}

void dispatch_step(struct dispatch *d, struct job *job, enum job_state to, enum outcome outcome)
{
	enum job_state from = job->state;

	if (from == JOB_READY && !list_is_empty(&job->link) && job->claim == CLAIM_NONE)
		queue_window_remove(job->queue, job);
	queue_count_step(job->queue, from, to, to == JOB_DONE ? outcome : job->outcome);
	job_set_state(job, to);
	job->outcome = to == JOB_DONE ? outcome : OUTCOME_NONE;
	if (to == JOB_READY)
		enqueue(d, job);
	else if (to == JOB_DELAYED)
		dispatch_arm_due(d, job->due_ms);
	else if (to == JOB_RUNNING && d->events.on_job_started)
		d->events.on_job_started(job->id, d->events.context);
	if (from == JOB_RUNNING && to != JOB_DONE && d->events.on_job_retried)
		d->events.on_job_retried(job->id, d->events.context);
	if (to != JOB_DONE)
		return;
	log_info("job ended", "job=%" PRIu64 " queue=%s attempt=%" PRIu32 " outcome=%s", job->id, job->queue->name, job->attempt, outcome_name(outcome));
	if (d->events.on_job_done)
		d->events.on_job_done(job->id, d->events.context);
	note_idle_queue(d, job->queue);
}

static void unlink_job(struct job *job)
{
	if (list_is_empty(&job->link))
		return;
	if (job->claim == CLAIM_NONE) {
		queue_window_remove(job->queue, job);
	} else {
		list_remove(&job->link);
		job->claim_pool->claimed_len--;
	}
}

/* Among those claimed without a worker, be the claim on disk already or on its way there. */
static void add_claimed(struct job *job)
{
	list_append(&job->claim_pool->claimed, &job->link);
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

/* Forget a claim in memory: reservation, place among the claimed ahead, number. */
static void forget_claim(struct dispatch *d, struct job *job)
{
	assert(job->claim == CLAIM_POSTED || job->claim == CLAIM_COMMITTED);
	unlink_job(job);
	job->claim = CLAIM_NONE;
	job->attempt--;
	unreserve(d, job);
	environments_release(&d->environments, job->environment);
	job->environment = NULL;
}

void dispatch_erase(struct dispatch *d, struct job *job)
{
	if (job->dead)
		return;
	job->dead = true;
	if (job->claim == CLAIM_POSTED || job->claim == CLAIM_COMMITTED)
		forget_claim(d, job);
	unlink_job(job);
	queue_count_step(job->queue, job->state, JOB_STATE_MAX, job->outcome);
	if (d->events.on_job_done)
		d->events.on_job_done(job->id, d->events.context);
	note_idle_queue(d, job->queue);
}

void dispatch_move(struct dispatch *d, struct job *job, int32_t priority)
{
	bool in_window = !list_is_empty(&job->link);

	if (in_window)
		queue_window_remove(job->queue, job);
	job->priority = priority;
	if (job->state == JOB_READY)
		enqueue(d, job);
}

/* ---- submit ---- */

struct submit_wait {
	dispatch_done done;
	void *context;
	struct dispatch *dispatch;
};

static void on_inserted(struct store_request *request)
{
	struct job *job = request->context;
	struct submit_wait *wait = request->context2;
	struct dispatch *d = wait->dispatch;
	uint64_t id = request->status == -EEXIST ? request->u.insert.existing_id : job->id;
	int status = request->status == -EEXIST && request->u.insert.same ? 0 : request->status;

	job->insert = NULL;
	if (request->status < 0) {
		dispatch_erase(d, job);
	} else if (!job->spec.data && (job->claim != CLAIM_NONE || (!list_is_empty(&job->link) && request->u.insert.row.spec.len <= SPEC_KEPT_BYTES))) {
		job->spec = request->u.insert.row.spec;
		request->u.insert.row.spec = (struct slice){ 0 };
	}
	wait->done(wait->context, status, id);
	free(wait);
	dispatch_stored(d, job);
}

static int admit(const struct dispatch *d, const struct queue *queue)
{
	struct dispatch_figures figures;

	if (d->stopping)
		return -ESHUTDOWN;
	if (queue->config && queue->config->max_length && queue_unfinished(queue) >= queue->config->max_length)
		return -ENOBUFS;
	if (d->config->limits.queued_jobs) {
		dispatch_get_figures(d, &figures);
		if (figures.unfinished >= d->config->limits.queued_jobs)
			return -EDQUOT;
	}
	return store_has_room(d->store) ? 0 : -ENOSPC;
}

/* The request of a new job, its strings copied. NULL = out of memory; the spec is the caller's then. */
static struct store_request *new_insert(struct job *job, const struct submission *s, struct submit_wait *wait)
{
	struct store_request *request = store_request_new(STORE_INSERT_JOB, on_inserted, job);
	struct job_row *row = request ? &request->u.insert.row : NULL;
	const struct {
		struct slice from, *to;
	} copies[] = { { s->owner, row ? &row->owner : NULL }, { s->name, row ? &row->name : NULL }, { s->key, row ? &row->key : NULL } };

	if (!request)
		return NULL;
	request->context2 = wait;
	*row = (struct job_row){
		.id = job->id, .queue_id = job->queue->id, .priority = job->priority, .state = job->state, .on_lost = job->on_lost,
		.max_attempts = job->max_attempts, .retries = job->retries, .environment_id = s->environment_id, .input_id = s->input_id,
		.submitted_wall_ms = now_wall_ms(), .due_ms = job->due_ms, .due_wall_ms = s->delay_ms ? now_wall_ms() + s->delay_ms : 0,
	};
	request->u.insert.spec_hash = s->spec_hash;
	for (size_t i = 0; i < ARRAY_SIZE(copies); i++) {
		if (!copies[i].from.data)
			continue;
		*copies[i].to = (struct slice){ slice_dup(copies[i].from), copies[i].from.len };
		if (!copies[i].to->data) {
			store_request_free(request);
			return NULL;
		}
	}
	row->spec = s->spec;
	return request;
}

struct key_wait {
	dispatch_done done;
	void *context;
	int refusal;             /* what the submission gets when its key is not known */
};

static void on_key_looked_up(struct store_request *request)
{
	struct key_wait *wait = request->context;
	bool known = request->status == -EEXIST;
	int status = !known ? wait->refusal : request->u.insert.same ? 0 : -EEXIST;

	wait->done(wait->context, status, request->u.insert.existing_id);
	free(wait);
}

/* P2: who resends a submission gets its id, also when nothing more is taken. */
static int find_key(struct dispatch *d, const struct submission *s, int refusal, dispatch_done done, void *context)
{
	struct key_wait *wait = malloc(sizeof(*wait));
	struct store_request *request = wait ? store_request_new(STORE_FIND_KEY, on_key_looked_up, wait) : NULL;
	struct job_row *row = request ? &request->u.insert.row : NULL;

	if (row) {
		row->owner = (struct slice){ slice_dup(s->owner), s->owner.len };
		row->key = (struct slice){ slice_dup(s->key), s->key.len };
	}
	if (!row || !row->owner.data || !row->key.data) {
		store_request_free(request);
		free(wait);
		return -ENOMEM;
	}
	*wait = (struct key_wait){ done, context, refusal };
	request->u.insert.spec_hash = s->spec_hash;
	store_post(d->store, request);
	return 0;
}

int dispatch_submit(struct dispatch *d, struct submission *s, dispatch_done done, void *context)
{
	struct submit_wait *wait = malloc(sizeof(*wait));
	int r = wait ? admit(d, s->queue) : -ENOMEM;
	struct job *job = r < 0 ? NULL : add_job(d, d->next_job_id, s->queue);
	struct store_request *request = NULL;

	if (job) {
		*wait = (struct submit_wait){ done, context, d };
		job->priority = s->priority;
		job->on_lost = s->on_lost;
		job->retries = s->retries;
		job->max_attempts = s->max_attempts;
		job->environment_id = s->environment_id;
		job->due_ms = s->delay_ms ? uv_now(d->loop) + s->delay_ms : 0;
		job->state = s->hold ? JOB_HELD : s->delay_ms ? JOB_DELAYED : JOB_READY; /* its birth, not a step */
		request = new_insert(job, s, wait);
	}
	if (!request) {
		free((char *)s->spec.data);
		free(wait);
		if (job)
			dispatch_settle(d, job);
		if (r < 0 && r != -ESHUTDOWN && s->key.data)
			return find_key(d, s, r, done, context);
		return r < 0 ? r : -ENOMEM;
	}
	d->next_job_id++;
	job->pending++;
	job->insert = request;
	queue_count_step(job->queue, JOB_STATE_MAX, job->state, OUTCOME_NONE);
	store_post(d->store, request);
	if (job->state == JOB_READY)
		enqueue(d, job);
	else if (job->state == JOB_DELAYED)
		dispatch_arm_due(d, job->due_ms);
	if (job->queue->pool)
		dispatch_run(d, job->queue->pool);
	return 0;
}

/* ---- the window ---- */

static void refill(struct dispatch *d, struct queue *queue);

static void take_ready_row(struct dispatch *d, struct queue *queue, const struct job_row *row)
{
	struct job *job = dispatch_find_job(d, row->id);

	if (!job) {
		job = dispatch_job_from_row(d, row);
	} else if (job->dead || job->state != JOB_READY || job->claim != CLAIM_NONE || !list_is_empty(&job->link) ||
		   job->priority != row->priority) {
		return; /* memory knows better */
	}
	if (!job)
		return;
	/* The window takes what the store has behind its end only while it counts as complete. */
	queue->window_complete = true;
	enqueue(d, job);
	dispatch_settle(d, job);
}

static void on_ready_loaded(struct store_request *request)
{
	struct dispatch *d = request->context2;
	struct queue *queue = request->context;
	bool complete = request->u.ready.complete && !queue->refill_stale;

	queue->refilling = false;
	for (size_t i = 0; i < request->u.ready.count && queue_may_take(queue, request->u.ready.rows[i].priority, request->u.ready.rows[i].id); i++) {
		take_ready_row(d, queue, &request->u.ready.rows[i]);
		complete = complete && queue->window_complete; /* not when one fell out again */
	}
	queue->window_complete = complete;
	queue->refill_stale = false;
	if (queue->pool)
		dispatch_run(d, queue->pool);
	else
		refill(d, queue);
}

static void refill(struct dispatch *d, struct queue *queue)
{
	struct job *last = list_last(&queue->window, struct job, link);
	struct store_request *request;

	if (!queue_wants_refill(queue))
		return;
	request = store_request_new(STORE_LOAD_READY, on_ready_loaded, queue);
	if (!request)
		return; /* tried again with the next change */
	request->context2 = d;
	request->u.ready.queue_id = queue->id;
	request->u.ready.limit = QUEUE_WINDOW_MAX - QUEUE_WINDOW_LOW;
	if (last) {
		request->u.ready.after_priority = last->priority;
		request->u.ready.after_id = last->id;
	}
	queue->refilling = true;
	queue->refill_stale = false;
	store_post(d->store, request);
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

static void give(struct dispatch *d, struct job *job, struct worker *w)
{
	struct run_parts run = {
		.job_id = job->id, .attempt = job->attempt, .token = job->token, .queue = slice_of(job->queue->name), .spec = job->spec,
		.environment = job->environment ? job->environment->block : (struct slice){ 0 },
	};

	w->job = job;
	w->reserved = false;
	job->worker = w;
	job->claim = CLAIM_GIVEN;
	job->given_ms = uv_now(d->loop);
	worker_send_run(w, d->epoch, &run);
	environments_release(&d->environments, job->environment);
	job->environment = NULL;
	w->pool->given++;
	d->started++;
	workers_update(d->workers, w);
	dispatch_watch(d, w);
	dispatch_step(d, job, JOB_RUNNING, OUTCOME_NONE);
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
		forget_claim(d, job); /* it is not in the store: a duplicate, or removed */
		dispatch_erase(d, job);
	} else if (current) {
		take_claim_results(d, job, request);
		if (job->worker && !is_usable(job->worker)) {
			unreserve(d, job);
			add_claimed(job);
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
	random_fill(job->token, TOKEN_BYTES);
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
	struct job *job, *best = NULL;

	list_for_each(job, &pool->claimed, link)
		if (!best || job_is_before(job, best))
			best = job;
	return best;
}

/* A claim that is still on its way to the disk keeps its turn: the worker waits for it, as for a claim of its own. */
static void take_claimed(struct dispatch *d, struct job *job, struct worker *w)
{
	unlink_job(job);
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
	while (pool->claimed_len < pool->claim_budget && (job = next_job(d, pool)))
		if (!claim(d, job, NULL))
			break;
	list_for_each(queue, &d->queues, link)
		if (queue->pool == pool)
			refill(d, queue);
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

static void post_unstart(struct dispatch *d, struct job *job, uint32_t number)
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
	post_unstart(d, job, job->attempt);
	forget_claim(d, job);
	enqueue(d, job);
}

/* ---- the end of an attempt ---- */

static bool may_try_again(const struct job *job, enum outcome outcome)
{
	if (job->cancelling)
		return false;
	switch (outcome) {
	case OUTCOME_FAILED:
	case OUTCOME_SIGNALED:
	case OUTCOME_TIMEOUT:
	case OUTCOME_OOM:
		return job->retries && job->attempt < job->max_attempts;
	case OUTCOME_LOST:
		return job->on_lost == ON_LOST_RETRY && job->attempt < job->max_attempts;
	default:
		return false;
	}
}

/* Nothing is with the job's worker any more; the caller updates the worker when it has done with it. */
static void take_from_worker(struct job *job)
{
	struct worker *w = job->worker;

	job->claim = CLAIM_NONE;
	job->worker = NULL;
	if (!w || w->job != job)
		return;
	w->job = NULL;
	w->check_at_ms = 0;
}

static void on_end_stored(struct store_request *request)
{
	struct job *job = request->context;

	if (request->status < 0)
		log_warning("an outcome was recorded before", "job=%" PRIu64 " attempt=%" PRIu32, job->id, request->u.end.number);
	dispatch_stored(request->context2, job);
}

int dispatch_end_attempt(struct dispatch *d, struct job *job, const struct attempt_end *end, struct slice output[2])
{
	struct store_request *request = dispatch_request(d, job, STORE_END_ATTEMPT, on_end_stored);
	bool again = may_try_again(job, (enum outcome)end->outcome);
	uint64_t wait_ms = again ? backoff_ms(job->attempt, BACKOFF_FIRST_MS, BACKOFF_MOST_MS) : 0;

	if (!request) {
		free((char *)output[0].data);
		free((char *)output[1].data);
		return -ENOMEM;
	}
	request->u.end.job_id = job->id;
	request->u.end.number = job->attempt;
	memcpy(request->u.end.token, job->token, TOKEN_BYTES);
	request->u.end.end = *end;
	request->u.end.output[0] = output[0];
	request->u.end.output[1] = output[1];
	request->u.end.to = again ? JOB_DELAYED : JOB_DONE;
	job->due_ms = again ? uv_now(d->loop) + wait_ms : 0;
	request->u.end.due_ms = job->due_ms;
	request->u.end.due_wall_ms = again ? now_wall_ms() + wait_ms : 0;
	store_post(d->store, request);
	d->ended++;
	take_from_worker(job);
	drop_spec(job);
	dispatch_step(d, job, again ? JOB_DELAYED : JOB_DONE, (enum outcome)end->outcome);
	return 0;
}

void dispatch_never_started(struct dispatch *d, struct job *job)
{
	log_info("an attempt never started; its job goes back to the queue", "job=%" PRIu64 " attempt=%" PRIu32, job->id, job->attempt);
	post_unstart(d, job, job->attempt);
	take_from_worker(job);
	job->attempt--;
	dispatch_step(d, job, job->cancelling ? JOB_DONE : JOB_READY, OUTCOME_CANCELLED);
}

void dispatch_add_recorded(struct dispatch *d, const struct worker *w, uint64_t job_id, const uint8_t token[TOKEN_BYTES])
{
	struct recorded *r = d->closing ? NULL : calloc(1, sizeof(*r));

	if (!r)
		return; /* its mark stays taken until it calls again */
	r->worker_id = w->id;
	r->job_id = job_id;
	r->ticket = store_posted(d->store);
	if (token)
		memcpy(r->token, token, TOKEN_BYTES);
	else
		r->bury = true;
	list_append(&d->recorded, &r->link);
}

static void tell_recorded(struct dispatch *d, struct recorded *r)
{
	struct worker *w = workers_find(d->workers, r->worker_id);

	if (!w)
		return;
	if (r->bury) {
		workers_bury(d->workers, w);
		return;
	}
	if (w->unrecorded)
		w->unrecorded--;
	worker_send_recorded(w, d->epoch, r->token);
	workers_update(d->workers, w);
}

/* Scratch files are free once "recorded" is heard: it waits for reads that are under way. */
static bool is_being_read(const struct dispatch *d, const struct recorded *r)
{
	struct job *job = dispatch_find_job(d, r->job_id);

	return !r->bury && job && job->readers;
}

static void tell_all_recorded(struct dispatch *d)
{
	uint64_t committed = store_committed(d->store);
	struct recorded *r, *tmp;
	struct list due;

	list_init(&due);
	list_for_each_safe(r, tmp, &d->recorded, link) {
		if (r->ticket > committed)
			break;
		if (is_being_read(d, r))
			continue;
		list_remove(&r->link);
		list_append(&due, &r->link);
	}
	while ((r = list_first(&due, struct recorded, link))) {
		list_remove(&r->link);
		tell_recorded(d, r);
		free(r);
	}
}

void dispatch_on_batch(struct dispatch *d)
{
	uint64_t committed = store_committed(d->store);
	struct queue *queue;
	struct pool *pool;

	tell_all_recorded(d);
	list_for_each(queue, &d->queues, link)
		if (queue->zero_ticket && queue->zero_ticket <= committed) {
			queue->zero_ticket = 0;
			queue->zero_commit = store_commit_number(d->store);
			/* Again, for who asked with SINCE when the queue had jobs anew and this number was not known yet. */
			if (d->events.on_queue_idle)
				d->events.on_queue_idle(queue, d->events.context);
		}
	list_for_each(pool, &d->pools, link) {
		pool_on_commit(pool);
		dispatch_run(d, pool);
	}
	if (d->stopping)
		dispatch_consider_stop(d);
}

void dispatch_reader_begin(struct dispatch *d, struct job *job)
{
	(void)d;
	job->readers++;
}

void dispatch_reader_end(struct dispatch *d, struct job *job)
{
	assert(job->readers > 0);
	if (--job->readers > 0)
		return;
	tell_all_recorded(d);
	dispatch_settle(d, job);
	if (d->stopping)
		dispatch_consider_stop(d); /* what was recorded may have waited for this read only */
}

/* ---- what workers say ---- */

static bool is_current(const struct job *job, const uint8_t token[TOKEN_BYTES])
{
	return job && job->state == JOB_RUNNING && memcmp(job->token, token, TOKEN_BYTES) == 0;
}

static void on_idle(struct worker *w, void *context)
{
	dispatch_run(context, w->pool);
}

/* What comes with the report; without memory for it, it is marked as dropped. */
static void copy_output(const struct slice from[2], struct slice ret_copies[2], struct attempt_end *end)
{
	for (unsigned i = 0; i < 2; i++) {
		char *data = from[i].len ? slice_dup(from[i]) : NULL;

		ret_copies[i] = (struct slice){ data, data ? from[i].len : 0 };
		if (from[i].len && !data)
			end->output_dropped |= (uint8_t)(1u << i);
	}
}

/* What is due now is told now when no commit is under way that would bring a batch. */
static void tell_if_committed(struct dispatch *d)
{
	if (store_committed(d->store) == store_posted(d->store))
		tell_all_recorded(d);
}

static void on_ended(struct worker *w, const struct message_ended *ended, const struct slice output[2], void *context)
{
	struct dispatch *d = context;
	struct job *job = dispatch_find_job(d, ended->job_id);
	struct attempt_end end = ended->end;
	struct slice copies[2];
	int r = 0;

	w->unrecorded++;
	pool_on_ended(w);
	if (is_current(job, ended->token)) {
		copy_output(output, copies, &end);
		r = dispatch_end_attempt(d, job, &end, copies);
	} else {
		log_info("a report was recorded before, or is of no attempt we know", "job=%" PRIu64 " worker=%" PRIu64, ended->job_id, w->id);
	}
	if (r == 0)
		dispatch_add_recorded(d, w, ended->job_id, ended->token);
	else
		link_stop(w->connection); /* it calls again, and its mark names the attempt: another try */
	workers_update(d->workers, w);
	tell_if_committed(d);
	if (w->pool->recycle_after_jobs && w->jobs_done >= w->pool->recycle_after_jobs)
		workers_tick(d->workers);
}

int dispatch_import_mark(struct dispatch *d, struct worker *w, unsigned index, const struct mark *mark)
{
	struct job *job = dispatch_find_job(d, mark->job_id);
	struct attempt_end end = mark->end;
	struct slice output[2];

	if (!is_current(job, mark->token))
		return 0;
	recover_output(w->id, index, mark, &end, output);
	return dispatch_end_attempt(d, job, &end, output);
}

static bool marks_name(const struct mark marks[MARKS_PER_WORKER], const uint8_t token[TOKEN_BYTES])
{
	for (unsigned i = 0; i < MARKS_PER_WORKER; i++)
		if (marks[i].state != MARK_FREE && memcmp(marks[i].token, token, TOKEN_BYTES) == 0)
			return true;
	return false;
}

static void forget_recorded(struct dispatch *d, const struct worker *w)
{
	struct recorded *r, *tmp;

	list_for_each_safe(r, tmp, &d->recorded, link)
		if (r->worker_id == w->id && !r->bury) {
			list_remove(&r->link);
			free(r);
		}
}

uint64_t dispatch_started_at(const struct dispatch *d, const struct mark *mark)
{
	uint64_t now_ms = uv_now(d->loop), wall_ms = now_wall_ms(), started_ms = mark->end.started_wall_ms;
	uint64_t age_ms = started_ms && started_ms < wall_ms ? wall_ms - started_ms : 0;

	return age_ms < now_ms ? now_ms - age_ms : 1;
}

static void on_hello(struct worker *w, const struct mark marks[MARKS_PER_WORKER], void *context)
{
	struct dispatch *d = context;
	struct job *job = w->job;

	if (job && !w->reserved && !marks_name(marks, job->token))
		dispatch_never_started(d, job); /* what we sent it has not arrived, and cannot any more */
	forget_recorded(d, w);
	w->unrecorded = 0;
	for (unsigned i = 0; i < MARKS_PER_WORKER; i++) {
		job = dispatch_find_job(d, marks[i].job_id);
		if (marks[i].state == MARK_ENDED) {
			w->unrecorded++;
			if (dispatch_import_mark(d, w, i, &marks[i]) == 0)
				dispatch_add_recorded(d, w, marks[i].job_id, marks[i].token);
		} else if (marks[i].state == MARK_STARTED && is_current(job, marks[i].token)) {
			w->job = job;
			w->proven = true;
			job->worker = w;
			job->claim = CLAIM_GIVEN;
			job->given_ms = dispatch_started_at(d, &marks[i]);
			if (job->cancelling)
				worker_send_cancel(w, d->epoch, job->token, UINT64_MAX, CANCEL_ASKED);
		}
	}
	tell_if_committed(d);
}

static void on_dead(struct worker *w, const struct mark marks[MARKS_PER_WORKER], void *context)
{
	struct dispatch *d = context;
	struct job *job = w->job;
	bool all = true;

	if (job && w->reserved) {
		unreserve(d, job);
		add_claimed(job);
	} else if (job && !marks_name(marks, job->token)) {
		dispatch_never_started(d, job);
	}
	for (unsigned i = 0; i < MARKS_PER_WORKER; i++) {
		struct attempt_end lost = { .outcome = OUTCOME_LOST, .exit_code = -1, .ended_wall_ms = now_wall_ms() };
		struct mark mark = marks[i];

		lost.lost_reason = w->other_boot ? LOST_MACHINE : d->stopping && d->how == STOP_KILL ? LOST_STOPPED : LOST_WORKER_DIED;
		lost.started_wall_ms = mark.end.started_wall_ms;
		if (mark.state == MARK_STARTED)
			mark.end = lost;
		if (mark.state != MARK_FREE)
			all &= dispatch_import_mark(d, w, i, &mark) == 0;
	}
	if (!all)
		return; /* its file stays, and the next start records what it tells */
	forget_recorded(d, w);
	dispatch_add_recorded(d, w, 0, NULL);
	tell_if_committed(d); /* may bury and free it */
	if (d->stopping)
		dispatch_consider_stop(d);
}

static void on_supervisor(void *context)
{
	struct dispatch *d = context;

	if (d->stopping)
		dispatch_consider_stop(d);
}

static void on_workers_stopped(void *context)
{
	struct dispatch *d = context;

	d->on_stopped(d->stop_context);
}

const struct workers_events dispatch_worker_events = {
	.on_hello = on_hello, .on_idle = on_idle, .on_ended = on_ended, .on_dead = on_dead, .on_supervisor = on_supervisor,
	.on_stopped = on_workers_stopped,
};

int dispatch_scratch_paths(const struct dispatch *d, const struct job *job, char ret_out[64], char ret_err[64])
{
	struct mark mark;
	int index;

	(void)d;
	if (job->state != JOB_RUNNING || !job->worker)
		return -ENOENT;
	index = worker_find_mark(job->worker, job->token, &mark);
	if (index < 0)
		return -EAGAIN;
	snprintf(ret_out, 64, SCRATCH_DIRECTORY "/%" PRIu64 ".%d.out", job->worker->id, index);
	snprintf(ret_err, 64, SCRATCH_DIRECTORY "/%" PRIu64 ".%d.err", job->worker->id, index);
	return 0;
}

/* ---- workers that hang ---- */

/* When the report of this job is overdue; 0 = it may run for ever. */
static uint64_t overdue_at(const struct dispatch *d, const struct job *job)
{
	struct spec spec;
	uint64_t at = 0;

	if (!job->spec.data || spec_decode(job->spec, &spec) < 0)
		return 0;
	if (spec.timeout_ms)
		at = uv_now(d->loop) + spec.timeout_ms + spec.grace_ms + HAND_OVER_MS;
	spec_deinit(&spec);
	return at;
}

static void look_at(struct dispatch *d, struct worker *w)
{
	struct mark mark;

	if (w->check_started && worker_find_mark(w, w->job->token, &mark) >= 0) {
		w->check_at_ms = overdue_at(d, w->job);
		w->check_started = false;
		return;
	}
	w->check_at_ms = 0;
	workers_kill(d->workers, w);
}

static void on_hang_timer(uv_timer_t *timer)
{
	struct dispatch *d = timer->data;
	bool more = false;
	struct pool *pool;
	struct worker *w;

	list_for_each(pool, &d->pools, link)
		list_for_each(w, &pool->workers, link) {
			if (w->check_at_ms && w->job && w->check_at_ms <= uv_now(d->loop))
				look_at(d, w);
			more |= w->check_at_ms != 0;
		}
	if (!more)
		uv_timer_stop(timer);
}

void dispatch_watch(struct dispatch *d, struct worker *w)
{
	w->check_at_ms = uv_now(d->loop) + HAND_OVER_MS;
	w->check_started = true;
	if (!uv_is_active((uv_handle_t *)&d->hang_timer))
		uv_timer_start(&d->hang_timer, on_hang_timer, HANG_LOOK_MS, HANG_LOOK_MS);
}

/* ---- delayed jobs ---- */

static void on_update_stored(struct store_request *request)
{
	struct job *job = request->context;

	if (request->status < 0)
		dispatch_erase(request->context2, job);
	dispatch_stored(request->context2, job);
}

static void become_ready(struct dispatch *d, struct job *job)
{
	struct store_request *request = dispatch_request(d, job, STORE_UPDATE_JOB, on_update_stored);

	if (!request) {
		dispatch_arm_due(d, uv_now(d->loop) + BACKOFF_FIRST_MS);
		return;
	}
	request->u.update.job_id = job->id;
	request->u.update.from = JOB_DELAYED;
	request->u.update.to = JOB_READY;
	request->u.update.priority = job->priority;
	store_post(d->store, request);
	dispatch_step(d, job, JOB_READY, OUTCOME_NONE);
}

static void on_due_loaded(struct store_request *request)
{
	struct dispatch *d = request->context;
	uint64_t now = uv_now(d->loop), next = request->u.due.complete ? 0 : now;

	for (size_t i = 0; i < request->u.due.count; i++) {
		const struct job_row *row = &request->u.due.rows[i];
		struct job *job = dispatch_find_job(d, row->id);

		if (!job)
			job = dispatch_job_from_row(d, row);
		if (!job || job->dead || job->state != JOB_DELAYED)
			continue;
		if (job->due_ms > now) {
			next = job->due_ms;
			dispatch_settle(d, job);
			break;
		}
		job->references++;
		become_ready(d, job);
		job->references--;
		dispatch_settle(d, job);
	}
	if (next)
		dispatch_arm_due(d, next);
	dispatch_run_all(d);
}

static void on_due_timer(uv_timer_t *timer)
{
	struct dispatch *d = timer->data;
	struct store_request *request = store_request_new(STORE_LOAD_DUE, on_due_loaded, d);

	d->due_at_ms = 0;
	if (!request || d->stopping) {
		store_request_free(request);
		return;
	}
	request->u.due.limit = DUE_ROWS_MAX;
	store_post(d->store, request);
}

void dispatch_arm_due(struct dispatch *d, uint64_t at_ms)
{
	uint64_t now = uv_now(d->loop);

	if (d->stopping || (d->due_at_ms && d->due_at_ms <= at_ms))
		return;
	d->due_at_ms = MAX(at_ms, 1);
	uv_timer_start(&d->due_timer, on_due_timer, at_ms > now ? at_ms - now : 0, 0);
}
