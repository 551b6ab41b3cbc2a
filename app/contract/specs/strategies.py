"""Strategies of fine-tuning as users name them in `strategy.type`: how much of the parent learns, and how fast.

Few examples, or a task near to what the parent learned: change little of it. Many, or a task far from it: change all.
"""

from typing import Annotated, Literal

from pydantic import Field

from app.contract.base import Contract, PlainText
from app.contract.specs.training import Duration

LayerDecay = Annotated[
    float,
    Field(
        gt=0.0,
        le=1.0,
        description="Each layer of the parent learns at this multiple of the rate of the layer above it, the head at "
        "the full rate (Howard and Ruder 2018; by layer as in Clark et al. 2020). Below 1, the parent's lower layers, "
        "which hold the most general, change least: try 0.65 to 0.9 where full fine-tuning overfits or forgets.",
    ),
]

Targets = Annotated[
    tuple[Annotated[PlainText, Field(min_length=1, max_length=100)], ...],
    Field(min_length=1, max_length=64, strict=False, fail_fast=True),
]


class FullStrategy(Contract):
    """Every weight of the parent is trained. The most able, and with few examples the first to overfit."""

    type: Literal["full"] = "full"
    layer_learning_rate_decay: LayerDecay = 1.0


class FrozenStrategy(Contract):
    """Linear probe: only the task head is trained. The cheapest, for very few examples and for judging a parent."""

    type: Literal["frozen"] = "frozen"


class GradualUnfreezingStrategy(Contract):
    """The head is trained first, then one more layer of the parent at a time, from the top down (Howard and Ruder
    2018). A new head starts with large gradients; meeting frozen layers first, they undo less of what those know."""

    type: Literal["gradual_unfreezing"] = "gradual_unfreezing"
    unfreeze_every: Duration | None = Field(
        default=None, description="Default: evenly over the first half of the training. The paper takes an epoch."
    )
    layer_learning_rate_decay: LayerDecay = 1.0


class LoraStrategy(Contract):
    """Low-rank adaptation (Hu et al. 2021): the parent's weights W stay as they are, and beside each of its chosen
    linear layers two thin matrices learn, W + (alpha / rank) B A. A new head is trained too. Gradients and optimizer
    state are of the adapters and the head alone, and a matrix of low rank cannot overfit as freely as a whole one. The
    model has plain weights, the adapters merged into them; they are kept by themselves too, as an artifact of the job.
    """

    type: Literal["lora"] = "lora"
    rank: Annotated[int, Field(ge=1, le=4_096, description="Rows of A, columns of B.")] = 8
    alpha: Annotated[
        float, Field(gt=0.0, le=65_536.0, description="What the adapters add is scaled by alpha / rank.")
    ] = 16.0
    targets: Literal["all_linear"] | Targets = Field(
        default="all_linear",
        description="Linear layers of the parent by the ends of their names: q_proj and v_proj are the paper's choice.",
    )
    dropout: Annotated[float, Field(ge=0.0, lt=1.0, description="Of what the adapters read.")] = 0.0


Strategy = Annotated[
    FullStrategy | FrozenStrategy | GradualUnfreezingStrategy | LoraStrategy, Field(discriminator="type")
]
