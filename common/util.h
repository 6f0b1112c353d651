/* Small things every program here uses. Linux and glibc only; no I/O but on descriptors handed in. */
#pragma once

#include <errno.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/param.h> /* MIN, MAX */
#include <sys/types.h>
#include <unistd.h>

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))
#define container_of(ptr, type, member) ((type *)((char *)(ptr) - offsetof(type, member)))
#define PRINTF_LIKE(fmt, args) __attribute__((format(printf, fmt, args)))

/* Bytes that somebody else owns: not NUL-terminated, @data may be NULL when @len is 0. */
struct slice {
	const char *data;
	size_t len;
};

#define SLICE(literal) ((struct slice){ (literal), sizeof(literal) - 1 })
static inline struct slice slice_of(const char *text) { return (struct slice){ text, strlen(text) }; }
static inline int slice_equal(struct slice a, struct slice b)
{
	return a.len == b.len && (!a.len || memcmp(a.data, b.data, a.len) == 0);
}
/* Case-insensitive (ASCII) comparison with a NUL-terminated word. */
int slice_is_word(struct slice s, const char *word);
/* A NUL-terminated heap copy, or NULL when out of memory. The caller frees it. */
char *slice_dup(struct slice s);
/* Decimal numbers, whole slice, no white space, no sign but '-' for int. 0, or -EINVAL / -ERANGE: *ret untouched. */
int slice_to_uint(struct slice s, uint64_t max, uint64_t *ret_value);
int slice_to_int(struct slice s, int64_t min, int64_t max, int64_t *ret_value);
/* Decimal, not NUL-terminated; returns its length. Many times as fast as printf(). */
#define UINT_TEXT_BYTES 20
size_t uint_print(uint64_t value, char ret_text[UINT_TEXT_BYTES]);

/* Names of queues, pools, locks: [A-Za-z0-9_][A-Za-z0-9._-]{0,63} (design section 9). */
#define NAME_BYTES_MAX 64
int name_is_valid(struct slice s);

/* Close *fd when it is open (>= 0) and set it to -1; errno is kept. */
void close_fd(int *fd);
/* All @len bytes or an error: 0, or -errno (-EPIPE when a read ends early). EINTR is handled. */
int read_all(int fd, void *data, size_t len);
int write_all(int fd, const void *data, size_t len);
int pread_all(int fd, void *data, size_t len, off_t offset);
int pwrite_all(int fd, const void *data, size_t len, off_t offset);

/* Milliseconds: CLOCK_MONOTONIC, and wall-clock time since 1970. */
uint64_t now_monotonic_ms(void);
uint64_t now_monotonic_us(void);
uint64_t now_wall_ms(void);

/* The kernel's random id of this boot, 16 bytes. 0 or -errno. */
int boot_id_read(uint8_t ret_id[16]);
/* @len random bytes from the kernel; cannot fail on the kernels we support (asserted). */
void random_fill(void *data, size_t len);
/* IEEE CRC-32 of @len bytes. */
uint32_t crc32_of(const void *data, size_t len);
/* Lower-case hex of @len bytes into @ret_text (2 * len + 1 bytes). */
void hex_encode(const void *data, size_t len, char *ret_text);
