"""One job from submission to its outcome: exit codes, output, environment, standard input."""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
import harness  # noqa: E402

# What `run` and `wait` return for each way to end (design section 4).
ENDINGS = [
    # outcome        code  command
    ("succeeded",    0,    ["true"]),
    ("failed",       7,    ["sh", "-c", "exit 7"]),
    ("signaled",     137,  ["sh", "-c", "kill -9 $$"]),
    ("unstartable",  127,  ["no-such-program"]),
    ("unstartable",  126,  ["/etc/passwd"]),
]


class OneJob(harness.Story):
    def setUp(self):
        super().setUp()
        self.jobpool = self.daemon(options=["--workers", "2"])

    def test_run_and_wait_return_the_same_code(self):
        for outcome, code, command in ENDINGS:
            with self.subTest(command=command):
                self.jobpool.cli("run", "--", *command, check=code)
                job = self.jobpool.submit("--", *command)
                self.jobpool.cli("wait", job, check=code)
                self.assert_outcome(self.jobpool, job, outcome)

    def test_run_keeps_stdout_and_stderr_apart(self):
        _, out, err = self.jobpool.cli("run", "--", "sh", "-c", "echo out; echo err >&2")
        self.assertEqual((out, err), (b"out\n", b"err\n"))

    def test_a_limit_ends_the_job_and_what_it_started(self):
        self.jobpool.cli("run", "--timeout", "1s", "--", "sh", "-c", "sleep 61 & sleep 62", check=124)
        processes = harness.processes_of(self.jobpool.root)
        self.assertFalse([command for command in processes.values() if command.startswith("sleep")])

    def test_words_reach_the_job_byte_for_byte(self):
        word = bytes(range(1, 256))
        _, out, _ = self.jobpool.cli("run", "--", "printf", "%s", word)
        self.assertEqual(out, word)

    def test_the_job_has_the_submitters_directory_environment_and_umask(self):
        command = ["sh", "-c", 'pwd; echo "$COLOUR"; umask']
        _, out, _ = self.jobpool.cli("run", "--", *command, cwd="/usr/share", env={"COLOUR": "green"})
        self.assertEqual(out.splitlines()[:2], [b"/usr/share", b"green"])

    def test_standard_input_from_a_file(self):
        data = bytes(range(256)) * 1000
        file = self.jobpool.root / "input"
        file.write_bytes(data)
        job = self.jobpool.submit("--stdin", file, "--", "cat")
        self.jobpool.cli("wait", job)
        self.assertEqual(self.jobpool.cli("log", job)[1], data)

    def test_a_worker_that_is_killed_costs_its_job_and_is_replaced(self):
        self.jobpool.expect_log("worker")
        job = self.jobpool.submit("--", "sleep", "60")
        worker = harness.wait_for(lambda: [w for w in self.jobpool.workers() if w.get("job") == job])[0]
        harness.os.kill(worker["pid"], harness.signal.SIGKILL)
        self.jobpool.cli("wait", job, check=123)
        self.assert_outcome(self.jobpool, job, "lost")
        harness.wait_for(lambda: len([w for w in self.jobpool.workers() if w["state"] == "idle"]) == 2)


class ManyJobs(harness.Story):
    def test_each_line_then_join_then_every_output_is_right(self):
        jobpool = self.daemon(options=["--workers", "4"])
        lines = [f"line {n}" for n in range(500)]
        text = "".join(f"{line}\n" for line in lines).encode()
        _, out, _ = jobpool.cli("submit", "--each-line", "-", "--", "echo", "{}", input=text)
        ids = [int(word) for word in out.split()]
        self.assertEqual(len(set(ids)), len(lines))
        jobpool.cli("join")
        for job, line in list(zip(ids, lines))[::25]:
            self.assertEqual(jobpool.cli("log", job)[1], line.encode() + b"\n")
        queue = jobpool.json("queue", "default")
        self.assertEqual((queue["unfinished"], queue["succeeded"], queue["failed"]), (0, 500, 0))


if __name__ == "__main__":
    harness.main()
