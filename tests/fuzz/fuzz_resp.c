/* Fuzz target: the request parser. All at once and byte by byte must agree, arguments must lie inside the input, limits must
 * hold, and what was understood must survive being encoded and parsed again. The first two bytes choose the limits. */
#include <assert.h>
#include <stdint.h>

#include "resp.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

static void check_request(const struct resp_parser *p, const char *data, size_t used)
{
	const char *behind = data;
	uint64_t sum = 0;

	assert(p->argc <= p->limits->arguments_max);
	for (uint32_t i = 0; i < p->argc; i++) {
		assert(p->argv[i].data > behind && p->argv[i].len + 2 <= used);
		behind = p->argv[i].data + p->argv[i].len + 2;
		assert(behind <= data + used);
		sum += p->argv[i].len;
	}
	assert(sum <= p->limits->request_bytes_max);
}

/* The canonical form of a request is one, too, and the same. */
static void check_round_trip(const struct resp_parser *p)
{
	struct resp_parser again = { .limits = p->limits };
	struct buf out = { 0 };
	size_t used = 0;

	resp_array(&out, p->argc);
	for (uint32_t i = 0; i < p->argc; i++)
		resp_bulk(&out, p->argv[i]);
	assert(!out.failed);
	assert(resp_parse(&again, out.data, out.len, &used) == RESP_REQUEST && used == out.len &&
	       again.argc == p->argc);
	for (uint32_t i = 0; i < p->argc; i++)
		assert(slice_equal(again.argv[i], p->argv[i]));
	resp_parser_deinit(&again);
	buf_free(&out);
}

/* The same bytes, one more at a time: more until @used of them are there, then the same answer. */
static void check_byte_by_byte(const struct resp_parser *whole, enum resp_result expected, const char *data, size_t len,
			       size_t used)
{
	struct resp_parser p = { .limits = whole->limits };
	enum resp_result r = RESP_MORE;
	size_t n = 0, got = 0;

	while (r == RESP_MORE && n < len) {
		r = resp_parse(&p, data, ++n, &got);
		assert(p.argv_cap <= 16 || p.argv_cap <= n); /* memory by what has arrived */
		assert(r != RESP_MORE || resp_bytes_missing(&p, n) <= whole->limits->request_bytes_max + 2);
	}
	assert(r == expected);
	if (r == RESP_REQUEST) {
		assert(got == used && n == used && p.argc == whole->argc);
		for (uint32_t i = 0; i < p.argc; i++)
			assert(p.argv[i].data == whole->argv[i].data && p.argv[i].len == whole->argv[i].len);
	}
	if (r == RESP_ERROR)
		assert(strcmp(p.error, whole->error) == 0);
	resp_parser_deinit(&p);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	struct resp_limits limits = { .arguments_max = size > 0 ? bytes[0] : 0,
				      .request_bytes_max = size > 1 ? bytes[1] * 16u : 0 };
	struct resp_parser p = { .limits = &limits };
	enum resp_result r = RESP_REQUEST;
	const char *data = (const char *)bytes + MIN(size, 2);
	size_t len = size - MIN(size, 2);

	while (r == RESP_REQUEST && len) {
		size_t used = 0;

		r = resp_parse(&p, data, len, &used);
		check_byte_by_byte(&p, r, data, len, used);
		if (r != RESP_REQUEST)
			break;
		assert(used > 0 && used <= len);
		check_request(&p, data, used);
		check_round_trip(&p);
		data += used;
		len -= used;
	}
	assert(r != RESP_ERROR || strncmp(p.error, "SYNTAX ", 7) == 0 || strncmp(p.error, "LIMIT ", 6) == 0);
	resp_parser_deinit(&p);
	return 0;
}
