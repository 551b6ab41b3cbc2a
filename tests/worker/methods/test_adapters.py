"""Low-rank adapters: the parent stays as it is, the exported model is plain, and the adapters lie in peft's files."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from app.contract.messages import ArtifactLine, Assignment, CheckpointLine, FinishedLine, ReportLine, ResolvedLine
from tests.contract import autoencoder, classification, continued, datasets, imported
from tests.contract.assignments import finetuning
from tests.contract.runs import final_checkpoint, prepared, run_here
from tests.worker.methods.test_strategies import few_steps
from worker.export import load_model
from worker.models.lora import AdaptedLinear
from worker.training.checkpoints import read_state

RANK, ALPHA = 4, 32.0
LORA: dict[str, Any] = {"type": "lora", "rank": RANK, "alpha": ALPHA}


def adapters_of(lines: list[ReportLine], name: str) -> Path:
    return [line.path for line in lines if isinstance(line, ArtifactLine) and line.name == name][-1]


def model_of(lines: list[ReportLine]) -> Path:
    """The job's: its adapters are kept with it."""
    finished = lines[-1]
    assert isinstance(finished, FinishedLine)
    [path] = [each.path for each in lines if isinstance(each, CheckpointLine) and each.step == finished.model_step]
    return path / "model"


def of_vectors(folder: Path) -> Assignment:
    """From an autoencoder's body: numbered layers, and the code."""
    parent = autoencoder.of_vectors(folder)
    data = datasets.vectors(folder, "labeled_vectors")
    return finetuning(
        folder, data, parent, {"type": "classification"}, strategy=LORA | {"targets": ["layers.0", "code"]}
    )


def test_an_adapted_layer_is_the_layer_and_a_scaled_product_of_two_thin_matrices() -> None:
    base = nn.Linear(6, 5)
    layer = AdaptedLinear(base, rank=2, alpha=3.0, dropout=0.0)
    x = torch.randn(7, 6)
    assert torch.equal(layer(x), base(x))

    nn.init.normal_(layer.lora_B.weight)

    product = layer.lora_B.weight @ layer.lora_A.weight
    assert torch.linalg.matrix_rank(product) == 2
    torch.testing.assert_close(layer(x), x @ (base.weight + 1.5 * product).T + base.bias)
    torch.testing.assert_close(nn.functional.linear(x, layer.merged(), layer.bias), layer(x))


def test_dropout_falls_on_what_the_adapters_read_alone() -> None:
    base = nn.Linear(6, 5)
    layer = AdaptedLinear(base, rank=2, alpha=3.0, dropout=0.9)
    nn.init.normal_(layer.lora_B.weight)
    x = torch.randn(7, 6)
    assert not torch.equal(layer(x), layer(x))
    assert torch.equal(layer.eval()(x), layer(x))

    nn.init.zeros_(layer.lora_B.weight)
    assert torch.equal(layer.train()(x), base(x))


@pytest.mark.parametrize(
    "assigned",
    [
        lambda folder: classification.of_text_from_a_masked_language_model(folder, strategy=LORA),
        lambda folder: classification.of_text(folder, strategy=LORA | {"targets": ["q_proj", "mlp.down_proj"]}),
        lambda folder: continued.a_language_model(folder, strategy=LORA),
        lambda folder: imported.classified(folder, imported.body(imported.GPT2), LORA),
        lambda folder: imported.classified(folder, imported.body(imported.BERT, bidirectional=True), LORA),
        of_vectors,
    ],
    ids=["encoder", "decoder", "continued", "gpt2", "bert", "mlp"],
)
def test_the_merged_model_computes_what_the_adapted_one_does_and_the_parent_is_left_alone(
    assigned: Any, tmp_path: Path
) -> None:
    assignment = few_steps(assigned(tmp_path), 5)
    assert assignment.parent_model is not None
    lines = run_here(assignment)
    checkpoint = final_checkpoint(lines)
    method, parent = prepared(assignment), load_model(assignment.parent_model).module
    method.module.load_state_dict(read_state(checkpoint)["module"])

    assert isinstance(parent.body, nn.Module)
    assert isinstance(method.module.body, nn.Module)
    mine = dict(method.module.body.named_parameters())
    for name, theirs in parent.body.named_parameters():
        assert torch.equal(mine[name], theirs), name
        assert not mine[name].requires_grad, name

    adapted = method.module.eval()
    merged = load_model(checkpoint / "model").module
    assert not any(isinstance(each, AdaptedLinear) for each in merged.modules())
    batch = method.train_data.micro_batches(0)[0]
    batch = batch["tokens"] if "targets" in batch else batch  # type: ignore[assignment]
    with torch.no_grad():
        torch.testing.assert_close(merged(batch), adapted(batch))
        assert not torch.equal(merged(batch), prepared(assignment).module.eval()(batch))


def test_state_is_kept_and_told_for_what_learns_alone(tmp_path: Path) -> None:
    assignment = few_steps(classification.of_text(tmp_path, strategy=LORA | {"targets": ["q_proj", "v_proj"]}), 2)

    lines = run_here(assignment)

    trained = {name for name, each in prepared(assignment).module.named_parameters() if each.requires_grad}
    adapters = {
        f"body.layers.{layer}.self_attn.{kind}.lora_{side}.weight"
        for layer in (0, 1)
        for kind in ("q_proj", "v_proj")
        for side in "AB"
    }
    assert trained == adapters | {"head.weight", "head.bias"}
    assert len(read_state(final_checkpoint(lines))["optimizers"]["main"]["state"]) == len(trained)
    width, key_values, num_labels = 32, 16, 2
    [resolved] = [line.resolved for line in lines if isinstance(line, ResolvedLine)]
    assert resolved.num_trained_parameters == num_labels * (width + 1) + 2 * RANK * (3 * width + key_values)
    assert resolved.num_parameters == load_model(final_checkpoint(lines) / "model").description.num_parameters


def test_adapters_and_the_new_head_are_kept_in_the_files_of_peft(tmp_path: Path) -> None:
    """By the names and the layout that its guide calls the checkpoint format."""
    assignment = few_steps(classification.of_text_from_a_masked_language_model(tmp_path, strategy=LORA), 5)
    assert assignment.parent_model is not None
    lines = run_here(assignment)

    adapters = load_file(adapters_of(lines, "adapter_model.safetensors"))
    told = json.loads(adapters_of(lines, "adapter_config.json").read_text())

    assert (told["peft_type"], told["task_type"], told["r"], told["lora_alpha"]) == ("LORA", "SEQ_CLS", RANK, ALPHA)
    assert told["target_modules"] == ["Wqkv", "attn.Wo", "Wi", "mlp.Wo"]
    assert told["modules_to_save"] == ["classifier", "head.dense", "head.norm"]
    parent = load_file(assignment.parent_model / "model.safetensors")
    child = load_file(model_of(lines) / "model.safetensors")
    for name, weight in child.items():
        a, b = (adapters.pop(f"base_model.model.{name[:-7]}.lora_{side}.weight", None) for side in "AB")
        if a is not None and b is not None:
            torch.testing.assert_close(weight, parent[name] + ALPHA / RANK * b @ a)
        elif name.rpartition(".")[0] in told["modules_to_save"]:
            assert torch.equal(weight, adapters.pop(f"base_model.model.{name}"))
        else:
            assert torch.equal(weight, parent[name])
    assert not adapters


def test_a_language_model_that_goes_on_has_no_head_of_its_own(tmp_path: Path) -> None:
    lines = run_here(few_steps(continued.a_language_model(tmp_path, strategy=LORA), 2))

    told = json.loads(adapters_of(lines, "adapter_config.json").read_text())
    assert (told["task_type"], told["modules_to_save"]) == ("CAUSAL_LM", None)
    assert all(".lora_" in name for name in load_file(adapters_of(lines, "adapter_model.safetensors")))
