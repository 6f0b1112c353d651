/* The marks of a worker: what its file says of the attempts it has, and had until "recorded" came back.
 * The rules are those of design section 6, "The worker file is the proof". */
#pragma once

#include "worker_file.h"

struct marks {
	int file_fd; /* borrowed: the worker file */
	struct mark all[MARKS_PER_WORKER];
	/* An ended mark is told once per connection: by the HELLO that names it, or by its ENDED. */
	bool told[MARKS_PER_WORKER];
};

void marks_init(struct marks *m, int file_fd);

/**
 * Take a free mark for an attempt, write it as started, and only then look whether @epoch is still the daemon's.
 *
 * Returns its index; -ENOBUFS when all marks are in use; -EALREADY when one has this token; -ESTALE when another daemon
 * has come (the mark is cleared again); -errno when the file cannot be written. On failure nothing is to be started.
 */
int marks_start(struct marks *m, const struct message_run *run, uint64_t epoch);
/* The started attempt's process is known: for those who ask which it is. */
void marks_set_pid(struct marks *m, unsigned index, pid_t pid);
/* The outcome, into the file before anybody hears of it. @sync: so that it outlives the machine's power too. */
int marks_end(struct marks *m, unsigned index, const struct attempt_end *end, pid_t pid, bool sync);
/* Write an ended mark again, synced. */
int marks_sync(struct marks *m, unsigned index);
/* Free the ended mark of @token. Its index, or -ENOENT. */
int marks_clear(struct marks *m, const uint8_t token[TOKEN_BYTES]);
bool marks_are_free(const struct marks *m);
