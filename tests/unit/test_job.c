/* A job's states, the steps between them, and the start order. */
#include "job.h"

#include <signal.h>

#include "suites.h"

/* The picture above enum job_state, as a matrix: rows from, columns to. */
static const bool allowed[JOB_STATE_MAX][JOB_STATE_MAX] = {
	[JOB_HELD] = { [JOB_READY] = true, [JOB_DELAYED] = true, [JOB_BLOCKED] = true, [JOB_DONE] = true },
	[JOB_DELAYED] = { [JOB_READY] = true, [JOB_HELD] = true, [JOB_DONE] = true },
	[JOB_BLOCKED] = { [JOB_READY] = true, [JOB_DELAYED] = true, [JOB_HELD] = true, [JOB_DONE] = true },
	[JOB_READY] = { [JOB_RUNNING] = true, [JOB_HELD] = true, [JOB_DONE] = true },
	[JOB_RUNNING] = { [JOB_DONE] = true, [JOB_DELAYED] = true, [JOB_READY] = true },
	[JOB_DONE] = { [JOB_READY] = true },
};

START_TEST(test_job_may_step_only_as_the_picture_says)
{
	for (unsigned from = 0; from < JOB_STATE_MAX; from++)
		for (unsigned to = 0; to < JOB_STATE_MAX; to++)
			ck_assert_msg(job_may_step(from, to) == allowed[from][to], "%s -> %s", job_state_name(from), job_state_name(to));
}
END_TEST

START_TEST(test_job_set_state_makes_an_allowed_step)
{
	struct job *job = job_new(7, NULL);

	job_set_state(job, JOB_READY);
	job_set_state(job, JOB_RUNNING);
	job_set_state(job, JOB_DONE);
	ck_assert_int_eq(job->state, JOB_DONE);
	job_free(job);
}
END_TEST

START_TEST(test_job_set_state_never_makes_another)
{
	struct job *job = job_new(7, NULL);

	job_set_state(job, JOB_RUNNING);
}
END_TEST

START_TEST(test_job_free_refuses_one_that_a_list_still_holds)
{
	struct job *job = job_new(7, NULL);
	struct list list;

	list_init(&list);
	list_append(&list, &job->link);
	job_free(job);
}
END_TEST

START_TEST(test_job_state_names_read_back)
{
	for (unsigned state = 0; state < JOB_STATE_MAX; state++)
		ck_assert_int_eq(job_state_parse(slice_of(job_state_name(state))), state);
	ck_assert_int_eq(job_state_parse(SLICE("Ready")), JOB_READY);
	ck_assert_int_eq(job_state_parse(SLICE("")), JOB_STATE_MAX);
	ck_assert_int_eq(job_state_parse(SLICE("readyx")), JOB_STATE_MAX);
	ck_assert_int_eq(job_state_parse(SLICE("rea")), JOB_STATE_MAX);
}
END_TEST

/* Stored: a number that moves would turn the jobs of an older database into others. */
START_TEST(test_job_state_numbers_stay)
{
	static const char *const names[] = { "held", "delayed", "blocked", "ready", "running", "done" };

	ck_assert_uint_eq(ARRAY_SIZE(names), JOB_STATE_MAX);
	for (unsigned state = 0; state < JOB_STATE_MAX; state++)
		ck_assert_str_eq(job_state_name(state), names[state]);
}
END_TEST

START_TEST(test_job_order_is_priority_then_age)
{
	static const struct job in_order[] = {
		{ .priority = INT32_MAX, .id = 9 }, { .priority = 5, .id = 3 },         { .priority = 5, .id = 4 },
		{ .priority = 0, .id = 1 },         { .priority = 0, .id = JOB_ID_MAX }, { .priority = INT32_MIN, .id = 2 },
	};

	for (size_t a = 0; a < ARRAY_SIZE(in_order); a++)
		for (size_t b = 0; b < ARRAY_SIZE(in_order); b++)
			ck_assert_msg(job_is_before(&in_order[a], &in_order[b]) == (a < b), "%zu against %zu", a, b);
}
END_TEST

START_TEST(test_job_is_born_plain)
{
	struct job *job = job_new(7, NULL);

	ck_assert_uint_eq(job->id, 7);
	ck_assert_int_eq(job->state, JOB_HELD);
	ck_assert_int_eq(job->claim, CLAIM_NONE);
	ck_assert_uint_eq(job->attempt, 0);
	ck_assert_uint_eq(job->max_attempts, 1);
	ck_assert(list_is_empty(&job->link));
	job_free(job);
	job_free(NULL);
}
END_TEST

Suite *job_suite(void)
{
	Suite *s = suite_create("job");
	TCase *t = tcase_create("job");

	tcase_add_test(t, test_job_may_step_only_as_the_picture_says);
	tcase_add_test(t, test_job_set_state_makes_an_allowed_step);
	tcase_add_test_raise_signal(t, test_job_set_state_never_makes_another, SIGABRT);
	tcase_add_test_raise_signal(t, test_job_free_refuses_one_that_a_list_still_holds, SIGABRT);
	tcase_add_test(t, test_job_state_names_read_back);
	tcase_add_test(t, test_job_state_numbers_stay);
	tcase_add_test(t, test_job_order_is_priority_then_age);
	tcase_add_test(t, test_job_is_born_plain);
	suite_add_tcase(s, t);
	return s;
}
