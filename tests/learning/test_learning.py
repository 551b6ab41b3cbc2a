"""That methods learn what they are for, on real data: small versions of `benchmarks.quality`."""

from pathlib import Path
from statistics import median
from typing import Any

import pytest

pytest.importorskip("sklearn", reason="scikit-learn (the demo extra) carries the data")

from benchmarks.quality import diabetes
from benchmarks.quality.bench import Bench, Json, Trained
from benchmarks.quality.digits import accuracy_of, classifier, digits, pretraining

pytestmark = pytest.mark.timeout(600)  # seconds on two free cores, minutes on busy ones

FEW_STEPS: Json = {"steps": 40}
LABELS_A_CLASS = 5
SEEDS = (0, 1, 2)


@pytest.fixture(scope="module", params=["conv", "mlp"])
def architecture(request: Any) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("bench")


@pytest.fixture(scope="module")
def parent(architecture: str, folder: Path) -> Trained:
    bench = Bench(folder)
    return bench.train(pretraining(bench, architecture), digits().pictures(bench))


def test_digits_are_told_apart_from_an_autoencoder_parent(parent: Trained, folder: Path) -> None:
    bench = Bench(folder)

    assert accuracy_of(classifier(bench, parent, digits().few(200), bench.epochs(10.0))) >= 0.95


def test_a_parent_beats_random_weights_where_labels_are_few(parent: Trained, architecture: str, folder: Path) -> None:
    few, inherited, random = digits().few(LABELS_A_CLASS), [], []
    for bench in (Bench(folder, seed=seed) for seed in SEEDS):
        untrained = bench.untrained(pretraining(bench, architecture), digits().pictures(bench))
        inherited.append(accuracy_of(classifier(bench, parent, few, FEW_STEPS)))
        random.append(accuracy_of(classifier(bench, untrained, few, FEW_STEPS)))

    assert median(inherited) > median(random)


def test_the_worked_example_explains_diabetes_as_a_ridge_regression_does(tmp_path: Path) -> None:
    found, _ = diabetes.regressions(Bench(tmp_path, seed=2), split=2)

    assert found["fine-tuned"] >= diabetes.ASKED
