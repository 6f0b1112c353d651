"""Batches: one job for each line, then join; every output and every outcome is right."""

import os
import pathlib
import shlex
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
import harness  # noqa: E402

JOBS = 100_000 if os.environ.get("JOBPOOL_TEST_LONG") == "1" else 10_000
PAGE = 500


class Batch(harness.Story):
    def setUp(self):
        super().setUp()
        self.jobpool = self.daemon(options=["--workers", "4"])

    def each_line(self, text, *words, **kwargs):
        """Submit one job for each line of the text; returns the ids."""
        out = self.jobpool.cli("submit", "--each-line", "-", *words, input=text, **kwargs)[1]
        return [int(word) for word in out.split()]

    def outputs(self, ids):
        """The whole output of many jobs, by a pipelined stock client: a process for each would take too long."""
        client = self.jobpool.client()
        for first in range(0, len(ids), PAGE):
            pipeline = client.pipeline(transaction=False)
            for job in ids[first:first + PAGE]:
                pipeline.execute_command("OUTPUT", job, "out", 0)
            for _, text, ended in pipeline.execute():
                self.assertTrue(ended)
                yield text

    def output(self, job):
        return self.jobpool.cli("log", job)[1]

    def test_thousands_of_lines_then_join_and_all_is_right(self):
        text = "".join(f"line {n}\n" for n in range(JOBS)).encode()
        # Every seventh fails, and says so by its number.
        ids = self.each_line(text, "--", "sh", "-c", 'echo "$1"; exit $((${1#line } % 7 == 3))', "job", "{}", timeout=200)
        self.assertEqual(len(ids), JOBS)
        self.assertEqual(ids, sorted(set(ids)))
        self.jobpool.cli("join", timeout=200)

        failed = len(range(3, JOBS, 7))
        queue = self.jobpool.json("queue", "default")
        self.assertEqual({name: queue[name] for name in ("ready", "running", "unfinished", "succeeded", "failed")},
                         {"ready": 0, "running": 0, "unfinished": 0, "succeeded": JOBS - failed, "failed": failed})
        listed = {job["id"]: (job["outcome"], job["exit_code"], job["attempt"]) for job in self.jobpool.json("list")}
        self.assertEqual([listed[job] for job in ids],
                         [("failed", 1, 1) if n % 7 == 3 else ("succeeded", 0, 1) for n in range(JOBS)])
        self.assertEqual(list(self.outputs(ids)), [f"line {n}\n".encode() for n in range(JOBS)])

    def test_braces_are_replaced_wherever_they_stand(self):
        ids = self.each_line(b"a b\nc\n", "--", "printf", "%s|", "{}", "x{}y{}", "z")
        self.jobpool.cli("join")
        self.assertEqual(list(map(self.output, ids)), [b"a b|xa bya b|z|", b"c|xcyc|z|"])

    def test_without_braces_the_line_is_appended_as_one_word(self):
        ids = self.each_line(b"a  'b\n$HOME\n", "--", "printf", "%s|", "first")
        self.jobpool.cli("join")
        self.assertEqual(list(map(self.output, ids)), [b"first|a  'b|", b"first|$HOME|"])

    def test_shell_gets_the_line_quoted(self):
        ids = self.each_line(b"it's $HOME; exit 3\n", "--shell", "--", "printf %s {} | tr a-z A-Z")
        self.jobpool.cli("join")
        self.assertEqual(self.output(ids[0]), b"IT'S $HOME; EXIT 3")

    def test_shell_without_a_command_takes_each_line_as_a_script(self):
        ids = self.each_line(b"echo $((6 * 7))\nexit 5\n", "--shell")
        self.jobpool.cli("wait", *ids, check=5)
        self.assertEqual(self.output(ids[0]), b"42\n")

    def test_empty_lines_bytes_and_a_last_line_without_an_end(self):
        lines = [b"", bytes(range(128, 256)), b"\t\r\x01", b"last"]
        ids = self.each_line(b"\n".join(lines), "--", "printf", "%s", "{}")
        self.jobpool.cli("join")
        self.assertEqual(list(map(self.output, ids)), lines)

    def test_lines_from_a_file(self):
        (self.jobpool.root / "lines").write_text("one\ntwo\n")
        ids = self.jobpool.cli("submit", "--each-line", "lines", "--", "echo")[1].split()
        self.jobpool.cli("join")
        self.assertEqual([self.output(int(job)) for job in ids], [b"one\n", b"two\n"])

    def test_ids_come_as_the_lines_come(self):
        with self.jobpool.popen("submit", "--each-line", "-", "--", "echo", bufsize=0) as submit:
            for word in (b"one", b"two"):
                submit.stdin.write(word + b"\n")
                job = int(submit.stdout.readline())
                self.jobpool.cli("wait", job)
                self.assertEqual(self.output(job), word + b"\n")
            submit.stdin.close()
            submit.stdin = None
            self.assertEqual(submit.communicate(), (b"", b""))
        self.assertEqual(submit.returncode, 0)

    def test_a_long_job_holds_up_no_short_one(self):
        # Workers of short jobs are sent the next one ahead of time; where the one before turns out to be long, it goes to another.
        gate = self.gate(self.jobpool)
        lines = (["true"] * 200 + [" ".join(map(shlex.quote, gate.command()))]) * 3 + ["true"] * 200
        ids = self.each_line("\n".join(line.replace("\n", ";") for line in lines).encode(), "--shell")
        for _ in range(3):
            gate.wait_arrival()
        self.jobpool.cli("wait", *[job for job, line in zip(ids, lines) if line == "true"])
        self.assertEqual(self.jobpool.json("queue", "default")["running"], 3)
        gate.open(3)
        self.jobpool.cli("join")
        self.assertEqual(self.jobpool.json("queue", "default")["succeeded"], len(lines))

    def test_no_lines_are_no_jobs(self):
        self.assertEqual(self.each_line(b"", "--", "echo"), [])
        self.assertEqual(self.jobpool.json("list"), [])

    def test_a_line_with_nul_is_refused_and_those_before_it_are_submitted(self):
        code, out, said = self.jobpool.cli("submit", "--each-line", "-", "--", "echo", input=b"one\nt\0wo\nthree\n", check=2)
        self.assertEqual(len(out.split()), 1)
        self.assertIn(b"line 2", said)

    def test_a_full_queue_refuses_the_rest_and_tells_the_line(self):
        self.jobpool.write_config("queues: { small: { max_length: 3 } }\npools: { default: { queues: [default, small] } }\n")
        self.jobpool.restart()
        self.jobpool.cli("queue", "pause", "small")
        text = b"".join(b"%d\n" % n for n in range(2000))
        _, out, said = self.jobpool.cli("submit", "--queue", "small", "--each-line", "-", "--", "echo", input=text, check=7)
        self.assertEqual(len(out.split()), 3)
        self.assertIn(b"line 4: FULL", said)
        self.assertEqual(self.jobpool.json("queue", "small")["unfinished"], 3)


if __name__ == "__main__":
    harness.main()
