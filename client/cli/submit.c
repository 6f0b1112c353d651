/* submit: one job, or one for each line of a file. */
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>

#include "connect.h"
#include "lines.h"
#include "submission.h"
#include "text.h"
#include "verbs.h"

#define WINDOW 512            /* submissions in flight: more than one commit of the daemon takes */
#define PROGRESS_MS 200

const struct option_row each_line_options[] = {
	{ "each-line", 0, "FILE", "submit one job for each line; - is stdin", OPTION_OWN },
	{ "split", 0, NULL, "keep stdout and stderr apart (default: one stream, in true order)", OPTION_OWN },
	{ .name = NULL },
};

struct each_line {
	struct cli *cli;
	uint64_t submitted;
	int code;                 /* exit code of the first refusal; 0 = none yet */
	bool progress;
	uint64_t progress_ms;     /* when progress was shown last */
};

static void show_progress(struct each_line *e, bool last)
{
	uint64_t now_ms = now_monotonic_ms();

	if (!e->progress || (!last && now_ms < e->progress_ms + PROGRESS_MS))
		return;
	e->progress_ms = now_ms;
	fprintf(stderr, "\r%" PRIu64 " submitted%s", e->submitted, last ? "\n" : "");
}

static void on_submitted(uint64_t number, uint64_t id, const struct jobpool_error *error, void *context)
{
	struct each_line *e = context;
	char what[40];

	if (id) {
		printf("%" PRIu64 "\n", id);
		e->submitted++;
		show_progress(e, false);
	} else if (!e->code) {
		snprintf(what, sizeof(what), "line %" PRIu64, number);
		show_progress(e, true);
		e->code = cli_fail_with(e->cli, error, what);
	}
}

/* Append @word to @out with each {} replaced by @line. true: there was one. */
static bool replace_braces(struct buf *out, const char *word, struct slice line)
{
	const char *braces;
	bool found = false;

	while ((braces = strstr(word, "{}"))) {
		buf_append(out, word, (size_t)(braces - word));
		buf_append(out, line.data, line.len);
		word = braces + 2;
		found = true;
	}
	buf_append(out, word, strlen(word) + 1);
	return found;
}

/**
 * The command for one line.
 *
 * @base: the command as given; @shell: its last word is a script, into which the line goes quoted, or as it is where
 * there was no command
 * @words, @argv: room for the result, @argv for base->argc + 2
 */
static size_t line_command(const struct jobpool_spec *base, bool shell, struct slice line, struct buf *words,
			   const char **argv)
{
	struct buf quoted = { 0 };
	bool found = false, bare = shell && !base->argv[2][0];
	size_t argc = 0, at = 0;

	buf_clear(words);
	if (shell && !bare) {
		text_quote(&quoted, line.data, line.len);
		line = (struct slice){ quoted.data, quoted.len };
	}
	for (size_t i = 0; i < base->argc; i++)
		found |= replace_braces(words, base->argv[i], line);
	if (!found && shell) {
		words->len--; /* to the end of the script */
		if (!bare)
			buf_append(words, " ", 1);
	}
	if (!found)
		buf_append(words, line.data, line.len);
	if (!found)
		buf_append(words, "", 1);
	buf_free(&quoted);
	for (; !words->failed && at < words->len; at += strlen(words->data + at) + 1)
		argv[argc++] = words->data + at;
	return argc;
}

static int submit_lines(struct each_line *e, const struct submission *s, struct lines *lines, struct jobpool_map *map)
{
	bool shell = cli_option(e->cli, "shell") != NULL;
	const char **argv = calloc(s->spec.argc + 2, sizeof(*argv));
	struct jobpool_spec spec = s->spec;
	struct buf words = { 0 };
	struct slice line;
	int r = 0, found = LINES_LINE;

	spec.argv = argv;
	for (uint64_t number = 1; argv && r == 0 && !e->code; number++) {
		found = lines_next(lines, false, &line);
		if (found == LINES_WAIT) { /* nothing to do but to hear the answers, then to wait for more */
			r = jobpool_pool_map_drain(map);
			fflush(stdout);
			if (r < 0 || e->code)
				break;
			found = lines_next(lines, true, &line);
		}
		if (found != LINES_LINE)
			break;
		if (memchr(line.data, '\0', line.len)) {
			r = jobpool_pool_map_drain(map);
			cli_say("line %" PRIu64 ": it contains a NUL byte, which no argument can", number);
			e->code = e->code ? e->code : EXIT_USAGE;
			break;
		}
		spec.argc = line_command(&s->spec, shell, line, &words, argv);
		r = words.failed ? -ENOMEM : jobpool_pool_map_start(map, &spec);
		if (words.failed)
			found = -ENOMEM;
	}
	if (!argv || found < 0) {
		cli_say("cannot read the lines: %s", strerror(argv ? -found : ENOMEM));
		e->code = EXIT_NEGATIVE;
		r = 0;
	}
	if (r == 0)
		r = jobpool_pool_map_drain(map); /* also after a refusal: what was sent is submitted, and its ids are told */
	free(argv);
	buf_free(&words);
	return r;
}

static int submit_each_line(struct cli *cli, const struct submission *s, const char *path)
{
	struct each_line e = { .cli = cli, .progress = isatty(STDERR_FILENO) && !isatty(STDOUT_FILENO) };
	struct lines lines = { .fd = STDIN_FILENO };
	struct jobpool_map *map = NULL;
	bool own = strcmp(path, "-") == 0;
	int r;

	if (!own)
		lines.fd = open(path, O_RDONLY | O_CLOEXEC);
	if (lines.fd < 0) {
		cli_say("cannot read %s: %s", path, strerror(errno));
		return EXIT_NEGATIVE;
	}
	r = jobpool_pool_map_new(cli->jobpool, WINDOW, on_submitted, &e, &map);
	if (r == 0)
		r = submit_lines(&e, s, &lines, map);
	if (r < 0) {
		show_progress(&e, true);
		e.code = cli_fail(cli, NULL);
	} else if (!e.code) {
		show_progress(&e, true);
	}
	jobpool_pool_map_free(map);
	lines_deinit(&lines);
	if (!own)
		close_fd(&lines.fd);
	return e.code;
}

/* What options and words cannot go together. 0 or the exit code. */
static int check_usage(const struct cli *cli)
{
	const char *lines = cli_option(cli, "each-line");

	if (!lines && !cli->argument_count)
		return cli_usage(cli, "a command is needed");
	if (lines && !cli->argument_count && !cli_option(cli, "shell"))
		return cli_usage(
			cli,
			"--each-line needs a command to give the lines to, or --shell: then each line is a script");
	if (lines && cli_option(cli, "stdin"))
		return cli_usage(cli, "--each-line and --stdin do not go together: one input serves one job");
	if (lines && cli_option(cli, "key"))
		return cli_usage(cli, "--each-line and --key do not go together: one key is one job");
	return 0;
}

int verb_submit(struct cli *cli)
{
	const char *lines = cli_option(cli, "each-line");
	struct submission s = { 0 };
	uint64_t id;
	int r = check_usage(cli);

	if (r == 0)
		r = cli_connect(cli);
	if (r)
		return r;
	r = submission_init(&s, cli, cli_option(cli, "split") != NULL);
	if (r == 0 && lines) {
		r = submit_each_line(cli, &s, lines);
	} else if (r == 0) {
		if (jobpool_process_start(cli->jobpool, &s.spec, &id) == 0)
			printf("%" PRIu64 "\n", id);
		else
			r = cli_fail(cli, NULL);
	}
	submission_deinit(&s);
	return r;
}
