/* Which CPU a worker of very short jobs stays on.
 *
 * A short job is a relay: the worker sleeps while the child starts, the child ends, the worker wakes. Left to itself the scheduler
 * hands each leg to another CPU that is just idle, and waking an idle CPU costs more than the leg. So while its jobs are short and come
 * one after the other, a worker stays on one CPU, the workers of a pool on different ones, and its children start there. A job itself may
 * run anywhere: before exec its child gets back the CPUs that the worker was born with. */
#pragma once

#include <sched.h>
#include <stdbool.h>
#include <stdint.h>

struct affinity {
	cpu_set_t allowed;   /* what the worker was born with, and each job gets */
	cpu_set_t home;      /* the one CPU */
	bool usable;         /* there is a choice, and we know it */
	bool at_home;
	unsigned quick_jobs; /* in a row, without a rest */
	uint64_t leave_at_ms; /* an idle worker is free to go where there is room again; UINT64_MAX: it is not idle, or not at home */
};

/* The first slots of a pool, as many as there are CPUs, get one each. For the others, and without knowledge of the CPUs, nothing happens,
 * ever. */
void affinity_init(struct affinity *a, const char *pool, uint32_t slot);
/* A job has ended that took @elapsed_us. */
void affinity_job_ended(struct affinity *a, uint64_t elapsed_us);
/* The worker has nothing to do, or has again. */
void affinity_idle(struct affinity *a, uint64_t now_ms);
void affinity_busy(struct affinity *a);
/* When affinity_tick() has something to do; UINT64_MAX: never. */
uint64_t affinity_deadline(const struct affinity *a);
void affinity_tick(struct affinity *a, uint64_t now_ms);
/* In the child, before exec: one system call at most. */
void affinity_restore(const struct affinity *a);
