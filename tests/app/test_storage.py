"""The artifact store in each of its forms: what is put is whole or not there, and what fails says whose fault it is."""

import errno
import hashlib
import random
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from datetime import UTC, datetime, timedelta
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest
from obstore.exceptions import GenericError
from pydantic import ValidationError

from app.settings import Settings
from app.storage import ArtifactStore, FolderStore, open_store
from app.storage import files as storage_files
from app.storage.objects import LIST_PAGE, PART_BYTES, ObjectStore, again_where_unsent
from tests.support.objects import ObjectServer, Way

#: More than one part, and the last one short.
LARGE = random.Random(0).randbytes(2 * PART_BYTES + 12_345)  # noqa: S311  no secret


@pytest.fixture(params=["folder", "objects"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> ArtifactStore:
    if request.param == "folder":
        return FolderStore(tmp_path / "store")
    return ObjectStore(f"s3://{request.getfixturevalue('bucket')}/some/prefix", 10.0)


@pytest.fixture
def folder_store(tmp_path: Path) -> FolderStore:
    return FolderStore(tmp_path / "store")


@pytest.fixture
def large(tmp_path: Path) -> Path:
    path = tmp_path / "large"
    path.write_bytes(LARGE)
    return path


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "source"
    path.write_bytes(b"12345")
    return path


def test_what_is_put_is_fetched_and_read_byte_for_byte(store: ArtifactStore, large: Path, tmp_path: Path) -> None:
    stored = store.put("a/large", large)
    assert stored == (len(LARGE), hashlib.sha256(LARGE).hexdigest())
    assert store.fetch("a/large", tmp_path / "made" / "copy") == stored
    assert (tmp_path / "made" / "copy").read_bytes() == LARGE
    with store.open("a/large") as file:
        assert file.read(10) == LARGE[:10]
        file.seek(-7, 2)
        assert file.read() == LARGE[-7:]
        file.seek(PART_BYTES - 3)
        assert file.read(6) == LARGE[PART_BYTES - 3 : PART_BYTES + 3]


def test_an_empty_file_is_a_file(store: ArtifactStore, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.touch()
    store.put("a/empty", empty)
    assert store.exists("a/empty")
    assert store.fetch("a/empty", tmp_path / "copy").size_bytes == 0
    with store.open("a/empty") as file:
        assert file.read() == b""


def test_a_key_that_is_not_there_is_told_as_such(store: ArtifactStore, source: Path, tmp_path: Path) -> None:
    store.put("a/1", source)
    assert not store.exists("a/2")
    assert not store.exists("a"), "a prefix is no file"
    with pytest.raises(FileNotFoundError) as open_failure:
        store.open("a/2")
    assert open_failure.value.strerror
    with pytest.raises(FileNotFoundError):
        store.fetch("a/2", tmp_path / "copy")
    assert not list(tmp_path.glob("*copy*"))


def test_files_are_listed_below_a_key_folder_by_folder(store: ArtifactStore, source: Path) -> None:
    assert list(store.list("")) == []
    began_at = datetime.now(UTC) - timedelta(seconds=2)
    for key in ("b/2", "a/x/1", "b/x/3", "a/y", "bb/1", "a/x-1/2"):
        store.put(key, source)
    keys = [file.key for file in store.list("")]
    assert sorted(keys) == ["a/x-1/2", "a/x/1", "a/y", "b/2", "b/x/3", "bb/1"]
    assert len(list(groupby(keys, lambda key: key.split("/")[0]))) == 3
    assert [(file.key, file.size_bytes) for file in store.list("b")] == [("b/2", 5), ("b/x/3", 5)]
    assert [file.key for file in store.list("a/x")] == ["a/x/1"]
    assert [file.key for file in store.list("a/x/1")] == ["a/x/1"]
    assert list(store.list("a/z")) == []
    assert all(file.modified_at >= began_at for file in store.list(""))


def test_a_deletion_takes_what_is_at_or_below_a_key(store: ArtifactStore, source: Path) -> None:
    for key in ("a/x/1", "a/x/y/2", "a/3", "a/xx"):
        store.put(key, source)
    assert store.delete_prefix("a/x") == 10
    assert [file.key for file in store.list("")] == ["a/3", "a/xx"]
    assert store.delete_prefix("a/3") == 5
    assert store.delete_prefix("a/3") == 0


def test_a_deletion_leaves_no_empty_folders(folder_store: FolderStore, source: Path, tmp_path: Path) -> None:
    for key in ("a/x/1", "a/x/y/2", "a/3"):
        folder_store.put(key, source)
    folder_store.delete_prefix("a/x")
    assert sorted(path.name for path in (tmp_path / "store").rglob("*")) == ["3", "a"]
    folder_store.delete_prefix("a/3")
    assert list((tmp_path / "store").iterdir()) == []


@pytest.mark.parametrize("key", ["a/small", "a/large"])
def test_a_transfer_that_is_broken_off_leaves_nothing(
    store: ArtifactStore, large: Path, source: Path, tmp_path: Path, key: str
) -> None:
    class LeaseLost(Exception):
        pass

    def refuse() -> None:
        raise LeaseLost

    with pytest.raises(LeaseLost):
        store.put(key, large if key == "a/large" else source, refuse)
    assert list(store.list("")) == []
    store.put(key, source)
    with pytest.raises(LeaseLost):
        store.fetch(key, tmp_path / "new" / "copy", refuse)
    assert list((tmp_path / "new").iterdir()) == []


def test_a_check_passes_and_leaves_nothing(store: ArtifactStore) -> None:
    store.check()
    assert list(store.list("")) == []


def test_a_source_that_is_not_there_leaves_nothing(store: ArtifactStore, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        store.put("a/1", tmp_path / "none")
    assert list(store.list("")) == []


def test_puts_hold_against_deletions_that_empty_their_folder(folder_store: FolderStore, source: Path) -> None:
    """The folder may be there, still empty, and gone again, before the file is in it."""

    def put_and_delete(name: str) -> None:
        for _ in range(100):
            folder_store.put(f"a/b/{name}", source)
            assert folder_store.exists(f"a/b/{name}")
            folder_store.delete_prefix(f"a/b/{name}")

    with ThreadPoolExecutor(4) as threads:
        for done in [threads.submit(put_and_delete, str(number)) for number in range(4)]:
            done.result()
    assert list(folder_store.list("")) == []


def test_a_folder_that_goes_before_its_first_file_is_made_again(
    folder_store: FolderStore, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the test above meets now and then."""
    mkdir = Path.mkdir
    pruned: list[Path] = []

    def made_and_pruned(path: Path, *args: Any, **options: Any) -> None:
        mkdir(path, *args, **options)
        if not pruned:
            pruned.append(path)
            path.rmdir()

    monkeypatch.setattr(Path, "mkdir", made_and_pruned)
    folder_store.put("a/1", source)
    assert pruned
    assert folder_store.exists("a/1")


@pytest.mark.slow
def test_pages_of_keys_are_deleted_as_they_are_listed(bucket: str, tmp_path: Path) -> None:
    objects, tiny = ObjectStore(f"s3://{bucket}", 10.0), tmp_path / "tiny"
    tiny.write_bytes(b"1")
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda number: objects.put(f"a/{number}", tiny), range(LIST_PAGE + 5)))
    assert objects.delete_prefix("a") == LIST_PAGE + 5
    assert list(objects.list("")) == []


def test_an_upload_that_breaks_off_leaves_no_parts(object_server: ObjectServer, bucket: str, large: Path) -> None:
    asked = iter(range(PART_BYTES // storage_files.CHUNK_BYTES + 3))

    def break_in_the_second_part() -> None:
        if next(asked, None) is None:
            raise KeyError

    with pytest.raises(KeyError):
        ObjectStore(f"s3://{bucket}", 10.0).put("a/large", large, break_in_the_second_part)
    assert object_server.unfinished_uploads(bucket) == 0


def test_connections_that_break_in_the_middle_cost_a_part_and_not_the_file(
    way: Way, bucket: str, large: Path, tmp_path: Path
) -> None:
    objects = ObjectStore(f"s3://{bucket}", 30.0)
    way.break_after = [PART_BYTES // 2] * 3
    stored = objects.put("a/large", large)
    assert way.break_after == [], "all three broke"
    way.break_after = [500_000, 100, 3_000_000]
    assert objects.fetch("a/large", tmp_path / "copy") == stored
    assert way.break_after == []
    assert (tmp_path / "copy").read_bytes() == LARGE


def test_a_store_that_is_away_is_an_infrastructure_failure(way: Way, bucket: str, source: Path, tmp_path: Path) -> None:
    objects = ObjectStore(f"s3://{bucket}", 0.3)
    objects.put("a/1", source)
    way.close()
    for ask in (
        lambda: objects.put("a/2", source),
        lambda: objects.fetch("a/1", tmp_path / "copy"),
        lambda: objects.open("a/1"),
    ):
        with pytest.raises(OSError, match="does not answer as it should") as failure:
            ask()
        assert failure.value.errno == errno.EIO
        assert way.endpoint.removeprefix("http://") not in str(failure.value)


def test_a_store_that_comes_back_in_time_was_never_missed(way: Way, bucket: str, source: Path) -> None:
    objects = ObjectStore(f"s3://{bucket}", 30.0)
    way.close()
    opening = threading.Timer(0.5, setattr, (way, "closed", False))
    opening.start()
    objects.put("a/1", source)
    assert not way.closed
    opening.join()


@pytest.mark.parametrize(
    ("reason", "patience_seconds", "num_asked"),
    [("connection was not ready", 30.0, 2), ("connection was not ready", -1.0, 1), ("connection refused", 30.0, 1)],
)
def test_what_was_never_sent_is_tried_again(reason: str, patience_seconds: float, num_asked: int) -> None:
    asked: list[int] = []

    def ask() -> bool:
        asked.append(1)
        if len(asked) == 1:
            raise GenericError(f"Generic S3 error: {reason}")
        return True

    with nullcontext() if num_asked > 1 else pytest.raises(GenericError):
        assert again_where_unsent(ask, patience_seconds)
    assert len(asked) == num_asked


def test_credentials_that_the_store_refuses_are_told_with_the_remedy(
    object_server: ObjectServer, bucket: str, source: Path
) -> None:
    objects = ObjectStore(f"s3://{bucket}", 10.0)
    with object_server.letting_nobody_in():
        for ask in (objects.check, lambda: objects.put("a/1", source)):
            with pytest.raises(PermissionError, match="AWS_ACCESS_KEY_ID") as failure:
                ask()
            assert "any-secret-of-tests" not in str(failure.value)


def test_a_bucket_that_is_not_there_is_no_missing_file(bucket: str, source: Path) -> None:
    objects = ObjectStore("s3://no-such-bucket", 10.0)
    for ask in (objects.check, lambda: objects.put("a/1", source), lambda: list(objects.list(""))):
        with pytest.raises(OSError, match="PRETUNE_STORE") as failure:
            ask()
        assert not isinstance(failure.value, FileNotFoundError)


@pytest.mark.parametrize(
    "store", ["bucket", "s3://", "/a/folder", "https://s3.amazonaws.com/bucket", "s3://me:hunter2@bucket", "s3://b?x=1"]
)
def test_a_store_that_is_no_bucket_is_refused_and_not_shown(store: str) -> None:
    with pytest.raises(ValidationError, match="s3://bucket/prefix") as failure:
        Settings(store=store)
    assert "hunter2" not in str(failure.value)


def test_the_settings_choose_the_form(bucket: str, tmp_path: Path) -> None:
    assert isinstance(open_store(Settings(data_dir=tmp_path)), FolderStore)
    assert isinstance(open_store(Settings(store=f"s3://{bucket}/prefix")), ObjectStore)
