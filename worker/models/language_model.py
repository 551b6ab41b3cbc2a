"""Next-token prediction over any body that reads a text from left to right.

Knows no tokenizer, no data and no loss but next-token cross-entropy. Parameters are named as in transformers'
LlamaForCausalLM, so that a model over that body loads there as it is.

Legend: B batch, T tokens, D width of the body, V vocabulary.
"""

from abc import abstractmethod
from typing import Any, Generic, Protocol, Self, TypeVar

import torch
from torch import Tensor, nn

from app.contract.specs.architectures import CausalArchitecture
from worker.models.body import Body
from worker.models.cross_entropy import summed_cross_entropy

INITIAL_DEVIATION = 0.02


class Cache(Protocol):
    """What running rows have read, as their body needs it to go on: keys and values, or a recurrent state."""

    @property
    def size_bytes(self) -> int:
        """What it takes now."""

    def bytes_for(self, num_rows: int, num_tokens: int) -> int:
        """What it takes once it is reserved for so many rows, the longest of so many tokens."""

    def reserve(self, num_rows: int, num_tokens: int) -> None:
        """Memory for so many rows, those of now included, the longest of so many tokens."""

    def start(self, num_rows: int) -> None:
        """Rows that have read nothing yet, behind the others; there must be room."""

    def join(self, other: Self) -> None:
        """Take the one row of another cache of the same body behind ours; there must be room."""

    def leave(self, row: int) -> None:
        """Forget a row; the last one takes its place."""


CacheType = TypeVar("CacheType", bound=Cache)


class CausalBody(Body, Generic[CacheType]):
    """Reads tokens and looks at none ahead, so that it can go on where it stopped."""

    architecture: CausalArchitecture

    @property
    @abstractmethod
    def token_embedding(self) -> nn.Embedding:
        """The vectors of the vocabulary."""

    @abstractmethod
    def forward(self, tokens: Tensor) -> Tensor:
        """tokens: int64 [B, T], T at most the context length -> [B, T, D]"""

    @abstractmethod
    def new_cache(self, dtype: torch.dtype) -> CacheType:
        """Without rows; keys and values are kept as `dtype`."""

    @abstractmethod
    def step(self, tokens: Tensor, cache: CacheType) -> Tensor:
        """The next tokens of each row, int64 [B, T] -> [B, T, D]; the cache then holds them too."""


class CausalLanguageModel(nn.Module):
    """A body and a linear head over the vocabulary; tied, the head is the embedding matrix (Press and Wolf 2017)."""

    def __init__(self, body: CausalBody[Any]) -> None:
        super().__init__()
        self.model = body
        self.lm_head = nn.Linear(body.width, body.token_embedding.num_embeddings, bias=False)
        nn.init.normal_(self.lm_head.weight, std=INITIAL_DEVIATION)
        if body.architecture.tie_embeddings:
            self.lm_head.weight = body.token_embedding.weight

    @property
    def body(self) -> CausalBody[Any]:
        return self.model

    def forward(self, tokens: Tensor) -> Tensor:
        """tokens: int64 [B, T] -> logits [B, T, V]"""
        logits: Tensor = self.lm_head(self.model(tokens))
        return logits

    def loss(self, tokens: Tensor, targets: Tensor) -> Tensor:
        """tokens, targets: int64 [B, T] -> negative log-likelihood of the targets, summed over all B * T."""
        return summed_cross_entropy(self.model(tokens).flatten(0, 1), self.lm_head.weight, targets.flatten())

    def loss_at(self, tokens: Tensor, places: Tensor, targets: Tensor) -> Tensor:
        """The same where it is asked for alone: at places of the flattened batch, int64 [K], with targets int64 [K]."""
        return summed_cross_entropy(self.model(tokens).flatten(0, 1)[places], self.lm_head.weight, targets)

    def step(self, tokens: Tensor, cache: Cache) -> Tensor:
        """The next tokens of each row, int64 [B, T] -> logits after the last of them, [B, V]."""
        logits: Tensor = self.lm_head(self.model.step(tokens, cache)[:, -1])
        return logits

    def decode(self, tokens: Tensor, cache: Cache) -> Tensor:
        """The next tokens of each row, int64 [B, T] -> logits after each, [B, T, V]."""
        logits: Tensor = self.lm_head(self.model.step(tokens, cache))
        return logits
