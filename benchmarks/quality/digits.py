"""Handwritten digits: an autoencoder learns from the pictures alone, then a classifier is fine-tuned from it.

Four fifths of scikit-learn's 1,797 pictures of 8 x 8 pixels train, the rest judges. With all labels, and with ten a
class, where the parent counts; each beside the same classifier on random weights for the same number of steps. For
comparison, logistic regression on all labels has 0.969.

    OMP_NUM_THREADS=2 python -m benchmarks.quality.digits

Needs scikit-learn (the `demo` extra).
"""

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.quality.running import Json, accuracy, dataset, seeded, train, untrained

THRESHOLD = 0.95
FEW_LABELS_A_CLASS = 10
SEEDS = (0, 1, 2)
ARCHITECTURES: dict[str, Json] = {
    "conv": {"type": "conv", "channels": [16, 32]},
    "mlp": {"type": "mlp", "hidden_widths": [128, 64]},
}


@dataclass(frozen=True, slots=True)
class Digits:
    """images: uint8 [N, 8, 8]; labels: int64 [N]; trained on and judged."""

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]
    judged_images: NDArray[np.uint8]
    judged_labels: NDArray[np.int64]

    @classmethod
    def load(cls) -> "Digits":
        from sklearn.datasets import load_digits  # noqa: PLC0415  an extra
        from sklearn.model_selection import train_test_split  # noqa: PLC0415

        digits = load_digits()
        pixels = (digits.images * (255 / 16)).round().astype(np.uint8)
        images, judged_images, labels, judged_labels = train_test_split(
            pixels, digits.target, test_size=0.2, random_state=0, stratify=digits.target
        )
        return cls(images, labels, judged_images, judged_labels)

    def few(self, a_class: int) -> NDArray[np.int64]:
        """The first examples of each class."""
        return np.concatenate([np.flatnonzero(self.labels == label)[:a_class] for label in np.unique(self.labels)])


class Comparison:
    """One parent, and classifiers from it and from random weights."""

    def __init__(self, digits: Digits, architecture: Json, folder: Path) -> None:
        self._digits = digits
        self._folder = folder
        folder.mkdir()
        pictures = folder / "pictures.npz"
        np.savez(pictures, images=digits.images)
        self._pictures = dataset(pictures, "images")
        self._pretraining = {"kind": "pretrain", "method": {"type": "autoencoder", "architecture": architecture}}
        self.parent = train(self._pretraining, self._pictures, folder / "parent")

    def fine_tuned(self, chosen: NDArray[np.int64], training: Json, seed: int = 0) -> float:
        """The accuracy of a classifier from the parent."""
        return self._accuracy(self.parent, "parent", chosen, training, seed)

    def from_random_weights(self, chosen: NDArray[np.int64], training: Json, seed: int = 0) -> float:
        random = untrained(seeded(self._pretraining, seed), self._pictures, self._new_folder("random"))
        return self._accuracy(random, "random", chosen, training, seed)

    def _accuracy(self, parent: Path, name: str, chosen: NDArray[np.int64], training: Json, seed: int) -> float:
        folder = self._new_folder(f"from-{name}")
        folder.mkdir()
        labeled = folder / "labeled.npz"
        np.savez(labeled, images=self._digits.images[chosen], labels=self._digits.labels[chosen])
        spec = {"kind": "finetune", "method": {"type": "classification"}, "training": training}
        model = train(seeded(spec, seed), dataset(labeled, "labeled_images"), folder, parent)
        return accuracy(model, self._digits.judged_images.tolist(), self._digits.judged_labels.tolist())

    def _new_folder(self, name: str) -> Path:
        return self._folder / f"{name}-{sum(1 for _ in self._folder.iterdir())}"


def medians(measure: Callable[..., float], *arguments: Any) -> float:
    return median(measure(*arguments, seed) for seed in SEEDS)


def main() -> None:
    digits = Digits.load()
    everything, few = np.arange(len(digits.labels)), digits.few(FEW_LABELS_A_CLASS)
    print(f"{'':6}{'labels':>8}{'from parent':>13}{'from random':>13}   accuracy, median of {len(SEEDS)} seeds")
    worst = 1.0
    with tempfile.TemporaryDirectory() as folder:
        for name, architecture in ARCHITECTURES.items():
            comparison = Comparison(digits, architecture, Path(folder) / name)
            for chosen, training in ((everything, {}), (few, {"duration": {"steps": 100}})):
                inherited = medians(comparison.fine_tuned, chosen, training)
                random = medians(comparison.from_random_weights, chosen, training)
                print(f"{name:6}{len(chosen):>8,}{inherited:>13.3f}{random:>13.3f}")
                worst = min(worst, inherited) if chosen is everything else worst
    print(f"At least {THRESHOLD} is asked for from the parent with all labels.")
    raise SystemExit(worst < THRESHOLD)


if __name__ == "__main__":
    main()
