/* Rates of the last minute. */
#include "rate.h"

#include <string.h>

#include "util.h"

void rate_add(struct rate *rate, uint64_t now_ms)
{
	uint64_t now = now_ms / RATE_PIECE_MS;

	if (now >= rate->piece + RATE_PIECES)
		memset(rate->counts, 0, sizeof(rate->counts));
	else
		for (uint64_t piece = rate->piece + 1; piece <= now; piece++)
			rate->counts[piece % RATE_PIECES] = 0;
	rate->piece = MAX(rate->piece, now);
	rate->counts[rate->piece % RATE_PIECES]++;
}

uint64_t rate_per_minute(const struct rate *rate, uint64_t now_ms)
{
	uint64_t now = MAX(now_ms / RATE_PIECE_MS, rate->piece), sum = 0;

	for (uint64_t age = 0; age < RATE_PIECES; age++) {
		uint64_t count;

		if (now < age || now - age > rate->piece)
			continue; /* before all time; or nothing has been counted since */
		if (now - age + RATE_PIECES <= rate->piece)
			break;
		count = rate->counts[(now - age) % RATE_PIECES];
		if (age == RATE_PIECES - 1)
			count = count * (RATE_PIECE_MS - now_ms % RATE_PIECE_MS) / RATE_PIECE_MS;
		sum += count;
	}
	return sum;
}
