"""Two models on the same units: how far apart their figures are, and how often chance puts them so far.

Whatever is resampled, a unit comes with what both models made of it: what is hard for both then says nothing.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray

from app.contract.evaluations import CONFIDENCE, Comparison, Difference, EvaluationReport, Figure, p_words
from app.contract.model_folder import Label, label_key
from app.evaluation.reporting import warnings_of
from app.evaluation.resampling import bounds, exchanged, resampled
from app.evaluation.sheet import Numbers
from app.evaluation.tallies import HIGHER_IS_BETTER, TALLIES, Measure, Tally, tally_of
from app.evaluation.units import Units

#: A difference that chance makes more rarely than this is told as one.
SIGNIFICANCE = 0.05
#: What of documents does not depend on how a tokenizer cuts them.
_BY_DOCUMENT_ALONE = frozenset({"bits_per_character"})
#: Relative, and of figures near one.
_ROUNDING = 1e-9


class NotComparable(Exception):
    """The two did not answer the same; the message says in what they differ, and what would help."""


@dataclass(frozen=True, slots=True)
class Side:
    report: EvaluationReport
    units: Units
    #: What the finding calls it.
    name: str


def compare(first: Side, second: Side) -> Comparison:
    """On the same data, which the caller has made sure of. Raises NotComparable."""
    names = _common_measures(first, second)
    pair = _Pair.of(first, second)
    differences = {name: pair.difference(name, _exact(name, first, second)) for name in names}
    unit, num_units = first.report.unit, first.report.num_units
    return Comparison(
        unit=unit,
        num_units=num_units,
        measures=differences,
        finding=_finding(names[0], differences[names[0]], first, second),
        warnings=warnings_of(unit, num_units),
    )


def mcnemar(only_first: int, only_second: int) -> float:
    """Two-sided, exact: how likely so uneven a split of the units that one alone told rightly is, if each fell either
    way by the toss of a coin (McNemar 1947; exact by the binomial distribution)."""
    total, fewer = only_first + only_second, min(only_first, only_second)
    if total == 0:
        return 1.0
    places = np.arange(1, fewer + 1)
    log_choices = np.concatenate([[0.0], np.cumsum(np.log((total - places + 1) / places))])
    return min(1.0, 2 * float(np.exp(log_choices - total * math.log(2)).sum()))


def _common_measures(first: Side, second: Side) -> list[str]:
    a, b = first.report, second.report
    if TALLIES[a.method] is not TALLIES[b.method] or next(iter(a.measures)) != next(iter(b.measures)):
        raise NotComparable(
            f"{first.name} was evaluated by {a.method} ({', '.join(a.measures)}) and {second.name} by {b.method} "
            f"({', '.join(b.measures)}). Compare models of one method."
        )
    common = [name for name in a.measures if name in b.measures]
    if (a.unit, a.num_units) != (b.unit, b.num_units):
        raise _unlike_text(first, second)
    if "tokens" not in first.units and "pairs" not in first.units:
        return common
    counted = "tokens" if "tokens" in first.units else "pairs"
    if np.array_equal(first.units[counted], second.units[counted]) and (
        a.seed == b.seed or "characters" in first.units
    ):
        return common
    if a.unit == "window" or "characters" not in first.units:
        raise _unlike_text(first, second)
    return [name for name in common if name in _BY_DOCUMENT_ALONE]


def _unlike_text(first: Side, second: Side) -> NotComparable:
    a, b = first.report, second.report
    return NotComparable(
        f"The two did not judge the same: {first.name} {a.num_units:,} {a.unit}s and {second.name} {b.num_units:,} "
        f"{b.unit}s, cut by their own tokenizers and contexts, or drawn by their own seeds ({a.seed} and {b.seed}). "
        "Models of other tokenizers or contexts compare by bits_per_character on a data set of several documents; "
        "hidden or drawn tokens, between models of one tokenizer and one context under one seed."
    )


def _labels_of(report: EvaluationReport) -> list[Label]:
    return [each.label for each in report.labels or ()]


def _union(both: Sequence[Sequence[Label]]) -> list[Label]:
    """By what JSON calls them."""
    return list({label_key(label): label for labels in both for label in labels}.values())


def _tally(side: Side, labels: Sequence[Label]) -> Tally:
    """With the codes of the labels of both."""
    places = {label_key(label): place for place, label in enumerate(labels)}
    mine = np.array([places[label_key(label)] for label in _labels_of(side.report)], np.int64)
    units = {name: _recoded(name, values, mine, len(labels)) for name, values in side.units.items()}
    return tally_of(side.report.method, units, len(labels))


def _recoded(name: str, values: NDArray[Any], places: NDArray[np.int64], num_labels: int) -> NDArray[Any]:
    if name in {"given", "told"}:
        recoded: NDArray[Any] = places[values]
        return recoded
    if name.startswith(("span_", "tag_")):
        wider: NDArray[Any] = np.zeros((len(values), num_labels), values.dtype)
        wider[:, places] = values
        return wider
    return values


def _exact(name: str, first: Side, second: Side) -> float | None:
    """Where a unit is either right or wrong."""
    if name != "accuracy" or "given" not in first.units:
        return None
    one, other = (side.units["given"] == side.units["told"] for side in (first, second))
    return mcnemar(int((one & ~other).sum()), int((other & ~one).sum()))


@dataclass(frozen=True, slots=True)
class _Pair:
    """`draws`: the sums of both over the same resampled units; `exchanged` [R, K]: what the units that are exchanged
    bring from the second to the first."""

    one: Tally
    other: Tally
    draws: tuple[Numbers, Numbers]
    exchanged: Numbers

    @classmethod
    def of(cls, first: Side, second: Side) -> Self:
        labels = _union([_labels_of(side.report) for side in (first, second)])
        one, other = (_tally(side, labels) for side in (first, second))
        seed, resamples = first.report.seed, first.report.resamples
        both = resampled(np.concatenate([one.columns, other.columns], axis=1), resamples, seed)
        mine, theirs = np.split(both, 2, axis=1)
        return cls(one, other, (mine, theirs), exchanged(other.columns - one.columns, resamples, seed))

    def difference(self, name: str, exact_p: float | None) -> Difference:
        of = self.one.measures[name]
        mine, theirs = float(of(self.one.columns.sum(0))), float(of(self.other.columns.sum(0)))
        low, high = bounds(of(self.draws[0]) - of(self.draws[1]))
        p_value = self._randomized(of) if exact_p is None else exact_p
        better: Literal["first", "second"] = "first" if (mine > theirs) == (name in HIGHER_IS_BETTER) else "second"
        return Difference(
            first=mine,
            second=theirs,
            difference=Figure(value=mine - theirs, low=low, high=high),
            p_value=p_value,
            test="approximate_randomization" if exact_p is None else "mcnemar_exact",
            better=None if p_value >= SIGNIFICANCE or mine == theirs else better,
        )

    def _randomized(self, of: Measure) -> float:
        """Approximate randomisation (Noreen 1989): where the models are of one kind, what they made of a unit may be
        exchanged. Differences that are the same but for rounding count as being as large."""
        one, other = self.one.columns.sum(0), self.other.columns.sum(0)
        found = abs(float(of(one) - of(other)))
        drawn = np.abs(of(one + self.exchanged) - of(other - self.exchanged))
        as_large = int((drawn >= found * (1 - _ROUNDING) - _ROUNDING).sum())
        return (1 + as_large) / (1 + len(drawn))


def _finding(name: str, found: Difference, first: Side, second: Side) -> str:
    unit, told = first.report.unit, name.replace("_", " ")
    figures = (
        f"On {first.report.num_units:,} {unit}s the {told} of {first.name} is {found.first:.4g} and that of "
        f"{second.name} {found.second:.4g}: a difference of {found.difference.value:.4g} ({CONFIDENCE} % interval "
        f"{found.difference.low:.4g} to {found.difference.high:.4g}, p {p_words(found.p_value)})."
    )
    if found.better is None:
        return f"{figures} Chance alone may explain it: neither is shown to be better."
    ahead = first if found.better == "first" else second
    return f"{figures} {ahead.name} is better, and chance hardly explains it."
