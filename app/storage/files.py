"""Local files that are whole or not there."""

import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO
from uuid import uuid4

from app.storage.store import StoredFile

CHUNK_BYTES = 1 << 20
#: How often a folder may be pruned between its making and the first file in it.
MAX_PRUNED_MEANWHILE = 10


@contextmanager
def replacing(destination: Path) -> Iterator[BinaryIO]:
    """Write beside, fsync, rename, fsync the folder: a crash leaves the old state or the new one. The folder is
    made."""
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


def copy(reader: BinaryIO, writer: BinaryIO, heed: Callable[[], None]) -> StoredFile:
    digest, size = hashlib.sha256(), 0
    while chunk := reader.read(CHUNK_BYTES):
        heed()
        digest.update(chunk)
        size += writer.write(chunk)
    return StoredFile(size, digest.hexdigest())


def sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _created(path: Path) -> BinaryIO:
    """A new file in a folder that may be pruned, as empty, until the file stands in it."""
    for _ in range(MAX_PRUNED_MEANWHILE):
        with suppress(FileNotFoundError, FileExistsError):  # the latter: it was there, and was gone when looked at
            path.parent.mkdir(parents=True, exist_ok=True)
            return path.open("xb")
    path.parent.mkdir(parents=True, exist_ok=True)
    return path.open("xb")
