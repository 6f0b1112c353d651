/* All that needs memory is prepared before vfork(): the child borrows our memory and stack, so it makes system calls only,
 * and tells a failure by writing it where we read it afterwards. vfork() returns when the child has exec'd or exited. */
#include "launch.h"

#include <fcntl.h>
#include <inttypes.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <linux/close_range.h>

#ifndef __has_feature /* clang's way to ask */
#define __has_feature(name) 0
#endif

#define DEFAULT_PATH "/usr/local/bin:/usr/bin:/bin"
#define EXIT_NOT_STARTED 127

/* The job's own variables beside those of the launcher. */
struct job_variables {
	char id[48], attempt[48], queue[NAME_BYTES_MAX + 24];
};

/* Everything that the child needs, in pointers that exec takes. */
struct plan {
	char **argv, **envp;
	char **candidates; /* paths to try in turn, NULL at the end */
	const char *cwd;
	mode_t umask;
	int stdin_fd, stdout_fd, stderr_fd;
	const struct affinity *affinity;
	bool reset_oom_score;
	void *pointers;    /* owned: argv, envp and candidates */
	char *paths;       /* owned: the texts of candidates */
};

int launcher_init(struct launcher *l, const struct affinity *affinity, const char *state_dir, const char *tmp_path, const char *pool,
		  uint32_t slot, const char *socket)
{
	const char *home = getenv("HOME");
	char slot_path[sizeof(SLOT_DIRECTORY) + NAME_BYTES_MAX + 16], score[16] = "";
	unsigned count = 0;

	*l = (struct launcher){ .affinity = affinity };
	snprintf(slot_path, sizeof(slot_path), SLOT_DIRECTORY "/%s.%" PRIu32, pool, slot);
	if (mkdir(slot_path, 0700) < 0 && errno != EEXIST)
		return -errno;
	if (asprintf(&l->own_variables[count++], "JOBPOOL_WORKER=%" PRIu32, slot) < 0 ||
	    asprintf(&l->own_variables[count++], "JOBPOOL_POOL=%s", pool) < 0 ||
	    asprintf(&l->own_variables[count++], "JOBPOOL_TMPDIR=%s/%s", state_dir, tmp_path) < 0 ||
	    asprintf(&l->own_variables[count++], "JOBPOOL_WORKER_DIR=%s/%s", state_dir, slot_path) < 0 ||
	    (*socket && asprintf(&l->own_variables[count++], "JOBPOOL_SOCKET=%s", socket) < 0) ||
	    asprintf(&l->home_variable, "HOME=%s", home && *home ? home : "/") < 0)
		return -ENOMEM;

	int fd = open("/proc/self/oom_score_adj", O_RDONLY | O_CLOEXEC);
	l->reset_oom_score = fd >= 0 && read(fd, score, sizeof(score) - 1) > 0 && atoi(score) != 0;
	close_fd(&fd);
	return 0;
}

void launcher_deinit(struct launcher *l)
{
	for (unsigned i = 0; i < ARRAY_SIZE(l->own_variables); i++)
		free(l->own_variables[i]);
	free(l->home_variable);
	*l = (struct launcher){ 0 };
}

/* Do the "name=value" texts @a and @b have the same name? */
static bool same_name(const char *a, const char *b)
{
	while (*a == *b && *a != '=')
		a++, b++;
	return *a == '=' && *b == '=';
}

/* Fill @envp from @block, but for the names of the @own_count first entries, which are ours and there already. */
static void merge_environment(struct plan *plan, struct slice block, size_t own_count, const struct launcher *l,
			      const char **ret_path)
{
	static char default_path[] = "PATH=" DEFAULT_PATH;
	size_t count = own_count;
	bool has_home = false;

	*ret_path = NULL;
	for (size_t at = 0; at < block.len; at += strlen(block.data + at) + 1) {
		char *entry = (char *)block.data + at;
		bool ours = false;
		for (size_t i = 0; i < own_count && entry[0] == 'J' && !ours; i++)
			ours = same_name(entry, plan->envp[i]);
		if (ours)
			continue;
		plan->envp[count++] = entry;
		has_home = has_home || strncmp(entry, "HOME=", 5) == 0;
		if (!*ret_path && strncmp(entry, "PATH=", 5) == 0)
			*ret_path = entry + 5;
	}
	if (!has_home)
		plan->envp[count++] = l->home_variable;
	if (!*ret_path) {
		plan->envp[count++] = default_path;
		*ret_path = default_path + 5;
	}
}

static size_t count_byte(const char *data, size_t len, char byte)
{
	const char *end = data + len;
	size_t count = 0;

	while (data < end && (data = memchr(data, byte, (size_t)(end - data)))) {
		count++;
		data++;
	}
	return count;
}

/* As execvp(3) searches: a name with a slash is a path, any other is tried in each element of PATH (empty: the cwd). */
static int list_candidates(struct plan *plan, const char *name, const char *path)
{
	size_t name_len = strlen(name), count = 0;

	if (strchr(name, '/')) {
		plan->candidates[0] = (char *)name;
		return 0;
	}
	/* Each element becomes "element/name\0". */
	char *at = plan->paths = malloc(strlen(path) + 1 + (count_byte(path, strlen(path), ':') + 1) * (name_len + 2));
	if (!at)
		return -ENOMEM;
	for (const char *end;; path = end + 1) {
		end = strchrnul(path, ':');
		plan->candidates[count++] = at;
		at = mempcpy(at, path, (size_t)(end - path));
		if (end != path)
			*at++ = '/';
		at = mempcpy(at, name, name_len + 1);
		if (!*end)
			return 0;
	}
}

static void plan_deinit(struct plan *plan)
{
	free(plan->pointers);
	free(plan->paths);
}

static int plan_init(struct plan *plan, const struct launcher *l, const struct launch *job, struct job_variables *own)
{
	const struct spec *spec = job->spec;
	size_t entries = count_byte(job->environment.data, job->environment.len, '\0');
	size_t env_max = entries + 3 + LAUNCH_OWN_VARIABLES + 2;
	size_t path_max = count_byte(job->environment.data, job->environment.len, ':') + sizeof(DEFAULT_PATH);
	size_t own_count = 0;
	const char *path;

	*plan = (struct plan){
		.cwd = spec->cwd.len ? spec->cwd.data : "/",
		.umask = spec->umask,
		.stdin_fd = job->stdin_fd,
		.stdout_fd = job->stdout_fd,
		.stderr_fd = job->stderr_fd,
		.affinity = l->affinity,
		.reset_oom_score = l->reset_oom_score,
	};
	char **pointers = plan->pointers = calloc(spec->argc + 1 + env_max + 1 + path_max + 1, sizeof(*pointers));
	if (!pointers)
		return -ENOMEM;
	plan->argv = pointers;
	plan->envp = plan->argv + spec->argc + 1;
	plan->candidates = plan->envp + env_max + 1;

	for (uint32_t i = 0; i < spec->argc; i++)
		plan->argv[i] = (char *)spec->argv[i].data;
	snprintf(own->id, sizeof(own->id), "JOBPOOL_JOB_ID=%" PRIu64, job->job_id);
	snprintf(own->attempt, sizeof(own->attempt), "JOBPOOL_ATTEMPT=%" PRIu32, job->attempt);
	snprintf(own->queue, sizeof(own->queue), "JOBPOOL_QUEUE=%.*s", (int)job->queue.len, job->queue.data);
	plan->envp[own_count++] = own->id;
	plan->envp[own_count++] = own->attempt;
	plan->envp[own_count++] = own->queue;
	for (char *const *variable = l->own_variables; *variable; variable++)
		plan->envp[own_count++] = *variable;
	merge_environment(plan, job->environment, own_count, l, &path);
	return list_candidates(plan, plan->argv[0], path);
}

/* -- the child, in our memory: system calls only ------------------------------------------------------------- */

static _Noreturn void child_fail(struct launch_failure *failure, enum start_step step, int error)
{
	failure->error = error;
	failure->step = step;
	_exit(EXIT_NOT_STARTED);
}

static void child_reset_oom_score(void)
{
	int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);

	/* Best effort: some containers forbid it, and the job can do without. */
	if (fd >= 0 && write(fd, "0", 1) < 0)
		errno = 0;
}

/* As execvp(3), but a file that is no program is told (ENOEXEC) and not handed to a shell. */
static int child_exec(const struct plan *plan)
{
	bool denied = false;

	for (char **candidate = plan->candidates; *candidate; candidate++) {
		execve(*candidate, plan->argv, plan->envp);
		if (errno == EACCES)
			denied = true;
		else if (errno != ENOENT && errno != ENOTDIR && errno != ESTALE && errno != ENODEV && errno != ETIMEDOUT)
			return errno;
	}
	return denied ? EACCES : errno;
}

static _Noreturn void child_run(const struct plan *plan, struct launch_failure *failure)
{
	sigset_t none;

	/* Not a session of its own, as it has no terminal to lose: that costs the scheduler a group for each job, 15 to 20 us. */
	if (setpgid(0, 0) < 0)
		child_fail(failure, STEP_GROUP, errno);
	affinity_restore(plan->affinity);
	if (plan->reset_oom_score)
		child_reset_oom_score();
	umask(plan->umask);
	if (chdir(plan->cwd) < 0)
		child_fail(failure, STEP_CWD, errno);
	if ((plan->stdin_fd >= 0 && dup2(plan->stdin_fd, STDIN_FILENO) < 0) ||
	    dup2(plan->stdout_fd, STDOUT_FILENO) < 0 || dup2(plan->stderr_fd, STDERR_FILENO) < 0)
		child_fail(failure, STEP_STDIO, errno);
	/* All our descriptors are close-on-exec already; this also covers what a library or our parent forgot. They stay open
	 * until exec: a half-made child holds the worker file's lock, and so is never mistaken for a dead worker. */
	close_range(STDERR_FILENO + 1, ~0U, CLOSE_RANGE_CLOEXEC);
	/* Last: before this no signal to the worker's group can end the child half-way. Dispositions are default already. */
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	child_fail(failure, STEP_EXEC, child_exec(plan));
}

#if defined(__SANITIZE_THREAD__) || __has_feature(thread_sanitizer)
/* The thread sanitizer makes a fork() of every vfork(), and then no failure would reach us. It leaves clone() alone. */
struct child {
	const struct plan *plan;
	struct launch_failure *failure;
};

static int child_main(void *argument)
{
	const struct child *child = argument;

	child_run(child->plan, child->failure);
}

static pid_t start_child(const struct plan *plan, struct launch_failure *failure)
{
	static _Alignas(16) char stack[256 * 1024];
	struct child child = { plan, failure };

	return clone(child_main, stack + sizeof(stack), CLONE_VM | CLONE_VFORK | SIGCHLD, &child);
}
#else
/* A function of its own, with no variable that could live in a register across vfork(). */
static __attribute__((noinline)) pid_t start_child(const struct plan *plan, struct launch_failure *failure)
{
	pid_t pid = vfork();

	if (pid == 0)
		child_run(plan, failure);
	return pid;
}
#endif

pid_t launch_job(const struct launcher *l, const struct launch *job, struct launch_failure *ret_failure)
{
	struct job_variables own;
	struct plan plan;
	pid_t pid = 0;

	*ret_failure = (struct launch_failure){ 0 };
	if (plan_init(&plan, l, job, &own) < 0) {
		*ret_failure = (struct launch_failure){ STEP_VFORK, ENOMEM };
	} else {
		pid = start_child(&plan, ret_failure);
		if (pid < 0)
			*ret_failure = (struct launch_failure){ STEP_VFORK, errno };
	}
	plan_deinit(&plan);
	if (pid <= 0)
		return 0;
	if (ret_failure->step == STEP_NONE)
		return pid;
	while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
		;
	return 0;
}
