/* Counts of queues and uses of environments, added up in memory during a batch and written once before its COMMIT: a hundred jobs
 * change their queue's row once, not two hundred times. SQLite codes; SQLITE_NOMEM where there is no memory to add up in. */
#pragma once

#include "store_ops.h"

/* One job more (@by 1) or less (-1) in @state; the totals are not touched. */
int tally_job(struct ops *ops, uint32_t queue_id, enum job_state state, int by);
/* One job more or less that ended with @outcome. */
int tally_total(struct ops *ops, uint32_t queue_id, enum outcome outcome, int by);
/* @jobs more jobs name it, or less; 0 = it was used. Id 0 is fine. @owner: whose it is; data NULL = not known. */
int tally_environment(struct ops *ops, uint64_t id, struct slice owner, int jobs);
/* Has this batch used it for this owner? Then it exists. */
bool tally_knows_environment(const struct ops *ops, uint64_t id, struct slice owner);
/* Write the environments now: for whoever looks at their rows. */
int tally_flush_environments(struct ops *ops);
/* Before the COMMIT: write all, and the server's row; @ops->server.commit_number is this commit's. */
int tally_flush(struct ops *ops);
/* After a COMMIT or a ROLLBACK: nothing is added up any more. */
void tally_forget(struct ops *ops);
/* The same, and give the memory back. */
void tally_deinit(struct ops *ops);
