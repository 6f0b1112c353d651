/* Emptying a directory that strangers filled: as flat as possible. What is in a subdirectory is first renamed upwards, so
 * that a tree of any depth costs neither stack nor descriptors nor long paths, and no link is ever followed. */
#include "tmpdir.h"

#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/stat.h>

#include "worker_proto.h"

/* How long file times may stand still: where they have fractions of a second, a tick of the kernel's clock (10 ms at HZ=100). */
#define FINE_TICK_MS 50u
#define COARSE_TICK_MS 2500u

static int open_directory(int at_fd, const char *path)
{
	int fd = openat(at_fd, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

	return fd < 0 ? -errno : fd;
}

int tmpdir_init(struct tmpdir *t, uint64_t worker_id)
{
	*t = (struct tmpdir){ 0 };
	snprintf(t->path, sizeof(t->path), TMP_DIRECTORY "/%" PRIu64, worker_id);
	return mkdir(t->path, 0700) < 0 && errno != EEXIST ? -errno : 0;
}

static int is_dots(const char *name)
{
	return strcmp(name, ".") == 0 || strcmp(name, "..") == 0;
}

/* From where @fd stands: 1: nothing but "." and ".."; 0: something; -errno. */
static int is_empty(int fd)
{
	char entries[1024] __attribute__((aligned(8)));
	ssize_t n;

	while ((n = getdents64(fd, entries, sizeof(entries))) > 0) {
		const struct dirent64 *entry;
		for (ssize_t at = 0; at < n; at += entry->d_reclen) {
			entry = (const struct dirent64 *)(entries + at);
			if (!is_dots(entry->d_name))
				return 0;
		}
	}
	return n < 0 ? -errno : 1;
}

/* A stream over the directory from its beginning; @fd itself stays the caller's. */
static DIR *list_directory(int fd)
{
	int copy = open_directory(fd, ".");
	DIR *directory = copy < 0 ? NULL : fdopendir(copy);

	if (!directory)
		close_fd(&copy);
	return directory;
}

/* A directory moves only where we may write to it: its ".." changes. */
static int move_entry(int from_fd, const char *name, int to_fd, const char *target)
{
	if (renameat(from_fd, name, to_fd, target) == 0)
		return 0;
	if (errno != EACCES || fchmodat(from_fd, name, 0700, AT_SYMLINK_NOFOLLOW) < 0)
		return -errno;
	return renameat(from_fd, name, to_fd, target) == 0 ? 0 : -errno;
}

/* Move everything out of the subdirectory @name into @fd, under names that are not taken. Counts what moved. */
static unsigned lift_entries(int fd, const char *name, uint64_t *serial)
{
	const struct dirent *entry;
	unsigned moved = 0;

	int sub_fd = open_directory(fd, name);
	if (sub_fd < 0)
		return 0;
	DIR *directory = list_directory(sub_fd);
	while (directory && (entry = readdir(directory))) {
		char target[40];
		if (is_dots(entry->d_name))
			continue;
		/* A job's own file of that name is just overwritten, a directory in the way is met by the next number. */
		snprintf(target, sizeof(target), ".lifted.%" PRIu64, ++*serial);
		if (move_entry(sub_fd, entry->d_name, fd, target) == 0)
			moved++;
	}
	if (directory)
		closedir(directory);
	close_fd(&sub_fd);
	return moved;
}

/* One pass over the directory: true when something was removed or moved, so that another pass makes sense. */
static int empty_pass(int fd, uint64_t *serial)
{
	const struct dirent *entry;
	unsigned progress = 0;

	DIR *directory = list_directory(fd);
	if (!directory)
		return 0;
	while ((entry = readdir(directory))) {
		const char *name = entry->d_name;
		if (is_dots(name))
			continue;
		if (unlinkat(fd, name, 0) == 0 || unlinkat(fd, name, AT_REMOVEDIR) == 0) {
			progress++;
		} else if (errno == ENOTEMPTY || errno == EEXIST) {
			if (fchmodat(fd, name, 0700, 0) == 0)
				progress += lift_entries(fd, name, serial);
		}
	}
	closedir(directory);
	return progress > 0;
}

/* Whatever happens in a directory moves its ctime, which nobody can set; but two changes in one tick of the clock get the same. So
 * an empty directory is known again when its last change was over a tick ago by the time it was looked at (git's rule for its index). */
static void remember_empty(struct tmpdir *t, int fd)
{
	const struct timespec *changed = &t->empty.st_ctim;

	if (fstat(fd, &t->empty) < 0 || (uint64_t)changed->tv_sec * 1000 + (uint64_t)changed->tv_nsec / 1000000 +
						(changed->tv_nsec ? FINE_TICK_MS : COARSE_TICK_MS) > now_wall_ms())
		t->empty.st_ino = 0;
}

static bool is_known_empty(const struct tmpdir *t)
{
	struct stat now;

	return t->empty.st_ino && lstat(t->path, &now) == 0 && now.st_ino == t->empty.st_ino && now.st_dev == t->empty.st_dev &&
	       now.st_ctim.tv_sec == t->empty.st_ctim.tv_sec && now.st_ctim.tv_nsec == t->empty.st_ctim.tv_nsec;
}

/* Opened by its name each time: a job may have moved the directory away, and what it is now is not ours to empty. */
int tmpdir_empty(struct tmpdir *t)
{
	uint64_t serial = 0;

	if (is_known_empty(t))
		return 0;
	t->empty.st_ino = 0;
	int fd = open_directory(AT_FDCWD, t->path);
	if (fd == -ENOENT) {
		if (mkdir(t->path, 0700) < 0)
			return -errno;
		return 0;
	}
	if (fd < 0)
		return fd;
	int r = is_empty(fd);
	if (r == 1)
		remember_empty(t, fd);
	if (r == 0) {
		fchmod(fd, 0700);
		while (empty_pass(fd, &serial))
			;
		r = lseek(fd, 0, SEEK_SET) < 0 ? -errno : is_empty(fd);
	}
	close_fd(&fd);
	return r == 1 ? 0 : r < 0 ? r : -ENOTEMPTY;
}

void tmpdir_deinit(struct tmpdir *t)
{
	(void)tmpdir_empty(t);
	rmdir(t->path);
}
