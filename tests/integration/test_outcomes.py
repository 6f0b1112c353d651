"""How jobs end: what `run` and `wait` return, and what `show` tells about it (design section 4)."""

import errno
import getpass
import os
import pathlib
import signal
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
import harness  # noqa: E402

# Every way to end by oneself.
ENDINGS = [
    # outcome        code  command                                  what `show` says besides
    ("succeeded",    0,    ["true"],                                {"exit_code": 0, "signal": None}),
    ("failed",       7,    ["sh", "-c", "exit 7"],                  {"exit_code": 7, "signal": None}),
    ("failed",       255,  ["sh", "-c", "exit 255"],                {"exit_code": 255}),
    ("signaled",     137,  ["sh", "-c", "kill -9 $$"],              {"exit_code": None, "signal": 9}),
    ("signaled",     143,  ["sh", "-c", "kill $$"],                 {"exit_code": None, "signal": 15}),
    ("unstartable",  127,  ["no-such-program"],                     {"step": "exec", "error": errno.ENOENT}),
    ("unstartable",  127,  ["/no/such/program"],                    {"step": "exec", "error": errno.ENOENT}),
    ("unstartable",  126,  ["/etc/passwd"],                         {"step": "exec", "error": errno.EACCES}),
    ("unstartable",  126,  ["/etc"],                                {"step": "exec", "error": errno.EACCES}),
]


class Outcomes(harness.Story):
    def setUp(self):
        super().setUp()
        self.jobpool = self.daemon(options=["--workers", "2"])

    def running(self, *options, before="", after=""):
        """A job that runs, and waits at a gate: (gate, id)."""
        gate = self.gate(self.jobpool)
        job = self.jobpool.submit(*options, "--", *gate.command(before, after))
        gate.wait_arrival()
        return gate, job

    def assert_nothing_is_left(self):
        self.assertEqual(harness.strays(self.jobpool.root), {})

    # --- by itself ---

    def test_run_and_wait_return_the_same_code(self):
        for outcome, code, command, fields in ENDINGS:
            with self.subTest(command=command):
                self.jobpool.cli("run", "--", *command, check=code)
                job = self.jobpool.submit("--", *command)
                self.jobpool.cli("wait", job, check=code)
                self.assert_outcome(self.jobpool, job, outcome, code=code, **fields)

    def test_a_program_file_of_no_known_format_is_unstartable(self):
        program = self.jobpool.root / "program"
        program.write_text("echo without a first line that says by whom\n")
        program.chmod(0o755)
        job = self.jobpool.submit("--", program)
        self.jobpool.cli("wait", job, check=126)
        self.assert_outcome(self.jobpool, job, "unstartable", step="exec", error=errno.ENOEXEC)

    def test_a_directory_that_does_not_exist_is_unstartable(self):
        self.jobpool.cli("run", "--cwd", "/no/such", "--", "true", check=126)
        job = self.jobpool.submit("--cwd", "/no/such", "--", "true")
        _, _, said = self.jobpool.cli("wait", job, check=126)
        self.assertIn(b"No such file or directory", said)
        self.assert_outcome(self.jobpool, job, "unstartable", step="cwd", error=errno.ENOENT)

    def test_the_next_job_of_the_worker_is_not_touched_by_a_failed_start(self):
        for _ in range(5):
            self.jobpool.cli("run", "--", "no-such-program", check=127)
            self.assertEqual(self.jobpool.cli("run", "--", "echo", "fine")[1], b"fine\n")
        self.assertEqual({worker["state"] for worker in self.jobpool.workers()}, {"idle"})

    # --- by a limit ---

    def test_a_time_out_ends_the_whole_job_in_time(self):
        begin = time.monotonic()
        self.jobpool.cli("run", "--timeout", "1s", "--", "sh", "-c", "sleep 61 & sleep 62", check=124)
        self.assertLess(time.monotonic() - begin, 2 * harness.SLACK)
        self.assert_nothing_is_left()

    def test_the_same_time_out_by_wait(self):
        job = self.jobpool.submit("--timeout", "300ms", "--", "sleep", "60")
        self.jobpool.cli("wait", job, check=124)
        self.assert_outcome(self.jobpool, job, "timeout", limit="timeout", timeout_ms=300)
        self.assert_nothing_is_left()

    def test_a_job_that_ignores_sigterm_is_killed_after_its_grace(self):
        job = self.jobpool.submit("--timeout", "200ms", "--grace", "200ms", "--",
                                  "sh", "-c", 'trap "echo term" TERM; while :; do sleep 61 & wait; done')
        self.jobpool.cli("wait", job, check=124)
        self.assert_outcome(self.jobpool, job, "timeout", signal=signal.SIGKILL)
        self.assertIn(b"term\n", self.jobpool.cli("log", job)[1])
        self.assert_nothing_is_left()

    def test_a_job_that_ends_with_0_at_its_time_out_has_succeeded(self):
        job = self.jobpool.submit("--timeout", "200ms", "--", "sh", "-c", 'trap "exit 0" TERM; sleep 61 & wait')
        self.jobpool.cli("wait", job)
        self.assert_outcome(self.jobpool, job, "succeeded", exit_code=0)

    # --- by somebody ---

    def test_a_cancelled_job_is_told_by_wait_and_show(self):
        _, job = self.running()
        self.jobpool.cli("cancel", job)
        self.jobpool.cli("wait", job, check=123)
        self.assert_outcome(self.jobpool, job, "cancelled", cancelled_by=getpass.getuser(), signal=signal.SIGTERM)
        self.assert_nothing_is_left()

    def test_a_cancelled_job_is_told_by_run(self):
        gate = self.gate(self.jobpool)
        with self.jobpool.popen("run", "--", *gate.command()) as run:
            gate.wait_arrival()
            job = self.jobpool.json("list", "--state", "running")[0]["id"]
            self.jobpool.cli("cancel", job)
            said = run.communicate()[1]
        self.assertEqual(run.returncode, 123, said)
        self.assertIn(b"cancelled", said)

    def test_a_job_that_is_not_running_is_cancelled_at_once(self):
        for options in (["--hold"], ["--delay", "1h"]):
            job = self.jobpool.submit(*options, "--", "true")
            self.jobpool.cli("cancel", job)
            self.jobpool.cli("wait", job, "--timeout", "0s", check=123)
            self.assert_outcome(self.jobpool, job, "cancelled", attempt=0, started_at=None)

    def test_a_cancel_that_comes_too_late_does_not_hide_success(self):
        _, job = self.running(before='trap "exit 0" TERM')
        self.jobpool.cli("cancel", job)
        self.jobpool.cli("wait", job)
        self.assert_outcome(self.jobpool, job, "succeeded")

    def test_a_done_job_cannot_be_cancelled(self):
        job = self.jobpool.submit("--", "true")
        self.jobpool.cli("wait", job)
        self.assertIn(b"already done", self.jobpool.cli("cancel", job, check=1)[2])
        self.assert_outcome(self.jobpool, job, "succeeded", cancelled_by=None)

    def test_kill_only_delivers_a_signal(self):
        gate, job = self.running(before='trap "echo usr1; exit 9" USR1')
        self.jobpool.cli("kill", "-s", "USR1", job)
        self.jobpool.cli("wait", job, check=9)
        self.assertEqual(self.jobpool.cli("log", job)[1], b"usr1\n")

        job = self.jobpool.submit("--", *gate.command())
        gate.wait_arrival()
        self.jobpool.cli("kill", job)
        self.jobpool.cli("wait", job, check=143)
        self.assert_outcome(self.jobpool, job, "signaled", signal=signal.SIGTERM, cancelled_by=None)

    def test_ctrl_c_of_run_interrupts_the_job(self):
        gate = self.gate(self.jobpool)
        with self.jobpool.popen("run", "--", *gate.command()) as run:
            gate.wait_arrival()
            run.send_signal(signal.SIGINT)
            said = run.communicate()[1]
        self.assertEqual(run.returncode, 128 + signal.SIGINT, said)
        self.assertIn(b"sent SIGINT to job", said)

    def test_ctrl_c_twice_leaves_the_job_running(self):
        gate = self.gate(self.jobpool)
        with self.jobpool.popen("run", "--", *gate.command('trap "" INT', "echo went on")) as run:
            gate.wait_arrival()
            run.send_signal(signal.SIGINT)
            self.assertIn(b"press Ctrl-C again", run.stderr.readline())
            run.send_signal(signal.SIGINT)
            said = run.communicate()[1]
        self.assertEqual(run.returncode, 130, said)
        job = self.jobpool.json("list")[0]["id"]
        gate.open()
        self.jobpool.cli("wait", job)
        self.assertEqual(self.jobpool.cli("log", job)[1], b"went on\n")

    # --- several, again, and figures ---

    def test_wait_returns_the_first_code_that_is_not_0_in_argument_order(self):
        good, three, five = (self.jobpool.submit("--", "sh", "-c", f"exit {code}") for code in (0, 3, 5))
        self.jobpool.cli("wait", good, five, three, check=5)
        self.jobpool.cli("wait", three, good, five, check=3)
        shown = self.jobpool.json("wait", good, three, five, check=3)
        self.assertEqual([job["code"] for job in shown], [0, 3, 5])

    def test_wait_for_any_returns_with_the_first_that_is_done(self):
        gate, slow = self.running()
        quick = self.jobpool.submit("--", "sh", "-c", "exit 4")
        shown = self.jobpool.json("wait", "--any", slow, quick, check=4)
        self.assertEqual([job["id"] for job in shown], [quick])
        gate.open()

    def test_wait_that_times_out_returns_122_and_leaves_the_job(self):
        gate, job = self.running()
        for timeout in ("0s", "50ms"):
            self.jobpool.cli("wait", "--timeout", timeout, job, check=122)
        gate.open()
        self.jobpool.cli("wait", job)

    def test_a_failed_job_is_tried_again_as_often_as_it_may(self):
        counter = self.jobpool.root / "attempts"
        job = self.jobpool.submit("--retries", "1", "--", "sh", "-c",
                                  f'echo $JOBPOOL_ATTEMPT >>"{counter}"; test $JOBPOOL_ATTEMPT = 2')
        self.jobpool.cli("wait", job)
        self.assert_outcome(self.jobpool, job, "succeeded", attempt=2)
        self.assertEqual(counter.read_text(), "1\n2\n")

    def test_retry_makes_a_done_job_ready_again(self):
        job = self.jobpool.submit("--", "test", "-e", "made-meanwhile")
        self.jobpool.cli("wait", job, check=1)
        (self.jobpool.root / "made-meanwhile").touch()
        self.jobpool.cli("retry", job)
        self.jobpool.cli("wait", job)
        self.assert_outcome(self.jobpool, job, "succeeded")

    def test_times_and_resources_are_recorded(self):
        begin = int(time.time() * 1000)
        job = self.jobpool.submit("--", sys.executable, "-c",
                                  "import time\nblock = b'x' * 50_000_000\nwhile time.process_time() < 0.3: pass")
        self.jobpool.cli("wait", job)
        end = int(time.time() * 1000) + 1
        shown = self.jobpool.show(job)
        moments = [begin, shown["submitted_at"], shown["started_at"], shown["ended_at"], end]
        self.assertEqual(moments, sorted(moments), shown)
        self.assertGreaterEqual(shown["user_us"] + shown["system_us"], 250_000)
        self.assertGreaterEqual(shown["elapsed_us"], 250_000)
        self.assertLess(shown["elapsed_us"], (end - begin + 1) * 1000)
        self.assertGreaterEqual(shown["max_rss_bytes"], 50_000_000)
        self.assertEqual(shown["owner"], getpass.getuser())
        self.assertEqual(shown["cwd"], os.fspath(self.jobpool.root))


if __name__ == "__main__":
    harness.main()
