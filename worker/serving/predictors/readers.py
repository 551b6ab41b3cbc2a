"""From inputs as users send them to a batch as bodies take it, for each kind of input. Knows no method.

Legend: B batch, T tokens, F features, C channels, H height, W width.
"""

from collections.abc import Sequence
from typing import Any, Protocol, assert_never

import numpy as np
import torch
from torch import Tensor

from app.contract.model_folder import InputKind
from worker.export import LoadedModel
from worker.serving.batcher import BatchLimits, Row
from worker.serving.predictors.inputs import read_features, read_image, read_text

#: Rows of features or pixels have no length of their own: this many make a batch.
ARRAY_LIMITS = BatchLimits(rows=256)
TEXT_LIMITS = BatchLimits()


class InputReader(Protocol):
    limits: BatchLimits

    def read(self, value: Any) -> Row:
        """One input, checked. Raises BadValue."""

    def collate(self, values: Sequence[Any]) -> dict[str, Tensor]:
        """Values of rows -> the batch that a body encodes."""


class ArrayReader:
    """Features, or images: rows of one shape."""

    limits = ARRAY_LIMITS

    def __init__(self, kind: InputKind, shape: tuple[int, ...]) -> None:
        self._kind = kind
        self._shape = shape

    def read(self, value: Any) -> Row:
        if self._kind is InputKind.IMAGE:
            return Row(read_image(value, self._shape))
        return Row(read_features(value, self._shape[0]))

    def collate(self, values: Sequence[Any]) -> dict[str, Tensor]:
        """-> float [B, F] or [B, C, H, W], in the scale of the user's data: modules normalise themselves"""
        return {"inputs": torch.from_numpy(np.stack(values))}
