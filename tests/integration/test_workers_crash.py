"""Workers, and their supervisor, killed by SIGKILL: each death costs one attempt at most, and the pool is back at once (P7)."""

import os
import pathlib
import random
import signal
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
import harness  # noqa: E402

WORKERS = 4
KILLS = 100
BACK_S = 1 * harness.SLACK


class WorkersCrash(harness.Story):
    def setUp(self):
        super().setUp()
        self.jobpool = self.daemon(options=["--workers", str(WORKERS)])
        self.ledger = self.jobpool.root / "ledger"

    def alive(self):
        return [worker for worker in self.jobpool.workers() if worker["state"] in ("idle", "busy")]

    def kill_one(self, state):
        """Kill a worker in this state, and wait until the pool is at its size again; returns the killed worker."""
        # A second death before a first job would be a crash loop, which is throttled on purpose.
        victim = random.choice(harness.wait_for(lambda: [w for w in self.alive() if w["state"] == state and w["jobs"]]))
        os.kill(victim["pid"], signal.SIGKILL)
        begin = time.monotonic()

        def is_back():
            alive = self.alive()
            return len(alive) == WORKERS and victim["id"] not in [worker["id"] for worker in alive]

        harness.wait_for(is_back, 10, "the pool is at its size")
        self.assertLess(time.monotonic() - begin, BACK_S)
        return victim

    def test_a_hundred_kills_under_load_cost_one_attempt_each_at_most(self):
        self.jobpool.expect_log("worker died")
        jobs = 8000
        lines = "".join(f"{n}\n" for n in range(jobs)).encode()
        script = f'echo "$1" >>"{self.ledger}"; exec sleep 0.01'
        source = self.jobpool.root / "lines"
        source.write_bytes(lines)
        with self.jobpool.popen("submit", "--each-line", source, "--", "sh", "-c", script, "job", "{}") as submit:
            for _ in range(KILLS):
                self.kill_one("busy")
            out, said = submit.communicate()
        self.assertEqual(submit.returncode, 0, said)
        ids = [int(word) for word in out.split()]
        self.assertEqual(len(set(ids)), jobs)
        self.assertGreater(self.jobpool.json("queue", "default")["unfinished"], 0, "the load ended before the kills")
        # What is left adds nothing to the story.
        waiting = [job["id"] for job in self.jobpool.json("list", "--state", "ready")]
        for first in range(0, len(waiting), 500):
            self.jobpool.cli("cancel", *waiting[first:first + 500], check=False)
        self.jobpool.cli("join")

        listed = {job["id"]: job for job in self.jobpool.json("list")}
        outcomes = [listed[job]["outcome"] for job in ids]
        self.assertEqual(set(outcomes) - {"succeeded", "lost", "cancelled"}, set())
        self.assertLessEqual(outcomes.count("lost"), KILLS)
        self.assertGreater(outcomes.count("lost"), KILLS // 2)
        queue = self.jobpool.json("queue", "default")
        self.assertEqual((queue["unfinished"], queue["succeeded"], queue["failed"]),
                         (0, outcomes.count("succeeded"), jobs - outcomes.count("succeeded")))
        # The ledger knows what really ran: succeeded ones once, the others at most once.
        ran = [int(line) for line in self.ledger.read_text().split()]
        self.assertEqual(len(ran), len(set(ran)))
        succeeded = {n for n, outcome in enumerate(outcomes) if outcome == "succeeded"}
        self.assertEqual(succeeded - set(ran), set())

    def test_an_idle_worker_that_is_killed_costs_nothing(self):
        self.jobpool.expect_log("worker died")
        for _ in range(3):
            self.jobpool.cli("submit", "--each-line", "-", "--", "true", input=b"0\n" * 3 * WORKERS)
            self.jobpool.cli("join")
            self.kill_one("idle")
        queue = self.jobpool.json("queue", "default")
        self.assertEqual((queue["succeeded"], queue["failed"]), (9 * WORKERS, 0))

    def test_a_lost_job_ends_as_lost_with_all_its_processes(self):
        self.jobpool.expect_log("worker died")
        gate = self.gate(self.jobpool)
        job = self.jobpool.submit("--", *gate.command("echo written before; sleep 61 & setsid sleep 62 &"))
        gate.wait_arrival()
        # What the worker has not copied yet is lost with it.
        harness.wait_for(lambda: self.jobpool.cli("log", job)[1], what="the output is kept")
        worker = next(worker for worker in self.jobpool.workers() if worker["job"] == job)
        os.kill(worker["pid"], signal.SIGKILL)
        _, _, said = self.jobpool.cli("wait", job, check=123)
        self.assertEqual(harness.strays(self.jobpool.root), {})
        self.assertIn(b"worker died", said)
        self.assert_outcome(self.jobpool, job, "lost", exit_code=None, signal=None)
        self.assertEqual(self.jobpool.cli("log", job)[1], b"written before\n")

    def test_on_lost_retry_gives_the_job_a_further_attempt(self):
        self.jobpool.expect_log("worker died")
        gate = self.gate(self.jobpool)
        job = self.jobpool.submit("--on-lost", "retry", "--", *gate.command(after="echo $JOBPOOL_ATTEMPT"))
        gate.wait_arrival()
        worker = next(worker for worker in self.jobpool.workers() if worker["job"] == job)
        os.kill(worker["pid"], signal.SIGKILL)
        gate.wait_arrival()
        gate.open()
        self.jobpool.cli("wait", job)
        self.assert_outcome(self.jobpool, job, "succeeded", attempt=2)
        self.assertEqual(self.jobpool.cli("log", job)[1], b"2\n")

    def test_a_killed_supervisor_costs_no_job(self):
        self.jobpool.expect_log("supervisor")
        gate = self.gate(self.jobpool)
        jobs = [self.jobpool.submit("--", *gate.command(after="exit 3")) for _ in range(WORKERS)]
        for _ in jobs:
            gate.wait_arrival()
        supervisor = [pid for pid, command in harness.processes_of(self.jobpool.root).items() if "jobpool-supervisor" in command]
        os.kill(*supervisor, signal.SIGKILL)
        gate.open(WORKERS)
        self.jobpool.cli("wait", *jobs, check=3)
        for job in jobs:
            self.assert_outcome(self.jobpool, job, "failed", exit_code=3, attempt=1)
        self.jobpool.cli("run", "--", "true")
        harness.wait_for(lambda: len(self.alive()) == WORKERS, 10, "the pool is at its size")


if __name__ == "__main__":
    harness.main()
