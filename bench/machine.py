"""The machine under the benchmark: a workspace that holds every file and process of a run, and what /proc tells of them.

Everything that is started belongs to a Workspace, which ends it by pid and removes its directories, also after a failure
or Ctrl-C.
"""

import os
import pathlib
import platform
import re
import shutil
import subprocess
import sys
import tempfile

SOURCE_DIR = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(SOURCE_DIR / "tests" / "lib"))
import harness  # noqa: E402

BUILD_DIR = harness.BUILD_DIR
TOOLS_DIR = BUILD_DIR / "bench" / "tools"
DEADLINE = 600  # seconds for any one command; whoever needs longer has failed


class Failure(Exception):
    """What was to be measured did not work."""


class CpuGroup:
    """A control group, whose processes' CPU time is counted together; without the right to make one it counts nothing."""

    _ROOTS = (  # root of the hierarchy, a file that tells it, the file with the time, and its divisor to microseconds
        ("/sys/fs/cgroup/cpuacct", "cpuacct.usage", "cpuacct.usage", 1000),
        ("/sys/fs/cgroup", "cgroup.controllers", "cpu.stat", 1),
        ("/sys/fs/cgroup/unified", "cgroup.controllers", "cpu.stat", 1),
    )
    _made = 0

    def __init__(self):
        self._directory = None
        CpuGroup._made += 1
        for root, sign, self._file, self._divisor in self._ROOTS:
            directory = f"{root}/jobpool-bench-{os.getpid()}-{CpuGroup._made}"
            if not os.path.exists(f"{root}/{sign}"):
                continue
            try:
                os.mkdir(directory)
            except OSError:
                continue
            self._directory = directory
            return

    def enter(self):
        """Called in a child before it becomes the program; what it starts is counted, too."""
        if self._directory:
            with open(f"{self._directory}/cgroup.procs", "w", encoding="ascii") as file:
                file.write(str(os.getpid()))

    def microseconds(self):
        """CPU time so far, or None."""
        if not self._directory:
            return None
        with open(f"{self._directory}/{self._file}", encoding="ascii") as file:
            return int(re.search(r"\d+", file.read()).group()) / self._divisor

    def close(self):
        """All its processes have ended; the kernel may need a moment to see that."""
        if self._directory:
            harness.wait_for(self._removed, 10, f"{self._directory} is empty")

    def _removed(self):
        try:
            os.rmdir(self._directory)
        except OSError:
            return False
        self._directory = None
        return True


class Workspace:
    """Directories below one on the disk to be measured, and all processes of the run."""

    def __init__(self, base):
        self.root = pathlib.Path(tempfile.mkdtemp(prefix="jobpool-bench-", dir=base))
        self._memory_root = None
        self._processes, self._groups = [], []
        self._env = {name: value for name, value in os.environ.items() if not name.startswith(("JOBPOOL_", "XDG_"))}
        # One language for the output of peers; no configuration of the user's.
        self._env.update(LC_ALL="C", HOME=str(self.root), JOBPOOL_AUTOSTART="0", TMPDIR=str(self.root))

    def directory(self, in_memory=False):
        """A fresh one. in_memory: for peers that make a file a job and promise no durability: the disk is not their matter."""
        base = self.root
        if in_memory and os.path.isdir("/dev/shm"):
            if not self._memory_root:
                self._memory_root = tempfile.mkdtemp(prefix="jobpool-bench-", dir="/dev/shm")
            base = self._memory_root
        return pathlib.Path(tempfile.mkdtemp(dir=base))

    def cpu_group(self):
        self._groups.append(CpuGroup())
        return self._groups[-1]

    def start(self, command, env=None, group=None, **kwargs):
        """A subprocess.Popen that is ended at the latest with the workspace; its output goes to our log by default."""
        with open(self.root / "log", "ab") as log:
            kwargs = {"stdin": subprocess.DEVNULL, "stdout": log, "stderr": log, "cwd": "/", **kwargs}
            process = subprocess.Popen(
                list(map(str, command)), env={**self._env, **(env or {})},
                preexec_fn=group.enter if group else None, **kwargs,
            )
        self._processes.append(process)
        return process

    def run(self, command, **kwargs):
        """Run it to its end; returns its stdout as text, where that goes nowhere else. Failure: it did not exit with 0."""
        process = self.start(command, **{"stdout": subprocess.PIPE, **kwargs})
        out = (process.communicate(timeout=DEADLINE)[0] or b"").decode(errors="replace")
        self._processes.remove(process)
        if process.returncode:
            raise Failure(f"{command[0]} ended with {process.returncode}: {self.log_tail()}")
        return out

    def end(self, process):
        """End it by SIGTERM, or harder."""
        if process.poll() is None:
            process.terminate()
        try:
            process.communicate(timeout=10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
        self._processes.remove(process)

    def forget(self, process):
        """It ended by itself."""
        process.wait(DEADLINE)
        self._processes.remove(process)

    def log_tail(self):
        return (self.root / "log").read_text(errors="replace")[-500:]

    def close(self):
        for process in self._processes[:]:
            self.end(process)
        for root in filter(None, (self.root, self._memory_root)):
            harness.kill_processes_of(root)
            shutil.rmtree(root, ignore_errors=True)
        for group in self._groups:
            group.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def memory_kib(pid, field):
    """A field of smaps_rollup: Rss, Pss, Private_Dirty."""
    with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as file:
        return int(re.search(rf"^{field}:\s+(\d+) kB", file.read(), re.MULTILINE).group(1))


def context_switches(pid):
    """Of all threads of a process, voluntary and involuntary, since they were born."""
    total = 0
    for thread in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{thread}/status", encoding="utf-8", errors="replace") as file:
            total += sum(map(int, re.findall(r"ctxt_switches:\s+(\d+)", file.read())))
    return total


def _first_line(*command):
    """Of what it prints, or None where it is not there."""
    if not shutil.which(command[0]):
        return None
    done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    return (done.stdout.decode(errors="replace").splitlines() or [""])[0].strip()


def _package_version(name):
    found = _first_line("dpkg-query", "-W", "-f", "${Version}", name)
    return found if found and "no packages" not in found else None


def _file_system(path):
    """Type and mount options of what holds the path."""
    best = ("", "?", "?")
    with open("/proc/self/mounts", encoding="utf-8", errors="replace") as file:
        for line in file:
            source, where, kind, options = line.split()[:4]
            inside = os.path.commonpath([where, path]) == where
            if inside and len(where) >= len(best[0]):
                best = (where, f"{kind} on {source}", options)
    return f"{best[1]} ({best[2]})"


def describe(path):
    """What the figures were taken on: (name, value) pairs."""
    with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as file:
        model = re.search(r"^(?:model name|Processor)\s*:\s*(.+)", file.read(), re.MULTILINE)
    packages = ("moreutils", "parallel", "task-spooler", "nq", "beanstalkd", "redis-tools", "libsqlite3-0", "libuv1")
    versions = {name: _package_version(name) for name in packages}
    tools = [_first_line("make", "--version"), _first_line("xargs", "--version")]
    return [
        ("cores", str(len(os.sched_getaffinity(0)))),
        ("processor", model.group(1) if model else platform.machine()),
        ("kernel", platform.release()),
        ("file system", _file_system(os.path.realpath(path))),
        ("jobpool", _first_line(str(BUILD_DIR / "jobpoold"), "--version") or "?"),
        ("build", _build_flags()),
        ("peers", ", ".join(filter(None, tools + [f"{n} {v}" for n, v in versions.items() if v]))),
        ("load before", " ".join(f"{load:.2f}" for load in os.getloadavg())),
    ]


def _build_flags():
    """How this build was configured, as its config.log has it."""
    try:
        log = (BUILD_DIR / "config.log").read_text(errors="replace")
    except OSError:
        return "?"
    flags = {name: re.search(rf"^{name}='(.*)'$", log, re.MULTILINE) for name in ("CC", "CFLAGS", "OUR_CFLAGS")}
    return " ".join(found.group(1) for found in flags.values() if found)


def build_is_for_debugging():
    """Sanitizers, or no optimisation: the figures of such a build mean nothing."""
    flags = _build_flags()
    return "-fsanitize" in flags or "-Og" in flags or not re.search(r"-O[123sf]", flags)
