/* jobpool, the command line client. The table of verbs is the source of dispatch and of all --help. */
#include <fcntl.h>
#include <stdio.h>

#include "build_config.h"
#include "connect.h"
#include "verbs.h"

#define CODES_NOTE                                                                                                     \
	"Exit codes: 0 done, 1 a negative answer, 2 usage, 3 not found, 4 no daemon, 5 denied, 6 timed out,\n"         \
	"7 full, closed or no space. run and wait return the job's own code (128+n for signal n), and for\n"           \
	"themselves 122 wait timed out, 123 no exit status exists (cancelled, lost, ...), 124 a limit ended the\n"     \
	"job, 125 usage, jobpool or the daemon failed, 126/127 the command could not be started / was not found.\n"

#define JSON_NOTE                                                                                                      \
	"JSON: bytes that are not UTF-8 are the escapes \\udc80 to \\udcff, one a byte (Python's surrogateescape:\n"   \
	"os.fsencode() gives the bytes back). Times are milliseconds since 1970.\n"

#define COMMAND_NOTE                                                                                                   \
	"The first word that is no option begins the command; options behind it are the command's.\n"                  \
	"DURATION: 500ms, 10s, 1h30m; a bare number is seconds. SIZE: 64KiB, 10MB; a bare number is bytes.\n"           \
	"--key: the first submission counts; one with another queue, directory or command is refused.\n"

static const struct verb verbs[] = {
	{ "submit", "COMMAND [ARGUMENT]...", "submit a command and print its id", verb_submit, VERB_COMMAND | VERB_STARTS | VERB_CONNECTS, 0, -1,
	  { submit_options, each_line_options, reconnect_options },
	  COMMAND_NOTE
	  "--each-line: {} in the command is replaced by the line; without {} the line is appended as an argument.\n"
	  "With --shell it goes into the script quoted; without a command each line is a script. Ids are printed one a\n"
	  "line; the first refusal ends it. Where stderr is a terminal, it tells how far it has come.\n" },
	{ "run", "COMMAND [ARGUMENT]...", "submit a command, show its output and return its exit code", verb_run,
	  VERB_COMMAND | VERB_STARTS | VERB_PROPAGATES | VERB_CONNECTS, 1, -1, { submit_options, reconnect_options },
	  COMMAND_NOTE
	  "stdout and stderr of the job are kept apart; its stdin is empty unless --stdin is given.\n"
	  "Ctrl-C interrupts the job; twice leaves it running by itself, and so does kill -9 of `jobpool run`,\n"
	  "or that nobody reads its output any more. SIGTERM is passed on to the job.\n" },
	{ "wait", "ID...", "wait until jobs are done; returns the first exit code that is not 0", verb_wait,
	  VERB_STARTS | VERB_PROPAGATES, 1, -1, { wait_options, timeout_options, reconnect_options, json_options }, JSON_NOTE },
	{ "join", "[QUEUE]...", "wait until queues (all, without a name) have no unfinished job", verb_join, VERB_STARTS, 0, -1,
	  { join_options, timeout_options, reconnect_options },
	  "--progress: a line on stderr that is redrawn twice a second, on a terminal only.\n" },
	{ "list", "", "list jobs", verb_list, VERB_STARTS, 0, 0, { list_options, json_options, color_options },
	  "Outcomes: succeeded failed signaled timeout oom unstartable cancelled expired skipped lost.\n" JSON_NOTE },
	{ "show", "ID", "show everything about a job", verb_show, VERB_STARTS, 1, 1, { json_options }, JSON_NOTE },
	{ "log", "ID", "show what a job wrote", verb_log, VERB_STARTS, 1, 1, { log_options, reconnect_options },
	  "Of a job with split streams, its stderr goes to stderr.\n" },
	{ "why", "ID", "tell why a job is not running", verb_why, VERB_STARTS, 1, 1, { NULL }, NULL },
	{ "kill", "ID...", "send a signal to all processes of jobs", verb_kill, VERB_STARTS, 1, -1, { kill_options },
	  "It only delivers the signal; to end a job, `jobpool cancel` is the better way.\n" },
	{ "cancel", "ID...", "cancel jobs: waiting ones at once, running ones by SIGTERM and, after their grace, SIGKILL", verb_change,
	  VERB_STARTS, 1, -1, { NULL }, NULL },
	{ "hold", "ID...", "hold waiting jobs back", verb_change, VERB_STARTS, 1, -1, { NULL }, NULL },
	{ "release", "ID...", "release held jobs", verb_change, VERB_STARTS, 1, -1, { NULL }, NULL },
	{ "retry", "ID...", "make finished jobs ready again", verb_change, VERB_STARTS, 1, -1, { NULL }, NULL },
	{ "remove", "ID...", "remove finished jobs and their output", verb_change, VERB_STARTS, 1, -1, { NULL }, NULL },
	{ "clean", "", "remove all finished jobs and print how many", verb_clean, VERB_STARTS, 0, 0, { clean_options }, NULL },
	{ "queue", "[NAME | pause NAME | resume NAME]", "list queues, show one, pause or resume one", verb_queue, VERB_STARTS | VERB_CONNECTS, 0, 2,
	  { json_options, color_options },
	  "IN and OUT: jobs submitted and finished, as rates of the last minute. OLDEST: how long the first of the ready\n"
	  "jobs waits. A paused queue takes jobs and starts none.\n" },
	{ "pools", "[reset NAME]", "list pools, or start the workers of one again", verb_pools, VERB_STARTS | VERB_CONNECTS, 0, 2,
	  { json_options, color_options },
	  "A pool whose workers died again and again before a first job starts no more of them (breaker open) until it is reset.\n" },
	{ "workers", "", "list workers", verb_workers, VERB_STARTS, 0, 0, { json_options, color_options },
	  "JOBS: done since the daemon's start. RATE: of the last minute.\n" },
	{ "reload", "", "let the daemon read its configuration again", verb_reload, 0, 0, 0, { NULL }, NULL },
	{ "stop", "", "stop the daemon and wait until it has ended", verb_stop, VERB_CONNECTS, 0, 0, { stop_options }, NULL },
	{ "ping", "", "ask whether the daemon answers", verb_ping, 0, 0, 0, { NULL }, NULL },
	{ "version", "", "show the versions of client and daemon", verb_version, VERB_CONNECTS, 0, 0, { NULL }, NULL },
};

static const struct verb *find_verb(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(verbs); i++)
		if (strcmp(verbs[i].name, name) == 0)
			return &verbs[i];
	return NULL;
}

/* What users of other job runners type first. */
static const struct {
	const char *name, *meant;
} habits[] = {
	{ "add", "submit" },    { "enqueue", "submit" }, { "start", "release" },  { "exec", "run" },
	{ "ls", "list" },       { "ps", "list" },        { "status", "list" },    { "jobs", "list" },
	{ "inspect", "show" },  { "info", "show" },      { "logs", "log" },       { "follow", "log -f" },
	{ "tail", "log -f" },   { "rm", "remove" },      { "stash", "hold" },     { "restart", "retry" },
	{ "queues", "queue" },  { "parallel", "pools" }, { "pause", "queue pause" }, { "resume", "queue resume" },
	{ "shutdown", "stop" }, { "help", "--help" },
};

/* Whether two neighbouring letters changed places, or one letter is wrong, missing or too much. */
static bool is_slip(const char *typed, const char *name)
{
	while (*typed && *typed == *name) {
		typed++;
		name++;
	}
	return strcmp(typed, name + !!*name) == 0 || strcmp(typed + !!*typed, name) == 0 ||
	       (*typed && *name && strcmp(typed + 1, name + 1) == 0) ||
	       (*typed && *name && typed[0] == name[1] && typed[1] == name[0] && strcmp(typed + 2, name + 2) == 0);
}

static int unknown_verb(const struct cli *cli, const char *typed)
{
	for (size_t i = 0; i < ARRAY_SIZE(habits); i++)
		if (strcmp(typed, habits[i].name) == 0)
			return cli_usage(cli, "there is no verb '%s'; did you mean '%s'?", typed, habits[i].meant);
	for (size_t i = 0; i < ARRAY_SIZE(verbs); i++)
		if (is_slip(typed, verbs[i].name))
			return cli_usage(cli, "there is no verb '%s'; did you mean '%s'?", typed, verbs[i].name);
	return cli_usage(cli, "there is no verb '%s'", typed);
}

static void print_help(void)
{
	printf("Usage: jobpool [OPTION]... VERB [ARGUMENT]...\n\n"
	       "Run commands on a pool of workers, durably. Without a verb: list.\n\nVerbs:\n");
	for (size_t i = 0; i < ARRAY_SIZE(verbs); i++)
		printf("  %-10s%s\n", verbs[i].name, verbs[i].help);
	printf("\nOptions of all verbs, before or behind the verb:\n");
	print_options(global_options);
	print_options(json_options);
	print_options(color_options);
	printf("\n`jobpool VERB --help` tells more.\n\n%s", CODES_NOTE);
}

/* An option before the verb (--json, --color) must be one that the verb has. */
static bool verb_takes(const struct verb *verb, const char *name)
{
	for (size_t i = 0; i < VERB_TABLES_MAX && verb->tables[i]; i++)
		for (const struct option_row *row = verb->tables[i]; row->name; row++)
			if (strcmp(row->name, name) == 0)
				return true;
	return false;
}

static int run_verb(struct cli *cli)
{
	static const char *const not_of_all[] = { "json", "color" };
	const struct verb *verb = cli->verb;
	int r;

	if (cli_option(cli, "help")) {
		print_verb_help(verb);
		return EXIT_OK;
	}
	if (cli_option(cli, "version")) {
		printf("jobpool %s\n", PACKAGE_VERSION);
		return EXIT_OK;
	}
	for (size_t i = 0; i < ARRAY_SIZE(not_of_all); i++)
		if (cli_option(cli, not_of_all[i]) && !verb_takes(verb, not_of_all[i]))
			return cli_usage(cli, "%s has no --%s", verb->name, not_of_all[i]);
	r = cli_check(cli);
	if (r == 0 && !(verb->flags & VERB_CONNECTS))
		r = cli_connect(cli);
	return r ? r : verb->run(cli);
}

/* Find the verb and parse all. 0, or the exit code for usage; cli->verb is NULL when general help is wanted. */
static int parse(struct cli *cli, int argc, char **argv)
{
	static char list[] = "list";
	char *bare[] = { list, NULL };
	int used;

	if (!cli_parse_global(cli, argc, argv, &used))
		return cli_usage(cli, "wrong options before the verb");
	argc -= used;
	argv += used;
	if (!argc && (cli_option(cli, "help") || cli_option(cli, "version")))
		return 0;
	cli->verb = find_verb(argc ? argv[0] : list);
	if (!cli->verb)
		return unknown_verb(cli, argv[0]);
	if (cli_parse(cli, argc ? argc : 1, argc ? argv : bare))
		return 0;
	fprintf(stderr, "Try `jobpool %s --help`.\n", cli->verb->name);
	return cli->verb->flags & VERB_PROPAGATES ? EXIT_JOBPOOL : EXIT_USAGE;
}

/* Our own descriptors must not become a closed stdin, stdout or stderr: the socket would be read as input, or get our
 * output. What stands in for them fails as a closed one does. */
static void occupy_standard_descriptors(void)
{
	for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
		if (fcntl(fd, F_GETFD) < 0)
			(void)!open("/dev/null", fd == STDIN_FILENO ? O_WRONLY : O_RDONLY);
}

int main(int argc, char **argv)
{
	struct cli cli = { 0 };
	int code;

	occupy_standard_descriptors();
	code = parse(&cli, argc, argv);

	if (code == 0 && cli.verb)
		code = run_verb(&cli);
	else if (code == 0 && cli_option(&cli, "help"))
		print_help();
	else if (code == 0)
		printf("jobpool %s\n", PACKAGE_VERSION);
	if (fflush(stdout) == EOF || ferror(stdout)) {
		cli_say("cannot write to stdout: %s", strerror(errno));
		if (code == 0)
			code = cli.verb ? cli_own_failure(&cli) : EXIT_NEGATIVE;
	}
	jobpool_close(cli.jobpool);
	if (cli.interrupt_fd > 0)
		close_fd(&cli.interrupt_fd);
	free(cli.values);
	return code;
}
