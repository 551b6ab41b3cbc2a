"""The usual method: one loss, one optimizer. A method file adds the data, the loss and the metrics.

A step's loss is sum(total) / sum(weight) over its micro-batches, exactly, however many examples or tokens each holds.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from app.contract.messages import Resolved
from app.contract.model_folder import ModelDescription
from worker.training.precision import Compute
from worker.training.protocols import Batch, OptimizerStep, StepSource


@dataclass(frozen=True, slots=True)
class Loss:
    """`total` is a sum over what is predicted (tokens, examples); `weight` counts it."""

    total: Tensor
    weight: Tensor | int


class SingleLossMethod(ABC):
    """Implements `Method` for everything that minimises one number."""

    def __init__(self, module: nn.Module, train_data: StepSource, num_validation_examples: int) -> None:
        self.module = module
        self.train_data = train_data
        self.num_validation_examples = num_validation_examples
        self.compute = Compute()
        self._total = self.total

    @abstractmethod
    def total(self, batch: Batch) -> Tensor:
        """The loss summed over what `weight` counts: a scalar. This is what gets compiled."""

    @abstractmethod
    def weight(self, batch: Batch) -> Tensor | int:
        """How many tokens or examples of the batch are predicted, without a host sync."""

    @abstractmethod
    def metrics(self) -> Mapping[str, float]:
        """Metrics on the validation data; the module is in eval mode, without gradients, under autocast."""

    @abstractmethod
    def describe(self) -> ModelDescription: ...

    @abstractmethod
    def export(self, folder: Path) -> None: ...

    def start(self, resolved: Resolved) -> None:
        self.compute = Compute.of(resolved)
        self.module.to(self.compute.device)
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

    def evaluate(self) -> Mapping[str, float]:
        self.module.eval()
        try:
            with torch.no_grad(), self.compute.autocast():
                return self.metrics()
        finally:
            self.module.train()
