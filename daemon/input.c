/* Input files. They carry their own state, so nothing is to be remembered across a restart: the length is the next offset, and a
 * file without write permission is sealed. Who may talk to us may write all inputs, as all jobs run as one user. */
#include "input.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/stat.h>

#include "worker_proto.h"

struct input_work {
	uv_work_t work;
	uint64_t id;
	bool create;
	uint64_t offset, limit;
	char *bytes;
	size_t len;
	input_done done;
	void *context;
	uint64_t next;
	int status;
};

static int open_input(const struct input_work *w, int flags)
{
	char path[64];
	int fd;

	snprintf(path, sizeof(path), INPUT_DIRECTORY "/%" PRIu64, w->id);
	fd = open(path, flags | O_CLOEXEC | O_NOFOLLOW, 0600);
	return fd < 0 ? -errno : fd;
}

static int write_piece(struct input_work *w, int fd)
{
	struct stat st;
	int r;

	if (fstat(fd, &st) < 0)
		return -errno;
	w->next = (uint64_t)st.st_size;
	if (!(st.st_mode & S_IWUSR))
		return -EROFS; /* asked, not tried: root may write it all the same */
	if (w->offset != w->next)
		return -EINVAL;
	if (w->next + w->len > w->limit)
		return -EFBIG;
	r = pwrite_all(fd, w->bytes, w->len, (off_t)w->offset);
	if (r < 0) {
		(void)!ftruncate(fd, st.st_size); /* half a piece must not shift the next offset */
		return r;
	}
	w->next += w->len;
	return 0;
}

static void do_write(uv_work_t *work)
{
	struct input_work *w = work->data;
	int fd = open_input(w, w->create ? O_WRONLY | O_CREAT | O_EXCL : O_WRONLY);

	/* Not root, a sealed one cannot even be opened. */
	w->status = fd == -EACCES ? -EROFS : fd;
	if (fd < 0)
		return;
	w->status = write_piece(w, fd);
	close_fd(&fd);
}

static int sync_directory(void)
{
	int r = 0, fd = open(INPUT_DIRECTORY, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0)
		return -errno;
	if (fsync(fd) < 0)
		r = -errno;
	close_fd(&fd);
	return r;
}

static void do_seal(uv_work_t *work)
{
	struct input_work *w = work->data;
	int fd = open_input(w, O_RDONLY);

	w->status = fd;
	if (fd < 0)
		return;
	w->status = fchmod(fd, 0400) < 0 || fsync(fd) < 0 ? -errno : sync_directory();
	close_fd(&fd);
}

static void after(uv_work_t *work, int status)
{
	struct input_work *w = work->data;

	w->done(w->context, status < 0 ? status : w->status, w->next);
	free(w->bytes);
	free(w);
}

static int queue(uv_loop_t *loop, const struct input_work *what, struct slice bytes, uv_work_cb work_cb)
{
	struct input_work *w = malloc(sizeof(*w));
	int r;

	if (!w)
		return -ENOMEM;
	*w = *what;
	w->len = bytes.len;
	w->bytes = slice_dup(bytes);
	w->work.data = w;
	r = w->bytes ? uv_queue_work(loop, &w->work, work_cb, after) : -ENOMEM;
	if (r < 0) {
		free(w->bytes);
		free(w);
	}
	return r;
}

int input_write(uv_loop_t *loop, uint64_t id, bool create, uint64_t offset, struct slice bytes, uint64_t limit, input_done done,
		void *context)
{
	struct input_work w = { .id = id, .create = create, .offset = offset, .limit = limit, .done = done, .context = context };

	return queue(loop, &w, bytes, do_write);
}

int input_seal(uv_loop_t *loop, uint64_t id, input_done done, void *context)
{
	struct input_work w = { .id = id, .done = done, .context = context };

	return queue(loop, &w, SLICE(""), do_seal);
}
