"""Scores of whole sequences of tags: linear-chain conditional random fields (Lafferty et al. 2001).

A path y of W tags scores first[y_1] + sum of emissions[t, y_t] + sum of steps[y_t, y_t+1] + last[y_W]; its probability
is the exponential of that, over the sum of those of all paths. All below are of the words that are there: what stands
behind a sentence's length never counts. Knows no tag's name.

Legend: B batch, W words, L tags.
"""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor, nn

#: What a forbidden step costs: no sum of scores makes up for it, and unlike infinity it never becomes NaN.
FORBIDDEN = -1e5


class Chain(NamedTuple):
    """What a path scores beside its emissions: first and last [L], steps [L, L] from a tag to the next."""

    first: Tensor
    steps: Tensor
    last: Tensor


class LinearChain(nn.Module):
    """A chain that is learned."""

    def __init__(self, num_tags: int) -> None:
        super().__init__()
        self.first = nn.Parameter(torch.zeros(num_tags))
        self.steps = nn.Parameter(torch.zeros(num_tags, num_tags))
        self.last = nn.Parameter(torch.zeros(num_tags))

    @property
    def chain(self) -> Chain:
        return Chain(self.first, self.steps, self.last)


@torch.compiler.disable  # type: ignore[untyped-decorator]  # a loop over words would be compiled anew for each length
def negative_log_likelihoods(emissions: Tensor, tags: Tensor, lengths: Tensor, chain: Chain) -> Tensor:
    """emissions: float [B, W, L], tags: int64 [B, W], lengths: int64 [B], 1 at least -> [B]"""
    *_, forward = _forward(emissions, lengths, chain)
    return torch.logsumexp(forward + chain.last, 1) - path_scores(emissions, tags, lengths, chain)


def path_scores(emissions: Tensor, tags: Tensor, lengths: Tensor, chain: Chain) -> Tensor:
    """-> [B]"""
    there = _there(emissions, lengths)
    told = emissions.gather(2, tags[:, :, None]).squeeze(2).masked_fill(~there, 0.0).sum(1)
    steps = chain.steps[tags[:, :-1], tags[:, 1:]].masked_fill(~there[:, 1:], 0.0).sum(1)
    ends = tags.gather(1, lengths[:, None] - 1).squeeze(1)
    scores: Tensor = chain.first[tags[:, 0]] + told + steps + chain.last[ends]
    return scores


def best_paths(emissions: Tensor, lengths: Tensor, chain: Chain) -> Tensor:
    """The path of the highest score (Viterbi 1967): int64 [B, W], 0 behind a sentence's length."""
    there = _there(emissions, lengths)
    scores, origins = chain.first + emissions[:, 0], []
    stay = torch.arange(emissions.shape[2], device=emissions.device)
    for word in range(1, emissions.shape[1]):
        best, origin = (scores[:, :, None] + chain.steps).max(1)  # from the tag before: [B, L]
        goes_on = there[:, word, None]
        scores = torch.where(goes_on, best + emissions[:, word], scores)
        origins.append(torch.where(goes_on, origin, stay))
    path = [(scores + chain.last).argmax(1)]
    for origin in reversed(origins):
        path.append(origin.gather(1, path[-1][:, None]).squeeze(1))
    return torch.stack(path[::-1], 1).masked_fill(~there, 0)


def marginals(emissions: Tensor, lengths: Tensor, chain: Chain) -> Tensor:
    """The probability of each tag at each word, whatever stands around it: [B, W, L]"""
    forward = torch.stack([*_forward(emissions, lengths, chain)], 1)
    return (forward + torch.stack(_backward(emissions, lengths, chain), 1)).softmax(2)


def _forward(emissions: Tensor, lengths: Tensor, chain: Chain) -> Iterator[Tensor]:
    """At each word, of each tag: the log of the sum over the paths that end there; behind the last word as at it."""
    there = _there(emissions, lengths)
    scores = chain.first + emissions[:, 0]
    yield scores
    for word in range(1, emissions.shape[1]):
        onward = torch.logsumexp(scores[:, :, None] + chain.steps, 1) + emissions[:, word]
        scores = torch.where(there[:, word, None], onward, scores)
        yield scores


def _backward(emissions: Tensor, lengths: Tensor, chain: Chain) -> list[Tensor]:
    """At each word, of each tag: the log of the sum over the ways on from there."""
    there = _there(emissions, lengths)
    scores = [chain.last.expand(emissions.shape[0], -1)]
    for word in range(emissions.shape[1] - 1, 0, -1):
        onward = torch.logsumexp(chain.steps + (emissions[:, word] + scores[-1])[:, None], 2)
        scores.append(torch.where(there[:, word, None], onward, scores[-1]))
    return scores[::-1]


def _there(emissions: Tensor, lengths: Tensor) -> Tensor:
    """Which words are there: bool [B, W]"""
    return torch.arange(emissions.shape[1], device=emissions.device) < lengths[:, None]
