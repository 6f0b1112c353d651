/* Queues: wait until all is done, count, pause. */
#include <limits.h>

#include "connection.h"
#include "value.h"

static int join_reply(struct jobpool *c, const struct jobpool_value *value, struct jobpool_joined *ret_joined)
{
	struct jobpool_joined joined;

	if (value->type == JOBPOOL_NIL)
		return connection_fail(c, -ETIMEDOUT, "timed out");
	if (value->type != JOBPOOL_ARRAY || value->count != 3 || !value_to_uint(value->items[0], &joined.succeeded) ||
	    !value_to_uint(value->items[1], &joined.failed))
		return connection_bad_reply(c, "JOIN");
	if (ret_joined)
		*ret_joined = joined;
	return 0;
}

/* The number of the daemon's last commit, from INFO; 0 when it does not tell. */
static uint64_t commit_number(const struct jobpool_value *info)
{
	static const char key[] = "\ncommit:";
	const char *line = info->type == JOBPOOL_BYTES ? strstr(info->bytes, key) : NULL;
	uint64_t number = 0;

	if (!line)
		return 0;
	line += sizeof(key) - 1;
	slice_to_uint((struct slice){ line, strcspn(line, "\r\n") }, UINT64_MAX, &number);
	return number;
}

/* Where we stand before we wait: asked again with SINCE, a JOIN that was cut off misses no instant at which all was
 * done. */
static int ask_commit(struct jobpool *c, uint64_t *ret_commit)
{
	struct jobpool_value *info;
	int r = ASK(c, true, &info, "INFO");

	if (r < 0)
		return r;
	*ret_commit = commit_number(info);
	jobpool_value_free(info);
	return 0;
}

int jobpool_queue_join(struct jobpool *c, const char *queues, int64_t timeout_ms, struct jobpool_joined *ret_joined)
{
	int64_t deadline_ms = deadline_after(timeout_ms);
	struct jobpool_value *value;
	uint64_t since = 0;
	bool again = false;
	int r = ask_commit(c, &since);

	while (r == 0) {
		request_begin(&c->out, again && since ? 5 : 3);
		request_text(&c->out, "JOIN");
		request_text(&c->out, queues);
		request_ms(&c->out, deadline_left(deadline_ms));
		if (again && since) {
			request_text(&c->out, "SINCE");
			request_uint(&c->out, since);
		}
		r = connection_ask(c, &value);
		if (r == 0)
			break;
		r = connection_restore_until(c, r, deadline_ms);
		again = true;
	}
	if (r < 0)
		return r;
	r = join_reply(c, value, ret_joined);
	jobpool_value_free(value);
	return r;
}

int jobpool_queue_join_watched(struct jobpool *c, const char *queues, int64_t timeout_ms, uint64_t interval_ms,
			       void (*on_interval)(void *context), void *context, struct jobpool_joined *ret_joined)
{
	int r;

	c->on_interval = on_interval;
	c->interval_context = context;
	c->interval_ms = MIN(interval_ms, (uint64_t)INT_MAX);
	c->interval_due_ms = 0;
	r = jobpool_queue_join(c, queues, timeout_ms, ret_joined);
	c->on_interval = NULL;
	return r;
}

int jobpool_queue_size(struct jobpool *c, const char *queue, uint64_t *ret_ready)
{
	struct jobpool_value *value;
	bool good;
	int r = ASK(c, true, &value, "QSIZE", queue);

	if (r < 0)
		return r;
	good = value_to_uint(value, ret_ready);
	jobpool_value_free(value);
	return good ? 0 : connection_bad_reply(c, "QSIZE");
}

int jobpool_queues(struct jobpool *c, const char *queue, struct jobpool_value **ret_queues)
{
	return queue ? ASK(c, true, ret_queues, "QUEUES", queue) : ASK(c, true, ret_queues, "QUEUES");
}

int jobpool_queue_pause(struct jobpool *c, const char *queue)
{
	return ASK(c, true, NULL, "QUEUE", "PAUSE", queue);
}

int jobpool_queue_resume(struct jobpool *c, const char *queue)
{
	return ASK(c, true, NULL, "QUEUE", "RESUME", queue);
}
