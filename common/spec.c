/* The stored form of a spec: the version, numbers, then the cwd and the words of argv, each ended by a NUL byte.
 * Every waiting job has one on disk, so numbers take as many bytes as they need: seven bits each, the lowest first, the top bit says
 * that more follow. One spec has one form only.
 * The version comes first and never moves; a newer version is refused, an older one would be read by a branch here. */
#include "spec.h"

#define UMASK_MAX 0777u

enum { FLAG_MERGE_OUTPUT = 1u << 0, FLAGS_KNOWN = FLAG_MERGE_OUTPUT };

/* In this order. */
enum number { NUMBER_FLAGS, NUMBER_ARGC, NUMBER_UMASK, NUMBER_TIMEOUT, NUMBER_GRACE, NUMBER_MAX_OUTPUT, NUMBER_INPUT, NUMBER_MAX };
#define NUMBER_BYTES_MAX 10

static size_t put_number(uint8_t *to, uint64_t value)
{
	size_t n = 0;

	for (; value >= 0x80; value >>= 7)
		to[n++] = (uint8_t)(value | 0x80);
	to[n++] = (uint8_t)value;
	return n;
}

static int take_number(struct slice *rest, uint64_t *ret_value)
{
	uint64_t value = 0;

	for (size_t i = 0; i < rest->len && i < NUMBER_BYTES_MAX; i++) {
		uint64_t byte = (uint8_t)rest->data[i], bits = byte & 0x7f;

		if ((i && !byte) || ((bits << 7 * i) >> 7 * i) != bits)
			return -EBADMSG;
		value |= bits << 7 * i;
		if (byte < 0x80) {
			*ret_value = value;
			rest->data += i + 1;
			rest->len -= i + 1;
			return 0;
		}
	}
	return -EBADMSG;
}

/* Cut version and numbers off the front of @data. */
static int take_numbers(struct slice *data, uint64_t numbers[NUMBER_MAX])
{
	uint8_t version = data->len ? (uint8_t)data->data[0] : 0;
	int r = 0;

	if (version != SPEC_VERSION)
		return version > SPEC_VERSION ? -EPROTONOSUPPORT : -EBADMSG;
	*data = (struct slice){ data->data + 1, data->len - 1 };
	for (size_t i = 0; i < NUMBER_MAX && r == 0; i++)
		r = take_number(data, &numbers[i]);
	if (r < 0 || (numbers[NUMBER_FLAGS] & ~(uint64_t)FLAGS_KNOWN) || numbers[NUMBER_UMASK] > UMASK_MAX ||
	    numbers[NUMBER_ARGC] > UINT32_MAX)
		return -EBADMSG;
	return 0;
}

/* All but the words. */
static struct spec spec_of(const uint64_t numbers[NUMBER_MAX])
{
	return (struct spec){
		.umask = (uint32_t)numbers[NUMBER_UMASK],
		.merge_output = numbers[NUMBER_FLAGS] & FLAG_MERGE_OUTPUT,
		.timeout_ms = numbers[NUMBER_TIMEOUT],
		.grace_ms = numbers[NUMBER_GRACE],
		.max_output_bytes = numbers[NUMBER_MAX_OUTPUT],
		.input_id = numbers[NUMBER_INPUT],
	};
}

static int word_is_clean(struct slice word)
{
	return !word.len || !memchr(word.data, '\0', word.len);
}

static int cwd_is_valid(struct slice cwd)
{
	return word_is_clean(cwd) && (!cwd.len || cwd.data[0] == '/');
}

static void append_word(struct buf *out, struct slice word)
{
	buf_append(out, word.data, word.len);
	buf_append(out, "", 1);
}

int spec_encode(const struct spec *spec, struct buf *out)
{
	const uint64_t numbers[NUMBER_MAX] = {
		[NUMBER_FLAGS] = spec->merge_output ? FLAG_MERGE_OUTPUT : 0, [NUMBER_ARGC] = spec->argc, [NUMBER_UMASK] = spec->umask,
		[NUMBER_TIMEOUT] = spec->timeout_ms, [NUMBER_GRACE] = spec->grace_ms, [NUMBER_MAX_OUTPUT] = spec->max_output_bytes,
		[NUMBER_INPUT] = spec->input_id,
	};
	uint8_t head[1 + NUMBER_MAX * NUMBER_BYTES_MAX] = { SPEC_VERSION };
	size_t head_bytes = 1, argv_bytes = 0;

	if (!spec->argc || !spec->argv[0].len || spec->umask > UMASK_MAX || !cwd_is_valid(spec->cwd))
		return -EINVAL;
	for (uint32_t i = 0; i < spec->argc; i++) {
		if (!word_is_clean(spec->argv[i]))
			return -EINVAL;
		argv_bytes += spec->argv[i].len + 1;
	}
	for (size_t i = 0; i < NUMBER_MAX; i++)
		head_bytes += put_number(head + head_bytes, numbers[i]);
	/* All room at once: nothing after this can fail half-way. */
	if (!buf_reserve(out, head_bytes + spec->cwd.len + 1 + argv_bytes))
		return -ENOMEM;
	buf_append(out, head, head_bytes);
	append_word(out, spec->cwd);
	for (uint32_t i = 0; i < spec->argc; i++)
		append_word(out, spec->argv[i]);
	return 0;
}

/* Cut the first NUL-terminated word off @rest; its slice is without the NUL byte. */
static int take_word(struct slice *rest, struct slice *ret_word)
{
	const char *end = rest->len ? memchr(rest->data, '\0', rest->len) : NULL;

	if (!end)
		return -EBADMSG;
	size_t len = (size_t)(end - rest->data);
	*ret_word = (struct slice){ rest->data, len };
	rest->data += len + 1;
	rest->len -= len + 1;
	return 0;
}

/* Exactly @argc words in @words, onto the heap. */
static int decode_argv(struct slice words, uint32_t argc, struct slice **ret_argv)
{
	/* A word takes at least its NUL byte, so the allocation is bounded by the bytes we really have. */
	if (!argc || argc > words.len)
		return -EBADMSG;
	struct slice *argv = calloc(argc, sizeof(*argv));
	if (!argv)
		return -ENOMEM;
	int r = 0;
	for (uint32_t i = 0; i < argc && r == 0; i++)
		r = take_word(&words, &argv[i]);
	if (r < 0 || words.len || !argv[0].len) {
		free(argv);
		return -EBADMSG;
	}
	*ret_argv = argv;
	return 0;
}

int spec_decode(struct slice data, struct spec *ret_spec)
{
	uint64_t numbers[NUMBER_MAX];
	struct spec spec;
	int r = take_numbers(&data, numbers);

	if (r < 0)
		return r;
	spec = spec_of(numbers);
	if (take_word(&data, &spec.cwd) < 0 || !cwd_is_valid(spec.cwd))
		return -EBADMSG;
	spec.argc = (uint32_t)numbers[NUMBER_ARGC];
	r = decode_argv(data, spec.argc, &spec.argv);
	if (r == 0)
		*ret_spec = spec;
	return r;
}

/* As take_word(), but at the end of the bytes the rest is taken for a word. */
static struct slice take_word_or_rest(struct slice *rest)
{
	struct slice word;

	if (take_word(rest, &word) == 0)
		return word;
	word = *rest;
	rest->data += rest->len;
	rest->len = 0;
	return word;
}

int spec_decode_front(struct slice data, struct spec *ret_spec, bool *ret_cut)
{
	uint64_t numbers[NUMBER_MAX];
	struct spec spec;

	if (take_numbers(&data, numbers) < 0)
		return -EBADMSG;
	spec = spec_of(numbers);
	*ret_cut = !data.len || data.data[data.len - 1]; /* else the last word is whole, and the count tells whether it is the last */
	spec.cwd = take_word_or_rest(&data);
	spec.argv = calloc(MIN((size_t)numbers[NUMBER_ARGC], data.len) + 1, sizeof(*spec.argv));
	if (!spec.argv)
		return -ENOMEM;
	while (spec.argc < numbers[NUMBER_ARGC] && data.len)
		spec.argv[spec.argc++] = take_word_or_rest(&data);
	*ret_cut |= spec.argc < numbers[NUMBER_ARGC];
	if (data.len) {
		spec_deinit(&spec);
		return -EBADMSG;
	}
	*ret_spec = spec;
	return 0;
}

void spec_deinit(struct spec *spec)
{
	free(spec->argv);
	spec->argv = NULL;
	spec->argc = 0;
}

int environment_check(struct slice block)
{
	struct slice entry;

	while (block.len) {
		if (take_word(&block, &entry) < 0)
			return -EINVAL;
		const char *equals = entry.len ? memchr(entry.data, '=', entry.len) : NULL;
		if (!equals || equals == entry.data)
			return -EINVAL;
	}
	return 0;
}
