#include "worker_host.h"

#include <check.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <sys/wait.h>

#define POOL "default"
#define SLOT 3

static void make_directory(const char *path)
{
	ck_assert_msg(mkdir(path, 0700) == 0, "cannot make %s: %s", path, strerror(errno));
}

void host_open(struct worker_host *h, const char *name)
{
	const char *binary = getenv("JOBPOOL_WORKER_BINARY"), *base = getenv("TMPDIR");

	*h = (struct worker_host){ .epoch = 11, .worker_file = -1, .supervisor_pipe = -1, .listener = -1, .connection = -1 };
	ck_assert_msg(binary && realpath(binary, h->binary), "JOBPOOL_WORKER_BINARY must name the jobpool-worker to test");
	signal(SIGPIPE, SIG_IGN);
	ck_assert_int_lt(snprintf(h->directory, sizeof(h->directory), "%s/%s.XXXXXX", base ? base : "/tmp", name), PATH_MAX);
	ck_assert_ptr_nonnull(mkdtemp(h->directory));
	ck_assert_int_eq(chdir(h->directory), 0);
	make_directory(WORKER_DIRECTORY);
	make_directory(INPUT_DIRECTORY);
}

void host_remove_tree(const char *path)
{
	pid_t pid = fork();

	if (pid == 0) {
		execlp("rm", "rm", "-rf", "--", path, NULL);
		_exit(127);
	}
	waitpid(pid, NULL, 0);
}

void host_close(struct worker_host *h)
{
	if (h->worker) {
		kill(h->worker, SIGKILL);
		waitpid(h->worker, NULL, __WALL);
	}
	host_hang_up(h);
	close_fd(&h->worker_file);
	close_fd(&h->supervisor_pipe);
	ck_assert_int_eq(chdir("/"), 0);
	host_remove_tree(h->directory);
}

/* -- the supervisor's side ------------------------------------------------------------------------------------- */

/* Between fork and exec, as uv_spawn leaves it: descriptors 0 to 4, a session of its own. */
static _Noreturn void become_worker(const struct worker_host *h, int file_fd, int pipe_fd)
{
	char id[24], slot[12];
	int null_fd = open("/dev/null", O_RDWR);

	prctl(PR_SET_PDEATHSIG, SIGKILL); /* a failed test must not leave it behind */
	file_fd = fcntl(file_fd, F_DUPFD, 10);
	pipe_fd = fcntl(pipe_fd, F_DUPFD, 10);
	for (int fd = 0; fd < 3; fd++)
		dup2(null_fd, fd);
	dup2(file_fd, WORKER_FD_FILE);
	dup2(pipe_fd, WORKER_FD_SUPERVISOR);
	close_range(WORKER_FD_SUPERVISOR + 1, ~0U, 0);
	setsid();
	snprintf(id, sizeof(id), "%" PRIu64, h->worker_id);
	snprintf(slot, sizeof(slot), "%d", SLOT);
	execl(h->binary, "jobpool-worker", id, POOL, slot, "/run/client.sock", NULL);
	_exit(127);
}

void host_start_worker(struct worker_host *h)
{
	int directory_fd = open(WORKER_DIRECTORY, O_RDONLY | O_DIRECTORY | O_CLOEXEC), file_fd, pipe_fds[2];

	ck_assert_int_eq(h->worker, 0);
	h->worker_id++;
	ck_assert_int_eq(worker_file_create(directory_fd, h->worker_id, POOL, SLOT, &file_fd), 0);
	ck_assert_int_eq(worker_file_open(directory_fd, h->worker_id, &h->worker_file), 0);
	ck_assert_int_eq(pipe2(pipe_fds, O_CLOEXEC), 0);
	h->worker = fork();
	ck_assert_int_ge(h->worker, 0);
	if (h->worker == 0)
		become_worker(h, file_fd, pipe_fds[0]);
	h->supervisor_pipe = pipe_fds[1];
	close_fd(&pipe_fds[0]);
	close_fd(&file_fd);
	close_fd(&directory_fd);
}

void host_bury_worker(struct worker_host *h)
{
	char path[64];

	h->worker = 0;
	close_fd(&h->connection);
	close_fd(&h->supervisor_pipe);
	close_fd(&h->worker_file);
	snprintf(path, sizeof(path), WORKER_DIRECTORY "/%" PRIu64, h->worker_id);
	ck_assert_int_eq(unlink(path), 0);
}

/* -- the daemon's side ----------------------------------------------------------------------------------------- */

void host_listen(struct worker_host *h)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX, .sun_path = WORKER_SOCKET_NAME };

	unlink(WORKER_SOCKET_NAME);
	h->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	ck_assert_int_eq(bind(h->listener, (struct sockaddr *)&address, sizeof(address)), 0);
	ck_assert_int_eq(listen(h->listener, 4), 0);
}

void host_accept(struct worker_host *h)
{
	struct timeval patience = { .tv_sec = HOST_PATIENCE_MS / 1000 };

	setsockopt(h->listener, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	close_fd(&h->connection);
	h->connection = accept4(h->listener, NULL, NULL, SOCK_CLOEXEC);
	ck_assert_msg(h->connection >= 0, "no worker has dialled: %s", strerror(errno));
	setsockopt(h->connection, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
}

void host_hang_up(struct worker_host *h)
{
	close_fd(&h->connection);
	close_fd(&h->listener);
}

void host_send(struct worker_host *h, enum message_type type, const void *body, size_t len, const struct slice *tails,
	       size_t count)
{
	struct buf out = { 0 };

	message_append(&out, type, h->epoch, body, len, tails, count);
	ck_assert(!out.failed);
	/* A worker that is just dying is no fault of the test: its death is told by waitpid(). */
	int r = write_all(h->connection, out.data, out.len);
	ck_assert_msg(r == 0 || r == -EPIPE || r == -ECONNRESET, "cannot send message %d: %s", type, strerror(-r));
	buf_free(&out);
}

void host_send_run(struct worker_host *h, struct message_run *run, const struct spec *spec, struct slice environment,
		   struct slice queue)
{
	struct buf data = { 0 };

	ck_assert_int_eq(spec_encode(spec, &data), 0);
	struct slice tails[] = { { data.data, data.len }, environment, queue };
	run->spec_bytes = (uint32_t)tails[0].len;
	run->environment_bytes = (uint32_t)tails[1].len;
	run->queue_bytes = (uint32_t)tails[2].len;
	host_send(h, MESSAGE_RUN, run, sizeof(*run), tails, ARRAY_SIZE(tails));
	buf_free(&data);
}

void host_send_recorded(struct worker_host *h, const uint8_t token[TOKEN_BYTES])
{
	struct message_token message;

	memcpy(message.token, token, TOKEN_BYTES);
	host_send(h, MESSAGE_RECORDED, &message, sizeof(message), NULL, 0);
}

struct slice host_receive(struct worker_host *h, struct message_header *ret_header)
{
	int r = read_all(h->connection, ret_header, sizeof(*ret_header));
	char *frame;

	if (r == -EPIPE || r == -ECONNRESET)
		return (struct slice){ NULL, 0 };
	ck_assert_msg(r == 0, "no message from the worker: %s", strerror(-r));
	ck_assert_uint_ge(ret_header->length, sizeof(*ret_header));
	ck_assert_uint_le(ret_header->length, WORKER_FRAME_BYTES_MAX);
	ck_assert_ptr_nonnull(frame = malloc(ret_header->length));
	memcpy(frame, ret_header, sizeof(*ret_header));
	ck_assert_int_eq(read_all(h->connection, frame + sizeof(*ret_header), ret_header->length - sizeof(*ret_header)), 0);
	return (struct slice){ frame, ret_header->length };
}
