/* RESP2 requests and replies. Why not a library's parser: those reserve what a header promises before a limit can refuse it;
 * here a length is judged when its header line is read, and memory grows with the bytes that have arrived. */
#include "resp.h"

#include <assert.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

#define ARGV_CAP_FIRST 16
#define ARGV_CAP_KEPT_MAX 1024 /* one huge request must not make its connection huge for ever */
#define ERROR_BYTES_MAX 512

/* *3\r\n  $4\r\n <4 bytes>\r\n  $2\r\n ...
 * COUNT   LENGTH PAYLOAD        LENGTH */
enum parser_state { AT_COUNT, AT_LENGTH, AT_PAYLOAD, BROKEN };

static enum resp_result parser_fail(struct resp_parser *p, const char *format, ...) PRINTF_LIKE(2, 3);
static enum resp_result parser_fail(struct resp_parser *p, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(p->error, sizeof(p->error), format, args);
	va_end(args);
	p->state = BROKEN;
	return RESP_ERROR;
}

/* The byte as a message can show it. */
static const char *show_byte(char c, char text[8])
{
	snprintf(text, 8, c > ' ' && c < 0x7f ? "'%c'" : "\\x%02x", (unsigned char)c);
	return text;
}

static enum resp_result fail_type(struct resp_parser *p, char wanted, char got)
{
	char text[8];

	if (wanted == '*' && strchr("_#,(!=%~>|", got) && got)
		return parser_fail(p, "SYNTAX RESP3 types are not supported: send an array of bulk strings (RESP2)");
	if (wanted == '*')
		return parser_fail(
			p, "SYNTAX inline commands are not supported: send an array of bulk strings (RESP2), not %s",
			show_byte(got, text));
	return parser_fail(p, "SYNTAX argument %" PRIu32 " must be a bulk string ('$'), not %s", p->argc + 1,
			   show_byte(got, text));
}

/**
 * Understand the header line at p->position: @type, digits, CR, LF.
 *
 * Judges byte by byte from the left, so that the answer does not depend on how the input was cut up. A number too large for
 * 64 bits reads as UINT64_MAX: the limits refuse it.
 *
 * Returns RESP_REQUEST when the line is whole and good: *ret_value is set and the position moved.
 */
static enum resp_result parse_header(struct resp_parser *p, const char *data, size_t len, char type,
				     uint64_t *ret_value)
{
	size_t have = len - p->position, i = 1;
	uint64_t value = 0;
	const char *line;
	char text[8];

	if (!have)
		return RESP_MORE;
	line = data + p->position;
	if (line[0] != type)
		return fail_type(p, type, line[0]);
	for (; i < have && i < RESP_HEADER_BYTES_MAX - 2 && line[i] != '\r'; i++) {
		if (line[i] == '-' && i == 1)
			return parser_fail(p, "SYNTAX a negative number after '%c'", type);
		if (line[i] < '0' || line[i] > '9')
			return parser_fail(p, "SYNTAX %s in the number after '%c'", show_byte(line[i], text), type);
		if (__builtin_mul_overflow(value, 10, &value) ||
		    __builtin_add_overflow(value, (uint64_t)(line[i] - '0'), &value))
			value = UINT64_MAX;
	}
	if (i < have && line[i] != '\r')
		return parser_fail(p, "SYNTAX a header line is at most %d bytes long", RESP_HEADER_BYTES_MAX);
	if (i < have && i == 1)
		return parser_fail(p, "SYNTAX no number after '%c'", type);
	if (i + 1 < have && line[i + 1] != '\n')
		return parser_fail(p, "SYNTAX the number after '%c' is not followed by CR LF", type);
	if (i + 1 >= have)
		return RESP_MORE;
	p->position += i + 2;
	*ret_value = value;
	return RESP_REQUEST;
}

/* Room for one more argument. By doubling from what has arrived, never by what the array header promised. */
static bool argv_grow(struct resp_parser *p)
{
	uint32_t cap = p->argv_cap ? p->argv_cap * 2 : ARGV_CAP_FIRST;
	struct slice *argv;
	size_t *offsets;

	if (p->argc < p->argv_cap)
		return true;
	if (cap < p->argv_cap)
		return false;
	argv = reallocarray(p->argv, cap, sizeof(*argv));
	if (!argv)
		return false;
	p->argv = argv;
	offsets = reallocarray(p->offsets, cap, sizeof(*offsets));
	if (!offsets)
		return false;
	p->offsets = offsets;
	p->argv_cap = cap;
	return true;
}

static void argv_free(struct resp_parser *p)
{
	free(p->argv);
	free(p->offsets);
	p->argv = NULL;
	p->offsets = NULL;
	p->argv_cap = 0;
	p->argc = 0;
}

static enum resp_result parse_count(struct resp_parser *p, const char *data, size_t len)
{
	enum resp_result r;
	uint64_t count = 0;

	if (p->position == 0 && p->argv_cap > ARGV_CAP_KEPT_MAX)
		argv_free(p); /* the request before this one is done with */
	r = parse_header(p, data, len, '*', &count);
	if (r != RESP_REQUEST)
		return r;
	if (count > p->limits->arguments_max)
		return parser_fail(p, "LIMIT a request has at most %" PRIu32 " arguments (limits.arguments)",
				   p->limits->arguments_max);
	p->expected = (uint32_t)count;
	p->argc = 0;
	p->payload_bytes = 0;
	p->state = AT_LENGTH;
	return RESP_REQUEST;
}

static enum resp_result parse_length(struct resp_parser *p, const char *data, size_t len)
{
	uint64_t length = 0, limit = p->limits->request_bytes_max;
	enum resp_result r = parse_header(p, data, len, '$', &length);

	if (r != RESP_REQUEST)
		return r;
	/* Not by subtraction: a reload may lower the limit in the middle of a request. */
	if (length > limit || p->payload_bytes + length > limit)
		return parser_fail(p, "LIMIT a request has at most %" PRIu64 " bytes (limits.request_bytes)", limit);
	if (!argv_grow(p))
		return parser_fail(p, "LIMIT out of memory for a request of %" PRIu32 " arguments", p->expected);
	p->payload_bytes += length;
	p->offsets[p->argc] = p->position;
	p->argv[p->argc].len = (size_t)length;
	p->state = AT_PAYLOAD;
	return RESP_REQUEST;
}

static enum resp_result parse_payload(struct resp_parser *p, const char *data, size_t len)
{
	size_t end = p->position + p->argv[p->argc].len;

	if ((len > end && data[end] != '\r') || (len > end + 1 && data[end + 1] != '\n'))
		return parser_fail(p, "SYNTAX argument %" PRIu32 " is not followed by CR LF: its length is wrong",
				   p->argc + 1);
	if (len < end + 2)
		return RESP_MORE;
	p->position = end + 2;
	p->argc++;
	p->state = AT_LENGTH;
	return RESP_REQUEST;
}

enum resp_result resp_parse(struct resp_parser *p, const char *data, size_t len, size_t *ret_used)
{
	static enum resp_result (*const steps[])(struct resp_parser *, const char *, size_t) = {
		[AT_COUNT] = parse_count,
		[AT_LENGTH] = parse_length,
		[AT_PAYLOAD] = parse_payload,
	};
	enum resp_result r;

	if (p->state == BROKEN)
		return RESP_ERROR;
	assert(len >= p->position);
	do {
		r = steps[p->state](p, data, len);
		if (r != RESP_REQUEST)
			return r;
	} while (p->state != AT_LENGTH || p->argc < p->expected);

	/* Only now: while the request was incomplete the input may have moved in memory. */
	for (uint32_t i = 0; i < p->argc; i++)
		p->argv[i].data = data + p->offsets[i];
	*ret_used = p->position;
	p->position = 0;
	p->state = AT_COUNT;
	return RESP_REQUEST;
}

void resp_parser_deinit(struct resp_parser *p)
{
	argv_free(p);
}

size_t resp_bytes_missing(const struct resp_parser *p, size_t len)
{
	size_t end;

	if (p->state != AT_PAYLOAD)
		return 0;
	end = p->position + p->argv[p->argc].len + 2;
	return end > len ? end - len : 0;
}

/* One line of a reply: a CR or LF inside would end it early and shift everything after it. */
static void append_line(struct buf *out, const char *text, size_t len)
{
	char *to = buf_reserve(out, len + 2);

	if (!to)
		return;
	for (size_t i = 0; i < len; i++)
		to[i] = text[i] == '\r' || text[i] == '\n' ? ' ' : text[i];
	memcpy(to + len, "\r\n", 2);
	out->len += len + 2;
}

/* The header line at @to, which has room for RESP_HEADER_BYTES_MAX; returns its length. */
static size_t put_header(char *to, char type, int64_t value)
{
	size_t n = 0;

	to[n++] = type;
	if (value < 0)
		to[n++] = '-';
	n += uint_print(value < 0 ? 0 - (uint64_t)value : (uint64_t)value, to + n);
	to[n++] = '\r';
	to[n++] = '\n';
	return n;
}

static void append_header(struct buf *out, char type, int64_t value)
{
	char *to = buf_reserve(out, RESP_HEADER_BYTES_MAX);

	if (to)
		out->len += put_header(to, type, value);
}

void resp_simple(struct buf *out, const char *text)
{
	buf_append(out, "+", 1);
	append_line(out, text, strlen(text));
}

void resp_error(struct buf *out, const char *code, const char *format, ...)
{
	char message[ERROR_BYTES_MAX + 1];
	va_list args;

	va_start(args, format);
	vsnprintf(message, sizeof(message), format, args);
	va_end(args);
	buf_append(out, "-", 1);
	buf_append_text(out, code);
	buf_append(out, " ", 1);
	append_line(out, message, strlen(message));
}

void resp_integer(struct buf *out, int64_t value)
{
	append_header(out, ':', value);
}

void resp_bulk(struct buf *out, struct slice value)
{
	char *to = buf_reserve(out, RESP_HEADER_BYTES_MAX + value.len + 2);

	if (!to)
		return;
	to += put_header(to, '$', (int64_t)value.len);
	if (value.len)
		memcpy(to, value.data, value.len);
	memcpy(to + value.len, "\r\n", 2);
	out->len = (size_t)(to - out->data) + value.len + 2;
}

void resp_text(struct buf *out, const char *text)
{
	if (text)
		resp_bulk(out, slice_of(text));
	else
		resp_nil(out);
}

void resp_nil(struct buf *out)
{
	buf_append(out, "$-1\r\n", 5);
}

void resp_nil_array(struct buf *out)
{
	buf_append(out, "*-1\r\n", 5);
}

void resp_array(struct buf *out, uint32_t count)
{
	append_header(out, '*', count);
}
