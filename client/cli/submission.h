/* From the options of submit and run to a spec: command, directory, umask, environment, input. */
#pragma once

#include "cli.h"

struct submission {
	struct jobpool_spec spec;        /* points into what follows */
	struct jobpool_option *options;  /* owned */
	char *cwd;                       /* owned */
	char umask_text[8], input_text[24];
	char *script;                    /* --shell: the words joined; owned */
	const char **argv;               /* owned; NULL-terminated */
};

/**
 * Make a spec of what was given, and tell the library the environment.
 *
 * @split: stdout and stderr apart
 *
 * Returns 0, or the exit code: then everything was told. submission_deinit() in both cases.
 */
int submission_init(struct submission *s, struct cli *cli, bool split);
void submission_deinit(struct submission *s);
