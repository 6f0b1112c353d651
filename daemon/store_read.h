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
int read_list_jobs(struct database *db, struct store_request *request);
int read_load_ready(struct database *db, struct store_request *request);
int read_load_due(struct database *db, struct store_request *request);
int read_load_environment(struct database *db, struct store_request *request);
int read_load_output(struct database *db, struct store_request *request);

/* Parts that changes use too. Without memory: SQLITE_NOMEM. */
int read_spec(struct database *db, uint64_t job_id, enum job_part part, struct slice *ret_spec);
int read_environment(struct database *db, uint64_t id, struct slice *ret_block);
bool read_filter_matches(const struct store_filter *filter, sqlite3_stmt *job);

/* What store_start holds of queues and running jobs. */
int read_queues(struct database *db, struct queue_row **ret_queues, size_t *ret_count);
int read_running(struct database *db, struct job_row **ret_rows, size_t *ret_count);

/* Free @count rows and what they own; NULL is fine. */
void job_rows_free(struct job_row *rows, size_t count);
void job_row_deinit(struct job_row *row);
