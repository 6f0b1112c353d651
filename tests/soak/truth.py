"""What was asked of the daemon, job by job, and what must have become of it.

Every job is of a Kind, which says how it ends when nobody interferes. Who interferes notes it here: first that he asks (the
job's end may be told to another client before the answer comes to him), then what was answered.
"""

import collections
import signal
import threading

OUTPUT_INLINE_BYTES = 64 << 10  # more than that is a file in output/

Kind = collections.namedtuple("Kind", "weight mode outcome code options attempts again ledger")


def kind(weight, mode, outcome, code, options=(), attempts=1, again=1, ledger="always"):
    """
    weight:   how often it is chosen
    mode:     the first word behind job.c's program; None: a program that is not there
    code:     what `jobpool run` would return for it
    attempts: of an undisturbed job; again: and so many more after each RETRY
    ledger:   always | maybe | never: does an attempt write its line?
    """
    return Kind(weight, mode, outcome, code, options, attempts, again, ledger)


KINDS = {
    "plain":     kind(620, "exit", "succeeded", 0),
    "printing":  kind(200, "print", "succeeded", 0),
    "split":     kind(20, "print", "succeeded", 0, ("STREAMS", "split")),
    "large":     kind(1, "print", "succeeded", 0),
    "failing":   kind(60, "exit", "failed", 3),
    "delayed":   kind(30, "exit", "succeeded", 0, ("DELAY", "200ms")),
    "flaky":     kind(10, "flaky", "succeeded", 0, ("RETRIES", 2), attempts=2),
    "hopeless":  kind(5, "exit", "failed", 4, ("RETRIES", 1), attempts=2, again=2),
    "endless":   kind(1, "pause", "timeout", 124, ("TIMEOUT", "50ms"), ledger="maybe"),
    "signalled": kind(10, "raise", "signaled", 128 + signal.SIGUSR1),
    "missing":   kind(10, None, "unstartable", 127, ledger="never"),
    "reading":   kind(15, "copy", "succeeded", 0),
    "littering": kind(10, "litter", "succeeded", 0),
    "leaving":   kind(5, "orphan", "succeeded", 0),
}
PRINTING = ("printing", "split", "large", "reading")


class Job:
    __slots__ = ("id", "kind", "queue", "tag", "size", "input", "private", "removed", "asked", "cancels", "retries", "outcome")

    def __init__(self, kind, queue, tag, size=0):
        self.kind = kind
        self.queue = queue
        self.tag = tag
        self.size = size       # bytes of its output
        self.input = 0         # id of its stdin
        self.private = False   # the director keeps away from it
        self.removed = False
        self.asked = 0         # cancels and retries that somebody sent; their answers may be under way
        self.cancels = self.retries = 0
        self.outcome = None    # at its end, as a client was told; the final one is in the list

    def argv(self):
        mode = KINDS[self.kind].mode
        if mode is None:
            return ["./no-such-program", self.tag]
        number = {"exit": KINDS[self.kind].code, "raise": int(signal.SIGUSR1)}.get(mode, self.size)
        return ["./job", mode, self.tag, number]

    def output(self):
        """What it prints, or reads and prints."""
        line = b"%d\n" % self.tag
        return (line * (self.size // len(line) + 1))[:self.size]


class Truth:
    def __init__(self, jobs):
        self.total = jobs
        self.taken = 0
        self.finished = 0
        self.jobs = {}  # by id
        self.problems = []
        self.operations = collections.Counter()
        self.broken = threading.Event()
        # For the director: jobs whose end was not told yet, and some whose end was.
        self.unfinished = {}
        self.ended = collections.deque(maxlen=2000)
        self._lock = threading.Lock()

    def take(self, count):
        """The numbers of the next jobs to be submitted, their tags; empty when all are given out."""
        with self._lock:
            first = self.taken
            self.taken = min(self.total, first + count)
            return range(first, self.taken)

    def wrong(self, text):
        with self._lock:
            self.problems.append(text)
        self.broken.set()

    def count(self, what, by=1):
        with self._lock:
            self.operations[what] += by

    def submitted(self, jobs, ids):
        """These jobs got these ids."""
        with self._lock:
            for job, job_id in zip(jobs, ids, strict=True):
                if not isinstance(job_id, int) or self.jobs.setdefault(job_id, job) is not job:
                    self.problems.append(f"SUBMIT of number {job.tag} ({job.kind}) was answered {job_id!r}")
                    self.broken.set()
                job.id = job_id
                if not job.private:
                    self.unfinished[job_id] = job

    def ended_as(self, job, shown):
        """A client was told, by a job map, that the job has ended."""
        name, outcome, code = KINDS[job.kind], shown[b"outcome"].decode(), shown[b"code"]
        if shown[b"id"] != job.id or shown[b"state"] != b"done" or shown[b"queue"] != job.queue.encode():
            self.wrong(f"job {job.id} of {job.queue} is shown as {shown}")
        elif not (outcome == "cancelled" and job.asked) and (outcome, code) != (name.outcome, name.code):
            self.wrong(f"job {job.id} ({job.kind}) ended as {outcome}, {code}: {shown}")
        elif not job.asked and shown[b"attempt"] != name.attempts:
            self.wrong(f"job {job.id} ({job.kind}), which nobody touched, took {shown[b'attempt']} attempts")
        job.outcome = outcome
        with self._lock:
            self.finished += 1
            if self.unfinished.pop(job.id, None):
                self.ended.append(job)

    def choose(self, random, from_ended=False, most=20):
        """Some different jobs for the director: of those submitted last, which most likely wait, or of those that have ended."""
        with self._lock:
            jobs = list(self.ended) if from_ended else list(self.unfinished.values())[len(self.unfinished) * 2 // 3:]
        return random.sample(jobs, min(len(jobs), random.randint(1, most)))

    def check_kept(self, listed):
        """Everything was answered and all has ended: each job that was not removed is listed once, and ended as it may."""
        seen = {}
        for shown in listed:
            job = self.jobs.get(shown[b"id"])
            if job is None or job.removed or shown[b"id"] in seen:
                self.wrong(f"job {shown[b'id']} is listed, but was removed, or never acknowledged, or came before")
                continue
            seen[job.id] = shown[b"attempt"]
            self._check_end(job, shown)
        missing = [job_id for job_id, job in self.jobs.items() if not job.removed and job_id not in seen]
        if missing:
            self.wrong(f"{len(missing)} acknowledged jobs are not listed: {missing[:10]}")
        return seen

    def _check_end(self, job, shown):
        name, outcome, code, attempt = KINDS[job.kind], (shown[b"outcome"] or b"").decode(), shown[b"code"], shown[b"attempt"]
        job.outcome = outcome
        if shown[b"state"] != b"done":
            self.wrong(f"job {job.id} is {shown[b'state']} at the end")
        elif outcome == "cancelled" and (not job.cancels or not shown[b"cancelled_by"] or code != 123):
            self.wrong(f"job {job.id} is cancelled, but no CANCEL was answered with 1: {shown}")
        elif outcome != "cancelled" and (outcome, code) != (name.outcome, name.code):
            self.wrong(f"job {job.id} ({job.kind}) is {outcome}, {code} at the end")
        # A cancel cuts a round of attempts short; nothing makes one longer.
        most = name.attempts + job.retries * (max(name.again, name.attempts) if job.cancels else name.again)
        if attempt > most or not job.cancels and attempt != most:
            self.wrong(f"job {job.id} ({job.kind}) had {attempt} attempts; {most} expected, cancelled {job.cancels} times")

    def check_ledger(self, lines, attempts):
        """Each attempt ran once, none ran that is not known. attempts: of the jobs that are kept, by id."""
        runs = collections.defaultdict(list)
        for line in lines:
            job_id, attempt, tag = map(int, line.split())
            runs[job_id].append(attempt)
            if job_id not in self.jobs or self.jobs[job_id].tag != tag:
                self.wrong(f"job {job_id} ran with tag {tag}, which is not its own")
        for job_id, job in self.jobs.items():
            ran, last = sorted(runs[job_id]), attempts.get(job_id, KINDS[job.kind].attempts)
            expected = list(range(1, last + 1)) if KINDS[job.kind].ledger != "never" else []
            if len(set(ran)) != len(ran) or not set(ran) <= set(expected):
                self.wrong(f"job {job_id} ({job.kind}) ran as attempts {ran}; it has had {last}")
            elif ran != expected and not job.cancels and KINDS[job.kind].ledger == "always":
                self.wrong(f"job {job_id} ({job.kind}) ran as attempts {ran} only, of {last}")

    def totals(self):
        """{queue: (succeeded, failed)}, from the outcomes that were told last."""
        tally = collections.Counter((job.queue, job.outcome == "succeeded") for job in self.jobs.values())
        return {queue: (tally[queue, True], tally[queue, False]) for queue in {job.queue for job in self.jobs.values()}}
