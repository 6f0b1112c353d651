/* Durations and sizes: one reader and one printer, driven by a table of units each. Integer arithmetic only, so that what is
 * printed reads back to the same value. */
#include "units.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>

#define VALUE_MAX (UINT64_MAX / 4) /* a few may be added without a thought of overflow */
#define FRACTION_DIGITS_MAX 6      /* times the largest unit it still fits 64 bits */

struct unit {
	const char *name; /* "" = a number without a unit */
	uint64_t factor;
	bool printed;     /* rows are sorted, largest first */
};

static const struct unit durations[] = {
	{ "w", 7 * 24 * 3600000ull, false }, /* people say 7d and 30d */
	{ "d", 24 * 3600000ull, true },
	{ "h", 3600000, true },
	{ "m", 60000, true },
	{ "s", 1000, true },
	{ "", 1000, false },
	{ "ms", 1, true },
};

static const struct unit sizes[] = {
	{ "TiB", 1ull << 40, true }, { "T", 1ull << 40, false }, { "TB", 1000000000000ull, false },
	{ "GiB", 1ull << 30, true }, { "G", 1ull << 30, false }, { "GB", 1000000000, false },
	{ "MiB", 1ull << 20, true }, { "M", 1ull << 20, false }, { "MB", 1000000, false },
	{ "KiB", 1ull << 10, true }, { "K", 1ull << 10, false }, { "KB", 1000, false },
	{ "B", 1, true },	     { "", 1, false },
};

static const struct system {
	const struct unit *units;
	size_t count;
	bool summed;      /* "1h30m" */
	bool any_case;    /* "64mib" */
	const char *zero; /* unit of a printed 0 */
} duration_system = { durations, ARRAY_SIZE(durations), true, false, "s" },
  size_system = { sizes, ARRAY_SIZE(sizes), false, true, "B" };

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

/* The longest run of digits, or of anything but digits and dots, off the front of @text. */
static struct slice cut_run(struct slice *text, bool digits)
{
	struct slice run = { text->data, 0 };

	while (run.len < text->len && text->data[run.len] != '.' && is_digit(text->data[run.len]) == digits)
		run.len++;
	text->data += run.len;
	text->len -= run.len;
	return run;
}

/* ".5" behind the whole number, in millionths; without one *ret_millionths stays. 0 or -EINVAL. */
static int cut_fraction(struct slice *text, uint64_t *ret_millionths)
{
	uint64_t millionths = 0;
	struct slice digits;

	if (!text->len || text->data[0] != '.')
		return 0;
	text->data++;
	text->len--;
	digits = cut_run(text, true);
	if (!digits.len || digits.len > FRACTION_DIGITS_MAX)
		return -EINVAL;
	for (size_t i = 0; i < FRACTION_DIGITS_MAX; i++)
		millionths = millionths * 10 + (i < digits.len ? (uint64_t)(digits.data[i] - '0') : 0);
	*ret_millionths = millionths;
	return 0;
}

static const struct unit *unit_find(const struct system *system, struct slice name)
{
	for (size_t i = 0; i < system->count; i++) {
		const struct unit *unit = &system->units[i];

		if (system->any_case ? slice_is_word(name, unit->name) : slice_equal(name, slice_of(unit->name)))
			return unit;
	}
	return NULL;
}

/* Cut number and unit off the front of @text. NULL when there is no such thing; a value out of range is UINT64_MAX. */
static const struct unit *cut_part(struct slice *text, const struct system *system, uint64_t *ret_value)
{
	uint64_t whole = 0, millionths = 0, value = 0;
	int range = slice_to_uint(cut_run(text, true), VALUE_MAX, &whole);
	const struct unit *unit;

	if (range == -EINVAL || cut_fraction(text, &millionths) < 0)
		return NULL;
	unit = unit_find(system, cut_run(text, false));
	if (!unit)
		return NULL;
	if (range < 0 || __builtin_mul_overflow(whole, unit->factor, &value) || value > VALUE_MAX)
		*ret_value = UINT64_MAX;
	else /* Rounded up: something must not become 0, which means "none" in many places. */
		*ret_value = value + (millionths * unit->factor + 999999) / 1000000;
	return unit;
}

static int units_parse(struct slice text, const struct system *system, uint64_t *ret_value)
{
	uint64_t sum = 0, part = 0;
	unsigned parts = 0;
	int range = 0;

	if (!text.len)
		return -EINVAL;
	do {
		const struct unit *unit = cut_part(&text, system, &part);

		parts++;
		if (!unit || (parts > 1 && !system->summed))
			return -EINVAL;
		if (!unit->name[0] && (parts > 1 || text.len))
			return -EINVAL; /* "1h30" could mean minutes or seconds: a bare number stands alone */
		if (part > VALUE_MAX - sum)
			range = -ERANGE; /* and look on: with a typo behind it, it is no value at all */
		else
			sum += part;
	} while (text.len);
	if (!range)
		*ret_value = sum;
	return range;
}

/* Of a duration as many of the largest unit as fit, then of the next; of a size the largest unit that divides it. */
static char *units_format(uint64_t value, const struct system *system, char text[UNITS_TEXT_BYTES])
{
	size_t len = 0;

	for (size_t i = 0; i < system->count; i++) {
		const struct unit *unit = &system->units[i];
		uint64_t n = value / unit->factor;

		if (!unit->printed || !n || (!system->summed && value % unit->factor))
			continue;
		len += (size_t)snprintf(text + len, UNITS_TEXT_BYTES - len, "%" PRIu64 "%s", n, unit->name);
		value %= unit->factor;
	}
	if (!len)
		snprintf(text, UNITS_TEXT_BYTES, "0%s", system->zero);
	return text;
}

int duration_parse(struct slice text, uint64_t *ret_ms)
{
	return units_parse(text, &duration_system, ret_ms);
}

int size_parse(struct slice text, uint64_t *ret_bytes)
{
	return units_parse(text, &size_system, ret_bytes);
}

char *duration_format(uint64_t ms, char text[UNITS_TEXT_BYTES])
{
	return units_format(ms, &duration_system, text);
}

char *size_format(uint64_t bytes, char text[UNITS_TEXT_BYTES])
{
	return units_format(bytes, &size_system, text);
}
