"""What every form of the store promises.

Each method raises OSError where the store fails: PermissionError where it refuses us, FileNotFoundError only for a key
that it does not have. `strerror` may be shown to users: it names no address and no secret.
"""

from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import BinaryIO, NamedTuple, Protocol


class StoredFile(NamedTuple):
    size_bytes: int
    sha256: str


class StoredKey(NamedTuple):
    key: str
    size_bytes: int
    modified_at: datetime


def unheeding() -> None:
    """Nothing breaks the transfer off."""


class ArtifactStore(Protocol):
    def put(self, key: str, source: Path, heed: Callable[[], None] = unheeding) -> StoredFile:
        """Store a copy of a local file; visible under `key` only when complete and durable. `heed` is called between
        pieces: what it raises breaks the transfer off."""

    def fetch(self, key: str, destination: Path, heed: Callable[[], None] = unheeding) -> StoredFile:
        """Bring the bytes to a local path, whose parent is made. Raises FileNotFoundError for an unknown key."""

    def open(self, key: str) -> BinaryIO:
        """Read as a stream, which can be rewound. Raises FileNotFoundError for an unknown key."""

    def exists(self, key: str) -> bool: ...

    def list(self, prefix: str) -> Iterator[StoredKey]:
        """Everything at or below a key, whatever else is written or deleted meanwhile; all of the store below "". Keys
        with a common folder come one behind the other. Those that begin with a dot are files being written, or left.
        """

    def delete_prefix(self, prefix: str) -> int:
        """Delete everything at or below a key; returns the bytes freed. Unknown keys are no error."""

    def check(self) -> None:
        """Raise OSError where the store cannot be written (for /readyz)."""
