"""A causal language model with what its running rows have read. Legend: B rows, V vocabulary."""

from collections.abc import Sequence

import torch
from torch import Tensor

from worker.models.language_model import Cache, CausalLanguageModel


class CachedReading:
    """A prompt alone, in a cache of its own: whatever else runs, the same numbers come out of it."""

    def __init__(self, model: CausalLanguageModel, dtype: torch.dtype, num_tokens: int) -> None:
        self._model = model
        self.cache: Cache = model.body.new_cache(dtype)
        self.cache.reserve(1, num_tokens)
        self.cache.start(1)

    def read(self, tokens: Sequence[int]) -> Tensor:
        return self._model.step(torch.tensor([tokens]), self.cache)[0]


class CachingDecoder:
    """Keys and values of a Transformer, kept as `dtype`, or the state of a recurrent model: the body's own cache holds
    the rows."""

    def __init__(self, model: CausalLanguageModel, dtype: torch.dtype = torch.float32) -> None:
        self._model = model
        self._dtype = dtype
        self.clear()

    @property
    def held_bytes(self) -> int:
        return self._cache.size_bytes

    def bytes_for(self, num_rows: int, num_tokens: int) -> int:
        return self._cache.bytes_for(num_rows, num_tokens)

    def reserve(self, num_rows: int, num_tokens: int) -> None:
        self._cache.reserve(num_rows, num_tokens)

    def begin(self, num_tokens: int) -> CachedReading:
        return CachedReading(self._model, self._dtype, num_tokens)

    def join(self, reading: CachedReading) -> None:
        self._cache.join(reading.cache)

    def advance(self, tokens: Sequence[int]) -> Tensor:
        """-> [B, V]"""
        return self._model.step(torch.tensor(tokens)[:, None], self._cache)

    def leave(self, row: int) -> None:
        self._cache.leave(row)

    def clear(self) -> None:
        self._cache: Cache = self._model.body.new_cache(self._dtype)
