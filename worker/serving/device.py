"""The one thread that computes. Knows nothing of models, batches or HTTP.

One thread for all models, because two that compute at once only fight for the same cores: work of several models
takes turns, a unit each. Torch's own threads work inside a unit.
"""

import logging
import threading
from typing import Protocol

import torch

logger = logging.getLogger(__name__)


class Work(Protocol):
    """Something with units of computation to do, one at a time, on the device's thread."""

    def step(self) -> bool:
        """Do one unit: a batch, or one token of every running text. True while more is waiting. Never raises."""


class Turns(Protocol):
    """What gives work its turns."""

    def wake(self, work: Work) -> None:
        """Give `work` a turn. Calling it again before that turn changes nothing; from any thread."""


class Device:
    """Runs a unit of each waiting `Work` in turn, under `torch.inference_mode`."""

    def __init__(self, num_threads: int) -> None:
        self._num_threads = num_threads
        self._changed = threading.Condition()
        self._waiting: dict[Work, None] = {}  # an ordered set: first in, first out
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="device", daemon=True)
        self._thread.start()

    def wake(self, work: Work) -> None:
        with self._changed:
            self._waiting[work] = None
            self._changed.notify()

    def close(self) -> None:
        """End after the unit that runs now; whatever waits is left."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join()

    def _run(self) -> None:
        torch.set_num_threads(self._num_threads)
        with torch.inference_mode():
            while self._take_turn():
                pass

    def _take_turn(self) -> bool:
        """False where there is none any more. While the next one is waited for, nothing holds on to the last work: its
        model may leave memory."""
        work = self._next()
        if work is None:
            return False
        try:
            more = work.step()
        except Exception:
            logger.exception("A unit of work broke its promise not to raise")
        else:
            if more:
                self.wake(work)
        return True

    def _next(self) -> Work | None:
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._closed)
            if self._closed:
                return None
            work = next(iter(self._waiting))
            del self._waiting[work]
            return work
