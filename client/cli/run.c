/* run and log -f: follow a job, its output on ours. */
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <sys/signalfd.h>

#include "connect.h"
#include "follow.h"
#include "pool_check.h"
#include "submission.h"
#include "verbs.h"

#define TWICE_MS 2000 /* a second Ctrl-C within this detaches */

struct run {
	struct cli *cli;
	struct jobpool_follow *follow;
	int wanted;            /* signal to forward once the job's id is known; 0 = none */
	uint64_t interrupt_ms; /* when the last Ctrl-C came; 0 = none */
	bool detached;
};

/* SIGINT and SIGTERM come as bytes of a descriptor, which the library watches while it waits. They do so once they are
 * blocked: before there is a job they end us, as they end any program. */
static int open_signals(struct cli *cli, sigset_t *ret_signals)
{
	sigemptyset(ret_signals);
	sigaddset(ret_signals, SIGINT);
	sigaddset(ret_signals, SIGTERM);
	cli->interrupt_fd = signalfd(-1, ret_signals, SFD_CLOEXEC | SFD_NONBLOCK);
	return cli->interrupt_fd;
}

static void forward_signal(struct run *run)
{
	uint64_t id = jobpool_follow_id(run->follow);
	const char *name = run->wanted == SIGINT ? "INT" : "TERM";
	struct jobpool *second;
	int r;

	if (!run->wanted || !id)
		return;
	run->wanted = 0;
	/* The first connection is busy following. */
	second = cli_connect_again(run->cli);
	if (!second)
		return;
	r = jobpool_process_signal(second, id, name);
	/* No process to signal yet: what was interrupted in the foreground shall not start later. */
	if (r < 0 && strcmp(jobpool_error(second)->code, "ERR") == 0 && jobpool_process_terminate(second, id) == 0)
		cli_say("cancelled job %" PRIu64 ", which was not running", id);
	else if (r < 0)
		cli_fail_with(run->cli, jobpool_error(second), "the signal");
	else
		cli_say("sent SIG%s to job %" PRIu64 "%s", name, id,
			name[0] == 'I' ? "; press Ctrl-C again to leave it running by itself" : "");
	jobpool_close(second);
}

static void take_signals(struct run *run)
{
	struct signalfd_siginfo info;

	while (read(run->cli->interrupt_fd, &info, sizeof(info)) == sizeof(info)) {
		uint64_t now_ms = now_monotonic_ms();

		if (info.ssi_signo == SIGINT && run->interrupt_ms && now_ms - run->interrupt_ms <= TWICE_MS)
			run->detached = true;
		if (info.ssi_signo == SIGINT)
			run->interrupt_ms = now_ms;
		run->wanted = (int)info.ssi_signo;
	}
}

static int say_detached(const struct run *run)
{
	uint64_t id = jobpool_follow_id(run->follow);

	if (id)
		cli_say("left job %" PRIu64 " to itself; follow it with `jobpool log -f %" PRIu64
			"`, get its code with `jobpool wait %" PRIu64 "`",
			id, id, id);
	else
		cli_say("left before the daemon answered; `jobpool list` shows whether the job was submitted");
	return EXIT_DETACHED;
}

static int say_lost(const struct run *run)
{
	uint64_t id = jobpool_follow_id(run->follow);
	int code = cli_fail(run->cli, NULL);

	if (id)
		cli_say("job %" PRIu64 " is not ended by that; `jobpool log -f %" PRIu64 "` shows it, `jobpool wait %" PRIu64
			"` gets its code",
			id, id, id);
	return code;
}

static int run_follow(struct run *run)
{
	struct jobpool_news news;

	for (;;) {
		int r = jobpool_follow_next(run->follow, &news);

		if (r == -EINTR)
			take_signals(run);
		else if (r < 0)
			return say_lost(run);
		if (run->detached)
			return say_detached(run);
		forward_signal(run);
		if (r == -EINTR)
			continue;
		r = follow_print(&news, FOLLOW_BOTH);
		if (r < 0) {
			cli_say("cannot write the output of job %" PRIu64 ": %s; it goes on by itself",
				jobpool_follow_id(run->follow), strerror(-r));
			return EXIT_JOBPOOL;
		}
		if (news.job)
			return explain_job(news.job);
	}
}

int verb_run(struct cli *cli)
{
	struct submission s = { 0 };
	struct run run = { .cli = cli };
	sigset_t signals;
	int r;

	if (open_signals(cli, &signals) < 0) {
		cli_say("cannot watch for signals: %s", strerror(errno));
		return EXIT_JOBPOOL;
	}
	r = cli_connect(cli);
	if (r)
		return r;
	warn_if_only_worker(cli, cli_option(cli, "queue"), NULL, 0);
	r = submission_init(&s, cli, true);
	sigprocmask(SIG_BLOCK, &signals, NULL);
	if (r == 0)
		r = jobpool_follow_start(cli->jobpool, &s.spec, &run.follow) < 0 ? cli_fail(cli, NULL)
										 : run_follow(&run);
	jobpool_follow_free(run.follow);
	submission_deinit(&s);
	return r;
}
