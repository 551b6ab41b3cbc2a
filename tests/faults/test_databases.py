"""A PostgreSQL that crashes and an SQLite that is held up: jobs go on, and clients hear no error of ours."""

import sqlite3
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from app.contract.job import JobStatus
from app.db.session import Database
from app.settings import Settings
from tests.support.api_server import ApiServer, scripted_job, upload_vectors
from tests.support.postgres import TEMPLATE, PostgresServer, postgres_server
from tests.support.scripted_training import weights_after
from tests.support.training_jobs import TrainingJobs
from tests.support.workers import Workers

pytestmark = [pytest.mark.slow, pytest.mark.faults]

NUM_CLIENTS = 16
JOBS_EACH = 3
HELD_SECONDS = 6.0


class TestPostgresThatCrashes:
    @pytest.fixture
    def server(self) -> Iterator[PostgresServer]:
        with (
            tempfile.TemporaryDirectory(prefix="pretune-postgres-") as folder,
            postgres_server(Path(folder), crashes=True) as server,
        ):
            yield server

    @pytest.fixture
    def database(self, server: PostgresServer) -> Iterator[Database]:
        with server.new_database(TEMPLATE) as url:
            database = Database(url.replace("postgresql://", "postgresql+psycopg://", 1))
            yield database
            database.dispose()

    def test_two_crashes_lose_no_job_and_start_none_twice(
        self, training_jobs: TrainingJobs, workers: Workers, server: PostgresServer
    ) -> None:
        """17. No overlap: that is among the invariants."""
        ids = [training_jobs.submit(steps=100, checkpoint_every=10, step_seconds=0.02) for _ in range(8)]
        for _ in range(2):
            workers.start(slots=2, lease_seconds=10.0)
        for job_id in (ids[0], ids[3]):
            training_jobs.wait_for_step(job_id, 20)
            server.crash()
            server.start()
        for job_id in ids:
            training_jobs.wait_for(job_id, JobStatus.SUCCEEDED, 90)
            assert training_jobs.weights(job_id) == weights_after(100)
            told = {event["step"] for event in training_jobs.events(job_id, "metrics")}
            assert told == set(range(1, 101))


@pytest.mark.databases("sqlite")
def test_many_clients_and_a_slow_writer_meet_no_locked_database(
    training_jobs: TrainingJobs, workers: Workers, api_server: ApiServer, settings: Settings
) -> None:
    """18. Another program writes for 6 s, while 16 clients post jobs and a job trains."""
    workers.start()
    api_server.start()
    api_server.wait_until_ready()
    with api_server.client() as http:
        dataset_id = upload_vectors(http)
    training = training_jobs.submit(steps=100, checkpoint_every=10, step_seconds=0.05)
    training_jobs.wait_for_step(training, 5)
    spec = scripted_job(dataset_id, steps=1, checkpoint_every=1, script={})
    held = threading.Event()

    def post_all() -> list[int]:
        held.wait()
        with api_server.client() as http:
            return [http.post("/v1/jobs", json=spec).status_code for _ in range(JOBS_EACH)]

    with ThreadPoolExecutor(NUM_CLIENTS) as pool:
        posts = [pool.submit(post_all) for _ in range(NUM_CLIENTS)]
        _hold(settings.resolved_database_url.removeprefix("sqlite:///"), held)
        assert [post.result() for post in posts] == [[202] * JOBS_EACH] * NUM_CLIENTS
    training_jobs.wait_for(training, JobStatus.SUCCEEDED)
    assert training_jobs.outcomes(training) == ["succeeded"]


def _hold(path: str, held: threading.Event) -> None:
    connection = sqlite3.connect(path, isolation_level=None, timeout=30)
    connection.execute("BEGIN IMMEDIATE")
    held.set()
    time.sleep(HELD_SECONDS)  # the fault itself
    connection.execute("COMMIT")
    connection.close()
