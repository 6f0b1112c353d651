/* How attempts end: what workers report, what their marks and deaths tell, what is told back once it is recorded; and workers that hang. */
#include <assert.h>
#include <inttypes.h>

#include "backoff.h"
#include "dispatch_private.h"
#include "log.h"
#include "recover.h"
#include "spec.h"

#define HAND_OVER_MS 10000u /* not started so long after it was handed over, or so late with its report: it hangs */
#define HANG_LOOK_MS 5000u
#define FLUSH_MS 100u /* a worker hears so much later, unless it gets another job before, that the one before is recorded */

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
	if (w && w->next == job)
		w->next = NULL;
	if (!w || w->job != job)
		return;
	w->job = NULL;
	w->check_at_ms = 0;
}

/* What was sent ahead has its turn. */
static void promote_next(struct dispatch *d, struct worker *w)
{
	if (w->job || !w->next)
		return;
	w->job = w->next;
	w->next = NULL;
	w->job->given_ms = uv_now(d->loop);
	dispatch_watch(d, w);
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
	dispatch_drop_spec(job);
	dispatch_step(d, job, again ? JOB_DELAYED : JOB_DONE, (enum outcome)end->outcome);
	return 0;
}

void dispatch_never_started(struct dispatch *d, struct job *job)
{
	log_info("an attempt never started; its job goes back to the queue", "job=%" PRIu64 " attempt=%" PRIu32, job->id, job->attempt);
	dispatch_post_unstart(d, job, job->attempt);
	take_from_worker(job);
	job->attempt--;
	dispatch_step(d, job, job->cancelling ? JOB_DONE : JOB_READY, OUTCOME_CANCELLED);
}

/* Tell @w, after the commit of what is posted now, that the outcome of @token is recorded; without a token: bury it then. */
static void add_recorded(struct dispatch *d, const struct worker *w, uint64_t job_id, const uint8_t token[TOKEN_BYTES])
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

/* "Recorded" travels with the next job of the worker. It is not woken up for it alone at once: neither while it works, nor when whoever
 * waits for its last job is to be told first. */
static void flush_workers(struct dispatch *d, bool all)
{
	struct pool *pool;
	struct worker *w;

	list_for_each(pool, &d->pools, link)
		list_for_each(w, &pool->workers, link)
			if (all || d->stopping || w->leaving)
				worker_flush(w);
}

static void on_flush_timer(uv_timer_t *timer)
{
	flush_workers(timer->data, true);
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
	worker_post_recorded(w, d->epoch, r->token);
	workers_update(d->workers, w);
	if (!uv_is_active((uv_handle_t *)&d->flush_timer))
		uv_timer_start(&d->flush_timer, on_flush_timer, FLUSH_MS, 0);
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
	flush_workers(d, false);
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
	flush_workers(d, false);
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
	if (store_committed(d->store) != store_posted(d->store))
		return;
	tell_all_recorded(d);
	flush_workers(d, false);
}

static void on_ended(struct worker *w, const struct message_ended *ended, const struct slice output[2], void *context)
{
	struct dispatch *d = context;
	struct job *job = dispatch_find_job(d, ended->job_id);
	struct attempt_end end = ended->end;
	struct slice copies[2];
	int r = 0;

	w->unrecorded++;
	pool_on_ended(w, job ? uv_now(d->loop) - job->given_ms : UINT64_MAX);
	rate_add(&w->jobs_rate, uv_now(d->loop));
	if (is_current(job, ended->token)) {
		copy_output(output, copies, &end);
		r = dispatch_end_attempt(d, job, &end, copies);
	} else {
		log_info("a report was recorded before, or is of no attempt we know", "job=%" PRIu64 " worker=%" PRIu64, ended->job_id, w->id);
	}
	if (r == 0)
		add_recorded(d, w, ended->job_id, ended->token);
	else
		link_stop(w->connection); /* it calls again, and its mark names the attempt: another try */
	promote_next(d, w);
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
	struct job *job = w->reserved ? NULL : w->job, *next = w->next;
	struct dispatch *d = context;

	/* What we sent it and it does not know has not arrived, and cannot any more. */
	w->next = NULL;
	if (job && !marks_name(marks, job->token))
		dispatch_never_started(d, job);
	if (next && !marks_name(marks, next->token))
		dispatch_never_started(d, next);
	forget_recorded(d, w);
	w->unrecorded = 0;
	for (unsigned i = 0; i < MARKS_PER_WORKER; i++) {
		job = dispatch_find_job(d, marks[i].job_id);
		if (marks[i].state == MARK_ENDED) {
			w->unrecorded++;
			if (dispatch_import_mark(d, w, i, &marks[i]) == 0)
				add_recorded(d, w, marks[i].job_id, marks[i].token);
		} else if (marks[i].state == MARK_STARTED && is_current(job, marks[i].token)) {
			w->job = job;
			w->proven = true;
			job->worker = w;
			job->claim = CLAIM_GIVEN;
			job->given_ms = dispatch_started_at(d, &marks[i]);
			if (!w->check_at_ms)
				dispatch_watch(d, w);
			if (job->cancelling)
				worker_send_cancel(w, d->epoch, job->token, UINT64_MAX, CANCEL_ASKED);
		}
	}
	tell_if_committed(d);
}

/* The RUN came back: asked for, cancelled, or its worker leaves. */
static void on_returned(struct worker *w, const uint8_t token[TOKEN_BYTES], void *context)
{
	struct dispatch *d = context;

	if (!w->next || memcmp(w->next->token, token, TOKEN_BYTES) != 0)
		return;
	dispatch_never_started(d, w->next);
	dispatch_run(d, w->pool);
	if (d->stopping)
		dispatch_consider_stop(d);
}

static void on_dead(struct worker *w, const struct mark marks[MARKS_PER_WORKER], void *context)
{
	struct dispatch *d = context;
	struct job *job = w->job, *next = w->next;
	bool all = true;

	if (job && w->reserved) {
		dispatch_lose_reservation(d, job);
	} else if (job && !marks_name(marks, job->token)) {
		dispatch_never_started(d, job);
	}
	if (next && !marks_name(marks, next->token))
		dispatch_never_started(d, next);
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
	add_recorded(d, w, 0, NULL);
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
	.on_hello = on_hello, .on_idle = on_idle, .on_ended = on_ended, .on_returned = on_returned, .on_dead = on_dead, .on_supervisor = on_supervisor,
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
