"""The usual method: one loss, one optimizer. A method file adds the data, the loss and the metrics.

A step's loss is sum(total) / sum(weight) over its micro-batches, exactly, however many examples or tokens each holds.
"""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from app.contract.messages import Resolved
from worker.training.basic_method import BasicMethod
from worker.training.protocols import Batch, OptimizerStep, StepSource


@dataclass(frozen=True, slots=True)
class Loss:
    """`total` is a sum over what is predicted (tokens, examples); `weight` counts it."""

    total: Tensor
    weight: Tensor | int


class SingleLossMethod(BasicMethod):
    """Implements `Method` for everything that minimises one number."""

    def __init__(self, module: nn.Module, train_data: StepSource, num_validation_examples: int) -> None:
        super().__init__(module, train_data, num_validation_examples)
        self._total = self.total

    @abstractmethod
    def total(self, batch: Batch) -> Tensor:
        """The loss summed over what `weight` counts: a scalar. This is what gets compiled."""

    @abstractmethod
    def weight(self, batch: Batch) -> Tensor | int:
        """How many tokens or examples of the batch are predicted, without a host sync."""

    def start(self, resolved: Resolved) -> None:
        super().start(resolved)
        self._total = self.compute.compiled(self.total)

    def parameter_groups(self) -> Mapping[str, Sequence[nn.Parameter]]:
        return {"main": [parameter for parameter in self.module.parameters() if parameter.requires_grad]}

    def loss(self, batch: Batch) -> Loss:
        """Uncompiled: evaluation takes it, since a second graph would cost a second compilation."""
        return Loss(self.total(batch), self.weight(batch))

    def train_step(
        self, micro_batches: Sequence[Batch], optimizers: Mapping[str, OptimizerStep]
    ) -> Mapping[str, Tensor]:
        totals: list[Tensor] = []
        weight: Tensor | int = 0
        for batch in micro_batches:
            with self.compute.autocast():
                total = self._total(batch)
            total.backward()  # type: ignore[no-untyped-call]
            totals.append(total.detach())
            weight = weight + self.weight(batch)
        norm = optimizers["main"].apply(gradient_divisor=weight)
        return {"train_loss": torch.stack(totals).sum() / weight, "gradient_norm": norm}
