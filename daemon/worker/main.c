/* jobpool-worker: one process of a pool. Dials the daemon, runs one attempt at a time, reports how it ended.
 *
 * This file is the birth, the loop, and the messages; the order of what goes to disk, to the daemon and to memory when an
 * attempt ends can be read in on_ended(). No one reads our stderr: what matters is in the worker file. */
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "link.h"
#include "log.h"
#include "run.h"

#define ORPHAN_WAIT_MS 60000u /* without a supervisor and without a daemon; then the worker file has to tell it all */

enum { EVENT_LINK, EVENT_SIGNAL, EVENT_SUPERVISOR, EVENT_OUT, EVENT_ERR, EVENT_MAX };

/* The job that was sent ahead: its RUN waits here until the one at hand has ended. */
struct next {
	struct buf frame;          /* empty: there is none */
	uint64_t epoch;            /* of the daemon that sent it */
	uint8_t token[TOKEN_BYTES];
	uint64_t signals;          /* bit 1 << (number - 1): to be delivered when it has started */
};

struct worker {
	uint64_t id;
	int file_fd, signal_fd;
	int supervisor_fd; /* -1: the supervisor is gone */
	bool leaving;      /* takes nothing more: told to retire or to stop, or its supervisor is gone */
	bool stopping;     /* SIGTERM: does not wait for a daemon that is not there */
	bool failed;       /* the worker file cannot be written: nothing may be started any more */
	struct link link;
	struct marks marks;
	struct output output;
	struct affinity affinity;
	struct launcher launcher;
	struct tmpdir tmpdir;
	struct tree tree;
	struct run run;
	struct next next;
};

/* -- to the daemon --------------------------------------------------------------------------------------------- */

static void dial(struct worker *w, uint64_t now_ms)
{
	struct message_hello hello = {
		.version_min = WORKER_PROTO_VERSION_MIN,
		.version_max = WORKER_PROTO_VERSION_MAX,
		.role = ROLE_WORKER,
		.leaving = w->leaving,
		.worker_id = w->id,
		.pid = getpid(),
	};

	memcpy(hello.marks, w->marks.all, sizeof(hello.marks));
	if (link_dial(&w->link, &hello, now_ms) < 0)
		return;
	for (unsigned i = 0; i < MARKS_PER_WORKER; i++)
		w->marks.told[i] = w->marks.all[i].state == MARK_ENDED;
}

static void send_ended(struct worker *w, unsigned index)
{
	const struct mark *mark = &w->marks.all[index];
	struct message_ended message = { .job_id = mark->job_id, .attempt = mark->attempt, .end = mark->end };
	struct buf copies[2] = { 0 };
	struct slice tails[2];

	for (unsigned i = 0; i < 2; i++)
		tails[i] = output_inline(&w->output, index, &mark->end, i, &copies[i]);
	memcpy(message.token, mark->token, TOKEN_BYTES);
	message.out_bytes = (uint32_t)tails[0].len;
	message.err_bytes = (uint32_t)tails[1].len;
	link_send(&w->link, MESSAGE_ENDED, &message, sizeof(message), tails, 2);
	w->marks.told[index] = true;
	for (unsigned i = 0; i < 2; i++)
		buf_free(&copies[i]);
}

/* The entry of the worker file itself; made durable only when somebody is going to need it. */
static void sync_worker_directory(void)
{
	int fd = open(WORKER_DIRECTORY, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd >= 0)
		(void)fsync(fd);
	close_fd(&fd);
}

/* Output first, then the mark that promises it: in memory and in the file before anybody hears of it. With the daemon there,
 * its commit is what outlives a power cut; without it, this mark has to. */
static void on_ended(void *context, unsigned index, pid_t pid, struct attempt_end *end)
{
	struct worker *w = context;
	const struct mark *mark = &w->marks.all[index];

	affinity_job_ended(&w->affinity, end->elapsed_us);
	bool up = w->link.state == LINK_UP && !w->link.broken;

	if (!up) {
		output_sync(&w->output, index, mark->job_id, mark->attempt, end);
		sync_worker_directory();
	}
	int r = marks_end(&w->marks, index, end, pid, !up);
	if (r < 0) {
		log_errno(r, "cannot write the end of job %" PRIu64 " into the worker file", mark->job_id);
		w->failed = true;
	}
	if (up)
		send_ended(w, index);
}

static bool is_next(const struct worker *w, const uint8_t token[TOKEN_BYTES])
{
	return w->next.frame.len && memcmp(w->next.token, token, TOKEN_BYTES) == 0;
}

static void return_next(struct worker *w)
{
	struct message_token message;

	if (!w->next.frame.len)
		return;
	memcpy(message.token, w->next.token, TOKEN_BYTES);
	buf_clear(&w->next.frame);
	link_send(&w->link, MESSAGE_RETURNED, &message, sizeof(message), NULL, 0);
}

/* What ended while there was no daemon is durable already. What was sent ahead is forgotten: no mark names it, so it never started. */
static void on_link_lost(struct worker *w, uint64_t now_ms)
{
	bool was_up = w->link.state == LINK_UP, any = false;

	link_close(&w->link, now_ms);
	buf_clear(&w->next.frame);
	for (unsigned i = 0; was_up && i < MARKS_PER_WORKER; i++) {
		const struct mark *mark = &w->marks.all[i];
		if (mark->state != MARK_ENDED)
			continue;
		output_sync(&w->output, i, mark->job_id, mark->attempt, &mark->end);
		(void)marks_sync(&w->marks, i);
		any = true;
	}
	if (any)
		sync_worker_directory();
}

static void leave(struct worker *w)
{
	if (w->leaving)
		return;
	w->leaving = true;
	return_next(w);
	if (w->link.state == LINK_UP)
		link_send(&w->link, MESSAGE_LEAVING, NULL, 0, NULL, 0);
}

/* -- from the daemon ------------------------------------------------------------------------------------------- */

/* One message, borrowed for the call of its handler. */
struct incoming {
	uint64_t epoch; /* of the daemon that sent it */
	struct slice frame;
	uint64_t now_ms;
};

static void on_welcome(struct worker *w, const struct incoming *in)
{
	struct message_welcome welcome;

	if (message_body(in->frame, &welcome, sizeof(welcome), NULL) < 0 || welcome.version < WORKER_PROTO_VERSION_MIN ||
	    welcome.version > WORKER_PROTO_VERSION_MAX) {
		link_set_refused(&w->link);
		return;
	}
	link_set_up(&w->link);
	/* What happened since the HELLO was sent. */
	for (unsigned i = 0; i < MARKS_PER_WORKER; i++)
		if (w->marks.all[i].state == MARK_ENDED && !w->marks.told[i])
			send_ended(w, i);
	if (w->leaving)
		link_send(&w->link, MESSAGE_LEAVING, NULL, 0, NULL, 0);
}

static void start(struct worker *w, struct slice frame, uint64_t epoch, uint64_t now_ms)
{
	struct slice rest, queue, spec, environment;
	struct message_run message;

	if (message_body(frame, &message, sizeof(message), &rest) < 0 || message_cut(&rest, message.spec_bytes, &spec) < 0 ||
	    message_cut(&rest, message.environment_bytes, &environment) < 0 ||
	    message_cut(&rest, message.queue_bytes, &queue) < 0) {
		w->link.broken = true;
		return;
	}
	int r = run_start(&w->run, &message, epoch, queue, spec, environment, now_ms);
	if (r < 0) {
		log_errno(r, "cannot write the start of job %" PRIu64 " into the worker file", message.job_id);
		w->failed = true;
	}
}

static void keep_next(struct worker *w, const struct incoming *in)
{
	struct message_run message;

	if (w->next.frame.len || message_body(in->frame, &message, sizeof(message), &(struct slice){ 0 }) < 0 ||
	    buf_append(&w->next.frame, in->frame.data, in->frame.len) < 0) {
		w->link.broken = true; /* a new connection's HELLO does not name it */
		return;
	}
	memcpy(w->next.token, message.token, TOKEN_BYTES);
	w->next.epoch = in->epoch;
	w->next.signals = 0;
}

static void on_run(struct worker *w, const struct incoming *in)
{
	/* Sent before our LEAVING was heard: no mark will name it, so it goes back to its queue. */
	if (w->leaving)
		return;
	if (w->run.state == RUN_IDLE)
		start(w, in->frame, in->epoch, in->now_ms);
	else
		keep_next(w, in);
}

/* As soon as the one at hand has ended, and before another RUN is read. */
static void consider_next(struct worker *w, uint64_t now_ms)
{
	struct buf frame = w->next.frame;

	if (!frame.len || w->run.state != RUN_IDLE)
		return;
	w->next.frame = (struct buf){ 0 };
	start(w, (struct slice){ frame.data, frame.len }, w->next.epoch, now_ms);
	for (int signal = 1; signal <= SIGRTMAX; signal++)
		if (w->next.signals >> (signal - 1) & 1)
			run_signal(&w->run, signal);
	buf_clear(&frame);
	if (!w->next.frame.data)
		w->next.frame = frame; /* its memory serves the one after */
	else
		buf_free(&frame);
}

static void on_recall(struct worker *w, const struct incoming *in)
{
	struct message_token message;

	if (message_body(in->frame, &message, sizeof(message), NULL) == 0 && is_next(w, message.token))
		return_next(w);
}

static void on_recorded(struct worker *w, const struct incoming *in)
{
	struct message_token message;

	if (message_body(in->frame, &message, sizeof(message), NULL) < 0)
		return;
	int index = marks_clear(&w->marks, message.token);
	if (index >= 0)
		output_recycle(&w->output, (unsigned)index);
}

static void on_cancel(struct worker *w, const struct incoming *in)
{
	struct message_cancel message;

	if (message_body(in->frame, &message, sizeof(message), NULL) < 0)
		return;
	if (is_next(w, message.token))
		return_next(w);
	else if (run_has_token(&w->run, message.token))
		run_cancel(&w->run, message.reason, message.grace_ms, in->now_ms);
}

static void on_signal_message(struct worker *w, const struct incoming *in)
{
	struct message_signal message;

	if (message_body(in->frame, &message, sizeof(message), NULL) < 0)
		return;
	if (is_next(w, message.token) && message.signal > 0 && message.signal <= SIGRTMAX)
		w->next.signals |= UINT64_C(1) << (message.signal - 1);
	else if (run_has_token(&w->run, message.token))
		run_signal(&w->run, message.signal);
}

static void on_retire(struct worker *w, const struct incoming *in)
{
	(void)in;
	leave(w);
}

static const struct {
	enum message_type type;
	void (*handle)(struct worker *w, const struct incoming *in);
	bool before_welcome;
} messages[] = {
	{ MESSAGE_WELCOME, on_welcome, true },
	{ MESSAGE_RUN, on_run, false },
	{ MESSAGE_RECALL, on_recall, false },
	{ MESSAGE_RECORDED, on_recorded, false },
	{ MESSAGE_CANCEL, on_cancel, false },
	{ MESSAGE_SIGNAL, on_signal_message, false },
	{ MESSAGE_RETIRE, on_retire, false },
};

static void on_frame(void *context, const struct message_header *header, struct slice frame)
{
	struct incoming in = { .epoch = header->epoch, .frame = frame, .now_ms = now_monotonic_ms() };
	struct worker *w = context;

	for (size_t i = 0; i < ARRAY_SIZE(messages); i++)
		if (messages[i].type == header->type && messages[i].before_welcome == (w->link.state == LINK_GREETED)) {
			messages[i].handle(w, &in);
			return;
		}
	log_warning("message skipped: it is unknown or out of order", "type=%u", header->type);
}

/* -- the loop -------------------------------------------------------------------------------------------------- */

static void on_signals(struct worker *w, uint64_t now_ms)
{
	struct signalfd_siginfo info[2]; /* one of each kind at most: they do not queue */

	ssize_t n = read(w->signal_fd, info, sizeof(info));
	for (size_t i = 0; n > 0 && i < (size_t)n / sizeof(info[0]); i++) {
		if (info[i].ssi_signo == SIGCHLD) {
			run_reap(&w->run, now_ms);
		} else if (info[i].ssi_signo == SIGTERM) {
			w->stopping = true;
			run_cancel(&w->run, CANCEL_STOP, UINT64_MAX, now_ms);
			leave(w);
		}
	}
}

/* Nothing is ever written into the pipe, so whatever poll() tells of it is its end. */
static bool supervisor_is_gone(void *context)
{
	struct worker *w = context;
	struct pollfd pipe = { .fd = w->supervisor_fd, .events = POLLIN };

	if (w->supervisor_fd >= 0 && poll(&pipe, 1, 0) == 1) {
		close_fd(&w->supervisor_fd);
		leave(w);
	}
	return w->supervisor_fd < 0;
}

/* No job, so the tree is proven empty; and each ended mark is recorded, or the file has to tell it. */
static bool may_exit(const struct worker *w, uint64_t now_ms)
{
	if (!w->leaving || w->run.state != RUN_IDLE)
		return false;
	if (marks_are_free(&w->marks))
		return true;
	if (w->link.state != LINK_DOWN)
		return false;
	return w->stopping || (w->supervisor_fd < 0 && now_ms - w->link.down_since_ms >= ORPHAN_WAIT_MS);
}

static int poll_timeout(const struct worker *w, uint64_t now_ms)
{
	uint64_t deadline = MIN(run_deadline(&w->run), output_deadline(&w->output));

	deadline = MIN(deadline, affinity_deadline(&w->affinity));
	if (w->link.state == LINK_DOWN)
		deadline = MIN(deadline, w->link.redial_at_ms);
	if (deadline == UINT64_MAX)
		return -1;
	return deadline <= now_ms ? 0 : (int)MIN(deadline - now_ms, (uint64_t)INT_MAX);
}

/* Output before signals, so that the end of a job mostly finds its pipes at their end. */
static void handle_events(struct worker *w, const struct pollfd fds[EVENT_MAX], uint64_t now_ms)
{
	output_read(&w->output, 0, fds[EVENT_OUT].revents, now_ms);
	output_read(&w->output, 1, fds[EVENT_ERR].revents, now_ms);
	if (fds[EVENT_OUT].revents || fds[EVENT_ERR].revents)
		run_check_output(&w->run, now_ms);
	if (fds[EVENT_SIGNAL].revents)
		on_signals(w, now_ms);
	consider_next(w, now_ms);
	if (fds[EVENT_SUPERVISOR].revents)
		(void)supervisor_is_gone(w);
	if (fds[EVENT_LINK].revents & POLLOUT)
		link_flush(&w->link);
	if (fds[EVENT_LINK].revents & (POLLIN | POLLHUP | POLLERR) && link_receive(&w->link, on_frame, w) < 0)
		w->link.broken = true;
}

static void handle_time(struct worker *w, uint64_t now_ms)
{
	run_tick(&w->run, now_ms);
	consider_next(w, now_ms);
	if (w->run.state == RUN_IDLE)
		affinity_idle(&w->affinity, now_ms);
	else
		affinity_busy(&w->affinity);
	affinity_tick(&w->affinity, now_ms);
	if (now_ms >= output_deadline(&w->output))
		output_retry(&w->output, now_ms);
	if (w->link.broken)
		on_link_lost(w, now_ms);
	if (w->link.state == LINK_DOWN && now_ms >= w->link.redial_at_ms)
		dial(w, now_ms);
}

static int serve(struct worker *w)
{
	uint64_t now_ms = now_monotonic_ms();

	while (!w->failed) {
		handle_time(w, now_ms);
		if (may_exit(w, now_ms))
			return worker_file_write_retired(w->file_fd);
		struct pollfd fds[EVENT_MAX] = {
			[EVENT_LINK] = { .fd = w->link.fd, .events = link_poll_events(&w->link) },
			[EVENT_SIGNAL] = { .fd = w->signal_fd, .events = POLLIN },
			[EVENT_SUPERVISOR] = { .fd = w->supervisor_fd, .events = POLLIN },
			[EVENT_OUT] = { .fd = output_poll_fd(&w->output, 0), .events = POLLIN },
			[EVENT_ERR] = { .fd = output_poll_fd(&w->output, 1), .events = POLLIN },
		};
		int n = poll(fds, EVENT_MAX, poll_timeout(w, now_ms));
		if (n < 0 && errno != EINTR)
			return -errno;
		now_ms = now_monotonic_ms();
		if (n > 0)
			handle_events(w, fds, now_ms);
	}
	return -EIO;
}

/* -- the birth ------------------------------------------------------------------------------------------------- */

/* glibc keeps signals 32 and 33 to itself and refuses to touch them, but a parent (make is one) may have left them ignored. */
static void reset_reserved_signals(void)
{
	const struct {
		void *handler;
		unsigned long flags;
		void *restorer;
		uint64_t mask;
	} standard = { 0 };

	for (long number = 32; number < SIGRTMIN; number++)
		(void)syscall(SYS_rt_sigaction, number, &standard, NULL, sizeof(standard.mask));
}

/* All dispositions default and nothing blocked but what is ours, whatever our parent had: jobs inherit it through vfork.
 * SIGPIPE and SIGXFSZ are blocked so that a write tells its error instead. */
static int take_signals(int *ret_fd)
{
	struct sigaction no_stops = { .sa_handler = SIG_DFL, .sa_flags = SA_NOCLDSTOP };
	sigset_t mask;

	for (int number = 1; number < NSIG; number++)
		signal(number, SIG_DFL);
	reset_reserved_signals();
	sigaction(SIGCHLD, &no_stops, NULL);
	sigemptyset(&mask);
	sigaddset(&mask, SIGCHLD);
	sigaddset(&mask, SIGTERM);
	int fd = signalfd(-1, &mask, SFD_CLOEXEC | SFD_NONBLOCK);
	if (fd < 0)
		return -errno;
	sigaddset(&mask, SIGPIPE);
	sigaddset(&mask, SIGXFSZ);
	sigprocmask(SIG_SETMASK, &mask, NULL);
	*ret_fd = fd;
	return 0;
}

/* The job's stdin is ours where it has none of its own; and no descriptor below 3 is ever free for a pipe. */
static int take_null_input(void)
{
	int fd, r;

	do
		fd = open("/dev/null", O_RDWR);
	while (fd >= 0 && fd <= STDERR_FILENO);
	r = fd < 0 || dup2(fd, STDIN_FILENO) < 0 ? -errno : 0;
	close_fd(&fd);
	return r;
}

static int take_descriptors(struct worker *w)
{
	struct worker_file_header header;
	int r;

	if (fcntl(WORKER_FD_FILE, F_SETFD, FD_CLOEXEC) < 0 || fcntl(WORKER_FD_SUPERVISOR, F_SETFD, FD_CLOEXEC) < 0)
		return -errno;
	w->file_fd = WORKER_FD_FILE;
	w->supervisor_fd = WORKER_FD_SUPERVISOR;
	r = worker_file_read_header(w->file_fd, &header);
	if (r < 0)
		return r;
	if (header.worker_id != w->id)
		return -EINVAL;
	return worker_file_write_pid(w->file_fd, getpid());
}

static int make_directories(void)
{
	static const char *const names[] = { SCRATCH_DIRECTORY, OUTPUT_DIRECTORY, TMP_DIRECTORY, SLOT_DIRECTORY };

	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (mkdir(names[i], 0700) < 0 && errno != EEXIST)
			return -errno;
	return 0;
}

static int be_born(struct worker *w, const char *pool, uint32_t slot, const char *socket)
{
	int r = take_descriptors(w);

	if (r < 0)
		return log_errno(r, "descriptor %d is not the file of worker %" PRIu64, WORKER_FD_FILE, w->id);
	char *state_dir = getcwd(NULL, 0);
	if (!state_dir)
		return log_errno(-errno, "cannot name the current directory");
	if (prctl(PR_SET_CHILD_SUBREAPER, 1) < 0)
		r = -errno;
	if (r == 0)
		r = take_signals(&w->signal_fd);
	if (r == 0)
		r = take_null_input();
	if (r == 0)
		r = make_directories();
	if (r == 0)
		r = tmpdir_init(&w->tmpdir, w->id);
	if (r == 0)
		r = tree_init(&w->tree);
	affinity_init(&w->affinity, pool, slot);
	if (r == 0)
		r = launcher_init(&w->launcher, &w->affinity, state_dir, w->tmpdir.path, pool, slot, socket);
	if (r < 0)
		log_errno(r, "cannot set up worker %" PRIu64 " in %s", w->id, state_dir);
	free(state_dir);
	if (r < 0)
		return r;

	marks_init(&w->marks, w->file_fd);
	output_init(&w->output, w->id);
	link_init(&w->link, now_monotonic_ms());
	w->run = (struct run){
		.launcher = &w->launcher,
		.marks = &w->marks,
		.output = &w->output,
		.tmpdir = &w->tmpdir,
		.tree = &w->tree,
		.supervisor_is_gone = supervisor_is_gone,
		.on_ended = on_ended,
		.context = w,
	};
	return 0;
}

/* Files that are still needed stay: scratch files that an unrecorded mark names are read, and removed, by the daemon. */
static void die(struct worker *w)
{
	output_deinit(&w->output, marks_are_free(&w->marks));
	tmpdir_deinit(&w->tmpdir);
	launcher_deinit(&w->launcher);
	tree_deinit(&w->tree);
	buf_free(&w->link.in);
	buf_free(&w->link.out);
	buf_free(&w->next.frame);
}

int main(int argc, char **argv)
{
	struct worker w = { .signal_fd = -1 };
	uint64_t slot;

	log_set_program("jobpool-worker");
	if (argc != 5 || slice_to_uint(slice_of(argv[1]), UINT64_MAX, &w.id) < 0 || !name_is_valid(slice_of(argv[2])) ||
	    slice_to_uint(slice_of(argv[3]), UINT32_MAX, &slot) < 0) {
		log_error("jobpool-worker is started by jobpool-supervisor, not by hand", "arguments=%d", argc - 1);
		return 2;
	}
	if (be_born(&w, argv[2], (uint32_t)slot, argv[4]) < 0)
		return 1;
	int r = serve(&w);
	if (r < 0)
		return 1;
	die(&w);
	return 0;
}
