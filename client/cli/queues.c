/* queue, pools, workers: who waits where, and who works. */
#include <inttypes.h>
#include <stdio.h>

#include "connect.h"
#include "json.h"
#include "table.h"
#include "text.h"
#include "verbs.h"

/* How a map's integer is shown. */
enum shown_as { AS_NUMBER, AS_TIME, AS_AGE, AS_YES, AS_RATE };

/* A column shows the map's value of that name. */
struct map_column {
	struct table_column column;
	const char *name;
	enum shown_as as;
};

#define TEXT(title_, name_, ...) { { .title = title_, __VA_ARGS__ }, name_, AS_NUMBER }
#define NUMBER(title_, name_, ...) { { .title = title_, .right = true, __VA_ARGS__ }, name_, AS_NUMBER }

static const struct map_column queue_columns[] = {
	TEXT("QUEUE", "name"),
	NUMBER("READY", "ready", .look = LOOK_COUNT),
	NUMBER("RUNNING", "running", .look = LOOK_ACTIVE),
	NUMBER("HELD", "held", .look = LOOK_COUNT, .drop = 3),
	NUMBER("DELAYED", "delayed", .look = LOOK_COUNT, .drop = 2),
	NUMBER("UNFINISHED", "unfinished", .look = LOOK_COUNT, .drop = 1),
	NUMBER("SUCCEEDED", "succeeded", .look = LOOK_COUNT, .drop = 6),
	NUMBER("FAILED", "failed", .look = LOOK_BAD),
	{ { .title = "IN", .right = true, .look = LOOK_COUNT, .drop = 5 }, "submitted_per_minute", AS_RATE },
	{ { .title = "OUT", .right = true, .look = LOOK_COUNT, .drop = 7 }, "finished_per_minute", AS_RATE },
	{ { .title = "OLDEST", .right = true, .look = LOOK_COUNT }, "oldest_waiting_at", AS_AGE },
	TEXT("POOL", "pool", .drop = 4),
	{ { .title = "PAUSED", .look = LOOK_WORD }, "paused", AS_YES },
};

static const struct map_column pool_columns[] = {
	TEXT("POOL", "name"),
	NUMBER("WORKERS", "workers"),
	NUMBER("ALIVE", "alive", .look = LOOK_COUNT, .drop = 2),
	NUMBER("IDLE", "idle", .look = LOOK_COUNT, .drop = 3),
	NUMBER("BUSY", "busy", .look = LOOK_ACTIVE),
	NUMBER("STARTING", "starting", .look = LOOK_COUNT, .drop = 1),
	TEXT("BREAKER", "breaker", .look = LOOK_WORD),
	TEXT("QUEUES", "queues", .least = 16),
};

static const struct map_column worker_columns[] = {
	TEXT("POOL", "pool"),
	NUMBER("SLOT", "slot"),
	NUMBER("PID", "pid", .drop = 3),
	TEXT("STATE", "state", .look = LOOK_WORD),
	NUMBER("JOB", "job"),
	NUMBER("JOBS", "jobs", .look = LOOK_COUNT),
	{ { .title = "RATE", .right = true, .look = LOOK_COUNT }, "jobs_per_minute", AS_RATE },
	{ { .title = "STARTED", .drop = 2 }, "started_at", AS_TIME },
	NUMBER("ID", "id", .drop = 1),
};

static void integer_text(enum shown_as as, int64_t value, struct buf *out)
{
	char text[TIME_TEXT_BYTES];

	if (as == AS_YES)
		buf_append_text(out, value ? "yes" : "no");
	else if (as == AS_RATE)
		buf_append_text(out, value ? text_rate((double)value / 60, text) : "-");
	else if (as != AS_NUMBER && !value)
		buf_append_text(out, "-"); /* not known, or there is none */
	else if (as == AS_TIME)
		buf_append_text(out, text_time(value, text));
	else if (as == AS_AGE)
		buf_append_text(out, text_elapsed((uint64_t)MAX((int64_t)now_wall_ms() - value, 0), text));
	else
		buf_printf(out, "%" PRId64, value);
}

static void value_cell(struct table *table, enum shown_as as, const struct jobpool_value *value)
{
	struct buf text = { 0 };

	if (!value || value->type == JOBPOOL_NIL)
		buf_append_text(&text, "-");
	else if (value->type == JOBPOOL_BYTES)
		text_escape(&text, value->bytes, value->count);
	else if (value->type == JOBPOOL_ARRAY)
		text_command(&text, value, false);
	else
		integer_text(as, value->integer, &text);
	buf_append(&text, "", 1);
	table_cell(table, text.failed ? "" : text.data);
	buf_free(&text);
}

static void print_table(const struct cli *cli, const struct jobpool_value *maps, const struct map_column *columns, size_t count)
{
	struct table_column titles[TABLE_COLUMNS_MAX];
	struct table table;

	for (size_t i = 0; i < count; i++)
		titles[i] = columns[i].column;
	table_init(&table, titles, count, cli_option(cli, "color"));
	for (size_t i = 0; maps->type == JOBPOOL_ARRAY && i < maps->count; i++)
		for (size_t k = 0; k < count; k++)
			value_cell(&table, columns[k].as, jobpool_map_find(maps->items[i], columns[k].name));
	table_flush(&table);
	table_deinit(&table);
}

/* Print what a call of the library gave (@r), and free it. */
static int print_maps(struct cli *cli, int r, struct jobpool_value *maps, const struct map_column *columns,
		      size_t count)
{
	if (r < 0)
		return cli_fail(cli, NULL);
	if (cli_json(cli))
		json_print_maps(maps);
	else
		print_table(cli, maps, columns, count);
	jobpool_value_free(maps);
	return EXIT_OK;
}

int verb_pools(struct cli *cli)
{
	const char *word = cli->arguments[0];
	struct jobpool_value *pools = NULL;
	int r;

	if (word && (strcmp(word, "reset") != 0 || cli->argument_count != 2))
		return cli_usage(cli, "pools takes no words but: reset NAME");
	r = cli_connect(cli);
	if (r)
		return r;
	if (word)
		return jobpool_pool_reset(cli->jobpool, cli->arguments[1]) < 0 ? cli_fail(cli, NULL) : EXIT_OK;
	r = jobpool_pools(cli->jobpool, &pools);
	return print_maps(cli, r, pools, pool_columns, ARRAY_SIZE(pool_columns));
}

int verb_workers(struct cli *cli)
{
	struct jobpool_value *workers = NULL;
	int r = jobpool_workers(cli->jobpool, &workers);

	return print_maps(cli, r, workers, worker_columns, ARRAY_SIZE(worker_columns));
}

static int show_queue(struct cli *cli, const char *name)
{
	struct jobpool_value *queues = NULL;
	int r = jobpool_queues(cli->jobpool, name, &queues);

	if (r < 0 || !name || !cli_json(cli))
		return print_maps(cli, r, queues, queue_columns, ARRAY_SIZE(queue_columns));
	if (queues->type == JOBPOOL_ARRAY && queues->count)
		json_print_map(queues->items[0]);
	jobpool_value_free(queues);
	return EXIT_OK;
}

struct queue_change {
	const char *word;
	int (*change)(struct jobpool *jobpool, const char *queue);
};

static const struct queue_change queue_changes[] = {
	{ "pause", jobpool_queue_pause },
	{ "resume", jobpool_queue_resume },
};

static const struct queue_change *find_queue_change(const char *word)
{
	for (size_t i = 0; word && i < ARRAY_SIZE(queue_changes); i++)
		if (strcmp(word, queue_changes[i].word) == 0)
			return &queue_changes[i];
	return NULL;
}

int verb_queue(struct cli *cli)
{
	const char *first = cli->arguments[0];
	const struct queue_change *change = find_queue_change(first);
	int r;

	if (change && cli->argument_count != 2)
		return cli_usage(cli, "queue %s needs the name of a queue", first);
	if (!change && cli->argument_count > 1)
		return cli_usage(cli, "'%s' is no word for queues; there are pause and resume", first);
	r = cli_connect(cli);
	if (r)
		return r;
	if (change)
		return change->change(cli->jobpool, cli->arguments[1]) < 0 ? cli_fail(cli, NULL) : EXIT_OK;
	return show_queue(cli, first);
}
