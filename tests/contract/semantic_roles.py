"""Propositions of a small grammar in which one word plays different roles for different predicates. Role labelers of
them, from each kind of parent."""

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from app.contract.messages import Assignment, DatasetInput
from tests.contract import datasets, language_model, masked_language_model, word2vec
from tests.contract.assignments import finetuning

NUM_SENTENCES = 80
NAMES, PLACES = ("Ada", "Bob", "Eve"), (["Rome"], ["old", "Ur"], ["Oslo"])
SAYS, SEES = ("says", "thinks"), ("sees", "leaves", "likes")
TIMES = ("now", "then")

Proposition = tuple[list[str], int, list[str]]


def propositions(count: int = NUM_SENTENCES, seed: int = 0) -> list[Proposition]:
    """`Ada says Bob sees old Ur now .`, once for each of its two predicates: the second clause is what is said,
    and has roles of its own where its verb is asked about."""
    rng = np.random.default_rng(seed)
    return [proposition for _ in range(count) for proposition in _both(rng)]


def semantic_roles(folder: Path, made: list[Proposition] | None = None, name: str = "roles.jsonl") -> DatasetInput:
    fields = ("tokens", "predicate", "roles")
    lines = [json.dumps(dict(zip(fields, each, strict=True))) for each in made or propositions()]
    path = folder / name
    path.write_text("\n".join(lines) + "\n")
    return datasets.dataset(path, "semantic_roles")


def from_a_masked_language_model(folder: Path, **method: Any) -> Assignment:
    return _labeler(folder, masked_language_model.assignment, **method)


def from_a_language_model(folder: Path, architecture: language_model.Shape = language_model.TRANSFORMER) -> Assignment:
    return _labeler(folder, partial(language_model.assignment, architecture=architecture))


def from_word_vectors(folder: Path) -> Assignment:
    return _labeler(folder, word2vec.assignment)


def _labeler(folder: Path, parent: Callable[[Path], Assignment], **method: Any) -> Assignment:
    made = parent(folder)
    return finetuning(folder, semantic_roles(folder), made, {"type": "semantic_role_labeling", **method})


def _both(rng: np.random.Generator) -> list[Proposition]:
    def one(words: tuple[str, ...]) -> str:
        return str(rng.choice(words))

    place = PLACES[rng.integers(len(PLACES))]
    time = [one(TIMES)] if rng.random() < 0.5 else []
    clause = [one(NAMES), one(SEES), *place, *time]
    tokens = [one(NAMES), one(SAYS), *clause, "."]
    of_the_clause = ["B-A0", "B-V", "B-A1", *["I-A1"] * (len(place) - 1), *["B-AM-TMP"] * len(time)]
    said = ["B-A0", "B-V", "B-A1", *["I-A1"] * (len(clause) - 1), "O"]
    return [(tokens, 1, said), (tokens, 3, ["O", "O", *of_the_clause, "O"])]
