"""GANs of images and of vectors, and what is fine-tuned from one: by the features of its discriminator."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from app.contract.messages import Assignment, DatasetInput
from tests.contract import datasets
from tests.contract.assignments import finetuning, pretraining

NOISE_SIZE = 16


def of_images(folder: Path, **training: Any) -> Assignment:
    """Dark ones, whose brightness is learned first."""
    folder.mkdir(parents=True, exist_ok=True)
    method = {"type": "gan", "architecture": {"type": "conv", "channels": [8, 8], "dropout": 0.1}}
    return _gan(folder, datasets.images(folder, brightness=60), method, num_steps=60, learning_rate=2e-3, **training)


def by_averaged_weights(folder: Path) -> Assignment:
    return of_images(folder, weight_average={"decay": 0.9})


def of_vectors(folder: Path) -> Assignment:
    folder.mkdir(parents=True, exist_ok=True)
    architecture = {"type": "mlp", "hidden_widths": [64, 64]}
    method = {"type": "gan", "architecture": architecture, "generator_loss": "minimax"}
    data = datasets.vectors(folder, "labeled_vectors")
    return _gan(folder, data, method, num_steps=300, batch_size=32, learning_rate=1e-3)


def classified(folder: Path) -> Assignment:
    parent = of_vectors(folder)
    return finetuning(folder, parent.dataset, parent, {"type": "classification"})


def outputs(module: Any, batch: dict[str, Tensor]) -> Tensor:
    """What either network makes of an example: the discriminator's logit, and a sample out of its numbers as noise."""
    noise = batch["inputs"].flatten(1).repeat(1, NOISE_SIZE)[:, :NOISE_SIZE].float() / 1_000
    return torch.cat([module(batch)[:, None], module.generate(noise).flatten(1)], dim=1)


def _gan(
    folder: Path,
    dataset: DatasetInput,
    method: dict[str, Any],
    *,
    num_steps: int,
    learning_rate: float,
    batch_size: int = 16,
    **training: Any,
) -> Assignment:
    """A game takes more steps than a descent, and smaller ones: its players must not run away from each other."""
    return pretraining(
        folder,
        dataset,
        method | {"noise_size": NOISE_SIZE},
        duration={"steps": num_steps},
        batch_size=batch_size,
        optimizer={"type": "adam", "learning_rate": learning_rate, "betas": [0.5, 0.99]},
        schedule={"type": "constant"},
        **training,
    )
