"""Uploaded files on their way in: written to scratch as they arrive, counted and digested. Knows no HTTP.

Each file is locked while its process lives, so that a sweep can tell the leavings of a crash from work in progress. It
has its name only then: without a lock nobody writes to it any more.
"""

import fcntl
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from uuid import uuid4

from app.contract.errors import PayloadTooLarge, Unavailable
from app.settings import Settings


@dataclass(frozen=True, slots=True)
class Upload:
    """A file that has arrived whole. `filename` is the user's base name: text to show, never a path."""

    path: Path
    filename: str
    size_bytes: int
    sha256: str


def uploads_folder(settings: Settings) -> Path:
    return settings.scratch_dir / "uploads"


class IncomingFile:
    """A file being received. Leaving the block removes it, whatever happened."""

    def __init__(self, folder: Path, max_bytes: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._path = folder / f"{uuid4().hex}.upload"
        self._max_bytes = max_bytes
        self._digest = hashlib.sha256()
        self._size_bytes = 0
        unlocked = self._path.with_suffix(".new")
        self._file = unlocked.open("xb")
        fcntl.flock(self._file, fcntl.LOCK_EX)
        unlocked.rename(self._path)

    def __enter__(self) -> "IncomingFile":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._path.unlink(missing_ok=True)
        with suppress(OSError):  # what a full disk did not take is still to be written, to a file that is gone
            self._file.close()

    def write(self, data: bytes) -> None:
        """Raises PayloadTooLarge: the bytes that come count, not what a header says."""
        self._size_bytes += len(data)
        if self._size_bytes > self._max_bytes:
            raise too_large(self._max_bytes)
        self._digest.update(data)
        with _scratch_failures_told():
            self._file.write(data)

    def finished(self, filename: str) -> Upload:
        with _scratch_failures_told():
            self._file.flush()
        return Upload(self._path, base_name(filename), self._size_bytes, self._digest.hexdigest())


@contextmanager
def _scratch_failures_told() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise Unavailable(f"The upload cannot be kept now: {error.strerror}.") from error


def too_large(max_bytes: int) -> PayloadTooLarge:
    return PayloadTooLarge(f"The file is larger than {max_bytes:,} bytes, the most that is taken. Split it up.")


def base_name(filename: str) -> str:
    """What stands after the last separator, without control characters; the suffix survives the cut to 255."""
    name = "".join(character for character in filename if character.isprintable()).replace("\\", "/").rsplit("/", 1)[-1]
    return name if len(name) <= 255 else f"{name[:200]}{Path(name).suffix[-50:]}"


def sweep(folder: Path) -> int:
    """Remove what a crash left in the folder; returns the bytes freed."""
    freed = 0
    for path in folder.glob("*.upload"):
        with suppress(FileNotFoundError):
            freed += _remove_if_left(path)
    return freed


def _remove_if_left(path: Path) -> int:
    with path.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return 0
        path.unlink()
        return os.fstat(file.fileno()).st_size
