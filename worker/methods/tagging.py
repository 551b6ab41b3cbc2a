"""Told tags against given ones, over whole sentences: what is right of words, and of spans. Knows no model."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from torch import Tensor

from app.contract.tags import OUTSIDE, Span, are_bio, spans
from worker.data.tagged_words import NO_TAG
from worker.training.protocols import Batch

Tags = list[str]


class ToldTags:
    """Gathers batches in any order; examples are put together again to the sentences that they are parts of."""

    def __init__(self, names: Sequence[str]) -> None:
        self._names = names
        self._parts: list[tuple[int, int, Tags, Tags]] = []

    def add(self, batch: Batch, paths: Tensor) -> None:
        """batch: with `example` and `sentence` int64 [B] too; paths: int64 [B, W]"""
        columns = [batch[name].tolist() for name in ("sentence", "example", "num_words", "tags")]
        for sentence, example, num_words, given, told in zip(*columns, paths.tolist(), strict=True):
            self._parts.append((sentence, example, self._named(given[:num_words]), self._named(told[:num_words])))

    def metrics(self) -> Mapping[str, float]:
        """`accuracy` of words; and where tags are BIO, `span_f1`"""
        given, told = self.sentences()
        f1 = {"span_f1": span_f1(given, told)} if are_bio(self._names) else {}
        return {"accuracy": word_accuracy(given, told)} | f1

    def sentences(self) -> tuple[list[Tags], list[Tags]]:
        """Given and told, a list each, in the order of the data."""
        given: dict[int, Tags] = defaultdict(list)
        told: dict[int, Tags] = defaultdict(list)
        for sentence, _, given_part, told_part in sorted(self._parts, key=lambda part: part[:2]):
            given[sentence] += given_part
            told[sentence] += told_part
        return [*given.values()], [*told.values()]

    def _named(self, codes: Iterable[int]) -> Tags:
        return [self._names[code] for code in codes]


def whole_roles(batch: Batch, paths: Tensor, names: Sequence[str]) -> Iterator[tuple[Tags, Tags]]:
    """Given and told of each proposition's whole sentence, where those beyond the context are told as none.

    batch: as `RoleExamples.gather` gives it; paths: int64 [B, W]"""
    columns = [batch[name].tolist() for name in ("given", "start", "num_words")]
    for codes, start, num_words, path in zip(*columns, paths.tolist(), strict=True):
        given = [names[code] for code in codes if code != NO_TAG]
        told = [OUTSIDE] * len(given)
        told[start : start + num_words] = [names[code] for code in path[:num_words]]
        yield given, told


def word_accuracy(given: Sequence[Tags], told: Sequence[Tags]) -> float:
    right = [mine == theirs for pair in zip(given, told, strict=True) for mine, theirs in zip(*pair, strict=True)]
    return sum(right) / len(right)


def span_f1(given: Sequence[Tags], told: Sequence[Tags], spans_of: Callable[[Tags], Iterator[Span]] = spans) -> float:
    """2 TP / (2 TP + FP + FN) of spans of all sentences, where label, start and end must be right; 0 where there are
    none."""
    hits = total = 0
    for mine, theirs in zip(given, told, strict=True):
        wanted, found = {*spans_of(mine)}, {*spans_of(theirs)}
        hits += len(wanted & found)
        total += len(wanted) + len(found)
    return 2 * hits / total if total else 0.0
