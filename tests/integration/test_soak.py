"""The short forms of `make soak` and `make soak-retention` (tests/soak)."""

import os
import pathlib
import secrets
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "soak"))
import harness  # noqa: E402
import retention  # noqa: E402
import soak  # noqa: E402


class Soak(harness.Story):
    def test_every_job_of_many_clients_is_accounted_for_whatever_is_done_to_it(self):
        seed = int(os.environ.get("JOBPOOL_SOAK_SEED") or secrets.randbelow(1_000_000))
        print(f"JOBPOOL_SOAK_SEED={seed}")
        soak.run(self.daemon(start=False), 2000, 16, seed)

    def test_finished_jobs_go_and_nothing_grows_with_their_number(self):
        retention.run(self.daemon(start=False), 10, 1000, least_kib=1000)


if __name__ == "__main__":
    harness.main()
