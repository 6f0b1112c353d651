/* What jobs shall read on stdin: files in state_dir/input, written in pieces by INPUT, sealed and synced before the SUBMIT that
 * names them. All file work is done by libuv's threads. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "util.h"

/* @next: the file's length. Runs once, from the loop. */
typedef void (*input_done)(void *context, int status, uint64_t next);

/**
 * Write one piece. @done: 0; -ENOENT there is no such input; -EINVAL @offset is not its length (@next is it); -EROFS a SUBMIT has named
 * it already; -EFBIG it would be longer than @limit; other -errno.
 *
 * @create: it is new, and must not exist
 * @bytes:  copied
 *
 * Returns 0 or -errno: then @done does not run.
 */
int input_write(uv_loop_t *loop, uint64_t id, bool create, uint64_t offset, struct slice bytes, uint64_t limit, input_done done,
		void *context);
/* Make it durable and unchangeable. Any number of times. Errors as above. */
int input_seal(uv_loop_t *loop, uint64_t id, input_done done, void *context);
