/* Two small caches. By id, the environments of the jobs that are about to start: a thousand jobs of one submitter do not read theirs a
 * thousand times. By content, those that clients have named lately: who names one again is answered without a commit. Content never changes
 * under an id. */
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

#define ENVIRONMENTS_NAMED_MAX 8u
#define ENVIRONMENT_NAMED_BYTES_MAX 16384u /* larger ones are always asked of the store */
#define ENVIRONMENT_NAMED_MS 60000u /* then the store is to hear of it, which lets an unused one go STORE_ENVIRONMENT_MS after it last did */

struct named_environments {
	struct named_environment {
		uint64_t id;        /* 0 = free */
		uint64_t named_ms;  /* when the store answered */
		struct slice owner, block; /* owned */
	} rows[ENVIRONMENTS_NAMED_MAX];
};

/* 0 = not known, or not any more. */
uint64_t named_environments_find(const struct named_environments *named, struct slice owner, struct slice block, uint64_t now_ms);
/* The store has answered @id. Copies; the one that was put first goes. */
void named_environments_put(struct named_environments *named, struct slice owner, struct slice block, uint64_t id, uint64_t now_ms);
void named_environments_deinit(struct named_environments *named);
