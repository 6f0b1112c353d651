/* The policy of a pool. Only a death before a first job throttles (as Postfix's master does it): a worker that has had work is
 * replaced at once, whatever the work did to it. */
#include "pool.h"

#include <inttypes.h>

#include "backoff.h"
#include "log.h"

#define QUICK_MS 5u   /* a job that took no longer ... */
#define QUICK_JOBS 3  /* ... as so many before it: the next may be sent ahead */

struct pool *pool_new(const char *name)
{
	struct pool *pool = calloc(1, sizeof(*pool));

	if (!pool)
		return NULL;
	snprintf(pool->name, sizeof(pool->name), "%s", name);
	list_init(&pool->link);
	list_init(&pool->workers);
	list_init(&pool->idle);
	list_init(&pool->claimed);
	return pool;
}

void pool_free(struct pool *pool)
{
	if (!pool)
		return;
	list_remove(&pool->link);
	free(pool);
}

/* Workers that hold a slot beyond the size, or that have done their share of jobs, finish what they do and leave. */
static void retire_surplus(struct pool *pool, const struct pool_actions *actions)
{
	struct worker *w, *tmp;

	list_for_each_safe(w, tmp, &pool->workers, link) {
		bool done = pool->recycle_after_jobs && w->jobs_done >= pool->recycle_after_jobs;

		if (!w->leaving && !w->died && w->connection && (done || w->slot >= pool->size))
			actions->retire(w, actions->context);
	}
}

uint64_t pool_tick(struct pool *pool, uint64_t now_ms, const struct pool_actions *actions)
{
	bool taken[POOL_WORKERS_MAX] = { false };
	struct worker *w;

	retire_surplus(pool, actions);
	if (pool->breaker_open)
		return 0;
	list_for_each(w, &pool->workers, link)
		if (w->slot < pool->size)
			taken[w->slot] = true;
	for (uint32_t slot = 0; slot < pool->size; slot++) {
		if (taken[slot])
			continue;
		if (now_ms < pool->start_not_before_ms)
			return pool->start_not_before_ms;
		if (actions->start(pool, slot, actions->context) < 0)
			return now_ms + BACKOFF_FIRST_MS;
	}
	return 0;
}

static bool may_take_a_job(const struct worker *w)
{
	return w->connection && !w->leaving && !w->died && !w->job && w->unrecorded < MARKS_PER_WORKER;
}

static enum worker_state state_of(const struct worker *w)
{
	if (w->died)
		return w->state == WORKER_STUCK ? WORKER_STUCK : WORKER_DEAD;
	if (w->leaving)
		return WORKER_LEAVING;
	if (w->job)
		return w->reserved ? WORKER_IDLE : WORKER_BUSY;
	if (w->connection && w->unrecorded >= MARKS_PER_WORKER)
		return WORKER_BUSY;
	return w->connection ? WORKER_IDLE : WORKER_STARTING;
}

bool pool_may_send_ahead(const struct worker *w)
{
	return w->quick == QUICK_JOBS && w->job && !w->reserved && !w->next && w->connection && !w->leaving && !w->died &&
	       w->unrecorded + 2 <= MARKS_PER_WORKER &&
	       (!w->pool->recycle_after_jobs || w->jobs_done + 2 <= w->pool->recycle_after_jobs);
}

bool pool_update_idle(struct worker *w)
{
	bool was = !list_is_empty(&w->idle_link), is = may_take_a_job(w);

	w->state = state_of(w);
	if (is && !was)
		list_append(&w->pool->idle, &w->idle_link);
	else if (!is && was)
		list_remove(&w->idle_link);
	return is && !was;
}

void pool_on_ended(struct worker *w, uint64_t elapsed_ms)
{
	w->quick = elapsed_ms > QUICK_MS ? 0 : MIN(w->quick + 1, QUICK_JOBS);
	w->jobs_done++;
	w->proven = true;
	w->pool->ended_in_commit++;
	w->pool->early_deaths = 0;
	w->pool->start_not_before_ms = 0;
}

/* Twice as many as ended while the last commit was under way: enough to double the rate with each commit until the workers are the limit, none
 * where jobs are long. (As many as were started, the first rule, cannot grow: what was not claimed cannot be started.) A commit in
 * which none ended halves it, since commits also come from others' submissions. */
void pool_on_commit(struct pool *pool)
{
	pool->claim_budget = MIN(MAX(2 * pool->ended_in_commit, pool->claim_budget / 2), POOL_CLAIMS_MAX);
	pool->ended_in_commit = 0;
}

bool pool_claims_are_stale(struct pool *pool)
{
	bool stale = pool->given == pool->given_before;

	pool->given_before = pool->given;
	if (stale)
		pool->claim_budget = 0;
	return stale;
}

bool pool_on_early_death(struct worker *w, uint64_t now_ms)
{
	struct pool *pool = w->pool;

	if (pool->early_deaths && w->started_ms < pool->counted_ms)
		return false;
	pool->counted_ms = now_ms;
	pool->early_deaths++;
	if (pool->early_deaths >= 2)
		pool->start_not_before_ms = now_ms + backoff_ms(pool->early_deaths - 1, BACKOFF_FIRST_MS, BACKOFF_MOST_MS);
	if (pool->breaker_open || pool->early_deaths < POOL_BREAKER_DEATHS)
		return false;
	pool->breaker_open = true;
	return true;
}

void pool_reset(struct pool *pool)
{
	pool->breaker_open = false;
	pool->early_deaths = 0;
	pool->start_not_before_ms = 0;
}

static uint32_t count_workers(const struct pool *pool, bool (*matches)(const struct worker *))
{
	struct worker *w;
	uint32_t n = 0;

	list_for_each(w, &pool->workers, link)
		n += matches(w);
	return n;
}

static bool is_alive(const struct worker *w)
{
	return !w->died;
}

static bool is_busy(const struct worker *w)
{
	return !w->died && w->job && !w->reserved;
}

static bool is_idle(const struct worker *w)
{
	return w->state == WORKER_IDLE;
}

uint32_t pool_alive(const struct pool *pool)
{
	return count_workers(pool, is_alive);
}

uint32_t pool_busy(const struct pool *pool)
{
	return count_workers(pool, is_busy);
}

uint32_t pool_idle(const struct pool *pool)
{
	return count_workers(pool, is_idle);
}
