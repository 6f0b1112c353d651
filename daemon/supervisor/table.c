/* The table of workers and the tree passes.
 *
 *   START -> alive --exit--> dead ------------------> empty --FORGET--> gone
 *     |                        '--10 s--> stuck --------^
 *     '--could not be started---------------------------'
 *
 * We are the subreaper of all that a dead worker leaves behind. A child is known while its row is alive; every other
 * child is killed with its descendants. One pass proves emptiness for all dead workers together: it began after they
 * were reaped (passes run from a timer, never inside an exit callback, where libuv may hold further reaped pids whose
 * rows still say alive), and saw no unknown child. libuv reaps its own pids by waitpid(pid), the passes only what is
 * unknown: no child is reaped by both. */
#include "table.h"

#include <inttypes.h>
#include <sched.h>
#include <signal.h>
#include <sys/wait.h>

#include "log.h"

#define PASS_INTERVAL_MS 1
#define RAISE_AFTER_MS 1000   /* a fork bomb may keep us from the CPU */
#define STUCK_AFTER_MS 10000  /* somebody in uninterruptible sleep: we go on, slowly */
#define STUCK_INTERVAL_MS 100

struct row {
	struct list link;         /* in table->rows */
	struct table *table;
	uv_process_t *process;    /* its handle; NULL unless alive. Closed by its exit callback, freed when closed */
	struct message_row state; /* change with row_set() only */
	uint64_t died_ms;         /* loop time */
};

static const char *const row_names[] = {
	[ROW_ALIVE] = "alive", [ROW_DEAD] = "dead", [ROW_EMPTY] = "empty", [ROW_STUCK] = "stuck",
};

static void row_set(struct row *row, enum row_state state)
{
	row->state.state = (uint8_t)state;
	log_debug("worker row", "worker=%" PRIu64 " pid=%d state=%s", row->state.worker_id, (int)row->state.pid,
		  row_names[state]);
	row->table->on_row(&row->state, row->table->context);
}

static struct row *row_find(const struct table *t, uint64_t worker_id)
{
	struct row *row;

	list_for_each(row, &t->rows, link)
		if (row->state.worker_id == worker_id)
			return row;
	return NULL;
}

static struct row *row_new(struct table *t, uint64_t worker_id)
{
	struct row *row = t->row_count < TABLE_ROWS_MAX ? calloc(1, sizeof(*row)) : NULL;

	if (!row)
		return NULL;
	row->table = t;
	row->state.worker_id = worker_id;
	list_append(&t->rows, &row->link);
	t->row_count++;
	return row;
}

static void row_free(struct row *row)
{
	row->table->row_count--;
	list_remove(&row->link);
	free(row);
}

static bool is_known(pid_t pid, void *context)
{
	const struct table *t = context;
	const struct row *row;

	list_for_each(row, &t->rows, link)
		if (row->process && row->state.pid == pid)
			return true;
	return false;
}

int table_has_stranger(struct table *t)
{
	int r = tree_look(&t->tree);

	for (size_t i = 0; r == 0 && i < t->tree.count; i++)
		if (!is_known(t->tree.pids[i], t))
			return true;
	return r;
}

/* Best effort: it needs a privilege. Not inherited by the workers. */
static void set_raised(struct table *t, bool raised)
{
	struct sched_param parameter = { .sched_priority = raised ? 1 : 0 };

	if (t->is_raised == raised)
		return;
	t->is_raised = raised;
	(void)sched_setscheduler(0, (raised ? SCHED_RR : SCHED_OTHER) | SCHED_RESET_ON_FORK, &parameter);
}

static void set_all_empty(struct table *t)
{
	struct row *row;

	list_for_each(row, &t->rows, link)
		if (row->state.state == ROW_DEAD || row->state.state == ROW_STUCK)
			row_set(row, ROW_EMPTY);
}

static void set_late_stuck(struct table *t, uint64_t now_ms)
{
	struct row *row;

	list_for_each(row, &t->rows, link) {
		if (row->state.state != ROW_DEAD || now_ms - row->died_ms < STUCK_AFTER_MS)
			continue;
		log_warning("what a dead worker left behind cannot be ended; its attempt is stuck until it ends",
			    "worker=%" PRIu64 " first_pid=%d", row->state.worker_id,
			    t->tree.count ? (int)t->tree.pids[0] : 0);
		row_set(row, ROW_STUCK);
	}
}

static void on_pass(uv_timer_t *timer)
{
	struct table *t = timer->data;
	int r = tree_kill_pass(&t->tree, is_known, t);
	uint64_t now_ms, age_ms;

	if (r == 0) {
		set_raised(t, false);
		set_all_empty(t);
		return;
	}
	if (r < 0 && !t->has_complained)
		log_errno(r, "cannot read the list of own children; dead workers stay unproven until it succeeds");
	t->has_complained |= r < 0;
	uv_update_time(t->loop);
	now_ms = uv_now(t->loop);
	age_ms = now_ms - t->passes_since_ms;
	if (age_ms >= RAISE_AFTER_MS)
		set_raised(t, age_ms < STUCK_AFTER_MS);
	set_late_stuck(t, now_ms);
	uv_timer_start(timer, on_pass, age_ms < STUCK_AFTER_MS ? PASS_INTERVAL_MS : STUCK_INTERVAL_MS, 0);
}

/* From the next turn of the loop on, at full speed again also when an older one is stuck. */
static void begin_passes(struct table *t)
{
	t->passes_since_ms = uv_now(t->loop);
	t->has_complained = false;
	uv_timer_start(&t->pass_timer, on_pass, 0, 0);
}

/* A child that nobody asked for can come with its death only (one that is alive came by the death of a worker). */
static void on_sigchld(uv_signal_t *handle, int signal)
{
	struct table *t = handle->data;

	(void)signal;
	if (!uv_is_active((uv_handle_t *)&t->pass_timer) && table_has_stranger(t) != 0)
		begin_passes(t);
}

static void on_process_closed(uv_handle_t *handle)
{
	free(handle);
}

/* libuv hands over neither the core flag nor the raw status. */
static void on_process_exit(uv_process_t *process, int64_t exit_status, int term_signal)
{
	struct row *row = process->data;
	struct table *t = row->table;

	uv_close((uv_handle_t *)process, on_process_closed);
	row->process = NULL;
	row->state.wait_status = W_EXITCODE((int)exit_status, term_signal);
	row->died_ms = uv_now(t->loop);
	begin_passes(t);
	row_set(row, ROW_DEAD);
}

static int start_process(struct table *t, struct row *row, const struct message_start *start)
{
	uv_process_t *process = t->closed ? NULL : calloc(1, sizeof(*process));
	int r;

	if (!process)
		return t->closed ? -ESHUTDOWN : -ENOMEM;
	r = spawn_worker(&t->spawn, t->loop, start, process, on_process_exit);
	process->data = row;
	if (r == 0)
		row->process = process;
	else if (process->loop)
		uv_close((uv_handle_t *)process, on_process_closed);
	else
		free(process);
	return r;
}

void table_add(struct table *t, const struct message_start *start)
{
	struct message_row refused = { .worker_id = start->worker_id, .state = ROW_EMPTY, .start_error = EAGAIN };
	struct row *row = row_find(t, start->worker_id);
	int r;

	if (row) {
		log_warning("the daemon asked for a worker twice; ignored", "worker=%" PRIu64, start->worker_id);
		return;
	}
	row = row_new(t, start->worker_id);
	if (!row) {
		t->on_row(&refused, t->context); /* full, or out of memory: told once, not kept */
		return;
	}
	r = start_process(t, row, start);
	if (r < 0) {
		log_errno(r, "cannot start worker %" PRIu64 " (%s)", start->worker_id, t->spawn.binary);
		row->state.start_error = -r;
		row_set(row, ROW_EMPTY);
		return;
	}
	row->state.pid = row->process->pid;
	row_set(row, ROW_ALIVE);
}

void table_kill(struct table *t, uint64_t worker_id)
{
	struct row *row = row_find(t, worker_id);

	if (row && row->process)
		(void)uv_process_kill(row->process, SIGKILL);
}

void table_forget(struct table *t, uint64_t worker_id)
{
	struct row *row = row_find(t, worker_id);

	if (row && row->state.state == ROW_EMPTY)
		row_free(row);
	else if (row)
		log_warning("the daemon wants to forget a worker that is not proven empty; ignored",
			    "worker=%" PRIu64 " state=%s", worker_id, row_names[row->state.state]);
}

void table_close(struct table *t, int signal)
{
	struct row *row;

	t->closed = true;
	list_for_each(row, &t->rows, link)
		if (row->process)
			(void)uv_process_kill(row->process, signal);
}

bool table_is_ended(const struct table *t)
{
	const struct row *row;

	list_for_each(row, &t->rows, link)
		if (row->state.state != ROW_EMPTY)
			return false;
	return true;
}

void table_for_each(const struct table *t, table_row_cb visit, void *context)
{
	const struct row *row;

	list_for_each(row, &t->rows, link)
		visit(&row->state, context);
}

int table_start(struct table *t, uv_loop_t *loop, int state_fd, table_row_cb on_row, void *context)
{
	int r;

	*t = (struct table){ .loop = loop, .on_row = on_row, .context = context };
	list_init(&t->rows);
	r = tree_init(&t->tree);
	if (r < 0)
		return r;
	r = spawn_init(&t->spawn, state_fd);
	if (r < 0) {
		tree_deinit(&t->tree);
		return r;
	}
	uv_timer_init(loop, &t->pass_timer);
	uv_signal_init(loop, &t->sigchld);
	t->pass_timer.data = t->sigchld.data = t;
	r = uv_signal_start(&t->sigchld, on_sigchld, SIGCHLD);
	if (r < 0)
		log_errno(r, "cannot watch for stray children; they are found when the next worker ends");
	return 0;
}

void table_stop(struct table *t)
{
	uv_close((uv_handle_t *)&t->pass_timer, NULL);
	uv_close((uv_handle_t *)&t->sigchld, NULL);
}

void table_deinit(struct table *t)
{
	while (!list_is_empty(&t->rows))
		row_free(list_first(&t->rows, struct row, link));
	spawn_deinit(&t->spawn);
	tree_deinit(&t->tree);
}
