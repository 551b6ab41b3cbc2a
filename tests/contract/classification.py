"""Classifiers: of texts from a language model, and of vectors on an autoencoder's body that stays as it is."""

from pathlib import Path
from typing import Any

from app.contract.messages import Assignment
from tests.contract import autoencoder, datasets, language_model, masked_language_model
from tests.contract.assignments import finetuning


def of_text(
    folder: Path, architecture: language_model.Shape = language_model.TRANSFORMER, **options: Any
) -> Assignment:
    parent = language_model.assignment(folder, architecture)
    return finetuning(folder, datasets.labeled_text(folder), parent, {"type": "classification", **options})


def of_balanced_text(folder: Path) -> Assignment:
    return of_text(folder, sampling="balanced", label_smoothing=0.05)


def of_text_from_a_masked_language_model(folder: Path) -> Assignment:
    parent = masked_language_model.assignment(folder)
    return finetuning(folder, datasets.labeled_text(folder), parent, {"type": "classification"})


def of_vectors_by_a_linear_probe(folder: Path, **options: Any) -> Assignment:
    parent = autoencoder.of_vectors(folder)
    method = {"type": "classification", **options}
    return finetuning(folder, parent.dataset, parent, method, strategy="frozen", learning_rate=0.1)
