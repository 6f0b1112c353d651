/* The tree proof against real processes: many children, fork bombs, and what tries to get away. Every test runs in a
 * process of its own, which is made the subreaper; what it starts ends by alarm(2) should the test fail. */
#include <check.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "suites.h"
#include "tree.h"
#include "util.h"

#define LIFETIME_SECONDS 30 /* of whatever a failed test leaves behind */
#define BOMB_SIZE 200

static struct tree tree;

static void set_up(void)
{
	signal(SIGTERM, SIG_DFL); /* check's handler passes it on to the whole test */
	ck_assert_int_eq(prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0), 0);
	ck_assert_int_eq(tree_init(&tree), 0);
}

static void tear_down(void)
{
	tree_deinit(&tree);
}

static bool is_none(pid_t pid, void *context)
{
	(void)pid, (void)context;
	return false;
}

static bool is_one(pid_t pid, void *context)
{
	return pid == *(pid_t *)context;
}

static _Noreturn void sleep_for_ever(void)
{
	alarm(LIFETIME_SECONDS);
	for (;;)
		pause();
}

static pid_t start_sleeper(void)
{
	pid_t pid = fork();

	ck_assert_int_ge(pid, 0);
	if (pid == 0)
		sleep_for_ever();
	return pid;
}

static void *map_shared(size_t bytes)
{
	void *shared = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	ck_assert_ptr_ne(shared, MAP_FAILED);
	return shared;
}

static void wait_until_at_least(atomic_int *counter, int value)
{
	uint64_t deadline = now_monotonic_ms() + 10000;

	while (atomic_load(counter) < value) {
		ck_assert_msg(now_monotonic_ms() < deadline, "only %d of %d came up", atomic_load(counter), value);
		usleep(1000);
	}
}

/* Passes until one proves that nothing but the known is left; returns how long that took. */
static uint64_t end_tree(bool (*is_known)(pid_t, void *), void *context)
{
	uint64_t start = now_monotonic_ms();
	int left;

	while ((left = tree_kill_pass(&tree, is_known, context)) != 0) {
		ck_assert_int_gt(left, 0);
		ck_assert_msg(now_monotonic_ms() - start < 10000, "%d children are left after ten seconds", left);
		usleep(1000);
	}
	return now_monotonic_ms() - start;
}

static void assert_no_child_at_all(void)
{
	ck_assert_int_eq(waitpid(-1, NULL, WNOHANG | __WALL), -1);
	ck_assert_int_eq(errno, ECHILD);
}

START_TEST(test_tree_without_children_is_empty)
{
	ck_assert_int_eq(tree_look(&tree), 0);
	ck_assert_uint_eq(tree.count, 0);
	ck_assert_int_eq(tree_kill_pass(&tree, is_none, NULL), 0);
}
END_TEST

/* More than the kernel gives out in one read(2), zombies between them. */
START_TEST(test_tree_look_sees_every_child_once_in_order)
{
	enum { CHILDREN = 1500 };
	pid_t pids[CHILDREN];

	for (int i = 0; i < CHILDREN; i++) {
		pids[i] = fork();
		ck_assert_int_ge(pids[i], 0);
		if (pids[i] == 0)
			_exit(0);
	}
	ck_assert_int_eq(tree_look(&tree), 0);
	ck_assert_uint_eq(tree.count, CHILDREN);
	ck_assert_mem_eq(tree.pids, pids, sizeof(pids));
	end_tree(is_none, NULL);
	assert_no_child_at_all();
}
END_TEST

START_TEST(test_tree_pass_leaves_the_known_child_and_its_descendants_alone)
{
	atomic_int *started = map_shared(sizeof(*started));
	pid_t known = fork(), stray;

	if (known == 0) {
		if (fork() == 0)
			atomic_fetch_add(started, 1);
		sleep_for_ever();
	}
	stray = start_sleeper();
	wait_until_at_least(started, 1);
	end_tree(is_one, &known);
	ck_assert_int_eq(kill(stray, 0), -1);
	ck_assert_int_eq(kill(known, 0), 0);
	ck_assert_int_eq(waitpid(known, NULL, WNOHANG), 0);
	end_tree(is_none, NULL);
	assert_no_child_at_all();
}
END_TEST

/* A known child's exit status is its owner's: a pass must not reap it. */
START_TEST(test_tree_pass_does_not_reap_a_known_zombie)
{
	pid_t known = fork();
	siginfo_t info;
	int status;

	if (known == 0)
		_exit(7);
	ck_assert_int_eq(waitid(P_PID, (id_t)known, &info, WEXITED | WNOWAIT), 0);
	ck_assert_int_eq(tree_kill_pass(&tree, is_one, &known), 0);
	ck_assert_int_eq(waitpid(known, &status, 0), known);
	ck_assert_int_eq(WEXITSTATUS(status), 7);
}
END_TEST

struct bomb {
	atomic_int born;
	bool setsid;                      /* each one leaves its session and process group */
	_Atomic pid_t members[BOMB_SIZE]; /* 0 = free, -1 = being forked */
};

/* Every member forks as fast as it can into the places of dead ones, so killing some only makes room for others. */
static _Noreturn void bomb_run(struct bomb *bomb)
{
	alarm(LIFETIME_SECONDS);
	if (bomb->setsid)
		setsid();
	for (unsigned i = (unsigned)getpid();; i++) {
		_Atomic pid_t *place = &bomb->members[i % BOMB_SIZE];
		pid_t member = atomic_load(place);

		if (member == -1 || (member > 0 && kill(member, 0) == 0))
			continue;
		if (!atomic_compare_exchange_strong(place, &member, -1))
			continue;
		member = fork();
		if (member == 0) {
			atomic_store(place, getpid());
			atomic_fetch_add(&bomb->born, 1);
			alarm(LIFETIME_SECONDS);
			if (bomb->setsid)
				setsid();
		} else if (member < 0) {
			atomic_store(place, 0);
		}
	}
}

/* On an idle machine it takes 20 to 40 ms, with setsid less than a second; on a loaded one, under a sanitizer, seconds. What counts there
 * is that we ended it, and not the bomb's own alarm. */
static unsigned bomb_patience_ms(void)
{
	return getenv("JOBPOOL_TEST_IDLE") ? 5000 : LIFETIME_SECONDS * 1000 / 2;
}

START_TEST(test_tree_ends_a_fork_bomb)
{
	struct bomb *bomb = map_shared(sizeof(*bomb));

	bomb->setsid = _i == 1;
	if (fork() == 0)
		bomb_run(bomb);
	wait_until_at_least(&bomb->born, BOMB_SIZE);
	ck_assert_uint_lt(end_tree(is_none, NULL), bomb_patience_ms());
	assert_no_child_at_all();
}
END_TEST

static void ignore_sigterm(void)
{
	signal(SIGTERM, SIG_IGN);
}

static void leave_session(void)
{
	setsid();
}

static void stop_itself(void)
{
	raise(SIGSTOP);
}

static void become_subreaper(void)
{
	prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
}

static void (*const escapes[])(void) = { ignore_sigterm, leave_session, stop_itself, become_subreaper };

START_TEST(test_tree_ends_descendants_that_try_to_get_away)
{
	atomic_int *started = map_shared(sizeof(*started));

	if (fork() == 0) {
		for (int depth = 0; depth < 5; depth++)
			if (fork() > 0)
				break;
		atomic_fetch_add(started, 1);
		escapes[_i]();
		sleep_for_ever();
	}
	wait_until_at_least(started, 6);
	end_tree(is_none, NULL);
	assert_no_child_at_all();
}
END_TEST

static void *fork_in_thread(void *started)
{
	if (fork() == 0) {
		atomic_fetch_add((atomic_int *)started, 1);
		sleep_for_ever();
	}
	return pause(), NULL;
}

START_TEST(test_tree_signal_reaches_the_children_of_every_thread)
{
	atomic_int *started = map_shared(sizeof(*started));
	pid_t root = fork();
	int status;

	if (root == 0) {
		pthread_t thread;

		if (pthread_create(&thread, NULL, fork_in_thread, started) != 0 || fork() == 0)
			atomic_fetch_add(started, 1);
		sleep_for_ever();
	}
	wait_until_at_least(started, 2);
	ck_assert_int_eq(tree_signal(&tree, root, SIGTERM), 3);
	ck_assert_int_eq(waitpid(root, &status, 0), root);
	ck_assert_int_eq(WTERMSIG(status), SIGTERM);
	for (int i = 0; i < 2; i++) {
		ck_assert_int_gt(waitpid(-1, &status, 0), 0);
		ck_assert_int_eq(WTERMSIG(status), SIGTERM);
	}
	assert_no_child_at_all();
}
END_TEST

/* Deeper than a walk goes: what it left out turns up as an own child. */
START_TEST(test_tree_ends_a_chain_deeper_than_one_walk)
{
	enum { DEPTH = 150 };
	atomic_int *started = map_shared(sizeof(*started));

	if (fork() == 0) {
		for (int depth = 0; depth < DEPTH; depth++)
			if (fork() > 0)
				break;
		atomic_fetch_add(started, 1);
		sleep_for_ever();
	}
	wait_until_at_least(started, DEPTH + 1);
	end_tree(is_none, NULL);
	assert_no_child_at_all();
}
END_TEST

START_TEST(test_tree_ends_children_without_a_free_descriptor)
{
	int fds[1024], count = 0;
	struct rlimit limit = { .rlim_cur = 64, .rlim_max = 64 };

	start_sleeper();
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
	while (count < (int)ARRAY_SIZE(fds) && (fds[count] = open("/dev/null", O_RDONLY | O_CLOEXEC)) >= 0)
		count++;
	ck_assert_int_eq(errno, EMFILE);
	end_tree(is_none, NULL);
	assert_no_child_at_all();
	while (count > 0)
		close(fds[--count]);
}
END_TEST

Suite *tree_suite(void)
{
	Suite *suite = suite_create("tree");
	TCase *tcase = tcase_create("tree");

	tcase_set_timeout(tcase, 40);
	tcase_add_checked_fixture(tcase, set_up, tear_down);
	tcase_add_test(tcase, test_tree_without_children_is_empty);
	tcase_add_test(tcase, test_tree_look_sees_every_child_once_in_order);
	tcase_add_test(tcase, test_tree_pass_leaves_the_known_child_and_its_descendants_alone);
	tcase_add_test(tcase, test_tree_pass_does_not_reap_a_known_zombie);
	tcase_add_loop_test(tcase, test_tree_ends_a_fork_bomb, 0, 2);
	tcase_add_loop_test(tcase, test_tree_ends_descendants_that_try_to_get_away, 0, (int)ARRAY_SIZE(escapes));
	tcase_add_test(tcase, test_tree_signal_reaches_the_children_of_every_thread);
	tcase_add_test(tcase, test_tree_ends_a_chain_deeper_than_one_walk);
	tcase_add_test(tcase, test_tree_ends_children_without_a_free_descriptor);
	suite_add_tcase(suite, tcase);
	return suite;
}
