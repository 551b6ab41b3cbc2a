"""Strategies of fine-tuning as users name them in `strategy.type`: how much of the parent learns, and how fast.

Few examples, or a task near to what the parent learned: change little of it. Many, or a task far from it: change all.
"""

from typing import Annotated, Literal

from pydantic import Field

from app.contract.base import Contract
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


Strategy = Annotated[FullStrategy | FrozenStrategy | GradualUnfreezingStrategy, Field(discriminator="type")]
