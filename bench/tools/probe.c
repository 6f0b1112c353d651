/* How long a server takes to answer one request, from before it is sent until the whole reply is here, over one connection.
 * One line of JSON. An error counts as failed.
 *   probe -a SOCKET -n TRIES -p PAUSE_US [-r LOW:HIGH] WORD...
 * With -r, the word @ stands for a random whole number between LOW and HIGH. */
#include <stdio.h>
#include <time.h>

#include "measure.h"
#include "wire.h"

#define WARM_UP 3

static struct {
	const char *address;
	size_t tries, pause_us;
	uint64_t low, high;
} options = { .address = "", .tries = 100, .pause_us = 1000 };

/* The words with each @ replaced. */
static void make_request(struct buf *out, char *const *words, size_t count)
{
	const char **copy = allocate(count, sizeof(*copy));
	char number[24];
	uint64_t random;

	random_fill(&random, sizeof(random));
	snprintf(number, sizeof(number), "%ju", (uintmax_t)(options.low + random % (options.high - options.low + 1)));
	for (size_t i = 0; i < count; i++)
		copy[i] = strcmp(words[i], "@") == 0 ? number : words[i];
	buf_clear(out);
	wire_request(out, copy, count);
	free(copy);
}

static void parse_range(const char *text)
{
	char *end;

	options.low = strtoull(text, &end, 10);
	options.high = *end == ':' ? strtoull(end + 1, &end, 10) : 0;
	if (*end || options.high < options.low)
		give_up("-r is not '%s' but LOW:HIGH", text);
}

int main(int argc, char **argv)
{
	struct samples samples;
	struct buf request = { 0 };
	struct timespec pause;
	struct wire w;
	int letter;

	while ((letter = getopt(argc, argv, "+a:n:p:r:")) != -1) {
		switch (letter) {
		case 'a': options.address = optarg; break;
		case 'n': options.tries = parse_count(letter, optarg); break;
		case 'p': options.pause_us = parse_count(letter, optarg); break;
		case 'r': parse_range(optarg); break;
		default: return 2;
		}
	}
	if (optind == argc)
		give_up("a request is needed");
	pause = (struct timespec){ .tv_sec = (time_t)(options.pause_us / 1000000),
				   .tv_nsec = (long)(options.pause_us % 1000000 * 1000) };
	wire_open(&w, options.address);
	samples_init(&samples, options.tries);
	for (size_t i = 0; i < options.tries + WARM_UP; i++) {
		uint64_t begin_ns;
		bool ok;

		make_request(&request, argv + optind, (size_t)(argc - optind));
		begin_ns = now_ns();
		wire_send(&w, request.data, request.len);
		ok = *wire_await_reply(&w) != '-';
		if (i >= WARM_UP)
			samples_add(&samples, now_ns() - begin_ns, ok);
		nanosleep(&pause, NULL);
	}
	samples_print(&samples);
	buf_free(&request);
	return 0;
}
