/* What the files of dispatch share: dispatch.c (a job's life until its turn), dispatch_claims.c (claim and hand over),
 * dispatch_ends.c (how attempts end), dispatch_verbs.c (what clients do to jobs), dispatch_start.c (start,
 * stop, reload). Nobody else includes it. */
#pragma once

#include "dispatch.h"
#include "environments.h"
#include "pool.h"
#include "workers.h"

/* Something that is due when a commit is done: tell a worker that an outcome is recorded, or bury one. */
struct recorded {
	struct list link;
	uint64_t worker_id, job_id, ticket;
	uint8_t token[TOKEN_BYTES];
	bool bury;               /* all that the dead worker left is posted; token and job_id are not used */
};

#define TOKENS_KEPT 32 /* one system call for so many */

struct dispatch {
	uv_loop_t *loop;
	const struct config *config;     /* borrowed: the current one */
	struct store *store;             /* borrowed */
	struct dispatch_events events;
	struct workers *workers;         /* owned; NULL before dispatch_start() */
	const char *socket_path;
	uint64_t epoch, next_job_id;
	uint32_t next_queue_id;
	struct list queues, pools;       /* sorted by name */
	struct job *jobs;                /* in memory, by id */
	struct environments environments;
	struct list recorded;            /* of struct recorded, by ticket */
	uv_timer_t hang_timer, due_timer, claim_timer, flush_timer, recall_timer, stop_timer;
	uint64_t due_at_ms;              /* for which the due timer is set, 0 = not */
	bool serving;                    /* jobs may be handed out */
	bool stopping;
	enum dispatch_stop how;
	bool quit_sent, closing;
	void (*on_stopped)(void *context);
	void *stop_context;
	unsigned open_handles;
	uint64_t started, ended;         /* attempts, since the start */
	uint8_t tokens[TOKENS_KEPT][TOKEN_BYTES]; /* random, not given out yet: the first @tokens_left of them */
	unsigned tokens_left;
};

/* ---- dispatch.c ---- */

/* A job in memory for one that a row describes (it must not be there already); NULL = out of memory. */
struct job *dispatch_job_from_row(struct dispatch *d, const struct job_row *row);
/* Forget a job that nothing needs in memory any more. */
void dispatch_settle(struct dispatch *d, struct job *job);
void dispatch_drop_spec(struct job *job);
/* A new request about @job, counted as pending; @on_done must end with dispatch_stored(). NULL = out of memory (logged). */
struct store_request *dispatch_request(struct dispatch *d, struct job *job, enum store_op op, store_done on_done);
void dispatch_stored(struct dispatch *d, struct job *job);
/* The step and all that follows it: counts, window, due timer, events. */
void dispatch_step(struct dispatch *d, struct job *job, enum job_state to, enum outcome outcome);
/* Into the window when it belongs there; a job that falls out of it goes from memory when nothing else holds it. */
void dispatch_enqueue(struct dispatch *d, struct job *job);
/* Out of the window, or of those claimed ahead. */
void dispatch_unlink(struct job *job);
/* Another priority: its place in the window follows. Not claimed. */
void dispatch_move(struct dispatch *d, struct job *job, int32_t priority);
/* A job that turned out not to exist: out of counts and windows, out of memory when its requests are done. */
void dispatch_erase(struct dispatch *d, struct job *job);
/* Read further ready jobs of the queue when its window runs low. */
void dispatch_refill(struct dispatch *d, struct queue *queue);
/* Look for delayed jobs that are due, no later than at @at_ms (loop time). */
void dispatch_arm_due(struct dispatch *d, uint64_t at_ms);

/* ---- dispatch_claims.c ---- */

/* Hand out what can be handed out. */
void dispatch_run(struct dispatch *d, struct pool *pool);
void dispatch_run_all(struct dispatch *d);
/* Take a claim back that was not handed over: the job is plainly ready again, in the window or the store. */
void dispatch_unclaim(struct dispatch *d, struct job *job);
/* Ask back what was sent ahead and has waited for so long. */
void dispatch_recall(struct dispatch *d, uint64_t waited_ms);
/* Forget a claim in memory: reservation, place among those claimed ahead, number. */
void dispatch_forget_claim(struct dispatch *d, struct job *job);
/* The worker reserved for this claim cannot take it: it waits among those claimed ahead. */
void dispatch_lose_reservation(struct dispatch *d, struct job *job);
/* Post that attempt @number of @job never started. */
void dispatch_post_unstart(struct dispatch *d, struct job *job, uint32_t number);

/* ---- dispatch_ends.c ---- */

extern const struct workers_events dispatch_worker_events; /* context to be filled in */
/* Record how an attempt ended: the job is JOB_RUNNING. @output: heap, becomes the store's. 0; -ENOMEM: nothing is changed, nobody may be told
 * "recorded", and the mark has to bring it again. */
int dispatch_end_attempt(struct dispatch *d, struct job *job, const struct attempt_end *end, struct slice output[2]);
/* The attempt is proven never to have started: back to the queue (or, when a cancel was asked for meanwhile, cancelled). */
void dispatch_never_started(struct dispatch *d, struct job *job);
/* An ended mark of @w, or the last word about one that is lost: record it, unless it is. Importing twice is harmless. @mark: as read,
 * with mark->end set. 0, or -ENOMEM as above. */
int dispatch_import_mark(struct dispatch *d, struct worker *w, unsigned index, const struct mark *mark);
/* Loop time at which the attempt of a "started" mark was started. */
uint64_t dispatch_started_at(const struct dispatch *d, const struct mark *mark);
/* Look in ten seconds whether the job that @w was given has started, and later whether its report is overdue. */
void dispatch_watch(struct dispatch *d, struct worker *w);

/* ---- dispatch_start.c ---- */

/* While stopping: go on to the next step when nothing is left of this one. */
void dispatch_consider_stop(struct dispatch *d);
