/* The warning of `run` and `wait` inside a job. */
#include "pool_check.h"

#include <inttypes.h>
#include <stdio.h>

#define IDS_LOOKED_AT 16 /* of a long list, a few are enough for a warning */

/* The pool whose only worker runs job @id; NULL when it has others, or none runs it. Borrowed from @workers. */
static const char *only_worker_pool(const struct jobpool_value *workers, int64_t id)
{
	const char *pool = NULL, *other;
	size_t alike = 0;

	for (size_t i = 0; i < workers->count; i++)
		if (jobpool_map_integer(workers->items[i], "job", 0) == id)
			pool = jobpool_map_text(workers->items[i], "pool");
	for (size_t i = 0; pool && i < workers->count; i++) {
		other = jobpool_map_text(workers->items[i], "pool");
		alike += other && strcmp(other, pool) == 0;
	}
	return alike == 1 ? pool : NULL;
}

static bool queue_is_served_by(struct jobpool *jobpool, const char *queue, const char *pool)
{
	struct jobpool_value *queues = NULL;
	const char *server = NULL;
	bool same = false;

	if (jobpool_queues(jobpool, queue, &queues) == 0 && queues->count == 1)
		server = jobpool_map_text(queues->items[0], "pool");
	same = server && strcmp(server, pool) == 0;
	jobpool_value_free(queues);
	return same;
}

static bool job_waits_for(struct jobpool *jobpool, uint64_t id, const char *pool)
{
	struct jobpool_value *job = NULL;
	const char *server;
	bool same;

	if (jobpool_result_show(jobpool, id, &job) < 0)
		return false;
	server = jobpool_map_text(job, "pool");
	same = server && strcmp(server, pool) == 0 && !jobpool_result_ready(job);
	jobpool_value_free(job);
	return same;
}

void warn_if_only_worker(const struct cli *cli, const char *queue, const uint64_t *ids, size_t count)
{
	const char *own = getenv("JOBPOOL_JOB_ID"), *pool = NULL;
	struct jobpool_value *workers = NULL;
	uint64_t id;
	bool blocked = false;

	if (!own || slice_to_uint(slice_of(own), INT64_MAX, &id) < 0)
		return;
	if (jobpool_workers(cli->jobpool, &workers) == 0 && workers->type == JOBPOOL_ARRAY)
		pool = only_worker_pool(workers, (int64_t)id);
	if (pool && !ids)
		blocked = queue_is_served_by(cli->jobpool, queue ? queue : "default", pool);
	for (size_t i = 0; pool && !blocked && i < MIN(count, (size_t)IDS_LOOKED_AT); i++)
		blocked = job_waits_for(cli->jobpool, ids[i], pool);
	if (blocked)
		cli_say("warning: job %" PRIu64 " holds the only worker of pool %s, so what it waits for cannot start; "
			"give the pool another worker, or use another queue", id, pool);
	jobpool_value_free(workers);
}
