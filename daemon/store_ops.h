/* What each request does to the database: one function per op, in a table by enum store_op. Runs on the store's thread, inside the
 * transaction that store.c opens and commits; knows neither thread nor loop.
 *
 * An op returns an SQLite code: SQLITE_OK, also when the request itself was refused (request->status says so, and then nothing was
 * written), or what the database failed with: then the whole batch is rolled back. */
#pragma once

#include "schema.h"
#include "server_row.h"
#include "store.h"

struct queue_change {
	uint32_t queue_id;
	int64_t count[JOB_STATE_MAX], succeeded, failed;
};

struct environment_change {
	uint64_t id;
	int64_t jobs;
	struct slice owner;        /* borrowed from a request; data NULL = not known */
};

/* Keys of one session for jobs with ids in a row (store_keys.h). */
struct key_run {
	uint64_t job_id, first, count;
	uint64_t limit;            /* the session's next key beyond it that is stored; UINT64_MAX = none, 0 = not looked at */
	struct slice owner;        /* borrowed from the request that began it */
	uint8_t session[16];
};

struct ops {
	struct database db;
	struct server_row server;  /* as it will be after this batch */
	/* What a batch adds up in memory (store_tally.h). */
	struct queue_change *queues;
	size_t queue_count, queue_cap;
	struct environment_change *environments;
	size_t environment_count, environment_cap;
	struct key_run *runs;
	size_t run_count, run_cap;
	struct key_run run_before; /* where the last key that was looked up would belong to; job_id 0 = to none */
	const struct job_row *inserts[JOBS_INSERT_ROWS]; /* checked, and not written yet: borrowed from their requests */
	size_t insert_count;
};

bool ops_is_change(enum store_op op);
/* Part of the work of a pool: no client waits for just this one. */
bool ops_can_wait(enum store_op op);
/* Bytes of a request's input that a transaction grows by. */
size_t ops_payload(const struct store_request *request);
/* Execute one request inside an open transaction (reads: without one, too). */
int ops_execute(struct ops *ops, struct store_request *request);
/* Free a request's results, as if it had never been executed. */
void ops_reset_results(struct store_request *request);
/* Free all slices and arrays of a request: inputs and results. */
void ops_free_request(struct store_request *request);
