"""Real data of few examples, networks that learn them from random weights, and how well they then judge others."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from math import log
from pathlib import Path
from statistics import fmean
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from sklearn.datasets import load_diabetes, load_digits
from sklearn.metrics import f1_score, r2_score

from app.contract.messages import DatasetInput
from benchmarks.quality.bench import Bench, Json, predict
from benchmarks.quality.corpora import rotten_tomatoes

Array = NDArray[Any]
#: Of the answers of a model, beside those that are right: higher is better.
Score = Callable[[Array, Sequence[Json]], float]

#: Bodies: one that learns a few hundred examples by heart, one that cannot, and the mean of word vectors.
WIDE: Json = {"type": "autoencoder", "architecture": {"type": "mlp", "hidden_widths": [128, 64]}}
WIDE_WITH_DROPOUT: Json = {
    "type": "autoencoder",
    "architecture": {"type": "mlp", "hidden_widths": [128, 64], "dropout": 0.5},
}
NARROW: Json = {"type": "autoencoder", "architecture": {"type": "mlp", "hidden_widths": [16]}}
WORDS: Json = {
    "type": "word2vec",
    "architecture": {"type": "skipgram", "width": 50, "context_length": 64},
    "tokenizer": {"type": "word", "min_count": 1},
}


@dataclass(frozen=True, slots=True)
class Data:
    """Examples to learn, and others to judge by; answers are labels or targets."""

    inputs: Array
    answers: Array
    judged_inputs: Array
    judged_answers: Array


def parted(inputs: Array, answers: Array, chosen: Array) -> Data:
    others = np.setdiff1d(np.arange(len(answers)), chosen)
    return Data(inputs[chosen], answers[chosen], inputs[others], answers[others])


def some(count: int, total: int, seed: int) -> Array:
    return np.random.default_rng(seed).permutation(total)[:count]


def some_of_each(labels: Array, counts: dict[int, int], seed: int) -> Array:
    order = np.random.default_rng(seed).permutation(len(labels))
    return np.concatenate([order[labels[order] == label][:count] for label, count in counts.items()])


def ten_digits_of_each(seed: int) -> Data:
    """uint8 [N, 12, 12]: the handwritten digits in a black frame."""
    images, labels = _digits()
    framed = np.pad(images, ((0, 0), (2, 2), (2, 2)))
    return parted(framed, labels, some_of_each(labels, dict.fromkeys(range(10), 10), seed))


def digits(seed: int) -> Data:
    """600 handwritten digits, uint8 [N, 8, 8]"""
    images, labels = _digits()
    return parted(images, labels, some(600, len(labels), seed))


def digits_with_wrong_labels(seed: int) -> Data:
    """300 handwritten digits, uint8 [N, 8, 8]; two fifths of the labels to learn are drawn anew."""
    images, labels = _digits()
    data, rng = parted(images, labels, some(300, len(labels), seed)), np.random.default_rng(seed)
    is_wrong, drawn = rng.random(300) < 0.4, rng.integers(10, size=300)
    return replace(data, answers=np.where(is_wrong, drawn, data.answers))


def off_centre(data: Data, seed: int) -> Data:
    """Judged by pictures moved by a pixel, at most, each way."""
    rng = np.random.default_rng(seed)
    moved = [np.roll(image, rng.integers(-1, 2, 2), (0, 1)) for image in data.judged_inputs]
    return replace(data, judged_inputs=np.stack(moved))


def from_nearer(data: Data) -> Data:
    """Judged by pictures a quarter larger, of which the middle is seen."""
    larger = [Image.fromarray(image).resize((15, 15), Image.Resampling.BILINEAR) for image in data.judged_inputs]
    return replace(data, judged_inputs=np.stack([np.asarray(image.crop((1, 1, 13, 13))) for image in larger]))


def patients(seed: int) -> Data:
    """Ten measures of 100 patients, and the progress of their diabetes."""
    features, progress = load_diabetes(return_X_y=True)
    return parted(features, progress, some(100, len(progress), seed))


def patients_of_whom_few_are_ill(seed: int) -> Data:
    """The same measures, and whether the diabetes went far: of 200 that it did not, and of 20."""
    features, progress = load_diabetes(return_X_y=True)
    labels = (progress > 200).astype(int)
    return parted(features, labels, some_of_each(labels, {0: 200, 1: 20}, seed))


def film_reviews(seed: int) -> Data:
    """400 sentences out of reviews, and whether they praise; 1,000 judge."""
    reviews = rotten_tomatoes()
    training, judged = (np.array(side, dtype=str) for side in (reviews.training, reviews.judged[:1_000]))
    chosen = training[some(400, len(training), seed)]
    return Data(chosen[:, 0], chosen[:, 1], judged[:, 0], judged[:, 1])


def accuracy(right: Array, outputs: Sequence[Json]) -> float:
    return fmean(output["label"] == answer for output, answer in zip(outputs, right.tolist(), strict=True))


def log_likelihood(right: Array, outputs: Sequence[Json]) -> float:
    """The mean of a right label, in nats."""
    told = zip(outputs, right.tolist(), strict=True)
    return fmean(log(max(output["scores"][str(answer)], 1e-12)) for output, answer in told)


def macro_f1(right: Array, outputs: Sequence[Json]) -> float:
    return float(f1_score(right, [output["label"] for output in outputs], average="macro"))


def classified(
    data: Data, seed: int, training: Json, *, score: Score = accuracy, body: Json = WIDE, **method: Any
) -> float:
    """What a classifier scores that was trained from random weights."""
    parent = {"kind": "pretrain", "method": body}
    spec = {"kind": "finetune", "method": {"type": "classification", **method}, "training": training}
    with TemporaryDirectory() as folder:
        bench = Bench(Path(folder), seed=seed)
        examples, unlabeled = _saved(bench, data)
        model = bench.train(spec, examples, bench.untrained(parent, unlabeled))
        return score(data.judged_answers, predict(model, data.judged_inputs.tolist()))


def regressed(data: Data, seed: int, training: Json) -> float:
    """R2 of a network that was trained from random weights."""
    method = {"type": "regression", "architecture": WIDE["architecture"]}
    spec = {"kind": "pretrain", "method": method, "training": training}
    with TemporaryDirectory() as folder:
        bench = Bench(Path(folder), seed=seed)
        examples = bench.arrays("data", "scored_vectors", features=data.inputs, targets=data.answers)
        outputs = predict(bench.train(spec, examples), data.judged_inputs.tolist())
    return float(r2_score(data.judged_answers, [output["value"] for output in outputs]))


def _saved(bench: Bench, data: Data) -> tuple[DatasetInput, DatasetInput]:
    """With labels, and without."""
    if data.inputs.dtype.kind == "U":
        rows = [{"text": text, "label": label} for text, label in zip(data.inputs, data.answers, strict=True)]
        return bench.lines("texts", rows, "labeled_text"), bench.lines("texts", rows, "text")
    name, kind = ("features", "labeled_vectors") if data.inputs.ndim == 2 else ("images", "labeled_images")
    arrays: Json = {name: data.inputs, "labels": data.answers}
    return (bench.arrays("data", kind, **arrays),) * 2


@lru_cache
def _digits() -> tuple[Array, Array]:
    found = load_digits()
    return (found.images * (255 / 16)).round().astype(np.uint8), found.target
