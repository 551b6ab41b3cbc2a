"""The places of one trainer in which jobs run, one for each GPU. Knows nothing of what a place holds."""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Generic, TypeVar

Place = TypeVar("Place")


class Places(Generic[Place]):
    """Lends whoever asks the place that the fewest others have now, the first of several. Thread-safe."""

    def __init__(self, places: Sequence[Place]) -> None:
        self._places = places
        self._users = [0] * len(places)
        self._counting = threading.Lock()

    @contextmanager
    def one(self) -> Iterator[Place]:
        with self._counting:
            number = self._users.index(min(self._users))
            self._users[number] += 1
        try:
            yield self._places[number]
        finally:
            with self._counting:
                self._users[number] -= 1
