"""Regressions onto two targets: pretrained, and fine-tuned from that parent or from one that reads text."""

from pathlib import Path

from app.contract.messages import Assignment
from tests.contract import datasets, language_model, word2vec
from tests.contract.assignments import finetuning, pretraining


def pretrained(folder: Path) -> Assignment:
    folder.mkdir(parents=True, exist_ok=True)
    architecture = {"type": "mlp", "hidden_widths": [16], "dropout": 0.1}
    return pretraining(
        folder, datasets.vectors(folder, "scored_vectors"), {"type": "regression", "architecture": architecture}
    )


def of_vectors(folder: Path) -> Assignment:
    parent = pretrained(folder)
    return finetuning(folder, parent.dataset, parent, {"type": "regression"})


def of_mixed_vectors_by_averaged_weights(folder: Path) -> Assignment:
    parent = pretrained(folder)
    augmentation, average = {"mixup_alpha": 0.2, "noise_std": 0.1}, {"decay": 0.9}
    method = {"type": "regression"}
    return finetuning(folder, parent.dataset, parent, method, augmentation=augmentation, weight_average=average)


def of_text(folder: Path, architecture: language_model.Shape = language_model.TRANSFORMER) -> Assignment:
    parent = language_model.assignment(folder, architecture)
    return finetuning(folder, datasets.scored_text(folder), parent, {"type": "regression"})


def of_text_from_word_vectors(folder: Path) -> Assignment:
    parent = word2vec.assignment(folder)
    return finetuning(folder, datasets.scored_text(folder), parent, {"type": "regression"})
