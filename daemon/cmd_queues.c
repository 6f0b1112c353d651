/* The commands about queues, pools and workers: all from memory, told when what memory says is on disk. */
#include <inttypes.h>

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

static void put_queue(struct buf *out, const struct queue *q)
{
	static const enum job_state shown[] = { JOB_HELD, JOB_DELAYED, JOB_BLOCKED, JOB_READY, JOB_RUNNING };

	resp_array(out, 2 * 13);
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
}

COMMAND_HANDLER(cmd_queues)
{
	struct queue *queue;
	uint32_t count = 0;

	if (argc == 2) {
		if (command_find_queue(c, call, argv[1], &queue) < 0)
			return;
		resp_array(&call->reply, 1);
		put_queue(&call->reply, queue);
		call_finish(call);
		return;
	}
	list_for_each(queue, dispatch_queues(c->dispatch), link)
		count++;
	resp_array(&call->reply, count);
	list_for_each(queue, dispatch_queues(c->dispatch), link)
		put_queue(&call->reply, queue);
	call_finish(call);
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

static void put_worker(struct buf *out, const struct worker *w)
{
	resp_array(out, 2 * 9);
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
			put_worker(&call->reply, worker);
	call_finish(call);
}
