"""Masked language models: what stands behind each [MASK] of a text, and the embedding of a text.

Legend: B batch, T tokens, K masks, V vocabulary.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from tokenizers import Tokenizer

from app.contract.parameters import MAX_TOLD, MaskParameters
from app.records.problems import BadValue
from worker.data.tokenizers import MASK_TOKEN, Frame, mask_token, words_hold_spaces
from worker.export import LoadedModel
from worker.models.encoder import MaskedLanguageModel
from worker.serving.batcher import BatchLimits, Row
from worker.serving.predictors.inputs import read_each, read_text, shown
from worker.serving.predictors.protocol import Encoded, Predictor
from worker.serving.predictors.readers import context_length, right_padded, tokenise
from worker.serving.predictors.windowed import TextEmbedding, refuse_too_many

Guess = dict[str, Any]


@dataclass(frozen=True, slots=True)
class MaskedText:
    """Tokens as they are read, in their frame, and the places of masks among them."""

    text: int
    tokens: list[int]
    places: list[int]


@dataclass
class FillingMasks:
    """A text beyond the context is read once for each mask, with the mask in the middle."""

    parameters = MaskParameters

    module: MaskedLanguageModel
    tokenizer: Tokenizer
    context_length: int
    top_k: int = MaskParameters().top_k
    limits: BatchLimits = field(default_factory=BatchLimits)

    def configured(self, parameters: MaskParameters) -> "FillingMasks":
        return replace(self, top_k=parameters.top_k)

    def encode_pre(self, inputs: Sequence[Any]) -> Encoded:
        tokenised = [self._tokens(text) for text in read_each(inputs, _read_masked)]
        refuse_too_many(tokenised)
        rows = [row for place, tokens in enumerate(tokenised) for row in self._rows(place, tokens)]
        return Encoded([Row(row, len(row.tokens)) for row in rows], context=len(tokenised))

    def encode_core(self, values: Sequence[MaskedText]) -> list[list[tuple[list[float], list[int]]]]:
        """-> for each mask of a row, scores and ids of the most likely tokens"""
        batch = right_padded([value.tokens for value in values])
        rows = torch.tensor([row for row, value in enumerate(values) for _ in value.places])
        places = torch.tensor([place for value in values for place in value.places])
        logits = self.module.at(batch, rows, places).double()  # [K, V]
        scores, tokens = logits.softmax(1).topk(min(MAX_TOLD, logits.shape[1]))
        told = iter(zip(scores.tolist(), tokens.tolist(), strict=True))
        return [[next(told) for _ in value.places] for value in values]

    def encode_post(
        self, encoded: Encoded, results: Sequence[Sequence[tuple[list[float], list[int]]]]
    ) -> list[dict[str, Any]]:
        masks: list[list[list[Guess]]] = [[] for _ in range(encoded.context)]
        for row, told in zip(encoded.rows, results, strict=True):
            masks[row.value.text] += [self._guesses(*each) for each in told]
        return [{"masks": each} for each in masks]

    def _guesses(self, scores: list[float], tokens: list[int]) -> list[Guess]:
        names = (self.tokenizer.decode([token], skip_special_tokens=False) for token in tokens[: self.top_k])
        return [{"token": name, "score": score} for name, score in zip(names, scores, strict=False)]

    def _tokens(self, text: str) -> list[int]:
        """Space before a mask is a part of what is masked, where words begin with it."""
        *pieces, last = text.split(MASK_TOKEN)
        if words_hold_spaces(self.tokenizer):
            pieces = [piece.rstrip() for piece in pieces]
        mask = mask_token(self.tokenizer)
        tokens: list[int] = []
        for piece in tokenise(self.tokenizer, pieces):
            tokens += [*piece, mask]
        return tokens + tokenise(self.tokenizer, [last])[0]

    def _rows(self, text: int, tokens: list[int]) -> Iterator[MaskedText]:
        frame = Frame(self.tokenizer)
        room = self.context_length - frame.size
        mask = mask_token(self.tokenizer)
        places = [place for place, token in enumerate(tokens) if token == mask]
        if len(tokens) <= room:
            yield MaskedText(text, frame.around(tokens), [1 + place for place in places])
            return
        for place in places:
            start = min(max(0, place - room // 2), len(tokens) - room)
            yield MaskedText(text, frame.around(tokens[start : start + room]), [1 + place - start])


def masked_language_model(loaded: LoadedModel) -> Predictor:
    assert isinstance(loaded.module, MaskedLanguageModel)
    assert loaded.tokenizer is not None
    context = context_length(loaded)
    return Predictor(
        method=loaded.description.method,
        predict=FillingMasks(loaded.module, loaded.tokenizer, context),
        embed=TextEmbedding(loaded.module.body, loaded.tokenizer, context),
    )


def _read_masked(value: Any) -> str:
    text = read_text(value)
    if MASK_TOKEN not in text:
        raise BadValue(f"This model takes a text with {MASK_TOKEN} in the places to be told; {shown(text)} has none.")
    return text
