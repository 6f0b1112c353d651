/* Levelled log lines: `time=... level=info msg="..." job=7 ...`; on stderr, or to the sink that the program sets. */
#pragma once

#include <stdarg.h>
#include <stdbool.h>

#include "util.h"

/* A log call without further fields passes "" as their format: that is meant. */
#pragma GCC diagnostic ignored "-Wformat-zero-length"

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARNING, LOG_ERROR, LOG_LEVEL_MAX };

/* @line: one whole line without its newline, NUL-terminated, control bytes escaped; borrowed for the call. */
typedef void (*log_sink)(enum log_level level, const char *line, void *context);

void log_set_program(const char *name);        /* shown as program=...; borrowed for ever */
void log_set_level(enum log_level least);      /* default LOG_INFO */
int log_level_parse(struct slice word, enum log_level *ret_level);
const char *log_level_name(enum log_level level);
void log_set_sink(log_sink sink, void *context); /* NULL: stderr, one write(2) a line */

/* The message is text; further facts go behind it as key=value pairs in @fields (printf style, may be ""):
 *   log_info("job ended", "job=%" PRIu64 " outcome=%s", id, name);
 * A value with spaces is to be written with LOG_QUOTED. At most 2 KiB a line, longer ones are cut with "...". */
#define LOG_QUOTED "\001%s\001"
void log_write(enum log_level level, const char *message, const char *fields, ...) PRINTF_LIKE(3, 4);
#define log_debug(message, ...) log_write(LOG_DEBUG, message, __VA_ARGS__)
#define log_info(message, ...) log_write(LOG_INFO, message, __VA_ARGS__)
#define log_warning(message, ...) log_write(LOG_WARNING, message, __VA_ARGS__)
#define log_error(message, ...) log_write(LOG_ERROR, message, __VA_ARGS__)

/* "format...: strerror" at LOG_ERROR; returns @error (negative errno), so that `return log_errno(r, ...)` reads well. */
int log_errno(int error, const char *format, ...) PRINTF_LIKE(2, 3);
/* A finished line of another program (the supervisor's, relayed): goes to the sink unchanged. */
void log_relay(enum log_level level, const char *line);
