/* What the tools of the benchmark share: the clock, commands that are started and waited for, percentiles.
 * A tool that cannot go on says why on stderr and exits with 2: a figure is right or it is not there. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "util.h"

/* CLOCK_MONOTONIC in nanoseconds. */
uint64_t now_ns(void);
_Noreturn void give_up(const char *format, ...) PRINTF_LIKE(1, 2);
void *allocate(size_t count, size_t size); /* zeroed, never NULL */
/* A whole decimal number from 1 on, for option @letter. */
size_t parse_count(int letter, const char *text);

/* Start @argv, found by PATH, by posix_spawn; stdin and stdout of a @silent one are /dev/null. */
pid_t start_command(char **argv, bool silent);
/* Wait for a child (-1: for any). true: it exited with 0. */
bool command_succeeded(pid_t pid);

/* Durations of one kind of try. */
struct samples {
	uint64_t *ns;
	size_t count, cap, failed;
};

void samples_init(struct samples *s, size_t cap);
void samples_add(struct samples *s, uint64_t ns, bool ok);
/* One line of JSON: tries, failed, p50_us, p99_us, max_us (nearest rank). Sorts the samples. */
void samples_print(struct samples *s);
