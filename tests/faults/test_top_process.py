"""`pretune up` killed as a whole: nothing of it stays, and the next start is a clean one."""

from pathlib import Path

import pytest

from tests.e2e.running import running
from tests.e2e.specs import LONG, start_job, wait_for_checkpoint
from tests.faults.conftest import Measure
from tests.support.processes import exists
from tests.support.waiting import wait_until

#: Two starts of the whole service, real training.
pytestmark = [pytest.mark.slow, pytest.mark.faults, pytest.mark.timeout(400)]
SECONDS = 90


def test_kill_9_leaves_no_orphan_and_the_next_start_goes_on(tmp_path: Path, measure: Measure) -> None:
    """16."""
    data_dir = tmp_path / "data"
    with running(data_dir) as service, service.client() as client:
        job = start_job(client, tmp_path, **LONG)
        wait_for_checkpoint(job)
        everything = service.descendants()
        assert len(everything) >= 5  # four members, and the training process at least
        service.process.kill()
        with measure("all processes of a killed `pretune up` have gone"):
            wait_until(lambda: not any(exists(pid) for pid in everything), 30, "nothing is left")
        service.process.wait()
    with running(data_dir) as service, service.client() as client:
        wait_until(lambda: client.jobs.get(job.id).attempt == 2, SECONDS, "the job goes on")
        assert "again" not in service.output
