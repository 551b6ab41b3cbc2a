"""What the records of a file add up to: its profile and its warnings. Knows no file type."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.contract.model_folder import Label
from app.records.blocks import Block
from app.records.problems import listed, refusal
from app.records.profile import Duplicates, LabelCounts, Lengths
from app.records.types import Example, Instruction, LabeledText, ScoredText, SemanticRoles, TaggedTokens, Text


class ExampleSummary:
    def __init__(self) -> None:
        self.num_examples = 0
        self._num_empty = 0
        self._lengths = Lengths()
        self._labels: LabelCounts | None = None
        self._targets = _Range()
        self._duplicates = Duplicates("text")

    def add(self, example: Example) -> None:
        self.num_examples += 1
        self._lengths.add(_length(example))
        self._duplicates.add(_content(example))
        match example:
            case Text():
                self._num_empty += not example.text or example.text.isspace()
            case LabeledText():
                self._count("label", [example.label])
            case ScoredText():
                self._targets.add(np.array([example.target]))
            case TaggedTokens():
                self._count("tag", example.tags)
            case SemanticRoles():
                self._count("role", example.roles)

    def _count(self, what: str, labels: Sequence[Label]) -> None:
        self._labels = self._labels or LabelCounts(what)
        for label in labels:
            self._labels.add(label)

    def refuse_nothing(self) -> None:
        """Raise InvalidDataset where there is nothing to learn from."""
        if self._num_empty == self.num_examples:
            raise refusal("file", "The file has no records that hold text.")

    def profile(self) -> dict[str, Any]:
        labels = self._labels.profile() if self._labels else {}
        return labels | {"length": self._lengths.profile()} | self._targets.profile()

    def warnings(self) -> list[str]:
        empty = [f"{self._num_empty:,} of {self.num_examples:,} texts are empty."] if self._num_empty else []
        labels = self._labels.warnings() if self._labels else []
        return [*empty, *labels, *self._targets.warnings(), *self._duplicates.warnings()]


def _length(example: Example) -> int:
    """Characters of text, tokens of tagged data."""
    match example:
        case TaggedTokens() | SemanticRoles():
            return len(example.tokens)
        case Instruction():
            return sum(len(message.content) for message in example.messages)
        case _:
            return len(example.text)


def _content(example: Example) -> Any:
    match example:
        case TaggedTokens():
            return example.tokens
        case SemanticRoles():
            return example.tokens, example.predicate
        case Instruction():
            return example.messages
        case _:
            return example.text


class _Range:
    """Smallest and largest value of each column."""

    def __init__(self) -> None:
        self._low: NDArray[Any] | None = None
        self._high: NDArray[Any] | None = None

    def add(self, values: NDArray[Any]) -> None:
        low, high = values.min(axis=0), values.max(axis=0)
        self._low = low if self._low is None else np.minimum(self._low, low)
        self._high = high if self._high is None else np.maximum(self._high, high)

    def constant(self) -> list[int]:
        """Columns that never change."""
        return [] if self._low is None else np.flatnonzero(self._low == self._high).tolist()

    def profile(self) -> dict[str, Any]:
        if self._low is None or self._high is None:
            return {}
        return {"target_size": len(self._low), "target": {"min": self._low.tolist(), "max": self._high.tolist()}}

    def warnings(self) -> list[str]:
        return ["The target never changes: there is nothing to learn."] if self.constant() else []


class BlockSummary:
    def __init__(self) -> None:
        self.num_examples = 0
        self._shape: tuple[int, ...] = ()
        self._features = _Range()
        self._targets = _Range()
        self._labels: LabelCounts | None = None
        self._duplicates = Duplicates("input")

    def add(self, block: Block) -> None:
        if not len(block.inputs):
            return
        self.num_examples += len(block.inputs)
        self._shape = block.inputs.shape[1:]
        for row in _contents(block.inputs):
            self._duplicates.add(row)
        if block.inputs.ndim == 2:
            self._features.add(block.inputs)
        if block.targets is not None:
            self._targets.add(block.targets)
        if block.labels is not None:
            self._labels = self._labels or LabelCounts()
            for label in block.labels:
                self._labels.add(label)

    def refuse_nothing(self) -> None:
        """Raise InvalidDataset where there is nothing to learn from."""
        if not self.num_examples:
            raise refusal("file", "The file has no records.")

    def profile(self) -> dict[str, Any]:
        labels = self._labels.profile() if self._labels else {}
        shape = {"num_features": self._shape[0]} if len(self._shape) == 1 else {"shape": list(self._shape)}
        return labels | shape | self._targets.profile()

    def warnings(self) -> list[str]:
        constant = self._features.constant() if self.num_examples > 1 else []
        told = [f"The features {listed(constant)} never change."] if constant else []
        labels = self._labels.warnings() if self._labels else []
        return [*told, *labels, *self._targets.warnings(), *self._duplicates.warnings()]


def _contents(inputs: NDArray[Any]) -> Iterator[bytes]:
    return (row.tobytes() for row in inputs)
