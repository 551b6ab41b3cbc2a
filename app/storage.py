"""The artifact store: bytes under keys, immutable once written. Keys are made by the server, never by a user.

Knows nothing of what the bytes mean. Object stores come as further forms of `ArtifactStore`.
"""

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO, NamedTuple, Protocol
from uuid import uuid4

CHUNK_BYTES = 1 << 20
#: How often a folder may be pruned between its making and the first file in it.
MAX_PRUNED_MEANWHILE = 10


class StoredFile(NamedTuple):
    size_bytes: int
    sha256: str


class StoredKey(NamedTuple):
    key: str
    size_bytes: int
    modified_at: datetime


class ArtifactStore(Protocol):
    def put(self, key: str, source: Path) -> StoredFile:
        """Store a copy of a local file; visible under `key` only when complete and on disk."""

    def fetch(self, key: str, destination: Path) -> StoredFile:
        """Bring the bytes to a local path, whose parent is made. Raises FileNotFoundError for an unknown key."""

    def open(self, key: str) -> BinaryIO:
        """Read as a stream. Raises FileNotFoundError for an unknown key."""

    def exists(self, key: str) -> bool: ...

    def list(self, prefix: str) -> Iterator[StoredKey]:
        """Everything at or below a key, whatever else is written or deleted meanwhile; all of the store below "". Keys
        with a common folder come one behind the other. Those that begin with a dot are files being written, or left.
        """

    def delete_prefix(self, prefix: str) -> int:
        """Delete everything at or below a key; returns the bytes freed. Unknown keys are no error."""

    def check(self) -> None:
        """Raise OSError where the store cannot be written (for /readyz)."""


class FolderStore:
    """A local folder, or one that several machines mount."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def put(self, key: str, source: Path) -> StoredFile:
        return _copy_whole(source, self._path(key))

    def fetch(self, key: str, destination: Path) -> StoredFile:
        return _copy_whole(self._path(key), destination)

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


def _copy_whole(source: Path, destination: Path) -> StoredFile:
    """Raises FileNotFoundError for a source that is not there. The destination's folder is made."""
    with source.open("rb") as reader, _replacing(destination) as writer:
        return _copy(reader, writer)


@contextmanager
def _replacing(destination: Path) -> Iterator[BinaryIO]:
    """Write beside, fsync, rename, fsync the folder: a crash leaves the old state or the new one."""
    temporary = destination.with_name(f".{destination.name}.{uuid4().hex}.tmp")
    try:
        with _created(temporary) as writer:
            yield writer
            writer.flush()
            os.fsync(writer.fileno())
        temporary.replace(destination)
        sync_folder(destination.parent)
    finally:
        temporary.unlink(missing_ok=True)


def _created(path: Path) -> BinaryIO:
    """A new file in a folder that may be pruned, as empty, until the file stands in it."""
    for _ in range(MAX_PRUNED_MEANWHILE):
        with suppress(FileNotFoundError, FileExistsError):  # the latter: it was there, and was gone when looked at
            path.parent.mkdir(parents=True, exist_ok=True)
            return path.open("xb")
    path.parent.mkdir(parents=True, exist_ok=True)
    return path.open("xb")


def _copy(reader: BinaryIO, writer: BinaryIO) -> StoredFile:
    digest, size = hashlib.sha256(), 0
    while chunk := reader.read(CHUNK_BYTES):
        digest.update(chunk)
        size += writer.write(chunk)
    return StoredFile(size, digest.hexdigest())


def sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
