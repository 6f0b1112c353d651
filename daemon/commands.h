/* The command table: name, arity, options, who may call, handler, help. The one source of dispatch, COMMAND, COMMAND DOCS, and
 * of the test that compares doc/protocol.md. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "buf.h"
#include "config.h"
#include "conn.h"
#include "dispatch.h"
#include "environments.h"
#include "options.h"
#include "store.h"
#include "waiters.h"

struct sweep;

/* What the handlers work on. All borrowed from the server. */
struct commands {
	uv_loop_t *loop;
	struct store *store;
	struct dispatch *dispatch;
	struct waiters *waiters;
	struct conns *conns;
	struct sweep *sweep;
	const struct config *config;  /* the current one */
	const char *state_dir, *config_path; /* config_path "" = none */
	uint64_t started_ms;          /* monotonic */
	struct named_environments environments; /* ours */
	/* Upwards. reload: 0, or -errno with lines in @errors. */
	int (*reload)(void *server, struct buf *errors);
	void (*shutdown)(void *server, enum dispatch_stop how);
	void *server;
};

/* Finishes @call now or later, once. @argv (argv[0] is the command's name) is valid during the call only. */
typedef void (*command_handler)(struct commands *c, struct call *call, const struct slice *argv, uint32_t argc);

enum command_flags {
	COMMAND_MEMORY = 1u << 0,     /* answered from memory: depends on nothing stored */
	COMMAND_IDS = 1u << 1,        /* names jobs, also by LAST */
	COMMAND_HEAVY = 1u << 2,      /* may have a large reply */
	COMMAND_ADMIN = 1u << 3,      /* for admins only */
};

struct command {
	const char *name;             /* upper case */
	uint32_t words_min, words_max; /* of the whole request, the name included; UINT32_MAX = no limit but the configuration's */
	unsigned flags;
	command_handler handler;
	const char *group;            /* as in doc/protocol.md: jobs, queues, server */
	const char *arguments;        /* as in doc/protocol.md */
	const char *help;             /* one line */
	const struct option_table *options; /* NULL = none */
};

/* Borrowed, or NULL behind the last. */
const struct command *command_at(size_t index);
const struct command *command_find(struct slice name);
/* One request. false: it names LAST while a SUBMIT is unanswered: ask again. */
bool commands_execute(struct commands *c, struct call *call, const struct slice *argv, uint32_t argc);

/* --- for the handlers --- */

/* "7" or LAST. 0; negative: *call is finished with an error. */
int command_parse_id(struct call *call, struct slice word, uint64_t *ret_id);
/* At most limits.waited_jobs ids, into a heap array; @count >= 1. As above. */
int command_parse_ids(struct commands *c, struct call *call, const struct slice *words, uint32_t count, uint64_t **ret_ids);
/* "ms": -1, 0 or more. As above. */
int command_parse_timeout(struct call *call, struct slice word, int64_t *ret_ms);
/* Options up to the end of the request. As above. */
int command_parse_options(struct call *call, const struct option_table *table, const struct slice *words, uint32_t count, void *into);
/* A queue by name. As above. */
int command_find_queue(struct commands *c, struct call *call, struct slice name, struct queue **ret_queue);
/* Names joined by commas, or *, as queues, into a heap array. As above. */
int command_find_queues(struct commands *c, struct call *call, struct slice names, struct queue ***ret_queues, size_t *ret_count);
/* Cut the next piece off a list joined by commas. false: nothing is left. */
bool command_next_name(struct slice *rest, struct slice *ret_name);

#define COMMAND_HANDLER(name) void name(struct commands *c, struct call *call, const struct slice *argv, uint32_t argc)

COMMAND_HANDLER(cmd_environment);
COMMAND_HANDLER(cmd_input);
COMMAND_HANDLER(cmd_submit);
COMMAND_HANDLER(cmd_show);
COMMAND_HANDLER(cmd_list);
COMMAND_HANDLER(cmd_why);
COMMAND_HANDLER(cmd_signal);
COMMAND_HANDLER(cmd_cancel);
COMMAND_HANDLER(cmd_retry);
COMMAND_HANDLER(cmd_hold);
COMMAND_HANDLER(cmd_release);
COMMAND_HANDLER(cmd_update);
COMMAND_HANDLER(cmd_remove);
COMMAND_HANDLER(cmd_clean);
extern const struct option_table list_options, clean_options, update_options;

COMMAND_HANDLER(cmd_wait);
COMMAND_HANDLER(cmd_follow);
COMMAND_HANDLER(cmd_output);
COMMAND_HANDLER(cmd_join);
extern const struct option_table output_options, join_options;

COMMAND_HANDLER(cmd_qsize);
COMMAND_HANDLER(cmd_queues);
COMMAND_HANDLER(cmd_queue);
COMMAND_HANDLER(cmd_pools);
COMMAND_HANDLER(cmd_pool);
COMMAND_HANDLER(cmd_workers);

COMMAND_HANDLER(cmd_ping);
COMMAND_HANDLER(cmd_info);
COMMAND_HANDLER(cmd_reload);
COMMAND_HANDLER(cmd_shutdown);
COMMAND_HANDLER(cmd_hello);
COMMAND_HANDLER(cmd_client);
COMMAND_HANDLER(cmd_command);
COMMAND_HANDLER(cmd_config);
COMMAND_HANDLER(cmd_select);
COMMAND_HANDLER(cmd_quit);
