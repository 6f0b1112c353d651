/* Small helpers: slices, whole reads and writes, clocks, random bytes, CRC. No state, so every thread may call them. */
#include "util.h"

#include <assert.h>
#include <fcntl.h>
#include <stdbool.h>
#include <sys/random.h>
#include <time.h>

/* Not <ctype.h> nor strcasecmp(): those follow the locale, names and words on the wire do not. */
static char ascii_lower(char c)
{
	return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

int slice_is_word(struct slice s, const char *word)
{
	for (size_t i = 0; i < s.len; i++)
		if (!word[i] || ascii_lower(s.data[i]) != ascii_lower(word[i]))
			return false;
	return !word[s.len];
}

char *slice_dup(struct slice s)
{
	char *copy = malloc(s.len + 1);

	if (!copy)
		return NULL;
	if (s.len)
		memcpy(copy, s.data, s.len);
	copy[s.len] = '\0';
	return copy;
}

int slice_to_uint(struct slice s, uint64_t max, uint64_t *ret_value)
{
	uint64_t value = 0;
	bool too_large = false;

	if (!s.len)
		return -EINVAL;
	for (size_t i = 0; i < s.len; i++) {
		if (s.data[i] < '0' || s.data[i] > '9')
			return -EINVAL;
		if (__builtin_mul_overflow(value, 10, &value) ||
		    __builtin_add_overflow(value, (uint64_t)(s.data[i] - '0'), &value))
			too_large = true; /* and look on: "99999999999999999999x" is no number at all */
	}
	if (too_large || value > max)
		return -ERANGE;
	*ret_value = value;
	return 0;
}

int slice_to_int(struct slice s, int64_t min, int64_t max, int64_t *ret_value)
{
	bool negative = s.len && s.data[0] == '-';
	uint64_t magnitude, magnitude_max = negative ? (uint64_t)INT64_MAX + 1 : INT64_MAX;
	int64_t value;
	int r;

	if (negative) {
		s.data++;
		s.len--;
	}
	r = slice_to_uint(s, magnitude_max, &magnitude);
	if (r < 0)
		return r;
	value = negative ? (int64_t)(0 - magnitude) : (int64_t)magnitude;
	if (value < min || value > max)
		return -ERANGE;
	*ret_value = value;
	return 0;
}

size_t uint_print(uint64_t value, char ret_text[UINT_TEXT_BYTES])
{
	char digits[UINT_TEXT_BYTES], *first = digits + sizeof(digits);
	size_t len;

	do
		*--first = (char)('0' + value % 10);
	while (value /= 10);
	len = (size_t)(digits + sizeof(digits) - first);
	memcpy(ret_text, first, len);
	return len;
}

int name_is_valid(struct slice s)
{
	if (!s.len || s.len > NAME_BYTES_MAX)
		return false;
	for (size_t i = 0; i < s.len; i++) {
		char c = ascii_lower(s.data[i]);
		bool word = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_';

		/* A leading dot or dash would read as a hidden file or as an option. */
		if (!word && (i == 0 || (c != '.' && c != '-')))
			return false;
	}
	return true;
}

void close_fd(int *fd)
{
	int saved = errno;

	if (*fd >= 0)
		close(*fd); /* never repeated: Linux has freed the descriptor also when it says EINTR */
	*fd = -1;
	errno = saved;
}

int read_all(int fd, void *data, size_t len)
{
	for (char *at = data; len;) {
		ssize_t n = read(fd, at, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : -EPIPE;
		at += n;
		len -= (size_t)n;
	}
	return 0;
}

int write_all(int fd, const void *data, size_t len)
{
	for (const char *at = data; len;) {
		ssize_t n = write(fd, at, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : -EIO;
		at += n;
		len -= (size_t)n;
	}
	return 0;
}

int pread_all(int fd, void *data, size_t len, off_t offset)
{
	for (char *at = data; len;) {
		ssize_t n = pread(fd, at, len, offset);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : -EPIPE;
		at += n;
		len -= (size_t)n;
		offset += n;
	}
	return 0;
}

int pwrite_all(int fd, const void *data, size_t len, off_t offset)
{
	for (const char *at = data; len;) {
		ssize_t n = pwrite(fd, at, len, offset);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : -EIO;
		at += n;
		len -= (size_t)n;
		offset += n;
	}
	return 0;
}

static uint64_t now_us(clockid_t clock)
{
	struct timespec t;
	int r = clock_gettime(clock, &t);

	assert(r == 0);
	return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

uint64_t now_monotonic_us(void)
{
	return now_us(CLOCK_MONOTONIC);
}

uint64_t now_monotonic_ms(void)
{
	return now_us(CLOCK_MONOTONIC) / 1000;
}

uint64_t now_wall_ms(void)
{
	return now_us(CLOCK_REALTIME) / 1000;
}

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c = ascii_lower(c);
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

int boot_id_read(uint8_t ret_id[16])
{
	char text[36]; /* 8-4-4-4-12 hex digits */
	uint8_t id[16] = { 0 };
	size_t digits = 0;
	int r, fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return -errno;
	r = read_all(fd, text, sizeof(text));
	close_fd(&fd);
	if (r < 0)
		return r;
	for (size_t i = 0; i < sizeof(text); i++) {
		int digit = hex_digit(text[i]);

		if (text[i] == '-')
			continue;
		if (digit < 0 || digits == 2 * sizeof(id))
			return -EBADMSG;
		id[digits / 2] = (uint8_t)(id[digits / 2] << 4 | digit);
		digits++;
	}
	if (digits != 2 * sizeof(id))
		return -EBADMSG;
	memcpy(ret_id, id, sizeof(id));
	return 0;
}

void random_fill(void *data, size_t len)
{
	for (char *at = data; len;) {
		ssize_t n = getrandom(at, len, 0);

		if (n < 0 && errno == EINTR)
			continue;
		assert(n > 0);
		at += n;
		len -= (size_t)n;
	}
}

uint32_t crc32_of(const void *data, size_t len)
{
	/* What a byte adds is the sum of what its bits add, so the compiler can make the table: no start-up code, no 256 constants to read. */
#define BIT(byte, bit, value) ((byte) >> (bit) & 1 ? (value) : 0u)
#define BYTE(b, v0, v1, v2, v3, v4, v5, v6, v7)                                                                      \
	(BIT(b, 0, v0) ^ BIT(b, 1, v1) ^ BIT(b, 2, v2) ^ BIT(b, 3, v3) ^ BIT(b, 4, v4) ^ BIT(b, 5, v5) ^ BIT(b, 6, v6) ^ BIT(b, 7, v7))
#define ROW(b, ...) BYTE(b, __VA_ARGS__), BYTE((b) + 1, __VA_ARGS__), BYTE((b) + 2, __VA_ARGS__), BYTE((b) + 3, __VA_ARGS__)
#define ROWS(b, ...) ROW(b, __VA_ARGS__), ROW((b) + 4, __VA_ARGS__), ROW((b) + 8, __VA_ARGS__), ROW((b) + 12, __VA_ARGS__)
#define BLOCK(b, ...) ROWS(b, __VA_ARGS__), ROWS((b) + 16, __VA_ARGS__), ROWS((b) + 32, __VA_ARGS__), ROWS((b) + 48, __VA_ARGS__)
#define TABLE(...) { BLOCK(0, __VA_ARGS__), BLOCK(64, __VA_ARGS__), BLOCK(128, __VA_ARGS__), BLOCK(192, __VA_ARGS__) }
	/* Four bytes a step: table[n] is for a byte that n more follow. */
	static const uint32_t table[4][256] = {
		TABLE(0x77073096u, 0xee0e612cu, 0x076dc419u, 0x0edb8832u, 0x1db71064u, 0x3b6e20c8u, 0x76dc4190u, 0xedb88320u),
		TABLE(0x191b3141u, 0x32366282u, 0x646cc504u, 0xc8d98a08u, 0x4ac21251u, 0x958424a2u, 0xf0794f05u, 0x3b83984bu),
		TABLE(0x01c26a37u, 0x0384d46eu, 0x0709a8dcu, 0x0e1351b8u, 0x1c26a370u, 0x384d46e0u, 0x709a8dc0u, 0xe1351b80u),
		TABLE(0xb8bc6765u, 0xaa09c88bu, 0x8f629757u, 0xc5b428efu, 0x5019579fu, 0xa032af3eu, 0x9b14583du, 0xed59b63bu),
	};
#undef TABLE
#undef BLOCK
#undef ROWS
#undef ROW
#undef BYTE
#undef BIT
	const uint8_t *bytes = data;
	uint32_t crc = 0xffffffff;

	for (; len >= 4; len -= 4, bytes += 4) {
		crc ^= (uint32_t)bytes[0] | (uint32_t)bytes[1] << 8 | (uint32_t)bytes[2] << 16 | (uint32_t)bytes[3] << 24;
		crc = table[3][crc & 0xff] ^ table[2][crc >> 8 & 0xff] ^ table[1][crc >> 16 & 0xff] ^ table[0][crc >> 24];
	}
	for (; len; len--)
		crc = crc >> 8 ^ table[0][(crc ^ *bytes++) & 0xff];
	return ~crc;
}

void hex_encode(const void *data, size_t len, char *ret_text)
{
	static const char digits[] = "0123456789abcdef";
	const uint8_t *bytes = data;

	for (size_t i = 0; i < len; i++) {
		*ret_text++ = digits[bytes[i] >> 4];
		*ret_text++ = digits[bytes[i] & 15];
	}
	*ret_text = '\0';
}
