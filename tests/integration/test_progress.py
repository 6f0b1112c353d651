"""What a person sees on a terminal: progress lines, colours, widths; and nothing of it in a pipe. Rates of queues and workers."""

import fcntl
import os
import pathlib
import pty
import re
import select
import struct
import subprocess
import sys
import termios
import time
import unicodedata

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
import harness  # noqa: E402

CONFIG = """
pools:
  one: { workers: 1, queues: [default, second] }
queues:
  small: { max_length: 3 }
"""
CLEAR = "\r\x1b[K"
TERMINAL = {"TERM": "xterm", "NO_COLOR": None, "COLUMNS": None}
MANY = 3000
RED, GREEN, CYAN = "\x1b[31m", "\x1b[32m", "\x1b[36m"


def plain(text):
    return re.sub(r"\x1b\[[0-9;]*m", "", text)


def width(text):
    return sum(0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


def screen(text):
    """The lines that a terminal shows in the end."""
    shown = []
    for line in text.replace("\r\n", "\n").split("\n"):
        shown.append(line.split(CLEAR)[-1])
    return shown


def drawings(text):
    """Every state of the live line, in order."""
    return [piece.rsplit("\n", 1)[-1] for piece in text.split(CLEAR)[:-1]]


class Terminal:
    """A pseudo-terminal; those streams of a client that are not given otherwise are on it."""

    def __init__(self, daemon, *args, columns=80, env=None, **streams):
        self.text = ""
        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        self.begin = time.monotonic()
        try:
            self.client = daemon.popen(*args, env={**TERMINAL, **(env or {})},
                                       **{name: streams.get(name, slave) for name in ("stdin", "stdout", "stderr")})
        finally:
            os.close(slave)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.client.kill()
        self.client.wait()
        for stream in (self.client.stdin, self.client.stdout, self.client.stderr):
            if stream:
                stream.close()
        os.close(self._master)

    def type(self, data):
        os.write(self._master, data)

    def _read(self):
        if not select.select([self._master], [], [], harness.DEADLINE)[0]:
            raise AssertionError(f"nothing came within {harness.DEADLINE} s after {self.text!r}")
        try:
            data = os.read(self._master, 65536)
        except OSError:  # EIO: the last one on the other side has gone
            data = b""
        self.text += data.decode(errors="surrogateescape")
        return bool(data)

    def wait_text(self, pattern, since=0):
        """Wait until what was written from @since on matches; returns where that ends."""
        while True:
            found = re.search(pattern, self.text[since:])
            if found:
                return since + found.end()
            if not self._read():
                raise AssertionError(f"{pattern!r} never came in {self.text!r}")

    def finish(self, check=0):
        """All that it wrote up to its end."""
        while self._read():
            pass
        code = self.client.wait(harness.DEADLINE)
        if code != check:
            raise AssertionError(f"ended with {code}, not {check}: {self.text!r}")
        return self.text


class Seen(harness.Story):
    def setUp(self):
        super().setUp()
        self.jobpool = self.daemon(CONFIG.replace("second]", "second, small]"))

    def see(self, *args, check=0, **kwargs):
        with Terminal(self.jobpool, *args, **kwargs) as terminal:
            return terminal.finish(check)

    def lines_file(self, count=MANY):
        path = self.jobpool.root / "lines"
        path.write_text("".join(f"line {n}\n" for n in range(count)))
        return path


class Submitting(Seen):
    def submit(self, *args):
        return ["submit", "--queue", "second", *args, "--", "true"]

    def setUp(self):
        super().setUp()
        self.jobpool.cli("queue", "pause", "second")

    def test_a_file_of_lines_has_a_progress_line_with_share_and_rate_and_ends_with_a_sum(self):
        ids = self.jobpool.root / "ids"
        with open(ids, "wb") as file:
            text = self.see(*self.submit("--each-line", self.lines_file()), stdin=subprocess.DEVNULL, stdout=file)
        self.assertEqual(ids.read_text().split(), [str(n) for n in range(1, MANY + 1)])
        self.assertRegex(text, r"^1 submitted, 0%")
        self.assertRegex(screen(text)[0], rf"^{MANY} submitted in [\d.]+s, \d+/s$")
        self.assertEqual(screen(text)[1:], [""])
        for drawn in drawings(text):
            self.assertRegex(drawn, r"^\d+ submitted, \d+%(, [\d.]+/s)?(, \S+ left)?$")

    def test_it_is_drawn_ten_times_a_second_at_most(self):
        with Terminal(self.jobpool, *self.submit("--each-line", self.lines_file()), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL) as terminal:
            text = terminal.finish()
            took = time.monotonic() - terminal.begin
        # Ids that are kept back for long are let out earlier: one drawing each 2048.
        self.assertLessEqual(len(drawings(text)), 1 + took * 10 + MANY // 2048)

    def test_ids_and_progress_on_one_terminal_do_not_mix(self):
        shown = screen(self.see(*self.submit("--each-line", self.lines_file()), stdin=subprocess.DEVNULL))
        self.assertEqual(shown[:MANY], [str(n) for n in range(1, MANY + 1)])
        self.assertRegex(shown[MANY], rf"^{MANY} submitted in ")
        self.assertEqual(shown[MANY + 1:], [""])

    def test_of_a_pipe_only_the_count_is_known_and_it_is_right_while_nothing_comes(self):
        with Terminal(self.jobpool, *self.submit("--each-line", "-"), stdin=subprocess.PIPE, stdout=subprocess.PIPE) as terminal:
            terminal.client.stdin.write(b"1\n2\n3\n")
            terminal.client.stdin.flush()
            terminal.wait_text(r"(^|\x1b\[K)3 submitted(, \S+/s)?$")
            self.assertEqual([terminal.client.stdout.readline() for _ in range(3)], [b"1\n", b"2\n", b"3\n"])
            terminal.client.stdin.write(b"4")
            terminal.client.stdin.close()
            terminal.client.stdin = None
            text = terminal.finish()
        self.assertRegex(screen(text)[0], r"^4 submitted in ")
        self.assertNotIn("%", text)

    def test_a_redirected_file_has_a_share_as_a_named_one(self):
        with open(self.lines_file(10), "rb") as file:
            self.assertRegex(self.see(*self.submit("--each-line", "-"), stdin=file, stdout=subprocess.DEVNULL), r"^1 submitted, \d+%")

    def test_a_refusal_stands_on_a_line_of_its_own_before_the_sum(self):
        self.jobpool.cli("queue", "pause", "small")
        shown = screen(self.see("submit", "--queue", "small", "--each-line", self.lines_file(10), "--", "true", stdin=subprocess.DEVNULL,
                                stdout=subprocess.DEVNULL, check=7))
        self.assertRegex(shown[0], r"^jobpool: line 4: FULL ")
        self.assertRegex(" ".join(shown[1:]), r"^3 submitted in \S+, \S+ $")

    def test_a_narrow_terminal_gets_whole_parts_only(self):
        text = self.see(*self.submit("--each-line", self.lines_file()), columns=15, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        for drawn in drawings(text):
            self.assertRegex(drawn, r"^(\d+ submitted)?$")

    def test_nothing_is_shown_in_a_pipe_nor_on_a_terminal_without_a_cursor_nor_to_who_types(self):
        lines = self.lines_file(10)
        self.assertEqual(self.jobpool.cli(*self.submit("--each-line", lines), env=TERMINAL)[2], b"")
        self.assertEqual(self.see(*self.submit("--each-line", lines), stdout=subprocess.DEVNULL, env={"TERM": "dumb"}), "")
        self.assertEqual(self.see(*self.submit(), stdout=subprocess.DEVNULL), "")
        with Terminal(self.jobpool, *self.submit("--each-line", "-"), stdout=subprocess.PIPE) as terminal:
            terminal.type(b"typed\n\x04")
            self.assertEqual(terminal.finish(), "typed\r\n")
            self.assertEqual(terminal.client.stdout.read(), b"22\n")


class Joining(Seen):
    def test_join_shows_done_failed_running_and_waiting_and_ends_with_a_sum(self):
        gate = self.gate(self.jobpool)
        self.jobpool.cli("run", "--", "true")  # of before: not of this join
        self.jobpool.submit("--", *gate.command(after="exit 1"))
        self.jobpool.submit("--", *gate.command())
        self.jobpool.submit("--", "true")
        gate.wait_arrival()
        with Terminal(self.jobpool, "join", "--progress", columns=200) as terminal:
            at = terminal.wait_text(r"^0 done, 0 failed, 1 running, 2 waiting")
            gate.open()
            at = terminal.wait_text(r"1 done, 1 failed, 1 running, 1 waiting", at)
            held = self.jobpool.submit("--hold", "--", "true")
            at = terminal.wait_text(r"1 done, 1 failed, 1 running, 1 waiting, 1 held", at)
            gate.open()
            terminal.wait_text(r"3 done, 1 failed, 0 running, 0 waiting, 1 held", at)
            self.jobpool.cli("release", held)
            self.assertRegex(screen(terminal.finish())[0], r"^4 done, 1 failed in [\d.]+s, \S+$")

    def test_join_counts_the_queues_it_names_only(self):
        gate = self.gate(self.jobpool)
        self.jobpool.submit("--queue", "second", "--", *gate.command())
        gate.wait_arrival()
        for names in (["second,small"], ["small", "second"]):
            shown = self.see("join", "--progress", *names, "--timeout", "50ms", check=6)
            self.assertRegex(shown, r"^0 done, 0 failed, 1 running, 0 waiting")
        self.assertRegex(self.see("join", "--progress", "default"), r"0 done, 0 failed in ")
        gate.open()

    def test_join_ends_as_it_does_without_progress(self):
        gate = self.gate(self.jobpool)
        self.jobpool.submit("--", *gate.command())
        gate.wait_arrival()
        shown = screen(self.see("join", "--progress", "--timeout", "50ms", check=6))
        self.assertEqual(shown, ["jobpool: timed out; jobs are still unfinished", ""])
        self.see("join", "--progress", "nobody", check=3)
        gate.open()
        self.assertEqual(self.jobpool.cli("join", "--progress", env=TERMINAL)[1:], (b"", b""))
        self.assertEqual(self.jobpool.cli("join", "--progress", "nobody", check=3, env=TERMINAL)[1], b"")

    def test_join_goes_on_and_tells_after_the_daemon_was_killed(self):
        gate = self.gate(self.jobpool)
        for _ in range(2):
            self.jobpool.submit("--", *gate.command())
        gate.wait_arrival()
        with Terminal(self.jobpool, "join", "--progress") as terminal:
            at = terminal.wait_text(r"^0 done, 0 failed, 1 running, 1 waiting")
            self.jobpool.kill()
            self.jobpool.start()
            gate.open()
            gate.wait_arrival()
            terminal.wait_text(r"1 done, 0 failed, 1 running, 0 waiting", at)
            gate.open()
            self.assertRegex(screen(terminal.finish())[-2], r"^2 done, 0 failed in ")


class Listing(Seen):
    LONG = "日本語のとても長いテキスト" * 20

    def setUp(self):
        super().setUp()
        self.held = self.gate(self.jobpool)
        self.jobpool.cli("run", "--", "true")
        self.jobpool.cli("run", "--", "sh", "-c", "exit 7", check=7)
        self.jobpool.submit("--", *self.held.command(before=": " + "x" * 300))
        self.held.wait_arrival()
        self.jobpool.submit("--name", self.LONG[:60], "--", "echo", self.LONG)
        self.jobpool.cli("cancel", self.jobpool.submit("--hold", "--", "e\u0301" * 150))

    def tearDown(self):
        self.held.open()
        super().tearDown()

    def test_states_and_outcomes_have_their_colours_on_a_terminal(self):
        text = self.see("list")
        for coloured in (f"{GREEN}succeeded\x1b[0m", f"{RED}failed(7)\x1b[0m", f"{CYAN}running\x1b[0m"):
            self.assertIn(coloured, text)
        self.assertNotIn(RED, text.split("\n")[1])
        self.assertIn(f"{CYAN}busy\x1b[0m", self.see("workers"))
        self.assertIn(f"{CYAN}1\x1b[0m", self.see("queue"))
        self.assertIn("\x1b[1mPOOL\x1b[0m", self.see("pools"))

    def test_colours_can_be_turned_off_and_on(self):
        for words, env in ((["--color=never"], {}), ([], {"NO_COLOR": "1"}), ([], {"TERM": "dumb"}), ([], {"TERM": None}),
                           (["--color", "auto"], {"NO_COLOR": "1"})):
            for verb in ("list", "queue", "pools", "workers"):
                self.assertNotIn("\x1b", self.see(verb, *words, env=env))
        self.assertIn("\x1b", self.see("list", env={"NO_COLOR": ""}))
        self.assertIn("\x1b", self.see("list", "--color=always", env={"NO_COLOR": "1", "TERM": "dumb"}))
        coloured = self.jobpool.cli("--color=always", "list")[1].decode()
        self.assertEqual(plain(coloured).split("\n")[:3], self.jobpool.cli("list", env=TERMINAL)[1].decode().split("\n")[:3])

    def test_a_pipe_gets_whole_lines_without_colour(self):
        for verb in ("list", "queue", "pools", "workers"):
            out = self.jobpool.cli(verb, env={**TERMINAL, "COLUMNS": "60"})[1].decode()
            self.assertNotIn("\x1b", out)
            if verb == "list":
                self.assertIn(self.LONG[:80], out)
                self.assertIn("x" * 200, out)

    def test_every_line_fits_the_terminal_and_characters_stay_whole(self):
        for columns in (40, 60, 61, 80, 200):
            for words in (["list"], ["queue"], ["pools"], ["workers"], []):
                for color in ("always", "never"):
                    text = self.see(*words, *(["--color", color] if words else []), columns=columns)
                    text.encode()  # no half of a character
                    for line in plain(text).split("\r\n"):
                        self.assertLessEqual(width(line), columns, line)

    def test_a_command_is_cut_with_an_ellipsis_at_the_edge(self):
        lines = plain(self.see("list", columns=80)).split("\r\n")
        self.assertTrue(lines[3].endswith("…") and width(lines[3]) == 80, lines[3])
        self.assertTrue(lines[4].endswith("…") and width(lines[4]) in (79, 80), lines[4])  # a wide one may not fit before it
        self.assertTrue(lines[1].endswith(" true"), lines[1])

    def test_columns_that_matter_less_are_left_out_when_they_do_not_fit(self):
        self.assertIn("STARTED", self.see("workers", columns=200))
        narrow = plain(self.see("workers", columns=60)).split("\r\n")
        self.assertNotIn("STARTED", narrow[0])
        self.assertRegex(narrow[1], r"^one +0 +\d+ +busy +3 ")
        self.assertNotIn("UNFINISHED", self.see("queue", columns=60))

    def test_columns_of_the_environment_go_before_the_terminals(self):
        lines = plain(self.see("list", columns=80, env={"COLUMNS": "120"})).split("\r\n")
        self.assertEqual(width(lines[3]), 120)


class Rates(Seen):
    def test_queues_and_workers_count_what_the_last_minute_brought(self):
        for queue, jobs in (("default", 3), ("second", 2)):
            for _ in range(jobs):
                self.jobpool.submit("--queue", queue, "--", "true")
        self.jobpool.cli("join")
        self.jobpool.submit("--hold", "--", "true")
        rates = {queue["name"]: (queue["submitted_per_minute"], queue["finished_per_minute"]) for queue in self.jobpool.json("queue")}
        self.assertEqual(rates, {"default": (4, 3), "second": (2, 2), "small": (0, 0)})
        self.assertEqual([(worker["jobs"], worker["jobs_per_minute"]) for worker in self.jobpool.workers()], [(5, 5)])
        shown = self.jobpool.cli("queue", "default")[1].decode().split("\n")
        self.assertRegex(shown[0], r" IN +OUT +OLDEST ")
        self.assertRegex(shown[1], r" 4/min +3/min +- ")
        self.assertRegex(self.jobpool.cli("workers")[1].decode(), r"(?m) RATE .*\n.* 5/min ")

    def test_a_queue_tells_since_when_its_oldest_ready_job_waits(self):
        def oldest():
            return self.jobpool.json("queue", "default")["oldest_waiting_at"]

        self.assertIsNone(oldest())
        self.jobpool.cli("queue", "pause", "default")
        self.jobpool.submit("--hold", "--", "true")
        self.assertIsNone(oldest())
        first, second = self.jobpool.submit("--", "true"), self.jobpool.submit("--priority", "9", "--", "true")
        self.assertEqual(oldest(), self.jobpool.show(first)["submitted_at"])
        self.assertEqual([queue["oldest_waiting_at"] for queue in self.jobpool.json("queue")], [oldest(), None, None])
        self.jobpool.restart()
        self.assertEqual(oldest(), self.jobpool.show(first)["submitted_at"])
        self.jobpool.cli("cancel", first)
        self.assertEqual(oldest(), self.jobpool.show(second)["submitted_at"])
        self.assertRegex(self.jobpool.cli("queue", "default")[1].decode().split("\n")[1], r" [\d.]+s +one +yes$")
        self.jobpool.cli("cancel", second)
        self.assertIsNone(oldest())

    def test_what_a_client_asks_for_behind_queues_is_not_in_their_counts(self):
        self.jobpool.cli("queue", "pause", "default")
        self.jobpool.submit("--", "true")
        pipe = self.jobpool.client().pipeline(transaction=False)
        pipe.execute_command("QUEUES", "default")
        pipe.execute_command("SUBMIT", "default", "CMD", "true")
        pipe.execute_command("QUEUES", "default")
        before, _, after = pipe.execute()
        ready = [dict(zip(queue[::2], queue[1::2]))[b"ready"] for [queue] in (before, after)]
        self.assertEqual(ready, [1, 2])


if __name__ == "__main__":
    harness.main()
