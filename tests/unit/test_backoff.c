/* How long to wait: 0, first, twice that, ..., the most; and no overflow, however long it went wrong. */
#include "backoff.h"

#include "suites.h"
#include "util.h"

static const struct {
	uint32_t count;
	uint64_t first_ms, most_ms, expected_ms;
} waits[] = {
	{ 0, 1000, 60000, 0 },
	{ 1, 1000, 60000, 1000 },
	{ 2, 1000, 60000, 2000 },
	{ 6, 1000, 60000, 32000 },
	{ 7, 1000, 60000, 60000 },
	{ 8, 1000, 60000, 60000 },
	{ UINT32_MAX, 1000, 60000, 60000 },
	{ 1, 1000, 500, 500 },
	{ 3, 20, 1000, 80 },
	{ 1, 60000, 60000, 60000 },
	{ 65, 1, UINT64_MAX / 2, UINT64_MAX / 2 },
};

START_TEST(test_backoff_wait)
{
	ck_assert_uint_eq(backoff_ms(waits[_i].count, waits[_i].first_ms, waits[_i].most_ms), waits[_i].expected_ms);
}
END_TEST

START_TEST(test_backoff_never_falls)
{
	uint64_t before = 0;

	for (uint32_t count = 0; count < 1000; count++) {
		uint64_t now = backoff_ms(count, BACKOFF_FIRST_MS, BACKOFF_MOST_MS);

		ck_assert_uint_ge(now, before);
		ck_assert_uint_le(now, BACKOFF_MOST_MS);
		before = now;
	}
}
END_TEST

Suite *backoff_suite(void)
{
	Suite *s = suite_create("backoff");
	TCase *t = tcase_create("backoff");

	tcase_add_loop_test(t, test_backoff_wait, 0, ARRAY_SIZE(waits));
	tcase_add_test(t, test_backoff_never_falls);
	suite_add_tcase(s, t);
	return s;
}
