"""The clients: each submits a batch, waits for it, checks it, in one of several manners, until there is nothing left to submit."""

import random
import threading
import time
import traceback

from truth import KINDS, PRINTING, Job
from wire import Connection

QUEUES = ("default", "bulk", "side")
BATCHES = (10, 100, 100, 200)
LINES = 40


class Client(threading.Thread):
    """largest: jobs in a batch."""

    def __init__(self, number, seed, daemon, truth, largest):
        super().__init__(name=f"client {number}", daemon=True)
        self.number = number
        self.random = random.Random(f"{seed} client {number}")
        self.jobpool = daemon
        self.truth = truth
        self.largest = largest
        self.manners = {
            self.plainly: 66, self.tidily: 8, self.resending: 8, self.turning_away: 6, self.slowly: 4, self.following: 4,
            self.by_command_line: 4,
        }
        self.connection = None

    def run(self):
        try:
            manner = list(self.manners)[self.number % len(self.manners)]  # so that a few clients have every one
            self.connection = Connection(self.jobpool.socket)
            with self.connection:
                while not self.truth.broken.is_set():
                    numbers = self.truth.take(min(self.random.choice(BATCHES), self.largest))
                    if not numbers:
                        break
                    manner(numbers)
                    self.truth.count(f"batches {manner.__name__}")
                    manner = self.random.choices(list(self.manners), self.manners.values())[0]
        except Exception:  # whatever it is, the soak has failed
            self.truth.wrong(f"{self.name}: {traceback.format_exc()}")

    # --- manners ---

    def plainly(self, numbers):
        jobs = self.make(numbers)
        self.submit(jobs)
        self.wait(jobs)
        self.check_outputs(jobs)

    def tidily(self, numbers):
        """Removes its jobs at the end."""
        jobs = self.make(numbers, private=True)
        self.submit(jobs)
        self.wait(jobs)
        self.check_outputs(jobs)
        for job, reply in zip(jobs, self.connection.ask_all([("REMOVE", job.id) for job in jobs])):
            job.removed = True
            if reply != 1:
                self.truth.wrong(f"REMOVE {job.id} was answered {reply!r}")
        self.truth.count("removed", len(jobs))

    def resending(self, numbers):
        """Vanishes in the middle of its requests, comes again, and sends all of them once more: by their keys they are the same."""
        jobs = self.make(numbers, without_input=True)
        requests = [self.request(job, "KEY", f"soak {job.tag}") for job in jobs]
        with Connection(self.jobpool.socket) as doomed:
            doomed.send_cut(requests)
            first = [doomed.reply() for _ in range(self.random.randrange(len(jobs)))]
        ids = self.connection.ask_all(requests)
        if ids[:len(first)] != first:
            self.truth.wrong(f"{self.name}: keys gave {first} at first, then {ids}")
        self.truth.submitted(jobs, ids)
        self.truth.count("vanished clients")
        self.wait(jobs)

    def turning_away(self, numbers):
        """Asks for what takes long, and is gone before the answer."""
        jobs = self.make(numbers)
        self.submit(jobs)
        ids = [job.id for job in jobs]
        for request in (["WAIT", -1, *ids], ["FOLLOW", ids[-1], 0, 0, -1], ["JOIN", "*", -1], ["SHOW", ids[0]]):
            with Connection(self.jobpool.socket) as doomed:
                doomed.send([request])
        self.truth.count("vanished clients", 4)
        self.wait(jobs)
        self.check_outputs(jobs)

    def slowly(self, numbers):
        """Asks for much, and reads it in drips through a small buffer."""
        jobs = self.make(numbers)
        self.submit(jobs)
        with Connection(self.jobpool.socket, receive_buffer=2048) as slow:
            slow.send([("SHOW", job.id) for job in jobs] * 2)
            for n in range(2 * len(jobs)):
                if slow.reply()[1] != jobs[n % len(jobs)].id:
                    self.truth.wrong(f"{self.name}: the replies are out of order")
                if n % 20 == 0:
                    time.sleep(0.01)  # what makes it slow
        self.truth.count("slow readers")
        self.wait(jobs)

    def following(self, numbers):
        jobs = self.make(numbers)
        self.submit(jobs)
        for job in [job for job in jobs if job.kind in PRINTING][:10]:
            self.follow(job)
        self.truth.count("joins")
        reply = self.connection.ask("JOIN", "*", 20)
        if reply is not None and len(reply) != 3:
            self.truth.wrong(f"JOIN was answered {reply}")
        self.wait(jobs)

    def by_command_line(self, numbers):
        for first in range(0, len(numbers), LINES):
            self.submit_lines(numbers[first:first + LINES - 1])
            for number in numbers[first + LINES - 1:first + LINES]:
                self.run_one(number)

    # --- their parts ---

    def make(self, numbers, private=False, without_input=False):
        kinds = self.random.choices(list(KINDS), [kind.weight for kind in KINDS.values()], k=len(numbers))
        queue = self.random.choice(QUEUES)
        jobs = []
        for number, kind in zip(numbers, kinds):
            job = Job("plain" if without_input and kind == "reading" else kind, queue, number)
            if kind in PRINTING:
                job.size = 100_000 if kind == "large" else self.random.randrange(1, 2000)
            job.private = private
            jobs.append(job)
        return jobs

    def request(self, job, *options):
        priority = self.random.choice((0, 0, 0, -5, 7))
        return ["SUBMIT", job.queue, "CWD", self.jobpool.root, "PRIORITY", priority, *KINDS[job.kind].options, *options,
                *(("INPUT", job.input) if job.input else ()), "CMD", *job.argv()]

    def submit(self, jobs):
        readers = [job for job in jobs if job.kind == "reading"]
        for job, reply in zip(readers, self.connection.ask_all([("INPUT", "NEW", 0, job.output()) for job in readers])):
            job.input = reply[0]
        self.truth.submitted(jobs, self.connection.ask_all([self.request(job) for job in jobs]))

    def wait(self, jobs):
        for job, shown in zip(jobs, self.connection.ask("WAIT", -1, *(job.id for job in jobs)), strict=True):
            self.truth.ended_as(job, dict(zip(shown[::2], shown[1::2])))

    def check_outputs(self, jobs):
        printing = [job for job in jobs if job.kind in PRINTING and not job.asked]
        replies = self.connection.ask_all([("OUTPUT", job.id, "out", 0) for job in printing])
        for job, reply in zip(printing, replies):
            if not job.asked and reply != [0, job.output(), 1]:
                self.truth.wrong(f"the output of job {job.id} ({job.kind}) is wrong: {reply!r:.300}")
        self.truth.count("outputs compared", len(printing))

    def follow(self, job):
        text, offset, shown = b"", 0, None
        while shown is None:
            reply = self.connection.ask("FOLLOW", job.id, offset, 0, -1)
            if reply[0] != offset:  # another attempt began
                text = b""
            text += reply[1]
            offset, shown = reply[0] + len(reply[1]), reply[4]
        if not job.asked and text != job.output():
            self.truth.wrong(f"job {job.id} ({job.kind}) was followed as {text!r:.300}")
        self.truth.count("followed")

    def submit_lines(self, numbers):
        jobs = [Job("plain", "default", number) for number in numbers]
        lines = b"".join(b"%d\n" % job.tag for job in jobs)
        said = self.jobpool.cli("submit", "--each-line", "-", "--", "./job", "exit", "{}", input=lines)[1]
        self.truth.submitted(jobs, list(map(int, said.split())))
        code = self.jobpool.cli("wait", *(job.id for job in jobs), check=False, timeout=300)[0]
        if code != (123 if any(job.asked for job in jobs) and code else 0):
            self.truth.wrong(f"`jobpool wait` of jobs {jobs[0].id}... ended with {code}")
        self.wait(jobs)
        self.truth.count("jobs by the command line", len(jobs))

    def run_one(self, number):
        job = Job("printing", "side", number, self.random.randrange(1, 2000))
        job.private = True
        key = f"soak {number}"
        code, said, _ = self.jobpool.cli("run", "--queue", job.queue, "--key", key, "--", *job.argv(), check=False, timeout=300)
        if (code, said) != (0, job.output()):
            self.truth.wrong(f"`jobpool run` of number {number} ended with {code}, and said {said!r:.300}")
        # The same key tells its id.
        self.truth.submitted([job], [self.connection.ask("SUBMIT", job.queue, "KEY", key, "CWD", self.jobpool.root, "CMD", *job.argv())])
        self.wait([job])
        self.truth.count("jobs by the command line")
