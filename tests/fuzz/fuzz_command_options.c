/* Fuzz target: the options of SUBMIT. The input is cut into words at newlines; what is accepted must keep the rules that the
 * rest of the daemon counts on, and must be encodable. */
#include <assert.h>
#include <stdint.h>

#include "job.h"
#include "spec.h"
#include "submit_options.h"

#define WORDS_MAX 64

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

static void check_accepted(const struct submit_options *o)
{
	struct spec spec = { .argv = (struct slice *)o->argv, .argc = o->argc, .cwd = o->cwd, .umask = o->umask,
			     .merge_output = o->merged, .timeout_ms = o->timeout_ms, .grace_ms = o->grace_ms,
			     .max_output_bytes = o->max_output_bytes };
	struct spec again;
	struct buf stored = { 0 };

	assert(o->priority >= -JOB_PRIORITY_MAX && o->priority <= JOB_PRIORITY_MAX);
	assert(o->retries >= 0 && o->max_attempts >= 1 && o->max_attempts <= JOB_RETRIES_MAX + 1);
	assert(!o->name.data || (o->name.len && o->name.len <= JOB_NAME_BYTES_MAX));
	assert(!o->key.data || (o->key.len && o->key.len <= JOB_KEY_BYTES_MAX));
	assert(o->environment_id >= 0 && o->input_id >= 0 && o->umask <= 0777);
	assert(spec_encode(&spec, &stored) == 0);
	assert(spec_decode((struct slice){ stored.data, stored.len }, &again) == 0);
	assert(again.argc == o->argc && slice_equal(again.argv[0], o->argv[0]));
	spec_deinit(&again);
	buf_free(&stored);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	struct slice words[WORDS_MAX], rest = { (const char *)bytes, size };
	struct submit_options options;
	char error[256] = "";
	uint32_t count = 0;

	while (count < WORDS_MAX && rest.len) {
		const char *newline = memchr(rest.data, '\n', rest.len);
		size_t len = newline ? (size_t)(newline - rest.data) : rest.len;

		words[count++] = (struct slice){ rest.data, len };
		len += newline != NULL;
		rest.data += len;
		rest.len -= len;
	}
	if (submit_options_parse(words, count, NULL, &options, error) == 0)
		check_accepted(&options);
	else
		assert(error[0]);
	return 0;
}
