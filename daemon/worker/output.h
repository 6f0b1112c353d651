/* The output of the job at hand: pipes in, scratch files out (design section 7).
 *
 * A scratch file is the stream at its true offsets. Beyond max_output its middle is punched out: the first half of the
 * limit and the last half stay, and the file still grows, so a reader of a running job computes the hole from the size:
 * [max / 2, size - (max - max / 2)). What an ended attempt keeps is told exactly by its struct attempt_end. */
#pragma once

#include "worker_proto.h"

struct stream {
	int pipe_fd;           /* read end; -1: none, or at its end */
	int write_fd;          /* the job's end, ours too while it runs; -1: closed, or (merged) that of stdout */
	uint64_t bytes;        /* stored or cut out so far: the stream's length */
	uint64_t max_bytes;
	uint64_t punched;      /* the hole reaches up to here in the file */
	bool head_only;        /* the file system cannot punch: after max_bytes nothing more is stored, only counted */
	bool failed;           /* the scratch file cannot be written: all from here on is dropped */
	char *memory;          /* OUTPUT_INLINE_BYTES_MAX: read buffer, and the whole stream while it fits; owned, lazily made */
	size_t pending_start, pending_len; /* read but not written, the disk being full: the pipe is not read meanwhile */
};

struct output {
	uint64_t worker_id;
	/* One set of files for each mark: made at the first byte ever, truncated and reused when the mark is free again. */
	struct {
		int fd;        /* -1: not open */
		bool used;     /* has bytes since it was last truncated */
	} scratch[MARKS_PER_WORKER][2];
	unsigned mark;         /* the mark of the job that @streams belong to */
	struct stream streams[2];
	uint64_t retry_at_ms;  /* while something is pending */
};

void output_init(struct output *o, uint64_t worker_id);
/* Remove the scratch files too when @remove_files, else just close them. */
void output_deinit(struct output *o, bool remove_files);

/* The next job, of mark @mark: nothing is open, nothing was written. The output before was stopped. */
void output_reset(struct output *o, unsigned mark);
/* Fresh pipes for it: ret_write_fds[1] equals [0] when @merged. They stay ours, and open until output_end_writing(): else the end of
 * a job would wake its worker twice, by its pipes and by SIGCHLD. 0 or -errno: nothing is open. */
int output_start(struct output *o, bool merged, uint64_t max_bytes, int ret_write_fds[2]);
/* The job is gone, or was never started: from here on a pipe ends when nobody else has it open. */
void output_end_writing(struct output *o);
/* The descriptor to poll for input, or -1: at its end, or waiting for room on the disk. */
int output_poll_fd(const struct output *o, unsigned stream);
/* What poll() said of that descriptor. */
void output_read(struct output *o, unsigned stream, short revents, uint64_t now_ms);
/* When a full disk is to be tried again; UINT64_MAX: nothing waits. */
uint64_t output_deadline(const struct output *o);
void output_retry(struct output *o, uint64_t now_ms);

/* The tree is empty and our writing ended: take what the pipes still hold. True when both are at their end; false: somebody outside of the tree
 * has one open. What the disk has no room for now is dropped. */
bool output_drain(struct output *o, uint64_t now_ms);
/* Close the pipes, complete or not. */
void output_stop(struct output *o);

/* After output_stop(): give each stream its place (nothing, in the report, or a file of its own) and tell it in @end. */
void output_place(struct output *o, uint64_t job_id, uint32_t attempt, struct attempt_end *end);
/* The kept bytes, holes left out, of stream @stream of an ended mark that has no file: borrowed from us or from @copy. */
struct slice output_inline(const struct output *o, unsigned mark, const struct attempt_end *end, unsigned stream,
			   struct buf *copy);
/* Make what an ended attempt keeps outlive a power cut: files and their directory entries. Best effort. */
void output_sync(const struct output *o, unsigned mark, uint64_t job_id, uint32_t attempt, const struct attempt_end *end);
/* The attempt of @mark is recorded: its scratch files may be used again. */
void output_recycle(struct output *o, unsigned mark);
