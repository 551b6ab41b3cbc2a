"""Small data sets for the contract suite: numbers with structure in them, and the Python manual's paragraphs.

Every example is made from few hidden numbers, so that there is something to compress and something to learn.
"""

import csv
import hashlib
from pathlib import Path
from pydoc_data.topics import topics
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.contract.messages import DatasetInput

NUM_EXAMPLES, NUM_FEATURES, IMAGE_SHAPE = 120, 6, (1, 7, 6)
#: Two topics of the manual, some hundred paragraphs.
TOPICS = ("specialnames", "compound")


def dataset(path: Path, kind: str, columns: dict[str, str] | None = None) -> DatasetInput:
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return DatasetInput(path=path, filename=path.name, kind=kind, columns=columns or {}, sha256=digest)


def vectors(folder: Path, kind: str = "vectors") -> DatasetInput:
    """`labels` are the sign of a hidden number, as integers; `targets` two of them."""
    hidden, features = _examples(NUM_FEATURES)
    path = folder / f"{kind}.npz"
    answers: dict[str, Any] = {"labels": (hidden[:, 0] > 0).astype(int), "targets": 100 + 10 * hidden[:, :2]}
    chosen = {"labeled_vectors": ["labels"], "scored_vectors": ["targets"]}.get(kind, [])
    np.savez(path, features=1_000 * features, **{name: answers[name] for name in chosen})
    return dataset(path, kind)


def images(folder: Path, brightness: int = 128, kind: str = "images") -> DatasetInput:
    """`labels` as those of vectors."""
    hidden, pixels = _examples(int(np.prod(IMAGE_SHAPE)))
    path = folder / f"{kind}.npz"
    seen = (brightness + 40 * pixels).clip(0, 255).astype(np.uint8).reshape(-1, *IMAGE_SHAPE)
    answers: dict[str, Any] = {"labels": (hidden[:, 0] > 0).astype(int)} if kind == "labeled_images" else {}
    np.savez(path, images=seen, **answers)
    return dataset(path, kind)


def labeled_images(folder: Path) -> DatasetInput:
    """Whether a hidden number is positive, as a string."""
    hidden, _ = _examples(1)
    path = folder / "labeled_images.npz"
    with np.load(images(folder).path) as made:
        np.savez(path, images=made["images"], labels=np.where(hidden[:, 0] > 0, "plus", "minus"))
    return dataset(path, "labeled_images")


def labeled_text(folder: Path) -> DatasetInput:
    """Which topic a paragraph is of."""
    rows = [(paragraph, topic) for topic in TOPICS for paragraph in _paragraphs(topic)]
    return dataset(_csv(folder / "topics.csv", ("text", "label"), rows), "labeled_text")


def scored_text(folder: Path) -> DatasetInput:
    """How many upper-case letters and quotes there are to a hundred characters."""
    paragraphs = [paragraph for topic in TOPICS for paragraph in _paragraphs(topic)]
    rows = [(each, 100 * sum(c.isupper() or c == '"' for c in each) / len(each)) for each in paragraphs]
    return dataset(_csv(folder / "scores.csv", ("text", "target"), rows), "scored_text")


def _examples(width: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """-> hidden [N, 3] and what is seen of them [N, width]"""
    rng = np.random.default_rng(0)
    hidden = rng.normal(size=(NUM_EXAMPLES, 3))
    return hidden, hidden @ rng.normal(size=(3, width)) + 0.1 * rng.normal(size=(NUM_EXAMPLES, width))


def _paragraphs(topic: str) -> list[str]:
    return [paragraph for paragraph in topics[topic].split("\n\n") if paragraph.strip()][:NUM_EXAMPLES]


def _csv(path: Path, header: tuple[str, str], rows: list[tuple[str, Any]]) -> Path:
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([header, *rows])
    return path
