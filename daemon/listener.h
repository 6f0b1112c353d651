/* The client socket: bind it, accept, cap the connections, ask the kernel who is the peer. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <uv.h>

struct listener;

/* Take over a connected descriptor. 0, or -errno: the listener closes @fd. */
typedef int (*listener_accept)(int fd, uid_t uid, pid_t pid, void *context);

/**
 * Bind and listen. A socket file that nobody serves (of a daemon that was killed) is replaced.
 *
 * @path: absolute; < SOCKET_PATH_BYTES
 *
 * Returns 0; -errno, said in @error: -ENAMETOOLONG, -EADDRINUSE (somebody serves it), -EEXIST (the path is no socket), ...
 */
int listener_new(uv_loop_t *loop, const char *path, listener_accept accept, void *context, struct listener **ret_listener,
		 char error[256]);
/* false: connections wait in the kernel's backlog. */
void listener_set_accepting(struct listener *l, bool accepting);
/* Close it; the file is unlinked when it is still the one that was bound. Frees @l, by and by. NULL is fine. */
void listener_stop(struct listener *l);
