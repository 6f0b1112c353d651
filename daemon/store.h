/* The store: the only place that knows SQLite. One thread owns the only connection; the loop posts requests, the thread takes what
 * is pending, executes it in order in one transaction, commits once (group commit), and hands the answers back to the loop.
 *
 * Order: requests take effect in the order they were posted, reads see all writes posted before them, answers come in the
 * same order. An answer means: committed and on disk (fsync). There is no answer for an I/O error: see on_fatal.
 *
 * The loop is the authority on the jobs it has in memory; requests that depend on a job's state are conditional all the same
 * (-ESTALE), so that a duplicate key can undo what was posted behind it.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "job.h"
#include "list.h"
#include "outcome.h"
#include "util.h"
#include "worker_proto.h"

struct store;
struct store_request;

/* A queue's row. Counts are those of the commit (a claimed-ahead job counts as running here). */
struct queue_row {
	uint32_t id;
	char name[NAME_BYTES_MAX + 1];
	bool paused;
	uint64_t count[JOB_STATE_MAX]; /* jobs by state; JOB_DONE: finished jobs that are kept */
	uint64_t succeeded, failed;    /* totals of all time; failed = every other final outcome */
	uint64_t zero_commit;          /* number of the commit at which unfinished was last 0 (0 = never had a job) */
};

/* A job as stored, with its last attempt. Slices are owned by the request that read it. */
struct job_row {
	uint64_t id;
	uint32_t queue_id;
	int32_t priority;
	uint32_t gate;                 /* 0 = needs nothing but a worker (design section 6, gates) */
	enum job_state state;
	enum outcome outcome;          /* OUTCOME_NONE until JOB_DONE */
	uint8_t on_lost;
	bool cancelling;               /* running: cancel asked for; cancelled_by says by whom */
	uint32_t max_attempts;
	uint32_t retries;              /* > 0: an attempt that failed is repeated too, not only a lost one */
	uint64_t environment_id, input_id;
	uint64_t submitted_wall_ms;
	uint64_t due_ms, due_wall_ms;  /* delayed: monotonic of this boot, wall clock */
	struct slice name, owner, key, cancelled_by; /* data NULL = none */
	struct slice spec;             /* stored form (common/spec.h); for a list cut to STORE_LIST_SPEC_BYTES; NULL where not asked for */
	struct {
		uint32_t number;           /* 0 = there was none; the fields below are 0 then */
		uint8_t token[TOKEN_BYTES];
		uint64_t worker_id;        /* 0 while claimed ahead */
		uint64_t epoch;            /* of the daemon that gave it out; JOB_RUNNING only */
		struct attempt_end end;    /* outcome NONE = not ended */
	} attempt;
};

#define STORE_LIST_SPEC_BYTES 512
#define STORE_ROWS_MAX 500         /* rows changed by one request, rows returned by one list */
#define STORE_SCAN_MAX 5000        /* ids examined by one list */
/* An environment that no job uses stays for so long after it was last put: an hour, and the time for which others may know it from memory. */
#define STORE_ENVIRONMENT_MS (UINT64_C(3600000) + 2 * 60000)
#define STORE_GROUPS_MAX 100       /* distinct gates and priorities of one queue that are told apart */

enum store_op {
	/* changes */
	STORE_INSERT_JOB,
	STORE_FIND_KEY,
	STORE_START_ATTEMPT,
	STORE_UNSTART_ATTEMPT,
	STORE_END_ATTEMPT,
	STORE_UPDATE_JOB,
	STORE_REMOVE_JOBS,
	STORE_CLEAN,
	STORE_PUT_QUEUE,
	STORE_PUT_ENVIRONMENT,
	STORE_NEW_INPUT,
	STORE_SWEEP,
	/* reads */
	STORE_LOAD_JOBS,
	STORE_LIST_JOBS,
	STORE_LOAD_READY,
	STORE_LOAD_DUE,
	STORE_LOAD_ENVIRONMENT,
	STORE_LOAD_OUTPUT,
	STORE_OLDEST,
	STORE_OP_MAX,
};

/* A kept output or input file whose job is gone: the loop unlinks it. */
struct store_file {
	uint64_t job_id;               /* output: state_dir/output/<job_id>.<attempt>.* */
	uint32_t attempt;              /* 0: an input file, state_dir/input/<input_id> */
	uint8_t output_files;          /* bits as in struct attempt_end */
	uint64_t input_id;
};

/* The ready job of a queue that was submitted first. */
struct store_oldest {
	uint32_t queue_id;
	uint64_t job_id;               /* 0 = no job of it is ready */
	uint64_t submitted_wall_ms;
};

/* A job that was removed. */
struct store_gone {
	uint64_t job_id;
	uint32_t queue_id;
};

struct store_filter {              /* zero = everything */
	uint32_t states;               /* bit 1 << enum job_state */
	uint32_t outcomes;             /* bit 1 << enum outcome */
	uint32_t *queue_ids;           /* owned by the request */
	size_t queue_count;
	struct slice name, owner;      /* owned by the request; data NULL = any */
	uint64_t finished_before_ms;   /* STORE_CLEAN: store clock, see store_clock_ms(); 0 = any */
};

typedef void (*store_done)(struct store_request *request);

/**
 * One request. Get it with store_request_new(), fill in the inputs of its op, post it; @on_done runs on the loop exactly once,
 * and the request is freed after it. Slices given as inputs are heap memory and become the request's (freed with it), unless a
 * comment says borrowed; results too, so take what you keep (set the field to NULL).
 */
struct store_request {
	struct list link;
	enum store_op op;
	store_done on_done;            /* may be NULL */
	void *context;                 /* for on_done */
	void *context2;
	uint64_t ticket;               /* set by store_post() */
	uint64_t commit;               /* set with the answer: number of the commit it depends on */
	int status;                    /* 0, or the errors named with the op */
	union {
		/* Insert a job and count it. status -EEXIST: its key is known, @existing_id has it, nothing was inserted; @same: for
		 * the same spec_hash. -ENOENT: environment or input is gone, nothing was inserted.
		 * FIND_KEY: only look up row.owner and row.key: -EEXIST as above, or 0: it is not known. */
		struct {
			struct job_row row;    /* attempt and outcome empty; slices are inputs */
			uint64_t spec_hash;    /* what "the same spec" means for a key */
			uint64_t existing_id;
			bool same;
		} insert;
		/* JOB_READY -> JOB_RUNNING in the store, and the attempt's row. -ESTALE: the job is not ready (or not there). */
		struct {
			uint64_t job_id, worker_id;
			uint32_t number;
			uint8_t token[TOKEN_BYTES];
			bool want_spec;        /* read spec back into @spec */
			uint64_t want_environment; /* read this environment into @environment; 0 = no; gone = empty */
			struct slice spec, environment;
		} start;
		/* The attempt never started: its row goes, the job becomes @to. -ESTALE when the token is not the job's running attempt. */
		struct {
			uint64_t job_id;
			uint32_t number;
			uint8_t token[TOKEN_BYTES];
			enum job_state to;     /* READY, HELD or DONE (with @outcome) */
			enum outcome outcome;
			struct slice cancelled_by; /* DONE: data NULL = none */
		} unstart;
		/* The attempt ended; the job becomes @to. -ESTALE as above (then it was recorded before, or is unknown). */
		struct {
			uint64_t job_id;
			uint32_t number;
			uint8_t token[TOKEN_BYTES];
			struct attempt_end end;
			struct slice output[2]; /* inline output, may be empty */
			enum job_state to;     /* DONE, or READY / DELAYED for a further attempt */
			uint64_t due_ms, due_wall_ms;
		} end;
		/* Change a job that is not running, or mark a running one as being cancelled. -ESTALE when its state is not @from. */
		struct {
			uint64_t job_id;
			enum job_state from, to;
			int32_t priority;
			enum outcome outcome;  /* to DONE: of the job (no attempt is touched); else not looked at */
			bool cancelling;
			struct slice cancelled_by; /* data NULL = leave as it is (a job that leaves JOB_DONE loses it) */
			uint32_t max_attempts; /* 0 = leave as it is */
			uint64_t due_ms, due_wall_ms;
		} update;
		/* Remove those of the jobs that are done. @removed of them went, named in @gone; their files are in @files. */
		struct {
			uint64_t *ids;         /* heap; @count <= STORE_ROWS_MAX */
			size_t count;
			struct store_gone *gone; /* result: @removed */
			size_t removed;
			struct store_file *files; /* result; @file_count */
			size_t file_count;
		} remove;
		/* Remove done jobs that match, the longest finished first: up to STORE_ROWS_MAX, fewer when that takes long. Results as above. */
		struct {
			struct store_filter filter;
			size_t limit;          /* at most so many; 0 = STORE_ROWS_MAX */
			struct clean_cursor { uint64_t finished_ms, id; } from, next; /* zero = from the longest finished on */
			bool more;             /* result: enough were removed or examined for one time: post another one @from this @next */
			uint64_t *ids;         /* the store's own */
			size_t count;
			struct store_gone *gone; /* result: @removed */
			size_t removed;
			struct store_file *files;
			size_t file_count;
		} clean;
		/* Insert or change a queue's row: name and paused only, counts are the store's. -EEXIST: another one has this name. */
		struct {
			struct queue_row row;
		} queue;
		/* Find or store an environment of @owner by content; its hour begins anew. Result: @id. */
		struct {
			struct slice owner, block;
			uint64_t id;
		} environment;             /* also LOAD: in @id, result @block (data NULL = gone) */
		/* A new, unused input file of @owner: result @id. */
		struct {
			struct slice owner;
			uint64_t id;
		} input;
		/* Remove environments and inputs unused for an hour, and keys past their time, at most STORE_ROWS_MAX rows; shorten the
		 * file by a few pages where many are free. Results: @files
		 * (inputs), @more when there is more to do now, @next_ms: store clock when the next row will be due (0 = none). */
		struct {
			struct store_file *files;
			size_t file_count;
			bool more;
			uint64_t next_ms;
		} sweep;
		/* Read jobs by id; @rows in the order of @ids, an unknown one has id 0. */
		struct {
			uint64_t *ids;
			size_t count;          /* <= STORE_ROWS_MAX */
			bool want_spec;
			struct job_row *rows;  /* result: @count */
		} load;
		/* Read jobs by filter in the order of ids. */
		struct {
			struct store_filter filter;
			bool descending;
			uint64_t cursor;       /* ids beyond this one; 0 = from the beginning (the end when descending) */
			size_t limit;          /* 1..STORE_ROWS_MAX */
			struct job_row *rows;  /* result: @count */
			size_t count;
			uint64_t next_cursor;  /* 0 = there is nothing more */
		} list;
		/* Read ready jobs of one queue and gate in start order, beyond (after_priority, after_id), or from the front when after_id is 0.
		 * Without names, key and spec. @complete: nothing is beyond these. */
		struct {
			uint32_t queue_id, gate;
			int32_t after_priority;
			uint64_t after_id;
			size_t limit;
			struct job_row *rows;
			size_t count;
			bool complete;
		} ready;
		/* Read the delayed jobs that are due first (by due_ms), all queues. Without names, key and spec. */
		struct {
			size_t limit;
			struct job_row *rows;
			size_t count;
			bool complete;
		} due;
		/* Read which ready job of each of the queues was submitted first. In a queue with more than STORE_GROUPS_MAX distinct
		 * gates and priorities: among those of the first ones. */
		struct {
			uint32_t *queue_ids;   /* heap */
			size_t count;          /* <= STORE_ROWS_MAX */
			struct store_oldest *rows; /* result: @count, in the order of @queue_ids */
		} oldest;
		/* Inline output of an ended attempt: both streams (empty where there is none). -ENOENT: no such attempt. */
		struct {
			uint64_t job_id;
			uint32_t number;
			struct slice output[2];
		} output;
	} u;
};

/* What the loop needs to know before it serves. */
struct store_start {
	uint64_t epoch;                /* this daemon's: larger than any before, already on disk */
	uint64_t next_job_id;
	uint64_t commit;               /* number of the last commit */
	uint64_t boot_epoch;           /* the first epoch of this boot; an attempt with an earlier one was given out before the machine restarted */
	struct queue_row *queues;
	size_t queue_count;
	struct job_row *running;       /* every job that the store has as running, with its attempt; without spec */
	size_t running_count;
};

struct store_callbacks {
	/* Asked once a turn in which something was posted: may its commit wait a moment for others to share it? NULL = no. */
	bool (*may_pause)(void *context);
	void (*on_batch)(void *context);  /* after the answers of one commit were given out: replies may leave */
	void (*on_fatal)(const char *message, void *context); /* the database failed; nothing is answered any more: log, exit non-zero */
	void *context;
};

/**
 * Open or create state_dir/jobpool.db (cwd is state_dir), migrate it, checkpoint it, and start the thread.
 *
 * Returns 0; -errno with a line about what is wrong and what to do in @error (a newer schema: -EPROTONOSUPPORT; failed checkpoint: -EIO;
 * not a database or corrupt: -EBADMSG: never repaired, never deleted). The caller frees *ret_start with store_start_free().
 */
int store_open(uv_loop_t *loop, const struct store_callbacks *callbacks, struct store **ret_store, struct store_start **ret_start,
	       char error[256]);
/* The same with other limits, for tests on small disks. */
struct store_sizes {
	uint64_t wal_bytes;            /* checkpoint when the WAL passes this */
	uint64_t ballast_bytes, reserve_bytes; /* design section 6, ballast */
	uint64_t room_retry_ms;        /* how often to look for room while there is none */
};
int store_open_sized(uv_loop_t *loop, const struct store_callbacks *callbacks, const struct store_sizes *sizes, struct store **ret_store,
		     struct store_start **ret_start, char error[256]);
void store_start_free(struct store_start *start);
/* Finish what is posted, checkpoint, close, join the thread; then on_closed from the loop. Requests' callbacks still run before it. */
void store_close(struct store *store, void (*on_closed)(void *context), void *context);

struct store_request *store_request_new(enum store_op op, store_done on_done, void *context); /* NULL = out of memory */
void store_request_free(struct store_request *request);  /* one that was never posted; NULL is fine */
/* Never fails and never blocks; the request is the store's until on_done. */
void store_post(struct store *store, struct store_request *request);

/* Ticket of the last request posted; of the last one whose commit is on disk and whose answer was given. A reply formed
 * now may leave when store_committed() >= the store_posted() of this moment. */
uint64_t store_posted(const struct store *store);
uint64_t store_committed(const struct store *store);
uint64_t store_commit_number(const struct store *store);  /* of the commit whose answers are being given out */
/* false: the disk's reserve is reached, answer NOSPACE and post no insert (design section 6, ballast). */
bool store_has_room(const struct store *store);
/* The clock that ages run on (P12): monotonic while the daemon is up, advanced by at most a day while it was off. */
uint64_t store_clock_ms(const struct store *store);
struct store_figures { uint64_t commits, requests, database_bytes, wal_bytes; };
void store_get_figures(const struct store *store, struct store_figures *ret_figures);
