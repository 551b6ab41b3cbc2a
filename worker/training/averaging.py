"""The moving average of a run's weights, which is what evaluations and the exported model see. Knows no method."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from app.contract.specs.training import WeightAverage


class MovingAverage:
    """m <- d m + (1 - d) w after each step, of every parameter that training changes; nothing where none is asked for.

    A parameter under two names is averaged once. Buffers are those of training: statistics in them are moving averages
    by themselves.
    """

    def __init__(self, parameters: Iterable[nn.Parameter], spec: WeightAverage | None) -> None:
        """Starts at the parameters as they are."""
        self._decay = spec.decay if spec else 0.0
        self._parameters = list({id(each): each for each in parameters}.values()) if spec else []
        self._means = [each.detach().clone() for each in self._parameters]

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Take in the weights after step `step` (from 0)."""
        if self._means:
            torch._foreach_lerp_(self._means, list(self._parameters), 1.0 - decay_at(step, self._decay))

    @contextmanager
    def applied(self) -> Iterator[None]:
        """The parameters hold their averages until this ends; then they are what they were, bit for bit."""
        self._exchange()
        try:
            yield
        finally:
            self._exchange()

    def state(self) -> list[Tensor]:
        return self._means

    def load_state(self, state: Sequence[Tensor]) -> None:
        for mean, saved in zip(self._means, state, strict=True):
            mean.copy_(saved)

    @torch.no_grad()
    def _exchange(self) -> None:
        """In place, since layers may keep views of their parameters, and one at a time, to spare memory."""
        for parameter, mean in zip(self._parameters, self._means, strict=True):
            weights: Tensor = parameter.clone()
            parameter.copy_(mean)
            mean.copy_(weights)


def decay_at(step: int, decay: float) -> float:
    """Warms up, so that a short run is not held at its random start: min(decay, (1 + t) / (10 + t)), as TensorFlow's
    ExponentialMovingAverage has it."""
    return min(decay, (1 + step) / (10 + step))
