/* How often something happened during the last minute: counts by pieces of five seconds, advanced when they are looked at, so
 * that nothing has to wake up for them. Knows no clock: the caller says what time it is. */
#pragma once

#include <stdint.h>

#define RATE_PIECE_MS 5000u
#define RATE_PIECES 13u      /* the piece that now belongs to, and the twelve before it: all that a minute can touch */

/* All zero is a good beginning. */
struct rate {
	uint64_t piece;                /* the last one that was counted in: its time / RATE_PIECE_MS */
	uint32_t counts[RATE_PIECES];  /* of piece n at n % RATE_PIECES; those up to @piece are of the last RATE_PIECES */
};

/* It has happened once more. @now_ms: monotonic. */
void rate_add(struct rate *rate, uint64_t now_ms);
/* How often in the minute before @now_ms. Of the piece that has begun before that minute, the share that lies within it counts. */
uint64_t rate_per_minute(const struct rate *rate, uint64_t now_ms);
