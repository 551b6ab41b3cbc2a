"""A language model of the Python manual's own words."""

import hashlib
from pathlib import Path
from pydoc_data.topics import topics
from typing import Any

from app.contract.messages import Assignment, DatasetInput
from app.contract.specs import training_spec_adapter

DATASET_ID = "ds_" + "0" * 32


def manual(num_characters: int = 40_000) -> str:
    """English and code, from the standard library."""
    return "\n\n".join(topics[name] for name in sorted(topics))[:num_characters]


def text_dataset(folder: Path, text: str, filename: str = "manual.txt") -> DatasetInput:
    path = folder / filename
    path.write_text(text)
    return DatasetInput(
        path=path, filename=filename, kind="text", columns={}, sha256=hashlib.sha256(path.read_bytes()).hexdigest()
    )


Shape = dict[str, Any]

TRANSFORMER: Shape = {
    "type": "transformer",
    "num_layers": 2,
    "width": 32,
    "num_heads": 4,
    "num_key_value_heads": 2,
    "context_length": 32,
    "dropout": 0.1,
}
LSTM: Shape = {"type": "lstm", "num_layers": 2, "width": 32, "context_length": 32, "dropout": 0.1}
RNN: Shape = LSTM | {"type": "rnn", "embedding_width": 16, "tie_embeddings": False}


BPE: Shape = {"type": "bpe", "vocab_size": 320}


def assignment(folder: Path, architecture: Shape = TRANSFORMER, tokenizer: Shape = BPE, **training: Any) -> Assignment:
    folder.mkdir(parents=True, exist_ok=True)
    spec = training_spec_adapter.validate_python(
        {
            "kind": "pretrain",
            "dataset": DATASET_ID,
            "method": {
                "type": "causal_language_model",
                "architecture": architecture,
                "tokenizer": tokenizer,
            },
            "training": {
                "duration": {"steps": 30},
                "batch_size": 8,
                "gradient_accumulation_steps": 2,
                "optimizer": {"type": "adamw", "learning_rate": 5e-3},
                "schedule": {"type": "cosine", "warmup_steps": 3},
                "seed": 7,
                **training,
            },
        }
    )
    return Assignment(
        job_id="job_1",
        attempt=1,
        spec=spec,
        dataset=text_dataset(folder, manual()),
        output_dir=folder / "output",
        cache_dir=folder / "cache",
    )
