/* The supervisor as the daemon sees it. It outlives us, so it is found by its lock and calls us; we only make sure that one runs. */
#include "supervisor.h"

#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>

#include "backoff.h"
#include "log.h"

#define ENSURE_FIRST_MS 20u /* how soon to look again whether a supervisor runs; doubles */
#define ENSURE_MOST_MS 1000u

struct supervisor {
	uv_loop_t *loop;
	struct supervisor_events events;
	uv_timer_t timer;        /* looks whether one runs, while none is connected */
	uv_process_t process;    /* the supervisor that we started ourselves */
	struct link *link;       /* owned; NULL = not connected */
	uint64_t epoch;
	struct supervisor_settings settings;
	bool ready, stopped;
	bool has_process;        /* @process is open: it has not ended yet */
	uint32_t looks;          /* in a row, without a connection */
	unsigned open_handles;   /* timer, link, process */
};

static void release_handle(struct supervisor *s)
{
	if (--s->open_handles == 0 && s->stopped)
		s->events.on_stopped(s->events.context);
}

static void on_handle_closed(uv_handle_t *handle)
{
	release_handle(handle->data);
}

static void on_process_closed(uv_handle_t *handle)
{
	struct supervisor *s = handle->data;

	s->has_process = false;
	release_handle(s);
}

static void on_process_exit(uv_process_t *process, int64_t status, int signal)
{
	if (status || signal)
		log_error("jobpool-supervisor ended", "pid=%d status=%" PRId64 " signal=%d", process->pid, status, signal);
	if (!uv_is_closing((uv_handle_t *)process))
		uv_close((uv_handle_t *)process, on_process_closed);
}

/* Beside our own executable, as in a build directory; else where it is installed. */
static void find_program(char path[PATH_MAX])
{
	ssize_t len = readlink("/proc/self/exe", path, PATH_MAX - 32);
	char *slash;

	if (len > 0) {
		path[len] = '\0';
		slash = strrchr(path, '/');
		snprintf(slash + 1, 32, "jobpool-supervisor");
		if (access(path, X_OK) == 0)
			return;
	}
	snprintf(path, PATH_MAX, "%s/jobpool-supervisor", LIBEXECDIR);
}

/* It starts nothing before it has connected, so this is in time. */
static void lower_descriptors(const struct supervisor *s)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
		return;
	limit.rlim_cur = MIN(limit.rlim_max, s->settings.descriptors);
	if (prlimit(s->process.pid, RLIMIT_NOFILE, &limit, NULL) < 0)
		log_errno(-errno, "jobs inherit our own limit of descriptors");
}

static void spawn_supervisor(struct supervisor *s)
{
	static char path[PATH_MAX], state_dir[PATH_MAX];
	char *argv[] = { (char[]){ "jobpool-supervisor" }, (char[]){ "--state-dir" }, state_dir, NULL };
	uv_stdio_container_t stdio[3] = { { .flags = UV_IGNORE }, { .flags = UV_IGNORE }, { .flags = UV_IGNORE } };
	uv_process_options_t options = {
		.exit_cb = on_process_exit, .file = path, .args = argv, .flags = UV_PROCESS_DETACHED, .stdio = stdio, .stdio_count = 3,
	};
	int r;

	find_program(path);
	if (!getcwd(state_dir, sizeof(state_dir)))
		snprintf(state_dir, sizeof(state_dir), ".");
	s->process.data = s;
	s->has_process = true;
	s->open_handles++;
	r = uv_spawn(s->loop, &s->process, &options);
	if (r < 0) {
		log_errno(r, "cannot start the supervisor %s; jobs wait until it can be started", path);
		uv_close((uv_handle_t *)&s->process, on_process_closed);
		return;
	}
	lower_descriptors(s);
	uv_unref((uv_handle_t *)&s->process); /* it outlives us */
	log_info("supervisor started", "pid=%d", s->process.pid);
}

/* The pid of the process that holds the lock; 0 = nobody does; -errno. */
static pid_t lock_holder(void)
{
	struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
	int fd = open(SUPERVISOR_LOCK_NAME, O_RDWR | O_CLOEXEC), r = -errno;
	char text[16] = "";
	int64_t pid = 0;

	if (fd < 0)
		return r == -ENOENT ? 0 : r;
	r = fcntl(fd, F_OFD_GETLK, &lock) < 0 ? -errno : lock.l_type != F_UNLCK;
	if (r > 0 && read(fd, text, sizeof(text) - 1) > 0)
		slice_to_int((struct slice){ text, strspn(text, "0123456789") }, 1, INT_MAX, &pid);
	close_fd(&fd);
	return r < 0 ? r : (pid_t)pid;
}

static void on_timer(uv_timer_t *timer)
{
	struct supervisor *s = timer->data;

	if (s->link || s->stopped)
		return;
	if (!s->has_process && lock_holder() == 0)
		spawn_supervisor(s);
	s->looks++;
	uv_timer_start(&s->timer, on_timer, backoff_ms(s->looks, ENSURE_FIRST_MS, ENSURE_MOST_MS), 0);
}

int supervisor_new(uv_loop_t *loop, const struct supervisor_settings *settings, const struct supervisor_events *events, struct supervisor **ret_supervisor)
{
	struct supervisor *s = calloc(1, sizeof(*s));

	if (!s)
		return -ENOMEM;
	s->loop = loop;
	s->settings = *settings;
	s->events = *events;
	uv_timer_init(loop, &s->timer);
	s->timer.data = s;
	s->open_handles = 1;
	/* One that must be waited for calls by itself: no timer, no wake-ups. */
	if (settings->spawn)
		uv_timer_start(&s->timer, on_timer, 0, 0);
	*ret_supervisor = s;
	return 0;
}

void supervisor_free(struct supervisor *s)
{
	free(s);
}

bool supervisor_is_ready(const struct supervisor *s)
{
	return s->link && s->ready && !s->stopped;
}

bool supervisor_is_coming(const struct supervisor *s)
{
	return s->settings.spawn && !s->stopped && !supervisor_is_ready(s);
}

static void on_log_message(struct slice tail, const struct message_log *message)
{
	char line[4096];

	snprintf(line, sizeof(line), "%.*s", (int)MIN(tail.len, sizeof(line) - 1), tail.data);
	log_relay(message->level < LOG_LEVEL_MAX ? (enum log_level)message->level : LOG_ERROR, line);
}

static void on_message(struct link *link, const struct message_header *header, struct slice frame)
{
	struct supervisor *s = link->context;
	struct message_row row;
	struct message_log log;
	struct slice tail;

	if (header->type == MESSAGE_ROW && message_body(frame, &row, sizeof(row), NULL) == 0) {
		s->events.on_row(&row, s->events.context);
	} else if (header->type == MESSAGE_ROWS_END) {
		s->ready = true;
		s->events.on_rows_end(s->events.context);
	} else if (header->type == MESSAGE_LOG && message_body(frame, &log, sizeof(log), &tail) == 0) {
		on_log_message(tail, &log);
	} else {
		log_warning("skipping a message of the supervisor", "type=%u length=%u", header->type, header->length);
	}
}

static void on_link_closed(struct link *link)
{
	struct supervisor *s = link->context;

	if (s->link == link) {
		s->link = NULL;
		s->ready = false;
		if (!s->stopped) {
			s->looks = 0;
			if (s->settings.spawn)
				uv_timer_start(&s->timer, on_timer, ENSURE_FIRST_MS, 0);
			s->events.on_lost(s->events.context);
		}
	}
	release_handle(s);
}

int supervisor_take_link(struct supervisor *s, struct link *link, const struct message_hello *hello, uint64_t epoch)
{
	struct message_welcome welcome = { .version = (uint16_t)MIN(hello->version_max, WORKER_PROTO_VERSION_MAX), .epoch = epoch };

	if (s->stopped || link->peer_pid <= 0 || lock_holder() != link->peer_pid)
		return -EACCES;
	if (s->link) { /* it has dialled anew: the old connection is dead */
		link_stop(s->link);
		s->link = NULL;
		s->events.on_lost(s->events.context);
	}
	uv_timer_stop(&s->timer);
	s->link = link;
	s->ready = false;
	s->epoch = epoch;
	s->open_handles++;
	link->context = s;
	link->on_message = on_message;
	link->on_closed = on_link_closed;
	link_send(link, MESSAGE_WELCOME, epoch, &welcome, sizeof(welcome), NULL, 0);
	log_info("supervisor connected", "pid=%d", link->peer_pid);
	return 0;
}

static void send_message(struct supervisor *s, enum message_type type, const void *body, size_t len)
{
	if (s->link)
		link_send(s->link, type, s->epoch, body, len, NULL, 0);
}

void supervisor_send_start(struct supervisor *s, uint64_t worker_id, const char *pool, uint32_t slot, const char *socket_path)
{
	struct message_start body = { .worker_id = worker_id, .slot = slot };

	snprintf(body.pool, sizeof(body.pool), "%s", pool);
	snprintf(body.socket, sizeof(body.socket), "%s", socket_path);
	send_message(s, MESSAGE_START, &body, sizeof(body));
}

void supervisor_send_kill(struct supervisor *s, uint64_t worker_id)
{
	struct message_worker body = { worker_id };

	send_message(s, MESSAGE_KILL, &body, sizeof(body));
}

void supervisor_send_forget(struct supervisor *s, uint64_t worker_id)
{
	struct message_worker body = { worker_id };

	send_message(s, MESSAGE_FORGET, &body, sizeof(body));
}

void supervisor_send_quit(struct supervisor *s)
{
	s->settings.spawn = false;
	send_message(s, MESSAGE_QUIT, NULL, 0);
}

void supervisor_stop(struct supervisor *s)
{
	if (s->stopped)
		return;
	s->stopped = true;
	if (s->link)
		link_stop(s->link);
	if (s->has_process && !uv_is_closing((uv_handle_t *)&s->process))
		uv_close((uv_handle_t *)&s->process, on_process_closed);
	uv_close((uv_handle_t *)&s->timer, on_handle_closed);
}
