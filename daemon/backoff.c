/* See backoff.h. */
#include "backoff.h"

#include "util.h"

uint64_t backoff_ms(uint32_t count, uint64_t first_ms, uint64_t most_ms)
{
	uint64_t ms = first_ms;

	if (!count)
		return 0;
	while (--count && ms < most_ms)
		ms *= 2;
	return MIN(ms, most_ms);
}
