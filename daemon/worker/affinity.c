/* Measured with two workers on two CPUs, no-op jobs, alternating: 0.91 of one posix_spawn loop at home, 0.82 left to the scheduler (doc/performance.md).
 * Beyond one worker for each CPU all CPUs are busy, and there is no idle one to be woken. */
#include "affinity.h"

#include <string.h>

#define QUICK_US 5000u /* on a CPU that somebody else needs, jobs take longer than this, and the worker goes where there is room */
#define QUICK_JOBS 3u
#define IDLE_MS 5u
#define NEVER UINT64_MAX

/* The CPU of number @index among those allowed, counted round. */
static void choose(struct affinity *a, unsigned index)
{
	index %= (unsigned)CPU_COUNT(&a->allowed);
	for (unsigned cpu = 0; cpu < CPU_SETSIZE; cpu++)
		if (CPU_ISSET(cpu, &a->allowed) && index-- == 0) {
			CPU_SET(cpu, &a->home);
			return;
		}
}

void affinity_init(struct affinity *a, const char *pool, uint32_t slot)
{
	unsigned index = slot;

	memset(a, 0, sizeof(*a));
	a->leave_at_ms = NEVER;
	a->usable = sched_getaffinity(0, sizeof(a->allowed), &a->allowed) == 0 && CPU_COUNT(&a->allowed) > 1 &&
		    slot < (uint32_t)CPU_COUNT(&a->allowed);
	if (!a->usable)
		return;
	/* Pools begin on different CPUs. */
	while (*pool)
		index += (unsigned char)*pool++;
	choose(a, index);
}

static void set_home(struct affinity *a, bool at_home)
{
	if (a->at_home == at_home)
		return;
	if (sched_setaffinity(0, sizeof(a->home), at_home ? &a->home : &a->allowed) == 0)
		a->at_home = at_home;
	else
		a->usable = false; /* the CPUs have changed under us */
}

void affinity_job_ended(struct affinity *a, uint64_t elapsed_us)
{
	a->quick_jobs = elapsed_us > QUICK_US ? 0 : a->quick_jobs + 1;
	if (!a->quick_jobs)
		set_home(a, false);
	else if (a->quick_jobs == QUICK_JOBS && a->usable)
		set_home(a, true);
}

void affinity_idle(struct affinity *a, uint64_t now_ms)
{
	if (a->at_home && a->leave_at_ms == NEVER)
		a->leave_at_ms = now_ms + IDLE_MS;
}

void affinity_busy(struct affinity *a)
{
	a->leave_at_ms = NEVER;
}

uint64_t affinity_deadline(const struct affinity *a)
{
	return a->leave_at_ms;
}

void affinity_tick(struct affinity *a, uint64_t now_ms)
{
	if (now_ms < a->leave_at_ms)
		return;
	a->leave_at_ms = NEVER;
	a->quick_jobs = 0;
	set_home(a, false);
}

void affinity_restore(const struct affinity *a)
{
	if (a->at_home)
		(void)sched_setaffinity(0, sizeof(a->allowed), &a->allowed);
}
