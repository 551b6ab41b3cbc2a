"""The api killed at the worst moment: what it has committed is done, and once."""

import httpx2
import pytest
from sqlalchemy import func, select

from app.contract.job import JobStatus
from app.db.session import Database
from app.db.tables import JobRow
from tests.support.api_server import ApiServer, scripted_job, upload_vectors
from tests.support.training_jobs import TrainingJobs
from tests.support.workers import Workers

pytestmark = [pytest.mark.slow, pytest.mark.faults, pytest.mark.databases("postgresql")]


def test_a_job_whose_api_died_between_commit_and_wake_up_runs_and_is_made_once(
    training_jobs: TrainingJobs, workers: Workers, api_server: ApiServer, database: Database
) -> None:
    """15. Whoever asks again with the same key gets the job that was made."""
    dying = api_server.start("tests.support.dying_api:app")
    api_server.wait_until_ready()
    with api_server.client() as http:
        spec = scripted_job(upload_vectors(http), steps=2, checkpoint_every=2, script={})
        with pytest.raises(httpx2.TransportError):
            http.post("/v1/jobs", json=spec, headers={"Idempotency-Key": "once"})
        dying.wait(30)
        workers.start()
        api_server.start()
        api_server.wait_until_ready()
        answer = http.post("/v1/jobs", json=spec, headers={"Idempotency-Key": "once"})
    assert (answer.status_code, answer.headers["Idempotency-Replayed"]) == (202, "true")
    training_jobs.wait_for(answer.json()["id"], JobStatus.SUCCEEDED)
    with database.reading() as session:
        assert session.scalar(select(func.count()).select_from(JobRow)) == 1
