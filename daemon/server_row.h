/* The one row of the server: counters, and the clock that ages run on (P12). */
#pragma once

#include "schema.h"

struct server_row {
	uint64_t boot_epoch;   /* the first epoch of this boot: an attempt of an earlier one was given out before the machine restarted */
	uint64_t epoch, commit_number, next_job_id, next_environment_id, next_input_id;
	uint64_t clock_ms;     /* the store's clock, and the two others at the same moment */
	uint64_t wall_ms, monotonic_ms;
};

/* Begin a new epoch, in one transaction: the clock goes on, and due times are carried over to a new boot. An SQLite code. */
int server_row_begin(struct database *db, const uint8_t boot_id[16], struct server_row *ret_row);
/* Advance the three clocks to now. */
void server_row_tick(struct server_row *row);
/* Write all but epoch and boot; inside the caller's transaction. An SQLite code. */
int server_row_save(struct database *db, const struct server_row *row);
