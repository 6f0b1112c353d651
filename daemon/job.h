/* One job: its states, the table of allowed steps, and what the loop keeps of it in memory. Reads no clock, knows no loop.
 *
 *     submit -> held | delayed | blocked | ready -> running -> done
 *                       ^____________________________|  retry
 *
 * Memory holds the few jobs that the loop works on (a window of the next ready ones, those claimed or running, those whose change is
 * not committed yet); all others live in the store only. A job that is in memory is the truth, the store follows it. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <uthash.h>

#include "list.h"
#include "outcome.h"
#include "util.h"
#include "worker_proto.h"

/* Stored: append only. */
enum job_state { JOB_HELD, JOB_DELAYED, JOB_BLOCKED, JOB_READY, JOB_RUNNING, JOB_DONE, JOB_STATE_MAX };

#define JOB_ID_MAX ((UINT64_C(1) << 62) - 1) /* ids from 2^62 are reserved (design section 15) */
#define JOB_PRIORITY_MAX 1000000
#define JOB_NAME_BYTES_MAX 256
#define JOB_KEY_BYTES_MAX 256
#define JOB_RETRIES_MAX 1000

const char *job_state_name(enum job_state state);
/* JOB_STATE_MAX when the word is none of them. */
enum job_state job_state_parse(struct slice word);
bool job_may_step(enum job_state from, enum job_state to);

/* How far the hand-over of a job that is JOB_READY or JOB_RUNNING has come. */
enum job_claim {
	CLAIM_NONE,      /* ready, nobody has it */
	CLAIM_POSTED,    /* ready: the attempt is on its way to the disk */
	CLAIM_COMMITTED, /* ready: the attempt is on disk, waits for a free worker (claimed ahead) */
	CLAIM_GIVEN,     /* running: sent to a worker */
	CLAIM_ADOPTING,  /* running since before the daemon's start: its worker will call */
};

struct job {
	UT_hash_handle by_id;
	struct list link;            /* in queue->window (ready, CLAIM_NONE), pool->claimed (claimed, no worker), or nowhere */
	struct queue *queue;         /* borrowed */
	struct pool *claim_pool;     /* borrowed; for which it was claimed, valid unless CLAIM_NONE */
	struct worker *worker;       /* borrowed; set while CLAIM_GIVEN, and while CLAIM_POSTED for a worker reserved for it */
	uint64_t id;
	int32_t priority;
	enum job_state state;        /* change with job_set_state() only */
	enum job_claim claim;
	enum outcome outcome;        /* valid in JOB_DONE */
	uint8_t on_lost;             /* enum on_lost */
	bool dead;                   /* removed, or turned out to be a duplicate: goes when @pending is 0 */
	bool cancelling;             /* running: a cancel was asked for */
	uint32_t attempt;            /* number of the last attempt given out, 0 = none */
	uint32_t max_attempts, retries;
	uint32_t readers;            /* reads of its scratch files under way: "recorded" waits for them */
	uint32_t pending;            /* posted changes that are not committed: the job stays in memory until 0 */
	uint32_t references;         /* loaded for a command, watched by a follower: stays in memory until 0 */
	uint8_t token[TOKEN_BYTES];  /* of the attempt, from CLAIM_POSTED on */
	uint64_t given_ms;           /* loop time of the hand-over */
	uint64_t environment_id;     /* 0 = the minimal one */
	struct environment *environment; /* held from the claim until the hand-over; NULL = none, or not read yet */
	struct store_request *insert; /* borrowed: its row is on the way to the disk, the spec with it; NULL = it is stored */
	uint64_t due_ms;             /* JOB_DELAYED: monotonic */
	struct slice spec;           /* owned, heap; NULL data = in the store only */
	char *cancelled_by;          /* owned or NULL */
};

/* Makes an allowed step, asserts that it is one, logs it. */
void job_set_state(struct job *job, enum job_state state);
/* true when @a is to start before @b: higher priority, then lower id. */
bool job_is_before(const struct job *a, const struct job *b);
struct job *job_new(uint64_t id, struct queue *queue);   /* JOB_HELD, unlinked; NULL = out of memory */
void job_free(struct job *job);                          /* NULL is fine; must be unlinked and not in a table */
