/* Log lines. Each is built whole on the stack and leaves by one write(2) or one call of the sink, so that lines of several
 * threads and processes do not mix, and logging works when memory is short. Safe from any thread once the sink is set. */
#include "log.h"

#include <assert.h>
#include <stdatomic.h>
#include <stdio.h>
#include <time.h>

#define LINE_BYTES_MAX 2048
#define QUOTE_MARK '\001' /* what LOG_QUOTED puts around a value */

static const char *const level_names[] = {
	[LOG_DEBUG] = "debug",
	[LOG_INFO] = "info",
	[LOG_WARNING] = "warning",
	[LOG_ERROR] = "error",
};
static_assert(ARRAY_SIZE(level_names) == LOG_LEVEL_MAX, "a word for every level");

static const char *program;
static atomic_int least_level = LOG_INFO; /* a reload changes it while the store thread logs */
static log_sink line_sink;
static void *line_context;

/* A line under construction; what does not fit is dropped and @cut says so. */
struct line {
	char text[LINE_BYTES_MAX];
	size_t len;
	bool cut;
};

static const char ELLIPSIS[] = "...";
#define TEXT_MAX (LINE_BYTES_MAX - sizeof(ELLIPSIS)) /* keeps room for the ellipsis, its NUL is the line's end */

static void line_add(struct line *l, const char *bytes, size_t len)
{
	if (l->cut || len > TEXT_MAX - l->len) {
		l->cut = true; /* whole escapes only, and nothing after the first that is missing */
		return;
	}
	memcpy(l->text + l->len, bytes, len);
	l->len += len;
}

static void line_add_escaped(struct line *l, unsigned char c, bool quoted)
{
	char escape[5];

	if (quoted && (c == '"' || c == '\\'))
		line_add(l, (char[]){ '\\', (char)c }, 2);
	else if (c == '\n')
		line_add(l, "\\n", 2);
	else if (c < ' ' || c == 0x7f) {
		snprintf(escape, sizeof(escape), "\\x%02x", c);
		line_add(l, escape, 4);
	} else
		line_add(l, (char *)&c, 1);
}

/* "message" as one quoted value. */
static void line_add_quoted(struct line *l, const char *text)
{
	line_add(l, "\"", 1);
	for (; *text; text++)
		line_add_escaped(l, (unsigned char)*text, true);
	line_add(l, "\"", 1);
}

/* key=value pairs; the marks of LOG_QUOTED become quotes, and what lies between them is escaped as in a message. */
static void line_add_fields(struct line *l, const char *fields)
{
	bool quoted = false;

	for (; *fields; fields++) {
		if (*fields == QUOTE_MARK) {
			quoted = !quoted;
			line_add(l, "\"", 1);
		} else
			line_add_escaped(l, (unsigned char)*fields, quoted);
	}
}

static void line_begin(struct line *l, enum log_level level)
{
	char head[128], date[32];
	struct timespec now;
	struct tm utc;
	int len;

	clock_gettime(CLOCK_REALTIME, &now);
	gmtime_r(&now.tv_sec, &utc);
	strftime(date, sizeof(date), "%Y-%m-%dT%H:%M:%S", &utc);
	len = snprintf(head, sizeof(head), "time=%s.%03ldZ level=%s ", date, now.tv_nsec / 1000000, level_names[level]);
	line_add(l, head, (size_t)len);
	if (program) {
		line_add(l, "program=", 8);
		line_add(l, program, strlen(program));
		line_add(l, " ", 1);
	}
}

static void line_emit(struct line *l, enum log_level level)
{
	if (l->cut) {
		memcpy(l->text + l->len, ELLIPSIS, sizeof(ELLIPSIS) - 1);
		l->len += sizeof(ELLIPSIS) - 1;
	}
	l->text[l->len] = '\0';
	log_relay(level, l->text);
}

void log_set_program(const char *name)
{
	program = name;
}

void log_set_level(enum log_level least)
{
	atomic_store_explicit(&least_level, least, memory_order_relaxed);
}

void log_set_sink(log_sink sink, void *context)
{
	line_sink = sink;
	line_context = context;
}

int log_level_parse(struct slice word, enum log_level *ret_level)
{
	for (enum log_level level = 0; level < LOG_LEVEL_MAX; level++)
		if (slice_is_word(word, level_names[level])) {
			*ret_level = level;
			return 0;
		}
	return -EINVAL;
}

const char *log_level_name(enum log_level level)
{
	return (unsigned)level < LOG_LEVEL_MAX ? level_names[level] : "unknown";
}

void log_write(enum log_level level, const char *message, const char *fields, ...)
{
	struct line l = { .len = 0 };
	char text[LINE_BYTES_MAX];
	int saved = errno, len;
	va_list args;

	if ((int)level < atomic_load_explicit(&least_level, memory_order_relaxed))
		return;
	va_start(args, fields);
	len = vsnprintf(text, sizeof(text), fields, args);
	va_end(args);

	line_begin(&l, level);
	line_add(&l, "msg=", 4);
	line_add_quoted(&l, message);
	if (len > 0) {
		line_add(&l, " ", 1);
		line_add_fields(&l, text);
	}
	line_emit(&l, level);
	errno = saved;
}

int log_errno(int error, const char *format, ...)
{
	char message[LINE_BYTES_MAX], text[LINE_BYTES_MAX + 64];
	const char *reason = strerrordesc_np(-error); /* strerror() is neither thread-safe nor free of the locale */
	va_list args;

	va_start(args, format);
	vsnprintf(message, sizeof(message), format, args);
	va_end(args);
	if (reason)
		snprintf(text, sizeof(text), "%s: %s", message, reason);
	else
		snprintf(text, sizeof(text), "%s: error %d", message, -error);
	log_write(LOG_ERROR, text, "");
	return error;
}

void log_relay(enum log_level level, const char *line)
{
	char text[LINE_BYTES_MAX + 1];
	size_t len;

	if (line_sink) {
		line_sink(level, line, line_context);
		return;
	}
	len = MIN(strlen(line), sizeof(text) - 1);
	memcpy(text, line, len);
	text[len] = '\n';
	/* Best effort: there is nobody to tell that telling failed. */
	(void)write_all(STDERR_FILENO, text, len + 1);
}
