"""Trainers as they are deployed: real Celery workers, killed, stopped and frozen, with a broker that comes and goes."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from app.contract.job import JobStatus
from app.db import workers
from app.db.session import Database, now
from app.dispatch import Dispatcher
from app.settings import Settings
from tests.support.processes import exists
from tests.support.scripted_training import weights_after
from tests.support.training_jobs import TrainingJobs, traced, traced_pids
from tests.support.waiting import wait_until

StartWorker = Callable[..., "subprocess.Popen[bytes]"]
COMMAND = (sys.executable, "-m", "celery", "-A", "tests.support.scripted_trainer", "worker")
OPTIONS = ("--without-gossip", "--without-mingle", "--loglevel", "INFO")

#: Of a worker that is to lose its job; long enough for a machine that stands still for a while.
SHORT_LEASE = 6.0

#: What is about the broker is tried with one database: starting a worker costs a second of CPU.
ONE_DATABASE = pytest.mark.databases("sqlite")


@pytest.fixture
def start_worker(trainer_settings: Settings, tmp_path: Path) -> Iterator[StartWorker]:
    started: list[subprocess.Popen[bytes]] = []

    def start(**changes: object) -> "subprocess.Popen[bytes]":
        settings = trainer_settings.model_copy(update=changes)
        names = settings.model_fields_set | set(changes)
        environment = {f"PRETUNE_{name.upper()}": str(getattr(settings, name)) for name in names}
        with (tmp_path / f"worker-{len(started)}.log").open("wb") as log:
            process = subprocess.Popen(
                (*COMMAND, "--hostname", f"trainer-{len(started)}-{os.getpid()}@localhost", *OPTIONS),
                env=dict(os.environ) | environment,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()


def test_sigterm_gives_the_job_back_at_once_and_another_worker_finishes_it(
    training_jobs: TrainingJobs, start_worker: StartWorker, tmp_path: Path
) -> None:
    trace = tmp_path / "trace"
    job_id = training_jobs.submit(steps=60, checkpoint_every=60, step_seconds=0.02, trace=trace)
    first = start_worker()
    training_jobs.wait_for_step(job_id, 3)
    first.terminate()
    assert first.wait(30) == 0
    row = training_jobs.get(job_id)
    assert (row.status, row.lost_attempts) == (JobStatus.QUEUED, 0)
    assert not exists(traced_pids(trace)[0])
    start_worker()
    training_jobs.wait_for(job_id, JobStatus.SUCCEEDED)
    assert training_jobs.weights(job_id) == weights_after(60)
    assert training_jobs.outcomes(job_id) == ["preempted", "succeeded"]


def test_sigkill_leaves_no_process_and_another_worker_resumes_when_the_lease_has_run_out(
    training_jobs: TrainingJobs, start_worker: StartWorker, tmp_path: Path
) -> None:
    trace = tmp_path / "trace"
    job_id = training_jobs.submit(steps=8, checkpoint_every=2, spin_at=5, faulty_attempts=1, trace=trace)
    first = start_worker(lease_seconds=SHORT_LEASE)
    training_jobs.wait_for_step(job_id, 5)
    start_worker()
    spares = _training_processes_of(first.pid)
    first.kill()
    left = {*spares, *traced_pids(trace)}
    wait_until(lambda: not any(map(exists, left)), 30.0, "no training process outlives its worker")
    training_jobs.wait_for(job_id, JobStatus.SUCCEEDED)
    assert training_jobs.weights(job_id) == weights_after(8)
    assert training_jobs.outcomes(job_id) == ["lost", "succeeded"]
    steps = [event["step"] for event in training_jobs.events(job_id, "metrics")]
    assert steps == [1, 2, 3, 4, 5, 5, 6, 7, 8]


def test_a_worker_frozen_beyond_its_lease_finds_its_writes_refused(
    training_jobs: TrainingJobs, start_worker: StartWorker, tmp_path: Path
) -> None:
    trace = tmp_path / "trace"
    job_id = training_jobs.submit(steps=30, checkpoint_every=10, hang_at=25, faulty_attempts=1, trace=trace)
    first = start_worker(lease_seconds=SHORT_LEASE)
    training_jobs.wait_for_step(job_id, 25)
    first.send_signal(signal.SIGSTOP)
    start_worker()
    wait_until(lambda: training_jobs.get(job_id).attempt == 2, 60, "the second worker should take the job over")
    first.send_signal(signal.SIGCONT)
    wait_until(lambda: not exists(traced_pids(trace)[0]), 30.0, "the first worker should kill its process")
    training_jobs.wait_for(job_id, JobStatus.SUCCEEDED)
    assert training_jobs.outcomes(job_id) == ["lost", "succeeded"]
    assert training_jobs.weights(job_id) == weights_after(30)
    assert training_jobs.statuses(job_id) == ["running", "queued", "running", "succeeded"]
    assert first.poll() is None


@ONE_DATABASE
def test_without_a_broker_a_worker_starts_polls_and_ends(
    training_jobs: TrainingJobs, start_worker: StartWorker, trainer_settings: Settings, tmp_path: Path
) -> None:
    away = f"redis+socket://{tmp_path}/no-broker.sock"
    worker = start_worker(broker_url=away)
    dispatcher = Dispatcher(trainer_settings.model_copy(update={"broker_url": away}))
    job_id = training_jobs.submit()
    told_at = time.monotonic()
    dispatcher.wake(["cpu"])
    assert time.monotonic() - told_at < 2.0
    training_jobs.wait_for(job_id, JobStatus.SUCCEEDED)
    dispatcher.close()
    worker.terminate()
    assert worker.wait(10) == 0


@ONE_DATABASE
def test_a_wake_up_starts_a_job_long_before_the_poll_would(
    training_jobs: TrainingJobs, start_worker: StartWorker, database: Database, trainer_settings: Settings
) -> None:
    start_worker(idle_poll_seconds=60.0)
    wait_until(lambda: _trainer_is_live(database), 60, "the worker should be there")
    job_id = training_jobs.submit()
    dispatcher = Dispatcher(trainer_settings)
    for _ in range(3):
        dispatcher.wake(["cpu"])
    training_jobs.wait_for(job_id, JobStatus.SUCCEEDED)
    dispatcher.close()
    assert training_jobs.outcomes(job_id) == ["succeeded"]


def test_two_workers_and_three_messages_a_job_start_each_job_once(
    training_jobs: TrainingJobs, start_worker: StartWorker, trainer_settings: Settings, tmp_path: Path
) -> None:
    trace = tmp_path / "trace"
    dispatcher = Dispatcher(trainer_settings)
    ids = []
    for number in range(12):
        ids.append(training_jobs.submit(steps=2, checkpoint_every=2, trace=trace, priority=number % 3))
        dispatcher.wake(["cpu"] * 3)
    for _ in range(2):
        start_worker(slots=2)
    for job_id in ids:
        training_jobs.wait_for(job_id, JobStatus.SUCCEEDED, 60)
    dispatcher.close()
    assert traced(trace) == {(what, job_id, 1): 1 for job_id in ids for what in ("start", "finish")}
    assert training_jobs.num_models() == len(ids)


@ONE_DATABASE
def test_a_job_cancelled_while_no_worker_lives_never_starts(
    training_jobs: TrainingJobs, start_worker: StartWorker, trainer_settings: Settings, tmp_path: Path
) -> None:
    trace = tmp_path / "trace"
    cancelled, other = training_jobs.submit(trace=trace, priority=9), training_jobs.submit(trace=trace)
    dispatcher = Dispatcher(trainer_settings)
    dispatcher.wake(["cpu"] * 2)
    training_jobs.cancel_queued(cancelled)
    start_worker()
    training_jobs.wait_for(other, JobStatus.SUCCEEDED)
    dispatcher.close()
    assert traced(trace) == {("start", other, 1): 1, ("finish", other, 1): 1}
    assert training_jobs.get(cancelled).status == JobStatus.CANCELLED


def _trainer_is_live(database: Database) -> bool:
    with database.reading() as session:
        return bool(workers.live(session, "trainer", now(session).replace(year=2000)))


def _training_processes_of(worker_pid: int) -> list[int]:
    children = Path(f"/proc/{worker_pid}/task").glob("*/children")
    return [int(pid) for path in children for pid in path.read_text().split()]
