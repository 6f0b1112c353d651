"""What jobs write is kept to the byte, in order, and can be read while they run (design section 7)."""

import hashlib
import os
import pathlib
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
import harness  # noqa: E402

MIB = 1 << 20
LONG = os.environ.get("JOBPOOL_TEST_LONG") == "1"
# `seq 1 N` is text whose every byte is known: 79 MB, and 1 GiB in the long form.
LARGE_SEQ, LARGE_BYTES, LARGE_LIMIT = (119_000_000, 1_078_888_898, "2GiB") if LONG else (10_000_000, 78_888_897, "100MiB")
# An answer may carry 256 KiB, a report 64 KiB: what lies on and beside these borders.
SIZES = [0, 1, 65535, 65536, 65537, 262143, 262144, 262145, 3 * MIB]


def digest(stream):
    """(sha256, length) of all that comes from a stream."""
    sha, length = hashlib.sha256(), 0
    while block := stream.read(MIB):
        sha.update(block)
        length += len(block)
    return sha.hexdigest(), length


def seq(last):
    """What `seq 1 LAST` writes."""
    return subprocess.run(["seq", "1", str(last)], stdout=subprocess.PIPE, check=True).stdout


class Output(harness.Story):
    def setUp(self):
        super().setUp()
        self.jobpool = self.daemon(options=["--workers", "2"])

    def log(self, *words):
        return self.jobpool.cli("log", *words)

    def done(self, *words):
        """Submit, wait for success; returns the id."""
        job = self.jobpool.submit(*words)
        self.jobpool.cli("wait", job)
        return job

    def test_submit_merges_both_streams_in_their_true_order(self):
        job = self.done("--", "sh", "-c", "for i in $(seq 1 200); do echo out $i; echo err $i >&2; done")
        expected = "".join(f"out {n}\nerr {n}\n" for n in range(1, 201)).encode()
        self.assertEqual(self.log(job)[1:], (expected, b""))

    def test_run_keeps_both_streams_apart(self):
        _, out, err = self.jobpool.cli("run", "--", "sh", "-c", "for i in $(seq 1 200); do echo out $i; echo err $i >&2; done")
        self.assertEqual(out, "".join(f"out {n}\n" for n in range(1, 201)).encode())
        self.assertEqual(err, "".join(f"err {n}\n" for n in range(1, 201)).encode())

    def test_log_selects_one_of_split_streams(self):
        job = self.done("--split", "--", "sh", "-c", "echo out; echo err >&2")
        self.assertEqual(self.log(job)[1:], (b"out\n", b"err\n"))
        self.assertEqual(self.log("--stdout", job)[1:], (b"out\n", b""))
        self.assertEqual(self.log("--stderr", job)[1:], (b"err\n", b""))

    def test_every_byte_value_is_kept(self):
        data = bytes(range(256)) * 4
        (self.jobpool.root / "data").write_bytes(data)
        self.assertEqual(self.jobpool.cli("run", "--", "cat", "data")[1], data)
        self.assertEqual(self.log(self.done("--", "cat", "data"))[1], data)

    def test_every_size_is_kept(self):
        for size in SIZES:
            with self.subTest(size=size):
                data = seq(size // 4 + 10)[:size]
                (self.jobpool.root / "data").write_bytes(data)
                job = self.done("--", "cat", "data")
                self.assertEqual(self.log(job)[1], data)
                self.assertEqual(self.jobpool.show(job)["output_bytes"], size)
                self.assertEqual(self.jobpool.cli("run", "--", "cat", "data")[1], data)

    def test_the_output_of_a_failed_job_is_kept_too(self):
        job = self.jobpool.submit("--", "sh", "-c", "echo before; kill -9 $$")
        self.jobpool.cli("wait", job, check=137)
        self.assertEqual(self.log(job)[1], b"before\n")

    def test_a_running_job_can_be_read(self):
        gate = self.gate(self.jobpool)
        job = self.jobpool.submit("--", *gate.command("echo begun", "echo ended"))
        gate.wait_arrival()
        self.assertEqual(self.log(job)[1], b"begun\n")
        gate.open()
        self.jobpool.cli("wait", job)
        self.assertEqual(self.log(job)[1], b"begun\nended\n")

    def test_log_follows_live(self):
        gate = self.gate(self.jobpool)
        job = self.jobpool.submit("--", *gate.command("echo one", f"echo two; {gate.command()[2]}; echo three"))
        with self.jobpool.popen("log", "-f", job) as log:
            gate.wait_arrival()
            self.assertEqual(log.stdout.readline(), b"one\n")
            gate.open()
            gate.wait_arrival()
            self.assertEqual(log.stdout.readline(), b"two\n")
            self.assertIsNone(log.poll())
            gate.open()
            self.assertEqual(log.communicate(), (b"three\n", b""))
        self.assertEqual(log.returncode, 0)

    def test_log_can_follow_a_job_that_has_not_started(self):
        job = self.jobpool.submit("--hold", "--", "echo", "late")
        with self.jobpool.popen("log", "-f", job) as log:
            self.jobpool.cli("release", job)
            self.assertEqual(log.communicate(), (b"late\n", b""))

    def test_a_large_output_is_captured_and_followed_to_the_byte(self):
        with subprocess.Popen(["seq", "1", str(LARGE_SEQ)], stdout=subprocess.PIPE) as process:
            expected = digest(process.stdout)
        self.assertEqual(expected[1], LARGE_BYTES)
        job = self.jobpool.submit("--max-output", LARGE_LIMIT, "--", "seq", "1", LARGE_SEQ)
        with self.jobpool.popen("log", "-f", job) as log:
            self.assertEqual(digest(log.stdout), expected)
        self.jobpool.cli("wait", job)
        with self.jobpool.popen("log", job) as log:
            self.assertEqual(digest(log.stdout), expected)
        self.assertEqual(self.jobpool.show(job)["output_bytes"], LARGE_BYTES)

    def assert_head_and_tail(self, out, err, whole, limit):
        """@out is a head and a tail of the whole, at most the limit; @err says how much is missing."""
        missing = len(whole) - len(out)
        self.assertIn(f"{missing} bytes cut out by max_output", err.decode())
        self.assertLessEqual(len(out), limit)
        self.assertGreater(len(out), limit * 3 // 4)
        head = len(os.path.commonprefix([out, whole]))
        self.assertGreater(head, limit // 4)
        self.assertLess(head, len(out) - limit // 4)
        # Where both sides of the hole begin alike, the head seems longer than it is.
        tail = len(os.path.commonprefix([out[::-1], whole[::-1]]))
        self.assertGreaterEqual(head + tail, len(out))

    def test_what_exceeds_max_output_is_cut_out_of_the_middle(self):
        whole = seq(1_000_000)
        job = self.done("--max-output", "1MiB", "--", "seq", "1", 1_000_000)
        _, out, err = self.log(job)
        self.assert_head_and_tail(out, err, whole, MIB)
        self.assertEqual(self.jobpool.show(job)["output_bytes"], len(whole))

    def test_the_default_limit_is_64_mib(self):
        whole = seq(10_000_000)
        job = self.done("--", "seq", "1", 10_000_000)
        _, out, err = self.log(job)
        self.assert_head_and_tail(out, err, whole, 64 * MIB)

    def test_a_removed_job_leaves_no_output_behind(self):
        job = self.done("--", "seq", "1", 100_000)
        kept = self.jobpool.state_dir / "output"
        self.assertEqual(len(list(kept.iterdir())), 1)
        self.jobpool.cli("remove", job)
        self.jobpool.cli("log", job, check=3)
        harness.wait_for(lambda: not list(kept.iterdir()), what="the output file is gone")

    def test_a_reader_that_goes_away_does_not_disturb_the_job(self):
        job = self.jobpool.submit("--", "seq", "1", 2_000_000)
        with self.jobpool.popen("log", "-f", job) as log:
            log.stdout.read(1)
            log.stdout.close()
            log.stderr.read()
        self.jobpool.cli("wait", job)
        self.assertEqual(self.jobpool.show(job)["output_bytes"], len(seq(2_000_000)))


if __name__ == "__main__":
    harness.main()
