"""The examples of each optimizer step, in micro-batches. Stateless: step k follows from the data, the seed and k."""

from collections.abc import Sequence

import numpy as np
from torch import Tensor

from worker.data.examples import Subset
from worker.data.order import BucketedOrder, Epochs, Order, StreamedOrder, shuffled


class ExampleSteps:
    """Implements `worker.training.protocols.StepSource` over a subset of examples; `epochs`, in places within it, where
    an epoch is anything but each of them once."""

    def __init__(
        self, subset: Subset, batch_size: int, num_micro_batches: int, seed: int, epochs: Epochs | None = None
    ) -> None:
        epochs = epochs or shuffled(len(subset), seed)
        self._subset = subset
        self._epoch_size = epochs.size
        self._batch_size = min(batch_size, epochs.size)
        self._num_micro_batches = min(num_micro_batches, self._batch_size)
        self._order = _order(subset, epochs, self._batch_size, seed)

    @property
    def num_examples(self) -> int:
        return self._epoch_size

    @property
    def steps_per_epoch(self) -> float:
        return self.num_examples / self._batch_size

    @property
    def tokens_per_step(self) -> int | None:
        """The mean, without padding; None for what has no tokens."""
        lengths = self._subset.lengths
        return None if lengths is None else round(float(lengths.mean()) * self._batch_size)

    def micro_batches(self, step: int) -> Sequence[dict[str, Tensor]]:
        places = self._order.batch(step)
        return [self._subset.gather(part) for part in np.array_split(places, self._num_micro_batches)]


def _order(subset: Subset, epochs: Epochs, batch_size: int, seed: int) -> Order:
    if subset.lengths is None:
        return StreamedOrder(epochs, batch_size)
    return BucketedOrder(epochs, subset.lengths, batch_size, seed)
