/* The server's row (see server_row.h). */
#include "server_row.h"

#include "sql.h"

#define OFF_MS_MAX UINT64_C(86400000) /* P12: while it was off the clock advances by a day at most */

static int load(struct database *db, struct server_row *row, uint8_t ret_boot_id[16])
{
	sqlite3_stmt *s = sql_get(db, SQL_SERVER_GET);
	int code = sqlite3_step(s);

	if (code == SQLITE_ROW) {
		*row = (struct server_row){
			.epoch = sql_uint(s, 0),
			.commit_number = sql_uint(s, 1),
			.next_job_id = sql_uint(s, 2),
			.next_environment_id = sql_uint(s, 3),
			.next_input_id = sql_uint(s, 4),
			.clock_ms = sql_uint(s, 5),
			.wall_ms = sql_uint(s, 6),
			.monotonic_ms = sql_uint(s, 7),
			.boot_epoch = sql_uint(s, 9),
		};
		sql_copy(s, 8, ret_boot_id, 16);
	} else if (code == SQLITE_DONE) {
		code = SQLITE_CORRUPT; /* the schema made that row, and nothing deletes it */
	}
	return sql_end(s, code);
}

/* Due times are monotonic ones of the boot that set them. */
static int rebase_due(struct database *db, const struct server_row *stored)
{
	sqlite3_stmt *s = sql_get(db, SQL_DUE_REBASE);

	sql_put(s, 1, now_monotonic_ms());
	sql_put(s, 2, now_wall_ms());
	sql_put(s, 3, stored->monotonic_ms);
	return sql_run(s);
}

static int save_boot(struct database *db, const struct server_row *row, const uint8_t boot_id[16])
{
	sqlite3_stmt *s = sql_get(db, SQL_SERVER_BOOT);

	sql_put(s, 1, row->epoch);
	sql_put_bytes(s, 2, boot_id, 16);
	sql_put(s, 3, row->boot_epoch);
	return sql_run(s);
}

static int begin(struct database *db, const uint8_t boot_id[16], struct server_row *row)
{
	uint8_t stored_boot_id[16] = { 0 };
	uint64_t wall_ms = now_wall_ms();
	int code = load(db, row, stored_boot_id);
	bool new_boot = memcmp(stored_boot_id, boot_id, 16) != 0;

	if (code == SQLITE_OK && new_boot)
		code = rebase_due(db, row);
	if (code != SQLITE_OK)
		return code;
	row->epoch++;
	if (new_boot)
		row->boot_epoch = row->epoch;
	row->commit_number++;
	if (row->wall_ms && wall_ms > row->wall_ms)
		row->clock_ms += MIN(wall_ms - row->wall_ms, OFF_MS_MAX);
	row->wall_ms = wall_ms;
	row->monotonic_ms = now_monotonic_ms();
	code = save_boot(db, row, boot_id);
	return code == SQLITE_OK ? server_row_save(db, row) : code;
}

int server_row_begin(struct database *db, const uint8_t boot_id[16], struct server_row *ret_row)
{
	int code = sql_run(sql_get(db, SQL_BEGIN));

	if (code == SQLITE_OK)
		code = begin(db, boot_id, ret_row);
	/* No ROLLBACK on failure: the caller closes the database, and that is one. */
	return code == SQLITE_OK ? sql_run(sql_get(db, SQL_COMMIT)) : code;
}

void server_row_tick(struct server_row *row)
{
	uint64_t monotonic_ms = now_monotonic_ms();

	row->clock_ms += monotonic_ms - row->monotonic_ms;
	row->monotonic_ms = monotonic_ms;
	row->wall_ms = now_wall_ms();
}

int server_row_save(struct database *db, const struct server_row *row)
{
	sqlite3_stmt *s = sql_get(db, SQL_SERVER_SET);

	sql_put(s, 1, row->commit_number);
	sql_put(s, 2, row->next_job_id);
	sql_put(s, 3, row->next_environment_id);
	sql_put(s, 4, row->next_input_id);
	sql_put(s, 5, row->clock_ms);
	sql_put(s, 6, row->wall_ms);
	sql_put(s, 7, row->monotonic_ms);
	return sql_run(s);
}
