#include "measure.h"

#include <fcntl.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>

extern char **environ;

uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * UINT64_C(1000000000) + (uint64_t)t.tv_nsec;
}

void give_up(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fputc('\n', stderr);
	exit(2);
}

void *allocate(size_t count, size_t size)
{
	void *memory = calloc(count, size);

	if (!memory)
		give_up("out of memory");
	return memory;
}

size_t parse_count(int letter, const char *text)
{
	uint64_t value;

	if (slice_to_uint(slice_of(text), UINT32_MAX, &value) < 0 || !value)
		give_up("-%c is not '%s' but a number from 1 on", letter, text);
	return value;
}

pid_t start_command(char **argv, bool silent)
{
	posix_spawn_file_actions_t actions;
	pid_t pid;
	int r = posix_spawn_file_actions_init(&actions);

	if (silent && r == 0)
		r = posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
	if (silent && r == 0)
		r = posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
	if (r == 0)
		r = posix_spawnp(&pid, argv[0], &actions, NULL, argv, environ);
	if (r)
		give_up("cannot start %s: %s", argv[0], strerror(r));
	posix_spawn_file_actions_destroy(&actions);
	return pid;
}

bool command_succeeded(pid_t pid)
{
	int status;

	if (waitpid(pid, &status, 0) < 0)
		give_up("waitpid: %s", strerror(errno));
	return status == 0;
}

void samples_init(struct samples *s, size_t cap)
{
	*s = (struct samples){ .ns = allocate(cap, sizeof(*s->ns)), .cap = cap };
}

void samples_add(struct samples *s, uint64_t ns, bool ok)
{
	if (s->count == s->cap)
		give_up("more samples than announced");
	s->ns[s->count++] = ns;
	s->failed += !ok;
}

static int compare(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

/* In microseconds: the smallest sample that @percent of all do not exceed. */
static double percentile(const struct samples *s, size_t percent)
{
	size_t rank = (s->count * percent + 99) / 100;

	return (double)s->ns[rank ? rank - 1 : 0] / 1e3;
}

void samples_print(struct samples *s)
{
	if (!s->count)
		give_up("no sample was taken");
	qsort(s->ns, s->count, sizeof(*s->ns), compare);
	printf("{\"tries\": %zu, \"failed\": %zu, \"p50_us\": %.1f, \"p99_us\": %.1f, \"max_us\": %.1f}\n", s->count, s->failed,
	       percentile(s, 50), percentile(s, 99), percentile(s, 100));
}
