/* Which daemon, and starting the user's own one (design section 10, "Socket"). */
#pragma once

#include "cli.h"

/* Connect cli->jobpool. 0, or the exit code: then everything was told on stderr. */
int cli_connect(struct cli *cli);
/* One more connection to the same daemon; NULL: told on stderr. The caller closes it. */
struct jobpool *cli_connect_again(const struct cli *cli);
