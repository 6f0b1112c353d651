"""Who interferes: twenty times a second one thing that an administrator may do, chosen by the seed."""

import random
import threading
import traceback

from clients import QUEUES
from wire import Connection, Refused

BEAT_SECONDS = 0.05
HELD_BEATS = 10   # a hold or a pause is undone so many beats later
WORKERS = 3       # of a pool, at first and at the end


def config(main, side, recycle=0):
    """side: workers of a pool of its own for the queue side; 0 = the other pool serves it, too."""
    served = "default, bulk" if side else "default, bulk, side"
    pools = f"  main: {{ workers: {main}, queues: [{served}], recycle_after_jobs: {recycle} }}\n"
    if side:
        pools += f"  side: {{ workers: {side} }}\n"
    return f"pools:\n{pools}queues:\n  default: {{ grace: 5s }}\n  bulk: {{ grace: 5s }}\n  side: {{ grace: 5s }}\n"


class Director(threading.Thread):
    def __init__(self, seed, daemon, truth):
        super().__init__(name="director", daemon=True)
        self.random = random.Random(f"{seed} director")
        self.jobpool = daemon
        self.truth = truth
        self.enough = threading.Event()
        self.beat = 0
        self._later = []  # (beat, function)
        self._deeds = {
            self.resize: 14, self.cancel: 14, self.reprioritise: 14, self.retry: 10, self.hold: 8, self.look: 10,
            self.pause: 4, self.join_in: 4, self.deliver: 3,
        }

    def run(self):
        try:
            with Connection(self.jobpool.socket) as self.connection:
                while not self.enough.wait(BEAT_SECONDS) and not self.truth.broken.is_set():
                    self.beat += 1
                    self._undo(self.beat)
                    self.random.choices(list(self._deeds), self._deeds.values())[0]()
                self._undo(self.beat + HELD_BEATS)
                self.reload(config(WORKERS, WORKERS))
        except Exception:
            self.truth.wrong(f"the director: {traceback.format_exc()}")

    def _undo(self, beat):
        due = [undo for at, undo in self._later if at <= beat]
        self._later = [(at, undo) for at, undo in self._later if at > beat]
        for undo in due:
            undo()

    def _each(self, verb, jobs, *words):
        """One request for each of the jobs, all in one write; what was answered."""
        replies = self.connection.ask_all([(verb, job.id, *words) for job in jobs])
        for job, reply in zip(jobs, replies):
            if isinstance(reply, Refused) and reply.code not in ("ALREADY", "ERR"):
                self.truth.wrong(f"{verb} {job.id} was answered {reply}")
        return replies

    # --- deeds ---

    def resize(self):
        self.reload(config(self.random.randint(1, 8), self.random.randint(0, 4), self.random.choice((0, 0, 500))))

    def reload(self, text):
        self.jobpool.write_config(text)
        if self.connection.ask("RELOAD") != b"OK":
            self.truth.wrong("RELOAD was refused")
        self.truth.count("reloads")

    def cancel(self):
        jobs = self.truth.choose(self.random)
        for job in jobs:
            job.asked += 1
        for job, reply in zip(jobs, self._each("CANCEL", jobs)):
            job.cancels += reply
            self.truth.count("cancelled", reply)

    def retry(self):
        jobs = self.truth.choose(self.random, from_ended=True)
        for job in jobs:
            job.asked += 1
        for job, reply in zip(jobs, self._each("RETRY", jobs)):
            job.retries += reply
            self.truth.count("retried", reply)

    def reprioritise(self):
        jobs = self.truth.choose(self.random)
        replies = self._each("UPDATE", jobs, "PRIORITY", self.random.randint(-100, 100))
        self.truth.count("priorities changed", replies.count(b"OK"))

    def hold(self):
        jobs = self.truth.choose(self.random)
        held = [job for job, reply in zip(jobs, self._each("HOLD", jobs)) if reply == 1]
        self.truth.count("held", len(held))
        self._later.append((self.beat + HELD_BEATS, lambda: self._each("RELEASE", held)))

    def pause(self):
        queue = self.random.choice(QUEUES)
        self.connection.ask("QUEUE", "PAUSE", queue)
        self.truth.count("pauses")
        self._later.append((self.beat + HELD_BEATS, lambda: self.connection.ask("QUEUE", "RESUME", queue)))

    def deliver(self):
        self._each("SIGNAL", self.truth.choose(self.random), "CONT")

    def join_in(self):
        with Connection(self.jobpool.socket) as other:
            other.ask("JOIN", self.random.choice(QUEUES), 5)
        self.truth.count("joins")

    def look(self):
        """What is shown at one instant agrees with itself."""
        for queue in self.connection.ask("QUEUES"):
            shown = dict(zip(queue[::2], queue[1::2]))
            parts = sum(shown[state] for state in (b"held", b"delayed", b"blocked", b"ready", b"running"))
            if parts != shown[b"unfinished"] or min(value for value in shown.values() if isinstance(value, int)) < 0:
                self.truth.wrong(f"QUEUES does not add up: {shown}")
        for words in (["POOLS"], ["WORKERS"], ["INFO"], ["LIST", "STATE", "running"], ["LIST", "ORDER", "desc", "COUNT", 20]):
            self.connection.ask(*words)
        for job in self.truth.choose(self.random, most=1):
            self.connection.ask("WHY", job.id)
        self.truth.count("looks")
