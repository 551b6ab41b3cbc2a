"""Causal language models: how likely a text is, its embedding, and how it goes on.

Legend: B batch, T tokens, D width, V vocabulary.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import Tensor

from app.contract.errors import FieldError
from worker.data.tokenizers import BEGIN_TOKEN, PADDING_TOKEN, begin_token
from worker.export import LoadedModel
from worker.models.transformer import CausalLanguageModel
from worker.serving.batcher import BatchLimits, Row
from worker.serving.errors import InvalidInput
from worker.serving.generation import GenerativeModel
from worker.serving.generation.key_value_decoder import KeyValueDecoder
from worker.serving.predictors.inputs import read_each, read_text
from worker.serving.predictors.protocol import Encoded, Predictor
from worker.serving.predictors.readers import context_length, right_padded, tokenise
from worker.serving.predictors.windows import windows

#: Beyond, one request would keep a replica busy for minutes.
MAX_REQUEST_TOKENS = 65_536
#: Numbers in the logits of one batch: 128 MiB in single precision.
MAX_LOGITS = 1 << 25


@dataclass(frozen=True, slots=True)
class _Stretch:
    """A window of one text: what is read, and which of its positions count."""

    text: int
    tokens: list[int]
    counted_from: int


@dataclass(frozen=True, slots=True)
class _Text:
    num_tokens: int
    num_characters: int


class _Windowed(ABC):
    """Texts cut into windows of the context, each opened by the begin token, as every window was in training."""

    def __init__(self, module: CausalLanguageModel, tokenizer: Tokenizer, context_length: int) -> None:
        self._module = module
        self._tokenizer = tokenizer
        self._begin_token = begin_token(tokenizer)
        self._context_length = context_length

    def encode_pre(self, inputs: Sequence[Any]) -> Encoded:
        texts = read_each(inputs, read_text)
        tokenised = tokenise(self._tokenizer, texts)
        _refuse_too_many(tokenised)
        stretches = [stretch for place, tokens in enumerate(tokenised) for stretch in self._stretches(place, tokens)]
        rows = [Row(stretch, len(stretch.tokens)) for stretch in stretches]
        facts = [_Text(len(tokens), len(text)) for tokens, text in zip(tokenised, texts, strict=True)]
        return Encoded(rows, context=facts)

    @abstractmethod
    def _stretches(self, text: int, tokens: list[int]) -> Iterator[_Stretch]:
        """The windows of the text at place `text` of the request."""


class Scoring(_Windowed):
    """The log-likelihood of a text. A row's tokens are the begin token and the window's; all but the first are told."""

    def __init__(self, module: CausalLanguageModel, tokenizer: Tokenizer, context_length: int) -> None:
        super().__init__(module, tokenizer, context_length)
        tokens = max(context_length, min(BatchLimits().tokens, MAX_LOGITS // tokenizer.get_vocab_size()))
        self.limits = BatchLimits(tokens=tokens)

    def encode_core(self, values: Sequence[_Stretch]) -> list[float]:
        """-> for each row the sum of the log-probabilities of the tokens that count"""
        batch = right_padded([stretch.tokens for stretch in values])
        read, told = batch["tokens"][:, :-1], batch["tokens"][:, 1:]  # [B, T]
        losses = torch.nn.functional.cross_entropy(
            self._module(read).flatten(0, 1), told.flatten(), reduction="none"
        ).view_as(told)
        counted = _counted(told, [stretch.counted_from for stretch in values], batch["lengths"] - 1)
        sums: list[float] = (-losses.double()).masked_fill(~counted, 0.0).sum(1).tolist()
        return sums

    def encode_post(self, encoded: Encoded, results: Sequence[float]) -> list[dict[str, Any]]:
        facts: list[_Text] = encoded.context
        sums = [0.0] * len(facts)
        for row, value in zip(encoded.rows, results, strict=True):
            sums[row.value.text] += value
        return [_score(fact, value) for fact, value in zip(facts, sums, strict=True)]

    def _stretches(self, text: int, tokens: list[int]) -> Iterator[_Stretch]:
        for start, end, counted_from in windows(len(tokens), self._context_length):
            yield _Stretch(text, [self._begin_token, *tokens[start:end]], counted_from - start)


class TextEmbedding(_Windowed):
    """The mean of the body's vectors over the begin token and all tokens, as fine-tunes pool a text."""

    limits = BatchLimits()

    def encode_core(self, values: Sequence[_Stretch]) -> list[Tensor]:
        """-> for each row the sum of the vectors that count, double [D]"""
        batch = right_padded([stretch.tokens for stretch in values])
        vectors = self._module.body.encode(batch).double()  # [B, T, D]
        counted = _counted(batch["tokens"], [stretch.counted_from for stretch in values], batch["lengths"])
        return list(vectors.masked_fill(~counted[..., None], 0.0).sum(1))

    def encode_post(self, encoded: Encoded, results: Sequence[Tensor]) -> list[list[float]]:
        facts: list[_Text] = encoded.context
        sums = [np.zeros(len(results[0])) for _ in facts]
        for row, vector in zip(encoded.rows, results, strict=True):
            sums[row.value.text] += vector.numpy()
        return [(total / (fact.num_tokens + 1)).tolist() for fact, total in zip(facts, sums, strict=True)]

    def _stretches(self, text: int, tokens: list[int]) -> Iterator[_Stretch]:
        """The first window counts its begin token; it alone makes the window of an empty text."""
        if not tokens:
            yield _Stretch(text, [self._begin_token], 0)
        for start, end, counted_from in windows(len(tokens), self._context_length - 1):
            first = 0 if start == 0 else counted_from - start + 1
            yield _Stretch(text, [self._begin_token, *tokens[start:end]], first)


def causal_language_model(loaded: LoadedModel) -> Predictor:
    assert isinstance(loaded.module, CausalLanguageModel)
    assert loaded.tokenizer is not None
    module, tokenizer, context = loaded.module, loaded.tokenizer, context_length(loaded)
    ends = (tokenizer.token_to_id(name) for name in (BEGIN_TOKEN, PADDING_TOKEN))
    end_tokens = frozenset(token for token in ends if token is not None)
    return Predictor(
        method=loaded.description.method,
        predict=Scoring(module, tokenizer, context),
        embed=TextEmbedding(module, tokenizer, context),
        generate=GenerativeModel(KeyValueDecoder(module), tokenizer, begin_token(tokenizer), end_tokens, context),
    )


def _refuse_too_many(tokenised: Sequence[Sequence[int]]) -> None:
    total = sum(len(tokens) for tokens in tokenised)
    if total > MAX_REQUEST_TOKENS:
        message = f"The texts have {total:,} tokens together; one request takes at most {MAX_REQUEST_TOKENS:,}."
        raise InvalidInput(message, errors=[FieldError(location="inputs", message=message)])


def _counted(tokens: Tensor, counted_from: Sequence[int], lengths: Tensor) -> Tensor:
    """Positions from `counted_from` to the row's length: bool [B, T]"""
    positions = torch.arange(tokens.shape[1])
    return (positions >= torch.tensor(counted_from)[:, None]) & (positions < lengths[:, None])


def _score(text: _Text, log_likelihood: float) -> dict[str, Any]:
    """An empty text has no perplexity."""
    perplexity = math.exp(min(700.0, -log_likelihood / text.num_tokens)) if text.num_tokens else None
    return {
        "log_likelihood": log_likelihood,
        "num_tokens": text.num_tokens,
        "perplexity": perplexity,
        "num_characters": text.num_characters,
    }
