"""Brings what an attempt needs to local paths, verified byte by byte. Decides nothing about jobs."""

import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from uuid import uuid4

from app.contract.checkpoint import MANIFEST_NAME, CheckpointManifest, FileEntry
from app.contract.inference import ModelReference
from app.contract.messages import DatasetInput
from app.db.tables import DatasetRow
from app.storage import ArtifactStore

#: A file that nobody has written to for so long does not arrive any more.
ARRIVAL_SECONDS = 86_400.0


class Corrupted(Exception):
    """Stored bytes are not those that were written: a file is gone, or its digest differs."""


def fetch_dataset(store: ArtifactStore, row: DatasetRow, cache_dir: Path) -> DatasetInput:
    """Kept in the cache by digest, because many jobs train on one data set. Raises Corrupted."""
    path = cache_dir / "datasets" / row.sha256
    if not path.is_file():
        arriving = path.with_name(f".{path.name}.{uuid4().hex}")
        expected = FileEntry(path=row.filename, size_bytes=row.size_bytes, sha256=row.sha256)
        fetch_file(store, row.blob_key, expected, arriving)
        arriving.replace(path)
    return DatasetInput(path=path, filename=row.filename, kind=row.kind, columns=row.columns, sha256=row.sha256)


def sweep_arrivals(cache_dir: Path) -> None:
    """Remove what processes that died left half fetched in the cache."""
    for path in (cache_dir / "datasets").glob(".*"):
        with suppress(FileNotFoundError):
            if time.time() - path.stat().st_mtime > ARRIVAL_SECONDS:
                path.unlink()


def fetch_model(store: ArtifactStore, reference: ModelReference, folder: Path) -> Path:
    """The model's files under `folder`. Raises Corrupted."""
    return _fetch_files(store, reference.artifact_prefix, reference.files, folder)


def fetch_checkpoint(store: ArtifactStore, prefix: str, manifest: CheckpointManifest, folder: Path) -> Path:
    """The checkpoint's files under `folder`, its manifest last. Raises Corrupted."""
    _fetch_files(store, prefix, manifest.files, folder)
    (folder / MANIFEST_NAME).write_text(manifest.model_dump_json())
    return folder


def _fetch_files(store: ArtifactStore, prefix: str, files: Iterable[FileEntry], folder: Path) -> Path:
    for entry in files:
        fetch_file(store, f"{prefix}/{entry.path}", entry, folder / entry.path)
    return folder


def fetch_file(store: ArtifactStore, key: str, expected: FileEntry, destination: Path) -> None:
    try:
        stored = store.fetch(key, destination)
    except FileNotFoundError as error:
        raise Corrupted(f"{expected.path} is missing from the store") from error
    if (stored.size_bytes, stored.sha256) != (expected.size_bytes, expected.sha256):
        destination.unlink()
        raise Corrupted(f"{expected.path} has changed in the store: its digest is {stored.sha256}")
