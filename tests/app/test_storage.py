"""The artifact store: what is put is whole or not there, and deletions leave no empty folders."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

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


def test_puts_hold_against_deletions_that_empty_their_folder(store: FolderStore, source: Path) -> None:
    """The folder may be there, still empty, and gone again, before the file is in it."""

    def put_and_delete(name: str) -> None:
        for _ in range(100):
            store.put(f"a/b/{name}", source)
            assert store.exists(f"a/b/{name}")
            store.delete_prefix(f"a/b/{name}")

    with ThreadPoolExecutor(4) as threads:
        for done in [threads.submit(put_and_delete, str(number)) for number in range(4)]:
            done.result()
    assert list(store.list("")) == []


def test_a_folder_that_goes_before_its_first_file_is_made_again(
    store: FolderStore, source: Path, monkeypatch: pytest.MonkeyPatch
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
    store.put("a/1", source)
    assert pruned
    assert store.exists("a/1")


def test_a_source_that_is_not_there_leaves_nothing(store: FolderStore, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        store.put("a/1", tmp_path / "none")
    assert list(store.list("")) == []
