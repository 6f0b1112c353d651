/* Frames: built, found in any cut of a stream, taken apart. */
#include "worker_proto.h"
#include "suites.h"

static void append_run(struct buf *out)
{
	struct message_run run = { .job_id = 7, .attempt = 2, .spec_bytes = 3, .environment_bytes = 0, .queue_bytes = 1 };
	struct slice tails[] = { { "abc", 3 }, { NULL, 0 }, { "q", 1 } };

	message_append(out, MESSAGE_RUN, 99, &run, sizeof(run), tails, ARRAY_SIZE(tails));
	ck_assert(!out->failed);
}

START_TEST(test_message_comes_back_as_it_went_in)
{
	struct message_header header;
	struct message_run run;
	struct slice rest, spec, environment, queue;
	struct buf data = { 0 };

	append_run(&data);
	append_run(&data);
	ssize_t len = message_peek(data.data, data.len, &header);
	ck_assert_int_eq(len, (ssize_t)data.len / 2);
	ck_assert_uint_eq(header.type, MESSAGE_RUN);
	ck_assert_uint_eq(header.epoch, 99);
	ck_assert_int_eq(message_body((struct slice){ data.data, (size_t)len }, &run, sizeof(run), &rest), 0);
	ck_assert_uint_eq(run.job_id, 7);
	ck_assert_int_eq(message_cut(&rest, run.spec_bytes, &spec), 0);
	ck_assert_int_eq(message_cut(&rest, run.environment_bytes, &environment), 0);
	ck_assert_int_eq(message_cut(&rest, run.queue_bytes, &queue), 0);
	ck_assert(slice_equal(spec, SLICE("abc")));
	ck_assert_uint_eq(environment.len, 0);
	ck_assert(slice_equal(queue, SLICE("q")));
	ck_assert_uint_eq(rest.len, 0);
	ck_assert_int_eq(message_cut(&rest, 1, &queue), -EBADMSG);
	buf_free(&data);
}
END_TEST

START_TEST(test_message_is_not_there_before_its_last_byte)
{
	struct message_header header;
	struct buf data = { 0 };

	append_run(&data);
	for (size_t len = 0; len < data.len; len++)
		ck_assert_int_eq(message_peek(data.data, len, &header), 0);
	buf_free(&data);
}
END_TEST

START_TEST(test_message_with_an_impossible_length_is_refused)
{
	static const uint32_t lengths[] = { 0, sizeof(struct message_header) - 1, WORKER_FRAME_BYTES_MAX + 1, UINT32_MAX };
	struct message_header header = { .length = lengths[_i] }, found;

	ck_assert_int_eq(message_peek((const char *)&header, sizeof(header), &found), -EBADMSG);
}
END_TEST

START_TEST(test_message_shorter_than_its_type_is_refused)
{
	struct message_token body;
	struct buf data = { 0 };

	message_append(&data, MESSAGE_RECORDED, 0, "short", 5, NULL, 0);
	ck_assert_int_eq(message_body((struct slice){ data.data, data.len }, &body, sizeof(body), NULL), -EBADMSG);
	ck_assert_int_eq(message_body((struct slice){ data.data, 3 }, &body, 0, NULL), -EBADMSG);
	buf_free(&data);
}
END_TEST

START_TEST(test_message_without_a_body_is_a_header)
{
	struct buf data = { 0 };

	message_append(&data, MESSAGE_RETIRE, 1, NULL, 0, NULL, 0);
	ck_assert_uint_eq(data.len, sizeof(struct message_header));
	buf_free(&data);
}
END_TEST

START_TEST(test_message_too_long_is_not_appended)
{
	struct slice tail = { NULL, WORKER_FRAME_BYTES_MAX };
	struct buf data = { 0 };

	message_append(&data, MESSAGE_RUN, 1, NULL, 0, &tail, 1);
	ck_assert(data.failed);
	ck_assert_uint_eq(data.len, 0);
	buf_free(&data);
}
END_TEST

Suite *worker_proto_suite(void)
{
	Suite *s = suite_create("worker_proto");
	TCase *t = tcase_create("frames");

	tcase_add_test(t, test_message_comes_back_as_it_went_in);
	tcase_add_test(t, test_message_is_not_there_before_its_last_byte);
	tcase_add_loop_test(t, test_message_with_an_impossible_length_is_refused, 0, 4);
	tcase_add_test(t, test_message_shorter_than_its_type_is_refused);
	tcase_add_test(t, test_message_without_a_body_is_a_header);
	tcase_add_test(t, test_message_too_long_is_not_appended);
	suite_add_tcase(s, t);
	return s;
}
