"""Sentences of tagged words as examples: sub-words, the places that carry words, and the words' tags.

A sentence beyond the context is several examples, cut as it will be when the model is asked.

Legend: N examples, B batch, T sub-words, W words.
"""

from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from app.contract.messages import DatasetInput
from app.contract.tags import are_bio, mended
from app.records import TaggedTokens, read_examples
from worker.data.examples import DataSet
from worker.data.failures import BadData
from worker.data.labels import CodedLabels
from worker.data.order import Indices
from worker.data.splits import content_keys
from worker.data.words import Ragged, SubWords, WordRow

#: Behind the words of a row there is no tag: what torch's cross-entropy leaves out by default.
NO_TAG = -100


class WordExamples:
    """Rows of sub-words with a tag for each word. `sentences`: which each is from; parts of one stand in order."""

    shape = None

    def __init__(self, rows: Sequence[WordRow], tags: Sequence[Sequence[int]], sentences: Sequence[int]) -> None:
        self.sentences = np.array(sentences)
        self._tokens = Ragged([row.tokens for row in rows], np.dtype(np.int32))
        self._places = Ragged([row.places for row in rows], np.dtype(np.int32))
        self._tags = Ragged(tags, np.dtype(np.int32))

    @property
    def lengths(self) -> NDArray[np.int64]:
        return self._tokens.lengths

    def __len__(self) -> int:
        return len(self._tokens)

    def gather(self, indices: Indices) -> dict[str, Tensor]:
        """-> `tokens` [B, T] and `lengths` [B], `places` [B, W] and `num_words` [B], `tags` [B, W]; and where in the
        data an example stands: `example` and `sentence` [B]. int64 all"""
        arrays = {
            "tokens": self._tokens.padded(indices),
            "lengths": self._tokens.lengths[indices],
            "places": self._places.padded(indices),
            "num_words": self._places.lengths[indices],
            "tags": self._tags.padded(indices, NO_TAG),
            "example": indices,
            "sentence": self.sentences[indices],
        }
        return {name: torch.from_numpy(array) for name, array in arrays.items()}


class TagReader:
    """Reads data sets in one set of tags: that of the training data, or of a model."""

    def __init__(self, tags: Sequence[str], log: Callable[[str], None]) -> None:
        self.tags = tuple(tags)
        self._log = log

    @classmethod
    def taught_by(cls, training: DatasetInput, log: Callable[[str], None]) -> Self:
        """Raises BadData where there is nothing to tell apart."""
        bio = are_bio(chain.from_iterable(tags for _, tags in _sentences(training)))
        tags = tuple(map(str, _coded(training, bio=bio).names))
        if len(tags) < 2:
            raise BadData(f"Every token has the tag {tags[0]!r}; there must be two or more to tell apart.")
        return cls(tags, log)

    def read(self, dataset: DatasetInput, sub_words: SubWords) -> DataSet:
        """Raises UnknownLabels where there are other tags."""
        codes = iter(_coded(dataset, bio=are_bio(self.tags)).coded_by(self.tags).tolist())
        rows: list[WordRow] = []
        tags: list[list[int]] = []
        sentences, keys = [], []
        for number, (words, _) in enumerate(_sentences(dataset)):
            sentence_codes = [next(codes) for _ in words]
            for row in sub_words.rows(words):
                rows.append(row)
                tags.append(sentence_codes[row.start : row.end])
                sentences.append(number)
                keys.append("\n".join(words).encode())
        self._log(f"Read {sentences[-1] + 1:,} sentences in {len(rows):,} rows.")
        return DataSet(WordExamples(rows, tags, sentences), content_keys(keys))


def _coded(dataset: DatasetInput, *, bio: bool) -> CodedLabels:
    """The tags of all sentences, one behind the other, as they are meant."""
    return CodedLabels.of(chain.from_iterable(mended(tags) if bio else tags for _, tags in _sentences(dataset)))


def _sentences(dataset: DatasetInput) -> Iterator[tuple[Sequence[str], Sequence[str]]]:
    for example in read_examples(dataset.path, dataset.filename, dataset.kind, dataset.columns):
        assert isinstance(example, TaggedTokens), f"{dataset.kind} has no tags"
        yield example.tokens, example.tags
