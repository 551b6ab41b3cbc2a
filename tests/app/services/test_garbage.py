"""Whatever dies between a row and its file, no file is left in the end that no row refers to, and none is missing."""

import signal
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import select

from app.contract.job import JobStatus
from app.contract.layout import attempt_prefix, blob_key, model_prefix
from app.db import references
from app.db.datasets import blob_in_use
from app.db.session import Database
from app.db.tables import DatasetRow
from app.services.garbage import Garbage
from app.services.jobs.deletion import JobDeletion
from app.services.uploads import sweep
from app.storage import ArtifactStore, FolderStore
from app.storage.objects import ObjectStore
from tests.app.services.test_datasets import CSV
from tests.factories import make_artifact, make_checkpoint, make_dataset, make_job, make_model, put

S = JobStatus
PROJECT = "default"
OTHERS = "lost+found/README"
#: Later than all that a test writes.
NOW = datetime.max.replace(tzinfo=UTC)


@pytest.fixture
def store(request: pytest.FixtureRequest, tmp_path: Path) -> ArtifactStore:
    """A folder, unless a test asks for a bucket."""
    if getattr(request, "param", "folder") == "folder":
        return FolderStore(tmp_path / "artifacts")
    return ObjectStore(f"s3://{request.getfixturevalue('bucket')}/prefix", 10.0)


@pytest.fixture
def garbage(database: Database, store: ArtifactStore) -> Garbage:
    return Garbage(database, store)


def keys(store: ArtifactStore) -> set[str]:
    return {file.key for file in store.list("")}


def make_blob(store: ArtifactStore, row: DatasetRow) -> str:
    put(store, row.blob_key, b"data")
    return row.blob_key


@pytest.mark.parametrize("store", ["folder", "objects"], indirect=True)
def test_what_rows_refer_to_stays_and_all_else_goes(garbage: Garbage, database: Database, store: ArtifactStore) -> None:
    job = make_job(database, status=S.SUCCEEDED)
    make_model(database, store, job=job)
    make_checkpoint(database, store, job, 5)
    make_artifact(database, store, job)
    blob = make_blob(store, make_dataset(database))
    referred = keys(store)
    assert blob in referred
    left = (
        blob_key(PROJECT, "0" * 64),
        f"{PROJECT}/blobs/.{'0' * 64}.x.tmp",
        f"{model_prefix(PROJECT, 'model_none')}/config.json",
        f"{attempt_prefix(PROJECT, job.id, 1)}/step-000000005/model/not-in-the-manifest",
        f"{attempt_prefix(PROJECT, job.id, 7)}/step-000000007/manifest.json",
        f"{attempt_prefix(PROJECT, 'job_none', 1)}/artifacts/training.log",
    )
    for key in left:
        put(store, key, b"left")
    put(store, OTHERS, b"somebody else's")
    garbage.collect(datetime.now(UTC) - timedelta(hours=1))
    assert keys(store) == referred | {*left, OTHERS}, "what is young may still be registered"
    garbage.collect(NOW, stop=lambda: True)
    assert keys(store) == referred | {*left, OTHERS}
    for _ in range(2):
        garbage.collect(NOW)
        assert keys(store) == referred | {OTHERS}


def test_folders_that_held_garbage_alone_go_with_it(garbage: Garbage, store: ArtifactStore, tmp_path: Path) -> None:
    put(store, f"{attempt_prefix(PROJECT, 'job_none', 1)}/artifacts/training.log", b"left")
    garbage.collect(NOW)
    assert list((tmp_path / "artifacts").iterdir()) == []


@pytest.mark.parametrize("status", [S.RUNNING, S.PAUSING, S.CANCELLING])
def test_an_attempt_that_runs_is_left_alone_however_old_its_files(
    garbage: Garbage, database: Database, store: ArtifactStore, status: JobStatus
) -> None:
    job = make_job(database, status=status, attempt=2)
    lost, running = (f"{attempt_prefix(PROJECT, job.id, number)}/step-000000007/model/config.json" for number in (1, 2))
    for key in (lost, running):
        put(store, key, b"{}")
    garbage.collect(NOW)
    assert keys(store) == {running}


def test_bytes_that_are_uploaded_again_meanwhile_stay(
    garbage: Garbage, database: Database, store: ArtifactStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The row comes between the first look and the lock."""
    row = make_dataset(database)
    blob = make_blob(store, row)
    answers = [False]
    monkeypatch.setattr(
        "app.services.garbage.datasets.blob_in_use",
        lambda session, key: answers.pop() if answers else blob_in_use(session, key),
    )
    garbage.collect(NOW)
    assert keys(store) == {blob}
    with database.transaction() as session:
        session.get_one(DatasetRow, row.id).deleted_at = NOW
    garbage.collect(NOW)
    assert keys(store) == set()


KILLED = """
import os, signal, sys
from pathlib import Path
from app.db import datasets, models
from app.db.session import Database
from app.settings import Settings
from app.storage import ArtifactStore, FolderStore
from app.storage.objects import ObjectStore

def die(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)

url, folder, subject = sys.argv[1:4]
database, store = Database(url), FolderStore(Path(folder) / "artifacts")
"""
#: Each is killed between the file and the row, or between the row and the file.
CRASHES = {
    "upload": """
from app.processes import ChildStarter
from app.records.pool import ValidatorPool
from app.services.datasets import DatasetForm, Datasets
from app.services.uploads import IncomingFile
datasets.insert = die
validators = ValidatorPool(ChildStarter(), memory_bytes=64 << 20, timeout_seconds=60)
with IncomingFile(Path(folder) / "uploads", 1 << 20) as incoming:
    incoming.write(subject.encode())
    Datasets(database, store, validators).create("default", incoming.finished("a.csv"), DatasetForm())
""",
    "data set": """
from app.services import datasets as service
service.remove_files = die
service.Datasets(database, store, None).delete("default", subject)
""",
    "model": """
from app.services.models import service
service.remove_files = die
service.Models(database, store, None).delete("default", subject)
""",
    "job": """
from app.services.jobs import deletion as service
service.remove_files = die
service.JobDeletion(database, store).delete("default", subject)
""",
}


def killed(database: Database, folder: Path, what: str, subject: str) -> None:
    url = database.engine.url.render_as_string(hide_password=False)
    command = [sys.executable, "-c", KILLED + CRASHES[what], url, str(folder), subject]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr


@pytest.mark.slow
@pytest.mark.databases("sqlite")
class TestKilled:
    def test_an_upload_between_the_file_and_the_row(
        self, garbage: Garbage, database: Database, store: ArtifactStore, tmp_path: Path
    ) -> None:
        killed(database, tmp_path, "upload", CSV.decode())
        (left,) = store.list("")
        assert left.size_bytes == len(CSV)
        with database.reading() as session:
            assert session.scalars(select(DatasetRow)).all() == []
        assert sweep(tmp_path / "uploads") == len(CSV)
        garbage.collect(NOW)
        assert keys(store) == set()

    def test_a_data_set_under_deletion_is_there_still(
        self, garbage: Garbage, database: Database, store: ArtifactStore, tmp_path: Path
    ) -> None:
        row = make_dataset(database)
        blob = make_blob(store, row)
        killed(database, tmp_path, "data set", row.id)
        garbage.collect(NOW)
        assert keys(store) == {blob}
        with database.reading() as session:
            assert session.get_one(DatasetRow, row.id).deleted_at is None

    def test_a_model_between_its_row_and_its_files(
        self, garbage: Garbage, database: Database, store: ArtifactStore, tmp_path: Path
    ) -> None:
        kept, row = make_model(database, store), make_model(database, store, seed=1)
        for model in (kept, row):
            JobDeletion(database, store).delete(PROJECT, str(model.job_id))
        before = keys(store)
        killed(database, tmp_path, "model", row.id)
        assert keys(store) == before
        garbage.collect(NOW)
        assert keys(store) == set(references.model_keys(kept.reference))

    def test_a_job_between_its_rows_and_its_files(
        self, garbage: Garbage, database: Database, store: ArtifactStore, tmp_path: Path
    ) -> None:
        job = make_job(database, status=S.SUCCEEDED)
        model = make_model(database, store, job=job)
        make_checkpoint(database, store, job, 5)
        make_artifact(database, store, job)
        before = keys(store)
        killed(database, tmp_path, "job", job.id)
        assert keys(store) == before
        garbage.collect(NOW)
        assert keys(store) == set(references.model_keys(model.reference))
