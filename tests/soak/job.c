/* The job of the soak: as small as a program can be, linked statically where that is possible, since half a million of it run.
 *
 *     job MODE TAG [NUMBER]
 *
 * Started in a directory with a file `ledger`, it first adds the line "id attempt TAG" to it, in one write, so that no run of it goes
 * unseen and none is seen twice. Then it does what MODE says. */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int do_exit(const char *tag, unsigned number)
{
	(void)tag;
	return (int)number;
}

/* NUMBER bytes on stdout: the tag, line by line. */
static int do_print(const char *tag, unsigned number)
{
	char block[4096];
	size_t line = strlen(tag) + 1, len = 0, bytes;

	while (len + line <= sizeof(block)) {
		memcpy(block + len, tag, line - 1);
		block[len + line - 1] = '\n';
		len += line;
	}
	while (number) {
		bytes = number < len ? number : len;
		if (write(STDOUT_FILENO, block, bytes) != (ssize_t)bytes)
			return 111;
		number -= (unsigned)bytes;
	}
	return 0;
}

static int do_copy(const char *tag, unsigned number)
{
	char block[4096];
	ssize_t n;

	(void)tag;
	(void)number;
	while ((n = read(STDIN_FILENO, block, sizeof(block))) > 0)
		if (write(STDOUT_FILENO, block, (size_t)n) != n)
			return 111;
	return n < 0 ? 111 : 0;
}

/* Fails at the first attempt only. */
static int do_flaky(const char *tag, unsigned number)
{
	const char *attempt = getenv("JOBPOOL_ATTEMPT");

	(void)tag;
	(void)number;
	return attempt && strcmp(attempt, "1") == 0;
}

/* Until a signal ends it. */
static int do_pause(const char *tag, unsigned number)
{
	(void)tag;
	(void)number;
	pause();
	return 111;
}

static int do_raise(const char *tag, unsigned number)
{
	(void)tag;
	raise((int)number);
	return 111;
}

/* Leaves a file in the worker's directory for such. */
static int do_litter(const char *tag, unsigned number)
{
	const char *directory = getenv("JOBPOOL_TMPDIR");
	char path[4096];

	(void)number;
	snprintf(path, sizeof(path), "%s/%s", directory ? directory : ".", tag);
	return open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600) < 0 ? 111 : 0;
}

/* Leaves a process behind, in a session of its own. */
static int do_orphan(const char *tag, unsigned number)
{
	switch (fork()) {
	case -1:
		return 111;
	case 0:
		setsid();
		return do_pause(tag, number);
	default:
		return 0;
	}
}

static const struct mode {
	const char *name;
	int (*run)(const char *tag, unsigned number);
} modes[] = {
	{ "exit", do_exit },   { "print", do_print }, { "copy", do_copy },     { "flaky", do_flaky },
	{ "pause", do_pause }, { "raise", do_raise }, { "litter", do_litter }, { "orphan", do_orphan },
};

static int note(const char *tag)
{
	const char *id = getenv("JOBPOOL_JOB_ID"), *attempt = getenv("JOBPOOL_ATTEMPT");
	char line[128];
	int len, fd = open("ledger", O_WRONLY | O_APPEND | O_CLOEXEC);

	if (fd < 0 || !id || !attempt)
		return -1;
	len = snprintf(line, sizeof(line), "%s %s %s\n", id, attempt, tag);
	return write(fd, line, (size_t)len) == len ? close(fd) : -1;
}

int main(int argc, char **argv)
{
	if (argc < 3 || note(argv[2]) < 0)
		return 112;
	for (size_t i = 0; i < sizeof(modes) / sizeof(modes[0]); i++)
		if (strcmp(argv[1], modes[i].name) == 0)
			return modes[i].run(argv[2], argc > 3 ? (unsigned)strtoul(argv[3], NULL, 10) : 0);
	return 112;
}
