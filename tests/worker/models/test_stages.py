"""The layers of every body, from the input up, and what freezing them does."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from app.contract.specs.architectures import (
    BertArchitecture,
    Gpt2Architecture,
    LstmArchitecture,
    RnnArchitecture,
    SkipgramArchitecture,
    TransformerArchitecture,
)
from worker.models.bert import Bert
from worker.models.body import Body
from worker.models.conv import ConvBody
from worker.models.encoder import Encoder
from worker.models.gpt2 import Gpt2
from worker.models.heads import Classifier
from worker.models.mlp import MlpBody
from worker.models.recurrent import Recurrent
from worker.models.skip_gram import SkipGram
from worker.models.transformer import Transformer

TOKENS = {"tokens": torch.tensor([[3, 1, 4, 1, 5]]), "lengths": torch.tensor([5])}
IMAGES = {"inputs": torch.ones(2, 1, 8, 8)}

NUM_LAYERS = 3
SHAPE = TransformerArchitecture(num_layers=NUM_LAYERS, width=8, num_heads=2, context_length=8, dropout=0.5)
LEARNED_POSITIONS: dict[str, Any] = {
    "num_layers": NUM_LAYERS,
    "width": 8,
    "num_heads": 2,
    "feed_forward_width": 16,
    "context_length": 8,
    "dropout": 0.5,
    "activation": "gelu",
    "norm_epsilon": 1e-5,
}
BODIES: dict[str, tuple[Body, dict[str, Tensor], int]] = {
    "transformer": (Transformer(SHAPE, 11), TOKENS, 4),
    "encoder": (Encoder(SHAPE, 11), TOKENS, 4),
    "gpt2": (Gpt2(Gpt2Architecture(**LEARNED_POSITIONS, tie_embeddings=True), 11), TOKENS, 4),
    "bert": (Bert(BertArchitecture(**LEARNED_POSITIONS, num_token_types=2), 11), TOKENS, 4),
    "lstm": (Recurrent(LstmArchitecture(num_layers=NUM_LAYERS, width=8, dropout=0.5), 11), TOKENS, 4),
    "rnn": (Recurrent(RnnArchitecture(num_layers=NUM_LAYERS, width=8, dropout=0.5), 11), TOKENS, 4),
    "skipgram": (SkipGram(SkipgramArchitecture(width=8), 11), TOKENS, 1),
    "mlp": (MlpBody((1, 8, 8), (16, 16), 0.5), IMAGES, 2),
    "mlp-with-a-code": (MlpBody((1, 8, 8), (16, 16), 0.5, 4), IMAGES, 3),
    "conv": (ConvBody((1, 8, 8), (4, 4), 0.5, 4), IMAGES, 3),
}
every_body = pytest.mark.parametrize(("body", "batch", "num_stages"), BODIES.values(), ids=BODIES)


@every_body
def test_each_parameter_and_each_dropout_is_in_one_stage(body: Body, batch: dict[str, Tensor], num_stages: int) -> None:
    stages = body.stages()

    assert len(stages) == num_stages
    assert all([*stage.parameters()] for stage in stages)
    parameters = [id(each) for stage in stages for each in stage.parameters()]
    dropouts = [id(each) for stage in stages for each in stage.modules() if isinstance(each, nn.Dropout)]
    assert sorted(parameters) == sorted(map(id, body.parameters()))
    assert sorted(dropouts) == sorted(id(each) for each in body.modules() if isinstance(each, nn.Dropout))


@every_body
def test_stages_stand_in_the_order_in_which_the_input_passes_them(
    body: Body, batch: dict[str, Tensor], num_stages: int
) -> None:
    """Where the lower ones are frozen, the first layer that learns is the lowest one that a gradient reaches."""
    for num_frozen in range(num_stages):
        body.freeze(num_frozen)
        body.zero_grad()
        body.encode(batch).sum().backward()  # type: ignore[no-untyped-call]
        reached = [any(each.grad is not None for each in stage.parameters()) for stage in body.stages()]
        assert reached == [False] * num_frozen + [True] * (num_stages - num_frozen)


@every_body
def test_what_is_frozen_has_no_dropout_until_it_thaws(body: Body, batch: dict[str, Tensor], num_stages: int) -> None:
    body.freeze(num_stages)
    body.eval()
    body.train()
    assert torch.equal(body.encode(batch), body.encode(batch))

    body.freeze(0)
    assert all(each.training for each in body.modules())
    assert all(parameter.requires_grad for parameter in body.parameters())


def test_a_task_over_a_frozen_body_learns_by_its_head_alone() -> None:
    module = Classifier(MlpBody((4,), (64,), dropout=0.5), num_labels=2)
    module.body.freeze(1)
    module.train()
    batch = {"inputs": torch.randn(3, 4)}

    assert torch.equal(module(batch), module(batch))
    module(batch).sum().backward()
    assert [name for name, parameter in module.named_parameters() if parameter.grad is not None] == [
        "head.weight",
        "head.bias",
    ]
