/* Each change is one pwrite of the mark's own range: it survives every kill, and the daemon may read it at any moment. */
#include "marks.h"

#include <stdatomic.h>

void marks_init(struct marks *m, int file_fd)
{
	*m = (struct marks){ .file_fd = file_fd };
}

static int find_token(const struct marks *m, const uint8_t token[TOKEN_BYTES])
{
	for (int i = 0; i < MARKS_PER_WORKER; i++)
		if (m->all[i].state != MARK_FREE && memcmp(m->all[i].token, token, TOKEN_BYTES) == 0)
			return i;
	return -ENOENT;
}

static int find_free(const struct marks *m)
{
	for (int i = 0; i < MARKS_PER_WORKER; i++)
		if (m->all[i].state == MARK_FREE)
			return i;
	return -ENOBUFS;
}

static int write_free(struct marks *m, unsigned index)
{
	m->all[index] = (struct mark){ .state = MARK_FREE };
	m->told[index] = false;
	return worker_file_write_mark(m->file_fd, index, &m->all[index], false);
}

int marks_start(struct marks *m, const struct message_run *run, uint64_t epoch)
{
	uint64_t current = 0;
	int index, r;

	if (find_token(m, run->token) >= 0)
		return -EALREADY;
	index = find_free(m);
	if (index < 0)
		return index;

	m->all[index] = (struct mark){ .state = MARK_STARTED, .job_id = run->job_id, .attempt = run->attempt,
				       .end.started_wall_ms = now_wall_ms() };
	memcpy(m->all[index].token, run->token, TOKEN_BYTES);
	m->all[index].end.started_wall_ms = now_wall_ms();
	m->told[index] = false;
	r = worker_file_write_mark(m->file_fd, (unsigned)index, &m->all[index], false);
	if (r == 0) {
		/* A starting daemon writes its epoch, then reads the marks; we write the mark, then read the epoch. With a full
		 * barrier on both sides at least one sees the other: either it adopts this attempt, or we drop it. */
		atomic_thread_fence(memory_order_seq_cst);
		r = worker_file_read_epoch(m->file_fd, &current);
	}
	if (r == 0 && current == epoch)
		return index;
	write_free(m, (unsigned)index);
	return r < 0 ? r : -ESTALE;
}

void marks_set_pid(struct marks *m, unsigned index, pid_t pid)
{
	m->all[index].pid = pid;
	(void)worker_file_write_mark(m->file_fd, index, &m->all[index], false);
}

int marks_end(struct marks *m, unsigned index, const struct attempt_end *end, pid_t pid, bool sync)
{
	struct mark *mark = &m->all[index];

	mark->state = MARK_ENDED;
	mark->pid = pid;
	mark->end = *end;
	return worker_file_write_mark(m->file_fd, index, mark, sync);
}

int marks_sync(struct marks *m, unsigned index)
{
	return worker_file_write_mark(m->file_fd, index, &m->all[index], true);
}

int marks_clear(struct marks *m, const uint8_t token[TOKEN_BYTES])
{
	int index = find_token(m, token);

	if (index < 0 || m->all[index].state != MARK_ENDED)
		return -ENOENT;
	(void)write_free(m, (unsigned)index);
	return index;
}

bool marks_are_free(const struct marks *m)
{
	for (int i = 0; i < MARKS_PER_WORKER; i++)
		if (m->all[i].state != MARK_FREE)
			return false;
	return true;
}
