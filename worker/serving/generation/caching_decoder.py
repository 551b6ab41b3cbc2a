"""A causal language model with what its running rows have read. Legend: B rows, T tokens, D width, V vocabulary."""

from collections.abc import Sequence

import torch
from torch import Tensor

from worker.models.language_model import Cache, CausalLanguageModel


class CachingDecoder:
    """Keys and values of a Transformer, or the state of a recurrent model: the body's own cache holds the rows."""

    def __init__(self, model: CausalLanguageModel) -> None:
        self._model = model
        self._cache: Cache = model.body.new_cache(0)

    def prefill(self, prompts: Sequence[Sequence[int]]) -> Tensor:
        """The prompts are padded on the right and read together."""
        lengths = [len(prompt) for prompt in prompts]
        tokens = torch.zeros(len(prompts), max(lengths), dtype=torch.int64)  # [B, T]
        for row, prompt in zip(tokens, prompts, strict=True):
            row[: len(prompt)] = torch.tensor(prompt)
        cache = self._model.body.new_cache(len(prompts))
        hidden = self._model.body.step(tokens, cache, lengths)  # [B, T, D]
        self._cache.append(cache)
        logits: Tensor = self._model.lm_head(hidden[torch.arange(len(prompts)), torch.tensor(lengths) - 1])
        return logits

    def advance(self, tokens: Sequence[int]) -> Tensor:
        """-> [B, V]"""
        return self._model.step(torch.tensor(tokens)[:, None], self._cache)

    def keep(self, rows: Sequence[int]) -> None:
        self._cache.keep(rows)
