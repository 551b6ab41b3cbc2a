"""Trainers as they are deployed: real Celery workers, with and without a broker. Their deaths are in tests/faults."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.contract.job import JobStatus
from app.dispatch import Dispatcher
from app.settings import Settings
from tests.support.training_jobs import TrainingJobs
from tests.support.workers import Workers

#: Starting a worker costs a second of CPU, and which database it has is no matter here.
pytestmark = pytest.mark.databases("sqlite")


@pytest.fixture
def workers(trainer_settings: Settings, tmp_path: Path) -> Iterator[Workers]:
    workers = Workers(trainer_settings, tmp_path)
    yield workers
    workers.kill_all()


def test_without_a_broker_a_worker_starts_polls_and_ends(
    training_jobs: TrainingJobs, workers: Workers, trainer_settings: Settings, tmp_path: Path
) -> None:
    away = f"redis+socket://{tmp_path}/no-broker.sock"
    worker = workers.start(broker_url=away)
    dispatcher = Dispatcher(trainer_settings.model_copy(update={"broker_url": away}))
    job_id = training_jobs.submit()
    told_at = time.monotonic()
    dispatcher.wake(["cpu"])
    assert time.monotonic() - told_at < 2.0
    training_jobs.wait_for(job_id, JobStatus.SUCCEEDED)
    dispatcher.close()
    worker.terminate()
    assert worker.wait(10) == 0


def test_a_wake_up_starts_a_job_long_before_the_poll_would(
    training_jobs: TrainingJobs, workers: Workers, trainer_settings: Settings
) -> None:
    workers.start(idle_poll_seconds=60.0)
    workers.wait_until_live()
    job_id = training_jobs.submit()
    dispatcher = Dispatcher(trainer_settings)
    for _ in range(3):
        dispatcher.wake(["cpu"])
    training_jobs.wait_for(job_id, JobStatus.SUCCEEDED)
    dispatcher.close()
    assert training_jobs.outcomes(job_id) == ["succeeded"]
