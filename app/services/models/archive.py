"""A model's folder as a zip, made while it is sent: of files of any size, one piece is in memory.

The files are stored as they are, since weights do not compress, under fixed dates: equal models give equal bytes.
"""

import hashlib
import io
import zipfile
from collections.abc import Iterator
from typing import Any

from app.contract.checkpoint import FileEntry
from app.contract.inference import ModelReference
from app.contract.model_folder import CARD_NAME
from app.storage import CHUNK_BYTES, ArtifactStore

EARLIEST_DATE = (1980, 1, 1, 0, 0, 0)
READABLE_BY_ALL = 0o644 << 16
LARGE_BYTES = 1 << 31


class DamagedFile(Exception):
    """A stored file is not what was registered; what has been sent must not pass for whole."""


def zipped(store: ArtifactStore, reference: ModelReference, card: str) -> Iterator[bytes]:
    """The model's files, then its card. Raises DamagedFile in the middle, which breaks the download off."""
    sent = _Outbox()
    with zipfile.ZipFile(sent, "w", zipfile.ZIP_STORED) as archive:
        for entry in reference.files:
            with archive.open(_header(entry.path), "w", force_zip64=entry.size_bytes >= LARGE_BYTES) as member:
                for chunk in _verified(store, f"{reference.artifact_prefix}/{entry.path}", entry):
                    member.write(chunk)
                    yield sent.taken()
        archive.writestr(_header(CARD_NAME), card)
    yield sent.taken()


class _Outbox(io.RawIOBase):
    """A file that cannot be rewound: what is written waits until it is taken."""

    def __init__(self) -> None:
        self._waiting = bytearray()

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self._waiting += data
        return len(data)

    def taken(self) -> bytes:
        taken = bytes(self._waiting)
        self._waiting.clear()
        return taken


def _header(path: str) -> zipfile.ZipInfo:
    header = zipfile.ZipInfo(path, EARLIEST_DATE)
    header.external_attr = READABLE_BY_ALL
    return header


def _verified(store: ArtifactStore, key: str, entry: FileEntry) -> Iterator[bytes]:
    digest, size = hashlib.sha256(), 0
    with store.open(key) as file:
        while chunk := file.read(CHUNK_BYTES):
            digest.update(chunk)
            size += len(chunk)
            yield chunk
    if (size, digest.hexdigest()) != (entry.size_bytes, entry.sha256):
        raise DamagedFile(f"{key} does not have the digest that its model tells")
