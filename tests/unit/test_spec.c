/* The stored form of specs: what goes in comes out, and no damaged byte does harm. */
#include "spec.h"
#include "suites.h"

static struct slice words[] = { { "sh", 2 }, { "", 0 }, { "\xff\x01 bytes", 8 } };

static const struct spec example = {
	.argv = words,
	.argc = ARRAY_SIZE(words),
	.cwd = { "/some/where", 11 },
	.umask = 027,
	.merge_output = true,
	.timeout_ms = 1,
	.grace_ms = UINT64_MAX,
	.max_output_bytes = 3,
	.input_id = 4,
};

static void encode(const struct spec *spec, struct buf *out)
{
	ck_assert_int_eq(spec_encode(spec, out), 0);
}

static int decode(const struct buf *data, struct spec *spec)
{
	return spec_decode((struct slice){ data->data, data->len }, spec);
}

START_TEST(test_spec_comes_back_as_it_went_in)
{
	struct buf data = { 0 };
	struct spec spec;

	encode(&example, &data);
	ck_assert_int_eq(decode(&data, &spec), 0);
	ck_assert_uint_eq(spec.argc, example.argc);
	for (uint32_t i = 0; i < spec.argc; i++) {
		ck_assert(slice_equal(spec.argv[i], words[i]));
		ck_assert_int_eq(spec.argv[i].data[spec.argv[i].len], '\0');
	}
	ck_assert(slice_equal(spec.cwd, example.cwd));
	ck_assert_int_eq(spec.cwd.data[spec.cwd.len], '\0');
	ck_assert_uint_eq(spec.umask, example.umask);
	ck_assert(spec.merge_output);
	ck_assert_uint_eq(spec.timeout_ms, example.timeout_ms);
	ck_assert_uint_eq(spec.grace_ms, example.grace_ms);
	ck_assert_uint_eq(spec.max_output_bytes, example.max_output_bytes);
	ck_assert_uint_eq(spec.input_id, example.input_id);
	spec_deinit(&spec);
	buf_free(&data);
}
END_TEST

START_TEST(test_spec_encode_refuses_what_no_job_can_be)
{
	static struct slice with_nul[] = { { "a\0b", 3 } }, empty_name[] = { { "", 0 } };
	struct buf data = { 0 };
	struct spec bad[] = { example, example, example, example, example, example };

	bad[0].argc = 0;
	bad[1].argv = with_nul;
	bad[1].argc = 1;
	bad[2].argv = empty_name;
	bad[2].argc = 1;
	bad[3].umask = 01000;
	bad[4].cwd = SLICE("not/absolute");
	bad[5].cwd = SLICE("/with\0nul");
	buf_append_text(&data, "before");
	ck_assert_int_eq(spec_encode(&bad[_i], &data), -EINVAL);
	ck_assert_uint_eq(data.len, 6);
	buf_free(&data);
}
END_TEST

START_TEST(test_spec_cut_short_or_longer_is_refused)
{
	struct buf data = { 0 };
	struct spec spec;

	encode(&example, &data);
	for (size_t len = 0; len < data.len; len++)
		ck_assert_int_eq(spec_decode((struct slice){ data.data, len }, &spec), -EBADMSG);
	buf_append(&data, "", 1);
	ck_assert_int_eq(decode(&data, &spec), -EBADMSG);
	buf_free(&data);
}
END_TEST

START_TEST(test_spec_front_tells_what_is_there_and_that_more_is_not)
{
	struct buf data = { 0 };
	struct spec spec;
	bool cut;
	size_t words_at;

	encode(&example, &data);
	words_at = data.len - (3 + 1 + 9) - 12; /* "sh", "", eight bytes, and the cwd in front of them */
	for (size_t len = words_at; len <= data.len; len++) {
		ck_assert_int_eq(spec_decode_front((struct slice){ data.data, len }, &spec, &cut), 0);
		ck_assert_int_eq(cut, len < data.len);
		ck_assert_uint_eq(spec.timeout_ms, example.timeout_ms);
		ck_assert_uint_le(spec.argc, example.argc);
		for (uint32_t i = 0; i < spec.argc; i++)
			ck_assert(spec.argv[i].len <= words[i].len && memcmp(spec.argv[i].data, words[i].data, spec.argv[i].len) == 0);
		spec_deinit(&spec);
	}
	buf_append(&data, "", 1);
	ck_assert_int_eq(spec_decode_front((struct slice){ data.data, data.len }, &spec, &cut), -EBADMSG);
	buf_free(&data);
}
END_TEST

START_TEST(test_spec_takes_few_bytes_beside_its_words)
{
	static struct slice one[] = { { "true", 4 } };
	const struct spec usual = { .argv = one, .argc = 1, .cwd = SLICE("/"), .umask = 022, .merge_output = true, .grace_ms = 10000,
				    .max_output_bytes = 64 << 20 };
	struct buf data = { 0 };

	encode(&usual, &data);
	ck_assert_uint_le(data.len, 12 + 2 + 5);
	buf_free(&data);
}
END_TEST

START_TEST(test_spec_with_any_flipped_bit_is_refused_or_read)
{
	struct buf data = { 0 };
	struct spec spec;

	encode(&example, &data);
	for (size_t bit = 0; bit < data.len * 8; bit++) {
		data.data[bit / 8] ^= (char)(1 << bit % 8);
		if (decode(&data, &spec) == 0)
			spec_deinit(&spec);
		data.data[bit / 8] ^= (char)(1 << bit % 8);
	}
	buf_free(&data);
}
END_TEST

START_TEST(test_spec_of_a_newer_version_is_told_apart)
{
	struct buf data = { 0 };
	uint32_t version = SPEC_VERSION + 1;
	struct spec spec;

	encode(&example, &data);
	memcpy(data.data, &version, sizeof(version));
	ck_assert_int_eq(decode(&data, &spec), -EPROTONOSUPPORT);
	buf_free(&data);
}
END_TEST

static const struct {
	struct slice block;
	int result;
} environments[] = {
	{ { NULL, 0 }, 0 },
	{ { "A=\0", 3 }, 0 },
	{ { "A=1\0B=x=y\0", 10 }, 0 },
	{ { "A=1", 3 }, -EINVAL },
	{ { "=1\0", 3 }, -EINVAL },
	{ { "A\0", 2 }, -EINVAL },
	{ { "A=1\0\0", 5 }, -EINVAL },
};

START_TEST(test_environment_is_names_with_values)
{
	ck_assert_int_eq(environment_check(environments[_i].block), environments[_i].result);
}
END_TEST

Suite *spec_suite(void)
{
	Suite *s = suite_create("spec");
	TCase *t = tcase_create("stored form");

	tcase_add_test(t, test_spec_comes_back_as_it_went_in);
	tcase_add_loop_test(t, test_spec_encode_refuses_what_no_job_can_be, 0, 6);
	tcase_add_test(t, test_spec_cut_short_or_longer_is_refused);
	tcase_add_test(t, test_spec_front_tells_what_is_there_and_that_more_is_not);
	tcase_add_test(t, test_spec_takes_few_bytes_beside_its_words);
	tcase_add_test(t, test_spec_with_any_flipped_bit_is_refused_or_read);
	tcase_add_test(t, test_spec_of_a_newer_version_is_told_apart);
	tcase_add_loop_test(t, test_environment_is_names_with_values, 0, ARRAY_SIZE(environments));
	suite_add_tcase(s, t);
	return s;
}
