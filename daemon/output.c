/* Reading output. The file work (open, seek over holes, read) is one job for libuv's threads; the descriptor lives only in it.
 *
 * While a job runs, the middle of its scratch file may be punched out at any moment, so holes are asked of the kernel
 * (SEEK_DATA), and asked again after the read. Once it has ended, its attempt_end says exactly what is missing. */
#include "output.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "worker.h"

/* --- in a thread --- */

/* Where the next bytes are, at or behind @offset. -ENXIO: there are none. */
static int find_data(int fd, uint64_t offset, uint64_t *ret_start, uint64_t *ret_end)
{
	off_t start = lseek(fd, (off_t)offset, SEEK_DATA), end;

	if (start < 0)
		return -errno;
	end = lseek(fd, start, SEEK_HOLE);
	if (end < 0)
		return -errno;
	*ret_start = (uint64_t)start;
	*ret_end = (uint64_t)end;
	return 0;
}

static int read_at(int fd, struct output_stream *s, uint64_t end)
{
	size_t want = (size_t)MIN(end - s->offset, (uint64_t)s->max);
	ssize_t n;

	s->data = malloc(want ? want : 1);
	if (!s->data)
		return -ENOMEM;
	do
		n = pread(fd, s->data, want, (off_t)s->offset);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	s->len = (size_t)n;
	return 0;
}

static int read_running(int fd, struct output_stream *s, bool restart)
{
	uint64_t start = 0, end = 0, again_start = 0, again_end = 0;
	struct stat st;
	int r;

	if (fstat(fd, &st) < 0)
		return -errno;
	if (restart && s->offset > (uint64_t)st.st_size)
		s->offset = 0;
	for (;;) {
		r = find_data(fd, s->offset, &start, &end);
		if (r < 0)
			return r == -ENXIO ? 0 : r;
		s->offset = start;
		r = read_at(fd, s, end);
		if (r < 0)
			return r;
		/* Punched while we read: those are not the job's bytes. */
		if (find_data(fd, start, &again_start, &again_end) == 0 && again_start == start && again_end >= start + s->len)
			return 0;
		free(s->data);
		s->data = NULL;
		s->len = 0;
	}
}

static int read_ended(int fd, struct output_stream *s, uint64_t hole_start, uint64_t hole_end)
{
	struct stat st;
	uint64_t end;
	int r;

	if (fstat(fd, &st) < 0)
		return -errno;
	if (s->offset >= hole_start && s->offset < hole_end)
		s->offset = hole_end;
	end = s->offset < hole_start && hole_start < hole_end ? hole_start : (uint64_t)st.st_size;
	if (s->offset < end) {
		r = read_at(fd, s, end);
		if (r < 0)
			return r;
	}
	s->at_end = s->offset + s->len >= (uint64_t)st.st_size;
	return 0;
}

static void kept_path(const struct output_read *read, unsigned i, char path[OUTPUT_PATH_BYTES])
{
	snprintf(path, OUTPUT_PATH_BYTES, OUTPUT_DIRECTORY "/%" PRIu64 ".%" PRIu32 ".%s", read->job_id, read->attempt, i ? "err" : "out");
}

static int read_file(struct output_read *read, unsigned i)
{
	struct output_stream *s = &read->stream[i];
	char kept[OUTPUT_PATH_BYTES];
	int r, fd = open(read->paths[i], O_RDONLY | O_CLOEXEC | O_NOFOLLOW);

	/* Its worker may have moved it to its final place, and the report has not been heard yet. */
	if (fd < 0 && errno == ENOENT && read->place == OUTPUT_RUNNING) {
		kept_path(read, i, kept);
		fd = open(kept, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	}
	if (fd < 0) {
		/* Nothing was written yet; or it was removed, and so it will be never. */
		s->at_end = read->place == OUTPUT_ENDED;
		return errno == ENOENT ? 0 : -errno;
	}
	if (read->place == OUTPUT_RUNNING)
		r = read_running(fd, s, read->restart);
	else
		r = read_ended(fd, s, read->end.output[i].hole_start, read->end.output[i].hole_end);
	close_fd(&fd);
	return r;
}

static void do_read(uv_work_t *work)
{
	struct output_read *read = work->data;

	for (unsigned i = 0; i < 2 && read->status == 0; i++)
		if (read->stream[i].max && read->paths[i][0])
			read->status = read_file(read, i);
}

/* --- on the loop --- */

void output_read_clear(struct output_read *read)
{
	for (unsigned i = 0; i < 2; i++) {
		free(read->stream[i].data);
		read->stream[i].data = NULL;
		read->stream[i].len = 0;
		read->stream[i].at_end = false;
	}
}

static void finish(struct output_read *read, int status)
{
	if (read->job)
		dispatch_reader_end(read->dispatch, read->job);
	read->job = NULL;
	if (status < 0)
		output_read_clear(read);
	read->on_done(read, status);
}

static void after_read(uv_work_t *work, int status)
{
	struct output_read *read = work->data;

	finish(read, status < 0 ? status : read->status);
}

static void read_files(struct output_read *read)
{
	int r;

	read->status = 0;
	read->work.data = read;
	r = uv_queue_work(read->loop, &read->work, do_read, after_read);
	if (r < 0)
		finish(read, r);
}

/* @kept: a stream without the hole that it has from hole_start to hole_end. */
static int cut_inline(struct output_stream *s, struct slice kept, uint64_t hole_start, uint64_t hole_end)
{
	uint64_t hole = hole_end - hole_start, index, end = kept.len;

	if (s->offset >= hole_start && s->offset < hole_end)
		s->offset = hole_end;
	index = s->offset < hole_start || !hole ? s->offset : s->offset - hole;
	if (hole && index < hole_start)
		end = MIN(end, hole_start);
	if (index < end) {
		s->len = (size_t)MIN(end - index, (uint64_t)s->max);
		s->data = malloc(s->len);
		if (!s->data)
			return -ENOMEM;
		memcpy(s->data, kept.data + index, s->len);
	}
	s->at_end = index + s->len >= kept.len;
	return 0;
}

static void on_inline(struct store_request *request)
{
	struct output_read *read = request->context;
	int r = request->status == -ENOENT ? 0 : request->status; /* it was removed a moment ago: nothing is left */

	for (unsigned i = 0; i < 2 && r == 0; i++)
		if (read->stream[i].max && !(read->end.output_files & 1u << i))
			r = cut_inline(&read->stream[i], request->u.output.output[i], read->end.output[i].hole_start,
				       read->end.output[i].hole_end);
	if (r == 0 && (read->paths[0][0] || read->paths[1][0]))
		read_files(read);
	else
		finish(read, r);
}

/* The attempt has ended: each stream is nothing, or in the store, or a file. */
static void read_places(struct output_read *read)
{
	struct store_request *request;
	bool stored = false;

	for (unsigned i = 0; i < 2; i++) {
		if (read->end.output_files & 1u << i)
			kept_path(read, i, read->paths[i]);
		else
			stored |= read->stream[i].max && read->end.output[i].bytes;
		read->stream[i].at_end = !read->end.output[i].bytes;
	}
	if (!stored && !read->paths[0][0] && !read->paths[1][0]) {
		finish(read, 0);
		return;
	}
	if (!stored) {
		read_files(read);
		return;
	}
	request = store_request_new(STORE_LOAD_OUTPUT, on_inline, read);
	if (!request) {
		finish(read, -ENOMEM);
		return;
	}
	request->u.output.job_id = read->job_id;
	request->u.output.number = read->attempt;
	store_post(read->store, request);
}

static void on_row(struct store_request *request)
{
	struct output_read *read = request->context;
	struct job_row *row = request->status == 0 ? &request->u.load.rows[0] : NULL;

	if (!row || !row->id) {
		finish(read, request->status);
		return;
	}
	dispatch_overlay(read->dispatch, row);
	if (read->on_row)
		read->on_row(read, row);
	read->attempt = row->attempt.number;
	read->end = row->attempt.end;
	if (read->end.outcome != OUTCOME_NONE) {
		read->place = OUTPUT_ENDED;
		read_places(read);
		return;
	}
	/* Between two attempts, or done without any: nothing to read. */
	read->place = row->state == JOB_DONE ? OUTPUT_ENDED : OUTPUT_NOT_STARTED;
	read->stream[0].at_end = read->stream[1].at_end = row->state == JOB_DONE;
	finish(read, 0);
}

static void load_row(struct output_read *read)
{
	struct store_request *request = store_request_new(STORE_LOAD_JOBS, on_row, read);

	if (request)
		request->u.load.ids = malloc(sizeof(uint64_t));
	if (!request || !request->u.load.ids) {
		store_request_free(request);
		finish(read, -ENOMEM);
		return;
	}
	request->u.load.ids[0] = read->job_id;
	request->u.load.count = 1;
	store_post(read->store, request);
}

/* None of its attempts is under way, or has been: there is nothing to ask the store for. */
static bool is_untried(const struct job *job)
{
	return job && !job->dead && job->state == JOB_READY && job->attempt == (job->claim == CLAIM_NONE ? 0u : 1u);
}

void output_read_start(uv_loop_t *loop, struct store *store, struct dispatch *dispatch, struct output_read *read)
{
	struct job *job = dispatch_find_job(dispatch, read->job_id);
	int r;

	read->loop = loop;
	read->store = store;
	read->dispatch = dispatch;
	read->job = NULL;
	read->place = OUTPUT_NO_JOB;
	read->paths[0][0] = read->paths[1][0] = '\0';
	output_read_clear(read);
	r = job ? dispatch_scratch_paths(dispatch, job, read->paths[0], read->paths[1]) : -ENOENT;
	if (r == -EAGAIN) {
		snprintf(read->paths[0], OUTPUT_PATH_BYTES, SCRATCH_DIRECTORY "/%" PRIu64 ".", job->worker->id);
		read->place = OUTPUT_STARTING;
		finish(read, 0);
		return;
	}
	if (r < 0 && is_untried(job)) {
		read->place = OUTPUT_NOT_STARTED;
		finish(read, 0);
		return;
	}
	if (r < 0) {
		load_row(read);
		return;
	}
	read->place = OUTPUT_RUNNING;
	read->attempt = job->attempt;
	read->job = job;
	dispatch_reader_begin(dispatch, job);
	read_files(read);
}

/* --- growth --- */

static void on_event_closed(uv_handle_t *handle)
{
	struct output_watch *watch = handle->data;

	if (--watch->open_handles == 0)
		watch->on_closed(watch);
}

static void on_event(uv_fs_event_t *event, const char *filename, int events, int status)
{
	struct output_watch *watch = event->data;
	const char *name = watch->names[event - watch->events];

	(void)events;
	/* Of the directory we hear also what happens to other jobs' files. */
	if (watch->closing || (status == 0 && filename && strncmp(filename, name, strlen(name)) != 0))
		return;
	watch->on_growth(watch);
}

int output_watch_start(uv_loop_t *loop, struct output_watch *watch, char paths[2][OUTPUT_PATH_BYTES])
{
	int r = 0;

	for (unsigned i = 0; i < 2 && r == 0; i++) {
		const char *slash = strrchr(paths[i], '/');

		if (!paths[i][0])
			continue;
		snprintf(watch->names[i], OUTPUT_PATH_BYTES, "%s", slash ? slash + 1 : paths[i]);
		uv_fs_event_init(loop, &watch->events[i]);
		watch->events[i].data = watch;
		watch->open_handles++;
		r = uv_fs_event_start(&watch->events[i], on_event, paths[i], 0);
		if (r == UV_ENOENT)
			r = uv_fs_event_start(&watch->events[i], on_event, SCRATCH_DIRECTORY, 0);
	}
	if (!watch->open_handles)
		return -ENOENT;
	if (r < 0) /* no inotify watch is left */
		output_watch_stop(watch);
	return r < 0 ? -EBUSY : 0;
}

void output_watch_stop(struct output_watch *watch)
{
	if (watch->closing || !watch->open_handles)
		return;
	watch->closing = true;
	for (unsigned i = 0; i < 2; i++)
		if (watch->names[i][0])
			uv_close((uv_handle_t *)&watch->events[i], on_event_closed);
}
