/* The ops that change something, one function each. Same rules as store_ops.h. */
#pragma once

#include "store_ops.h"

int change_insert_job(struct ops *ops, struct store_request *request);
/* Jobs are written several at a time; before anybody looks at them: write those that are left. */
int change_flush_inserts(struct ops *ops);
/* Changes nothing, but reads the clock of the changes. */
int change_find_key(struct ops *ops, struct store_request *request);
int change_start_attempt(struct ops *ops, struct store_request *request);
int change_unstart_attempt(struct ops *ops, struct store_request *request);
int change_end_attempt(struct ops *ops, struct store_request *request);
int change_update_job(struct ops *ops, struct store_request *request);
int change_remove_jobs(struct ops *ops, struct store_request *request);
int change_clean(struct ops *ops, struct store_request *request);
int change_put_queue(struct ops *ops, struct store_request *request);
int change_put_environment(struct ops *ops, struct store_request *request);
int change_new_input(struct ops *ops, struct store_request *request);
int change_sweep(struct ops *ops, struct store_request *request);
