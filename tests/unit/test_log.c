/* log: what a line looks like, what cannot break out of it, where it goes. */
#include <check.h>
#include <stdio.h>

#include "log.h"
#include "suites.h"

static char seen[4096];
static enum log_level seen_level;
static unsigned seen_count;

static void remember(enum log_level level, const char *line, void *context)
{
	ck_assert_str_eq(context, "context");
	ck_assert_ptr_null(strchr(line, '\n'));
	snprintf(seen, sizeof(seen), "%s", line);
	seen_level = level;
	seen_count++;
}

static void catch_lines(void)
{
	static char context[] = "context";

	log_set_sink(remember, context);
	log_set_level(LOG_INFO);
	log_set_program("test");
	seen_count = 0;
	seen[0] = '\0';
}

/* What follows the time, which is always as long. */
static const char *after_time(void)
{
	ck_assert_int_eq(strncmp(seen, "time=20", 7), 0);
	ck_assert_int_eq(seen[28], 'Z');
	return seen + sizeof("time=2000-01-01T00:00:00.000Z ") - 1;
}

START_TEST(test_log_line_has_time_level_program_message_and_fields)
{
	log_warning("job ended", "job=%d outcome=%s", 7, "failed");
	ck_assert_str_eq(after_time(), "level=warning program=test msg=\"job ended\" job=7 outcome=failed");
	ck_assert_int_eq(seen_level, LOG_WARNING);
	log_info("ready", "");
	ck_assert_str_eq(after_time(), "level=info program=test msg=\"ready\"");
}
END_TEST

START_TEST(test_log_drops_what_is_below_the_level)
{
	log_debug("no", "");
	ck_assert_uint_eq(seen_count, 0);
	log_set_level(LOG_DEBUG);
	log_debug("yes", "");
	ck_assert_uint_eq(seen_count, 1);
	log_set_level(LOG_ERROR);
	log_warning("no", "");
	ck_assert_uint_eq(seen_count, 1);
}
END_TEST

START_TEST(test_log_escapes_what_could_forge_a_line)
{
	log_info("a \"b\"\\\n\x1b[1m", "name=" LOG_QUOTED " next=1\n", "x\" y=\"1\\\r\n");
	ck_assert_str_eq(after_time(), "level=info program=test msg=\"a \\\"b\\\"\\\\\\n\\x1b[1m\" "
				       "name=\"x\\\" y=\\\"1\\\\\\x0d\\n\" next=1\\n");
}
END_TEST

START_TEST(test_log_cuts_long_lines_with_an_ellipsis)
{
	char text[5000];

	memset(text, '"', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	log_info(text, "job=%d", 1);
	ck_assert_uint_lt(strlen(seen), 2048);
	ck_assert_uint_gt(strlen(seen), 2040);
	ck_assert_str_eq(seen + strlen(seen) - 5, "\\\"...");
	log_info("m", "f=%s", text);
	ck_assert_uint_lt(strlen(seen), 2048);
	ck_assert_str_eq(seen + strlen(seen) - 4, "\"...");
}
END_TEST

START_TEST(test_log_errno_returns_its_argument_and_keeps_errno)
{
	errno = E2BIG;
	ck_assert_int_eq(log_errno(-ENOENT, "cannot open %s", "x"), -ENOENT);
	ck_assert_str_eq(after_time(), "level=error program=test msg=\"cannot open x: No such file or directory\"");
	log_errno(-99999, "odd");
	ck_assert_str_eq(after_time(), "level=error program=test msg=\"odd: error 99999\"");
	ck_assert_int_eq(errno, E2BIG);
}
END_TEST

START_TEST(test_log_relays_a_finished_line_unchanged)
{
	log_relay(LOG_DEBUG, "time=x level=debug msg=\"y\"");
	ck_assert_str_eq(seen, "time=x level=debug msg=\"y\"");
}
END_TEST

START_TEST(test_log_goes_to_stderr_as_whole_lines)
{
	int pipes[2], saved = dup(STDERR_FILENO);
	char text[256] = { 0 };

	ck_assert_int_eq(pipe(pipes), 0);
	dup2(pipes[1], STDERR_FILENO);
	log_set_sink(NULL, NULL);
	log_relay(LOG_INFO, "one");
	log_relay(LOG_INFO, "two");
	dup2(saved, STDERR_FILENO);
	ck_assert_int_eq((int)read(pipes[0], text, sizeof(text) - 1), 8);
	ck_assert_str_eq(text, "one\ntwo\n");
	close_fd(&pipes[0]);
	close_fd(&pipes[1]);
	close_fd(&saved);
}
END_TEST

START_TEST(test_log_levels_have_names_both_ways)
{
	for (enum log_level level = 0; level < LOG_LEVEL_MAX; level++) {
		enum log_level back = LOG_LEVEL_MAX;

		ck_assert_int_eq(log_level_parse(slice_of(log_level_name(level)), &back), 0);
		ck_assert_int_eq(back, level);
	}
	seen_level = LOG_ERROR;
	ck_assert_int_eq(log_level_parse(SLICE("loud"), &seen_level), -EINVAL);
	ck_assert_int_eq(seen_level, LOG_ERROR);
	ck_assert_str_eq(log_level_name(LOG_LEVEL_MAX), "unknown");
}
END_TEST

Suite *log_suite(void)
{
	Suite *s = suite_create("log");
	TCase *t = tcase_create("log");

	tcase_add_checked_fixture(t, catch_lines, NULL);
	tcase_add_test(t, test_log_line_has_time_level_program_message_and_fields);
	tcase_add_test(t, test_log_drops_what_is_below_the_level);
	tcase_add_test(t, test_log_escapes_what_could_forge_a_line);
	tcase_add_test(t, test_log_cuts_long_lines_with_an_ellipsis);
	tcase_add_test(t, test_log_errno_returns_its_argument_and_keeps_errno);
	tcase_add_test(t, test_log_relays_a_finished_line_unchanged);
	tcase_add_test(t, test_log_goes_to_stderr_as_whole_lines);
	tcase_add_test(t, test_log_levels_have_names_both_ways);
	suite_add_tcase(s, t);
	return s;
}
