/* Keep W jobs in flight in jobpoold, over one connection that submits and one that waits for the ends, in order; until
 * SIGTERM, then wait for the rest. Prints "steady" once W jobs have ended, at the end one line of JSON: ended.
 *   flight -a SOCKET -w W COMMAND... */
#include <poll.h>
#include <signal.h>
#include <stdio.h>

#include "measure.h"
#include "wire.h"

static volatile sig_atomic_t stopping;

struct flight {
	struct wire submitter, waiter;
	struct buf request;    /* one submission */
	size_t window, unfinished, ended;
};

static void on_term(int number)
{
	(void)number;
	stopping = 1;
}

static void submit(struct flight *f, size_t count)
{
	struct buf out = { 0 };

	for (size_t i = 0; i < count; i++)
		buf_append(&out, f->request.data, f->request.len);
	if (out.failed)
		give_up("out of memory");
	wire_send(&f->submitter, out.data, out.len);
	buf_free(&out);
	f->unfinished += count;
}

/* Ask for the end of each job whose id has come. */
static void on_accepted(struct flight *f)
{
	struct buf out = { 0 };
	char *answer;

	wire_fill(&f->submitter);
	while ((answer = wire_reply(&f->submitter))) {
		const char *words[] = { "WAIT", "-1", answer + 1 };

		if (*answer != ':')
			give_up("refused: %s", answer);
		wire_request(&out, words, ARRAY_SIZE(words));
	}
	if (out.len)
		wire_send(&f->waiter, out.data, out.len);
	buf_free(&out);
}

static void on_ended(struct flight *f)
{
	size_t count = 0;
	char *answer;

	wire_fill(&f->waiter);
	for (; (answer = wire_reply(&f->waiter)); count++)
		if (*answer != '*')
			give_up("refused: %s", answer);
	if (f->ended < f->window && f->ended + count >= f->window) {
		puts("steady");
		fflush(stdout);
	}
	f->ended += count;
	f->unfinished -= count;
	if (count && !stopping)
		submit(f, count);
}

int main(int argc, char **argv)
{
	struct flight f = { .window = 256 };
	const char *address = "";
	struct pollfd fds[2];
	int letter;

	while ((letter = getopt(argc, argv, "+a:w:")) != -1) {
		if (letter == 'a')
			address = optarg;
		else if (letter == 'w')
			f.window = parse_count(letter, optarg);
		else
			return 2;
	}
	signal(SIGTERM, on_term);
	wire_submission(&f.request, argv + optind, (size_t)(argc - optind));
	wire_open(&f.submitter, address);
	wire_open(&f.waiter, address);
	submit(&f, f.window);
	while (f.unfinished) {
		fds[0] = (struct pollfd){ .fd = f.submitter.fd, .events = POLLIN };
		fds[1] = (struct pollfd){ .fd = f.waiter.fd, .events = POLLIN };
		if (poll(fds, ARRAY_SIZE(fds), -1) < 0)
			continue; /* by the signal */
		if (fds[0].revents)
			on_accepted(&f);
		if (fds[1].revents)
			on_ended(&f);
	}
	printf("{\"ended\": %zu}\n", f.ended);
	buf_free(&f.request);
	return 0;
}
