/* A preloaded library that makes every fsync and fdatasync slower by SLOWSYNC_US microseconds: what a server does on an
 * ordinary disk can then be seen on a fast one. */
#include <dlfcn.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

static int sync_slowly(const char *name, int fd)
{
	const char *text = getenv("SLOWSYNC_US");
	long us = text ? strtol(text, NULL, 10) : 0;
	struct timespec pause = { .tv_sec = us / 1000000, .tv_nsec = us % 1000000 * 1000 };
	int (*next)(int);

	*(void **)&next = dlsym(RTLD_NEXT, name);
	nanosleep(&pause, NULL);
	return next(fd);
}

int fsync(int fd)
{
	return sync_slowly("fsync", fd);
}

int fdatasync(int fd)
{
	return sync_slowly("fdatasync", fd);
}
