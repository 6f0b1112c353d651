/* The policy of a pool, with actions that only note what was asked for. */
#include "pool.h"

#include "job.h"
#include "suites.h"

#define NOW 5000u

static struct pool *pool;
static uint64_t next_worker_id;
static unsigned starts, retires, ticks;
static int start_result;

static int on_start(struct pool *p, uint32_t slot, void *context)
{
	struct worker *w;

	ck_assert_ptr_eq(context, &ticks);
	if (start_result < 0)
		return start_result;
	w = worker_new(p, ++next_worker_id, slot);
	list_append(&p->workers, &w->link);
	starts++;
	return 0;
}

static void on_retire(struct worker *w, void *context)
{
	ck_assert_ptr_eq(context, &ticks);
	ck_assert(!w->leaving && !w->died);
	w->leaving = true;
	retires++;
	pool_update_idle(w);
}

static const struct pool_actions actions = { on_start, on_retire, &ticks };

static uint64_t tick(uint64_t now_ms)
{
	ticks++;
	return pool_tick(pool, now_ms, &actions);
}

static void make_pool(void)
{
	starts = retires = ticks = 0;
	start_result = 0;
	next_worker_id = 0;
	pool = pool_new("default");
	pool->size = 4;
}

static void bury(struct worker *w)
{
	w->connection = NULL;
	worker_free(w);
}

static void drop_pool(void)
{
	struct worker *w;

	while ((w = list_first(&pool->workers, struct worker, link)))
		bury(w);
	ck_assert(list_is_empty(&pool->idle));
	pool_free(pool);
	pool_free(NULL);
}

static struct worker *in_slot(uint32_t slot)
{
	struct worker *w;

	list_for_each(w, &pool->workers, link)
		if (w->slot == slot)
			return w;
	return NULL;
}

/* The policy asks only whether there is a connection. */
static struct link *a_connection(void)
{
	static struct link link;

	return &link;
}

static void connect_worker(struct worker *w)
{
	w->connection = a_connection();
	ck_assert(pool_update_idle(w));
}

static void connect_all(void)
{
	struct worker *w;

	list_for_each(w, &pool->workers, link)
		connect_worker(w);
}

static void die(struct worker *w)
{
	w->connection = NULL;
	w->died = true;
	pool_update_idle(w);
}

/* One death before a first job; true when it opened the breaker. */
static bool die_early(uint64_t now_ms)
{
	struct worker *w = list_first(&pool->workers, struct worker, link);
	bool opened;

	w->started_ms = now_ms;
	opened = pool_on_early_death(w, now_ms);
	die(w);
	bury(w);
	return opened;
}

/* ---- size ---- */

START_TEST(test_pool_tick_starts_what_is_missing_and_no_more)
{
	ck_assert_uint_eq(tick(NOW), 0);
	ck_assert_uint_eq(starts, 4);
	for (uint32_t slot = 0; slot < 4; slot++)
		ck_assert_ptr_nonnull(in_slot(slot));
	ck_assert_uint_eq(tick(NOW), 0);
	ck_assert_uint_eq(starts, 4);
	ck_assert_uint_eq(retires, 0);
}
END_TEST

START_TEST(test_pool_slot_stays_taken_until_its_worker_is_buried)
{
	struct worker *w;

	tick(NOW);
	connect_all();
	w = in_slot(2);
	die(w);
	tick(NOW);
	ck_assert_uint_eq(starts, 4);
	bury(w);
	tick(NOW);
	ck_assert_uint_eq(starts, 5);
	ck_assert_ptr_nonnull(in_slot(2));
}
END_TEST

START_TEST(test_pool_growth_starts_the_new_slots_only)
{
	tick(NOW);
	pool->size = 6;
	tick(NOW);
	ck_assert_uint_eq(starts, 6);
	ck_assert_ptr_nonnull(in_slot(5));
}
END_TEST

START_TEST(test_pool_shrinking_retires_the_highest_slots_and_kills_nobody)
{
	struct job job = { 0 };

	tick(NOW);
	connect_all();
	in_slot(3)->job = &job; /* busy: it finishes what it does */
	pool->size = 2;
	tick(NOW);
	tick(NOW);
	ck_assert_uint_eq(retires, 2);
	ck_assert(in_slot(2)->leaving && in_slot(3)->leaving);
	ck_assert(!in_slot(0)->leaving && !in_slot(1)->leaving);
	ck_assert_ptr_eq(in_slot(3)->job, &job);
	ck_assert(!in_slot(3)->killed && !in_slot(3)->died);
	ck_assert_uint_eq(pool_alive(pool), 4);
	ck_assert_uint_eq(pool_idle(pool), 2);
}
END_TEST

START_TEST(test_pool_surplus_worker_retires_when_it_has_called)
{
	tick(NOW);
	pool->size = 3;
	tick(NOW);
	ck_assert_uint_eq(retires, 0);
	connect_worker(in_slot(3));
	tick(NOW);
	ck_assert_uint_eq(retires, 1);
}
END_TEST

START_TEST(test_pool_without_size_retires_all)
{
	tick(NOW);
	connect_all();
	pool->size = 0;
	tick(NOW);
	ck_assert_uint_eq(retires, 4);
	ck_assert_uint_eq(starts, 4);
}
END_TEST

START_TEST(test_pool_recycles_a_worker_after_its_share_of_jobs)
{
	pool->recycle_after_jobs = 3;
	tick(NOW);
	connect_all();
	in_slot(1)->jobs_done = 3;
	in_slot(0)->jobs_done = 2;
	tick(NOW);
	ck_assert_uint_eq(retires, 1);
	ck_assert(in_slot(1)->leaving);
	bury(in_slot(1));
	tick(NOW);
	ck_assert_uint_eq(starts, 5);
	ck_assert(!in_slot(1)->leaving);
}
END_TEST

START_TEST(test_pool_of_1024_fills_and_ticks_in_no_time)
{
	pool->size = POOL_WORKERS_MAX;
	tick(NOW);
	ck_assert_uint_eq(starts, POOL_WORKERS_MAX);
	/* Every report may tick: a thousand of them must not be felt. */
	for (unsigned i = 0; i < 1000; i++)
		tick(NOW);
	ck_assert_uint_eq(starts, POOL_WORKERS_MAX);
	ck_assert_uint_eq(pool_alive(pool), POOL_WORKERS_MAX);
}
END_TEST

/* ---- back-off and breaker ---- */

START_TEST(test_pool_first_early_death_is_replaced_at_once)
{
	tick(NOW);
	ck_assert(!die_early(NOW));
	ck_assert_uint_eq(tick(NOW), 0);
	ck_assert_uint_eq(starts, 5);
}
END_TEST

START_TEST(test_pool_backs_off_from_the_second_early_death)
{
	static const uint64_t waits_ms[] = { 0, 1000, 2000, 4000, 8000, 16000, 32000, 60000, 60000 };
	uint64_t now_ms = NOW;

	tick(now_ms);
	for (size_t i = 0; i < ARRAY_SIZE(waits_ms); i++) {
		unsigned before = starts;

		ck_assert(!die_early(now_ms));
		if (waits_ms[i]) {
			ck_assert_uint_eq(tick(now_ms), now_ms + waits_ms[i]);
			ck_assert_uint_eq(tick(now_ms + waits_ms[i] - 1), now_ms + waits_ms[i]);
			ck_assert_uint_eq(starts, before);
		}
		now_ms += waits_ms[i];
		ck_assert_uint_eq(tick(now_ms), 0);
		ck_assert_uint_eq(starts, before + 1);
	}
}
END_TEST

START_TEST(test_pool_crash_loop_opens_the_breaker_once)
{
	uint64_t now_ms = NOW;
	unsigned opened = 0, before;

	tick(now_ms);
	for (unsigned i = 0; i < POOL_BREAKER_DEATHS; i++, now_ms += 60000) {
		ck_assert(!pool->breaker_open);
		opened += die_early(now_ms);
		tick(now_ms + 59999);
	}
	ck_assert_uint_eq(opened, 1);
	ck_assert(pool->breaker_open);
	ck_assert(!die_early(now_ms)); /* said once is enough */
	before = starts;
	ck_assert_uint_eq(tick(now_ms + 1000000), 0);
	ck_assert_uint_eq(starts, before);
}
END_TEST

START_TEST(test_pool_open_breaker_still_retires_surplus)
{
	tick(NOW);
	connect_all();
	pool->breaker_open = true;
	pool->size = 3;
	tick(NOW);
	ck_assert_uint_eq(retires, 1);
}
END_TEST

START_TEST(test_pool_reset_starts_at_once)
{
	tick(NOW);
	while (!die_early(NOW))
		tick(NOW + 60000);
	pool_reset(pool);
	ck_assert(!pool->breaker_open);
	ck_assert_uint_eq(tick(NOW), 0);
	ck_assert_uint_eq(pool_alive(pool), 4);
}
END_TEST

START_TEST(test_pool_an_ended_job_ends_the_crash_loop)
{
	tick(NOW);
	die_early(NOW);
	die_early(NOW);
	ck_assert_uint_gt(tick(NOW), NOW);
	connect_worker(list_first(&pool->workers, struct worker, link));
	pool_on_ended(list_first(&pool->workers, struct worker, link), 1000);
	ck_assert_uint_eq(tick(NOW), 0);
	ck_assert_uint_eq(pool_alive(pool), 4);
	ck_assert_uint_eq(pool->early_deaths, 0);
}
END_TEST

START_TEST(test_pool_sends_ahead_only_to_busy_workers_of_quick_jobs)
{
	struct job job = { .id = 1 };
	struct worker *w;

	tick(NOW);
	w = list_first(&pool->workers, struct worker, link);
	connect_worker(w);
	for (int i = 0; i < 3; i++) {
		ck_assert(!pool_may_send_ahead(w));
		pool_on_ended(w, 1);
	}
	ck_assert(!pool_may_send_ahead(w)); /* an idle worker gets a job, not one more */
	w->job = &job;
	ck_assert(pool_may_send_ahead(w));
	w->next = &job;
	ck_assert(!pool_may_send_ahead(w));
	w->next = NULL;
	w->unrecorded = MARKS_PER_WORKER - 1; /* no mark for it */
	ck_assert(!pool_may_send_ahead(w));
	w->unrecorded = 0;
	pool->recycle_after_jobs = w->jobs_done + 1;
	ck_assert(!pool_may_send_ahead(w));
	pool->recycle_after_jobs = 0;
	w->leaving = true;
	ck_assert(!pool_may_send_ahead(w));
	w->leaving = false;
	pool_on_ended(w, 1000);
	ck_assert(!pool_may_send_ahead(w));
	w->job = NULL;
}
END_TEST

START_TEST(test_pool_death_after_a_first_job_never_throttles)
{
	for (unsigned i = 0; i < 3 * POOL_BREAKER_DEATHS; i++) {
		struct worker *w;

		ck_assert_uint_eq(tick(NOW), 0);
		w = list_first(&pool->workers, struct worker, link);
		connect_worker(w);
		pool_on_ended(w, 1000);
		die(w);
		bury(w);
	}
	ck_assert(!pool->breaker_open);
}
END_TEST

START_TEST(test_pool_failed_start_is_tried_again_a_second_later)
{
	start_result = -ENOMEM;
	ck_assert_uint_eq(tick(NOW), NOW + 1000);
	start_result = 0;
	ck_assert_uint_eq(tick(NOW + 1000), 0);
	ck_assert_uint_eq(starts, 4);
}
END_TEST

/* ---- who may take a job ---- */

START_TEST(test_pool_worker_is_idle_only_when_it_may_take_a_job)
{
	struct job job = { 0 };
	struct worker *w;

	tick(NOW);
	w = in_slot(0);
	ck_assert(!pool_update_idle(w));
	ck_assert_int_eq(w->state, WORKER_STARTING);
	connect_worker(w);
	ck_assert_int_eq(w->state, WORKER_IDLE);
	ck_assert_msg(!pool_update_idle(w), "it was idle before");
	ck_assert_ptr_eq(list_first(&pool->idle, struct worker, idle_link), w);

	w->job = &job;
	w->reserved = true;
	ck_assert(!pool_update_idle(w));
	ck_assert_msg(w->state == WORKER_IDLE, "claimed for it, but not with it yet");
	ck_assert(list_is_empty(&pool->idle));
	w->reserved = false;
	pool_update_idle(w);
	ck_assert_int_eq(w->state, WORKER_BUSY);
	ck_assert_uint_eq(pool_busy(pool), 1);

	w->job = NULL;
	w->unrecorded = MARKS_PER_WORKER;
	ck_assert_msg(!pool_update_idle(w), "none of its marks is free");
	ck_assert(list_is_empty(&pool->idle));
	w->unrecorded--;
	ck_assert(pool_update_idle(w));

	w->leaving = true;
	ck_assert(!pool_update_idle(w));
	ck_assert_int_eq(w->state, WORKER_LEAVING);
	w->died = true;
	pool_update_idle(w);
	ck_assert_int_eq(w->state, WORKER_DEAD);
	w->state = WORKER_STUCK;
	pool_update_idle(w);
	ck_assert_msg(w->state == WORKER_STUCK, "stuck until its tree is empty");
	ck_assert_uint_eq(pool_alive(pool), 3);
}
END_TEST

/* Design section 6: a worker without a free mark takes nothing new; worker.h calls it busy. */
START_TEST(test_pool_worker_without_a_free_mark_counts_as_busy)
{
	struct worker *w;

	tick(NOW);
	w = in_slot(0);
	connect_worker(w);
	w->unrecorded = MARKS_PER_WORKER;
	pool_update_idle(w);
	ck_assert_int_eq(w->state, WORKER_BUSY);
	ck_assert_uint_eq(pool_idle(pool), 0);
}
END_TEST

START_TEST(test_pool_idle_workers_take_turns)
{
	tick(NOW);
	for (uint32_t slot = 4; slot-- > 0;)
		connect_worker(in_slot(slot));
	ck_assert_uint_eq(pool_idle(pool), 4);
	for (uint32_t slot = 4; slot-- > 0;) {
		struct worker *w = list_first(&pool->idle, struct worker, idle_link);

		ck_assert_uint_eq(w->slot, slot);
		die(w);
	}
}
END_TEST

Suite *pool_suite(void)
{
	Suite *s = suite_create("pool");
	TCase *t = tcase_create("pool");

	tcase_add_checked_fixture(t, make_pool, drop_pool);
	tcase_add_test(t, test_pool_tick_starts_what_is_missing_and_no_more);
	tcase_add_test(t, test_pool_slot_stays_taken_until_its_worker_is_buried);
	tcase_add_test(t, test_pool_growth_starts_the_new_slots_only);
	tcase_add_test(t, test_pool_shrinking_retires_the_highest_slots_and_kills_nobody);
	tcase_add_test(t, test_pool_surplus_worker_retires_when_it_has_called);
	tcase_add_test(t, test_pool_without_size_retires_all);
	tcase_add_test(t, test_pool_recycles_a_worker_after_its_share_of_jobs);
	tcase_add_test(t, test_pool_of_1024_fills_and_ticks_in_no_time);
	tcase_add_test(t, test_pool_first_early_death_is_replaced_at_once);
	tcase_add_test(t, test_pool_backs_off_from_the_second_early_death);
	tcase_add_test(t, test_pool_crash_loop_opens_the_breaker_once);
	tcase_add_test(t, test_pool_open_breaker_still_retires_surplus);
	tcase_add_test(t, test_pool_reset_starts_at_once);
	tcase_add_test(t, test_pool_an_ended_job_ends_the_crash_loop);
	tcase_add_test(t, test_pool_sends_ahead_only_to_busy_workers_of_quick_jobs);
	tcase_add_test(t, test_pool_death_after_a_first_job_never_throttles);
	tcase_add_test(t, test_pool_failed_start_is_tried_again_a_second_later);
	tcase_add_test(t, test_pool_worker_is_idle_only_when_it_may_take_a_job);
	tcase_add_test(t, test_pool_worker_without_a_free_mark_counts_as_busy);
	tcase_add_test(t, test_pool_idle_workers_take_turns);
	suite_add_tcase(s, t);
	return s;
}
