"""The places in which one trainer runs jobs. Whoever hears of work, a message or a poll, fills a free one."""

import threading
from collections.abc import Callable


class Slots:
    """At most `count` calls of `run_next` at a time; it runs one job and tells whether there was one."""

    def __init__(self, count: int, run_next: Callable[[], bool], shutdown: threading.Event) -> None:
        self._count = count
        self._free = threading.Semaphore(count)
        self._run_next = run_next
        self._shutdown = shutdown
        self._calls = 0
        self._counting = threading.Lock()

    def fill(self) -> None:
        """Run jobs in a free slot until none is left. Returns at once where no slot is free.

        A call that found no free slot may have heard of a job that the holder's last look missed: whoever frees a
        slot looks again if there were calls since.
        """
        with self._counting:
            self._calls += 1
        while not self._shutdown.is_set() and self._free.acquire(blocking=False):
            try:
                calls_seen = self._run_all()
            finally:
                self._free.release()
            if calls_seen == self._calls:
                return

    def drain(self) -> None:
        """Wait until nothing runs; nothing will, from now on."""
        assert self._shutdown.is_set()
        for _ in range(self._count):
            self._free.acquire()

    def _run_all(self) -> int:
        """The number of calls before the look that found nothing."""
        while True:
            calls_seen = self._calls
            if self._shutdown.is_set() or not self._run_next():
                return calls_seen
