/* The store against a real database in a fresh directory, with a real loop: order, one job's life, keys, reads, crash, full disk. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sched.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "schema.h"
#include "store.h"
#include "suites.h"

static const struct store_sizes small = { .wal_bytes = 1 << 20, .ballast_bytes = 2 << 20, .reserve_bytes = 0, .room_retry_ms = 20 };

static char directory[64];
static uv_loop_t loop;
static struct store *store;
static uint64_t next_id;
static unsigned batches;
static bool closed, fatal;
static char fatal_message[256];

static void on_batch(void *context)
{
	(void)context;
	batches++;
}

static void on_fatal(const char *message, void *context)
{
	(void)context;
	fatal = true;
	snprintf(fatal_message, sizeof(fatal_message), "%s", message);
}

static const struct store_callbacks callbacks = { .on_batch = on_batch, .on_fatal = on_fatal };

static void on_closed(void *context)
{
	(void)context;
	closed = true;
}

static struct store_start *open_store(void)
{
	struct store_start *start;
	char error[256] = "";

	closed = fatal = false;
	ck_assert_int_eq(uv_loop_init(&loop), 0);
	ck_assert_msg(store_open_sized(&loop, &callbacks, &small, &store, &start, error) == 0, "%s", error);
	next_id = start->next_job_id;
	return start;
}

static void close_store(void)
{
	store_close(store, on_closed, NULL);
	uv_run(&loop, UV_RUN_DEFAULT);
	ck_assert(closed);
	ck_assert_int_eq(uv_loop_close(&loop), 0);
}

static struct store_start *reopen_store(void)
{
	close_store();
	return open_store();
}

static void enter_directory(void)
{
	snprintf(directory, sizeof(directory), "/tmp/jobpool-test-store-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(directory));
	ck_assert_int_eq(chdir(directory), 0);
}

static void unlink_files(void)
{
	static const char *const files[] = { "jobpool.db", "jobpool.db-wal", "jobpool.db-journal", "ballast", "filler" };

	for (size_t i = 0; i < ARRAY_SIZE(files); i++)
		unlink(files[i]);
}

static void leave_directory(void)
{
	unlink_files();
	ck_assert_int_eq(chdir("/"), 0);
	ck_assert_int_eq(rmdir(directory), 0);
}

/* --- requests, one at a time --- */

static struct slice heap(const char *text)
{
	return (struct slice){ strdup(text), strlen(text) };
}

static struct slice heap_fill(char c, size_t len)
{
	char *data = malloc(len + 1);

	memset(data, c, len);
	return (struct slice){ data, len };
}

/* The request's content goes to the copy in @context, which the test frees. */
static void on_taken(struct store_request *request)
{
	struct store_request *copy = request->context;

	*copy = *request;
	list_init(&copy->link);
	copy->context2 = copy; /* done */
	memset(&request->u, 0, sizeof(request->u));
}

static struct store_request *post(struct store_request *request)
{
	struct store_request *copy = calloc(1, sizeof(*copy));

	request->on_done = on_taken;
	request->context = copy;
	store_post(store, request);
	return copy;
}

static struct store_request *wait_for(struct store_request *copy)
{
	while (!copy->context2 && !fatal)
		uv_run(&loop, UV_RUN_ONCE);
	return copy;
}

static struct store_request *run_request(struct store_request *request)
{
	return wait_for(post(request));
}

/* Run it, forget all but its status. */
static int run_status(struct store_request *request)
{
	struct store_request *copy = run_request(request);
	int status = copy->status;

	store_request_free(copy);
	return status;
}

static struct store_request *new_request(enum store_op op)
{
	return store_request_new(op, NULL, NULL);
}

static int put_queue(uint32_t id, const char *name)
{
	struct store_request *r = new_request(STORE_PUT_QUEUE);

	r->u.queue.row.id = id;
	snprintf(r->u.queue.row.name, sizeof(r->u.queue.row.name), "%s", name);
	return run_status(r);
}

static struct store_request *insert(uint32_t queue, enum job_state state, const char *key)
{
	struct store_request *r = new_request(STORE_INSERT_JOB);

	r->u.insert.row = (struct job_row){ .id = next_id++, .queue_id = queue, .state = state, .max_attempts = 1 };
	r->u.insert.row.owner = heap("alice");
	r->u.insert.row.name = heap("name");
	r->u.insert.row.spec = heap("spec");
	r->u.insert.spec_hash = 1;
	if (key)
		r->u.insert.row.key = heap(key);
	return r;
}

static uint64_t insert_ready(uint32_t queue)
{
	ck_assert_int_eq(run_status(insert(queue, JOB_READY, NULL)), 0);
	return next_id - 1;
}

static struct store_request *start_attempt(uint64_t id, uint32_t number)
{
	struct store_request *r = new_request(STORE_START_ATTEMPT);

	r->u.start.job_id = id;
	r->u.start.number = number;
	r->u.start.worker_id = 77;
	memset(r->u.start.token, (int)number, TOKEN_BYTES);
	return r;
}

static struct store_request *end_attempt(uint64_t id, uint32_t number, enum outcome outcome, enum job_state to)
{
	struct store_request *r = new_request(STORE_END_ATTEMPT);

	r->u.end.job_id = id;
	r->u.end.number = number;
	r->u.end.end.outcome = (uint8_t)outcome;
	r->u.end.end.exit_code = 3;
	r->u.end.to = to;
	memset(r->u.end.token, (int)number, TOKEN_BYTES);
	return r;
}

static struct store_request *unstart_attempt(uint64_t id, uint32_t number, enum job_state to)
{
	struct store_request *r = new_request(STORE_UNSTART_ATTEMPT);

	r->u.unstart.job_id = id;
	r->u.unstart.number = number;
	r->u.unstart.to = to;
	memset(r->u.unstart.token, (int)number, TOKEN_BYTES);
	return r;
}

static struct store_request *update_job(uint64_t id, enum job_state from, enum job_state to)
{
	struct store_request *r = new_request(STORE_UPDATE_JOB);

	r->u.update.job_id = id;
	r->u.update.from = from;
	r->u.update.to = to;
	return r;
}

static uint64_t insert_done(uint32_t queue)
{
	uint64_t id = insert_ready(queue);

	ck_assert_int_eq(run_status(start_attempt(id, 1)), 0);
	ck_assert_int_eq(run_status(end_attempt(id, 1, OUTCOME_SUCCEEDED, JOB_DONE)), 0);
	return id;
}

/* The caller frees the request; the row is u.load.rows[0]. */
static struct store_request *load(uint64_t id)
{
	struct store_request *r = new_request(STORE_LOAD_JOBS);

	r->u.load.ids = malloc(sizeof(uint64_t));
	r->u.load.ids[0] = id;
	r->u.load.count = 1;
	r->u.load.want_spec = true;
	return run_request(r);
}

static uint64_t sql_number(const char *sql)
{
	sqlite3 *db;
	sqlite3_stmt *s;
	uint64_t value;

	ck_assert_int_eq(sqlite3_open("jobpool.db", &db), SQLITE_OK);
	ck_assert_int_eq(sqlite3_prepare_v2(db, sql, -1, &s, NULL), SQLITE_OK);
	ck_assert_int_eq(sqlite3_step(s), SQLITE_ROW);
	value = (uint64_t)sqlite3_column_int64(s, 0);
	sqlite3_finalize(s);
	sqlite3_close(db);
	return value;
}

static void sql_run(const char *sql)
{
	sqlite3 *db;

	ck_assert_int_eq(sqlite3_open("jobpool.db", &db), SQLITE_OK);
	ck_assert_msg(sqlite3_exec(db, sql, NULL, NULL, NULL) == SQLITE_OK, "%s", sqlite3_errmsg(db));
	sqlite3_close(db);
}

/* With the store closed: the counts of every queue are what a count of its jobs gives. */
static void check_counts(void)
{
	static const char *const states[] = { "held", "delayed", "blocked", "ready", "running", "done" };
	char sql[256];

	for (size_t i = 0; i < ARRAY_SIZE(states); i++) {
		snprintf(sql, sizeof(sql), "SELECT count(*) FROM queue AS q WHERE q.%s <> (SELECT count(*) FROM job AS j"
			 " LEFT JOIN running AS r ON r.job = j.id"
			 " WHERE j.queue = q.id AND iif(r.job IS NULL, j.state, 4) = %zu)", states[i], i);
		ck_assert_msg(sql_number(sql) == 0, "count of %s", states[i]);
	}
}

/* --- order --- */

static uint64_t answered[8];
static unsigned answered_count;

static void on_ordered(struct store_request *request)
{
	ck_assert_uint_eq(store_committed(store), request->ticket);
	answered[answered_count++] = request->ticket;
}

START_TEST(test_store_answers_in_the_order_of_posting_with_one_commit_a_turn)
{
	struct store_start *start = open_store();

	ck_assert_int_eq(put_queue(1, "default"), 0);
	answered_count = batches = 0;
	for (int i = 0; i < 6; i++) {
		struct store_request *r = i % 2 ? new_request(STORE_LOAD_DUE) : insert(1, JOB_READY, NULL);

		r->on_done = on_ordered;
		store_post(store, r);
	}
	ck_assert_uint_eq(store_posted(store), 7);
	ck_assert_uint_eq(store_committed(store), 1);
	while (answered_count < 6)
		uv_run(&loop, UV_RUN_ONCE);
	for (unsigned i = 0; i < 6; i++)
		ck_assert_uint_eq(answered[i], 2 + i);
	ck_assert_uint_eq(batches, 1);
	ck_assert_uint_eq(store_commit_number(store), start->commit + 2);
	store_start_free(start);
	close_store();
}
END_TEST

static void on_counted(struct store_request *request)
{
	ck_assert_int_eq(request->status, 0);
	ck_assert_uint_gt(request->ticket, answered[0]);
	answered[0] = request->ticket;
	answered_count++;
}

/* What is handed over before the end of a long turn keeps its order too. */
START_TEST(test_store_answers_a_long_turn_in_its_order)
{
	struct store_start *start = open_store();

	ck_assert_int_eq(put_queue(1, "default"), 0);
	answered_count = 0;
	answered[0] = 0;
	for (int i = 0; i < 1000; i++) {
		struct store_request *r = insert(1, JOB_READY, NULL);

		r->on_done = on_counted;
		store_post(store, r);
	}
	while (answered_count < 1000)
		uv_run(&loop, UV_RUN_ONCE);
	ck_assert_uint_eq(store_committed(store), store_posted(store));
	store_start_free(start);
	start = reopen_store();
	ck_assert_uint_eq(start->queues[0].count[JOB_READY], 1000);
	store_start_free(start);
	close_store();
	check_counts();
}
END_TEST

/* Jobs of one commit are written several at a time; what comes between them sees all that came before it, and one that is refused
 * takes no other along. */
START_TEST(test_store_jobs_submitted_together_are_all_there_for_what_follows)
{
	struct store_request *refused, *started, *listed, *last[2];
	uint64_t first;

	store_start_free(open_store());
	put_queue(1, "default");
	first = next_id;
	for (int i = 0; i < 21; i++) {
		struct store_request *r = insert(1, JOB_READY, NULL);

		free((char *)r->u.insert.row.name.data);
		r->u.insert.row.name = i % 2 ? heap("odd") : (struct slice){ 0 };
		r->u.insert.row.priority = -i;
		store_post(store, r);
	}
	refused = insert(1, JOB_READY, NULL);
	refused->u.insert.row.environment_id = 4711;
	refused = post(refused);
	last[0] = post(insert(1, JOB_HELD, NULL));
	started = post(start_attempt(next_id - 3, 1)); /* the one before the refused one */
	listed = new_request(STORE_LIST_JOBS);
	listed->u.list.limit = 100;
	listed = post(listed);
	last[1] = post(insert(1, JOB_READY, NULL));
	wait_for(last[1]);
	ck_assert_uint_eq(last[1]->commit, refused->commit); /* all of it was one commit */
	ck_assert_int_eq(refused->status, -ENOENT);
	ck_assert_int_eq(last[0]->status, 0);
	ck_assert_int_eq(last[1]->status, 0);
	ck_assert_int_eq(started->status, 0);
	ck_assert_uint_eq(listed->u.list.count, 22);
	for (size_t i = 0; i < 21; i++) {
		const struct job_row *row = &listed->u.list.rows[i];

		ck_assert_uint_eq(row->id, first + i);
		ck_assert_int_eq(row->priority, -(int)i);
		ck_assert_int_eq(row->state, i == 20 ? JOB_RUNNING : JOB_READY);
		ck_assert(slice_equal(row->name, i % 2 ? SLICE("odd") : (struct slice){ 0 }));
		ck_assert(slice_equal(row->owner, SLICE("alice")));
	}
	ck_assert_int_eq(listed->u.list.rows[21].state, JOB_HELD);
	store_request_free(refused);
	store_request_free(last[0]);
	store_request_free(started);
	store_request_free(listed);
	store_request_free(last[1]);
	close_store();
	check_counts();
}
END_TEST

/* --- one job's life --- */

START_TEST(test_store_keeps_a_jobs_life_and_its_outcome)
{
	struct store_request *r;
	struct job_row *row;
	uint64_t id;

	store_start_free(open_store());
	put_queue(1, "default");
	id = insert_ready(1);
	r = start_attempt(id, 1);
	r->u.start.want_spec = true;
	r = run_request(r);
	ck_assert_int_eq(r->status, 0);
	ck_assert(slice_equal(r->u.start.spec, SLICE("spec")));
	store_request_free(r);
	ck_assert_int_eq(run_status(start_attempt(id, 2)), -ESTALE);
	ck_assert_int_eq(run_status(end_attempt(id, 2, OUTCOME_FAILED, JOB_DONE)), -ESTALE);

	r = end_attempt(id, 1, OUTCOME_FAILED, JOB_DONE);
	r->u.end.output[0] = heap("to stdout");
	ck_assert_int_eq(run_status(r), 0);
	ck_assert_int_eq(run_status(end_attempt(id, 1, OUTCOME_FAILED, JOB_DONE)), -ESTALE);

	r = load(id);
	row = r->u.load.rows;
	ck_assert_uint_eq(row->id, id);
	ck_assert_int_eq(row->state, JOB_DONE);
	ck_assert_int_eq(row->outcome, OUTCOME_FAILED);
	ck_assert_uint_eq(row->attempt.number, 1);
	ck_assert_uint_eq(row->attempt.worker_id, 77);
	ck_assert_int_eq(row->attempt.end.exit_code, 3);
	ck_assert(slice_equal(row->name, SLICE("name")));
	ck_assert(slice_equal(row->spec, SLICE("spec")));
	ck_assert_ptr_null(row->key.data);
	store_request_free(r);

	r = new_request(STORE_LOAD_OUTPUT);
	r->u.output.job_id = id;
	r->u.output.number = 1;
	r = run_request(r);
	ck_assert_int_eq(r->status, 0);
	ck_assert(slice_equal(r->u.output.output[0], SLICE("to stdout")));
	ck_assert_uint_eq(r->u.output.output[1].len, 0);
	store_request_free(r);
	r = new_request(STORE_LOAD_OUTPUT);
	r->u.output.job_id = id;
	r->u.output.number = 2;
	ck_assert_int_eq(run_status(r), -ENOENT);
	close_store();
	check_counts();
}
END_TEST

START_TEST(test_store_an_unstarted_attempt_gives_its_number_back)
{
	struct store_request *r;
	uint64_t id;

	store_start_free(open_store());
	put_queue(1, "default");
	id = insert_ready(1);
	ck_assert_int_eq(run_status(start_attempt(id, 1)), 0);
	ck_assert_int_eq(run_status(end_attempt(id, 1, OUTCOME_LOST, JOB_READY)), 0);
	ck_assert_int_eq(run_status(start_attempt(id, 2)), 0);
	ck_assert_int_eq(run_status(unstart_attempt(id, 1, JOB_READY)), -ESTALE);
	ck_assert_int_eq(run_status(unstart_attempt(id, 2, JOB_READY)), 0);
	r = load(id);
	ck_assert_int_eq(r->u.load.rows[0].state, JOB_READY);
	ck_assert_uint_eq(r->u.load.rows[0].attempt.number, 1);
	ck_assert_int_eq(r->u.load.rows[0].attempt.end.outcome, OUTCOME_LOST);
	store_request_free(r);
	close_store();
	check_counts();
}
END_TEST

START_TEST(test_store_counts_and_totals_follow_every_step)
{
	struct store_request *r;
	struct store_start *start;
	uint64_t done, ids[3];

	store_start_free(open_store());
	put_queue(1, "default");
	put_queue(2, "other");
	done = insert_done(1);
	for (int i = 0; i < 3; i++)
		ids[i] = insert_ready(1);
	ck_assert_int_eq(run_status(insert(2, JOB_DELAYED, NULL)), 0);
	ck_assert_int_eq(run_status(insert(2, JOB_BLOCKED, NULL)), 0);
	ck_assert_int_eq(run_status(update_job(ids[0], JOB_READY, JOB_HELD)), 0);
	ck_assert_int_eq(run_status(update_job(ids[0], JOB_READY, JOB_HELD)), -ESTALE);
	r = update_job(ids[1], JOB_READY, JOB_DONE);
	r->u.update.outcome = OUTCOME_CANCELLED;
	r->u.update.cancelled_by = heap("bob");
	ck_assert_int_eq(run_status(r), 0);
	ck_assert_int_eq(run_status(start_attempt(ids[2], 1)), 0);
	r = update_job(ids[2], JOB_RUNNING, JOB_RUNNING);
	r->u.update.cancelling = true;
	r->u.update.cancelled_by = heap("bob");
	ck_assert_int_eq(run_status(r), 0);
	r = load(ids[2]);
	ck_assert(r->u.load.rows[0].cancelling);
	ck_assert(slice_equal(r->u.load.rows[0].cancelled_by, SLICE("bob")));
	ck_assert_uint_eq(r->u.load.rows[0].attempt.token[0], 1);
	store_request_free(r);

	start = reopen_store();
	ck_assert_uint_eq(start->queue_count, 2);
	ck_assert_uint_eq(start->queues[0].succeeded, 1);
	ck_assert_uint_eq(start->queues[0].failed, 1);
	ck_assert_uint_eq(start->queues[0].count[JOB_DONE], 2);
	ck_assert_uint_eq(start->queues[0].count[JOB_HELD], 1);
	ck_assert_uint_eq(start->queues[0].count[JOB_RUNNING], 1);
	ck_assert_uint_eq(start->queues[1].count[JOB_DELAYED], 1);
	ck_assert_uint_eq(start->running_count, 1);
	ck_assert_uint_eq(start->running[0].id, ids[2]);
	ck_assert_uint_eq(start->running[0].attempt.worker_id, 77);
	store_start_free(start);
	ck_assert_int_eq(run_status(update_job(done, JOB_DONE, JOB_READY)), 0);
	start = reopen_store();
	ck_assert_uint_eq(start->queues[0].succeeded, 0);
	ck_assert_uint_eq(start->queues[0].count[JOB_READY], 1);
	store_start_free(start);
	close_store();
	check_counts();
}
END_TEST

START_TEST(test_store_a_queue_remembers_the_commit_at_which_it_was_last_empty)
{
	struct store_start *start;
	struct store_request *r;
	uint64_t id, zero;

	store_start_free(open_store());
	put_queue(1, "default");
	id = insert_ready(1);
	start = reopen_store();
	ck_assert_uint_eq(start->queues[0].zero_commit, 0);
	store_start_free(start);
	run_status(start_attempt(id, 1));
	r = run_request(end_attempt(id, 1, OUTCOME_SUCCEEDED, JOB_DONE));
	zero = r->commit;
	store_request_free(r);
	insert_ready(1);
	start = reopen_store();
	ck_assert_uint_eq(start->queues[0].zero_commit, zero);
	store_start_free(start);
	close_store();
}
END_TEST

START_TEST(test_store_refuses_a_second_queue_of_the_same_name)
{
	store_start_free(open_store());
	ck_assert_int_eq(put_queue(1, "default"), 0);
	ck_assert_int_eq(put_queue(1, "default"), 0);
	ck_assert_int_eq(put_queue(2, "default"), -EEXIST);
	close_store();
}
END_TEST

/* --- keys, environments, inputs --- */

START_TEST(test_store_a_known_key_inserts_nothing_and_undoes_what_is_behind_it)
{
	struct store_request *r, *duplicate, *behind;
	uint64_t first;

	store_start_free(open_store());
	put_queue(1, "default");
	ck_assert_int_eq(run_status(insert(1, JOB_READY, "key")), 0);
	first = next_id - 1;
	duplicate = post(insert(1, JOB_READY, "key"));
	behind = post(start_attempt(next_id - 1, 1));
	wait_for(behind);
	ck_assert_int_eq(duplicate->status, -EEXIST);
	ck_assert_uint_eq(duplicate->u.insert.existing_id, first);
	ck_assert(duplicate->u.insert.same);
	ck_assert_int_eq(behind->status, -ESTALE);
	store_request_free(duplicate);
	store_request_free(behind);

	r = insert(1, JOB_READY, "key");
	r->u.insert.spec_hash = 2;
	r = run_request(r);
	ck_assert_int_eq(r->status, -EEXIST);
	ck_assert(!r->u.insert.same);
	store_request_free(r);
	r = insert(1, JOB_READY, "key");
	free((char *)r->u.insert.row.owner.data);
	r->u.insert.row.owner = heap("bob");
	ck_assert_int_eq(run_status(r), 0);
	close_store();
	check_counts();
	ck_assert_uint_eq(sql_number("SELECT count(*) FROM job"), 2);
}
END_TEST

/* Moves the stored clock forward; the store is closed. */
static void let_pass(uint64_t ms)
{
	char sql[80];

	snprintf(sql, sizeof(sql), "UPDATE server SET clock_ms = clock_ms + %" PRIu64, ms);
	sql_run(sql);
}

static void finish_last(void)
{
	ck_assert_int_eq(run_status(start_attempt(next_id - 1, 1)), 0);
	ck_assert_int_eq(run_status(end_attempt(next_id - 1, 1, OUTCOME_SUCCEEDED, JOB_DONE)), 0);
}

static struct store_request *remove_one(uint64_t id)
{
	struct store_request *r = new_request(STORE_REMOVE_JOBS);

	r->u.remove.ids = malloc(sizeof(uint64_t));
	r->u.remove.ids[0] = id;
	r->u.remove.count = 1;
	return run_request(r);
}

START_TEST(test_store_a_key_outlives_its_job_by_its_time)
{
	struct store_request *r;

	store_start_free(open_store());
	put_queue(1, "default");
	ck_assert_int_eq(run_status(insert(1, JOB_READY, "user")), 0);
	finish_last();
	store_request_free(remove_one(next_id - 1));
	ck_assert_int_eq(run_status(insert(1, JOB_READY, "jobpool-x")), 0);
	finish_last();
	ck_assert_int_eq(run_status(insert(1, JOB_READY, "user")), -EEXIST);
	ck_assert_int_eq(run_status(insert(1, JOB_READY, "jobpool-x")), -EEXIST);
	close_store();
	let_pass(3600000 + 1000);
	store_start_free(open_store());
	ck_assert_int_eq(run_status(insert(1, JOB_READY, "user")), -EEXIST);
	ck_assert_int_eq(run_status(insert(1, JOB_READY, "jobpool-x")), 0);
	close_store();
	let_pass(7 * UINT64_C(86400000));
	store_start_free(open_store());
	r = run_request(new_request(STORE_SWEEP));
	ck_assert(!r->u.sweep.more);
	store_request_free(r);
	ck_assert_int_eq(run_status(insert(1, JOB_READY, "jobpool-x")), -EEXIST); /* its job still waits */
	ck_assert_int_eq(run_status(insert(1, JOB_READY, "user")), 0);
	close_store();
}
END_TEST

static uint64_t put_environment(const char *owner, const char *block)
{
	struct store_request *r = new_request(STORE_PUT_ENVIRONMENT);
	uint64_t id;

	r->u.environment.owner = heap(owner);
	r->u.environment.block = heap(block);
	r = run_request(r);
	id = r->u.environment.id;
	store_request_free(r);
	return id;
}

static bool has_environment(uint64_t id)
{
	struct store_request *r = new_request(STORE_LOAD_ENVIRONMENT);
	bool has;

	r->u.environment.id = id;
	r = run_request(r);
	has = r->u.environment.block.data;
	store_request_free(r);
	return has;
}

#define SESSION "jobpool-000102030405060708090a0b0c0d0e0f-"

static struct store_request *insert_numbered(unsigned number)
{
	char key[80];

	snprintf(key, sizeof(key), SESSION "%u", number);
	return insert(1, JOB_READY, key);
}

/* The id that its key gives; a new job is inserted when it is not known. */
static uint64_t id_of_numbered(unsigned number)
{
	struct store_request *r = run_request(insert_numbered(number));
	uint64_t id = r->status == -EEXIST ? r->u.insert.existing_id : r->u.insert.row.id;

	ck_assert(r->status == 0 || (r->status == -EEXIST && r->u.insert.same));
	store_request_free(r);
	return id;
}

START_TEST(test_store_numbered_keys_are_known_again_whatever_their_order)
{
	struct store_request *r[700];
	uint64_t first, late, other;

	store_start_free(open_store());
	put_queue(1, "default");
	first = next_id;
	for (unsigned i = 0; i < ARRAY_SIZE(r); i++)
		r[i] = post(insert_numbered(i + 1));
	for (unsigned i = 0; i < ARRAY_SIZE(r); i++) {
		ck_assert_int_eq(wait_for(r[i])->status, 0);
		store_request_free(r[i]);
	}
	other = insert_ready(1); /* a gap in the ids */
	late = id_of_numbered(710);
	ck_assert_uint_eq(late, other + 1);
	for (int opened = 0; opened < 2; opened++) {
		ck_assert_uint_eq(id_of_numbered(1), first);
		ck_assert_uint_eq(id_of_numbered(500), first + 499);
		ck_assert_uint_eq(id_of_numbered(700), first + 699);
		ck_assert_uint_eq(id_of_numbered(710), late);
		if (!opened)
			store_start_free(reopen_store());
	}
	/* What was refused then and comes now: up to the next one that is known, in one commit. */
	for (unsigned i = 0; i < 12; i++)
		r[i] = post(insert_numbered(700 + i));
	for (unsigned i = 0; i < 12; i++) {
		bool known = i == 0 || i == 10;

		ck_assert_int_eq(wait_for(r[i])->status, known ? -EEXIST : 0);
		store_request_free(r[i]);
	}
	ck_assert_uint_eq(id_of_numbered(710), late);
	r[0] = insert_numbered(1); /* another user's */
	free((char *)r[0]->u.insert.row.owner.data);
	r[0]->u.insert.row.owner = heap("bob");
	ck_assert_int_eq(run_status(r[0]), 0);
	close_store();
	ck_assert_uint_lt(sql_number("SELECT count(*) FROM key_run"), 10);
	check_counts();
}
END_TEST

START_TEST(test_store_a_numbered_key_outlives_its_job_by_an_hour)
{
	uint64_t waiting, done;
	struct store_request *r;

	store_start_free(open_store());
	put_queue(1, "default");
	done = id_of_numbered(1);
	ck_assert_int_eq(run_status(start_attempt(done, 1)), 0);
	ck_assert_int_eq(run_status(end_attempt(done, 1, OUTCOME_SUCCEEDED, JOB_DONE)), 0);
	insert_ready(1);
	waiting = id_of_numbered(2);
	r = new_request(STORE_REMOVE_JOBS);
	r->u.remove.ids = malloc(sizeof(uint64_t));
	r->u.remove.ids[0] = done;
	r->u.remove.count = 1;
	ck_assert_int_eq(run_status(r), 0);
	close_store();
	let_pass(3500000);
	store_start_free(open_store());
	ck_assert_int_eq(run_status(new_request(STORE_SWEEP)), 0);
	ck_assert_uint_eq(id_of_numbered(1), done);
	ck_assert_uint_eq(id_of_numbered(2), waiting);
	close_store();
	let_pass(3700000);
	store_start_free(open_store());
	ck_assert_int_eq(run_status(new_request(STORE_SWEEP)), 0);
	ck_assert_uint_eq(id_of_numbered(2), waiting);
	ck_assert_uint_gt(id_of_numbered(1), waiting); /* a new job */
	close_store();
	check_counts();
}
END_TEST

START_TEST(test_store_an_environment_is_stored_once_and_goes_an_hour_after_its_last_use)
{
	struct store_request *r;
	uint64_t used, unused;

	store_start_free(open_store());
	put_queue(1, "default");
	used = put_environment("alice", "A=1");
	unused = put_environment("alice", "A=2");
	ck_assert_uint_eq(put_environment("alice", "A=1"), used);
	ck_assert_uint_ne(put_environment("bob", "A=1"), used);
	r = insert(1, JOB_READY, NULL);
	r->u.insert.row.environment_id = used;
	ck_assert_int_eq(run_status(r), 0);
	r = start_attempt(next_id - 1, 1);
	r->u.start.want_environment = used;
	r = run_request(r);
	ck_assert(slice_equal(r->u.start.environment, SLICE("A=1")));
	store_request_free(r);
	close_store();
	let_pass(STORE_ENVIRONMENT_MS);
	store_start_free(open_store());
	store_request_free(run_request(new_request(STORE_SWEEP)));
	ck_assert(has_environment(used));
	ck_assert(!has_environment(unused));
	r = insert(1, JOB_READY, NULL);
	r->u.insert.row.environment_id = unused;
	ck_assert_int_eq(run_status(r), -ENOENT);
	ck_assert_int_eq(run_status(end_attempt(next_id - 2, 1, OUTCOME_SUCCEEDED, JOB_DONE)), 0);
	store_request_free(remove_one(next_id - 2));
	r = run_request(new_request(STORE_SWEEP));
	ck_assert_uint_gt(r->u.sweep.next_ms, store_clock_ms(store));
	store_request_free(r);
	close_store();
	ck_assert_uint_eq(sql_number("SELECT sum(jobs) FROM environment"), 0);
	check_counts();
}
END_TEST

static uint64_t new_input(void)
{
	struct store_request *r = new_request(STORE_NEW_INPUT);
	uint64_t id;

	r->u.input.owner = heap("alice");
	r = run_request(r);
	id = r->u.input.id;
	store_request_free(r);
	return id;
}

START_TEST(test_store_removal_names_the_files_that_are_left)
{
	struct store_request *r;
	uint64_t id, input, waiting;

	store_start_free(open_store());
	put_queue(1, "default");
	waiting = insert_ready(1);
	input = new_input();
	r = insert(1, JOB_READY, NULL);
	r->u.insert.row.input_id = input;
	ck_assert_int_eq(run_status(r), 0);
	id = next_id - 1;
	ck_assert_int_eq(run_status(start_attempt(id, 1)), 0);
	r = end_attempt(id, 1, OUTCOME_SUCCEEDED, JOB_DONE);
	r->u.end.end.output_files = 3;
	ck_assert_int_eq(run_status(r), 0);

	r = remove_one(waiting);
	ck_assert_uint_eq(r->u.remove.removed, 0);
	store_request_free(r);
	r = remove_one(id);
	ck_assert_uint_eq(r->u.remove.removed, 1);
	ck_assert_uint_eq(r->u.remove.file_count, 2);
	ck_assert_uint_eq(r->u.remove.files[0].job_id, id);
	ck_assert_uint_eq(r->u.remove.files[0].output_files, 3);
	ck_assert_uint_eq(r->u.remove.files[1].input_id, input);
	store_request_free(r);
	ck_assert_uint_gt(new_input(), input);
	close_store();
	let_pass(3600000);
	store_start_free(open_store());
	r = run_request(new_request(STORE_SWEEP));
	ck_assert_uint_eq(r->u.sweep.file_count, 1);
	ck_assert_uint_eq(r->u.sweep.files[0].input_id, input + 1);
	store_request_free(r);
	close_store();
	check_counts();
	ck_assert_uint_eq(sql_number("SELECT (SELECT count(*) FROM job) + (SELECT count(*) FROM spec_tail) + (SELECT count(*) FROM attempt) + (SELECT count(*) FROM input)"), 1);
}
END_TEST

START_TEST(test_store_clean_takes_the_longest_finished_that_match)
{
	struct store_request *r;
	uint64_t first, other, last;

	store_start_free(open_store());
	put_queue(1, "default");
	put_queue(2, "other");
	first = insert_done(1);
	other = insert_done(2);
	last = insert_done(1);
	r = new_request(STORE_CLEAN);
	r->u.clean.filter.queue_ids = malloc(sizeof(uint32_t));
	r->u.clean.filter.queue_ids[0] = 1;
	r->u.clean.filter.queue_count = 1;
	r = run_request(r);
	ck_assert_uint_eq(r->u.clean.removed, 2);
	ck_assert_uint_eq(r->u.clean.ids[0], first);
	ck_assert_uint_eq(r->u.clean.ids[1], last);
	ck_assert(!r->u.clean.more);
	store_request_free(r);
	r = new_request(STORE_CLEAN);
	r->u.clean.filter.finished_before_ms = 1;
	r = run_request(r);
	ck_assert_uint_eq(r->u.clean.removed, 0);
	store_request_free(r);
	r = new_request(STORE_CLEAN);
	r->u.clean.filter.finished_before_ms = store_clock_ms(store) + 1000;
	r = run_request(r);
	ck_assert_uint_eq(r->u.clean.removed, 1);
	ck_assert_uint_eq(r->u.clean.ids[0], other);
	store_request_free(r);
	close_store();
	check_counts();
}
END_TEST

static uint64_t file_size(const char *path)
{
	struct stat st;

	ck_assert_int_eq(stat(path, &st), 0);
	return (uint64_t)st.st_size;
}

/* A file that is mostly free gets shorter, step by step. */
START_TEST(test_store_gives_disk_space_back_after_a_large_removal)
{
	struct store_request *r = NULL;
	uint64_t before;
	bool more = true;

	store_start_free(open_store());
	put_queue(1, "default");
	for (unsigned i = 0; i < 4000; i++) {
		r = insert(1, JOB_READY, NULL);
		free((char *)r->u.insert.row.spec.data);
		r->u.insert.row.spec = heap_fill('x', 20000);
		store_post(store, r);
		r = update_job(r->u.insert.row.id, JOB_READY, JOB_DONE);
		r->u.update.outcome = OUTCOME_CANCELLED;
		if (i < 3999)
			store_post(store, r);
	}
	ck_assert_int_eq(run_status(r), 0);
	close_store();
	before = file_size("jobpool.db");
	ck_assert_uint_gt(before, 80000000);
	store_start_free(open_store());
	while (more) {
		r = run_request(new_request(STORE_CLEAN));
		more = r->u.clean.more;
		ck_assert(!more || r->u.clean.removed);
		store_request_free(r);
	}
	for (more = true; more;) {
		r = run_request(new_request(STORE_SWEEP));
		more = r->u.sweep.more;
		store_request_free(r);
	}
	close_store();
	check_counts();
	ck_assert_uint_lt(file_size("jobpool.db"), before / 4);
	ck_assert_uint_eq(sql_number("SELECT count(*) FROM job"), 0);
}
END_TEST

/* --- reads --- */

static void insert_many(uint32_t queue, unsigned count, enum job_state state)
{
	struct store_request *last = NULL;

	for (unsigned i = 0; i < count; i++) {
		struct store_request *r = insert(queue, state, NULL);

		r->u.insert.row.priority = (int32_t)(i % 3) - 1;
		r->u.insert.row.due_ms = 1000 + count - i;
		if (i == count - 1)
			last = post(r);
		else
			store_post(store, r);
	}
	wait_for(last);
	ck_assert_int_eq(last->status, 0);
	store_request_free(last);
}

static void end_with_output(uint64_t id, uint32_t number, enum job_state to, const char *output)
{
	struct store_request *r = end_attempt(id, number, OUTCOME_FAILED, to);

	r->u.end.output[0] = heap(output);
	r->u.end.end.exit_code = (int32_t)number;
	r->u.end.end.output_files = 1;
	ck_assert_int_eq(run_status(start_attempt(id, number)), 0);
	ck_assert_int_eq(run_status(r), 0);
}

START_TEST(test_store_keeps_each_attempt_and_its_output_until_the_job_is_removed)
{
	static const char *const outputs[] = { "first", "second", "third" };
	struct store_request *r;
	uint64_t id;

	store_start_free(open_store());
	put_queue(1, "default");
	id = insert_ready(1);
	for (uint32_t i = 0; i < 3; i++)
		end_with_output(id, i + 1, i < 2 ? JOB_READY : JOB_DONE, outputs[i]);
	r = load(id);
	ck_assert_uint_eq(r->u.load.rows[0].attempt.number, 3);
	ck_assert_int_eq(r->u.load.rows[0].attempt.end.exit_code, 3);
	store_request_free(r);
	for (uint32_t i = 0; i < 3; i++) {
		r = new_request(STORE_LOAD_OUTPUT);
		r->u.output.job_id = id;
		r->u.output.number = i + 1;
		r = run_request(r);
		ck_assert_int_eq(r->status, 0);
		ck_assert(slice_equal(r->u.output.output[0], slice_of(outputs[i])));
		store_request_free(r);
	}
	r = remove_one(id);
	ck_assert_uint_eq(r->u.remove.file_count, 3);
	for (uint32_t i = 0; i < 3; i++)
		ck_assert_uint_eq(r->u.remove.files[i].attempt, i + 1);
	store_request_free(r);
	close_store();
	check_counts();
	ck_assert_uint_eq(sql_number("SELECT (SELECT count(*) FROM attempt) + (SELECT count(*) FROM later_attempt)"
				     " + (SELECT count(*) FROM output) + (SELECT count(*) FROM later_output)"), 0);
}
END_TEST

static uint64_t wal_bytes(void)
{
	struct store_figures figures;

	store_get_figures(store, &figures);
	return figures.wal_bytes;
}

/* A page that a commit changes is written to the log as a whole: that is what a short commit costs. */
START_TEST(test_store_a_commit_writes_few_pages)
{
	const uint64_t page_bytes = 4096 + 24;
	uint64_t before, first;

	store_start_free(open_store());
	put_queue(1, "default");
	first = next_id;
	insert_many(1, 1000, JOB_READY);
	for (int i = 0; i < 20; i++)
		end_with_output(first + (uint64_t)i, 1, JOB_DONE, "output");
	before = wal_bytes();
	/* A start: running, queue, server. An end: those, job, job_ready, job_finished, attempt. And a few where a page is full. So many fit
	 * into the log before it is copied. */
	for (int i = 20; i < 40; i++) {
		ck_assert_int_eq(run_status(start_attempt(first + (uint64_t)i, 1)), 0);
		ck_assert_int_eq(run_status(end_attempt(first + (uint64_t)i, 1, OUTCOME_SUCCEEDED, JOB_DONE)), 0);
	}
	ck_assert_uint_le((wal_bytes() - before) / page_bytes, 20 * (3 + 7) + 5);
	close_store();
}
END_TEST

/* All ids of a list, page by page; returns how many there were, checks their order. */
static unsigned list_all(uint32_t states, bool descending, size_t limit, unsigned *ret_pages)
{
	uint64_t cursor = 0, previous = descending ? UINT64_MAX : 0;
	unsigned count = 0;

	*ret_pages = 0;
	do {
		struct store_request *r = new_request(STORE_LIST_JOBS);

		r->u.list.filter.states = states;
		r->u.list.descending = descending;
		r->u.list.cursor = cursor;
		r->u.list.limit = limit;
		r = run_request(r);
		for (size_t i = 0; i < r->u.list.count; i++) {
			uint64_t id = r->u.list.rows[i].id;

			ck_assert(descending ? id < previous : id > previous);
			previous = id;
		}
		count += (unsigned)r->u.list.count;
		cursor = r->u.list.next_cursor;
		++*ret_pages;
		store_request_free(r);
	} while (cursor);
	return count;
}

START_TEST(test_store_lists_page_by_page_both_ways)
{
	unsigned pages;

	store_start_free(open_store());
	put_queue(1, "default");
	insert_many(1, 20, JOB_HELD);
	insert_many(1, 25, JOB_READY);
	insert_many(1, 5, JOB_DELAYED);
	ck_assert_uint_eq(list_all(0, false, 10, &pages), 50);
	ck_assert_uint_eq(pages, 5);
	ck_assert_uint_eq(list_all(0, true, 7, &pages), 50);
	ck_assert_uint_eq(list_all(1u << JOB_READY, false, 500, &pages), 25);
	ck_assert_uint_eq(list_all(1u << JOB_HELD | 1u << JOB_DELAYED, true, 10, &pages), 25);
	ck_assert_uint_eq(list_all(1u << JOB_HELD | 1u << JOB_DELAYED, false, 4, &pages), 25);
	ck_assert_uint_eq(list_all(1u << JOB_BLOCKED, false, 4, &pages), 0);
	close_store();
	check_counts();
}
END_TEST

struct listed_job {
	uint64_t id;
	uint32_t queue;
	enum job_state state;
	enum outcome outcome;
};

/* Of every kind, in two queues, under several gates and priorities. */
static struct listed_job insert_listed(unsigned i)
{
	struct store_request *r = insert(1 + i % 3 / 2, i % 7 == 0 ? JOB_HELD : JOB_READY, NULL);
	bool runs = i % 7 && i % 5 < 3, ends = runs && i % 5 < 2;
	enum outcome outcome = i % 4 ? OUTCOME_SUCCEEDED : i % 3 ? OUTCOME_FAILED : OUTCOME_LOST;
	struct listed_job job = {
		.id = r->u.insert.row.id, .queue = r->u.insert.row.queue_id,
		.state = ends ? JOB_DONE : runs ? JOB_RUNNING : r->u.insert.row.state, .outcome = ends ? outcome : OUTCOME_NONE,
	};

	r->u.insert.row.priority = (int32_t)(i % 4);
	r->u.insert.row.gate = i % 2;
	ck_assert_int_eq(run_status(r), 0);
	if (runs)
		ck_assert_int_eq(run_status(start_attempt(job.id, 1)), 0);
	if (ends)
		ck_assert_int_eq(run_status(end_attempt(job.id, 1, outcome, JOB_DONE)), 0);
	return job;
}

/* All pages of a list are those of the jobs that match, in order. @queue 0 = any. */
static void check_list(const struct listed_job *jobs, size_t count, uint32_t states, uint32_t outcomes, uint32_t queue, bool descending)
{
	uint64_t cursor = 0, *expected = calloc(count, sizeof(*expected));
	size_t expected_count = 0, at = 0;

	for (size_t i = 0; i < count; i++) {
		const struct listed_job *job = &jobs[descending ? count - 1 - i : i];

		if ((!states || states >> job->state & 1) && (!outcomes || outcomes >> job->outcome & 1) && (!queue || job->queue == queue))
			expected[expected_count++] = job->id;
	}
	do {
		struct store_request *r = new_request(STORE_LIST_JOBS);

		r->u.list.filter = (struct store_filter){ .states = states, .outcomes = outcomes, .queue_count = queue != 0 };
		if (queue)
			*(r->u.list.filter.queue_ids = malloc(sizeof(queue))) = queue;
		r->u.list.descending = descending;
		r->u.list.cursor = cursor;
		r->u.list.limit = 7;
		r = run_request(r);
		ck_assert_uint_le(at + r->u.list.count, expected_count);
		for (size_t i = 0; i < r->u.list.count; i++)
			ck_assert_uint_eq(r->u.list.rows[i].id, expected[at++]);
		cursor = r->u.list.next_cursor;
		store_request_free(r);
	} while (cursor);
	ck_assert_uint_eq(at, expected_count);
	free(expected);
}

/* Lists come from indexes, from groups of ready jobs, or from a walk: each finds the same. */
START_TEST(test_store_every_filter_finds_what_matches)
{
	static const uint32_t states[] = { 0, 1u << JOB_READY, 1u << JOB_DONE, 1u << JOB_RUNNING, 1u << JOB_READY | 1u << JOB_HELD,
					   1u << JOB_RUNNING | 1u << JOB_READY | 1u << JOB_DONE };
	static const uint32_t outcomes[] = { 0, 1u << OUTCOME_FAILED, 1u << OUTCOME_FAILED | 1u << OUTCOME_LOST, 1u << OUTCOME_SUCCEEDED };
	struct listed_job jobs[120];

	store_start_free(open_store());
	put_queue(1, "default");
	put_queue(2, "other");
	for (unsigned i = 0; i < ARRAY_SIZE(jobs); i++)
		jobs[i] = insert_listed(i);
	for (size_t s = 0; s < ARRAY_SIZE(states); s++)
		for (size_t o = 0; o < ARRAY_SIZE(outcomes); o++)
			for (unsigned n = 0; n < 4; n++)
				check_list(jobs, ARRAY_SIZE(jobs), states[s], outcomes[o], n / 2 * 2, n % 2);
	close_store();
	check_counts();
}
END_TEST

START_TEST(test_store_a_list_cuts_long_specs_and_matches_bytes)
{
	struct store_request *r;

	store_start_free(open_store());
	put_queue(1, "default");
	r = insert(1, JOB_READY, NULL);
	free((char *)r->u.insert.row.spec.data);
	r->u.insert.row.spec = heap_fill('x', 100000);
	free((char *)r->u.insert.row.name.data);
	r->u.insert.row.name = (struct slice){ memcpy(malloc(4), "a\0\xff", 3), 3 };
	ck_assert_int_eq(run_status(r), 0);
	insert_ready(1);
	r = new_request(STORE_LIST_JOBS);
	r->u.list.limit = 10;
	r->u.list.filter.name = (struct slice){ memcpy(malloc(4), "a\0\xff", 3), 3 };
	r = run_request(r);
	ck_assert_uint_eq(r->u.list.count, 1);
	ck_assert_uint_eq(r->u.list.rows[0].spec.len, STORE_LIST_SPEC_BYTES);
	store_request_free(r);
	r = load(next_id - 2);
	ck_assert_uint_eq(r->u.load.rows[0].spec.len, 100000);
	ck_assert_int_eq(r->u.load.rows[0].spec.data[99999], 'x');
	store_request_free(r);
	r = load(next_id + 5);
	ck_assert_uint_eq(r->u.load.rows[0].id, 0);
	store_request_free(r);
	close_store();
}
END_TEST

START_TEST(test_store_ready_jobs_come_by_priority_then_id_page_by_page)
{
	int32_t after_priority = 0;
	uint64_t after_id = 0;
	unsigned count = 0;
	bool complete = false;

	store_start_free(open_store());
	put_queue(1, "default");
	put_queue(2, "other");
	insert_many(2, 3, JOB_READY);
	insert_many(1, 32, JOB_READY);
	while (!complete) {
		struct store_request *r = new_request(STORE_LOAD_READY);

		r->u.ready.queue_id = 1;
		r->u.ready.after_priority = after_priority;
		r->u.ready.after_id = after_id;
		r->u.ready.limit = 5;
		r = run_request(r);
		for (size_t i = 0; i < r->u.ready.count; i++) {
			const struct job_row *row = &r->u.ready.rows[i];

			ck_assert(!after_id || row->priority < after_priority || (row->priority == after_priority && row->id > after_id));
			after_priority = row->priority;
			after_id = row->id;
			count++;
		}
		complete = r->u.ready.complete;
		store_request_free(r);
	}
	ck_assert_uint_eq(count, 32);
	close_store();
}
END_TEST

START_TEST(test_store_tells_the_ready_job_of_a_queue_that_was_submitted_first)
{
	static const struct { uint32_t queue, gate; int32_t priority; enum job_state state; } jobs[] = {
		{ 1, 0, 5, JOB_HELD }, { 1, 2, -1, JOB_READY }, { 1, 0, 5, JOB_READY }, { 1, 0, 0, JOB_READY }, { 2, 0, 0, JOB_HELD },
	};
	struct store_request *r;
	uint64_t first_id;

	store_start_free(open_store());
	put_queue(1, "default");
	put_queue(2, "other");
	first_id = next_id;
	for (size_t i = 0; i < ARRAY_SIZE(jobs); i++) {
		r = insert(jobs[i].queue, jobs[i].state, NULL);
		r->u.insert.row.gate = jobs[i].gate;
		r->u.insert.row.priority = jobs[i].priority;
		r->u.insert.row.submitted_wall_ms = 100 + i;
		ck_assert_int_eq(run_status(r), 0);
	}
	r = new_request(STORE_OLDEST);
	r->u.oldest.queue_ids = calloc(3, sizeof(uint32_t));
	r->u.oldest.queue_ids[0] = 2;
	r->u.oldest.queue_ids[1] = 1;
	r->u.oldest.queue_ids[2] = 99; /* there is none */
	r->u.oldest.count = 3;
	r = run_request(r);
	ck_assert_uint_eq(r->u.oldest.rows[0].job_id, 0);
	ck_assert_uint_eq(r->u.oldest.rows[1].queue_id, 1);
	ck_assert_uint_eq(r->u.oldest.rows[1].job_id, first_id + 1);
	ck_assert_uint_eq(r->u.oldest.rows[1].submitted_wall_ms, 101);
	ck_assert_uint_eq(r->u.oldest.rows[2].job_id, 0);
	store_request_free(r);
	close_store();
}
END_TEST

START_TEST(test_store_delayed_jobs_come_by_due_time_and_move_to_a_new_boot)
{
	struct store_request *r;

	store_start_free(open_store());
	put_queue(1, "default");
	insert_many(1, 4, JOB_DELAYED);
	r = new_request(STORE_LOAD_DUE);
	r->u.due.limit = 3;
	r = run_request(r);
	ck_assert_uint_eq(r->u.due.count, 3);
	ck_assert(!r->u.due.complete);
	ck_assert_uint_lt(r->u.due.rows[0].due_ms, r->u.due.rows[1].due_ms);
	store_request_free(r);
	close_store();
	/* One had ten seconds left when another boot ended; the wall clock has been set back by an hour since. */
	sql_run("UPDATE job SET due_ms = 60000, due_wall_ms = unixepoch() * 1000 + 3600000;"
		"UPDATE server SET boot_id = zeroblob(16), clock_monotonic_ms = 50000");
	store_start_free(open_store());
	r = new_request(STORE_LOAD_DUE);
	r->u.due.limit = 3;
	r = run_request(r);
	ck_assert_uint_gt(r->u.due.rows[0].due_ms + 1, now_monotonic_ms());
	ck_assert_uint_le(r->u.due.rows[0].due_ms, now_monotonic_ms() + 10000);
	store_request_free(r);
	close_store();
}
END_TEST

START_TEST(test_store_holds_a_hundred_thousand_jobs)
{
	struct store_figures figures;
	struct store_start *start;

	store_start_free(open_store());
	put_queue(1, "default");
	insert_many(1, 100000, JOB_READY);
	store_get_figures(store, &figures);
	ck_assert_uint_ge(figures.requests, 100000);
	ck_assert_uint_gt(figures.database_bytes + figures.wal_bytes, 1000000);
	start = reopen_store();
	ck_assert_uint_eq(start->queues[0].count[JOB_READY], 100000);
	ck_assert_uint_eq(start->next_job_id, 100001);
	store_start_free(start);
	close_store();
	check_counts();
}
END_TEST

/* Reads that sort or walk a whole table would be fast in every test here, and slow with a million jobs. */
START_TEST(test_store_no_statement_sorts_or_scans_a_table_that_grows)
{
	struct database db;
	char error[256];

	ck_assert_int_eq(schema_open(&db, error), 0);
	ck_assert_int_eq(schema_upgrade(&db, error), 0);
	for (int i = 0; i < STATEMENT_MAX; i++) {
		char *sql = sqlite3_mprintf("EXPLAIN QUERY PLAN %s", sqlite3_sql(db.statements[i]));
		sqlite3_stmt *s;

		ck_assert_int_eq(sqlite3_prepare_v2(db.handle, sql, -1, &s, NULL), SQLITE_OK);
		while (sqlite3_step(s) == SQLITE_ROW) {
			const char *step = (const char *)sqlite3_column_text(s, 3);
			bool small_table = strcmp(step, "SCAN server") == 0 || strcmp(step, "SCAN queue") == 0 || strstr(step, " CONSTANT ROWS");

			bool walk = i == SQL_SCAN_UP || i == SQL_SCAN_DOWN;

			ck_assert_msg(!strstr(step, "TEMP B-TREE"), "%s: %s", sql, step);
			ck_assert_msg(walk || strncmp(step, "SEARCH j", 8) != 0 || !(strstr(step, "(rowid>?)") || strstr(step, "(rowid<?)")),
				      "%s: %s", sql, step);
			ck_assert_msg(strncmp(step, "SCAN", 4) != 0 || strstr(step, " INDEX ") || small_table, "%s: %s", sql, step);
		}
		sqlite3_finalize(s);
		sqlite3_free(sql);
	}
	schema_close(&db);
}
END_TEST

/* --- start, crash, disk --- */

START_TEST(test_store_every_start_has_a_larger_epoch_and_the_clock_goes_on)
{
	struct store_start *start = open_store();
	uint64_t epoch = start->epoch, clock_ms = store_clock_ms(store);

	store_start_free(start);
	start = reopen_store();
	ck_assert_uint_gt(start->epoch, epoch);
	ck_assert_uint_ge(store_clock_ms(store), clock_ms);
	store_start_free(start);
	close_store();
	sql_run("UPDATE server SET clock_wall_ms = 1000"); /* off for fifty years */
	clock_ms = sql_number("SELECT clock_ms FROM server");
	store_start_free(open_store());
	ck_assert_uint_ge(store_clock_ms(store), clock_ms + 86400000);
	ck_assert_uint_lt(store_clock_ms(store), clock_ms + 86400000 + 60000);
	close_store();
}
END_TEST

START_TEST(test_store_an_idle_store_leaves_nothing_in_the_wal)
{
	struct store_figures figures;
	uint64_t end_ms = now_monotonic_ms() + 30000;

	store_start_free(open_store());
	put_queue(1, "default");
	store_get_figures(store, &figures);
	ck_assert_uint_gt(figures.wal_bytes, 0);
	while (figures.wal_bytes && now_monotonic_ms() < end_ms) {
		uv_sleep(10);
		store_get_figures(store, &figures);
	}
	ck_assert_uint_eq(figures.wal_bytes, 0);
	close_store();
}
END_TEST

/* In a child: insert until it dies, and tell each answer through the pipe. */
static void acknowledge_until_killed(int fd)
{
	store_start_free(open_store());
	put_queue(1, "default");
	for (;;) {
		uint64_t id = insert_ready(1);

		if (write_all(fd, &id, sizeof(id)) < 0)
			_exit(1);
	}
}

START_TEST(test_store_what_was_acknowledged_survives_kill_9)
{
	struct store_request *r;
	uint64_t id, count = 0;
	int fds[2];
	pid_t child;

	ck_assert_int_eq(pipe(fds), 0);
	child = fork();
	if (child == 0)
		acknowledge_until_killed(fds[1]);
	close(fds[1]);
	while (count < 200 && read_all(fds[0], &id, sizeof(id)) == 0)
		count++;
	kill(child, SIGKILL);
	while (read_all(fds[0], &id, sizeof(id)) == 0)
		count++;
	close(fds[0]);
	ck_assert_int_eq(waitpid(child, NULL, 0), child);
	ck_assert_uint_ge(count, 200);
	store_start_free(open_store());
	for (uint64_t i = 1; i <= count; i++) {
		r = load(i);
		ck_assert_uint_eq(r->u.load.rows[0].id, i);
		store_request_free(r);
	}
	close_store();
	check_counts();
}
END_TEST

static char *read_file(size_t *ret_len)
{
	FILE *f = fopen("jobpool.db", "re");
	char *data = malloc(1 << 20);

	*ret_len = fread(data, 1, 1 << 20, f);
	fclose(f);
	return data;
}

/* Opening fails with @expected, and the file is as it was. */
static void check_refused(int expected)
{
	struct store_start *start;
	char error[256] = "", *before, *after;
	size_t before_len, after_len;

	before = read_file(&before_len);
	ck_assert_int_eq(uv_loop_init(&loop), 0);
	ck_assert_int_eq(store_open(&loop, &callbacks, &store, &start, error), expected);
	ck_assert_str_ne(error, "");
	ck_assert_int_eq(uv_loop_close(&loop), 0);
	after = read_file(&after_len);
	ck_assert_uint_eq(before_len, after_len);
	ck_assert_int_eq(memcmp(before, after, before_len), 0);
	free(before);
	free(after);
}

START_TEST(test_store_refuses_what_it_does_not_know_and_leaves_it_alone)
{
	FILE *f = fopen("jobpool.db", "we");

	for (int i = 0; i < 5000; i++)
		fputs("not a database\n", f);
	fclose(f);
	check_refused(-EBADMSG);
	unlink("jobpool.db");
	sql_run("CREATE TABLE theirs (x)");
	check_refused(-EBADMSG);
	unlink("jobpool.db");
	store_start_free(open_store());
	close_store();
	sql_run("PRAGMA user_version = 9999");
	check_refused(-EPROTONOSUPPORT);
}
END_TEST

START_TEST(test_store_refuses_a_database_that_another_process_uses)
{
	sqlite3 *db;
	struct store_start *start;
	char error[256];

	store_start_free(open_store());
	close_store();
	ck_assert_int_eq(sqlite3_open("jobpool.db", &db), SQLITE_OK);
	sqlite3_exec(db, "PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE", NULL, NULL, NULL);
	ck_assert_int_eq(uv_loop_init(&loop), 0);
	ck_assert_int_eq(store_open(&loop, &callbacks, &store, &start, error), -EBUSY);
	ck_assert_int_eq(uv_loop_close(&loop), 0);
	sqlite3_close(db);
}
END_TEST

START_TEST(test_store_a_failing_database_is_fatal_and_answers_nothing)
{
	struct store_request *copy;

	store_start_free(open_store());
	put_queue(1, "default");
	copy = post(insert(1, JOB_READY, NULL));
	wait_for(copy);
	ck_assert_int_eq(copy->status, 0);
	store_request_free(copy);
	next_id--; /* the same id twice: the database refuses, which must never happen */
	copy = post(insert(1, JOB_READY, NULL));
	wait_for(copy);
	ck_assert(fatal);
	ck_assert_str_ne(fatal_message, "");
	ck_assert_ptr_null(copy->context2);
	free(copy);
	close_store();
	store_start_free(open_store());
	close_store();
	check_counts();
}
END_TEST

/* A private mount of 12 MiB; false where this process may not. */
static bool mount_small_disk(void)
{
	return unshare(CLONE_NEWNS) == 0 && mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 &&
	       mount("tmpfs", directory, "tmpfs", 0, "size=12m") == 0 && chdir(directory) == 0;
}

static void fill_disk(void)
{
	char block[4096] = { 1 };
	int fd = open("filler", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

	while (write(fd, block, sizeof(block)) == sizeof(block))
		;
	close(fd);
}

START_TEST(test_store_a_full_disk_still_records_outcomes_and_recovers_by_itself)
{
	struct store_request *r;
	uint64_t id;
	int status = 0;

	if (!mount_small_disk())
		return; /* needs root */
	store_start_free(open_store());
	put_queue(1, "default");
	ck_assert(store_has_room(store));
	id = insert_ready(1);
	ck_assert_int_eq(run_status(start_attempt(id, 1)), 0);
	fill_disk();
	for (int i = 0; store_has_room(store) && status == 0 && i < 1000; i++) {
		r = insert(1, JOB_READY, NULL);
		free((char *)r->u.insert.row.spec.data);
		r->u.insert.row.spec = heap_fill('x', 65536);
		status = run_status(r);
	}
	ck_assert(!fatal);
	ck_assert(!store_has_room(store));
	r = end_attempt(id, 1, OUTCOME_SUCCEEDED, JOB_DONE);
	r->u.end.output[0] = heap_fill('o', OUTPUT_INLINE_BYTES_MAX);
	ck_assert_int_eq(run_status(r), 0);
	unlink("filler");
	for (uint64_t end_ms = now_monotonic_ms() + 30000; !store_has_room(store) && now_monotonic_ms() < end_ms;)
		uv_sleep(1);
	ck_assert(store_has_room(store));
	ck_assert_int_eq(run_status(insert(1, JOB_READY, NULL)), 0);
	r = load(id);
	ck_assert_int_eq(r->u.load.rows[0].state, JOB_DONE);
	store_request_free(r);
	close_store();
	check_counts();
	unlink_files();
	ck_assert_int_eq(chdir("/"), 0);
	ck_assert_int_eq(umount(directory), 0);
	ck_assert_int_eq(chdir(directory), 0);
}
END_TEST

static TCase *add_tcase(Suite *suite, const char *name)
{
	TCase *tcase = tcase_create(name);

	tcase_add_checked_fixture(tcase, enter_directory, leave_directory);
	tcase_set_timeout(tcase, 60);
	suite_add_tcase(suite, tcase);
	return tcase;
}

Suite *store_suite(void)
{
	Suite *suite = suite_create("store");
	TCase *tcase;

	tcase = add_tcase(suite, "life");
	tcase_add_test(tcase, test_store_answers_in_the_order_of_posting_with_one_commit_a_turn);
	tcase_add_test(tcase, test_store_answers_a_long_turn_in_its_order);
	tcase_add_test(tcase, test_store_jobs_submitted_together_are_all_there_for_what_follows);
	tcase_add_test(tcase, test_store_keeps_a_jobs_life_and_its_outcome);
	tcase_add_test(tcase, test_store_keeps_each_attempt_and_its_output_until_the_job_is_removed);
	tcase_add_test(tcase, test_store_a_commit_writes_few_pages);
	tcase_add_test(tcase, test_store_an_unstarted_attempt_gives_its_number_back);
	tcase_add_test(tcase, test_store_counts_and_totals_follow_every_step);
	tcase_add_test(tcase, test_store_a_queue_remembers_the_commit_at_which_it_was_last_empty);
	tcase_add_test(tcase, test_store_refuses_a_second_queue_of_the_same_name);

	tcase = add_tcase(suite, "keys");
	tcase_add_test(tcase, test_store_a_known_key_inserts_nothing_and_undoes_what_is_behind_it);
	tcase_add_test(tcase, test_store_a_key_outlives_its_job_by_its_time);
	tcase_add_test(tcase, test_store_numbered_keys_are_known_again_whatever_their_order);
	tcase_add_test(tcase, test_store_a_numbered_key_outlives_its_job_by_an_hour);
	tcase_add_test(tcase, test_store_an_environment_is_stored_once_and_goes_an_hour_after_its_last_use);
	tcase_add_test(tcase, test_store_removal_names_the_files_that_are_left);
	tcase_add_test(tcase, test_store_clean_takes_the_longest_finished_that_match);
	tcase_add_test(tcase, test_store_gives_disk_space_back_after_a_large_removal);

	tcase = add_tcase(suite, "reads");
	tcase_add_test(tcase, test_store_lists_page_by_page_both_ways);
	tcase_add_test(tcase, test_store_every_filter_finds_what_matches);
	tcase_add_test(tcase, test_store_a_list_cuts_long_specs_and_matches_bytes);
	tcase_add_test(tcase, test_store_ready_jobs_come_by_priority_then_id_page_by_page);
	tcase_add_test(tcase, test_store_tells_the_ready_job_of_a_queue_that_was_submitted_first);
	tcase_add_test(tcase, test_store_delayed_jobs_come_by_due_time_and_move_to_a_new_boot);
	tcase_add_test(tcase, test_store_holds_a_hundred_thousand_jobs);
	tcase_add_test(tcase, test_store_no_statement_sorts_or_scans_a_table_that_grows);

	tcase = add_tcase(suite, "disk");
	tcase_add_test(tcase, test_store_every_start_has_a_larger_epoch_and_the_clock_goes_on);
	tcase_add_test(tcase, test_store_an_idle_store_leaves_nothing_in_the_wal);
	tcase_add_test(tcase, test_store_what_was_acknowledged_survives_kill_9);
	tcase_add_test(tcase, test_store_refuses_what_it_does_not_know_and_leaves_it_alone);
	tcase_add_test(tcase, test_store_refuses_a_database_that_another_process_uses);
	tcase_add_test(tcase, test_store_a_failing_database_is_fatal_and_answers_nothing);
	tcase_add_test(tcase, test_store_a_full_disk_still_records_outcomes_and_recovers_by_itself);
	return suite;
}
