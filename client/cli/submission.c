/* The submit options, and what the submitter's surroundings add to them: directory, umask, environment. */
#include "submission.h"

#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <sys/stat.h>

#include "buf.h"

const struct option_row submit_options[] = {
	{ "queue", 'q', "NAME", "the queue it goes to (default: default)", OPTION_OWN },
	{ "name", 'n', "TEXT", "a name for people", OPTION_VALUE },
	{ "priority", 'p', "N", "higher starts first (default 0)", OPTION_VALUE },
	{ "timeout", 't', "DURATION", "end it when it runs longer", OPTION_VALUE },
	{ "grace", 0, "DURATION", "time between SIGTERM and SIGKILL when it is ended", OPTION_VALUE },
	{ "cwd", 'C', "DIR", "run it there (default: here; / when the daemon is another user's)", OPTION_OWN },
	{ "env", 'e', "NAME[=VALUE]", "set a variable, or hand on ours (repeatable)", OPTION_OWN },
	{ "stdin", 0, "FILE", "what it reads on stdin; - is our own stdin (default: nothing)", OPTION_OWN },
	{ "key", 0, "TEXT", "submitting again with the same key gives the same job", OPTION_VALUE },
	{ "shell", 0, NULL, "run `sh -c` with the words joined by blanks", OPTION_OWN },
	{ "max-output", 0, "SIZE", "keep at most so much of each output stream: its head and tail", OPTION_VALUE },
	{ "on-lost", 0, "WORD", "what when its worker or the machine dies: fail or retry", OPTION_VALUE },
	{ "retries", 0, "N", "further attempts when it fails", OPTION_VALUE },
	{ "delay", 0, "DURATION", "do not start before", OPTION_VALUE },
	{ "hold", 0, NULL, "wait for `jobpool release`", OPTION_FLAG },
	{ .name = NULL },
};

extern char **environ;

/* Names that another user's daemon gets of our environment (design section 10). */
static const char *const public_names[] = { "LANG", "PATH", "TERM" };

static bool is_foreign(const struct cli *cli)
{
	return jobpool_peer_uid(cli->jobpool) != geteuid();
}

/* --- Environment --- */

/* Does the variable @entry ("NAME=value" or "NAME") have the name of @len bytes at @name? */
static bool has_name(const char *entry, const char *name, size_t len)
{
	return strncmp(entry, name, len) == 0 && (entry[len] == '=' || !entry[len]);
}

static bool is_public(const char *entry)
{
	for (size_t i = 0; i < ARRAY_SIZE(public_names); i++)
		if (has_name(entry, public_names[i], strlen(public_names[i])))
			return true;
	return false;
}

/* Is it set by an --env from @first on? */
static bool is_overridden(const struct cli *cli, const char *entry, size_t first)
{
	size_t len = strcspn(entry, "=");

	for (size_t i = first; i < cli->value_count; i++)
		if (strcmp(cli->values[i].option->name, "env") == 0 && has_name(cli->values[i].text, entry, len))
			return true;
	return false;
}

/* The entry of environ with the name of @entry, or NULL. */
static const char *find_variable(const char *entry)
{
	for (char **e = environ; *e; e++)
		if (has_name(*e, entry, strlen(entry)))
			return *e;
	return NULL;
}

static int gather_environment(const struct cli *cli, const char **variables, size_t *ret_count)
{
	bool foreign = is_foreign(cli);
	size_t count = 0;

	for (char **e = environ; *e; e++)
		if ((!foreign || is_public(*e)) && !is_overridden(cli, *e, 0))
			variables[count++] = *e;
	for (size_t i = 0; i < cli->value_count; i++) {
		const char *entry = cli->values[i].text;

		if (strcmp(cli->values[i].option->name, "env") != 0 || is_overridden(cli, entry, i + 1))
			continue;
		if (!*entry || *entry == '=')
			return cli_usage(cli, "--env '%s' has no name; write NAME=VALUE, or NAME to hand on ours",
					 entry);
		if (!strchr(entry, '='))
			entry = find_variable(entry);
		if (!entry)
			return cli_usage(cli, "--env %s: there is no such variable here; write NAME=VALUE to set it",
					 cli->values[i].text);
		variables[count++] = entry;
	}
	*ret_count = count;
	return 0;
}

static int send_environment(struct cli *cli)
{
	size_t count = 0;
	const char **variables;
	int r;

	while (environ[count])
		count++;
	variables = calloc(count + cli->value_count + 1, sizeof(*variables));
	if (!variables) {
		cli_say("out of memory");
		return cli_own_failure(cli);
	}
	r = gather_environment(cli, variables, &count);
	if (r == 0 && jobpool_set_environment(cli->jobpool, variables, count) < 0)
		r = cli_fail(cli, NULL);
	free(variables);
	return r;
}

/* --- Directory, input --- */

/* An absolute path, without asking whether it exists: the job's worker will tell. */
static int find_cwd(struct cli *cli, char **ret_cwd)
{
	const char *given = cli_option(cli, "cwd");
	char here[PATH_MAX];

	if (given && given[0] == '/') {
		*ret_cwd = strdup(given);
	} else if (!given && is_foreign(cli)) {
		*ret_cwd = strdup("/");
	} else if (!getcwd(here, sizeof(here))) {
		cli_say("cannot find the current directory: %s; name one with --cwd", strerror(errno));
		return cli_own_failure(cli);
	} else if (asprintf(ret_cwd, "%s%s%s", here, given ? "/" : "", given ? given : "") < 0) {
		*ret_cwd = NULL;
	}
	if (!*ret_cwd)
		cli_say("out of memory");
	return *ret_cwd ? 0 : cli_own_failure(cli);
}

static int send_input(struct cli *cli, const char *path, uint64_t *ret_id)
{
	bool own = strcmp(path, "-") == 0;
	int fd = own ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC);
	int r;

	if (fd < 0) {
		cli_say("cannot read the input %s: %s", path, strerror(errno));
		return cli_own_failure(cli);
	}
	r = jobpool_input_store(cli->jobpool, fd, ret_id);
	if (!own)
		close_fd(&fd);
	return r < 0 ? cli_fail(cli, path) : 0;
}

/* --- Command --- */

/* With --shell the words become one script for sh; else they are the command. */
static int make_command(struct submission *s, struct cli *cli)
{
	size_t count = (size_t)cli->argument_count;
	struct buf script = { 0 };

	s->argv = calloc(count + 4, sizeof(*s->argv));
	if (s->argv && cli_option(cli, "shell")) {
		for (size_t i = 0; i < count; i++) {
			if (i)
				buf_append(&script, " ", 1);
			buf_append_text(&script, cli->arguments[i]);
		}
		buf_append(&script, "", 1);
		s->script = buf_take(&script, NULL);
		s->argv[0] = "sh";
		s->argv[1] = "-c";
		s->argv[2] = s->script;
		count = 3;
	} else if (s->argv) {
		memcpy(s->argv, cli->arguments, count * sizeof(*s->argv));
	}
	if (!s->argv || (cli_option(cli, "shell") && !s->script)) {
		cli_say("out of memory");
		return cli_own_failure(cli);
	}
	s->spec.argv = s->argv;
	s->spec.argc = count;
	return 0;
}

static void add_option(struct submission *s, const char *name, const char *value)
{
	s->options[s->spec.option_count++] = (struct jobpool_option){ name, value };
}

int submission_init(struct submission *s, struct cli *cli, bool split)
{
	const char *input = cli_option(cli, "stdin");
	uint64_t input_id = 0;
	mode_t mask = umask(0);
	int r;

	umask(mask);
	*s = (struct submission){ 0 };
	r = make_command(s, cli);
	if (r == 0)
		r = find_cwd(cli, &s->cwd);
	if (r == 0)
		r = cli_wire_options(cli, &s->options, &s->spec.option_count);
	if (r)
		return r;
	add_option(s, "CWD", s->cwd);
	snprintf(s->umask_text, sizeof(s->umask_text), "%03o", (unsigned)mask & 0777);
	add_option(s, "UMASK", s->umask_text);
	if (split)
		add_option(s, "STREAMS", "split");
	r = send_environment(cli);
	if (r == 0 && input) {
		r = send_input(cli, input, &input_id);
		snprintf(s->input_text, sizeof(s->input_text), "%" PRIu64, input_id);
		add_option(s, "INPUT", s->input_text);
	}
	s->spec.options = s->options;
	s->spec.queue = cli_option(cli, "queue");
	return r;
}

void submission_deinit(struct submission *s)
{
	free(s->options);
	free(s->cwd);
	free(s->script);
	free(s->argv);
}
