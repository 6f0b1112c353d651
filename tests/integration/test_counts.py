"""What is counted stays true when requests cross each other and when the daemon is stopped; time-outs hold when it is away."""

import pathlib
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
import harness  # noqa: E402


class Counts(harness.Story):
    def setUp(self):
        super().setUp()
        self.jobpool = self.daemon(options=["--workers", "2"])

    def queue(self):
        return self.jobpool.json("queue", "default")

    def test_a_retry_that_meets_a_removal_leaves_the_totals_as_they_were(self):
        client = self.jobpool.client()
        for _ in range(20):
            job = int(self.jobpool.submit("true"))
            self.jobpool.cli("wait", job)
            before = self.queue()
            pipeline = client.pipeline(transaction=False)
            # Both look at the job before either changes it.
            pipeline.execute_command("REMOVE", job)
            pipeline.execute_command("RETRY", job)
            pipeline.execute()
            self.jobpool.cli("join")
            after = self.queue()
            self.assertEqual(after["succeeded"], before["succeeded"])
            self.assertEqual(after["unfinished"], 0)

    def test_a_stop_waits_for_the_last_words_of_every_worker(self):
        for _ in range(5):
            for _ in range(2):
                self.jobpool.submit("sleep", "60")
            harness.wait_for(lambda: self.queue()["running"] == 2)
            self.jobpool.stop_kill()
            self.assertEqual(list((self.jobpool.state_dir / "workers").iterdir()), [])
            self.jobpool.start()

    def test_a_time_out_holds_while_the_daemon_is_away(self):
        job = self.jobpool.submit("--hold", "true")
        for verb, code in (["wait", job], 122), (["join"], 6):
            with self.jobpool.popen(*verb, "--timeout", "2s") as waiting:
                harness.wait_for(lambda: self.jobpool.client().info()["blocked_clients"] == 1)
                self.jobpool.kill()
                begin = time.monotonic()
                self.assertEqual(waiting.wait(harness.DEADLINE), code)
                self.assertLess(time.monotonic() - begin, 10)
            self.jobpool.start()
        self.jobpool.cli("cancel", job)

    def test_a_pool_can_be_reset_by_its_name(self):
        self.jobpool.cli("pools", "reset", "default")
        self.jobpool.cli("pools", "reset", "none", check=3)
        self.jobpool.cli("pools", "reset", check=2)
        self.jobpool.cli("pools", "anything", check=2)


if __name__ == "__main__":
    harness.main()
