/* How an attempt ended (design section 4): the words, the limits, the set-up steps. Shared by all programs. */
#pragma once

#include <stdint.h>

#include "util.h"

/* Numbers are stored and sent: append only. */
enum outcome {
	OUTCOME_NONE,        /* not ended */
	OUTCOME_SUCCEEDED,
	OUTCOME_FAILED,
	OUTCOME_SIGNALED,
	OUTCOME_TIMEOUT,
	OUTCOME_OOM,
	OUTCOME_UNSTARTABLE,
	OUTCOME_CANCELLED,
	OUTCOME_EXPIRED,
	OUTCOME_SKIPPED,
	OUTCOME_LOST,
	OUTCOME_MAX,
};

/* Which limit ended an attempt (OUTCOME_TIMEOUT). */
enum limit { LIMIT_NONE, LIMIT_TIMEOUT, LIMIT_MAX };

/* Which step of starting it failed (OUTCOME_UNSTARTABLE). */
enum start_step { STEP_NONE, STEP_PIPE, STEP_INPUT, STEP_GROUP, STEP_UMASK, STEP_CWD, STEP_STDIO, STEP_EXEC, STEP_SPEC, STEP_VFORK, STEP_MAX };

/* Why an attempt without an exit status of its own is lost (OUTCOME_LOST). */
enum lost_reason { LOST_NONE, LOST_WORKER_DIED, LOST_MACHINE, LOST_STOPPED, LOST_RELEASED, LOST_MAX };

const char *outcome_name(enum outcome outcome);        /* "succeeded", ...; "none"; never NULL */
const char *limit_name(enum limit limit);              /* "timeout"; "" for none */
const char *start_step_name(enum start_step step);     /* "cwd", "exec", ...; "" for none */
const char *lost_reason_name(enum lost_reason reason); /* "worker died", ...; "" for none */
/* OUTCOME_MAX when the word is none of them. */
enum outcome outcome_parse(struct slice word);
/* What `run` and `wait` return for it (design section 4); @step and @error: of an unstartable one. 0..255. */
int outcome_exit_code(enum outcome outcome, int exit_code, int signal, enum start_step step, int error);
