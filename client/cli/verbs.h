/* The verbs: one function each, which returns the exit code. The table is in main.c. */
#pragma once

#include "cli.h"

int verb_submit(struct cli *cli);
int verb_run(struct cli *cli);
int verb_wait(struct cli *cli);
int verb_join(struct cli *cli);
int verb_list(struct cli *cli);
int verb_show(struct cli *cli);
int verb_log(struct cli *cli);
int verb_kill(struct cli *cli);
int verb_change(struct cli *cli);  /* cancel hold release retry remove */
int verb_clean(struct cli *cli);
int verb_why(struct cli *cli);
int verb_queue(struct cli *cli);
int verb_pools(struct cli *cli);
int verb_workers(struct cli *cli);
int verb_reload(struct cli *cli);
int verb_stop(struct cli *cli);
int verb_ping(struct cli *cli);
int verb_version(struct cli *cli);

extern const struct option_row each_line_options[], wait_options[], join_options[], timeout_options[], list_options[], log_options[],
	kill_options[], clean_options[], stop_options[];
