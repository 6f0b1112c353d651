/* See recover.h. The order of the steps in recover_scan() is a promise: shared by the worker, which writes its mark before it
 * reads the epoch. */
#include "recover.h"

#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/stat.h>

#include "log.h"

static int leave_alone(const char *name)
{
	log_warning("a foreign file is left alone", "file=" WORKER_DIRECTORY "/" LOG_QUOTED, name);
	return 0;
}

static int open_one(int directory_fd, const char *name, struct recovery *recovery)
{
	struct recovered_worker *grown, *w;
	uint64_t id;
	int r, fd;

	if (name[0] == '.')
		return 0;
	if (slice_to_uint(slice_of(name), UINT64_MAX / 2, &id) < 0 || (name[0] == '0' && name[1]))
		return leave_alone(name);
	r = worker_file_open(directory_fd, id, &fd);
	if (r == -EISDIR || r == -ELOOP)
		return leave_alone(name);
	if (r < 0)
		return log_errno(r, "cannot open worker file %s", name);
	grown = realloc(recovery->workers, (recovery->count + 1) * sizeof(*grown));
	if (!grown) {
		close_fd(&fd);
		return -ENOMEM;
	}
	recovery->workers = grown;
	w = &grown[recovery->count++];
	*w = (struct recovered_worker){ .fd = fd, .header.worker_id = id };
	return 0;
}

static int open_all(struct recovery *recovery)
{
	DIR *directory = opendir(WORKER_DIRECTORY);
	struct dirent *entry;
	int r = directory ? 0 : -errno;

	while (r == 0 && (entry = readdir(directory)))
		r = open_one(dirfd(directory), entry->d_name, recovery);
	if (directory)
		closedir(directory);
	return r;
}

static void drop_foreign(struct recovery *recovery, size_t i)
{
	log_error("not a worker file, or of a newer version: set aside; look at it, then move it away", "file=" WORKER_DIRECTORY "/%" PRIu64,
		  recovery->workers[i].header.worker_id);
	close_fd(&recovery->workers[i].fd);
	recovery->workers[i] = recovery->workers[--recovery->count];
}

/* Headers first: the epoch is written into files that are ours only. */
static void read_headers(struct recovery *recovery, const uint8_t boot_id[16])
{
	for (size_t i = 0; i < recovery->count;) {
		struct recovered_worker *w = &recovery->workers[i];
		uint64_t id = w->header.worker_id;

		if (worker_file_read_header(w->fd, &w->header) < 0 || w->header.worker_id != id) {
			w->header.worker_id = id;
			drop_foreign(recovery, i);
			continue;
		}
		w->header.pool[sizeof(w->header.pool) - 1] = '\0';
		w->same_boot = memcmp(w->header.boot_id, boot_id, 16) == 0;
		i++;
	}
}

static int read_one(struct recovered_worker *w)
{
	/* The lock before the marks: a worker found dead writes no mark any more, so what is read then is its last word. */
	w->locked = worker_file_is_locked(w->fd) != 0;
	for (unsigned m = 0; m < MARKS_PER_WORKER; m++) {
		int r = worker_file_read_mark(w->fd, m, &w->marks[m]);

		if (r < 0 && r != -EBADMSG)
			return r;
		if (r < 0) {
			log_warning("torn mark set aside", "worker=%" PRIu64 " mark=%u", w->header.worker_id, m);
			w->marks[m] = (struct mark){ 0 };
			w->torn = true;
		}
	}
	return worker_file_read_retired(w->fd, &w->retired);
}

int recover_scan(uint64_t epoch, struct recovery *ret_recovery)
{
	struct recovery recovery = { 0 };
	uint8_t boot_id[16];
	int r = boot_id_read(boot_id);

	if (r == 0)
		r = open_all(&recovery);
	if (r == 0)
		read_headers(&recovery, boot_id);
	for (size_t i = 0; r == 0 && i < recovery.count; i++)
		r = worker_file_write_epoch(recovery.workers[i].fd, epoch);
	if (r < 0) {
		recover_free(&recovery);
		return log_errno(r, "cannot take over the worker files in " WORKER_DIRECTORY);
	}
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	for (size_t i = 0; r == 0 && i < recovery.count; i++)
		r = read_one(&recovery.workers[i]);
	if (r < 0) {
		recover_free(&recovery);
		return log_errno(r, "cannot read the worker files in " WORKER_DIRECTORY);
	}
	*ret_recovery = recovery;
	return 0;
}

void recover_free(struct recovery *recovery)
{
	for (size_t i = 0; i < recovery->count; i++)
		close_fd(&recovery->workers[i].fd);
	free(recovery->workers);
	*recovery = (struct recovery){ 0 };
}

enum verdict recover_judge(const struct recovery *recovery, const uint8_t token[TOKEN_BYTES], bool same_boot, size_t *ret_worker,
			   unsigned *ret_mark)
{
	for (size_t i = 0; i < recovery->count; i++)
		for (unsigned m = 0; m < MARKS_PER_WORKER; m++) {
			const struct recovered_worker *w = &recovery->workers[i];
			const struct mark *mark = &w->marks[m];

			if (mark->state == MARK_FREE || memcmp(mark->token, token, TOKEN_BYTES) != 0)
				continue;
			*ret_worker = i;
			*ret_mark = m;
			if (mark->state == MARK_ENDED)
				return VERDICT_ENDED;
			if (w->locked)
				return VERDICT_ADOPT;
			return VERDICT_UNPROVEN;
		}
	/* No kill tears a mark; where one is torn all the same, it may be the one that is missing here. */
	for (size_t i = 0; i < recovery->count; i++)
		same_boot = same_boot && !(recovery->workers[i].torn && recovery->workers[i].same_boot);
	/* After a power cut the page cache, and a mark with it, may be gone: nothing proves that it did not start. */
	return same_boot ? VERDICT_NEVER_STARTED : VERDICT_LOST;
}

bool recover_tree_is_empty(const struct recovered_worker *w)
{
	bool started = w->torn;

	for (unsigned m = 0; m < MARKS_PER_WORKER; m++)
		started |= w->marks[m].state == MARK_STARTED;
	return !w->same_boot || w->retired || !started;
}

/* The bytes of a scratch file that were kept: without the hole. */
static int read_kept(int fd, uint64_t bytes, uint64_t hole_start, uint64_t hole_end, struct slice *ret)
{
	uint64_t kept = bytes - (hole_end - hole_start);
	char *data = malloc(kept);
	int r;

	if (!data)
		return -ENOMEM;
	r = pread_all(fd, data, hole_start, 0);
	if (r == 0)
		r = pread_all(fd, data + hole_start, bytes - hole_end, (off_t)hole_end);
	if (r < 0) {
		free(data);
		return r;
	}
	*ret = (struct slice){ data, kept };
	return 0;
}

static int save_stream(const char *scratch, const char *kept_name, unsigned stream, bool counted, struct attempt_end *end, struct slice *ret)
{
	uint64_t hole_start = end->output[stream].hole_start, hole_end = end->output[stream].hole_end;
	int fd = open(scratch, O_RDONLY | O_CLOEXEC), r = 0;
	struct stat status;

	if (fd < 0)
		return errno == ENOENT && (!counted || !end->output[stream].bytes) ? 0 : -errno;
	if (fstat(fd, &status) < 0)
		r = -errno;
	else if (!counted)
		end->output[stream].bytes = (uint64_t)status.st_size;
	if (r == 0 && end->output[stream].bytes) {
		if (hole_start > hole_end || hole_end > end->output[stream].bytes)
			r = -EBADMSG;
		else if (end->output[stream].bytes - (hole_end - hole_start) <= OUTPUT_INLINE_BYTES_MAX)
			r = read_kept(fd, end->output[stream].bytes, hole_start, hole_end, ret);
		else if (rename(scratch, kept_name) < 0)
			r = -errno;
		else
			end->output_files |= (uint8_t)(1u << stream);
	}
	close_fd(&fd);
	return r;
}

int recover_output(uint64_t worker_id, unsigned mark_index, const struct mark *mark, struct attempt_end *end, struct slice ret_output[2])
{
	int r = 0;

	for (unsigned stream = 0; stream < 2; stream++) {
		const char *suffix = stream ? "err" : "out";
		char scratch[64], kept[64];
		int one;

		ret_output[stream] = (struct slice){ 0 };
		if (end->output_files & (1u << stream))
			continue;
		snprintf(scratch, sizeof(scratch), SCRATCH_DIRECTORY "/%" PRIu64 ".%u.%s", worker_id, mark_index, suffix);
		snprintf(kept, sizeof(kept), OUTPUT_DIRECTORY "/%" PRIu64 ".%" PRIu32 ".%s", mark->job_id, mark->attempt, suffix);
		one = save_stream(scratch, kept, stream, mark->state == MARK_ENDED, end, &ret_output[stream]);
		if (one < 0) {
			end->output_dropped |= (uint8_t)(1u << stream);
			r = log_errno(one, "output of job %" PRIu64 " in %s cannot be saved", mark->job_id, scratch);
		}
	}
	return r;
}
