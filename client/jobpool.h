/* libjobpool: the C API of jobpool. Submit commands to jobpoold, wait for them, read their output, manage queues.
 *
 * Its shapes are those of Python's multiprocessing; a job's id takes the place of the Process or AsyncResult object,
 * because it stays valid in every process and across restarts:
 *
 *   Process(...).start(), Pool.apply_async()       jobpool_process_start()
 *   Process.join(timeout), AsyncResult.wait()      jobpool_process_join(), jobpool_result_wait() for several
 *   Process.exitcode, AsyncResult.successful()     jobpool_result_code(), jobpool_result_successful()
 *   Process.terminate(), os.kill(Process.pid)      jobpool_process_terminate(), jobpool_process_signal()
 *   AsyncResult.get()                              jobpool_result_wait(), then jobpool_output_read()
 *   Pool.map_async()                               jobpool_pool_map_...()
 *   Queue.qsize(), JoinableQueue.join()            jobpool_queue_size(), jobpool_queue_join()
 *
 * Conventions:
 * - Every function blocks. A struct jobpool serves one thread at a time.
 * - An int is 0 (or a count, where it says so) or a negative errno; jobpool_error() then tells what happened in words.
 * Outputs
 *   (ret_...) are written on success only.
 * - Strings are NUL-terminated bytes of any encoding. Times are milliseconds; a time-out of -1 means no limit, 0 asks
 * once.
 * - The library prints nothing, installs no signal handler, and never raises SIGPIPE.
 * - Requests that may be repeated safely are repeated by themselves on a new connection when the daemon was restarted:
 * waiting,
 *   reading, and submissions (which carry a key for that). All others fail with -ECONNRESET: whether they took effect
 * is unknown.
 *
 * Errors of the daemon (doc/protocol.md, "Errors") as errno:
 *   SYNTAX -EINVAL         NOTFOUND -ENOENT    WRONGTYPE -EMEDIUMTYPE  FULL -ENOBUFS          CLOSED -ESHUTDOWN
 * ALREADY -EEXIST
 *   DENIED -EACCES         LIMIT -E2BIG        NOSPACE -ENOSPC         UNAVAILABLE -EHOSTDOWN NOPROTO -EPROTONOSUPPORT
 *   ERR and others -EREMOTEIO
 * and every function: -ECONNRESET (connection lost, and not back within the time allowed), -EPROTO (not a jobpoold),
 * -ENOMEM,
 * -EINTR (the interrupt descriptor is readable).
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#ifdef __cplusplus
extern "C" {
#endif

/* --- Values: what the daemon answers --- */

enum jobpool_type {
	JOBPOOL_NIL,     /* there is no value */
	JOBPOOL_INTEGER,
	JOBPOOL_BYTES,
	JOBPOOL_ARRAY,   /* a map is a flat array: name, value, name, value */
	JOBPOOL_ERROR,   /* only inside an array; @bytes: "CODE message" */
};

/* One value with all below it; owned by whoever got it, who ends it with jobpool_value_free(). Read only. */
struct jobpool_value {
	enum jobpool_type type;
	int64_t integer;              /* JOBPOOL_INTEGER */
	const char *bytes;            /* JOBPOOL_BYTES, JOBPOOL_ERROR: @count bytes, and a NUL behind them */
	struct jobpool_value **items; /* JOBPOOL_ARRAY: @count values, none is NULL */
	size_t count;
};

void jobpool_value_free(struct jobpool_value *value); /* NULL is fine */
/* The value of @name in @map, borrowed from it; NULL when the map has no such name (or is no map). */
const struct jobpool_value *jobpool_map_find(const struct jobpool_value *map, const char *name);
/* The integer under @name, or @otherwise when there is none (or nil). */
int64_t jobpool_map_integer(const struct jobpool_value *map, const char *name, int64_t otherwise);
/* The bytes under @name, NUL-terminated and borrowed from @map; NULL when there are none. */
const char *jobpool_map_text(const struct jobpool_value *map, const char *name);

/* --- Connection --- */

struct jobpool;                 /* one connection to one daemon */

struct jobpool_error {
	int error;              /* negative errno; 0 = nothing has failed yet */
	char code[16];          /* word of the daemon's error ("NOTFOUND"); "" when it is not the daemon's */
	char message[512];      /* one line for people, without the code */
};

/* Zero is a good default for everything but @socket_path. */
struct jobpool_options {
	const char *socket_path;   /* copied; shorter than sockaddr_un.sun_path */
	uint64_t connect_ms;       /* how long jobpool_open() tries again while the daemon's backlog is full; 0 = 10 s */
	uint64_t reconnect_ms;     /* how long a lost daemon is waited for, from the loss to the next answer; 0 = 60 s */
	int interrupt_fd;          /* > 0: blocking calls return -EINTR while it is readable (a signalfd, say); borrowed, never read */
	void (*on_waiting)(const char *socket_path, void *context); /* called once per loss, when it has lasted a second; may be NULL */
	void *context;             /* for on_waiting; borrowed */
};

/**
 * Connect to the daemon.
 *
 * @ret_error: filled in on failure; may be NULL
 *
 * Returns 0, and *ret_jobpool is the caller's to jobpool_close(). -ENOENT, -ECONNREFUSED: no daemon is there, at once.
 * -EAGAIN: its backlog stayed full. -EACCES: the socket may not be used. -ENAMETOOLONG, -ENOMEM.
 */
int jobpool_open(const struct jobpool_options *options, struct jobpool **ret_jobpool, struct jobpool_error *ret_error);
void jobpool_close(struct jobpool *jobpool); /* NULL is fine */
/* What the last failed call on this connection failed of; borrowed, overwritten by the next failure. */
const struct jobpool_error *jobpool_error(const struct jobpool *jobpool);
const char *jobpool_socket_path(const struct jobpool *jobpool); /* borrowed */
/* The user who listens on the socket (SO_PEERCRED). */
uid_t jobpool_peer_uid(const struct jobpool *jobpool);

/**
 * Send any request of doc/protocol.md and take its reply: what has no function of its own here.
 *
 * @words: @count >= 1 strings
 *
 * Returns 0, and *ret_value (may be NULL: not wanted) is the caller's. Is not repeated after a loss.
 */
int jobpool_call(struct jobpool *jobpool, const char *const *words, size_t count, struct jobpool_value **ret_value);

/* --- Process: one command job --- */

struct jobpool_option {
	const char *name;       /* of SUBMIT or LIST, in doc/protocol.md: "NAME", "PRIORITY", "TIMEOUT", ... */
	const char *value;
};

struct jobpool_spec {
	const char *queue;      /* NULL = "default" */
	const struct jobpool_option *options;
	size_t option_count;
	const char *const *argv; /* @argc >= 1 words, the first not empty; no shell is involved */
	size_t argc;
};

/**
 * Set the environment that jobs submitted from now on get; without it they get the daemon's minimal one.
 *
 * @variables: @count strings "NAME=value"; copied; those without a name are left out (some programs have such)
 *
 * It is sent with the next submission, once per connection, and stored by the daemon once per content. Returns 0,
 * -ENOMEM.
 */
int jobpool_set_environment(struct jobpool *jobpool, const char *const *variables, size_t count);

/**
 * Store what a job shall read on its standard input, for its option INPUT. Serves one job.
 *
 * @fd: read to its end, blocking
 *
 * Returns 0 and the id; -errno of reading; -E2BIG when it is longer than the daemon's limit.
 */
int jobpool_input_store(struct jobpool *jobpool, int fd, uint64_t *ret_id);

/**
 * Submit one job. When 0 is returned it is on the daemon's disk, and will run.
 *
 * Without an option KEY the library makes a random one, so that repeating it after a loss cannot start it twice.
 */
int jobpool_process_start(struct jobpool *jobpool, const struct jobpool_spec *spec, uint64_t *ret_id);
/* Wait for the end of one job: 0, and its map (doc/protocol.md, "The job map") is the caller's; -ETIMEDOUT. @ret_job
 * may be NULL. */
int jobpool_process_join(struct jobpool *jobpool, uint64_t id, int64_t timeout_ms, struct jobpool_value **ret_job);
/* End it: a waiting job at once, a running one by SIGTERM, after its grace by SIGKILL. Does not wait for its end. */
int jobpool_process_terminate(struct jobpool *jobpool, uint64_t id);
/* Deliver one signal to its whole process tree. @signal: a number or a name, with or without "SIG". */
int jobpool_process_signal(struct jobpool *jobpool, uint64_t id, const char *signal);

enum jobpool_change { JOBPOOL_CANCEL, JOBPOOL_HOLD, JOBPOOL_RELEASE, JOBPOOL_RETRY, JOBPOOL_REMOVE };
/**
 * Change several jobs. Of each 500 an unknown id means -ENOENT, and nothing of those was done.
 *
 * *ret_changed: how many it applied to (a running job cannot be held, a waiting one not be removed, ...).
 */
int jobpool_process_change(struct jobpool *jobpool, enum jobpool_change change, const uint64_t *ids, size_t count,
			   uint64_t *ret_changed);

/* --- Async result: how it ended, and what it wrote --- */

/**
 * Wait until all jobs are done, or with @any one of them.
 *
 * *ret_jobs: an array of job maps in the order of @ids (with @any: of those that are done); the caller's. -ETIMEDOUT.
 */
int jobpool_result_wait(struct jobpool *jobpool, const uint64_t *ids, size_t count, bool any, int64_t timeout_ms,
			struct jobpool_value **ret_jobs);
/* One job as it is now, with everything SHOW tells. */
int jobpool_result_show(struct jobpool *jobpool, uint64_t id, struct jobpool_value **ret_job);
bool jobpool_result_ready(const struct jobpool_value *job);      /* it is done */
bool jobpool_result_successful(const struct jobpool_value *job); /* done, and its outcome is "succeeded" */
/* The code that `jobpool run` returns for it (design section 4), 0..255; -1 while it is not done. */
int jobpool_result_code(const struct jobpool_value *job);

/**
 * Read one page of jobs.
 *
 * @filters: options of LIST: QUEUE STATE OUTCOME NAME OWNER ORDER COUNT
 * @cursor:  0 at first, then what *ret_cursor gave: 0 there means that nothing is left
 *
 * *ret_jobs: an array of job maps, possibly empty although more follow.
 */
int jobpool_result_list(struct jobpool *jobpool, const struct jobpool_option *filters, size_t filter_count,
			uint64_t cursor, uint64_t *ret_cursor, struct jobpool_value **ret_jobs);
/* Remove finished jobs, up to 500 a call: 0 removed = there are none left. @filters: QUEUE, OUTCOME. */
int jobpool_result_clean(struct jobpool *jobpool, const struct jobpool_option *filters, size_t filter_count,
			 uint64_t *ret_removed);

enum jobpool_output { JOBPOOL_OUT, JOBPOOL_ERR };
/**
 * Read output as it is now.
 *
 * @offset: of the true stream
 *
 * *ret_offset: where the bytes begin; larger than @offset when max_output cut something out between. *ret_bytes
 * (JOBPOOL_BYTES) is the caller's; empty at the present end. *ret_ended: they reach the end of a finished job's stream.
 */
int jobpool_output_read(struct jobpool *jobpool, uint64_t id, enum jobpool_output stream, uint64_t offset,
			uint64_t *ret_offset, struct jobpool_value **ret_bytes, bool *ret_ended);

/* Output that comes in while the job runs. Owns no connection: @jobpool outlives it, and does nothing else meanwhile.
 * */
struct jobpool_follow;

struct jobpool_news {
	struct {
		uint64_t offset;     /* where the bytes begin */
		uint64_t missing;    /* bytes before them that max_output cut out */
		const char *bytes;   /* borrowed until the next call */
		size_t count;
	} output[2];                 /* by enum jobpool_output; of a merged job all is in JOBPOOL_OUT */
	const struct jobpool_value *job; /* its map once it has ended and everything was told; else NULL. Borrowed until the next call */
};

/* Follow a job from the beginning of its output. 0, -ENOMEM; ended by jobpool_follow_free(). */
int jobpool_follow_new(struct jobpool *jobpool, uint64_t id, struct jobpool_follow **ret_follow);
/* Submit a job and follow it, in one write; errors of the submission come from the first jobpool_follow_next(). */
int jobpool_follow_start(struct jobpool *jobpool, const struct jobpool_spec *spec, struct jobpool_follow **ret_follow);
/* Wait for news; the first may be the id of the submission alone. -EINTR leaves everything as it is: call it again to go on. */
int jobpool_follow_next(struct jobpool_follow *follow, struct jobpool_news *ret_news);
/* The job's id; 0 while the submission was not answered yet. */
uint64_t jobpool_follow_id(const struct jobpool_follow *follow);
void jobpool_follow_free(struct jobpool_follow *follow); /* NULL is fine */

/* --- Pool: many jobs at once, and who runs them --- */

struct jobpool_map;             /* submissions in flight on one connection, which does nothing else meanwhile */

/**
 * Hears of each submission, in their order.
 *
 * @number: 1 for the first; @id: of its job, or 0: @error says why it was refused (borrowed)
 */
typedef void (*jobpool_submitted)(uint64_t number, uint64_t id, const struct jobpool_error *error, void *context);

/* Begin: at most @window (>= 1) submissions, and 1 MiB, are unanswered at a time. 0, -ENOMEM. */
int jobpool_pool_map_new(struct jobpool *jobpool, size_t window, jobpool_submitted on_submitted, void *context,
			 struct jobpool_map **ret_map);
/* Submit one more; waits for answers while the window is full. A refusal is no failure of this call: on_submitted hears
 * of it. */
int jobpool_pool_map_start(struct jobpool_map *map, const struct jobpool_spec *spec);
/* Send all and wait for all answers: before waiting for more to submit, and at the end. */
int jobpool_pool_map_drain(struct jobpool_map *map);
void jobpool_pool_map_free(struct jobpool_map *map); /* forgets what was not answered; NULL is fine */

int jobpool_pools(struct jobpool *jobpool, struct jobpool_value **ret_pools);     /* array of maps, see POOLS */
/* Close the pool's breaker: start its workers again. */
int jobpool_pool_reset(struct jobpool *jobpool, const char *pool);
int jobpool_workers(struct jobpool *jobpool, struct jobpool_value **ret_workers); /* array of maps, see WORKERS */

/* --- Queue --- */

struct jobpool_joined {
	uint64_t succeeded, failed; /* totals of all time */
};

/**
 * Wait until none of the queues has an unfinished job, all at one instant. -ETIMEDOUT.
 *
 * @queues: names joined by commas, or "*" for all. @ret_joined may be NULL.
 */
int jobpool_queue_join(struct jobpool *jobpool, const char *queues, int64_t timeout_ms,
		       struct jobpool_joined *ret_joined);
/* The same, and @on_interval is called at once and then about every @interval_ms (>= 1) while it waits for the daemon's answer; not
 * while the daemon is away. It may use other connections; the time it takes delays the answer. */
int jobpool_queue_join_watched(struct jobpool *jobpool, const char *queues, int64_t timeout_ms, uint64_t interval_ms,
			       void (*on_interval)(void *context), void *context, struct jobpool_joined *ret_joined);
int jobpool_queue_size(struct jobpool *jobpool, const char *queue, uint64_t *ret_ready);
/* Maps of all queues, or of one (@queue not NULL; -ENOENT). */
int jobpool_queues(struct jobpool *jobpool, const char *queue, struct jobpool_value **ret_queues);
int jobpool_queue_pause(struct jobpool *jobpool, const char *queue);  /* it takes jobs and starts none */
int jobpool_queue_resume(struct jobpool *jobpool, const char *queue);

/* --- The daemon --- */

int jobpool_ping(struct jobpool *jobpool);
/* Map of server, version, proto. */
int jobpool_hello(struct jobpool *jobpool, struct jobpool_value **ret_server);
/* Read the configuration again. -EREMOTEIO: it has problems, see the error's message; the old one stays. */
int jobpool_reload(struct jobpool *jobpool);
/* Stop the daemon, and with @kill its jobs, workers and supervisor; returns when it has ended. */
int jobpool_shutdown(struct jobpool *jobpool, bool kill);

#ifdef __cplusplus
}
#endif
