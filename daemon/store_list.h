/* Listing jobs: by filter in the order of ids, and by groups of ready jobs. Same rules as store_ops.h. */
#pragma once

#include "schema.h"
#include "store.h"

int list_jobs(struct database *db, struct store_request *request);
int list_oldest(struct database *db, struct store_request *request);
