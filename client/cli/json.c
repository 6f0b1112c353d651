/* The JSON writer. */
#include "json.h"

#include <inttypes.h>
#include <stdio.h>

#include "text.h"

static void json_ascii(struct buf *out, char c)
{
	static const char special[] = "\"\\\b\f\n\r\t", letters[] = "\"\\bfnrt";
	const char *at = c ? strchr(special, c) : NULL;

	if (at)
		buf_printf(out, "\\%c", letters[at - special]);
	else if ((unsigned char)c < 0x20 || c == 0x7f)
		buf_printf(out, "\\u%04x", (unsigned char)c);
	else
		buf_append(out, &c, 1);
}

void json_string(struct buf *out, const char *bytes, size_t len)
{
	buf_append(out, "\"", 1);
	while (len) {
		size_t n = utf8_length(bytes, len);

		if (n == 1)
			json_ascii(out, *bytes);
		else if (n)
			buf_append(out, bytes, n);
		else
			buf_printf(out, "\\udc%02x", (unsigned char)*bytes); /* not UTF-8, so 0x80 to 0xff */
		n = n ? n : 1;
		bytes += n;
		len -= n;
	}
	buf_append(out, "\"", 1);
}

void json_value(struct buf *out, const struct jobpool_value *value)
{
	switch (value->type) {
	case JOBPOOL_INTEGER:
		buf_printf(out, "%" PRId64, value->integer);
		break;
	case JOBPOOL_BYTES:
		json_string(out, value->bytes, value->count);
		break;
	case JOBPOOL_ARRAY:
		buf_append(out, "[", 1);
		for (size_t i = 0; i < value->count; i++) {
			if (i)
				buf_append(out, ", ", 2);
			json_value(out, value->items[i]);
		}
		buf_append(out, "]", 1);
		break;
	default:
		buf_append_text(out, "null");
	}
}

void json_map(struct buf *out, const struct jobpool_value *map)
{
	size_t count = map->type == JOBPOOL_ARRAY ? map->count : 0;

	buf_append(out, "{", 1);
	for (size_t i = 0; i + 1 < count; i += 2) {
		if (i)
			buf_append(out, ", ", 2);
		json_value(out, map->items[i]);
		buf_append(out, ": ", 2);
		json_value(out, map->items[i + 1]);
	}
	buf_append(out, "}", 1);
}

/* Whole or, out of memory, not at all: a cut object would be taken for an answer. The exit code tells (main.c). */
static void json_put(const char *before, const struct jobpool_value *map, const char *after)
{
	struct buf text = { 0 };

	buf_append_text(&text, before);
	json_map(&text, map);
	buf_append_text(&text, after);
	if (!text.failed)
		fwrite(text.data, 1, text.len, stdout);
	buf_free(&text);
}

void json_print_map(const struct jobpool_value *map)
{
	json_put("", map, "\n");
}

void json_array_add(struct json_array *array, const struct jobpool_value *map)
{
	json_put(array->begun ? ",\n" : "[\n", map, "");
	array->begun = true;
}

void json_array_end(struct json_array *array)
{
	fputs(array->begun ? "\n]\n" : "[]\n", stdout);
}

void json_print_maps(const struct jobpool_value *maps)
{
	struct json_array array = { 0 };

	for (size_t i = 0; maps->type == JOBPOOL_ARRAY && i < maps->count; i++)
		json_array_add(&array, maps->items[i]);
	json_array_end(&array);
}
