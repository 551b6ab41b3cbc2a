"""Whether a process that told no reason ended for want of memory: known from the kernel, or from what it printed."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

_ROOT = Path("/")
_COUNT = "oom_kill "
#: What Rust and C++ say before they abort; both cannot tell it as an exception.
_ABORT_WORDS = (b"memory allocation of", b"std::bad_alloc")
_TAIL_BYTES = 4_096


def ran_out_of_memory(exit_code: int, oom_kills: int, log: Path) -> bool:
    """`oom_kills` of the kernel fell into the life of the process, which printed to `log`."""
    if exit_code == -signal.SIGKILL:
        return oom_kills > 0
    return exit_code == -signal.SIGABRT and any(words in _tail(log) for words in _ABORT_WORDS)


def count_oom_kills(root: Path = _ROOT) -> int:
    """How often the kernel has killed for want of memory: in our own control group, where it counts by group; else on
    this machine; 0 where it does not count. The count rises before the killed process ends."""
    return next((count for file in _counters(root) if (count := _count(file)) is not None), 0)


def _counters(root: Path) -> Iterator[Path]:
    """The nearest first. A container may see its own group as the root of all, under a path of its host."""
    for controllers, group in _groups(root / "proc/self/cgroup"):
        if controllers and "memory" not in controllers.split(","):
            continue
        folder, name = ("memory", "memory.oom_control") if controllers else ("", "memory.events")
        yield root / "sys/fs/cgroup" / folder / group.lstrip("/") / name
        yield root / "sys/fs/cgroup" / folder / name
    yield root / "proc/vmstat"


def _groups(file: Path) -> list[tuple[str, str]]:
    """(controllers, path) of each hierarchy of control groups; that of version 2 names no controllers."""
    return [(controllers, path) for _, controllers, path in (line.split(":", 2) for line in _lines(file))]


def _count(file: Path) -> int | None:
    return next((int(line.removeprefix(_COUNT)) for line in _lines(file) if line.startswith(_COUNT)), None)


def _lines(file: Path) -> list[str]:
    try:
        return file.read_text().splitlines()
    except OSError:
        return []


def _tail(log: Path) -> bytes:
    with log.open("rb") as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - _TAIL_BYTES))
        return file.read(_TAIL_BYTES)
