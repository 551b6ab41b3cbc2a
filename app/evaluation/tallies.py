"""Each method's figures, as functions of sums over units: so the same function gives the figure and all its resamples.

Legend: N units, L labels, K columns, T targets of a regression; sums are [..., K].
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.evaluation.sheet import Numbers, Sheet
from app.evaluation.units import Units

#: Of the expected calibration error, equally wide (Guo et al. 2017, section 2, take 15).
RELIABILITY_BINS = 15
#: exp of more is beyond what a float holds.
_LARGEST_EXPONENT = 700.0

Measure = Callable[[Numbers], Numbers]

HIGHER_IS_BETTER = frozenset(
    {"accuracy", "macro_f1", "span_f1", "span_precision", "span_recall", "masked_accuracy", "r2"}
)


@dataclass(frozen=True, slots=True)
class Scores:
    """How often a label was told rightly, stands in the data, and was told: [..., L]"""

    hits: Numbers
    given: Numbers
    told: Numbers

    @property
    def precision(self) -> Numbers:
        return _ratio(self.hits, self.told)

    @property
    def recall(self) -> Numbers:
        return _ratio(self.hits, self.given)

    @property
    def f1(self) -> Numbers:
        """2 TP / (2 TP + FP + FN)"""
        return _ratio(2 * self.hits, self.given + self.told)

    @property
    def macro_f1(self) -> Numbers:
        """The mean over the labels that are given or told: [...]"""
        return _ratio(self.f1.sum(-1), ((self.given + self.told) > 0).sum(-1))

    @property
    def overall(self) -> "Scores":
        """Of all labels together: [...]"""
        return Scores(self.hits.sum(-1), self.given.sum(-1), self.told.sum(-1))


@dataclass(frozen=True, slots=True)
class LabelColumns:
    """Where the sums of each label stand."""

    hits: slice
    given: slice
    told: slice

    def scores(self, sums: Numbers) -> Scores:
        return Scores(sums[..., self.hits], sums[..., self.given], sums[..., self.told])


@dataclass(frozen=True, slots=True)
class Tally:
    """`columns` [G, K] of units or groups; `measures` in order of importance."""

    columns: Numbers
    measures: Mapping[str, Measure]
    labels: LabelColumns | None = None


def tally_of(method: str, units: Units, num_labels: int) -> Tally:
    return TALLIES[method](units, num_labels)


def reliability_bins(confidence: NDArray[Any]) -> NDArray[np.int64]:
    """Which bin each confidence, in (0, 1], falls into; bins are closed above, as in the paper."""
    bins: NDArray[np.int64] = np.ceil(confidence * RELIABILITY_BINS).astype(np.int64).clip(1, RELIABILITY_BINS) - 1
    return bins


def _classification(units: Units, num_labels: int) -> Tally:
    """`given`, `told` int [N]; `nats`, `brier`, `confidence` float [N]"""
    given, told = units["given"], units["told"]
    right = given == told
    sheet = Sheet(len(given), 4 + RELIABILITY_BINS + 3 * num_labels)
    one, hit = sheet.add(np.ones(len(given))), sheet.add(right)
    nats, brier = sheet.add(units["nats"]), sheet.add(units["brier"])
    confidence = units["confidence"]
    excess = sheet.add_coded(reliability_bins(confidence), RELIABILITY_BINS, confidence - right)
    labels = LabelColumns(
        sheet.add_coded(given, num_labels, right),
        sheet.add_coded(given, num_labels),
        sheet.add_coded(told, num_labels),
    )
    measures: dict[str, Measure] = {
        "accuracy": _mean(hit, one),
        "macro_f1": lambda sums: labels.scores(sums).macro_f1,
        "cross_entropy": _mean(nats, one),
        "brier_score": _mean(brier, one),
        "calibration_error": lambda sums: _ratio(np.abs(sums[..., excess]).sum(-1), sums[..., one]),
    }
    return Tally(sheet.columns, measures, labels)


def _regression(units: Units, _: int) -> Tally:
    """`errors` (told less given) and `targets`: float [N, T]. Means over targets, as R2 is."""
    errors, targets = units["errors"], units["targets"]
    size = errors.shape[1]
    sheet = Sheet(len(errors), 1 + 4 * size)
    one = sheet.add(np.ones(len(errors)))
    squared, absolute = sheet.add_each(errors**2), sheet.add_each(np.abs(errors))
    centred = targets - targets.mean(0)  # of large numbers, squares would lose what varies
    first, second = sheet.add_each(centred), sheet.add_each(centred**2)

    def mse(sums: Numbers) -> Numbers:
        return _ratio(sums[..., squared].mean(-1), sums[..., one])

    def r2(sums: Numbers) -> Numbers:
        """Targets that do not vary have nothing to explain: 1 where they are met exactly, else 0."""
        unexplained = sums[..., squared]
        variation = sums[..., second] - sums[..., first] ** 2 / sums[..., one, None]
        varies = variation > 1e-12 * (sums[..., second] + 1e-300)
        shares = np.where(varies, 1 - unexplained / np.where(varies, variation, 1.0), unexplained == 0)
        return np.asarray(shares.mean(-1))

    return Tally(
        sheet.columns,
        {
            "mse": mse,
            "rmse": lambda sums: np.sqrt(mse(sums)),
            "mae": lambda sums: _ratio(sums[..., absolute].mean(-1), sums[..., one]),
            "r2": r2,
        },
    )


def _tagging(units: Units, num_labels: int) -> Tally:
    """`words`, `hits` int [N], `judged` int and `nats` float [N]: told rightly of all words, and the nats of those that
    the model judged; `span_hits`, `span_given`, `span_told` int [N, L], or the same of tags that tell no spans."""
    counted = "span" if "span_hits" in units else "tag"
    sheet = Sheet(len(units["words"]), 4 + 3 * num_labels)
    words, hits = sheet.add(units["words"]), sheet.add(units["hits"])
    judged, nats = sheet.add(units["judged"]), sheet.add(units["nats"])
    labels = LabelColumns(*(sheet.add_each(units[f"{counted}_{name}"]) for name in ("hits", "given", "told")))
    accuracy, cross_entropy = _mean(hits, words), _mean(nats, judged)
    measures: dict[str, Measure] = {
        "span_f1": lambda sums: labels.scores(sums).overall.f1,
        "span_precision": lambda sums: labels.scores(sums).overall.precision,
        "span_recall": lambda sums: labels.scores(sums).overall.recall,
        "accuracy": accuracy,
        "cross_entropy": cross_entropy,
    }
    if counted == "tag":
        measures = {
            "accuracy": accuracy,
            "macro_f1": lambda sums: labels.scores(sums).macro_f1,
            "cross_entropy": cross_entropy,
        }
    return Tally(sheet.columns, measures, labels)


def _language(units: Units, _: int) -> Tally:
    """`nats` float [N]; `tokens`, `characters` int [N]"""
    sheet = Sheet(len(units["nats"]), 3)
    nats, tokens, characters = (sheet.add(units[name]) for name in ("nats", "tokens", "characters"))
    mean = _mean(nats, tokens)
    bits = _mean(nats, characters)
    measures: dict[str, Measure] = {
        "nats_per_token": mean,
        "perplexity": lambda sums: np.exp(np.minimum(mean(sums), _LARGEST_EXPONENT)),
        "bits_per_character": lambda sums: bits(sums) / np.log(2),
    }
    return Tally(sheet.columns, measures)


def _masked(units: Units, _: int) -> Tally:
    """`nats` float, `tokens` (that are hidden) and `hits` int [N]"""
    sheet = Sheet(len(units["nats"]), 3)
    nats, tokens, hits = (sheet.add(units[name]) for name in ("nats", "tokens", "hits"))
    return Tally(sheet.columns, {"masked_accuracy": _mean(hits, tokens), "nats_per_token": _mean(nats, tokens)})


def _word_vectors(units: Units, _: int) -> Tally:
    """`nats` float and `pairs` int [N]"""
    sheet = Sheet(len(units["nats"]), 2)
    nats, pairs = sheet.add(units["nats"]), sheet.add(units["pairs"])
    return Tally(sheet.columns, {"nats_per_pair": _mean(nats, pairs)})


def _autoencoder(units: Units, _: int) -> Tally:
    """`squared_errors`, summed over the `numbers` of an example; `divergence` of a variational one, in nats: [N]"""
    sheet = Sheet(len(units["numbers"]), 4)
    one, numbers = sheet.add(np.ones(len(units["numbers"]))), sheet.add(units["numbers"])
    measures = {"squared_error": _mean(sheet.add(units["squared_errors"]), numbers)}
    if "divergence" in units:
        measures["divergence"] = _mean(sheet.add(units["divergence"]), one)
    return Tally(sheet.columns, measures)


def _mean(part: int, whole: int) -> Measure:
    return lambda sums: _ratio(sums[..., part], sums[..., whole])


def _ratio(part: Numbers, whole: NDArray[Any]) -> Numbers:
    """0 of nothing."""
    shares: Numbers = np.divide(part, whole, out=np.zeros_like(part), where=whole > 0)
    return shares


TALLIES: Mapping[str, Callable[[Units, int], Tally]] = {
    "classification": _classification,
    "regression": _regression,
    "sequence_labeling": _tagging,
    "semantic_role_labeling": _tagging,
    "causal_language_model": _language,
    "instruction_tuning": _language,
    "masked_language_model": _masked,
    "word2vec": _word_vectors,
    "autoencoder": _autoencoder,
}
