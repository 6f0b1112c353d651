/* One job at a time on an idle jobpoold, over one connection: from the submission until its end is reported; and, in
 * turn with it, posix_spawn and wait of the same command. Two lines of JSON: spawn and wait, the job.
 *   joblatency -a SOCKET -n TRIES COMMAND... */
#include <time.h>

#include "measure.h"
#include "wire.h"

#define WARM_UP 20

/* Pauses between tries, so that the daemon has come to rest. */
static const struct timespec rest = { .tv_nsec = 500000 };

static bool run_job(struct wire *w, const struct buf *requests)
{
	bool accepted;

	wire_send(w, requests->data, requests->len);
	accepted = *wire_await_reply(w) == ':';
	return *wire_await_reply(w) == '*' && accepted;
}

int main(int argc, char **argv)
{
	const char *const wait[] = { "WAIT", "-1", "LAST" };
	const char *address = "";
	struct samples spawned, jobs;
	struct buf requests = { 0 };
	size_t tries = 100;
	struct wire w;
	int letter;

	while ((letter = getopt(argc, argv, "+a:n:")) != -1) {
		if (letter == 'a')
			address = optarg;
		else if (letter == 'n')
			tries = parse_count(letter, optarg);
		else
			return 2;
	}
	argv += optind;
	if (!*argv)
		give_up("a command is needed");
	wire_open(&w, address);
	wire_submission(&requests, argv, (size_t)(argc - optind));
	wire_request(&requests, wait, ARRAY_SIZE(wait)); /* both are sent in one write */
	samples_init(&spawned, tries);
	samples_init(&jobs, tries);
	for (size_t i = 0; i < tries + WARM_UP; i++) {
		uint64_t t0 = now_ns(), t1, t2;
		bool spawned_ok = command_succeeded(start_command(argv, false)), job_ok;

		t1 = now_ns();
		nanosleep(&rest, NULL);
		t2 = now_ns();
		job_ok = run_job(&w, &requests);
		if (i >= WARM_UP) {
			samples_add(&jobs, now_ns() - t2, job_ok);
			samples_add(&spawned, t1 - t0, spawned_ok);
		}
		nanosleep(&rest, NULL);
	}
	samples_print(&spawned);
	samples_print(&jobs);
	buf_free(&requests);
	return 0;
}
