"""A report on one model: figures with their intervals, computed from units alone."""

from collections.abc import Sequence

import numpy as np

from app.contract.evaluations import (
    ConfusionMatrix,
    EvaluationReport,
    Figure,
    LabelScores,
    ReliabilityBin,
    Unit,
)
from app.contract.model_folder import Label
from app.evaluation.resampling import bounds, resampled
from app.evaluation.sheet import Numbers
from app.evaluation.tallies import HIGHER_IS_BETTER, RELIABILITY_BINS, Tally, reliability_bins, tally_of
from app.evaluation.units import Units

#: A matrix of more labels is not told: it would be larger than all else, and `units.npz` has it.
MAX_CONFUSED_LABELS = 100
#: Percentiles of fewer resampled units are coarse.
FEW_UNITS = 30


def report_of(
    units: Units, *, method: str, unit: Unit, labels: Sequence[Label], seed: int, resamples: int
) -> EvaluationReport:
    """`labels`: those that the codes in `units` stand for, where it has any."""
    tally = tally_of(method, units, len(labels))
    sums, draws = tally.columns.sum(0), resampled(tally.columns, resamples, seed)
    num_units = len(next(iter(units.values())))
    classifies = method == "classification"
    return EvaluationReport(
        method=method,
        unit=unit,
        num_units=num_units,
        seed=seed,
        resamples=resamples,
        measures={name: _estimate(of(sums), of(draws)) for name, of in tally.measures.items()},
        higher_is_better=tuple(name for name in tally.measures if name in HIGHER_IS_BETTER),
        labels=_label_scores(tally, sums, draws, labels),
        confusion=_confusion(units, labels) if classifies and len(labels) <= MAX_CONFUSED_LABELS else None,
        reliability=_reliability(units) if classifies else None,
        warnings=warnings_of(unit, num_units),
    )


def warnings_of(unit: Unit, num_units: int) -> tuple[str, ...]:
    if num_units >= FEW_UNITS:
        return ()
    plural = "" if num_units == 1 else "s"
    return (f"There are only {num_units} {unit}{plural}: intervals and tests over so few tell little.",)


def _estimate(value: Numbers, draws: Numbers) -> Figure:
    low, high = bounds(draws)
    return Figure(value=float(value), low=low, high=high)


def _label_scores(
    tally: Tally, sums: Numbers, draws: Numbers, labels: Sequence[Label]
) -> tuple[LabelScores, ...] | None:
    if tally.labels is None:
        return None
    whole, resamples = tally.labels.scores(sums), tally.labels.scores(draws)
    names = ("precision", "recall", "f1")
    figures = {name: (getattr(whole, name), getattr(resamples, name)) for name in names}
    return tuple(
        LabelScores(
            label=label,
            support=round(float(whole.given[place])),
            told=round(float(whole.told[place])),
            **{name: _estimate(value[place], draw[:, place]) for name, (value, draw) in figures.items()},
        )
        for place, label in enumerate(labels)
    )


def _confusion(units: Units, labels: Sequence[Label]) -> ConfusionMatrix:
    size = len(labels)
    counts = np.bincount(units["given"] * size + units["told"], minlength=size * size).reshape(size, size)
    return ConfusionMatrix(labels=tuple(labels), counts=tuple(map(tuple, counts.tolist())))


def _reliability(units: Units) -> tuple[ReliabilityBin, ...]:
    bins = reliability_bins(units["confidence"])
    right = units["given"] == units["told"]
    counts, sure, hits = (
        np.bincount(bins, weights, RELIABILITY_BINS).tolist() for weights in (None, units["confidence"], right)
    )
    return tuple(
        ReliabilityBin(
            low=place / RELIABILITY_BINS,
            high=(place + 1) / RELIABILITY_BINS,
            count=count,
            confidence=sure[place] / count if count else None,
            accuracy=hits[place] / count if count else None,
        )
        for place, count in enumerate(counts)
    )
