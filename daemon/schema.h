/* The database file: opening it with the settings we rely on, its schema and migrations, and the table of all statements.
 * Knows nothing of requests, threads or the loop. Return values are 0 or -errno at the door (schema_open), SQLite's own codes inside. */
#pragma once

#include <sqlite3.h>
#include <stdbool.h>
#include <stdint.h>

#include "util.h"

#define SCHEMA_FILE "jobpool.db" /* in state_dir, which is the cwd */

enum statement {
	SQL_BEGIN,
	SQL_COMMIT,
	SQL_SERVER_GET,
	SQL_SERVER_SET,
	SQL_SERVER_BOOT,
	SQL_DUE_REBASE,
	SQL_QUEUES,
	SQL_QUEUE_OTHER,
	SQL_QUEUE_PUT,
	SQL_QUEUE_COUNT,
	SQL_JOB_INSERT,
	SQL_JOBS_INSERT,
	SQL_JOB_RECORD,
	SQL_JOB_START,
	SQL_JOB_SAVE,
	SQL_JOB_DELETE,
	SQL_RUNNING_INSERT,
	SQL_RUNNING_CANCEL,
	SQL_RUNNING_DELETE,
	SQL_JOB_LOAD,
	SQL_SCAN_UP,
	SQL_SCAN_DOWN,
	SQL_ACTIVE_UP,
	SQL_ACTIVE_DOWN,
	SQL_GROUP_UP,
	SQL_GROUP_DOWN,
	SQL_FAILED_UP,
	SQL_FAILED_DOWN,
	SQL_JOBS_RUNNING,
	SQL_JOBS_READY_SAME,
	SQL_JOBS_READY_LOWER,
	SQL_GROUP_SAME_GATE,
	SQL_GROUP_NEXT_GATE,
	SQL_GROUP_NEXT_QUEUE,
	SQL_JOB_SUBMITTED,
	SQL_JOBS_DUE,
	SQL_JOBS_FINISHED,
	SQL_TAIL_INSERT,
	SQL_TAIL_LOAD,
	SQL_TAIL_DELETE,
	SQL_ATTEMPT_INSERT,
	SQL_LATER_ATTEMPT_INSERT,
	SQL_ATTEMPT_LOAD,
	SQL_ATTEMPTS,
	SQL_ATTEMPT_DELETE,
	SQL_LATER_ATTEMPTS_DELETE,
	SQL_OUTPUT_INSERT,
	SQL_LATER_OUTPUT_INSERT,
	SQL_OUTPUT_LOAD,
	SQL_OUTPUT_DELETE,
	SQL_LATER_OUTPUTS_DELETE,
	SQL_KEY_GET,
	SQL_KEY_PUT,
	SQL_KEY_EXPIRE,
	SQL_KEYS_SWEEP,
	SQL_KEYS_NEXT,
	SQL_RUN_AT,
	SQL_RUN_BEYOND,
	SQL_RUN_PUT,
	SQL_RUN_KEEP,
	SQL_RUNS_CHECK,
	SQL_RUN_NEEDED,
	SQL_RUN_CHECKED,
	SQL_RUN_DELETE,
	SQL_RUNS_NEXT,
	SQL_FREE_PAGES,
	SQL_PAGES,
	SQL_ENVIRONMENT_KNOWN,
	SQL_ENVIRONMENT_FIND,
	SQL_ENVIRONMENT_INSERT,
	SQL_ENVIRONMENT_USE,
	SQL_ENVIRONMENTS_UNUSED,
	SQL_ENVIRONMENT_DELETE,
	SQL_ENVIRONMENTS_NEXT,
	SQL_BLOCK_INSERT,
	SQL_BLOCK_LOAD,
	SQL_BLOCK_DELETE,
	SQL_INPUT_KNOWN,
	SQL_INPUT_INSERT,
	SQL_INPUT_USE,
	SQL_INPUT_DELETE_UNUSED,
	SQL_INPUTS_UNUSED,
	SQL_INPUTS_NEXT,
	STATEMENT_MAX,
};

/* Columns of the statements that read whole jobs (SQL_JOB_LOAD, SQL_JOBS_READY_*), in this order. */
enum job_column {
	COLUMN_ID,
	COLUMN_QUEUE,
	COLUMN_PRIORITY,
	COLUMN_GATE,
	COLUMN_STATE,
	COLUMN_OUTCOME,
	COLUMN_ON_LOST,
	COLUMN_CANCELLING,
	COLUMN_MAX_ATTEMPTS,
	COLUMN_ENVIRONMENT,
	COLUMN_INPUT,
	COLUMN_SUBMITTED_WALL_MS,
	COLUMN_DUE_MS,
	COLUMN_DUE_WALL_MS,
	COLUMN_ATTEMPT,
	COLUMN_WORKER,
	COLUMN_TOKEN,
	COLUMN_NAME,
	COLUMN_OWNER,
	COLUMN_KEY,
	COLUMN_CANCELLED_BY,
	COLUMN_FINISHED_CLOCK,
	COLUMN_RETRIES,
	COLUMN_EPOCH,
	COLUMN_SPEC,
};

/* Columns of those that only look whether a job matches a filter (SQL_SCAN_*, SQL_JOBS_FINISHED). */
enum scan_column {
	SCAN_ID,
	SCAN_QUEUE,
	SCAN_STATE,
	SCAN_OUTCOME,
	SCAN_NAME,
	SCAN_OWNER,
	SCAN_FINISHED_CLOCK, /* SQL_JOBS_FINISHED only */
};

/* SQL_JOB_INSERT takes one row, SQL_JOBS_INSERT so many: a cursor that stays open halves what a row costs. */
#define JOBS_INSERT_ROWS 8
#define JOB_INSERT_PARAMETERS 18 /* of each row */

struct database {
	sqlite3 *handle;                         /* NULL = not open */
	sqlite3_stmt *statements[STATEMENT_MAX]; /* all prepared; reset whenever nobody is stepping them */
};

/**
 * Open the database and look at it; a file that is refused is not changed in any way.
 *
 * Returns 0; -EBADMSG: not a database, corrupt, or another program's; -EPROTONOSUPPORT: a newer schema; -EBUSY: another process has it;
 * -errno of the file system. @error then holds what is wrong and what to do.
 */
int schema_open(struct database *db, char error[256]);
/* Checkpoint what an earlier run left, bring the schema up to date, prepare all statements. 0, or -errno with @error as above. */
int schema_upgrade(struct database *db, char error[256]);
/* Leaves the WAL as it is: after a failure it is the evidence, and the next start reads it. Any state of @db will do. */
void schema_close(struct database *db);

/* Copy the whole WAL into the database and sync it; @truncate: give its disk space back too. An SQLite code. */
int schema_checkpoint(struct database *db, bool truncate);
/* Inside a transaction: move up to @pages from the file's end into free ones, and cut it there. An SQLite code. */
int schema_shorten(struct database *db, unsigned pages);
/* An SQLite code (extended or not) as -errno; 0 for SQLITE_OK. */
int schema_errno(int code);
