"""Cuts a text beyond the context into windows with half overlap: each token counts once, and few lack context."""

from collections.abc import Iterator
from typing import NamedTuple


class Window(NamedTuple):
    """Positions `start` to `end` are read; those from `counted_from` on were in no window before."""

    start: int
    end: int
    counted_from: int


def windows(length: int, context_length: int) -> Iterator[Window]:
    """Over `length` positions, each window at most `context_length` long; none for a length of 0."""
    stride = max(1, context_length // 2)
    start, end = 0, 0
    while end < length:
        counted_from, end = end, min(start + context_length, length)
        yield Window(start, end, counted_from)
        start += stride
