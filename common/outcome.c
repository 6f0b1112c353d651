/* The words for how an attempt ended, and the exit code that each outcome has for `run` and `wait` (design section 4). */
#include "outcome.h"

#include <assert.h>

/* Exit codes that are ours, as timeout(1), env(1) and the shells use them. */
enum {
	EXIT_NO_STATUS = 123,
	EXIT_TIMEOUT = 124,
	EXIT_NOT_EXECUTABLE = 126,
	EXIT_NOT_FOUND = 127,
	EXIT_SIGNAL_BASE = 128,
	EXIT_KILLED = 137,
};

/* @exit_code -1: it depends on the details, see outcome_exit_code(). */
static const struct {
	const char *name;
	int exit_code;
} outcomes[] = {
	[OUTCOME_NONE] = { "none", EXIT_NO_STATUS },
	[OUTCOME_SUCCEEDED] = { "succeeded", 0 },
	[OUTCOME_FAILED] = { "failed", -1 },
	[OUTCOME_SIGNALED] = { "signaled", -1 },
	[OUTCOME_TIMEOUT] = { "timeout", EXIT_TIMEOUT },
	[OUTCOME_OOM] = { "oom", EXIT_KILLED },
	[OUTCOME_UNSTARTABLE] = { "unstartable", -1 },
	[OUTCOME_CANCELLED] = { "cancelled", EXIT_NO_STATUS },
	[OUTCOME_EXPIRED] = { "expired", EXIT_NO_STATUS },
	[OUTCOME_SKIPPED] = { "skipped", EXIT_NO_STATUS },
	[OUTCOME_LOST] = { "lost", EXIT_NO_STATUS },
};
static_assert(ARRAY_SIZE(outcomes) == OUTCOME_MAX, "a row for every outcome");

static const char *const limit_names[] = {
	[LIMIT_NONE] = "",
	[LIMIT_TIMEOUT] = "timeout",
};
static_assert(ARRAY_SIZE(limit_names) == LIMIT_MAX, "a word for every limit");

static const char *const step_names[] = {
	[STEP_NONE] = "",       [STEP_PIPE] = "pipe",   [STEP_INPUT] = "input", [STEP_GROUP] = "process group",
	[STEP_UMASK] = "umask", [STEP_CWD] = "cwd",     [STEP_STDIO] = "stdio", [STEP_EXEC] = "exec",
	[STEP_SPEC] = "spec",   [STEP_VFORK] = "vfork",
};
static_assert(ARRAY_SIZE(step_names) == STEP_MAX, "a word for every step");

static const char *const lost_names[] = {
	[LOST_NONE] = "",
	[LOST_WORKER_DIED] = "worker died",
	[LOST_MACHINE] = "machine restarted",
	[LOST_STOPPED] = "stopped",
	[LOST_RELEASED] = "released by force",
};
static_assert(ARRAY_SIZE(lost_names) == LOST_MAX, "a word for every reason");

/* The number may come from a file or a peer of a later version: never index with it unchecked. */
const char *outcome_name(enum outcome outcome)
{
	return (unsigned)outcome < OUTCOME_MAX ? outcomes[outcome].name : "unknown";
}

const char *limit_name(enum limit limit)
{
	return (unsigned)limit < LIMIT_MAX ? limit_names[limit] : "unknown";
}

const char *start_step_name(enum start_step step)
{
	return (unsigned)step < STEP_MAX ? step_names[step] : "unknown";
}

const char *lost_reason_name(enum lost_reason reason)
{
	return (unsigned)reason < LOST_MAX ? lost_names[reason] : "unknown";
}

enum outcome outcome_parse(struct slice word)
{
	enum outcome outcome = OUTCOME_NONE;

	while (outcome < OUTCOME_MAX && !slice_is_word(word, outcomes[outcome].name))
		outcome++;
	return outcome;
}

int outcome_exit_code(enum outcome outcome, int exit_code, int signal, enum start_step step, int error)
{
	switch (outcome) {
	case OUTCOME_FAILED:
		/* A failed item has no exit status; whatever happens, a failure is not 0. */
		return exit_code > 0 && exit_code <= 255 ? exit_code : 1;
	case OUTCOME_SIGNALED:
		return signal > 0 && signal < 128 ? EXIT_SIGNAL_BASE + signal : EXIT_NO_STATUS;
	case OUTCOME_UNSTARTABLE:
		/* The program was not found; another thing that was not (cwd, stdin) leaves the program unexecuted. */
		return step == STEP_EXEC && error == ENOENT ? EXIT_NOT_FOUND : EXIT_NOT_EXECUTABLE;
	default:
		return (unsigned)outcome < OUTCOME_MAX ? outcomes[outcome].exit_code : EXIT_NO_STATUS;
	}
}
