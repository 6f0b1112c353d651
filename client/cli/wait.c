/* wait and join: until jobs, or whole queues, are done. */
#include <inttypes.h>
#include <stdio.h>

#include "connect.h"
#include "follow.h"
#include "json.h"
#include "pace.h"
#include "pool_check.h"
#include "terminal.h"
#include "text.h"
#include "verbs.h"

#define PROGRESS_MS 500

const struct option_row timeout_options[] = {
	{ "timeout", 0, "DURATION", "give up after it (wait returns 122, join 6)", OPTION_OWN },
	{ .name = NULL },
};

const struct option_row wait_options[] = {
	{ "any", 0, NULL, "until one of them is done, not all", OPTION_OWN },
	{ .name = NULL },
};

const struct option_row join_options[] = {
	{ "progress", 0, NULL, "show on a terminal how far the queues have come", OPTION_OWN },
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

/* --- join --progress --- */

/* What QUEUES tells of the queues that are joined, in sum. */
struct join_counts {
	uint64_t succeeded, failed;       /* of all time */
	uint64_t ready, running, held, delayed, blocked;
};

struct join_progress {
	struct cli *cli;
	struct jobpool *second;           /* the first connection is busy waiting; NULL = not open */
	struct join_counts first;         /* at the beginning: what was done before is not of this join */
	bool begun;
	uint64_t begin_ms;
	struct pace pace;
};

static bool is_joined(const struct cli *cli, const char *queue)
{
	bool found = cli->argument_count == 0;

	for (int i = 0; queue && i < cli->argument_count; i++) {
		struct slice rest = slice_of(cli->arguments[i]);

		while (rest.len) { /* a word may be several names */
			struct slice name = { rest.data, strcspn(rest.data, ",") };

			found |= slice_equal(name, slice_of(queue)) || slice_equal(name, SLICE("*"));
			rest = slice_of(name.data + name.len + (name.data[name.len] != '\0'));
		}
	}
	return found;
}

static uint64_t count_of(const struct jobpool_value *queue, const char *name)
{
	return (uint64_t)jobpool_map_integer(queue, name, 0);
}

static struct join_counts sum_counts(const struct cli *cli, const struct jobpool_value *queues)
{
	struct join_counts sum = { 0 };

	for (size_t i = 0; queues->type == JOBPOOL_ARRAY && i < queues->count; i++) {
		const struct jobpool_value *queue = queues->items[i];

		if (!is_joined(cli, jobpool_map_text(queue, "name")))
			continue;
		sum.succeeded += count_of(queue, "succeeded");
		sum.failed += count_of(queue, "failed");
		sum.ready += count_of(queue, "ready");
		sum.running += count_of(queue, "running");
		sum.held += count_of(queue, "held");
		sum.delayed += count_of(queue, "delayed");
		sum.blocked += count_of(queue, "blocked");
	}
	return sum;
}

/* A retried job is taken from its total again, so there may be less than at the beginning. */
static uint64_t since(uint64_t first, uint64_t now)
{
	return now > first ? now - first : 0;
}

static void show_counts(struct join_progress *p, const struct join_counts *now)
{
	uint64_t failed = since(p->first.failed, now->failed), done = since(p->first.succeeded, now->succeeded) + failed;
	const struct {
		uint64_t count;
		const char *name;
	} others[] = { { now->held, "held" }, { now->delayed, "delayed" }, { now->blocked, "blocked" } };
	uint64_t now_ms = now_monotonic_ms(), left_ms;
	double rate = pace_per_second(&p->pace, now_ms, done);
	struct live_line line;
	char text[TIME_TEXT_BYTES];

	pace_note(&p->pace, now_ms, done);
	/* When those will come that are not ready, nobody knows. */
	left_ms = others[0].count + others[1].count + others[2].count ? UINT64_MAX : pace_left_ms(rate, now->ready + now->running);
	live_line_init(&line);
	live_line_add(&line, "%" PRIu64 " done", done);
	live_line_add(&line, "%" PRIu64 " failed", failed);
	live_line_add(&line, "%" PRIu64 " running", now->running);
	live_line_add(&line, "%" PRIu64 " waiting", now->ready);
	for (size_t i = 0; i < ARRAY_SIZE(others); i++)
		if (others[i].count)
			live_line_add(&line, "%" PRIu64 " %s", others[i].count, others[i].name);
	if (left_ms != UINT64_MAX)
		live_line_add(&line, "%s left", text_left(left_ms, text));
	if (rate > 0)
		live_line_add(&line, "%s", text_rate(rate, text));
	live_show(&line);
}

/* Failures are no news of this connection: the other one waits on, and tells. */
static void on_interval(void *context)
{
	struct join_progress *p = context;
	struct jobpool_options options = { .socket_path = jobpool_socket_path(p->cli->jobpool), .connect_ms = 1, .reconnect_ms = 1 };
	struct jobpool_value *queues;
	struct join_counts counts;

	if (!p->second && jobpool_open(&options, &p->second, NULL) < 0)
		return;
	if (jobpool_queues(p->second, NULL, &queues) < 0) {
		jobpool_close(p->second);
		p->second = NULL;
		return;
	}
	counts = sum_counts(p->cli, queues);
	jobpool_value_free(queues);
	if (!p->begun)
		p->first = counts;
	p->begun = true;
	show_counts(p, &counts);
}

static void end_progress(struct join_progress *p, const struct jobpool_joined *joined)
{
	uint64_t failed = since(p->first.failed, joined->failed), done = since(p->first.succeeded, joined->succeeded) + failed;
	uint64_t took_ms = now_monotonic_ms() - p->begin_ms;
	char time[TIME_TEXT_BYTES], rate[TIME_TEXT_BYTES];

	live_clear();
	if (p->begun)
		fprintf(stderr, "%" PRIu64 " done, %" PRIu64 " failed in %s, %s\n", done, failed, text_elapsed(took_ms, time),
			text_rate((double)done * 1000 / (double)MAX(took_ms, 1), rate));
}

static int join_with_progress(struct cli *cli, const char *names)
{
	struct join_progress p = { .cli = cli, .begin_ms = now_monotonic_ms() };
	struct jobpool_joined joined;
	int r;

	pace_begin(&p.pace, p.begin_ms, 0);
	r = jobpool_queue_join_watched(cli->jobpool, names, cli_timeout(cli, "timeout"), PROGRESS_MS, on_interval, &p, &joined);
	if (r == 0)
		end_progress(&p, &joined);
	jobpool_close(p.second);
	return r;
}

int verb_join(struct cli *cli)
{
	char *names = join_names(cli);
	int r;

	if (!names) {
		cli_say("out of memory");
		return EXIT_NEGATIVE;
	}
	if (cli_option(cli, "progress") && live_begin())
		r = join_with_progress(cli, names);
	else
		r = jobpool_queue_join(cli->jobpool, names, cli_timeout(cli, "timeout"), NULL);
	free(names);
	if (r == -ETIMEDOUT) {
		cli_say("timed out; jobs are still unfinished");
		return EXIT_TIMEDOUT;
	}
	return r < 0 ? cli_fail(cli, NULL) : EXIT_OK;
}
