"""The process table: who lives, whose children they are, and who belongs to a folder."""

import os
from collections.abc import Iterator
from pathlib import Path


def exists(pid: int) -> bool:
    """A zombie does not: it has ended, and waits for its parent to ask how."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


def children_of(pid: int) -> list[int]:
    children: list[int] = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        children += map(int, _read(task).split())
    return children


def descendants_of(pid: int) -> set[int]:
    found: set[int] = set()
    unseen = {pid}
    while unseen:
        found |= unseen
        unseen = {child for parent in unseen for child in children_of(parent)} - found
    return found - {pid}


def command_of(pid: int) -> str:
    """Empty for one that has gone."""
    return _read(Path(f"/proc/{pid}/cmdline")).replace("\0", " ")


def processes_of(folder: Path) -> list[str]:
    """Every living process but this one whose environment or command names `folder`, as `pid: command`."""
    told = os.fsencode(folder)
    return [
        f"{pid}: {command_of(pid)}"
        for pid in _all_pids()
        if pid != os.getpid() and exists(pid) and any(told in _bytes(Path(f"/proc/{pid}/{name}")) for name in _TELLING)
    ]


_TELLING = ("environ", "cmdline")


def _all_pids() -> Iterator[int]:
    return (int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit())


def _read(path: Path) -> str:
    return _bytes(path).decode(errors="replace")


def _bytes(path: Path) -> bytes:
    """Nothing where the process has gone, or is another user's."""
    try:
        return path.read_bytes()
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return b""
