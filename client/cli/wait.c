/* wait and join: until jobs, or whole queues, are done. */
#include <inttypes.h>
#include <stdio.h>

#include "follow.h"
#include "json.h"
#include "pool_check.h"
#include "verbs.h"

const struct option_row timeout_options[] = {
	{ "timeout", 0, "DURATION", "give up after it (wait returns 122, join 6)", OPTION_OWN },
	{ .name = NULL },
};

const struct option_row wait_options[] = {
	{ "any", 0, NULL, "until one of them is done, not all", OPTION_OWN },
	{ .name = NULL },
};

/* The first code that is not 0, in the order of the arguments. */
static int first_code(const struct jobpool_value *jobs)
{
	int first = 0;

	for (size_t i = 0; i < jobs->count; i++) {
		int code = explain_job(jobs->items[i]);

		first = first ? first : code;
	}
	return first;
}

int verb_wait(struct cli *cli)
{
	bool any = cli_option(cli, "any") != NULL;
	struct jobpool_value *jobs = NULL;
	uint64_t *ids = NULL;
	size_t count = 0;
	int code, r = cli_ids(cli, &ids, &count);

	if (r)
		return r;
	warn_if_only_worker(cli, NULL, ids, count);
	r = jobpool_result_wait(cli->jobpool, ids, count, any, cli_timeout(cli, "timeout"), &jobs);
	if (r == -ETIMEDOUT) {
		cli_say("timed out; the jobs go on");
		code = EXIT_WAIT_TIMEDOUT;
	} else if (r < 0) {
		code = cli_fail(cli, NULL);
	} else {
		if (cli_json(cli))
			json_print_maps(jobs);
		code = first_code(jobs);
	}
	jobpool_value_free(jobs);
	free(ids);
	return code;
}

/* The names, joined by commas; "*" without any. NULL = out of memory; the caller frees it. */
static char *join_names(const struct cli *cli)
{
	struct buf names = { 0 };

	for (int i = 0; i < cli->argument_count; i++) {
		if (i)
			buf_append(&names, ",", 1);
		buf_append_text(&names, cli->arguments[i]);
	}
	if (!cli->argument_count)
		buf_append_text(&names, "*");
	buf_append(&names, "", 1);
	return buf_take(&names, NULL);
}

int verb_join(struct cli *cli)
{
	char *names = join_names(cli);
	int r;

	if (!names) {
		cli_say("out of memory");
		return EXIT_NEGATIVE;
	}
	r = jobpool_queue_join(cli->jobpool, names, cli_timeout(cli, "timeout"), NULL);
	free(names);
	if (r == -ETIMEDOUT) {
		cli_say("timed out; jobs are still unfinished");
		return EXIT_TIMEDOUT;
	}
	return r < 0 ? cli_fail(cli, NULL) : EXIT_OK;
}
