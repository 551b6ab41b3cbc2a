"""Brings what an attempt made into the artifact store, verified; the rows are another's to write.

A checkpoint's manifest is stored last: its presence means that the rest is complete.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import structlog
from pydantic import ValidationError

from app.contract.checkpoint import MANIFEST_NAME, CheckpointManifest, FileEntry, checkpoint_folder_name
from app.contract.layout import attempt_prefix
from app.db.attempts import Claim
from app.storage import ArtifactStore, StoredFile
from app.storage.store import unheeding
from worker.local_copies import Corrupted

_log = structlog.get_logger(__name__)

LOG_ARTIFACT = "training.log"
MAX_LOG_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class PublishedCheckpoint:
    prefix: str
    manifest: CheckpointManifest
    size_bytes: int


@dataclass(frozen=True, slots=True)
class PublishedArtifact:
    name: str
    key: str
    media_type: str
    stored: StoredFile


class Publisher:
    """Publishes for one attempt: its number is in every key, so that two attempts never write the same one. What `heed`
    raises breaks it off."""

    def __init__(self, store: ArtifactStore, claim: Claim, heed: Callable[[], None] = unheeding) -> None:
        self._store = store
        self._heed = heed
        self._prefix = attempt_prefix(claim.project_id, claim.job_id, claim.attempt)

    def checkpoint(self, folder: Path, step: int) -> PublishedCheckpoint:
        """Verify and store a checkpoint folder. Raises Corrupted; then nothing of it stays stored."""
        manifest = _read_manifest(folder, step)
        prefix = f"{self._prefix}/{checkpoint_folder_name(step)}"
        try:
            for entry in manifest.files:
                self._put_verified(f"{prefix}/{entry.path}", folder / entry.path, entry)
            self._store.put(f"{prefix}/{MANIFEST_NAME}", folder / MANIFEST_NAME, self._heed)
        except BaseException:
            delete_unneeded(self._store, prefix)
            raise
        return PublishedCheckpoint(prefix, manifest, sum(entry.size_bytes for entry in manifest.files))

    def artifact(self, name: str, path: Path, media_type: str) -> PublishedArtifact:
        key = f"{self._prefix}/artifacts/{PurePosixPath(name).name}"
        return PublishedArtifact(name, key, media_type, self._store.put(key, path, self._heed))

    def log(self, path: Path) -> PublishedArtifact:
        """The end of what the process printed."""
        tail = path.with_suffix(".tail")
        with path.open("rb") as whole:
            whole.seek(max(0, whole.seek(0, os.SEEK_END) - MAX_LOG_BYTES))
            tail.write_bytes(whole.read(MAX_LOG_BYTES))
        return self.artifact(LOG_ARTIFACT, tail, "text/plain; charset=utf-8")

    def _put_verified(self, key: str, path: Path, expected: FileEntry) -> None:
        try:
            stored = self._store.put(key, path, self._heed)
        except FileNotFoundError as error:
            raise Corrupted(f"{expected.path} is missing") from error
        if (stored.size_bytes, stored.sha256) != (expected.size_bytes, expected.sha256):
            raise Corrupted(f"{expected.path} does not have the digest that its manifest tells")


def delete_unneeded(store: ArtifactStore, prefix: str) -> None:
    """What is at or below a key that no row refers to, or no more."""
    try:
        store.delete_prefix(prefix)
    except OSError as error:  # costs space and nothing else
        _log.warning("files_not_deleted", prefix=prefix, error=str(error))


def _read_manifest(folder: Path, step: int) -> CheckpointManifest:
    try:
        manifest = CheckpointManifest.model_validate_json((folder / MANIFEST_NAME).read_bytes())
    except (FileNotFoundError, ValidationError) as error:
        raise Corrupted(f"its manifest cannot be read: {error}") from error
    if manifest.step != step:
        raise Corrupted(f"its manifest is that of step {manifest.step}")
    if unsafe := [entry.path for entry in manifest.files if not _is_inside(entry.path)]:
        raise Corrupted(f"its manifest names files outside it: {unsafe[0]}")
    return manifest


def _is_inside(path: str) -> bool:
    parts = PurePosixPath(path).parts
    return bool(parts) and parts[0] != "/" and ".." not in parts
