"""What each strategy of fine-tuning trains, when and how fast, on methods as they are built."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch._dynamo.testing import CompileCounter

from app.contract.messages import Assignment
from app.contract.specs.architectures import TransformerArchitecture
from app.contract.specs.strategies import GradualUnfreezingStrategy
from app.contract.specs.training import Duration
from tests.contract import classification, datasets, gan
from tests.contract.assignments import finetuning, pretraining
from tests.contract.runs import final_checkpoint, prepared, run_here
from worker.export import load_model
from worker.methods.finetune.strategies import GradualUnfreezing, LayerRates
from worker.models.body import Body
from worker.models.gan import Gan
from worker.models.language_model import CausalLanguageModel
from worker.models.transformer import Transformer
from worker.training.checkpoints import read_state
from worker.training.protocols import Method, Strategy
from worker.training.resolution import resolve


def started(assignment: Assignment) -> Method:
    method = prepared(assignment)
    method.strategy.start(resolve(assignment.spec, method), method.train_data)
    return method


def few_steps(assignment: Assignment, count: int) -> Assignment:
    training = assignment.spec.training.model_copy(update={"duration": Duration(steps=count)})
    return assignment.model_copy(update={"spec": assignment.spec.model_copy(update={"training": training})})


def language_model(*, tie_embeddings: bool) -> CausalLanguageModel:
    shape = TransformerArchitecture(num_layers=2, width=8, num_heads=2, tie_embeddings=tie_embeddings)
    return CausalLanguageModel(Transformer(shape, 11))


def rates(strategy: Strategy, module: nn.Module) -> dict[str, float]:
    names = {id(parameter): name for name, parameter in module.named_parameters()}
    rated = strategy.rated(module.parameters())
    assert sum(len(parameters) for parameters, _ in rated) == len(names)
    return {names[id(parameter)]: scale for parameters, scale in rated for parameter in parameters}


def learning(module: nn.Module) -> set[str]:
    """The parts that learn: `head`, `layers.1`."""
    names = [name for name, parameter in module.named_parameters() if parameter.requires_grad]
    parts = [name.removeprefix("body.").removeprefix("model.").split(".") for name in names]
    return {".".join(part[: 2 if part[0] == "layers" else 1]) for part in parts}


def test_the_head_learns_at_the_full_rate_and_each_layer_below_at_a_share_of_it(tmp_path: Path) -> None:
    method = prepared(classification.of_text(tmp_path, strategy={"type": "full", "layer_learning_rate_decay": 0.5}))

    found = rates(method.strategy, method.module)

    assert found["head.weight"] == found["head.bias"] == 1.0
    assert found["body.layers.1.self_attn.q_proj.weight"] == found["body.norm.weight"] == 0.5
    assert found["body.layers.0.mlp.down_proj.weight"] == 0.25
    assert found["body.embed_tokens.weight"] == 0.125


def test_without_decay_all_of_it_is_one_group(tmp_path: Path) -> None:
    method = prepared(classification.of_text(tmp_path))

    [(parameters, scale)] = method.strategy.rated(method.module.parameters())

    assert (len(parameters), scale) == (len([*method.module.parameters()]), 1.0)


def test_a_matrix_that_head_and_body_share_is_the_bodys() -> None:
    tied, untied = language_model(tie_embeddings=True), language_model(tie_embeddings=False)

    shared = rates(LayerRates(tied.body, 0.5), tied)
    own = rates(LayerRates(untied.body, 0.5), untied)

    assert shared["model.embed_tokens.weight"] == own["model.embed_tokens.weight"] == 0.125
    assert own["lm_head.weight"] == 1.0


def test_the_generator_of_a_gan_learns_at_the_full_rate(tmp_path: Path) -> None:
    module = prepared(gan.of_vectors(tmp_path)).module
    assert isinstance(module, Gan)

    found = rates(LayerRates(module.body, 0.5), module)

    assert {scale for name, scale in found.items() if not name.startswith("body.")} == {1.0}
    assert sorted({scale for name, scale in found.items() if name.startswith("body.")}) == [0.125, 0.25, 0.5]


THAWED = [
    {"head"},
    {"head", "layers.1", "norm"},
    {"head", "layers.1", "norm", "layers.0"},
    {"head", "layers.1", "norm", "layers.0", "embed_tokens"},
]


@pytest.mark.parametrize(
    ("unfreeze_every", "thaws_at"), [({"steps": 4}, [4, 8, 12]), ({"epochs": 0.5}, [6, 12, 18]), (None, [5, 10, 15])]
)
def test_layers_thaw_from_the_top_after_each_stretch(
    unfreeze_every: dict[str, Any] | None, thaws_at: list[int], tmp_path: Path
) -> None:
    """Of 30 steps, 12 an epoch. Asked in any order: a resumed run begins anywhere."""
    strategy = {"type": "gradual_unfreezing", "unfreeze_every": unfreeze_every}
    method = started(classification.of_text(tmp_path, strategy=strategy))

    for step in (29, *range(30), 3):
        method.strategy.begin_step(step)
        assert learning(method.module) == THAWED[sum(step >= thaw for thaw in thaws_at)], step


def test_where_no_weight_is_the_heads_own_the_top_layer_comes_first() -> None:
    for tie_embeddings, first in ((True, {"layers.1", "norm"}), (False, {"lm_head"})):
        module = language_model(tie_embeddings=tie_embeddings)
        GradualUnfreezing(module, module.body, GradualUnfreezingStrategy()).begin_step(0)
        assert learning(module) == first


@pytest.mark.parametrize(
    "strategy", [{"type": "frozen"}, {"type": "gradual_unfreezing", "unfreeze_every": {"steps": 9}}]
)
def test_what_is_frozen_is_left_as_the_parent_had_it_and_costs_no_state(
    strategy: dict[str, Any], tmp_path: Path
) -> None:
    """Under weight decay, which would move it too."""
    assignment = few_steps(classification.of_text(tmp_path, strategy=strategy), 6)
    assert assignment.parent_model is not None

    checkpoint = final_checkpoint(run_here(assignment))

    parent, child = load_model(assignment.parent_model).module.body, load_model(checkpoint / "model").module.body
    assert isinstance(parent, Body)
    assert isinstance(child, Body)
    theirs = child.state_dict()
    assert all(torch.equal(tensor, theirs[name]) for name, tensor in parent.state_dict().items())
    assert len(read_state(checkpoint)["optimizers"]["main"]["state"]) == len(["head.weight", "head.bias"])


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch's compiler imports what torch deprecates
def test_every_thaw_is_compiled_however_many_layers_there_are(tmp_path: Path) -> None:
    """A compiler that gave up on the way would begin anew in a run that resumes."""
    deep = {"type": "mlp", "hidden_widths": [4] * 11}
    parent = pretraining(
        tmp_path, datasets.vectors(tmp_path, "scored_vectors"), {"type": "regression", "architecture": deep}
    )
    strategy = {"type": "gradual_unfreezing", "unfreeze_every": {"steps": 1}}
    method = started(finetuning(tmp_path, parent.dataset, parent, {"type": "regression"}, strategy=strategy))
    compiler = CompileCounter()
    compiled, inputs = torch.compile(method.module, backend=compiler), torch.ones(2, 6)

    for step in range(12):
        method.strategy.begin_step(step)
        compiled({"inputs": inputs})

    assert compiler.frame_count == 12
