"""What jobs share that go over a data set with a model: how they end early, and how fast they are."""

import time
from collections.abc import Callable

from app.contract.messages import ReportLine

#: After so long without news, how far it has come.
SILENCE_SECONDS = 10.0

Report = Callable[[ReportLine], None]


class Stopped(Exception):
    """`stop` was set: what is not kept yet is dropped."""


class Pace:
    """Records a second since the last report."""

    def __init__(self) -> None:
        self._told_at = time.perf_counter()
        self._told_records: int | None = None

    @property
    def silent_seconds(self) -> float:
        return time.perf_counter() - self._told_at

    def begin(self, num_records: int) -> None:
        """The first part of this attempt begins."""
        if self._told_records is None:
            self._told_at, self._told_records = time.perf_counter(), num_records

    def since_last(self, num_records: int) -> float | None:
        before, self._told_records = self._told_records, num_records
        seconds, self._told_at = self.silent_seconds, time.perf_counter()
        return None if before is None or num_records <= before else (num_records - before) / seconds
