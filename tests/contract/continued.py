"""Pretrainings that go on from a parent of their own method, on data that it has not seen."""

from pathlib import Path
from pydoc_data.topics import topics
from typing import Any

from app.contract.messages import Assignment, DatasetInput
from tests.contract import autoencoder, datasets, gan, language_model, masked_language_model, word2vec
from tests.contract.assignments import finetuning


def more_text(folder: Path, num_characters: int = 40_000) -> DatasetInput:
    """The end of the manual, whose beginning the parents learn from."""
    text = "\n\n".join(topics[name] for name in sorted(topics))[-num_characters:]
    return language_model.text_dataset(folder, text, "more.txt")


def a_language_model(folder: Path, strategy: dict[str, Any] | None = None) -> Assignment:
    parent = language_model.assignment(folder)
    return _continued(folder, more_text(folder), parent, strategy=strategy)


def an_lstm(folder: Path) -> Assignment:
    parent = language_model.assignment(folder, language_model.LSTM, tokenizer={"type": "word", "vocab_size": 100})
    return _continued(folder, more_text(folder), parent)


def a_masked_language_model(folder: Path) -> Assignment:
    parent = masked_language_model.assignment(folder)
    return _continued(folder, more_text(folder), parent)


def word_vectors(folder: Path) -> Assignment:
    parent = word2vec.assignment(folder)
    return _continued(folder, more_text(folder), parent, learning_rate=0.1)


def a_variational_autoencoder(folder: Path) -> Assignment:
    """Whose noise is new, and whose divergence is weighed anew."""
    method = {"denoising": {"noise_std": 0.1}, "variational": {"kl_weight": 0.05}}
    parent = autoencoder.of_vectors(folder, variational={"kl_weight": 0.1})
    return _continued(folder, datasets.vectors(folder), parent, method)


def a_gan(folder: Path, strategy: dict[str, Any] | None = None) -> Assignment:
    """As the parent plays, on brighter images."""
    parent = gan.of_images(folder)
    brighter = folder / "brighter"
    brighter.mkdir(exist_ok=True)
    training = parent.spec.training.model_dump(mode="json", include={"duration", "optimizer", "schedule"})
    return _continued(folder, datasets.images(brighter, brightness=90), parent, strategy=strategy, **training)


def _continued(
    folder: Path, data: DatasetInput, parent: Assignment, method: dict[str, Any] | None = None, **options: Any
) -> Assignment:
    return finetuning(folder, data, parent, {"type": parent.spec.method.type, **(method or {})}, **options)
