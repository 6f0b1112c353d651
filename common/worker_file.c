/* Reads and writes of the worker file's parts, each by one pread or pwrite of its own range: the three writers never
 * touch each other's bytes, so nothing is locked but the proof of life itself. */
#include "worker_file.h"

#include <fcntl.h>
#include <inttypes.h>
#include <sched.h>
#include <stdio.h>

#define EPOCH_OFFSET 512
#define MARKS_OFFSET 1024
#define MARK_STRIDE 256
#define RETIRED_OFFSET 3840
/* A reader may meet a mark half-written (buffered reads and writes of a page are not atomic): it looks again. */
#define MARK_READ_TRIES 16

static const char file_magic[8] = "jobpool";

_Static_assert(sizeof(struct worker_file_header) <= EPOCH_OFFSET, "the header has its room");
_Static_assert(sizeof(struct mark) <= MARK_STRIDE, "a mark has its room");
_Static_assert(MARKS_OFFSET + MARKS_PER_WORKER * MARK_STRIDE <= RETIRED_OFFSET, "all marks have their room");

static void file_name(uint64_t worker_id, char ret_name[24])
{
	snprintf(ret_name, 24, "%" PRIu64, worker_id);
}

/* Open file description locks belong to the description, so they pass over fork and exec and end with its last copy;
 * classic locks would vanish with any close() of the file in this process. */
static struct flock whole_file(short type)
{
	return (struct flock){ .l_type = type, .l_whence = SEEK_SET };
}

static int write_birth(int fd, uint64_t worker_id, const char *pool, uint32_t slot)
{
	char page[WORKER_FILE_BYTES] = { 0 };
	struct worker_file_header header = {
		.version = WORKER_FILE_VERSION,
		.worker_id = worker_id,
		.slot = slot,
	};
	int r;

	if (strlen(pool) >= sizeof(header.pool))
		return -EINVAL;
	memcpy(header.magic, file_magic, sizeof(header.magic));
	strcpy(header.pool, pool);
	r = boot_id_read(header.boot_id);
	if (r < 0)
		return r;
	memcpy(page, &header, sizeof(header));
	/* Real blocks before the first mark: where the file system cannot promise them, the written page has to do. */
	if (fallocate(fd, 0, 0, sizeof(page)) < 0 && errno != EOPNOTSUPP && errno != ENOSYS)
		return -errno;
	return pwrite_all(fd, page, sizeof(page), 0);
}

int worker_file_create(int directory_fd, uint64_t worker_id, const char *pool, uint32_t slot, int *ret_fd)
{
	struct flock lock = whole_file(F_WRLCK);
	char name[24];
	int r;

	file_name(worker_id, name);
	int fd = openat(directory_fd, name, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return -errno;
	r = fcntl(fd, F_OFD_SETLK, &lock) < 0 ? -errno : write_birth(fd, worker_id, pool, slot);
	if (r < 0) {
		unlinkat(directory_fd, name, 0);
		close_fd(&fd);
		return r;
	}
	*ret_fd = fd;
	return 0;
}

int worker_file_open(int directory_fd, uint64_t worker_id, int *ret_fd)
{
	char name[24];

	file_name(worker_id, name);
	int fd = openat(directory_fd, name, O_RDWR | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	*ret_fd = fd;
	return 0;
}

int worker_file_is_locked(int fd)
{
	struct flock lock = whole_file(F_WRLCK);

	if (fcntl(fd, F_OFD_GETLK, &lock) < 0)
		return -errno;
	return lock.l_type != F_UNLCK;
}

/* A file that is too short was never a whole worker file. */
static int read_part(int fd, void *data, size_t len, off_t offset)
{
	int r = pread_all(fd, data, len, offset);

	return r == -EPIPE ? -EBADMSG : r;
}

int worker_file_read_header(int fd, struct worker_file_header *ret_header)
{
	struct worker_file_header header;
	int r = read_part(fd, &header, sizeof(header), 0);

	if (r < 0)
		return r;
	if (memcmp(header.magic, file_magic, sizeof(header.magic)) != 0 || header.version != WORKER_FILE_VERSION ||
	    !memchr(header.pool, '\0', sizeof(header.pool)))
		return -EBADMSG;
	*ret_header = header;
	return 0;
}

int worker_file_write_pid(int fd, pid_t pid)
{
	int32_t value = pid;

	return pwrite_all(fd, &value, sizeof(value), offsetof(struct worker_file_header, pid));
}

int worker_file_write_epoch(int fd, uint64_t epoch)
{
	return pwrite_all(fd, &epoch, sizeof(epoch), EPOCH_OFFSET);
}

int worker_file_read_epoch(int fd, uint64_t *ret_epoch)
{
	uint64_t epoch;
	int r = read_part(fd, &epoch, sizeof(epoch), EPOCH_OFFSET);

	if (r == 0)
		*ret_epoch = epoch;
	return r;
}

static uint32_t mark_crc(const struct mark *mark)
{
	const size_t skip = sizeof(mark->crc);

	return crc32_of((const char *)mark + skip, sizeof(*mark) - skip);
}

static bool mark_is_zero(const struct mark *mark)
{
	static const struct mark zero;

	return memcmp(mark, &zero, sizeof(zero)) == 0;
}

int worker_file_write_mark(int fd, unsigned index, struct mark *mark, bool sync)
{
	if (index >= MARKS_PER_WORKER)
		return -EINVAL;
	mark->crc = mark_crc(mark);
	int r = pwrite_all(fd, mark, sizeof(*mark), MARKS_OFFSET + (off_t)index * MARK_STRIDE);
	if (r == 0 && sync && fdatasync(fd) < 0)
		r = -errno;
	return r;
}

int worker_file_read_mark(int fd, unsigned index, struct mark *ret_mark)
{
	struct mark mark;

	if (index >= MARKS_PER_WORKER)
		return -EINVAL;
	for (int tries = 0; tries < MARK_READ_TRIES; tries++) {
		int r = read_part(fd, &mark, sizeof(mark), MARKS_OFFSET + (off_t)index * MARK_STRIDE);
		if (r < 0)
			return r;
		if (mark_is_zero(&mark) || (mark.crc == mark_crc(&mark) && mark.state <= MARK_ENDED)) {
			*ret_mark = mark;
			return 0;
		}
		sched_yield();
	}
	return -EBADMSG;
}

int worker_file_write_retired(int fd)
{
	return pwrite_all(fd, "\1", 1, RETIRED_OFFSET);
}

int worker_file_read_retired(int fd, bool *ret_retired)
{
	char value;
	int r = read_part(fd, &value, sizeof(value), RETIRED_OFFSET);

	if (r == 0)
		*ret_retired = value != 0;
	return r;
}
