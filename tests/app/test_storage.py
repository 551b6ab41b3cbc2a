"""The artifact store: what is put is whole or not there, and deletions leave no empty folders."""

import threading
from pathlib import Path

import pytest

from app.storage import FolderStore


@pytest.fixture
def store(tmp_path: Path) -> FolderStore:
    return FolderStore(tmp_path / "store")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "source"
    path.write_bytes(b"12345")
    return path


def test_files_are_listed_below_a_key_folder_by_folder(store: FolderStore, source: Path) -> None:
    assert list(store.list("")) == []
    for key in ("b/2", "a/x/1", "b/x/3", "a/y"):
        store.put(key, source)
    assert [file.key for file in store.list("")] == ["a/y", "a/x/1", "b/2", "b/x/3"]
    assert [(file.key, file.size_bytes) for file in store.list("b")] == [("b/2", 5), ("b/x/3", 5)]
    assert [file.key for file in store.list("a/x/1")] == ["a/x/1"]
    assert list(store.list("a/z")) == []


def test_a_deletion_takes_the_folders_that_it_empties(store: FolderStore, source: Path, tmp_path: Path) -> None:
    for key in ("a/x/1", "a/x/y/2", "a/3"):
        store.put(key, source)
    assert store.delete_prefix("a/x") == 10
    assert sorted(path.name for path in (tmp_path / "store").rglob("*")) == ["3", "a"]
    assert store.delete_prefix("a/3") == 5
    assert store.delete_prefix("a/3") == 0
    assert list((tmp_path / "store").iterdir()) == []


def test_a_put_holds_against_a_deletion_that_empties_its_folder(store: FolderStore, source: Path) -> None:
    """The folder is there, still empty, and gone again, before the file is in it."""
    ended = threading.Event()

    def delete() -> None:
        while not ended.is_set():
            store.delete_prefix("a/b/other")

    deleting = threading.Thread(target=delete)
    deleting.start()
    try:
        for number in range(200):
            store.put(f"a/b/{number}", source)
            assert store.exists(f"a/b/{number}")
            store.delete_prefix(f"a/b/{number}")
    finally:
        ended.set()
        deleting.join()


def test_a_source_that_is_not_there_leaves_nothing(store: FolderStore, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        store.put("a/1", tmp_path / "none")
    assert list(store.list("")) == []
