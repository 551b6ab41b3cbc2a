"""Conversations about capitals: in each question stands its answer's cue, in words that vary."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from app.contract.messages import Assignment, DatasetInput
from tests.contract import datasets, language_model
from tests.contract.assignments import finetuning

CAPITALS = {"France": "Paris", "Peru": "Lima", "Nigeria": "Lagos", "Japan": "Tokyo", "Cuba": "Havana", "Iran": "Tehran"}
QUESTIONS = (
    "What is the capital of {}?",
    "{}: its capital?",
    "Name the main town of {}.",
    "Where is {} governed from?",
    "Tell me, please, the capital of {}.",
)
#: Of each country another way to ask.
HELD_BACK = [(place, place % len(QUESTIONS)) for place in range(len(CAPITALS))]

Messages = list[dict[str, str]]


def said(role: str, content: str) -> dict[str, str]:
    return {"role": role, "content": content}


def asked(country: int, question: int) -> Messages:
    """A question and its answer."""
    name, capital = list(CAPITALS.items())[country]
    return [said("user", QUESTIONS[question].format(name)), said("assistant", capital)]


def taught() -> list[Messages]:
    """All questions about all countries, but for those held back; and some with another before."""
    pairs = [(country, question) for country in range(len(CAPITALS)) for question in range(len(QUESTIONS))]
    kept = [asked(*pair) for pair in pairs if pair not in HELD_BACK]
    return kept + [first + second for first, second in zip(kept[::4], kept[5::4], strict=False)]


def conversations(folder: Path, told: Sequence[Messages], name: str = "conversations.jsonl") -> DatasetInput:
    path = folder / name
    path.write_text("".join(json.dumps({"messages": messages}) + "\n" for messages in told))
    return datasets.dataset(path, "instructions")


def of_capitals(
    folder: Path, architecture: language_model.Shape = language_model.TRANSFORMER, **options: Any
) -> Assignment:
    parent = language_model.assignment(folder, architecture)
    return finetuning(folder, conversations(folder, taught()), parent, {"type": "instruction_tuning"}, **options)


def outputs(module: Any, batch: dict[str, Tensor]) -> Tensor:
    """Logits, a row a token."""
    logits: Tensor = module(batch["tokens"])
    return logits[torch.arange(logits.shape[1]) < batch["lengths"][:, None]]
