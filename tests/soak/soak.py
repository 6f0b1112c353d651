#!/usr/bin/python3 -B
"""A day of work in ten minutes: many clients, half a million jobs, and a director who never leaves them alone.

At the end every acknowledged job is accounted for: it ended as it may, each of its attempts ran once, the totals agree with
what was answered, and the daemon holds no more memory, descriptors, processes or files than before.

    JOBPOOL_SOAK_JOBS     how many jobs (500000)
    JOBPOOL_SOAK_CLIENTS  how many clients (50)
    JOBPOOL_SOAK_SEED     what they and the director choose; it is printed, so that a run can be tried again
"""

import os
import pathlib
import secrets
import statistics
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import harness  # noqa: E402
import watch  # noqa: E402
from clients import QUEUES, Client  # noqa: E402
from director import WORKERS, Director, config  # noqa: E402
from truth import OUTPUT_INLINE_BYTES, Truth  # noqa: E402
from wire import Connection  # noqa: E402

SAMPLE_SECONDS = 2
LINE_SECONDS = 15
# Growth from the first fifth to the end. The allocator keeps what the largest moment took (replies to fifty clients at once),
# and such moments come by chance, some of them late; a leak of ten bytes a job would be larger.
GROWTH_KIB = {"jobpoold": 4096, "jobpool-supervisor": 512, "jobpool-worker": 512}
MEMORY_JOBS = 100_000  # memory is judged from so many jobs on


class Soak:
    def __init__(self, daemon, jobs, clients, seed):
        self.jobpool = daemon
        self.seed = seed
        self.truth = Truth(jobs)
        largest = max(1, jobs // clients // 3)  # so that each client makes several batches
        self.clients = [Client(n, seed, daemon, self.truth, largest) for n in range(clients)]
        self.director = Director(seed, daemon, self.truth)
        self.samples = []  # (finished jobs, {program: KiB})
        self.first = None  # descriptors of the idle daemon
        self.seconds = 0

    def prepare(self):
        """The directory in which the jobs run, and the daemon, every part of it used once."""
        os.symlink(harness.BUILD_DIR / "tests/soak/job", self.jobpool.root / "job")
        (self.jobpool.root / "ledger").touch()
        self.jobpool.write_config(config(WORKERS, WORKERS))
        self.jobpool.start()
        for queue in QUEUES:
            self.jobpool.cli("run", "--queue", queue, "--", "sh", "-c", "sleep 0.1; echo used")
        with Connection(self.jobpool.socket) as connection:
            warm = [connection.ask("SUBMIT", queue, "CMD", "sh", "-c", "echo used") for queue in QUEUES * 2 * WORKERS]
            connection.ask("WAIT", -1, *warm)
            self.totals = {queue: (map_[b"succeeded"], map_[b"failed"]) for queue, map_ in self.queues(connection).items()}
            connection.ask("REMOVE", *(job[b"id"] for job in connection.list()))
        self.first = self.descriptors()

    @staticmethod
    def queues(connection):
        maps = (dict(zip(flat[::2], flat[1::2])) for flat in connection.ask("QUEUES"))
        return {map_[b"name"].decode(): map_ for map_ in maps}

    # --- the work ---

    def work(self):
        begin = said = time.monotonic()
        for thread in (*self.clients, self.director):
            thread.start()
        while any(client.is_alive() for client in self.clients) and not self.truth.broken.is_set():
            self.sample()
            if time.monotonic() - said >= LINE_SECONDS:
                said = time.monotonic()
                self.say(f"{self.truth.finished:7} of {self.truth.total} jobs, {said - begin:4.0f} s, "
                         f"{self.truth.finished / (said - begin):5.0f} jobs/s, daemon {self.samples[-1][1]['jobpoold'] / 1024:.1f} MiB")
            self.wait_some()
        self.director.enough.set()
        self.director.join(harness.DEADLINE)
        self.check()
        with Connection(self.jobpool.socket) as connection:
            connection.ask("JOIN", "*", -1)  # what was retried last
        self.seconds = time.monotonic() - begin
        self.sample()

    def wait_some(self):
        end = time.monotonic() + SAMPLE_SECONDS
        for client in self.clients:
            client.join(max(0, end - time.monotonic()))

    def sample(self):
        self.samples.append((self.truth.finished, watch.memory(self.jobpool)))

    def say(self, text):
        print(text, flush=True)

    def check(self):
        if self.truth.problems:
            raise AssertionError(f"seed {self.seed}: {len(self.truth.problems)} problems:\n" + "\n".join(self.truth.problems[:20]))

    # --- the reckoning ---

    def reckon(self):
        with Connection(self.jobpool.socket) as connection:
            attempts = self.truth.check_kept(connection.list())
            self.truth.check_ledger((self.jobpool.root / "ledger").read_bytes().splitlines(), attempts)
            self.check_totals(connection)
            self.check_files(attempts)
            self.check()
            while connection.ask("CLEAN"):
                pass
            self.check_totals(connection)
        for place in ("output", "input"):
            harness.wait_for(lambda place=place: not watch.names(self.jobpool.state_dir / place), what=f"{place}/ is empty")
        self.check_processes()
        self.check_memory()
        self.check()

    def check_totals(self, connection):
        queues = self.queues(connection)
        for queue, (succeeded, failed) in self.truth.totals().items():
            before = self.totals[queue]
            expected = (succeeded + before[0], failed + before[1], 0)
            shown = tuple(queues[queue][name] for name in (b"succeeded", b"failed", b"unfinished"))
            if shown != expected:
                self.truth.wrong(f"queue {queue} counts {shown}; succeeded, failed, unfinished are {expected}")

    def check_files(self, attempts):
        """Files of kept jobs only, of attempts that they had, where the output is too large for the database."""
        for name in watch.names(self.jobpool.state_dir / "output"):
            job_id, attempt, _ = name.split(".")
            job = self.truth.jobs.get(int(job_id))
            if not 1 <= int(attempt) <= attempts.get(int(job_id), 0) or job.size <= OUTPUT_INLINE_BYTES:
                self.truth.wrong(f"output/{name} is there, of a job with {attempts.get(int(job_id))} attempts")
        inputs = {str(job.input) for job in self.truth.jobs.values() if job.input and not job.removed}
        if set(watch.names(self.jobpool.state_dir / "input")) != inputs:
            self.truth.wrong(f"input/ holds {len(watch.names(self.jobpool.state_dir / 'input'))} files, kept jobs have {len(inputs)}")

    def check_processes(self):
        """As many descriptors as at first, no other process, no file of a worker that is gone."""
        harness.wait_for(self.is_as_at_first, what=f"descriptors as at first, {self.first}; they are {self.descriptors()}")
        left = harness.strays(self.jobpool.root)
        if left:
            self.truth.wrong(f"processes of jobs are left: {left}")
        workers = {str(worker["id"]) for worker in self.jobpool.workers()}
        for place in ("workers", "tmp", "scratch"):
            names = watch.names(self.jobpool.state_dir / place)
            if {name.split(".")[0] for name in names} - workers:
                self.truth.wrong(f"{place}/ holds {names}, the workers are {sorted(workers)}")

    def descriptors(self):
        """[daemon's, supervisor's, fullest worker's]; scratch files apart, they come as they are needed."""
        programs = watch.programs_of(self.jobpool)
        workers = [watch.descriptors(pid) for pid in programs["jobpool-worker"]]
        for worker in workers:
            scratch = worker.pop("scratch", 0)
            if scratch > watch.scratch_files_max():
                self.truth.wrong(f"a worker has {scratch} scratch files open")
        return [len(workers), *(watch.descriptors(programs[name][0]) for name in ("jobpoold", "jobpool-supervisor")),
                max(workers, key=lambda worker: worker.total())]

    def is_as_at_first(self):
        try:
            return self.descriptors() == self.first
        except OSError:  # one of the workers that are too many has just left
            return False

    def growth(self):
        """{program: (KiB at a fifth, at the end, at most)}; medians of what was seen there."""
        result = {}
        for name in GROWTH_KIB:
            total = self.truth.total
            first = [sizes[name] for jobs, sizes in self.samples if 0.15 * total <= jobs <= 0.25 * total and name in sizes]
            last = [sizes[name] for jobs, sizes in self.samples if 0.9 * total <= jobs and name in sizes]
            if first and last:
                result[name] = statistics.median(first), statistics.median(last), max(s.get(name, 0) for _, s in self.samples)
        return result

    def check_memory(self):
        if self.truth.total < MEMORY_JOBS or watch.is_sanitized():
            return
        for name, (first, last, _) in self.growth().items():
            if last - first > GROWTH_KIB[name]:
                self.truth.wrong(f"{name} grew from {first:.0f} to {last:.0f} KiB")

    def summary(self):
        self.say(f"seed {self.seed}: {self.truth.total} jobs by {len(self.clients)} clients in {self.seconds:.0f} s, "
                 f"{self.truth.total / self.seconds:.0f} jobs/s; all accounted for")
        self.say("operations: " + ", ".join(f"{count} {name}" for name, count in sorted(self.truth.operations.items())))
        self.say("resident KiB at a fifth, at the end, at most: " + "; ".join(
            f"{name} {first:.0f}, {last:.0f}, {most}" for name, (first, last, most) in self.growth().items()))
        self.say(f"descriptors at first and at the end: daemon {self.first[1].total()}, supervisor {self.first[2].total()}, "
                 f"worker {self.first[3].total()}")


def run(daemon, jobs, clients, seed):
    """All of it, on a daemon that is not started yet."""
    soak = Soak(daemon, jobs, clients, seed)
    soak.prepare()
    soak.work()
    soak.reckon()
    soak.summary()


def main():
    seed = int(os.environ.get("JOBPOOL_SOAK_SEED") or secrets.randbelow(1_000_000))
    jobs = int(os.environ.get("JOBPOOL_SOAK_JOBS") or 500_000)
    clients = int(os.environ.get("JOBPOOL_SOAK_CLIENTS") or 50)
    print(f"{jobs} jobs, {clients} clients, JOBPOOL_SOAK_SEED={seed}", flush=True)
    daemon = harness.Daemon()
    try:
        run(daemon, jobs, clients, seed)
    finally:
        daemon.close()


if __name__ == "__main__":
    main()
