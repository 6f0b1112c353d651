/* A job's life: submit, wait for its turn (here), claim and hand over (dispatch_claims.c), end, and perhaps again (dispatch_ends.c).
 * Decides; what is decided is posted to the store before anybody can see it, and told to nobody before it is on disk (see dispatch.h).
 *
 *     submit -> window -> claim (START posted) -> [claimed ahead] -> give (RUN) -> ENDED -> END posted -> recorded
 */
#include "dispatch.h"

#include <assert.h>
#include <inttypes.h>

#include "backoff.h"
#include "dispatch_private.h"
#include "log.h"

#define SPEC_KEPT_BYTES 1024u /* a spec of a job in the window is kept in memory up to this; longer ones are read again */
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

void dispatch_drop_spec(struct job *job)
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

void dispatch_enqueue(struct dispatch *d, struct job *job)
{
	struct job *out = queue_window_insert(job->queue, job);

	if (out && out != job)
		dispatch_settle(d, out);
	if (job->spec.len > SPEC_KEPT_BYTES)
		dispatch_drop_spec(job);
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
		dispatch_enqueue(d, job);
	else if (to == JOB_DELAYED)
		dispatch_arm_due(d, job->due_ms);
	else if (to == JOB_RUNNING && d->events.on_job_started)
		d->events.on_job_started(job->id, d->events.context);
	if (from == JOB_RUNNING && to != JOB_DONE && d->events.on_job_retried)
		d->events.on_job_retried(job->id, d->events.context);
	if (to != JOB_DONE)
		return;
	rate_add(&job->queue->finished_rate, uv_now(d->loop));
	log_debug("job ended", "job=%" PRIu64 " queue=%s attempt=%" PRIu32 " outcome=%s", job->id, job->queue->name, job->attempt, outcome_name(outcome));
	if (d->events.on_job_done)
		d->events.on_job_done(job->id, d->events.context);
	note_idle_queue(d, job->queue);
}

void dispatch_unlink(struct job *job)
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
void dispatch_erase(struct dispatch *d, struct job *job)
{
	if (job->dead)
		return;
	job->dead = true;
	if (job->claim == CLAIM_POSTED || job->claim == CLAIM_COMMITTED)
		dispatch_forget_claim(d, job);
	dispatch_unlink(job);
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
		dispatch_enqueue(d, job);
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
	rate_add(&job->queue->submitted_rate, uv_now(d->loop));
	store_post(d->store, request);
	if (job->state == JOB_READY)
		dispatch_enqueue(d, job);
	else if (job->state == JOB_DELAYED)
		dispatch_arm_due(d, job->due_ms);
	if (job->queue->pool)
		dispatch_run(d, job->queue->pool);
	return 0;
}

/* ---- the window ---- */

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
	dispatch_enqueue(d, job);
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
		dispatch_refill(d, queue);
}

void dispatch_refill(struct dispatch *d, struct queue *queue)
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
