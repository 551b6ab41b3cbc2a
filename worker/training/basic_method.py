"""What every method does alike: its module goes to the device, and is looked at in peace."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import nn

from app.contract.messages import ArtifactLine, Resolved
from app.contract.model_folder import ModelDescription
from worker.training.precision import Compute
from worker.training.protocols import StepSource, Strategy
from worker.training.strategy import PlainStrategy


class BasicMethod(ABC):
    """All of `Method` but its training step and the parameters of its optimizers."""

    def __init__(self, module: nn.Module, train_data: StepSource, num_validation_examples: int) -> None:
        self.module = module
        self.strategy: Strategy = PlainStrategy()
        self.train_data = train_data
        self.num_validation_examples = num_validation_examples
        self.compute = Compute()

    @abstractmethod
    def metrics(self) -> Mapping[str, float]:
        """Metrics on the validation data; the module is in eval mode, without gradients, under autocast."""

    @abstractmethod
    def describe(self) -> ModelDescription: ...

    @abstractmethod
    def export(self, folder: Path) -> None: ...

    def shown(self, folder: Path) -> Sequence[ArtifactLine]:
        """What `artifacts` writes; the module is as for `metrics`. Most methods show nothing."""
        return ()

    def start(self, resolved: Resolved) -> None:
        self.compute = Compute.of(resolved)
        self.module.to(self.compute.device)

    def evaluate(self) -> Mapping[str, float]:
        with self._looking():
            return self.metrics()

    def artifacts(self, folder: Path) -> Sequence[ArtifactLine]:
        with self._looking():
            return [*self.shown(folder), *self.strategy.shown(folder)]

    @contextmanager
    def _looking(self) -> Iterator[None]:
        self.module.eval()
        try:
            with torch.no_grad(), self.compute.autocast():
                yield
        finally:
            self.module.train()
