"""Which examples make batch k: a pure function of (number of examples, batch size, seed, k); a resume needs no state.

The examples come as one endless stream, each epoch a fresh permutation of all; batch k is its k-th slice. So every
batch has the same size, and one may reach over the end of an epoch.
Legend: N examples, B batch.
"""

from functools import lru_cache
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Indices = NDArray[np.int64]

#: Batches whose examples are sorted by length together. Of random batches of 32 movie reviews, half is padding; sorted
#: over 8 batches 10 to 13 %, over 50 batches 2 %, over all 0.1 to 0.5 %. A window still mixes thousands of examples.
WINDOW_BATCHES = 50


class Order(Protocol):
    def batch(self, k: int) -> Indices:
        """Indices [B] of the examples of batch k."""


class ShuffledOrder:
    """Permutations alone, for examples of equal size."""

    def __init__(self, num_examples: int, batch_size: int, seed: int) -> None:
        self._num_examples = num_examples
        self._batch_size = batch_size
        self._permutation = lru_cache(maxsize=2)(lambda epoch: _permutation(num_examples, seed, epoch))

    def batch(self, k: int) -> Indices:
        return self.slice(k * self._batch_size, self._batch_size)

    def slice(self, start: int, length: int) -> Indices:
        """The stream's examples from position `start` on."""
        pieces = []
        while length:
            epoch, offset = divmod(start, self._num_examples)
            piece = self._permutation(epoch)[offset : offset + length]
            pieces.append(piece)
            start, length = start + len(piece), length - len(piece)
        return np.concatenate(pieces)


class BucketedOrder:
    """Batches of like length: each window of the stream is sorted by length, cut, and its batches shuffled."""

    def __init__(self, lengths: NDArray[np.int64], batch_size: int, seed: int) -> None:
        self._stream = ShuffledOrder(len(lengths), batch_size, seed)
        self._lengths = lengths
        self._batch_size = batch_size
        self._seed = seed
        self._window_batches = max(1, min(WINDOW_BATCHES, len(lengths) // batch_size))  # an epoch at most: no repeats
        self._window = lru_cache(maxsize=2)(self._sorted_window)

    def batch(self, k: int) -> Indices:
        window, place = divmod(k, self._window_batches)
        batch: Indices = self._window(window)[place]
        return batch

    def _sorted_window(self, window: int) -> Indices:
        """-> [batches of the window, B]"""
        size = self._window_batches * self._batch_size
        drawn = self._stream.slice(window * size, size)
        batches = drawn[np.argsort(self._lengths[drawn], kind="stable")].reshape(self._window_batches, self._batch_size)
        shuffled: Indices = np.random.default_rng([self._seed, 1, window]).permutation(batches, axis=0)
        return shuffled


def _permutation(num_examples: int, seed: int, epoch: int) -> Indices:
    return np.random.default_rng([seed, 0, epoch]).permutation(num_examples)
