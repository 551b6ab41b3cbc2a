"""Examples in memory, gathered into batches. Know no file, no task and no order.

Legend: N examples, n those of a subset, B batch, T tokens of the longest text of a batch, S the shape of one example.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from worker.data.labels import CodedLabels
from worker.data.order import Indices

#: What each example is to be answered with: arrays [N, ...] by the name that a batch has them under.
Answers = Mapping[str, NDArray[Any]]


class Examples(Protocol):
    """`shape` [S] is None for texts; `lengths` int64 [N] is None where all examples have one shape."""

    @property
    def shape(self) -> tuple[int, ...] | None: ...

    @property
    def lengths(self) -> NDArray[np.int64] | None: ...

    def __len__(self) -> int: ...

    def gather(self, indices: Indices) -> dict[str, Tensor]: ...


@dataclass(frozen=True, slots=True)
class ArrayExamples:
    """`inputs`: float32 or uint8 [N, S], raw: bodies scale them."""

    inputs: NDArray[Any]

    @property
    def shape(self) -> tuple[int, ...]:
        return self.inputs.shape[1:]

    @property
    def lengths(self) -> None:
        return None

    def __len__(self) -> int:
        return len(self.inputs)

    def gather(self, indices: Indices) -> dict[str, Tensor]:
        """-> `inputs` [B, S]"""
        return {"inputs": torch.from_numpy(self.inputs[indices])}


class TextExamples:
    """Texts in tokens, one behind the other; text i is tokens[offsets[i]:offsets[i + 1]], and none is empty."""

    def __init__(self, tokens: NDArray[Any], offsets: NDArray[np.int64]) -> None:
        self._tokens = tokens
        self._offsets = offsets
        self._lengths = np.diff(offsets)

    @property
    def shape(self) -> None:
        return None

    @property
    def lengths(self) -> NDArray[np.int64]:
        return self._lengths

    def __len__(self) -> int:
        return len(self._lengths)

    def gather(self, indices: Indices) -> dict[str, Tensor]:
        """-> `tokens` int64 [B, T], padded on the right with 0, and `lengths` int64 [B]"""
        lengths = self._lengths[indices]
        tokens = np.zeros((len(indices), lengths.max()), np.int64)
        for row, index in enumerate(indices):
            tokens[row, : lengths[row]] = self._tokens[self._offsets[index] : self._offsets[index + 1]]
        return {"tokens": torch.from_numpy(tokens), "lengths": torch.from_numpy(lengths)}


@dataclass(frozen=True, slots=True)
class Subset:
    """One side of a split: n of the examples with their answers, in the order of `indices`."""

    examples: Examples
    indices: Indices
    answers: Answers = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.indices)

    @property
    def lengths(self) -> NDArray[np.int64] | None:
        lengths = self.examples.lengths
        return None if lengths is None else lengths[self.indices]

    def gather(self, places: Indices) -> dict[str, Tensor]:
        """-> the examples' tensors and the answers, a row each"""
        indices = self.indices[places]
        answers = {name: torch.from_numpy(values[indices]) for name, values in self.answers.items()}
        return self.examples.gather(indices) | answers

    def batches(self, batch_size: int) -> Iterator[dict[str, Tensor]]:
        """Every example once, those of like length together."""
        lengths = self.lengths
        places = np.arange(len(self)) if lengths is None else np.argsort(lengths, kind="stable")
        for start in range(0, len(self), batch_size):
            yield self.gather(places[start : start + batch_size])


@dataclass(frozen=True, slots=True)
class DataSet:
    """A data set as it was read. keys: uint64 [N], equal for equal examples; targets: float32 [N, K]."""

    examples: Examples
    keys: NDArray[np.uint64]
    labels: CodedLabels | None = None
    targets: NDArray[np.float32] | None = None

    def all_with(self, answers: Answers) -> Subset:
        return Subset(self.examples, np.arange(len(self.examples)), answers)
