/* Which daemon: the socket that was named, else the user's own, else the system's; else the user's own daemon is
 * started. */
#include "connect.h"

#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>

#include "buf.h"
#include "socket_path.h"

#define DAEMON_NAME "jobpoold"
#define LOG_NAME "jobpoold.log"
#define START_MS 10000           /* how long a daemon that we started may take to answer */
#define START_POLL_MS 20
#define RIVAL_MS 1000            /* it ended: perhaps because another client's daemon was faster, and answers soon */
#define LOG_TAIL_BYTES 2000

/* The socket to use, and whether it was found by rule (so that a daemon may be started for it). */
struct choice {
	const char *path;
	bool by_rule;
	char user_path[SOCKET_PATH_BYTES];
};

static void on_waiting(const char *socket_path, void *context)
{
	(void)context;
	cli_say("waiting for the daemon at %s", socket_path);
}

static int try_open(const struct cli *cli, const char *path, uint64_t reconnect_ms, struct jobpool **ret_jobpool,
		    struct jobpool_error *error)
{
	struct jobpool_options options = {
		.socket_path = path,
		.reconnect_ms = reconnect_ms,
		.interrupt_fd = cli->interrupt_fd,
		.on_waiting = on_waiting,
	};

	return jobpool_open(&options, ret_jobpool, error);
}

static int choose(const struct cli *cli, struct choice *ret_choice)
{
	const char *named = cli_option(cli, "socket");
	int r;

	if (!named)
		named = getenv("JOBPOOL_SOCKET");
	if (named && *named) {
		ret_choice->path = named;
		return 0;
	}
	r = socket_path_user(ret_choice->user_path, sizeof(ret_choice->user_path), false);
	if (r < 0) {
		cli_say("the directory of your own daemon's socket (/tmp/jobpool-%u, or in $XDG_RUNTIME_DIR) cannot be "
			"used: %s; it must be a directory of yours that only you may use. Remove it, or name a socket "
			"with --socket",
			(unsigned)geteuid(), strerror(-r));
		return cli->verb->flags & VERB_PROPAGATES ? EXIT_JOBPOOL : EXIT_UNREACHABLE;
	}
	ret_choice->by_rule = true;
	ret_choice->path = ret_choice->user_path;
	if (access(ret_choice->user_path, F_OK) < 0 && access(SOCKET_PATH_SYSTEM, F_OK) == 0) {
		ret_choice->path = SOCKET_PATH_SYSTEM;
		ret_choice->by_rule = false;
	}
	return 0;
}

/* --- Starting the user's own daemon --- */

/* jobpoold beside this program (a build directory), or where it was installed. */
static int find_daemon(char ret_path[PATH_MAX])
{
	ssize_t len = readlink("/proc/self/exe", ret_path, PATH_MAX - sizeof(DAEMON_NAME) - 1);
	char *slash;

	if (len > 0) {
		ret_path[len] = '\0';
		slash = strrchr(ret_path, '/');
		if (slash) {
			strcpy(slash + 1, DAEMON_NAME);
			if (access(ret_path, X_OK) == 0)
				return 0;
		}
	}
	strcpy(ret_path, SBINDIR "/" DAEMON_NAME);
	return access(ret_path, X_OK) == 0 ? 0 : -errno;
}

/* In the child: never returns. */
static void exec_daemon(const char *program, const char *socket_path, const char *state_directory, int log_fd)
{
	const char *argv[] = { program, "--socket", socket_path, "--state-dir", state_directory, NULL };
	int null_fd = open("/dev/null", O_RDWR);

	setsid();
	umask(077);
	if (null_fd >= 0 && dup2(null_fd, 0) >= 0 && dup2(null_fd, 1) >= 0 && dup2(log_fd, 2) >= 0 && chdir("/") == 0) {
		close_range(3, ~0u, 0); /* the daemon must not hold our caller's pipes open */
		execv(program, (char *const *)argv);
	}
	dprintf(2, "cannot start %s: %s\n", program, strerror(errno));
	_exit(EXIT_JOBPOOL);
}

/* The last lines that the daemon wrote to @log_fd from @from on, on stderr. */
static void show_log_tail(int log_fd, off_t from, const char *log_path)
{
	char tail[LOG_TAIL_BYTES];
	struct stat st;
	ssize_t n;

	if (fstat(log_fd, &st) < 0)
		return;
	if (st.st_size - from > LOG_TAIL_BYTES)
		from = st.st_size - LOG_TAIL_BYTES;
	n = pread(log_fd, tail, sizeof(tail), from);
	cli_say("it ended before it answered; its log %s ends with:", log_path);
	if (n > 0)
		fwrite(tail, 1, (size_t)n, stderr);
}

/* Wait until the daemon, our child @pid, answers: 0, or -errno when it ended or takes too long. */
static int await_daemon(const struct cli *cli, pid_t pid, const char *path, uint64_t reconnect_ms,
			struct jobpool **ret_jobpool)
{
	uint64_t end_ms = now_monotonic_ms() + START_MS;
	struct timespec pause = { .tv_nsec = START_POLL_MS * 1000000L };
	struct jobpool_error error;
	bool ended = false;

	while (now_monotonic_ms() < end_ms) {
		if (try_open(cli, path, reconnect_ms, ret_jobpool, &error) == 0)
			return 0;
		if (!ended && waitpid(pid, NULL, WNOHANG) != 0) {
			ended = true;
			end_ms = now_monotonic_ms() + RIVAL_MS;
		}
		nanosleep(&pause, NULL);
	}
	return ended ? -ECHILD : -ETIMEDOUT;
}

static int start_daemon(struct cli *cli, const char *socket_path, uint64_t reconnect_ms)
{
	char program[PATH_MAX], state[PATH_MAX], log_path[PATH_MAX + sizeof(LOG_NAME) + 1], path[SOCKET_PATH_BYTES];
	int r, log_fd;
	off_t log_from;
	pid_t pid;

	r = find_daemon(program);
	if (r < 0) {
		cli_say("no daemon answers at %s, and there is no %s to start (looked beside this program and in %s)",
			socket_path, DAEMON_NAME, SBINDIR);
		return r;
	}
	r = socket_path_user(path, sizeof(path), true);
	if (r < 0) {
		cli_say("cannot start your own daemon: the directory of its socket %s cannot be made: %s", socket_path,
			strerror(-r));
		return r;
	}
	r = state_directory_user(state, sizeof(state), false);
	if (r < 0) {
		cli_say("cannot start your own daemon: there is no place for its state: %s; set HOME or XDG_STATE_HOME",
			strerror(-r));
		return r;
	}
	r = state_directory_user(state, sizeof(state), true);
	if (r < 0) {
		cli_say("cannot start your own daemon: its state directory %s cannot be made: %s", state, strerror(-r));
		return r;
	}
	snprintf(log_path, sizeof(log_path), "%s/%s", state, LOG_NAME);
	log_fd = open(log_path, O_RDWR | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
	if (log_fd < 0) {
		r = -errno;
		cli_say("cannot start your own daemon: %s: %s", log_path, strerror(-r));
		return r;
	}
	log_from = lseek(log_fd, 0, SEEK_END);
	cli_say("no daemon answers at %s; starting your own, with its state in %s", socket_path, state);
	pid = fork();
	if (pid == 0)
		exec_daemon(program, socket_path, state, log_fd);
	r = pid < 0 ? -errno : await_daemon(cli, pid, socket_path, reconnect_ms, &cli->jobpool);
	if (pid < 0)
		cli_say("cannot start a process: %s", strerror(-r));
	else if (r == -ECHILD)
		show_log_tail(log_fd, log_from, log_path);
	else if (r == -ETIMEDOUT)
		cli_say("it did not answer within %d s; see its log %s", START_MS / 1000, log_path);
	close_fd(&log_fd);
	return r;
}

/* --- Connecting --- */

static bool is_nobody(int r)
{
	return r == -ENOENT || r == -ECONNREFUSED;
}

static bool may_start(const struct cli *cli, const struct choice *choice)
{
	const char *autostart = getenv("JOBPOOL_AUTOSTART");

	return choice->by_rule && cli->verb->flags & VERB_STARTS && !(autostart && strcmp(autostart, "0") == 0);
}

/* In the library 0 stands for its default; here for what the user said. */
static uint64_t reconnect_time(const struct cli *cli)
{
	int64_t ms = cli_timeout(cli, "reconnect-timeout");

	return ms < 0 ? 0 : (uint64_t)MAX(ms, 1);
}

static int unreachable(const struct cli *cli)
{
	return cli->verb->flags & VERB_PROPAGATES ? EXIT_JOBPOOL : EXIT_UNREACHABLE;
}

int cli_connect(struct cli *cli)
{
	struct choice choice = { 0 };
	struct jobpool_error error;
	uint64_t reconnect_ms = reconnect_time(cli);
	int r = choose(cli, &choice);

	if (r)
		return r;
	r = try_open(cli, choice.path, reconnect_ms, &cli->jobpool, &error);
	if (is_nobody(r) && may_start(cli, &choice))
		return start_daemon(cli, choice.path, reconnect_ms) < 0 ? unreachable(cli) : 0;
	if (is_nobody(r))
		cli_say("no daemon answers at %s: %s; start one with `jobpoold --socket %s`, or name another socket "
			"with --socket or JOBPOOL_SOCKET",
			choice.path, strerror(-r), choice.path);
	else if (r == -EACCES)
		cli_say("you may not use the daemon at %s: it serves its own user and root", choice.path);
	else if (r < 0)
		cli_say("%s", error.message);
	if (r == -EACCES && !(cli->verb->flags & VERB_PROPAGATES))
		return EXIT_DENIED;
	return r < 0 ? unreachable(cli) : 0;
}

struct jobpool *cli_connect_again(const struct cli *cli)
{
	struct jobpool_error error;
	struct jobpool_options options = { .socket_path = jobpool_socket_path(cli->jobpool) };
	struct jobpool *jobpool = NULL;

	if (jobpool_open(&options, &jobpool, &error) < 0)
		cli_say("%s", error.message);
	return jobpool;
}
