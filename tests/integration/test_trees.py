"""All that a job started is gone when its outcome is told: P4, whatever the processes do to stay."""

import os
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
import harness  # noqa: E402

# One whose environment, directory and command line do not tell whose it is, is known by its odd time.
UNNAMED = f"1000.{os.getpid():07}"

# What a job leaves behind; `arrive` tells the story that it is there. The sleeps outlast every story.
LEFTOVERS = {
    "a child": "sleep 1000 & arrive",
    "a double-forked child": "(sleep 1000 & arrive) &\nwait",
    "a child in a session of its own": "setsid sh -c 'arrive; sleep 1000' & wait_arrived",
    "a daemon as daemons are made": "setsid sh -c '(arrive; exec sleep 1000 <&- >&- 2>&-) & exit' & wait_arrived",
    "children that ignore SIGTERM": "trap '' TERM HUP INT; sleep 1000 & sh -c 'arrive; while :; do sleep 1000; done' & wait_arrived",
    "a stopped child": "sleep 1000 & kill -STOP $! && arrive",
    "a chain of children": "sh -c 'sh -c \"sh -c \\\"arrive; sleep 1000; :\\\"; :\"; :' & wait_arrived",
    "one that forgot whose it is": f"env -i PATH=/bin:/usr/bin setsid sh -c 'cd /; exec sleep {UNNAMED}' & arrive",
}

# Processes that start processes as fast as they can, and start new ones for those that are killed, as long as there are
# tickets: 200 in all. Half of them lead sessions of their own, and all ignore what can be ignored.
FORK_BOMB = """
import os, signal, sys

for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
    signal.signal(number, signal.SIG_IGN)
tickets, seller = os.pipe()
os.write(seller, b"x" * 200)
os.set_blocking(tickets, False)
first = os.getpid()
while True:
    try:
        os.read(tickets, 1)
    except BlockingIOError:
        break
    if os.fork() == 0 and os.getpid() % 2:
        os.setsid()
    if os.getpid() == first and sys.argv[1:] == ["leave"]:
        os._exit(5)
print("all sold", flush=True)
while True:
    signal.pause()
"""


class Trees(harness.Story):
    def setUp(self):
        super().setUp()
        self.jobpool = self.daemon(options=["--workers", "2"])
        # As programs, so that every shell below a job can call them.
        self.tools = self.jobpool.root / "tools"
        self.tools.mkdir()
        self.arrived = self.tools / "arrived"
        self.tool("arrive", f'echo >>"{self.arrived}"')
        self.tool("wait_arrived", f'until test -s "{self.arrived}"; do sleep 0.01; done')

    def tool(self, name, text):
        file = self.tools / name
        file.write_text(f"#!/bin/sh\n{text}\n")
        file.chmod(0o755)

    def strays(self):
        return {**harness.strays(self.jobpool.root), **harness.processes_of(UNNAMED)}

    def submit(self, script, *options):
        self.arrived.unlink(missing_ok=True)
        return self.jobpool.submit(*options, "--", "sh", "-c", f'PATH="{self.tools}:$PATH"; export PATH; {script}')

    def test_what_a_job_leaves_behind_is_gone_when_its_outcome_is_told(self):
        for name, script in LEFTOVERS.items():
            with self.subTest(leftover=name):
                job = self.submit(f"{script}\nexit 7")
                self.jobpool.cli("wait", job, check=7)
                self.assertEqual(self.strays(), {})
                self.assertTrue(self.arrived.read_text())

    def test_what_a_timed_out_job_started_is_gone(self):
        for name, script in LEFTOVERS.items():
            with self.subTest(leftover=name):
                job = self.submit(f"{script}\nsleep 1001", "--timeout", "300ms", "--grace", "100ms")
                self.jobpool.cli("wait", job, check=124)
                self.assertEqual(self.strays(), {})

    def test_what_a_cancelled_job_started_is_gone(self):
        for name, script in LEFTOVERS.items():
            with self.subTest(leftover=name):
                gate = self.gate(self.jobpool, f"gate of {name}")
                job = self.submit(f"{script}\n{gate.command()[2]}", "--grace", "100ms")
                gate.wait_arrival()
                self.jobpool.cli("cancel", job)
                self.jobpool.cli("wait", job, check=123)
                self.assertEqual(self.strays(), {})

    def test_a_job_that_stopped_itself_is_ended_by_its_time_out(self):
        job = self.submit("kill -STOP $$", "--timeout", "200ms")
        self.jobpool.cli("wait", job, check=124)
        self.assertEqual(self.strays(), {})

    def test_a_stopped_job_is_continued_to_take_its_sigterm(self):
        # It answers at once, long before the grace ends.
        job = self.submit("trap 'echo took it; exit 1' TERM; kill -STOP $$", "--timeout", "200ms", "--grace", "1h")
        self.jobpool.cli("wait", job, check=124)
        self.assertEqual(self.jobpool.cli("log", job)[1], b"took it\n")

    def test_a_fork_bomb_is_gone_when_its_outcome_is_told(self):
        for _ in range(3):
            job = self.jobpool.submit("--", sys.executable, "-c", FORK_BOMB, "leave")
            self.jobpool.cli("wait", job, check=5)
            self.assertEqual(self.strays(), {})

    def test_a_fork_bomb_is_gone_after_its_time_out(self):
        job = self.jobpool.submit("--timeout", "1s", "--grace", "0s", "--", sys.executable, "-c", FORK_BOMB)
        self.jobpool.cli("wait", job, check=124)
        self.assertEqual(self.strays(), {})
        self.assertIn(b"all sold", self.jobpool.cli("log", job)[1])

    def test_the_other_job_is_not_touched(self):
        gate = self.gate(self.jobpool)
        other = self.jobpool.submit("--", *gate.command("sleep 0 & setsid sleep 1000 & other=$!", "kill -0 $other"))
        gate.wait_arrival()
        for script in LEFTOVERS.values():
            self.jobpool.cli("wait", self.submit(script))
        gate.open()
        self.jobpool.cli("wait", other)
        self.assertEqual(self.strays(), {})

    def test_a_holder_of_the_output_in_the_background_does_not_delay_the_end(self):
        _, out, _ = self.jobpool.cli("run", "--", "sh", "-c", "sleep 1000 & echo said", timeout=10)
        self.assertEqual(out, b"said\n")
        self.assertEqual(self.strays(), {})


if __name__ == "__main__":
    harness.main()
