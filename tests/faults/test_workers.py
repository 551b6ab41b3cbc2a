"""Workers that are killed, stopped in order and frozen: the job goes on elsewhere, and is done once."""

import signal
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.orm import Session

from app.contract.job import JobStatus
from app.db import attempts, queue
from app.db import session as session_module
from app.db.session import DATABASE_AWAY, Database, now
from app.db.tables import JobRow
from app.settings import Settings
from tests.faults.conftest import LEASE_SECONDS, Measure
from tests.support.processes import children_of, exists
from tests.support.scripted_training import weights_after
from tests.support.training_jobs import TrainingJobs, traced, traced_pids
from tests.support.waiting import wait_until
from tests.support.workers import Workers

pytestmark = [pytest.mark.slow, pytest.mark.faults]

#: Of a worker that is to be frozen when it does nothing.
SELDOM: dict[str, Any] = {"heartbeat_seconds": 100.0, "stop_poll_seconds": 100.0, "housekeeping_seconds": 100.0}


def test_a_killed_worker_leaves_no_process_and_another_resumes_from_the_last_checkpoint(
    training_jobs: TrainingJobs, workers: Workers, tmp_path: Path, measure: Measure
) -> None:
    """1."""
    trace = tmp_path / "trace"
    job_id = training_jobs.submit(steps=8, checkpoint_every=2, spin_at=5, faulty_attempts=1, trace=trace)
    first = workers.start(lease_seconds=LEASE_SECONDS)
    training_jobs.wait_for_step(job_id, 5)
    training_jobs.wait_for_checkpoint(job_id, 4)
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


@pytest.mark.databases("postgresql")
def test_a_worker_frozen_beyond_its_lease_kills_its_process_when_it_wakes(
    training_jobs: TrainingJobs, workers: Workers, tmp_path: Path
) -> None:
    """5. Its own clock tells it."""
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


@pytest.mark.databases("postgresql")
def test_a_worker_that_lost_its_lease_unawares_finds_every_write_refused(
    training_jobs: TrainingJobs, workers: Workers, database: Database, tmp_path: Path
) -> None:
    """5. By its own clock the lease holds. Meanwhile its process has trained to the end, and all of that waits to be
    written when it wakes."""
    trace, go_on = tmp_path / "trace", tmp_path / "go-on"
    job_id = training_jobs.submit(
        steps=20, checkpoint_every=5, step_seconds=0.1, wait_at=7, wait_for=go_on, trace=trace
    )
    first = workers.start(lease_seconds=300.0, **SELDOM)
    training_jobs.wait_for_step(job_id, 7)
    training_jobs.wait_for_checkpoint(job_id, 5)
    first.send_signal(signal.SIGSTOP)
    go_on.touch()
    wait_until(lambda: ("finish", job_id, 1) in traced(trace), 60, "the process of the first worker ends")
    _end_lease(database, job_id)
    workers.start()
    wait_until(lambda: training_jobs.get(job_id).attempt == 2, 60, "the second worker should take the job over")
    first.send_signal(signal.SIGCONT)
    training_jobs.wait_for(job_id, JobStatus.SUCCEEDED)
    wait_until(lambda: "attempt_discarded" in workers.log(0).read_text(), 60, "the first worker gives its attempt up")
    assert first.poll() is None
    assert training_jobs.outcomes(job_id) == ["lost", "succeeded"]
    assert (training_jobs.weights(job_id), training_jobs.num_models()) == (weights_after(20), 1)
    steps = [event["step"] for event in training_jobs.events(job_id, "metrics")]
    assert steps == [*range(1, 8), *range(6, 21)]


@pytest.mark.databases("postgresql")
def test_who_falls_silent_in_a_transaction_does_not_keep_its_job(
    training_jobs: TrainingJobs, database: Database, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """5. Nobody could take over a row that stays locked."""
    monkeypatch.setattr(session_module, "IDLE_TRANSACTION_SECONDS", 1)
    silent = Database(settings.resolved_database_url)
    job_id = training_jobs.submit()
    with silent.transaction() as session:
        job = attempts.claim(session, owner="wrk_silent", devices=("auto",), lease_seconds=-1.0, room=None)
    assert job is not None
    with Session(silent.engine) as session:
        assert attempts.held(session, attempts.claim_of(job)) is not None
        wait_until(lambda: _requeued(database), 30, "the job is given back")
        with pytest.raises(DATABASE_AWAY):
            session.commit()
    silent.dispose()
    assert training_jobs.get(job_id).status == JobStatus.QUEUED


def _end_lease(database: Database, job_id: str) -> None:
    """What a beat that never arrived would have come to."""
    with database.transaction() as session:
        session.get_one(JobRow, job_id).lease_expires_at = now(session) - timedelta(seconds=1)


def _requeued(database: Database) -> bool:
    with database.transaction() as session:
        return bool(queue.requeue_expired(session, now(session), max_lost_attempts=3))
