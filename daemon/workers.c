/* The life of the workers, from the supervisor's rows, their own calls and their files. A worker is dead when the supervisor says so,
 * or, for one of a supervisor that is gone, when the lock of its file is free; it is buried when its tree is proven empty and
 * its connection has said all it had to say. */
#include "workers.h"

#include <assert.h>
#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <uthash.h>

#include "job.h"
#include "log.h"

#define WORKER_BACKLOG 1024
#define UNHEARD_LOOK_MS 200u     /* how often workers without a connection are looked at: the lock of those without a supervisor */
#define BIRTH_MS 10000u          /* one that has not called by then hangs */
#define WORKER_ID_BITS 32        /* ids: epoch << 32 | counter, so they are never reused and need no commit */

struct entry {                   /* workers by id */
	UT_hash_handle hh;
	uint64_t id;
	struct worker *worker;
};

struct workers {
	uv_loop_t *loop;
	struct workers_events events;
	struct list *pools;
	const char *socket_path;
	uint64_t epoch, next_id;
	struct entry *by_id;
	struct supervisor *supervisor;
	uv_pipe_t listener;
	uv_timer_t start_timer;  /* a back-off of a pool ends */
	uv_timer_t unheard_timer; /* while a worker that should be connected is not */
	struct list callers;     /* of struct link: connected, HELLO not heard yet */
	int directory_fd;        /* state_dir/workers */
	unsigned open;           /* handles, links and clean-ups under way */
	bool stopped, retiring;
	bool quitting;           /* the supervisor was told to kill all: their deaths are no news */
};

static void release(struct workers *ws)
{
	assert(ws->open > 0);
	if (--ws->open == 0 && ws->stopped)
		ws->events.on_stopped(ws->events.context);
}

static void on_handle_closed(uv_handle_t *handle)
{
	release(handle->data);
}

/* ---- the table ---- */

struct worker *workers_find(const struct workers *ws, uint64_t id)
{
	struct entry *e;

	HASH_FIND(hh, ws->by_id, &id, sizeof(id), e);
	return e ? e->worker : NULL;
}

static struct worker *add_worker(struct workers *ws, struct pool *pool, uint64_t id, uint32_t slot)
{
	struct entry *e = calloc(1, sizeof(*e));
	struct worker *w = e ? worker_new(pool, id, slot) : NULL;

	if (!w) {
		free(e);
		return NULL;
	}
	e->id = id;
	e->worker = w;
	HASH_ADD(hh, ws->by_id, id, sizeof(e->id), e);
	list_append(&pool->workers, &w->link);
	return w;
}

static void remove_worker(struct workers *ws, struct worker *w)
{
	struct entry *e;

	HASH_FIND(hh, ws->by_id, &w->id, sizeof(w->id), e);
	assert(e);
	HASH_DEL(ws->by_id, e);
	free(e);
	worker_free(w);
}

struct worker *workers_adopt(struct workers *ws, struct pool *pool, const struct worker_file_header *header, int file_fd)
{
	struct worker *w = add_worker(ws, pool, header->worker_id, header->slot);

	if (!w)
		return NULL;
	w->pid = header->pid;
	w->file_fd = file_fd;
	w->proven = true; /* what it did before our time is no news */
	return w;
}

void workers_update(struct workers *ws, struct worker *w)
{
	if (pool_update_idle(w) && !ws->stopped)
		ws->events.on_idle(w, ws->events.context);
}

static void watch_unheard(struct workers *ws);

/* ---- starting and retiring ---- */

static int start_worker(struct pool *pool, uint32_t slot, void *context)
{
	struct workers *ws = context;
	struct worker *w;

	assert(ws->next_id < UINT64_C(1) << WORKER_ID_BITS);
	w = add_worker(ws, pool, ws->epoch << WORKER_ID_BITS | ws->next_id++, slot);
	if (!w)
		return -ENOMEM;
	w->started_wall_ms = now_wall_ms();
	w->started_ms = uv_now(ws->loop);
	w->asked = true;
	watch_unheard(ws);
	supervisor_send_start(ws->supervisor, w->id, pool->name, slot, ws->socket_path);
	return 0;
}

static void retire_worker(struct worker *w, void *context)
{
	struct workers *ws = context;

	w->leaving = true;
	worker_send_retire(w, ws->epoch);
	workers_update(ws, w);
}

static void on_start_timer(uv_timer_t *timer)
{
	workers_tick(timer->data);
}

void workers_tick(struct workers *ws)
{
	const struct pool_actions actions = { start_worker, retire_worker, ws };
	uint64_t now = uv_now(ws->loop), next = 0, at;
	struct pool *pool;

	if (ws->stopped || ws->retiring || !workers_have_supervisor(ws))
		return;
	list_for_each(pool, ws->pools, link) {
		at = pool_tick(pool, now, &actions);
		if (at && (!next || at < next))
			next = at;
	}
	if (next)
		uv_timer_start(&ws->start_timer, on_start_timer, next > now ? next - now : 1, 0);
}

void workers_retire_all(struct workers *ws)
{
	struct entry *e, *tmp;

	ws->retiring = true;
	HASH_ITER(hh, ws->by_id, e, tmp)
		if (!e->worker->died && !e->worker->leaving)
			retire_worker(e->worker, ws);
}

bool workers_quit(struct workers *ws)
{
	ws->retiring = true;
	if (!workers_have_supervisor(ws))
		return false;
	ws->quitting = true;
	supervisor_send_quit(ws->supervisor);
	return true;
}

bool workers_have_supervisor(const struct workers *ws)
{
	return ws->supervisor && supervisor_is_ready(ws->supervisor);
}

bool workers_expect_supervisor(const struct workers *ws)
{
	return ws->supervisor && supervisor_is_coming(ws->supervisor);
}

bool workers_are_dying(const struct workers *ws)
{
	struct entry *e, *tmp;

	HASH_ITER(hh, ws->by_id, e, tmp)
		if (e->worker->died && e->worker->empty && e->worker->connection)
			return true;
	return false;
}

void workers_kill(struct workers *ws, struct worker *w)
{
	if (w->died || w->killed)
		return;
	w->killed = true;
	log_warning("killing a worker that hangs", "worker=%" PRIu64 " pool=%s pid=%d", w->id, w->pool->name, w->pid);
	supervisor_send_kill(ws->supervisor, w->id);
}

/* ---- deaths ---- */

static void remove_worker_file(struct workers *ws, uint64_t id)
{
	char name[32];

	snprintf(name, sizeof(name), "%" PRIu64, id);
	if (unlinkat(ws->directory_fd, name, 0) < 0 && errno != ENOENT)
		log_errno(-errno, "cannot remove the worker file %s; remove it by hand", name);
}

/* A mark "started" of a job that the worker had. */
static void blame(struct mark *mark, const struct job *job)
{
	*mark = (struct mark){ .state = MARK_STARTED };
	if (!job)
		return;
	mark->job_id = job->id;
	mark->attempt = job->attempt;
	memcpy(mark->token, job->token, TOKEN_BYTES);
}

/* Read the marks of a dead worker. One that cannot be read is named, and counts as "started": of the job that the worker had, if
 * any. No kill leaves such a mark, so nothing can be said of it that would allow to start the job again. */
static void read_marks(struct workers *ws, struct worker *w, struct mark marks[MARKS_PER_WORKER])
{
	bool unreadable = false;

	memset(marks, 0, MARKS_PER_WORKER * sizeof(*marks));
	if (w->file_fd < 0 && worker_file_open(ws->directory_fd, w->id, &w->file_fd) < 0)
		return; /* it was never born */
	for (unsigned i = 0; i < MARKS_PER_WORKER; i++) {
		int r = worker_file_read_mark(w->file_fd, i, &marks[i]);

		if (r < 0) {
			log_errno(r, "mark %u of worker file %" PRIu64 " is unreadable and counts as a started job", i, w->id);
			blame(&marks[i], w->job);
			unreadable = true;
		}
	}
	for (unsigned i = 0; unreadable && w->next && i < MARKS_PER_WORKER; i++)
		if (marks[i].state == MARK_FREE) {
			blame(&marks[i], w->next);
			break;
		}
}

/* It had a job: one that it reported, or one that its marks name. */
static bool had_a_job(struct workers *ws, struct worker *w)
{
	struct mark marks[MARKS_PER_WORKER];
	bool used = false;

	read_marks(ws, w, marks);
	for (unsigned i = 0; i < MARKS_PER_WORKER; i++)
		used |= marks[i].state != MARK_FREE;
	return w->proven || used;
}

static void report_crash(struct workers *ws, struct worker *w, const char *how)
{
	struct pool *pool = w->pool;

	log_warning("worker died", "worker=%" PRIu64 " pool=%s slot=%" PRIu32 " pid=%d how=\"%s\" jobs=%" PRIu64, w->id, pool->name, w->slot, w->pid,
		    how, w->jobs_done);
	if (!had_a_job(ws, w) && pool_on_early_death(w, uv_now(ws->loop)))
		log_error("pool stops starting workers: they die before their first job; see the lines above, then `jobpool pools reset NAME`",
			  "pool=%s deaths=%" PRIu32, pool->name, pool->early_deaths);
}

static void consider_death(struct workers *ws, struct worker *w)
{
	struct mark marks[MARKS_PER_WORKER];

	if (!w->died || !w->empty || w->connection || w->burying || ws->stopped)
		return;
	w->burying = true;
	read_marks(ws, w, marks);
	ws->events.on_dead(w, marks, ws->events.context);
}

static void mark_dead(struct workers *ws, struct worker *w)
{
	w->died = true;
	pool_update_idle(w);
	consider_death(ws, w);
}

/* A worker whose supervisor is gone: its lock tells whether it lives, its file whether its tree is empty. An ended mark means an
 * empty tree too, as it is written after the proof. */
static void judge_orphan(struct workers *ws, struct worker *w)
{
	struct mark marks[MARKS_PER_WORKER];
	bool started = false, retired = false;

	if ((w->file_fd < 0 && worker_file_open(ws->directory_fd, w->id, &w->file_fd) < 0) || worker_file_is_locked(w->file_fd) != 0)
		return;
	read_marks(ws, w, marks);
	for (unsigned i = 0; i < MARKS_PER_WORKER; i++)
		started |= marks[i].state == MARK_STARTED;
	if (worker_file_read_retired(w->file_fd, &retired) < 0)
		retired = false;
	log_info("worker without a supervisor ended", "worker=%" PRIu64 " pool=%s retired=%d", w->id, w->pool->name, retired);
	w->empty = retired || !started;
	if (!w->empty) {
		w->state = WORKER_STUCK;
		log_error("a worker and its supervisor died while a job ran: whether the job still runs cannot be proven; it stays running (stuck) "
			  "until the machine restarts",
			  "worker=%" PRIu64, w->id);
	}
	mark_dead(ws, w);
}

static void look_at_unheard(struct workers *ws, struct worker *w)
{
	bool ours = w->has_row || w->asked;

	if (ours && !w->died && w->started_ms && uv_now(ws->loop) - w->started_ms > BIRTH_MS && !w->called)
		workers_kill(ws, w);
	else if (!ours && w->state != WORKER_STUCK)
		judge_orphan(ws, w);
}

static void on_unheard_timer(uv_timer_t *timer)
{
	struct workers *ws = timer->data;
	struct entry *e, *tmp;
	bool waiting = false;

	HASH_ITER(hh, ws->by_id, e, tmp) {
		struct worker *w = e->worker;

		if (w->connection || (w->died && (w->empty || w->has_row)) || w->state == WORKER_STUCK)
			continue;
		waiting = true; /* also for one that the look buries: it costs one more look */
		look_at_unheard(ws, w);
	}
	if (!waiting)
		uv_timer_stop(timer);
}

static void watch_unheard(struct workers *ws)
{
	if (!uv_is_active((uv_handle_t *)&ws->unheard_timer) && !ws->stopped)
		uv_timer_start(&ws->unheard_timer, on_unheard_timer, UNHEARD_LOOK_MS, UNHEARD_LOOK_MS);
}

void workers_found_dead(struct workers *ws, struct worker *w, bool empty)
{
	w->empty = empty;
	mark_dead(ws, w);
}

/* ---- what the supervisor says ---- */

static void on_row_dead(struct workers *ws, struct worker *w, const struct message_row *row)
{
	char how[64];

	if (row->start_error)
		snprintf(how, sizeof(how), "cannot be started: %s", strerror(row->start_error));
	else if (WIFSIGNALED(row->wait_status))
		snprintf(how, sizeof(how), "signal %d", WTERMSIG(row->wait_status));
	else
		snprintf(how, sizeof(how), "exit status %d", WEXITSTATUS(row->wait_status));
	if (!ws->quitting && (!w->leaving || row->wait_status || row->start_error))
		report_crash(ws, w, how);
	w->died = true;
	pool_update_idle(w);
}

static void on_row(const struct message_row *row, void *context)
{
	struct workers *ws = context;
	struct worker *w = workers_find(ws, row->worker_id);

	if (!w) {
		/* Buried by an earlier daemon that did not come to say so, or born from its last words: then it calls, or dies here. */
		if (row->state == ROW_EMPTY) {
			supervisor_send_forget(ws->supervisor, row->worker_id);
			remove_worker_file(ws, row->worker_id);
		}
		return;
	}
	w->has_row = true;
	if (row->pid)
		w->pid = row->pid;
	if (row->state != ROW_ALIVE && !w->died)
		on_row_dead(ws, w, row);
	if (row->state == ROW_STUCK && w->state != WORKER_STUCK) {
		w->state = WORKER_STUCK;
		log_error("what a dead worker started cannot be ended; its slot and its job stay taken", "worker=%" PRIu64 " pid=%d", w->id, w->pid);
	}
	w->empty |= row->state == ROW_EMPTY;
	consider_death(ws, w);
}

static void on_rows_end(void *context)
{
	struct workers *ws = context;
	struct entry *e, *tmp;

	HASH_ITER(hh, ws->by_id, e, tmp) {
		struct worker *w = e->worker;

		if (w->killed && !w->died)
			supervisor_send_kill(ws->supervisor, w->id); /* the one before may not have heard it */
		if (w->has_row || (w->died && w->empty))
			continue;
		if (w->file_fd < 0 && worker_file_open(ws->directory_fd, w->id, &w->file_fd) == -ENOENT) {
			/* The supervisor that we asked died before it made the file, so this one may. */
			w->asked = true;
			supervisor_send_start(ws->supervisor, w->id, w->pool->name, w->slot, ws->socket_path);
		} else {
			watch_unheard(ws);
		}
	}
	workers_tick(ws);
	ws->events.on_supervisor(ws->events.context);
}

static void on_supervisor_lost(void *context)
{
	struct workers *ws = context;
	struct entry *e, *tmp;

	log_info("supervisor disconnected", "%s", "");
	HASH_ITER(hh, ws->by_id, e, tmp)
		e->worker->has_row = e->worker->asked = false;
	ws->events.on_supervisor(ws->events.context);
}

static void on_supervisor_stopped(void *context)
{
	release(context);
}

/* ---- what a worker says ---- */

static void on_worker_message(struct link *link, const struct message_header *header, struct slice frame)
{
	struct worker *w = link->context;
	struct workers *ws = link->owner;
	struct message_token returned;
	struct message_ended ended;
	struct slice tail, output[2];

	if (header->type == MESSAGE_LEAVING) {
		w->leaving = true;
		workers_update(ws, w);
	} else if (header->type == MESSAGE_RETURNED && message_body(frame, &returned, sizeof(returned), NULL) == 0) {
		ws->events.on_returned(w, returned.token, ws->events.context);
	} else if (header->type == MESSAGE_ENDED && message_body(frame, &ended, sizeof(ended), &tail) == 0 &&
		   message_cut(&tail, ended.out_bytes, &output[0]) == 0 && message_cut(&tail, ended.err_bytes, &output[1]) == 0) {
		ws->events.on_ended(w, &ended, output, ws->events.context);
	} else {
		log_warning("skipping a message of a worker", "worker=%" PRIu64 " type=%u length=%u", w->id, header->type, header->length);
	}
}

static void on_worker_closed(struct link *link)
{
	struct worker *w = link->context;
	struct workers *ws = link->owner;

	if (w && w->connection == link) {
		w->connection = NULL;
		workers_update(ws, w);
		if (!w->died && !w->has_row)
			watch_unheard(ws);
		consider_death(ws, w); /* may bury, and free it */
	}
	release(ws);
}

/* Born after our start from what an earlier daemon had asked for: known by its file only. It holds its slot, unless that was given
 * out meanwhile: then it leaves again. */
static struct worker *adopt_caller(struct workers *ws, uint64_t id)
{
	struct worker_file_header header;
	struct worker *w = NULL, *other;
	struct pool *pool;
	int fd;

	if (worker_file_open(ws->directory_fd, id, &fd) < 0)
		return NULL;
	if (worker_file_read_header(fd, &header) == 0 && header.worker_id == id)
		list_for_each(pool, ws->pools, link)
			if (strncmp(pool->name, header.pool, sizeof(header.pool)) == 0)
				w = workers_adopt(ws, pool, &header, fd);
	if (!w) {
		close_fd(&fd);
		return NULL;
	}
	list_for_each(other, &w->pool->workers, link)
		w->leaving |= other != w && other->slot == w->slot;
	watch_unheard(ws); /* should the call end before it is taken */
	log_info("a worker of before our start has called", "worker=%" PRIu64 " pool=%s slot=%" PRIu32, id, w->pool->name, w->slot);
	return w;
}

/* The caller is who it says: its file names its pid. */
static int take_worker_link(struct workers *ws, struct link *link, const struct message_hello *hello)
{
	struct message_welcome welcome = { .version = (uint16_t)MIN(hello->version_max, WORKER_PROTO_VERSION_MAX), .epoch = ws->epoch };
	struct worker *w = workers_find(ws, hello->worker_id);
	struct worker_file_header header;
	int r;

	if (!w)
		w = adopt_caller(ws, hello->worker_id);
	if (!w || w->died)
		return -ENOENT;
	if (w->file_fd < 0) {
		r = worker_file_open(ws->directory_fd, w->id, &w->file_fd);
		if (r < 0)
			return r;
	}
	r = worker_file_read_header(w->file_fd, &header);
	if (r < 0)
		return r;
	if (header.pid != link->peer_pid)
		return -EACCES;
	/* From here on its acts are judged by our epoch; it may be younger than our start. */
	r = worker_file_write_epoch(w->file_fd, ws->epoch);
	if (r < 0)
		return r;
	if (w->connection) {
		w->connection->context = NULL;
		link_stop(w->connection);
	}
	w->pid = header.pid;
	w->called = true;
	w->connection = link;
	w->leaving |= hello->leaving || ws->retiring;
	link->context = w;
	link->on_message = on_worker_message;
	link->on_closed = on_worker_closed;
	list_remove(&link->list);
	link_send(link, MESSAGE_WELCOME, ws->epoch, &welcome, sizeof(welcome), NULL, 0);
	if (w->leaving && !hello->leaving)
		worker_send_retire(w, ws->epoch);
	ws->events.on_hello(w, hello->marks, ws->events.context);
	workers_update(ws, w);
	workers_tick(ws);
	return 0;
}

/* ---- who calls ---- */

static void on_caller_closed(struct link *link)
{
	release(link->owner);
}

static void on_caller_message(struct link *link, const struct message_header *header, struct slice frame)
{
	struct workers *ws = link->owner;
	struct message_hello hello;
	int r = -EPROTO;

	if (header->type == MESSAGE_HELLO && message_body(frame, &hello, sizeof(hello), NULL) == 0 &&
	    hello.version_min <= WORKER_PROTO_VERSION_MAX && hello.version_max >= WORKER_PROTO_VERSION_MIN && hello.pid == link->peer_pid) {
		if (hello.role == ROLE_WORKER) {
			r = take_worker_link(ws, link, &hello);
		} else if (hello.role == ROLE_SUPERVISOR) {
			list_remove(&link->list);
			r = supervisor_take_link(ws->supervisor, link, &hello, ws->epoch);
			if (r == 0)
				release(ws); /* the supervisor counts it now */
		}
	}
	if (r == -ENOENT) {
		log_info("refused a worker that is dead by now, or of no pool of ours", "pid=%d", link->peer_pid);
		link_stop(link);
	} else if (r < 0) {
		log_warning("refused a caller on " WORKER_SOCKET_NAME, "pid=%d type=%u error=\"%s\"", link->peer_pid, header->type, strerror(-r));
		link_stop(link);
	}
}

static void on_connection(uv_stream_t *listener, int status)
{
	struct workers *ws = listener->data;
	struct link *link;

	if (status < 0 || link_accept(listener, &link) < 0)
		return;
	ws->open++;
	link->owner = ws;
	link->on_message = on_caller_message;
	link->on_closed = on_caller_closed;
	list_append(&ws->callers, &link->list);
}

/* Bound by hand: libuv's own listener would unlink its path when closed, also a successor's. */
static int bind_listener(struct workers *ws)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX, .sun_path = WORKER_SOCKET_NAME };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), r;
	mode_t mask;

	if (fd < 0)
		return -errno;
	unlink(WORKER_SOCKET_NAME); /* of the daemon before us: we hold the lock of the state directory */
	mask = umask(0177);
	r = bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0 ? -errno : 0;
	umask(mask);
	if (r == 0)
		r = uv_pipe_open(&ws->listener, fd);
	if (r < 0) {
		close_fd(&fd);
		return r;
	}
	return uv_listen((uv_stream_t *)&ws->listener, WORKER_BACKLOG, on_connection);
}

int workers_new(uv_loop_t *loop, struct list *pools, uint64_t epoch, const char *socket_path, const struct workers_events *events,
		struct workers **ret_workers)
{
	struct workers *ws = calloc(1, sizeof(*ws));

	if (!ws)
		return -ENOMEM;
	ws->loop = loop;
	ws->pools = pools;
	ws->epoch = epoch;
	ws->socket_path = socket_path;
	ws->events = *events;
	list_init(&ws->callers);
	ws->directory_fd = open(WORKER_DIRECTORY, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (ws->directory_fd < 0) {
		free(ws);
		return -errno;
	}
	*ret_workers = ws;
	return 0;
}

int workers_start(struct workers *ws, const struct supervisor_settings *supervisor)
{
	const struct supervisor_events events = { on_row, on_rows_end, on_supervisor_lost, on_supervisor_stopped, ws };
	uv_handle_t *handles[] = { (uv_handle_t *)&ws->listener, (uv_handle_t *)&ws->start_timer, (uv_handle_t *)&ws->unheard_timer };
	int r = supervisor_new(ws->loop, supervisor, &events, &ws->supervisor);

	if (r < 0)
		return r;
	uv_pipe_init(ws->loop, &ws->listener, 0);
	uv_timer_init(ws->loop, &ws->start_timer);
	uv_timer_init(ws->loop, &ws->unheard_timer);
	for (size_t i = 0; i < ARRAY_SIZE(handles); i++)
		handles[i]->data = ws;
	ws->open += ARRAY_SIZE(handles) + 1; /* and the supervisor */
	r = bind_listener(ws);
	return r < 0 ? log_errno(r, "cannot listen on " WORKER_SOCKET_NAME " in the state directory") : 0;
}

void workers_stop(struct workers *ws)
{
	struct link *link, *tmp;
	struct entry *e, *next;

	if (ws->stopped)
		return;
	ws->stopped = true;
	list_for_each_safe(link, tmp, &ws->callers, list)
		link_stop(link);
	HASH_ITER(hh, ws->by_id, e, next)
		if (e->worker->connection)
			link_stop(e->worker->connection);
	uv_close((uv_handle_t *)&ws->listener, on_handle_closed);
	uv_close((uv_handle_t *)&ws->start_timer, on_handle_closed);
	uv_close((uv_handle_t *)&ws->unheard_timer, on_handle_closed);
	supervisor_stop(ws->supervisor);
}

void workers_free(struct workers *ws)
{
	struct entry *e, *tmp;

	if (!ws)
		return;
	HASH_ITER(hh, ws->by_id, e, tmp)
		remove_worker(ws, e->worker);
	supervisor_free(ws->supervisor);
	close_fd(&ws->directory_fd);
	free(ws);
}

/* ---- burial ---- */

struct cleanup {
	uv_work_t work;
	struct workers *workers;
	uint64_t id;
};

static void remove_tree(int parent_fd, const char *name)
{
	int fd = openat(parent_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	DIR *directory = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *entry;

	if (!directory) {
		close_fd(&fd);
		unlinkat(parent_fd, name, 0);
		return;
	}
	while ((entry = readdir(directory)))
		if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
			remove_tree(dirfd(directory), entry->d_name);
	closedir(directory);
	unlinkat(parent_fd, name, AT_REMOVEDIR);
}

static void cleanup_work(uv_work_t *work)
{
	struct cleanup *c = container_of(work, struct cleanup, work);
	char path[64];

	for (unsigned i = 0; i < MARKS_PER_WORKER; i++)
		for (unsigned stream = 0; stream < 2; stream++) {
			snprintf(path, sizeof(path), SCRATCH_DIRECTORY "/%" PRIu64 ".%u.%s", c->id, i, stream ? "err" : "out");
			unlink(path);
		}
	snprintf(path, sizeof(path), TMP_DIRECTORY "/%" PRIu64, c->id);
	remove_tree(AT_FDCWD, path);
}

static void on_cleanup_done(uv_work_t *work, int status)
{
	struct cleanup *c = container_of(work, struct cleanup, work);

	(void)status;
	release(c->workers);
	free(c);
}

void workers_bury(struct workers *ws, struct worker *w)
{
	struct cleanup *c = calloc(1, sizeof(*c));

	remove_worker_file(ws, w->id);
	if (w->has_row)
		supervisor_send_forget(ws->supervisor, w->id);
	if (c) {
		c->workers = ws;
		c->id = w->id;
		ws->open++;
		uv_queue_work(ws->loop, &c->work, cleanup_work, on_cleanup_done);
	}
	remove_worker(ws, w);
	workers_tick(ws);
}
