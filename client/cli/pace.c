/* How fast a count grows. */
#include "pace.h"

#include "util.h"

#define PACE_APART_MS 500u
#define COUNT_LEAST 5u          /* what has happened fewer times has no rate of its own */
#define BEGIN_LEAST_MS 300u     /* before, any rate is chance */
#define LEFT_MOST_MS 8.64e10    /* a thousand days: more is no forecast */

void pace_begin(struct pace *pace, uint64_t now_ms, uint64_t count)
{
	*pace = (struct pace){ .first = { now_ms, count } };
}

static const struct pace_sample *sample_at(const struct pace *pace, uint64_t number)
{
	return number ? &pace->recent[number % PACE_SAMPLES] : &pace->first;
}

void pace_note(struct pace *pace, uint64_t now_ms, uint64_t count)
{
	if (now_ms >= sample_at(pace, pace->taken)->ms + PACE_APART_MS) {
		pace->taken++;
		pace->recent[pace->taken % PACE_SAMPLES] = (struct pace_sample){ now_ms, count };
	}
}

double pace_per_second(const struct pace *pace, uint64_t now_ms, uint64_t count)
{
	const struct pace_sample *from = sample_at(pace, pace->taken < PACE_SAMPLES ? 0 : pace->taken - PACE_SAMPLES + 1);

	if (count < from->count + COUNT_LEAST)
		from = &pace->first;
	if (now_ms < from->ms + BEGIN_LEAST_MS || count <= from->count)
		return 0;
	return (double)(count - from->count) * 1000 / (double)(now_ms - from->ms);
}

uint64_t pace_left_ms(double per_second, uint64_t left)
{
	double ms = per_second > 0 ? (double)left * 1000 / per_second : LEFT_MOST_MS;

	return ms < LEFT_MOST_MS ? (uint64_t)ms : UINT64_MAX;
}
