/* The rules of the worker file (design section 6) on the real code: jobpool-worker, and the recovery of jobpoold. A program
 * of its own, since it traces what it tests.
 *
 * It plays the supervisor and two daemons, one after the other, and stops the worker at each of its system calls, before
 * and after it: from the RUN of the last job to the moment when it has heard RECORDED. Each stop is tried as the moment of
 * a kill of the worker, of a daemon's death and a new daemon's start, and of both. The worker may go on at any moment of
 * that start: before, between its steps, or when all is decided (a worker that was stopped and continued). That is the
 * walk of shared/model/recovery.py. What must hold, whatever happened:
 *   - a job is started once, or not at all if it is lost; it is lost only when its worker was killed before the mark "ended";
 *   - an attempt that was judged "never started" never starts;
 *   - an outcome that was told or marked is never forgotten, never changes, and is what the job itself wrote down.
 * What the daemon does with a verdict, a HELLO, a report and a death is here as dispatch.c does it, without its store. */
#include <check.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "recover.h"
#include "tree.h"
#include "../lib/worker_host.h"

#define EXIT_SKIPPED 77 /* automake's */
#define LEDGER "ledger"
#define SERIALS_MAX 16  /* attempts in one story */
#define STOPS_MIN 50u   /* fewer than this: the story is not what we think it is */
#define STOPS_MAX 500u
#define CALLS_MAX 1024  /* numbers of system calls are far below */
#define IN_VFORK (CALLS_MAX - 1) /* stands in for a call: the job's process is made, and held before its first step */

/* Where in its start the second daemon lets the worker go on. */
enum resume { RESUME_BEFORE_EPOCH, RESUME_BEFORE_LOCK, RESUME_BEFORE_MARKS, RESUME_AFTER_DECISION, RESUME_MAX };

static const char *const resume_names[RESUME_MAX] = {
	[RESUME_BEFORE_EPOCH] = "before it writes its epoch",
	[RESUME_BEFORE_LOCK] = "before it asks for the lock",
	[RESUME_BEFORE_MARKS] = "before it reads the marks",
	[RESUME_AFTER_DECISION] = "when it has decided",
};

/* A stop of the worker, named so that it is found again in a story where other calls come in another order. */
struct stop {
	long call;     /* number of the system call, or IN_VFORK */
	bool after;    /* or before it */
	unsigned nth;  /* from 1 */
};

/* What befalls whom at which stop of the worker; NULL = nothing. */
struct plan {
	unsigned jobs;        /* of more than one, none is recorded before the last has ended: all their marks are in use */
	const struct stop *kill_at, *restart_at;
	enum resume resume;
	bool ahead;       /* a job is sent while the one before it runs */
};

enum job_state {
	READY,
	GIVEN, /* to a worker, or adopted */
	HEARD, /* reported; the commit is on its way, and dies with the daemon */
	DONE,  /* committed */
};

struct job {
	enum job_state state;
	unsigned serial; /* names its attempt: the token is made of it */
	struct attempt_end end;
};

/* What an omniscient observer knows of an attempt. */
struct attempt {
	unsigned job;
	bool never_started; /* a daemon has said so */
	bool told;          /* its worker has reported it, perhaps to a daemon that died before it read that */
	bool excused;       /* its worker was killed before the mark "ended" */
	unsigned starts, ends;
};

static struct worker_host host;
static struct tree tree;
static int signal_fd = -1;

static struct {
	const struct plan *plan;
	struct stop stops[STOPS_MAX]; /* so far */
	unsigned stop_count;
	unsigned counts[CALLS_MAX][2]; /* of stops before and after each call */
	struct job jobs[MARKS_PER_WORKER];
	struct attempt attempts[SERIALS_MAX];
	unsigned serials;
	pid_t half_made;          /* the worker's child between vfork and exec, held */
	unsigned half_made_serial; /* whose it is: of those given and not ended the one that was given first */
	bool tracing;             /* each system call stops the worker */
	bool dead, restarted;
	bool daemon_is_up, greeted;
	bool scanning, resumed;   /* inside recover_scan(); the worker has gone on */
	bool lock_was_held;       /* when it was asked for: what happens behind that, the supervisor's DIED tells */
	bool hold_at_dial, held;  /* stop it when it dials */
} s;

/* Calls that each story makes: a walk must have tried the stops around them. The names are for messages. */
static const struct {
	long number;
	const char *name;
} calls[] = {
	{ IN_VFORK, "vfork's child is made" },
	{ SYS_recvfrom, "recv" },
	{ SYS_pwrite64, "pwrite" },
	{ SYS_pread64, "pread" },
	{ SYS_pipe2, "pipe2" },
	{ SYS_wait4, "wait4" },
	{ SYS_waitid, "waitid" },
	{ SYS_sendto, "send" },
};
static bool tried[CALLS_MAX][2]; /* [0] before, [1] after */

static void name_stop(const struct stop *stop, char ret_text[48])
{
	const char *when = stop->after ? "after" : "before";

	snprintf(ret_text, 48, "%s call %ld, %u", when, stop->call, stop->nth);
	for (size_t i = 0; i < ARRAY_SIZE(calls); i++)
		if (calls[i].number == stop->call)
			snprintf(ret_text, 48, "%s %s, %u", when, calls[i].name, stop->nth);
}

static const char *story(void)
{
	char kill[48] = "never", restart[48] = "never", now[48] = "before any stop";
	static char text[300];

	if (s.plan->kill_at)
		name_stop(s.plan->kill_at, kill);
	if (s.plan->restart_at)
		name_stop(s.plan->restart_at, restart);
	if (s.stop_count)
		name_stop(&s.stops[s.stop_count - 1], now);
	snprintf(text, sizeof(text), "%u job(s); worker killed: %s; daemon restarted: %s; worker goes on: %s; last stop: %s",
		 s.plan->jobs, kill, restart, resume_names[s.plan->resume], now);
	return text;
}

#define EXPECT(condition, text) ck_assert_msg(condition, "%s (%s)", text, story())

/* -- attempts -------------------------------------------------------------------------------------------------- */

static void token_of(unsigned serial, uint8_t ret_token[TOKEN_BYTES])
{
	memset(ret_token, 0xa5, TOKEN_BYTES);
	ret_token[0] = (uint8_t)serial;
}

static unsigned serial_of(const uint8_t token[TOKEN_BYTES])
{
	uint8_t right[TOKEN_BYTES];

	token_of(token[0], right);
	EXPECT(memcmp(token, right, TOKEN_BYTES) == 0 && token[0] >= 1 && token[0] <= s.serials, "a token that nobody gave out");
	return token[0];
}

static struct job *job_of(unsigned serial) { return &s.jobs[s.attempts[serial].job]; }

/* The outcome of an attempt, heard or read; perhaps not for the first time. */
static void take_outcome(unsigned serial, const struct attempt_end *end, enum job_state state)
{
	struct job *job = job_of(serial);

	EXPECT(!s.attempts[serial].never_started, "an attempt that never started has ended");
	EXPECT(job->serial == serial, "an older attempt of the job has ended");
	if (job->state == DONE)
		EXPECT(memcmp(&job->end, end, sizeof(*end)) == 0, "a recorded outcome has changed");
	else
		job->state = state;
	job->end = *end;
}

static void take_lost(struct job *job)
{
	EXPECT(s.attempts[job->serial].excused, "lost, but its worker was not killed before the mark \"ended\"");
	EXPECT(!s.attempts[job->serial].told, "lost, but its worker had told the outcome");
	job->state = DONE;
	job->end = (struct attempt_end){ .outcome = OUTCOME_LOST };
}

static void take_back(struct job *job)
{
	s.attempts[job->serial].never_started = true;
	EXPECT(!s.attempts[job->serial].told, "never started, but its worker had told the outcome");
	job->state = READY;
}

/* What the file says of it, MARK_FREE when it does not name it. */
static struct mark find_mark(unsigned serial)
{
	struct mark mark;

	for (unsigned i = 0; i < MARKS_PER_WORKER; i++) {
		EXPECT(worker_file_read_mark(host.worker_file, i, &mark) == 0, "a mark cannot be read");
		if (mark.state != MARK_FREE && serial_of(mark.token) == serial)
			return mark;
	}
	return (struct mark){ .state = MARK_FREE };
}

static bool marks_are_free(void)
{
	struct mark mark;

	for (unsigned i = 0; i < MARKS_PER_WORKER; i++) {
		EXPECT(worker_file_read_mark(host.worker_file, i, &mark) == 0, "a mark cannot be read");
		if (mark.state != MARK_FREE)
			return false;
	}
	return true;
}

/* -- the worker under ptrace ----------------------------------------------------------------------------------- */

static void trace_worker(void)
{
	/* The thread sanitizer makes a fork of each vfork. */
	const unsigned long options = PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACEVFORK | PTRACE_O_TRACEFORK | PTRACE_O_EXITKILL;

	ck_assert_msg(ptrace(PTRACE_SEIZE, host.worker, 0, options) == 0,
		      "cannot trace the worker: %s. Allow ptrace of own children (in a container: CAP_SYS_PTRACE, or a newer "
		      "seccomp profile), or leave this test out with JOBPOOL_TEST_NO_PTRACE=1",
		      strerror(errno));
}

/* The job's process runs untraced; only at its birth it is held as long as its parent, and its parent as long as it has not
 * come to its exec, as vfork promises. */
static void let_half_made_exec(void)
{
	if (!s.half_made)
		return;
	ptrace(PTRACE_SETOPTIONS, s.half_made, 0, (unsigned long)PTRACE_O_TRACEEXEC);
	ptrace(PTRACE_CONT, s.half_made, 0, 0);
	EXPECT(waitpid(s.half_made, NULL, __WALL) == s.half_made, "the job's process is gone");
	ptrace(PTRACE_DETACH, s.half_made, 0, 0);
	s.half_made = 0;
}

/* Its parent is dead: it may come to its exec, or not. */
static void release_half_made(void)
{
	if (s.half_made)
		ptrace(PTRACE_DETACH, s.half_made, 0, 0);
	s.half_made = 0;
}

static void hold_half_made(void)
{
	unsigned long pid = 0;

	ptrace(PTRACE_GETEVENTMSG, host.worker, 0, &pid);
	s.half_made = (pid_t)pid;
	s.half_made_serial = UINT_MAX;
	for (unsigned i = 0; i < s.plan->jobs; i++)
		if (s.jobs[i].state == GIVEN && find_mark(s.jobs[i].serial).state != MARK_ENDED)
			s.half_made_serial = MIN(s.half_made_serial, s.jobs[i].serial);
	EXPECT(waitpid(s.half_made, NULL, __WALL) == s.half_made, "the job's process is not held at its birth");
}

static void resume_worker(int signal_number)
{
	let_half_made_exec();
	s.held = false;
	ptrace(s.tracing ? PTRACE_SYSCALL : PTRACE_CONT, host.worker, 0, (unsigned long)signal_number);
}

/* From here on each system call counts. The worker is idle. */
static void start_tracing(void)
{
	int status;

	if (s.tracing)
		return;
	s.tracing = true;
	ptrace(PTRACE_INTERRUPT, host.worker, 0, 0);
	EXPECT(waitpid(host.worker, &status, __WALL) == host.worker && WIFSTOPPED(status), "the idle worker does not stop");
}

static void kill_worker(void)
{
	int status;

	kill(host.worker, SIGKILL);
	do
		EXPECT(waitpid(host.worker, &status, __WALL) == host.worker, "the worker does not die");
	while (WIFSTOPPED(status));
	s.dead = true;
	for (unsigned serial = 1; serial <= s.serials; serial++)
		s.attempts[serial].excused = find_mark(serial).state == MARK_STARTED;
}

static void restart_daemon(void);

static bool is_stop(const struct stop *wanted, const struct stop *stop)
{
	return wanted && wanted->call == stop->call && wanted->after == stop->after && wanted->nth == stop->nth;
}

/* One stop of the worker: what the plan has for it. */
static void on_stop(long call, bool after)
{
	EXPECT(s.stop_count < STOPS_MAX, "the worker finds no end");
	EXPECT(call >= 0 && call < CALLS_MAX, "a system call of an unknown number");
	struct stop *stop = &s.stops[s.stop_count++];
	*stop = (struct stop){ .call = call, .after = after, .nth = ++s.counts[call][after] };
	bool kills = is_stop(s.plan->kill_at, stop), restarts = is_stop(s.plan->restart_at, stop);

	if (kills || restarts)
		tried[call][after] = true;
	if (kills)
		kill_worker();
	if (restarts)
		restart_daemon();
}

static void on_system_call(void)
{
	struct __ptrace_syscall_info info = { 0 };
	static long call; /* told before the call only */

	EXPECT(ptrace(PTRACE_GET_SYSCALL_INFO, host.worker, sizeof(info), &info) > 0, "this system call is not told");
	bool after = info.op == PTRACE_SYSCALL_INFO_EXIT;
	if (!after)
		call = (long)info.entry.nr;
	if (s.hold_at_dial && !after && call == SYS_connect)
		s.held = true;
	else
		on_stop(call, after);
}

static void on_status(int status)
{
	if (!WIFSTOPPED(status)) {
		s.dead = true;
		EXPECT(false, "the worker has died by itself");
	} else if (WSTOPSIG(status) == (SIGTRAP | 0x80)) {
		on_system_call();
	} else if (status >> 16 == PTRACE_EVENT_VFORK || status >> 16 == PTRACE_EVENT_FORK) {
		hold_half_made();
		if (s.tracing)
			on_stop(IN_VFORK, true);
	} else if (status >> 16 == 0) {
		resume_worker(WSTOPSIG(status));
		return;
	}
	if (!s.dead && !s.held)
		resume_worker(0);
}

static void on_child_signal(void)
{
	struct signalfd_siginfo info;
	int status;

	EXPECT(read(signal_fd, &info, sizeof(info)) == sizeof(info), "SIGCHLD cannot be read");
	while (!s.dead && !s.held && waitpid(host.worker, &status, WNOHANG | __WALL) == host.worker)
		on_status(status);
}

/* -- the daemon ------------------------------------------------------------------------------------------------ */

/* The job writes down its start and its end, by itself. */
static void give(struct job *job)
{
	struct message_run run = { .job_id = 1 + (uint64_t)(job - s.jobs), .attempt = 1 };
	char line[120], serial[12];

	EXPECT(s.serials + 1 < SERIALS_MAX, "given out again and again");
	job->serial = ++s.serials;
	job->state = GIVEN;
	s.attempts[job->serial] = (struct attempt){ .job = (unsigned)(job - s.jobs) };
	token_of(job->serial, run.token);
	snprintf(line, sizeof(line), "echo S $0 >>" LEDGER "; echo E $0 >>" LEDGER "; exit %d", 10 + (int)(job - s.jobs));
	snprintf(serial, sizeof(serial), "%u", job->serial);
	struct slice words[] = { SLICE("/bin/sh"), SLICE("-c"), slice_of(line), slice_of(serial) };
	struct spec spec = { .argv = words, .argc = ARRAY_SIZE(words), .cwd = slice_of(host.directory), .umask = 022 };
	host_send_run(&host, &run, &spec, (struct slice){ NULL, 0 }, SLICE("default"));
}

static unsigned given_max(void)
{
	return s.plan->ahead ? 2 : 1;
}

/* The next job to be given, NULL: there is none, or the worker has enough. */
static struct job *pick_next(void)
{
	struct job *next = NULL;
	unsigned given = 0;

	for (unsigned i = s.plan->jobs; s.greeted && i-- > 0;) {
		given += s.jobs[i].state == GIVEN;
		if (s.jobs[i].state == READY)
			next = &s.jobs[i];
	}
	return given < given_max() ? next : NULL;
}

/* To a worker that is idle; and one ahead, where the plan says so. The life of the last ones is watched call by call. */
static void give_next(void)
{
	struct job *next = pick_next();
	unsigned ready = 0;

	for (unsigned i = 0; i < s.plan->jobs; i++)
		ready += s.jobs[i].state == READY;
	bool watch = next && !s.tracing && ready <= given_max();
	if (watch)
		start_tracing();
	for (; next; next = pick_next())
		give(next);
	if (watch)
		resume_worker(0);
}

/* First the outcome, then the word to the worker. */
static void commit(struct job *job)
{
	uint8_t token[TOKEN_BYTES];

	job->state = DONE;
	token_of(job->serial, token);
	if (host.connection >= 0)
		host_send_recorded(&host, token);
}

/* The first daemon's disk is slow: it commits all in one. */
static void commit_heard(void)
{
	for (unsigned i = 0; i < s.plan->jobs; i++)
		if (!s.restarted && !s.dead && s.jobs[i].state < HEARD)
			return;
	for (unsigned i = 0; i < s.plan->jobs; i++)
		if (s.jobs[i].state == HEARD)
			commit(&s.jobs[i]);
}

static void on_ended(struct slice frame)
{
	struct message_ended message;

	EXPECT(message_body(frame, &message, sizeof(message), NULL) == 0, "a damaged report");
	unsigned serial = serial_of(message.token);
	s.attempts[serial].told = true;
	take_outcome(serial, &message.end, HEARD);
	commit_heard();
}

static bool hello_names(const struct message_hello *hello, unsigned serial)
{
	for (unsigned i = 0; i < MARKS_PER_WORKER; i++)
		if (hello->marks[i].state != MARK_FREE && serial_of(hello->marks[i].token) == serial)
			return true;
	return false;
}

static void on_hello(struct slice frame)
{
	struct message_welcome welcome = { .version = WORKER_PROTO_VERSION_MAX, .epoch = host.epoch };
	struct message_hello hello;

	EXPECT(message_body(frame, &hello, sizeof(hello), NULL) == 0 && hello.pid == host.worker, "a damaged HELLO");
	EXPECT(worker_file_write_epoch(host.worker_file, host.epoch) == 0, "the epoch cannot be written");
	host_send(&host, MESSAGE_WELCOME, &welcome, sizeof(welcome), NULL, 0);
	s.greeted = true;
	for (unsigned i = 0; i < s.plan->jobs; i++)
		if (s.jobs[i].state == GIVEN && !hello_names(&hello, s.jobs[i].serial))
			take_back(&s.jobs[i]);
	for (unsigned i = 0; i < MARKS_PER_WORKER; i++) {
		const struct mark *mark = &hello.marks[i];
		if (mark->state == MARK_FREE)
			continue;
		unsigned serial = serial_of(mark->token);
		EXPECT(!s.attempts[serial].never_started, "HELLO names an attempt that never started");
		EXPECT(mark->state == MARK_ENDED || job_of(serial)->state == GIVEN, "HELLO names a job as running that is done");
		if (mark->state == MARK_ENDED) {
			take_outcome(serial, &mark->end, DONE);
			host_send_recorded(&host, mark->token);
		}
	}
}

/* A message, or the end of the connection. */
static void on_message(void)
{
	struct message_header header;
	struct slice frame = host_receive(&host, &header);

	if (!frame.data) {
		EXPECT(s.dead || s.plan->kill_at, "the worker has hung up");
		close_fd(&host.connection);
		s.greeted = false;
		return;
	}
	EXPECT(header.type == (s.greeted ? MESSAGE_ENDED : MESSAGE_HELLO), "a message of another type");
	if (s.greeted)
		on_ended(frame);
	else
		on_hello(frame);
	free((char *)frame.data);
	give_next();
}

/* What the worker has told a daemon that did not live to read it. It stays unread, as it would. */
static void note_unread(void)
{
	static char data[1 << 16];
	ssize_t len = host.connection < 0 ? 0 : recv(host.connection, data, sizeof(data), MSG_PEEK | MSG_DONTWAIT), n;
	struct message_header header;
	struct message_ended message;

	for (ssize_t at = 0; len > at && (n = message_peek(data + at, (size_t)(len - at), &header)) > 0; at += n)
		if (header.type == MESSAGE_ENDED &&
		    message_body((struct slice){ data + at, (size_t)n }, &message, sizeof(message), NULL) == 0)
			s.attempts[serial_of(message.token)].told = true;
}

static void judge(struct job *job, const struct recovery *recovery)
{
	enum mark_state state = find_mark(job->serial).state;
	uint8_t token[TOKEN_BYTES];
	unsigned index;
	size_t i;

	token_of(job->serial, token);
	enum verdict verdict = recover_judge(recovery, token, true, &i, &index);
	EXPECT(!s.half_made || job->serial != s.half_made_serial || verdict == VERDICT_ADOPT,
	       "its process is half-made: somebody still holds the lock");
	EXPECT((state == MARK_ENDED) == (verdict == VERDICT_ENDED), "the verdict is not what the mark says");
	switch (verdict) {
	case VERDICT_ENDED:
		take_outcome(job->serial, &recovery->workers[i].marks[index].end, DONE);
		break;
	case VERDICT_ADOPT:
		EXPECT(s.lock_was_held, "adopted, but its worker was dead when the lock was asked for");
		break;
	case VERDICT_UNPROVEN:
		EXPECT(s.dead, "unproven, but its worker lives");
		break;
	case VERDICT_NEVER_STARTED:
		take_back(job);
		break;
	case VERDICT_LOST:
		EXPECT(false, "lost in the same boot");
	}
}

/* The daemon dies at this moment, and the next one starts. The worker is stopped, here or where it dials, or dead. */
static void restart_daemon(void)
{
	struct recovery recovery;

	s.restarted = true;
	s.daemon_is_up = s.greeted = false;
	note_unread();
	host_hang_up(&host);
	for (unsigned i = 0; i < s.plan->jobs; i++)
		if (s.jobs[i].state == HEARD)
			s.jobs[i].state = GIVEN;

	host.epoch++;
	s.scanning = true;
	EXPECT(recover_scan(host.epoch, &recovery) == 0, "the worker files cannot be read");
	s.scanning = false;
	EXPECT(recovery.count == 1, "another worker file than the one");
	for (unsigned i = 0; i < s.plan->jobs; i++)
		if (s.jobs[i].state == GIVEN)
			judge(&s.jobs[i], &recovery);
	recover_free(&recovery);
	host_listen(&host);
	s.daemon_is_up = true;
	s.held = false; /* who called us lets it go on */
}

static bool is_known(pid_t pid, void *context)
{
	(void)pid;
	(void)context;
	return false;
}

static void wait_for_child_signal_1ms(void)
{
	struct signalfd_siginfo info;
	struct pollfd fd = { .fd = signal_fd, .events = POLLIN };

	if (poll(&fd, 1, 1) == 1)
		EXPECT(read(signal_fd, &info, sizeof(info)) == sizeof(info), "SIGCHLD cannot be read");
}

/* The supervisor's part, by its own routine: what the dead worker left is killed and reaped. */
static void end_tree(void)
{
	uint64_t deadline = now_monotonic_ms() + HOST_PATIENCE_MS;

	release_half_made();
	while (tree_kill_pass(&tree, is_known, NULL) != 0) {
		EXPECT(now_monotonic_ms() < deadline, "the tree of the worker cannot be ended");
		wait_for_child_signal_1ms();
	}
	EXPECT(worker_file_is_locked(host.worker_file) == 0, "nobody is left, and the worker file is locked");
}

static bool is_readable(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };

	return fd >= 0 && poll(&p, 1, 0) == 1;
}

/* DIED and EMPTY. Late reports come first, then the file has the last word. */
static void bury_worker(void)
{
	bool more = false;

	end_tree();
	while (host.connection >= 0 && is_readable(host.connection))
		on_message();
	commit_heard();
	for (unsigned i = 0; i < s.plan->jobs; i++) {
		struct job *job = &s.jobs[i];
		struct mark mark = job->state == GIVEN ? find_mark(job->serial) : (struct mark){ 0 };

		if (mark.state == MARK_ENDED)
			take_outcome(job->serial, &mark.end, DONE);
		else if (mark.state == MARK_STARTED)
			take_lost(job);
		else if (job->state == GIVEN)
			take_back(job);
		more |= job->state == READY;
	}
	host_bury_worker(&host);
	s.greeted = s.tracing = false;
	if (more) {
		host_start_worker(&host);
		trace_worker();
		s.dead = false;
	}
}

/* -- the second daemon's start, taken apart: the linker puts these before the real ones (--wrap) ----------------- */

static void wait_for_event(void);

/* The worker goes on until it has understood that the daemon is gone, and dials. */
static void reach(enum resume moment)
{
	if (!s.scanning || s.resumed || s.plan->resume != moment || s.dead)
		return;
	s.resumed = s.hold_at_dial = true;
	resume_worker(0);
	while (!s.dead && !s.held)
		wait_for_event();
	s.hold_at_dial = false;
}

int __real_worker_file_write_epoch(int fd, uint64_t epoch);
int __wrap_worker_file_write_epoch(int fd, uint64_t epoch);
int __wrap_worker_file_write_epoch(int fd, uint64_t epoch)
{
	reach(RESUME_BEFORE_EPOCH);
	return __real_worker_file_write_epoch(fd, epoch);
}

int __real_worker_file_is_locked(int fd);
int __wrap_worker_file_is_locked(int fd);
int __wrap_worker_file_is_locked(int fd)
{
	reach(RESUME_BEFORE_LOCK);
	if (s.scanning)
		s.lock_was_held = !s.dead || s.half_made;
	return __real_worker_file_is_locked(fd);
}

int __real_worker_file_read_mark(int fd, unsigned index, struct mark *ret_mark);
int __wrap_worker_file_read_mark(int fd, unsigned index, struct mark *ret_mark);
int __wrap_worker_file_read_mark(int fd, unsigned index, struct mark *ret_mark)
{
	reach(RESUME_BEFORE_MARKS);
	return __real_worker_file_read_mark(fd, index, ret_mark);
}

/* -- one story ------------------------------------------------------------------------------------------------- */

static void wait_for_event(void)
{
	struct pollfd fds[] = {
		{ .fd = signal_fd, .events = POLLIN },
		{ .fd = host.listener, .events = POLLIN },
		{ .fd = host.connection, .events = POLLIN },
	};

	EXPECT(poll(fds, ARRAY_SIZE(fds), (int)HOST_PATIENCE_MS) > 0, "nothing happens any more");
	/* One at a time: each may close what the others are about. */
	if (fds[0].revents)
		on_child_signal();
	else if (fds[1].revents)
		host_accept(&host);
	else
		on_message();
}

static bool all_jobs_are_done(void)
{
	for (unsigned i = 0; i < s.plan->jobs; i++)
		if (s.jobs[i].state != DONE)
			return false;
	return true;
}

static void read_ledger(void)
{
	FILE *file = fopen(LEDGER, "re");
	unsigned serial;
	char what;

	while (file && fscanf(file, " %c %u", &what, &serial) == 2) {
		EXPECT((what == 'S' || what == 'E') && serial >= 1 && serial <= s.serials, "a damaged ledger");
		if (what == 'S')
			s.attempts[serial].starts++;
		else
			s.attempts[serial].ends++;
	}
	if (file)
		fclose(file);
	unlink(LEDGER);
}

static void check_ledger(void)
{
	unsigned starts[MARKS_PER_WORKER] = { 0 };

	read_ledger();
	for (unsigned serial = 1; serial <= s.serials; serial++) {
		const struct attempt *a = &s.attempts[serial];
		EXPECT(!a->never_started || !a->starts, "an attempt that never started has started");
		EXPECT(a->starts <= 1 && a->ends <= a->starts, "an attempt has started twice");
		starts[a->job] += a->starts;
	}
	for (unsigned i = 0; i < s.plan->jobs; i++) {
		const struct job *job = &s.jobs[i];
		if (job->end.outcome == OUTCOME_LOST) {
			EXPECT(starts[i] <= 1, "a lost job has started twice");
			continue;
		}
		EXPECT(starts[i] == 1, "a job has not started exactly once");
		EXPECT(s.attempts[job->serial].ends == 1, "a job with an outcome has not ended, or another attempt of it has");
		EXPECT(job->end.outcome == OUTCOME_FAILED && job->end.exit_code == 10 + (int)i, "not the outcome of the job");
	}
}

/* Kill what is there, so that nothing can start any more; then look. */
static void end_story(void)
{
	if (host.worker) {
		if (!s.dead)
			kill_worker();
		end_tree();
		host_bury_worker(&host);
	}
	host_hang_up(&host);
	check_ledger();
}

static void play(const struct plan *plan)
{
	memset(&s, 0, sizeof(s));
	s.plan = plan;
	s.daemon_is_up = true;
	host_listen(&host);
	host_start_worker(&host);
	trace_worker();
	while (!all_jobs_are_done() || (host.worker && !s.dead && !marks_are_free())) {
		if (s.dead && s.daemon_is_up && host.worker)
			bury_worker();
		else
			wait_for_event();
	}
	end_story();
}

/* Each stop that the worker makes in the story of @plan is tried, one after the other, as the moment of its death, of the
 * daemon's, or of both. A stop that does not come again (a poll that found all at once) costs nothing but a story. */
static void walk(struct plan plan, bool kill, bool restart)
{
	struct stop stops[STOPS_MAX];

	play(&plan);
	unsigned count = s.stop_count;
	ck_assert_uint_ge(count, STOPS_MIN);
	memcpy(stops, s.stops, sizeof(stops));
	for (unsigned i = 0; i < count; i++) {
		if (kill)
			plan.kill_at = &stops[i];
		if (restart)
			plan.restart_at = &stops[i];
		play(&plan);
	}
	for (size_t i = 0; i < ARRAY_SIZE(calls); i++)
		ck_assert_msg((tried[calls[i].number][0] || calls[i].number == IN_VFORK) && tried[calls[i].number][1],
			      "no story had its turn before and after: %s", calls[i].name);
}

static const struct stop in_vfork = { .call = IN_VFORK, .after = true, .nth = 1 };
static const struct plan plans[] = { { .jobs = 1 }, { .jobs = 3 }, { .jobs = 2, .ahead = true } };
_Static_assert(MARKS_PER_WORKER >= 3, "each job finds a mark");

START_TEST(test_worker_is_killed_at_every_step)
{
	walk(plans[_i], true, false);
}
END_TEST

START_TEST(test_daemon_is_restarted_at_every_step)
{
	struct plan plan = plans[_i / RESUME_MAX];

	plan.resume = (enum resume)(_i % RESUME_MAX);
	walk(plan, false, true);
}
END_TEST

START_TEST(test_worker_is_killed_and_daemon_restarted_at_every_step)
{
	walk(plans[_i], true, true);
}
END_TEST

/* The calls that a worker makes without a daemon, and with the next one, are others. */
START_TEST(test_worker_is_killed_at_every_step_after_the_daemons_death)
{
	walk((struct plan){ .jobs = 1, .restart_at = &in_vfork, .resume = (enum resume)_i }, true, false);
}
END_TEST

/* -- the frame ------------------------------------------------------------------------------------------------- */

static void open_all(void)
{
	sigset_t mask;

	host_open(&host, "test_worker_rules");
	sigemptyset(&mask);
	sigaddset(&mask, SIGCHLD);
	sigprocmask(SIG_BLOCK, &mask, NULL);
	signal_fd = signalfd(-1, &mask, SFD_CLOEXEC);
	ck_assert_int_ge(signal_fd, 0);
	ck_assert_int_eq(prctl(PR_SET_CHILD_SUBREAPER, 1), 0);
	ck_assert_int_eq(tree_init(&tree), 0);
}

static void close_all(void)
{
	host_close(&host);
	tree_deinit(&tree);
	close_fd(&signal_fd);
}

/* Where all state directories go, so that a failed test leaves none: in memory where that is possible, since a kill cannot tell
 * the difference, and a thousand stories would wait for the disk. */
static void make_base(char ret_base[PATH_MAX])
{
	const char *parent = getenv("TMPDIR");

	if (!parent)
		parent = access("/dev/shm", W_OK | X_OK) == 0 ? "/dev/shm" : "/tmp";
	snprintf(ret_base, PATH_MAX, "%s/test_worker_rules.XXXXXX", parent);
	if (!mkdtemp(ret_base) || setenv("TMPDIR", ret_base, 1) < 0) {
		fprintf(stderr, "cannot make a directory in %s: %s\n", parent, strerror(errno));
		exit(EXIT_FAILURE);
	}
}

int main(void)
{
	Suite *suite = suite_create("worker rules");
	TCase *t = tcase_create("a stop at every step");
	char base[PATH_MAX];

	if (getenv("JOBPOOL_TEST_NO_PTRACE")) {
		fputs("left out: JOBPOOL_TEST_NO_PTRACE is set\n", stderr);
		return EXIT_SKIPPED;
	}
	make_base(base);
	tcase_add_checked_fixture(t, open_all, close_all);
	tcase_set_timeout(t, 60);
	tcase_add_loop_test(t, test_worker_is_killed_at_every_step, 0, ARRAY_SIZE(plans));
	tcase_add_loop_test(t, test_daemon_is_restarted_at_every_step, 0, ARRAY_SIZE(plans) * RESUME_MAX);
	tcase_add_loop_test(t, test_worker_is_killed_and_daemon_restarted_at_every_step, 0, ARRAY_SIZE(plans));
	tcase_add_loop_test(t, test_worker_is_killed_at_every_step_after_the_daemons_death, 0, RESUME_MAX);
	suite_add_tcase(suite, t);
	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	host_remove_tree(base);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
