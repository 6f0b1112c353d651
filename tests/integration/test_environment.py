"""What a job sees of its submitter and of its worker: directory, environment, umask, standard input, JOBPOOL_* variables."""

import os
import pathlib
import sqlite3
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
import harness  # noqa: E402


class Environment(harness.Story):
    def setUp(self):
        super().setUp()
        self.jobpool = self.daemon(options=["--workers", "1"])

    def run_job(self, *words, **kwargs):
        """stdout of `run WORDS...`"""
        return self.jobpool.cli("run", *words, **kwargs)[1]

    def variables(self, *words, **kwargs):
        """The environment that a job has, as bytes."""
        out = self.run_job(*words, "--", "env", "-0", **kwargs)
        return dict(entry.split(b"=", 1) for entry in out.split(b"\0") if entry)

    # --- the submitter's ---

    def test_the_directory(self):
        (self.jobpool.root / "sub").mkdir()
        for options, cwd, expected in (([], "/usr/share", "/usr/share"), (["--cwd", "/etc"], "/", "/etc"),
                                       (["--cwd", "sub"], self.jobpool.root, f"{self.jobpool.root}/sub")):
            with self.subTest(options=options):
                self.assertEqual(self.run_job(*options, "--", "pwd", cwd=cwd), f"{expected}\n".encode())

    def test_the_umask(self):
        for mask in (0o000, 0o022, 0o027, 0o077):
            out = self.jobpool.popen("run", "--", "sh", "-c", "umask", preexec_fn=lambda mask=mask: os.umask(mask))
            with out:
                self.assertEqual(int(out.communicate()[0], 8), mask)

    def test_the_environment_exactly_and_nothing_of_the_daemons(self):
        given = {b"PATH": os.environb[b"PATH"], b"HOME": b"/", b"EMPTY": b"", b"EQUALS": b"a=b=c", b"LINES": b"one\ntwo\n", b"BYTES": bytes(range(128, 256))}
        names = set(self.jobpool.environment({}))
        seen = self.variables(env={**dict.fromkeys(names), **{os.fsdecode(name): os.fsdecode(value) for name, value in given.items()}})
        self.assertEqual({name: value for name, value in seen.items() if not name.startswith(b"JOBPOOL_")}, given)

    def test_env_sets_overrides_and_hands_on(self):
        seen = self.variables("--env", "COLOUR=green", "--env", "SIZE=", "-e", "HOME=/nowhere", "--env", "OTHER", env={"OTHER": "handed on"})
        self.assertEqual([seen[name] for name in (b"COLOUR", b"SIZE", b"HOME", b"OTHER")], [b"green", b"", b"/nowhere", b"handed on"])

    def test_the_last_env_of_a_name_counts(self):
        self.assertEqual(self.variables("--env", "A=1", "--env", "A=2")[b"A"], b"2")

    def test_a_program_is_found_by_the_submitters_path(self):
        tool = self.jobpool.root / "bin" / "only-here"
        tool.parent.mkdir()
        tool.write_text("#!/bin/sh\necho found\n")
        tool.chmod(0o755)
        self.jobpool.cli("run", "--", "only-here", check=127)
        path = {"PATH": f"{tool.parent}:{os.environ['PATH']}"}
        self.assertEqual(self.run_job("--", "only-here", env=path), b"found\n")
        self.assertEqual(self.run_job("--", "./bin/only-here"), b"found\n")

    def test_an_environment_is_stored_once(self):
        for _ in range(5):
            self.jobpool.submit("--", "true")
        self.jobpool.cli("submit", "--each-line", "-", "--", "echo", input=b"1\n2\n3\n")
        self.jobpool.cli("run", "--env", "OTHER=1", "--", "true")
        ids = [self.jobpool.show(job)["environment"] for job in range(1, 10)]
        self.assertEqual(len(set(ids[:8])), 1)
        self.assertNotEqual(ids[8], ids[0])
        self.jobpool.terminate()
        with sqlite3.connect(f"file:{next(self.jobpool.state_dir.glob('*.db'))}?mode=ro", uri=True) as database:
            self.assertEqual(database.execute("SELECT count(*) FROM environment").fetchone(), (2,))
        database.close()
        self.jobpool.start()

    def test_a_known_environment_is_named_again_without_a_commit(self):
        client = self.jobpool.client()
        self.addCleanup(client.close)
        first = client.execute_command("ENVIRONMENT", "A=1", "B=2")
        other = client.execute_command("ENVIRONMENT", "A=1", "B=3")
        commits = client.info()["commits"]
        for _ in range(3):
            self.assertEqual(client.execute_command("ENVIRONMENT", "A=1", "B=2"), first)
            self.assertEqual(client.execute_command("ENVIRONMENT", "A=1", "B=3"), other)
        self.assertEqual(client.info()["commits"], commits)
        self.assertNotEqual(first, other)

    # --- the worker's ---

    def test_the_job_is_told_who_it_is(self):
        job = self.jobpool.submit("--name", "x", "--retries", "1", "--shell", "--", "env -0; test $JOBPOOL_ATTEMPT = 2")
        self.jobpool.cli("wait", job)
        seen = dict(entry.split(b"=", 1) for entry in self.jobpool.cli("log", job)[1].split(b"\0") if entry)
        expected = {"JOBPOOL_JOB_ID": job, "JOBPOOL_QUEUE": "default", "JOBPOOL_POOL": "default", "JOBPOOL_ATTEMPT": 2, "JOBPOOL_WORKER": 0,
                    "JOBPOOL_SOCKET": self.jobpool.socket}
        self.assertEqual({name: seen[name.encode()] for name in expected}, {name: str(value).encode() for name, value in expected.items()})

    def test_the_jobs_own_variables_win_over_the_submitters(self):
        seen = self.variables(env={"JOBPOOL_JOB_ID": "999", "JOBPOOL_WORKER": "999"})
        self.assertEqual((seen[b"JOBPOOL_JOB_ID"], seen[b"JOBPOOL_WORKER"]), (b"1", b"0"))

    def test_the_temporary_directory_is_empty_for_each_job(self):
        mess = 'cd "$JOBPOOL_TMPDIR" && ls -A && mkdir -p a/b && touch a/b/c .hidden "$(printf "\\377")" && ln -s / link && chmod 0 a/b'
        for _ in range(3):
            self.assertEqual(self.run_job("--", "sh", "-c", mess), b"")
        self.assertTrue(os.path.isdir("/usr"))

    def test_the_workers_directory_is_kept_for_the_slot(self):
        count = 'cd "$JOBPOOL_WORKER_DIR" && echo >>count && wc -l <count'
        self.assertEqual([int(self.run_job("--", "sh", "-c", count)) for _ in range(3)], [1, 2, 3])
        self.jobpool.stop_kill()
        self.jobpool.start()
        self.assertEqual(int(self.run_job("--", "sh", "-c", count)), 4)

    def test_a_job_can_submit_jobs_of_its_own(self):
        words = [harness.JOBPOOL, "submit", "--", "echo", "from a job"]
        job = int(self.run_job("--", *words, env={"JOBPOOL_SOCKET": None}))
        self.jobpool.cli("wait", job)
        self.assertEqual(self.jobpool.cli("log", job)[1], b"from a job\n")

    def test_a_job_that_would_wait_for_its_own_worker_is_warned(self):
        words = [harness.JOBPOOL, "wait", "--timeout", "100ms"]
        behind = self.jobpool.submit("--hold", "--", "true")
        _, _, said = self.jobpool.cli("run", "--", *words, str(behind), check=122)
        self.assertIn(b"holds the only worker of pool default", said)
        self.jobpool.cli("cancel", behind)

    def test_standard_descriptors_and_no_others(self):
        out = self.run_job("--", "sh", "-c", "ls -l /proc/self/fd | sed 's/.* \\([0-9]* ->\\)/\\1/'")
        lines = [line for line in out.decode().splitlines() if "->" in line]
        self.assertEqual([line.split()[0] for line in lines], ["0", "1", "2", "3"])  # 3 is the directory that ls reads
        self.assertIn("/dev/null", lines[0])

    def test_signals_are_at_their_defaults(self):
        out = self.run_job("--", "cat", "/proc/self/status").decode()
        masks = dict(line.split(":") for line in out.splitlines() if line.startswith(("SigBlk", "SigIgn", "SigCgt")))
        self.assertEqual({name: int(mask, 16) for name, mask in masks.items()}, {"SigBlk": 0, "SigIgn": 0, "SigCgt": 0})

    # --- standard input ---

    def test_standard_input_from_a_file_or_pipe(self):
        data = bytes(range(256)) * 1000
        file = self.jobpool.root / "input"
        file.write_bytes(data)
        self.assertEqual(self.run_job("--stdin", "input", "--", "cat"), data)
        self.assertEqual(self.run_job("--stdin", "-", "--", "cat", input=data), data)
        self.assertEqual(self.run_job("--stdin", "/dev/null", "--", "cat"), b"")

    def test_without_stdin_there_is_nothing_to_read(self):
        self.assertEqual(self.run_job("--", "cat", input=b"not for the job"), b"")

    def test_a_closed_stdin_is_no_input(self):
        for words in ("--stdin - cat", "--each-line - echo"):
            with self.subTest(words=words):
                done = subprocess.run(["sh", "-c", f'exec "$@" {words} <&-', "sh", *self.jobpool.command("submit")], stdout=subprocess.PIPE,
                                      stderr=subprocess.PIPE, env=self.jobpool.environment({}), timeout=harness.DEADLINE, check=False)
                self.assertEqual((done.returncode, done.stdout), (1, b""), done)
                self.assertIn(b"Bad file descriptor", done.stderr)

    def test_input_is_read_at_submission_and_kept_across_a_kill(self):
        file = self.jobpool.root / "input"
        file.write_bytes(b"at submission")
        job = self.jobpool.submit("--hold", "--stdin", file, "--", "cat")
        file.write_bytes(b"afterwards")
        self.jobpool.restart(harness.signal.SIGKILL)
        self.jobpool.cli("release", job)
        self.jobpool.cli("wait", job)
        self.assertEqual(self.jobpool.cli("log", job)[1], b"at submission")

    def test_a_further_attempt_reads_its_input_again(self):
        job = self.jobpool.submit("--retries", "1", "--stdin", "-", "--shell", "--", "cat; test $JOBPOOL_ATTEMPT = 2", input=b"twice")
        self.jobpool.cli("wait", job)
        self.assertEqual(self.jobpool.cli("log", job)[1], b"twice")


if __name__ == "__main__":
    harness.main()
