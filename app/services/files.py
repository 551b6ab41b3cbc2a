"""Stored files on their way out, piece by piece: never whole in memory."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from app.storage import CHUNK_BYTES


@dataclass(frozen=True, slots=True)
class Download:
    """`size_bytes` and `digest` are null for what is made while it is sent."""

    name: str
    media_type: str
    chunks: Iterator[bytes]
    size_bytes: int | None = None
    digest: str | None = None


def chunks_of(file: BinaryIO) -> Iterator[bytes]:
    with file:
        while chunk := file.read(CHUNK_BYTES):
            yield chunk
