"""Cancels that meet a job in the wrong moment: exactly one end, told once."""

import threading
import time
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from app.contract.errors import Conflict
from app.contract.job import TERMINAL, AttemptOutcome, JobStatus
from app.db import attempts
from app.db.session import Database, now
from app.db.tables import DEFAULT_PROJECT_ID, AttemptRow
from app.dispatch import Dispatcher
from app.services.jobs import Jobs
from app.settings import Settings
from tests.factories import make_job
from tests.faults.conftest import StartTrainer
from tests.support.training_jobs import TrainingJobs, traced
from tests.support.waiting import wait_until
from tests.support.workers import Workers

pytestmark = [pytest.mark.slow, pytest.mark.faults]

RACES = 200


def test_a_cancel_that_races_a_finish_leaves_exactly_one_end(
    training_jobs: TrainingJobs, database: Database, settings: Settings
) -> None:
    """13. Two threads that start together, again and again."""
    dispatcher = Dispatcher(settings)
    jobs = Jobs(database, dispatcher, settings)
    spec = {"kind": "pretrain", "dataset": training_jobs.dataset_id, "method": {"type": "autoencoder"}}
    ends = {_race_once(jobs, training_jobs, spec) for _ in range(RACES)}
    dispatcher.close()
    assert ends <= {JobStatus.SUCCEEDED, JobStatus.CANCELLED}


def _race_once(jobs: Jobs, training_jobs: TrainingJobs, spec: dict[str, Any]) -> JobStatus:
    database = jobs.database
    job = make_job(database, status=JobStatus.RUNNING, lease_owner="wrk_a", attempt=1, spec=spec)
    with database.transaction() as session:
        session.add(AttemptRow(job_id=job.id, number=1, worker_id="wrk_a", started_at=job.created_at))
    ready = threading.Barrier(2)

    def finish() -> None:
        ready.wait()
        with database.transaction() as session:
            row = attempts.held(session, attempts.claim_of(job))
            assert row is not None, "nobody else may end an attempt that is held"
            attempts.conclude(session, row, AttemptOutcome.SUCCEEDED, at=now(session), max_lost_attempts=3)

    finisher = threading.Thread(target=finish)
    finisher.start()
    ready.wait()
    try:
        told = jobs.cancel(DEFAULT_PROJECT_ID, job.id).status
    except Conflict:
        told = JobStatus.SUCCEEDED
    finisher.join()
    ended = jobs.get(DEFAULT_PROJECT_ID, job.id).status
    assert [status for status in training_jobs.statuses(job.id) if status in TERMINAL] == [ended]
    assert ended is (JobStatus.SUCCEEDED if told is JobStatus.SUCCEEDED else JobStatus.CANCELLED)
    return ended


@pytest.mark.databases("postgresql")
def test_a_cancel_that_races_the_end_of_a_real_process_leaves_one_end_and_its_model_or_none(
    training_jobs: TrainingJobs, start_trainer: StartTrainer
) -> None:
    """13. The whole way: process, pipe, checkpoint, model."""
    ids = [training_jobs.submit(steps=3, checkpoint_every=3, step_seconds=0.01) for _ in range(12)]
    start_trainer(slots=2)
    for number, job_id in enumerate(ids):
        wait_until(partial(training_jobs.attempts, job_id), 60, "it should start")
        time.sleep(number * 0.004)
        _try_to_cancel(training_jobs, job_id)
    for job_id in ids:
        wait_until(partial(_end_of, training_jobs, job_id), 60, "it should end")
        told = training_jobs.statuses(job_id)
        assert told in (["running", "succeeded"], ["running", "cancelling", "cancelled"])
        assert (training_jobs.get(job_id).model_id is not None) == (told[-1] == "succeeded")
    assert training_jobs.num_models() == [training_jobs.get(job_id).status for job_id in ids].count("succeeded")


def _try_to_cancel(training_jobs: TrainingJobs, job_id: str) -> None:
    try:
        training_jobs.request_stop(job_id, "cancel")
    except AssertionError:  # it has ended already
        pass


@pytest.mark.databases("sqlite")
def test_a_job_cancelled_while_no_worker_lives_never_starts(
    training_jobs: TrainingJobs, workers: Workers, settings: Settings, tmp_path: Path
) -> None:
    """14."""
    trace = tmp_path / "trace"
    cancelled, other = training_jobs.submit(trace=trace, priority=9), training_jobs.submit(trace=trace)
    dispatcher = Dispatcher(settings)
    dispatcher.wake(["cpu"] * 2)
    training_jobs.cancel_queued(cancelled)
    workers.start()
    training_jobs.wait_for(other, JobStatus.SUCCEEDED)
    dispatcher.close()
    assert traced(trace) == {("start", other, 1): 1, ("finish", other, 1): 1}
    assert training_jobs.get(cancelled).status == JobStatus.CANCELLED


def _end_of(training_jobs: TrainingJobs, job_id: str) -> datetime | None:
    return training_jobs.get(job_id).finished_at
