"""The jobpool under measurement: a daemon of the build tree in a state directory of its own."""

import json
import os
import socket
import time

from machine import BUILD_DIR, TOOLS_DIR, DEADLINE, Failure, harness

SLOW_SYNC_US = 2000


class Connection:
    """The little of RESP that the benchmark itself needs; load comes from C tools."""

    def __init__(self, path):
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(DEADLINE)
        try:
            self._socket.connect(path)
        except OSError:
            self._socket.close()
            raise
        self._file = self._socket.makefile("rb")

    def close(self):
        self._file.close()
        self._socket.close()

    def call(self, *words):
        """One request; returns its reply: int, str, None or a list of them."""
        encoded = [str(word).encode() for word in words]
        parts = [b"*%d\r\n" % len(encoded)] + [b"$%d\r\n%s\r\n" % (len(word), word) for word in encoded]
        self._socket.sendall(b"".join(parts))
        return self._reply()

    def _reply(self):
        line = self._file.readline()
        kind, rest = line[:1], line[1:].strip()
        if kind == b"-":
            raise Failure(f"refused: {rest.decode()}")
        if kind == b"+":
            return rest.decode()
        number = int(rest)
        if kind == b":":
            return number
        if number < 0:
            return None
        if kind == b"*":
            return [self._reply() for _ in range(number)]
        return self._file.read(number + 2)[:-2].decode(errors="replace")


def slow_sync():
    """Environment of a server whose every fsync takes longer."""
    return {"LD_PRELOAD": str(TOOLS_DIR / ".libs" / "slowsync.so"), "SLOWSYNC_US": str(SLOW_SYNC_US)}


class Jobpool:
    """One daemon, with its supervisor and workers. Its directory stays until the workspace is closed, or remove()."""

    def __init__(self, workspace, workers, config=None, slow=False, group=None):
        """config: YAML text; slow: every fsync takes longer; group: a CpuGroup for the daemon, its workers and clients."""
        self.workspace, self.workers, self.group = workspace, workers, group
        self.root = workspace.directory()
        self.state_dir = self.root / "state"
        self.socket = str(self.root / "s")
        self._env = {
            "JOBPOOL_SUPERVISOR_BINARY": str(BUILD_DIR / "jobpool-supervisor"),
            "JOBPOOL_WORKER_BINARY": str(BUILD_DIR / "jobpool-worker"),
            **(slow_sync() if slow else {}),
        }
        self.process = None
        self.configure(config or "{}\n")

    def configure(self, text):
        """For the next start."""
        (self.root / "jobpool.yaml").write_text(text)

    def launch(self):
        """Start the daemon, without waiting for it."""
        self.process = self.workspace.start(
            [BUILD_DIR / "jobpoold", "--state-dir", self.state_dir, "--socket", self.socket,
             "--config", self.root / "jobpool.yaml", "--workers", self.workers],
            env=self._env, group=self.group,
        )

    def connect(self, pause=0.001):
        """A connection, as soon as there is a socket that takes it."""
        end = time.monotonic() + DEADLINE
        while time.monotonic() < end:
            try:
                return Connection(self.socket)
            except OSError:
                if self.process.poll() is not None:
                    raise Failure(f"jobpoold ended: {self.workspace.log_tail()}") from None
            time.sleep(pause)
        raise Failure("jobpoold offers no socket")

    def start(self):
        """Start the daemon, and return when it serves and all workers are idle."""
        self.launch()
        connection = self.connect()
        harness.wait_for(lambda: self._idle_workers(connection) >= self.workers, what="all workers are idle")
        connection.close()
        return self

    @staticmethod
    def _idle_workers(connection):
        return sum(_as_map(pool)["idle"] for pool in connection.call("POOLS"))

    def command(self, *words):
        return [BUILD_DIR / "jobpool", "--socket", self.socket, *words]

    def cli(self, *words, **kwargs):
        return self.workspace.run(self.command(*words), group=self.group, **kwargs)

    def call(self, *words):
        connection = self.connect()
        try:
            return connection.call(*words)
        finally:
            connection.close()

    def queue(self, name):
        """Its counts."""
        return _as_map(self.call("QUEUES", name)[0])

    def check_queue(self, name, **expected):
        """Failure: a count is another one."""
        counts = self.queue(name)
        wrong = {key: counts[key] for key, value in expected.items() if counts[key] != value}
        if wrong:
            raise Failure(f"wrong counts in queue {name}: {wrong}, not {expected}")

    def processes(self):
        """{pid: program} of daemon, supervisor and workers."""
        found = {self.process.pid: "jobpoold"}
        for pid, command in harness.processes_of(self.state_dir).items():
            program = os.path.basename(command.split(" ")[0])
            if program in ("jobpool-supervisor", "jobpool-worker"):
                found[pid] = program
        return found

    def database_bytes(self):
        return sum(path.stat().st_size for path in self.state_dir.glob("jobpool.db*"))

    def stop(self, kill=True):
        """The daemon; kill: supervisor, workers and jobs, too."""
        self.cli("stop", *(["--kill"] if kill else []))
        self.workspace.forget(self.process)

    def crash(self):
        """kill -9 of the daemon; supervisor and workers stay."""
        self.process.kill()
        self.workspace.forget(self.process)

    def remove(self):
        self.workspace.run(["rm", "-rf", self.root])


def _as_map(flat):
    return dict(zip(flat[::2], flat[1::2]))


def run_jobs(daemon, count, command, queue="default"):
    """Submit so many commands by the client, wait for their ends, check that all succeeded; returns the seconds."""
    lines = daemon.root / "lines"
    lines.write_text("x\n" * count)
    before = daemon.queue(queue)["succeeded"]
    begin = time.monotonic()
    daemon.cli("submit", "--queue", queue, "--each-line", lines, command)
    daemon.cli("join", queue)
    seconds = time.monotonic() - begin
    daemon.check_queue(queue, unfinished=0, succeeded=before + count)
    return seconds


def tool(workspace, name, *words, **kwargs):
    """Run a tool of bench/tools; returns what it printed, a list of its JSON lines."""
    return [json.loads(line) for line in workspace.run([TOOLS_DIR / name, *words], **kwargs).splitlines()]
