/* The life of one attempt.
 *
 * System calls of a job without output that leaves nothing behind, beside those of the child; each one is throughput
 * (doc/performance.md, "System call by system call"; bench/cost --calls counts them):
 *   poll, recv (RECORDED of one or more before, and RUN), pwrite (mark free, for each RECORDED);
 *   pwrite (mark started), pread (epoch), lstat (JOBPOOL_TMPDIR did not change); pipe2, fcntl (both twice when stderr has a pipe
 *   of its own); vfork; pwrite (the job's pid); poll, read (SIGCHLD), wait4, waitid (no child is left: proven);
 *   close (write end), read, close (the end of output); pwrite (mark ended), send (ENDED).
 * A RUN that was sent ahead arrives while the job before runs; then no poll comes before "mark started".
 * Output adds a read and a pwrite for each piece, and an ftruncate when it is recorded. */
#include "run.h"

#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>

#define KILL_PASS_MS 1u
#define STUCK_AFTER_MS 10000u
#define STUCK_PASS_MS 100u
#define HOLDER_MS 1000u /* for a process outside of the tree that has the output open */
#define NEVER UINT64_MAX

static uint64_t add_ms(uint64_t now_ms, uint64_t ms)
{
	return ms >= NEVER - now_ms ? NEVER : now_ms + ms;
}

/* -- the outcome ----------------------------------------------------------------------------------------------- */

static uint64_t timeval_us(struct timeval t)
{
	return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_usec;
}

static void add_usage(struct rusage *sum, const struct rusage *usage)
{
	timeradd(&sum->ru_utime, &usage->ru_utime, &sum->ru_utime);
	timeradd(&sum->ru_stime, &usage->ru_stime, &sum->ru_stime);
	sum->ru_maxrss = MAX(sum->ru_maxrss, usage->ru_maxrss);
}

/* When the supervisor is killed under systemd, all jobs are, and nobody says so: such a SIGKILL is no job's own end. */
static bool is_killed_by_shutdown(const struct run *r)
{
	return WIFSIGNALED(r->wait_status) && WTERMSIG(r->wait_status) == SIGKILL && !r->kill_delivered &&
	       r->supervisor_is_gone(r->context);
}

/* Exit 0 is success whatever was asked meanwhile; else what we did to it comes before what it did. */
static void decide_outcome(struct run *r)
{
	struct attempt_end *end = &r->end;
	int status = r->wait_status;

	end->exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
	end->signal = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
	end->core_dumped = WIFSIGNALED(status) && WCOREDUMP(status);
	if (end->exit_code == 0) {
		end->outcome = OUTCOME_SUCCEEDED;
	} else if (r->timed_out) {
		end->outcome = OUTCOME_TIMEOUT;
		end->limit = LIMIT_TIMEOUT;
	} else if (r->cancel_reason == CANCEL_ASKED) {
		end->outcome = OUTCOME_CANCELLED;
	} else if (r->cancel_reason == CANCEL_STOP || is_killed_by_shutdown(r)) {
		end->outcome = OUTCOME_LOST;
		end->lost_reason = LOST_STOPPED;
	} else {
		end->outcome = WIFEXITED(status) ? OUTCOME_FAILED : OUTCOME_SIGNALED;
	}
}

/* The state is changed before the news goes out: the next RUN may come at once. */
static void finish(struct run *r)
{
	struct attempt_end end = r->end;
	const struct mark *mark = &r->marks->all[r->mark];

	end.user_us = timeval_us(r->usage.ru_utime);
	end.system_us = timeval_us(r->usage.ru_stime);
	end.max_rss_bytes = (uint64_t)r->usage.ru_maxrss * 1024;
	output_stop(r->output);
	output_place(r->output, mark->job_id, mark->attempt, &end);
	r->state = RUN_IDLE;
	r->on_ended(r->context, r->mark, r->pid, &end);
}

static void finish_unstartable(struct run *r, enum start_step step, int error)
{
	r->end.outcome = OUTCOME_UNSTARTABLE;
	r->end.step = (uint8_t)step;
	r->end.error = error;
	r->end.exit_code = -1;
	r->end.ended_wall_ms = now_wall_ms();
	r->pid = 0;
	finish(r);
}

/* -- the start ------------------------------------------------------------------------------------------------- */

static int open_input(uint64_t input_id, int *ret_fd)
{
	char path[sizeof(INPUT_DIRECTORY) + 24];

	*ret_fd = -1;
	if (!input_id)
		return 0;
	snprintf(path, sizeof(path), INPUT_DIRECTORY "/%" PRIu64, input_id);
	*ret_fd = open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	return *ret_fd < 0 ? -errno : 0;
}

/* Descriptors, then the process: its pid, or 0 with *ret_failure. */
static pid_t start_process(struct run *r, struct launch *job, struct launch_failure *ret_failure)
{
	int write_fds[2] = { -1, -1 };
	pid_t pid = 0;

	int e = open_input(job->spec->input_id, &job->stdin_fd);
	if (e < 0) {
		*ret_failure = (struct launch_failure){ STEP_INPUT, -e };
		return 0;
	}
	e = output_start(r->output, job->spec->merge_output, job->spec->max_output_bytes, write_fds);
	if (e < 0) {
		*ret_failure = (struct launch_failure){ STEP_PIPE, -e };
	} else {
		job->stdout_fd = write_fds[0];
		job->stderr_fd = write_fds[1];
		r->started_us = now_monotonic_us();
		pid = launch_job(r->launcher, job, ret_failure);
	}
	close_fd(&job->stdin_fd);
	return pid;
}

static void start_job(struct run *r, struct launch *job, uint64_t now_ms)
{
	struct launch_failure failure = { 0 };

	r->end.merged = job->spec->merge_output;
	r->grace_ms = job->spec->grace_ms;
	(void)tmpdir_empty(r->tmpdir); /* best effort: what a job could make irremovable is no reason to fail the next */
	r->pid = start_process(r, job, &failure);
	if (failure.step != STEP_NONE) {
		finish_unstartable(r, failure.step, failure.error);
		return;
	}
	r->state = RUN_RUNNING;
	marks_set_pid(r->marks, r->mark, r->pid);
	if (job->spec->timeout_ms)
		r->timeout_at_ms = add_ms(now_ms, job->spec->timeout_ms);
}

/* A new attempt, nothing known of it; what belongs to the worker stays. */
static void reset(struct run *r, unsigned mark)
{
	r->mark = mark;
	r->pid = 0;
	r->timeout_at_ms = r->kill_at_ms = r->step_at_ms = NEVER;
	r->timed_out = r->kill_delivered = false;
	r->cancel_reason = 0;
	r->wait_status = 0;
	r->started_us = 0;
	memset(&r->usage, 0, sizeof(r->usage));
	memset(&r->end, 0, sizeof(r->end));
	r->end.started_wall_ms = now_wall_ms();
	output_reset(r->output, mark);
}

int run_start(struct run *r, const struct message_run *message, uint64_t epoch, struct slice queue, struct slice spec_data,
	      struct slice environment, uint64_t now_ms)
{
	struct spec spec = { 0 };

	if (r->state != RUN_IDLE)
		return 0;
	int mark = marks_start(r->marks, message, epoch);
	if (mark < 0)
		return mark == -ENOBUFS || mark == -EALREADY || mark == -ESTALE ? 0 : mark;

	reset(r, (unsigned)mark);
	int e = environment_check(environment);
	if (e == 0 && !name_is_valid(queue))
		e = -EBADMSG;
	if (e == 0)
		e = spec_decode(spec_data, &spec);
	if (e < 0) {
		finish_unstartable(r, STEP_SPEC, -e);
		return 0;
	}
	struct launch job = {
		.spec = &spec,
		.environment = environment,
		.queue = queue,
		.job_id = message->job_id,
		.attempt = message->attempt,
	};
	start_job(r, &job, now_ms);
	spec_deinit(&spec);
	return 0;
}

/* -- the end --------------------------------------------------------------------------------------------------- */

void run_check_output(struct run *r, uint64_t now_ms)
{
	if (r->state == RUN_DRAINING && (output_drain(r->output, now_ms) || now_ms >= r->step_at_ms))
		finish(r);
}

static void on_tree_empty(struct run *r, uint64_t now_ms)
{
	output_end_writing(r->output);
	r->state = RUN_DRAINING;
	r->step_at_ms = now_ms + HOLDER_MS;
	run_check_output(r, now_ms);
}

static bool is_known_child(pid_t pid, void *context)
{
	(void)pid;
	(void)context;
	return false;
}

static void kill_strays(struct run *r, uint64_t now_ms)
{
	if (tree_kill_pass(r->tree, is_known_child, NULL) == 0)
		on_tree_empty(r, now_ms);
	else
		r->step_at_ms = now_ms + (now_ms - r->ending_since_ms < STUCK_AFTER_MS ? KILL_PASS_MS : STUCK_PASS_MS);
}

/* Reap the dead among the strays. True when no child is left at all. A dying process hands us its children in the same step
 * that makes it reapable, so after the job's own reaping "no child" proves its tree empty, without any look at /proc. */
static bool reap_strays(struct run *r)
{
	struct rusage usage;

	for (;;) {
		siginfo_t info = { 0 };
		if (waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT | __WALL) < 0)
			return errno == ECHILD;
		if (!info.si_pid || (r->state == RUN_RUNNING && info.si_pid == r->pid))
			return false;
		if (wait4(info.si_pid, NULL, WNOHANG | __WALL, &usage) == info.si_pid)
			add_usage(&r->usage, &usage);
	}
}

void run_reap(struct run *r, uint64_t now_ms)
{
	struct rusage usage;

	if (r->state == RUN_RUNNING && wait4(r->pid, &r->wait_status, WNOHANG, &usage) == r->pid) {
		r->end.elapsed_us = now_monotonic_us() - r->started_us;
		r->end.ended_wall_ms = now_wall_ms();
		add_usage(&r->usage, &usage);
		decide_outcome(r);
		r->state = RUN_ENDING;
		r->ending_since_ms = r->step_at_ms = now_ms;
	}
	bool no_child = reap_strays(r);
	if (r->state == RUN_ENDING && no_child)
		on_tree_empty(r, now_ms);
}

/* -- signals and limits ---------------------------------------------------------------------------------------- */

bool run_has_token(const struct run *r, const uint8_t token[TOKEN_BYTES])
{
	return r->state != RUN_IDLE && memcmp(r->marks->all[r->mark].token, token, TOKEN_BYTES) == 0;
}

/* To the job and everything below it, orphans included: they are our children. Without memory for the look, to its group. */
static void signal_tree(struct run *r, int signal)
{
	if (tree_look(r->tree) < 0) {
		kill(-r->pid, signal);
		return;
	}
	for (size_t i = 0; i < r->tree->count; i++)
		(void)tree_signal(r->tree, r->tree->pids[i], signal);
}

void run_signal(struct run *r, int signal)
{
	if (r->state != RUN_RUNNING || signal <= 0 || signal > SIGRTMAX)
		return;
	r->kill_delivered = r->kill_delivered || signal == SIGKILL;
	signal_tree(r, signal);
}

/* SIGCONT behind SIGTERM: a stopped process handles it too. A second call can only shorten the grace. */
static void begin_end(struct run *r, uint64_t grace_ms, uint64_t now_ms)
{
	if (grace_ms && r->kill_at_ms == NEVER) {
		signal_tree(r, SIGTERM);
		signal_tree(r, SIGCONT);
	}
	r->kill_at_ms = MIN(r->kill_at_ms, add_ms(now_ms, grace_ms));
}

void run_cancel(struct run *r, enum cancel_reason reason, uint64_t grace_ms, uint64_t now_ms)
{
	if (r->state != RUN_RUNNING)
		return;
	/* Somebody's wish says more about the job than our own stop. */
	if (!r->cancel_reason || reason == CANCEL_ASKED)
		r->cancel_reason = (uint8_t)reason;
	begin_end(r, grace_ms == UINT64_MAX ? r->grace_ms : grace_ms, now_ms);
}

uint64_t run_deadline(const struct run *r)
{
	switch (r->state) {
	case RUN_RUNNING:
		return MIN(r->timeout_at_ms, r->kill_at_ms);
	case RUN_ENDING:
	case RUN_DRAINING:
		return r->step_at_ms;
	case RUN_IDLE:
		break;
	}
	return NEVER;
}

static void check_limits(struct run *r, uint64_t now_ms)
{
	if (now_ms >= r->timeout_at_ms) {
		r->timed_out = true;
		r->timeout_at_ms = NEVER;
		begin_end(r, r->grace_ms, now_ms);
	}
	/* The job's own death brings SIGCHLD, and what is left of its tree then falls to the kill passes. */
	if (now_ms >= r->kill_at_ms) {
		r->kill_at_ms = NEVER;
		signal_tree(r, SIGKILL);
	}
}

void run_tick(struct run *r, uint64_t now_ms)
{
	if (now_ms < run_deadline(r))
		return;
	switch (r->state) {
	case RUN_RUNNING:
		check_limits(r, now_ms);
		break;
	case RUN_ENDING:
		kill_strays(r, now_ms);
		break;
	case RUN_DRAINING:
		run_check_output(r, now_ms);
		break;
	case RUN_IDLE:
		break;
	}
}
