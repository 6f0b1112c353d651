/* Runs all unit test suites. CK_RUN_SUITE=name in the environment picks one, CK_FORK=no helps a debugger. */
#include <stdlib.h>

#include "suites.h"
#include "util.h"

static Suite *(*const suites[])(void) = {
	tree_suite,
	supervisor_suite,
	util_suite,
	log_suite,
	units_suite,
	resp_suite,
	outcome_suite,
	config_suite,
	spec_suite,
	worker_proto_suite,
	worker_file_suite,
	worker_suite,
	store_suite,
	wal_file_suite,
	waiters_suite,
	commands_suite,
	client_text_suite,
	job_suite,
	queue_suite,
	backoff_suite,
	environments_suite,
	pool_suite,
	rate_suite,
	recover_suite,
};

int main(void)
{
	SRunner *runner = srunner_create(NULL);
	int failed;

	for (size_t i = 0; i < ARRAY_SIZE(suites); i++)
		srunner_add_suite(runner, suites[i]());
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
