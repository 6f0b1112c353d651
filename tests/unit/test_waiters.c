/* waiters: who is told what and when, removal from inside a callback, time-outs on one timer. */
#include <check.h>

#include "suites.h"
#include "waiters.h"

struct told {
	struct waiter waiter;
	unsigned events[WAITER_STOPPED + 1];
	uint64_t last_job;
	struct told *removes; /* this one is removed when we are told */
};

static uv_loop_t loop;
static struct waiters *waiters;

static void on_event(struct waiter *waiter, enum waiter_event event, uint64_t job_id, struct queue *queue)
{
	struct told *t = container_of(waiter, struct told, waiter);

	(void)queue;
	t->events[event]++;
	t->last_job = job_id;
	if (event == WAITER_TIMEOUT)
		uv_stop(&loop);
	if (t->removes)
		waiter_remove(&t->removes->waiter);
}

static void add(struct told *t, int64_t timeout_ms, const uint64_t *ids, size_t count)
{
	t->waiter.on_event = on_event;
	ck_assert_int_eq(waiter_add(waiters, &t->waiter, timeout_ms, ids, count, !count), 0);
}

static void setup(void)
{
	ck_assert_int_eq(uv_loop_init(&loop), 0);
	ck_assert_int_eq(waiters_new(&loop, &waiters), 0);
}

static void teardown(void)
{
	waiters_stop(waiters);
	ck_assert_int_eq(uv_run(&loop, UV_RUN_DEFAULT), 0);
	ck_assert_int_eq(uv_loop_close(&loop), 0);
}

START_TEST(test_waiters_only_those_who_watch_a_job_are_told)
{
	struct told a = { 0 }, b = { 0 };

	add(&a, WAIT_FOREVER, (uint64_t[]){ 1, 2 }, 2);
	add(&b, WAIT_FOREVER, (uint64_t[]){ 2 }, 1);
	waiters_notify_job(waiters, WAITER_JOB_DONE, 1);
	waiters_notify_job(waiters, WAITER_JOB_DONE, 3);
	ck_assert_uint_eq(a.events[WAITER_JOB_DONE], 1);
	ck_assert_uint_eq(b.events[WAITER_JOB_DONE], 0);
	waiters_notify_job(waiters, WAITER_JOB_STARTED, 2);
	ck_assert_uint_eq(a.events[WAITER_JOB_STARTED], 1);
	ck_assert_uint_eq(b.events[WAITER_JOB_STARTED], 1);
	ck_assert_uint_eq(b.last_job, 2);
	waiter_remove(&a.waiter);
	waiter_remove(&a.waiter);
	waiter_remove(&b.waiter);
}
END_TEST

START_TEST(test_waiters_stay_registered_until_removed)
{
	struct told a = { 0 };

	add(&a, WAIT_FOREVER, (uint64_t[]){ 7 }, 1);
	waiters_notify_job(waiters, WAITER_JOB_DONE, 7);
	waiters_notify_job(waiters, WAITER_JOB_DONE, 7);
	ck_assert_uint_eq(a.events[WAITER_JOB_DONE], 2);
	waiter_remove(&a.waiter);
	waiters_notify_job(waiters, WAITER_JOB_DONE, 7);
	ck_assert_uint_eq(a.events[WAITER_JOB_DONE], 2);
}
END_TEST

START_TEST(test_waiters_may_remove_themselves_while_a_job_is_named_twice)
{
	struct told a = { 0 };

	a.removes = &a;
	add(&a, 1000, (uint64_t[]){ 7, 7, 7 }, 3);
	waiters_notify_job(waiters, WAITER_JOB_DONE, 7);
	ck_assert_uint_eq(a.events[WAITER_JOB_DONE], 1);
}
END_TEST

START_TEST(test_waiters_may_remove_those_who_are_told_next)
{
	struct told a = { 0 }, b = { 0 };

	a.removes = &b;
	add(&a, WAIT_FOREVER, (uint64_t[]){ 7 }, 1);
	add(&b, WAIT_FOREVER, (uint64_t[]){ 7 }, 1);
	waiters_notify_job(waiters, WAITER_JOB_DONE, 7);
	ck_assert_uint_eq(a.events[WAITER_JOB_DONE], 1);
	ck_assert_uint_eq(b.events[WAITER_JOB_DONE], 0);
	waiter_remove(&a.waiter);
}
END_TEST

START_TEST(test_waiters_for_queues_hear_of_every_idle_queue)
{
	struct told a = { 0 }, b = { 0 };

	a.removes = &a;
	add(&a, WAIT_FOREVER, NULL, 0);
	add(&b, WAIT_FOREVER, NULL, 0);
	waiters_notify_idle(waiters, NULL);
	waiters_notify_idle(waiters, NULL);
	ck_assert_uint_eq(a.events[WAITER_QUEUE_IDLE], 1);
	ck_assert_uint_eq(b.events[WAITER_QUEUE_IDLE], 2);
	waiter_remove(&b.waiter);
}
END_TEST

START_TEST(test_waiters_time_out_once_each_in_the_order_of_their_deadlines)
{
	struct told late = { 0 }, early = { 0 }, never = { 0 };

	add(&never, WAIT_FOREVER, (uint64_t[]){ 1 }, 1);
	add(&late, 100000000, (uint64_t[]){ 1 }, 1);
	add(&early, 1, (uint64_t[]){ 1 }, 1);
	/* The loop sleeps on the one timer, set for the earliest. */
	uv_run(&loop, UV_RUN_DEFAULT);
	ck_assert_uint_eq(early.events[WAITER_TIMEOUT], 1);
	ck_assert_uint_eq(late.events[WAITER_TIMEOUT], 0);
	ck_assert_uint_eq(never.events[WAITER_TIMEOUT], 0);
	waiter_remove(&early.waiter);
	waiter_remove(&late.waiter);
	/* Only who waits without limit is left: nothing may wake the loop. */
	ck_assert_int_eq(uv_backend_timeout(&loop), 0);
	ck_assert_int_eq(uv_loop_alive(&loop), 0);
	waiter_remove(&never.waiter);
}
END_TEST

START_TEST(test_waiters_all_are_told_of_the_stop)
{
	struct told a = { 0 }, b = { 0 };

	add(&a, WAIT_FOREVER, (uint64_t[]){ 1 }, 1);
	add(&b, 100000, NULL, 0);
	waiters_stop(waiters);
	ck_assert_uint_eq(a.events[WAITER_STOPPED], 1);
	ck_assert_uint_eq(b.events[WAITER_STOPPED], 1);
	waiter_remove(&a.waiter);
	ck_assert_int_eq(uv_run(&loop, UV_RUN_DEFAULT), 0);
	ck_assert_int_eq(waiters_new(&loop, &waiters), 0);
}
END_TEST

Suite *waiters_suite(void)
{
	Suite *s = suite_create("waiters");
	TCase *tc = tcase_create("all");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, test_waiters_only_those_who_watch_a_job_are_told);
	tcase_add_test(tc, test_waiters_stay_registered_until_removed);
	tcase_add_test(tc, test_waiters_may_remove_themselves_while_a_job_is_named_twice);
	tcase_add_test(tc, test_waiters_may_remove_those_who_are_told_next);
	tcase_add_test(tc, test_waiters_for_queues_hear_of_every_idle_queue);
	tcase_add_test(tc, test_waiters_time_out_once_each_in_the_order_of_their_deadlines);
	tcase_add_test(tc, test_waiters_all_are_told_of_the_stop);
	suite_add_tcase(s, tc);
	return s;
}
