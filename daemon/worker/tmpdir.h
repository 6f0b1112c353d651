/* JOBPOOL_TMPDIR: the worker's own directory, empty at the start of each job. */
#pragma once

#include <sys/stat.h>

#include "util.h"

struct tmpdir {
	char path[32];      /* below state_dir, which is the current directory */
	struct stat empty;  /* what it was when it was last seen empty, if that can be told from a later change; st_ino 0: unknown */
};

/* Make the directory (it may exist). 0 or -errno. */
int tmpdir_init(struct tmpdir *t, uint64_t worker_id);
/* Remove what is in it, and make it again if a job removed it. Best effort: a job may have left mount points or files that
 * are not ours to remove. 0 when it is there and empty. */
int tmpdir_empty(struct tmpdir *t);
/* Empty and remove it. */
void tmpdir_deinit(struct tmpdir *t);
