/* jobpoold: the options, as one table that is parsed and printed by --help; all else is server.c. */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "build_config.h"
#include "log.h"
#include "server.h"

struct command_line {
	struct server_options server;
	bool check_config, show_config, version, help;
};

static bool take_string(const char *value, void *field)
{
	*(const char **)field = value;
	return *value != '\0';
}

static bool take_supervisor(const char *value, void *field)
{
	*(const char **)field = value;
	return strcmp(value, "spawn") == 0 || strcmp(value, "wait") == 0;
}

static bool take_workers(const char *value, void *field)
{
	uint64_t n;

	if (slice_to_uint(slice_of(value), POOL_WORKERS_MAX, &n) < 0 || !n)
		return false;
	*(uint32_t *)field = (uint32_t)n;
	return true;
}

static bool take_flag(const char *value, void *field)
{
	(void)value;
	return *(bool *)field = true;
}

#define F(field) offsetof(struct command_line, field)
static const struct {
	const char *name, *value;     /* value: NULL = takes none */
	bool (*take)(const char *value, void *field);
	size_t offset;
	const char *help;
} table[] = {
	{ "config",       "FILE",       take_string,     F(server.config_path), "configuration (default: ~/.config/jobpool/jobpool.yaml, if it is there)" },
	{ "check-config", NULL,         take_flag,       F(check_config),       "say what is wrong with the configuration, and exit" },
	{ "show-config",  NULL,         take_flag,       F(show_config),        "print the configuration with all its defaults, and exit" },
	{ "state-dir",    "DIR",        take_string,     F(server.state_dir),   "where jobs and outputs are kept (default: ~/.local/state/jobpool)" },
	{ "socket",       "PATH",       take_string,     F(server.socket_path), "where clients connect (default: $XDG_RUNTIME_DIR/jobpool/jobpool.sock)" },
	{ "supervisor",   "spawn|wait", take_supervisor, F(server.supervisor),  "start jobpool-supervisor (default), or wait for one to call" },
	{ "workers",      "N",          take_workers,    F(server.workers),     "size of every pool whose `workers` is auto in the configuration" },
	{ "version",      NULL,         take_flag,       F(version),            "print the version, and exit" },
	{ "help",         NULL,         take_flag,       F(help),               "print this, and exit" },
};
enum { OPTIONS = ARRAY_SIZE(table) };

static int print_help(void)
{
	char left[40];

	printf("Usage: jobpoold [OPTION]...\n\nThe job runner's daemon, in the foreground. Its log goes to stderr.\n\n");
	for (int i = 0; i < OPTIONS; i++) {
		snprintf(left, sizeof(left), "--%s %s", table[i].name, table[i].value ? table[i].value : "");
		printf("  %-26s %s\n", left, table[i].help);
	}
	return EXIT_SUCCESS;
}

static bool parse(int argc, char **argv, struct command_line *line)
{
	struct option options[OPTIONS + 1] = { 0 };
	int index, c;

	for (int i = 0; i < OPTIONS; i++)
		options[i] = (struct option){ table[i].name, table[i].value ? required_argument : no_argument, NULL, 0 };
	while ((c = getopt_long(argc, argv, "", options, &index)) == 0) {
		if (!table[index].take(optarg, (char *)line + table[index].offset)) {
			fprintf(stderr, "jobpoold: --%s takes %s, not '%s'\n", table[index].name, table[index].value, optarg);
			return false;
		}
	}
	if (c == -1 && optind < argc)
		fprintf(stderr, "jobpoold: unexpected argument '%s'\n", argv[optind]);
	if (c == -1 && optind == argc)
		return true;
	fprintf(stderr, "Try 'jobpoold --help'.\n");
	return false;
}

static int examine_config(const struct command_line *line)
{
	struct buf text = { 0 };
	struct config *config;
	char *path;
	int r = server_load_config(&line->server, &config, &path, &text);

	if (r == 0 && line->show_config)
		config_show(config, &text);
	if (text.len)
		fwrite(text.data, 1, text.len, r < 0 ? stderr : stdout);
	buf_free(&text);
	if (r < 0)
		return EXIT_FAILURE;
	config_free(config);
	free(path);
	return fflush(stdout) == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

int main(int argc, char **argv)
{
	struct command_line line = { 0 };

	log_set_program("jobpoold");
	if (!parse(argc, argv, &line))
		return 2;
	if (line.help)
		return print_help();
	if (line.version)
		return printf("jobpoold " PACKAGE_VERSION "\n") < 0;
	if (line.check_config || line.show_config)
		return examine_config(&line);
	return server_run(&line.server);
}
