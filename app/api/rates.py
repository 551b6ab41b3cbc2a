"""How fast a project may call: a token bucket for each, in the memory of one api process."""

import math
import time
from collections.abc import Callable

from app.contract.errors import ErrorCode, Overloaded

#: As many requests as the rate allows in this time may come at once.
BURST_SECONDS = 2.0


class RateLimited(Overloaded):
    code = ErrorCode.RATE_LIMITED


class RateLimiter:
    """For one event loop. `per_second` is null where nothing is limited."""

    def __init__(self, per_second: float | None, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_second = per_second
        self._clock = clock
        #: By project: requests that may come at once, and since when.
        self._buckets: dict[str, tuple[float, float]] = {}

    def take(self, project_id: str) -> None:
        """Count a request of the project. Raises RateLimited, which then costs it nothing."""
        if self._per_second is None:
            return
        at, capacity = self._clock(), max(1.0, BURST_SECONDS * self._per_second)
        level, since = self._buckets.get(project_id, (capacity, at))
        level = min(capacity, level + self._per_second * (at - since))
        if level < 1:
            seconds = math.ceil((1 - level) / self._per_second)
            raise RateLimited(
                f"The project {project_id} calls more than {self._per_second:g} times a second, its limit. Wait "
                f"{seconds} s, and call less often. The operator can raise PRETUNE_REQUESTS_PER_SECOND.",
                retry_after_seconds=seconds,
            )
        self._buckets[project_id] = (level - 1, at)
