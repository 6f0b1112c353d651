/* What is true after a restart, on real worker files: the scan, the judgement of each attempt, the saving of output. */
#include "recover.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/stat.h>

#include "suites.h"

#define EPOCH 77
#define MARKS_OFFSET 1024 /* as common/worker_file.h says */
#define MARK_STRIDE 512

static char directory[64];
static struct recovery recovery;
static const uint8_t token[TOKEN_BYTES] = { 1, 2, 3 }, other_token[TOKEN_BYTES] = { 9 };

static void make_state_dir(void)
{
	static const char *const names[] = { WORKER_DIRECTORY, SCRATCH_DIRECTORY, OUTPUT_DIRECTORY };

	strcpy(directory, "/tmp/recover.XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(directory));
	ck_assert_int_eq(chdir(directory), 0);
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		ck_assert_int_eq(mkdir(names[i], 0700), 0);
	recovery = (struct recovery){ 0 };
}

static void remove_state_dir(void)
{
	char command[96];

	recover_free(&recovery);
	ck_assert_int_eq(chdir("/"), 0);
	snprintf(command, sizeof(command), "rm -r %s", directory);
	ck_assert_int_eq(system(command), 0);
}

/* A worker that lives as long as the descriptor is open. */
static int make_worker(uint64_t id)
{
	int directory_fd = open(WORKER_DIRECTORY, O_RDONLY | O_DIRECTORY | O_CLOEXEC), fd;

	ck_assert_int_ge(directory_fd, 0);
	ck_assert_int_eq(worker_file_create(directory_fd, id, "default", 3, &fd), 0);
	close(directory_fd);
	return fd;
}

static void write_mark(int fd, unsigned index, enum mark_state state, const uint8_t of[TOKEN_BYTES])
{
	struct mark mark = { .state = (uint8_t)state, .job_id = 42, .attempt = 1, .end = { .outcome = state == MARK_ENDED } };

	memcpy(mark.token, of, TOKEN_BYTES);
	ck_assert_int_eq(worker_file_write_mark(fd, index, &mark, false), 0);
}

static void write_file(const char *path, const char *data, size_t len)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(write_all(fd, data, len), 0);
	close(fd);
}

static void scan(void)
{
	ck_assert_int_eq(recover_scan(EPOCH, &recovery), 0);
}

static struct recovered_worker *found(uint64_t id)
{
	for (size_t i = 0; i < recovery.count; i++)
		if (recovery.workers[i].header.worker_id == id)
			return &recovery.workers[i];
	return NULL;
}

/* ---- the scan ---- */

START_TEST(test_recover_finds_nothing_in_an_empty_directory)
{
	scan();
	ck_assert_uint_eq(recovery.count, 0);
	recover_free(&recovery);
	recover_free(&recovery);
}
END_TEST

START_TEST(test_recover_reads_what_the_files_say)
{
	int alive = make_worker(1), dead = make_worker(2), gone = make_worker(3);
	uint64_t epoch;

	ck_assert_int_eq(worker_file_write_pid(alive, 1234), 0);
	write_mark(alive, 2, MARK_STARTED, token);
	write_mark(dead, 0, MARK_ENDED, other_token);
	ck_assert_int_eq(worker_file_write_retired(gone), 0);
	close(dead);
	close(gone);
	scan();
	ck_assert_uint_eq(recovery.count, 3);
	ck_assert(found(1)->locked && !found(2)->locked && !found(3)->locked);
	ck_assert(!found(1)->retired && !found(2)->retired && found(3)->retired);
	ck_assert_int_eq(found(1)->header.pid, 1234);
	ck_assert_uint_eq(found(1)->header.slot, 3);
	ck_assert_str_eq(found(1)->header.pool, "default");
	ck_assert(found(1)->same_boot);
	ck_assert_int_eq(found(1)->marks[0].state, MARK_FREE);
	ck_assert_int_eq(found(1)->marks[2].state, MARK_STARTED);
	ck_assert_int_eq(found(2)->marks[0].state, MARK_ENDED);
	ck_assert_uint_eq(found(2)->marks[0].job_id, 42);
	ck_assert_int_eq(worker_file_read_epoch(alive, &epoch), 0);
	ck_assert_uint_eq(epoch, EPOCH);
	for (size_t i = 0; i < recovery.count; i++) {
		ck_assert_int_eq(worker_file_read_epoch(recovery.workers[i].fd, &epoch), 0);
		ck_assert_uint_eq(epoch, EPOCH);
	}
	close(alive);
}
END_TEST

START_TEST(test_recover_sets_a_torn_mark_aside_and_keeps_the_others)
{
	int fd = make_worker(1);

	write_mark(fd, 0, MARK_STARTED, token);
	write_mark(fd, 1, MARK_ENDED, other_token);
	ck_assert_int_eq(pwrite(fd, "\xff", 1, MARKS_OFFSET + 0 * MARK_STRIDE + 60), 1);
	close(fd);
	scan();
	ck_assert_int_eq(found(1)->marks[0].state, MARK_FREE);
	ck_assert_int_eq(found(1)->marks[1].state, MARK_ENDED);
}
END_TEST

START_TEST(test_recover_knows_the_files_of_another_boot)
{
	int fd = make_worker(1);

	ck_assert_int_eq(pwrite(fd, "another boot id!", 16, offsetof(struct worker_file_header, boot_id)), 16);
	close(fd);
	scan();
	ck_assert(!found(1)->same_boot);
}
END_TEST

/* What may lie in workers/ without being ours; none of it may keep the daemon from serving. */
static const struct {
	const char *name, *content;
} foreign_files[] = {
	{ "notes.txt", "buy milk\n" },
	{ "12", "" },
	{ "13", "too short" },
	{ "14x", "jobpool" },
	{ "99999999999999999999999", "" },
	{ ".hidden", "" },
	{ "-5", "" },
	{ "007", "not how we write it" },
};

START_TEST(test_recover_leaves_foreign_file)
{
	char path[64];
	struct stat st;
	int fd = make_worker(1);

	snprintf(path, sizeof(path), WORKER_DIRECTORY "/%s", foreign_files[_i].name);
	write_file(path, foreign_files[_i].content, strlen(foreign_files[_i].content));
	scan();
	ck_assert_uint_eq(recovery.count, 1);
	ck_assert_ptr_nonnull(found(1));
	ck_assert_int_eq(stat(path, &st), 0);
	ck_assert_int_eq(st.st_size, (off_t)strlen(foreign_files[_i].content));
	close(fd);
}
END_TEST

START_TEST(test_recover_leaves_a_foreign_directory)
{
	ck_assert_int_eq(mkdir(WORKER_DIRECTORY "/5", 0700), 0);
	close(make_worker(1));
	scan();
	ck_assert_uint_eq(recovery.count, 1);
}
END_TEST

START_TEST(test_recover_does_not_follow_a_link)
{
	ck_assert_int_eq(symlink("1", WORKER_DIRECTORY "/6"), 0);
	close(make_worker(1));
	scan();
	ck_assert_uint_eq(recovery.count, 1);
}
END_TEST

START_TEST(test_recover_leaves_a_whole_page_of_something_else)
{
	char page[WORKER_FILE_BYTES], after[WORKER_FILE_BYTES];
	int fd;

	memset(page, 'x', sizeof(page));
	write_file(WORKER_DIRECTORY "/8", page, sizeof(page));
	scan();
	ck_assert_uint_eq(recovery.count, 0);
	fd = open(WORKER_DIRECTORY "/8", O_RDONLY | O_CLOEXEC);
	ck_assert_int_eq(read_all(fd, after, sizeof(after)), 0);
	ck_assert_mem_eq(page, after, sizeof(page));
	close(fd);
}
END_TEST

START_TEST(test_recover_leaves_a_file_under_the_name_of_another_worker)
{
	close(make_worker(1));
	ck_assert_int_eq(rename(WORKER_DIRECTORY "/1", WORKER_DIRECTORY "/2"), 0);
	close(make_worker(3));
	scan();
	ck_assert_uint_eq(recovery.count, 1);
	ck_assert_ptr_nonnull(found(3));
}
END_TEST

START_TEST(test_recover_fails_without_its_directory)
{
	ck_assert_int_eq(rmdir(WORKER_DIRECTORY), 0);
	ck_assert_int_eq(recover_scan(EPOCH, &recovery), -ENOENT);
	ck_assert_uint_eq(recovery.count, 0);
}
END_TEST

START_TEST(test_recover_scans_a_thousand_files)
{
	for (uint64_t id = 1; id <= 900; id++)
		close(make_worker(id));
	scan();
	ck_assert_uint_eq(recovery.count, 900);
	for (uint64_t id = 1; id <= 900; id++)
		ck_assert_ptr_nonnull(found(id));
}
END_TEST

/* ---- the judgement: design section 6, "Daemon starts" ---- */

enum lock { FREE, HELD };

static const struct {
	enum mark_state state;
	enum lock lock;
	bool same_boot;          /* of the attempt */
	bool names_another;      /* the mark is of another attempt */
	enum verdict expected;
} rules[] = {
	{ MARK_ENDED, HELD, true, false, VERDICT_ENDED },
	{ MARK_ENDED, FREE, true, false, VERDICT_ENDED },
	{ MARK_ENDED, FREE, false, false, VERDICT_ENDED },
	{ MARK_STARTED, HELD, true, false, VERDICT_ADOPT },
	{ MARK_STARTED, FREE, true, false, VERDICT_UNPROVEN },
	{ MARK_STARTED, FREE, false, false, VERDICT_UNPROVEN },
	{ MARK_STARTED, HELD, true, true, VERDICT_NEVER_STARTED },
	{ MARK_ENDED, FREE, true, true, VERDICT_NEVER_STARTED },
	{ MARK_ENDED, FREE, false, true, VERDICT_LOST },
	/* A mark that was given back may still hold the token's bytes. */
	{ MARK_FREE, HELD, true, false, VERDICT_NEVER_STARTED },
	{ MARK_FREE, FREE, true, false, VERDICT_NEVER_STARTED },
	{ MARK_FREE, FREE, false, false, VERDICT_LOST },
};

START_TEST(test_recover_rule)
{
	int other = make_worker(1), fd = make_worker(2);
	size_t worker = SIZE_MAX;
	unsigned mark = UINT32_MAX;
	enum verdict verdict;

	write_mark(other, 1, MARK_STARTED, (const uint8_t[TOKEN_BYTES]){ 8 });
	write_mark(fd, 2, rules[_i].state, rules[_i].names_another ? other_token : token);
	if (rules[_i].lock == FREE)
		close(fd);
	scan();
	verdict = recover_judge(&recovery, token, rules[_i].same_boot, &worker, &mark);
	ck_assert_int_eq(verdict, rules[_i].expected);
	if (verdict == VERDICT_ENDED || verdict == VERDICT_ADOPT || verdict == VERDICT_UNPROVEN) {
		ck_assert_uint_lt(worker, recovery.count);
		ck_assert_uint_eq(recovery.workers[worker].header.worker_id, 2);
		ck_assert_uint_eq(mark, 2);
	}
	if (rules[_i].lock == HELD)
		close(fd);
	close(other);
}
END_TEST

START_TEST(test_recover_without_files_the_boot_decides)
{
	unsigned mark;
	size_t worker;

	ck_assert_int_eq(recover_judge(&recovery, token, true, &worker, &mark), VERDICT_NEVER_STARTED);
	ck_assert_int_eq(recover_judge(&recovery, token, false, &worker, &mark), VERDICT_LOST);
}
END_TEST

START_TEST(test_recover_tells_three_attempts_of_one_worker_apart)
{
	static const uint8_t tokens[][TOKEN_BYTES] = { { 1 }, { 2 }, { 3 } };
	static const enum mark_state states[] = { MARK_ENDED, MARK_ENDED, MARK_STARTED };
	static const enum verdict expected[] = { VERDICT_ENDED, VERDICT_ENDED, VERDICT_ADOPT };
	int fd = make_worker(1);

	for (unsigned i = 0; i < ARRAY_SIZE(tokens); i++)
		write_mark(fd, i, states[i], tokens[i]);
	scan();
	for (unsigned i = 0; i < ARRAY_SIZE(tokens); i++) {
		unsigned mark = UINT32_MAX;
		size_t worker;

		ck_assert_int_eq(recover_judge(&recovery, tokens[i], true, &worker, &mark), expected[i]);
		ck_assert_uint_eq(mark, i);
	}
	close(fd);
}
END_TEST

static const struct {
	bool same_boot, retired;
	enum mark_state state;
	bool expected;
} trees[] = {
	{ true, false, MARK_STARTED, false }, /* only the supervisor can tell */
	{ true, true, MARK_STARTED, true },   /* its own proof */
	{ false, false, MARK_STARTED, true }, /* nothing survives a boot */
	{ true, false, MARK_ENDED, true },    /* written after the proof */
	{ true, false, MARK_FREE, true },
};

START_TEST(test_recover_tree_is_empty)
{
	struct recovered_worker w = { .same_boot = trees[_i].same_boot, .retired = trees[_i].retired };

	w.marks[1].state = (uint8_t)trees[_i].state;
	ck_assert_int_eq(recover_tree_is_empty(&w), trees[_i].expected);
}
END_TEST

/* ---- output ---- */

static struct attempt_end end;
static struct slice kept[2];

static int save(enum mark_state state)
{
	struct mark mark = { .state = (uint8_t)state, .job_id = 42, .attempt = 3 };

	return recover_output(9, 1, &mark, &end, kept);
}

static void make_output(void)
{
	make_state_dir();
	end = (struct attempt_end){ 0 };
	memset(kept, 0, sizeof(kept));
}

static void remove_output(void)
{
	free((char *)kept[0].data);
	free((char *)kept[1].data);
	remove_state_dir();
}

START_TEST(test_recover_output_reads_small_streams)
{
	write_file(SCRATCH_DIRECTORY "/9.1.out", "hello", 5);
	write_file(SCRATCH_DIRECTORY "/9.1.err", "oh", 2);
	end.output[0].bytes = 5;
	end.output[1].bytes = 2;
	ck_assert_int_eq(save(MARK_ENDED), 0);
	ck_assert(slice_equal(kept[0], SLICE("hello")));
	ck_assert(slice_equal(kept[1], SLICE("oh")));
	ck_assert_uint_eq(end.output_files | end.output_dropped, 0);
}
END_TEST

START_TEST(test_recover_output_takes_only_what_was_counted)
{
	write_file(SCRATCH_DIRECTORY "/9.1.out", "hello and the dirt of an earlier job", 36);
	end.output[0].bytes = 5;
	ck_assert_int_eq(save(MARK_ENDED), 0);
	ck_assert(slice_equal(kept[0], SLICE("hello")));
}
END_TEST

START_TEST(test_recover_output_leaves_the_hole_out)
{
	write_file(SCRATCH_DIRECTORY "/9.1.out", "head......tail", 14);
	end.output[0].bytes = 14;
	end.output[0].hole_start = 4;
	end.output[0].hole_end = 10;
	ck_assert_int_eq(save(MARK_ENDED), 0);
	ck_assert(slice_equal(kept[0], SLICE("headtail")));
}
END_TEST

START_TEST(test_recover_output_counts_for_one_that_never_ended)
{
	write_file(SCRATCH_DIRECTORY "/9.1.out", "half a li", 9);
	ck_assert_int_eq(save(MARK_STARTED), 0);
	ck_assert_uint_eq(end.output[0].bytes, 9);
	ck_assert_uint_eq(end.output[1].bytes, 0);
	ck_assert(slice_equal(kept[0], SLICE("half a li")));
}
END_TEST

static const struct {
	uint64_t bytes;
	bool is_file;
} lengths[] = { { 0, false }, { 1, false }, { OUTPUT_INLINE_BYTES_MAX, false }, { OUTPUT_INLINE_BYTES_MAX + 1, true }, { 1 << 20, true } };

START_TEST(test_recover_output_of_length)
{
	char *data = calloc(1, lengths[_i].bytes + 1);
	struct stat st;

	write_file(SCRATCH_DIRECTORY "/9.1.err", data, lengths[_i].bytes);
	end.output[1].bytes = lengths[_i].bytes;
	ck_assert_int_eq(save(MARK_ENDED), 0);
	ck_assert_uint_eq(end.output_dropped, 0);
	ck_assert_uint_eq(end.output_files, lengths[_i].is_file ? 2 : 0);
	ck_assert_uint_eq(kept[1].len, lengths[_i].is_file ? 0 : lengths[_i].bytes);
	if (lengths[_i].is_file) {
		ck_assert_int_eq(stat(OUTPUT_DIRECTORY "/42.3.err", &st), 0);
		ck_assert_int_eq(st.st_size, (off_t)lengths[_i].bytes);
		ck_assert_int_eq(stat(SCRATCH_DIRECTORY "/9.1.err", &st), -1);
	}
	free(data);
}
END_TEST

START_TEST(test_recover_output_a_wide_hole_makes_a_long_stream_small)
{
	int fd = open(SCRATCH_DIRECTORY "/9.1.out", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

	ck_assert_int_eq(pwrite_all(fd, "head", 4, 0), 0);
	ck_assert_int_eq(pwrite_all(fd, "tail", 4, (1 << 30) - 4), 0);
	close(fd);
	end.output[0].bytes = 1 << 30;
	end.output[0].hole_start = 4;
	end.output[0].hole_end = (1 << 30) - 4;
	ck_assert_int_eq(save(MARK_ENDED), 0);
	ck_assert(slice_equal(kept[0], SLICE("headtail")));
	ck_assert_uint_eq(end.output_files, 0);
}
END_TEST

START_TEST(test_recover_output_leaves_what_is_a_file_already)
{
	write_file(SCRATCH_DIRECTORY "/9.1.out", "of the next job", 15);
	end.output[0].bytes = 1 << 20;
	end.output_files = 1;
	ck_assert_int_eq(save(MARK_ENDED), 0);
	ck_assert_uint_eq(end.output_files, 1);
	ck_assert_ptr_null(kept[0].data);
	ck_assert_int_eq(access(SCRATCH_DIRECTORY "/9.1.out", F_OK), 0);
}
END_TEST

START_TEST(test_recover_output_nothing_written_needs_no_file)
{
	ck_assert_int_eq(save(MARK_ENDED), 0);
	ck_assert_int_eq(save(MARK_STARTED), 0);
	ck_assert_uint_eq(end.output_dropped, 0);
	ck_assert_ptr_null(kept[0].data);
}
END_TEST

START_TEST(test_recover_output_names_what_is_missing_and_saves_the_rest)
{
	write_file(SCRATCH_DIRECTORY "/9.1.err", "oh", 2);
	end.output[0].bytes = 5;
	end.output[1].bytes = 2;
	ck_assert_int_eq(save(MARK_ENDED), -ENOENT);
	ck_assert_uint_eq(end.output_dropped, 1);
	ck_assert_ptr_null(kept[0].data);
	ck_assert(slice_equal(kept[1], SLICE("oh")));
}
END_TEST

START_TEST(test_recover_output_shorter_than_counted_is_dropped)
{
	write_file(SCRATCH_DIRECTORY "/9.1.out", "hel", 3);
	end.output[0].bytes = 5;
	ck_assert_int_lt(save(MARK_ENDED), 0);
	ck_assert_uint_eq(end.output_dropped, 1);
	ck_assert_ptr_null(kept[0].data);
}
END_TEST

static const struct { uint64_t start, end; } bad_holes[] = { { 4, 2 }, { 0, 6 }, { UINT64_MAX, UINT64_MAX }, { 5, UINT64_MAX } };

START_TEST(test_recover_output_impossible_hole_is_dropped)
{
	write_file(SCRATCH_DIRECTORY "/9.1.out", "hello", 5);
	end.output[0].bytes = 5;
	end.output[0].hole_start = bad_holes[_i].start;
	end.output[0].hole_end = bad_holes[_i].end;
	ck_assert_int_eq(save(MARK_ENDED), -EBADMSG);
	ck_assert_uint_eq(end.output_dropped, 1);
	ck_assert_ptr_null(kept[0].data);
}
END_TEST

Suite *recover_suite(void)
{
	Suite *s = suite_create("recover");
	TCase *files = tcase_create("scan"), *judge = tcase_create("judge"), *output = tcase_create("output");

	tcase_add_checked_fixture(files, make_state_dir, remove_state_dir);
	tcase_add_test(files, test_recover_finds_nothing_in_an_empty_directory);
	tcase_add_test(files, test_recover_reads_what_the_files_say);
	tcase_add_test(files, test_recover_sets_a_torn_mark_aside_and_keeps_the_others);
	tcase_add_test(files, test_recover_knows_the_files_of_another_boot);
	tcase_add_loop_test(files, test_recover_leaves_foreign_file, 0, ARRAY_SIZE(foreign_files));
	tcase_add_test(files, test_recover_leaves_a_foreign_directory);
	tcase_add_test(files, test_recover_does_not_follow_a_link);
	tcase_add_test(files, test_recover_leaves_a_whole_page_of_something_else);
	tcase_add_test(files, test_recover_leaves_a_file_under_the_name_of_another_worker);
	tcase_add_test(files, test_recover_fails_without_its_directory);
	tcase_add_test(files, test_recover_scans_a_thousand_files);
	suite_add_tcase(s, files);
	tcase_add_checked_fixture(judge, make_state_dir, remove_state_dir);
	tcase_add_loop_test(judge, test_recover_rule, 0, ARRAY_SIZE(rules));
	tcase_add_test(judge, test_recover_without_files_the_boot_decides);
	tcase_add_test(judge, test_recover_tells_three_attempts_of_one_worker_apart);
	tcase_add_loop_test(judge, test_recover_tree_is_empty, 0, ARRAY_SIZE(trees));
	suite_add_tcase(s, judge);
	tcase_add_checked_fixture(output, make_output, remove_output);
	tcase_add_test(output, test_recover_output_reads_small_streams);
	tcase_add_test(output, test_recover_output_takes_only_what_was_counted);
	tcase_add_test(output, test_recover_output_leaves_the_hole_out);
	tcase_add_test(output, test_recover_output_counts_for_one_that_never_ended);
	tcase_add_loop_test(output, test_recover_output_of_length, 0, ARRAY_SIZE(lengths));
	tcase_add_test(output, test_recover_output_a_wide_hole_makes_a_long_stream_small);
	tcase_add_test(output, test_recover_output_leaves_what_is_a_file_already);
	tcase_add_test(output, test_recover_output_nothing_written_needs_no_file);
	tcase_add_test(output, test_recover_output_names_what_is_missing_and_saves_the_rest);
	tcase_add_test(output, test_recover_output_shorter_than_counted_is_dropped);
	tcase_add_loop_test(output, test_recover_output_impossible_hole_is_dropped, 0, ARRAY_SIZE(bad_holes));
	suite_add_tcase(s, output);
	return s;
}
