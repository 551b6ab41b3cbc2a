"""Sequence labeling: the tag of each word with its probability, and the spans that BIO tags tell.

Legend: B batch, W words, L tags.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tokenizers import Tokenizer

from app.contract.model_folder import BodyDescription, Label
from app.contract.tags import are_bio, spans
from worker.data.words import SubWords, WordRow
from worker.export import LoadedModel
from worker.models.tagger import Tagger
from worker.serving.batcher import BatchLimits, Row
from worker.serving.predictors.inputs import read_each
from worker.serving.predictors.protocol import Encoded, Predictor
from worker.serving.predictors.readers import context_length, right_padded
from worker.serving.predictors.sentences import Sentence, read_sentence
from worker.serving.predictors.windowed import TextEmbedding, refuse_too_many


@dataclass(frozen=True, slots=True)
class Part:
    """A row of the sentence at place `sentence` of the request."""

    sentence: int
    row: WordRow


class Tagging:
    """A sentence beyond the context is told in parts, cut as for training."""

    limits = BatchLimits()

    def __init__(self, module: Tagger, tokenizer: Tokenizer, body: BodyDescription, tags: Sequence[Label]) -> None:
        self._module = module
        self._tokenizer = tokenizer
        self._body = body
        self._tags = [*map(str, tags)]
        self._are_bio = are_bio(self._tags)

    def encode_pre(self, inputs: Sequence[Any]) -> Encoded:
        sentences = read_each(inputs, read_sentence)
        sub_words = SubWords(self._tokenizer, self._body)
        parts = [Part(place, row) for place, each in enumerate(sentences) for row in sub_words.rows(each.words)]
        refuse_too_many([part.row.tokens for part in parts])
        return Encoded([Row(part, len(part.row.tokens)) for part in parts], context=sentences)

    def encode_core(self, values: Sequence[Part]) -> list[tuple[list[int], list[float]]]:
        """-> for each row the tags of its words, and how likely they are"""
        places = right_padded([part.row.places for part in values])
        words = {"places": places["tokens"], "num_words": places["lengths"]}
        logits = self._module(right_padded([part.row.tokens for part in values]) | words)
        paths, probabilities = self._module.decode(logits, words["num_words"])
        return [
            (path[:length], scores[:length])
            for path, scores, length in zip(
                paths.tolist(), probabilities.tolist(), places["lengths"].tolist(), strict=True
            )
        ]

    def encode_post(self, encoded: Encoded, results: Sequence[tuple[list[int], list[float]]]) -> list[dict[str, Any]]:
        sentences: list[Sentence] = encoded.context
        tags: list[list[str]] = [[] for _ in sentences]
        scores: list[list[float]] = [[] for _ in sentences]
        for row, (path, probabilities) in zip(encoded.rows, results, strict=True):
            tags[row.value.sentence] += [self._tags[tag] for tag in path]
            scores[row.value.sentence] += probabilities
        return [self._output(*told) for told in zip(sentences, tags, scores, strict=True)]

    def _output(self, sentence: Sentence, tags: list[str], scores: list[float]) -> dict[str, Any]:
        found = spans(tags) if self._are_bio else ()
        return {
            "tokens": sentence.words,
            "tags": tags,
            "scores": scores,
            "spans": [{"label": span.label, **sentence.stretch(span.start, span.end)} for span in found],
        }


def sequence_labeling(loaded: LoadedModel) -> Predictor:
    assert isinstance(loaded.module, Tagger)
    assert loaded.tokenizer is not None
    assert loaded.description.labels is not None
    return Predictor(
        method=loaded.description.method,
        predict=Tagging(loaded.module, loaded.tokenizer, loaded.description.body, loaded.description.labels),
        embed=TextEmbedding(loaded.module.body, loaded.tokenizer, context_length(loaded)),
    )
