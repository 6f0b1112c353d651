/* Schema, migrations, statements and settings of the database (see schema.h).
 *
 * A waiting job is one row of `job` and one entry of an index, spec included, unless that is long. A start touches neither: it is a row of
 * `running`, a table of a few pages, and the job's own row stays READY until the attempt has ended. `attempt` (ended ones) and `output`
 * are written once and never touched again. */
#include "schema.h"

#include <assert.h>
#include <fcntl.h>
#include <stdio.h>

#include "job.h"
#include "store.h"

#define APPLICATION_ID 0x6a6f6270 /* "jobp": tells our database from any other one */

/* The numbers below are enum job_state and enum outcome as stored; a literal lets SQLite see which partial index serves a statement. */
#define HELD "0"
#define DELAYED "1"
#define BLOCKED "2"
#define READY "3"
#define RUNNING "4"
#define DONE "5"
#define SUCCEEDED "1"
_Static_assert(JOB_HELD == 0 && JOB_DELAYED == 1 && JOB_BLOCKED == 2 && JOB_READY == 3 && JOB_RUNNING == 4 && JOB_DONE == 5,
	       "states are stored");
_Static_assert(OUTCOME_NONE == 0 && OUTCOME_SUCCEEDED == 1, "outcomes are stored");

/* Append only: number n brings a database from user_version n to n + 1. What clients send is BLOB: bytes, not text. */
static const char *const migrations[] = {
	/* The one row of the server. Ids are counted here, not by SQLite: no id is ever given out twice. The stored clock begins
	 * at one day, so that "an hour ago" needs no care; clock_wall_ms 0: there was no earlier run. */
	"CREATE TABLE server ("
	" id INTEGER PRIMARY KEY CHECK (id = 1), epoch INTEGER NOT NULL, commit_number INTEGER NOT NULL,"
	" next_job_id INTEGER NOT NULL, next_environment_id INTEGER NOT NULL, next_input_id INTEGER NOT NULL,"
	" clock_ms INTEGER NOT NULL, clock_wall_ms INTEGER NOT NULL, clock_monotonic_ms INTEGER NOT NULL, boot_id BLOB NOT NULL,"
	" boot_epoch INTEGER NOT NULL"
	") STRICT;"
	"INSERT INTO server VALUES (1, 0, 0, 1, 1, 1, 86400000, 0, 0, zeroblob(16), 0);"

	"CREATE TABLE queue ("
	" id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, paused INTEGER NOT NULL,"
	" held INTEGER NOT NULL DEFAULT 0, delayed INTEGER NOT NULL DEFAULT 0, blocked INTEGER NOT NULL DEFAULT 0,"
	" ready INTEGER NOT NULL DEFAULT 0, running INTEGER NOT NULL DEFAULT 0, done INTEGER NOT NULL DEFAULT 0,"
	" succeeded INTEGER NOT NULL DEFAULT 0, failed INTEGER NOT NULL DEFAULT 0, zero_commit INTEGER NOT NULL DEFAULT 0"
	") STRICT;"

	/* state: never RUNNING, see `running`. origin: 0 = submitted here (design section 15). attempt: number of the last one that has
	 * ended. finished_clock: of a job that is not done just a time of the same size, so that its end is written over its row in place.
	 * spec: the first STORE_LIST_SPEC_BYTES; when it has so many, spec_tail may have the rest. */
	"CREATE TABLE job ("
	" id INTEGER PRIMARY KEY, queue INTEGER NOT NULL, priority INTEGER NOT NULL, gate INTEGER NOT NULL, state INTEGER NOT NULL,"
	" outcome INTEGER NOT NULL, on_lost INTEGER NOT NULL, max_attempts INTEGER NOT NULL, retries INTEGER NOT NULL,"
	" environment INTEGER NOT NULL, input INTEGER NOT NULL, origin INTEGER NOT NULL DEFAULT 0,"
	" submitted_wall_ms INTEGER NOT NULL, due_ms INTEGER NOT NULL, due_wall_ms INTEGER NOT NULL, finished_clock INTEGER NOT NULL,"
	" attempt INTEGER NOT NULL, name BLOB, owner BLOB, key BLOB, cancelled_by BLOB, spec BLOB NOT NULL"
	") STRICT;"
	"CREATE TABLE spec_tail (job INTEGER PRIMARY KEY, tail BLOB NOT NULL) STRICT;"
	"CREATE INDEX job_ready ON job (queue, gate, priority DESC, id) WHERE state = " READY ";"
	/* OR, not IN or <: SQLite proves "state = 0" to be part of this one only. */
	"CREATE INDEX job_active ON job (state, id) WHERE state = " HELD " OR state = " DELAYED " OR state = " BLOCKED ";"
	"CREATE INDEX job_due ON job (due_ms) WHERE state = " DELAYED ";"
	"CREATE INDEX job_finished ON job (finished_clock, id) WHERE state = " DONE ";"
	/* What people look for among a million that succeeded. */
	"CREATE INDEX job_failed ON job (outcome, id) WHERE outcome > " SUCCEEDED ";"

	/* The READY jobs that have an attempt under way; epoch: of the daemon that gave it out. */
	"CREATE TABLE running ("
	" job INTEGER PRIMARY KEY, number INTEGER NOT NULL, worker INTEGER NOT NULL, epoch INTEGER NOT NULL, cancelling INTEGER NOT NULL,"
	" token BLOB NOT NULL"
	") STRICT;"
	/* ending: struct attempt_end, packed (store_read.h). The first attempt that has ended, of most jobs the only one, has a table by job
	 * alone, and so has its output: a table of rows grows at its end a page at a time, an index rewrites several pages again and again. */
	"CREATE TABLE attempt ("
	" job INTEGER PRIMARY KEY, number INTEGER NOT NULL, worker INTEGER NOT NULL, token BLOB NOT NULL, ending BLOB NOT NULL"
	") STRICT;"
	"CREATE TABLE later_attempt ("
	" job INTEGER NOT NULL, number INTEGER NOT NULL, worker INTEGER NOT NULL, token BLOB NOT NULL, ending BLOB NOT NULL,"
	" PRIMARY KEY (job, number)"
	") STRICT, WITHOUT ROWID;"
	"CREATE TABLE output (job INTEGER PRIMARY KEY, number INTEGER NOT NULL, out BLOB NOT NULL, err BLOB NOT NULL) STRICT;"
	"CREATE TABLE later_output ("
	" job INTEGER NOT NULL, number INTEGER NOT NULL, out BLOB NOT NULL, err BLOB NOT NULL, PRIMARY KEY (job, number)"
	") STRICT, WITHOUT ROWID;"

	/* expires_clock: 0 until the job is done. */
	"CREATE TABLE submit_key ("
	" owner BLOB NOT NULL, key BLOB NOT NULL, job INTEGER NOT NULL, spec_hash INTEGER NOT NULL, expires_clock INTEGER NOT NULL,"
	" PRIMARY KEY (owner, key)"
	") STRICT, WITHOUT ROWID;"
	"CREATE INDEX submit_key_expires ON submit_key (expires_clock) WHERE expires_clock > 0;"

	/* Keys that our client makes: of one session of @owner, the keys numbered from @first on are those of the @count jobs from @job on.
	 * check_clock: not before, it is looked at whether they are needed any more. */
	"CREATE TABLE key_run ("
	" job INTEGER PRIMARY KEY, count INTEGER NOT NULL, first INTEGER NOT NULL, check_clock INTEGER NOT NULL,"
	" owner BLOB NOT NULL, session BLOB NOT NULL"
	") STRICT;"
	"CREATE INDEX key_run_session ON key_run (owner, session, first);"
	"CREATE INDEX key_run_check ON key_run (check_clock);"

	/* jobs: how many rows of job name it. The block has a table of its own: the counter is written with every batch. */
	"CREATE TABLE environment ("
	" id INTEGER PRIMARY KEY, owner BLOB NOT NULL, hash INTEGER NOT NULL, used_clock INTEGER NOT NULL, jobs INTEGER NOT NULL"
	") STRICT;"
	"CREATE INDEX environment_hash ON environment (hash);"
	"CREATE INDEX environment_unused ON environment (used_clock) WHERE jobs = 0;"
	"CREATE TABLE environment_block (id INTEGER PRIMARY KEY, block BLOB NOT NULL) STRICT;"
	"CREATE TABLE input ("
	" id INTEGER PRIMARY KEY, owner BLOB NOT NULL, used_clock INTEGER NOT NULL, jobs INTEGER NOT NULL"
	") STRICT;"
	"CREATE INDEX input_unused ON input (used_clock) WHERE jobs = 0;",
};

/* A job's row with its running attempt, if there is one. */
#define FROM_JOBS " FROM job AS j LEFT JOIN running AS r ON r.job = j.id "
#define STATE "iif(r.job IS NULL, j.state, " RUNNING ")"
#define JOBS                                                                                                           \
	"SELECT j.id, j.queue, j.priority, j.gate, " STATE ", j.outcome, j.on_lost, ifnull(r.cancelling, 0), j.max_attempts,"   \
	" j.environment, j.input, j.submitted_wall_ms, j.due_ms, j.due_wall_ms, ifnull(r.number, j.attempt), r.worker, r.token,"  \
	" j.name, j.owner, j.key, j.cancelled_by, j.finished_clock, j.retries, r.epoch, j.spec" FROM_JOBS
/* What a list needs to tell whether a job matches. */
#define SCAN "SELECT j.id, j.queue, " STATE ", j.outcome, j.name, j.owner" FROM_JOBS
/* One arm of a list of active jobs: ?2 holds the bits of the states that are wanted. SQLite merges the arms by id, row by row. */
#define ARM(state, beyond) "SELECT id FROM job WHERE state = " state " AND (?2 >> " state ") & 1 AND id " beyond " ?1"
#define ACTIVE(beyond)                                                                                                 \
	ARM(HELD, beyond) " UNION ALL " ARM(DELAYED, beyond) " UNION ALL " ARM(BLOCKED, beyond)                         \
	" UNION ALL SELECT job FROM running WHERE (?2 >> " RUNNING ") & 1 AND job " beyond " ?1"
#define GROUP(beyond) "SELECT j.id" FROM_JOBS "WHERE j.state = " READY " AND j.queue = ?2 AND j.gate = ?3 AND j.priority = ?4"         \
	" AND j.id " beyond " ?1 AND r.job IS NULL"
#define GROUPS "SELECT j.id, j.queue, j.gate, j.priority" FROM_JOBS "WHERE j.state = " READY " AND r.job IS NULL "
#define FAILED(beyond) "SELECT id FROM job WHERE outcome > " SUCCEEDED " AND outcome = ?2 AND id " beyond " ?1"

/* FAIL: after an error the whole batch is rolled back, so no statement needs a way back of its own. */
#define INSERT_JOBS                                                                                                    \
	"INSERT OR FAIL INTO job (id, queue, priority, gate, state, outcome, on_lost, max_attempts, retries, environment, input,"       \
	" submitted_wall_ms, due_ms, due_wall_ms, finished_clock, attempt, name, owner, key, spec) VALUES "
#define JOB_VALUES "(?, ?, ?, ?, ?, 0, ?, ?, ?, ?, ?, ?, ?, ?, ?, 0, ?, ?, ?, ?)"

static const char *const statement_sql[] = {
	[SQL_BEGIN] = "BEGIN IMMEDIATE",
	[SQL_COMMIT] = "COMMIT",
	[SQL_SERVER_GET] = "SELECT epoch, commit_number, next_job_id, next_environment_id, next_input_id, clock_ms, clock_wall_ms,"
			   " clock_monotonic_ms, boot_id, boot_epoch FROM server",
	[SQL_SERVER_SET] = "UPDATE server SET commit_number = ?1, next_job_id = ?2, next_environment_id = ?3, next_input_id = ?4,"
			   " clock_ms = ?5, clock_wall_ms = ?6, clock_monotonic_ms = ?7",
	[SQL_SERVER_BOOT] = "UPDATE server SET epoch = ?1, boot_id = ?2, boot_epoch = ?3",
	/* ?1, ?2: monotonic and wall clock now; ?3: the old boot's monotonic clock at its last commit. No wall clock that was
	 * set while we were off makes a job wait longer than it had left. */
	[SQL_DUE_REBASE] = "UPDATE job SET due_ms = ?1 + max(0, min(due_wall_ms - ?2, due_ms - ?3)) WHERE state = " DELAYED,

	[SQL_QUEUES] = "SELECT id, name, paused, held, delayed, blocked, ready, running, done, succeeded, failed, zero_commit"
		       " FROM queue ORDER BY id",
	[SQL_QUEUE_OTHER] = "SELECT 1 FROM queue WHERE name = ?1 AND id <> ?2",
	[SQL_QUEUE_PUT] = "INSERT INTO queue (id, name, paused) VALUES (?1, ?2, ?3)"
			  " ON CONFLICT (id) DO UPDATE SET name = ?2, paused = ?3",
	/* ?9: change of the sum of the unfinished; ?10: this commit's number. */
	[SQL_QUEUE_COUNT] = "UPDATE queue SET held = held + ?1, delayed = delayed + ?2, blocked = blocked + ?3, ready = ready + ?4,"
			    " running = running + ?5, done = done + ?6, succeeded = succeeded + ?7, failed = failed + ?8,"
			    " zero_commit = iif(held + delayed + blocked + ready + running + ?9 = 0, ?10, zero_commit) WHERE id = ?11",

	[SQL_JOB_INSERT] = INSERT_JOBS JOB_VALUES,
	[SQL_JOBS_INSERT] = INSERT_JOBS JOB_VALUES ", " JOB_VALUES ", " JOB_VALUES ", " JOB_VALUES ", " JOB_VALUES ", " JOB_VALUES ", "
			    JOB_VALUES ", " JOB_VALUES,
	[SQL_JOB_RECORD] = "SELECT j.queue, j.state, j.priority, j.outcome, j.max_attempts, j.due_ms, j.due_wall_ms, j.finished_clock, j.attempt,"
			   " j.environment, j.input, j.key IS NOT NULL, r.number, r.worker, r.cancelling, r.token"
			   FROM_JOBS "WHERE j.id = ?1",
	[SQL_JOB_START] = "SELECT queue, state, spec FROM job WHERE id = ?1",
	[SQL_JOB_SAVE] = "UPDATE job SET state = ?2, priority = ?3, outcome = ?4, max_attempts = ?5, due_ms = ?6, due_wall_ms = ?7,"
			 " finished_clock = ?8, attempt = ?9, cancelled_by = iif(?10, ?11, cancelled_by) WHERE id = ?1",
	[SQL_JOB_DELETE] = "DELETE FROM job WHERE id = ?1",
	[SQL_RUNNING_INSERT] = "INSERT OR IGNORE INTO running (job, number, worker, epoch, cancelling, token) VALUES (?1, ?2, ?3, ?4, 0, ?5)",
	[SQL_RUNNING_CANCEL] = "UPDATE running SET cancelling = ?2 WHERE job = ?1",
	[SQL_RUNNING_DELETE] = "DELETE FROM running WHERE job = ?1",
	[SQL_JOB_LOAD] = JOBS "WHERE j.id = ?1",
	[SQL_SCAN_UP] = SCAN "WHERE j.id > ?1 ORDER BY j.id",
	[SQL_SCAN_DOWN] = SCAN "WHERE j.id < ?1 ORDER BY j.id DESC",
	[SQL_ACTIVE_UP] = ACTIVE(">") " ORDER BY id",
	[SQL_ACTIVE_DOWN] = ACTIVE("<") " ORDER BY id DESC",
	[SQL_GROUP_UP] = GROUP(">") " ORDER BY j.id",
	[SQL_GROUP_DOWN] = GROUP("<") " ORDER BY j.id DESC",
	[SQL_FAILED_UP] = FAILED(">") " ORDER BY id",
	[SQL_FAILED_DOWN] = FAILED("<") " ORDER BY id DESC",
	[SQL_JOBS_RUNNING] = "SELECT job FROM running WHERE job > ?1 ORDER BY job LIMIT 1",
	[SQL_JOBS_READY_SAME] = JOBS "WHERE j.state = " READY " AND j.queue = ?1 AND j.gate = ?2 AND j.priority = ?3 AND j.id > ?4"
				     " AND r.job IS NULL ORDER BY j.id",
	[SQL_JOBS_READY_LOWER] = JOBS "WHERE j.state = " READY " AND j.queue = ?1 AND j.gate = ?2 AND j.priority < ?3"
				      " AND r.job IS NULL ORDER BY j.priority DESC, j.id",
	/* The first job of the next group of a queue's ready jobs: of a lower priority under the same gate, or of a
	 * later gate; of the next queue that has one. */
	[SQL_GROUP_SAME_GATE] = GROUPS "AND j.queue = ?1 AND j.gate = ?2 AND j.priority < ?3 ORDER BY j.priority DESC, j.id LIMIT 1",
	[SQL_GROUP_NEXT_GATE] = GROUPS "AND j.queue = ?1 AND j.gate > ?2 ORDER BY j.gate, j.priority DESC, j.id LIMIT 1",
	[SQL_GROUP_NEXT_QUEUE] = GROUPS "AND j.queue > ?1 ORDER BY j.queue, j.gate, j.priority DESC, j.id LIMIT 1",
	[SQL_JOB_SUBMITTED] = "SELECT submitted_wall_ms FROM job WHERE id = ?1",
	/* Told which index: without statistics it would take job_active, and sort. */
	[SQL_JOBS_DUE] = "SELECT id FROM job INDEXED BY job_due WHERE state = " DELAYED " ORDER BY due_ms",
	[SQL_JOBS_FINISHED] = "SELECT id, queue, state, outcome, name, owner, finished_clock FROM job WHERE state = " DONE
			      " AND (finished_clock, id) > (?1, ?2) AND finished_clock < ?3 ORDER BY finished_clock, id",

	[SQL_TAIL_INSERT] = "INSERT INTO spec_tail VALUES (?1, ?2)",
	[SQL_TAIL_LOAD] = "SELECT tail FROM spec_tail WHERE job = ?1",
	[SQL_TAIL_DELETE] = "DELETE FROM spec_tail WHERE job = ?1",
	[SQL_ATTEMPT_INSERT] = "INSERT INTO attempt (job, number, worker, token, ending) VALUES (?1, ?2, ?3, ?4, ?5)",
	[SQL_LATER_ATTEMPT_INSERT] = "INSERT INTO later_attempt (job, number, worker, token, ending) VALUES (?1, ?2, ?3, ?4, ?5)",
	[SQL_ATTEMPT_LOAD] = "SELECT worker, token, ending FROM attempt WHERE job = ?1 AND number = ?2"
			     " UNION ALL SELECT worker, token, ending FROM later_attempt WHERE job = ?1 AND number = ?2",
	[SQL_ATTEMPTS] = "SELECT number, ending FROM attempt WHERE job = ?1"
			 " UNION ALL SELECT number, ending FROM later_attempt WHERE job = ?1",
	[SQL_ATTEMPT_DELETE] = "DELETE FROM attempt WHERE job = ?1",
	[SQL_LATER_ATTEMPTS_DELETE] = "DELETE FROM later_attempt WHERE job = ?1",
	[SQL_OUTPUT_INSERT] = "INSERT INTO output (job, number, out, err) VALUES (?1, ?2, ?3, ?4)",
	[SQL_LATER_OUTPUT_INSERT] = "INSERT INTO later_output (job, number, out, err) VALUES (?1, ?2, ?3, ?4)",
	[SQL_OUTPUT_LOAD] = "SELECT out, err FROM output WHERE job = ?1 AND number = ?2"
			    " UNION ALL SELECT out, err FROM later_output WHERE job = ?1 AND number = ?2",
	[SQL_OUTPUT_DELETE] = "DELETE FROM output WHERE job = ?1",
	[SQL_LATER_OUTPUTS_DELETE] = "DELETE FROM later_output WHERE job = ?1",

	[SQL_KEY_GET] = "SELECT job, spec_hash FROM submit_key WHERE owner = ?1 AND key = ?2"
			" AND (expires_clock = 0 OR expires_clock > ?3)",
	[SQL_KEY_PUT] = "INSERT OR REPLACE INTO submit_key VALUES (?1, ?2, ?3, ?4, 0)",
	/* ?2, ?3: when a key of a user's, and when one that our client made ("jobpool-...") expires. */
	[SQL_KEY_EXPIRE] = "UPDATE submit_key SET expires_clock = iif(substr(key, 1, 8) = x'6a6f62706f6f6c2d', ?3, ?2)"
			   " WHERE (owner, key) = (SELECT coalesce(owner, x''), key FROM job WHERE id = ?1) AND job = ?1",
	[SQL_KEYS_SWEEP] = "DELETE FROM submit_key WHERE (owner, key) IN (SELECT owner, key FROM submit_key"
			   " WHERE expires_clock > 0 AND expires_clock <= ?1 ORDER BY expires_clock LIMIT ?2)",
	[SQL_KEYS_NEXT] = "SELECT expires_clock FROM submit_key WHERE expires_clock > 0 ORDER BY expires_clock LIMIT 1",

	[SQL_RUN_AT] = "SELECT job, count, first FROM key_run WHERE owner = ?1 AND session = ?2 AND first <= ?3 ORDER BY first DESC LIMIT 1",
	[SQL_RUN_BEYOND] = "SELECT first FROM key_run WHERE owner = ?1 AND session = ?2 AND first > ?3 ORDER BY first LIMIT 1",
	[SQL_RUN_PUT] = "INSERT INTO key_run (job, count, first, check_clock, owner, session) VALUES (?1, ?2, ?3, ?4, ?5, ?6)"
			" ON CONFLICT (job) DO UPDATE SET count = excluded.count",
	[SQL_RUN_KEEP] = "UPDATE key_run SET check_clock = ?2 WHERE job = (SELECT max(job) FROM key_run WHERE job <= ?1) AND check_clock < ?2",
	[SQL_RUNS_CHECK] = "SELECT job, count FROM key_run WHERE check_clock <= ?1 ORDER BY check_clock",
	/* ?3: who finished later is needed. */
	[SQL_RUN_NEEDED] = "SELECT 1 FROM job WHERE id >= ?1 AND id < ?2 AND (state <> " DONE " OR finished_clock > ?3) LIMIT 1",
	[SQL_RUN_CHECKED] = "UPDATE key_run SET check_clock = ?2 WHERE job = ?1",
	[SQL_RUN_DELETE] = "DELETE FROM key_run WHERE job = ?1",
	[SQL_RUNS_NEXT] = "SELECT check_clock FROM key_run ORDER BY check_clock LIMIT 1",

	[SQL_FREE_PAGES] = "PRAGMA freelist_count",
	[SQL_PAGES] = "PRAGMA page_count",

	[SQL_ENVIRONMENT_KNOWN] = "SELECT 1 FROM environment WHERE id = ?1 AND owner = ?2",
	[SQL_ENVIRONMENT_FIND] = "SELECT e.id FROM environment AS e JOIN environment_block AS b USING (id)"
				 " WHERE e.hash = ?1 AND e.owner = ?2 AND b.block = ?3",
	[SQL_ENVIRONMENT_INSERT] = "INSERT INTO environment VALUES (?1, ?2, ?3, ?4, 0)",
	[SQL_ENVIRONMENT_USE] = "UPDATE environment SET jobs = jobs + ?2, used_clock = ?3 WHERE id = ?1",
	[SQL_ENVIRONMENTS_UNUSED] = "SELECT id FROM environment WHERE jobs = 0 AND used_clock <= ?1 ORDER BY used_clock LIMIT ?2",
	[SQL_ENVIRONMENT_DELETE] = "DELETE FROM environment WHERE id = ?1",
	[SQL_ENVIRONMENTS_NEXT] = "SELECT used_clock FROM environment WHERE jobs = 0 ORDER BY used_clock LIMIT 1",
	[SQL_BLOCK_INSERT] = "INSERT INTO environment_block VALUES (?1, ?2)",
	[SQL_BLOCK_LOAD] = "SELECT block FROM environment_block WHERE id = ?1",
	[SQL_BLOCK_DELETE] = "DELETE FROM environment_block WHERE id = ?1",

	[SQL_INPUT_KNOWN] = "SELECT 1 FROM input WHERE id = ?1 AND owner = ?2",
	[SQL_INPUT_INSERT] = "INSERT INTO input VALUES (?1, ?2, ?3, 0)",
	[SQL_INPUT_USE] = "UPDATE input SET jobs = jobs + ?2, used_clock = ?3 WHERE id = ?1",
	[SQL_INPUT_DELETE_UNUSED] = "DELETE FROM input WHERE id = ?1 AND jobs = 0",
	[SQL_INPUTS_UNUSED] = "SELECT id FROM input WHERE jobs = 0 AND used_clock <= ?1 ORDER BY used_clock LIMIT ?2",
	[SQL_INPUTS_NEXT] = "SELECT used_clock FROM input WHERE jobs = 0 ORDER BY used_clock LIMIT 1",
};
_Static_assert(ARRAY_SIZE(statement_sql) == STATEMENT_MAX, "a text for every statement");

/* They hold for a connection, most default to something else, and a wrong one is silent: so each is read back. */
struct pragma {
	const char *name, *value, *reads_as;
};

/* EXCLUSIVE comes before the first access: then there is no shared-memory file, and no second connection ever. */
static const struct pragma first_pragma = { "locking_mode", "EXCLUSIVE", "exclusive" };
static const struct pragma pragmas[] = {
	{ "page_size", "4096", "4096" },
	{ "auto_vacuum", "INCREMENTAL", "2" }, /* a page more for 800, and now and then one more written; see change_sweep() */
	{ "journal_mode", "WAL", "wal" },
	{ "synchronous", "FULL", "2" },
	{ "wal_autocheckpoint", "0", "0" },
	{ "journal_size_limit", "16777216", "16777216" },
	{ "cache_size", "-2048", "-2048" },
	{ "temp_store", "MEMORY", "2" },
	{ "secure_delete", "OFF", "0" },
	{ "foreign_keys", "OFF", "0" },
};

int schema_errno(int code)
{
	static const struct {
		int code, error;
	} known[] = {
		{ SQLITE_OK, 0 },           { SQLITE_NOTADB, EBADMSG },   { SQLITE_CORRUPT, EBADMSG },  { SQLITE_FULL, ENOSPC },
		{ SQLITE_NOMEM, ENOMEM },   { SQLITE_BUSY, EBUSY },       { SQLITE_LOCKED, EBUSY },     { SQLITE_READONLY, EROFS },
		{ SQLITE_PERM, EACCES },    { SQLITE_CANTOPEN, EACCES },
	};

	for (size_t i = 0; i < ARRAY_SIZE(known); i++)
		if (known[i].code == (code & 0xff))
			return -known[i].error;
	return -EIO;
}

/* What to do about it, for whoever reads the line. */
static const char *advice(int error)
{
	switch (error) {
	case -EBADMSG:
		return "it is left as it is; restore it from a backup, or move it away to start empty";
	case -EBUSY:
		return "another process uses it; stop that one first";
	case -ENOSPC:
		return "make room on its disk, then start again";
	case -EACCES:
	case -EROFS:
		return "check owner and mode of it and of its directory";
	default:
		return "check the disk and the kernel log, then start again";
	}
}

static int fail(struct database *db, int code, const char *doing, char error[256])
{
	int r = schema_errno(code);

	snprintf(error, 256, "cannot %s " SCHEMA_FILE ": %s; %s", doing, db->handle ? sqlite3_errmsg(db->handle) : sqlite3_errstr(code),
		 advice(r));
	return r;
}

/* First column of the first row of @sql as text into @ret_text; "" when there is none. */
static int read_text(struct database *db, const char *sql, char *ret_text, size_t size)
{
	sqlite3_stmt *statement;
	int code = sqlite3_prepare_v2(db->handle, sql, -1, &statement, NULL);

	ret_text[0] = '\0';
	if (code != SQLITE_OK)
		return code;
	if (sqlite3_step(statement) == SQLITE_ROW && sqlite3_column_type(statement, 0) != SQLITE_NULL)
		snprintf(ret_text, size, "%s", (const char *)sqlite3_column_text(statement, 0));
	return sqlite3_finalize(statement);
}

static int read_number(struct database *db, const char *sql, int64_t *ret_number)
{
	char text[32];
	int code = read_text(db, sql, text, sizeof(text));

	if (code == SQLITE_OK)
		*ret_number = strtoll(text, NULL, 10);
	return code;
}

static int set_pragma(struct database *db, const struct pragma *pragma, char error[256])
{
	char sql[80], text[32];
	int code;

	snprintf(sql, sizeof(sql), "PRAGMA %s = %s", pragma->name, pragma->value);
	code = sqlite3_exec(db->handle, sql, NULL, NULL, NULL);
	if (code != SQLITE_OK)
		return fail(db, code, "set up", error);
	snprintf(sql, sizeof(sql), "PRAGMA %s", pragma->name);
	code = read_text(db, sql, text, sizeof(text));
	if (code != SQLITE_OK)
		return fail(db, code, "set up", error);
	if (strcmp(text, pragma->reads_as) == 0)
		return 0;
	snprintf(error, 256, "cannot set up " SCHEMA_FILE ": its %s is \"%s\" where \"%s\" is needed; %s", pragma->name, text,
		 pragma->reads_as, advice(-EIO));
	return -EIO;
}

/* Reads only. A database without tables is new; every other one must say that it is ours, and no younger than we are. */
static int check_identity(struct database *db, char error[256])
{
	int64_t version = 0, application = 0, tables = 0;
	int code = read_number(db, "PRAGMA user_version", &version);

	if (code == SQLITE_OK)
		code = read_number(db, "PRAGMA application_id", &application);
	if (code == SQLITE_OK)
		code = read_number(db, "SELECT count(*) FROM sqlite_schema", &tables);
	if (code != SQLITE_OK)
		return fail(db, code, "read", error);
	if (!version && !application && !tables)
		return 0;
	if (application != APPLICATION_ID) {
		snprintf(error, 256, "cannot use " SCHEMA_FILE ": it is the database of another program; %s", advice(-EBADMSG));
		return -EBADMSG;
	}
	if (version > (int64_t)ARRAY_SIZE(migrations)) {
		snprintf(error, 256, "cannot use " SCHEMA_FILE ": a newer jobpool wrote it (schema %lld, this one knows %zu); "
			 "install that version again, the file is left as it is", (long long)version, ARRAY_SIZE(migrations));
		return -EPROTONOSUPPORT;
	}
	return 0;
}

/* SQLite would make it readable to all; specs and environments hold secrets. The WAL takes over its mode. */
static int create_private(char error[256])
{
	int r, fd = open(SCHEMA_FILE, O_RDWR | O_CREAT | O_CLOEXEC, 0600);

	if (fd >= 0) {
		close_fd(&fd); /* before SQLite has a lock on it that this would drop */
		return 0;
	}
	r = -errno;
	snprintf(error, 256, "cannot open " SCHEMA_FILE ": %s; %s", strerror(-r), advice(r));
	return r;
}

int schema_open(struct database *db, char error[256])
{
	int r, code;

	memset(db, 0, sizeof(*db));
	r = create_private(error);
	if (r < 0)
		return r;
	/* Nobody asks for SQLite's memory figures; without them an allocation takes no lock. Too late (a second store): no matter. */
	sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0);
	/* NOMUTEX: one thread at a time has the connection, ours. */
	code = sqlite3_open_v2(SCHEMA_FILE, &db->handle, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL);
	if (code != SQLITE_OK) {
		r = fail(db, code, "open", error);
		goto fail;
	}
	sqlite3_extended_result_codes(db->handle, 1);
	sqlite3_db_config(db->handle, SQLITE_DBCONFIG_LOOKASIDE, NULL, 256, 128);
	sqlite3_db_config(db->handle, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
	r = set_pragma(db, &first_pragma, error);
	if (r == 0)
		r = check_identity(db, error);
	if (r == 0)
		return 0;
fail:
	schema_close(db);
	return r;
}

static int migrate(struct database *db)
{
	int64_t version = 0;
	char sql[96];
	int code = read_number(db, "PRAGMA user_version", &version);

	for (size_t i = (size_t)version; code == SQLITE_OK && i < ARRAY_SIZE(migrations); i++) {
		snprintf(sql, sizeof(sql), "PRAGMA application_id = %d; PRAGMA user_version = %zu; COMMIT", APPLICATION_ID, i + 1);
		code = sqlite3_exec(db->handle, "BEGIN IMMEDIATE", NULL, NULL, NULL);
		if (code == SQLITE_OK)
			code = sqlite3_exec(db->handle, migrations[i], NULL, NULL, NULL);
		if (code == SQLITE_OK)
			code = sqlite3_exec(db->handle, sql, NULL, NULL, NULL);
	}
	return code;
}

static int prepare_all(struct database *db)
{
	for (size_t i = 0; i < STATEMENT_MAX; i++) {
		int code = sqlite3_prepare_v3(db->handle, statement_sql[i], -1, SQLITE_PREPARE_PERSISTENT, &db->statements[i], NULL);

		if (code != SQLITE_OK)
			return code;
	}
	return SQLITE_OK;
}

int schema_upgrade(struct database *db, char error[256])
{
	int code, r;

	for (size_t i = 0; i < ARRAY_SIZE(pragmas); i++) {
		r = set_pragma(db, &pragmas[i], error);
		if (r < 0)
			return r;
	}
	/* Before anything is served: what a failed fsync of an earlier run left in the page cache only must not be believed. */
	code = schema_checkpoint(db, true);
	if (code != SQLITE_OK) {
		r = fail(db, code, "checkpoint", error);
		return r == -EBADMSG || r == -ENOSPC ? r : -EIO;
	}
	code = migrate(db);
	if (code != SQLITE_OK)
		return fail(db, code, "upgrade", error);
	code = prepare_all(db);
	return code == SQLITE_OK ? 0 : fail(db, code, "use", error);
}

void schema_close(struct database *db)
{
	int code;

	for (size_t i = 0; i < STATEMENT_MAX; i++)
		sqlite3_finalize(db->statements[i]);
	code = sqlite3_close(db->handle);
	assert(code == SQLITE_OK); /* it only fails while a statement is left */
	memset(db, 0, sizeof(*db));
}

int schema_checkpoint(struct database *db, bool truncate)
{
	int mode = truncate ? SQLITE_CHECKPOINT_TRUNCATE : SQLITE_CHECKPOINT_PASSIVE, in_wal, copied;
	int code = sqlite3_wal_checkpoint_v2(db->handle, NULL, mode, &in_wal, &copied);

	/* Nobody else can read, so nothing may hold a part of it back. */
	return code == SQLITE_OK && in_wal != copied ? SQLITE_BUSY : code;
}

int schema_shorten(struct database *db, unsigned pages)
{
	char sql[48];

	snprintf(sql, sizeof(sql), "PRAGMA incremental_vacuum(%u)", pages);
	return sqlite3_exec(db->handle, sql, NULL, NULL, NULL);
}
