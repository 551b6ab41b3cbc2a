"""Working folders of one trainer. A lock that dies with the process tells which folders nobody needs any more."""

import fcntl
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

LOCK_NAME = "lock"


class Scratch:
    """`{root}/trainers/{trainer_id}/`, locked for as long as this object is open."""

    def __init__(self, root: Path, trainer_id: str) -> None:
        self._trainers = root / "trainers"
        self._folder = self._trainers / trainer_id
        unlocked = self._trainers / f".{trainer_id}"
        unlocked.mkdir(parents=True)
        self._lock = (unlocked / LOCK_NAME).open("wb")
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        unlocked.rename(self._folder)

    def new_log(self) -> Path:
        """Where a process in waiting writes, until its attempt is known."""
        return self._folder / f"spare-{uuid4().hex}.log"

    @contextmanager
    def attempt(self, job_id: str, number: int) -> Iterator[Path]:
        """A folder for one attempt, gone after it."""
        folder = self._folder / f"{job_id}-{number}"
        folder.mkdir()
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def sweep(self) -> None:
        """Remove the folders of trainers that have died."""
        for folder in self._trainers.iterdir():
            if not folder.name.startswith(".") and folder != self._folder and _is_dead(folder):
                shutil.rmtree(folder, ignore_errors=True)

    def close(self) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)
        self._lock.close()


def _is_dead(folder: Path) -> bool:
    """A folder whose lock has gone is just being removed."""
    try:
        with (folder / LOCK_NAME).open("r+b") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
