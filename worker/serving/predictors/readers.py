"""From inputs as users send them to a batch as bodies take it, for each kind of input. Knows no method.

Legend: B batch, T tokens, F features, C channels, H height, W width.
"""

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import Tensor

from app.contract.model_folder import InputKind
from app.contract.specs.architectures import TextArchitecture
from worker.data.tokenizers import Frame
from worker.export import LoadedModel
from worker.serving.batcher import BatchLimits, Row
from worker.serving.predictors.inputs import read_each, read_features, read_image, read_text


class InputReader(Protocol):
    limits: BatchLimits

    def read_all(self, inputs: Sequence[Any]) -> list[Row]:
        """One row an input. Raises InvalidInput, locating each wrong one."""

    def num_tokens(self, rows: Sequence[Row]) -> int:
        """Of the texts, without those that frame them; 0 where there are no texts."""

    def collate(self, values: Sequence[Any]) -> dict[str, Tensor]:
        """Values of rows -> the batch that a body encodes."""


class ArrayReader:
    """Features, or images: rows of one shape, and no length of their own."""

    limits = BatchLimits(rows=256)

    def __init__(self, kind: InputKind, shape: tuple[int, ...]) -> None:
        self._kind = kind
        self._shape = shape

    def read_all(self, inputs: Sequence[Any]) -> list[Row]:
        if self._kind is InputKind.IMAGE:
            return [Row(value) for value in read_each(inputs, lambda value: read_image(value, self._shape))]
        return [Row(value) for value in read_each(inputs, lambda value: read_features(value, self._shape[0]))]

    def num_tokens(self, rows: Sequence[Row]) -> int:
        return 0

    def collate(self, values: Sequence[Any]) -> dict[str, Tensor]:
        """-> float [B, F] or [B, C, H, W], in the scale of the user's data: modules normalise themselves"""
        return {"inputs": torch.from_numpy(np.stack(values))}


class TextReader:
    """Texts as fine-tunes read them: in a frame, and cut to the context."""

    limits = BatchLimits()

    def __init__(self, tokenizer: Tokenizer, context_length: int) -> None:
        self._tokenizer = tokenizer
        self._frame = Frame(tokenizer)
        self._context_length = context_length

    def read_all(self, inputs: Sequence[Any]) -> list[Row]:
        rows = []
        for tokens in tokenise(self._tokenizer, read_each(inputs, read_text)):
            row = self._frame.around(tokens, self._context_length)
            rows.append(Row(row, len(row)))
        return rows

    def num_tokens(self, rows: Sequence[Row]) -> int:
        return sum(row.length - self._frame.size for row in rows)

    def collate(self, values: Sequence[list[int]]) -> dict[str, Tensor]:
        return right_padded(values)


def reader_of(loaded: LoadedModel) -> InputReader:
    """What reads inputs for this model's body."""
    body = loaded.description.body
    if body.input is InputKind.TEXT:
        assert loaded.tokenizer is not None
        return TextReader(loaded.tokenizer, context_length(loaded))
    assert body.input_shape is not None
    return ArrayReader(body.input, body.input_shape)


def context_length(loaded: LoadedModel) -> int:
    architecture = loaded.description.body.architecture
    assert isinstance(architecture, TextArchitecture)
    return architecture.context_length


def tokenise(tokenizer: Tokenizer, texts: Sequence[str]) -> list[list[int]]:
    """Several texts use several cores."""
    if len(texts) == 1:
        return [tokenizer.encode(texts[0], add_special_tokens=False).ids]
    return [encoding.ids for encoding in tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)]


def right_padded(rows: Sequence[Sequence[int]]) -> dict[str, Tensor]:
    """-> tokens int64 [B, T], padded with zeros, and lengths int64 [B]"""
    lengths = [len(row) for row in rows]
    tokens = np.zeros((len(rows), max(lengths)), dtype=np.int64)
    for place, row in zip(tokens, rows, strict=True):
        place[: len(row)] = row
    return {"tokens": torch.from_numpy(tokens), "lengths": torch.tensor(lengths)}
