/* What is to go by itself: finished jobs by the retention, environments, inputs and keys past their time; and the files of what
 * went. One timer, which is set only while something can become due. */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "config.h"
#include "dispatch.h"
#include "store.h"

struct sweep;

int sweep_new(uv_loop_t *loop, struct store *store, struct dispatch *dispatch, const struct config *config, struct sweep **ret_sweep);
/* After a reload. */
void sweep_reconfigure(struct sweep *s, const struct config *config);
/* A job has ended: there is one more to keep. */
void sweep_job_done(struct sweep *s);
/* To be called from the store's on_batch: what ended is looked at here, when all counts have been brought up to date. */
void sweep_on_batch(struct sweep *s);
/* Something was stored that goes after an hour without use. */
void sweep_expect(struct sweep *s);
/* Unlink the files of what was removed; by a thread, failures are logged. @files is copied. */
void sweep_unlink(struct sweep *s, const struct store_file *files, size_t count);
/* Begin nothing more; @s is freed by sweep_free(), after the store is closed. */
void sweep_stop(struct sweep *s);
void sweep_free(struct sweep *s); /* closes its timer; NULL is fine */
