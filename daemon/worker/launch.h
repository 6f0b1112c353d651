/* Starting one job: its environment, the search for its program, vfork and exec. */
#pragma once

#include "affinity.h"
#include "outcome.h"
#include "spec.h"
#include "worker_proto.h"

enum { LAUNCH_OWN_VARIABLES = 5 };

/* What is the same for every job of this worker. */
struct launcher {
	char *own_variables[LAUNCH_OWN_VARIABLES + 1]; /* "JOBPOOL_POOL=...", ..., owned, NULL at the end */
	char *home_variable;                           /* "HOME=...", for jobs that bring none; owned */
	const struct affinity *affinity;               /* borrowed */
	bool reset_oom_score;                          /* the worker is protected from the OOM killer; its jobs are not */
};

struct launch {
	const struct spec *spec;
	struct slice environment; /* checked with environment_check() */
	struct slice queue;
	uint64_t job_id;
	uint32_t attempt;
	int stdin_fd;             /* -1: the worker's own, which is /dev/null */
	int stdout_fd, stderr_fd; /* above 2 */
};

struct launch_failure {
	enum start_step step; /* STEP_NONE: none */
	int error;
};

/**
 * @state_dir: absolute; it is the current directory
 * @socket: the client socket's path, "" = unknown
 *
 * Makes JOBPOOL_WORKER_DIR. 0 or -errno; after a failure launcher_deinit() may be called, and need not.
 */
int launcher_init(struct launcher *l, const struct affinity *affinity, const char *state_dir, const char *tmp_path, const char *pool,
		  uint32_t slot, const char *socket);
void launcher_deinit(struct launcher *l);

/* The pid of the running job; or 0, and *ret_failure tells what failed (a child that failed to exec is reaped by then). */
pid_t launch_job(const struct launcher *l, const struct launch *job, struct launch_failure *ret_failure);
