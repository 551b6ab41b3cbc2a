"""Chooses the next tokens of a batch. Knows nothing of models or of text.

Each request draws from a random generator of its own, and what it draws from depends on its own row alone; so its seed
gives the same text whatever else is in the batch. Legend: B rows, V vocabulary, K kept logits.
"""

import math
import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Sampling:
    """Logits of tokens read or written before are moved down by `repetition_penalty` (Keskar et al. 2019), all are
    divided by `temperature` (0 takes the likeliest token, and draws nothing), then cut by `top_k` and `top_p`
    (Holtzman et al. 2020). Tokens as likely as the last one that a cut leaves are left, too.
    """

    temperature: float = 1.0
    top_k: int | None = None
    top_p: float | None = None
    repetition_penalty: float = 1.0

    @property
    def cuts(self) -> bool:
        return self.top_k is not None or (self.top_p is not None and self.top_p < 1.0)


class Sampler:
    """How one request chooses, and what it has read and written."""

    def __init__(self, sampling: Sampling, seed: int | None, prompt: Iterable[int] = ()) -> None:
        self.sampling = sampling
        self._random = torch.Generator().manual_seed(secrets.randbits(63) if seed is None else seed)
        self._prompt = torch.tensor([*prompt], dtype=torch.int64)
        self._seen: Tensor | None = None

    def draw(self) -> float:
        """Uniform, above 0 and up to 1."""
        return 1.0 - float(torch.rand((), generator=self._random, dtype=torch.float64))

    def seen(self, vocab_size: int) -> Tensor:
        """Which tokens stand in the prompt or have been written: bool [V]. It follows `wrote`."""
        if self._seen is None:
            self._seen = torch.zeros(vocab_size, dtype=torch.bool).index_fill_(0, self._prompt, True)
        return self._seen

    def wrote(self, token: int) -> None:
        if self._seen is not None:
            self._seen[token] = True


class Likelihood(NamedTuple):
    """The natural logarithm of a token's probability, and the likeliest tokens with theirs, the likeliest first."""

    log_probability: float
    likeliest: list[tuple[int, float]]


def choose(samplers: Sequence[Sampler], logits: Tensor) -> list[int]:
    """logits: float [B, V] -> the token of each row"""
    logits = _penalised(samplers, logits.float())
    tokens = torch.from_numpy(logits.numpy().argmax(-1))  # in a tenth of the time that torch takes
    if drawing := [row for row, sampler in enumerate(samplers) if sampler.sampling.temperature > 0.0]:
        tokens[drawing] = _drawn([samplers[row] for row in drawing], logits[drawing])
    chosen: list[int] = tokens.tolist()
    for sampler, token in zip(samplers, chosen, strict=True):
        sampler.wrote(token)
    return chosen


def likelihoods(logits: Tensor, tokens: Sequence[int], wanted: Sequence[int | None]) -> list[Likelihood | None]:
    """Of the tokens chosen from logits, float [B, V], where it is `wanted`, with so many of the likeliest. Of the
    model's own distribution: no penalty, no temperature and no cut changes it."""
    told: list[Likelihood | None] = [None] * len(tokens)
    rows = [row for row, count in enumerate(wanted) if count is not None]
    if not rows:
        return told
    logs = logits[rows].double().log_softmax(-1)
    chosen = logs.gather(1, torch.tensor([[tokens[row]] for row in rows])).squeeze(1).tolist()
    values, places = (part.tolist() for part in logs.topk(min(max(wanted[row] or 0 for row in rows), logs.shape[1])))
    for place, row in enumerate(rows):
        count = wanted[row]
        told[row] = Likelihood(chosen[place], [*zip(places[place], values[place], strict=True)][:count])
    return told


def _penalised(samplers: Sequence[Sampler], logits: Tensor) -> Tensor:
    """As transformers has it: a positive logit is divided by the penalty, a negative one multiplied."""
    rows = [row for row, sampler in enumerate(samplers) if sampler.sampling.repetition_penalty != 1.0]
    if not rows:
        return logits
    penalties = _column(samplers[row].sampling.repetition_penalty for row in rows).float()
    seen = torch.stack([samplers[row].seen(logits.shape[1]) for row in rows])
    before = logits[rows]
    after = torch.where(before < 0, before * penalties, before / penalties)
    return logits.index_copy(0, torch.tensor(rows), torch.where(seen, after, before))


def _drawn(samplers: Sequence[Sampler], logits: Tensor) -> Tensor:
    """logits: float [B, V] -> int64 [B]"""
    samplings = [sampler.sampling for sampler in samplers]
    if cutting := [row for row, sampling in enumerate(samplings) if sampling.cuts]:
        part = logits[cutting]
        bounds = _least_kept([samplings[row] for row in cutting], part)
        logits[cutting] = part.masked_fill(part < bounds, -math.inf)
    cumulative = _tempered(samplings, logits).softmax(-1).cumsum(-1)
    # At most the last sum, and above that of any token which has no probability before the first that has.
    points = _column(sampler.draw() for sampler in samplers) * cumulative[:, -1:]
    return torch.searchsorted(cumulative, points).squeeze(1)


def _least_kept(samplings: Sequence[Sampling], logits: Tensor) -> Tensor:
    """The least logit that `top_k` and then `top_p` leave of each row: [B, 1]"""
    vocab_size = logits.shape[1]
    counts = [min(sampling.top_k or vocab_size, vocab_size) for sampling in samplings]
    # Torch would sort places along with the values, and take twenty times as long.
    ordered = torch.from_numpy(np.sort(logits.numpy())[:, : -max(counts) - 1 : -1].copy())  # [B, K]
    is_kept = torch.arange(max(counts)) < _column(counts)
    probabilities = _tempered(samplings, ordered.masked_fill(~is_kept, -math.inf)).softmax(-1)
    before = probabilities.cumsum(-1) - probabilities
    # What rounds to 1 before the last token is not cut by a `top_p` that asks for all.
    wanted = _column(math.inf if sampling.top_p in (None, 1.0) else sampling.top_p for sampling in samplings)
    num_kept = (is_kept & (before < wanted)).sum(-1, keepdim=True)
    return ordered.gather(1, num_kept - 1)


def _tempered(samplings: Sequence[Sampling], logits: Tensor) -> Tensor:
    """In double precision, so that sums of thousands of probabilities end at 1; and from the greatest logit down, so
    that no temperature is too small."""
    below = (logits - logits.amax(-1, keepdim=True)).double()
    return below / _column(sampling.temperature for sampling in samplings)


def _column(values: Iterable[float]) -> Tensor:
    """-> double [B, 1]"""
    return torch.tensor([[value] for value in values], dtype=torch.float64)
