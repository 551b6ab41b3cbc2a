"""A tag for each word: a linear head on one vector a word, and the chain of tags where there is one.

Words come as places of the tokens that carry them. Knows no data set and no tokenizer.

Legend: B batch, T tokens, W words, D width of the body, L tags.
"""

from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F  # noqa: N812  its usual name
from torch import Tensor

from app.contract.tags import are_bio, follows
from worker.models.body import Body
from worker.models.chain import FORBIDDEN, Chain, LinearChain, best_paths, marginals, negative_log_likelihoods
from worker.models.heads import LinearTask

#: Pairs of tags of all rows that are weighed at a time in decoding: 64 MiB of fp32.
MAX_PAIRS = 1 << 24


def encode_words(body: Body, batch: Mapping[str, Tensor]) -> Tensor:
    """The vector of the token that carries each word; `places` int64 [B, W] -> [B, W, D]"""
    rows = torch.arange(len(batch["places"]), device=batch["places"].device)
    words: Tensor = body.encode(batch)[rows[:, None], batch["places"]]
    return words


class Tagger(LinearTask):
    """A batch has what the body reads, `places` int64 [B, W] and `num_words` int64 [B]; to learn from, `tags` int64
    [B, W], behind the words what cross-entropy leaves out."""

    def __init__(self, body: Body, tags: Sequence[str], *, crf: bool) -> None:
        super().__init__(body, len(tags))
        self.crf = LinearChain(len(tags)) if crf else None
        self.rules: Chain | None = bio_rules(tags) if are_bio(tags) else None

    def forward(self, batch: Mapping[str, Tensor]) -> Tensor:
        """-> logits [B, W, L]"""
        logits: Tensor = self.head(self.transform(encode_words(self.body, batch)))
        return logits

    def loss(self, logits: Tensor, batch: Mapping[str, Tensor]) -> Tensor:
        """The negative log-likelihood of the tags, summed over words."""
        return summed(logits, batch["tags"]) if self.crf is None else self.losses(logits, batch).sum()

    def losses(self, logits: Tensor, batch: Mapping[str, Tensor]) -> Tensor:
        """The same of each row, [B]"""
        tags = batch["tags"]
        if self.crf is None:
            return summed_by_row(logits, tags)
        losses: Tensor = negative_log_likelihoods(logits.float(), tags.clamp(min=0), batch["num_words"], self.crf.chain)
        return losses

    def decode(self, logits: Tensor, num_words: Tensor) -> tuple[Tensor, Tensor]:
        """-> the best sequence of tags, int64 [B, W], and how likely each of them is at its word, float [B, W]"""
        logits, chain = logits.float(), self._decoding_chain(logits.device)
        if chain is None:
            probabilities, paths = logits.softmax(2).max(2)
            return paths, probabilities
        rows = max(1, MAX_PAIRS // logits.shape[2] ** 2)
        parts = [
            _decoded(some, lengths, chain)
            for some, lengths in zip(torch.split(logits, rows), torch.split(num_words, rows), strict=True)
        ]
        paths, probabilities = (torch.cat(each) for each in zip(*parts, strict=True))
        return paths, probabilities

    def _decoding_chain(self, device: torch.device) -> Chain | None:
        chains = [chain for chain in (self.crf and self.crf.chain, self.rules) if chain is not None]
        if not chains:
            return None
        return Chain(*(sum(part.to(device) for part in parts) for parts in zip(*chains, strict=True)))


def summed(logits: Tensor, tags: Tensor) -> Tensor:
    """Cross-entropy of all rows: [B, W, L], int64 [B, W] -> scalar. In one sum: the last bit of a sum of rows' sums
    differed between compiled runs."""
    return F.cross_entropy(logits.float().flatten(0, 1), tags.flatten(), reduction="sum")


def summed_by_row(logits: Tensor, tags: Tensor) -> Tensor:
    """Cross-entropy: [B, W, L], int64 [B, W] -> [B]; what stands behind a row's words is left out."""
    losses = F.cross_entropy(logits.float().flatten(0, 1), tags.flatten(), reduction="none")
    return losses.view_as(tags).sum(1)


def bio_rules(tags: Sequence[str]) -> Chain:
    """Scores that no path of ill-formed BIO tags survives."""

    def scores(before: str | None) -> list[float]:
        return [0.0 if follows(before, tag) else FORBIDDEN for tag in tags]

    steps = [scores(before) for before in tags]
    # On the CPU whatever the default device: parameters may be counted on one that holds no numbers.
    return Chain(*(torch.tensor(each, device="cpu") for each in (scores(None), steps, [0.0] * len(tags))))


def _decoded(logits: Tensor, num_words: Tensor, chain: Chain) -> tuple[Tensor, Tensor]:
    paths = best_paths(logits, num_words, chain)
    return paths, marginals(logits, num_words, chain).gather(2, paths[:, :, None]).squeeze(2)
