/* Bytes are written to the scratch file as soon as they are read, for those who follow the job; a stream that is still small
 * stays in memory as well, so that its report costs no read. A full disk stops the reading of the pipe, and so the job. */
#include "output.h"

#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <sys/stat.h>

#define MEMORY_BYTES OUTPUT_INLINE_BYTES_MAX
#define BLOCK_BYTES 4096u
#define PUNCH_STEP_BYTES (1u << 20) /* a hole grows in steps: so much more than the limit may be on disk for a moment */
#define DISK_RETRY_MS 1000u
#define DRAIN_READS_MAX 32u /* a turn: more than the largest pipe of a user; a holder that writes on must not keep us */

static const char *const suffixes[2] = { "out", "err" };

enum { PATH_BYTES = 64 };

static void scratch_path(const struct output *o, unsigned mark, unsigned stream, char ret_path[PATH_BYTES])
{
	snprintf(ret_path, PATH_BYTES, SCRATCH_DIRECTORY "/%" PRIu64 ".%u.%s", o->worker_id, mark, suffixes[stream]);
}

static void final_path(uint64_t job_id, uint32_t attempt, unsigned stream, char ret_path[PATH_BYTES])
{
	snprintf(ret_path, PATH_BYTES, OUTPUT_DIRECTORY "/%" PRIu64 ".%" PRIu32 ".%s", job_id, attempt, suffixes[stream]);
}

void output_init(struct output *o, uint64_t worker_id)
{
	*o = (struct output){ .worker_id = worker_id };
	for (unsigned mark = 0; mark < MARKS_PER_WORKER; mark++)
		for (unsigned i = 0; i < 2; i++)
			o->scratch[mark][i].fd = -1;
	for (unsigned i = 0; i < 2; i++)
		o->streams[i].pipe_fd = o->streams[i].write_fd = -1;
}

void output_deinit(struct output *o, bool remove_files)
{
	char path[PATH_BYTES];

	output_stop(o);
	for (unsigned i = 0; i < 2; i++) {
		free(o->streams[i].memory);
		for (unsigned mark = 0; mark < MARKS_PER_WORKER; mark++) {
			scratch_path(o, mark, i, path);
			if (remove_files && o->scratch[mark][i].fd >= 0)
				unlink(path);
			close_fd(&o->scratch[mark][i].fd);
		}
	}
}

/* -- the limit: head and tail stay, the middle is cut out ----------------------------------------------------- */

struct hole {
	uint64_t start, end;
};

static struct hole stream_hole(const struct stream *s)
{
	uint64_t head = s->max_bytes / 2;

	if (s->bytes <= s->max_bytes)
		return (struct hole){ 0, 0 };
	if (s->head_only)
		return (struct hole){ s->max_bytes, s->bytes };
	return (struct hole){ head, s->bytes - (s->max_bytes - head) };
}

static uint64_t kept_bytes(const struct attempt_end *end, unsigned stream)
{
	return end->output[stream].bytes - (end->output[stream].hole_end - end->output[stream].hole_start);
}

static void punch(struct stream *s, int fd, uint64_t start, uint64_t end)
{
	if (fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)start, (off_t)(end - start)) == 0) {
		s->punched = end;
	} else if (errno == EOPNOTSUPP || errno == ENOSYS) {
		s->head_only = true;
		(void)!ftruncate(fd, (off_t)s->max_bytes);
	}
	/* Any other failure: the next step tries the whole range again. */
}

static void bound_file(struct stream *s, int fd)
{
	struct hole hole = stream_hole(s);

	if (s->head_only || hole.end == hole.start)
		return;
	uint64_t start = MAX(s->punched, (hole.start + BLOCK_BYTES - 1) / BLOCK_BYTES * BLOCK_BYTES);
	uint64_t end = hole.end / BLOCK_BYTES * BLOCK_BYTES;
	if (end >= start + PUNCH_STEP_BYTES)
		punch(s, fd, start, end);
}

/* -- from pipe to file ----------------------------------------------------------------------------------------- */

static int open_scratch(struct output *o, unsigned stream)
{
	char path[PATH_BYTES];
	int *fd = &o->scratch[o->mark][stream].fd;

	if (*fd < 0) {
		scratch_path(o, o->mark, stream, path);
		*fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
		if (*fd < 0)
			return -errno;
	}
	return *fd;
}

/* How many of @len bytes at @data were written behind the stream; less than all, or -errno, on a full disk. */
static ssize_t write_some(struct output *o, unsigned stream, const char *data, size_t len)
{
	struct stream *s = &o->streams[stream];
	ssize_t n;

	int fd = open_scratch(o, stream);
	if (fd < 0)
		return fd;
	do
		n = pwrite(fd, data, len, (off_t)s->bytes);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	o->scratch[o->mark][stream].used = true;
	s->bytes += (uint64_t)n;
	bound_file(s, fd);
	return n;
}

static bool is_only_counted(const struct stream *s)
{
	return s->max_bytes == 0 || (s->head_only && s->bytes >= s->max_bytes);
}

/* Store what is pending as far as the disk takes it. */
static void store_pending(struct output *o, unsigned stream, uint64_t now_ms)
{
	struct stream *s = &o->streams[stream];

	while (s->pending_len && !s->failed) {
		ssize_t n = (ssize_t)s->pending_len;
		if (is_only_counted(s))
			s->bytes += s->pending_len;
		else
			n = write_some(o, stream, s->memory + s->pending_start, s->pending_len);
		if (n == -ENOSPC || n == -EDQUOT) {
			o->retry_at_ms = now_ms + DISK_RETRY_MS;
			return;
		}
		if (n < 0) {
			s->failed = true;
			break;
		}
		s->pending_start += (size_t)n;
		s->pending_len -= (size_t)n;
	}
	if (s->failed)
		s->pending_len = 0;
}

/* One read. 1: something came; 0: the end, the pipe is closed; -EAGAIN: nothing now. */
static int read_once(struct output *o, unsigned stream, uint64_t now_ms)
{
	struct stream *s = &o->streams[stream];

	if (!s->memory && !(s->memory = malloc(MEMORY_BYTES)))
		return -EAGAIN; /* the job waits until there is memory again */
	/* The first bytes stay where they are: a small stream is whole in memory. */
	size_t start = s->bytes < MEMORY_BYTES ? (size_t)s->bytes : 0;
	ssize_t n = read(s->pipe_fd, s->memory + start, MEMORY_BYTES - start);
	if (n < 0)
		return -EAGAIN;
	if (n == 0) {
		close_fd(&s->pipe_fd);
		return 0;
	}
	s->pending_start = start;
	s->pending_len = (size_t)n;
	store_pending(o, stream, now_ms);
	return 1;
}

void output_reset(struct output *o, unsigned mark)
{
	o->mark = mark;
	for (unsigned i = 0; i < 2; i++)
		o->streams[i] = (struct stream){ .pipe_fd = -1, .write_fd = -1, .memory = o->streams[i].memory };
}

int output_start(struct output *o, bool merged, uint64_t max_bytes, int ret_write_fds[2])
{
	int pipes[2][2] = { { -1, -1 }, { -1, -1 } };

	for (unsigned i = 0; i < (merged ? 1u : 2u); i++) {
		/* Only our end must not block; each end has flags of its own. */
		if (pipe2(pipes[i], O_CLOEXEC) < 0 || fcntl(pipes[i][0], F_SETFL, O_NONBLOCK) < 0) {
			int r = -errno;
			for (unsigned k = 0; k < 4; k++)
				close_fd(&pipes[k / 2][k % 2]);
			return r;
		}
	}
	for (unsigned i = 0; i < 2; i++) {
		o->streams[i].pipe_fd = pipes[i][0];
		o->streams[i].write_fd = pipes[i][1];
		o->streams[i].max_bytes = max_bytes;
	}
	ret_write_fds[0] = pipes[0][1];
	ret_write_fds[1] = merged ? pipes[0][1] : pipes[1][1];
	return 0;
}

void output_end_writing(struct output *o)
{
	for (unsigned i = 0; i < 2; i++)
		close_fd(&o->streams[i].write_fd);
}

int output_poll_fd(const struct output *o, unsigned stream)
{
	return o->streams[stream].pending_len ? -1 : o->streams[stream].pipe_fd;
}

void output_read(struct output *o, unsigned stream, short revents, uint64_t now_ms)
{
	if (output_poll_fd(o, stream) < 0 || !revents)
		return;
	/* With the writers gone the rest is finite: take it all, its end included, and save a round of poll(). */
	while (read_once(o, stream, now_ms) == 1 && (revents & POLLHUP) && !o->streams[stream].pending_len)
		;
}

uint64_t output_deadline(const struct output *o)
{
	return o->streams[0].pending_len || o->streams[1].pending_len ? o->retry_at_ms : UINT64_MAX;
}

void output_retry(struct output *o, uint64_t now_ms)
{
	for (unsigned i = 0; i < 2; i++)
		store_pending(o, i, now_ms);
}

bool output_drain(struct output *o, uint64_t now_ms)
{
	bool complete = true;

	for (unsigned i = 0; i < 2; i++) {
		struct stream *s = &o->streams[i];
		store_pending(o, i, now_ms);
		for (unsigned reads = 0; s->pipe_fd >= 0 && !s->pending_len && reads < DRAIN_READS_MAX; reads++)
			if (read_once(o, i, now_ms) < 0)
				break;
		if (s->pending_len) {
			s->pending_len = 0;
			s->failed = true;
			close_fd(&s->pipe_fd);
		}
		complete = complete && s->pipe_fd < 0;
	}
	return complete;
}

void output_stop(struct output *o)
{
	output_end_writing(o);
	for (unsigned i = 0; i < 2; i++)
		close_fd(&o->streams[i].pipe_fd);
}

/* -- after the end --------------------------------------------------------------------------------------------- */

/* The stream becomes a file of its own. The next job of this mark opens a fresh scratch file. */
static int move_scratch(struct output *o, unsigned stream, uint64_t job_id, uint32_t attempt, const struct hole *hole)
{
	char from[PATH_BYTES], to[PATH_BYTES];
	int *fd = &o->scratch[o->mark][stream].fd;

	/* Exact now; where it cannot be done, some more than the limit stays on the disk, unread. */
	if (hole->end > hole->start)
		(void)!fallocate(*fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)hole->start,
				 (off_t)(hole->end - hole->start));
	scratch_path(o, o->mark, stream, from);
	final_path(job_id, attempt, stream, to);
	if (rename(from, to) < 0)
		return -errno;
	close_fd(fd);
	o->scratch[o->mark][stream].used = false;
	return 0;
}

void output_place(struct output *o, uint64_t job_id, uint32_t attempt, struct attempt_end *end)
{
	for (unsigned i = 0; i < 2; i++) {
		const struct stream *s = &o->streams[i];
		struct hole hole = stream_hole(s);

		end->output[i].bytes = s->bytes;
		end->output[i].hole_start = hole.start;
		end->output[i].hole_end = hole.end;
		if (s->failed)
			end->output_dropped |= (uint8_t)(1u << i);
		if (kept_bytes(end, i) <= OUTPUT_INLINE_BYTES_MAX)
			continue;
		if (move_scratch(o, i, job_id, attempt, &hole) == 0) {
			end->output_files |= (uint8_t)(1u << i);
			continue;
		}
		/* No room even for a name: what fits the report is kept, the rest becomes part of the hole. */
		uint64_t head = hole.end > hole.start ? hole.start : s->bytes;
		uint64_t tail = s->bytes - MAX(hole.end, head);
		head = MIN(head, OUTPUT_INLINE_BYTES_MAX / 2);
		end->output[i].hole_start = head;
		end->output[i].hole_end = s->bytes - MIN(tail, OUTPUT_INLINE_BYTES_MAX / 2);
		end->output_dropped |= (uint8_t)(1u << i);
	}
}

/* Append [start, end) of the scratch file; less when it cannot be read. */
static void copy_range(int fd, uint64_t start, uint64_t end, struct buf *copy)
{
	char *room = start < end ? buf_reserve(copy, end - start) : NULL;

	if (room && pread_all(fd, room, end - start, (off_t)start) == 0)
		copy->len += end - start;
}

struct slice output_inline(const struct output *o, unsigned mark, const struct attempt_end *end, unsigned stream,
			   struct buf *copy)
{
	const struct stream *s = &o->streams[stream];
	uint64_t bytes = end->output[stream].bytes;
	int fd = o->scratch[mark][stream].fd;

	if ((end->output_files & (1u << stream)) || !kept_bytes(end, stream))
		return (struct slice){ NULL, 0 };
	if (mark == o->mark && s->memory && bytes <= MEMORY_BYTES && kept_bytes(end, stream) == bytes)
		return (struct slice){ s->memory, bytes };
	buf_clear(copy);
	copy_range(fd, 0, end->output[stream].hole_start, copy);
	copy_range(fd, end->output[stream].hole_end, bytes, copy);
	return (struct slice){ copy->data, copy->len };
}

static void sync_path(const char *path, int flags)
{
	int fd = open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | flags);

	if (fd >= 0)
		(void)fsync(fd);
	close_fd(&fd);
}

void output_sync(const struct output *o, unsigned mark, uint64_t job_id, uint32_t attempt, const struct attempt_end *end)
{
	char path[PATH_BYTES];

	for (unsigned i = 0; i < 2; i++) {
		if (!kept_bytes(end, i))
			continue;
		bool has_file = end->output_files & (1u << i);
		if (has_file)
			final_path(job_id, attempt, i, path);
		else
			scratch_path(o, mark, i, path);
		sync_path(path, 0);
		sync_path(has_file ? OUTPUT_DIRECTORY : SCRATCH_DIRECTORY, O_DIRECTORY);
	}
}

void output_recycle(struct output *o, unsigned mark)
{
	for (unsigned i = 0; i < 2; i++) {
		if (!o->scratch[mark][i].used)
			continue;
		o->scratch[mark][i].used = false;
		/* A file that cannot be emptied is not used again: the next open makes it anew. */
		if (ftruncate(o->scratch[mark][i].fd, 0) < 0)
			close_fd(&o->scratch[mark][i].fd);
	}
}
