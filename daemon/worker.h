/* The connection to ONE worker, and what the daemon knows of it: give it an attempt, hear of its end, cancel. It does not know
 * what a job is worth: dispatch decides. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "link.h"
#include "list.h"
#include "rate.h"
#include "util.h"
#include "worker_proto.h"

struct pool;
struct job;

enum worker_state {
	WORKER_STARTING, /* asked for, or of before our start: has not called yet */
	WORKER_IDLE,
	WORKER_BUSY,     /* with a job, or none of its marks is free */
	WORKER_LEAVING,  /* takes nothing more */
	WORKER_DEAD,     /* dead; its tree is not proven empty yet, or its marks are not recorded yet */
	WORKER_STUCK,    /* dead, and its tree could not be ended */
	WORKER_STATE_MAX,
};

struct worker {
	struct list link;          /* in pool->workers */
	struct list idle_link;     /* in pool->idle when it may take a job */
	struct pool *pool;         /* borrowed */
	enum worker_state state;
	uint64_t id;               /* never reused, unlike the pid */
	uint32_t slot;
	pid_t pid;                 /* 0 = not known yet */
	int file_fd;               /* its worker file, -1 = not opened yet; owned */
	struct link *connection;   /* owned; NULL = not connected */
	struct job *next;          /* sent ahead: it starts when @job ends; NULL = none */
	struct job *job;           /* with it now (or reserved for it: then job->claim is CLAIM_POSTED); NULL = none */
	uint8_t unrecorded;        /* marks in use by ended attempts that are not recorded yet */
	bool reserved;             /* @job is on its way to the disk, not given yet */
	bool leaving;
	bool asked;                /* START was sent to the supervisor that is connected now */
	bool has_row;              /* that supervisor's table has it */
	bool died, empty;          /* as the supervisor, or its lock and file, said */
	bool killed;               /* by us, as it hung */
	bool burying;              /* its marks are being recorded */
	bool recalled;             /* @next was asked back */
	uint8_t quick;             /* so many of its last jobs, in a row, were quick; see pool_may_send_ahead() */
	uint64_t jobs_done;
	struct rate jobs_rate;
	bool proven;               /* has had a job: its death is no reason to wait before the next start */
	bool called;               /* has been connected */
	bool other_boot;           /* of before the machine restarted */
	uint64_t started_ms;       /* loop time of the start that we asked for; 0 = of before our time */
	uint64_t started_wall_ms;
	uint64_t check_at_ms;      /* loop time at which to look whether it hangs, 0 = not at all */
	bool check_started;        /* that look is for the mark "started"; else for a report that is overdue */
};

struct worker *worker_new(struct pool *pool, uint64_t id, uint32_t slot);
void worker_free(struct worker *w);      /* closes its file; connection must be gone */
const char *worker_state_name(const struct worker *w);

/* Messages. They never fail: a broken connection shows as its end. */
struct run_parts { uint64_t job_id; uint32_t attempt; const uint8_t *token; struct slice queue, spec, environment; };
void worker_send_run(struct worker *w, uint64_t epoch, const struct run_parts *run);
/* Travels with the next message, or with worker_flush(): a busy worker need not wake up for it. */
void worker_post_recorded(struct worker *w, uint64_t epoch, const uint8_t token[TOKEN_BYTES]);
void worker_flush(struct worker *w);
void worker_send_cancel(struct worker *w, uint64_t epoch, const uint8_t token[TOKEN_BYTES], uint64_t grace_ms, enum cancel_reason reason);
void worker_send_signal(struct worker *w, uint64_t epoch, const uint8_t token[TOKEN_BYTES], int signal);
void worker_send_retire(struct worker *w, uint64_t epoch);
void worker_send_recall(struct worker *w, uint64_t epoch, const uint8_t token[TOKEN_BYTES]);
/* Index of the mark that names @token, -1 = none. Reads the worker file. */
int worker_find_mark(const struct worker *w, const uint8_t token[TOKEN_BYTES], struct mark *ret_mark);
