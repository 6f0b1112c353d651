/* The worker file: birth, lock, and each writer's part. */
#include "worker_file.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "suites.h"

static int directory_fd = -1;
static char directory[] = "/tmp/worker_file.XXXXXX";

static void make_directory(void)
{
	ck_assert_ptr_nonnull(mkdtemp(directory));
	directory_fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	ck_assert_int_ge(directory_fd, 0);
}

static void remove_directory(void)
{
	for (uint64_t id = 1; id <= 2; id++) {
		char name[24];
		snprintf(name, sizeof(name), "%u", (unsigned)id);
		unlinkat(directory_fd, name, 0);
	}
	close_fd(&directory_fd);
	rmdir(directory);
	strcpy(directory + strlen(directory) - 6, "XXXXXX");
}

static int create(uint64_t id)
{
	int fd;

	ck_assert_int_eq(worker_file_create(directory_fd, id, "default", 3, &fd), 0);
	return fd;
}

START_TEST(test_worker_file_is_born_whole)
{
	struct worker_file_header header;
	struct mark mark;
	uint8_t boot_id[16];
	uint64_t epoch;
	bool retired;
	struct stat st;

	int fd = create(1);
	ck_assert_int_eq(worker_file_read_header(fd, &header), 0);
	ck_assert_uint_eq(header.worker_id, 1);
	ck_assert_str_eq(header.pool, "default");
	ck_assert_uint_eq(header.slot, 3);
	ck_assert_int_eq(header.pid, 0);
	ck_assert_int_eq(boot_id_read(boot_id), 0);
	ck_assert_mem_eq(header.boot_id, boot_id, sizeof(boot_id));
	for (unsigned i = 0; i < MARKS_PER_WORKER; i++) {
		ck_assert_int_eq(worker_file_read_mark(fd, i, &mark), 0);
		ck_assert_int_eq(mark.state, MARK_FREE);
	}
	ck_assert_int_eq(worker_file_read_epoch(fd, &epoch), 0);
	ck_assert_uint_eq(epoch, 0);
	ck_assert_int_eq(worker_file_read_retired(fd, &retired), 0);
	ck_assert(!retired);
	ck_assert_int_eq(fstat(fd, &st), 0);
	ck_assert_int_eq(st.st_size, WORKER_FILE_BYTES);
	ck_assert(fcntl(fd, F_GETFD) & FD_CLOEXEC);
	close(fd);
}
END_TEST

START_TEST(test_worker_file_id_is_never_used_again)
{
	int other = -1, fd = create(1);

	ck_assert_int_eq(worker_file_create(directory_fd, 1, "default", 0, &other), -EEXIST);
	ck_assert_int_eq(worker_file_open(directory_fd, 2, &other), -ENOENT);
	ck_assert_int_eq(other, -1);
	close(fd);
}
END_TEST

START_TEST(test_worker_file_lock_lasts_until_its_last_copy_is_closed)
{
	int seen, copies[2];

	int fd = create(1);
	ck_assert_int_eq(worker_file_open(directory_fd, 1, &seen), 0);
	ck_assert_int_eq(worker_file_is_locked(seen), 1);
	ck_assert_int_eq(pipe(copies), 0);
	pid_t child = fork();
	if (child == 0) {
		char byte;
		close(copies[1]);
		(void)!read(copies[0], &byte, 1); /* holds its copy until the parent closes the pipe */
		_exit(0);
	}
	close(fd);
	ck_assert_int_eq(worker_file_is_locked(seen), 1);
	close(copies[1]);
	ck_assert_int_eq(waitpid(child, NULL, 0), child);
	ck_assert_int_eq(worker_file_is_locked(seen), 0);
	close(copies[0]);
	close(seen);
}
END_TEST

START_TEST(test_worker_file_writers_do_not_touch_each_other)
{
	struct worker_file_header header;
	struct mark mark;
	uint64_t epoch;
	bool retired;

	int fd = create(1);
	for (unsigned i = 0; i < MARKS_PER_WORKER; i++) {
		struct mark written = { .state = MARK_STARTED, .job_id = i + 1 };
		memset(&written.end, 0xff, sizeof(written.end));
		ck_assert_int_eq(worker_file_write_mark(fd, i, &written, i == 0), 0);
	}
	ck_assert_int_eq(worker_file_write_epoch(fd, UINT64_MAX), 0);
	ck_assert_int_eq(worker_file_write_pid(fd, 4711), 0);
	ck_assert_int_eq(worker_file_write_retired(fd), 0);

	ck_assert_int_eq(worker_file_read_header(fd, &header), 0);
	ck_assert_int_eq(header.pid, 4711);
	ck_assert_str_eq(header.pool, "default");
	ck_assert_int_eq(worker_file_read_epoch(fd, &epoch), 0);
	ck_assert_uint_eq(epoch, UINT64_MAX);
	ck_assert_int_eq(worker_file_read_retired(fd, &retired), 0);
	ck_assert(retired);
	for (unsigned i = 0; i < MARKS_PER_WORKER; i++) {
		ck_assert_int_eq(worker_file_read_mark(fd, i, &mark), 0);
		ck_assert_uint_eq(mark.job_id, i + 1);
	}
	ck_assert_int_eq(worker_file_write_mark(fd, MARKS_PER_WORKER, &mark, false), -EINVAL);
	ck_assert_int_eq(worker_file_read_mark(fd, MARKS_PER_WORKER, &mark), -EINVAL);
	close(fd);
}
END_TEST

START_TEST(test_worker_file_damaged_mark_is_refused)
{
	struct mark mark = { .state = MARK_ENDED, .job_id = 1 };

	int fd = create(1);
	ck_assert_int_eq(worker_file_write_mark(fd, 1, &mark, false), 0);
	ck_assert_int_eq(pwrite_all(fd, "x", 1, 1024 + 256 + 100), 0);
	ck_assert_int_eq(worker_file_read_mark(fd, 1, &mark), -EBADMSG);
	ck_assert_int_eq(worker_file_read_mark(fd, 0, &mark), 0);
	mark.state = MARK_ENDED + 1;
	ck_assert_int_eq(worker_file_write_mark(fd, 2, &mark, false), 0);
	ck_assert_int_eq(worker_file_read_mark(fd, 2, &mark), -EBADMSG);
	close(fd);
}
END_TEST

START_TEST(test_worker_file_that_is_none_is_refused)
{
	static const struct {
		off_t offset;
		const char *data;
		off_t size;
	} damages[] = { { 0, "J", 4096 }, { 8, "\x7f", 4096 }, { 0, "", 20 }, { 0, "", 0 } };
	struct worker_file_header header;

	int fd = create(1);
	ck_assert_int_eq(pwrite_all(fd, damages[_i].data, strlen(damages[_i].data), damages[_i].offset), 0);
	ck_assert_int_eq(ftruncate(fd, damages[_i].size), 0);
	ck_assert_int_eq(worker_file_read_header(fd, &header), -EBADMSG);
	close(fd);
}
END_TEST

START_TEST(test_worker_file_of_a_pool_without_a_fitting_name_leaves_nothing)
{
	char name[NAME_BYTES_MAX + 9];
	int fd = -1;

	memset(name, 'p', sizeof(name) - 1);
	name[sizeof(name) - 1] = '\0';
	ck_assert_int_eq(worker_file_create(directory_fd, 2, name, 0, &fd), -EINVAL);
	ck_assert_int_eq(worker_file_open(directory_fd, 2, &fd), -ENOENT);
}
END_TEST

Suite *worker_file_suite(void)
{
	Suite *s = suite_create("worker_file");
	TCase *t = tcase_create("one page");

	tcase_add_checked_fixture(t, make_directory, remove_directory);
	tcase_add_test(t, test_worker_file_is_born_whole);
	tcase_add_test(t, test_worker_file_id_is_never_used_again);
	tcase_add_test(t, test_worker_file_lock_lasts_until_its_last_copy_is_closed);
	tcase_add_test(t, test_worker_file_writers_do_not_touch_each_other);
	tcase_add_test(t, test_worker_file_damaged_mark_is_refused);
	tcase_add_loop_test(t, test_worker_file_that_is_none_is_refused, 0, 4);
	tcase_add_test(t, test_worker_file_of_a_pool_without_a_fitting_name_leaves_nothing);
	suite_add_tcase(s, t);
	return s;
}
