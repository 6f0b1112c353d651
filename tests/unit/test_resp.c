/* resp: requests taken apart however the bytes arrive, limits that hold on sight of a header, replies. */
#include <check.h>
#include <stdio.h>

#include "resp.h"
#include "suites.h"

static const struct resp_limits limits = { .arguments_max = 1000, .request_bytes_max = 100000 };

static const struct {
	const char *bytes, *error; /* part of the message */
} bad[] = {
	{ "PING\r\n", "SYNTAX inline commands are not supported: send an array of bulk strings (RESP2), not 'P'" },
	{ "\r\n", "SYNTAX inline commands are not supported: send an array of bulk strings (RESP2), not \\x0d" },
	{ "$4\r\nPING\r\n", "SYNTAX inline" },
	{ "%1\r\n", "SYNTAX RESP3" },
	{ ">1\r\n", "SYNTAX RESP3" },
	{ "*-1\r\n", "SYNTAX a negative number after '*'" },
	{ "*\r\n", "SYNTAX no number after '*'" },
	{ "*1x\r\n", "SYNTAX 'x' in the number after '*'" },
	{ "*1-\r\n", "SYNTAX '-' in the number after '*'" },
	{ "*+1\r\n", "SYNTAX '+' in" },
	{ "* 1\r\n", "SYNTAX \\x20 in" },
	{ "*1\n$", "SYNTAX \\x0a in" },
	{ "*1\rx", "SYNTAX the number after '*' is not followed by CR LF" },
	{ "*1001\r\n", "LIMIT a request has at most 1000 arguments" },
	{ "*99999999999999999999\r\n", "LIMIT a request has at most 1000 arguments" },
	{ "*0000000000000000000001\r\n", "SYNTAX a header line is at most 24 bytes long" },
	{ "*1\r\n:1\r\n", "SYNTAX argument 1 must be a bulk string ('$'), not ':'" },
	{ "*2\r\n$1\r\na\r\n*", "SYNTAX argument 2 must be a bulk string ('$'), not '*'" },
	{ "*1\r\n$-1\r\n", "SYNTAX a negative number after '$'" },
	{ "*1\r\n$\r\n", "SYNTAX no number after '$'" },
	{ "*1\r\n$100001\r\n", "LIMIT a request has at most 100000 bytes" },
	{ "*1\r\n$18446744073709551615\r\n", "LIMIT a request has at most 100000 bytes" },
	{ "*2\r\n$5\r\nabcde\r\n$99996\r\n", "LIMIT a request has at most 100000 bytes" },
	{ "*1\r\n$3\r\nabcd", "SYNTAX argument 1 is not followed by CR LF" },
	{ "*1\r\n$3\r\nabc\rd", "SYNTAX argument 1 is not followed by CR LF" },
};

START_TEST(test_resp_refuses_as_soon_as_it_can)
{
	struct resp_parser whole = { .limits = &limits }, single = { .limits = &limits };
	size_t len = strlen(bad[_i].bytes), used = 4711;

	ck_assert_int_eq(resp_parse(&whole, bad[_i].bytes, len, &used), RESP_ERROR);
	ck_assert_msg(strstr(whole.error, bad[_i].error) == whole.error, "%s", whole.error);
	ck_assert_uint_eq(used, 4711);
	for (size_t i = 0; i < len; i++) {
		enum resp_result r = resp_parse(&single, bad[_i].bytes, i + 1, &used);

		if (r == RESP_ERROR)
			break;
		ck_assert_int_eq(r, RESP_MORE);
	}
	ck_assert_str_eq(single.error, whole.error);
	/* Framing is lost for good. */
	ck_assert_int_eq(resp_parse(&whole, "*0\r\n", 4, &used), RESP_ERROR);
	resp_parser_deinit(&whole);
	resp_parser_deinit(&single);
}
END_TEST

START_TEST(test_resp_takes_binary_arguments)
{
	static const char bytes[] = "*3\r\n$0\r\n\r\n$4\r\n\0\r\n\xff\r\n$1\r\nx\r\nrest";
	struct resp_parser p = { .limits = &limits };
	size_t used = 0;

	ck_assert_int_eq(resp_parse(&p, bytes, sizeof(bytes) - 1, &used), RESP_REQUEST);
	ck_assert_uint_eq(used, sizeof(bytes) - 1 - 4);
	ck_assert_uint_eq(p.argc, 3);
	ck_assert(slice_equal(p.argv[0], SLICE("")));
	ck_assert(slice_equal(p.argv[1], (struct slice){ "\0\r\n\xff", 4 }));
	ck_assert(slice_equal(p.argv[2], SLICE("x")));
	resp_parser_deinit(&p);
}
END_TEST

START_TEST(test_resp_keeps_its_place_when_the_input_moves)
{
	static const char bytes[] = "*2\r\n$3\r\nfoo\r\n$3\r\nbar\r\n";
	struct resp_parser p = { .limits = &limits };
	size_t used = 0, len = sizeof(bytes) - 1;

	for (size_t i = 0; i <= len; i++) {
		char *copy = malloc(i + 1); /* exactly what has arrived, elsewhere each time */
		enum resp_result r;

		memcpy(copy, bytes, i);
		r = resp_parse(&p, copy, i, &used);
		ck_assert_int_eq(r, i < len ? RESP_MORE : RESP_REQUEST);
		if (r == RESP_REQUEST) {
			ck_assert(slice_equal(p.argv[0], SLICE("foo")));
			ck_assert(slice_equal(p.argv[1], SLICE("bar")));
		}
		free(copy);
	}
	ck_assert_uint_eq(used, len);
	resp_parser_deinit(&p);
}
END_TEST

START_TEST(test_resp_takes_pipelined_requests_one_by_one)
{
	struct resp_parser p = { .limits = &limits };
	struct buf in = { 0 };
	size_t at = 0, used;

	for (int i = 0; i < 1000; i++) {
		resp_array(&in, (uint32_t)(i % 3));
		for (int j = 0; j < i % 3; j++)
			resp_text(&in, "word");
	}
	for (int i = 0; i < 1000; i++) {
		ck_assert_int_eq(resp_parse(&p, in.data + at, in.len - at, &used), RESP_REQUEST);
		ck_assert_uint_eq(p.argc, (unsigned)(i % 3));
		at += used;
	}
	ck_assert_uint_eq(at, in.len);
	ck_assert_int_eq(resp_parse(&p, in.data + at, 0, &used), RESP_MORE);
	resp_parser_deinit(&p);
	buf_free(&in);
}
END_TEST

START_TEST(test_resp_memory_grows_with_bytes_not_with_promises)
{
	static const struct resp_limits wide = { .arguments_max = UINT32_MAX, .request_bytes_max = UINT64_MAX };
	struct resp_parser p = { .limits = &wide };
	struct buf in = { 0 };
	size_t used;

	ck_assert_int_eq(resp_parse(&p, "*4294967295\r\n$1\r\na\r\n", 19, &used), RESP_MORE);
	ck_assert_uint_le(p.argv_cap, 16);
	resp_parser_deinit(&p);

	p = (struct resp_parser){ .limits = &wide };
	resp_array(&in, 5000);
	for (int i = 0; i < 5000; i++)
		resp_text(&in, "");
	resp_array(&in, 1);
	resp_text(&in, "small");
	ck_assert_int_eq(resp_parse(&p, in.data, in.len, &used), RESP_REQUEST);
	ck_assert_uint_eq(p.argc, 5000);
	ck_assert_uint_ge(p.argv_cap, 5000);
	/* And a huge one does not make its connection huge for ever. */
	ck_assert_int_eq(resp_parse(&p, in.data + used, in.len - used, &used), RESP_REQUEST);
	ck_assert_uint_eq(p.argc, 1);
	ck_assert_uint_le(p.argv_cap, 16);
	resp_parser_deinit(&p);
	buf_free(&in);
}
END_TEST

START_TEST(test_resp_limits_themselves_are_allowed)
{
	struct resp_parser p = { .limits = &limits };
	struct buf in = { 0 };
	size_t used;

	resp_array(&in, 1000);
	for (int i = 0; i < 1000; i++)
		resp_bulk(&in, (struct slice){ "0123456789012345678901234567890123456789012345678901234567890123456789"
					       "012345678901234567890123456789", 100 });
	ck_assert_int_eq(resp_parse(&p, in.data, in.len, &used), RESP_REQUEST);
	ck_assert_uint_eq(used, in.len);
	resp_parser_deinit(&p);
	buf_free(&in);
}
END_TEST

START_TEST(test_resp_a_limit_lowered_meanwhile_holds_for_the_rest)
{
	struct resp_limits changing = limits;
	struct resp_parser p = { .limits = &changing };
	static const char bytes[] = "*2\r\n$5\r\nabcde\r\n$1\r\nx\r\n";
	size_t used;

	ck_assert_int_eq(resp_parse(&p, bytes, 15, &used), RESP_MORE);
	changing.request_bytes_max = 3;
	ck_assert_int_eq(resp_parse(&p, bytes, sizeof(bytes) - 1, &used), RESP_ERROR);
	resp_parser_deinit(&p);
}
END_TEST

START_TEST(test_resp_knows_what_is_missing_inside_an_argument)
{
	struct resp_parser p = { .limits = &limits };
	size_t used;

	ck_assert_uint_eq(resp_bytes_missing(&p, 0), 0);
	ck_assert_int_eq(resp_parse(&p, "*1\r\n$10\r\nabc", 12, &used), RESP_MORE);
	ck_assert_uint_eq(resp_bytes_missing(&p, 12), 9);
	ck_assert_uint_eq(resp_bytes_missing(&p, 30), 0);
	resp_parser_deinit(&p);
}
END_TEST

START_TEST(test_resp_replies)
{
	struct buf out = { 0 };

	resp_simple(&out, "OK");
	resp_error(&out, "NOTFOUND", "no job %d\r\nhere", 7);
	resp_integer(&out, INT64_MIN);
	resp_bulk(&out, (struct slice){ "a\r\n", 3 });
	resp_bulk(&out, (struct slice){ NULL, 0 });
	resp_text(&out, "text");
	resp_text(&out, NULL);
	resp_nil(&out);
	resp_nil_array(&out);
	resp_array(&out, UINT32_MAX);
	buf_append(&out, "", 1);
	ck_assert(!out.failed);
	ck_assert_str_eq(out.data, "+OK\r\n-NOTFOUND no job 7  here\r\n:-9223372036854775808\r\n$3\r\na\r\n\r\n$0\r\n\r\n"
				   "$4\r\ntext\r\n$-1\r\n$-1\r\n*-1\r\n*4294967295\r\n");
	buf_free(&out);
}
END_TEST

START_TEST(test_resp_error_messages_are_cut)
{
	struct buf out = { 0 };

	resp_error(&out, "ERR", "%2000s", "x");
	ck_assert_uint_eq(out.len, strlen("-ERR ") + 512 + 2);
	ck_assert_mem_eq(out.data + out.len - 2, "\r\n", 2);
	buf_free(&out);
}
END_TEST

Suite *resp_suite(void)
{
	Suite *s = suite_create("resp");
	TCase *t = tcase_create("requests");

	tcase_add_loop_test(t, test_resp_refuses_as_soon_as_it_can, 0, ARRAY_SIZE(bad));
	tcase_add_test(t, test_resp_takes_binary_arguments);
	tcase_add_test(t, test_resp_keeps_its_place_when_the_input_moves);
	tcase_add_test(t, test_resp_takes_pipelined_requests_one_by_one);
	tcase_add_test(t, test_resp_memory_grows_with_bytes_not_with_promises);
	tcase_add_test(t, test_resp_limits_themselves_are_allowed);
	tcase_add_test(t, test_resp_a_limit_lowered_meanwhile_holds_for_the_rest);
	tcase_add_test(t, test_resp_knows_what_is_missing_inside_an_argument);
	suite_add_tcase(s, t);

	t = tcase_create("replies");
	tcase_add_test(t, test_resp_replies);
	tcase_add_test(t, test_resp_error_messages_are_cut);
	suite_add_tcase(s, t);
	return s;
}
