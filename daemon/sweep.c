/* Retention. Each turn does one bounded thing (one request of the store, which takes a few milliseconds at most) and is followed by the
 * next while there is more; requests of clients come in between. */
#include "sweep.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "log.h"
#include "queue.h"

#define UNUSED_MS (UINT64_C(3600) * 1000)       /* what nobody uses goes after an hour; see STORE_SWEEP */
#define AGE_LOOK_MIN_MS 1000                    /* between two looks at the age of finished jobs */
#define AGE_LOOK_MAX_MS (UINT64_C(3600) * 1000)
#define PAUSE_MAX_MS 20
#define MANY_REMOVED 10000                       /* after so many the file may have room to give back: see STORE_SWEEP */

struct sweep {
	uv_loop_t *loop;
	struct store *store;
	struct dispatch *dispatch;
	const struct config *config;
	uv_timer_t timer;
	uint64_t unused_at_ms, aged_at_ms;   /* loop time of the next look; 0 = nothing to look for */
	bool sweeping;                       /* a request is under way */
	bool cleaning, trimming;             /* the same, or the pause after one */
	struct clean_cursor next;            /* cleaning: where to go on after the pause */
	uint64_t step_ms, go_on_at_ms;       /* loop time: when the last step was posted; when the pause ends, 0 = there is none */
	uint64_t had;                        /* finished jobs at the last step */
	bool more_done;                      /* jobs have ended since the last batch */
	uint64_t removed;                    /* jobs, since STORE_SWEEP was last asked for */
	bool stopped;
};

/* --- files --- */

struct unlink_work {
	uv_work_t work;
	size_t count;
	struct store_file files[];
};

static void unlink_path(const char *path)
{
	if (unlink(path) < 0 && errno != ENOENT)
		log_warning("cannot remove a file that is no longer needed", "path=%s error=" LOG_QUOTED, path, strerror(errno));
}

static void do_unlink(uv_work_t *work)
{
	static const char *const suffixes[2] = { "out", "err" };
	struct unlink_work *w = work->data;
	char path[96];

	for (size_t i = 0; i < w->count; i++) {
		const struct store_file *file = &w->files[i];

		if (file->input_id) {
			snprintf(path, sizeof(path), INPUT_DIRECTORY "/%" PRIu64, file->input_id);
			unlink_path(path);
		}
		for (unsigned s = 0; s < 2; s++) {
			if (!(file->output_files & 1u << s))
				continue;
			snprintf(path, sizeof(path), OUTPUT_DIRECTORY "/%" PRIu64 ".%" PRIu32 ".%s", file->job_id, file->attempt, suffixes[s]);
			unlink_path(path);
		}
	}
}

static void after_unlink(uv_work_t *work, int status)
{
	(void)status;
	free(work->data);
}

void sweep_unlink(struct sweep *s, const struct store_file *files, size_t count)
{
	struct unlink_work *w;

	if (!count)
		return;
	w = malloc(sizeof(*w) + count * sizeof(*files));
	if (w) {
		w->work.data = w;
		w->count = count;
		memcpy(w->files, files, count * sizeof(*files));
		if (uv_queue_work(s->loop, &w->work, do_unlink, after_unlink) == 0)
			return;
		free(w);
	}
	log_warning("out of memory: files of removed jobs stay behind", "files=%zu", count);
}

/* --- when --- */

static void on_timer(uv_timer_t *timer);

static void arm(struct sweep *s)
{
	uint64_t now = uv_now(s->loop), at = s->unused_at_ms;

	if (s->aged_at_ms && (!at || s->aged_at_ms < at))
		at = s->aged_at_ms;
	if (s->go_on_at_ms && (!at || s->go_on_at_ms < at))
		at = s->go_on_at_ms;
	if (s->stopped || !at)
		uv_timer_stop(&s->timer);
	else
		uv_timer_start(&s->timer, on_timer, at > now ? at - now : 0, 0);
}

static uint64_t finished_jobs(const struct sweep *s)
{
	struct queue *queue;
	uint64_t n = 0;

	list_for_each(queue, dispatch_queues(s->dispatch), link)
		n += queue->count[JOB_DONE];
	return n;
}

/* Ages are looked at often enough that a job stays at most a sixteenth longer than it should. */
static void expect_aged(struct sweep *s)
{
	uint64_t every = s->config->retention.finished_ms / 16;

	if (!s->config->retention.finished_ms || s->cleaning)
		return;
	every = MAX(AGE_LOOK_MIN_MS, MIN(every, AGE_LOOK_MAX_MS));
	s->aged_at_ms = uv_now(s->loop) + every;
	arm(s);
}

void sweep_expect(struct sweep *s)
{
	if (s->unused_at_ms || s->sweeping)
		return;
	s->unused_at_ms = uv_now(s->loop) + UNUSED_MS;
	arm(s);
}

/* --- removal in steps --- */

static void clean_from(struct sweep *s, struct clean_cursor from);
static void trim(struct sweep *s);

static void go_on(struct sweep *s)
{
	s->go_on_at_ms = 0;
	if (s->cleaning) {
		s->cleaning = false;
		clean_from(s, s->next);
	}
	s->trimming = false;
	trim(s);
}

/* Every reply waits for the commit under way, so a removal leaves as much time free as it takes; not while jobs end faster than it
 * removes them. */
static void pause_then_go_on(struct sweep *s)
{
	uint64_t now = uv_now(s->loop), have = finished_jobs(s);
	bool behind = have >= s->had;

	s->had = have;
	if (behind || s->stopped) {
		go_on(s);
		return;
	}
	s->go_on_at_ms = now + MIN(now - s->step_ms + 1, PAUSE_MAX_MS);
	arm(s);
}

static void sweep_unused(struct sweep *s);

/* Keys of removed jobs stay for a while; many removed jobs leave room in the file. */
static void expect_after(struct sweep *s, uint64_t removed)
{
	s->removed += removed;
	if (s->removed >= MANY_REMOVED)
		sweep_unused(s);
	else if (removed)
		sweep_expect(s);
}

/* --- finished jobs past their age --- */

static void on_cleaned(struct store_request *request)
{
	struct sweep *s = request->context;

	s->cleaning = false;
	if (request->status == 0) {
		dispatch_forget(s->dispatch, request->u.clean.gone, request->u.clean.removed);
		sweep_unlink(s, request->u.clean.files, request->u.clean.file_count);
		expect_after(s, request->u.clean.removed);
		if (request->u.clean.more) {
			s->cleaning = true;
			s->next = request->u.clean.next;
			pause_then_go_on(s);
			return;
		}
	}
	if (finished_jobs(s))
		expect_aged(s);
	trim(s);
}

static void clean_from(struct sweep *s, struct clean_cursor from)
{
	uint64_t clock = store_clock_ms(s->store), age = s->config->retention.finished_ms;
	struct store_request *request;

	s->aged_at_ms = 0;
	if (s->stopped || s->cleaning || !age)
		return;
	request = clock > age ? store_request_new(STORE_CLEAN, on_cleaned, s) : NULL;
	if (!request) {
		expect_aged(s);
		return;
	}
	request->u.clean.filter.finished_before_ms = clock - age;
	request->u.clean.from = from;
	s->cleaning = true;
	s->step_ms = uv_now(s->loop);
	store_post(s->store, request);
}

static void clean(struct sweep *s) { clean_from(s, (struct clean_cursor){ 0 }); }

/* --- more finished jobs than are to be kept: the oldest go --- */

static void on_trimmed(struct store_request *request)
{
	struct sweep *s = request->context;

	s->trimming = false;
	if (request->status != 0 || !request->u.clean.removed)
		return;
	dispatch_forget(s->dispatch, request->u.clean.gone, request->u.clean.removed);
	sweep_unlink(s, request->u.clean.files, request->u.clean.file_count);
	expect_after(s, request->u.clean.removed);
	s->trimming = true;
	pause_then_go_on(s);
}

static void trim(struct sweep *s)
{
	uint64_t keep = s->config->retention.jobs, have = finished_jobs(s);
	struct store_request *request;

	/* One removal at a time, or both would take the same surplus. */
	if (s->stopped || s->trimming || s->cleaning || !keep || have <= keep)
		return;
	request = store_request_new(STORE_CLEAN, on_trimmed, s);
	if (!request)
		return;
	request->u.clean.limit = (size_t)MIN(have - keep, (uint64_t)STORE_ROWS_MAX);
	s->trimming = true;
	s->step_ms = uv_now(s->loop);
	store_post(s->store, request);
}

/* --- what nobody uses --- */

static void on_swept(struct store_request *request)
{
	struct sweep *s = request->context;
	uint64_t clock = store_clock_ms(s->store), next = request->u.sweep.next_ms;

	s->sweeping = false;
	if (request->status != 0) {
		sweep_expect(s);
		return;
	}
	sweep_unlink(s, request->u.sweep.files, request->u.sweep.file_count);
	if (request->u.sweep.more) {
		sweep_unused(s);
	} else if (next) {
		s->unused_at_ms = uv_now(s->loop) + (next > clock ? next - clock : 0) + 1000;
		arm(s);
	}
}

static void sweep_unused(struct sweep *s)
{
	struct store_request *request;

	s->unused_at_ms = 0;
	if (s->stopped || s->sweeping)
		return;
	s->removed = 0;
	request = store_request_new(STORE_SWEEP, on_swept, s);
	if (!request) {
		sweep_expect(s);
		return;
	}
	s->sweeping = true;
	store_post(s->store, request);
}

static void on_timer(uv_timer_t *timer)
{
	struct sweep *s = timer->data;
	uint64_t now = uv_now(s->loop);

	if (s->go_on_at_ms && s->go_on_at_ms <= now)
		go_on(s);
	if (s->unused_at_ms && s->unused_at_ms <= now)
		sweep_unused(s);
	if (s->aged_at_ms && s->aged_at_ms <= now)
		clean(s);
	arm(s);
}

/* --- */

int sweep_new(uv_loop_t *loop, struct store *store, struct dispatch *dispatch, const struct config *config, struct sweep **ret_sweep)
{
	struct sweep *s = calloc(1, sizeof(*s));

	if (!s)
		return -ENOMEM;
	s->loop = loop;
	s->store = store;
	s->dispatch = dispatch;
	s->config = config;
	uv_timer_init(loop, &s->timer);
	s->timer.data = s;
	*ret_sweep = s;
	sweep_unused(s);
	clean(s);
	trim(s);
	return 0;
}

void sweep_reconfigure(struct sweep *s, const struct config *config)
{
	s->config = config;
	clean(s);
	trim(s);
	arm(s);
}

void sweep_on_batch(struct sweep *s)
{
	if (!s->more_done)
		return;
	s->more_done = false;
	if (!s->aged_at_ms)
		expect_aged(s);
	trim(s);
}

void sweep_job_done(struct sweep *s) { s->more_done = true; }

void sweep_stop(struct sweep *s)
{
	if (!s)
		return;
	s->stopped = true;
	uv_timer_stop(&s->timer);
}

static void on_closed(uv_handle_t *handle) { free(handle->data); }

void sweep_free(struct sweep *s)
{
	if (s)
		uv_close((uv_handle_t *)&s->timer, on_closed);
}
