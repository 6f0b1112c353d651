/* Options by table: the same rows are parsed, printed by --help, and sent to the daemon. */
#include "cli.h"

#include <assert.h>
#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>

#include "terminal.h"
#include "units.h"

#define OPTIONS_MAX 48       /* of one verb; our own tables, so asserted */
#define HELP_COLUMN 30

const struct option_row global_options[] = {
	{ "socket", 0, "PATH", "the daemon's socket (default: $JOBPOOL_SOCKET, the user's, the system's)", OPTION_OWN },
	{ "help", 'h', NULL, "show this help", OPTION_OWN },
	{ "version", 0, NULL, "show the version of this program", OPTION_OWN },
	{ .name = NULL },
};

const struct option_row json_options[] = {
	{ "json", 0, NULL, "print JSON", OPTION_OWN },
	{ .name = NULL },
};

const struct option_row color_options[] = {
	{ "color", 0, "WHEN", "colours: auto (on a terminal; the default), always or never", OPTION_OWN },
	{ .name = NULL },
};

const struct option_row reconnect_options[] = {
	{ "reconnect-timeout", 0, "DURATION", "wait so long for a daemon that went away while we wait (default 60s)", OPTION_OWN },
	{ .name = NULL },
};

/* --- Looking at what was given --- */

const char *cli_option(const struct cli *cli, const char *name)
{
	for (size_t i = cli->value_count; i-- > 0;)
		if (strcmp(cli->values[i].option->name, name) == 0)
			return cli->values[i].text;
	return NULL;
}

bool cli_json(const struct cli *cli)
{
	return cli_option(cli, "json") != NULL;
}

char *option_word(const char *name, char word[OPTION_WORD_BYTES])
{
	size_t len = 0;

	for (; *name && len < OPTION_WORD_BYTES - 1; name++)
		if (*name != '-')
			word[len++] = *name >= 'a' && *name <= 'z' ? (char)(*name - 'a' + 'A') : *name;
	word[len] = '\0';
	return word;
}

int cli_wire_options(const struct cli *cli, struct jobpool_option **ret_options, size_t *ret_count)
{
	/* The words live behind the options, in the same piece of memory. */
	size_t size = sizeof(struct jobpool_option) + OPTION_WORD_BYTES, max = cli->value_count + WIRE_OPTIONS_MORE,
	       count = 0;
	struct jobpool_option *options = calloc(max, size);
	char(*words)[OPTION_WORD_BYTES];

	if (!options) {
		cli_say("out of memory");
		return cli_own_failure(cli);
	}
	words = (char(*)[OPTION_WORD_BYTES])(options + max);
	for (size_t i = 0; i < cli->value_count; i++) {
		const struct cli_value *value = &cli->values[i];

		if (value->option->use == OPTION_OWN || cli_option(cli, value->option->name) != value->text)
			continue; /* the last one given counts */
		options[count].name = option_word(value->option->name, words[count]);
		options[count].value = value->option->use == OPTION_FLAG ? "1" : value->text;
		count++;
	}
	*ret_options = options;
	*ret_count = count;
	return 0;
}

int64_t cli_timeout(const struct cli *cli, const char *name)
{
	const char *text = cli_option(cli, name);
	uint64_t ms;

	return text && duration_parse(slice_of(text), &ms) == 0 ? (int64_t)ms : -1;
}

int cli_id(const struct cli *cli, const char *word, uint64_t *ret_id)
{
	if (slice_to_uint(slice_of(word), (UINT64_C(1) << 62) - 1, ret_id) < 0 || *ret_id == 0)
		return cli_usage(cli, "'%s' is no job id; ids are numbers from 1 on, as `jobpool list` shows them",
				 word);
	return 0;
}

int cli_ids(const struct cli *cli, uint64_t **ret_ids, size_t *ret_count)
{
	size_t count = (size_t)cli->argument_count;
	uint64_t *ids = calloc(count + 1, sizeof(*ids));
	int r = 0;

	if (!ids) {
		cli_say("out of memory");
		return cli_own_failure(cli);
	}
	for (size_t i = 0; i < count && r == 0; i++)
		r = cli_id(cli, cli->arguments[i], &ids[i]);
	if (r) {
		free(ids);
		return r;
	}
	*ret_ids = ids;
	*ret_count = count;
	return 0;
}

/* --- Checking --- */

static bool is_duration(const char *text)
{
	uint64_t ms;

	return duration_parse(slice_of(text), &ms) == 0;
}

static bool is_size(const char *text)
{
	uint64_t bytes;

	return size_parse(slice_of(text), &bytes) == 0;
}

static bool is_number(const char *text)
{
	int64_t number;

	return slice_to_int(slice_of(text), INT64_MIN, INT64_MAX, &number) == 0;
}

static bool is_when(const char *text)
{
	return strcmp(text, "auto") == 0 || strcmp(text, "always") == 0 || strcmp(text, "never") == 0;
}

/* By what --help calls the value. */
static const struct {
	const char *argument;
	bool (*is_good)(const char *text);
	const char *wanted;
} value_kinds[] = {
	{ "DURATION", is_duration, "a duration; write it like 500ms, 10s or 1h30m" },
	{ "SIZE", is_size, "a size; write it like 64KiB or 10MB" },
	{ "N", is_number, "a number" },
	{ "WHEN", is_when, "auto, always or never" },
};

int cli_check(const struct cli *cli)
{
	uint64_t id;
	int r = 0;

	for (size_t i = 0; i < cli->value_count; i++)
		for (size_t k = 0; k < ARRAY_SIZE(value_kinds); k++) {
			const struct option_row *option = cli->values[i].option;

			if (option->argument && strcmp(option->argument, value_kinds[k].argument) == 0 &&
			    !value_kinds[k].is_good(cli->values[i].text))
				return cli_usage(cli, "--%s %s is not %s", option->name, cli->values[i].text,
						 value_kinds[k].wanted);
		}
	if (cli->argument_count < cli->verb->arguments_min)
		return cli_usage(cli, "%s needs %s", cli->verb->name, cli->verb->arguments);
	if (cli->verb->arguments_max >= 0 && cli->argument_count > cli->verb->arguments_max)
		return cli_usage(cli, "%s: '%s' is one word too many", cli->verb->name,
				 cli->arguments[cli->verb->arguments_max]);
	for (int i = 0; i < cli->argument_count && r == 0 && strncmp(cli->verb->arguments, "ID", 2) == 0; i++)
		r = cli_id(cli, cli->arguments[i], &id);
	return r;
}

/* --- Parsing --- */

struct parser {
	const struct option_row *rows[OPTIONS_MAX];
	struct option options[OPTIONS_MAX + 1];
	char letters[2 * OPTIONS_MAX + 4];
	int count;
};

static void parser_add(struct parser *p, const struct option_row *table)
{
	size_t len = strlen(p->letters);

	for (; table->name; table++) {
		assert(p->count < OPTIONS_MAX);
		p->rows[p->count] = table;
		p->options[p->count] = (struct option){ table->name, table->argument ? required_argument : no_argument,
							NULL, 256 + p->count }; /* beyond every letter */
		if (table->letter) {
			p->letters[len++] = table->letter;
			if (table->argument)
				p->letters[len++] = ':';
		}
		p->count++;
	}
}

static const struct option_row *parser_find(const struct parser *p, int key)
{
	for (int i = 0; i < p->count; i++)
		if (key == 256 + i || (p->rows[i]->letter && key == p->rows[i]->letter))
			return p->rows[i];
	return NULL;
}

static bool parser_run(struct parser *p, struct cli *cli, int argc, char **argv)
{
	int key;

	/* Room for every word to be an option. */
	cli->values = reallocarray(cli->values, cli->value_count + (size_t)argc + 1, sizeof(*cli->values));
	if (!cli->values) {
		cli_say("out of memory");
		return false;
	}
	optind = 0; /* glibc: begin anew */
	while ((key = getopt_long(argc, argv, p->letters, p->options, NULL)) != -1) {
		const struct option_row *row = parser_find(p, key);

		if (!row)
			return false; /* getopt has told */
		/* A cluster of letters could give more than one option a word. */
		cli->values = reallocarray(cli->values, cli->value_count + (size_t)argc + 2, sizeof(*cli->values));
		if (!cli->values)
			return false;
		cli->values[cli->value_count++] = (struct cli_value){ row, row->argument ? optarg : "" };
	}
	return true;
}

bool cli_parse(struct cli *cli, int argc, char **argv)
{
	struct parser p = { .letters = "" };
	char *name = argv[0], program[64];
	bool good;

	if (cli->verb->flags & VERB_COMMAND)
		strcpy(p.letters, "+");
	parser_add(&p, global_options);
	for (size_t i = 0; i < VERB_TABLES_MAX && cli->verb->tables[i]; i++)
		parser_add(&p, cli->verb->tables[i]);
	snprintf(program, sizeof(program), "jobpool %s", cli->verb->name); /* what getopt's messages begin with */
	argv[0] = program;
	good = parser_run(&p, cli, argc, argv);
	argv[0] = name;
	cli->arguments = argv + optind;
	cli->argument_count = argc - optind;
	return good;
}

bool cli_parse_global(struct cli *cli, int argc, char **argv, int *ret_used)
{
	struct parser p = { .letters = "+" };
	char *name = argv[0], program[] = "jobpool";
	bool good;

	parser_add(&p, global_options);
	parser_add(&p, json_options);
	parser_add(&p, color_options);
	argv[0] = program;
	good = parser_run(&p, cli, argc, argv);
	argv[0] = name;
	*ret_used = optind;
	return good;
}

/* --- Help --- */

void print_options(const struct option_row *table)
{
	for (; table->name; table++) {
		char left[80], letter[8] = "    ";

		if (table->letter)
			snprintf(letter, sizeof(letter), "-%c, ", table->letter);
		snprintf(left, sizeof(left), "  %s--%s%s%s", letter, table->name, table->argument ? " " : "",
			 table->argument ? table->argument : "");
		if (strlen(left) >= HELP_COLUMN)
			printf("%s\n%*s%s\n", left, HELP_COLUMN, "", table->help);
		else
			printf("%-*s%s\n", HELP_COLUMN, left, table->help);
	}
}

void print_verb_help(const struct verb *verb)
{
	printf("Usage: jobpool %s [OPTION]...%s%s\n\n%c%s.\n\nOptions:\n", verb->name, verb->arguments[0] ? " " : "",
	       verb->arguments, verb->help[0] - 'a' + 'A', verb->help + 1);
	for (size_t i = 0; i < VERB_TABLES_MAX && verb->tables[i]; i++)
		print_options(verb->tables[i]);
	print_options(global_options);
	if (verb->notes)
		printf("\n%s", verb->notes);
}

/* --- Messages --- */

static void say(const char *format, va_list args)
{
	live_clear(); /* and what was printed before comes first, also in a terminal */
	fputs("jobpool: ", stderr);
	vfprintf(stderr, format, args);
	fputc('\n', stderr);
}

void cli_say(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	say(format, args);
	va_end(args);
}

int cli_usage(const struct cli *cli, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	say(format, args);
	va_end(args);
	fprintf(stderr, "Try `jobpool %s%s--help`.\n", cli->verb ? cli->verb->name : "", cli->verb ? " " : "");
	return cli->verb && cli->verb->flags & VERB_PROPAGATES ? EXIT_JOBPOOL : EXIT_USAGE;
}

static const struct {
	int error;
	enum exit_code code;
} exit_codes[] = {
	{ -EINVAL, EXIT_USAGE },   { -ENOENT, EXIT_NOTFOUND },     { -EACCES, EXIT_DENIED },       { -EPERM, EXIT_DENIED },
	{ -ENOBUFS, EXIT_FULL },   { -ESHUTDOWN, EXIT_FULL },      { -ENOSPC, EXIT_FULL },         { -ETIMEDOUT, EXIT_TIMEDOUT },
	{ -E2BIG, EXIT_USAGE },    { -ECONNRESET, EXIT_UNREACHABLE }, { -EHOSTDOWN, EXIT_UNREACHABLE },
	{ -ECONNREFUSED, EXIT_UNREACHABLE },
};

int cli_fail_with(const struct cli *cli, const struct jobpool_error *error, const char *what)
{
	cli_say("%s%s%s%s%s", what ? what : "", what ? ": " : "", error->code, error->code[0] ? " " : "",
		error->message);
	if (cli->verb->flags & VERB_PROPAGATES)
		return EXIT_JOBPOOL;
	for (size_t i = 0; i < ARRAY_SIZE(exit_codes); i++)
		if (exit_codes[i].error == error->error)
			return exit_codes[i].code;
	return EXIT_NEGATIVE;
}

int cli_fail(const struct cli *cli, const char *what)
{
	return cli_fail_with(cli, jobpool_error(cli->jobpool), what);
}

int cli_own_failure(const struct cli *cli)
{
	return cli->verb->flags & VERB_PROPAGATES ? EXIT_JOBPOOL : EXIT_NEGATIVE;
}
