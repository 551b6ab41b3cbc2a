"""Classifiers: of texts from a language model, of images, and of vectors on a body that stays as it is."""

from pathlib import Path
from typing import Any

from app.contract.messages import Assignment
from tests.contract import autoencoder, datasets, language_model, masked_language_model
from tests.contract.assignments import finetuning


def of_text(
    folder: Path,
    architecture: language_model.Shape = language_model.TRANSFORMER,
    strategy: dict[str, Any] | None = None,
) -> Assignment:
    parent = language_model.assignment(folder, architecture)
    return finetuning(folder, datasets.labeled_text(folder), parent, {"type": "classification"}, strategy=strategy)


def of_balanced_text_with_gaps(folder: Path) -> Assignment:
    parent = language_model.assignment(folder)
    method = {"type": "classification", "sampling": "balanced", "label_smoothing": 0.05}
    return finetuning(folder, datasets.labeled_text(folder), parent, method, augmentation={"token_dropout": 0.1})


def of_images_never_seen_twice_alike(folder: Path) -> Assignment:
    parent = autoencoder.of_images(folder)
    method = {"type": "classification", "sampling": "down_sample"}
    augmentation = {"shift_pixels": 1, "crop_area": 0.8, "noise_std": 0.1, "mixup_alpha": 0.1}
    data = datasets.images(folder, kind="labeled_images")
    return finetuning(folder, data, parent, method, augmentation=augmentation)


def of_text_from_a_masked_language_model(folder: Path, strategy: dict[str, Any] | None = None) -> Assignment:
    parent = masked_language_model.assignment(folder)
    return finetuning(folder, datasets.labeled_text(folder), parent, {"type": "classification"}, strategy=strategy)


def of_vectors_by_a_linear_probe(folder: Path, **options: Any) -> Assignment:
    parent = autoencoder.of_vectors(folder)
    method = {"type": "classification", **options}
    return finetuning(folder, parent.dataset, parent, method, strategy={"type": "frozen"}, learning_rate=0.1)
