/* A job as clients see it: the row of the store, and what memory adds while it runs, as the job map of doc/protocol.md. */
#pragma once

#include "buf.h"
#include "dispatch.h"
#include "store.h"

/* Which names the map has; each is more than the one before. */
enum job_map_level {
	JOB_MAP_BRIEF, /* WAIT, FOLLOW */
	JOB_MAP_LIST,  /* and argv, cut */
	JOB_MAP_SHOW,  /* everything; needs the row's spec */
};

/* @row: after dispatch_overlay(). Failures are kept in out->failed. */
void job_map_append(struct buf *out, const struct dispatch *dispatch, const struct job_row *row, enum job_map_level level);
/* Name of field @index and the level that it comes with; NULL behind the last (a test compares doc/protocol.md). */
const char *job_map_field(size_t index, enum job_map_level *ret_level);
/* What `run` and `wait` return for it, -1 while it is not done. */
int job_row_exit_code(const struct job_row *row);
