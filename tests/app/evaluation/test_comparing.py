"""Two models on the same units: against SciPy's tests, and against what is known to be so."""

import numpy as np
import pytest
from scipy import stats

from app.contract.evaluations import EvaluationReport, p_words
from app.evaluation.comparing import NotComparable, Side, compare, mcnemar
from app.evaluation.reporting import report_of
from app.evaluation.units import Units
from tests.app.evaluation.test_figures import LABELS, classified


def side(units: Units, name: str, method: str = "classification", labels: tuple[str, ...] = LABELS) -> Side:
    return Side(report(units, method, labels), units, name)


def report(units: Units, method: str, labels: tuple[str, ...], seed: int = 0) -> EvaluationReport:
    unit = "example" if method == "classification" else "document"
    return report_of(units, method=method, unit=unit, labels=labels, seed=seed, resamples=400)  # type: ignore[arg-type]


@pytest.mark.parametrize(("alone", "other"), [(0, 0), (5, 17), (0, 6), (40, 38), (1_200, 1_300)])
def test_mcnemar_is_scipys_binomial_test(alone: int, other: int) -> None:
    expected = stats.binomtest(alone, alone + other).pvalue if alone + other else 1.0
    assert mcnemar(alone, other) == pytest.approx(expected, rel=1e-9)


def test_randomisation_finds_what_scipys_permutation_test_finds() -> None:
    rng = np.random.default_rng(0)
    tokens = np.full(60, 10)
    one = {"nats": rng.gamma(20, 1, 60), "tokens": tokens, "characters": tokens * 4}
    other = one | {"nats": one["nats"] + rng.normal(0.4, 2, 60)}
    found = compare(side(one, "a", "causal_language_model", ()), side(other, "b", "causal_language_model", ()))
    theirs = stats.permutation_test(
        (one["nats"], other["nats"]),
        lambda a, b, axis: (a - b).mean(axis),
        permutation_type="samples",
        n_resamples=5_000,
        rng=np.random.default_rng(1),
    )
    difference = found.measures["nats_per_token"]
    assert difference.test == "approximate_randomization"
    assert difference.p_value == pytest.approx(theirs.pvalue, abs=0.06)
    assert difference.difference.value == pytest.approx((one["nats"] - other["nats"]).sum() / 600)


def test_what_both_find_hard_widens_no_interval() -> None:
    """Documents differ by far more than the models do; one is better on each by a little."""
    rng = np.random.default_rng(0)
    tokens = np.full(200, 10)
    hard = rng.gamma(1, 20, 200)
    one = {"nats": hard, "tokens": tokens, "characters": tokens}
    other = one | {"nats": hard + rng.uniform(0.1, 0.3, 200)}
    found = compare(side(one, "small", "causal_language_model", ()), side(other, "large", "causal_language_model", ()))
    difference = found.measures["nats_per_token"]
    assert difference.better == "first"
    assert -0.03 < difference.difference.low < difference.difference.high < -0.01
    assert difference.p_value == 1 / 401
    assert "small is better" in found.finding
    assert "p = 0.0025" in found.finding


@pytest.mark.parametrize(
    ("p_value", "told"), [(0.0, "< 0.001"), (1 / 1001, "< 0.001"), (0.001, "= 0.001"), (0.0456, "= 0.046"), (1, "= 1")]
)
def test_nothing_is_told_to_be_certain(p_value: float, told: str) -> None:
    assert p_words(p_value) == told


def test_equal_answers_differ_by_nothing() -> None:
    units, _ = classified()
    found = compare(side(units, "a"), side(units, "b"))
    for difference in found.measures.values():
        assert difference.difference.model_dump() == {"value": 0.0, "low": 0.0, "high": 0.0}
        assert (difference.p_value, difference.better) == (1.0, None)
    assert "neither is shown to be better" in found.finding


def test_labels_count_by_name_whatever_their_order_in_each_model() -> None:
    units, _ = classified()
    order = [3, 1, 0, 2]
    places = np.argsort(order)
    renamed = {**units, "given": places[units["given"]], "told": places[units["told"]]}
    found = compare(side(units, "a"), side(renamed, "b", labels=tuple(LABELS[place] for place in order)))
    assert found.measures["macro_f1"].difference.value == pytest.approx(0.0, abs=1e-12)
    assert found.measures["accuracy"].test == "mcnemar_exact"
    assert found.measures["accuracy"].p_value == 1.0


def test_under_the_null_p_values_are_not_small() -> None:
    """Of forty pairs of like models, about two differ at 5 %: never eight, which is a chance of one in a thousand."""
    p_values = []
    for seed in range(40):
        rng = np.random.default_rng(seed)
        hard = rng.random(120)
        hits = [(rng.random(120) < hard).astype(int) for _ in range(2)]
        one, other = ({"nats": hit.astype(float), "tokens": np.ones(120, int), "hits": hit} for hit in hits)
        found = compare(side(one, "a", "masked_language_model", ()), side(other, "b", "masked_language_model", ()))
        p_values.append(found.measures["masked_accuracy"].p_value)
    assert sum(p < 0.05 for p in p_values) < 8
    assert np.mean(p_values) > 0.35


def test_models_of_other_tokenizers_compare_by_characters_and_by_documents_alone() -> None:
    tokens = np.full(50, 10)
    one = {"nats": np.ones(50), "tokens": tokens, "characters": tokens * 4}
    other = one | {"tokens": tokens * 2}
    found = compare(side(one, "a", "causal_language_model", ()), side(other, "b", "instruction_tuning", ()))
    assert list(found.measures) == ["bits_per_character"]


def test_what_was_not_judged_alike_is_refused() -> None:
    units, _ = classified()
    tokens = np.full(500, 10)
    text = {"nats": np.ones(500), "tokens": tokens, "hits": tokens}
    with pytest.raises(NotComparable, match=r"classification.*masked_language_model"):
        compare(side(units, "a"), side(text, "b", "masked_language_model", ()))
    fewer = {name: values[:-1] for name, values in text.items()}
    with pytest.raises(NotComparable, match=r"500 documents and b 499"):
        compare(side(text, "a", "masked_language_model", ()), side(fewer, "b", "masked_language_model", ()))
    anew = Side(report(text, "masked_language_model", (), seed=1), text, "b")
    with pytest.raises(NotComparable, match=r"seeds \(0 and 1\)"):
        compare(side(text, "a", "masked_language_model", ()), anew)
