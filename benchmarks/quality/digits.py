"""Handwritten digits: autoencoders and GANs learn from the pictures alone, and classifiers are fine-tuned from them.

Four fifths of scikit-learn's 1,797 pictures of 8 x 8 pixels train, the rest judges. An autoencoder stands beside
principal components, as many as its code has numbers; a GAN's samples are judged by the features of a classifier,
beside an untrained generator's and beside nothing but the mean picture; a classifier stands beside one that is trained
as long from random weights. Logistic regression has an accuracy of 0.969.

    OMP_NUM_THREADS=2 python -m benchmarks.quality.digits [fast | full]

Needs scikit-learn (the `demo` extra).
"""

from dataclasses import dataclass
from functools import cache, partial

import numpy as np
import torch
from numpy.typing import NDArray

from app.contract.messages import DatasetInput
from benchmarks.quality.bench import Bench, Json, Trained, accuracy, predict
from benchmarks.quality.rows import Measured, Row, run_alone
from worker.export import load_model
from worker.methods.frechet import Gaussian
from worker.models.gan import Gan
from worker.models.heads import Classifier
from worker.serving.predictors import load_predictor

ACCURACY_ASKED = 0.96
#: Of the smaller distance of the two that have learned nothing.
DISTANCE_SHARE_ASKED = 0.25
CODE_SIZE = 8
FEW_LABELS_A_CLASS = 10
NUM_SAMPLES = 1_000
ARCHITECTURES: dict[str, Json] = {
    "conv": {"type": "conv", "channels": [16, 32]},
    "mlp": {"type": "mlp", "hidden_widths": [128, 64]},
}

Pictures = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Digits:
    """images: uint8 [N, 8, 8]; labels: int64 [N]; trained on and judged."""

    images: Pictures
    labels: NDArray[np.int64]
    judged_images: Pictures
    judged_labels: NDArray[np.int64]

    def few(self, a_class: int) -> NDArray[np.int64]:
        """The first examples of each class."""
        return np.concatenate([np.flatnonzero(self.labels == label)[:a_class] for label in np.unique(self.labels)])

    def pictures(self, bench: Bench) -> DatasetInput:
        return bench.arrays("digits", "images", images=self.images)


@cache
def digits() -> Digits:
    from sklearn.datasets import load_digits  # noqa: PLC0415  an extra
    from sklearn.model_selection import train_test_split  # noqa: PLC0415

    loaded = load_digits()
    pixels = (loaded.images * (255 / 16)).round().astype(np.uint8)
    images, judged_images, labels, judged_labels = train_test_split(
        pixels, loaded.target, test_size=0.2, random_state=0, stratify=loaded.target
    )
    return Digits(images, labels, judged_images, judged_labels)


def pretraining(bench: Bench, architecture: str) -> Json:
    """Of the parent of a classifier, whose code is as wide as may be."""
    method = {"type": "autoencoder", "architecture": ARCHITECTURES[architecture]}
    return {"kind": "pretrain", "method": method, "training": {"duration": bench.epochs(50.0)}}


def classifier(bench: Bench, parent: Trained, chosen: NDArray[np.int64], duration: Json) -> Trained:
    labeled = bench.arrays(
        "labeled-digits", "labeled_images", images=digits().images[chosen], labels=digits().labels[chosen]
    )
    spec = {"kind": "finetune", "method": {"type": "classification"}, "training": {"duration": duration}}
    return bench.train(spec, labeled, parent)


def accuracy_of(trained: Trained) -> float:
    return accuracy(trained, digits().judged_images.tolist(), digits().judged_labels.tolist())


def compression(architecture: str, bench: Bench) -> Measured:
    from sklearn.decomposition import PCA  # noqa: PLC0415

    method = {"type": "autoencoder", "architecture": WIDER[architecture], "code_size": CODE_SIZE}
    training = {"duration": bench.epochs(200.0), "validation_fraction": 0.05}
    spec = {"kind": "pretrain", "method": method, "training": training}
    trained = bench.train(spec, digits().pictures(bench))
    error = float(np.mean([output["error"] for output in predict(trained, digits().judged_images.tolist())]))
    flat, judged = (each.reshape(len(each), -1).astype(float) for each in (digits().images, digits().judged_images))
    components = PCA(CODE_SIZE).fit(flat)
    baseline = float(np.square(components.inverse_transform(components.transform(judged)) - judged).mean())
    return Measured(trained, error, baseline, asked=baseline)


#: Of autoencoders that are judged by what they give back.
WIDER: dict[str, Json] = {
    "conv": {"type": "conv", "channels": [32, 64]},
    "mlp": {"type": "mlp", "hidden_widths": [256, 128]},
}


def generation(architecture: str, bench: Bench) -> Measured:
    """By the squared Frechet distance from the judged pictures (Heusel et al. 2017)."""
    spec = {
        "kind": "pretrain",
        "method": {"type": "gan", "architecture": ARCHITECTURES[architecture]},
        "training": {"duration": bench.epochs(200.0)},
    }
    trained, untrained = bench.train(spec, digits().pictures(bench)), bench.untrained(spec, digits().pictures(bench))
    parent = bench.train(pretraining(bench, "conv"), digits().pictures(bench))
    judge = _Judge(classifier(bench, parent, np.arange(len(digits().labels)), bench.epochs(10.0)))
    mean = np.repeat(digits().images.mean(0, keepdims=True), NUM_SAMPLES, axis=0)
    nothing_learned = min(judge.distance(_samples(untrained)), judge.distance(torch.from_numpy(mean)))
    return Measured(trained, judge.distance(_samples(trained)), nothing_learned, DISTANCE_SHARE_ASKED * nothing_learned)


def classification(architecture: str, a_class: int | None, bench: Bench) -> Measured:
    """With all labels, or with a few of each class."""
    everything = np.arange(len(digits().labels))
    chosen = everything if a_class is None else digits().few(a_class)
    duration = bench.epochs(10.0) if a_class is None else bench.steps(100)
    spec, pictures = pretraining(bench, architecture), digits().pictures(bench)
    trained = classifier(bench, bench.train(spec, pictures), chosen, duration)
    random = classifier(bench, bench.untrained(spec, pictures), chosen, duration)
    baseline = accuracy_of(random)
    return Measured(trained, accuracy_of(trained), baseline, ACCURACY_ASKED if a_class is None else baseline)


class _Judge:
    """The features of a classifier, as Gaussian clouds."""

    def __init__(self, trained: Trained) -> None:
        module = load_model(trained.model).module
        assert isinstance(module, Classifier)
        self._body = module.body
        self._real = self._cloud(torch.from_numpy(digits().judged_images))

    def distance(self, images: torch.Tensor) -> float:
        return self._real.distance(self._cloud(images))

    @torch.inference_mode()
    def _cloud(self, images: torch.Tensor) -> Gaussian:
        return Gaussian.fitted(self._body.encode({"inputs": images.reshape(-1, 1, 8, 8).float()}))


@torch.inference_mode()
def _samples(trained: Trained) -> torch.Tensor:
    module = load_model(trained.model).module
    assert isinstance(module, Gan)
    generator = load_predictor(trained.model).generate
    assert generator is not None
    noise = torch.randn(NUM_SAMPLES, module.body.width, generator=torch.Generator().manual_seed(0))
    return module.generate(noise)


ROWS = (
    *(
        Row(
            f"autoencoder-{name}",
            f"autoencoder, {name}",
            "digits",
            f"squared error of a pixel, {CODE_SIZE} numbers",
            "principal components",
            partial(compression, name),
            better="less",
            digits=1,
        )
        for name in ARCHITECTURES
    ),
    *(
        Row(
            f"gan-{name}",
            f"gan, {name}",
            "digits",
            "Frechet distance",
            "nothing learned",
            partial(generation, name),
            better="less",
        )
        for name in ARCHITECTURES
    ),
    *(
        Row(
            f"classification-of-digits-{name}" + ("" if a_class is None else "-few-labels"),
            f"classification from autoencoder, {name}",
            "digits" if a_class is None else f"digits, {a_class} of a class",
            "accuracy",
            "random weights",
            partial(classification, name, a_class),
        )
        for a_class in (None, FEW_LABELS_A_CLASS)
        for name in ARCHITECTURES
    ),
)

if __name__ == "__main__":
    run_alone(ROWS)
