"""Every figure against another's implementation: scikit-learn's, seqeval's, SciPy's."""

import numpy as np
import pytest
from scipy import stats
from seqeval.metrics import classification_report
from seqeval.scheme import IOB2
from sklearn import metrics

from app.contract.evaluations import EvaluationReport
from app.contract.tags import spans
from app.evaluation.reporting import MAX_CONFUSED_LABELS, report_of
from app.evaluation.resampling import bounds, resampled
from app.evaluation.sheet import MAX_GROUPS
from app.evaluation.units import UNIT, Units, joined

LABELS = ("anger", "joy", "other", "surprise")


def classified(num_units: int = 500, num_labels: int = len(LABELS), seed: int = 0) -> tuple[Units, np.ndarray]:
    """And the probabilities that they are made of: [N, L]"""
    rng = np.random.default_rng(seed)
    given = rng.integers(num_labels - 1, size=num_units)  # the last is told, and never given
    logits = rng.normal(size=(num_units, num_labels)) + 1.5 * np.eye(num_labels)[given]
    probabilities = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    units = {
        "given": given,
        "told": probabilities.argmax(1),
        "nats": -np.log(probabilities[np.arange(num_units), given]),
        "brier": ((probabilities - np.eye(num_labels)[given]) ** 2).sum(1),
        "confidence": probabilities.max(1),
    }
    return units, probabilities


def report(units: Units, method: str = "classification", labels: tuple[str, ...] = LABELS) -> EvaluationReport:
    return report_of(units, method=method, unit="example", labels=labels, seed=0, resamples=200)


def test_a_classification_is_judged_as_scikit_learn_judges_it() -> None:
    units, probabilities = classified()
    found = report(units)
    given, told = units["given"], units["told"]
    values = {name: measure.value for name, measure in found.measures.items()}
    assert values.pop("calibration_error") == pytest.approx(calibration_error(units), rel=1e-12)
    assert values == pytest.approx(
        {
            "accuracy": metrics.accuracy_score(given, told),
            "macro_f1": metrics.f1_score(given, told, average="macro", zero_division=0),
            "cross_entropy": metrics.log_loss(given, probabilities, labels=range(len(LABELS))),
            "brier_score": ((probabilities - np.eye(len(LABELS))[given]) ** 2).sum(1).mean(),
        }
    )
    theirs = metrics.precision_recall_fscore_support(given, told, labels=range(len(LABELS)), zero_division=0)
    assert found.labels is not None
    for place, label in enumerate(found.labels):
        ours = (label.precision.value, label.recall.value, label.f1.value, label.support)
        assert ours == pytest.approx(tuple(figure[place] for figure in theirs))
    assert found.confusion is not None
    assert found.confusion.counts == tuple(map(tuple, metrics.confusion_matrix(given, told, labels=range(len(LABELS)))))


def calibration_error(units: Units) -> float:
    """Guo et al. 2017, equation 3, by its words."""
    total = 0.0
    for place in range(15):
        inside = (units["confidence"] > place / 15) & (units["confidence"] <= (place + 1) / 15)
        if inside.any():
            right = units["given"][inside] == units["told"][inside]
            total += inside.mean() * abs(right.mean() - units["confidence"][inside].mean())
    return total


def test_bins_of_reliability_hold_every_example_once() -> None:
    units, _ = classified()
    found = report(units).reliability
    assert found is not None
    assert sum(each.count for each in found) == 500
    for each in found:
        inside = (units["confidence"] > each.low) & (units["confidence"] <= each.high)
        assert each.count == inside.sum()
        if each.count:
            assert each.confidence == pytest.approx(units["confidence"][inside].mean())
            assert each.accuracy == pytest.approx((units["given"] == units["told"])[inside].mean())
        else:
            assert (each.confidence, each.accuracy) == (None, None)


def test_regression_is_judged_as_scikit_learn_judges_it() -> None:
    rng = np.random.default_rng(0)
    targets = 1e6 + rng.normal(size=(300, 2)) * [1, 40]
    told = targets + rng.normal(size=(300, 2))
    found = report({"errors": told - targets, "targets": targets}, "regression", ())
    assert {name: measure.value for name, measure in found.measures.items()} == pytest.approx(
        {
            "mse": metrics.mean_squared_error(targets, told),
            "rmse": metrics.mean_squared_error(targets, told) ** 0.5,
            "mae": metrics.mean_absolute_error(targets, told),
            "r2": metrics.r2_score(targets, told),
        }
    )


@pytest.mark.parametrize(("error", "r2"), [(0.0, 1.0), (1.0, 0.0)])
def test_a_target_that_never_varies_has_nothing_to_explain(error: float, r2: float) -> None:
    units = {"errors": np.full((40, 1), error), "targets": np.full((40, 1), 0.1)}
    assert report(units, "regression", ()).measures["r2"].value == r2


def test_spans_are_judged_as_seqeval_judges_them() -> None:
    rng = np.random.default_rng(0)
    names = ("LOC", "PER")
    given, told = ([bio(rng, names) for _ in range(80)] for _ in range(2))
    told = [mine if rng.random() < 0.6 else theirs for mine, theirs in zip(given, told, strict=True)]
    theirs = classification_report(given, told, mode="strict", scheme=IOB2, output_dict=True, zero_division=0)
    found = report(span_units(given, told, names), "sequence_labeling", names)
    micro = theirs["micro avg"]
    assert {name: found.measures[name].value for name in ("span_precision", "span_recall", "span_f1")} == pytest.approx(
        {"span_precision": micro["precision"], "span_recall": micro["recall"], "span_f1": micro["f1-score"]}
    )
    for label in found.labels or ():
        each = theirs[str(label.label)]
        assert (label.precision.value, label.recall.value, label.f1.value, label.support) == pytest.approx(
            (each["precision"], each["recall"], each["f1-score"], each["support"])
        )


def bio(rng: np.random.Generator, names: tuple[str, ...]) -> list[str]:
    """Of one length, so that any can be told for any."""
    tags: list[str] = []
    while len(tags) < 12:
        name, length = names[rng.integers(len(names))], int(rng.integers(1, 4))
        tags += ["O"] if rng.random() < 0.4 else [f"B-{name}", *[f"I-{name}"] * (length - 1)]
    return tags[:12]


def span_units(given: list[list[str]], told: list[list[str]], names: tuple[str, ...]) -> Units:
    rows: dict[str, list[list[int]]] = {"span_hits": [], "span_given": [], "span_told": []}
    for mine, theirs in zip(given, told, strict=True):
        wanted, found = {*spans(mine)}, {*spans(theirs)}
        for key, some in (("span_hits", wanted & found), ("span_given", wanted), ("span_told", found)):
            rows[key].append([sum(span.label == name for span in some) for name in names])
    right = [sum(a == b for a, b in zip(*pair, strict=True)) for pair in zip(given, told, strict=True)]
    ones = np.full(len(given), 12)
    words = {"words": ones, "hits": np.array(right), "judged": ones, "nats": np.ones(len(given))}
    return words | {key: np.array(value) for key, value in rows.items()}


def test_an_interval_is_that_of_scipy() -> None:
    """Both are random: their ends agree to a tenth of their width."""
    values = np.random.default_rng(1).exponential(size=400)
    theirs = stats.bootstrap(
        (values,), np.mean, n_resamples=5_000, method="percentile", rng=np.random.default_rng(2)
    ).confidence_interval
    low, high = bounds(resampled(values[:, None], 5_000, seed=3)[:, 0] / len(values))
    width = theirs.high - theirs.low
    assert (low, high) == pytest.approx((theirs.low, theirs.high), abs=width / 10)


def test_many_units_in_groups_have_the_interval_that_they_have_alone() -> None:
    """The standard error of a mean is known."""
    num_units = 3 * MAX_GROUPS + 17
    nats = np.random.default_rng(0).exponential(size=num_units)
    units = {"nats": nats, "tokens": np.full(num_units, 2), "characters": np.full(num_units, 5)}
    found = report_of(units, method="causal_language_model", unit="document", labels=(), seed=0, resamples=400)
    mean = found.measures["nats_per_token"]
    error = nats.std() / num_units**0.5 / 2
    assert mean.value == pytest.approx(nats.sum() / (2 * num_units))
    assert (mean.high - mean.low) == pytest.approx(2 * 1.96 * error, rel=0.15)
    assert found.measures["perplexity"].value == pytest.approx(np.exp(mean.value))
    bits = nats.sum() / np.log(2) / units["characters"].sum()
    assert found.measures["bits_per_character"].value == pytest.approx(bits)


def test_the_same_seed_gives_the_same_report_and_another_another() -> None:
    units, _ = classified()
    assert report(units) == report(units)
    other = report_of(units, method="classification", unit="example", labels=LABELS, seed=1, resamples=200)
    assert other.measures["accuracy"].value == report(units).measures["accuracy"].value
    assert other.measures["accuracy"] != report(units).measures["accuracy"]


def test_a_matrix_of_very_many_labels_is_left_out_and_few_units_are_told() -> None:
    size = MAX_CONFUSED_LABELS + 1
    units, _ = classified(20, size)
    found = report(units, labels=tuple(f"label {place}" for place in range(size)))
    assert found.confusion is None
    assert len(found.labels or ()) == size
    assert "only 20 examples" in found.warnings[0]


def test_rows_of_one_unit_add_up_whatever_part_they_came_in() -> None:
    parts = [
        {UNIT: np.array([2, 0]), "nats": np.array([1.0, 2.0]), "hits": np.array([[1, 0], [2, 0]])},
        {UNIT: np.array([2]), "nats": np.array([4.0]), "hits": np.array([[0, 3]])},
    ]
    whole = joined(parts, 3)
    assert whole["nats"].tolist() == [2.0, 0.0, 5.0]
    assert whole["hits"].tolist() == [[2, 0], [0, 0], [1, 3]]
