"""Propositions as examples: the sub-words of a sentence around its predicate, and the roles of the words.

One row a proposition, since a role is told from both ends of the sentence at once: of a sentence beyond the context it
holds the stretch around the predicate, as it will when the model is asked.

Legend: N examples, B batch, T sub-words, W words of a row, S words of a sentence.
"""

from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from app.contract.messages import DatasetInput
from app.contract.tags import arguments, mended
from app.records import SemanticRoles, read_examples
from worker.data.examples import DataSet
from worker.data.failures import BadData
from worker.data.labels import CodedLabels
from worker.data.order import Indices
from worker.data.splits import content_keys
from worker.data.tagged_words import NO_TAG
from worker.data.words import Ragged, SubWords, WordRow


class RoleExamples:
    """Rows of sub-words with the roles of their words; `given` are those of whole sentences."""

    shape = None

    def __init__(
        self,
        rows: Sequence[WordRow],
        predicates: Sequence[int],
        roles: Sequence[Sequence[int]],
        given: Sequence[Sequence[int]],
    ) -> None:
        self._tokens = Ragged([row.tokens for row in rows], np.dtype(np.int32))
        self._places = Ragged([row.places for row in rows], np.dtype(np.int32))
        self._roles = Ragged(roles, np.dtype(np.int32))
        self._given = Ragged(given, np.dtype(np.int32))
        self._starts = np.array([row.start for row in rows])
        self._predicates = np.array(predicates) - self._starts

    @property
    def lengths(self) -> NDArray[np.int64]:
        return self._tokens.lengths

    def __len__(self) -> int:
        return len(self._tokens)

    def gather(self, indices: Indices) -> dict[str, Tensor]:
        """-> `tokens` [B, T] and `lengths` [B], `places` [B, W] and `num_words` [B], `predicate` [B] and `roles`
        [B, W]; and the roles `given` [B, S] of the whole sentence, of which the row begins at `start` [B]. int64 all"""
        arrays = {
            "tokens": self._tokens.padded(indices),
            "lengths": self._tokens.lengths[indices],
            "places": self._places.padded(indices),
            "num_words": self._places.lengths[indices],
            "predicate": self._predicates[indices],
            "roles": self._roles.padded(indices, NO_TAG),
            "given": self._given.padded(indices, NO_TAG),
            "start": self._starts[indices],
        }
        return {name: torch.from_numpy(array) for name, array in arrays.items()}


class RoleReader:
    """Reads data sets in one set of roles: that of the training data, or of a model."""

    def __init__(self, roles: Sequence[str], log: Callable[[str], None]) -> None:
        self.roles = tuple(roles)
        self._log = log

    @classmethod
    def taught_by(cls, training: DatasetInput, log: Callable[[str], None]) -> Self:
        """Raises BadData where there is no argument to tell."""
        roles = tuple(map(str, _coded(training).names))
        if not any(span for role in roles for span in arguments([role])):
            raise BadData(
                f"No proposition has an argument: the roles are {', '.join(roles)}. Mark arguments by B-... and "
                "I-..., each with the name of its role."
            )
        return cls(roles, log)

    def read(self, dataset: DatasetInput, sub_words: SubWords) -> DataSet:
        """Raises UnknownLabels where there are other roles. Propositions of one sentence
        stay on one side of a split."""
        codes = iter(_coded(dataset).coded_by(self.roles).tolist())
        rows: list[WordRow] = []
        predicates, roles, given, keys = [], [], [], []
        for proposition in _propositions(dataset):
            row = sub_words.row_around(proposition.tokens, proposition.predicate)
            rows.append(row)
            predicates.append(proposition.predicate)
            given.append([next(codes) for _ in proposition.tokens])
            roles.append([self.roles.index(role) for role in mended(proposition.roles[row.start : row.end])])
            keys.append("\n".join(proposition.tokens).encode())
        self._log(f"Read {len(rows):,} propositions.")
        return DataSet(RoleExamples(rows, predicates, roles, given), content_keys(keys))


def _coded(dataset: DatasetInput) -> CodedLabels:
    """The roles of all propositions, one behind the other."""
    return CodedLabels.of(chain.from_iterable(proposition.roles for proposition in _propositions(dataset)))


def _propositions(dataset: DatasetInput) -> Iterator[SemanticRoles]:
    for example in read_examples(dataset.path, dataset.filename, dataset.kind, dataset.columns):
        assert isinstance(example, SemanticRoles), f"{dataset.kind} has no roles"
        yield example
