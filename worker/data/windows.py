"""A long array of tokens as examples of one length, each opened by the begin token.

Training thus looks as inference does: whatever part of a text a model sees, a begin token stands before it.
Legend: N tokens, B batch, T window.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from worker.data.order import StreamedOrder, shuffled
from worker.data.text import Tokens


@dataclass(frozen=True, slots=True)
class Windows:
    """Stretches of T tokens. An epoch of training takes them side by side from an offset on; the rest is left out."""

    tokens: Tokens
    begin_token: int
    length: int

    def __len__(self) -> int:
        """Windows that fit at any offset below T, or the one that fits at all."""
        return max(1, (len(self.tokens) + 1) // self.length - 1)

    @property
    def max_offset(self) -> int:
        return min(self.length - 1, len(self.tokens) - len(self) * self.length)

    @property
    def num_side_by_side(self) -> int:
        """Windows from the first token on; none where there is no token."""
        return len(self.tokens) // self.length

    def evenly_spaced(self, max_tokens: int, batch_size: int) -> Iterator[dict[str, Tensor]]:
        """Windows from all over the text, `max_tokens` in all or one window, in batches."""
        num_chosen = min(self.num_side_by_side, max(1, max_tokens // self.length))
        starts = [number * self.num_side_by_side // num_chosen * self.length for number in range(num_chosen)]
        for place in range(0, num_chosen, batch_size):
            yield self.batch(starts[place : place + batch_size])

    def batch(self, starts: Sequence[int]) -> dict[str, Tensor]:
        """-> tokens (what is read) and targets (what comes next), int64 [B, T]"""
        targets = np.stack([self.tokens[start : start + self.length] for start in starts]).astype(np.int64)
        tokens = np.empty_like(targets)
        tokens[:, 0], tokens[:, 1:] = self.begin_token, targets[:, :-1]
        return {"tokens": torch.from_numpy(tokens), "targets": torch.from_numpy(targets)}


class WindowSource:
    """Steps of shuffled windows; each epoch cuts the text at another offset."""

    def __init__(self, windows: Windows, batch_size: int, num_micro_batches: int, seed: int) -> None:
        self._windows = windows
        self._batch_size = min(batch_size, len(windows))
        self._num_micro_batches = min(num_micro_batches, self._batch_size)
        self._order = StreamedOrder(shuffled(len(windows), seed), self._batch_size)
        self._seed = seed

    @property
    def num_examples(self) -> int:
        return len(self._windows)

    @property
    def steps_per_epoch(self) -> float:
        return self.num_examples / self._batch_size

    @property
    def tokens_per_step(self) -> int:
        return self._batch_size * self._windows.length

    def micro_batches(self, step: int) -> list[dict[str, Tensor]]:
        places = np.arange(step * self._batch_size, (step + 1) * self._batch_size)
        offsets = [self._offset(int(epoch)) for epoch in places // self.num_examples]
        starts = self._order.batch(step) * self._windows.length + offsets
        return [self._windows.batch(part.tolist()) for part in np.array_split(starts, self._num_micro_batches)]

    def _offset(self, epoch: int) -> int:
        return int(np.random.default_rng([self._seed, 2, epoch]).integers(self._windows.max_offset + 1))
