"""Messages that come too often, for nothing, or never: the row is the truth, so they change only when a job starts."""

from pathlib import Path

import pytest

from app.contract.job import JobStatus
from app.dispatch import Dispatcher
from app.settings import Settings
from tests.faults.conftest import MESSAGES_ONLY
from tests.support.training_jobs import TrainingJobs, traced
from tests.support.valkey import ValkeyServer
from tests.support.waiting import wait_until
from tests.support.workers import Workers

pytestmark = [pytest.mark.slow, pytest.mark.faults, pytest.mark.databases("postgresql")]

NUM_JOBS = 10


@pytest.fixture
def settings(settings: Settings, broker: ValkeyServer) -> Settings:
    return settings.model_copy(update={"broker_url": broker.url})


def test_repeated_messages_and_messages_without_a_job_start_each_job_once(
    training_jobs: TrainingJobs, workers: Workers, settings: Settings, broker: ValkeyServer, tmp_path: Path
) -> None:
    """6."""
    trace = tmp_path / "trace"
    dispatcher = Dispatcher(settings)
    ids = []
    for number in range(NUM_JOBS):
        ids.append(training_jobs.submit(steps=2, checkpoint_every=2, trace=trace, priority=number % 3))
        dispatcher.wake(["cpu"] * 3)
    for _ in range(2):
        workers.start(slots=2, **MESSAGES_ONLY)
    for job_id in ids:
        training_jobs.wait_for(job_id, JobStatus.SUCCEEDED, 60)
    dispatcher.wake(["cpu"] * 20)
    dispatcher.close()
    wait_until(lambda: broker.num_messages("cpu") == 0, 30, "the messages without a job are read")
    assert traced(trace) == {(what, job_id, 1): 1 for job_id in ids for what in ("start", "finish")}
    assert training_jobs.num_models() == len(ids)


def test_jobs_whose_messages_were_lost_are_found_by_polling(
    training_jobs: TrainingJobs, workers: Workers, settings: Settings, broker: ValkeyServer, tmp_path: Path
) -> None:
    """7."""
    trace = tmp_path / "trace"
    dispatcher = Dispatcher(settings)
    ids = []
    for number in range(2 * NUM_JOBS):
        ids.append(training_jobs.submit(steps=2, checkpoint_every=2, trace=trace))
        if number % 10 != 9:
            dispatcher.wake(["cpu"])
    dispatcher.close()
    with broker.connect() as connection:
        connection.lpop("cpu")  # and one is lost in the broker
    for _ in range(2):
        workers.start(slots=2)
    for job_id in ids:
        training_jobs.wait_for(job_id, JobStatus.SUCCEEDED, 60)
    assert traced(trace) == {(what, job_id, 1): 1 for job_id in ids for what in ("start", "finish")}
