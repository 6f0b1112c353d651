/* Durations and sizes as people write them: "500ms", "10s", "1h30m", "8h", "7d"; "64KiB", "10MB", "1GiB". */
#pragma once

#include <stdint.h>

#include "util.h"

/* Units ms s m h d w, may be summed ("1h30m"), fractions with one dot ("1.5s"); a bare number is seconds.
 * 0; -EINVAL (not a duration) or -ERANGE (above UINT64_MAX / 4 ms): *ret_ms untouched. */
int duration_parse(struct slice text, uint64_t *ret_ms);
/* Units B, K KB KiB, M MB MiB, G GB GiB, T TB TiB (K = KiB = 1024, KB = 1000), any case; a bare number is bytes.
 * Fractions and errors as above. */
int size_parse(struct slice text, uint64_t *ret_bytes);

#define UNITS_TEXT_BYTES 32
/* Exact form in whole units that the parser reads back to the same value: 90000 -> "1m30s", 65536 -> "64KiB". Returns @text. */
char *duration_format(uint64_t ms, char text[UNITS_TEXT_BYTES]);
char *size_format(uint64_t bytes, char text[UNITS_TEXT_BYTES]);
