"""Acts on a training process in time: stops it when asked, when it stalls, and when the right to run it is gone.

A thread that never waits for a disk, a database or a network, so that no slow store delays a kill.
"""

import math
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import IntEnum
from typing import Self

from app.contract.messages import ReportLine
from worker.supervisor.child import TrainingChild
from worker.supervisor.lease import LeaseKeeper
from worker.supervisor.progress_signs import ProgressSigns

TICK_SECONDS = 0.1


class Ending(IntEnum):
    """Why we end a training process before its time; a higher one overrides a lower one."""

    PAUSE = 1
    PREEMPT = 2
    TIME_LIMIT = 3
    STALL = 4
    CANCEL = 5
    LEASE_LOST = 6


@dataclass(frozen=True, slots=True)
class Limits:
    """A process that shows no progress for `stall_seconds` is stalled; one asked to end has its grace for a checkpoint.
    At the monotonic time `run_until`, the job has run for its `time_limit_seconds`."""

    stall_seconds: float
    stop_grace_seconds: float
    cancel_grace_seconds: float
    time_limit_seconds: int | None = None
    run_until: float = math.inf

    def grace_seconds(self, ending: Ending) -> float:
        match ending:
            case Ending.PAUSE | Ending.PREEMPT | Ending.TIME_LIMIT:
                return self.stop_grace_seconds
            case Ending.CANCEL:
                return self.cancel_grace_seconds
            case Ending.STALL | Ending.LEASE_LOST:
                return 0.0


class Watch:
    """A context: watches from the claim on, and the process once it is attached. `shutdown`: this trainer is to end."""

    def __init__(self, lease: LeaseKeeper, shutdown: threading.Event, limits: Limits) -> None:
        self._lease = lease
        self._shutdown = shutdown
        self.limits = limits
        self._lock = threading.Lock()
        self._child: TrainingChild | None = None
        self._kill_at: float | None = None
        self._signs = ProgressSigns()
        self._idle_since: float | None = None
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watch", daemon=True)
        self.ending: Ending | None = None

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closed.set()
        self._thread.join()

    @contextmanager
    def over(self, child: TrainingChild) -> Iterator[None]:
        """The time in which `child` may be signalled."""
        with self._lock:
            self._child, self._idle_since = child, time.monotonic()
            if self.ending is not None:
                self._ask_to_end(child)
        try:
            yield
        finally:
            with self._lock:
                self._child = None

    @contextmanager
    def handling(self, line: ReportLine) -> Iterator[None]:
        """The line is being handled: that the process does nothing meanwhile is our doing."""
        assert self._idle_since is not None
        idle_since, began_at = self._idle_since, time.monotonic()
        self._idle_since = None
        try:
            yield
        finally:
            ended_at = time.monotonic()
            self._idle_since = ended_at if self._signs.shown_by(line) else idle_since + ended_at - began_at

    def _run(self) -> None:
        while not self._closed.wait(TICK_SECONDS):
            wanted = self._wanted()
            with self._lock:
                self._end(wanted)

    def _wanted(self) -> Ending | None:
        if self._lease.lost:
            return Ending.LEASE_LOST
        if self._lease.stop_request == "cancel":
            return Ending.CANCEL
        if self._is_stalled():
            return Ending.STALL
        if time.monotonic() >= self.limits.run_until:
            return Ending.TIME_LIMIT
        if self._shutdown.is_set():
            return Ending.PREEMPT
        return Ending.PAUSE if self._lease.stop_request == "pause" else None

    def _is_stalled(self) -> bool:
        idle_since = self._idle_since
        return idle_since is not None and time.monotonic() - idle_since > self.limits.stall_seconds

    def _end(self, wanted: Ending | None) -> None:
        is_new = wanted is not None and (self.ending is None or wanted > self.ending)
        if is_new:
            self.ending = wanted
        if self._child is None:
            return
        if is_new:
            self._ask_to_end(self._child)
        if self._child.has_exited or (self._kill_at is not None and time.monotonic() >= self._kill_at):
            self._child.kill()  # the process, or what it left behind holding the pipe that we read

    def _ask_to_end(self, child: TrainingChild) -> None:
        assert self.ending is not None
        kill_at = time.monotonic() + self.limits.grace_seconds(self.ending)
        self._kill_at = kill_at if self._kill_at is None else min(kill_at, self._kill_at)
        child.terminate()
