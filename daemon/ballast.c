/* The ballast file (see ballast.h). */
#include "ballast.h"

#include <fcntl.h>
#include <sys/statvfs.h>

#include "util.h"

/* What a process without privileges can still write here. */
static uint64_t free_bytes(void)
{
	struct statvfs disk;

	return statvfs(".", &disk) == 0 ? (uint64_t)disk.f_bavail * disk.f_frsize : 0;
}

int ballast_take(struct ballast *ballast)
{
	int fd, r;

	if (ballast->held)
		return 0;
	/* Asked first, not tried: a try that fails takes every last block from everybody else for a moment. */
	if (free_bytes() < ballast->bytes + ballast->reserve_bytes)
		return -ENOSPC;
	fd = open(BALLAST_FILE, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return -errno;
	r = -posix_fallocate(fd, 0, (off_t)ballast->bytes);
	close_fd(&fd);
	if (r < 0)
		unlink(BALLAST_FILE);
	ballast->held = r == 0;
	return r;
}

void ballast_drop(struct ballast *ballast)
{
	unlink(BALLAST_FILE);
	ballast->held = false;
}

bool ballast_has_room(const struct ballast *ballast)
{
	return ballast->held && free_bytes() >= ballast->reserve_bytes;
}
