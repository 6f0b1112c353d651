/* Put N things into a server, by C clients of which each has at most W requests unanswered: as answers come, so many new
 * ones leave in one write. One line of JSON: wall_s, from before the first request until after the last answer.
 *   putload -a SOCKET -n N -c CLIENTS -w WINDOW WORD...    the words are one RESP request, answered by an integer
 *   putload -a SOCKET -n N -c CLIENTS -w WINDOW -b BYTES   beanstalkd: put jobs of so many bytes, answered by INSERTED
 * Ten # in a row stand for the number of the request. */
#include <stdio.h>
#include <sys/epoll.h>

#include "measure.h"
#include "wire.h"

#define PLACE "##########"
#define EVENTS 64

static struct {
	const char *address;
	size_t n, clients, window, put_bytes;
} options = { .address = "", .n = 1000, .clients = 1, .window = 1 };

static struct buf request;
static size_t place;     /* of the number in @request; its length when there is none */
static char expected;    /* first byte of a good answer */
static size_t sent, answered;

/* Send @count more, or what is left of all. */
static void send_more(struct wire *w, size_t count)
{
	struct buf out = { 0 };
	char number[24];

	for (; count && sent < options.n; count--, sent++) {
		buf_append(&out, request.data, request.len);
		if (!out.failed && place < request.len) {
			snprintf(number, sizeof(number), "%010zu", sent);
			memcpy(out.data + out.len - request.len + place, number, strlen(PLACE));
		}
	}
	if (out.failed)
		give_up("out of memory");
	if (out.len)
		wire_send(w, out.data, out.len);
	buf_free(&out);
}

static void receive(struct wire *w)
{
	size_t count = 0;
	char *line;

	wire_fill(w);
	for (; (line = wire_line(w)); count++)
		if (*line != expected)
			give_up("refused: %s", line);
	answered += count;
	send_more(w, count);
}

static void run(struct wire *wires)
{
	struct epoll_event events[EVENTS];
	int epoll = epoll_create1(EPOLL_CLOEXEC), count;

	for (size_t i = 0; i < options.clients; i++) {
		struct epoll_event event = { .events = EPOLLIN, .data.ptr = &wires[i] };

		if (epoll_ctl(epoll, EPOLL_CTL_ADD, wires[i].fd, &event) < 0)
			give_up("epoll_ctl: %s", strerror(errno));
		send_more(&wires[i], options.window);
	}
	while (answered < options.n) {
		count = epoll_wait(epoll, events, EVENTS, -1);
		for (int i = 0; i < count; i++)
			receive(events[i].data.ptr);
	}
	close_fd(&epoll);
}

static void make_request(char **words, size_t count)
{
	const char *found;

	if (options.put_bytes) {
		buf_printf(&request, "put 100 0 60 %zu\r\n%-*s\r\n", options.put_bytes, (int)options.put_bytes, PLACE);
		expected = 'I';
	} else if (count) {
		wire_request(&request, (const char *const *)words, count);
		expected = ':';
	} else {
		give_up("a request is needed");
	}
	if (request.failed)
		give_up("out of memory");
	found = memmem(request.data, request.len, PLACE, strlen(PLACE));
	place = found ? (size_t)(found - request.data) : request.len;
}

int main(int argc, char **argv)
{
	struct wire *wires;
	uint64_t begin_ns;
	int letter;

	while ((letter = getopt(argc, argv, "+a:n:c:w:b:")) != -1) {
		switch (letter) {
		case 'a': options.address = optarg; break;
		case 'n': options.n = parse_count(letter, optarg); break;
		case 'c': options.clients = parse_count(letter, optarg); break;
		case 'w': options.window = parse_count(letter, optarg); break;
		case 'b': options.put_bytes = parse_count(letter, optarg); break;
		default: return 2;
		}
	}
	make_request(argv + optind, (size_t)(argc - optind));
	wires = allocate(options.clients, sizeof(*wires));
	for (size_t i = 0; i < options.clients; i++)
		wire_open(&wires[i], options.address);
	begin_ns = now_ns();
	run(wires);
	printf("{\"wall_s\": %.6f}\n", (double)(now_ns() - begin_ns) / 1e9);
	free(wires);
	buf_free(&request);
	return 0;
}
