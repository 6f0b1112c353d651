/* What clients do to jobs that exist: cancel, hold, release, retry, change the priority, signal. Jobs that are not in memory are
 * read first; then each verb is one small function on a job in memory. */
#include <assert.h>
#include <inttypes.h>

#include "dispatch_private.h"
#include "log.h"

struct change {
	struct dispatch *dispatch;
	enum dispatch_verb verb;
	uint64_t *ids;
	size_t count;
	char *by;                /* NULL = not said */
	int64_t number;
	dispatch_done done;
	void *context;
};

static void change_free(struct change *c)
{
	if (!c)
		return;
	free(c->ids);
	free(c->by);
	free(c);
}

static void on_updated(struct store_request *request)
{
	struct job *job = request->context;

	/* The job is not in the state that memory said: it was removed while we read it. */
	if (request->status < 0) {
		dispatch_erase(request->context2, job);
		if (request->u.update.from == JOB_DONE) { /* what a retry took off the totals: it has ended for good */
			queue_count_step(job->queue, JOB_STATE_MAX, JOB_DONE, request->u.update.outcome);
			queue_count_step(job->queue, JOB_DONE, JOB_STATE_MAX, request->u.update.outcome);
		}
	}
	dispatch_stored(request->context2, job);
}

/* The change of @job to @to, not posted yet; all else stays as it is. */
static struct store_request *new_update(struct dispatch *d, struct job *job, enum job_state to)
{
	struct store_request *request = dispatch_request(d, job, STORE_UPDATE_JOB, on_updated);

	if (!request)
		return NULL;
	request->u.update.job_id = job->id;
	request->u.update.from = job->state;
	request->u.update.to = to;
	request->u.update.priority = job->priority;
	request->u.update.cancelling = job->cancelling;
	if (to == JOB_DELAYED) {
		request->u.update.due_ms = job->due_ms;
		request->u.update.due_wall_ms = now_wall_ms() + (job->due_ms > uv_now(d->loop) ? job->due_ms - uv_now(d->loop) : 0);
	}
	return request;
}

static bool step(struct dispatch *d, struct job *job, enum job_state to)
{
	struct store_request *request = new_update(d, job, to);

	if (!request)
		return false;
	store_post(d->store, request);
	dispatch_step(d, job, to, OUTCOME_NONE);
	return true;
}

static bool remember_who(struct store_request *request, struct job *job, const char *by)
{
	free(job->cancelled_by);
	job->cancelled_by = by ? strdup(by) : NULL;
	if (by)
		request->u.update.cancelled_by = (struct slice){ strdup(by), strlen(by) };
	return !by || (job->cancelled_by && request->u.update.cancelled_by.data);
}

static bool cancel(struct dispatch *d, struct job *job, const struct change *c)
{
	bool running = job->state == JOB_RUNNING;
	struct store_request *request;

	if (job->state == JOB_DONE)
		return false;
	request = new_update(d, job, running ? JOB_RUNNING : JOB_DONE);
	if (!request)
		return false;
	if (!remember_who(request, job, c->by))
		log_errno(-ENOMEM, "cannot note who cancelled job %" PRIu64, job->id);
	request->u.update.cancelling = running;
	request->u.update.outcome = running ? OUTCOME_NONE : OUTCOME_CANCELLED;
	store_post(d->store, request);
	job->cancelling = running;
	if (!running)
		dispatch_step(d, job, JOB_DONE, OUTCOME_CANCELLED);
	else if (job->worker)
		worker_send_cancel(job->worker, d->epoch, job->token, UINT64_MAX, CANCEL_ASKED);
	return true;
}

static bool hold(struct dispatch *d, struct job *job, const struct change *c)
{
	(void)c;
	return job_may_step(job->state, JOB_HELD) && step(d, job, JOB_HELD);
}

static bool release(struct dispatch *d, struct job *job, const struct change *c)
{
	(void)c;
	return (job->state == JOB_HELD || job->state == JOB_DELAYED) && step(d, job, JOB_READY);
}

static bool retry(struct dispatch *d, struct job *job, const struct change *c)
{
	struct store_request *request = job->state == JOB_DONE ? new_update(d, job, JOB_READY) : NULL;

	(void)c;
	if (!request)
		return false;
	/* As many attempts as it had at first. */
	job->max_attempts = job->attempt + MAX(job->retries + 1, job->on_lost == ON_LOST_RETRY && !job->retries ? 3u : 1u);
	job->cancelling = false;
	request->u.update.max_attempts = job->max_attempts;
	request->u.update.cancelling = false;
	request->u.update.outcome = job->outcome; /* for on_updated() */
	store_post(d->store, request);
	dispatch_step(d, job, JOB_READY, OUTCOME_NONE);
	return true;
}

static bool set_priority(struct dispatch *d, struct job *job, const struct change *c)
{
	struct store_request *request;

	if (job->state == JOB_RUNNING || job->state == JOB_DONE)
		return false;
	request = new_update(d, job, job->state);
	if (!request)
		return false;
	request->u.update.priority = (int32_t)c->number;
	store_post(d->store, request);
	dispatch_move(d, job, (int32_t)c->number);
	return true;
}

static bool send_signal(struct dispatch *d, struct job *job, const struct change *c)
{
	if (job->state != JOB_RUNNING || !job->worker)
		return false;
	worker_send_signal(job->worker, d->epoch, job->token, (int)c->number);
	return true;
}

static bool (*const verbs[])(struct dispatch *d, struct job *job, const struct change *c) = {
	[VERB_CANCEL] = cancel, [VERB_HOLD] = hold, [VERB_RELEASE] = release, [VERB_RETRY] = retry, [VERB_PRIORITY] = set_priority, [VERB_SIGNAL] = send_signal,
};
static_assert(ARRAY_SIZE(verbs) == VERB_MAX, "a function for every verb");

static bool apply_to(struct dispatch *d, struct job *job, const struct change *c)
{
	bool changed;

	job->references++;
	if (job->claim == CLAIM_POSTED || job->claim == CLAIM_COMMITTED)
		dispatch_unclaim(d, job); /* claimed ahead, so it is as good as ready */
	changed = verbs[c->verb](d, job, c);
	job->references--;
	dispatch_settle(d, job);
	return changed;
}

/* In memory, and not an insertion whose key may still turn out to be known. */
static struct job *find_stored(struct dispatch *d, uint64_t id)
{
	struct job *job = dispatch_find_job(d, id);

	return job && !job->dead && !job->insert ? job : NULL;
}

static void apply(struct change *c, const struct job_row *rows)
{
	struct dispatch *d = c->dispatch;
	uint64_t changed = 0;

	for (size_t i = 0; i < c->count; i++) {
		struct job *job = find_stored(d, c->ids[i]);

		if (!job && rows)
			job = dispatch_job_from_row(d, &rows[i]);
		if (job)
			changed += apply_to(d, job, c);
	}
	dispatch_run_all(d);
	c->done(c->context, 0, changed);
}

static void on_loaded(struct store_request *request)
{
	struct change *c = request->context;
	size_t i = 0;

	while (request->status == 0 && i < c->count && request->u.load.rows[i].id)
		i++;
	if (request->status < 0)
		c->done(c->context, request->status, 0);
	else if (i < c->count)
		c->done(c->context, -ENOENT, c->ids[i]);
	else
		apply(c, request->u.load.rows);
	change_free(c);
}

static int load(struct change *c)
{
	struct store_request *request = store_request_new(STORE_LOAD_JOBS, on_loaded, c);

	if (request)
		request->u.load.ids = malloc(c->count * sizeof(*c->ids));
	if (!request || !request->u.load.ids) {
		store_request_free(request);
		change_free(c);
		return -ENOMEM;
	}
	memcpy(request->u.load.ids, c->ids, c->count * sizeof(*c->ids));
	request->u.load.count = c->count;
	store_post(c->dispatch->store, request);
	return 0;
}

int dispatch_change(struct dispatch *d, enum dispatch_verb verb, const uint64_t *ids, size_t count, struct slice by, int64_t number,
		    dispatch_done done, void *context)
{
	struct change *c;
	bool all_here = true;

	assert(verb < VERB_MAX && count >= 1 && count <= STORE_ROWS_MAX);
	if (d->stopping)
		return -ESHUTDOWN;
	c = calloc(1, sizeof(*c));
	if (c)
		c->ids = malloc(count * sizeof(*ids));
	if (!c || !c->ids || (by.data && !(c->by = slice_dup(by)))) {
		change_free(c);
		return -ENOMEM;
	}
	memcpy(c->ids, ids, count * sizeof(*ids));
	*c = (struct change){ d, verb, c->ids, count, c->by, number, done, context };
	for (size_t i = 0; i < count; i++)
		all_here &= find_stored(d, ids[i]) != NULL;
	if (!all_here)
		return load(c);
	apply(c, NULL);
	change_free(c);
	return 0;
}
