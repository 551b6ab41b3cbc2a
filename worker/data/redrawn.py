"""Steps whose batches are made anew, by chance, whenever they come. Know no example and no task."""

from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np
from torch import Tensor

Draw = Callable[[dict[str, Tensor], np.random.Generator], dict[str, Tensor]]


class Steps(Protocol):
    """As `worker.training.protocols.StepSource`, which asks for them."""

    @property
    def num_examples(self) -> int: ...

    @property
    def steps_per_epoch(self) -> float: ...

    @property
    def tokens_per_step(self) -> int | None: ...

    def micro_batches(self, step: int) -> Sequence[dict[str, Tensor]]: ...


class RedrawnSteps:
    """`draw` makes a batch of one of the source's; what it draws is a function of the seed, the step and the place."""

    def __init__(self, source: Steps, draw: Draw, seed: int) -> None:
        self._source = source
        self._draw = draw
        self._seed = seed

    @property
    def num_examples(self) -> int:
        return self._source.num_examples

    @property
    def steps_per_epoch(self) -> float:
        return self._source.steps_per_epoch

    @property
    def tokens_per_step(self) -> int | None:
        """Those read, whatever is drawn of them."""
        return self._source.tokens_per_step

    def micro_batches(self, step: int) -> Sequence[dict[str, Tensor]]:
        rng = np.random.default_rng([self._seed, 3, step])
        return [self._draw(batch, rng) for batch in self._source.micro_batches(step)]
