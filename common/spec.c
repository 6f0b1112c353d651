/* The stored form of a spec: a fixed head, then the cwd and the words of argv, each ended by a NUL byte.
 * The version comes first and never moves; a newer version is refused, an older one would be read by a branch here.
 * Native byte order: a store does not leave its machine. */
#include "spec.h"

#define UMASK_MAX 0777u

enum { FLAG_MERGE_OUTPUT = 1u << 0, FLAGS_KNOWN = FLAG_MERGE_OUTPUT };

struct spec_head {
	uint32_t version;
	uint32_t flags;
	uint32_t argc;
	uint32_t umask;
	uint64_t timeout_ms;
	uint64_t grace_ms;
	uint64_t max_output_bytes;
	uint64_t input_id;
	uint32_t cwd_bytes;  /* with the NUL byte */
	uint32_t argv_bytes; /* with a NUL byte for each word */
};
_Static_assert(sizeof(struct spec_head) == 56, "layout is stored");

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
	size_t argv_bytes = 0;

	if (!spec->argc || !spec->argv[0].len || spec->umask > UMASK_MAX || !cwd_is_valid(spec->cwd))
		return -EINVAL;
	for (uint32_t i = 0; i < spec->argc; i++) {
		if (!word_is_clean(spec->argv[i]))
			return -EINVAL;
		argv_bytes += spec->argv[i].len + 1;
	}
	if (argv_bytes > UINT32_MAX || spec->cwd.len >= UINT32_MAX)
		return -EINVAL;

	struct spec_head head = {
		.version = SPEC_VERSION,
		.flags = spec->merge_output ? FLAG_MERGE_OUTPUT : 0,
		.argc = spec->argc,
		.umask = spec->umask,
		.timeout_ms = spec->timeout_ms,
		.grace_ms = spec->grace_ms,
		.max_output_bytes = spec->max_output_bytes,
		.input_id = spec->input_id,
		.cwd_bytes = (uint32_t)spec->cwd.len + 1,
		.argv_bytes = (uint32_t)argv_bytes,
	};
	/* All room at once: nothing after this can fail half-way. */
	if (!buf_reserve(out, sizeof(head) + head.cwd_bytes + argv_bytes))
		return -ENOMEM;
	buf_append(out, &head, sizeof(head));
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
	struct spec_head head;
	struct slice cwd, *argv;
	uint32_t version;
	int r;

	if (data.len < sizeof(version))
		return -EBADMSG;
	memcpy(&version, data.data, sizeof(version));
	if (version != SPEC_VERSION)
		return version > SPEC_VERSION ? -EPROTONOSUPPORT : -EBADMSG;
	if (data.len < sizeof(head))
		return -EBADMSG;
	memcpy(&head, data.data, sizeof(head));
	if ((head.flags & ~(uint32_t)FLAGS_KNOWN) || head.umask > UMASK_MAX ||
	    data.len - sizeof(head) != (uint64_t)head.cwd_bytes + head.argv_bytes)
		return -EBADMSG;

	struct slice cwd_word = { data.data + sizeof(head), head.cwd_bytes };
	if (take_word(&cwd_word, &cwd) < 0 || cwd_word.len || !cwd_is_valid(cwd))
		return -EBADMSG;
	struct slice words = { data.data + sizeof(head) + head.cwd_bytes, head.argv_bytes };
	r = decode_argv(words, head.argc, &argv);
	if (r < 0)
		return r;

	*ret_spec = (struct spec){
		.argv = argv,
		.argc = head.argc,
		.cwd = cwd,
		.umask = head.umask,
		.merge_output = head.flags & FLAG_MERGE_OUTPUT,
		.timeout_ms = head.timeout_ms,
		.grace_ms = head.grace_ms,
		.max_output_bytes = head.max_output_bytes,
		.input_id = head.input_id,
	};
	return 0;
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
	struct spec spec = { 0 };
	struct spec_head head;
	uint64_t whole;

	if (data.len < sizeof(head))
		return -EBADMSG;
	memcpy(&head, data.data, sizeof(head));
	whole = sizeof(head) + (uint64_t)head.cwd_bytes + head.argv_bytes;
	if (head.version != SPEC_VERSION || data.len > whole)
		return -EBADMSG;
	data.data += sizeof(head);
	data.len -= sizeof(head);
	*ret_cut = data.len + sizeof(head) < whole;
	spec.cwd = take_word_or_rest(&data);
	spec.argv = calloc(MIN((size_t)head.argc, data.len) + 1, sizeof(*spec.argv));
	if (!spec.argv)
		return -ENOMEM;
	while (spec.argc < head.argc && data.len)
		spec.argv[spec.argc++] = take_word_or_rest(&data);
	spec.umask = head.umask;
	spec.merge_output = head.flags & FLAG_MERGE_OUTPUT;
	spec.timeout_ms = head.timeout_ms;
	spec.grace_ms = head.grace_ms;
	spec.max_output_bytes = head.max_output_bytes;
	spec.input_id = head.input_id;
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
