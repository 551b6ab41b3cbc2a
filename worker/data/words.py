"""Sentences of words as rows of sub-words, each word carried by one of them. Knows no tag and no file.

Legend: N rows, B batch, T sub-words of the longest row of a batch, W words of the longest.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from app.contract.model_folder import BodyDescription
from app.contract.specs.architectures import TextArchitecture
from worker.data.order import Indices
from worker.data.tokenizers import Frame, begin_token, word_opening, words_hold_spaces


@dataclass(frozen=True, slots=True)
class WordRow:
    """Words `start` to `end` of a sentence: their sub-words in a frame, and which of those carries each."""

    tokens: list[int]
    places: list[int]
    start: int
    end: int


class SubWords:
    """Cuts words by themselves, each as it would be within a text, so that none shares a sub-word with another; and
    remembers them.

    A word is carried by its first sub-word, as stock token classifiers have it; under a body that reads from left to
    right by its last, the only one that has read the word. Only so much of a word is read as the context holds.
    """

    def __init__(self, tokenizer: Tokenizer, body: BodyDescription) -> None:
        shape = body.architecture
        assert isinstance(shape, TextArchitecture)
        self._tokenizer = tokenizer
        self._begin_token = begin_token(tokenizer)
        self._frame = Frame(tokenizer)
        self._room = shape.context_length - self._frame.size
        self._opening = word_opening(tokenizer)
        self._first = 0 if words_hold_spaces(tokenizer) else 1  # behind the space
        self._last_carries = body.reads_left_to_right
        self._known: dict[str, list[int]] = {}

    def rows(self, words: Sequence[str]) -> list[WordRow]:
        """One row, or as many of like length as the context asks for; none of no words."""
        cut = self._cut(words)
        bounds = even_bounds([len(tokens) for tokens in cut], self._room)
        return [self._row(cut, start, end) for start, end in bounds]

    def row_around(self, words: Sequence[str], place: int) -> WordRow:
        """The word at `place`, and as many on both sides of it as the context holds."""
        cut = self._cut(words)
        return self._row(cut, *bounds_around([len(tokens) for tokens in cut], place, self._room))

    def _row(self, cut: Sequence[list[int]], start: int, end: int) -> WordRow:
        tokens: list[int] = []
        places = []
        for word in cut[start:end]:
            last = len(word) - 1
            places.append(1 + len(tokens) + (last if self._last_carries else min(self._first, last)))
            tokens += word
        return WordRow(self._frame.around(tokens), places, start, end)

    def _cut(self, words: Sequence[str]) -> list[list[int]]:
        """A word of which the tokenizer makes nothing is read as a begin token."""
        new = list({word for word in words if word not in self._known})
        opened = [self._opening + word for word in new]
        encodings = self._tokenizer.encode_batch_fast(opened, add_special_tokens=False) if new else []
        for word, encoding in zip(new, encodings, strict=True):
            self._known[word] = encoding.ids[: self._room] or [self._begin_token]
        return [self._known[word] for word in words]


def even_bounds(lengths: Sequence[int], room: int) -> list[tuple[int, int]]:
    """Bounds of parts, none longer than `room` and about as long as each other, for items no longer than that."""
    if not lengths:
        return []
    share = sum(lengths) / ceil(sum(lengths) / room)
    starts, size = [0], 0
    for place, length in enumerate(lengths):
        if size >= share or size + length > room:
            starts.append(place)
            size = 0
        size += length
    return [*zip(starts, [*starts[1:], len(lengths)], strict=True)]


def bounds_around(lengths: Sequence[int], place: int, room: int) -> tuple[int, int]:
    """Bounds of the longest stretch that grows from `place` word by word, to both sides in turn, and fits in `room`."""
    start, end, room = place, place + 1, room - lengths[place]
    grew = True
    while grew:
        grew = False
        if start > 0 and lengths[start - 1] <= room:
            start, room, grew = start - 1, room - lengths[start - 1], True
        if end < len(lengths) and lengths[end] <= room:
            end, room, grew = end + 1, room - lengths[end], True
    return start, end


class Ragged:
    """Rows of numbers of any length, one behind the other."""

    def __init__(self, rows: Sequence[Sequence[int]], dtype: np.dtype[Any]) -> None:
        self.lengths = np.fromiter(map(len, rows), np.int64, len(rows))
        self.values = np.fromiter((value for row in rows for value in row), dtype, int(self.lengths.sum()))
        self._ends = np.cumsum(self.lengths)

    def __len__(self) -> int:
        return len(self.lengths)

    def padded(self, indices: Indices, filling: int = 0) -> NDArray[np.int64]:
        """The rows at `indices`, int64 [B, longest]"""
        lengths = self.lengths[indices]
        padded = np.full((len(indices), lengths.max()), filling, np.int64)
        for place, end, length in zip(padded, self._ends[indices], lengths, strict=True):
            place[:length] = self.values[end - length : end]
        return padded
