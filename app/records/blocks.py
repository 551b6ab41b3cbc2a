"""Arrays as streams of blocks of rows: what every vectors or images file becomes, whatever its type.

n rows of a block, F features, K targets, C channels, H height, W width.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.contract.model_folder import Label
from app.records.problems import BadValue, Problems

#: A block holds about this much, so that memory stays flat whatever the width of a row.
BLOCK_BYTES = 4 << 20


@dataclass(frozen=True, slots=True)
class Block:
    """inputs: float32 [n, F] or uint8 [n, C, H, W]; labels: n; targets: float32 [n, K]."""

    inputs: NDArray[Any]
    labels: list[Label] | None = None
    targets: NDArray[np.float32] | None = None


def rows_a_block(row_bytes: int) -> int:
    return max(1, min(4096, BLOCK_BYTES // max(1, row_bytes)))


def checked_floats(
    name: str, values: NDArray[Any], place: Callable[[int], str], problems: Problems
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """[n, F] as float32, and which rows are finite in it; the others go to the problems."""
    with np.errstate(over="ignore", invalid="ignore"):
        floats = values.astype(np.float32, copy=False)
    finite = np.isfinite(floats)
    good: NDArray[np.bool_] = np.logical_and.reduce(finite, axis=1)
    for row in np.flatnonzero(~good):
        column = int(np.flatnonzero(~finite[row])[0])
        problems.add(
            place(int(row)), f"{name}[{column}] must be finite and fit in a float32, not {values[row, column]}."
        )
    return floats, good


def checked_labels(
    read: Callable[[Any], Label], values: Sequence[Any], place: Callable[[int], str], problems: Problems
) -> tuple[list[Label], NDArray[np.bool_]]:
    """The labels, and which are good; a bad one keeps its raw value and goes to the problems."""
    labels, good = list(values), np.ones(len(values), dtype=np.bool_)
    for row, value in enumerate(values):
        try:
            labels[row] = read(value)
        except BadValue as error:
            good[row] = False
            problems.add(place(row), error)
    return labels, good


def selected(block: Block, rows: NDArray[np.bool_]) -> Block:
    """Only the good rows of a block."""
    if rows.all():
        return block
    labels = None if block.labels is None else [label for label, kept in zip(block.labels, rows, strict=True) if kept]
    return Block(block.inputs[rows], labels, None if block.targets is None else block.targets[rows])


class _Growing:
    """Rows appended in place: the peak is the array and one block, not the array twice."""

    def __init__(self) -> None:
        self._array: NDArray[Any] | None = None
        self._length = 0

    def append(self, rows: NDArray[Any]) -> None:
        needed = self._length + len(rows)
        if self._array is None:
            self._array = np.empty((needed, *rows.shape[1:]), rows.dtype)
        elif needed > len(self._array):
            self._array.resize((max(needed, len(self._array) * 5 // 4), *rows.shape[1:]), refcheck=False)
        self._array[self._length : needed] = rows
        self._length = needed

    def finished(self) -> NDArray[Any] | None:
        if self._array is not None:
            self._array.resize((self._length, *self._array.shape[1:]), refcheck=False)
        return self._array


def joined(blocks: Iterable[Block]) -> tuple[NDArray[Any] | None, list[Label] | None, NDArray[np.float32] | None]:
    """All blocks as whole arrays; None for what no block has."""
    inputs, targets, labels = _Growing(), _Growing(), list[Label]()
    for block in blocks:
        inputs.append(block.inputs)
        labels.extend(block.labels or ())
        if block.targets is not None:
            targets.append(block.targets)
    return inputs.finished(), labels or None, targets.finished()


def batched(rows: Iterable[Any], size: Callable[[Any], int]) -> Iterator[list[Any]]:
    """Rows in lists of about BLOCK_BYTES, by the size of the first."""
    batch: list[Any] = []
    for row in rows:
        batch.append(row)
        if len(batch) >= rows_a_block(size(batch[0])):
            yield batch
            batch = []
    if batch:
        yield batch
