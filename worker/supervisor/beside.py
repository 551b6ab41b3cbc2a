"""One piece of work at a time in a thread of its own, so that whoever hands it over goes on meanwhile."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Self


class Beside:
    """A context: leaving it waits for the work, and raises what it raised unless something else is raised already."""

    def __init__(self, name: str) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=name)
        self._work: Future[None] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._thread.shutdown(wait=True)
        if error is None:
            self._finish()

    def hand_over(self, work: Callable[[], None]) -> None:
        """Waits for the work handed over before; raises what it raised, and then `work` is not begun."""
        self._finish()
        self._work = self._thread.submit(work)

    def check(self) -> None:
        """Raise what the work has raised, if it has ended. Waits for nothing."""
        if self._work is not None and self._work.done():
            self._finish()

    def _finish(self) -> None:
        work, self._work = self._work, None
        if work is not None:
            work.result()
