/* units: durations and sizes, as written and as printed. */
#include <check.h>

#include "suites.h"
#include "units.h"

#define MIB (1ull << 20)

struct row {
	const char *text;
	int result;
	uint64_t value;
};

static const struct row durations[] = {
	{ "0", 0, 0 }, { "10", 0, 10000 }, { "10s", 0, 10000 }, { "500ms", 0, 500 }, { "1h30m", 0, 5400000 },
	{ "8h", 0, 28800000 }, { "7d", 0, 604800000 }, { "2w", 0, 1209600000 }, { "1.5s", 0, 1500 },
	{ "1.5", 0, 1500 }, { "0.25h", 0, 900000 }, { "0.0001s", 0, 1 }, { "1d2h3m4s5ms", 0, 93784005 },
	{ "0.000001w", 0, 605 }, { "4611686018427387903ms", 0, UINT64_MAX / 4 }, { "", -EINVAL, 0 },
	{ "s", -EINVAL, 0 }, { "-1s", -EINVAL, 0 }, { "1 s", -EINVAL, 0 }, { "10S", -EINVAL, 0 },
	{ "1M", -EINVAL, 0 }, { "1h30", -EINVAL, 0 }, { "30 1h", -EINVAL, 0 }, { "1.s", -EINVAL, 0 },
	{ ".5s", -EINVAL, 0 }, { "1.5.5s", -EINVAL, 0 }, { "1.1234567s", -EINVAL, 0 }, { "1y", -EINVAL, 0 },
	{ "10s\n", -EINVAL, 0 }, { "infinity", -EINVAL, 0 }, { "1e3s", -EINVAL, 0 },
	{ "4611686018427387904ms", -ERANGE, 0 }, { "99999999999999999999s", -ERANGE, 0 },
	{ "7626000000w", -ERANGE, 0 }, { "4611686018427387903ms1ms", -ERANGE, 0 },
	{ "18446744073709551615w", -ERANGE, 0 }, { "99999999999999999999x", -EINVAL, 0 },
	{ "99999999999999999999s1x", -EINVAL, 0 },
};

static const struct row sizes[] = {
	{ "0", 0, 0 }, { "512", 0, 512 }, { "512B", 0, 512 }, { "64KiB", 0, 65536 }, { "64k", 0, 65536 },
	{ "64kb", 0, 64000 }, { "64mib", 0, 64 * MIB }, { "10MB", 0, 10000000 }, { "1G", 0, 1024 * MIB },
	{ "1.5GiB", 0, 1536 * MIB }, { "2TB", 0, 2000000000000 }, { "0.000001B", 0, 1 }, { "", -EINVAL, 0 },
	{ "KiB", -EINVAL, 0 }, { "1Kib2B", -EINVAL, 0 }, { "1 KiB", -EINVAL, 0 }, { "-1", -EINVAL, 0 },
	{ "1s", -EINVAL, 0 }, { "1PiB", -EINVAL, 0 }, { "0x10", -EINVAL, 0 }, { "4194304TiB", -ERANGE, 0 },
	{ "99999999999999999999", -ERANGE, 0 },
};

START_TEST(test_duration_parse)
{
	uint64_t value = 4711;

	ck_assert_msg(duration_parse(slice_of(durations[_i].text), &value) == durations[_i].result, "%s", durations[_i].text);
	ck_assert_msg(value == (durations[_i].result < 0 ? 4711 : durations[_i].value), "%s", durations[_i].text);
}
END_TEST

START_TEST(test_size_parse)
{
	uint64_t value = 4711;

	ck_assert_msg(size_parse(slice_of(sizes[_i].text), &value) == sizes[_i].result, "%s", sizes[_i].text);
	ck_assert_msg(value == (sizes[_i].result < 0 ? 4711 : sizes[_i].value), "%s", sizes[_i].text);
}
END_TEST

START_TEST(test_units_refuse_no_text_at_all)
{
	uint64_t value = 4711;

	ck_assert_int_eq(duration_parse((struct slice){ NULL, 0 }, &value), -EINVAL);
	ck_assert_int_eq(size_parse((struct slice){ "1\0", 2 }, &value), -EINVAL);
	ck_assert_uint_eq(value, 4711);
}
END_TEST

START_TEST(test_units_format_the_way_people_write)
{
	char text[UNITS_TEXT_BYTES];

	ck_assert_str_eq(duration_format(0, text), "0s");
	ck_assert_str_eq(duration_format(1, text), "1ms");
	ck_assert_str_eq(duration_format(90000, text), "1m30s");
	ck_assert_str_eq(duration_format(604800000, text), "7d");
	ck_assert_str_eq(duration_format(UINT64_MAX, text), "213503982334d14h25m51s615ms");
	ck_assert_str_eq(size_format(0, text), "0B");
	ck_assert_str_eq(size_format(1000, text), "1000B");
	ck_assert_str_eq(size_format(65536, text), "64KiB");
	ck_assert_str_eq(size_format(3 * MIB / 2, text), "1536KiB");
	ck_assert_str_eq(size_format(UINT64_MAX, text), "18446744073709551615B");
}
END_TEST

START_TEST(test_units_read_back_what_they_print)
{
	char text[UNITS_TEXT_BYTES];

	for (uint64_t value = 1; value < UINT64_MAX / 8; value += value / 3 + 1) {
		uint64_t back = 0;

		ck_assert_int_eq(duration_parse(slice_of(duration_format(value, text)), &back), 0);
		ck_assert_uint_eq(back, value);
		ck_assert_int_eq(size_parse(slice_of(size_format(value, text)), &back), 0);
		ck_assert_uint_eq(back, value);
	}
}
END_TEST

Suite *units_suite(void)
{
	Suite *s = suite_create("units");
	TCase *t = tcase_create("units");

	tcase_add_loop_test(t, test_duration_parse, 0, ARRAY_SIZE(durations));
	tcase_add_loop_test(t, test_size_parse, 0, ARRAY_SIZE(sizes));
	tcase_add_test(t, test_units_refuse_no_text_at_all);
	tcase_add_test(t, test_units_format_the_way_people_write);
	tcase_add_test(t, test_units_read_back_what_they_print);
	suite_add_tcase(s, t);
	return s;
}
