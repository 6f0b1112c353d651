"""The YAML file: mistakes are told by file, line and column, and a reload changes a running daemon without harm."""

import pathlib
import re
import signal
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
import harness  # noqa: E402

MISTAKES = [
    # line:column and words of the message   text
    ("1:1",   "pool",                        "pool: {}\n"),
    ("1:12",  "loud",                        "log_level: loud\n"),
    ("2:14",  "worker",                      "pools:\n  default: { worker: 4 }\n"),
    ("2:23",  "0",                           "pools:\n  default: { workers: 0 }\n"),
    ("2:24",  "workers",                     "pools:\n  batch: { workers: 1, workers: 2 }\n"),
    ("2:3",   "bad/name",                    "pools:\n  bad/name: { workers: 1 }\n"),
    ("1:31",  "soon",                        "queues: { default: { timeout: soon } }\n"),
    ("1:29",  "-1",                          "queues: { train: { retries: -1 } }\n"),
    ("1:12",  "",                            "retention: 7d\n"),
    ("2:1",   "",                            "pools: {\n"),
    ("1:8",   "",                            "pools: *other\n"),
]


def jobpoold(*args, **kwargs):
    return subprocess.run([harness.JOBPOOLD, *map(str, args)], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True, timeout=harness.DEADLINE, check=False, **kwargs)


class CheckConfig(harness.Story):
    def setUp(self):
        super().setUp()
        self.jobpool = self.daemon(start=False)
        self.file = self.jobpool.config_file

    def check(self, text):
        self.file.write_text(text)
        return jobpoold("--check-config", "--config", self.file)

    def test_each_mistake_is_told_by_file_line_and_column(self):
        for place, words, text in MISTAKES:
            with self.subTest(text=text):
                done = self.check(text)
                self.assertEqual(done.returncode, 1)
                self.assertTrue(done.stderr.startswith(f"{self.file}:{place}: "), done.stderr)
                self.assertIn(words, done.stderr)

    def test_all_mistakes_of_a_file_are_told_at_once(self):
        done = jobpoold("--check-config", "--config", harness.SOURCE_DIR / "tests/data/config_errors.yaml")
        self.assertEqual(done.returncode, 1)
        lines = [int(match[1]) for match in re.finditer(r"config_errors\.yaml:(\d+):\d+: ", done.stderr)]
        self.assertGreaterEqual(len(set(lines)), 8, done.stderr)

    def test_a_mistyped_key_is_answered_with_a_suggestion(self):
        self.assertIn("workers", self.check("pools:\n  default: { wokers: 4 }\n").stderr)

    def test_a_good_file_passes_silently(self):
        for text in ("", "# nothing\n", "pools: { default: { workers: 2 } }\n"):
            done = self.check(text)
            self.assertEqual((done.returncode, done.stderr), (0, ""), done)

    def test_the_file_that_shows_every_key_is_at_its_defaults(self):
        shown = jobpoold("--show-config", "--config", harness.SOURCE_DIR / "conf/jobpool.yaml")
        self.file.write_text("")
        self.assertEqual(shown.stdout, jobpoold("--show-config", "--config", self.file).stdout)
        self.assertEqual((shown.returncode, shown.stderr), (0, ""))

    def test_what_is_shown_can_be_read_again(self):
        self.file.write_text("pools: { p: { workers: 3, queues: [a, b] } }\nqueues: { a: { timeout: 90s, max_output: 1MiB } }\n")
        shown = jobpoold("--show-config", "--config", self.file).stdout
        self.assertIn("workers: 3", shown)
        self.file.write_text(shown)
        self.assertEqual(jobpoold("--show-config", "--config", self.file).stdout, shown)

    def test_a_file_that_is_not_there_is_told(self):
        done = jobpoold("--check-config", "--config", "/no/such.yaml")
        self.assertEqual(done.returncode, 1)
        self.assertIn("/no/such.yaml", done.stderr)
        self.assertIn("No such file", done.stderr)

    def test_a_daemon_with_a_bad_file_does_not_start(self):
        self.file.write_text("pools: { default: { worker: 1 } }\n")
        done = jobpoold("--config", self.file, "--state-dir", self.jobpool.state_dir, "--socket", self.jobpool.socket)
        self.assertEqual(done.returncode, 1)
        self.assertIn(f"{self.file}:1:21:", done.stderr)
        self.assertFalse(self.jobpool.state_dir.exists())


class Reload(harness.Story):
    def setUp(self):
        super().setUp()
        self.jobpool = self.daemon(self.config(1))

    @staticmethod
    def config(workers, more=""):
        return f"pools: {{ default: {{ workers: {workers} }} }}\n{more}"

    def alive(self):
        return [worker for worker in self.jobpool.workers() if worker["state"] in ("idle", "busy")]

    def resize(self, workers):
        self.jobpool.write_config(self.config(workers))
        self.jobpool.cli("reload")
        self.assertEqual(self.jobpool.json("pools")[0]["workers"], workers)

    def test_a_pool_grows_live(self):
        gate = self.gate(self.jobpool)
        for _ in range(4):
            self.jobpool.submit("--", *gate.command())
        first = gate.wait_arrival()
        self.resize(4)
        self.assertEqual(len({first, *(gate.wait_arrival() for _ in range(3))}), 4)
        gate.open(4)
        self.jobpool.cli("join")

    def test_shrinking_never_ends_a_running_job(self):
        gate = self.gate(self.jobpool)
        self.resize(4)
        jobs = [self.jobpool.submit("--", *gate.command(after="exit 7")) for _ in range(4)]
        for _ in jobs:
            gate.wait_arrival()
        self.resize(1)
        self.assertEqual({self.jobpool.show(job)["state"] for job in jobs}, {"running"})
        gate.open(4)
        self.jobpool.cli("wait", *jobs, check=7)
        for job in jobs:
            self.assert_outcome(self.jobpool, job, "failed", exit_code=7, attempt=1)
        harness.wait_for(lambda: len(self.jobpool.workers()) == 1, what="one worker is left")
        self.jobpool.cli("run", "--", "true")

    def test_idle_workers_leave_at_once(self):
        self.resize(4)
        harness.wait_for(lambda: len(self.alive()) == 4, what="four workers")
        self.resize(2)
        harness.wait_for(lambda: len(self.jobpool.workers()) == 2, what="two workers")

    def test_growing_and_shrinking_under_load_loses_nothing(self):
        source = self.jobpool.root / "lines"
        source.write_text("".join(f"{n}\n" for n in range(1000)))
        with self.jobpool.popen("submit", "--each-line", source, "--", "sleep", "0.00{}") as submit:
            for workers in (4, 1, 3, 2, 4, 1, 4):
                self.resize(workers)
                done = self.jobpool.json("queue", "default")["succeeded"]
                harness.wait_for(lambda: self.jobpool.json("queue", "default")["succeeded"] >= min(done + 50, 1000))
            submit.communicate()
        self.jobpool.cli("join")
        queue = self.jobpool.json("queue", "default")
        self.assertEqual((queue["unfinished"], queue["succeeded"], queue["failed"]), (0, 1000, 0))

    def test_pools_come_and_go_and_queues_move_between_them(self):
        self.jobpool.expect_log("no pool of the configuration serves this queue")
        self.jobpool.write_config("pools: { default: { workers: 1 }, old: { workers: 1, queues: [old, moved] } }\n")
        self.jobpool.cli("reload")
        gate = self.gate(self.jobpool)
        running = self.jobpool.submit("--queue", "old", "--", *gate.command())
        gate.wait_arrival()
        waiting, left = [self.jobpool.submit("--queue", queue, "--", "echo", queue) for queue in ("moved", "old")]
        self.jobpool.write_config("pools: { default: { workers: 1 }, new: { workers: 1, queues: [moved] } }\n")
        self.jobpool.cli("reload")
        self.jobpool.cli("wait", waiting)
        self.assertEqual(self.jobpool.cli("log", waiting)[1], b"moved\n")
        gate.open()
        self.jobpool.cli("wait", running)
        harness.wait_for(lambda: [pool["name"] for pool in self.jobpool.json("pools")] == ["default", "new"], what="the old pool to go")
        self.assertEqual(self.jobpool.json("show", left)["state"], "ready")
        self.jobpool.write_config("pools: { default: { workers: 1, queues: [default, old, moved] } }\n")
        self.jobpool.cli("reload")
        self.jobpool.cli("wait", left)

    def test_a_file_named_by_a_relative_path_is_read_again(self):
        # The daemon has changed its directory since.
        jobpool = self.daemon(options=["--config", "own.yaml"], start=False)
        (jobpool.root / "own.yaml").write_text("pools: { default: { workers: 1 } }\n")
        jobpool.start()
        (jobpool.root / "own.yaml").write_text("pools: { default: { workers: 2 } }\n")
        jobpool.cli("reload")
        self.assertEqual(jobpool.json("pools")[0]["workers"], 2)

    def test_sighup_reloads_too(self):
        self.jobpool.write_config(self.config(3))
        line = len(self.jobpool.lines)
        self.jobpool.process.send_signal(signal.SIGHUP)
        self.jobpool.wait_log('msg="reloaded"', since=line)
        self.assertEqual(self.jobpool.json("pools")[0]["workers"], 3)
        harness.wait_for(lambda: len(self.alive()) == 3, what="three workers")

    def test_a_bad_file_keeps_the_old_configuration(self):
        self.jobpool.expect_log("reload failed")
        for text in ("pools: { default: { workers: many } }\n", "pools: [\n", self.config(2, "pool: {}\n")):
            with self.subTest(text=text):
                self.jobpool.write_config(text)
                said = self.jobpool.cli("reload", check=1)[2].decode()
                self.assertIn(f"{self.jobpool.config_file}:", said)
                self.assertIn("old configuration stays", said)
                line = len(self.jobpool.lines)
                self.jobpool.process.send_signal(signal.SIGHUP)
                self.jobpool.wait_log("level=error.*reload failed.*jobpool.yaml:", since=line)
                self.assertEqual(self.jobpool.json("pools")[0]["workers"], 1)
                self.jobpool.cli("run", "--", "true")

    def test_a_file_that_is_gone_keeps_the_old_configuration(self):
        self.jobpool.expect_log("reload failed")
        self.jobpool.config_file.unlink()
        self.jobpool.cli("reload", check=1)
        self.assertEqual(self.jobpool.json("pools")[0]["workers"], 1)

    def test_limits_of_a_queue_take_effect_at_once(self):
        self.jobpool.cli("queue", "pause", "default")
        self.jobpool.submit("--", "true")
        self.jobpool.write_config(self.config(1, "queues: { default: { max_length: 1 } }\n"))
        self.jobpool.cli("reload")
        self.jobpool.cli("submit", "--", "true", check=7)
        self.jobpool.write_config(self.config(1))
        self.jobpool.cli("reload")
        self.jobpool.submit("--", "true")
        self.jobpool.cli("queue", "resume", "default")
        self.jobpool.cli("join")

    def test_recycled_workers_cost_no_job(self):
        self.jobpool.write_config("pools: { default: { workers: 2, recycle_after_jobs: 10 } }\n")
        self.jobpool.cli("reload")
        before = {worker["id"] for worker in self.jobpool.workers()}
        self.jobpool.cli("submit", "--each-line", "-", "--", "echo", input="".join(f"{n}\n" for n in range(200)).encode())
        self.jobpool.cli("join")
        queue = self.jobpool.json("queue", "default")
        self.assertEqual((queue["succeeded"], queue["failed"]), (200, 0))
        self.assertEqual(before & {worker["id"] for worker in self.alive()}, set())


if __name__ == "__main__":
    harness.main()
