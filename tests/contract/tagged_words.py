"""Sentences of a small grammar, whose tags follow from the words around: names span several words, and one word can be
of two kinds. Taggers of them, from each kind of parent."""

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from app.contract.messages import Assignment, DatasetInput
from tests.contract import datasets, language_model, masked_language_model, word2vec
from tests.contract.assignments import finetuning

NUM_SENTENCES = 160
FIRST_NAMES, LAST_NAMES = ("Ada", "Grace", "Alan"), ("Paris", "Turing", "Hopper")
TOWNS = ("Paris", "Lagos", "Lima")
VERBS = ("visits", "leaves", "likes")
ADVERBS = ("often", "now", "gladly")

Sentence = tuple[list[str], list[str]]


def sentences(count: int = NUM_SENTENCES, seed: int = 0) -> list[Sentence]:
    """`Paris` is a person behind a first name, and a place behind `in` or a verb."""
    rng = np.random.default_rng(seed)
    return [_sentence(rng) for _ in range(count)]


def tagged_tokens(folder: Path, made: list[Sentence] | None = None, name: str = "tagged.jsonl") -> DatasetInput:
    lines = [json.dumps({"tokens": tokens, "tags": tags}) for tokens, tags in made or sentences()]
    path = folder / name
    path.write_text("\n".join(lines) + "\n")
    return datasets.dataset(path, "tagged_tokens")


def from_a_language_model(
    folder: Path,
    architecture: language_model.Shape = language_model.TRANSFORMER,
    strategy: dict[str, Any] | None = None,
) -> Assignment:
    return _tagger(folder, partial(language_model.assignment, architecture=architecture), strategy)


def from_a_masked_language_model(folder: Path, **method: Any) -> Assignment:
    return _tagger(folder, masked_language_model.assignment, **method)


def from_word_vectors(folder: Path) -> Assignment:
    return _tagger(folder, word2vec.assignment)


def by_a_crf(folder: Path) -> Assignment:
    return from_a_masked_language_model(folder, crf=True)


def outputs(module: Any, batch: dict[str, Tensor]) -> Tensor:
    """A row a word."""
    logits: Tensor = module(batch)
    return logits[torch.arange(logits.shape[1]) < batch["num_words"][:, None]]


def sentences_alone(batch: dict[str, Tensor]) -> list[dict[str, Tensor]]:
    """Without the padding that longer mates ask for."""
    lengths = {"tokens": "lengths", "places": "num_words", "tags": "num_words", "roles": "num_words"}
    return [
        {
            name: tensor[row : row + 1, : int(batch[lengths[name]][row])] if name in lengths else tensor[row : row + 1]
            for name, tensor in batch.items()
        }
        for row in range(len(batch["tokens"]))
    ]


def _tagger(
    folder: Path, parent: Callable[[Path], Assignment], strategy: dict[str, Any] | None = None, **method: Any
) -> Assignment:
    made = parent(folder)
    return finetuning(folder, tagged_tokens(folder), made, {"type": "sequence_labeling", **method}, strategy=strategy)


def _sentence(rng: np.random.Generator) -> Sentence:
    def one(words: tuple[str, ...]) -> str:
        return str(rng.choice(words))

    tokens, tags = [one(FIRST_NAMES)], ["B-PER"]
    if rng.random() < 0.7:
        tokens.append(one(LAST_NAMES))
        tags.append("I-PER")
    if rng.random() < 0.5:
        tokens.append(one(ADVERBS))
        tags.append("O")
    tokens += [one(VERBS), one(TOWNS)]
    tags += ["O", "B-LOC"]
    return [*tokens, "."], [*tags, "O"]
