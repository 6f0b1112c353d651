/* The tree proof (design section 6): kill and reap all own children but the known ones, until one complete read shows no
 * unknown child. Shared by worker (known: the job while it runs) and supervisor (known: its workers). The caller must be a
 * child subreaper (PR_SET_CHILD_SUBREAPER), single-threaded as to forking and reaping, and must not reap by waitpid(-1). */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

struct tree {
	int children_fd;   /* /proc/self/task/<main tid>/children, kept open: one pread a look */
	pid_t *pids;       /* owned; result of the last look */
	size_t count, cap;
};

int tree_init(struct tree *t);   /* 0, -errno; the calling thread must be the main one */
void tree_deinit(struct tree *t);

/* One complete read of all own children, zombies included, into t->pids. 0 or -errno. */
int tree_look(struct tree *t);

/**
 * One pass: look; SIGKILL each unknown child with all its descendants; reap exactly those unknown children read that are dead.
 *
 * @is_known: true for the pids to leave alone
 *
 * Returns the number of unknown children seen by the look at the beginning of the pass: 0 = proven empty. -errno.
 * The caller repeats it from a timer, 1 ms later, until it returns 0.
 */
int tree_kill_pass(struct tree *t, bool (*is_known)(pid_t pid, void *context), void *context);

/* Send @signal to @root and all its present descendants, stopping at nothing; best effort (a fork may be missed).
 * Returns how many were signalled. */
int tree_signal(struct tree *t, pid_t root, int signal);
