"""Duties are done by one process at a time, and what they free is announced."""

from collections.abc import Collection
from pathlib import Path
from typing import cast

import pytest

from app.contract.job import JobStatus
from app.contract.layout import blob_key
from app.db import attempts, duties
from app.db.session import Database, now
from app.db.tables import DutyLeaseRow
from app.dispatch import Dispatcher
from app.housekeeping import Housekeeping, prompt_duties, slow_duties
from app.settings import Settings
from app.storage import FolderStore
from tests.factories import put
from tests.support.training_jobs import TrainingJobs


class RecordingDispatcher:
    """Remembers what would have been published."""

    def __init__(self) -> None:
        self.woken: list[list[str]] = []

    def wake(self, queues: Collection[str]) -> None:
        self.woken.append(list(queues))


@pytest.fixture
def training_jobs(database: Database, tmp_path: Path) -> TrainingJobs:
    return TrainingJobs(database, FolderStore(tmp_path / "artifacts"), tmp_path)


@pytest.fixture
def dispatcher() -> RecordingDispatcher:
    return RecordingDispatcher()


@pytest.fixture
def housekeeping(database: Database, dispatcher: RecordingDispatcher) -> Housekeeping:
    settings = Settings(housekeeping_seconds=0.0, max_lost_attempts=3)
    return Housekeeping(database, cast("Dispatcher", dispatcher), settings, prompt_duties(settings), owner="wrk_a")


def lose_a_worker(database: Database) -> None:
    with database.transaction() as session:
        attempts.claim(session, owner="wrk_dead", devices=("auto",), lease_seconds=-1.0)


def test_a_lost_job_is_queued_and_announced(
    housekeeping: Housekeeping, dispatcher: RecordingDispatcher, training_jobs: TrainingJobs, database: Database
) -> None:
    job_id = training_jobs.submit()
    lose_a_worker(database)
    housekeeping.round()
    assert training_jobs.get(job_id).status == JobStatus.QUEUED
    assert dispatcher.woken == [["cpu"]]


def test_a_duty_that_another_process_has_is_left_to_it(
    housekeeping: Housekeeping, dispatcher: RecordingDispatcher, training_jobs: TrainingJobs, database: Database
) -> None:
    job_id = training_jobs.submit()
    lose_a_worker(database)
    with database.transaction() as session:
        assert duties.acquire(session, "expired_leases", "wrk_b", at=now(session), seconds=60.0)
    housekeeping.round()
    assert training_jobs.get(job_id).status == JobStatus.RUNNING
    assert dispatcher.woken == []


def test_children_start_when_their_parent_has_succeeded(
    housekeeping: Housekeeping, dispatcher: RecordingDispatcher, training_jobs: TrainingJobs
) -> None:
    parent = training_jobs.submit(status=JobStatus.SUCCEEDED)
    child = training_jobs.submit(status=JobStatus.WAITING, parent=parent, parent_job_id=parent)
    housekeeping.release_waiting()
    assert training_jobs.get(child).status == JobStatus.QUEUED
    assert dispatcher.woken == [["cpu"]]


def test_where_nothing_is_due_no_duty_is_taken(
    housekeeping: Housekeeping, training_jobs: TrainingJobs, database: Database
) -> None:
    training_jobs.submit()
    housekeeping.round()
    with database.reading() as session:
        assert [row.name for row in session.query(DutyLeaseRow)] == ["sweep"]


def test_files_that_no_row_refers_to_are_collected_by_a_duty(
    database: Database, dispatcher: RecordingDispatcher, tmp_path: Path
) -> None:
    store = FolderStore(tmp_path / "artifacts")
    put(store, blob_key("default", "0" * 64), b"left")
    settings = Settings(garbage_seconds=0.0, garbage_age_seconds=3_600.0)

    def collect(settings: Settings) -> None:
        duties = slow_duties(store, settings, stop=lambda: False)
        Housekeeping(database, cast("Dispatcher", dispatcher), settings, duties, owner="wrk_a").round()

    collect(settings)
    assert len(list(store.list(""))) == 1
    collect(settings.model_copy(update={"garbage_age_seconds": -3_600.0}))
    assert list(store.list("")) == []
