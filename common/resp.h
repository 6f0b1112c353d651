/* RESP2, the Redis protocol: incremental parser of requests with limits, and encoder of replies. No I/O.
 * Requests are arrays of bulk strings only (doc/protocol.md, "Framing"). */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "buf.h"
#include "util.h"

#define RESP_HEADER_BYTES_MAX 24

struct resp_limits {
	uint32_t arguments_max;  /* elements of one request */
	uint64_t request_bytes_max; /* sum of all its payload bytes */
};

/* Parser of one connection. Zeroed = at the start of a request. Keeps its place between calls, so bytes are looked at once. */
struct resp_parser {
	const struct resp_limits *limits; /* borrowed, set once */
	struct slice *argv;               /* owned; @argc are valid after RESP_REQUEST, pointing into the input */
	size_t *offsets;                  /* owned: where each argument begins, relative to the request's first byte */
	uint32_t argc, argv_cap;
	uint32_t expected;                /* elements announced by the array header */
	size_t position;                  /* bytes of this request already understood */
	uint64_t payload_bytes;
	int state;
	char error[128];                  /* one line for the peer, after RESP_ERROR */
};

enum resp_result {
	RESP_MORE,    /* incomplete: call again with the same start and more bytes */
	RESP_REQUEST, /* a whole request; *ret_used bytes belong to it; argv is valid until the input moves */
	RESP_ERROR,   /* framing is lost: say parser->error ("SYNTAX ..." or "LIMIT ...") and close */
};

/**
 * Take one request from the front of the input.
 *
 * @data, @len: all unconsumed bytes from the request's first byte on; must start at the same request until it is whole
 *
 * After RESP_REQUEST the parser is ready for the next one. An empty array (*0) is RESP_REQUEST with argc 0.
 */
enum resp_result resp_parse(struct resp_parser *p, const char *data, size_t len, size_t *ret_used);
void resp_parser_deinit(struct resp_parser *p);
/* Bytes that the request now being read is known to need before it can be whole (a hint for reading), or 0. */
size_t resp_bytes_missing(const struct resp_parser *p, size_t len);

/* Replies; failures are kept in out->failed. */
void resp_simple(struct buf *out, const char *text);                     /* +text */
/* -CODE message: CR and LF in the message become spaces; cut at 512 bytes. */
void resp_error(struct buf *out, const char *code, const char *format, ...) PRINTF_LIKE(3, 4);
void resp_integer(struct buf *out, int64_t value);
void resp_bulk(struct buf *out, struct slice value);
void resp_text(struct buf *out, const char *text);                       /* bulk string of a C string; NULL = nil */
void resp_nil(struct buf *out);                                          /* $-1 */
void resp_nil_array(struct buf *out);                                    /* *-1 */
void resp_array(struct buf *out, uint32_t count);
/* Requests (client side and tests): array header by resp_array, then resp_bulk for each word. */
