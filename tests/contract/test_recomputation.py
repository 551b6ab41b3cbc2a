"""Activations that are computed again in place of being kept: the same weights, out of less memory."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from app.contract.messages import Assignment
from tests.contract import classification, imported, language_model, masked_language_model
from tests.contract.runs import final_checkpoint, run_here, series
from worker.models.body import Body
from worker.models.building import build_body

DECODER, ENCODER = imported.body(imported.TRANSFORMER), imported.body(imported.TRANSFORMER, bidirectional=True)
GPT2, BERT = imported.body(imported.GPT2), imported.body(imported.BERT, bidirectional=True)

#: One for each kind of block, all with dropout; blocks that thaw on the way, and adapters with a dropout of their own.
CASES: dict[str, Callable[[Path], Assignment]] = {
    "decoder": language_model.assignment,
    "decoder-bf16": partial(language_model.assignment, precision="bf16"),
    "encoder": masked_language_model.assignment,
    "bert": partial(imported.classified, body=BERT),
    "thawing": partial(classification.of_text, strategy={"type": "gradual_unfreezing", "unfreeze_every": {"steps": 2}}),
    "adapters": partial(imported.continued, body=GPT2, strategy={"type": "lora", "rank": 2, "dropout": 0.1}),
}


def short(assignment: Assignment, **training: Any) -> Assignment:
    spec = assignment.spec.model_dump(mode="json")
    spec["training"] |= {"duration": {"steps": 6}, "schedule": {"type": "constant"}, **training}
    return assignment.model_copy(update={"spec": type(assignment.spec).model_validate(spec)})


@pytest.mark.parametrize("make", CASES.values(), ids=CASES)
def test_losses_and_weights_are_the_same_bytes(make: Callable[[Path], Assignment], tmp_path: Path) -> None:
    kept = run_here(short(make(tmp_path / "kept")))
    again = run_here(short(make(tmp_path / "again"), activation_checkpointing=True))

    assert series(again) == series(kept)
    weights = [(final_checkpoint(lines) / "model" / "model.safetensors").read_bytes() for lines in (kept, again)]
    assert weights[0] == weights[1]


@pytest.mark.parametrize("body", [DECODER, ENCODER, GPT2, BERT], ids=["decoder", "encoder", "gpt2", "bert"])
def test_a_forward_pass_keeps_of_a_block_what_it_reads(body: Any) -> None:
    kept, again = build_body(body), build_body(body)
    again.recompute_activations()
    rows, tokens, width = 8, 32, 32
    assert _kept_numbers(again, rows, tokens) < _kept_numbers(kept, rows, tokens) / 3
    assert len(again.blocks()) == 2
    assert _kept_numbers(again, rows, tokens) < 8 * rows * tokens * width


def _kept_numbers(body: Body, rows: int, tokens: int) -> int:
    """For the backward pass, weights apart."""
    weights = {parameter.untyped_storage().data_ptr() for parameter in body.parameters()}
    kept: dict[int, Tensor] = {}

    def keep(tensor: Tensor) -> Tensor:
        if tensor.untyped_storage().data_ptr() not in weights:
            kept[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    batch = {"tokens": torch.zeros(rows, tokens, dtype=torch.int64), "lengths": torch.full((rows,), tokens)}
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        body.train().encode(batch)
    return sum(tensor.numel() for tensor in kept.values())
