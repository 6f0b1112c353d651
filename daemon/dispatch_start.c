/* How dispatch begins, ends, and takes a new configuration. The beginning is the order of design section 6: epoch into every worker file,
 * then read them, decide about every attempt that the store has as running, and only then hand out jobs. */
#include <assert.h>
#include <inttypes.h>

#include "dispatch_private.h"
#include "log.h"
#include "recover.h"

#define KILL_WAIT_MS 5000u /* for jobs to end by themselves before their workers are killed, and then for those */

/* ---- queues and pools ---- */

struct list *dispatch_queues(struct dispatch *d)
{
	return &d->queues;
}

struct list *dispatch_pools(struct dispatch *d)
{
	return &d->pools;
}

struct queue *dispatch_find_queue(const struct dispatch *d, struct slice name)
{
	struct queue *queue;

	list_for_each(queue, &d->queues, link)
		if (slice_equal(slice_of(queue->name), name))
			return queue;
	return NULL;
}

struct queue *dispatch_queue_by_id(const struct dispatch *d, uint32_t id)
{
	struct queue *queue;

	list_for_each(queue, &d->queues, link)
		if (queue->id == id)
			return queue;
	return NULL;
}

struct pool *dispatch_find_pool(const struct dispatch *d, struct slice name)
{
	struct pool *pool;

	list_for_each(pool, &d->pools, link)
		if (slice_equal(slice_of(pool->name), name))
			return pool;
	return NULL;
}

static void insert_queue(struct dispatch *d, struct queue *queue)
{
	struct queue *at;

	list_for_each(at, &d->queues, link)
		if (strcmp(at->name, queue->name) > 0)
			break;
	list_insert_before(&at->link, &queue->link);
}

static struct queue *add_queue(struct dispatch *d, const struct queue_row *row)
{
	struct queue *queue = calloc(1, sizeof(*queue));

	if (!queue)
		return NULL;
	queue->id = row->id;
	snprintf(queue->name, sizeof(queue->name), "%s", row->name);
	queue->paused = row->paused;
	memcpy(queue->count, row->count, sizeof(queue->count));
	queue->succeeded = row->succeeded;
	queue->failed = row->failed;
	queue->zero_commit = row->zero_commit;
	queue->window_complete = !row->count[JOB_READY];
	list_init(&queue->window);
	insert_queue(d, queue);
	d->next_queue_id = MAX(d->next_queue_id, row->id + 1);
	return queue;
}

static int save_queue(struct dispatch *d, const struct queue *queue)
{
	struct store_request *request = store_request_new(STORE_PUT_QUEUE, NULL, NULL);

	if (!request)
		return -ENOMEM;
	request->u.queue.row.id = queue->id;
	memcpy(request->u.queue.row.name, queue->name, sizeof(queue->name));
	request->u.queue.row.paused = queue->paused;
	store_post(d->store, request);
	return 0;
}

static void unclaim_queue(struct dispatch *d, const struct queue *queue)
{
	struct job *job, *tmp;
	struct pool *pool;

	list_for_each(pool, &d->pools, link)
		list_for_each_safe(job, tmp, &pool->claimed, link)
			if (job->queue == queue)
				dispatch_unclaim(d, job);
}

void dispatch_pause(struct dispatch *d, struct queue *queue, bool paused)
{
	queue->paused = paused;
	if (save_queue(d, queue) < 0)
		log_errno(-ENOMEM, "the queue %s is %s only until the next start", queue->name, paused ? "paused" : "resumed");
	if (paused)
		unclaim_queue(d, queue);
	else if (queue->pool)
		dispatch_run(d, queue->pool);
}

static struct pool *add_pool(struct dispatch *d, const char *name)
{
	struct pool *pool = pool_new(name), *at;

	if (!pool)
		return NULL;
	list_for_each(at, &d->pools, link)
		if (strcmp(at->name, name) > 0)
			break;
	list_insert_before(&at->link, &pool->link);
	return pool;
}

/* Queues and pools as the configuration says; those that it does not name any more stay, without a pool, without workers. */
static int apply_config(struct dispatch *d)
{
	struct queue *queue;
	struct pool *pool;

	list_for_each(queue, &d->queues, link) {
		queue->config = NULL;
		queue->pool = NULL;
	}
	list_for_each(pool, &d->pools, link)
		pool->size = 0;
	for (size_t i = 0; i < d->config->queue_count; i++) {
		const struct config_queue *config = &d->config->queues[i];
		struct queue_row row = { .id = d->next_queue_id };

		queue = dispatch_find_queue(d, slice_of(config->name));
		if (!queue) {
			snprintf(row.name, sizeof(row.name), "%s", config->name);
			queue = add_queue(d, &row);
			if (!queue || save_queue(d, queue) < 0)
				return -ENOMEM;
		}
		queue->config = config;
	}
	for (size_t i = 0; i < d->config->pool_count; i++) {
		const struct config_pool *config = &d->config->pools[i];

		pool = dispatch_find_pool(d, slice_of(config->name));
		if (!pool)
			pool = add_pool(d, config->name);
		if (!pool)
			return -ENOMEM;
		pool->size = config_pool_size(config);
		pool->recycle_after_jobs = config->recycle_after_jobs;
		for (size_t q = 0; q < config->queue_count; q++)
			dispatch_find_queue(d, slice_of(config->queues[q]))->pool = pool;
	}
	list_for_each(queue, &d->queues, link)
		if (!queue->pool && queue_unfinished(queue))
			log_warning("no pool of the configuration serves this queue: its jobs wait", "queue=%s unfinished=%" PRIu64, queue->name,
				    queue_unfinished(queue));
	return 0;
}

/* What was claimed ahead for a pool that does not serve its queue any more. */
static void unclaim_moved(struct dispatch *d)
{
	struct job *job, *tmp;
	struct pool *pool;

	list_for_each(pool, &d->pools, link)
		list_for_each_safe(job, tmp, &pool->claimed, link)
			if (job->queue->pool != pool)
				dispatch_unclaim(d, job);
}

void dispatch_reconfigure(struct dispatch *d, const struct config *config)
{
	d->config = config;
	if (apply_config(d) < 0)
		log_errno(-ENOMEM, "the new configuration could be applied in part only; reload it again");
	unclaim_moved(d);
	workers_tick(d->workers);
	dispatch_run_all(d);
}

/* ---- start ---- */

static int adopt_workers(struct dispatch *d, struct recovery *recovery, struct worker **ret_workers)
{
	for (size_t i = 0; i < recovery->count; i++) {
		struct recovered_worker *from = &recovery->workers[i];
		struct pool *pool = dispatch_find_pool(d, slice_of(from->header.pool));

		if (!pool)
			pool = add_pool(d, from->header.pool);
		ret_workers[i] = pool ? workers_adopt(d->workers, pool, &from->header, from->fd) : NULL;
		if (!ret_workers[i])
			return -ENOMEM;
		from->fd = -1;
		ret_workers[i]->other_boot = !from->same_boot;
	}
	return 0;
}

static void on_adopted_loaded(struct store_request *request)
{
	struct job *job = request->context;
	struct dispatch *d = request->context2;

	if (request->status == 0 && request->u.load.rows[0].id && !job->spec.data) {
		job->spec = request->u.load.rows[0].spec;
		request->u.load.rows[0].spec = (struct slice){ 0 };
	}
	dispatch_stored(d, job);
}

/* Its limits, by which a worker that hangs is known. */
static void load_adopted_spec(struct dispatch *d, struct job *job)
{
	struct store_request *request = dispatch_request(d, job, STORE_LOAD_JOBS, on_adopted_loaded);

	if (!request)
		return;
	request->u.load.ids = malloc(sizeof(uint64_t));
	if (!request->u.load.ids) {
		store_request_free(request);
		dispatch_stored(d, job);
		return;
	}
	request->u.load.ids[0] = job->id;
	request->u.load.count = 1;
	request->u.load.want_spec = true;
	store_post(d->store, request);
	dispatch_watch(d, job->worker);
}

static void decide(struct dispatch *d, struct job *job, const struct recovery *recovery, struct worker **workers, bool same_boot)
{
	struct attempt_end lost = { .outcome = OUTCOME_LOST, .lost_reason = LOST_MACHINE, .exit_code = -1, .ended_wall_ms = now_wall_ms() };
	struct slice none[2] = { { 0 }, { 0 } };
	unsigned mark = 0;
	size_t i = 0;

	job->claim = CLAIM_ADOPTING;
	switch (recover_judge(recovery, job->token, same_boot, &i, &mark)) {
	case VERDICT_ENDED:
		dispatch_import_mark(d, workers[i], mark, &recovery->workers[i].marks[mark]);
		break;
	case VERDICT_ADOPT:
	case VERDICT_UNPROVEN:
		job->worker = workers[i];
		workers[i]->job = job;
		job->given_ms = dispatch_started_at(d, &recovery->workers[i].marks[mark]);
		load_adopted_spec(d, job);
		break;
	case VERDICT_LOST:
		dispatch_end_attempt(d, job, &lost, none);
		break;
	case VERDICT_NEVER_STARTED:
		dispatch_never_started(d, job);
		break;
	}
}

static int recover(struct dispatch *d, const struct store_start *start)
{
	struct recovery recovery;
	struct worker **workers = NULL;
	int r = recover_scan(d->epoch, &recovery);

	if (r < 0)
		return r;
	workers = calloc(recovery.count + 1, sizeof(struct worker *));
	r = workers ? adopt_workers(d, &recovery, workers) : -ENOMEM;
	for (size_t i = 0; r == 0 && i < start->running_count; i++) {
		struct job *job = dispatch_job_from_row(d, &start->running[i]);

		if (!job) {
			r = log_errno(-EBADMSG, "job %" PRIu64 " is of no queue that the store knows", start->running[i].id);
			break;
		}
		decide(d, job, &recovery, workers, start->running[i].attempt.epoch >= start->boot_epoch);
	}
	for (size_t i = 0; r == 0 && i < recovery.count; i++)
		if (!recovery.workers[i].locked)
			workers_found_dead(d->workers, workers[i], recover_tree_is_empty(&recovery.workers[i]));
	if (r == 0)
		log_info("recovered", "workers=%zu running=%zu", recovery.count, start->running_count);
	recover_free(&recovery);
	free(workers);
	return r;
}

enum { TIMER_COUNT = 6 };

static void list_timers(struct dispatch *d, uv_timer_t *ret_timers[TIMER_COUNT])
{
	uv_timer_t *timers[] = { &d->hang_timer, &d->due_timer, &d->claim_timer, &d->flush_timer, &d->recall_timer, &d->stop_timer };

	_Static_assert(ARRAY_SIZE(timers) == TIMER_COUNT, "all of them");
	memcpy(ret_timers, timers, sizeof(timers));
}

static void init_timers(struct dispatch *d)
{
	uv_timer_t *timers[TIMER_COUNT];

	list_timers(d, timers);
	for (size_t i = 0; i < TIMER_COUNT; i++) {
		uv_timer_init(d->loop, timers[i]);
		timers[i]->data = d;
	}
	d->open_handles = TIMER_COUNT;
}

int dispatch_new(uv_loop_t *loop, const struct config *config, const char *socket_path, struct store *store, const struct dispatch_events *events,
		 struct dispatch **ret_dispatch)
{
	struct dispatch *d = calloc(1, sizeof(*d));

	if (!d)
		return -ENOMEM;
	d->loop = loop;
	d->config = config;
	d->socket_path = socket_path;
	d->store = store;
	d->events = *events;
	d->next_queue_id = 1;
	list_init(&d->queues);
	list_init(&d->pools);
	list_init(&d->recorded);
	environments_init(&d->environments);
	init_timers(d);
	*ret_dispatch = d;
	return 0;
}

int dispatch_start(struct dispatch *d, const struct store_start *start, const struct supervisor_settings *supervisor)
{
	struct workers_events events = dispatch_worker_events;
	uint64_t delayed = 0;
	struct queue *queue;
	int r = 0;

	d->epoch = start->epoch;
	d->next_job_id = start->next_job_id;
	for (size_t i = 0; r == 0 && i < start->queue_count; i++) {
		queue = add_queue(d, &start->queues[i]);
		if (!queue)
			r = -ENOMEM;
		else
			delayed += queue->count[JOB_DELAYED];
	}
	events.context = d;
	if (r == 0)
		r = apply_config(d);
	if (r == 0)
		r = workers_new(d->loop, &d->pools, d->epoch, d->socket_path, &events, &d->workers);
	if (r == 0)
		r = recover(d, start);
	if (r == 0)
		r = workers_start(d->workers, supervisor);
	if (r < 0)
		return r;
	d->serving = true;
	if (delayed)
		dispatch_arm_due(d, uv_now(d->loop));
	dispatch_run_all(d);
	return 0;
}

/* ---- stop ---- */

static void on_timer_closed(uv_handle_t *handle)
{
	struct dispatch *d = handle->data;

	if (--d->open_handles == 0)
		workers_stop(d->workers); /* on_workers_stopped() tells the end */
}

static void finish(struct dispatch *d)
{
	uv_timer_t *timers[TIMER_COUNT];
	struct recorded *r;

	if (d->closing)
		return;
	d->closing = true;
	/* Workers that have not heard "recorded" call the next daemon. */
	while ((r = list_first(&d->recorded, struct recorded, link))) {
		list_remove(&r->link);
		free(r);
	}
	list_timers(d, timers);
	for (size_t i = 0; i < TIMER_COUNT; i++)
		uv_close((uv_handle_t *)timers[i], on_timer_closed);
}

static bool jobs_are_ending(const struct dispatch *d)
{
	struct job *job, *tmp;

	HASH_ITER(by_id, d->jobs, job, tmp)
		if (job->state == JOB_RUNNING && job->worker && job->worker->connection)
			return true;
	return false;
}

static void on_stop_timer(uv_timer_t *timer)
{
	struct dispatch *d = timer->data;

	if (d->quit_sent || !workers_have_supervisor(d->workers)) {
		log_error("stopping without proof that all workers have ended; the next start looks after them", "%s", "");
		finish(d);
		return;
	}
	d->quit_sent = workers_quit(d->workers);
	uv_timer_start(&d->stop_timer, on_stop_timer, KILL_WAIT_MS * 3, 0);
}

/* Before a clean stop it comes back, so that no power cut counts it as started. A worker that is not connected has forgotten it. */
static bool is_something_sent_ahead(const struct dispatch *d)
{
	struct pool *pool;
	struct worker *w;

	list_for_each(pool, &d->pools, link)
		list_for_each(w, &pool->workers, link)
			if (w->next && w->connection)
				return true;
	return false;
}

void dispatch_consider_stop(struct dispatch *d)
{
	if (d->closing)
		return;
	if (d->how == STOP_LEAVE) {
		if (!is_something_sent_ahead(d))
			finish(d);
		return;
	}
	if (!d->quit_sent) {
		if (jobs_are_ending(d) || workers_expect_supervisor(d->workers))
			return;
		d->quit_sent = workers_quit(d->workers);
	}
	/* With a supervisor: it says how all ended, then its connection ends. What that left to hear and to record comes first. */
	if (!workers_have_supervisor(d->workers) && !workers_are_dying(d->workers) && list_is_empty(&d->recorded))
		finish(d);
}

static struct job *find_claimed(struct dispatch *d)
{
	struct job *job, *tmp;

	HASH_ITER(by_id, d->jobs, job, tmp)
		if (job->claim == CLAIM_POSTED || job->claim == CLAIM_COMMITTED)
			return job;
	return NULL;
}

/* Looked for anew each time: a job that comes back to the window may push another one out of memory. */
static void unclaim_all(struct dispatch *d)
{
	struct job *job;

	while ((job = find_claimed(d)))
		dispatch_unclaim(d, job);
}

static void kill_jobs(struct dispatch *d)
{
	struct job *job, *tmp;

	HASH_ITER(by_id, d->jobs, job, tmp)
		if (job->state == JOB_RUNNING && job->worker)
			worker_send_cancel(job->worker, d->epoch, job->token, 0, CANCEL_STOP);
	workers_retire_all(d->workers);
	uv_timer_start(&d->stop_timer, on_stop_timer, KILL_WAIT_MS, 0);
	dispatch_consider_stop(d);
}

void dispatch_stop(struct dispatch *d, enum dispatch_stop how, void (*on_stopped)(void *context), void *context)
{
	if (d->stopping)
		return;
	d->stopping = true;
	d->serving = false;
	d->how = how;
	d->on_stopped = on_stopped;
	d->stop_context = context;
	unclaim_all(d);
	if (how == STOP_KILL) {
		kill_jobs(d);
	} else {
		dispatch_recall(d, 0);
		dispatch_consider_stop(d);
	}
}

void dispatch_free(struct dispatch *d)
{
	struct job *job, *tmp;
	struct queue *queue;
	struct pool *pool;

	if (!d)
		return;
	HASH_ITER(by_id, d->jobs, job, tmp) {
		list_remove(&job->link);
		environments_release(&d->environments, job->environment);
		HASH_DELETE(by_id, d->jobs, job);
		job_free(job);
	}
	environments_deinit(&d->environments);
	workers_free(d->workers);
	while ((queue = list_first(&d->queues, struct queue, link))) {
		list_remove(&queue->link);
		free(queue);
	}
	while ((pool = list_first(&d->pools, struct pool, link)))
		pool_free(pool);
	free(d);
}

/* ---- what others ask ---- */

void dispatch_overlay(const struct dispatch *d, struct job_row *row)
{
	const struct job *job = dispatch_find_job(d, row->id);

	if (!job || row->state != JOB_RUNNING || job->state != JOB_READY)
		return;
	row->state = JOB_READY;
	memset(&row->attempt, 0, sizeof(row->attempt));
	row->attempt.number = job->claim == CLAIM_NONE ? job->attempt : job->attempt - 1;
}

void dispatch_forget(struct dispatch *d, const struct store_gone *gone, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		struct job *job = dispatch_find_job(d, gone[i].job_id);
		struct queue *queue = dispatch_queue_by_id(d, gone[i].queue_id);

		/* A retry that was decided while the removal was on its way finds out by itself: its request is -ESTALE. */
		if (job && job->state != JOB_DONE)
			continue;
		queue_count_step(queue, JOB_DONE, JOB_STATE_MAX, job ? job->outcome : OUTCOME_NONE);
		if (d->events.on_job_done)
			d->events.on_job_done(gone[i].job_id, d->events.context);
		if (job)
			dispatch_settle(d, job);
	}
}

void dispatch_get_figures(const struct dispatch *d, struct dispatch_figures *ret_figures)
{
	struct dispatch_figures figures = { .jobs_in_memory = HASH_CNT(by_id, d->jobs), .started = d->started, .ended = d->ended };
	struct queue *queue;

	list_for_each(queue, &d->queues, link) {
		figures.unfinished += queue_unfinished(queue);
		figures.running += queue->count[JOB_RUNNING];
	}
	*ret_figures = figures;
}
