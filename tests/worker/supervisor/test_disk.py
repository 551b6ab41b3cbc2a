"""A job that would fill the disk waits for room: it is told so once, and keeps nobody else waiting."""

from collections.abc import Callable
from pathlib import Path

import pytest

from app.contract.job import JobStatus
from app.db import attempts
from app.db.attempts import Room
from app.db.session import Database, now
from app.db.tables import CheckpointRow, JobRow
from app.settings import Settings
from tests.support.training_jobs import TrainingJobs
from tests.support.waiting import wait_until
from tests.worker.supervisor.conftest import StartTrainer
from worker.supervisor.room import free_room, tell_shortage

PETABYTE = 10**15
DEVICES = ("auto", "cpu")
Need = Callable[..., str]


@pytest.fixture
def job_that_needs(training_jobs: TrainingJobs, database: Database) -> Need:
    def submit(store_bytes: int | None, scratch_bytes: int | None = 0) -> str:
        job_id = training_jobs.submit(steps=2)
        needs(database, job_id, store_bytes, scratch_bytes)
        return job_id

    return submit


def needs(database: Database, job_id: str, store_bytes: int | None, scratch_bytes: int | None = 0) -> None:
    with database.transaction() as session:
        row = session.get_one(JobRow, job_id)
        row.store_bytes, row.scratch_bytes = store_bytes, scratch_bytes


def test_a_job_waits_for_room_without_an_attempt_and_starts_when_there_is_some(
    training_jobs: TrainingJobs, start_trainer: StartTrainer, job_that_needs: Need, database: Database
) -> None:
    large = job_that_needs(PETABYTE)
    start_trainer()
    wait_until(lambda: training_jobs.get(large).error, 30.0, "the shortage should be told")
    small = training_jobs.submit(steps=2)
    training_jobs.wait_for(small, JobStatus.SUCCEEDED)
    row = training_jobs.get(large)
    assert (row.status, row.attempt) == (JobStatus.QUEUED, 0)
    assert row.error is not None
    assert (row.error["code"], row.error["fault"]) == ("disk_full", "infrastructure")
    assert "1,000,000.000 GB" in row.error["message"]
    assert "training.keep_checkpoints" in row.error["message"]
    assert [event["message"] for event in training_jobs.events(large, "warning")] == [row.error["message"]]
    needs(database, large, 0)
    assert training_jobs.wait_for(large, JobStatus.SUCCEEDED).error is None


ROOM = Room(store_bytes=100, scratch_bytes=50, shared=False)


@pytest.mark.parametrize(
    ("store_bytes", "scratch_bytes", "shared", "fits"),
    [
        (100, 50, False, True),
        (101, 0, False, False),
        (0, 51, False, False),
        (60, 40, True, True),
        (61, 40, True, False),
        (0, 51, True, False),
        (None, None, True, True),
    ],
)
def test_each_disk_counts_what_is_written_to_it(
    *,
    job_that_needs: Need,
    database: Database,
    store_bytes: int | None,
    scratch_bytes: int | None,
    shared: bool,
    fits: bool,
) -> None:
    job_that_needs(store_bytes, scratch_bytes)
    room = Room(store_bytes=100, scratch_bytes=50, shared=shared)
    with database.transaction() as session:
        assert attempts.any_claimable(session, DEVICES, room) == fits
        assert attempts.any_without_room(session, DEVICES, room) == (not fits)
        claimed = attempts.claim(session, owner="wrk_a", devices=DEVICES, lease_seconds=30.0, room=room)
    assert (claimed is not None) == fits


def test_what_a_job_has_stored_already_needs_no_room(job_that_needs: Need, database: Database) -> None:
    job_id = job_that_needs(120)
    with database.transaction() as session:
        assert not attempts.any_claimable(session, DEVICES, ROOM)
        for step in (1, 2):
            session.add(
                CheckpointRow(
                    job_id=job_id,
                    step=step,
                    attempt=1,
                    artifact_prefix="",
                    manifest={},
                    size_bytes=10,
                    created_at=now(session),
                )
            )
        session.flush()
        assert attempts.any_claimable(session, DEVICES, ROOM)


def test_a_shortage_tells_what_is_still_to_be_stored(
    job_that_needs: Need, training_jobs: TrainingJobs, database: Database
) -> None:
    job_id = job_that_needs(5 * 10**9, 10**9)
    with database.transaction() as session:
        session.add(
            CheckpointRow(
                job_id=job_id,
                step=1,
                attempt=1,
                artifact_prefix="",
                manifest={},
                size_bytes=10**9,
                created_at=now(session),
            )
        )
    tell_shortage(database, DEVICES, Room(store_bytes=2 * 10**9, scratch_bytes=2 * 10**9, shared=True))
    (event,) = training_jobs.events(job_id, "warning")
    assert "up to 5.000 GB and 2.000 GB are free" in event["message"]


def test_a_shortage_is_told_again_after_a_retry_and_not_otherwise(
    job_that_needs: Need, training_jobs: TrainingJobs, database: Database
) -> None:
    job_id = job_that_needs(101)
    for _ in range(2):
        tell_shortage(database, DEVICES, ROOM)
    (event,) = training_jobs.events(job_id, "warning")
    assert "0.000 GB in the store" in event["message"]
    with database.transaction() as session:
        session.get_one(JobRow, job_id).error = None
    tell_shortage(database, DEVICES, ROOM)
    assert len(training_jobs.events(job_id, "warning")) == 2


def test_the_room_is_that_of_the_disks_whether_the_folders_are_there_or_not(tmp_path: Path) -> None:
    room = free_room(Settings(data_dir=tmp_path / "not" / "there"))
    assert room is not None
    assert room.shared
    assert min(room.store_bytes, room.scratch_bytes) > 0
