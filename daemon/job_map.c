/* The job map, as a table of its fields: name, the level it comes with, and the function that writes its value. */
#include "job_map.h"

#include <inttypes.h>
#include <stdio.h>

#include "pool.h"
#include "resp.h"
#include "spec.h"
#include "worker.h"

#define LIST_ARGV_BYTES_MAX 256

/* One map being written. */
struct view {
	struct buf *out;
	const struct job_row *row;
	const struct attempt_end *end;
	const struct dispatch *dispatch;
	const struct queue *queue;    /* NULL = gone */
	const struct job *job;        /* in memory, or NULL */
	const struct worker *worker;  /* that has it now, or NULL */
	struct mark mark;             /* of the running attempt; zeroed when it has not started */
	struct spec spec;             /* argc 0 when there is none to show */
	bool argv_cut;
};

static bool is_done(const struct view *v) { return v->row->state == JOB_DONE; }
static bool has_ended(const struct view *v) { return v->end->outcome != OUTCOME_NONE; }

int job_row_exit_code(const struct job_row *row)
{
	const struct attempt_end *end = &row->attempt.end;

	return row->state == JOB_DONE ? outcome_exit_code(row->outcome, end->exit_code, end->signal, (enum start_step)end->step, end->error) : -1;
}

/* --- values --- */

static void put_slice(struct view *v, struct slice s)
{
	if (s.data)
		resp_bulk(v->out, s);
	else
		resp_nil(v->out);
}

static void put_number_if(struct view *v, bool there, uint64_t value)
{
	if (there)
		resp_integer(v->out, (int64_t)value);
	else
		resp_nil(v->out);
}

static void put_word(struct view *v, const char *word) { resp_text(v->out, word && *word ? word : NULL); }

static void put_id(struct view *v) { resp_integer(v->out, (int64_t)v->row->id); }
static void put_queue(struct view *v) { resp_text(v->out, v->queue ? v->queue->name : NULL); }
static void put_name(struct view *v) { put_slice(v, v->row->name); }
static void put_state(struct view *v) { resp_text(v->out, job_state_name(v->row->state)); }
static void put_outcome(struct view *v) { resp_text(v->out, is_done(v) ? outcome_name(v->row->outcome) : NULL); }

static void put_exit_code(struct view *v)
{
	put_number_if(v, has_ended(v) && v->end->exit_code >= 0, (uint64_t)v->end->exit_code);
}

static void put_signal(struct view *v) { put_number_if(v, v->end->signal > 0, (uint64_t)v->end->signal); }
static void put_code(struct view *v) { put_number_if(v, is_done(v), (uint64_t)job_row_exit_code(v->row)); }

static bool is_stuck(const struct view *v) { return v->worker && v->worker->state == WORKER_STUCK; }

static void put_reason(struct view *v)
{
	char text[512];
	const struct job_row *row = v->row;
	int by = (int)MIN(row->cancelled_by.len, (size_t)64);

	if (is_stuck(v))
		snprintf(text, sizeof(text), "stuck: its worker %" PRIu64 " (pid %d) is dead, and what it left could not be ended",
			 v->worker->id, (int)v->worker->pid);
	else if (!is_done(v) && row->state == JOB_RUNNING && row->cancelling)
		snprintf(text, sizeof(text), "being cancelled by %.*s", by, row->cancelled_by.data ? row->cancelled_by.data : "");
	else if (is_done(v) && row->outcome == OUTCOME_CANCELLED)
		snprintf(text, sizeof(text), "cancelled by %.*s", by, row->cancelled_by.data ? row->cancelled_by.data : "");
	else if (v->end->outcome == OUTCOME_UNSTARTABLE)
		snprintf(text, sizeof(text), "cannot be started: %s: %s", start_step_name(v->end->step), strerror(v->end->error));
	else if (v->end->outcome == OUTCOME_TIMEOUT)
		snprintf(text, sizeof(text), "ended by its limit: %s", limit_name(v->end->limit));
	else if (v->end->outcome == OUTCOME_LOST)
		snprintf(text, sizeof(text), "lost: %s", lost_reason_name(v->end->lost_reason));
	else if (is_done(v) && row->outcome == OUTCOME_LOST)
		snprintf(text, sizeof(text), "lost");
	else
		text[0] = '\0';
	put_word(v, text);
}

static void put_step(struct view *v) { put_word(v, start_step_name(v->end->step)); }
static void put_error(struct view *v) { put_number_if(v, v->end->step != STEP_NONE, (uint64_t)v->end->error); }
static void put_limit(struct view *v) { put_word(v, limit_name(v->end->limit)); }
static void put_cancelled_by(struct view *v) { put_slice(v, v->row->cancelled_by); }
static void put_priority(struct view *v) { resp_integer(v->out, v->row->priority); }
static void put_attempt(struct view *v) { resp_integer(v->out, v->row->attempt.number); }
static void put_max_attempts(struct view *v) { resp_integer(v->out, v->row->max_attempts); }
static void put_owner(struct view *v) { put_slice(v, v->row->owner); }
static void put_submitted_at(struct view *v) { put_number_if(v, v->row->submitted_wall_ms, v->row->submitted_wall_ms); }
static void put_due_at(struct view *v) { put_number_if(v, v->row->state == JOB_DELAYED, v->row->due_wall_ms); }

static void put_started_at(struct view *v)
{
	uint64_t at = v->end->started_wall_ms;

	if (!at && v->mark.state != MARK_FREE)
		at = v->mark.end.started_wall_ms;
	/* An attempt that runs and whose mark does not say: since it was handed over, a moment before. */
	if (!at && v->job && v->job->state == JOB_RUNNING && v->job->given_ms)
		at = now_wall_ms() - (now_monotonic_ms() - v->job->given_ms);
	put_number_if(v, at, at);
}

static void put_ended_at(struct view *v) { put_number_if(v, v->end->ended_wall_ms, v->end->ended_wall_ms); }
static void put_elapsed(struct view *v) { put_number_if(v, has_ended(v), v->end->elapsed_us); }
static void put_user(struct view *v) { put_number_if(v, has_ended(v), v->end->user_us); }
static void put_system(struct view *v) { put_number_if(v, has_ended(v), v->end->system_us); }
static void put_max_rss(struct view *v) { put_number_if(v, has_ended(v), v->end->max_rss_bytes); }
static void put_output_bytes(struct view *v) { put_number_if(v, has_ended(v), v->end->output[0].bytes); }
static void put_error_bytes(struct view *v) { put_number_if(v, has_ended(v), v->end->output[1].bytes); }
static void put_output_dropped(struct view *v) { resp_integer(v->out, v->end->output_dropped != 0); }
static void put_stuck(struct view *v) { resp_integer(v->out, is_stuck(v)); }

static void put_argv(struct view *v)
{
	resp_array(v->out, v->spec.argc);
	for (uint32_t i = 0; i < v->spec.argc; i++)
		resp_bulk(v->out, v->spec.argv[i]);
}

static void put_argv_cut(struct view *v) { resp_integer(v->out, v->argv_cut); }
static void put_cwd(struct view *v) { resp_bulk(v->out, v->spec.cwd.len ? v->spec.cwd : SLICE("/")); }

static void put_umask(struct view *v)
{
	char text[16];

	snprintf(text, sizeof(text), "%03o", (unsigned)v->spec.umask);
	resp_text(v->out, text);
}

static void put_timeout(struct view *v) { resp_integer(v->out, (int64_t)v->spec.timeout_ms); }
static void put_grace(struct view *v) { resp_integer(v->out, (int64_t)v->spec.grace_ms); }
static void put_max_output(struct view *v) { resp_integer(v->out, (int64_t)v->spec.max_output_bytes); }
static void put_streams(struct view *v) { resp_text(v->out, v->spec.merge_output ? "merged" : "split"); }
static void put_input(struct view *v) { put_number_if(v, v->row->input_id, v->row->input_id); }
static void put_environment(struct view *v) { put_number_if(v, v->row->environment_id, v->row->environment_id); }
static void put_on_lost(struct view *v) { resp_text(v->out, on_lost_name(v->row->on_lost)); }
static void put_key(struct view *v) { put_slice(v, v->row->key); }

static void put_pool(struct view *v)
{
	const struct pool *pool = v->worker ? v->worker->pool : v->queue ? v->queue->pool : NULL;

	resp_text(v->out, pool ? pool->name : NULL);
}

static void put_worker(struct view *v) { put_number_if(v, v->worker, v->worker ? v->worker->slot : 0); }

static void put_worker_id(struct view *v)
{
	uint64_t id = v->worker ? v->worker->id : has_ended(v) ? v->row->attempt.worker_id : 0;

	put_number_if(v, id, id);
}

static void put_pid(struct view *v)
{
	put_number_if(v, v->mark.state == MARK_STARTED && v->mark.pid > 0, (uint64_t)v->mark.pid);
}

static const struct field {
	const char *name;
	enum job_map_level level;
	void (*put)(struct view *v);
} fields[] = {
	{ "id",               JOB_MAP_BRIEF, put_id },
	{ "queue",            JOB_MAP_BRIEF, put_queue },
	{ "name",             JOB_MAP_BRIEF, put_name },
	{ "state",            JOB_MAP_BRIEF, put_state },
	{ "outcome",          JOB_MAP_BRIEF, put_outcome },
	{ "exit_code",        JOB_MAP_BRIEF, put_exit_code },
	{ "signal",           JOB_MAP_BRIEF, put_signal },
	{ "code",             JOB_MAP_BRIEF, put_code },
	{ "reason",           JOB_MAP_BRIEF, put_reason },
	{ "step",             JOB_MAP_BRIEF, put_step },
	{ "error",            JOB_MAP_BRIEF, put_error },
	{ "limit",            JOB_MAP_BRIEF, put_limit },
	{ "cancelled_by",     JOB_MAP_BRIEF, put_cancelled_by },
	{ "priority",         JOB_MAP_BRIEF, put_priority },
	{ "attempt",          JOB_MAP_BRIEF, put_attempt },
	{ "max_attempts",     JOB_MAP_BRIEF, put_max_attempts },
	{ "owner",            JOB_MAP_BRIEF, put_owner },
	{ "submitted_at",     JOB_MAP_BRIEF, put_submitted_at },
	{ "due_at",           JOB_MAP_BRIEF, put_due_at },
	{ "started_at",       JOB_MAP_BRIEF, put_started_at },
	{ "ended_at",         JOB_MAP_BRIEF, put_ended_at },
	{ "elapsed_us",       JOB_MAP_BRIEF, put_elapsed },
	{ "user_us",          JOB_MAP_BRIEF, put_user },
	{ "system_us",        JOB_MAP_BRIEF, put_system },
	{ "max_rss_bytes",    JOB_MAP_BRIEF, put_max_rss },
	{ "output_bytes",     JOB_MAP_BRIEF, put_output_bytes },
	{ "error_bytes",      JOB_MAP_BRIEF, put_error_bytes },
	{ "output_dropped",   JOB_MAP_BRIEF, put_output_dropped },
	{ "stuck",            JOB_MAP_BRIEF, put_stuck },
	{ "argv",             JOB_MAP_LIST,  put_argv },
	{ "argv_cut",         JOB_MAP_LIST,  put_argv_cut },
	{ "cwd",              JOB_MAP_SHOW,  put_cwd },
	{ "umask",            JOB_MAP_SHOW,  put_umask },
	{ "timeout_ms",       JOB_MAP_SHOW,  put_timeout },
	{ "grace_ms",         JOB_MAP_SHOW,  put_grace },
	{ "max_output_bytes", JOB_MAP_SHOW,  put_max_output },
	{ "streams",          JOB_MAP_SHOW,  put_streams },
	{ "input",            JOB_MAP_SHOW,  put_input },
	{ "environment",      JOB_MAP_SHOW,  put_environment },
	{ "on_lost",          JOB_MAP_SHOW,  put_on_lost },
	{ "key",              JOB_MAP_SHOW,  put_key },
	{ "pool",             JOB_MAP_SHOW,  put_pool },
	{ "worker",           JOB_MAP_SHOW,  put_worker },
	{ "worker_id",        JOB_MAP_SHOW,  put_worker_id },
	{ "pid",              JOB_MAP_SHOW,  put_pid },
};

const char *job_map_field(size_t index, enum job_map_level *ret_level)
{
	if (index >= ARRAY_SIZE(fields))
		return NULL;
	*ret_level = fields[index].level;
	return fields[index].name;
}

/* --- */

/* A list shows the beginning: whole words up to the limit, the word that crosses it cut. */
static void cut_argv(struct view *v)
{
	size_t left = LIST_ARGV_BYTES_MAX;

	for (uint32_t i = 0; i < v->spec.argc; i++) {
		struct slice *word = &v->spec.argv[i];

		if (word->len <= left) {
			left -= word->len;
			continue;
		}
		word->len = left;
		v->spec.argc = left ? i + 1 : i;
		v->argv_cut = true;
	}
}

static void look_at_worker(struct view *v)
{
	int index;

	v->job = dispatch_find_job(v->dispatch, v->row->id);
	if (!v->job || v->job->state != JOB_RUNNING || !v->job->worker)
		return;
	v->worker = v->job->worker;
	index = worker_find_mark(v->worker, v->job->token, &v->mark);
	if (index < 0)
		v->mark = (struct mark){ 0 };
}

void job_map_append(struct buf *out, const struct dispatch *dispatch, const struct job_row *row, enum job_map_level level)
{
	struct view v = { .out = out, .row = row, .end = &row->attempt.end, .dispatch = dispatch };
	uint32_t count = 0;

	v.queue = dispatch_queue_by_id(dispatch, row->queue_id);
	if (row->state == JOB_RUNNING)
		look_at_worker(&v);
	if (level >= JOB_MAP_LIST && row->spec.data && spec_decode_front(row->spec, &v.spec, &v.argv_cut) == 0 && level == JOB_MAP_LIST)
		cut_argv(&v);
	for (size_t i = 0; i < ARRAY_SIZE(fields); i++)
		count += fields[i].level <= level;
	resp_array(out, 2 * count);
	for (size_t i = 0; i < ARRAY_SIZE(fields); i++) {
		if (fields[i].level > level)
			continue;
		resp_text(out, fields[i].name);
		fields[i].put(&v);
	}
	spec_deinit(&v.spec);
}
