"""Files that can be made again, shared by processes: each is made once, and is whole or not there."""

import fcntl
import os
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO


def cached_file(path: Path, write: Callable[[BinaryIO], None]) -> Path:
    """`path`, written by `write` if it is not there yet. A second process waits for the first instead of repeating it.

    The lock ends with its holder, so what a killed process left half-written is begun anew.
    """
    if path.exists():
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.with_name(f"{path.name}.lock").open("ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not path.exists():
            _write_whole(path, write)
    return path


def _write_whole(path: Path, write: Callable[[BinaryIO], None]) -> None:
    unfinished = path.with_name(f"{path.name}.tmp")
    try:
        with unfinished.open("wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        unfinished.rename(path)
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise
