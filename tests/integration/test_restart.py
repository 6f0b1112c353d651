"""The daemon killed, stopped and started under load: nothing acknowledged is lost, nothing runs twice, jobs go on (P1, P3, P6)."""

import pathlib
import signal
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
import harness  # noqa: E402

RESTARTS = 20
WORKERS = 4
# A crash, a clean stop, and a failed assertion: what waiting clients and running jobs must not notice.
ENDS = [signal.SIGKILL, signal.SIGTERM, signal.SIGABRT]


class Restart(harness.Story):
    def setUp(self):
        super().setUp()
        self.jobpool = self.daemon(options=["--workers", str(WORKERS)])
        self.ledger = self.jobpool.root / "ledger"
        self.ledger.touch()

    def ran(self):
        return self.ledger.read_text().split()

    def clients(self):
        return int(self.jobpool.client().info()["blocked_clients"])

    def restart_under_load(self, ends, jobs):
        """Submit jobs, each of which writes its own number into the ledger, while the daemon ends again and again."""
        source = self.jobpool.root / "lines"
        source.write_text("".join(f"{n}\n" for n in range(jobs)))
        script = f'echo "$1" >>"{self.ledger}"; sleep 0.01; echo "$1"; exit $(($1 % 2))'
        with self.jobpool.popen("submit", "--each-line", source, "--", "sh", "-c", script, "job", "{}") as submit:
            for end in ends:
                seen = len(self.ran())
                harness.wait_for(lambda: len(self.ran()) > seen + 2 * WORKERS, what="jobs run")
                self.jobpool.restart(end)
            out, said = submit.communicate()
        self.assertEqual(submit.returncode, 0, said)
        ids = [int(word) for word in out.split()]
        self.jobpool.cli("join", timeout=60)

        self.assertEqual(ids, sorted(set(ids)))
        self.assertEqual(len(ids), jobs)
        listed = {job["id"]: job for job in self.jobpool.json("list")}
        self.assertEqual(set(listed), set(ids), "jobs that nobody was told of")
        self.assertEqual([listed[job]["exit_code"] for job in ids], [n % 2 for n in range(jobs)])
        self.assertEqual({job["attempt"] for job in listed.values()}, {1})
        self.assertEqual(sorted(map(int, self.ran())), list(range(jobs)))
        queue = self.jobpool.json("queue", "default")
        self.assertEqual((queue["unfinished"], queue["succeeded"], queue["failed"]), (0, jobs - jobs // 2, jobs // 2))
        for n in range(0, jobs, jobs // 20):
            self.assertEqual(self.jobpool.cli("log", ids[n])[1], b"%d\n" % n)

    def test_twenty_kills_under_load(self):
        self.restart_under_load([signal.SIGKILL] * RESTARTS, 1500)

    def test_clean_restarts_under_load(self):
        self.restart_under_load([signal.SIGTERM] * 5, 600)

    def test_what_is_acknowledged_is_there_after_a_kill(self):
        self.jobpool.cli("queue", "pause", "default")
        jobs = []
        for n in range(20):
            jobs.append(self.jobpool.submit("--name", f"job {n}", "--", "echo", n))
            self.jobpool.restart(signal.SIGKILL)
        self.assertEqual([(job["id"], job["name"]) for job in self.jobpool.json("list")],
                         [(job, f"job {n}") for n, job in enumerate(jobs)])
        self.assertTrue(self.jobpool.json("queue", "default")["paused"])
        self.jobpool.cli("queue", "resume", "default")
        self.jobpool.cli("wait", *jobs)
        self.assertEqual([self.jobpool.cli("log", job)[1] for job in jobs], [b"%d\n" % n for n in range(20)])

    def test_running_jobs_go_on_and_their_end_is_known(self):
        for end in ENDS:
            with self.subTest(end=end):
                gate = self.gate(self.jobpool, f"gate{end}")
                jobs = [self.jobpool.submit("--", *gate.command("echo before", f"echo after; exit {code}")) for code in (0, 3)]
                pids = {gate.wait_arrival() for _ in jobs}
                self.jobpool.restart(end)
                self.assertEqual({self.jobpool.show(job)["state"] for job in jobs}, {"running"})
                harness.wait_for(lambda: {self.jobpool.show(job)["pid"] for job in jobs} == pids, what="the pids are known")
                gate.open(2)
                self.jobpool.cli("wait", *jobs, check=3)
                for job in jobs:
                    self.assertEqual(self.jobpool.cli("log", job)[1], b"before\nafter\n")

    def test_jobs_that_end_while_there_is_no_daemon_are_known_afterwards(self):
        for end in ENDS:
            with self.subTest(end=end):
                gate = self.gate(self.jobpool, f"gate{end}")
                flag = self.jobpool.root / f"flag{end}"
                job = self.jobpool.submit("--", *gate.command(after=f'seq 1 50000; : >"{flag}"; kill -9 $$'))
                gate.wait_arrival()
                self.jobpool.kill(end)
                gate.open()
                harness.wait_for(flag.exists)
                self.jobpool.start()
                self.jobpool.cli("wait", job, check=137)
                self.assert_outcome(self.jobpool, job, "signaled", signal=9, attempt=1)
                self.assertEqual(self.jobpool.cli("log", job)[1].split(), [b"%d" % n for n in range(1, 50001)])

    def test_those_who_wait_reconnect_and_get_the_right_answer(self):
        for end in ENDS:
            with self.subTest(end=end):
                gate = self.gate(self.jobpool, f"gate{end}")
                command = gate.command("echo before", "echo after; exit 3")
                with self.jobpool.popen("run", "--", *command) as run:
                    gate.wait_arrival()
                    job = self.jobpool.json("list", "--state", "running")[0]["id"]
                    with (self.jobpool.popen("wait", job) as wait, self.jobpool.popen("join") as join,
                          self.jobpool.popen("log", "-f", job) as log):
                        harness.wait_for(lambda: self.clients() == 4, what="four clients wait")
                        self.jobpool.restart(end)
                        gate.open()
                        answers = [process.communicate()[0] for process in (run, wait, join, log)]
                codes = [process.returncode for process in (run, wait, join, log)]
                self.assertEqual(codes, [3, 3, 0, 0])
                self.assertEqual(answers, [b"before\nafter\n", b"", b"", b"before\nafter\n"])

    def test_those_who_wait_get_their_answer_also_when_the_job_ended_meanwhile(self):
        gate = self.gate(self.jobpool)
        flag = self.jobpool.root / "flag"
        with self.jobpool.popen("run", "--", *gate.command(after=f'echo after; : >"{flag}"; exit 5')) as run:
            gate.wait_arrival()
            with self.jobpool.popen("join") as join:
                harness.wait_for(lambda: self.clients() == 2, what="two clients wait")
                self.jobpool.kill()
                gate.open()
                harness.wait_for(flag.exists)
                self.jobpool.start()
                self.assertEqual(run.communicate()[0], b"after\n")
                join.communicate()
        self.assertEqual((run.returncode, join.returncode), (5, 0))

    def test_a_client_gives_up_after_its_reconnect_timeout(self):
        gate = self.gate(self.jobpool)
        job = self.jobpool.submit("--", *gate.command())
        gate.wait_arrival()
        with self.jobpool.popen("wait", "--reconnect-timeout", "200ms", job) as wait:
            harness.wait_for(lambda: self.clients() == 1, what="the client waits")
            self.jobpool.kill()
            said = wait.communicate()[1]
        self.assertEqual(wait.returncode, 125, said)
        self.assertIn(self.jobpool.socket.encode(), said)
        self.jobpool.start()

    def test_run_tells_whose_job_goes_on_when_it_gives_up(self):
        gate = self.gate(self.jobpool)
        with self.jobpool.popen("run", "--reconnect-timeout", "200ms", "--", "sh", "-c", 'echo "$JOBPOOL_JOB_ID"; exec "$@"', "sh", *gate.command()) as run:
            job = run.stdout.readline().strip()
            self.jobpool.kill()
            said = run.stderr.read()
        self.assertEqual(run.returncode, 125, said)
        self.assertIn(b"`jobpool wait " + job + b"`", said)
        self.jobpool.start()

    def test_the_same_key_gives_the_same_job_across_restarts(self):
        words = ("--key", "once", "--", "sh", "-c", f'echo ran >>"{self.ledger}"')
        job = self.jobpool.submit(*words)
        self.jobpool.restart(signal.SIGKILL)
        self.assertEqual(self.jobpool.submit(*words), job)
        self.jobpool.cli("join")
        self.assertEqual(self.jobpool.submit(*words), job)
        self.assertEqual(self.ran(), ["ran"])
        said = self.jobpool.cli("submit", "--key", "once", "--", "true", check=1)[2]
        self.assertIn(b"ALREADY", said)
        self.assertIn(str(job).encode(), said)

    def test_a_delayed_job_still_comes_and_a_held_one_still_waits(self):
        delayed = self.jobpool.submit("--delay", "1s", "--", "true")
        held = self.jobpool.submit("--hold", "--", "true")
        self.jobpool.restart(signal.SIGKILL)
        self.jobpool.cli("wait", delayed)
        self.assertEqual(self.jobpool.show(held)["state"], "held")
        self.jobpool.cli("release", held)
        self.jobpool.cli("wait", held)


if __name__ == "__main__":
    harness.main()
