/* What every verb of the command line client shares: options by table, exit codes, messages, the connection. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "jobpool.h"
#include "util.h"

/* Exit codes (design section 10). Propagating verbs (run, wait) use for themselves only those from 122 on. */
enum exit_code {
	EXIT_OK = 0,
	EXIT_NEGATIVE = 1,    /* a negative answer, or a failure that has no code of its own */
	EXIT_USAGE = 2,
	EXIT_NOTFOUND = 3,
	EXIT_UNREACHABLE = 4,
	EXIT_DENIED = 5,
	EXIT_TIMEDOUT = 6,
	EXIT_FULL = 7,
	EXIT_WAIT_TIMEDOUT = 122,
	EXIT_JOBPOOL = 125,
	EXIT_DETACHED = 130,  /* as shells report an interrupt */
};

enum option_use {
	OPTION_OWN,           /* the verb knows what it means */
	OPTION_VALUE,         /* sent with SUBMIT (or LIST, CLEAN): its name in upper case without dashes, and its value */
	OPTION_FLAG,          /* sent with SUBMIT: its name, and 1 */
};

struct option_row {
	const char *name;     /* long, without dashes; NULL ends a table */
	char letter;          /* 0 = none */
	const char *argument; /* what --help calls its value, which also says how it is checked; NULL = it has none */
	const char *help;
	enum option_use use;
};

struct cli;

#define VERB_TABLES_MAX 4
#define VERB_COMMAND 1u    /* the first word that is no option begins a command */
#define VERB_PROPAGATES 2u /* returns the job's exit code: own failures are 125 */
#define VERB_STARTS 4u     /* may start the user's own daemon when there is none */
#define VERB_CONNECTS 8u   /* connects by itself, after it has looked at its words */

struct verb {
	const char *name;
	const char *arguments;                     /* as --help shows them; "ID...": they are checked to be ids */
	const char *help;                          /* one line */
	int (*run)(struct cli *cli);               /* returns the exit code */
	unsigned flags;
	int arguments_min, arguments_max;          /* words that are no options; max -1 = any number */
	const struct option_row *tables[VERB_TABLES_MAX]; /* up to the first NULL */
	const char *notes;                         /* further text for --help, or NULL */
};

struct cli_value {
	const struct option_row *option;
	const char *text;                          /* borrowed from argv; "" for an option without a value */
};

struct cli {
	const struct verb *verb;
	struct cli_value *values;                  /* options given, in order */
	size_t value_count;
	char **arguments;                          /* the words behind them, NULL-terminated; borrowed from argv */
	int argument_count;
	int interrupt_fd;                          /* 0 = none; see jobpool_options */
	struct jobpool *jobpool;                   /* open in every verb but those with VERB_CONNECTS */
};

extern const struct option_row global_options[], json_options[], color_options[], reconnect_options[], submit_options[];

/* The value given last for the long option @name; NULL when it was not given. */
const char *cli_option(const struct cli *cli, const char *name);
bool cli_json(const struct cli *cli);
/* The wire's word for an option: "max-output" -> "MAXOUTPUT". Returns @word. */
#define OPTION_WORD_BYTES 32
char *option_word(const char *name, char word[OPTION_WORD_BYTES]);

/* Parse the words behind the verb (@argv[0] is the verb) and add to cli->values. false: told on stderr, it is a usage
 * error. */
bool cli_parse(struct cli *cli, int argc, char **argv);
/* Parse options that stand before the verb; *ret_used words of @argv belong to them, argv[0] included. */
bool cli_parse_global(struct cli *cli, int argc, char **argv, int *ret_used);
/* Check what was given as far as it can be without a daemon. 0, or the exit code for usage. */
int cli_check(const struct cli *cli);
void print_verb_help(const struct verb *verb);
void print_options(const struct option_row *table);

/* "jobpool: ..." on stderr. */
void cli_say(const char *format, ...) PRINTF_LIKE(1, 2);
/* The same, with a hint at --help; returns the exit code for wrong usage of this verb. */
int cli_usage(const struct cli *cli, const char *format, ...) PRINTF_LIKE(2, 3);
/* Tell why a call of the library failed (@what: "job 7", or NULL); returns the exit code. */
int cli_fail(const struct cli *cli, const char *what);
int cli_fail_with(const struct cli *cli, const struct jobpool_error *error, const char *what);
/* For failures that are not the library's: 1, or 125 for a propagating verb. */
int cli_own_failure(const struct cli *cli);

/* Parse the words as ids, LAST is none. On success the caller frees *ret_ids. Else an exit code. */
int cli_ids(const struct cli *cli, uint64_t **ret_ids, size_t *ret_count);
int cli_id(const struct cli *cli, const char *word, uint64_t *ret_id);
/* The duration given with option @name in ms; -1 when it was not given. */
int64_t cli_timeout(const struct cli *cli, const char *name);
/* Those given options that are sent, as the wire has them, with room for WIRE_OPTIONS_MORE behind them; the caller
 * frees
 * *ret_options. 0 or an exit code. */
#define WIRE_OPTIONS_MORE 5
int cli_wire_options(const struct cli *cli, struct jobpool_option **ret_options, size_t *ret_count);
