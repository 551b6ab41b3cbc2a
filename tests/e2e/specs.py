"""Jobs small enough for a test, and the data that teach them."""

from contextlib import closing
from pathlib import Path
from pydoc_data.topics import topics
from typing import Any

from pretune import Client, Job
from tests.e2e.running import write_jsonl

TRAINING: dict[str, Any] = {
    "duration": {"steps": 20},
    "batch_size": 8,
    "optimizer": {"type": "adamw", "learning_rate": 0.003},
    "compile": False,
}
#: It ends when it is made to.
LONG: dict[str, Any] = {
    "duration": {"steps": 100_000},
    "checkpoint_every": {"steps": 20},
    "evaluate_every": {"steps": 20},
}


def text_file(folder: Path) -> Path:
    path = folder / "manual.txt"
    path.write_text("\n".join(topics.values())[:40_000])
    return path


def reviews_file(folder: Path) -> Path:
    """Told apart by one word."""
    return write_jsonl(
        folder / "reviews.jsonl",
        [
            {"text": f"{subject} was {word} today", "label": label}
            for word, label in (("splendid", "good"), ("superb", "good"), ("dreadful", "bad"), ("dismal", "bad"))
            for subject in ("soup", "room", "film", "song", "tea", "road", "book", "park", "coat", "hat")
        ],
    )


def pretrain(dataset_id: str, **training: Any) -> dict[str, Any]:
    return {
        "kind": "pretrain",
        "name": "tiny-lm",
        "dataset": dataset_id,
        "method": {
            "type": "causal_language_model",
            "architecture": {
                "type": "transformer",
                "num_layers": 1,
                "width": 32,
                "num_heads": 2,
                "context_length": 32,
            },
            "tokenizer": {"type": "bpe", "vocab_size": 300},
        },
        "training": TRAINING | training,
    }


def finetune(parent: str, dataset_id: str, **training: Any) -> dict[str, Any]:
    return {
        "kind": "finetune",
        "parent": parent,
        "dataset": dataset_id,
        "method": {"type": "classification"},
        "training": TRAINING | {"duration": {"steps": 60}} | training,
    }


def start_job(client: Client, folder: Path, **training: object) -> Job:
    dataset = client.datasets.upload(text_file(folder), kind="text")
    return client.jobs.create(pretrain(dataset.id, **training))


def wait_for_checkpoint(job: Job) -> None:
    with closing(job.events(follow=True)) as events:
        assert any(event.type == "checkpoint" for event in events)
