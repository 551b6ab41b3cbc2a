"""One child of the service: started, watched, started again when it dies, ended. Knows nothing of what it does."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from app.processes import ChildStarter, kill_group

FIRST_PAUSE_SECONDS = 0.5
LONGEST_PAUSE_SECONDS = 30.0
#: Who has lived so long is well again: its next death is a first one.
HEALTHY_SECONDS = 60.0
TAIL_LINES = 15
TAIL_BYTES = 16_384
#: A log beyond this is set aside, once, when its process starts.
MAX_LOG_BYTES = 16 << 20


@dataclass(frozen=True, slots=True)
class MemberSpec:
    """`ready` may be asked often, and answers at once. `stop_seconds` is the time from SIGTERM to SIGKILL."""

    name: str
    command: Sequence[str]
    environment: Mapping[str, str]
    ready: Callable[[], bool]
    stop_seconds: float
    inherits: Sequence[int] = ()
    prepare: Callable[[], None] = field(default=lambda: None)


class Member:
    def __init__(self, spec: MemberSpec, starter: ChildStarter, logs_dir: Path) -> None:
        self.spec = spec
        self.log_path = logs_dir / f"{spec.name}.log"
        self._starter = starter
        self._cwd = logs_dir.parent
        self._process: subprocess.Popen[bytes] | None = None
        self._started_at = 0.0
        self._deaths_in_row = 0
        self._was_ready = False
        self._start_again_at: float | None = None

    def start(self) -> None:
        self.spec.prepare()
        _set_aside(self.log_path)
        with self.log_path.open("ab") as log:
            self._process = self._starter.start(
                [sys.executable, "-P", "-m", "app.processes", *self.spec.command],
                env=dict(self.spec.environment),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self._cwd,
                pass_fds=tuple(self.spec.inherits),
            )
        self._started_at, self._start_again_at = time.monotonic(), None

    def is_ready(self) -> bool:
        """Asked until it was once; from then on a member that lives counts as ready."""
        self._was_ready = self._was_ready or self.spec.ready()
        return self._was_ready

    def death(self) -> str | None:
        """How it ended, told once. It then starts again after a pause, which doubles with each death in a row."""
        if self._process is None or (code := self._process.poll()) is None:
            return None
        self._process = None
        lived_seconds = time.monotonic() - self._started_at
        self._deaths_in_row = 1 if lived_seconds >= HEALTHY_SECONDS else self._deaths_in_row + 1
        pause_seconds = min(FIRST_PAUSE_SECONDS * 2 ** (self._deaths_in_row - 1), LONGEST_PAUSE_SECONDS)
        self._start_again_at = time.monotonic() + pause_seconds
        return f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with status {code}"

    def start_if_due(self) -> bool:
        due = self._start_again_at is not None and time.monotonic() >= self._start_again_at
        if due:
            self.start()
        return due

    def ask_to_end(self) -> None:
        if self._process is not None:
            kill_group(self._process, signal.SIGTERM)

    def kill(self) -> None:
        if self._process is not None:
            kill_group(self._process)

    def has_ended(self) -> bool:
        return self._process is None or self._process.poll() is not None

    def log_tail(self) -> str:
        """The last lines that it wrote, indented."""
        try:
            with self.log_path.open("rb") as log:
                log.seek(max(0, log.seek(0, os.SEEK_END) - TAIL_BYTES))
                lines = log.read().decode(errors="replace").splitlines()[-TAIL_LINES:]
        except FileNotFoundError:
            return ""
        return "\n".join(f"    {line}" for line in lines)


def _set_aside(log_path: Path) -> None:
    if log_path.exists() and log_path.stat().st_size > MAX_LOG_BYTES:
        log_path.replace(log_path.with_suffix(".log.1"))
