/* What the command line client prints: JSON, escaping, quoting, lines, tables' text; and the rule for the user's socket. */
#include <check.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <sys/stat.h>

#include "../../client/cli/json.h"
#include "../../client/cli/lines.h"
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

Suite *client_text_suite(void)
{
	Suite *suite = suite_create("client_text");
	TCase *tcase = tcase_create("text");

	tcase_add_loop_test(tcase, test_json_strings_keep_every_byte, 0, ARRAY_SIZE(texts));
	tcase_add_loop_test(tcase, test_text_for_terminals_has_no_control_bytes, 0, ARRAY_SIZE(texts));
	tcase_add_loop_test(tcase, test_quoted_words_are_one_word_for_a_shell, 0, ARRAY_SIZE(texts));
	tcase_add_test(tcase, test_elapsed_time_has_two_units);
	tcase_add_test(tcase, test_json_maps_are_objects_with_nested_arrays);
	suite_add_tcase(suite, tcase);
	tcase = tcase_create("lines");
	tcase_add_test(tcase, test_lines_come_as_they_are_written_and_the_last_needs_no_newline);
	tcase_add_test(tcase, test_lines_may_be_longer_than_any_buffer);
	suite_add_tcase(suite, tcase);
	tcase = tcase_create("paths");
	tcase_add_test(tcase, test_the_users_socket_is_in_the_runtime_directory_if_that_is_ours);
	tcase_add_test(tcase, test_a_runtime_directory_with_a_long_path_is_refused);
	tcase_add_test(tcase, test_the_state_directory_is_made_with_its_parents);
	suite_add_tcase(suite, tcase);
	return suite;
}
