"""A broker that is killed, wiped, frozen and long away: it only ever wakes somebody, so nothing is lost with it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from app.contract.job import JobStatus
from app.dispatch import Dispatcher
from app.settings import Settings
from tests.faults.conftest import MESSAGES_ONLY, Measure
from tests.support.api_server import ApiServer, scripted_job, upload_vectors
from tests.support.scripted_training import weights_after
from tests.support.training_jobs import TrainingJobs, traced
from tests.support.valkey import ValkeyServer
from tests.support.waiting import wait_until
from tests.support.workers import Workers

pytestmark = [pytest.mark.slow, pytest.mark.faults, pytest.mark.databases("postgresql")]

#: Celery's own bound, after which a worker would end: some 46 minutes of a broker's absence.
DEFAULT_MAX_RETRIES = 100


@pytest.fixture
def settings(settings: Settings, broker: ValkeyServer) -> Settings:
    return settings.model_copy(update={"broker_url": broker.url})


@pytest.fixture
def dispatcher(settings: Settings) -> Iterator[Dispatcher]:
    dispatcher = Dispatcher(settings)
    yield dispatcher
    dispatcher.close()


def test_a_killed_broker_disturbs_no_run_and_loses_no_job(
    training_jobs: TrainingJobs, workers: Workers, dispatcher: Dispatcher, broker: ValkeyServer, tmp_path: Path
) -> None:
    """8."""
    trace = tmp_path / "trace"
    running = training_jobs.submit(steps=100, checkpoint_every=50, step_seconds=0.02, trace=trace)
    workers.start()
    training_jobs.wait_for_step(running, 10)
    queued = [training_jobs.submit(trace=trace) for _ in range(2)]
    dispatcher.wake(["cpu"] * 2)
    broker.kill()
    queued.append(training_jobs.submit(trace=trace))
    dispatcher.wake(["cpu"])
    training_jobs.wait_for(running, JobStatus.SUCCEEDED)
    broker.start()
    for job_id in (running, *queued):
        training_jobs.wait_for(job_id, JobStatus.SUCCEEDED)
    assert training_jobs.weights(running) == weights_after(100)
    assert traced(trace) == {(what, job_id, 1): 1 for job_id in (running, *queued) for what in ("start", "finish")}


def test_a_wiped_broker_takes_no_job_with_it(
    training_jobs: TrainingJobs, workers: Workers, dispatcher: Dispatcher, broker: ValkeyServer
) -> None:
    """9. Its messages are gone with its data; the rows are not."""
    ids = [training_jobs.submit(steps=2) for _ in range(4)]
    dispatcher.wake(["cpu"] * 4)
    wait_until(lambda: broker.num_messages("cpu") == 4, 30, "the messages are with the broker")
    broker.kill()
    broker.wipe()
    broker.start()
    assert broker.num_messages("cpu") == 0
    workers.start()
    for job_id in ids:
        training_jobs.wait_for(job_id, JobStatus.SUCCEEDED)


def test_jobs_are_accepted_while_the_broker_is_frozen(
    training_jobs: TrainingJobs, workers: Workers, api_server: ApiServer, broker: ValkeyServer, measure: Measure
) -> None:
    """10. Each answer that waited for the broker would take its timeout of 2 s; the whole takes less than that."""
    api_server.start()
    api_server.wait_until_ready()
    workers.start()
    with api_server.client() as http:
        spec = scripted_job(upload_vectors(http), steps=2, checkpoint_every=2, script={})
        broker.freeze()
        with measure("20 jobs are accepted while the broker is frozen"):
            answers = [http.post("/v1/jobs", json=spec) for _ in range(20)]
    assert [answer.status_code for answer in answers] == [202] * 20
    assert sum(answer.elapsed.total_seconds() for answer in answers) < 20 * 2.0 / 2
    for answer in answers:
        training_jobs.wait_for(answer.json()["id"], JobStatus.SUCCEEDED, 90)
    broker.thaw()


def test_a_worker_outlives_a_broker_that_is_long_away_and_hears_it_again(
    training_jobs: TrainingJobs, workers: Workers, dispatcher: Dispatcher, broker: ValkeyServer
) -> None:
    """11. More tries than Celery would make by itself, and then a message, which alone can start the job."""
    worker = workers.start("tests.support.impatient_trainer", **MESSAGES_ONLY)
    workers.wait_until_live()
    first = training_jobs.submit()
    dispatcher.wake(["cpu"])
    training_jobs.wait_for(first, JobStatus.SUCCEEDED)
    broker.kill()
    log = workers.log(0)
    wait_until(lambda: log.read_text().count("Trying again") > DEFAULT_MAX_RETRIES, 60, "the worker tries on and on")
    assert worker.poll() is None
    broker.start()
    second = training_jobs.submit()
    dispatcher.wake(["cpu"] * 2)  # the first may meet the connection of the broker that died
    training_jobs.wait_for(second, JobStatus.SUCCEEDED)
