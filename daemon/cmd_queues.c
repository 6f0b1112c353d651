/* The commands about queues, pools and workers: from memory, told when what memory says is on disk. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include "commands.h"
#include "pool.h"
#include "worker.h"

static void put_pair(struct buf *out, const char *name, uint64_t value)
{
	resp_text(out, name);
	resp_integer(out, (int64_t)value);
}

static void put_text(struct buf *out, const char *name, const char *value)
{
	resp_text(out, name);
	resp_text(out, value);
}

COMMAND_HANDLER(cmd_qsize)
{
	struct queue *queue;

	(void)argc;
	if (command_find_queue(c, call, argv[1], &queue) == 0)
		call_integer(call, (int64_t)queue->count[JOB_READY]);
}

/* @oldest_wall_ms: when the first of its ready jobs was submitted; 0 = there is none, or it is not known. */
static void put_queue(struct buf *out, const struct queue *q, uint64_t oldest_wall_ms, uint64_t now_ms)
{
	static const enum job_state shown[] = { JOB_HELD, JOB_DELAYED, JOB_BLOCKED, JOB_READY, JOB_RUNNING };

	resp_array(out, 2 * 16);
	put_text(out, "name", q->name);
	put_text(out, "kind", "command");
	put_pair(out, "paused", q->paused);
	put_pair(out, "max_length", q->config ? q->config->max_length : 0);
	for (size_t i = 0; i < ARRAY_SIZE(shown); i++)
		put_pair(out, job_state_name(shown[i]), q->count[shown[i]]);
	put_pair(out, "unfinished", queue_unfinished(q));
	put_pair(out, "succeeded", q->succeeded);
	put_pair(out, "failed", q->failed);
	put_text(out, "pool", q->pool ? q->pool->name : NULL);
	put_pair(out, "submitted_per_minute", rate_per_minute(&q->submitted_rate, now_ms));
	put_pair(out, "finished_per_minute", rate_per_minute(&q->finished_rate, now_ms));
	resp_text(out, "oldest_waiting_at");
	if (oldest_wall_ms && q->count[JOB_READY])
		resp_integer(out, (int64_t)oldest_wall_ms);
	else
		resp_nil(out);
}

/* Those of the queues that are still there: one may have left with the configuration while the store was asked. @rows: its answer, or
 * NULL. */
static void answer_queues(struct call *call, const uint32_t *ids, size_t count, const struct store_oldest *rows)
{
	struct dispatch *d = call->commands->dispatch;
	uint64_t now_ms = uv_now(call->commands->loop);
	uint32_t there = 0;

	for (size_t i = 0; i < count; i++)
		there += dispatch_queue_by_id(d, ids[i]) != NULL;
	resp_array(&call->reply, there);
	for (size_t i = 0; i < count; i++) {
		const struct queue *queue = dispatch_queue_by_id(d, ids[i]);

		if (queue)
			put_queue(&call->reply, queue, rows ? rows[i].submitted_wall_ms : 0, now_ms);
	}
	call_finish(call);
}

static void on_oldest(struct store_request *request)
{
	struct call *call = request->context;

	if (request->status < 0)
		call_fail(call, request->status);
	else
		answer_queues(call, request->u.oldest.queue_ids, request->u.oldest.count, request->u.oldest.rows);
}

/* All but the age of the oldest job is in memory; the store is asked for that, where there can be one. */
COMMAND_HANDLER(cmd_queues)
{
	struct store_request *request;
	struct queue *queue, *only = NULL;
	size_t count = 0;
	uint32_t *ids;
	bool ready = false;

	if (argc == 2 && command_find_queue(c, call, argv[1], &only) < 0)
		return;
	list_for_each(queue, dispatch_queues(c->dispatch), link)
		count++;
	request = store_request_new(STORE_OLDEST, on_oldest, call);
	ids = calloc(count + 1, sizeof(*ids));
	if (!request || !ids) {
		store_request_free(request);
		free(ids);
		call_fail(call, -ENOMEM);
		return;
	}
	request->u.oldest.queue_ids = ids;
	count = 0;
	list_for_each(queue, dispatch_queues(c->dispatch), link) {
		if (only && queue != only)
			continue;
		ids[count++] = queue->id;
		ready |= queue->count[JOB_READY] > 0;
	}
	request->u.oldest.count = count;
	if (!ready || count > STORE_ROWS_MAX) {
		answer_queues(call, ids, count, NULL);
		store_request_free(request);
		return;
	}
	call_block(call); /* what the client asks for next must not be in the counts */
	store_post(c->store, request);
}

COMMAND_HANDLER(cmd_queue)
{
	bool pause = slice_is_word(argv[1], "PAUSE");
	struct queue *queue;

	(void)argc;
	if (!pause && !slice_is_word(argv[1], "RESUME")) {
		call_error(call, "SYNTAX", "QUEUE PAUSE|RESUME name");
		return;
	}
	if (command_find_queue(c, call, argv[2], &queue) < 0)
		return;
	dispatch_pause(c->dispatch, queue, pause);
	call_ok(call);
}

static void put_pool(struct commands *c, struct buf *out, const struct pool *pool)
{
	struct worker *worker;
	struct queue *queue;
	uint32_t starting = 0, queues = 0;

	list_for_each(worker, &pool->workers, link)
		starting += worker->state == WORKER_STARTING;
	list_for_each(queue, dispatch_queues(c->dispatch), link)
		queues += queue->pool == pool;
	resp_array(out, 2 * 8);
	put_text(out, "name", pool->name);
	put_pair(out, "workers", pool->size);
	put_pair(out, "alive", pool_alive(pool));
	put_pair(out, "idle", pool_idle(pool));
	put_pair(out, "busy", pool_busy(pool));
	put_pair(out, "starting", starting);
	resp_text(out, "queues");
	resp_array(out, queues);
	list_for_each(queue, dispatch_queues(c->dispatch), link)
		if (queue->pool == pool)
			resp_text(out, queue->name);
	put_text(out, "breaker", pool->breaker_open ? "open" : "closed");
}

/* One that has left the configuration is there as long as it has workers. */
static bool is_there(const struct pool *pool)
{
	return pool->size || !list_is_empty(&pool->workers);
}

COMMAND_HANDLER(cmd_pools)
{
	struct pool *pool;
	uint32_t count = 0;

	(void)argv;
	(void)argc;
	list_for_each(pool, dispatch_pools(c->dispatch), link)
		count += is_there(pool);
	resp_array(&call->reply, count);
	list_for_each(pool, dispatch_pools(c->dispatch), link)
		if (is_there(pool))
			put_pool(c, &call->reply, pool);
	call_finish(call);
}

COMMAND_HANDLER(cmd_pool)
{
	struct pool *pool = dispatch_find_pool(c->dispatch, argv[2]);
	char shown[48];

	(void)argc;
	if (!slice_is_word(argv[1], "RESET")) {
		call_error(call, "SYNTAX", "POOL RESET name");
		return;
	}
	if (!pool) {
		call_error(call, "NOTFOUND", "no pool '%s'; the configuration names the pools", option_show(argv[2], shown));
		return;
	}
	pool_reset(pool);
	dispatch_reconfigure(c->dispatch, c->config); /* it starts what is missing */
	call_ok(call);
}

static void put_worker(struct buf *out, const struct worker *w, uint64_t now_ms)
{
	resp_array(out, 2 * 10);
	put_pair(out, "id", w->id);
	put_text(out, "pool", w->pool->name);
	put_pair(out, "slot", w->slot);
	resp_text(out, "pid");
	if (w->pid)
		resp_integer(out, w->pid);
	else
		resp_nil(out);
	put_text(out, "state", worker_state_name(w));
	resp_text(out, "job");
	/* One that is only reserved is not with the worker yet. */
	if (w->job && !w->reserved)
		resp_integer(out, (int64_t)w->job->id);
	else
		resp_nil(out);
	resp_text(out, "attempt");
	if (w->job && !w->reserved)
		resp_integer(out, w->job->attempt);
	else
		resp_nil(out);
	put_pair(out, "jobs", w->jobs_done);
	put_pair(out, "jobs_per_minute", rate_per_minute(&w->jobs_rate, now_ms));
	put_pair(out, "started_at", w->started_wall_ms);
}

COMMAND_HANDLER(cmd_workers)
{
	struct pool *pool;
	struct worker *worker;
	uint32_t count = 0;

	(void)argv;
	(void)argc;
	list_for_each(pool, dispatch_pools(c->dispatch), link)
		list_for_each(worker, &pool->workers, link)
			count++;
	resp_array(&call->reply, count);
	list_for_each(pool, dispatch_pools(c->dispatch), link)
		list_for_each(worker, &pool->workers, link)
			put_worker(&call->reply, worker, uv_now(c->loop));
	call_finish(call);
}
