"""What the processes of a daemon hold: memory, descriptors, files below the state directory."""

import collections
import os
import pathlib
import re

import harness

_PROGRAM = re.compile(r"(\S*/)?jobpool(d|-supervisor|-worker)( |$)")


def programs_of(daemon):
    """{name: [pid]} of jobpoold, jobpool-supervisor, jobpool-worker."""
    found = collections.defaultdict(list)
    for pid, command in harness.processes_of(daemon.root).items():
        match = _PROGRAM.match(command)
        if match:
            found["jobpool" + match[2]].append(pid)
    return found


def resident_kib(pid):
    with open(f"/proc/{pid}/status", encoding="ascii", errors="replace") as file:
        return int(re.search(r"^VmRSS:\s+(\d+)", file.read(), re.MULTILINE)[1])


def memory(daemon):
    """{name: KiB}: resident size of the daemon, of its supervisor, of the largest worker."""
    sizes = {}
    for name, pids in programs_of(daemon).items():
        for pid in pids:
            try:
                sizes[name] = max(sizes.get(name, 0), resident_kib(pid))
            except (OSError, TypeError):  # a worker that leaves at this moment
                continue
    return sizes


def descriptors(pid):
    """What is open, numbers left out: Counter({'socket:[N]': 7, ...}). Scratch files of a worker are counted as one kind."""
    found = collections.Counter()
    for fd in os.listdir(f"/proc/{pid}/fd"):
        target = re.sub(r"\d+", "N", os.readlink(f"/proc/{pid}/fd/{fd}"))
        found["scratch" if "/scratch/" in target else target] += 1
    return found


def names(directory):
    return sorted(os.listdir(directory)) if directory.exists() else []


def scratch_files_max():
    """Those that a worker may have open: two for each of its marks, opened when they are needed."""
    header = (harness.SOURCE_DIR / "common/worker_proto.h").read_text()
    return 2 * int(re.search(r"^#define MARKS_PER_WORKER (\d+)", header, re.MULTILINE)[1])


def count_files(state_dir):
    """All below it, but scratch files, of which a worker has as many as it happens to need."""
    return sum(len(files) for place, _, files in os.walk(state_dir) if os.path.basename(place) != "scratch")


def is_sanitized():
    """Then memory says nothing: what is freed is kept for a while, and what is held has a shadow."""
    program = pathlib.Path(harness.JOBPOOLD).read_bytes()
    return b"__asan_init" in program or b"__tsan_init" in program
