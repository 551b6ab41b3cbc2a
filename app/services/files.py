"""Stored files on their way out, piece by piece: never whole in memory."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import BinaryIO

import structlog

from app.contract.errors import Unavailable
from app.storage import CHUNK_BYTES, ArtifactStore

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Download:
    """`size_bytes` and `digest` are null for what is made while it is sent."""

    name: str
    media_type: str
    chunks: Iterator[bytes]
    size_bytes: int | None = None
    digest: str | None = None


def opened(store: ArtifactStore, key: str, whose: str) -> BinaryIO:
    """Raises Unavailable, which names `whose` bytes the store has lost or cannot read now."""
    try:
        return store.open(key)
    except OSError as error:
        raise Unavailable(
            f"The stored file of {whose} cannot be read: {error.strerror}. The fault is the service's storage, and not "
            "the request."
        ) from error


def remove_files(store: ArtifactStore, keys: Iterable[str]) -> None:
    """Those that no row refers to any more. What cannot be deleted now, the garbage collection deletes later."""
    for key in keys:
        try:
            store.delete_prefix(key)
        except OSError as error:
            _log.warning("file_not_deleted", key=key, error=str(error))


def chunks_of(file: BinaryIO) -> Iterator[bytes]:
    with file:
        while chunk := file.read(CHUNK_BYTES):
            yield chunk
