/* A queue's counts, and the window of its next ready jobs against a naive model. */
#include "queue.h"

#include <signal.h>

#include "suites.h"

static struct queue queue;

static void make_queue(void)
{
	queue = (struct queue){ .id = 1, .window_complete = true };
	list_init(&queue.window);
}

static void drop_queue(void)
{
	struct job *job;

	while ((job = queue_head(&queue))) {
		queue_window_remove(&queue, job);
		job_free(job);
	}
	ck_assert_uint_eq(queue.window_len, 0);
}

static struct job *ready_job(uint64_t id, int32_t priority)
{
	struct job *job = job_new(id, &queue);

	job->priority = priority;
	job->state = JOB_READY;
	return job;
}

/* ---- counts ---- */

START_TEST(test_queue_counts_follow_a_job_to_its_end)
{
	queue_count_step(&queue, JOB_STATE_MAX, JOB_HELD, OUTCOME_NONE);
	queue_count_step(&queue, JOB_HELD, JOB_READY, OUTCOME_NONE);
	queue_count_step(&queue, JOB_READY, JOB_RUNNING, OUTCOME_NONE);
	ck_assert_uint_eq(queue.count[JOB_RUNNING], 1);
	ck_assert_uint_eq(queue_unfinished(&queue), 1);
	queue_count_step(&queue, JOB_RUNNING, JOB_DONE, OUTCOME_SUCCEEDED);
	ck_assert_uint_eq(queue_unfinished(&queue), 0);
	ck_assert_uint_eq(queue.count[JOB_DONE], 1);
	ck_assert_uint_eq(queue.succeeded, 1);
	ck_assert_uint_eq(queue.failed, 0);
}
END_TEST

START_TEST(test_queue_every_other_outcome_is_a_failure)
{
	for (enum outcome outcome = OUTCOME_SUCCEEDED + 1; outcome < OUTCOME_MAX; outcome++) {
		queue_count_step(&queue, JOB_STATE_MAX, JOB_READY, OUTCOME_NONE);
		queue_count_step(&queue, JOB_READY, JOB_DONE, outcome);
	}
	ck_assert_uint_eq(queue.failed, OUTCOME_MAX - OUTCOME_SUCCEEDED - 1);
	ck_assert_uint_eq(queue.succeeded, 0);
}
END_TEST

START_TEST(test_queue_retry_takes_the_old_total_back)
{
	queue_count_step(&queue, JOB_STATE_MAX, JOB_READY, OUTCOME_NONE);
	queue_count_step(&queue, JOB_READY, JOB_DONE, OUTCOME_CANCELLED);
	queue_count_step(&queue, JOB_DONE, JOB_READY, OUTCOME_CANCELLED);
	ck_assert_uint_eq(queue.failed, 0);
	ck_assert_uint_eq(queue.count[JOB_DONE], 0);
	ck_assert_uint_eq(queue_unfinished(&queue), 1);
	queue_count_step(&queue, JOB_READY, JOB_RUNNING, OUTCOME_NONE);
	queue_count_step(&queue, JOB_RUNNING, JOB_DONE, OUTCOME_SUCCEEDED);
	ck_assert_uint_eq(queue.succeeded, 1);
	ck_assert_uint_eq(queue.failed, 0);
}
END_TEST

START_TEST(test_queue_removal_of_a_finished_job_leaves_the_totals)
{
	queue_count_step(&queue, JOB_STATE_MAX, JOB_READY, OUTCOME_NONE);
	queue_count_step(&queue, JOB_READY, JOB_DONE, OUTCOME_FAILED);
	queue_count_step(&queue, JOB_DONE, JOB_STATE_MAX, OUTCOME_FAILED);
	ck_assert_uint_eq(queue.count[JOB_DONE], 0);
	ck_assert_uint_eq(queue.failed, 1);
}
END_TEST

START_TEST(test_queue_a_duplicate_leaves_no_trace)
{
	queue_count_step(&queue, JOB_STATE_MAX, JOB_DELAYED, OUTCOME_NONE);
	queue_count_step(&queue, JOB_DELAYED, JOB_STATE_MAX, OUTCOME_NONE);
	for (unsigned state = 0; state < JOB_STATE_MAX; state++)
		ck_assert_uint_eq(queue.count[state], 0);
	ck_assert_uint_eq(queue.succeeded + queue.failed, 0);
}
END_TEST

START_TEST(test_queue_a_count_below_zero_is_our_bug)
{
	queue_count_step(&queue, JOB_READY, JOB_RUNNING, OUTCOME_NONE);
}
END_TEST

START_TEST(test_queue_unfinished_is_every_state_but_done)
{
	for (unsigned state = 0; state < JOB_STATE_MAX; state++)
		queue.count[state] = UINT64_C(1) << (8 * state);
	ck_assert_uint_eq(queue_unfinished(&queue), UINT64_C(0x0101010101));
}
END_TEST

/* ---- the window ---- */

START_TEST(test_queue_head_is_the_highest_priority_then_the_oldest)
{
	static const struct {
		uint64_t id;
		int32_t priority;
	} jobs[] = { { 3, 0 }, { 1, 0 }, { 4, 5 }, { 2, -5 }, { 5, 5 } };
	static const uint64_t expected[] = { 4, 5, 1, 3, 2 };

	ck_assert_ptr_null(queue_head(&queue));
	for (size_t i = 0; i < ARRAY_SIZE(jobs); i++)
		ck_assert_ptr_null(queue_window_insert(&queue, ready_job(jobs[i].id, jobs[i].priority)));
	for (size_t i = 0; i < ARRAY_SIZE(expected); i++) {
		struct job *head = queue_head(&queue);

		ck_assert_uint_eq(head->id, expected[i]);
		queue_window_remove(&queue, head);
		job_free(head);
	}
	ck_assert_ptr_null(queue_head(&queue));
}
END_TEST

START_TEST(test_queue_complete_window_takes_all_until_it_is_full)
{
	for (uint64_t id = 1; id <= QUEUE_WINDOW_MAX; id++)
		ck_assert_ptr_null(queue_window_insert(&queue, ready_job(id, 0)));
	ck_assert(queue.window_complete);

	struct job *late = ready_job(QUEUE_WINDOW_MAX + 1, 0);
	ck_assert_ptr_eq(queue_window_insert(&queue, late), late);
	ck_assert(!queue.window_complete);
	ck_assert(list_is_empty(&late->link));
	job_free(late);

	/* An urgent one pushes the last one out. */
	struct job *out = queue_window_insert(&queue, ready_job(QUEUE_WINDOW_MAX + 2, 1));
	ck_assert_uint_eq(out->id, QUEUE_WINDOW_MAX);
	ck_assert_uint_eq(queue_head(&queue)->id, QUEUE_WINDOW_MAX + 2);
	ck_assert_uint_eq(queue.window_len, QUEUE_WINDOW_MAX);
	job_free(out);
}
END_TEST

START_TEST(test_queue_incomplete_window_leaves_no_gap)
{
	struct job *first = ready_job(10, 0), *beyond = ready_job(20, 0), *within = ready_job(5, 0);

	ck_assert_ptr_null(queue_window_insert(&queue, first));
	queue.window_complete = false;
	/* The store may have 11 to 19. */
	ck_assert_ptr_eq(queue_window_insert(&queue, beyond), beyond);
	ck_assert_ptr_null(queue_window_insert(&queue, within));
	ck_assert_ptr_eq(queue_head(&queue), within);
	ck_assert_uint_eq(queue.window_len, 2);
	job_free(beyond);
}
END_TEST

START_TEST(test_queue_empty_incomplete_window_takes_nothing)
{
	struct job *job = ready_job(1, JOB_PRIORITY_MAX);

	queue.window_complete = false;
	ck_assert_ptr_eq(queue_window_insert(&queue, job), job);
	ck_assert_ptr_null(queue_head(&queue));
	job_free(job);
}
END_TEST

START_TEST(test_queue_a_read_that_may_have_missed_a_job_is_stale)
{
	struct job *job = ready_job(20, 0);

	ck_assert_ptr_null(queue_window_insert(&queue, ready_job(10, 0)));
	queue.window_complete = false;
	ck_assert_ptr_eq(queue_window_insert(&queue, job), job);
	ck_assert_msg(!queue.refill_stale, "no read is under way");
	queue.refilling = true;
	ck_assert_ptr_null(queue_window_insert(&queue, ready_job(5, 0)));
	ck_assert_msg(!queue.refill_stale, "in the window, so the read need not have it");
	ck_assert_ptr_eq(queue_window_insert(&queue, job), job);
	ck_assert(queue.refill_stale);
	job_free(job);
}
END_TEST

START_TEST(test_queue_a_read_behind_one_that_fell_out_is_stale)
{
	struct job *out;

	for (uint64_t id = 1; id <= QUEUE_WINDOW_MAX; id++)
		queue_window_insert(&queue, ready_job(id, 0));
	queue.window_complete = false;
	queue.refilling = true;
	out = queue_window_insert(&queue, ready_job(QUEUE_WINDOW_MAX + 1, 1));
	ck_assert_uint_eq(out->id, QUEUE_WINDOW_MAX);
	ck_assert(queue.refill_stale);
	job_free(out);
}
END_TEST

START_TEST(test_queue_wants_a_refill_once_while_few_are_left)
{
	ck_assert_msg(!queue_wants_refill(&queue), "complete: the store has no more");
	queue.window_complete = false;
	ck_assert(queue_wants_refill(&queue));
	queue.refilling = true;
	ck_assert_msg(!queue_wants_refill(&queue), "one is under way");
	queue.refilling = false;
	queue.window_complete = true;
	for (uint64_t id = 1; id <= QUEUE_WINDOW_LOW; id++)
		queue_window_insert(&queue, ready_job(id, 0));
	queue.window_complete = false;
	ck_assert_msg(!queue_wants_refill(&queue), "enough");
}
END_TEST

START_TEST(test_queue_window_refuses_a_job_that_somebody_has)
{
	struct job *job = ready_job(1, 0);

	job->claim = CLAIM_POSTED;
	queue_window_insert(&queue, job);
}
END_TEST

/* ---- the window against a model ----
 *
 * The model is all ready jobs in a table. After each operation the window must be the first so many of them in start order, none
 * left out; complete means that it has them all. A refill brings what the table says is behind the window's last one. */

#define MODEL_IDS 1500

struct model {
	struct {
		bool ready;
		int32_t priority;
		struct job *job; /* in the window, or NULL */
	} jobs[MODEL_IDS];
	uint64_t seed;
};

static uint32_t draw(struct model *m, uint32_t below)
{
	m->seed = m->seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return (uint32_t)(m->seed >> 33) % below;
}

static void forget(struct model *m, struct job *out)
{
	if (!out)
		return;
	m->jobs[out->id].job = NULL;
	job_free(out);
}

static void insert(struct model *m, uint64_t id)
{
	struct job *job = ready_job(id, m->jobs[id].priority);

	m->jobs[id].job = job;
	forget(m, queue_window_insert(&queue, job));
}

static bool model_before(const struct model *m, uint64_t a, uint64_t b)
{
	return m->jobs[a].priority != m->jobs[b].priority ? m->jobs[a].priority > m->jobs[b].priority : a < b;
}

/* The first ready job of the model after @last; 0 = there is none (ids begin at 1). */
static uint64_t next_ready(const struct model *m, uint64_t last)
{
	uint64_t best = 0;

	for (uint64_t id = 1; id < MODEL_IDS; id++)
		if (m->jobs[id].ready && (!last || model_before(m, last, id)) && (!best || model_before(m, id, best)))
			best = id;
	return best;
}

static void model_refill(struct model *m)
{
	struct job *last = list_last(&queue.window, struct job, link);
	uint64_t at = last ? last->id : 0;
	uint32_t limit = 1 + draw(m, QUEUE_WINDOW_MAX - QUEUE_WINDOW_LOW);
	bool more = true;

	if (!queue_wants_refill(&queue))
		return;
	for (uint32_t i = 0; more && i < limit; i++) {
		at = next_ready(m, at);
		more = at != 0;
		queue.window_complete = true;
		if (more)
			insert(m, at);
	}
	queue.window_complete = !more;
}

static void check_window(const struct model *m)
{
	uint64_t ready = 0, in_window = 0, behind_id = 0;
	struct job *job, *before = NULL;

	list_for_each(job, &queue.window, link) {
		ck_assert(m->jobs[job->id].ready && m->jobs[job->id].job == job);
		ck_assert(!before || job_is_before(before, job));
		before = job;
		in_window++;
	}
	for (uint64_t id = 1; id < MODEL_IDS; id++) {
		ready += m->jobs[id].ready;
		if (m->jobs[id].ready && !m->jobs[id].job && (!behind_id || model_before(m, id, behind_id)))
			behind_id = id;
	}
	ck_assert_uint_eq(in_window, queue.window_len);
	ck_assert_uint_le(queue.window_len, QUEUE_WINDOW_MAX);
	ck_assert_msg(!before || !behind_id || model_before(m, before->id, behind_id), "job %u is missing in front of the window's end",
		      (unsigned)behind_id);
	ck_assert_msg(!queue.window_complete || in_window == ready, "a complete window lacks ready jobs");
}

static void take_out(struct model *m, uint64_t id)
{
	struct job *job = m->jobs[id].job;

	m->jobs[id].ready = false;
	if (!job)
		return;
	queue_window_remove(&queue, job);
	forget(m, job);
}

static void random_operation(struct model *m, uint32_t pressure)
{
	uint64_t id = 1 + draw(m, MODEL_IDS - 1);
	uint32_t kind = draw(m, 100);

	if (kind < pressure) {
		/* submitted, released, or given another priority */
		take_out(m, id);
		m->jobs[id].ready = true;
		m->jobs[id].priority = (int32_t)draw(m, 4) - 2;
		insert(m, id);
	} else if (kind < 90) {
		struct job *head = queue_head(&queue);

		if (head)
			take_out(m, head->id); /* claimed */
	} else if (kind < 95) {
		take_out(m, id); /* held or cancelled */
	} else {
		model_refill(m);
	}
}

START_TEST(test_queue_window_is_always_the_front_of_the_start_order)
{
	struct model *m = calloc(1, sizeof(*m));

	m->seed = 1000 + (uint64_t)_i;
	for (unsigned i = 0; i < 6000; i++) {
		/* Fill until it overflows, then drain until it wants a refill, and again. */
		random_operation(m, i / 1500 % 2 ? 30 : 80);
		if (i % 8 == 0)
			check_window(m);
	}
	/* In the end every ready job comes out, in order. */
	for (uint64_t last = 0, expected; (expected = next_ready(m, last)); last = expected) {
		if (!queue_head(&queue))
			model_refill(m);
		ck_assert_ptr_nonnull(queue_head(&queue));
		ck_assert_uint_eq(queue_head(&queue)->id, expected);
		queue_window_remove(&queue, m->jobs[expected].job);
		forget(m, m->jobs[expected].job);
	}
	free(m);
}
END_TEST

Suite *queue_suite(void)
{
	Suite *s = suite_create("queue");
	TCase *counts = tcase_create("counts"), *window = tcase_create("window");

	tcase_add_checked_fixture(counts, make_queue, NULL);
	tcase_add_test(counts, test_queue_counts_follow_a_job_to_its_end);
	tcase_add_test(counts, test_queue_every_other_outcome_is_a_failure);
	tcase_add_test(counts, test_queue_retry_takes_the_old_total_back);
	tcase_add_test(counts, test_queue_removal_of_a_finished_job_leaves_the_totals);
	tcase_add_test(counts, test_queue_a_duplicate_leaves_no_trace);
	tcase_add_test_raise_signal(counts, test_queue_a_count_below_zero_is_our_bug, SIGABRT);
	tcase_add_test(counts, test_queue_unfinished_is_every_state_but_done);
	suite_add_tcase(s, counts);
	tcase_add_checked_fixture(window, make_queue, drop_queue);
	tcase_add_test(window, test_queue_head_is_the_highest_priority_then_the_oldest);
	tcase_add_test(window, test_queue_complete_window_takes_all_until_it_is_full);
	tcase_add_test(window, test_queue_incomplete_window_leaves_no_gap);
	tcase_add_test(window, test_queue_empty_incomplete_window_takes_nothing);
	tcase_add_test(window, test_queue_a_read_that_may_have_missed_a_job_is_stale);
	tcase_add_test(window, test_queue_a_read_behind_one_that_fell_out_is_stale);
	tcase_add_test(window, test_queue_wants_a_refill_once_while_few_are_left);
	tcase_add_test_raise_signal(window, test_queue_window_refuses_a_job_that_somebody_has, SIGABRT);
	tcase_add_loop_test(window, test_queue_window_is_always_the_front_of_the_start_order, 0, 4);
	suite_add_tcase(s, window);
	return s;
}
