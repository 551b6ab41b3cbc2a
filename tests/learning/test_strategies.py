"""What strategies of fine-tuning are for, on handwritten digits: over five seeds, as paired intervals."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("sklearn", reason="scikit-learn (the demo extra) carries the data")

from app.contract import sizes
from app.contract.specs.strategies import LoraStrategy
from benchmarks.quality.bench import Bench, Json, Trained
from benchmarks.quality.digits import digits, pretraining
from tests.support.paired import paired_difference

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]  # seconds on two free cores, minutes on busy ones

LABELS_A_CLASS = 5
EVERY_LABEL = len(digits().labels)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("bench")


@pytest.fixture(scope="module")
def autoencoder(folder: Path) -> Trained:
    bench = Bench(folder)
    return bench.train(pretraining(bench, "mlp"), digits().pictures(bench))


@pytest.fixture(scope="module")
def classifier(autoencoder: Trained, folder: Path) -> Trained:
    """A parent that has learned the task from many labels, and can forget it."""
    bench = Bench(folder)
    return child(bench, autoencoder, EVERY_LABEL, {"type": "full"}, bench.epochs(10.0))


def child(
    bench: Bench, parent: Trained, labels_a_class: int, strategy: Json, duration: Json, **options: Any
) -> Trained:
    """Evaluated once, at its end, on the digits that judge. Each seed has labels of its own."""
    shuffled = np.random.default_rng(bench.seed).permutation(len(digits().labels))
    labels = digits().labels[shuffled]
    chosen = np.concatenate([shuffled[labels == label][:labels_a_class] for label in np.unique(labels)])
    known = bench.arrays("known", "labeled_images", images=digits().images[chosen], labels=digits().labels[chosen])
    judging = bench.arrays("judging", "labeled_images", images=digits().judged_images, labels=digits().judged_labels)
    training = {"duration": duration, "evaluate_every": duration, **options}
    method = {"type": "classification"}
    spec = {"kind": "finetune", "method": method, "strategy": strategy, "training": training}
    return bench.train(spec, known, parent, judging)


def accuracy(
    folder: Path, parent: Trained, labels_a_class: int, strategy: Json, **options: Any
) -> Callable[[int], float]:
    """By seed."""

    def of(seed: int) -> float:
        bench = Bench(folder, seed=seed)
        return child(bench, parent, labels_a_class, strategy, bench.steps(100), **options).metrics["accuracy"]

    return of


@pytest.mark.parametrize(
    "strategy", [{"type": "full", "layer_learning_rate_decay": 0.3}, {"type": "gradual_unfreezing"}], ids=str
)
def test_lower_layers_that_learn_slowly_or_late_forget_less_where_labels_are_few(
    strategy: Json, classifier: Trained, folder: Path
) -> None:
    """Howard and Ruder 2018, section 5: both beat full fine-tuning, the more the fewer the labels."""
    full = accuracy(folder, classifier, LABELS_A_CLASS, {"type": "full"})

    assert paired_difference(accuracy(folder, classifier, LABELS_A_CLASS, strategy), full).low > 0


def test_a_few_adapted_directions_learn_what_a_head_alone_cannot(autoencoder: Trained, folder: Path) -> None:
    """Hu et al. 2021: with a small share of the parameters trained. The parent has seen no label."""
    task, body, num_labels = ("finetune", "classification"), autoencoder.description.body, 10
    trained = sizes.num_trained_parameters(task, body, num_labels, strategy=LoraStrategy(rank=2))
    assert trained < 0.07 * sizes.num_parameters(task, body, num_labels)

    rate = {"optimizer": {"type": "adamw", "learning_rate": 0.01}}
    head = accuracy(folder, autoencoder, EVERY_LABEL, {"type": "frozen"}, **rate)
    adapted = accuracy(folder, autoencoder, EVERY_LABEL, {"type": "lora", "rank": 2}, **rate)

    assert paired_difference(adapted, head).low > 0
