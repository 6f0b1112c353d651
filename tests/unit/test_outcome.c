/* outcome: words and exit codes, as design section 4 lists them. */
#include <check.h>

#include "outcome.h"
#include "suites.h"

static const struct {
	enum outcome outcome;
	const char *name;
	int exit_code, signal, error, expected;
} rows[] = {
	{ OUTCOME_NONE, "none", -1, 0, 0, 123 },
	{ OUTCOME_SUCCEEDED, "succeeded", 0, 0, 0, 0 },
	{ OUTCOME_FAILED, "failed", 7, 0, 0, 7 },
	{ OUTCOME_FAILED, "failed", 255, 0, 0, 255 },
	{ OUTCOME_FAILED, "failed", -1, 0, 0, 1 },
	{ OUTCOME_FAILED, "failed", 0, 0, 0, 1 },
	{ OUTCOME_SIGNALED, "signaled", -1, 9, 0, 137 },
	{ OUTCOME_SIGNALED, "signaled", -1, 64, 0, 192 },
	{ OUTCOME_SIGNALED, "signaled", -1, 1000, 0, 123 },
	{ OUTCOME_TIMEOUT, "timeout", -1, 15, 0, 124 },
	{ OUTCOME_TIMEOUT, "timeout", 3, 0, 0, 124 },
	{ OUTCOME_OOM, "oom", -1, 9, 0, 137 },
	{ OUTCOME_UNSTARTABLE, "unstartable", -1, 0, ENOENT, 127 },
	{ OUTCOME_UNSTARTABLE, "unstartable", -1, 0, EACCES, 126 },
	{ OUTCOME_CANCELLED, "cancelled", 0, 15, 0, 123 },
	{ OUTCOME_EXPIRED, "expired", -1, 0, 0, 123 },
	{ OUTCOME_SKIPPED, "skipped", -1, 0, 0, 123 },
	{ OUTCOME_LOST, "lost", 0, 0, 0, 123 },
};

START_TEST(test_outcome_has_its_word_and_exit_code)
{
	ck_assert_str_eq(outcome_name(rows[_i].outcome), rows[_i].name);
	ck_assert_int_eq(outcome_parse(slice_of(rows[_i].name)), rows[_i].outcome);
	ck_assert_int_eq(outcome_exit_code(rows[_i].outcome, rows[_i].exit_code, rows[_i].signal, STEP_EXEC, rows[_i].error),
			 rows[_i].expected);
}
END_TEST

START_TEST(test_outcome_numbers_of_a_later_version_do_no_harm)
{
	ck_assert_str_eq(outcome_name((enum outcome)200), "unknown");
	ck_assert_str_eq(limit_name((enum limit)200), "unknown");
	ck_assert_str_eq(start_step_name((enum start_step)200), "unknown");
	ck_assert_str_eq(lost_reason_name((enum lost_reason)200), "unknown");
	ck_assert_int_eq(outcome_exit_code(OUTCOME_UNSTARTABLE, -1, 0, STEP_CWD, ENOENT), 126);
	ck_assert_int_eq(outcome_exit_code((enum outcome)200, 0, 0, STEP_NONE, 0), 123);
	ck_assert_int_eq(outcome_parse(SLICE("success")), OUTCOME_MAX);
	ck_assert_int_eq(outcome_parse(SLICE("")), OUTCOME_MAX);
}
END_TEST

START_TEST(test_outcome_details_have_words_and_none_is_empty)
{
	ck_assert_str_eq(limit_name(LIMIT_NONE), "");
	ck_assert_str_eq(limit_name(LIMIT_TIMEOUT), "timeout");
	ck_assert_str_eq(start_step_name(STEP_NONE), "");
	for (enum start_step step = STEP_NONE + 1; step < STEP_MAX; step++)
		ck_assert_uint_gt(strlen(start_step_name(step)), 0);
	ck_assert_str_eq(start_step_name(STEP_CWD), "cwd");
	ck_assert_str_eq(start_step_name(STEP_EXEC), "exec");
	ck_assert_str_eq(lost_reason_name(LOST_NONE), "");
	ck_assert_str_eq(lost_reason_name(LOST_WORKER_DIED), "worker died");
}
END_TEST

Suite *outcome_suite(void)
{
	Suite *s = suite_create("outcome");
	TCase *t = tcase_create("outcome");

	tcase_add_loop_test(t, test_outcome_has_its_word_and_exit_code, 0, ARRAY_SIZE(rows));
	tcase_add_test(t, test_outcome_numbers_of_a_later_version_do_no_harm);
	tcase_add_test(t, test_outcome_details_have_words_and_none_is_empty);
	suite_add_tcase(s, t);
	return s;
}
