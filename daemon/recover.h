/* What is true after a restart: the worker files, judged by the rules that doc/internals.md lists. Reads and
 * writes files below state_dir (cwd) only; decides, and changes nothing but the epoch. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "util.h"
#include "worker_file.h"
#include "worker_proto.h"

struct recovered_worker {
	struct worker_file_header header;
	int fd;                    /* owned until taken (set to -1) */
	struct mark marks[MARKS_PER_WORKER]; /* a torn one is MARK_FREE, and was logged */
	bool torn;                 /* a mark has a wrong CRC: what it said is not known */
	bool locked;               /* alive (or a half-made child of it is) */
	bool retired;              /* it has proven its tree empty and left */
	bool same_boot;
};

struct recovery {
	struct recovered_worker *workers;
	size_t count;
};

/**
 * Open every worker file; write @epoch into all of them, and only then read any: a worker that still has an old daemon's message
 * can no longer act on it, so "no mark" is final.
 *
 * Returns 0; -errno when a file cannot be opened, written or read: then nothing can be said, and the daemon must not serve.
 * A file that is not a worker file is left where it is, and named in the log.
 */
int recover_scan(uint64_t epoch, struct recovery *ret_recovery);
void recover_free(struct recovery *recovery);

enum verdict {
	VERDICT_ENDED,         /* its worker has recorded the end: import it */
	VERDICT_ADOPT,         /* it runs, with a living worker, which will call */
	VERDICT_UNPROVEN,      /* its worker is dead: lost, once the tree is proven empty */
	VERDICT_LOST,          /* no process of it can be left: another boot */
	VERDICT_NEVER_STARTED, /* back to the queue */
};

/* What became of the attempt with this token. @same_boot: the attempt was given out during this boot. @ret_worker and
 * @ret_mark: indexes, valid for the first three. */
enum verdict recover_judge(const struct recovery *recovery, const uint8_t token[TOKEN_BYTES], bool same_boot, size_t *ret_worker,
			   unsigned *ret_mark);
/* The tree of this dead worker is empty: it retired, or the machine was restarted, or it was not running a job. */
bool recover_tree_is_empty(const struct recovered_worker *w);

/* Output that a worker left in the scratch files of a mark (no message brought it): small streams are read into @ret_output (heap), longer
 * ones are renamed to output/<job>.<attempt>.*, and end->output_files is set. Of an attempt that has not ended (MARK_STARTED) nobody has counted
 * the bytes: end->output[].bytes is set too. 0, or -errno: what could not be saved is marked in end->output_dropped, and logged. */
int recover_output(uint64_t worker_id, unsigned mark_index, const struct mark *mark, struct attempt_end *end, struct slice ret_output[2]);
