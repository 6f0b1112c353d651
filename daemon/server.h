/* The daemon as a whole: owns everything below it, in one order to start and one to stop. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "buf.h"
#include "config.h"

/* The command line; NULL or 0 = not given. */
struct server_options {
	const char *config_path;
	const char *state_dir;
	const char *socket_path;
	const char *supervisor;       /* "spawn" or "wait" */
	uint32_t workers;             /* size of every pool whose `workers` is auto */
};

/**
 * Read the configuration that these options mean: --config, else the user's own file if there is one, else the defaults.
 *
 * @ret_path: heap, absolute; "" when no file was read
 *
 * Returns as config_load(); then nothing is to be freed.
 */
int server_load_config(const struct server_options *options, struct config **ret_config, char **ret_path, struct buf *errors);

/* Start, serve until told to stop, stop. Returns the program's exit status; what was wrong is in the log. */
int server_run(const struct server_options *options);
