/* The cache of environments: held ones stay, of the others the longest unused go first. */
#include "environments.h"

#include "suites.h"

static struct environments cache;

static void make_cache(void)
{
	environments_init(&cache);
}

static void drop_cache(void)
{
	environments_deinit(&cache);
	ck_assert_ptr_null(cache.by_id);
	ck_assert_uint_eq(cache.idle_count, 0);
}

static struct slice block_of(const char *text)
{
	return (struct slice){ strdup(text), strlen(text) };
}

static struct environment *put(uint64_t id)
{
	struct environment *e = environments_put(&cache, id, block_of("A=1"));

	ck_assert_ptr_nonnull(e);
	return e;
}

static bool is_cached(uint64_t id)
{
	struct environment *e = environments_find(&cache, id);

	environments_release(&cache, e);
	return e;
}

START_TEST(test_environments_find_what_was_put)
{
	struct environment *e = put(7), *found;

	found = environments_find(&cache, 7);
	ck_assert_ptr_eq(found, e);
	ck_assert_uint_eq(found->references, 2);
	ck_assert(slice_equal(found->block, SLICE("A=1")));
	ck_assert_ptr_null(environments_find(&cache, 8));
	environments_release(&cache, found);
	environments_release(&cache, e);
	environments_release(&cache, NULL);
	ck_assert(is_cached(7));
}
END_TEST

START_TEST(test_environments_keep_the_first_block_of_an_id)
{
	struct environment *first = put(7), *second = environments_put(&cache, 7, block_of("B=2"));

	ck_assert_ptr_eq(first, second);
	ck_assert(slice_equal(second->block, SLICE("A=1")));
	environments_release(&cache, first);
	environments_release(&cache, second);
}
END_TEST

START_TEST(test_environments_take_an_empty_one)
{
	struct environment *e = environments_put(&cache, 7, (struct slice){ 0 });

	ck_assert_ptr_nonnull(e);
	ck_assert_uint_eq(e->block.len, 0);
	environments_release(&cache, e);
}
END_TEST

START_TEST(test_environments_drop_the_longest_unused)
{
	const uint64_t count = ENVIRONMENTS_CACHED_MAX + 3;

	for (uint64_t id = 1; id <= count; id++)
		environments_release(&cache, put(id));
	ck_assert_uint_eq(cache.idle_count, ENVIRONMENTS_CACHED_MAX);
	for (uint64_t id = 1; id <= 3; id++)
		ck_assert(!is_cached(id));
	/* Asking makes 4 the youngest, so 5 goes next. */
	ck_assert(is_cached(4));
	environments_release(&cache, put(count + 1));
	ck_assert(!is_cached(5));
	ck_assert(is_cached(4));
}
END_TEST

START_TEST(test_environments_keep_all_that_are_held)
{
	struct environment *held[4 * ENVIRONMENTS_CACHED_MAX];

	for (uint64_t i = 0; i < ARRAY_SIZE(held); i++)
		held[i] = put(i + 1);
	ck_assert_uint_eq(cache.idle_count, 0);
	for (uint64_t i = 0; i < ARRAY_SIZE(held); i++)
		ck_assert(is_cached(i + 1));
	for (uint64_t i = 0; i < ARRAY_SIZE(held); i++)
		environments_release(&cache, held[i]);
	ck_assert_uint_eq(cache.idle_count, ENVIRONMENTS_CACHED_MAX);
}
END_TEST

Suite *environments_suite(void)
{
	Suite *s = suite_create("environments");
	TCase *t = tcase_create("environments");

	tcase_add_checked_fixture(t, make_cache, drop_cache);
	tcase_add_test(t, test_environments_find_what_was_put);
	tcase_add_test(t, test_environments_keep_the_first_block_of_an_id);
	tcase_add_test(t, test_environments_take_an_empty_one);
	tcase_add_test(t, test_environments_drop_the_longest_unused);
	tcase_add_test(t, test_environments_keep_all_that_are_held);
	suite_add_tcase(s, t);
	return s;
}
