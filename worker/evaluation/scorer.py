"""What an evaluation asks of a method: what each unit of the data adds to its measures, batch by batch.

A batch is a pure function of its number, the data, the model and the seed: so what a kill took is made again alike.
"""

from math import prod
from typing import Protocol

import numpy as np
from torch import Tensor

from app.contract.evaluations import Unit
from app.contract.model_folder import Label
from app.evaluation.units import Units
from worker.data.examples import Answers, Examples, Subset
from worker.data.order import Indices

#: Tokens of a batch, padding included, and its examples at most.
BATCH_TOKENS, MAX_EXAMPLES = 8_192, 256
#: Numbers of a batch of vectors or images.
BATCH_NUMBERS = 1 << 20


class Scorer(Protocol):
    """`labels` are what the codes in its units stand for."""

    @property
    def unit(self) -> Unit: ...

    @property
    def num_units(self) -> int: ...

    @property
    def labels(self) -> tuple[Label, ...]: ...

    @property
    def num_batches(self) -> int: ...

    def score(self, number: int) -> Units:
        """Of a batch, from 0: rows with the `unit` that each is part of. Without gradients, the module in eval mode."""


class SortedBatches:
    """Examples, those of like length together. `groups`: the number of each example's group, ascending from 0; a group
    is never parted. Where none are given, each example is one."""

    def __init__(self, examples: Examples, answers: Answers | None = None, groups: Indices | None = None) -> None:
        self._subset = Subset(examples, np.arange(len(examples)), answers or {})
        groups = np.arange(len(examples)) if groups is None else groups
        self._starts = np.flatnonzero(np.diff(groups, prepend=-1))
        self._sizes = np.diff(self._starts, append=len(examples))
        lengths = np.bincount(groups, examples.lengths)
        self._order = np.argsort(lengths, kind="stable")
        self._bounds = _bounds(self._sizes[self._order], batch_size(examples))

    def __len__(self) -> int:
        return len(self._bounds) - 1

    def __getitem__(self, number: int) -> tuple[Indices, dict[str, Tensor]]:
        """-> which examples, and the batch of them"""
        chosen = self._order[self._bounds[number] : self._bounds[number + 1]]
        places = np.concatenate(
            [np.arange(self._starts[group], self._starts[group] + self._sizes[group]) for group in chosen]
        )
        return places, self._subset.gather(places)


def _bounds(sizes: Indices, most: int) -> list[int]:
    """Where batches of at most so many examples begin and end, in groups; a larger group is one by itself."""
    bounds, held = [0], 0
    for place, size in enumerate(sizes.tolist()):
        if held and held + size > most:
            bounds.append(place)
            held = 0
        held += size
    return [*bounds, len(sizes)]


def batch_size(examples: Examples) -> int:
    """Examples of a batch, as the longest of them allows."""
    lengths, shape = examples.lengths, examples.shape
    if lengths is None:
        return max(1, min(MAX_EXAMPLES, BATCH_NUMBERS // prod(shape or (1,))))
    return max(1, min(MAX_EXAMPLES, BATCH_TOKENS // int(lengths.max())))
