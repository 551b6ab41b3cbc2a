"""A file on its way to the service, read in pieces."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, NamedTuple

OnProgress = Callable[[int, int], None]


class Upload(NamedTuple):
    """`on_progress` hears how many bytes of how many have been read."""

    path: Path
    on_progress: OnProgress | None = None

    @contextmanager
    def opened(self) -> Iterator[tuple[str, "BinaryIO | _Told"]]:
        """The name of the file and what to read; raises OSError."""
        with self.path.open("rb") as file:
            size = self.path.stat().st_size
            yield self.path.name, file if self.on_progress is None else _Told(file, size, self.on_progress)


class _Told:
    """As much of a binary file as an upload needs."""

    def __init__(self, file: BinaryIO, size: int, on_progress: OnProgress) -> None:
        self._file, self._size, self._on_progress = file, size, on_progress

    def read(self, size: int = -1) -> bytes:
        piece = self._file.read(size)
        self._on_progress(self._file.tell(), self._size)
        return piece

    def seek(self, offset: int, whence: int = 0) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()

    def fileno(self) -> int:
        """Its size is told by the file system."""
        return self._file.fileno()
