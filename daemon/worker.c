/* One worker as the daemon sees it. See worker.h. */
#include "worker.h"

#include <assert.h>

#include "job.h"
#include "worker_file.h"

static const char *const worker_states[] = {
	[WORKER_STARTING] = "starting", [WORKER_IDLE] = "idle", [WORKER_BUSY] = "busy",
	[WORKER_LEAVING] = "leaving",   [WORKER_DEAD] = "dead", [WORKER_STUCK] = "stuck",
};
static_assert(ARRAY_SIZE(worker_states) == WORKER_STATE_MAX, "a name for every state");

struct worker *worker_new(struct pool *pool, uint64_t id, uint32_t slot)
{
	struct worker *w = calloc(1, sizeof(*w));

	if (!w)
		return NULL;
	w->pool = pool;
	w->id = id;
	w->slot = slot;
	w->file_fd = -1;
	list_init(&w->link);
	list_init(&w->idle_link);
	return w;
}

void worker_free(struct worker *w)
{
	if (!w)
		return;
	assert(!w->connection);
	list_remove(&w->link);
	list_remove(&w->idle_link);
	close_fd(&w->file_fd);
	free(w);
}

const char *worker_state_name(const struct worker *w)
{
	return worker_states[w->state];
}

static void send_message(struct worker *w, enum message_type type, uint64_t epoch, const void *body, size_t len)
{
	if (w->connection)
		link_send(w->connection, type, epoch, body, len, NULL, 0);
}

void worker_flush(struct worker *w)
{
	if (w->connection)
		link_flush(w->connection);
}

void worker_send_run(struct worker *w, uint64_t epoch, const struct run_parts *run)
{
	struct message_run body = {
		.job_id = run->job_id,
		.attempt = run->attempt,
		.queue_bytes = (uint32_t)run->queue.len,
		.spec_bytes = (uint32_t)run->spec.len,
		.environment_bytes = (uint32_t)run->environment.len,
	};
	const struct slice tails[] = { run->spec, run->environment, run->queue };

	memcpy(body.token, run->token, TOKEN_BYTES);
	if (w->connection)
		link_send(w->connection, MESSAGE_RUN, epoch, &body, sizeof(body), tails, ARRAY_SIZE(tails));
}

void worker_post_recorded(struct worker *w, uint64_t epoch, const uint8_t token[TOKEN_BYTES])
{
	struct message_token body;

	memcpy(body.token, token, TOKEN_BYTES);
	if (w->connection)
		link_post(w->connection, MESSAGE_RECORDED, epoch, &body, sizeof(body), NULL, 0);
}

void worker_send_cancel(struct worker *w, uint64_t epoch, const uint8_t token[TOKEN_BYTES], uint64_t grace_ms, enum cancel_reason reason)
{
	struct message_cancel body = { .grace_ms = grace_ms, .reason = (uint8_t)reason };

	memcpy(body.token, token, TOKEN_BYTES);
	send_message(w, MESSAGE_CANCEL, epoch, &body, sizeof(body));
}

void worker_send_signal(struct worker *w, uint64_t epoch, const uint8_t token[TOKEN_BYTES], int signal)
{
	struct message_signal body = { .signal = signal };

	memcpy(body.token, token, TOKEN_BYTES);
	send_message(w, MESSAGE_SIGNAL, epoch, &body, sizeof(body));
}

void worker_send_recall(struct worker *w, uint64_t epoch, const uint8_t token[TOKEN_BYTES])
{
	struct message_token body;

	memcpy(body.token, token, TOKEN_BYTES);
	send_message(w, MESSAGE_RECALL, epoch, &body, sizeof(body));
}

void worker_send_retire(struct worker *w, uint64_t epoch)
{
	send_message(w, MESSAGE_RETIRE, epoch, NULL, 0);
}

int worker_find_mark(const struct worker *w, const uint8_t token[TOKEN_BYTES], struct mark *ret_mark)
{
	struct mark mark;

	for (unsigned i = 0; w->file_fd >= 0 && i < MARKS_PER_WORKER; i++) {
		if (worker_file_read_mark(w->file_fd, i, &mark) < 0 || mark.state == MARK_FREE || memcmp(mark.token, token, TOKEN_BYTES) != 0)
			continue;
		*ret_mark = mark;
		return (int)i;
	}
	return -1;
}
