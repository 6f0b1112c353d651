/* Printing what a job writes, and telling how it ended: shared by run, wait and log. */
#pragma once

#include "cli.h"

enum follow_what { FOLLOW_OUT = 1, FOLLOW_ERR = 2, FOLLOW_BOTH = 3 };

/* Write bytes of one stream where @what sends them: stdout to stdout, stderr to stderr, or to stdout when it is alone.
 * 0 or -errno of the write; a reader who is gone ends us by SIGPIPE, as is usual. */
int output_print(enum jobpool_output stream, const char *bytes, size_t count, uint64_t missing, enum follow_what what);
int follow_print(const struct jobpool_news *news, enum follow_what what);

/* A word on stderr about a job that did not end by itself (a limit, a cancel, no start). Returns the code of `run`. */
int explain_job(const struct jobpool_value *job);
