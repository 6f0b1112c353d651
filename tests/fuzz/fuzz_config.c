/* Fuzz target: the configuration. Any bytes are either refused with at least one message, or give a configuration whose
 * invariants hold and which config_show() prints so that it reads back to the same. */
#include <assert.h>
#include <stdint.h>

#include "config.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

static void check_config(const struct config *c)
{
	assert(c->pool_count >= 1 && c->queue_count >= 1);
	assert((unsigned)c->log_level < LOG_LEVEL_MAX);
	for (size_t i = 0; i < c->pool_count; i++) {
		const struct config_pool *pool = &c->pools[i];

		assert(name_is_valid(slice_of(pool->name)) && pool->queue_count >= 1);
		assert(i == 0 || strcmp(c->pools[i - 1].name, pool->name) < 0);
		assert(config_pool_size(pool) >= 1 && config_pool_size(pool) <= POOL_WORKERS_MAX);
		assert(config_find_pool(c, slice_of(pool->name)) == pool);
		for (size_t j = 0; j < pool->queue_count; j++)
			assert(config_find_queue(c, slice_of(pool->queues[j])));
	}
	for (size_t i = 0; i < c->queue_count; i++) {
		assert(name_is_valid(slice_of(c->queues[i].name)));
		assert(i == 0 || strcmp(c->queues[i - 1].name, c->queues[i].name) < 0);
		assert((unsigned)c->queues[i].on_lost < ON_LOST_MAX && c->queues[i].retries <= 1000);
	}
	assert(c->limits.connections >= 1 && c->limits.arguments >= 1 && c->limits.waited_jobs >= 1);
}

static void check_reads_back(const struct config *c)
{
	struct buf text = { 0 }, again_text = { 0 }, errors = { 0 };
	struct config *again = NULL;

	config_show(c, &text);
	assert(config_parse((struct slice){ text.data, text.len }, "shown", &again, &errors) == 0 && !errors.len);
	config_show(again, &again_text);
	assert(text.len == again_text.len && memcmp(text.data, again_text.data, text.len) == 0);
	config_free(again);
	buf_free(&text);
	buf_free(&again_text);
	buf_free(&errors);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	struct buf errors = { 0 };
	struct config *config = NULL;
	int r = config_parse((struct slice){ (const char *)bytes, size }, "fuzz", &config, &errors);

	assert(r == 0 || (r == -EINVAL && !config));
	assert((r == 0) == (errors.len == 0));
	if (r == 0) {
		check_config(config);
		check_reads_back(config);
	} else
		assert(errors.data[errors.len - 1] == '\n');
	config_free(config);
	buf_free(&errors);
	return 0;
}
