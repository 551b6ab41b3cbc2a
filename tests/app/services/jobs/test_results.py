"""Checkpoints, metrics and files of a job, as its user sees them."""

import pytest

from app.contract.errors import NotFound, Unavailable
from app.contract.job import JobStatus
from app.db import artifacts, metrics
from app.db.session import Database, now
from app.db.tables import DEFAULT_PROJECT_ID, JobRow
from app.services.jobs.results import JobResults
from app.storage import CHUNK_BYTES, FolderStore
from tests.factories import make_checkpoint, make_job, make_model, put


@pytest.fixture
def results(database: Database, store: FolderStore) -> JobResults:
    return JobResults(database, store)


def artifact(database: Database, store: FolderStore, job: JobRow, name: str, content: bytes) -> None:
    key = f"{job.project_id}/jobs/{job.id}/attempt-1/artifacts/{name}"
    stored = put(store, key, content)
    with database.transaction() as session:
        artifacts.upsert(
            session,
            job_id=job.id,
            name=name,
            key=key,
            media_type="text/plain",
            size_bytes=stored.size_bytes,
            sha256=stored.sha256,
            at=now(session),
        )


def test_the_best_and_the_last_checkpoint_are_told(results: JobResults, database: Database, store: FolderStore) -> None:
    """A manifest says that its checkpoint was the best so far: the newest that says so is the best of all."""
    job = make_job(database, status=JobStatus.SUCCEEDED)
    for step, is_best in ((10, True), (20, True), (30, False)):
        make_checkpoint(database, store, job, step, is_best=is_best, metrics={"validation_loss": 1 / step})
    views = results.checkpoints(DEFAULT_PROJECT_ID, job.id).data
    assert [(view.step, view.is_best, view.is_last) for view in views] == [
        (10, False, False),
        (20, True, False),
        (30, False, True),
    ]
    assert views[1].metrics == {"validation_loss": 0.05}
    assert len({view.digest for view in views}) == 1, "equal weights have equal digests"


def test_a_checkpoint_tells_the_model_that_it_became(
    results: JobResults, database: Database, store: FolderStore
) -> None:
    model = make_model(database, store, step=10)
    [view] = results.checkpoints(DEFAULT_PROJECT_ID, str(model.job_id)).data
    assert (view.step, view.model_id) == (10, model.id)


def test_metrics_come_by_name(results: JobResults, database: Database) -> None:
    job = make_job(database)
    with database.transaction() as session:
        metrics.upsert(session, job.id, 5, {"train_loss": 2.0, "validation_loss": 3.0})
    told = results.metrics(DEFAULT_PROJECT_ID, job.id, ["train_loss"], 100)
    assert told.model_dump(mode="json") == {"data": [{"name": "train_loss", "points": [[5, 2.0]]}]}


def test_a_file_is_downloaded_piece_by_piece(results: JobResults, database: Database, store: FolderStore) -> None:
    job, content = make_job(database), b"x" * CHUNK_BYTES + b"end"
    artifact(database, store, job, "report.txt", content)
    [listed] = results.artifacts(DEFAULT_PROJECT_ID, job.id).data
    download = results.download(DEFAULT_PROJECT_ID, job.id, "report.txt")
    pieces = list(download.chunks)
    assert b"".join(pieces) == content
    assert len(pieces) == 2
    assert (download.size_bytes, download.digest) == (len(content), listed.sha256)


def test_a_file_that_is_deleted_while_it_is_sent_still_arrives(
    results: JobResults, database: Database, store: FolderStore
) -> None:
    job = make_job(database)
    artifact(database, store, job, "a.txt", b"content")
    download = results.download(DEFAULT_PROJECT_ID, job.id, "a.txt")
    store.delete_prefix(DEFAULT_PROJECT_ID)
    assert b"".join(download.chunks) == b"content"


def test_a_lost_file_is_told_as_a_fault_of_the_store(
    results: JobResults, database: Database, store: FolderStore
) -> None:
    job = make_job(database)
    artifact(database, store, job, "a.txt", b"content")
    store.delete_prefix(DEFAULT_PROJECT_ID)
    with pytest.raises(Unavailable, match=r"The stored file of the artifact 'a\.txt' cannot be read"):
        results.download(DEFAULT_PROJECT_ID, job.id, "a.txt")


@pytest.mark.parametrize("name", ["none", "../a.txt", "/etc/passwd", ""])
def test_only_names_that_a_job_gave_are_found(
    results: JobResults, database: Database, store: FolderStore, name: str
) -> None:
    job = make_job(database)
    artifact(database, store, job, "a.txt", b"content")
    with pytest.raises(NotFound):
        results.download(DEFAULT_PROJECT_ID, job.id, name)


def test_the_results_of_another_projects_job_are_not_there(
    results: JobResults, database: Database, store: FolderStore
) -> None:
    job = make_job(database, project_id="other")
    artifact(database, store, job, "a.txt", b"content")
    for call in (
        lambda: results.checkpoints(DEFAULT_PROJECT_ID, job.id),
        lambda: results.metrics(DEFAULT_PROJECT_ID, job.id, (), 10),
        lambda: results.artifacts(DEFAULT_PROJECT_ID, job.id),
        lambda: results.download(DEFAULT_PROJECT_ID, job.id, "a.txt"),
    ):
        with pytest.raises(NotFound):
            call()
