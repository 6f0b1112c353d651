/* The configuration: one YAML file to one struct config, driven by one table of keys (design section 11).
 * config.c is the only file that includes <yaml.h>. Knows no loop and no clock; reads the one file it is given. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "buf.h"
#include "log.h"
#include "util.h"

enum on_lost { ON_LOST_FAIL, ON_LOST_RETRY, ON_LOST_MAX };

#define WORKERS_AUTO 0u     /* config_pool.workers: one per CPU; config_pool_size() gives the number */
#define POOL_WORKERS_MAX 1024u

struct config_pool {
	char *name;
	uint32_t workers;            /* 1..POOL_WORKERS_MAX, or WORKERS_AUTO */
	char **queues;               /* @queue_count >= 1 names; no queue is served by two pools */
	size_t queue_count;
	uint64_t recycle_after_jobs; /* a worker is replaced after so many jobs; 0 = never */
};

/* Defaults of the jobs of one queue; a submission overrides what it names itself. */
struct config_queue {
	char *name;
	uint64_t max_length;         /* unfinished jobs; 0 = unbounded */
	uint32_t retries;            /* further attempts after a failed one (outcomes failed, signaled, timeout, oom) */
	bool retries_set;            /* false: the key was not given (on_lost: retry then means 3 attempts) */
	uint64_t timeout_ms;         /* 0 = none */
	uint64_t grace_ms;
	uint64_t max_output_bytes;   /* of each stream */
	enum on_lost on_lost;
};

struct config {
	enum log_level log_level;
	struct config_pool *pools;   /* sorted by name; without any in the file: "default" */
	size_t pool_count;
	struct config_queue *queues; /* sorted by name: those of `queues:`, and every queue that a pool names */
	size_t queue_count;
	struct {
		uint64_t connections;        /* client connections at one time */
		uint64_t request_bytes;      /* one request's payload */
		uint64_t arguments;          /* elements of one request */
		uint64_t input_bytes;        /* one job's stdin */
		uint64_t queued_jobs;        /* unfinished jobs of the daemon; 0 = unbounded */
		uint64_t waited_jobs;        /* ids in one WAIT, CANCEL, ... */
	} limits;
	struct {
		uint64_t finished_ms;        /* finished jobs are removed after this; 0 = never */
		uint64_t jobs;               /* at most so many finished jobs are kept; 0 = unbounded */
	} retention;
};

/**
 * Read a file, or with @path NULL take the defaults.
 *
 * @errors: for each problem one line "FILE:LINE:COLUMN: what is wrong; what to do" (with a suggestion for a mistyped key)
 * is appended, newline included. All problems that can be told apart are listed, not just the first.
 *
 * Returns 0, and *ret_config is the caller's to config_free(); -EINVAL (see @errors), -ENOENT and other -errno for the file
 * itself (one line in @errors too): *ret_config is untouched.
 */
int config_load(const char *path, struct config **ret_config, struct buf *errors);
/* The same from memory (tests, fuzzing); @name stands for FILE. */
int config_parse(struct slice yaml, const char *name, struct config **ret_config, struct buf *errors);
void config_free(struct config *config);
/* The whole configuration as YAML that config_load() reads back to the same; every key, also those at their default. */
void config_show(const struct config *config, struct buf *out);

/* Borrowed, or NULL. */
const struct config_queue *config_find_queue(const struct config *config, struct slice name);
const struct config_pool *config_find_pool(const struct config *config, struct slice name);
/* Workers the pool is to have: resolves WORKERS_AUTO by the CPUs this process may run on. */
uint32_t config_pool_size(const struct config_pool *pool);

const char *on_lost_name(enum on_lost on_lost);
int on_lost_parse(struct slice word, enum on_lost *ret_on_lost);
