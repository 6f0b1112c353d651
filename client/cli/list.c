/* list and show: jobs, for people and for programs. */
#include <inttypes.h>
#include <stdio.h>

#include "json.h"
#include "table.h"
#include "text.h"
#include "verbs.h"

#define LAST_JOBS 100          /* what a bare `jobpool list` shows */
#define PAGE "500"             /* jobs a request (doc/protocol.md, LIST) */

const struct option_row list_options[] = {
	{ "all", 'a', NULL, "all jobs, from the oldest on (default without options: the last 100)", OPTION_OWN },
	{ "limit", 0, "N", "the last N", OPTION_OWN },
	{ "state", 's', "WORDS", "only held, delayed, blocked, ready, running, done (joined by commas)", OPTION_VALUE },
	{ "outcome", 'o', "WORDS", "only those that ended so: succeeded, failed, ... (joined by commas)", OPTION_VALUE },
	{ "queue", 'q', "NAMES", "only those of these queues", OPTION_VALUE },
	{ "name", 'n', "TEXT", "only those with this name", OPTION_VALUE },
	{ "owner", 0, "USER", "only those of this user", OPTION_VALUE },
	{ .name = NULL },
};

static const struct table_column list_columns[] = {
	{ .title = "ID", .right = true },
	{ .title = "STATE", .look = LOOK_WORD },
	{ .title = "OUTCOME", .look = LOOK_WORD },
	{ .title = "QUEUE", .drop = 1 },
	{ .title = "TIME", .right = true },
	{ .title = "COMMAND", .least = 20 },
};

/* How long its attempt has run, or ran; "-" when there is none. */
static const char *job_time(const struct jobpool_value *job, char text[TIME_TEXT_BYTES])
{
	int64_t elapsed_us = jobpool_map_integer(job, "elapsed_us", -1),
		started = jobpool_map_integer(job, "started_at", -1);
	const char *state = jobpool_map_text(job, "state");

	if (state && strcmp(state, "running") == 0 && started > 0)
		return text_elapsed((uint64_t)MAX((int64_t)now_wall_ms() - started, 0), text);
	return elapsed_us < 0 ? "-" : text_elapsed((uint64_t)elapsed_us / 1000, text);
}

static void job_outcome(const struct jobpool_value *job, char *text, size_t size)
{
	const char *outcome = jobpool_map_text(job, "outcome");
	int code = jobpool_result_code(job);

	if (!outcome)
		snprintf(text, size, "-");
	else if (code > 0)
		snprintf(text, size, "%s(%d)", outcome, code);
	else
		snprintf(text, size, "%s", outcome);
}

static void add_row(struct table *table, const struct jobpool_value *job)
{
	const char *state = jobpool_map_text(job, "state"), *queue = jobpool_map_text(job, "queue"),
		   *name = jobpool_map_text(job, "name");
	char outcome[64], elapsed[TIME_TEXT_BYTES];
	struct buf command = { 0 };

	job_outcome(job, outcome, sizeof(outcome));
	if (name) {
		buf_append(&command, "[", 1);
		text_escape(&command, name, strlen(name));
		buf_append(&command, "] ", 2);
	}
	text_command(&command, jobpool_map_find(job, "argv"), jobpool_map_integer(job, "argv_cut", 0) != 0);
	buf_append(&command, "", 1);
	table_cell_uint(table, (uint64_t)jobpool_map_integer(job, "id", 0));
	table_cell(table, state ? state : "-");
	table_cell(table, outcome);
	table_cell(table, queue ? queue : "-");
	table_cell(table, job_time(job, elapsed));
	table_cell(table, command.failed ? "" : command.data);
	buf_free(&command);
}

/* Where jobs go as they come: a table page by page, or a JSON array. */
struct sink {
	bool json;
	struct table table;
	struct json_array array;
};

static void sink_add(struct sink *sink, const struct jobpool_value *job)
{
	if (sink->json)
		json_array_add(&sink->array, job);
	else
		add_row(&sink->table, job);
}

/* Not @whole: the answer broke off. Then no table, and no JSON array that looks complete. */
static void sink_end(struct sink *sink, bool whole)
{
	if (whole && sink->json)
		json_array_end(&sink->array);
	else if (whole)
		table_flush(&sink->table);
	table_deinit(&sink->table);
}

/* All that match, oldest first, page by page. */
static int list_all(struct cli *cli, struct jobpool_option *filters, size_t count, struct sink *sink)
{
	uint64_t cursor = 0;

	filters[count++] = (struct jobpool_option){ "COUNT", PAGE };
	do {
		struct jobpool_value *jobs;

		if (jobpool_result_list(cli->jobpool, filters, count, cursor, &cursor, &jobs) < 0)
			return cli_fail(cli, NULL);
		for (size_t i = 0; i < jobs->count; i++)
			sink_add(sink, jobs->items[i]);
		if (!sink->json && jobs->count)
			table_flush(&sink->table);
		jobpool_value_free(jobs);
	} while (cursor);
	return 0;
}

/* The last @limit that match: asked for from the newest on, kept, and shown oldest first. */
static int list_last(struct cli *cli, struct jobpool_option *filters, size_t count, uint64_t limit, struct sink *sink,
		     bool *ret_more)
{
	struct jobpool_value **pages = NULL;
	size_t page_count = 0;
	uint64_t cursor = 0, found = 0;
	int r = 0;

	filters[count++] = (struct jobpool_option){ "ORDER", "desc" };
	filters[count++] = (struct jobpool_option){ "COUNT", PAGE };
	do {
		struct jobpool_value **more = reallocarray(pages, page_count + 1, sizeof(*pages));

		if (!more) {
			cli_say("out of memory");
			r = EXIT_NEGATIVE;
			break;
		}
		pages = more;
		if (jobpool_result_list(cli->jobpool, filters, count, cursor, &cursor, &pages[page_count]) < 0) {
			r = cli_fail(cli, NULL);
			break;
		}
		found += pages[page_count++]->count;
	} while (cursor && found <= limit);
	*ret_more = found > limit;
	for (size_t p = page_count; p-- > 0;)
		for (size_t i = pages[p]->count; i-- > 0;)
			if (found-- <= limit && r == 0)
				sink_add(sink, pages[p]->items[i]);
	while (page_count)
		jobpool_value_free(pages[--page_count]);
	free(pages);
	return r;
}

int verb_list(struct cli *cli)
{
	struct sink sink = { .json = cli_json(cli) };
	const char *limit_text = cli_option(cli, "limit");
	struct jobpool_option *filters;
	uint64_t limit = LAST_JOBS;
	size_t count;
	bool more = false;
	int r;

	if (limit_text && slice_to_uint(slice_of(limit_text), UINT64_MAX / 2, &limit) < 0)
		return cli_usage(cli, "--limit %s is no number", limit_text);
	r = cli_wire_options(cli, &filters, &count);
	if (r)
		return r;
	table_init(&sink.table, list_columns, ARRAY_SIZE(list_columns), cli_option(cli, "color"));
	if (!limit_text && (count || sink.json || cli_option(cli, "all")))
		r = list_all(cli, filters, count, &sink); /* who chooses, or reads by program, must not miss any */
	else
		r = list_last(cli, filters, count, limit, &sink, &more);
	sink_end(&sink, r == 0);
	if (more && !limit_text)
		cli_say("these are the last %" PRIu64 " jobs; see more with --all or --limit", limit);
	free(filters);
	return r;
}

/* --- show --- */

static bool ends_with(const char *text, const char *end)
{
	size_t len = strlen(text), end_len = strlen(end);

	return len >= end_len && strcmp(text + len - end_len, end) == 0;
}

static void show_value(const char *name, const struct jobpool_value *value)
{
	struct buf text = { 0 };
	char time[TIME_TEXT_BYTES];

	if (value->type == JOBPOOL_NIL)
		return;
	if (value->type == JOBPOOL_ARRAY)
		text_command(&text, value, false);
	else if (value->type == JOBPOOL_BYTES)
		text_escape(&text, value->bytes, value->count);
	else if (ends_with(name, "_at"))
		buf_append_text(&text, text_time(value->integer, time));
	else
		buf_printf(&text, "%" PRId64, value->integer);
	if (!text.failed)
		printf("%-18s%.*s\n", name, (int)text.len, text.data ? text.data : "");
	buf_free(&text);
}

int verb_show(struct cli *cli)
{
	struct jobpool_value *job;
	uint64_t id;
	int r = cli_id(cli, cli->arguments[0], &id);

	if (r)
		return r;
	if (jobpool_result_show(cli->jobpool, id, &job) < 0)
		return cli_fail(cli, NULL);
	if (cli_json(cli))
		json_print_map(job);
	else
		for (size_t i = 0; job->type == JOBPOOL_ARRAY && i + 1 < job->count; i += 2)
			if (job->items[i]->type == JOBPOOL_BYTES)
				show_value(job->items[i]->bytes, job->items[i + 1]);
	jobpool_value_free(job);
	return EXIT_OK;
}
