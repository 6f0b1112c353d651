/* Policy of a pool: how many workers it should have, which is idle, when to start, recycle or retire one, when to back off, and
 * the breaker. Never forks, never writes to a socket: it asks through struct pool_actions. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "config.h"
#include "list.h"
#include "util.h"
#include "worker.h"

#define POOL_CLAIMS_MAX 256u     /* jobs claimed ahead */
#define POOL_BREAKER_DEATHS 10u /* deaths in a row before a first job that open the breaker */

struct pool {
	struct list link;            /* in dispatch->pools */
	char name[NAME_BYTES_MAX + 1];
	uint32_t size;               /* workers it should have; 0 = the pool is gone from the configuration */
	uint64_t recycle_after_jobs; /* 0 = never */
	struct list workers;         /* of struct worker: all that hold a slot, dead ones included until they are buried */
	struct list idle;            /* of struct worker (idle_link): may take a job now */
	uint32_t early_deaths;       /* in a row, before a first job */
	uint64_t counted_ms;         /* loop time of the last death that was counted */
	uint64_t start_not_before_ms; /* back-off, loop time */
	bool breaker_open;

	struct list claimed;         /* of struct job: claimed ahead, on disk or on the way there, waiting for a worker */
	uint32_t claimed_len;        /* how many these are */
	uint32_t ended_in_commit;    /* attempts that ended since the last commit ... */
	uint32_t claim_budget;       /* ... so many may be claimed ahead; see pool_on_commit() */
	uint64_t given, given_before; /* attempts handed over; at the last look for claims that have gone stale */
};

/* What a pool asks for. Both may change the pool's list of workers. */
struct pool_actions {
	int (*start)(struct pool *pool, uint32_t slot, void *context); /* 0, or -errno: tried again at the next tick */
	void (*retire)(struct worker *worker, void *context);
	void *context;
};

struct pool *pool_new(const char *name);
void pool_free(struct pool *pool);       /* its lists must be empty */

/**
 * Start what is missing, retire what is too much. Idempotent; to be called after every change.
 *
 * Returns the loop time at which to call again because a back-off ends then, 0 = only after the next change.
 */
uint64_t pool_tick(struct pool *pool, uint64_t now_ms, const struct pool_actions *actions);
/* Put the worker into or out of the idle list, as its state now says. true: it has just become idle. */
bool pool_update_idle(struct worker *worker);
/* A worker has ended a job that took @elapsed_ms since it was its turn: the crash loop, if there was one, is over. */
void pool_on_ended(struct worker *worker, uint64_t elapsed_ms);
/* It may get a second job while it has one, to start as soon as that ends: its jobs are so short that it would spend its time waiting
 * for the next. */
bool pool_may_send_ahead(const struct worker *worker);
/* A commit is done: how many jobs may be claimed ahead from now on. */
void pool_on_commit(struct pool *pool);
/* To be asked once a second while jobs are claimed ahead: true when no worker has taken any since the last time, so that they are to be
 * given back: a power cut would count them as started. */
bool pool_claims_are_stale(struct pool *pool);
/* A worker has died before its first job. One that was started before the last such death was counted is of the same calamity (somebody
 * killed them all) and is not counted again. Returns true when this death has opened the breaker. */
bool pool_on_early_death(struct worker *worker, uint64_t now_ms);
void pool_reset(struct pool *pool);      /* close the breaker, forget the back-off */

uint32_t pool_alive(const struct pool *pool); /* workers not known to be dead */
uint32_t pool_busy(const struct pool *pool);
uint32_t pool_idle(const struct pool *pool);
