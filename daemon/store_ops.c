/* The table of all ops: who executes one, who frees its results and its inputs (see store_ops.h). */
#include "store_ops.h"

#include "store_change.h"
#include "store_list.h"
#include "store_read.h"

static void free_bytes(struct slice *bytes)
{
	free((char *)bytes->data);
	*bytes = (struct slice){ NULL, 0 };
}

static void free_filter(struct store_filter *filter)
{
	free(filter->queue_ids);
	free_bytes(&filter->name);
	free_bytes(&filter->owner);
}

static void reset_insert(struct store_request *r)
{
	r->u.insert.existing_id = 0;
	r->u.insert.same = false;
}

static void free_insert(struct store_request *r) { job_row_deinit(&r->u.insert.row); }

static void reset_start(struct store_request *r)
{
	free_bytes(&r->u.start.spec);
	free_bytes(&r->u.start.environment);
}

static void free_unstart(struct store_request *r) { free_bytes(&r->u.unstart.cancelled_by); }

static void free_end(struct store_request *r)
{
	free_bytes(&r->u.end.output[0]);
	free_bytes(&r->u.end.output[1]);
}

static void free_update(struct store_request *r) { free_bytes(&r->u.update.cancelled_by); }

static void reset_remove(struct store_request *r)
{
	free(r->u.remove.gone);
	free(r->u.remove.files);
	r->u.remove.gone = NULL;
	r->u.remove.files = NULL;
	r->u.remove.file_count = r->u.remove.removed = 0;
}

static void free_remove(struct store_request *r) { free(r->u.remove.ids); }

static void reset_clean(struct store_request *r)
{
	free(r->u.clean.ids);
	free(r->u.clean.gone);
	free(r->u.clean.files);
	r->u.clean.ids = NULL;
	r->u.clean.gone = NULL;
	r->u.clean.files = NULL;
	r->u.clean.count = r->u.clean.removed = r->u.clean.file_count = 0;
	r->u.clean.more = false;
}

static void free_clean(struct store_request *r) { free_filter(&r->u.clean.filter); }

static void free_environment(struct store_request *r)
{
	free_bytes(&r->u.environment.owner);
	free_bytes(&r->u.environment.block);
}

static void reset_load_environment(struct store_request *r) { free_bytes(&r->u.environment.block); }
static void free_input(struct store_request *r) { free_bytes(&r->u.input.owner); }

static void reset_sweep(struct store_request *r)
{
	free(r->u.sweep.files);
	r->u.sweep.files = NULL;
	r->u.sweep.file_count = 0;
}

static void reset_load(struct store_request *r)
{
	job_rows_free(r->u.load.rows, r->u.load.rows ? r->u.load.count : 0);
	r->u.load.rows = NULL;
}

static void free_load(struct store_request *r) { free(r->u.load.ids); }

static void reset_list(struct store_request *r)
{
	job_rows_free(r->u.list.rows, r->u.list.count);
	r->u.list.rows = NULL;
	r->u.list.count = 0;
}

static void free_list(struct store_request *r) { free_filter(&r->u.list.filter); }

static void reset_ready(struct store_request *r)
{
	job_rows_free(r->u.ready.rows, r->u.ready.count);
	r->u.ready.rows = NULL;
	r->u.ready.count = 0;
}

static void reset_due(struct store_request *r)
{
	job_rows_free(r->u.due.rows, r->u.due.count);
	r->u.due.rows = NULL;
	r->u.due.count = 0;
}

static void reset_oldest(struct store_request *r)
{
	free(r->u.oldest.rows);
	r->u.oldest.rows = NULL;
}

static void free_oldest(struct store_request *r) { free(r->u.oldest.queue_ids); }

static void reset_output(struct store_request *r)
{
	free_bytes(&r->u.output.output[0]);
	free_bytes(&r->u.output.output[1]);
}

/* --- the table --- */

static const struct {
	int (*change)(struct ops *ops, struct store_request *request);       /* one of the two */
	int (*read)(struct database *db, struct store_request *request);
	void (*reset)(struct store_request *request);                        /* frees results; NULL = nothing to free or to undo */
	void (*free)(struct store_request *request);                         /* frees inputs; NULL = none are on the heap */
} table[] = {
	/* op                         change              read                   reset                   free */
	[STORE_INSERT_JOB]       = { change_insert_job,      NULL,                  reset_insert,           free_insert },
	[STORE_FIND_KEY]         = { change_find_key,        NULL,                  reset_insert,           free_insert },
	[STORE_START_ATTEMPT]    = { change_start_attempt,   NULL,                  reset_start,            NULL },
	[STORE_UNSTART_ATTEMPT]  = { change_unstart_attempt, NULL,                  NULL,                   free_unstart },
	[STORE_END_ATTEMPT]      = { change_end_attempt,     NULL,                  NULL,                   free_end },
	[STORE_UPDATE_JOB]       = { change_update_job,      NULL,                  NULL,                   free_update },
	[STORE_REMOVE_JOBS]      = { change_remove_jobs,     NULL,                  reset_remove,           free_remove },
	[STORE_CLEAN]            = { change_clean,           NULL,                  reset_clean,            free_clean },
	[STORE_PUT_QUEUE]        = { change_put_queue,       NULL,                  NULL,                   NULL },
	[STORE_PUT_ENVIRONMENT]  = { change_put_environment, NULL,                  NULL,                   free_environment },
	[STORE_NEW_INPUT]        = { change_new_input,       NULL,                  NULL,                   free_input },
	[STORE_SWEEP]            = { change_sweep,           NULL,                  reset_sweep,            NULL },
	[STORE_LOAD_JOBS]        = { NULL,               read_load_jobs,        reset_load,             free_load },
	[STORE_LIST_JOBS]        = { NULL,               list_jobs,             reset_list,             free_list },
	[STORE_LOAD_READY]       = { NULL,               read_load_ready,       reset_ready,            NULL },
	[STORE_LOAD_DUE]         = { NULL,               read_load_due,         reset_due,              NULL },
	[STORE_LOAD_ENVIRONMENT] = { NULL,               read_load_environment, reset_load_environment, free_environment },
	[STORE_LOAD_OUTPUT]      = { NULL,               read_load_output,      reset_output,           NULL },
	[STORE_OLDEST]           = { NULL,               list_oldest,           reset_oldest,           free_oldest },
};
_Static_assert(ARRAY_SIZE(table) == STORE_OP_MAX, "a row for every op");

bool ops_is_change(enum store_op op)
{
	return table[op].change;
}

bool ops_can_wait(enum store_op op)
{
	return op == STORE_START_ATTEMPT || op == STORE_END_ATTEMPT || op == STORE_UNSTART_ATTEMPT || op == STORE_LOAD_READY;
}

size_t ops_payload(const struct store_request *request)
{
	switch (request->op) {
	case STORE_INSERT_JOB:
		return request->u.insert.row.spec.len;
	case STORE_END_ATTEMPT:
		return request->u.end.output[0].len + request->u.end.output[1].len;
	case STORE_PUT_ENVIRONMENT:
		return request->u.environment.block.len;
	default:
		return 0;
	}
}

int ops_execute(struct ops *ops, struct store_request *request)
{
	int code;

	request->status = 0;
	code = request->op == STORE_INSERT_JOB ? SQLITE_OK : change_flush_inserts(ops);
	if (code != SQLITE_OK)
		return code;
	if (table[request->op].change)
		return table[request->op].change(ops, request);
	code = table[request->op].read(&ops->db, request);
	if (code != SQLITE_NOMEM)
		return code;
	/* A read has changed nothing: it alone fails. */
	ops_reset_results(request);
	request->status = -ENOMEM;
	return SQLITE_OK;
}

void ops_reset_results(struct store_request *request)
{
	if (table[request->op].reset)
		table[request->op].reset(request);
	request->status = 0;
}

void ops_free_request(struct store_request *request)
{
	ops_reset_results(request);
	if (table[request->op].free)
		table[request->op].free(request);
}
