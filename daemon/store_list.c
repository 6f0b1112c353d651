/* Listing jobs (see store_list.h).
 *
 * The ready jobs of a queue stand in index job_ready in groups, one for each gate and priority, each in the order of ids. A step from
 * group to group is one seek, however many jobs a group has.
 *
 * A list whose jobs stand in indexes merges those by id (streams); any other one walks the table of jobs, and looks at no more of a row
 * than the filter needs. Either takes a bounded time, then it answers with what it has found, and where to go on. */
#include "store_list.h"

#include "sql.h"
#include "store_read.h"
#include "store_turn.h"

#define TURN_NS 3000000         /* of one list */
#define JOBS_PER_LOOK 64
#define STREAM_IDS 32           /* read at once */
#define STREAMS_MAX (STORE_GROUPS_MAX + 1 + OUTCOME_MAX)
#define BIT(n) (1u << (n))

static const uint32_t active_states = BIT(JOB_HELD) | BIT(JOB_DELAYED) | BIT(JOB_BLOCKED) | BIT(JOB_RUNNING);

/* --- groups --- */

struct group {
	uint32_t queue_id, gate;
	int32_t priority;
	uint64_t first_id; /* 0: in front of the queue's first group */
};

static int find_group(struct database *db, enum statement statement, bool *ret_found, struct group *group)
{
	sqlite3_stmt *s = sql_get(db, statement);
	int code;

	sql_put(s, 1, group->queue_id);
	if (statement != SQL_GROUP_NEXT_QUEUE)
		sql_put(s, 2, (uint64_t)(int64_t)group->gate);
	if (statement == SQL_GROUP_SAME_GATE)
		sql_put(s, 3, (uint64_t)(int64_t)group->priority);
	code = sqlite3_step(s);
	*ret_found = code == SQLITE_ROW;
	if (*ret_found)
		*group = (struct group){ .first_id = sql_uint(s, 0), .queue_id = (uint32_t)sql_uint(s, 1), .gate = (uint32_t)sql_uint(s, 2),
					 .priority = (int32_t)sqlite3_column_int64(s, 3) };
	return sql_end(s, code);
}

/* From where @group is to the next group of its queue. */
static int next_group(struct database *db, bool *ret_found, struct group *group)
{
	int code;

	if (!group->first_id) {
		group->gate = 0;
		group->priority = JOB_PRIORITY_MAX + 1;
	}
	code = find_group(db, SQL_GROUP_SAME_GATE, ret_found, group);
	return code == SQLITE_OK && !*ret_found ? find_group(db, SQL_GROUP_NEXT_GATE, ret_found, group) : code;
}

static int find_oldest(struct database *db, struct store_oldest *oldest)
{
	struct group group = { .queue_id = oldest->queue_id };
	bool found = true;
	int code = SQLITE_OK;

	for (size_t i = 0; i < STORE_GROUPS_MAX && found && code == SQLITE_OK; i++) {
		code = next_group(db, &found, &group);
		if (found && (!oldest->job_id || group.first_id < oldest->job_id))
			oldest->job_id = group.first_id;
	}
	if (code != SQLITE_OK || !oldest->job_id)
		return code;
	sqlite3_stmt *s = sql_get(db, SQL_JOB_SUBMITTED);
	sql_put(s, 1, oldest->job_id);
	return sql_first(s, &found, &oldest->submitted_wall_ms);
}

int list_oldest(struct database *db, struct store_request *request)
{
	__typeof__(request->u.oldest) *oldest = &request->u.oldest;
	int code = SQLITE_OK;

	oldest->rows = calloc(oldest->count + 1, sizeof(*oldest->rows));
	if (!oldest->rows)
		return SQLITE_NOMEM;
	for (size_t i = 0; i < oldest->count && code == SQLITE_OK; i++) {
		oldest->rows[i].queue_id = oldest->queue_ids[i];
		code = find_oldest(db, &oldest->rows[i]);
	}
	return code;
}

/* --- streams --- */

/* Ids in the order of the list, from one index. */
struct stream {
	enum statement statement;
	int64_t parameters[3];       /* ?2.. of the statement */
	size_t parameter_count;
	uint64_t ids[STREAM_IDS];
	size_t at, count;
	bool ended;                  /* nothing is behind these */
};

struct streams {
	struct stream *streams;
	size_t count;
	bool descending;
};

static bool add_stream(struct streams *all, enum statement up, enum statement down, size_t parameter_count, const int64_t parameters[])
{
	struct stream *stream;

	if (all->count == STREAMS_MAX)
		return false;
	stream = &all->streams[all->count++];
	*stream = (struct stream){ .statement = all->descending ? down : up, .parameter_count = parameter_count };
	memcpy(stream->parameters, parameters, parameter_count * sizeof(parameters[0]));
	return true;
}

static bool add_group(struct streams *all, const struct group *group)
{
	return add_stream(all, SQL_GROUP_UP, SQL_GROUP_DOWN, 3, (int64_t[]){ group->queue_id, group->gate, group->priority });
}

/* *ret_fit: all groups of ready jobs of these queues (none: of all queues) are streams now. */
static int add_groups(struct database *db, const struct store_filter *filter, struct streams *all, bool *ret_fit)
{
	struct group group = { 0 };
	bool found = true;
	int code = SQLITE_OK;

	*ret_fit = true;
	for (size_t i = 0; i < filter->queue_count && *ret_fit && code == SQLITE_OK; i++) {
		group = (struct group){ .queue_id = filter->queue_ids[i] };
		while (*ret_fit && (code = next_group(db, &found, &group)) == SQLITE_OK && found)
			*ret_fit = add_group(all, &group);
	}
	if (filter->queue_count)
		return code;
	while (found && *ret_fit && code == SQLITE_OK) {
		code = find_group(db, SQL_GROUP_NEXT_QUEUE, &found, &group);
		while (*ret_fit && found && code == SQLITE_OK) {
			*ret_fit = add_group(all, &group);
			code = next_group(db, &found, &group);
		}
		found = group.first_id;
		group.first_id = 0;
	}
	return code;
}

/* Indexes that hold the jobs of the filter, and few others; *ret_fit: there are such. */
static int choose_streams(struct database *db, const struct store_filter *filter, struct streams *all, bool *ret_fit)
{
	uint32_t states = filter->states ? filter->states : UINT32_MAX;

	*ret_fit = true;
	if (filter->outcomes) /* the others have none */
		states &= filter->outcomes & BIT(OUTCOME_NONE) ? UINT32_MAX : BIT(JOB_DONE);
	if (states & BIT(JOB_DONE)) {
		*ret_fit = filter->outcomes && !(filter->outcomes & BIT(OUTCOME_SUCCEEDED));
		for (int64_t outcome = OUTCOME_SUCCEEDED + 1; *ret_fit && outcome < OUTCOME_MAX; outcome++)
			if (filter->outcomes >> outcome & 1)
				*ret_fit = add_stream(all, SQL_FAILED_UP, SQL_FAILED_DOWN, 1, &outcome);
	}
	if (*ret_fit && states & active_states)
		*ret_fit = add_stream(all, SQL_ACTIVE_UP, SQL_ACTIVE_DOWN, 1, (int64_t[]){ states & active_states });
	if (!*ret_fit || !(states & BIT(JOB_READY)))
		return SQLITE_OK;
	/* By name or owner each ready job would have to be looked up: a walk is faster. */
	*ret_fit = !filter->name.data && !filter->owner.data;
	return *ret_fit ? add_groups(db, filter, all, ret_fit) : SQLITE_OK;
}

static int refill(struct database *db, struct stream *stream, uint64_t after_id)
{
	sqlite3_stmt *s = sql_get(db, stream->statement);
	int code = SQLITE_ROW;

	sql_put(s, 1, after_id);
	for (size_t i = 0; i < stream->parameter_count; i++)
		sql_put(s, 2 + (int)i, (uint64_t)stream->parameters[i]);
	stream->at = stream->count = 0;
	while (stream->count < STREAM_IDS && (code = sqlite3_step(s)) == SQLITE_ROW)
		stream->ids[stream->count++] = sql_uint(s, 0);
	stream->ended = code != SQLITE_ROW;
	return sql_end(s, code);
}

/* The next id of all streams beyond @after_id; 0 = there is none. */
static int next_id(struct database *db, struct streams *all, uint64_t after_id, uint64_t *ret_id)
{
	struct stream *best = NULL;

	for (size_t i = 0; i < all->count; i++) {
		struct stream *stream = &all->streams[i];

		if (stream->at == stream->count && !stream->ended) {
			int code = refill(db, stream, after_id);

			if (code != SQLITE_OK)
				return code;
		}
		if (stream->at < stream->count &&
		    (!best || (stream->ids[stream->at] < best->ids[best->at]) != all->descending))
			best = stream;
	}
	*ret_id = best ? best->ids[best->at++] : 0;
	return SQLITE_OK;
}

/* --- lists --- */

static bool row_matches(const struct store_filter *filter, const struct job_row *row)
{
	bool queue = !filter->queue_count;

	for (size_t i = 0; i < filter->queue_count && !queue; i++)
		queue = filter->queue_ids[i] == row->queue_id;
	return queue && (!filter->states || filter->states >> row->state & 1) &&
	       (!filter->outcomes || filter->outcomes >> row->outcome & 1) &&
	       (!filter->name.data || slice_equal(filter->name, row->name)) &&
	       (!filter->owner.data || slice_equal(filter->owner, row->owner));
}

#define LIST_PARTS (PART_WORDS | PART_SPEC_HEAD)

/* Both: append jobs beyond @after_id up to the list's limit; *ret_last: the last one that was looked at, 0 = all were. */
static int merge(struct database *db, struct store_request *request, struct streams *all, uint64_t after_id, struct job_rows *rows,
		 uint64_t *ret_last)
{
	__typeof__(request->u.list) *list = &request->u.list;
	struct turn turn = turn_begin(TURN_NS, JOBS_PER_LOOK);
	uint64_t id = after_id;
	int code;

	for (;;) {
		code = next_id(db, all, after_id, &id);
		if (code != SQLITE_OK || !id) {
			*ret_last = 0;
			return code;
		}
		if (rows->count == list->limit || turn_is_over(&turn)) {
			*ret_last = after_id;
			return SQLITE_OK;
		}
		after_id = id;
		code = read_append(db, id, LIST_PARTS, rows);
		if (code != SQLITE_OK)
			return code;
		if (rows->count && rows->rows[rows->count - 1].id == id && !row_matches(&list->filter, &rows->rows[rows->count - 1]))
			job_row_deinit(&rows->rows[--rows->count]);
	}
}

static int walk(struct database *db, struct store_request *request, uint64_t after_id, struct job_rows *rows, uint64_t *ret_last)
{
	__typeof__(request->u.list) *list = &request->u.list;
	sqlite3_stmt *s = sql_get(db, list->descending ? SQL_SCAN_DOWN : SQL_SCAN_UP);
	struct turn turn = turn_begin(TURN_NS, JOBS_PER_LOOK);
	uint64_t last = after_id;
	int code, result = SQLITE_OK;
	bool more = false;

	sql_put(s, 1, after_id);
	while (result == SQLITE_OK && (code = sqlite3_step(s)) == SQLITE_ROW) {
		more = rows->count == list->limit || turn_is_over(&turn);
		if (more)
			break;
		last = sql_uint(s, SCAN_ID);
		if (read_filter_matches(&list->filter, s))
			result = read_append(db, last, LIST_PARTS, rows);
	}
	code = sql_end(s, code);
	*ret_last = more ? last : 0;
	return code != SQLITE_OK ? code : result;
}

int list_jobs(struct database *db, struct store_request *request)
{
	__typeof__(request->u.list) *list = &request->u.list;
	uint64_t after_id = list->cursor || !list->descending ? list->cursor : INT64_MAX;
	struct streams all = { .streams = calloc(STREAMS_MAX, sizeof(*all.streams)), .descending = list->descending };
	struct job_rows rows = { NULL, 0, 0 };
	bool fit;
	int code;

	if (!all.streams)
		return SQLITE_NOMEM;
	code = choose_streams(db, &list->filter, &all, &fit);
	if (code == SQLITE_OK)
		code = fit ? merge(db, request, &all, after_id, &rows, &list->next_cursor)
			   : walk(db, request, after_id, &rows, &list->next_cursor);
	free(all.streams);
	list->rows = rows.rows;
	list->count = rows.count;
	return code;
}
