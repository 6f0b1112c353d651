"""A real jobpoold in a fresh directory, for the integration stories (tests/integration/test_*.py).

A story is a unittest.TestCase derived from Story. It starts a daemon, talks to it by the real client (cli, json) or a
stock Redis client (client), and at its end every daemon is stopped by `jobpool stop --kill`. The story fails when

- the daemon logged a warning or an error that the story did not announce by expect_log(),
- a sanitizer reported anything in any of the four programs,
- the stop failed, or left a process that belongs to the daemon's directory (it is killed then).

Where the programs are: JOBPOOL_BUILD_DIR, which `make check` sets; without it ./build of the source tree.
"""

import contextlib
import json
import os
import pathlib
import re
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import unittest

SOURCE_DIR = pathlib.Path(__file__).resolve().parents[2]
BUILD_DIR = pathlib.Path(os.environ.get("JOBPOOL_BUILD_DIR", SOURCE_DIR / "build")).resolve()
JOBPOOL = str(BUILD_DIR / "jobpool")
JOBPOOLD = str(BUILD_DIR / "jobpoold")

# Seconds. Long enough for a loaded machine and a thread sanitizer; whoever waits so long has failed.
DEADLINE = 30
# Promises in seconds are held to on a machine that does nothing else; a busy or sanitized one gets this much more.
SLACK = 1 if os.environ.get("JOBPOOL_TEST_IDLE") else 5
STORY_DEADLINE = 240

# libuv closes its descriptors by the bare system call, which the thread sanitizer does not see: when a thread gets the
# number again and closes it, it takes that for a race with what the loop did with the old one.
_TSAN_SUPPRESSIONS = "race:interceptor_close\n"  # also closedir()

_LOUD = re.compile(r"\blevel=(error|warning)\b")
# A shell without job control starts its background jobs with SIGINT ignored, and an ignored signal is inherited: a story
# that sends one needs the default.
signal.signal(signal.SIGINT, signal.default_int_handler)

# The leak checker was at work when the supervisor killed its process: it tells nothing, or of a thread that is gone, but of no leak.
_KILLED_LATE = re.compile(r"(==\d+==Unable to get registers from thread \d+\.\s*)*")
_REPORT = re.compile(r"ERROR: AddressSanitizer|WARNING: ThreadSanitizer|LeakSanitizer|runtime error:")


def wait_for(predicate, timeout=DEADLINE, what=None):
    """Ask again every 10 ms until predicate() is true, and return what it gave.

    Only for what no blocking call can tell (a process that is gone, a file that grows): a story otherwise uses
    `wait`, `join`, BLPOP-like commands or Daemon.wait_log(), which come back at the event itself.
    """
    end = time.monotonic() + timeout
    while True:
        result = predicate()
        if result:
            return result
        if time.monotonic() >= end:
            raise AssertionError(f"not within {timeout} s: {what or predicate}")
        time.sleep(0.01)


def processes_of(directory):
    """The pids whose working directory, command line or environment names the directory: {pid: command line}."""
    needle = os.fsencode(directory)
    found = {}
    for entry in os.scandir("/proc"):
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            with open(f"{entry.path}/cmdline", "rb") as file:
                command = file.read()
            with open(f"{entry.path}/environ", "rb") as file:
                environment = file.read()
            cwd = os.fsencode(os.readlink(f"{entry.path}/cwd"))
        except OSError:  # ended meanwhile, a zombie, or another user's
            continue
        if needle in command or needle in environment or needle in cwd:
            found[int(entry.name)] = command.replace(b"\0", b" ").decode(errors="replace").strip()
    return found


def strays(directory):
    """Those of them that are no program of ours: what jobs have started and left."""
    ours = re.compile(r"(\S*/)?jobpool(d|-supervisor|-worker)?( |$)")
    return {pid: command for pid, command in processes_of(directory).items() if not ours.match(command)}


def kill_processes_of(directory):
    """SIGKILL them, and what they start meanwhile, until none is left."""
    end = time.monotonic() + DEADLINE
    while time.monotonic() < end:
        found = processes_of(directory)
        if not found:
            return
        for pid in found:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.01)
    raise AssertionError(f"cannot be killed: {processes_of(directory)}")


class Daemon:
    """One jobpoold and its state directory. Used as a context manager, or through Story.daemon()."""

    clients_started = []  # by popen(), of all daemons

    def __init__(self, config=None, options=(), env=None, state_dir=None):
        """
        config:    YAML text, None = no file
        options:   further command line options of jobpoold
        env:       variables added to the daemon's environment; None as a value removes one
        state_dir: a path, where its form matters to the story; default: below self.root
        """
        self.root = pathlib.Path(tempfile.mkdtemp(prefix="jobpool-test-"))
        self.state_dir = pathlib.Path(state_dir or self.root / "state")
        self.socket = str(self.root / "jobpool.sock")
        self.config_file = self.root / "jobpool.yaml"
        self.log_file = self.root / "jobpoold.log"
        self.process = None
        self.preexec = None  # called in the child, before it becomes jobpoold
        self.lines = []  # all that the daemon wrote to stderr, over all its starts
        self._options = list(options)
        self._env = self._environment(env or {})
        self._expected = []
        self._news = threading.Condition()
        self._reader = None
        self._log_ended = False
        self._closed = False
        (self.root / "home").mkdir()
        (self.root / "reports").mkdir()
        (self.root / "tsan.suppressions").write_text(_TSAN_SUPPRESSIONS)
        if config is not None:
            self.write_config(config)

    # --- life ---

    def start(self, wait=True):
        """Start jobpoold in the foreground, and return when it serves."""
        command = [JOBPOOLD, "--state-dir", str(self.state_dir), "--socket", self.socket]
        if self.config_file.exists():
            command += ["--config", str(self.config_file)]
        if self.process:
            self.wait_ended()
        first_line = len(self.lines)
        self._log_ended = False
        self.process = subprocess.Popen(
            command + self._options, env=self._env, cwd=self.root,
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, preexec_fn=self.preexec,
        )
        self._reader = threading.Thread(target=self._read_log, args=(self.process.stderr,), daemon=True)
        self._reader.start()
        if wait:
            self.wait_log('msg="ready"', since=first_line)
            self.cli("ping")
        return self

    def kill(self, number=signal.SIGKILL):
        """End jobpoold itself by a signal, not its workers; returns its exit status (negative: the signal)."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.wait_ended()

    def wait_ended(self):
        """Wait until jobpoold has ended and its log is read; returns its exit status (negative: the signal)."""
        status = self.process.wait(DEADLINE)
        self._reader.join(DEADLINE)
        return status

    def terminate(self):
        """A clean stop by SIGTERM: running jobs stay with their workers."""
        status = self.kill(signal.SIGTERM)
        assert status == 0, f"jobpoold ended with {status} after SIGTERM"

    def restart(self, number=signal.SIGTERM):
        self.kill(number)
        return self.start()

    def stop_kill(self):
        """`jobpool stop --kill`: the daemon, its supervisor, workers and jobs are gone."""
        self.cli("stop", "--kill")
        status = self.wait_ended()
        assert status == 0, f"jobpoold ended with {status} after `jobpool stop --kill`"
        wait_for(lambda: not processes_of(self.root), 10, f"no process of {self.root} is left")

    def close(self):
        """Stop everything and check what this module promises; remove the directory."""
        if self._closed:
            return
        self._closed = True
        problems = []
        try:
            if self.process and self.process.poll() is None:
                self.stop_kill()
        except (AssertionError, OSError, subprocess.SubprocessError) as error:
            problems.append(f"the stop failed: {error}")
        left = processes_of(self.root)
        if left:
            problems.append(f"processes were left: {left}")
        kill_processes_of(self.root)
        if self.process:
            self.wait_ended()
        problems += self._unexpected_lines() + self._sanitizer_reports()
        self._print_log()
        shutil.rmtree(self.root, ignore_errors=True)
        if problems:
            raise AssertionError("\n".join(problems))

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        self.close()

    # --- talking to it ---

    def cli(self, *args, input=None, env=None, check=True, cwd=None, timeout=DEADLINE):
        """Run `jobpool ARGS...`; returns (exit code, stdout, stderr), both bytes.

        check: the exit code that it must have: True = 0, False = any, or a number.
        """
        done = subprocess.run(
            self.command(*args), input=input, stdin=None if input is not None else subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            env=self._merged(self._env, env or {}), cwd=cwd or self.root, timeout=timeout, check=False,
        )
        expected = 0 if check is True else check
        if check is not False and done.returncode != expected:
            raise AssertionError(
                f"jobpool {args} ended with {done.returncode}, not {expected}\n"
                f"stdout: {done.stdout[-2000:]!r}\nstderr: {done.stderr[-2000:]!r}"
            )
        return done.returncode, done.stdout, done.stderr

    def popen(self, *args, env=None, **kwargs):
        """A client that goes on beside the story: a subprocess.Popen with pipes, to be used in a `with`."""
        for stream in ("stdin", "stdout", "stderr"):
            kwargs.setdefault(stream, subprocess.PIPE)
        client = subprocess.Popen(self.command(*args), env=self._merged(self._env, env or {}), cwd=self.root, **kwargs)
        self.clients_started.append(client)
        return client

    def command(self, *args):
        return [JOBPOOL, "--socket", self.socket, *map(os.fsencode, map(_as_path, args))]

    def json(self, *args, **kwargs):
        """What `jobpool ARGS... --json` says, decoded."""
        return json.loads(self.cli(*args, "--json", **kwargs)[1])

    def submit(self, *args, **kwargs):
        """`jobpool submit ARGS...`; returns the id."""
        return int(self.cli("submit", *args, **kwargs)[1])

    def show(self, job):
        return self.json("show", job)

    def workers(self):
        return self.json("workers")

    def client(self, **kwargs):
        """A stock python3-redis client on the socket."""
        import redis  # here, so that stories without it run on any Python 3

        return redis.Redis(unix_socket_path=self.socket, socket_timeout=DEADLINE, **kwargs)

    def environment(self, extra):
        """The environment of the daemon and of cli(), with more variables; None as a value removes one."""
        return self._merged(self._env, extra)

    def write_config(self, text):
        self.config_file.write_text(text)

    # --- its log ---

    def expect_log(self, pattern):
        """Announce lines of level warning or error: a regular expression that is searched in each."""
        self._expected.append(re.compile(pattern))

    def wait_log(self, pattern, since=0, timeout=DEADLINE):
        """Return the first line, from number `since` on, that matches; fail when the daemon ends without one."""
        regex = re.compile(pattern)
        end = time.monotonic() + timeout
        with self._news:
            while True:
                for line in self.lines[since:]:
                    if regex.search(line):
                        return line
                since = len(self.lines)
                if self._log_ended or not self._news.wait(max(0, end - time.monotonic())):
                    break
        self._print_log()
        raise AssertionError(f"jobpoold (status {self.process.poll()}) did not log {pattern!r} within {timeout} s")

    def _read_log(self, stream):
        with stream, open(self.log_file, "ab") as copy:
            for line in stream:
                copy.write(line)
                copy.flush()
                with self._news:
                    self.lines.append(line.decode(errors="replace").rstrip("\n"))
                    self._news.notify_all()
        with self._news:
            self._log_ended = True
            self._news.notify_all()

    def _unexpected_lines(self):
        return [
            f"unexpected in jobpoold's log: {line}" for line in self.lines
            if _REPORT.search(line) or _LOUD.search(line) and not any(e.search(line) for e in self._expected)
        ]

    def _sanitizer_reports(self):
        reports = {path.name: path.read_text(errors="replace") for path in sorted((self.root / "reports").iterdir())}
        return [
            f"sanitizer report {name}:\n{text[:20000]}" for name, text in reports.items()
            if not (name.startswith("lsan.") and _KILLED_LATE.fullmatch(text))
        ]

    def _print_log(self):
        """For the test's own log, which `make check` shows when the test fails."""
        print(f"--- jobpoold, {len(self.lines)} lines ---", *self.lines[-300:], "---", sep="\n", file=sys.stderr)

    # --- details ---

    def _environment(self, extra):
        """The caller's, without what would lead to another daemon, and with reports of sanitizers kept in files:
        supervisor and worker have their stderr on /dev/null."""
        env = {name: value for name, value in os.environ.items() if not name.startswith(("JOBPOOL_", "XDG_"))}
        reports = self.root / "reports"
        env.update(
            HOME=str(self.root / "home"),
            XDG_RUNTIME_DIR=str(self.root / "home"),
            JOBPOOL_AUTOSTART="0",
            ASAN_OPTIONS=f"log_path={reports}/asan",
            LSAN_OPTIONS=f"log_path={reports}/lsan",
            UBSAN_OPTIONS=f"log_path={reports}/ubsan:print_stacktrace=1",
            TSAN_OPTIONS=f"log_path={reports}/tsan:second_deadlock_stack=1:suppressions={self.root}/tsan.suppressions",
        )
        return self._merged(env, extra)

    @staticmethod
    def _merged(env, extra):
        return {name: value for name, value in {**env, **extra}.items() if value is not None}


def _as_path(arg):
    return arg if isinstance(arg, (str, bytes, os.PathLike)) else str(arg)


class Gate:
    """Where jobs of a story wait: they say that they run, and go on when the story lets them.

    Two FIFOs, both held open for reading and writing here, so that neither side ever blocks on open() and a job that
    was not awaited ends with the daemon.
    """

    def __init__(self, directory, name="gate"):
        self._arrivals = pathlib.Path(directory) / f"{name}.arrivals"
        self._gate = pathlib.Path(directory) / name
        for fifo in (self._arrivals, self._gate):
            os.mkfifo(fifo)
        self._arrivals_fd = os.open(self._arrivals, os.O_RDWR | os.O_CLOEXEC)
        self._gate_fd = os.open(self._gate, os.O_RDWR | os.O_CLOEXEC)

    def command(self, before="", after=""):
        """The words of a job: shell text before it arrives, and once it was let through."""
        pause = f'echo $$ >"{self._arrivals}"; read _ <"{self._gate}"'
        return ["sh", "-c", "\n".join(filter(None, [before, pause, after]))]

    def wait_arrival(self):
        """Block until one more job has arrived; returns its pid."""
        text = b""
        while not text.endswith(b"\n"):
            if not select.select([self._arrivals_fd], [], [], DEADLINE)[0]:
                raise AssertionError(f"no job came to {self._gate} within {DEADLINE} s")
            text += os.read(self._arrivals_fd, 1)
        return int(text)

    def open(self, jobs=1):
        """Let so many jobs through, those that wait and those to come."""
        os.write(self._gate_fd, b"\n" * jobs)

    def close(self):
        os.close(self._arrivals_fd)
        os.close(self._gate_fd)


class Story(unittest.TestCase):
    """Base of the integration stories: daemons that end with the test, and a deadline for each test."""

    def setUp(self):
        def too_long(*_):
            for client in Daemon.clients_started:  # else leaving a `with popen()` would wait for them
                client.kill()
            raise AssertionError(f"the story took longer than {STORY_DEADLINE} s")

        signal.signal(signal.SIGALRM, too_long)
        signal.alarm(STORY_DEADLINE)
        self.addCleanup(signal.alarm, 0)

    def daemon(self, config=None, start=True, **kwargs):
        daemon = Daemon(config, **kwargs)
        self.addCleanup(daemon.close)
        return daemon.start() if start else daemon

    def gate(self, daemon, name="gate"):
        gate = Gate(daemon.root, name)
        self.addCleanup(gate.close)
        return gate

    def assert_outcome(self, daemon, job, outcome, **fields):
        """The job is done with this outcome, and `show --json` has these fields."""
        shown = daemon.show(job)
        expected = {"state": "done", "outcome": outcome, **fields}
        self.assertEqual({name: shown.get(name) for name in expected}, expected, shown)


def main():
    """At the end of every story file."""
    unittest.main(module="__main__", verbosity=2)
