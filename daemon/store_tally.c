/* What a batch adds up (see store_tally.h). */
#include "store_tally.h"

#include "sql.h"
#include "store_change.h"
#include "store_keys.h"

/* Linear: a batch touches few queues and fewer environments, most often the same as the request before. */
static struct queue_change *queue_change(struct ops *ops, uint32_t queue_id)
{
	struct queue_change *grown;

	for (size_t i = ops->queue_count; i-- > 0;)
		if (ops->queues[i].queue_id == queue_id)
			return &ops->queues[i];
	if (ops->queue_count == ops->queue_cap) {
		grown = realloc(ops->queues, (ops->queue_cap * 2 + 8) * sizeof(*grown));
		if (!grown)
			return NULL;
		ops->queues = grown;
		ops->queue_cap = ops->queue_cap * 2 + 8;
	}
	ops->queues[ops->queue_count] = (struct queue_change){ .queue_id = queue_id };
	return &ops->queues[ops->queue_count++];
}

int tally_environment(struct ops *ops, uint64_t id, struct slice owner, int jobs)
{
	struct environment_change *grown;

	if (!id)
		return SQLITE_OK;
	for (size_t i = ops->environment_count; i-- > 0;) {
		if (ops->environments[i].id == id) {
			ops->environments[i].jobs += jobs;
			if (owner.data)
				ops->environments[i].owner = owner;
			return SQLITE_OK;
		}
	}
	if (ops->environment_count == ops->environment_cap) {
		grown = realloc(ops->environments, (ops->environment_cap * 2 + 8) * sizeof(*grown));
		if (!grown)
			return SQLITE_NOMEM;
		ops->environments = grown;
		ops->environment_cap = ops->environment_cap * 2 + 8;
	}
	ops->environments[ops->environment_count++] = (struct environment_change){ id, jobs, owner };
	return SQLITE_OK;
}

bool tally_knows_environment(const struct ops *ops, uint64_t id, struct slice owner)
{
	for (size_t i = ops->environment_count; i-- > 0;)
		if (ops->environments[i].id == id)
			return ops->environments[i].owner.data && slice_equal(ops->environments[i].owner, owner);
	return false;
}

int tally_job(struct ops *ops, uint32_t queue_id, enum job_state state, int by)
{
	struct queue_change *change = queue_change(ops, queue_id);

	if (!change)
		return SQLITE_NOMEM;
	change->count[state] += by;
	return SQLITE_OK;
}

int tally_total(struct ops *ops, uint32_t queue_id, enum outcome outcome, int by)
{
	struct queue_change *change = queue_change(ops, queue_id);

	if (!change)
		return SQLITE_NOMEM;
	if (outcome == OUTCOME_SUCCEEDED)
		change->succeeded += by;
	else
		change->failed += by;
	return SQLITE_OK;
}

int tally_flush_environments(struct ops *ops)
{
	for (size_t i = 0; i < ops->environment_count; i++) {
		sqlite3_stmt *s = sql_get(&ops->db, SQL_ENVIRONMENT_USE);
		int code;

		sql_put(s, 1, ops->environments[i].id);
		sql_put(s, 2, (uint64_t)ops->environments[i].jobs);
		sql_put(s, 3, ops->server.clock_ms);
		code = sql_run(s);
		if (code != SQLITE_OK)
			return code;
	}
	ops->environment_count = 0;
	return SQLITE_OK;
}

static int flush_queue(struct ops *ops, const struct queue_change *change)
{
	sqlite3_stmt *s = sql_get(&ops->db, SQL_QUEUE_COUNT);
	int64_t unfinished = 0;
	int code;

	for (int i = 0; i < JOB_STATE_MAX; i++) {
		sql_put(s, 1 + i, (uint64_t)change->count[i]);
		if (i != JOB_DONE)
			unfinished += change->count[i];
	}
	sql_put(s, 7, (uint64_t)change->succeeded);
	sql_put(s, 8, (uint64_t)change->failed);
	sql_put(s, 9, (uint64_t)unfinished);
	sql_put(s, 10, ops->server.commit_number);
	sql_put(s, 11, change->queue_id);
	code = sql_run(s);
	assert(code != SQLITE_OK || sqlite3_changes(ops->db.handle) == 1); /* the loop puts a queue before its first job */
	return code;
}

int tally_flush(struct ops *ops)
{
	int code = change_flush_inserts(ops);

	if (code == SQLITE_OK)
		code = tally_flush_environments(ops);
	if (code == SQLITE_OK)
		code = keys_flush(ops);
	for (size_t i = 0; code == SQLITE_OK && i < ops->queue_count; i++)
		code = flush_queue(ops, &ops->queues[i]);
	return code == SQLITE_OK ? server_row_save(&ops->db, &ops->server) : code;
}

void tally_forget(struct ops *ops)
{
	ops->queue_count = 0;
	ops->environment_count = 0;
	ops->run_count = 0;
	ops->insert_count = 0;
}

void tally_deinit(struct ops *ops)
{
	free(ops->queues);
	free(ops->environments);
	free(ops->runs);
	ops->queues = NULL;
	ops->environments = NULL;
	ops->runs = NULL;
	ops->queue_cap = ops->environment_cap = ops->run_cap = 0;
	tally_forget(ops);
}
