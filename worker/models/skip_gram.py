"""Word vectors by skip-gram with negative sampling (Mikolov et al. 2013b, "Distributed Representations").

Two matrices: a word's vector as a centre, which is what is kept, and as a context. Knows no tokenizer and no data.

Legend: B batch, T tokens, C centres, O others of each (contexts and negatives), D width, V vocabulary.
"""

from collections.abc import Mapping, Sequence

import torch.nn.functional as F  # noqa: N812  its usual name
from torch import Tensor, nn

from app.contract.specs.architectures import SkipgramArchitecture
from worker.models.body import Body


class SkipGram(Body):
    """The body: the vector of each word, whatever stands around it."""

    def __init__(self, architecture: SkipgramArchitecture, vocab_size: int) -> None:
        super().__init__()
        self.width = architecture.width
        self.embeddings = vectors(vocab_size, architecture.width)

    def stages(self) -> Sequence[nn.ModuleList]:
        return [nn.ModuleList([self.embeddings])]

    def encode(self, batch: Mapping[str, Tensor]) -> Tensor:
        encoded: Tensor = self.embeddings(batch["tokens"])
        return encoded


class Word2Vec(nn.Module):
    def __init__(self, body: SkipGram) -> None:
        super().__init__()
        self.body = body
        self.contexts = vectors(body.embeddings.num_embeddings, body.width)

    def forward(self, centers: Tensor, others: Tensor) -> Tensor:
        """int64 [C] and [C, O] -> how well each other suits the centre, as a logit: [C, O]"""
        logits: Tensor = (self.contexts(others) @ self.body.embeddings(centers)[:, :, None]).squeeze(2)
        return logits

    def loss(self, centers: Tensor, contexts: Tensor, negatives: Tensor, present: Tensor) -> Tensor:
        """Equation 4, negated and summed over all pairs of a centre and a context.

        contexts: int64 [C, 2 W], where `present`, bool, tells which are there. negatives: int64 [C, K], drawn once for
        a centre and not for each of its pairs: they count as often as it has pairs, which costs a third of the products
        and changes no expectation. A negative that is a context of its centre is not skipped: it is as rare as chance.
        """
        positive = F.softplus(-self(centers, contexts)).masked_fill(~present, 0.0).sum()
        negative = (F.softplus(self(centers, negatives)).sum(1) * present.sum(1)).sum()
        total: Tensor = positive + negative
        return total


def vectors(vocab_size: int, width: int) -> nn.Embedding:
    """As word2vec begins with vectors of centres; those of contexts begin alike, not at zero, so that both learn from
    the first step on."""
    embedding = nn.Embedding(vocab_size, width)
    nn.init.uniform_(embedding.weight, -0.5 / width, 0.5 / width)
    return embedding
