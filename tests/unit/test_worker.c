/* The real jobpool-worker, with this program as its daemon and its supervisor: it is born here with a worker file and a pipe,
 * and dials our worker.sock. The binary is named by JOBPOOL_WORKER_BINARY. Every wait has a deadline and none is a sleep. */
#include <fcntl.h>
#include <sched.h>
#include <inttypes.h>
#include <limits.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/time.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>

#include "spec.h"
#include "suites.h"
#include "worker_file.h"

#define PATIENCE_MS 15000u
#define WORKER_ID 1
#define NO_CHILD (-1)

static char directory[PATH_MAX];
static int listener = -1, connection = -1, supervisor_pipe = -1, worker_file = -1;
static pid_t worker;
static uint64_t epoch = 11, next_job = 100;
static struct message_hello hello;

struct ended {
	struct message_ended message;
	char out[OUTPUT_INLINE_BYTES_MAX + 1], err[OUTPUT_INLINE_BYTES_MAX + 1]; /* NUL-terminated */
};

static struct ended ended;

/* -- the supervisor's side ------------------------------------------------------------------------------------- */

static void run_binary(const char *binary, int file_fd, int pipe_fd)
{
	int null_fd = open("/dev/null", O_RDWR);

	/* A failed test must not leave it behind. */
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	signal(SIGUSR2, SIG_IGN); /* whatever its parent had must not reach the jobs */
	file_fd = fcntl(file_fd, F_DUPFD, 10);
	pipe_fd = fcntl(pipe_fd, F_DUPFD, 10);
	for (int fd = 0; fd < 3; fd++)
		dup2(null_fd, fd);
	dup2(file_fd, WORKER_FD_FILE);
	dup2(pipe_fd, WORKER_FD_SUPERVISOR);
	close_range(5, ~0U, 0);
	setsid();
	execl(binary, "jobpool-worker", "1", "default", "3", "/run/client.sock", NULL);
	_exit(127);
}

static void start_worker(const char *binary)
{
	int directory_fd, file_fd, pipe_fds[2];

	directory_fd = open(WORKER_DIRECTORY, O_RDONLY | O_DIRECTORY);
	ck_assert_int_eq(worker_file_create(directory_fd, WORKER_ID, "default", 3, &file_fd), 0);
	ck_assert_int_eq(worker_file_open(directory_fd, WORKER_ID, &worker_file), 0);
	ck_assert_int_eq(worker_file_write_epoch(worker_file, epoch), 0);
	ck_assert_int_eq(pipe2(pipe_fds, O_CLOEXEC), 0);
	worker = fork();
	ck_assert_int_ge(worker, 0);
	if (worker == 0)
		run_binary(binary, file_fd, pipe_fds[0]);
	supervisor_pipe = pipe_fds[1];
	close(pipe_fds[0]);
	close(file_fd);
	close(directory_fd);
}

static void expect_exit(int code)
{
	int status;

	ck_assert_int_eq(waitpid(worker, &status, 0), worker);
	worker = 0;
	ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == code, "wait status %#x", (unsigned)status);
}

/* -- waiting for what has no event ----------------------------------------------------------------------------- */

static void wait_until(bool (*condition)(void))
{
	uint64_t deadline = now_monotonic_ms() + PATIENCE_MS;

	while (!condition()) {
		ck_assert_uint_lt(now_monotonic_ms(), deadline);
		nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
	}
}

static struct mark read_mark(unsigned index)
{
	struct mark mark;

	ck_assert_int_eq(worker_file_read_mark(worker_file, index, &mark), 0);
	return mark;
}

static bool first_mark_is_ended(void) { return read_mark(0).state == MARK_ENDED; }
static bool first_mark_is_started(void) { return read_mark(0).state == MARK_STARTED; }
static bool all_marks_are_free(void)
{
	return read_mark(0).state == MARK_FREE && read_mark(1).state == MARK_FREE && read_mark(2).state == MARK_FREE;
}
static bool ready_file_is_there(void) { return access("ready", F_OK) == 0; }

static pid_t first_child_of_worker(void)
{
	char path[64], text[32] = "";

	snprintf(path, sizeof(path), "/proc/%d/task/%d/children", worker, worker);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ck_assert_int_ge(fd, 0);
	ck_assert_int_ge(read(fd, text, sizeof(text) - 1), 0);
	close(fd);
	return *text ? atoi(text) : NO_CHILD;
}

/* -- the daemon's side ----------------------------------------------------------------------------------------- */

static void listen_for_worker(void)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX, .sun_path = WORKER_SOCKET_NAME };

	unlink(WORKER_SOCKET_NAME);
	listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	ck_assert_int_eq(bind(listener, (struct sockaddr *)&address, sizeof(address)), 0);
	ck_assert_int_eq(listen(listener, 4), 0);
}

static void send_message(enum message_type type, const void *body, size_t len, const struct slice *tails, size_t count)
{
	struct buf out = { 0 };

	message_append(&out, type, epoch, body, len, tails, count);
	ck_assert(!out.failed);
	ck_assert_int_eq(write_all(connection, out.data, out.len), 0);
	buf_free(&out);
}

/* The next message, which must be of @type; its frame is the caller's to free. */
static struct slice expect_message(enum message_type type)
{
	struct message_header header;
	char *frame;

	ck_assert_int_eq(read_all(connection, &header, sizeof(header)), 0);
	ck_assert_uint_eq(header.type, type);
	ck_assert_uint_le(header.length, WORKER_FRAME_BYTES_MAX);
	ck_assert_ptr_nonnull(frame = malloc(header.length));
	memcpy(frame, &header, sizeof(header));
	ck_assert_int_eq(read_all(connection, frame + sizeof(header), header.length - sizeof(header)), 0);
	return (struct slice){ frame, header.length };
}

static void expect_leaving(void)
{
	free((char *)expect_message(MESSAGE_LEAVING).data);
}

static void accept_hello(void)
{
	struct timeval patience = { .tv_sec = PATIENCE_MS / 1000 };

	setsockopt(listener, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	connection = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	ck_assert_int_ge(connection, 0);
	setsockopt(connection, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	struct slice frame = expect_message(MESSAGE_HELLO);
	ck_assert_int_eq(message_body(frame, &hello, sizeof(hello), NULL), 0);
	free((char *)frame.data);
	ck_assert_uint_eq(hello.worker_id, WORKER_ID);
	ck_assert_int_eq(hello.pid, worker);
	ck_assert_uint_eq(hello.role, ROLE_WORKER);
}

static void send_welcome(uint16_t version)
{
	struct message_welcome welcome = { .version = version, .epoch = epoch };

	send_message(MESSAGE_WELCOME, &welcome, sizeof(welcome), NULL, 0);
}

static void hang_up(void)
{
	close_fd(&connection);
	close_fd(&listener);
}

static void redial(void)
{
	listen_for_worker();
	accept_hello();
	send_welcome(1);
}

static void make_state_dir(void)
{
	signal(SIGPIPE, SIG_IGN);
	strcpy(directory, "/tmp/test_worker.XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(directory));
}

static void start_in_state_dir(void)
{
	char binary[PATH_MAX];
	const char *name = getenv("JOBPOOL_WORKER_BINARY");

	ck_assert_msg(name && realpath(name, binary), "JOBPOOL_WORKER_BINARY must name the jobpool-worker to test");
	ck_assert_int_eq(chdir(directory), 0);
	ck_assert_int_eq(mkdir(WORKER_DIRECTORY, 0700), 0);
	ck_assert_int_eq(mkdir(INPUT_DIRECTORY, 0700), 0);
	listen_for_worker();
	start_worker(binary);
	accept_hello();
	send_welcome(1);
}

static void start_all(void)
{
	make_state_dir();
	start_in_state_dir();
}

static void remove_tree(const char *path)
{
	pid_t pid = fork();

	if (pid == 0) {
		execlp("rm", "rm", "-rf", "--", path, NULL);
		_exit(127);
	}
	waitpid(pid, NULL, 0);
}

static void stop_all(void)
{
	if (worker) {
		kill(worker, SIGKILL);
		waitpid(worker, NULL, 0);
	}
	ck_assert_int_eq(chdir("/"), 0);
	umount2(directory, MNT_DETACH);
	remove_tree(directory);
}

/* -- jobs ------------------------------------------------------------------------------------------------------ */

/* What most jobs here are: a line of shell, two streams, no limits. */
static struct spec shell(struct slice words[3], const char *line)
{
	words[0] = SLICE("/bin/sh");
	words[1] = SLICE("-c");
	words[2] = slice_of(line);
	return (struct spec){
		.argv = words,
		.argc = 3,
		.cwd = slice_of(directory),
		.umask = 022,
		.grace_ms = 5000,
		.max_output_bytes = 1 << 20,
	};
}

static struct message_run run_message(uint64_t job_id)
{
	struct message_run run = { .job_id = job_id, .attempt = 1 };

	memcpy(run.token, &job_id, sizeof(job_id));
	return run;
}

/* Returns the job's id; its token is made of it. */
static uint64_t run_with(const struct spec *spec, struct slice environment)
{
	struct message_run run = run_message(next_job++);
	struct buf data = { 0 };

	ck_assert_int_eq(spec_encode(spec, &data), 0);
	struct slice tails[] = { { data.data, data.len }, environment, SLICE("nightly") };
	run.spec_bytes = (uint32_t)tails[0].len;
	run.environment_bytes = (uint32_t)tails[1].len;
	run.queue_bytes = (uint32_t)tails[2].len;
	send_message(MESSAGE_RUN, &run, sizeof(run), tails, ARRAY_SIZE(tails));
	buf_free(&data);
	return run.job_id;
}

static uint64_t run_spec(const struct spec *spec)
{
	return run_with(spec, (struct slice){ NULL, 0 });
}

static uint64_t run_shell(const char *line)
{
	struct slice words[3];
	struct spec spec = shell(words, line);

	return run_spec(&spec);
}

static void expect_ended(uint64_t job_id, enum outcome outcome)
{
	struct slice frame = expect_message(MESSAGE_ENDED), rest, out, err;

	ck_assert_int_eq(message_body(frame, &ended.message, sizeof(ended.message), &rest), 0);
	ck_assert_int_eq(message_cut(&rest, ended.message.out_bytes, &out), 0);
	ck_assert_int_eq(message_cut(&rest, ended.message.err_bytes, &err), 0);
	ck_assert_uint_eq(rest.len, 0);
	memcpy(mempcpy(ended.out, out.data, out.len), "", 1);
	memcpy(mempcpy(ended.err, err.data, err.len), "", 1);
	free((char *)frame.data);
	ck_assert_uint_eq(ended.message.job_id, job_id);
	ck_assert_mem_eq(ended.message.token, &job_id, sizeof(job_id));
	ck_assert_int_eq(ended.message.end.outcome, outcome);
}

static void send_recorded(uint64_t job_id)
{
	struct message_run run = run_message(job_id);

	send_message(MESSAGE_RECORDED, run.token, sizeof(run.token), NULL, 0);
}

static void send_cancel(uint64_t job_id, enum cancel_reason reason, uint64_t grace_ms)
{
	struct message_cancel cancel = { .grace_ms = grace_ms, .reason = (uint8_t)reason };
	struct message_run run = run_message(job_id);

	memcpy(cancel.token, run.token, TOKEN_BYTES);
	send_message(MESSAGE_CANCEL, &cancel, sizeof(cancel), NULL, 0);
}

static void send_signal(uint64_t job_id, int number)
{
	struct message_signal message = { .signal = number };
	struct message_run run = run_message(job_id);

	memcpy(message.token, run.token, TOKEN_BYTES);
	send_message(MESSAGE_SIGNAL, &message, sizeof(message), NULL, 0);
}

static void wait_ready(void)
{
	wait_until(ready_file_is_there);
	unlink("ready");
}

/* -- outcomes -------------------------------------------------------------------------------------------------- */

START_TEST(test_worker_runs_a_job_and_frees_its_mark_when_recorded)
{
	struct stat st;

	uint64_t job = run_shell("echo out; echo err >&2");
	expect_ended(job, OUTCOME_SUCCEEDED);
	ck_assert_str_eq(ended.out, "out\n");
	ck_assert_str_eq(ended.err, "err\n");
	ck_assert_int_eq(ended.message.end.exit_code, 0);
	ck_assert_uint_gt(ended.message.end.elapsed_us, 0);
	ck_assert_uint_gt(ended.message.end.max_rss_bytes, 0);
	ck_assert_uint_ge(ended.message.end.ended_wall_ms, ended.message.end.started_wall_ms);

	struct mark mark = read_mark(0);
	ck_assert_int_eq(mark.state, MARK_ENDED);
	ck_assert_uint_eq(mark.job_id, job);
	ck_assert_mem_eq(&mark.end, &ended.message.end, sizeof(mark.end));
	ck_assert_int_eq(stat(SCRATCH_DIRECTORY "/1.0.out", &st), 0);
	ck_assert_int_eq(st.st_size, 4);
	send_recorded(job);
	wait_until(all_marks_are_free);

	/* The scratch file is emptied behind the mark: the next report shows that it was. */
	job = run_shell("true");
	expect_ended(job, OUTCOME_SUCCEEDED);
	ck_assert_str_eq(ended.out, "");
	ck_assert_int_eq(stat(SCRATCH_DIRECTORY "/1.0.out", &st), 0);
	ck_assert_int_eq(st.st_size, 0);
}
END_TEST

static const struct {
	const char *line;
	enum outcome outcome;
	int exit_code, signal;
} endings[] = {
	{ "exit 0", OUTCOME_SUCCEEDED, 0, 0 },
	{ "exit 1", OUTCOME_FAILED, 1, 0 },
	{ "exit 255", OUTCOME_FAILED, 255, 0 },
	{ "kill -9 $$", OUTCOME_SIGNALED, -1, SIGKILL },
	{ "kill -TERM $$", OUTCOME_SIGNALED, -1, SIGTERM },
	{ "kill -SEGV $$", OUTCOME_SIGNALED, -1, SIGSEGV },
};

START_TEST(test_worker_tells_exit_status_and_signal)
{
	expect_ended(run_shell(endings[_i].line), endings[_i].outcome);
	ck_assert_int_eq(ended.message.end.exit_code, endings[_i].exit_code);
	ck_assert_int_eq(ended.message.end.signal, endings[_i].signal);
}
END_TEST

static const struct {
	const char *program, *cwd;
	uint64_t input_id;
	enum start_step step;
	int error;
} unstartables[] = {
	{ "/no/such/program", "/", 0, STEP_EXEC, ENOENT },
	{ "no-such-program", "/", 0, STEP_EXEC, ENOENT },
	{ "/etc/passwd", "/", 0, STEP_EXEC, EACCES },
	{ "/", "/", 0, STEP_EXEC, EACCES },
	{ "./no-program", "", 0, STEP_EXEC, ENOEXEC },
	{ "./no-interpreter", "", 0, STEP_EXEC, ENOENT },
	{ "/bin/true", "/no/such/directory", 0, STEP_CWD, ENOENT },
	{ "/bin/true", "/etc/passwd", 0, STEP_CWD, ENOTDIR },
	{ "/bin/true", "/", 77, STEP_INPUT, ENOENT },
};

static void write_file(const char *path, const char *text, mode_t mode)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	ck_assert_int_eq(write_all(fd, text, strlen(text)), 0);
	ck_assert_int_eq(fchmod(fd, mode), 0);
	close(fd);
}

START_TEST(test_worker_names_the_step_that_failed)
{
	struct slice word = slice_of(unstartables[_i].program);
	struct spec spec = { .argv = &word, .argc = 1, .input_id = unstartables[_i].input_id };

	spec.cwd = *unstartables[_i].cwd ? slice_of(unstartables[_i].cwd) : slice_of(directory);
	write_file("no-program", "just text\n", 0755);
	write_file("no-interpreter", "#!/no/such/interpreter\n", 0755);
	expect_ended(run_spec(&spec), OUTCOME_UNSTARTABLE);
	ck_assert_int_eq(ended.message.end.step, unstartables[_i].step);
	ck_assert_int_eq(ended.message.end.error, unstartables[_i].error);
	ck_assert_int_eq(ended.message.end.exit_code, -1);
	ck_assert_int_eq(first_child_of_worker(), NO_CHILD);
}
END_TEST

START_TEST(test_worker_refuses_a_damaged_spec_or_environment)
{
	struct slice words[3];
	struct spec spec = shell(words, "true");
	struct message_run run = run_message(next_job);
	struct slice tails[] = { SLICE("damaged"), SLICE("q") };

	run.spec_bytes = 7;
	run.queue_bytes = 1;
	send_message(MESSAGE_RUN, &run, sizeof(run), tails, 2);
	expect_ended(next_job++, OUTCOME_UNSTARTABLE);
	ck_assert_int_eq(ended.message.end.step, STEP_SPEC);
	expect_ended(run_with(&spec, SLICE("no equals sign\0")), OUTCOME_UNSTARTABLE);
	ck_assert_int_eq(ended.message.end.step, STEP_SPEC);
}
END_TEST

/* -- what a job finds ------------------------------------------------------------------------------------------ */

START_TEST(test_worker_gives_a_job_its_variables)
{
	struct slice words[3], program[] = { SLICE("env") };
	struct spec spec = shell(words, "");
	char expected[3 * PATH_MAX];

	spec.argv = program;
	spec.argc = 1;
	uint64_t job = run_with(&spec, SLICE("A=1\0JOBPOOL_JOB_ID=forged\0JOBPOOL_OTHER=kept\0HOME=/my\0"));
	expect_ended(job, OUTCOME_SUCCEEDED);
	snprintf(expected, sizeof(expected),
		 "JOBPOOL_JOB_ID=%" PRIu64 "\nJOBPOOL_ATTEMPT=1\nJOBPOOL_QUEUE=nightly\nJOBPOOL_WORKER=3\n"
		 "JOBPOOL_POOL=default\nJOBPOOL_TMPDIR=%s/tmp/1\nJOBPOOL_WORKER_DIR=%s/slots/default.3\n"
		 "JOBPOOL_SOCKET=/run/client.sock\nA=1\nJOBPOOL_OTHER=kept\nHOME=/my\nPATH=/usr/local/bin:/usr/bin:/bin\n",
		 job, directory, directory);
	ck_assert_str_eq(ended.out, expected);
}
END_TEST

START_TEST(test_worker_searches_the_path_of_the_job)
{
	struct slice word = SLICE("here"), words[3];
	struct spec spec = shell(words, "");

	spec.argv = &word;
	spec.argc = 1;
	write_file("here", "#!/bin/sh\necho found\n", 0755);
	expect_ended(run_with(&spec, SLICE("PATH=/no/such:/etc:\0")), OUTCOME_SUCCEEDED);
	ck_assert_str_eq(ended.out, "found\n");
	write_file("here", "#!/bin/sh\necho found\n", 0644);
	expect_ended(run_with(&spec, SLICE("PATH=:/no/such\0")), OUTCOME_UNSTARTABLE);
	ck_assert_int_eq(ended.message.end.error, EACCES);
}
END_TEST

START_TEST(test_worker_sets_cwd_umask_process_group_and_leaks_nothing)
{
	struct slice words[3];
	struct spec spec = shell(words, "pwd; umask; ls /proc/self/fd | wc -l; cut -d' ' -f5 /proc/self/stat;"
					"echo $$; sed -n '/Sig[BI]/p' /proc/self/status");

	spec.umask = 0077;
	spec.cwd = SLICE("/usr");
	expect_ended(run_spec(&spec), OUTCOME_SUCCEEDED);
	int group, shell_pid, fds;
	char text[2][24];
	ck_assert_int_eq(sscanf(ended.out, "/usr\n0077\n%d\n%d\n%d\nSigBlk:\t%23s\nSigIgn:\t%23s", &fds, &group, &shell_pid,
				text[0], text[1]),
			 5);
	ck_assert_int_eq(fds, 4); /* 0, 1, 2 and that of ls on the directory */
	ck_assert_int_eq(group, shell_pid);
	for (int i = 0; i < 2; i++)
		ck_assert_str_eq(text[i], "0000000000000000");
}
END_TEST

static bool worker_may_run_anywhere(void)
{
	cpu_set_t own, workers;

	return sched_getaffinity(0, sizeof(own), &own) == 0 && sched_getaffinity(worker, sizeof(workers), &workers) == 0 &&
	       CPU_EQUAL(&own, &workers);
}

/* A worker of short jobs stays on one CPU; its jobs never, and the worker itself not when it has nothing to do. */
START_TEST(test_worker_leaves_all_cpus_to_its_jobs)
{
	char expected[256];

	FILE *status = fopen("/proc/self/status", "re");
	ck_assert_ptr_nonnull(status);
	while (fgets(expected, sizeof(expected), status) && strncmp(expected, "Cpus_allowed_list", 17) != 0)
		;
	fclose(status);
	for (int i = 0; i < 8; i++) {
		expect_ended(run_shell("grep Cpus_allowed_list /proc/self/status"), OUTCOME_SUCCEEDED);
		ck_assert_str_eq(ended.out, expected);
		send_recorded(ended.message.job_id);
	}
	wait_until(worker_may_run_anywhere);
}
END_TEST

START_TEST(test_worker_opens_the_input_or_dev_null)
{
	struct slice words[3];
	struct spec spec = shell(words, "cat");

	write_file(INPUT_DIRECTORY "/5", "from a file", 0600);
	expect_ended(run_spec(&spec), OUTCOME_SUCCEEDED);
	ck_assert_str_eq(ended.out, "");
	spec.input_id = 5;
	expect_ended(run_spec(&spec), OUTCOME_SUCCEEDED);
	ck_assert_str_eq(ended.out, "from a file");
}
END_TEST

START_TEST(test_worker_empties_the_tmpdir_and_keeps_its_own_directory)
{
	/* Deeper than a path may be long, without permissions, links that lead out, and an odd name. */
	static const char *const fill[] = {
		"cd $JOBPOOL_TMPDIR; for i in $(seq 40); do mkdir dddddddddddddddddddddddddddddddddddddddddddddddddddddddddd; "
		"touch f; cd d*; done; cd $JOBPOOL_TMPDIR; mkdir -p locked/x; chmod 0 locked/x locked; "
		"ln -s $JOBPOOL_WORKER_DIR out; touch -- '-n\nl'; touch $JOBPOOL_WORKER_DIR/kept",
		"touch $JOBPOOL_WORKER_DIR/kept; rm -rf $JOBPOOL_TMPDIR",
		"touch $JOBPOOL_WORKER_DIR/kept; mkdir moved; touch $JOBPOOL_TMPDIR/f; mv $JOBPOOL_TMPDIR moved/",
	};

	expect_ended(run_shell(fill[_i]), OUTCOME_SUCCEEDED);
	ck_assert_str_eq(ended.err, "");
	expect_ended(run_shell("ls -A $JOBPOOL_TMPDIR; ls -A $JOBPOOL_WORKER_DIR; ls moved/1 2>/dev/null; true"),
		     OUTCOME_SUCCEEDED);
	ck_assert_str_eq(ended.out, _i == 2 ? "kept\nf\n" : "kept\n");
}
END_TEST

/* An empty directory is known again by its ctime, once that is old enough to tell a change. */
START_TEST(test_worker_empties_a_tmpdir_that_was_long_empty)
{
	static const char fill[] = "ls -A $JOBPOOL_TMPDIR; touch $JOBPOOL_TMPDIR/f";

	expect_ended(run_shell("true"), OUTCOME_SUCCEEDED);
	send_recorded(ended.message.job_id);
	sleep(3); /* more than the coarsest file times stand still */
	for (int i = 0; i < 4; i++) {
		expect_ended(run_shell(i % 2 ? fill : "true"), OUTCOME_SUCCEEDED);
		ck_assert_str_eq(ended.out, "");
		send_recorded(ended.message.job_id);
	}
}
END_TEST

START_TEST(test_worker_takes_an_environment_of_a_megabyte)
{
	struct slice words[3];
	struct spec spec = shell(words, "echo $LAST");
	struct buf block = { 0 };

	for (unsigned i = 0; i < 9000; i++) {
		buf_printf(&block, "VARIABLE_%u=%0100u", i, i);
		buf_append(&block, "", 1);
	}
	buf_append(&block, "LAST=here", 10);
	expect_ended(run_with(&spec, (struct slice){ block.data, block.len }), OUTCOME_SUCCEEDED);
	ck_assert_str_eq(ended.out, "here\n");
	buf_free(&block);
}
END_TEST

/* -- limits, cancel, signals, and the tree --------------------------------------------------------------------- */

START_TEST(test_worker_timeout_kills_the_whole_tree)
{
	struct slice words[3];
	struct spec spec = shell(words, "trap '' TERM; setsid sh -c 'trap \"\" TERM; sleep 60' & sleep 60 & sleep 60");

	spec.timeout_ms = 50;
	spec.grace_ms = 50;
	expect_ended(run_spec(&spec), OUTCOME_TIMEOUT);
	ck_assert_int_eq(ended.message.end.limit, LIMIT_TIMEOUT);
	ck_assert_int_eq(ended.message.end.signal, SIGKILL);
	ck_assert_uint_ge(ended.message.end.elapsed_us, 99000);
	ck_assert_int_eq(first_child_of_worker(), NO_CHILD);
}
END_TEST

START_TEST(test_worker_timeout_is_success_when_the_job_exits_0)
{
	struct slice words[3];
	struct spec spec = shell(words, "trap 'exit 0' TERM; kill -STOP $$; while :; do sleep 0.01; done");

	spec.timeout_ms = 50;
	expect_ended(run_spec(&spec), OUTCOME_SUCCEEDED);
}
END_TEST

static const struct {
	const char *line;
	enum cancel_reason reason;
	uint64_t grace_ms;
	enum outcome outcome;
	int exit_code, signal;
} cancels[] = {
	{ "sleep 60", CANCEL_ASKED, UINT64_MAX, OUTCOME_CANCELLED, -1, SIGTERM },
	{ "trap 'exit 3' TERM; sleep 60 & wait", CANCEL_ASKED, 5000, OUTCOME_CANCELLED, 3, 0 },
	{ "trap 'exit 0' TERM; sleep 60 & wait", CANCEL_ASKED, 5000, OUTCOME_SUCCEEDED, 0, 0 },
	{ "trap '' TERM; sleep 60 & wait", CANCEL_ASKED, 20, OUTCOME_CANCELLED, -1, SIGKILL },
	{ "trap 'exit 3' TERM; sleep 60 & wait", CANCEL_ASKED, 0, OUTCOME_CANCELLED, -1, SIGKILL },
	{ "sleep 60", CANCEL_STOP, UINT64_MAX, OUTCOME_LOST, -1, SIGTERM },
};

START_TEST(test_worker_cancel_ends_the_job)
{
	char line[200];

	/* The trap comes first, then the news that it is set. */
	const char *rest = strstr(cancels[_i].line, "sleep");
	snprintf(line, sizeof(line), "%.*s : >ready; %s", (int)(rest - cancels[_i].line), cancels[_i].line, rest);
	uint64_t job = run_shell(line);
	wait_ready();
	send_cancel(job, cancels[_i].reason, cancels[_i].grace_ms);
	expect_ended(job, cancels[_i].outcome);
	ck_assert_int_eq(ended.message.end.exit_code, cancels[_i].exit_code);
	ck_assert_int_eq(ended.message.end.signal, cancels[_i].signal);
	ck_assert_int_eq(ended.message.end.lost_reason, cancels[_i].reason == CANCEL_STOP ? LOST_STOPPED : LOST_NONE);
	ck_assert_int_eq(first_child_of_worker(), NO_CHILD);
}
END_TEST

START_TEST(test_worker_ignores_a_cancel_for_another_token)
{
	uint64_t job = run_shell(": >ready; until [ -e go ]; do sleep 0.01; done");

	wait_ready();
	send_cancel(job + 1, CANCEL_ASKED, 0);
	write_file("go", "", 0600);
	expect_ended(job, OUTCOME_SUCCEEDED);
}
END_TEST

static bool three_shells_are_ready(void)
{
	return access("other", F_OK) == 0 && access("another", F_OK) == 0 && access("outer", F_OK) == 0;
}

static bool three_have_got_it(void)
{
	struct stat st;

	return stat(SCRATCH_DIRECTORY "/1.0.out", &st) == 0 && st.st_size >= 3 * 4;
}

START_TEST(test_worker_delivers_a_signal_to_the_whole_tree_once)
{
	/* Three shells, one of them in a session of its own; the sleeps that they start again and again die of the signal. */
	uint64_t job = run_shell("t='trap \"echo got\" USR1; : >${1:-outer}; until [ -e go ]; do sleep 0.01; done';"
				 "setsid sh -c \"$t\" sh other & sh -c \"$t\" sh another & eval \"$t\"; wait");

	wait_until(three_shells_are_ready);
	send_signal(job, SIGUSR1);
	wait_until(three_have_got_it);
	write_file("go", "", 0600);
	expect_ended(job, OUTCOME_SUCCEEDED);
	ck_assert_str_eq(ended.out, "got\ngot\ngot\n");
}
END_TEST

START_TEST(test_worker_kill_signal_is_the_jobs_own_end)
{
	uint64_t job = run_shell(": >ready; sleep 60");

	wait_ready();
	send_signal(job, SIGKILL);
	expect_ended(job, OUTCOME_SIGNALED);
	ck_assert_int_eq(ended.message.end.signal, SIGKILL);
}
END_TEST

static const char *const strays[] = {
	"(setsid sleep 60 &)",
	"(setsid sh -c 'trap \"\" TERM HUP; sleep 60' >/dev/null 2>&1 &)",
	"(setsid sh -c 'kill -STOP $$' &)",
	"for i in $(seq 30); do (setsid sh -c 'sleep 60 & sleep 60' &); done",
};

START_TEST(test_worker_ends_what_a_job_leaves_behind)
{
	expect_ended(run_shell(strays[_i]), OUTCOME_SUCCEEDED);
	ck_assert_int_eq(first_child_of_worker(), NO_CHILD);
}
END_TEST

START_TEST(test_worker_reaps_orphans_while_the_job_runs)
{
	/* Each orphan tells its pid; none is left as a zombie when the last one has. */
	expect_ended(run_shell("for i in 1 2 3; do (sh -c 'echo $$' &); done | while read p; do "
			       "n=0; while [ -e /proc/$p ] && [ $n -lt 500 ]; do sleep 0.01; n=$((n+1)); done; "
			       "[ -e /proc/$p ] && exit 1; done; exit 0"),
		     OUTCOME_SUCCEEDED);
}
END_TEST

/* -- output ---------------------------------------------------------------------------------------------------- */

START_TEST(test_worker_merges_streams_in_their_order)
{
	struct slice words[3];
	struct spec spec = shell(words, "echo 1; echo 2 >&2; echo 3");

	spec.merge_output = true;
	expect_ended(run_spec(&spec), OUTCOME_SUCCEEDED);
	ck_assert_str_eq(ended.out, "1\n2\n3\n");
	ck_assert_str_eq(ended.err, "");
	ck_assert(ended.message.end.merged);
}
END_TEST

/* Byte n of the stream that `numbers` makes: lines of eight bytes. */
#define NUMBERS(count) "awk 'BEGIN { for (i = 0; i < " #count "; i++) printf \"%07d\\n\", i }'"

static void expect_numbers(const char *data, uint64_t start, uint64_t end)
{
	for (uint64_t at = start; at < end; at++) {
		char line[9];
		snprintf(line, sizeof(line), "%07u\n", (unsigned)(at / 8));
		ck_assert_msg(data[at - start] == line[at % 8], "byte %" PRIu64, at);
	}
}

static char *read_output(const char *path, uint64_t start, uint64_t end)
{
	char *data = malloc(end - start);
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(pread_all(fd, data, end - start, (off_t)start), 0);
	close(fd);
	return data;
}

START_TEST(test_worker_sends_64_KiB_and_keeps_more_as_a_file)
{
	char path[64];

	uint64_t job = run_shell(NUMBERS(8192));
	expect_ended(job, OUTCOME_SUCCEEDED);
	ck_assert_uint_eq(ended.message.out_bytes, 65536);
	ck_assert_int_eq(ended.message.end.output_files, 0);
	expect_numbers(ended.out, 0, 65536);

	job = run_shell(NUMBERS(8193) " >&2");
	expect_ended(job, OUTCOME_SUCCEEDED);
	ck_assert_uint_eq(ended.message.err_bytes, 0);
	ck_assert_int_eq(ended.message.end.output_files, 2);
	ck_assert_uint_eq(ended.message.end.output[1].bytes, 65544);
	snprintf(path, sizeof(path), OUTPUT_DIRECTORY "/%" PRIu64 ".1.err", job);
	char *data = read_output(path, 0, 65544);
	expect_numbers(data, 0, 65544);
	free(data);
}
END_TEST

START_TEST(test_worker_cuts_the_middle_out_of_big_output)
{
	const uint64_t bytes = 8 * 1000000, max = 200001;
	struct slice words[3];
	struct spec spec = shell(words, NUMBERS(1000000));
	char path[64];
	struct stat st;

	spec.max_output_bytes = max;
	uint64_t job = run_spec(&spec);
	expect_ended(job, OUTCOME_SUCCEEDED);
	const struct attempt_end *end = &ended.message.end;
	ck_assert_uint_eq(end->output[0].bytes, bytes);
	ck_assert_uint_eq(end->output[0].hole_start, max / 2);
	ck_assert_uint_eq(end->output[0].hole_end, bytes - (max - max / 2));
	ck_assert_int_eq(end->output_files, 1);
	ck_assert_int_eq(end->output_dropped, 0);
	snprintf(path, sizeof(path), OUTPUT_DIRECTORY "/%" PRIu64 ".1.out", job);
	ck_assert_int_eq(stat(path, &st), 0);
	ck_assert_int_eq(st.st_size, (off_t)bytes);
	ck_assert_int_lt(st.st_blocks * 512, (off_t)max + 4 * 4096);
	char *head = read_output(path, 0, end->output[0].hole_start);
	expect_numbers(head, 0, end->output[0].hole_start);
	char *tail = read_output(path, end->output[0].hole_end, bytes);
	expect_numbers(tail, end->output[0].hole_end, bytes);
	free(head);
	free(tail);
}
END_TEST

static const struct {
	uint64_t max_bytes, lines;
} small_limits[] = { { 0, 8 }, { 1, 8 }, { 16, 2 }, { 17, 3 }, { 1000, 8000 }, { 1000, 80000 }, { 65536, 500000 } };

START_TEST(test_worker_small_limit_travels_without_its_hole)
{
	const uint64_t bytes = small_limits[_i].lines * 8, max = MIN(small_limits[_i].max_bytes, bytes);
	struct slice words[3];
	char line[100];

	snprintf(line, sizeof(line), "seq -f %%07.0f 0 %" PRIu64, small_limits[_i].lines - 1);
	struct spec spec = shell(words, line);
	spec.max_output_bytes = small_limits[_i].max_bytes;
	expect_ended(run_spec(&spec), OUTCOME_SUCCEEDED);
	const struct attempt_end *end = &ended.message.end;
	ck_assert_uint_eq(end->output[0].bytes, bytes);
	ck_assert_uint_eq(end->output[0].hole_end - end->output[0].hole_start, bytes - max);
	ck_assert_uint_eq(ended.message.out_bytes, max);
	ck_assert_int_eq(end->output_files, 0);
	if (max == bytes)
		return expect_numbers(ended.out, 0, bytes);
	expect_numbers(ended.out, 0, max / 2);
	expect_numbers(ended.out + max / 2, end->output[0].hole_end, bytes);
}
END_TEST

START_TEST(test_worker_gives_a_holder_outside_of_the_tree_one_second)
{
	char path[64];

	uint64_t job = run_shell("echo before; : >ready; until [ -e go ]; do sleep 0.01; done");
	wait_ready();
	snprintf(path, sizeof(path), "/proc/%d/fd/1", first_child_of_worker());
	int holder = open(path, O_WRONLY | O_CLOEXEC);
	ck_assert_int_ge(holder, 0);
	uint64_t before_ms = now_monotonic_ms();
	write_file("go", "", 0600);
	expect_ended(job, OUTCOME_SUCCEEDED);
	ck_assert_uint_ge(now_monotonic_ms() - before_ms, 1000);
	ck_assert_str_eq(ended.out, "before\n");
	ck_assert_int_eq(write(holder, "x", 1), -1); /* SIGPIPE is ignored by the fixture */
	close(holder);
	expect_ended(run_shell("true"), OUTCOME_SUCCEEDED);
	ck_assert_str_eq(ended.out, "");
}
END_TEST

/* -- marks, epoch, and the daemon's absence -------------------------------------------------------------------- */

START_TEST(test_worker_drops_a_message_of_an_older_epoch)
{
	ck_assert_int_eq(worker_file_write_epoch(worker_file, epoch + 1), 0);
	run_shell(": >ready");
	epoch++;
	uint64_t job = run_shell("[ ! -e ready ]");
	expect_ended(job, OUTCOME_SUCCEEDED); /* the next message is about the second job: the first never was */
	send_recorded(job);
	wait_until(all_marks_are_free);
}
END_TEST

START_TEST(test_worker_without_a_free_mark_takes_nothing)
{
	uint64_t jobs[MARKS_PER_WORKER];

	for (int i = 0; i < MARKS_PER_WORKER; i++)
		expect_ended(jobs[i] = run_shell("true"), OUTCOME_SUCCEEDED);
	run_shell(": >ready");
	send_recorded(jobs[1]);
	expect_ended(run_shell("[ ! -e ready ]"), OUTCOME_SUCCEEDED);
	ck_assert_uint_eq(read_mark(1).job_id, ended.message.job_id);
	ck_assert_uint_eq(read_mark(0).job_id, jobs[0]);
}
END_TEST

static uint64_t run_until_go(void)
{
	uint64_t job = run_shell(": >ready; until [ -e go ]; do sleep 0.01; done");

	wait_ready();
	return job;
}

static void send_token(enum message_type type, uint64_t job_id)
{
	struct message_token message = { 0 };

	memcpy(message.token, &job_id, sizeof(job_id));
	send_message(type, &message, sizeof(message), NULL, 0);
}

static void expect_returned(uint64_t job_id)
{
	struct slice frame = expect_message(MESSAGE_RETURNED);
	struct message_token message;

	ck_assert_int_eq(message_body(frame, &message, sizeof(message), NULL), 0);
	ck_assert_mem_eq(message.token, &job_id, sizeof(job_id));
	free((char *)frame.data);
}

START_TEST(test_worker_at_work_takes_one_job_ahead)
{
	uint64_t job = run_until_go(), ahead = run_shell("[ -e go ] && echo second");

	write_file("go", "", 0600);
	expect_ended(job, OUTCOME_SUCCEEDED);
	expect_ended(ahead, OUTCOME_SUCCEEDED);
	ck_assert_str_eq(ended.out, "second\n");
}
END_TEST

/* Asked back, or cancelled. */
START_TEST(test_worker_returns_what_has_not_begun)
{
	uint64_t job = run_until_go(), ahead = run_shell(": >second");

	if (_i == 0)
		send_token(MESSAGE_RECALL, ahead);
	else
		send_cancel(ahead, CANCEL_ASKED, 0);
	expect_returned(ahead);
	send_token(MESSAGE_RECALL, job); /* this one has begun */
	write_file("go", "", 0600);
	expect_ended(job, OUTCOME_SUCCEEDED);
	expect_ended(run_shell("[ ! -e second ]"), OUTCOME_SUCCEEDED);
}
END_TEST

START_TEST(test_worker_that_leaves_returns_what_has_not_begun)
{
	uint64_t job = run_until_go(), ahead = run_shell(": >second");

	send_message(MESSAGE_RETIRE, NULL, 0, NULL, 0);
	expect_returned(ahead);
	free((char *)expect_message(MESSAGE_LEAVING).data);
	write_file("go", "", 0600);
	expect_ended(job, OUTCOME_SUCCEEDED);
}
END_TEST

START_TEST(test_worker_delivers_a_signal_to_a_job_sent_ahead)
{
	uint64_t job = run_until_go(), ahead = run_shell("sleep 60");

	send_signal(ahead, SIGUSR1);
	write_file("go", "", 0600);
	expect_ended(job, OUTCOME_SUCCEEDED);
	expect_ended(ahead, OUTCOME_SIGNALED);
	ck_assert_int_eq(ended.message.end.signal, SIGUSR1);
}
END_TEST

START_TEST(test_worker_without_its_daemon_forgets_what_has_not_begun)
{
	uint64_t job = run_until_go();

	run_shell(": >second");
	hang_up();
	write_file("go", "", 0600);
	wait_until(first_mark_is_ended);
	redial();
	ck_assert_uint_eq(hello.marks[0].job_id, job);
	ck_assert_int_eq(hello.marks[1].state, MARK_FREE);
	send_welcome(1);
	expect_ended(run_shell("[ ! -e second ]"), OUTCOME_SUCCEEDED);
}
END_TEST

START_TEST(test_worker_keeps_the_job_and_its_end_while_the_daemon_is_away)
{
	uint64_t job = run_shell(": >ready; until [ -e go ]; do sleep 0.01; done; echo kept");

	wait_ready();
	ck_assert(first_mark_is_started());
	hang_up();
	write_file("go", "", 0600);
	wait_until(first_mark_is_ended);
	redial();
	const struct mark *mark = &hello.marks[0];
	ck_assert_int_eq(mark->state, MARK_ENDED);
	ck_assert_uint_eq(mark->job_id, job);
	ck_assert_int_eq(mark->end.outcome, OUTCOME_SUCCEEDED);
	ck_assert_uint_eq(mark->end.output[0].bytes, 5);
	char *data = read_output(SCRATCH_DIRECTORY "/1.0.out", 0, 5);
	ck_assert_mem_eq(data, "kept\n", 5);
	free(data);
	/* It was told by the HELLO, and is not told again. */
	expect_ended(run_shell("true"), OUTCOME_SUCCEEDED);
	send_recorded(job);
	send_recorded(ended.message.job_id);
	wait_until(all_marks_are_free);
}
END_TEST

START_TEST(test_worker_names_a_running_job_after_a_redial_and_reports_it)
{
	uint64_t job = run_shell(": >ready; until [ -e go ]; do sleep 0.01; done; exit 4");

	wait_ready();
	hang_up();
	redial();
	ck_assert_int_eq(hello.marks[0].state, MARK_STARTED);
	ck_assert_uint_eq(hello.marks[0].job_id, job);
	write_file("go", "", 0600);
	expect_ended(job, OUTCOME_FAILED);
	ck_assert_int_eq(ended.message.end.exit_code, 4);
}
END_TEST

START_TEST(test_worker_reports_after_welcome_what_ended_since_its_hello)
{
	uint64_t job = run_shell(": >ready; until [ -e go ]; do sleep 0.01; done; echo late");

	wait_ready();
	hang_up();
	listen_for_worker();
	accept_hello();
	ck_assert_int_eq(hello.marks[0].state, MARK_STARTED);
	write_file("go", "", 0600);
	wait_until(first_mark_is_ended);
	send_welcome(1);
	expect_ended(job, OUTCOME_SUCCEEDED);
	ck_assert_str_eq(ended.out, "late\n");
}
END_TEST

START_TEST(test_worker_dials_again_when_its_version_is_refused)
{
	hang_up();
	listen_for_worker();
	accept_hello();
	send_welcome(WORKER_PROTO_VERSION_MAX + 1);
	close_fd(&connection);
	accept_hello();
	send_welcome(WORKER_PROTO_VERSION_MAX);
	expect_ended(run_shell("true"), OUTCOME_SUCCEEDED);
}
END_TEST

START_TEST(test_worker_hangs_up_on_a_broken_frame_and_lives)
{
	struct message_header header = { .length = 3, .type = MESSAGE_RUN };

	ck_assert_int_eq(write_all(connection, &header, sizeof(header)), 0);
	accept_hello();
	send_welcome(1);
	send_message(MESSAGE_RUN, "short", 5, NULL, 0);
	accept_hello();
	send_welcome(1);
	send_message(999, NULL, 0, NULL, 0); /* unknown: skipped */
	expect_ended(run_shell("true"), OUTCOME_SUCCEEDED);
}
END_TEST

/* -- leaving --------------------------------------------------------------------------------------------------- */

static void expect_retired(void)
{
	bool retired;

	expect_exit(0);
	ck_assert_int_eq(worker_file_read_retired(worker_file, &retired), 0);
	ck_assert(retired);
	ck_assert_int_eq(worker_file_is_locked(worker_file), 0);
	ck_assert_int_eq(access(TMP_DIRECTORY "/1", F_OK), -1);
}

START_TEST(test_worker_retires_when_its_last_job_is_recorded)
{
	uint64_t job = run_shell(": >ready; until [ -e go ]; do sleep 0.01; done");

	wait_ready();
	send_message(MESSAGE_RETIRE, NULL, 0, NULL, 0);
	expect_leaving();
	run_shell("true"); /* too late */
	write_file("go", "", 0600);
	expect_ended(job, OUTCOME_SUCCEEDED);
	send_recorded(job);
	expect_retired();
}
END_TEST

START_TEST(test_worker_stops_its_job_on_SIGTERM)
{
	uint64_t job = run_shell(": >ready; sleep 60");

	wait_ready();
	kill(worker, SIGTERM);
	expect_leaving();
	expect_ended(job, OUTCOME_LOST);
	ck_assert_int_eq(ended.message.end.lost_reason, LOST_STOPPED);
	ck_assert_int_eq(ended.message.end.signal, SIGTERM);
	send_recorded(job);
	expect_retired();
}
END_TEST

START_TEST(test_worker_stops_without_a_daemon)
{
	run_shell(": >ready; sleep 60");
	wait_ready();
	hang_up();
	kill(worker, SIGTERM);
	expect_retired();
	ck_assert_int_eq(read_mark(0).state, MARK_ENDED);
	ck_assert_int_eq(read_mark(0).end.outcome, OUTCOME_LOST);
}
END_TEST

START_TEST(test_worker_outlives_its_supervisor_until_its_job_is_recorded)
{
	uint64_t job = run_shell(": >ready; until [ -e go ]; do sleep 0.01; done; exit 5");

	wait_ready();
	close_fd(&supervisor_pipe);
	expect_leaving();
	write_file("go", "", 0600);
	expect_ended(job, OUTCOME_FAILED);
	send_recorded(job);
	expect_retired();
}
END_TEST

START_TEST(test_worker_calls_a_kill_by_shutdown_lost)
{
	uint64_t job = run_shell(": >ready; sleep 60");

	wait_ready();
	close_fd(&supervisor_pipe);
	expect_leaving();
	kill(first_child_of_worker(), SIGKILL);
	expect_ended(job, OUTCOME_LOST);
	ck_assert_int_eq(ended.message.end.lost_reason, LOST_STOPPED);
	ck_assert_int_eq(ended.message.end.signal, SIGKILL);
}
END_TEST

START_TEST(test_worker_idle_without_a_supervisor_retires)
{
	close_fd(&supervisor_pipe);
	expect_leaving();
	expect_retired();
}
END_TEST

/* -- a full disk: state_dir on a small tmpfs of our own -------------------------------------------------------- */

/* In a mount namespace of our own, so that nothing stays mounted. Where we may not have one, the tests are left out: they
 * find no worker. */
static void start_on_a_small_disk(void)
{
	make_state_dir();
	if (unshare(CLONE_NEWNS) == 0 && mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 &&
	    mount("none", directory, "tmpfs", 0, "size=256k") == 0)
		start_in_state_dir();
}

/* Not a block is free, and there is more in the pipe than the last block could still take. */
static bool disk_is_full(void)
{
	struct statvfs disk;
	char path[64];
	int waiting = 0;

	/* A second read end: it reads nothing, and keeps no writer's end open. */
	snprintf(path, sizeof(path), "/proc/%d/fd/1", first_child_of_worker());
	int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	if (fd >= 0)
		ioctl(fd, FIONREAD, &waiting);
	close_fd(&fd);
	return statvfs(directory, &disk) == 0 && disk.f_bfree == 0 && waiting >= 32768;
}

START_TEST(test_worker_waits_for_room_on_the_disk)
{
	if (!worker)
		return;
	uint64_t job = run_shell("exec " NUMBERS(60000));
	wait_until(disk_is_full);
	ck_assert_int_eq(mount("none", directory, "tmpfs", MS_REMOUNT, "size=4m"), 0);
	expect_ended(job, OUTCOME_SUCCEEDED);
	ck_assert_uint_eq(ended.message.end.output[0].bytes, 480000);
	ck_assert_int_eq(ended.message.end.output_dropped, 0);
}
END_TEST

START_TEST(test_worker_drops_what_does_not_fit_when_the_job_has_ended)
{
	char path[64];

	if (!worker)
		return;
	uint64_t job = run_shell("exec " NUMBERS(60000));
	wait_until(disk_is_full);
	send_cancel(job, CANCEL_ASKED, 0);
	expect_ended(job, OUTCOME_CANCELLED);
	const uint64_t bytes = ended.message.end.output[0].bytes;
	ck_assert_int_eq(ended.message.end.output_dropped, 1);
	ck_assert_uint_ge(bytes, 150000);
	ck_assert_uint_lt(bytes, 256 << 10);
	snprintf(path, sizeof(path), OUTPUT_DIRECTORY "/%" PRIu64 ".1.out", job);
	char *data = read_output(path, 0, bytes);
	expect_numbers(data, 0, bytes);
	free(data);
	ck_assert_int_eq(read_mark(0).state, MARK_ENDED);
}
END_TEST

static TCase *add_case(Suite *s, const char *name, void (*setup)(void))
{
	TCase *t = tcase_create(name);

	tcase_add_checked_fixture(t, setup, stop_all);
	tcase_set_timeout(t, 30);
	suite_add_tcase(s, t);
	return t;
}

static void add_jobs(Suite *s)
{
	TCase *t = add_case(s, "outcomes", start_all);

	tcase_add_test(t, test_worker_runs_a_job_and_frees_its_mark_when_recorded);
	tcase_add_loop_test(t, test_worker_tells_exit_status_and_signal, 0, ARRAY_SIZE(endings));
	tcase_add_loop_test(t, test_worker_names_the_step_that_failed, 0, ARRAY_SIZE(unstartables));
	tcase_add_test(t, test_worker_refuses_a_damaged_spec_or_environment);

	t = add_case(s, "what a job finds", start_all);
	tcase_add_test(t, test_worker_gives_a_job_its_variables);
	tcase_add_test(t, test_worker_searches_the_path_of_the_job);
	tcase_add_test(t, test_worker_sets_cwd_umask_process_group_and_leaks_nothing);
	tcase_add_test(t, test_worker_leaves_all_cpus_to_its_jobs);
	tcase_add_test(t, test_worker_opens_the_input_or_dev_null);
	tcase_add_loop_test(t, test_worker_empties_the_tmpdir_and_keeps_its_own_directory, 0, 3);
	tcase_add_test(t, test_worker_empties_a_tmpdir_that_was_long_empty);
	tcase_add_test(t, test_worker_takes_an_environment_of_a_megabyte);

	t = add_case(s, "limits and the tree", start_all);
	tcase_add_test(t, test_worker_timeout_kills_the_whole_tree);
	tcase_add_test(t, test_worker_timeout_is_success_when_the_job_exits_0);
	tcase_add_loop_test(t, test_worker_cancel_ends_the_job, 0, ARRAY_SIZE(cancels));
	tcase_add_test(t, test_worker_ignores_a_cancel_for_another_token);
	tcase_add_test(t, test_worker_delivers_a_signal_to_the_whole_tree_once);
	tcase_add_test(t, test_worker_kill_signal_is_the_jobs_own_end);
	tcase_add_loop_test(t, test_worker_ends_what_a_job_leaves_behind, 0, ARRAY_SIZE(strays));
	tcase_add_test(t, test_worker_reaps_orphans_while_the_job_runs);

	t = add_case(s, "output", start_all);
	tcase_add_test(t, test_worker_merges_streams_in_their_order);
	tcase_add_test(t, test_worker_sends_64_KiB_and_keeps_more_as_a_file);
	tcase_add_test(t, test_worker_cuts_the_middle_out_of_big_output);
	tcase_add_loop_test(t, test_worker_small_limit_travels_without_its_hole, 0, ARRAY_SIZE(small_limits));
	tcase_add_test(t, test_worker_gives_a_holder_outside_of_the_tree_one_second);
}

static void add_life(Suite *s)
{
	TCase *t = add_case(s, "marks, epoch, daemon away", start_all);

	tcase_add_test(t, test_worker_drops_a_message_of_an_older_epoch);
	tcase_add_test(t, test_worker_without_a_free_mark_takes_nothing);
	tcase_add_test(t, test_worker_at_work_takes_one_job_ahead);
	tcase_add_loop_test(t, test_worker_returns_what_has_not_begun, 0, 2);
	tcase_add_test(t, test_worker_that_leaves_returns_what_has_not_begun);
	tcase_add_test(t, test_worker_delivers_a_signal_to_a_job_sent_ahead);
	tcase_add_test(t, test_worker_without_its_daemon_forgets_what_has_not_begun);
	tcase_add_test(t, test_worker_keeps_the_job_and_its_end_while_the_daemon_is_away);
	tcase_add_test(t, test_worker_names_a_running_job_after_a_redial_and_reports_it);
	tcase_add_test(t, test_worker_reports_after_welcome_what_ended_since_its_hello);
	tcase_add_test(t, test_worker_dials_again_when_its_version_is_refused);
	tcase_add_test(t, test_worker_hangs_up_on_a_broken_frame_and_lives);

	t = add_case(s, "leaving", start_all);
	tcase_add_test(t, test_worker_retires_when_its_last_job_is_recorded);
	tcase_add_test(t, test_worker_stops_its_job_on_SIGTERM);
	tcase_add_test(t, test_worker_stops_without_a_daemon);
	tcase_add_test(t, test_worker_outlives_its_supervisor_until_its_job_is_recorded);
	tcase_add_test(t, test_worker_calls_a_kill_by_shutdown_lost);
	tcase_add_test(t, test_worker_idle_without_a_supervisor_retires);

	t = add_case(s, "full disk", start_on_a_small_disk);
	tcase_add_test(t, test_worker_waits_for_room_on_the_disk);
	tcase_add_test(t, test_worker_drops_what_does_not_fit_when_the_job_has_ended);
}

Suite *worker_suite(void)
{
	Suite *s = suite_create("worker");

	add_jobs(s);
	add_life(s);
	return s;
}
