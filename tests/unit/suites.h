/* All unit test suites; main.c runs them in this order. */
#pragma once

#include <check.h>

Suite *tree_suite(void);
Suite *supervisor_suite(void);
Suite *util_suite(void);
Suite *log_suite(void);
Suite *units_suite(void);
Suite *resp_suite(void);
Suite *outcome_suite(void);
Suite *config_suite(void);
Suite *spec_suite(void);
Suite *worker_proto_suite(void);
Suite *worker_file_suite(void);
Suite *worker_suite(void);
Suite *store_suite(void);
Suite *wal_file_suite(void);
Suite *waiters_suite(void);
Suite *commands_suite(void);
Suite *client_text_suite(void);
Suite *job_suite(void);
Suite *queue_suite(void);
Suite *backoff_suite(void);
Suite *environments_suite(void);
Suite *pool_suite(void);
Suite *rate_suite(void);
Suite *recover_suite(void);
