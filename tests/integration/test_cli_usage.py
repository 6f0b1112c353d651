"""The command line without any daemon: usage errors, --help of every verb, exit codes, the manual page."""

import os
import pathlib
import re
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
import harness  # noqa: E402

MANUAL = harness.SOURCE_DIR / "doc" / "man" / "jobpool.1"
GLOBAL_OPTIONS = {"socket", "help", "version"}
PROPAGATING = {"run", "wait"}

# Wrong usage of verbs that need no daemon to see it: (words, what the message names).
BAD_USAGE = [
    (["frobnicate"], "frobnicate"),
    (["--frobnicate"], "frobnicate"),
    (["list", "--frobnicate"], "frobnicate"),
    (["list", "word"], "word"),
    (["show"], "ID"),
    (["show", "1", "2"], "2"),
    (["cancel"], "ID"),
    (["ping", "--json"], "json"),
    (["--json", "ping"], "json"),
    (["submit", "--queue"], "queue"),
    (["wait"], "ID"),
    (["wait", "--frobnicate", "1"], "frobnicate"),
    (["run"], "COMMAND"),
    (["run", "--priority"], "priority"),
    (["run", "--priority", "high", "true"], "high"),
    (["submit"], "command"),
    (["submit", "--timeout", "soon", "true"], "soon"),
    (["submit", "--max-output", "much", "true"], "much"),
    (["submit", "--each-line", "-", "--stdin", "-", "cat"], "--stdin"),
    (["submit", "--each-line", "-"], "--shell"),
    (["show", "first"], "first"),
    (["wait", "0"], "0"),
    (["wait", "--timeout", "never", "1"], "never"),
    (["list", "--limit", "all"], "all"),
    (["list", "--color", "often"], "often"),
    (["--color", "always", "show", "1"], "color"),
    (["join", "--json"], "json"),
    (["queue", "pause"], "pause"),
    (["queue", "stop", "default"], "stop"),
    (["stop", "--kill", "--leave"], "--leave"),
]

# What each verb needs behind its options.
WORDS = {
    "submit": ["true"], "run": ["true"], "wait": ["1"], "show": ["1"], "log": ["1"], "why": ["1"], "kill": ["1"],
    "cancel": ["1"], "hold": ["1"], "release": ["1"], "retry": ["1"], "remove": ["1"],
}


def help_options(text):
    """The options in a --help text: {long name: letter or ''}."""
    return {name: letter or "" for letter, name in re.findall(r"^  (?:-(\w), |    )--([\w-]+)", text, re.MULTILINE)}


def manual_sections():
    """The options that the manual has for each verb: {verb: {long name: letter or ''}}; None stands for all verbs."""
    sections, verb = {None: {}}, None
    for line in MANUAL.read_text().replace("\\-", "-").splitlines():
        if match := re.match(r"\.SS jobpool (\w+)", line):
            verb = match[1]
            sections[verb] = {}
        elif match := re.match(r"(?:\\fB-(\w)\\fR, )?\\fB--([\w-]+)\\fR", line):
            sections[verb][match[2]] = match[1] or ""
    return sections


class Usage(unittest.TestCase):
    def setUp(self):
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.root = directory.name
        self.environment = {
            "PATH": os.environ["PATH"], "HOME": self.root, "JOBPOOL_AUTOSTART": "0",
            "JOBPOOL_SOCKET": f"{self.root}/nobody.sock",
        }

    def cli(self, *words, check=0, **environment):
        """(stdout, stderr) of one run, as text; the exit code must be @check."""
        done = subprocess.run([harness.JOBPOOL, *words], capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=harness.DEADLINE,
                              env={**self.environment, **environment})
        self.assertEqual(done.returncode, check, f"{words}: {done.stdout}{done.stderr}")
        return done.stdout, done.stderr

    def verbs(self):
        out, _ = self.cli("--help")
        return re.findall(r"^  (\w+) +\S", out.split("Verbs:")[1].split("Options")[0], re.MULTILINE)

    def test_wrong_usage_is_named_on_stderr_with_a_hint_and_code_2_or_125(self):
        for words, named in BAD_USAGE:
            with self.subTest(words=words):
                out, err = self.cli(*words, check=125 if words[0] in PROPAGATING else 2)
                self.assertEqual(out, "")
                self.assertIn(named, err)
                self.assertIn("--help", err)

    def test_every_verb_has_help(self):
        self.assertGreater(len(self.verbs()), 20)
        for verb in self.verbs():
            with self.subTest(verb=verb):
                out, err = self.cli(verb, "--help")
                self.assertTrue(out.startswith(f"Usage: jobpool {verb} "), out)
                self.assertEqual(err, "")
                self.assertLessEqual(GLOBAL_OPTIONS, help_options(out).keys())
                self.assertEqual(self.cli("--help", verb), (out, ""))

    def test_without_a_daemon_the_code_is_4_or_125_and_the_message_names_the_socket(self):
        for verb in self.verbs():
            with self.subTest(verb=verb):
                out, err = self.cli(verb, *WORDS.get(verb, []), check=125 if verb in PROPAGATING else 4)
                self.assertIn(f"{self.root}/nobody.sock", err)
                self.assertIn("jobpoold --socket", err)
                if verb != "version":
                    self.assertEqual(out, "")

    def test_bare_jobpool_is_list(self):
        _, err = self.cli(check=4)
        self.assertIn("nobody.sock", err)

    def test_global_options_stand_before_or_behind_the_verb(self):
        for words in (["--socket", "/x/first.sock", "ping"], ["ping", "--socket", "/x/first.sock"],
                      ["--socket", "/x/last.sock", "ping", "--socket=/x/first.sock"]):
            with self.subTest(words=words):
                self.assertIn("/x/first.sock", self.cli(*words, check=4)[1])

    def test_the_command_begins_at_the_first_word_that_is_no_option(self):
        _, err = self.cli("submit", "true", "--no-such-option", "--help", check=4)
        self.assertNotIn("no-such-option", err)

    def test_a_socket_path_that_is_too_long_is_refused(self):
        _, err = self.cli("--socket", "/" + "x" * 200, "ping", check=4)
        self.assertIn("too long", err)

    def test_version_needs_no_daemon(self):
        out, _ = self.cli("--version")
        self.assertRegex(out, r"^jobpool \d+\.\d+")
        self.assertEqual(self.cli("version", check=4)[0], out)

    def test_a_full_disk_behind_stdout_is_reported(self):
        with open("/dev/full", "w", encoding="ascii") as full:
            done = subprocess.run([harness.JOBPOOL, "--help"], stdout=full, stderr=subprocess.PIPE, env=self.environment, check=False)
        self.assertEqual(done.returncode, 1)
        self.assertIn(b"cannot write", done.stderr)

    def test_a_closed_stdout_is_reported(self):
        done = subprocess.run(["sh", "-c", 'exec "$0" --help >&-', harness.JOBPOOL], stderr=subprocess.PIPE, env=self.environment, check=False)
        self.assertEqual(done.returncode, 1)
        self.assertIn(b"cannot write", done.stderr)

    def test_an_unknown_verb_is_answered_with_the_one_that_was_meant(self):
        for typed, meant in (("sumbit", "submit"), ("lits", "list"), ("cancl", "cancel"), ("waait", "wait"), ("shaw", "show"), ("ls", "list"),
                             ("logs", "log"), ("pause", "queue pause"), ("help", "--help")):
            with self.subTest(typed=typed):
                self.assertIn(f"did you mean '{meant}'?", self.cli(typed, check=2)[1])
        self.assertNotIn("did you mean", self.cli("frobnicate", check=2)[1])

    def test_a_place_for_its_state_that_cannot_be_made_is_named(self):
        pathlib.Path(self.root, "state").touch()
        _, err = self.cli("list", JOBPOOL_AUTOSTART="1", JOBPOOL_SOCKET="", XDG_RUNTIME_DIR=self.root, XDG_STATE_HOME=f"{self.root}/state", check=4)
        self.assertIn(f"{self.root}/state/jobpool cannot be made", err)

    def test_autostart_can_be_turned_off(self):
        _, err = self.cli("list", check=4, JOBPOOL_SOCKET="", XDG_RUNTIME_DIR=self.root)
        self.assertIn(f"{self.root}/jobpool/jobpool.sock", err)
        self.assertEqual(os.listdir(self.root), [])

    def test_the_manual_has_exactly_the_verbs_and_options_of_help(self):
        sections = manual_sections()
        self.assertEqual(sections.keys() - {None}, set(self.verbs()))
        self.assertEqual(sections[None], help_options(self.cli("--help")[0]))
        for verb in self.verbs():
            with self.subTest(verb=verb):
                options = help_options(self.cli(verb, "--help")[0])
                self.assertEqual(sections[verb], {name: options[name] for name in options.keys() - GLOBAL_OPTIONS})


if __name__ == "__main__":
    harness.main()
