/* The store's thread: gathering, group commit, the disk's reserve, checkpoints, and handing answers back to the loop (see store.h).
 *
 * Requests go round: store_post() puts them on `outbox` (loop only); before the loop waits for events, one lock moves them to
 * `pending`; the thread takes all of it as `backlog`, cuts batches from its front, and puts executed ones on `answered`; an eventfd
 * wakes the loop, which answers and frees them. Three kinds of fields: the loop's, the thread's, and those under the mutex. */
#include "store.h"

#include <assert.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <time.h>

#include "ballast.h"
#include "log.h"
#include "sql.h"
#include "store_ops.h"
#include "store_read.h"
#include "store_tally.h"
#include "wal_file.h"

#define MIB (UINT64_C(1) << 20)
#define OUTBOX_MAX 128 /* requests of one turn of the loop that are handed over before its end */
#define BATCH_REQUESTS_MAX 2000
#define BATCH_BYTES_MAX (8 * MIB)
#define IDLE_MS 1000
#define ROOM_CHECK_MS 1000  /* while it commits */
#define WAL_PAGE_BYTES (4096 + 24)
#define THREAD_STACK_BYTES (512u << 10)
#define PAUSE_US 2500u       /* from the start of one commit to that of the next, while nobody waits for it (may_pause) */

static const struct store_sizes usual_sizes = {
	.wal_bytes = 16 * MIB,
	.ballast_bytes = 32 * MIB, /* the WAL's limit, to copy all of it into the database, and 16 MiB to go on */
	.reserve_bytes = 64 * MIB,
	.room_retry_ms = 5000,
};

struct store {
	/* The loop's. */
	uv_loop_t *loop;             /* borrowed */
	struct store_callbacks callbacks;
	/* The thread has news. Not a uv_async_t: where its sender is preempted by whom it wakes, that one spins until it goes on. */
	uv_poll_t news;
	int news_fd;                 /* an eventfd */
	uv_prepare_t posting;        /* moves the outbox */
	int handles;                 /* open ones of the two */
	struct list outbox;
	size_t outbox_count;
	uint64_t posted, committed, commit_number;
	uint64_t answered_commits, answered_requests; /* figures */
	bool closing, fatal_told;
	void (*on_closed)(void *context);
	void *on_closed_context;

	/* Never changed while the thread runs. */
	struct store_sizes sizes;
	pthread_t thread;
	uint64_t clock_offset_ms;    /* store clock = CLOCK_MONOTONIC + this, modulo 2^64 */

	/* Under the mutex. */
	pthread_mutex_t mutex;
	pthread_cond_t wake;
	struct list pending, answered;
	bool sleeping;               /* the thread waits for requests */
	bool pausing, may_pause;     /* it waits for others to share a commit; it may */
	bool urgent;                 /* among those pending is one that a client waits for */
	bool stop, stopped;
	bool failed;
	char failure[256];

	/* The thread's. */
	struct ops ops;
	struct ballast ballast;
	struct list backlog, batch;
	uint64_t commit_started_us;
	uint64_t idle_ms;            /* when to tidy up unless more changes come; 0 = nothing to tidy up */
	uint64_t room_checked_ms;

	/* Written by the thread, read by the loop. */
	_Atomic bool has_room;
	_Atomic uint64_t wal_bytes, database_bytes;
};

/* --- requests --- */

struct store_request *store_request_new(enum store_op op, store_done on_done, void *context)
{
	struct store_request *request = calloc(1, sizeof(*request));

	assert(op < STORE_OP_MAX);
	if (!request)
		return NULL;
	list_init(&request->link);
	request->op = op;
	request->on_done = on_done;
	request->context = context;
	return request;
}

void store_request_free(struct store_request *request)
{
	if (!request)
		return;
	ops_free_request(request);
	free(request);
}

static void free_requests(struct list *requests)
{
	struct store_request *request, *tmp;

	list_for_each_safe(request, tmp, requests, link) {
		list_remove(&request->link);
		store_request_free(request);
	}
}

/* --- the thread: one batch --- */

/* Move requests from the backlog to the batch until one of its limits is reached; at least one. */
static void cut_batch(struct store *store)
{
	size_t count = 0, bytes = 0;

	while (!list_is_empty(&store->backlog) && count < BATCH_REQUESTS_MAX && bytes < BATCH_BYTES_MAX) {
		struct store_request *request = list_first(&store->backlog, struct store_request, link);

		bytes += ops_payload(request);
		count++;
		list_remove(&request->link);
		list_append(&store->batch, &request->link);
	}
}

static bool batch_changes(const struct store *store)
{
	const struct store_request *request;

	list_for_each(request, &store->batch, link)
		if (ops_is_change(request->op))
			return true;
	return false;
}

static int execute_all(struct store *store)
{
	struct store_request *request;

	list_for_each(request, &store->batch, link) {
		int code = ops_execute(&store->ops, request);

		if (code != SQLITE_OK)
			return code;
		request->commit = store->ops.server.commit_number;
	}
	return SQLITE_OK;
}

/* Execute and commit the batch. On failure it is rolled back, in memory too, and may be run again. */
static int try_batch(struct store *store)
{
	struct database *db = &store->ops.db;
	struct server_row before = store->ops.server;
	struct store_request *request;
	int code;

	server_row_tick(&store->ops.server);
	/* Reads alone need no transaction: nobody else writes, so what they see does not change between them. */
	if (!batch_changes(store)) {
		if (!store->idle_ms)
			store->idle_ms = now_monotonic_ms() + IDLE_MS; /* pages were cached */
		return execute_all(store);
	}
	store->commit_started_us = now_monotonic_us();
	store->ops.server.commit_number++;
	code = sql_run(sql_get(db, SQL_BEGIN));
	if (code == SQLITE_OK)
		code = execute_all(store);
	if (code == SQLITE_OK)
		code = tally_flush(&store->ops);
	if (code == SQLITE_OK)
		code = sql_run(sql_get(db, SQL_COMMIT));
	tally_forget(&store->ops);
	if (code == SQLITE_OK) {
		store->idle_ms = now_monotonic_ms() + IDLE_MS;
		return SQLITE_OK;
	}
	/* SQLite has rolled back after some errors itself. */
	if (!sqlite3_get_autocommit(db->handle))
		sqlite3_exec(db->handle, "ROLLBACK", NULL, NULL, NULL);
	store->ops.server = before;
	list_for_each(request, &store->batch, link)
		ops_reset_results(request);
	return code;
}

/* @error: why the ballast cannot be had, or 0. Said at each change, not at each look. */
static void set_room(struct store *store, bool has_room, int error)
{
	if (has_room == store->has_room)
		return;
	store->has_room = has_room;
	if (has_room)
		log_info("the disk has room again, jobs are accepted", "");
	else
		log_warning("no room on the disk of the state directory: new jobs are refused until there is", "needed_bytes=%llu reason=" LOG_QUOTED,
			    (unsigned long long)(store->sizes.ballast_bytes + store->sizes.reserve_bytes),
			    error && error != -ENOSPC ? strerror(-error) : "its reserve is reached");
}

/* P9: the blocks that were kept for this moment. */
static void give_up_ballast(struct store *store)
{
	log_warning("the disk is full, the ballast is given up for what is under way", "");
	ballast_drop(&store->ballast);
	store->room_checked_ms = now_monotonic_ms();
	set_room(store, false, 0);
}

static bool is_full(int code)
{
	return (code & 0xff) == SQLITE_FULL;
}

static int run_batch(struct store *store)
{
	int code = try_batch(store);

	if (is_full(code) && store->ballast.held) {
		give_up_ballast(store);
		code = try_batch(store);
	}
	return code;
}

/* --- the thread: checkpoints and room --- */

static void note_database_size(struct store *store)
{
	struct stat st;

	/* stat(), never open(): closing any descriptor of that file would drop SQLite's locks. */
	if (stat(SCHEMA_FILE, &st) == 0)
		store->database_bytes = (uint64_t)st.st_size;
}

static int on_wal(void *context, sqlite3 *handle, const char *name, int pages)
{
	struct store *store = context;

	(void)handle;
	(void)name;
	store->wal_bytes = (uint64_t)pages * WAL_PAGE_BYTES;
	return SQLITE_OK;
}

/* A full disk does not end us here: the WAL still holds everything, and the next try may find room. */
static int checkpoint(struct store *store, bool truncate)
{
	int code = schema_checkpoint(&store->ops.db, truncate);

	if (is_full(code) && store->ballast.held) {
		give_up_ballast(store);
		code = schema_checkpoint(&store->ops.db, truncate);
	}
	note_database_size(store);
	if (code == SQLITE_OK)
		store->wal_bytes = 0;
	return is_full(code) ? SQLITE_OK : code;
}

static void check_room(struct store *store, uint64_t now_ms)
{
	bool had_room = store->has_room;
	int r = 0;

	if (now_ms - store->room_checked_ms < (had_room ? ROOM_CHECK_MS : store->sizes.room_retry_ms))
		return;
	store->room_checked_ms = now_ms;
	if (!had_room)
		r = ballast_take(&store->ballast);
	set_room(store, ballast_has_room(&store->ballast), r);
}

/* Nothing changes any more: all of the WAL goes into the database, and no memory is kept that is not needed. The WAL's blocks stay, to be
 * written over. */
static int tidy_up(struct store *store, uint64_t now_ms)
{
	int code = store->wal_bytes ? checkpoint(store, false) : SQLITE_OK;

	sqlite3_db_release_memory(store->ops.db.handle);
	store->idle_ms = store->wal_bytes ? now_ms + store->sizes.room_retry_ms : 0; /* it did not fit on the disk */
	return code;
}

/* After each batch and each time-out. */
static int keep_house(struct store *store)
{
	uint64_t now_ms = now_monotonic_ms();
	int code = SQLITE_OK;

	if (store->wal_bytes > store->sizes.wal_bytes)
		code = checkpoint(store, false);
	if (code == SQLITE_OK && store->idle_ms && now_ms >= store->idle_ms)
		code = tidy_up(store, now_ms);
	check_room(store, now_ms);
	return code;
}

/* When keep_house() has something to do without a request; 0 = never, so that an idle store sleeps. */
static uint64_t next_deadline(const struct store *store)
{
	uint64_t retry = store->has_room ? 0 : store->room_checked_ms + store->sizes.room_retry_ms;

	return !store->idle_ms || (retry && retry < store->idle_ms) ? retry : store->idle_ms;
}

/* --- the thread: its life --- */

/* 0 = until somebody wakes us. */
static void wait_until(struct store *store, uint64_t deadline_us)
{
	struct timespec at = { .tv_sec = (time_t)(deadline_us / 1000000), .tv_nsec = (long)(deadline_us % 1000000) * 1000 };

	if (!deadline_us)
		pthread_cond_wait(&store->wake, &store->mutex);
	else
		pthread_cond_timedwait(&store->wake, &store->mutex, &at);
}

/* While the workers have enough to do and nobody is held up by the disk, a commit that comes a little later serves more of them, and
 * its cost is shared by more. */
static void pause_for_company(struct store *store)
{
	uint64_t until_us = store->commit_started_us + PAUSE_US;

	store->pausing = true;
	while (store->may_pause && !store->urgent && !store->stop && now_monotonic_us() < until_us)
		wait_until(store, until_us);
	store->pausing = store->urgent = false;
}

/* Wait for requests, for a deadline or for the end. false: stop, and nothing is left to do. */
static bool gather(struct store *store)
{
	uint64_t deadline_ms = next_deadline(store);
	bool go_on;

	if (!list_is_empty(&store->backlog))
		return true;
	pthread_mutex_lock(&store->mutex);
	store->sleeping = true;
	while (list_is_empty(&store->pending) && !store->stop && (!deadline_ms || now_monotonic_ms() < deadline_ms))
		wait_until(store, deadline_ms * 1000);
	store->sleeping = false;
	if (!list_is_empty(&store->pending))
		pause_for_company(store);
	list_splice(&store->backlog, &store->pending);
	go_on = !store->stop || !list_is_empty(&store->backlog);
	pthread_mutex_unlock(&store->mutex);
	return go_on;
}

static void wake_loop(struct store *store)
{
	int r = eventfd_write(store->news_fd, 1);

	assert(r == 0); /* it is never near its limit */
}

static void hand_over(struct store *store)
{
	pthread_mutex_lock(&store->mutex);
	list_splice(&store->answered, &store->batch);
	pthread_mutex_unlock(&store->mutex);
	wake_loop(store);
}

/* P10: neither yes nor no to anything of this batch or behind it. */
static void fail(struct store *store, int code)
{
	pthread_mutex_lock(&store->mutex);
	snprintf(store->failure, sizeof(store->failure), "the database " SCHEMA_FILE " failed: %s (%s, system error %d)",
		 sqlite3_errstr(code), sqlite3_errmsg(store->ops.db.handle), sqlite3_system_errno(store->ops.db.handle));
	store->failed = true;
	pthread_mutex_unlock(&store->mutex);
}

/* Without it all works, and commits take longer. */
static void allocate_wal(struct store *store)
{
	int r = store->has_room ? wal_file_allocate(store->sizes.wal_bytes) : -ENOSPC;

	if (r < 0 && r != -ENOSPC)
		log_errno(r, "cannot allocate the write-ahead log; commits take longer");
}

static void *run(void *context)
{
	struct store *store = context;
	int code = SQLITE_OK;

	allocate_wal(store);
	while (code == SQLITE_OK && gather(store)) {
		cut_batch(store);
		if (!list_is_empty(&store->batch)) {
			code = run_batch(store);
			if (code == SQLITE_OK)
				hand_over(store);
		}
		if (code == SQLITE_OK)
			code = keep_house(store);
	}
	if (code == SQLITE_OK)
		code = checkpoint(store, true);
	if (code != SQLITE_OK)
		fail(store, code);
	schema_close(&store->ops.db);
	pthread_mutex_lock(&store->mutex);
	store->stopped = true;
	pthread_mutex_unlock(&store->mutex);
	wake_loop(store);
	return NULL;
}

/* --- the loop's side --- */

static void move_outbox(struct store *store)
{
	bool may_pause, wake, urgent = false;
	const struct store_request *request;

	if (list_is_empty(&store->outbox))
		return;
	store->outbox_count = 0;
	list_for_each(request, &store->outbox, link)
		urgent |= !ops_can_wait(request->op);
	may_pause = store->callbacks.may_pause && store->callbacks.may_pause(store->callbacks.context);
	pthread_mutex_lock(&store->mutex);
	list_splice(&store->pending, &store->outbox);
	store->may_pause = may_pause;
	store->urgent |= urgent;
	wake = store->sleeping || (store->pausing && (!may_pause || urgent));
	pthread_mutex_unlock(&store->mutex);
	/* Only now, or it would wake up to wait for the mutex. */
	if (wake)
		pthread_cond_signal(&store->wake);
}

/* Once a turn of the loop, not once a request: what one turn posts shares a commit, and one lock. A long turn hands over what it has:
 * the thread works while the loop reads on. */
static void on_posting(uv_prepare_t *handle)
{
	move_outbox(handle->data);
}

void store_post(struct store *store, struct store_request *request)
{
	request->ticket = ++store->posted;
	list_append(&store->outbox, &request->link);
	if (++store->outbox_count >= OUTBOX_MAX)
		move_outbox(store);
}

static void answer(struct store *store, struct store_request *request)
{
	store->committed = request->ticket;
	if (request->commit != store->commit_number)
		store->answered_commits++;
	store->commit_number = request->commit;
	store->answered_requests++;
	if (request->on_done)
		request->on_done(request);
	store_request_free(request);
}

static void answer_all(struct store *store, struct list *answered)
{
	while (!list_is_empty(answered)) {
		struct store_request *request = list_first(answered, struct store_request, link), *next;

		list_remove(&request->link);
		next = list_first(answered, struct store_request, link);
		answer(store, request);
		if ((!next || next->commit != store->commit_number) && store->callbacks.on_batch)
			store->callbacks.on_batch(store->callbacks.context);
	}
}

static void store_free(struct store *store)
{
	free_requests(&store->outbox);
	free_requests(&store->pending);
	free_requests(&store->backlog);
	free_requests(&store->batch);
	free_requests(&store->answered);
	schema_close(&store->ops.db);
	tally_deinit(&store->ops);
	close_fd(&store->news_fd);
	pthread_cond_destroy(&store->wake);
	pthread_mutex_destroy(&store->mutex);
	free(store);
}

static void on_handle_closed(uv_handle_t *handle)
{
	struct store *store = handle->data;
	void (*on_closed)(void *context) = store->on_closed;
	void *context = store->on_closed_context;

	if (--store->handles)
		return;
	store_free(store);
	if (on_closed)
		on_closed(context);
}

static void tell_failure(struct store *store)
{
	if (store->fatal_told)
		return;
	store->fatal_told = true;
	if (store->callbacks.on_fatal)
		store->callbacks.on_fatal(store->failure, store->callbacks.context);
}

/* When closing: once all is answered the thread is told to stop; once it has stopped the handles go. Callbacks may have posted more
 * meanwhile, so this is looked at each time there is news. */
static void go_on_closing(struct store *store, bool stopped)
{
	if (!store->closing)
		return;
	if (stopped) {
		if (uv_is_closing((uv_handle_t *)&store->news))
			return;
		pthread_join(store->thread, NULL);
		uv_close((uv_handle_t *)&store->posting, on_handle_closed);
		uv_close((uv_handle_t *)&store->news, on_handle_closed);
	} else if (store->committed == store->posted) {
		pthread_mutex_lock(&store->mutex);
		store->stop = true;
		pthread_cond_signal(&store->wake);
		pthread_mutex_unlock(&store->mutex);
	}
}

static void on_news(uv_poll_t *handle, int status, int events)
{
	struct store *store = handle->data;
	struct list answered;
	bool failed, stopped;
	eventfd_t count;

	(void)status;
	(void)events;
	eventfd_read(store->news_fd, &count);
	list_init(&answered);
	pthread_mutex_lock(&store->mutex);
	list_splice(&answered, &store->answered);
	failed = store->failed;
	stopped = store->stopped;
	pthread_mutex_unlock(&store->mutex);
	answer_all(store, &answered);
	if (failed && stopped)
		tell_failure(store);
	go_on_closing(store, stopped);
}

void store_close(struct store *store, void (*on_closed)(void *context), void *context)
{
	assert(!store->closing);
	store->closing = true;
	store->on_closed = on_closed;
	store->on_closed_context = context;
	wake_loop(store); /* from the loop, never from inside this call */
}

uint64_t store_posted(const struct store *store) { return store->posted; }
uint64_t store_committed(const struct store *store) { return store->committed; }
uint64_t store_commit_number(const struct store *store) { return store->commit_number; }
bool store_has_room(const struct store *store) { return store->has_room; }
uint64_t store_clock_ms(const struct store *store) { return now_monotonic_ms() + store->clock_offset_ms; }

void store_get_figures(const struct store *store, struct store_figures *ret_figures)
{
	*ret_figures = (struct store_figures){
		.commits = store->answered_commits,
		.requests = store->answered_requests,
		.database_bytes = store->database_bytes,
		.wal_bytes = store->wal_bytes,
	};
}

/* --- opening --- */

static struct store *store_new(uv_loop_t *loop, const struct store_callbacks *callbacks, const struct store_sizes *sizes)
{
	struct store *store = calloc(1, sizeof(*store));
	pthread_condattr_t attributes;

	if (!store)
		return NULL;
	store->loop = loop;
	store->callbacks = *callbacks;
	store->sizes = *sizes;
	store->ballast = (struct ballast){ .bytes = sizes->ballast_bytes, .reserve_bytes = sizes->reserve_bytes };
	list_init(&store->outbox);
	list_init(&store->pending);
	list_init(&store->answered);
	list_init(&store->backlog);
	list_init(&store->batch);
	store->news_fd = -1;
	pthread_mutex_init(&store->mutex, NULL);
	pthread_condattr_init(&attributes);
	pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
	pthread_cond_init(&store->wake, &attributes);
	pthread_condattr_destroy(&attributes);
	return store;
}

/* A new epoch on disk, and what the loop needs to know. */
static int read_start(struct store *store, const uint8_t boot_id[16], struct store_start *start)
{
	struct server_row *server = &store->ops.server;
	int code = server_row_begin(&store->ops.db, boot_id, server);

	if (code == SQLITE_OK)
		code = read_queues(&store->ops.db, &start->queues, &start->queue_count);
	if (code == SQLITE_OK)
		code = read_running(&store->ops.db, &start->running, &start->running_count);
	start->epoch = server->epoch;
	start->boot_epoch = server->boot_epoch;
	start->next_job_id = server->next_job_id;
	start->commit = server->commit_number;
	store->commit_number = server->commit_number;
	store->clock_offset_ms = server->clock_ms - server->monotonic_ms;
	return code;
}

static int open_database(struct store *store, struct store_start *start, char error[256])
{
	uint8_t boot_id[16];
	int code, r = boot_id_read(boot_id);

	if (r < 0) {
		snprintf(error, 256, "cannot read the kernel's boot id: %s; is /proc mounted?", strerror(-r));
		return r;
	}
	r = schema_open(&store->ops.db, error);
	if (r < 0)
		return r;
	/* The checkpoint may need its blocks; from here on the file is ours. */
	ballast_drop(&store->ballast);
	r = schema_upgrade(&store->ops.db, error);
	if (r < 0)
		return r;
	sqlite3_wal_hook(store->ops.db.handle, on_wal, store);
	code = read_start(store, boot_id, start);
	if (code != SQLITE_OK) {
		snprintf(error, 256, "cannot begin with " SCHEMA_FILE ": %s; check the disk, then start again",
			 sqlite3_errmsg(store->ops.db.handle));
		return schema_errno(code);
	}
	r = ballast_take(&store->ballast); /* without it the daemon runs, and refuses jobs until it can be had */
	store->room_checked_ms = now_monotonic_ms();
	store->has_room = true;
	set_room(store, ballast_has_room(&store->ballast), r);
	note_database_size(store);
	return 0;
}

/* Signals are the loop's: the thread takes none. */
static int start_thread(struct store *store)
{
	pthread_attr_t attributes;
	sigset_t all, old;
	int r;

	sigfillset(&all);
	pthread_attr_init(&attributes);
	pthread_attr_setstacksize(&attributes, THREAD_STACK_BYTES);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	r = -pthread_create(&store->thread, &attributes, run, store);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	pthread_attr_destroy(&attributes);
	return r;
}

static void on_open_undone(uv_handle_t *handle)
{
	store_free(handle->data);
}

/* The handles, then the thread. On failure @store is gone, or goes from the loop. */
static int start(struct store *store, char error[256])
{
	int r;

	store->news_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	r = store->news_fd < 0 ? -errno : uv_poll_init(store->loop, &store->news, store->news_fd);
	if (r < 0) {
		snprintf(error, 256, "cannot watch the store's thread: %s", uv_strerror(r));
		store_free(store);
		return r;
	}
	store->news.data = store;
	uv_poll_start(&store->news, UV_READABLE, on_news);
	r = start_thread(store);
	if (r < 0) {
		snprintf(error, 256, "cannot start the store's thread: %s; raise its limit of processes", strerror(-r));
		uv_close((uv_handle_t *)&store->news, on_open_undone);
		return r;
	}
	uv_prepare_init(store->loop, &store->posting); /* these two cannot fail */
	store->posting.data = store;
	uv_prepare_start(&store->posting, on_posting);
	uv_unref((uv_handle_t *)&store->posting); /* the other one keeps the loop alive already */
	store->handles = 2;
	return 0;
}

int store_open_sized(uv_loop_t *loop, const struct store_callbacks *callbacks, const struct store_sizes *sizes, struct store **ret_store,
		     struct store_start **ret_start, char error[256])
{
	struct store *store = store_new(loop, callbacks, sizes);
	struct store_start *known = calloc(1, sizeof(*known));
	int r;

	if (!store || !known) {
		snprintf(error, 256, "cannot open the store: out of memory");
		r = -ENOMEM;
	} else {
		r = open_database(store, known, error);
	}
	if (r < 0) {
		if (store)
			store_free(store);
		store_start_free(known);
		return r;
	}
	r = start(store, error);
	if (r < 0) {
		store_start_free(known);
		return r;
	}
	*ret_store = store;
	*ret_start = known;
	return 0;
}

int store_open(uv_loop_t *loop, const struct store_callbacks *callbacks, struct store **ret_store, struct store_start **ret_start,
	       char error[256])
{
	return store_open_sized(loop, callbacks, &usual_sizes, ret_store, ret_start, error);
}

void store_start_free(struct store_start *known)
{
	if (!known)
		return;
	free(known->queues);
	job_rows_free(known->running, known->running_count);
	free(known);
}
