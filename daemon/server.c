/* Start: configuration, state directory and its lock, store, dispatch, socket. Stop: no new clients; dispatch comes to rest; the
 * requests at hand are answered; the store is closed; the rest is closed. */
#include "server.h"

#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <uv.h>

#include "commands.h"
#include "conn.h"
#include "dispatch.h"
#include "listener.h"
#include "log.h"
#include "pool.h"
#include "socket_path.h"
#include "store.h"
#include "sweep.h"
#include "users.h"
#include "waiters.h"
#include "worker_proto.h"

#define LOCK_NAME "jobpoold.lock"
#define DESCRIPTORS_OWN 256 /* for store, supervisor, files that are being read: never given to clients */
#define DESCRIPTORS_PER_WORKER 2 /* nor these: its connection and its file */

static const int stop_signals[] = { SIGTERM, SIGINT };

struct server {
	const struct server_options *options;
	uv_loop_t loop;
	struct config *config;
	char *config_path;            /* "" = none was read */
	char *state_dir;              /* canonical; it is the working directory */
	char *socket_path;            /* absolute */
	int lock_fd;                  /* holds the lock as long as we live */
	struct users *users;
	struct store *store;
	struct dispatch *dispatch;
	struct waiters *waiters;
	struct conns *conns;
	struct sweep *sweep;
	struct listener *listener;
	struct commands commands;
	uv_signal_t signals[ARRAY_SIZE(stop_signals) + 1];
	bool signals_open;
	uint64_t connections_max;     /* by limits.connections and by the descriptors we may have */
	bool stopping;
	rlim_t job_descriptors;           /* soft limit that jobs get */
};

/* --- configuration --- */

static void override_workers(struct config *config, uint32_t workers)
{
	for (size_t i = 0; workers && i < config->pool_count; i++)
		if (config->pools[i].workers == WORKERS_AUTO)
			config->pools[i].workers = workers;
}

/* The user's own file, heap; NULL = there is none. */
static char *find_config(void)
{
	const char *base = getenv("XDG_CONFIG_HOME"), *home = getenv("HOME");
	char *path = NULL;
	int n = -1;

	if (base && base[0] == '/')
		n = asprintf(&path, "%s/jobpool/jobpool.yaml", base);
	else if (home && home[0] == '/')
		n = asprintf(&path, "%s/.config/jobpool/jobpool.yaml", home);
	if (n < 0)
		return NULL;
	if (access(path, F_OK) == 0)
		return path;
	free(path);
	return NULL;
}

int server_load_config(const struct server_options *options, struct config **ret_config, char **ret_path, struct buf *errors)
{
	/* Absolute, since a reload reads it again from another directory. */
	char *path = options->config_path ? realpath(options->config_path, NULL) : find_config();
	int r;

	if (options->config_path && !path) {
		r = -errno;
		buf_printf(errors, "%s: cannot read the configuration: %s\n", options->config_path, strerror(-r));
		return r;
	}
	r = config_load(path, ret_config, errors);
	if (r < 0) {
		free(path);
		return r;
	}
	override_workers(*ret_config, options->workers);
	*ret_path = path ? path : strdup("");
	return *ret_path ? 0 : -ENOMEM;
}

static void log_lines(enum log_level level, const char *message, const struct buf *lines)
{
	const char *at = lines->data, *end = at + lines->len;

	while (at < end) {
		const char *newline = memchr(at, '\n', (size_t)(end - at));
		int len = (int)((newline ? newline : end) - at);
		char line[1024];

		snprintf(line, sizeof(line), "%.*s", len, at);
		log_write(level, message, "problem=" LOG_QUOTED, line);
		at += len + 1;
	}
}

static int load_config(struct server *s)
{
	struct buf errors = { 0 };
	int r = server_load_config(s->options, &s->config, &s->config_path, &errors);

	if (r < 0)
		log_lines(LOG_ERROR, "the configuration is not usable", &errors);
	else
		log_set_level(s->config->log_level);
	buf_free(&errors);
	return r;
}

/* --- the state directory --- */

/* Make the directory and its parents where they are missing. */
static int make_directories(const char *path)
{
	char *copy = strdup(path);
	int r = 0;

	if (!copy)
		return -ENOMEM;
	for (char *slash = copy; r == 0 && slash; ) {
		slash = strchr(slash + 1, '/');
		if (slash)
			*slash = '\0';
		if (mkdir(copy, 0700) < 0 && errno != EEXIST)
			r = -errno;
		if (slash)
			*slash = '/';
	}
	free(copy);
	return r;
}

static int enter_state_dir(struct server *s)
{
	char by_default[PATH_MAX];
	const char *path = s->options->state_dir;
	int r;

	if (path) {
		r = make_directories(path);
	} else {
		path = by_default;
		r = state_directory_user(by_default, sizeof(by_default), true);
		if (r < 0)
			return log_errno(r, "cannot make the default state directory; choose one with --state-dir");
	}
	if (r < 0)
		return log_errno(r, "cannot make the state directory %s", path);
	s->state_dir = realpath(path, NULL);
	if (!s->state_dir || chdir(s->state_dir) < 0)
		return log_errno(-errno, "cannot enter the state directory %s", path);
	if (access(".", R_OK | W_OK | X_OK) < 0)
		return log_errno(-errno, "cannot write into the state directory %s", s->state_dir);
	return 0;
}

/* One daemon for one state directory. The lock dies with us, whatever kills us. */
static int lock_state_dir(struct server *s)
{
	struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
	char text[32] = "";
	ssize_t n;

	s->lock_fd = open(LOCK_NAME, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (s->lock_fd < 0)
		return log_errno(-errno, "cannot open %s/%s", s->state_dir, LOCK_NAME);
	if (fcntl(s->lock_fd, F_OFD_SETLK, &lock) < 0) {
		int r = -errno;

		if (r != -EAGAIN && r != -EACCES)
			return log_errno(r, "cannot lock %s/%s", s->state_dir, LOCK_NAME);
		n = pread(s->lock_fd, text, sizeof(text) - 1, 0);
		text[n > 0 ? strcspn(text, "\n") : 0] = '\0';
		log_error("another jobpoold uses this state directory; stop it, or choose another with --state-dir",
			  "state_dir=%s pid=%s", s->state_dir, text);
		return -EBUSY;
	}
	snprintf(text, sizeof(text), "%d\n", (int)getpid());
	if (ftruncate(s->lock_fd, 0) < 0)
		return log_errno(-errno, "cannot write %s/%s", s->state_dir, LOCK_NAME);
	n = pwrite_all(s->lock_fd, text, strlen(text), 0);
	return n < 0 ? log_errno((int)n, "cannot write %s/%s", s->state_dir, LOCK_NAME) : 0;
}

static int make_subdirectories(const struct server *s)
{
	static const char *const names[] = { WORKER_DIRECTORY, SCRATCH_DIRECTORY, OUTPUT_DIRECTORY, INPUT_DIRECTORY, TMP_DIRECTORY, SLOT_DIRECTORY };

	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (mkdir(names[i], 0700) < 0 && errno != EEXIST)
			return log_errno(-errno, "cannot make %s/%s", s->state_dir, names[i]);
	return 0;
}

/* Before the working directory changes: a relative path is relative to where we were started. */
static int choose_socket_path(struct server *s)
{
	char path[SOCKET_PATH_BYTES], cwd[PATH_MAX];
	const char *given = s->options->socket_path;
	int r;

	if (given && given[0] == '/') {
		s->socket_path = strdup(given);
	} else if (given) {
		if (!getcwd(cwd, sizeof(cwd)))
			return log_errno(-errno, "cannot tell the current directory; give --socket an absolute path");
		if (asprintf(&s->socket_path, "%s/%s", cwd, given) < 0)
			s->socket_path = NULL;
	} else {
		r = socket_path_user(path, sizeof(path), true);
		if (r < 0)
			return log_errno(r, "cannot make the directory of the default socket; choose another with --socket");
		s->socket_path = strdup(path);
	}
	return s->socket_path ? 0 : log_errno(-ENOMEM, "cannot name the socket");
}

/* --- limits --- */

/* As many descriptors as we may have; the clients get what we do not need ourselves. Returns the soft limit of before: the jobs' one. */
static rlim_t raise_descriptors(void)
{
	struct rlimit limit;
	rlim_t before;

	if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
		return RLIM_INFINITY;
	before = limit.rlim_cur;
	limit.rlim_cur = limit.rlim_max;
	setrlimit(RLIMIT_NOFILE, &limit);
	return before;
}

static void apply_limits(struct server *s)
{
	uint64_t own = DESCRIPTORS_OWN;
	struct rlimit limit;

	s->connections_max = s->config->limits.connections;
	for (size_t i = 0; i < s->config->pool_count; i++)
		own += DESCRIPTORS_PER_WORKER * (uint64_t)config_pool_size(&s->config->pools[i]);
	if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY) {
		uint64_t for_clients = limit.rlim_cur > 2 * own ? limit.rlim_cur - own : limit.rlim_cur / 2;

		s->connections_max = MIN(s->connections_max, MAX(for_clients, 1));
	}
	conns_set_limits(s->conns, s->config->limits.arguments, s->config->limits.request_bytes);
}

/* --- news from below --- */

static void update_accepting(struct server *s)
{
	if (s->listener && !s->stopping)
		listener_set_accepting(s->listener, conns_count(s->conns) < s->connections_max);
}

static int on_accept(int fd, uid_t uid, pid_t pid, void *context)
{
	static const char denied[] = "-DENIED only the daemon's own user and root may talk to it\r\n";
	struct server *s = context;
	struct peer peer = { .uid = uid, .pid = pid, .user = users_find(s->users, uid), .admin = true };
	int r;

	if (!peer.user) {
		log_info("a client was refused", "uid=%u pid=%d", (unsigned)uid, (int)pid);
		(void)!send(fd, denied, sizeof(denied) - 1, MSG_NOSIGNAL | MSG_DONTWAIT);
		return -EACCES;
	}
	r = conn_start(s->conns, fd, &peer);
	update_accepting(s);
	return r;
}

static bool on_request(struct call *call, const struct slice *argv, uint32_t argc, void *context)
{
	struct server *s = context;

	return commands_execute(&s->commands, call, argv, argc);
}

static void on_conn_closed(void *context) { update_accepting(context); }

static void on_job_started(uint64_t job_id, void *context)
{
	struct server *s = context;

	if (s->waiters)
		waiters_notify_job(s->waiters, WAITER_JOB_STARTED, job_id);
}

static void on_job_retried(uint64_t job_id, void *context)
{
	struct server *s = context;

	if (s->waiters)
		waiters_notify_job(s->waiters, WAITER_JOB_RETRIED, job_id);
}

static void on_job_done(uint64_t job_id, void *context)
{
	struct server *s = context;

	if (s->waiters)
		waiters_notify_job(s->waiters, WAITER_JOB_DONE, job_id);
	if (s->sweep)
		sweep_job_done(s->sweep);
}

static void on_queue_idle(struct queue *queue, void *context)
{
	struct server *s = context;

	if (s->waiters)
		waiters_notify_idle(s->waiters, queue);
}

static bool may_pause(void *context)
{
	struct server *s = context;

	return s->dispatch && dispatch_may_pause(s->dispatch);
}

static void on_batch(void *context)
{
	struct server *s = context;

	if (s->dispatch)
		dispatch_on_batch(s->dispatch);
	if (s->sweep)
		sweep_on_batch(s->sweep);
}

/* Nobody can be told anything true any more (P10): out, and let the next start recover. */
static void on_fatal(const char *message, void *context)
{
	struct server *s = context;

	log_error("the job store failed; jobpoold ends, running jobs go on", "state_dir=%s error=" LOG_QUOTED, s->state_dir, message);
	_exit(EXIT_FAILURE);
}

/* --- reload --- */

static int reload(void *context, struct buf *errors)
{
	struct server *s = context;
	struct config *next = NULL, *old = s->config;
	char *path = NULL;
	struct server_options options = *s->options;
	int r;

	/* The path as it was at the start: a relative one named a file of another working directory. */
	if (options.config_path)
		options.config_path = s->config_path;
	r = server_load_config(&options, &next, &path, errors);
	if (r < 0) {
		log_lines(LOG_ERROR, "reload failed, the old configuration stays", errors);
		return r;
	}
	s->config = next;
	free(s->config_path);
	s->config_path = path;
	s->commands.config = next;
	s->commands.config_path = path;
	log_set_level(next->log_level);
	dispatch_reconfigure(s->dispatch, next);
	sweep_reconfigure(s->sweep, next);
	apply_limits(s);
	update_accepting(s);
	config_free(old);
	log_info("reloaded", "config=%s", *path ? path : "none");
	return 0;
}

/* --- stop --- */

static void close_signals(struct server *s)
{
	for (size_t i = 0; s->signals_open && i < ARRAY_SIZE(s->signals); i++)
		uv_close((uv_handle_t *)&s->signals[i], NULL);
	s->signals_open = false;
}

static void on_store_closed(void *context)
{
	struct server *s = context;

	s->store = NULL;
	dispatch_free(s->dispatch);
	s->dispatch = NULL;
	conns_stop(s->conns);
	sweep_free(s->sweep);
	s->sweep = NULL;
	named_environments_deinit(&s->commands.environments);
	close_signals(s);
}

static void on_drained(void *context)
{
	struct server *s = context;

	sweep_stop(s->sweep);
	store_close(s->store, on_store_closed, s);
}

static void on_dispatch_stopped(void *context)
{
	struct server *s = context;

	/* In this order: nobody new may begin to wait while those who do are told. */
	conns_drain(s->conns);
	waiters_stop(s->waiters);
	s->waiters = NULL;
}

static void stop(void *context, enum dispatch_stop how)
{
	struct server *s = context;

	if (s->stopping)
		return;
	log_info("stopping", "running_jobs=%s", how == STOP_KILL ? "ended" : "left");
	s->stopping = true;
	listener_stop(s->listener);
	s->listener = NULL;
	dispatch_stop(s->dispatch, how, on_dispatch_stopped, s);
}

static void on_stop_signal(uv_signal_t *handle, int number)
{
	struct server *s = handle->data;

	if (s->stopping) {
		log_warning("told to stop a second time: ends at once, what was acknowledged is safe", "signal=%d", number);
		_exit(EXIT_FAILURE);
	}
	stop(s, STOP_LEAVE);
}

static void on_hangup(uv_signal_t *handle, int number)
{
	struct buf errors = { 0 };
	struct server *s = handle->data;

	(void)number;
	if (!s->stopping)
		reload(s, &errors);
	buf_free(&errors);
}

/* --- start --- */

static int start_store(struct server *s, struct store_start **ret_start)
{
	const struct store_callbacks callbacks = { .may_pause = may_pause, .on_batch = on_batch, .on_fatal = on_fatal, .context = s };
	char error[256] = "";
	int r = store_open(&s->loop, &callbacks, &s->store, ret_start, error);

	if (r < 0)
		log_error("cannot open the job store", "state_dir=%s error=" LOG_QUOTED, s->state_dir, error);
	return r;
}

static int start_dispatch(struct server *s, const struct store_start *start)
{
	const struct dispatch_events events = {
		.on_job_started = on_job_started, .on_job_done = on_job_done, .on_job_retried = on_job_retried,
		.on_queue_idle = on_queue_idle, .context = s,
	};
	const struct supervisor_settings supervisor = {
		.spawn = !s->options->supervisor || strcmp(s->options->supervisor, "spawn") == 0,
		.descriptors = s->job_descriptors,
	};
	int r = dispatch_new(&s->loop, s->config, s->socket_path, s->store, &events, &s->dispatch);

	if (r == 0)
		r = dispatch_start(s->dispatch, start, &supervisor);
	return r < 0 ? log_errno(r, "cannot start dispatching") : 0;
}

static int start_clients(struct server *s)
{
	const struct conns_events events = { .on_request = on_request, .on_closed = on_conn_closed, .on_drained = on_drained, .context = s };
	char error[256];
	int r = users_new(&s->users);

	if (r == 0)
		r = waiters_new(&s->loop, &s->waiters);
	if (r == 0)
		r = conns_new(&s->loop, s->store, &events, &s->conns);
	if (r == 0)
		r = sweep_new(&s->loop, s->store, s->dispatch, s->config, &s->sweep);
	if (r < 0)
		return log_errno(r, "cannot serve clients");
	apply_limits(s);
	s->commands = (struct commands){
		.loop = &s->loop, .store = s->store, .dispatch = s->dispatch, .waiters = s->waiters, .conns = s->conns,
		.sweep = s->sweep, .config = s->config, .state_dir = s->state_dir, .config_path = s->config_path,
		.started_ms = now_monotonic_ms(), .reload = reload, .shutdown = stop, .server = s,
	};
	r = listener_new(&s->loop, s->socket_path, on_accept, s, &s->listener, error);
	if (r < 0)
		log_error(error, "");
	return r;
}

static void start_signals(struct server *s)
{
	for (size_t i = 0; i < ARRAY_SIZE(s->signals); i++) {
		uv_signal_init(&s->loop, &s->signals[i]);
		s->signals[i].data = s;
	}
	for (size_t i = 0; i < ARRAY_SIZE(stop_signals); i++)
		uv_signal_start(&s->signals[i], on_stop_signal, stop_signals[i]);
	uv_signal_start(&s->signals[ARRAY_SIZE(stop_signals)], on_hangup, SIGHUP);
	s->signals_open = true;
}

static void log_ready(const struct server *s)
{
	struct buf pools = { 0 };
	struct pool *pool;

	list_for_each(pool, dispatch_pools(s->dispatch), link)
		buf_printf(&pools, "%s%s:%" PRIu32, pools.len ? "," : "", pool->name, pool->size);
	log_info("ready", "socket=%s state_dir=%s pools=%.*s pid=%d", s->socket_path, s->state_dir, (int)pools.len,
		 pools.data ? pools.data : "", (int)getpid());
	buf_free(&pools);
}

static int prepare(struct server *s)
{
	int r = load_config(s);

	if (r == 0)
		r = choose_socket_path(s);
	if (r == 0)
		r = enter_state_dir(s);
	if (r == 0)
		r = lock_state_dir(s);
	if (r == 0)
		r = make_subdirectories(s);
	return r;
}

static int start(struct server *s)
{
	struct store_start *found = NULL;
	int r = start_store(s, &found);

	if (r == 0)
		r = start_dispatch(s, found);
	store_start_free(found);
	if (r == 0)
		r = start_clients(s);
	if (r == 0) {
		start_signals(s);
		log_ready(s);
	}
	return r;
}

/* A start that failed half-way: nobody was served, so there is nothing to bring to rest. Running jobs go on without us. */
static void give_up(struct server *s) __attribute__((noreturn));
static void give_up(struct server *s)
{
	listener_stop(s->listener);
	_exit(EXIT_FAILURE);
}

static void deinit(struct server *s)
{
	config_free(s->config);
	users_free(s->users);
	free(s->config_path);
	free(s->state_dir);
	free(s->socket_path);
	close_fd(&s->lock_fd);
}

int server_run(const struct server_options *options)
{
	struct server s = { .options = options, .lock_fd = -1 };
	int r;

	umask(077); /* the socket and all files are the user's own */
	signal(SIGPIPE, SIG_IGN);
	s.job_descriptors = raise_descriptors();
	r = prepare(&s);
	if (r == 0)
		r = uv_loop_init(&s.loop);
	if (r < 0) {
		deinit(&s);
		return EXIT_FAILURE;
	}
	if (start(&s) < 0)
		give_up(&s);
	uv_run(&s.loop, UV_RUN_DEFAULT);
	r = uv_loop_close(&s.loop);
	if (r < 0)
		log_warning("something was still open at the end", "error=%s", uv_strerror(r));
	log_info("stopped", "");
	deinit(&s);
	return EXIT_SUCCESS;
}
