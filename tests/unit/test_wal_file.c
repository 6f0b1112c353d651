/* The log gets its blocks, and what is in it stays. */
#include "wal_file.h"

#include <fcntl.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "schema.h"
#include "suites.h"
#include "util.h"

#define WAL_FILE SCHEMA_FILE "-wal"

static char directory[] = "/tmp/jobpool-wal-XXXXXX";

static void enter_directory(void)
{
	memcpy(directory + sizeof(directory) - 7, "XXXXXX", 6);
	ck_assert_ptr_nonnull(mkdtemp(directory));
	ck_assert_int_eq(chdir(directory), 0);
}

static void leave_directory(void)
{
	unlink(WAL_FILE);
	unlink(SCHEMA_FILE);
	ck_assert_int_eq(chdir("/"), 0);
	ck_assert_int_eq(rmdir(directory), 0);
}

static uint64_t wal_bytes(void)
{
	struct stat st;

	ck_assert_int_eq(stat(WAL_FILE, &st), 0);
	return (uint64_t)st.st_size;
}

static sqlite3 *open_database(void)
{
	sqlite3 *db;

	ck_assert_int_eq(sqlite3_open(SCHEMA_FILE, &db), SQLITE_OK);
	ck_assert_int_eq(sqlite3_exec(db, "PRAGMA locking_mode = EXCLUSIVE; PRAGMA journal_mode = WAL", NULL, NULL, NULL), SQLITE_OK);
	return db;
}

static void run(sqlite3 *db, const char *sql)
{
	ck_assert_msg(sqlite3_exec(db, sql, NULL, NULL, NULL) == SQLITE_OK, "%s: %s", sql, sqlite3_errmsg(db));
}

START_TEST(test_wal_file_is_not_made)
{
	ck_assert_int_eq(wal_file_allocate(4096), -ENOENT);
}
END_TEST

START_TEST(test_wal_file_only_grows)
{
	sqlite3 *db = open_database();

	run(db, "CREATE TABLE t (x)");
	ck_assert_int_eq(wal_file_allocate(1000001), 0);
	ck_assert_uint_eq(wal_bytes(), 1000001);
	ck_assert_int_eq(wal_file_allocate(4096), 0);
	ck_assert_uint_eq(wal_bytes(), 1000001);
	sqlite3_close(db);
}
END_TEST

/* Killed before and after a write: the next opening reads what was committed, and takes zeros for the end. */
START_TEST(test_wal_file_of_zeros_is_an_empty_one)
{
	pid_t pid = fork();
	int status;

	if (pid == 0) {
		sqlite3 *db = open_database();

		run(db, "CREATE TABLE t (x)");
		run(db, "PRAGMA wal_checkpoint(TRUNCATE)");
		if (wal_file_allocate(1 << 20) < 0)
			_exit(1);
		if (_i)
			run(db, "INSERT INTO t VALUES (7)");
		_exit(0);
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_int_eq(status, 0);
	ck_assert_uint_eq(wal_bytes(), 1 << 20);

	sqlite3 *db = open_database();
	sqlite3_stmt *s;
	ck_assert_int_eq(sqlite3_prepare_v2(db, "SELECT count(*) FROM t", -1, &s, NULL), SQLITE_OK);
	ck_assert_int_eq(sqlite3_step(s), SQLITE_ROW);
	ck_assert_int_eq(sqlite3_column_int(s, 0), _i);
	sqlite3_finalize(s);
	sqlite3_close(db);
}
END_TEST

Suite *wal_file_suite(void)
{
	Suite *s = suite_create("wal_file");
	TCase *t = tcase_create("wal_file");

	tcase_add_checked_fixture(t, enter_directory, leave_directory);
	tcase_add_test(t, test_wal_file_is_not_made);
	tcase_add_test(t, test_wal_file_only_grows);
	tcase_add_loop_test(t, test_wal_file_of_zeros_is_an_empty_one, 0, 2);
	suite_add_tcase(s, t);
	return s;
}
