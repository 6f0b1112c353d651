/* Reading jobs, windows and output (see store_read.h). No read examines more than a bounded number of rows. */
#include "store_read.h"

#include "sql.h"

static void slice_free(struct slice *s)
{
	free((char *)s->data);
	*s = (struct slice){ NULL, 0 };
}

void job_row_deinit(struct job_row *row)
{
	slice_free(&row->name);
	slice_free(&row->owner);
	slice_free(&row->key);
	slice_free(&row->cancelled_by);
	slice_free(&row->spec);
}

void job_rows_free(struct job_row *rows, size_t count)
{
	for (size_t i = 0; i < count; i++)
		job_row_deinit(&rows[i]);
	free(rows);
}

/* A heap copy; NULL stays NULL, no bytes are not NULL. */
static int copy_bytes(struct slice bytes, struct slice *ret_copy)
{
	char *copy;

	*ret_copy = (struct slice){ NULL, 0 };
	if (!bytes.data)
		return SQLITE_OK;
	copy = slice_dup(bytes);
	if (!copy)
		return SQLITE_NOMEM;
	*ret_copy = (struct slice){ copy, bytes.len };
	return SQLITE_OK;
}

static int join_bytes(struct slice head, struct slice tail, struct slice *ret_whole)
{
	char *whole = malloc(head.len + tail.len + 1);

	if (!whole)
		return SQLITE_NOMEM;
	if (head.len)
		memcpy(whole, head.data, head.len);
	if (tail.len)
		memcpy(whole + head.len, tail.data, tail.len);
	*ret_whole = (struct slice){ whole, head.len + tail.len };
	return SQLITE_OK;
}

int read_spec(struct database *db, uint64_t job_id, struct slice head, struct slice *ret_spec)
{
	sqlite3_stmt *s = sql_get(db, SQL_TAIL_LOAD);
	int code, result;

	if (head.len < STORE_LIST_SPEC_BYTES)
		return copy_bytes(head, ret_spec);
	sql_put(s, 1, job_id);
	code = sqlite3_step(s);
	result = join_bytes(head, code == SQLITE_ROW ? sql_bytes(s, 0) : (struct slice){ NULL, 0 }, ret_spec);
	code = sql_end(s, code);
	return code != SQLITE_OK ? code : result;
}

/* First column of a statement that finds one row or none. */
static int read_bytes(sqlite3_stmt *s, struct slice *ret_bytes)
{
	int code = sqlite3_step(s), result = SQLITE_OK;

	*ret_bytes = (struct slice){ NULL, 0 };
	if (code == SQLITE_ROW)
		result = copy_bytes(sql_bytes(s, 0), ret_bytes);
	code = sql_end(s, code);
	return code != SQLITE_OK ? code : result;
}

int read_environment(struct database *db, uint64_t id, struct slice *ret_block)
{
	sqlite3_stmt *s = sql_get(db, SQL_BLOCK_LOAD);

	sql_put(s, 1, id);
	return read_bytes(s, ret_block);
}

size_t ending_pack(const struct attempt_end *end, uint8_t ret_packed[ENDING_BYTES_MAX])
{
	const uint8_t *bytes = (const uint8_t *)end;
	size_t n = 0;

	_Static_assert(sizeof(*end) % 8 == 0, "in eights");
	for (size_t i = 0; i < sizeof(*end); i += 8) {
		uint8_t *mask = &ret_packed[n++];

		*mask = 0;
		for (size_t k = 0; k < 8; k++) {
			if (!bytes[i + k])
				continue;
			*mask |= (uint8_t)(1u << k);
			ret_packed[n++] = bytes[i + k];
		}
	}
	return n;
}

void ending_unpack(struct slice packed, struct attempt_end *ret_end)
{
	uint8_t *bytes = (uint8_t *)ret_end;
	size_t at = 0;

	memset(ret_end, 0, sizeof(*ret_end));
	for (size_t i = 0; i < sizeof(*ret_end) && at < packed.len; i += 8) {
		uint8_t mask = (uint8_t)packed.data[at++];

		for (size_t k = 0; k < 8; k++)
			if (mask >> k & 1 && at < packed.len)
				bytes[i + k] = (uint8_t)packed.data[at++];
	}
}

/* The job's last attempt that has ended. */
static int read_attempt(struct database *db, struct job_row *row)
{
	sqlite3_stmt *s = sql_get(db, SQL_ATTEMPT_LOAD);
	int code;

	sql_put(s, 1, row->id);
	sql_put(s, 2, row->attempt.number);
	code = sqlite3_step(s);
	if (code == SQLITE_ROW) {
		row->attempt.worker_id = sql_uint(s, 0);
		sql_copy(s, 1, row->attempt.token, sizeof(row->attempt.token));
		ending_unpack(sql_bytes(s, 2), &row->attempt.end);
	}
	return sql_end(s, code);
}

static int read_words(sqlite3_stmt *s, struct job_row *row)
{
	if (copy_bytes(sql_bytes(s, COLUMN_NAME), &row->name) != SQLITE_OK ||
	    copy_bytes(sql_bytes(s, COLUMN_OWNER), &row->owner) != SQLITE_OK ||
	    copy_bytes(sql_bytes(s, COLUMN_KEY), &row->key) != SQLITE_OK ||
	    copy_bytes(sql_bytes(s, COLUMN_CANCELLED_BY), &row->cancelled_by) != SQLITE_OK)
		return SQLITE_NOMEM;
	return SQLITE_OK;
}

/* The row that @s stands on. On failure what was read so far is still @row's to free. */
static int read_job(struct database *db, sqlite3_stmt *s, unsigned parts, struct job_row *row)
{
	int code = SQLITE_OK;

	*row = (struct job_row){
		.id = sql_uint(s, COLUMN_ID),
		.queue_id = (uint32_t)sql_uint(s, COLUMN_QUEUE),
		.priority = (int32_t)sqlite3_column_int64(s, COLUMN_PRIORITY),
		.gate = (uint32_t)sql_uint(s, COLUMN_GATE),
		.state = (enum job_state)sql_uint(s, COLUMN_STATE),
		.outcome = (enum outcome)sql_uint(s, COLUMN_OUTCOME),
		.on_lost = (uint8_t)sql_uint(s, COLUMN_ON_LOST),
		.cancelling = sql_uint(s, COLUMN_CANCELLING),
		.max_attempts = (uint32_t)sql_uint(s, COLUMN_MAX_ATTEMPTS),
		.retries = (uint32_t)sql_uint(s, COLUMN_RETRIES),
		.environment_id = sql_uint(s, COLUMN_ENVIRONMENT),
		.input_id = sql_uint(s, COLUMN_INPUT),
		.submitted_wall_ms = sql_uint(s, COLUMN_SUBMITTED_WALL_MS),
		.due_ms = sql_uint(s, COLUMN_DUE_MS),
		.due_wall_ms = sql_uint(s, COLUMN_DUE_WALL_MS),
	};
	row->attempt.number = (uint32_t)sql_uint(s, COLUMN_ATTEMPT);
	if (row->state == JOB_RUNNING) {
		row->attempt.worker_id = sql_uint(s, COLUMN_WORKER);
		row->attempt.epoch = sql_uint(s, COLUMN_EPOCH);
		sql_copy(s, COLUMN_TOKEN, row->attempt.token, sizeof(row->attempt.token));
	} else if (row->attempt.number) {
		code = read_attempt(db, row);
	}
	if (code == SQLITE_OK && parts & PART_WORDS)
		code = read_words(s, row);
	if (code == SQLITE_OK && parts & (PART_SPEC | PART_SPEC_HEAD))
		code = parts & PART_SPEC ? read_spec(db, row->id, sql_bytes(s, COLUMN_SPEC), &row->spec)
					 : copy_bytes(sql_bytes(s, COLUMN_SPEC), &row->spec);
	return code;
}

static struct job_row *new_row(struct job_rows *rows)
{
	if (rows->count == rows->cap) {
		size_t cap = rows->cap ? rows->cap * 2 : 16;
		struct job_row *grown = realloc(rows->rows, cap * sizeof(*grown));

		if (!grown)
			return NULL;
		rows->rows = grown;
		rows->cap = cap;
	}
	return &rows->rows[rows->count++];
}

static int append_job(struct database *db, sqlite3_stmt *s, unsigned parts, struct job_rows *rows)
{
	struct job_row *row = new_row(rows);

	return row ? read_job(db, s, parts, row) : SQLITE_NOMEM;
}

/* Append what @s finds, at most up to @limit rows; *ret_more: it had at least one more. Resets @s. */
static int append_jobs(struct database *db, sqlite3_stmt *s, unsigned parts, size_t limit, struct job_rows *rows, bool *ret_more)
{
	int code, result = SQLITE_OK;

	*ret_more = false;
	while ((code = sqlite3_step(s)) == SQLITE_ROW) {
		*ret_more = rows->count >= limit;
		if (*ret_more)
			break;
		result = append_job(db, s, parts, rows);
		if (result != SQLITE_OK)
			break;
	}
	code = sql_end(s, code);
	return code != SQLITE_OK ? code : result;
}

static int load_job(struct database *db, uint64_t job_id, unsigned parts, bool *ret_found, struct job_row *row)
{
	sqlite3_stmt *s = sql_get(db, SQL_JOB_LOAD);
	int code, result = SQLITE_OK;

	sql_put(s, 1, job_id);
	code = sqlite3_step(s);
	*ret_found = code == SQLITE_ROW;
	if (*ret_found)
		result = read_job(db, s, parts, row);
	code = sql_end(s, code);
	return code != SQLITE_OK ? code : result;
}

int read_load_jobs(struct database *db, struct store_request *request)
{
	__typeof__(request->u.load) *load = &request->u.load;
	unsigned parts = PART_WORDS | (load->want_spec ? PART_SPEC : 0);
	int code = SQLITE_OK;
	bool found;

	load->rows = calloc(load->count + 1, sizeof(*load->rows));
	if (!load->rows)
		return SQLITE_NOMEM;
	for (size_t i = 0; code == SQLITE_OK && i < load->count; i++)
		code = load_job(db, load->ids[i], parts, &found, &load->rows[i]);
	return code;
}

int read_append(struct database *db, uint64_t job_id, unsigned parts, struct job_rows *rows)
{
	struct job_row *row = new_row(rows);
	bool found = false;
	int code;

	if (!row)
		return SQLITE_NOMEM;
	*row = (struct job_row){ 0 };
	code = load_job(db, job_id, parts, &found, row);
	if (code == SQLITE_OK && !found)
		rows->count--;
	return code;
}

static bool has_queue(const struct store_filter *filter, uint32_t queue_id)
{
	for (size_t i = 0; i < filter->queue_count; i++)
		if (filter->queue_ids[i] == queue_id)
			return true;
	return false;
}

bool read_filter_matches(const struct store_filter *filter, sqlite3_stmt *scan)
{
	return (!filter->states || filter->states >> sql_uint(scan, SCAN_STATE) & 1) &&
	       (!filter->outcomes || filter->outcomes >> sql_uint(scan, SCAN_OUTCOME) & 1) &&
	       (!filter->queue_count || has_queue(filter, (uint32_t)sql_uint(scan, SCAN_QUEUE))) &&
	       (!filter->name.data || slice_equal(filter->name, sql_bytes(scan, SCAN_NAME))) &&
	       (!filter->owner.data || slice_equal(filter->owner, sql_bytes(scan, SCAN_OWNER)));
}

int read_load_ready(struct database *db, struct store_request *request)
{
	__typeof__(request->u.ready) *ready = &request->u.ready;
	sqlite3_stmt *s = sql_get(db, SQL_JOBS_READY_SAME);
	/* From the front: everything is below this one. */
	int64_t below = ready->after_id ? ready->after_priority : (int64_t)JOB_PRIORITY_MAX + 1;
	struct job_rows rows = { NULL, 0, 0 };
	bool more = false;
	int code = SQLITE_OK;

	if (ready->after_id) {
		sql_put(s, 1, ready->queue_id);
		sql_put(s, 2, ready->gate);
		sql_put(s, 3, (uint64_t)below);
		sql_put(s, 4, ready->after_id);
		code = append_jobs(db, s, 0, ready->limit, &rows, &more);
	}
	if (code == SQLITE_OK && !more) {
		s = sql_get(db, SQL_JOBS_READY_LOWER);
		sql_put(s, 1, ready->queue_id);
		sql_put(s, 2, ready->gate);
		sql_put(s, 3, (uint64_t)below);
		code = append_jobs(db, s, 0, ready->limit, &rows, &more);
	}
	ready->rows = rows.rows;
	ready->count = rows.count;
	ready->complete = !more;
	return code;
}

int read_load_due(struct database *db, struct store_request *request)
{
	__typeof__(request->u.due) *due = &request->u.due;
	sqlite3_stmt *s = sql_get(db, SQL_JOBS_DUE);
	struct job_rows rows = { NULL, 0, 0 };
	int code, result = SQLITE_OK;

	due->complete = true;
	while (result == SQLITE_OK && (code = sqlite3_step(s)) == SQLITE_ROW) {
		due->complete = rows.count < due->limit;
		if (!due->complete)
			break;
		result = read_append(db, sql_uint(s, 0), 0, &rows);
	}
	code = sql_end(s, code);
	due->rows = rows.rows;
	due->count = rows.count;
	return code != SQLITE_OK ? code : result;
}

int read_load_environment(struct database *db, struct store_request *request)
{
	return read_environment(db, request->u.environment.id, &request->u.environment.block);
}

int read_load_output(struct database *db, struct store_request *request)
{
	__typeof__(request->u.output) *output = &request->u.output;
	sqlite3_stmt *s = sql_get(db, SQL_ATTEMPT_LOAD);
	bool found;
	int code, result = SQLITE_OK;

	sql_put(s, 1, output->job_id);
	sql_put(s, 2, output->number);
	code = sql_first(s, &found, NULL);
	if (code != SQLITE_OK || !found) {
		request->status = found ? 0 : -ENOENT;
		return code;
	}
	s = sql_get(db, SQL_OUTPUT_LOAD);
	sql_put(s, 1, output->job_id);
	sql_put(s, 2, output->number);
	code = sqlite3_step(s);
	for (int i = 0; code == SQLITE_ROW && result == SQLITE_OK && i < 2; i++)
		result = copy_bytes(sql_bytes(s, i), &output->output[i]);
	code = sql_end(s, code);
	return code != SQLITE_OK ? code : result;
}

static void read_queue(sqlite3_stmt *s, struct queue_row *queue)
{
	struct slice name = sql_bytes(s, 1);

	*queue = (struct queue_row){ .id = (uint32_t)sql_uint(s, 0), .paused = sql_uint(s, 2) };
	memcpy(queue->name, name.data, MIN(name.len, NAME_BYTES_MAX));
	for (int i = 0; i < JOB_STATE_MAX; i++)
		queue->count[i] = sql_uint(s, 3 + i);
	queue->succeeded = sql_uint(s, 3 + JOB_STATE_MAX);
	queue->failed = sql_uint(s, 4 + JOB_STATE_MAX);
	queue->zero_commit = sql_uint(s, 5 + JOB_STATE_MAX);
}

int read_queues(struct database *db, struct queue_row **ret_queues, size_t *ret_count)
{
	sqlite3_stmt *s = sql_get(db, SQL_QUEUES);
	struct queue_row *queues = NULL, *grown;
	size_t count = 0;
	int code, result = SQLITE_OK;

	while ((code = sqlite3_step(s)) == SQLITE_ROW) {
		grown = realloc(queues, (count + 1) * sizeof(*queues));
		if (!grown) {
			result = SQLITE_NOMEM;
			break;
		}
		queues = grown;
		read_queue(s, &queues[count++]);
	}
	code = sql_end(s, code);
	*ret_queues = queues;
	*ret_count = count;
	return code != SQLITE_OK ? code : result;
}

int read_running(struct database *db, struct job_row **ret_rows, size_t *ret_count)
{
	struct job_rows rows = { NULL, 0, 0 };
	uint64_t id = 0;
	bool found = true;
	int code = SQLITE_OK;

	while (code == SQLITE_OK && found) {
		sqlite3_stmt *s = sql_get(db, SQL_JOBS_RUNNING);

		sql_put(s, 1, id);
		code = sql_first(s, &found, &id);
		if (code == SQLITE_OK && found)
			code = read_append(db, id, PART_WORDS, &rows);
	}
	*ret_rows = rows.rows;
	*ret_count = rows.count;
	return code;
}
