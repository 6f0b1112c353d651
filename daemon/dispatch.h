/* Where queues, pools and store meet: a job's whole life can be read in dispatch.c.
 *
 * All functions run on the loop. What they change is posted to the store at once; a reply formed afterwards with the ticket
 * store_posted() leaves after the commit. So events and callbacks come at the time of the change, not of the commit, and whoever is told of
 * them over a socket is told after it. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "config.h"
#include "job.h"
#include "queue.h"
#include "store.h"
#include "supervisor.h"
#include "worker_proto.h"

struct dispatch;
struct pool;
struct worker;

struct dispatch_events {
	void (*on_job_started)(uint64_t job_id, void *context);
	void (*on_job_done)(uint64_t job_id, void *context);     /* final; or removed */
	void (*on_job_retried)(uint64_t job_id, void *context);  /* an attempt ended, and there will be another */
	void (*on_queue_idle)(struct queue *queue, void *context); /* unfinished has become 0 */
	void *context;
};

/* Everything a SUBMIT says, defaults of the queue already applied. Slices are borrowed for the call, but for @spec. */
struct submission {
	struct queue *queue;
	struct slice owner, name, key;  /* data NULL = none */
	uint64_t spec_hash;             /* of queue, argv and cwd: what "the same spec" means for a key */
	struct slice spec;              /* heap; becomes the job's also when the call fails */
	uint64_t environment_id, input_id;
	int32_t priority;
	enum on_lost on_lost;
	uint32_t retries, max_attempts;
	uint64_t delay_ms;
	bool hold;
};

/* @status 0 or -errno, @value as the call says. Runs once; may run before the call returns. */
typedef void (*dispatch_done)(void *context, int status, uint64_t value);

/**
 * Submit one job. @done: 0 and its id (a known key: the id it has); -EEXIST: the key names another spec, @value is the id;
 * -ENOENT: environment or input is gone; -ENOBUFS, -EDQUOT, -ENOSPC: as below, for a submission whose key had to be looked up first.
 *
 * Returns 0; -ENOBUFS the queue is full, -EDQUOT the daemon is (limits.queued_jobs), -ENOSPC the disk's reserve is reached, -ESHUTDOWN the daemon is
 * stopping, -ENOMEM: @done does not run.
 */
int dispatch_submit(struct dispatch *d, struct submission *submission, dispatch_done done, void *context);

enum dispatch_verb { VERB_CANCEL, VERB_HOLD, VERB_RELEASE, VERB_RETRY, VERB_PRIORITY, VERB_SIGNAL, VERB_MAX };

/**
 * Do one thing to several jobs. If one of them does not exist nothing is done, and @done gets -ENOENT and its id; else 0 and the number of
 * jobs that were changed (a job in a state that the verb does not apply to is not counted).
 *
 * @ids: copied; 1 <= count <= STORE_ROWS_MAX
 * @by: user name, borrowed (VERB_CANCEL)
 * @number: the priority, or the signal
 *
 * Returns 0; -ENOMEM, -ESHUTDOWN: @done does not run.
 */
int dispatch_change(struct dispatch *d, enum dispatch_verb verb, const uint64_t *ids, size_t count, struct slice by, int64_t number,
		    dispatch_done done, void *context);

struct queue *dispatch_find_queue(const struct dispatch *d, struct slice name);  /* borrowed, or NULL */
struct queue *dispatch_queue_by_id(const struct dispatch *d, uint32_t id);
struct list *dispatch_queues(struct dispatch *d);                                /* of struct queue, by name */
void dispatch_pause(struct dispatch *d, struct queue *queue, bool paused);
struct list *dispatch_pools(struct dispatch *d);                                 /* of struct pool, by name */
struct pool *dispatch_find_pool(const struct dispatch *d, struct slice name);

struct job *dispatch_find_job(const struct dispatch *d, uint64_t id);            /* borrowed; NULL = not in memory */
/* What a client shall see of a row just read: claimed ahead is ready. */
void dispatch_overlay(const struct dispatch *d, struct job_row *row);
/* Jobs that the store has removed (from the answer of STORE_REMOVE_JOBS or STORE_CLEAN): forget them, count them. */
void dispatch_forget(struct dispatch *d, const struct store_gone *gone, size_t count);
/* Where a running job's output grows: 0 and paths relative to state_dir, -ENOENT when the job is not with a worker, -EAGAIN when it has
 * not started yet. While a read is under way between begin and end, the scratch file is not reused. */
int dispatch_scratch_paths(const struct dispatch *d, const struct job *job, char ret_out[64], char ret_err[64]);
void dispatch_reader_begin(struct dispatch *d, struct job *job);
void dispatch_reader_end(struct dispatch *d, struct job *job);

int dispatch_new(uv_loop_t *loop, const struct config *config, const char *socket_path, struct store *store, const struct dispatch_events *events,
		 struct dispatch **ret_dispatch);
void dispatch_free(struct dispatch *d);
/* Take over queues and running jobs of before, adopt the workers that live, listen on worker.sock; then dispatch begins. */
int dispatch_start(struct dispatch *d, const struct store_start *start, const struct supervisor_settings *supervisor);
/* New configuration, already checked; it replaces the old one, which the caller frees afterwards. */
void dispatch_reconfigure(struct dispatch *d, const struct config *config);
/* To be called from the store's on_batch. */
void dispatch_on_batch(struct dispatch *d);
/* For the store: no worker waits for the disk, and there is work on disk for those that become free. */
bool dispatch_may_pause(const struct dispatch *d);

enum dispatch_stop { STOP_LEAVE, STOP_KILL };
/* Start nothing more, un-claim what waits; KILL: end jobs, workers and supervisor, record how they ended. Then
 * @on_stopped from the loop, all handles closed; the store is still open. The first call counts. */
void dispatch_stop(struct dispatch *d, enum dispatch_stop how, void (*on_stopped)(void *context), void *context);

struct dispatch_figures { uint64_t jobs_in_memory, unfinished, running, started, ended; };
void dispatch_get_figures(const struct dispatch *d, struct dispatch_figures *ret_figures);
