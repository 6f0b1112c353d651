/* Where the client socket and the state directory of a user's own daemon are (design section 10): one rule for daemon
 * and client. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#define SOCKET_PATH_SYSTEM "/run/jobpool/jobpool.sock"
/* sizeof(sockaddr_un.sun_path): a longer path, its NUL included, cannot be bound or dialled. */
#define SOCKET_PATH_BYTES 108

/**
 * Name the user's own socket: $XDG_RUNTIME_DIR/jobpool/jobpool.sock, or /tmp/jobpool-UID/jobpool.sock when that
 * variable is not set, or not an absolute path to a directory of ours (sudo keeps another user's).
 *
 * @ret_path:         NUL-terminated; @size >= SOCKET_PATH_BYTES is always enough
 * @create_directory: make the directory (mode 0700) when it is missing
 *
 * Returns 0; -ENAMETOOLONG; -EPERM when the directory in /tmp belongs to somebody else or others may write or look into
 * it, -ENOTDIR when it is something else (a symbolic link too): never use it then. -errno of mkdir. A missing directory
 * is no error without @create_directory.
 */
int socket_path_user(char *ret_path, size_t size, bool create_directory);

/**
 * Name the default state directory: $XDG_STATE_HOME/jobpool, else ~/.local/state/jobpool.
 *
 * @create: make it and its parents (mode 0700) where they are missing
 *
 * Returns 0; -ENAMETOOLONG; -ENOENT when the user has no home directory; -errno of mkdir.
 */
int state_directory_user(char *ret_path, size_t size, bool create);
