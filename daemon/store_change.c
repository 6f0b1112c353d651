/* The changes (see store_change.h).
 *
 * Every change checks its conditions before its first write, so a refused request leaves nothing behind and needs no savepoint. */
#include "store_change.h"

#include "sql.h"
#include "store_keys.h"
#include "store_read.h"
#include "store_tally.h"
#include "store_turn.h"

#define HOUR_MS UINT64_C(3600000)
#define CLEAN_NS 1000000  /* of one removal, so that nobody behind it waits for long */
#define REMOVALS_PER_LOOK 8
#define FREE_PAGES_KEPT 4096 /* 16 MiB */
#define FREE_PAGES_STEP 64   /* each takes some 20 microseconds, and a few pages of the WAL */
#define INPUT_MS HOUR_MS /* inputs that no job names (design section 9) */

/* What changes in a job's life, as stored: read, changed here, written back with save_record(). */
struct record {
	uint64_t id;
	uint32_t queue_id;
	enum job_state state, stored_state;
	enum outcome outcome, stored_outcome;
	int32_t priority;
	bool cancelling;
	uint32_t max_attempts;
	uint32_t attempt;           /* the last one that has ended */
	uint64_t due_ms, due_wall_ms, finished_clock;
	bool set_cancelled_by;
	struct slice cancelled_by;  /* borrowed */
	uint64_t environment_id, input_id;
	bool has_key;
	/* JOB_RUNNING only */
	uint32_t number;
	uint64_t worker_id;
	uint8_t token[TOKEN_BYTES];
};

/* --- one job --- */

static int load_record(struct ops *ops, uint64_t job_id, bool *ret_found, struct record *ret_record)
{
	sqlite3_stmt *s = sql_get(&ops->db, SQL_JOB_RECORD);
	int code;

	sql_put(s, 1, job_id);
	code = sqlite3_step(s);
	*ret_found = code == SQLITE_ROW;
	if (*ret_found) {
		*ret_record = (struct record){
			.id = job_id,
			.queue_id = (uint32_t)sql_uint(s, 0),
			.state = (enum job_state)sql_uint(s, 1),
			.priority = (int32_t)sqlite3_column_int64(s, 2),
			.outcome = (enum outcome)sql_uint(s, 3),
			.max_attempts = (uint32_t)sql_uint(s, 4),
			.due_ms = sql_uint(s, 5),
			.due_wall_ms = sql_uint(s, 6),
			.finished_clock = sql_uint(s, 7),
			.attempt = (uint32_t)sql_uint(s, 8),
			.environment_id = sql_uint(s, 9),
			.input_id = sql_uint(s, 10),
			.has_key = sql_uint(s, 11),
			.number = (uint32_t)sql_uint(s, 12),
			.worker_id = sql_uint(s, 13),
			.cancelling = sql_uint(s, 14),
		};
		if (ret_record->number) {
			ret_record->state = JOB_RUNNING;
			sql_copy(s, 15, ret_record->token, TOKEN_BYTES);
		}
		ret_record->stored_state = ret_record->state;
		ret_record->stored_outcome = ret_record->outcome;
	}
	return sql_end(s, code);
}

/* Counts, totals and the key's time follow a job over the line between unfinished and done, either way. */
static int follow_step(struct ops *ops, const struct record *record)
{
	bool was_done = record->stored_state == JOB_DONE, is_done = record->state == JOB_DONE;
	int code = tally_job(ops, record->queue_id, record->stored_state, -1);

	if (code == SQLITE_OK)
		code = tally_job(ops, record->queue_id, record->state, 1);
	if (code == SQLITE_OK && was_done)
		code = tally_total(ops, record->queue_id, record->stored_outcome, -1);
	if (code == SQLITE_OK && is_done)
		code = tally_total(ops, record->queue_id, record->outcome, 1);
	if (code == SQLITE_OK && was_done != is_done && record->has_key)
		code = keys_set_times(ops, record->id, is_done);
	return code;
}

static int save_job(struct ops *ops, const struct record *record)
{
	sqlite3_stmt *s = sql_get(&ops->db, SQL_JOB_SAVE);

	sql_put(s, 1, record->id);
	sql_put(s, 2, record->state == JOB_RUNNING ? JOB_READY : record->state);
	sql_put(s, 3, (uint64_t)(int64_t)record->priority);
	sql_put(s, 4, record->state == JOB_DONE ? record->outcome : OUTCOME_NONE);
	sql_put(s, 5, record->max_attempts);
	sql_put(s, 6, record->due_ms);
	sql_put(s, 7, record->due_wall_ms);
	sql_put(s, 8, record->finished_clock);
	sql_put(s, 9, record->attempt);
	sql_put(s, 10, record->set_cancelled_by);
	sql_put_slice(s, 11, record->cancelled_by);
	return sql_run(s);
}

static int save_running(struct ops *ops, const struct record *record)
{
	sqlite3_stmt *s = sql_get(&ops->db, record->state == JOB_RUNNING ? SQL_RUNNING_CANCEL : SQL_RUNNING_DELETE);

	sql_put(s, 1, record->id);
	if (record->state == JOB_RUNNING)
		sql_put(s, 2, record->cancelling);
	return sql_run(s);
}

/* All but the beginning of an attempt. */
static int save_record(struct ops *ops, struct record *record)
{
	int code = SQLITE_OK;

	if (record->stored_state != JOB_DONE)
		record->finished_clock = ops->server.clock_ms;
	if (record->stored_state == JOB_RUNNING)
		code = save_running(ops, record);
	if (code == SQLITE_OK)
		code = save_job(ops, record);
	return code == SQLITE_OK ? follow_step(ops, record) : code;
}

/* The job whose running attempt has this token; else -ESTALE. */
static int load_running(struct ops *ops, struct store_request *request, uint64_t job_id, uint32_t number,
			const uint8_t token[TOKEN_BYTES], struct record *ret_record)
{
	bool found;
	int code = load_record(ops, job_id, &found, ret_record);

	if (!found || ret_record->state != JOB_RUNNING || ret_record->number != number ||
	    memcmp(ret_record->token, token, TOKEN_BYTES) != 0)
		request->status = -ESTALE;
	return code;
}

/* --- the changes --- */

/* Is the key known? Then the request is answered with -EEXIST. */
int change_find_key(struct ops *ops, struct store_request *request)
{
	__typeof__(request->u.insert) *insert = &request->u.insert;
	bool found;
	int code = keys_find(ops, &insert->row, insert->spec_hash, &found, &insert->existing_id, &insert->same);

	if (code == SQLITE_OK && found)
		request->status = -EEXIST;
	return code;
}

/* Does @owner have such an environment, or input? id 0 always exists. */
static int check_known(struct ops *ops, enum statement statement, uint64_t id, struct slice owner, struct store_request *request)
{
	sqlite3_stmt *s = sql_get(&ops->db, statement);
	bool found;
	int code;

	if (!id || request->status < 0)
		return SQLITE_OK;
	sql_put(s, 1, id);
	sql_put_filled(s, 2, owner);
	code = sql_first(s, &found, NULL);
	if (!found)
		request->status = -ENOENT;
	return code;
}

/* The parameters of one row, behind those of @before other rows. */
static void put_job(const struct ops *ops, sqlite3_stmt *s, int before, const struct job_row *row)
{
	int at = before * JOB_INSERT_PARAMETERS;

	sql_put(s, ++at, row->id);
	sql_put(s, ++at, row->queue_id);
	sql_put(s, ++at, (uint64_t)(int64_t)row->priority);
	sql_put(s, ++at, row->gate);
	sql_put(s, ++at, row->state);
	sql_put(s, ++at, row->on_lost);
	sql_put(s, ++at, row->max_attempts);
	sql_put(s, ++at, row->retries);
	sql_put(s, ++at, row->environment_id);
	sql_put(s, ++at, row->input_id);
	sql_put(s, ++at, row->submitted_wall_ms);
	sql_put(s, ++at, row->due_ms);
	sql_put(s, ++at, row->due_wall_ms);
	sql_put(s, ++at, ops->server.clock_ms);
	sql_put_slice(s, ++at, row->name);
	sql_put_slice(s, ++at, row->owner);
	sql_put_slice(s, ++at, keys_are_ours(row->key) ? (struct slice){ NULL, 0 } : row->key);
	sql_put_filled(s, ++at, (struct slice){ row->spec.data, MIN(row->spec.len, STORE_LIST_SPEC_BYTES) });
	assert(at == (before + 1) * JOB_INSERT_PARAMETERS);
}

int change_flush_inserts(struct ops *ops)
{
	int count = (int)ops->insert_count, step = count == JOBS_INSERT_ROWS ? count : 1, code = SQLITE_OK;

	for (int first = 0; code == SQLITE_OK && first < count; first += step) {
		sqlite3_stmt *s = sql_get(&ops->db, step == 1 ? SQL_JOB_INSERT : SQL_JOBS_INSERT);

		for (int i = 0; i < step; i++)
			put_job(ops, s, i, ops->inserts[first + i]);
		code = sql_run(s);
	}
	ops->insert_count = 0;
	return code;
}

/* Jobs that follow one another are written together. */
static int insert_job(struct ops *ops, const struct job_row *row)
{
	ops->inserts[ops->insert_count++] = row;
	return ops->insert_count == JOBS_INSERT_ROWS ? change_flush_inserts(ops) : SQLITE_OK;
}

static int insert_spec_tail(struct ops *ops, const struct job_row *row)
{
	sqlite3_stmt *s = sql_get(&ops->db, SQL_TAIL_INSERT);

	if (row->spec.len <= STORE_LIST_SPEC_BYTES)
		return SQLITE_OK;
	sql_put(s, 1, row->id);
	sql_put_bytes(s, 2, row->spec.data + STORE_LIST_SPEC_BYTES, row->spec.len - STORE_LIST_SPEC_BYTES);
	return sql_run(s);
}

static int use_input(struct ops *ops, uint64_t id, int jobs)
{
	sqlite3_stmt *s = sql_get(&ops->db, SQL_INPUT_USE);

	if (!id)
		return SQLITE_OK;
	sql_put(s, 1, id);
	sql_put(s, 2, (uint64_t)(int64_t)jobs);
	sql_put(s, 3, ops->server.clock_ms);
	return sql_run(s);
}

int change_insert_job(struct ops *ops, struct store_request *request)
{
	const struct job_row *row = &request->u.insert.row;
	int code = SQLITE_OK;

	assert(row->id && row->id <= JOB_ID_MAX && row->state < JOB_RUNNING);
	/* Also for one that is not inserted: the loop has counted on. */
	ops->server.next_job_id = MAX(ops->server.next_job_id, row->id + 1);
	if (row->key.data)
		code = change_find_key(ops, request);
	if (code == SQLITE_OK && !tally_knows_environment(ops, row->environment_id, row->owner))
		code = check_known(ops, SQL_ENVIRONMENT_KNOWN, row->environment_id, row->owner, request);
	if (code == SQLITE_OK)
		code = check_known(ops, SQL_INPUT_KNOWN, row->input_id, row->owner, request);
	if (code != SQLITE_OK || request->status < 0)
		return code;

	code = insert_job(ops, row);
	if (code == SQLITE_OK)
		code = insert_spec_tail(ops, row);
	if (code == SQLITE_OK)
		code = keys_insert(ops, row, request->u.insert.spec_hash);
	if (code == SQLITE_OK)
		code = use_input(ops, row->input_id, 1);
	if (code == SQLITE_OK)
		code = tally_environment(ops, row->environment_id, row->owner, 1);
	return code == SQLITE_OK ? tally_job(ops, row->queue_id, row->state, 1) : code;
}

/* What a start needs of the job's row. request->status -ESTALE: it is not ready. */
static int load_start(struct ops *ops, struct store_request *request, uint32_t *ret_queue_id)
{
	__typeof__(request->u.start) *start = &request->u.start;
	sqlite3_stmt *s = sql_get(&ops->db, SQL_JOB_START);
	int code, result = SQLITE_OK;

	sql_put(s, 1, start->job_id);
	code = sqlite3_step(s);
	if (code != SQLITE_ROW || sql_uint(s, 1) != JOB_READY) {
		request->status = -ESTALE;
		return sql_end(s, code);
	}
	*ret_queue_id = (uint32_t)sql_uint(s, 0);
	if (start->want_spec)
		result = read_spec(&ops->db, start->job_id, sql_bytes(s, 2), &start->spec);
	code = sql_end(s, code);
	return code != SQLITE_OK ? code : result;
}

int change_start_attempt(struct ops *ops, struct store_request *request)
{
	__typeof__(request->u.start) *start = &request->u.start;
	uint32_t queue_id = 0;
	int code = load_start(ops, request, &queue_id);
	sqlite3_stmt *s;

	if (code == SQLITE_OK && request->status == 0 && start->want_environment)
		code = read_environment(&ops->db, start->want_environment, &start->environment);
	if (code != SQLITE_OK || request->status < 0)
		return code;
	s = sql_get(&ops->db, SQL_RUNNING_INSERT);
	sql_put(s, 1, start->job_id);
	sql_put(s, 2, start->number);
	sql_put(s, 3, start->worker_id);
	sql_put(s, 4, ops->server.epoch);
	sql_put_bytes(s, 5, start->token, TOKEN_BYTES);
	code = sql_run(s);
	if (code != SQLITE_OK)
		return code;
	if (!sqlite3_changes(ops->db.handle)) { /* it runs already */
		request->status = -ESTALE;
		return SQLITE_OK;
	}
	code = tally_job(ops, queue_id, JOB_READY, -1);
	return code == SQLITE_OK ? tally_job(ops, queue_id, JOB_RUNNING, 1) : code;
}

int change_unstart_attempt(struct ops *ops, struct store_request *request)
{
	__typeof__(request->u.unstart) *unstart = &request->u.unstart;
	struct record record;
	int code = load_running(ops, request, unstart->job_id, unstart->number, unstart->token, &record);

	if (code != SQLITE_OK || request->status < 0)
		return code;
	record.state = unstart->to;
	record.outcome = unstart->outcome;
	record.set_cancelled_by = unstart->cancelled_by.data;
	record.cancelled_by = unstart->cancelled_by;
	return save_record(ops, &record); /* the number is given out again: only an attempt that ended counts */
}

static int insert_attempt(struct ops *ops, const struct record *record, const struct attempt_end *end)
{
	sqlite3_stmt *s = sql_get(&ops->db, record->attempt ? SQL_LATER_ATTEMPT_INSERT : SQL_ATTEMPT_INSERT);
	uint8_t packed[ENDING_BYTES_MAX];

	sql_put(s, 1, record->id);
	sql_put(s, 2, record->number);
	sql_put(s, 3, record->worker_id);
	sql_put_bytes(s, 4, record->token, TOKEN_BYTES);
	sql_put_bytes(s, 5, packed, ending_pack(end, packed));
	return sql_run(s);
}

static int insert_output(struct ops *ops, const struct record *record, const struct slice output[2])
{
	sqlite3_stmt *s = sql_get(&ops->db, record->attempt ? SQL_LATER_OUTPUT_INSERT : SQL_OUTPUT_INSERT);

	if (!output[0].len && !output[1].len)
		return SQLITE_OK;
	sql_put(s, 1, record->id);
	sql_put(s, 2, record->number);
	sql_put_filled(s, 3, output[0]);
	sql_put_filled(s, 4, output[1]);
	return sql_run(s);
}

int change_end_attempt(struct ops *ops, struct store_request *request)
{
	__typeof__(request->u.end) *end = &request->u.end;
	struct record record;
	int code = load_running(ops, request, end->job_id, end->number, end->token, &record);

	if (code != SQLITE_OK || request->status < 0)
		return code;
	code = insert_attempt(ops, &record, &end->end);
	if (code == SQLITE_OK)
		code = insert_output(ops, &record, end->output);
	if (code != SQLITE_OK)
		return code;
	record.state = end->to;
	record.attempt = end->number;
	record.outcome = (enum outcome)end->end.outcome;
	record.due_ms = end->due_ms;
	record.due_wall_ms = end->due_wall_ms;
	return save_record(ops, &record);
}

int change_update_job(struct ops *ops, struct store_request *request)
{
	__typeof__(request->u.update) *update = &request->u.update;
	struct record record;
	bool found;
	int code = load_record(ops, update->job_id, &found, &record);

	if (code != SQLITE_OK || !found || record.state != update->from) {
		request->status = -ESTALE;
		return code;
	}
	/* No token: an attempt begins and ends with the ops of its own. */
	assert((update->from == JOB_RUNNING) == (update->to == JOB_RUNNING));
	record.state = update->to;
	record.priority = update->priority;
	record.outcome = update->outcome;
	record.cancelling = update->cancelling;
	record.due_ms = update->due_ms;
	record.due_wall_ms = update->due_wall_ms;
	if (update->max_attempts)
		record.max_attempts = update->max_attempts;
	/* A job that is done and runs again is not the cancelled one any more. */
	record.set_cancelled_by = update->cancelled_by.data || (update->from == JOB_DONE && update->to != JOB_DONE);
	record.cancelled_by = update->cancelled_by;
	return save_record(ops, &record);
}

/* --- removal --- */

struct files {
	struct store_file *files;
	size_t count, cap;
};

static int append_file(struct files *files, struct store_file file)
{
	if (files->count == files->cap) {
		size_t cap = files->cap ? files->cap * 2 : 16;
		struct store_file *grown = realloc(files->files, cap * sizeof(*grown));

		if (!grown)
			return SQLITE_NOMEM;
		files->files = grown;
		files->cap = cap;
	}
	files->files[files->count++] = file;
	return SQLITE_OK;
}

static int collect_output_files(struct ops *ops, uint64_t job_id, struct files *files)
{
	sqlite3_stmt *s = sql_get(&ops->db, SQL_ATTEMPTS);
	struct attempt_end end;
	int code, result = SQLITE_OK;

	sql_put(s, 1, job_id);
	while (result == SQLITE_OK && (code = sqlite3_step(s)) == SQLITE_ROW) {
		ending_unpack(sql_bytes(s, 1), &end);
		if (end.output_files)
			result = append_file(files, (struct store_file){ .job_id = job_id, .attempt = (uint32_t)sql_uint(s, 0),
									 .output_files = end.output_files });
	}
	code = sql_end(s, code);
	return code != SQLITE_OK ? code : result;
}

static int run_for(struct ops *ops, enum statement statement, uint64_t id)
{
	sqlite3_stmt *s = sql_get(&ops->db, statement);

	sql_put(s, 1, id);
	return sql_run(s);
}

/* The last job that names an input takes it along: nobody else can name it without asking for it again. */
static int release_input(struct ops *ops, uint64_t id, struct files *files)
{
	int code = use_input(ops, id, -1);

	if (code != SQLITE_OK || !id)
		return code;
	code = run_for(ops, SQL_INPUT_DELETE_UNUSED, id);
	if (code == SQLITE_OK && sqlite3_changes(ops->db.handle))
		code = append_file(files, (struct store_file){ .input_id = id });
	return code;
}

/* Totals stay: they count jobs of all time. The key stays too: P2. */
static int remove_job(struct ops *ops, const struct record *record, struct files *files)
{
	static const struct {
		enum statement statement;
		uint32_t attempts_min;
	} deletes[] = { { SQL_ATTEMPT_DELETE, 1 }, { SQL_LATER_ATTEMPTS_DELETE, 2 }, { SQL_OUTPUT_DELETE, 1 },
			{ SQL_LATER_OUTPUTS_DELETE, 2 }, { SQL_TAIL_DELETE, 0 }, { SQL_JOB_DELETE, 0 } };
	int code = record->attempt ? collect_output_files(ops, record->id, files) : SQLITE_OK;

	for (size_t i = 0; code == SQLITE_OK && i < ARRAY_SIZE(deletes); i++)
		if (record->attempt >= deletes[i].attempts_min)
			code = run_for(ops, deletes[i].statement, record->id);
	if (code == SQLITE_OK)
		code = release_input(ops, record->input_id, files);
	if (code == SQLITE_OK)
		code = keys_outlive(ops, record->id, record->finished_clock);
	if (code == SQLITE_OK)
		code = tally_environment(ops, record->environment_id, (struct slice){ NULL, 0 }, -1);
	return code == SQLITE_OK ? tally_job(ops, record->queue_id, JOB_DONE, -1) : code;
}

int change_remove_jobs(struct ops *ops, struct store_request *request)
{
	__typeof__(request->u.remove) *removal = &request->u.remove;
	struct files files = { NULL, 0, 0 };
	int code = SQLITE_OK;

	removal->gone = calloc(removal->count, sizeof(*removal->gone));
	if (!removal->gone)
		return SQLITE_NOMEM;
	for (size_t i = 0; code == SQLITE_OK && i < removal->count; i++) {
		struct record record = { 0 };
		bool found = false;

		code = load_record(ops, removal->ids[i], &found, &record);
		if (code != SQLITE_OK || !found || record.state != JOB_DONE)
			continue;
		code = remove_job(ops, &record, &files);
		removal->gone[removal->removed++] = (struct store_gone){ record.id, record.queue_id };
	}
	removal->files = files.files;
	removal->file_count = files.count;
	return code;
}

/* Ids of the next jobs to go, by age. Collected first: a statement must not walk an index that is being changed. */
static int collect_finished(struct ops *ops, struct store_request *request)
{
	__typeof__(request->u.clean) *clean = &request->u.clean;
	sqlite3_stmt *s = sql_get(&ops->db, SQL_JOBS_FINISHED);
	size_t examined = 0, limit = clean->limit ? MIN(clean->limit, STORE_ROWS_MAX) : STORE_ROWS_MAX;
	int code;

	clean->next = clean->from;
	sql_put(s, 1, clean->from.finished_ms);
	sql_put(s, 2, clean->from.id);
	sql_put(s, 3, clean->filter.finished_before_ms ? clean->filter.finished_before_ms : INT64_MAX);
	while ((code = sqlite3_step(s)) == SQLITE_ROW) {
		clean->more = clean->count == limit || examined++ == STORE_SCAN_MAX;
		if (clean->more)
			break;
		clean->next = (struct clean_cursor){ sql_uint(s, SCAN_FINISHED_CLOCK), sql_uint(s, SCAN_ID) };
		if (read_filter_matches(&clean->filter, s))
			clean->ids[clean->count++] = clean->next.id;
	}
	return sql_end(s, code);
}

int change_clean(struct ops *ops, struct store_request *request)
{
	__typeof__(request->u.clean) *clean = &request->u.clean;
	struct turn turn = turn_begin(CLEAN_NS, REMOVALS_PER_LOOK);
	struct files files = { NULL, 0, 0 };
	int code;

	clean->ids = calloc(STORE_ROWS_MAX, sizeof(*clean->ids));
	clean->gone = calloc(STORE_ROWS_MAX, sizeof(*clean->gone));
	if (!clean->ids || !clean->gone)
		return SQLITE_NOMEM;
	code = collect_finished(ops, request);
	for (size_t i = 0; code == SQLITE_OK && i < clean->count; i++) {
		struct record record = { 0 };
		bool found = false;

		code = load_record(ops, clean->ids[i], &found, &record);
		if (code == SQLITE_OK)
			code = remove_job(ops, &record, &files);
		clean->gone[clean->removed++] = (struct store_gone){ record.id, record.queue_id };
		if (turn_is_over(&turn) && i + 1 < clean->count) {
			clean->next = (struct clean_cursor){ record.finished_clock, record.id };
			clean->more = true;
			break;
		}
	}
	clean->files = files.files;
	clean->file_count = files.count;
	return code;
}

/* --- queues, environments, inputs --- */

int change_put_queue(struct ops *ops, struct store_request *request)
{
	const struct queue_row *row = &request->u.queue.row;
	sqlite3_stmt *s = sql_get(&ops->db, SQL_QUEUE_OTHER);
	bool found;
	int code;

	sqlite3_bind_text(s, 1, row->name, -1, SQLITE_STATIC);
	sql_put(s, 2, row->id);
	code = sql_first(s, &found, NULL);
	if (code != SQLITE_OK || found) {
		request->status = -EEXIST;
		return code;
	}
	s = sql_get(&ops->db, SQL_QUEUE_PUT);
	sql_put(s, 1, row->id);
	sqlite3_bind_text(s, 2, row->name, -1, SQLITE_STATIC);
	sql_put(s, 3, row->paused);
	return sql_run(s);
}

/* FNV-1a, to find a block again; equality is decided by its bytes. */
static uint64_t hash_of(struct slice bytes)
{
	uint64_t hash = UINT64_C(0xcbf29ce484222325);

	for (size_t i = 0; i < bytes.len; i++)
		hash = (hash ^ (uint8_t)bytes.data[i]) * UINT64_C(0x100000001b3);
	return hash;
}

static int insert_environment(struct ops *ops, struct store_request *request, uint64_t hash)
{
	__typeof__(request->u.environment) *environment = &request->u.environment;
	sqlite3_stmt *s = sql_get(&ops->db, SQL_ENVIRONMENT_INSERT);
	int code;

	environment->id = ops->server.next_environment_id++;
	sql_put(s, 1, environment->id);
	sql_put_filled(s, 2, environment->owner);
	sql_put(s, 3, hash);
	sql_put(s, 4, ops->server.clock_ms);
	code = sql_run(s);
	if (code != SQLITE_OK)
		return code;
	s = sql_get(&ops->db, SQL_BLOCK_INSERT);
	sql_put(s, 1, environment->id);
	sql_put_filled(s, 2, environment->block);
	return sql_run(s);
}

int change_put_environment(struct ops *ops, struct store_request *request)
{
	__typeof__(request->u.environment) *environment = &request->u.environment;
	sqlite3_stmt *s = sql_get(&ops->db, SQL_ENVIRONMENT_FIND);
	uint64_t hash = hash_of(environment->block);
	bool found;
	int code;

	sql_put(s, 1, hash);
	sql_put_filled(s, 2, environment->owner);
	sql_put_filled(s, 3, environment->block);
	code = sql_first(s, &found, &environment->id);
	if (code != SQLITE_OK)
		return code;
	return found ? tally_environment(ops, environment->id, environment->owner, 0) : insert_environment(ops, request, hash);
}

int change_new_input(struct ops *ops, struct store_request *request)
{
	__typeof__(request->u.input) *input = &request->u.input;
	sqlite3_stmt *s = sql_get(&ops->db, SQL_INPUT_INSERT);

	input->id = ops->server.next_input_id++;
	sql_put(s, 1, input->id);
	sql_put_filled(s, 2, input->owner);
	sql_put(s, 3, ops->server.clock_ms);
	return sql_run(s);
}

/* --- the sweep --- */

/* Ids of up to @limit rows that nobody has used for so long. */
static int collect_unused(struct ops *ops, enum statement statement, uint64_t age_ms, size_t limit, uint64_t ids[], size_t *ret_count)
{
	sqlite3_stmt *s = sql_get(&ops->db, statement);
	int code;

	*ret_count = 0;
	sql_put(s, 1, ops->server.clock_ms - age_ms);
	sql_put(s, 2, limit);
	while ((code = sqlite3_step(s)) == SQLITE_ROW)
		ids[(*ret_count)++] = sql_uint(s, 0);
	return sql_end(s, code);
}

static int sweep_environments(struct ops *ops, size_t *room)
{
	uint64_t ids[STORE_ROWS_MAX];
	size_t count;
	int code = collect_unused(ops, SQL_ENVIRONMENTS_UNUSED, STORE_ENVIRONMENT_MS, *room, ids, &count);

	for (size_t i = 0; code == SQLITE_OK && i < count; i++) {
		code = run_for(ops, SQL_ENVIRONMENT_DELETE, ids[i]);
		if (code == SQLITE_OK)
			code = run_for(ops, SQL_BLOCK_DELETE, ids[i]);
	}
	*room -= count;
	return code;
}

static int sweep_inputs(struct ops *ops, size_t *room, struct files *files)
{
	uint64_t ids[STORE_ROWS_MAX];
	size_t count;
	int code = collect_unused(ops, SQL_INPUTS_UNUSED, INPUT_MS, *room, ids, &count);

	for (size_t i = 0; code == SQLITE_OK && i < count; i++) {
		code = append_file(files, (struct store_file){ .input_id = ids[i] });
		if (code == SQLITE_OK)
			code = run_for(ops, SQL_INPUT_DELETE_UNUSED, ids[i]);
	}
	*room -= count;
	return code;
}

/* When the next row of each kind will be due; 0 = there is none. */
static int next_sweep(struct ops *ops, uint64_t *ret_next_ms)
{
	static const struct {
		enum statement statement;
		uint64_t after_ms;
	} kinds[] = { { SQL_ENVIRONMENTS_NEXT, STORE_ENVIRONMENT_MS }, { SQL_INPUTS_NEXT, INPUT_MS }, { SQL_KEYS_NEXT, 0 }, { SQL_RUNS_NEXT, 0 } };
	uint64_t next_ms = 0, at_ms = 0;

	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		bool found;
		int code = sql_first(sql_get(&ops->db, kinds[i].statement), &found, &at_ms);

		if (code != SQLITE_OK)
			return code;
		at_ms += kinds[i].after_ms;
		if (found && (!next_ms || at_ms < next_ms))
			next_ms = at_ms;
	}
	*ret_next_ms = next_ms;
	return SQLITE_OK;
}

/* Where much of the file is free, give its end back to the file system. Pages move for that, so it is done only after a removal that
 * was large for this file: what a steady load frees, it needs again. */
static int shorten_file(struct ops *ops, bool *ret_more)
{
	bool found;
	uint64_t free_pages = 0, pages = 0;
	int code = sql_first(sql_get(&ops->db, SQL_FREE_PAGES), &found, &free_pages);

	*ret_more = false;
	if (code == SQLITE_OK && free_pages > FREE_PAGES_KEPT)
		code = sql_first(sql_get(&ops->db, SQL_PAGES), &found, &pages);
	if (code != SQLITE_OK || free_pages <= FREE_PAGES_KEPT || free_pages < pages / 4)
		return code;
	*ret_more = true;
	return schema_shorten(&ops->db, FREE_PAGES_STEP);
}

int change_sweep(struct ops *ops, struct store_request *request)
{
	__typeof__(request->u.sweep) *sweep = &request->u.sweep;
	struct files files = { NULL, 0, 0 };
	size_t room = STORE_ROWS_MAX;
	bool more_free = false;
	int code = tally_flush_environments(ops); /* what this batch has used is used */

	if (code == SQLITE_OK)
		code = sweep_environments(ops, &room);
	if (code == SQLITE_OK)
		code = sweep_inputs(ops, &room, &files);
	if (code == SQLITE_OK)
		code = keys_sweep(ops, &room);
	if (code == SQLITE_OK)
		code = next_sweep(ops, &sweep->next_ms);
	if (code == SQLITE_OK)
		code = shorten_file(ops, &more_free);
	sweep->more = room == 0 || more_free;
	sweep->files = files.files;
	sweep->file_count = files.count;
	return code;
}
