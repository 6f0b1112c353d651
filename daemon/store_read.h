/* Reading: jobs as rows, and the ops that change nothing. Same rules as store_ops.h. */
#pragma once

#include "schema.h"
#include "store.h"

enum job_part {
	PART_WORDS = 1,     /* name, owner, key, cancelled_by */
	PART_SPEC = 2,      /* whole */
	PART_SPEC_HEAD = 4, /* STORE_LIST_SPEC_BYTES of it */
};

int read_load_jobs(struct database *db, struct store_request *request);
int read_load_ready(struct database *db, struct store_request *request);
int read_load_due(struct database *db, struct store_request *request);
int read_load_environment(struct database *db, struct store_request *request);
int read_load_output(struct database *db, struct store_request *request);

/* Parts that changes use too. Without memory: SQLITE_NOMEM. */
/* A stored spec: @head is the column of job's row. */
int read_spec(struct database *db, uint64_t job_id, struct slice head, struct slice *ret_spec);
int read_environment(struct database *db, uint64_t id, struct slice *ret_block);
/* Does the job match that a statement with the columns of enum scan_column stands on? */
bool read_filter_matches(const struct store_filter *filter, sqlite3_stmt *scan);

/* Jobs that are read one after the other; both fields belong to the caller. */
struct job_rows {
	struct job_row *rows;
	size_t count, cap;
};
/* Append the job of this id if there is one. */
int read_append(struct database *db, uint64_t job_id, unsigned parts, struct job_rows *rows);

/* How an attempt ended, as stored: most of its bytes are zero. For each eight bytes, a byte that says which of them are not, and those. */
#define ENDING_BYTES_MAX (sizeof(struct attempt_end) / 8 * 9)
size_t ending_pack(const struct attempt_end *end, uint8_t ret_packed[ENDING_BYTES_MAX]);
/* Bytes that are none read as zeros. */
void ending_unpack(struct slice packed, struct attempt_end *ret_end);

/* What store_start holds of queues and running jobs. */
int read_queues(struct database *db, struct queue_row **ret_queues, size_t *ret_count);
int read_running(struct database *db, struct job_row **ret_rows, size_t *ret_count);

/* Free @count rows and what they own; NULL is fine. */
void job_rows_free(struct job_row *rows, size_t count);
void job_row_deinit(struct job_row *row);
