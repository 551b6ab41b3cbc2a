"""A short trial of a learning rate or a batch size, as it is reported, kept and told."""

from typing import Literal

from app.contract.base import Contract

SearchedField = Literal["learning_rate", "batch_size"]


class Trial(Contract):
    """The job in short: `steps` steps under its whole schedule, from its own first weights, on its first batches.

    `field` is what was asked by it. `score` is the validation loss at its end, null where it was cut at
    `stopped_at_step`, for the reason in `cut`. `curve`: the mean training loss up to each of some steps.
    """

    field: SearchedField
    learning_rate: float
    batch_size: int
    steps: int
    score: float | None
    stopped_at_step: int
    cut: Literal["diverged", "out_of_memory"] | None = None
    curve: tuple[tuple[int, float], ...] = ()
