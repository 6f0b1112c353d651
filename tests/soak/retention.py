#!/usr/bin/python3 -B
"""Retention by count: rounds of jobs, of which the daemon keeps one round; after a warm-up nothing grows any more.

    JOBPOOL_RETENTION_ROUNDS  how many rounds (100)
    JOBPOOL_RETENTION_JOBS    jobs of a round, and how many are kept (10000)
"""

import math
import os
import pathlib
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import harness  # noqa: E402
import watch  # noqa: E402
from wire import Connection  # noqa: E402

FLAT = 1.1               # how much larger the largest of the second half may be than the largest before
MEMORY_SLACK_KIB = 512    # an arena of malloc more or less
WAL_BYTES_MAX = 80 << 20   # it is checkpointed at 64 MiB; a commit more fits
LARGE_BYTES = 100_000     # a file in output/


class Rounds:
    def __init__(self, daemon, rounds, jobs, least_kib):
        self.jobpool = daemon
        self.rounds = rounds
        self.jobs = jobs
        self.least_kib = least_kib
        self.figures = []  # a dictionary for each round
        self.succeeded = self.failed = 0

    def run(self):
        self.prepare()
        with Connection(self.jobpool.socket) as self.connection:
            for number in range(1, self.rounds + 1):
                begin = time.monotonic()
                first, last = self.submit()
                self.check_totals()
                self.check_kept(first, last)
                self.figures.append(self.measure())
                if number % max(1, self.rounds // 20) == 0:
                    self.say(f"round {number:3}, {time.monotonic() - begin:4.1f} s: "
                             + ", ".join(f"{name} {value}" for name, value in self.figures[-1].items()))
        self.judge()

    def prepare(self):
        os.symlink(harness.BUILD_DIR / "tests/soak/job", self.jobpool.root / "job")
        (self.jobpool.root / "ledger").touch()
        self.jobpool.write_config(f"pools: {{ default: {{ workers: 4 }} }}\nretention: {{ jobs: {self.jobs} }}\n")
        self.jobpool.start()

    def say(self, text):
        print(text, flush=True)

    def request(self, number):
        """Most print nothing, every fifth a little, one in a thousand so much that it is a file; every tenth fails."""
        start = ["SUBMIT", "default", "CWD", self.jobpool.root, "CMD", "./job"]
        if number % 1000 == 7:
            return [*start, "print", number, LARGE_BYTES]
        if number % 5 == 1:
            return [*start, "print", number, 200]
        return [*start, "exit", number, int(number % 10 == 0)]

    def submit(self):
        """A round, until it is done; the first and the last id."""
        ids = self.connection.ask_all([self.request(number) for number in range(self.jobs)])
        assert ids == list(range(ids[0], ids[0] + self.jobs)), f"the ids of a round are not consecutive: {ids[:3]}..."
        failed = len(range(0, self.jobs, 10))
        self.failed += failed
        self.succeeded += self.jobs - failed
        return ids[0], ids[-1]

    def check_totals(self):
        """They count all of time, kept or not."""
        counted = self.connection.ask("JOIN", "*", -1)[:2]
        assert counted == [self.succeeded, self.failed], f"the totals are {counted}, not {[self.succeeded, self.failed]}"

    def check_kept(self, first, last):
        """The latest are kept, those that ended in this round, and only their files."""
        harness.wait_for(lambda: self.oldest() == first, what=f"jobs before {first} are removed")
        kept = [job[b"id"] for job in self.connection.list()]
        assert kept == list(range(first, last + 1)), f"{len(kept)} jobs are kept, not {first} to {last}: {kept[:3]}..."
        harness.wait_for(self.output_files_are_kept_ones, what="output files of removed jobs are gone")

    def oldest(self):
        return self.connection.ask("LIST", "COUNT", 1)[1][0][1]

    def output_files_are_kept_ones(self):
        return len(watch.names(self.jobpool.state_dir / "output")) == len(range(7, self.jobs, 1000))

    def measure(self):
        memory = watch.memory(self.jobpool)
        state = self.jobpool.state_dir
        return {
            "database KiB": (state / "jobpool.db").stat().st_size >> 10,
            "WAL KiB": (state / "jobpool.db-wal").stat().st_size >> 10,
            "daemon KiB": memory["jobpoold"],
            "supervisor KiB": memory["jobpool-supervisor"],
            "worker KiB": memory["jobpool-worker"],
            "files": watch.count_files(state),
        }

    def judge(self):
        warm, half = self.rounds // 10, self.rounds // 2
        grown = []
        for name in self.figures[0]:
            before = max(figures[name] for figures in self.figures[warm:half])
            after = max(figures[name] for figures in self.figures[half:])
            self.say(f"{name}: at most {before} in rounds {warm + 1} to {half}, {after} in rounds {half + 1} to {self.rounds}")
            if after > self.bound(name, before):
                grown.append(f"{name} from {before} to {after}")
        assert not grown, f"not flat: {'; '.join(grown)}"


    def bound(self, name, before):
        if name == "WAL KiB":
            return WAL_BYTES_MAX >> 10
        if name == "database KiB":
            return FLAT * max(before, self.least_kib)
        if name == "files":
            return FLAT * before
        return math.inf if watch.is_sanitized() else FLAT * before + MEMORY_SLACK_KIB


def run(daemon, rounds, jobs, least_kib=0):
    """All of it, on a daemon that is not started yet.

    least_kib: what a database may have in any case: in a few rounds its first checkpoint comes late.
    """
    Rounds(daemon, rounds, jobs, least_kib).run()


def main():
    rounds = int(os.environ.get("JOBPOOL_RETENTION_ROUNDS") or 100)
    jobs = int(os.environ.get("JOBPOOL_RETENTION_JOBS") or 10_000)
    print(f"{rounds} rounds of {jobs} jobs, of which {jobs} are kept", flush=True)
    daemon = harness.Daemon()
    try:
        run(daemon, rounds, jobs)
    finally:
        daemon.close()


if __name__ == "__main__":
    main()
