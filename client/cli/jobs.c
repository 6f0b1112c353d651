/* Verbs on single jobs: log, kill, the changes (cancel, hold, ...), why, clean. */
#include <inttypes.h>
#include <stdio.h>

#include "follow.h"
#include "text.h"
#include "verbs.h"

const struct option_row log_options[] = {
	{ "follow", 'f', NULL, "go on until the job ends", OPTION_OWN },
	{ "stdout", 0, NULL, "only what it wrote to stdout", OPTION_OWN },
	{ "stderr", 0, NULL, "only what it wrote to stderr (on our stdout; of jobs with split streams)", OPTION_OWN },
	{ .name = NULL },
};

const struct option_row kill_options[] = {
	{ "signal", 's', "SIGNAL", "name or number (default TERM)", OPTION_OWN },
	{ .name = NULL },
};

const struct option_row clean_options[] = {
	{ "queue", 'q', "NAMES", "only those of these queues", OPTION_VALUE },
	{ "outcome", 'o', "WORDS", "only those that ended so: succeeded, failed, ... (joined by commas)", OPTION_VALUE },
	{ .name = NULL },
};

/* --- log --- */

static int write_failed(int r)
{
	cli_say("cannot write the output: %s", strerror(-r));
	return EXIT_NEGATIVE;
}

/* One stream as it is now. 0 or the exit code. */
static int print_stream(struct cli *cli, uint64_t id, enum jobpool_output stream, enum follow_what what)
{
	uint64_t offset = 0, begin;
	bool ended = false, empty = false;

	while (!ended && !empty) {
		struct jobpool_value *bytes;
		int r;

		if (jobpool_output_read(cli->jobpool, id, stream, offset, &begin, &bytes, &ended) < 0)
			return cli_fail(cli, NULL);
		r = output_print(stream, bytes->bytes, bytes->count, begin > offset ? begin - offset : 0, what);
		empty = bytes->count == 0;
		offset = begin + bytes->count;
		jobpool_value_free(bytes);
		if (r < 0)
			return write_failed(r);
	}
	return 0;
}

static int follow_log(struct cli *cli, uint64_t id, enum follow_what what)
{
	struct jobpool_follow *follow;
	struct jobpool_news news = { 0 };
	int code = 0;

	if (jobpool_follow_new(cli->jobpool, id, &follow) < 0)
		return cli_fail(cli, NULL);
	while (!code && !news.job) {
		int r = jobpool_follow_next(follow, &news);

		if (r < 0)
			code = cli_fail(cli, NULL);
		else if ((r = follow_print(&news, what)) < 0)
			code = write_failed(r);
	}
	jobpool_follow_free(follow);
	return code;
}

int verb_log(struct cli *cli)
{
	bool out = cli_option(cli, "stdout") != NULL, err = cli_option(cli, "stderr") != NULL;
	enum follow_what what = out == err ? FOLLOW_BOTH : out ? FOLLOW_OUT : FOLLOW_ERR;
	uint64_t id;
	int r = cli_id(cli, cli->arguments[0], &id);

	if (r)
		return r;
	if (cli_option(cli, "follow"))
		return follow_log(cli, id, what);
	if (what & FOLLOW_OUT)
		r = print_stream(cli, id, JOBPOOL_OUT, what);
	if (r == 0 && what & FOLLOW_ERR)
		r = print_stream(cli, id, JOBPOOL_ERR, what);
	return r;
}

/* --- Changes --- */

int verb_kill(struct cli *cli)
{
	const char *signal = cli_option(cli, "signal");
	uint64_t *ids;
	size_t count;
	int code = 0, r = cli_ids(cli, &ids, &count);

	if (r)
		return r;
	for (size_t i = 0; i < count; i++)
		if (jobpool_process_signal(cli->jobpool, ids[i], signal ? signal : "TERM") < 0) {
			r = cli_fail(cli, cli->arguments[i]);
			code = code ? code : r;
		}
	free(ids);
	return code;
}

static const struct {
	const char *verb;
	enum jobpool_change change;
	const char *none; /* why it may not apply to a job */
} changes[] = {
	{ "cancel", JOBPOOL_CANCEL, "already done" },       { "hold", JOBPOOL_HOLD, "already running, held or done" },
	{ "release", JOBPOOL_RELEASE, "not held" },         { "retry", JOBPOOL_RETRY, "not done yet" },
	{ "remove", JOBPOOL_REMOVE, "not done yet" },
};

int verb_change(struct cli *cli)
{
	uint64_t *ids, changed = 0;
	size_t count, i = 0;
	int r = cli_ids(cli, &ids, &count);

	if (r)
		return r;
	while (strcmp(changes[i].verb, cli->verb->name) != 0)
		i++;
	r = jobpool_process_change(cli->jobpool, changes[i].change, ids, count, &changed) < 0 ? cli_fail(cli, NULL) : 0;
	free(ids);
	if (r || changed >= count)
		return r;
	cli_say("%s: %" PRIu64 " of %zu jobs; the others are %s", cli->verb->name, changed, count, changes[i].none);
	return EXIT_NEGATIVE;
}

int verb_clean(struct cli *cli)
{
	struct jobpool_option *filters;
	uint64_t removed, sum = 0;
	size_t count;
	int r = cli_wire_options(cli, &filters, &count);

	if (r)
		return r;
	do {
		r = jobpool_result_clean(cli->jobpool, filters, count, &removed) < 0 ? cli_fail(cli, NULL) : 0;
		sum += r ? 0 : removed;
	} while (r == 0 && removed);
	if (r == 0 || sum)
		printf("%" PRIu64 "\n", sum);
	free(filters);
	return r;
}

int verb_why(struct cli *cli)
{
	const char *words[] = { "WHY", cli->arguments[0] };
	struct jobpool_value *why;
	struct buf text = { 0 };
	uint64_t id;
	int r = cli_id(cli, cli->arguments[0], &id);

	if (r)
		return r;
	if (jobpool_call(cli->jobpool, words, ARRAY_SIZE(words), &why) < 0)
		return cli_fail(cli, NULL);
	if (why->type == JOBPOOL_BYTES)
		text_escape(&text, why->bytes, why->count);
	printf("%.*s\n", (int)text.len, text.data ? text.data : "");
	buf_free(&text);
	jobpool_value_free(why);
	return EXIT_OK;
}
