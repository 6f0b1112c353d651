/* How fast a count grows, and how long the rest will take. Reads no clock. */
#pragma once

#include <stdint.h>

#define PACE_SAMPLES 32u

struct pace {
	struct pace_sample {
		uint64_t ms, count;
	} first, recent[PACE_SAMPLES];  /* @recent: a ring, at least PACE_APART_MS apart */
	uint64_t taken;                 /* samples in all; the ring has the last ones */
};

void pace_begin(struct pace *pace, uint64_t now_ms, uint64_t count);
/* The count is now @count. To be called several times a second, or as it comes. */
void pace_note(struct pace *pace, uint64_t now_ms, uint64_t count);
/* Of the last quarter of a minute, or since the beginning while so little has happened that this would say nothing. 0 = not known. */
double pace_per_second(const struct pace *pace, uint64_t now_ms, uint64_t count);
/* Milliseconds until @left more are done at this pace; UINT64_MAX = not known. */
uint64_t pace_left_ms(double per_second, uint64_t left);
