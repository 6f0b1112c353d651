/* NAME value pairs by a table. */
#include "options.h"

#include <assert.h>
#include <stdio.h>

#include "units.h"

char *option_show(struct slice value, char text[48])
{
	size_t n = MIN(value.len, (size_t)40);

	for (size_t i = 0; i < n; i++)
		text[i] = value.data[i] >= ' ' && value.data[i] <= '~' ? value.data[i] : '?';
	strcpy(text + n, value.len > n ? "..." : "");
	return text;
}

static const struct option_row *find_row(const struct option_table *table, struct slice name)
{
	for (size_t i = 0; i < table->count; i++)
		if (slice_is_word(name, table->rows[i].name))
			return &table->rows[i];
	return NULL;
}

int options_parse(const struct option_table *table, const struct slice *words, size_t count, const char *end, void *into,
		  size_t *ret_used, char error[256])
{
	const struct option_row *row;
	uint64_t seen = 0, bit;
	char shown[48];
	size_t i;

	assert(table->count <= OPTIONS_MAX);
	for (i = 0; i < count && !(end && slice_is_word(words[i], end)); i += 2) {
		row = find_row(table, words[i]);
		if (!row) {
			snprintf(error, 256, "unknown option '%s'%s%s", option_show(words[i], shown), end ? " before " : "", end ? end : "");
			return -EINVAL;
		}
		bit = UINT64_C(1) << (row - table->rows);
		if (seen & bit) {
			snprintf(error, 256, "option %s is given twice", row->name);
			return -EINVAL;
		}
		seen |= bit;
		if (i + 1 == count) {
			snprintf(error, 256, "option %s has no value: %s", row->name, row->value);
			return -EINVAL;
		}
		if (row->parse(row, words[i + 1], (char *)into + row->offset) < 0) {
			snprintf(error, 256, "option %s is not '%s' but: %s", row->name, option_show(words[i + 1], shown), row->value);
			return -EINVAL;
		}
	}
	*ret_used = i;
	return 0;
}

int option_duration(const struct option_row *row, struct slice value, void *field)
{
	(void)row;
	return duration_parse(value, field) < 0 ? -EINVAL : 0;
}

int option_size(const struct option_row *row, struct slice value, void *field)
{
	(void)row;
	return size_parse(value, field) < 0 ? -EINVAL : 0;
}

int option_int(const struct option_row *row, struct slice value, void *field)
{
	return slice_to_int(value, row->min, row->max, field) < 0 ? -EINVAL : 0;
}

int option_octal(const struct option_row *row, struct slice value, void *field)
{
	uint32_t mode = 0;

	(void)row;
	if (!value.len || value.len > 5)
		return -EINVAL;
	for (size_t i = 0; i < value.len; i++) {
		if (value.data[i] < '0' || value.data[i] > '7')
			return -EINVAL;
		mode = mode * 8 + (uint32_t)(value.data[i] - '0');
	}
	if (mode > 0777)
		return -EINVAL;
	*(uint32_t *)field = mode;
	return 0;
}

int option_bytes(const struct option_row *row, struct slice value, void *field)
{
	if (value.len < (size_t)row->min || value.len > (size_t)row->max)
		return -EINVAL;
	*(struct slice *)field = value;
	return 0;
}
