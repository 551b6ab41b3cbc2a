"""Word vectors: the words nearest to a word by the cosine, and the embedding of a text.

Legend: B batch, D width, N words.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from typing import Any

import torch
from tokenizers import Tokenizer

from app.contract.parameters import MAX_TOLD, NeighborParameters
from app.records.problems import BadValue
from worker.data.tokenizers import words_of
from worker.export import LoadedModel
from worker.models.skip_gram import Word2Vec
from worker.serving.batcher import BatchLimits, Row
from worker.serving.predictors.inputs import read_each, read_text, shown
from worker.serving.predictors.protocol import Encoded, Predictor
from worker.serving.predictors.readers import context_length
from worker.serving.predictors.windowed import TextEmbedding

#: Similar spellings are at most so much shorter or longer: comparing with all words would take half a second.
SPELLING_DIFFERENCE = 2

Neighbor = tuple[float, int]


class Words:
    """The vocabulary with its directions: `numbers` gives each word its row of `directions`, float [N, D]."""

    def __init__(self, module: Word2Vec, tokenizer: Tokenizer) -> None:
        vocabulary = words_of(tokenizer)
        self._tokenizer = tokenizer
        self.names = [*vocabulary]
        self.numbers = {word: number for number, word in enumerate(self.names)}
        vectors = module.body.embeddings.weight.detach()[[*vocabulary.values()]]
        self.directions = torch.nn.functional.normalize(vectors, dim=1)

    def find(self, word: str) -> int | None:
        """As the text was read that taught it: in lower case, say."""
        normalizer = self._tokenizer.normalizer
        return self.numbers.get(word if normalizer is None else normalizer.normalize_str(word))

    def like(self, word: str) -> list[str]:
        """Words of a similar spelling."""
        candidates = [name for name in self.names if abs(len(name) - len(word)) <= SPELLING_DIFFERENCE]
        return get_close_matches(word.lower(), candidates)


@dataclass
class NearestWords:
    parameters = NeighborParameters

    words: Words
    top_k: int = NeighborParameters().top_k
    limits: BatchLimits = field(default_factory=lambda: BatchLimits(rows=256))

    def configured(self, parameters: NeighborParameters) -> "NearestWords":
        return replace(self, top_k=parameters.top_k)

    def encode_pre(self, inputs: Sequence[Any]) -> Encoded:
        read = _Reading(self.words)
        return Encoded([Row(number) for number in read_each(inputs, read)])

    def encode_core(self, values: Sequence[int]) -> list[list[Neighbor]]:
        """-> for each word the nearest others, with their cosines"""
        directions = self.words.directions
        cosines = directions[list(values)] @ directions.t()  # [B, N]
        cosines[range(len(values)), list(values)] = -torch.inf
        scores, numbers = cosines.topk(min(MAX_TOLD, len(directions) - 1))
        return [list(zip(*row, strict=True)) for row in zip(scores.tolist(), numbers.tolist(), strict=True)]

    def encode_post(self, encoded: Encoded, results: Sequence[list[Neighbor]]) -> list[dict[str, Any]]:
        return [
            {"neighbors": [{"word": self.words.names[number], "score": score} for score, number in row[: self.top_k]]}
            for row in results
        ]


class _Reading:
    """Reads the words of one request. Similar spellings are looked for once: a search takes milliseconds."""

    def __init__(self, words: Words) -> None:
        self._words = words
        self._has_searched = False

    def __call__(self, value: Any) -> int:
        word = read_text(value)
        number = self._words.find(word)
        if number is None:
            told = f"{shown(word)} is none of the {len(self._words.names):,} words of this model."
            raise BadValue(told + self._like(word))
        return number

    def _like(self, word: str) -> str:
        if self._has_searched:
            return ""
        self._has_searched = True
        similar = self._words.like(word)
        return f" Spelled alike: {', '.join(similar)}." if similar else ""


def word2vec(loaded: LoadedModel) -> Predictor:
    assert isinstance(loaded.module, Word2Vec)
    assert loaded.tokenizer is not None
    return Predictor(
        method=loaded.description.method,
        predict=NearestWords(Words(loaded.module, loaded.tokenizer)),
        embed=TextEmbedding(loaded.module.body, loaded.tokenizer, context_length(loaded)),
    )
