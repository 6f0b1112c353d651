"""Wrong or strange input on the command line: a clear error or every byte kept, and the daemon goes on (P11)."""

import hashlib
import os
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
import harness  # noqa: E402

MIB = 1 << 20
# Bytes that are no UTF-8, in every way: a stray one, a cut sequence, a surrogate, an overlong form, the end of the range.
STRANGE = b"\x80 \xff \xe2\x82 \xed\xa0\x80 \xc0\xaf \xf4\x90\x80\x80 \xc3\xa4"

REFUSED = [
    # code  words of the message    command
    (2,     "no-such-verb",         ["no-such-verb"]),
    (2,     "no-such-option",       ["--no-such-option"]),
    (2,     "no-such-option",       ["submit", "--no-such-option", "--", "true"]),
    (125,   "no-such-option",       ["run", "--no-such-option", "--", "true"]),
    (2,     "command",              ["submit"]),
    (125,   "COMMAND",              ["run"]),
    (125,   "ID",                   ["wait"]),
    (2,     "ID",                   ["show"]),
    (2,     "too many",             ["show", "1", "2"]),
    (2,     "first",                ["show", "first"]),
    (2,     "'0'",                  ["show", "0"]),
    (2,     "'-1'",                 ["show", "--", "-1"]),
    (2,     "18446744073709551616", ["show", "18446744073709551616"]),
    (125,   "1x",                   ["wait", "1x"]),
    (2,     "1.5",                  ["submit", "--priority", "1.5", "--", "true"]),
    (2,     "1000001",              ["submit", "--priority", "1000001", "--", "true"]),
    (2,     "soon",                 ["submit", "--timeout", "soon", "--", "true"]),
    (2,     "-1s",                  ["submit", "--timeout", "-1s", "--", "true"]),
    (2,     "99999999999999999999", ["submit", "--timeout", "99999999999999999999s", "--", "true"]),
    (2,     "much",                 ["submit", "--max-output", "much", "--", "true"]),
    (2,     "perhaps",              ["submit", "--on-lost", "perhaps", "--", "true"]),
    (2,     "1001",                 ["submit", "--retries", "1001", "--", "true"]),
    (125,   "never",                ["wait", "--timeout", "never", "1"]),
    (2,     "has no name",          ["submit", "--env", "=value", "--", "true"]),
    (2,     "NOT_SET_ANYWHERE",     ["submit", "--env", "NOT_SET_ANYWHERE", "--", "true"]),
    (2,     "do not go together",   ["submit", "--each-line", "-", "--key", "k", "--", "true"]),
    (2,     "do not go together",   ["stop", "--kill", "--leave"]),
    (2,     "bad name",             ["submit", "--queue", "bad name", "--", "true"]),
    (2,     "asleep",               ["list", "--state", "asleep"]),
    (2,     "well",                 ["list", "--outcome", "well"]),
    (2,     "many",                 ["list", "--limit", "many"]),
    (2,     "freeze",               ["queue", "freeze", "default"]),
    (2,     "--json",               ["submit", "--json", "--", "true"]),
    (3,     "no-such-queue",        ["submit", "--queue", "no-such-queue", "--", "true"]),
    (125,   "no-such-queue",        ["run", "--queue", "no-such-queue", "--", "true"]),
    (3,     "no-such-queue",        ["queue", "no-such-queue"]),
    (3,     "no-such-queue",        ["queue", "pause", "no-such-queue"]),
    (3,     "no-such-queue",        ["join", "no-such-queue"]),
    (3,     "999",                  ["show", "999"]),
    (3,     "999",                  ["log", "999"]),
    (3,     "999",                  ["log", "-f", "999"]),
    (3,     "999",                  ["cancel", "999"]),
    (3,     "999",                  ["kill", "999"]),
    (3,     "999",                  ["remove", "1", "999"]),
    (125,   "999",                  ["wait", "1", "999"]),
    (1,     "no-such-file",         ["submit", "--stdin", "no-such-file", "--", "cat"]),
    (1,     "no-such-file",         ["submit", "--each-line", "no-such-file", "--", "cat"]),
    (1,     "directory",            ["submit", "--stdin", "/", "--", "cat"]),
]


class BadInput(harness.Story):
    def setUp(self):
        super().setUp()
        self.jobpool = self.daemon(options=["--workers", "1"])

    def assert_fine(self):
        self.assertEqual(self.jobpool.cli("run", "--", "echo", "fine")[1], b"fine\n")

    # --- refused ---

    def test_what_is_wrong_is_refused_by_its_code_and_named(self):
        self.jobpool.cli("run", "--", "true")
        for code, words, command in REFUSED:
            with self.subTest(command=command):
                got, out, said = self.jobpool.cli(*command, check=False)
                self.assertEqual((got, out), (code, b""), said)
                self.assertIn(words, said.decode())
        self.assertEqual(len(self.jobpool.json("list")), 1)
        self.assert_fine()

    def test_a_signal_that_does_not_exist(self):
        gate = self.gate(self.jobpool)
        job = self.jobpool.submit("--", *gate.command())
        gate.wait_arrival()
        for name in ("NOSUCH", "0", "-9", "999", ""):
            with self.subTest(signal=name):
                self.jobpool.cli("kill", "-s", name, job, check=2)
        self.assertEqual(self.jobpool.show(job)["state"], "running")
        gate.open()

    def test_a_command_without_a_name_is_refused(self):
        self.jobpool.cli("submit", "--", "", check=2)
        self.jobpool.cli("run", "--", "", check=125)
        self.assert_fine()

    def test_signalling_a_job_that_does_not_run_is_refused(self):
        job = self.jobpool.submit("--hold", "--", "true")
        said = self.jobpool.cli("kill", job, check=False)
        self.assertIn(said[0], (1, 3))
        self.assertEqual(self.jobpool.show(job)["state"], "held")

    def test_a_running_job_cannot_be_removed_or_retried(self):
        gate = self.gate(self.jobpool)
        job = self.jobpool.submit("--", *gate.command())
        gate.wait_arrival()
        for verb in ("remove", "retry", "hold", "release"):
            self.jobpool.cli(verb, job, check=1)
        gate.open()
        self.jobpool.cli("wait", job)

    def test_a_request_above_the_limit_is_refused_by_name(self):
        words = ["x" * (100 * 1024)] * 11
        said = self.jobpool.cli("submit", "--", "true", *words, check=2)[2]
        self.assertIn(b"LIMIT", said)
        self.assertIn(b"request_bytes", said)
        self.assert_fine()

    # --- large, but fine ---

    def test_4096_words_are_fine(self):
        words = [f"word{n}" for n in range(4095)]
        _, out, _ = self.jobpool.cli("run", "--", "echo", *words)
        self.assertEqual(out.decode().split(), words)
        job = self.jobpool.submit("--", "echo", *words)
        self.jobpool.cli("wait", job)
        self.assertEqual(self.jobpool.show(job)["argv"], ["echo", *words])

    def test_a_large_request_below_the_limit_is_fine(self):
        word = "x" * 100_000
        _, out, _ = self.jobpool.cli("run", "--", "echo", *[word] * 8)
        self.assertEqual(len(out), 8 * 100_001)

    def test_empty_words_are_kept(self):
        self.assertEqual(self.jobpool.cli("run", "--", "printf", "%s|", "", "a", "", "")[1], b"|a|||")

    def test_words_that_look_like_options_or_json_are_kept(self):
        words = ["--json", "-h", "--", "{}", '"\\', "\n", "$(reboot)", "CMD", "LAST"]
        _, out, _ = self.jobpool.cli("run", "printf", "%s|", *words)
        self.assertEqual(out.decode(), "".join(f"{word}|" for word in words))

    # --- bytes ---

    def test_words_reach_the_job_byte_for_byte_and_come_back_by_json(self):
        word = bytes(range(1, 256))
        for word in (bytes(range(1, 256)), STRANGE):
            self.assertEqual(self.jobpool.cli("run", "--", "printf", "%s", word)[1], word)
            job = self.jobpool.submit("--name", word, "--", "printf", "%s", word)
            self.jobpool.cli("wait", job)
            self.assertEqual(self.jobpool.cli("log", job)[1], word)
            shown = self.jobpool.show(job)
            self.assertEqual([os.fsencode(text) for text in (shown["argv"][2], shown["name"])], [word, word])
            listed = self.jobpool.json("list", "--name", word)
            self.assertEqual([(job["id"], os.fsencode(job["argv"][2])[:200]) for job in listed], [(job, word[:200])])

    def test_for_people_strange_bytes_are_escaped(self):
        job = self.jobpool.submit("--hold", "--name", STRANGE, "--", "echo", b"\x1b[31m\xff\r")
        for verb in (["list"], ["show", job]):
            out = self.jobpool.cli(*verb)[1]
            self.assertNotIn(b"\x1b", out)
            self.assertNotIn(b"\r", out)
            out.decode()  # fails on what is no UTF-8

    def test_variables_directories_and_program_names_byte_for_byte(self):
        directory = os.fsencode(self.jobpool.root) + b"/" + STRANGE.replace(b"\xc0\xaf", b"")
        os.mkdir(directory)
        program = directory + b"/tool \xfe"
        with open(program, "wb") as file:
            file.write(b'#!/bin/sh\npwd; printf %s "$STRANGE"\n')
        os.chmod(program, 0o755)
        expected = directory + b"\n" + STRANGE
        env = {"STRANGE": os.fsdecode(STRANGE)}
        self.assertEqual(self.jobpool.cli("run", "--cwd", directory, "--", program, env=env)[1], expected)
        self.assertEqual(self.jobpool.cli("run", "--", b"./tool \xfe", cwd=directory, env=env)[1], expected)
        self.assertEqual(self.jobpool.cli("run", "--env", b"STRANGE=" + STRANGE, "--", program, cwd=directory)[1], expected)
        job = self.jobpool.submit("--cwd", directory, "--", program)
        self.assertEqual(os.fsencode(self.jobpool.show(job)["cwd"]), directory)

    def test_a_strange_key_is_a_key(self):
        job = self.jobpool.submit("--key", STRANGE, "--", "true")
        self.assertEqual(self.jobpool.submit("--key", STRANGE, "--", "true"), job)
        self.assertNotEqual(self.jobpool.submit("--key", STRANGE[:-1], "--", "true"), job)

    # --- standard input ---

    def test_64_mib_of_input_arrive_and_a_byte_more_is_refused(self):
        block = bytes(range(256)) * 4096
        file = self.jobpool.root / "input"
        with open(file, "wb") as stream:
            for _ in range(64):
                stream.write(block)
        expected = hashlib.sha256(block * 64).hexdigest()
        self.assertEqual(self.jobpool.cli("run", "--stdin", file, "--", "sha256sum")[1].split()[0].decode(), expected)
        with open(file, "ab") as stream:
            stream.write(b"x")
        for verb, code in (("submit", 2), ("run", 125)):
            said = self.jobpool.cli(verb, "--stdin", file, "--", "cat", check=code)[2]
            self.assertIn(b"input_bytes", said)
        self.assertEqual(len(self.jobpool.json("list")), 1)
        self.assert_fine()


if __name__ == "__main__":
    harness.main()
