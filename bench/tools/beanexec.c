/* A job runner made of beanstalkd: one producer that puts N jobs with at most W requests unanswered, and K consumers that
 * reserve a job, run the command, look at its exit status and delete the job. One line of JSON: wall_s, ok.
 *   beanexec -a SOCKET -n N -k K -w W COMMAND... */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>

#include "measure.h"
#include "wire.h"

#define PUT "put 100 0 60 1\r\nx\r\n"
#define RESERVE "reserve\r\n"

static const char *address = "";
static size_t n = 1000, consumers = 2, window = 64;
static char **command;
static atomic_size_t taken, ok;

/* The rest of a line that begins with @word. */
static const char *expect(const char *line, const char *word)
{
	if (strncmp(line, word, strlen(word)) != 0)
		give_up("%s was expected, not %s", word, line);
	return line + strlen(word);
}

/* So many in one write. */
static void put(struct wire *w, size_t count)
{
	struct buf out = { 0 };

	while (count--)
		buf_append_text(&out, PUT);
	if (out.failed)
		give_up("out of memory");
	wire_send(w, out.data, out.len);
	buf_free(&out);
}

static void *produce(void *unused)
{
	size_t sent = MIN(window, n), answered = 0, more;
	struct wire w;
	char *line;

	(void)unused;
	wire_open(&w, address);
	put(&w, sent);
	while (answered < n) {
		wire_fill(&w);
		for (; (line = wire_line(&w)); answered++)
			expect(line, "INSERTED ");
		more = MIN(n - sent, window - (sent - answered));
		put(&w, more);
		sent += more;
	}
	close_fd(&w.fd);
	buf_free(&w.in);
	return NULL;
}

static void *consume(void *unused)
{
	char request[64];
	struct wire w;
	unsigned long id;

	(void)unused;
	wire_open(&w, address);
	while (atomic_fetch_add(&taken, 1) < n) {
		wire_send(&w, RESERVE, strlen(RESERVE));
		id = strtoul(expect(wire_await_line(&w), "RESERVED "), NULL, 10);
		wire_await_line(&w); /* the payload */
		ok += command_succeeded(start_command(command, false));
		snprintf(request, sizeof(request), "delete %lu\r\n", id);
		wire_send(&w, request, strlen(request));
		expect(wire_await_line(&w), "DELETED");
	}
	close_fd(&w.fd);
	buf_free(&w.in);
	return NULL;
}

int main(int argc, char **argv)
{
	pthread_t *threads;
	uint64_t begin_ns;
	int letter;

	while ((letter = getopt(argc, argv, "+a:n:k:w:")) != -1) {
		switch (letter) {
		case 'a': address = optarg; break;
		case 'n': n = parse_count(letter, optarg); break;
		case 'k': consumers = parse_count(letter, optarg); break;
		case 'w': window = parse_count(letter, optarg); break;
		default: return 2;
		}
	}
	command = argv + optind;
	if (!*command)
		give_up("a command is needed");
	threads = allocate(consumers + 1, sizeof(*threads));
	begin_ns = now_ns();
	for (size_t i = 0; i <= consumers; i++)
		if (pthread_create(&threads[i], NULL, i ? consume : produce, NULL))
			give_up("cannot start a thread");
	for (size_t i = 0; i <= consumers; i++)
		pthread_join(threads[i], NULL);
	printf("{\"wall_s\": %.6f, \"ok\": %zu}\n", (double)(now_ns() - begin_ns) / 1e9, ok);
	free(threads);
	return 0;
}
