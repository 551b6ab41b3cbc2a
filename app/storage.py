"""The artifact store: bytes under keys, immutable once written. Keys are made by the server, never by a user.

Knows nothing of what the bytes mean. Object stores come as further forms of `ArtifactStore`.
"""

import hashlib
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, NamedTuple, Protocol
from uuid import uuid4

CHUNK_BYTES = 1 << 20


class StoredFile(NamedTuple):
    size_bytes: int
    sha256: str


class ArtifactStore(Protocol):
    def put(self, key: str, source: Path) -> StoredFile:
        """Store a copy of a local file; visible under `key` only when complete and on disk."""

    def fetch(self, key: str, destination: Path) -> StoredFile:
        """Bring the bytes to a local path, whose parent is made. Raises FileNotFoundError for an unknown key."""

    def open(self, key: str) -> BinaryIO:
        """Read as a stream. Raises FileNotFoundError for an unknown key."""

    def exists(self, key: str) -> bool: ...

    def delete_prefix(self, prefix: str) -> int:
        """Delete everything at or below a key; returns the bytes freed. Unknown keys are no error."""

    def check(self) -> None:
        """Raise OSError where the store cannot be written (for /readyz)."""


class FolderStore:
    """A local folder, or one that several machines mount."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def put(self, key: str, source: Path) -> StoredFile:
        destination = self._path(key)
        destination.parent.mkdir(parents=True, exist_ok=True)
        with _replacing(destination) as temporary:
            return _copy(source, temporary)

    def fetch(self, key: str, destination: Path) -> StoredFile:
        destination.parent.mkdir(parents=True, exist_ok=True)
        with _replacing(destination) as temporary:
            return _copy(self._path(key), temporary)

    def open(self, key: str) -> BinaryIO:
        return self._path(key).open("rb")

    def exists(self, key: str) -> bool:
        return self._path(key).is_file()

    def delete_prefix(self, prefix: str) -> int:
        path = self._path(prefix)
        freed = sum(file.stat().st_size for file in _files_at(path))
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
        return freed

    def check(self) -> None:
        self._root.mkdir(parents=True, exist_ok=True)
        probe = self._root / f".probe-{uuid4().hex}"
        probe.touch()
        probe.unlink()

    def _path(self, key: str) -> Path:
        assert not {"", ".."} & set(key.split("/")), key
        return self._root / key


def _files_at(path: Path) -> Iterator[Path]:
    if path.is_file():
        yield path
    else:
        yield from (file for file in path.rglob("*") if file.is_file())


@contextmanager
def _replacing(destination: Path) -> Iterator[Path]:
    """Write beside, fsync, rename, fsync the folder: a crash leaves the old state or the new one."""
    temporary = destination.with_name(f".{destination.name}.{uuid4().hex}.tmp")
    try:
        yield temporary
        temporary.replace(destination)
        sync_folder(destination.parent)
    finally:
        temporary.unlink(missing_ok=True)


def _copy(source: Path, destination: Path) -> StoredFile:
    digest, size = hashlib.sha256(), 0
    with source.open("rb") as reader, destination.open("wb") as writer:
        while chunk := reader.read(CHUNK_BYTES):
            digest.update(chunk)
            size += writer.write(chunk)
        writer.flush()
        os.fsync(writer.fileno())
    return StoredFile(size, digest.hexdigest())


def sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
