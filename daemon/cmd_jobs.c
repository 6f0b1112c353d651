/* The commands about jobs, but those that wait for them or read their output (cmd_wait.c). */
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#include "commands.h"
#include "input.h"
#include "job_map.h"
#include "pool.h"
#include "submit_options.h"
#include "sweep.h"
#include "worker.h"

static struct slice copy_slice(struct slice s)
{
	return (struct slice){ s.data ? slice_dup(s) : NULL, s.len };
}

static struct slice owner_of(const struct call *call) { return slice_of(conn_peer(call->conn)->user); }

/* --- ENVIRONMENT --- */

static void on_environment(struct store_request *request)
{
	struct call *call = request->context;
	struct commands *c = call->commands;

	if (request->status < 0) {
		call_fail(call, request->status);
		return;
	}
	named_environments_put(&c->environments, request->u.environment.owner, request->u.environment.block, request->u.environment.id,
			       uv_now(c->loop));
	call_integer(call, (int64_t)request->u.environment.id);
}

/* The variables as one block, each ended by NUL. 0, -EINVAL, -ENOMEM. */
static int join_variables(const struct slice *words, uint32_t count, struct slice *ret_block)
{
	struct buf block = { 0 };

	for (uint32_t i = 0; i < count; i++) {
		if (words[i].len && memchr(words[i].data, '\0', words[i].len)) {
			buf_free(&block);
			return -EINVAL;
		}
		buf_append(&block, words[i].data, words[i].len);
		buf_append(&block, "", 1);
	}
	if (block.failed || environment_check((struct slice){ block.data, block.len }) < 0) {
		int r = block.failed ? -ENOMEM : -EINVAL;

		buf_free(&block);
		return r;
	}
	ret_block->data = buf_take(&block, &ret_block->len);
	return 0;
}

COMMAND_HANDLER(cmd_environment)
{
	struct slice block = { 0 };
	struct store_request *request;
	uint64_t id;
	int r = join_variables(argv + 1, argc - 1, &block);

	if (r == -EINVAL) {
		call_error(call, "SYNTAX", "each argument is name=value, with a name and without NUL bytes");
		return;
	}
	if (r < 0 || !(request = store_request_new(STORE_PUT_ENVIRONMENT, on_environment, call))) {
		free((void *)block.data);
		call_fail(call, -ENOMEM);
		return;
	}
	if (!store_has_room(c->store)) {
		free((void *)block.data);
		store_request_free(request);
		call_fail(call, -ENOSPC);
		return;
	}
	id = named_environments_find(&c->environments, owner_of(call), block, uv_now(c->loop));
	if (id) {
		free((void *)block.data);
		store_request_free(request);
		call->from_memory = true;
		call_integer(call, (int64_t)id);
		return;
	}
	request->u.environment.owner = copy_slice(owner_of(call));
	request->u.environment.block = block;
	store_post(c->store, request);
	sweep_expect(c->sweep);
}

/* --- INPUT --- */

struct input_call {
	uint64_t id;
	struct slice bytes; /* NEW: copied until there is an id */
};

static void on_input_written(void *context, int status, uint64_t next)
{
	struct call *call = context;
	const struct input_call *in = call->context;

	switch (status) {
	case 0:
		resp_array(&call->reply, 2);
		resp_integer(&call->reply, (int64_t)in->id);
		resp_integer(&call->reply, (int64_t)next);
		call_finish(call);
		return;
	case -ENOENT:
		call_error(call, "NOTFOUND", "no input %" PRIu64 "; inputs that no SUBMIT names go after an hour", in->id);
		return;
	case -EINVAL:
		call_error(call, "SYNTAX", "the next offset of input %" PRIu64 " is %" PRIu64, in->id, next);
		return;
	case -EROFS:
		call_error(call, "ALREADY", "input %" PRIu64 " was named by a SUBMIT: it cannot grow", in->id);
		return;
	case -EFBIG:
		call_error(call, "LIMIT", "an input has at most %" PRIu64 " bytes (limits.input_bytes)",
			   call->commands->config->limits.input_bytes);
		return;
	default:
		call_fail(call, status);
	}
}

static void on_input_id(struct store_request *request)
{
	struct call *call = request->context;
	struct input_call *in = call->context;
	struct commands *c = call->commands;
	int r = request->status;

	in->id = request->u.input.id;
	if (r == 0)
		r = input_write(c->loop, in->id, true, 0, in->bytes, c->config->limits.input_bytes, on_input_written, call);
	free((void *)in->bytes.data);
	in->bytes = (struct slice){ 0 };
	if (r < 0)
		call_fail(call, r);
}

static void input_new(struct commands *c, struct call *call, struct slice bytes)
{
	struct input_call *in = call->context;
	struct store_request *request;

	in->bytes = copy_slice(bytes);
	request = in->bytes.data ? store_request_new(STORE_NEW_INPUT, on_input_id, call) : NULL;
	if (!request) {
		free((void *)in->bytes.data);
		call_fail(call, -ENOMEM);
		return;
	}
	request->u.input.owner = copy_slice(owner_of(call));
	store_post(c->store, request);
	sweep_expect(c->sweep);
}

COMMAND_HANDLER(cmd_input)
{
	bool create = slice_is_word(argv[1], "NEW");
	struct input_call *in;
	uint64_t id = 0, offset;
	int r;

	(void)argc;
	if ((!create && (slice_to_uint(argv[1], JOB_ID_MAX, &id) < 0 || !id)) || slice_to_uint(argv[2], INT64_MAX, &offset) < 0) {
		call_error(call, "SYNTAX", "INPUT NEW|id offset bytes: id and offset are numbers");
		return;
	}
	if (create && offset) {
		call_error(call, "SYNTAX", "a new input begins at offset 0");
		return;
	}
	if (argv[3].len > c->config->limits.input_bytes) {
		call_error(call, "LIMIT", "an input has at most %" PRIu64 " bytes (limits.input_bytes)", c->config->limits.input_bytes);
		return;
	}
	if (!store_has_room(c->store)) {
		call_fail(call, -ENOSPC);
		return;
	}
	in = call->context = calloc(1, sizeof(*in));
	if (!in) {
		call_fail(call, -ENOMEM);
		return;
	}
	call_block(call); /* pieces are pipelined: one after the other */
	if (create) {
		input_new(c, call, argv[3]);
		return;
	}
	in->id = id;
	r = input_write(c->loop, id, false, offset, argv[3], c->config->limits.input_bytes, on_input_written, call);
	if (r < 0)
		call_fail(call, r);
}

/* --- SUBMIT --- */

struct submit_call {
	struct submission submission;  /* its slices are the request's, and valid while that is handled; @spec is ours until it is the job's */
	uint32_t queue_id;
	bool copied;                   /* all of them are ours, to the end: the request has to wait */
};

static void submit_free(struct submit_call *s)
{
	if (!s->copied)
		return;
	free((void *)s->submission.owner.data);
	free((void *)s->submission.name.data);
	free((void *)s->submission.key.data);
	s->submission.owner = s->submission.name = s->submission.key = (struct slice){ 0 };
}

static void submit_refused(struct call *call, int error)
{
	const struct submit_call *s = call->context;
	const struct queue *queue = s->submission.queue;

	if (error == -ENOBUFS)
		call_error(call, "FULL", "queue %s holds %" PRIu64 " unfinished jobs, as many as it may (queues.%s.max_length)",
			   queue->name, queue_unfinished(queue), queue->name);
	else if (error == -EDQUOT)
		call_error(call, "FULL", "the daemon holds %" PRIu64 " unfinished jobs, as many as it may (limits.queued_jobs)",
			   call->commands->config->limits.queued_jobs);
	else
		call_fail(call, error);
}

static void on_submitted(void *context, int status, uint64_t value)
{
	struct call *call = context;
	struct submit_call *s = call->context;

	submit_free(s);
	call_submit_end(call, status == 0 ? value : 0);
	if (status == 0)
		call_integer(call, (int64_t)value);
	else if (status == -EEXIST)
		call_error(call, "ALREADY", "this key names job %" PRIu64 ", which has another spec (queue, directory or command)", value);
	else if (status == -ENOENT)
		call_error(call, "NOTFOUND", "the environment or the input is gone, or has a job already: send it again");
	else
		submit_refused(call, status);
}

static void submit_now(struct call *call)
{
	struct submit_call *s = call->context;
	int r = dispatch_submit(call->commands->dispatch, &s->submission, on_submitted, call);

	if (r == 0)
		return;
	submit_free(s);
	call_submit_end(call, 0);
	submit_refused(call, r);
}

static void on_input_sealed(void *context, int status, uint64_t next)
{
	struct call *call = context;
	struct submit_call *s = call->context;

	(void)next;
	/* The queue may have gone from the configuration meanwhile. */
	s->submission.queue = dispatch_queue_by_id(call->commands->dispatch, s->queue_id);
	if (status == 0 && s->submission.queue) {
		submit_now(call);
		return;
	}
	free((void *)s->submission.spec.data);
	on_submitted(call, status < 0 ? status : -ENOENT, 0);
}

/* So that they outlive the request. 0, -ENOMEM. */
static int submit_copy(struct submit_call *s)
{
	struct submission *m = &s->submission;
	struct slice owner = m->owner, name = m->name, key = m->key;

	s->copied = true;
	m->owner = copy_slice(owner);
	m->name = copy_slice(name);
	m->key = copy_slice(key);
	return m->owner.data && (!name.data || m->name.data) && (!key.data || m->key.data) ? 0 : -ENOMEM;
}

/* 0, -EINVAL (said), -ENOMEM. */
static int submit_prepare(struct submit_call *s, struct call *call, struct queue *queue, const struct submit_options *o)
{
	struct spec spec = {
		.argv = (struct slice *)o->argv, .argc = o->argc, .cwd = o->cwd, .umask = o->umask, .merge_output = o->merged,
		.timeout_ms = o->timeout_ms, .grace_ms = o->grace_ms, .max_output_bytes = o->max_output_bytes,
		.input_id = (uint64_t)o->input_id,
	};
	struct buf stored = { 0 };
	int r = spec_encode(&spec, &stored);

	if (r < 0) {
		buf_free(&stored);
		return r;
	}
	s->queue_id = queue->id;
	s->submission = (struct submission){
		.queue = queue, .owner = owner_of(call), .name = o->name, .key = o->key,
		.spec_hash = submit_spec_hash(slice_of(queue->name), o), .environment_id = (uint64_t)o->environment_id,
		.input_id = (uint64_t)o->input_id, .priority = (int32_t)o->priority, .on_lost = o->on_lost,
		.retries = (uint32_t)o->retries, .max_attempts = o->max_attempts, .delay_ms = o->delay_ms,
		.hold = o->hold,
	};
	s->submission.spec.data = buf_take(&stored, &s->submission.spec.len);
	if (s->submission.spec.data && (!o->input_id || submit_copy(s) == 0))
		return 0;
	free((void *)s->submission.spec.data);
	submit_free(s);
	return -ENOMEM;
}

COMMAND_HANDLER(cmd_submit)
{
	struct submit_options options;
	struct submit_call *s;
	struct queue *queue;
	char error[256];
	int r;

	if (command_find_queue(c, call, argv[1], &queue) < 0)
		return;
	r = submit_options_parse(argv + 2, argc - 2, queue->config, &options, error);
	if (r < 0) {
		call_error(call, "SYNTAX", "%s", error);
		return;
	}
	s = call->context = calloc(1, sizeof(*s));
	r = s ? submit_prepare(s, call, queue, &options) : -ENOMEM;
	if (r < 0) {
		call_fail(call, r);
		return;
	}
	call_submit_begin(call);
	if (!options.input_id) {
		submit_now(call);
		return;
	}
	call_block(call); /* so that later SUBMITs of the connection stay behind this one */
	r = input_seal(c->loop, (uint64_t)options.input_id, on_input_sealed, call);
	if (r < 0)
		on_input_sealed(call, r, 0);
}

/* --- SHOW, LIST, WHY --- */

/* Post a read of one job. 0, or *call is finished. */
static int load_job(struct commands *c, struct call *call, uint64_t id, bool want_spec, store_done on_done)
{
	struct store_request *request = store_request_new(STORE_LOAD_JOBS, on_done, call);

	if (request)
		request->u.load.ids = malloc(sizeof(id));
	if (!request || !request->u.load.ids) {
		store_request_free(request);
		call_fail(call, -ENOMEM);
		return -ENOMEM;
	}
	request->u.load.ids[0] = id;
	request->u.load.count = 1;
	request->u.load.want_spec = want_spec;
	store_post(c->store, request);
	return 0;
}

/* The row that was read, as clients see it, or NULL: *call is finished. */
static struct job_row *loaded_job(struct store_request *request)
{
	struct call *call = request->context;
	struct job_row *row;

	if (request->status < 0) {
		call_fail(call, request->status);
		return NULL;
	}
	row = &request->u.load.rows[0];
	if (!row->id) {
		call_error(call, "NOTFOUND", "no job %" PRIu64, request->u.load.ids[0]);
		return NULL;
	}
	dispatch_overlay(call->commands->dispatch, row);
	return row;
}

static void on_show(struct store_request *request)
{
	struct call *call = request->context;
	struct job_row *row = loaded_job(request);

	if (!row)
		return;
	job_map_append(&call->reply, call->commands->dispatch, row, JOB_MAP_SHOW);
	call_finish(call);
}

COMMAND_HANDLER(cmd_show)
{
	uint64_t id;

	(void)argc;
	if (command_parse_id(call, argv[1], &id) == 0)
		load_job(c, call, id, true, on_show);
}

struct list_options {
	struct slice queues, states, outcomes, name, owner;
	bool descending;
	int64_t cursor, count;
};

static int parse_order(const struct option_row *row, struct slice value, void *field)
{
	(void)row;
	if (!slice_is_word(value, "asc") && !slice_is_word(value, "desc"))
		return -EINVAL;
	*(bool *)field = slice_is_word(value, "desc");
	return 0;
}

#define WORDS_BYTES_MAX 4096
#define L(field) offsetof(struct list_options, field)
static const struct option_row list_rows[] = {
	{ "QUEUE",   "names joined by commas",    option_bytes, L(queues),     1, WORDS_BYTES_MAX },
	{ "OUTCOME", "outcomes joined by commas", option_bytes, L(outcomes),   1, WORDS_BYTES_MAX },
	{ "STATE",   "states joined by commas",   option_bytes, L(states),     1, WORDS_BYTES_MAX },
	{ "NAME",    "a job's name",              option_bytes, L(name),       1, JOB_NAME_BYTES_MAX },
	{ "OWNER",   "a user's name",             option_bytes, L(owner),      1, JOB_NAME_BYTES_MAX },
	{ "ORDER",   "asc or desc",               parse_order,  L(descending), 0, 0 },
	{ "CURSOR",  "a cursor that LIST gave",   option_int,   L(cursor),     0, (int64_t)JOB_ID_MAX },
	{ "COUNT",   "a number from 1 to 500",    option_int,   L(count),      1, STORE_ROWS_MAX },
};
const struct option_table list_options = OPTION_TABLE(list_rows);
const struct option_table clean_options = { list_rows, 2 }; /* the first two */

static int parse_states(struct call *call, struct slice words, uint32_t *ret_bits)
{
	struct slice word;
	char shown[48];

	while (command_next_name(&words, &word)) {
		enum job_state state = job_state_parse(word);

		if (state == JOB_STATE_MAX) {
			call_error(call, "SYNTAX", "'%s' is not a state: held, delayed, blocked, ready, running, done", option_show(word, shown));
			return -EINVAL;
		}
		*ret_bits |= 1u << state;
	}
	return 0;
}

static int parse_outcomes(struct call *call, struct slice words, uint32_t *ret_bits)
{
	struct slice word;
	char shown[48];

	while (command_next_name(&words, &word)) {
		enum outcome outcome = outcome_parse(word);

		if (outcome == OUTCOME_MAX || outcome == OUTCOME_NONE) {
			call_error(call, "SYNTAX", "'%s' is not an outcome", option_show(word, shown));
			return -EINVAL;
		}
		*ret_bits |= 1u << outcome;
	}
	return 0;
}

static int parse_queue_ids(struct commands *c, struct call *call, struct slice names, struct store_filter *filter)
{
	struct queue **queues;
	size_t count;
	int r;

	if (!names.data)
		return 0;
	r = command_find_queues(c, call, names, &queues, &count);
	if (r < 0)
		return r;
	filter->queue_ids = calloc(count + 1, sizeof(*filter->queue_ids));
	if (!filter->queue_ids) {
		call_fail(call, -ENOMEM);
		r = -ENOMEM;
	}
	for (size_t i = 0; i < count && r == 0; i++)
		filter->queue_ids[filter->queue_count++] = queues[i]->id;
	free(queues);
	return r;
}

/* The filter becomes the request's, also when it is half-built. 0, or *call is finished. */
static int make_filter(struct commands *c, struct call *call, const struct list_options *o, struct store_filter *filter)
{
	int r = parse_states(call, o->states, &filter->states);

	if (r == 0)
		r = parse_outcomes(call, o->outcomes, &filter->outcomes);
	if (r == 0)
		r = parse_queue_ids(c, call, o->queues, filter);
	if (r < 0)
		return r;
	filter->name = copy_slice(o->name);
	filter->owner = copy_slice(o->owner);
	if ((o->name.data && !filter->name.data) || (o->owner.data && !filter->owner.data)) {
		call_fail(call, -ENOMEM);
		return -ENOMEM;
	}
	return 0;
}

static void on_list(struct store_request *request)
{
	struct call *call = request->context;
	char cursor[24];

	if (request->status < 0) {
		call_fail(call, request->status);
		return;
	}
	snprintf(cursor, sizeof(cursor), "%" PRIu64, request->u.list.next_cursor);
	resp_array(&call->reply, 2);
	resp_text(&call->reply, cursor);
	resp_array(&call->reply, (uint32_t)request->u.list.count);
	for (size_t i = 0; i < request->u.list.count; i++) {
		struct job_row *row = &request->u.list.rows[i];

		dispatch_overlay(call->commands->dispatch, row);
		job_map_append(&call->reply, call->commands->dispatch, row, JOB_MAP_LIST);
	}
	call_finish(call);
}

COMMAND_HANDLER(cmd_list)
{
	struct list_options o = { .count = 100 };
	struct store_request *request;

	if (command_parse_options(call, &list_options, argv + 1, argc - 1, &o) < 0)
		return;
	request = store_request_new(STORE_LIST_JOBS, on_list, call);
	if (!request) {
		call_fail(call, -ENOMEM);
		return;
	}
	if (make_filter(c, call, &o, &request->u.list.filter) < 0) {
		store_request_free(request);
		return;
	}
	request->u.list.descending = o.descending;
	request->u.list.cursor = (uint64_t)o.cursor;
	request->u.list.limit = (size_t)o.count;
	store_post(c->store, request);
}

/* Why a ready job is not running. */
static void explain_ready(const struct queue *queue, struct buf *out)
{
	const struct pool *pool = queue ? queue->pool : NULL;

	if (!queue)
		buf_append_text(out, "ready: its queue is gone");
	else if (queue->paused)
		buf_printf(out, "ready: queue %s is paused; QUEUE RESUME %s lets it start", queue->name, queue->name);
	else if (!pool)
		buf_printf(out, "ready: no pool of the configuration serves queue %s", queue->name);
	else if (pool->breaker_open)
		buf_printf(out, "ready: the workers of pool %s died again and again and are no longer started; `jobpool pools reset %s` tries again",
			   pool->name, pool->name);
	else if (!pool_alive(pool))
		buf_printf(out, "ready: pool %s has no worker yet", pool->name);
	else if (!pool_idle(pool))
		buf_printf(out, "ready: all %" PRIu32 " workers of pool %s are busy", pool_alive(pool), pool->name);
	else
		buf_printf(out, "ready: it starts next in pool %s", pool->name);
}

static void on_why(struct store_request *request)
{
	struct call *call = request->context;
	const struct job_row *row = loaded_job(request);
	struct buf text = { 0 };
	uint64_t now = now_wall_ms();

	if (!row)
		return;
	switch (row->state) {
	case JOB_READY:
		explain_ready(dispatch_queue_by_id(call->commands->dispatch, row->queue_id), &text);
		break;
	case JOB_HELD:
		buf_printf(&text, "held: it waits for RELEASE %" PRIu64, row->id);
		break;
	case JOB_DELAYED:
		buf_printf(&text, "delayed: it is due in %" PRIu64 " seconds",
			   row->due_wall_ms > now ? (row->due_wall_ms - now + 999) / 1000 : 0);
		break;
	case JOB_DONE:
		buf_printf(&text, "done: %s", outcome_name(row->outcome));
		break;
	default:
		buf_append_text(&text, job_state_name(row->state));
	}
	call->reply.failed = text.failed;
	resp_bulk(&call->reply, (struct slice){ text.data, text.len });
	buf_free(&text);
	call_finish(call);
}

COMMAND_HANDLER(cmd_why)
{
	uint64_t id;

	(void)argc;
	if (command_parse_id(call, argv[1], &id) == 0)
		load_job(c, call, id, false, on_why);
}

/* --- CANCEL, RETRY, HOLD, RELEASE, UPDATE, SIGNAL --- */

static void on_changed(void *context, int status, uint64_t value)
{
	struct call *call = context;

	if (status == -ENOENT)
		call_error(call, "NOTFOUND", "no job %" PRIu64 "; nothing was done", value);
	else if (status < 0)
		call_fail(call, status);
	else
		call_integer(call, (int64_t)value);
}

static void change(struct commands *c, struct call *call, enum dispatch_verb verb, const struct slice *words, uint32_t count, int64_t number,
		   dispatch_done done)
{
	uint64_t *ids;
	int r;

	if (command_parse_ids(c, call, words, count, &ids) < 0)
		return;
	r = dispatch_change(c->dispatch, verb, ids, count, owner_of(call), number, done, call);
	free(ids);
	if (r < 0)
		call_fail(call, r);
}

COMMAND_HANDLER(cmd_cancel) { change(c, call, VERB_CANCEL, argv + 1, argc - 1, 0, on_changed); }
COMMAND_HANDLER(cmd_retry) { change(c, call, VERB_RETRY, argv + 1, argc - 1, 0, on_changed); }
COMMAND_HANDLER(cmd_hold) { change(c, call, VERB_HOLD, argv + 1, argc - 1, 0, on_changed); }
COMMAND_HANDLER(cmd_release) { change(c, call, VERB_RELEASE, argv + 1, argc - 1, 0, on_changed); }

static void on_updated(void *context, int status, uint64_t value)
{
	if (status == 0 && value)
		call_ok(context);
	else if (status == 0)
		call_error(context, "ALREADY", "the job runs or is done: only jobs that wait can be changed");
	else
		on_changed(context, status, value);
}

struct update_options {
	int64_t priority;
};

static const struct option_row update_rows[] = {
	{ "PRIORITY", "a number from -1000000 to 1000000", option_int, offsetof(struct update_options, priority), -JOB_PRIORITY_MAX,
	  JOB_PRIORITY_MAX },
};
const struct option_table update_options = OPTION_TABLE(update_rows);

COMMAND_HANDLER(cmd_update)
{
	struct update_options o = { 0 };

	if (argc < 4) {
		call_error(call, "SYNTAX", "UPDATE id PRIORITY n: nothing to change was named");
		return;
	}
	if (command_parse_options(call, &update_options, argv + 2, argc - 2, &o) == 0)
		change(c, call, VERB_PRIORITY, argv + 1, 1, o.priority, on_updated);
}

static void on_signalled(void *context, int status, uint64_t value)
{
	if (status == 0 && value)
		call_ok(context);
	else if (status == 0)
		call_error(context, "ERR", "the job is not running: there is nothing to signal");
	else
		on_changed(context, status, value);
}

/* A number, or a name with or without SIG. 0 = neither. */
static int parse_signal(struct slice word)
{
	uint64_t number;

	if (slice_to_uint(word, SIGRTMAX, &number) == 0)
		return (int)number;
	if (word.len > 3 && slice_is_word((struct slice){ word.data, 3 }, "SIG"))
		word = (struct slice){ word.data + 3, word.len - 3 };
	for (int i = 1; i < NSIG; i++)
		if (sigabbrev_np(i) && slice_is_word(word, sigabbrev_np(i)))
			return i;
	return 0;
}

COMMAND_HANDLER(cmd_signal)
{
	int number = parse_signal(argv[2]);
	char shown[48];

	(void)argc;
	if (number)
		change(c, call, VERB_SIGNAL, argv + 1, 1, number, on_signalled);
	else
		call_error(call, "SYNTAX", "'%s' is not a signal: a number, or a name such as TERM", option_show(argv[2], shown));
}

/* --- REMOVE, CLEAN --- */

static void on_removed(struct store_request *request)
{
	struct call *call = request->context;

	if (request->status < 0) {
		call_fail(call, request->status);
		return;
	}
	dispatch_forget(call->commands->dispatch, request->u.remove.gone, request->u.remove.removed);
	sweep_unlink(call->commands->sweep, request->u.remove.files, request->u.remove.file_count);
	sweep_expect(call->commands->sweep); /* their keys stay for a while */
	call_integer(call, (int64_t)request->u.remove.removed);
}

/* All of them exist: the store removes those that are done. */
static void on_remove_loaded(struct store_request *load)
{
	struct call *call = load->context;
	struct store_request *removal;

	if (load->status < 0) {
		call_fail(call, load->status);
		return;
	}
	for (size_t i = 0; i < load->u.load.count; i++) {
		if (!load->u.load.rows[i].id) {
			call_error(call, "NOTFOUND", "no job %" PRIu64 "; nothing was done", load->u.load.ids[i]);
			return;
		}
	}
	removal = store_request_new(STORE_REMOVE_JOBS, on_removed, call);
	if (!removal) {
		call_fail(call, -ENOMEM);
		return;
	}
	removal->u.remove.ids = load->u.load.ids;
	removal->u.remove.count = load->u.load.count;
	load->u.load.ids = NULL;
	store_post(call->commands->store, removal);
}

COMMAND_HANDLER(cmd_remove)
{
	struct store_request *request = store_request_new(STORE_LOAD_JOBS, on_remove_loaded, call);

	if (!request) {
		call_fail(call, -ENOMEM);
		return;
	}
	if (command_parse_ids(c, call, argv + 1, argc - 1, &request->u.load.ids) < 0) {
		store_request_free(request);
		return;
	}
	request->u.load.count = argc - 1;
	store_post(c->store, request);
}

static void on_cleaned(struct store_request *request);

/* @filter becomes the request's. */
static void clean(struct call *call, struct store_filter *filter, struct clean_cursor from)
{
	struct store_request *request = store_request_new(STORE_CLEAN, on_cleaned, call);

	if (!request) {
		free(filter->queue_ids);
		call_fail(call, -ENOMEM);
		return;
	}
	request->u.clean.filter = *filter;
	request->u.clean.from = from;
	*filter = (struct store_filter){ 0 };
	store_post(call->commands->store, request);
}

static void on_cleaned(struct store_request *request)
{
	struct call *call = request->context;
	struct commands *c = call->commands;

	if (request->status < 0) {
		call_fail(call, request->status);
		return;
	}
	if (!request->u.clean.removed && request->u.clean.more) { /* a stretch without a match: 0 would mean the end */
		clean(call, &request->u.clean.filter, request->u.clean.next);
		return;
	}
	dispatch_forget(c->dispatch, request->u.clean.gone, request->u.clean.removed);
	sweep_unlink(c->sweep, request->u.clean.files, request->u.clean.file_count);
	sweep_expect(c->sweep);
	call_integer(call, (int64_t)request->u.clean.removed);
}

COMMAND_HANDLER(cmd_clean)
{
	struct list_options o = { 0 };
	struct store_filter filter = { 0 };

	if (command_parse_options(call, &clean_options, argv + 1, argc - 1, &o) < 0)
		return;
	if (make_filter(c, call, &o, &filter) == 0)
		clean(call, &filter, (struct clean_cursor){ 0 });
	else
		free(filter.queue_ids);
}
