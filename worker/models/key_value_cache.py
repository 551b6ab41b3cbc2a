"""Keys and values of what running rows have read, so that a next token costs one position. Knows no model.

Rows are sequences of any callers and of any lengths; each attends to its own past alone, so that batch mates do not
matter. Legend: B rows, T new tokens a row, L live length (the longest row), G key-value heads, E width of a head.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

_GROWTH = 64


class KeyValueCache:
    """`lengths`: tokens each row has read. `layers`: keys and values [B, G, capacity, E], once there are any."""

    def __init__(self, num_layers: int, num_rows: int, num_heads: int, head_width: int) -> None:
        self.lengths = [0] * num_rows
        self._shape = (num_heads, head_width)
        self.layers: list[tuple[Tensor, Tensor] | None] = [None] * num_layers

    @property
    def num_rows(self) -> int:
        return len(self.lengths)

    def positions(self, num_tokens: int, device: torch.device) -> Tensor:
        """Where the next tokens stand: int64 [B, T]."""
        starts = torch.tensor(self.lengths, dtype=torch.int64, device=device)
        return starts[:, None] + torch.arange(num_tokens, device=device)

    def mask(self, positions: Tensor) -> Tensor | None:
        """What each new token may attend to: bool [B, 1, T, L]; None where that is all there is."""
        num_tokens = positions.shape[1]
        if num_tokens == 1 and len(set(self.lengths)) == 1:
            return None
        live = torch.arange(max(self.lengths, default=0) + num_tokens, device=positions.device)
        return live <= positions[:, None, :, None]

    def extend(self, layer: int, keys: Tensor, values: Tensor, positions: Tensor) -> tuple[Tensor, Tensor]:
        """Write the new ones, [B, G, T, E] -> all live ones, [B, G, L, E]."""
        num_tokens = keys.shape[2]
        live = max(self.lengths, default=0) + num_tokens
        stored = self._with_room(layer, live, keys)
        for whole, new in zip(stored, (keys, values), strict=True):
            if len(set(self.lengths)) == 1:
                whole[:, :, live - num_tokens : live] = new
            else:
                rows = torch.arange(self.num_rows, device=new.device)[:, None]
                whole[rows, :, positions] = new.transpose(1, 2)  # [B, T, G, E]
        return stored[0][:, :, :live], stored[1][:, :, :live]

    def advance(self, lengths: Sequence[int]) -> None:
        """All layers have taken so many new tokens of each row."""
        self.lengths = [before + new for before, new in zip(self.lengths, lengths, strict=True)]

    def append(self, other: "KeyValueCache") -> None:
        """Take the rows of another cache of the same model behind ours."""
        capacity = max(self.capacity, other.capacity)
        for layer, theirs in enumerate(other.layers):
            assert theirs is not None, "a row that joins has read its prompt"
            mine = self.layers[layer]
            pairs = [[_padded(tensor, capacity) for tensor in pair] for pair in (mine, theirs) if pair is not None]
            keys, values = (torch.cat(parts) for parts in zip(*pairs, strict=True))
            self.layers[layer] = (keys, values)
        self.lengths = self.lengths + other.lengths

    def keep(self, rows: Sequence[int]) -> None:
        """Forget all rows but these, which keep the order given, and the room that no row needs any more."""
        self.lengths = [self.lengths[row] for row in rows]
        room = _rounded(max(self.lengths, default=0))
        for layer, pair in enumerate(self.layers):
            if pair is not None:
                index = torch.tensor(rows, dtype=torch.int64, device=pair[0].device)
                keys, values = (tensor[:, :, :room].index_select(0, index) for tensor in pair)
                self.layers[layer] = (keys, values) if rows else None

    @property
    def capacity(self) -> int:
        """Tokens that a row can hold before its memory grows."""
        return next((pair[0].shape[2] for pair in self.layers if pair is not None), 0)

    def _with_room(self, layer: int, length: int, like: Tensor) -> tuple[Tensor, Tensor]:
        pair = self.layers[layer]
        if pair is None:
            heads, width = self._shape
            empty = like.new_zeros(self.num_rows, heads, _rounded(length), width)
            pair = (empty, empty.clone())
        elif pair[0].shape[2] < length:
            pair = (_padded(pair[0], _rounded(length)), _padded(pair[1], _rounded(length)))
        self.layers[layer] = pair
        return pair


def _rounded(length: int) -> int:
    """Half as much again, in whole blocks: a row that grows token by token is copied a few times only."""
    return -(-(length + length // 2) // _GROWTH) * _GROWTH or _GROWTH


def _padded(stored: Tensor, capacity: int) -> Tensor:
    """[B, G, L, E] -> [B, G, capacity, E]; zeros, since masked garbage could be NaN."""
    return torch.nn.functional.pad(stored, (0, 0, 0, capacity - stored.shape[2]))
