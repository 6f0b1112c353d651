/* jobpool-supervisor: starts and kills the workers that the daemon asks for, is the subreaper under which every
 * worker and job lives, and proves that a dead worker's process tree is gone (design sections 3 and 6). Mechanism
 * only: it decides nothing, reads no configuration and no stranger's bytes, and is rarely restarted. */
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>

#include "build_config.h"
#include "link.h"
#include "log.h"
#include "state.h"
#include "table.h"

#define UNUSED_EXIT_MS 60000 /* with neither workers nor a daemon */

struct supervisor {
	uv_loop_t loop;
	struct table table;
	struct link link;
	int state_fd;
	uv_signal_t sigterm, sigint;
	uv_timer_t unused_timer;   /* runs while there is neither a row nor a daemon */
	bool is_kept;              /* a service manager wants it to stay */
	bool is_stopping, is_ended;
};

static void end(struct supervisor *s)
{
	s->is_ended = true;
	log_info("supervisor ends", "rows=%zu", s->table.row_count);
	link_stop(&s->link);
	table_stop(&s->table);
	uv_close((uv_handle_t *)&s->sigterm, NULL);
	uv_close((uv_handle_t *)&s->sigint, NULL);
	uv_close((uv_handle_t *)&s->unused_timer, NULL);
}

static void on_unused(uv_timer_t *timer)
{
	end(timer->data);
}

/* Called at every change. Any row keeps us, also an empty one: nobody else could tell the daemon that its tree is. */
static void look_whether_to_end(struct supervisor *s)
{
	bool is_unused = !s->is_kept && !s->link.is_welcome && s->table.row_count == 0;

	if (s->is_ended)
		return;
	if (s->is_stopping && table_is_ended(&s->table))
		end(s);
	else if (!is_unused)
		uv_timer_stop(&s->unused_timer);
	else if (!uv_is_active((uv_handle_t *)&s->unused_timer))
		uv_timer_start(&s->unused_timer, on_unused, UNUSED_EXIT_MS, 0);
}

/* SIGTERM lets the workers end their jobs with grace; SIGKILL is for QUIT and for who asks twice. */
static void stop(struct supervisor *s, int signal)
{
	s->is_stopping = true;
	table_close(&s->table, signal);
	look_whether_to_end(s);
}

static void on_stop_signal(uv_signal_t *handle, int signal)
{
	struct supervisor *s = handle->data;

	log_info(s->is_stopping ? "asked again to stop: killing the workers" : "asked to stop: workers end their jobs",
		 "signal=%d rows=%zu", signal, s->table.row_count);
	stop(s, s->is_stopping ? SIGKILL : SIGTERM);
}

static void send_row(const struct message_row *row, void *context)
{
	struct supervisor *s = context;

	if (s->link.is_welcome)
		link_send(&s->link, MESSAGE_ROW, row, sizeof(*row), (struct slice){ NULL, 0 });
}

static void on_row(const struct message_row *row, void *context)
{
	send_row(row, context);
	look_whether_to_end(context);
}

static void on_welcome(void *context)
{
	struct supervisor *s = context;

	log_info("connected to the daemon", "rows=%zu", s->table.row_count);
	table_for_each(&s->table, send_row, s);
	if (s->link.is_welcome)
		link_send(&s->link, MESSAGE_ROWS_END, NULL, 0, (struct slice){ NULL, 0 });
	look_whether_to_end(s);
}

static void on_gone(void *context)
{
	struct supervisor *s = context;

	log_info("the daemon is gone; workers go on, none is started until it is back", "rows=%zu", s->table.row_count);
	look_whether_to_end(s);
}

static void on_start(struct supervisor *s, const void *body)
{
	struct message_start start = *(const struct message_start *)body;

	start.pool[sizeof(start.pool) - 1] = '\0';
	start.socket[sizeof(start.socket) - 1] = '\0';
	table_add(&s->table, &start);
}

static void on_kill(struct supervisor *s, const void *body)
{
	table_kill(&s->table, ((const struct message_worker *)body)->worker_id);
}

static void on_forget(struct supervisor *s, const void *body)
{
	table_forget(&s->table, ((const struct message_worker *)body)->worker_id);
}

static void on_quit(struct supervisor *s, const void *body)
{
	(void)body;
	log_info("the daemon ends everything: killing the workers", "rows=%zu", s->table.row_count);
	stop(s, SIGKILL);
}

static const struct {
	enum message_type type;
	size_t body_bytes;
	void (*handle)(struct supervisor *s, const void *body);
} messages[] = {
	{ MESSAGE_START, sizeof(struct message_start), on_start },
	{ MESSAGE_KILL, sizeof(struct message_worker), on_kill },
	{ MESSAGE_FORGET, sizeof(struct message_worker), on_forget },
	{ MESSAGE_QUIT, 0, on_quit },
};

static void on_message(enum message_type type, struct slice frame, void *context)
{
	union {
		struct message_start start;
		struct message_worker worker;
	} body;

	for (size_t i = 0; i < ARRAY_SIZE(messages); i++) {
		if (messages[i].type != type)
			continue;
		if (message_body(frame, &body, messages[i].body_bytes, NULL) == 0)
			messages[i].handle(context, &body);
		else
			log_warning("a message of the daemon is too short; ignored", "type=%d", (int)type);
		return;
	}
	log_warning("a message of an unknown type from the daemon; ignored", "type=%d", (int)type);
}

static const struct link_events link_events = {
	.on_welcome = on_welcome,
	.on_message = on_message,
	.on_gone = on_gone,
};

/* To the daemon's log while there is one, else to a file: our stderr is /dev/null. */
static void on_log(enum log_level level, const char *line, void *context)
{
	struct supervisor *s = context;
	struct message_log message = { .level = level };

	if (s->link.is_welcome)
		link_send(&s->link, MESSAGE_LOG, &message, sizeof(message), slice_of(line));
	else
		state_log(s->state_fd, line);
}

/* Whoever started us may have left behind: closed stdio, where a later descriptor would slip in; blocked or ignored
 * signals. */
static int set_up_process(void)
{
	sigset_t none;
	int fd;

	do
		fd = open("/dev/null", O_RDWR);
	while (fd >= 0 && fd <= STDERR_FILENO);
	if (fd < 0 || close(fd) < 0)
		return -errno;
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	signal(SIGCHLD, SIG_DFL); /* ignored, the kernel would reap for us */
	signal(SIGPIPE, SIG_IGN);
	return prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) < 0 ? -errno : 0;
}

/* Every child that we did not start is killed, so there must be none that somebody else means to keep. */
static int refuse_company(struct table *t)
{
	if (getpid() == 1)
		log_error("must not run as process 1: it would kill all orphans; start it from an init",
			  "pid=1");
	else if (table_has_stranger(t) != 0)
		log_error("has children that it did not start, and would kill them; start it from a process without",
			  "children=%zu", t->tree.count);
	else
		return 0;
	return -EINVAL;
}

static int run(struct supervisor *s)
{
	int r = uv_loop_init(&s->loop);

	if (r < 0)
		return log_errno(r, "cannot make an event loop");
	r = table_start(&s->table, &s->loop, s->state_fd, on_row, s);
	if (r < 0)
		return log_errno(r, "cannot set up the table of workers");
	uv_signal_init(&s->loop, &s->sigterm);
	uv_signal_init(&s->loop, &s->sigint);
	uv_timer_init(&s->loop, &s->unused_timer);
	s->sigterm.data = s->sigint.data = s->unused_timer.data = s;
	link_start(&s->link, &s->loop, &link_events, s);
	r = refuse_company(&s->table);
	if (r == 0)
		r = uv_signal_start(&s->sigterm, on_stop_signal, SIGTERM);
	if (r == 0)
		r = uv_signal_start(&s->sigint, on_stop_signal, SIGINT);
	log_set_sink(on_log, s);
	if (r < 0)
		end(s);
	else
		look_whether_to_end(s);
	uv_run(&s->loop, UV_RUN_DEFAULT);
	log_set_sink(NULL, NULL);
	table_deinit(&s->table);
	link_deinit(&s->link);
	(void)uv_loop_close(&s->loop);
	return r;
}

static const char usage[] =
	"usage: jobpool-supervisor --state-dir DIR [--keep]\n"
	"\n"
	"Starts, kills and reaps the workers of the jobpool daemon that uses the same\n"
	"state directory. Usually started by jobpoold or by systemd.\n"
	"\n"
	"  --state-dir DIR  the daemon's state directory (must exist)\n"
	"  --keep           do not end after a minute without workers and daemon\n"
	"  --help           print this text\n"
	"  --version        print the version\n"
	"\n"
	"SIGTERM: the workers end their jobs with grace, then it ends; again: at once.\n";

enum { OPTION_STATE_DIR = 1, OPTION_KEEP, OPTION_HELP, OPTION_VERSION };

static const struct option options[] = {
	{ "state-dir", required_argument, NULL, OPTION_STATE_DIR },
	{ "keep", no_argument, NULL, OPTION_KEEP },
	{ "help", no_argument, NULL, OPTION_HELP },
	{ "version", no_argument, NULL, OPTION_VERSION },
	{ 0 },
};

/* >= 0: the exit status, there is nothing more to do. */
static int parse_options(int argc, char **argv, const char **ret_state_dir, bool *ret_keep)
{
	int option;

	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (option) {
		case OPTION_STATE_DIR:
			*ret_state_dir = optarg;
			break;
		case OPTION_KEEP:
			*ret_keep = true;
			break;
		case OPTION_HELP:
			return fputs(usage, stdout) < 0;
		case OPTION_VERSION:
			return puts("jobpool-supervisor " PACKAGE_VERSION) < 0;
		default:
			return 2;
		}
	}
	if (*ret_state_dir && optind == argc)
		return -1;
	fputs("jobpool-supervisor: needs --state-dir DIR and nothing else; --help tells more\n", stderr);
	return 2;
}

/* Until it runs, errors go to stderr: that a second one has nothing to do does not belong in the first one's log
 * file. */
static int serve(struct supervisor *s, const char *state_dir)
{
	pid_t owner = 0;
	int r = set_up_process();

	if (r < 0)
		return log_errno(r, "cannot set up the process");
	s->state_fd = state_enter(state_dir);
	if (s->state_fd < 0)
		return log_errno(s->state_fd, "cannot use the state directory %s", state_dir);
	r = state_lock(s->state_fd, &owner);
	if (r == -EWOULDBLOCK) {
		log_info("another supervisor serves this state directory; nothing to do", "pid=%d", (int)owner);
		return 0;
	}
	if (r < 0)
		return log_errno(r, "cannot lock " SUPERVISOR_LOCK_NAME " in %s", state_dir);
	return run(s);
}

int main(int argc, char **argv)
{
	static struct supervisor s;
	const char *state_dir = NULL;
	int r = parse_options(argc, argv, &state_dir, &s.is_kept);

	if (r >= 0)
		return r;
	log_set_program("jobpool-supervisor");
	return serve(&s, state_dir) < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
