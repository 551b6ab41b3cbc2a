"""Workers that are killed, stopped in order and frozen: the job goes on elsewhere, and is done once."""

import signal
from pathlib import Path

import pytest

from app.contract.job import JobStatus
from tests.faults.conftest import LEASE_SECONDS, Measure
from tests.support.processes import children_of, exists
from tests.support.scripted_training import weights_after
from tests.support.training_jobs import TrainingJobs, traced_pids
from tests.support.waiting import wait_until
from tests.support.workers import Workers

pytestmark = [pytest.mark.slow, pytest.mark.faults]


def test_a_killed_worker_leaves_no_process_and_another_resumes_from_the_last_checkpoint(
    training_jobs: TrainingJobs, workers: Workers, tmp_path: Path, measure: Measure
) -> None:
    """1."""
    trace = tmp_path / "trace"
    job_id = training_jobs.submit(steps=8, checkpoint_every=2, spin_at=5, faulty_attempts=1, trace=trace)
    first = workers.start(lease_seconds=LEASE_SECONDS)
    training_jobs.wait_for_step(job_id, 5)
    workers.start()
    left = {*children_of(first.pid), *traced_pids(trace)}
    first.kill()
    with measure("a killed worker's job runs elsewhere (lease 3 s)"):
        wait_until(lambda: training_jobs.get(job_id).attempt == 2, 60, "another worker should take the job over")
    wait_until(lambda: not any(map(exists, left)), 30, "no training process outlives its worker")
    training_jobs.wait_for(job_id, JobStatus.SUCCEEDED)
    assert training_jobs.weights(job_id) == weights_after(8)
    assert training_jobs.outcomes(job_id) == ["lost", "succeeded"]
    steps = [event["step"] for event in training_jobs.events(job_id, "metrics")]
    assert steps == [1, 2, 3, 4, 5, 5, 6, 7, 8]


@pytest.mark.databases("postgresql")
def test_a_worker_told_to_end_gives_its_job_back_with_a_checkpoint_and_uncounted(
    training_jobs: TrainingJobs, workers: Workers, tmp_path: Path, measure: Measure
) -> None:
    """2."""
    trace = tmp_path / "trace"
    job_id = training_jobs.submit(steps=60, checkpoint_every=60, step_seconds=0.02, trace=trace)
    first = workers.start()
    training_jobs.wait_for_step(job_id, 3)
    with measure("a worker told to end has ended"):
        first.terminate()
        assert first.wait(30) == 0
    row = training_jobs.get(job_id)
    assert (row.status, row.lost_attempts) == (JobStatus.QUEUED, 0)
    assert not exists(traced_pids(trace)[0])
    workers.start()
    training_jobs.wait_for(job_id, JobStatus.SUCCEEDED)
    assert training_jobs.weights(job_id) == weights_after(60)
    assert training_jobs.outcomes(job_id) == ["preempted", "succeeded"]
    steps = [event["step"] for event in training_jobs.events(job_id, "metrics")]
    assert steps == list(range(1, 61)), "no step was lost and none repeated"


def test_a_worker_frozen_beyond_its_lease_finds_its_writes_refused_and_kills_its_process(
    training_jobs: TrainingJobs, workers: Workers, tmp_path: Path
) -> None:
    """5."""
    trace = tmp_path / "trace"
    job_id = training_jobs.submit(steps=30, checkpoint_every=10, hang_at=25, faulty_attempts=1, trace=trace)
    first = workers.start(lease_seconds=LEASE_SECONDS)
    training_jobs.wait_for_step(job_id, 25)
    first.send_signal(signal.SIGSTOP)
    workers.start()
    wait_until(lambda: training_jobs.get(job_id).attempt == 2, 60, "the second worker should take the job over")
    first.send_signal(signal.SIGCONT)
    wait_until(lambda: not exists(traced_pids(trace)[0]), 30, "the first worker should kill its process")
    training_jobs.wait_for(job_id, JobStatus.SUCCEEDED)
    assert training_jobs.outcomes(job_id) == ["lost", "succeeded"]
    assert training_jobs.weights(job_id) == weights_after(30)
    assert training_jobs.statuses(job_id) == ["running", "queued", "running", "succeeded"]
    assert first.poll() is None
