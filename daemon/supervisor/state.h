/* The state directory as the supervisor finds and leaves it: directories, the lock, a log file for when no daemon
 * listens. */
#pragma once

#include <sys/types.h>

#include "log.h"

/* Enter @path (it must exist) and make what is missing below it. A descriptor of it, or -errno. */
int state_enter(const char *path);

/* Take supervisor.lock for as long as this process lives, and write our pid into it.
 * 0; -EWOULDBLOCK: another supervisor has it, *ret_owner is its pid (0 = not yet written); -errno. */
int state_lock(int state_fd, pid_t *ret_owner);

/* Append one line to state_dir/supervisor.log, which starts anew at 1 MiB. What cannot be written is dropped. */
void state_log(int state_fd, const char *line);
