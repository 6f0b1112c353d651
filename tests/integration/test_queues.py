"""Order, several queues and pools, pause, bounds, join, and counts that are exact at every moment."""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
import harness  # noqa: E402

CONFIG = """
pools:
  one: { workers: 1, queues: [default, second] }
  two: { workers: 2, queues: [other] }
queues:
  default: {}
  small: { max_length: 2 }
  stern: { timeout: 200ms, grace: 100ms, retries: 0 }
  again: { retries: 1 }
"""
COUNTS = ("held", "delayed", "blocked", "ready", "running", "unfinished", "succeeded", "failed")


class Queues(harness.Story):
    def setUp(self):
        super().setUp()
        self.jobpool = self.daemon(CONFIG.replace("[other]", "[other, small, stern, again]"))
        self.ledger = self.jobpool.root / "ledger"

    def block(self, queue="default", jobs=1):
        """Occupy the workers of the queue's pool until the gate is opened."""
        gate = self.gate(self.jobpool, f"gate of {queue}")
        for _ in range(jobs):
            self.jobpool.submit("--queue", queue, "--", *gate.command())
            gate.wait_arrival()
        return gate

    def write(self, word, *options):
        """Submit a job that adds the word to the ledger."""
        return self.jobpool.submit(*options, "--", "sh", "-c", f'echo {word} >>"{self.ledger}"')

    def written(self):
        return self.ledger.read_text().split()

    def assert_counts(self, queue, **expected):
        shown = self.jobpool.json("queue", queue)
        self.assertEqual({name: shown[name] for name in COUNTS}, {**dict.fromkeys(COUNTS, 0), **expected})

    # --- order ---

    def test_higher_priority_first_then_first_in_first_out(self):
        gate = self.block()
        for word, priority in (("a", 0), ("b", 5), ("c", -3), ("d", 5), ("e", 0), ("f", 1000000), ("g", -1000000)):
            self.write(word, "--priority", priority)
        gate.open()
        self.jobpool.cli("join")
        self.assertEqual("".join(self.written()), "fbdaecg")

    def test_a_thousand_jobs_of_mixed_priority_start_in_order(self):
        gate = self.block()
        for priority in (0, 7, -7):
            self.jobpool.cli("submit", "--priority", priority, "--each-line", "-", "--shell", "--", f'echo {priority} {{}} >>"{self.ledger}"',
                             input="".join(f"{n}\n" for n in range(333)).encode())
        gate.open()
        self.jobpool.cli("join")
        expected = [f"{priority} {n}" for priority in (7, 0, -7) for n in range(333)]
        self.assertEqual(self.ledger.read_text().splitlines(), expected)

    def test_queues_of_one_pool_share_one_order(self):
        gate = self.block()
        self.write("a", "--queue", "default")
        self.write("b", "--queue", "second")
        self.write("c", "--queue", "default")
        self.write("d", "--queue", "second", "--priority", "1")
        gate.open()
        self.jobpool.cli("join")
        self.assertEqual("".join(self.written()), "dabc")

    def test_a_busy_pool_does_not_delay_another(self):
        gate = self.block()
        self.write("late")
        self.jobpool.cli("wait", self.write("early", "--queue", "other"))
        self.assertEqual(self.written(), ["early"])
        gate.open()
        self.jobpool.cli("join")
        self.assertEqual(self.written(), ["early", "late"])

    def test_a_pool_runs_as_many_jobs_as_it_has_workers(self):
        gate = self.block("other", 2)
        third = self.jobpool.submit("--queue", "other", "--", "true")
        self.assertEqual(self.jobpool.show(third)["state"], "ready")
        self.assertEqual([worker["state"] for worker in self.jobpool.workers() if worker["pool"] == "two"], ["busy", "busy"])
        gate.open()
        self.jobpool.cli("wait", third)  # one worker is still busy
        gate.open()

    # --- pause, hold, cancel ---

    def test_a_paused_queue_takes_jobs_and_starts_none(self):
        self.jobpool.cli("queue", "pause", "default")
        paused = self.write("paused")
        # The pool's only worker passes it by.
        self.jobpool.cli("wait", self.write("other", "--queue", "second"))
        self.assertEqual(self.jobpool.show(paused)["state"], "ready")
        self.assertIn(b"paused", self.jobpool.cli("why", paused)[1])
        self.assert_counts("default", ready=1, unfinished=1)
        self.jobpool.cli("queue", "resume", "default")
        self.jobpool.cli("wait", paused)
        self.assertEqual(self.written(), ["other", "paused"])

    def test_a_held_job_is_passed_by_until_it_is_released(self):
        gate = self.block()
        held = self.write("held")
        self.jobpool.cli("hold", held)
        self.write("next")
        gate.open()
        self.jobpool.cli("wait", held - 1, held + 1)
        self.assertEqual(self.jobpool.show(held)["state"], "held")
        self.jobpool.cli("release", held)
        self.jobpool.cli("join")
        self.assertEqual(self.written(), ["next", "held"])

    def test_cancelled_jobs_never_run(self):
        gate = self.block()
        jobs = [self.write(n) for n in range(20)]
        self.jobpool.cli("cancel", *jobs[::2])
        gate.open()
        self.jobpool.cli("join")
        self.assertEqual(self.written(), [str(n) for n in range(1, 20, 2)])

    # --- bounds and defaults of a queue ---

    def test_a_full_queue_refuses_until_there_is_room(self):
        gate = self.block("other", 2)
        jobs = [self.jobpool.submit("--queue", "small", "--", "true") for _ in range(2)]
        said = self.jobpool.cli("submit", "--queue", "small", "--", "true", check=7)[2]
        self.assertIn(b"FULL", said)
        self.assertIn(b"small", said)
        self.jobpool.cli("run", "--queue", "small", "--", "true", check=125)
        self.jobpool.cli("cancel", jobs[0])
        self.jobpool.submit("--queue", "small", "--", "true")
        gate.open(2)
        self.jobpool.cli("join")
        self.assert_counts("small", succeeded=2, failed=1)

    def test_a_key_that_is_known_is_answered_by_a_full_queue_too(self):
        gate = self.block("other", 2)
        first, second = [self.jobpool.submit("--queue", "small", "--key", key, "--", "true") for key in ("one", "two")]
        self.assertEqual(self.jobpool.submit("--queue", "small", "--key", "one", "--", "true"), first)
        self.assertEqual(self.jobpool.submit("--queue", "small", "--key", "two", "--", "true"), second)
        self.assertIn(b"FULL", self.jobpool.cli("submit", "--queue", "small", "--key", "three", "--", "true", check=7)[2])
        self.jobpool.cli("submit", "--queue", "small", "--key", "one", "--", "false", check=1)
        gate.open(2)
        self.jobpool.cli("join")
        self.assert_counts("small", succeeded=2, failed=0)

    def test_a_queues_settings_hold_unless_the_job_says_otherwise(self):
        self.jobpool.cli("run", "--queue", "stern", "--", "sleep", "60", check=124)
        self.jobpool.cli("run", "--queue", "stern", "--timeout", "20s", "--", "sleep", "0.3")
        job = self.jobpool.submit("--queue", "again", "--", "false")
        self.jobpool.cli("wait", job, check=1)
        self.assert_outcome(self.jobpool, job, "failed", attempt=2, max_attempts=2)
        job = self.jobpool.submit("--queue", "again", "--retries", "0", "--", "false")
        self.jobpool.cli("wait", job, check=1)
        self.assert_outcome(self.jobpool, job, "failed", attempt=1)

    # --- counts and join ---

    def test_counts_are_exact_in_every_state(self):
        gate = self.block()
        ready = [self.jobpool.submit("--", "true") for _ in range(3)]
        held = self.jobpool.submit("--hold", "--", "true")
        delayed = self.jobpool.submit("--delay", "1h", "--", "true")
        expected = {"ready": 3, "running": 1, "held": 1, "delayed": 1, "unfinished": 6}
        self.assert_counts("default", **expected)
        self.jobpool.restart()
        self.assert_counts("default", **expected)
        self.jobpool.cli("cancel", ready[0], delayed)
        self.assert_counts("default", ready=2, running=1, held=1, unfinished=4, failed=2)
        self.jobpool.cli("release", held)
        gate.open()
        self.jobpool.cli("join")
        self.assert_counts("default", succeeded=4, failed=2)
        self.jobpool.cli("remove", ready[0])
        self.assertEqual(self.jobpool.json("queue", "default")["unfinished"], 0)
        self.assertEqual(self.jobpool.cli("clean", "--outcome", "bogus", check=2)[1], b"")
        self.assertEqual(int(self.jobpool.cli("clean")[1]), 5)
        self.assertEqual(self.jobpool.json("list"), [])

    def test_retry_moves_a_job_from_its_total_back(self):
        job = self.jobpool.submit("--", "test", "-e", "file")
        self.jobpool.cli("join")
        self.assert_counts("default", failed=1)
        (self.jobpool.root / "file").touch()
        self.jobpool.cli("retry", job)
        self.jobpool.cli("join")
        self.assert_counts("default", succeeded=1)

    def test_all_queues_are_listed_with_their_pools(self):
        pools = {queue["name"]: queue["pool"] for queue in self.jobpool.json("queue")}
        self.assertEqual(pools, {"default": "one", "second": "one", "other": "two", "small": "two", "stern": "two", "again": "two"})
        self.assertEqual({pool["name"]: pool["workers"] for pool in self.jobpool.json("pools")}, {"one": 1, "two": 2})

    def test_join_waits_for_the_queues_it_names_only(self):
        gate = self.block()
        self.jobpool.cli("run", "--queue", "other", "--", "true")
        self.jobpool.cli("join", "other")
        self.jobpool.cli("join", "other", "second")
        self.jobpool.cli("join", "other", "default", "--timeout", "50ms", check=6)
        self.jobpool.cli("join", "--timeout", "0s", check=6)
        with self.jobpool.popen("join", "default", "other") as join:
            gate.open()
            self.assertEqual(join.communicate(), (b"", b""))
        self.assertEqual(join.returncode, 0)

    def test_join_returns_at_once_where_there_is_nothing(self):
        self.jobpool.cli("join")
        self.jobpool.cli("join", "default", "--timeout", "0s")

    def test_join_counts_held_and_delayed_jobs(self):
        for options in (["--hold"], ["--delay", "1h"]):
            job = self.jobpool.submit(*options, "--", "true")
            self.jobpool.cli("join", "--timeout", "50ms", check=6)
            self.jobpool.cli("cancel", job)
            self.jobpool.cli("join")

    def test_many_joins_wake_at_the_same_last_job(self):
        gate = self.block()
        joins = [self.jobpool.popen("join", "default") for _ in range(20)]
        client = self.jobpool.client()
        harness.wait_for(lambda: int(client.info()["blocked_clients"]) == 20, what="twenty clients wait")
        gate.open()
        for join in joins:
            with join:
                join.communicate()
            self.assertEqual(join.returncode, 0)


if __name__ == "__main__":
    harness.main()
