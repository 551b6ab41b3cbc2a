"""Brings files of the store to this machine, once for all processes, and trusts no byte that it has not hashed.

Knows nothing of torch: trainers and inference replicas use it alike.
"""

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from app.contract.checkpoint import FileEntry
from app.contract.inference import ModelReference
from app.storage import ArtifactStore, StoredFile
from app.storage.store import unheeding
from worker.cache import Cache, Entry

DATASETS = "datasets"
MODELS = "models"
#: Once for what the network may have spoilt.
FETCH_ATTEMPTS = 2


class Corrupted(Exception):
    """Stored bytes are not those that were written: a file is gone, or its digest differs."""


@dataclass(frozen=True, slots=True)
class LocalCopies:
    """`cache` holds at most `limit_bytes`, and what is in use. `heed` may break a transfer off. Raises Corrupted, and
    OSError where the store or the disk fails."""

    store: ArtifactStore
    cache: Cache
    limit_bytes: int

    def file(self, key: str, expected: FileEntry, heed: Callable[[], None] = unheeding) -> Entry:
        """A data set's one file, by its digest."""
        entry = self.cache.entry(
            DATASETS, expected.sha256, lambda path: fetch_file(self.store, key, expected, path, heed)
        )
        self.cache.shrink(self.limit_bytes)
        return entry

    def model(self, reference: ModelReference, heed: Callable[[], None] = unheeding) -> Entry:
        """The folder of a model's files, each verified now: a flipped byte of weights loads without a word."""
        keys = {entry: f"{reference.artifact_prefix}/{entry.path}" for entry in reference.files}

        def fetch(folder: Path) -> None:
            for entry, key in keys.items():
                fetch_file(self.store, key, entry, _inside(folder, entry), heed)

        held = self.cache.entry(MODELS, reference.digest, fetch)
        try:
            for entry, key in keys.items():
                path = _inside(held.path, entry)
                if not path.is_file() or _measured(path) != _stored(entry):
                    fetch_file(self.store, key, entry, path, heed)
        except BaseException:
            held.__exit__()
            raise
        self.cache.shrink(self.limit_bytes)
        return held


def fetch_files(
    store: ArtifactStore, prefix: str, files: Iterable[FileEntry], folder: Path, heed: Callable[[], None]
) -> None:
    for entry in files:
        fetch_file(store, f"{prefix}/{entry.path}", entry, _inside(folder, entry), heed)


def fetch_file(
    store: ArtifactStore, key: str, expected: FileEntry, destination: Path, heed: Callable[[], None]
) -> None:
    """Raises Corrupted; then nothing lies at `destination`."""
    for _ in range(FETCH_ATTEMPTS):
        try:
            found = store.fetch(key, destination, heed)
        except FileNotFoundError as error:
            raise Corrupted(f"{expected.path} is missing from the store") from error
        if found == _stored(expected):
            return
    destination.unlink()
    raise Corrupted(f"{expected.path} has changed in the store: its digest is {found.sha256}")


def _inside(folder: Path, entry: FileEntry) -> Path:
    assert not Path(entry.path).is_absolute(), entry.path
    assert ".." not in Path(entry.path).parts, entry.path
    return folder / entry.path


def _stored(entry: FileEntry) -> StoredFile:
    return StoredFile(entry.size_bytes, entry.sha256)


def _measured(path: Path) -> StoredFile:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return StoredFile(path.stat().st_size, digest)
