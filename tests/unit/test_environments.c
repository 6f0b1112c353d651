/* The cache of environments: held ones stay, of the others the longest unused go first. */
#include "environments.h"

#include <stdio.h>

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

/* ---- by content ---- */

static struct named_environments named;

static void forget_named(void)
{
	named_environments_deinit(&named);
}

static uint64_t find_named(const char *owner, const char *block, uint64_t now_ms)
{
	return named_environments_find(&named, slice_of(owner), slice_of(block), now_ms);
}

START_TEST(test_named_environments_are_found_by_owner_and_content)
{
	named_environments_put(&named, SLICE("alice"), SLICE("A=1"), 7, 1000);
	named_environments_put(&named, SLICE("bob"), SLICE("A=1"), 8, 1000);
	ck_assert_uint_eq(find_named("alice", "A=1", 1000), 7);
	ck_assert_uint_eq(find_named("bob", "A=1", 1000), 8);
	ck_assert_uint_eq(find_named("alice", "A=2", 1000), 0);
	ck_assert_uint_eq(find_named("carol", "A=1", 1000), 0);
}
END_TEST

START_TEST(test_named_environments_are_forgotten_before_the_store_may_drop_them)
{
	named_environments_put(&named, SLICE("alice"), SLICE("A=1"), 7, 1000);
	ck_assert_uint_eq(find_named("alice", "A=1", 1000 + ENVIRONMENT_NAMED_MS - 1), 7);
	ck_assert_uint_eq(find_named("alice", "A=1", 1000 + ENVIRONMENT_NAMED_MS), 0);
	named_environments_put(&named, SLICE("alice"), SLICE("A=1"), 9, 70000); /* the store had it no more */
	ck_assert_uint_eq(find_named("alice", "A=1", 70000), 9);
}
END_TEST

START_TEST(test_named_environments_keep_a_few)
{
	char block[8];

	for (uint64_t i = 1; i <= ENVIRONMENTS_NAMED_MAX + 1; i++) {
		snprintf(block, sizeof(block), "A=%u", (unsigned)i);
		named_environments_put(&named, SLICE("alice"), slice_of(block), i, 1000 + i);
	}
	ck_assert_uint_eq(find_named("alice", "A=1", 2000), 0);
	ck_assert_uint_eq(find_named("alice", "A=2", 2000), 2);
	ck_assert_uint_eq(find_named("alice", block, 2000), ENVIRONMENTS_NAMED_MAX + 1);
}
END_TEST

START_TEST(test_named_environments_keep_no_large_one)
{
	char *large = calloc(1, ENVIRONMENT_NAMED_BYTES_MAX + 1);

	named_environments_put(&named, SLICE("alice"), (struct slice){ large, ENVIRONMENT_NAMED_BYTES_MAX + 1 }, 7, 1000);
	ck_assert_uint_eq(named_environments_find(&named, SLICE("alice"), (struct slice){ large, ENVIRONMENT_NAMED_BYTES_MAX + 1 }, 1000), 0);
	free(large);
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
	t = tcase_create("named");
	tcase_add_checked_fixture(t, NULL, forget_named);
	tcase_add_test(t, test_named_environments_are_found_by_owner_and_content);
	tcase_add_test(t, test_named_environments_are_forgotten_before_the_store_may_drop_them);
	tcase_add_test(t, test_named_environments_keep_a_few);
	tcase_add_test(t, test_named_environments_keep_no_large_one);
	suite_add_tcase(s, t);
	return s;
}
