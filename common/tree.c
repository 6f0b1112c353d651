/* Killing and reaping a process tree, and the proof that it is empty.
 *
 * Why a look is complete although the kernel gives out at most a page per read(2) and drops its lock between two
 * children: the kernel appends to the list of children and never reorders it (a fork, CLONE_PARENT and the
 * reparenting of orphans all go to the tail; an exec by a second thread takes the place of its leader), and only
 * reaping takes away from it. We are the only one who reaps, and do not while we look. So the n-th child stays the
 * n-th, and the read that finds the end of the list has, at that instant, seen every member.
 *
 * Why an empty look is a proof: a dying process hands its children to us in the same locked step that makes it
 * reapable, so a descendant that is not ours yet always has an ancestor that is, alive or zombie, and is listed. */
#include "tree.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "util.h"

/* A walk goes no deeper (it holds one descriptor a level) and, beyond the own children, signals no more: what it
 * leaves out becomes an own child when its ancestors die, and a later pass finds it there. */
#define WALK_DEPTH_MAX 64
#define WALK_SIGNALS_MAX 1024

#define PROC_PATH_BYTES 64

/* One walk down from an own child. @pids is a stack: each level works on the part it pushed. */
struct walk {
	int signal;
	unsigned signalled;
	pid_t *pids;
	size_t count, cap;
};

static int push_pid(pid_t pid, pid_t **pids, size_t *count, size_t *cap)
{
	if (*count == *cap) {
		size_t grown = *cap ? 2 * *cap : 64;
		pid_t *moved = reallocarray(*pids, grown, sizeof(**pids));

		if (!moved)
			return -ENOMEM;
		*pids = moved;
		*cap = grown;
	}
	(*pids)[(*count)++] = pid;
	return 0;
}

/* Append all pids of a "children" file: "12 34 ". The end of a chunk may cut a number, so @pid outlives the chunk. */
static int read_pids(int fd, pid_t **pids, size_t *count, size_t *cap)
{
	char chunk[4096];
	off_t offset = 0;
	pid_t pid = 0;

	for (;;) {
		ssize_t n = pread(fd, chunk, sizeof(chunk), offset);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			return 0;
		offset += n;
		for (ssize_t i = 0; i < n; i++) {
			if (chunk[i] >= '0' && chunk[i] <= '9') {
				pid = pid * 10 + (chunk[i] - '0');
			} else if (pid) {
				int r = push_pid(pid, pids, count, cap);

				if (r < 0)
					return r;
				pid = 0;
			}
		}
	}
}

int tree_init(struct tree *t)
{
	char path[PROC_PATH_BYTES];
	int fd;

	snprintf(path, sizeof(path), "/proc/self/task/%d/children", (int)getpid());
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	*t = (struct tree){ .children_fd = fd };
	return 0;
}

void tree_deinit(struct tree *t)
{
	close_fd(&t->children_fd);
	free(t->pids);
	t->pids = NULL;
	t->count = t->cap = 0;
}

int tree_look(struct tree *t)
{
	t->count = 0;
	return read_pids(t->children_fd, &t->pids, &t->count, &t->cap);
}

/* A directory of /proc is a pidfd too: whatever is read or signalled through it concerns this very process, and after
 * its reaping nobody (ESRCH), even when the number is used again. */
static int open_process(pid_t pid)
{
	char path[PROC_PATH_BYTES];

	snprintf(path, sizeof(path), "/proc/%d", (int)pid);
	return open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

static int send_signal(int process_fd, int signal)
{
	return (int)syscall(SYS_pidfd_send_signal, process_fd, signal, NULL, 0);
}

/* The parent's pid, or -1. The name in stat may hold anything, parentheses too: the numbers start behind the last
 * one. */
static pid_t read_parent(int process_fd)
{
	char text[512];
	int fd = openat(process_fd, "stat", O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
	const char *end;
	int parent;

	close_fd(&fd);
	if (n <= 0)
		return -1;
	text[n] = '\0';
	end = strrchr(text, ')');
	return end && sscanf(end, ") %*c %d", &parent) == 1 ? (pid_t)parent : -1;
}

/* Open what was just read as a child of @parent, unless its number went to a stranger meanwhile. That it is ours now is
 * fine: its parent died (we start nothing during a walk, so it can only be an orphan). */
static int open_child(pid_t child, pid_t parent, int parent_fd)
{
	int fd = open_process(child);
	pid_t now = fd < 0 ? -1 : read_parent(fd);

	if (now == getpid() || (now == parent && send_signal(parent_fd, 0) == 0))
		return fd;
	close_fd(&fd);
	return -1;
}

/* Push the children of all threads. Best effort: what is gone meanwhile, or does not fit in memory, is left out. */
static void push_children(struct walk *w, int process_fd)
{
	int task_fd = openat(process_fd, "task", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *tasks = task_fd < 0 ? NULL : fdopendir(task_fd);
	const struct dirent *entry;

	if (!tasks) {
		close_fd(&task_fd);
		return;
	}
	while ((entry = readdir(tasks))) {
		char path[sizeof(entry->d_name) + sizeof("/children")];
		int fd;

		if (entry->d_name[0] == '.')
			continue;
		snprintf(path, sizeof(path), "%s/children", entry->d_name);
		fd = openat(dirfd(tasks), path, O_RDONLY | O_CLOEXEC);
		if (fd >= 0)
			(void)read_pids(fd, &w->pids, &w->count, &w->cap);
		close_fd(&fd);
	}
	closedir(tasks);
}

/* Parents go first. After SIGKILL a process forks no more, so its children are read then, and are all. After any other
 * signal it may end, and its children be given away, before we could read them: they are read first. */
static void walk_down(struct walk *w, int process_fd, pid_t pid, unsigned depth)
{
	size_t first = w->count;

	if (w->signal != SIGKILL)
		push_children(w, process_fd);
	if (send_signal(process_fd, w->signal) == 0)
		w->signalled++;
	if (w->signal == SIGKILL)
		push_children(w, process_fd);
	for (size_t i = first; i < w->count && depth < WALK_DEPTH_MAX && w->signalled < WALK_SIGNALS_MAX; i++) {
		int fd = open_child(w->pids[i], pid, process_fd);

		if (fd >= 0)
			walk_down(w, fd, w->pids[i], depth + 1);
		close_fd(&fd);
	}
	w->count = first;
}

/* @root is an own child, not yet reaped, so its number is its own: kill(2) is safe where descriptors have run out. */
static void walk_from(struct walk *w, pid_t root)
{
	int fd = open_process(root);

	if (fd >= 0)
		walk_down(w, fd, root, 0);
	else if (kill(root, w->signal) == 0)
		w->signalled++;
	close_fd(&fd);
}

/* Leave only the unknown ones in t->pids. */
static void drop_known(struct tree *t, bool (*is_known)(pid_t pid, void *context), void *context)
{
	size_t unknown = 0;

	for (size_t i = 0; i < t->count; i++)
		if (!is_known(t->pids[i], context))
			t->pids[unknown++] = t->pids[i];
	t->count = unknown;
}

/* Reap what is dead in t->pids, and leave only the rest: the number of a reaped one may be anybody's next. */
static void reap_dead(struct tree *t)
{
	size_t left = 0;

	for (size_t i = 0; i < t->count; i++)
		if (waitpid(t->pids[i], NULL, WNOHANG | __WALL) == 0)
			t->pids[left++] = t->pids[i];
	t->count = left;
}

/* First a bare kill for each, the youngest first: who flees by forking and exiting is at the end of the list, and alive
 * only for a moment. Then the dead are reaped, so that the costly walks are for the living only. */
int tree_kill_pass(struct tree *t, bool (*is_known)(pid_t pid, void *context), void *context)
{
	struct walk w = { .signal = SIGKILL };
	int unknown, r = tree_look(t);

	if (r < 0)
		return r;
	drop_known(t, is_known, context);
	unknown = (int)t->count;
	for (size_t i = t->count; i-- > 0;)
		(void)kill(t->pids[i], SIGKILL);
	reap_dead(t);
	for (size_t i = 0; i < t->count && w.signalled < WALK_SIGNALS_MAX; i++)
		walk_from(&w, t->pids[i]);
	free(w.pids);
	reap_dead(t);
	return unknown;
}

int tree_signal(struct tree *t, pid_t root, int signal)
{
	struct walk w = { .signal = signal };

	(void)t;
	walk_from(&w, root);
	free(w.pids);
	return (int)w.signalled;
}
