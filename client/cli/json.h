/* JSON on stdout, from the daemon's values. Integers are numbers, nil is null, bytes are strings.
 *
 * Bytes that are not valid UTF-8 are written as the escapes \udc80 to \udcff, one a byte: Python's "surrogateescape",
 * so that os.fsencode(json.loads(text)) gives exactly the bytes back. No other string contains these escapes. (This is
 * why it is written by hand: jansson and its like refuse them.) */
#pragma once

#include "buf.h"
#include "jobpool.h"

void json_string(struct buf *out, const char *bytes, size_t len);
/* Any value as it is; an array is an array. */
void json_value(struct buf *out, const struct jobpool_value *value);
/* A map as an object. Nested under it, maps do not occur; arrays do. */
void json_map(struct buf *out, const struct jobpool_value *map);
/* Print a map as one object and a newline; an array of maps as an array of objects, one a line. */
void json_print_map(const struct jobpool_value *map);
void json_print_maps(const struct jobpool_value *maps);

/* A long array in pieces: flat memory, however many objects. */
struct json_array {
	bool begun;
};
void json_array_add(struct json_array *array, const struct jobpool_value *map);
void json_array_end(struct json_array *array);
