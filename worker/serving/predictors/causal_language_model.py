"""Causal language models: how likely a text is, its embedding, and how it goes on.

Legend: B batch, T tokens, D width, V vocabulary.
"""

import math
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from tokenizers import Tokenizer

from worker.data.chat import template_for
from worker.data.tokenizers import begin_token, special_tokens, unknown_token
from worker.export import LoadedModel
from worker.models.language_model import CausalLanguageModel
from worker.serving.batcher import BatchLimits
from worker.serving.generation import GenerativeModel
from worker.serving.generation.caching_decoder import CachingDecoder
from worker.serving.generation.chat import chat_format
from worker.serving.precision import cache_type
from worker.serving.predictors.protocol import Encoded, Predictor
from worker.serving.predictors.readers import context_length, right_padded
from worker.serving.predictors.windowed import Stretch, TextEmbedding, TextFacts, Windowed, counted
from worker.serving.predictors.windows import windows

#: Numbers in the logits of one batch: 128 MiB in single precision.
MAX_LOGITS = 1 << 25


class Scoring(Windowed):
    """The log-likelihood of a text. A row's tokens are the begin token and the window's; all but the first are told."""

    def __init__(self, module: CausalLanguageModel, tokenizer: Tokenizer, context_length: int) -> None:
        super().__init__(tokenizer, context_length)
        self._module = module
        self._begin_token = begin_token(tokenizer)
        tokens = max(context_length, min(BatchLimits().tokens, MAX_LOGITS // tokenizer.get_vocab_size()))
        self.limits = BatchLimits(tokens=tokens)

    def encode_core(self, values: Sequence[Stretch]) -> list[float]:
        """-> for each row the sum of the log-probabilities of the tokens that count"""
        batch = right_padded([stretch.tokens for stretch in values])
        read, told = batch["tokens"][:, :-1], batch["tokens"][:, 1:]  # [B, T]
        losses = torch.nn.functional.cross_entropy(
            self._module(read).flatten(0, 1), told.flatten(), reduction="none"
        ).view_as(told)
        counts = counted(told, values)
        sums: list[float] = (-losses.double()).masked_fill(~counts, 0.0).sum(1).tolist()
        return sums

    def encode_post(self, encoded: Encoded, results: Sequence[float]) -> list[dict[str, Any]]:
        facts: list[TextFacts] = encoded.context
        sums = [0.0] * len(facts)
        for row, value in zip(encoded.rows, results, strict=True):
            sums[row.value.text] += value
        return [_score(fact, value) for fact, value in zip(facts, sums, strict=True)]

    def _stretches(self, text: int, tokens: list[int]) -> Iterator[Stretch]:
        for start, end, counted_from in windows(len(tokens), self._context_length):
            yield Stretch(text, [self._begin_token, *tokens[start:end]], counted_from - start, end - start)


def causal_language_model(loaded: LoadedModel) -> Predictor:
    assert isinstance(loaded.module, CausalLanguageModel)
    assert loaded.tokenizer is not None
    module, tokenizer, context = loaded.module, loaded.tokenizer, context_length(loaded)
    # Whatever special token the model tells, no text follows in it.
    end_tokens = frozenset(special_tokens(tokenizer)) - {unknown_token(tokenizer)}
    return Predictor(
        method=loaded.description.method,
        predict=Scoring(module, tokenizer, context),
        embed=TextEmbedding(module.body, tokenizer, context),
        generate=GenerativeModel(
            CachingDecoder(module, cache_type(module)),
            tokenizer,
            begin_token(tokenizer),
            end_tokens,
            context,
            chat_format(_chat_template(loaded, tokenizer), tokenizer),
        ),
    )


def _chat_template(loaded: LoadedModel, tokenizer: Tokenizer) -> str | None:
    """An import leaves it behind, since it is a program: then it is the one that the tokenizer leads to."""
    is_taught = loaded.description.method == "instruction_tuning"
    return loaded.chat_template or (template_for(tokenizer) if is_taught else None)


def _score(text: TextFacts, log_likelihood: float) -> dict[str, Any]:
    """An empty text has no perplexity."""
    perplexity = math.exp(min(700.0, -log_likelihood / text.num_tokens)) if text.num_tokens else None
    return {
        "log_likelihood": log_likelihood,
        "num_tokens": text.num_tokens,
        "perplexity": perplexity,
        "num_characters": text.num_characters,
    }
