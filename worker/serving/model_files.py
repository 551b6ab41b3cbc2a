"""Brings a model's files to the local disk, and trusts no byte that it has not hashed. Knows nothing of torch.

Every file is verified on every load: safetensors loads a flipped byte without a word.
"""

import hashlib
import os
import shutil
from pathlib import Path

from app.contract.checkpoint import FileEntry
from app.contract.errors import Unavailable
from app.contract.inference import ModelReference
from app.contract.model_folder import model_digest
from app.storage import CHUNK_BYTES, ArtifactStore, StoredFile
from worker.serving.errors import ModelCorrupted

#: Once for what the network may have spoilt.
FETCH_ATTEMPTS = 2


class ModelFiles:
    """A cache of model folders under `root`, at `{root}/{digest}`; whatever lies there can be fetched again."""

    def __init__(self, store: ArtifactStore, root: Path, limit_bytes: int) -> None:
        self._store = store
        self._root = root
        self._limit_bytes = limit_bytes

    def bring(self, reference: ModelReference) -> Path:
        """The folder of the verified files. Raises ModelCorrupted, or Unavailable where the store does not answer."""
        if model_digest(reference.files) != reference.digest:
            raise ModelCorrupted(f"The files listed for {reference.model_id} do not make its digest.")
        folder = self._root / reference.digest
        try:
            for entry in reference.files:
                self._bring_file(reference, entry, _local_path(folder, entry))
            os.utime(folder)
            self._prune(keep=folder)
        except OSError as error:
            raise Unavailable(
                f"The files of {reference.model_id} cannot be fetched now: {error.strerror}.", retry_after_seconds=5
            ) from error
        return folder

    def _bring_file(self, reference: ModelReference, entry: FileEntry, path: Path) -> None:
        expected = StoredFile(entry.size_bytes, entry.sha256)
        if path.is_file() and _measure(path) == expected:
            return
        for _ in range(FETCH_ATTEMPTS):
            try:
                if self._store.fetch(f"{reference.artifact_prefix}/{entry.path}", path) == expected:
                    return
            except FileNotFoundError:
                raise ModelCorrupted(f"{entry.path} of {reference.model_id} is missing from the store.") from None
        path.unlink()
        raise ModelCorrupted(
            f"{entry.path} of {reference.model_id} is not what was registered: its SHA-256 differs from "
            f"{entry.sha256[:12]}... in the store."
        )

    def _prune(self, keep: Path) -> None:
        """Drop the folders loaded longest ago until the cache fits; torch holds on to files it has mapped."""
        folders = sorted(self._root.iterdir(), key=lambda folder: folder.stat().st_mtime, reverse=True)
        total = 0
        for folder in [keep, *(folder for folder in folders if folder != keep)]:
            total += sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
            if total > self._limit_bytes and folder != keep:
                shutil.rmtree(folder, ignore_errors=True)


def _local_path(folder: Path, entry: FileEntry) -> Path:
    assert not Path(entry.path).is_absolute(), entry.path
    assert ".." not in Path(entry.path).parts, entry.path
    return folder / entry.path


def _measure(path: Path) -> StoredFile:
    digest, size = hashlib.sha256(), 0
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            digest.update(chunk)
            size += len(chunk)
    return StoredFile(size, digest.hexdigest())
