"""A masked language model of the Python manual's own words."""

from pathlib import Path

from app.contract.messages import Assignment
from tests.contract.assignments import pretraining
from tests.contract.language_model import manual, text_dataset

METHOD = {
    "type": "masked_language_model",
    "architecture": {
        "type": "transformer",
        "num_layers": 2,
        "width": 32,
        "num_heads": 4,
        "context_length": 32,
        "dropout": 0.1,
    },
    "tokenizer": {"type": "bpe", "vocab_size": 320},
}


def assignment(folder: Path) -> Assignment:
    folder.mkdir(parents=True, exist_ok=True)
    return pretraining(folder, text_dataset(folder, manual()), METHOD)
