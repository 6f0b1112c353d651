/* See environments.h. */
#include "environments.h"

#include <assert.h>

void environments_init(struct environments *cache)
{
	*cache = (struct environments){ 0 };
	list_init(&cache->idle);
}

static void drop(struct environments *cache, struct environment *e)
{
	assert(e->references == 0);
	list_remove(&e->idle_link);
	cache->idle_count--;
	HASH_DELETE(by_id, cache->by_id, e);
	free((char *)e->block.data);
	free(e);
}

void environments_deinit(struct environments *cache)
{
	struct environment *e, *tmp;

	HASH_ITER(by_id, cache->by_id, e, tmp)
		drop(cache, e);
}

static struct environment *hold(struct environments *cache, struct environment *e)
{
	if (e->references++ == 0) {
		list_remove(&e->idle_link);
		cache->idle_count--;
	}
	return e;
}

struct environment *environments_find(struct environments *cache, uint64_t id)
{
	struct environment *e;

	HASH_FIND(by_id, cache->by_id, &id, sizeof(id), e);
	return e ? hold(cache, e) : NULL;
}

struct environment *environments_put(struct environments *cache, uint64_t id, struct slice block)
{
	struct environment *e = environments_find(cache, id);

	if (e) {
		free((char *)block.data);
		return e;
	}
	e = calloc(1, sizeof(*e));
	if (!e) {
		free((char *)block.data);
		return NULL;
	}
	e->id = id;
	e->block = block;
	e->references = 1;
	list_init(&e->idle_link);
	HASH_ADD(by_id, cache->by_id, id, sizeof(e->id), e);
	return e;
}

void environments_release(struct environments *cache, struct environment *e)
{
	if (!e)
		return;
	assert(e->references > 0);
	if (--e->references > 0)
		return;
	list_append(&cache->idle, &e->idle_link);
	if (++cache->idle_count > ENVIRONMENTS_CACHED_MAX)
		drop(cache, list_first(&cache->idle, struct environment, idle_link));
}
