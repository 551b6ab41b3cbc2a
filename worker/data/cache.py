"""Files that can be made again, shared by processes: each is made once, and is whole or not there."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from worker.cache import Cache


def cached_file(cache_dir: Path, kind: str, name: str, write: Callable[[BinaryIO], None]) -> BinaryIO:
    """Open for reading; written by `write` if it was not there. It stays in the cache while it is open, or mapped: a
    map holds on to the file that it was made of."""

    def make(path: Path) -> None:
        with path.open("wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())

    return os.fdopen(Cache(cache_dir).entry(kind, name, make).descriptor, "rb")
