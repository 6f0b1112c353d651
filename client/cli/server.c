/* Verbs on the daemon itself. */
#include <stdio.h>

#include "build_config.h"
#include "connect.h"
#include "verbs.h"

const struct option_row stop_options[] = {
	{ "kill", 0, NULL, "end running jobs, workers and supervisor too", OPTION_OWN },
	{ "leave", 0, NULL, "leave running jobs to their workers; the next daemon finds them again (this is the default)", OPTION_OWN },
	{ .name = NULL },
};

int verb_reload(struct cli *cli)
{
	return jobpool_reload(cli->jobpool) < 0 ? cli_fail(cli, NULL) : EXIT_OK;
}

int verb_stop(struct cli *cli)
{
	bool end = cli_option(cli, "kill") != NULL;
	int r;

	if (end && cli_option(cli, "leave"))
		return cli_usage(cli, "--kill and --leave do not go together");
	r = cli_connect(cli);
	if (r)
		return r;
	return jobpool_shutdown(cli->jobpool, end) < 0 ? cli_fail(cli, NULL) : EXIT_OK;
}

int verb_ping(struct cli *cli)
{
	if (jobpool_ping(cli->jobpool) < 0)
		return cli_fail(cli, NULL);
	puts("PONG");
	return EXIT_OK;
}

int verb_version(struct cli *cli)
{
	struct jobpool_value *server;
	const char *version;
	int r;

	printf("jobpool %s\n", PACKAGE_VERSION);
	fflush(stdout); /* this much is true also when no daemon answers */
	r = cli_connect(cli);
	if (r)
		return r;
	if (jobpool_hello(cli->jobpool, &server) < 0)
		return cli_fail(cli, NULL);
	version = jobpool_map_text(server, "version");
	printf("daemon %s\n", version ? version : "(tells no version)");
	jobpool_value_free(server);
	return EXIT_OK;
}
