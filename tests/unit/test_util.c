/* util, list, buf: the small things everything else stands on. */
#include <check.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

#include "buf.h"
#include "list.h"
#include "suites.h"
#include "util.h"

static const struct {
	const char *text;
	int result;
	uint64_t value;
} uints[] = {
	{ "0", 0, 0 }, { "007", 0, 7 }, { "1000", 0, 1000 }, { "1001", -ERANGE, 0 }, { "", -EINVAL, 0 }, { "-1", -EINVAL, 0 },
	{ "+1", -EINVAL, 0 }, { " 1", -EINVAL, 0 }, { "1 ", -EINVAL, 0 }, { "0x1", -EINVAL, 0 },
	{ "99999999999999999999", -ERANGE, 0 }, { "99999999999999999999x", -EINVAL, 0 },
};

START_TEST(test_slice_to_uint_takes_decimal_digits_only)
{
	uint64_t value = 4711;

	ck_assert_int_eq(slice_to_uint(slice_of(uints[_i].text), 1000, &value), uints[_i].result);
	ck_assert_uint_eq(value, uints[_i].result < 0 ? 4711 : uints[_i].value);
}
END_TEST

START_TEST(test_slice_to_uint_reaches_the_largest_value)
{
	uint64_t value;

	ck_assert_int_eq(slice_to_uint(SLICE("18446744073709551615"), UINT64_MAX, &value), 0);
	ck_assert(value == UINT64_MAX);
	ck_assert_int_eq(slice_to_uint(SLICE("18446744073709551616"), UINT64_MAX, &value), -ERANGE);
}
END_TEST

START_TEST(test_uint_print_is_what_slice_to_uint_reads)
{
	static const uint64_t values[] = { 0, 9, 10, 99, 100, 4294967296, UINT64_MAX };
	char text[UINT_TEXT_BYTES], expected[32];

	for (size_t i = 0; i < ARRAY_SIZE(values); i++) {
		size_t len = uint_print(values[i], text);

		snprintf(expected, sizeof(expected), "%" PRIu64, values[i]);
		ck_assert(slice_equal((struct slice){ text, len }, slice_of(expected)));
	}
}
END_TEST

START_TEST(test_slice_to_int_reaches_both_ends)
{
	int64_t value = 0;

	ck_assert_int_eq(slice_to_int(SLICE("-9223372036854775808"), INT64_MIN, INT64_MAX, &value), 0);
	ck_assert(value == INT64_MIN);
	ck_assert_int_eq(slice_to_int(SLICE("9223372036854775807"), INT64_MIN, INT64_MAX, &value), 0);
	ck_assert(value == INT64_MAX);
	ck_assert_int_eq(slice_to_int(SLICE("-9223372036854775809"), INT64_MIN, INT64_MAX, &value), -ERANGE);
	ck_assert_int_eq(slice_to_int(SLICE("9223372036854775808"), INT64_MIN, INT64_MAX, &value), -ERANGE);
	ck_assert_int_eq(slice_to_int(SLICE("-2"), -1, 5, &value), -ERANGE);
	ck_assert_int_eq(slice_to_int(SLICE("-"), -1, 5, &value), -EINVAL);
	ck_assert_int_eq(slice_to_int(SLICE("--1"), -1, 5, &value), -EINVAL);
	ck_assert_int_eq(slice_to_int((struct slice){ NULL, 0 }, -1, 5, &value), -EINVAL);
	ck_assert(value == INT64_MAX);
}
END_TEST

START_TEST(test_slice_words_compare_without_case)
{
	ck_assert(slice_is_word(SLICE("BlOcK"), "block"));
	ck_assert(!slice_is_word(SLICE("bloc"), "block"));
	ck_assert(!slice_is_word(SLICE("blocks"), "block"));
	ck_assert(!slice_is_word((struct slice){ "a\0b", 3 }, "a"));
	ck_assert(slice_is_word((struct slice){ NULL, 0 }, ""));
	ck_assert(slice_equal((struct slice){ NULL, 0 }, SLICE("")));
	ck_assert(!slice_equal(SLICE("a"), SLICE("A")));
}
END_TEST

START_TEST(test_slice_dup_ends_with_a_nul_byte)
{
	char *copy = slice_dup((struct slice){ "abcdef", 3 });

	ck_assert_str_eq(copy, "abc");
	free(copy);
	copy = slice_dup((struct slice){ NULL, 0 });
	ck_assert_str_eq(copy, "");
	free(copy);
}
END_TEST

#define NAME_64 "0123456789012345678901234567890123456789012345678901234567890123"

START_TEST(test_names_are_checked_to_the_letter)
{
	static const char *const good[] = { "a", "_", "9", "Az09_.-", "a..", NAME_64 };
	static const char *const bad[] = { "", ".a", "-a", "a b", "a/b", "a,b", "\xc3\xa4", "a\n" };

	for (size_t i = 0; i < ARRAY_SIZE(good); i++)
		ck_assert_msg(name_is_valid(slice_of(good[i])), "%s", good[i]);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		ck_assert_msg(!name_is_valid(slice_of(bad[i])), "%s", bad[i]);
	ck_assert(!name_is_valid(slice_of(NAME_64 "4")));
	ck_assert(!name_is_valid((struct slice){ "a\0b", 3 }));
}
END_TEST

START_TEST(test_close_fd_closes_once_and_keeps_errno)
{
	int fd = open("/dev/null", O_RDONLY | O_CLOEXEC), copy = fd;

	ck_assert_int_ge(fd, 0);
	errno = E2BIG;
	close_fd(&fd);
	ck_assert_int_eq(fd, -1);
	close_fd(&fd);
	ck_assert_int_eq(errno, E2BIG);
	ck_assert_int_eq(fcntl(copy, F_GETFD), -1);
}
END_TEST

START_TEST(test_whole_reads_and_writes_or_an_error)
{
	int pipes[2];
	char data[8] = { 0 };

	ck_assert_int_eq(pipe(pipes), 0);
	ck_assert_int_eq(write_all(pipes[1], "12345", 5), 0);
	ck_assert_int_eq(read_all(pipes[0], data, 3), 0);
	ck_assert_str_eq(data, "123");
	close_fd(&pipes[1]);
	ck_assert_int_eq(read_all(pipes[0], data, 3), -EPIPE);
	close_fd(&pipes[0]);
	ck_assert_int_eq(read_all(-1, data, 1), -EBADF);
	ck_assert_int_eq(write_all(-1, data, 1), -EBADF);
}
END_TEST

START_TEST(test_positioned_reads_and_writes)
{
	FILE *file = tmpfile();
	char data[4] = { 0 };

	ck_assert_ptr_nonnull(file);
	ck_assert_int_eq(pwrite_all(fileno(file), "abc", 3, 100), 0);
	ck_assert_int_eq(pread_all(fileno(file), data, 3, 100), 0);
	ck_assert_str_eq(data, "abc");
	ck_assert_int_eq(pread_all(fileno(file), data, 3, 101), -EPIPE);
	ck_assert_int_eq(pwrite_all(-1, "abc", 3, 0), -EBADF);
	fclose(file);
}
END_TEST

START_TEST(test_crc32_gives_the_published_check_value)
{
	uint8_t bytes[256];

	ck_assert_uint_eq(crc32_of("123456789", 9), 0xcbf43926);
	ck_assert_uint_eq(crc32_of("", 0), 0);
	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (uint8_t)i;
	ck_assert_uint_eq(crc32_of(bytes, sizeof(bytes)), 0x29058c73);
}
END_TEST

START_TEST(test_hex_is_lower_case)
{
	char text[9];

	hex_encode("\x00\xab\xff\x10", 4, text);
	ck_assert_str_eq(text, "00abff10");
	hex_encode(NULL, 0, text);
	ck_assert_str_eq(text, "");
}
END_TEST

START_TEST(test_boot_id_is_stable_and_random_bytes_are_not)
{
	uint8_t a[16] = { 0 }, b[16] = { 0 }, zero[16] = { 0 };

	ck_assert_int_eq(boot_id_read(a), 0);
	ck_assert_int_eq(boot_id_read(b), 0);
	ck_assert_mem_eq(a, b, 16);
	ck_assert_mem_ne(a, zero, 16);
	random_fill(a, 16);
	random_fill(b, 16);
	ck_assert_mem_ne(a, b, 16);
	ck_assert_uint_ge(now_wall_ms(), 1600000000000ull);
	ck_assert_uint_le(now_monotonic_ms(), now_monotonic_ms());
}
END_TEST

struct item {
	int number;
	struct list link;
};

static int sum_in_order(const struct list *head)
{
	struct item *it;
	int digits = 0;

	list_for_each(it, head, link)
		digits = digits * 10 + it->number;
	return digits;
}

START_TEST(test_list_keeps_the_order)
{
	struct item a = { .number = 1 }, b = { .number = 2 }, c = { .number = 3 };
	struct list head, other;

	list_init(&head);
	list_init(&other);
	ck_assert_ptr_null(list_first(&head, struct item, link));
	ck_assert_ptr_null(list_last(&head, struct item, link));
	list_append(&head, &b.link);
	list_append(&head, &c.link);
	list_prepend(&head, &a.link);
	ck_assert_int_eq(sum_in_order(&head), 123);
	ck_assert_ptr_eq(list_first(&head, struct item, link), &a);
	ck_assert_ptr_eq(list_last(&head, struct item, link), &c);
	list_remove(&b.link);
	list_remove(&b.link);
	ck_assert_int_eq(sum_in_order(&head), 13);
	list_append(&other, &b.link);
	list_splice(&other, &head);
	ck_assert(list_is_empty(&head));
	ck_assert_int_eq(sum_in_order(&other), 213);
	list_splice(&other, &head);
	ck_assert_int_eq(sum_in_order(&other), 213);
}
END_TEST

START_TEST(test_list_members_may_go_while_walking)
{
	struct item items[3] = { { .number = 1 }, { .number = 2 }, { .number = 3 } }, *it, *tmp;
	struct list head;
	int seen = 0;

	list_init(&head);
	for (size_t i = 0; i < ARRAY_SIZE(items); i++)
		list_append(&head, &items[i].link);
	list_for_each_safe(it, tmp, &head, link) {
		seen = seen * 10 + it->number;
		list_remove(&it->link);
	}
	ck_assert_int_eq(seen, 123);
	ck_assert(list_is_empty(&head));
}
END_TEST

START_TEST(test_buf_appends_prints_and_consumes)
{
	struct buf b = { 0 };

	ck_assert_int_eq(buf_append(&b, NULL, 0), 0);
	ck_assert_int_eq(buf_append(&b, "ab", 2), 0);
	ck_assert_int_eq(buf_append_text(&b, "cd"), 0);
	ck_assert_int_eq(buf_printf(&b, "%d-%s", 42, "x"), 0);
	ck_assert_int_eq((int)b.len, 8);
	ck_assert_mem_eq(b.data, "abcd42-x", 8);
	buf_consume(&b, 4);
	ck_assert_mem_eq(b.data, "42-x", 4);
	buf_consume(&b, 4);
	ck_assert_uint_eq(b.len, 0);
	buf_free(&b);
	ck_assert_ptr_null(b.data);
}
END_TEST

START_TEST(test_buf_grows_over_many_appends)
{
	struct buf b = { 0 };

	for (unsigned i = 0; i < 100000; i++)
		ck_assert_int_eq(buf_append(&b, &i, sizeof(i)), 0);
	for (unsigned i = 0; i < 100000; i++)
		ck_assert_mem_eq(b.data + i * sizeof(i), &i, sizeof(i));
	buf_clear(&b);
	ck_assert_uint_eq(b.cap, 0);
	buf_append(&b, "x", 1);
	buf_clear(&b);
	ck_assert_uint_gt(b.cap, 0);
	buf_free(&b);
}
END_TEST

START_TEST(test_buf_remembers_that_something_is_missing)
{
	struct buf b = { 0 };

	buf_append_text(&b, "ab");
	ck_assert_ptr_null(buf_reserve(&b, SIZE_MAX));
	ck_assert(b.failed);
	ck_assert_uint_eq(b.len, 2);
	ck_assert_int_eq(buf_append(&b, "c", 1), -ENOMEM);
	ck_assert_int_eq(buf_append(&b, "", 0), -ENOMEM);
	ck_assert_int_eq(buf_printf(&b, "%d", 1), -ENOMEM);
	ck_assert_uint_eq(b.len, 2);
	buf_clear(&b);
	ck_assert_int_eq(buf_append(&b, "c", 1), 0);
	ck_assert_ptr_null(buf_reserve(&b, PTRDIFF_MAX));
	ck_assert(b.failed);
	ck_assert_ptr_null(buf_take(&b, NULL));
	ck_assert(!b.failed);
}
END_TEST

START_TEST(test_buf_take_hands_the_content_over)
{
	struct buf b = { 0 };
	size_t len = 99;
	char *data;

	ck_assert_ptr_null(buf_take(&b, &len));
	ck_assert_uint_eq(len, 0);
	buf_append_text(&b, "abc");
	data = buf_take(&b, &len);
	ck_assert_uint_eq(len, 3);
	ck_assert_mem_eq(data, "abc", 3);
	ck_assert_uint_eq(b.len, 0);
	ck_assert_ptr_null(b.data);
	free(data);
}
END_TEST

Suite *util_suite(void)
{
	Suite *s = suite_create("util");
	TCase *t = tcase_create("util");

	tcase_add_loop_test(t, test_slice_to_uint_takes_decimal_digits_only, 0, ARRAY_SIZE(uints));
	tcase_add_test(t, test_slice_to_uint_reaches_the_largest_value);
	tcase_add_test(t, test_uint_print_is_what_slice_to_uint_reads);
	tcase_add_test(t, test_slice_to_int_reaches_both_ends);
	tcase_add_test(t, test_slice_words_compare_without_case);
	tcase_add_test(t, test_slice_dup_ends_with_a_nul_byte);
	tcase_add_test(t, test_names_are_checked_to_the_letter);
	tcase_add_test(t, test_close_fd_closes_once_and_keeps_errno);
	tcase_add_test(t, test_whole_reads_and_writes_or_an_error);
	tcase_add_test(t, test_positioned_reads_and_writes);
	tcase_add_test(t, test_crc32_gives_the_published_check_value);
	tcase_add_test(t, test_hex_is_lower_case);
	tcase_add_test(t, test_boot_id_is_stable_and_random_bytes_are_not);
	suite_add_tcase(s, t);

	t = tcase_create("list");
	tcase_add_test(t, test_list_keeps_the_order);
	tcase_add_test(t, test_list_members_may_go_while_walking);
	suite_add_tcase(s, t);

	t = tcase_create("buf");
	tcase_add_test(t, test_buf_appends_prints_and_consumes);
	tcase_add_test(t, test_buf_grows_over_many_appends);
	tcase_add_test(t, test_buf_remembers_that_something_is_missing);
	tcase_add_test(t, test_buf_take_hands_the_content_over);
	suite_add_tcase(s, t);
	return s;
}
