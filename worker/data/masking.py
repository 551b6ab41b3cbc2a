"""Windows of text with some tokens hidden, as masked language models are taught (Devlin et al. 2018, section 3.1).

Of each window 15 % of the tokens are to be told; of those 80 % are read as the mask, 10 % as a random token, and 10 %
as they are, so that a model has to know every token it reads. Which, is a pure function of the seed and the step.

Legend: B batch, T tokens, K places to be told in a window, V vocabulary.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from worker.data.redrawn import RedrawnSteps
from worker.data.windows import Windows, WindowSource

SELECTED = 0.15
MASKED, RANDOM = 0.8, 0.1


@dataclass(frozen=True, slots=True)
class Masking:
    """Hides tokens, but never one that opens a text: what stands there is known."""

    mask_token: int
    begin_token: int
    vocab_size: int

    def hidden(self, tokens: Tensor, rng: np.random.Generator) -> dict[str, Tensor]:
        """int64 [B, T] -> tokens as they are read [B, T], places [B, K] ascending, and targets [B, K], int64 all"""
        read = tokens.numpy().copy()
        places = self._places(read, rng)
        targets = np.take_along_axis(read, places, axis=1)
        np.put_along_axis(read, places, self._shown(targets, rng), axis=1)
        arrays = {"tokens": read, "places": places, "targets": targets}
        return {name: torch.from_numpy(array) for name, array in arrays.items()}

    def _places(self, tokens: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
        """As many in each window, so that all batches have one shape."""
        count = max(1, round(SELECTED * tokens.shape[1]))
        order = rng.random(tokens.shape) + (tokens == self.begin_token)  # those come last
        return np.sort(np.argpartition(order, count - 1, axis=1)[:, :count], axis=1)

    def _shown(self, targets: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
        chance = rng.random(targets.shape)
        at_random = rng.integers(self.vocab_size, size=targets.shape)
        return np.where(chance < MASKED, self.mask_token, np.where(chance < MASKED + RANDOM, at_random, targets))


def masked_windows(source: WindowSource, masking: Masking, seed: int) -> RedrawnSteps:
    """Steps of shuffled windows, each masked anew whenever it comes."""
    return RedrawnSteps(source, lambda batch, rng: masking.hidden(batch["tokens"], rng), seed)


def masked_for_evaluation(
    windows: Windows, masking: Masking, max_tokens: int, batch_size: int
) -> Iterator[dict[str, Tensor]]:
    """Windows from all over the text, masked alike every time."""
    rng = np.random.default_rng(0)
    for batch in windows.evenly_spaced(max_tokens, batch_size):
        yield masking.hidden(batch["tokens"], rng)
