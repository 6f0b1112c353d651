/* How long one request may have the store's thread: what can be cut anywhere stops then, and is gone on with by another request. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <time.h>

struct turn {
	uint64_t end_ns;
	unsigned steps, steps_per_look; /* the clock is looked at once in so many */
};

static inline uint64_t turn_now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

static inline struct turn turn_begin(uint64_t length_ns, unsigned steps_per_look)
{
	return (struct turn){ .end_ns = turn_now_ns() + length_ns, .steps_per_look = steps_per_look };
}

/* After each step. */
static inline bool turn_is_over(struct turn *turn)
{
	return ++turn->steps % turn->steps_per_look == 0 && turn_now_ns() >= turn->end_ns;
}
