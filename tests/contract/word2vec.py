"""Word vectors of the Python manual."""

from pathlib import Path

from app.contract.messages import Assignment
from tests.contract.assignments import pretraining
from tests.contract.language_model import manual, text_dataset

METHOD = {
    "type": "word2vec",
    "architecture": {"type": "skipgram", "width": 16, "context_length": 64},
    "tokenizer": {"type": "word", "vocab_size": 400, "min_count": 2},
    "window": 3,
}


def assignment(folder: Path) -> Assignment:
    folder.mkdir(parents=True, exist_ok=True)
    return pretraining(folder, text_dataset(folder, manual()), METHOD, learning_rate=0.1)
