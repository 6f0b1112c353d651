/* Starting a worker process. The worker file's lock is what tells a living worker from a dead one, so its descriptor
 * goes to exactly that worker, and our copy is closed at once. */
#include "spawn.h"

#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>

#include "worker_file.h"

#define WORKER_PROGRAM "jobpool-worker"
#define WORKER_BINARY_ENVIRONMENT "JOBPOOL_WORKER_BINARY" /* for tests, and for running from a build tree */

/* Resolved once: an upgrade replaces the file, the path stays. */
static char *find_binary(void)
{
	const char *given = getenv(WORKER_BINARY_ENVIRONMENT);
	char self[PATH_MAX], *path, *slash;
	ssize_t n;

	if (given && *given)
		return strdup(given);
	n = readlink("/proc/self/exe", self, sizeof(self) - 1);
	self[MAX(n, 0)] = '\0';
	slash = strrchr(self, '/');
	if (slash) {
		*slash = '\0';
		if (asprintf(&path, "%s/" WORKER_PROGRAM, self) < 0)
			return NULL;
		if (access(path, X_OK) == 0)
			return path;
		free(path);
	}
	return strdup(LIBEXECDIR "/" WORKER_PROGRAM);
}

int spawn_init(struct spawn *s, int state_fd)
{
	int r;

	*s = (struct spawn){ .directory_fd = -1, .alive_fds = { -1, -1 } };
	s->directory_fd = openat(state_fd, WORKER_DIRECTORY, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (s->directory_fd < 0 || pipe2(s->alive_fds, O_CLOEXEC) < 0) {
		r = -errno;
		goto fail;
	}
	s->binary = find_binary();
	if (s->binary)
		return 0;
	r = -ENOMEM;
fail:
	spawn_deinit(s);
	return r;
}

void spawn_deinit(struct spawn *s)
{
	close_fd(&s->directory_fd);
	close_fd(&s->alive_fds[0]);
	close_fd(&s->alive_fds[1]);
	free(s->binary);
	s->binary = NULL;
}

static int spawn_with_file(struct spawn *s, uv_loop_t *loop, const struct message_start *start, int file_fd,
			   uv_process_t *process, uv_exit_cb on_exit)
{
	char id[24], slot[16], pool[sizeof(start->pool)], socket[sizeof(start->socket)];
	char *arguments[] = { (char *)WORKER_PROGRAM, id, pool, slot, socket, NULL };
	uv_stdio_container_t stdio[] = {
		[0 ... 2] = { .flags = UV_IGNORE }, /* libuv opens /dev/null */
		[WORKER_FD_FILE] = { .flags = UV_INHERIT_FD, .data.fd = file_fd },
		[WORKER_FD_SUPERVISOR] = { .flags = UV_INHERIT_FD, .data.fd = s->alive_fds[0] },
	};
	uv_process_options_t options = {
		.exit_cb = on_exit,
		.file = s->binary,
		.args = arguments,
		.flags = UV_PROCESS_DETACHED,
		.stdio = stdio,
		.stdio_count = ARRAY_SIZE(stdio),
	};

	snprintf(id, sizeof(id), "%" PRIu64, start->worker_id);
	snprintf(slot, sizeof(slot), "%" PRIu32, start->slot);
	snprintf(pool, sizeof(pool), "%s", start->pool);
	snprintf(socket, sizeof(socket), "%s", start->socket);
	return uv_spawn(loop, process, &options);
}

int spawn_worker(struct spawn *s, uv_loop_t *loop, const struct message_start *start, uv_process_t *process,
		 uv_exit_cb on_exit)
{
	int r, file_fd = -1;

	r = name_is_valid(slice_of(start->pool)) ? 0 : -EINVAL;
	if (r == 0)
		r = worker_file_create(s->directory_fd, start->worker_id, start->pool, start->slot, &file_fd);
	if (r == 0)
		r = spawn_with_file(s, loop, start, file_fd, process, on_exit);
	close_fd(&file_fd);
	return r;
}
