"""Models that tag words: whole sentences, whatever rows the context cuts them into; and propositions.

Legend: B rows, W words, N sentences, L labels: of spans, or tags where those tell no spans.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from app.contract.evaluations import Unit
from app.contract.messages import EvaluationAssignment
from app.contract.model_folder import Label
from app.contract.tags import Span, are_bio, arguments, mended, spans
from app.evaluation.units import UNIT, Units
from worker.data.examples import DataSet
from worker.data.labels import UnknownLabels
from worker.data.propositions import RoleReader
from worker.data.tagged_words import TagReader, WordExamples
from worker.data.words import SubWords
from worker.evaluation.examples import unknown_labels
from worker.evaluation.scorer import SortedBatches
from worker.export import LoadedModel
from worker.methods.tagging import Tags, ToldTags, whole_roles
from worker.models.role_labeler import RoleLabeler
from worker.models.tagger import Tagger
from worker.training.protocols import Log

SpansOf = Callable[[Tags], Iterable[Span]]


class SequenceLabelingScorer:
    unit: Unit = "sentence"

    def __init__(self, loaded: LoadedModel, assignment: EvaluationAssignment, log: Log) -> None:
        """Raises BadData."""
        assert isinstance(loaded.module, Tagger)
        self._tags = _labels(loaded)
        examples = _read(TagReader(self._tags, log), loaded, assignment).examples
        assert isinstance(examples, WordExamples)
        self._spans_of: SpansOf = spans if are_bio(self._tags) else _words
        self._counted = "span" if are_bio(self._tags) else "tag"
        self._names = _span_labels(self._tags, self._spans_of)
        self.labels: tuple[Label, ...] = self._names
        self.num_units = int(examples.sentences[-1]) + 1
        self._model = loaded.module
        self._batches = SortedBatches(examples, groups=examples.sentences)
        self.num_batches = len(self._batches)

    def score(self, number: int) -> Units:
        _, batch = self._batches[number]
        logits, told = self._model(batch), ToldTags(self._tags)
        told.add(batch, self._model.decode(logits, batch["num_words"])[0])
        sentences, row = np.unique(batch["sentence"].numpy(), return_inverse=True)
        judged = np.bincount(row, batch["num_words"].numpy(), len(sentences)).astype(np.int64)
        nats = np.bincount(row, self._model.losses(logits, batch).double().numpy(), len(sentences))
        counts = _counts(zip(*told.sentences(), strict=True), self._names, self._spans_of, self._counted)
        return {UNIT: sentences, "judged": judged, "nats": nats} | counts


class RoleScorer:
    """Words beyond the context are told as no argument, and their roles have no likelihood."""

    unit: Unit = "proposition"

    def __init__(self, loaded: LoadedModel, assignment: EvaluationAssignment, log: Log) -> None:
        """Raises BadData."""
        assert isinstance(loaded.module, RoleLabeler)
        self._roles = _labels(loaded)
        examples = _read(RoleReader(self._roles, log), loaded, assignment).examples
        self._names = _span_labels(self._roles, arguments)
        self.labels: tuple[Label, ...] = self._names
        self.num_units = len(examples)
        self._model = loaded.module
        self._batches = SortedBatches(examples)
        self.num_batches = len(self._batches)

    def score(self, number: int) -> Units:
        places, batch = self._batches[number]
        logits = self._model(batch)
        told = whole_roles(batch, self._model.decode(logits, batch["num_words"]), self._roles)
        judged, nats = batch["num_words"].numpy(), self._model.losses(logits, batch).double().numpy()
        return {UNIT: places, "judged": judged, "nats": nats} | _counts(told, self._names, arguments, "span")


def _read(reader: TagReader | RoleReader, loaded: LoadedModel, assignment: EvaluationAssignment) -> DataSet:
    assert loaded.tokenizer is not None
    try:
        return reader.read(assignment.dataset, SubWords(loaded.tokenizer, loaded.description.body))
    except UnknownLabels as error:
        raise unknown_labels(error.unknown, _labels(loaded)) from None


def _labels(loaded: LoadedModel) -> tuple[str, ...]:
    return tuple(map(str, loaded.description.labels or ()))


def _span_labels(tags: Sequence[str], spans_of: SpansOf) -> tuple[str, ...]:
    """What spans of these tags can be called; of tags that tell none, the tags."""
    return tuple(sorted({span.label for tag in tags for span in spans_of(mended([tag]))}))


def _words(tags: Tags) -> Iterator[Span]:
    """Each word by itself."""
    return (Span(tag, place, place + 1) for place, tag in enumerate(tags))


def _counts(
    sentences: Iterable[tuple[Tags, Tags]], names: Sequence[str], spans_of: SpansOf, counted: str
) -> dict[str, NDArray[np.int64]]:
    """Words and those told rightly, int64 [N]; of each label the spans that are told rightly, given, and told [N, L]"""
    rows = []
    for given, told in sentences:
        right = sum(mine == theirs for mine, theirs in zip(given, told, strict=True))
        wanted, found = {*spans_of(given)}, {*spans_of(told)}
        labels = [Counter(span.label for span in each) for each in (wanted & found, wanted, found)]
        rows.append([len(given), right, *(count[name] for count in labels for name in names)])
    table = np.array(rows, np.int64)
    hits, given_spans, told_spans = np.split(table[:, 2:], 3, axis=1)
    return {
        "words": table[:, 0],
        "hits": table[:, 1],
        f"{counted}_hits": hits,
        f"{counted}_given": given_spans,
        f"{counted}_told": told_spans,
    }
