"""Training processes that crash, hang and refuse to end; each job comes to the one right end, and alone."""

import os
import signal
from pathlib import Path
from typing import Any

import pytest

from app.contract.job import JobStatus
from app.settings import GIB
from tests.faults.conftest import Measure, StartTrainer
from tests.support.api_server import VECTORS
from tests.support.processes import exists
from tests.support.scripted_training import weights_after
from tests.support.training_jobs import TrainingJobs, traced, traced_pids
from tests.support.waiting import wait_until
from worker.supervisor.child import TRAINING_COMMAND

#: What ends a process is no matter of the database.
pytestmark = [pytest.mark.slow, pytest.mark.faults, pytest.mark.databases("postgresql")]


def test_a_killed_process_is_noticed_at_once_and_retried_from_its_last_checkpoint(
    training_jobs: TrainingJobs, start_trainer: StartTrainer, tmp_path: Path, measure: Measure
) -> None:
    """3. Noticed by its end, and not by a lease or a stall, which would take half a minute and half an hour."""
    trace = tmp_path / "trace"
    job_id = training_jobs.submit(steps=8, checkpoint_every=2, hang_at=5, faulty_attempts=1, trace=trace)
    start_trainer()
    training_jobs.wait_for_step(job_id, 5)
    os.kill(traced_pids(trace)[0], signal.SIGKILL)
    with measure("a killed training process has been noticed"):
        wait_until(lambda: training_jobs.outcomes(job_id)[0], 30, "its death is noticed")
    row = training_jobs.wait_for(job_id, JobStatus.SUCCEEDED)
    assert training_jobs.weights(job_id) == weights_after(8)
    assert training_jobs.attempts(job_id)[0] == ("lost", "the training process was killed by SIGKILL")
    assert training_jobs.outcomes(job_id) == ["lost", "succeeded"]
    assert row.lost_attempts == 1
    steps = [event["step"] for event in training_jobs.events(job_id, "metrics")]
    assert steps == [1, 2, 3, 4, 5, 5, 6, 7, 8]


@pytest.mark.parametrize("fault", ["kill_at", "exit_at", "garbage_at", "orphan_at"])
def test_a_process_that_is_lost_every_time_fails_after_the_cap(
    training_jobs: TrainingJobs, start_trainer: StartTrainer, tmp_path: Path, fault: str
) -> None:
    """4. An orphan inherits the pipe that we read, and outlives its parent: the attempt must end all the same."""
    script: dict[str, Any] = {fault: 1} | ({"kill_at": 1} if fault == "orphan_at" else {})
    job_id = training_jobs.submit(trace=tmp_path / "trace", **script)
    start_trainer(max_lost_attempts=2)
    row = training_jobs.wait_for(job_id, JobStatus.FAILED)
    assert row.error is not None
    assert (row.error["code"], row.error["fault"]) == ("lost", "infrastructure")
    assert training_jobs.outcomes(job_id) == ["lost", "lost"]
    starts = {start: count for start, count in traced(tmp_path / "trace").items() if start[0] == "start"}
    assert starts == {("start", job_id, 1): 1, ("start", job_id, 2): 1}


@pytest.mark.parametrize("script", [{"spin_at": 3}, {"deaf": True, "hang_at": 3}, {"hang_at": 3}])
def test_a_cancel_stops_what_does_not_listen(
    training_jobs: TrainingJobs, start_trainer: StartTrainer, tmp_path: Path, script: dict[str, Any], measure: Measure
) -> None:
    """12. A loop in C that holds the interpreter's lock, a process deaf to SIGTERM, one that sleeps."""
    trace = tmp_path / "trace"
    job_id = training_jobs.submit(checkpoint_every=2, trace=trace, **script)
    start_trainer()
    training_jobs.wait_for_step(job_id, 3)
    with measure("a cancelled job that does not listen has ended"):
        training_jobs.request_stop(job_id, "cancel")
        row = training_jobs.wait_for(job_id, JobStatus.CANCELLED)
    assert (training_jobs.outcomes(job_id), row.error, row.model_id) == (["cancelled"], None, None)
    assert [row.step for row in training_jobs.checkpoints(job_id)] == [2]
    assert not any(map(exists, traced_pids(trace)))


def test_a_process_beyond_its_memory_fails_alone_and_tells_so(
    training_jobs: TrainingJobs, start_trainer: StartTrainer
) -> None:
    """21. Real training, whose addresses are limited to less than the weights of one of two jobs."""
    large, small = (
        training_jobs.submit_spec(
            {
                "kind": "pretrain",
                "dataset": training_jobs.dataset(VECTORS.encode()),
                "method": {"type": "autoencoder", "architecture": {"type": "mlp", "hidden_widths": widths}},
                "training": {"duration": {"steps": 3}, "batch_size": 4, "compile": False},
            }
        )
        for widths in ((60_000, 60_000), (4,))
    )
    start_trainer(TRAINING_COMMAND, slots=2, training_memory_bytes=8 * GIB)
    row = training_jobs.wait_for(large, JobStatus.FAILED)
    assert row.error is not None
    assert (row.error["code"], row.error["fault"]) == ("out_of_memory", "user")
    training_jobs.wait_for(small, JobStatus.SUCCEEDED)
    assert training_jobs.outcomes(small) == ["succeeded"]


def test_a_silent_process_is_stalled(training_jobs: TrainingJobs, start_trainer: StartTrainer) -> None:
    """22."""
    job_id = training_jobs.submit(hang_at=3)
    start_trainer(stall_seconds=0.5)
    row = training_jobs.wait_for(job_id, JobStatus.FAILED)
    assert row.error is not None
    assert (row.error["code"], row.error["fault"]) == ("stalled", "infrastructure")
