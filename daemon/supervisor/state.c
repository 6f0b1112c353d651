/* The state directory as the supervisor finds and leaves it. */
#include "state.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

#include "util.h"
#include "worker_proto.h"

#define LOG_NAME "supervisor.log"
#define LOG_BYTES_MAX (1 << 20)

static const char *const directories[] = {
	WORKER_DIRECTORY, SCRATCH_DIRECTORY, OUTPUT_DIRECTORY, INPUT_DIRECTORY, TMP_DIRECTORY, SLOT_DIRECTORY,
};

int state_enter(const char *path)
{
	int r, fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0)
		return -errno;
	r = fchdir(fd) == 0 ? 0 : -errno;
	for (size_t i = 0; i < ARRAY_SIZE(directories) && r == 0; i++)
		if (mkdirat(fd, directories[i], 0700) < 0 && errno != EEXIST)
			r = -errno;
	if (r == 0)
		return fd;
	close_fd(&fd);
	return r;
}

static pid_t read_pid(int fd)
{
	char text[16];
	ssize_t n = pread(fd, text, sizeof(text), 0);
	struct slice line = { text, (size_t)MAX(n, 0) };
	uint64_t pid = 0;

	if (line.len && text[line.len - 1] == '\n')
		line.len--;
	(void)slice_to_uint(line, INT32_MAX, &pid);
	return (pid_t)pid;
}

/* The descriptor is left open on purpose: the lock is ours until the kernel closes it. */
int state_lock(int state_fd, pid_t *ret_owner)
{
	struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
	char text[16];
	int len, r, fd = openat(state_fd, SUPERVISOR_LOCK_NAME, O_RDWR | O_CREAT | O_CLOEXEC, 0600);

	if (fd < 0)
		return -errno;
	if (fcntl(fd, F_OFD_SETLK, &lock) < 0) {
		r = errno == EACCES ? -EWOULDBLOCK : -errno;
		*ret_owner = read_pid(fd);
		close(fd);
		return r;
	}
	len = snprintf(text, sizeof(text), "%d\n", (int)getpid());
	r = ftruncate(fd, 0) < 0 ? -errno : pwrite_all(fd, text, (size_t)len, 0);
	if (r < 0)
		close(fd);
	return r;
}

void state_log(int state_fd, const char *line)
{
	static int fd = -1;
	struct stat st;

	if (fd < 0)
		fd = openat(state_fd, LOG_NAME, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	if (fd < 0)
		return;
	if (fstat(fd, &st) == 0 && st.st_size >= LOG_BYTES_MAX)
		(void)!ftruncate(fd, 0);
	(void)!dprintf(fd, "%s\n", line);
}
