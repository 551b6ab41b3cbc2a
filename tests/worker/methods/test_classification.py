"""The options of classification against their formulas: smoothed answers, and labels that count alike."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import Tensor

from app.contract.messages import Assignment
from app.contract.specs.methods import Classification
from tests.contract import classification, datasets
from tests.contract.runs import prepared
from worker.data.steps import ExampleSteps
from worker.methods.finetune.classification import ClassificationMethod, balanced_weights

SMOOTHING = 0.2


def imbalanced(folder: Path, **method: Any) -> Assignment:
    """Vectors of two labels, every fourth of the rarer one kept."""
    assignment = classification.of_vectors_by_a_linear_probe(folder, **method)
    with np.load(assignment.dataset.path) as arrays:
        features, labels = arrays["features"], arrays["labels"]
    kept = np.concatenate([np.flatnonzero(labels == 0), np.flatnonzero(labels == 1)[::4]])
    np.savez(folder / "imbalanced.npz", features=features[kept], labels=labels[kept])
    dataset = datasets.dataset(folder / "imbalanced.npz", "labeled_vectors")
    return assignment.model_copy(update={"dataset": dataset})


def method_of(folder: Path, **method: Any) -> ClassificationMethod:
    made = prepared(imbalanced(folder, **method))
    assert isinstance(made, ClassificationMethod)
    made.module.eval()
    return made


@torch.no_grad()
def likelihoods(method: ClassificationMethod, batch: dict[str, Tensor]) -> Tensor:
    """-log p of every label, by the definition of a softmax: [B, L]"""
    logits: Tensor = method.module(batch)
    return (logits.exp().sum(1, keepdim=True)).log() - logits


def trained_labels(method: ClassificationMethod) -> np.ndarray[Any, Any]:
    assert isinstance(method.train_data, ExampleSteps)
    side = method.train_data._subset
    return side.answers["labels"][side.indices]


def test_a_smoothed_answer_is_shared_with_all_labels(tmp_path: Path) -> None:
    method = method_of(tmp_path, label_smoothing=SMOOTHING)
    batch = method.train_data.micro_batches(0)[0]
    losses, labels = likelihoods(method, batch), batch["labels"]

    wanted = (1 - SMOOTHING) * losses.gather(1, labels[:, None]).sum() + SMOOTHING * losses.mean(1).sum()

    torch.testing.assert_close(method.total(batch), wanted)


def test_balanced_weights_make_every_label_count_the_same(tmp_path: Path) -> None:
    method = method_of(tmp_path, class_weights="balanced", label_smoothing=SMOOTHING)
    counts = np.bincount(trained_labels(method))
    weights = torch.from_numpy(counts.sum() / (2 * counts)).float()
    batch = method.train_data.micro_batches(0)[0]
    losses, labels = likelihoods(method, batch), batch["labels"]

    each = (1 - SMOOTHING) * losses.gather(1, labels[:, None]).squeeze(1) + SMOOTHING * losses.mean(1)

    assert counts[0] > 3 * counts[1]
    torch.testing.assert_close(method.total(batch), (weights[labels] * each).sum())


def test_weights_have_a_mean_of_one_and_leave_out_what_does_not_occur() -> None:
    codes = np.array([0] * 6 + [3] * 2)

    weights = balanced_weights(codes, num_labels=4)

    assert weights.tolist() == pytest.approx([8 / 12, 0, 0, 2])
    assert weights[torch.from_numpy(codes)].mean() == 1


@pytest.mark.parametrize(
    ("options", "are_balanced"),
    [
        ({}, False),
        ({"label_smoothing": SMOOTHING}, False),
        ({"class_weights": "balanced"}, True),
        ({"sampling": "balanced"}, True),
        ({"sampling": "down_sample"}, True),
    ],
)
def test_validation_is_never_smoothed_and_balanced_where_training_is(
    tmp_path: Path, options: dict[str, Any], are_balanced: bool
) -> None:
    method = method_of(tmp_path, **options)
    (batch,) = method._validation.batches(1_000)
    losses = likelihoods(method, batch).gather(1, batch["labels"][:, None]).squeeze(1)
    counts = np.bincount(trained_labels(method))
    weights = torch.from_numpy(1 / counts).float()[batch["labels"]] if are_balanced else torch.ones(len(losses))

    wanted = float((weights * losses).sum() / weights.sum())

    assert method.evaluate()["validation_loss"] == pytest.approx(wanted, rel=1e-5)


@pytest.mark.parametrize(("sampling", "num_examples"), [("balanced", None), ("down_sample", "rarest")])
def test_sampling_gives_epochs_in_which_labels_are_balanced(
    tmp_path: Path, sampling: str, num_examples: str | None
) -> None:
    method = method_of(tmp_path, sampling=sampling)
    labels = trained_labels(method)
    size = 2 * np.bincount(labels).min() if num_examples else len(labels)

    assert method.train_data.num_examples == size
    steps = range(round(20 * method.train_data.steps_per_epoch))
    drawn = torch.cat([batch["labels"] for step in steps for batch in method.train_data.micro_batches(step)])
    assert drawn.double().mean() == pytest.approx(0.5, abs=0.02)


def test_labels_are_not_balanced_twice() -> None:
    with pytest.raises(ValidationError, match=r"class_weights 'balanced' and sampling 'down_sample'.*Leave one"):
        Classification(class_weights="balanced", sampling="down_sample")
