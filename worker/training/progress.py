"""What the loop remembers besides weights: where it stands, what was best, what is still to be reported.

All of it goes into the checkpoint, so that the series of metrics is the same however often a run was interrupted.
"""

import math
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Self

import torch
from torch import Tensor

from app.contract.specs.training import EarlyStopping
from worker.training.failures import LossNotFinite


@dataclass(slots=True)
class Progress:
    """`step`: steps done. `sums`: reported values summed over the `num_summed` steps since the last report."""

    step: int = 0
    best_step: int | None = None
    best_loss: float = math.inf
    num_worse: int = 0
    num_summed: int = 0
    sums: dict[str, Tensor] = field(default_factory=dict)

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Self:
        return cls(**state)

    def state(self) -> dict[str, Any]:
        return asdict(self)

    def add(self, values: Mapping[str, Tensor]) -> None:
        """One more step was taken; nothing waits for its values."""
        self.step += 1
        self.num_summed += 1
        for name, value in values.items():
            self.sums[name] = self.sums[name] + value if name in self.sums else value.to(torch.float64, copy=True)

    def means(self) -> dict[str, float]:
        """Means since the last report. Raises LossNotFinite."""
        means = {name: float(total) / self.num_summed for name, total in self.sums.items()}
        return checked(means, self.step)

    def take_means(self) -> dict[str, float]:
        means = self.means()
        self.sums, self.num_summed = {}, 0
        return means

    def judge(self, validation_loss: float, early_stopping: EarlyStopping | None) -> bool:
        """Whether this evaluation is the best so far; counts those in a row that are not better by `min_delta`."""
        min_delta = early_stopping.min_delta if early_stopping else 0.0
        self.num_worse = 0 if validation_loss < self.best_loss - min_delta else self.num_worse + 1
        if validation_loss >= self.best_loss:
            return False
        self.best_step, self.best_loss = self.step, validation_loss
        return True


class Pace:
    """Steps a second since the last report, evaluations and checkpoints left out. Never part of a metric."""

    def __init__(self) -> None:
        self._begin()

    def add(self, seconds: float) -> None:
        self._seconds += seconds
        self._steps += 1

    @property
    def silent_seconds(self) -> float:
        return time.monotonic() - self._told_at

    def take(self) -> float | None:
        """Steps a second; None where none was taken."""
        rate = self._steps / self._seconds if self._seconds else None
        self._begin()
        return rate

    def _begin(self) -> None:
        self._seconds, self._steps, self._told_at = 0.0, 0, time.monotonic()


def checked(values: Mapping[str, float], step: int) -> dict[str, float]:
    """The values, if all are finite. Raises LossNotFinite."""
    for name, value in values.items():
        if not math.isfinite(value):
            raise LossNotFinite(name, value, step)
    return dict(values)
