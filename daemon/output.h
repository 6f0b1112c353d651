/* Reading the output of jobs by offset, the same for running and finished ones: the scratch file while it runs, afterwards what
 * the store has or a file in state_dir/output. Never blocks the loop. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "dispatch.h"
#include "store.h"

#define OUTPUT_READ_BYTES_MAX (256u << 10)
#define OUTPUT_PATH_BYTES 64

/* One stream: what is asked for, and what there is. */
struct output_stream {
	uint64_t offset;              /* in: bytes from here on; out: where they begin, behind what max_output cut out */
	size_t max;                   /* in: at most so many; 0 = this stream is not asked for */
	char *data;                   /* out: heap, owned by the read; NULL when @len is 0 */
	size_t len;
	bool at_end;                  /* out: nothing is behind these bytes now */
};

enum output_place {
	OUTPUT_NO_JOB,
	OUTPUT_NOT_STARTED,           /* no attempt yet */
	OUTPUT_STARTING,              /* given to a worker, which has not marked it yet; paths[0] is how its files' names begin */
	OUTPUT_RUNNING,               /* paths[] say where more will come */
	OUTPUT_ENDED,                 /* of the last attempt, which has ended */
};

/* One read of both streams. Zeroed, the first part filled in, then output_read_start(). */
struct output_read {
	uint64_t job_id;
	struct output_stream stream[2]; /* 0 = stdout (or both, merged), 1 = stderr */
	bool restart;                 /* running: an offset beyond the end (of an attempt before this one) reads from 0 */
	/* The job as the store has it, when it is not with a worker; the row is valid during the call. May be NULL. */
	void (*on_row)(struct output_read *read, const struct job_row *row);
	void (*on_done)(struct output_read *read, int status); /* 0 or -errno; once, from the loop; the read may be used again */
	/* results */
	enum output_place place;
	char paths[2][OUTPUT_PATH_BYTES];
	/* private */
	uv_loop_t *loop;
	struct store *store;
	struct dispatch *dispatch;
	struct job *job;              /* while its scratch files are being read */
	struct attempt_end end;
	uint32_t attempt;
	uv_work_t work;
	int status;
};

void output_read_start(uv_loop_t *loop, struct store *store, struct dispatch *dispatch, struct output_read *read);
/* Free what was read. Not while a read is under way. */
void output_read_clear(struct output_read *read);

/* Tells when a starting or running job's output grows: inotify on its scratch files, or on their directory until they exist. */
struct output_watch {
	uv_fs_event_t events[2];
	unsigned open_handles;
	char names[2][OUTPUT_PATH_BYTES]; /* how the names of its files begin */
	bool closing;
	void *context;                /* the owner's */
	void (*on_growth)(struct output_watch *watch); /* may stop the watch */
	void (*on_closed)(struct output_watch *watch);
};

/* Zeroed, callbacks set. @paths: "" = no such stream.
 *
 * Returns 0, and on_closed follows output_watch_stop(); -ENOENT: nothing is open, the caller frees @watch; -EBUSY: it cannot be watched (no
 * inotify instance or watch is left), on_closed follows, and @watch is not to be touched any more. */
int output_watch_start(uv_loop_t *loop, struct output_watch *watch, char paths[2][OUTPUT_PATH_BYTES]);
void output_watch_stop(struct output_watch *watch);
