"""Data sets are stored wholly or not at all, shared by content, and kept while a job needs them."""

from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select

from app.contract.errors import Conflict, ErrorCode, InvalidRequest, NotFound, Unavailable
from app.db.ids import new_id
from app.db.session import Database
from app.db.tables import DatasetRow, JobRow, ProjectRow
from app.records.pool import ValidatorPool
from app.services.datasets import DatasetForm, Datasets, DatasetView
from app.services.uploads import IncomingFile
from app.storage import FolderStore

CSV = b"text,label\ngood,pos\nbad,neg\n"


@pytest.fixture
def datasets(database: Database, validators: ValidatorPool, tmp_path: Path) -> Datasets:
    with database.transaction() as session:
        for project_id in ("default", "other"):
            session.merge(ProjectRow(id=project_id, name=project_id, created_at=datetime.now(UTC)))
    return Datasets(database, FolderStore(tmp_path / "artifacts"), validators)


@pytest.fixture
def create(datasets: Datasets, tmp_path: Path) -> Callable[..., DatasetView]:
    def create(data: bytes = CSV, filename: str = "a.csv", project_id: str = "default", **form: Any) -> DatasetView:
        with IncomingFile(tmp_path / "uploads", 1 << 20) as incoming:
            incoming.write(data)
            return datasets.create(project_id, incoming.finished(filename), DatasetForm(**form))

    return create


def _blobs(folder: Path) -> list[str]:
    store = folder / "artifacts"
    return sorted(str(path.relative_to(store)) for path in store.rglob("*") if path.is_file())


def _job(database: Database, **columns: Any) -> str:
    job_id = new_id("job")
    with database.transaction() as session:
        session.add(
            JobRow(
                id=job_id,
                project_id="default",
                kind="pretrain",
                method="m",
                job_metadata={},
                spec={},
                device="cpu",
                priority=0,
                progress={},
                metrics={},
                created_at=datetime.now(UTC),
                **columns,
            )
        )
    return job_id


Create = Callable[..., DatasetView]


def test_a_data_set_tells_what_it_holds(create: Create, datasets: Datasets, tmp_path: Path) -> None:
    made = create(name="reviews")
    assert datasets.get("default", made.id) == made
    assert (made.name, made.kind, made.num_examples, made.size_bytes) == ("reviews", "labeled_text", 2, len(CSV))
    assert made.profile["labels"] == {"neg": 1, "pos": 1}
    assert _blobs(tmp_path) == [f"default/blobs/{made.sha256}"]
    assert (tmp_path / "artifacts/default/blobs" / made.sha256).read_bytes() == CSV
    assert list((tmp_path / "uploads").iterdir()) == []


def test_equal_bytes_share_one_blob_until_the_last_data_set_goes(
    create: Create, datasets: Datasets, tmp_path: Path
) -> None:
    first, second = create(), create(kind="text")
    assert (first.id != second.id, first.kind, second.kind) == (True, "labeled_text", "text")
    assert len(_blobs(tmp_path)) == 1
    datasets.delete("default", first.id)
    assert datasets.preview("default", second.id, 1).data == [{"text": "good"}]
    datasets.delete("default", second.id)
    assert _blobs(tmp_path) == []
    assert create().sha256 == first.sha256
    assert len(_blobs(tmp_path)) == 1


def test_an_invalid_file_leaves_nothing(create: Create, database: Database, tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest) as caught:
        create(b"text,label\n" + b"a\n" * 25)
    assert caught.value.code == ErrorCode.INVALID_DATASET
    assert "25 errors; the first 20 are listed" in caught.value.detail
    assert [error.location for error in caught.value.errors[:2]] == ["line 2", "line 3"]
    with database.reading() as session:
        assert session.scalar(select(func.count()).select_from(DatasetRow)) == 0
    assert _blobs(tmp_path) == []
    assert list((tmp_path / "uploads").iterdir()) == []


def test_a_row_that_cannot_be_written_leaves_no_blob(create: Create, tmp_path: Path) -> None:
    with pytest.raises(Exception, match=r"(?i)foreign key"):
        create(project_id="no-such-project")
    assert _blobs(tmp_path) == []


def test_another_project_finds_nothing(create: Create, datasets: Datasets) -> None:
    made = create()
    for call in (datasets.get, datasets.delete, partial(datasets.preview, limit=1)):
        with pytest.raises(NotFound):
            call("other", made.id)
    assert datasets.page("other", None, 10).data == []
    assert datasets.get("default", made.id) == made


def test_pages_hold_still_under_inserts_and_deletions(create: Create, datasets: Datasets) -> None:
    ids = [create(name=f"n{number}").id for number in range(5)]
    first = datasets.page("default", None, 2)
    create()
    datasets.delete("default", ids[1])
    second = datasets.page("default", first.next_cursor, 2)
    assert [view.id for view in first.data] == [ids[4], ids[3]]
    assert [view.id for view in second.data] == [ids[2], ids[0]]
    assert second.next_cursor is None


@pytest.mark.parametrize("column", ["dataset_id", "validation_dataset_id"])
@pytest.mark.parametrize("status", ["waiting", "queued", "running", "pausing", "paused", "cancelling"])
def test_a_data_set_that_a_job_needs_stays(
    create: Create, datasets: Datasets, database: Database, column: str, status: str
) -> None:
    needed, other = create(), create()
    job_id = _job(database, status=status, **{"dataset_id": other.id} | {column: needed.id})
    with pytest.raises(Conflict, match=job_id) as caught:
        datasets.delete("default", needed.id)
    assert caught.value.code == ErrorCode.RESOURCE_IN_USE
    assert datasets.get("default", needed.id) == needed


@pytest.mark.parametrize("status", ["succeeded", "failed", "cancelled"])
def test_a_data_set_of_ended_jobs_can_go(
    create: Create, datasets: Datasets, database: Database, tmp_path: Path, status: str
) -> None:
    made = create()
    _job(database, status=status, dataset_id=made.id)
    datasets.delete("default", made.id)
    with pytest.raises(NotFound):
        datasets.get("default", made.id)
    assert _blobs(tmp_path) == []


def test_bytes_that_a_deletion_takes_during_an_upload_are_put_again(
    create: Create, datasets: Datasets, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = create()
    exists = FolderStore.exists
    taken: list[str] = []

    def exists_then_deleted(store: FolderStore, key: str) -> bool:
        found = exists(store, key)
        if not taken:
            taken.append(key)
            datasets.delete("default", first.id)
        return found

    monkeypatch.setattr(FolderStore, "exists", exists_then_deleted)
    second = create()
    assert _blobs(tmp_path) == [f"default/blobs/{second.sha256}"]
    assert datasets.preview("default", second.id, 1).data == [{"text": "good", "label": "pos"}]


@pytest.mark.parametrize(
    "read", [lambda d, id_: d.preview("default", id_, 5), lambda d, id_: d.content("default", id_)]
)
def test_lost_bytes_are_told_as_a_fault_of_the_store(
    datasets: Datasets, create: Callable[..., DatasetView], read: Callable[[Datasets, str], object]
) -> None:
    view = create()
    datasets.store.delete_prefix(f"default/blobs/{view.sha256}")
    with pytest.raises(Unavailable, match=f"The stored file of the data set {view.id} cannot be read: No such file"):
        read(datasets, view.id)
