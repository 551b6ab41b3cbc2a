"""A Transformer with the keys and values of the running rows. Legend: B rows, T tokens, V vocabulary."""

from collections.abc import Sequence

import torch
from torch import Tensor

from worker.models.transformer import CausalLanguageModel


class KeyValueDecoder:
    def __init__(self, model: CausalLanguageModel) -> None:
        self._model = model
        self._cache = model.body.new_cache(0)

    def prefill(self, prompts: Sequence[Sequence[int]]) -> Tensor:
        """Prompts are padded on the right: what padding left in the cache is masked, then overwritten."""
        lengths = [len(prompt) for prompt in prompts]
        tokens = torch.zeros(len(prompts), max(lengths), dtype=torch.int64)  # [B, T]
        for row, prompt in zip(tokens, prompts, strict=True):
            row[: len(prompt)] = torch.tensor(prompt)
        cache = self._model.body.new_cache(len(prompts))
        hidden = self._model.body.step(tokens, cache)  # [B, T, D]
        cache.lengths = lengths
        self._cache.append(cache)
        logits: Tensor = self._model.lm_head(hidden[torch.arange(len(prompts)), torch.tensor(lengths) - 1])
        return logits

    def advance(self, tokens: Sequence[int]) -> Tensor:
        """-> [B, V]"""
        return self._model.step(torch.tensor(tokens)[:, None], self._cache)

    def keep(self, rows: Sequence[int]) -> None:
        self._cache.keep(rows)
