"""A PostgreSQL that crashes: jobs go on, and none is lost or done twice."""

import pytest

from app.contract.job import JobStatus
from app.db.session import Database
from tests.support.postgres import PostgresServer
from tests.support.scripted_training import weights_after
from tests.support.training_jobs import TrainingJobs
from tests.support.workers import Workers

pytestmark = [pytest.mark.slow, pytest.mark.faults]


@pytest.fixture
def database(crashing_database: Database) -> Database:
    return crashing_database


def test_two_crashes_lose_no_job_and_start_none_twice(
    training_jobs: TrainingJobs, workers: Workers, crashing_postgres: PostgresServer
) -> None:
    """17. No overlap: that is among the invariants."""
    ids = [training_jobs.submit(steps=60, checkpoint_every=10, step_seconds=0.02) for _ in range(6)]
    for _ in range(2):
        workers.start(slots=2, lease_seconds=10.0)
    for job_id in (ids[0], ids[-1]):
        training_jobs.wait_for_step(job_id, 20)
        crashing_postgres.crash()
        crashing_postgres.start()
    for job_id in ids:
        training_jobs.wait_for(job_id, JobStatus.SUCCEEDED, 90)
        assert training_jobs.weights(job_id) == weights_after(60)
        told = {event["step"] for event in training_jobs.events(job_id, "metrics")}
        assert told == set(range(1, 61))
