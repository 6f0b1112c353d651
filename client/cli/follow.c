/* Output of jobs on our own stdout and stderr: unbuffered, all bytes. */
#include "follow.h"

#include <inttypes.h>
#include <poll.h>
#include <stdio.h>

/* All of it, also to a terminal that another program has set to O_NONBLOCK. */
static int write_out(int fd, const char *bytes, size_t count)
{
	struct pollfd wait = { .fd = fd, .events = POLLOUT };

	while (count) {
		ssize_t n = write(fd, bytes, count);

		if (n < 0 && errno == EAGAIN)
			poll(&wait, 1, -1);
		else if (n < 0 && errno != EINTR)
			return -errno;
		bytes += MAX(n, 0);
		count -= (size_t)MAX(n, 0);
	}
	return 0;
}

int output_print(enum jobpool_output stream, const char *bytes, size_t count, uint64_t missing, enum follow_what what)
{
	enum follow_what bit = stream == JOBPOOL_OUT ? FOLLOW_OUT : FOLLOW_ERR;
	int fd = stream == JOBPOOL_ERR && what == FOLLOW_BOTH ? STDERR_FILENO : STDOUT_FILENO;

	if (!(what & bit))
		return 0;
	if (missing)
		cli_say("%" PRIu64 " bytes cut out by max_output", missing);
	return write_out(fd, bytes, count);
}

int follow_print(const struct jobpool_news *news, enum follow_what what)
{
	for (int i = 0; i < 2; i++) {
		int r = output_print((enum jobpool_output)i, news->output[i].bytes, news->output[i].count,
				     news->output[i].missing, what);

		if (r < 0)
			return r;
	}
	return 0;
}

/* Outcomes that the job's own exit status does not tell. */
static const char *const outcomes_to_tell[] = { "timeout", "oom",     "unstartable", "cancelled",
						"expired", "skipped", "lost" };

int explain_job(const struct jobpool_value *job)
{
	const char *outcome = jobpool_map_text(job, "outcome"), *reason = jobpool_map_text(job, "reason");
	int code = jobpool_result_code(job);

	for (size_t i = 0; outcome && i < ARRAY_SIZE(outcomes_to_tell); i++)
		if (strcmp(outcome, outcomes_to_tell[i]) == 0)
			cli_say("job %" PRId64 " %s%s%s", jobpool_map_integer(job, "id", 0), outcome,
				reason ? ": " : "", reason ? reason : "");
	return code < 0 || code > 255 ? EXIT_JOBPOOL : code;
}
