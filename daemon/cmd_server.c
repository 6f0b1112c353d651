/* The commands about the server itself, and what stock Redis clients ask on connecting. */
#include <inttypes.h>
#include <stdio.h>

#include "build_config.h"
#include "commands.h"

COMMAND_HANDLER(cmd_ping)
{
	(void)c;
	if (argc == 2)
		resp_bulk(&call->reply, argv[1]);
	else
		resp_simple(&call->reply, "PONG");
	call_finish(call);
}

COMMAND_HANDLER(cmd_info)
{
	struct dispatch_figures jobs;
	struct store_figures store;
	struct buf text = { 0 };

	(void)argv;
	(void)argc;
	dispatch_get_figures(c->dispatch, &jobs);
	store_get_figures(c->store, &store);
	buf_printf(&text, "# Server\r\njobpool_version:%s\r\nprocess_id:%d\r\nuptime_in_seconds:%" PRIu64 "\r\nstate_dir:%s\r\nconfig_file:%s\r\n",
		   PACKAGE_VERSION, (int)getpid(), (now_monotonic_ms() - c->started_ms) / 1000, c->state_dir, c->config_path);
	buf_printf(&text, "\r\n# Clients\r\nconnected_clients:%zu\r\nblocked_clients:%zu\r\n", conns_count(c->conns),
		   conns_blocked_count(c->conns));
	buf_printf(&text, "\r\n# Jobs\r\nunfinished_jobs:%" PRIu64 "\r\nrunning_jobs:%" PRIu64 "\r\njobs_in_memory:%" PRIu64
			  "\r\nattempts_started:%" PRIu64 "\r\nattempts_ended:%" PRIu64 "\r\n",
		   jobs.unfinished, jobs.running, jobs.jobs_in_memory, jobs.started, jobs.ended);
	buf_printf(&text, "\r\n# Store\r\ncommit:%" PRIu64 "\r\ncommits:%" PRIu64 "\r\nrequests:%" PRIu64 "\r\nrequests_per_commit:%.1f\r\ndatabase_bytes:%" PRIu64
			  "\r\nwal_bytes:%" PRIu64 "\r\n",
		   store_commit_number(c->store), store.commits, store.requests, store.commits ? (double)store.requests / (double)store.commits : 0.0,
		   store.database_bytes, store.wal_bytes);
	call->reply.failed = text.failed;
	resp_bulk(&call->reply, (struct slice){ text.data, text.len });
	buf_free(&text);
	call_finish(call);
}

COMMAND_HANDLER(cmd_reload)
{
	struct buf errors = { 0 };

	(void)argv;
	(void)argc;
	if (c->reload(c->server, &errors) < 0)
		call_error(call, "ERR", "the old configuration stays: %.*s", (int)MIN(errors.len, (size_t)400), errors.data ? errors.data : "");
	else
		call_ok(call);
	buf_free(&errors);
}

COMMAND_HANDLER(cmd_shutdown)
{
	bool kill = argc == 2 && slice_is_word(argv[1], "KILL");

	if (argc == 2 && !kill && !slice_is_word(argv[1], "LEAVE")) {
		call_error(call, "SYNTAX", "SHUTDOWN [LEAVE|KILL]");
		return;
	}
	call->from_memory = true; /* the end itself is told by the connection's */
	call_ok(call);
	call_hold_until_exit(call);
	c->shutdown(c->server, kill ? STOP_KILL : STOP_LEAVE);
}

COMMAND_HANDLER(cmd_hello)
{
	(void)c;
	if (argc > 1 && !slice_equal(argv[1], SLICE("2"))) {
		call_error(call, "NOPROTO", "unsupported protocol version: jobpoold speaks RESP2");
		return;
	}
	resp_array(&call->reply, 6);
	resp_text(&call->reply, "server");
	resp_text(&call->reply, "jobpool");
	resp_text(&call->reply, "version");
	resp_text(&call->reply, PACKAGE_VERSION);
	resp_text(&call->reply, "proto");
	resp_integer(&call->reply, 2);
	call_finish(call);
}

COMMAND_HANDLER(cmd_client)
{
	(void)c;
	(void)argc;
	if (slice_is_word(argv[1], "ID"))
		call_integer(call, (int64_t)conn_id(call->conn));
	else
		call_ok(call);
}

/* COMMAND INFO: name, arity (negative: at least), flags, and the positions of keys, of which there are none. */
static void put_info(struct buf *out, const struct command *command)
{
	char lower[32];
	size_t i;

	for (i = 0; command->name[i] && i + 1 < sizeof(lower); i++)
		lower[i] = (char)(command->name[i] | 0x20);
	lower[i] = '\0';
	resp_array(out, 6);
	resp_text(out, lower);
	resp_integer(out, command->words_min == command->words_max ? (int64_t)command->words_min : -(int64_t)command->words_min);
	resp_array(out, 1);
	resp_simple(out, command->flags & COMMAND_ADMIN ? "admin" : "fast");
	resp_integer(out, 0);
	resp_integer(out, 0);
	resp_integer(out, 0);
}

/* COMMAND DOCS: a map of name to a map; redis-cli 7 makes its help and hints of it. */
static void put_docs(struct buf *out, const struct command *command)
{
	bool arguments = command->arguments[0] != '\0';

	resp_text(out, command->name);
	resp_array(out, arguments ? 8 : 6);
	resp_text(out, "summary");
	resp_text(out, command->help);
	resp_text(out, "since");
	resp_text(out, "0.1.0");
	resp_text(out, "group");
	resp_text(out, command->group);
	if (!arguments)
		return;
	resp_text(out, "arguments");
	resp_array(out, 1);
	resp_array(out, 4);
	resp_text(out, "name");
	resp_text(out, command->arguments);
	resp_text(out, "type");
	resp_text(out, "string");
}

static uint32_t count_commands(void)
{
	uint32_t n = 0;

	while (command_at(n))
		n++;
	return n;
}

/* All commands, or those that are named. @words_each: elements of the outer array for each; an unknown one is nil or left out. */
static void put_commands(struct buf *out, const struct slice *names, uint32_t count, void (*put)(struct buf *, const struct command *),
			 uint32_t words_each)
{
	const struct command *command;
	uint32_t known = 0;

	for (uint32_t i = 0; i < count; i++)
		known += command_find(names[i]) != NULL;
	resp_array(out, words_each * (count ? known : count_commands()));
	for (uint32_t i = 0; i < count; i++)
		if ((command = command_find(names[i])))
			put(out, command);
	for (size_t i = 0; !count && (command = command_at(i)); i++)
		put(out, command);
}

COMMAND_HANDLER(cmd_command)
{
	(void)c;
	if (argc == 1)
		put_commands(&call->reply, NULL, 0, put_info, 1);
	else if (slice_is_word(argv[1], "COUNT"))
		resp_integer(&call->reply, count_commands());
	else if (slice_is_word(argv[1], "INFO"))
		put_commands(&call->reply, argv + 2, argc - 2, put_info, 1);
	else if (slice_is_word(argv[1], "DOCS"))
		put_commands(&call->reply, argv + 2, argc - 2, put_docs, 2);
	else {
		call_error(call, "SYNTAX", "COMMAND [COUNT | INFO [name...] | DOCS [name...]]");
		return;
	}
	call_finish(call);
}

COMMAND_HANDLER(cmd_config)
{
	(void)c;
	(void)argc;
	if (!slice_is_word(argv[1], "GET")) {
		call_error(call, "SYNTAX", "CONFIG GET name; the configuration is a file, see RELOAD");
		return;
	}
	resp_array(&call->reply, 2);
	resp_bulk(&call->reply, argv[2]);
	resp_text(&call->reply, "");
	call_finish(call);
}

COMMAND_HANDLER(cmd_select)
{
	(void)c;
	(void)argc;
	if (slice_equal(argv[1], SLICE("0")))
		call_ok(call);
	else
		call_error(call, "ERR", "there is only database 0");
}

COMMAND_HANDLER(cmd_quit)
{
	(void)c;
	(void)argv;
	(void)argc;
	conn_close_after_replies(call->conn);
	call_ok(call);
}
