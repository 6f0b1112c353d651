/* How long to wait before the next start or retry: arithmetic only. */
#pragma once

#include <stdint.h>

#define BACKOFF_FIRST_MS 1000u  /* P7: 1 s doubling to 60 s */
#define BACKOFF_MOST_MS 60000u

/* @count: failures so far that count, from 1; 0 = no wait. first, 2 * first, 4 * first, ..., at most @most_ms. */
uint64_t backoff_ms(uint32_t count, uint64_t first_ms, uint64_t most_ms);
