/* Short words for what every statement needs: bind, step, reset. A statement is reset by whoever stepped it, on every path: one that
 * is left open pins the WAL. Only the store's own files include this. */
#pragma once

#include <assert.h>
#include <sqlite3.h>

#include "schema.h"
#include "util.h"

static inline sqlite3_stmt *sql_get(const struct database *db, enum statement id)
{
	assert(!sqlite3_stmt_busy(db->statements[id]));
	return db->statements[id];
}

/* Binding a number or borrowed bytes allocates nothing: it can fail only for a parameter that is not there. */
static inline void sql_put(sqlite3_stmt *s, int at, uint64_t value)
{
	int code = sqlite3_bind_int64(s, at, (sqlite3_int64)value);

	assert(code == SQLITE_OK);
}

/* Borrowed until the statement is reset; data NULL = NULL. */
static inline void sql_put_bytes(sqlite3_stmt *s, int at, const void *data, size_t len)
{
	int code = data ? sqlite3_bind_blob64(s, at, data, len, SQLITE_STATIC) : sqlite3_bind_null(s, at);

	assert(code == SQLITE_OK);
}

static inline void sql_put_slice(sqlite3_stmt *s, int at, struct slice value)
{
	sql_put_bytes(s, at, value.data, value.len);
}

/* For columns that are NOT NULL: data NULL = no bytes. */
static inline void sql_put_filled(sqlite3_stmt *s, int at, struct slice value)
{
	sql_put_bytes(s, at, value.data ? value.data : "", value.len);
}

static inline uint64_t sql_uint(sqlite3_stmt *s, int column)
{
	return (uint64_t)sqlite3_column_int64(s, column);
}

/* Borrowed until the next step or reset; data NULL = NULL. */
static inline struct slice sql_bytes(sqlite3_stmt *s, int column)
{
	const void *data = sqlite3_column_blob(s, column);

	if (!data && sqlite3_column_type(s, column) != SQLITE_NULL)
		data = "";
	return (struct slice){ data, (size_t)sqlite3_column_bytes(s, column) };
}

/* Reset after a step that returned @code: SQLITE_OK after a row or the end, else what went wrong. */
static inline int sql_end(sqlite3_stmt *s, int code)
{
	int reset = sqlite3_reset(s);

	if (code == SQLITE_ROW || code == SQLITE_DONE)
		return SQLITE_OK;
	return reset != SQLITE_OK ? reset : code;
}

static inline int sql_run(sqlite3_stmt *s)
{
	return sql_end(s, sqlite3_step(s));
}

/* Step, take column 0 of the first row if there is one, reset. */
static inline int sql_first(sqlite3_stmt *s, bool *ret_found, uint64_t *ret_value)
{
	int code = sqlite3_step(s);

	*ret_found = code == SQLITE_ROW;
	if (*ret_found && ret_value)
		*ret_value = sql_uint(s, 0);
	return sql_end(s, code);
}

/* A fixed-size value that we wrote ourselves; another length (it never was) reads as zeros. */
static inline void sql_copy(sqlite3_stmt *s, int column, void *ret_value, size_t size)
{
	struct slice bytes = sql_bytes(s, column);

	memset(ret_value, 0, size);
	if (bytes.len == size)
		memcpy(ret_value, bytes.data, size);
}
