/* Starting a worker process: its file, its descriptors, its arguments. Knows neither the table nor the daemon. */
#pragma once

#include <uv.h>

#include "worker_proto.h"

struct spawn {
	int directory_fd;      /* state_dir/workers */
	int alive_fds[2];      /* never written to: only we hold the write end, so its end of file is our end */
	char *binary;          /* jobpool-worker: beside our own executable, else where it was installed */
};

/* @state_fd: state_dir, with its directories made. 0, -errno: nothing is held. */
int spawn_init(struct spawn *s, int state_fd);
void spawn_deinit(struct spawn *s);

/**
 * Start one worker, in a session of its own, cwd = ours, with the descriptors that worker_proto.h names.
 *
 * @process: uninitialised; a libuv handle afterwards, also on failure: the caller closes it with uv_close()
 *
 * Returns 0; -EINVAL for a bad pool name; -EEXIST when the id was used before; another -errno. The worker's file stays
 * in any case: only the daemon removes it.
 */
int spawn_worker(struct spawn *s, uv_loop_t *loop, const struct message_start *start, uv_process_t *process,
		 uv_exit_cb on_exit);
