"""Everything fails at random, round after round, under load; after each round everything is as it should be.

`make soak` runs 30 rounds. SOAK_ROUNDS and SOAK_SEED say otherwise; round 7 of seed 42 alone is SOAK_SEED=42
SOAK_FIRST=7 SOAK_ROUNDS=1.
"""

import os
import secrets

import pytest

from app.contract.job import TERMINAL, JobStatus
from app.db.session import Database
from app.settings import Settings
from app.storage import FolderStore
from tests.faults.conftest import LEASE_SECONDS
from tests.support.api_server import ApiServer, upload_vectors
from tests.support.invariants import wait_for_invariants
from tests.support.load import Asked
from tests.support.postgres import PostgresServer
from tests.support.scripted_training import weights_after
from tests.support.soak import Round, Service
from tests.support.training_jobs import TrainingJobs
from tests.support.valkey import ValkeyServer
from tests.support.waiting import wait_until
from tests.support.workers import Workers

ROUNDS = int(os.environ.get("SOAK_ROUNDS", "3"))
FIRST = int(os.environ.get("SOAK_FIRST", "0"))
SEED = int(os.environ.get("SOAK_SEED", secrets.randbelow(1_000_000)))
ROUND_SECONDS = 120

pytestmark = [pytest.mark.slow, pytest.mark.faults, pytest.mark.timeout(60 + ROUND_SECONDS * ROUNDS)]


@pytest.fixture
def database(crashing_database: Database) -> Database:
    return crashing_database


@pytest.fixture
def settings(settings: Settings, broker: ValkeyServer) -> Settings:
    """The faults are meant, and many: no job may end because of their number."""
    changes = {"broker_url": broker.url, "lease_seconds": LEASE_SECONDS, "max_lost_attempts": 1_000}
    return settings.model_copy(update=changes)


@pytest.fixture
def service(
    api_server: ApiServer, workers: Workers, broker: ValkeyServer, crashing_postgres: PostgresServer
) -> Service:
    service = Service(api_server, workers, broker, crashing_postgres)
    service.start()
    return service


def test_whatever_fails_together_every_job_that_was_accepted_comes_to_its_one_right_end(
    service: Service, training_jobs: TrainingJobs, database: Database, store: FolderStore
) -> None:
    """29."""
    with service.api.client() as http:
        dataset_id = upload_vectors(http)
    asked: list[Asked] = []
    for number in range(FIRST, FIRST + ROUNDS):
        this = Round.of(f"seed-{SEED}-round-{number}")
        print(this, flush=True)  # noqa: T201  shown by `make soak`, and where the test fails
        accepted = this.run(service, dataset_id)
        for job in accepted:
            _check(training_jobs, job)
        wait_for_invariants(database, store)
        asked += accepted
        assert training_jobs.ids() == {job.job_id for job in asked}, "a job was lost, or made twice"
    print(f"{len(asked)} jobs in {ROUNDS} rounds")  # noqa: T201


def _check(training_jobs: TrainingJobs, job: Asked) -> None:
    status = wait_until(lambda: _end(training_jobs, job.job_id), ROUND_SECONDS / 2, f"{job.job_id} ends")
    if status == JobStatus.SUCCEEDED:
        assert training_jobs.weights(job.job_id) == weights_after(job.steps)
        told = {event["step"] for event in training_jobs.events(job.job_id, "metrics")}
        assert told == set(range(1, job.steps + 1))
    else:
        assert job.cancelled, f"{job.job_id} is {status}: {training_jobs.get(job.job_id).error}"


def _end(training_jobs: TrainingJobs, job_id: str) -> str | None:
    status = training_jobs.get(job_id).status
    return status if status in TERMINAL else None
