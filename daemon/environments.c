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

/* ---- by content ---- */

uint64_t named_environments_find(const struct named_environments *named, struct slice owner, struct slice block, uint64_t now_ms)
{
	for (size_t i = 0; i < ARRAY_SIZE(named->rows); i++) {
		const struct named_environment *row = &named->rows[i];

		if (row->id && now_ms - row->named_ms < ENVIRONMENT_NAMED_MS && slice_equal(row->owner, owner) && slice_equal(row->block, block))
			return row->id;
	}
	return 0;
}

static void forget(struct named_environment *row)
{
	free((char *)row->owner.data);
	free((char *)row->block.data);
	*row = (struct named_environment){ 0 };
}

void named_environments_put(struct named_environments *named, struct slice owner, struct slice block, uint64_t id, uint64_t now_ms)
{
	struct named_environment *row = &named->rows[0];

	if (block.len > ENVIRONMENT_NAMED_BYTES_MAX)
		return;
	for (size_t i = 0; i < ARRAY_SIZE(named->rows); i++) {
		if (named->rows[i].id == id) {
			row = &named->rows[i];
			break;
		}
		if (named->rows[i].named_ms < row->named_ms)
			row = &named->rows[i];
	}
	forget(row);
	row->owner = (struct slice){ slice_dup(owner), owner.len };
	row->block = (struct slice){ slice_dup(block), block.len };
	if (!row->owner.data || !row->block.data) {
		forget(row);
		return;
	}
	row->id = id;
	row->named_ms = now_ms;
}

void named_environments_deinit(struct named_environments *named)
{
	for (size_t i = 0; i < ARRAY_SIZE(named->rows); i++)
		forget(&named->rows[i]);
}
