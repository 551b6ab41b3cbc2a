"""A job that has ended goes with all that it has; its models keep what they need to be asked, told of and exported."""

from concurrent.futures import ThreadPoolExecutor
from types import NoneType
from typing import Any

import pytest
from sqlalchemy import func, select

from app.contract.errors import Conflict, ErrorCode, InvalidRequest, NotFound
from app.contract.job import TERMINAL, JobStatus
from app.contract.specs.job import job_spec_adapter
from app.db import events, metrics
from app.db.session import Database, now
from app.db.tables import (
    DEFAULT_PROJECT_ID,
    ArtifactRow,
    AttemptRow,
    CheckpointRow,
    EventRow,
    JobRow,
    MetricRow,
)
from app.services.jobs import JobFilters, Jobs
from app.services.jobs.deletion import JobDeletion
from app.services.jobs.table import JobTable, TableFilters
from app.services.models import Models
from app.settings import Settings
from app.storage import FolderStore
from tests.factories import make_artifact, make_checkpoint, make_dataset, make_job, make_model

PROJECT = DEFAULT_PROJECT_ID
S = JobStatus


@pytest.fixture
def deletion(database: Database, store: FolderStore) -> JobDeletion:
    return JobDeletion(database, store)


@pytest.fixture
def ended(database: Database, store: FolderStore) -> JobRow:
    """With a model at step 10, a checkpoint of step 5, an artifact, events and metrics."""
    job = make_job(database, status=S.SUCCEEDED, name="old")
    make_model(database, store, job=job, step=10)
    make_checkpoint(database, store, job, 5)
    make_artifact(database, store, job)
    with database.transaction() as session:
        metrics.upsert(session, job.id, 1, {"train_loss": 1.0})
        events.append(session, job.id, "log", {"level": "info", "message": "x"}, now(session))
        session.add(AttemptRow(job_id=job.id, number=1, worker_id="wrk_a", started_at=now(session)))
    return job


def finetune(database: Database, parent: str, **fields: Any) -> dict[str, Any]:
    dataset = make_dataset(database, "labeled_text")
    return {"kind": "finetune", "parent": parent, "dataset": dataset.id, "method": {"type": "classification"}, **fields}


def test_all_but_its_model_goes_and_was_told_before(
    deletion: JobDeletion, ended: JobRow, database: Database, store: FolderStore
) -> None:
    before = {file.key: file.size_bytes for file in store.list("")}
    told = deletion.preview(PROJECT, ended.id)
    assert told.blocked_by == []
    assert ended.model_id is not None
    assert ended.model_id in told.stays[0]
    deletion.delete(PROJECT, ended.id)
    after = {file.key for file in store.list("")}
    assert {key.rsplit("/", 2)[-2] for key in after} == {"model"}
    assert all("step-000000010/model/" in key for key in after)
    gone = before.keys() - after
    assert (told.freed_files, told.freed_bytes) == (len(gone), sum(before[key] for key in gone))
    with database.reading() as session:
        for table in (EventRow, MetricRow, CheckpointRow, ArtifactRow, AttemptRow):
            assert session.scalar(select(func.count()).select_from(table)) == 0, table


def test_its_model_is_told_of_exported_and_deleted_as_before(
    deletion: JobDeletion, ended: JobRow, database: Database, store: FolderStore
) -> None:
    models = Models(database, store, Settings())
    assert ended.model_id is not None
    with_job = b"".join(models.archive(PROJECT, ended.model_id).chunks)
    deletion.delete(PROJECT, ended.id)
    assert b"".join(models.archive(PROJECT, ended.model_id).chunks) == with_job
    assert models.lineage(PROJECT, ended.model_id).data[0].job_id == ended.id
    told = models.deletion(PROJECT, ended.model_id)
    assert (told.freed_files, told.stays) == (3, [])
    models.delete(PROJECT, ended.model_id)
    assert list(store.list("")) == []


def test_a_deleted_job_is_nowhere(deletion: JobDeletion, ended: JobRow, database: Database, jobs: Jobs) -> None:
    deletion.delete(PROJECT, ended.id)
    for again in (jobs.get, jobs.retry, jobs.cancel, deletion.delete, deletion.preview):
        with pytest.raises(NotFound):
            again(PROJECT, ended.id)
    assert jobs.page(PROJECT, JobFilters(), None, 20).data == []
    table = JobTable(database, Settings()).page(
        PROJECT, TableFilters(), sort="created", descending=True, number=1, size=20
    )
    assert (table.total, table.jobs) == (0, [])


@pytest.mark.parametrize("status", [status for status in S if status not in TERMINAL])
def test_a_job_that_has_not_ended_stays(deletion: JobDeletion, database: Database, status: JobStatus) -> None:
    job = make_job(database, status=status)
    assert status.value in deletion.preview(PROJECT, job.id).blocked_by[0]
    with pytest.raises(Conflict, match=f"{status.value} and cannot be deleted") as caught:
        deletion.delete(PROJECT, job.id)
    assert caught.value.code is ErrorCode.INVALID_STATE


def test_a_child_that_is_still_to_start_from_it_keeps_it(
    deletion: JobDeletion, ended: JobRow, database: Database, jobs: Jobs
) -> None:
    spec = job_spec_adapter.validate_python(finetune(database, ended.id, checkpoint="step:5"))
    child = jobs.submit(PROJECT, spec)
    assert child.id in deletion.preview(PROJECT, ended.id).blocked_by[0]
    with pytest.raises(Conflict, match=child.id) as caught:
        deletion.delete(PROJECT, ended.id)
    assert caught.value.code is ErrorCode.RESOURCE_IN_USE
    with database.transaction() as session:  # its first attempt decides what it starts from
        session.get_one(JobRow, child.id).parent_model_id = ended.model_id
    deletion.delete(PROJECT, ended.id)


def test_what_starts_from_a_deleted_job_is_refused(
    deletion: JobDeletion, ended: JobRow, database: Database, jobs: Jobs
) -> None:
    spec = finetune(database, ended.id)
    never_started = make_job(database, status=S.CANCELLED, spec=spec, parent_job_id=ended.id)
    started = make_job(database, status=S.CANCELLED, spec=spec, parent_job_id=ended.id, parent_model_id=ended.model_id)
    deletion.delete(PROJECT, ended.id)
    with pytest.raises(Conflict, match=f"{ended.id}, which was deleted"):
        jobs.retry(PROJECT, never_started.id)
    assert jobs.retry(PROJECT, started.id).status is S.QUEUED
    with pytest.raises(InvalidRequest, match=ended.id):
        jobs.submit(PROJECT, job_spec_adapter.validate_python(spec))


def test_a_store_that_does_not_answer_delays_only_the_files(
    deletion: JobDeletion, ended: JobRow, store: FolderStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_store: FolderStore, _prefix: str) -> int:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(FolderStore, "delete_prefix", fail)
    there = list(store.list(""))
    deletion.delete(PROJECT, ended.id)
    assert list(store.list("")) == there
    with pytest.raises(NotFound):
        deletion.preview(PROJECT, ended.id)


def test_of_a_deletion_and_a_child_at_once_one_is_refused(
    deletion: JobDeletion, database: Database, store: FolderStore, jobs: Jobs
) -> None:
    for _ in range(10):
        parent = make_job(database, status=S.SUCCEEDED)
        make_model(database, store, job=parent)
        spec = job_spec_adapter.validate_python(finetune(database, parent.id))
        with ThreadPoolExecutor(2) as threads:
            deleted = threads.submit(deletion.delete, PROJECT, parent.id)
            submitted = threads.submit(jobs.submit, PROJECT, spec)
        refused = [type(deleted.exception()), type(submitted.exception())]
        assert refused in ([Conflict, NoneType], [NoneType, InvalidRequest])
