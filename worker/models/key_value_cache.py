"""Keys and values of what running rows have read, so that a next token costs one position. Knows no model.

Rows are sequences of any callers and of any lengths; each attends to its own past alone, so that batch mates do not
matter. Legend: B rows, T new tokens a row, L live length (the longest row's, with the new ones), N layers, H query
heads, G key-value heads, E width of a head; R rows and C tokens a row that there is memory for.

A token's keys and values stand side by side, as a layer computes them, so that one copy keeps them.
"""

from dataclasses import dataclass
from math import prod

import torch
import torch.nn.functional as F  # noqa: N812  its usual name
from torch import Tensor

_BLOCK = 64
#: Memory is given back when less than this share of it is needed: a row that joins where one has left is no news.
_LEAST_USE = 0.25


@dataclass(frozen=True, slots=True)
class Extension:
    """Where new tokens go, the same in every layer. `positions`: int64 [B, T]; `mask`: what each of them may attend to,
    bool [B, 1, T, L], or None where that is all there is."""

    positions: Tensor
    mask: Tensor | None
    places: Tensor
    stored: tuple[Tensor, ...]
    live: tuple[tuple[Tensor, Tensor], ...]

    def attend(self, layer: int, heads: Tensor) -> Tensor:
        """What the new tokens read from those before and from one another: [B, H, T, E]. `heads`: their queries, keys
        and values, side by side, [B, T, H + 2 G, E]. Keys and values are kept, in the precision of the cache."""
        stored, (k, v) = self.stored[layer], self.live[layer]
        num_queries = heads.shape[2] - stored.shape[1]
        rounded = heads.type_as(stored)
        stored.index_copy_(0, self.places, rounded[:, :, num_queries:].flatten(0, 1))
        q = rounded[:, :, :num_queries].transpose(1, 2)
        is_grouped = k.shape[1] < num_queries
        return F.scaled_dot_product_attention(q, k, v, self.mask, enable_gqa=is_grouped).type_as(heads)


class KeyValueCache:
    """`lengths`: tokens each row has read. All memory is one tensor [N, R, C, 2 G, E], reserved before it is used."""

    def __init__(self, num_layers: int, num_heads: int, head_width: int, like: Tensor) -> None:
        """`like`: a tensor of the device and the type that keys and values have."""
        self.lengths: list[int] = []
        self._num_layers, self._token_shape = num_layers, (2 * num_heads, head_width)
        self._stored = like.new_zeros(num_layers, 0, 0, *self._token_shape)

    @property
    def num_rows(self) -> int:
        return len(self.lengths)

    @property
    def size_bytes(self) -> int:
        return self._stored.nbytes

    def bytes_for(self, num_rows: int, num_tokens: int) -> int:
        """What is reserved for so many rows of at most so many tokens."""
        shape = (self._num_layers, *_capacity(num_rows, num_tokens), *self._token_shape)
        return prod(shape) * self._stored.element_size()

    def reserve(self, num_rows: int, num_tokens: int) -> None:
        """Memory for so many rows of at most so many tokens, those of now included."""
        rows, tokens = _capacity(num_rows, num_tokens)
        _, have_rows, have_tokens, *_ = self._stored.shape
        is_lavish = self.bytes_for(num_rows, num_tokens) < _LEAST_USE * self.size_bytes
        if rows > have_rows or tokens > have_tokens or is_lavish:
            # Zeros, since what is masked is still multiplied by zero, and garbage could be NaN.
            stored = self._stored.new_zeros(self._num_layers, rows, tokens, *self._token_shape)
            live = max(self.lengths, default=0)
            stored[:, : self.num_rows, :live] = self._stored[:, : self.num_rows, :live]
            self._stored = stored

    def start(self, num_rows: int) -> None:
        """Rows that have read nothing yet, behind the others."""
        self.lengths += [0] * num_rows

    def extend(self, num_tokens: int) -> Extension:
        """So many new tokens for each row, which it holds from now on."""
        device, (_, _, capacity, *_) = self._stored.device, self._stored.shape
        rows, live = torch.arange(self.num_rows, device=device), max(self.lengths) + num_tokens
        starts = torch.tensor(self.lengths, device=device)
        positions = starts[:, None] + torch.arange(num_tokens, device=device)
        mask = None
        if num_tokens > 1 or len(set(self.lengths)) > 1:
            mask = torch.arange(live, device=device) <= positions[:, None, :, None]
        self.lengths = [length + num_tokens for length in self.lengths]
        return Extension(
            positions,
            mask,
            (rows[:, None] * capacity + positions).flatten(),
            self._stored.flatten(1, 2).unbind(),
            tuple(
                _keys_and_values(layer) for layer in self._stored[:, : self.num_rows, :live].transpose(2, 3).unbind()
            ),
        )

    def join(self, other: "KeyValueCache") -> None:
        """Take the one row of another cache of the same model behind ours; there must be room."""
        [length] = other.lengths
        self._stored[:, self.num_rows, :length] = other._stored[:, 0, :length]  # noqa: SLF001  one of us
        self.lengths.append(length)

    def leave(self, row: int) -> None:
        """Forget a row; the last one takes its place."""
        length = self.lengths[row] = self.lengths[-1]
        self._stored[:, row, :length] = self._stored[:, self.num_rows - 1, :length]
        self.lengths.pop()


def _keys_and_values(live: Tensor) -> tuple[Tensor, Tensor]:
    """[B, 2 G, L, E] -> [B, G, L, E] each"""
    keys, values = live.chunk(2, dim=1)
    return keys, values


def _capacity(num_rows: int, num_tokens: int) -> tuple[int, int]:
    """Rows by powers of two and tokens by whole blocks, so that memory is moved a few times only."""
    return (1 << (num_rows - 1).bit_length() if num_rows else 0), -(-num_tokens // _BLOCK) * _BLOCK
