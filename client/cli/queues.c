/* queue, pools, workers: who waits where, and who works. */
#include <inttypes.h>
#include <stdio.h>

#include "connect.h"
#include "json.h"
#include "table.h"
#include "text.h"
#include "verbs.h"

/* A column shows the map's value of that name. */
struct map_column {
	struct table_column column;
	const char *name;
};

#define COLUMN(title_, name_) { { title_, false }, name_ }
#define NUMBER(title_, name_) { { title_, true }, name_ }

static const struct map_column queue_columns[] = {
	COLUMN("QUEUE", "name"),       NUMBER("READY", "ready"),         NUMBER("RUNNING", "running"), NUMBER("HELD", "held"),
	NUMBER("DELAYED", "delayed"),  NUMBER("UNFINISHED", "unfinished"), NUMBER("SUCCEEDED", "succeeded"),
	NUMBER("FAILED", "failed"),    COLUMN("POOL", "pool"),           NUMBER("PAUSED", "paused"),
};

static const struct map_column pool_columns[] = {
	COLUMN("POOL", "name"),         NUMBER("WORKERS", "workers"), NUMBER("ALIVE", "alive"),     NUMBER("IDLE", "idle"),
	NUMBER("BUSY", "busy"),         NUMBER("STARTING", "starting"), COLUMN("BREAKER", "breaker"), COLUMN("QUEUES", "queues"),
};

static const struct map_column worker_columns[] = {
	COLUMN("POOL", "pool"), NUMBER("SLOT", "slot"), NUMBER("PID", "pid"), COLUMN("STATE", "state"), NUMBER("JOB", "job"),
	NUMBER("JOBS", "jobs"), COLUMN("STARTED", "started_at"), NUMBER("ID", "id"),
};

static void value_cell(struct table *table, const char *name, const struct jobpool_value *value)
{
	struct buf text = { 0 };
	char time[TIME_TEXT_BYTES];

	if (!value || value->type == JOBPOOL_NIL || (strcmp(name, "started_at") == 0 && !value->integer))
		buf_append_text(&text, "-");
	else if (value->type == JOBPOOL_BYTES)
		text_escape(&text, value->bytes, value->count);
	else if (value->type == JOBPOOL_ARRAY)
		text_command(&text, value, false);
	else if (strcmp(name, "started_at") == 0)
		buf_append_text(&text, text_time(value->integer, time));
	else if (strcmp(name, "paused") == 0)
		buf_append_text(&text, value->integer ? "yes" : "no");
	else
		buf_printf(&text, "%" PRId64, value->integer);
	buf_append(&text, "", 1);
	table_cell(table, text.failed ? "" : text.data);
	buf_free(&text);
}

static void print_table(const struct jobpool_value *maps, const struct map_column *columns, size_t count)
{
	struct table_column titles[TABLE_COLUMNS_MAX];
	struct table table;

	for (size_t i = 0; i < count; i++)
		titles[i] = columns[i].column;
	table_init(&table, titles, count);
	for (size_t i = 0; maps->type == JOBPOOL_ARRAY && i < maps->count; i++)
		for (size_t k = 0; k < count; k++)
			value_cell(&table, columns[k].name, jobpool_map_find(maps->items[i], columns[k].name));
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
		print_table(maps, columns, count);
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
