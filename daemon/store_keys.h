/* Keys of submissions: which job has one, and how long it is remembered (promise P2). Same rules as store_ops.h.
 *
 * A user's key has a row of its own, and is compared with the spec. The keys that our client makes for resending are a session and a
 * number, so those of jobs submitted one after the other are one row: a run. What a batch adds to runs is gathered in memory first. */
#pragma once

#include "store_ops.h"

/* Is it of the form "jobpool-" 32 hexadecimal digits "-" number? No client but ours makes those, so such a key has one spec only. */
bool keys_are_ours(struct slice key);

/* Which job has the row's key? @ret_same: with this spec_hash. Both are set only when it is found. */
int keys_find(struct ops *ops, const struct job_row *row, uint64_t spec_hash, bool *ret_found, uint64_t *ret_job_id, bool *ret_same);
/* Right after keys_find() did not find it. A row without a key is fine. */
int keys_insert(struct ops *ops, const struct job_row *row, uint64_t spec_hash);

/* A key lives as long as its job is not done, and from then on for its time. */
int keys_set_times(struct ops *ops, uint64_t job_id, bool done);
/* The job goes before that time has passed. */
int keys_outlive(struct ops *ops, uint64_t job_id, uint64_t finished_clock);

/* Write what was gathered. */
int keys_flush(struct ops *ops);
/* Remove what is past its time; *room: how much may be done, what was done is taken off. */
int keys_sweep(struct ops *ops, size_t *room);
