/* Bytes, times and commands, written so that a person can read them and a terminal cannot be played with. */
#include "text.h"

#include <locale.h>
#include <time.h>
#include <wchar.h>

size_t utf8_length(const char *bytes, size_t len)
{
	const unsigned char *b = (const unsigned char *)bytes;
	uint32_t point;
	size_t need;

	if (!len)
		return 0;
	if (b[0] < 0x80)
		return 1;
	need = b[0] >= 0xf0 ? 4 : b[0] >= 0xe0 ? 3 : 2;
	if (b[0] < 0xc2 || b[0] > 0xf4 || need > len)
		return 0;
	point = b[0] & (0x7fu >> need);
	for (size_t i = 1; i < need; i++) {
		if ((b[i] & 0xc0) != 0x80)
			return 0;
		point = point << 6 | (b[i] & 0x3f);
	}
	if ((need == 3 && point < 0x800) || (need == 4 && (point < 0x10000 || point > 0x10ffff)) ||
	    (point >= 0xd800 && point <= 0xdfff))
		return 0;
	return need;
}

/* C0, DEL, and the C1 controls, which some terminals obey in their UTF-8 form too. */
static bool is_control(const char *bytes, size_t len)
{
	const unsigned char *b = (const unsigned char *)bytes;

	return len == 1 ? b[0] < 0x20 || b[0] == 0x7f : len == 2 && b[0] == 0xc2 && b[1] < 0xa0;
}

void text_escape(struct buf *out, const char *bytes, size_t len)
{
	while (len) {
		size_t n = utf8_length(bytes, len);

		if (n && !is_control(bytes, n)) {
			buf_append(out, bytes, n);
		} else {
			n = n ? n : 1;
			for (size_t i = 0; i < n; i++)
				buf_printf(out, "\\x%02x", (unsigned char)bytes[i]);
		}
		bytes += n;
		len -= n;
	}
}

static bool is_bare(const char *bytes, size_t len)
{
	static const char good[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_@%+=:,./-";

	for (size_t i = 0; i < len; i++)
		if (!bytes[i] || (!strchr(good, bytes[i]) && !(bytes[i] & 0x80)))
			return false;
	return len > 0;
}

void text_quote(struct buf *out, const char *bytes, size_t len)
{
	if (is_bare(bytes, len)) {
		buf_append(out, bytes, len);
		return;
	}
	buf_append(out, "'", 1);
	for (size_t i = 0; i < len; i++)
		if (bytes[i] == '\'')
			buf_append_text(out, "'\\''");
		else
			buf_append(out, bytes + i, 1);
	buf_append(out, "'", 1);
}

void text_command(struct buf *out, const struct jobpool_value *argv, bool cut)
{
	struct buf quoted = { 0 };

	if (argv && argv->type == JOBPOOL_ARRAY)
		for (size_t i = 0; i < argv->count; i++) {
			if (i)
				buf_append(&quoted, " ", 1);
			if (argv->items[i]->type == JOBPOOL_BYTES)
				text_quote(&quoted, argv->items[i]->bytes, argv->items[i]->count);
		}
	text_escape(out, quoted.data, quoted.len);
	if (cut)
		buf_append_text(out, " ...");
	buf_free(&quoted);
}

/* --- Width --- */

/* The columns of one character beyond ASCII, as libc knows them: 2 in East Asian scripts and of emoji, 0 of accents that join what stands
 * before them. The locale is loaded when the first one is met, so that others do not wait for it. */
static size_t point_width(wchar_t point)
{
	static locale_t utf8;
	static bool tried;
	locale_t before;
	int width = 1;

	if (!tried)
		utf8 = newlocale(LC_CTYPE_MASK, "C.UTF-8", (locale_t)0);
	tried = true;
	if (utf8) {
		before = uselocale(utf8);
		width = wcwidth(point);
		uselocale(before);
	}
	return width < 0 ? 1 : (size_t)width; /* not known to this libc: most are one wide */
}

/* The character at @text, which is valid UTF-8: its bytes, and its columns. */
static size_t next_point(const char *text, size_t *ret_width)
{
	size_t len = 1;
	wchar_t point;

	*ret_width = 1;
	if (!(*text & 0x80))
		return 1;
	point = *text & (*text & 0x20 ? *text & 0x10 ? 0x07 : 0x0f : 0x1f);
	for (; (text[len] & 0xc0) == 0x80; len++)
		point = point << 6 | (text[len] & 0x3f);
	*ret_width = point_width(point);
	return len;
}

size_t text_width(const char *text)
{
	size_t sum = 0, width;

	for (; *text; sum += width)
		text += next_point(text, &width);
	return sum;
}

size_t text_cut(const char *text, size_t columns)
{
	size_t at = 0, width;

	while (text[at]) {
		size_t len = next_point(text + at, &width);

		if (width > columns)
			break;
		columns -= width;
		at += len;
	}
	return at;
}

/* --- Times and rates --- */

char *text_elapsed(uint64_t ms, char text[TIME_TEXT_BYTES])
{
	unsigned long long s = ms / 1000;

	if (s < 60)
		snprintf(text, TIME_TEXT_BYTES, "%llu.%llus", s, (unsigned long long)(ms % 1000 / 100));
	else if (s < 3600)
		snprintf(text, TIME_TEXT_BYTES, "%llum%02llus", s / 60, s % 60);
	else if (s < 86400)
		snprintf(text, TIME_TEXT_BYTES, "%lluh%02llum", s / 3600, s / 60 % 60);
	else
		snprintf(text, TIME_TEXT_BYTES, "%llud%02lluh", s / 86400, s / 3600 % 24);
	return text;
}

char *text_left(uint64_t ms, char text[TIME_TEXT_BYTES])
{
	uint64_t seconds = ms / 1000 + (ms % 1000 > 0);

	if (seconds >= 60)
		return text_elapsed(seconds * 1000, text);
	snprintf(text, TIME_TEXT_BYTES, "%us", (unsigned)seconds);
	return text;
}

char *text_rate(double per_second, char text[TIME_TEXT_BYTES])
{
	static const struct {
		double seconds;
		const char *name;
	} units[] = { { 1, "s" }, { 60, "min" }, { 3600, "h" } };
	size_t i = 0;
	double rate = per_second;

	while (i + 1 < ARRAY_SIZE(units) && rate > 0 && rate < 1)
		rate = per_second * units[++i].seconds;
	snprintf(text, TIME_TEXT_BYTES, "%.*f/%s", rate < 9.95 && rate != (double)(unsigned)rate ? 1 : 0, rate, units[i].name);
	return text;
}

char *text_time(int64_t wall_ms, char text[TIME_TEXT_BYTES])
{
	time_t seconds = (time_t)(wall_ms / 1000);
	struct tm local;

	if (!localtime_r(&seconds, &local) || !strftime(text, TIME_TEXT_BYTES, "%Y-%m-%d %H:%M:%S", &local))
		snprintf(text, TIME_TEXT_BYTES, "-");
	return text;
}
