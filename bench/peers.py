"""The runners that jobpool is measured beside: each starts N commands with K in flight, and tells how many succeeded."""

import re
import shutil
import subprocess
import time

from jobpool import Jobpool, run_jobs, slow_sync, tool
from machine import Failure, harness


class Runner:
    """One runner. A round is up(), jobs(), down()."""

    name = ""
    jobs_a_round = 1000   # what takes it about half a second
    programs = ()         # without them it is left out
    keeps = ""            # what it knows of a job afterwards
    stores = False        # does it promise that a job survives a power cut?
    in_memory = False     # its working directory

    def __init__(self, workspace, command, slow=False):
        self.workspace, self.command, self.slow = workspace, command, slow
        self.group = self.directory = None

    def available(self):
        return all(map(shutil.which, self.programs))

    def up(self, k):
        self.group = self.workspace.cpu_group()
        self.directory = self.workspace.directory(self.in_memory)
        self.set_up(k)

    def down(self):
        self.tear_down()
        self.group.close()
        shutil.rmtree(self.directory)

    def set_up(self, k):
        pass

    def tear_down(self):
        pass

    def jobs(self, n, k):
        """Returns (seconds, how many are known to have succeeded)."""
        raise NotImplementedError

    def timed(self, command, **kwargs):
        begin = time.monotonic()
        self.workspace.run(command, group=self.group, **kwargs)
        return time.monotonic() - begin


class SpawnLimit(Runner):
    """What all are compared with: one process in a loop of posix_spawn and wait."""

    name = "limit: posix_spawn and wait"
    keeps = "status"

    def jobs(self, n, k):
        result = tool(self.workspace, "spawnlimit", "-n", n, "-k", k, self.command, group=self.group)[0]
        return result["wall_s"], result["ok"]


class JobpoolRunner(Runner):
    name = "jobpool"
    jobs_a_round = 4000
    keeps = "status, output"
    stores = True

    def set_up(self, k):
        self.daemon = Jobpool(self.workspace, k, slow=self.slow, group=self.group).start()

    def jobs(self, n, k):
        return run_jobs(self.daemon, n, self.command), n

    def tear_down(self):
        self.daemon.stop()
        self.daemon.remove()


class Moreutils(Runner):
    name = "moreutils parallel"
    jobs_a_round = 3000
    keeps = "whether any failed"

    @staticmethod
    def program():
        """GNU parallel takes the name away from it."""
        for name in ("parallel.moreutils", "parallel"):
            if shutil.which(name):
                done = subprocess.run([name, "--version"], stdin=subprocess.DEVNULL, capture_output=True, check=False)
                if b"GNU" not in done.stdout:
                    return name
        return None

    def available(self):
        return self.program() is not None

    def jobs(self, n, k):
        return self.timed([self.program(), "-j", k, self.command, "--", *range(n)]), n


class Make(Runner):
    name = "make -j"
    jobs_a_round = 2000
    programs = ("make",)
    keeps = "whether any failed"

    def jobs(self, n, k):
        (self.directory / "Makefile").write_text(f"all: $(foreach i,$(shell seq {n}),t$i)\nt%:\n\t@{self.command}\n")
        # Below a make of its own the benchmark must not share the jobs of that one.
        return self.timed(["make", "-s", f"-j{k}", "-C", self.directory], env={"MAKEFLAGS": "", "MAKELEVEL": "0"}), n


class Xargs(Runner):
    name = "xargs -P"
    jobs_a_round = 2000
    programs = ("xargs",)
    keeps = "whether any failed"

    def jobs(self, n, k):
        lines = self.directory / "lines"
        lines.write_text("".join(f"{i}\n" for i in range(n)))
        return self.timed(["xargs", "-a", lines, "-n1", "-P", k, self.command]), n


class Beanstalkd(Runner):
    """Its log is synced at each put and delete; the consumers are ours."""

    name = "beanstalkd -f0, C consumers"
    jobs_a_round = 1500
    programs = ("beanstalkd",)
    keeps = "status"
    stores = True

    def __init__(self, workspace, command, slow=False):
        super().__init__(workspace, command, slow)
        if slow:  # two fsyncs a job, and nobody to share them with
            self.jobs_a_round = 100

    def set_up(self, k):
        self.server, self.socket = start_beanstalkd(self.workspace, self.directory, self.slow, self.group)

    def jobs(self, n, k):
        result = tool(
            self.workspace, "beanexec", "-a", self.socket, "-n", n, "-k", k, "-w", 64, self.command, group=self.group
        )[0]
        return result["wall_s"], result["ok"]

    def tear_down(self):
        self.workspace.end(self.server)


class TaskSpooler(Runner):
    name = "task-spooler (tsp)"
    jobs_a_round = 200
    programs = ("tsp",)
    keeps = "status, output"
    in_memory = True

    def set_up(self, k):
        self.env = start_tsp(self.workspace, self.directory, k, self.group)

    def jobs(self, n, k):
        begin = time.monotonic()
        script = f"i=0; while [ $i -lt {n} ]; do tsp {self.command}; i=$((i+1)); done >/dev/null; tsp -w >/dev/null"
        self.workspace.run(["sh", "-c", script], env=self.env, group=self.group)
        listing = harness.wait_for(self._finished, what="all jobs of tsp have ended")
        return time.monotonic() - begin, len(re.findall(r" finished\s+\S+\s+0\s", listing))

    def _finished(self):
        listing = self.workspace.run(["tsp", "-l"], env=self.env, group=self.group)
        return None if " queued " in listing or " running " in listing else listing

    def tear_down(self):
        self.workspace.run(["tsp", "-K"], env=self.env)


class Nq(Runner):
    """A directory a worker; it runs the jobs of a directory one after the other."""

    name = "nq"
    jobs_a_round = 200
    programs = ("nq",)
    keeps = "status, output"
    in_memory = True

    def jobs(self, n, k):
        queues = [self.directory / f"q{i}" for i in range(k)]
        for queue in queues:
            queue.mkdir()
        begin = time.monotonic()
        script = f"i=0; while [ $i -lt {n} ]; do NQDIR=q$((i%{k})) nq -q {self.command}; i=$((i+1)); done >/dev/null"
        self.workspace.run(["sh", "-c", script], cwd=self.directory, group=self.group)
        for queue in queues:
            self.workspace.run(["nq", "-w"], env={"NQDIR": str(queue)}, group=self.group)
        seconds = time.monotonic() - begin
        logs = [path.read_text(errors="replace") for queue in queues for path in queue.glob(",*")]
        return seconds, sum("[exited with status 0.]" in log for log in logs)


class GnuParallel(Runner):
    name = "GNU parallel"
    jobs_a_round = 50
    programs = ("parallel",)
    keeps = "status, output"
    in_memory = True

    def available(self):
        return super().available() and Moreutils.program() != "parallel"

    def jobs(self, n, k):
        lines, log = self.directory / "lines", self.directory / "joblog"
        lines.write_text("".join(f"{i}\n" for i in range(n)))
        seconds = self.timed(
            ["parallel", "--will-cite", "-a", lines, "-j", k, "--joblog", log, self.command],
            env={"HOME": str(self.directory), "TMPDIR": str(self.directory), "SHELL": "/bin/sh"},
        )
        return seconds, sum(line.split("\t")[6] == "0" for line in log.read_text().splitlines()[1:])


STORING_NOTHING = (Moreutils, Make, Xargs)     # the table of goals names them
WITH_A_QUEUE = (Beanstalkd, TaskSpooler, Nq, GnuParallel)


def start_beanstalkd(workspace, directory, slow=False, group=None):
    """With its log in a directory, synced at every change; returns (process, socket path)."""
    path = directory / "s"
    (directory / "log").mkdir()
    server = workspace.start(
        ["beanstalkd", "-l", f"unix:{path}", "-b", directory / "log", "-f0"],
        env=slow_sync() if slow else None, group=group,
    )
    harness.wait_for(lambda: path.exists() or server.poll() is not None, what="beanstalkd listens")
    if server.poll() is not None:
        raise Failure(f"beanstalkd ended: {workspace.log_tail()}")
    return server, path


def start_tsp(workspace, directory, slots, group=None):
    """Start its server; returns the environment that its clients need."""
    env = {
        "TS_SOCKET": str(directory / "s"), "TMPDIR": str(directory), "TS_SLOTS": str(slots),
        "TS_MAXFINISHED": "100000", "TS_MAXCONN": "20000",
    }
    workspace.run(["tsp", "-S", slots], env=env, group=group, cwd=directory)
    return env


def missing():
    """Names of the peers that are not installed."""
    return [peer.name for peer in STORING_NOTHING + WITH_A_QUEUE if not peer(None, None).available()]
