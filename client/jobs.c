/* One job or a few: submit, wait, change, look. */
#include "resp.h"
#include "spec_request.h"
#include "value.h"

#define IDS_PER_REQUEST 500       /* the daemon changes no more in one commit (doc/protocol.md) */
#define INPUT_PIECE_BYTES (256u << 10)

int jobpool_process_start(struct jobpool *c, const struct jobpool_spec *spec, uint64_t *ret_id)
{
	struct buf request = { 0 };
	struct jobpool_value *value;
	int r = connection_require(c);

	while (r == 0) {
		r = environment_require(c);
		if (r == 0 && !request.len) /* once: the key must be the same each time */
			r = submit_encode(c, spec, &request);
		if (r == 0) {
			buf_append(&c->out, request.data, request.len);
			r = connection_ask(c, &value);
		}
		if (r == 0) {
			r = submit_reply(c, value, ret_id);
			break;
		}
		r = connection_restore(c, r);
	}
	buf_free(&request);
	return r;
}

static int input_piece(struct jobpool *c, uint64_t *id, uint64_t *offset, const char *bytes, size_t len)
{
	struct jobpool_value *value;
	bool good;
	int r = connection_require(c);

	if (r < 0)
		return r;
	request_begin(&c->out, 4);
	request_text(&c->out, "INPUT");
	if (*id)
		request_uint(&c->out, *id);
	else
		request_text(&c->out, "NEW");
	request_uint(&c->out, *offset);
	resp_bulk(&c->out, (struct slice){ bytes, len });
	r = connection_ask(c, &value);
	if (r < 0)
		return r;
	good = value->type == JOBPOOL_ARRAY && value->count == 2 && value_to_uint(value->items[0], id) &&
	       value_to_uint(value->items[1], offset);
	jobpool_value_free(value);
	return good ? 0 : connection_bad_reply(c, "INPUT");
}

int jobpool_input_store(struct jobpool *c, int fd, uint64_t *ret_id)
{
	char *piece = malloc(INPUT_PIECE_BYTES);
	uint64_t id = 0, offset = 0;
	ssize_t n;
	int r = 0;

	if (!piece)
		return connection_fail(c, -ENOMEM, "out of memory");
	do {
		n = read(fd, piece, INPUT_PIECE_BYTES);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			r = connection_fail(c, -errno, "cannot read the input: %s", strerror(errno));
		else if (n > 0 || !id) /* empty input is input too, not /dev/null by chance */
			r = input_piece(c, &id, &offset, piece, (size_t)n);
	} while (r == 0 && n != 0);
	free(piece);
	if (r == 0)
		*ret_id = id;
	return r;
}

/* --- Waiting --- */

static int wait_once(struct jobpool *c, const uint64_t *ids, size_t count, bool any, int64_t deadline_ms,
		     struct jobpool_value **ret_jobs)
{
	struct jobpool_value *value;
	int r = connection_require(c);

	while (r == 0) {
		request_begin(&c->out, 2 + any + count);
		request_text(&c->out, "WAIT");
		request_ms(&c->out, deadline_left(deadline_ms));
		if (any)
			request_text(&c->out, "ANY");
		for (size_t i = 0; i < count; i++)
			request_uint(&c->out, ids[i]);
		r = connection_ask(c, &value);
		if (r == 0)
			break;
		r = connection_restore_until(c, r, deadline_ms);
	}
	if (r < 0)
		return r;
	if (value->type == JOBPOOL_ARRAY) {
		*ret_jobs = value;
		return 0;
	}
	r = value->type == JOBPOOL_NIL ? connection_fail(c, -ETIMEDOUT, "timed out") : connection_bad_reply(c, "WAIT");
	jobpool_value_free(value);
	return r;
}

/* Move the items of @part behind those of @all (both arrays); @all may be NULL. Returns the whole, or NULL: both are
 * freed. */
static struct jobpool_value *array_join(struct jobpool_value *all, struct jobpool_value *part)
{
	struct jobpool_value *joined;
	size_t count = all ? all->count : 0;

	if (!all)
		return part;
	joined = malloc(sizeof(*joined) + (count + part->count) * sizeof(joined));
	if (!joined) {
		jobpool_value_free(all);
		jobpool_value_free(part);
		return NULL;
	}
	*joined = (struct jobpool_value){ .type = JOBPOOL_ARRAY, .count = count + part->count };
	joined->items = (struct jobpool_value **)(joined + 1);
	memcpy(joined->items, all->items, count * sizeof(joined));
	memcpy(joined->items + count, part->items, part->count * sizeof(joined));
	free(all); /* the items live on in @joined */
	free(part);
	return joined;
}

int jobpool_result_wait(struct jobpool *c, const uint64_t *ids, size_t count, bool any, int64_t timeout_ms,
			struct jobpool_value **ret_jobs)
{
	int64_t deadline_ms = deadline_after(timeout_ms);
	struct jobpool_value *all = NULL, *part = NULL;
	size_t step = any ? count : IDS_PER_REQUEST;

	/* Waiting for all is waiting for one portion after the other; waiting for any must name them all at once. */
	for (size_t i = 0; i < count; i += step) {
		int r = wait_once(c, ids + i, MIN(step, count - i), any, deadline_ms, &part);

		if (r < 0) {
			jobpool_value_free(all);
			return r;
		}
		all = array_join(all, part);
		if (!all)
			return connection_fail(c, -ENOMEM, "out of memory");
	}
	if (!all)
		return connection_fail(c, -EINVAL, "no job is named");
	*ret_jobs = all;
	return 0;
}

int jobpool_process_join(struct jobpool *c, uint64_t id, int64_t timeout_ms, struct jobpool_value **ret_job)
{
	struct jobpool_value *jobs;
	int r = jobpool_result_wait(c, &id, 1, false, timeout_ms, &jobs);

	if (r < 0)
		return r;
	if (jobs->count != 1) {
		jobpool_value_free(jobs);
		return connection_bad_reply(c, "WAIT");
	}
	if (ret_job) {
		*ret_job = jobs->items[0];
		jobs->count = 0;
	}
	jobpool_value_free(jobs);
	return 0;
}

/* --- Changes --- */

int jobpool_process_signal(struct jobpool *c, uint64_t id, const char *signal)
{
	char text[NUMBER_TEXT_BYTES];

	return ASK(c, false, NULL, "SIGNAL", number_text(id, text), signal);
}

int jobpool_process_terminate(struct jobpool *c, uint64_t id)
{
	uint64_t changed;

	return jobpool_process_change(c, JOBPOOL_CANCEL, &id, 1, &changed);
}

static const char *const change_commands[] = {
	[JOBPOOL_CANCEL] = "CANCEL", [JOBPOOL_HOLD] = "HOLD",     [JOBPOOL_RELEASE] = "RELEASE",
	[JOBPOOL_RETRY] = "RETRY",   [JOBPOOL_REMOVE] = "REMOVE",
};

/* The reply to what counts: frees @value. */
static int count_reply(struct jobpool *c, const char *command, struct jobpool_value *value, uint64_t *ret_count)
{
	bool good = value_to_uint(value, ret_count);

	jobpool_value_free(value);
	return good ? 0 : connection_bad_reply(c, command);
}

int jobpool_process_change(struct jobpool *c, enum jobpool_change change, const uint64_t *ids, size_t count,
			   uint64_t *ret_changed)
{
	const char *command = change_commands[change];
	uint64_t sum = 0, changed = 0;

	for (size_t first = 0; first < count; first += IDS_PER_REQUEST) {
		size_t step = MIN((size_t)IDS_PER_REQUEST, count - first);
		struct jobpool_value *value;
		int r = connection_require(c);

		if (r < 0)
			return r;
		request_begin(&c->out, 1 + step);
		request_text(&c->out, command);
		for (size_t i = 0; i < step; i++)
			request_uint(&c->out, ids[first + i]);
		r = connection_ask(c, &value);
		if (r == 0)
			r = count_reply(c, command, value, &changed);
		if (r < 0)
			return r;
		sum += changed;
	}
	*ret_changed = sum;
	return 0;
}

/* --- Looking --- */

int jobpool_result_show(struct jobpool *c, uint64_t id, struct jobpool_value **ret_job)
{
	char text[NUMBER_TEXT_BYTES];

	return ASK(c, true, ret_job, "SHOW", number_text(id, text));
}

bool jobpool_result_ready(const struct jobpool_value *job)
{
	const char *state = jobpool_map_text(job, "state");

	return state && strcmp(state, "done") == 0;
}

bool jobpool_result_successful(const struct jobpool_value *job)
{
	const char *outcome = jobpool_map_text(job, "outcome");

	return outcome && strcmp(outcome, "succeeded") == 0;
}

int jobpool_result_code(const struct jobpool_value *job)
{
	return (int)jobpool_map_integer(job, "code", -1);
}

static void request_options(struct buf *out, const struct jobpool_option *options, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		request_text(out, options[i].name);
		request_text(out, options[i].value);
	}
}

int jobpool_result_list(struct jobpool *c, const struct jobpool_option *filters, size_t filter_count, uint64_t cursor,
			uint64_t *ret_cursor, struct jobpool_value **ret_jobs)
{
	struct jobpool_value *value;
	int r = connection_require(c);

	while (r == 0) {
		request_begin(&c->out, 1 + 2 * filter_count + (cursor ? 2 : 0));
		request_text(&c->out, "LIST");
		request_options(&c->out, filters, filter_count);
		if (cursor) {
			request_text(&c->out, "CURSOR");
			request_uint(&c->out, cursor);
		}
		r = connection_ask(c, &value);
		if (r == 0)
			break;
		r = connection_restore(c, r);
	}
	if (r < 0)
		return r;
	if (value->type == JOBPOOL_ARRAY && value->count == 2 && value->items[1]->type == JOBPOOL_ARRAY &&
	    value_to_uint(value->items[0], ret_cursor)) {
		*ret_jobs = value->items[1];
		value->items[1] = NULL;
	} else {
		r = connection_bad_reply(c, "LIST");
	}
	jobpool_value_free(value);
	return r;
}

int jobpool_result_clean(struct jobpool *c, const struct jobpool_option *filters, size_t filter_count,
			 uint64_t *ret_removed)
{
	struct jobpool_value *value;
	int r = connection_require(c);

	if (r < 0)
		return r;
	request_begin(&c->out, 1 + 2 * filter_count);
	request_text(&c->out, "CLEAN");
	request_options(&c->out, filters, filter_count);
	r = connection_ask(c, &value);
	return r < 0 ? r : count_reply(c, "CLEAN", value, ret_removed);
}
