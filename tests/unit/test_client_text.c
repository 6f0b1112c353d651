/* What the command line client prints: JSON, escaping, quoting, lines, tables' text; and the rule for the user's socket. */
#include <check.h>
#include <fcntl.h>
#include <limits.h>
#include <pwd.h>
#include <stdio.h>
#include <sys/stat.h>

#include "../../client/cli/json.h"
#include "../../client/cli/lines.h"
#include "../../client/cli/pace.h"
#include "../../client/cli/text.h"
#include "socket_path.h"
#include "suites.h"

/* The buffer's text, NUL-terminated; freed with the test's process. */
static const char *text_of(struct buf *b)
{
	ck_assert(!b->failed);
	buf_append(b, "", 1);
	return b->data;
}

static const struct {
	struct slice bytes;
	const char *json, *escaped, *quoted;
} texts[] = {
	{ SLICE(""), "\"\"", "", "''" },
	{ SLICE("plain-1.2/x"), "\"plain-1.2/x\"", "plain-1.2/x", "plain-1.2/x" },
	{ SLICE("a b"), "\"a b\"", "a b", "'a b'" },
	{ SLICE("it's"), "\"it's\"", "it's", "'it'\\''s'" },
	{ SLICE("\"\\\n\t\x01\x7f"), "\"\\\"\\\\\\n\\t\\u0001\\u007f\"", "\"\\\\x0a\\x09\\x01\\x7f", "'\"\\\n\t\x01\x7f'" },
	{ SLICE("\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80"), "\"\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\"", "\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80",
	  "\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80" },
	{ SLICE("x\xff\xc3"), "\"x\\udcff\\udcc3\"", "x\\xff\\xc3", "x\xff\xc3" },
	{ SLICE("\xed\xb2\x80"), "\"\\udced\\udcb2\\udc80\"", "\\xed\\xb2\\x80", "\xed\xb2\x80" },  /* a surrogate is not UTF-8 */
	{ SLICE("\xc0\xaf"), "\"\\udcc0\\udcaf\"", "\\xc0\\xaf", "\xc0\xaf" },                      /* nor is an overlong form */
	{ SLICE("\xc2\x9b"), "\"\xc2\x9b\"", "\\xc2\\x9b", "\xc2\x9b" },                            /* C1: terminals may obey it */
};

START_TEST(test_json_strings_keep_every_byte)
{
	struct buf out = { 0 };

	json_string(&out, texts[_i].bytes.data, texts[_i].bytes.len);
	ck_assert_str_eq(text_of(&out), texts[_i].json);
	buf_free(&out);
}
END_TEST

START_TEST(test_text_for_terminals_has_no_control_bytes)
{
	struct buf out = { 0 };

	text_escape(&out, texts[_i].bytes.data, texts[_i].bytes.len);
	ck_assert_str_eq(text_of(&out), texts[_i].escaped);
	buf_free(&out);
}
END_TEST

START_TEST(test_quoted_words_are_one_word_for_a_shell)
{
	struct buf out = { 0 };

	text_quote(&out, texts[_i].bytes.data, texts[_i].bytes.len);
	ck_assert_str_eq(text_of(&out), texts[_i].quoted);
	buf_free(&out);
}
END_TEST

START_TEST(test_elapsed_time_has_two_units)
{
	static const struct {
		uint64_t ms;
		const char *text;
	} rows[] = {
		{ 0, "0.0s" }, { 59999, "59.9s" }, { 60000, "1m00s" }, { 3661000, "1h01m" }, { 90000000, "1d01h" },
	};
	char text[TIME_TEXT_BYTES];

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		ck_assert_str_eq(text_elapsed(rows[i].ms, text), rows[i].text);
}
END_TEST

START_TEST(test_json_maps_are_objects_with_nested_arrays)
{
	struct jobpool_value id = { .type = JOBPOOL_BYTES, .bytes = "id", .count = 2 }, seven = { .type = JOBPOOL_INTEGER, .integer = -7 };
	struct jobpool_value name = { .type = JOBPOOL_BYTES, .bytes = "name", .count = 4 }, nil = { .type = JOBPOOL_NIL };
	struct jobpool_value argv = { .type = JOBPOOL_BYTES, .bytes = "argv", .count = 4 };
	struct jobpool_value *words[] = { &id, &name };
	struct jobpool_value array = { .type = JOBPOOL_ARRAY, .items = words, .count = 2 };
	struct jobpool_value *items[] = { &id, &seven, &name, &nil, &argv, &array };
	struct jobpool_value map = { .type = JOBPOOL_ARRAY, .items = items, .count = 6 };
	struct buf out = { 0 };

	json_map(&out, &map);
	ck_assert_str_eq(text_of(&out), "{\"id\": -7, \"name\": null, \"argv\": [\"id\", \"name\"]}");
	buf_free(&out);
}
END_TEST

static void expect_line(struct lines *lines, const char *text)
{
	struct slice line;

	ck_assert_int_eq(lines_next(lines, false, &line), LINES_LINE);
	ck_assert_str_eq(line.data, text);
	ck_assert_uint_eq(line.len, strlen(text));
}

START_TEST(test_lines_come_as_they_are_written_and_the_last_needs_no_newline)
{
	int pipe_fds[2];
	struct slice line;
	struct lines lines = { 0 };

	ck_assert_int_eq(pipe(pipe_fds), 0);
	lines.fd = pipe_fds[0];
	ck_assert_int_eq(lines_next(&lines, false, &line), LINES_WAIT);
	ck_assert_int_eq(write_all(pipe_fds[1], "one\n\nthr", 8), 0);
	expect_line(&lines, "one");
	expect_line(&lines, "");
	ck_assert_int_eq(lines_next(&lines, false, &line), LINES_WAIT);
	ck_assert_int_eq(write_all(pipe_fds[1], "ee\nlast", 7), 0);
	expect_line(&lines, "three");
	close_fd(&pipe_fds[1]);
	expect_line(&lines, "last");
	ck_assert_int_eq(lines_next(&lines, true, &line), LINES_END);
	lines_deinit(&lines);
	close_fd(&pipe_fds[0]);
}
END_TEST

START_TEST(test_lines_may_be_longer_than_any_buffer)
{
	static char big[300000];
	char path[] = "/tmp/jobpool-test-XXXXXX";
	struct slice line;
	struct lines lines = { .fd = mkstemp(path) };

	ck_assert_int_ge(lines.fd, 0);
	unlink(path);
	memset(big, 'x', sizeof(big));
	ck_assert_int_eq(write_all(lines.fd, big, sizeof(big)), 0);
	ck_assert_int_eq(write_all(lines.fd, "\nend\n", 5), 0);
	ck_assert_int_eq(lseek(lines.fd, 0, SEEK_SET), 0);
	ck_assert_int_eq(lines_next(&lines, true, &line), LINES_LINE);
	ck_assert_uint_eq(line.len, sizeof(big));
	expect_line(&lines, "end");
	ck_assert_int_eq(lines_next(&lines, true, &line), LINES_END);
	lines_deinit(&lines);
	close_fd(&lines.fd);
}
END_TEST

static char root[] = "/tmp/jobpool-test-XXXXXX";

START_TEST(test_the_users_socket_is_in_the_runtime_directory_if_that_is_ours)
{
	char path[SOCKET_PATH_BYTES], wanted[PATH_MAX], runtime[PATH_MAX / 2];

	ck_assert_ptr_nonnull(mkdtemp(root));
	snprintf(runtime, sizeof(runtime), "%s/run", root);
	ck_assert_int_eq(mkdir(runtime, 0700), 0);
	setenv("XDG_RUNTIME_DIR", runtime, 1);
	snprintf(wanted, sizeof(wanted), "%s/jobpool/jobpool.sock", runtime);
	ck_assert_int_eq(socket_path_user(path, sizeof(path), true), 0);
	ck_assert_str_eq(path, wanted);
	*strrchr(path, '/') = '\0';
	ck_assert_int_eq(rmdir(path), 0);
	ck_assert_int_eq(rmdir(runtime), 0);
	/* It is gone: not trusted any more. */
	snprintf(wanted, sizeof(wanted), "/tmp/jobpool-%u/jobpool.sock", (unsigned)geteuid());
	if (socket_path_user(path, sizeof(path), false) == 0)
		ck_assert_str_eq(path, wanted);
	ck_assert_int_eq(rmdir(root), 0);
}
END_TEST

START_TEST(test_a_runtime_directory_with_a_long_path_is_refused)
{
	char path[SOCKET_PATH_BYTES], runtime[PATH_MAX / 2], name[101];

	ck_assert_ptr_nonnull(mkdtemp(root));
	memset(name, 'x', sizeof(name) - 1);
	name[sizeof(name) - 1] = '\0';
	snprintf(runtime, sizeof(runtime), "%s/%s", root, name);
	ck_assert_int_eq(mkdir(runtime, 0700), 0);
	setenv("XDG_RUNTIME_DIR", runtime, 1);
	ck_assert_int_eq(socket_path_user(path, sizeof(path), true), -ENAMETOOLONG);
	ck_assert_int_eq(rmdir(runtime), 0);
	ck_assert_int_eq(rmdir(root), 0);
}
END_TEST

START_TEST(test_the_state_directory_is_made_with_its_parents)
{
	char path[PATH_MAX], wanted[PATH_MAX];
	struct stat st;

	ck_assert_ptr_nonnull(mkdtemp(root));
	unsetenv("XDG_STATE_HOME");
	setenv("HOME", root, 1);
	snprintf(wanted, sizeof(wanted), "%s/.local/state/jobpool", root);
	ck_assert_int_eq(state_directory_user(path, sizeof(path), true), 0);
	ck_assert_str_eq(path, wanted);
	ck_assert_int_eq(stat(path, &st), 0);
	ck_assert_uint_eq(st.st_mode & 0777, 0700);
	for (int i = 0; i < 4; i++, *strrchr(path, '/') = '\0')
		ck_assert_int_eq(rmdir(path), 0);
}
END_TEST

START_TEST(test_without_a_home_the_state_directory_is_in_the_one_of_the_users_file)
{
	struct passwd *user = getpwuid(geteuid());
	char path[PATH_MAX], wanted[PATH_MAX];

	unsetenv("XDG_STATE_HOME");
	unsetenv("HOME");
	if (!user || user->pw_dir[0] != '/') {
		ck_assert_int_eq(state_directory_user(path, sizeof(path), false), -ENOENT);
		return;
	}
	snprintf(wanted, sizeof(wanted), "%s/.local/state/jobpool", user->pw_dir);
	ck_assert_int_eq(state_directory_user(path, sizeof(path), false), 0);
	ck_assert_str_eq(path, wanted);
}
END_TEST

static const struct {
	const char *text;
	size_t width;
	size_t cuts[6]; /* bytes that fit into 0, 1, 2, ... columns */
} widths[] = {
	{ "", 0, { 0, 0, 0, 0, 0, 0 } },
	{ "abc", 3, { 0, 1, 2, 3, 3, 3 } },
	{ "\xc3\xa9t\xc3\xa9", 3, { 0, 2, 3, 5, 5, 5 } },
	{ "\xe6\x97\xa5\xe6\x9c\xac", 4, { 0, 0, 3, 3, 6, 6 } },                /* two columns each */
	{ "a\xf0\x9f\x98\x80z", 4, { 0, 1, 1, 5, 6, 6 } },                      /* an emoji */
	{ "e\xcc\x81x", 2, { 0, 3, 4, 4, 4, 4 } },                              /* the accent stays with its letter */
};

START_TEST(test_widths_are_those_of_a_terminal_and_cuts_keep_characters_whole)
{
	ck_assert_uint_eq(text_width(widths[_i].text), widths[_i].width);
	for (size_t columns = 0; columns < ARRAY_SIZE(widths[_i].cuts); columns++)
		ck_assert_uint_eq(text_cut(widths[_i].text, columns), widths[_i].cuts[columns]);
}
END_TEST

static const struct {
	double per_second;
	const char *text;
} rates[] = {
	{ 0, "0/s" },          { 1, "1/s" },       { 1.25, "1.2/s" },       { 9.96, "10/s" },        { 12345.6, "12346/s" },
	{ 59.0 / 60, "59/min" }, { 0.05, "3/min" }, { 0.5 / 60, "30/h" },    { 1.0 / 7200, "0.5/h" },
};

START_TEST(test_rates_have_the_unit_in_which_they_are_no_fraction)
{
	char text[TIME_TEXT_BYTES];

	ck_assert_str_eq(text_rate(rates[_i].per_second, text), rates[_i].text);
}
END_TEST

START_TEST(test_time_left_has_no_tenths)
{
	char text[TIME_TEXT_BYTES];

	ck_assert_str_eq(text_left(0, text), "0s");
	ck_assert_str_eq(text_left(1, text), "1s");
	ck_assert_str_eq(text_left(59000, text), "59s");
	ck_assert_str_eq(text_left(59001, text), "1m00s");
	ck_assert_str_eq(text_left(3600000, text), "1h00m");
}
END_TEST

START_TEST(test_pace_follows_the_last_seconds_and_forgets_the_time_before)
{
	struct pace pace;
	uint64_t count = 7, now_ms = 1000;

	pace_begin(&pace, now_ms, count);
	ck_assert(pace_per_second(&pace, now_ms, count) == 0); /* nothing is known yet */
	for (int i = 0; i < 1000; i++, now_ms += 100, count += 2) /* 20 a second */
		pace_note(&pace, now_ms, count);
	ck_assert(pace_per_second(&pace, now_ms, count) == 20);
	for (int i = 0; i < 200; i++, now_ms += 100, count += 10) /* then 100 */
		pace_note(&pace, now_ms, count);
	ck_assert(pace_per_second(&pace, now_ms, count) == 100);
}
END_TEST

START_TEST(test_pace_of_rare_events_is_that_of_the_whole_time)
{
	struct pace pace;
	uint64_t count = 0;

	pace_begin(&pace, 0, 0);
	for (uint64_t ms = 500; ms <= 600000; ms += 500) { /* one in 20 s */
		count = ms / 20000;
		pace_note(&pace, ms, count);
	}
	ck_assert(pace_per_second(&pace, 600000, count) == 0.05);
	ck_assert_uint_eq(pace_left_ms(0.05, 3), 60000);
	ck_assert_uint_eq(pace_left_ms(0, 3), UINT64_MAX);
	ck_assert_uint_eq(pace_left_ms(1e-9, UINT64_MAX), UINT64_MAX);
}
END_TEST

Suite *client_text_suite(void)
{
	Suite *suite = suite_create("client_text");
	TCase *tcase = tcase_create("text");

	tcase_add_loop_test(tcase, test_json_strings_keep_every_byte, 0, ARRAY_SIZE(texts));
	tcase_add_loop_test(tcase, test_text_for_terminals_has_no_control_bytes, 0, ARRAY_SIZE(texts));
	tcase_add_loop_test(tcase, test_quoted_words_are_one_word_for_a_shell, 0, ARRAY_SIZE(texts));
	tcase_add_test(tcase, test_elapsed_time_has_two_units);
	tcase_add_test(tcase, test_json_maps_are_objects_with_nested_arrays);
	tcase_add_loop_test(tcase, test_widths_are_those_of_a_terminal_and_cuts_keep_characters_whole, 0, ARRAY_SIZE(widths));
	tcase_add_loop_test(tcase, test_rates_have_the_unit_in_which_they_are_no_fraction, 0, ARRAY_SIZE(rates));
	tcase_add_test(tcase, test_time_left_has_no_tenths);
	tcase_add_test(tcase, test_pace_follows_the_last_seconds_and_forgets_the_time_before);
	tcase_add_test(tcase, test_pace_of_rare_events_is_that_of_the_whole_time);
	suite_add_tcase(suite, tcase);
	tcase = tcase_create("lines");
	tcase_add_test(tcase, test_lines_come_as_they_are_written_and_the_last_needs_no_newline);
	tcase_add_test(tcase, test_lines_may_be_longer_than_any_buffer);
	suite_add_tcase(suite, tcase);
	tcase = tcase_create("paths");
	tcase_add_test(tcase, test_the_users_socket_is_in_the_runtime_directory_if_that_is_ours);
	tcase_add_test(tcase, test_a_runtime_directory_with_a_long_path_is_refused);
	tcase_add_test(tcase, test_the_state_directory_is_made_with_its_parents);
	tcase_add_test(tcase, test_without_a_home_the_state_directory_is_in_the_one_of_the_users_file);
	suite_add_tcase(suite, tcase);
	return suite;
}
