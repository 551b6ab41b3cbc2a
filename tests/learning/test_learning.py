"""That methods learn what they are for, on real data: small versions of `benchmarks.quality`."""

from pathlib import Path
from statistics import median
from typing import Any

import pytest

pytest.importorskip("sklearn", reason="scikit-learn (the demo extra) carries the data")

from benchmarks.quality import diabetes
from benchmarks.quality.digits import ARCHITECTURES, SEEDS, Comparison, Digits
from benchmarks.quality.running import Json

pytestmark = pytest.mark.timeout(600)  # seconds on two free cores, minutes on busy ones

FEW_STEPS: Json = {"duration": {"steps": 40}}
LABELS_A_CLASS = 5


@pytest.fixture(scope="module")
def digits() -> Digits:
    return Digits.load()


@pytest.fixture(scope="module", params=["conv", "mlp"])
def comparison(digits: Digits, request: Any, tmp_path_factory: pytest.TempPathFactory) -> Comparison:
    folder: Path = tmp_path_factory.mktemp("digits")
    return Comparison(digits, ARCHITECTURES[request.param], folder / "comparison")


def test_digits_are_told_apart_from_an_autoencoder_parent(comparison: Comparison, digits: Digits) -> None:
    assert comparison.fine_tuned(digits.few(200), {}) >= 0.95


def test_a_parent_beats_random_weights_where_labels_are_few(comparison: Comparison, digits: Digits) -> None:
    few = digits.few(LABELS_A_CLASS)

    inherited = median(comparison.fine_tuned(few, FEW_STEPS, seed) for seed in SEEDS)
    random = median(comparison.from_random_weights(few, FEW_STEPS, seed) for seed in SEEDS)

    assert inherited > random


def test_the_worked_example_explains_diabetes_as_a_ridge_regression_does(tmp_path: Path) -> None:
    found = diabetes.measured(split=2, folder=tmp_path)

    assert found["fine-tuned"] >= diabetes.THRESHOLD
