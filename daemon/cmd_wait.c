/* The commands that may block, and OUTPUT: WAIT, FOLLOW, JOIN. Each registers as a waiter first and looks afterwards, so that
 * nothing that happens between is missed; the news only make it look again. */
#include <inttypes.h>
#include <stdlib.h>

#include "commands.h"
#include "job_map.h"
#include "output.h"

/* --- WAIT --- */

struct wait {
	struct waiter waiter;
	struct call *call;
	uint64_t *ids;
	uint32_t count;
	uint32_t done_left;   /* all: how many were not done at the last look */
	bool any;
	bool reading;         /* a look is under way ... */
	bool look_again;      /* ... and something happened since it began */
	bool timed_out, stopped;
};

static void wait_look(struct wait *w);

static void wait_end(struct wait *w)
{
	waiter_remove(&w->waiter);
	free(w->ids);
	w->ids = NULL;
}

/* Answer without maps, as soon as no look is under way. */
static void wait_give_up(struct wait *w)
{
	if (w->reading)
		return;
	wait_end(w);
	if (w->stopped) {
		call_fail(w->call, -ESHUTDOWN);
		return;
	}
	resp_nil_array(&w->call->reply);
	call_finish(w->call);
}

static void wait_answer(struct wait *w, const struct job_row *rows, uint32_t done)
{
	resp_array(&w->call->reply, w->any ? done : w->count);
	for (uint32_t i = 0; i < w->count; i++)
		if (!w->any || rows[i].state == JOB_DONE)
			job_map_append(&w->call->reply, w->call->commands->dispatch, &rows[i], JOB_MAP_BRIEF);
	wait_end(w);
	call_finish(w->call);
}

static void on_wait_loaded(struct store_request *request)
{
	struct wait *w = request->context;
	struct job_row *rows = request->u.load.rows;
	uint32_t done = 0;

	w->reading = false;
	if (request->status < 0) {
		wait_end(w);
		call_fail(w->call, request->status);
		return;
	}
	for (uint32_t i = 0; i < w->count; i++) {
		if (!rows[i].id) {
			uint64_t id = w->ids[i];

			wait_end(w);
			call_error(w->call, "NOTFOUND", "no job %" PRIu64, id);
			return;
		}
		dispatch_overlay(w->call->commands->dispatch, &rows[i]);
		done += rows[i].state == JOB_DONE;
	}
	w->done_left = w->count - done;
	if (w->any ? done > 0 : done == w->count)
		wait_answer(w, rows, done);
	else if (w->timed_out || w->stopped)
		wait_give_up(w);
	else if (w->look_again)
		wait_look(w);
}

static void wait_look(struct wait *w)
{
	struct store_request *request = store_request_new(STORE_LOAD_JOBS, on_wait_loaded, w);

	if (request)
		request->u.load.ids = calloc(w->count, sizeof(uint64_t));
	if (!request || !request->u.load.ids) {
		store_request_free(request);
		wait_end(w);
		call_fail(w->call, -ENOMEM);
		return;
	}
	memcpy(request->u.load.ids, w->ids, w->count * sizeof(uint64_t));
	request->u.load.count = w->count;
	w->reading = true;
	w->look_again = false;
	store_post(w->call->commands->store, request);
}

static void on_wait_event(struct waiter *waiter, enum waiter_event event, uint64_t job_id, struct queue *queue)
{
	struct wait *w = container_of(waiter, struct wait, waiter);

	(void)job_id;
	(void)queue;
	w->timed_out |= event == WAITER_TIMEOUT;
	w->stopped |= event == WAITER_STOPPED;
	if (w->timed_out || w->stopped) {
		wait_give_up(w);
		return;
	}
	if (event != WAITER_JOB_DONE)
		return;
	w->look_again = true;
	if (w->reading)
		return;
	/* Waiting for all, a look is of use only when as many have ended as were missing. */
	if (w->done_left)
		w->done_left--;
	if (w->any || !w->done_left)
		wait_look(w);
}

static void on_wait_abort(struct call *call)
{
	struct wait *w = call->context;

	w->stopped = true;
	waiter_remove(&w->waiter);
	wait_give_up(w);
}

/* None of the jobs is done, as memory knows: a job that is not there may be. */
static bool all_are_unfinished(const struct dispatch *dispatch, const uint64_t *ids, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++) {
		const struct job *job = dispatch_find_job(dispatch, ids[i]);

		if (!job || job->dead || job->state == JOB_DONE)
			return false;
	}
	return true;
}

COMMAND_HANDLER(cmd_wait)
{
	struct wait *w;
	uint32_t first;
	int64_t ms;

	if (command_parse_timeout(call, argv[1], &ms) < 0)
		return;
	w = call->context = calloc(1, sizeof(*w));
	if (!w) {
		call_fail(call, -ENOMEM);
		return;
	}
	w->call = call;
	w->any = slice_is_word(argv[2], "ANY");
	first = w->any ? 3 : 2;
	w->count = argc - first;
	if (!w->count) {
		call_error(call, "ERR", "WAIT names no job: WAIT ms [ANY] id...");
		return;
	}
	if (command_parse_ids(c, call, argv + first, w->count, &w->ids) < 0)
		return;
	w->waiter.on_event = on_wait_event;
	w->timed_out = ms == 0;
	if (ms && waiter_add(c->waiters, &w->waiter, ms, w->ids, w->count, false) < 0) {
		free(w->ids);
		call_fail(call, -ENOMEM);
		return;
	}
	call->on_abort = on_wait_abort;
	call_block(call);
	if (ms && all_are_unfinished(c->dispatch, w->ids, w->count))
		w->done_left = w->count; /* as a look would find */
	else
		wait_look(w);
}

/* --- FOLLOW --- */

#define PATIENCE_MS 3u /* most jobs are over before, and to watch one costs more than to run it */

struct follow;

/* The time between the beginning of an attempt and the first look at its output. */
struct patience {
	uv_timer_t timer;
	struct follow *follow;
};

struct follow {
	struct waiter waiter;
	struct output_read read;
	struct output_watch *watch;   /* NULL = growth is not watched */
	struct patience *patience;    /* NULL = it is over, or has not begun */
	struct call *call;
	uint64_t offsets[2];
	struct buf map;               /* of the done job */
	bool done;                    /* the job was, at the last look */
	bool reading, look_again, timed_out, stopped;
};

static void follow_look(struct follow *f);

static void on_watch_closed(struct output_watch *watch) { free(watch); }

static void follow_unwatch(struct follow *f)
{
	if (f->watch)
		output_watch_stop(f->watch);
	f->watch = NULL;
}

static void on_patience_closed(uv_handle_t *handle) { free(handle->data); }

static void follow_hurry(struct follow *f)
{
	if (f->patience)
		uv_close((uv_handle_t *)&f->patience->timer, on_patience_closed);
	f->patience = NULL;
}

static void on_patience_over(uv_timer_t *timer)
{
	struct patience *patience = timer->data;
	struct follow *f = patience->follow;

	follow_hurry(f);
	follow_look(f);
}

/* An attempt begins: look at it in a moment, unless it ends before. false: look now. */
static bool follow_be_patient(struct follow *f)
{
	struct patience *patience = f->patience ? NULL : calloc(1, sizeof(*patience));

	if (!patience)
		return f->patience;
	uv_timer_init(f->call->commands->loop, &patience->timer);
	patience->timer.data = patience;
	patience->follow = f;
	f->patience = patience;
	uv_timer_start(&patience->timer, on_patience_over, PATIENCE_MS, 0);
	return true;
}

static void follow_end(struct follow *f)
{
	waiter_remove(&f->waiter);
	follow_unwatch(f);
	follow_hurry(f);
	output_read_clear(&f->read);
	buf_free(&f->map);
}

static void follow_give_up(struct follow *f)
{
	if (f->reading)
		return;
	follow_end(f);
	if (f->stopped) {
		call_fail(f->call, -ESHUTDOWN);
		return;
	}
	resp_nil_array(&f->call->reply);
	call_finish(f->call);
}

static void follow_answer(struct follow *f, bool with_map)
{
	struct buf *out = &f->call->reply;

	resp_array(out, 5);
	for (unsigned i = 0; i < 2; i++) {
		resp_integer(out, (int64_t)f->read.stream[i].offset);
		resp_bulk(out, (struct slice){ f->read.stream[i].data, f->read.stream[i].len });
	}
	if (with_map)
		buf_append(out, f->map.data, f->map.len);
	else
		resp_nil_array(out);
	out->failed |= f->map.failed;
	follow_end(f);
	call_finish(f->call);
}

static void on_growth(struct output_watch *watch)
{
	struct follow *f = watch->context;

	f->look_again = true;
	if (!f->reading)
		follow_look(f);
}

/* Nothing new: hear of growth, and look once more, as something may have come before the watch. */
static void follow_watch(struct follow *f)
{
	struct output_watch *watch = calloc(1, sizeof(*watch));
	int r;

	if (!watch)
		return; /* the job's end is heard of all the same */
	watch->on_growth = on_growth;
	watch->on_closed = on_watch_closed;
	watch->context = f;
	r = output_watch_start(f->call->commands->loop, watch, f->read.paths);
	if (r == -ENOENT)
		free(watch);
	if (r < 0)
		return;
	f->watch = watch;
	f->look_again = true;
}

static void on_follow_row(struct output_read *read, const struct job_row *row)
{
	struct follow *f = container_of(read, struct follow, read);

	f->done = row->state == JOB_DONE;
	buf_clear(&f->map);
	if (f->done)
		job_map_append(&f->map, f->call->commands->dispatch, row, JOB_MAP_BRIEF);
}

static void on_follow_read(struct output_read *read, int status)
{
	struct follow *f = container_of(read, struct follow, read);
	bool moved = read->stream[0].len || read->stream[1].len;
	bool complete = f->done && read->stream[0].at_end && read->stream[1].at_end;

	f->reading = false;
	if (status < 0) {
		follow_end(f);
		call_fail(f->call, status);
		return;
	}
	if (read->place == OUTPUT_NO_JOB) {
		uint64_t id = read->job_id;

		follow_end(f);
		call_error(f->call, "NOTFOUND", "no job %" PRIu64, id);
		return;
	}
	if (moved || complete) {
		follow_answer(f, complete);
		return;
	}
	if (f->timed_out || f->stopped) {
		follow_give_up(f);
		return;
	}
	if ((read->place == OUTPUT_STARTING || read->place == OUTPUT_RUNNING) && !f->watch)
		follow_watch(f);
	if (f->look_again)
		follow_look(f);
}

static void follow_look(struct follow *f)
{
	struct commands *c = f->call->commands;

	f->reading = true;
	f->look_again = f->done = false;
	for (unsigned i = 0; i < 2; i++) {
		f->read.stream[i].offset = f->offsets[i];
		f->read.stream[i].max = OUTPUT_READ_BYTES_MAX;
	}
	output_read_start(c->loop, c->store, c->dispatch, &f->read);
}

static void on_follow_event(struct waiter *waiter, enum waiter_event event, uint64_t job_id, struct queue *queue)
{
	struct follow *f = container_of(waiter, struct follow, waiter);

	(void)job_id;
	(void)queue;
	f->timed_out |= event == WAITER_TIMEOUT;
	f->stopped |= event == WAITER_STOPPED;
	if (f->timed_out || f->stopped) {
		follow_give_up(f);
		return;
	}
	follow_unwatch(f); /* the next attempt writes elsewhere */
	if (event == WAITER_JOB_STARTED && !f->reading && follow_be_patient(f))
		return;
	follow_hurry(f);
	f->look_again = true;
	if (!f->reading)
		follow_look(f);
}

static void on_follow_abort(struct call *call)
{
	struct follow *f = call->context;

	f->stopped = true;
	waiter_remove(&f->waiter);
	follow_unwatch(f);
	follow_hurry(f);
	follow_give_up(f);
}

static int parse_offset(struct call *call, struct slice word, uint64_t *ret_offset)
{
	char shown[48];

	if (slice_to_uint(word, INT64_MAX, ret_offset) == 0)
		return 0;
	call_error(call, "SYNTAX", "'%s' is not an offset", option_show(word, shown));
	return -EINVAL;
}

/* Not started, or only just. */
static bool is_beginning(const struct commands *c, uint64_t id)
{
	const struct job *job = dispatch_find_job(c->dispatch, id);

	return job && !job->dead && job->state == JOB_RUNNING && uv_now(c->loop) - job->given_ms < PATIENCE_MS;
}

COMMAND_HANDLER(cmd_follow)
{
	struct follow *f = call->context = calloc(1, sizeof(*f));
	int64_t ms;

	(void)argc;
	if (!f) {
		call_fail(call, -ENOMEM);
		return;
	}
	f->call = call;
	if (command_parse_id(call, argv[1], &f->read.job_id) < 0 || parse_offset(call, argv[2], &f->offsets[0]) < 0 ||
	    parse_offset(call, argv[3], &f->offsets[1]) < 0 || command_parse_timeout(call, argv[4], &ms) < 0)
		return;
	f->read.restart = true;
	f->read.on_row = on_follow_row;
	f->read.on_done = on_follow_read;
	f->waiter.on_event = on_follow_event;
	f->timed_out = ms == 0;
	if (ms && waiter_add(c->waiters, &f->waiter, ms, &f->read.job_id, 1, false) < 0) {
		call_fail(call, -ENOMEM);
		return;
	}
	call->on_abort = on_follow_abort;
	call_block(call);
	if (!ms || !is_beginning(c, f->read.job_id) || !follow_be_patient(f))
		follow_look(f);
}

/* --- OUTPUT --- */

struct output_call {
	struct output_read read;
	struct call *call;
	unsigned stream;
	int64_t count;
	bool done;
};

static const struct option_row output_rows[] = {
	{ "COUNT", "a number of bytes from 1 to 262144", option_int, offsetof(struct output_call, count), 1, OUTPUT_READ_BYTES_MAX },
};
const struct option_table output_options = OPTION_TABLE(output_rows);

static void on_output_row(struct output_read *read, const struct job_row *row)
{
	container_of(read, struct output_call, read)->done = row->state == JOB_DONE;
}

static void on_output_read(struct output_read *read, int status)
{
	struct output_call *o = container_of(read, struct output_call, read);
	struct output_stream *s = &read->stream[o->stream];
	struct buf *out = &o->call->reply;

	if (status < 0) {
		call_fail(o->call, status);
		return;
	}
	if (read->place == OUTPUT_NO_JOB) {
		call_error(o->call, "NOTFOUND", "no job %" PRIu64, read->job_id);
		return;
	}
	resp_array(out, 3);
	resp_integer(out, (int64_t)s->offset);
	resp_bulk(out, (struct slice){ s->data, s->len });
	resp_integer(out, o->done && s->at_end);
	output_read_clear(read);
	call_finish(o->call);
}

COMMAND_HANDLER(cmd_output)
{
	struct output_call *o = call->context = calloc(1, sizeof(*o));

	if (!o) {
		call_fail(call, -ENOMEM);
		return;
	}
	o->call = call;
	o->count = OUTPUT_READ_BYTES_MAX;
	o->stream = slice_is_word(argv[2], "err");
	if (!o->stream && !slice_is_word(argv[2], "out")) {
		call_error(call, "SYNTAX", "OUTPUT id out|err offset [COUNT n]: the stream is out or err");
		return;
	}
	if (command_parse_id(call, argv[1], &o->read.job_id) < 0 || parse_offset(call, argv[3], &o->read.stream[o->stream].offset) < 0 ||
	    command_parse_options(call, &output_options, argv + 4, argc - 4, o) < 0)
		return;
	o->read.stream[o->stream].max = (size_t)o->count;
	o->read.on_row = on_output_row;
	o->read.on_done = on_output_read;
	output_read_start(c->loop, c->store, c->dispatch, &o->read);
}

/* --- JOIN --- */

struct join {
	struct waiter waiter;
	struct call *call;
	uint32_t *queue_ids;
	size_t count;
	uint64_t since;
	bool has_since;
};

struct join_options {
	int64_t since;
};

static const struct option_row join_rows[] = {
	{ "SINCE", "a commit number that JOIN gave", option_int, offsetof(struct join_options, since), 0, INT64_MAX },
};
const struct option_table join_options = OPTION_TABLE(join_rows);

static void join_end(struct join *j)
{
	waiter_remove(&j->waiter);
	free(j->queue_ids);
	j->queue_ids = NULL;
}

/* All at zero in this instant; with SINCE a queue that was there after that commit counts as well. */
static bool join_is_done(const struct join *j)
{
	for (size_t i = 0; i < j->count; i++) {
		const struct queue *queue = dispatch_queue_by_id(j->call->commands->dispatch, j->queue_ids[i]);

		if (queue && queue_unfinished(queue) && !(j->has_since && queue->zero_commit > j->since))
			return false;
	}
	return true;
}

/* The commit that holds what was just found is on disk: its number is known now. */
static void on_join_committed(struct store_request *request)
{
	struct join *j = request->context;
	struct commands *c = j->call->commands;
	uint64_t succeeded = 0, failed = 0;

	for (size_t i = 0; i < j->count; i++) {
		const struct queue *queue = dispatch_queue_by_id(c->dispatch, j->queue_ids[i]);

		succeeded += queue ? queue->succeeded : 0;
		failed += queue ? queue->failed : 0;
	}
	resp_array(&j->call->reply, 3);
	resp_integer(&j->call->reply, (int64_t)succeeded);
	resp_integer(&j->call->reply, (int64_t)failed);
	resp_integer(&j->call->reply, (int64_t)store_commit_number(c->store));
	join_end(j);
	call_finish(j->call);
}

static void join_succeed(struct join *j)
{
	struct store_request *request = store_request_new(STORE_LOAD_JOBS, on_join_committed, j); /* of no job */

	waiter_remove(&j->waiter);
	j->call->on_abort = NULL;
	if (!request) {
		join_end(j);
		call_fail(j->call, -ENOMEM);
		return;
	}
	store_post(j->call->commands->store, request);
}

static void join_give_up(struct join *j, bool stopped)
{
	join_end(j);
	if (stopped) {
		call_fail(j->call, -ESHUTDOWN);
		return;
	}
	resp_nil_array(&j->call->reply);
	call_finish(j->call);
}

static void on_join_event(struct waiter *waiter, enum waiter_event event, uint64_t job_id, struct queue *queue)
{
	struct join *j = container_of(waiter, struct join, waiter);

	(void)job_id;
	(void)queue;
	if (event == WAITER_TIMEOUT || event == WAITER_STOPPED)
		join_give_up(j, event == WAITER_STOPPED);
	else if (join_is_done(j))
		join_succeed(j);
}

static void on_join_abort(struct call *call) { join_give_up(call->context, true); }

static int join_take_queues(struct commands *c, struct join *j, struct slice names)
{
	struct queue **queues;
	int r = command_find_queues(c, j->call, names, &queues, &j->count);

	if (r < 0)
		return r;
	j->queue_ids = calloc(j->count + 1, sizeof(*j->queue_ids));
	if (!j->queue_ids) {
		call_fail(j->call, -ENOMEM);
		r = -ENOMEM;
	}
	for (size_t i = 0; i < j->count && r == 0; i++)
		j->queue_ids[i] = queues[i]->id;
	free(queues);
	return r;
}

COMMAND_HANDLER(cmd_join)
{
	struct join *j = call->context = calloc(1, sizeof(*j));
	struct join_options o = { -1 };
	int64_t ms;

	if (!j) {
		call_fail(call, -ENOMEM);
		return;
	}
	j->call = call;
	if (command_parse_timeout(call, argv[2], &ms) < 0 || command_parse_options(call, &join_options, argv + 3, argc - 3, &o) < 0 ||
	    join_take_queues(c, j, argv[1]) < 0)
		return;
	j->has_since = o.since >= 0;
	j->since = (uint64_t)o.since;
	j->waiter.on_event = on_join_event;
	if (join_is_done(j)) {
		call_block(call);
		join_succeed(j);
		return;
	}
	if (ms == 0) {
		join_give_up(j, false);
		return;
	}
	if (waiter_add(c->waiters, &j->waiter, ms, NULL, 0, true) < 0) {
		join_end(j);
		call_fail(call, -ENOMEM);
		return;
	}
	call->on_abort = on_join_abort;
	call_block(call);
}
