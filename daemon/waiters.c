/* Everybody who waits. Jobs are found by a hash table of those that somebody watches; all time-outs hang on one timer, which is
 * set only while there is one. */
#include "waiters.h"

#include <errno.h>
#include <stdlib.h>
#include <uthash.h>

#include "util.h"

/* A job that at least one waiter watches. */
struct watched {
	UT_hash_handle hh;
	uint64_t id;
	struct list watches;
	bool notifying; /* on the stack of waiters_notify_job(): it frees us */
};

struct watch {
	struct list link; /* in watched->watches, or in the list of those still to be told */
	struct watched *watched;
	struct waiter *waiter;
};

struct waiters {
	uv_timer_t timer;
	struct watched *jobs;
	struct list timed;   /* by deadline */
	struct list untimed;
	struct list joins;
};

static void timer_update(struct waiters *ws);

static void on_timer(uv_timer_t *timer)
{
	struct waiters *ws = timer->data;
	uint64_t now = uv_now(timer->loop);
	struct waiter *w;

	while ((w = list_first(&ws->timed, struct waiter, link)) && w->deadline_ms <= now) {
		list_remove(&w->link);
		list_append(&ws->untimed, &w->link); /* told once; it is removed when its owner says so */
		w->on_event(w, WAITER_TIMEOUT, 0, NULL);
	}
	timer_update(ws);
}

static void timer_update(struct waiters *ws)
{
	struct waiter *w = list_first(&ws->timed, struct waiter, link);
	uint64_t now = uv_now(ws->timer.loop);

	if (!w)
		uv_timer_stop(&ws->timer);
	else if (!uv_is_active((uv_handle_t *)&ws->timer) || uv_timer_get_due_in(&ws->timer) != w->deadline_ms - now)
		uv_timer_start(&ws->timer, on_timer, w->deadline_ms > now ? w->deadline_ms - now : 0, 0);
}

int waiters_new(uv_loop_t *loop, struct waiters **ret_waiters)
{
	struct waiters *ws = calloc(1, sizeof(*ws));

	if (!ws)
		return -ENOMEM;
	uv_timer_init(loop, &ws->timer);
	ws->timer.data = ws;
	list_init(&ws->timed);
	list_init(&ws->untimed);
	list_init(&ws->joins);
	*ret_waiters = ws;
	return 0;
}

static void tell_all_stopped(struct list *head)
{
	struct waiter *w;

	while ((w = list_first(head, struct waiter, link))) {
		waiter_remove(w);
		w->on_event(w, WAITER_STOPPED, 0, NULL);
	}
}

static void on_closed(uv_handle_t *handle) { free(handle->data); }

void waiters_stop(struct waiters *ws)
{
	if (!ws)
		return;
	tell_all_stopped(&ws->timed);
	tell_all_stopped(&ws->untimed);
	uv_close((uv_handle_t *)&ws->timer, on_closed);
}

static void watched_drop(struct waiters *ws, struct watched *watched)
{
	if (watched->notifying || !list_is_empty(&watched->watches))
		return;
	HASH_DEL(ws->jobs, watched);
	free(watched);
}

static int watch_add(struct waiters *ws, struct waiter *w, uint64_t id)
{
	struct watch *watch = &w->watches[w->watch_count];
	struct watched *watched;

	HASH_FIND(hh, ws->jobs, &id, sizeof(id), watched);
	if (!watched) {
		watched = calloc(1, sizeof(*watched));
		if (!watched)
			return -ENOMEM;
		watched->id = id;
		list_init(&watched->watches);
		HASH_ADD(hh, ws->jobs, id, sizeof(id), watched);
	}
	watch->watched = watched;
	watch->waiter = w;
	list_init(&watch->link);
	list_append(&watched->watches, &watch->link);
	w->watch_count++;
	return 0;
}

/* Mostly all wait equally long, so the place is near the end. */
static void insert_by_deadline(struct waiters *ws, struct waiter *w)
{
	struct list *at = &ws->timed;

	while (at->prev != &ws->timed && list_entry(at->prev, struct waiter, link)->deadline_ms > w->deadline_ms)
		at = at->prev;
	list_insert_before(at, &w->link);
}

int waiter_add(struct waiters *ws, struct waiter *w, int64_t timeout_ms, const uint64_t *ids, size_t count, bool queues)
{
	list_init(&w->link);
	list_init(&w->join_link);
	w->waiters = ws;
	w->watches = count ? calloc(count, sizeof(*w->watches)) : NULL;
	w->watch_count = 0;
	if (count && !w->watches)
		return -ENOMEM;
	for (size_t i = 0; i < count; i++) {
		if (watch_add(ws, w, ids[i]) < 0) {
			waiter_remove(w);
			return -ENOMEM;
		}
	}
	if (queues)
		list_append(&ws->joins, &w->join_link);
	if (timeout_ms == WAIT_FOREVER) {
		list_append(&ws->untimed, &w->link);
		return 0;
	}
	uint64_t now = uv_now(ws->timer.loop);
	w->deadline_ms = now + MIN((uint64_t)timeout_ms, UINT64_MAX / 4);
	insert_by_deadline(ws, w);
	timer_update(ws);
	return 0;
}

void waiter_remove(struct waiter *w)
{
	struct waiters *ws = w->waiters;

	if (!ws)
		return;
	w->waiters = NULL;
	for (size_t i = 0; i < w->watch_count; i++) {
		list_remove(&w->watches[i].link);
		watched_drop(ws, w->watches[i].watched);
	}
	free(w->watches);
	w->watches = NULL;
	w->watch_count = 0;
	list_remove(&w->join_link);
	list_remove(&w->link);
	timer_update(ws);
}

void waiters_notify_job(struct waiters *ws, enum waiter_event event, uint64_t job_id)
{
	struct watched *watched;
	struct watch *watch;
	struct list todo;

	HASH_FIND(hh, ws->jobs, &job_id, sizeof(job_id), watched);
	if (!watched || watched->notifying)
		return;
	/* Whoever is told may remove itself, and with it further watches that are still to be told. */
	watched->notifying = true;
	list_init(&todo);
	list_splice(&todo, &watched->watches);
	while ((watch = list_first(&todo, struct watch, link))) {
		list_remove(&watch->link);
		list_append(&watched->watches, &watch->link);
		watch->waiter->on_event(watch->waiter, event, job_id, NULL);
	}
	watched->notifying = false;
	watched_drop(ws, watched);
}

void waiters_notify_idle(struct waiters *ws, struct queue *queue)
{
	struct list todo;
	struct waiter *w;

	list_init(&todo);
	list_splice(&todo, &ws->joins);
	while ((w = list_first(&todo, struct waiter, join_link))) {
		list_remove(&w->join_link);
		list_append(&ws->joins, &w->join_link);
		w->on_event(w, WAITER_QUEUE_IDLE, 0, queue);
	}
}
