"""Stored files on their way out, piece by piece: never whole in memory."""

from collections.abc import Iterator
from typing import BinaryIO

from app.storage import CHUNK_BYTES


def chunks_of(file: BinaryIO) -> Iterator[bytes]:
    with file:
        while chunk := file.read(CHUNK_BYTES):
            yield chunk
