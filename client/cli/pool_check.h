/* A job that waits for another job of its own pool can wait for ever: warn. */
#pragma once

#include "cli.h"

/* Inside a job (JOBPOOL_JOB_ID): warn on stderr when this job's worker is the only one of the pool that serves @queue
 * (NULL: not asked), or one of the @count jobs. Silent when it cannot be found out. */
void warn_if_only_worker(const struct cli *cli, const char *queue, const uint64_t *ids, size_t count);
