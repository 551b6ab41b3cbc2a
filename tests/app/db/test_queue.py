"""Expired leases, waiting jobs and stale queued jobs, on both databases."""

from datetime import datetime, timedelta
from pathlib import Path

import pytest

from app.contract.job import JobStatus
from app.db import attempts, duties, queue, workers
from app.db.session import Database, now
from app.db.tables import JobRow, WorkerRow
from app.storage import FolderStore
from tests.support.training_jobs import TrainingJobs


@pytest.fixture
def training_jobs(database: Database, tmp_path: Path) -> TrainingJobs:
    return TrainingJobs(database, FolderStore(tmp_path / "artifacts"), tmp_path)


def start(database: Database, *, lease_seconds: float) -> None:
    with database.transaction() as session:
        assert attempts.claim(session, owner="wrk_a", devices=("auto",), lease_seconds=lease_seconds) is not None


def requeue_expired(database: Database) -> set[str]:
    with database.transaction() as session:
        return queue.requeue_expired(session, now(session), 2)


def release(database: Database) -> set[str]:
    with database.transaction() as session:
        return queue.release_waiting(session, now(session))


def clock(database: Database) -> datetime:
    with database.reading() as session:
        return now(session)


def test_an_expired_lease_gives_the_job_back_and_a_live_one_is_left_alone(
    training_jobs: TrainingJobs, database: Database
) -> None:
    expired = training_jobs.submit(priority=1)
    start(database, lease_seconds=-1.0)
    alive = training_jobs.submit()
    start(database, lease_seconds=30.0)
    assert requeue_expired(database) == {"auto"}
    assert requeue_expired(database) == set()
    assert training_jobs.get(expired).status == JobStatus.QUEUED
    assert training_jobs.get(alive).status == JobStatus.RUNNING
    assert training_jobs.attempts(expired) == [("lost", "the worker wrk_a stopped extending its lease")]


def test_leases_that_expire_again_and_again_fail_the_job(training_jobs: TrainingJobs, database: Database) -> None:
    job_id = training_jobs.submit()
    for _ in range(2):
        start(database, lease_seconds=-1.0)
        requeue_expired(database)
    row = training_jobs.get(job_id)
    assert row.error is not None
    assert (row.status, row.error["code"]) == (JobStatus.FAILED, "lost")


@pytest.mark.parametrize(("request_", "ends"), [("cancel", JobStatus.CANCELLED), ("pause", JobStatus.PAUSED)])
def test_a_job_whose_owner_died_before_it_obeyed_is_stopped(
    training_jobs: TrainingJobs, database: Database, request_: str, ends: JobStatus
) -> None:
    job_id = training_jobs.submit()
    start(database, lease_seconds=-1.0)
    training_jobs.request_stop(job_id, request_)
    assert requeue_expired(database) == set()
    assert training_jobs.get(job_id).status == ends


def test_a_job_waits_until_its_parent_has_succeeded(training_jobs: TrainingJobs, database: Database) -> None:
    parent = training_jobs.submit(status=JobStatus.RUNNING)
    child = training_jobs.submit(status=JobStatus.WAITING, parent=parent, parent_job_id=parent)
    assert release(database) == set()
    assert training_jobs.get(child).status == JobStatus.WAITING
    set_status(database, parent, JobStatus.SUCCEEDED)
    assert release(database) == {"auto"}
    row = training_jobs.get(child)
    assert row.status == JobStatus.QUEUED
    assert row.queued_at is not None


@pytest.mark.parametrize("status", [JobStatus.FAILED, JobStatus.CANCELLED])
def test_the_children_and_grandchildren_of_a_parent_that_did_not_succeed_fail(
    training_jobs: TrainingJobs, database: Database, status: JobStatus
) -> None:
    parent = training_jobs.submit(status=status)
    child = training_jobs.submit(status=JobStatus.WAITING, parent=parent, parent_job_id=parent)
    grandchild = training_jobs.submit(status=JobStatus.WAITING, parent=child, parent_job_id=child)
    assert release(database) == set()
    for job_id, of in ((child, parent), (grandchild, child)):
        row = training_jobs.get(job_id)
        assert row.error is not None
        assert (row.status, row.error["code"], row.error["fault"]) == (JobStatus.FAILED, "parent_failed", "user")
        assert of in row.error["message"]
        assert row.finished_at is not None
    assert release(database) == set()


def test_a_job_that_stays_queued_is_told_of_again_at_growing_intervals(
    training_jobs: TrainingJobs, database: Database
) -> None:
    job_id = training_jobs.submit(device="cuda")
    began = clock(database)
    told_after = []
    for seconds in range(0, 1_000, 10):
        with database.transaction() as session:
            if queue.take_stale(session, began + timedelta(seconds=seconds)) == {"cuda"}:
                told_after.append(seconds)
    assert told_after == [60, 130, 260, 510]
    assert training_jobs.get(job_id).wake_count == 4


def test_a_duty_has_one_owner_until_it_expires(database: Database) -> None:
    at = clock(database)

    def acquire(owner: str, seconds_later: float) -> bool:
        with database.transaction() as session:
            return duties.acquire(session, "sweep", owner, at=at + timedelta(seconds=seconds_later), seconds=10.0)

    assert acquire("wrk_a", 0)
    assert not acquire("wrk_b", 9)
    assert acquire("wrk_a", 9)
    assert not acquire("wrk_b", 18)
    assert acquire("wrk_b", 20)
    assert not acquire("wrk_a", 21)


def test_a_worker_lives_as_long_as_it_is_heard_of(database: Database) -> None:
    at = clock(database)

    def beat(id_: str, minutes: float, loaded: list[str]) -> None:
        with database.transaction() as session:
            workers.heartbeat(
                session,
                id=id_,
                role="inference",
                queues=[],
                devices=["cpu"],
                address="http://here",
                loaded=loaded,
                at=at + timedelta(minutes=minutes),
            )

    beat("wrk_a", 0, [])
    beat("wrk_b", 0, [])
    beat("wrk_b", 5, ["digest"])
    with database.transaction() as session:
        (row,) = workers.live(session, "inference", at + timedelta(minutes=1))
        assert (row.id, row.loaded, row.started_at) == ("wrk_b", ["digest"], at)
        assert workers.live(session, "trainer", at) == []
        assert workers.sweep(session, at + timedelta(minutes=1)) == 1
        workers.remove(session, "wrk_b")
        assert session.query(WorkerRow).count() == 0


def set_status(database: Database, job_id: str, status: JobStatus) -> None:
    with database.transaction() as session:
        session.get_one(JobRow, job_id).status = status.value
