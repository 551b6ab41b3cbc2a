"""A bound on what is in hand at once, so that no queue grows without end. Knows nothing of what it bounds."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from app.contract.errors import Overloaded


class Admission:
    """Lives on one event loop. Alone, any amount is let in; beside others, up to `limit` in all. `refused` is called
    for each that is not.
    """

    def __init__(self, limit: int, refused: Callable[[], None]) -> None:
        self._limit = limit
        self._refused = refused
        self._held = 0

    @contextmanager
    def hold(self, amount: int) -> Iterator[None]:
        """Raises Overloaded where the bound is reached."""
        if self._held and self._held + amount > self._limit:
            self._refused()
            raise Overloaded("This replica has as much in hand as it can take.", retry_after_seconds=1)
        self._held += amount
        try:
            yield
        finally:
            self._held -= amount
