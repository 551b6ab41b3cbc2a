"""An SQLite that another program holds up: clients wait, and hear of no lock."""

import sqlite3
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from app.contract.job import JobStatus
from app.settings import Settings
from tests.support.api_server import ApiServer, scripted_job, upload_vectors
from tests.support.training_jobs import TrainingJobs
from tests.support.workers import Workers

pytestmark = [pytest.mark.slow, pytest.mark.faults, pytest.mark.databases("sqlite")]

NUM_CLIENTS = 16
JOBS_EACH = 3
HELD_SECONDS = 6.0


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
