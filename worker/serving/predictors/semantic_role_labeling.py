"""Semantic role labeling: the role of each word for a predicate, and the arguments that the roles tell.

Legend: B batch, W words, L roles.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from tokenizers import Tokenizer

from app.contract.model_folder import BodyDescription, Label
from app.contract.tags import OUTSIDE, arguments
from app.records import fields
from app.records.problems import BadValue
from worker.data.words import SubWords, WordRow
from worker.export import LoadedModel
from worker.models.role_labeler import RoleLabeler
from worker.serving.batcher import BatchLimits, Row
from worker.serving.predictors.inputs import read_each, shown
from worker.serving.predictors.protocol import Encoded, Predictor
from worker.serving.predictors.readers import context_length, right_padded
from worker.serving.predictors.sentences import Sentence, read_tokens
from worker.serving.predictors.windowed import TextEmbedding, refuse_too_many


@dataclass(frozen=True, slots=True)
class Question:
    """Which roles do the words of a sentence play for that one of them?"""

    sentence: Sentence
    predicate: int


@dataclass(frozen=True, slots=True)
class Part:
    """The stretch of a sentence that the context holds, and where in it the predicate stands."""

    row: WordRow
    predicate: int


class RoleLabeling:
    limits = BatchLimits()

    def __init__(
        self, module: RoleLabeler, tokenizer: Tokenizer, body: BodyDescription, roles: Sequence[Label]
    ) -> None:
        self._module = module
        self._tokenizer = tokenizer
        self._body = body
        self._roles = [*map(str, roles)]

    def encode_pre(self, inputs: Sequence[Any]) -> Encoded:
        questions = read_each(inputs, read_question)
        sub_words = SubWords(self._tokenizer, self._body)
        parts = []
        for question in questions:
            row = sub_words.row_around(question.sentence.words, question.predicate)
            parts.append(Part(row, question.predicate - row.start))
        refuse_too_many([part.row.tokens for part in parts])
        return Encoded([Row(part, len(part.row.tokens)) for part in parts], context=questions)

    def encode_core(self, values: Sequence[Part]) -> list[list[int]]:
        """-> for each row the roles of its words"""
        places = right_padded([part.row.places for part in values])
        words = {"places": places["tokens"], "num_words": places["lengths"]}
        predicates = {"predicate": torch.tensor([part.predicate for part in values])}
        logits = self._module(right_padded([part.row.tokens for part in values]) | words | predicates)
        paths = self._module.decode(logits, words["num_words"]).tolist()
        return [path[:length] for path, length in zip(paths, words["num_words"].tolist(), strict=True)]

    def encode_post(self, encoded: Encoded, results: Sequence[list[int]]) -> list[dict[str, Any]]:
        """Words beyond the context play no role."""
        questions: list[Question] = encoded.context
        return [
            self._output(question.sentence, row.value.row, path)
            for question, row, path in zip(questions, encoded.rows, results, strict=True)
        ]

    def _output(self, sentence: Sentence, row: WordRow, path: list[int]) -> dict[str, Any]:
        roles = [OUTSIDE] * len(sentence.words)
        roles[row.start : row.end] = [self._roles[role] for role in path]
        found = [{"role": span.label, **sentence.stretch(span.start, span.end)} for span in arguments(roles)]
        return {"roles": roles, "arguments": found}


def read_question(value: Any) -> Question:
    if not isinstance(value, dict) or set(value) != {"tokens", "predicate"}:
        raise BadValue(f'This model takes {{"tokens": [...], "predicate": index}}, and got {shown(value)}.')
    tokens = read_tokens(value["tokens"])
    return Question(Sentence(tokens), fields.index_of("predicate", value["predicate"], len(tokens)))


def semantic_role_labeling(loaded: LoadedModel) -> Predictor:
    assert isinstance(loaded.module, RoleLabeler)
    assert loaded.tokenizer is not None
    assert loaded.description.labels is not None
    return Predictor(
        method=loaded.description.method,
        predict=RoleLabeling(loaded.module, loaded.tokenizer, loaded.description.body, loaded.description.labels),
        embed=TextEmbedding(loaded.module.body, loaded.tokenizer, context_length(loaded)),
    )
