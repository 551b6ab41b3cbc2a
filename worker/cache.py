"""A folder of what can be fetched or made again, shared by the processes of a machine and bounded in bytes.

{root}/{kind}/{name}     an entry: a file or a folder, always whole
{root}/{kind}/.{name}    a folder in which one process makes that entry

Whoever uses an entry, or makes one, holds a lock on it that ends with the process. So what nobody has locked is in
nobody's use and may go, and what begins with a dot and is not locked was left by a process that died. The folder must
be on a local disk.
"""

import fcntl
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self
from uuid import uuid4

_MADE = "made"


@dataclass(frozen=True, slots=True)
class Entry:
    """In use until it is closed: it stays where it is. `descriptor` is open for reading where it is a file."""

    path: Path
    descriptor: int

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self.descriptor)


class Cache:
    def __init__(self, root: Path) -> None:
        self._root = root

    def entry(self, kind: str, name: str, make: Callable[[Path], None]) -> Entry:
        """The entry, made where there is none: `make` writes a file or a folder at the path that it is given. A second
        process waits for the first instead of repeating it."""
        path = self._root / kind / name
        while (descriptor := _locked(path, fcntl.LOCK_SH)) is None:
            _make(path, make)
        os.utime(path)
        return Entry(path, descriptor)

    def shrink(self, limit_bytes: int) -> None:
        """Drop what was used longest ago and is not in use now, until the rest fits; and what the dead have left."""
        total = 0
        for path in sorted(self._paths(), key=_used_at, reverse=True):
            if path.name.startswith("."):
                _drop(path)
                continue
            total += _size_bytes(path)
            if total > limit_bytes:
                _drop(path)

    def _paths(self) -> Iterator[Path]:
        for kind in _listed(self._root):
            yield from _listed(kind)


def _make(path: Path, make: Callable[[Path], None]) -> None:
    """Returns when there is an entry, or somebody else has tried to make one."""
    unfinished = path.with_name(f".{path.name}")
    unfinished.mkdir(parents=True, exist_ok=True)
    descriptor = _locked(unfinished, fcntl.LOCK_EX)
    if descriptor is None:
        return
    try:
        if not path.exists():
            _remove(unfinished / _MADE)  # of a process that died here
            make(unfinished / _MADE)
            (unfinished / _MADE).rename(path)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
        os.close(descriptor)


def _drop(path: Path) -> None:
    """Unless it is in use. A folder that is half removed has no name that anybody would trust."""
    descriptor = _locked(path, fcntl.LOCK_EX | fcntl.LOCK_NB)
    if descriptor is None:
        return
    try:
        dropped = path.with_name(f".dropped-{uuid4().hex}")
        path.rename(dropped)
        _remove(dropped)
    finally:
        os.close(descriptor)


def _locked(path: Path, operation: int) -> int | None:
    """A descriptor that holds the lock; None where nothing is there, or it is another's and not waited for."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(descriptor, operation)
        if _is_at(descriptor, path):
            return descriptor
    except BlockingIOError:
        pass
    except BaseException:
        os.close(descriptor)
        raise
    os.close(descriptor)
    return None


def _is_at(descriptor: int, path: Path) -> bool:
    """Not so where it was dropped, or made anew, before the lock was ours."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


def _remove(path: Path) -> None:
    with suppress(FileNotFoundError):
        shutil.rmtree(path) if path.is_dir() else path.unlink()


def _listed(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return []


def _used_at(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        return 0.0


def _size_bytes(path: Path) -> int:
    files = (Path(folder, name) for folder, _, names in os.walk(path) for name in names) if path.is_dir() else [path]
    total = 0
    for file in files:
        with suppress(FileNotFoundError):
            total += file.stat().st_size
    return total
