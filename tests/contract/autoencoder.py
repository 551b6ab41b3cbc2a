"""Autoencoders of vectors and of images."""

from pathlib import Path
from typing import Any

from app.contract.messages import Assignment
from tests.contract import datasets
from tests.contract.assignments import pretraining


def of_images(folder: Path) -> Assignment:
    folder.mkdir(parents=True, exist_ok=True)
    architecture = {"type": "conv", "channels": [8, 8], "dropout": 0.1}
    return pretraining(
        folder, datasets.images(folder), {"type": "autoencoder", "architecture": architecture, "code_size": 4}
    )


def of_vectors(folder: Path, **options: Any) -> Assignment:
    """A labeled data set stands in for one without."""
    folder.mkdir(parents=True, exist_ok=True)
    architecture = {"type": "mlp", "hidden_widths": [16, 8], "dropout": 0.1}
    return pretraining(
        folder,
        datasets.vectors(folder, "labeled_vectors"),
        {"type": "autoencoder", "architecture": architecture, "code_size": 3, **options},
    )


def denoising_and_variational(folder: Path) -> Assignment:
    return of_vectors(folder, denoising={"noise_std": 0.2}, variational={"kl_weight": 0.1})
