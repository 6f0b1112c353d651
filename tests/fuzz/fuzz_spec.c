/* Any bytes as a stored spec and as an environment block; what is read must be written the same. */
#include "spec.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct slice input = { (const char *)data, size };
	struct buf again = { 0 };
	struct spec spec;

	(void)environment_check(input);
	if (spec_decode(input, &spec) < 0)
		return 0;
	if (spec_encode(&spec, &again) < 0 || again.len != size || memcmp(again.data, data, size) != 0)
		abort();
	buf_free(&again);
	spec_deinit(&spec);
	return 0;
}
