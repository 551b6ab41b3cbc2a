"""Training processes in waiting: importing torch takes seconds, so each is started before it is needed."""

import threading
from collections import deque
from collections.abc import Callable

from worker.supervisor.child import TrainingChild


class Spares:
    """Keeps up to `count` processes ready. `start` starts one. Thread-safe."""

    def __init__(self, start: Callable[[], TrainingChild], count: int) -> None:
        self._start = start
        self._count = count
        self._lock = threading.Lock()
        self._spares: deque[TrainingChild] = deque()
        self._closed = False

    def refill(self) -> None:
        """Start what is missing. It is for the caller to choose a moment at which the cores are not needed more."""
        with self._lock:
            self._drop_dead()
            while len(self._spares) < self._count and not self._closed:
                self._spares.append(self._start())

    def take(self) -> TrainingChild:
        """The process that has waited longest, or a new one; it is the caller's to close."""
        with self._lock:
            self._drop_dead()
            return self._spares.popleft() if self._spares else self._start()

    def close(self) -> None:
        with self._lock:
            self._closed = True
            while self._spares:
                _discard(self._spares.popleft())

    def _drop_dead(self) -> None:
        for spare in [spare for spare in self._spares if spare.has_exited]:
            self._spares.remove(spare)
            _discard(spare)


def _discard(spare: TrainingChild) -> None:
    spare.close()
    spare.log_path.unlink(missing_ok=True)
