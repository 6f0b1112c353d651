/* Zeros are written, not fallocate()d: a block that was only promised changes the file system's data when it is first written. */
#include "wal_file.h"

#include <fcntl.h>
#include <sys/stat.h>

#include "schema.h"
#include "util.h"

#define WAL_FILE SCHEMA_FILE "-wal"
#define PIECE_BYTES (UINT64_C(256) << 10)

static int fill(int fd, uint64_t from, uint64_t to)
{
	static char zeros[PIECE_BYTES]; /* never written to, so never in memory */
	int r = 0;

	for (uint64_t at = from; r == 0 && at < to; at += PIECE_BYTES)
		r = pwrite_all(fd, zeros, MIN(PIECE_BYTES, to - at), (off_t)at);
	return r == 0 && fdatasync(fd) < 0 ? -errno : r;
}

int wal_file_allocate(uint64_t bytes)
{
	struct stat st = { 0 };
	/* Another program's file of this name is none of ours, so it is not made here. SQLite holds no lock on it that closing would drop. */
	int fd = open(WAL_FILE, O_WRONLY | O_NOFOLLOW | O_CLOEXEC);
	int r = fd < 0 || fstat(fd, &st) < 0 ? -errno : 0;

	if (r == 0 && (uint64_t)st.st_size < bytes) {
		r = fill(fd, (uint64_t)st.st_size, bytes);
		if (r < 0 && ftruncate(fd, st.st_size) < 0)
			r = -errno;
	}
	close_fd(&fd);
	return r;
}
