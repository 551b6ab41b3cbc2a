"""Every pair of parent and fine-tune that the service takes is truly trained, for a step, and its model answers."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from app.contract.compatibility import MethodKey
from app.contract.messages import Assignment, DatasetInput
from app.method_table import FINE_TUNES, Parent, parents
from tests.contract import datasets, imported, instructions, semantic_roles, tagged_words
from tests.contract.assignments import finetuning, finetuning_of, pretraining
from tests.contract.language_model import manual, text_dataset
from tests.contract.runs import final_checkpoint, run_here
from worker.serving.predictors import load_predictor

DATASETS: Mapping[str, Callable[[Path], DatasetInput]] = {
    "text": lambda folder: text_dataset(folder, manual(10_000)),
    "labeled_text": datasets.labeled_text,
    "scored_text": datasets.scored_text,
    "tagged_tokens": tagged_words.tagged_tokens,
    "semantic_roles": semantic_roles.semantic_roles,
    "instructions": lambda folder: instructions.conversations(folder, instructions.taught()),
    "vectors": datasets.vectors,
    "labeled_vectors": lambda folder: datasets.vectors(folder, "labeled_vectors"),
    "scored_vectors": lambda folder: datasets.vectors(folder, "scored_vectors"),
    "images": datasets.images,
    "labeled_images": datasets.labeled_images,
}
_TINY_TEXT = {"num_layers": 1, "width": 8, "context_length": 32}
ARCHITECTURES: Mapping[str, dict[str, Any]] = {
    "transformer": _TINY_TEXT | {"num_heads": 2},
    "lstm": _TINY_TEXT,
    "rnn": _TINY_TEXT,
    "skipgram": {"width": 8, "context_length": 32},
    "mlp": {"hidden_widths": [8]},
    "conv": {"channels": [4]},
}
TOKENIZERS: Mapping[str, dict[str, Any]] = {
    "causal_language_model": {"type": "bpe", "vocab_size": 300},
    "masked_language_model": {"type": "bpe", "vocab_size": 300},
    "word2vec": {"type": "word", "vocab_size": 200, "min_count": 2},
}
PAIRS = [
    pytest.param(parent, fine_tune, id=f"{'-'.join(parent.kind)}-{fine_tune[1]}")
    for parent in parents()
    for fine_tune in FINE_TUNES
    if parent.misfit(fine_tune) is None
]


def job_of(parent: Parent, folder: Path) -> Assignment:
    """That makes such a model."""
    folder.mkdir(parents=True, exist_ok=True)
    dataset, method = DATASETS[parent.dataset_kind](folder), parent.method[1]
    if parent.origin is not None:
        return child_of(parent.origin, folder, dataset, method)
    architecture = parent.body.architecture.type
    body = {"type": method, "architecture": {"type": architecture} | ARCHITECTURES[architecture]}
    tokenizer = {"tokenizer": TOKENIZERS[method]} if method in TOKENIZERS else {}
    return pretraining(folder, dataset, body | tokenizer)


def child_of(parent: Parent, folder: Path, dataset: DatasetInput, method: str, **training: Any) -> Assignment:
    if not parent.is_imported:
        return finetuning(folder, dataset, job_of(parent, folder / "origin"), {"type": method}, **training)
    model, (kind, pretraining_method) = folder / "imported", parent.method
    body = imported.body(parent.body.architecture, bidirectional=parent.body.bidirectional)
    imported.exported(model, body, kind=kind, method=pretraining_method)
    return finetuning_of(model, folder, dataset, {"type": method}, **training)


@pytest.mark.slow
@pytest.mark.parametrize(("parent", "fine_tune"), PAIRS)
def test_a_pair_that_is_taken_is_trained_and_answers(parent: Parent, fine_tune: MethodKey, tmp_path: Path) -> None:
    child = Parent(fine_tune, parent.body, parent)
    dataset = DATASETS[child.dataset_kind](tmp_path)

    lines = run_here(child_of(parent, tmp_path, dataset, fine_tune[1], duration={"steps": 1}))

    predictor = load_predictor(final_checkpoint(lines) / "model")
    assert predictor.method == fine_tune[1]
    assert predictor.operations
