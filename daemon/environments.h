/* The environments of the jobs that are about to start: a small cache by id, so that a thousand jobs of one submitter do not read
 * theirs a thousand times. Content never changes under an id. */
#pragma once

#include <stdint.h>
#include <uthash.h>

#include "list.h"
#include "util.h"

#define ENVIRONMENTS_CACHED_MAX 16u /* those that no job holds; each is at most a request long */

struct environment {
	UT_hash_handle by_id;
	struct list idle_link;      /* in environments.idle while nobody holds it, the longest unused first */
	uint64_t id;
	uint32_t references;
	struct slice block;         /* owned: name=value, each ended by NUL */
};

struct environments {
	struct environment *by_id;
	struct list idle;
	uint32_t idle_count;
};

void environments_init(struct environments *cache);
void environments_deinit(struct environments *cache);   /* nobody may hold one any more */
/* Holds it: environments_release() ends that. NULL = not cached. */
struct environment *environments_find(struct environments *cache, uint64_t id);
/* Put one in and hold it; @block (heap) becomes the cache's, also when it is known already. NULL = out of memory. */
struct environment *environments_put(struct environments *cache, uint64_t id, struct slice block);
void environments_release(struct environments *cache, struct environment *environment); /* NULL is fine */
