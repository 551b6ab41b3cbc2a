"""What is trained: jobs as users would ask for them, on data that every Python brings with it."""

import json
import sysconfig
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from app.contract.messages import Assignment, DatasetInput
from app.contract.specs import training_spec_adapter
from benchmarks.quality.bench import DATASET_ID, Bench, Json, Trained

CORPUS_BYTES = 5_000_000
#: With those of the texts, of the order of tweets and short reviews.
MEDIAN_CHARACTERS, DEVIATION_OF_LOG, CHARACTERS = 150, 0.75, (18, 800)
LABELS = ("north", "east", "south", "west")
TOKENIZER = {"type": "bpe", "vocab_size": 4096}


@dataclass(frozen=True, slots=True)
class Scale:
    """`turn_steps`: of ours, and of peers that take about as long. A job reports a hundred times, so one of a hundred
    turns reports after each. `corpus_bytes`: of the raw text."""

    turn_steps: int
    num_texts: int
    layers: int
    width: int
    corpus_bytes: int = CORPUS_BYTES

    @property
    def windows(self) -> int:
        """Steps in which each text is read once: a turn of them holds every length."""
        return self.num_texts // 32


#: 8 steps of 4,096 tokens; 48 of 32 texts.
WHOLE = Scale(turn_steps=8, num_texts=1_536, layers=6, width=384)
QUICK = Scale(turn_steps=1, num_texts=64, layers=1, width=32, corpus_bytes=200_000)


@dataclass(frozen=True, slots=True)
class Workload:
    """`turn_steps` are reported together; the whole job has a hundred times as many."""

    spec: Json
    data: DatasetInput
    turn_steps: int
    cache_dir: Path
    parent: Trained | None = None

    @property
    def total_steps(self) -> int:
        return 100 * self.turn_steps

    def with_training(self, **options: Any) -> "Workload":
        return replace(self, spec=self.spec | {"training": self.spec["training"] | options})

    def assignment(self, folder: Path) -> Assignment:
        """All its checkpoints come at the end of a turn, where their time is taken apart."""
        training = {
            "duration": {"steps": self.total_steps},
            "checkpoint_every": {"steps": self.turn_steps},
            "validation_fraction": 0.0,
        }
        names = {"dataset": DATASET_ID} | ({"parent": "parent"} if self.parent else {})
        spec = self.spec | names | {"training": self.spec["training"] | training}
        return Assignment(
            job_id="benchmark",
            attempt=1,
            spec=training_spec_adapter.validate_python(spec),
            dataset=self.data,
            parent_model=self.parent.model if self.parent else None,
            output_dir=folder,
            cache_dir=self.cache_dir,
        )


def corpus(bench: Bench, scale: Scale) -> DatasetInput:
    """The first megabytes of the standard library's own source."""
    root = Path(sysconfig.get_paths()["stdlib"])
    text = ""
    for path in sorted(root.glob("*.py")) + sorted(root.glob("[a-z]*/*.py")):
        text += path.read_text(encoding="utf-8", errors="replace")
        if len(text) >= scale.corpus_bytes:
            break
    return bench.file("corpus.txt", text[: scale.corpus_bytes], "text")


def transformer(bench: Bench, scale: Scale) -> Workload:
    architecture = {
        "type": "transformer",
        "num_layers": scale.layers,
        "width": scale.width,
        "num_heads": max(1, scale.width // 64),
        "context_length": 256,
    }
    return _language_model(bench, scale, architecture)


def lstm(bench: Bench, scale: Scale) -> Workload:
    width = max(scale.width, 512) if scale is WHOLE else scale.width
    return _language_model(bench, scale, {"type": "lstm", "num_layers": 2, "width": width, "context_length": 256})


def texts(bench: Bench, scale: Scale) -> Workload:
    """A classifier on an encoder whose weights are as they were drawn: what it learns costs the same."""
    pretraining = transformer(bench, scale)
    method = pretraining.spec["method"] | {"type": "masked_language_model"}
    parent = bench.untrained(pretraining.spec | {"dataset": DATASET_ID, "method": method}, pretraining.data)
    source = pretraining.data.path.read_text(encoding="utf-8")
    random = np.random.default_rng(0)
    lengths = random.lognormal(np.log(MEDIAN_CHARACTERS), DEVIATION_OF_LOG, scale.num_texts).clip(*CHARACTERS)
    starts = random.integers(0, len(source) - CHARACTERS[1], scale.num_texts)
    records = [
        {"text": source[start : start + int(length)].strip() or "pass", "label": LABELS[number % len(LABELS)]}
        for number, (start, length) in enumerate(zip(starts.tolist(), lengths, strict=True))
    ]
    return Workload(
        {"kind": "finetune", "method": {"type": "classification"}, "training": {"batch_size": 32}},
        bench.lines("texts", records, "labeled_text"),
        scale.windows,
        bench.folder / "cache",
        parent,
    )


def _language_model(bench: Bench, scale: Scale, architecture: Json) -> Workload:
    return Workload(
        {
            "kind": "pretrain",
            "method": {"type": "causal_language_model", "architecture": architecture, "tokenizer": TOKENIZER},
            "training": {"batch_size": 16},
        },
        corpus(bench, scale),
        scale.turn_steps,
        bench.folder / "cache",
    )


WORKLOADS: dict[str, Callable[[Bench, Scale], Workload]] = {"transformer": transformer, "lstm": lstm, "texts": texts}


def texts_of(assignment: Assignment) -> list[tuple[str, int]]:
    """Each text and the number of its label, for peers that read the file themselves."""
    records = map(json.loads, assignment.dataset.path.read_text(encoding="utf-8").splitlines())
    return [(record["text"], LABELS.index(record["label"])) for record in records]
