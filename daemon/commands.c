/* The command table, and what all handlers share: arity, who may, ids, time-outs, options. */
#include "commands.h"

#include <inttypes.h>
#include <stdlib.h>

#include "submit_options.h"

#define ANY UINT32_MAX

static const struct command table[] = {
	{ "ENVIRONMENT", 2, ANY, 0, cmd_environment, "jobs",
	  "name=value...", "Store an environment for SUBMIT's option ENV; gives its id", NULL },
	{ "INPUT", 4, 4, 0, cmd_input, "jobs",
	  "NEW|id offset bytes", "Store what a job shall read on stdin, in pieces; gives its id and the next offset", NULL },
	{ "SUBMIT", 4, ANY, 0, cmd_submit, "jobs",
	  "queue [OPTION value]... CMD arg...", "Submit a command; gives the job's id", &submit_option_table },
	{ "WAIT", 3, ANY, COMMAND_IDS | COMMAND_HEAVY, cmd_wait, "jobs",
	  "ms [ANY] id...", "Wait until the jobs (ANY: one of them) are done; gives their maps", NULL },
	{ "FOLLOW", 5, 5, COMMAND_IDS | COMMAND_HEAVY, cmd_follow, "jobs",
	  "id out-offset err-offset ms", "Output beyond the offsets, as soon as there is some or the job ends", NULL },
	{ "OUTPUT", 4, 6, COMMAND_IDS | COMMAND_HEAVY, cmd_output, "jobs",
	  "id out|err offset [COUNT n]", "Output as it is now", &output_options },
	{ "SHOW", 2, 2, COMMAND_IDS | COMMAND_HEAVY, cmd_show, "jobs",
	  "id", "Everything about one job", NULL },
	{ "LIST", 1, ANY, COMMAND_HEAVY, cmd_list, "jobs",
	  "[filter value]... [ORDER asc|desc] [CURSOR c] [COUNT n]", "Jobs by filter, in pages", &list_options },
	{ "WHY", 2, 2, COMMAND_IDS, cmd_why, "jobs",
	  "id", "Why a job is not running", NULL },
	{ "SIGNAL", 3, 3, COMMAND_IDS, cmd_signal, "jobs",
	  "id signal", "Deliver a signal to all processes of a running job", NULL },
	{ "CANCEL", 2, ANY, COMMAND_IDS, cmd_cancel, "jobs",
	  "id...", "End jobs, running or not; gives how many will end by it", NULL },
	{ "RETRY", 2, ANY, COMMAND_IDS, cmd_retry, "jobs",
	  "id...", "Make done jobs ready again", NULL },
	{ "HOLD", 2, ANY, COMMAND_IDS, cmd_hold, "jobs",
	  "id...", "Keep jobs that wait from starting", NULL },
	{ "RELEASE", 2, ANY, COMMAND_IDS, cmd_release, "jobs",
	  "id...", "Let held jobs start", NULL },
	{ "UPDATE", 2, 4, COMMAND_IDS, cmd_update, "jobs",
	  "id [PRIORITY n]", "Change a job before it runs", &update_options },
	{ "REMOVE", 2, ANY, COMMAND_IDS, cmd_remove, "jobs",
	  "id...", "Forget done jobs, with their output", NULL },
	{ "CLEAN", 1, 5, 0, cmd_clean, "jobs",
	  "[QUEUE names] [OUTCOME words]", "Remove some finished jobs; call again until it gives 0", &clean_options },

	{ "JOIN", 3, 5, 0, cmd_join, "queues",
	  "queue[,queue]|* ms [SINCE n]", "Wait until the queues have no unfinished job", &join_options },
	{ "QSIZE", 2, 2, 0, cmd_qsize, "queues",
	  "queue", "Number of ready jobs", NULL },
	{ "QUEUES", 1, 2, 0, cmd_queues, "queues",
	  "[name]", "The queues and their counts", NULL },
	{ "QUEUE", 3, 3, 0, cmd_queue, "queues",
	  "PAUSE|RESUME name", "Stop and resume starting jobs of a queue", NULL },
	{ "POOLS", 1, 1, 0, cmd_pools, "queues",
	  "", "The pools of workers", NULL },
	{ "POOL", 3, 3, COMMAND_ADMIN, cmd_pool, "queues",
	  "RESET name", "Close a pool's breaker and start its workers again", NULL },
	{ "WORKERS", 1, 1, 0, cmd_workers, "queues",
	  "", "The workers and what they do", NULL },

	{ "PING", 1, 2, COMMAND_MEMORY, cmd_ping, "server",
	  "[message]", "PONG, or the message", NULL },
	{ "INFO", 1, ANY, COMMAND_MEMORY, cmd_info, "server",
	  "", "Facts and figures of the daemon", NULL },
	{ "RELOAD", 1, 1, COMMAND_ADMIN, cmd_reload, "server",
	  "", "Read the configuration again", NULL },
	{ "SHUTDOWN", 1, 2, COMMAND_ADMIN, cmd_shutdown, "server",
	  "[LEAVE|KILL]", "Stop the daemon; running jobs are left to their workers, or ended", NULL },
	{ "HELLO", 1, ANY, COMMAND_MEMORY, cmd_hello, "server",
	  "[2 ...]", "Facts of the server; the protocol version is 2", NULL },
	{ "CLIENT", 2, ANY, COMMAND_MEMORY, cmd_client, "server",
	  "subcommand...", "For Redis clients; ID gives the connection's number", NULL },
	{ "COMMAND", 1, ANY, COMMAND_MEMORY, cmd_command, "server",
	  "[COUNT | INFO [name...] | DOCS [name...]]", "The commands", NULL },
	{ "CONFIG", 3, 3, COMMAND_MEMORY, cmd_config, "server",
	  "GET name", "For Redis clients: every setting is empty", NULL },
	{ "SELECT", 2, 2, COMMAND_MEMORY, cmd_select, "server",
	  "0", "For Redis clients: there is one database", NULL },
	{ "QUIT", 1, 1, COMMAND_MEMORY, cmd_quit, "server",
	  "", "Close the connection after this reply", NULL },
};

const struct command *command_at(size_t index) { return index < ARRAY_SIZE(table) ? &table[index] : NULL; }

const struct command *command_find(struct slice name)
{
	for (size_t i = 0; i < ARRAY_SIZE(table); i++)
		if (slice_is_word(name, table[i].name))
			return &table[i];
	return NULL;
}

static bool names_last(const struct slice *argv, uint32_t argc)
{
	for (uint32_t i = 1; i < argc; i++)
		if (slice_is_word(argv[i], "LAST"))
			return true;
	return false;
}

bool commands_execute(struct commands *c, struct call *call, const struct slice *argv, uint32_t argc)
{
	const struct command *command = command_find(argv[0]);
	char shown[48];

	call->commands = c;
	if (!command) {
		call_error(call, "ERR", "unknown command '%s'", option_show(argv[0], shown));
		return true;
	}
	if (argc < command->words_min || argc > command->words_max) {
		call_error(call, "ERR", "wrong number of arguments for '%s': %s %s", command->name, command->name, command->arguments);
		return true;
	}
	if (command->flags & COMMAND_ADMIN && !conn_peer(call->conn)->admin) {
		call_error(call, "DENIED", "%s is for admins only", command->name);
		return true;
	}
	if (command->flags & COMMAND_IDS && !conn_last_is_known(call->conn) && names_last(argv, argc))
		return false;
	call->from_memory = command->flags & COMMAND_MEMORY;
	if (command->flags & COMMAND_HEAVY)
		call_set_heavy(call);
	command->handler(c, call, argv, argc);
	return true;
}

/* --- for the handlers --- */

int command_parse_id(struct call *call, struct slice word, uint64_t *ret_id)
{
	char shown[48];

	if (slice_is_word(word, "LAST")) {
		*ret_id = conn_last_id(call->conn);
		if (*ret_id)
			return 0;
		call_error(call, "NOTFOUND", "LAST: no SUBMIT on this connection gave an id");
		return -ENOENT;
	}
	if (slice_to_uint(word, JOB_ID_MAX, ret_id) == 0 && *ret_id)
		return 0;
	call_error(call, "SYNTAX", "'%s' is not a job's id: a number from 1 on, or LAST", option_show(word, shown));
	return -EINVAL;
}

int command_parse_ids(struct commands *c, struct call *call, const struct slice *words, uint32_t count, uint64_t **ret_ids)
{
	uint64_t *ids, max = MIN(c->config->limits.waited_jobs, (uint64_t)STORE_ROWS_MAX);
	int r = 0;

	if (count > max) {
		call_error(call, "LIMIT", "%" PRIu32 " ids: one request names at most %" PRIu64 " (limits.waited_jobs)", count, max);
		return -E2BIG;
	}
	ids = calloc(count, sizeof(*ids));
	if (!ids) {
		call_fail(call, -ENOMEM);
		return -ENOMEM;
	}
	for (uint32_t i = 0; i < count && r == 0; i++)
		r = command_parse_id(call, words[i], &ids[i]);
	if (r < 0)
		free(ids);
	else
		*ret_ids = ids;
	return r;
}

int command_parse_timeout(struct call *call, struct slice word, int64_t *ret_ms)
{
	char shown[48];

	if (slice_to_int(word, WAIT_FOREVER, INT64_MAX / 4, ret_ms) == 0)
		return 0;
	call_error(call, "SYNTAX", "'%s' is not a time-out: milliseconds, 0 = answer now, -1 = no limit", option_show(word, shown));
	return -EINVAL;
}

int command_parse_options(struct call *call, const struct option_table *options, const struct slice *words, uint32_t count, void *into)
{
	char error[256];
	size_t used;
	int r = options_parse(options, words, count, NULL, into, &used, error);

	if (r < 0)
		call_error(call, "SYNTAX", "%s", error);
	return r;
}

int command_find_queue(struct commands *c, struct call *call, struct slice name, struct queue **ret_queue)
{
	char shown[48];

	*ret_queue = dispatch_find_queue(c->dispatch, name);
	if (*ret_queue)
		return 0;
	if (!name_is_valid(name)) {
		call_error(call, "SYNTAX", "'%s' is not the name of a queue", option_show(name, shown));
		return -EINVAL;
	}
	call_error(call, "NOTFOUND", "no queue '%s'; the configuration names the queues", option_show(name, shown));
	return -ENOENT;
}

bool command_next_name(struct slice *rest, struct slice *ret_name)
{
	const char *comma;

	if (!rest->data)
		return false;
	comma = rest->len ? memchr(rest->data, ',', rest->len) : NULL;
	*ret_name = (struct slice){ rest->data, comma ? (size_t)(comma - rest->data) : rest->len };
	*rest = comma ? (struct slice){ comma + 1, rest->len - ret_name->len - 1 } : (struct slice){ NULL, 0 };
	return true;
}

static size_t count_queues(struct commands *c)
{
	struct queue *queue;
	size_t n = 0;

	list_for_each(queue, dispatch_queues(c->dispatch), link)
		n++;
	return n;
}

int command_find_queues(struct commands *c, struct call *call, struct slice names, struct queue ***ret_queues, size_t *ret_count)
{
	size_t known = count_queues(c), count = 0;
	struct queue *queue, **queues = calloc(known + 1, sizeof(struct queue *));
	struct slice name;

	if (!queues) {
		call_fail(call, -ENOMEM);
		return -ENOMEM;
	}
	if (slice_is_word(names, "*")) {
		list_for_each(queue, dispatch_queues(c->dispatch), link)
			queues[count++] = queue;
		names.data = NULL;
	}
	while (command_next_name(&names, &name)) {
		int r = command_find_queue(c, call, name, &queue);

		if (r < 0) {
			free(queues);
			return r;
		}
		for (size_t i = 0; i < count && queue; i++)
			if (queues[i] == queue)
				queue = NULL; /* named twice */
		if (queue)
			queues[count++] = queue;
	}
	*ret_queues = queues;
	*ret_count = count;
	return 0;
}
