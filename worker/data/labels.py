"""Labels as numbers: each distinct label once, and for each example the place of its own among them."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from app.contract.model_folder import Label
from worker.data.failures import BadData

MAX_LABELS_TOLD = 10


class UnknownLabels(BadData):
    """Data have labels, `unknown`, that are none of those to be told."""

    def __init__(self, message: str, unknown: Sequence[Label]) -> None:
        super().__init__(message)
        self.unknown = unknown


@dataclass(frozen=True, slots=True)
class CodedLabels:
    """Example i has the label names[codes[i]]; codes: int64 [N].

    `names` ascend, and each keeps the type that it has in the data, of which a data set has one only.
    """

    names: tuple[Label, ...]
    codes: NDArray[np.int64]

    @classmethod
    def of(cls, labels: Iterable[Label]) -> Self:
        """Holds the distinct labels alone, however many examples stream by."""
        seen: dict[Label, int] = {}
        codes = np.fromiter((seen.setdefault(label, len(seen)) for label in labels), np.int64)
        names = sorted(seen)
        places = np.empty(len(seen), np.int64)
        places[[seen[name] for name in names]] = np.arange(len(names))
        return cls(tuple(names), places[codes])

    def coded_by(self, names: Sequence[Label]) -> NDArray[np.int64]:
        """The codes in another list of names, int64 [N]. Raises UnknownLabels, which names those that it lacks."""
        places = {_typed(name): place for place, name in enumerate(names)}
        unseen = Counter(self.names[code] for code in self.codes if _typed(self.names[code]) not in places)
        if unseen:
            raise UnknownLabels(
                f"The validation data have labels that the training data never show: {listed(list(unseen))} "
                f"({unseen.total():,} of {len(self.codes):,} examples). The training data teach {listed(names)}. "
                "Leave those examples out, or add some of their labels to the training data.",
                list(unseen),
            )
        return np.array([places[_typed(name)] for name in self.names], np.int64)[self.codes]


def _typed(label: Label) -> tuple[type, Label]:
    """In Python 1 == True, and both would be one key."""
    return type(label), label


def listed(labels: Sequence[Label]) -> str:
    more = f" and {len(labels) - MAX_LABELS_TOLD:,} more" if len(labels) > MAX_LABELS_TOLD else ""
    return ", ".join(repr(label) for label in labels[:MAX_LABELS_TOLD]) + more
