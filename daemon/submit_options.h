/* The options of SUBMIT (doc/protocol.md): words in, one struct out. Pure, and so a fuzz target. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "config.h"
#include "options.h"
#include "spec.h"

extern const struct option_table submit_option_table;

/* All that a SUBMIT says behind the queue's name. Slices are borrowed from the words. */
struct submit_options {
	struct slice name, key;       /* data NULL = none */
	struct slice cwd;
	int64_t priority;
	int64_t environment_id, input_id;
	int64_t retries;              /* RETRIES_UNSET: not named */
	int64_t hold;
	uint64_t timeout_ms, grace_ms, max_output_bytes, delay_ms;
	uint32_t umask;
	bool merged;
	enum on_lost on_lost;
	uint32_t max_attempts;        /* result: by the rule P3 of the design */
	const struct slice *argv;     /* @argc >= 1 words */
	uint32_t argc;
};

#define RETRIES_UNSET (-1)
/* Where max_attempts is not said and lost attempts are repeated (design section 5, P3). */
#define LOST_ATTEMPTS_DEFAULT 3

/**
 * @words:    the request behind the queue's name: [OPTION value]... CMD arg...
 * @defaults: the queue's, NULL = those of a queue that is not configured
 *
 * Returns 0, or -EINVAL with a line in @error; argv, cwd and the rest are valid for spec_encode() then.
 */
int submit_options_parse(const struct slice *words, uint32_t count, const struct config_queue *defaults,
			 struct submit_options *ret_options, char error[256]);

/* What "the same spec" means for a key: queue, argv and cwd. */
uint64_t submit_spec_hash(struct slice queue, const struct submit_options *options);
