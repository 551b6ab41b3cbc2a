"""One service for one data folder: a lock that ends with its process, however that ends.

The file tells whoever comes second which process is there, and where it answers.
"""

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TextIO

from app.embedded.errors import CannotStart

LOCK_NAME = "pretune.lock"


@dataclass(frozen=True, slots=True)
class Holder:
    """`url` is null until the service answers there."""

    pid: int
    url: str | None = None


@contextmanager
def locked(data_dir: Path) -> Iterator["DataDirLock"]:
    """Raises CannotStart where the folder cannot be ours: another process holds it, or it cannot be written."""
    with _lock_file(data_dir) as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = _read(data_dir)
            told = f"process {holder.pid}" if holder else "another process"
            raise CannotStart(
                f"{data_dir} is in use by {told}. Stop it with `pretune down --data-dir {data_dir}`, "
                "or choose another folder with --data-dir."
            ) from None
        lock = DataDirLock(data_dir)
        lock.tell(Holder(os.getpid()))
        try:
            yield lock
        finally:
            file.truncate(0)


def _lock_file(data_dir: Path) -> TextIO:
    try:
        data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        return (data_dir / LOCK_NAME).open("a+")
    except OSError as error:
        raise CannotStart(
            f"{data_dir} cannot hold our data: {error.strerror}. Choose a folder that you can write to with --data-dir."
        ) from None


class DataDirLock:
    """Held by us until the block of `locked` ends."""

    def __init__(self, data_dir: Path) -> None:
        self._path = data_dir / LOCK_NAME

    def tell(self, holder: Holder) -> None:
        """In place: a renamed file would be another file, and not the locked one."""
        self._path.write_text(json.dumps(asdict(holder)) + "\n")


def holder_of(data_dir: Path) -> Holder | None:
    """Who holds the folder now; None when nobody does."""
    try:
        with (data_dir / LOCK_NAME).open() as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            return None
    except FileNotFoundError:
        return None
    except BlockingIOError:
        return _read(data_dir)


def _read(data_dir: Path) -> Holder | None:
    try:
        return Holder(**json.loads((data_dir / LOCK_NAME).read_text()))
    except (ValueError, TypeError):
        return None  # the other process has the lock and has not told of itself yet, or no longer does
