"""Texts cut into windows of the context, and the embedding of a text of any length. Knows no method.

Legend: B batch, T tokens, D width.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import Tensor

from app.contract.errors import FieldError
from worker.data.tokenizers import Frame
from worker.models.body import Body
from worker.serving.batcher import BatchLimits, Row
from worker.serving.errors import InvalidInput
from worker.serving.predictors.inputs import read_each, read_text
from worker.serving.predictors.protocol import Encoded
from worker.serving.predictors.readers import right_padded, tokenise
from worker.serving.predictors.windows import windows

#: Beyond, one request would keep a replica busy for minutes.
MAX_REQUEST_TOKENS = 65_536


@dataclass(frozen=True, slots=True)
class Stretch:
    """A window of one text: what is read, and which of its positions count."""

    text: int
    tokens: list[int]
    counted_from: int
    counted_to: int


@dataclass(frozen=True, slots=True)
class TextFacts:
    num_tokens: int
    num_characters: int


class Windowed(ABC):
    """Texts cut into windows of the context, each opened by the begin token, as every window was in training."""

    def __init__(self, tokenizer: Tokenizer, context_length: int) -> None:
        self._tokenizer = tokenizer
        self._frame = Frame(tokenizer)
        self._context_length = context_length

    def encode_pre(self, inputs: Sequence[Any]) -> Encoded:
        texts = read_each(inputs, read_text)
        tokenised = tokenise(self._tokenizer, texts)
        refuse_too_many(tokenised)
        stretches = [stretch for place, tokens in enumerate(tokenised) for stretch in self._stretches(place, tokens)]
        rows = [Row(stretch, len(stretch.tokens)) for stretch in stretches]
        facts = [TextFacts(len(tokens), len(text)) for tokens, text in zip(tokenised, texts, strict=True)]
        return Encoded(rows, context=facts, num_tokens=sum(fact.num_tokens for fact in facts))

    @abstractmethod
    def _stretches(self, text: int, tokens: list[int]) -> Iterator[Stretch]:
        """The windows of the text at place `text` of the request."""


class TextEmbedding(Windowed):
    """The mean of the body's vectors over all tokens and those that frame them, as fine-tunes pool a text."""

    limits = BatchLimits()

    def __init__(self, body: Body, tokenizer: Tokenizer, context_length: int) -> None:
        super().__init__(tokenizer, context_length)
        self._body = body

    def encode_core(self, values: Sequence[Stretch]) -> list[Tensor]:
        """-> for each row the sum of the vectors that count, double [D]"""
        batch = right_padded([stretch.tokens for stretch in values])
        vectors = self._body.encode(batch).double()  # [B, T, D]
        counts = counted(batch["tokens"], values)
        return list(vectors.masked_fill(~counts[..., None], 0.0).sum(1))

    def encode_post(self, encoded: Encoded, results: Sequence[Tensor]) -> list[list[float]]:
        facts: list[TextFacts] = encoded.context
        sums = [np.zeros(len(results[0])) for _ in facts]
        for row, vector in zip(encoded.rows, results, strict=True):
            sums[row.value.text] += vector.numpy()
        return [
            (total / (fact.num_tokens + self._frame.size)).tolist() for fact, total in zip(facts, sums, strict=True)
        ]

    def _stretches(self, text: int, tokens: list[int]) -> Iterator[Stretch]:
        """The first window counts its begin token, and the last what closes it; of an empty text there is no more."""
        if not tokens:
            yield Stretch(text, self._frame.around([]), 0, self._frame.size)
        for start, end, counted_from in windows(len(tokens), self._context_length - self._frame.size):
            read = self._frame.around(tokens[start:end])
            first = 0 if start == 0 else counted_from - start + 1
            yield Stretch(text, read, first, len(read) if end == len(tokens) else 1 + end - start)


def refuse_too_many(tokenised: Sequence[Sequence[int]]) -> None:
    total = sum(len(tokens) for tokens in tokenised)
    if total > MAX_REQUEST_TOKENS:
        message = f"The texts have {total:,} tokens together; one request takes at most {MAX_REQUEST_TOKENS:,}."
        raise InvalidInput(message, errors=[FieldError(location="inputs", message=message)])


def counted(tokens: Tensor, stretches: Sequence[Stretch]) -> Tensor:
    """Which positions count: bool [B, T]"""
    positions = torch.arange(tokens.shape[1])
    first, end = (
        torch.tensor(bound) for bound in zip(*((s.counted_from, s.counted_to) for s in stretches), strict=True)
    )
    return (positions >= first[:, None]) & (positions < end[:, None])
