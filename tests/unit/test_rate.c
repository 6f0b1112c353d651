/* Rates of the last minute: what is counted, what is forgotten, and that nothing has to be called meanwhile. */
#include "rate.h"

#include "suites.h"
#include "util.h"

#define MINUTE_MS 60000u
#define BEGIN_MS 1234567u /* inside a piece */

START_TEST(test_rate_counts_what_has_just_happened)
{
	struct rate rate = { 0 };

	ck_assert_uint_eq(rate_per_minute(&rate, 0), 0);
	ck_assert_uint_eq(rate_per_minute(&rate, BEGIN_MS), 0);
	for (uint64_t i = 1; i <= 1000; i++) {
		rate_add(&rate, BEGIN_MS);
		ck_assert_uint_eq(rate_per_minute(&rate, BEGIN_MS), i);
	}
}
END_TEST

START_TEST(test_rate_keeps_it_for_a_minute_and_no_longer)
{
	struct rate rate = { 0 };

	rate_add(&rate, BEGIN_MS);
	for (uint64_t ms = 0; ms <= MINUTE_MS - RATE_PIECE_MS; ms += 100)
		ck_assert_uint_eq(rate_per_minute(&rate, BEGIN_MS + ms), 1);
	for (uint64_t ms = MINUTE_MS + RATE_PIECE_MS; ms < 100 * MINUTE_MS; ms += 777)
		ck_assert_uint_eq(rate_per_minute(&rate, BEGIN_MS + ms), 0);
}
END_TEST

START_TEST(test_rate_of_a_steady_flow_is_steady)
{
	struct rate rate = { 0 };

	for (uint64_t ms = 0; ms < 3 * MINUTE_MS; ms += 10) { /* 6000 a minute */
		rate_add(&rate, BEGIN_MS + ms);
		if (ms < MINUTE_MS + RATE_PIECE_MS)
			continue;
		ck_assert_uint_ge(rate_per_minute(&rate, BEGIN_MS + ms), 5999);
		ck_assert_uint_le(rate_per_minute(&rate, BEGIN_MS + ms), 6001);
	}
}
END_TEST

START_TEST(test_rate_begins_anew_after_a_pause_of_any_length)
{
	static const uint64_t pauses_ms[] = { MINUTE_MS + RATE_PIECE_MS, 2 * MINUTE_MS, 1000000 * (uint64_t)MINUTE_MS };

	for (size_t i = 0; i < ARRAY_SIZE(pauses_ms); i++) {
		struct rate rate = { 0 };

		for (uint64_t ms = 0; ms < 2 * MINUTE_MS; ms += 100)
			rate_add(&rate, BEGIN_MS + ms);
		rate_add(&rate, BEGIN_MS + 2 * MINUTE_MS + pauses_ms[i]);
		ck_assert_uint_eq(rate_per_minute(&rate, BEGIN_MS + 2 * MINUTE_MS + pauses_ms[i]), 1);
	}
}
END_TEST

START_TEST(test_rate_forgets_no_half_of_a_short_pause)
{
	struct rate rate = { 0 };

	rate_add(&rate, BEGIN_MS);
	rate_add(&rate, BEGIN_MS + MINUTE_MS / 2);
	ck_assert_uint_eq(rate_per_minute(&rate, BEGIN_MS + MINUTE_MS / 2), 2);
	ck_assert_uint_eq(rate_per_minute(&rate, BEGIN_MS + MINUTE_MS + RATE_PIECE_MS), 1);
}
END_TEST

Suite *rate_suite(void)
{
	Suite *s = suite_create("rate");
	TCase *t = tcase_create("rate");

	tcase_add_test(t, test_rate_counts_what_has_just_happened);
	tcase_add_test(t, test_rate_keeps_it_for_a_minute_and_no_longer);
	tcase_add_test(t, test_rate_of_a_steady_flow_is_steady);
	tcase_add_test(t, test_rate_begins_anew_after_a_pause_of_any_length);
	tcase_add_test(t, test_rate_forgets_no_half_of_a_short_pause);
	suite_add_tcase(s, t);
	return s;
}
