"""Chooses the next token. Knows nothing of models or of text.

Each request draws from a random generator of its own, so its seed gives the same text whatever else is in the batch.
Legend: V vocabulary.
"""

import secrets
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True, eq=False)
class Sampler:
    """`temperature` 0 takes the likeliest token, and draws nothing."""

    temperature: float
    top_k: int | None
    top_p: float | None
    random: torch.Generator

    @classmethod
    def seeded(cls, *, temperature: float, top_k: int | None, top_p: float | None, seed: int | None) -> "Sampler":
        random = torch.Generator().manual_seed(secrets.randbits(63) if seed is None else seed)
        return cls(temperature, top_k, top_p, random)

    def choose(self, logits: Tensor) -> int:
        """logits: float [V] -> a token"""
        if self.temperature == 0.0:
            return int(logits.argmax())
        scaled, tokens = _kept_by_top_k(logits.double() / self.temperature, self.top_k)
        probabilities = scaled.softmax(-1)
        if self.top_p is not None and self.top_p < 1.0:
            probabilities, tokens = _kept_by_top_p(probabilities, tokens, self.top_p)
        drawn = torch.multinomial(probabilities, 1, generator=self.random)
        return int(drawn if tokens is None else tokens[drawn])


def _kept_by_top_k(logits: Tensor, top_k: int | None) -> tuple[Tensor, Tensor | None]:
    """The `top_k` greatest logits and their tokens; None stands for all tokens in order."""
    if top_k is None or top_k >= len(logits):
        return logits, None
    kept = logits.topk(top_k)
    return kept.values, kept.indices


def _kept_by_top_p(probabilities: Tensor, tokens: Tensor | None, top_p: float) -> tuple[Tensor, Tensor]:
    """The likeliest tokens that together reach `top_p` (Holtzman et al. 2020), always at least one."""
    ordered = probabilities.sort(descending=True, stable=True)
    before = ordered.values.cumsum(-1) - ordered.values
    kept = before < top_p
    kept_tokens = ordered.indices[kept]
    return ordered.values[kept], kept_tokens if tokens is None else tokens[kept_tokens]
