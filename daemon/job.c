/* The states of a job, the steps between them, and its place in memory. See job.h for the picture. */
#include "job.h"

#include <assert.h>
#include <inttypes.h>

#include "log.h"

#define TO(s) (1u << JOB_##s)
static const struct {
	const char *name;
	unsigned next;
} job_states[] = {
	[JOB_HELD] = { "held", TO(READY) | TO(DELAYED) | TO(BLOCKED) | TO(DONE) },
	[JOB_DELAYED] = { "delayed", TO(READY) | TO(HELD) | TO(DONE) },
	[JOB_BLOCKED] = { "blocked", TO(READY) | TO(DELAYED) | TO(HELD) | TO(DONE) },
	[JOB_READY] = { "ready", TO(RUNNING) | TO(HELD) | TO(DONE) },
	[JOB_RUNNING] = { "running", TO(DONE) | TO(DELAYED) | TO(READY) },
	[JOB_DONE] = { "done", TO(READY) },
};
static_assert(ARRAY_SIZE(job_states) == JOB_STATE_MAX, "a row for every state");

const char *job_state_name(enum job_state state)
{
	assert(state < JOB_STATE_MAX);
	return job_states[state].name;
}

enum job_state job_state_parse(struct slice word)
{
	enum job_state state = 0;

	while (state < JOB_STATE_MAX && !slice_is_word(word, job_states[state].name))
		state++;
	return state;
}

bool job_may_step(enum job_state from, enum job_state to)
{
	assert(from < JOB_STATE_MAX && to < JOB_STATE_MAX);
	return job_states[from].next & (1u << to);
}

void job_set_state(struct job *job, enum job_state state)
{
	assert(job_may_step(job->state, state));
	log_debug("job changes", "job=%" PRIu64 " from=%s to=%s", job->id, job_state_name(job->state), job_state_name(state));
	job->state = state;
}

bool job_is_before(const struct job *a, const struct job *b)
{
	return a->priority != b->priority ? a->priority > b->priority : a->id < b->id;
}

struct job *job_new(uint64_t id, struct queue *queue)
{
	struct job *job = calloc(1, sizeof(*job));

	if (!job)
		return NULL;
	job->id = id;
	job->queue = queue;
	job->state = JOB_HELD;
	job->max_attempts = 1;
	list_init(&job->link);
	return job;
}

void job_free(struct job *job)
{
	if (!job)
		return;
	assert(list_is_empty(&job->link));
	free((char *)job->spec.data);
	free(job->cancelled_by);
	free(job);
}
