/* submit: one job, or one for each line of a file. */
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <sys/stat.h>

#include "connect.h"
#include "lines.h"
#include "pace.h"
#include "submission.h"
#include "terminal.h"
#include "text.h"
#include "verbs.h"

#define WINDOW 768            /* submissions in flight: some are made, some read, some committed; the daemon takes 1024 */
#define PROGRESS_MS 100
#define UNSHOWN_MAX 2048u     /* their ids fit into stdout's buffer (live_begin()) */

const struct option_row each_line_options[] = {
	{ "each-line", 0, "FILE", "submit one job for each line; - is stdin", OPTION_OWN },
	{ "split", 0, NULL, "keep stdout and stderr apart (default: one stream, in true order)", OPTION_OWN },
	{ .name = NULL },
};

struct each_line {
	struct cli *cli;
	struct lines lines;
	uint64_t sent, submitted;
	int code;                 /* exit code of the first refusal; 0 = none yet */

	bool live;                /* it tells how far it has come */
	uint64_t bytes;           /* of all lines; 0 = not known */
	uint64_t begin_ms, shown_ms;
	uint32_t unshown;         /* submitted since then; their ids are kept back with the line */
	struct pace pace;
};

/* How much of the input is submitted, 0 to 1; below 0 = not known. */
static double share_done(const struct each_line *e)
{
	double sent = e->bytes ? (double)e->lines.taken / (double)e->bytes : -1;

	return e->sent ? MIN(sent, 1) * (double)e->submitted / (double)e->sent : sent;
}

static void show_progress(struct each_line *e)
{
	uint64_t now_ms = now_monotonic_ms(), left_ms = UINT64_MAX;
	double rate = pace_per_second(&e->pace, now_ms, e->submitted), share = share_done(e);
	char text[TIME_TEXT_BYTES];
	struct live_line line;

	pace_note(&e->pace, now_ms, e->submitted);
	live_line_init(&line);
	live_line_add(&line, "%" PRIu64 " submitted", e->submitted);
	if (share >= 0)
		live_line_add(&line, "%u%%", (unsigned)(share * 100));
	if (rate > 0)
		live_line_add(&line, "%s", text_rate(rate, text));
	if (share > 0)
		left_ms = pace_left_ms(rate, (uint64_t)((double)e->submitted * (1 - share) / share));
	if (left_ms != UINT64_MAX)
		live_line_add(&line, "%s left", text_left(left_ms, text));
	live_show(&line);
	e->shown_ms = now_ms;
	e->unshown = 0;
}

/* What is left to show is shown, unless more comes very soon. */
static void show_before_waiting(struct each_line *e)
{
	uint64_t now_ms = now_monotonic_ms(), due_ms = e->shown_ms + PROGRESS_MS;
	struct pollfd input = { .fd = e->lines.fd, .events = POLLIN };

	if (!e->live)
		fflush(stdout);
	else if (e->unshown && poll(&input, 1, due_ms > now_ms ? (int)(due_ms - now_ms) : 0) == 0)
		show_progress(e);
}

static void begin_progress(struct each_line *e)
{
	struct stat st;
	off_t at = lseek(e->lines.fd, 0, SEEK_CUR);

	if (at >= 0 && fstat(e->lines.fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_size > at)
		e->bytes = (uint64_t)(st.st_size - at);
	/* Nobody wants to be disturbed while he types. */
	e->live = !isatty(e->lines.fd) && live_begin();
	e->begin_ms = now_monotonic_ms();
	pace_begin(&e->pace, e->begin_ms, 0);
}

static void end_progress(const struct each_line *e)
{
	char time[TIME_TEXT_BYTES], rate[TIME_TEXT_BYTES];
	uint64_t took_ms = now_monotonic_ms() - e->begin_ms;

	if (!e->live)
		return;
	live_clear();
	fprintf(stderr, "%" PRIu64 " submitted in %s, %s\n", e->submitted, text_elapsed(took_ms, time),
		text_rate((double)e->submitted * 1000 / (double)MAX(took_ms, 1), rate));
}

static void on_submitted(uint64_t number, uint64_t id, const struct jobpool_error *error, void *context)
{
	struct each_line *e = context;
	char what[40];

	if (id) {
		char text[UINT_TEXT_BYTES + 1];
		size_t len = uint_print(id, text);

		text[len] = '\n';
		fwrite(text, 1, len + 1, stdout);
		e->submitted++;
		if (e->live && (++e->unshown >= UNSHOWN_MAX || now_monotonic_ms() >= e->shown_ms + PROGRESS_MS))
			show_progress(e);
	} else if (!e->code) {
		snprintf(what, sizeof(what), "line %" PRIu64, number);
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

static int submit_lines(struct each_line *e, const struct submission *s, struct jobpool_map *map)
{
	bool shell = cli_option(e->cli, "shell") != NULL;
	const char **argv = calloc(s->spec.argc + 2, sizeof(*argv));
	struct jobpool_spec spec = s->spec;
	struct buf words = { 0 };
	struct slice line;
	int r = 0, found = LINES_LINE;

	spec.argv = argv;
	while (argv && r == 0 && !e->code) {
		found = lines_next(&e->lines, false, &line);
		if (found == LINES_WAIT) { /* nothing to do but to hear the answers, then to wait for more */
			r = jobpool_pool_map_drain(map);
			if (r < 0 || e->code)
				break;
			show_before_waiting(e);
			found = lines_next(&e->lines, true, &line);
		}
		if (found != LINES_LINE)
			break;
		e->sent++;
		if (memchr(line.data, '\0', line.len)) {
			r = jobpool_pool_map_drain(map);
			cli_say("line %" PRIu64 ": it contains a NUL byte, which no argument can", e->sent);
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
	struct each_line e = { .cli = cli, .lines = { .fd = STDIN_FILENO } };
	struct jobpool_map *map = NULL;
	bool own = strcmp(path, "-") == 0;
	int r;

	if (!own)
		e.lines.fd = open(path, O_RDONLY | O_CLOEXEC);
	if (e.lines.fd < 0) {
		cli_say("cannot read %s: %s", path, strerror(errno));
		return EXIT_NEGATIVE;
	}
	begin_progress(&e);
	r = jobpool_pool_map_new(cli->jobpool, WINDOW, on_submitted, &e, &map);
	if (r == 0)
		r = submit_lines(&e, s, map);
	if (r < 0)
		e.code = cli_fail(cli, NULL);
	end_progress(&e);
	jobpool_pool_map_free(map);
	lines_deinit(&e.lines);
	if (!own)
		close_fd(&e.lines.fd);
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
