/* The real jobpool-supervisor (environment: JOBPOOL_SUPERVISOR_BINARY) in a state directory of its own; the test
 * plays the daemon. As workers this very program is started again: the pool's name says how it behaves. */
#include <check.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>

#include "suites.h"
#include "worker_file.h"
#include "worker_proto.h"

#define LIFETIME_SECONDS 30 /* of whatever a failed test leaves behind */
#define ANSWER_SECONDS 15
#define BOMB_SIZE 200
#define EPOCH 7
#define READY_NAME "ready"  /* FIFO: a worker writes a pid when it is as the test wants it */
#define HELD_NAME "held."   /* <worker id>: flock'ed as long as the worker or one of its descendants lives */

/* ---- the workers ---------------------------------------------------------------------------------------------- */

static void say_ready(pid_t pid)
{
	int fd = open(READY_NAME, O_WRONLY | O_CLOEXEC);

	if (fd < 0 || write_all(fd, &pid, sizeof(pid)) < 0)
		_exit(99);
	close(fd);
}

static _Noreturn void sleep_for_ever(void)
{
	alarm(LIFETIME_SECONDS);
	for (;;)
		pause();
}

static int play_idle(char **argv)
{
	(void)argv;
	say_ready(getpid());
	sleep_for_ever();
}

static int play_exit_7(char **argv)
{
	(void)argv;
	return 7;
}

static void on_sigterm(int signal)
{
	(void)signal;
	_exit(3);
}

static int play_polite(char **argv)
{
	signal(SIGTERM, on_sigterm);
	return play_idle(argv);
}

static void note_sigterm(int signal)
{
	(void)signal;
	say_ready(getpid());
}

static int play_stubborn(char **argv)
{
	signal(SIGTERM, note_sigterm);
	return play_idle(argv);
}

static bool is_dev_null(int fd)
{
	struct stat want, have;

	return stat("/dev/null", &want) == 0 && fstat(fd, &have) == 0 && want.st_rdev == have.st_rdev;
}

/* Exit status: which part of its birth was wrong, 0 = none. */
static int play_inspect(char **argv)
{
	struct worker_file_header header;
	struct stat st;

	if (!is_dev_null(0) || !is_dev_null(1) || !is_dev_null(2))
		return 1;
	if (worker_file_read_header(WORKER_FD_FILE, &header) < 0 || header.worker_id != 11 || header.slot != 5)
		return 2;
	if (fstat(WORKER_FD_SUPERVISOR, &st) < 0 || !S_ISFIFO(st.st_mode))
		return 3;
	if (fcntl(WORKER_FD_SUPERVISOR + 1, F_GETFD) >= 0)
		return 4;
	if (strcmp(argv[1], "11") != 0 || strcmp(argv[2], "inspect") != 0 || strcmp(argv[3], "5") != 0)
		return 5;
	if (strcmp(argv[4], "/somewhere/jobpool.sock") != 0 || argv[5])
		return 6;
	return getsid(0) == getpid() && access(WORKER_SOCKET_NAME, F_OK) == 0 ? 0 : 7;
}

/* Ends when its supervisor does, and says so. */
static int play_watch(char **argv)
{
	char byte;

	(void)argv;
	alarm(LIFETIME_SECONDS);
	say_ready(getpid());
	if (read(WORKER_FD_SUPERVISOR, &byte, 1) == 0)
		say_ready(0);
	return 0;
}

/* A child of the supervisor that it did not start; it dies while the worker lives. */
static int play_stray(char **argv)
{
	pid_t stray = (pid_t)syscall(SYS_clone, CLONE_PARENT | SIGCHLD, NULL, NULL, NULL, NULL);

	(void)argv;
	if (stray == 0)
		_exit(0);
	say_ready(stray);
	sleep_for_ever();
}

static void escape_by_setsid(void)
{
	setsid();
}

static void escape_by_ignoring(void)
{
	for (int i = 1; i < NSIG; i++)
		signal(i, SIG_IGN);
}

static void escape_by_stopping(void)
{
	raise(SIGSTOP);
}

static int play_family(void (*escape)(void))
{
	for (int i = 0; i < 20; i++) {
		pid_t pid = fork();

		if (pid == 0) {
			if (i % 2 && fork() > 0) /* every second one's parent is gone */
				_exit(0);
			alarm(LIFETIME_SECONDS);
			escape();
			sleep_for_ever();
		}
	}
	say_ready(getpid());
	sleep_for_ever();
}

static int play_setsid(char **argv)
{
	(void)argv;
	return play_family(escape_by_setsid);
}

static int play_ignore(char **argv)
{
	(void)argv;
	return play_family(escape_by_ignoring);
}

static int play_stop(char **argv)
{
	(void)argv;
	return play_family(escape_by_stopping);
}

/* At most BOMB_SIZE at a time: each holds a pipe's byte, taken before the fork and given back by whoever finds it
 * dead. */
static int play_bomb(char **argv)
{
	bool leave_session = strcmp(argv[2], "bomb-setsid") == 0, is_full = false;
	pid_t root = getpid();
	int places[2];

	if (pipe(places) < 0)
		return 1;
	for (int i = 0; i < BOMB_SIZE; i++)
		if (write(places[1], "", 1) != 1)
			return 1;
	fcntl(places[0], F_SETFL, O_NONBLOCK);
	for (;;) {
		char place;
		pid_t pid;

		alarm(LIFETIME_SECONDS);
		while (waitpid(-1, NULL, WNOHANG) > 0)
			(void)!write(places[1], "", 1);
		if (read(places[0], &place, 1) != 1) {
			if (!is_full && getpid() == root)
				say_ready(root);
			is_full = true;
			sched_yield();
			continue;
		}
		pid = fork();
		if (pid < 0)
			(void)!write(places[1], "", 1);
		if (pid == 0 && leave_session)
			setsid();
		if (pid == 0 && getpid() % 3 == 0) /* a third of them ends at once, so that it never comes to rest */
			_exit(0);
	}
}

static const struct {
	const char *pool;
	int (*play)(char **argv);
} plays[] = {
	{ "idle", play_idle },     { "exit-7", play_exit_7 }, { "polite", play_polite }, { "stubborn", play_stubborn },
	{ "watch", play_watch },   { "stray", play_stray },   { "setsid", play_setsid }, { "ignore", play_ignore },
	{ "stop", play_stop },     { "bomb", play_bomb },     { "bomb-setsid", play_bomb },
};

/* Before main(): started as a worker, this program is one. */
__attribute__((constructor)) static void play_when_started_as_worker(int argc, char **argv)
{
	char held[64];

	if (argc < 3 || strcmp(argv[0], "jobpool-worker") != 0)
		return;
	if (strcmp(argv[2], "inspect") == 0)
		_exit(play_inspect(argv)); /* as it was born */
	snprintf(held, sizeof(held), HELD_NAME "%s", argv[1]);
	if (flock(open(held, O_RDWR | O_CREAT | O_CLOEXEC, 0600), LOCK_EX) < 0)
		_exit(98);
	for (size_t i = 0; i < ARRAY_SIZE(plays); i++)
		if (strcmp(plays[i].pool, argv[2]) == 0)
			_exit(plays[i].play(argv));
	_exit(97);
}

/* ---- the daemon's side ---------------------------------------------------------------------------------------- */

static char directory[64];
static int listener_fd, daemon_fd, ready_fd;
static pid_t supervisor;

static pid_t start_supervisor(void)
{
	const char *binary = getenv("JOBPOOL_SUPERVISOR_BINARY");
	pid_t pid;

	ck_assert_msg(binary, "JOBPOOL_SUPERVISOR_BINARY must name jobpool-supervisor");
	pid = fork();
	ck_assert_int_ge(pid, 0);
	if (pid == 0) {
		signal(SIGTERM, SIG_DFL); /* not check's handler */
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		execl(binary, "jobpool-supervisor", "--state-dir", directory, NULL);
		_exit(96);
	}
	return pid;
}

static int wait_for_exit(pid_t pid)
{
	int status;

	ck_assert_int_eq(waitpid(pid, &status, 0), pid); /* the test's time limit is the deadline */
	ck_assert_msg(WIFEXITED(status), "ended by signal %d", WTERMSIG(status));
	return WEXITSTATUS(status);
}

static void listen_again(void)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX, .sun_path = WORKER_SOCKET_NAME };

	unlink(WORKER_SOCKET_NAME);
	listener_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	ck_assert_int_ge(listener_fd, 0);
	ck_assert_int_eq(bind(listener_fd, (struct sockaddr *)&address, sizeof(address)), 0);
	ck_assert_int_eq(listen(listener_fd, 8), 0);
}

static void await_readable(int fd, const char *what)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };

	ck_assert_msg(poll(&p, 1, ANSWER_SECONDS * 1000) == 1, "no %s within %d s", what, ANSWER_SECONDS);
}

static void send_message(enum message_type type, const void *body, size_t body_len)
{
	struct buf out = { 0 };

	message_append(&out, type, EPOCH, body, body_len, NULL, 0);
	ck_assert(!out.failed);
	ck_assert_int_eq(write_all(daemon_fd, out.data, out.len), 0);
	buf_free(&out);
}

/* The next message that is not a log line; 0 = the connection has ended. */
static unsigned receive(char *ret_body, size_t body_size)
{
	struct message_header header;

	do {
		int r;

		await_readable(daemon_fd, "message");
		r = read_all(daemon_fd, &header, sizeof(header));
		if (r < 0)
			return 0;
		ck_assert_uint_ge(header.length, sizeof(header));
		ck_assert_uint_le(header.length - sizeof(header), body_size);
		ck_assert_int_eq(read_all(daemon_fd, ret_body, header.length - sizeof(header)), 0);
	} while (header.type == MESSAGE_LOG);
	return header.type;
}

static struct message_row receive_row(enum row_state state, uint64_t worker_id)
{
	union {
		char bytes[4096];
		struct message_row row;
	} body = { .bytes = "" };

	ck_assert_uint_eq(receive(body.bytes, sizeof(body)), MESSAGE_ROW);
	ck_assert_int_eq(body.row.state, state);
	ck_assert_uint_eq(body.row.worker_id, worker_id);
	return body.row;
}

static void receive_rows_end(void)
{
	char body[4096];

	ck_assert_uint_eq(receive(body, sizeof(body)), MESSAGE_ROWS_END);
}

static void receive_end(void)
{
	char body[4096];

	ck_assert_uint_eq(receive(body, sizeof(body)), 0);
	close(daemon_fd);
}

/* Accept the supervisor, up to and including our WELCOME; its table comes next. */
static void accept_supervisor(void)
{
	struct message_welcome welcome = { .version = WORKER_PROTO_VERSION_MAX, .epoch = EPOCH };
	union {
		char bytes[4096];
		struct message_hello hello;
	} body = { .bytes = "" };

	await_readable(listener_fd, "connection");
	daemon_fd = accept4(listener_fd, NULL, NULL, SOCK_CLOEXEC);
	ck_assert_int_ge(daemon_fd, 0);
	ck_assert_uint_eq(receive(body.bytes, sizeof(body)), MESSAGE_HELLO);
	ck_assert_int_eq(body.hello.role, ROLE_SUPERVISOR);
	ck_assert_uint_eq(body.hello.worker_id, 0);
	ck_assert_int_eq(body.hello.pid, supervisor);
	send_message(MESSAGE_WELCOME, &welcome, sizeof(welcome));
}

static void send_start(uint64_t worker_id, const char *pool)
{
	struct message_start start = { .worker_id = worker_id, .slot = 5, .socket = "/somewhere/jobpool.sock" };

	snprintf(start.pool, sizeof(start.pool), "%s", pool);
	send_message(MESSAGE_START, &start, sizeof(start));
}

static void send_worker(enum message_type type, uint64_t worker_id)
{
	struct message_worker body = { .worker_id = worker_id };

	send_message(type, &body, sizeof(body));
}

static pid_t await_ready(void)
{
	pid_t pid;

	await_readable(ready_fd, "sign of the worker");
	ck_assert_int_eq(read_all(ready_fd, &pid, sizeof(pid)), 0);
	return pid;
}

static pid_t start_worker(uint64_t worker_id, const char *pool)
{
	struct message_row row;

	send_start(worker_id, pool);
	row = receive_row(ROW_ALIVE, worker_id);
	ck_assert_int_gt(row.pid, 0);
	(void)await_ready();
	return row.pid;
}

static void assert_nobody_left_of_worker_1(void)
{
	int fd = open(HELD_NAME "1", O_RDWR | O_CLOEXEC);

	ck_assert_int_ge(fd, 0);
	ck_assert_msg(flock(fd, LOCK_EX | LOCK_NB) == 0, "a descendant of the worker lives");
	close(fd);
}

/* Until the supervisor has reaped it. */
static void await_gone(pid_t pid)
{
	uint64_t deadline = now_monotonic_ms() + ANSWER_SECONDS * 1000;

	while (kill(pid, 0) == 0) {
		ck_assert_msg(now_monotonic_ms() < deadline, "process %d is not reaped", (int)pid);
		usleep(1000);
	}
}

static void enter_directory(void)
{
	strcpy(directory, "/tmp/jobpool-test-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(directory));
	ck_assert_int_eq(chdir(directory), 0);
	ck_assert_int_eq(mkfifo(READY_NAME, 0600), 0);
	ready_fd = open(READY_NAME, O_RDWR | O_CLOEXEC);
	ck_assert_int_ge(ready_fd, 0);
	listen_again();
}

static void set_up(void)
{
	char self[PATH_MAX];
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);

	ck_assert_int_gt(n, 0);
	self[n] = '\0';
	ck_assert_int_eq(setenv("JOBPOOL_WORKER_BINARY", self, 1), 0);
	signal(SIGPIPE, SIG_IGN);
	enter_directory();
	supervisor = start_supervisor();
	accept_supervisor();
	receive_rows_end();
}

/* Not reached by a failed test; its supervisor dies with it, and its workers by their alarms. */
static void tear_down(void)
{
	char command[128];

	if (supervisor > 0) {
		send_message(MESSAGE_QUIT, NULL, 0);
		ck_assert_int_eq(wait_for_exit(supervisor), 0);
	}
	close(listener_fd);
	close(ready_fd);
	snprintf(command, sizeof(command), "rm -rf %s", directory);
	ck_assert_int_eq(system(command), 0);
}

/* ---- tests ---------------------------------------------------------------------------------------------------- */

START_TEST(test_supervisor_makes_its_directories_and_writes_its_pid)
{
	static const char *const names[] = { "workers", "scratch", "output", "input", "tmp", "slots" };
	char text[16] = "";
	int fd = open(SUPERVISOR_LOCK_NAME, O_RDONLY | O_CLOEXEC);

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		struct stat st;

		ck_assert_int_eq(stat(names[i], &st), 0);
		ck_assert_uint_eq(st.st_mode, S_IFDIR | 0700);
	}
	ck_assert_int_gt(read(fd, text, sizeof(text) - 1), 0);
	ck_assert_int_eq(atoi(text), supervisor);
	close(fd);
}
END_TEST

START_TEST(test_supervisor_gives_a_worker_what_the_protocol_says)
{
	struct message_row row;

	send_start(11, "inspect");
	receive_row(ROW_ALIVE, 11);
	row = receive_row(ROW_DEAD, 11);
	ck_assert_int_eq(row.wait_status, 0);
	row = receive_row(ROW_EMPTY, 11);
	ck_assert_int_eq(row.wait_status, 0);
	ck_assert_int_eq(row.start_error, 0);
}
END_TEST

START_TEST(test_supervisor_reports_the_exit_status_also_when_empty)
{
	send_start(1, "exit-7");
	receive_row(ROW_ALIVE, 1);
	ck_assert_int_eq(receive_row(ROW_DEAD, 1).wait_status, W_EXITCODE(7, 0));
	ck_assert_int_eq(receive_row(ROW_EMPTY, 1).wait_status, W_EXITCODE(7, 0));
}
END_TEST

/* Our own copy of the descriptor must be closed, or a dead worker would seem alive. */
START_TEST(test_supervisor_leaves_the_lock_to_the_worker_alone)
{
	int directory_fd = open(WORKER_DIRECTORY, O_RDONLY | O_DIRECTORY | O_CLOEXEC), fd;

	start_worker(1, "idle");
	start_worker(2, "idle");
	ck_assert_int_eq(worker_file_open(directory_fd, 1, &fd), 0);
	ck_assert_int_eq(worker_file_is_locked(fd), 1);
	send_worker(MESSAGE_KILL, 1);
	ck_assert_int_eq(receive_row(ROW_DEAD, 1).wait_status, SIGKILL);
	ck_assert_int_eq(worker_file_is_locked(fd), 0);
	receive_row(ROW_EMPTY, 1);
	close(fd);
	close(directory_fd);
}
END_TEST

static const char *const families[] = { "setsid", "ignore", "stop", "bomb", "bomb-setsid" };

START_TEST(test_supervisor_ends_all_that_a_killed_worker_leaves)
{
	start_worker(1, families[_i]);
	send_worker(MESSAGE_KILL, 1);
	receive_row(ROW_DEAD, 1);
	receive_row(ROW_EMPTY, 1);
	assert_nobody_left_of_worker_1();
}
END_TEST

START_TEST(test_supervisor_ends_a_dead_tree_beside_a_living_worker)
{
	start_worker(2, "setsid");
	start_worker(1, "stop");
	send_worker(MESSAGE_KILL, 1);
	receive_row(ROW_DEAD, 1);
	receive_row(ROW_EMPTY, 1);
	assert_nobody_left_of_worker_1();
	send_worker(MESSAGE_KILL, 2); /* it was left alone */
	ck_assert_int_eq(receive_row(ROW_DEAD, 2).wait_status, SIGKILL);
	receive_row(ROW_EMPTY, 2);
}
END_TEST

START_TEST(test_supervisor_reaps_a_stray_child)
{
	send_start(1, "stray");
	receive_row(ROW_ALIVE, 1);
	await_gone(await_ready());
}
END_TEST

START_TEST(test_supervisor_ignores_a_second_start_of_an_id)
{
	pid_t pid = start_worker(1, "idle");

	send_start(1, "exit-7");
	send_worker(MESSAGE_KILL, 1);
	ck_assert_int_eq(receive_row(ROW_DEAD, 1).pid, pid);
	receive_row(ROW_EMPTY, 1);
}
END_TEST

/* An id is used once, whatever became of it: its file stays until the daemon has read it. */
START_TEST(test_supervisor_refuses_a_used_id_after_forget)
{
	send_start(1, "exit-7");
	receive_row(ROW_ALIVE, 1);
	receive_row(ROW_DEAD, 1);
	receive_row(ROW_EMPTY, 1);
	send_worker(MESSAGE_FORGET, 1);
	send_start(1, "exit-7");
	ck_assert_int_eq(receive_row(ROW_EMPTY, 1).start_error, EEXIST);
}
END_TEST

START_TEST(test_supervisor_reports_why_a_worker_could_not_be_started)
{
	send_start(1, "../x");
	ck_assert_int_eq(receive_row(ROW_EMPTY, 1).start_error, EINVAL);
	ck_assert_int_eq(chmod(WORKER_DIRECTORY, 0700), 0);
	ck_assert_int_eq(rmdir(WORKER_DIRECTORY), 0);
	send_start(2, "idle");
	ck_assert_int_eq(receive_row(ROW_EMPTY, 2).start_error, ENOENT);
}
END_TEST

START_TEST(test_supervisor_keeps_a_row_until_it_is_empty)
{
	start_worker(1, "idle");
	send_worker(MESSAGE_FORGET, 1); /* refused: it lives */
	send_worker(MESSAGE_FORGET, 2); /* never heard of */
	send_worker(MESSAGE_KILL, 2);
	send_worker(MESSAGE_KILL, 1);
	receive_row(ROW_DEAD, 1);
	receive_row(ROW_EMPTY, 1);
}
END_TEST

START_TEST(test_supervisor_tells_a_returning_daemon_the_whole_table)
{
	pid_t first = start_worker(1, "idle"), second = start_worker(2, "polite");

	close(daemon_fd);
	close(listener_fd);
	ck_assert_int_eq(kill(first, SIGKILL), 0);
	ck_assert_int_eq(kill(second, SIGTERM), 0);
	await_gone(first);
	await_gone(second);
	listen_again();
	accept_supervisor();
	ck_assert_int_eq(receive_row(ROW_EMPTY, 1).wait_status, SIGKILL);
	ck_assert_int_eq(receive_row(ROW_EMPTY, 2).wait_status, W_EXITCODE(3, 0));
	receive_rows_end();
	send_worker(MESSAGE_FORGET, 1);
	send_worker(MESSAGE_FORGET, 2);
	close(daemon_fd);
	accept_supervisor();
	receive_rows_end();
}
END_TEST

START_TEST(test_supervisor_redials_after_nonsense)
{
	static const struct message_header bad[] = {
		{ .length = 3 },
		{ .length = UINT32_MAX },
		{ .length = sizeof(bad[0]), .type = MESSAGE_WELCOME }, /* without its body, and a second one */
	};

	ck_assert_int_eq(write_all(daemon_fd, &bad[_i], sizeof(bad[_i])), 0);
	receive_end();
	accept_supervisor();
	receive_rows_end();
}
END_TEST

/* Every unknown message is answered with a log line; nobody reads them. */
START_TEST(test_supervisor_drops_a_daemon_that_does_not_read)
{
	struct message_header unknown = { .length = sizeof(unknown), .type = 999 };
	int r = 0;

	for (int i = 0; i < 1000000 && r == 0; i++)
		r = write_all(daemon_fd, &unknown, sizeof(unknown));
	ck_assert_msg(r == -EPIPE || r == -ECONNRESET, "the connection was kept: %d", r);
	close(daemon_fd);
	accept_supervisor();
	receive_rows_end();
}
END_TEST

START_TEST(test_supervisor_second_one_exits_0)
{
	ck_assert_int_eq(wait_for_exit(start_supervisor()), 0);
	start_worker(1, "idle"); /* the first one still serves */
}
END_TEST

START_TEST(test_supervisor_quit_ends_everything)
{
	start_worker(1, "bomb");
	send_message(MESSAGE_QUIT, NULL, 0);
	ck_assert_int_eq(receive_row(ROW_DEAD, 1).wait_status, SIGKILL);
	receive_row(ROW_EMPTY, 1);
	receive_end();
	ck_assert_int_eq(wait_for_exit(supervisor), 0);
	supervisor = 0;
	assert_nobody_left_of_worker_1();
}
END_TEST

START_TEST(test_supervisor_sigterm_lets_workers_end_by_themselves)
{
	start_worker(1, "polite");
	ck_assert_int_eq(kill(supervisor, SIGTERM), 0);
	ck_assert_int_eq(receive_row(ROW_DEAD, 1).wait_status, W_EXITCODE(3, 0));
	receive_row(ROW_EMPTY, 1);
	receive_end();
	ck_assert_int_eq(wait_for_exit(supervisor), 0);
	supervisor = 0;
}
END_TEST

START_TEST(test_supervisor_second_sigterm_kills_the_workers)
{
	start_worker(1, "stubborn");
	ck_assert_int_eq(kill(supervisor, SIGTERM), 0);
	(void)await_ready(); /* the worker has had its SIGTERM */
	send_start(2, "idle");
	ck_assert_int_eq(receive_row(ROW_EMPTY, 2).start_error, ESHUTDOWN);
	ck_assert_int_eq(kill(supervisor, SIGTERM), 0);
	ck_assert_int_eq(receive_row(ROW_DEAD, 1).wait_status, SIGKILL);
	receive_row(ROW_EMPTY, 1);
	receive_end();
	ck_assert_int_eq(wait_for_exit(supervisor), 0);
	supervisor = 0;
}
END_TEST

START_TEST(test_supervisor_death_is_seen_by_its_workers)
{
	start_worker(1, "watch");
	ck_assert_int_eq(kill(supervisor, SIGKILL), 0);
	ck_assert_int_eq(waitpid(supervisor, NULL, 0), supervisor);
	supervisor = 0;
	ck_assert_int_eq(await_ready(), 0);
}
END_TEST

START_TEST(test_supervisor_refuses_to_start_with_children)
{
	pid_t pid;

	send_message(MESSAGE_QUIT, NULL, 0);
	ck_assert_int_eq(wait_for_exit(supervisor), 0);
	supervisor = 0;
	pid = fork();
	if (pid == 0) {
		if (fork() == 0) {
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			sleep_for_ever();
		}
		execl(getenv("JOBPOOL_SUPERVISOR_BINARY"), "jobpool-supervisor", "--state-dir", directory, NULL);
		_exit(96);
	}
	ck_assert_int_eq(wait_for_exit(pid), 1);
}
END_TEST

Suite *supervisor_suite(void)
{
	Suite *suite = suite_create("supervisor");
	TCase *tcase = tcase_create("supervisor");

	tcase_set_timeout(tcase, 40);
	tcase_add_checked_fixture(tcase, set_up, tear_down);
	tcase_add_test(tcase, test_supervisor_makes_its_directories_and_writes_its_pid);
	tcase_add_test(tcase, test_supervisor_gives_a_worker_what_the_protocol_says);
	tcase_add_test(tcase, test_supervisor_reports_the_exit_status_also_when_empty);
	tcase_add_test(tcase, test_supervisor_leaves_the_lock_to_the_worker_alone);
	tcase_add_loop_test(tcase, test_supervisor_ends_all_that_a_killed_worker_leaves, 0, (int)ARRAY_SIZE(families));
	tcase_add_test(tcase, test_supervisor_ends_a_dead_tree_beside_a_living_worker);
	tcase_add_test(tcase, test_supervisor_reaps_a_stray_child);
	tcase_add_test(tcase, test_supervisor_ignores_a_second_start_of_an_id);
	tcase_add_test(tcase, test_supervisor_refuses_a_used_id_after_forget);
	tcase_add_test(tcase, test_supervisor_reports_why_a_worker_could_not_be_started);
	tcase_add_test(tcase, test_supervisor_keeps_a_row_until_it_is_empty);
	tcase_add_test(tcase, test_supervisor_tells_a_returning_daemon_the_whole_table);
	tcase_add_loop_test(tcase, test_supervisor_redials_after_nonsense, 0, 3);
	tcase_add_test(tcase, test_supervisor_drops_a_daemon_that_does_not_read);
	tcase_add_test(tcase, test_supervisor_second_one_exits_0);
	tcase_add_test(tcase, test_supervisor_quit_ends_everything);
	tcase_add_test(tcase, test_supervisor_sigterm_lets_workers_end_by_themselves);
	tcase_add_test(tcase, test_supervisor_second_sigterm_kills_the_workers);
	tcase_add_test(tcase, test_supervisor_death_is_seen_by_its_workers);
	tcase_add_test(tcase, test_supervisor_refuses_to_start_with_children);
	suite_add_tcase(suite, tcase);
	return suite;
}
