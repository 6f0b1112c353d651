/* Bytes for people and for programs: escaped, quoted, JSON; lengths of time; points in time. */
#pragma once

#include <stdio.h>

#include "buf.h"
#include "jobpool.h"

/* The length of the valid UTF-8 sequence at @bytes (1..4), 0 when there is none (also for surrogates and overlong
 * forms). */
size_t utf8_length(const char *bytes, size_t len);
/* Append for a terminal: control bytes and what is not UTF-8 become \xNN, a backslash stays. */
void text_escape(struct buf *out, const char *bytes, size_t len);
/* Append as a word for a POSIX shell: bare where that is the same, else in single quotes. Bytes stay as they are. */
void text_quote(struct buf *out, const char *bytes, size_t len);
/* Append a command (array of bytes) for people: words quoted where needed, escaped; "..." behind it when it was cut. */
void text_command(struct buf *out, const struct jobpool_value *argv, bool cut);

/* Columns that @text, escaped, takes on a terminal. */
size_t text_width(const char *text);
/* Bytes of the beginning of @text that fit into @columns: whole characters, with the accents on the last. */
size_t text_cut(const char *text, size_t columns);

#define TIME_TEXT_BYTES 32
/* "3.2s", "4m05s", "2h10m", "5d03h". Returns @text. */
char *text_elapsed(uint64_t ms, char text[TIME_TEXT_BYTES]);
/* A time to come, which is not known to the tenth: "12s", then as above. Returns @text. */
char *text_left(uint64_t ms, char text[TIME_TEXT_BYTES]);
/* "1234/s", "2.5/s", "12/min", "3.0/h". Returns @text. */
char *text_rate(double per_second, char text[TIME_TEXT_BYTES]);
/* Local time "2024-05-01 12:00:03". Returns @text. */
char *text_time(int64_t wall_ms, char text[TIME_TEXT_BYTES]);
