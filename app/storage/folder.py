"""The store as a local folder, or one that several machines mount."""

import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO
from uuid import uuid4

from app.storage.files import copy, replacing
from app.storage.store import StoredFile, StoredKey, unheeding


class FolderStore:
    def __init__(self, root: Path) -> None:
        self._root = root

    def put(self, key: str, source: Path, heed: Callable[[], None] = unheeding) -> StoredFile:
        return _copy_whole(source, self._path(key), heed)

    def fetch(self, key: str, destination: Path, heed: Callable[[], None] = unheeding) -> StoredFile:
        return _copy_whole(self._path(key), destination, heed)

    def open(self, key: str) -> BinaryIO:
        return self._path(key).open("rb")

    def exists(self, key: str) -> bool:
        return self._path(key).is_file()

    def list(self, prefix: str) -> Iterator[StoredKey]:
        for path in _files_at(self._path(prefix) if prefix else self._root):
            with suppress(FileNotFoundError):  # deleted meanwhile
                facts = path.stat()
                modified_at = datetime.fromtimestamp(facts.st_mtime, UTC)
                yield StoredKey(path.relative_to(self._root).as_posix(), facts.st_size, modified_at)

    def delete_prefix(self, prefix: str) -> int:
        deleted = list(self.list(prefix))
        for file in deleted:
            self._path(file.key).unlink(missing_ok=True)
        if deleted:
            self._prune(self._path(prefix))
        return sum(file.size_bytes for file in deleted)

    def check(self) -> None:
        self._root.mkdir(parents=True, exist_ok=True)
        probe = self._root / f".probe-{uuid4().hex}"
        probe.touch()
        probe.unlink()

    def _prune(self, path: Path) -> None:
        """Remove the folders at and above a path that hold nothing any more."""
        for below, _, _ in os.walk(path, topdown=False):
            _remove_if_empty(Path(below))
        for folder in (path, *path.parents):
            if folder == self._root or not _remove_if_empty(folder):
                return

    def _path(self, key: str) -> Path:
        assert not {"", ".."} & set(key.split("/")), key
        return self._root / key


def _files_at(path: Path) -> Iterator[Path]:
    if path.is_file():
        yield path
    for folder, below, names in os.walk(path):
        below.sort()
        yield from (Path(folder, name) for name in sorted(names))


def _remove_if_empty(folder: Path) -> bool:
    """Whether it is gone."""
    try:
        folder.rmdir()
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True


def _copy_whole(source: Path, destination: Path, heed: Callable[[], None]) -> StoredFile:
    """Raises FileNotFoundError for a source that is not there. The destination's folder is made."""
    with source.open("rb") as reader, replacing(destination) as writer:
        return copy(reader, writer, heed)
