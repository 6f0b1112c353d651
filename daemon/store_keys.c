/* Keys of submissions (see store_keys.h). */
#include "store_keys.h"

#include "sql.h"

#define HOUR_MS UINT64_C(3600000)
#define KEY_MS (7 * 24 * HOUR_MS) /* P2 */
#define CLIENT_KEY_MS HOUR_MS     /* P2, keys that our client makes */
#define RUN_JOBS_MAX STORE_ROWS_MAX
#define RUNS_PER_SWEEP_MAX 64

/* A key of our client, taken apart. */
struct own_key {
	uint8_t session[16];
	uint64_t number;
};

/* The value of a lower-case hex digit, or 16. */
static unsigned hex_value(char c)
{
	return c >= '0' && c <= '9' ? (unsigned)(c - '0') : c >= 'a' && c <= 'f' ? (unsigned)(c - 'a') + 10 : 16;
}

static bool hex_decode(const char *text, uint8_t *ret_bytes, size_t len)
{
	unsigned bad = 0;

	for (size_t i = 0; i < len; i++) {
		unsigned high = hex_value(text[2 * i]), low = hex_value(text[2 * i + 1]);

		bad |= high | low;
		ret_bytes[i] = (uint8_t)(high << 4 | low);
	}
	return bad < 16;
}

static bool parse_own_key(struct slice key, struct own_key *ret_key)
{
	static const char prefix[] = "jobpool-";
	const size_t at = sizeof(prefix) - 1, session_end = at + 2 * sizeof(ret_key->session);
	struct slice number;

	if (key.len < session_end + 2 || memcmp(key.data, prefix, at) != 0 || key.data[session_end] != '-')
		return false;
	number = (struct slice){ key.data + session_end + 1, key.len - session_end - 1 };
	return hex_decode(key.data + at, ret_key->session, sizeof(ret_key->session)) &&
	       number.data[0] != '0' && slice_to_uint(number, INT64_MAX - 1, &ret_key->number) == 0;
}

bool keys_are_ours(struct slice key)
{
	struct own_key own;

	return parse_own_key(key, &own);
}

/* --- runs --- */

static struct slice filled(struct slice owner)
{
	return owner.data ? owner : (struct slice){ "", 0 };
}

static bool is_session_of(const struct key_run *run, const struct own_key *key, struct slice owner)
{
	return memcmp(run->session, key->session, sizeof(run->session)) == 0 && slice_equal(run->owner, owner);
}

static bool contains(const struct key_run *run, uint64_t number)
{
	return number >= run->first && number - run->first < run->count;
}

/* The stored run that begins at the key or before it; job_id 0 = there is none. */
static int load_run_at(struct ops *ops, const struct own_key *key, struct slice owner, struct key_run *ret_run)
{
	sqlite3_stmt *s = sql_get(&ops->db, SQL_RUN_AT);
	int code;

	*ret_run = (struct key_run){ .owner = owner };
	memcpy(ret_run->session, key->session, sizeof(ret_run->session));
	sql_put_slice(s, 1, owner);
	sql_put_bytes(s, 2, key->session, sizeof(key->session));
	sql_put(s, 3, key->number);
	code = sqlite3_step(s);
	if (code == SQLITE_ROW) {
		ret_run->job_id = sql_uint(s, 0);
		ret_run->count = sql_uint(s, 1);
		ret_run->first = sql_uint(s, 2);
	}
	return sql_end(s, code);
}

static int find_in_runs(struct ops *ops, const struct own_key *key, struct slice owner, bool *ret_found, uint64_t *ret_job_id)
{
	struct key_run *before = NULL;
	int code;

	*ret_found = false;
	for (size_t i = ops->run_count; i-- > 0;) {
		struct key_run *run = &ops->runs[i];

		if (!is_session_of(run, key, owner))
			continue;
		if (contains(run, key->number)) {
			*ret_found = true;
			*ret_job_id = run->job_id + (key->number - run->first);
			return SQLITE_OK;
		}
		if (key->number == run->first + run->count && key->number < run->limit)
			before = run;
	}
	/* No key between a gathered run and its limit is stored. */
	if (before) {
		ops->run_before = *before;
		return SQLITE_OK;
	}
	code = load_run_at(ops, key, owner, &ops->run_before);
	if (code == SQLITE_OK && ops->run_before.job_id && contains(&ops->run_before, key->number)) {
		*ret_found = true;
		*ret_job_id = ops->run_before.job_id + (key->number - ops->run_before.first);
	}
	return code;
}

static int append_run(struct ops *ops, const struct key_run *run)
{
	struct key_run *grown;

	if (ops->run_count == ops->run_cap) {
		grown = realloc(ops->runs, (ops->run_cap * 2 + 8) * sizeof(*grown));
		if (!grown)
			return SQLITE_NOMEM;
		ops->runs = grown;
		ops->run_cap = ops->run_cap * 2 + 8;
	}
	ops->runs[ops->run_count++] = *run;
	return SQLITE_OK;
}

static int load_limit(struct ops *ops, struct key_run *run)
{
	sqlite3_stmt *s = sql_get(&ops->db, SQL_RUN_BEYOND);
	bool found;
	int code;

	sql_put_slice(s, 1, run->owner);
	sql_put_bytes(s, 2, run->session, sizeof(run->session));
	sql_put(s, 3, run->first);
	code = sql_first(s, &found, &run->limit);
	if (!found)
		run->limit = UINT64_MAX;
	return code;
}

/* Does the key, for a job of this id, go on with the run? */
static bool goes_on(const struct key_run *run, uint64_t number, uint64_t job_id)
{
	return run->job_id && number == run->first + run->count && job_id == run->job_id + run->count && run->count < RUN_JOBS_MAX;
}

static int insert_in_runs(struct ops *ops, const struct own_key *key, uint64_t job_id)
{
	struct key_run run = ops->run_before;
	int code;

	for (size_t i = ops->run_count; i-- > 0;) {
		if (ops->runs[i].job_id == run.job_id && goes_on(&ops->runs[i], key->number, job_id)) {
			ops->runs[i].count++;
			return SQLITE_OK;
		}
	}
	if (goes_on(&run, key->number, job_id)) {
		run.count++;
	} else {
		run.job_id = job_id;
		run.first = key->number;
		run.count = 1;
	}
	code = run.limit ? SQLITE_OK : load_limit(ops, &run);
	return code == SQLITE_OK ? append_run(ops, &run) : code;
}

static int put_run(struct ops *ops, const struct key_run *run)
{
	sqlite3_stmt *s = sql_get(&ops->db, SQL_RUN_PUT);

	sql_put(s, 1, run->job_id);
	sql_put(s, 2, run->count);
	sql_put(s, 3, run->first);
	sql_put(s, 4, ops->server.clock_ms + CLIENT_KEY_MS);
	sql_put_slice(s, 5, run->owner);
	sql_put_bytes(s, 6, run->session, sizeof(run->session));
	return sql_run(s);
}

int keys_flush(struct ops *ops)
{
	int code = SQLITE_OK;

	for (size_t i = 0; code == SQLITE_OK && i < ops->run_count; i++)
		code = put_run(ops, &ops->runs[i]);
	ops->run_count = 0;
	return code;
}

/* --- all keys --- */

int keys_find(struct ops *ops, const struct job_row *row, uint64_t spec_hash, bool *ret_found, uint64_t *ret_job_id, bool *ret_same)
{
	struct own_key own;
	sqlite3_stmt *s;
	int code;

	if (parse_own_key(row->key, &own)) {
		code = find_in_runs(ops, &own, filled(row->owner), ret_found, ret_job_id);
		if (*ret_found)
			*ret_same = true;
		return code;
	}
	s = sql_get(&ops->db, SQL_KEY_GET);
	sql_put_filled(s, 1, row->owner);
	sql_put_slice(s, 2, row->key);
	sql_put(s, 3, ops->server.clock_ms);
	code = sqlite3_step(s);
	*ret_found = code == SQLITE_ROW;
	if (*ret_found) {
		*ret_job_id = sql_uint(s, 0);
		*ret_same = sql_uint(s, 1) == spec_hash;
	}
	return sql_end(s, code);
}

int keys_insert(struct ops *ops, const struct job_row *row, uint64_t spec_hash)
{
	struct own_key own;
	sqlite3_stmt *s;

	if (!row->key.data)
		return SQLITE_OK;
	if (parse_own_key(row->key, &own))
		return insert_in_runs(ops, &own, row->id);
	s = sql_get(&ops->db, SQL_KEY_PUT);
	sql_put_filled(s, 1, row->owner);
	sql_put_slice(s, 2, row->key);
	sql_put(s, 3, row->id);
	sql_put(s, 4, spec_hash);
	return sql_run(s);
}

int keys_set_times(struct ops *ops, uint64_t job_id, bool done)
{
	sqlite3_stmt *s = sql_get(&ops->db, SQL_KEY_EXPIRE);

	sql_put(s, 1, job_id);
	sql_put(s, 2, done ? ops->server.clock_ms + KEY_MS : 0);
	sql_put(s, 3, done ? ops->server.clock_ms + CLIENT_KEY_MS : 0);
	return sql_run(s);
}

int keys_outlive(struct ops *ops, uint64_t job_id, uint64_t finished_clock)
{
	sqlite3_stmt *s = sql_get(&ops->db, SQL_RUN_KEEP);

	if (finished_clock + CLIENT_KEY_MS <= ops->server.clock_ms)
		return SQLITE_OK;
	sql_put(s, 1, job_id);
	sql_put(s, 2, finished_clock + CLIENT_KEY_MS);
	return sql_run(s);
}

/* --- the sweep --- */

static int collect_runs(struct ops *ops, struct key_run runs[RUNS_PER_SWEEP_MAX], size_t *room, size_t *ret_count)
{
	sqlite3_stmt *s = sql_get(&ops->db, SQL_RUNS_CHECK);
	int code = SQLITE_DONE;

	*ret_count = 0;
	sql_put(s, 1, ops->server.clock_ms);
	while (*room && *ret_count < RUNS_PER_SWEEP_MAX && (code = sqlite3_step(s)) == SQLITE_ROW) {
		struct key_run *run = &runs[(*ret_count)++];

		*run = (struct key_run){ .job_id = sql_uint(s, 0), .count = sql_uint(s, 1) };
		*room -= MIN(*room, 1 + run->count / 8); /* a job looked at costs about so much of one removed */
	}
	return sql_end(s, code);
}

/* A run with a job that is not done, or not long enough, stays for another while. */
static int sweep_run(struct ops *ops, const struct key_run *run)
{
	sqlite3_stmt *s = sql_get(&ops->db, SQL_RUN_NEEDED);
	bool needed;
	int code;

	sql_put(s, 1, run->job_id);
	sql_put(s, 2, run->job_id + run->count);
	sql_put(s, 3, ops->server.clock_ms - CLIENT_KEY_MS);
	code = sql_first(s, &needed, NULL);
	if (code != SQLITE_OK)
		return code;
	s = sql_get(&ops->db, needed ? SQL_RUN_CHECKED : SQL_RUN_DELETE);
	sql_put(s, 1, run->job_id);
	if (needed)
		sql_put(s, 2, ops->server.clock_ms + CLIENT_KEY_MS);
	return sql_run(s);
}

static int sweep_runs(struct ops *ops, size_t *room)
{
	struct key_run runs[RUNS_PER_SWEEP_MAX];
	size_t count;
	int code = collect_runs(ops, runs, room, &count);

	for (size_t i = 0; code == SQLITE_OK && i < count; i++)
		code = sweep_run(ops, &runs[i]);
	if (count == RUNS_PER_SWEEP_MAX)
		*room = 0; /* come again */
	return code;
}

int keys_sweep(struct ops *ops, size_t *room)
{
	sqlite3_stmt *s = sql_get(&ops->db, SQL_KEYS_SWEEP);
	int code = keys_flush(ops);

	if (code != SQLITE_OK)
		return code;
	sql_put(s, 1, ops->server.clock_ms);
	sql_put(s, 2, *room);
	code = sql_run(s);
	if (code != SQLITE_OK)
		return code;
	*room -= (size_t)sqlite3_changes(ops->db.handle);
	return sweep_runs(ops, room);
}
